//! To the real Apache Kafka 0.8.2.2.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::apache::reloaded;
use crate::common::{Logger, ship};
use crate::services::Kafka;
use crate::support::{Lines, Running, command};
use crate::topic::{HURRIED, Topic};

/// The options of the real cluster, as a URI has them.
fn old() -> String {
    let told = Kafka::OPTIONS.map(|(key, value)| format!("kafka.{key}={value}&")).concat();
    format!("{told}kafka.enable.idempotence=false")
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
