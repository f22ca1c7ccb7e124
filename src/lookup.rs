//! Static tables: what is known beforehand of a key.
//!
//! A [`Lookup`] is a CSV file held in memory, by one of its columns: what an address belongs to, what a code means. It
//! is read once, before a dataflow is built, and looked up for every record. This module knows files of comma-separated
//! values, and networks; it knows no dataflow and no log.

mod error;
mod networks;

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::hash::BuildHasher as _;
use std::io::Read as _;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use csv::ByteRecord;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use sha2::{Digest as _, Sha256};

use crate::lookup::networks::{Networks, NotOne};

pub use crate::lookup::error::LookupError;

/// How keys of a [`Lookup`] are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupKeys {
    /// As bytes, which must be the same.
    Exact,
    /// As networks in CIDR form (`10.0.0.0/8`, `2001:db8::/32`) or single addresses; an address finds the smallest
    /// network that it is in. An IPv4 address written as IPv6 (`::ffff:10.0.0.1`) is the IPv4 address.
    Networks,
}

impl FromStr for LookupKeys {
    type Err = LookupError;

    /// Reads `exact` or `networks`.
    fn from_str(keys: &str) -> Result<Self, LookupError> {
        match keys {
            "exact" => Ok(LookupKeys::Exact),
            "networks" => Ok(LookupKeys::Networks),
            _ => Err(LookupError::Keys { keys: keys.to_owned() }),
        }
    }
}

/// How large a [`Lookup`] may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookupLimits {
    /// Bytes of the file.
    pub bytes: u64,
    /// Rows, without the header.
    pub rows: u32,
}

impl Default for LookupLimits {
    /// 256 MiB and four million rows.
    fn default() -> Self {
        LookupLimits { bytes: 256 << 20, rows: 4_000_000 }
    }
}

/// A table from a CSV file, by one of its columns.
///
/// Clones share the table, so that one is moved into each closure that asks it.
///
/// ```
/// use thalweg::lookup::{Lookup, LookupKeys};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("networks.csv");
/// std::fs::write(&path, "network,site,room\n10.0.0.0/8,office,\n10.1.0.0/16,lab,\"3, left\"\n")?;
/// let sites = Lookup::read(&path, "network", LookupKeys::Networks)?;
/// assert_eq!(sites.columns(), ["site", "room"]);
///
/// let row = sites.get(b"10.1.2.3").unwrap();
/// assert_eq!([row.column(0), row.column(1)], [&b"lab"[..], b"3, left"]);
/// assert_eq!(sites.get(b"10.2.0.1").unwrap().column(0), b"office");
/// assert!(sites.get(b"192.0.2.1").is_none());
/// assert!(sites.get(b"no address").is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Lookup {
    table: Arc<Table>,
}

struct Table {
    columns: Vec<String>,
    /// The key's place among the columns of the file.
    key: usize,
    rows: Vec<ByteRecord>,
    index: Index,
    digest: [u8; 32],
}

enum Index {
    /// Places of rows by their keys, which the rows have.
    Exact(HashTable<u32>, RandomState),
    Networks(Networks),
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Table { columns, rows, .. } = &*self.table;
        f.debug_struct("Lookup").field("columns", columns).field("rows", &rows.len()).finish_non_exhaustive()
    }
}

/// A row of a [`Lookup`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookupRow<'a> {
    row: &'a ByteRecord,
    key: usize,
}

impl<'a> LookupRow<'a> {
    /// The value of a column by its place among [`Lookup::columns`]; empty if there is no such column.
    #[inline]
    pub fn column(&self, column: usize) -> &'a [u8] {
        // The key stands among the fields of the row, but is not a column.
        let field = if column < self.key { Some(column) } else { column.checked_add(1) };
        field.and_then(|field| self.row.get(field)).unwrap_or_default()
    }

    /// The key, as the file has it: the network, if the keys are networks.
    pub fn key(&self) -> &'a [u8] {
        self.row.get(self.key).unwrap_or_default()
    }
}

/// The address that `text` is, whatever zone it is in.
#[inline]
fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| text.split_once('%')?.0.parse::<Ipv6Addr>().ok().map(IpAddr::V6))
}

