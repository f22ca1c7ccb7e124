//! `console:`: aligned tables for people.
//!
//! Every step of an epoch has a heading, `── epoch 3.17 ──`, and under it a table of each view that changed. Rows that
//! have become final (`mode=append`) stand in one table of each view for the whole epoch, in the order of the steps.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufWriter, Write};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::data::{Value, escape_terminal};
use crate::sink::{Closed, Mode, Opening, Sink, SinkError, Stdout};
use crate::time::Time;
use crate::view::Contents;

/// Writes views as tables: text to the left, numbers to the right, nothing that a terminal would obey.
pub struct Console {
    out: BufWriter<Box<dyn Write + Send>>,
    /// Whether it is a terminal: then wide cells are cut ...
    terminal: bool,
    /// ... and headings are bold, unless it wants no escape sequences.
    bold: bool,
    /// Rows of each view that are shown.
    rows: usize,
    /// Whether it writes to standard output, which may be closed: that is found out before the first line is read.
    stdout: bool,
    mode: Mode,
    /// The rows that have become final in this epoch, by the place of their view.
    appended: BTreeMap<usize, Table>,
    /// Whether anything was written since it was last flushed.
    written: bool,
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("rows", &self.rows).finish_non_exhaustive()
    }
}

/// Widest cell that is shown whole, in columns of a terminal.
const WIDEST: usize = 100;

impl Console {
    /// Writes to `out`, at most `rows` rows of each view; `terminal` says whether it is one.
    pub fn new(out: impl Write + Send + 'static, terminal: bool, rows: usize) -> Self {
        let out = BufWriter::new(Box::new(out) as Box<dyn Write + Send>);
        let (mode, appended) = (Mode::Complete, BTreeMap::new());
        Console { out, terminal, bold: terminal, rows, stdout: false, mode, appended, written: false }
    }

    /// Writes to standard output.
    pub(super) fn stdout(terminal: bool, rows: usize) -> Self {
        Console { stdout: true, ..Console::new(Stdout, terminal, rows) }
    }

    /// This, without escape sequences even on a terminal.
    #[must_use]
    pub fn plain(mut self) -> Self {
        self.bold = false;
        self
    }

    fn write_all(&mut self, closed: &Closed<'_>) -> io::Result<()> {
        self.written = true;
        let shown = closed.views.iter().enumerate().filter(|(_, view)| closed.last || view.has_changed());
        if self.mode == Mode::Append && !closed.last {
            for (place, view) in shown {
                let mut table = self.appended.remove(&place).unwrap_or_else(|| Table::new(view.as_ref()));
                self.fill(&mut table, view.as_ref());
                self.appended.insert(place, table);
            }
            return Ok(());
        }
        if !closed.last {
            match closed.step {
                0 => writeln!(self.out, "── epoch {} ──", closed.epoch)?,
                step => writeln!(self.out, "── epoch {}.{step} ──", closed.epoch)?,
            }
        }
        for (_, view) in shown {
            if closed.last || self.mode == Mode::Complete {
                self.write_whole(view.as_ref())?;
            } else {
                let mut table = Table::new(view.as_ref());
                self.fill(&mut table, view.as_ref());
                self.write_table(&table)?;
            }
        }
        Ok(())
    }

    /// Writes the rows that a view has. They may be millions: they are gone through for the widths of the columns, and once more
    /// to be written, and their text is not kept.
    fn write_whole(&mut self, view: &dyn Contents) -> io::Result<()> {
        let Table { mut columns, .. } = Table::new(view);
        let terminal = self.terminal;
        view.rows(self.rows, &mut |values| {
            for (column, value) in columns.iter_mut().zip(values) {
                column.fit(&text(*value, terminal), is_number(*value));
            }
        });
        self.write_heads(&view.schema().name, view.len(), &columns)?;
        let (out, mut result) = (&mut self.out, Ok(()));
        view.rows(self.rows, &mut |values| {
            if result.is_ok() {
                let cells: Vec<_> = values.iter().map(|value| text(*value, terminal)).collect();
                result = write_line(out, columns.iter().zip(cells.iter().map(String::as_str)));
            }
        });
        result?;
        self.write_foot(view.len(), view.left_out())
    }

    fn write_appended(&mut self, epoch: u64) -> io::Result<()> {
        if !self.appended.is_empty() {
            writeln!(self.out, "── epoch {epoch} ──")?;
        }
        for table in std::mem::take(&mut self.appended).into_values() {
            self.write_table(&table)?;
        }
        self.flush()
    }

