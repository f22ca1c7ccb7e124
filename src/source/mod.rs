//! Where bytes come from, and at which offset.
//!
//! A [`Reader`] is one worker's share of a source: the runtime polls it and feeds the [`Chunk`]s that it gives
//! into the dataflow at the open epoch. Sources know bytes, lines and offsets; they know no format and no dataflow.
//!
//! Two kinds of source differ only in who ends an epoch. A *planned* source ([`Plan`]: files) has its bytes cut into
//! epochs beforehand, by a rule that does not know how many workers there are; its readers say
//! [`Step::EndEpoch`]. A *live* source ([`Stdin`]) never says so: the runtime ends its epochs by the clock or by a
//! byte budget.

mod assemble;
mod chunk;
mod decode;
mod file;
mod plan;
mod progress;
mod stdin;

use std::path::PathBuf;
use std::sync::Arc;

pub use chunk::{Buffer, Chunk, Lines, Oversize, Place, Pool};
pub use plan::{FileKind, Plan, PlanOptions, PlannedFile};
pub use progress::Progress;
pub use stdin::Stdin;

/// What a poll of a [`Reader`] came to.
#[derive(Debug)]
pub enum Step {
    /// Lines of the open epoch.
    Chunk(Chunk),
    /// This reader has given all that the open epoch holds for it; the next poll belongs to the next epoch.
    EndEpoch,
    /// Nothing now; the worker is unparked when there is more.
    Idle,
    /// Nothing ever again.
    Done,
}

/// One worker's share of one source.
pub trait Reader: std::fmt::Debug {
    /// Reads on, for no longer than a read from disk takes.
    ///
    /// # Errors
    ///
    /// When the source cannot be read on: nothing was skipped, and the error says where it stopped. A reader that
    /// failed is not polled again.
    fn poll(&mut self, pool: &Pool) -> Result<Step, SourceError>;

    /// How far the source has been read, as partitions and offsets: every line that starts before the offset is in
    /// an epoch that is closed, and no other line is.
    ///
    /// A planned reader moves it when it says [`Step::EndEpoch`]. It names the partition that the epoch ended in;
    /// those that this reader reads before that one are done. Where workers share a partition in interleaved chunks,
    /// all of them say the same: where the epoch ends, not where their own last chunk does. A live reader does not
    /// end epochs: it says how far it has given lines, and whoever ends the epoch asks then.
    fn position(&self) -> Vec<(Arc<str>, u64)>;
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
    /// A file is not the one that was planned.
    #[error(
        "{path} is not the file that the plan was made of: it is shorter, or begins with other bytes\n  \
         hint: all processes of a cluster read the same files, under the same names, each its share"
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
