//! `top_k` against sorting all rows at every closed time.

use std::collections::BTreeMap;

use proptest::prelude::*;
use thalweg::operators::{TopK, Totals};
use thalweg::time::Epoch;

use crate::oracle::{ROUNDS, Script, Sent, WORKERS, cases, moment, pace, run, script, sums};

type Row = (String, u8);

/// A key as text, some longer than others, so that they do not sort as they were made.
fn key() -> impl Strategy<Value = String> {
    "[ab]{0,2}".prop_map(|text| text.repeat(3))
}

/// Rows that appear, some of them several times, and may vanish again: the content is a multiset at every time.
fn rows() -> impl Strategy<Value = Script<Row, isize>> {
    let value = prop_oneof![3 => 0..4u8, 1 => any::<u8>()];
    let life = prop::option::of((0..3u64, 0..3u32));
    let row = (0..4usize, 0..4usize, moment(), (key(), value), 1..4isize, life).prop_map(
        |(here, there, (round, born), data, count, life)| {
            let insert = Sent { worker: here, round, data: data.clone(), time: born, diff: count };
            let retract = life.map(|(epochs, steps)| {
                let time = Epoch::new(born.number() + epochs).at_step(born.step() + steps);
                // Sent before or after the insertion, and by whomever; only the times have an order.
                Sent { worker: there, round: time.number().min(ROUNDS - 1), data, time, diff: -count }
            });
            [Some(insert), retract]
        },
    );
    (prop::collection::vec(row, 0..25), pace())
        .prop_map(|(rows, steps)| Script { sent: rows.into_iter().flatten().flatten().collect(), steps })
}

/// The first `k` of `rows`, ranked.
fn ranked(rows: &BTreeMap<Row, isize>, k: usize) -> BTreeMap<(u64, String, u8), isize> {
    let mut all: Vec<&Row> = rows.iter().flat_map(|(row, count)| vec![row; *count as usize]).collect();
    all.sort_by(|(a, m), (b, n)| n.cmp(m).then(a.cmp(b)));
    (1..).zip(all).take(k).map(|(rank, (key, value))| ((rank, key.clone(), *value), 1)).collect()
}

/// The changes from one content to the next.
fn changes<D: Ord + Clone>(before: &BTreeMap<D, isize>, now: &BTreeMap<D, isize>) -> Vec<(D, isize)> {
    let mut changes = now.clone();
    before.iter().for_each(|(row, count)| *changes.entry(row.clone()).or_default() -= count);
    changes.into_iter().filter(|(_, diff)| *diff != 0).collect()
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn top_k_is_sorting(script in rows(), k in prop::sample::select(vec![0, 1, 2, 3, 8, 1000])) {
        for workers in WORKERS {
            let ran = run(workers, &script, None, move |input| (input.top_k(k), Box::new(|| ())));
            let mut expected = Vec::new();
            let mut before = BTreeMap::new();
            for time in script.times() {
                let now = ranked(&sums(&script.sent, time), k);
                expected.extend(changes(&before, &now).into_iter().map(|(row, diff)| (time, row, diff)));
                before = now;
            }
            prop_assert_eq!(ran.emitted(), expected, "{} workers", workers);
            prop_assert!(ran.in_order());
        }
    }

    /// As dataflows use it: behind counts, which retract and insert in the same time.
    #[test]
    fn top_k_of_totals(script in script(key(), -2..4isize, 60), k in 0..5usize) {
        for workers in WORKERS {
            let ran = run(workers, &script, None, move |input| {
                let by_size = input.totals().map(|(key, count)| (key, count.unsigned_abs() as u8));
                (by_size.top_k_named("Sizes", k), Box::new(|| ()))
            });
            for time in script.times() {
                let counts = sums(&script.sent, time).into_iter();
                let rows = counts.map(|(key, count)| ((key, count.unsigned_abs() as u8), 1)).collect();
                prop_assert_eq!(ran.content(time), ranked(&rows, k), "at {} with {} workers", time, workers);
            }
        }
    }
}
