//! `rate:`: lines that are made as they are read.

use crate::support::{rows, run};

#[test]
fn as_many_lines_as_were_asked_for_are_counted() {
    for (workers, partitions, kind) in [("1", 1, "words"), ("2", 2, "access-log"), ("2", 3, "tweets")] {
        let source = format!("rate:1000000?lines=12345&partitions={partitions}&kind={kind}");
        let args = ["run", "word-count", "--source", &source, "--tick", "20ms", "--summary", "json"];
        let ended = run(&[&args[..], &["-w", workers, "--sink", "jsonl:-?mode=complete&at=end"]].concat());
        assert_eq!(ended.exits(0).summary()["lines"], 12345, "{source}");
    }
}

/// Lines carry the time at which they were made, so none is far ahead or late, and windows of now hold them.
#[test]
fn lines_are_of_the_time_at_which_they_come() {
    let args = ["--source", "rate:2000?lines=500&kind=actions", "--sink", "jsonl:-?mode=complete&at=end"];
    let run = run(&[&["run", "action-counts", "--max-ahead", "5s", "--summary", "json"], &args[..]].concat());
    let ended = run.exits(0);
    let summary = ended.summary();
    assert_eq!([&summary["lines"], &summary["late"], &summary["ahead"]], [500, 0, 0]);
    assert!(!rows(&ended.stdout, "actions").is_empty(), "{}", ended.text());
}

#[test]
fn the_rate_is_kept_to() {
    let begun = thalweg::runtime::now();
    // 300 lines at 1,000 in a second, of which the first second has half.
    let source = "rate:1000?lines=300&kind=words&ramp-up=1s";
    run(&["run", "word-count", "--source", source, "--sink", "jsonl:-"]).exits(0);
    let least = std::time::Duration::from_secs_f64((2.0f64 * 0.3).sqrt());
    assert!(thalweg::runtime::now() - begun >= least, "it was too fast");
}
