//! Kafka sources against clusters: no message is lost and none is read twice, whatever happens to brokers and topics.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

#[allow(dead_code, clippy::disallowed_methods, reason = "not all of it is used here, and deadlines are")]
mod cluster_support;
#[allow(dead_code, reason = "not all servers are used here")]
mod services;
#[path = "kafka/sink.rs"]
mod sink;
#[allow(dead_code, reason = "not all of it is used here")]
#[path = "files/stand.rs"]
mod stand;
#[allow(dead_code, reason = "not all of it is used here")]
#[path = "ship/topic.rs"]
mod topic;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::{current, park_timeout};
use std::time::Duration;

use cluster_support::{Cluster, LONG, Process, poll, thalweg};
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use thalweg::source::{
    Found, KafkaSource, OnDataLoss, Pool, ReadOptions, Reader, Share, Source, SourceError, Step,
};

/// Brokers in this process, on real sockets: other processes can talk to them.
///
/// Each partition keeps the last 5 MiB of messages.
struct Brokers(MockCluster<'static, DefaultProducerContext>);

impl Brokers {
    fn new(count: i32) -> Self {
        Brokers(MockCluster::new(count).unwrap())
    }

    fn topic(self, name: &str, partitions: i32) -> Self {
        self.0.create_topic(name, partitions, 1).unwrap();
        self
    }

    fn address(&self) -> String {
        self.0.bootstrap_servers()
    }

    fn producer(&self) -> BaseProducer {
        producer(&self.address(), &[])
    }

    /// Sends `message` to each of the partitions in turn.
    fn send(&self, topic: &str, partitions: i32, messages: impl Iterator<Item = String>) {
        let producer = self.producer();
        for (at, message) in messages.enumerate() {
            send(&producer, topic, at as i32 % partitions, Some(&message));
        }
        producer.flush(LONG).unwrap();
    }
}

fn producer(brokers: &str, options: &[(&str, &str)]) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("linger.ms", "1").set("log_level", "0");
    config.extend(options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    config.create().unwrap()
}

fn send(producer: &BaseProducer, topic: &str, partition: i32, message: Option<&str>) {
    let mut record = BaseRecord::<(), str>::to(topic).partition(partition);
    record.payload = message;
    while let Err((error, back)) = producer.send(record) {
        assert_eq!(error.rdkafka_error_code(), Some(rdkafka::types::RDKafkaErrorCode::QueueFull), "{error}");
        record = back;
        producer.poll(Duration::from_millis(10));
    }
    producer.poll(Duration::ZERO);
}

/// Numbers as words.
fn words(from: u32, to: u32) -> impl Iterator<Item = String> {
    (from..to).map(|n| format!("w{n}"))
}

/// How to count the words of a topic.
fn count(brokers: &Brokers, topics: &str, options: &str, workers: usize) -> String {
    let address = brokers.address();
    format!(
        "run word-count --source kafka://{address}/{topics}?refresh=200ms{options} -w {workers} --tick 20ms \
         --sink jsonl:out?mode=changes --log info"
    )
}

/// How often each word was counted, by what `file` says of changes so far.
fn counted(cluster: &Cluster, file: &str) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    let text = cluster.read(file);
    // The last line may not be whole yet.
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    for line in whole.lines() {
        let change: serde_json::Value = serde_json::from_str(line).unwrap();
        let row = &change["row"];
        let word = row["word"].as_str().unwrap().to_owned();
        let count = row["count"].as_i64().unwrap() * change["diff"].as_i64().unwrap();
        *counts.entry(word).or_insert(0) += count;
    }
    counts.retain(|_, count| *count != 0);
    counts
}

