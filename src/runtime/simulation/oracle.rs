//! What should have been shown.
//!
//! The journal says which bytes were in which epoch, and what was read of pipes is in the spool. A run of one worker that goes on
//! from these alone, of all runs before it and without any snapshot, shows each epoch as it has to be. What is of all time
//! is counted once more without any dataflow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::machine::{Health, Machine};
use super::plant;
use super::set_storage;
use super::sink::{Kind, Rows, SimSink, Store};
use super::source::{SimLog, SimSource};
use super::{URI, story};
use crate::ledger::read_journal;
use crate::runtime::{DurableSettings, Settings};
use crate::sink::Sinks;
use crate::source::Source;
use crate::state::Starts;
use crate::state::storage::Faulty;
use crate::time::TimeOptions;

/// A story, when all is read.
pub(super) struct Past<'a> {
    pub(super) storage: &'a Faulty,
    pub(super) logs: &'a [SimLog],
    pub(super) bounded: bool,
    pub(super) pipes: &'a BTreeMap<u64, SimLog>,
    pub(super) once: &'a Store,
    pub(super) again: &'a Store,
    pub(super) now: Duration,
}

/// The rows that all changes add up to.
fn sums(epochs: &BTreeMap<u64, Rows>) -> Rows {
    let mut sums = Rows::new();
    for rows in epochs.values() {
        for (row, diff) in rows {
            *sums.entry(row.clone()).or_default() += diff;
        }
    }
    sums.retain(|_, diff| *diff != 0);
    sums
}

pub(super) fn check(past: &Past<'_>) -> Result<(), String> {
    let (once, wrong, upto) =
        past.once.with(|stored| (stored.epochs.clone(), stored.wrong.clone(), stored.upto));
    let (again, more) = past.again.with(|stored| (stored.epochs.clone(), stored.wrong.clone()));
    // What an end makes of the views is of the run that comes to it: another one that goes on from there does not show it again.
    let ends = ends(past.storage)?;
    let is_end = |epoch: &u64| ends.contains(epoch);
    if let Some((_, wrong)) = wrong.iter().chain(&more).find(|(epoch, _)| !is_end(epoch)) {
        return Err(wrong.clone());
    }
    let nothing = Rows::new();
    for epoch in (0..upto).filter(|epoch| !is_end(epoch)) {
        let (one, other) = (once.get(&epoch).unwrap_or(&nothing), again.get(&epoch).unwrap_or(&nothing));
        if one != other {
            return Err(format!(
                "two sinks were shown different things in epoch {epoch}: {one:?} and {other:?}"
            ));
        }
    }
    counts(past, &once)?;
    let expected = replayed(past)?;
    for epoch in (0..upto).filter(|epoch| !is_end(epoch)) {
        let (found, expected) = (once.get(&epoch), expected.get(&epoch));
        if found.unwrap_or(&nothing) != expected.unwrap_or(&nothing) {
            return Err(format!("epoch {epoch} was shown as {found:?}, and is {expected:?}"));
        }
    }
    Ok(())
}

/// The epochs in which a run came to the end of its input.
fn ends(storage: &Faulty) -> Result<BTreeSet<u64>, String> {
    let history = storage.history(&["incarnations/", "journal/"]);
    let starts = Starts::read(&history).map_err(|error| error.to_string())?;
    let records = read_journal(&history, &starts, 0).map_err(|error| error.to_string())?;
    if super::number("THALWEG_SEED").is_some() {
        for record in &records {
            let new: Vec<_> =
                record.new.iter().map(|new| (new.id.0, &new.found.identity, new.found.length)).collect();
            let reads: Vec<_> =
                record.reads.iter().map(|read| (read.partition.0, read.from, read.upto)).collect();
            println!("epoch {}: new {new:?}, read {reads:?}, ended {:?}", record.epoch, record.ended);
        }
    }
    Ok(records.iter().filter(|record| record.end).map(|record| record.epoch).collect())
}

/// Compares what is of all time with the lines.
fn counts(past: &Past<'_>, epochs: &BTreeMap<u64, Rows>) -> Result<(), String> {
    let mut found = BTreeMap::new();
    for ((view, row), diff) in sums(epochs) {
        if view == "all" {
            let (key, count) = row.split_once(' ').ok_or("a row has two columns")?;
            let count = count.trim_start_matches("Int(").trim_end_matches(')');
            let count: u64 = count.parse().map_err(|_| format!("{count} is no number"))?;
            if diff != 1 || found.insert(key.to_owned(), count).is_some() {
                return Err(format!("`{row}` is there {diff} times, or beside another"));
            }
        }
    }
    let mut lines = BTreeMap::<String, u64>::new();
    for log in past.logs {
        for line in String::from_utf8_lossy(&log.bytes()).lines() {
            let key = line.split_once(' ').map_or("", |(_, key)| key);
            *lines.entry(key.to_owned()).or_default() += 1;
        }
    }
    let last = past.pipes.keys().max();
    for (incarnation, pipe) in past.pipes {
        let key = format!("p{incarnation}");
        let given = String::from_utf8_lossy(&pipe.bytes()).lines().count() as u64;
        // What a machine had taken out of a pipe and not made durable went down with it; the last one had all the time it wanted.
        let counted = found.get(&key).copied().unwrap_or(0);
        if counted > given || Some(incarnation) == last && counted < given {
            return Err(format!("{counted} lines of {key} are counted, of {given}"));
        }
        found.remove(&key);
    }
    if found == lines { Ok(()) } else { Err(format!("{found:?} is counted, of {lines:?}")) }
}

/// What each epoch is, by a run that goes on from the journal alone.
fn replayed(past: &Past<'_>) -> Result<BTreeMap<u64, Rows>, String> {
    let bug = plant::planted();
    plant::plant(None);
    let history = past.storage.history(&["incarnations/", "journal/", "spool/"]);
    set_storage(&history);
    let store = Store::default();
    let theirs = store.clone();
    let sinks = Sinks::builtin()
        .with("once", move |_| Ok(Box::new(SimSink::new(theirs.clone(), Kind::Transactional))));
    let pipe = SimLog::default();
    pipe.end();
    let settings = Settings {
        sources: vec![
            (None, Arc::new(SimSource::files(past.logs, past.bounded)) as Arc<dyn Source>),
            (None, Arc::new(SimSource::pipe(&pipe)) as Arc<dyn Source>),
        ],
        sinks: vec![sinks.parse("once:?mode=changes").expect("a sink of this test")],
        tick: Duration::from_millis(5),
        time: TimeOptions { lateness: Duration::from_secs(2), ..TimeOptions::default() },
        durable: Some(DurableSettings { every: Duration::from_secs(3600), ..DurableSettings::of(URI) }),
        ..Settings::default()
    };
    let mut machine = Machine::start(&story::build(0), &settings, 0, past.now);
    let mut now = past.now;
    while *machine.health() == Health::Running {
        machine.turn(0, 20, now);
        for number in 0..machine.errands() {
            machine.step(number, true, now);
        }
        now += Duration::from_millis(2);
        if now - past.now > Duration::from_secs(60) {
            machine.die();
            return Err("the journal is not read again within a minute".to_owned());
        }
    }
    let health = machine.health().clone();
    machine.die();
    plant::plant(bug);
    if health != Health::Done {
        return Err(format!("the journal cannot be read again: {health:?}"));
    }
    Ok(store.with(|stored| stored.epochs.clone()))
}
