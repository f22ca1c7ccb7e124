//! How a run with state begins: what there is, and what of it the run goes on from.
//!
//! Process 0 looks at the storage, and is refused by it if what is there is the state of something else. Then it claims an
//! incarnation, and the other processes learn that with the manifest from it. All of them read the snapshot themselves.
//!
//! What was sealed after the snapshot is read twice: here, so that sources know what has been read, and once more when the sinks
//! have been opened ([`Begun`]), because only then can nobody else add to it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Again, DurableSettings};
use crate::dataflow::{Build, Outline};
use crate::ledger::{
    Afterwards, Conductor, EpochRecord, Journal, JournalError, Mark, read_before, read_journal, spooled,
    sync_journal,
};
#[cfg(test)]
use crate::runtime::simulation::{Bug, is_planted};
use crate::runtime::{Exit, Settings, clock};
use crate::source::{Found, Partition, PartitionId, ReadBefore};
use crate::state::disk::{
    Limits, Loaded, Manifest, Manifests, Newest, PartWriter, Written, load, load_newest,
};
use crate::state::storage::{Held, Storage, StorageError};
use crate::state::{Restored, Snapshot, Starts, StateError, Store};

/// Why a run with state cannot begin or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DurableError {
    /// The state is of another dataflow.
    #[error(
        "the state in {uri} is of dataflow `{was}`, and this is `{is}`\n  hint: pass another --state, or --reset to discard it"
    )]
    Dataflow {
        /// The storage.
        uri: String,
        /// Whose it is.
        was: String,
        /// What is to run.
        is: String,
    },
    /// The state came about with other sources.
    #[error(
        "the state in {uri} came of other sources\n  was {was}\n  is  {is}\n  hint: give the same ones in the same order, pass another --state, or --reset to discard it"
    )]
    Sources {
        /// The storage.
        uri: String,
        /// Those that there were.
        was: String,
        /// Those that there are.
        is: String,
    },
    /// A sink has committed what the state does not know of.
    #[error(
        "{sink} has committed epoch {committed}, and the state in {uri} knows those before {next}: it is not the state with which that was written\n  hint: pass the --state of that run, or let the sink write somewhere else"
    )]
    Ahead {
        /// The sink.
        sink: String,
        /// Its last epoch.
        committed: u64,
        /// The storage.
        uri: String,
        /// The first epoch that the state does not know.
        next: u64,
    },
    /// Another process of the run cannot see what process 0 sees.
    #[error("{uri} has no `{manifest}`, which process 0 sees\n  hint: all processes need the same --state")]
    NotShared {
        /// The storage.
        uri: String,
        /// What is not there.
        manifest: String,
    },
    /// Epochs that are to be shown once more are not in the journal any more, or not yet.
    #[error(
        "{uri} has the epochs from {} up to {}, and epochs {} to {} were asked for\n  hint: what is before the oldest snapshot is gone",
        have.0, have.1, wanted.from, wanted.upto
    )]
    NotKept {
        /// The storage.
        uri: String,
        /// The first that there is, and the first that is not.
        have: (u64, u64),
        /// Those that were asked for.
        wanted: Again,
    },
    /// There is no state.
    #[error("{uri} has no snapshot of a run\n  hint: is it the --state that the run was given?")]
    Nothing {
        /// The storage.
        uri: String,
    },
    /// Another run uses the state now.
    #[error(
        "the state in {uri} is in use by another run{}\n  hint: wait until that one has ended, or end it; or go on in its place: --take-over",
        if holder.is_empty() { String::new() } else { format!(": {holder}") }
    )]
    InUse {
        /// The storage.
        uri: String,
        /// Which run that is, if it has said so.
        holder: String,
    },
    /// Another run has been started on the same state.
    #[error("another run has been started with the state in {uri}: this one is not to go on")]
    Fenced {
        /// The storage.
        uri: String,
    },
    /// The state cannot be read or written, or came about by other rules.
    #[error(transparent)]
    State(#[from] StateError),
    /// The journal cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl DurableError {
    /// The exit code of the command that meets this error.
    pub fn exit(&self) -> Exit {
        match self {
            DurableError::Dataflow { .. }
            | DurableError::Sources { .. }
            | DurableError::Ahead { .. }
            | DurableError::NotShared { .. }
            | DurableError::NotKept { .. }
            | DurableError::Nothing { .. }
            | DurableError::InUse { .. }
            | DurableError::State(StateError::Refused(_) | StateError::Version { .. }) => Exit::Configuration,
            DurableError::State(StateError::Storage(error))
            | DurableError::Journal(
                JournalError::Storage(error) | JournalError::State(StateError::Storage(error)),
            ) if error.is_configuration() => Exit::Configuration,
            DurableError::Fenced { .. } | DurableError::State(_) | DurableError::Journal(_) => Exit::Output,
        }
    }
}