/// Waits until `words` words have been counted, and looks that none was counted twice or is not one of them.
fn all_once(cluster: &Cluster, file: &str, words: u32) {
    let found = poll(LONG, &format!("{words} words"), || {
        Some(counted(cluster, file)).filter(|it| it.len() >= words as usize)
    });
    let expected: BTreeMap<_, _> = self::words(0, words).map(|word| (word, 1)).collect();
    assert!(found == expected, "{:?}", found.iter().find(|it| expected.get(it.0) != Some(it.1)));
}

/// Ends it in order, and returns what it said.
fn ended(mut process: Process) -> String {
    process.signal("TERM");
    process.ends_with(0, &[]);
    process.stderr()
}

/// Waits until it has said `text`.
fn says(process: &Process, text: &str) {
    poll(LONG, text, || process.stderr().contains(text).then_some(()));
}

/// The source of `rest`: topics and options.
fn source(brokers: &Brokers, rest: &str) -> KafkaSource {
    KafkaSource::new(&format!("//{}/{rest}", brokers.address())).unwrap()
}

fn open(source: &KafkaSource, partition: &Found, from: u64, chunk_bytes: u64) -> Box<dyn Reader> {
    let worker = current();
    let options = ReadOptions { chunk_bytes, ..ReadOptions::default() };
    let share = Share { worker: 0, peers: 1 };
    source.open(partition, from, share, options, Arc::new(move || worker.unpark())).unwrap()
}

/// The lines before `upto` that the reader has, and how it ended.
fn read_until(reader: &mut dyn Reader, upto: u64) -> (Vec<(u64, String)>, Result<Step, SourceError>) {
    let (pool, mut lines) = (Pool::default(), Vec::new());
    for _ in 0..400 {
        match reader.poll(upto, &pool) {
            Ok(Step::Chunk(chunk)) => {
                lines
                    .extend(chunk.lines().map(|(at, line)| (at, String::from_utf8_lossy(line).into_owned())));
            }
            Ok(Step::CaughtUp) => park_timeout(Duration::from_millis(50)),
            end => return (lines, end),
        }
    }
    panic!("{reader:?} has not come to {upto}");
}

/// The lines before `upto`.
fn read(reader: &mut dyn Reader, upto: u64) -> Vec<(u64, String)> {
    let (lines, end) = read_until(reader, upto);
    assert!(matches!(end, Ok(Step::Reached)), "{end:?}");
    lines
}

#[test]
fn every_message_is_read_once_at_any_number_of_workers() {
    let brokers = Brokers::new(3).topic("t", 4);
    for (codec, from) in [("none", 0), ("gzip", 2_000), ("snappy", 4_000), ("lz4", 6_000), ("zstd", 8_000)] {
        let producer = producer(&brokers.address(), &[("compression.codec", codec)]);
        for (at, word) in words(from, from + 2_000).enumerate() {
            send(&producer, "t", at as i32 % 4, Some(&word));
        }
        producer.flush(LONG).unwrap();
    }
    for workers in [1, 2] {
        let cluster = Cluster::new(thalweg(), 1);
        let process = cluster.alone(&count(&brokers, "t", "", workers));
        all_once(&cluster, "out", 10_000);
        ended(process);
    }
}

#[test]
fn two_processes_share_the_partitions() {
    let brokers = Brokers::new(1).topic("t", 5);
    brokers.send("t", 5, words(0, 5_000));
    let cluster = Cluster::new(thalweg(), 2);
    let arguments = count(&brokers, "t", "", 1);
    let processes: Vec<_> = (0..2).map(|index| cluster.process(index, &arguments)).collect();
    all_once(&cluster, "out", 5_000);
    brokers.send("t", 5, words(5_000, 6_000));
    all_once(&cluster, "out", 6_000);
    processes[0].signal("TERM");
    for mut process in processes {
        process.ends_with(0, &[]);
    }
}

