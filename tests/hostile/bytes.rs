//! Any bytes may be in a line, and a line may have any length.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;
use std::sync::LazyLock;
use std::thread;

use regex::bytes::Regex;
use serde_json::{Value, json};

use crate::support::{Draws, Ended, Running, command, rows, run, run_on, uri};

/// Length of an endless line: 4 GiB, more than 32 bits can count.
const ENDLESS: u64 = 4 << 30;
/// What a run may use at most, whatever its input.
const MEMORY: u64 = 100 << 20;

const STDIN: [&str; 4] = ["--source", "stdin:", "--log", "error"];
const JSONL: [&str; 2] = ["--sink", "jsonl:-?mode=complete&at=end"];

/// The last state of `dataflow` on `input` from a pipe.
#[track_caller]
fn last_state(dataflow: &str, input: &[u8], more: &[&str]) -> Ended {
    let ended = run_on(&[&["run", dataflow], &STDIN[..], &JSONL, more].concat(), input);
    // Nothing came of the input, which is an answer, too.
    let code = if ended.code == Some(8) { 8 } else { 0 };
    ended.exits(code)
}

#[track_caller]
fn input_counts(input: &[u8], more: &[&str]) -> Value {
    rows(&last_state("access-log", input, more).stdout, "input").remove(0)
}

fn counts(parsed: usize, malformed: usize, oversize: usize) -> Value {
    let lines = parsed + malformed + oversize;
    json!({ "lines": lines, "parsed": parsed, "malformed": malformed, "oversize": oversize })
}

const GOOD: &[u8] = br#"10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 512"#;

#[test]
fn an_endless_line_from_a_pipe_is_one_oversize_line_in_bounded_memory() {
    let args = ["run", "access-log", "--source", "stdin:", "--summary", "json", "--log", "error"];
    let mut running = Running::start(command().args(args).args(JSONL).stdin(Stdio::piped()));
    let mut stdin = running.stdin();
    let writer = thread::spawn(move || -> io::Result<()> {
        let block = vec![b'x'; 1 << 20];
        stdin.write_all(&[GOOD, b"\n"].concat())?;
        for _ in 0..ENDLESS >> 20 {
            stdin.write_all(&block)?;
        }
        stdin.write_all(&[b"\n", GOOD].concat())
    });
    let ended = running.wait().exits(0);
    writer.join().expect("the writer does not panic").expect("all of it was read");
    assert_eq!(rows(&ended.stdout, "input"), [counts(2, 0, 1)]);
    bounded(&ended, ENDLESS + 2 * GOOD.len() as u64 + 2);
}

#[test]
fn an_endless_line_in_a_file_is_one_oversize_line_in_bounded_memory_for_all_workers() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("sparse.log");
    let mut file = File::create(&path).expect("created");
    file.write_all(&[GOOD, b"\n"].concat()).expect("written");
    // A hole: NULs that take no room on the disk.
    file.set_len(ENDLESS).expect("the file system has sparse files");
    let source = uri("file", &path, "");
    let args = ["run", "access-log", "--source", &source, "--summary", "json", "--log", "error", "-w", "2"];
    let ended = run(&[&args[..], &JSONL].concat()).exits(0);
    assert_eq!(rows(&ended.stdout, "input"), [counts(1, 0, 1)]);
    bounded(&ended, ENDLESS);
}

#[test]
fn a_compressed_endless_line_is_one_oversize_line_in_bounded_memory() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("bomb.log");
    let nothing = io::Read::take(io::repeat(0), ENDLESS / 4);
    zstd::stream::copy_encode(nothing, File::create(&path).expect("created"), 1).expect("written");
    let length = fs::metadata(&path).expect("it is there").len();
    assert!(length < 1 << 20, "a bomb is small: {length}");
    let source = uri("file", &path, "");
    let args = ["run", "access-log", "--source", &source, "--summary", "json", "--log", "error"];
    let ended = run(&[&args[..], &JSONL].concat()).exits(8);
    assert_eq!(rows(&ended.stdout, "input"), [counts(0, 0, 1)]);
    bounded(&ended, length);
}