/// What a manifest says of the run, beside its doors.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Payload {
    pub(super) dataflow: String,
    /// The sources, each with the input that it is for.
    pub(super) sources: Vec<SourceName>,
    pub(super) mark: Mark,
    /// How the run was asked for.
    #[serde(default)]
    pub(super) arguments: BTreeMap<String, Vec<String>>,
    /// By identity, what sources remember of partitions, and of which offset that is.
    #[serde(default)]
    pub(super) memories: HashMap<String, Memory>,
    /// How far the run was, for whoever looks at its state.
    #[serde(default)]
    pub(super) progress: RunProgress,
}

/// How far a run was when a snapshot of it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunProgress {
    /// The first epoch that was not sealed.
    pub sealed: u64,
    /// Its sinks.
    pub sinks: Vec<SinkProgress>,
    /// Whether its input had come to an end, and sinks were shown what that makes of windows and keys.
    #[serde(default)]
    pub ended: bool,
}

/// How far a sink was when a snapshot was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkProgress {
    /// Its URI, without secrets.
    pub uri: String,
    /// The first epoch that it had not committed.
    pub committed: u64,
}

/// What a source remembers of a partition.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Memory {
    pub(super) offset: u64,
    pub(super) ended: bool,
    pub(super) text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SourceName {
    pub(super) input: Option<String>,
    pub(super) uri: String,
}

impl SourceName {
    /// Whether what has this name can have read what is of `other`: the options do not matter, and neither do the names of files, which are
    /// told by what they are.
    fn is_like(&self, other: &SourceName) -> bool {
        let scheme = |uri: &str| uri.split_once(':').map_or(uri, |(scheme, _)| scheme).to_owned();
        let plain = |uri: &str| uri.split_once('?').map_or(uri, |(plain, _)| plain).to_owned();
        let is_file = matches!(scheme(&self.uri).as_str(), "file" | "dir");
        let same = if is_file {
            scheme(&self.uri) == scheme(&other.uri)
        } else {
            plain(&self.uri) == plain(&other.uri)
        };
        self.input == other.input && same
    }
}

impl std::fmt::Display for SourceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.input {
            Some(input) => write!(f, "{input}={}", self.uri),
            None => f.write_str(&self.uri),
        }
    }
}

/// What the other processes are told.
#[derive(Debug, Serialize, Deserialize)]
struct Offer {
    incarnation: u64,
    manifest: Option<String>,
}

/// What a process of a run with state begins with.
#[derive(Debug)]
pub(in crate::runtime) struct Start {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) settings: DurableSettings,
    pub(super) incarnation: u64,
    /// The rows that the doors go on from.
    pub(in crate::runtime) snapshot: Option<Arc<Snapshot>>,
    pub(super) dataflow: String,
    pub(super) sources: Vec<SourceName>,
    manifest: Option<String>,
    /// On process 0.
    mark: Option<Mark>,
    /// What was read before this run, by source.
    read: Vec<Vec<ReadBefore>>,
    /// By identity, what sources remember of partitions.
    pub(super) memories: HashMap<String, Memory>,
    /// Of which partitions the journal has that.
    pub(super) from_journal: HashSet<String>,
    /// Which state it is: a number that was drawn as it began.
    state: u128,
    line: Starts,
    /// What keeps others away by mistake, on process 0.
    pub(super) held: Option<Held>,
}

/// Where the own epochs of a run begin.
#[derive(Debug)]
pub(in crate::runtime) struct Begun {
    pub(super) journal: Journal,
    /// The first epoch that no earlier run has sealed.
    pub(super) next: u64,
}

