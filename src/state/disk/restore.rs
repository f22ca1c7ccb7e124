//! Snapshots from their files.

use std::sync::atomic::AtomicBool;

use super::manifest::{Door, Line, Manifest};
use super::merge::merge;
use crate::state::storage::Storage;
use crate::state::{Changes, Snapshot, StateError, Table};

/// A snapshot as it was published.
#[derive(Debug)]
pub struct Loaded {
    /// The name of its manifest.
    pub name: String,
    /// The manifest, with what its publisher put there.
    pub manifest: Manifest,
    /// The rows of all doors.
    pub snapshot: Snapshot,
}

/// The newest snapshot that is whole.
#[derive(Debug)]
pub struct Newest {
    /// It; `None` if none has been published.
    pub loaded: Option<Loaded>,
    /// Newer ones that are damaged, the newest first: what is wrong with each.
    pub damaged: Vec<StateError>,
}

/// Reads the snapshot whose manifest is `name`, and looks at every byte of it.
///
/// # Errors
///
/// When a file is missing or damaged ([`StateError::is_damage`]), of a newer version, or cannot be read.
pub fn load(storage: &dyn Storage, name: &str) -> Result<Loaded, StateError> {
    let manifest = Manifest::read(storage, name)?;
    let tables = manifest.doors.iter().map(|door| table(storage, door));
    let snapshot = Snapshot::new(manifest.frontier(), tables.collect::<Result<_, _>>()?);
    Ok(Loaded { name: name.to_owned(), manifest, snapshot })
}

/// Reads the newest snapshot of `line` that is whole.
///
/// # Errors
///
/// [`StateError::NoneWhole`] when there are snapshots and all are damaged. When one is of a newer version, or the
/// storage cannot be read, an older one is not looked for.
pub fn load_newest(storage: &dyn Storage, line: &Line) -> Result<Newest, StateError> {
    let mut damaged = Vec::new();
    for name in line.manifests(storage)? {
        match load(storage, &name) {
            Ok(loaded) => return Ok(Newest { loaded: Some(loaded), damaged }),
            Err(error) if error.is_damage() => damaged.push(error),
            Err(error) => return Err(error),
        }
    }
    if damaged.is_empty() {
        return Ok(Newest { loaded: None, damaged });
    }
    Err(StateError::NoneWhole { uri: storage.uri().to_owned(), damage: damaged })
}

/// All rows of a door.
pub(super) fn table(storage: &dyn Storage, door: &Door) -> Result<Table, StateError> {
    let identity = &door.identity;
    let mut rows = Changes::new(identity);
    merge(storage, identity, door.gone_before, &door.runs, &AtomicBool::new(false), |from, row, value| {
        if from.puts[row] {
            rows.push_from(from, row, value);
        }
        Ok(())
    })?;
    Ok(Table { identity: identity.clone(), rows })
}