/// Whether the run that has `ended` read `bytes` with little memory.
#[track_caller]
fn bounded(ended: &Ended, bytes: u64) {
    let summary = ended.summary();
    assert_eq!(summary["bytes"], bytes);
    let peak = summary["peak_memory"].as_u64().expect("a number");
    assert!(peak > 0, "the system tells the peak");
    assert!(peak < MEMORY, "{} MiB of memory", peak >> 20);
}

#[test]
fn line_ends_are_as_the_rules_say() {
    let lines = |parts: &[&[u8]]| input_counts(&parts.concat(), &[]);
    assert_eq!(lines(&[]), counts(0, 0, 0), "nothing at all");
    assert_eq!(lines(&[GOOD]), counts(1, 0, 0), "no final LF");
    assert_eq!(lines(&[GOOD, b"\n"]), counts(1, 0, 0));
    assert_eq!(lines(&[GOOD, b"\r\n", GOOD, b"\r\n"]), counts(2, 0, 0), "CR LF");
    assert_eq!(lines(&[GOOD, b"\n\n", GOOD]), counts(2, 1, 0), "an empty line is a line");
    assert_eq!(lines(&[&[b'\n'; 5000]]), counts(0, 5000, 0), "only newlines");
    assert_eq!(lines(&[&[b'\0'; 5000]]), counts(0, 1, 0), "only NULs");
    assert_eq!(lines(&[b"\xef\xbb\xbf", GOOD]), counts(1, 0, 0), "a byte order mark");
    assert_eq!(lines(&[GOOD, b"\r", GOOD, b"\n"]), counts(1, 0, 0), "a CR alone ends no line");

    // One CR is dropped and not two; the endpoint of a request that is cut by the end of the line shows it.
    let words = last_state("error-lines", b"an error\r\r\nerror\0\n", &[]);
    let shown: Vec<_> = rows(&words.stdout, "errors").iter().map(|row| row["line"].clone()).collect();
    assert_eq!(shown, [json!("an error\r"), json!("error\0")]);
}

#[test]
fn an_empty_file_has_an_answer() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let source = uri("file", file.path(), "");
    for workers in ["1", "3"] {
        let args = ["run", "access-log", "--source", &source, "-w", workers, "--log", "error"];
        let ended = run(&[&args[..], &JSONL].concat()).exits(0);
        assert_eq!(rows(&ended.stdout, "input"), [counts(0, 0, 0)]);
        let sizes = json!({"count": 0, "sum": 0, "min": null, "max": null, "mean": null, "missing": 0});
        assert_eq!(rows(&ended.stdout, "content_size"), [sizes]);
        let console = run(&args).exits(0);
        assert!(console.text().contains("input (1 row)"), "{}", console.text());
    }
}

#[test]
fn lines_longer_than_max_line_are_counted_as_such_and_in_no_other_way() {
    let length = GOOD.len();
    for (max, expected) in [(length, counts(2, 0, 0)), (length - 1, counts(0, 0, 2))] {
        let max = format!("{max}B");
        assert_eq!(input_counts(&[GOOD, b"\r\n", GOOD].concat(), &["--max-line", &max]), expected);
    }
    let ended = run_on(
        &["run", "access-log", "--source", "stdin:", "--max-line", "10B", "--sink", "console:"],
        &[GOOD, b"\n"].concat(),
    );
    ended.exits(8).says(&["oversize line in stdin: at byte 0", "10.0.0.1", "1 longer than --max-line"]);
}

/// The rules of access logs as one expression, as they are written down.
static RULES: LazyLock<Regex> = LazyLock::new(|| {
    let rules = r#"^(\S+) (\S+) (\S+) \[([^\]]*)\] "((?:[^"\\]|\\.)*)" (\d{3}) (\d+|-)(?:\s.*)?$"#;
    Regex::new(&format!("(?s-u){rules}")).expect("the rules are a valid expression")
});

