//! Round trips, and bytes that nobody wrote.

use std::collections::BTreeMap;
use std::fmt::Debug;

use proptest::prelude::*;

use super::*;
use crate::data::{Bytes, Distinct, InputCounts, Quantiles, Real, Stats};
use crate::time::Span;
use crate::time::Time;

/// The columns of `values`, one a row.
fn columns<T: Stored>(values: &[T]) -> Vec<Column> {
    let fields = T::columns("value");
    assert_eq!(fields.len(), T::WIDTH);
    let mut columns: Vec<_> = fields.iter().map(Column::new).collect();
    for (row, value) in values.iter().enumerate() {
        value.put(&mut RowWriter::new(&mut columns));
        assert!(columns.iter().all(|column| column.len() == row + 1), "as many columns as it names");
    }
    for (field, column) in fields.iter().zip(&columns) {
        assert!(field.nullable || column.present().is_none(), "{field} is never null");
    }
    columns
}

/// Holds that `values` are read as they were written, and copied as they are.
fn survive<T: Stored + PartialEq + Debug>(values: &[T]) {
    let columns = columns(values);
    let mut copies: Vec<_> = T::columns("value").iter().map(Column::new).collect();
    for (row, value) in values.iter().enumerate() {
        assert_eq!(T::take(&mut RowReader::new(&columns, row)).as_ref(), Ok(value));
        copies.iter_mut().zip(&columns).for_each(|(copy, column)| copy.push_from(column, row));
        let same = copies.iter().zip(&columns).all(|(copy, column)| copy.compare(row, column, row).is_eq());
        assert!(same, "{value:?}");
    }
    assert_eq!(copies, columns);
    if T::WIDTH > 0 {
        assert!(T::take(&mut RowReader::new(&columns, values.len())).is_err(), "there is no such row");
        assert!(T::take(&mut RowReader::new(&columns[1..], 0)).is_err() || values.is_empty());
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Visit {
    page: Bytes,
    bytes: i64,
    seen: Option<(u32, Option<bool>)>,
}
crate::impl_stored!(Visit { page: Bytes, bytes: i64, seen: Option<(u32, Option<bool>)> });

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..24).prop_map(|bytes| Bytes::from(&bytes[..]))
}

