//! Writers that die, live on when they should not, and find no room.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::stand::{Stand, expected, found, listed};

/// What tells this program that it is to write, and not to test.
const DIRECTORY: &str = "THALWEG_TEST_FILES";
const INCARNATION: &str = "THALWEG_TEST_INCARNATION";
const STATE: Option<u128> = Some(7);

/// Not a test: the process that others kill. It says which epochs are durable.
#[test]
#[allow(clippy::disallowed_methods, clippy::print_stdout, reason = "it is a program of its own")]
fn writer() {
    let Ok(uri) = std::env::var(DIRECTORY) else { return };
    let incarnation = std::env::var(INCARNATION).unwrap().parse().unwrap();
    let mut stand = Stand::open(&uri, incarnation, STATE).unwrap();
    let next = stand.committed.map_or(0, |epoch| epoch + 1);
    println!("\nopened {next}");
    for epoch in next.. {
        stand.epoch(epoch).unwrap_or_else(|error| panic!("{error}"));
        // Some share a sync.
        if epoch % 3 != 1 {
            stand.settle().unwrap_or_else(|error| panic!("{error}"));
            println!("\ndurable {epoch}");
        }
    }
}

/// Has the writer go on for about so many durable epochs, and kills it. Returns what it opened with, and the last durable epoch.
fn killed_after(uri: &str, incarnation: u64, lines: usize) -> (u64, Option<u64>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "crashes::writer", "--nocapture"]).env(DIRECTORY, uri);
    command.env(INCARNATION, incarnation.to_string()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut opened, mut durable, mut seen) = (None, None, 0);
    let said = BufReader::new(child.stdout.take().unwrap());
    for line in said.lines().map_while(Result::ok) {
        if let Some(next) = line.strip_prefix("opened ") {
            opened = Some(next.parse().unwrap());
        } else if let Some(epoch) = line.strip_prefix("durable ") {
            durable = epoch.parse().ok().or(durable);
            seen += 1;
        }
        // It goes on writing until the signal arrives, and what it says until then counts.
        if opened.is_some() && seen >= lines {
            child.kill().unwrap();
        }
    }
    let output = child.wait_with_output().unwrap();
    let opened = opened.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (opened, durable)
}

#[test]
fn each_epoch_is_there_once_however_often_the_writer_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let uri = format!("jsonl:{}/?mode=append&roll=600B", dir.path().display());
    let (mut upto, mut draws) = (0, 0x9e37_79b9_u64);
    for incarnation in 0..40 {
        draws = draws.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (opened, durable) = killed_after(&uri, incarnation, (draws >> 33) as usize % 40);
        assert!(opened >= upto, "round {incarnation}: {upto} epochs were durable, and {opened} are there");
        upto = durable.map_or(opened, |epoch| epoch + 1);
    }
    let mut stand = Stand::open(&uri, 40, STATE).unwrap();
    let upto = stand.committed.map_or(0, |epoch| epoch + 1);
    assert!(upto > 100, "{upto} epochs");
    stand.sink.finish().unwrap();
    assert!(found(dir.path()) == expected(upto));
    assert_eq!(leftovers(dir.path()), Vec::<String>::new());
}

/// Files that nothing lists.
fn leftovers(dir: &Path) -> Vec<String> {
    let listed: Vec<_> = listed(dir).into_iter().map(|(_, path)| path).collect();
    let mut left = Vec::new();
    for directory in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        for path in std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()) {
            let is_entry =
                directory.ends_with("_manifest") && path.extension().is_some_and(|it| it == "json");
            if !is_entry && !listed.contains(&path) {
                left.push(path.display().to_string());
            }
        }
    }
    left
}

/// A run that was given up for dead goes on at any moment of the next one.
#[test]
fn what_a_zombie_writes_is_never_listed() {
    for at in 0..12 {
        let dir = tempfile::tempdir().unwrap();
        let uri = format!("jsonl:{}/?mode=append&roll=1GiB", dir.path().display());
        let mut zombie = Stand::open(&uri, 0, STATE).unwrap();
        for epoch in 0..at {
            zombie.epoch(epoch).unwrap();
        }
        if at % 3 == 1 {
            zombie.settle().unwrap();
        }
        let durable = if at % 3 == 1 { at } else { 0 };
        let mut next = Stand::open(&uri, 1, STATE).unwrap();
        assert_eq!(next.committed, u64::checked_sub(durable, 1));
        for epoch in durable..20 {
            next.epoch(epoch).unwrap();
            if epoch == durable + at {
                // Without a log it finds out as it begins one, and otherwise as it is to make files of it.
                let went_on = zombie.epoch(at);
                assert!(went_on.is_ok() == (at > 0));
                let error = went_on.and_then(|()| zombie.sink.finish()).unwrap_err().to_string();
                for part in ["another run has taken", "is 1, ours 0", "hint"] {
                    assert!(error.contains(part), "{error}");
                }
            }
        }
        next.sink.finish().unwrap();
        assert!(found(dir.path()) == expected(20), "zombie at {at}");
        assert_eq!(leftovers(dir.path()), Vec::<String>::new());
        // Nor does it come back.
        let error = Stand::open(&uri, 0, STATE).err().unwrap().to_string();
        assert!(error.contains("another run has taken"), "{error}");
    }
}