impl Start {
    /// What process 0 begins with.
    ///
    /// # Errors
    ///
    /// When what is there cannot be read, or is the state of something else.
    pub(in crate::runtime) fn look(
        durable: &DurableSettings,
        settings: &Settings,
        build: &Build,
        outline: &Outline,
    ) -> Result<Self, DurableError> {
        let storage = super::open(&durable.uri)?;
        // Before anything is done that another run would notice. To show epochs once more disturbs nobody.
        let held = if durable.again.is_some() { None } else { hold(&*storage, durable.take_over)? };
        let sources = names(settings);
        let mut start = Start {
            storage,
            settings: durable.clone(),
            incarnation: 0,
            snapshot: None,
            dataflow: build.name().to_owned(),
            sources,
            manifest: None,
            mark: None,
            read: Vec::new(),
            memories: HashMap::new(),
            from_journal: HashSet::new(),
            state: 0,
            line: Starts::default(),
            held,
        };
        let line = Starts::read(&*start.storage)?;
        if durable.reset {
            discard(&*start.storage)?;
        } else if let Some(newest) = newest(&*start.storage, &line, durable.again)? {
            start.check(newest.manifest.payload(), &newest.snapshot, outline)?;
            start.manifest = Some(newest.name);
            start.snapshot = Some(Arc::new(newest.snapshot));
        }
        let from = start.mark.as_ref().map_or(0, Mark::next_epoch);
        let records = match (read_journal(&*start.storage, &line, from), durable.again) {
            // The journal begins later.
            (Err(JournalError::Gap { found, .. }), Some(wanted)) => {
                return Err(DurableError::NotKept {
                    uri: start.storage.uri().to_owned(),
                    have: (found, found),
                    wanted,
                });
            }
            (records, _) => records?,
        };
        // Also where nothing is sealed yet: sinks were told the number as they were opened, and know the state by it.
        start.state = match line.state().filter(|_| !durable.reset) {
            Some(state) => state,
            None => draw()?,
        };
        start.read = read_before(start.mark.as_ref(), &records, settings.sources.len());
        for read in start.read.iter_mut().flatten() {
            let identity = &read.found.identity;
            match &read.memory {
                // What the journal has is newer.
                Some(text) => {
                    let memory = Memory { offset: read.offset, ended: read.ended, text: text.clone() };
                    start.from_journal.insert(identity.clone());
                    start.memories.insert(identity.clone(), memory);
                }
                None => read.memory = start.memories.get(identity).map(|memory| memory.text.clone()),
            }
        }
        start.line = line;
        Ok(start)
    }

    /// Looks whether the state is that of this dataflow.
    fn check(&mut self, payload: &str, snapshot: &Snapshot, outline: &Outline) -> Result<(), DurableError> {
        let uri = || self.storage.uri().to_owned();
        let Payload { dataflow, sources, mark, memories, progress, .. } =
            serde_json::from_str(payload).map_err(unreadable)?;
        if dataflow != self.dataflow {
            return Err(DurableError::Dataflow { uri: uri(), was: dataflow, is: self.dataflow.clone() });
        }
        let alike = sources.len() == self.sources.len()
            && sources.iter().zip(&self.sources).all(|(was, is)| was.is_like(is));
        if !alike {
            let all =
                |names: &[SourceName]| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return Err(DurableError::Sources { uri: uri(), was: all(&sources), is: all(&self.sources) });
        }
        #[cfg(test)]
        let outline = match is_planted(Bug::RulesIgnored) {
            true => &Outline { doors: Vec::new(), ..outline.clone() },
            false => outline,
        };
        let Restored { new, dropped, .. } = snapshot.check(&outline.doors)?;
        if !new.is_empty() {
            log::warn!(
                "no state is there of {}: they begin with nothing, while others go on",
                new.join(", ")
            );
        }
        if !dropped.is_empty() {
            log::warn!("the dataflow has no more {}: their state is dropped", dropped.join(", "));
        }
        let is_kept = |sink: &SinkProgress| !sink.uri.starts_with("console:") && !sink.uri.contains(":-");
        let kept: Vec<_> = progress.sinks.iter().filter(|sink| is_kept(sink)).collect();
        if progress.ended && !kept.is_empty() && self.settings.again.is_none() {
            let kept: Vec<_> = kept.iter().map(|sink| sink.uri.as_str()).collect();
            log::warn!(
                "the last run had come to the end of its input, and has shown that to {}: windows as final, keys as gone. This run \
                 goes on before that end, and does not take it back: rows of these windows and keys are there twice, or as they \
                 were, until they change again\n  hint: logs that go on are read by --follow, with --trigger once each night: that \
                 makes no end; --reset and empty sinks begin anew",
                kept.join(", ")
            );
        }
        (self.mark, self.memories) = (Some(mark), memories);
        Ok(())
    }

