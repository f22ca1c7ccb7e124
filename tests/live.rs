//! What a run says of itself while it goes on, and how fast it may take lines, by runs of the command.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

mod support;

use std::fs::{self, File};
use std::io::Write;

use serde_json::{Value, json};
use support::{Running, command, rows, run};

/// The objects of `--progress json` among the lines of standard error.
fn objects(stderr: &str) -> Vec<Value> {
    stderr
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_bound_on_the_rate_is_held_and_nothing_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let mut expected = std::collections::BTreeMap::new();
    for file in 0..3 {
        let mut out = File::create(directory.path().join(format!("{file}.log"))).unwrap();
        for line in 0..400 {
            // A word, so many words in a line, and now and then a line that is none.
            let words = vec![format!("w{}", (line + file) % 7); line % 5];
            *expected.entry(format!("w{}", (line + file) % 7)).or_insert(0) += line % 5;
            writeln!(out, "{}", words.join(" ")).unwrap();
        }
    }
    // What was there as the run began is read at the rate, and then it ends.
    let path = directory.path().display();
    for (options, workers, least) in [
        ("max-rate=2000", "1", 0.45),
        ("max-rate=2000", "2", 0.45),
        ("max-rate-per-partition=1000", "2", 0.25),
        ("max-rate=10000000&max-rate-per-partition=10000000", "2", 0.0),
    ] {
        let uri = format!("file:{path}/*.log?follow&{options}");
        let mut command = command();
        command.args(["run", "word-count", "--source", &uri, "--sink", "jsonl:-?mode=complete&at=end"]);
        command.args(["--tick", "20ms", "--summary", "json", "--progress", "json", "-w", workers]);
        let mut running = Running::start(&mut command);
        let stderr = running.stderr_lines();
        let mut read = 0;
        let mut progress = Vec::new();
        while read < 1200 {
            let object: Value = serde_json::from_str(&stderr.until("\"runId\"")).unwrap();
            read += object["numInputRows"].as_u64().unwrap();
            progress.push(object);
        }
        running.signal("TERM");
        let ended = running.wait().exits(0);
        let counts: std::collections::BTreeMap<_, _> = rows(&ended.stdout, "words")
            .into_iter()
            .map(|row| (row["word"].as_str().unwrap().to_owned(), row["count"].as_u64().unwrap() as usize))
            .collect();
        assert_eq!(counts, expected, "{options}");
        // It was slower than that: the bound is no aim that is sometimes missed.
        let summary: Value = serde_json::from_str(&stderr.until("\"peak_memory\"")).unwrap();
        let seconds = summary["seconds"].as_f64().unwrap();
        assert!(seconds >= least, "{options}: 1200 lines in {seconds} s");
        let moved = progress.iter().filter(|object| object["numInputRows"].as_u64() > Some(0)).count();
        assert!(least == 0.0 || moved > 1, "{options}: all at once");
    }
    run(&["run", "word-count", "--source", &format!("file:{path}/*.log?max-rate=5")])
        .exits(2)
        .says(&["`max-rate=5`", "?follow&max-rate=5"]);
}

#[test]
fn progress_objects_add_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("words.log");
    fs::write(&path, "one two\nthree\n").unwrap();
    let uri = format!("file:{}?follow", path.display());
    let mut command = command();
    command.args(["run", "word-count", "--source", &uri, "--sink", "jsonl:-", "--tick", "10ms"]);
    let mut running = Running::start(command.args(["--progress", "json", "--summary", "json"]));
    let (stdout, stderr) = (running.stdout_lines(), running.stderr_lines());
    stdout.until("three");
    File::options().append(true).open(&path).unwrap().write_all(b"four four\n").unwrap();
    stdout.until("four");
    running.signal("TERM");
    running.wait().exits(0);
    let stderr = stderr.rest().join("\n");
    let objects = objects(&stderr);
    let (summary, objects) = objects.split_last().unwrap();
    let last = objects.last().unwrap();
    let sum: u64 = objects.iter().map(|object| object["numInputRows"].as_u64().unwrap()).sum();
    assert_eq!(sum, 3);
    // One begins where the one before it ended.
    let mut at = 0;
    for object in objects {
        assert_eq!((&object["id"], &object["runId"]), (&last["id"], &last["runId"]));
        assert_eq!(object["name"], "word-count");
        let source = &object["sources"][0];
        assert_eq!(source["description"], uri);
        if let (Some(start), Some(end)) = (offset(&source["startOffset"]), offset(&source["endOffset"])) {
            assert_eq!(start, at, "{stderr}");
            at = end;
        }
    }
    assert_eq!(at, 24);
    assert_eq!(last["sources"][0]["lag"], json!({"bytes": 0, "seconds": 0.0}));
    assert_eq!(last["stateOperators"], json!([{"operatorName": "words", "numRowsTotal": 4}]));
    assert_eq!(last["eventTime"], json!({}));
    let rows: u64 = objects.iter().map(|object| object["sinks"][0]["numOutputRows"].as_u64().unwrap()).sum();
    assert_eq!(rows, 4);
    let source = &summary["sources"][0];
    assert_eq!((&source["lines"], &source["behind"]), (&json!(3), &json!(0)));
}

