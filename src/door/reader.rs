//! Chunks to records, handed to the doors in blocks.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};

use crate::data::InputCounts;
use crate::door::feed::Observations;
use crate::door::summing::Door;
use crate::ledger::line_digest;
use crate::time::TimeOptions;
use crate::time::{Clock, EventTime, MOST, Millis, TimeRange, Watermark, millis};

use crate::format::Format;
use crate::runtime;
use crate::source::Progress;
use crate::source::{Chunk, PartitionId, Place};

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
    origin: &'a Origin,
}

/// What the records of a chunk have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    /// The chunk's partition: what has the lower number is older where nothing else tells.
    pub(super) partition: PartitionId,
    /// As the epoch began.
    pub(super) watermark: Watermark,
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
    /// The line, without its line end.
    pub fn line(&self) -> &'a [u8] {
        self.line
    }

    /// When it happened, in milliseconds UTC since 1970: by the clock that the run goes by
    /// ([`TimeOptions::clock`](super::TimeOptions)). `None` if the record tells no time or one too far ahead, or if nobody
    /// has said how it tells it ([`Records::event_time`](super::Records::event_time)).
    #[inline]
    pub fn time(&self) -> Option<i64> {
        self.time
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
    /// What became of the lines since this was last taken.
    pub(super) counts: InputCounts,
    progress: Arc<Progress>,
    /// How many malformed and how many oversize lines may still be shown.
    samples: [usize; 2],
    times: Option<Times<F>>,
    /// Whether no other reader counts and digests the same lines.
    first: bool,
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
    pub(super) fn new(options: TimeOptions, time: Box<TimeOf<F>>, now: Rc<Cell<EventTime>>) -> Self {
        Times { options, time, now }
    }
}

impl<F: Format> BlockReader<F> {
    /// Records handed on at once: enough to spread the cost of a dynamic call, few enough to stay in the first cache.
    const BLOCK: usize = 128;
    /// Malformed lines, and oversize lines, that each worker shows in the log.
    const SAMPLES: usize = 3;
    /// Bytes of a malformed line that are shown.
    const SHOWN: usize = 120;

    pub(super) fn new(format: F, progress: Arc<Progress>, first: bool) -> Self {
        let samples = [Self::SAMPLES; 2];
        BlockReader { format, counts: InputCounts::default(), progress, samples, times: None, first }
    }

    /// From now on, records have times.
    pub(super) fn tell_times(&mut self, times: Times<F>) {
        self.times = Some(times);
    }

    /// Hands the records of `chunk` to the `doors`, and tells `observations` what they were.
    pub(super) fn read(
        &mut self,
        chunk: &Chunk,
        doors: &mut [Box<dyn Door<F>>],
        observations: &mut Observations,
    ) {
        let (wanted, mut digest) = (self.first && observations.digest, 0u64);
        let watermark = self.times.as_ref().map_or(Watermark::NONE, |times| times.now.get().watermark);
        let origin = Origin { partition: chunk.partition, watermark };
        let mut block = Vec::with_capacity(Self::BLOCK);
        let (mut lines, mut malformed) = (0, 0);
        let (mut untimed, mut ahead) = (0, 0);
        let mut range = TimeRange::NOTHING;
        // A clock that was set back, or files that were planned long ago beside a live source: nothing that has just
        // arrived is late by its arrival.
        let arrived = chunk.arrived.max(watermark.time().unwrap_or(Millis::MIN));
        let horizon = self
            .times
            .as_ref()
            .map_or(MOST, |times| chunk.arrived.saturating_add(millis(times.options.max_ahead)).min(MOST));
        for (offset, line) in chunk.lines() {
            lines += 1;
            if wanted {
                digest = digest.wrapping_add(line_digest(offset, line));
            }
            match self.format.parse(line) {
                Some(record) => {
                    let mut record =
                        Parsed { record, line, offset, time: None, ahead: false, origin: &origin };
                    record.time = match &self.times {
                        None => None,
                        Some(times) if times.options.clock == Clock::Arrival => Some(arrived),
                        Some(times) => {
                            let told = (times.time)(&record).filter(|time| *time >= -MOST);
                            untimed += i64::from(told.is_none());
                            record.ahead = told.is_some_and(|time| time > horizon);
                            ahead += i64::from(record.ahead);
                            told.filter(|time| *time <= horizon)
                        }
                    };
                    if let Some(time) = record.time {
                        range.include(time);
                    }
                    block.push(record);
                }
                None => {
                    malformed += 1;
                    if let Some(reason) = self.format.fatal(line) {
                        Self::end(&reason, &Place { offset, ..chunk.place.clone() }, line);
                    }
                    if self.samples[0] > 0 {
                        let place = Place { offset, ..chunk.place.clone() };
                        Self::show(&mut self.samples[0], "malformed", &place, line);
                    }
                }
            }
            if block.len() == Self::BLOCK {
                doors.iter_mut().for_each(|door| door.absorb(&block));
                block.clear();
            }
        }
        doors.iter_mut().for_each(|door| door.absorb(&block));

        for oversize in &chunk.oversize {
            if self.samples[1] > 0 {
                Self::show(&mut self.samples[1], "oversize", &oversize.place, &oversize.sample);
            }
        }
        let oversize = chunk.oversize.len() as i64;
        let seen = if self.first { (lines + oversize) as u64 } else { 0 };
        observations.add(chunk.partition, seen, digest, range);
        self.counts.untimed += untimed;
        self.counts.ahead += ahead;
        self.counts.lines += lines + oversize;
        self.counts.parsed += lines - malformed;
        self.counts.malformed += malformed;
        self.counts.oversize += oversize;
        self.counts.bytes += chunk.consumed as i64;
        self.progress.bytes.fetch_add(chunk.consumed, Relaxed);
        self.progress.lines.fetch_add((lines + oversize) as u64, Relaxed);
    }

    /// Ends the process at a malformed line, because the format says so.
    #[cold]
    fn end(reason: &str, place: &Place, line: &[u8]) -> ! {
        let (shown, cut) = Self::cut(line);
        let Place { partition, offset, .. } = place;
        let reason = format!("malformed line in {partition} at byte {offset}: {reason}: \"{shown}{cut}\"");
        runtime::end(runtime::Exit::Input, reason)
    }

    /// What is shown of a line, and the sign that it is not all.
    fn cut(line: &[u8]) -> (impl std::fmt::Display, &'static str) {
        let cut = if line.len() > Self::SHOWN { "…" } else { "" };
        (line[..line.len().min(Self::SHOWN)].escape_ascii(), cut)
    }

    /// Logs a sample line. Cold: it is called a handful of times in the life of a worker.
    #[cold]
    fn show(left: &mut usize, what: &str, place: &Place, line: &[u8]) {
        *left -= 1;
        let (shown, cut) = Self::cut(line);
        let last = if *left == 0 { " (this worker shows no more of them)" } else { "" };
        log::warn!("{what} line in {} at byte {}: \"{shown}{cut}\"{last}", place.partition, place.offset);
    }
}
