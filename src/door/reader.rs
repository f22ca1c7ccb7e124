//! Chunks to records, handed to the doors in blocks.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};

use crate::data::{InputCounts, escape_terminal};
use crate::door::Lines;
use crate::door::place::working_on;
use crate::door::refusals::Marks;
use crate::door::rejects::Rejects;
use crate::door::summing::Door;
use crate::door::wrapping::{Unwrapped, Unwrapping, Wrapping};
use crate::time::Time;
use crate::time::TimeOptions;
use crate::time::{Clock, EventTime, MOST, Millis, TimeRange, Watermark, millis};

use crate::door::fault::{FatalLine, FaultProbe};
use crate::door::feed::Observations;
use crate::format::{Emit, Fields, Format, Scratch, WholeLines};
use crate::ledger::{bytes_digest, digest_sum, line_digest};
use crate::source::{Chunk, PartitionId, Place, Progress};

/// A record with the line that it was read from.
///
/// It dereferences to the record, so a door's function can say `record.status` of it.
pub struct Parsed<'a, F: Format> {
    record: F::Record<'a>,
    line: &'a [u8],
    /// Offset of the line in its partition.
    offset: u64,
    time: Option<Millis>,
    /// Whether it is dated too far ahead of its arrival.
    ahead: bool,
    /// Where it stands in its block.
    place: u8,
    origin: &'a Origin,
}

/// What the records of a chunk have in common.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// The chunk's partition: what has the lower number is older where nothing else tells.
    pub(super) partition: PartitionId,
    /// What that is called.
    pub(super) name: Arc<str>,
    pub(super) arrived: Millis,
    /// As the epoch began.
    pub(super) watermark: Watermark,
    /// What is around the lines, if anything is.
    pub(super) wrapping: Option<Rc<Wrapping>>,
}

/// Where a record stands in the order in which records arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Arrival {
    partition: PartitionId,
    offset: u64,
}

#[cfg(test)]
impl Arrival {
    /// The line at `offset` of the only partition.
    pub(super) fn at(offset: u64) -> Self {
        Arrival { partition: PartitionId(0), offset }
    }
}

impl<'a, F: Format> Parsed<'a, F> {
    /// A record that is a fact.
    pub(super) fn fact(record: F::Record<'a>, offset: u64, origin: &'a Origin) -> Self {
        Parsed { record, line: b"", offset, time: None, ahead: false, place: 0, origin }
    }

    /// The same at `time`.
    pub(super) fn at(self, time: Option<Millis>) -> Self {
        Parsed { time, ..self }
    }

