//! Rows as Parquet: typed columns, in row groups of a bounded size.

use std::fs::File;
use std::io::{self, BufWriter};
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, Int32Type,
    Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::Type;

use super::log::Shape;
use super::table::{own_columns, too_large};
use crate::data::{CellType, Kind, Value, escape_json};

/// Rows of a group, at most: they are in memory until it is written ...
const ROWS: usize = 1 << 17;
/// ... and so are their bytes, about.
const BYTES: usize = 32 << 20;
/// The digits of the numbers of 128 bits.
const DIGITS: i32 = 38;

/// A file of Parquet that is being written.
pub(super) struct ParquetRows {
    file: SerializedFileWriter<BufWriter<File>>,
    columns: Vec<Buffer>,
    rows: usize,
    bytes: usize,
}

/// What of a column is in no group yet.
struct Buffer {
    values: Values,
    /// Where there may be none, whether there is a value, by row.
    present: Option<Vec<i16>>,
}

enum Values {
    Bool(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Wide(Vec<FixedLenByteArray>),
    Float(Vec<f64>),
    Text(Vec<ByteArray>),
}

fn failed(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(error) => io::Error::other(error),
        },
        error => io::Error::other(error),
    }
}

impl ParquetRows {
    pub fn begin(file: BufWriter<File>, shape: &Shape, changes: bool) -> io::Result<Self> {
        let int = |bits, signed| CellType::of(Kind::Int { bits, signed });
        let own = [int(64, false), int(32, false), int(64, true)];
        let own = own_columns(&shape.columns, changes).into_iter().zip(own);
        let all = own.chain(shape.columns.iter().map(|column| (column.name.clone(), column.cell)));
        let all: Vec<_> = all.collect();
        let fields = all.iter().map(|(name, cell)| field(name, *cell).map(Arc::new));
        let fields = fields.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let schema = Type::group_type_builder("row").with_fields(fields).build().map_err(failed)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by(concat!("thalweg ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let file = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties)).map_err(failed)?;
        let columns = all.iter().map(|(_, cell)| Buffer::of(*cell)).collect();
        Ok(ParquetRows { file, columns, rows: 0, bytes: 0 })
    }

    pub fn row(
        &mut self,
        (epoch, step): (u64, u32),
        diff: Option<isize>,
        values: &[Value<'_>],
    ) -> io::Result<()> {
        let own = [Value::Int(epoch.into()), Value::Int(step.into())];
        let diff = diff.map(|diff| Value::Int(diff as i128));
        for (column, value) in self.columns.iter_mut().zip(own.iter().chain(&diff).chain(values)) {
            self.bytes += column.push(value)?;
        }
        self.rows += 1;
        if self.rows >= ROWS || self.bytes >= BYTES { self.end_group() } else { Ok(()) }
    }

    fn end_group(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.rows) == 0 {
            return Ok(());
        }
        self.bytes = 0;
        let mut group = self.file.next_row_group().map_err(failed)?;
        for column in &mut self.columns {
            let Some(mut writer) = group.next_column().map_err(failed)? else { break };
            column.write(&mut writer).map_err(failed)?;
            writer.close().map_err(failed)?;
        }
        group.close().map(drop).map_err(failed)
    }

    pub fn end(mut self) -> io::Result<BufWriter<File>> {
        self.end_group()?;
        self.file.into_inner().map_err(failed)
    }
}

/// The column `name` of what `cell` says.
fn field(name: &str, cell: CellType) -> Result<Type, ParquetError> {
    let integer = |bits: u32, is_signed| LogicalType::integer(bits as i8, is_signed);
    let (physical, logical) = match cell.kind {
        Kind::Bool => (Physical::BOOLEAN, None),
        Kind::Int { bits: bits @ 0..=32, signed } => (Physical::INT32, Some(integer(bits, signed))),
        Kind::Int { bits: bits @ 33..=64, signed } => (Physical::INT64, Some(integer(bits, signed))),
        Kind::Int { .. } => (Physical::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::decimal(0, DIGITS))),
        Kind::Float => (Physical::DOUBLE, None),
        Kind::Time => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MILLIS))),
        Kind::Bytes => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
    };
    let repetition = if cell.nullable { Repetition::OPTIONAL } else { Repetition::REQUIRED };
    let mut builder =
        Type::primitive_type_builder(name, physical).with_repetition(repetition).with_logical_type(logical);
    if physical == Physical::FIXED_LEN_BYTE_ARRAY {
        builder = builder.with_length(16).with_precision(DIGITS).with_scale(0);
    }
    builder.build()
}

impl Buffer {
    fn of(cell: CellType) -> Self {
        let values = match cell.kind {
            Kind::Bool => Values::Bool(Vec::new()),
            Kind::Int { bits: 0..=32, .. } => Values::Int32(Vec::new()),
            Kind::Int { bits: 33..=64, .. } | Kind::Time => Values::Int64(Vec::new()),
            Kind::Int { .. } => Values::Wide(Vec::new()),
            Kind::Float => Values::Float(Vec::new()),
            Kind::Bytes => Values::Text(Vec::new()),
        };
        Buffer { values, present: cell.nullable.then(Vec::new) }
    }

    /// Takes in the value of the next row; returns how many bytes it has, about.
    fn push(&mut self, value: &Value<'_>) -> io::Result<usize> {
        if let Some(present) = &mut self.present {
            present.push((*value != Value::Null).into());
        }
        match (&mut self.values, value) {
            (_, Value::Null) if self.present.is_some() => {}
            (Values::Bool(values), Value::Bool(value)) => values.push(*value),
            // Numbers without a sign stand as the bits that they have.
            (Values::Int32(values), Value::Int(value)) => values.push(*value as i32),
            (Values::Int64(values), Value::Int(value)) => values.push(*value as i64),
            (Values::Int64(values), Value::Time(millis)) => values.push(*millis),
            (Values::Wide(values), Value::Int(value)) => {
                if value.unsigned_abs() >= 10u128.pow(DIGITS as u32) {
                    return Err(too_large(*value));
                }
                values.push(FixedLenByteArray::from(value.to_be_bytes().to_vec()));
            }
            (Values::Float(values), Value::Float(value)) => values.push(*value),
            (Values::Text(values), Value::Bytes(bytes)) => {
                values.push(ByteArray::from(escape_json(bytes).into_owned().into_bytes()));
                return Ok(bytes.len() + size_of::<ByteArray>());
            }
            (_, value) => panic!("a view holds {value:?} where its schema says otherwise"),
        }
        Ok(16)
    }

    fn write(&mut self, writer: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = self.present.as_deref();
        match &self.values {
            Values::Bool(values) => writer.typed::<BoolType>().write_batch(values, levels, None),
            Values::Int32(values) => writer.typed::<Int32Type>().write_batch(values, levels, None),
            Values::Int64(values) => writer.typed::<Int64Type>().write_batch(values, levels, None),
            Values::Wide(values) => writer.typed::<FixedLenByteArrayType>().write_batch(values, levels, None),
            Values::Float(values) => writer.typed::<DoubleType>().write_batch(values, levels, None),
            Values::Text(values) => writer.typed::<ByteArrayType>().write_batch(values, levels, None),
        }?;
        match &mut self.values {
            Values::Bool(values) => values.clear(),
            Values::Int32(values) => values.clear(),
            Values::Int64(values) => values.clear(),
            Values::Wide(values) => values.clear(),
            Values::Float(values) => values.clear(),
            Values::Text(values) => values.clear(),
        }
        self.present.iter_mut().for_each(Vec::clear);
        Ok(())
    }
}
