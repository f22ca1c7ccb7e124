//! `totals`, and what is made of them; and state handed over from one run to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use differential_dataflow::VecCollection;
use differential_dataflow::operators::CountTotal;
use proptest::prelude::*;
use thalweg::data::{Stats, Total};
use thalweg::dataflow::Flow;
use thalweg::door::Lines;
use thalweg::operators::{FullJoin, Totals, route};
use thalweg::time::{Epoch, TimeOptions};
use thalweg::view::Deliveries;

use crate::oracle::{Naive, ROUNDS, Ran, Script, Sent, WORKERS, cases, panic_message, run, script, sums};

/// Few keys, so that sums cross zero often; longer than what is stored in place, sometimes.
fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "a", "b", "c", "a key that is longer than sixteen bytes"])
        .prop_map(str::to_owned)
}

fn small() -> impl Strategy<Value = isize> {
    prop_oneof![4 => -2..=2isize, 1 => -1000..1000isize]
}

fn stats() -> impl Strategy<Value = Stats> {
    let value = prop_oneof![-3..3i128, Just(u64::MAX as i128), Just(i64::MIN as i128)];
    prop::collection::vec(value, 1..4).prop_map(|values| values.into_iter().collect())
}

/// What a worker keeps: its rows, and how many it says there are.
type Kept<A> = (Vec<(String, A)>, usize);

fn run_totals<A: Total + Sync>(
    workers: usize,
    script: &Script<String, A>,
    always: &[String],
    pause: Option<u64>,
) -> Ran<(String, A), isize, Kept<A>> {
    let always = always.to_vec();
    run(workers, script, pause, move |input| {
        let (rows, table) = input.totals_core("Under test", always.clone());
        let observe = move || {
            let table = table.borrow();
            let rows: Vec<_> = table.rows().map(|(key, total)| (key.clone(), total.clone())).collect();
            assert_eq!(table.is_empty(), rows.is_empty());
            (rows, table.len())
        };
        (rows, Box::new(observe))
    })
}

/// All rows of all workers, which must be on the workers that own them, at observation `at`.
fn state<A: Clone>(ran: &Ran<(String, A), isize, Kept<A>>, at: usize) -> BTreeMap<String, A> {
    let mut all = BTreeMap::new();
    for (worker, observed) in ran.observed.iter().enumerate() {
        let (rows, len) = &observed[at];
        assert_eq!(rows.len(), *len);
        for (key, total) in rows {
            assert_eq!(route(key) as usize % ran.observed.len(), worker, "{key:?} is kept by another worker");
            assert!(all.insert(key.clone(), total.clone()).is_none(), "{key:?} is kept twice");
        }
    }
    all
}

/// Every update that `totals` should emit, and no other: one −1 and one +1 at most, and nothing where nothing changed.
fn expected<A: Naive + Ord>(
    script: &Script<String, A>,
    always: &[String],
) -> Vec<(Epoch, (String, A), isize)> {
    let mut expected: Vec<_> =
        always.iter().map(|key| (Epoch::new(0), (key.clone(), A::default()), 1)).collect();
    let mut before: BTreeMap<String, A> = BTreeMap::new();
    for time in script.times() {
        let now = sums(&script.sent, time);
        for key in before.keys().chain(now.keys()).collect::<BTreeSet<_>>() {
            let (old, new) = (before.get(key), now.get(key));
            if old != new {
                let shown = |total: Option<&A>| total.cloned().or(always.contains(key).then(A::default));
                expected.extend(shown(old).map(|total| (time, (key.clone(), total), -1)));
                expected.extend(shown(new).map(|total| (time, (key.clone(), total), 1)));
            }
        }
        before = now;
    }
    expected.sort();
    expected
}

fn check_totals<A: Total + Naive + Sync>(script: &Script<String, A>, always: &[String]) {
    for workers in WORKERS {
        let ran = run_totals(workers, script, always, None);
        assert_eq!(ran.emitted(), expected(script, always), "{workers} workers");
        assert!(ran.in_order());
        for (worker, (key, _), ..) in &ran.seen {
            assert_eq!(route(key) as usize % workers, *worker, "{key:?} is shown by another worker");
        }
        assert_eq!(state(&ran, 0), sums(&script.sent, Epoch::END));
    }
}

