//! The state behind a door, handed over at a closed epoch to a run with another number of workers.

use std::collections::BTreeMap;

use differential_dataflow::input::Input;
use proptest::prelude::*;
use thalweg::aggregate::{Bytes, Lines, Stats};
use thalweg::operators::Totals;
use thalweg::runtime::Epoch;

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
