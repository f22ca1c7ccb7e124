//! Two doors may not share a name, nor two views, and who opens the second is told where the first is.

use std::panic::Location;
use std::time::Duration;

use thalweg::dataflow::{Mistake, Outline};
use thalweg::door::{Lines, Parsed, Partials};
use thalweg::prelude::*;
use thalweg::view::Misbuilt;

use crate::lines::{Pair, Pairs, run_lines};

/// What a door is opened on: the dataflow, records that tell their times, and a name for what a door needs beside it.
struct On<'a, 'scope> {
    flow: &'a mut Flow<'scope>,
    pairs: &'a Records<'scope, Pairs>,
    beside: &'a str,
}

/// Opens a door named `same`, and returns the line on which it did.
type Open = for<'a, 'scope> fn(On<'a, 'scope>) -> u32;

fn key<'a>(pair: &Parsed<'a, Pairs>) -> Option<&'a [u8]> {
    let Pair { key, .. } = **pair;
    Some(key)
}

fn value(pair: &Parsed<'_, Pairs>) -> Option<i64> {
    pair.value
}

fn minute() -> Window {
    Window::tumbling(Duration::from_secs(60)).unwrap()
}

fn gap() -> Gap {
    Gap::new(Duration::from_secs(60)).unwrap()
}

/// Every kind of door; each is opened on the line that it returns.
#[rustfmt::skip]
const DOORS: &[Open] = &[
    |on| { on.pairs.sums_by("same", |_, _: &mut Partials<Bytes, i64>| ()); line!() },
    |on| { let _ = on.pairs.by(text("key"), key).collect("same"); line!() },
    |on| { let _ = on.pairs.by_each(column::<u8>("byte"), |_, _| ()).collect("same"); line!() },
    |on| { let _ = on.pairs.by(text("key"), key).count("same"); line!() },
    |on| { let _ = on.pairs.by(text("key"), key).sum("same", value); line!() },
    |on| { let _ = on.pairs.by(text("key"), key).min("same", value); line!() },
    |on| { let _ = on.pairs.by(text("key"), key).max("same", value); line!() },
    |on| { let _ = on.pairs.by(text("key"), key).stats("same", value); line!() },
    |on| { let _ = on.pairs.by(text("key"), key).quantiles("same", |_| Some(1)); line!() },
    |on| { let _ = on.pairs.by(text("key"), key).distinct("same", number("value"), value); line!() },
    |on| { let _ = on.pairs.by(text("key"), key).approx_distinct("same", key); line!() },
    |on| { let _ = on.pairs.all().fold("same", |_, n: &mut i64| *n += 1); line!() },
    |on| { let _ = on.pairs.all().aggregate("same", |all| all.count("n").sum("sum", value)); line!() },
    |on| { let _ = on.pairs.by(text("key"), key).by_window(minute()).count("same"); line!() },
    |on| { let _ = on.pairs.by(text("key"), key).by_window(minute()).distinct("same", number("value"), value); line!() },
    |on| { let _ = on.pairs.by(text("key"), key).over_last(minute()).sum("same", value); line!() },
    |on| { let _ = on.pairs.by(text("key"), key).over_last(minute()).distinct("same", number("value"), value); line!() },
    |on| { let _ = on.pairs.by(text("key"), key).by_session(gap()).stats("same", value); line!() },
    |on| { let _ = on.pairs.by(text("key"), key).by_session(gap()).distinct("same", number("value"), value); line!() },
    |on| { let _ = on.pairs.by(text("key"), key).first_within("same", Duration::ZERO, (), |_| Some(())); line!() },
    |on| { let _ = on.pairs.by(text("key"), key).events("same", (), |_| Some(())); line!() },
    |on| {
        let left = on.pairs.by(text("key"), key).events(on.beside, (), |_| Some(()));
        let _ = left.clone().join("same", left, Within::after(Duration::ZERO)); line!()
    },
    |on| {
        let left = on.pairs.by(text("key"), key).events(on.beside, (), |_| Some(()));
        let _ = left.clone().left_join("same", left, Within::after(Duration::ZERO)); line!()
    },
    |on| {
        let keep = |_: &Bytes, _: Seen<'_, i64>, _: Option<u8>, _: &mut Vec<u8>| Next::Drop;
        let _ = on.pairs.by(text("key"), key).state("same", Timeout::Never, value, keep); line!()
    },
    |on| { let _ = on.pairs.refused("same", text("key"), key); line!() },
    |on| { let _ = on.pairs.by(text("key"), key).collect(on.beside).count("same"); line!() },
    |on| {
        let keys = on.pairs.by(text("key"), key).collect(on.beside).rows();
        let _ = on.flow.totals("same", keys); line!()
    },
];

/// What is wrong where `build` opens its doors, and where.
fn mistake(
    build: impl for<'a, 'scope> Fn(&'a mut Flow<'scope>) + Send + Sync + 'static,
) -> Result<Outline, (Misbuilt, &'static Location<'static>)> {
    let build = Build::new("names", move |flow| {
        build(flow);
        flow.read("other", Text).input().show("shown");
        Ok(())
    });
    build.check().map_err(|error| match error.mistake {
        Mistake::Misbuilt(mistake) => (mistake, error.place),
        other => panic!("{other}"),
    })
}

