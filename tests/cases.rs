//! Inputs made after people's reports, with what people expect of them: `../shared/cases`, one test a kind. Where that is not there,
//! they are skipped and say so. The rows about pages in many spellings wait for the query language.

mod support;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use support::{Ended, Running, command, rows, run};

/// The path of a case, if the cases are there.
fn case(name: &str) -> Option<String> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/cases");
    if !path.is_dir() {
        let _ = writeln!(std::io::stderr(), "skipped: {} is not there", path.display());
        return None;
    }
    Some(path.join(name).to_str().expect("a path of ASCII").to_owned())
}

macro_rules! case {
    ($name:expr) => {
        match case($name) {
            Some(path) => path,
            None => return,
        }
    };
}

/// The last state of every view.
fn ask(args: &[&str]) -> Ended {
    run(&[args, &["--sink", "jsonl:-?mode=complete&at=end"]].concat())
}

fn access_log(path: &str) -> Ended {
    ask(&["run", "access-log", path, "--min-requests", "0"]).exits(0)
}

/// Key and count of a view's rows.
fn counts(ended: &Ended, view: &str, key: &str) -> BTreeMap<String, i64> {
    let row = |row: Value| {
        let key = row[key].as_str().map_or_else(|| row[key].to_string(), str::to_owned);
        (key, row["count"].as_i64().expect("a count"))
    };
    rows(&ended.stdout, view).into_iter().map(row).collect()
}

fn expected<const N: usize>(counts: [(&str, i64); N]) -> BTreeMap<String, i64> {
    counts.into_iter().map(|(key, count)| (key.to_owned(), count)).collect()
}

/// Lines, malformed lines, and the sum of the sizes.
#[track_caller]
fn has(ended: &Ended, lines: i64, malformed: i64, sum: i64) {
    let input = &rows(&ended.stdout, "input")[0];
    assert_eq!((&input["lines"], &input["malformed"]), (&json!(lines), &json!(malformed)), "{input}");
    assert_eq!(rows(&ended.stdout, "content_size")[0]["sum"], sum);
}

#[test]
fn lists_of_clients() {
    let ended = access_log(&case!("01.xff.log"));
    has(&ended, 5, 0, 31_000);
    let clients = expected([("198.51.100.7", 3), ("2001:db8:1:2::9", 1), ("192.0.2.33", 1)]);
    assert_eq!(counts(&ended, "frequent_clients", "client"), clients);
}

#[test]
fn users_with_blanks() {
    let ended = access_log(&case!("03.users.log"));
    has(&ended, 8, 0, 255);
    assert_eq!(counts(&ended, "status_counts", "status"), expected([("200", 6), ("401", 2)]));
}

#[test]
fn requests_of_every_kind() {
    let path = case!("04.requests.log");
    has(&access_log(&path), 9, 0, 511);
    let visitors = rows(&ask(&["run", "visitors", &path, "--length", "1h"]).exits(0).stdout, "visitors");
    assert!(!visitors.is_empty() && visitors.iter().all(|row| row["visitors"] == 9), "{visitors:?}");
}

#[test]
fn quotes_that_are_not_escaped() {
    let ended = access_log(&case!("05.rawquotes.log"));
    has(&ended, 4, 0, 15);
    let endpoints = [("/search?q=\"rust\"", 1), ("/search?q=rust", 1), ("/dir\\", 1), ("/ok", 1)];
    assert_eq!(counts(&ended, "top_endpoints", "endpoint"), expected(endpoints));
}

#[test]
fn virtual_hosts_are_no_clients() {
    let clients = [("192.0.2.0", 1), ("192.0.2.1", 1), ("192.0.2.2", 1), ("192.0.2.3", 1)];
    let ended = access_log(&case!("06.vhost3.log"));
    assert_eq!(counts(&ended, "frequent_clients", "client"), expected(clients));
    let ended = access_log(&case!("06.vhost_[ab].log"));
    let mut clients = expected(clients);
    clients.append(&mut expected([("192.0.2.50", 1), ("192.0.2.51", 1)]));
    assert_eq!(counts(&ended, "frequent_clients", "client"), clients);
}

#[test]
fn one_client_has_one_address() {
    let path = case!("07.ports.log");
    let clients = [("198.51.100.7", 4), ("2001:db8::9", 3), ("fe80::1%eth0", 1), ("host7.example", 1)];
    assert_eq!(counts(&access_log(&path), "frequent_clients", "client"), expected(clients));
    let ended = ask(&["run", "enrich", &path, "--table", &case!("07.table.csv")]).exits(0);
    let sites = rows(&ended.stdout, "requests").into_iter();
    let sites: Vec<_> =
        sites.map(|row| (row["value"].clone(), row["count"].clone(), row["bytes"].clone())).collect();
    let expected = [("office", 4, 135), ("lab", 3, 56), ("-", 1, 256), ("link", 1, 64)];
    assert_eq!(sites, expected.map(|(site, count, bytes)| (json!(site), json!(count), json!(bytes))));
}