    /// Which state it is; `None` where sinks are only shown something once more.
    pub(in crate::runtime) fn state(&self) -> Option<u128> {
        self.settings.again.is_none().then_some(self.state)
    }

    /// What was read before this run of source `number`.
    pub(in crate::runtime) fn read_before(&self, number: usize) -> &[ReadBefore] {
        self.read.get(number).map_or(&[], Vec::as_slice)
    }

    /// Has `conductor` open the epochs once more that were asked for, and those before them that are in no snapshot.
    ///
    /// # Errors
    ///
    /// When they are not all there.
    pub(in crate::runtime) fn begin_again(
        &mut self,
        conductor: &mut Conductor,
        found: Vec<(u32, Vec<Found>)>,
    ) -> Result<(), DurableError> {
        let from = self.mark.as_ref().map_or(0, Mark::next_epoch);
        let mut records = read_journal(&*self.storage, &self.line, from)?;
        let have = (from, from + records.len() as u64);
        if let Some(wanted) = self.settings.again {
            if wanted.from < have.0 || wanted.upto >= have.1 {
                return Err(DurableError::NotKept { uri: self.storage.uri().to_owned(), have, wanted });
            }
            records.truncate(usize::try_from(wanted.upto + 1 - from).unwrap_or(usize::MAX));
        }
        self.hand_over(conductor, records, Afterwards::Stop);
        found.into_iter().for_each(|(source, found)| conductor.discover(source, found));
        Ok(())
    }

    /// Has `conductor` go on from the mark, with `records` as they were.
    fn hand_over(&mut self, conductor: &mut Conductor, records: Vec<EpochRecord>, afterwards: Afterwards) {
        if let Some(mark) = self.mark.take() {
            conductor.resume(mark);
        }
        conductor.replay(records, afterwards);
    }

    /// Takes the next incarnation, unless nothing is to be kept.
    ///
    /// # Errors
    ///
    /// When that cannot be written, or another run has been started since this one looked.
    pub(in crate::runtime) fn claim(&mut self) -> Result<(), DurableError> {
        if self.settings.again.is_some() {
            return Ok(());
        }
        let claimed = self.line.claim(&*self.storage, self.state, self.manifest.clone())?;
        let Some(incarnation) = claimed else {
            return Err(DurableError::Fenced { uri: self.storage.uri().to_owned() });
        };
        self.incarnation = incarnation;
        log::info!("incarnation {incarnation} with the state in {}", self.storage.uri());
        Ok(())
    }

    /// What the other processes are told.
    pub(in crate::runtime) fn offer(&self) -> Vec<u8> {
        let offer = Offer { incarnation: self.incarnation, manifest: self.manifest.clone() };
        serde_json::to_vec(&offer).expect("numbers and text")
    }

