//! Brokers of librdkafka's mock cluster: they are in this process, on real sockets, and keep what they have while others are killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use crate::cluster_support::LONG;
use crate::rounds::doze;
use crate::support::Draws;

/// How many brokers there are.
const BROKERS: i32 = 2;
/// The one that goes away.
const AWAY: i32 = 1;
const ROUND_TRIP: Duration = Duration::from_millis(3);

pub struct Brokers(MockCluster<'static, DefaultProducerContext>);

impl Brokers {
    /// Brokers with these topics, each with so many partitions.
    pub fn new(topics: &[(&str, i32)]) -> Self {
        let cluster = MockCluster::new(BROKERS).unwrap();
        topics.iter().for_each(|(name, partitions)| cluster.create_topic(name, *partitions, 1).unwrap());
        // As far away as in another room: what is under way is under way for a while.
        (1..=BROKERS).for_each(|broker| cluster.broker_round_trip_time(broker, ROUND_TRIP).unwrap());
        Brokers(cluster)
    }

    pub fn address(&self) -> String {
        self.0.bootstrap_servers()
    }

    /// Has one broker away while `meanwhile` goes on.
    pub fn without_one(&self, meanwhile: impl FnOnce()) {
        self.0.broker_down(AWAY).unwrap();
        meanwhile();
        self.0.broker_up(AWAY).unwrap();
    }

    /// Has the partitions of `topic` where no broker goes away: a mock may keep twice what a producer has to send again.
    pub fn keeps(self, topic: &str, partitions: i32) -> Self {
        (0..partitions).for_each(|it| self.0.partition_leader(topic, it, Some(BROKERS)).unwrap());
        self
    }

    /// Keys and values of the messages of a topic, one partition after the other.
    pub fn messages(&self, topic: &str, partitions: i32) -> Vec<(String, Option<String>)> {
        let mut config = self.config();
        config.set("group.id", "tests").set("enable.partition.eof", "true");
        let consumer: BaseConsumer = config.create().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut found = Vec::new();
        for partition in 0..partitions {
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
            consumer.assign(&list).unwrap();
            let mut waits = 0;
            loop {
                match consumer.poll(Duration::from_millis(100)) {
                    // It comes back for other reasons, too.
                    None if waits < 300 => waits += 1,
                    None => panic!("{topic}/{partition} has no end"),
                    Some(Ok(message)) => {
                        found.push((text(message.key().unwrap_or_default()), message.payload().map(text)));
                    }
                    Some(Err(KafkaError::PartitionEOF(at))) if at == partition => break,
                    // Of the partition before.
                    Some(Err(KafkaError::PartitionEOF(_))) => {}
                    Some(Err(error)) => panic!("{topic}/{partition}: {error}"),
                }
            }
        }
        found
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address()).set("log_level", "0");
        config.set("reconnect.backoff.ms", "20").set("reconnect.backoff.max.ms", "100");
        config
    }

    /// Sends numbered words to the partitions of `topic`, until it is told to stop.
    pub fn send_words(&self, topic: &'static str, partitions: i32, seed: u64) -> Words {
        let mut config = self.config();
        config.set("linger.ms", "1").set("enable.idempotence", "true");
        let producer: BaseProducer = config.create().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut draws, mut count) = (Draws::new(seed), 0);
            while !stopped.load(Ordering::Relaxed) {
                for _ in 0..draws.below(12) {
                    let message = words_of(count).join(" ");
                    let partition = draws.below(partitions as usize) as i32;
                    let mut record = BaseRecord::<(), str>::to(topic).partition(partition).payload(&message);
                    while let Err((_, back)) = producer.send(record) {
                        record = back;
                        producer.poll(Duration::from_millis(10));
                    }
                    count += 1;
                }
                producer.poll(Duration::ZERO);
                doze(&mut draws, 50);
            }
            producer.flush(LONG).unwrap();
            count
        });
        Words { stop, thread }
    }
}

/// The words of message number `number`: one that no other has, and one of a few.
fn words_of(number: usize) -> [String; 2] {
    [format!("w{number}"), format!("c{}", number % 3)]
}

/// A thread that sends words.
pub struct Words {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Words {
    /// Stops it; how many messages it has sent, all of which have arrived, some of them twice, perhaps.
    pub fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
