//! Who makes snapshots of what the processes have written, beside the workers.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::errand::{Errand, Task};
use crate::ledger::{Mark, cut_spool};
use crate::runtime::RunError;
use crate::runtime::durable::DurableError;
use crate::runtime::durable::start::{Memory, Payload, RunProgress, SourceName, Start};
#[cfg(test)]
use crate::runtime::simulation::{Bug, is_planted};
use crate::source::{ReadBefore, Source};
use crate::state::StateError;
use crate::state::disk::{Manifests, Written};
use crate::state::storage::Storage;
use crate::time::Epoch;

/// A snapshot that is to be, and what processes have written of it.
#[derive(Debug)]
struct Expected {
    mark: Mark,
    parts: Vec<Written>,
    /// How far the run and its sinks are as it is made.
    progress: RunProgress,
}

/// Process 0's publisher.
#[derive(Debug)]
pub(super) struct Publisher {
    processes: usize,
    expected: BTreeMap<u64, Expected>,
    errand: Errand<Expected, DurableError>,
    /// The frontier of the oldest snapshot that is kept, once one has been published.
    oldest: Arc<Mutex<Option<u64>>>,
}

impl Publisher {
    /// Publishes what `processes` processes write of the run that began as `start` says.
    pub(super) fn start(
        start: &Start,
        sources: Vec<Arc<dyn Source>>,
        processes: usize,
    ) -> Result<Self, RunError> {
        let manifests = start.manifests().map_err(|error| RunError::Durable(error.into()))?;
        let oldest = Arc::<Mutex<Option<u64>>>::default();
        let (theirs, worker) = (Arc::clone(&oldest), std::thread::current());
        let about = About {
            storage: Arc::clone(&start.storage),
            dataflow: start.dataflow.clone(),
            arguments: start.settings.arguments.clone(),
            names: start.sources.clone(),
            sources,
            memories: start.memories.clone(),
            awaited: start.from_journal.clone(),
            read: VecDeque::new(),
        };
        let told = move |oldest| {
            *theirs.lock().unwrap_or_else(PoisonError::into_inner) = Some(oldest);
            worker.unpark();
        };
        let publishing = Publishing { about, manifests: Some(manifests), told };
        let errand = Errand::start("publisher", usize::MAX, publishing);
        let errand = errand.map_err(|source| RunError::System { what: "start a thread", source })?;
        Ok(Publisher { processes, expected: BTreeMap::new(), errand, oldest })
    }

    /// There is to be a snapshot of what the run was at `mark`.
    pub(super) fn expect(&mut self, mark: Mark) {
        self.expected.insert(
            mark.next_epoch(),
            Expected { mark, parts: Vec::new(), progress: RunProgress::default() },
        );
    }

    /// Whether a snapshot is under way that all processes have yet to write, or that waits for sinks.
    pub(super) fn is_waiting(&self) -> bool {
        !self.expected.is_empty()
    }

    /// A process has written its part.
    pub(super) fn written(&mut self, written: Written) {
        if let Some(expected) = self.expected.get_mut(&written.frontier.number()) {
            expected.parts.push(written);
        }
    }

    /// Publishes what all processes have written, as far as every sink has committed the epochs in it: those before `committed`. Sinks
    /// and run are then as `progress` says.
    pub(super) fn publish(&mut self, committed: u64, progress: impl Fn() -> RunProgress) {
        while let Some(first) = self.expected.first_entry() {
            #[cfg(test)]
            let committed = if is_planted(Bug::PublishAhead) { u64::MAX } else { committed };
            if *first.key() > committed || first.get().parts.len() < self.processes {
                return;
            }
            self.errand.tell(Expected { progress: progress(), ..first.remove() });
        }
    }