#[test]
fn brokers_that_go_and_fail_under_load_lose_nothing_and_are_named_once() {
    let brokers = Brokers::new(2).topic("t", 3);
    let cluster = Cluster::new(thalweg(), 1);
    let options =
        "&kafka.reconnect.backoff.ms=20&kafka.reconnect.backoff.max.ms=100&kafka.fetch.error.backoff.ms=20";
    let process = cluster.alone(&count(&brokers, "t", options, 2));
    brokers.send("t", 3, words(0, 300));
    all_once(&cluster, "out", 300);
    let mut from = 300;
    for (error, broker) in [
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, None),
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT, None),
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, Some(1)),
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN, Some(2)),
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, Some(-1)),
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT, Some(-1)),
    ] {
        brokers.0.request_errors(RDKafkaApiKey::Fetch, &[error; 5]);
        brokers.send("t", 3, words(from, from + 2_000));
        if let Some(broker) = broker {
            brokers.0.broker_down(broker).unwrap();
            // For long enough that the source has noticed; all of them are down where it has said so.
            if broker < 0 {
                says(&process, "no broker can be reached");
            }
            brokers.0.broker_up(broker).unwrap();
        }
        from += 2_000;
    }
    all_once(&cluster, "out", from);
    let said = ended(process);
    let times = |text: &str| said.matches(text).count();
    assert!((1..=2).contains(&times("no broker can be reached")), "{said}");
    assert_eq!(times("no broker can be reached"), times("brokers answer again"), "{said}");
}

#[test]
fn topics_that_come_are_read_from_their_first_message() {
    let brokers = Brokers::new(1).topic("t-0", 2).topic("other", 1);
    brokers.send("other", 1, words(100_000, 100_001));
    brokers.send("t-0", 2, words(0, 100));
    let cluster = Cluster::new(thalweg(), 1);
    let matching = cluster.alone(&count(&brokers, "/t-[0-9]/", "", 2));
    all_once(&cluster, "out", 100);
    // One that is named has not come yet.
    let named = count(&brokers, "t-1,t-2", "&start=latest", 1).replace("jsonl:out", "jsonl:named");
    let named = cluster.alone(&named);
    says(&named, "there is no topic `t-2`");
    let brokers = brokers.topic("t-1", 1).topic("t-2", 3);
    brokers.send("t-1", 1, words(100, 200));
    brokers.send("t-2", 3, words(200, 400));
    all_once(&cluster, "out", 400);
    poll(LONG, "the topics that are named", || (counted(&cluster, "named").len() == 300).then_some(()));
    ended(matching);
    ended(named);
}

#[test]
fn a_message_is_a_line_unless_lines_are_wanted() {
    let brokers = Brokers::new(1).topic("t", 1);
    let producer = brokers.producer();
    for message in [Some("a b\nc\n"), None, Some("d"), None, Some("e\r\nf")] {
        send(&producer, "t", 0, message);
    }
    producer.flush(LONG).unwrap();
    for (framing, expected) in [
        ("message", &[(0, "a b c"), (2, "d"), (4, "e  f")][..]),
        ("lines", &[(0, "a b"), (1, "c"), (2 << 20, "d"), (4 << 20, "e"), ((4 << 20) + 1, "f")]),
    ] {
        let source = source(&brokers, &format!("t?framing={framing}"));
        let mut reader = open(&source, &source.find().unwrap()[0], 0, 1 << 20);
        let lines = read(&mut *reader, 5);
        let lines: Vec<_> = lines.iter().map(|(offset, line)| (*offset, line.as_str())).collect();
        assert_eq!(lines, expected);
        assert_eq!(reader.offset(), 5);
    }
    let cluster = Cluster::new(thalweg(), 1);
    let process = cluster.alone(&count(&brokers, "t", "", 1));
    poll(LONG, "all words", || (counted(&cluster, "out").len() == 6).then_some(()));
    assert!(ended(process).contains("kafka:t/0: 2 messages without a payload (tombstones) were skipped"));
}