impl Lookup {
    /// Reads the CSV file at `path`, whose column `key` has the keys.
    ///
    /// Fields are separated by commas and may be quoted; they may be empty, and may not hold a line break, since a
    /// quote that is left open would swallow the rows behind it. Bytes need not be UTF-8.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or is larger than [`LookupLimits::default`] says, the header does not have the column
    /// or has one twice, a row has more or fewer fields than the header or a key that is no network, or two rows have
    /// the same key.
    pub fn read(path: impl AsRef<Path>, key: &str, keys: LookupKeys) -> Result<Self, LookupError> {
        Self::read_within(path, key, keys, LookupLimits::default())
    }

    /// As [`Lookup::read`], with limits of the caller's.
    ///
    /// # Errors
    ///
    /// As [`Lookup::read`].
    ///
    /// ```
    /// use thalweg::lookup::{Lookup, LookupError, LookupKeys, LookupLimits};
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("codes.csv");
    /// std::fs::write(&path, "code,means\n200,ok\n404,not found\n")?;
    /// let limits = LookupLimits { rows: 1, ..LookupLimits::default() };
    /// let error = Lookup::read_within(&path, "code", LookupKeys::Exact, limits).unwrap_err();
    /// assert!(matches!(error, LookupError::TooManyRows { .. }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read_within(
        path: impl AsRef<Path>,
        key: &str,
        keys: LookupKeys,
        limits: LookupLimits,
    ) -> Result<Self, LookupError> {
        let path = path.as_ref();
        let unreadable = |error| LookupError::Read { path: path.to_owned(), error };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(unreadable)?;
        // Not by the size that the file says it has: it may be a pipe, or still grow.
        file.take(limits.bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > limits.bytes {
            return Err(LookupError::TooManyBytes { path: path.to_owned(), limits });
        }
        Ok(Lookup { table: Arc::new(Reading { path, limits, bytes: &bytes }.table(key, keys)?) })
    }

    /// The names of the columns other than the key, in the order of the file.
    pub fn columns(&self) -> &[String] {
        &self.table.columns
    }

    /// The place of a column for [`LookupRow::column`], looked up once and not for every record.
    pub fn column_of(&self, name: &str) -> Option<usize> {
        self.table.columns.iter().position(|known| known == name)
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.table.rows.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.table.rows.is_empty()
    }

    /// The SHA-256 of the file, by which processes can tell that they have the same table.
    pub fn digest(&self) -> [u8; 32] {
        self.table.digest
    }

    /// The row of `key`: the same bytes, or, where the keys are networks, an address, with or without a zone (`fe80::1%eth0`).
    /// What is not an address is in no network.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<LookupRow<'_>> {
        let row = match &self.table.index {
            Index::Exact(places, hasher) => {
                let same = |row: &u32| self.row(*row).is_some_and(|row| row.key() == key);
                *places.find(hasher.hash_one(key), same)?
            }
            Index::Networks(networks) => networks.get(address(std::str::from_utf8(key).ok()?)?)?,
        };
        self.row(row)
    }

    /// The row of the smallest network that `address` is in, for those who have it already; none where the keys are not
    /// networks.
    #[inline]
    pub fn get_address(&self, address: IpAddr) -> Option<LookupRow<'_>> {
        match &self.table.index {
            Index::Exact(..) => None,
            Index::Networks(networks) => self.row(networks.get(address)?),
        }
    }

    fn row(&self, row: u32) -> Option<LookupRow<'_>> {
        Some(LookupRow { row: self.table.rows.get(row as usize)?, key: self.table.key })
    }
}

/// What every step of reading needs for its errors.
#[derive(Clone, Copy)]
struct Reading<'p> {
    path: &'p Path,
    limits: LookupLimits,
    bytes: &'p [u8],
}

