//! An epoch with more keys than a door holds back.

use std::collections::BTreeMap;

use thalweg::data::{Bytes, Maximum, Minimum, Stats};
use thalweg::door::{Lines, Partials, text};
use thalweg::operators::Totals;
use thalweg::time::Epoch;

use crate::lines::{Pair, Pairs, Part, Text, run_lines};

const KEYS: usize = 200_000;

/// Every key twice, in one epoch: all of them, and then all of them again, far enough apart to be handed on between.
fn twice(workers: usize) -> Text {
    let lines: Vec<Vec<u8>> =
        (0..2 * KEYS).map(|n| format!("{}={}", n % KEYS, n / KEYS).into_bytes()).collect();
    let part = |(at, lines): (usize, &[Vec<u8>])| Part {
        worker: at % workers,
        lines: lines.to_vec(),
        ended: true,
        oversize: 0,
    };
    Text { epochs: vec![lines.chunks(1000).enumerate().map(part).collect()], steps: vec![0] }
}

#[test]
fn sums_that_leave_in_parts_are_the_same_sums() {
    const { assert!(KEYS > Partials::<Bytes, isize>::FULL) };
    for workers in [1, 2] {
        let ran = run_lines(workers, &twice(workers), |lines: &Lines<'_>| {
            let pairs = lines.records(Pairs);
            let keyed = || pairs.by(text("key"), |pair| Some(pair.key));
            let counts = keyed().count("counts").map((), |(key, n)| (key, n as i128));
            (counts.concat(keyed().sum("sums", |pair| pair.value)).rows(), Box::new(|| ()))
        });
        // One row for each key and door, none of them shown before it was whole.
        assert_eq!(ran.seen.len(), 2 * KEYS);
        let rows = ran.content(Epoch::new(0));
        for n in 0..KEYS {
            let key = Bytes::from(n.to_string().as_str());
            let here = [2, 1].map(|value| rows.get(&(key.clone(), value)).copied());
            assert_eq!(here, [Some(1); 2], "rows of {key:?}");
        }
    }
}

#[test]
fn a_full_door_hands_on_before_the_epoch_ends() {
    let ran = run_lines(1, &twice(1), |lines: &Lines<'_>| {
        let pairs = lines.records(Pairs);
        let raw = pairs.by(text("key"), |pair| Some(pair.key)).collect("raw");
        (raw.rows().map(|key| key.len() as u64), Box::new(|| ()))
    });
    let updates = ran.seen.len();
    assert!(updates > KEYS, "a key on both sides of a hand-on is two updates: {updates}");
    assert!(updates < 2 * KEYS + 1 && ran.seen.iter().map(|seen| seen.3).sum::<isize>() == 2 * KEYS as isize);
}

/// Few keys stay together, however many lines there are: a hundred thousand lines are a handful of updates.
#[test]
fn few_keys_are_few_updates() {
    let lines: Vec<Vec<u8>> = (0..100_000).map(|n| format!("{}=1", n % 3).into_bytes()).collect();
    let part = |lines: &[Vec<u8>]| Part { worker: 0, lines: lines.to_vec(), ended: true, oversize: 0 };
    let text = Text { epochs: vec![lines.chunks(500).map(part).collect()], steps: vec![0, 3] };
    let ran = run_lines(1, &text, |lines: &Lines<'_>| {
        let pairs = lines.records(Pairs);
        let logic = |pair: &thalweg::door::Parsed<'_, Pairs>, sums: &mut Partials<Bytes, isize>| {
            let Pair { key, value } = **pair;
            *sums.entry(key) += value.unwrap_or_default() as isize;
        };
        (pairs.sums_by("sums", logic), Box::new(|| ()))
    });
    let mut sums: Vec<_> = ran.seen.iter().map(|(_, key, _, sum)| (key.clone(), *sum)).collect();
    sums.sort();
    assert_eq!(sums, [("0", 33_334), ("1", 33_333), ("2", 33_333)].map(|(key, sum)| (Bytes::from(key), sum)));
}

/// A sum too large for its type, at the second of two epochs, names its door and the key.
#[test]
fn a_door_that_overflows_is_named() {
    let line = format!("the key={}", i64::MAX).into_bytes();
    let part = |worker| Part { worker, lines: vec![line.clone()], ended: true, oversize: 0 };
    for workers in crate::oracle::WORKERS {
        for epochs in [vec![vec![part(0)], vec![part(1)]], vec![vec![part(0), part(1)]]] {
            if workers == 1 && epochs.len() == 1 {
                // Within one worker and epoch it is the door's own function that adds, and says what it likes.
                continue;
            }
            let text = Text { epochs, steps: vec![1] };
            let message = crate::oracle::panic_message(|| {
                run_lines(workers, &text, |lines: &Lines<'_>| {
                    let pairs = lines.records(Pairs);
                    let sums = pairs.sums_by("sums", |pair, sums: &mut Partials<Bytes, i64>| {
                        *sums.entry(pair.key) += pair.value.unwrap_or_default();
                    });
                    (sums.totals_named("the door"), Box::new(|| ()))
                });
            });
            assert!(message.contains("the door") && message.contains("the key"), "{message}");
        }
    }
}

/// Sums of values at the ends of 64 bits are exact, in each door that adds values up.
#[test]
fn values_at_the_ends_of_their_type_add_up() {
    let values = [i64::MAX, i64::MAX, i64::MAX, i64::MIN, i64::MAX];
    let parts = values.iter().enumerate().map(|(worker, value)| Part {
        worker,
        lines: vec![format!("k={value}").into_bytes()],
        ended: true,
        oversize: 0,
    });
    let text = Text { epochs: vec![parts.collect()], steps: vec![0] };
    let (most, least) = (i128::from(i64::MAX), i128::from(i64::MIN));
    let sum = 4 * most + least;
    for workers in crate::oracle::WORKERS {
        let ran = run_lines(workers, &text, |lines: &Lines<'_>| {
            let pairs = lines.records(Pairs);
            let all = || pairs.by((), |_| Some(()));
            let sums = all().sum("sums", |pair| pair.value).map((), |((), sum)| (0, sum, None, None));
            let stats = all().stats("stats", |pair| pair.value);
            let wide = all().stats("wide", |pair| Some(i128::from(u64::MAX) + i128::from(pair.value?)));
            let least = all().min("least", |pair| pair.value);
            let most = all().max("most", |pair| pair.value);
            let extremes = least.map((), |((), Minimum(least))| (-1, 0, least, None));
            let extremes = extremes.concat(most.map((), |((), Maximum(most))| (-1, 0, None, most)));
            let shown = |((), stats): ((), Stats)| (stats.count, stats.sum, stats.min, stats.max);
            let all = sums.concat(extremes).concat(stats.map((), shown)).concat(wide.map((), shown));
            (all.rows(), Box::new(|| ()))
        });
        let top = i128::from(u64::MAX);
        let expected = [
            (-1, 0, Some(least), None),
            (-1, 0, None, Some(most)),
            (0, sum, None, None),
            (5, sum, Some(least), Some(most)),
            (5, sum + 5 * top, Some(least + top), Some(most + top)),
        ];
        assert_eq!(
            ran.content(Epoch::new(0)),
            expected.map(|row| (row, 1)).into_iter().collect::<BTreeMap<_, _>>()
        );
    }
}