#[test]
fn what_is_read_again_is_the_same_however_it_is_cut() {
    let brokers = Brokers::new(1).topic("t", 1);
    brokers.send("t", 1, words(0, 1_000));
    let source = source(&brokers, "t");
    let found = source.find().unwrap();
    let whole = read(&mut *open(&source, &found[0], 0, 1 << 20), 1_000);
    assert_eq!(whole, (0..).zip(words(0, 1_000)).collect::<Vec<_>>());
    // A source of its own each time, as after a restart.
    let again = self::source(&brokers, "t");
    let mut reader = open(&again, &found[0], 0, 100);
    let mut parts = read(&mut *reader, 1);
    for upto in [7, 7, 500, 501, 1_000] {
        parts.extend(read(&mut *reader, upto));
        assert_eq!(reader.offset(), upto);
    }
    assert_eq!(parts, whole);
    drop(reader);
    assert_eq!(read(&mut *open(&again, &found[0], 990, 100), 1_000), whole[990..]);
}

#[test]
fn offsets_that_are_gone_are_an_error_or_counted() {
    let brokers = Brokers::new(1).topic("t", 1);
    brokers.send("t", 1, words(0, 10));
    let found = source(&brokers, "t").find().unwrap();
    // The topic has been created anew: it has fewer messages than were read of the old one.
    let fail = source(&brokers, "t");
    let (lines, end) = read_until(&mut *open(&fail, &found[0], 100, 100), u64::MAX);
    let error = end.unwrap_err();
    assert!(lines.is_empty() && matches!(error, SourceError::Lost { offset: 100, .. }), "{error}");
    assert!(error.to_string().contains("created anew, or cut short"), "{error}");
    let go_on = source(&brokers, "t?on-data-loss=continue");
    let (lines, end) = read_until(&mut *open(&go_on, &found[0], 100, 100), u64::MAX);
    assert!(lines.is_empty() && matches!(end, Ok(Step::Ended)), "{end:?}");
    // Then it is found as one that has not been read.
    let found = go_on.find().unwrap();
    let mut finder = go_on.finder().unwrap();
    let again = poll(LONG, "the partition", || {
        let found = finder.wait(Duration::from_millis(200)).unwrap();
        (!found.is_empty()).then_some(found)
    });
    assert_eq!(again, found);
    assert_eq!(read(&mut *open(&go_on, &again[0], 0, 100), 10).len(), 10);

    // A partition keeps 5 MiB, of which ten times as much comes: the first of it is gone.
    let long = "x".repeat(10_000);
    brokers.send("t", 1, (0..5_000).map(|n| format!("{n} {long}")));
    let (lines, end) = read_until(&mut *open(&source(&brokers, "t"), &found[0], 10, 1 << 20), 5_010);
    let error = end.unwrap_err();
    assert!(lines.is_empty() && error.to_string().contains("its first message is"), "{error}");
    let lines = read(&mut *open(&go_on, &found[0], 10, 1 << 20), 5_010);
    let expected: Vec<_> = (10..).zip((0..5_000).map(|n| format!("{n} {long}"))).collect();
    assert!(!lines.is_empty() && expected.ends_with(&lines));
    // Also by a run that goes on from an earlier one and finds the partition as it is now; and what the run does goes for its sources.
    let found = source(&brokers, "t").find().unwrap();
    let (lines, end) = read_until(&mut *open(&source(&brokers, "t"), &found[0], 10, 1 << 20), 5_010);
    let error = end.unwrap_err();
    assert!(lines.is_empty() && error.to_string().contains("its first message is"), "{error}");
    let options = ReadOptions { on_data_loss: OnDataLoss::Continue, ..ReadOptions::default() };
    let (share, worker) = (Share { worker: 0, peers: 1 }, current());
    let plain = source(&brokers, "t");
    let mut reader = plain.open(&found[0], 10, share, options, Arc::new(move || worker.unpark())).unwrap();
    let lines = read(&mut *reader, 5_010);
    assert!(!lines.is_empty() && expected.ends_with(&lines));
    assert_eq!(reader.lost() + lines.len() as u64, 5_000);
    // What nobody has begun to read is not missed.
    let lines = read(&mut *open(&source(&brokers, "t"), &found[0], 0, 1 << 20), 5_010);
    assert!(!lines.is_empty() && expected.ends_with(&lines));
}

