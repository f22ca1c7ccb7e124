//! The keep, its writer and stores, and bytes that nobody wrote.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, channel};

use proptest::prelude::*;
use twox_hash::XxHash3_64;

use super::*;
use crate::data::Bytes;
use crate::time::Epoch;
use crate::time::Time;

type Key = (Time, Bytes);
type Value = (i64, Option<String>);

fn identity() -> Identity {
    Identity::of::<Key, Value>("door", "test").rule("length", "30s")
}

fn key(time: i64, name: u8) -> Key {
    (Time(time), Bytes::from(&[b'k', name][..]))
}

fn value(number: i64) -> Value {
    (number, (number % 3 != 0).then(|| number.to_string()))
}

/// The rows of the only door.
fn rows(snapshot: &Snapshot) -> Vec<(Key, Value)> {
    let table = snapshot.table("door").expect("it was opened");
    (0..table.len()).map(|row| table.row(row).expect("what was written")).collect()
}

fn published(memory: &Memory) -> Snapshot {
    memory.load().expect("what was written").expect("it was published")
}

/// One thing that a door says, of an epoch.
#[derive(Clone, Debug)]
enum Say {
    Put(i64, u8, i64),
    Take(i64, u8),
    Forget(i64),
    /// The epoch is over.
    Next,
    /// The epochs that are over are cut, but for so many.
    Cut(u64),
}

