//! Where bytes come from, and at which offset.
//!
//! A [`Source`] finds [`Partition`]s, and opens [`Reader`]s on them. The ledger says up to which offset a reader reads
//! in an epoch, and the worker that has it feeds the [`Chunk`]s that it gives into the dataflow. Sources know bytes,
//! lines and offsets; they know no format, no dataflow, no epoch and no clock.
//!
//! A source is one file of this folder and an entry in [`Sources::builtin`]; a user's own is registered beside them.

mod assemble;
mod blocks;
mod chunk;
mod compressed;
mod dealt;
mod dir;
mod enveloped;
mod file;
mod follow;
mod glob;
mod journald;
#[cfg(feature = "kafka")]
pub mod kafka;
mod limit;
mod memory;
mod partition;
mod progress;
mod registry;
mod shared;
mod socket;
mod stdin;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::envelope::Envelope;
pub(crate) use crate::time::Backoff;
pub use blocks::{BlockReader, BlockWriter};
pub use chunk::{Buffer, Chunk, Lines, Oversize, Place, Pool};
pub(crate) use dealt::{Dealer, Dealt};
pub use dir::DirSource;
pub use enveloped::Enveloped;
pub use file::{FileKind, FileSource};
pub(crate) use follow::{Fingerprint, FollowedFile, Mark, Marks, begins_at};
pub use follow::{FollowFrom, FollowSource};
pub use journald::JournaldSource;
#[cfg(feature = "kafka")]
pub use kafka::KafkaSource;
pub use limit::MaxRate;
pub(crate) use limit::Throttle;
pub use memory::{Memory, MemoryWriter};
pub use partition::{Access, Found, Partition, PartitionId, ReadBefore};
pub use progress::{Gauge, Progress};
pub(crate) use registry::options;
pub use registry::{SourceFactory, SourceUriError, Sources};
pub use socket::{TcpListenSource, TcpSource};
pub use stdin::{Pipe, Stdin};

/// How bytes are read.
///
/// ```
/// let options = thalweg::source::ReadOptions::default();
/// assert_eq!((options.chunk_bytes, options.max_line), (512 << 10, 1 << 20));
/// assert_eq!(options.on_data_loss, thalweg::source::OnDataLoss::Fail);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// Bytes that a worker reads at a time, and the grain in which workers share a partition; zero counts as one.
    /// By default 512 KiB.
    pub chunk_bytes: u64,
    /// The longest line that is read, in bytes without its line end; longer ones are only reported. By default 1 MiB.
    pub max_line: usize,
    /// What is done where something has gone that was to be read, or read again. By default the run ends.
    pub on_data_loss: OnDataLoss,
}

/// What is done where something has gone that was to be read, or read again: a file that was deleted or cut short, messages that a
/// broker no longer has, a replay of which the bytes are others now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDataLoss {
    /// The run ends with an error, and what it keeps is as it was.
    #[default]
    Fail,
    /// It goes on with what there is. What is missing is counted ([`SourceStatus::lost`](crate::ledger::SourceStatus)), and the log says what and why.
    Continue,
}

impl Default for ReadOptions {
    fn default() -> Self {
        // Measured: the larger the chunk the faster, until it no longer fits in a core's second-level cache (1 MiB)
        // with what the parser keeps there; from 512 KiB on a larger one gains less than 2 %.
        ReadOptions { chunk_bytes: 512 << 10, max_line: 1 << 20, on_data_loss: OnDataLoss::Fail }
    }
}

/// Somewhere that lines come from.
///
/// One value serves all workers of a process: it finds partitions on one of them, and opens readers on each.
pub trait Source: std::fmt::Debug + Send + Sync {
    /// The URI that it was made of.
    fn uri(&self) -> &str;

    /// Whether it ends by itself, with what [`find`](Source::find) finds.
    fn is_bounded(&self) -> bool;

    /// Whether its partitions are read one after the other, as the files of a rotated log, rather than side by side.
    fn is_sequence(&self) -> bool {
        false
    }

    /// An earlier run has read `partitions`, the oldest first. Called before [`find`](Source::find), which is then to give what it finds of them
    /// the identity that they had: what is under way goes on by itself, and what has become longer is read on. As provided, it does
    /// nothing: identities are the same in each run.
    fn go_on(&self, partitions: &[ReadBefore]) {
        let _ = partitions;
    }

    /// What it wants to know, in a later run, of a partition that has been read so far, and of which it may remember something from
    /// before: [`go_on`](Source::go_on) has it again. It may read a few blocks of it. `None`, as provided, where the identity says all, or when it cannot be had any more.
    fn memory(&self, read: &ReadBefore) -> Option<String> {
        let _ = read;
        None
    }

    /// Looks for its partitions, the oldest first.
    ///
    /// # Errors
    ///
    /// When they cannot be found or examined.
    fn find(&self) -> Result<Vec<Found>, SourceError>;

    /// How much of it an epoch has at most. As provided, there is no limit beside those of the run.
    fn per_epoch(&self) -> PerEpoch {
        PerEpoch::default()
    }

