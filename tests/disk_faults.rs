//! Disks that fail, are full, or go away, under the real binary: the run says what could not be done, where and why, and ends; what it had
//! made durable is whole, and the same command on a disk that works goes on to the right answer, and has each epoch once in its sink.
//!
//! A *point* is a kind of call on a part of the state or of a sink: to sync the journal, to give a snapshot its name. Each point is
//! met in each way that counts, by itself; and runs are broken off at calls that are drawn, whatever these are.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

#[path = "disk_faults/disk.rs"]
mod disk;
mod support;
#[path = "disk_faults/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use disk::{CHANGES, Call, Fate, Fault, Reason, calls, run_suffering, suffering};
use support::{Draws, Ended, Running, command, free_ports, rows, run};
use world::{Before, Case, World};

/// A kind of call at a place, after what was before.
type Point = (Before, &'static str, &'static str);

/// What every run does with its state and its sink, by place.
const STATE: &[(&str, &[&str])] = &[
    ("state/.lock", &["create", "truncate", "write"]),
    ("state/.temporary", &["mkdir", "create", "write", "fsync"]),
    ("state/incarnations", &["mkdir", "rename", "fsync"]),
    ("state/journal", &["mkdir", "create", "write", "fsync", "fdatasync"]),
    ("state/tables", &["mkdir", "rename", "fsync"]),
    ("state/manifests", &["mkdir", "rename", "fsync"]),
];
const SINK: &[(&str, &[&str])] = &[
    ("sink/_log", &["mkdir", "create", "write", "fsync", "fdatasync", "unlink"]),
    ("sink/_manifest", &["mkdir", "create", "write", "fsync", "rename"]),
    ("sink/view", &["mkdir", "create", "write", "fsync", "rename"]),
];

/// Each kind of call at each place. Directories are made where nothing was before.
fn points(of: &[(&'static str, &'static [&'static str])]) -> Vec<Point> {
    let before = |name| if name == "mkdir" { Before::Nothing } else { Before::Killed };
    let points = of.iter().flat_map(|(place, names)| names.iter().map(move |name| (*place, *name)));
    points.map(|(place, name)| (before(name), place, name)).collect()
}

/// A world for each thing that may have been before.
struct Worlds([World; 2]);

impl Worlds {
    fn new() -> Self {
        Worlds([Before::Nothing, Before::Killed].map(World::new))
    }

    fn case(&self, before: Before, number: usize) -> Case<'_> {
        self.0[usize::from(before == Before::Killed)].case(number)
    }
}

/// Does `what` with each of `cases` and its number, two at a time.
fn two_at_once<T: Send>(cases: impl IntoIterator<Item = T, IntoIter: Send>, what: impl Fn(usize, T) + Sync) {
    let cases = Mutex::new(cases.into_iter().enumerate());
    let next = || cases.lock().unwrap().next();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| std::iter::from_fn(next).for_each(|(number, case)| what(number, case)));
        }
    });
}

/// The one call that was hit.
#[track_caller]
fn the_hit<'a>(calls: &'a [Call], fault: &Fault) -> &'a Call {
    let hit: Vec<_> = calls.iter().filter(|call| call.hit).collect();
    let [hit] = hit[..] else { panic!("{hit:?} were hit by {fault:?}, of {calls:?}") };
    hit
}

