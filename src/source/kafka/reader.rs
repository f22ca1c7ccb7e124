//! One partition of a topic, read by one worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::Message;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::Detail;
use super::client::{Client, Extent, Question, Says, UNKNOWN};
use super::options::Options;
use super::packer::{Packer, Rules};
use crate::source::{Chunk, OnDataLoss, Pool, ReadOptions, Reader, SourceError, Step, Wake};

/// What to do about messages that have gone.
const HINT: &str = "`on-data-loss=continue` goes on where there is something, and says how much is missing";

/// Reads one partition. Its offsets are Kafka's.
pub(super) struct KafkaReader {
    rules: Rules,
    topic: String,
    number: i32,
    on_data_loss: OnDataLoss,
    /// Only while the partition is assigned anew there is none. Before the client: librdkafka wants its queues back before it goes.
    queue: Option<PartitionQueue<Says>>,
    client: Arc<Client>,
    wake: Wake,
    /// The offset of the next message.
    next: u64,
    /// A message that was taken from the queue and is for a later epoch.
    held: Option<(u64, Option<Vec<u8>>)>,
    at_end: bool,
    /// The offset behind all messages, as the statistics say.
    latest: Arc<AtomicU64>,
    stopped: bool,
    /// Whether it is a loss if the first message to be read has gone.
    strict: bool,
    /// What came instead of a message.
    trouble: Option<KafkaError>,
    /// What the partition has, where it has not what was asked for.
    question: Option<Arc<Question>>,
    /// Where offsets are committed, how far it has been read.
    position: Option<Arc<AtomicU64>>,
    tombstones: u64,
    lost: u64,
    /// Whether it was said that the topic has gone.
    gone: bool,
}

impl std::fmt::Debug for KafkaReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (partition, next) = (&self.rules.partition, self.next);
        f.debug_struct("KafkaReader")
            .field("partition", partition)
            .field("next", &next)
            .finish_non_exhaustive()
    }
}

impl KafkaReader {
    pub(super) fn open(
        (name, detail): (&Arc<str>, Detail),
        from: u64,
        read: ReadOptions,
        options: &Options,
        client: Arc<Client>,
        wake: Wake,
    ) -> Result<Self, SourceError> {
        // What an earlier run has not read is missed where it has gone, and not passed over.
        let next = if from > 0 { from } else { detail.start };
        let rules = Rules {
            partition: Arc::clone(name),
            framing: options.framing,
            max_line: read.max_line,
            chunk_bytes: usize::try_from(read.chunk_bytes).unwrap_or(usize::MAX).clamp(1, 4 << 20),
        };
        let position = client.position(&detail.topic, detail.partition, next);
        let latest = client.latest(&detail.topic, detail.partition);
        let mut reader = KafkaReader {
            rules,
            topic: detail.topic,
            number: detail.partition,
            on_data_loss: options.on_data_loss.unwrap_or(read.on_data_loss),
            queue: None,
            client,
            wake,
            next,
            held: None,
            at_end: false,
            latest,
            stopped: false,
            strict: from > 0 || !detail.earliest,
            trouble: None,
            question: None,
            position,
            tombstones: 0,
            lost: 0,
            gone: false,
        };
        reader.begin()?;
        Ok(reader)
    }

    /// Has messages sent from the next on.
    fn begin(&mut self) -> Result<(), SourceError> {
        // The old queue first: it takes its callback with it, and underneath it is the same.
        if self.queue.take().is_some() {
            self.client.leave(&self.topic, self.number);
        }
        let queue = self.client.read(&self.topic, self.number, self.next, &self.wake);
        self.queue = Some(queue.map_err(|reason| self.refused(reason))?);
        self.at_end = false;
        // A topic that was created anew begins anew.
        self.latest.store(UNKNOWN, Ordering::Relaxed);
        Ok(())
    }

    fn refused(&self, reason: String) -> SourceError {
        SourceError::Service { service: self.rules.partition.to_string(), reason }
    }

    /// Takes messages before `upto` from the queue, as far as they are there and make a chunk.
    fn take(&mut self, upto: u64, pool: &Pool) -> Option<Chunk> {
        let queue = self.queue.as_ref()?;
        let mut packer = Packer::new(&self.rules, pool);
        if let Some((offset, payload)) = self.held.take_if(|(offset, _)| *offset < upto) {
            packer.add(offset, payload.as_deref());
            self.next = offset + 1;
        }
        while self.held.is_none() && self.next < upto && !packer.is_full() {
            match queue.poll(Duration::ZERO) {
                Some(Ok(message)) => {
                    let offset = u64::try_from(message.offset()).unwrap_or(0);
                    // None of these is sent twice; and if one were, it is read once.
                    if offset < self.next {
                        continue;
                    }
                    let payload = message.payload();
                    (self.at_end, self.gone) = (false, false);
                    if offset >= upto {
                        self.held = Some((offset, payload.map(<[u8]>::to_vec)));
                        break;
                    }
                    self.tombstones += u64::from(payload.is_none());
                    packer.add(offset, payload);
                    self.next = offset + 1;
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    self.at_end = true;
                    self.client.answered();
                    break;
                }
                Some(Err(error)) => {
                    self.trouble = Some(error);
                    break;
                }
                None => break,
            }
        }
        // There is none between the last and one that is held, and so none before `upto`.
        if self.held.as_ref().is_some_and(|(offset, _)| *offset >= upto) {
            self.next = self.next.max(upto);
        }
        packer.finish()
    }

