//! Embedded runs: the same changes at any number of workers, and every error as a value.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use thalweg::prelude::*;
use thalweg::runtime::RunError;
use thalweg::testing::Script;
use thalweg::{Change, Run};

/// Lines such as `12 north`, counted by ten seconds and word.
fn tens() -> Build {
    Build::new("tens", |flow| {
        let tens = Window::tumbling(Duration::from_secs(10))?;
        let lines = flow.records(Text).event_time(|line| {
            let seconds = std::str::from_utf8(line.split(|byte| *byte == b' ').next()?).ok()?;
            seconds.parse::<i64>().ok()?.checked_mul(1000)
        });
        let word = |line: &[u8]| line.iter().position(|byte| *byte == b' ').map(|at| at + 1);
        let words = lines.by(text("word"), move |line| line.get(word(line.line())?..));
        let counts = words.by_window(tens).count("tens");
        let counts =
            counts.map(["start", "word", "count"], |(window, word, count)| (window.start.0, word, count));
        counts.about("by 10 s").show("tens");
        Ok(())
    })
}

/// Lines, counted by line as a door and a view named `lines`.
fn lines() -> Build {
    Build::new("lines", |flow| {
        flow.records(Text).by(text("line"), |line| Some(line.line())).count("lines").show("lines");
        Ok(())
    })
}

type Tens = (i64, Bytes, isize);

/// Three epochs of lines: in order and not, some without a time, the last without an LF.
fn epochs() -> [String; 3] {
    let line = |n: i64| format!("{} {}\n", n / 3 + n % 7, ["north", "south", "east"][n as usize % 3]);
    let part = |from: i64, to: i64| (from..to).map(line).collect::<String>();
    let last = part(150, 300);
    [part(0, 90), format!("{}no time\n", part(90, 150)), last.trim_end().to_owned()]
}

/// Pushes `lines` in pieces of `size` bytes.
fn push(run: &mut Run, lines: &str, size: usize) {
    lines.as_bytes().chunks(size).for_each(|piece| run.push(piece).unwrap());
}

/// The changes and the final rows of each epoch, the last two of which are those of the end.
fn changes(workers: usize, size: usize) -> (Vec<Change<Tens>>, Vec<Change<Tens>>, InputCounts) {
    let run = Run::of(tens()).workers(workers).arriving(32_503_680_000_000).with_finals();
    let mut run = run.start().unwrap();
    let (mut changes, mut finals) = (Vec::new(), Vec::new());
    let [first, second, last] = epochs();
    for (epoch, lines) in (0..).zip([first, second]) {
        push(&mut run, &lines, size);
        assert_eq!(run.close_epoch().unwrap(), epoch);
        let new = run.changes("tens").unwrap();
        assert!(new.iter().all(|change: &Change<Tens>| change.time.number() == epoch));
        changes.extend(new);
        finals.extend(run.finals("tens").unwrap());
    }
    push(&mut run, &last, size);
    let counts = run.finish().unwrap();
    changes.extend(run.changes("tens").unwrap());
    finals.extend(run.finals("tens").unwrap());
    (changes, finals, counts)
}

#[test]
fn the_number_of_workers_and_the_pieces_change_nothing() {
    let one = changes(1, usize::MAX);
    assert_eq!((one.2.lines, one.2.untimed), (301, 1));
    for (workers, size) in [(1, 1), (2, 7), (3, 1), (3, 100), (4, usize::MAX)] {
        assert_eq!(changes(workers, size), one, "{workers} workers, pieces of {size}");
    }
    // As the kit has it.
    let [first, second, last] = epochs();
    let answer = Script::new(tens()).epoch(first).epoch(second).epoch(last).end().run();
    let show = |change: &Change<Tens>| {
        let (start, word, count) = &change.row;
        format!("{start}\t{}\t{count}", String::from_utf8_lossy(word))
    };
    assert_eq!(one.1.iter().map(show).collect::<Vec<_>>(), answer.finals("tens"));
    for epoch in 0..4 {
        let changed = one.0.iter().filter(|change| change.time.number() == epoch);
        let mut changed: Vec<_> =
            changed.map(|change| format!("{:+}\t{}", change.diff, show(change))).collect();
        let mut expected = answer.changes("tens", epoch);
        changed.sort();
        expected.sort();
        assert_eq!(changed, expected, "epoch {epoch}");
    }
}

