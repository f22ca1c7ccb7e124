//! Kafka as a sink: what is in the topics, and what a run that goes on from another finds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use thalweg::data::{Kind, Value};
use thalweg::sink::Closed;
use thalweg::view::{Contents, Finality, Schema};

use crate::cluster_support::{LONG, poll};
use crate::stand::{Given, Stand, column, expected, schema};
use crate::topic::{HURRIED, Topic};
use crate::{Brokers, producer, send};

/// Keys and values of a topic's first partition, so far.
fn messages(brokers: &str, topic: &str) -> Vec<(String, Option<String>)> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "tests").set("enable.partition.eof", "true");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut found = Vec::new();
    loop {
        match consumer.poll(LONG).unwrap_or_else(|| panic!("{topic} has no end")) {
            Ok(message) => found.push((text(message.key().unwrap_or_default()), message.payload().map(text))),
            Err(_) => return found,
        }
    }
}

/// A view of words with their counts, whose key is the word.
fn words() -> Arc<Schema> {
    let mut schema = Schema::clone(&schema(
        "words",
        vec![column("word", Kind::Bytes, false), column("n", Kind::Int { bits: 64, signed: true }, false)],
    ));
    schema.columns[0].key = true;
    Arc::new(schema)
}

/// Shows changes of words, as epoch `epoch`.
fn change(stand: &mut Stand, epoch: u64, changes: &[(isize, &'static str, i128)]) {
    let rows =
        changes.iter().map(|(diff, word, n)| (*diff, vec![Value::Bytes(word.as_bytes()), Value::Int(*n)]));
    let views: Vec<Box<dyn Contents>> = vec![Box::new(Given { schema: words(), rows: rows.collect() })];
    stand.sink.write(&Closed { epoch, step: 0, views: &views, last: false }).unwrap();
    stand.sink.commit(epoch).unwrap();
}

#[test]
fn rows_have_keys_and_those_that_go_are_tombstones() {
    let brokers = Brokers::new(1).topic("t-words", 1).topic("all", 1).topic("changes-words", 1);
    let address = brokers.address();
    for (place, expected) in [
        (
            "t-{view}?mode=update",
            r#"{"word":"a"} {"word":"a","n":1}
{"word":"b"} {"word":"b","n":1}
{"word":"b"} -
{"word":"a"} {"word":"a","n":2}
"#,
        ),
        (
            "all?mode=update",
            r#"{"view":"words","key":{"word":"a"}} {"view":"words","epoch":0,"row":{"word":"a","n":1}}
{"view":"words","key":{"word":"b"}} {"view":"words","epoch":0,"row":{"word":"b","n":1}}
{"view":"words","key":{"word":"b"}} -
{"view":"words","key":{"word":"a"}} {"view":"words","epoch":1,"row":{"word":"a","n":2}}
"#,
        ),
        (
            "changes-{view}?mode=changes",
            r#"{"word":"a"} {"diff":1,"row":{"word":"a","n":1}}
{"word":"b"} {"diff":1,"row":{"word":"b","n":1}}
{"word":"a"} {"diff":-1,"row":{"word":"a","n":1}}
{"word":"b"} {"diff":-1,"row":{"word":"b","n":1}}
{"word":"a"} {"diff":1,"row":{"word":"a","n":2}}
"#,
        ),
    ] {
        let uri = format!("kafka://{address}/{place}");
        let mut stand = Stand::open_with(&uri, 0, None, &[words()]).unwrap();
        change(&mut stand, 0, &[(1, "a", 1), (1, "b", 1)]);
        change(&mut stand, 1, &[(-1, "a", 1), (-1, "b", 1), (1, "a", 2)]);
        stand.sink.finish().unwrap();
        let topic = place.split('?').next().unwrap().replace("{view}", "words");
        let lines = messages(&address, &topic).into_iter();
        let text: String =
            lines.map(|(key, value)| format!("{key} {}\n", value.as_deref().unwrap_or("-"))).collect();
        assert_eq!(text, expected, "{place}");
    }
    let keyless = schema(
        "flags",
        vec![{
            let mut n = column("n", Kind::Bool, false);
            n.key = true;
            n
        }],
    );
    let uri = format!("kafka://{address}/all?mode=update");
    let error = Stand::open_with(&uri, 0, None, std::slice::from_ref(&keyless)).err().unwrap().to_string();
    assert!(error.contains("view `flags` has no key") && error.contains("mode=changes"), "{error}");
    let facts = Arc::new(Schema { finality: Finality::AtOnce, ..Schema::clone(&keyless) });
    assert!(Stand::open_with(&uri, 0, None, &[facts]).is_ok());
}

/// How often each row of the tests' views is in topic `all`, by view, epoch and number.
fn rows_of(lines: &[String]) -> BTreeMap<(String, u64), Vec<(u64, u64)>> {
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in lines {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let number = |value: &serde_json::Value| value.as_u64().unwrap();
        let row = (number(&line["row"]["e"]), number(&line["row"]["i"]));
        let view = line["view"].as_str().unwrap().to_owned();
        found.entry((view, number(&line["epoch"]))).or_default().push(row);
    }
    found
}

/// All rows of the epochs before `upto` are in topic `all`, once.
fn all_once(brokers: &str, upto: u64) {
    let expected = expected(upto);
    let count = expected.values().map(Vec::len).sum::<usize>();
    let mut topic = Topic::new(brokers, "all", 1, &[]);
    poll(LONG, "all rows", || {
        topic.look();
        (topic.all().len() >= count).then_some(())
    });
    topic.look();
    assert!(rows_of(&topic.all()) == expected);
}

#[test]
fn a_run_that_goes_on_is_told_how_far_the_last_one_came() {
    for transactional in ["", "&transactional=tests"] {
        let brokers = Brokers::new(1).topic("all", 1).topic("all-progress", 1);
        let address = brokers.address();
        let uri = format!("kafka://{address}/all?mode=append{transactional}&{HURRIED}");
        let state = Some(7);
        let mut next = 0;
        for incarnation in 0..4 {
            let mut stand = Stand::open(&uri, incarnation, state).unwrap();
            assert_eq!(stand.committed, u64::checked_sub(next, 1), "{incarnation} {transactional}");
            for epoch in next..next + 10 {
                stand.epoch(epoch).unwrap();
                assert!(stand.sink.behind() > 0);
                if epoch % 3 == 0 {
                    stand.settle().unwrap();
                }
            }
            stand.settle().unwrap();
            next += 10;
        }
        all_once(&address, next);
        // A run that had been given up for dead comes back; and one with another state has another line of epochs.
        let error = Stand::open(&uri, 2, state).err().unwrap().to_string();
        assert!(error.contains("its incarnation is 3, ours 2"), "{error}");
        assert_eq!(Stand::open(&uri, 0, Some(8)).unwrap().committed, None);
        assert_eq!(Stand::open(&uri, 4, state).unwrap().committed, Some(next - 1));
    }
}

#[test]
fn brokers_that_fail_have_each_row_once() {
    let brokers = Brokers::new(1).topic("all", 1).topic("all-progress", 1);
    let address = brokers.address();
    let uri = format!("kafka://{address}/all?mode=append&{HURRIED}");
    let mut stand = Stand::open(&uri, 0, Some(7)).unwrap();
    for epoch in 0..60 {
        if epoch % 10 == 5 {
            let error = match epoch % 20 {
                5 => RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                _ => RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT,
            };
            brokers.0.request_errors(RDKafkaApiKey::Produce, &[error; 2]);
        }
        stand.epoch(epoch).unwrap();
        stand.settle().unwrap();
    }
    drop(stand);
    all_once(&address, 60);
}

/// A run that ends while brokers are away says so, in a bounded time; and the next one sends what is missing.
#[test]
fn brokers_that_stay_away_do_not_keep_a_run_from_ending() {
    let stay_away = |transactional: &str| {
        let brokers = Brokers::new(1).topic("all", 1).topic("all-progress", 1);
        let address = brokers.address();
        let uri = format!("kafka://{address}/all?mode=append&wait=4s{transactional}&{HURRIED}");
        let mut stand = Stand::open(&uri, 0, Some(7)).unwrap();
        stand.epoch(0).unwrap();
        stand.settle().unwrap();
        brokers.0.broker_down(1).unwrap();
        stand.epoch(1).unwrap();
        let error = stand.sink.finish().unwrap_err().to_string();
        assert!(error.contains("within 4s") && error.contains("--state"), "{error}");
        drop(stand);
        let error = Stand::open(&uri, 1, Some(7)).err().unwrap().to_string();
        assert!(error.contains("within 4s") || error.contains("cannot be read"), "{error}");
        brokers.0.broker_up(1).unwrap();
        let mut stand = Stand::open(&uri, 2, Some(7)).unwrap();
        assert_eq!(stand.committed, Some(0), "{transactional}");
        stand.epoch(1).unwrap();
        stand.settle().unwrap();
        all_once(&address, 2);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| stay_away("&transactional=tests"));
        stay_away("");
    });
}

/// The newest progress is found however many others share its topic.
#[test]
fn progress_is_found_among_that_of_others() {
    let brokers = Brokers::new(1).topic("all", 1).topic("p", 1);
    let address = brokers.address();
    let uri = format!("kafka://{address}/all?mode=append&progress=p&{HURRIED}");
    let mut stand = Stand::open(&uri, 0, Some(7)).unwrap();
    (0..3).for_each(|epoch| stand.epoch(epoch).unwrap());
    stand.settle().unwrap();
    drop(stand);
    let others = producer(&address, &[]);
    (0..3000).for_each(|_| send(&others, "p", 0, Some("of another")));
    rdkafka::producer::Producer::flush(&others, Duration::from_secs(20)).unwrap();
    assert_eq!(Stand::open(&uri, 1, Some(7)).unwrap().committed, Some(2));
}
