//! Changes and tables as bytes.
//!
//! ```text
//! magic       8  "thwgkeep"
//! version     4  1
//! frontier    8  the number of the first epoch that is not in it
//! gone        1  whether the next means anything
//!             8  all rows whose key begins with an earlier time are gone
//! identity    4  its length, then itself in JSON
//! changes     8  how many
//! puts        8  how many of these are puts
//! marks       ⌈changes / 8⌉  a bit a change, the lowest first: whether it is a put
//! key         the columns of the key, as many as the identity has, `changes` values each
//! value       those of the value, `puts` values each
//! checksum    8  XXH3 of all bytes before
//!
//! column:
//! nulls       1  whether there are any, and if so ⌈values / 8⌉: a bit a value, whether there is one
//! values      U64, I64, Time: 8 each; I128: 16 each; Bool: a bit each;
//!             Text, Bytes, Opaque: 4 each for its length, then all of them
//! ```
//!
//! Numbers are little-endian, signed ones in two's complement. A null stands as a zero or an empty
//! value. A table is changes that are all puts, in the order of their keys.
//!
//! A snapshot is the bytes `thwgsnap`, a version (4), the frontier (8), the number of doors (4),
//! and for each of them, in the order of their names, a length (8) and a table; and the checksum
//! (8).

use twox_hash::XxHash3_64;

use crate::data::{Column, ColumnType, Data, Field};
use crate::state::{Changes, Identity, Snapshot, StateError, Table};
use crate::time::Epoch;

const CHANGES: &[u8; 8] = b"thwgkeep";
const SNAPSHOT: &[u8; 8] = b"thwgsnap";
/// The version of both forms.
const VERSION: u32 = 1;

/// What encoded changes say of themselves.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) identity: Identity,
    pub(super) frontier: Epoch,
    pub(super) gone_before: Option<i64>,
    pub(super) changes: Changes,
}

/// Changes of door `identity` before `frontier`, as bytes.
pub(super) fn encode(
    identity: &Identity,
    frontier: Epoch,
    gone_before: Option<i64>,
    changes: &Changes,
) -> Result<Vec<u8>, StateError> {
    let mut to = Vec::with_capacity(changes.size() + 512);
    to.extend_from_slice(CHANGES);
    to.extend_from_slice(&VERSION.to_le_bytes());
    to.extend_from_slice(&frontier.number().to_le_bytes());
    to.push(u8::from(gone_before.is_some()));
    to.extend_from_slice(&gone_before.unwrap_or(0).to_le_bytes());
    let json = serde_json::to_vec(identity)
        .map_err(|error| StateError::Store { doing: "describe a door", source: error.into() })?;
    to.extend_from_slice(&length(identity, json.len())?.to_le_bytes());
    to.extend_from_slice(&json);
    let puts = changes.puts.iter().filter(|put| **put).count();
    to.extend_from_slice(&(changes.len() as u64).to_le_bytes());
    to.extend_from_slice(&(puts as u64).to_le_bytes());
    put_bits(&changes.puts, &mut to);
    changes.key.iter().chain(&changes.value).try_for_each(|column| put_column(identity, column, &mut to))?;
    seal(&mut to);
    Ok(to)
}

fn length(identity: &Identity, bytes: usize) -> Result<u32, StateError> {
    u32::try_from(bytes).map_err(|_| StateError::TooLong { door: identity.name().to_owned(), bytes })
}

fn seal(to: &mut Vec<u8>) {
    let checksum = XxHash3_64::oneshot(to);
    to.extend_from_slice(&checksum.to_le_bytes());
}

fn put_bits(bits: &[bool], to: &mut Vec<u8>) {
    to.extend(
        bits.chunks(8)
            .map(|bits| bits.iter().enumerate().fold(0, |byte, (at, bit)| byte | u8::from(*bit) << at)),
    );
}

