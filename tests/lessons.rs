//! The lessons as they stand: what each of them does with Spark, done by a command, with the very programs that feed it there.
//!
//! What comes out is compared with what a few plain lines make of the same log. Nothing here sleeps: a test waits for what a run shows.
//! The guide (`src/guide/lessons.rs`) shows the same commands, and `the_guide_shows_what_comes_out` runs them from there.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

mod support;

#[path = "lessons/log.rs"]
mod log;
#[path = "lessons/recipes.rs"]
mod recipes;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::{Value, json};
use support::{Lines, Running, command, free_ports, uri};

use self::log::{Hit, hits, ranked, tags};

const ACCESS_LOG: &str = "data/access.log";

/// A program that feeds a run, ended with its test.
struct Feeder(Child);

impl Feeder {
    fn start(line: &str, input: impl Into<Stdio>) -> Self {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().unwrap());
        command.args(words).stdin(input).stdout(Stdio::piped());
        Feeder(command.spawn().unwrap_or_else(|error| panic!("{line}: {error}")))
    }

    /// `nc -lk PORT`, and what is typed into it.
    fn nc(port: u16) -> (Self, ChildStdin) {
        let mut nc = Self::start(&format!("nc -lk 127.0.0.1 {port}"), Stdio::piped());
        let typed = nc.0.stdin.take().unwrap();
        (nc, typed)
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A run that shows how its views change.
struct Lesson {
    running: Running,
    shown: Lines,
    views: BTreeMap<String, BTreeMap<String, i64>>,
}

impl Lesson {
    fn start(dataflow: &str, args: &[&str]) -> Self {
        Self::of(command().args(["run", dataflow, "--sink", "jsonl:-?mode=changes"]).args(args))
    }

    fn of(command: &mut Command) -> Self {
        let mut running = Running::start(command.args(["--summary", "json"]));
        let shown = running.stdout_lines();
        Lesson { running, shown, views: BTreeMap::new() }
    }

    /// What `view` holds now, in no order.
    fn view(&self, view: &str) -> Vec<Value> {
        let rows = self.views.get(view).into_iter().flatten().filter(|(_, count)| **count > 0);
        rows.map(|(row, _)| serde_json::from_str(row).unwrap()).collect()
    }

    /// Takes in what is shown until `view` holds what it should.
    #[track_caller]
    fn until(&mut self, view: &str, holds: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        loop {
            self.change();
            let rows = self.view(view);
            if holds(&rows) {
                return rows;
            }
        }
    }

    /// The next change.
    #[track_caller]
    fn change(&mut self) {
        let mut line: Value = serde_json::from_str(&self.shown.until("\"diff\"")).unwrap();
        let view = self.views.entry(line["view"].as_str().unwrap().to_owned()).or_default();
        *view.entry(line["row"].take().to_string()).or_default() += line["diff"].as_i64().unwrap();
    }

    /// Ends the run as a user does, and takes in the last changes; returns the lines that were read.
    #[track_caller]
    fn end(&mut self) {
        self.running.signal("TERM");
        for line in self.shown.rest() {
            let mut line: Value = serde_json::from_str(&line).unwrap();
            let view = self.views.entry(line["view"].as_str().unwrap().to_owned()).or_default();
            *view.entry(line["row"].take().to_string()).or_default() += line["diff"].as_i64().unwrap();
        }
    }
}

/// Rows in one order, whatever order they came in.
fn sorted(rows: impl IntoIterator<Item = Value>) -> Vec<String> {
    let mut rows: Vec<_> = rows.into_iter().map(|row| row.to_string()).collect();
    rows.sort();
    rows
}

fn port() -> u16 {
    free_ports(1)[0]
}

fn access_log() -> String {
    String::from_utf8_lossy(&fs::read(ACCESS_LOG).unwrap()).into_owned()
}

/// Lesson: `lines.filter(_.contains("error")).print()`, in batches of a second, from port 8888.
#[test]
fn errors_of_each_second_are_shown_once() {
    let port = port();
    let (_nc, mut typed) = Feeder::nc(port);
    let source = format!("tcp://localhost:{port}");
    let mut running = Running::start(command().args([
        "run",
        "error-lines",
        "--source",
        &source,
        "--sink",
        "jsonl:-?mode=update",
    ]));
    let shown = running.stdout_lines();
    let mut last = None;
    for second in 0..3 {
        let lines: Vec<_> =
            (0..20)
                .map(|line| {
                    if line % 3 == 0 {
                        format!("{second}: error {line}")
                    } else {
                        format!("{second}: {line}")
                    }
                })
                .collect();
        typed.write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
        let expected: Vec<_> = lines.iter().filter(|line| line.contains("error")).collect();
        let mut found: Vec<_> = expected
            .iter()
            .map(|_| -> Value { serde_json::from_str(&shown.until(r#""view":"errors""#)).unwrap() })
            .collect();
        found.sort_by_key(|row| row["row"]["line"].to_string());
        let mut expected: Vec<_> = expected.into_iter().map(|line| json!(line)).collect();
        expected.sort_by_key(Value::to_string);
        assert_eq!(found.iter().map(|row| row["row"]["line"].clone()).collect::<Vec<_>>(), expected);
        // Each in a batch after those that were there before.
        assert!(found.iter().all(|row| row["epoch"].as_u64() > last), "{found:?} after {last:?}");
        last = found.iter().map(|row| row["epoch"].as_u64()).max().flatten();
    }
    running.signal("TERM");
    let again = shown.rest().into_iter().filter(|line| line.contains(r#""view":"errors""#)).count();
    assert_eq!(again, 0, "lines are shown once");
}

/// What `log-stats` shows of all time, and of the window that ends at `end`.
fn statistics(hits: &[Hit], from: i64, end: i64) -> [Vec<String>; 4] {
    let of = |hits: &[&Hit]| {
        let mut counts = [BTreeMap::new(), BTreeMap::new(), BTreeMap::new()];
        for hit in hits {
            let keys = [hit.status.to_string(), hit.client.clone(), hit.url.clone()];
            for (counts, key) in counts.iter_mut().zip(keys) {
                *counts.entry(key).or_insert(0i64) += 1;
            }
        }
        counts
    };
    let sizes = |of: &str, hits: &[&Hit]| {
        let sizes: Vec<_> = hits.iter().filter_map(|hit| hit.size).collect();
        let (count, sum) = (sizes.len() as u64, sizes.iter().sum::<u64>());
        json!({
            "of": of, "count": count, "sum": sum, "min": sizes.iter().min(), "max": sizes.iter().max(),
            "mean": (count > 0).then(|| sum as f64 / count as f64), "missing": hits.len() as u64 - count,
        })
    };
    let all: Vec<_> = hits.iter().collect();
    let last: Vec<_> = hits.iter().filter(|hit| (from..end).contains(&hit.time)).collect();
    let ([statuses, clients, urls], [last_statuses, last_clients, last_urls]) = (of(&all), of(&last));
    let joined = |name: &str, all: &BTreeMap<String, i64>, last: &BTreeMap<String, i64>, least: i64| {
        let rows = all.iter().filter(|(_, count)| **count > least).map(|(key, count)| {
            let window = last.get(key).copied().unwrap_or(0);
            let key = key.parse().map_or_else(|_| json!(key), |number: u16| json!(number));
            json!({ name: key, "all": count, "window": window })
        });
        sorted(rows)
    };
    let top = |of: &str, counts: &BTreeMap<String, i64>| {
        let rows = ranked(counts).into_iter().take(10).enumerate().map(
            |(rank, (url, count))| json!({ "of": of, "rank": rank + 1, "endpoint": url, "count": count }),
        );
        rows.collect::<Vec<_>>()
    };
    [
        joined("status", &statuses, &last_statuses, 0),
        joined("client", &clients, &last_clients, 10),
        sorted([sizes("all time", &all), sizes("window", &last)]),
        sorted(top("all time", &urls).into_iter().chain(top("window", &last_urls))),
    ]
}

/// Lesson: statistics of all time beside those of the last window, of `tail -f access.log | nc -lk 9999`.
#[test]
fn statistics_of_all_time_and_of_the_last_window_come_through_tail_and_nc() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let log = access_log();
    let (before, after) = log.split_at(log.match_indices('\n').nth(999).unwrap().0 + 1);
    fs::write(&path, before).unwrap();
    let port = port();
    let mut tail = Feeder::start(&format!("tail -n +1 -f {}", path.display()), Stdio::null());
    let tailed = tail.0.stdout.take().unwrap();
    let _nc = Feeder::start(&format!("nc -lk 127.0.0.1 {port}"), tailed);
    let mut lesson =
        Lesson::start("log-stats", &["--source", &format!("tcp://localhost:{port}"), "--tick", "100ms"]);
    // What is there, and what is written while the run goes on.
    lesson.until("input", |rows| rows.iter().any(|row| row["lines"] == 1000));
    File::options().append(true).open(&path).unwrap().write_all(after.as_bytes()).unwrap();
    lesson.until("input", |rows| rows.iter().any(|row| row["lines"] == 2000));
    lesson.end();
    let hits = hits(&log);
    let [input] = &lesson.view("input")[..] else { panic!("one row") };
    assert_eq!((&input["parsed"], &input["refusals"]), (&json!(hits.len()), &json!(0)));
    let [window] = &lesson.view("window")[..] else { panic!("one window") };
    let newest = hits.iter().map(|hit| hit.time).max().unwrap();
    // The last that is over, where a line may be ten seconds late.
    let end = (newest - 10_000).div_euclid(10_000) * 10_000;
    assert_eq!(window, &json!({ "start": log::time(end - 30_000), "end": log::time(end) }));
    let shown = ["status_counts", "frequent_clients", "content_size", "top_endpoints"];
    for (view, expected) in shown.into_iter().zip(statistics(&hits, end - 30_000, end)) {
        assert_eq!(sorted(lesson.view(view)), expected, "{view}");
    }
}

/// Lesson: the script that sends a log in chunks of a hundred lines, each with an `nc` of its own. (The lesson's waits for ten seconds
/// after each.)
#[test]
fn statistics_of_a_log_that_a_script_sends_in_chunks() {
    let dir = tempfile::tempdir().unwrap();
    let port = port();
    let script = format!(
        "split -l 100 {ACCESS_LOG} {0}/chunk. && for chunk in {0}/chunk.*; do nc -lN 127.0.0.1 {port} < $chunk || exit; done",
        dir.path().display()
    );
    fs::write(dir.path().join("stream.sh"), script).unwrap();
    let _script = Feeder::start(&format!("sh {}/stream.sh", dir.path().display()), Stdio::null());
    let mut lesson =
        Lesson::start("log-stats", &["--source", &format!("tcp://localhost:{port}"), "--tick", "100ms"]);
    lesson.until("input", |rows| rows.iter().any(|row| row["lines"] == 2000));
    lesson.end();
    let hits = hits(&access_log());
    let [statuses, clients, ..] = statistics(&hits, 0, 0);
    let all_time = |view: &str| {
        let rows = lesson.view(view).into_iter().map(|mut row| {
            row["window"] = json!(0);
            row
        });
        sorted(rows)
    };
    assert_eq!(all_time("status_counts"), statuses);
    assert_eq!(all_time("frequent_clients"), clients);
}

/// Lesson: `textFileStream`: files that are moved into a directory after the start, each once.
#[test]
fn files_that_are_moved_into_a_directory_are_counted_once() {
    let (dir, aside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let log = access_log();
    let lines: Vec<_> = log.split_inclusive('\n').collect();
    fs::write(dir.path().join("before.log"), lines[..500].concat()).unwrap();
    let source = uri("dir", dir.path(), "?existing=ignore&poll=20ms");
    // It has listed the directory by the time at which it reads what else there is.
    let mut started = command();
    started.args([
        "run",
        "access-log",
        "--sink",
        "jsonl:-?mode=changes",
        "--source",
        &source,
        "--source",
        "stdin:",
    ]);
    let mut lesson = Lesson::of(started.args(["--tick", "100ms"]).stdin(Stdio::piped()));
    let mut typed = lesson.running.stdin();
    typed.write_all(lines[0].as_bytes()).unwrap();
    lesson.until("input", |rows| rows.iter().any(|row| row["lines"] == 1));
    let mut expected = vec![lines[0]];
    for (name, part) in [("one.log", &lines[500..1200]), ("two.log", &lines[1200..])] {
        let file = aside.path().join(name);
        fs::write(&file, part.concat()).unwrap();
        let moved = Command::new("mv").arg(&file).arg(dir.path()).status().unwrap();
        assert!(moved.success());
        expected.extend(part);
        lesson.until("input", |rows| rows.iter().any(|row| row["lines"] == expected.len()));
    }
    // What is written to a file that was read is not read.
    File::options().append(true).open(dir.path().join("one.log")).unwrap().write_all(b"more\n").unwrap();
    lesson.end();
    let hits = hits(&expected.concat());
    let mut counts = BTreeMap::new();
    hits.iter().for_each(|hit| *counts.entry(hit.status).or_insert(0i64) += 1);
    let expected = counts.into_iter().map(|(status, count)| json!({ "status": status, "count": count }));
    assert_eq!(sorted(lesson.view("status_counts")), sorted(expected));
}

/// Waits until a window has all of what was sent at once, which comes within less than it is long.
#[track_caller]
fn until_ranked(lesson: &mut Lesson, view: &str, name: &str, expected: &[(String, i64)]) {
    let expected = sorted(
        (1..).zip(expected).map(|(rank, (key, count))| json!({ "rank": rank, name: key, "count": count })),
    );
    lesson.until(view, |rows| {
        let rows = rows.iter().cloned().map(|mut row| {
            let row = row.as_object_mut().unwrap();
            row.remove("start");
            row.remove("end");
            json!(row)
        });
        sorted(rows) == expected
    });
}

/// Lesson: the most requested URLs of the last window by the time at which lines arrive.
#[test]
fn top_urls_go_by_arrival() {
    let port = port();
    let (_nc, mut typed) = Feeder::nc(port);
    let source = format!("tcp://localhost:{port}");
    let mut lesson = Lesson::start(
        "top-urls",
        &["--source", &source, "--time", "arrival", "--length", "10s", "--slide", "1s", "--tick", "100ms"],
    );
    let log = access_log();
    typed.write_all(log.as_bytes()).unwrap();
    let mut counts = BTreeMap::new();
    hits(&log).into_iter().for_each(|hit| *counts.entry(hit.url).or_insert(0i64) += 1);
    until_ranked(&mut lesson, "top_urls", "url", &ranked(&counts)[..10]);
    // Once they are older than the window, it has none.
    lesson.until("top_urls", <[_]>::is_empty);
    lesson.end();
}

/// Lesson: the hashtags of the last five minutes, every second; here a window of ten seconds, which empties.
#[test]
fn hashtags_go_by_arrival() {
    let port = port();
    let (_nc, mut typed) = Feeder::nc(port);
    let source = format!("tcp://localhost:{port}");
    let mut lesson = Lesson::start(
        "hashtags",
        &["--source", &source, "--time", "arrival", "--length", "10s", "--tick", "100ms"],
    );
    let tweets = fs::read("data/tweets.jsonl").unwrap();
    typed.write_all(&tweets).unwrap();
    let counts = tags(&tweets);
    until_ranked(&mut lesson, "hashtags", "tag", &ranked(&counts)[..10]);
    lesson.until("hashtags", <[_]>::is_empty);
    lesson.end();
}

/// Lesson: the words of a socket, `hello 3`; here those of all batches so far.
#[test]
fn words_of_a_socket_are_counted_as_they_are_typed() {
    let port = port();
    let (_nc, mut typed) = Feeder::nc(port);
    let source = format!("tcp://localhost:{port}");
    let mut lesson = Lesson::start("word-count", &["--source", &source, "--tick", "100ms"]);
    let mut counts = BTreeMap::<&str, i64>::new();
    for line in ["hello world", "hello hello", "", "the world  again"] {
        typed.write_all(format!("{line}\n").as_bytes()).unwrap();
        line.split(' ')
            .filter(|word| !word.is_empty())
            .for_each(|word| *counts.entry(word).or_default() += 1);
        let expected = sorted(counts.iter().map(|(word, count)| json!({ "word": word, "count": count })));
        if !line.is_empty() {
            lesson.until("words", |rows| sorted(rows.iter().cloned()) == expected);
        }
    }
    lesson.end();
    assert!(lesson.view("words").contains(&json!({ "word": "hello", "count": 3 })));
}
