//! Sink URIs: `SCHEME:PATH?mode=…&at=…&keep=…&queue=…`, and what a scheme has of its own.

use std::fmt::Display;
use std::str::FromStr;

use crate::sink::{At, Mode};
use crate::view::Keep;

/// A sink URI that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sink `{uri}`: {reason}")]
#[non_exhaustive]
pub struct SinkSpecError {
    /// As it was written.
    pub uri: String,
    /// What is wrong with it, and what could stand there.
    pub reason: String,
}

/// A sink's URI, taken apart: what every sink understands, and the parameters that are its scheme's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkUri {
    uri: String,
    scheme: String,
    path: String,
    pub(super) mode: Option<Mode>,
    pub(super) at: Option<At>,
    pub(super) keep: Option<Keep>,
    pub(super) queue: Option<u64>,
    /// Whether terminals want no escape sequences; not part of what is written.
    pub(super) plain: bool,
    /// Parameters of its own that nobody has asked for yet.
    own: Vec<(String, String)>,
    /// The names that somebody has asked for.
    asked: Vec<&'static str>,
}

impl SinkUri {
    /// Takes `uri` apart.
    pub(super) fn parse(uri: &str) -> Result<Self, SinkSpecError> {
        let refuse = |reason: String| SinkSpecError { uri: uri.to_owned(), reason };
        let (scheme, rest) = uri
            .split_once(':')
            .ok_or_else(|| refuse("a sink is a URI: `console:`, `jsonl:PATH` or `jsonl:-`".to_owned()))?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut parsed = SinkUri {
            uri: uri.to_owned(),
            scheme: scheme.to_owned(),
            path: path.to_owned(),
            mode: None,
            at: None,
            keep: None,
            queue: None,
            plain: false,
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

    /// All of it, as it was written.
    pub fn as_str(&self) -> &str {
        &self.uri
    }

    /// What stands before the first colon.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// What stands between the scheme and the parameters.
    pub fn path(&self) -> &str {
        &self.path
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
