//! Lines such as `12 b 3` (seconds, key, number), cut into epochs in every way, for the doors that depend on time.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use thalweg::dataflow::Build;
use thalweg::prelude::*;
use thalweg::testing::{Answer, Script};
use thalweg::time::TimeOptions;

/// How late a record may be, in seconds.
pub const LATENESS: i64 = 6;

/// Seconds, key and number.
pub type Line = (i64, u8, i64);

/// Field `at` of a line, as a number.
pub fn number(line: &[u8], at: usize) -> Option<i64> {
    std::str::from_utf8(line.split(|byte| *byte == b' ').nth(at)?).ok()?.parse().ok()
}

/// The key and the number of a line.
pub fn pair(line: &[u8]) -> Option<(u8, i64)> {
    Some((*line.split(|byte| *byte == b' ').nth(1)?.first()?, number(line, 2)?))
}

/// Records that tell their seconds.
pub fn timed<'scope>(flow: &mut Flow<'scope>) -> Records<'scope, Text> {
    flow.records(Text).event_time(|line| number(line.line(), 0).map(|seconds| 1000 * seconds))
}

/// Lines by epoch, and on how many workers: from the first epoch on, and from a later one.
#[derive(Clone, Debug)]
pub struct Case {
    pub epochs: Vec<Vec<Line>>,
    pub workers: usize,
    pub handed_over: (usize, usize),
    pub ends: bool,
}

impl Case {
    /// The lines as one epoch on one worker.
    pub fn at_once(&self) -> Self {
        let epochs = vec![self.epochs.concat()];
        Case { epochs, workers: 1, handed_over: (usize::MAX, 1), ends: self.ends }
    }

    pub fn run(&self, dataflow: impl Into<Build>) -> Answer {
        let lateness = Duration::from_secs(LATENESS as u64);
        let options = TimeOptions { lateness, ..TimeOptions::default() };
        let mut script = Script::new(dataflow).time(options).workers(self.workers);
        for (at, lines) in self.epochs.iter().enumerate() {
            if at == self.handed_over.0 && at > 0 {
                script = script.workers(self.handed_over.1);
            }
            let lines: Vec<_> =
                lines.iter().map(|(time, key, n)| format!("{time} {} {n}\n", *key as char)).collect();
            script = script.epoch(lines.concat());
        }
        if self.ends { script.end() } else { script }.run()
    }

    /// For each epoch its lines, the watermark as it began, and as it ends, in seconds; the last is that of the end.
    pub fn watermarks(&self) -> Vec<(&[Line], i64, i64)> {
        let mut newest = i64::MIN / 2;
        let epochs = self.epochs.iter().map(|lines| {
            let before = newest - LATENESS;
            newest = lines.iter().map(|line| line.0).fold(newest, i64::max);
            (lines.as_slice(), before, newest - LATENESS)
        });
        epochs.collect()
    }
}

/// What all changes of view `name` up to `epoch` come to, also over a hand-over, after which a view has only what is open.
pub fn sum(answer: &Answer, name: &str, epoch: usize) -> BTreeMap<String, i64> {
    let mut rows = BTreeMap::new();
    for change in (0..=epoch as u64).flat_map(|epoch| answer.changes(name, epoch)) {
        let (diff, row) = change.split_once('\t').expect("a change is a difference and a row");
        *rows.entry(row.to_owned()).or_insert(0) += diff.parse::<i64>().expect("differences are numbers");
    }
    rows.retain(|_, count| *count != 0);
    rows
}

/// Lines out of order; with `late`, some of them too late.
pub fn case(late: bool) -> impl Strategy<Value = Case> {
    let behind = if late { 0..4 * LATENESS } else { 0..LATENESS + 1 };
    let line = (prop_oneof![6 => 0..3i64, 1 => 0..40i64], behind, b'a'..b'd', 0..4i64);
    let lines = prop::collection::vec(line, 0..40).prop_map(|lines| {
        let mut newest = 100;
        let line = |(on, behind, key, n)| {
            newest += on;
            (newest - behind, key, n)
        };
        lines.into_iter().map(line).collect::<Vec<_>>()
    });
    let cuts = prop::collection::vec(0..6usize, 1..8);
    (lines, cuts, 1..4usize, (0..12usize, 1..4usize), any::<bool>()).prop_map(
        |(lines, cuts, workers, handed_over, ends)| {
            let (mut rest, mut epochs) = (lines.as_slice(), Vec::new());
            for cut in cuts.iter().cycle().take(40) {
                let (epoch, more) = rest.split_at((*cut).min(rest.len()));
                epochs.push(epoch.to_vec());
                rest = more;
            }
            epochs.push(rest.to_vec());
            while epochs.len() > 1 && epochs.last().is_some_and(Vec::is_empty) {
                epochs.pop();
            }
            Case { epochs, workers, handed_over, ends }
        },
    )
}