    /// Deals with what came instead of a message.
    fn face(&mut self, error: &KafkaError) -> Result<(), SourceError> {
        use RDKafkaErrorCode::*;
        match error.rdkafka_error_code() {
            Some(AutoOffsetReset | OffsetOutOfRange) => {
                self.at_end = false;
                self.question = Some(self.client.ask(&self.topic, self.number, &self.wake));
            }
            Some(UnknownTopicOrPartition | UnknownTopic | UnknownPartition | UnknownTopicId) => {
                self.lose("the topic, or this partition of it, is not there".to_owned(), !self.gone)?;
                // If it is created anew, its offsets have gone back, and that is noticed.
                (self.gone, self.at_end) = (true, true);
            }
            Some(
                BadMessage | BadCompression | NotImplemented | InvalidMessage | UnsupportedCompressionType,
            ) => {
                self.lose(format!("messages cannot be read: {error}"), true)?;
            }
            Some(TopicAuthorizationFailed) => return Err(self.refused(error.to_string())),
            // librdkafka tries again.
            _ => self.client.once(format!("{}: {error}", self.rules.partition)),
        }
        Ok(())
    }

    /// Goes on with what the partition has, where the next message has gone; returns whether it can.
    fn settle(&mut self, (low, high): Extent) -> Result<bool, SourceError> {
        if self.next > high {
            let next = self.next;
            let reason = format!(
                "its last message is {high} now: the topic was created anew, or cut short; offsets up to {next} had been read"
            );
            self.lose(reason, true)?;
            return Ok(false);
        }
        if self.next < low {
            if self.strict {
                let missing = low - self.next;
                self.lose(format!("its first message is {low} by now, {missing} are missing"), true)?;
                self.lost += missing;
            }
            self.next = low;
        }
        self.begin()?;
        Ok(true)
    }

    /// Messages have gone: an error, or a warning if that is wanted, which is given if it is `news`.
    fn lose(&self, reason: String, news: bool) -> Result<(), SourceError> {
        let (partition, offset) = (self.rules.partition.to_string(), self.next);
        match self.on_data_loss {
            OnDataLoss::Fail => Err(SourceError::Lost { partition, offset, reason, hint: HINT }),
            OnDataLoss::Continue => {
                if news {
                    log::warn!("{partition} at offset {offset}: {reason}");
                }
                Ok(())
            }
        }
    }
}

impl Reader for KafkaReader {
    fn poll(&mut self, upto: u64, pool: &Pool) -> Result<Step, SourceError> {
        if self.stopped {
            return Ok(if self.next >= upto { Step::Reached } else { Step::CaughtUp });
        }
        if let Some(question) = &self.question {
            let Some(extent) = question.answer() else { return Ok(Step::CaughtUp) };
            self.question = None;
            if !self.settle(extent)? {
                return Ok(Step::Ended);
            }
        }
        if let Some(error) = self.trouble.take() {
            self.face(&error)?;
        }
        if let Some(chunk) = self.take(upto, pool) {
            self.client.answered();
            self.strict = true;
            if let Some(position) = &self.position {
                position.store(self.next, Ordering::Relaxed);
            }
            return Ok(Step::Chunk(chunk));
        }
        Ok(if self.next >= upto { Step::Reached } else { Step::CaughtUp })
    }

    fn offset(&self) -> u64 {
        self.next
    }

    fn latest(&self) -> Option<u64> {
        Some(self.latest.load(Ordering::Relaxed)).filter(|latest| *latest != UNKNOWN)
    }

    fn is_at_end(&self) -> bool {
        // What waits is for a later epoch, or has been left where it is.
        self.at_end || self.stopped
    }

    fn lost(&self) -> u64 {
        self.lost
    }

    fn stop(&mut self) {
        self.stopped = true;
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        self.queue = None;
        self.client.leave(&self.topic, self.number);
        let partition = &self.rules.partition;
        if self.tombstones > 0 {
            log::info!(
                "{partition}: {} messages without a payload (tombstones) were skipped",
                self.tombstones
            );
        }
        if self.lost > 0 {
            log::warn!("{partition}: {} messages were gone before they were read", self.lost);
        }
    }
}