/// The one offset of `offsets`, which are by partition.
fn offset(offsets: &Value) -> Option<u64> {
    offsets.as_object().unwrap().values().next().map(|offset| offset.as_u64().unwrap())
}

#[test]
fn a_run_over_files_says_when_it_is_through() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("access.log");
    let lines: String = (0..10)
        .map(|n| format!("10.0.0.{n} - - [01/Aug/1995:00:00:0{n} -0400] \"GET /{n} HTTP/1.0\" 200 {n}\n"))
        .collect();
    fs::write(&log, &lines).unwrap();
    let log = log.display().to_string();
    let args = ["run", "log-stats", &log, "--sink", "jsonl:/dev/null", "--summary", "none"];
    let ended = run(&[&args[..], &["--progress", "json"]].concat()).exits(0);
    let objects = objects(&ended.stderr);
    let last = objects.last().unwrap();
    assert_eq!(last["sources"][0]["lag"], json!({"bytes": 0, "seconds": 0.0}));
    assert_eq!(last["eventTime"]["min"], "1995-08-01T04:00:00Z");
    assert_eq!(last["eventTime"]["max"], "1995-08-01T04:00:09Z");
    let held = last["stateOperators"].as_array().unwrap();
    assert!(held.contains(&json!({"operatorName": "clients", "numRowsTotal": 10})), "{held:?}");

    let ended = run(&[&args[..], &["--progress", "text"]].concat()).exits(0);
    assert!(ended.stderr.contains("10 lines, ") && ended.stderr.contains(": caught up"), "{}", ended.stderr);
    assert_eq!(run(&[&args[..], &["--progress", "none"]].concat()).exits(0).stderr, "");
    run(&[&args[..], &["--progress", "bar"]].concat())
        .exits(2)
        .says(&["`--progress bar`", "auto, text, json, none"]);
}

#[test]
fn each_partition_has_its_part_of_a_bound() {
    // More lines than that come in each of them, without end.
    for workers in ["1", "2"] {
        let source = "rate:30000?kind=words&partitions=3&max-rate=300";
        let mut command = command();
        command.args(["run", "word-count", "--source", source, "--sink", "jsonl:/dev/null"]);
        command.args(["--tick", "20ms", "--progress", "json", "-w", workers]);
        let mut running = Running::start(&mut command);
        let stderr = running.stderr_lines();
        let mut read = std::collections::BTreeSet::new();
        while read.len() < 3 {
            let object: Value = serde_json::from_str(&stderr.until("\"runId\"")).unwrap();
            read.extend(object["sources"][0]["endOffset"].as_object().unwrap().keys().cloned());
        }
        running.signal("TERM");
        drop(stderr.rest());
        running.wait().exits(0);
    }
}

#[test]
fn files_that_follow_one_another_do_so_at_a_bounded_rate() {
    let directory = tempfile::tempdir().unwrap();
    for file in 0..4 {
        let words: String = (0..40).map(|word| format!("{file}-{word}\n")).collect();
        fs::write(directory.path().join(format!("{file}.log")), words).unwrap();
    }
    let uri = format!("dir:{}?max-rate=400", directory.path().display());
    let mut command = command();
    command.args(["run", "word-count", "--source", &uri, "--sink", "jsonl:-?mode=changes", "--tick", "20ms"]);
    let mut running = Running::start(&mut command);
    let shown = running.stdout_lines();
    let mut files = Vec::new();
    while files.len() < 160 {
        let row: Value = serde_json::from_str(&shown.until("\"diff\":1")).unwrap();
        let word = row["row"]["word"].as_str().unwrap();
        files.push((row["epoch"].as_u64().unwrap(), word.split_once('-').unwrap().0.to_owned()));
    }
    running.signal("TERM");
    drop(shown.rest());
    running.wait().exits(0);
    // Within an epoch rows stand in another order.
    files.sort();
    let order: Vec<_> = files.iter().map(|(_, file)| file).collect();
    assert!(order.is_sorted(), "{files:?}");
}
