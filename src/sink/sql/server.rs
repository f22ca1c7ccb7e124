//! What the URI of a database server says.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::sink::sql::SqlError;
use crate::sink::{SinkSpecError, SinkUri};

/// A password, which is never shown.
#[derive(Clone)]
pub(super) enum Password {
    None,
    Given(String),
    /// The first line of this file.
    In(PathBuf),
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password")
    }
}

impl Password {
    /// The password, read anew each time: it may have been changed.
    pub(super) fn read(&self) -> Result<Option<String>, SqlError> {
        const LONGEST: u64 = 1 << 16;
        let path = match self {
            Password::None => return Ok(None),
            Password::Given(password) => return Ok(Some(password.clone())),
            Password::In(path) => path,
        };
        let refuse = |reason: String| SqlError::PasswordFile { path: path.clone(), reason };
        let mut text = String::new();
        let file = File::open(path).map_err(|error| refuse(error.to_string()))?;
        warn_if_shared(&file, path);
        file.take(LONGEST).read_to_string(&mut text).map_err(|error| refuse(error.to_string()))?;
        let line = text.lines().next().unwrap_or_default();
        if line.is_empty() {
            Err(refuse("its first line is empty".to_owned()))
        } else {
            Ok(Some(line.to_owned()))
        }
    }
}

fn warn_if_shared(file: &File, path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata().map_or(0, |data| data.permissions().mode() & 0o777);
    if mode & 0o007 != 0 {
        let path = path.display();
        log::warn!("the password in {path} is open to all users (mode {mode:03o})\n  hint: chmod 600 {path}");
    }
}

/// A database server, and as whom it is asked for what.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    /// In place of host and port.
    pub(super) socket: Option<PathBuf>,
    pub(super) user: String,
    pub(super) password: Password,
    pub(super) database: String,
    pub(super) tls: Option<Tls>,
}

/// What a URI says of TLS.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    /// The authorities that are trusted, in this file; `None` for those of the system.
    pub(super) trust: Option<PathBuf>,
    /// The name that the certificate is for, where it is not the host.
    pub(super) name: Option<String>,
    /// This side's certificate and its key.
    pub(super) own: Option<(PathBuf, PathBuf)>,
}

impl Server {
    /// `//USER@HOST:PORT/DATABASE`, with parameters. `variables` are those of the environment that may hold the user and the
    /// password.
    pub(super) fn take(
        uri: &mut SinkUri,
        port: u16,
        [user_in, password_in]: [&str; 2],
    ) -> Result<Self, SinkSpecError> {
        let form = format!("write `{}://USER@HOST:PORT/DATABASE`", uri.scheme());
        let path = uri.path().to_owned();
        let Some(rest) = path.strip_prefix("//") else { return Err(uri.refuse(form)) };
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (userinfo, place) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = match userinfo.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (userinfo, None),
        };
        let decode = |what: &str, text: &str| {
            decoded(text)
                .ok_or_else(|| uri.refuse(format!("{what}: `%` stands before two digits of a byte of UTF-8")))
        };
        let (host, given) =
            match place.rsplit_once(':').filter(|(host, _)| !host.ends_with(':') && !in_brackets(place)) {
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            };
        let port = match given {
            None => port,
            Some(text) => text.parse().map_err(|_| {
                uri.refuse(
                    "what stands behind the last colon is no port: characters such as `/`, `?` and `@` in a password are written as \
                     `%2f`, `%3f` and `%40`",
                )
            })?,
        };
        let host = decode("host", host.trim_start_matches('[').trim_end_matches(']'))?;
        let database = decode("database", database)?;
        let user = match user {
            "" => uri.environment(user_in).unwrap_or_default(),
            user => decode("user", user)?,
        };
        let password = password.map(|password| decode("password", password)).transpose()?;
        let refuse = |uri: &SinkUri, reason: &str| Err(uri.refuse(format!("{reason}: {form}")));
        if database.is_empty() || database.contains('/') {
            return refuse(uri, "say which database");
        }
        if user.is_empty() {
            return refuse(uri, "say as whom");
        }
        let socket = uri.param::<PathBuf>("socket")?;
        if host.is_empty() && socket.is_none() {
            return refuse(uri, "say on which host, or `socket=PATH`");
        }
        let also = uri.param::<String>("password")?;
        let file = uri.param::<PathBuf>("password-file")?;
        let in_environment =
            || ["THALWEG_SINK_PASSWORD", password_in].iter().find_map(|name| uri.environment(name));
        let password = match (password.or(also), file) {
            (Some(_), Some(_)) => return Err(uri.refuse("there are two passwords: leave one out")),
            (Some(password), None) => Password::Given(password),
            (None, Some(path)) => Password::In(path),
            (None, None) => in_environment().map_or(Password::None, Password::Given),
        };
        let tls = Tls::take(uri)?;
        Ok(Server { host, port, socket, user, password, database, tls })
    }

    /// Warns where a password could be read on its way.
    pub(super) fn warn_if_in_clear(&self, uri: &str) {
        let near = self.socket.is_some()
            || self.host == "localhost"
            || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        if self.tls.is_none() && !near {
            log::warn!("`{uri}`: rows go to {} in clear\n  hint: `tls=system` or `tls=FILE`", self.host);
        }
    }
}