fn put_column(identity: &Identity, column: &Column, to: &mut Vec<u8>) -> Result<(), StateError> {
    to.push(u8::from(column.present().is_some()));
    if let Some(present) = column.present() {
        put_bits(present, to);
    }
    match column.data() {
        Data::Words(words) => words.iter().for_each(|word| to.extend_from_slice(&word.to_le_bytes())),
        Data::Wide(wide) => wide.iter().for_each(|wide| to.extend_from_slice(&wide.to_le_bytes())),
        Data::Bits(bits) => put_bits(bits, to),
        Data::Bytes { ends, bytes } => {
            let mut start = 0;
            for end in ends {
                to.extend_from_slice(&length(identity, end - start)?.to_le_bytes());
                start = *end;
            }
            to.extend_from_slice(bytes);
        }
    }
    Ok(())
}

/// Reads what [`encode`] wrote.
pub(super) fn decode(bytes: &[u8]) -> Result<Encoded, StateError> {
    let mut from = Bytes::open(bytes, CHANGES)?;
    let frontier = from.epoch()?;
    let gone = from.flag()?;
    let gone_before = i64::from_le_bytes(from.array()?);
    let gone_before = gone.then_some(gone_before);
    let json = from.u32()? as usize;
    let json = from.take(json)?;
    let identity: Identity = serde_json::from_slice(json)
        .map_err(|error| from.damaged(format!("what it says of its door is not understood: {error}")))?;
    let rows = from.count()?;
    let puts = from.count()?;
    let marks = from.bits(rows)?;
    if marks.iter().filter(|put| **put).count() != puts {
        return Err(from.damaged("another number of puts than it says"));
    }
    let mut columns = |fields: &[Field], rows: usize| -> Result<Vec<Column>, StateError> {
        fields.iter().map(|field| from.column(field, rows)).collect()
    };
    let key = columns(identity.key(), rows)?;
    let value = columns(identity.value(), puts)?;
    from.end()?;
    Ok(Encoded { identity, frontier, gone_before, changes: Changes { puts: marks, key, value } })
}

/// `snapshot` as bytes.
pub(super) fn encode_snapshot(snapshot: &Snapshot) -> Result<Vec<u8>, StateError> {
    let mut to = Vec::new();
    to.extend_from_slice(SNAPSHOT);
    to.extend_from_slice(&VERSION.to_le_bytes());
    to.extend_from_slice(&snapshot.frontier().number().to_le_bytes());
    to.extend_from_slice(&(snapshot.tables().len() as u32).to_le_bytes());
    for table in snapshot.tables() {
        let bytes = encode(&table.identity, snapshot.frontier(), None, &table.rows)?;
        to.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        to.extend_from_slice(&bytes);
    }
    seal(&mut to);
    Ok(to)
}

/// Reads what [`encode_snapshot`] wrote.
pub(super) fn decode_snapshot(bytes: &[u8]) -> Result<Snapshot, StateError> {
    let mut from = Bytes::open(bytes, SNAPSHOT)?;
    let frontier = from.epoch()?;
    let doors = from.u32()?;
    let mut tables = Vec::new();
    for _ in 0..doors {
        let length = from.count()?;
        let Encoded { identity, frontier: of, changes, .. } = decode(from.take(length)?)?;
        if of != frontier {
            return Err(from.damaged(format!("a table as of epoch {of}")));
        }
        if changes.puts.iter().any(|put| !put) {
            return Err(from.damaged("a table from which something is taken away"));
        }
        tables.push(Table { identity, rows: changes });
    }
    from.end()?;
    Ok(Snapshot::new(frontier, tables))
}