#[test]
fn byte_order_marks_are_in_no_key() {
    let path = case!("08.bom.log");
    let clients = expected([("198.51.100.7", 2), ("192.0.2.1", 1)]);
    assert_eq!(counts(&access_log(&path), "frequent_clients", "client"), clients);
    let ended = ask(&["run", "enrich", &path, "--table", &case!("08.bom.csv")]).exits(0);
    assert!(rows(&ended.stdout, "requests").contains(&json!({"value": "office", "count": 2, "bytes": 3})));
}

#[test]
fn lines_that_end_in_cr() {
    let ended = access_log(&case!("09.cr.log"));
    has(&ended, 3, 0, 7);
    assert_eq!(counts(&ended, "status_counts", "status"), expected([("200", 2), ("500", 1)]));
}

#[test]
fn times_in_other_forms_are_in_windows() {
    for (name, urls) in [
        (
            "11.times.log",
            expected([("/iso", 1), ("/ms", 1), ("/nozone", 1), ("/space", 1), ("/msec", 1), ("/clf", 1)]),
        ),
        ("11.iso_only.log", expected([("/iso", 5)])),
    ] {
        let args = ["run", "top-urls", "--length", "10s", "--slide", "10s", "--table"];
        let ended = ask(&[&args[..], &[case!(name).as_str()]].concat()).exits(0);
        assert_eq!(counts(&ended, "top_urls", "url"), urls, "{name}");
    }
}

#[test]
fn times_without_a_zone_are_those_of_a_place() {
    let args = ["run", "top-urls", "--length", "10s", "--slide", "10s", "--table", "--zone", "Asia/Tokyo"];
    let ended = ask(&[&args[..], &[case!("11.times.log").as_str()]].concat()).exits(0);
    let windows = rows(&ended.stdout, "top_urls");
    let start = |url: &str| windows.iter().find(|row| row["url"] == url).map(|row| row["start"].clone());
    assert_eq!(start("/nozone"), Some(json!("2024-03-14T00:00:00Z")));
    assert_eq!(start("/clf"), Some(json!("2024-03-14T09:00:00Z")));
}

#[test]
fn statuses_and_sizes_that_are_none() {
    let ended = access_log(&case!("12.status.log"));
    has(&ended, 8, 0, 812_345_678_904);
}

#[test]
fn access_logs_of_json() {
    let path = case!("13.caddy.jsonl");
    let ended = access_log(&path);
    has(&ended, 4, 0, 1200);
    assert_eq!(counts(&ended, "top_endpoints", "endpoint"), expected([("/a", 2), ("/", 1), ("/a?x=&", 1)]));
    let args = ["run", "top-urls", "--length", "10s", "--slide", "10s", "--table"];
    let windows = rows(&ask(&[&args[..], &[path.as_str()]].concat()).exits(0).stdout, "top_urls");
    assert_eq!(windows.iter().filter(|row| row["start"] == "2024-03-14T09:00:00Z").count(), 3, "{windows:?}");
    assert_eq!(windows.iter().filter(|row| row["start"] == "2024-03-14T09:00:10Z").count(), 1, "{windows:?}");
}

#[test]
fn hashtags_as_people_write_them() {
    let tags = |name: &str, options: &[&str]| {
        let path = case(name)?;
        let ended =
            ask(&[&["run", "hashtags", path.as_str(), "--rule", "social"], options].concat()).exits(0);
        Some(counts(&ended, "hashtags", "tag"))
    };
    let Some(found) = tags("14.tags.jsonl", &[]) else { return };
    assert_eq!(found, expected([("#rust", 11)]));
    assert_eq!(tags("15.created_at.jsonl", &[]), Some(expected([("#example", 4)])));
    assert_eq!(tags("16.extended.jsonl", &[]), Some(expected([("#example", 2)])));
    let fields = ["--text-field", "commit.record.text", "--time-field", "time_us"];
    assert_eq!(tags("28.jetstream.jsonl", &fields), Some(expected([("#rust", 3)])));
}

#[test]
fn fields_that_are_called_otherwise_are_told() {
    ask(&["run", "hashtags", &case!("28.jetstream.jsonl")])
        .exits(8)
        .says(&["no time can be read of all 3 records", "--time-field"]);
}

#[test]
fn times_of_json_in_any_unit() {
    let ended = ask(&["run", "action-counts", &case!("17.jsontime.jsonl"), "--summary", "json"]).exits(0);
    let actions = ["s", "ms", "string", "iso", "nozone", "basicoffset", "fraction"].map(|action| (action, 1));
    assert_eq!(counts(&ended, "actions", "action"), expected(actions));
    assert_eq!(ended.summary()["untimed"], 2);
}

