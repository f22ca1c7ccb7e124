//! The state behind a door, handed over at a closed epoch to a run with another number of workers.

use std::collections::BTreeMap;

use differential_dataflow::input::Input;
use proptest::prelude::*;
use thalweg::data::{Bytes, Stats};
use thalweg::dataflow::{BuildError, Dataflow, Flow};
use thalweg::door::Lines;
use thalweg::operators::{TopK, Totals};
use thalweg::testing::{run_epochs, run_stages};
use thalweg::time::Epoch;
use thalweg::view::View;

use crate::lines::{Pairs, Text, run_lines, text};
use crate::oracle::{Ran, WORKERS, cases};

/// A key with a value, and how many records it had; the sum over all, and how many there are, stands under no key.
type State = Vec<(Option<Bytes>, Stats)>;

/// Statistics by key and the always present one over all, from `restored` on.
fn run_from(workers: usize, text: &Text, restored: &State) -> Ran<(Option<Bytes>, Stats), isize, State> {
    let restored = restored.clone();
    run_lines(workers, text, move |lines: &Lines<'_>| {
        let mut pairs = lines.records(Pairs);
        let by_key = pairs.sums_by::<Bytes, Stats>("by key", |pair, sums| {
            pair.value.into_iter().for_each(|value| sums.entry(pair.key).record(value));
        });
        let all = pairs.sums_by::<(), Stats>("all", |pair, sums| {
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

const VIEWS: &[View] = &[
    View { name: "input", columns: &["lines"], about: "always there" },
    View { name: "counts", columns: &["key", "count"], about: "by key" },
    View { name: "top", columns: &["rank", "key", "count"], about: "behind a door" },
    View { name: "bytes", columns: &["byte", "count"], about: "any number a record" },
    View { name: "sums", columns: &["key", "sum"], about: "may be zero" },
    View { name: "stats", columns: &["key", "count", "min", "max"], about: "cannot be undone" },
    View { name: "all", columns: &["sum"], about: "always there" },
];

impl Dataflow for EveryDoor {
    const NAME: &'static str = "every-door";
    const ABOUT: &'static str = "has every kind of door";
    const VIEWS: &'static [View] = VIEWS;
    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        /// The first byte, and what the second is more than `5`.
        fn pair(line: &[u8]) -> Option<(&[u8], i64)> {
            line.get(..2).map(|pair| (&pair[..1], i64::from(pair[1]) - i64::from(b'5')))
        }
        let mut records = flow.records(thalweg::format::Text);
        let input = records.input();
        flow.view("input", input.map(|counts| (counts.lines,)));
        let counts = records.count_by::<Bytes>("counts", |record| Some(pair(record.line())?.0));
        flow.view("counts", counts.clone());
        flow.view("top", counts.top_k(2));
        let bytes =
            records.count_each::<u8>("bytes", |record, each| record.line().iter().copied().for_each(each));
        flow.view("bytes", bytes);
        let sums = records.sum_by::<Bytes, _>("sums", |record| pair(record.line()));
        flow.view("sums", sums);
        let stats = records.stats_by::<Bytes, _>("stats", |record| {
            pair(record.line()).map(|(key, value)| (key, i128::from(value)))
        });
        flow.view("stats", stats.map(|(key, stats)| (key, stats.count, stats.min, stats.max)));
        let all = records.sum_all("all", |record, sum: &mut i64| {
            *sum += pair(record.line()).map_or(0, |(_, value)| value);
        });
        flow.view("all", all.map(|sum| (sum,)));
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
                let (staged, whole) = (staged.view_at(view.name, epoch), whole.view_at(view.name, epoch));
                prop_assert_eq!(staged, whole, "view {} at epoch {}", view.name, epoch);
            }
        }
    }
}
