//! Sink URIs: `SCHEME:PATH?mode=…&at=…&keep=…&queue=…`, and what a scheme has of its own.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::str::FromStr;

use crate::sink::{At, Mode};
use crate::view::Keep;

/// A sink URI that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sink `{uri}`: {reason}")]
#[non_exhaustive]
pub struct SinkSpecError {
    /// As it was written, with `***` for what may be a secret.
    pub uri: String,
    /// What is wrong with it, and what could stand there.
    pub reason: String,
}

/// Looks a variable of the environment up.
pub(super) type Environment = fn(&str) -> Option<String>;

/// A sink's URI, taken apart: what every sink understands, and the parameters that are its scheme's own.
#[derive(Clone)]
pub struct SinkUri {
    /// Without secrets.
    uri: String,
    scheme: String,
    path: String,
    pub(super) mode: Option<Mode>,
    pub(super) at: Option<At>,
    pub(super) keep: Option<Keep>,
    pub(super) queue: Option<u64>,
    /// Whether terminals want no escape sequences; not part of what is written.
    pub(super) plain: bool,
    /// Where passwords may be.
    pub(super) environment: Option<Environment>,
    /// Parameters of its own that nobody has asked for yet.
    own: Vec<(String, String)>,
    /// The names that somebody has asked for.
    asked: Vec<&'static str>,
}

impl fmt::Debug for SinkUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the parts: there may be secrets among them.
        f.debug_tuple("SinkUri").field(&self.uri).finish()
    }
}

impl SinkUri {
    /// Takes `uri` apart.
    pub(super) fn parse(uri: &str) -> Result<Self, SinkSpecError> {
        let refuse = |reason: String| SinkSpecError { uri: without_secrets(uri), reason };
        let (scheme, rest) = uri
            .split_once(':')
            .ok_or_else(|| refuse("a sink is a URI: `console:`, `jsonl:PATH` or `jsonl:-`".to_owned()))?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut parsed = SinkUri {
            uri: without_secrets(uri),
            scheme: scheme.to_owned(),
            path: path.to_owned(),
            mode: None,
            at: None,
            keep: None,
            queue: None,
            plain: false,
            environment: None,
            own: Vec::new(),
            asked: Vec::new(),
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "mode" => {
                    parsed.mode = Some(match value {
                        "append" => Mode::Append,
                        "changes" => Mode::Changes,
                        "update" => Mode::Update,
                        "complete" => Mode::Complete,
                        _ => {
                            return Err(refuse(format!(
                                "mode `{value}` is not one of append, changes, update, complete"
                            )));
                        }
                    });
                }
                "at" => {
                    parsed.at = Some(match value {
                        "epoch" => At::EveryEpoch,
                        "end" => At::End,
                        _ => return Err(refuse(format!("at `{value}` is not one of epoch, end"))),
                    });
                }
                "keep" => {
                    let keep = value.parse().map_err(|reason| refuse(format!("keep `{value}`: {reason}")))?;
                    parsed.keep = Some(keep);
                }
                "queue" => {
                    let size = value.parse::<bytesize::ByteSize>();
                    let size =
                        size.map_err(|reason| refuse(format!("queue `{value}`: {reason} (such as 16MiB)")))?;
                    parsed.queue = Some(size.as_u64());
                }
                _ => parsed.own.push((name.to_owned(), value.to_owned())),
            }
        }
        Ok(parsed)
    }

    /// All of it, as it was written, but with `***` for what may be a secret: what messages show.
    pub fn as_str(&self) -> &str {
        &self.uri
    }

    /// What stands before the first colon.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// What stands between the scheme and the parameters. There may be a password in it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// A variable of the environment, where whoever runs the sink hands them over ([`Sinks::environment`]).
    ///
    /// [`Sinks::environment`]: crate::sink::Sinks::environment
    pub fn environment(&self, name: &str) -> Option<String> {
        self.environment?(name).filter(|value| !value.is_empty())
    }

    /// The parameter `name` of its own, if it was given. Parameters that are never asked for are refused, with the names of
    /// those that were.
    ///
    /// # Errors
    ///
    /// When it was given, and is no `T`.
    pub fn param<T: FromStr<Err: Display>>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>, SinkSpecError> {
        self.asked.push(name);
        let mut value = None;
        self.own.retain_mut(|(own, text)| {
            let is_it = own == name;
            if is_it {
                value = Some(std::mem::take(text));
            }
            !is_it
        });
        let Some(text) = value else { return Ok(None) };
        text.parse().map(Some).map_err(|reason| self.refuse(format!("{name} `{text}`: {reason}")))
    }

    /// The parameters of its own that begin with `prefix`, without that: for options that are handed on as they are.
    #[cfg(feature = "kafka")]
    pub(super) fn params_of(&mut self, prefix: &str) -> Vec<(String, String)> {
        let (found, rest) =
            std::mem::take(&mut self.own).into_iter().partition(|(name, _)| name.starts_with(prefix));
        self.own = rest;
        let found: Vec<(String, String)> = found;
        found.into_iter().map(|(name, value)| (name[prefix.len()..].to_owned(), value)).collect()
    }

    /// An error with `reason`.
    pub fn refuse(&self, reason: impl Into<String>) -> SinkSpecError {
        SinkSpecError { uri: self.uri.clone(), reason: reason.into() }
    }

    /// Refuses parameters that nobody has asked for.
    pub(super) fn refuse_unknown(&self) -> Result<(), SinkSpecError> {
        let Some((name, _)) = self.own.first() else { return Ok(()) };
        let known = [&["mode", "at", "keep", "queue"], &*self.asked].concat().join(", ");
        Err(self.refuse(format!("`{name}` is not one of its parameters: {known}")))
    }
}