#[test]
fn a_fast_clock_in_an_old_log_is_set_aside() {
    let args = ["run", "top-urls", "--length", "1m", "--slide", "1m", "--table", "--epoch-bytes", "200"];
    let ended = ask(&[&args[..], &["--summary", "json", &case!("18.fast.log")]].concat()).exits(0);
    let windows = rows(&ended.stdout, "top_urls");
    assert_eq!(
        windows.iter().filter(|row| row["url"] == "/ok" && row["count"] == 1).count(),
        13,
        "{windows:?}"
    );
    assert_eq!((windows.len(), &ended.summary()["ahead"]), (13, &json!(1)));
}

#[test]
fn rotated_logs_are_read_from_the_oldest_on() {
    let pages = |glob: &str| {
        let ended = ask(&["run", "sessions", glob, "--epoch-bytes", "1000"]).exits(0);
        let mut pages: Vec<_> = rows(&ended.stdout, "sessions")
            .iter()
            .map(|row| row["pages"].as_i64().expect("a count"))
            .collect();
        pages.sort_unstable();
        pages
    };
    assert_eq!(pages(&case!("19.rotated/*")), [4, 5, 6, 6, 6]);
    assert_eq!(pages(&case!("19.plain/*")), [50; 4]);
    // By date, with the current file by its bare name.
    let dir = tempfile::tempdir().expect("a directory");
    for (from, to) in [
        ("access.log", "access.log"),
        ("access.log.1", "access.log-20240314"),
        ("access.log.2", "access.log-20240313"),
        ("access.log.10", "access.log-20240305"),
    ] {
        let log = std::fs::read(case!(&format!("19.plain/{from}"))).expect("a case");
        std::fs::write(dir.path().join(to), log).expect("written");
    }
    assert_eq!(pages(&format!("{}/*", dir.path().display())), [50; 4]);
}

#[test]
fn a_cut_file_keeps_what_can_be_read() {
    for workers in ["1", "3"] {
        let ended = ask(&["run", "access-log", &case!("20.broken/*"), "-w", workers]).exits(3);
        let ended = ended.says(&["b.log.gz", "truncated", "what stands before it counts"]);
        assert_eq!(rows(&ended.stdout, "input")[0]["lines"], 40);
    }
}

#[test]
fn days_of_a_place() {
    for zone in ["+09:00", "Asia/Tokyo"] {
        let args = ["run", "action-counts", &case!("21.days.jsonl"), "--length", "1d", "--zone", zone];
        let days = rows(&ask(&args).exits(0).stdout, "actions");
        let day = json!({"start": "2024-03-13T15:00:00Z", "end": "2024-03-14T15:00:00Z", "action": "visit", "count": 4});
        assert_eq!(days, [day], "{zone}");
    }
    let args = ["run", "action-counts", &case!("21.days.jsonl"), "--length", "1d", "--zone", "Europe/Berlin"];
    ask(&args).exits(2).says(&["Europe/Berlin", "not all as long", "+01:00"]);
}

#[test]
fn sessions_to_the_second() {
    let ended = ask(&["run", "sessions", &case!("22.sessions.log")]).exits(0);
    let sessions = rows(&ended.stdout, "sessions");
    let of = |client: &str| -> Vec<_> {
        let of = sessions.iter().filter(|row| row["client"] == client);
        of.map(|row| (row["seconds"].as_i64().expect("a length"), row["pages"].as_i64().expect("a count")))
            .collect()
    };
    assert_eq!(of("192.0.2.1"), [(3000, 3)]);
    assert_eq!(of("192.0.2.2").len(), 2);
    assert_eq!(of("192.0.2.3"), [(1799, 2)]);
    assert_eq!(of("192.0.2.4"), [(600, 2)]);
}

#[test]
fn a_terminal_obeys_nothing_that_stands_in_a_log() {
    let ended = run(&["run", "access-log", &case!("23.escape.log"), "--min-requests", "0"]).exits(0);
    let (out, err) = (ended.text().to_owned(), ended.stderr);
    let obeyed = |c: char| {
        c.is_control() && c != '\n'
            || ('\u{202a}'..='\u{202e}').contains(&c)
            || ('\u{2066}'..='\u{2069}').contains(&c)
    };
    assert_eq!(out.chars().chain(err.chars()).find(|c| obeyed(*c)), None, "{out:?}");
}

