//! From a topic of Kafka that is written to without a pause, into topics, a database and files at once; brokers go away, too.
//!
//! The brokers are librdkafka's mock: it takes part in transactions, and keeps nothing back of those that are aborted. What a reader
//! of committed messages would find is worked out here from the order of messages in the one partition that rows and notes of
//! progress share: what is behind the last note of a run that was killed, its transaction had not come to.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::brokers::Brokers;
use crate::databases::Database;
use crate::rounds::{Rounds, doze};
use crate::tables::{Directory, committed, progress, same};

const ROUNDS: usize = 36;
const PARTITIONS: i32 = 3;
/// What makes attempts of clients frequent enough for a test.
const HURRIED: &str =
    "kafka.reconnect.backoff.ms=20&kafka.reconnect.backoff.max.ms=100&kafka.retry.backoff.ms=20";

/// What has the rows of a transaction arrive bit by bit, so that a kill can come between.
const PIECEMEAL: &str = "kafka.batch.num.messages=8&kafka.max.in.flight.requests.per.connection=1";

/// Words with their counts.
type Counts = BTreeMap<String, i64>;

#[test]
fn words_of_a_topic_are_counted_once_in_topics_tables_and_files() {
    let topics = [("words", PARTITIONS), ("newest", PARTITIONS), ("newest-progress", 1), ("rows", 1)];
    let brokers = Brokers::new(&topics).keeps("rows", 1);
    let (address, database) = (brokers.address(), Database::sqlite());
    let mut rounds = Rounds::new(51);
    let path = |name: &str| rounds.path(name);
    let run = format!(
        "run word-count --source kafka://{address}/words?refresh=200ms&{HURRIED}&kafka.fetch.error.backoff.ms=20 \
         --state {} --tick 10ms --snapshot-every 40ms --log info --sink {} --sink jsonl:{}/?mode=changes&roll=16KiB,1h \
         --sink kafka://{address}/newest?mode=update&{HURRIED} \
         --sink kafka://{address}/rows?mode=changes&transactional=kills&progress=rows&{PIECEMEAL}&{HURRIED}",
        path("state"),
        database.uri("prefix=run_"),
        path("files"),
    );
    let rows = database.uri("");
    let rows = rows.trim_start_matches("sqlite:").trim_end_matches('?').to_owned();
    let seen = || committed(&rows);
    let producer = brokers.send_words("words", PARTITIONS, 52);
    let mut outages = 0;
    for round in 0..ROUNDS {
        let mut live = rounds.start(&run, &seen);
        let life = rounds.life();
        std::thread::sleep(life);
        if round % 5 == 2 {
            rounds.wait(&mut live, &seen);
            brokers.without_one(|| {
                doze(&mut rounds.draws, 250);
            });
            outages += 1;
            doze(&mut rounds.draws, 100);
        } else if round % 4 == 0 {
            rounds.wait(&mut live, &seen);
            doze(&mut rounds.draws, 100);
        }
        rounds.kill(live, &seen);
    }
    rounds.have_happened(ROUNDS);
    assert!(outages >= 6, "{outages} outages");
    let sent = producer.stop();
    assert!(sent > 500, "{sent} messages");
    rounds.finish(&format!("{run} --trigger once -w 2"));

    let messages = brokers.messages("words", PARTITIONS);
    assert!(messages.len() >= sent, "{} messages of {sent}", messages.len());
    let mut expected = Counts::new();
    let words = messages.iter().flat_map(|(_, message)| message.as_deref().unwrap().split(' '));
    words.for_each(|word| *expected.entry(word.to_owned()).or_default() += 1);
    let expected: Vec<_> = expected.into_iter().collect();
    let table = database.query("SELECT word, count FROM run_words");
    let pair = |row: &String| {
        let (word, count) = row.split_once('|').unwrap();
        (word.to_owned(), count.parse().unwrap())
    };
    let mut table: Vec<(String, i64)> = table.iter().map(pair).collect();
    table.sort();
    same("table", &table, &expected);
    assert!(progress(&database, "SQLite").1 > ROUNDS as u64 / 2);

    let files = Directory::read(&rounds.cluster.path("files"));
    same("files", &counts(files.sums.iter().map(|((_, row), sum)| (row.as_str(), *sum))), &expected);

    // The newest message of each key.
    let newest: HashMap<_, _> = brokers.messages("newest", PARTITIONS).into_iter().collect();
    let newest = counts(newest.values().flatten().map(|row| (row.as_str(), 1)));
    same("newest messages", &newest, &expected);

    let rows = committed_rows(brokers.messages("rows", 1));
    assert!(rows.aborted > 0, "no transaction was under way when a run was killed");
    let epochs: BTreeMap<_, _> = rows.epochs.iter().map(|(epoch, changes)| (*epoch, changes.len())).collect();
    assert!(epochs == files.epochs, "rows of other epochs, or of some of them twice");
    let all = rows.epochs.values().flatten().map(|(row, diff)| (row.as_str(), *diff));
    same("committed rows", &counts(all), &expected);
}

/// What rows with their differences come to.
fn counts<'a>(rows: impl Iterator<Item = (&'a str, i64)>) -> Vec<(String, i64)> {
    let mut counts = Counts::new();
    for (row, diff) in rows {
        let row: Value = serde_json::from_str(row).unwrap();
        // In a topic for all views it stands in a line that says which one it is of.
        let row = row.get("row").unwrap_or(&row);
        let count = row["count"].as_i64().unwrap() * diff;
        *counts.entry(row["word"].as_str().unwrap().to_owned()).or_default() += count;
    }
    counts.retain(|_, count| *count != 0);
    counts.into_iter().collect()
}

/// What a reader of committed messages finds.
#[derive(Default)]
struct Committed {
    /// By epoch, rows with their differences.
    epochs: BTreeMap<u64, Vec<(String, i64)>>,
    /// How many rows were sent and not committed.
    aborted: usize,
}

/// Goes through rows and notes of progress in the order in which they stand. A run begins with a note, which names its incarnation.
fn committed_rows(messages: Vec<(String, Option<String>)>) -> Committed {
    let mut found = Committed::default();
    let (mut incarnation, mut upto) = (0, None);
    let mut open: Vec<(u64, (String, i64))> = Vec::new();
    for (key, value) in messages {
        let key: Value = serde_json::from_str(&key).unwrap();
        let value: Value = serde_json::from_str(&value.unwrap()).unwrap();
        if key["state"].is_null() {
            let (epoch, diff) = (value["epoch"].as_u64().unwrap(), value["diff"].as_i64().unwrap());
            open.push((epoch, (value["row"].to_string(), diff)));
            continue;
        }
        let (noted, of) = (value["epoch"].as_u64(), value["incarnation"].as_u64().unwrap());
        assert!(of >= incarnation, "a note of incarnation {of} behind one of {incarnation}");
        if of > incarnation {
            // What is open nobody commits any more.
            found.aborted += open.len();
            open.clear();
            incarnation = of;
            assert_eq!(
                noted, upto,
                "incarnation {of} begins with another epoch than the one before had come to"
            );
            continue;
        }
        for (epoch, row) in open.drain(..) {
            let is_new = upto.is_none_or(|upto| epoch > upto) && noted.is_some_and(|noted| epoch <= noted);
            assert!(is_new, "a row of epoch {epoch} between the notes {upto:?} and {noted:?}");
            found.epochs.entry(epoch).or_default().push(row);
        }
        upto = noted;
    }
    assert!(open.is_empty(), "{} rows are not committed", open.len());
    found
}
