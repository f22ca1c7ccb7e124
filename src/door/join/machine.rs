//! Pairs of events that belong together.
//!
//! Notation: a left event happened at `l` and a right one at `r`; they are a pair if they have the same key and
//! `lower <= r - l <= upper`. The watermark is `W`; a record is taken if it is not before `W` as its epoch began.
//!
//! Each event is kept with those of its key, and asks those of the other side that are there already: so each pair is found
//! once, by the second of the two, whichever that is and in whichever epoch.
//!
//! - A left event is dropped when `W > l + upper`: a right one yet to come has `r >= W`, so it is too far off.
//! - A right event is dropped when `W > r - lower`, likewise.
//! - A left event that is dropped without ever having been in a pair will never be: then a left join says so.
//!
//! Where only the *next* match counts, a left event's partner is the right one of the least time that is near enough, and
//! of these the one of the least value. It is known when `W > r`, and then the pair is shown: a right one yet to come has
//! `r' >= W`. So right events are gone through in order of time as `W` passes them, and each takes the left ones that are near
//! enough and have no partner yet; a left event that comes later than its partner looks at those that `W` has passed.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;

use differential_dataflow::ExchangeData;
use differential_dataflow::consolidation::consolidate;
use foldhash::quality::RandomState;
use serde::{Deserialize, Serialize};

use crate::data::Stored;
use crate::door::fault::{FaultProbe, TooManyPairs};
use crate::door::machine::{Closing, Emitted, Machine, give_back};
use crate::state::Keeper;
use crate::time::Time;
use crate::time::{Epoch, Millis, Watermark, Within};

/// An event in a row: when it happened, and its value.
pub(crate) type At<V> = (Time, V);

/// What an event is, beside its key and time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Side<V, W> {
    Left(V),
    Right(W),
}

/// The key of a durable row, which stands for equal events: up to when one of the other side may
/// come to make a pair, the key, and the value, of whichever side it is.
///
/// A row is gone as the watermark passes the first of these, on both sides alike.
pub(crate) type DurableKey<K, V, W> = (Time, K, Option<V>, Option<W>);

/// Where a join says what changed of its durable rows.
type DurableEvents<K, V, W> = Keeper<DurableKey<K, V, W>, (isize, bool)>;

/// Equal events.
#[derive(Debug)]
struct Held<V> {
    time: Millis,
    value: V,
    /// How many there are.
    count: isize,
    /// Whether they have been in a pair.
    matched: bool,
}

/// The events of one side and key, by time and value.
type Queue<V> = VecDeque<Held<V>>;

/// The events of one key.
#[derive(Debug)]
struct Sides<V, W> {
    left: Queue<V>,
    right: Queue<W>,
}

impl<V, W> Default for Sides<V, W> {
    fn default() -> Self {
        Sides { left: Queue::new(), right: Queue::new() }
    }
}

/// Adds `count` events to `queue`; returns what it has of them now, and whether there were none
/// like them.
fn put<V: Ord>(
    queue: &mut Queue<V>,
    time: Millis,
    value: V,
    count: isize,
    matched: bool,
) -> (&Held<V>, bool) {
    match queue.binary_search_by(|held| (held.time, &held.value).cmp(&(time, &value))) {
        Ok(at) => {
            queue[at].count += count;
            queue[at].matched |= matched;
            (&queue[at], false)
        }
        Err(at) => {
            queue.insert(at, Held { time, value, count, matched });
            (&queue[at], true)
        }
    }
}

/// Calls `logic` with the events from `first` to `last`.
fn for_each_of<V>(queue: &mut Queue<V>, first: Millis, last: Millis, mut logic: impl FnMut(&mut Held<V>)) {
    let start = queue.partition_point(|held| held.time < first);
    queue.range_mut(start..).take_while(|held| held.time <= last).for_each(&mut logic);
}

/// Gives memory back after many events have gone.
fn shrink<V>(queue: &mut Queue<V>) {
    if queue.len() < queue.capacity() / 8 {
        queue.shrink_to(2 * queue.len());
    }
}

/// Bytes of a key that makes too many pairs that its error shows.
const SHOWN: usize = 120;