    /// The line, without its line end.
    pub fn line(&self) -> &'a [u8] {
        self.line
    }

    /// When it happened: by the clock that the run goes by
    /// ([`TimeOptions::clock`](super::TimeOptions)). `None` if the record tells no time or one too far ahead, or if nobody
    /// has a function for it ([`Records::event_time`](super::Records::event_time)).
    #[inline]
    pub fn time(&self) -> Option<Time> {
        self.time.map(Time)
    }

    #[inline]
    pub(super) fn millis(&self) -> Option<Millis> {
        self.time
    }

    /// When the chunk that has its line arrived. Of facts, that is when their epoch was opened for doors that go by time,
    /// as far as these know it: the watermark then.
    #[inline]
    pub fn arrived(&self) -> Time {
        Time(self.origin.arrived)
    }

    /// The partition that its line stands in, such as a file's path; empty for facts.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// use thalweg::testing::Script;
    /// let build = Build::new("where", |flow| {
    ///     let lines = flow.records(Text);
    ///     lines.by((text("file"), number("offset")), |line| Some((line.partition().as_bytes(), line.offset() as i64))).collect("lines").show("lines");
    ///     Ok(())
    /// });
    /// let answer = Script::new(build).epoch_of(&[("a.log", b"one\ntwo\n"), ("b.log", b"three\n")]).run();
    /// assert_eq!(answer.view("lines"), ["a.log\t0", "a.log\t4", "b.log\t0"]);
    /// ```
    #[inline]
    pub fn partition(&self) -> &'a str {
        &self.origin.name
    }

    /// What a directory above its file says of `key`: `2024-03-14` for `day` in `logs/day=2024-03-14/a.log`.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// use thalweg::testing::Script;
    /// let build = Build::new("days", |flow| {
    ///     let lines = flow.records(Text);
    ///     lines.by(text("day"), |line| line.directory("day").map(str::as_bytes)).count("days").show("days");
    ///     Ok(())
    /// });
    /// let files: [(&str, &[u8]); 3] = [("logs/day=1/a.log", b"one\ntwo\n"), ("logs/day=2/b.log", b"three\n"), ("c.log", b"four\n")];
    /// assert_eq!(Script::new(build).epoch_of(&files).run().view("days"), ["1\t2", "2\t1"]);
    /// ```
    pub fn directory(&self, key: &str) -> Option<&'a str> {
        let (directories, _) = self.partition().rsplit_once('/')?;
        directories.rsplit('/').find_map(|name| name.strip_prefix(key)?.strip_prefix('='))
    }

    /// What the envelope of its line says of `name`, if its source peels one off ([`envelope`](crate::envelope) lists the fields),
    /// or what the path says of the container that wrote it.
    ///
    /// ```
    /// use thalweg::envelope::{Envelope, EnvelopeKind};
    /// use thalweg::prelude::*;
    /// use thalweg::testing::Script;
    /// let build = Build::new("pods", |flow| {
    ///     let lines = flow.records(Text);
    ///     let by = lines.by((text("pod"), text("stream")), |line| Some((line.envelope("pod")?, line.envelope("stream")?)));
    ///     by.count("pods").show("pods");
    ///     Ok(())
    /// });
    /// let path = "file:/var/log/pods/shop_web_8a7c/nginx/0.log";
    /// let lines: &[u8] = b"2016-10-06T00:17:09Z stdout F one\n2016-10-06T00:17:10Z stderr F two\n";
    /// let script = Script::new(build).in_envelope(Envelope::new(EnvelopeKind::Cri));
    /// assert_eq!(script.epoch_of(&[(path, lines)]).run().view("pods"), ["web\tstderr\t1", "web\tstdout\t1"]);
    /// ```
    pub fn envelope(&self, name: &str) -> Option<&'a [u8]> {
        self.origin.wrapping.as_ref()?.get(self.offset, name)
    }

    /// Where its line begins in the partition, in bytes (of what is decompressed), or what its source counts: messages.
    #[inline]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether it is quarantined: dated further ahead of its arrival than the run allows
    /// ([`TimeOptions::max_ahead`](super::TimeOptions)).
    #[inline]
    pub fn is_ahead(&self) -> bool {
        self.ahead
    }

    /// The watermark as the record's epoch began: what is before it is late.
    #[inline]
    pub fn watermark(&self) -> Watermark {
        self.origin.watermark
    }

    /// When the envelope of its line says that it was written.
    #[inline]
    fn time_around(&self) -> Option<Millis> {
        let wrapping = self.origin.wrapping.as_ref()?;
        Some(wrapping.time(self.offset)?.0)
    }

    /// Where it stands in the block that doors are given.
    #[inline]
    pub(super) fn place(&self) -> u8 {
        self.place
    }

    /// Where it stands in the order of arrival.
    #[inline]
    pub(super) fn arrival(&self) -> Arrival {
        Arrival { partition: self.origin.partition, offset: self.offset }
    }
}

impl<'a, F: Format> std::ops::Deref for Parsed<'a, F> {
    type Target = F::Record<'a>;
    #[inline]
    fn deref(&self) -> &F::Record<'a> {
        &self.record
    }
}

impl<F: Format> std::fmt::Debug for Parsed<'_, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Parsed(\"{}\")", self.line.escape_ascii())
    }
}

/// Parses chunks and hands the records to the doors in blocks.
pub(super) struct BlockReader<F: Format> {
    format: F,
    /// Which fields of the records anybody reads.
    pub(super) fields: Fields,
    /// Where a line is put that ends the run.
    faults: FaultProbe,
    /// What became of the lines since this was last taken.
    pub(super) counts: InputCounts,
    progress: Arc<Progress>,
    /// Where lines go of which no records come, if anybody wants them.
    rejects: Option<Rejects>,
    /// How many malformed and how many oversize lines may still be shown.
    samples: [usize; 2],
    scratch: Scratch,
    /// The partition that was read last, and the newest time that was read of it.
    partition: Option<PartitionId>,
    newest: Option<Millis>,
    /// What peels their envelopes off lines, if they have any.
    unwrapping: Unwrapping,
    /// How they get their times, if they do.
    pub(super) times: Option<Times<F>>,
    /// Whether no other reader counts and digests the same lines.
    first: bool,
    /// Which records of the block doors have refused as too late.
    marks: Marks,
}

