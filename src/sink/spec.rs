//! Sink URIs: `console:`, `jsonl:PATH?mode=…&at=end`.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::sink::{Console, Jsonl, Sink, SinkError};
use crate::view::{Gather, History, Views};

/// What a sink writes of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Each row once, when it is final: when no record can change it any more.
    ///
    /// Only tables of windows and of sessions have final rows. Other views are left out, and where all are, it is an
    /// error ([`SinkError::NoFinals`]).
    Append,
    /// Every change, with its difference: −old, +new.
    Changes,
    /// The rows that are new or have changed, as they are now; a row that goes away is not shown.
    Update,
    /// The whole of each view that has changed.
    ///
    /// A row that is final stays in it for ever, so a table of windows grows for as long as the run lasts.
    Complete,
}

/// When a sink writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// As each epoch is closed.
    EveryEpoch,
    /// Once, when the input has ended.
    End,
}

/// A sink as it was asked for.
///
/// ```
/// use thalweg::sink::{At, Mode, SinkSpec};
/// let spec: SinkSpec = "jsonl:out.jsonl?mode=changes&at=end".parse().unwrap();
/// assert_eq!((spec.mode, spec.at), (Mode::Changes, Some(At::End)));
/// let error = "jsonl:x?mode=chnages".parse::<SinkSpec>().unwrap_err();
/// assert!(error.to_string().contains("changes, update, complete"), "{error}");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkSpec {
    /// As it was written.
    pub uri: String,
    /// What it writes.
    pub mode: Mode,
    /// When it writes, if that was said: otherwise `console:` waits for the end of bounded input, and the rest do not.
    ///
    /// A console that appends does not wait, either: a row that is final is worth showing as soon as it is.
    pub at: Option<At>,
    target: Target,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Console { rows: Option<usize> },
    JsonlFile(PathBuf),
    JsonlStdout,
}

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

impl SinkSpec {
    /// Rows of each view that a terminal shows when not told; whatever else is shown all.
    pub const CONSOLE_ROWS: usize = 20;

    /// The file that it writes, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match &self.target {
            Target::JsonlFile(path) => Some(path),
            Target::Console { .. } | Target::JsonlStdout => None,
        }
    }

    /// When this sink writes, given whether the input has an end.
    pub fn at(&self, bounded: bool) -> At {
        self.at.unwrap_or(match self.target {
            Target::Console { .. } if bounded && self.mode != Mode::Append => At::End,
            _ => At::EveryEpoch,
        })
    }

    /// What the dataflow must send to serve `sinks`.
    pub fn gather(sinks: &[SinkSpec], bounded: bool) -> Gather {
        sinks.iter().fold(Gather::default(), |all, sink| {
            let wanted = match (sink.at(bounded), sink.mode) {
                (At::End, _) => History::AtEnd,
                (At::EveryEpoch, Mode::Complete) => History::Whole,
                (At::EveryEpoch, Mode::Append | Mode::Changes | Mode::Update) => History::Changes,
            };
            match sink.mode {
                Mode::Append => Gather { finals: all.finals.and(wanted), ..all },
                _ => Gather { rows: all.rows.and(wanted), ..all },
            }
        })
    }

    /// Checks that `views`, as they came of what [`SinkSpec::gather`] asked for, have something for this sink.
    ///
    /// # Errors
    ///
    /// When it appends final rows, and none of them has such.
    pub fn check(&self, views: &Views) -> Result<(), SinkError> {
        if self.mode == Mode::Append && views.finals.is_empty() {
            let views = views.rows.iter().map(|view| view.view().name).collect();
            return Err(SinkError::NoFinals { sink: self.uri.clone(), views });
        }
        Ok(())
    }

    /// Opens the sink.
    ///
    /// # Errors
    ///
    /// When its file cannot be created.
    pub fn open(&self, bounded: bool) -> Result<Box<dyn Sink>, SinkError> {
        let at = self.at(bounded);
        Ok(match &self.target {
            Target::Console { rows } => {
                let terminal = io::stdout().is_terminal();
                let rows = rows.unwrap_or(if terminal { Self::CONSOLE_ROWS } else { usize::MAX });
                Box::new(Console::new(io::stdout(), terminal, self.mode, at, rows))
            }
            Target::JsonlStdout => Box::new(Jsonl::new(&self.uri, io::stdout(), self.mode, at)),
            Target::JsonlFile(path) => {
                let create = |source| SinkError::Create { path: path.clone(), source };
                let file = std::fs::File::create(path).map_err(create)?;
                Box::new(Jsonl::new(&self.uri, file, self.mode, at))
            }
        })
    }
}

