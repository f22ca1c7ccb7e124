//! One worker's input: from its readers into the dataflow, epoch by epoch, within its credits.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use timely::container::CapacityContainerBuilder;
use timely::dataflow::InputHandle;

use crate::door::{End, Event, WatermarkProbe};
use crate::runtime::stop::{Stop, Stopping};
use crate::runtime::{Settings, clock};
use crate::source::{Plan, Pool, Reader, SourceError, Step};
use crate::time::Epoch;

pub(super) type Input = InputHandle<Epoch, CapacityContainerBuilder<Vec<Event>>>;

/// What a turn of [`Ingest`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// There may be more to do at once.
    Busy,
    /// Nothing to do until the dataflow moves, a source wakes the worker, or so much time has passed.
    Wait(Duration),
}

/// A reader, and what it has said of the open epoch.
#[derive(Debug)]
struct Source {
    reader: Box<dyn Reader>,
    /// Whether its epochs end by the clock rather than by plan.
    live: bool,
    /// Whether it has given all of the open epoch.
    ended: bool,
}

pub(super) struct Ingest {
    sources: Vec<Source>,
    /// `None` once the input is closed.
    input: Option<Input>,
    pool: Pool,
    /// Number of the open epoch.
    epoch: u64,
    /// Bytes of the open epoch so far.
    bytes: u64,
    /// Whether anything was said of the open epoch: a chunk, or that it has ended.
    begun: bool,
    since: Instant,
    /// Bytes of the epochs that this worker has ended and that are not closed everywhere, oldest first.
    open: VecDeque<u64>,
    tick: Duration,
    epoch_bytes: u64,
    max_open_epochs: u64,
    max_open_bytes: u64,
    /// Where each planned partition stands among all; live ones come after.
    order: HashMap<Arc<str>, u32>,
    /// When the files were found.
    planned_at: i64,
    /// When the open epoch began, or, as long as it has not, the last look at the clock.
    epoch_at: i64,
    watermark: WatermarkProbe,
    /// Whether no new epoch is to be begun for now.
    held: bool,
}

/// The longest wait: something else may have been asked for in the meantime, and the watchdog wants signs of life.
pub(super) const LONGEST_WAIT: Duration = Duration::from_millis(50);

impl Ingest {
    /// `worker` of `peers` reads its share of `plan`, and what is `live`; an epoch is not begun before `watermark` knows it.
    pub(super) fn new(
        (worker, peers): (usize, usize),
        plan: &Plan,
        live: Vec<Box<dyn Reader>>,
        input: Input,
        watermark: WatermarkProbe,
        settings: &Settings,
    ) -> Self {
        let planned = plan.readers(worker, peers);
        let source = |live| move |reader| Source { reader, live, ended: false };
        Ingest {
            sources: planned
                .into_iter()
                .map(source(false))
                .chain(live.into_iter().map(source(true)))
                .collect(),
            input: Some(input),
            pool: Pool::default(),
            epoch: 0,
            bytes: 0,
            begun: false,
            since: clock::now(),
            open: VecDeque::new(),
            tick: settings.tick,
            epoch_bytes: settings.plan.epoch_bytes,
            max_open_epochs: settings.max_open_epochs.max(1),
            max_open_bytes: settings.max_open_bytes,
            order: (0..).zip(plan.files()).map(|(at, file)| (file.partition(), at)).collect(),
            planned_at: plan.arrival(),
            epoch_at: clock::millis(),
            watermark,
            held: false,
        }
    }

    /// Whether no new epoch is to be begun for now, because a sink has enough to do.
    pub(super) fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// The first epoch that this worker has something of and that is not closed, with `closed` epochs closed; as of the
    /// last turn.
    pub(super) fn waiting_for(&self, closed: u64) -> Option<u64> {
        (!self.open.is_empty() || self.begun).then_some(closed)
    }

