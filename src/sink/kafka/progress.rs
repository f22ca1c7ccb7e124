//! How far a sink is, as a message in a topic of its own.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Message, Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};

use super::options::Options;
use super::{WAIT, text};
use crate::source::kafka::Says;

/// So many of the newest messages are looked through before all are.
const NEWEST: i64 = 1000;
/// Waits without a message, at most, where there should be one.
const PATIENCE: usize = 300;

/// What is noted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Noted {
    /// The last epoch whose rows have arrived.
    pub epoch: Option<u64>,
    pub incarnation: u64,
}

/// What is noted, and where.
pub(super) struct Progress {
    pub topic: String,
    /// The key of the message: which sink it is, and of which durable state.
    pub key: String,
    pub noted: Noted,
}

/// What was noted last under the key of `progress`, if anything was.
pub(super) fn newest(options: &Options, progress: &Progress) -> Result<Option<Noted>, String> {
    // The producer says what is wrong with options and brokers; and that a partition has an end is nothing to be said.
    let says = Says::new(&options.brokers, true);
    let consumer = options.consumer().create_with_context(says).map_err(|error| error.to_string())?;
    let found = read(&consumer, progress, options.wait).map_err(|error| {
        format!("how far the sink had come cannot be read from topic `{}`: {}", progress.topic, text(&error))
    })?;
    let parsed = found.map(|bytes| serde_json::from_slice(&bytes)).transpose();
    parsed.map_err(|error| {
        format!("what topic `{}` says of how far the sink had come cannot be read: {error}", progress.topic)
    })
}

fn read(consumer: &BaseConsumer<Says>, progress: &Progress, wait: Duration) -> KafkaResult<Option<Vec<u8>>> {
    let (low, high) = match consumer.fetch_watermarks(&progress.topic, 0, wait) {
        Err(error) if is_missing(&error) => return Ok(None),
        other => other?,
    };
    let near = high.saturating_sub(NEWEST).max(low);
    for from in [near, low] {
        let found = look(consumer, progress, from, high)?;
        if found.is_some() || from == low {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The newest message with the key at or behind offset `from`.
fn look(
    consumer: &BaseConsumer<Says>,
    progress: &Progress,
    from: i64,
    high: i64,
) -> KafkaResult<Option<Vec<u8>>> {
    let mut found = None;
    if from >= high {
        return Ok(found);
    }
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&progress.topic, 0, Offset::Offset(from))?;
    consumer.assign(&list)?;
    let mut waits = 0;
    while waits < PATIENCE {
        match consumer.poll(WAIT) {
            None => waits += 1,
            // All that there is, also where it ends in what a transaction leaves behind.
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(found),
            Some(Err(error)) => return Err(error),
            Some(Ok(message)) => {
                waits = 0;
                if message.key() == Some(progress.key.as_bytes()) {
                    found = message.payload().map(<[u8]>::to_vec);
                }
            }
        }
    }
    Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut))
}

fn is_missing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{UnknownPartition, UnknownTopic, UnknownTopicOrPartition};
    matches!(error.rdkafka_error_code(), Some(UnknownPartition | UnknownTopic | UnknownTopicOrPartition))
}
