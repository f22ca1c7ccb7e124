//! From bytes to records.
//!
//! A [`Format`] turns chunks of whole lines into records that borrow from them; most are a [`LineFormat`], which turns
//! one line into a record. Formats know bytes and nothing else: no dataflow, no clock, no file. A line that does not
//! parse is not an error but an answer (`None`): the caller counts it, keeps a sample, and goes on.

pub mod access;
pub mod access_log;
pub mod json;
pub mod logfmt;
pub mod pattern;
pub mod reference;
pub mod syslog;
pub mod time;

mod decimal;
mod escapes;
mod read;

pub use access::{AccessForm, AnyAccessLog, AnyAccessRecord};
pub use access_log::{AccessLog, AccessRecord, Size};
pub use json::{Json, JsonElements, JsonError, JsonField, JsonMode, JsonRecord, JsonValue};
pub use logfmt::{Logfmt, LogfmtPairs, LogfmtRecord, LogfmtValue};
pub use pattern::{Pattern, PatternError, PatternRecord};
pub use read::{Emit, Fields, Format, LineFormat, Scratch, WholeLines};
pub use reference::Reference;
pub use syslog::{Syslog, SyslogRecord};

/// Whole lines as records; nothing is malformed.
///
/// ```
/// use thalweg::format::{LineFormat, Text};
/// assert_eq!(Text.parse(b"\xff anything"), Some(&b"\xff anything"[..]));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Text;

impl LineFormat for Text {
    type Record<'a> = &'a [u8];

    fn parse<'a>(&mut self, line: &'a [u8]) -> Option<&'a [u8]> {
        Some(line)
    }
}
