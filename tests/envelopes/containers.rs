//! Logs as container engines write and rotate them.
//!
//! Neither Docker nor a kubelet is here: files are written byte for byte as their sources do, which are named.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thalweg::envelope::{EnvelopeFields, Peeled, Peeler};
use thalweg::format::WholeLines;
use thalweg::runtime::now;
use thalweg::source::{Finder, Pool, ReadOptions, Reader, Share, Source, Sources, Step};

use super::{access_log, docker_pieces, sample};
use crate::support::DEADLINE;

/// Follows a source, and peels what comes.
struct Follower {
    source: Arc<dyn Source>,
    finder: Box<dyn Finder>,
    readers: Vec<Box<dyn Reader>>,
    pool: Pool,
    peeler: Peeler,
    /// Lines, each behind what its envelope and its path say of it.
    lines: Vec<String>,
    fields: &'static [&'static str],
}

impl Follower {
    fn new(uri: &str, fields: &'static [&'static str]) -> Self {
        let (_, source) = Sources::builtin().open(uri).unwrap();
        let found = source.find().unwrap();
        let finder = source.finder().unwrap();
        let (readers, pool, peeler, lines) = (Vec::new(), Pool::default(), Peeler::default(), Vec::new());
        let mut follower = Follower { source, finder, readers, pool, peeler, lines, fields };
        follower.open(found);
        follower
    }

    fn open(&mut self, found: Vec<thalweg::source::Found>) {
        for found in found {
            let share = Share { worker: 0, peers: 1 };
            let options = ReadOptions { chunk_bytes: 4096, ..ReadOptions::default() };
            self.readers.push(self.source.open(&found, 0, share, options, Arc::new(|| ())).unwrap());
        }
    }

    /// Looks for files and reads until there are so many lines.
    #[track_caller]
    fn reads(&mut self, lines: usize) {
        let begun = now();
        while self.lines.len() < lines {
            assert!(begun.elapsed() < DEADLINE, "{} of {lines} lines", self.lines.len());
            let found = self.finder.wait(Duration::from_millis(1)).unwrap();
            self.open(found);
            let mut readers = std::mem::take(&mut self.readers);
            readers.retain_mut(|reader| self.read(reader.as_mut()));
            self.readers = readers;
        }
        assert_eq!(self.lines.len(), lines);
    }

    /// Reads what there is; returns whether it goes on.
    fn read(&mut self, reader: &mut dyn Reader) -> bool {
        let fields = EnvelopeFields::default();
        loop {
            match reader.poll(u64::MAX, &self.pool).unwrap() {
                Step::Chunk(chunk) => {
                    let (envelope, mut peeled) = (chunk.envelope.unwrap(), Peeled::default());
                    let raw = WholeLines::new(chunk.bytes());
                    self.peeler.peel(envelope, raw, chunk.given_up, &mut peeled);
                    assert!(peeled.malformed.is_empty(), "{peeled:?}");
                    for (line, (_, text)) in peeled.lines.iter().zip(WholeLines::new(&peeled.bytes).iter()) {
                        let raw = &chunk.bytes()[line.parts[0].clone()];
                        let said = |name: &&str| {
                            let own = fields
                                .get(envelope, raw, name)
                                .map(|it| String::from_utf8(it.into_owned()).unwrap());
                            let path = EnvelopeFields::of_path(envelope.kind, &chunk.place.partition, name);
                            own.or(path.map(str::to_owned)).unwrap_or_default()
                        };
                        let said: Vec<_> = self.fields.iter().map(said).collect();
                        self.lines.push(format!("{} {}", said.join(" "), String::from_utf8_lossy(text)));
                    }
                }
                Step::CaughtUp => return true,
                Step::Ended => return false,
                other => panic!("{other:?}"),
            }
        }
    }
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// Every `n`-th line is longer than Docker's pieces of 16 KiB.
fn line(number: usize) -> String {
    if number.is_multiple_of(7) {
        format!("{number} {}", "x".repeat(40_000))
    } else {
        format!("{number} short")
    }
}

