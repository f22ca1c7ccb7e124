//! Source URIs, and who makes sources of them.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use super::limit;
use super::{
    DirSource, Enveloped, FileSource, FollowSource, JournaldSource, Source, Stdin, TcpListenSource, TcpSource,
};
use crate::envelope::EnvelopeKind;

/// Makes a source of what follows the scheme and its colon, or says what is wrong with it.
pub type SourceFactory = Arc<dyn Fn(&str) -> Result<Arc<dyn Source>, String> + Send + Sync>;

/// The kinds of source that there are, by their scheme.
///
/// ```
/// use std::sync::Arc;
/// use thalweg::source::{Memory, Sources};
/// let sources = Sources::builtin().with("hello", |rest| {
///     Ok(Arc::new(Memory::fixed(vec![("hello:".into(), Arc::from(rest.as_bytes()))])))
/// });
/// let (input, source) = sources.open("greetings=hello:world")?;
/// assert_eq!((input.as_deref(), source.is_bounded()), (Some("greetings"), true));
/// let error = sources.open("htp://x").unwrap_err().to_string();
/// assert!(error.contains("`file:`, `hello:`"), "{error}");
/// # Ok::<(), thalweg::source::SourceUriError>(())
/// ```
#[derive(Clone)]
pub struct Sources(Vec<(String, SourceFactory)>);

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(scheme, _)| scheme)).finish()
    }
}

/// A URI that is no source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{uri}`: {reason}")]
#[non_exhaustive]
pub struct SourceUriError {
    /// The URI as given, with `***` for what may be a secret.
    pub uri: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Sources {
    /// Those of this module: files ([`FileSource`], [`FollowSource`]) as `file:PATH`, directories
    /// ([`DirSource`]) as `dir:PATH`, standard input ([`Stdin`]) as `stdin:`, a server to connect to ([`TcpSource`]) as `tcp://HOST:PORT`, and clients that connect ([`TcpListenSource`]) as
    /// `tcp-listen://ADDRESS:PORT`.
    ///
    /// What is in envelopes is read by [`Enveloped`]: `docker:`, `cri:` and `syslog:`, and `ENVELOPE+SOURCE` of any other source; and systemd's
    /// journal ([`JournaldSource`]) as `journald:`.
    ///
    /// The command has `rate:`, too ([`RateSource`](crate::rate::RateSource)), which has to be handed a clock.
    ///
    /// `kafka:` is there in programs that are built with the feature of that name, and otherwise says so.
    pub fn builtin() -> Self {
        #[cfg(feature = "kafka")]
        let kafka = |rest: &str| Ok(Arc::new(super::KafkaSource::new(rest)?) as Arc<dyn Source>);
        #[cfg(not(feature = "kafka"))]
        let kafka =
            |_: &str| Err("this program was built without Kafka: `cargo build --features kafka`".to_owned());
        Sources(Vec::new())
            .with("kafka", kafka)
            .with("file", |path| match path {
                "" => Err("say which file: `file:PATH`".to_owned()),
                path => match path.rsplit_once('?').filter(|(_, options)| FollowSource::are_options(options))
                {
                    Some((path, options)) => Ok(Arc::new(FollowSource::of_options(&[path], options)?)),
                    None => Ok(Arc::new(FileSource::new(path))),
                },
            })
            .with("dir", |rest| Ok(Arc::new(DirSource::new(rest)?)))
            .with("docker", |rest| {
                let usual = "/var/lib/docker/containers/*/*-json.log*";
                Ok(Arc::new(Enveloped::files_of(EnvelopeKind::Docker, rest, usual)?))
            })
            .with("cri", |rest| {
                Ok(Arc::new(Enveloped::files_of(EnvelopeKind::Cri, rest, "/var/log/pods/*/*/*.log*")?))
            })
            .with("syslog", |rest| {
                Ok(Arc::new(Enveloped::files_of(EnvelopeKind::Syslog, rest, "/var/log/syslog")?))
            })
            .with("journald", |rest| Ok(Arc::new(JournaldSource::parse(rest)?)))
            .with("stdin", |path| match path {
                "" => Ok(Arc::new(Stdin::default())),
                _ => Err("`stdin:` takes no path".to_owned()),
            })
            .with("tcp", |rest| Ok(Arc::new(TcpSource::parse(rest)?)))
            .with("tcp-listen", |rest| Ok(Arc::new(TcpListenSource::parse(rest)?)))
    }

    /// These, and another; of two with the same scheme the later counts.
    #[must_use]
    pub fn with(
        mut self,
        scheme: &str,
        factory: impl Fn(&str) -> Result<Arc<dyn Source>, String> + Send + Sync + 'static,
    ) -> Self {
        self.0.retain(|(other, _)| other != scheme);
        self.0.push((scheme.to_owned(), Arc::new(factory)));
        self.0.sort_by(|(a, _), (b, _)| a.cmp(b));
        self
    }

    /// `uri`, so that what it names is followed if it is files.
    ///
    /// ```
    /// use thalweg::source::Sources;
    /// let sources = Sources::builtin();
    /// assert_eq!(sources.following("clicks=file:a.log"), "clicks=file:a.log?follow");
    /// assert_eq!(sources.following("a.log?follow&start=end"), "a.log?follow&start=end");
    /// assert_eq!(sources.following("a.log?max-rate=5"), "a.log?follow&max-rate=5");
    /// assert_eq!(sources.following("stdin:"), "stdin:");
    /// assert_eq!(sources.following("syslog+a.log"), "syslog+a.log?follow");
    /// assert_eq!(sources.following("syslog+a.log?syslog.year=2024"), "syslog+a.log?syslog.year=2024&follow");
    /// ```
    pub fn following<'a>(&self, uri: &'a str) -> Cow<'a, str> {
        let (_, rest) = named(uri);
        let in_envelope = rest.split_once('+').filter(|(name, _)| name.parse::<EnvelopeKind>().is_ok());
        let rest = in_envelope.map_or(rest, |(_, rest)| rest);
        let scheme = rest.split_once(':').map(|(scheme, _)| scheme).filter(|_| !Path::new(rest).exists());
        let is_file = rest != "-" && scheme.is_none_or(|scheme| scheme == "file" || !is_name(scheme));
        let (plain, limits) = limit::split(uri);
        let follows = plain.rsplit_once('?').is_some_and(|(_, options)| FollowSource::are_options(options));
        if !is_file || follows {
            return Cow::Borrowed(uri);
        }
        // The options of an envelope may be there.
        let of_envelope = |options: &str| options.split('&').all(|option| option.starts_with("syslog."));
        let options = plain.rsplit_once('?').map(|(_, options)| options).filter(|_| in_envelope.is_some());
        let mark = if options.is_some_and(of_envelope) { '&' } else { '?' };
        let limits = if limits.is_empty() { limits } else { format!("&{limits}") };
        Cow::Owned(format!("{plain}{mark}follow{limits}"))
    }

    /// The source that `uri` names, and the input of the dataflow that it is for, if it says so (`clicks=file:…`).
    ///
    /// A path without a scheme is that of a file, and `-` is standard input. Every source that goes on can be
    /// [bounded](super::MaxRate): `max-rate=LINES` a second, and `max-rate-per-partition=LINES`.
    ///
    /// # Errors
    ///
    /// When its scheme is not known, or its kind of source refuses it.
    pub fn open(&self, uri: &str) -> Result<(Option<String>, Arc<dyn Source>), SourceUriError> {
        let error = |reason: String| SourceUriError { uri: without_secrets(uri), reason };
        let (input, rest) = named(uri);
        let input = input.map(str::to_owned);
        if let Some(parts) = Enveloped::parts(rest).filter(|_| !Path::new(rest).exists()) {
            let (envelope, rest) = parts.map_err(error)?;
            let (_, source) = self.open(&rest)?;
            return Ok((input, Arc::new(Enveloped::new(envelope, source))));
        }
        let factory = |scheme: &str| self.0.iter().find(|(other, _)| other == scheme).map(|(_, make)| make);
        let known = |scheme, rest| Some((scheme, rest, factory(scheme)?));
        let known =
            rest.split_once(':').and_then(|(scheme, rest)| known(scheme, rest)).or_else(|| match rest {
                "-" => known("stdin", ""),
                path if !has_scheme(path) || Path::new(path).exists() => known("file", path),
                _ => None,
            });
        match known {
            Some((scheme, rest, factory)) => {
                limit::open(scheme, rest, factory).map(|source| (input, source)).map_err(error)
            }
            None => {
                let schemes: Vec<_> = self.0.iter().map(|(scheme, _)| format!("`{scheme}:`")).collect();
                Err(error(format!(
                    "a source is a path, `-`, or one of {}, as in `file:PATH`",
                    schemes.join(", ")
                )))
            }
        }
    }
}

