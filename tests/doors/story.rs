//! Records with times, given in epochs of any cut on changing numbers of workers, and what is too late of them.

use std::collections::BTreeMap;
use std::fmt;

use proptest::prelude::*;
use thalweg::dataflow::Build;
use thalweg::testing::{Answer, Script};

/// The lateness of all these runs: that of the default options, in milliseconds.
pub const LATENESS: i64 = 10_000;

/// One line: `12000 l 1 7`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    pub time: i64,
    pub left: bool,
    pub key: u8,
    pub value: u8,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.left { 'l' } else { 'r' };
        writeln!(f, "{} {side} {} {}", self.time, self.key, self.value)
    }
}

/// Word `at` of a line, as a number.
pub fn number(line: &[u8], at: usize) -> Option<i64> {
    std::str::from_utf8(line.split(|byte| *byte == b' ').nth(at)?).ok()?.parse().ok()
}

/// Whether a line is of the left side.
pub fn is_left(line: &[u8]) -> bool {
    line.split(|byte| *byte == b' ').nth(1) == Some(b"l")
}

/// Records in order of arrival, each at most `back` milliseconds behind the newest.
pub fn records(back: i64, most: usize) -> impl Strategy<Value = Vec<Record>> {
    let behind = prop_oneof![2 => Just(0), 2 => 0..3000i64, 1 => 0..=back];
    let record = (0..4000i64, behind, any::<bool>(), 0..3u8, 0..2u8);
    prop::collection::vec((record, 1..3usize), 0..most).prop_map(|draws| {
        let mut newest = 0;
        let mut records = Vec::new();
        for ((advance, behind, left, key, value), times) in draws {
            // Half the steps are none, and times are coarse, so that records coincide and bounds are met exactly.
            newest += (advance - 2000).max(0) / 500 * 500;
            let record = Record { time: newest - behind / 500 * 500, left, key, value };
            records.extend(vec![record; times]);
        }
        records
    })
}

/// Epochs, those before `split` on `workers.0` workers and the others on `workers.1`, and the end of the input.
#[derive(Clone, Debug)]
pub struct Story {
    pub epochs: Vec<Vec<Record>>,
    pub split: usize,
    pub workers: (usize, usize),
}

impl Story {
    /// These records, with an epoch ending where `cuts` say.
    pub fn new(records: &[Record], cuts: &[usize], split: usize, workers: (usize, usize)) -> Self {
        let mut cuts: Vec<_> =
            cuts.iter().map(|cut| cut % (records.len() + 1)).chain([0, records.len()]).collect();
        cuts.sort_unstable();
        let epochs: Vec<_> = cuts.windows(2).map(|pair| records[pair[0]..pair[1]].to_vec()).collect();
        Story { split: split % (epochs.len() + 1), epochs, workers }
    }

    pub fn run(&self, dataflow: impl Into<Build>) -> Answer {
        self.tell(Script::new(dataflow))
    }

    /// Runs `script`, which has no epochs yet, with these.
    pub fn tell(&self, script: Script) -> Answer {
        let mut script = script.workers(self.workers.0);
        for (at, epoch) in self.epochs.iter().enumerate() {
            if at == self.split {
                script = script.workers(self.workers.1);
            }
            script = script.epoch(epoch.iter().map(Record::to_string).collect::<String>());
        }
        script.end().run()
    }

    /// The records of each epoch that are not before the watermark as it began, and the watermark as it ended; the last is
    /// the end.
    pub fn judged(&self) -> Vec<(Vec<Record>, i64)> {
        let mut newest = None;
        let mut judged = Vec::new();
        for epoch in &self.epochs {
            let before = newest.map_or(i64::MIN, |newest| newest - LATENESS);
            newest = newest.max(epoch.iter().map(|record| record.time).max());
            let taken = epoch.iter().filter(|record| record.time >= before).cloned().collect();
            judged.push((taken, newest.map_or(i64::MIN, |newest| newest - LATENESS)));
        }
        judged.push((Vec::new(), i64::MAX));
        judged
    }

    /// How many records are too late.
    pub fn late(&self) -> usize {
        let taken: usize = self.judged().iter().map(|(taken, _)| taken.len()).sum();
        self.epochs.iter().map(Vec::len).sum::<usize>() - taken
    }
}

/// Any story of records at most `back` milliseconds behind.
pub fn story(back: i64, most: usize) -> impl Strategy<Value = Story> {
    let cuts = prop::collection::vec(any::<usize>(), 0..6);
    (records(back, most), cuts, any::<usize>(), (1..4usize, 1..4usize))
        .prop_map(|(records, cuts, split, workers)| Story::new(&records, &cuts, split, workers))
}

/// The changes from each of the contents of a view to the next, as [`Answer::changes`] tells them, in a fixed order.
pub fn changes(contents: &[Vec<String>]) -> Vec<Vec<String>> {
    let mut before: BTreeMap<&str, i64> = BTreeMap::new();
    let mut all = Vec::new();
    for content in contents {
        let mut now: BTreeMap<&str, i64> = BTreeMap::new();
        content.iter().for_each(|row| *now.entry(row).or_default() += 1);
        let mut diffs = now.clone();
        before.iter().for_each(|(row, count)| *diffs.entry(row).or_default() -= count);
        let mut changes: Vec<_> = diffs
            .iter()
            .filter(|(_, diff)| **diff != 0)
            .map(|(row, diff)| format!("{diff:+}\t{row}"))
            .collect();
        changes.sort();
        all.push(changes);
        before = now;
    }
    all
}

/// The changes of view `name` in each of the first `epochs` epochs, in the same order.
pub fn shown(answer: &Answer, name: &str, epochs: usize) -> Vec<Vec<String>> {
    let sorted = |epoch| {
        let mut changes: Vec<_> = answer.changes(name, epoch).into_iter().map(str::to_owned).collect();
        changes.sort();
        changes
    };
    (0..epochs as u64).map(sorted).collect()
}
