//! What the windowed doors should say, from the records alone: every window is made anew from all records so far.

use std::collections::{BTreeMap, BTreeSet};

use crate::watched::{Content, Record};

/// The watermark, with the two ends of the numbers for before the first record and after the last.
type Mark = i64;
pub const END: Mark = i64::MAX;
const NONE: Mark = i64::MIN;

/// What is asked of the records of one window.
pub type Question = fn(&[Record]) -> Content;

fn grouped(records: &[Record], figures: impl Fn(Vec<i128>) -> Vec<i128>) -> Content {
    let mut values: BTreeMap<String, Vec<i128>> = BTreeMap::new();
    for record in records {
        values.entry(char::from(record.key).to_string()).or_default().push(i128::from(record.value));
    }
    values.into_iter().map(|(key, values)| (key, figures(values))).collect()
}

pub fn counts(records: &[Record]) -> Content {
    grouped(records, |values| vec![values.len() as i128])
}

pub fn stats(records: &[Record]) -> Content {
    grouped(records, |values| {
        let (least, most) = (values.iter().min().copied(), values.iter().max().copied());
        [values.len() as i128, values.iter().sum()].into_iter().chain(least).chain(most).collect()
    })
}

pub fn distinct(records: &[Record]) -> Content {
    grouped(records, |values| vec![values.into_iter().collect::<BTreeSet<_>>().len() as i128])
}

/// The windows that hold `time`, as their starts.
fn starts(time: i64, (length, slide): (u64, u64)) -> impl Iterator<Item = i64> {
    let (length, slide) = (length as i64, slide as i64);
    let some = time.div_euclid(slide) * slide;
    (-length / slide - 1..=1)
        .map(move |n| some + n * slide)
        .filter(move |start| (*start..*start + length).contains(&time))
}

/// What the watermark was as each epoch began, and as the last one ended.
pub fn marks(epochs: &[Vec<Record>], lateness: u64, ended: bool) -> Vec<Mark> {
    let mut marks = vec![NONE];
    let mut newest = None;
    for epoch in epochs {
        newest = epoch.iter().map(|record| record.time).chain(newest).max();
        marks.push(newest.map_or(NONE, |newest| newest - lateness as i64));
    }
    marks.extend(ended.then_some(END));
    marks
}

/// What became of the input in one kind of door.
#[derive(Debug, Default)]
pub struct Expected<T> {
    pub answers: T,
    /// Lines refused, by epoch.
    pub refused: BTreeMap<(u64, String), isize>,
}

impl<T> Expected<T> {
    pub fn late(&self) -> i64 {
        self.refused.values().sum::<isize>() as i64
    }
}

/// The rows of a table.
pub type Rows = BTreeMap<((i64, i64), String), Vec<i128>>;

/// The window table after each epoch.
pub fn table(
    rule: (u64, u64),
    lateness: u64,
    epochs: &[Vec<Record>],
    ended: bool,
    question: Question,
) -> Expected<Vec<Rows>> {
    let marks = marks(epochs, lateness, ended);
    let mut expected: Expected<Vec<Rows>> = Expected::default();
    let mut windows: BTreeMap<i64, Vec<Record>> = BTreeMap::new();
    for (number, epoch) in (1..).zip(epochs) {
        let mark = marks[number as usize - 1];
        for record in epoch {
            let open: Vec<_> =
                starts(record.time, rule).filter(|start| start + rule.0 as i64 > mark).collect();
            if open.is_empty() {
                *expected.refused.entry((number, record.line())).or_default() += 1;
            }
            open.into_iter().for_each(|start| windows.entry(start).or_default().push(*record));
        }
        let rows = windows.iter().flat_map(|(start, records)| {
            let span = (*start, start + rule.0 as i64);
            question(records).into_iter().map(move |(key, figures)| ((span, key), figures))
        });
        expected.answers.push(rows.collect());
    }
    expected
}

/// The windows that a sliding view shows: in which epoch, which window, and what it holds, whenever this changes.
pub fn windows(
    rule: (u64, u64),
    lateness: u64,
    epochs: &[Vec<Record>],
    ended: bool,
    question: Question,
) -> Expected<Vec<(u64, (i64, i64), Content)>> {
    let (length, slide) = (rule.0 as i64, rule.1 as i64);
    let marks = marks(epochs, lateness, ended);
    let mut expected: Expected<Vec<(u64, (i64, i64), Content)>> = Expected::default();
    let mut taken: Vec<Record> = Vec::new();
    let mut shown: Option<i64> = None;
    let mut newest = None;
    let nothing = Vec::new();
    for (number, epoch) in (1..marks.len() as u64).zip(epochs.iter().chain([&nothing])) {
        for record in epoch {
            if shown.is_some_and(|end| record.time < end - length) {
                *expected.refused.entry((number, record.line())).or_default() += 1;
            } else {
                taken.push(*record);
            }
            newest = newest.max(Some(record.time));
        }
        // The ends of all windows that hold something, or that something is gone from.
        let ends: BTreeSet<i64> = taken
            .iter()
            .flat_map(|record| starts(record.time, rule))
            .flat_map(|start| [start + length, start + length + slide])
            .collect();
        let last = match marks[number as usize] {
            NONE => None,
            // The first window that holds the newest record.
            END => newest.and_then(|newest| starts(newest, rule).next()).map(|start| start + length),
            mark => Some((mark - length).div_euclid(slide) * slide + length),
        };
        let moves = ends.into_iter().filter(|end| Some(*end) > shown && Some(*end) <= last);
        for end in shown.into_iter().chain(moves) {
            let inside = |record: &&Record| (end - length..end).contains(&record.time);
            let content = question(&taken.iter().filter(inside).copied().collect::<Vec<_>>());
            let before = expected.answers.last();
            let differs = before.map_or(!content.is_empty(), |(_, _, before)| *before != content);
            if differs || Some(end) != shown && !content.is_empty() {
                expected.answers.push((number, (end - length, end), content));
            }
        }
        shown = shown.max(last);
    }
    expected
}
