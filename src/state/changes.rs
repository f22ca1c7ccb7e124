//! What changed of a door's durable rows, in columns.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::data::{Column, Field};
use crate::state::Identity;

/// Changes of rows in the order in which they were made: each puts a value under a key, or takes a
/// key away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Whether each change is a put.
    pub(crate) puts: Vec<bool>,
    /// The keys of all changes.
    pub(crate) key: Vec<Column>,
    /// The values of the puts alone, in order.
    pub(crate) value: Vec<Column>,
}

impl Changes {
    /// No changes, for a door such as `identity`.
    pub(crate) fn new(identity: &Identity) -> Self {
        let empty = |fields: &[Field]| fields.iter().map(Column::new).collect();
        Changes { puts: Vec::new(), key: empty(identity.key()), value: empty(identity.value()) }
    }

    /// No changes, and room for as many as there are in `self`, so that a buffer which is filled
    /// again does not grow again.
    pub(super) fn fresh(&self, identity: &Identity) -> Self {
        let room = |fields: &[Field], columns: &[Column]| {
            let column = |(field, column): (&Field, &Column)| {
                Column::with_capacity(field, column.len(), column.bytes())
            };
            fields.iter().zip(columns).map(column).collect()
        };
        Changes {
            puts: Vec::with_capacity(self.puts.len()),
            key: room(identity.key(), &self.key),
            value: room(identity.value(), &self.value),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.puts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.puts.is_empty()
    }

    /// The memory that they take, in bytes.
    pub fn size(&self) -> usize {
        self.puts.len() + self.key.iter().chain(&self.value).map(Column::size).sum::<usize>()
    }

    /// Adds change `row` of `other`, whose value, if it is a put, is in `value_row`.
    pub(super) fn push_from(&mut self, other: &Changes, row: usize, value_row: usize) {
        self.puts.push(other.puts[row]);
        self.key.iter_mut().zip(&other.key).for_each(|(ours, theirs)| ours.push_from(theirs, row));
        if other.puts[row] {
            self.value
                .iter_mut()
                .zip(&other.value)
                .for_each(|(ours, theirs)| ours.push_from(theirs, value_row));
        }
    }

    /// How the key of `row` compares with that of `other_row` of `other`, changes of the same door.
    pub(super) fn compare(&self, row: usize, other: &Changes, other_row: usize) -> Ordering {
        let compare = |(ours, theirs): (&Column, &Column)| ours.compare(row, theirs, other_row);
        self.key.iter().zip(&other.key).map(compare).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }

    /// Where each change is, and where its value would be, in the order of the keys.
    pub(super) fn sorted(&self) -> Vec<(u32, u32)> {
        let mut value = 0;
        let place = |(row, put): (usize, &bool)| {
            let place = (row as u32, value);
            value += u32::from(*put);
            place
        };
        let mut places: Vec<_> = self.puts.iter().enumerate().map(place).collect();
        places.sort_unstable_by(|(row, _), (other, _)| self.compare(*row as usize, self, *other as usize));
        places
    }

    /// The time of change `row`, if its key begins with one.
    pub(super) fn time(&self, row: usize) -> Option<i64> {
        self.key.first().and_then(|column| column.time(row))
    }
}

/// The changes that one epoch made, within a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// The number of the epoch.
    pub(super) epoch: u64,
    /// The first change that is not of this epoch any more.
    pub(super) end: usize,
    /// Before this time, all rows are gone: those of earlier changes, and those of this epoch,
    /// wherever they stand.
    pub(super) gone_before: Option<i64>,
}

/// Changes of one door on one worker, on their way to the writer: owned, and sent whole.
#[derive(Clone, Debug)]
pub struct Batch {
    pub(super) door: Arc<Identity>,
    pub(super) worker: usize,
    /// In order of their epochs.
    pub(super) segments: Vec<Segment>,
    pub(super) changes: Changes,
}

impl Batch {
    /// The door whose rows changed.
    pub fn door(&self) -> &Identity {
        &self.door
    }

    /// The worker on which they did.
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// What changed.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }
}
