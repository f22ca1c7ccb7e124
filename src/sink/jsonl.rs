//! `jsonl:PATH`: one JSON object a line.
//!
//! | mode | a line |
//! |---|---|
//! | `complete` | `{"view": V, "epoch": E, "row": {COLUMN: VALUE, …}}`, one for each row of each view that changed |
//! | `update` | the same, for each row that is new or has changed |
//! | `changes` | `{"view": V, "epoch": E, "diff": ±N, "row": {…}}`, one for each row that came (`+`) or went (`-`) |
//! | `append` | as `complete`, one for each row once, when it is final, of the views that have final rows |
//!
//! Where an epoch has several steps, `"step": N` stands behind `"epoch"`; where it is missing, the step is 0.
//!
//! A view that has become empty has no line in `complete`; `changes` shows what went.
//!
//! Lines stand in the order of the views and, within each, of the view. Keys that are not UTF-8 show each bad byte as
//! `\xNN`; times are text in the form of RFC 3339, or the number of milliseconds where that form has no year for them.
//! What is written of an epoch is handed to the operating system before the next epoch begins.

use std::io::{self, BufWriter, Write};

use serde::Serialize;
use serde::ser::SerializeMap;

use crate::view::View;

use crate::data::{Time, Value, escape_json};
use crate::sink::{At, Closed, Mode, Sink, SinkError};

/// Writes views as JSON lines.
#[derive(Debug)]
pub struct Jsonl<W: Write> {
    uri: String,
    out: BufWriter<W>,
    mode: Mode,
    at: At,
}

impl<W: Write> Jsonl<W> {
    /// Writes to `out`; `uri` is what errors call it.
    pub fn new(uri: &str, out: W, mode: Mode, at: At) -> Self {
        Jsonl { uri: uri.to_owned(), out: BufWriter::with_capacity(1 << 16, out), mode, at }
    }

    fn write_all(&mut self, closed: &Closed<'_>) -> io::Result<()> {
        for view in closed.views {
            let View { name, columns, .. } = view.view();
            let mut result = Ok(());
            let mut line = |diff: Option<isize>, values: &[Value<'_>]| {
                if result.is_ok() {
                    let Closed { epoch, step, .. } = *closed;
                    let record = Record { view: name, epoch, step, diff, row: Columns(columns, values) };
                    result = serde_json::to_writer(&mut self.out, &record)
                        .map_err(io::Error::from)
                        .and_then(|()| self.out.write_all(b"\n"));
                }
            };
            // The last state is a change from nothing: every row is new.
            match self.mode {
                Mode::Changes if closed.last => view.rows(&mut |values| line(Some(1), values)),
                Mode::Changes => view.changes(&mut |diff, values| line(Some(diff), values)),
                // What is final is never retracted, so the new rows are all there is.
                Mode::Update | Mode::Append if !closed.last => view.changes(&mut |diff, values| {
                    (0..diff).for_each(|_| line(None, values));
                }),
                Mode::Complete if !closed.last && !view.has_changed() => {}
                Mode::Complete | Mode::Update | Mode::Append => view.rows(&mut |values| line(None, values)),
            }
            result?;
        }
        Ok(())
    }

    fn error(&self, source: io::Error) -> SinkError {
        SinkError::Write { sink: self.uri.clone(), source }
    }
}

impl<W: Write + std::fmt::Debug> Sink for Jsonl<W> {
    fn at(&self) -> At {
        self.at
    }

    fn finals(&self) -> bool {
        self.mode == Mode::Append
    }

    fn write(&mut self, closed: &Closed<'_>) -> Result<(), SinkError> {
        self.write_all(closed).map_err(|source| self.error(source))
    }

    fn commit(&mut self, _epoch: u64) -> Result<(), SinkError> {
        self.out.flush().map_err(|source| self.error(source))
    }
}

#[derive(Serialize)]
struct Record<'a> {
    view: &'static str,
    epoch: u64,
    #[serde(skip_serializing_if = "is_first")]
    step: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<isize>,
    row: Columns<'a>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_first(step: &u32) -> bool {
    *step == 0
}

struct Columns<'a>(&'static [&'static str], &'a [Value<'a>]);

impl Serialize for Columns<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0.iter().zip(self.1) {
            match value {
                Value::Null => map.serialize_entry(name, &())?,
                Value::Int(value) => map.serialize_entry(name, value)?,
                Value::Float(value) => map.serialize_entry(name, value)?,
                Value::Bool(value) => map.serialize_entry(name, value)?,
                Value::Time(millis) => match Time(*millis).rfc3339() {
                    Some(text) => map.serialize_entry(name, &text)?,
                    None => map.serialize_entry(name, millis)?,
                },
                Value::Bytes(bytes) => map.serialize_entry(name, &escape_json(bytes))?,
            }
        }
        map.end()
    }
}
