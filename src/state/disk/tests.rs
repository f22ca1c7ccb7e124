//! Snapshots on a storage, with the one in memory as an oracle; faults at every place; bytes that nobody wrote.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use bytes::Bytes as Shared;
use proptest::prelude::*;

use super::read::{Expected, read};
use super::*;
use crate::data::{Bytes, Opaque, RowWriter, Stored};
use crate::state::storage::{Fault, Faulty, Local, Storage};
use crate::state::{Changes, Identity, Memory, Snapshot, StateError, Store};
use crate::time::{Epoch, Time};

type Key = (Time, Bytes);
type Value = (i64, Option<String>);
/// The other types.
type OtherKey = (u64, Option<bool>);
type OtherValue = (i128, Option<Bytes>, Opaque<Vec<u32>>);

fn windows() -> Identity {
    Identity::of::<Key, Value>("windows", "test").rule("length", "30s")
}

fn others() -> Identity {
    Identity::of::<OtherKey, OtherValue>("others", "test")
}

/// Small enough that everything is split and merged.
const SMALL: Limits = Limits { rows: 5, bytes: 1 << 20, runs: 3, few: 12, kept: 3 };

fn changes<K: Stored + Ord, V: Stored>(identity: &Identity, rows: &BTreeMap<K, Option<V>>) -> Changes {
    let mut changes = Changes::new(identity);
    // The writer hands them over in the order in which they were made, which is not that of the keys.
    for (key, value) in rows.iter().rev() {
        key.put(&mut RowWriter::new(&mut changes.key));
        changes.puts.push(value.is_some());
        if let Some(value) = value {
            value.put(&mut RowWriter::new(&mut changes.value));
        }
    }
    changes
}

/// What one process says of one snapshot.
#[derive(Clone, Debug, Default)]
struct Step {
    windows: BTreeMap<(u8, u8), Option<i16>>,
    others: BTreeMap<(u8, Option<bool>), Option<i16>>,
    forget: u8,
}

impl Step {
    /// The changes of both doors, in process `process` of `processes`, to which every so many of the keys belong.
    fn changes(&self, gone: i64, process: usize, processes: usize) -> (Changes, Changes) {
        let here = |number: &u8| usize::from(*number) % processes == process;
        let windows_of =
            self.windows.iter().filter(|((_, name), _)| here(name)).map(|((time, name), value)| {
                let text = |number: &i16| (number % 3 != 0).then(|| number.to_string().repeat(3));
                let key = (Time(gone + i64::from(*time)), Bytes::from(&[b'k', *name][..]));
                (key, value.as_ref().map(|number| (i64::from(*number), text(number))))
            });
        let others_of = self.others.iter().filter(|((number, _), _)| here(number)).map(|(key, value)| {
            let value = value.map(|number| {
                let wide = i128::from(number) * if number % 7 == 0 { i128::MAX / 40_000 } else { 1 };
                let bytes = (number % 2 == 0).then(|| Bytes::from(&number.to_be_bytes()[..]));
                (wide, bytes, Opaque(vec![number as u32; usize::from(number.unsigned_abs() % 4)]))
            });
            ((u64::MAX - u64::from(key.0), key.1), value)
        });
        (changes(&windows(), &windows_of.collect()), changes(&others(), &others_of.collect()))
    }
}

/// A start of the dataflow: `processes` writers, and one who publishes.
struct Start {
    writers: Vec<Box<dyn Store>>,
    written: Receiver<Written>,
    manifests: Manifests,
}

/// Claims the next incarnation, to go on from `base`.
fn claim(storage: &Arc<dyn Storage>, base: Option<&str>) -> Result<Line, StateError> {
    let number = storage.list("incarnations/")?.len() + 1;
    let claim = serde_json::to_vec(&base).unwrap();
    storage.create(&format!("incarnations/{number:08}"), &claim)?;
    line(storage)
}

fn line(storage: &Arc<dyn Storage>) -> Result<Line, StateError> {
    let mut claims = Vec::new();
    for entry in storage.list("incarnations/")? {
        let number = entry.name["incarnations/".len()..].parse().unwrap();
        let claim = storage.read(&entry.name)?.expect("it is listed");
        claims.push((number, serde_json::from_slice(&claim).unwrap()));
    }
    Ok(Line::new(claims))
}

