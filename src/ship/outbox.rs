//! Lines on their way: what was read, and has not been acknowledged yet.
//!
//! Lines are numbered as they were read. Those of one partition leave in order, so that what is
//! acknowledged of a partition without a gap is an offset; what was acknowledged beyond a gap is
//! kept until the gap is filled.

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::source::Chunk;

/// What a batch costs beyond its bytes and the ends of its lines, about.
const OVERHEAD: usize = 200;

/// Lines of one partition.
#[derive(Debug)]
struct Batch {
    track: usize,
    /// The number of its first line.
    first: u64,
    /// The offset of its first line.
    begin: u64,
    bytes: Box<[u8]>,
    /// Where each line ends, with its line end.
    ends: Box<[usize]>,
    /// A bit for each line that was acknowledged.
    done: Box<[u64]>,
    /// So many lines of it, from the first, were acknowledged, and everything before it of this
    /// partition.
    prefix: usize,
}

impl Batch {
    fn range(&self, line: usize) -> std::ops::Range<usize> {
        let begin = line.checked_sub(1).map_or(0, |before| self.ends[before]);
        begin..self.ends[line]
    }

    fn is_done(&self, line: usize) -> bool {
        self.done[line / 64] & (1 << (line % 64)) != 0
    }

    fn size(&self) -> usize {
        OVERHEAD + self.bytes.len() + self.ends.len() * size_of::<usize>()
    }
}

/// A line to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) number: u64,
    pub(super) track: usize,
    /// Without its line end.
    pub(super) text: &'a [u8],
}

/// What was acknowledged of a partition, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Acknowledged<'a> {
    pub(super) track: usize,
    pub(super) offset: u64,
    /// Whole lines, with their line ends.
    pub(super) bytes: &'a [u8],
    /// How many of them were delivered, and not refused.
    pub(super) lines: u64,
    /// Bytes of those.
    pub(super) size: u64,
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    batches: VecDeque<Batch>,
    /// By partition, the first lines of its batches that are not wholly acknowledged.
    pending: HashMap<usize, VecDeque<u64>>,
    /// The number of the next line that is read.
    next: u64,
    /// The number of the next line that is sent.
    cursor: u64,
    held: usize,
    /// Lines that were refused, until everything before them has been acknowledged.
    refused: BTreeSet<u64>,
}

impl Outbox {
    /// Takes the lines of `chunk` in, which is of the partition `track`.
    pub(super) fn push(&mut self, track: usize, chunk: &Chunk) {
        let bytes: Box<[u8]> = chunk.bytes().into();
        let mut ends: Vec<usize> = memchr::memchr_iter(b'\n', &bytes).map(|at| at + 1).collect();
        if ends.last().copied().unwrap_or(0) < bytes.len() {
            ends.push(bytes.len());
        }
        if ends.is_empty() {
            return;
        }
        let done = vec![0; ends.len().div_ceil(64)].into();
        let (first, begin) = (self.next, chunk.place.offset);
        let batch = Batch { track, first, begin, bytes, ends: ends.into(), done, prefix: 0 };
        self.next += batch.ends.len() as u64;
        self.held += batch.size();
        self.pending.entry(track).or_default().push_back(first);
        self.batches.push_back(batch);
    }

    /// Bytes that are held.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether everything of the partition has been acknowledged.
    pub(super) fn is_clear(&self, track: usize) -> bool {
        !self.pending.contains_key(&track)
    }

    /// Whether there are lines that have not been sent since the last [`rewind`](Self::rewind).
    pub(super) fn has_more(&self) -> bool {
        self.cursor < self.next
    }

    /// Lines that have not been acknowledged.
    pub(super) fn lines(&self) -> u64 {
        let open = |batch: &Batch| batch.done.iter().map(|bits| u64::from(bits.count_ones())).sum::<u64>();
        self.batches.iter().map(|batch| batch.ends.len() as u64 - open(batch)).sum()
    }

    fn at(&self, number: u64) -> Option<usize> {
        let at = self.batches.partition_point(|batch| batch.first <= number).checked_sub(1)?;
        let batch = &self.batches[at];
        (number - batch.first < batch.ends.len() as u64).then_some(at)
    }

