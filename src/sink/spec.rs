//! A sink as it was asked for, by its URI.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::sink::registry::Make;
use crate::sink::{At, Attached, Mode, Shows, SinkError, SinkSpecError, SinkUri, Sinks};
use crate::view::{Keep, Views};

/// A sink as it was asked for: a URI that its scheme understands. Nothing is opened yet.
///
/// Parameters that every sink has:
///
/// | parameter | what it says | when not given |
/// |---|---|---|
/// | `mode=append\|changes\|update\|complete` | what is written ([`Mode`]) | `complete` of input that has an end, and at the end; otherwise `update` |
/// | `at=epoch\|end` | when ([`At`]) | `epoch`; but `console:` waits for the end of input that has one, unless it appends |
/// | `keep=ROWS,TIME` or `keep=all` | how much of what is final whole views keep ([`Keep`]) | all of input that has an end; otherwise 10000 rows of each view |
/// | `queue=BYTES` | how much may wait for the sink before the run waits for it | 16MiB |
///
/// ```
/// use thalweg::sink::{At, Mode, SinkSpec};
/// let spec: SinkSpec = "jsonl:out.jsonl?mode=changes&at=end".parse().unwrap();
/// assert_eq!((spec.shows(true).mode, spec.shows(true).at), (Mode::Changes, At::End));
/// let error = "jsonl:x?mode=chnages".parse::<SinkSpec>().unwrap_err();
/// assert!(error.to_string().contains("changes, update, complete"), "{error}");
/// ```
#[derive(Clone)]
pub struct SinkSpec {
    /// As it was written, with `***` for what may be a secret.
    pub uri: String,
    parsed: SinkUri,
    make: Make,
    waits: bool,
    file: Option<PathBuf>,
}

impl fmt::Debug for SinkSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SinkSpec").field(&self.uri).finish()
    }
}

impl SinkSpec {
    pub(super) fn new(parsed: SinkUri, make: Make) -> Result<Self, SinkSpecError> {
        let mut asking = parsed.clone();
        let sink = make(&mut asking)?;
        asking.refuse_unknown()?;
        let (waits, file) = (sink.waits(), sink.file().map(Path::to_owned));
        Ok(SinkSpec { uri: parsed.as_str().to_owned(), parsed, make, waits, file })
    }

    /// The file that it overwrites, if it does.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The same, where whole views keep so much of what is final unless its URI says otherwise.
    #[must_use]
    pub fn keeping(mut self, keep: Keep) -> Self {
        self.parsed.keep.get_or_insert(keep);
        self
    }

    /// What this sink shows, and when, given whether the input has an end.
    pub fn shows(&self, bounded: bool) -> Shows {
        let SinkUri { mode, at, keep, .. } = self.parsed;
        let at = at.unwrap_or(match mode {
            // A row that is final is worth showing as soon as it is.
            Some(Mode::Append) => At::EveryEpoch,
            _ if self.waits && bounded => At::End,
            _ => At::EveryEpoch,
        });
        let mode = mode.unwrap_or(if bounded || at == At::End { Mode::Complete } else { Mode::Update });
        let keep = keep.unwrap_or(if bounded { Keep::ALL } else { Keep::DEFAULT });
        Shows { mode, at, keep }
    }

    /// Checks that `views` have something for this sink; it is the same on every worker.
    ///
    /// # Errors
    ///
    /// When it appends final rows, and none of them has such.
    pub fn check(&self, views: &Views) -> Result<(), SinkError> {
        let appends = self.parsed.mode == Some(Mode::Append);
        if appends && views.schemas().all(|schema| !schema.finality.have_finals()) {
            let views = views.schemas().map(|schema| schema.name.clone()).collect();
            return Err(SinkError::NoFinals { sink: self.uri.clone(), views });
        }
        Ok(())
    }

    /// Makes the sink, for [`Outputs::open`](crate::sink::Outputs::open).
    ///
    /// # Errors
    ///
    /// When its scheme does not understand the URI any more.
    pub fn attach(&self, bounded: bool) -> Result<Attached, SinkSpecError> {
        let sink = (self.make)(&mut self.parsed.clone())?;
        let mut attached = Attached::new(&self.uri, sink, self.shows(bounded));
        attached.queue = self.parsed.queue.unwrap_or(attached.queue);
        Ok(attached)
    }
}

impl FromStr for SinkSpec {
    type Err = SinkSpecError;

    /// Reads the URI of a sink of this crate; [`Sinks::parse`] knows others, too.
    fn from_str(uri: &str) -> Result<Self, SinkSpecError> {
        Sinks::builtin().parse(uri)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(uri: &str) -> SinkSpec {
        uri.parse().expect(uri)
    }

    #[test]
    fn uris_that_are_not_sinks_say_what_could_stand_there() {
        for (uri, hint) in [
            ("console", "URI"),
            ("consle:", "there are `console:`, `csv:`, `jsonl:`"),
            ("console:/dev/tty", "no path"),
            ("jsonl:", "jsonl:-"),
            ("jsonl:x?mode=all", "changes, update, complete"),
            ("jsonl:x?at=noon", "epoch, end"),
            ("jsonl:x?rows=3", "mode, at, keep, queue"),
            ("console:?row=3", "mode, at, keep, queue, rows"),
            ("console:?rows=x", "rows `x`"),
            ("console:?keep=some", "a number of rows, a length of time, both (10000,1h), or `all`"),
            ("console:?queue=much", "such as 16MiB"),
        ] {
            let error = uri.parse::<SinkSpec>().expect_err(uri).to_string();
            assert!(error.contains(hint) && error.contains(uri), "{uri}: {error}");
        }
    }

    #[test]
    fn consoles_wait_for_the_end_of_what_has_one() {
        let at = |uri: &str, bounded| spec(uri).shows(bounded).at;
        assert_eq!((at("console:", true), at("console:", false)), (At::End, At::EveryEpoch));
        assert_eq!(at("jsonl:-", true), At::EveryEpoch);
        let append = "console:?mode=append";
        assert_eq!((at(append, true), at(append, false)), (At::EveryEpoch, At::EveryEpoch));
        assert_eq!(at("console:?mode=append&at=end", false), At::End);
    }

    #[test]
    fn what_has_no_end_shows_what_changed_and_keeps_a_bound() {
        let ten = Keep { rows: Some(10), time: None };
        for (uri, bounded, mode, keep) in [
            ("console:", true, Mode::Complete, Keep::ALL),
            ("jsonl:-", true, Mode::Complete, Keep::ALL),
            ("console:", false, Mode::Update, Keep::DEFAULT),
            ("jsonl:-?mode=complete", false, Mode::Complete, Keep::DEFAULT),
            ("jsonl:-?at=end", false, Mode::Complete, Keep::DEFAULT),
            ("jsonl:-?keep=10", true, Mode::Complete, ten),
            ("jsonl:-?mode=complete&keep=all", false, Mode::Complete, Keep::ALL),
        ] {
            let Shows { mode: found, keep: kept, .. } = spec(uri).shows(bounded);
            assert_eq!((found, kept), (mode, keep), "{uri}, {bounded}");
        }
    }

    #[test]
    fn a_file_is_known_before_it_is_opened() {
        assert_eq!(spec("jsonl:some/file?at=end").file(), Some(Path::new("some/file")));
        assert_eq!((spec("jsonl:-").file(), spec("console:").file()), (None, None));
    }
}
