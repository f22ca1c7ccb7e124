//! Session windows: what is known of the sessions of one worker's keys.
//!
//! A *session* of a key is a set of its records in which each is less than a gap from its neighbours, and which no other
//! record is that near to. It is the span `[first, last + gap)`.
//!
//! A door adds up *bursts*: the records of a key that are in one bucket of time, as long as the gap. Any two of those are
//! less than a gap apart, so they are in one session whatever else there is, and a burst is a sum like any other (least
//! time, greatest time, total) that knows nothing of gaps. Only the machine, which sees all bursts of a key, decides
//! which of them are one session: those that are near each other, directly or through others. That depends on the set of
//! bursts alone, not on their order nor on how records were shared out among workers.
//!
//! A session is *final* when the watermark reaches the end of its span: a record in time is not before the watermark, so a
//! whole gap behind the last one. It is said once more as final and forgotten, which retracts nothing. A late record is
//! refused when its own session would be final; else it joins what is open and near, or starts a session of its own.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::iter::Peekable;

use differential_dataflow::ExchangeData;
use differential_dataflow::difference::{IsZero, Semigroup};
use foldhash::quality::RandomState;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::data::{Overflow, Stored, Total};
use crate::door::deadlines::Deadlines;
use crate::door::machine::{Closing, Emitted, Machine};
use crate::door::session::in_order::InOrder;
use crate::door::window::Consumed;
use crate::state::Keeper;
use crate::time::Epoch;
use crate::time::Gap;
use crate::time::Millis;
use crate::time::Span;
use crate::time::Time;

/// Records of one key that are in one session: from the first to the last of them, and their sum.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Burst<A> {
    pub(super) first: Millis,
    last: Millis,
    sum: A,
}

impl<A: Default> Default for Burst<A> {
    fn default() -> Self {
        Burst { first: Millis::MAX, last: Millis::MIN, sum: A::default() }
    }
}

impl<A> Burst<A> {
    /// Takes a record at `time` in; its sum is to be added to what is returned.
    #[inline]
    pub(crate) fn include(&mut self, time: Millis) -> &mut A {
        self.first = self.first.min(time);
        self.last = self.last.max(time);
        &mut self.sum
    }

    /// The first time behind the session, if this is all of it.
    pub(super) fn end(&self, gap: Gap) -> Millis {
        self.last + gap.millis()
    }
}

impl<A: Total> Total for Burst<A> {
    const BYTES: usize = size_of::<Self>() - size_of::<A>() + A::BYTES;
    fn try_add(&mut self, other: &Self) -> Result<(), Overflow> {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.sum.try_add(&other.sum)
    }
}

impl<A: Total> Semigroup for Burst<A> {
    fn plus_equals(&mut self, other: &Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.sum.plus_equals(&other.sum);
    }
}

// A session whose values add up to nothing is a session.
impl<A> IsZero for Burst<A> {
    fn is_zero(&self) -> bool {
        self.first > self.last
    }
}

/// The sessions of one key that an epoch has changed.
struct Touched<A> {
    /// Those that there are now, by the time of their first record: in order, because bursts come in order of their buckets.
    now: SmallVec<[Millis; 4]>,
    /// Those that were shown and are gone, as they were.
    before: BTreeMap<Millis, Burst<A>>,
}

impl<A: Total> Touched<A> {
    /// Takes `burst` into `sessions`, and notes what that changes. Bursts come in the order of their buckets.
    fn join(&mut self, burst: Burst<A>, sessions: &mut InOrder<A>, gap: Gap) -> Result<(), Overflow> {
        let mut joined = burst;
        for session in sessions.take_near(&joined, gap) {
            joined.try_add(&session)?;
            match self.now.binary_search(&session.first) {
                Ok(at) => drop(self.now.remove(at)),
                Err(_) => drop(self.before.insert(session.first, session)),
            }
        }
        debug_assert!(
            self.now.last().is_none_or(|last| *last < joined.first),
            "all that it has not joined are before it"
        );
        self.now.push(joined.first);
        sessions.put(joined);
        Ok(())
    }
}

/// One worker's open sessions.
#[derive(Debug)]
pub(crate) struct Sessions<K, A> {
    name: String,
    gap: Gap,
    /// In one list, with an index beside it: a table of hashes has half as many empty places again, of the size of what is in it.
    keys: IndexMap<K, InOrder<A>, RandomState>,
    /// Keys by the end of their first open session, or an earlier time.
    deadlines: Deadlines<K>,
    /// Whether it must say which rows are final.
    finals_consumed: Consumed,
    /// What is still to be taken in of the epoch that is being closed, by key and bucket.
    waiting: Peekable<std::vec::IntoIter<Update<K, A>>>,
}

