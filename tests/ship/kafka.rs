//! To clusters: librdkafka's mock, whose brokers are taken down under load, and the real Apache
//! Kafka 0.8.2.2.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use crate::apache::reloaded;
use crate::cluster_support::{LONG, poll};
use crate::receiver::all_there;
use crate::services::Kafka;
use crate::support::{Draws, Lines, Running, command};
use crate::{Logger, ship, ship_all};

/// Reads a topic from its beginning.
struct Topic {
    consumer: BaseConsumer,
    /// By partition.
    lines: Vec<Vec<String>>,
}

impl Topic {
    fn new(brokers: &str, name: &str, partitions: i32, options: &[(&str, &str)]) -> Self {
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
    fn all(&self) -> Vec<String> {
        self.lines.concat()
    }

    /// Takes what comes for a moment.
    fn look(&mut self) {
        while let Some(message) = self.consumer.poll(Duration::from_millis(20)) {
            // Brokers may be away.
            let Ok(message) = message else { continue };
            let line = String::from_utf8(message.payload().unwrap().to_vec()).unwrap();
            self.lines[message.partition() as usize].push(line);
        }
    }

    /// Waits until so many different lines have arrived.
    #[track_caller]
    fn until(&mut self, distinct: usize) {
        poll(3 * LONG, &format!("{distinct} different lines"), || {
            self.look();
            let lines: BTreeSet<_> = self.lines.iter().flatten().collect();
            (lines.len() >= distinct).then_some(())
        });
    }
}

/// Brokers in this process, with the topic `t`.
fn brokers(count: i32, partitions: i32) -> MockCluster<'static, DefaultProducerContext> {
    let brokers = MockCluster::new(count).unwrap();
    brokers.create_topic("t", partitions, 1).unwrap();
    brokers
}

/// Starts a broker again, or all of them (-1), once nobody has its port: while it was away, the system may have given it to a
/// connection, and librdkafka ends the process where it cannot listen.
fn up(cluster: &MockCluster<'_, DefaultProducerContext>, broker: i32) {
    for address in cluster.bootstrap_servers().split(',') {
        // The others listen.
        let listens = || TcpStream::connect(address).is_ok();
        poll(LONG, "a port", || (listens() || TcpListener::bind(address).is_ok()).then_some(()));
    }
    cluster.broker_up(broker).unwrap();
}

/// What makes attempts frequent enough for a test.
const HURRIED: &str =
    "kafka.reconnect.backoff.ms=20&kafka.reconnect.backoff.max.ms=100&kafka.retry.backoff.ms=20";

/// The options of the real cluster, as a URI has them.
fn old() -> String {
    let told = Kafka::OPTIONS.map(|(key, value)| format!("kafka.{key}={value}&")).concat();
    format!("{told}kafka.enable.idempotence=false")
}

#[test]
fn brokers_that_go_and_fail_under_load_lose_nothing_and_change_no_order() {
    let cluster = brokers(2, 1);
    let dir = tempfile::tempdir().unwrap();
    let mut a = Logger::new(dir.path(), "a");
    let offsets = dir.path().join("offsets").display().to_string();
    let address = cluster.bootstrap_servers();
    let sink = format!("kafka://{address}/t?{HURRIED}");
    let mut shipper =
        Running::start(&mut ship(&[a.path()], &sink, &["--offsets", &offsets, "--log", "info"]));
    let said = shipper.stderr_lines();
    let mut topic = Topic::new(&address, "t", 1, &[]);
    for (error, broker) in [
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, None),
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT, Some(1)),
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, Some(2)),
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND, Some(-1)),
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT, Some(-1)),
    ] {
        cluster.request_errors(RDKafkaApiKey::Produce, &[error; 3]);
        a.log(2_000);
        if let Some(broker) = broker {
            topic.until(a.count() - 2_000);
            cluster.broker_down(broker).unwrap();
            a.log(2_000);
            if broker < 0 {
                said.until("no broker can be reached");
            }
            up(&cluster, broker);
        }
        topic.until(a.count());
    }
    shipper.signal("TERM");
    let summary = said.until("\"lines\"");
    shipper.wait().exits(0);
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["lines"].as_u64(), Some(a.count() as u64));
    all_there(&topic.all(), &a.counts());
}