/// How records get their times, and what came of it.
pub(super) struct Times<F: Format> {
    options: TimeOptions,
    time: Box<TimeOf<F>>,
    now: Rc<Cell<EventTime>>,
}

/// What a record says of its time.
pub(super) type TimeOf<F> = dyn for<'a> Fn(&Parsed<'a, F>) -> Option<Millis>;

impl<F: Format> Times<F> {
    /// When `record` happened, by what it says itself.
    pub(super) fn of(&self, record: &Parsed<'_, F>) -> Option<Millis> {
        (self.time)(record).filter(|time| (-MOST..=MOST).contains(time))
    }

    pub(super) fn new(options: TimeOptions, time: Box<TimeOf<F>>, now: Rc<Cell<EventTime>>) -> Self {
        Times { options, time, now }
    }
}

impl<F: Format> BlockReader<F> {
    /// Records handed on at once: enough to spread the cost of a dynamic call, few enough to stay in the first cache.
    pub(super) const BLOCK: usize = 128;
    /// Malformed lines, and oversize lines, that each worker shows in the log.
    const SAMPLES: usize = 3;

    /// Reads `lines` with `format`; `first` if nobody else counts them.
    pub(super) fn new(format: F, lines: &Lines<'_>, first: bool, marks: Marks) -> Self {
        BlockReader {
            format,
            fields: Fields::ALL,
            faults: lines.faults(),
            counts: InputCounts::default(),
            progress: Arc::clone(&lines.progress),
            rejects: lines.rejects.clone().filter(|_| first),
            samples: [Self::SAMPLES; 2],
            scratch: Scratch::default(),
            partition: None,
            newest: None,
            unwrapping: Unwrapping::default(),
            times: None,
            first,
            marks,
        }
    }

    /// Reads `chunk`, hands its records to `doors`, and tells `observations` what they were.
    ///
    /// Returns whether the run can go on: if not, the chunk has a line that ends it.
    #[must_use]
    pub(super) fn read(
        &mut self,
        raw: &Rc<Chunk>,
        doors: &mut [Box<dyn Door<F>>],
        observations: &mut Observations,
    ) -> bool {
        let watermark = self.times.as_ref().map_or(Watermark::NONE, |times| times.now.get().watermark);
        let name = Arc::clone(&raw.place.partition);
        let horizon = self
            .times
            .as_ref()
            .map_or(MOST, |times| raw.arrived.0.saturating_add(millis(times.options.max_ahead)).min(MOST));
        if self.partition.replace(raw.partition) != Some(raw.partition) {
            match raw.envelope {
                None => self.format.partition(raw.partition.0, &raw.head),
                Some(envelope) => {
                    let head = self.unwrapping.head(envelope, &raw.head);
                    self.format.partition(raw.partition.0, &head);
                }
            }
            self.newest = None;
        }
        let unwrapped = raw.envelope.map(|envelope| self.unwrapping.peel(envelope, raw));
        let chunk = unwrapped.as_ref().map_or(&**raw, |it| &it.chunk);
        let wrapping = unwrapped.as_ref().map(|it| Rc::clone(&it.wrapping));
        let origin = Origin { partition: raw.partition, name, arrived: raw.arrived.0, watermark, wrapping };
        self.scratch.clear();
        let mut blocks = Blocks {
            scratch: &self.scratch,
            neighbours: Neighbours::new(self.times.as_ref(), self.newest),
            held: Vec::new(),
            block: Vec::with_capacity(Self::BLOCK),
            doors,
            origin: &origin,
            times: self.times.as_ref(),
            // A clock that was set back, or files that were planned long ago beside a live source: nothing that has
            // just arrived is late by its arrival.
            arrived: raw.arrived.0.max(watermark.millis().unwrap_or(Millis::MIN)),
            horizon,
            chunk,
            samples: &mut self.samples[0],
            rejected: self.rejects.as_ref().map(|_| Vec::new()),
            marks: &self.marks,
            late_records: 0,
            parsed: 0,
            malformed: 0,
            untimed: 0,
            ahead: 0,
            range: TimeRange::NOTHING,
            fatal: None,
        };
        if let Some(Unwrapped { malformed, .. }) = &unwrapped {
            malformed.iter().for_each(|line| blocks.in_no_envelope(raw, line.clone()));
        }
        let lines = WholeLines::with_readable(chunk.readable(), chunk.bytes().len());
        self.format.read(lines.expect("a chunk's lines are readable"), self.fields, &mut blocks);
        blocks.release(false);
        blocks.hand_over();
        self.newest = blocks.neighbours.newest;
        let Blocks { parsed, malformed, late_records, untimed, ahead, range, fatal, rejected, .. } = blocks;
        let joined = unwrapped.as_ref().map_or(&[][..], |it| &it.oversize);
        let all_oversize = || raw.oversize.iter().chain(joined);
        if let (Some(rejects), Some(mut lines)) = (&self.rejects, rejected) {
            all_oversize().for_each(|oversize| push_line(&mut lines, &oversize.sample));
            rejects.put(&lines);
        }
        if let Some(line) = fatal {
            self.faults.set(line);
            return false;
        }

        for oversize in all_oversize() {
            if self.samples[1] > 0 {
                show(
                    &mut self.samples[1],
                    "oversize",
                    &oversize.place,
                    "longer than lines may be",
                    &oversize.sample,
                );
            }
        }
        // In a pass of its own: hardly any run wants it, and the loop above is the hottest there is.
        let wanted = self.first && observations.digest;
        let digest = if wanted { digest(raw) } else { 0 };
        let oversize = all_oversize().count() as i64;
        self.counts.untimed += untimed;
        self.counts.late_records += late_records;
        self.counts.ahead += ahead;
        let lines = parsed + malformed;
        let seen = if self.first { (lines + oversize) as u64 } else { 0 };
        observations.add(raw.partition, seen, digest, range);
        self.counts.lines += lines + oversize;
        self.counts.parsed += parsed;
        self.counts.malformed += malformed;
        self.counts.oversize += oversize;
        self.counts.bytes += raw.consumed as i64;
        self.progress.bytes.fetch_add(raw.consumed, Relaxed);
        self.progress.lines.fetch_add((lines + oversize) as u64, Relaxed);
        true
    }
}

