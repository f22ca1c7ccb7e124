//! The plain loops over a sliding window: its first ten keys, as event time goes on.
//!
//! Keys have numbers, so a record costs one look-up. A pane is a list of numbers; as the watermark passes the end of a
//! window, the pane that enters is added to an array of counts and the one that leaves is subtracted, and one scan of the array
//! finds the first ten. A key that is in no pane any more is forgotten, so memory is that of the window, as in the dataflow.
//! Every window that holds anything is written, row by row, as the dataflow's sink writes it.
//!
//! The watermark is that of the record at hand, where the dataflow's is that of the epoch; for records that are within the
//! lateness, both show the same windows.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::fs::File;
use std::hash::BuildHasher;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use foldhash::fast::RandomState;
use hashbrown::hash_table::{Entry, HashTable};
use serde_json::Value;

use crate::bench::BenchError;
use crate::bench::baseline::each_line;
use crate::data::escape_json;
use crate::data::{Bytes, InputCounts};
use crate::format::time::Zone;
use crate::format::{AccessLog, Json, JsonMode, LineFormat};
use crate::runtime::time;
use crate::time::Time;
use crate::time::TimeOptions;

/// How many keys are ranked.
const TOP: usize = 10;

/// `hashtags`, with its default options.
pub(super) fn hashtags(file: &Path, output: &Path) -> Result<(InputCounts, Value), BenchError> {
    const TEXT: usize = 0;
    const TIME: usize = 1;
    let tweets = Json::new([("text", "text"), ("time", "created_at")]).expect("two fields, two paths");
    let mut tweets = tweets.with_mode(JsonMode::DropMalformed);
    let mut window = Sliding::new(300_000, 1000, "tag", output)?;
    let counts = each_line(file, &mut |line: &[u8], counts: &mut InputCounts| {
        let Some(tweet) = tweets.parse(line) else {
            counts.malformed += 1;
            return;
        };
        counts.parsed += 1;
        if let Some(pane) = window.pane_of(tweet.get(TIME).time_in(Zone::UTC), counts) {
            let text = tweet.text(TEXT).unwrap_or_default();
            text.split(' ')
                .filter(|word| word.starts_with('#'))
                .for_each(|tag| window.count(pane, tag.as_bytes()));
        }
    });
    window.answer(counts?)
}

/// `top-urls`, with its default options.
pub(super) fn top_urls(file: &Path, output: &Path) -> Result<(InputCounts, Value), BenchError> {
    let mut parser = AccessLog;
    let mut window = Sliding::new(30_000, 10_000, "url", output)?;
    let counts = each_line(file, &mut |line: &[u8], counts: &mut InputCounts| {
        let Some(record) = parser.parse(line) else {
            counts.malformed += 1;
            return;
        };
        counts.parsed += 1;
        if let Some(pane) = window.pane_of(record.event_time(), counts)
            && let Some(endpoint) = record.endpoint()
        {
            window.count(pane, endpoint);
        }
    });
    window.answer(counts?)
}

/// The window, and the panes that it covers or has yet to reach. Times are in milliseconds.
struct Sliding {
    length: i64,
    /// How far it moves, and how long a pane is; a divisor of the length.
    slide: i64,
    lateness: i64,
    /// What is dated after this is no time.
    horizon: i64,
    newest: i64,
    /// Where the window ends.
    end: i64,
    /// The first pane begins where the window does; each holds the numbers of its keys, one for each time they occur.
    panes: VecDeque<Vec<u32>>,
    /// How many numbers there are in all panes.
    held: usize,
    /// An empty pane that was left, for its room.
    spare: Vec<u32>,
    index: HashTable<u32>,
    state: RandomState,
    keys: Vec<Numbered>,
    /// How often each key occurs in the window.
    counts: Vec<i64>,
    free: Vec<u32>,
    /// What rows call the key.
    column: &'static str,
    path: PathBuf,
    out: BufWriter<File>,
    /// How many windows were written.
    windows: u64,
    written: io::Result<()>,
}

/// A key that has a number.
struct Numbered {
    hash: u64,
    key: Bytes,
    /// How often it occurs in all panes.
    held: usize,
}

impl Sliding {
    fn new(length: i64, slide: i64, column: &'static str, output: &Path) -> Result<Self, BenchError> {
        let out = File::create(output);
        let out = out.map_err(|source| BenchError::Write { path: output.to_owned(), source })?;
        let options = TimeOptions::default();
        Ok(Sliding {
            length,
            slide,
            lateness: options.lateness.as_millis() as i64,
            horizon: time().0 + options.max_ahead.as_millis() as i64,
            newest: i64::MIN,
            end: i64::MIN,
            panes: VecDeque::new(),
            held: 0,
            spare: Vec::new(),
            index: HashTable::new(),
            state: RandomState::default(),
            keys: Vec::new(),
            counts: Vec::new(),
            free: Vec::new(),
            column,
            path: output.to_owned(),
            out: BufWriter::with_capacity(1 << 16, out),
            windows: 0,
            written: Ok(()),
        })
    }

