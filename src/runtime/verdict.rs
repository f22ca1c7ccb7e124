//! Whether a run has answered anything: never an empty answer in silence.

use crate::data::{InputCounts, grouped};
use crate::runtime::{Exit, Report};

/// Why nothing came of the input that was read, or has come of it so far, and what to do; `None` if something did, or if there was
/// no input. `event_time` says whether anything goes by time, and `answered` whether a view has had a row.
pub(super) fn nothing(counts: InputCounts, event_time: bool, answered: bool) -> Option<String> {
    let InputCounts { lines, parsed, malformed, oversize, untimed, ahead, late_records: late, .. } = counts;
    if lines == 0 {
        return None;
    }
    let all = |count: i64| {
        if count == 1 { "the one record".to_owned() } else { format!("all {} records", grouped(count)) }
    };
    if parsed == 0 {
        let text = match lines {
            1 => "the one line is not of the form that is read".to_owned(),
            _ => format!("none of {} lines is of the form that is read", grouped(lines)),
        };
        let hint = match (malformed, oversize) {
            (0, _) => "they are longer than --max-line",
            _ => {
                "is it the right file? `--format` and `--pattern` name other forms of access logs, where a dataflow reads them"
            }
        };
        return Some(format!("{text}\n  hint: {hint}"));
    }
    if !event_time {
        return None;
    }
    if untimed == parsed {
        return Some(format!(
            "no time can be read of {}, and what is asked for goes by time\n  \
             hint: `--time-field` names the field where a dataflow has it, and `--time arrival` goes by the time of arrival",
            all(parsed)
        ));
    }
    if untimed + ahead == parsed {
        return Some(format!(
            "of {}, none has a time that counts: they are dated further ahead of their arrival than --max-ahead\n  \
             hint: `--max-ahead none` takes them as they are; a zone that is missing or wrong is `--zone`",
            all(parsed)
        ));
    }
    if !answered && late > 0 && late >= parsed - untimed - ahead {
        return Some(format!(
            "{} came too late for anything that is still open\n  \
             hint: read older files first, or raise --lateness",
            all(parsed - untimed - ahead)
        ));
    }
    None
}

/// So many lines show whether anything may come of an input: while it is live, whoever waits for an answer is told by then.
pub(super) const SO_FAR: i64 = 1000;

impl Report {
    /// Why nothing came of the input, and what to do; `None` if something did, or if there was none.
    pub fn nothing(&self) -> Option<String> {
        nothing(self.counts?, self.event_time, self.answered)
    }

    /// What is to be said of a run whose views have had no row although records were read; that may well be the answer.
    pub fn no_rows(&self) -> Option<String> {
        let counts = self.counts.filter(|counts| counts.parsed > 0 && !self.answered)?;
        Some(format!(
            "{} records were read, and no view has had a row\n  \
         hint: do the lines have the fields that are read? `thalweg help run DATAFLOW` says how to name others",
            grouped(counts.parsed)
        ))
    }

    /// The exit code that says how it went.
    pub fn exit(&self) -> Exit {
        match () {
            () if self.damaged => Exit::Input,
            () if self.nothing().is_some() && !self.unread => Exit::Nothing,
            () => Exit::Done,
        }
    }
}
