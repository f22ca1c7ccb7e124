//! Joins within a distance against all pairs.

use std::time::Duration;

use proptest::prelude::*;
use thalweg::Run;
use thalweg::data::Bytes;
use thalweg::dataflow::{Build, BuildError, Dataflow, Flow};
use thalweg::door::{Parsed, number as column, text};
use thalweg::format::Text;
use thalweg::runtime::RunError;
use thalweg::testing::Script;
use thalweg::time::Within;

use crate::oracle::cases;
use crate::story::{LATENESS, Record, Story, changes, is_left, number, records, shown, story};

/// Left and right lines by key.
#[derive(clap::Args)]
struct Joined {
    #[arg(long, default_value_t = 0)]
    lower: i64,
    #[arg(long, default_value_t = 2000)]
    upper: i64,
    #[arg(long)]
    next_only: bool,
}

impl Joined {
    fn all((lower, upper): (i64, i64)) -> Self {
        Joined { lower, upper, next_only: false }
    }

    fn next((lower, upper): (i64, i64)) -> Self {
        Joined { lower, upper, next_only: true }
    }
}

const COLUMNS: [&str; 5] = ["key", "left time", "left value", "right time", "right value"];

impl Dataflow for Joined {
    const NAME: &'static str = "joined";
    const ABOUT: &'static str = "lines that belong together";
    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let within = Within::new(self.lower, self.upper)?;
        let within = if self.next_only { within.next_only() } else { within };
        let lines = flow.records(Text).event_time(|line| number(line.line(), 0));
        let keyed = || lines.by(column("key"), |line| number(line.line(), 2));
        let side = |left| {
            move |line: &Parsed<'_, Text>| number(line.line(), 3).filter(|_| is_left(line.line()) == left)
        };
        let left = keyed().events("lefts", column("value"), side(true));
        let right = keyed().events("rights", column("value"), side(false));
        let inner = left.clone().join("inner", right.clone(), within);
        let inner = inner.map(COLUMNS, |(key, (l, v), (r, w))| (key, l.0, v, r.0, w));
        inner.about("pairs").show("inner");
        let outer = left.left_join("outer", right, within);
        let outer = outer.map(COLUMNS, |(key, (l, v), right)| (key, l.0, v, right.map(|(r, w)| (r.0, w))));
        outer.about("pairs and left lines without").show("left");
        Ok(())
    }
}

/// The pairs among `records` that are known at `watermark`, and the left ones that are in none and can be in none then.
fn naive(records: &[&Record], watermark: i64, joined: &Joined) -> (Vec<String>, Vec<String>) {
    let Joined { lower, upper, next_only } = *joined;
    let (left, right): (Vec<&Record>, Vec<&Record>) = records.iter().partition(|record| record.left);
    let (mut pairs, mut lone) = (Vec::new(), Vec::new());
    for l in left {
        let within = |r: &&&Record| l.key == r.key && (lower..=upper).contains(&(r.time - l.time));
        let all: Vec<_> = right.iter().filter(within).collect();
        // What comes from now on is at the watermark or later: until then, it may come before what is the next so far, or
        // at the same time with less in it.
        let next = all.iter().min_by_key(|r| (r.time, r.value)).filter(|r| watermark > r.time);
        let shown: Vec<_> = if next_only { next.into_iter().collect() } else { all.iter().collect() };
        pairs.extend(
            shown.iter().map(|r| format!("{}\t{}\t{}\t{}\t{}", l.key, l.time, l.value, r.time, r.value)),
        );
        if all.is_empty() && watermark > l.time + upper {
            lone.push(format!("{}\t{}\t{}\t-\t-", l.key, l.time, l.value));
        }
    }
    (pairs, lone)
}

/// Checks what a run of `story` shows after each epoch.
fn check(story: &Story, joined: Joined) -> Result<(), TestCaseError> {
    let judged = story.judged();
    let (mut inner, mut outer) = (Vec::new(), Vec::new());
    for epochs in 1..=judged.len() {
        let taken: Vec<_> = judged[..epochs].iter().flat_map(|(taken, _)| taken).collect();
        let (pairs, lone) = naive(&taken, judged[epochs - 1].1, &joined);
        inner.push(pairs.clone());
        outer.push([pairs, lone].concat());
    }
    let answer = story.tell(Script::new(joined));
    prop_assert_eq!(shown(&answer, "inner", judged.len()), changes(&inner));
    prop_assert_eq!(shown(&answer, "left", judged.len()), changes(&outer));
    prop_assert_eq!(answer.counts().late, story.late() as i64);
    Ok(())
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
    fn pairs_are_all_that_are_within(story in story(2 * LATENESS, 30), bounds in bounds()) {
        check(&story, Joined::all(bounds))?;
    }

    /// Of those on the right that are within the bounds, the earliest, and of these the one of the least value: when nothing
    /// can come before it any more, and not before, also where the run was stopped in between.
    #[test]
    fn the_next_is_the_earliest_that_is_within(story in story(2 * LATENESS, 90), bounds in bounds()) {
        check(&story, Joined::next(bounds))?;
    }

    #[test]
    fn the_cut_does_not_matter(
        records in records(LATENESS, 30),
        cuts in prop::collection::vec(any::<usize>(), 0..6),
        next_only in any::<bool>(),
    ) {
        let joined = || Joined { lower: 0, upper: 2000, next_only };
        let whole = Story::new(&records, &[], 0, (1, 1)).run(joined());
        let cut = Story::new(&records, &cuts, 0, (3, 3)).run(joined());
        prop_assert_eq!(whole.view("inner"), cut.view("inner"));
        prop_assert_eq!(whole.view("left"), cut.view("left"));
        prop_assert_eq!(cut.counts().late, 0);
    }
}

