//! The connection of a process to a cluster: one consumer for all partitions that are read here, and a thread that attends to it.
//!
//! Messages never come by the consumer's own queue: each partition has one of its own, which is split off *before* the partition
//! is assigned. librdkafka then leaves it so, and no message gets between the two.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::Builder;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::options::Options;
use crate::source::{Share, Wake};

/// How long the thread waits for an event before it looks for other work.
const LOOK: Duration = Duration::from_millis(100);
/// So many looks lie between two commits of offsets.
const COMMIT_EVERY: u64 = 10;
/// How long a cluster has to answer a question of the thread.
const ANSWER: Duration = Duration::from_secs(2);
/// Bytes of messages that wait for one worker, over all its partitions.
const WAITING: usize = 32 << 20;

/// No offset.
pub(super) const UNKNOWN: u64 = u64::MAX;

/// What is said of the cluster, each thing once.
#[derive(Debug)]
pub(crate) struct Says {
    brokers: String,
    /// Someone else says it.
    quiet: bool,
    down: AtomicBool,
    said: Mutex<BTreeSet<String>>,
    /// The offset of the next message of each partition that is read, by topic and number, as of the last statistics.
    latest: Mutex<BTreeMap<(String, i32), Arc<AtomicU64>>>,
}

impl Says {
    pub(crate) fn new(brokers: &str, quiet: bool) -> Self {
        Says {
            brokers: brokers.to_owned(),
            quiet,
            down: AtomicBool::new(false),
            said: Mutex::default(),
            latest: Mutex::default(),
        }
    }

    /// Something was answered.
    pub(crate) fn answered(&self) {
        if self.down.load(Ordering::Relaxed) && self.down.swap(false, Ordering::Relaxed) {
            log::info!("kafka://{}: brokers answer again", self.brokers);
        }
    }

    /// Whether no broker can be reached.
    pub(crate) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    /// Warns of what has not been warned of before.
    pub(crate) fn once(&self, what: String) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        // What differs each time is not said for ever.
        if !self.quiet && said.len() < 100 && said.insert(what.clone()) {
            log::warn!("kafka://{}: {what}", self.brokers);
        }
    }
}

