//! A dataflow with all windowed doors, all of whose updates can be seen with their epochs and steps.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use differential_dataflow::collection::concatenate;
use thalweg::data::InputCounts;
use thalweg::prelude::*;
use thalweg::testing::Script;
use thalweg::time::TimeOptions;

/// What a line says: `millis key value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    pub time: i64,
    pub key: u8,
    pub value: i64,
}

impl Record {
    pub fn line(&self) -> String {
        format!("{} {} {}", self.time, char::from(self.key), self.value)
    }

    fn read(line: &[u8]) -> Option<Record> {
        let mut fields = std::str::from_utf8(line).ok()?.split(' ');
        let (time, key, value) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Record { time: time.parse().ok()?, key: *key.as_bytes().first()?, value: value.parse().ok()? })
    }
}

pub fn lines(records: &[Record]) -> String {
    records.iter().fold(String::new(), |mut text, record| {
        let _ = writeln!(text, "{}", record.line());
        text
    })
}

/// A row of any door: its window, where it has one, its key, and the figures.
pub type Row = ((i64, i64), String, Vec<i128>);
/// An update of one door's collection: the row, its epoch and step, and its difference.
pub type Update = (Row, (u64, u32), isize);

/// What a run has shown.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub doors: BTreeMap<&'static str, Vec<Update>>,
    pub counts: InputCounts,
}

impl Seen {
    /// What `door` held after `epoch`, of what was not taken over from an earlier stage: rows that occur other than once
    /// are a mistake.
    pub fn after(&self, door: &str, epoch: u64) -> BTreeMap<((i64, i64), String), Vec<i128>> {
        let updates = self.doors.get(door).into_iter().flatten();
        let mut rows: BTreeMap<Row, isize> = BTreeMap::new();
        for (row, _, diff) in updates.filter(|(_, (number, _), _)| (1..=epoch).contains(number)) {
            *rows.entry(row.clone()).or_default() += diff;
        }
        rows.retain(|_, count| *count != 0);
        let mut held = BTreeMap::new();
        for ((span, key, figures), count) in rows {
            assert_eq!(count, 1, "a row of {door} after {epoch}");
            let other = held.insert((span, key.clone()), figures);
            assert_eq!(other, None, "a second row of {door} for {key}");
        }
        held
    }

    /// What a stage was given of `door`: where the first epoch is empty, all that stands there.
    pub fn taken_over(&self, door: &str) -> BTreeMap<((i64, i64), String), Vec<i128>> {
        let updates = self.doors.get(door).into_iter().flatten().filter(|(_, (number, _), _)| *number == 0);
        let rows = updates.map(|((span, key, figures), _, diff)| {
            assert_eq!(*diff, 1, "what is taken over is inserted");
            ((*span, key.clone()), figures.clone())
        });
        rows.collect()
    }

    /// The lines that `door` refused as late, by epoch; or those of which all say that they are `ahead` or `untimed`.
    pub fn refused(&self, door: &str) -> BTreeMap<(u64, String), isize> {
        let mut lines = BTreeMap::new();
        for ((_, line, _), (number, step), diff) in self.doors.get("refused").into_iter().flatten() {
            assert_eq!(*step, 0);
            if let Some((_, line)) = line.split_once(": ").filter(|(who, _)| *who == door) {
                *lines.entry((*number, line.to_owned())).or_default() += diff;
            }
        }
        lines
    }

    /// How many of them there are.
    pub fn how_many(&self, door: &str) -> i64 {
        self.refused(door).values().sum::<isize>() as i64
    }

    /// The windows that the sliding view `door` has shown: the epoch, the window and its content, whenever one of these changed.
    pub fn windows(&self, door: &'static str, window: &'static str) -> Vec<(u64, (i64, i64), Content)> {
        let mut steps: BTreeMap<(u64, u32), Vec<(bool, &Row, isize)>> = BTreeMap::new();
        for (name, is_window) in [(door, false), (window, true)] {
            for (row, time, diff) in
                self.doors.get(name).into_iter().flatten().filter(|update| update.1.0 > 0)
            {
                steps.entry(*time).or_default().push((is_window, row, *diff));
            }
        }
        let (mut held, mut spans) = (BTreeMap::<&Row, isize>::new(), BTreeMap::<(i64, i64), isize>::new());
        let mut shown: Vec<(u64, (i64, i64), Content)> = Vec::new();
        for ((epoch, step), updates) in steps {
            for (is_window, row, diff) in updates {
                *(if is_window { spans.entry(row.0).or_default() } else { held.entry(row).or_default() }) +=
                    diff;
            }
            held.retain(|_, count| *count != 0);
            spans.retain(|_, count| *count != 0);
            let span: Vec<_> = spans.iter().collect();
            let [(span, 1)] = span[..] else { panic!("one window at {epoch}.{step} of {door}: {span:?}") };
            let mut content = Content::new();
            for ((_, key, figures), count) in &held {
                assert_eq!(*count, 1, "a row of {door} at {epoch}.{step}");
                assert_eq!(content.insert(key.clone(), figures.clone()), None, "a second row of {key}");
            }
            if shown.last().is_none_or(|(_, last, before)| (last, before) != (span, &content)) {
                shown.push((epoch, *span, content));
            }
        }
        shown
    }
}

/// The figures of each key.
pub type Content = BTreeMap<String, Vec<i128>>;

/// All windowed doors over the same records.
pub struct Watched {
    pub window: Window,
    pub seen: Arc<Mutex<Seen>>,
}

impl Watched {
    pub fn new(length: u64, slide: u64) -> Self {
        let window = Window::new(Duration::from_millis(length), Duration::from_millis(slide)).unwrap();
        Watched { window, seen: Arc::default() }
    }
}