    /// Hands over what was written, if anything was.
    fn flush(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.written) { self.out.flush() } else { Ok(()) }
    }

    /// Picks the changes to show, the first of them as text.
    fn fill(&self, table: &mut Table, view: &dyn Contents) {
        let Table { columns, total, .. } = table;
        if self.mode == Mode::Changes {
            columns.insert(0, Column::new("diff"));
            view.changes(&mut |diff, values| {
                *total += 1;
                if *total <= self.rows {
                    columns[0].push(format!("{diff:+}"), true);
                    self.push_row(&mut columns[1..], values);
                }
            });
        } else {
            view.changes(&mut |diff, values| {
                for _ in 0..diff {
                    *total += 1;
                    if *total <= self.rows {
                        self.push_row(columns, values);
                    }
                }
            });
        }
    }

    fn push_row(&self, columns: &mut [Column], values: &[Value<'_>]) {
        for (column, value) in columns.iter_mut().zip(values) {
            column.push(text(*value, self.terminal), is_number(*value));
        }
    }

    fn write_table(&mut self, table: &Table) -> io::Result<()> {
        self.write_heads(&table.name, table.total, &table.columns)?;
        for row in 0..table.total.min(self.rows) {
            let cells = table.columns.iter().map(|column| (column, column.cells[row].as_str()));
            write_line(&mut self.out, cells)?;
        }
        self.write_foot(table.total, 0)
    }

    fn write_heads(&mut self, name: &str, total: usize, columns: &[Column]) -> io::Result<()> {
        let (bold, plain) = if self.bold { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        let count = match total {
            1 => "1 row".to_owned(),
            many => format!("{many} rows"),
        };
        writeln!(self.out, "{bold}{name}{plain} ({count})")?;
        write_line(&mut self.out, columns.iter().map(|column| (column, column.name.as_str())))
    }

    fn write_foot(&mut self, total: usize, left_out: u64) -> io::Result<()> {
        if total > self.rows {
            writeln!(self.out, "  … {} more", total - self.rows)?;
        }
        if left_out > 0 {
            writeln!(self.out, "  … {left_out} older, final, no longer kept (keep=)")?;
        }
        writeln!(self.out)
    }

    fn error(source: io::Error) -> SinkError {
        SinkError::Write { sink: "console:".to_owned(), source }
    }
}

impl Sink for Console {
    fn waits(&self) -> bool {
        true
    }

    fn open(&mut self, opening: &Opening<'_>) -> Result<Option<u64>, SinkError> {
        self.mode = opening.shows.mode;
        if self.stdout {
            Stdout.check().map_err(Self::error)?;
        }
        Ok(None)
    }

    fn write(&mut self, closed: &Closed<'_>) -> Result<(), SinkError> {
        self.write_all(closed).map_err(Self::error)
    }

    fn commit(&mut self, epoch: u64) -> Result<(), SinkError> {
        self.write_appended(epoch).map_err(Self::error)
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.flush().map_err(Self::error)
    }
}

#[derive(Debug)]
struct Table {
    name: String,
    columns: Vec<Column>,
    /// Rows that there are, of which the first are in the columns.
    total: usize,
}

impl Table {
    fn new(view: &dyn Contents) -> Self {
        let schema = view.schema();
        let columns = schema.columns.iter().map(|column| Column::new(&column.name)).collect();
        Table { name: schema.name.clone(), columns, total: 0 }
    }
}

#[derive(Debug)]
struct Column {
    name: String,
    cells: Vec<String>,
    width: usize,
    numbers: bool,
}

impl Column {
    fn new(name: &str) -> Self {
        Column { name: name.to_owned(), cells: Vec::new(), width: name.width(), numbers: false }
    }

    fn push(&mut self, text: String, number: bool) {
        self.fit(&text, number);
        self.cells.push(text);
    }

    /// Makes room for `text`.
    fn fit(&mut self, text: &str, number: bool) {
        self.numbers |= number;
        self.width = self.width.max(text.width());
    }
}

/// `value` as it is shown.
fn text(value: Value<'_>, terminal: bool) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => format!("{number:.3}"),
        Value::Bool(value) => value.to_string(),
        Value::Time(millis) => Time(millis).to_string(),
        Value::Bytes(bytes) if terminal => cut(bytes),
        Value::Bytes(bytes) => escape_terminal(bytes),
    }
}

fn is_number(value: Value<'_>) -> bool {
    matches!(value, Value::Int(_) | Value::Float(_))
}

/// `bytes` as harmless text, or as much of them as is [`WIDEST`] wide.
///
/// Characters may have no width, so their number is bounded, too.
fn cut(bytes: &[u8]) -> String {
    let head = &bytes[..bytes.len().min(8 * WIDEST)];
    let text = escape_terminal(head);
    let mut width = 0;
    let fitting = text.char_indices().take(2 * WIDEST).take_while(|(_, char)| {
        width += char.width().unwrap_or(0);
        width < WIDEST
    });
    match fitting.last() {
        Some((at, char)) if at + char.len_utf8() < text.len() || head.len() < bytes.len() => {
            text[..at + char.len_utf8()].to_owned() + "…"
        }
        _ => text,
    }
}

fn write_line<'a>(
    out: &mut impl Write,
    cells: impl Iterator<Item = (&'a Column, &'a str)>,
) -> io::Result<()> {
    let mut line = String::new();
    let mut cells = cells.peekable();
    while let Some((column, text)) = cells.next() {
        // Nothing follows the last column, which may be very wide in one row.
        let pad = if cells.peek().is_some() || column.numbers { column.width - text.width() } else { 0 };
        let pad = " ".repeat(pad);
        line.push_str("  ");
        if column.numbers {
            line += &pad;
            line += text;
        } else {
            line += text;
            line += &pad;
        }
    }
    writeln!(out, "{}", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_cut_by_width_whatever_they_hold() {
        assert_eq!(cut(b"short"), "short");
        assert_eq!(cut(&[b'a'; WIDEST - 1]), "a".repeat(WIDEST - 1));
        for long in ["a".repeat(500), "\u{4e2d}".repeat(500), "\u{301}".repeat(100_000), "\x1b".repeat(500)] {
            let cell = cut(long.as_bytes());
            assert!(cell.ends_with('…') && cell.width() <= WIDEST, "{cell}");
            assert!(cell.chars().count() <= 2 * WIDEST + 1);
        }
    }
}