/// What workers send: the bucket and the key, and the records there.
type Update<K, A> = ((Millis, K), Burst<A>);

impl<K, A> Sessions<K, A>
where
    K: ExchangeData + Hash + Stored,
    A: Total + Stored,
{
    pub(crate) fn new(name: &str, gap: Gap, finals_consumed: Consumed) -> Self {
        let keys = IndexMap::with_hasher(RandomState::default());
        let waiting = Vec::new().into_iter().peekable();
        Sessions { name: name.to_owned(), gap, keys, deadlines: Deadlines::new(), finals_consumed, waiting }
    }

    /// Takes in what an epoch has of `key`, and emits what that changes.
    fn join(
        &mut self,
        key: K,
        bursts: impl Iterator<Item = Burst<A>>,
        epoch: Epoch,
        rows: &mut Vec<((Span, K, A), Epoch, isize)>,
        keeper: &Keeper<(Time, K), (Time, A)>,
    ) {
        let Sessions { name, gap, keys, deadlines, .. } = self;
        let gap = *gap;
        let none = || InOrder::Nothing(Millis::MAX);
        let open = keys.entry(key.clone()).or_insert_with(none);
        let mut touched = Touched { now: SmallVec::new(), before: BTreeMap::new() };
        for burst in bursts {
            if touched.join(burst, open, gap).is_err() {
                panic!("in `{name}`, the total of a session of key {key:?} overflows");
            }
        }
        if let Some(end) = open.first().map(|first| first.end(gap)).filter(|end| *end < open.queued()) {
            open.queue(end);
            deadlines.push(end, key.clone());
        }
        let mut emit = |burst: Burst<A>, diff| {
            let span = Span::new(burst.first, burst.end(gap));
            rows.push(((span, key.clone(), burst.sum), epoch, diff));
        };
        let Touched { now, before: mut replaced } = touched;
        for session in now.into_iter().filter_map(|first| open.get(first)) {
            let Burst { first, last, sum } = session;
            if replaced.get(first) == Some(session) {
                replaced.remove(first);
            } else {
                emit(session.clone(), 1);
                keeper.put((&Time(*first), &key), (&Time(*last), sum));
            }
        }
        for (first, burst) in replaced {
            // A session that begins where another did has been put in its place.
            if keeper.is_on() && open.get(first).is_none() {
                keeper.take((&Time(first), &key));
            }
            emit(burst, -1);
        }
    }

    /// As [`retire`](Self::retire), at the end of the input: all are final, in whatever order, and that is no change of the state.
    fn retire_all(&mut self, epoch: Epoch, emitted: &mut Emitted<(Span, K, A), (Span, K, A)>) -> bool {
        self.deadlines = Deadlines::new();
        if !self.finals_consumed.get() {
            self.keys = IndexMap::default();
        }
        while let Some((key, mut open)) = self.keys.pop() {
            while let Some(burst) = open.pop_if(|_| true) {
                let span = Span::new(burst.first, burst.end(self.gap));
                emitted.notes.push(((span, key.clone(), burst.sum), epoch, 1));
            }
            if self.keys.len() < self.keys.capacity() / 2 {
                self.keys.shrink_to(self.keys.len());
            }
            if emitted.is_much() {
                return false;
            }
        }
        true
    }

    /// Forgets the sessions that are final as `closing` ends, and says so; returns whether that was all of them.
    fn retire(
        &mut self,
        closing: &Closing,
        emitted: &mut Emitted<(Span, K, A), (Span, K, A)>,
        keeper: &Keeper<(Time, K), (Time, A)>,
    ) -> bool {
        let (gap, watermark) = (self.gap, closing.now.watermark);
        if closing.is_end() {
            return self.retire_all(closing.epoch, emitted);
        }
        // Keys that are looked at before others have their turn: some milliseconds' worth.
        const MANY: usize = 1 << 16;
        for looked_at in 0.. {
            if looked_at == MANY || emitted.is_much() {
                return false;
            }
            let Some((at, key)) = self.deadlines.pop(watermark) else { break };
            let Some(open) = self.keys.get_mut(&key).filter(|open| open.queued() == at) else { continue };
            let over = |session: &Burst<A>| watermark.reaches(session.end(gap));
            while let Some(burst) = open.pop_if(over) {
                keeper.take((&Time(burst.first), &key));
                if self.finals_consumed.get() {
                    let span = Span::new(burst.first, burst.end(gap));
                    emitted.notes.push(((span, key.clone(), burst.sum), closing.epoch, 1));
                }
            }
            match open.first().map(|session| session.end(gap)) {
                None => {
                    self.keys.swap_remove(&key);
                }
                Some(end) => {
                    open.queue(end);
                    self.deadlines.push(end, key);
                }
            }
        }
        let keys = &self.keys;
        self.deadlines.tidy(keys.len(), |at, key| keys.get(key).is_some_and(|open| open.queued() == at));
        if self.keys.len() < self.keys.capacity() / 8 {
            self.keys.shrink_to(2 * self.keys.len());
        }
        true
    }
}

