//! Rows of a door to Parquet.

use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, ZstdLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};

use super::schema::schema;
use crate::data::{Column, Data};
use crate::state::{Changes, Identity};
use crate::time::Epoch;

/// The version of the files, of which each says by which it was written.
pub(super) const VERSION: u32 = 1;
/// The version, in the file's own metadata.
pub(super) const VERSION_KEY: &str = "thalweg.version";
/// The door's identity in JSON, in the file's own metadata.
pub(super) const IDENTITY_KEY: &str = "thalweg.door";
/// The number of the first epoch that is not in the file, in its own metadata.
pub(super) const FRONTIER_KEY: &str = "thalweg.frontier";

/// So many rows are handed to Parquet at a time.
const BATCH: usize = 1 << 13;

/// `changes`, which are in the order of their keys, as a file; as one of a table, if `table`: then they are all puts.
pub(super) fn write(
    identity: &Identity,
    frontier: Epoch,
    changes: &Changes,
    table: bool,
) -> Result<Vec<u8>, ParquetError> {
    let schema = Arc::new(schema(identity, changes, table)?);
    let json = serde_json::to_string(identity).map_err(|error| ParquetError::External(error.into()))?;
    let metadata = vec![
        KeyValue::new(VERSION_KEY.to_owned(), VERSION.to_string()),
        KeyValue::new(IDENTITY_KEY.to_owned(), json),
        KeyValue::new(FRONTIER_KEY.to_owned(), frontier.number().to_string()),
    ];
    let properties = WriterProperties::builder()
        .set_created_by(concat!("thalweg ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(None)
        .set_key_value_metadata(Some(metadata));
    let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties.build()))?;
    let mut group = file.next_row_group()?;
    if !table {
        put_values(&mut group, None, changes.len(), &|range| Batch::Bits(changes.puts[range].to_vec()))?;
    }
    for column in &changes.key {
        put_column(&mut group, column, None)?;
    }
    for column in &changes.value {
        put_column(&mut group, column, (!table).then_some(&changes.puts))?;
    }
    group.close()?;
    file.into_inner()
}

/// Values of rows, without those that are null.
enum Batch {
    Words(Vec<i64>),
    Wide(Vec<FixedLenByteArray>),
    Bits(Vec<bool>),
    Bytes(Vec<ByteArray>),
}

/// Writes `column`. With `puts`, only rows that are puts have a value in it.
fn put_column(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    column: &Column,
    puts: Option<&Vec<bool>>,
) -> Result<(), ParquetError> {
    let levels = match (puts, column.present()) {
        (None, present) => present.map(|present| present.iter().map(|present| i16::from(*present)).collect()),
        (Some(puts), present) => {
            let mut value = 0;
            let level = puts.iter().map(|put| {
                let has = *put && present.is_none_or(|present| present[value]);
                value += usize::from(*put);
                i16::from(has)
            });
            Some(level.collect())
        }
    };
    put_values(group, levels, column.len(), &|range| batch(column, range))
}

/// The values of `column` in the rows of `range`, but for nulls.
fn batch(column: &Column, range: std::ops::Range<usize>) -> Batch {
    let rows = range.clone().filter(|row| !column.is_null(*row));
    match column.data() {
        Data::Words(words) => Batch::Words(rows.map(|row| words[row] as i64).collect()),
        Data::Wide(wide) => {
            let bytes: Vec<u8> = rows.flat_map(|row| wide[row].to_be_bytes()).collect();
            let bytes = Bytes::from(bytes);
            let value = |at| FixedLenByteArray::from(ByteArray::from(bytes.slice(at..at + 16)));
            Batch::Wide((0..bytes.len()).step_by(16).map(value).collect())
        }
        Data::Bits(bits) => Batch::Bits(rows.map(|row| bits[row]).collect()),
        Data::Bytes { ends, bytes } => {
            let start = |row: usize| if row == 0 { 0 } else { ends[row - 1] };
            let first = start(range.start);
            let end = if range.is_empty() { first } else { ends[range.end - 1] };
            let all = Bytes::copy_from_slice(&bytes[first..end]);
            let value = |row: usize| ByteArray::from(all.slice(start(row) - first..ends[row] - first));
            Batch::Bytes(rows.map(value).collect())
        }
    }
}

