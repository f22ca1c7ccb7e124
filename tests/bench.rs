//! The measuring commands measure, and their plain loops give the answers of the dataflows.

mod support;

use serde_json::{Value, json};

use support::{rows, run};

fn table(output: &[u8]) -> Vec<Vec<String>> {
    let text = String::from_utf8(output.to_vec()).expect("tables are text");
    let cells = |line: &str| {
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
    };
    text.lines().skip(1).map(cells).collect()
}

#[test]
fn throughput_has_a_baseline_and_a_ratio_for_each_shape() {
    let ended = run(&["bench", "throughput", "--lines", "20000", "--rounds", "1"]).exits(0);
    let table = table(&ended.stdout);
    assert_eq!(table[0], ["dataflow", "workers", "lines/s", "MB/s", "CPU s", "peak MB", "ratio"]);
    let shapes: Vec<_> = table[1..5].iter().map(|row| row[1].as_str()).collect();
    assert_eq!(shapes, ["loop", "-w 1", "-w 2", "-n 2"]);
    for row in &table[1..5] {
        let rate: f64 = row[2].replace(',', "").parse().expect("lines a second");
        let ratio: f64 = row[6].parse().expect("a ratio");
        assert!(rate > 0.0 && ratio > 0.0, "{row:?}");
    }
    assert_eq!(table[1][6], "1.00");
}

#[test]
fn updates_compares_each_batch_with_its_baseline() {
    let ended = run(&["bench", "updates", "--keys", "2000", "--batches", "1,100"]).exits(0);
    let table = table(&ended.stdout);
    assert_eq!(table[0], ["operators", "batch", "p50", "p99", "max", "updates/s", "ratio"]);
    assert_eq!(table.len(), 1 + 3 * 2 * 2, "three kinds of operators, two batches, each with a baseline");
    for row in &table[1..] {
        let times: Vec<f64> = row[2..5].iter().map(|time| time.parse().expect("microseconds")).collect();
        assert!(0.0 < times[0] && times.is_sorted(), "{row:?}");
    }
}

/// What the plain loop for `name` says of `data/FILE`.
fn baseline(name: &str, file: &str) -> Value {
    let ended = run(&["bench", "baseline", name, &format!("data/{file}")]).exits(0);
    serde_json::from_slice(&ended.stdout).expect("one JSON object")
}

#[test]
fn the_plain_loops_give_the_answers_of_the_dataflows() {
    let answer = |name: &str| run(&["run", name, "--sink", "jsonl:-?at=end"]).exits(0).stdout;

    let (plain, rows_of) = (baseline("access-log", "access.log"), answer("access-log"));
    let input = &rows(&rows_of, "input")[0];
    assert_eq!((&plain["lines"], &plain["parsed"]), (&input["lines"], &input["parsed"]));
    let sizes = &rows(&rows_of, "content_size")[0];
    let top: Vec<_> = rows(&rows_of, "top_endpoints").iter().map(|row| row["count"].clone()).collect();
    let expected = json!({
        "statuses": rows(&rows_of, "status_counts").len(),
        "sizes": sizes["sum"],
        "missing": sizes["missing"],
        "frequent": rows(&rows_of, "frequent_clients").len(),
        "top": top,
    });
    assert_eq!(plain["answer"], expected);

    let words = rows(&answer("word-count"), "words").len();
    assert_eq!(baseline("word-count", "words.txt")["answer"], words);
    let errors = rows(&answer("error-lines"), "error_count")[0]["count"].clone();
    assert_eq!(baseline("error-lines", "access.log")["answer"], errors);
}
