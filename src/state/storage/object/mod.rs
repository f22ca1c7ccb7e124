//! An object store: S3, and what speaks its protocol.
//!
//! ```text
//! PREFIX/manifests/00000003-00000001                                bytes
//! PREFIX/journal/00000003-000000000120                              the head of a log: empty
//! PREFIX/journal/00000003-000000000120.L9f…c4-00000001              what was appended up to its first sync
//! PREFIX/journal/00000003-000000000120.L9f…c4-00000002              what was appended up to the next
//! PREFIX/.created-once                                              by it is known that the store does not overwrite
//! ```
//!
//! # Names are taken once
//!
//! An object is created by a conditional request (`If-None-Match: *`), so of many that create one name one does. Stores that do not
//! know the condition overwrite in silence: whether this one does is tried before the first thing is created, and it is refused
//! then.
//!
//! An answer may be lost, and the same request, made again, finds the name taken: by itself. So whatever is created has a *mark* in
//! its metadata, a number that is drawn for each call. Where a name is taken, the mark says whether it was by this very call. That is
//! right whatever the bytes are: two that write the same bytes under one name have different marks, and one of them has been first.
//!
//! # Logs
//!
//! Objects do not grow. A log is a head, which takes the name, and *segments* behind it, one for each sync. They are numbered without
//! a gap, and one is written when the one before has been acknowledged; so what there is of a log is what was appended first. If a
//! segment fails, it may be there or come to be there later; it is the last one in any case, because the log takes no more. A number
//! that is missing before others is damage, and an error.
//!
//! The names of segments have the mark of the head in them: nobody else writes those, and a log that takes the name once more, after
//! the first has been deleted, has others. A log is deleted by its head, which makes all of it disappear at once, and never leaves a
//! shorter one that can be read. Where that was interrupted, segments without a head are left: they are listed under the log's name,
//! so that whoever deletes what is listed deletes them, and read as no log.
//!
//! What was appended and not synced is in memory, and is lost if the process dies; above [`SEGMENT`] bytes a segment is written without
//! waiting for a sync. What is there is durable, so [`Storage::sync_log`] has nothing to do.
//!
//! # Requests
//!
//! They are made by a thread of the storage's own, so that callers may be any threads. Each is made again, with growing pauses, while
//! servers and networks fail, for as long as the storage's patience lasts (`timeout=`); what the store refuses for a reason that will
//! be the same next time ([`StorageError::Refused`]) is not.
//!
//! Bytes are read and written whole: whoever writes them has them in memory, and bounds them. (Files of snapshots have up to
//! [32 MiB](crate::state::disk::Limits) as rows in memory, and less as Parquet.)

mod client;
mod log;
mod s3;
#[cfg(test)]
pub(super) mod tests;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::runtime::{Builder, Runtime};

use super::{Entry, Environment, Log, Storage, StorageError, check};
use client::Client;
use log::ObjectLog;

/// So many bytes of a log wait for a sync before they are written without one.
const SEGMENT: usize = 8 << 20;

/// Objects that are read, and names that are deleted, at a time.
const AT_A_TIME: usize = 16;

/// Where in a bucket names are objects.
pub struct Objects {
    client: Arc<Client>,
    requests: Arc<Requests>,
    /// What DuckDB has to be told.
    for_duckdb: Option<String>,
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Objects").field(&self.client.uri()).finish()
    }
}

impl Objects {
    /// That of `s3://BUCKET/PREFIX?…`; `environment` looks variables up.
    pub(super) fn open(uri: &str, environment: Environment) -> Result<Self, StorageError> {
        let place = s3::Place::parse(uri, environment)?;
        let client = Client::new(place.connect()?, place.uri(), place.prefix(), place.patience());
        Ok(Objects { for_duckdb: Some(place.for_duckdb()), ..Self::of(client)? })
    }

