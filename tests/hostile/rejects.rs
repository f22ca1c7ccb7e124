//! Lines of which no records come: what is said of them, and the file that has all of them.

use std::fs;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use crate::support::{Running, command, run, run_cluster, uri};

/// Lines of an access log, and those among them of which no records come.
fn mixed() -> (Vec<u8>, Vec<Vec<u8>>) {
    let good = |year: u32| {
        format!("10.0.0.1 - - [17/May/{year}:10:05:03 +0000] \"GET /a HTTP/1.1\" 200 512").into_bytes()
    };
    let (mut input, mut rejected) = (Vec::new(), Vec::new());
    for n in 0..300 {
        let line = match n % 10 {
            0 => format!("no such line {n}").into_bytes(),
            1 => format!("nor this {n}\r").into_bytes(),
            2 => [b"\x00\xff\x1b[2J", n.to_string().as_bytes()].concat(),
            // Longer than lines may be, and than is kept of one.
            3 => format!("{n} {}", "x".repeat(1000)).into_bytes(),
            4 => good(2900 + n),
            5 => Vec::new(),
            _ => good(2015),
        };
        input.extend_from_slice(&line);
        input.push(b'\n');
        match n % 10 {
            3 => rejected.push(line[..202].to_vec()),
            0..6 => rejected.push(line),
            _ => {}
        }
    }
    rejected.sort();
    (input, rejected)
}

/// The lines of a file, in order of their bytes.
fn sorted_lines(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).expect("it is there");
    let whole = bytes.strip_suffix(b"\n").expect("every line has an end");
    let mut lines: Vec<_> = whole.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    lines.sort();
    lines
}

const MIXED: [&str; 10] = [
    "--max-line",
    "200B",
    "--chunk-bytes",
    "2KiB",
    "--epoch-bytes",
    "4KiB",
    "--summary",
    "json",
    "--log",
    "error",
];

#[test]
fn every_rejected_line_is_in_the_file_for_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let (log, out) = (dir.path().join("in.log"), dir.path().join("rejected.log"));
    let (input, rejected) = mixed();
    fs::write(&log, input).expect("written");
    for workers in ["1", "2"] {
        fs::write(&out, "what an earlier run has written\n".repeat(1000)).expect("written");
        let (log, out_name) = (log.to_str().expect("a plain name"), out.to_str().expect("a plain name"));
        let args = ["run", "top-urls", log, "--rejects", out_name, "-w", workers];
        let summary = run(&[&args[..], &MIXED].concat()).exits(0).summary();
        let counted: i64 =
            ["malformed", "oversize", "ahead"].iter().filter_map(|of| summary[of].as_i64()).sum();
        assert_eq!(counted, rejected.len() as i64, "{summary}");
        assert_eq!(sorted_lines(&out), rejected, "with {workers} workers");
    }
    // A run that rejects nothing leaves an empty file.
    let out_name = out.to_str().expect("a plain name");
    run(&["run", "word-count", "--rejects", out_name]).exits(0);
    assert_eq!(fs::read(&out).expect("there"), b"");
}

#[test]
fn each_process_has_a_file_of_its_own_for_rejected_lines() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("in.log");
    let (input, rejected) = mixed();
    fs::write(&log, input).expect("written");
    let out = |process: &str| dir.path().join(format!("rejected-{process}.log"));
    let args = ["run", "top-urls", log.to_str().expect("a plain name"), "-w", "2", "--rejects"];
    let out_name = out("{p}");
    let ended = run_cluster(
        dir.path(),
        2,
        &[&args[..], &[out_name.to_str().expect("a plain name")], &MIXED].concat(),
    );
    ended.into_iter().for_each(|ended| drop(ended.exits(0)));
    let mut all = [sorted_lines(&out("0")), sorted_lines(&out("1"))].concat();
    all.sort();
    assert_eq!(all, rejected);

    // Somebody else writes it.
    let taken = File::options().write(true).open(out("0")).expect("there");
    taken.try_lock().expect("nobody has it any more");
    let (before, name) = (fs::read(out("0")).expect("there"), out("0"));
    let ended = run(&["run", "word-count", "--rejects", name.to_str().expect("a plain name")]).exits(2);
    ended.says(&["--rejects ", "another process writes", "a file of its own", "hint: "]);
    assert_eq!(fs::read(out("0")).expect("there"), before);
}

