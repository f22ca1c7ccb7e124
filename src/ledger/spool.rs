//! The spool: what was read of sources that give nothing twice (pipes, sockets), on disk before its epoch is durable.
//!
//! ```text
//! spool/00000003-c0ffee0123456789-00000000000000000000      incarnation 3, a partition by its identity, from offset 0 on
//! spool/00000003-c0ffee0123456789-00000000000008388608      the same, further on
//!
//! frame: what it is (1 byte: P, C), length of its head (4), of its body (4), head (JSON), body, XXH3 of all before (8)
//! ```
//!
//! The first frame of a log says which partition it is of; each of the others is a chunk as its reader gave it. A partition
//! of an earlier incarnation is read from its logs, and is at its end with them: whatever wrote into the pipe writes into another
//! one now, which is another partition.
//!
//! Chunks are handed to an [errand](crate::errand) as they are read, which appends them; [`Spool::sync`] waits until they are durable. That is
//! done before the records of their epochs are. A torn frame at the end of a log was in no epoch that was sealed.
//!
//! What has been published is deleted ([`cut_spool`]). Above a quota nothing more is read until that has happened.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use crate::envelope::{Envelope, GivenUp};
use crate::errand::{Errand, Orders, Task};
use crate::source::{
    Buffer, Chunk, Oversize, Partition, PartitionId, Place, Pool, ReadBefore, Reader, SourceError, Step,
};
use crate::state::storage::{Log, Storage, StorageError};

const SPOOL: &str = "spool/";

/// Bytes after which a log is followed by another.
const LOG: u64 = 8 << 20;

/// Chunks that wait to be appended.
const WAITING: usize = 64;

/// A log of the spool, by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    incarnation: u64,
    /// What its identity hashes to: its number is another one where it was in no epoch that was sealed.
    partition: u64,
    /// The offset of its first chunk.
    first: u64,
}

impl Name {
    fn text(&self) -> String {
        format!("{SPOOL}{:08}-{:016x}-{:020}", self.incarnation, self.partition, self.first)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix(SPOOL)?.split('-');
        let incarnation = parts.next()?.parse().ok()?;
        let partition = u64::from_str_radix(parts.next()?, 16).ok()?;
        Some(Name { incarnation, partition, first: parts.next()?.parse().ok()? })
    }
}

/// What a frame says of a chunk, beside its bytes.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    /// Where its first line begins, and where its reader was behind it.
    offset: u64,
    end: u64,
    consumed: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    oversize: Vec<(u64, Vec<u8>)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    numbers: Vec<(usize, u64)>,
    #[serde(default)]
    given_up: GivenUp,
    #[serde(default)]
    whole: bool,
}

