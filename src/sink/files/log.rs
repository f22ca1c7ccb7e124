//! What has been committed and is in no file yet: a log of rows.
//!
//! ```text
//! thalweg-rows 1␊            then frames: length (4) kind (1) xxh3 of kind and payload (8) payload
//!   0  head                  JSON: the views with their columns, and which epochs came before
//!   1  rows                  of one epoch
//!   2  commit                the epoch: what came before it is whole
//!   3  last state            the same, of the rows that a run has shown as it ended
//! ```
//!
//! Numbers are little-endian. What stands behind the last commit does not count: it may be torn, or the beginning of an epoch.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use crate::data::{CellType, Kind};
use crate::sink::rows::KeptRow;
use crate::view::{Column, Schema};

const MAGIC: &[u8] = b"thalweg-rows 1\n";
/// Rows are written in frames of about so many bytes.
pub(super) const PIECE: usize = 1 << 16;
/// No frame is longer: a row is a line or an aggregate, and this is many times as much.
const LONGEST: u32 = 1 << 30;

const HEAD: u8 = 0;
const ROWS: u8 = 1;
const COMMIT: u8 = 2;
const LAST_STATE: u8 = 3;

/// A view as its files show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub view: String,
    pub columns: Vec<Column>,
}

impl Shape {
    pub fn of(schema: &Arc<Schema>) -> Self {
        Shape { view: schema.name.clone(), columns: schema.columns.clone() }
    }
}

/// How a log begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredHead", into = "StoredHead")]
pub(super) struct Head {
    /// The epochs before this one were in files when it was begun.
    pub base: u64,
    /// Whether rows have a difference.
    pub changes: bool,
    pub views: Vec<Shape>,
}

#[derive(Serialize, Deserialize)]
struct StoredHead {
    base: u64,
    changes: bool,
    views: Vec<(String, Vec<StoredColumn>)>,
}

#[derive(Serialize, Deserialize)]
struct StoredColumn {
    name: String,
    kind: StoredKind,
    nullable: bool,
    key: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StoredKind {
    Bool,
    Int { bits: u32, signed: bool },
    Float,
    Time,
    Text,
}

impl From<Head> for StoredHead {
    fn from(head: Head) -> Self {
        let column = |column: Column| StoredColumn {
            name: column.name,
            kind: match column.cell.kind {
                Kind::Bool => StoredKind::Bool,
                Kind::Int { bits, signed } => StoredKind::Int { bits, signed },
                Kind::Float => StoredKind::Float,
                Kind::Time => StoredKind::Time,
                Kind::Bytes => StoredKind::Text,
            },
            nullable: column.cell.nullable,
            key: column.key,
        };
        let view = |shape: Shape| (shape.view, shape.columns.into_iter().map(column).collect());
        StoredHead {
            base: head.base,
            changes: head.changes,
            views: head.views.into_iter().map(view).collect(),
        }
    }
}

impl From<StoredHead> for Head {
    fn from(head: StoredHead) -> Self {
        let column = |column: StoredColumn| {
            let kind = match column.kind {
                StoredKind::Bool => Kind::Bool,
                StoredKind::Int { bits, signed } => Kind::Int { bits, signed },
                StoredKind::Float => Kind::Float,
                StoredKind::Time => Kind::Time,
                StoredKind::Text => Kind::Bytes,
            };
            let cell = CellType { kind, nullable: column.nullable };
            Column { name: column.name, cell, key: column.key }
        };
        let view = |(view, columns): (String, Vec<StoredColumn>)| Shape {
            view,
            columns: columns.into_iter().map(column).collect(),
        };
        Head { base: head.base, changes: head.changes, views: head.views.into_iter().map(view).collect() }
    }
}

/// The end of a log.
#[derive(Debug)]
pub(super) struct RowLog {
    file: File,
    /// Frames that are not handed to the system yet.
    waiting: Vec<u8>,
    /// Rows that are in no frame yet.
    rows: Vec<u8>,
    /// Bytes of all that is in it.
    pub bytes: u64,
    /// How many rows.
    pub count: u64,
}

impl RowLog {
    /// Begins the log in `file`, which is empty.
    pub fn begin(file: File, head: &Head) -> io::Result<Self> {
        let mut log = RowLog { file, waiting: MAGIC.to_vec(), rows: Vec::new(), bytes: 0, count: 0 };
        log.frame(HEAD, &serde_json::to_vec(head)?);
        log.flush()?;
        Ok(log)
    }

    fn frame(&mut self, kind: u8, payload: &[u8]) {
        append_frame(&mut self.waiting, kind, payload);
    }