fn says() -> impl Strategy<Value = Vec<Say>> {
    let say = prop_oneof![
        8 => (0..6i64, 0..4u8, any::<i16>()).prop_map(|(time, name, n)| Say::Put(time, name, n.into())),
        2 => (0..6i64, 0..4u8).prop_map(|(time, name)| Say::Take(time, name)),
        1 => (0..3i64).prop_map(Say::Forget),
        2 => Just(Say::Next),
        1 => (0..3u64).prop_map(Say::Cut),
    ];
    prop::collection::vec(say, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Each snapshot is what its epochs leave, whatever later ones have said by then, on two
    /// workers with keys of their own.
    #[test]
    fn a_snapshot_is_what_its_epochs_leave(says in says()) {
        let memory = Memory::new();
        let writer = Writer::start(memory.clone(), 2, 2).unwrap();
        let keeps = [0, 1].map(|worker| Keep::new(worker, writer.queue()));
        let keepers = keeps.each_ref().map(|keep| keep.open::<Key, Value>(identity()));
        let mut epoch = 1;
        let mut now = BTreeMap::new();
        let mut after = BTreeMap::from([(0, now.clone())]);
        let (mut cut, mut gone) = (0, 0);
        keepers.iter().for_each(|keeper| keeper.begin(Epoch::new(epoch)));
        for say in says.into_iter().chain([Say::Next, Say::Cut(0)]) {
            match say {
                // No row that is gone is put.
                Say::Put(time, name, number) => {
                    let key = key(gone + time, name);
                    keepers[usize::from(name % 2)].put(&key, &value(number));
                    now.insert(key, value(number));
                }
                Say::Take(time, name) => {
                    keepers[usize::from(name % 2)].take((&Time(gone + time), &key(0, name).1));
                    now.remove(&key(gone + time, name));
                }
                Say::Forget(time) => {
                    gone += time;
                    keepers.iter().for_each(|keeper| keeper.forget_before(gone));
                    now.retain(|key, _| key.0.0 >= gone);
                }
                Say::Next => {
                    after.insert(epoch, now.clone());
                    epoch += 1;
                    keepers.iter().for_each(|keeper| keeper.begin(Epoch::new(epoch)));
                }
                Say::Cut(less) => {
                    let last = (epoch - 1).saturating_sub(less);
                    if last <= cut {
                        continue;
                    }
                    cut = last;
                    let frontier = Epoch::new(last + 1);
                    keeps.iter().for_each(|keep| keep.cut(frontier));
                    while writer.published().frontier() != Some(frontier) {
                        prop_assert!(!writer.has_failed());
                        keeps.iter().for_each(|keep| { keep.flush(); });
                        std::thread::yield_now();
                    }
                    let snapshot = published(&memory);
                    prop_assert_eq!(snapshot.frontier(), frontier);
                    let expected: Vec<_> = after[&last].clone().into_iter().collect();
                    prop_assert_eq!(rows(&snapshot), expected, "after epoch {}", last);
                    let bytes = snapshot.to_bytes().unwrap();
                    prop_assert_eq!(Snapshot::from_bytes(&bytes).unwrap(), snapshot.clone());
                    // One that goes on from the snapshot has the same, and equal snapshots are
                    // equal bytes.
                    prop_assert_eq!(published(&Memory::of(&snapshot).unwrap()).to_bytes().unwrap(), bytes);
                }
            }
        }
        drop((keeps, keepers));
        writer.finish().unwrap();
    }

    /// Bytes that were changed, with a checksum that is right: a snapshot or an error, and rows or
    /// errors.
    #[test]
    fn hostile_bytes_are_errors(
        numbers in prop::collection::vec(any::<i64>(), 0..6),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut changes_of_door = Changes::new(&identity());
        for number in &numbers {
            use crate::data::{RowWriter, Stored};
            changes_of_door.puts.push(true);
            key(*number, 1).put(&mut RowWriter::new(&mut changes_of_door.key));
            value(*number).put(&mut RowWriter::new(&mut changes_of_door.value));
        }
        let table = Table { identity: identity(), rows: changes_of_door };
        let bytes = Snapshot::new(Epoch::new(3), vec![table]).to_bytes().unwrap();
        let resealed = |body: &[u8]| [body, &XxHash3_64::oneshot(body).to_le_bytes()].concat();
        prop_assert!(Snapshot::from_bytes(&bytes).is_ok());

        // The table within has a checksum of its own.
        let (head, tail) = (8 + 4 + 8 + 4 + 8, 8);
        let mut inner = bytes[head..bytes.len() - tail - 8].to_vec();
        for (at, byte) in &changes {
            inner[at.index(bytes.len() - head - tail - 8)] ^= byte;
        }
        if let Some(cut) = cut {
            inner.truncate(cut.index(inner.len() + 1));
        }
        let inner = resealed(&inner);
        let mut outer = bytes[..head - 8].to_vec();
        outer.extend_from_slice(&(inner.len() as u64).to_le_bytes());
        outer.extend_from_slice(&inner);
        if let Ok(snapshot) = Snapshot::from_bytes(&resealed(&outer)) {
            for table in snapshot.tables() {
                for row in 0..table.len().min(100) {
                    let _ = table.row::<Key, Value>(row);
                }
            }
        }
        // Without that, any change is noticed.
        let mut damaged = bytes.clone();
        let (at, byte) = changes[0];
        damaged[at.index(bytes.len())] ^= byte | 1;
        prop_assert!(Snapshot::from_bytes(&damaged).is_err());
        prop_assert!(Snapshot::from_bytes(&bytes[..at.index(bytes.len())]).is_err());
    }
}

/// Many changes of few and of many keys: merged again and again, and the same in the end.
#[test]
fn merging_loses_nothing() {
    let memory = Memory::new();
    let writer = Writer::start(memory.clone(), 1, Writer::QUEUE).unwrap();
    let keep = Keep::new(0, writer.queue());
    let keeper = keep.open::<Key, Value>(identity());
    let mut expected = BTreeMap::new();
    for number in 0..40u64 {
        keeper.begin(Epoch::new(number));
        for row in 0..1000 {
            let at = number as i64 * 500 + row;
            keeper.put(&key(at, 0), &value(number as i64));
            expected.insert(key(at, 0), value(number as i64));
        }
        keep.cut(Epoch::new(number + 1));
    }
    keep.finish().unwrap();
    drop((keep, keeper));
    writer.finish().unwrap();
    assert_eq!(rows(&published(&memory)), expected.into_iter().collect::<Vec<_>>());
}

/// A store whose thread waits until it is told to go on, and whose n-th snapshot fails.
struct Slow {
    go: Receiver<()>,
    memory: Memory,
    snapshots: u64,
    fails: u64,
}

impl Store for Slow {
    fn write(
        &mut self,
        door: &Identity,
        frontier: Epoch,
        gone_before: Option<i64>,
        changes: &Changes,
    ) -> Result<(), StateError> {
        self.memory.write(door, frontier, gone_before, changes)
    }

    fn publish(&mut self, frontier: Epoch, doors: &[std::sync::Arc<Identity>]) -> Result<(), StateError> {
        let _ = self.go.recv();
        self.snapshots += 1;
        if self.snapshots == self.fails {
            return Err(StateError::Store { doing: "write", source: "the disk is full".into() });
        }
        self.memory.publish(frontier, doors)
    }
}

#[test]
fn a_slow_store_holds_no_epoch_back_and_is_seen() {
    let (sender, go) = channel();
    let memory = Memory::new();
    let writer = Writer::start(Slow { go, memory: memory.clone(), snapshots: 0, fails: 0 }, 1, 1).unwrap();
    let keep = Keep::new(0, writer.queue());
    let keeper = keep.open::<Key, Value>(identity());
    for number in 0..10 {
        keeper.begin(Epoch::new(number));
        keeper.put(&key(0, 1), &value(number as i64));
        // Returns, although the store stands still.
        keep.cut(Epoch::new(number + 1));
    }
    assert!(keep.pending() > 0 && keep.flush() > 0);
    (0..10).for_each(|_| sender.send(()).unwrap());
    keep.finish().unwrap();
    assert_eq!(keep.pending(), 0);
    drop((keep, keeper));
    writer.finish().unwrap();
    assert_eq!(rows(&published(&memory)), [(key(0, 1), value(9))]);
}

#[test]
fn a_store_that_fails_ends_the_writer_and_leaves_the_snapshot_before() {
    let (sender, go) = channel();
    drop(sender);
    let memory = Memory::new();
    let writer = Writer::start(Slow { go, memory: memory.clone(), snapshots: 0, fails: 2 }, 1, 1).unwrap();
    let keep = Keep::new(0, writer.queue());
    let keeper = keep.open::<Key, Value>(identity());
    for number in 0..5 {
        keeper.begin(Epoch::new(number));
        keeper.put(&key(0, 1), &value(number as i64));
        keep.cut(Epoch::new(number + 1));
    }
    // Whether the queue was closed before or after it took the last of it.
    let _ = keep.finish();
    drop((keep, keeper));
    let error = writer.finish().expect_err("the second snapshot fails");
    assert_eq!(error.to_string(), "the store cannot write");
    let snapshot = published(&memory);
    assert_eq!((snapshot.frontier(), rows(&snapshot)), (Epoch::new(1), vec![(key(0, 1), value(0))]));
}

/// A buffer that has grown is handed over before its snapshot is due.
#[test]
fn a_large_buffer_is_handed_over_in_parts() {
    let (sender, go) = channel();
    let memory = Memory::new();
    let writer = Writer::start(Slow { go, memory: memory.clone(), snapshots: 0, fails: 0 }, 1, 1).unwrap();
    let keep = Keep::new(0, writer.queue());
    // The writer stands still at this one.
    keep.cut(Epoch::new(1));
    let keeper = keep.open::<Time, String>(Identity::of::<Time, String>("large", "test"));
    keeper.begin(Epoch::new(1));
    let long = "x".repeat(1024);
    let count = 3 * Keep::PARTIAL as i64 / 1024;
    for row in 0..count {
        keeper.put(&Time(row), &long);
    }
    assert!(keep.pending() >= Keep::PARTIAL, "three parts, of which at most one fits into the queue");
    keep.cut(Epoch::new(2));
    (0..2).for_each(|_| sender.send(()).unwrap());
    keep.finish().unwrap();
    drop((keep, keeper));
    writer.finish().unwrap();
    assert_eq!(published(&memory).table("large").map(Table::len), Some(count as usize));
}

#[test]
fn bytes_of_another_release_are_refused_by_name() {
    let bytes = Snapshot::new(Epoch::new(1), vec![]).to_bytes().unwrap();
    let mut newer = bytes.clone();
    newer[8] = 9;
    let error = Snapshot::from_bytes(&newer).expect_err("another version").to_string();
    assert!(error.starts_with("the state is in format 9, and this release reads 1"), "{error}");
    let error = Snapshot::from_bytes(b"something else altogether").expect_err("no state").to_string();
    assert_eq!(error, "not the state of a door: it does not begin with `thwgsnap`, at byte 0");
}
