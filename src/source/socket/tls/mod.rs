//! TLS for sockets, by rustls: what URIs say of it, the files that they name, and the sessions that come of these.
//!
//! Who connects to a server trusts an authority that it names, or those of the system, and no others; there is no way not to check,
//! and none to go on in clear. Versions 1.2 and 1.3 are spoken. Sessions are not resumed and there are no tickets: a peer that closes
//! with a ticket unread would reset the connection, and lose lines with it.
//!
//! Files are read once, as the run begins; whether certificates are valid goes by the clock that rustls reads.
//!
//! `x509` says whose a certificate is, `files` reads them, `verify` remembers which was refused, `words` says what went wrong, and
//! `session` stands between a socket and its reader.

mod files;
mod session;
mod verify;
mod words;
mod x509;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::ServerName;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, ClientConnection, Error, ServerConfig, ServerConnection};

pub(super) use self::session::Session;
use self::session::Shared;
use self::verify::{OfClients, OfServers, Refused};
use self::words::Side;
use super::tally::Tally;
use crate::source::SourceError;

/// How long agreeing on TLS may take.
pub(super) const GREETING: Duration = Duration::from_secs(10);

/// What a URI says of TLS with a server.
#[derive(Clone, Debug, Default)]
pub(super) struct ClientOptions {
    /// `system`, or a file.
    trust: Option<String>,
    name: Option<ServerName<'static>>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl ClientOptions {
    /// Takes the option `name`, if it is one of these.
    pub(super) fn take(&mut self, name: &str, value: &str) -> Result<bool, String> {
        match name {
            "tls" if value.is_empty() => {
                return Err(
                    "`tls=FILE` names the authority that is trusted, `tls=system` those of this system"
                        .to_owned(),
                );
            }
            "tls" => self.trust = Some(value.to_owned()),
            "tls-name" => {
                let name = ServerName::try_from(value.to_owned());
                self.name = Some(name.map_err(|_| format!("`tls-name={value}` is no name of a host"))?);
            }
            "tls-cert" => self.certificate = Some(path(name, value)?),
            "tls-key" => self.key = Some(path(name, value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What they come to for a server on `host`: TLS or none.
    pub(super) fn on(self, host: &str) -> Result<Option<Client>, String> {
        let Some(trust) = self.trust else {
            let without = self.name.is_some() || self.certificate.is_some() || self.key.is_some();
            return match without {
                true => Err("options of TLS stand without `tls=system` or `tls=FILE`".to_owned()),
                false => Ok(None),
            };
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = match self.name {
            Some(name) => name,
            None => ServerName::try_from(host.clone()).map_err(|_| {
                format!("`{host}` is no name that a certificate can have: `tls-name=NAME` says one")
            })?,
        };
        let own = match (self.certificate, self.key) {
            (None, Some(_)) => return Err("`tls-key=` stands without `tls-cert=`".to_owned()),
            (certificate, key) => {
                certificate.map(|certificate| (certificate.clone(), key.unwrap_or(certificate)))
            }
        };
        Ok(Some(Client { trust, name, own }))
    }
}

/// TLS with a server.
#[derive(Clone, Debug)]
pub(super) struct Client {
    trust: String,
    name: ServerName<'static>,
    own: Option<(PathBuf, PathBuf)>,
}

impl Client {
    /// Reads the files, for the source `uri`.
    pub(super) fn load(&self, uri: &str) -> Result<Connector, SourceError> {
        let roots = Arc::new(match self.trust.as_str() {
            "system" => files::of_the_system()?,
            file => files::authorities(Path::new(file))?,
        });
        let (provider, refused) = (provider(), Refused::default());
        let by = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
        let by =
            by.map_err(|error| files::error(Path::new(&self.trust), error.to_string(), "name another"))?;
        let verifier = Arc::new(OfServers { by, refused: refused.clone() });
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|error| failed(uri, &error))?;
        let config = config.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match &self.own {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let (chain, private) = files::own(certificate, key)?;
                config
                    .with_client_auth_cert(chain, private)
                    .map_err(|error| unpaired(certificate, key, &error))?
            }
        };
        config.resumption = Resumption::disabled();
        let shared = Shared { uri: uri.to_owned(), side: Side::Client, refused, cuts: Tally::default() };
        Ok(Connector { config: Arc::new(config), name: self.name.clone(), shared: Arc::new(shared) })
    }
}

/// Makes sessions with a server.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    shared: Arc<Shared>,
}

impl Connector {
    pub(super) fn session(&self) -> io::Result<Session> {
        let tls = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        let tls = tls.map_err(io::Error::other)?;
        Ok(Session::new(tls.into(), "the server".to_owned(), &self.shared))
    }
}

/// What a URI says of TLS with clients.
#[derive(Clone, Debug, Default)]
pub(super) struct ServerOptions {
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    clients: Option<PathBuf>,
    greeting: Option<Duration>,
}

impl ServerOptions {
    /// Takes the option `name`, if it is one of these.
    pub(super) fn take(&mut self, name: &str, value: &str) -> Result<bool, String> {
        match name {
            "tls" => {
                return Err(format!(
                    "`{name}` is for connecting to a server; for clients `tls-cert=FILE&tls-key=FILE` names the certificate \
                     that they are shown, and `tls-clients=FILE` the authority that has signed theirs"
                ));
            }
            "tls-cert" => self.certificate = Some(path(name, value)?),
            "tls-key" => self.key = Some(path(name, value)?),
            "tls-clients" => self.clients = Some(path(name, value)?),
            "tls-handshake" => {
                let time =
                    humantime::parse_duration(value).map_err(|error| format!("`{name}={value}`: {error}"))?;
                self.greeting = Some(time);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What they come to: TLS or none.
    pub(super) fn server(self) -> Result<Option<Server>, String> {
        match self.certificate {
            Some(certificate) => Ok(Some(Server {
                key: self.key.unwrap_or_else(|| certificate.clone()),
                certificate,
                clients: self.clients,
                greeting: self.greeting.unwrap_or(GREETING),
            })),
            None if self.key.is_some() || self.clients.is_some() || self.greeting.is_some() => {
                Err("options of TLS stand without `tls-cert=FILE`".to_owned())
            }
            None => Ok(None),
        }
    }
}

/// TLS with clients.
#[derive(Clone, Debug)]
pub(super) struct Server {
    certificate: PathBuf,
    key: PathBuf,
    clients: Option<PathBuf>,
    greeting: Duration,
}

impl Server {
    /// Reads the files.
    pub(super) fn load(&self, uri: &str) -> Result<Acceptor, SourceError> {
        let (chain, private) = files::own(&self.certificate, &self.key)?;
        let (provider, refused) = (provider(), Refused::default());
        let config =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let config = config.map_err(|error| failed(uri, &error))?;
        let config = match &self.clients {
            None => config.with_no_client_auth(),
            Some(file) => {
                let roots = Arc::new(files::authorities(file)?);
                let by = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
                let by = by.map_err(|error| files::error(file, error.to_string(), "name another"))?;
                config.with_client_cert_verifier(Arc::new(OfClients { by, refused: refused.clone() }))
            }
        };
        let mut config = config
            .with_single_cert(chain, private)
            .map_err(|error| unpaired(&self.certificate, &self.key, &error))?;
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let shared = Shared { uri: uri.to_owned(), side: Side::Server, refused, cuts: Tally::default() };
        Ok(Acceptor { config: Arc::new(config), shared: Arc::new(shared), greeting: self.greeting })
    }
}

/// Makes sessions with clients.
#[derive(Clone, Debug)]
pub(super) struct Acceptor {
    config: Arc<ServerConfig>,
    shared: Arc<Shared>,
    /// How long a client may take until lines can come.
    pub(super) greeting: Duration,
}

impl Acceptor {
    pub(super) fn session(&self, peer: SocketAddr) -> io::Result<Session> {
        let tls = ServerConnection::new(Arc::clone(&self.config)).map_err(io::Error::other)?;
        Ok(Session::new(tls.into(), peer.to_string(), &self.shared))
    }
}

fn path(name: &str, value: &str) -> Result<PathBuf, String> {
    if value.is_empty() { Err(format!("`{name}=FILE` names a file")) } else { Ok(value.into()) }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn failed(uri: &str, error: &Error) -> SourceError {
    SourceError::Service { service: uri.to_owned(), reason: format!("TLS cannot be set up: {error}") }
}

/// A certificate and a key that do not go together.
fn unpaired(certificate: &Path, key: &Path, error: &Error) -> SourceError {
    match error {
        Error::InconsistentKeys(_) => {
            let reason =
                format!("the private key is not that of the certificate in {}", certificate.display());
            files::error(
                key,
                reason,
                "the first certificate in that file is the one that is shown; `tls-key=FILE` names its key",
            )
        }
        error => files::error(
            key,
            format!("the private key cannot be used: {error}"),
            "RSA, ECDSA and Ed25519 are known",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(options: &[(&str, &str)]) -> Result<Option<Client>, String> {
        let mut all = ClientOptions::default();
        for (name, value) in options {
            assert!(all.take(name, value)?, "{name} is none of these");
        }
        all.on("[::1]")
    }

    fn server(options: &[(&str, &str)]) -> Result<Option<Server>, String> {
        let mut all = ServerOptions::default();
        for (name, value) in options {
            assert!(all.take(name, value)?, "{name} is none of these");
        }
        all.server()
    }

    #[test]
    fn what_does_not_go_together_is_named() {
        for (options, part) in [
            (&[("tls", "")][..], "`tls=system`"),
            (&[("tls-cert", "a.pem")], "without `tls=system`"),
            (&[("tls", "system"), ("tls-key", "a.pem")], "without `tls-cert=`"),
            (&[("tls", "system"), ("tls-name", "a b")], "`tls-name=a b`"),
            (&[("tls-cert", "")], "`tls-cert=FILE`"),
        ] {
            let error = client(options).expect_err(part);
            assert!(error.contains(part), "{error}");
        }
        for (options, part) in [
            (&[("tls", "system")][..], "`tls-cert=FILE&tls-key=FILE`"),
            (&[("tls-clients", "a.pem")], "without `tls-cert=FILE`"),
            (&[("tls-handshake", "soon")], "`tls-handshake=soon`"),
        ] {
            let error = server(options).expect_err(part);
            assert!(error.contains(part), "{error}");
        }
        assert!(client(&[]).is_ok_and(|client| client.is_none()));
        assert!(server(&[]).is_ok_and(|server| server.is_none()));
    }

    #[test]
    fn a_host_is_the_name_and_a_certificate_may_have_its_key_with_it() {
        let both = client(&[("tls", "system"), ("tls-cert", "a.pem")]).expect("well formed").expect("TLS");
        assert_eq!(both.name, ServerName::try_from("::1").expect("a name"));
        assert_eq!(both.own, Some(("a.pem".into(), "a.pem".into())));
        let named =
            client(&[("tls", "system"), ("tls-name", "logs.example")]).expect("well formed").expect("TLS");
        assert_eq!(named.name, ServerName::try_from("logs.example").expect("a name"));
    }
}
