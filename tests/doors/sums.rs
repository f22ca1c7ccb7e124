//! Every door against the same question asked of all lines so far, by the plainest means.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

use differential_dataflow::VecCollection;
use differential_dataflow::collection::concatenate;
use proptest::prelude::*;
use thalweg::data::{Bytes, InputCounts, Stats};
use thalweg::door::{Lines, Partials, column, flag, number, text as word};
use thalweg::operators::Totals;
use thalweg::time::Epoch;

use crate::lines::{Pairs, Part, Text, run_lines, text};
use crate::oracle::{WORKERS, cases};

/// A row of a door, as text.
fn row(door: &str, row: impl Debug) -> String {
    format!("{door}: {row:?}")
}

/// All doors at once, so that they also prove that they do not disturb each other.
fn doors<'scope>(lines: &Lines<'scope>) -> VecCollection<'scope, Epoch, String, isize> {
    let pairs = lines.records(Pairs);
    let count = pairs.by(word("key"), |pair| pair.value.map(|_| pair.key)).count("count");
    let sum = pairs.by(word("key"), |pair| Some(pair.key)).sum("sum", |pair| pair.value);
    let signs = pairs.by((word("key"), flag("negative")), |pair| Some((pair.key, pair.value? < 0)));
    let stats = signs.stats("stats", |pair| pair.value.map(i128::from));
    let all = pairs.all().fold("all", |pair, (records, bytes): &mut (i64, isize)| {
        *records += 1;
        *bytes += pair.line().len() as isize;
    });
    let collect = pairs.by((word("key"), number("value")), |pair| Some((pair.key, pair.value?)));
    let collect = collect.collect("collect");
    let bytes =
        || pairs.by_each(column::<u8>("byte"), |pair, take| pair.key.iter().for_each(|byte| take(*byte)));
    let (each, bytes) = (bytes().collect("each"), bytes().sum("bytes", |pair| pair.value));
    // Differences that cancel within an epoch, across workers, and across epochs.
    let sums = pairs.sums_by("sums", |pair, sums: &mut Partials<Bytes, i64>| {
        *sums.entry(pair.key) += 1;
        *sums.entry(pair.key.get(1..).unwrap_or_default()) -= 1;
    });
    let input = pairs.input();
    let scope = input.rows().scope();
    concatenate(
        scope,
        [
            count.rows().map(|(key, count)| row("count", (key, count))),
            sum.rows().map(|(key, sum)| row("sum", (key, sum))),
            stats.rows().map(|((key, negative), stats)| row("stats", (key, negative, stats))),
            all.rows().map(|((), sums)| row("all", sums)),
            collect.rows().map(|datum| row("collect", datum)),
            each.rows().map(|byte| row("each", byte)),
            bytes.rows().map(|(byte, sum)| row("bytes", (byte, sum))),
            sums.totals().map(|(key, sum)| row("sums", (key, sum))),
            input.rows().map(|counts| row("input", counts)),
        ],
    )
}

