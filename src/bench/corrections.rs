//! What a correction costs: a late record against one in time, where many windows are open.
//!
//! A windowed door is loaded with records that are spread evenly over keys and over the time that it keeps. Then batches
//! go in, in turn: of records in time, whose times go on at the same pace, so that windows begin, move and go; and of late
//! ones, each for a key and a window that were shown before, the row of which it changes. The same batches go through a plain
//! loop that collects the same changed rows.

use std::collections::BTreeMap;
use std::time::Duration;

use hashbrown::HashMap;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use timely::worker::Worker;

use crate::bench::BenchError;
use crate::bench::updates::{Bench, LOADED_AT_ONCE, on_workers, share};
use crate::data::Bytes;
use crate::dataflow::Build;
use crate::door::text;
use crate::format::Text;
use crate::runtime::now;
use crate::time::{TimeOptions, Window};

/// A windowed door, and how late its records may be. Times are in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Door {
    pub(super) name: &'static str,
    length: i64,
    slide: i64,
    lateness: i64,
    /// Whether it is the view of the last window, rather than a table of all windows.
    sliding: bool,
}

/// The doors that are measured.
pub(super) const DOORS: [Door; 2] = [
    // Twenty windows are open behind the newest.
    Door { name: "by_window(30s)", length: 30_000, slide: 30_000, lateness: 600_000, sliding: false },
    Door { name: "over_last(30s, 10s)", length: 30_000, slide: 10_000, lateness: 10_000, sliding: true },
];

/// Records loaded for each key: about one for each of the open windows of the table.
const EACH: u64 = 21;

/// Event time at which loading begins; some window begins there.
const BEGIN: i64 = 1_699_999_980_000;

/// The times of all batches of one size: in time and late, through the dataflow and through the plain loop.
#[derive(Clone, Debug, Default)]
pub(super) struct Timed {
    pub(super) in_time: [Vec<Duration>; 2],
    pub(super) late: [Vec<Duration>; 2],
}

/// A record: when it happened, and its key.
type Record = (i64, u64);

impl Door {
    fn build(self) -> Build {
        let millis = |time: i64| Duration::from_millis(time as u64);
        let window = Window::new(millis(self.length), millis(self.slide)).expect("all are windows");
        Build::new(self.name, move |flow| {
            let lines = flow.records(Text).event_time(|line| Some(fields(line.line())?.0));
            let keys = lines.by(text("key"), |line| Some(fields(line.line())?.1));
            if self.sliding {
                keys.over_last(window).count("last").show("rows");
            } else {
                keys.by_window(window).count("table").show("rows");
            }
            Ok(())
        })
    }

    /// How far back the records reach that it keeps.
    fn reach(&self) -> i64 {
        self.lateness + self.length + if self.sliding { self.slide } else { 0 }
    }

    /// The times of records that change a row which was shown before, when the newest record is of `newest`.
    fn late(&self, newest: i64) -> std::ops::Range<i64> {
        let watermark = newest - self.lateness;
        if self.sliding {
            let end = floor(watermark, self.slide);
            end - self.length..end
        } else {
            watermark..floor(newest, self.length)
        }
    }
}

/// Runs `door` with `records` loaded, and batches by `plan`: sizes and how often.
pub(super) fn measure(
    door: Door,
    records: u64,
    workers: usize,
    plan: &[(u32, u32)],
) -> Result<Vec<Timed>, BenchError> {
    let plan = plan.to_vec();
    on_workers(workers, move |worker| {
        let lateness = Duration::from_millis(door.lateness as u64);
        let time = TimeOptions { lateness, ..TimeOptions::default() };
        let mut bench = Bench::install(worker, &door.build(), time, None);
        let mut plain = Plain::new(door);
        let time =
            |number: u64| BEGIN + (number as i128 * i128::from(door.reach()) / i128::from(records)) as i64;
        let keys = (records / EACH).max(1);
        for first in (0..records).step_by(LOADED_AT_ONCE as usize) {
            let batch = first..records.min(first + LOADED_AT_ONCE);
            let bytes = lines(worker, batch.map(|number| (time(number), number % keys)));
            bench.run(worker, &bytes);
            plain.run(&bytes);
        }
        // All workers draw the same records, and each takes its share.
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut sent = records;
        let mut measured = Vec::new();
        for (size, repeats) in &plan {
            let mut times = Timed::default();
            for _ in 0..*repeats {
                let numbers = sent..sent + u64::from(*size);
                sent = numbers.end;
                let batch: Vec<_> = numbers.map(|number| (time(number), random.next_u64() % keys)).collect();
                let bytes = lines(worker, batch.into_iter());
                times.in_time[0].push(bench.run(worker, &bytes));
                times.in_time[1].push(plain.run(&bytes));

                let late = door.late(time(sent - 1));
                let length = (late.end - late.start) as u64;
                let draw = |_| (late.start + (random.next_u64() % length) as i64, random.next_u64() % keys);
                let batch: Vec<_> = (0..*size).map(draw).collect();
                let bytes = lines(worker, batch.into_iter());
                times.late[0].push(bench.run(worker, &bytes));
                times.late[1].push(plain.run(&bytes));
            }
            measured.push(times);
        }
        measured
    })
}

