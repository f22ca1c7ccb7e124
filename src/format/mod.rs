//! From bytes to records.
//!
//! A [`Format`] turns one line into a record that borrows from it. Formats know bytes and nothing else: no
//! dataflow, no clock, no file. A line that does not parse is not an error but an answer (`None`): the caller
//! counts it, keeps a sample, and goes on.

pub mod access_log;
pub mod json;
pub mod pattern;
pub mod reference;
pub mod time;

pub use access_log::{AccessLog, AccessRecord, Size};
pub use json::{Json, JsonElements, JsonError, JsonField, JsonMode, JsonRecord, JsonValue};
pub use pattern::{Pattern, PatternError, PatternRecord};
pub use reference::Reference;

/// A way to read a line as a record.
///
/// Each worker clones the format once and keeps it, so `parse` may use scratch space in `self`.
pub trait Format: Clone + Send + Sync + 'static {
    /// What a line becomes; it borrows from the line.
    type Record<'a>;

    /// Reads `line`, which has neither its LF nor the one CR before it, or returns `None` if it is malformed.
    fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Self::Record<'a>>;

    /// Why `line`, which [`parse`](Format::parse) found malformed, is to end the run, for a format that was asked to be
    /// so strict. `None`, as provided: it is counted, and the run goes on.
    fn fatal(&self, line: &[u8]) -> Option<String> {
        let _ = line;
        None
    }
}

/// Whole lines as records; nothing is malformed.
///
/// ```
/// use thalweg::format::{Format, Text};
/// assert_eq!(Text.parse(b"\xff anything"), Some(&b"\xff anything"[..]));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Text;

impl Format for Text {
    type Record<'a> = &'a [u8];

    fn parse<'a>(&mut self, line: &'a [u8]) -> Option<&'a [u8]> {
        Some(line)
    }
}