/// A run whose first part is over as `split` closes, then resumed at another number of workers, and not noticeably so.
fn check_handing_over<A: Total + Naive + Sync>(script: &Script<String, A>, always: &[String], split: u64) {
    let last = Epoch::new(split + 1);
    let rest: Vec<_> = script.sent.iter().filter(|sent| sent.time >= last).cloned().collect();
    for workers in WORKERS {
        let whole = run_totals(workers, script, always, Some(split));
        let rows = state(&whole, 0);
        assert_eq!(rows, sums(&script.sent, Epoch::new(split).at_step(Epoch::MAX_STEP)));
        let restore = rows.into_iter().enumerate().map(|(worker, (data, diff))| {
            let (round, time) = (0, Epoch::new(0));
            Sent { worker, round, data, time, diff }
        });
        let resumed = Script { sent: restore.chain(rest.clone()).collect(), steps: script.steps.clone() };
        let after = |ran: &Ran<(String, A), isize, Kept<A>>| {
            let mut emitted = ran.emitted();
            emitted.retain(|(time, ..)| *time >= last);
            emitted
        };
        for workers in WORKERS {
            let second = run_totals(workers, &resumed, always, None);
            assert_eq!(
                second.content(Epoch::new(0)),
                whole.content(Epoch::new(split).at_step(Epoch::MAX_STEP))
            );
            assert_eq!(after(&second), after(&whole), "resumed at {workers} workers");
            assert_eq!(state(&second, 0), state(&whole, 1));
        }
    }
}

fn always() -> impl Strategy<Value = Vec<String>> {
    prop::sample::subsequence(vec!["a".to_owned(), "never updated".to_owned()], 0..=2)
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn totals_of_counts(script in script(key(), small(), 40), always in always()) {
        check_totals(&script, &always);
    }

    #[test]
    fn totals_of_pairs(script in script(key(), (small(), -2..2i64), 40), always in always()) {
        check_totals(&script, &always);
    }

    #[test]
    fn totals_of_stats(script in script(key(), stats(), 30), always in always()) {
        check_totals(&script, &always);
    }

    #[test]
    fn totals_equal_count_total(script in script(key(), small(), 60)) {
        for workers in WORKERS {
            let ran = run(workers, &script, None, |input| {
                let theirs = input.clone().count_total();
                (input.totals().concat(theirs.negate()).consolidate(), Box::new(|| ()))
            });
            prop_assert_eq!(ran.emitted(), []);
        }
    }

    #[test]
    fn nothing_is_kept_of_keys_that_are_gone(script in script(key(), small(), 30), always in always()) {
        let mut script = script;
        let gone = Epoch::new(ROUNDS + 3);
        for (worker, (data, sum)) in sums(&script.sent, Epoch::END).into_iter().enumerate() {
            script.sent.push(Sent { worker, round: ROUNDS - 1, data, time: gone, diff: -sum });
        }
        for workers in WORKERS {
            let ran = run_totals(workers, &script, &always, None);
            prop_assert_eq!(state(&ran, 0), BTreeMap::new());
            let rows = always.iter().map(|key| ((key.clone(), 0), 1)).collect::<BTreeMap<_, _>>();
            prop_assert_eq!(ran.content(gone), rows);
        }
    }

    #[test]
    fn more_than_is_strictly_more(script in script(key(), small(), 40), bound in -3..4isize) {
        for workers in WORKERS {
            let ran = run(workers, &script, None, move |input| (more_than(input.totals(), bound), Box::new(|| ())));
            for time in script.times() {
                let mut often = sums(&script.sent, time);
                often.retain(|_, count| *count > bound);
                let often: BTreeMap<_, _> = often.into_iter().map(|row| (row, 1)).collect();
                prop_assert_eq!(ran.content(time), often);
            }
        }
    }
}