    /// Whether a partition can be opened at an offset that was read before. If not, a run that is to survive a crash has to
    /// keep what it reads. As provided, it can.
    fn is_replayable(&self) -> bool {
        true
    }

    /// What stands around its lines, where it was read with `options` before and what was kept is read again. As provided, nothing.
    fn envelope(&self, options: ReadOptions) -> Option<Envelope> {
        let _ = options;
        None
    }

    /// How fast lines are taken from it. As provided, as fast as they can be.
    fn max_rate(&self) -> Option<&MaxRate> {
        None
    }

    /// What its offsets count. As provided, bytes.
    fn offset_unit(&self) -> OffsetUnit {
        OffsetUnit::Bytes
    }

    /// What was read of `partition`, all of it, has been shown by every sink. As provided, it does nothing.
    fn done(&self, partition: &Found) {
        let _ = partition;
    }

    /// What looks for partitions that come while the run goes on, after [`find`](Source::find). `None`, as provided, where none do.
    ///
    /// It is asked for once, by the process that finds.
    fn finder(&self) -> Option<Box<dyn Finder>> {
        None
    }

    /// Looks whether this process has the partition that another process found.
    ///
    /// # Errors
    ///
    /// When it has not, or has another one of that name.
    fn check(&self, partition: &Found) -> Result<(), SourceError> {
        let _ = partition;
        Ok(())
    }

    /// `partition` as another process is told of it: closely enough for [`check`](Source::check) to tell there whether it
    /// is the same. It may take a few reads, which a process that is alone is spared.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    fn describe(&self, partition: Found) -> Result<Found, SourceError> {
        Ok(partition)
    }

    /// Opens `partition` at offset `from` for worker `share.worker`.
    ///
    /// `wake` is called whenever there is more to read, by whatever thread finds out.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    fn open(
        &self,
        partition: &Found,
        from: u64,
        share: Share,
        options: ReadOptions,
        wake: Wake,
    ) -> Result<Box<dyn Reader>, SourceError>;

    /// The first bytes of `partition`, uncompressed: some tens of whole lines, or all that it has, from which formats learn what
    /// they have to know.
    /// Empty, as provided, where it cannot be looked at before it is read.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    fn head(&self, partition: &Found) -> Result<Vec<u8>, SourceError> {
        let _ = partition;
        Ok(Vec::new())
    }

    /// The files that it reads, which no sink may overwrite.
    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

/// How much of a source an epoch has at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerEpoch {
    /// Partitions, such as files.
    pub partitions: u64,
    /// Bytes of partitions whose size is known; one partition is read, however large.
    pub bytes: u64,
}

impl Default for PerEpoch {
    /// No limit.
    fn default() -> Self {
        PerEpoch { partitions: u64::MAX, bytes: u64::MAX }
    }
}

/// What the offsets of a source count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OffsetUnit {
    /// Bytes, decompressed where that makes a difference.
    #[default]
    Bytes,
    /// Messages.
    Messages,
    /// Something from which no amount can be told, such as times.
    Other,
}

/// Looks for partitions that come while a run goes on, on a thread of its own.
pub trait Finder: Send {
    /// Waits for further partitions, about as long as `patience` and no longer; returns those that have come, the oldest first.
    ///
    /// What fails in passing is its own business: it says so, waits, and tries again.
    ///
    /// # Errors
    ///
    /// When no partitions can be found any more. The run ends with that.
    fn wait(&mut self, patience: Duration) -> Result<Vec<Found>, SourceError>;
}

/// Which worker a reader is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Its index among all workers of the run.
    pub worker: usize,
    /// How many there are.
    pub peers: usize,
}

/// Tells a worker that there is more to read.
pub type Wake = std::sync::Arc<dyn Fn() + Send + Sync>;

/// What a poll of a [`Reader`] came to.
#[derive(Debug)]
pub enum Step {
    /// Lines.
    Chunk(Chunk),
    /// Every line that starts before the offset asked for has been given.
    Reached,
    /// It has caught up with its source: nothing now, maybe more later.
    CaughtUp,
    /// The partition is at its end for good.
    Ended,
    /// The partition goes on, and what follows cannot be had: its bytes are damaged. Everything before has been given. Others are
    /// still read, and the run ends as one that has not read all that it should have.
    Damaged(SourceError),
}

/// One worker's share of one partition.
pub trait Reader: std::fmt::Debug {
    /// Reads on, for no longer than a read from disk takes; gives only lines that start before offset `upto`.
    ///
    /// # Errors
    ///
    /// When the partition cannot be read on: nothing was skipped, and the error says where it stopped. A reader that
    /// failed is not polled again.
    fn poll(&mut self, upto: u64, pool: &Pool) -> Result<Step, SourceError>;

    /// How far it has been read: every line of this share that starts before has been given, and no other line has.
    fn offset(&self) -> u64;

