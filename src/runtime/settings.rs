//! The settings of a run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::durable::DurableSettings;
use super::report::Reports;
use crate::sink::SinkSpec;
use crate::source::{ReadOptions, Source};
use crate::time::TimeOptions;

/// How to run a dataflow, checked as far as that is possible without touching anything.
///
/// ```
/// use std::sync::Arc;
/// use thalweg::runtime::Settings;
/// use thalweg::source::{FileSource, Stdin};
/// let files = vec![(None, Arc::new(FileSource::new("logs/*.gz")) as _)];
/// let files = Settings { sources: files, workers: 2, ..Settings::default() };
/// assert!(files.is_bounded());
/// assert!(!Settings { sources: vec![(None, Arc::new(Stdin::default()) as _)], ..files }.is_bounded());
/// ```
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where lines come from, each with the input of the dataflow that it is for; none where the dataflow has but one.
    /// Default: nowhere.
    pub sources: Vec<(Option<String>, Arc<dyn Source>)>,
    /// Where views go. Default: nowhere.
    pub sinks: Vec<SinkSpec>,
    /// The file for the lines of which no records come; see [`Rejects`](crate::door::Rejects). It is emptied first, and
    /// holds those of an epoch when that has closed. Default: none.
    pub rejects: Option<PathBuf>,
    /// Files that these settings are from, each with what messages call it (`the configuration`): no output may
    /// overwrite them, as none may overwrite a source. Default: none.
    pub goes_by: Vec<(String, PathBuf)>,
    /// Worker threads of each process. Default: 1.
    pub workers: usize,
    /// The processes of the cluster, if there is more than one. Default: one process.
    pub cluster: Option<ClusterSettings>,
    /// How bytes are read. Default: [`ReadOptions::default`].
    pub read: ReadOptions,
    /// Bytes that an epoch holds, in whole chunks, at least one of each source. Default: 256 MiB.
    pub epoch_bytes: u64,
    /// How records get their times, and when windows are complete. Default: [`TimeOptions::default`].
    pub time: TimeOptions,
    /// How long an epoch of live input lasts. Default: 1 s.
    pub tick: Duration,
    /// Epochs that a worker may have open before the first of them must be closed everywhere. Default: 3.
    pub max_open_epochs: u64,
    /// Bytes that a worker may have read of open epochs before it must wait to begin another. Default: 1 GiB.
    pub max_open_bytes: u64,
    /// How long an epoch may stay open without anything moving, and another process of the cluster give no sign of life.
    /// Default: 60 s.
    pub stall_timeout: Duration,
    /// Who is told how far the run is, by process 0. Default: nobody.
    pub reports: Option<Reports>,
    /// Whether it ends, in order, when it has read what its live sources had as it began: they are read until each has caught up once.
    /// Default: no.
    pub once: bool,
    /// What of the run outlasts it, and where. Default: nothing.
    pub durable: Option<DurableSettings>,
}

/// How processes find and trust each other. None of it has a default here; those of the command are given.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// The index of this process.
    pub process: usize,
    /// Where each process listens.
    pub addresses: Vec<String>,
    /// The file that holds the shared secret. The command has none unless it is given.
    pub secret_file: Option<PathBuf>,
    /// The shared secret itself, from the environment.
    pub secret: Option<String>,
    /// Whether to do without a secret on addresses that others can reach. The command does not.
    pub insecure: bool,
    /// How long the processes may take to come together. The command gives them 60 s.
    pub join_timeout: Duration,
    /// How long one connection may take to show that it is one of them. The command gives it 5 s.
    pub handshake_timeout: Duration,
}

impl Default for Settings {
    /// One worker, no source and no sink, and the defaults of the command.
    fn default() -> Self {
        Settings {
            sources: Vec::new(),
            sinks: Vec::new(),
            rejects: None,
            goes_by: Vec::new(),
            workers: 1,
            cluster: None,
            read: ReadOptions::default(),
            epoch_bytes: 256 << 20,
            time: TimeOptions::default(),
            tick: Duration::from_secs(1),
            max_open_epochs: 3,
            max_open_bytes: 1 << 30,
            stall_timeout: Duration::from_secs(60),
            reports: None,
            once: false,
            durable: None,
        }
    }
}

impl Settings {
    /// How records get their times. A live record arrives at any time of its epoch, but is stamped with the beginning: it may
    /// be dated a tick further ahead.
    pub(super) fn times(&self) -> TimeOptions {
        let tick = if self.is_bounded() { Duration::ZERO } else { self.tick };
        TimeOptions { max_ahead: self.time.max_ahead.saturating_add(tick), ..self.time }
    }

    /// Whether the input has an end that is known before it is read.
    pub fn is_bounded(&self) -> bool {
        self.sources.iter().all(|(_, source)| source.is_bounded())
    }
}