impl Start {
    /// Restores the newest snapshot, and goes on from it.
    fn new(storage: &Arc<dyn Storage>, processes: usize) -> Result<(Self, Option<Loaded>), StateError> {
        let newest = load_newest(&**storage, &line(storage)?)?;
        let base = newest.loaded.as_ref().map(|loaded| loaded.name.as_str());
        let line = claim(storage, base)?;
        let incarnation = line.incarnation().unwrap();
        let (sender, written) = channel();
        let writer = |process| {
            let sender = sender.clone();
            let hand_over = move |written| {
                // In a cluster it is sent to another process.
                let json = serde_json::to_vec(&written).unwrap();
                sender.send(serde_json::from_slice(&json).unwrap()).unwrap();
                Ok(())
            };
            let writer = PartWriter::new(Arc::clone(storage), incarnation, process, hand_over);
            Box::new(writer.with_limits(SMALL)) as Box<dyn Store>
        };
        let writers = (0..processes).map(writer).collect();
        let manifests = Manifests::open(Arc::clone(storage), line, SMALL)?;
        Ok((Start { writers, written, manifests }, newest.loaded))
    }

    /// All processes write `step`, and it is published as the snapshot at `frontier`.
    fn publish(&mut self, step: &Step, gone: i64, frontier: Epoch) -> Result<Publication, StateError> {
        let doors = [Arc::new(windows()), Arc::new(others())];
        let processes = self.writers.len();
        for (process, writer) in self.writers.iter_mut().enumerate() {
            let (windows, others) = step.changes(gone, process, processes);
            let forget = (step.forget > 0).then_some(gone);
            if forget.is_some() || !windows.is_empty() {
                writer.write(&doors[0], frontier, forget, &windows)?;
            }
            if !others.is_empty() {
                writer.write(&doors[1], frontier, None, &others)?;
            }
            writer.publish(frontier, &doors)?;
        }
        let written: Vec<_> = self.written.try_iter().collect();
        let payload = format!(r#"{{"frontier":{}}}"#, frontier.number());
        self.manifests.publish(frontier, &written, payload.as_bytes())
    }
}

/// The same in memory.
fn remember(memory: &mut Memory, step: &Step, gone: i64, frontier: Epoch) -> Snapshot {
    let (windows_of, others_of) = step.changes(gone, 0, 1);
    let forget = (step.forget > 0).then_some(gone);
    memory.write(&windows(), frontier, forget, &windows_of).unwrap();
    memory.write(&others(), frontier, None, &others_of).unwrap();
    memory.publish(frontier, &[Arc::new(windows()), Arc::new(others())]).unwrap();
    memory.load().unwrap().unwrap()
}

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let value = || prop::option::weighted(0.8, any::<i16>());
    let windows = prop::collection::btree_map((0..6u8, 0..8u8), value(), 0..12);
    let others = prop::collection::btree_map((0..20u8, any::<Option<bool>>()), value(), 0..8);
    let step = (windows, others, prop_oneof![3 => Just(0), 1 => 1..4u8]);
    let step = step.prop_map(|(windows, others, forget)| Step { windows, others, forget });
    prop::collection::vec(step, 1..most)
}