    /// What another process begins with, which process 0 has told `offer`.
    ///
    /// # Errors
    ///
    /// When it does not see the same storage.
    pub(in crate::runtime) fn follow(
        durable: &DurableSettings,
        settings: &Settings,
        build: &Build,
        offer: &[u8],
    ) -> Result<Self, DurableError> {
        let storage = super::open(&durable.uri)?;
        let uri = storage.uri().to_owned();
        let not_shared =
            |manifest: &str| DurableError::NotShared { uri: uri.clone(), manifest: manifest.to_owned() };
        let Offer { incarnation, manifest } =
            serde_json::from_slice(offer).map_err(|_| not_shared("incarnations/"))?;
        if Starts::read(&*storage)?.last() != incarnation {
            return Err(not_shared(&format!("incarnations/{incarnation:08}")));
        }
        let snapshot = match &manifest {
            None => None,
            Some(name) => {
                if storage.read(name).map_err(StateError::from)?.is_none() {
                    return Err(not_shared(name));
                }
                Some(Arc::new(load(&*storage, name)?.snapshot))
            }
        };
        let (dataflow, sources) = (build.name().to_owned(), names(settings));
        let settings = durable.clone();
        let (mark, read, memories, line) = (None, Vec::new(), HashMap::new(), Starts::default());
        // Sinks are opened by process 0.
        let state = 0;
        Ok(Start {
            storage,
            settings,
            incarnation,
            snapshot,
            dataflow,
            sources,
            manifest,
            mark,
            read,
            memories,
            from_journal: HashSet::new(),
            state,
            line,
            held: None,
        })
    }

    /// What was found before of which sources remember nothing yet.
    pub(super) fn not_remembered(&self) -> HashMap<PartitionId, Partition> {
        let partition = |source: u32, read: &ReadBefore| {
            (read.id, Partition { id: read.id, source, found: read.found.clone() })
        };
        let none = |read: &&ReadBefore| read.memory.is_none() && !read.ended;
        let of = |(source, read): (u32, &Vec<ReadBefore>)| -> Vec<_> {
            read.iter().filter(none).map(|read| partition(source, read)).collect()
        };
        (0..).zip(&self.read).flat_map(of).collect()
    }

    /// The incarnation that it has taken.
    pub(in crate::runtime) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// The first epoch that sinks are shown: the first that is not in the rows that the doors go on from, unless others were asked for.
    pub(in crate::runtime) fn first(&self) -> u64 {
        if let Some(again) = self.settings.again {
            return again.from;
        }
        self.snapshot.as_ref().map_or(0, |snapshot| snapshot.frontier().number())
    }

    /// Where what the doors keep is written to.
    pub(super) fn parts(
        &self,
        process: usize,
        written: impl FnMut(Written) -> Result<(), StateError> + Send + 'static,
    ) -> impl Store {
        PartWriter::new(Arc::clone(&self.storage), self.incarnation, process, written)
    }

    /// The snapshots that are there, for the one who publishes more.
    pub(super) fn manifests(&self) -> Result<Manifests, StateError> {
        let line = Starts::read(&*self.storage)?.line();
        Manifests::open(Arc::clone(&self.storage), line, Limits::default())
    }

    /// Has `conductor` open what was sealed before as it was, and go on from there; the sinks are open, so that no earlier
    /// incarnation commits any more. `committed` says how far each of them is.
    ///
    /// # Errors
    ///
    /// When what was sealed cannot be read, or a sink has committed more than that.
    pub(in crate::runtime) fn begin(
        &mut self,
        conductor: &mut Conductor,
        found: Vec<(u32, Vec<Found>)>,
        committed: &[(String, u64)],
    ) -> Result<Begun, DurableError> {
        let line = Starts::read(&*self.storage)?;
        let uri = || self.storage.uri().to_owned();
        if line.last() != self.incarnation {
            return Err(DurableError::Fenced { uri: uri() });
        }
        let from = self.mark.as_ref().map_or(0, Mark::next_epoch);
        let records = read_journal(&*self.storage, &line, from)?;
        let next = from + records.len() as u64;
        #[cfg(test)]
        let records = match is_planted(Bug::OffByOne) {
            true => records[..records.len().saturating_sub(1)].to_vec(),
            false => records,
        };
        if let Some((sink, committed)) = committed.iter().find(|(_, committed)| *committed > next) {
            return Err(DurableError::Ahead {
                sink: sink.clone(),
                committed: committed - 1,
                uri: uri(),
                next,
            });
        }
        sync_journal(&*self.storage).map_err(StateError::from)?;
        match Starts::begin(&*self.storage, self.incarnation, next) {
            // A start has this number, too: where two that claim one name at once are both told that it is theirs.
            Err(StateError::Storage(StorageError::Exists { .. })) => {
                return Err(DurableError::Fenced { uri: self.storage.uri().to_owned() });
            }
            begun => begun?,
        }
        if !records.is_empty() {
            log::info!("reading {} epochs again, as they were sealed", records.len());
        }
        self.hand_over(conductor, records, Afterwards::GoOn);
        conductor.discover_kept(spooled(&*self.storage).map_err(StateError::from)?);
        found.into_iter().for_each(|(source, found)| conductor.discover(source, found));
        let journal = Journal::new(Arc::clone(&self.storage), self.incarnation, next)?;
        Ok(Begun { journal, next })
    }
}

