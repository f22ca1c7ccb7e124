//! Given more input after its end, a run goes on as if it had been stopped just before.

use std::time::Duration;

use proptest::prelude::*;
use thalweg::prelude::*;
use thalweg::testing::{Answer, Script};

use crate::oracle::cases;

/// Lines such as `12 a`: a second and a key, through every kind of door that goes by time.
#[derive(clap::Args)]
struct ByTime;

const VIEWS: &[View] = &[
    View { name: "all", columns: &["key", "count"], about: "of no time" },
    View { name: "last", columns: &["key", "count"], about: "a sliding view" },
    View { name: "window", columns: &["start", "end"], about: "where it stands" },
    View { name: "states", columns: &["key", "count"], about: "keyed state" },
    View { name: "ended", columns: &["key", "count"], about: "keys that timed out, added up" },
    View { name: "once", columns: &["key", "count"], about: "what is let through, added up" },
    View { name: "windows", columns: &["start", "key", "count"], about: "a window table" },
    View { name: "sessions", columns: &["start", "key", "count"], about: "sessions" },
];

/// Those of which the rows that are final are the sinks'.
const WINDOWED: [&str; 2] = ["windows", "sessions"];

fn key(line: &[u8]) -> Option<&[u8]> {
    line.get(3..)
}

impl Dataflow for ByTime {
    const NAME: &'static str = "by-time";

    const ABOUT: &'static str = "every kind of door that goes by time";

    const VIEWS: &'static [View] = VIEWS;

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let window = Window::new(Duration::from_secs(6), Duration::from_secs(2))?;
        let gap = Gap::new(Duration::from_secs(3))?;
        let mut lines = flow.records(Text);
        lines.event_time(|line| Some(1000 * std::str::from_utf8(line.get(..2)?).ok()?.parse::<i64>().ok()?));
        flow.view("all", lines.count_by::<Bytes>("all", |line| key(line.line())));
        let last = lines.over_last(window).count_by::<Bytes>("last", |line| key(line.line()));
        flow.view("last", last.rows());
        flow.view("window", last.window().map(|span| (Time(span.start), Time(span.end))));
        let states = lines.update_state_by_key_timeout::<Bytes, (), u64>(
            "states",
            gap,
            |line| Some((key(line.line())?, ())),
            |_, seen, count| match seen {
                Seen::Values(values) => Some(count.unwrap_or(0) + values.len() as u64),
                Seen::TimedOut => count,
            },
        );
        flow.view("states", states.rows());
        flow.view("ended", flow.totals("ended", states.ended().map(|(key, _)| key)));
        let once = lines.distinct_within::<Bytes, ()>("once", Duration::from_secs(2), |line| {
            Some((key(line.line())?, ()))
        });
        flow.view("once", flow.totals("once, counted", once.map(|(key, ())| key)));
        let windows = lines.by_window(window).count_by::<Bytes>("windows", |line| key(line.line()));
        flow.view_windows("windows", windows.map(|(span, key, count)| (Time(span.start), key, count)));
        let sessions = lines.by_session(gap).count_by::<Bytes>("sessions", |line| key(line.line()));
        flow.view_windows("sessions", sessions.map(|(span, key, count)| (Time(span.start), key, count)));
        Ok(())
    }
}

/// Runs `epochs` on `workers`, with another number from `stop` on; there the input has `ended`, or
/// it was only stopped.
fn run(epochs: &[String], stop: usize, workers: [usize; 2], ended: bool) -> Answer {
    let (first, second) = epochs.split_at(stop);
    let script =
        first.iter().fold(Script::new(ByTime).workers(workers[0]), |script, epoch| script.epoch(epoch));
    let script = if ended { script.end() } else { script.epoch("") };
    second.iter().fold(script.workers(workers[1]), |script, epoch| script.epoch(epoch)).end().run()
}

proptest! {
    #![proptest_config(cases(12))]

    #[test]
    fn an_end_is_no_change_of_the_state(
        epochs in prop::collection::vec(prop::collection::vec((0..6u64, 0..3u8), 0..6), 2..5),
        before in 1..4usize,
        after in 1..4usize,
    ) {
        // Each epoch is five seconds further on, so windows, sessions and keys end in all of them.
        let epochs: Vec<String> = (0..).zip(&epochs).map(|(at, records)| {
            let line = |(second, key): &(u64, u8)| format!("{:02} {}\n", 10 + 5 * at + second, char::from(b'a' + key));
            records.iter().map(line).collect()
        }).collect();
        for stop in 1..epochs.len() {
            let stopped = run(&epochs, stop, [before, after], false);
            let ended = run(&epochs, stop, [before, after], true);
            // The epoch in which the input ended, or nothing came.
            let at = stop as u64;
            for view in VIEWS {
                // All rows, whenever any of them changes from then on.
                let since = |answer: &Answer| -> Vec<_> {
                    let all = answer.history(view.name).into_iter().filter(|((epoch, _), _)| *epoch > at);
                    all.map(|(time, rows)| (time, rows.join(", "))).collect()
                };
                let (one, other) = (since(&stopped), since(&ended));
                prop_assert_eq!(one, other, "{}, stopped before {}", view.name, at);
                for epoch in at + 1..=epochs.len() as u64 + 1 {
                    let (one, other) = (stopped.changes(view.name, epoch), ended.changes(view.name, epoch));
                    prop_assert_eq!(one, other, "changes of {} in epoch {}", view.name, epoch);
                }
            }
            for view in WINDOWED {
                // What the first end made final was so for that run alone.
                let (stopped, ended) = (stopped.finals(view), ended.finals(view));
                prop_assert!(ended.len() >= stopped.len());
                let all_there = stopped.iter().all(|row| ended.contains(row));
                prop_assert!(all_there, "{} of {:?} and {:?}", view, stopped, ended);
            }
        }
    }
}

/// More keys than are restored at a time, by three workers of what one had.
#[test]
fn many_keys_are_restored_slice_by_slice() {
    const KEYS: usize = 10_000;
    let all: String = (0..KEYS).map(|key| format!("10 {key:05}\n")).collect();
    let some: String = (0..KEYS).step_by(7).map(|key| format!("11 {key:05}\n")).collect();
    let answer = Script::new(ByTime).epoch(&all).workers(3).epoch(&some).run();
    let rows: Vec<_> =
        (0..KEYS).map(|key| format!("{key:05}\t{}", if key % 7 == 0 { 2 } else { 1 })).collect();
    assert_eq!(answer.view("all"), rows);
    assert_eq!(answer.view("states"), rows);
}
