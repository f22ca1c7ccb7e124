//! The watermark: from what each worker saw of each partition, to one estimate that all of them share.
//!
//! ```text
//! Records of every worker ── Report an epoch ──▶ worker 0: Partitions ── EventTime ──▶ every worker: the doors' machines,
//!                                                                                 and a cell for the next epoch's records
//! ```
//!
//! One worker works it out when an epoch is closed, from the reports of all workers, so it depends on nothing but the input
//! and the arrival times written on it. The doors' machines receive it as a stream, at the epoch that it ends. Records are
//! judged against the watermark *as their epoch began*, so they must not be read before it is known: whoever feeds the
//! dataflow waits for [`EventTimes::known`] before it sends the first chunk of an epoch. That costs the workers a meeting an
//! epoch, and buys that a late record is known as late when it is read: it can be counted and collected, line and all.

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

use differential_dataflow::VecCollection;
use differential_dataflow::collection::AsCollection;
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::vec::{Broadcast, Map};
use timely::dataflow::operators::{Probe, probe};
use timely::progress::Timestamp;

use crate::data::Opaque;
use crate::door::opened::{Doors, Opened};
use crate::operators::per_closed_time;
use crate::state::Identity;
use crate::time::Epoch;
use crate::time::{Clock, EventTime, Millis, TimeOptions, TimeRange, Watermark, millis};

/// What one worker says at the end of its part of an epoch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Report {
    /// When the epoch arrived.
    pub(crate) arrived: Millis,
    /// Whether this worker's sources have ended.
    pub(crate) finished: bool,
    /// The partitions that it will read on.
    pub(crate) live: Vec<String>,
    /// What times there were in the partitions that it read.
    pub(crate) ranges: Vec<(String, TimeRange)>,
}

/// What is known of one partition; also the form in which it is durable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Partition {
    /// The largest time seen.
    newest: Millis,
    /// When the last record arrived.
    heard: Millis,
}

/// What is durable of the watermark.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct KeptEventTime {
    event_time: EventTime,
    arrived: Millis,
    partitions: Vec<(String, Partition)>,
}

/// All partitions, on the one worker that works the watermark out.
#[derive(Debug)]
pub(crate) struct Partitions {
    options: TimeOptions,
    partitions: BTreeMap<String, Partition>,
    event_time: EventTime,
    /// Where it would be if the input had not ended: the end is not part of the state.
    lasting: EventTime,
    /// The latest arrival so far.
    arrived: Millis,
    /// How many workers have no more to read.
    finished: usize,
    peers: usize,
}

impl Partitions {
    fn new(options: TimeOptions, peers: usize) -> Self {
        let partitions = BTreeMap::new();
        Partitions {
            options,
            partitions,
            event_time: EventTime::NONE,
            lasting: EventTime::NONE,
            arrived: Millis::MIN,
            finished: 0,
            peers,
        }
    }

    fn restore(&mut self, kept: KeptEventTime) {
        (self.event_time, self.lasting, self.arrived) = (kept.event_time, kept.event_time, kept.arrived);
        self.partitions = kept.partitions.into_iter().collect();
    }

    fn kept(&self) -> KeptEventTime {
        let partitions = self.partitions.clone().into_iter().collect();
        KeptEventTime { event_time: self.lasting, arrived: self.arrived, partitions }
    }

    /// The event_time after an epoch of which the workers say `reports`.
    fn close(&mut self, reports: impl Iterator<Item = Report>) -> EventTime {
        let mut live = HashSet::new();
        let mut ranges = Vec::new();
        for report in reports {
            self.arrived = self.arrived.max(report.arrived);
            self.finished += usize::from(report.finished);
            live.extend(report.live);
            ranges.extend(report.ranges);
        }
        for (name, range) in ranges.into_iter().filter(|(_, range)| !range.is_nothing()) {
            let heard = self.arrived;
            if !self.partitions.contains_key(&name)
                && self.event_time.watermark.reaches(range.newest)
                && self.options.clock == Clock::Event
            {
                log::warn!(
                    "all that has been read of {name} so far is older than what was read before it, by more than \
                     --lateness: windows refuse it as too late\n  hint: read older files first, or raise --lateness"
                );
            }
            let partition = self.partitions.entry(name).or_insert(Partition { newest: range.newest, heard });
            partition.newest = partition.newest.max(range.newest);
            partition.heard = heard;
            self.event_time.oldest = self.event_time.oldest.min(range.oldest);
            self.event_time.newest = self.event_time.newest.max(range.newest);
        }
        let watermark = if self.finished >= self.peers {
            Watermark::END
        } else {
            self.estimate(&live).map_or(Watermark::NONE, Watermark::at)
        };
        self.partitions.retain(|name, _| live.contains(name));
        self.event_time.watermark = self.event_time.watermark.max(watermark);
        let lasting =
            if watermark == Watermark::END { self.lasting.watermark } else { self.event_time.watermark };
        self.lasting = EventTime { watermark: lasting, ..self.event_time };
        self.event_time
    }

