//! Configuration in, running workers out: epochs, credits, the worker loop, the cluster, and how it all ends.
//!
//! Only this module reads the clock and the environment. It knows readers, chunks and epochs, a function that builds a
//! dataflow, and sinks; it knows no log format and no operator.
//!
//! - `ingest`, `reading`: one worker's input, epoch by epoch, as the ledger has it; `messages`: how the two talk.
//! - `worker`: the loop that feeds, steps and commits.
//! - `stop`: ending in order.
//! - `rejects`: the file for lines of which no records come.
//! - `overwrite`: what an output may not destroy; `small`: the files that a run goes by.
//! - [`cluster`]: how processes meet.
//! - `embed`: a [`Run`] inside another program, in place of `worker`.
//! - `report`: how far a run is while it goes on, for whoever wants to know.
//! - `supervisor`: several processes of this program, kept running as one.
//! - `watchdog`, `fatal`: ending when nothing moves, or when one thread cannot go on.

pub mod cluster;

mod clock;
mod discovery;
mod durable;
mod embed;
mod fatal;
pub(crate) mod ingest;
pub(crate) mod messages;
mod open_files;
mod overwrite;
pub(crate) mod reading;
mod rejects;
mod report;
mod settings;
#[cfg(test)]
mod simulation;
mod small;
mod stop;
mod supervisor;
mod usage;
mod verdict;
mod watchdog;
mod worker;

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest, Sha256};
use timely::WorkerConfig;
use timely::communication::Hooks;
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};
use timely::execute::execute_from;

pub use clock::now;
pub(crate) use clock::time;
pub use durable::{Again, DurableError, DurableSettings, RunProgress, SinkProgress, Stored, stored};
pub use embed::{Change, Run, RunBuilder};
pub use fatal::{Exit, end, end_on_panic};
pub(crate) use open_files::raise_limit as raise_open_files;
pub use report::{LatestEpochs, ProgressReport, Reports, SourceReport};
pub use settings::{ClusterSettings, Settings};
#[cfg(test)]
pub(crate) use simulation::{Bug, is_planted};
pub(crate) use small::read_small;
pub use stop::end_in_order_on_signals;
pub(crate) use stop::{end_on_signals, requested as end_requested, running as can_end_in_order};
pub(crate) use supervisor::{SECRET as SECRET_VARIABLE, addresses as supervised_addresses};
pub use supervisor::{SuperviseError, Supervision, end_with_supervisor, supervise};
pub use usage::Usage;
pub(crate) use worker::assign;

use crate::data::InputCounts;
use crate::dataflow::{Build, BuildError};
use crate::door::{FatalLine, Fault, Rejects, RejectsError, TooManyPairs};
use crate::ledger::{Conductor, LedgerOptions, SourceStatus};
use crate::operators::Routing;
use crate::runtime::cluster::{ClusterConfig, ClusterError, Fingerprint, Peers, Secret};
use crate::runtime::durable::{DurableJob, Start};
use crate::runtime::rejects::RejectsFile;
use crate::runtime::watchdog::Vitals;
use crate::runtime::worker::{Job, Outcome};
use crate::source::{Found, OnDataLoss, Progress, ReadOptions, Source, SourceError};
use crate::time::{Clock, TimeOptions};
use crate::view::Retracted;

/// How a run went.
#[derive(Clone, Debug)]
pub struct Report {
    /// What became of the input of all processes; only process 0 knows.
    pub counts: Option<InputCounts>,
    /// How many epochs there were; 0 on other processes than the first.
    pub epochs: u64,
    /// From the first read to the last commit.
    pub elapsed: Duration,
    /// Whether a signal ended it before its input had ended, or nobody read its output any more.
    pub interrupted: bool,
    /// Whether whoever read its output, all of which went to standard output, has gone away.
    pub unread: bool,
    /// Whether this process could not read a partition to its end.
    pub damaged: bool,
    /// Whether windows or other doors go by event time.
    pub event_time: bool,
    /// Whether any view has had a row; only process 0 knows.
    pub answered: bool,
    /// How far each source was read, in the order in which they were given; only process 0 knows.
    pub sources: Vec<SourceStatus>,
}