/// As dataflows ask it: of a table.
fn more_than(counts: Counts<'_>, bound: isize) -> Counts<'_> {
    let (lines, _) = Lines::fed(counts.scope(), Arc::default(), TimeOptions::default());
    let flow = Flow::new(counts.scope(), lines, Deliveries::ALL);
    flow.table(["key", "count"], counts).more_than(bound).rows()
}

type Counts<'scope> = VecCollection<'scope, Epoch, (String, isize), isize>;

/// Keys of two collections: the sides are told apart by the flag.
fn two_sides(
    script: &Script<(bool, String), isize>,
    time: Epoch,
) -> BTreeMap<(String, (isize, isize)), isize> {
    let mut both: BTreeMap<String, (isize, isize)> = BTreeMap::new();
    for ((left, key), count) in sums(&script.sent, time) {
        let sides = both.entry(key).or_default();
        *(if left { &mut sides.0 } else { &mut sides.1 }) += count;
    }
    both.into_iter().map(|row| (row, 1)).collect()
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn a_full_join_has_the_counts_of_both_sides(script in script((any::<bool>(), key()), small(), 40)) {
        for workers in WORKERS {
            let ran = run(workers, &script, None, |input| {
                let side = |left| input.clone().filter(move |(is_left, _)| *is_left == left).map(|(_, key)| key).totals();
                (side(true).full_join("Both", side(false)), Box::new(|| ()))
            });
            for time in script.times() {
                prop_assert_eq!(ran.content(time), two_sides(&script, time), "at {} with {} workers", time, workers);
            }
            prop_assert!(ran.in_order());
        }
    }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn counts_are_handed_over(script in script(key(), small(), 40), always in always(), split in 0..ROUNDS) {
        check_handing_over(&script, &always, split);
    }

    #[test]
    fn sums_are_handed_over(script in script(key(), -3..3i128, 40), always in always(), split in 0..ROUNDS) {
        check_handing_over(&script, &always, split);
    }

    #[test]
    fn stats_are_handed_over(script in script(key(), stats(), 30), always in always(), split in 0..ROUNDS) {
        check_handing_over(&script, &always, split);
    }
}

/// Two updates in two epochs, of which the second does not fit.
fn overflow<A: Total + Sync>(workers: usize, first: A, second: A) -> String {
    let update = |round, diff| Sent {
        worker: round as usize,
        round,
        data: "the key".to_owned(),
        time: Epoch::new(round),
        diff,
    };
    let script = Script { sent: vec![update(0, first), update(1, second)], steps: vec![1] };
    panic_message(|| {
        run(workers, &script, None, |input| (input.totals_named("the operator"), Box::new(|| ())));
    })
}

#[test]
fn overflow_names_the_operator_and_the_key() {
    let stats = |count, sum| Stats { count, sum, min: Some(0), max: Some(0) };
    for workers in WORKERS {
        let messages = [
            overflow(workers, isize::MAX, 1),
            overflow(workers, isize::MIN, -1),
            overflow(workers, 1i64, i64::MAX),
            overflow(workers, i32::MIN, i32::MIN),
            overflow(workers, i128::MAX, i128::MAX),
            overflow(workers, (0isize, i64::MAX), (1, 1)),
            overflow(workers, stats(i64::MAX, 0), stats(1, 0)),
            overflow(workers, stats(1, i128::MAX), stats(1, 1)),
        ];
        for message in messages {
            assert!(message.contains("the operator") && message.contains("the key"), "{message}");
        }
    }
}

/// Sums at the very ends of their types are sums as any other.
#[test]
fn totals_reach_their_limits() {
    for (first, second) in [(isize::MAX - 1, 1), (isize::MIN + 1, -1), (isize::MAX, isize::MIN)] {
        let at =
            |round, diff| Sent { worker: 0, round, data: "key".to_owned(), time: Epoch::new(round), diff };
        check_totals(&Script { sent: vec![at(0, first), at(1, second)], steps: vec![0] }, &[]);
    }
}
