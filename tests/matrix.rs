//! The dataflow matrix: every dataflow that `thalweg list` names, through the real binary.
//!
//! Two things are held. *Golden*: a dataflow's answer on its default source is the one in `tests/golden/NAME.jsonl`.
//! *Invariance*: how many workers and processes there are changes no byte of any output, however the input is cut,
//! compressed or spread over files. A dataflow that is registered is in the matrix; it only needs its golden file.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use thalweg::generate::{Kind, Options, generate};

mod support;
use support::{Draws, rows, run, run_cluster, uri};

/// The variable that rewrites the golden files.
const BLESS: &str = "THALWEG_BLESS";

/// A dataflow as `thalweg list` shows it.
struct Listed {
    name: String,
    default_source: String,
}

fn dataflows() -> Vec<Listed> {
    let list = run(&["list"]).exits(0);
    // A dataflow's name stands at the beginning of a line, before a colon.
    let names = list.text().lines().filter_map(|line| line.split_once(": ")).map(|(name, _)| name);
    let names = names.filter(|name| !name.contains(char::is_whitespace));
    let dataflows: Vec<_> = names
        .map(|name| {
            let shown = run(&["list", name]).exits(0);
            let line = shown.text().lines().find_map(|line| line.trim().strip_prefix("default source"));
            let default_source =
                line.expect("`thalweg list NAME` shows the default source").trim().to_owned();
            Listed { name: name.to_owned(), default_source }
        })
        .collect();
    assert!(dataflows.iter().any(|listed| listed.name == "access-log"), "no access-log in:\n{}", list.text());
    dataflows
}

/// What kind of made-up lines a dataflow reads that reads `source` by default.
fn kind_for(source: &str) -> Kind {
    match source {
        source if source.contains("access") => Kind::AccessLog,
        source if source.contains("tweets") => Kind::Tweets,
        source if source.contains("actions") => Kind::Actions,
        _ => Kind::Words,
    }
}

/// Options with which a dataflow says more about generated lines than with its defaults.
fn telling(dataflow: &str) -> &'static [&'static str] {
    match dataflow {
        "access-log" => &["--min-requests", "2", "--top", "25"],
        "error-lines" => &["--contains", " 404 "],
        "alarm" => &["--more-than", "3", "--ratio", "0.01"],
        "sessions" => &["--gap", "20s"],
        _ => &[],
    }
}

fn generated(kind: Kind, lines: u64, seed: u64) -> Vec<u8> {
    // Slow enough that windows pass.
    let rate = 2.0;
    let options = Options { lines: Some(lines), seed, rate, malformed: 0.05, ..Options::default_for(kind) };
    let mut bytes = Vec::new();
    generate(kind, &options, &mut bytes).expect("options are valid");
    bytes
}

/// Workers and processes.
const SHAPES: [(usize, usize); 4] = [(1, 1), (2, 1), (4, 1), (2, 2)];

/// What `dataflow` writes to a jsonl sink with `query`, with so many workers in each of so many processes.
#[track_caller]
fn answer(dataflow: &str, (workers, processes): (usize, usize), query: &str, more: &[&str]) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("out.jsonl");
    let (sink, workers) = (uri("jsonl", &path, query), workers.to_string());
    let args = [&["run", dataflow, "--sink", &sink, "-w", &workers, "--log", "error"], more].concat();
    if processes == 1 {
        run(&args).exits(0);
    } else {
        let ended = run_cluster(dir.path(), processes, &args);
        ended.into_iter().for_each(|end| drop(end.exits(0)));
    }
    fs::read_to_string(&path).expect("the sink's file is there, and is UTF-8")
}

/// Fails with the first line in which two outputs differ.
#[track_caller]
fn assert_same(what: &str, expected: &str, found: &str) {
    if expected == found {
        return;
    }
    let (expected, found): (Vec<_>, Vec<_>) = (expected.lines().collect(), found.lines().collect());
    let at = expected.iter().zip(&found).take_while(|(a, b)| a == b).count();
    let line = |lines: &[&str]| lines.get(at).map_or("(the end)".to_owned(), |line| (*line).to_owned());
    panic!("{what} differs at line {}:\n  expected {}\n  found    {}", at + 1, line(&expected), line(&found));
}

/// The same bytes with every shape; returns them.
#[track_caller]
fn same_everywhere(dataflow: &str, query: &str, more: &[&str]) -> String {
    let alone = answer(dataflow, SHAPES[0], query, more);
    for shape in &SHAPES[1..] {
        let (workers, processes) = shape;
        let what = format!("{dataflow} {query} -w {workers} -n {processes} {more:?}");
        assert_same(&what, &alone, &answer(dataflow, *shape, query, more));
    }
    alone
}

const AT_END: &str = "?mode=complete&at=end";

