//! Of several changes of a key, the later counts.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;
use hashbrown::hash_table::{Entry, HashTable};

use crate::data::Column;
use crate::state::{Changes, Identity};

/// The seed only spreads keys within one table that is dropped at once.
const HASHING: FixedState = FixedState::with_seed(0x6b65_6570);

/// A change by the list that it is in, its place there, and that of its value.
#[derive(Clone, Copy, Debug)]
struct At {
    hash: u64,
    list: u32,
    row: u32,
    value: u32,
}

/// Changes of which each is the last of its key.
#[derive(Debug)]
pub(super) struct Consolidation<'a> {
    lists: Vec<&'a Changes>,
    last: HashTable<At>,
}

impl<'a> Consolidation<'a> {
    /// No changes. It grows with the keys, and not with the changes, of which a few keys may have many: a table with room for
    /// all of those would be in no cache.
    pub(super) fn new() -> Self {
        Consolidation { lists: Vec::new(), last: HashTable::new() }
    }

    /// Takes in changes that are later than all before: those of `list` from `from` up to `upto`,
    /// but for rows before `gone`.
    pub(super) fn add(&mut self, list: &'a Changes, from: usize, upto: usize, gone: Option<i64>) {
        let number = self.lists.len() as u32;
        self.lists.push(list);
        let Consolidation { lists, last } = self;
        let mut value = list.puts[..from].iter().filter(|put| **put).count();
        for row in from..upto {
            let at_value = value;
            value += usize::from(list.puts[row]);
            if gone.is_some_and(|gone| list.time(row).is_some_and(|time| time < gone)) {
                continue;
            }
            let hash = hash(&list.key, row);
            let at = At { hash, list: number, row: row as u32, value: at_value as u32 };
            let same = |other: &At| {
                let theirs = &lists[other.list as usize].key;
                other.hash == hash && equal(&list.key, row, theirs, other.row as usize)
            };
            match last.entry(hash, same, |at| at.hash) {
                Entry::Occupied(mut entry) => *entry.get_mut() = at,
                Entry::Vacant(entry) => {
                    entry.insert(at);
                }
            }
        }
    }

    /// The last changes, ordered by when they were made, for door `identity`.
    pub(super) fn changes(self, identity: &Identity) -> Changes {
        let Consolidation { lists, last } = self;
        let mut all: Vec<_> = last.into_iter().collect();
        all.sort_unstable_by_key(|at| (at.list, at.row));
        let mut changes = Changes::new(identity);
        for at in all {
            changes.push_from(lists[at.list as usize], at.row as usize, at.value as usize);
        }
        changes
    }
}

impl Changes {
    /// The puts among these, in the order of their keys; where these are consolidated, that is a
    /// table.
    pub(super) fn sorted_puts(&self, identity: &Identity) -> Changes {
        let rows = self.sorted().into_iter().filter(|(row, _)| self.puts[*row as usize]);
        let mut table = Changes::new(identity);
        rows.for_each(|(row, value)| table.push_from(self, row as usize, value as usize));
        table
    }
}

fn hash(key: &[Column], row: usize) -> u64 {
    let mut hasher = HASHING.build_hasher();
    key.iter().for_each(|column| column.hash_row(row, &mut hasher));
    hasher.finish()
}

fn equal(key: &[Column], row: usize, other: &[Column], other_row: usize) -> bool {
    key.iter().zip(other).all(|(column, other)| column.compare(row, other, other_row).is_eq())
}
