//! Two doors may not share a name, and who opens the second is told where the first is.

use thalweg::data::Bytes;
use thalweg::door::{Lines, Records};
use thalweg::time::Epoch;

use crate::lines::{Pairs, Text, run_lines};
use crate::oracle::panic_message;

type Opened<'a, 'scope> = &'a mut Records<'scope, Pairs>;

/// Opens a door named `same`, and returns the line on which it did.
type Open = for<'a, 'scope> fn(Opened<'a, 'scope>) -> u32;

fn nothing() -> Text {
    Text { epochs: vec![], steps: vec![0] }
}

/// Every kind of door; each is opened on the line that it returns.
#[rustfmt::skip]
const DOORS: [Open; 7] = [
    |pairs| { pairs.sums_by::<Bytes, i64>("same", |_, _| ()); line!() },
    |pairs| { pairs.count_by::<Bytes>("same", |pair| Some(pair.key)); line!() },
    |pairs| { pairs.sum_by::<Bytes, _>("same", |pair| Some((pair.key, 1))); line!() },
    |pairs| { pairs.stats_by::<Bytes, _>("same", |pair| Some((pair.key, 1))); line!() },
    |pairs| { pairs.sum_all::<i64>("same", |_, n| *n += 1); line!() },
    |pairs| { pairs.collect::<Bytes>("same", |pair| Some(pair.key)); line!() },
    |pairs| { pairs.collect_each::<u8>("same", |_, _| ()); line!() },
];

/// The line of each door, from opening it alone.
fn line_of(door: Open) -> u32 {
    let ran = run_lines(1, &nothing(), move |lines: &Lines<'_>| {
        let mut pairs = lines.records(Pairs);
        let line = door(&mut pairs);
        (pairs.input(), Box::new(move || line))
    });
    ran.observed[0][0]
}

#[test]
fn doors_of_one_name_panic_with_both_places() {
    for first in DOORS {
        for second in DOORS {
            for same_records in [true, false] {
                let message = panic_message(|| {
                    run_lines(1, &nothing(), move |lines: &Lines<'_>| {
                        let mut pairs = lines.records(Pairs);
                        first(&mut pairs);
                        if same_records {
                            second(&mut pairs);
                        } else {
                            second(&mut lines.records(Pairs));
                        }
                        (pairs.input(), Box::new(|| ()))
                    });
                });
                let places = [line_of(first), line_of(second)].map(|line| format!("{}:{line}:", file!()));
                let [before, after] = places.map(|place| message.find(&place).map(|at| (at, place)));
                let (Some(before), Some(after)) = (before, after) else {
                    panic!("not both places: {message}")
                };
                assert!(message.contains("`same`"), "{message}");
                // The same door opened twice stands twice in the message.
                assert!(before != after || message.matches(&before.1).count() == 2, "{message}");
            }
        }
    }
}

/// Names are those of one dataflow: another one may use them again.
#[test]
fn another_dataflow_has_its_own_names() {
    let door = |lines: &Lines<'_>| {
        let mut pairs = lines.records(Pairs);
        pairs.collect::<u8>("same", |_| None);
    };
    let ran = run_lines(1, &nothing(), move |lines: &Lines<'_>| {
        door(lines);
        (lines.records(Pairs).input(), Box::new(|| ()))
    });
    assert_eq!(ran.content(Epoch::new(0)).len(), 1);
    run_lines(2, &nothing(), move |lines: &Lines<'_>| {
        door(lines);
        (lines.records(Pairs).input(), Box::new(|| ()))
    });
}
