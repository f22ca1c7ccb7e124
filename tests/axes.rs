//! Every *when* with every *what*, against the records of each window asked again from scratch.
//!
//! One dataflow has a door for each pair, so it also proves that they do not disturb each other; that is much code, so it is a
//! test target of its own. All records are in time, so what a table holds after an epoch is what the records so far say, however
//! these are cut into epochs.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::collections::BTreeMap;
use std::time::Duration;

use thalweg::data::{Distinct, Quantiles};
use thalweg::prelude::*;
use thalweg::testing::Script;

/// All in milliseconds. Windows overlap, and their length is no multiple of the slide.
const LENGTH: i64 = 10_000;
const SLIDE: i64 = 4_000;
const GAP: i64 = 3_000;
const LATENESS: i64 = 5_000;

/// Of the records.
const SEEDS: [u64; 3] = [2, 4, 8];

/// One line: `12000 b -3 l`, or with `-` for a value that is not there. The side is for joins.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Record {
    time: i64,
    key: u8,
    value: Option<i64>,
    left: bool,
}

impl Record {
    fn line(&self) -> String {
        let value = self.value.map_or_else(|| "-".to_owned(), |value| value.to_string());
        let side = if self.left { 'l' } else { 'r' };
        format!("{} {} {value} {side}\n", self.time, char::from(self.key))
    }
}

fn word<'a>(line: &Parsed<'a, Text>, at: usize) -> Option<&'a [u8]> {
    line.line().split(|byte| *byte == b' ').nth(at)
}

fn millis(line: &Parsed<'_, Text>) -> Option<i64> {
    std::str::from_utf8(word(line, 0)?).ok()?.parse().ok()
}

fn key(line: &Parsed<'_, Text>) -> Option<u8> {
    word(line, 1)?.first().copied()
}

fn value(line: &Parsed<'_, Text>) -> Option<i64> {
    std::str::from_utf8(word(line, 2)?).ok()?.parse().ok()
}

/// The value as text, where there is one.
fn member<'a>(line: &Parsed<'a, Text>) -> Option<&'a [u8]> {
    word(line, 2).filter(|word| *word != b"-")
}

fn is_left(line: &Parsed<'_, Text>) -> bool {
    word(line, 3) == Some(b"l")
}

/// How many odd values there are, and what they add up to.
fn fold_odd(line: &Parsed<'_, Text>, (count, sum): &mut (isize, i64)) {
    if let Some(odd) = value(line).filter(|value| value % 2 != 0) {
        *count += 1;
        *sum += odd;
    }
}

fn window() -> Window {
    let length = |millis: i64| Duration::from_millis(millis as u64);
    Window::new(length(LENGTH), length(SLIDE)).unwrap()
}

fn gap() -> Gap {
    Gap::new(Duration::from_millis(GAP as u64)).unwrap()
}

const WHENS: [&str; 4] = ["all", "window", "last", "session"];
const WHATS: [&str; 11] = [
    "count",
    "sum",
    "min",
    "max",
    "stats",
    "distinct",
    "approx_distinct",
    "quantiles",
    "fold",
    "several",
    "others",
];

/// A door for each *what* on `$records`, which is made anew for each.
macro_rules! each_what {
    ($when:literal, $records:expr) => {
        $records.count(concat!($when, " count")).show(concat!($when, " count"));
        $records.sum(concat!($when, " sum"), value).show(concat!($when, " sum"));
        $records.min(concat!($when, " min"), value).show(concat!($when, " min"));
        $records.max(concat!($when, " max"), value).show(concat!($when, " max"));
        $records.stats(concat!($when, " stats"), value).show(concat!($when, " stats"));
        $records
            .distinct(concat!($when, " distinct"), text("value"), member)
            .show(concat!($when, " distinct"));
        $records
            .approx_distinct(concat!($when, " approx_distinct"), member)
            .show(concat!($when, " approx_distinct"));
        $records
            .quantiles(concat!($when, " quantiles"), |line| value(line).map(i64::unsigned_abs))
            .show(concat!($when, " quantiles"));
        // Its columns have no names of their own.
        let fold = $records.fold(concat!($when, " fold"), fold_odd);
        let front = ["start", "end", "key", "odd", "odd sum"].map(str::to_owned);
        let without_window = if matches!($when, "all" | "last") { 2 } else { 0 };
        fold.columns(front[without_window..].to_vec()).show(concat!($when, " fold"));
        // Four at once: of which some cannot be undone, and of which one takes no record without a value.
        $records
            .aggregate(concat!($when, " several"), |all| {
                all.count("records").sum("sum", value).max("most", value).approx_distinct("values", member)
            })
            .show(concat!($when, " several"));
        $records
            .aggregate(concat!($when, " others"), |all| {
                all.count_if("left", is_left)
                    .stats("value", value)
                    .quantiles("size", |line| value(line).map(i64::unsigned_abs))
                    .fold("odd", |line, sum: &mut i64| {
                        *sum += value(line).filter(|n| n % 2 != 0).unwrap_or(0)
                    })
            })
            .show(concat!($when, " others"));
    };
}

