//! `first_within` against looking through all that was accepted.

use std::time::Duration;

use proptest::prelude::*;
use thalweg::dataflow::{BuildError, Dataflow, Flow};
use thalweg::door::number as column;
use thalweg::testing::Script;

use crate::oracle::cases;
use crate::story::{LATENESS, Record, Story, changes, number, records, shown, story};

/// The first of each key within `horizon` milliseconds, with time and value, and what is refused.
#[derive(clap::Args)]
struct Dedup {
    #[arg(long, default_value_t = 5000)]
    horizon: i64,
}

impl Dataflow for Dedup {
    const NAME: &'static str = "dedup";
    const ABOUT: &'static str = "first records";
    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let horizon = Duration::from_millis(self.horizon.unsigned_abs());
        let lines = flow.records(thalweg::format::Text).event_time(|line| number(line.line(), 0));
        let keyed = lines.by(column("key"), |record| number(record.line(), 2));
        let first = keyed.first_within("first", horizon, (column("time"), column("value")), |record| {
            Some((record.time()?.0, number(record.line(), 3)?))
        });
        first.about("accepted").show("first");
        let columns = (column("key"), column("time"), column("value"));
        let refused = lines.refused("refused", columns, |record| {
            let line = record.line();
            Some((number(line, 2)?, record.time()?.0, number(line, 3)?))
        });
        refused.about("too late").show("refused");
        Ok(())
    }
}

fn row(record: &Record) -> String {
    format!("{}\t{}\t{}", record.key, record.time, record.value)
}

/// What is accepted of `records`, one after the other, with nothing forgotten.
fn accepted<'a>(records: impl Iterator<Item = &'a Record>, horizon: i64) -> Vec<&'a Record> {
    let mut accepted: Vec<&Record> = Vec::new();
    for record in records {
        let same =
            |other: &&Record| other.key == record.key && (other.time - record.time).abs() < horizon.max(1);
        if !accepted.iter().any(same) {
            accepted.push(record);
        }
    }
    accepted
}

fn horizon() -> impl Strategy<Value = i64> {
    prop::sample::select(vec![0, 1, 500, 1000, 5000, 12_000, 1_000_000])
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn it_keeps_what_no_accepted_record_is_near(story in story(2 * LATENESS, 40), horizon in horizon()) {
        let answer = story.tell(Script::new(Dedup { horizon }));
        let judged = story.judged();
        let contents: Vec<Vec<String>> = (1..=judged.len())
            .map(|epochs| {
                let taken = judged[..epochs].iter().flat_map(|(taken, _)| taken);
                accepted(taken, horizon).into_iter().map(row).collect()
            })
            .collect();
        prop_assert_eq!(shown(&answer, "first", judged.len()), changes(&contents));
        prop_assert_eq!(answer.counts().late, story.late() as i64);
        let refused: Vec<Vec<String>> = (1..=story.epochs.len())
            .map(|epochs| {
                let all = story.epochs[..epochs].iter().zip(&judged);
                let late = |epoch: &Vec<Record>, taken: &Vec<Record>| {
                    let mut left = epoch.clone();
                    taken.iter().for_each(|record| { left.remove(left.iter().position(|other| other == record).unwrap()); });
                    left
                };
                all.flat_map(|(epoch, (taken, _))| late(epoch, taken)).map(|record| format!("late\tfirst\t{}", row(&record))).collect()
            })
            .collect();
        prop_assert_eq!(shown(&answer, "refused", refused.len()), changes(&refused));
    }

    #[test]
    fn the_cut_does_not_matter(records in records(LATENESS, 40), cuts in prop::collection::vec(any::<usize>(), 0..6)) {
        let whole = Story::new(&records, &[], 0, (1, 1)).run(Dedup { horizon: 5000 });
        let cut = Story::new(&records, &cuts, 0, (2, 2)).run(Dedup { horizon: 5000 });
        prop_assert_eq!(whole.view("first"), cut.view("first"));
        prop_assert_eq!(cut.counts().late, 0);
    }
}

/// A run goes on with what it may still need, and with no more.
#[test]
fn what_is_forgotten_is_not_handed_over() {
    let answer = Script::new(Dedup { horizon: 5000 })
        .epoch("0 l 1 1\n20000 l 2 1\n14999 l 3 1\n")
        .workers(3)
        .epoch("21000 l 2 2\n11000 l 3 2\n21000 l 4 1\n")
        .run();
    // The watermark is at 10 s, and the horizon 5 s: what was at 0 s is gone, what is newer than 5 s is not.
    assert_eq!(answer.view_at("first", 0), ["1\t0\t1", "2\t20000\t1", "3\t14999\t1"]);
    assert_eq!(answer.changes("first", 1), ["+1\t4\t21000\t1"]);
}