impl ClientContext for Says {
    fn stats(&self, statistics: Statistics) {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        for ((topic, number), latest) in &*latest {
            let topic = statistics.topics.get(topic);
            // Where it is not known it is negative.
            let offset = topic.and_then(|topic| topic.partitions.get(number)).map(|it| it.hi_offset);
            if let Some(offset) = offset.and_then(|offset| u64::try_from(offset).ok()) {
                latest.store(offset, Ordering::Relaxed);
            }
        }
    }

    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        match facility {
            // Options that have no effect, or not the one that was meant.
            "CONFWARN" => self.once(message.to_owned()),
            // A broker that is away is in these many times a minute; it is said once, by `error`.
            _ => log::debug!(target: "librdkafka", "{facility}: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        use RDKafkaErrorCode::{AllBrokersDown, Authentication, SSL, SaslAuthenticationFailed};
        log::debug!(target: "librdkafka", "{error}: {reason}");
        match error.rdkafka_error_code() {
            Some(AllBrokersDown) if !self.quiet && !self.down.swap(true, Ordering::Relaxed) => {
                log::warn!("kafka://{}: no broker can be reached; it is tried until one can", self.brokers);
            }
            Some(Authentication | SaslAuthenticationFailed | SSL) => self.once(reason.to_owned()),
            // One broker of several, a group that nobody asked for, and other things that librdkafka tries again.
            _ => {}
        }
    }
}

impl ConsumerContext for Says {}

/// The first offset that a partition has, and that of the next message.
pub(super) type Extent = (u64, u64);

/// A question for a partition's extent, with room for the answer.
pub(super) struct Question {
    topic: String,
    partition: i32,
    wake: Wake,
    answer: OnceLock<Extent>,
}

impl Question {
    pub(super) fn answer(&self) -> Option<Extent> {
        self.answer.get().copied()
    }
}

/// How far partitions have been read here and committed, by topic and number.
type Positions = BTreeMap<(String, i32), (Arc<AtomicU64>, u64)>;

/// The consumer of a process.
pub(super) struct Client {
    consumer: Arc<BaseConsumer<Says>>,
    questions: Mutex<Vec<Arc<Question>>>,
    /// Where there is a group.
    positions: Option<Mutex<Positions>>,
}

impl Client {
    /// Connects, with room for what waits of `partitions` partitions of the source.
    pub(super) fn start(options: &Options, partitions: usize, share: Share) -> Result<Arc<Self>, String> {
        let each = partitions.div_ceil(share.peers.max(1)).max(1);
        // Queues that were split off are bounded one by one. Below a quarter of a megabyte, it is mostly waiting for the network.
        let waiting = (WAITING / each).clamp(256 << 10, 16 << 20);
        let config = options.client(&[
            // Without a group librdkafka assigns nothing.
            ("group.id", options.group.clone().unwrap_or_else(|| "thalweg".to_owned())),
            ("enable.auto.commit", "false".to_owned()),
            ("enable.auto.offset.store", "false".to_owned()),
            ("enable.partition.eof", "true".to_owned()),
            // Where a partition begins anew is for the source to say, which knows what it has read.
            ("auto.offset.reset", "error".to_owned()),
            ("queued.max.messages.kbytes", (waiting >> 10).to_string()),
            ("fetch.message.max.bytes", waiting.min(1 << 20).to_string()),
            ("fetch.max.bytes", (8 << 20).to_string()),
            // How long a partition is not asked for more once so much waits of it: a second by default, in which all of it has been
            // counted. Measured: 5 million lines of four partitions, 372,000 lines a second instead of 297,000.
            ("fetch.queue.backoff.ms", "5".to_owned()),
            // They say how far partitions go, which nothing else does without asking. Of thousands they are long.
            ("statistics.interval.ms", partitions.clamp(1_000, 60_000).to_string()),
        ]);
        let says = Says::new(&options.brokers, false);
        let consumer =
            config.create_with_context::<_, BaseConsumer<_>>(says).map_err(|error| error.to_string())?;
        let consumer = Arc::new(consumer);
        let positions = options.group.is_some().then(Mutex::default);
        let client =
            Arc::new(Client { consumer: Arc::clone(&consumer), questions: Mutex::default(), positions });
        let attended = Arc::downgrade(&client);
        let thread = Builder::new().name("kafka".to_owned()).spawn(move || attend(&consumer, &attended));
        thread.map_err(|error| error.to_string())?;
        Ok(client)
    }

    /// Where the offset is put that is behind all messages of a partition, as of a second ago or so; [`UNKNOWN`] until then.
    pub(super) fn latest(&self, topic: &str, partition: i32) -> Arc<AtomicU64> {
        let latest = Arc::new(AtomicU64::new(UNKNOWN));
        let mut all = self.consumer.context().latest.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert((topic.to_owned(), partition), Arc::clone(&latest));
        latest
    }

    /// Begins to read a partition at `offset`; `wake` is called when messages come.
    pub(super) fn read(
        &self,
        topic: &str,
        partition: i32,
        offset: u64,
        wake: &Wake,
    ) -> Result<PartitionQueue<Says>, String> {
        let mut queue = self
            .consumer
            .split_partition_queue(topic, partition)
            .ok_or_else(|| format!("librdkafka does not take `{topic}` for a topic"))?;
        let wake = Arc::clone(wake);
        queue.set_nonempty_callback(move || wake());
        let offset = i64::try_from(offset).map_err(|_| format!("offset {offset} is no offset of Kafka's"))?;
        let mut one = TopicPartitionList::new();
        one.add_partition_offset(topic, partition, Offset::Offset(offset))
            .map_err(|error| error.to_string())?;
        self.consumer.incremental_assign(&one).map_err(|error| error.to_string())?;
        Ok(queue)
    }

    /// Reads a partition no further.
    pub(super) fn leave(&self, topic: &str, partition: i32) {
        let mut one = TopicPartitionList::new();
        one.add_partition(topic, partition);
        if let Err(error) = self.consumer.incremental_unassign(&one) {
            log::debug!("{topic}/{partition} was not assigned: {error}");
        }
    }

