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
                self.fill(&mut table, view.as_ref(), false);
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
            let mut table = Table::new(view.as_ref());
            self.fill(&mut table, view.as_ref(), closed.last);
            self.write_table(&table)?;
        }
        Ok(())
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

    /// Picks the rows to show, the first of them as text.
    fn fill(&self, table: &mut Table, view: &dyn Contents, last: bool) {
        let Table { columns, total, left_out, .. } = table;
        if self.mode == Mode::Changes && !last {
            columns.insert(0, Column::new("diff"));
            view.changes(&mut |diff, values| {
                *total += 1;
                if *total <= self.rows {
                    columns[0].push(format!("{diff:+}"), true);
                    self.push_row(&mut columns[1..], values);
                }
            });
        } else if matches!(self.mode, Mode::Update | Mode::Append) && !last {
            view.changes(&mut |diff, values| {
                for _ in 0..diff {
                    *total += 1;
                    if *total <= self.rows {
                        self.push_row(columns, values);
                    }
                }
            });
        } else {
            (*total, *left_out) = (view.len(), view.left_out());
            view.rows(self.rows, &mut |values| self.push_row(columns, values));
        }
    }

    fn push_row(&self, columns: &mut [Column], values: &[Value<'_>]) {
        columns.iter_mut().zip(values).for_each(|(column, value)| column.push_value(*value, self.terminal));
    }

    fn write_table(&mut self, table: &Table) -> io::Result<()> {
        let (bold, plain) = if self.bold { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        let count = match table.total {
            1 => "1 row".to_owned(),
            many => format!("{many} rows"),
        };
        writeln!(self.out, "{bold}{}{plain} ({count})", table.name)?;
        let heads = table.columns.iter().map(|column| (column, column.name.as_str()));
        write_line(&mut self.out, heads)?;
        let shown = table.total.min(self.rows);
        for row in 0..shown {
            let cells = table.columns.iter().map(|column| (column, column.cells[row].as_str()));
            write_line(&mut self.out, cells)?;
        }
        if table.total > shown {
            writeln!(self.out, "  … {} more", table.total - shown)?;
        }
        if table.left_out > 0 {
            writeln!(self.out, "  … {} older, final, no longer kept (keep=)", table.left_out)?;
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
    /// Rows that there were, and that are no longer kept.
    left_out: u64,
}

impl Table {
    fn new(view: &dyn Contents) -> Self {
        let schema = view.schema();
        let columns = schema.columns.iter().map(|column| Column::new(&column.name)).collect();
        Table { name: schema.name.clone(), columns, total: 0, left_out: 0 }
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

    fn push_value(&mut self, value: Value<'_>, terminal: bool) {
        match value {
            Value::Null => self.push("-".to_owned(), self.numbers),
            Value::Int(number) => self.push(number.to_string(), true),
            Value::Float(number) => self.push(format!("{number:.3}"), true),
            Value::Bool(value) => self.push(value.to_string(), false),
            Value::Time(millis) => self.push(Time(millis).to_string(), false),
            Value::Bytes(bytes) if terminal => self.push(cut(bytes), false),
            Value::Bytes(bytes) => self.push(escape_terminal(bytes), false),
        }
    }

    fn push(&mut self, text: String, number: bool) {
        self.numbers |= number;
        self.width = self.width.max(text.width());
        self.cells.push(text);
    }
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
