//! Logs: a head, and segments behind it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::client::{Client, Mark};
use super::{AT_A_TIME, Gone, Requests, SEGMENT};
use crate::state::storage::{Entry, Log, StorageError, check};

/// The name of segment `number` of the log that `mark` is of. Names of storages have no capitals.
fn segment(name: &str, mark: Mark, number: u64) -> String {
    format!("{}{number:08}", segments(name, mark))
}

/// Where the names of the segments begin.
fn segments(name: &str, mark: Mark) -> String {
    format!("{name}.L{:032x}-", mark.nonce)
}

/// The log that the object `name` is a segment of.
fn log_of(name: &str) -> Option<&str> {
    let (log, rest) = name.rsplit_once(".L")?;
    let (nonce, number) = rest.split_once('-')?;
    let is_hexadecimal = nonce.len() == 32 && nonce.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_number = number.len() >= 8 && number.bytes().all(|byte| byte.is_ascii_digit());
    (is_hexadecimal && is_number).then_some(log)
}

/// What there is under names that begin with `prefix`, each log as one.
pub(super) async fn list(client: &Client, prefix: &str) -> Result<Vec<Entry>, StorageError> {
    let mut entries = BTreeMap::<String, u64>::new();
    for (object, bytes) in client.list(prefix).await? {
        let name = log_of(&object).unwrap_or(&object);
        // What has another kind of name was not put here by a storage.
        if name.starts_with(prefix) && check("", name).is_ok() {
            *entries.entry(name.to_owned()).or_default() += bytes;
        }
    }
    Ok(entries.into_iter().map(|(name, bytes)| Entry { name, bytes }).collect())
}

/// Deletes bytes, or a log: its head first.
pub(super) async fn delete(client: &Client, name: &str) -> Result<(), StorageError> {
    client.delete(name, vec![name.to_owned()]).await?;
    let segments = client.list_behind(name, &format!("{name}.L")).await?;
    let segments: Vec<_> = segments.into_iter().filter(|object| log_of(object) == Some(name)).collect();
    if segments.is_empty() { Ok(()) } else { client.delete(name, segments).await }
}

/// All bytes of a log.
pub(super) async fn read(client: &Client, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
    let Some((mark, _)) = client.read(name).await? else { return Ok(None) };
    let Some(mark) = mark else { return Err(client.failed("read", name, Unmarked)) };
    if !mark.is_log {
        return Ok(None);
    }
    let found = client.list_behind(name, &segments(name, mark)).await?;
    for (number, found) in (1u64..).zip(&found) {
        if *found != segment(name, mark, number) {
            return is_deleted(client, name, number).await;
        }
    }
    let mut all = Vec::new();
    let read = |(number, object): (u64, String)| async move { Ok((number, client.read(&object).await?)) };
    let mut read = stream::iter((1u64..).zip(found)).map(read).buffered(AT_A_TIME);
    while let Some((number, found)) = read.try_next().await? {
        let Some((_, bytes)) = found else { return is_deleted(client, name, number).await };
        all.extend_from_slice(&bytes);
    }
    Ok(Some(all))
}

/// Segment `number` of log `name` is not there, although later ones are: the log has been deleted meanwhile, or it is damaged.
async fn is_deleted(client: &Client, name: &str, number: u64) -> Result<Option<Vec<u8>>, StorageError> {
    match client.read(name).await? {
        None => Ok(None),
        Some(_) => Err(client.failed("read", name, Missing { number })),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("its metadata are lost: has it been copied without them?")]
struct Unmarked;

#[derive(Debug, thiserror::Error)]
#[error("segment {number} of the log is missing, and later ones are there")]
struct Missing {
    number: u64,
}

/// The end of a log.
#[derive(Debug)]
pub(super) struct ObjectLog {
    client: Arc<Client>,
    requests: Arc<Requests>,
    name: String,
    mark: Mark,
    /// The number of the last segment.
    last: u64,
    /// What was appended and is in no segment.
    waiting: Vec<u8>,
    /// What becomes of the last segment, if that is not known yet.
    written: Option<Receiver<Result<(), StorageError>>>,
    failed: bool,
}

impl ObjectLog {
    /// That of `name`, whose head has `mark`.
    pub(super) fn new(client: Arc<Client>, requests: Arc<Requests>, name: &str, mark: Mark) -> Self {
        let (name, waiting, written) = (name.to_owned(), Vec::new(), None);
        ObjectLog { client, requests, name, mark, last: 0, waiting, written, failed: false }
    }

    /// Does `run`, unless something has failed before.
    fn run(
        &mut self,
        doing: &'static str,
        run: impl FnOnce(&mut Self) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let done = if self.failed { Err(self.client.failed(doing, &self.name, Before)) } else { run(self) };
        self.failed = done.is_err();
        done
    }

    /// Waits for the last segment.
    fn settle(&mut self) -> Result<(), StorageError> {
        let Some(written) = self.written.take() else { return Ok(()) };
        written.recv().unwrap_or_else(|_| Err(self.client.failed("append to", &self.name, Gone)))
    }

    /// Has what waits written as the next segment, when the one before is there.
    fn write(&mut self) -> Result<(), StorageError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.settle()?;
        self.last += 1;
        let object = segment(&self.name, self.mark, self.last);
        let bytes = Bytes::from(std::mem::take(&mut self.waiting));
        let (name, client) = (self.name.clone(), Arc::clone(&self.client));
        let (answer, written) = sync_channel(1);
        let work = async move { client.write(&name, &object, bytes).await };
        // Whoever has dropped the log does not want to know.
        self.requests.start_work(work, move |done| drop(answer.send(done)));
        self.written = Some(written);
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("it has failed before")]
struct Before;

impl Log for ObjectLog {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.run("append to", |log| {
            log.waiting.extend_from_slice(bytes);
            if log.waiting.len() >= SEGMENT { log.write() } else { Ok(()) }
        })
    }

    fn begin_sync(&mut self) -> Result<(), StorageError> {
        self.run("sync", Self::write)
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.run("sync", |log| log.write().and_then(|()| log.settle()))
    }
}