/// Why a run did not begin, or why an embedded one ([`Run`]) cannot go on.
///
/// What goes wrong later with [`run`](run()) ends the process: see [`Exit`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The dataflow cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The input cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The processes did not come together.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// An output would overwrite a file that is to be read, or that another output writes.
    #[error("{output} would overwrite {what}\n  hint: write to another file")]
    Overwrite {
        /// Which output that is, as given.
        output: String,
        /// Which file that is.
        what: String,
    },
    /// The file for rejected lines cannot be had.
    #[error(
        "cannot write the rejected lines to {path}: {source}\n  hint: does its directory exist, and may you write there?"
    )]
    CreateRejects {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Rejected lines could not be written.
    #[error(transparent)]
    Rejects(#[from] RejectsError),
    /// The system refused something that the runtime needs.
    #[error("cannot {what}: {source}")]
    System {
        /// What was to be done.
        what: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Timely could not start its workers.
    #[error("cannot start the workers: {0}")]
    Timely(String),
    /// A line that its format does not put up with.
    #[error(transparent)]
    Line(#[from] FatalLine),
    /// A key of a join that makes too many pairs.
    #[error(transparent)]
    Pairs(#[from] TooManyPairs),
    /// The dataflow retracts a row that it has called final.
    #[error(transparent)]
    Retracted(#[from] Retracted),
    /// A worker of an embedded run has panicked, or the dataflow as it was built.
    #[error("{what} panicked: {message}")]
    Panicked {
        /// Who that was.
        what: String,
        /// The message of the panic.
        message: String,
    },
    /// What a worker has built is not what was built to check it.
    #[error("the dataflow is not built the same each time: {0}")]
    Differs(String),
    /// The dataflow reads no such input.
    #[error(
        "the dataflow reads no input `{input}`; its inputs are {inputs:?}\n  hint: name one of them in `push_to`"
    )]
    NoSuchInput {
        /// The input that was named.
        input: String,
        /// Those that there are.
        inputs: Vec<String>,
    },
    /// The dataflow shows no such view.
    #[error("the dataflow shows no view `{view}`; its views are {}", views.join(", "))]
    NoSuchView {
        /// The view that was named.
        view: String,
        /// Those that there are.
        views: Vec<String>,
    },
    /// The rows of a view are of another type.
    #[error(
        "the rows of view {view} are no `{rows}`\n  hint: name the type that the dataflow gives to the view"
    )]
    OtherRows {
        /// The view and its columns.
        view: String,
        /// The type that was named.
        rows: &'static str,
    },
    /// The state cannot be had, or is that of something else.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// The run has been finished, or has failed before.
    #[error("the run is over: it was finished, or has failed")]
    Over,
}

impl From<Fault> for RunError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Line(line) => line.into(),
            Fault::Pairs(pairs) => pairs.into(),
        }
    }
}

impl RunError {
    /// The exit code of the command that meets this error.
    pub fn exit(&self) -> Exit {
        match self {
            RunError::Build(_)
            | RunError::Overwrite { .. }
            | RunError::NoSuchInput { .. }
            | RunError::NoSuchView { .. }
            | RunError::OtherRows { .. } => Exit::Configuration,
            // It was read, and cannot be written down.
            RunError::Source(SourceError::Spool { .. }) => Exit::Output,
            RunError::Source(_) | RunError::Line(_) | RunError::Pairs(_) => Exit::Input,
            RunError::Retracted(_) | RunError::CreateRejects { .. } | RunError::Rejects(_) => Exit::Output,
            RunError::Cluster(
                ClusterError::NoSuchProcess { .. }
                | ClusterError::BadAddress(_)
                | ClusterError::Insecure { .. }
                | ClusterError::Hostfile { .. }
                | ClusterError::HostfileShort { .. }
                | ClusterError::HostfileLine { .. }
                | ClusterError::SecretFile { .. }
                | ClusterError::SecretLength { .. },
            ) => Exit::Configuration,
            RunError::Durable(error) => error.exit(),
            RunError::Cluster(_) => Exit::Join,
            RunError::System { .. }
            | RunError::Timely(_)
            | RunError::Panicked { .. }
            | RunError::Differs(_)
            | RunError::Over => Exit::Panic,
        }
    }
}

