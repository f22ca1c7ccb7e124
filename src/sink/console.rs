//! `console:`: aligned tables for people.
//!
//! Every step of an epoch has a heading, `── epoch 3.17 ──`, and under it a table of each view that changed. Rows that
//! have become final (`mode=append`) stand in one table of each view for the whole epoch, in the order of the steps.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::data::{Time, Value, escape_terminal};
use crate::sink::{At, Closed, Mode, Sink, SinkError};
use crate::view::ViewOutput;

/// Writes views as tables: text to the left, numbers to the right, nothing that a terminal would obey.
#[derive(Debug)]
pub struct Console<W: Write> {
    out: BufWriter<W>,
    /// Whether it is a terminal: then headings are bold, and wide cells are cut.
    terminal: bool,
    mode: Mode,
    at: At,
    /// Rows of each view that are shown.
    rows: usize,
    /// The rows that have become final in this epoch, by the place of their view.
    appended: BTreeMap<usize, Table>,
}

/// Widest cell that is shown whole, in columns of a terminal.
const WIDEST: usize = 100;

impl<W: Write> Console<W> {
    /// Writes to `out`, at most `rows` rows of each view; `terminal` says whether it is one.
    pub fn new(out: W, terminal: bool, mode: Mode, at: At, rows: usize) -> Self {
        let out = BufWriter::new(out);
        Console { out, terminal, mode, at, rows, appended: BTreeMap::new() }
    }

    fn write_all(&mut self, closed: &Closed<'_>) -> io::Result<()> {
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
        self.out.flush()
    }

    /// Picks the rows to show, the first of them as text.
    fn fill(&self, table: &mut Table, view: &dyn ViewOutput, last: bool) {
        let Table { columns, total, .. } = table;
        if self.mode == Mode::Changes && !last {
            columns.insert(0, Column::new("diff"));
            view.changes(&mut |diff, values| {
                *total += 1;
                if *total <= self.rows {
                    columns[0].push(format!("{diff:+}"), true);
                    self.push_row(&mut columns[1..], values);
                }
            });
        } else {
            let mut show = |values: &[Value<'_>]| {
                *total += 1;
                if *total <= self.rows {
                    self.push_row(columns, values);
                }
            };
            match self.mode {
                Mode::Update | Mode::Append if !last => {
                    view.changes(&mut |diff, values| (0..diff).for_each(|_| show(values)));
                }
                _ => view.rows(&mut show),
            }
        }
    }

    fn push_row(&self, columns: &mut [Column], values: &[Value<'_>]) {
        columns.iter_mut().zip(values).for_each(|(column, value)| column.push_value(*value, self.terminal));
    }

    fn write_table(&mut self, table: &Table) -> io::Result<()> {
        let (bold, plain) = if self.terminal { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
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
        writeln!(self.out)
    }

    fn error(source: io::Error) -> SinkError {
        SinkError::Write { sink: "console:".to_owned(), source }
    }
}

impl<W: Write + std::fmt::Debug> Sink for Console<W> {
    fn at(&self) -> At {
        self.at
    }

    fn finals(&self) -> bool {
        self.mode == Mode::Append
    }

    fn write(&mut self, closed: &Closed<'_>) -> Result<(), SinkError> {
        self.write_all(closed).map_err(Self::error)
    }

    fn commit(&mut self, epoch: u64) -> Result<(), SinkError> {
        self.write_appended(epoch).map_err(Self::error)
    }
}

#[derive(Debug)]
struct Table {
    name: &'static str,
    columns: Vec<Column>,
    /// Rows that there are, of which the first are in the columns.
    total: usize,
}

impl Table {
    fn new(view: &dyn ViewOutput) -> Self {
        let view = view.view();
        let columns = view.columns.iter().map(|name| Column::new(name)).collect();
        Table { name: view.name, columns, total: 0 }
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