/// Lines made of bits of access log, each a little damaged, with raw bytes among them.
fn damaged(seed: u64) -> Vec<u8> {
    let mut draws = Draws::new(seed);
    let mut bytes = Vec::new();
    for _ in 0..400 {
        match draws.below(4) {
            0 => (0..draws.below(60)).for_each(|_| bytes.push(draws.bits() as u8)),
            kind => {
                let start = bytes.len();
                bytes.extend_from_slice(GOOD);
                for _ in 0..kind - 1 {
                    let at = start + draws.below(GOOD.len());
                    bytes[at] = draws.bits() as u8;
                }
            }
        }
        bytes.push(b'\n');
    }
    bytes
}

/// Lines as the rules have them.
fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let lines = lines.map(|line| line.strip_suffix(b"\n").unwrap_or(line));
    lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect()
}

#[test]
fn arbitrary_bytes_are_counted_as_the_written_rules_count_them() {
    for seed in 0..8 {
        let bytes = damaged(seed);
        let lines = lines(&bytes);
        let parsed = lines.iter().filter(|line| RULES.is_match(line)).count();
        assert!(
            parsed > 20 && parsed + 20 < lines.len(),
            "some are, some are not: {parsed} of {}",
            lines.len()
        );
        let more = ["--format", "common", "-w", if seed % 2 == 0 { "1" } else { "2" }];
        assert_eq!(input_counts(&bytes, &more), counts(parsed, lines.len() - parsed, 0), "seed {seed}");
    }
}

#[test]
fn keys_of_arbitrary_bytes_are_valid_json_with_each_bad_byte_escaped() {
    for seed in 0..4 {
        let bytes = damaged(seed);
        let mut words = BTreeMap::<&[u8], u64>::new();
        for line in lines(&bytes) {
            let split = line.split(|byte| matches!(byte, b' ' | 0x09..=0x0d)).filter(|word| !word.is_empty());
            split.for_each(|word| *words.entry(word).or_default() += 1);
        }
        let mut expected: Vec<_> = words.into_iter().collect();
        expected.sort_by_key(|(word, count)| (std::cmp::Reverse(*count), *word));
        let expected: Vec<_> =
            expected.iter().map(|(word, count)| json!({ "word": escaped(word), "count": count })).collect();
        assert!(expected.iter().any(|row| row["word"].as_str().is_some_and(|word| word.contains(r"\x"))));
        assert_eq!(rows(&last_state("word-count", &bytes, &[]).stdout, "words"), expected, "seed {seed}");
    }
}

/// Text, with `\xNN` for each byte that is not UTF-8, and backslashes doubled before those and before text that looks like
/// one; by another way than the command's.
fn escaped(mut bytes: &[u8]) -> String {
    static LOOKS: LazyLock<Regex> = LazyLock::new(|| Regex::new("^x[89a-f][0-9a-f]").expect("a pattern"));
    let mut text = String::new();
    while !bytes.is_empty() {
        let run = bytes.iter().take_while(|byte| **byte == b'\\').count();
        let rest = &bytes[run..];
        let first = std::str::from_utf8(&rest[..rest.len().min(4)]);
        let bad = first.is_err_and(|error| error.valid_up_to() == 0);
        let times = if bad || LOOKS.is_match(rest) { 2 } else { 1 };
        text += &"\\".repeat(times * run);
        let length = match rest.first() {
            None => 0,
            Some(byte) if bad => {
                text += &format!("\\x{byte:02x}");
                1
            }
            Some(_) => {
                let head = rest.utf8_chunks().next().expect("there is something").valid();
                let char = head.chars().next().expect("it is good");
                text.push(char);
                char.len_utf8()
            }
        };
        bytes = &rest[length..];
    }
    text
}