/// Runs `build` as `settings` say, until its input has ended or a signal asks for the end.
///
/// Ends the process, with the code that [`Exit`] documents, when something goes wrong after the start.
///
/// # Errors
///
/// When the run cannot begin.
pub fn run(build: &Build, settings: &Settings, progress: Arc<Progress>) -> Result<Report, RunError> {
    raise_open_files();
    let mut begin = Begin::prepare(build, settings)?;
    let workers = settings.workers;
    let (process, processes) = (begin.process, begin.processes);
    let rejects = settings.rejects.as_deref().map(RejectsFile::take).transpose()?;
    let drawn = draw_routing()?;
    type Guard = Box<dyn std::any::Any + Send>;
    let (builders, guard, peers, drawn): (Vec<AllocatorBuilder>, Guard, Peers, _) = match &settings.cluster {
        None => {
            let builders = ProcessBuilder::new_typed_vector(workers, Hooks::default().refill, None);
            let builders = builders.into_iter().map(AllocatorBuilder::Process).collect();
            (builders, Box::new(()), Peers::default(), drawn)
        }
        Some(cluster) => {
            fatal::name_peers(cluster.process, &cluster.addresses);
            let config = join_config(cluster, settings, build)?;
            let connected = |source| RunError::System { what: "set up the connections", source };
            // Process 0 draws for all, and knows what they go on from.
            let offer = [&drawn[..], &begin.start.as_ref().map(Start::offer).unwrap_or_default()].concat();
            let joined = cluster::join(&config, &offer)?;
            let (drawn, offer) = joined
                .offer
                .split_first_chunk()
                .ok_or_else(|| connected(std::io::ErrorKind::InvalidData.into()))?;
            if let Some(durable) = settings.durable.as_ref().filter(|_| process > 0) {
                begin.start = Some(Start::follow(durable, settings, build, offer)?);
            }
            let drawn = *drawn;
            let (links, peers) =
                cluster::link(joined.sockets, &config.peers(), process, workers).map_err(connected)?;
            let hooks = Hooks::default();
            let local = ProcessBuilder::new_typed_vector(workers, hooks.refill.clone(), hooks.spill.clone());
            let (builders, guard) = initialize_networking_from_sockets(local, links, process, workers, hooks)
                .map_err(connected)?;
            (builders.into_iter().map(AllocatorBuilder::Tcp).collect(), Box::new(guard), peers, drawn)
        }
    };
    let (partitions, bytes) =
        begin.conductor.as_ref().map_or((0, 0), |it| (it.partitions(), it.total_bytes()));
    let share = if settings.is_bounded() { bytes / processes as u64 } else { 0 };
    progress.total.store(share, std::sync::atomic::Ordering::Relaxed);

    let vitals: Vec<Arc<Vitals>> = (0..workers).map(|_| Arc::default()).collect();
    let first = process * workers;
    // An epoch of live input is rightly open for a tick before it can close.
    let limit = settings.stall_timeout + if settings.is_bounded() { Duration::ZERO } else { settings.tick };
    watchdog::watch(vitals.clone(), first, limit, peers, Arc::clone(&progress))
        .map_err(|source| RunError::System { what: "start the watchdog", source })?;

    let rejects = rejects.map(RejectsFile::empty).transpose()?;
    stop::running();
    log::info!(
        "{} with {workers} workers in each of {processes} processes: {partitions} partitions, {bytes} bytes",
        build.name()
    );
    let begun = now();
    let job = begin.job(build, settings, progress, rejects.clone(), vitals, Routing::of(drawn))?;
    let config = WorkerConfig::default();
    let guards = execute_from(builders, guard, config, move |worker| worker::work(worker, &job))
        .map_err(RunError::Timely)?;
    let mut outcomes =
        guards.join().into_iter().collect::<Result<Vec<Outcome>, _>>().map_err(RunError::Timely)?;

    rejects.iter().try_for_each(Rejects::flush)?;

    let counts = (process == 0).then(|| outcomes[0].counts);
    let (interrupted, unread) = (stop::requested(), stop::is_unread());
    let damaged = outcomes.iter().any(|outcome| outcome.damaged);
    let Outcome { epochs, event_time, answered, sources, .. } = outcomes.swap_remove(0);
    let elapsed = now() - begun;
    Ok(Report { counts, epochs, elapsed, interrupted, unread, damaged, event_time, answered, sources })
}