/// The run has ended because of `reason`, and has said what it could not do below `root`.
#[track_caller]
fn has_said(ended: &Ended, root: &Path, reason: Reason, what: &str) {
    let said = format!("after {what}:\n{}", ended.stderr);
    assert_eq!(ended.code, Some(4), "{said}");
    let hint = match reason {
        Reason::Full | Reason::Quota => "hint: make room",
        Reason::ReadOnly => "hint: it can only be read",
        Reason::Broken | Reason::NoLocks => "",
    };
    for text in ["thalweg: ", "cannot ", root.to_str().unwrap(), &reason.text(), hint] {
        assert!(ended.stderr.contains(text), "`{text}` is not in what was said {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

/// Has calls fail at each of `points`, the first and a later one.
fn each_fails(points: &[Point]) {
    let worlds = Worlds::new();
    let cases = points.iter().flat_map(|point| [1, 2].map(|at| (*point, at)));
    two_at_once(cases, |number, ((before, place, name), at)| {
        let (case, mut draws) = (worlds.case(before, number), Draws::new(number as u64));
        let reason = Reason::ALL[draws.below(4)];
        let fate = if number % 3 == 0 { Fate::Late(reason) } else { Fate::Fails(reason) };
        let fault = Fault { at, fate, calls: name, ..case.fault(place) };
        let (ended, calls) = case.run_suffering(&fault);
        let what = format!("{fault:?}");
        // Some are made once; and who holds the state is a service to others.
        if at > 1 && !calls.iter().any(|call| call.hit) || place == "state/.lock" && name != "create" {
            assert_eq!(ended.code, Some(0), "after {what}:\n{}", ended.stderr);
        } else {
            let hit = the_hit(&calls, &fault);
            // What is merged in the background is tried again.
            if ended.code != Some(0) || !ended.stderr.contains("could not be merged or deleted") {
                let of = place.split('/').next().unwrap();
                has_said(&ended, &case.path().join(of), reason, &format!("{what} at {hit:?}"));
            }
        }
        case.goes_on(&format!("{what}\n{}", ended.stderr));
    });
}

#[test]
fn a_state_that_cannot_be_written_ends_the_run_and_is_whole() {
    each_fails(&points(STATE));
}

#[test]
fn a_sink_that_cannot_be_written_ends_the_run_and_has_each_epoch_once() {
    each_fails(&points(SINK));
}

#[test]
fn killed_at_any_point_a_run_is_gone_on_from() {
    let worlds = Worlds::new();
    two_at_once(points(STATE).into_iter().chain(points(SINK)), |number, (before, place, name)| {
        let case = worlds.case(before, number);
        let fate = if number % 2 == 0 { Fate::Killed } else { Fate::Dead };
        let at = if name == "mkdir" || place == "state/.lock" {
            1
        } else {
            1 + Draws::new(number as u64).below(2)
        };
        let fault = Fault { at, fate, calls: name, ..case.fault(place) };
        let (ended, calls) = case.run_suffering(&fault);
        let hit = the_hit(&calls, &fault);
        assert_eq!(ended.code, None, "{fault:?} at {hit:?}:\n{}", ended.stderr);
        case.goes_on(&format!("{fault:?} at {hit:?}"));
    });
}

/// From some call on, nothing can be written any more; nor when it is tried again. Then there is room.
#[test]
fn a_disk_that_is_full_is_said_each_time_until_there_is_room() {
    let worlds = Worlds::new();
    // To delete does not need room.
    const NEED: &str = "write,fsync,fdatasync,create,mkdir,rename,link";
    two_at_once(0..20, |number, _| {
        let mut draws = Draws::new(number as u64);
        let case = worlds.case([Before::Killed, Before::Nothing][draws.below(2)], number);
        let reason = Reason::ALL[number % 4];
        let calls = if reason == Reason::Full || reason == Reason::Quota { NEED } else { CHANGES };
        let at = 1 + draws.below(120);
        let fault = Fault { at, fate: Fate::Fails(reason), calls, lasts: true, ..case.fault("") };
        for at in [at, 1] {
            let fault = Fault { at, ..fault.clone() };
            let (ended, calls) = case.run_suffering(&fault);
            assert!(calls.iter().any(|call| call.hit), "{fault:?}");
            has_said(&ended, case.path(), reason, &format!("{fault:?}"));
        }
        case.goes_on(&format!("{fault:?}"));
    });
}

#[test]
fn what_is_written_by_halves_is_written_on() {
    let worlds = Worlds::new();
    let places = ["state/.temporary", "state/journal", "sink/_log", "sink/_manifest", "sink/view"];
    two_at_once(places, |number, place| {
        let case = worlds.case(Before::Killed, number);
        let fault = Fault { at: 1, fate: Fate::Short, calls: "write", lasts: true, ..case.fault(place) };
        let (ended, calls) = case.run_suffering(&fault);
        assert!(calls.iter().filter(|call| call.hit).count() > 1, "{calls:?}");
        assert_eq!(ended.code, Some(0), "{fault:?}:\n{}", ended.stderr);
        case.goes_on(&format!("{fault:?}"));
    });
}

/// What cannot be read is said, or an older snapshot does.
#[test]
fn what_cannot_be_read_is_not_taken_for_nothing() {
    let worlds = Worlds::new();
    let points: [(&str, &[&str]); 6] = [
        ("state/.temporary", &["list"]),
        ("state/incarnations", &["list", "open", "read"]),
        ("state/journal", &["list", "open", "read"]),
        ("state/manifests", &["list", "open", "read"]),
        ("state/tables", &["open", "read"]),
        ("sink/_manifest", &["list", "open", "read"]),
    ];
    two_at_once(self::points(&points), |number, (before, place, name)| {
        let case = worlds.case(before, number);
        let reason = Reason::Broken;
        let fault = Fault { at: 1, fate: Fate::Fails(reason), calls: name, ..case.fault(place) };
        let (ended, calls) = case.run_suffering(&fault);
        let hit = the_hit(&calls, &fault);
        match ended.code {
            Some(0) => {
                drop(ended.says(&["a snapshot is damaged, and an older one is gone on from", &reason.text()]))
            }
            _ => has_said(&ended, case.path(), reason, &format!("{fault:?} at {hit:?}")),
        }
        case.goes_on(&format!("{fault:?} at {hit:?}"));
    });
}

/// Then nobody is kept away but by fencing.
#[test]
fn a_disk_without_locks_does() {
    let worlds = Worlds::new();
    let case = worlds.case(Before::Killed, 0);
    let fate = Fate::Fails(Reason::NoLocks);
    let fault = Fault { at: 1, fate, calls: "lock", lasts: true, ..case.fault("state") };
    let (ended, calls) = case.run_suffering(&fault);
    assert!(calls.iter().any(|call| call.path.ends_with(".lock")), "{calls:?}");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    case.goes_on("there were no locks");
}

/// A limit of the system itself.
#[test]
fn files_that_may_not_grow_are_a_full_disk() {
    let worlds = Worlds::new();
    let case = worlds.case(Before::Nothing, 0);
    let mut sh = Command::new("sh");
    sh.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_thalweg")]);
    sh.args(case.args()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ended = Running::start(&mut sh).wait().exits(4);
    let ended = ended.says(&["cannot ", "File too large", "hint: make room", case.path().to_str().unwrap()]);
    case.goes_on(&ended.stderr);
}

/// Another process than the first, which writes the rows of its own workers.
#[test]
fn a_process_whose_disk_fails_ends_all_and_they_go_on() {
    let worlds = Worlds::new();
    let points = [("state/.temporary", "create"), ("state/.temporary", "fsync"), ("state/tables", "rename")];
    for (number, (place, name)) in points.into_iter().enumerate() {
        let case = worlds.case(Before::Killed, number);
        let fault = Fault { at: 1, calls: name, ..case.fault(place) };
        let ports = free_ports(2);
        let hosts = case.path().join("hosts");
        std::fs::write(&hosts, format!("127.0.0.1:{}\n127.0.0.1:{}\n", ports[0], ports[1])).unwrap();
        let process = |process: &str| {
            let mut command = command();
            command.args(case.args()).args(["-n", "2", "-p", process, "-h", hosts.to_str().unwrap()]);
            command
        };
        let first = Running::start(&mut process("0"));
        let (second, calls) = run_suffering(&mut process("1"), &fault);
        let hit = the_hit(&calls, &fault);
        has_said(&second, &case.path().join("state"), Reason::Broken, &format!("{fault:?} at {hit:?}"));
        first.wait().exits(6);
        case.goes_on(&format!("{fault:?} at {hit:?}"));
    }
}

/// What a pipe has given is there once, or it is not there, and was not shown.
#[test]
fn a_pipe_is_counted_once_whatever_fails() {
    let points = ["mkdir", "create", "write", "fsync", "fdatasync"];
    let points = points.into_iter().flat_map(|name| [1, 2].map(|at| (name, at)));
    two_at_once(points, |number, (name, at)| {
        let dir = world::directory();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let sink = format!("jsonl:{}/?mode=update", path("sink"));
        let args = ["run", "word-count", "-", "--state", &path("state"), "--sink", &sink, "--tick", "2ms"];
        let args =
            [&args[..], &["--snapshot-every", "1ms", "--sink", "jsonl:-?mode=complete&at=end"]].concat();
        let reason = Reason::ALL[number % 4];
        let below = path("state/spool");
        let fault = Fault { at, calls: name, below, lasts: false, fate: Fate::Fails(reason) };
        let log = dir.path().join("calls");
        let mut command = command();
        suffering(command.args(&args).stdin(Stdio::piped()), &fault, &log);
        let mut running = Running::start(&mut command);
        let mut stdin = running.stdin();
        // Until it ends, or has all.
        for line in 0..4000 {
            if writeln!(stdin, "w{line}").is_err() {
                break;
            }
            if line % 100 == 0 {
                std::thread::yield_now();
            }
        }
        drop(stdin);
        let ended = running.wait();
        let hit = calls(&log).into_iter().any(|call| call.hit);
        assert!(hit || at > 1, "{fault:?}");
        if hit {
            has_said(&ended, dir.path(), reason, &format!("{fault:?}"));
        }
        let answer = run(&args).exits(0);
        let counted = rows(&answer.stdout, "words");
        let mut words = BTreeSet::new();
        for row in &counted {
            assert_eq!(row["count"], 1, "{fault:?}: {row}");
            words.insert(row["word"].as_str().unwrap().to_owned());
        }
        // What was given first, and no more than that.
        assert!((0..words.len()).all(|line| words.contains(&format!("w{line}"))), "{fault:?}: {words:?}");
        assert!(ended.code != Some(0) || words.len() == 4000, "{fault:?}: {} words", words.len());
        let sink = dir.path().join("sink");
        let shown: BTreeSet<_> = world::shown(&sink, "words", "word", &format!("{fault:?}")).collect();
        assert_eq!(shown, words, "{fault:?}");
    });
}