#[test]
fn a_group_is_told_how_far_messages_were_read() {
    use rdkafka::consumer::{BaseConsumer, Consumer};
    let brokers = Brokers::new(1).topic("t", 1);
    brokers.send("t", 1, words(0, 10));
    let cluster = Cluster::new(thalweg(), 1);
    let process = cluster.alone(&count(&brokers, "t", "&group=watched", 1));
    all_once(&cluster, "out", 10);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers.address()).set("group.id", "watched");
    let consumer: BaseConsumer = config.create().unwrap();
    let committed = poll(LONG, "a commit", || {
        let mut list = rdkafka::TopicPartitionList::new();
        list.add_partition("t", 0);
        let committed = consumer.committed_offsets(list, Duration::from_secs(5)).unwrap();
        let offset = committed.find_partition("t", 0).unwrap().offset();
        Some(offset).filter(|offset| *offset != rdkafka::Offset::Invalid)
    });
    assert_eq!(committed, rdkafka::Offset::Offset(10));
    ended(process);
}

#[test]
fn what_is_wrong_is_said_without_secrets() {
    let cluster = Cluster::new(thalweg(), 1);
    for (source, code, expected) in [
        (
            "a:1/t?kafka.sasl.password=hush&kafka.no.such.option=1",
            2,
            "librdkafka has no option `no.such.option`",
        ),
        ("a:1/t?kafka.sasl.password=hush&start=soon", 2, "`start=soon` is neither"),
        // Nobody listens there.
        ("127.0.0.1:1/t?kafka.sasl.password=hush", 3, "no broker answers within 10s"),
    ] {
        let mut process = cluster.alone(&format!("run word-count --source kafka://{source}"));
        process.ends_with(code, &[expected]);
        assert!(!process.stderr().contains("hush"), "{}", process.stderr());
    }
}

#[test]
fn partitions_that_are_added_to_a_topic_of_a_real_cluster_are_read() {
    let Some(kafka) = services::Kafka::start() else { return };
    let (address, dir) = (kafka.address(), Cluster::new(thalweg(), 1));
    let send_all = |partitions: i32, from: u32, to: u32| {
        for (codec, first) in [("none", 0), ("gzip", 1), ("snappy", 2), ("lz4", 3)] {
            let codec = [("compression.codec", codec)];
            let producer = producer(&address, &[&services::Kafka::OPTIONS[..], &codec].concat());
            // The broker may not have heard of what was created a moment ago.
            poll(LONG, "the partitions", || {
                let metadata = producer.client().fetch_metadata(Some("t"), LONG).ok()?;
                (metadata.topics()[0].partitions().len() == partitions as usize).then_some(())
            });
            let mine = (from..to).filter(|n| n % 4 == first);
            mine.for_each(|n| send(&producer, "t", n as i32 / 4 % partitions, Some(&format!("w{n}"))));
            producer.flush(LONG).unwrap();
        }
    };
    kafka.topics("--create --topic t --partitions 2 --replication-factor 1");
    let told = services::Kafka::OPTIONS.map(|(key, value)| format!("&kafka.{key}={value}")).concat();
    let process = dir.alone(&format!(
        "run word-count -w 2 --tick 20ms --sink jsonl:out?mode=changes --log info --source \
         kafka://{address}/t?refresh=200ms{told}"
    ));
    send_all(2, 0, 4_000);
    all_once(&dir, "out", 4_000);
    kafka.topics("--alter --topic t --partitions 4");
    send_all(4, 4_000, 6_000);
    all_once(&dir, "out", 6_000);
    ended(process);
}
