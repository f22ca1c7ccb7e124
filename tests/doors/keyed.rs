//! Keyed state against a naive replay of all lines.
//!
//! The state is a log of what `update` was told: `[3 1][2]` are two calls, one with two values and one with one. A number of
//! zero empties the log, so it removes the key where it is the last.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use thalweg::dataflow::{BuildError, Dataflow, Flow};
use thalweg::prelude::*;
use thalweg::view::View;

use crate::oracle::cases;
use crate::seconds::{Told, number, pair, sum, timed, told};

/// In seconds.
const TIMEOUT: i64 = 5;

#[derive(clap::Args)]
struct Logs;

/// The log after a call with `values`.
fn log(values: &[i64], state: Option<String>) -> Option<String> {
    let zero = values.iter().rposition(|value| *value == 0);
    let state = state.filter(|_| zero.is_none()).unwrap_or_default();
    let values = &values[zero.map_or(0, |zero| zero + 1)..];
    let words: Vec<_> = values.iter().map(ToString::to_string).collect();
    (!values.is_empty()).then(|| format!("{state}[{}]", words.join(" ")))
}

impl Dataflow for Logs {
    const NAME: &'static str = "logs";
    const ABOUT: &'static str = "what became of each key";
    const VIEWS: &'static [View] = &[
        View { name: "states", columns: &["key", "log"], about: "for ever" },
        View { name: "timed", columns: &["key", "log"], about: "until idle" },
        View { name: "ended", columns: &["key", "log"], about: "idle" },
        View { name: "refused", columns: &["seconds"], about: "too late" },
    ];
    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let timeout = Gap::new(Duration::from_secs(TIMEOUT as u64)).expect("seconds are a gap");
        let mut lines = timed(flow);
        let states = lines.update_state_by_key::<u8, i64, String>(
            "states",
            |line| pair(line.line()),
            |_, values, state| log(values, state),
        );
        let timed = lines.update_state_by_key_timeout::<u8, i64, String>(
            "timed",
            timeout,
            |line| pair(line.line()),
            |_, seen, state| match seen {
                Seen::Values(values) => log(values, state),
                Seen::TimedOut => state.map(|log| format!("{log}.")),
            },
        );
        let refused = lines.refused_by_timeout::<i64>("refused", timeout, |line| number(line.line(), 0));
        flow.view("states", states.map(|(key, log)| (i64::from(key), log)));
        flow.view("timed", timed.rows().map(|(key, log)| (i64::from(key), log)));
        flow.view("ended", timed.ended().map(|(key, log)| (i64::from(key), log)));
        flow.view("refused", refused.map(|seconds| (seconds,)));
        Ok(())
    }
}

/// A key of the replay: its log, and the greatest time since it last timed out.
type Known = BTreeMap<u8, (Option<String>, i64)>;

/// The replay: states, states that time out, what has ended, and how many lines were refused.
#[derive(Default)]
struct Replay {
    states: Known,
    timed: Known,
    ended: BTreeMap<String, i64>,
    refused: i64,
}

impl Replay {
    fn end(&mut self, key: u8) {
        if let Some((Some(log), _)) = self.timed.remove(&key) {
            *self.ended.entry(format!("{key}\t{log}.")).or_insert(0) += 1;
        }
    }

    /// One epoch, line by line; calls are brackets that are opened where one begins and closed in the end.
    fn epoch(&mut self, told: &[(i64, u8, i64)], before: i64, time: i64) {
        for key in b'a'..b'd' {
            let of_key: Vec<_> = told.iter().filter(|line| line.1 == key).collect();
            let values: Vec<_> = of_key.iter().map(|line| line.2).collect();
            if !values.is_empty() {
                let state = self.states.remove(&key).and_then(|(state, _)| state);
                self.states.insert(key, (log(&values, state), 0));
            }
            let mut call = Vec::new();
            for (at, _, value) in of_key {
                if at + TIMEOUT <= before {
                    self.refused += 1;
                    continue;
                }
                if self.timed.get(&key).is_some_and(|(_, last)| *at >= last + TIMEOUT) {
                    self.called(key, &mut call);
                    self.end(key);
                }
                let (_, last) = self.timed.entry(key).or_insert((None, *at));
                *last = (*last).max(*at);
                call.push(*value);
            }
            self.called(key, &mut call);
            if self.timed.get(&key).is_some_and(|(_, last)| time >= last + TIMEOUT) {
                self.end(key);
            }
        }
    }