#[test]
fn shippers_that_are_killed_while_brokers_go_lose_nothing() {
    let cluster = brokers(1, 1);
    let dir = tempfile::tempdir().unwrap();
    let (mut a, mut draws) = (Logger::new(dir.path(), "a"), Draws::new(7));
    let offsets = dir.path().join("offsets").display().to_string();
    let address = cluster.bootstrap_servers();
    let sink = format!("kafka://{address}/t?{HURRIED}");
    let mut topic = Topic::new(&address, "t", 1, &[]);
    let shipper = || Running::start(&mut ship(&[a_path(&dir)], &sink, &["--offsets", &offsets]));
    for round in 0..15 {
        a.log(1 + draws.below(1_000));
        let shipper = shipper();
        if round % 3 > 0 {
            topic.until(a.count() - draws.below(100).min(a.count() - 1));
        }
        if round % 2 == 0 {
            cluster.broker_down(-1).unwrap();
            a.log(draws.below(1_000));
            drop(shipper);
            up(&cluster, -1);
        }
    }
    let shipper = shipper();
    topic.until(a.count());
    shipper.signal("TERM");
    shipper.wait().exits(0);
    all_there(&topic.all(), &a.counts());
}

/// The log of [`Logger`] `a`.
fn a_path(dir: &tempfile::TempDir) -> &'static str {
    // For as long as the test runs.
    Box::leak(dir.path().join("a.log").display().to_string().into_boxed_str())
}

#[test]
fn keys_decide_on_the_partition() {
    let cluster = brokers(1, 4);
    let dir = tempfile::tempdir().unwrap();
    let mut loggers = ["a", "b", "c", "d", "e"].map(|name| Logger::new(dir.path(), name));
    loggers.iter_mut().for_each(|logger| logger.log(500));
    let source = dir.path().join("*.log").display().to_string();
    let sink = format!("kafka://{}/t", cluster.bootstrap_servers());
    for (key, rounds) in [("file", 1), ("field:1", 2)] {
        ship_all(&[&source], &sink, &["--offsets", "none", "--key", key]);
        let mut topic = Topic::new(&cluster.bootstrap_servers(), "t", 4, &[]);
        poll(LONG, "all lines", || {
            topic.look();
            (topic.all().len() == rounds * 2_500).then_some(())
        });
        for logger in &loggers {
            let first = format!("{}-", logger.name);
            let has = |lines: &&Vec<String>| lines.iter().any(|line| line.starts_with(&first));
            assert!(topic.lines.iter().filter(has).count() <= rounds, "{}: {key}", logger.name);
        }
    }
}

/// librdkafka cannot read what this broker says of topics where that is short.
const LONG_NAME: &str = "lines-of-an-application-that-logs-a-lot-and-has-a-long-name";

/// No line is given up because of those beside it in a batch.
#[test]
fn the_real_cluster_and_what_it_does_not_take() {
    let Some(kafka) = Kafka::start() else { return };
    let (address, dir) = (kafka.address(), tempfile::tempdir().unwrap());
    let (mut a, offsets) = (Logger::new(dir.path(), "a"), dir.path().join("offsets").display().to_string());
    a.log(1_000);
    // It is too old to tell what it was sent twice.
    let told = Kafka::OPTIONS.map(|(key, value)| format!("kafka.{key}={value}&")).concat();
    let sink = format!("kafka://{address}/{LONG_NAME}?{told}");
    let refused = Running::start(&mut ship(&[a.path()], &sink, &["--offsets", &offsets])).wait();
    refused.exits(4).says(&["hint: brokers before 0.11", "?kafka.enable.idempotence=false"]);

    // The topic comes later.
    let sink = format!(
        "kafka://{address}/{LONG_NAME}?{}&kafka.topic.metadata.propagation.max.ms=100&{HURRIED}",
        old()
    );
    let rejects = dir.path().join("rejects");
    let args =
        ["--offsets", &offsets, "--rejects", rejects.to_str().unwrap(), "--log", "info", "--key", "file"];
    let mut shipper = Running::start(&mut ship(&[a.path()], &sink, &args));
    let said: Lines = shipper.stderr_lines();
    said.until("what was not delivered is sent again");
    kafka.topics(&format!(
        "--create --topic {LONG_NAME} --partitions 2 --replication-factor 1 --config max.message.bytes=5000"
    ));
    let mut topic = Topic::new(&address, LONG_NAME, 2, &Kafka::OPTIONS);
    topic.until(a.count());
    // One that is too large among others that are not.
    a.log(100);
    a.file.write_all(format!("{}\n", "x".repeat(6_000)).as_bytes()).unwrap();
    a.log(100);
    topic.until(a.count());
    said.until("a line of 6000 bytes is not sent");
    shipper.signal("TERM");
    let summary: serde_json::Value = serde_json::from_str(&said.until("\"lines\"")).unwrap();
    shipper.wait().exits(0);
    assert_eq!(
        (summary["lines"].as_u64(), summary["rejected"].as_u64()),
        (Some(1_200), Some(1)),
        "{summary}"
    );
    // What followed a batch that was refused for its size may have come before it.
    let received: BTreeSet<_> = topic.all().into_iter().collect();
    assert_eq!(received, (0..1_200).map(|line| format!("a-1 {line}")).collect());
    assert_eq!(std::fs::read_to_string(&rejects).unwrap(), format!("{}\n", "x".repeat(6_000)));
}

