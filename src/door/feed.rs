//! The feeding end of a dataflow: chunks go in epoch by epoch, and what was seen of them comes back.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::Input;
use timely::dataflow::{InputHandle, Scope};

use super::{Event, Lines};
use crate::ledger::digest_sum;
use crate::source::{Chunk, PartitionId, Progress};
use crate::time::{Epoch, EventTime, TimeOptions, TimeRange};

/// What the records of one worker's part of an epoch have shown of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// How many lines there were.
    pub lines: u64,
    /// The sum of their digests; 0 if none was wanted.
    pub digest: u64,
    /// Their event times.
    pub(crate) times: TimeRange,
}

impl Default for Observed {
    fn default() -> Self {
        Observed { lines: 0, digest: 0, times: TimeRange::NOTHING }
    }
}

/// What all readers of a dataflow's lines have seen of the open epoch.
#[derive(Debug, Default)]
pub(crate) struct Observations {
    /// How many operators read lines.
    pub(super) readers: usize,
    /// How many of those have come to the end of the epoch.
    pub(super) ended: usize,
    pub(super) partitions: BTreeMap<PartitionId, Observed>,
    /// Whether lines are to be digested.
    pub(super) digest: bool,
}

impl Observations {
    /// Takes in what one reader has seen in a chunk.
    pub(super) fn add(&mut self, partition: PartitionId, lines: u64, digest: u64, times: TimeRange) {
        let observed = self.partitions.entry(partition).or_default();
        observed.lines += lines;
        observed.digest = digest_sum(observed.digest, digest);
        if !times.is_nothing() {
            observed.times.include(times.oldest);
            observed.times.include(times.newest);
        }
    }
}

type Handle<T> = InputHandle<Epoch, CapacityContainerBuilder<Vec<T>>>;

/// Feeds one worker's dataflow.
///
/// For each epoch: its chunks, [`Feed::end`], steps of the worker until [`Feed::take_observed`] has something, and
/// then [`Feed::advance`]. Where the dataflow goes by event time, `Feed::sealed` comes before that.
pub struct Feed {
    /// `None` once the input is closed.
    handles: Option<(Handle<Event>, Handle<EventTime>)>,
    now: Rc<Cell<EventTime>>,
    observations: Rc<RefCell<Observations>>,
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("open", &self.handles.is_some()).finish_non_exhaustive()
    }
}

impl<'scope> Lines<'scope> {
    /// Lines to open doors on, in `scope`, and how to feed them; what is read is counted in `progress`.
    pub fn fed(scope: Scope<'scope, Epoch>, progress: Arc<Progress>, options: TimeOptions) -> (Self, Feed) {
        let (events, lines) = scope.new_input::<Vec<Event>>();
        let (times, event_times) = scope.new_input::<Vec<EventTime>>();
        let lines = Lines::new(lines, event_times, progress, options);
        let feed = Feed {
            handles: Some((events, times)),
            now: Rc::clone(&lines.site.shared.now),
            observations: Rc::clone(&lines.site.shared.observations),
        };
        (lines, feed)
    }
}

impl Feed {
    /// Whether lines are to be digested from now on.
    pub fn digest(&mut self, wanted: bool) {
        self.observations.borrow_mut().digest = wanted;
    }

    /// Lines of the open epoch.
    pub fn chunk(&mut self, chunk: Chunk) {
        self.send(Event::Chunk(Rc::new(chunk)));
    }

    /// This worker has no more lines of the open epoch.
    pub fn end(&mut self) {
        self.send(Event::End);
    }

    fn send(&mut self, event: Event) {
        if let Some((events, _)) = &mut self.handles {
            events.send(event);
            events.flush();
        }
    }

    /// What was seen of the epoch that was ended, once all of it has been read.
    pub fn take_observed(&mut self) -> Option<BTreeMap<PartitionId, Observed>> {
        let mut observations = self.observations.borrow_mut();
        (observations.ended == observations.readers).then(|| {
            observations.ended = 0;
            std::mem::take(&mut observations.partitions)
        })
    }

    /// What is known of event time as the open epoch ends.
    pub(crate) fn sealed(&mut self, event_time: EventTime) {
        if let Some((_, times)) = &mut self.handles
            && self.now.replace(event_time) != event_time
        {
            times.send(event_time);
        }
    }

    /// Opens `epoch`, which is later than the one that was open.
    pub fn advance(&mut self, epoch: Epoch) {
        if let Some((events, times)) = &mut self.handles {
            events.advance_to(epoch);
            times.advance_to(epoch);
            events.flush();
            times.flush();
        }
    }

    /// Ends the input.
    pub fn close(&mut self) {
        self.handles = None;
    }

    /// Whether the input has ended.
    pub fn is_closed(&self) -> bool {
        self.handles.is_none()
    }
}
