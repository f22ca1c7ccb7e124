//! A log, what should come of it, and runs on it with a state and a sink of their own each.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use tempfile::TempDir;

use crate::disk::{CHANGES, Call, Fate, Fault, Reason, run_suffering};
use crate::support::{Ended, command, rows, run, views};

/// Lines of the log that is read, and of what was there of it before.
const LINES: usize = 700;
const BEFORE: usize = 250;

/// What was before the runs of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing.
    Nothing,
    /// A run that had read a part of the log and was killed on the way: there are snapshots, epochs behind them, and what it had not
    /// finished.
    Killed,
}

/// A log, what should come of it, and what was there before.
pub struct World {
    dir: TempDir,
    cases: AtomicUsize,
    /// The answer.
    views: Vec<serde_json::Value>,
    /// Of its view of statuses, the rows, as sinks of changes add up to them.
    statuses: BTreeMap<String, i64>,
}

/// The forms of sinks.
const FORMS: [&str; 3] = ["jsonl", "csv", "parquet"];

/// A run with a state and a sink, in a directory of its own.
pub struct Case<'a> {
    world: &'a World,
    path: PathBuf,
    form: &'static str,
    workers: usize,
}

/// A directory in memory, where there is one: nothing here depends on what a disk outlasts, and syncs take long.
pub fn directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

impl World {
    pub fn new(before: Before) -> Self {
        let dir = directory();
        let bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("data/access.log")).unwrap();
        let lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').take(LINES).collect();
        let whole = dir.path().join("whole.log");
        fs::write(&whole, lines.concat()).unwrap();
        let oracle =
            run(&["run", "access-log", whole.to_str().unwrap(), "--sink", "jsonl:-?at=end"]).exits(0);
        let statuses = rows(&oracle.stdout, "status_counts");
        let statuses = statuses.iter().map(|row| (format!("{},{}", row["status"], row["count"]), 1));
        let (views, statuses) = (views(oracle.text()), statuses.collect());
        let world = World { views, statuses, dir, cases: AtomicUsize::new(0) };
        let mut log = File::create(world.log()).unwrap();
        FORMS.iter().for_each(|form| fs::create_dir(world.base(form)).unwrap());
        log.write_all(&lines[..BEFORE].concat()).unwrap();
        if before == Before::Killed {
            FORMS.iter().for_each(|form| world.leave_half(form));
        }
        log.write_all(&lines[BEFORE..].concat()).unwrap();
        world
    }

    /// Has a run of which a sink of `form` is killed when it has a snapshot and epochs behind that.
    fn leave_half(&self, form: &'static str) {
        for _ in 0..10 {
            let case = Case { world: self, path: self.base(form), form, workers: 2 };
            let fault = Fault { at: 2, fate: Fate::Killed, calls: "rename", ..case.fault("state/manifests") };
            let (ended, _) = case.run_suffering(&fault);
            if ended.code.is_none() {
                return;
            }
            // It had no time for a second one.
            fs::remove_dir_all(&case.path).unwrap();
            fs::create_dir(&case.path).unwrap();
        }
        panic!("none of ten runs has made two snapshots");
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("a.log")
    }

    fn base(&self, form: &str) -> PathBuf {
        self.dir.path().join(form)
    }

    /// A case with what was before; `number` says which sink it has, and how many workers.
    pub fn case(&self, number: usize) -> Case<'_> {
        let (form, workers) = (FORMS[number % 3], 1 + number / 3 % 2);
        let path = self.dir.path().join(format!("case-{}", self.cases.fetch_add(1, Ordering::Relaxed)));
        copy(&self.base(form), &path);
        Case { world: self, path, form, workers }
    }
}