#[test]
fn every_dataflow_gives_its_golden_answer_with_any_workers_and_processes() {
    let mut missing = String::new();
    for Listed { name, .. } in dataflows() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.jsonl"));
        let found = same_everywhere(&name, AT_END, &[]);
        assert!(!found.is_empty(), "{name} shows nothing of its default source");
        if thalweg::runtime::environment(BLESS).is_some() {
            fs::write(&golden, &found).expect("the golden file can be written");
        }
        match fs::read_to_string(&golden) {
            Ok(expected) => {
                let what =
                    format!("{name} (if it should: {BLESS}=1 cargo test --test matrix; the golden answer)");
                assert_same(&what, &expected, &found);
            }
            Err(error) => {
                let _ = write!(missing, "\n  {}: {error}", golden.display());
            }
        }
    }
    assert!(
        missing.is_empty(),
        "every dataflow has a golden answer, but there are none of these:{missing}\n  \
         hint: `{BLESS}=1 cargo test --test matrix` writes them; read what it wrote before you commit it"
    );
}

#[test]
fn many_small_epochs_are_the_same_epochs_with_any_workers_and_processes() {
    for Listed { name, default_source } in dataflows() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("in");
        fs::write(&path, generated(kind_for(&default_source), 400, 3)).expect("written");
        let source = uri("file", &path, "");
        let small = ["--source", &source, "--epoch-bytes", "1000B", "--chunk-bytes", "250B"];
        let small = [&small, telling(&name)].concat();
        let changes = same_everywhere(&name, "?mode=changes", &small);
        let epochs = changes.lines().filter_map(epoch).collect::<std::collections::BTreeSet<_>>();
        assert!(epochs.len() > 1, "{name} changes in more than one epoch: {epochs:?}");

        // The changes of all epochs, added up, are the last state.
        let last = answer(&name, (1, 1), AT_END, &small);
        assert_same(&format!("{name}: the sum of its changes"), &as_multiset(&last), &as_multiset(&changes));
    }
}

fn epoch(line: &str) -> Option<u64> {
    serde_json::from_str::<serde_json::Value>(line).expect("jsonl")["epoch"].as_u64()
}

/// The rows of jsonl `lines` with how often each is there, sorted.
fn as_multiset(lines: &str) -> String {
    let mut rows = std::collections::BTreeMap::<String, i64>::new();
    for line in lines.lines() {
        let record: serde_json::Value = serde_json::from_str(line).expect("jsonl");
        let row = format!("{} {}", record["view"], record["row"]);
        *rows.entry(row).or_default() += record["diff"].as_i64().unwrap_or(1);
    }
    rows.into_iter().filter(|(_, count)| *count != 0).fold(String::new(), |mut text, (row, count)| {
        let _ = writeln!(text, "{count} {row}");
        text
    })
}

#[test]
fn malformed_lines_files_and_compression_change_nothing_but_what_they_say() {
    for Listed { name, default_source } in dataflows() {
        let dir = tempfile::tempdir().expect("a directory");
        let parts: Vec<_> = (0..4).map(|seed| generated(kind_for(&default_source), 300, seed)).collect();
        let files = [dir.path().join("whole"), dir.path().join("parts"), dir.path().join("packed")];
        files.iter().for_each(|path| fs::create_dir(path).expect("created"));
        let [whole, split, packed] = files;
        fs::write(whole.join("all.log"), parts.concat()).expect("written");
        for (index, part) in parts.iter().enumerate() {
            fs::write(split.join(format!("{index}.log")), part).expect("written");
            let (packed_part, bytes) = match index % 3 {
                0 => (packed.join(format!("{index}.log")), part.clone()),
                // By content, not by name.
                1 => (packed.join(format!("{index}.log")), gzip(part)),
                _ => (packed.join(format!("{index}.zst.log")), zstd(part)),
            };
            fs::write(packed_part, bytes).expect("written");
        }
        let glob = |dir: PathBuf| uri("file", &dir.join("*.log"), "");
        let on =
            |source: &str| same_everywhere(&name, AT_END, &[&["--source", source], telling(&name)].concat());
        let expected = on(&glob(whole));
        for dir in [split, packed] {
            let what = format!("{name} on {}", dir.display());
            assert_same(&what, &expected, &on(&glob(dir)));
        }
        if name == "access-log" {
            let malformed = rows(expected.as_bytes(), "input")[0]["malformed"].as_i64();
            assert!(malformed > Some(10), "some generated lines are malformed: {malformed:?} of 1200");
        }
    }
}

#[test]
fn the_order_of_lines_and_files_does_not_change_sums() {
    let dir = tempfile::tempdir().expect("a directory");
    let bytes = generated(Kind::AccessLog, 2000, 11);
    let mut lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let [ordered, shuffled] = ["ordered", "shuffled"].map(|name| dir.path().join(name));
    fs::write(&ordered, &bytes).expect("written");
    Draws::new(5).shuffle(&mut lines);
    assert_ne!(lines.concat(), bytes);
    fs::write(&shuffled, lines.concat()).expect("written");

    let at_end = |sources: &[&PathBuf]| {
        let sources: Vec<_> = sources.iter().map(|path| uri("file", path, "")).collect();
        let mut args = vec!["--min-requests", "0", "--top", "1000"];
        sources.iter().for_each(|source| args.extend(["--source", source]));
        answer("access-log", (2, 1), AT_END, &args)
    };
    assert_same("shuffled lines", &at_end(&[&ordered]), &at_end(&[&shuffled]));
    assert_same("swapped files", &at_end(&[&ordered, &shuffled]), &at_end(&[&shuffled, &ordered]));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("memory takes it")
}