/// An update of a join: an event, and how many there are of it.
type Update<K, V, W> = ((K, Millis, Side<V, W>), isize);

/// One worker's keys, and their events of both sides that may yet be in a pair.
#[derive(Debug)]
pub(crate) struct Join<K, V, W> {
    name: String,
    within: Within,
    /// Whether left events without a partner are rows, too.
    unmatched: bool,
    keys: HashMap<K, Sides<V, W>, RandomState>,
    /// The keys that have a left event at each time, to find what is to be dropped.
    left_times: BTreeMap<Millis, Vec<K>>,
    /// Likewise of the right.
    right_times: BTreeMap<Millis, Vec<K>>,
    /// The watermark as the epoch began: all right events before it are there.
    settled: Watermark,
    /// What is still to be taken in of the epoch that is being closed.
    waiting: std::vec::IntoIter<Update<K, V, W>>,
    /// The key that was taken in last in this epoch, and how many pairs it has made; updates come in the order of keys.
    last: Option<(K, usize)>,
    faults: FaultProbe,
}

impl<K, V, W> Join<K, V, W>
where
    K: ExchangeData + Hash + Stored,
    V: ExchangeData + Stored,
    W: ExchangeData + Stored,
{
    pub(crate) fn new(name: &str, within: Within, unmatched: bool, faults: FaultProbe) -> Self {
        Join {
            name: name.to_owned(),
            within,
            unmatched,
            keys: HashMap::default(),
            left_times: BTreeMap::new(),
            right_times: BTreeMap::new(),
            settled: Watermark::NONE,
            waiting: Vec::new().into_iter(),
            last: None,
            faults,
        }
    }

    /// The next updates are of `key`.
    fn begin(&mut self, key: &K) {
        if self.last.as_ref().is_none_or(|(last, _)| last != key) {
            self.last = Some((key.clone(), 0));
        }
    }

    /// Counts `pairs` of the key that was begun; returns whether there are too many now, which ends the run.
    fn is_too_much(&mut self, pairs: usize) -> bool {
        let Some((key, made)) = &mut self.last else { return false };
        *made += pairs;
        let most = self.within.most();
        // The next match is one, and the events that it is one of are there already.
        if *made <= most || self.within.is_next_only() {
            return false;
        }
        let mut key = format!("{key:?}");
        key.truncate(key.floor_char_boundary(SHOWN));
        self.faults.set(TooManyPairs { door: self.name.clone(), key, most });
        true
    }

    /// Takes `count` events in, and shows the pairs that they are in.
    fn take(
        &mut self,
        key: K,
        time: Millis,
        side: Side<V, W>,
        count: isize,
        keeper: &DurableEvents<K, V, W>,
        mut pair: impl FnMut((K, At<V>, Option<At<W>>), isize),
    ) {
        let Join { name, keys, within, left_times, right_times, settled, .. } = self;
        let next_only = within.is_next_only();
        let times = |here: isize, there: isize| {
            here.checked_mul(there)
                .unwrap_or_else(|| panic!("in `{name}`, the number of equal pairs of key {key:?} overflows"))
        };
        let keep_left = |held: &Held<V>| {
            let due = Time(held.time + within.upper());
            keeper.put((&due, &key, Some(&held.value), None), (&held.count, &held.matched));
        };
        let Sides { left, right } = keys.entry(key.clone()).or_default();
        match side {
            Side::Left(value) => {
                let mut matched = false;
                for_each_of(right, time + within.lower(), time + within.upper(), |other| {
                    if next_only && (matched || !settled.reaches(other.time + 1)) {
                        return;
                    }
                    matched = true;
                    let pairs = if next_only { count } else { times(count, other.count) };
                    let there = (Time(other.time), other.value.clone());
                    pair((key.clone(), (Time(time), value.clone()), Some(there)), pairs);
                });
                let (held, is_new) = put(left, time, value, count, matched);
                keep_left(held);
                if is_new {
                    left_times.entry(time).or_default().push(key);
                }
            }
            Side::Right(value) => {
                if !next_only {
                    for_each_of(left, time - within.upper(), time - within.lower(), |other| {
                        if !other.matched {
                            other.matched = true;
                            keep_left(other);
                        }
                        let here = (Time(other.time), other.value.clone());
                        let there = (Time(time), value.clone());
                        pair((key.clone(), here, Some(there)), times(count, other.count));
                    });
                }
                let (held, is_new) = put(right, time, value, count, false);
                let due = Time(time - within.needed_right());
                keeper.put((&due, &key, None, Some(&held.value)), (&held.count, &false));
                if is_new {
                    right_times.entry(time).or_default().push(key);
                }
            }
        }
    }

    /// Shows the next matches that are known as `closing` ends, where only these count.
    fn settle(
        &mut self,
        closing: &Closing,
        keeper: &DurableEvents<K, V, W>,
        mut pair: impl FnMut((K, At<V>, Option<At<W>>), isize),
    ) {
        let Join { keys, within, right_times, settled, .. } = self;
        let from = settled.millis().unwrap_or(Millis::MIN);
        for (time, of) in right_times.range(from..) {
            if !closing.now.watermark.reaches(time + 1) {
                break;
            }
            for key in of {
                let Some(Sides { left, right }) = keys.get_mut(key) else { continue };
                // Of several with this time, the first is the one of the least value.
                let at = right.partition_point(|held| held.time < *time);
                let Some(partner) = right.get(at).filter(|held| held.time == *time) else { continue };
                for_each_of(left, time - within.upper(), time - within.lower(), |held| {
                    if held.matched {
                        return;
                    }
                    held.matched = true;
                    // What the end of the input brings about is no state.
                    if !closing.is_end() {
                        let due = Time(held.time + within.upper());
                        keeper.put((&due, key, Some(&held.value), None), (&held.count, &true));
                    }
                    let there = (Time(partner.time), partner.value.clone());
                    pair((key.clone(), (Time(held.time), held.value.clone()), Some(there)), held.count);
                });
            }
        }
    }

    /// Drops the events that can be in no pair any more, and shows the left ones that have been in
    /// none; returns whether there were any.
    fn expire(
        &mut self,
        watermark: Watermark,
        mut lone: impl FnMut((K, At<V>, Option<At<W>>), isize),
    ) -> bool {
        let mut any = false;
        let Join { keys, within, left_times, right_times, unmatched, .. } = self;
        let over = |last_partner: Millis| watermark.reaches(last_partner + 1);
        while let Some(first) = left_times.first_entry().filter(|first| over(first.key() + within.upper())) {
            let (time, expired) = first.remove_entry();
            any = true;
            for key in expired {
                let Some(sides) = keys.get_mut(&key) else { continue };
                while let Some(held) = sides.left.pop_front_if(|held| held.time <= time) {
                    if *unmatched && !held.matched {
                        lone((key.clone(), (Time(held.time), held.value), None), held.count);
                    }
                }
                shrink(&mut sides.left);
                if sides.left.is_empty() && sides.right.is_empty() {
                    keys.remove(&key);
                }
            }
        }
        while let Some(first) =
            right_times.first_entry().filter(|first| over(first.key() - within.needed_right()))
        {
            let (time, expired) = first.remove_entry();
            any = true;
            for key in expired {
                let Some(sides) = keys.get_mut(&key) else { continue };
                while sides.right.pop_front_if(|held| held.time <= time).is_some() {}
                shrink(&mut sides.right);
                if sides.left.is_empty() && sides.right.is_empty() {
                    keys.remove(&key);
                }
            }
        }
        give_back(keys);
        any
    }
}

