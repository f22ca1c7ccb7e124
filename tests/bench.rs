//! The measuring commands measure, and their plain loops give the answers of the dataflows.

mod support;

use serde_json::{Value, json};

use support::{rows, run, uri};

/// The rows of each table in `output`, heads first; what stands before a table and what has no columns is left out.
fn tables(output: &[u8]) -> Vec<Vec<Vec<String>>> {
    let text = String::from_utf8(output.to_vec()).expect("tables are text");
    let cells = |line: &str| {
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
    };
    let rows: Vec<Vec<String>> = text.lines().map(cells).filter(|row: &Vec<String>| row.len() > 1).collect();
    rows.chunk_by(|_, row| row.last().is_none_or(|last| last != "ratio")).map(<[_]>::to_vec).collect()
}

#[test]
fn throughput_has_a_baseline_and_a_ratio_for_each_shape() {
    let ended = run(&["bench", "throughput", "--lines", "20000", "--rounds", "1"]).exits(0);
    let table = &tables(&ended.stdout)[0];
    assert_eq!(table[0], ["dataflow", "workers", "lines/s", "MB/s", "CPU s", "peak MB", "ratio"]);
    assert_eq!(table.len(), 5);
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
fn a_dataflow_with_options_is_compared_with_itself() {
    let args = ["--dataflow", "top-urls", "--option", "length=60s", "--option", "top=3"];
    let few = ["--lines", "5000", "--rounds", "1", "--workers", "1,2", "--processes", "2"];
    let ended = run(&[&["bench", "throughput"], &args[..], &few[..]].concat()).exits(0);
    let table = &tables(&ended.stdout)[0];
    let shapes: Vec<_> = table[1..].iter().map(|row| row[1].as_str()).collect();
    assert_eq!(shapes, ["-w 1", "-w 2", "-n 2"]);
    assert_eq!(table[1][6], "1.00");
    run(&["bench", "throughput", "--dataflow", "top-urls", "--option", "lenght=60s", "--lines", "10"])
        .exits(70)
        .says(&["lenght"]);
}

#[test]
fn windows_has_a_baseline_for_each_dataflow_and_shows_every_window() {
    let few = ["--tweet-lines", "20000", "--access-lines", "30000", "--rounds", "1"];
    let ended = run(&[&["bench", "windows"], &few[..]].concat()).exits(0);
    let table = &tables(&ended.stdout)[0];
    let heads = ["dataflow", "window", "workers", "shown", "lines/s", "MB/s", "CPU s", "peak MB", "ratio"];
    assert_eq!(table[0], heads);
    let jobs: Vec<_> = table[1..].iter().map(|row| [&row[0], &row[1], &row[2], &row[3]]).collect();
    // 500 lines a second: 40 s of tweets, a window each second, and the one that the last tweet is in.
    let shown =
        |jobs: &[[&String; 4]]| jobs.iter().map(|job| job[3].parse().expect("windows")).collect::<Vec<u32>>();
    assert!(shown(&jobs[..4]).iter().all(|shown| (39..=42).contains(shown)), "{jobs:?}");
    assert!(shown(&jobs[4..]).iter().all(|shown| (6..=8).contains(shown)), "{jobs:?}");
    let jobs: Vec<_> = jobs.iter().map(|job| format!("{} {} {}", job[0], job[1], job[2])).collect();
    let expected = [
        "hashtags: baseline 300s/1s loop",
        "hashtags 30s/1s -w 1",
        "hashtags 300s/1s -w 1",
        "hashtags 300s/1s -w 2",
        "top-urls: baseline 30s/10s loop",
        "top-urls 30s/10s -w 1",
        "top-urls 30s/10s -w 2",
    ];
    assert_eq!(jobs, expected);
    assert!(String::from_utf8_lossy(&ended.stdout).contains("times as long as 30s"));
}

#[test]
fn updates_compares_each_batch_with_its_baseline() {
    let ended = run(&["bench", "updates", "--keys", "2000", "--batches", "1,100"]).exits(0);
    let tables = tables(&ended.stdout);
    let names =
        |table: &[Vec<String>]| table[1..].iter().step_by(4).map(|row| row[0].clone()).collect::<Vec<_>>();
    assert_eq!(names(&tables[0]), ["count", "count, top(10)", "collect, count_total", "state"]);
    // Of each door, the first batch in time and late, and then the second.
    assert_eq!(
        names(&tables[1]),
        ["by_window(30s): in time"; 2]
            .iter()
            .chain(&["over_last(30s, 10s): in time"; 2])
            .copied()
            .collect::<Vec<_>>()
    );
    for table in &tables {
        assert_eq!(table[0], ["operators", "batch", "p50", "p99", "max", "updates/s", "ratio"]);
        for row in &table[1..] {
            let times: Vec<f64> = row[2..5].iter().map(|time| time.parse().expect("microseconds")).collect();
            assert!(0.0 < times[0] && times.is_sorted(), "{row:?}");
        }
    }
    let said = String::from_utf8_lossy(&ended.stdout);
    assert_eq!(said.matches("times as long as in time").count(), 4, "{said}");
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

/// What the plain loop for `name` shows of `file`, and what the dataflow does.
fn windows(name: &str, file: &std::path::Path) -> (Vec<Value>, Vec<Value>, Value) {
    let written = file.with_extension("windows");
    let (path, output) = (file.to_str().expect("plain names"), written.to_str().expect("plain names"));
    let ended = run(&["bench", "baseline", name, path, "--output", output]).exits(0);
    let plain: Value = serde_json::from_slice(&ended.stdout).expect("one JSON object");
    let lines = std::fs::read_to_string(&written).expect("the loop wrote it");
    let of_loop = lines.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect();
    let view = name.replace('-', "_");
    let ended = run(&["run", name, "--source", &uri("file", file, ""), "--sink", "jsonl:-"]).exits(0);
    (of_loop, rows(&ended.stdout, &view), plain)
}

#[test]
fn the_plain_loops_show_every_window_that_the_dataflows_show() {
    let directory = tempfile::tempdir().expect("a directory");
    let generated = |kind: &str, args: &[&str]| {
        let path = directory.path().join(args.concat()).with_extension(kind);
        let output = path.to_str().expect("plain names");
        run(&[&["generate", kind, "--output", output, "--disorder", "9.5"], args].concat()).exits(0);
        path
    };
    // So slow that panes are empty and windows stay as they were, up to so fast that all of them move.
    for (rate, lines) in [("0.02", "300"), ("0.3", "1000"), ("20", "8000")] {
        let few = ["--lines", lines, "--keys", "60", "--malformed", "0.01", "--rate", rate];
        for (name, kind) in [("hashtags", "tweets"), ("top-urls", "access-log")] {
            let (of_loop, of_dataflow, plain) = windows(name, &generated(kind, &few));
            assert!(!of_loop.is_empty());
            if let Some(at) =
                (0..of_loop.len().max(of_dataflow.len())).find(|at| of_loop.get(*at) != of_dataflow.get(*at))
            {
                panic!(
                    "{name} at {rate}: row {at} is {:?}, of the loop {:?}",
                    of_dataflow.get(at),
                    of_loop.get(at)
                );
            }
            let first = of_loop.iter().filter(|row| row["rank"] == 1).count();
            assert_eq!(plain["answer"]["windows"], first);
        }
    }
}

#[test]
fn plain_loops_over_windows_take_no_harm_from_odd_input() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("odd.jsonl");
    let tweet = |time: &str, text: &str| format!("{{\"created_at\":{time},\"text\":\"{text}\"}}\n");
    let lines = [
        tweet("-9007199254740992", "#oldest"),
        tweet("1000", "#\\u00e9 #a\\tb #a"),
        tweet("9223372036854775807", "#never"),
        tweet("\"yesterday\"", "#untimed"),
        tweet("999", "no tag"),
        tweet("2000", "#a # #"),
        "{".to_owned(),
    ];
    std::fs::write(&file, lines.concat()).expect("it can be written");
    let (of_loop, of_dataflow, plain) = windows("hashtags", &file);
    assert_eq!(of_loop.last(), of_dataflow.last());
    assert_eq!((&plain["parsed"], &plain["lines"]), (&json!(6), &json!(7)));

    std::fs::write(&file, "").expect("it can be written");
    let (of_loop, of_dataflow, plain) = windows("hashtags", &file);
    assert_eq!((of_loop, of_dataflow, &plain["answer"]["windows"]), (vec![], vec![], &json!(0)));
}
