//! Rows as sinks show them, and as bytes, for sinks that show them later.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::data::{Cells, Value};
use crate::sink::{Closed, Mode};
use crate::view::Contents;

/// Shows what a sink of `mode` has to show of `view` in `closed`: each row, with its difference where the mode shows changes.
pub(super) fn shown(
    view: &dyn Contents,
    closed: &Closed<'_>,
    mode: Mode,
    show: &mut dyn FnMut(Option<isize>, &[Value<'_>]),
) {
    match mode {
        // The last state is a change from nothing: every row is new.
        Mode::Changes if closed.last => view.rows(usize::MAX, &mut |values| show(Some(1), values)),
        Mode::Changes => view.changes(&mut |diff, values| show(Some(diff), values)),
        // What is final is never retracted, so the new rows are all there is.
        Mode::Update | Mode::Append if !closed.last => view.changes(&mut |diff, values| {
            (0..diff).for_each(|_| show(None, values));
        }),
        Mode::Complete if !closed.last && !view.has_changed() => {}
        Mode::Complete | Mode::Update | Mode::Append => {
            view.rows(usize::MAX, &mut |values| show(None, values));
        }
    }
}

/// A row that is shown later. Its text stays where its bytes are.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct KeptRow<'a> {
    /// The place of its view among those that the sink is shown.
    pub view: u32,
    pub epoch: u64,
    pub step: u32,
    pub diff: Option<i64>,
    #[serde(borrow)]
    cells: SmallVec<[KeptCell<'a>; 12]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum KeptCell<'a> {
    Null,
    Int(i128),
    Float(f64),
    Bool(bool),
    Time(i64),
    Bytes(&'a [u8]),
}

impl<'a> KeptRow<'a> {
    pub fn new(view: usize, closed: &Closed<'_>, diff: Option<isize>, values: &[Value<'a>]) -> Self {
        let cells = values.iter().map(|value| match *value {
            Value::Null => KeptCell::Null,
            Value::Int(value) => KeptCell::Int(value),
            Value::Float(value) => KeptCell::Float(value),
            Value::Bool(value) => KeptCell::Bool(value),
            Value::Time(millis) => KeptCell::Time(millis),
            Value::Bytes(bytes) => KeptCell::Bytes(bytes),
        });
        KeptRow {
            view: view as u32,
            epoch: closed.epoch,
            step: closed.step,
            diff: diff.map(|diff| diff as i64),
            cells: cells.collect(),
        }
    }

    /// Adds its bytes to `to`.
    pub fn append_to(&self, to: &mut Vec<u8>) {
        let written = postcard::to_io(self, &mut *to);
        // Nothing in it has no form, and memory takes all.
        debug_assert!(written.is_ok(), "{written:?}");
    }

    /// The row that `bytes` begin with, and what follows.
    pub fn take(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), postcard::Error> {
        postcard::take_from_bytes(bytes)
    }

    pub fn values(&self) -> Cells<'a> {
        let value = |cell: &KeptCell<'a>| match *cell {
            KeptCell::Null => Value::Null,
            KeptCell::Int(value) => Value::Int(value),
            KeptCell::Float(value) => Value::Float(value),
            KeptCell::Bool(value) => Value::Bool(value),
            KeptCell::Time(millis) => Value::Time(millis),
            KeptCell::Bytes(bytes) => Value::Bytes(bytes),
        };
        self.cells.iter().map(value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_they_were_and_other_bytes_do_not_panic() {
        let values = [
            Value::Null,
            Value::Int(i128::MIN),
            Value::Float(-0.5),
            Value::Bool(true),
            Value::Time(i64::MAX),
            Value::Bytes(b"a\xff\0b"),
        ];
        let closed = Closed { epoch: 7, step: 3, views: &[], last: false };
        let mut bytes = Vec::new();
        for diff in [None, Some(-2)] {
            KeptRow::new(1, &closed, diff, &values).append_to(&mut bytes);
        }
        let (first, rest) = KeptRow::take(&bytes).expect("a row");
        let (second, rest) = KeptRow::take(rest).expect("another");
        assert!(rest.is_empty());
        assert_eq!((first.diff, second.diff, second.epoch, second.step), (None, Some(-2), 7, 3));
        assert_eq!(second.values()[..], values);
        for end in 0..bytes.len() / 2 {
            assert!(KeptRow::take(&bytes[..end]).is_err(), "{end} bytes are no row");
        }
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 0x81;
            let _ = KeptRow::take(&other);
        }
    }
}