    /// The position of the pane of `time`, to which the window has moved on if it is news; none if it is no time or
    /// the window has left it behind.
    #[inline]
    fn pane_of(&mut self, time: Option<Time>, counts: &mut InputCounts) -> Option<usize> {
        // As far back as the dataflow takes times for such.
        let Some(Time(time)) = time.filter(|Time(time)| *time >= -(1 << 53)) else {
            counts.untimed += 1;
            return None;
        };
        if time > self.horizon {
            counts.ahead += 1;
            return None;
        }
        if time > self.newest {
            self.newest = time;
            self.move_to(self.floor(time - self.lateness));
        }
        let start = self.end - self.length;
        if time < start {
            counts.late += 1;
            return None;
        }
        let pane = ((time - start) / self.slide) as usize;
        if pane >= self.panes.len() {
            self.panes.resize_with(pane, Vec::new);
            self.panes.push_back(std::mem::take(&mut self.spare));
        }
        Some(pane)
    }

    fn floor(&self, time: i64) -> i64 {
        time - time.rem_euclid(self.slide)
    }

    /// `key` occurs in the pane at position `pane`.
    #[inline]
    fn count(&mut self, pane: usize, key: &[u8]) {
        let Sliding { index, state, keys, counts, free, .. } = self;
        let hash = state.hash_one(key);
        let same = |&at: &u32| keys[at as usize].key == *key;
        let at = match index.entry(hash, same, |&at| keys[at as usize].hash) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let numbered = Numbered { hash, key: Bytes::from(key), held: 0 };
                let at = free.pop().unwrap_or(keys.len() as u32);
                match keys.get_mut(at as usize) {
                    Some(free) => *free = numbered,
                    None => {
                        keys.push(numbered);
                        counts.push(0);
                    }
                }
                entry.insert(at);
                at
            }
        };
        self.keys[at as usize].held += 1;
        self.held += 1;
        self.panes[pane].push(at);
        if (pane as i64) < self.length / self.slide {
            // It is late: the window covers its pane already.
            self.counts[at as usize] += 1;
        }
    }

    /// Moves the window step by step until it ends at `end`.
    fn move_to(&mut self, end: i64) {
        while self.end < end {
            if self.held == 0 {
                self.end = end;
            } else {
                self.step();
            }
        }
    }

    /// Moves the window by one slide, and writes it.
    fn step(&mut self) {
        self.end += self.slide;
        let mut leaving = self.panes.pop_front().unwrap_or_default();
        let last = (self.length / self.slide) as usize - 1;
        let entering = self.panes.get(last).map_or(&[][..], Vec::as_slice);
        entering.iter().for_each(|&at| self.counts[at as usize] += 1);
        leaving.iter().for_each(|&at| self.counts[at as usize] -= 1);
        self.held -= leaving.len();
        for at in leaving.drain(..) {
            let numbered = &mut self.keys[at as usize];
            numbered.held -= 1;
            if numbered.held == 0 {
                if let Ok(entry) = self.index.find_entry(numbered.hash, |&other| other == at) {
                    entry.remove();
                }
                self.free.push(at);
            }
        }
        self.spare = leaving;
        if self.written.is_ok() {
            self.written = self.write();
        }
    }

    /// The numbers of the first keys of the window, by count descending, then key ascending.
    fn first(&self) -> Vec<u32> {
        let rank = |at: u32| (Reverse(self.counts[at as usize]), &self.keys[at as usize].key);
        let mut first: Vec<u32> = Vec::with_capacity(TOP + 1);
        let mut least = 1;
        for (at, count) in (0..).zip(&self.counts) {
            if *count < least {
                continue;
            }
            let place = first.partition_point(|other| rank(*other) < rank(at));
            first.insert(place, at);
            if first.len() >= TOP {
                first.truncate(TOP);
                least = self.counts[first[TOP - 1] as usize];
            }
        }
        first
    }

    fn write(&mut self) -> io::Result<()> {
        let first = self.first();
        let (start, end) = (Time(self.end - self.length), Time(self.end));
        let times = format!(r#"{{"start":"{start}","end":"{end}","rank":"#);
        self.windows += u64::from(!first.is_empty());
        for (rank, at) in (1..).zip(first) {
            let (key, count) = (&self.keys[at as usize].key, self.counts[at as usize]);
            write!(self.out, r#"{times}{rank},"{}":"#, self.column)?;
            serde_json::to_writer(&mut self.out, &escape_json(key))?;
            writeln!(self.out, r#","count":{count}}}"#)?;
        }
        Ok(())
    }

    /// Moves the window to where it holds the newest record, and says what there was.
    fn answer(mut self, counts: InputCounts) -> Result<(InputCounts, Value), BenchError> {
        if counts.parsed > counts.untimed + counts.ahead {
            self.move_to(self.floor(self.newest) + self.slide);
        }
        let written = self.written.and_then(|()| self.out.flush());
        written.map_err(|source| BenchError::Write { path: self.path, source })?;
        Ok((counts, serde_json::json!({ "windows": self.windows })))
    }
}