    /// With what `client` reaches.
    fn of(client: Client) -> Result<Self, StorageError> {
        let requests = Requests::start().map_err(|error| client.failed("open", "", error))?;
        Ok(Objects { client: Arc::new(client), requests: Arc::new(requests), for_duckdb: None })
    }

    /// Waits for what `work` does with the client.
    fn wait<T, F>(
        &self,
        doing: &'static str,
        name: &str,
        work: impl FnOnce(Arc<Client>, String) -> F,
    ) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StorageError>> + Send + 'static,
    {
        let done = self.requests.wait(work(Arc::clone(&self.client), name.to_owned()));
        done.unwrap_or_else(|| Err(self.client.failed(doing, name, Gone)))
    }
}

/// Who makes the requests.
struct Requests(Option<Runtime>);

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Requests")
    }
}

impl Requests {
    fn start() -> std::io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).thread_name("object store").enable_all().build()?;
        Ok(Requests(Some(runtime)))
    }

    /// Has `work` done, and gives what comes of it to `then`.
    fn start_work<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
        then: impl FnOnce(T) + Send + 'static,
    ) {
        if let Some(runtime) = &self.0 {
            runtime.spawn(async move { then(work.await) });
        }
    }

    /// Has `work` done and waits for it; `None` if it panicked. The caller may be a thread of another such runtime.
    fn wait<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let (answer, answered) = sync_channel(1);
        // Whoever asked waits.
        self.start_work(work, move |done| drop(answer.send(done)));
        answered.recv().ok()
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        // Nobody waits for what is under way.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A request that came to no end.
#[derive(Debug, thiserror::Error)]
#[error("its thread has ended")]
struct Gone;

impl Storage for Objects {
    fn uri(&self) -> &str {
        self.client.uri()
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        check(self.uri(), name)?;
        let bytes = Bytes::copy_from_slice(bytes);
        self.wait(
            "create",
            name,
            |client, name| async move { client.create(&name, bytes, false).await.map(drop) },
        )
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        check(self.uri(), name)?;
        self.wait("read", name, |client, name| async move { client.read_bytes(&name).await })
    }

    fn read_all(&self, names: &[&str]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        names.iter().try_for_each(|name| check(self.uri(), name))?;
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        self.wait("read", "", |client, _| async move {
            let read = |name: String| {
                let client = &client;
                async move { client.read_bytes(&name).await }
            };
            stream::iter(names).map(read).buffered(AT_A_TIME).try_collect().await
        })
    }

    fn list(&self, prefix: &str) -> Result<Vec<Entry>, StorageError> {
        self.wait("list", prefix, |client, prefix| async move { log::list(&client, &prefix).await })
    }

    fn delete(&self, name: &str) -> Result<(), StorageError> {
        check(self.uri(), name)?;
        self.wait("delete", name, |client, name| async move { log::delete(&client, &name).await })
    }

    fn delete_all(&self, names: &[&str]) -> Result<(), StorageError> {
        names.iter().try_for_each(|name| check(self.uri(), name))?;
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        self.wait("delete", "", |client, _| async move {
            let delete = |name: String| {
                let client = &client;
                async move { log::delete(client, &name).await }
            };
            stream::iter(names).map(delete).buffer_unordered(AT_A_TIME).try_collect().await
        })
    }

    fn create_log(&self, name: &str) -> Result<Box<dyn Log>, StorageError> {
        check(self.uri(), name)?;
        let mark = self.wait("create", name, |client, name| async move {
            client.create(&name, Bytes::new(), true).await
        })?;
        let (client, requests) = (Arc::clone(&self.client), Arc::clone(&self.requests));
        Ok(Box::new(ObjectLog::new(client, requests, name, mark)))
    }

    fn read_log(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        check(self.uri(), name)?;
        self.wait("read", name, |client, name| async move { log::read(&client, &name).await })
    }

    fn sync_log(&self, name: &str) -> Result<(), StorageError> {
        check(self.uri(), name)
    }

    fn for_duckdb(&self) -> Option<String> {
        self.for_duckdb.clone()
    }
}
