//! What can be wrong with state.

use std::error::Error;
use std::fmt;

use crate::data::StoredError;
use crate::state::Difference;
use crate::state::storage::StorageError;

/// A door whose state is of other rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its name.
    pub door: String,
    /// What is not the same; at least one thing.
    pub differences: Vec<Difference>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "door `{}`: ", self.door)?;
        for (at, difference) in self.differences.iter().enumerate() {
            write!(f, "{}{difference}", if at > 0 { "; " } else { "" })?;
        }
        Ok(())
    }
}

/// Why state cannot be written, read or restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Doors whose state came about by other rules.
    #[error(
        "the state is of other rules\n  {}\n  hint: run with the rules as they were, or begin with no state",
        .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  ")
    )]
    Refused(Vec<Refusal>),
    /// A row of a door that its type cannot read.
    #[error("the state of door `{door}` cannot be read")]
    Row {
        /// The door.
        door: String,
        /// What is wrong with the row.
        source: StoredError,
    },
    /// Bytes that are no state.
    #[error("not the state of a door: {reason}, at byte {at}")]
    Damaged {
        /// What is wrong.
        reason: String,
        /// Where.
        at: usize,
    },
    /// Bytes whose checksum says that they are not as they were written.
    #[error("the state is damaged: its checksum is {found:016x}, and was {written:016x}")]
    Checksum {
        /// Of the bytes as they are.
        found: u64,
        /// What they say of themselves.
        written: u64,
    },
    /// State in a form of another release.
    #[error(
        "the state is in format {found}, and this release reads {known}\n  hint: read it with the release that wrote it"
    )]
    Version {
        /// The format of the bytes.
        found: u32,
        /// What can be read.
        known: u32,
    },
    /// A value too long to be stored.
    #[error("a value of door `{door}` has {bytes} bytes, and at most 2^32 - 1 can be stored")]
    TooLong {
        /// The door.
        door: String,
        /// How long it is.
        bytes: usize,
    },
    /// What a store has to say.
    #[error("the store cannot {doing}")]
    Store {
        /// What it was about to do.
        doing: &'static str,
        /// Why it cannot.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A file that is not what a door writes.
    #[error("it is damaged: {reason}")]
    Unreadable {
        /// What is wrong.
        reason: String,
    },
    /// A file of a storage is not as it ought to be.
    #[error("`{name}` in {uri}: {source}")]
    File {
        /// The storage.
        uri: String,
        /// The file.
        name: String,
        /// What is wrong with it.
        source: Box<StateError>,
    },
    /// The storage has failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A later start has taken over.
    #[error(
        "start {ours} of this dataflow has been replaced by start {other}, and may write no more\n  hint: this process \
         was taken for dead; end it"
    )]
    Fenced {
        /// The incarnation that was refused.
        ours: u64,
        /// The one that has taken over.
        other: u64,
    },
    /// Parts that make no snapshot.
    #[error("no snapshot can be made of what the processes have written: {0}")]
    Parts(String),
    /// There are snapshots, and each is damaged.
    #[error(
        "none of the snapshots in {uri} is whole\n  {}\n  hint: restore the files from a copy, if there is one; to begin with nothing, discard the state (--reset)",
        .damage.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  ")
    )]
    NoneWhole {
        /// The storage.
        uri: String,
        /// What is wrong with each, the newest first.
        damage: Vec<StateError>,
    },
    /// The writer's thread has ended before its time.
    #[error("the writer of snapshots has ended early: {0}")]
    Writer(String),
}

impl StateError {
    /// Whether bytes that were written are not there as they were, so that an older snapshot may still be whole.
    pub fn is_damage(&self) -> bool {
        match self {
            StateError::File { source, .. } => source.is_damage(),
            StateError::Damaged { .. } | StateError::Checksum { .. } | StateError::Unreadable { .. } => true,
            _ => false,
        }
    }
}