impl<K, A> Machine for Sessions<K, A>
where
    K: ExchangeData + Hash + Stored,
    A: Total + Stored,
{
    /// The key; the time is that of the burst's bucket, and keeps bursts apart until they are here.
    type Datum = (Millis, K);
    type Diff = Burst<A>;
    type Row = (Span, K, A);
    /// A row that is final.
    type Note = (Span, K, A);
    /// By the time of the session's first record.
    type Key = (Time, K);
    /// The time of its last record, and the sum.
    type Value = (Time, A);

    fn close(
        &mut self,
        closing: &Closing,
        updates: &mut Vec<Update<K, A>>,
        emitted: &mut Emitted<(Span, K, A), (Span, K, A)>,
        keeper: &Keeper<(Time, K), (Time, A)>,
    ) -> Option<Epoch> {
        if self.waiting.len() == 0 {
            // Each key is looked up once, and takes its bursts in order of time.
            updates.sort_unstable_by(|((at, key), _), ((other_at, other_key), _)| {
                (key, at).cmp(&(other_key, other_at))
            });
            self.waiting = std::mem::take(updates).into_iter().peekable();
        }
        let mut waiting = std::mem::replace(&mut self.waiting, Vec::new().into_iter().peekable());
        while let Some(((_, key), first)) = waiting.next() {
            let owner = key.clone();
            let more = std::iter::from_fn(|| waiting.next_if(|((_, other), _)| *other == owner));
            let bursts = std::iter::once(first).chain(more.map(|(_, burst)| burst));
            self.join(key, bursts, closing.epoch, &mut emitted.rows, keeper);
            if emitted.is_much() {
                self.waiting = waiting;
                return Some(closing.epoch);
            }
        }
        (!self.retire(closing, emitted, keeper)).then_some(closing.epoch)
    }

    fn held(&self) -> usize {
        self.keys.len()
    }

    fn restore(
        &mut self,
        rows: &mut Vec<((Time, K), (Time, A))>,
        emitted: &mut Emitted<(Span, K, A), (Span, K, A)>,
    ) {
        // Sessions of a key are a gap apart, so none of them joins another.
        for ((Time(first), key), (Time(last), sum)) in rows.drain(..) {
            let burst = Burst { first, last, sum };
            self.join(key, std::iter::once(burst), Epoch::default(), &mut emitted.rows, &Keeper::off());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::door::machine::tests::{Scan, changes_are_the_table, epochs};
    use crate::time::{EventTime, Watermark};

    impl Scan for Sessions<u32, i64> {
        fn scan(&self) -> Vec<((Time, u32), (Time, i64))> {
            let sessions = self.keys.iter().flat_map(|(key, open)| open.iter().map(move |one| (key, one)));
            sessions.map(|(key, one)| ((Time(one.first), *key), (Time(one.last), one.sum))).collect()
        }
    }

    type Rows = Vec<((Span, u32, i64), isize)>;

    fn gap() -> Gap {
        Gap::new(Duration::from_millis(10)).expect("ten milliseconds are a gap")
    }

    fn machine() -> Sessions<u32, i64> {
        let consumed = Consumed::default();
        consumed.set();
        Sessions::new("sessions", gap(), consumed)
    }

    fn burst(time: Millis, sum: i64) -> Burst<i64> {
        let mut burst = Burst::default();
        *burst.include(time) += sum;
        burst
    }

    /// Closes an epoch of `records` (time, key, value) that brings the watermark to `watermark`; rows and finals.
    fn close(
        machine: &mut Sessions<u32, i64>,
        records: &[(Millis, u32, i64)],
        watermark: Watermark,
    ) -> (Rows, Rows) {
        let event_time = EventTime { watermark, oldest: 0, newest: 0 };
        let closing =
            Closing { epoch: Epoch::new(0), before: EventTime::NONE, now: event_time, restoring: false };
        let mut emitted = Emitted { rows: Vec::new(), notes: Vec::new() };
        let bucket = |time: Millis| time - time.rem_euclid(gap().millis());
        let updates = records.iter().map(|&(time, key, sum)| ((bucket(time), key), burst(time, sum)));
        assert_eq!(machine.close(&closing, &mut updates.collect(), &mut emitted, &Keeper::off()), None);
        let plain = |rows: Vec<((Span, u32, i64), Epoch, isize)>| {
            let mut rows: Vec<_> = rows.into_iter().map(|(row, _, diff)| (row, diff)).collect();
            rows.sort();
            rows
        };
        (plain(emitted.rows), plain(emitted.notes))
    }

    #[test]
    fn a_record_that_bridges_two_sessions_retracts_two_rows_and_inserts_one() {
        let mut machine = machine();
        let (rows, _) = close(&mut machine, &[(0, 7, 1), (18, 7, 2)], Watermark::at(-5));
        let two = [(Span::new(0, 10), 7, 1), (Span::new(18, 28), 7, 2)];
        assert_eq!(rows, two.map(|row| (row, 1)));
        let (rows, finals) = close(&mut machine, &[(9, 7, 4)], Watermark::at(-5));
        let one = (Span::new(0, 28), 7, 7);
        assert_eq!(rows, [(two[0], -1), (one, 1), (two[1], -1)]);
        assert_eq!(finals, []);
        let (rows, finals) = close(&mut machine, &[], Watermark::at(27));
        assert_eq!((rows, finals), (vec![], vec![]));
        let (rows, finals) = close(&mut machine, &[], Watermark::at(28));
        assert_eq!((rows, finals), (vec![], vec![(one, 1)]));
        assert!(machine.scan().is_empty());
    }

    #[test]
    fn records_a_whole_gap_apart_are_in_two_sessions() {
        let (rows, _) = close(&mut machine(), &[(0, 1, 1), (10, 1, 1), (19, 1, 1)], Watermark::NONE);
        assert_eq!(rows, [((Span::new(0, 10), 1, 1), 1), ((Span::new(10, 29), 1, 2), 1)]);
    }

    #[test]
    fn a_session_whose_sum_is_nothing_is_a_session_and_what_changes_nothing_emits_nothing() {
        let mut machine = machine();
        let (rows, _) = close(&mut machine, &[(5, 1, 3), (5, 1, -3)], Watermark::NONE);
        assert_eq!(rows, [((Span::new(5, 15), 1, 0), 1)]);
        assert_eq!(close(&mut machine, &[(5, 1, 0)], Watermark::NONE).0, []);
    }

    /// Many keys over a long time: what is kept is what is open.
    #[test]
    fn memory_is_that_of_the_open_sessions() {
        let mut machine = machine();
        let mut finals = 0;
        for now in 0..20_000 {
            let records: Vec<_> = (0..5).map(|n| (now - n, (5 * now + n) as u32, 1)).collect();
            finals += close(&mut machine, &records, Watermark::at(now - 5)).1.len();
            assert!(machine.scan().len() <= 5 * 16, "{} sessions at {now}", machine.scan().len());
            assert!(machine.deadlines.len() <= 5 * 16 && machine.keys.capacity() < 2048);
        }
        finals += close(&mut machine, &[], Watermark::END).1.len();
        assert_eq!((finals, machine.scan().len(), machine.deadlines.len()), (100_000, 0, 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn changes_are_the_open_sessions(epochs in epochs(), stop in 0..8usize) {
            let mut before = Watermark::NONE;
            let epochs = epochs.into_iter().map(|(watermark, records)| {
                let mut updates = std::collections::BTreeMap::<_, Burst<i64>>::new();
                for (time, key, value) in records.into_iter().filter(|record| !gap().is_over(record.0, before)) {
                    let bucket = time - time.rem_euclid(gap().millis());
                    *updates.entry((bucket, u32::from(key))).or_default().include(time) += value;
                }
                before = Watermark::at(watermark);
                (before, updates.into_iter().collect())
            });
            changes_are_the_table(machine, epochs.collect(), (0, 200), stop);
        }
    }

    proptest! {
        #[test]
        fn bursts_add_up_in_any_order(times in prop::collection::vec((0..30i64, -3..3i64), 1..8), cut in 0..8usize) {
            let all = |times: &[(i64, i64)]| times.iter().fold(Burst::default(), |mut all, (time, sum)| {
                all.plus_equals(&burst(*time, *sum));
                all
            });
            let (left, right) = times.split_at(cut.min(times.len()));
            let (mut one, mut other) = (all(left), all(right));
            one.plus_equals(&all(right));
            other.plus_equals(&all(left));
            prop_assert_eq!(&one, &other);
            prop_assert_eq!(one, all(&times));
        }
    }
}