/// Bytes that are read from the front.
struct Bytes<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    /// What is between a magic number with a version that we know, and a checksum that is right.
    fn open(bytes: &'a [u8], magic: &[u8; 8]) -> Result<Self, StateError> {
        let Some((body, checksum)) = bytes.split_last_chunk::<8>() else {
            return Err(StateError::Damaged { reason: "it is too short".to_owned(), at: 0 });
        };
        let mut from = Bytes { all: body, at: 0 };
        if from.take(magic.len())? != magic {
            let reason = format!("it does not begin with `{}`", magic.escape_ascii());
            return Err(StateError::Damaged { reason, at: 0 });
        }
        let version = from.u32()?;
        if version != VERSION {
            return Err(StateError::Version { found: version, known: VERSION });
        }
        let (found, written) = (XxHash3_64::oneshot(body), u64::from_le_bytes(*checksum));
        if found != written {
            return Err(StateError::Checksum { found, written });
        }
        Ok(from)
    }

    fn damaged(&self, reason: impl Into<String>) -> StateError {
        StateError::Damaged { reason: reason.into(), at: self.at }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], StateError> {
        let taken = self.all.get(self.at..).and_then(|rest| rest.get(..count));
        let taken = taken.ok_or_else(|| self.damaged(format!("it ends where {count} bytes belong")))?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StateError> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| self.damaged("it ends within a number"))
    }

    fn u32(&mut self) -> Result<u32, StateError> {
        self.array().map(u32::from_le_bytes)
    }

    fn epoch(&mut self) -> Result<Epoch, StateError> {
        let number = u64::from_le_bytes(self.array()?);
        if number > Epoch::MAX_NUMBER {
            return Err(self.damaged(format!("there is no epoch {number}")));
        }
        Ok(Epoch::new(number))
    }

    /// A number of things; whether there is room for them, is seen as they are read.
    fn count(&mut self) -> Result<usize, StateError> {
        let count = u64::from_le_bytes(self.array()?);
        // Places of rows are numbers of 32 bits.
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= u32::MAX as usize || *count <= self.all.len())
            .ok_or_else(|| self.damaged(format!("it cannot have {count} of something")))
    }

    fn flag(&mut self) -> Result<bool, StateError> {
        match self.array::<1>()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(self.damaged(format!("{other} is neither yes nor no"))),
        }
    }

    fn bits(&mut self, count: usize) -> Result<Vec<bool>, StateError> {
        let bytes = self.take(count.div_ceil(8))?;
        Ok((0..count).map(|at| bytes[at / 8] >> (at % 8) & 1 == 1).collect())
    }

    /// A column of `rows` values; nothing is allocated for values that are not there.
    fn column(&mut self, field: &Field, rows: usize) -> Result<Column, StateError> {
        let present = if self.flag()? { Some(self.bits(rows)?) } else { None };
        let room = |width: usize| rows.saturating_mul(width);
        let data = match field.kind {
            ColumnType::U64 | ColumnType::I64 | ColumnType::Time => {
                let (words, _) = self.take(room(8))?.as_chunks();
                Data::Words(words.iter().map(|word| u64::from_le_bytes(*word)).collect())
            }
            ColumnType::I128 => {
                let (wide, _) = self.take(room(16))?.as_chunks();
                Data::Wide(wide.iter().map(|wide| u128::from_le_bytes(*wide)).collect())
            }
            ColumnType::Bool => Data::Bits(self.bits(rows)?),
            ColumnType::Text | ColumnType::Bytes | ColumnType::Opaque => {
                let (lengths, _) = self.take(room(4))?.as_chunks();
                let mut end = 0usize;
                let ends: Vec<_> = lengths
                    .iter()
                    .map(|length| {
                        end = end.saturating_add(u32::from_le_bytes(*length) as usize);
                        end
                    })
                    .collect();
                Data::Bytes { ends, bytes: self.take(end)?.to_vec() }
            }
        };
        Column::of(field.kind, data, present).ok_or_else(|| self.damaged("a column that is none"))
    }

    fn end(&self) -> Result<(), StateError> {
        match self.all.len() - self.at {
            0 => Ok(()),
            rest => Err(self.damaged(format!("{rest} bytes too many"))),
        }
    }
}