/// What a process of a run begins with.
#[derive(Debug)]
struct Begin {
    process: usize,
    processes: usize,
    sources: Vec<Arc<dyn Source>>,
    /// What it goes on from, if it is durable.
    start: Option<Start>,
    /// What process 0 has found that is to be read, where it goes on from something.
    found: Vec<(u32, Vec<Found>)>,
    /// On process 0.
    conductor: Option<Conductor>,
}

impl Begin {
    /// Looks what there is to read, and to go on from.
    fn prepare(build: &Build, settings: &Settings) -> Result<Self, RunError> {
        let outline = build.check()?;
        let process = settings.cluster.as_ref().map_or(0, |cluster| cluster.process);
        let processes = settings.cluster.as_ref().map_or(1, |cluster| cluster.addresses.len());
        // Process 0 looks for the partitions, and all others go by what it finds.
        let sources: Vec<_> = settings.sources.iter().map(|(_, source)| Arc::clone(source)).collect();
        let mut start = match settings.durable.as_ref().filter(|_| process == 0) {
            Some(durable) => Some(Start::look(durable, settings, build, &outline)?),
            None => None,
        };
        let mut found = Vec::new();
        if process == 0 {
            for (number, source) in sources.iter().enumerate() {
                let before = start.as_ref().map_or(&[][..], |start| start.read_before(number));
                if !before.is_empty() {
                    source.go_on(before);
                }
            }
            found = Conductor::look(&sources, processes > 1)?;
        }
        overwrite::refuse(settings, &build.files())?;
        if let Some(start) = &mut start {
            start.claim()?;
        }
        let pace = LedgerOptions {
            peers: settings.workers * processes,
            time: settings.times(),
            tick: settings.tick,
            epoch_bytes: settings.epoch_bytes,
            chunk_bytes: settings.read.chunk_bytes,
            max_open_epochs: settings.max_open_epochs,
            max_open_bytes: settings.max_open_bytes,
            event_time: true,
            horizon: Duration::ZERO,
            digest: settings.durable.is_some(),
            on_data_loss: settings.read.on_data_loss,
            once: settings.once,
            incarnation: start.as_ref().map_or(0, Start::incarnation),
        };
        let mut conductor = (process == 0).then(|| Conductor::without_partitions(pace, &sources));
        // What an earlier run has read comes before what is found now.
        if let Some(conductor) = conductor.as_mut().filter(|_| start.is_none()) {
            let found = std::mem::take(&mut found);
            found.into_iter().for_each(|(source, found)| conductor.discover(source, found));
        }
        Ok(Begin { process, processes, sources, start, found, conductor })
    }

    /// What its workers are given.
    fn job(
        self,
        build: &Build,
        settings: &Settings,
        progress: Arc<Progress>,
        rejects: Option<Rejects>,
        vitals: Vec<Arc<Vitals>>,
        routing: Routing,
    ) -> Result<Job, RunError> {
        let Begin { process, processes, sources, start, found, conductor } = self;
        let workers = settings.workers;
        let durable = start.map(|start| DurableJob::new(start, found, process, processes, workers, sources));
        Ok(Job {
            build: build.clone(),
            settings: settings.clone(),
            conductor: Mutex::new(conductor),
            progress,
            rejects,
            vitals,
            first: process * workers,
            routing,
            durable: durable.transpose()?,
        })
    }
}