    /// Whether [`Step::CaughtUp`] means that the source is at its end for now. If not, more is under way: the partition is
    /// not taken for idle, and what is read again as it was read before waits for it.
    fn is_at_end(&self) -> bool {
        true
    }

    /// The offset behind all that its source has now, as far as it knows without asking. `None`, as provided, where it cannot know.
    fn latest(&self) -> Option<u64> {
        None
    }

    /// How much of it has gone, since it was opened, before it could be read, in the unit of its offsets, as far as that is known. As
    /// provided, nothing.
    fn lost(&self) -> u64 {
        0
    }

    /// Takes nothing more from outside; what it has taken is still to be given.
    fn stop(&mut self) {}

    /// Whether it has stopped, and has given all that it had taken.
    fn has_stopped(&self) -> bool {
        true
    }
}

/// Why a source cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// No file has this name, or the glob matches none.
    #[error("no file matches `{pattern}`\n  hint: a relative path starts at the working directory, {cwd}")]
    NotFound {
        /// The path or glob as given.
        pattern: String,
        /// The working directory.
        cwd: PathBuf,
    },
    /// The glob is not well formed.
    #[error("`{pattern}` is not a valid glob: {reason}")]
    BadGlob {
        /// The glob as given.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file could not be opened or examined.
    #[error("cannot open {path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The path is a directory or another thing that has no fixed content.
    #[error("{path} is {kind}, not a regular file\n  hint: {hint}")]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is, with an article: `a directory`.
        kind: &'static str,
        /// What to do instead.
        hint: &'static str,
    },
    /// A partition that can be read once only was asked for again, or from its middle.
    #[error(
        "{partition} cannot be read from byte {offset}: what was read of it is gone\n  \
         hint: it is no file; read it through one if it has to be read again"
    )]
    Gone {
        /// The partition's name.
        partition: String,
        /// From where it was to be read.
        offset: u64,
    },
    /// What was read cannot be kept on disk, or read from there again.
    #[error(
        "what was read of {partition} cannot be kept: {reason}\n  hint: it gives nothing twice, so it is kept in --state until it is in a snapshot"
    )]
    Spool {
        /// The partition's name.
        partition: String,
        /// The reason.
        reason: String,
    },
    /// What is read again is not what was read before.
    #[error(
        "{partition} has changed: what stands from byte {from} up to byte {upto} is not what was read there before\n  \
         hint: restore it; or --on-data-loss=continue takes what is there, and --reset begins anew"
    )]
    Changed {
        /// The partition's name.
        partition: String,
        /// Where the changed part begins.
        from: u64,
        /// Where it ends.
        upto: u64,
    },
    /// What another process, or another run, says of a partition cannot be understood.
    #[error("{partition} is described in a way that this program does not understand: {reason}")]
    Detail {
        /// The partition's name.
        partition: String,
        /// What is wrong.
        reason: String,
    },
    /// A read failed.
    #[error("cannot read {partition} at byte {offset}: {source}")]
    Read {
        /// The partition's name.
        partition: String,
        /// Where the read began; in a compressed file, of the decompressed bytes.
        offset: u64,
        /// The system's or the decoder's reason.
        source: std::io::Error,
    },
    /// A certificate or its key is not fit for use.
    #[error("{path}: {reason}\n  hint: {hint}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong, with whose certificate it is; nothing of a key.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// A service cannot be asked for what it has, or refuses it.
    #[error("{service}: {reason}")]
    Service {
        /// Which one, as a URI without secrets.
        service: String,
        /// What is wrong, with a hint where there is one.
        reason: String,
    },
    /// What was to be read next is not there any more.
    #[error("{partition} cannot be read on from offset {offset}: {reason}\n  hint: {hint}")]
    Lost {
        /// The partition's name.
        partition: String,
        /// What its source counts, up to where everything has been read.
        offset: u64,
        /// What has become of it.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// A file is not the one that was planned.
    #[error(
        "{path} is not the file that was found as the run began\n  \
         hint: if it was put in another's place in the meantime, run again; all processes of a cluster read the same files, \
         under the same names, each its share"
    )]
    Differs {
        /// The file.
        path: PathBuf,
    },
    /// A file ended before the length it had at the start.
    #[error(
        "{path} has shrunk: it ended at byte {offset}, but had {expected} bytes at the start\n  \
         hint: something truncated or replaced the file while it was read; run again"
    )]
    Shrunk {
        /// The file.
        path: PathBuf,
        /// Where it ends now.
        offset: u64,
        /// Its length when the run began.
        expected: u64,
    },
}

impl SourceError {
    /// Whether it says that what was to be read has gone, and not that it cannot be had for now, or was asked for wrongly: what
    /// [`OnDataLoss`] is about.
    pub fn is_loss(&self) -> bool {
        match self {
            SourceError::Open { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
            SourceError::Gone { .. }
            | SourceError::Changed { .. }
            | SourceError::Lost { .. }
            | SourceError::Differs { .. }
            | SourceError::Shrunk { .. } => true,
            _ => false,
        }
    }
}