#[test]
fn w3c_extended_logs() {
    let path = case!("25.iis.log");
    for workers in ["1", "4"] {
        let ended = ask(&["run", "access-log", &path, "-w", workers, "--chunk-bytes", "64"]).exits(0);
        has(&ended, 4, 0, 600);
        assert_eq!(counts(&ended, "status_counts", "status"), expected([("200", 3), ("500", 1)]));
    }
}

#[test]
fn every_record_is_in_its_windows() {
    let ended = ask(&["run", "top-urls", &case!("26.win.log"), "--table", "--top", "100"]).exits(0);
    let windows = rows(&ended.stdout, "top_urls");
    let records: i64 = windows.iter().map(|row| row["count"].as_i64().expect("a count")).sum();
    assert_eq!(records, 7 * 3, "{windows:?}");
    let by_window = |row: &Value| row["start"].as_str().expect("a time").to_owned();
    for pair in windows.windows(2).filter(|pair| by_window(&pair[0]) == by_window(&pair[1])) {
        let of = |row: &Value| {
            (-row["count"].as_i64().expect("a count"), row["url"].as_str().expect("text").to_owned())
        };
        assert!(of(&pair[0]) < of(&pair[1]), "ties are by name: {pair:?}");
    }
}

#[test]
fn junk_between_lines_is_malformed() {
    let ended = access_log(&case!("27.mixed.log"));
    has(&ended, 6, 4, 3);
}

#[test]
fn bytes_and_what_looks_like_them_are_two_keys() {
    let path = case!("29.bytes.log");
    let found = counts(&access_log(&path), "top_endpoints", "endpoint");
    assert_eq!(found.values().copied().collect::<Vec<_>>(), [2, 1], "{found:?}");
    let ended = run(&["run", "access-log", &path]).exits(0);
    let shown: Vec<_> = ended.text().lines().filter(|line| line.contains("caf")).collect();
    assert!(shown.len() == 2 && shown[0] != shown[1], "{shown:?}");
}

/// The last requests of the evening: their window is shown in the silence after them, and not with the next line.
#[test]
#[expect(clippy::disallowed_methods, reason = "its lines have to be of about now")]
fn a_silence_closes_the_last_window() {
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs()
            as i64;
    let at = |seconds: i64| {
        chrono::DateTime::from_timestamp(now + seconds, 0)
            .expect("a time")
            .format("%d/%b/%Y:%H:%M:%S +0000")
            .to_string()
    };
    let mut command = command();
    let windows = ["--length", "10s", "--slide", "10s", "--lateness", "1s", "--idle-timeout", "1s"];
    command.args(["run", "top-urls", "--source", "stdin:", "--sink", "jsonl:-?mode=update"]).args(windows);
    let mut running = Running::start(command.stdin(std::process::Stdio::piped()));
    let (mut stdin, shown) = (running.stdin(), running.stdout_lines());
    for seconds in [-60, -59] {
        writeln!(stdin, "192.0.2.1 - - [{}] \"GET /one HTTP/1.1\" 200 1", at(seconds)).expect("it reads");
    }
    // The input is still open.
    shown.until("/one");
    drop(stdin);
    running.wait().exits(0);
}

/// Whoever watches a live input does not wait for its end to be told.
#[test]
fn a_live_input_of_which_nothing_comes_is_told_of_at_once() {
    let mut command = command();
    command.args(["run", "status-counts", "--source", "stdin:", "--tick", "10ms"]);
    let mut running = Running::start(command.stdin(std::process::Stdio::piped()));
    let (mut stdin, said) = (running.stdin(), running.stderr_lines());
    stdin.write_all(&b"no log\n".repeat(1000)).expect("it reads");
    // The input is still open.
    said.until("so far, none of 1,000 lines is of the form that is read");
    drop(stdin);
    running.wait().exits(8);
}

/// Whoever asks for windows and gets none is told why, and the exit code says so, too.
#[test]
fn an_empty_answer_is_no_silence() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("ASCII").to_owned()
    };
    let malformed = write("malformed.log", "no\nlog\n");
    ask(&["run", "status-counts", &malformed]).exits(8).says(&["none of 2 lines is of the form", "--format"]);
    let line = |time: &str| format!("192.0.2.1 - - [{time}] \"GET / HTTP/1.1\" 200 1\n");
    let untimed = write("untimed.log", &line("yesterday"));
    ask(&["run", "top-urls", &untimed])
        .exits(8)
        .says(&["no time can be read of the one record", "--time arrival"]);
    let ahead = write("ahead.log", &line("14/Mar/2999:09:00:00 +0000"));
    ask(&["run", "top-urls", &ahead]).exits(8).says(&["--max-ahead"]);
    // All-time statistics go by no time.
    ask(&["run", "status-counts", &untimed]).exits(0);
    // No line is no question.
    let empty = write("empty.log", "");
    ask(&["run", "top-urls", &empty]).exits(0);
}
