//! Snapshots on a storage, as Parquet files that other programs read.
//!
//! ```text
//! process 0: Writer ── changes of each door ──▶ PartWriter ── Written ──┐
//! process 1: Writer ── …                    ──▶ PartWriter ── Written ──┤
//!                          tables/…-0-7.parquet   │                     ▼
//!                          tables/…-1-4.parquet ◀─┘            Manifests, on process 0 ──▶ manifests/…
//!                          tables/…-m-2.parquet ◀── merging, a thread of its own ◀──┘
//! ```
//!
//! Each process writes what changed of its rows ([`PartWriter`]) under names that are never used again, and says what
//! it has written ([`Written`]). Once all have, and whoever else must has consented, process 0 publishes a
//! [`Manifest`]: the names of all files that together are the snapshot. So publishing costs what changed. A file that
//! no manifest refers to does not count.
//!
//! A door's files are *runs*: sorted by key, each later than those before; the first may be a table, the others
//! say of each key that it has a value, or has none any more. In the background runs are merged, all of them to a new
//! table when the changes have grown to a part of it, or a few of the newest to one when they are many. The next
//! manifest refers to what was merged. The newest three snapshots are kept, and files that none of them refers to are
//! deleted.
//!
//! # Which snapshots count
//!
//! Each start has an *incarnation*, claims it before it writes anything, and says in its claim from which manifest it
//! goes on. A process that was taken for dead may publish still: such a manifest is not in the [`Line`] that its
//! successor continues, and is not restored. It also sees the claim, and stops.
//!
//! # Bytes
//!
//! `manifests/<incarnation>-<sequence>` is JSON with a version and, of the manifest within, an XXH3 checksum. The
//! manifest has the size and checksum of each file, and every byte is looked at when it is loaded.
//! `tables/<frontier>-<incarnation>-<process>-<number>.parquet` has the columns of a door's key and value, see
//! [`data`](crate::data) for their types. In a file of changes a column `put` says whether the row is one. The door's
//! identity is in the file's metadata.
//!
//! ```
//! use std::sync::{Arc, mpsc::channel};
//! use thalweg::state::disk::{Limits, Line, Manifests, PartWriter, load_newest};
//! use thalweg::state::{Identity, StateError, Store, storage::Faulty};
//! use thalweg::time::Epoch;
//!
//! let storage = Arc::new(Faulty::new(1));
//! let line = Line::new([(1, None)]);
//! let (sender, written) = channel();
//! let mut writer = PartWriter::new(storage.clone(), 1, 0, move |written| {
//!     sender.send(written).map_err(|error| StateError::Writer(error.to_string()))
//! });
//! writer.publish(Epoch::new(7), &[Arc::new(Identity::of::<u64, i64>("urls", "totals"))])?;
//!
//! let mut manifests = Manifests::open(storage.clone(), line.clone(), Limits::default())?;
//! let written: Vec<_> = written.try_iter().collect();
//! let published = manifests.publish(Epoch::new(7), &written, br#"{"any":"JSON"}"#)?;
//! assert_eq!(published.manifest, "manifests/00000001-00000001");
//!
//! let newest = load_newest(&*storage, &line)?;
//! assert!(newest.damaged.is_empty());
//! let loaded = newest.loaded.expect("it was published");
//! assert_eq!((loaded.snapshot.frontier(), loaded.manifest.payload()), (Epoch::new(7), r#"{"any":"JSON"}"#));
//! // A snapshot of what some process has written, and others have not yet, is not made.
//! assert!(manifests.publish(Epoch::new(8), &written, b"{}").is_err());
//! # Ok::<(), StateError>(())
//! ```

mod background;
mod manifest;
mod merge;
mod part;
mod publish;
mod read;
mod restore;
mod schema;
mod write;
mod writer;

pub use manifest::{Door, Line, Manifest, Run};
pub use part::Part;
pub use publish::{Kept, Manifests, Publication};
pub use restore::{Loaded, Newest, load, load_newest};
pub use writer::{PartWriter, Written, WrittenDoor};

/// How large files grow, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rows of a file.
    pub rows: usize,
    /// Memory that the rows of a file take, in bytes: a merge has a file of each run in memory.
    pub bytes: usize,
    /// Runs of a door, beyond which some are merged. While a merge is at work, there may be more.
    pub runs: usize,
    /// Rows of changes that are not worth a merge unless there are many runs of them.
    pub few: u64,
    /// Snapshots that are kept.
    pub kept: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { rows: 1 << 19, bytes: 32 << 20, runs: 8, few: 1 << 12, kept: 3 }
    }
}

#[cfg(test)]
mod tests;
