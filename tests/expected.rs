//! `access-log`, and a table of windows, on real logs, against the answers of an independent program.
//!
//! The logs and the answers (`*.expected.json`, under "general") are not part of this repository; where
//! `../shared/data` is not there, these tests say that they are skipped. Every figure is compared exactly, and the
//! tables of all clients and all endpoints by their SHA-256.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use thalweg::prelude::*;
use thalweg::testing::Script;
use thalweg::time::TimeOptions;

mod support;
use support::{rows, run, shared_data, uri};

#[test]
fn elastic_apache_logs_are_answered_exactly() {
    check("elastic_apache_logs");
}

#[test]
fn lnav_shop_access_is_answered_exactly() {
    check("lnav_shop_access");
}

#[test]
fn plaso_apache_access_is_answered_exactly() {
    check("plaso_apache_access");
}

/// Every window of real tweets, ranked as a count over all tweets in it ranks.
#[test]
fn univalence_tweets_have_their_hashtags_in_every_window() {
    const LENGTH: i64 = 300_000;
    const SLIDE: i64 = 60_000;
    let Some(log) = shared_data("univalence_tweets.json.gz") else { return };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(&log).expect("the tweets can be read");
    std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(file), &mut bytes).expect("it is gzip");
    let mut tweets: Vec<(i64, Vec<String>)> = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Ok(tweet) = serde_json::from_slice::<Value>(line) else { continue };
        let text = tweet["text"].as_str().unwrap_or_default();
        let tags = text.split(' ').filter(|word| word.starts_with('#')).map(str::to_owned).collect();
        tweets.extend(tweet["created_at"].as_i64().map(|time| (time, tags)));
    }
    assert_eq!(tweets.len(), 3149);
    let (oldest, newest) =
        (tweets.iter().map(|tweet| tweet.0).min(), tweets.iter().map(|tweet| tweet.0).max());
    let (oldest, newest) = (oldest.expect("there are tweets"), newest.expect("there are tweets"));
    let mut expected = Vec::new();
    let mut start = (oldest - LENGTH).div_euclid(SLIDE) * SLIDE + SLIDE;
    loop {
        let end = start + LENGTH;
        let mut counts = BTreeMap::<&str, i64>::new();
        for (_, tags) in tweets.iter().filter(|(time, _)| (start..end).contains(time)) {
            tags.iter().for_each(|tag| *counts.entry(tag).or_default() += 1);
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(tag, count)| (-count, *tag));
        for (rank, (tag, count)) in (1..).zip(counts).take(10) {
            expected.push(json!({
                "start": Time(start).to_string(), "end": Time(end).to_string(),
                "rank": rank, "tag": tag, "count": count,
            }));
        }
        if end > newest {
            break;
        }
        start += SLIDE;
    }
    for workers in ["1", "2"] {
        let source = uri("file", &log, "");
        let shown = run(&[
            "run", "hashtags", "--slide", "60s", "--source", &source, "--sink", "jsonl:-", "-w", workers,
            "--log", "error",
        ]);
        let shown = rows(&shown.exits(0).stdout, "hashtags");
        assert_eq!(shown.len(), expected.len(), "with -w {workers}");
        let differ = shown.iter().zip(&expected).find(|(shown, expected)| shown != expected);
        assert_eq!(differ, None, "with -w {workers}");
    }
}

fn check(name: &str) {
    let (Some(log), Some(answers)) =
        (shared_data(&format!("{name}.log")), shared_data(&format!("{name}.expected.json")))
    else {
        return;
    };
    assert!(std::fs::read_to_string(&log).is_ok(), "{name} is UTF-8, so that jsonl shows keys as they are");
    let answers = std::fs::read(answers).expect("the answers can be read");
    let answers: Value = serde_json::from_slice(&answers).expect("the answers are JSON");
    let source = uri("file", &log, "");
    for workers in ["1", "2"] {
        let ask = |own: &[&str]| {
            let sink = "jsonl:-?mode=complete&at=end";
            let args =
                ["run", "access-log", "--source", &source, "--sink", sink, "-w", workers, "--log", "error"];
            run(&[&args, own].concat()).exits(0).stdout
        };
        let whole = ask(&["--min-requests", "0", "--top", "1000000"]);
        check_sums(&whole, &answers);
        check_tables(&whole, &answers["general"]);
        check_defaults(&ask(&["--top", "20"]), &answers["general"]);
    }
    check_windows(&std::fs::read(&log).expect("the log can be read"), &answers["general"]["windows_30s_10s"]);
}

/// How often each endpoint occurs in windows of 30 s, one every 10 s.
#[derive(clap::Args)]
struct Endpoints;

impl Dataflow for Endpoints {
    const NAME: &'static str = "endpoints";
    const ABOUT: &'static str = "endpoints by window";
    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let window = Window::new(Duration::from_secs(30), Duration::from_secs(10)).expect("they go together");
        let records = flow.records(AccessLog).event_time(|record| record.event_time());
        let endpoints = records.by(text("endpoint"), |record| record.endpoint());
        let counts = endpoints.by_window(window).count("windows");
        let columns = ["start", "endpoint", "count"];
        let counts = counts.map(columns, |(span, endpoint, count)| (span.start.seconds(), endpoint, count));
        counts.about("in seconds since 1970").show("windows");
        Ok(())
    }
}