    /// Where offsets are committed: how far a partition has been read is to be put there.
    pub(super) fn position(&self, topic: &str, partition: i32, offset: u64) -> Option<Arc<AtomicU64>> {
        let position = Arc::new(AtomicU64::new(offset));
        let mut positions = self.positions.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        positions.insert((topic.to_owned(), partition), (Arc::clone(&position), offset));
        Some(position)
    }

    /// Asks which messages a partition has; `wake` is called when that is known.
    pub(super) fn ask(&self, topic: &str, partition: i32, wake: &Wake) -> Arc<Question> {
        let (topic, wake) = (topic.to_owned(), Arc::clone(wake));
        let question = Arc::new(Question { topic, partition, wake, answer: OnceLock::new() });
        self.questions.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&question));
        question
    }

    /// Something has come of a broker.
    pub(super) fn answered(&self) {
        self.consumer.context().answered();
    }

    /// Warns of what has not been warned of before.
    pub(super) fn once(&self, what: String) {
        self.consumer.context().once(what);
    }

    /// Tries to answer what is asked; what cannot be answered now is tried again.
    fn answer(&self) {
        let questions = std::mem::take(&mut *self.questions.lock().unwrap_or_else(PoisonError::into_inner));
        let mut open = Vec::new();
        for question in questions {
            match self.consumer.fetch_watermarks(&question.topic, question.partition, ANSWER) {
                Ok((low, high)) => {
                    let _ = question.answer.set((low.max(0) as u64, high.max(0) as u64));
                    (question.wake)();
                }
                Err(error) => {
                    log::debug!("{}/{}: {error}", question.topic, question.partition);
                    open.push(question);
                }
            }
        }
        self.questions.lock().unwrap_or_else(PoisonError::into_inner).append(&mut open);
    }

    /// Commits how far partitions have been read, for whoever looks at the group.
    fn commit(&self) {
        let Some(positions) = &self.positions else { return };
        let mut list = TopicPartitionList::new();
        for ((topic, partition), (position, committed)) in
            positions.lock().unwrap_or_else(PoisonError::into_inner).iter_mut()
        {
            let now = position.load(Ordering::Relaxed);
            let offset = i64::try_from(now).ok().filter(|_| now != *committed);
            let Some(offset) = offset else { continue };
            *committed = now;
            if let Err(error) = list.add_partition_offset(topic, *partition, Offset::Offset(offset)) {
                log::debug!("{topic}/{partition}: {error}");
            }
        }
        if list.count() > 0
            && let Err(error) = self.consumer.commit(&list, CommitMode::Async)
        {
            self.consumer.context().once(format!("offsets cannot be committed: {error}"));
        }
    }
}

/// Serves what librdkafka has to say, answers questions and commits offsets, for as long as there is a client.
fn attend(consumer: &BaseConsumer<Says>, client: &Weak<Client>) {
    for look in 1u64.. {
        // Errors have been said by the time they are returned, and messages come by other queues.
        if let Some(Ok(message)) = consumer.poll(LOOK) {
            let (topic, partition, offset) = (message.topic(), message.partition(), message.offset());
            log::error!(
                "{topic}/{partition}: the message at offset {offset} came by a queue that nobody reads"
            );
        }
        let Some(client) = client.upgrade() else { return };
        client.answer();
        if look.is_multiple_of(COMMIT_EVERY) {
            client.commit();
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.commit();
    }
}

/// The offsets of `partitions` at `offset`, which is a time, in milliseconds, if it is not an end. `None` where there is none.
pub(super) fn list_offsets<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &[(String, i32)],
    offset: Offset,
    within: Duration,
) -> KafkaResult<BTreeMap<(String, i32), Option<u64>>> {
    if partitions.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        list.add_partition_offset(topic, *partition, offset)?;
    }
    let answered = consumer.offsets_for_times(list, within)?;
    let mut found = BTreeMap::new();
    for one in answered.elements() {
        one.error()?;
        let at = match one.offset() {
            Offset::Offset(at) => u64::try_from(at).ok(),
            _ => None,
        };
        found.insert((one.topic().to_owned(), one.partition()), at);
    }
    Ok(found)
}