    /// The next line to send; the same until it is [`sent`](Self::sent).
    pub(super) fn line(&mut self) -> Option<Line<'_>> {
        while self.cursor < self.next {
            let Some(at) = self.at(self.cursor) else {
                // Everything before the first batch has been acknowledged.
                self.cursor =
                    self.batches.front().map_or(self.next, |batch| batch.first.max(self.cursor + 1));
                continue;
            };
            let line = (self.cursor - self.batches[at].first) as usize;
            if self.batches[at].is_done(line) {
                self.cursor += 1;
                continue;
            }
            return self.line_of(self.cursor);
        }
        None
    }

    /// Line `number`, unless it was acknowledged.
    pub(super) fn line_of(&self, number: u64) -> Option<Line<'_>> {
        let batch = &self.batches[self.at(number)?];
        let line = (number - batch.first) as usize;
        let text = &batch.bytes[batch.range(line)];
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        (!batch.is_done(line)).then_some(Line { number, track: batch.track, text })
    }

    /// The line that is next to send has been.
    pub(super) fn sent(&mut self) {
        self.cursor += 1;
    }

    /// Everything that has not been acknowledged is to be sent again; returns how many lines that
    /// are.
    pub(super) fn rewind(&mut self) -> u64 {
        let first = self.batches.front().map_or(self.next, |batch| batch.first);
        let from = (first..self.cursor).filter(|number| self.line_of(*number).is_some()).count() as u64;
        self.cursor = first.min(self.cursor);
        from
    }

    /// Lines that have not been sent are not sent any more.
    pub(super) fn truncate(&mut self) {
        while let Some(batch) = self.batches.back_mut() {
            let kept = usize::try_from(self.cursor.saturating_sub(batch.first)).unwrap_or(usize::MAX);
            if kept >= batch.ends.len() {
                break;
            }
            if kept > 0 {
                self.held -= batch.size();
                batch.ends = batch.ends[..kept].into();
                batch.bytes = batch.bytes[..batch.ends[kept - 1]].into();
                for line in kept..batch.done.len() * 64 {
                    batch.done[line / 64] &= !(1 << (line % 64));
                }
                self.held += batch.size();
                break;
            }
            self.held -= batch.size();
            if let Some(pending) = self.pending.get_mut(&batch.track) {
                pending.pop_back();
                if pending.is_empty() {
                    self.pending.remove(&batch.track);
                }
            }
            self.batches.pop_back();
        }
        self.next = self.batches.back().map_or(self.cursor, |batch| batch.first + batch.ends.len() as u64);
        self.cursor = self.cursor.min(self.next);
        // What was acknowledged of it, all of it, has been handed out already, or is behind a gap.
        self.drop_done();
    }

    /// Line `number` has been acknowledged; `each` is told what that makes of its partition.
    pub(super) fn done(&mut self, number: u64, each: &mut dyn FnMut(Acknowledged<'_>)) {
        let Some(at) = self.at(number) else { return };
        let batch = &mut self.batches[at];
        let line = (number - batch.first) as usize;
        batch.done[line / 64] |= 1 << (line % 64);
        self.advance(self.batches[at].track, each);
    }

    /// Line `number` can never be: that is as good.
    pub(super) fn refuse(&mut self, number: u64, each: &mut dyn FnMut(Acknowledged<'_>)) {
        self.refused.insert(number);
        self.done(number, each);
    }

    /// All lines up to `number` have been.
    pub(super) fn done_up_to(&mut self, number: u64, each: &mut dyn FnMut(Acknowledged<'_>)) {
        let mut tracks = Vec::new();
        for batch in self.batches.iter_mut().take_while(|batch| batch.first <= number) {
            let lines = (number - batch.first + 1).min(batch.ends.len() as u64) as usize;
            for line in batch.prefix..lines {
                batch.done[line / 64] |= 1 << (line % 64);
            }
            tracks.push(batch.track);
        }
        tracks.sort_unstable();
        tracks.dedup();
        tracks.into_iter().for_each(|track| self.advance(track, each));
    }

    fn advance(&mut self, track: usize, each: &mut dyn FnMut(Acknowledged<'_>)) {
        while let Some(first) = self.pending.get(&track).and_then(|pending| pending.front().copied()) {
            let Some(at) = self.at(first) else { break };
            let batch = &mut self.batches[at];
            let from = batch.prefix;
            while batch.prefix < batch.ends.len() && batch.is_done(batch.prefix) {
                batch.prefix += 1;
            }
            if batch.prefix > from {
                let (begin, end) = (batch.range(from).start, batch.ends[batch.prefix - 1]);
                let (mut lines, mut size) = ((batch.prefix - from) as u64, (end - begin) as u64);
                let numbers = batch.first + from as u64..batch.first + batch.prefix as u64;
                while let Some(refused) = self.refused.range(numbers.clone()).next().copied() {
                    self.refused.remove(&refused);
                    lines -= 1;
                    size -= batch.range((refused - batch.first) as usize).len() as u64;
                }
                each(Acknowledged {
                    track,
                    offset: batch.begin + begin as u64,
                    bytes: &batch.bytes[begin..end],
                    lines,
                    size,
                });
            }
            if batch.prefix < batch.ends.len() {
                break;
            }
            if let Some(pending) = self.pending.get_mut(&track) {
                pending.pop_front();
                if pending.is_empty() {
                    self.pending.remove(&track);
                }
            }
        }
        self.drop_done();
    }

    fn drop_done(&mut self) {
        while let Some(batch) = self.batches.pop_front_if(|batch| batch.prefix == batch.ends.len()) {
            self.held -= batch.size();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(outbox: &mut Outbox, track: usize, offset: u64, text: &str) {
        outbox.push(track, &Chunk::from_bytes("test:", offset, text.as_bytes()));
    }

    fn text(outbox: &mut Outbox) -> Option<(u64, String)> {
        outbox.line().map(|line| (line.number, String::from_utf8_lossy(line.text).into_owned()))
    }

    /// Sends all, and returns what was sent.
    fn send(outbox: &mut Outbox) -> Vec<String> {
        let mut sent = Vec::new();
        while let Some((_, line)) = text(outbox) {
            sent.push(line);
            outbox.sent();
        }
        sent
    }

    type Told = Vec<(usize, u64, String)>;

    fn done(outbox: &mut Outbox, number: u64) -> Told {
        let mut told = Vec::new();
        outbox.done(number, &mut |it| {
            told.push((it.track, it.offset, String::from_utf8_lossy(it.bytes).into_owned()));
        });
        told
    }

    #[test]
    fn what_is_acknowledged_out_of_order_counts_once_the_gap_is_filled() {
        let mut outbox = Outbox::default();
        push(&mut outbox, 1, 10, "a\nb\r\nc\n");
        push(&mut outbox, 2, 0, "x\ny");
        push(&mut outbox, 1, 17, "d\n");
        assert_eq!(send(&mut outbox), ["a", "b", "c", "x", "y", "d"]);
        assert_eq!(done(&mut outbox, 1), []);
        assert_eq!(done(&mut outbox, 4), []);
        assert_eq!(done(&mut outbox, 5), []);
        assert_eq!(done(&mut outbox, 0), [(1, 10, "a\nb\r\n".to_owned())]);
        assert_eq!(outbox.lines(), 2);
        let mut counted = (0, 0);
        outbox.refuse(3, &mut |it| counted = (it.lines, it.size));
        assert_eq!(counted, (1, 1), "of x, which was refused, and y");
        assert!(outbox.is_clear(2) && !outbox.is_clear(1));
        assert_eq!(outbox.rewind(), 1);
        assert_eq!(send(&mut outbox), ["c"]);
        assert_eq!(done(&mut outbox, 2), [(1, 15, "c\n".to_owned()), (1, 17, "d\n".to_owned())]);
        assert!(outbox.is_empty() && outbox.held() == 0 && outbox.pending.is_empty());
        assert_eq!(done(&mut outbox, 2), [], "said twice");
    }

    #[test]
    fn what_was_not_sent_can_be_left_out() {
        let mut outbox = Outbox::default();
        push(&mut outbox, 1, 0, "a\nb\nc\n");
        push(&mut outbox, 1, 6, "d\n");
        push(&mut outbox, 2, 0, "e\n");
        outbox.sent();
        outbox.sent();
        outbox.truncate();
        assert!(!outbox.has_more() && outbox.lines() == 2 && outbox.is_clear(2));
        assert_eq!(outbox.rewind(), 2);
        assert_eq!(send(&mut outbox), ["a", "b"]);
        let mut last = 0;
        outbox.done_up_to(1, &mut |it| last = it.offset + it.bytes.len() as u64);
        assert_eq!(last, 4);
        assert!(outbox.is_empty() && outbox.held() == 0);
        push(&mut outbox, 1, 4, "c\n");
        assert_eq!(send(&mut outbox), ["c"]);
    }
}
