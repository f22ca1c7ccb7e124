//! Entries of the journal, as the command writes them, with their offsets.

use std::borrow::Cow;
use std::sync::Arc;

use memchr::memchr;
use serde::Deserialize;

use crate::source::{Oversize, Place};

/// So many entries of one microsecond have offsets of their own.
const SAME: u64 = 1 << 12;

/// What tells where an entry is.
#[derive(Debug, Deserialize)]
struct Entry<'a> {
    #[serde(rename = "__CURSOR", borrow)]
    cursor: Cow<'a, str>,
    #[serde(rename = "__REALTIME_TIMESTAMP", borrow)]
    micros: Cow<'a, str>,
}

/// Entries that came together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Whole lines.
    pub(super) bytes: Vec<u8>,
    /// Where each begins, and its offset.
    pub(super) lines: Vec<(usize, u64)>,
    pub(super) oversize: Vec<Oversize>,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.oversize.is_empty()
    }
}

/// How far the journal has been read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// The cursor of the last entry.
    pub(super) cursor: Option<String>,
    /// The offset behind it; 0 before the first.
    pub(super) next: u64,
}

impl Position {
    /// Where an earlier run ended.
    pub(super) fn at(next: u64) -> Self {
        Position { cursor: None, next }
    }

    /// The time of the last entry, in microseconds.
    pub(super) fn micros(&self) -> Option<u64> {
        Some(self.next.checked_sub(1)? / SAME)
    }

    /// The offset of an entry that follows, at `micros`: in order, whatever clocks were set to.
    fn offset(&self, micros: u64) -> u64 {
        self.next.max(micros.saturating_mul(SAME))
    }
}

/// Makes batches of what the command writes.
#[derive(Debug)]
pub(super) struct Entries {
    name: Arc<str>,
    max_line: usize,
    pub(super) position: Position,
    /// The beginning of a line.
    rest: Vec<u8>,
    /// What comes up to the next LF is the rest of a line that is too long.
    skipping: bool,
    /// What this command gives first has been read already.
    known: Known,
}

/// What has been read before.
#[derive(Debug, PartialEq, Eq)]
enum Known {
    Nothing,
    /// The first entry, if it has this cursor.
    First(String),
    /// Those before this offset, counted from the first that has its time.
    Before(u64, Position),
}

impl Entries {
    pub(super) fn new(name: Arc<str>, max_line: usize, from: u64) -> Self {
        let position = Position::at(from);
        Entries { name, max_line, position, rest: Vec::new(), skipping: false, known: Known::Nothing }
    }

    /// Another command begins at the last entry that was read, or at the first of its time.
    pub(super) fn begin(&mut self) {
        self.rest.clear();
        self.skipping = false;
        self.known = match (&self.position.cursor, self.position.micros()) {
            (Some(cursor), _) => Known::First(cursor.clone()),
            (None, Some(micros)) => {
                Known::Before(self.position.next, Position::at(micros.saturating_mul(SAME)))
            }
            (None, None) => Known::Nothing,
        };
    }

    /// Adds `bytes` that the command has written; puts whole entries into `batch`.
    pub(super) fn add(&mut self, mut bytes: &[u8], batch: &mut Batch) {
        while let Some(lf) = memchr(b'\n', bytes) {
            let (line, behind) = (&bytes[..lf], &bytes[lf + 1..]);
            bytes = behind;
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if self.rest.is_empty() {
                self.line(line, batch);
            } else {
                let mut whole = std::mem::take(&mut self.rest);
                whole.extend_from_slice(line);
                self.line(&whole, batch);
                whole.clear();
                self.rest = whole;
            }
        }
        if !self.skipping {
            self.rest.extend_from_slice(bytes);
            if self.rest.len() > self.max_line {
                let line = std::mem::take(&mut self.rest);
                self.line(&line, batch);
                self.skipping = true;
            }
        }
    }

    fn line(&mut self, line: &[u8], batch: &mut Batch) {
        if line.len() > self.max_line {
            // Its fields are in no order, so that its time may be beyond what was read of it.
            let offset = micros_in(line).map_or(self.position.next, |micros| self.position.offset(micros));
            let place = Place { partition: Arc::clone(&self.name), offset };
            let sample = line[..line.len().min(Oversize::kept(self.max_line))].to_vec();
            batch.oversize.push(Oversize { place, sample });
            self.position.next = offset + 1;
            return;
        }
        let entry = serde_json::from_slice::<Entry<'_>>(line).ok();
        let micros = entry.as_ref().and_then(|entry| entry.micros.parse().ok());
        let Some((entry, micros)) = entry.zip(micros) else {
            // `-- No entries --` and the like are no entries; anything else is malformed, and shown.
            if !line.starts_with(b"-- ") {
                let offset = self.position.next;
                self.push(line, offset, batch);
            }
            return;
        };
        match std::mem::replace(&mut self.known, Known::Nothing) {
            Known::Nothing => {}
            Known::First(cursor) => {
                if cursor == entry.cursor {
                    return;
                }
            }
            Known::Before(upto, mut at) => {
                let offset = at.offset(micros);
                if offset < upto {
                    at.next = offset + 1;
                    self.known = Known::Before(upto, at);
                    self.position.cursor = Some(entry.cursor.into_owned());
                    return;
                }
            }
        }
        let offset = self.position.offset(micros);
        self.position.cursor = Some(entry.cursor.into_owned());
        self.push(line, offset, batch);
    }