fn timed<'scope>(flow: &mut Flow<'scope>) -> Records<'scope, Pairs> {
    flow.records(Pairs).event_time(value)
}

/// The line of each door, from opening it alone, which is no mistake.
fn line_of(door: Open) -> u32 {
    let (to, from) = std::sync::mpsc::channel();
    let alone = mistake(move |flow| {
        let pairs = &timed(flow);
        to.send(door(On { flow, pairs, beside: "beside" })).unwrap();
    });
    assert!(alone.is_ok(), "{alone:?}");
    from.recv().unwrap()
}

#[test]
fn doors_of_one_name_are_a_mistake_with_both_places() {
    let lines: Vec<_> = DOORS.iter().map(|door| line_of(*door)).collect();
    for (first, first_line) in DOORS.iter().zip(&lines) {
        for (second, second_line) in DOORS.iter().zip(&lines) {
            for same_records in [true, false] {
                let found = mistake(move |flow| {
                    let pairs = &timed(flow);
                    first(On { flow, pairs, beside: "one" });
                    if same_records {
                        second(On { flow, pairs, beside: "another" });
                    } else {
                        let pairs = &timed(flow);
                        second(On { flow, pairs, beside: "another" });
                    }
                });
                let (mistake, place) = found.expect_err("two of one name");
                let Misbuilt::DoorTwice { name, other } = mistake else { panic!("{mistake}") };
                assert_eq!(name, "same");
                assert_eq!(
                    [(other.file(), other.line()), (place.file(), place.line())],
                    [(file!(), *first_line), (file!(), *second_line)]
                );
            }
        }
    }
}

#[test]
fn the_input_is_a_door_too() {
    let found = mistake(|flow| {
        let pairs = flow.records(Pairs);
        let _ = pairs.by(text("key"), key).count("input");
        let _ = pairs.input();
    });
    assert!(matches!(found, Err((Misbuilt::DoorTwice { name, .. }, _)) if name == "input"));
}

#[test]
fn views_of_one_name_are_a_mistake_with_both_places() {
    let before = line!();
    let found = mistake(|flow| {
        let counts = flow.records(Pairs).by(text("key"), key).count("counts");
        counts.clone().show("view");
        counts.more_than(1).show("view");
    });
    let (mistake, place) = found.expect_err("two of one name");
    let Misbuilt::ViewTwice { view, other } = mistake else { panic!("{mistake}") };
    assert_eq!((view.as_str(), other.file(), place.file()), ("view", file!(), file!()));
    assert_eq!([other.line(), place.line()], [before + 3, before + 4]);
}

#[test]
fn as_many_columns_are_named_as_there_are() {
    let named = |columns: &'static [&'static str]| {
        mistake(move |flow| {
            let counts = flow.records(Pairs).by(text("key"), key).count("counts");
            counts.columns(columns.iter().map(ToString::to_string).collect::<Vec<_>>()).show("view");
        })
    };
    for columns in [&[][..], &["one"], &["one", "two", "three"]] {
        let (mistake, place) = named(columns).expect_err("not two names");
        let Misbuilt::Columns { view, columns: 2, names } = mistake else { panic!("{mistake}") };
        assert_eq!((view.as_str(), place.file()), ("view", file!()));
        assert_eq!(names, columns);
    }
    assert_eq!(named(&["one", "two"]).unwrap().views[0].columns.len(), 2);
}

/// A door that goes by time needs records that tell theirs; the others do not.
#[test]
fn what_goes_by_time_needs_times() {
    for open in DOORS {
        let line = line_of(*open);
        let by_time = {
            let source = include_str!("names.rs").lines().nth(line as usize - 1).unwrap();
            ["by_window", "over_last", "by_session", "first_within", "refused", "events", "join"]
                .iter()
                .any(|word| source.contains(word))
        };
        let found = mistake(move |flow| {
            let pairs = &flow.records(Pairs);
            open(On { flow, pairs, beside: "beside" });
        });
        let untimed = matches!(found, Err((Misbuilt::NoTimes { .. }, _)));
        assert_eq!(untimed, by_time, "the door of line {line}: {found:?}");
    }
}

/// Names are those of one dataflow: another one may use them again.
#[test]
fn another_dataflow_has_its_own_names() {
    let nothing = || crate::lines::Text { epochs: vec![], steps: vec![0] };
    let door = |lines: &Lines<'_>| {
        let pairs = lines.records(Pairs);
        let _ = pairs.by(column::<u8>("byte"), |_| None).collect("same");
    };
    let ran = run_lines(1, &nothing(), move |lines: &Lines<'_>| {
        door(lines);
        (lines.records(Pairs).input().rows(), Box::new(|| ()))
    });
    assert_eq!(ran.content(Epoch::new(0)).len(), 1);
    run_lines(2, &nothing(), move |lines: &Lines<'_>| {
        door(lines);
        (lines.records(Pairs).input().rows(), Box::new(|| ()))
    });
}
