//! The state behind a door, handed over at a closed epoch to a run with another number of workers.

use std::collections::BTreeMap;

use differential_dataflow::input::Input;
use proptest::prelude::*;
use thalweg::data::{Bytes, Stats};
use thalweg::dataflow::{BuildError, Dataflow, Flow};
use thalweg::door::{Lines, Partials, column, text as text_column};
use thalweg::operators::Totals;
use thalweg::testing::{run_epochs, run_stages};
use thalweg::time::Epoch;

use crate::lines::{Pairs, Text, run_lines, text};
use crate::oracle::{Ran, WORKERS, cases};

/// A key with a value, and how many records it had; the sum over all, and how many there are, stands under no key.
type State = Vec<(Option<Bytes>, Stats)>;

/// Statistics by key and the always present one over all, from `restored` on.
fn run_from(workers: usize, text: &Text, restored: &State) -> Ran<(Option<Bytes>, Stats), isize, State> {
    let restored = restored.clone();
    run_lines(workers, text, move |lines: &Lines<'_>| {
        let pairs = lines.records(Pairs);
        let by_key = pairs.sums_by("by key", |pair, sums: &mut Partials<Bytes, Stats>| {
            pair.value.into_iter().for_each(|value| sums.entry(pair.key).record(value));
        });
        let all = pairs.sums_by("all", |pair, sums: &mut Partials<(), Stats>| {
            pair.value.into_iter().for_each(|value| sums.entry(()).record(value));
        });
        let doors = by_key.map(Some).concat(all.map(|()| None));
        // Each worker brings some of the rows, rarely those that it is to own.
        let (index, peers) = (doors.scope().index(), doors.scope().peers());
        let mine = restored.iter().enumerate().filter(|(at, _)| at % peers == index);
        let rows: Vec<_> = mine.map(|(_, (key, stats))| (key.clone(), Epoch::new(0), *stats)).collect();
        let (_, restored) = doors.scope().new_collection_from_raw(rows);
        let (rows, table) = doors.concat(restored).totals_core("statistics", vec![None]);
        let observe = move || table.borrow().rows().map(|(key, stats)| (key.clone(), *stats)).collect();
        (rows, Box::new(observe))
    })
}

fn state(ran: &Ran<(Option<Bytes>, Stats), isize, State>) -> State {
    ran.observed.iter().map(|observed| observed[0].clone()).collect::<Vec<_>>().concat()
}

proptest! {
    #![proptest_config(cases(32))]

    #[test]
    fn a_run_in_two_halves_is_one_run(text in text(), split in 0..5usize) {
        let split = split.min(text.epochs.len());
        // Epoch 0 of the second run is where the state comes in; the lines go on after it.
        let (first, second) = text.epochs.split_at(split);
        let first = Text { epochs: first.to_vec(), steps: text.steps.clone() };
        let second = Text { epochs: [&[vec![]], second].concat(), steps: text.steps.clone() };
        for before in WORKERS {
            let whole = run_from(before, &text, &vec![]);
            let half = run_from(before, &first, &vec![]);
            let handed = state(&half);
            for after in WORKERS {
                let resumed = run_from(after, &second, &handed);
                for epoch in 0..second.epochs.len() {
                    let (then, now) = ((split + epoch) as u64, epoch as u64);
                    let expected = match then {
                        0 => half.content(Epoch::new(0)),
                        then => whole.content(Epoch::new(then - 1)),
                    };
                    prop_assert_eq!(resumed.content(Epoch::new(now)), expected, "{} to {} workers", before, after);
                }
                let (mut one, mut other) = (state(&whole), state(&resumed));
                one.sort();
                other.sort();
                prop_assert_eq!(one, other);
            }
            let rows: BTreeMap<_, _> = handed.iter().cloned().collect();
            prop_assert_eq!(rows.len(), handed.len(), "no key is kept by two workers");
        }
    }
}

/// A dataflow with every kind of door that is durable, and an operator behind one.
#[derive(clap::Args)]
struct EveryDoor;

const VIEWS: [&str; 7] = ["input", "counts", "top", "bytes", "sums", "stats", "all"];

impl Dataflow for EveryDoor {
    const NAME: &'static str = "every-door";
    const ABOUT: &'static str = "has every kind of door";
    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        /// The first byte, and what the second is more than `5`.
        fn pair(line: &[u8]) -> Option<(&[u8], i64)> {
            line.get(..2).map(|pair| (&pair[..1], i64::from(pair[1]) - i64::from(b'5')))
        }
        let records = flow.records(thalweg::format::Text);
        records.input().map(["lines"], |counts| counts.lines).about("always there").show("input");
        let keyed = || records.by(text_column("key"), |record| Some(pair(record.line())?.0));
        let counts = keyed().count("counts");
        counts.clone().about("by key").show("counts");
        counts.top(2).about("behind a door").show("top");
        let bytes = records
            .by_each(column::<u8>("byte"), |record, each| record.line().iter().copied().for_each(each))
            .count("bytes");
        bytes.about("any number a record").show("bytes");
        let sums = keyed().sum("sums", |record| Some(pair(record.line())?.1));
        sums.about("may be zero").show("sums");
        let stats = keyed().stats("stats", |record| Some(pair(record.line())?.1));
        stats.about("cannot be undone").show("stats");
        let all = records.all().fold("all", |record, sum: &mut i64| {
            *sum += pair(record.line()).map_or(0, |(_, value)| value);
        });
        all.columns(["sum"]).about("always there").show("all");
        Ok(())
    }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn a_dataflow_in_stages_is_one_run(
        epochs in prop::collection::vec("([ab][3-7]\n|c\n|\n){0,6}", 1..6),
        split in 0..6usize,
        before in 0..3usize,
        after in 0..3usize,
    ) {
        let epochs: Vec<&[u8]> = epochs.iter().map(String::as_bytes).collect();
        let (first, second) = epochs.split_at(split.min(epochs.len()));
        let whole = run_epochs(EveryDoor, 1, &epochs);
        let staged = run_stages(EveryDoor, &[(WORKERS[before], first), (WORKERS[after], second)]);
        for view in VIEWS {
            for epoch in 0..epochs.len() as u64 {
                let (staged, whole) = (staged.view_at(view, epoch), whole.view_at(view, epoch));
                prop_assert_eq!(staged, whole, "view {} at epoch {}", view, epoch);
            }
        }
    }
}