    fn estimate(&self, live: &HashSet<String>) -> Option<Millis> {
        if self.options.clock == Clock::Arrival {
            // What arrives later has a later time.
            return (self.arrived > Millis::MIN).then_some(self.arrived);
        }
        // Whoever was heard just now is not idle, even if no time at all is allowed.
        let idle = millis(self.options.idle_timeout).max(1);
        let is_idle = |partition: &Partition| self.arrived.saturating_sub(partition.heard) >= idle;
        let (going_on, ended): (Vec<_>, Vec<_>) =
            self.partitions.iter().partition(|(name, _)| live.contains(*name));
        let active = going_on.iter().filter(|(_, partition)| !is_idle(partition));
        let least = active.map(|(_, partition)| partition.newest).min();
        // A partition that has ended holds nothing back; where there is no other, the furthest of them counts.
        let furthest = || ended.iter().map(|(_, partition)| partition.newest).max();
        let newest = if going_on.is_empty() { furthest() } else { least };
        newest.map(|newest| newest.saturating_sub(millis(self.options.lateness)))
    }
}

/// A dataflow's watermark, on one worker.
#[derive(Clone)]
pub(crate) struct EventTimes<'scope> {
    /// The event_time of each epoch that changed it.
    stream: Stream<'scope, Epoch, Vec<EventTime>>,
    probe: probe::Handle<Epoch>,
}

/// Tells when an epoch may be read.
#[derive(Clone, Debug, Default)]
pub struct WatermarkProbe(Option<probe::Handle<Epoch>>);

impl WatermarkProbe {
    /// Whether there is a watermark.
    pub fn is_kept(&self) -> bool {
        self.0.is_some()
    }

    /// Whether the watermark as `epoch` begins is known on this worker, so that its chunks may be sent; always, where no
    /// records have times.
    pub fn knows(&self, epoch: Epoch) -> bool {
        self.0.as_ref().is_none_or(|probe| !probe.less_than(&epoch))
    }
}

impl<'scope> EventTimes<'scope> {
    pub(crate) fn stream(&self) -> Stream<'scope, Epoch, Vec<EventTime>> {
        self.stream.clone()
    }

    pub(crate) fn known(&self) -> WatermarkProbe {
        WatermarkProbe(Some(self.probe.clone()))
    }
}

/// The name under which the watermark is durable.
pub(crate) const NAME: &str = "watermark";

/// Works the watermark out of what all workers have `said`, and keeps what is known with the `doors`.
pub(crate) fn event_times<'scope>(
    said: VecCollection<'scope, Epoch, Said, isize>,
    options: TimeOptions,
    now: Rc<Cell<EventTime>>,
    doors: &mut Doors,
) -> EventTimes<'scope> {
    let mut state = Partitions::new(options, said.scope().peers());
    let to_first = Exchange::new(|_: &(Said, Epoch, isize)| 0);
    let identity = Identity::of::<(), Opaque<KeptEventTime>>(NAME, "watermark").rule(
        "clock",
        match options.clock {
            Clock::Event => "event",
            Clock::Arrival => "arrival",
        },
    );
    let Opened { keeper, restored } = doors.open::<(), Opaque<KeptEventTime>>(identity, said.scope());
    let before = restored.map(|rows| {
        let said = |((), Opaque(kept))| (Said::Before(kept), Epoch::minimum(), 1);
        rows.map(said).as_collection()
    });
    let updates = said.concatenate(before);
    let event_times = per_closed_time(updates, to_first, "Watermark", vec![], move |time, said, output| {
        let before = state.event_time;
        let mut reports = Vec::new();
        for (said, _) in said.drain(..) {
            match said {
                Said::Now(report) => reports.push(report),
                Said::Before(kept) => state.restore(kept),
            }
        }
        if !reports.is_empty() {
            state.close(reports.into_iter());
            if keeper.is_on() {
                keeper.begin(*time);
                keeper.put(&(), &Opaque(state.kept()));
            }
        }
        if state.event_time != before {
            output.push((state.event_time, *time, 1isize));
        }
    });
    let stream = event_times.inner.broadcast().unary::<CapacityContainerBuilder<Vec<_>>, _, _, _>(
        Pipeline,
        "EventTimes",
        move |_, _| {
            move |input, output| {
                input.for_each(|capability, event_times| {
                    for (event_time, _, _) in event_times.drain(..) {
                        now.set(event_time);
                        output.session(&capability).give(event_time);
                    }
                });
            }
        },
    );
    let probe = probe::Handle::new();
    let stream = stream.probe_with(&probe);
    EventTimes { stream, probe }
}

