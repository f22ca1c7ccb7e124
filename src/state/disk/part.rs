//! Files of rows.

use std::error::Error;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use twox_hash::XxHash3_64;

use super::Limits;
use super::read::{Expected, read};
use super::write::write;
use crate::state::storage::{Storage, StorageError};
use crate::state::{Changes, Identity, StateError};
use crate::time::Epoch;

/// A checksum, which JSON holds as text, since not every reader of JSON has numbers of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checksum(pub(super) u64);

impl Checksum {
    /// That of `bytes`: XXH3.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Checksum(XxHash3_64::oneshot(bytes))
    }
}

impl Serialize for Checksum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Checksum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let sixteen = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = sixteen.then(|| u64::from_str_radix(&text, 16).ok()).flatten();
        number.map(Checksum).ok_or_else(|| serde::de::Error::custom("a checksum has 16 hexadecimal digits"))
    }
}

/// A file of rows of one door, in the order of their keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name in the storage.
    pub name: String,
    /// How many rows it has.
    pub rows: u64,
    /// How many bytes.
    pub bytes: u64,
    /// The memory that its rows take, in bytes.
    size: u64,
    /// Of all of its bytes.
    checksum: Checksum,
    /// The time of the last row, where keys begin with one: before `gone_before`, all of it is gone.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    last_time: Option<i64>,
}

impl Part {
    /// Whether no row of it is left, since all before `gone` are gone.
    pub(super) fn is_gone(&self, gone: Option<i64>) -> bool {
        matches!((self.last_time, gone), (Some(last), Some(gone)) if last < gone)
    }

    /// Reads it, and looks at every byte.
    pub(super) fn read(
        &self,
        storage: &dyn Storage,
        identity: &Identity,
        table: bool,
    ) -> Result<Changes, StateError> {
        let bytes = self.bytes(storage)?;
        let place = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let expected = Expected { identity, table, rows: place(self.rows), size: place(self.size) };
        read(Bytes::from(bytes), expected).map_err(|error| file(storage, &self.name, error))
    }

    /// Its bytes, which are those that were written.
    pub(super) fn bytes(&self, storage: &dyn Storage) -> Result<Vec<u8>, StateError> {
        let damaged = |error| file(storage, &self.name, error);
        let bytes = read_whole(storage, &self.name)?;
        if bytes.len() as u64 != self.bytes {
            let reason = format!("it has {} bytes where {} belong", bytes.len(), self.bytes);
            return Err(damaged(StateError::Unreadable { reason }));
        }
        let found = Checksum::of(&bytes);
        if found != self.checksum {
            return Err(damaged(StateError::Checksum { found: found.0, written: self.checksum.0 }));
        }
        Ok(bytes)
    }
}

/// The bytes under `name`. That they are missing is damage, and so is that the disk cannot read them.
pub(super) fn read_whole(storage: &dyn Storage, name: &str) -> Result<Vec<u8>, StateError> {
    let reason = match storage.read(name) {
        Ok(Some(bytes)) => return Ok(bytes),
        Ok(None) => "it is missing".to_owned(),
        Err(StorageError::System { source, .. }) if is_of_the_disk(&*source) => {
            format!("the disk cannot read it: {source}")
        }
        Err(error) => return Err(error.into()),
    };
    Err(file(storage, name, StateError::Unreadable { reason }))
}

fn is_of_the_disk(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    let system = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
    system == Some(rustix::io::Errno::IO.raw_os_error())
}

/// `error`, of file `name`.
pub(super) fn file(storage: &dyn Storage, name: &str, error: StateError) -> StateError {
    StateError::File { uri: storage.uri().to_owned(), name: name.to_owned(), source: Box::new(error) }
}

/// Where the names of the files begin that a writer writes; it puts a number behind.
#[derive(Clone, Debug)]
pub(super) struct Naming {
    pub(super) frontier: Epoch,
    pub(super) incarnation: u64,
    /// The process, or `m` for merged ones.
    pub(super) by: String,
}

impl Naming {
    fn name(&self, number: u64) -> String {
        let Naming { frontier, incarnation, by } = self;
        format!("tables/{:012}-{incarnation:08}-{by}-{number}.parquet", frontier.number())
    }
}

/// The incarnation by which the file `name` was written, if it is one of rows.
pub(super) fn incarnation_of(name: &str) -> Option<u64> {
    name.strip_prefix("tables/")?.split('-').nth(1)?.parse().ok()
}

/// Writes rows that come in the order of their keys into files of a bounded size.
pub(super) struct Builder<'a> {
    storage: &'a dyn Storage,
    identity: &'a Identity,
    naming: &'a Naming,
    /// The number of the next file.
    number: &'a mut u64,
    table: bool,
    limits: Limits,
    rows: Changes,
    parts: Vec<Part>,
}

impl<'a> Builder<'a> {
    /// For rows of a table, or for changes.
    pub(super) fn new(
        storage: &'a dyn Storage,
        identity: &'a Identity,
        naming: &'a Naming,
        number: &'a mut u64,
        table: bool,
        limits: Limits,
    ) -> Self {
        let (rows, parts) = (Changes::new(identity), Vec::new());
        Builder { storage, identity, naming, number, table, limits, rows, parts }
    }

    /// Adds change `row` of `from`, whose value is in `value_row`.
    pub(super) fn push(&mut self, from: &Changes, row: usize, value_row: usize) -> Result<(), StateError> {
        self.rows.push_from(from, row, value_row);
        let len = self.rows.len();
        // The size is looked at now and then.
        if len >= self.limits.rows || len.is_multiple_of(64) && self.rows.size() >= self.limits.bytes {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), StateError> {
        let rows = &self.rows;
        let Some(last) = rows.len().checked_sub(1) else { return Ok(()) };
        let name = self.naming.name(*self.number);
        *self.number += 1;
        let bytes = write(self.identity, self.naming.frontier, rows, self.table)
            .map_err(|error| StateError::Store { doing: "write Parquet", source: error.into() })?;
        self.storage.create(&name, &bytes)?;
        self.parts.push(Part {
            name,
            rows: rows.len() as u64,
            bytes: bytes.len() as u64,
            size: rows.size() as u64,
            checksum: Checksum::of(&bytes),
            last_time: rows.time(last),
        });
        self.rows = self.rows.fresh(self.identity);
        Ok(())
    }

    /// The files, all of which are written.
    pub(super) fn finish(mut self) -> Result<Vec<Part>, StateError> {
        self.write()?;
        Ok(self.parts)
    }
}