/// Views named after *when* and *what*.
fn every_pair() -> Build {
    Build::new("axes", |flow| {
        let lines = flow.records(Text).event_time(millis);
        let keyed = || lines.by(column::<u8>("key"), key);
        each_what!("all", keyed());
        each_what!("window", keyed().by_window(window()));
        each_what!("last", keyed().over_last(window()));
        each_what!("session", keyed().by_session(gap()));
        Ok(())
    })
}

/// The records that are taken together: by what stands before the key in a row, and by the key.
type Groups = BTreeMap<(String, u8), Vec<Record>>;

fn span(start: i64, end: i64) -> String {
    format!("{}\t{}\t", Time(start), Time(end))
}

/// The starts of the windows that hold `time`.
fn starts(time: i64) -> impl DoubleEndedIterator<Item = i64> {
    let last = time.div_euclid(SLIDE);
    (last - LENGTH / SLIDE..=last).map(|n| n * SLIDE).filter(move |start| time < start + LENGTH)
}

/// Groups of `records`, which are all there are so far, by `when`; the newest of which makes the watermark, unless the
/// input has `ended`.
fn groups(when: &str, records: &[Record], newest: Option<i64>, ended: bool) -> Groups {
    let mut groups = Groups::new();
    let mut add = |front: String, record: &Record| {
        groups.entry((front, record.key)).or_default().push(*record);
    };
    match when {
        "all" => records.iter().for_each(|record| add(String::new(), record)),
        "window" => {
            for record in records {
                starts(record.time).for_each(|start| add(span(start, start + LENGTH), record));
            }
        }
        "last" => {
            // The last window that is complete, or in the end the first that holds the newest record.
            let start = newest.map(|newest| match ended {
                true => starts(newest).next().unwrap(),
                false => (newest - LATENESS - LENGTH).div_euclid(SLIDE) * SLIDE,
            });
            let inside = |record: &&Record| start.is_some_and(|at| (at..at + LENGTH).contains(&record.time));
            records.iter().filter(inside).for_each(|record| add(String::new(), record));
        }
        _ => {
            let mut records = records.to_vec();
            records.sort_by_key(|record| (record.key, record.time));
            for session in records.chunk_by(|one, next| one.key == next.key && next.time - one.time < GAP) {
                let last = session.last().unwrap().time;
                session.iter().for_each(|record| add(span(session[0].time, last + GAP), record));
            }
        }
    }
    groups
}

fn cell(number: Option<impl ToString>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

/// The cells of `what` of these records, and whether that is nothing.
fn answer(what: &str, records: &[Record]) -> (String, bool) {
    let values: Vec<i64> = records.iter().filter_map(|record| record.value).collect();
    let odd: Vec<i64> = values.iter().copied().filter(|value| value % 2 != 0).collect();
    let (sum, odd_sum) = (values.iter().sum::<i64>(), odd.iter().sum::<i64>());
    let (least, most) = (cell(values.iter().min()), cell(values.iter().max()));
    let mut different = values.clone();
    different.sort_unstable();
    different.dedup();
    let sketch = || {
        let mut sketch = Distinct::default();
        values.iter().for_each(|value| sketch.insert(value.to_string().as_bytes()));
        // There are few, so that the sketch is exact.
        assert_eq!(sketch.estimate(), different.len() as u64);
        sketch.estimate()
    };
    let stats = || {
        let mean = (!values.is_empty()).then(|| sum as f64 / values.len() as f64);
        format!("{}\t{sum}\t{least}\t{most}\t{}", values.len(), cell(mean))
    };
    let quantiles = || {
        let quantiles: Quantiles = values.iter().map(|value| value.unsigned_abs()).collect();
        let quantile = |q| cell(quantiles.quantile(q));
        format!("{}\t{}\t{}\t{}", values.len(), quantile(0.5), quantile(0.95), quantile(0.99))
    };
    let none = values.is_empty();
    match what {
        "count" => (records.len().to_string(), records.is_empty()),
        "sum" => (sum.to_string(), sum == 0),
        "min" => (least, none),
        "max" => (most, none),
        "stats" => (stats(), none),
        "distinct" => (different.len().to_string(), none),
        "approx_distinct" => (sketch().to_string(), none),
        "quantiles" => (quantiles(), none),
        "fold" => (format!("{}\t{odd_sum}", odd.len()), odd.is_empty()),
        "several" => (format!("{}\t{sum}\t{most}\t{}", records.len(), sketch()), records.is_empty()),
        _ => {
            let left = records.iter().filter(|record| record.left).count();
            (format!("{left}\t{}\t{}\t{odd_sum}", stats(), quantiles()), left == 0 && none)
        }
    }
}

/// Whether a door of `what` takes `record` at all.
fn takes(what: &str, record: &Record) -> bool {
    matches!(what, "count" | "fold" | "several" | "others") || record.value.is_some()
}

/// The rows of the view of a pair, in order.
fn expected(when: &str, what: &str, records: &[Record], ended: bool) -> Vec<String> {
    let newest = records.iter().map(|record| record.time).max();
    let taken: Vec<_> = records.iter().copied().filter(|record| takes(what, record)).collect();
    let mut rows = Vec::new();
    for ((front, key), records) in groups(when, &taken, newest, ended) {
        let (cells, nothing) = answer(what, &records);
        // What is nothing has no row, but sessions are there because their records are.
        if !nothing || when == "session" {
            rows.push(format!("{front}{key}\t{cells}"));
        }
    }
    rows.sort();
    rows
}

/// A small generator of pseudo-random numbers (xorshift64*).
struct Draws(u64);

impl Draws {
    fn below(&mut self, end: u64) -> i64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % end) as i64
    }
}