#[test]
fn nothing_in_data_reaches_a_terminal_as_a_command() {
    let all: Vec<u8> = (0..=255u8).filter(|byte| !matches!(byte, b' ' | 0x09..=0x0d)).collect();
    let bad = [
        "\x1b[2J",
        "\x1b]0;title\x07",
        "\u{9b}31m",
        "\u{202e}gpj",
        "\u{200b}\u{feff}",
        "\u{e0041}",
        "\x7f",
        "a\x08b",
        "\u{2028}",
    ];
    let input = [b"error ", &all[..], b"\nerror\r\x1b[A\t.\n", bad.join(" error\n").as_bytes()].concat();
    let more = ["run", "error-lines", "--source", "stdin:", "--contains", "r"];
    // As lines, as words, and as what the log samples.
    let shown = [
        run_on(&more, &input),
        run_on(&["run", "word-count", "--source", "stdin:"], &input),
        run_on(&["run", "access-log", "--source", "stdin:"], &input),
    ];
    for (ended, code) in shown.into_iter().zip([0, 0, 8]) {
        let ended = ended.exits(code);
        assert!(!ended.stdout.is_empty() && !ended.stderr.is_empty());
        for (name, text) in [("standard output", ended.text()), ("standard error", &ended.stderr)] {
            let commands: String = text.chars().filter(|char| *char != '\n' && is_command(*char)).collect();
            assert_eq!(commands.escape_unicode().to_string(), "", "on {name}");
        }
    }
}

/// Whether a terminal obeys it, or it changes what stands beside it.
fn is_command(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[test]
fn huge_sizes_are_added_up_without_wrapping() {
    let line = |size: &str| format!("h - - [17/May/2015:10:05:03 +0000] \"GET /a HTTP/1.1\" 200 {size}\n");
    let max = u64::MAX.to_string();
    let many = 1000;
    let forty = "9".repeat(40);
    // One more than what fits, with and without zeros in front; and zeros in front of nothing.
    let others = ["18446744073709551616", &forty, &format!("{}1", "0".repeat(60))].map(line).concat();
    let input = line(&max).repeat(many) + &others;
    let output = last_state("access-log", input.as_bytes(), &["-w", "2"]);
    // As text: a sum of more than 64 bits is more than most readers of JSON can take.
    let sum = u128::from(u64::MAX) * many as u128 + 1;
    let expected = format!(r#"{{"count":{},"sum":{sum},"min":1,"max":{max},"#, many + 1);
    assert!(output.text().contains(&expected), "{expected} in\n{}", output.text());
    assert!(output.text().contains(r#""missing":2}"#), "{}", output.text());
    assert_eq!(rows(&output.stdout, "input"), [counts(many + 3, 0, 0)]);
}

#[test]
fn files_of_any_name_may_stand_beside_those_that_a_glob_means() {
    let dir = tempfile::tempdir().expect("a directory");
    let line = [GOOD, b"\n"].concat();
    for name in [&b"good.log"[..], b".hidden.log", b"\xff.txt", b".\xff.log"] {
        fs::write(dir.path().join(OsStr::from_bytes(name)), &line).expect("written");
    }
    fs::create_dir(dir.path().join(".git.log")).expect("created");
    for (glob, lines) in [("*.log", 1), (".h*.log", 1), ("**/*.log", 1)] {
        let source = uri("file", &dir.path().join(glob), "");
        let args = ["run", "access-log", "--source", &source, "--log", "error"];
        let ended = run(&[&args[..], &JSONL].concat()).exits(0);
        assert_eq!(rows(&ended.stdout, "input"), [counts(lines, 0, 0)], "{glob}");
    }
}

#[test]
fn a_byte_and_the_text_of_its_escape_are_two_keys_in_every_sink() {
    let line = |path: &[u8]| {
        [&GOOD[..GOOD.len() - b"/a HTTP/1.1\" 200 512".len()], path, b" HTTP/1.1\" 200 1\n"].concat()
    };
    let input = [line(b"/caf\xe9"), line(br"/caf\xe9"), line(br"/caf\xe9")].concat();
    let top = rows(&last_state("access-log", &input, &[]).stdout, "top_endpoints");
    let endpoints: Vec<_> = top.iter().filter_map(|row| row["endpoint"].as_str()).collect();
    assert_eq!(endpoints, [r"/caf\\xe9", r"/caf\xe9"], "by count: {top:?}");
    let args = [&["run", "access-log", "--sink", "console:?at=end"], &STDIN[..]].concat();
    let shown = String::from_utf8(run_on(&args, &input).exits(0).stdout).expect("text");
    for endpoint in endpoints {
        let count = shown.lines().filter(|line| line.split_whitespace().any(|word| word == endpoint)).count();
        assert_eq!(count, 1, "{endpoint} in {shown}");
    }
}
