//! What one worker has combined of one epoch so far.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::hash_table::{Entry, HashTable};

use crate::data::{Key, Total};

/// Sums by key over the records of one worker and one epoch.
///
/// This is where a million lines become a few thousand updates. It is emptied at the end of each epoch, and earlier
/// when it holds [`Partials::FULL`] keys or [`Partials::MUCH`] bytes: a sum that leaves in two parts is the same sum, and the
/// table stays small whatever the epoch holds, long lines as keys and large sketches among it.
#[derive(Debug)]
pub struct Partials<K, A> {
    table: HashTable<(K, A)>,
    /// About how many bytes the keys and their sums take.
    bytes: usize,
    /// Seeded per process: keys come from outside, and must not be able to choose their buckets.
    state: RandomState,
}

impl<K: Key, A: Total> Partials<K, A> {
    /// Keys at which the sums are handed on before the epoch ends.
    pub const FULL: usize = 1 << 17;
    /// Bytes at which they are, likewise.
    pub const MUCH: usize = 64 << 20;

    pub(super) fn new() -> Self {
        Partials { table: HashTable::new(), bytes: 0, state: RandomState::default() }
    }

    /// The sum of `key`, to be added to; zero if this is the first time.
    #[inline]
    pub fn entry(&mut self, key: K::Ref<'_>) -> &mut A {
        let state = &self.state;
        let hash = state.hash_one(key);
        match self.table.entry(hash, |(other, _)| other.is(key), |(other, _)| state.hash_one(other.lend())) {
            Entry::Occupied(entry) => &mut entry.into_mut().1,
            Entry::Vacant(entry) => {
                let key = K::own(key);
                self.bytes += size_of::<K>() + key.owned_bytes() + A::BYTES;
                &mut entry.insert((key, A::default())).into_mut().1
            }
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.table.len() >= Self::FULL || self.bytes >= Self::MUCH
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = (K, A)> {
        self.bytes = 0;
        self.table.drain().filter(|(_, sum)| !sum.is_zero())
    }
}