/// The whole way: a log that is rotated, shipped, and counted from Kafka, against the same log
/// counted from files.
#[test]
fn logrotate_then_ship_then_kafka_then_counts() {
    let Some(kafka) = Kafka::start() else { return };
    kafka.topics(&format!("--create --topic {LONG_NAME} --partitions 2 --replication-factor 1"));
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let generated =
        command().args(["generate", "access-log", "--lines", "20000", "--seed", "9"]).output().unwrap();
    std::fs::write(path("whole"), &generated.stdout).unwrap();
    let rules = format!("{} {{\nrotate 50\ncreate\nnocompress\n}}\n", path("access.log"));
    std::fs::write(path("rules"), rules).unwrap();
    std::fs::write(path("access.log"), "").unwrap();

    let sink = format!("kafka://{}/{LONG_NAME}?{}", kafka.address(), old());
    let offsets = path("offsets");
    let shipper = Running::start(&mut ship(&[&path("access.log")], &sink, &["--offsets", &offsets]));
    let told = Kafka::OPTIONS.map(|(key, value)| format!("&kafka.{key}={value}")).concat();
    let source = format!("kafka://{}/{LONG_NAME}?refresh=200ms{told}", kafka.address());
    let count = |source: &str, out: &str| {
        let mut command = command();
        command.args(["run", "access-log", "--source", source, "--tick", "20ms", "-w", "2"]);
        command.args(["--sink", &format!("jsonl:{}?mode=complete&at=end", path(out))]);
        command.args(["--sink", "jsonl:-?mode=changes", "--summary", "json"]);
        command
    };
    let mut counting = Running::start(&mut count(&source, "of-kafka"));
    let shown = counting.stdout_lines();

    // Written in pieces, and rotated between them; whoever writes goes on with the old file for a
    // moment.
    let lines: Vec<&[u8]> = generated.stdout.split_inclusive(|byte| *byte == b'\n').collect();
    let open = || std::fs::OpenOptions::new().append(true).create(true).open(path("access.log")).unwrap();
    let (mut log, mut sent) = (open(), 0);
    for (round, piece) in lines.chunks(lines.len().div_ceil(20)).enumerate() {
        let (before, after) = piece.split_at(piece.len() * (round % 3 + 1) / 4);
        log.write_all(&before.concat()).unwrap();
        sent += before.len();
        // A file that is put aside before it was seen, under a name that the pattern does not have,
        // cannot be known of.
        shown.until(&format!("\"lines\":{sent},"));
        let mut rotate = Command::new("/usr/sbin/logrotate");
        rotate.args(["-f", "-s", &path("state"), &path("rules")]);
        assert!(rotate.status().expect("logrotate is installed: `apt-get install logrotate`").success());
        log.write_all(&after.concat()).unwrap();
        sent += after.len();
        log = open();
    }
    shown.until(&format!("\"lines\":{}", lines.len()));
    shipper.signal("TERM");
    let summary = shipper.wait().exits(0).summary();
    assert_eq!(summary["lines"].as_u64(), Some(lines.len() as u64));
    counting.signal("TERM");
    drop(shown.rest());
    counting.wait().exits(0);
    Running::start(count(&path("whole"), "of-files").stdout(Stdio::null())).wait().exits(0);
    let rows = |name: &str| {
        let mut rows: Vec<String> =
            std::fs::read_to_string(path(name)).unwrap().lines().map(without_epoch).collect();
        rows.sort();
        rows
    };
    assert_eq!(rows("of-kafka"), rows("of-files"));
}

/// A row of jsonl, whichever epoch it came in.
fn without_epoch(line: &str) -> String {
    let mut row: serde_json::Value = serde_json::from_str(line).unwrap();
    row.as_object_mut().unwrap().remove("epoch");
    row.to_string()
}

#[test]
fn apache_pipes_to_kafka_and_is_reloaded_and_restarted_under_load() {
    let Some(kafka) = Kafka::start() else { return };
    kafka.topics(&format!("--create --topic {LONG_NAME} --partitions 2 --replication-factor 1"));
    let mut topic = Topic::new(&kafka.address(), LONG_NAME, 2, &Kafka::OPTIONS);
    reloaded(&format!("kafka://{}/{LONG_NAME}?{}", kafka.address(), old()), || {
        topic.look();
        topic.all().into_iter().collect()
    });
}