impl Case<'_> {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A fault of calls at `place`, of which none suffers as yet.
    pub fn fault(&self, place: &str) -> Fault {
        Fault {
            below: self.path.join(place).to_str().unwrap().to_owned(),
            calls: CHANGES,
            at: 0,
            lasts: false,
            fate: Fate::Fails(Reason::Broken),
        }
    }

    pub fn args(&self) -> Vec<String> {
        let (log, path) = (self.world.log(), self.path.display());
        let args =
            ["run", "access-log", "--follow", log.to_str().unwrap(), "--trigger", "once", "--tick", "2ms"];
        let mut args = args.map(str::to_owned).to_vec();
        args.extend(["--epoch-bytes", "4KiB", "--chunk-bytes", "1KiB"].map(str::to_owned));
        args.extend(["--max-open-epochs", "2", "--snapshot-every", "1ms"].map(str::to_owned));
        args.extend([
            "-w".to_owned(),
            self.workers.to_string(),
            "--state".to_owned(),
            format!("{path}/state"),
        ]);
        args.extend(["--sink".to_owned(), "jsonl:-?at=end".to_owned(), "--sink".to_owned()]);
        args.push(format!("{}:{path}/sink/?mode=changes&roll=2KiB,1h", self.form));
        args
    }

    /// Runs it on a disk that suffers `fault`.
    #[track_caller]
    pub fn run_suffering(&self, fault: &Fault) -> (Ended, Vec<Call>) {
        run_suffering(command().args(self.args()), fault)
    }

    /// Runs it on a disk that works.
    #[track_caller]
    fn run(&self) -> Ended {
        run(&self.args().iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Looks at what is left, `after` what: it is sound, and the same command goes on from it to the right answer.
    #[track_caller]
    pub fn goes_on(self, after: &str) {
        let state = self.path.join("state");
        let verified = run(&["state", "verify", state.to_str().unwrap()]);
        let begun = count(&state.join("incarnations")) > 0;
        let said = format!("{}{}", verified.text(), verified.stderr);
        match verified.code {
            Some(0) if begun => {}
            Some(2) if !begun => assert!(said.contains("has no state of a run"), "after {after}\n{said}"),
            code => panic!("after {after}\n`state verify` ends with {code:?}:\n{said}"),
        }
        let answer = self.run();
        assert_eq!(answer.code, Some(0), "after {after}\n{}", answer.stderr);
        assert_eq!(views(answer.text()), self.world.views, "after {after}\n{}", answer.stderr);
        let mut sums: BTreeMap<String, i64> = BTreeMap::new();
        for (row, diff) in changes(&self.path.join("sink"), self.form, after) {
            *sums.entry(row).or_default() += diff;
        }
        sums.retain(|_, sum| *sum != 0);
        assert_eq!(sums, self.world.statuses, "{} after {after}", self.form);
        assert_eq!(count(&state.join(".temporary")), 0, "after {after}");
        fs::remove_dir_all(&self.path).unwrap();
    }
}

fn count(directory: &Path) -> usize {
    directory.read_dir().map_or(0, Iterator::count)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in from.read_dir().unwrap().map(Result::unwrap) {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

/// The files of `view` that the manifest of `sink` lists.
fn listed(sink: &Path, view: &str, after: &str) -> Vec<PathBuf> {
    let mut listed = Vec::new();
    for entry in sink.join("_manifest").read_dir().unwrap().map(Result::unwrap) {
        let entry: serde_json::Value = serde_json::from_slice(&fs::read(entry.path()).unwrap()).unwrap();
        let files = entry["entry"]["files"].as_array().unwrap().iter().filter(|file| file["view"] == view);
        listed.extend(files.map(|file| sink.join(file["path"].as_str().unwrap())));
    }
    let gone: Vec<_> = listed.iter().filter(|path| !path.is_file()).collect();
    assert!(gone.is_empty(), "{gone:?} are listed and not there, after {after}");
    listed
}

/// What column `column` of `view` has in the files of a sink of JSON lines.
pub fn shown(sink: &Path, view: &str, column: &'static str, after: &str) -> impl Iterator<Item = String> {
    let texts = listed(sink, view, after).into_iter().map(|path| fs::read_to_string(path).unwrap());
    let lines: Vec<_> = texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    lines.into_iter().map(move |line| {
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        value["row"][column].as_str().unwrap().to_owned()
    })
}

/// The changes of statuses in the files of `sink`.
fn changes(sink: &Path, form: &str, after: &str) -> Vec<(String, i64)> {
    let mut changes = Vec::new();
    for path in listed(sink, "status_counts", after) {
        let text = || fs::read_to_string(&path).unwrap();
        match form {
            "jsonl" => changes.extend(text().lines().map(of_jsonl)),
            "csv" => changes.extend(text().lines().skip(1).map(of_csv)),
            _ => changes.extend(of_parquet(&path)),
        }
    }
    changes
}

fn of_jsonl(line: &str) -> (String, i64) {
    let value: serde_json::Value = serde_json::from_str(line).unwrap();
    let row = format!("{},{}", value["row"]["status"], value["row"]["count"]);
    (row, value["diff"].as_i64().unwrap())
}

fn of_csv(line: &str) -> (String, i64) {
    let [_, _, diff, row] = line.splitn(4, ',').collect::<Vec<_>>()[..] else { panic!("{line}") };
    (row.to_owned(), diff.parse().unwrap())
}

fn of_parquet(path: &Path) -> Vec<(String, i64)> {
    let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    let change = |row: parquet::record::Row| {
        let fields: Vec<_> = row.get_column_iter().map(|(_, field)| field.clone()).collect();
        let [_, _, Field::Long(diff), status, count] = &fields[..] else { panic!("{fields:?}") };
        (format!("{status},{count}"), *diff)
    };
    reader.get_row_iter(None).unwrap().map(|row| change(row.unwrap())).collect()
}
