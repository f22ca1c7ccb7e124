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
    /// What a file of the state says cannot be read.
    #[error("`{name}` in {uri} is damaged: {reason}")]
    File {
        /// The storage.
        uri: String,
        /// The file.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The storage does not do what it has to.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The writer's thread has ended before its time.
    #[error("the writer of snapshots has ended early: {0}")]
    Writer(String),
}