/// What becomes of the lines of one chunk: blocks of records for the doors, and counts.
struct Blocks<'c, 'a, F: Format> {
    block: Vec<Parsed<'a, F>>,
    doors: &'c mut [Box<dyn Door<F>>],
    origin: &'a Origin,
    times: Option<&'c Times<F>>,
    /// When the chunk arrived, and not before the watermark.
    arrived: Millis,
    /// A record dated after this is quarantined.
    horizon: Millis,
    chunk: &'c Chunk,
    /// How many malformed lines may still be shown.
    samples: &'c mut usize,
    /// The lines of which no records come, if anybody wants them.
    rejected: Option<Vec<u8>>,
    marks: &'c Cell<u128>,
    late_records: i64,
    parsed: i64,
    malformed: i64,
    untimed: i64,
    ahead: i64,
    range: TimeRange,
    fatal: Option<FatalLine>,
    scratch: &'a Scratch,
    neighbours: Neighbours,
    /// Records that are ahead of those before them, until it is known whether those behind them are, too.
    held: Vec<Parsed<'a, F>>,
}

/// Which records are so far ahead of their neighbours that a clock must be wrong.
///
/// In an old log the arrival is no guide. There a record, or two, are set aside that are dated further ahead, six times what a
/// record may be ahead of its arrival, of both the newest before them and what follows them in their chunk. If what follows is as
/// new, time has gone by, as in any log that has had nothing to tell for a while. (Six times: logs that were put
/// together by client or by host are out of order by that much, and no clock is wrong.)
#[derive(Debug)]
struct Neighbours {
    newest: Option<Millis>,
    /// How far ahead of its neighbours a record may be.
    bound: Millis,
    /// How much older than its arrival a record is of an old log.
    max_ahead: Millis,
}

impl Neighbours {
    /// So many records in a row may be those of one fast clock.
    const HELD: usize = 2;

    fn new<F: Format>(times: Option<&Times<F>>, newest: Option<Millis>) -> Self {
        let known = times.map(|times| times.now.get().newest).filter(|newest| *newest > Millis::MIN);
        let max_ahead = times.map_or(MOST, |it| millis(it.options.max_ahead));
        Neighbours { newest: newest.max(known), bound: max_ahead.saturating_mul(6), max_ahead }
    }

    /// Whether `time` is further ahead of what came before than a record may be, in a log that is itself that old at `arrived`.
    #[inline]
    fn are_behind(&self, time: Millis, arrived: Millis) -> bool {
        self.newest.is_some_and(|newest| time.saturating_sub(newest) > self.bound)
            && arrived.saturating_sub(time) > self.max_ahead
    }
}

