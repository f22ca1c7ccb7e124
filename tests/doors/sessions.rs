//! Session windows against sessions that are worked out from all records that were not refused, epoch by epoch.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use thalweg::dataflow::{BuildError, Dataflow, Flow};
use thalweg::door::number as seconds;
use thalweg::prelude::{Gap, Parsed, Span, Text, column};

use crate::oracle::cases;
use crate::seconds::{Case, Line, case, number, pair, sum, timed};

/// In seconds.
const GAP: i64 = 4;

/// The doors, which are also the views; in order, as refusals are shown.
const DOORS: [&str; 3] = ["counts", "stats", "sums"];

#[derive(clap::Args)]
struct Sessions;

impl Dataflow for Sessions {
    const NAME: &'static str = "sessions";
    const ABOUT: &'static str = "sessions by key";
    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let gap = Gap::new(Duration::from_secs(GAP as u64)).expect("seconds are a gap");
        let ends = |span: Span| (span.start.seconds(), span.end.seconds());
        let lines = timed(flow);
        let sessions = || lines.by(column::<u8>("key"), |line| Some(pair(line.line())?.0)).by_session(gap);
        let value = |line: &Parsed<'_, Text>| Some(pair(line.line())?.1);
        let counts = sessions().count("counts");
        counts
            .map(["start", "end", "key", "count"], move |(span, key, n)| (ends(span), key, n))
            .show("counts");
        let sums = sessions().sum("sums", value);
        sums.map(["start", "end", "key", "sum"], move |(span, key, sum)| (ends(span), key, sum)).show("sums");
        // What cannot be undone.
        let stats = sessions()
            .stats("stats", value)
            .map(["start", "end", "key", "count", "min", "max"], move |(span, key, stats)| {
                (ends(span), key, stats.count, stats.min, stats.max)
            });
        stats.show("stats");
        let refused = lines.refused("refused", seconds("seconds"), |line| number(line.line(), 0));
        refused.about("too late").show("refused");
        Ok(())
    }
}

/// The sessions of records, from the definition.
fn sessions(mut lines: Vec<Line>) -> Vec<Vec<Line>> {
    lines.sort_by_key(|(time, key, _)| (*key, *time));
    lines.chunk_by(|one, next| one.1 == next.1 && next.0 - one.0 < GAP).map(<[Line]>::to_vec).collect()
}

/// The rows of views `counts`, `stats` and `sums` for one session.
fn rows(session: &[Line]) -> [String; 3] {
    let (first, key, _) = session[0];
    let span = format!("{first}\t{}\t{key}", session.last().map_or(first, |last| last.0) + GAP);
    let numbers = || session.iter().map(|line| line.2);
    let (least, most) = (numbers().min().unwrap_or(0), numbers().max().unwrap_or(0));
    [
        format!("{span}\t{}", session.len()),
        format!("{span}\t{}\t{least}\t{most}", session.len()),
        format!("{span}\t{}", numbers().sum::<i64>()),
    ]
}

fn table<'a>(sessions: impl Iterator<Item = &'a Vec<Line>>) -> [BTreeMap<String, i64>; 3] {
    let mut tables: [BTreeMap<_, _>; 3] = Default::default();
    for session in sessions {
        for (table, row) in tables.iter_mut().zip(rows(session)) {
            *table.entry(row).or_insert(0) += 1;
        }
    }
    tables
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn sessions_are_those_of_the_records_that_are_not_refused(case in case(true)) {
        let answer = case.run(Sessions);
        let (mut done, mut open, mut refused) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (epoch, (lines, before, now)) in case.watermarks().into_iter().enumerate() {
            let (late, taken): (Vec<Line>, Vec<Line>) = lines.iter().partition(|line| line.0 + GAP <= before);
            for (door, line) in DOORS.into_iter().flat_map(|door| late.iter().map(move |line| (door, line))) {
                *refused.entry(format!("late\t{door}\t{}", line.0)).or_insert(0) += 1;
            }
            let all = sessions([open, taken].concat());
            let expected = table(done.iter().chain(&all));
            for (name, expected) in DOORS.into_iter().zip(expected) {
                prop_assert_eq!(sum(&answer, name, epoch), expected, "{} at epoch {}", name, epoch);
            }
            let is_done = |session: &Vec<Line>| session.iter().all(|line| line.0 + GAP <= now);
            let (over, going_on): (Vec<_>, Vec<_>) = all.into_iter().partition(is_done);
            done.extend(over);
            open = going_on.concat();
        }
        let last = case.epochs.len();
        // Each of the three doors refuses it.
        prop_assert_eq!(answer.counts().late, refused.values().sum::<i64>());
        prop_assert_eq!(sum(&answer, "refused", last), refused);
    }

    #[test]
    fn the_same_records_cut_differently_end_in_the_same_table(case in case(false)) {
        let cut = case.run(Sessions);
        let expected = table(sessions(case.epochs.concat()).iter());
        for (name, expected) in DOORS.into_iter().zip(expected) {
            prop_assert_eq!(&sum(&cut, name, case.epochs.len()), &expected, "{}", name);
        }
        prop_assert_eq!(cut.counts().late, 0);
    }
}

#[test]
fn a_late_record_that_bridges_two_sessions_retracts_two_rows_and_inserts_one() {
    let epochs =
        vec![vec![(100, b'a', 1), (106, b'a', 2)], vec![(103, b'a', 4)], vec![(120, b'b', 0)], vec![]];
    for workers in 1..4 {
        let case = Case { epochs: epochs.clone(), workers, handed_over: (1, 4 - workers), ends: true };
        let answer = case.run(Sessions);
        assert_eq!(answer.changes("sums", 0), ["+1\t100\t104\t97\t1", "+1\t106\t110\t97\t2"]);
        let bridged = ["-1\t100\t104\t97\t1", "-1\t106\t110\t97\t2", "+1\t100\t110\t97\t7"];
        assert_eq!(answer.changes("sums", 1), bridged);
        // What becomes final is not retracted, and neither does the end of the input change a row.
        assert_eq!(answer.changes("sums", 2), ["+1\t120\t124\t98\t0"]);
        assert_eq!(answer.changes("sums", 3), [""; 0]);
        assert_eq!(answer.changes("sums", 4), [""; 0]);
    }
}

/// What is late, but not too late, leaves a final session alone.
#[test]
fn a_late_record_starts_its_own_session_beside_a_final_one() {
    // The watermark is 104 s as the last epoch begins: the session that ends there is final.
    let epochs = vec![vec![(100, b'a', 1), (110, b'b', 0)], vec![(101, b'a', 2), (100, b'a', 4)]];
    let case = Case { epochs, workers: 2, handed_over: (usize::MAX, 1), ends: false };
    let answer = case.run(Sessions);
    assert_eq!(answer.changes("sums", 1), ["+1\t101\t105\t97\t2"]);
    assert_eq!(answer.changes("refused", 1), DOORS.map(|door| format!("+1\tlate\t{door}\t100")));
}