/// What the doors should hold after `parts`.
fn naive<'a>(parts: impl Iterator<Item = &'a Part>) -> BTreeMap<String, isize> {
    let mut rows: BTreeMap<String, isize> = BTreeMap::new();
    let mut add = |text: String| *rows.entry(text).or_default() += 1;
    let key = |bytes: &[u8]| Bytes::from(bytes);
    let mut input = InputCounts::default();
    let mut values: HashMap<Vec<u8>, Vec<i128>> = HashMap::new();
    let mut sums: HashMap<Vec<u8>, i64> = HashMap::new();
    let mut bytes: HashMap<u8, i128> = HashMap::new();
    let (mut records, mut length) = (0i64, 0isize);
    for part in parts {
        input.bytes += part.bytes().len() as i64 + 1000 * part.oversize as i64;
        input.oversize += part.oversize as i64;
        input.lines += (part.lines.len() + part.oversize) as i64;
        for line in &part.lines {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            // Neither NULs nor a byte order mark before it are part of a line.
            let line = &line[line.iter().take_while(|byte| **byte == 0).count()..];
            let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
            let mut halves = line.splitn(2, |byte| *byte == b'=');
            let (left, Some(right)) = (halves.next().unwrap(), halves.next()) else {
                input.malformed += 1;
                continue;
            };
            input.parsed += 1;
            records += 1;
            length += line.len() as isize;
            left.iter().for_each(|byte| add(row("each", byte)));
            *sums.entry(left.to_vec()).or_default() += 1;
            *sums.entry(left.iter().skip(1).copied().collect()).or_default() -= 1;
            if let Ok(value) = String::from_utf8_lossy(right).parse::<i64>() {
                values.entry(left.to_vec()).or_default().push(i128::from(value));
                left.iter().for_each(|byte| *bytes.entry(*byte).or_default() += i128::from(value));
                add(row("collect", (key(left), value)));
            }
        }
    }
    for (left, values) in values {
        add(row("count", (key(&left), values.len())));
        let sum: i128 = values.iter().sum();
        if sum != 0 {
            add(row("sum", (key(&left), sum)));
        }
        for negative in [false, true] {
            let these: Vec<i128> = values.iter().copied().filter(|value| (*value < 0) == negative).collect();
            if !these.is_empty() {
                let (count, sum) = (these.len() as i64, these.iter().sum());
                let stats =
                    Stats { count, sum, min: these.iter().copied().min(), max: these.iter().copied().max() };
                add(row("stats", (key(&left), negative, stats)));
            }
        }
    }
    sums.into_iter().filter(|(_, sum)| *sum != 0).for_each(|(left, sum)| add(row("sums", (key(&left), sum))));
    bytes.into_iter().filter(|(_, sum)| *sum != 0).for_each(|(byte, sum)| add(row("bytes", (byte, sum))));
    add(row("all", (records, length)));
    add(row("input", input));
    rows
}

fn check(workers: usize, text: &Text) {
    let ran = run_lines(workers, text, |lines| (doors(lines), Box::new(|| ())));
    for (number, _) in text.epochs.iter().enumerate() {
        let now = ran.content(Epoch::new(number as u64));
        let expected = naive(text.epochs[..=number].iter().flatten());
        assert_eq!(now, expected, "epoch {number} with {workers} workers");
    }
    assert_eq!(ran.content(Epoch::END), naive(text.parts()), "at the end with {workers} workers");
    // What was never an answer is not shown on the way: no more changes of the rows of a door than epochs, twice.
    assert!(ran.seen.iter().all(|(_, _, time, _)| time.step() == 0));
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn doors_equal_naive_recomputation(text in text()) {
        for workers in WORKERS {
            check(workers, &text);
        }
    }

    /// The same lines, cut and dealt otherwise, end in the same tables.
    #[test]
    fn cuts_do_not_show(one in text(), epochs in 1..5usize, parts in 1..4usize, seed in any::<usize>()) {
        let all: Vec<_> = one.parts().flat_map(|part| part.lines.clone()).collect();
        let length = all.len().div_ceil(epochs * parts).max(1);
        let dealt = all.chunks(length).enumerate().map(|(at, lines)| {
            Part { worker: seed.wrapping_mul(at + 7) % 4, lines: lines.to_vec(), ended: true, oversize: 0 }
        });
        let dealt: Vec<_> = dealt.collect();
        let other = Text { epochs: dealt.chunks(parts).map(<[Part]>::to_vec).collect(), steps: vec![0, 2] };
        let plain = |text: &Text, workers| {
            let ran = run_lines(workers, text, |lines| (doors(lines), Box::new(|| ())));
            let mut rows = ran.content(Epoch::END);
            rows.retain(|row, _| !row.starts_with("input"));
            rows
        };
        prop_assert_eq!(plain(&one, 1), plain(&other, 1 + seed % 4));
    }
}

/// The rows that are always there, when there is nothing else: no epoch at all, or one without lines.
#[test]
fn standing_rows_are_there_from_the_beginning() {
    let expected: BTreeMap<_, _> =
        [(row("all", (0, 0)), 1), (row("input", InputCounts::default()), 1)].into_iter().collect();
    for workers in WORKERS {
        for epochs in [vec![], vec![vec![]], vec![vec![], vec![]]] {
            let ran =
                run_lines(workers, &Text { epochs, steps: vec![1] }, |lines| (doors(lines), Box::new(|| ())));
            assert_eq!(ran.content(Epoch::new(0)), expected);
            assert_eq!(ran.seen.len(), 2, "each on one worker, once");
        }
    }
}