/// Two equal lines on each side are four pairs, whenever they come.
#[test]
fn equal_events_are_events_of_their_own() {
    let answer = Script::new(Joined::all((0, 2000)))
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
    let answer = Script::new(Joined::all((-2000, 9000)))
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

/// What has been before the run was handed over is the next of what comes after it, and what had its next has it once.
#[test]
fn what_is_next_is_handed_over() {
    let answer = Script::new(Joined::next((0, 9000)))
        .epoch("10000 l 1 1\n12000 r 1 1\n11000 r 1 2\n")
        .workers(3)
        .epoch("21500 r 9 1\n")
        .workers(2)
        .epoch("11500 l 1 2\n")
        // The watermark is at 12 s: another one at 12 s may still come, with less in it, and does.
        .epoch("22000 r 9 1\n")
        .epoch("12000 l 1 3\n12000 r 1 0\n")
        .workers(1)
        .epoch("22001 r 9 1\n")
        .end()
        .run();
    for view in ["inner", "left"] {
        assert_eq!(answer.changes(view, 0), [""; 0]);
        assert_eq!(answer.changes(view, 1), ["+1\t1\t10000\t1\t11000\t2"]);
        assert_eq!([2, 3, 4].map(|epoch| answer.changes(view, epoch)), [[""; 0]; 3]);
        let both = ["+1\t1\t11500\t2\t12000\t0", "+1\t1\t12000\t3\t12000\t0"];
        assert_eq!(answer.changes(view, 5), both);
        assert_eq!(answer.changes(view, 6), [""; 0]);
    }
}

/// With a least distance, one on the right is older than what it can still be the next of: it is kept until that is known.
#[test]
fn what_may_be_next_is_kept_until_it_is() {
    let answer = Script::new(Joined::next((500, 3000)))
        .epoch("10000 l 1 1\n11000 r 1 1\n")
        // The watermark is at 10.8 s: no left line can come any more that is half a second before it.
        .epoch("20800 r 9 1\n")
        .workers(3)
        .epoch("21001 r 9 1\n")
        .run();
    for view in ["inner", "left"] {
        assert_eq!([0, 1].map(|epoch| answer.changes(view, epoch)), [[""; 0]; 2]);
        assert_eq!(answer.changes(view, 2), ["+1\t1\t10000\t1\t11000\t1"]);
    }
}

/// More pairs than are handed on at once.
#[test]
fn many_pairs_are_all_there() {
    let side = |side: char| (0..400).map(|n| format!("{} {side} 1 1\n", n % 400)).collect::<String>();
    let answer = Script::new(Joined::all((0, 2000))).workers(2).epoch(side('l')).epoch(side('r')).end().run();
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

/// A run that joins each `l` with each `r` of the same key, of which an epoch may have six pairs.
fn at_most_six(lines: &str, workers: usize) -> Result<usize, RunError> {
    let build = Build::new("six", |flow| {
        let lines = flow.records(Text).event_time(|_| Some(0));
        let side = |side: u8| {
            move |line: &Parsed<'_, Text>| (line.first() == Some(&side)).then_some(line.offset() as i64)
        };
        let left = lines.by(text("key"), |line| line.get(2..)).events("left", column("at"), side(b'l'));
        let right = lines.by(text("key"), |line| line.get(2..)).events("right", column("at"), side(b'r'));
        let within = Within::after(Duration::ZERO).at_most(6);
        left.join("pairs", right, within).map(["key"], |(key, ..)| key).show("pairs");
        Ok(())
    });
    let mut run = Run::of(build).workers(workers).start()?;
    run.push(lines.as_bytes())?;
    run.close_epoch()?;
    let pairs = run.changes::<Bytes>("pairs")?.iter().map(|change| change.diff).sum::<isize>();
    run.finish()?;
    Ok(pairs as usize)
}

#[test]
fn a_key_that_makes_too_many_pairs_ends_the_run_and_is_named() {
    let lines = |key: &str, left: usize, right: usize| {
        format!("l {key}\n").repeat(left) + &format!("r {key}\n").repeat(right)
    };
    for workers in [1, 2] {
        // Six of each of two keys, and then one more of one.
        let six = lines("warm", 2, 3) + &lines("tepid", 6, 1);
        assert_eq!(at_most_six(&six, workers).unwrap(), 12);
        let error = at_most_six(&(six + &lines("hot", 7, 1)), workers).unwrap_err();
        assert!(matches!(&error, RunError::Pairs(_)), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains("join `pairs` makes more than 6 pairs of key")
                && text.contains("hot")
                && text.contains("`Within::at_most`"),
            "{text}"
        );
    }
}
