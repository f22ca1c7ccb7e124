//! Chunks to records, handed to the doors in blocks.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::InputCounts;
use super::door::Door;
use crate::format::Format;
use crate::runtime::{self, Progress};
use crate::source::{Chunk, Place};

/// A record with the line that it was read from.
///
/// It dereferences to the record, so a door's function can say `record.status` of it.
pub struct Parsed<'a, F: Format> {
    record: F::Record<'a>,
    line: &'a [u8],
}

impl<'a, F: Format> Parsed<'a, F> {
    /// The line, without its line end.
    pub fn line(&self) -> &'a [u8] {
        self.line
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
pub(super) struct BlockReader<F> {
    format: F,
    /// What became of the lines since this was last taken.
    pub(super) counts: InputCounts,
    progress: Arc<Progress>,
    /// How many malformed and how many oversize lines may still be shown.
    samples: [usize; 2],
}

impl<F: Format> BlockReader<F> {
    /// Records handed on at once: enough to spread the cost of a dynamic call, few enough to stay in the first cache.
    const BLOCK: usize = 128;
    /// Malformed lines, and oversize lines, that each worker shows in the log.
    const SAMPLES: usize = 3;
    /// Bytes of a malformed line that are shown.
    const SHOWN: usize = 120;

    pub(super) fn new(format: F, progress: Arc<Progress>) -> Self {
        BlockReader { format, counts: InputCounts::default(), progress, samples: [Self::SAMPLES; 2] }
    }

    pub(super) fn read(&mut self, chunk: &Chunk, doors: &mut [Box<dyn Door<F>>]) {
        let mut block = Vec::with_capacity(Self::BLOCK);
        let (mut lines, mut malformed) = (0, 0);
        for (offset, line) in chunk.lines() {
            lines += 1;
            match self.format.parse(line) {
                Some(record) => block.push(Parsed { record, line }),
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