fn assert_same(loaded: &Loaded, expected: &Snapshot) {
    assert_eq!(&loaded.snapshot, expected);
    let payload = format!(r#"{{"frontier":{}}}"#, expected.frontier().number());
    assert_eq!((loaded.manifest.payload(), loaded.manifest.frontier()), (&*payload, expected.frontier()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever changes, by however many processes, merged or not, started anew or not: each snapshot is the one that
    /// memory has.
    #[test]
    fn a_snapshot_is_that_of_memory(
        steps in steps(12),
        processes in prop::collection::vec(1..4usize, 16),
        restarts in prop::collection::vec(prop::bool::weighted(0.2), 16),
        settles in prop::collection::vec(any::<bool>(), 16),
    ) {
        let storage: Arc<dyn Storage> = Arc::new(Faulty::new(1));
        let mut memory = Memory::new();
        let (mut start, _) = Start::new(&storage, processes[0]).unwrap();
        let (mut gone, mut expected) = (0, None);
        for (at, step) in steps.iter().enumerate() {
            if restarts[at] {
                drop(start);
                let loaded;
                (start, loaded) = Start::new(&storage, processes[at]).unwrap();
                prop_assert_eq!(loaded.as_ref().map(|loaded| &loaded.snapshot), expected.as_ref());
            }
            gone += i64::from(step.forget);
            let frontier = Epoch::new(at as u64 * 3 + 1);
            let published = start.publish(step, gone, frontier).unwrap();
            prop_assert!(published.trouble.is_none());
            if settles[at] {
                start.manifests.settle();
            }
            let snapshot = remember(&mut memory, step, gone, frontier);
            assert_same(&load(&*storage, &published.manifest).unwrap(), &snapshot);
            // All that are kept can be restored.
            prop_assert!(published.kept.len() <= 3);
            for kept in &published.kept {
                prop_assert_eq!(load(&*storage, &kept.manifest).unwrap().snapshot.frontier(), kept.frontier);
            }
            expected = Some(snapshot);
        }
        let finished = start.manifests.finish().unwrap();
        let newest = load_newest(&*storage, &line(&storage).unwrap()).unwrap();
        prop_assert!(newest.damaged.is_empty());
        assert_same(newest.loaded.as_ref().unwrap(), &expected.unwrap());
        if let Some(finished) = finished {
            prop_assert_eq!(&newest.loaded.as_ref().unwrap().name, &finished.manifest);
        }
        let runs = newest.loaded.unwrap().manifest.doors.iter().map(|door| door.runs.len()).max();
        prop_assert!(runs.unwrap_or(0) <= 3 * SMALL.runs, "{:?} runs", runs);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// A file whose bytes were changed and whose checksum is right: rows or an error.
    #[test]
    fn hostile_files_are_errors(
        numbers in prop::collection::btree_map((0..9u8, any::<Option<bool>>()), prop::option::of(any::<i16>()), 1..20),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let step = Step { others: numbers, ..Step::default() };
        let rows = step.changes(0, 0, 1).1;
        let mut sorted = Changes::new(&others());
        rows.sorted().iter().for_each(|(row, value)| sorted.push_from(&rows, *row as usize, *value as usize));
        let identity = others();
        let bytes = write::write(&identity, Epoch::new(1), &sorted, false).unwrap();
        let expected = Expected { identity: &identity, table: false, rows: sorted.len(), size: sorted.size() };
        prop_assert_eq!(&read(Shared::from(bytes.clone()), expected).unwrap(), &sorted);
        let mut hostile = bytes;
        for (at, byte) in &changes {
            let length = hostile.len();
            hostile[at.index(length)] ^= byte;
        }
        if let Some(cut) = cut {
            hostile.truncate(cut.index(hostile.len()));
        }
        let _ = read(Shared::from(hostile), expected);
    }
}

/// The library that reads them panics of some of these.
#[test]
fn each_byte_may_be_another_one() {
    let step = Step { others: [((0, None), None)].into(), ..Step::default() };
    let (identity, rows) = (others(), step.changes(0, 0, 1).1);
    let bytes = write::write(&identity, Epoch::new(1), &rows, false).unwrap();
    let expected = Expected { identity: &identity, table: false, rows: rows.len(), size: rows.size() };
    let mut errors = 0;
    for at in 0..bytes.len() {
        for change in [1, 30, 0xff] {
            let mut hostile = bytes.to_vec();
            hostile[at] ^= change;
            errors += usize::from(read(Shared::from(hostile), expected).is_err());
        }
    }
    assert!(errors > bytes.len(), "{errors} of {}", bytes.len());
}

/// So many steps that all that is done happens, and the snapshots that they make. The committed state is of these.
fn script() -> Vec<(Step, i64, Epoch, Snapshot)> {
    let (mut memory, mut gone, mut script) = (Memory::new(), 0, Vec::new());
    for number in 0..6u8 {
        let mut step = Step { forget: u8::from(number % 3 == 2), ..Step::default() };
        for at in 0..4u8 {
            step.windows
                .insert((at, (number + at) % 5), (at != number % 4).then_some(i16::from(number) * 100));
            step.others.insert(((number * 3 + at) % 11, None), (at != 2).then_some(i16::from(number) * 10));
        }
        gone += i64::from(step.forget);
        let frontier = Epoch::new(u64::from(number) + 1);
        let snapshot = remember(&mut memory, &step, gone, frontier);
        script.push((step, gone, frontier, snapshot));
    }
    script
}

/// Runs the rest of the script, to its end or to the first thing that fails. Each time it is settled, so that
/// operations come in one order.
fn run(
    storage: &Arc<dyn Storage>,
    script: &[(Step, i64, Epoch, Snapshot)],
    published: &mut Option<Epoch>,
) -> Result<(), StateError> {
    let (mut start, loaded) = Start::new(storage, 2)?;
    let from = loaded.as_ref().map(|loaded| loaded.snapshot.frontier());
    // What was published is there; one more may be, if its publisher never learned of it.
    assert!(from >= *published, "{from:?} is restored, and {published:?} was published");
    if let Some(loaded) = &loaded {
        let (.., expected) = script.iter().find(|(_, _, frontier, _)| Some(*frontier) == from).unwrap();
        assert_same(loaded, expected);
    }
    for (step, gone, frontier, _) in script.iter().filter(|(_, _, frontier, _)| Some(*frontier) > from) {
        start.publish(step, *gone, *frontier)?;
        *published = Some(*frontier);
        start.manifests.settle();
    }
    start.manifests.finish()?;
    Ok(())
}

/// Every fault at every operation: what was published is there and right, and what was not is not.
#[test]
fn every_fault_at_every_operation() {
    let script = &script()[..5];
    let mut happened = BTreeMap::new();
    for fault in Fault::HONEST {
        for operation in 0.. {
            let faulty = Faulty::new(operation);
            let storage: Arc<dyn Storage> = Arc::new(faulty.clone());
            faulty.plan(operation, fault);
            let mut published = None;
            let mut tries = 0;
            while run(&storage, script, &mut published).is_err() {
                tries += 1;
                assert!(tries < 3, "one fault ends one run");
                faulty.crash();
            }
            // What is done in the background is the end of nothing.
            faulty.crash();
            faulty.clear_plan();
            let newest = load_newest(&*storage, &line(&storage).unwrap()).unwrap();
            assert!(newest.damaged.is_empty());
            assert_same(&newest.loaded.unwrap(), &script.last().unwrap().3);
            let Some(fault) = faulty.happened().pop() else { break };
            *happened.entry((fault.fault, fault.doing)).or_insert(0) += 1;
        }
    }
    for fault in Fault::HONEST {
        for doing in ["create", "read", "list", "delete"] {
            assert!(
                happened.get(&(fault, doing)).is_some_and(|times| *times > 1),
                "{fault:?} of {doing}: {happened:?}"
            );
        }
    }
}

#[test]
fn without_space_the_last_snapshot_stands() {
    let script = script();
    let mut refused = 0;
    for room in (0..40_000).step_by(1500) {
        let faulty = Faulty::new(room);
        let storage: Arc<dyn Storage> = Arc::new(faulty.clone());
        faulty.limit(room);
        let mut published = None;
        refused += u32::from(run(&storage, &script, &mut published).is_err());
        faulty.limit(u64::MAX);
        run(&storage, &script, &mut published).unwrap();
        let newest = load_newest(&*storage, &line(&storage).unwrap()).unwrap();
        assert_same(&newest.loaded.unwrap(), &script.last().unwrap().3);
    }
    assert!(refused > 5, "{refused}");
}

/// Any damaged byte of what the newest snapshot alone refers to: it is passed over, and said so.
#[test]
fn a_damaged_snapshot_is_passed_over() {
    let script = script();
    let damaged_at = |damage: &dyn Fn(&Faulty, &Manifest, &str)| {
        let faulty = Faulty::new(1);
        let storage: Arc<dyn Storage> = Arc::new(faulty.clone());
        let (mut start, _) = Start::new(&storage, 2).unwrap();
        let mut name = String::new();
        for (step, gone, frontier, _) in &script[..2] {
            name = start.publish(step, *gone, *frontier).unwrap().manifest;
        }
        let manifest = Manifest::read(&*storage, &name).unwrap();
        damage(&faulty, &manifest, &name);
        let line = line(&storage).unwrap();
        load_newest(&*storage, &line)
    };
    let damages: [(&dyn Fn(&Faulty, &Manifest, &str), &str); 5] = [
        (&|storage, _, name| assert!(storage.damage(name, -40)), "manifests/00000001-00000002"),
        (&|storage, _, name| storage.delete(name).unwrap(), ""),
        (
            &|storage, manifest, _| assert!(storage.damage(manifest.files().last().unwrap(), 40)),
            "tables/000000000002",
        ),
        (
            &|storage, manifest, _| assert!(storage.damage(manifest.files().last().unwrap(), -9)),
            "its checksum is",
        ),
        (&|storage, manifest, _| storage.delete(manifest.files().last().unwrap()).unwrap(), "it is missing"),
    ];
    for (damage, said) in damages {
        let newest = damaged_at(damage).unwrap();
        assert_same(&newest.loaded.unwrap(), &script[0].3);
        let all: String = newest.damaged.iter().map(ToString::to_string).collect();
        assert!(all.contains(said) && newest.damaged.len() == usize::from(!said.is_empty()), "{said}: {all}");
    }
    // All of them: an error, and not a beginning with nothing.
    let error =
        damaged_at(&|storage, manifest, _| assert!(storage.damage(manifest.files().next().unwrap(), 40)));
    let error = error.expect_err("both refer to it").to_string();
    assert!(error.starts_with("none of the snapshots in memory: is whole\n"), "{error}");
}

#[test]
fn state_of_a_newer_version_is_refused() {
    let storage: Arc<dyn Storage> = Arc::new(Faulty::new(1));
    let (mut start, _) = Start::new(&storage, 1).unwrap();
    let (step, gone, frontier, _) = &script()[0];
    let name = start.publish(step, *gone, *frontier).unwrap().manifest;
    let text = String::from_utf8(storage.read(&name).unwrap().unwrap()).unwrap();
    let newer = text.replacen("\"version\":1", "\"version\":2", 1);
    assert_ne!(newer, text);
    storage.create("manifests/00000001-00000002", newer.as_bytes()).unwrap();
    // An older one is not restored instead: it would be the loss of what is newer.
    let error = load_newest(&*storage, &line(&storage).unwrap()).expect_err("a newer version").to_string();
    assert!(error.contains("is in format 2, and this release reads 1"), "{error}");
}

#[test]
fn who_was_taken_for_dead_is_fenced_out() {
    let storage: Arc<dyn Storage> = Arc::new(Faulty::new(1));
    let script = script();
    let (mut zombie, _) = Start::new(&storage, 1).unwrap();
    let publish = |start: &mut Start, at: usize| {
        let (step, gone, frontier, _) = &script[at];
        start.publish(step, *gone, *frontier)
    };
    publish(&mut zombie, 0).unwrap();
    let (mut successor, loaded) = Start::new(&storage, 2).unwrap();
    assert_same(&loaded.unwrap(), &script[0].3);
    let error = publish(&mut zombie, 1).expect_err("it has been replaced");
    assert!(matches!(error, StateError::Fenced { ours: 1, other: 2 }), "{error}");
    // If it had seen the claim too late, what it published would not count.
    let late = storage.read("manifests/00000001-00000001").unwrap().unwrap();
    storage.create("manifests/00000001-00000002", &late).unwrap();
    assert_eq!(line(&storage).unwrap().manifests(&*storage).unwrap(), ["manifests/00000001-00000001"]);
    let published = publish(&mut successor, 1).unwrap();
    successor.manifests.settle();
    assert_same(&load(&*storage, &published.manifest).unwrap(), &script[1].3);
    assert!(storage.read("manifests/00000001-00000002").unwrap().is_none(), "it is swept");
}

/// That it can be read does not say that it outlasts a crash.
#[test]
fn a_manifest_that_is_not_acknowledged_is_not_gone_on_from() {
    let storage = Faulty::new(1);
    let script = script();
    let shared: Arc<dyn Storage> = Arc::new(storage.clone());
    let (mut start, _) = Start::new(&shared, 1).unwrap();
    storage.plan_at("create", "manifests/", 0, Fault::Unacknowledged);
    let (step, gone, frontier, _) = &script[0];
    let error = start.publish(step, *gone, *frontier).expect_err("nobody knows whether it lasts");
    assert!(error.to_string().contains("cannot create `manifests/00000001-00000001`"), "{error}");
    assert!(storage.names().iter().any(|name| name.starts_with("manifests/")), "it can be read");
}

#[test]
fn what_makes_no_snapshot_is_refused() {
    let storage: Arc<dyn Storage> = Arc::new(Faulty::new(1));
    let (mut start, _) = Start::new(&storage, 1).unwrap();
    let written = |frontier: u64, process, identity: Identity| {
        let doors = vec![WrittenDoor { identity, gone_before: None, parts: vec![] }];
        Written { frontier: Epoch::new(frontier), process, doors }
    };
    let mut refused = |frontier, written: &[Written], payload: &[u8]| {
        let error =
            start.manifests.publish(Epoch::new(frontier), written, payload).expect_err("it is refused");
        assert!(matches!(error, StateError::Parts(_)), "{error}");
    };
    let other = windows().rule("gap", "1s");
    refused(1, &[written(2, 0, windows())], b"null");
    refused(1, &[written(1, 0, windows()), written(1, 0, windows())], b"null");
    refused(1, &[written(1, 0, windows()), written(1, 1, other)], b"null");
    refused(1, &[written(1, 0, windows())], b"{");
    start.manifests.publish(Epoch::new(1), &[written(1, 0, windows())], b"null").unwrap();
    let again = start.manifests.publish(Epoch::new(1), &[written(1, 0, windows())], b"null");
    assert!(matches!(again, Err(StateError::Parts(_))));
}

/// Many changes of the same keys: few files, and little more than the rows themselves take.
#[test]
fn what_is_merged_takes_no_more_than_its_rows() {
    let directory = tempfile::tempdir().unwrap();
    let storage: Arc<dyn Storage> = Arc::new(Local::open(directory.path()).unwrap());
    let (sender, written) = channel();
    let line = claim(&storage, None).unwrap();
    let mut writer = PartWriter::new(Arc::clone(&storage), 1, 0, move |written| {
        sender.send(written).unwrap();
        Ok(())
    });
    let mut manifests = Manifests::open(Arc::clone(&storage), line, Limits::default()).unwrap();
    let door = Arc::new(others());
    let row = |key: u64, number: i64| {
        ((key * 7919 % 20_000, None), Some((i128::from(number), None, Opaque(vec![]))))
    };
    let mut rows: BTreeMap<OtherKey, Option<OtherValue>> = BTreeMap::new();
    for number in 0..40u64 {
        let changed: BTreeMap<_, _> =
            (0..2000).map(|at| row(number * 1000 + at, (number * at) as i64)).collect();
        writer.write(&door, Epoch::new(number + 1), None, &changes(&door, &changed)).unwrap();
        writer.publish(Epoch::new(number + 1), &[Arc::clone(&door)]).unwrap();
        let written: Vec<_> = written.try_iter().collect();
        manifests.publish(Epoch::new(number + 1), &written, b"null").unwrap();
        manifests.settle();
        rows.extend(changed);
    }
    let published = manifests.kept().pop().unwrap();
    let loaded = load(&*storage, &published.manifest).unwrap();
    let expected = changes(&door, &rows);
    let table = &loaded.snapshot.tables()[0];
    assert_eq!(table.rows, expected.sorted_puts(&door));
    let alone = write::write(&door, Epoch::new(40), &table.rows, true).unwrap().len() as f64;
    let parts: Vec<_> = loaded.manifest.doors()[0].parts().collect();
    let bytes: u64 = parts.iter().map(|(part, _)| part.bytes).sum();
    assert!(bytes as f64 <= 1.5 * alone, "{bytes} bytes for {alone}");
    assert!(parts.len() <= 10, "{} files", parts.len());
    // What nothing refers to any more is gone.
    let kept: std::collections::BTreeSet<_> = manifests
        .kept()
        .iter()
        .flat_map(|kept| {
            Manifest::read(&*storage, &kept.manifest).unwrap().files().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    let there = storage.list("tables/").unwrap();
    let unused: Vec<_> = there.iter().filter(|entry| !kept.contains(&entry.name)).collect();
    assert!(unused.len() <= 1, "but for what the next snapshot will refer to: {unused:?}");
}

/// State that the first version wrote.
fn fixture() -> Arc<dyn Storage> {
    let storage: Arc<dyn Storage> = Arc::new(Faulty::new(1));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/state/1");
    for folder in ["incarnations", "manifests", "tables"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{folder}/{}", path.file_name().unwrap().to_str().unwrap());
            storage.create(&name, &std::fs::read(path).unwrap()).unwrap();
        }
    }
    storage
}

#[test]
fn state_of_the_first_version_is_read() {
    let storage = fixture();
    let newest = load_newest(&*storage, &line(&storage).unwrap()).unwrap();
    assert_same(&newest.loaded.unwrap(), &script().last().unwrap().3);
    // And gone on from.
    let (mut start, _) = Start::new(&storage, 1).unwrap();
    let published = start.publish(&Step::default(), 3, Epoch::new(100)).unwrap();
    let loaded = load(&*storage, &published.manifest).unwrap();
    assert_eq!(loaded.snapshot.tables(), script().last().unwrap().3.tables());
}

/// Run once for each version of the format: `cargo test --lib write_the_fixture -- --ignored`.
#[test]
#[ignore = "it writes the fixture of this version, which is committed"]
fn write_the_fixture() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/state/{}", manifest::VERSION));
    assert!(!root.exists(), "what has been written stays as it is");
    let storage: Arc<dyn Storage> = Arc::new(Local::open(&root).unwrap());
    run(&storage, &script(), &mut None).unwrap();
    std::fs::remove_dir(root.join(".temporary")).unwrap();
}
