//! How the columns of a door stand in Parquet.
//!
//! Every file has the columns of the key and of the value, under their own names and in their order. A file of changes
//! has `put` before them, which says whether a row is one or takes its key away; its values are nullable then, and a
//! row that is taken away has none. Without `put`, all rows are puts.
//!
//! A column of `i128` is a decimal of 38 digits where all of its values are, and else plain bytes; these are the same,
//! big-endian, either way.

use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::errors::ParquetError;
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor, Type};

use crate::data::{Column, ColumnType, Data, Field};
use crate::state::{Changes, Identity};

/// The column of changes that says whether a row is a put.
pub(super) const PUT: &str = "put";

/// The largest number of 38 digits.
const DECIMAL: u128 = 10u128.pow(38) - 1;

/// The schema of a file of `changes` of door `identity`; of a table, if `table`.
pub(super) fn schema(identity: &Identity, changes: &Changes, table: bool) -> Result<Type, ParquetError> {
    let mut fields = Vec::new();
    if !table {
        fields.push(leaf(PUT, Physical::BOOLEAN, None, false)?);
    }
    for (field, column) in identity.key().iter().zip(&changes.key) {
        fields.push(field_of(field, column, false)?);
    }
    for (field, column) in identity.value().iter().zip(&changes.value) {
        fields.push(field_of(field, column, !table)?);
    }
    Type::group_type_builder("rows").with_fields(fields.into_iter().map(Arc::new).collect()).build()
}

fn field_of(field: &Field, column: &Column, nullable: bool) -> Result<Type, ParquetError> {
    let logical = match field.kind {
        ColumnType::U64 => Some(LogicalType::integer(64, false)),
        ColumnType::Time => Some(LogicalType::timestamp(true, TimeUnit::MILLIS)),
        ColumnType::Text => Some(LogicalType::String),
        ColumnType::I128 => is_decimal(column).then(|| LogicalType::decimal(0, 38)),
        ColumnType::I64 | ColumnType::Bool | ColumnType::Bytes | ColumnType::Opaque => None,
    };
    leaf(&field.name, physical(field.kind), logical, field.nullable || nullable)
}

fn is_decimal(column: &Column) -> bool {
    let Data::Wide(wide) = column.data() else { return false };
    wide.iter().all(|wide| (*wide as i128).unsigned_abs() <= DECIMAL)
}

/// What a column is written as.
pub(super) fn physical(kind: ColumnType) -> Physical {
    match kind {
        ColumnType::U64 | ColumnType::I64 | ColumnType::Time => Physical::INT64,
        ColumnType::I128 => Physical::FIXED_LEN_BYTE_ARRAY,
        ColumnType::Bool => Physical::BOOLEAN,
        ColumnType::Text | ColumnType::Bytes | ColumnType::Opaque => Physical::BYTE_ARRAY,
    }
}

fn leaf(
    name: &str,
    physical: Physical,
    logical: Option<LogicalType>,
    nullable: bool,
) -> Result<Type, ParquetError> {
    let repetition = if nullable { Repetition::OPTIONAL } else { Repetition::REQUIRED };
    let length = if physical == Physical::FIXED_LEN_BYTE_ARRAY { 16 } else { -1 };
    let decimal = matches!(logical, Some(LogicalType::Decimal { .. }));
    Type::primitive_type_builder(name, physical)
        .with_repetition(repetition)
        .with_logical_type(logical)
        .with_length(length)
        .with_precision(if decimal { 38 } else { -1 })
        .with_scale(if decimal { 0 } else { -1 })
        .build()
}

/// What is not as [`schema`] makes it for door `identity`, of a file of changes or of a table.
pub(super) fn misfit(identity: &Identity, table: bool, found: &SchemaDescriptor) -> Option<String> {
    let put = [Field::new(PUT, ColumnType::Bool)];
    let puts = if table { &put[..0] } else { &put[..] };
    let key = puts.iter().chain(identity.key()).map(|field| (field, field.nullable));
    let value = identity.value().iter().map(|field| (field, field.nullable || !table));
    let expected: Vec<_> = key.chain(value).collect();
    if expected.len() != found.num_columns() {
        return Some(format!("it has {} columns where {} belong", found.num_columns(), expected.len()));
    }
    let misfit = |((field, nullable), column): (&(&Field, bool), &Arc<ColumnDescriptor>)| {
        let is = (column.path().parts(), column.physical_type(), column.max_def_level());
        let ought = ([field.name.clone()], physical(field.kind), i16::from(*nullable));
        let length = ought.1 != Physical::FIXED_LEN_BYTE_ARRAY || column.type_length() == 16;
        let same = is.0 == ought.0 && is.1 == ought.1 && is.2 == ought.2 && length;
        (!same || column.max_rep_level() > 0).then(|| format!("it has another column than `{field}`"))
    };
    expected.iter().zip(found.columns()).find_map(misfit)
}
