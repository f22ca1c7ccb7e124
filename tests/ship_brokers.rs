//! `thalweg ship` to brokers of librdkafka's mock cluster, which go and fail under load: every line
//! arrives, in order.
//!
//! One test at a time, in a process of its own: the mock listens again at once as a broker goes,
//! and ends the process if it cannot, which is so while another thread starts a program, because
//! that has all sockets for a moment.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

#[allow(dead_code, clippy::disallowed_methods, reason = "not all of it is used here, and deadlines are")]
mod cluster_support;
#[allow(dead_code, reason = "not all of it is used here")]
#[path = "ship/common.rs"]
mod common;
#[allow(dead_code, reason = "not all of it is used here")]
#[path = "ship/receiver.rs"]
mod receiver;
mod support;
#[path = "ship/topic.rs"]
mod topic;

use std::sync::{Mutex, MutexGuard, PoisonError};

use cluster_support::{LONG, poll};
use common::{Logger, ship, ship_all};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use receiver::all_there;
use support::{Draws, Running};
use topic::{HURRIED, Topic};

/// Held by the test that runs.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Brokers in this process, with the topic `t`.
fn brokers(count: i32, partitions: i32) -> MockCluster<'static, DefaultProducerContext> {
    let brokers = MockCluster::new(count).unwrap();
    brokers.create_topic("t", partitions, 1).unwrap();
    brokers
}

#[test]
fn brokers_that_go_and_fail_under_load_lose_nothing_and_change_no_order() {
    let _alone = alone();
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
            cluster.broker_up(broker).unwrap();
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
    let _alone = alone();
    let cluster = brokers(1, 1);
    let dir = tempfile::tempdir().unwrap();
    let (mut a, mut draws) = (Logger::new(dir.path(), "a"), Draws::new(7));
    let offsets = dir.path().join("offsets").display().to_string();
    let address = cluster.bootstrap_servers();
    let sink = format!("kafka://{address}/t?{HURRIED}");
    let mut topic = Topic::new(&address, "t", 1, &[]);
    let path = a.path().to_owned();
    let shipper = || Running::start(&mut ship(&[&path], &sink, &["--offsets", &offsets]));
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
            cluster.broker_up(-1).unwrap();
        }
    }
    ship_all(&[a.path()], &sink, &["--offsets", &offsets]);
    topic.until(a.count());
    all_there(&topic.all(), &a.counts());
}

#[test]
fn keys_decide_on_the_partition() {
    let _alone = alone();
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