/// Holds `storage` for this process, so that nobody starts another run with it by mistake.
fn hold(storage: &dyn Storage, take_over: bool) -> Result<Option<Held>, DurableError> {
    let (process, host) = (std::process::id(), rustix::system::uname());
    let (host, since) = (host.nodename().to_string_lossy(), clock::time());
    match storage.hold(&format!("process {process} on {host}, since {since}"), take_over) {
        Err(StorageError::Held { uri, holder }) => Err(DurableError::InUse { uri, holder }),
        other => Ok(other.map_err(StateError::from)?),
    }
}

/// The newest snapshot, or the newest from which the epochs that were asked for can be shown once more.
fn newest(
    storage: &dyn Storage,
    starts: &Starts,
    again: Option<Again>,
) -> Result<Option<Loaded>, StateError> {
    let line = starts.line();
    if let Some(Again { from, .. }) = again {
        for name in line.manifests(storage)? {
            if Manifest::read(storage, &name)?.frontier().number() <= from {
                return load(storage, &name).map(Some);
            }
        }
        return Ok(None);
    }
    let Newest { loaded, damaged } = load_newest(storage, &line)?;
    for why in damaged {
        log::warn!("a snapshot is damaged, and an older one is gone on from: {why}");
    }
    Ok(loaded)
}

/// What a state says of the run that it is of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stored {
    /// The dataflow.
    pub dataflow: String,
    /// How the run was asked for: [`DurableSettings::arguments`].
    pub arguments: BTreeMap<String, Vec<String>>,
    /// How far it was when the newest snapshot was made.
    pub progress: RunProgress,
}

/// Looks which run the state at `uri` is of.
///
/// # Errors
///
/// When it cannot be read, or there is none.
pub fn stored(uri: &str) -> Result<Stored, DurableError> {
    let storage = super::open(uri)?;
    let line = Starts::read(&*storage)?;
    let uri = || storage.uri().to_owned();
    for name in line.line().manifests(&*storage)? {
        // The rows are not looked at, of which there may be millions.
        let manifest = match Manifest::read(&*storage, &name) {
            Err(error) if error.is_damage() => continue,
            read => read?,
        };
        let Payload { dataflow, arguments, progress, .. } =
            serde_json::from_str(manifest.payload()).map_err(unreadable)?;
        return Ok(Stored { dataflow, arguments, progress });
    }
    Err(DurableError::Nothing { uri: uri() })
}

fn names(settings: &Settings) -> Vec<SourceName> {
    let name = |(input, source): &(Option<String>, Arc<dyn crate::source::Source>)| SourceName {
        input: input.clone(),
        uri: source.uri().to_owned(),
    };
    settings.sources.iter().map(name).collect()
}

fn unreadable(error: serde_json::Error) -> StateError {
    StateError::Unreadable { reason: error.to_string() }
}

/// Draws the number of a state.
fn draw() -> Result<u128, StateError> {
    let mut bytes = [0; 16];
    let failed = |error: getrandom::Error| StateError::Store {
        doing: "draw a number",
        source: error.to_string().into(),
    };
    getrandom::fill(&mut bytes).map_err(failed)?;
    Ok(u128::from_le_bytes(bytes))
}

/// Deletes what `storage` has, but for who has started: incarnations never begin again.
fn discard(storage: &dyn Storage) -> Result<(), StateError> {
    for prefix in ["manifests/", "tables/", "journal/", "spool/"] {
        let entries = storage.list(prefix)?;
        let mut names = entries.iter().map(|entry| entry.name.as_str());
        match prefix {
            // The oldest first: what is left where this is interrupted has a gap, and is not gone on from.
            "journal/" => names.try_for_each(|name| storage.delete(name))?,
            _ => storage.delete_all(&names.collect::<Vec<_>>())?,
        }
    }
    Ok(())
}