#[test]
fn a_rejected_line_is_in_the_file_when_its_epoch_is_shown() {
    let dir = tempfile::tempdir().expect("a directory");
    let out = dir.path().join("rejected.log");
    let mut command = command();
    command.args(["run", "access-log", "-", "--sink", "jsonl:-?mode=changes", "--tick", "20ms", "--rejects"]);
    let mut running = Running::start(command.arg(&out).stdin(Stdio::piped()));
    let (mut stdin, shown) = (running.stdin(), running.stdout_lines());
    for count in 1..=2 {
        writeln!(stdin, "bad line {count}").expect("it reads");
        shown.until(&format!(r#""malformed":{count}"#));
        assert_eq!(sorted_lines(&out).len(), count);
    }
    drop(stdin);
    running.wait().exits(8);
}

#[test]
fn rejected_lines_that_cannot_be_written_end_the_run_with_4() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("in.log");
    fs::write(&log, mixed().0).expect("written");
    let log = log.to_str().expect("a plain name");
    let missing = dir.path().join("no/such/rejected.log");
    for (path, reason) in [
        (Path::new("/dev/full"), "No space left"),
        (&missing, "No such file"),
        (dir.path(), "Is a directory"),
    ] {
        let name = path.to_str().expect("a plain name");
        for workers in ["1", "2"] {
            let ended =
                run(&[&["run", "access-log", log, "--rejects", name, "-w", workers], &MIXED[..]].concat());
            ended.exits(4).says(&["cannot write the rejected lines to ", name, reason]);
        }
    }
    run(&["run", "access-log", log, "--rejects", "-"]).exits(2).says(&["--rejects -", "it is a file"]);
}

#[test]
fn the_file_for_rejected_lines_is_none_of_the_others() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).to_str().expect("a plain name").to_owned();
    fs::write(path("in.log"), "precious\n").expect("written");
    fs::write(path("config.toml"), "workers = 1\n").expect("written");
    fs::write(path("sink.jsonl"), "precious\n").expect("written");
    let sink = uri("jsonl", Path::new(&path("sink.jsonl")), "");
    for (name, what) in
        [("in.log", "the input "), ("config.toml", "the configuration "), ("sink.jsonl", "what sink `")]
    {
        let before = fs::read(path(name)).expect("there");
        let args = ["run", "word-count", &path("in.log"), "--config", &path("config.toml"), "--sink", &sink];
        let ended = run(&[&args[..], &["--rejects", &path(name)]].concat()).exits(2);
        ended.says(&[&format!("`--rejects {}` would overwrite {what}", path(name)), "hint: "]);
        assert_eq!(fs::read(path(name)).expect("still there"), before);
    }
}

#[test]
fn each_warning_of_a_line_is_one_line_with_place_reason_and_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("two\nlines.log");
    fs::write(&log, b"ok?\nescaped \x1b[2J\xff\r\x0b\n".repeat(10)).expect("written");
    let ended = run(&["run", "access-log", log.to_str().expect("text"), "--summary", "none"]).exits(8);
    let said: Vec<_> = ended.stderr.lines().collect();
    let warned: Vec<_> = said.iter().filter(|line| line.contains("malformed line")).collect();
    assert_eq!(warned.len(), 3, "a sample of each worker: {said:#?}");
    for (warned, (at, line)) in
        warned.iter().zip([(0, "ok?"), (4, r"escaped \x1b[2J\xff\r\x0b"), (20, "ok?")])
    {
        let place = format!(r"two\nlines.log at byte {at}: not a line of an access log: ");
        assert!(warned.starts_with("thalweg: warn: malformed line in file:"), "{warned}");
        assert!(warned.contains(&place) && warned.contains(&format!("\"{line}\"")), "{warned}");
    }
}