    fn push(&mut self, line: &[u8], offset: u64, batch: &mut Batch) {
        batch.lines.push((batch.bytes.len(), offset));
        batch.bytes.extend_from_slice(line);
        batch.bytes.push(b'\n');
        self.position.next = offset + 1;
    }
}

/// The time of an entry of which there is a part.
fn micros_in(line: &[u8]) -> Option<u64> {
    let key = br#""__REALTIME_TIMESTAMP":""#;
    let value = &line[memchr::memmem::find(line, key)? + key.len()..];
    let digits = value.split(|byte| *byte == b'"').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Where the last of the entries is that `output` has.
pub(super) fn newest(output: &[u8]) -> Option<Position> {
    let mut lines = output.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let entry: Entry<'_> = serde_json::from_slice(lines.next_back()?).ok()?;
    let next = entry.micros.parse::<u64>().ok()?.saturating_mul(SAME).saturating_add(1);
    Some(Position { cursor: Some(entry.cursor.into_owned()), next })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(cursor: usize, micros: u64) -> String {
        format!("{{\"__REALTIME_TIMESTAMP\":\"{micros}\",\"__CURSOR\":\"{cursor}\"}}\n")
    }

    /// What comes of `bytes`, which the command writes in pieces of `size`.
    fn read(entries: &mut Entries, bytes: &[u8], size: usize) -> Vec<(u64, String)> {
        let mut all = Vec::new();
        for piece in bytes.chunks(size) {
            let mut batch = Batch::default();
            entries.add(piece, &mut batch);
            for (begin, offset) in &batch.lines {
                let line = batch.bytes[*begin..].split(|byte| *byte == b'\n').next().unwrap_or_default();
                all.push((*offset, String::from_utf8_lossy(line).into_owned()));
            }
        }
        all
    }

    proptest! {
        /// Wherever reading stops, and by cursor or by offset, what follows is what would have followed.
        #[test]
        fn reading_goes_on_where_it_ended(
            steps in prop::collection::vec(0..3_u64, 1..40), stop in 0..40_usize, size in 1..60_usize, by_cursor: bool,
        ) {
            let mut micros = 1_700_000_000_000_000;
            let journal: Vec<_> = steps.iter().enumerate().map(|(at, step)| {
                micros += step;
                (micros, entry(at, micros))
            }).collect();
            let text = |from: usize| journal[from..].iter().map(|(_, line)| line.as_str()).collect::<String>();
            let new = |from| Entries::new("journald:".into(), 1 << 10, from);
            let whole = read(&mut new(0), text(0).as_bytes(), size);
            prop_assert_eq!(whole.len(), journal.len());
            prop_assert!(whole.is_sorted_by_key(|(offset, _)| *offset));

            let stop = 1 + stop % journal.len();
            let mut first = new(0);
            let before: String = journal[..stop].iter().map(|(_, line)| line.as_str()).collect();
            let mut got = read(&mut first, before.as_bytes(), size);
            let (mut second, from) = if by_cursor {
                // As the command does that is given a cursor.
                (first, stop - 1)
            } else {
                let from = journal.iter().position(|(micros, _)| *micros == journal[stop - 1].0);
                (new(first.position.next), from.expect("there is one"))
            };
            second.begin();
            got.extend(read(&mut second, text(from).as_bytes(), size));
            prop_assert_eq!(got, whole);
        }

        #[test]
        fn bytes_of_any_kind_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..400), size in 1..50_usize) {
            let mut entries = Entries::new("journald:".into(), 64, 0);
            read(&mut entries, &bytes, size);
            prop_assert!(entries.rest.len() <= 64);
        }
    }

    #[test]
    fn entries_that_are_too_long_are_reported_and_others_are_in_order() {
        let mut entries = Entries::new("journald:".into(), 100, 0);
        let long = format!("{{\"MESSAGE\":\"{}\"}}\n", "x".repeat(1000));
        // The clock is set back between the two.
        let text = [entry(1, 2_000), long, "-- No entries --\n".to_owned(), entry(2, 1_000)].concat();
        let mut batch = Batch::default();
        text.as_bytes().chunks(7).for_each(|piece| entries.add(piece, &mut batch));
        let offsets: Vec<_> = batch.lines.iter().map(|(_, offset)| *offset).collect();
        assert_eq!(offsets, [2_000 * SAME, 2_000 * SAME + 2]);
        assert_eq!(batch.oversize.len(), 1);
        let last = Position { cursor: Some("3".to_owned()), next: 5 * SAME + 1 };
        assert_eq!(newest(entry(3, 5).as_bytes()), Some(last));
        assert_eq!(newest(b""), None);
    }
}