#[test]
fn a_directory_of_another_run_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let uri = format!("jsonl:{}/?mode=append", dir.path().display());
    let mut first = Stand::open(&uri, 0, None).unwrap();
    (0..5).for_each(|epoch| first.epoch(epoch).unwrap());
    first.sink.finish().unwrap();
    for (incarnation, state) in [(0, None), (0, STATE), (9, STATE)] {
        let error = Stand::open(&uri, incarnation, state).err().unwrap().to_string();
        for part in [&*uri, "the epochs before 5 of another run", "hint: name another directory"] {
            assert!(error.contains(part), "{error}");
        }
    }
    assert!(found(dir.path()) == expected(5));
}

#[test]
fn a_damaged_entry_is_named_and_a_torn_log_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let uri = format!("jsonl:{}/?mode=append&roll=1GiB", dir.path().display());
    let mut stand = Stand::open(&uri, 0, STATE).unwrap();
    for epoch in 0..6 {
        stand.epoch(epoch).unwrap();
        stand.settle().unwrap();
    }
    drop(stand);
    let log = std::fs::read_dir(dir.path().join("_log")).unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read(&log).unwrap();
    // Wherever it breaks off, what is there are whole epochs, and no fewer than before that byte.
    let mut seen = 0;
    for end in (0..=whole.len()).step_by(7).chain([whole.len()]) {
        let copy = tempfile::tempdir().unwrap();
        for name in ["_log", "_manifest"] {
            std::fs::create_dir(copy.path().join(name)).unwrap();
            for entry in std::fs::read_dir(dir.path().join(name)).unwrap().map(Result::unwrap) {
                std::fs::copy(entry.path(), copy.path().join(name).join(entry.file_name())).unwrap();
            }
        }
        std::fs::write(copy.path().join("_log").join(log.file_name().unwrap()), &whole[..end]).unwrap();
        let uri = format!("jsonl:{}/?mode=append", copy.path().display());
        let upto = Stand::open(&uri, 1, STATE).unwrap().committed.map_or(0, |epoch| epoch + 1);
        assert!(upto >= seen, "{end} bytes");
        seen = upto;
        assert!(found(copy.path()) == expected(upto), "{end} bytes");
    }
    assert_eq!(seen, 6);
    let entry = dir.path().join("_manifest/000000000000.json");
    let text = std::fs::read_to_string(&entry).unwrap();
    std::fs::write(&entry, text.replace("\"upto\":0", "\"upto\":9")).unwrap();
    let error = Stand::open(&uri, 1, STATE).err().unwrap().to_string();
    assert!(error.contains("000000000000.json is damaged: its checksum"), "{error}");
}

/// A limit on the size of files stands for a disk that is full: the system refuses the write in the same place.
#[test]
fn without_room_the_error_is_clear_and_what_was_listed_stays() {
    let dir = tempfile::tempdir().unwrap();
    let uri = format!("jsonl:{}/?mode=append&roll=400B", dir.path().display());
    let mut stand = Stand::open(&uri, 0, STATE).unwrap();
    for epoch in 0..10 {
        stand.epoch(epoch).unwrap();
        stand.settle().unwrap();
    }
    drop(stand);
    let before = found(dir.path());
    assert!(!before.is_empty());
    // In another process, or the limit would hold for the other tests as well.
    let mut command = Command::new("sh");
    let program = std::env::current_exe().unwrap();
    command.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$0\" --exact crashes::writer --nocapture"]);
    command.arg(program).env(DIRECTORY, uri.replace("400B", "1GiB")).env(INCARNATION, "1");
    let output = command.output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot write") && said.contains("File too large"), "{said}");
    let mut stand = Stand::open(&uri, 2, STATE).unwrap();
    let upto = stand.committed.unwrap() + 1;
    assert!(upto >= 10);
    stand.epoch(upto).unwrap();
    stand.sink.finish().unwrap();
    assert!(found(dir.path()) == expected(upto + 1));
}
