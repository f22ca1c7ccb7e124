//! `thalweg bench memory`: what a key costs at each door.
//!
//! Each figure comes of two processes of their own, one with twice as many keys as the other: the difference of their peaks
//! of memory, for each key more. So what a process takes anyhow is not in it, and what a table has on top of its rows
//! while it grows is. The keys are of 13 bytes, which stand in place; a longer one costs its length and some more, wherever it is.
//! The rows are made and looked at by nobody: a view that is shown costs its rows once more.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::json;

use crate::bench::process::child;
use crate::bench::{BenchError, Notes, table};
use crate::data::{Bytes, grouped};
use crate::dataflow::{Build, BuildError, Flow};
use crate::door::{Next, Parsed, Records, Rows, Seen, Timeout, number, text};
use crate::format::Text;
use crate::runtime::{Run, RunError, Usage};
use crate::time::{Gap, Window, Within};

/// What a key costs at each door, in bytes.
#[derive(Clone, Debug)]
pub struct Memory {
    /// How many keys the smaller of two processes has.
    pub keys: u64,
}

/// One process of the measurement, which prints its peak of memory.
#[derive(Clone, Debug)]
pub struct MemoryOf {
    /// The name of the door, of [`MemoryOf::NAMES`].
    pub door: String,
    /// How many keys it is given, each once.
    pub keys: u64,
}

impl Memory {
    /// Measures.
    ///
    /// # Errors
    ///
    /// When a process does not come to its end.
    pub fn run(&self, notes: &mut Notes<'_>) -> Result<String, BenchError> {
        let mut rows = Vec::new();
        let mut loops = f64::NAN;
        for door in MemoryOf::NAMES {
            notes(&format!("measuring {door}"));
            let peak = |keys: u64| {
                let figures: serde_json::Value =
                    child(&["bench", "memory-of", door, "--keys", &keys.to_string()])?;
                Ok::<_, BenchError>(figures["peak_memory"].as_f64().unwrap_or(f64::NAN))
            };
            // A sketch takes kilobytes.
            let keys = if SKETCHES.contains(&door) { self.keys.div_ceil(20) } else { self.keys };
            let each = (peak(2 * keys)? - peak(keys)?) / keys as f64;
            if door == LOOP {
                loops = each;
            }
            rows.push(vec![door.to_owned(), format!("{each:.0}"), format!("{:.1}", each / loops)]);
        }
        let (few, many) = (grouped(self.keys as i64), grouped(2 * self.keys as i64));
        let head = format!("bytes of memory for each key, between {few} and {many} of them");
        Ok(format!("{head}\n{}", table(&["door", "bytes/key", "ratio"], &rows)))
    }
}

/// The plain loop: a hash table of counts.
const LOOP: &str = "loop";

/// Doors whose sums are sketches.
const SKETCHES: [&str; 2] = ["approx_distinct", "quantiles"];

impl MemoryOf {
    /// What can be measured, the plain loop first.
    pub const NAMES: [&str; 12] = [
        LOOP,
        "count",
        "stats",
        "approx_distinct",
        "quantiles",
        "distinct",
        "over_last",
        "by_window",
        "by_session",
        "state",
        "first_within",
        "join",
    ];

    /// Runs it, and says what it took.
    ///
    /// # Errors
    ///
    /// When the run fails.
    pub fn run(&self) -> Result<String, BenchError> {
        if self.door == LOOP {
            let mut counts: HashMap<Bytes, i64, foldhash::fast::RandomState> = HashMap::default();
            for number in 0..self.keys {
                *counts.entry(Bytes::from(key(number).as_str())).or_default() += 1;
            }
            return Ok(figures(counts.len()));
        }
        self.feed().map_err(|error| BenchError::Timely(error.to_string()))
    }

    /// Lines of all keys, through a dataflow with this door.
    fn feed(&self) -> Result<String, RunError> {
        /// Lines of an epoch.
        const EPOCH: u64 = 20_000;
        let door = self.door.clone();
        let build = Build::new("memory", move |flow| open(&door, flow));
        let mut run = Run::of(build).start()?;
        let mut lines = String::new();
        for number in 0..self.keys {
            use std::fmt::Write as _;
            // Ten seconds hold them all, whatever their number.
            let _ = writeln!(lines, "{} {}", BEGIN + 10_000 * number as i64 / self.keys as i64, key(number));
            if number % EPOCH == EPOCH - 1 || number + 1 == self.keys {
                run.push(&lines)?;
                run.close_epoch()?;
                lines.clear();
            }
        }
        // Before the end, at which windows and sessions are let go.
        let figures = figures(run.counts().lines as usize);
        run.finish()?;
        Ok(figures)
    }
}

/// When it all happens, in milliseconds: some minute begins there.
const BEGIN: i64 = 1_700_000_040_000;

fn key(number: u64) -> String {
    format!("key{number:010}")
}

/// What the process has taken; `keys` holds on to what it has.
fn figures(keys: usize) -> String {
    format!("{}\n", json!({ "keys": keys, "peak_memory": Usage::now().peak_memory }))
}

/// The time and the key of a line.
fn fields<'a>(line: &Parsed<'a, Text>) -> Option<(i64, &'a [u8])> {
    let (time, key) = line.line().split_at_checked(13)?;
    Some((std::str::from_utf8(time).ok()?.parse().ok()?, key.get(1..)?))
}

/// Opens the door of this name.
fn open(door: &str, flow: &mut Flow<'_>) -> Result<(), BuildError> {
    let lines: Records<'_, Text> = flow.records(Text).event_time(|line| Some(fields(line)?.0));
    let keys = || lines.by(text("key"), |line| Some(fields(line)?.1));
    let value = |line: &Parsed<'_, Text>| Some(fields(line)?.0.unsigned_abs() % 1000);
    let minute = Window::tumbling(Duration::from_secs(60))?;
    match door {
        "count" => unseen(keys().count(door)),
        "stats" => unseen(keys().stats(door, value)),
        "approx_distinct" => unseen(keys().approx_distinct(door, |line| Some(fields(line)?.1))),
        "quantiles" => unseen(keys().quantiles(door, value)),
        "distinct" => {
            let millis = |line: &Parsed<'_, Text>| Some(fields(line)?.0);
            unseen(keys().distinct(door, number("time"), millis));
        }
        "over_last" => unseen(keys().over_last(minute).count(door)),
        "by_window" => unseen(keys().by_window(minute).count(door)),
        "by_session" => unseen(keys().by_session(Gap::new(Duration::from_secs(60))?).count(door)),
        "state" => {
            let states = keys().state(
                door,
                Timeout::Never,
                |_| Some(()),
                |_, seen, count: Option<i64>, _: &mut Vec<()>| match seen {
                    Seen::Values(values) => Next::Keep(count.unwrap_or(0) + values.len() as i64),
                    Seen::TimedOut(_) => Next::Drop,
                },
            );
            unseen(states.states);
        }
        "first_within" => {
            unseen(
                keys().first_within(door, Duration::from_secs(60), text("key"), |line| Some(fields(line)?.1)),
            );
        }
        _ => {
            let left = keys().events("left", number("time"), |line| Some(fields(line)?.0));
            let right = keys()
                .events("right", number("time"), |line| fields(line).filter(|it| it.0 < 0).map(|it| it.0));
            unseen(left.join(door, right, Within::after(Duration::from_secs(60))));
        }
    }
    Ok(())
}

/// Shows none of `rows`, all of which are made.
fn unseen<R: crate::data::Row, T: crate::door::Kind>(rows: Rows<'_, R, T>) {
    rows.filter(|_| false).show("nothing");
}
