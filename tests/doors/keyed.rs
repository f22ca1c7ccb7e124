//! Keyed state against a naive replay of all lines.
//!
//! The state is a log of what `update` was given: `[3 1][2]` are two calls, one with two values and one with one. A number of
//! zero empties the log, so it removes the key where it is the last.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use thalweg::dataflow::{BuildError, Dataflow, Flow};
use thalweg::door::number as seconds;
use thalweg::prelude::{Gap, Next, Parsed, Seen, Text, Time, Timeout, column};

use crate::oracle::cases;
use crate::seconds::{Case, Line, case, number, pair, sum, timed};

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

fn key(line: &Parsed<'_, Text>) -> Option<u8> {
    Some(pair(line.line())?.0)
}

impl Dataflow for Logs {
    const NAME: &'static str = "logs";
    const ABOUT: &'static str = "what became of each key";
    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let timeout = Gap::new(Duration::from_secs(TIMEOUT as u64)).expect("seconds are a gap");
        let lines = timed(flow);
        let value = |line: &Parsed<'_, Text>| Some(pair(line.line())?.1);
        let states = lines.by(column::<u8>("key"), key).state(
            "states",
            Timeout::Never,
            value,
            |_, seen, state, _: &mut Vec<()>| match seen {
                Seen::Values(values) => log(values, state).map_or(Next::Drop, Next::Keep),
                Seen::TimedOut(at) => panic!("a state for ever timed out at {at}"),
            },
        );
        let timed = lines.by(column::<u8>("key"), key).state(
            "timed",
            Timeout::Idle(timeout),
            value,
            |_, seen, state: Option<String>, ended| match seen {
                Seen::Values(values) => log(values, state).map_or(Next::Drop, Next::Keep),
                Seen::TimedOut(at) => {
                    let log = state.expect("only what there is times out");
                    ended.push((at.0 / 1000, format!("{log}.")));
                    // Whoever is idle is gone, whatever this says.
                    Next::Keep(format!("{log}!"))
                }
            },
        );
        states.states.about("for ever").show("states");
        timed.states.about("until idle").show("timed");
        timed.facts.columns(["key", "second", "log"]).about("idle").show("ended");
        let refused = lines.refused("refused", seconds("seconds"), |line| number(line.line(), 0));
        refused.about("too late").show("refused");
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
    refused: BTreeMap<String, i64>,
}

impl Replay {
    fn end(&mut self, key: u8) {
        if let Some((Some(log), last)) = self.timed.remove(&key) {
            *self.ended.entry(format!("{key}\t{}\t{log}.", last + TIMEOUT)).or_insert(0) += 1;
        }
    }

