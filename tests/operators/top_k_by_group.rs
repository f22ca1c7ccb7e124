//! `top_k_by_group` against sorting the rows of each group at every closed time.

use std::collections::BTreeMap;

use proptest::prelude::*;
use thalweg::operators::TopKByGroup;
use thalweg::time::Epoch;

use crate::oracle::{ROUNDS, Script, Sent, WORKERS, cases, moment, pace, run, sums};

type Row = (u8, String, u8);

/// Rows of a few groups that appear, some of them several times, and may vanish again.
fn rows() -> impl Strategy<Value = Script<Row, isize>> {
    let life = prop::option::of((0..3u64, 0..3u32));
    let data = (0..3u8, "[ab]{1,2}", 0..4u8);
    let row = (0..4usize, 0..4usize, moment(), data, 1..4isize, life).prop_map(
        |(here, there, (round, born), data, count, life)| {
            let insert = Sent { worker: here, round, data: data.clone(), time: born, diff: count };
            let retract = life.map(|(epochs, steps)| {
                let time = Epoch::new(born.number() + epochs).at_step(born.step() + steps);
                Sent { worker: there, round: time.number().min(ROUNDS - 1), data, time, diff: -count }
            });
            [Some(insert), retract]
        },
    );
    (prop::collection::vec(row, 0..30), pace())
        .prop_map(|(rows, steps)| Script { sent: rows.into_iter().flatten().flatten().collect(), steps })
}

/// The first `k` rows of each group, ranked.
fn ranked(rows: &BTreeMap<Row, isize>, k: usize) -> BTreeMap<(u8, u64, String, u8), isize> {
    let mut groups: BTreeMap<u8, Vec<(&str, u8)>> = BTreeMap::new();
    for ((group, key, value), count) in rows {
        groups.entry(*group).or_default().extend(vec![(key.as_str(), *value); *count as usize]);
    }
    let mut all = BTreeMap::new();
    for (group, mut rows) in groups {
        rows.sort_by(|(a, m), (b, n)| n.cmp(m).then(a.cmp(b)));
        let ranks = (1..).zip(rows).take(k);
        all.extend(ranks.map(|(rank, (key, value))| ((group, rank, key.to_owned(), value), 1)));
    }
    all
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn it_is_sorting_each_group(script in rows(), k in prop::sample::select(vec![0usize, 1, 2, 3, 1000])) {
        for workers in WORKERS {
            let ran = run(workers, &script, None, move |input| (input.top_k_by_group(k), Box::new(|| ())));
            let mut expected = Vec::new();
            let mut before = BTreeMap::new();
            for time in script.times() {
                let now = ranked(&sums(&script.sent, time), k);
                let mut changes = now.clone();
                before.iter().for_each(|(row, count): (&_, &isize)| *changes.entry(Clone::clone(row)).or_default() -= count);
                expected.extend(changes.into_iter().filter(|(_, diff)| *diff != 0).map(|(row, diff)| (time, row, diff)));
                before = now;
            }
            prop_assert_eq!(ran.emitted(), expected, "{} workers", workers);
            prop_assert!(ran.in_order());
        }
    }
}