/// Lines of `records`, those of this worker.
fn lines(worker: &Worker, records: impl Iterator<Item = Record>) -> Vec<u8> {
    share(worker, records.map(|(time, key)| format!("{time} key-{key:07}\n")))
}

/// The time and the key of a line.
fn fields(line: &[u8]) -> Option<(i64, &[u8])> {
    let (time, key) = line.split_at_checked(memchr::memchr(b' ', line)?)?;
    let time = time.iter().try_fold(0i64, |time, digit| {
        time.checked_mul(10)?.checked_add(i64::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?))
    })?;
    Some((time, &key[1..]))
}

fn floor(time: i64, grain: i64) -> i64 {
    time - time.rem_euclid(grain)
}

type Counts<K> = HashMap<K, isize, foldhash::fast::RandomState>;

/// The plain loop: a hash table for each pane and one for the window, and the rows that a batch changes.
struct Plain {
    door: Door,
    newest: i64,
    /// Where the window ends that is shown, if it slides.
    end: i64,
    panes: BTreeMap<i64, Counts<Bytes>>,
    /// What the window holds.
    window: Counts<Bytes>,
    /// What changed rows were before, by pane (or 0) and key.
    changed: Counts<(i64, Bytes)>,
}

impl Plain {
    fn new(door: Door) -> Self {
        Plain {
            door,
            newest: i64::MIN,
            end: i64::MIN,
            panes: BTreeMap::new(),
            window: HashMap::default(),
            changed: HashMap::default(),
        }
    }

    fn run(&mut self, bytes: &[u8]) -> Duration {
        let begun = now();
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let Some((time, key)) = fields(line) else { continue };
            self.newest = self.newest.max(time);
            let pane = floor(time, self.door.slide);
            let before = add(self.panes.entry(pane).or_default(), key, 1);
            if !self.door.sliding {
                self.changed.entry((pane, Bytes::from(key))).or_insert(before);
            } else if pane < self.end {
                let before = add(&mut self.window, key, 1);
                self.changed.entry((0, Bytes::from(key))).or_insert(before);
            }
        }
        // An empty share of a first batch.
        if self.newest > i64::MIN {
            self.close(self.newest - self.door.lateness);
        }
        let Plain { panes, window, changed, door, .. } = self;
        let mut rows: Vec<_> = changed
            .drain()
            .map(|((pane, key), before)| {
                let table = if door.sliding { Some(&*window) } else { panes.get(&pane) };
                (pane, table.and_then(|table| table.get(&key)).copied().unwrap_or(0), key, before)
            })
            .collect();
        rows.sort_unstable();
        std::hint::black_box(&rows);
        // What is over goes when its rows have been shown.
        let over = |pane: &i64| pane + door.length <= self.newest.saturating_sub(door.lateness);
        while let Some(first) = self.panes.first_entry().filter(|first| !door.sliding && over(first.key())) {
            first.remove();
        }
        now() - begun
    }

    /// Moves the window to where it ends at `watermark`.
    fn close(&mut self, watermark: i64) {
        let Plain { door, end, panes, window, changed, .. } = self;
        let target = floor(watermark, door.slide);
        if !door.sliding || *end == i64::MIN {
            *end = target;
            return;
        }
        while *end < target {
            for (key, count) in panes.get(end).into_iter().flatten() {
                let before = add(window, key, *count);
                changed.entry((0, key.clone())).or_insert(before);
            }
            for (key, count) in panes.remove(&(*end - door.length)).into_iter().flatten() {
                let before = add(window, &key, -count);
                if before == count {
                    window.remove(&key);
                }
                changed.entry((0, key)).or_insert(before);
            }
            *end += door.slide;
        }
    }
}

/// Adds to the count of `key`, and returns what it was.
fn add(counts: &mut Counts<Bytes>, key: &[u8], more: isize) -> isize {
    match counts.get_mut(key) {
        Some(count) => std::mem::replace(count, *count + more),
        None => {
            counts.insert(Bytes::from(key), more);
            0
        }
    }
}