impl Reading<'_> {
    fn table(self, key: &str, keys: LookupKeys) -> Result<Table, LookupError> {
        let mut reader = csv::ReaderBuilder::new().from_reader(self.bytes);
        let header = reader.byte_headers().map_err(|error| self.csv(error))?;
        let mut columns: Vec<_> =
            header.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        let mut seen = HashSet::new();
        if let Some(at) = columns.iter().position(|column| !seen.insert(column)) {
            return Err(LookupError::SameColumn {
                path: self.path.to_owned(),
                column: columns.swap_remove(at),
            });
        }
        let Some(at) = columns.iter().position(|column| column == key) else {
            return Err(LookupError::NoColumn {
                path: self.path.to_owned(),
                column: key.to_owned(),
                columns,
            });
        };
        columns.remove(at);

        let mut rows = Vec::new();
        for row in reader.byte_records() {
            let row = row.map_err(|error| self.csv(error))?;
            if row.as_slice().iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
                let reason = "a field has a line break in it\n  hint: perhaps a quote was left open";
                return Err(self.bad(row.position(), reason));
            }
            if rows.len() >= self.limits.rows as usize {
                return Err(LookupError::TooManyRows { path: self.path.to_owned(), limits: self.limits });
            }
            rows.push(row);
        }
        let index = match keys {
            LookupKeys::Exact => self.exact(&rows, at)?,
            LookupKeys::Networks => self.networks(&rows, at)?,
        };
        Ok(Table { columns, key: at, rows, index, digest: Sha256::digest(self.bytes).into() })
    }

    /// The index by bytes.
    fn exact(self, rows: &[ByteRecord], key: usize) -> Result<Index, LookupError> {
        let hasher = RandomState::default();
        let mut places = HashTable::with_capacity(rows.len());
        let key_of = |row: u32| rows.get(row as usize).and_then(|row| row.get(key)).unwrap_or_default();
        for row in (0..self.limits.rows).take(rows.len()) {
            let hash = hasher.hash_one(key_of(row));
            let same = |other: &u32| key_of(*other) == key_of(row);
            match places.entry(hash, same, |other| hasher.hash_one(key_of(*other))) {
                Entry::Vacant(place) => drop(place.insert(row)),
                Entry::Occupied(other) => return Err(self.same_key(rows, *other.get(), row, key)),
            }
        }
        Ok(Index::Exact(places, hasher))
    }

    /// The index by networks.
    fn networks(self, rows: &[ByteRecord], key: usize) -> Result<Index, LookupError> {
        let mut networks = Vec::with_capacity(rows.len());
        for (row, place) in rows.iter().zip(0..self.limits.rows) {
            let key = row.get(key).unwrap_or_default();
            let network = networks::canonical(key).map_err(|why| {
                let key = key.escape_ascii();
                let reason = match why {
                    NotOne::Syntax => format!(
                        "\"{key}\" is not a network\n  hint: one looks like 10.0.0.0/8, 2001:db8::/32 or 192.0.2.1"
                    ),
                    NotOne::HostBits(network) => {
                        format!("\"{key}\" has bits behind its prefix\n  hint: the network is {network}")
                    }
                };
                self.bad(row.position(), reason)
            })?;
            networks.push((network, place));
        }
        networks.sort_unstable();
        // The first by the lines of the file, not by the networks: an error that does not depend on their order.
        let twice = networks.windows(2).filter(|pair| pair[0].0 == pair[1].0).min_by_key(|pair| pair[1].1);
        if let Some([(_, first), (_, second)]) = twice {
            return Err(self.same_key(rows, *first, *second, key));
        }
        Ok(Index::Networks(Networks::new(networks.into_iter())))
    }

    fn csv(self, error: csv::Error) -> LookupError {
        let reason = match error.kind() {
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                format!("it has {len} fields, and the header {expected_len}")
            }
            _ => error.to_string(),
        };
        self.bad(error.position(), reason)
    }

    fn bad(self, at: Option<&csv::Position>, reason: impl Into<String>) -> LookupError {
        LookupError::BadRow { path: self.path.to_owned(), line: self.line(at), reason: reason.into() }
    }

    fn same_key(self, rows: &[ByteRecord], first: u32, second: u32, key: usize) -> LookupError {
        let row = |row: u32| rows.get(row as usize);
        LookupError::SameKey {
            path: self.path.to_owned(),
            first: self.line(row(first).and_then(ByteRecord::position)),
            line: self.line(row(second).and_then(ByteRecord::position)),
            key: row(second).and_then(|row| row.get(key)).unwrap_or_default().escape_ascii().to_string(),
        }
    }

    /// The line that a row begins in. The reader's own count is one short where lines end in CR LF: it takes the LF
    /// for the beginning of the next row, as it does with empty lines.
    fn line(self, at: Option<&csv::Position>) -> u64 {
        let at = at.and_then(|at| usize::try_from(at.byte()).ok()).unwrap_or_default();
        let ends = self.bytes.iter().skip(at).take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
        let before = self.bytes.get(..at.saturating_add(ends)).unwrap_or_default();
        let lone_returns = before
            .iter()
            .zip(before.iter().skip(1).chain([&0]))
            .filter(|(one, next)| **one == b'\r' && **next != b'\n');
        1 + (memchr::memchr_iter(b'\n', before).count() + lone_returns.count()) as u64
    }
}
