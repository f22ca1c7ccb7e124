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
//! A view that has become empty has no line in `complete`; `changes` shows what went. Where rows are left out of a whole view,
//! because they are final and older than is kept, a line `{"view": V, "epoch": E, "left_out": N}` stands before the rows,
//! and says how many so far.
//!
//! Lines stand in the order of the views and, within each, of the view. Keys that are not UTF-8 show each bad byte as
//! `\xNN`, so that no two keys look alike ([`escape_json`]); times are text in the form of RFC 3339,
//! with a sign before a year that has no four digits ([`Time`]).
//! What is written of an epoch is handed to the operating system before the next epoch begins.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::ser::SerializeMap;

use crate::data::{Value, escape_json};
use crate::sink::rows::shown;
use crate::sink::{Closed, Mode, Opening, Sink, SinkError, Stdout};
use crate::time::Time;
use crate::view::{Column, Schema};

/// Writes views as JSON lines.
pub struct Jsonl {
    uri: String,
    file: Option<PathBuf>,
    out: Option<Box<dyn Write + Send>>,
    /// Whether it writes to standard output, which may be closed: that is found out before the first line is read.
    stdout: bool,
    /// What is not written yet.
    lines: Vec<u8>,
    /// Whether anything was written since it was last flushed.
    written: bool,
    mode: Mode,
}

impl fmt::Debug for Jsonl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jsonl").field("uri", &self.uri).finish_non_exhaustive()
    }
}

/// As much is written at once.
const PIECE: usize = 1 << 16;

impl Jsonl {
    /// Writes to `out`; `uri` is what errors call it.
    pub fn new(uri: &str, out: impl Write + Send + 'static) -> Self {
        Jsonl { out: Some(Box::new(out)), ..Jsonl::of(uri, None) }
    }

    /// Writes to standard output.
    pub(super) fn stdout(uri: &str) -> Self {
        Jsonl { stdout: true, ..Jsonl::new(uri, Stdout) }
    }

    /// Writes to the file `path`, which is emptied when the sink is opened.
    pub fn create(uri: &str, path: PathBuf) -> Self {
        Jsonl::of(uri, Some(path))
    }

    fn of(uri: &str, file: Option<PathBuf>) -> Self {
        let (uri, lines) = (uri.to_owned(), Vec::with_capacity(PIECE + PIECE / 8));
        Jsonl { uri, file, out: None, stdout: false, lines, written: false, mode: Mode::Complete }
    }

    fn write_all(&mut self, closed: &Closed<'_>) -> io::Result<()> {
        let Jsonl { out, lines, written, mode, .. } = self;
        let Some(out) = out else { return Ok(()) };
        let Closed { epoch, step, .. } = *closed;
        for view in closed.views {
            let Schema { name, columns, .. } = view.schema();
            let whole = closed.last || *mode == Mode::Complete && view.has_changed();
            if whole && view.left_out() > 0 {
                let line = LeftOut { view: name, epoch, step, left_out: view.left_out() };
                serde_json::to_writer(&mut *lines, &line)?;
                lines.push(b'\n');
                *written = true;
            }
            let mut result = Ok(());
            shown(&**view, closed, *mode, &mut |diff, values| {
                if result.is_ok() {
                    *written = true;
                    result = line(lines, name, columns, (epoch, step), diff, values);
                    if result.is_ok() && lines.len() >= PIECE {
                        result = out.write_all(lines);
                        lines.clear();
                    }
                }
            });
            result?;
        }
        Ok(())
    }

    /// Hands over what was written.
    fn flush(&mut self) -> Result<(), SinkError> {
        if !std::mem::take(&mut self.written) {
            return Ok(());
        }
        let Some(out) = &mut self.out else { return Ok(()) };
        let result = out.write_all(&self.lines).and_then(|()| out.flush());
        self.lines.clear();
        result.map_err(|source| self.error(source))
    }

    fn error(&self, source: io::Error) -> SinkError {
        SinkError::Write { sink: self.uri.clone(), source }
    }
}

impl Sink for Jsonl {
    fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    fn open(&mut self, opening: &Opening<'_>) -> Result<Option<u64>, SinkError> {
        self.mode = opening.shows.mode;
        if let Some(path) = &self.file {
            let create = |source| SinkError::Create { path: path.clone(), source };
            self.out = Some(Box::new(std::fs::File::create(path).map_err(create)?));
        }
        if self.stdout {
            Stdout.check().map_err(|source| self.error(source))?;
        }
        Ok(None)
    }

    fn write(&mut self, closed: &Closed<'_>) -> Result<(), SinkError> {
        self.write_all(closed).map_err(|source| self.error(source))
    }

    fn commit(&mut self, _epoch: u64) -> Result<(), SinkError> {
        self.flush()
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.flush()
    }
}

/// Adds the line of a row to `to`.
pub(super) fn line(
    to: &mut Vec<u8>,
    view: &str,
    columns: &[Column],
    (epoch, step): (u64, u32),
    diff: Option<isize>,
    values: &[Value<'_>],
) -> io::Result<()> {
    serde_json::to_writer(&mut *to, &Record { view, epoch, step, diff, row: Columns(columns, values) })?;
    to.push(b'\n');
    Ok(())
}

/// How many rows of a view are not shown any more.
#[derive(Serialize)]
struct LeftOut<'a> {
    view: &'a str,
    epoch: u64,
    #[serde(skip_serializing_if = "is_first")]
    step: u32,
    left_out: u64,
}

#[derive(Serialize)]
struct Record<'a> {
    view: &'a str,
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

/// A row as an object.
pub(super) struct Columns<'a>(pub &'a [Column], pub &'a [Value<'a>]);

impl Serialize for Columns<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (column, value) in self.0.iter().zip(self.1) {
            match value {
                Value::Null => map.serialize_entry(&column.name, &())?,
                Value::Int(value) => map.serialize_entry(&column.name, value)?,
                Value::Float(value) => map.serialize_entry(&column.name, value)?,
                Value::Bool(value) => map.serialize_entry(&column.name, value)?,
                Value::Time(millis) => map.serialize_entry(&column.name, &Time(*millis).to_string())?,
                Value::Bytes(bytes) => map.serialize_entry(&column.name, &escape_json(bytes))?,
            }
        }
        map.end()
    }
}