impl<'a, F: Format> Blocks<'_, 'a, F> {
    /// Takes the last record of the block, which is ahead of those before it or follows such a one.
    #[cold]
    fn hold(&mut self, jumps: bool) {
        let Some(record) = self.block.pop() else { return };
        let first = self.held.first().and_then(|held| held.time).zip(record.time);
        let falls_back = first.is_some_and(|(held, time)| held.saturating_sub(time) > self.neighbours.bound);
        if jumps && !falls_back && self.held.len() < Neighbours::HELD {
            return self.held.push(record);
        }
        self.release(falls_back);
        self.neighbours.newest = self.neighbours.newest.max(record.time);
        self.push(record);
    }

    /// Lets go of what is held: as records whose clock is wrong, or else as what they are.
    fn release(&mut self, wrong: bool) {
        for mut record in std::mem::take(&mut self.held) {
            if wrong {
                (record.ahead, record.time) = (true, None);
                self.ahead += 1;
            }
            self.neighbours.newest = self.neighbours.newest.max(record.time);
            self.push(record);
        }
    }

    /// Gives the last record of the block its time.
    #[inline(always)]
    fn time(&mut self, times: &Times<F>) {
        let Some(record) = self.block.last_mut() else { return };
        let time = if times.options.clock == Clock::Arrival {
            Some(self.arrived)
        } else {
            // What tells no time itself has that of its envelope.
            let found = (times.time)(record).or_else(|| record.time_around());
            let found = found.filter(|time| *time >= -MOST);
            self.untimed += i64::from(found.is_none());
            record.ahead = found.is_some_and(|time| time > self.horizon);
            self.ahead += i64::from(record.ahead);
            let time = found.filter(|time| *time <= self.horizon);
            if let Some(time) = time {
                let jumps = self.neighbours.are_behind(time, self.arrived);
                if jumps || !self.held.is_empty() {
                    record.time = Some(time);
                    return self.hold(jumps);
                }
                self.neighbours.newest = self.neighbours.newest.max(Some(time));
            }
            time
        };
        record.time = time;
        let (line, ahead) = (record.line, record.ahead);
        self.take_in(time, line, ahead);
    }

    /// Takes in what the last record of the block says of its time, and hands the block over when it is full.
    #[inline(always)]
    fn take_in(&mut self, time: Option<Millis>, line: &'a [u8], ahead: bool) {
        if let Some(time) = time {
            self.range.include(time);
        }
        if ahead {
            // Not by its offset, which may be counted in messages: by where it stands in memory.
            let begin = self.chunk.bytes().as_ptr().addr();
            let position = line.as_ptr().addr().checked_sub(begin);
            // A format of somebody's own may hand over something else than its line.
            if let Some(position) = position.filter(|it| *it <= self.chunk.bytes().len()) {
                self.reject(position, line);
            }
        }
        if self.block.len() == BlockReader::<F>::BLOCK {
            self.hand_over();
        }
    }

    fn push(&mut self, mut record: Parsed<'a, F>) {
        record.place = self.block.len() as u8;
        let (time, line, ahead) = (record.time, record.line, record.ahead);
        self.block.push(record);
        self.take_in(time, line, ahead);
    }

    /// Hands the block to the doors.
    fn hand_over(&mut self) {
        if let (Some(first), Some(last)) = (self.block.first(), self.block.last()) {
            let (doors, block) = (&mut self.doors, &self.block);
            working_on(&self.origin.name, first.offset, last.offset, || {
                doors.iter_mut().for_each(|door| door.absorb(block));
            });
            self.late_records += i64::from(self.marks.take().count_ones());
        }
        self.block.clear();
    }

    /// Keeps the line at `offset`, if anybody wants it.
    #[cold]
    fn reject(&mut self, offset: usize, line: &[u8]) {
        if let Some(rejected) = &mut self.rejected {
            if let Some(wrapping) = &self.origin.wrapping {
                return wrapping.reject(self.chunk.offset_of(offset), rejected);
            }
            // As it was read: the CR before its LF is no part of the line that formats see.
            // So are NULs and a byte order mark before it.
            let before = self.chunk.bytes()[..offset].iter().rev();
            let hidden = before.take_while(|byte| matches!(byte, 0 | 0xef | 0xbb | 0xbf)).count();
            rejected.extend_from_slice(&self.chunk.bytes()[offset - hidden..offset]);
            let behind = self.chunk.bytes().get(offset + line.len()..).unwrap_or_default();
            let cr = matches!(behind, [b'\r'] | [b'\r', b'\n', ..]);
            rejected.extend_from_slice(line);
            push_line(rejected, if cr { b"\r" } else { b"" });
        }
    }

    /// The line at `part` of `raw` is in no envelope of the kind that the source peels off.
    #[cold]
    fn in_no_envelope(&mut self, raw: &Chunk, part: std::ops::Range<usize>) {
        let line = raw.bytes().get(part.clone()).unwrap_or_default();
        self.malformed += 1;
        if *self.samples > 0 {
            let partition = Arc::clone(&raw.place.partition);
            let place = Place { partition, offset: raw.offset_of(part.start) };
            let kind = raw.envelope.map_or("", |envelope| envelope.kind.name());
            show(self.samples, "malformed", &place, &format!("not a line in the envelope `{kind}`"), line);
        }
        if let Some(rejected) = &mut self.rejected {
            push_line(rejected, line);
        }
    }

    fn place(&self, offset: usize) -> Place {
        let partition = Arc::clone(&self.chunk.place.partition);
        Place { partition, offset: self.chunk.offset_of(offset) }
    }
}