fn check_windows(log: &[u8], answers: &Value) {
    let lines: Vec<_> = log.split_inclusive(|byte| *byte == b'\n').collect();
    // A log goes back in time: cut into epochs, its records are in time only if a lateness says so.
    let year = Duration::from_secs(366 * 86_400);
    for (workers, epochs, lateness) in
        [(1, 1, Duration::ZERO), (2, 1, Duration::ZERO), (1, 100, 20 * year), (2, 7, 20 * year)]
    {
        let time = TimeOptions { lateness, ..TimeOptions::default() };
        let script = Script::new(Endpoints).time(time).workers(workers);
        let epochs = lines.chunks(lines.len().div_ceil(epochs));
        let answer = epochs.fold(script, |script, epoch| script.epoch(epoch.concat())).end().run();
        assert_eq!(answer.counts().late, 0);
        let mut table = BTreeMap::new();
        for row in answer.view("windows") {
            let [start, endpoint, count] = row.split('\t').collect::<Vec<_>>()[..] else {
                panic!("three cells: {row}")
            };
            let start: i64 = start.parse().expect("a number");
            let twice = table.insert((start, endpoint.as_bytes()), count);
            assert_eq!(twice, None, "a row of the table: {row}");
        }
        let starts: BTreeSet<_> = table.keys().map(|(start, _)| start).collect();
        assert_eq!(json!(starts.len()), answers["nonempty_windows"]);
        let mut hash = Sha256::new();
        for ((start, endpoint), count) in &table {
            hash.update(format!("{start}\t"));
            hash.update(endpoint);
            hash.update(format!("\t{count}\n"));
        }
        assert_eq!(json!(hex(hash)), answers["table_sha256"], "the windows on {workers} workers");
    }
}

fn check_sums(output: &[u8], answers: &Value) {
    let general = &answers["general"];
    let input = json!({
        "lines": answers["lines"],
        "parsed": general["parsed"],
        "malformed": general["malformed"],
        "oversize": 0,
    });
    assert_eq!(rows(output, "input"), [input]);

    let statuses: BTreeMap<_, _> = rows(output, "status_counts")
        .into_iter()
        .map(|row| (row["status"].to_string(), row["count"].clone()))
        .collect();
    assert_eq!(json!(statuses), general["status_counts"]);

    let sizes = rows(output, "content_size");
    let [found] = &sizes[..] else { panic!("one row of content_size: {sizes:?}") };
    let expected = &general["content_size"]["dash_excluded"];
    for column in ["count", "sum", "min", "max"] {
        assert_eq!(found[column], expected[column], "{column} of content_size");
    }
    assert_eq!(found["missing"], general["dash_size"]);
    let mean = found["mean"].as_f64().expect("a mean");
    assert_eq!(
        mean,
        number(&found["sum"]) as f64 / number(&found["count"]) as f64,
        "the mean is not rounded"
    );
    // The answers have six digits after the point.
    assert_eq!(format!("{mean:.6}"), format!("{:.6}", expected["avg"].as_f64().expect("a mean")));
}

fn check_tables(output: &[u8], general: &Value) {
    let clients = table(output, "frequent_clients", "client");
    assert_eq!(json!(clients.len()), general["distinct_ips"]);
    assert_eq!(json!(hash(&clients)), general["ips_table_sha256"], "the table of clients");
    assert_eq!(json!(clients.values().sum::<u64>()), general["parsed"], "every record has a client");

    let endpoints = table(output, "top_endpoints", "endpoint");
    assert_eq!(json!(endpoints.len()), general["distinct_endpoints"]);
    assert_eq!(json!(hash(&endpoints)), general["endpoints_table_sha256"], "the table of endpoints");
    let missing = number(&general["missing_endpoint"]);
    assert_eq!(json!(endpoints.values().sum::<u64>() + missing), general["parsed"], "or has no endpoint");

    // All rows, in the order that the first twenty of the answers are an example of.
    let mut sorted: Vec<_> = endpoints.iter().collect();
    sorted.sort_by_key(|(key, count)| (std::cmp::Reverse(**count), (*key).clone()));
    let ranked: Vec<_> = (1..)
        .zip(sorted)
        .map(|(rank, (key, count))| json!({ "rank": rank, "endpoint": String::from_utf8_lossy(key), "count": count }))
        .collect();
    assert_eq!(rows(output, "top_endpoints"), ranked);
}

fn check_defaults(output: &[u8], general: &Value) {
    let pairs = |view, key: &str| -> Vec<Value> {
        rows(output, view).into_iter().map(|row| json!([row[key], row["count"]])).collect()
    };
    let clients = pairs("frequent_clients", "client");
    let over = &general["ips_over_10"];
    assert_eq!(json!(clients.len()), over["count"]);
    assert_eq!(json!(clients[..clients.len().min(20)]), over["top20"]);
    let mut names: Vec<_> = clients.iter().map(|pair| pair[0].as_str().expect("text")).collect();
    names.sort_unstable();
    assert_eq!(json!(names), over["all_sorted"]);
    assert_eq!(json!(pairs("top_endpoints", "endpoint")), general["endpoints_top20"]);
}

/// A view of keys and counts, by the bytes of the key: jsonl shows them as they are, since these logs are UTF-8.
fn table(output: &[u8], view: &str, key: &str) -> BTreeMap<Vec<u8>, u64> {
    let mut table = BTreeMap::new();
    for row in rows(output, view) {
        let bytes = row[key].as_str().expect("keys are text").as_bytes().to_vec();
        let twice = table.insert(bytes, number(&row["count"]));
        assert_eq!(twice, None, "a key is in {view} once: {row}");
    }
    table
}

fn hash(table: &BTreeMap<Vec<u8>, u64>) -> String {
    let mut hash = Sha256::new();
    for (key, count) in table {
        hash.update(key);
        hash.update(format!("\t{count}\n"));
    }
    hex(hash)
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is not a count"))
}
