//! `csv:PATH`: the rows of one view as CSV, with a line of names.
//!
//! The columns are `_epoch`, `_step`, with `mode=changes` also `_diff`, and those of the view. Nothing is an empty field; text
//! that is not UTF-8 shows each bad byte as `\xNN`, and times have the form of RFC 3339. A file holds one view:
//! of a dataflow that shows several, a directory (`csv:DIR/`) holds each.
//!
//! The file is emptied when the sink is opened. What is written of an epoch is handed to the operating system before the next
//! epoch begins. It remembers no epochs: exactly once is what directories do.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::data::{Value, escape_json};
use crate::sink::files::own_columns;
use crate::sink::rows::shown;
use crate::sink::{Closed, Mode, Opening, Sink, SinkError, Stdout};
use crate::time::Time;
use crate::view::Column;

/// Rows of a view as CSV.
pub(super) struct CsvRows<W: Write> {
    out: csv::Writer<W>,
}

impl<W: Write> CsvRows<W> {
    /// Begins with the names of the columns.
    pub fn begin(out: W, columns: &[Column], changes: bool) -> io::Result<Self> {
        let mut out = csv::Writer::from_writer(out);
        let names = columns.iter().map(|column| column.name.clone());
        out.write_record(own_columns(columns, changes).into_iter().chain(names)).map_err(reason)?;
        Ok(CsvRows { out })
    }

    pub fn row(
        &mut self,
        (epoch, step): (u64, u32),
        diff: Option<isize>,
        values: &[Value<'_>],
    ) -> io::Result<()> {
        self.out.write_field(epoch.to_string()).map_err(reason)?;
        self.out.write_field(step.to_string()).map_err(reason)?;
        if let Some(diff) = diff {
            self.out.write_field(diff.to_string()).map_err(reason)?;
        }
        for value in values {
            self.out.write_field(field(value).as_bytes()).map_err(reason)?;
        }
        self.out.write_record(None::<&[u8]>).map_err(reason)
    }

    pub fn end(self) -> io::Result<W> {
        let mut out = self.out;
        out.flush()?;
        out.into_inner().map_err(|error| io::Error::other(error.to_string()))
    }
}

/// The system's reason, by which it is told whether somebody still reads.
fn reason(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        kind => io::Error::other(format!("{kind:?}")),
    }
}

fn field<'a>(value: &Value<'a>) -> Cow<'a, str> {
    match *value {
        Value::Null => "".into(),
        Value::Int(value) => value.to_string().into(),
        Value::Float(value) => value.to_string().into(),
        Value::Bool(value) => value.to_string().into(),
        Value::Time(millis) => Time(millis).to_string().into(),
        Value::Bytes(bytes) => escape_json(bytes),
    }
}

/// Writes one view as CSV.
pub struct Csv {
    uri: String,
    /// The file; none is standard output.
    file: Option<PathBuf>,
    rows: Option<CsvRows<Box<dyn Write + Send>>>,
    mode: Mode,
}

impl fmt::Debug for Csv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Csv").field("uri", &self.uri).finish_non_exhaustive()
    }
}

impl Csv {
    /// Writes to standard output.
    pub(super) fn stdout(uri: &str) -> Self {
        Csv { uri: uri.to_owned(), file: None, rows: None, mode: Mode::Complete }
    }

    /// Writes to the file `path`, which is emptied when the sink is opened; `uri` is what errors call it.
    pub fn create(uri: &str, path: PathBuf) -> Self {
        Csv { file: Some(path), ..Csv::stdout(uri) }
    }

    fn error(&self, source: io::Error) -> SinkError {
        SinkError::Write { sink: self.uri.clone(), source }
    }
}

impl Sink for Csv {
    fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    fn open(&mut self, opening: &Opening<'_>) -> Result<Option<u64>, SinkError> {
        let [view] = opening.views else {
            let views: Vec<_> = opening.views.iter().map(|schema| schema.name.as_str()).collect();
            let text = format!(
                "a file of CSV holds one view, and this dataflow shows {}: {}\n  hint: a directory holds each: `csv:DIR/`",
                views.len(),
                views.join(", ")
            );
            return Err(SinkError::own(&self.uri, text));
        };
        self.mode = opening.shows.mode;
        let out: Box<dyn Write + Send> = match &self.file {
            Some(path) => {
                let create = |source| SinkError::Create { path: path.clone(), source };
                Box::new(std::fs::File::create(path).map_err(create)?)
            }
            None => {
                Stdout.check().map_err(|source| self.error(source))?;
                Box::new(Stdout)
            }
        };
        let rows = CsvRows::begin(out, &view.columns, self.mode == Mode::Changes);
        self.rows = Some(rows.map_err(|source| self.error(source))?);
        Ok(None)
    }

    fn write(&mut self, closed: &Closed<'_>) -> Result<(), SinkError> {
        let (Some(rows), Some(view)) = (&mut self.rows, closed.views.first()) else { return Ok(()) };
        let mut result = Ok(());
        shown(&**view, closed, self.mode, &mut |diff, values| {
            if result.is_ok() {
                result = rows.row((closed.epoch, closed.step), diff, values);
            }
        });
        result.map_err(|source| self.error(source))
    }

    fn commit(&mut self, _epoch: u64) -> Result<(), SinkError> {
        let Some(rows) = &mut self.rows else { return Ok(()) };
        rows.out.flush().map_err(|source| self.error(source))
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.commit(0)
    }
}
