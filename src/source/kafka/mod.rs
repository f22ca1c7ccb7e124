//! `kafka://BROKERS/TOPIC`: messages of Kafka topics, each of which is a line.
//!
//! ```text
//! kafka://a:9092,b:9092/clicks,views      these topics
//! kafka://a:9092//logs-.*/                all topics whose whole name matches
//! ```
//!
//! | option | what it does |
//! |---|---|
//! | `start=earliest` | begins with the oldest message that there is (the default), |
//! | `start=latest` | or with the next one that comes, |
//! | `start=2026-01-31T12:00:00Z` | or with the first that is not older, also in milliseconds since 1970 |
//! | `on-data-loss=fail` | messages that have gone before they were read end the run (the default), |
//! | `on-data-loss=continue` | or are counted, and the log says so |
//! | `framing=message` | a message is a line (the default), |
//! | `framing=lines` | or as many lines as stand in it |
//! | `group=NAME` | commits how far messages have been read, for monitoring; nothing is read by it |
//! | `refresh=5s` | how often it is looked for further topics and partitions |
//! | `kafka.OPTION=VALUE` | an option of librdkafka, such as `kafka.fetch.min.bytes`; `%26` stands for `&` |
//! | `properties=FILE` | such options, one `OPTION=VALUE` a line: secrets are better kept there |
//!
//! Each topic partition is a partition, read by one worker of the run, and its offsets are Kafka's. Partitions and topics that come
//! while the run goes on are read from their first message. Of what was written in a transaction, what is committed is read
//! (`kafka.isolation.level`). librdkafka assigns nothing without a group: without `group=` it is told `thalweg`, for which nothing is
//! committed.
//!
//! # Messages and lines
//!
//! A message is one record whatever is in it: an LF at its end is dropped, and one within becomes a space (with the CR before it), so
//! that JSON which is laid out over several lines is the same JSON. With `framing=lines` each LF ends a line. Messages without a
//! payload (tombstones) are counted and skipped. One that is longer than `--max-line` is reported and not read. Keys, headers and
//! timestamps are not read.
//!
//! # Promise on restart
//!
//! Where a partition is read on is the run's own affair and never the group's: from the offset that its ledger says, in every process
//! that comes to read it. A replay reads the same messages again. What was deleted in the meantime (by retention, or with its topic)
//! is missed, and ends the run or is counted, as `on-data-loss` says; a log that is compacted loses messages that nobody misses, and
//! a replay of it that has to find the same lines may not. A topic that was deleted and created anew is noticed by
//! its offsets, which have gone back: if by then it has as many messages as had been read of the old one, nothing tells the two
//! apart. With `on-data-loss=continue` the new one is read from its first message.
//!
//! # When brokers are away
//!
//! librdkafka tries again, with its backoff (`kafka.reconnect.backoff.max.ms`), and the log says so once. Meanwhile the
//! partitions are not taken for idle, so no window closes without what is still to come.
//!
//! # Memory
//!
//! What was fetched waits in a queue for each partition, of 32 MiB for each worker together and at least 256 KiB each
//! (`kafka.queued.max.messages.kbytes`); nothing more is fetched until the worker takes of it.

mod client;
mod finder;
mod options;
mod packer;
mod passed;
mod reader;

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use self::client::Client;
pub(crate) use self::client::Says;
use self::finder::{KafkaFinder, Scout};
use self::options::Options;
pub(crate) use self::passed::{Own, Passed, decoded, topic};
use self::reader::KafkaReader;
use super::registry::without_secrets;
use super::{Finder, Found, OffsetUnit, ReadOptions, Reader, Share, Source, SourceError, Wake};

/// Messages of Kafka topics, see [the module](self).
pub struct KafkaSource {
    uri: String,
    options: Options,
    /// Who has looked for partitions, until it is asked to go on.
    scout: Mutex<Option<Scout>>,
    client: Mutex<Option<Arc<Client>>>,
}

impl std::fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the options: there may be secrets among them.
        f.debug_struct("KafkaSource").field("uri", &self.uri).finish_non_exhaustive()
    }
}

/// The detail of a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Detail {
    topic: String,
    partition: i32,
    /// The first offset that is read.
    start: u64,
    /// Whether that is only where the partition began when it was found.
    earliest: bool,
    /// How many partitions there were then.
    among: usize,
}

impl KafkaSource {
    /// The source that `rest` names: what follows `kafka:` in a URI, see [the module](self).
    ///
    /// Nothing is connected yet.
    ///
    /// ```
    /// use thalweg::source::{KafkaSource, Source};
    /// let source = KafkaSource::new("//a:9092/clicks?start=latest&kafka.sasl.username=me")?;
    /// assert_eq!(source.uri(), "kafka://a:9092/clicks?start=latest&kafka.sasl.username=me");
    /// assert!(!source.is_bounded());
    /// let error = KafkaSource::new("//a:9092/clicks?kafka.fecth.min.bytes=1").unwrap_err();
    /// assert!(error.contains("librdkafka has no option `fecth.min.bytes`"));
    /// # Ok::<(), String>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When it is no such name, or librdkafka does not take one of the options. Values of options are not in the message.
    pub fn new(rest: &str) -> Result<Self, String> {
        let options = Options::parse(rest)?;
        let uri = without_secrets(&format!("kafka:{rest}"));
        Ok(KafkaSource { uri, options, scout: Mutex::default(), client: Mutex::default() })
    }

    /// The consumer of this process; the first partition that is opened says among how many.
    fn client(&self, detail: &Detail, share: Share) -> Result<Arc<Client>, SourceError> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*client {
            return Ok(Arc::clone(client));
        }
        let started = Client::start(&self.options, detail.among, share);
        let started = started.map_err(|reason| SourceError::Service { service: self.uri.clone(), reason })?;
        Ok(Arc::clone(client.insert(started)))
    }
}

impl Source for KafkaSource {
    fn uri(&self) -> &str {
        &self.uri
    }

    fn is_bounded(&self) -> bool {
        false
    }

    fn offset_unit(&self) -> OffsetUnit {
        OffsetUnit::Messages
    }

    fn find(&self) -> Result<Vec<Found>, SourceError> {
        let mut scout = Scout::start(&self.options)?;
        let found = scout.first()?;
        *self.scout.lock().unwrap_or_else(PoisonError::into_inner) = Some(scout);
        Ok(found)
    }

    fn finder(&self) -> Option<Box<dyn Finder>> {
        let scout = self.scout.lock().unwrap_or_else(PoisonError::into_inner).take();
        Some(Box::new(KafkaFinder::new(scout?)))
    }

    fn open(
        &self,
        partition: &Found,
        from: u64,
        share: Share,
        options: ReadOptions,
        wake: Wake,
    ) -> Result<Box<dyn Reader>, SourceError> {
        let detail: Detail = partition.read_detail()?;
        let client = self.client(&detail, share)?;
        let reader =
            KafkaReader::open((&partition.name, detail), from, options, &self.options, client, wake)?;
        Ok(Box::new(reader))
    }
}