#[test]
fn a_line_belongs_to_the_epoch_of_its_end() {
    let mut run = Run::of(lines()).workers(2).start().unwrap();
    let lines = |run: &mut Run| {
        let changes = run.changes::<(Bytes, isize)>("lines").unwrap();
        let text = |row: &Bytes| String::from_utf8_lossy(row).into_owned();
        changes.iter().map(|change| (change.time.number(), text(&change.row.0))).collect::<Vec<_>>()
    };
    run.push("one\ntw").unwrap();
    run.close_epoch().unwrap();
    run.push("o\n").unwrap();
    run.close_epoch().unwrap();
    run.push("three").unwrap();
    assert_eq!(lines(&mut run), [(0, "one".to_owned()), (1, "two".to_owned())]);
    assert_eq!((run.counts().lines, run.finish().unwrap().lines), (2, 3));
    assert_eq!(lines(&mut run), [(2, "three".to_owned())]);
    assert!(matches!(run.close_epoch(), Err(RunError::Over)));
    assert!(matches!(run.finish(), Err(RunError::Over)));
}

#[test]
fn a_panic_as_it_is_built_comes_back() {
    let build = Build::new("moody", |_| panic!("not today"));
    let error = Run::of(build).start().map(drop).unwrap_err();
    assert!(matches!(&error, RunError::Panicked { message, .. } if message == "not today"), "{error}");
}

#[test]
fn what_cannot_be_built_is_not_started() {
    let moody = Build::new("moody", |_| Err(BuildError::new("no good today")));
    let error = Run::of(moody).workers(3).start().unwrap_err();
    assert!(matches!(&error, RunError::Build(error) if error.to_string().contains("no good today")));
    let twice = Build::new("twice", |flow| {
        let lines = flow.records(Text);
        let _ = lines.all().count("door");
        lines.by(text("line"), |line| Some(line.line())).count("door").show("lines");
        Ok(())
    });
    let error = Run::of(twice).workers(2).start().unwrap_err();
    assert!(matches!(&error, RunError::Build(_)), "{error}");
    assert!(error.to_string().contains("two doors are named `door`"), "{error}");
    let error = Run::of(tens()).each::<Tens>("twenties", |_, _| ()).start().unwrap_err();
    assert!(error.to_string().contains("no view `twenties`; its views are tens"), "{error}");
}

/// As for a mistake that only one of the workers makes.
#[test]
fn a_worker_that_cannot_build_ends_all() {
    let built = AtomicUsize::new(0);
    let changing = Build::new("changing", move |flow| {
        if built.fetch_add(1, Ordering::SeqCst) == 2 {
            return Err(BuildError::new("not a third time"));
        }
        flow.records(Text).all().count("lines").show("lines");
        Ok(())
    });
    let failed = Run::of(changing).workers(3).start().and_then(|mut run| run.close_epoch());
    assert!(failed.unwrap_err().to_string().contains("not a third time"));
}

#[test]
fn a_panic_in_a_fold_comes_back() {
    for workers in 1..=4 {
        let fragile = Build::new("fragile", |flow| {
            let states = flow.records(Text).by(text("line"), |line| Some(line.line())).state(
                "lines",
                Timeout::Never,
                |_| Some(()),
                |key, seen, count: Option<isize>, _: &mut Vec<()>| {
                    assert_ne!(&**key, b"boom", "it was too much");
                    let Seen::Values(values) = seen else { return Next::Drop };
                    Next::Keep(count.unwrap_or(0) + values.len() as isize)
                },
            );
            states.states.show("lines");
            Ok(())
        });
        let mut run = Run::of(fragile).workers(workers).start().unwrap();
        run.push("one\ntwo\nthree\n").unwrap();
        run.close_epoch().unwrap();
        run.push("one\nboom\n").unwrap();
        let error = run.close_epoch().unwrap_err();
        assert!(matches!(&error, RunError::Panicked { what, .. } if what.starts_with("worker ")));
        assert!(error.to_string().contains("it was too much"), "{error}");
        // What was closed before is there still.
        assert_eq!(run.changes::<(Bytes, isize)>("lines").unwrap().len(), 3);
        assert!(matches!(run.push("more\n"), Err(RunError::Over)));
        assert!(matches!(run.finish(), Err(RunError::Over)));
    }
}

#[test]
fn a_line_that_ends_the_run_is_an_error() {
    let strict = Build::new("strict", |flow| {
        let json = Json::new([("a", "a")])?.with_mode(JsonMode::FailFast);
        flow.records(json).by(text("line"), |line| Some(line.line())).count("lines").show("lines");
        Ok(())
    });
    let mut run = Run::of(strict).workers(2).start().unwrap();
    run.push("{\"a\": 1}\n{\"a\"\n").unwrap();
    let error = run.close_epoch().unwrap_err();
    assert!(matches!(&error, RunError::Line(line) if line.offset == 9), "{error}");
}

