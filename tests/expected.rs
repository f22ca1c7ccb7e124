//! `access-log` on real logs, against the answers of an independent program.
//!
//! The logs and the answers (`*.expected.json`, under "general") are not part of this repository; where
//! `../shared/data` is not there, these tests say that they are skipped. Every figure is compared exactly, and the
//! tables of all clients and all endpoints by their SHA-256.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

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
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is not a count"))
}
