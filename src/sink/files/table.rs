//! Files of rows, row by row: one for each form.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use super::log::Shape;
use super::options::Form;
use super::parquet::ParquetRows;
use crate::sink::csv::CsvRows;
use crate::sink::jsonl;
use crate::sink::rows::KeptRow;

/// A file of the rows of one view.
pub(super) enum Table {
    Jsonl(BufWriter<File>, Shape, Vec<u8>),
    Csv(Box<CsvRows<BufWriter<File>>>),
    Parquet(Box<ParquetRows>),
}

impl Table {
    /// Begins one in `file`, which is empty.
    pub fn begin(form: Form, file: BufWriter<File>, shape: &Shape, changes: bool) -> io::Result<Self> {
        Ok(match form {
            Form::Jsonl => Table::Jsonl(file, shape.clone(), Vec::new()),
            Form::Csv => Table::Csv(Box::new(CsvRows::begin(file, &shape.columns, changes)?)),
            Form::Parquet => Table::Parquet(Box::new(ParquetRows::begin(file, shape, changes)?)),
        })
    }

    pub fn row(&mut self, row: &KeptRow<'_>) -> io::Result<()> {
        let (values, diff) = (row.values(), row.diff.map(|diff| diff as isize));
        match self {
            Table::Jsonl(file, shape, line) => {
                line.clear();
                jsonl::line(line, &shape.view, &shape.columns, (row.epoch, row.step), diff, &values)?;
                file.write_all(line)
            }
            Table::Csv(rows) => rows.row((row.epoch, row.step), diff, &values),
            Table::Parquet(rows) => rows.row((row.epoch, row.step), diff, &values),
        }
    }

    /// Ends it, and gives the file back.
    pub fn end(self) -> io::Result<BufWriter<File>> {
        match self {
            Table::Jsonl(file, ..) => Ok(file),
            Table::Csv(rows) => rows.end(),
            Table::Parquet(rows) => rows.end(),
        }
    }
}

/// The name of the directory of a view. What file systems and readers of partitions take for something else is escaped as in
/// addresses (`%2F`).
pub(super) fn directory(view: &str) -> String {
    let mut name = String::from("view=");
    for byte in view.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' => name.push(char::from(byte)),
            _ => name += &format!("%{byte:02X}"),
        }
    }
    name
}

/// What the columns `_epoch`, `_step` and `_diff` are called, where a view has some of these names.
pub(in crate::sink) fn own_columns(columns: &[crate::view::Column], changes: bool) -> Vec<String> {
    let free = |name: &str| {
        let mut name = name.to_owned();
        while columns.iter().any(|column| column.name.eq_ignore_ascii_case(&name)) {
            name.insert(0, '_');
        }
        name
    };
    let own = ["_epoch", "_step"].into_iter().chain(changes.then_some("_diff"));
    own.map(free).collect()
}

/// A number that no column of 128 bits holds.
pub(super) fn too_large(value: i128) -> io::Error {
    let text = format!("{value} has more than the 38 digits that a column of Parquet can have");
    io::Error::new(io::ErrorKind::InvalidData, text)
}
