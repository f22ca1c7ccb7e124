//! What has arrived in a topic of Kafka.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use crate::cluster_support::{LONG, poll};

/// What makes attempts of a producer frequent enough for a test.
pub const HURRIED: &str =
    "kafka.reconnect.backoff.ms=20&kafka.reconnect.backoff.max.ms=100&kafka.retry.backoff.ms=20";

/// Reads a topic from its beginning.
pub struct Topic {
    consumer: BaseConsumer,
    /// By partition.
    pub lines: Vec<Vec<String>>,
}

impl Topic {
    pub fn new(brokers: &str, name: &str, partitions: i32, options: &[(&str, &str)]) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("group.id", "tests").set("enable.auto.commit", "false");
        config.set("log_level", "0").set("reconnect.backoff.max.ms", "100").set("fetch.wait.max.ms", "10");
        config.extend(options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let consumer: BaseConsumer = config.create().unwrap();
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(name, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        Topic { consumer, lines: vec![Vec::new(); partitions as usize] }
    }

    /// All lines so far, one partition after the other.
    pub fn all(&self) -> Vec<String> {
        self.lines.concat()
    }

    /// Takes what comes for a moment.
    pub fn look(&mut self) {
        while let Some(message) = self.consumer.poll(Duration::from_millis(20)) {
            // Brokers may be away.
            let Ok(message) = message else { continue };
            let line = String::from_utf8(message.payload().unwrap().to_vec()).unwrap();
            self.lines[message.partition() as usize].push(line);
        }
    }

    /// Waits until so many different lines have arrived.
    #[track_caller]
    pub fn until(&mut self, distinct: usize) {
        poll(3 * LONG, &format!("{distinct} different lines"), || {
            self.look();
            let lines: BTreeSet<_> = self.lines.iter().flatten().collect();
            (lines.len() >= distinct).then_some(())
        });
    }
}