    /// The frontier of the oldest snapshot that is kept: nothing before it is wanted any more.
    pub(super) fn oldest(&self) -> Option<u64> {
        *self.oldest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks whether it goes on.
    pub(super) fn check(&self) -> Result<(), DurableError> {
        self.errand.check()
    }

    /// Waits until it has done what it was given, and ends it.
    pub(super) fn finish(&mut self) -> Result<(), DurableError> {
        self.errand.finish()
    }
}

/// The publisher at work.
struct Publishing<T> {
    about: About,
    /// `None` at the end.
    manifests: Option<Manifests>,
    told: T,
}

/// What it knows of the run.
struct About {
    storage: Arc<dyn Storage>,
    dataflow: String,
    arguments: BTreeMap<String, Vec<String>>,
    names: Vec<SourceName>,
    sources: Vec<Arc<dyn Source>>,
    /// By identity, what sources remember of partitions.
    memories: HashMap<String, Memory>,
    /// Those of which the journal remembers something, and that no snapshot of this run has come to yet: epochs are being read again.
    awaited: HashSet<String>,
    /// What had been read at the frontiers of the snapshots that are kept.
    read: VecDeque<(Epoch, Vec<Vec<ReadBefore>>)>,
}

impl<T: Fn(u64) + Send + 'static> Task for Publishing<T> {
    type Order = Expected;
    type Error = DurableError;

    const BACKGROUND: bool = true;

    fn perform(&mut self, Expected { mark, parts, progress }: Expected) -> Result<(), DurableError> {
        let Some(manifests) = &mut self.manifests else { return Ok(()) };
        let (frontier, read) = (Epoch::new(mark.next_epoch()), mark.read_before());
        let about = &mut self.about;
        about.remember(&read);
        let (dataflow, sources) = (about.dataflow.clone(), about.names.clone());
        let arguments = about.arguments.clone();
        let memories = about.memories.clone();
        let payload = Payload { dataflow, sources, mark, arguments, memories, progress };
        let payload = serde_json::to_vec(&payload).expect("text, numbers and names for keys");
        let published = manifests.publish(frontier, &parts, &payload)?;
        if let Some(trouble) = published.trouble {
            log::warn!("files of snapshots could not be merged or deleted, which is tried again: {trouble}");
        }
        let oldest = published.kept.first().map_or(frontier, |kept| kept.frontier);
        about.read.push_back((frontier, read));
        // The oldest snapshot that is kept can be gone on from, too.
        while about.read.get(1).is_some_and(|(frontier, _)| *frontier <= oldest) {
            about.read.pop_front();
        }
        if let Some((_, read)) = about.read.front().filter(|(frontier, _)| *frontier <= oldest) {
            cut_spool(&*about.storage, read).map_err(StateError::from)?;
        }
        (self.told)(oldest.number());
        Ok(())
    }

    fn end(&mut self) -> Result<(), DurableError> {
        let last = self.manifests.take().map(Manifests::finish).transpose()?.flatten();
        if let Some(trouble) = last.and_then(|last| last.trouble) {
            log::warn!("files of snapshots could not be merged or deleted: {trouble}");
        }
        Ok(())
    }

    fn panicked(&self, message: String) -> DurableError {
        StateError::Writer(format!("the publisher panicked: {message}")).into()
    }
}

impl About {
    /// Asks the sources what they want to know later of the partitions that have been read on. What cannot be had any more stands as it was.
    fn remember(&mut self, read: &[Vec<ReadBefore>]) {
        let mut before = std::mem::take(&mut self.memories);
        for (source, read) in self.sources.iter().zip(read) {
            for read in read {
                let (offset, ended) = (read.offset, read.ended);
                let old = before.remove(&read.found.identity);
                self.awaited.remove(&read.found.identity);
                let is_known = old.as_ref().is_some_and(|old| (old.offset, old.ended) == (offset, ended));
                let memory = old.as_ref().map(|memory| memory.text.clone());
                let new = if is_known { None } else { source.memory(&ReadBefore { memory, ..read.clone() }) };
                let new = new.map(|text| Memory { offset, ended, text }).or(old);
                if let Some(memory) = new {
                    self.memories.insert(read.found.identity.clone(), memory);
                }
            }
        }
        before.retain(|identity, _| self.awaited.contains(identity));
        self.memories.extend(before);
    }
}