/// The input that `uri` names, if it does, and the rest.
fn named(uri: &str) -> (Option<&str>, &str) {
    match uri.split_once('=') {
        Some((input, rest)) if is_name(input) => (Some(input), rest),
        _ => (None, uri),
    }
}

/// The options of a URI, each with its value, or none if it has none: what stands behind the `?`.
pub(crate) fn options(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let given = text.split('&').filter(|option| !option.is_empty());
    given.map(|option| option.split_once('=').unwrap_or((option, "")))
}

/// `uri` with `***` in place of options' values that may be secrets: it goes into logs and messages.
pub(super) fn without_secrets(uri: &str) -> String {
    const SECRET: [&str; 8] =
        ["password", "passphrase", "secret", "token", "credential", "jaas", ".pem", "oauthbearer.config"];
    let is_secret = |key: &str| {
        let key = key.to_ascii_lowercase();
        SECRET.iter().any(|word| key.contains(word))
    };
    let hide = |option: &str| match option.split_once('=') {
        Some((key, value)) if is_secret(key) && !value.is_empty() => format!("{key}=***"),
        _ => option.to_owned(),
    };
    match uri.split_once('?') {
        Some((place, options)) => {
            format!("{place}?{}", options.split('&').map(hide).collect::<Vec<_>>().join("&"))
        }
        None => uri.to_owned(),
    }
}

/// Whether `text` begins as a URI does.
fn has_scheme(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, _)| is_name(scheme))
}

/// Whether `text` can be the name of an input: neither a scheme nor a path is.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_left_out_of_uris() {
        let uri = "in=kafka://a:1/t?kafka.sasl.password=hush&kafka.sasl.username=me&kafka.ssl.key.pem=hush";
        let shown = "in=kafka://a:1/t?kafka.sasl.password=***&kafka.sasl.username=me&kafka.ssl.key.pem=***";
        assert_eq!(without_secrets(uri), shown);
        let error = Sources::builtin().open("nothing://x?password=hush").err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains("password=***") && !error.contains("hush")));
        assert_eq!(without_secrets("data/password=2.log"), "data/password=2.log");
    }
}