/// Draws how the keys of a run are dealt to its workers.
fn draw_routing() -> Result<[u8; Routing::BYTES], RunError> {
    let mut drawn = [0; Routing::BYTES];
    let failed = |error: getrandom::Error| RunError::System {
        what: "draw random numbers",
        source: std::io::Error::other(error.to_string()),
    };
    getrandom::fill(&mut drawn).map_err(failed)?;
    Ok(drawn)
}

fn join_config(
    cluster: &ClusterSettings,
    settings: &Settings,
    build: &Build,
) -> Result<ClusterConfig, RunError> {
    let fingerprint = fingerprint(settings, build)
        .map_err(|source| RunError::System { what: "read this program's own file", source })?;
    let addresses = cluster.addresses.clone();
    let mut config = ClusterConfig::new(cluster.process, addresses, settings.workers, fingerprint);
    config.secret = match (&cluster.secret_file, &cluster.secret) {
        (Some(path), _) => Some(Secret::from_file(path)?),
        (None, Some(secret)) => Some(Secret::new(secret.as_bytes())?),
        (None, None) => None,
    };
    config.insecure = cluster.insecure;
    config.join_timeout = cluster.join_timeout;
    config.handshake_timeout = cluster.handshake_timeout;
    Ok(config)
}

/// Of everything that must be equal for processes to understand each other: the program itself, byte for byte, since
/// what timely exchanges has no description of its own, and what it was told to run.
fn fingerprint(settings: &Settings, build: &Build) -> std::io::Result<Fingerprint> {
    let program = digest(File::open(std::env::current_exe()?)?)?;
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    part(&program);
    part(build.name().as_bytes());
    build.parts().for_each(|bytes| part(&bytes));
    // What decides which operators are built.
    settings.sinks.iter().for_each(|sink| part(sink.uri.as_bytes()));
    // What all must mean by an epoch.
    settings.sources.iter().for_each(|(input, source)| {
        part(input.as_deref().unwrap_or_default().as_bytes());
        part(source.uri().as_bytes());
    });
    let ReadOptions { chunk_bytes, max_line, on_data_loss } = settings.read;
    [chunk_bytes, settings.epoch_bytes, max_line as u64].iter().for_each(|bytes| part(&bytes.to_be_bytes()));
    part(&[u8::from(on_data_loss == OnDataLoss::Continue)]);
    let TimeOptions { clock, lateness, idle_timeout, max_ahead } = settings.time;
    part(&[u8::from(clock == Clock::Arrival)]);
    [lateness, idle_timeout, max_ahead].iter().for_each(|time| part(&time.as_nanos().to_be_bytes()));
    Ok(Fingerprint(hash.finalize().into()))
}

/// SHA-256 of all that `reader` has, a piece at a time: a program may be larger than all that it needs to run.
fn digest(mut reader: impl Read) -> std::io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        match reader.read(&mut piece)? {
            0 => return Ok(hash.finalize().into()),
            read => hash.update(&piece[..read]),
        }
    }
}

/// A variable of the environment, if it is set and is text.
#[expect(clippy::disallowed_methods, reason = "this is the function that the ban sends everybody to")]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Whether terminals are to be written to without escape sequences and without redrawing: the variable `NO_COLOR` is set
/// to something, or `TERM` says that the terminal is `dumb`.
pub fn is_plain_wanted() -> bool {
    environment("NO_COLOR").is_some_and(|set| !set.is_empty())
        || environment("TERM").as_deref() == Some("dumb")
}

/// Where files that nobody keeps go.
pub fn temporary_directory() -> std::path::PathBuf {
    std::env::temp_dir()
}