    pub fn row(&mut self, row: &KeptRow<'_>) -> io::Result<()> {
        row.append_to(&mut self.rows);
        self.count += 1;
        if self.rows.len() >= PIECE { self.end_piece() } else { Ok(()) }
    }

    fn end_piece(&mut self) -> io::Result<()> {
        if !self.rows.is_empty() {
            append_frame(&mut self.waiting, ROWS, &self.rows);
            self.rows.clear();
        }
        if self.waiting.len() >= PIECE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.waiting)?;
        self.bytes += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    /// Says that all rows so far are whole with `epoch`.
    pub fn commit(&mut self, epoch: u64, last_state: bool) -> io::Result<()> {
        self.end_piece()?;
        self.frame(if last_state { LAST_STATE } else { COMMIT }, &epoch.to_le_bytes());
        Ok(())
    }

    /// Returns when all that was committed is durable.
    pub fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        self.file.sync_data()
    }
}

fn append_frame(to: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    to.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    to.push(kind);
    to.extend_from_slice(&sum(kind, payload).to_le_bytes());
    to.extend_from_slice(payload);
}

fn sum(kind: u8, payload: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(u64::from(kind), payload)
}

/// How far a log goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// The epoch of the last commit.
    pub epoch: Option<u64>,
    /// The epoch whose last state is in it, at its end.
    pub last_state: Option<u64>,
    /// How many frames there are up to that.
    frames: u64,
    /// Whether there are rows among them.
    pub rows: bool,
}

/// Reads the head of a log, and how far it goes; `None` where not even its head is whole: nothing was ever committed to it.
pub(super) fn survey(file: File) -> io::Result<Option<(Head, Extent)>> {
    let mut reader = BufReader::with_capacity(PIECE, file);
    let mut extent = Extent::default();
    let (mut frames, mut rows, mut head) = (0, false, None);
    each_frame(&mut reader, &mut |kind, payload| {
        frames += 1;
        match kind {
            HEAD if frames == 1 => match serde_json::from_slice(payload) {
                Ok(read) => head = Some(read),
                Err(_) => return ControlFlow::Break(()),
            },
            ROWS if frames > 1 => rows = true,
            COMMIT | LAST_STATE if frames > 1 => {
                let Some(epoch) = number(payload) else { return ControlFlow::Break(()) };
                extent.epoch = extent.epoch.max(Some(epoch));
                extent.last_state = (kind == LAST_STATE).then_some(epoch);
                (extent.frames, extent.rows) = (frames, rows);
            }
            _ => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    })?;
    Ok(head.map(|head| (head, extent)))
}

/// Shows the rows of a log up to `extent`.
pub(super) fn each_row(
    file: File,
    extent: Extent,
    show: &mut dyn FnMut(&KeptRow<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(PIECE, file);
    let (mut frames, mut result) = (0, Ok(()));
    each_frame(&mut reader, &mut |kind, mut payload| {
        frames += 1;
        while kind == ROWS && result.is_ok() && !payload.is_empty() {
            result = match KeptRow::take(payload) {
                Ok((row, rest)) => {
                    payload = rest;
                    show(&row)
                }
                Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            };
        }
        if result.is_err() || frames == extent.frames {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    result?;
    if frames < extent.frames {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it has become shorter while it was read"));
    }
    Ok(())
}

fn number(payload: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(payload.try_into().ok()?))
}

/// Shows each whole frame until one is not, or `show` has enough.
fn each_frame(reader: &mut impl Read, show: &mut dyn FnMut(u8, &[u8]) -> ControlFlow<()>) -> io::Result<()> {
    let mut magic = [0; MAGIC.len()];
    if !fill(reader, &mut magic)? || magic != MAGIC {
        return Ok(());
    }
    let (mut prefix, mut payload) = ([0; 13], Vec::new());
    while fill(reader, &mut prefix)? {
        let [a, b, c, d, kind, checksum @ ..] = prefix;
        let length = u32::from_le_bytes([a, b, c, d]);
        if length > LONGEST {
            return Ok(());
        }
        // It grows with what is there, and not with what a torn length says.
        payload.clear();
        reader.by_ref().take(length.into()).read_to_end(&mut payload)?;
        let whole = payload.len() == length as usize && sum(kind, &payload) == u64::from_le_bytes(checksum);
        if !whole || show(kind, &payload).is_break() {
            return Ok(());
        }
    }
    Ok(())
}

/// Fills `bytes`; false where there are fewer.
fn fill(reader: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(bytes) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        other => other.map(|()| true),
    }
}