/// What the watermark is worked out of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Said {
    /// By a worker, of an epoch.
    Now(Report),
    /// By an earlier run.
    Before(KeptEventTime),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each epoch: when it arrived, the partitions that go on, and the times seen.
    fn watermarks(
        options: TimeOptions,
        epochs: &[(Millis, &[&str], &[(&str, Millis)])],
    ) -> Vec<Option<Millis>> {
        let mut partitions = Partitions::new(options, 1);
        let mut watermarks = Vec::new();
        for (arrived, live, times) in epochs {
            let ranges = times.iter().map(|(name, time)| {
                let mut range = TimeRange::NOTHING;
                range.include(*time);
                ((*name).to_owned(), range)
            });
            let live = live.iter().map(|name| (*name).to_owned()).collect();
            let report = Report { arrived: *arrived, finished: false, live, ranges: ranges.collect() };
            watermarks.push(partitions.close([report].into_iter()).watermark.time());
        }
        watermarks
    }

    const SECOND: Millis = 1000;

    #[test]
    fn it_is_the_least_of_partitions_that_go_on_and_are_not_idle() {
        let seen = watermarks(
            TimeOptions::default(),
            &[
                (0, &["a", "b"], &[("a", 100 * SECOND), ("b", 50 * SECOND)]),
                // Never falls.
                (0, &["a", "b"], &[("b", 10 * SECOND)]),
                (0, &["a", "b"], &[("b", 200 * SECOND)]),
                // `a` falls silent, and is idle a minute after its last record.
                (59 * SECOND, &["a", "b"], &[("b", 300 * SECOND)]),
                (60 * SECOND, &["a", "b"], &[("b", 300 * SECOND)]),
                // It comes back, behind: it holds, and nothing falls.
                (61 * SECOND, &["a", "b"], &[("a", 101 * SECOND), ("b", 400 * SECOND)]),
                // It ends.
                (61 * SECOND, &["b"], &[]),
            ],
        );
        let expected = [40, 40, 90, 90, 290, 290, 390];
        assert_eq!(seen, expected.map(|seconds| Some(seconds * SECOND)));
    }

    #[test]
    fn partitions_that_end_hold_nothing_back() {
        let seen = watermarks(
            TimeOptions::default(),
            &[
                (0, &[], &[]),
                (0, &["none of the times"], &[]),
                (0, &["c"], &[("a", 100 * SECOND), ("b", 300 * SECOND)]),
                (0, &["c"], &[("c", 250 * SECOND)]),
                (0, &["c"], &[("c", 400 * SECOND)]),
            ],
        );
        assert_eq!(seen, [None, None, Some(290 * SECOND), Some(290 * SECOND), Some(390 * SECOND)]);
    }

    #[test]
    fn extreme_times_do_not_overflow() {
        let options = TimeOptions { lateness: std::time::Duration::MAX, ..TimeOptions::default() };
        let most = crate::time::MOST;
        assert_eq!(watermarks(options, &[(0, &["a"], &[("a", -most)])]), [Some(-2 * most)]);
    }

    #[test]
    fn by_arrival_it_is_the_epochs_own_time() {
        let options = TimeOptions { clock: Clock::Arrival, ..TimeOptions::default() };
        assert_eq!(watermarks(options, &[(5, &["a"], &[("a", 5)]), (9, &["a"], &[])]), [Some(5), Some(9)]);
    }
}