impl<'a, F: Format> Emit<'a, F::Record<'a>> for Blocks<'_, 'a, F> {
    #[inline(always)]
    fn record(&mut self, offset: usize, line: &'a [u8], record: F::Record<'a>) {
        if self.fatal.is_some() {
            return;
        }
        self.parsed += 1;
        let offset = self.chunk.offset_of(offset);
        // Into its place at once, and looked at there: to build it elsewhere and move it costs a tenth of all.
        let place = self.block.len() as u8;
        self.block.push(Parsed {
            record,
            line,
            offset,
            time: None,
            ahead: false,
            place,
            origin: self.origin,
        });
        if let Some(times) = self.times {
            self.time(times);
        } else if self.block.len() == BlockReader::<F>::BLOCK {
            self.hand_over();
        }
    }

    fn malformed(&mut self, offset: usize, line: &'a [u8]) {
        if self.fatal.is_some() {
            return;
        }
        self.malformed += 1;
        if *self.samples > 0 {
            let place = self.place(offset);
            show(self.samples, "malformed", &place, &unparsed::<F>(), line);
        }
        self.reject(offset, line);
    }

    #[cold]
    fn fatal(&mut self, offset: usize, line: &'a [u8], reason: String) {
        if self.fatal.is_none() {
            self.reject(offset, line);
        }
        let Place { partition, offset } = self.place(offset);
        self.fatal.get_or_insert_with(|| FatalLine { partition, offset, reason, sample: sample(line) });
    }

    fn scratch(&self) -> &'a Scratch {
        self.scratch
    }
}

/// What a chunk adds to the digest of its partition.
fn digest(chunk: &Chunk) -> u64 {
    if !chunk.is_numbered() {
        return bytes_digest(chunk.place.offset, chunk.bytes());
    }
    chunk.lines().fold(0, |sum, (offset, line)| digest_sum(sum, line_digest(offset, line)))
}

/// Why a line is malformed, as far as its format tells: formats say that it is none of theirs, and not yet why.
fn unparsed<F: Format>() -> String {
    format!("not a line of {}", F::name())
}

/// Adds what `lines` ends with, and an LF.
fn push_line(lines: &mut Vec<u8>, end: &[u8]) {
    lines.extend_from_slice(end);
    lines.push(b'\n');
}

/// Bytes of a malformed line that are shown.
const SHOWN: usize = 120;

/// What is shown of a line: its beginning, and a sign if that is not all.
fn sample(line: &[u8]) -> String {
    let cut = if line.len() > SHOWN { "…" } else { "" };
    format!("{}{cut}", line[..line.len().min(SHOWN)].escape_ascii())
}

/// Logs a sample line, in one line whatever is in it. Cold: it is called a handful of times in the life of a worker.
#[cold]
fn show(left: &mut usize, what: &str, place: &Place, reason: &str, line: &[u8]) {
    *left -= 1;
    let last = if *left == 0 { " (this worker shows no more of them)" } else { "" };
    let sample = sample(line);
    let partition = escape_terminal(place.partition.as_bytes());
    log::warn!("{what} line in {partition} at byte {}: {reason}: \"{sample}\"{last}", place.offset);
}
