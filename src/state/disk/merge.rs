//! Runs of sorted changes to one, with one file of each in memory at a time.

use std::cmp::Ordering;
use std::slice::Iter;
use std::sync::atomic::{self, AtomicBool};

use super::manifest::Run;
use super::part::{Part, file};
use crate::state::storage::Storage;
use crate::state::{Changes, Identity, StateError};

/// Where a run is being read.
struct Cursor<'a> {
    storage: &'a dyn Storage,
    identity: &'a Identity,
    table: bool,
    parts: Iter<'a, Part>,
    rows: Changes,
    row: usize,
    value: usize,
}

impl<'a> Cursor<'a> {
    /// At the first row of `run`.
    fn new(storage: &'a dyn Storage, identity: &'a Identity, run: &'a Run) -> Result<Self, StateError> {
        let (rows, parts) = (Changes::new(identity), run.parts.iter());
        let mut cursor = Cursor { storage, identity, table: run.table, parts, rows, row: 0, value: 0 };
        cursor.fill()?;
        Ok(cursor)
    }

    fn is_at_end(&self) -> bool {
        self.row == self.rows.len()
    }

    /// Reads the next file if this one is at its end.
    fn fill(&mut self) -> Result<(), StateError> {
        while self.is_at_end() {
            let Some(part) = self.parts.next() else { return Ok(()) };
            let rows = part.read(self.storage, self.identity, self.table)?;
            let last = self.rows.len().checked_sub(1);
            if last
                .is_some_and(|last| !rows.is_empty() && self.rows.compare(last, &rows, 0) != Ordering::Less)
            {
                let reason = "its rows do not follow those of the file before".to_owned();
                return Err(file(self.storage, &part.name, StateError::Unreadable { reason }));
            }
            (self.rows, self.row, self.value) = (rows, 0, 0);
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<(), StateError> {
        self.value += usize::from(self.rows.puts[self.row]);
        self.row += 1;
        self.fill()
    }
}

/// Hands the last change of each key in `runs`, of which each is later than those before, to `emit`: where it is and
/// where its value would be, in the order of the keys. Rows before `gone` are left out.
///
/// Returns `false` if it was told to stop before the end.
pub(super) fn merge(
    storage: &dyn Storage,
    identity: &Identity,
    gone: Option<i64>,
    runs: &[Run],
    stop: &AtomicBool,
    mut emit: impl FnMut(&Changes, usize, usize) -> Result<(), StateError>,
) -> Result<bool, StateError> {
    let mut cursors = Vec::new();
    for run in runs {
        cursors.push(Cursor::new(storage, identity, run)?);
    }
    // The first is the least, and the latest where there are several of a key.
    let before = |cursors: &[Cursor<'_>], one: usize, other: usize| {
        let (a, b) = (&cursors[one], &cursors[other]);
        a.rows.compare(a.row, &b.rows, b.row).then(other.cmp(&one))
    };
    let mut order: Vec<usize> = (0..cursors.len()).filter(|at| !cursors[*at].is_at_end()).collect();
    order.sort_by(|one, other| before(&cursors, *one, *other));
    let mut looked = 0u32;
    while let Some(first) = order.first().copied() {
        looked = looked.wrapping_add(1);
        if looked.is_multiple_of(1 << 12) && stop.load(atomic::Ordering::Relaxed) {
            return Ok(false);
        }
        // Earlier changes of the same key count no more.
        while let Some(second) = order.get(1).copied() {
            let (a, b) = (&cursors[first], &cursors[second]);
            if a.rows.compare(a.row, &b.rows, b.row).is_ne() {
                break;
            }
            cursors[second].advance()?;
            settle(&mut order, 1, &cursors, &before);
        }
        let Cursor { rows, row, value, .. } = &cursors[first];
        if gone.is_none_or(|gone| rows.time(*row).is_none_or(|time| time >= gone)) {
            emit(rows, *row, *value)?;
        }
        cursors[first].advance()?;
        settle(&mut order, 0, &cursors, &before);
    }
    Ok(true)
}

/// Moves the cursor at `from` behind those that are before it now, or out if it is at its end.
fn settle<'a>(
    order: &mut Vec<usize>,
    from: usize,
    cursors: &[Cursor<'a>],
    before: &dyn Fn(&[Cursor<'a>], usize, usize) -> Ordering,
) {
    if cursors[order[from]].is_at_end() {
        order.remove(from);
        return;
    }
    let mut at = from;
    while order.get(at + 1).is_some_and(|next| before(cursors, order[at], *next).is_gt()) {
        order.swap(at, at + 1);
        at += 1;
    }
}
