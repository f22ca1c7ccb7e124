//! Joins within a distance against all pairs.

use std::time::Duration;

use proptest::prelude::*;
use thalweg::dataflow::{BuildError, Dataflow, Flow};
use thalweg::testing::Script;
use thalweg::time::Within;
use thalweg::view::View;

use crate::oracle::cases;
use crate::story::{LATENESS, Record, Story, changes, is_left, number, records, shown, story};

/// Left and right lines by key.
#[derive(clap::Args)]
struct Joined {
    #[arg(long, default_value_t = 0)]
    lower: i64,
    #[arg(long, default_value_t = 2000)]
    upper: i64,
}

const COLUMNS: &[&str] = &["key", "left time", "left value", "right time", "right value"];

impl Dataflow for Joined {
    const NAME: &'static str = "joined";
    const ABOUT: &'static str = "lines that belong together";
    const VIEWS: &'static [View] = &[
        View { name: "inner", columns: COLUMNS, about: "pairs" },
        View { name: "left", columns: COLUMNS, about: "pairs and left lines without" },
    ];
    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let within = Within::new(self.lower, self.upper)?;
        let mut lines = flow.records(thalweg::format::Text);
        lines.event_time(|line| number(line.line(), 0));
        let pair = |line: &[u8]| Some((number(line, 2)?, number(line, 3)?));
        let left =
            lines.events::<i64, i64>("lefts", move |line| pair(line.line()).filter(|_| is_left(line.line())));
        let right = lines
            .events::<i64, i64>("rights", move |line| pair(line.line()).filter(|_| !is_left(line.line())));
        let inner = left.clone().join_within("inner", right.clone(), within);
        flow.view("inner", inner.map(|(key, (l, v), (r, w))| (key, l, v, r, w)));
        let outer = left.left_join_within("outer", right, within);
        flow.view(
            "left",
            outer.map(|(key, (l, v), right)| (key, l, v, right.map(|(r, _)| r), right.map(|(_, w)| w))),
        );
        Ok(())
    }
}

/// All pairs among `records`, and the left ones that are in none and can be in none at `watermark`.
fn naive(records: &[&Record], watermark: i64, (lower, upper): (i64, i64)) -> (Vec<String>, Vec<String>) {
    let (left, right): (Vec<&Record>, Vec<&Record>) = records.iter().partition(|record| record.left);
    let (mut pairs, mut lone) = (Vec::new(), Vec::new());
    for l in left {
        let before = pairs.len();
        for r in &right {
            if l.key == r.key && (lower..=upper).contains(&(r.time - l.time)) {
                pairs.push(format!("{}\t{}\t{}\t{}\t{}", l.key, l.time, l.value, r.time, r.value));
            }
        }
        // What comes from now on is at the watermark or later.
        if pairs.len() == before && watermark > l.time + upper {
            lone.push(format!("{}\t{}\t{}\t-\t-", l.key, l.time, l.value));
        }
    }
    (pairs, lone)
}

fn bounds() -> impl Strategy<Value = (i64, i64)> {
    let bounds = vec![
        (0, 0),
        (0, 2000),
        (-2000, 0),
        (-1000, 1500),
        (500, 3000),
        (-4000, -1000),
        (0, 15_000),
        (-30_000, 1),
        (12_000, 20_000),
        (-20_000, -12_000),
    ];
    prop::sample::select(bounds)
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn pairs_are_all_that_are_within(story in story(2 * LATENESS, 30), (lower, upper) in bounds()) {
        let script = Script::new(Joined { lower, upper });
        let answer = story.tell(script);
        let judged = story.judged();
        let (mut inner, mut outer) = (Vec::new(), Vec::new());
        for epochs in 1..=judged.len() {
            let taken: Vec<_> = judged[..epochs].iter().flat_map(|(taken, _)| taken).collect();
            let (pairs, lone) = naive(&taken, judged[epochs - 1].1, (lower, upper));
            inner.push(pairs.clone());
            outer.push([pairs, lone].concat());
        }
        prop_assert_eq!(shown(&answer, "inner", judged.len()), changes(&inner));
        prop_assert_eq!(shown(&answer, "left", judged.len()), changes(&outer));
        prop_assert_eq!(answer.counts().late, story.late() as i64);
    }

    #[test]
    fn the_cut_does_not_matter(records in records(LATENESS, 30), cuts in prop::collection::vec(any::<usize>(), 0..6)) {
        let whole = Story::new(&records, &[], 0, (1, 1)).run(Joined { lower: 0, upper: 2000 });
        let cut = Story::new(&records, &cuts, 0, (3, 3)).run(Joined { lower: 0, upper: 2000 });
        prop_assert_eq!(whole.view("inner"), cut.view("inner"));
        prop_assert_eq!(whole.view("left"), cut.view("left"));
        prop_assert_eq!(cut.counts().late, 0);
    }
}

/// Two equal lines on each side are four pairs, whenever they come.
#[test]
fn equal_events_are_events_of_their_own() {
    let answer = Script::new(Joined { lower: 0, upper: 2000 })
        .workers(2)
        .epoch("1000 l 1 7\n1000 r 1 8\n")
        .epoch("1000 l 1 7\n1000 r 1 8\n")
        .run();
    assert_eq!(answer.view_at("inner", 0), ["1\t1000\t7\t1000\t8"]);
    assert_eq!(answer.view("inner"), ["1\t1000\t7\t1000\t8"; 4]);
}

/// A left line that had its pair before the run was handed over is not without one after.
#[test]
fn having_been_in_a_pair_is_handed_over() {
    let answer = Script::new(Joined { lower: -2000, upper: 9000 })
        // The right one is freed as the watermark passes 10 s, the left ones as it passes 19 s.
        .epoch("10000 l 1 1\n10000 l 2 1\n8000 r 1 1\n")
        .epoch("21000 r 9 1\n")
        .workers(3)
        .epoch("29000 r 9 1\n")
        .epoch("29001 r 9 1\n")
        .run();
    assert_eq!(answer.changes("left", 0), ["+1\t1\t10000\t1\t8000\t1"]);
    // At 19 s, one at 19 s might still have come.
    assert_eq!([answer.changes("left", 1), answer.changes("left", 2)], [[""; 0]; 2]);
    assert_eq!(answer.changes("left", 3), ["+1\t2\t10000\t1\t-\t-"]);
}

/// More pairs than are handed on at once.
#[test]
fn many_pairs_are_all_there() {
    let side = |side: char| (0..400).map(|n| format!("{} {side} 1 1\n", n % 400)).collect::<String>();
    let answer = Script::new(Joined { lower: 0, upper: 2000 })
        .workers(2)
        .epoch(side('l'))
        .epoch(side('r'))
        .end()
        .run();
    let pairs =
        (0..400i64).map(|l| (0..400i64).filter(|r| (0..=2000).contains(&(r - l))).count()).sum::<usize>();
    assert_eq!(answer.view("inner").len(), pairs);
    assert_eq!(answer.view("left").len(), pairs);
    assert!(pairs > 1 << 16, "{pairs} pairs");
}

#[test]
fn bounds_are_bounds() {
    for (lower, upper) in [(1, 0), (i64::MIN, 0), (0, i64::MAX), (i64::MAX, i64::MAX), (i64::MIN, i64::MIN)] {
        let error = Within::new(lower, upper).expect_err("no bounds").to_string();
        assert!(error.contains(&lower.to_string()) && error.contains(&upper.to_string()), "{error}");
    }
    assert!(Within::after(Duration::MAX).upper() <= 1 << 53);
}