/// Writes the next column of `group`: `of` gives the values of a range of the `values` that there are.
fn put_values(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    levels: Option<Vec<i16>>,
    values: usize,
    of: &dyn Fn(std::ops::Range<usize>) -> Batch,
) -> Result<(), ParquetError> {
    let missing = || ParquetError::General("the schema has fewer columns than the door".to_owned());
    let mut writer = group.next_column()?.ok_or_else(missing)?;
    let nullable = column_of(writer.untyped()).max_def_level() > 0;
    // Where all rows have a value, and might have none.
    let levels = if nullable { Some(levels.unwrap_or_else(|| vec![1; values])) } else { None };
    let (mut level, mut value) = (0, 0);
    while value < values || levels.as_ref().is_some_and(|levels| level < levels.len()) {
        let upto = (value + BATCH).min(values);
        let batch = of(value..upto);
        value = upto;
        // As many levels as belong to these values; at the end, all that are left.
        let levels = levels.as_deref().map(|levels| {
            let begin = level;
            level = if value == values { levels.len() } else { after(levels, begin, batch.len()) };
            &levels[begin..level]
        });
        batch.write(writer.untyped(), levels)?;
    }
    writer.close()
}

/// Where `count` levels that stand for a value have been passed, from `begin` on.
fn after(levels: &[i16], begin: usize, count: usize) -> usize {
    let present = levels[begin..].iter().enumerate().filter(|(_, level)| **level == 1);
    match count.checked_sub(1) {
        None => begin,
        Some(last) => present.map(|(at, _)| begin + at + 1).nth(last).unwrap_or(levels.len()),
    }
}

fn column_of<'a>(writer: &'a ColumnWriter<'_>) -> &'a parquet::schema::types::ColumnDescPtr {
    match writer {
        ColumnWriter::BoolColumnWriter(writer) => writer.get_descriptor(),
        ColumnWriter::Int32ColumnWriter(writer) => writer.get_descriptor(),
        ColumnWriter::Int64ColumnWriter(writer) => writer.get_descriptor(),
        ColumnWriter::Int96ColumnWriter(writer) => writer.get_descriptor(),
        ColumnWriter::FloatColumnWriter(writer) => writer.get_descriptor(),
        ColumnWriter::DoubleColumnWriter(writer) => writer.get_descriptor(),
        ColumnWriter::ByteArrayColumnWriter(writer) => writer.get_descriptor(),
        ColumnWriter::FixedLenByteArrayColumnWriter(writer) => writer.get_descriptor(),
    }
}

impl Batch {
    fn len(&self) -> usize {
        match self {
            Batch::Words(values) => values.len(),
            Batch::Wide(values) => values.len(),
            Batch::Bits(values) => values.len(),
            Batch::Bytes(values) => values.len(),
        }
    }

    fn write(&self, writer: &mut ColumnWriter<'_>, levels: Option<&[i16]>) -> Result<(), ParquetError> {
        match (writer, self) {
            (ColumnWriter::Int64ColumnWriter(writer), Batch::Words(values)) => {
                writer.write_batch(values, levels, None)
            }
            (ColumnWriter::FixedLenByteArrayColumnWriter(writer), Batch::Wide(values)) => {
                writer.write_batch(values, levels, None)
            }
            (ColumnWriter::BoolColumnWriter(writer), Batch::Bits(values)) => {
                writer.write_batch(values, levels, None)
            }
            (ColumnWriter::ByteArrayColumnWriter(writer), Batch::Bytes(values)) => {
                writer.write_batch(values, levels, None)
            }
            _ => Err(ParquetError::General("the schema has another type than the door".to_owned())),
        }
        .map(|_| ())
    }
}