fn frame(kind: u8, head: &impl Serialize, body: &[u8]) -> Vec<u8> {
    let head = serde_json::to_vec(head).expect("numbers, text and names for keys");
    let mut bytes = Vec::with_capacity(head.len() + body.len() + 17);
    bytes.push(kind);
    bytes.extend_from_slice(&(head.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&head);
    bytes.extend_from_slice(body);
    let sum = XxHash3_64::oneshot(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

/// The frame at the front of `bytes`, and what follows it; `None` if it is torn.
fn next_frame(bytes: &[u8]) -> Option<(u8, &[u8], &[u8], &[u8])> {
    let (&kind, rest) = bytes.split_first()?;
    let (head, rest) = rest.split_first_chunk::<4>()?;
    let (body, rest) = rest.split_first_chunk::<4>()?;
    let head_len = u32::from_le_bytes(*head) as usize;
    let body_len = u32::from_le_bytes(*body) as usize;
    let head = rest.get(..head_len)?;
    let rest = rest.get(head_len..)?;
    let body = rest.get(..body_len)?;
    let (sum, rest) = rest.get(body_len..)?.split_first_chunk::<8>()?;
    let hashed = bytes.get(..1 + 8 + head_len + body_len)?;
    (XxHash3_64::oneshot(hashed) == u64::from_le_bytes(*sum)).then_some((kind, head, body, rest))
}

#[derive(Debug)]
enum Order {
    Append {
        partition: Partition,
        offset: u64,
        frame: Vec<u8>,
    },
    /// Says when everything before it is durable.
    Sync(SyncSender<()>),
    /// Looks how much there is.
    Measure,
}

#[derive(Debug, Default)]
struct Shared {
    used: AtomicU64,
    /// Whether it is to look how much there is, and has not yet.
    measuring: AtomicBool,
}

/// The spool of one process.
#[derive(Debug)]
pub struct Spool {
    storage: Arc<dyn Storage>,
    incarnation: u64,
    quota: u64,
    orders: Orders<Order, StorageError>,
    errand: Errand<Order, StorageError>,
    shared: Arc<Shared>,
}

impl Spool {
    /// What is read in `incarnation` goes to `storage`, as long as no more than `quota` bytes are there.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    pub fn start(storage: Arc<dyn Storage>, incarnation: u64, quota: u64) -> std::io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let (theirs, store) = (Arc::clone(&shared), Arc::clone(&storage));
        let logs = Logs { storage: store, incarnation, open: HashMap::new(), quota, shared: theirs };
        let errand = Errand::start("spool", WAITING, logs)?;
        Ok(Spool { storage, incarnation, quota, orders: errand.orders(), errand, shared })
    }

    /// What follows the identity of partitions that are read in `incarnation`: another run has others.
    pub fn suffix(incarnation: u64) -> String {
        format!("#{incarnation}")
    }

    /// Whether `partition` is read in this incarnation, from its source.
    pub(crate) fn is_own(&self, partition: &Partition) -> bool {
        partition.found.identity.ends_with(&Self::suffix(self.incarnation))
    }

    /// `reader`, of which each chunk is handed to the spool.
    pub(crate) fn keeping(
        self: &Arc<Self>,
        partition: Partition,
        reader: Box<dyn Reader>,
    ) -> Box<dyn Reader> {
        Box::new(Keeping { spool: Arc::clone(self), partition, reader })
    }

    /// Reads what was kept of `partition` from offset `from` on; `envelope` stands around its lines.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(crate) fn reread(
        &self,
        partition: &Partition,
        from: u64,
        envelope: Option<Envelope>,
    ) -> Result<Box<dyn Reader>, SourceError> {
        let kept = Kept::open(Arc::clone(&self.storage), partition, from)?;
        Ok(Box::new(Kept { envelope, ..kept }))
    }

    /// Everything that was read before this is called is durable when this returns.
    ///
    /// # Errors
    ///
    /// When that is not certain.
    pub fn sync(&self) -> Result<(), StorageError> {
        let (answer, answered) = sync_channel(1);
        self.orders.tell(Order::Sync(answer));
        self.orders.do_here();
        match answered.recv() {
            Ok(()) => Ok(()),
            // It has ended, and has left the reason behind: once, if several ask.
            Err(_) => self.check().and(Err(gone())),
        }
    }

    fn check(&self) -> Result<(), StorageError> {
        self.errand.check()
    }
}

/// What is said of a spool whose reason to end has been said.
fn gone() -> StorageError {
    StorageError::System {
        uri: SPOOL.to_owned(),
        doing: "write",
        name: SPOOL.to_owned(),
        source: "it has failed before".into(),
    }
}

/// What it has open.
struct Logs {
    storage: Arc<dyn Storage>,
    incarnation: u64,
    open: HashMap<PartitionId, Open>,
    quota: u64,
    shared: Arc<Shared>,
}

struct Open {
    log: Box<dyn Log>,
    bytes: u64,
    dirty: bool,
}

impl Task for Logs {
    type Order = Order;
    type Error = StorageError;

    fn perform(&mut self, order: Order) -> Result<(), StorageError> {
        let used = &self.shared.used;
        match order {
            Order::Append { partition, offset, frame } => {
                used.fetch_add(frame.len() as u64, Ordering::AcqRel);
                self.append(&partition, offset, &frame)
            }
            Order::Sync(answer) => {
                self.sync()?;
                // Whoever asked may be gone.
                let _ = answer.send(());
                Ok(())
            }
            Order::Measure => {
                self.shared.measuring.store(false, Ordering::Release);
                if used.load(Ordering::Acquire) <= self.quota {
                    return Ok(());
                }
                let bytes = self.storage.list(SPOOL)?.iter().map(|entry| entry.bytes).sum();
                used.store(bytes, Ordering::Release);
                Ok(())
            }
        }
    }

    fn panicked(&self, message: String) -> StorageError {
        StorageError::System {
            uri: self.storage.uri().to_owned(),
            doing: "write",
            name: SPOOL.to_owned(),
            source: message.into(),
        }
    }
}

impl Logs {
    fn append(&mut self, partition: &Partition, offset: u64, frame: &[u8]) -> Result<(), StorageError> {
        let full = self.open.get(&partition.id).is_none_or(|open| open.bytes >= LOG);
        if full {
            if let Some(mut open) = self.open.remove(&partition.id) {
                open.log.sync()?;
            }
            let name = Name { incarnation: self.incarnation, partition: key(partition), first: offset };
            let mut log = self.storage.create_log(&name.text())?;
            log.append(&self::frame(b'P', partition, &[]))?;
            self.open.insert(partition.id, Open { log, bytes: 0, dirty: true });
        }
        if let Some(open) = self.open.get_mut(&partition.id) {
            open.log.append(frame)?;
            (open.bytes, open.dirty) = (open.bytes + frame.len() as u64, true);
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        // All at once, where each takes its time.
        for open in self.open.values_mut().filter(|open| open.dirty) {
            open.log.begin_sync()?;
        }
        for open in self.open.values_mut().filter(|open| open.dirty) {
            open.log.sync()?;
            open.dirty = false;
        }
        // Thousands of clients come and go; one that writes again gets another log.
        const MANY: usize = 256;
        if self.open.len() > MANY {
            self.open.clear();
        }
        Ok(())
    }
}

/// A reader whose chunks are spooled.
#[derive(Debug)]
struct Keeping {
    spool: Arc<Spool>,
    partition: Partition,
    reader: Box<dyn Reader>,
}

impl Keeping {
    fn keep(&self, chunk: &Chunk) -> Result<(), SourceError> {
        let head = Head {
            offset: chunk.place.offset,
            end: self.reader.offset(),
            consumed: chunk.consumed,
            oversize: chunk.oversize.iter().map(|it| (it.place.offset, it.sample.clone())).collect(),
            numbers: chunk.numbers(),
            given_up: chunk.given_up,
            whole: chunk.whole,
        };
        let frame = frame(b'C', &head, chunk.bytes());
        let order = Order::Append { partition: self.partition.clone(), offset: head.offset, frame };
        if !self.spool.orders.tell(order) {
            self.spool.check().map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }

    fn failed(&self, error: &StorageError) -> SourceError {
        SourceError::Spool { partition: self.partition.found.name.to_string(), reason: error.to_string() }
    }
}

impl Reader for Keeping {
    fn poll(&mut self, upto: u64, pool: &Pool) -> Result<Step, SourceError> {
        if self.spool.shared.used.load(Ordering::Acquire) > self.spool.quota {
            let measuring = &self.spool.shared.measuring;
            // Once at a time: there may be many logs, and a server may have to be asked.
            if !measuring.swap(true, Ordering::AcqRel) && self.spool.orders.try_tell(Order::Measure).is_err()
            {
                measuring.store(false, Ordering::Release);
            }
            self.spool.check().map_err(|error| self.failed(&error))?;
            return Ok(Step::CaughtUp);
        }
        let step = self.reader.poll(upto, pool)?;
        if let Step::Chunk(chunk) = &step {
            self.keep(chunk)?;
        }
        Ok(step)
    }

    fn offset(&self) -> u64 {
        self.reader.offset()
    }

    fn is_at_end(&self) -> bool {
        self.reader.is_at_end() && self.spool.shared.used.load(Ordering::Acquire) <= self.spool.quota
    }

    fn latest(&self) -> Option<u64> {
        self.reader.latest()
    }

    fn stop(&mut self) {
        self.reader.stop();
    }

    fn has_stopped(&self) -> bool {
        self.reader.has_stopped()
    }
}

/// Reads what was spooled.
#[derive(Debug)]
struct Kept {
    storage: Arc<dyn Storage>,
    partition: Partition,
    /// Logs that are to be read, in order.
    logs: VecDeque<Name>,
    /// What is left of the log that is being read.
    bytes: Vec<u8>,
    at: usize,
    offset: u64,
    envelope: Option<Envelope>,
}

impl Kept {
    fn open(storage: Arc<dyn Storage>, partition: &Partition, from: u64) -> Result<Self, SourceError> {
        let all = storage.list(SPOOL).map_err(|error| failed(partition, &error))?;
        let logs = all.iter().filter_map(|entry| Name::parse(&entry.name));
        let mut logs: VecDeque<Name> = logs.filter(|log| log.partition == key(partition)).collect();
        while logs.get(1).is_some_and(|next| next.first <= from) {
            logs.pop_front();
        }
        if logs.front().is_none_or(|log| log.first > from) && from > 0 && !logs.is_empty() {
            return Err(SourceError::Gone { partition: partition.found.name.to_string(), offset: from });
        }
        Ok(Kept {
            storage,
            partition: partition.clone(),
            logs,
            bytes: Vec::new(),
            at: 0,
            offset: from,
            envelope: None,
        })
    }

    /// The next chunk that is behind what was read, and where its reader was behind it.
    fn peek(&mut self) -> Result<Option<(Head, usize, usize)>, SourceError> {
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let Some((kind, head, body, after)) = next_frame(rest) else {
                if !rest.is_empty() {
                    log::info!(
                        "{}: {} bytes of the spool are torn, and were in no epoch",
                        self.partition.found.name,
                        rest.len()
                    );
                }
                let Some(log) = self.logs.pop_front() else { return Ok(None) };
                let name = log.text();
                let bytes = self.storage.read_log(&name);
                // What is read here is sealed in this run, and whoever wrote it may never have synced it.
                let bytes = bytes.and_then(|bytes| self.storage.sync_log(&name).map(|()| bytes));
                let bytes = bytes.map_err(|error| failed(&self.partition, &error))?;
                (self.bytes, self.at) = (bytes.unwrap_or_default(), 0);
                continue;
            };
            let next = self.bytes.len() - after.len();
            if kind == b'C' {
                let damaged = |error: serde_json::Error| failed(&self.partition, &error);
                let parsed: Head = serde_json::from_slice(head).map_err(damaged)?;
                if parsed.end > self.offset {
                    return Ok(Some((parsed, next - 8 - body.len(), next)));
                }
            }
            self.at = next;
        }
    }
}

fn failed(partition: &Partition, error: &dyn std::fmt::Display) -> SourceError {
    SourceError::Spool { partition: partition.found.name.to_string(), reason: error.to_string() }
}

impl Reader for Kept {
    fn poll(&mut self, upto: u64, _pool: &Pool) -> Result<Step, SourceError> {
        if self.offset >= upto {
            return Ok(Step::Reached);
        }
        let Some((head, body, next)) = self.peek()? else { return Ok(Step::Ended) };
        let all = self.bytes.get(body..next - 8).unwrap_or_default();
        // Where each of its lines begins, in bytes and as its source counts.
        let position = |offset: u64| match head.numbers.is_empty() {
            true => usize::try_from(offset.saturating_sub(head.offset)).unwrap_or(usize::MAX).min(all.len()),
            false => {
                let of = head.numbers.iter().find(|(_, number)| *number >= offset);
                of.map_or(all.len(), |(position, _)| *position)
            }
        };
        let (begin, end) = (position(self.offset), if upto < head.end { position(upto) } else { all.len() });
        let begins = self.offset.max(head.offset);
        let ends = head.end.min(upto);
        let within = |offset: u64| (begins..ends).contains(&offset);
        let mut buffer = Buffer::of(all.get(begin..end).unwrap_or_default());
        let numbers = head.numbers.iter().filter(|(position, _)| (begin..end).contains(position));
        numbers.for_each(|(position, number)| buffer.number(position - begin, *number));
        let name = Arc::clone(&self.partition.found.name);
        let place = |offset| Place { partition: Arc::clone(&name), offset };
        let mut chunk = Chunk::new(place(begins), buffer, 0, end.saturating_sub(begin));
        let oversize = head.oversize.into_iter().filter(|(offset, _)| within(*offset));
        chunk.oversize = oversize.map(|(offset, sample)| Oversize { place: place(offset), sample }).collect();
        (chunk.envelope, chunk.given_up, chunk.whole) = (self.envelope, head.given_up, head.whole);
        self.offset = ends;
        if ends == head.end {
            self.at = next;
        }
        Ok(Step::Chunk(chunk))
    }

    fn offset(&self) -> u64 {
        self.offset
    }
}

/// The partitions that were spooled on `storage`, in the order of their numbers: some of them may be in no epoch.
///
/// # Errors
///
/// When it cannot be read.
pub fn spooled(storage: &dyn Storage) -> Result<Vec<Partition>, StorageError> {
    let mut partitions = BTreeMap::new();
    for name in storage.list(SPOOL)?.iter().filter_map(|entry| Name::parse(&entry.name)) {
        if partitions.contains_key(&name.partition) {
            continue;
        }
        let bytes = storage.read_log(&name.text())?.unwrap_or_default();
        if let Some((b'P', head, ..)) = next_frame(&bytes)
            && let Ok(partition) = serde_json::from_slice::<Partition>(head)
        {
            partitions.insert(name.partition, partition);
        }
    }
    Ok(partitions.into_values().collect())
}

/// What the logs of `partition` are named by.
fn key(partition: &Partition) -> u64 {
    XxHash3_64::oneshot(partition.found.identity.as_bytes())
}

/// Deletes what is not wanted any more: what is in a snapshot, after which partitions have been `read` so far.
///
/// # Errors
///
/// When something cannot be deleted.
pub fn cut_spool(storage: &dyn Storage, read: &[Vec<ReadBefore>]) -> Result<(), StorageError> {
    let read = read.iter().flatten();
    let read: HashMap<u64, &ReadBefore> =
        read.map(|read| (XxHash3_64::oneshot(read.found.identity.as_bytes()), read)).collect();
    let names: Vec<Name> = storage.list(SPOOL)?.iter().filter_map(|entry| Name::parse(&entry.name)).collect();
    let mut unwanted_logs = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let next = names.get(at + 1).filter(|next| next.partition == name.partition);
        let unwanted = |read: &&ReadBefore| read.ended || next.is_some_and(|next| next.first <= read.offset);
        if read.get(&name.partition).is_some_and(unwanted) {
            unwanted_logs.push(name.text());
        }
    }
    storage.delete_all(&unwanted_logs.iter().map(String::as_str).collect::<Vec<_>>())
}