/// Docker with `max-file=3` (daemon/logger/loggerutils/logfile.go of moby): `ID-json.log` becomes `ID-json.log.1`, that `.2`, and a new one
/// is created.
#[test]
fn dockers_logs_are_followed_through_rotation() {
    let dir = tempfile::tempdir().unwrap();
    let container = dir.path().join("0123abc");
    std::fs::create_dir(&container).unwrap();
    let path = |suffix: &str| -> PathBuf { container.join(format!("0123abc-json.log{suffix}")) };
    let uri = format!("docker:{}/*/*-json.log*?poll=20ms", dir.path().display());
    let (mut follower, mut expected) = (Follower::new(&uri, &["container", "stream"]), Vec::new());
    for round in 0..20_usize {
        for number in 10 * round..10 * round + 10 {
            let stream = ["stdout", "stderr"][number % 2];
            for piece in docker_pieces(&line(number), stream, "2024-03-14T09:00:00.123456789Z", 16 << 10) {
                append(&path(""), &piece);
            }
            expected.push(format!("0123abc {stream} {}", line(number)));
        }
        // Some rotations find it read, and some do not.
        if round.is_multiple_of(3) {
            follower.reads(expected.len());
        }
        let _ = std::fs::rename(path(".1"), path(".2"));
        std::fs::rename(path(""), path(".1")).unwrap();
        append(&path(""), "");
        follower.reads(expected.len());
    }
    follower.lines.sort();
    expected.sort();
    assert!(follower.lines == expected, "lines differ");
}

/// The kubelet (pkg/kubelet/logs/container_log_manager.go) renames `0.log` to `0.log.TIME`, and lets the runtime reopen it, which
/// writes to the old one until then. In `/var/log/containers` there are links.
#[test]
fn logs_of_pods_are_followed_through_rotation_and_links() {
    let dir = tempfile::tempdir().unwrap();
    let (pod, links) = (dir.path().join("pods/shop_web-7d4b_8a7c/nginx"), dir.path().join("containers"));
    std::fs::create_dir_all(&pod).unwrap();
    std::fs::create_dir(&links).unwrap();
    let log = pod.join("0.log");
    append(&log, "");
    symlink(&log, links.join("web-7d4b_shop_nginx-0123abc.log")).unwrap();
    let by_links = format!("cri:{}/*.log?poll=20ms", links.display());
    let by_pods = format!("cri:{}/pods/*/*/*.log*?poll=20ms", dir.path().display());
    for (uri, fields, said) in [
        (by_links, &["namespace", "pod", "container", "id", "stream"][..], "shop web-7d4b nginx 0123abc"),
        (
            by_pods,
            &["namespace", "pod", "container", "uid", "restart", "stream"][..],
            "shop web-7d4b nginx 8a7c 0",
        ),
    ] {
        std::fs::write(&log, "").unwrap();
        let (mut follower, mut expected) = (Follower::new(&uri, fields), Vec::new());
        let mut write = |path: &Path, numbers: std::ops::Range<usize>| {
            for number in numbers {
                let (text, time) = (line(number), "2024-03-14T09:00:00.123456789Z");
                let (head, tail) = text.split_at(text.len() / 2);
                append(
                    path,
                    &format!(
                        "{time} stdout P {head}\n{time} stderr F beside {number}\n{time} stdout F {tail}\n"
                    ),
                );
                expected.push(format!("{said} stdout {text}"));
                expected.push(format!("{said} stderr beside {number}"));
            }
            expected.len()
        };
        for round in 0..5 {
            let so_far = write(&log, 10 * round..10 * round + 5);
            follower.reads(so_far);
            let old = pod.join(format!("0.log.20240314-09000{round}"));
            std::fs::rename(&log, &old).unwrap();
            write(&old, 10 * round + 5..10 * round + 8);
            let so_far = write(&log, 10 * round + 8..10 * round + 10);
            follower.reads(so_far);
        }
        follower.lines.sort();
        expected.sort();
        assert!(follower.lines == expected, "lines differ");
        for entry in std::fs::read_dir(&pod).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
}

/// An access log in either has the same counts as without, at rest, by two workers.
#[test]
fn an_access_log_in_a_container_has_the_same_counts() {
    let dir = tempfile::tempdir().unwrap();
    let (docker, cri) = (dir.path().join("abc-json.log"), dir.path().join("0.log"));
    let (mut as_docker, mut as_cri) = (String::new(), String::new());
    for (number, line) in sample().lines().enumerate() {
        let time = "2024-03-14T09:00:00Z";
        as_docker.push_str(
            &docker_pieces(line, "stdout", time, if number.is_multiple_of(5) { 50 } else { 16 << 10 })
                .concat(),
        );
        as_cri.push_str(&format!("{time} stdout F {line}\n"));
    }
    std::fs::write(&docker, as_docker).unwrap();
    std::fs::write(&cri, as_cri).unwrap();
    let plain = dir.path().join("access.log");
    std::fs::write(&plain, sample()).unwrap();
    let expected = access_log(&format!("file:{}", plain.display()));
    for source in [
        format!("docker:{}?follow=false", docker.display()),
        format!("docker+file:{}", docker.display()),
        format!("cri:{}?follow=false", cri.display()),
    ] {
        assert_eq!(access_log(&source), expected, "{source}");
    }
}