/// How many rows of the sliding count are ranked.
pub const FIRST: usize = 2;

/// The sliding views, and the tables.
pub const SLIDING: [&str; 2] = ["last count", "last stats"];
pub const TABLES: [&str; 3] = ["table count", "table stats", "table distinct"];

fn figures(stats: &Stats) -> Vec<i128> {
    let values = stats.min.into_iter().chain(stats.max);
    [i128::from(stats.count), stats.sum].into_iter().chain(values).collect()
}

fn key(key: u8) -> String {
    char::from(key).to_string()
}

impl Watched {
    pub fn build(&self) -> Build {
        let (window, seen) = (self.window, Arc::clone(&self.seen));
        Build::new("watched", move |flow| {
            let records = flow.records(Text).event_time(|record| Some(Record::read(record.line())?.time));
            let keyed = || records.by(column::<u8>("key"), |record| Some(Record::read(record.line())?.key));
            let value = |record: &Parsed<'_, Text>| Some(Record::read(record.line())?.value);

            let counts = keyed().over_last(window).count("last count");
            let stats = keyed().over_last(window).stats("last stats", value);
            let none = (0, 0);
            // What leads to no view is not waited for.
            let mut watched = Vec::new();
            let mut watch = |door, rows| watched.push(watch(&seen, door, rows));
            let of = move |span: Span| (span.start.0, span.end.0);
            watch("last count", counts.rows().map(move |(k, n)| (none, key(k), vec![n as i128])));
            let ranked = counts.clone().top(FIRST).rows();
            watch("last first", ranked.map(move |(rank, k, n)| (none, key(k), vec![rank.into(), n as i128])));
            watch("last stats", stats.rows().map(move |(k, stats)| (none, key(k), figures(&stats))));
            let stands = move |span: Span| (of(span), String::new(), vec![]);
            watch("last count window", counts.window().rows().map(stands));
            watch("last stats window", stats.window().rows().map(stands));

            let by_window = || keyed().by_window(window);
            let table_counts = by_window().count("table count").rows();
            let stats = by_window().stats("table stats", value).rows();
            let distinct = by_window().distinct("table distinct", number("value"), value).rows();
            watch("table count", table_counts.map(move |(span, k, n)| (of(span), key(k), vec![n as i128])));
            watch("table stats", stats.map(move |(span, k, stats)| (of(span), key(k), figures(&stats))));
            watch("table distinct", distinct.map(move |(span, k, n)| (of(span), key(k), vec![n as i128])));

            let refused = records.refused("refused", text("line"), |record| Some(record.line())).rows();
            watch(
                "refused",
                refused.map(move |(reason, door, line)| {
                    assert_eq!(reason == Refusal::Late, !door.is_empty(), "who refuses for being {reason:?}");
                    let who = if door.is_empty() { reason.name().to_owned() } else { as_text(&door) };
                    ((0, 0), format!("{who}: {}", as_text(&line)), vec![])
                }),
            );

            counts.about("the last window").show("last");
            let all = concatenate(flow.scope(), watched).map(|()| 1);
            flow.table(["one"], all).about("as many as all doors have").show("rows");
            let input = records.input();
            let columns = ["late", "ahead", "untimed"];
            let input = input.map(columns, |counts| (counts.late, counts.ahead, counts.untimed));
            input.about("what became of the lines").show("input");
            Ok(())
        })
    }
}

fn as_text(line: &Bytes) -> String {
    String::from_utf8_lossy(line.as_ref()).into_owned()
}

fn watch<'scope>(
    seen: &Arc<Mutex<Seen>>,
    door: &'static str,
    rows: VecCollection<'scope, Epoch, Row, isize>,
) -> VecCollection<'scope, Epoch, (), isize> {
    let seen = Arc::clone(seen);
    let rows = rows.inspect(move |(row, time, diff)| {
        let update = (row.clone(), (time.number(), time.step()), *diff);
        seen.lock().unwrap().doors.entry(door).or_default().push(update);
    });
    rows.map(|_| ())
}

/// What all doors show of what `tell` makes of a script.
pub fn case((length, slide): (u64, u64), time: TimeOptions, tell: impl FnOnce(Script) -> Script) -> Seen {
    let watched = Watched::new(length, slide);
    let answer = tell(Script::new(watched.build()).time(time)).run();
    let mut seen = std::mem::take(&mut *watched.seen.lock().unwrap());
    seen.counts = answer.counts();
    seen
}

/// How a run goes: on how many workers, from which epoch on.
pub type Stages<'a> = &'a [(usize, usize)];

/// Runs all doors over `epochs`, numbered from 1 on (so that epoch 0 holds what a stage was given), on the workers of
/// `stages`; at the end, if `ended`, an epoch without lines ends the input.
pub fn run(rule: (u64, u64), lateness: u64, stages: Stages<'_>, epochs: &[Vec<Record>], ended: bool) -> Seen {
    // Records are as far apart as they like: no clock is wrong that far.
    let max_ahead = Duration::from_secs(400 * 86_400);
    let time = TimeOptions { lateness: Duration::from_millis(lateness), max_ahead, ..TimeOptions::default() };
    case(rule, time, |script| {
        let mut script = script.workers(stages.first().map_or(1, |(workers, _)| *workers)).epoch("");
        for (number, epoch) in epochs.iter().enumerate() {
            for (workers, _) in stages.iter().skip(1).filter(|(_, at)| *at == number) {
                script = script.workers(*workers);
            }
            script = script.epoch(lines(epoch));
        }
        if ended { script.end() } else { script }
    })
}