impl<K, V, W> Machine for Join<K, V, W>
where
    K: ExchangeData + Hash + Stored,
    V: ExchangeData + Stored,
    W: ExchangeData + Stored,
{
    type Datum = (K, Millis, Side<V, W>);
    type Diff = isize;
    type Row = (K, At<V>, Option<At<W>>);
    type Note = ();
    type Key = DurableKey<K, V, W>;
    /// How many equal events there are, and whether they have been in a pair; of the right, that is
    /// not known.
    type Value = (isize, bool);

    fn close(
        &mut self,
        closing: &Closing,
        updates: &mut Vec<Update<K, V, W>>,
        emitted: &mut Emitted<Self::Row, ()>,
        keeper: &DurableEvents<K, V, W>,
    ) -> Option<Epoch> {
        if self.faults.is_set() {
            // The epoch stays open until the worker has looked.
            return Some(closing.epoch);
        }
        if self.waiting.len() == 0 {
            // In order of time, so that events are put at the end of their queues and not in the midst of them.
            consolidate(updates);
            self.waiting = std::mem::take(updates).into_iter();
            self.settled = closing.before.watermark;
            self.last = None;
        }
        while let Some(((key, time, side), count)) = self.waiting.next() {
            self.begin(&key);
            let before = emitted.rows.len();
            self.take(key, time, side, count, keeper, |row, diff| {
                emitted.rows.push((row, closing.epoch, diff));
            });
            if self.is_too_much(emitted.rows.len() - before) {
                emitted.rows.clear();
                return Some(closing.epoch);
            }
            if emitted.is_much() {
                return Some(closing.epoch);
            }
        }
        self.waiting = Vec::new().into_iter();
        if self.within.is_next_only() {
            self.settle(closing, keeper, |row, diff| emitted.rows.push((row, closing.epoch, diff)));
        }
        let watermark = closing.now.watermark;
        let any = self.expire(watermark, |row, diff| emitted.rows.push((row, closing.epoch, diff)));
        if let Some(time) = watermark.millis().filter(|_| any) {
            keeper.forget_before(time);
        }
        None
    }

    /// Shows nothing: an earlier run has shown the pairs of these events.
    fn held(&self) -> usize {
        self.keys.len()
    }

    fn restore(
        &mut self,
        rows: &mut Vec<(DurableKey<K, V, W>, (isize, bool))>,
        _: &mut Emitted<Self::Row, ()>,
    ) {
        let Join { within, keys, left_times, right_times, .. } = self;
        for ((Time(due), key, left_value, right_value), (count, matched)) in rows.drain(..) {
            let Sides { left, right } = keys.entry(key.clone()).or_default();
            if let Some(value) = left_value {
                let time = due.saturating_sub(within.upper());
                if put(left, time, value, count, matched).1 {
                    left_times.entry(time).or_default().push(key.clone());
                }
            }
            if let Some(value) = right_value {
                let time = due.saturating_add(within.needed_right());
                if put(right, time, value, count, false).1 {
                    right_times.entry(time).or_default().push(key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::door::machine::tests::{Scan, changes_are_the_table, epochs};
    use crate::door::refusals::is_older;

    impl Scan for Join<u8, i64, bool> {
        fn scan(&self) -> Vec<(DurableKey<u8, i64, bool>, (isize, bool))> {
            let mut rows = Vec::new();
            for (key, Sides { left, right }) in &self.keys {
                rows.extend(left.iter().map(|held| {
                    let due = Time(held.time + self.within.upper());
                    ((due, *key, Some(held.value), None), (held.count, held.matched))
                }));
                rows.extend(right.iter().map(|held| {
                    let due = Time(held.time - self.within.needed_right());
                    ((due, *key, None, Some(held.value)), (held.count, false))
                }));
            }
            rows
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn changes_are_the_events(
            epochs in epochs(),
            stop in 0..8usize,
            lower in -20..20i64,
            width in 0..20i64,
            next_only: bool,
        ) {
            let within = Within::new(lower, lower + width).expect("there are pairs");
            let within = if next_only { within.next_only() } else { within };
            let make = || Join::<u8, i64, bool>::new("join", within, true, FaultProbe::default());
            let mut before = Watermark::NONE;
            let epochs = epochs.into_iter().map(|(watermark, records)| {
                let records = records.into_iter().filter(|record| !is_older(record.0, before));
                let updates = records.map(|(time, key, value)| {
                    let side = if value % 2 == 0 { Side::Left(value) } else { Side::Right(value > 0) };
                    ((key, time, side), 1)
                });
                let updates = updates.collect();
                before = Watermark::at(watermark);
                (before, updates)
            });
            changes_are_the_table(make, epochs.collect(), (0, 200), stop);
        }
    }
}