#[test]
fn a_row_that_was_final_is_not_retracted_in_silence() {
    let retracting = || {
        Build::new("retracting", |flow| {
            let lines = flow.records(Text).by(text("line"), |line| Some(line.line())).count("lines");
            flow.facts(["line", "count"], lines.rows()).show("lines");
            Ok(())
        })
    };
    let mut run = Run::of(retracting()).start().unwrap();
    let mut asked = Run::of(retracting()).each::<(Bytes, isize)>("lines", |_, _| ()).start().unwrap();
    for run in [&mut run, &mut asked] {
        run.push("one\n").unwrap();
        run.close_epoch().unwrap();
        run.push("one\n").unwrap();
    }
    run.close_epoch().unwrap();
    let error = run.changes::<(Bytes, isize)>("lines").unwrap_err();
    assert!(matches!(error, RunError::Retracted(_)) && run.push("").is_err());
    assert!(matches!(asked.close_epoch(), Err(RunError::Retracted(_))));
}

#[test]
fn inputs_and_views_go_by_name() {
    let both = Build::new("both", |flow| {
        let asked = flow.read("asked", Text).by(text("line"), |line| Some(line.line())).count("asked");
        let case = flow.read("case", Text).by(text("line"), |line| Some(line.line())).count("case");
        asked.concat(case).show("lines");
        Ok(())
    });
    let mut run = Run::of(both).workers(3).start().unwrap();
    let error = run.push("one\n").unwrap_err();
    assert!(error.to_string().contains("[\"asked\", \"case\"]"), "{error}");
    run.push_to("case", "one\n").unwrap();
    run.push_to("asked", "two\ntwo\n").unwrap();
    run.close_epoch().unwrap();
    let error = run.changes::<(Bytes, u64)>("lines").unwrap_err();
    assert!(error.to_string().contains("view lines (line*: "), "{error}");
    let error = run.changes::<(Bytes, isize)>("line").unwrap_err();
    assert!(matches!(error, RunError::NoSuchView { .. }), "{error}");
    let counts: Vec<_> = run.changes::<(Bytes, isize)>("lines").unwrap().iter().map(|it| it.row.1).collect();
    assert_eq!(counts, [1, 2]);
    assert_eq!(run.changes::<(Bytes, isize)>("lines").unwrap(), []);
    // Without an end, and with lines that nobody has read.
    run.push_to("case", "one\n").unwrap();
}

#[test]
fn the_callbacks_are_given_each_epoch_once() {
    let (to, from) = channel();
    let sum = |changes: &[Change<Tens>]| changes.iter().map(|it| it.row.2 * it.diff).sum::<isize>();
    let second = to.clone();
    let run = Run::of(tens()).workers(2).arriving(32_503_680_000_000);
    let run = run.each::<Tens>("tens", move |epoch, changes| to.send((epoch, sum(&changes))).unwrap());
    let run = run.each::<Tens>("tens", move |epoch, _| second.send((epoch, -1)).unwrap());
    let mut run = run.start().unwrap();
    run.push("1 a\n2 b\n").unwrap();
    run.close_epoch().unwrap();
    run.close_epoch().unwrap();
    run.push("3 b").unwrap();
    run.finish().unwrap();
    assert_eq!(run.changes::<Tens>("tens").unwrap(), []);
    let expected = [(0, 2), (0, -1), (1, 0), (1, -1), (2, 1), (2, -1), (3, 0), (3, -1)];
    assert_eq!(from.try_iter().collect::<Vec<_>>(), expected);
}

/// Which of two workers shows the count of each line.
fn owners(lines: &[String]) -> Vec<usize> {
    let (to, shown) = channel();
    let build = Build::new("owners", move |flow| {
        let counts = flow.records(Text).by(text("line"), |line| Some(line.line())).count("lines");
        let (rows, to) = (counts.rows(), to.clone());
        let worker = rows.scope().index();
        rows.inspect(move |_| to.send(worker).unwrap());
        counts.show("lines");
        Ok(())
    });
    let mut run = Run::of(build).workers(2).start().unwrap();
    lines.iter().for_each(|line| run.push(line.as_bytes()).unwrap());
    run.finish().unwrap();
    shown.try_iter().collect()
}

#[test]
fn whoever_writes_lines_cannot_send_them_all_to_one_worker() {
    // Whatever can be found out beforehand of where keys go, outside of a run.
    let known = |line: &String| thalweg::operators::route(line.trim_end().as_bytes()).is_multiple_of(2);
    let hostile: Vec<_> = (0..1000).map(|at| format!("key {at}\n")).filter(known).collect();
    let owners = owners(&hostile);
    let first = owners.iter().filter(|owner| **owner == 0).count();
    assert!(
        owners.len() >= 400 && first * 4 > owners.len() && first * 4 < owners.len() * 3,
        "{first} of {}",
        owners.len()
    );
}