    /// One epoch, line by line; calls are brackets that are opened where one begins and closed in the end.
    fn epoch(&mut self, case: &[(i64, u8, i64)], before: i64, time: i64) {
        for key in b'a'..b'd' {
            let of_key: Vec<_> = case.iter().filter(|line| line.1 == key).collect();
            let values: Vec<_> = of_key.iter().map(|line| line.2).collect();
            if !values.is_empty() {
                let state = self.states.remove(&key).and_then(|(state, _)| state);
                self.states.insert(key, (log(&values, state), 0));
            }
            let mut call = Vec::new();
            for (at, _, value) in of_key {
                if at + TIMEOUT <= before {
                    *self.refused.entry(format!("late\ttimed\t{at}")).or_insert(0) += 1;
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
    fn states_are_those_of_a_replay(case in case(true)) {
        let answer = case.run(Logs);
        let mut replay = Replay::default();
        for (epoch, (lines, before, now)) in case.watermarks().into_iter().enumerate() {
            replay.epoch(lines, before, now);
            prop_assert_eq!(sum(&answer, "states", epoch), rows(&replay.states), "epoch {}", epoch);
            prop_assert_eq!(sum(&answer, "timed", epoch), rows(&replay.timed), "epoch {}", epoch);
            prop_assert_eq!(&sum(&answer, "ended", epoch), &replay.ended, "epoch {}", epoch);
        }
        let last = case.epochs.len();
        if let (true, Some(newest)) = (case.ends, case.epochs.concat().iter().map(|line| line.0).max()) {
            replay.epoch(&[], 0, newest);
        }
        prop_assert_eq!(sum(&answer, "timed", last), rows(&replay.timed));
        prop_assert_eq!(sum(&answer, "ended", last), replay.ended);
        prop_assert_eq!(&sum(&answer, "refused", last), &replay.refused);
        prop_assert_eq!(answer.counts().late, replay.refused.values().sum::<i64>());
    }

    #[test]
    fn the_same_values_cut_differently_end_in_the_same_states(case in case(false)) {
        let (cut, whole) = (case.run(Logs), case.at_once().run(Logs));
        let singly = Case { epochs: case.epochs.concat().into_iter().map(|line| vec![line]).collect(), ..case.clone() };
        let lines = singly.epochs.len();
        let singly = singly.run(Logs);
        for view in ["states", "timed", "ended"] {
            let cut = folded(sum(&cut, view, case.epochs.len()));
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
        let case = Case { epochs: epochs.clone(), workers, handed_over: (2, 4 - workers), ends: true };
        let answer = case.run(Logs);
        assert_eq!(answer.changes("timed", 1), ["+1\t98\t[2]"]);
        // The watermark is 105 s, five seconds after the key's only value.
        assert_eq!(answer.changes("timed", 2), ["-1\t97\t[1]", "-1\t98\t[2]", "+1\t98\t[2][3]"]);
        assert_eq!(answer.changes("ended", 2), ["+1\t97\t105\t[1]."]);
        assert_eq!(answer.changes("timed", 3), ["+1\t97\t[4]"]);
        // The end of the input is no time: these have not been idle.
        assert_eq!(answer.changes("timed", 4), [""; 0]);
        assert_eq!(answer.changes("ended", 4), [""; 0]);
    }
}

/// State that says how long it is kept: a log of its calls, such as `[12:3][15:4].` for two values and a timeout.
///
/// What becomes of it is up to the value: it is dropped (0), kept with no deadline (1), or kept until so many seconds after the
/// value's time; with 2 until before it. A timeout makes a fact, and then: the first one keeps the state for three more
/// seconds, the second for good, the third drops it.
#[derive(clap::Args)]
struct Deadlines;

/// What [`Deadlines`] does at a value, in seconds.
fn at_value((at, n): (i64, i64), log: Option<String>) -> Next<String> {
    let log = format!("{}[{at}:{n}]", log.unwrap_or_default());
    match n {
        0 => Next::Drop,
        1 => Next::Keep(log),
        2 => Next::Until(log, Time(at - 1)),
        _ => Next::Until(log, Time(at + 2 * n)),
    }
}

/// What it does when it times out.
fn at_deadline(at: i64, log: &str) -> Next<String> {
    let before = log.matches('.').count();
    let log = format!("{log}.");
    match before {
        0 => Next::Until(log, Time(at + 3)),
        1 => Next::Keep(log),
        _ => Next::Drop,
    }
}

/// In milliseconds.
fn in_millis(next: Next<String>) -> Next<String> {
    match next {
        Next::Until(log, Time(until)) => Next::Until(log, Time(1000 * until)),
        other => other,
    }
}

impl Dataflow for Deadlines {
    const NAME: &'static str = "deadlines";
    const ABOUT: &'static str = "what became of each key, and when";
    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let lines = timed(flow);
        let keys = lines.by(column::<u8>("key"), key).state(
            "keys",
            Timeout::Deadline,
            |line| Some((number(line.line(), 0)?, pair(line.line())?.1)),
            |_, seen, log: Option<String>, facts| match seen {
                Seen::Values([value]) => in_millis(at_value(*value, log)),
                Seen::Values(values) => panic!("{} values in one call", values.len()),
                Seen::TimedOut(at) => {
                    let log = log.expect("only what there is times out");
                    facts.push((at.0 / 1000, log.clone()));
                    in_millis(at_deadline(at.0 / 1000, &log))
                }
            },
        );
        keys.states.columns(["key", "log"]).show("states");
        keys.facts.columns(["key", "second", "log"]).show("facts");
        lines.refused("refused", seconds("seconds"), |line| number(line.line(), 0)).show("refused");
        Ok(())
    }
}

/// The keys one by one, and their values in order of arrival: the log, and the deadline.
#[derive(Default)]
struct Simulation {
    keys: BTreeMap<u8, (String, Option<i64>)>,
    facts: BTreeMap<String, i64>,
    refused: BTreeMap<String, i64>,
}

impl Simulation {
    fn becomes(&mut self, key: u8, next: Next<String>) {
        match next {
            Next::Keep(log) => self.keys.insert(key, (log, None)),
            Next::Until(log, Time(until)) => self.keys.insert(key, (log, Some(until))),
            Next::Drop => self.keys.remove(&key),
        };
    }

    /// Whatever of `key` is due at `time`.
    fn time_out(&mut self, key: u8, time: i64) {
        while let Some((log, Some(due))) =
            self.keys.get(&key).filter(|(_, due)| due.is_some_and(|due| due <= time))
        {
            let (log, due) = (log.clone(), *due);
            *self.facts.entry(format!("{key}\t{due}\t{log}")).or_insert(0) += 1;
            self.becomes(key, at_deadline(due, &log));
        }
    }

    fn epoch(&mut self, case: &[Line], before: i64, time: i64) {
        for (at, key, n) in case {
            if *at < before {
                *self.refused.entry(format!("late\tkeys\t{at}")).or_insert(0) += 1;
            } else {
                self.time_out(*key, *at);
                let log = self.keys.remove(key).map(|(log, _)| log);
                self.becomes(*key, at_value((*at, *n), log));
            }
        }
        (b'a'..b'd').for_each(|key| self.time_out(key, time));
    }

    /// The end of the input: time comes to the newest record.
    fn end(&mut self, case: &Case) {
        if let (true, Some(newest)) = (case.ends, case.epochs.concat().iter().map(|line| line.0).max()) {
            self.epoch(&[], 0, newest);
        }
    }

    fn states(&self) -> BTreeMap<String, i64> {
        self.keys.iter().map(|(key, (log, _))| (format!("{key}\t{log}"), 1)).collect()
    }
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn deadlines_are_those_of_a_simulation(case in case(true)) {
        let answer = case.run(Deadlines);
        let mut naive = Simulation::default();
        for (epoch, (lines, before, now)) in case.watermarks().into_iter().enumerate() {
            naive.epoch(lines, before, now);
            prop_assert_eq!(sum(&answer, "states", epoch), naive.states(), "epoch {}", epoch);
            prop_assert_eq!(&sum(&answer, "facts", epoch), &naive.facts, "epoch {}", epoch);
        }
        naive.end(&case);
        let last = case.epochs.len();
        prop_assert_eq!(sum(&answer, "states", last), naive.states());
        prop_assert_eq!(sum(&answer, "facts", last), naive.facts);
        prop_assert_eq!(answer.counts().late, naive.refused.values().sum::<i64>());
        prop_assert_eq!(sum(&answer, "refused", last), naive.refused);
    }

    /// Values and timeouts are in one order, however they are cut into epochs.
    #[test]
    fn deadlines_do_not_depend_on_the_cut(case in case(false)) {
        let mut naive = Simulation::default();
        for (lines, before, now) in case.at_once().watermarks() {
            naive.epoch(lines, before, now);
        }
        naive.end(&case);
        for (way, case) in [("cut", case.clone()), ("whole", case.at_once())] {
            let (answer, last) = (case.run(Deadlines), case.epochs.len());
            prop_assert_eq!(sum(&answer, "states", last), naive.states(), "{}", way);
            prop_assert_eq!(&sum(&answer, "facts", last), &naive.facts, "{}", way);
            prop_assert_eq!(answer.counts().late, 0);
        }
    }
}

/// A deadline that a value brings with it is met before the next one, also where both are in one epoch.
#[test]
fn a_deadline_lies_between_two_values_of_an_epoch() {
    let lines = vec![(100, b'a', 3), (106, b'a', 0), (112, b'b', 3), (117, b'b', 1)];
    for epochs in [vec![lines.clone()], lines.chunks(1).map(<[Line]>::to_vec).collect()] {
        for workers in 1..4 {
            let case = Case { epochs: epochs.clone(), workers, handed_over: (1, 4 - workers), ends: true };
            let (answer, last) = (case.run(Deadlines), epochs.len());
            // The deadline of `a` is 106 s, that of `b` would have been 118 s.
            let rows = |name| sum(&answer, name, last).into_keys().collect::<Vec<_>>();
            assert_eq!(rows("facts"), ["97\t106\t[100:3]"]);
            assert_eq!(rows("states"), ["98\t[112:3][117:1]"]);
        }
    }
}
