//! The tables that a dataflow looks keys up in: read once, for all workers.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::lookup::{Lookup, LookupError, LookupKeys};

/// The tables that were read so far, by what was asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables(Arc<Mutex<Vec<(Asked, Lookup)>>>);

/// A file, the name of its column of keys, and what stands there.
type Asked = (PathBuf, String, LookupKeys);

impl Tables {
    /// The table, which is read if that was not done before.
    pub(super) fn get(&self, path: &Path, key: &str, keys: LookupKeys) -> Result<Lookup, LookupError> {
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = (path.to_owned(), key.to_owned(), keys);
        if let Some((_, table)) = tables.iter().find(|(other, _)| *other == asked) {
            return Ok(table.clone());
        }
        let table = Lookup::read(path, key, keys)?;
        tables.push((asked, table.clone()));
        Ok(table)
    }

    /// The files that were read.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tables.iter().map(|((path, _, _), _)| path.clone()).collect()
    }

    /// Digests of what was read, in order.
    pub(super) fn digests(&self) -> Vec<Vec<u8>> {
        let tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tables.iter().map(|(_, table)| table.digest().to_vec()).collect()
    }
}