/// `uri` with `***` in place of what may be a secret: the password before a host, and values of parameters that are called so.
fn without_secrets(uri: &str) -> String {
    let uri = without_password(uri);
    let hide = |parameter: &str| match parameter.split_once('=') {
        Some((name, value)) if is_secret(name) && !value.is_empty() => format!("{name}=***"),
        _ => parameter.to_owned(),
    };
    match uri.split_once('?') {
        Some((place, parameters)) => {
            format!("{place}?{}", parameters.split('&').map(hide).collect::<Vec<_>>().join("&"))
        }
        None => uri.into_owned(),
    }
}

/// `uri` with `***` in place of a password before its host, also of one that has characters which belong escaped.
fn without_password(uri: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = uri.split_once("://") else { return Cow::Borrowed(uri) };
    let Some((userinfo, host)) = rest.rsplit_once('@') else { return Cow::Borrowed(uri) };
    let Some((user, password)) = userinfo.split_once(':') else { return Cow::Borrowed(uri) };
    // Where an `@` stands further on for another reason, this may be a host and its port.
    let place = rest.split_once('?').map_or(rest, |(place, _)| place);
    if !place.contains('@') && password.starts_with(|first: char| first.is_ascii_digit()) {
        return Cow::Borrowed(uri);
    }
    Cow::Owned(format!("{scheme}://{user}:***@{host}"))
}

fn is_secret(name: &str) -> bool {
    const SECRET: [&str; 8] =
        ["password", "passphrase", "secret", "token", "credential", "jaas", ".pem", "oauthbearer.config"];
    let name = name.to_ascii_lowercase();
    !name.ends_with("-file") && SECRET.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_left_out_of_uris() {
        for (uri, shown) in [
            ("postgres://me:hush@h:5432/db?prefix=a", "postgres://me:***@h:5432/db?prefix=a"),
            ("postgres://me:hu/s@h@h/db", "postgres://me:***@h/db"),
            ("postgres://me:hu?s@h/db", "postgres://me:***@h/db"),
            (
                "mysql://me@h/db?password=hush&password-file=/p",
                "mysql://me@h/db?password=***&password-file=/p",
            ),
            ("kafka://h:9092/t?kafka.sasl.username=a@b", "kafka://h:9092/t?kafka.sasl.username=a@b"),
            ("kafka://h:9092/t?kafka.sasl.password=hush", "kafka://h:9092/t?kafka.sasl.password=***"),
            ("jsonl:a@b:c", "jsonl:a@b:c"),
        ] {
            assert_eq!(without_secrets(uri), shown);
            let parsed = SinkUri::parse(uri).expect(uri);
            assert!(!format!("{parsed:?} {}", parsed.refuse("no")).contains("hush"));
        }
        let error = SinkUri::parse("postgres://me:hush@h/db?mode=all").expect_err("no mode").to_string();
        assert!(error.contains("me:***@h/db") && !error.contains("hush"), "{error}");
    }
}