impl FromStr for SinkSpec {
    type Err = SinkSpecError;

    fn from_str(uri: &str) -> Result<Self, SinkSpecError> {
        let error = |reason: String| SinkSpecError { uri: uri.to_owned(), reason };
        let (scheme, rest) = uri
            .split_once(':')
            .ok_or_else(|| error("a sink is a URI: `console:`, `jsonl:PATH` or `jsonl:-`".to_owned()))?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut target = match (scheme, path) {
            ("console", "") => Target::Console { rows: None },
            ("console", _) => return Err(error("`console:` takes no path".to_owned())),
            ("jsonl", "") => {
                return Err(error("say where: `jsonl:PATH`, or `jsonl:-` for standard output".to_owned()));
            }
            ("jsonl", "-") => Target::JsonlStdout,
            ("jsonl", path) => Target::JsonlFile(path.into()),
            _ => {
                return Err(error(format!(
                    "no sink has the scheme `{scheme}:`; there are `console:` and `jsonl:`"
                )));
            }
        };
        let (mut mode, mut at) = (Mode::Complete, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (key, value, &mut target) {
                ("mode", "append", _) => mode = Mode::Append,
                ("mode", "changes", _) => mode = Mode::Changes,
                ("mode", "update", _) => mode = Mode::Update,
                ("mode", "complete", _) => mode = Mode::Complete,
                ("mode", _, _) => {
                    return Err(error(format!(
                        "mode `{value}` is not one of append, changes, update, complete"
                    )));
                }
                ("at", "end", _) => at = Some(At::End),
                ("at", "epoch", _) => at = Some(At::EveryEpoch),
                ("at", _, _) => return Err(error(format!("at `{value}` is not one of epoch, end"))),
                ("rows", _, Target::Console { rows }) => {
                    let number =
                        value.parse().map_err(|reason| error(format!("rows `{value}`: {reason}")))?;
                    *rows = Some(number);
                }
                _ => {
                    let rows = if scheme == "console" { ", rows" } else { "" };
                    return Err(error(format!("`{key}` is not one of its parameters: mode, at{rows}")));
                }
            }
        }
        Ok(SinkSpec { uri: uri.to_owned(), mode, at, target })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_that_are_not_sinks_say_what_could_stand_there() {
        for (uri, hint) in [
            ("console", "URI"),
            ("consle:", "there are `console:` and `jsonl:`"),
            ("console:/dev/tty", "no path"),
            ("jsonl:", "jsonl:-"),
            ("jsonl:x?mode=all", "changes, update, complete"),
            ("jsonl:x?at=noon", "epoch, end"),
            ("jsonl:x?rows=3", "mode, at"),
            ("console:?rows=x", "rows `x`"),
        ] {
            let error = uri.parse::<SinkSpec>().expect_err(uri).to_string();
            assert!(error.contains(hint) && error.contains(uri), "{uri}: {error}");
        }
    }

    #[test]
    fn consoles_wait_for_the_end_of_what_has_one() {
        let console: SinkSpec = "console:".parse().expect("valid");
        assert_eq!((console.at(true), console.at(false)), (At::End, At::EveryEpoch));
        let append: SinkSpec = "console:?mode=append".parse().expect("valid");
        assert_eq!((append.at(true), append.at(false)), (At::EveryEpoch, At::EveryEpoch));
        let append: SinkSpec = "console:?mode=append&at=end".parse().expect("valid");
        assert_eq!(append.at(false), At::End);
    }

    #[test]
    fn no_more_is_gathered_than_the_sinks_show() {
        use History::{AtEnd, Changes, Nothing, Whole};
        for (uris, rows, finals) in [
            (&[][..], Nothing, Nothing),
            (&["console:"], AtEnd, Nothing),
            (&["jsonl:-?mode=changes"], Changes, Nothing),
            (&["jsonl:-?mode=update", "jsonl:a?mode=changes"], Changes, Nothing),
            (&["jsonl:-"], Whole, Nothing),
            (&["console:", "jsonl:-?mode=changes"], Whole, Nothing),
            (&["console:?mode=append"], Nothing, Changes),
            (&["jsonl:-?mode=append&at=end"], Nothing, AtEnd),
            (&["console:", "jsonl:-?mode=append"], AtEnd, Changes),
            (&["jsonl:-?mode=append", "jsonl:a?mode=append&at=end"], Nothing, Whole),
        ] {
            let sinks: Vec<SinkSpec> = uris.iter().map(|uri| uri.parse().expect("valid")).collect();
            assert_eq!(SinkSpec::gather(&sinks, true), Gather { rows, finals }, "{uris:?}");
        }
    }
}