    fn called(&mut self, key: u8, values: &mut Vec<i64>) {
        if let Some((state, _)) = self.timed.get_mut(&key).filter(|_| !values.is_empty()) {
            *state = log(&std::mem::take(values), state.take());
        }
    }
}

fn rows(known: &Known) -> BTreeMap<String, i64> {
    known.iter().filter_map(|(key, (log, _))| Some((format!("{key}\t{}", log.as_ref()?), 1))).collect()
}

/// Without where calls began and ended.
fn folded(rows: BTreeMap<String, i64>) -> BTreeMap<String, i64> {
    let mut folded = BTreeMap::new();
    rows.into_iter().for_each(|(row, n)| *folded.entry(row.replace("][", " ")).or_insert(0) += n);
    folded
}

proptest! {
    #![proptest_config(cases(16))]

    #[test]
    fn states_are_those_of_a_replay(told in told(true)) {
        let answer = told.run(Logs);
        let mut replay = Replay::default();
        for (epoch, (lines, before, now)) in told.watermarks().into_iter().enumerate() {
            replay.epoch(lines, before, now);
            prop_assert_eq!(sum(&answer, "states", epoch), rows(&replay.states), "epoch {}", epoch);
            prop_assert_eq!(sum(&answer, "timed", epoch), rows(&replay.timed), "epoch {}", epoch);
            prop_assert_eq!(&sum(&answer, "ended", epoch), &replay.ended, "epoch {}", epoch);
        }
        let last = told.epochs.len();
        if let (true, Some(newest)) = (told.ends, told.epochs.concat().iter().map(|line| line.0).max()) {
            replay.epoch(&[], 0, newest);
        }
        prop_assert_eq!(sum(&answer, "timed", last), rows(&replay.timed));
        prop_assert_eq!(sum(&answer, "ended", last), replay.ended);
        prop_assert_eq!(sum(&answer, "refused", last).values().sum::<i64>(), replay.refused);
        prop_assert_eq!(answer.counts().late, replay.refused);
    }

    #[test]
    fn the_same_values_cut_differently_end_in_the_same_states(told in told(false)) {
        let (cut, whole) = (told.run(Logs), told.at_once().run(Logs));
        let singly = Told { epochs: told.epochs.concat().into_iter().map(|line| vec![line]).collect(), ..told.clone() };
        let lines = singly.epochs.len();
        let singly = singly.run(Logs);
        for view in ["states", "timed", "ended"] {
            let cut = folded(sum(&cut, view, told.epochs.len()));
            prop_assert_eq!(&cut, &folded(sum(&whole, view, 1)), "view {}", view);
            prop_assert_eq!(&cut, &folded(sum(&singly, view, lines)), "view {}", view);
        }
        prop_assert_eq!(cut.counts().late, 0);
    }
}

#[test]
fn a_key_times_out_with_the_time_of_others() {
    let epochs = vec![vec![(100, b'a', 1)], vec![(110, b'b', 2)], vec![(111, b'b', 3)], vec![(112, b'a', 4)]];
    for workers in 1..4 {
        let told = Told { epochs: epochs.clone(), workers, handed_over: (2, 4 - workers), ends: true };
        let answer = told.run(Logs);
        assert_eq!(answer.changes("timed", 1), ["+1\t98\t[2]"]);
        // The watermark is 105 s, five seconds after the key's only value.
        assert_eq!(answer.changes("timed", 2), ["-1\t97\t[1]", "-1\t98\t[2]", "+1\t98\t[2][3]"]);
        assert_eq!(answer.changes("ended", 2), ["+1\t97\t[1]."]);
        assert_eq!(answer.changes("timed", 3), ["+1\t97\t[4]"]);
        // The end of the input is no time: these have not been idle.
        assert_eq!(answer.changes("timed", 4), [""; 0]);
        assert_eq!(answer.changes("ended", 4), [""; 0]);
    }
}