    /// Reads at most a chunk, and ends the epoch if it is time; `closed` is how many epochs are closed everywhere.
    pub(super) fn turn(&mut self, closed: u64, stop: &mut Stop) -> Result<Turn, SourceError> {
        while self.open.len() as u64 > self.epoch.saturating_sub(closed) {
            self.open.pop_front();
        }
        let stopping = stop.look(self.epoch + u64::from(self.begun));
        if self.input.is_none() {
            return Ok(Turn::Wait(LONGEST_WAIT));
        }
        match stopping {
            Stopping::Agreeing => return Ok(Turn::Wait(Duration::from_millis(1))),
            Stopping::After(epochs) if self.epoch >= epochs => return Ok(self.close(false)),
            _ if self.sources.is_empty() => return Ok(self.close(true)),
            _ => {}
        }
        let stopping = stopping != Stopping::No;
        if !self.begun {
            if !self.has_credit() || !self.watermark.knows(Epoch::new(self.epoch)) {
                return Ok(Turn::Wait(LONGEST_WAIT));
            }
            self.epoch_at = clock::millis().max(self.epoch_at);
        }

        let mut idle = true;
        for at in (0..self.sources.len()).rev() {
            let source = &mut self.sources[at];
            if source.ended || source.live && stopping {
                continue;
            }
            match source.reader.poll(&self.pool)? {
                Step::Chunk(mut chunk) => {
                    (idle, self.begun) = (false, true);
                    self.bytes += chunk.consumed;
                    chunk.arrived = if source.live { self.epoch_at } else { self.planned_at };
                    chunk.order = self.order.get(&chunk.place.partition).copied().unwrap_or(u32::MAX);
                    self.send(Event::Chunk(Rc::new(chunk)));
                }
                Step::EndEpoch => (idle, source.ended, self.begun) = (false, true, true),
                Step::Idle => {}
                Step::Done => {
                    idle = false;
                    self.sources.swap_remove(at);
                }
            }
        }

        let planned_ended = self.sources.iter().filter(|source| !source.live).all(|source| source.ended);
        let planned = self.sources.iter().any(|source| !source.live);
        let age = clock::now() - self.since;
        let over =
            planned_ended && (planned || stopping || age >= self.tick || self.bytes >= self.epoch_bytes);
        if over {
            self.end_epoch(false);
            return Ok(Turn::Busy);
        }
        if self.sources.is_empty() || !idle {
            return Ok(Turn::Busy);
        }
        Ok(Turn::Wait(self.tick.saturating_sub(age).min(LONGEST_WAIT)))
    }

    /// Whether another epoch may be begun.
    fn has_credit(&self) -> bool {
        let epochs = (self.open.len() as u64) < self.max_open_epochs;
        let bytes = self.open.is_empty() || self.open.iter().sum::<u64>() < self.max_open_bytes;
        epochs && bytes && !self.held
    }

    fn send(&mut self, event: Event) {
        let input = self.input.as_mut().expect("the input is open");
        input.send(event);
        input.flush();
    }

    /// Ends the open epoch, after which there is nothing more if `finished`.
    fn end_epoch(&mut self, finished: bool) {
        let mut live = Vec::new();
        for (partition, offset) in self.sources.iter().flat_map(|source| source.reader.position()) {
            log::debug!("epoch {} ends in {partition} at byte {offset}", self.epoch);
            live.push(partition);
        }
        let any_live = self.sources.iter().any(|source| source.live);
        let arrived = if any_live { self.epoch_at } else { self.planned_at };
        self.send(Event::End(End { arrived, live, finished }));
        self.open.push_back(std::mem::take(&mut self.bytes));
        self.epoch += 1;
        self.begun = false;
        self.since = clock::now();
        self.sources.iter_mut().for_each(|source| source.ended = false);
        let input = self.input.as_mut().expect("the input is open");
        input.advance_to(Epoch::new(self.epoch));
    }

    /// Ends the input: because the sources have ended, or because the worker was told to stop.
    fn close(&mut self, finished: bool) -> Turn {
        // That the input has ended is news for whoever waits for more: it takes an epoch to say so.
        if self.begun || finished && self.watermark.is_kept() {
            self.end_epoch(finished);
        }
        self.input = None;
        Turn::Busy
    }
}
