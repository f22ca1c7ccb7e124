//! The keys of a sliding view, by number.

use std::fmt::Debug;
use std::hash::{BuildHasher, Hash};

use foldhash::quality::RandomState;
use hashbrown::hash_table::{Entry, HashTable};

use super::machine::Content;
use super::ranking::{NOWHERE, Ranking, Rows};
use crate::data::{Overflow, Total};
use crate::time::{Epoch, Millis};

/// Keys by number, so that panes can refer to them, with what the window holds of each.
#[derive(Debug)]
pub(super) struct Slots<K, A, C> {
    name: String,
    /// Positions in `slots`, by hash of the key.
    index: HashTable<u32>,
    pub(super) slots: Vec<Slot<K, A, C>>,
    /// Positions that hold no key.
    free: Vec<u32>,
    /// Positions whose content has changed since the last `settle`.
    touched: Vec<u32>,
    state: RandomState,
}

#[derive(Debug)]
pub(super) struct Slot<K, A, C> {
    hash: u64,
    /// `None` where the slot is free.
    key: Option<K>,
    content: C,
    /// How many sums in panes refer to it.
    references: u32,
    /// Where it is in the head of the ranking.
    place: u32,
    /// The total as it was at the last `settle`, if it has been touched since.
    before: Option<A>,
}

impl<K, A, C> Slots<K, A, C>
where
    K: Ord + Hash + Clone + Debug,
    A: Total,
    C: Content<A>,
{
    pub(super) fn new(name: &str) -> Self {
        Slots {
            name: name.to_owned(),
            index: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            touched: Vec::new(),
            state: RandomState::default(),
        }
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    pub(super) fn key(&self, at: u32) -> &K {
        self.slots[at as usize].key.as_ref().expect("a slot that is referred to has a key")
    }

    /// The slot of `key`, which one more sum refers to.
    pub(super) fn refer(&mut self, key: K) -> u32 {
        let Slots { index, slots, free, state, name, .. } = self;
        let hash = state.hash_one(&key);
        let same =
            |&at: &u32| slots[at as usize].hash == hash && slots[at as usize].key.as_ref() == Some(&key);
        let at = match index.entry(hash, same, |&at| slots[at as usize].hash) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let slot = Slot {
                    hash,
                    key: Some(key),
                    content: C::default(),
                    references: 0,
                    place: NOWHERE,
                    before: None,
                };
                let at = match free.pop() {
                    Some(at) => {
                        slots[at as usize] = slot;
                        at
                    }
                    None => {
                        assert!(slots.len() < u32::MAX as usize, "more than 2^32 keys in `{name}`");
                        slots.push(slot);
                        slots.len() as u32 - 1
                    }
                };
                entry.insert(at);
                at
            }
        };
        self.slots[at as usize].references += 1;
        at
    }

    /// One sum less refers to slot `at`, to which others still do.
    pub(super) fn release(&mut self, at: u32) {
        self.slots[at as usize].references -= 1;
    }

    /// Moves the slots in use together if they are less than a fourth of all; returns where each has gone.
    ///
    /// Nothing is touched: it has been settled.
    pub(super) fn give_back(&mut self) -> Option<Vec<u32>> {
        /// Slots that are not worth it.
        const FEW: usize = 1024;
        let Slots { index, slots, free, .. } = self;
        let used = slots.len() - free.len();
        if slots.len() <= FEW || used >= slots.len() / 4 {
            return None;
        }
        let mut moved = vec![NOWHERE; slots.len()];
        let used_ones = slots.iter().zip(&mut moved).filter(|(slot, _)| slot.key.is_some());
        for ((slot, to), number) in used_ones.zip(0..) {
            debug_assert!(slot.before.is_none(), "what has been touched has been settled");
            *to = number;
        }
        slots.retain(|slot| slot.key.is_some());
        slots.shrink_to_fit();
        *free = Vec::new();
        index.iter_mut().for_each(|at| *at = moved[*at as usize]);
        index.shrink_to(used, |&at| slots[at as usize].hash);
        Some(moved)
    }

    pub(super) fn touch(&mut self, at: u32) -> &mut C {
        let total = match self.slots[at as usize].before {
            None => self.total(at).into(),
            Some(_) => None,
        };
        let slot = &mut self.slots[at as usize];
        if total.is_some() {
            slot.before = total;
            self.touched.push(at);
        }
        &mut slot.content
    }

    fn total(&self, at: u32) -> A {
        let total = self.slots[at as usize].content.total();
        total.unwrap_or_else(|_| self.overflow(at))
    }

    pub(super) fn enter(&mut self, at: u32, pane: Millis, sum: &A) {
        let result = self.touch(at).enter(pane, sum);
        self.check(at, result);
    }

    pub(super) fn leave(&mut self, at: u32, pane: Millis, sum: &A) {
        let result = self.touch(at).leave(pane, sum);
        self.check(at, result);
        self.release(at);
    }

    pub(super) fn check(&self, at: u32, result: Result<(), Overflow>) {
        if result.is_err() {
            self.overflow(at);
        }
    }

    #[cold]
    fn overflow(&self, at: u32) -> ! {
        panic!("in `{}`, the total of key {:?} overflows", self.name, self.key(at));
    }

    /// Takes the changes since the last time: emits them to `rows`, tells `ranking`, and forgets keys to which nothing
    /// refers; returns whether there were any.
    pub(super) fn settle(
        &mut self,
        time: Epoch,
        mut rows: Option<&mut Vec<((K, A), Epoch, isize)>>,
        mut ranking: Option<&mut Ranking<K, A>>,
    ) -> bool {
        let mut any = false;
        let mut touched = std::mem::take(&mut self.touched);
        for at in touched.drain(..) {
            let now = self.total(at);
            let slot = &mut self.slots[at as usize];
            let before = slot.before.take().expect("a touched slot remembers its total");
            let gone = slot.references == 0;
            if before != now {
                any = true;
                if let Some(rows) = &mut rows {
                    let key = self.key(at);
                    let row = |total: A, diff| ((key.clone(), total), time, diff);
                    rows.extend((!before.is_zero()).then(|| row(before, -1)));
                    rows.extend((!now.is_zero()).then(|| row(now, 1)));
                }
                if let Some(ranking) = &mut ranking {
                    ranking.update(self, at);
                }
            }
            if gone {
                let slot = &mut self.slots[at as usize];
                (slot.key, slot.content) = (None, C::default());
                if let Ok(entry) = self.index.find_entry(slot.hash, |&other| other == at) {
                    entry.remove();
                }
                self.free.push(at);
            }
        }
        self.touched = touched;
        any
    }
}

impl<K, A, C> Rows for Slots<K, A, C>
where
    K: Ord + Hash + Clone + Debug,
    A: Total,
    C: Content<A>,
{
    type Key = K;
    type Total = A;

    fn slots(&self) -> u32 {
        self.slots.len() as u32
    }

    fn row(&self, at: u32) -> Option<(&K, A)> {
        let key = self.slots[at as usize].key.as_ref()?;
        let total = self.total(at);
        (!total.is_zero()).then_some((key, total))
    }

    fn place(&mut self, at: u32) -> &mut u32 {
        &mut self.slots[at as usize].place
    }
}