/// Whether `place` is an address of IPv6 without a port.
fn in_brackets(place: &str) -> bool {
    place.ends_with(']')
}

impl Tls {
    fn take(uri: &mut SinkUri) -> Result<Option<Self>, SinkSpecError> {
        let trust = uri.param::<String>("tls")?;
        let name = uri.param::<String>("tls-name")?;
        let certificate = uri.param::<PathBuf>("tls-cert")?;
        let key = uri.param::<PathBuf>("tls-key")?;
        let Some(trust) = trust else {
            if name.is_some() || certificate.is_some() || key.is_some() {
                return Err(uri.refuse("parameters of TLS stand without `tls=system` or `tls=FILE`"));
            }
            return Ok(None);
        };
        let trust = match trust.as_str() {
            "" => {
                return Err(uri.refuse(
                    "`tls=FILE` names the authority that is trusted, `tls=system` those of this system",
                ));
            }
            "system" => None,
            file => Some(PathBuf::from(file)),
        };
        let own = match (certificate, key) {
            (None, Some(_)) => return Err(uri.refuse("`tls-key=` stands without `tls-cert=`")),
            (certificate, key) => {
                certificate.map(|certificate| (certificate.clone(), key.unwrap_or(certificate)))
            }
        };
        Ok(Some(Tls { trust, name, own }))
    }
}

/// `text` with `%` and two digits for a byte, as URIs have it.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        rest = match first {
            b'%' => {
                let (digits, more) = more.split_at_checked(2)?;
                let digits = std::str::from_utf8(digits).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?);
                more
            }
            byte => {
                bytes.push(*byte);
                more
            }
        };
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(uri: &str) -> Result<Server, String> {
        let mut uri = SinkUri::parse(uri).map_err(|error| error.to_string())?;
        uri.environment = Some(|name| (name == "PGPASSWORD").then(|| "hush".to_owned()));
        Server::take(&mut uri, 5432, ["PGUSER", "PGPASSWORD"]).map_err(|error| error.to_string())
    }

    fn password(uri: &str) -> Option<String> {
        server(uri).expect(uri).password.read().expect("it is readable")
    }

    #[test]
    fn uris_name_a_server() {
        let all = server("postgres://me%40work:h%2fsh@db.example:77/logs").expect("well formed");
        assert_eq!((all.user.as_str(), all.host.as_str(), all.port), ("me@work", "db.example", 77));
        assert_eq!((all.database.as_str(), all.tls.is_none()), ("logs", true));
        assert_eq!(password("postgres://me%40work:h%2fsh@db.example:77/logs").as_deref(), Some("h/sh"));
        let near = server("postgres://me@[::1]/logs?tls=system&tls-name=db").expect("well formed");
        assert_eq!((near.host.as_str(), near.port), ("::1", 5432));
        assert!(near.tls.is_some_and(|tls| tls.trust.is_none() && tls.name.as_deref() == Some("db")));
        assert_eq!(server("postgres://me@[::1]:9/logs").expect("well formed").port, 9);
        let socket = server("postgres://me@/logs?socket=/run/postgresql").expect("well formed").socket;
        assert_eq!(socket, Some("/run/postgresql".into()));
    }

    #[test]
    fn passwords_are_in_the_uri_a_file_or_the_environment() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), "from a file\nand more\n").expect("it is writable");
        let in_file = format!("postgres://me@h/logs?password-file={}", file.path().display());
        assert_eq!(password(&in_file).as_deref(), Some("from a file"));
        assert_eq!(password("postgres://me@h/logs?password=given").as_deref(), Some("given"));
        assert_eq!(password("postgres://me@h/logs").as_deref(), Some("hush"));
        let missing = server("postgres://me@h/logs?password-file=/no/such").expect("well formed");
        assert!(missing.password.read().expect_err("missing").to_string().contains("/no/such"));
        assert!(!format!("{:?}", server("postgres://me:hush@h/logs")).contains("hush"));
    }

    #[test]
    fn what_is_wrong_is_named_and_passwords_are_not() {
        for (uri, part) in [
            ("postgres:logs", "postgres://USER@HOST:PORT/DATABASE"),
            ("postgres://me@h", "which database"),
            ("postgres://h/logs", "as whom"),
            ("postgres://me@/logs", "on which host"),
            ("postgres://me:hush@h:x/logs", "no port"),
            ("postgres://me:hu%2@h/logs", "`%` stands before"),
            ("postgres://me:hush@h/logs?password=hush", ""),
            ("postgres://me:hush@h/logs?password-file=x", "two passwords"),
            ("postgres://me@h/logs?tls-cert=x", "without `tls=system`"),
            ("postgres://me@h/logs?tls=x&tls-key=y", "without `tls-cert=`"),
        ] {
            let error = server(uri).err().unwrap_or_default();
            assert!(error.contains(part), "{uri}: {error}");
            assert!(!error.contains("hush"), "{uri}: {error}");
        }
    }
}
