//! Given more input after its end, a run goes on as if it had been stopped just before.

use std::time::Duration;

use proptest::prelude::*;
use thalweg::prelude::*;
use thalweg::testing::{Answer, Script};

use crate::oracle::cases;

/// Lines such as `12 a`: a second and a key, through every kind of door that goes by time.
#[derive(clap::Args)]
struct ByTime;

const VIEWS: [&str; 8] = ["all", "last", "window", "states", "ended", "once", "windows", "sessions"];

/// Those whose rows become final.
const WINDOWED: [&str; 2] = ["windows", "sessions"];

fn key(line: &[u8]) -> Option<&[u8]> {
    line.get(3..)
}

impl Dataflow for ByTime {
    const NAME: &'static str = "by-time";

    const ABOUT: &'static str = "every kind of door that goes by time";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let window = Window::new(Duration::from_secs(6), Duration::from_secs(2))?;
        let gap = Gap::new(Duration::from_secs(3))?;
        let lines = flow
            .records(Text)
            .event_time(|line| Some(1000 * std::str::from_utf8(line.get(..2)?).ok()?.parse::<i64>().ok()?));
        let keyed = || lines.by(text("key"), |line| key(line.line()));
        keyed().count("all").about("of no time").show("all");
        let last = keyed().over_last(window).count("last");
        let stands = last.window();
        last.about("a sliding view").show("last");
        stands.about("where it stands").show("window");
        let states = keyed().state(
            "states",
            Timeout::Idle(gap),
            |_| Some(()),
            |_, seen, count: Option<u64>, ended| match seen {
                Seen::Values(values) => Next::Keep(count.unwrap_or(0) + values.len() as u64),
                Seen::TimedOut(_) => {
                    ended.push(());
                    Next::Drop
                }
            },
        );
        states.states.about("keyed state").show("states");
        let ended = states.facts.map(["key"], |(key, ())| key).count("ended");
        ended.about("keys that timed out, added up").show("ended");
        let once = keyed().first_within("once", Duration::from_secs(2), (), |_| Some(()));
        let once = once.map(["key"], |(key, ())| key).count("once, counted");
        once.about("what is let through, added up").show("once");
        keyed().by_window(window).count("windows").about("a window table").show("windows");
        keyed().by_session(gap).count("sessions").about("sessions").show("sessions");
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

/// Epochs of records, each a second and a key. Each epoch is five seconds further on, so windows, sessions and keys end in all
/// of them.
fn lines(epochs: &[Vec<(u64, u8)>]) -> Vec<String> {
    let epoch = |(at, records): (u64, &Vec<(u64, u8)>)| {
        let line =
            |(second, key): &(u64, u8)| format!("{:02} {}\n", 10 + 5 * at + second, char::from(b'a' + key));
        records.iter().map(line).collect()
    };
    (0..).zip(epochs).map(epoch).collect()
}

proptest! {
    #![proptest_config(cases(12))]

    #[test]
    fn an_end_is_no_change_of_the_state(
        epochs in prop::collection::vec(prop::collection::vec((0..6u64, 0..3u8), 0..6), 2..5),
        before in 1..4usize,
        after in 1..4usize,
    ) {
        let epochs = lines(&epochs);
        for stop in 1..epochs.len() {
            let stopped = run(&epochs, stop, [before, after], false);
            let ended = run(&epochs, stop, [before, after], true);
            // The epoch in which the input ended, or nothing came.
            let at = stop as u64;
            for view in VIEWS {
                // All rows, whenever any of them changes from then on.
                let since = |answer: &Answer| -> Vec<_> {
                    let all = answer.steps(view).into_iter().filter(|((epoch, _), _)| *epoch > at);
                    all.map(|(time, rows)| (time, rows.join(", "))).collect()
                };
                let (one, other) = (since(&stopped), since(&ended));
                prop_assert_eq!(one, other, "{}, stopped before {}", view, at);
                for epoch in at + 1..=epochs.len() as u64 + 1 {
                    let (one, other) = (stopped.changes(view, epoch), ended.changes(view, epoch));
                    prop_assert_eq!(one, other, "changes of {} in epoch {}", view, epoch);
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

proptest! {
    #![proptest_config(cases(12))]

    /// What is final is no row of a door any more, and all the same in the whole views of the run that goes on.
    #[test]
    fn whole_views_are_those_of_one_run(
        epochs in prop::collection::vec(prop::collection::vec((0..6u64, 0..3u8), 0..6), 2..5),
        before in 1..4usize,
        after in 1..4usize,
    ) {
        let epochs = lines(&epochs);
        let script = Script::new(ByTime).workers(before);
        let one = epochs.iter().fold(script, |script, epoch| script.epoch(epoch)).end().run();
        for stop in 1..epochs.len() {
            let stopped = run(&epochs, stop, [before, after], false);
            for view in VIEWS {
                prop_assert_eq!(stopped.view(view), one.view(view), "{}, stopped before {}", view, stop);
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