fn stats() -> impl Strategy<Value = Stats> {
    prop::collection::vec(any::<i64>(), 0..4).prop_map(|all| all.into_iter().map(i128::from).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn keys_and_totals_survive(
        keys in prop::collection::vec((bytes(), (any::<u16>(), (any::<i8>(), any::<bool>()))), 0..5),
        numbers in prop::collection::vec((any::<i32>(), (any::<i128>(), any::<isize>()), any::<u64>()), 0..5),
        stats in prop::collection::vec((stats(), any::<i64>()), 0..5),
        counts in prop::collection::vec(any::<[i64; 8]>(), 0..3),
        spans in prop::collection::vec((any::<i64>(), any::<i64>()), 0..3),
    ) {
        survive(&keys);
        survive(&numbers);
        survive(&stats);
        survive(&stats.iter().map(|(stats, n)| (Time(*n), *stats)).collect::<Vec<_>>());
        let counts = counts.iter().map(|&[lines, parsed, malformed, oversize, bytes, untimed, ahead, late]| {
            InputCounts { lines, parsed, malformed, oversize, bytes, untimed, ahead, late, late_records: late / 2 }
        });
        survive(&counts.collect::<Vec<_>>());
        survive(&spans.iter().map(|(start, end)| Span::new(*start, *end)).collect::<Vec<_>>());
        survive(&vec![(); keys.len()]);
    }

    #[test]
    fn sketches_and_states_survive(
        values in prop::collection::vec(any::<u64>(), 0..600),
        text in prop::collection::vec(any::<String>(), 0..4),
        reals in prop::collection::vec(any::<f64>(), 0..4),
        options in prop::collection::vec(any::<Option<Option<(bool, u8)>>>(), 0..6),
        nothing in prop::collection::vec(any::<Option<()>>(), 0..6),
        visits in prop::collection::vec((bytes(), any::<i64>(), any::<Option<(u32, Option<bool>)>>()), 0..6),
    ) {
        survive(&[values.iter().map(|value| value.to_le_bytes()).collect::<Distinct>(), Distinct::default()]);
        survive(&[values.iter().copied().collect::<Quantiles>(), Quantiles::default()]);
        survive(&text);
        survive(&[text.clone(), vec![]]);
        survive(&[text.into_iter().zip(values).collect::<BTreeMap<_, _>>()]);
        survive(&reals.into_iter().map(Real::from).collect::<Vec<_>>());
        survive(&options);
        survive(&nothing);
        survive(&visits.into_iter().map(|(page, bytes, seen)| Visit { page, bytes, seen }).collect::<Vec<_>>());
    }

    /// Any bytes in opaque and text columns, any numbers, and nulls anywhere: a value or an error.
    #[test]
    fn hostile_columns_are_errors(
        words in prop::collection::vec(any::<Option<u64>>(), 1..4),
        blobs in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 1..4),
    ) {
        fn read<T: Stored>(words: &[Option<u64>], blobs: &[Vec<u8>]) {
            let mut columns: Vec<_> = T::columns("value").iter().map(Column::new).collect();
            for (word, blob) in words.iter().zip(blobs) {
                for column in &mut columns {
                    let kind = column.kind();
                    let row = &mut RowWriter::new(std::slice::from_mut(column));
                    match (word, kind) {
                        (None, _) => row.nulls(1),
                        (Some(word), ColumnType::U64) => row.u64(*word),
                        (Some(word), ColumnType::I64) => row.i64(*word as i64),
                        (Some(word), ColumnType::I128) => row.i128(i128::from(*word) << 60),
                        (Some(word), ColumnType::Time) => row.time(*word as i64),
                        (Some(word), ColumnType::Bool) => row.bool(word % 2 == 0),
                        (Some(_), ColumnType::Text) => row.text(&String::from_utf8_lossy(blob)),
                        (Some(_), ColumnType::Bytes) => row.bytes(blob),
                        (Some(_), ColumnType::Opaque) => row.opaque(|bytes| bytes.extend_from_slice(blob)),
                    }
                }
            }
            for row in 0..=columns[0].len() {
                let value = T::take(&mut RowReader::new(&columns, row));
                assert!(row < columns[0].len() || value.is_err());
            }
        }
        read::<(u8, i16)>(&words, &blobs);
        read::<(bool, Stats)>(&words, &blobs);
        read::<(String, Bytes)>(&words, &blobs);
        read::<Vec<String>>(&words, &blobs);
        read::<Vec<u64>>(&words, &blobs);
        read::<Distinct>(&words, &blobs);
        read::<(Option<Option<u8>>, Quantiles)>(&words, &blobs);
        read::<(Visit, Real)>(&words, &blobs);
    }
}

#[test]
fn options_have_a_flag_only_where_nothing_else_tells() {
    let names = |fields: Vec<Field>| fields.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(Option::<u64>::columns("n")), ["n: u64?"]);
    assert_eq!(names(Option::<(u8, Bytes)>::columns("n")), ["n.0: u64?", "n.1: bytes?"]);
    assert_eq!(names(Option::<Option<u8>>::columns("n")), ["n.some: bool", "n: u64?"]);
    assert_eq!(names(Option::<()>::columns("n")), ["n.some: bool"]);
    assert_eq!(names(Option::<((), u8)>::columns("n")), ["n.1: u64?"]);
}

#[test]
#[should_panic(expected = "a value wrote i64 into a column of u64")]
fn a_value_in_anothers_columns_is_a_mistake_of_ours() {
    let mut columns = columns::<u64>(&[]);
    1i64.put(&mut RowWriter::new(&mut columns));
}