/// Records of three keys over some minutes, with pauses, out of order by no more than the lateness; of some keys and times
/// all values add up to nothing, or there are none.
fn records(seed: u64) -> Vec<Record> {
    let mut draws = Draws(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut newest = 1_000_000;
    let record = |_| {
        newest += if draws.below(12) == 0 { draws.below(9) * 1000 } else { draws.below(4) * 500 };
        let behind = draws.below(LATENESS as u64 / 500 + 1).saturating_sub(draws.below(12)).max(0);
        let value = match draws.below(7) {
            0 | 1 => None,
            // Some are beyond what a sketch of quantiles has exactly.
            2 => Some(1000 * draws.below(9) + 7),
            _ => Some(2 * draws.below(3) - 2 + draws.below(2)),
        };
        let key = b"aabbc"[draws.below(5) as usize];
        // One key has even numbers only, so that a fold over odd ones is nothing.
        let value = value.map(|value| if key == b'c' { value / 2 % 2 * 2 } else { value });
        Record { time: newest - 500 * behind, key, value, left: draws.below(2) == 0 }
    };
    (0..120).map(record).collect()
}

/// Cuts in which all is one epoch, and some, with epochs of no records among them.
fn cuts(records: &[Record], seed: u64) -> [Vec<Vec<Record>>; 2] {
    let mut draws = Draws(seed | 1);
    let mut epochs = vec![Vec::new()];
    for record in records {
        epochs.last_mut().unwrap().push(*record);
        while draws.below(14) == 0 {
            epochs.push(Vec::new());
        }
    }
    [vec![records.to_vec()], epochs]
}

/// Runs `build` over `epochs`, in the second half on other workers, and hands `check` all views after each epoch and in the
/// end, with the records that there were.
fn run(
    build: Build,
    epochs: &[Vec<Record>],
    workers: [usize; 2],
    check: impl Fn(&dyn Fn(&str) -> Vec<String>, &[Record], bool, &str),
) {
    let lateness = Duration::from_millis(LATENESS as u64);
    let mut script = Script::new(build).time(TimeOptions { lateness, ..TimeOptions::default() });
    script = script.workers(workers[0]);
    for (at, epoch) in epochs.iter().enumerate() {
        script = if at == epochs.len() / 2 { script.workers(workers[1]) } else { script };
        script = script.epoch(epoch.iter().map(Record::line).collect::<String>());
    }
    let answer = script.end().run();
    assert_eq!(answer.counts().late, 0);
    for at in 0..=epochs.len() {
        let so_far = epochs[..(at + 1).min(epochs.len())].concat();
        let view = |name: &str| {
            let mut rows: Vec<_> = answer.view_at(name, at as u64).into_iter().map(str::to_owned).collect();
            rows.sort();
            rows
        };
        let place = format!("{workers:?} workers, after epoch {at} of {}", epochs.len());
        check(&view, &so_far, at == epochs.len(), &place);
    }
}

#[test]
fn every_when_goes_with_every_what() {
    for seed in SEEDS {
        let records = records(seed);
        for epochs in cuts(&records, seed) {
            for workers in [[1, 1], [3, 3], [3, 1]] {
                run(every_pair(), &epochs, workers, |view, records, ended, place| {
                    for when in WHENS {
                        for what in WHATS {
                            let expected = expected(when, what, records, ended);
                            assert_eq!(view(&format!("{when} {what}")), expected, "{when} {what}, {place}");
                        }
                    }
                });
            }
        }
    }
}

/// What the test above lives on: there are rows of everything, and some of what has none.
#[test]
fn the_records_have_something_for_each_pair() {
    let all = SEEDS.map(records);
    // Of all beginnings of the records, for the views that slide.
    let beginnings =
        || all.iter().flat_map(|records| (10..=records.len()).step_by(10).map(|n| &records[..n]));
    for when in WHENS {
        let rows =
            |what| beginnings().map(|records| expected(when, what, records, true).len()).sum::<usize>();
        for what in WHATS {
            assert!(rows(what) > 0, "{when} {what}");
        }
        if when != "session" {
            assert!(rows("sum") < rows("stats"), "{when}: sums that are nothing");
            assert!(rows("fold") < rows("count"), "{when}: nothing to fold");
        }
    }
    let sessions = || all.iter().flat_map(|records| groups("session", records, None, true).into_values());
    assert!(sessions().any(|of| of.iter().all(|record| record.value.is_none())), "sessions without a value");
    let nothing = |what| {
        all.iter().any(|of| expected("session", what, of, true).iter().any(|row| row.ends_with("\t0")))
    };
    assert!(nothing("sum") && nothing("fold"), "sessions whose sum is nothing");
}

/// Columns are those of the window, of the key and of what is added up.
#[test]
fn columns_are_named_by_both_axes() {
    let views = every_pair().check().unwrap().views;
    let names: Vec<_> = views.iter().map(|schema| schema.name.clone()).collect();
    let pairs: Vec<_> =
        WHENS.iter().flat_map(|when| WHATS.iter().map(move |what| format!("{when} {what}"))).collect();
    assert_eq!(names, pairs, "views are shown in this order");
    for schema in views {
        let (when, what) = schema.name.split_once(' ').unwrap();
        let window: &[&str] = if matches!(when, "all" | "last") { &[] } else { &["start", "end"] };
        let sum: &[&str] = match what {
            "stats" => &["count", "sum", "min", "max", "mean"],
            "distinct" | "approx_distinct" => &["distinct"],
            "quantiles" => &["count", "p50", "p95", "p99"],
            "fold" => &["odd", "odd sum"],
            "several" => &["records", "sum", "most", "values"],
            "others" => &[
                "left",
                "value_count",
                "value_sum",
                "value_min",
                "value_max",
                "value_mean",
                "size_count",
                "size_p50",
                "size_p95",
                "size_p99",
                "odd",
            ],
            one => &[one],
        };
        let columns: Vec<_> = schema.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(columns, [window, &["key"], sum].concat(), "{schema}");
        let key: Vec<_> = schema.key().map(|column| column.name.as_str()).collect();
        assert_eq!(key, [window, &["key"]].concat(), "{schema}");
    }
}

/// Pairs of a left and a right record up to two seconds apart, as records: how many there are in each window, and what their
/// right values add up to in each session.
fn pairs_on_facts() -> Build {
    Build::new("facts", |flow| {
        let lines = flow.records(Text).event_time(millis);
        let side = |left| move |line: &Parsed<'_, Text>| value(line).filter(|_| is_left(line) == left);
        let left = lines.by(column::<u8>("key"), key).events("lefts", number("value"), side(true));
        let right = lines.by(column::<u8>("key"), key).events("rights", number("value"), side(false));
        let apart = Duration::from_millis(2000);
        let pairs = left.join("pairs", right, Within::around(apart, apart));
        let pairs = pairs.records().event_time(|pair| Some(pair.1.0.max(pair.2.0)));
        let keyed = || pairs.by(column::<u8>("key"), |pair| Some(pair.0));
        keyed().by_window(window()).count("windows").show("windows");
        keyed().by_session(gap()).sum("sessions", |pair| Some(pair.2.1)).show("sessions");
        Ok(())
    })
}

/// The pairs of these records, each as a record of the later time and the right value.
fn pairs(records: &[Record]) -> Vec<Record> {
    let with_values: Vec<_> = records.iter().filter(|record| record.value.is_some()).collect();
    let (left, right): (Vec<&Record>, Vec<&Record>) = with_values.iter().partition(|record| record.left);
    let mut pairs = Vec::new();
    for l in left {
        let near = right.iter().filter(|r| r.key == l.key && (r.time - l.time).abs() <= 2000);
        pairs.extend(near.map(|r| Record { time: l.time.max(r.time), ..**r }));
    }
    pairs
}

#[test]
fn facts_are_records_as_lines_are() {
    for seed in SEEDS {
        let records = records(seed);
        assert!(pairs(&records).len() > 20, "{} pairs", pairs(&records).len());
        for epochs in cuts(&records, seed) {
            for workers in [[1, 1], [3, 3], [3, 1]] {
                run(pairs_on_facts(), &epochs, workers, |view, records, ended, place| {
                    let pairs = pairs(records);
                    assert_eq!(view("windows"), expected("window", "count", &pairs, ended), "{place}");
                    assert_eq!(view("sessions"), expected("session", "sum", &pairs, ended), "{place}");
                });
            }
        }
    }
}
