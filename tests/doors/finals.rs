//! What is final: emitted whenever anything consumes it, bounded where whole views keep it, and never taken back.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use differential_dataflow::AsCollection;
use proptest::prelude::*;
use thalweg::data::Bytes;
use thalweg::dataflow::{Build, Flow};
use thalweg::door::{Lines, text};
use thalweg::format::Text;
use thalweg::sink::{At, Attached, Console, Jsonl, Mode, Outputs, Shows, Sink, SinkError, Start};
use thalweg::source::Progress;
use thalweg::time::Time;
use thalweg::time::{Epoch, Span, TimeOptions, Window};
use thalweg::view::Keep;
use timely::dataflow::operators::Input;

use crate::oracle::{cases, on_workers};

/// Nothing appends here, and nothing is shown at all; the dataflow itself goes by what is final.
#[test]
fn final_rows_are_made_for_whoever_consumes_them() {
    let lines = b"1 a\n2 b\n3 b\n61 a\n200 b\n";
    let tens = Window::tumbling(Duration::from_secs(60)).unwrap();
    let windows = [0, 60_000].map(|start| Span::new(start, start + 60_000));
    let [first, second] = windows;
    let final_in = |top: bool| {
        thalweg::testing::collection(Text, lines, move |records| {
            let records = records.event_time(|line| {
                let seconds = std::str::from_utf8(line.split(|byte| *byte == b' ').next()?).ok()?;
                seconds.parse().ok().map(|seconds: i64| 1000 * seconds)
            });
            let keys = records.by(text("key"), |line| line.rsplit(|b| *b == b' ').next());
            let counts = keys.by_window(tens).count("tens");
            let both = counts.clone().concat(counts.clone()).finals();
            let both = both.map((), |(span, key, count)| (span, 0, key, count));
            if top { counts.top(1).finals().rows() } else { both.rows() }
        })
    };
    let (a, b) = (Bytes::from("a"), Bytes::from("b"));
    let tops = [((first, 1, b.clone(), 2), 1), ((second, 1, a.clone(), 1), 1)];
    assert_eq!(final_in(true), tops);
    let twice = [((first, 0, a.clone(), 1), 2), ((first, 0, b, 2), 2), ((second, 0, a, 1), 2)];
    assert_eq!(final_in(false), twice);
}

type Row = (Time, i64);

/// How a view is given.
#[derive(Clone, Copy, Debug)]
enum Given {
    Table,
    Appended,
}

#[derive(Clone, Debug, Default)]
struct Tape(Arc<Mutex<Vec<u8>>>);

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What `sink` writes of a view that has `rows`, of which `finals` have become final.
fn written(
    given: Given,
    rows: Vec<(Row, u64, isize)>,
    finals: Vec<(Row, u64, isize)>,
    shows: Shows,
    sink: fn(Tape) -> Box<dyn Sink>,
) -> Result<String, SinkError> {
    let tape = Tape::default();
    let recorded = tape.clone();
    let mut ran = on_workers(1, move |worker, together| {
        let ((mut to_rows, mut to_finals), installed) = worker.dataflow::<Epoch, _, _>(|scope| {
            let (lines, _) = Lines::fed(scope, Arc::new(Progress::default()), TimeOptions::default());
            let flow = Flow::new(scope, lines, Shows::deliveries([shows]));
            let (to_rows, rows) = scope.new_input::<Vec<(Row, Epoch, isize)>>();
            let (to_finals, finals) = scope.new_input::<Vec<(Row, Epoch, isize)>>();
            match given {
                Given::Table => {
                    flow.windowed(["start", "n"], rows.as_collection(), finals.as_collection())
                        .show("windows");
                }
                Given::Appended => flow.facts(["start", "n"], rows.as_collection()).show("windows"),
            }
            ((to_rows, to_finals), flow.finish().unwrap())
        });
        rows.iter().for_each(|(row, epoch, diff)| to_rows.send((*row, Epoch::new(*epoch), *diff)));
        finals.iter().for_each(|(row, epoch, diff)| to_finals.send((*row, Epoch::new(*epoch), *diff)));
        to_rows.close();
        to_finals.close();
        together.step_until(worker, |_| installed.probe.done());
        let epochs = rows.iter().chain(&finals).map(|(_, epoch, _)| epoch + 1).max().unwrap_or(0);
        let sinks = vec![Attached::new("tape", sink(recorded.clone()), shows)];
        let mut outputs = Outputs::open(installed.views, sinks, Start::default())?;
        outputs.advance(None, epochs)?;
        outputs.finish()
    });
    ran.pop().unwrap()?;
    let bytes = std::mem::take(&mut *tape.0.lock().unwrap());
    Ok(String::from_utf8(bytes).unwrap())
}

fn jsonl(tape: Tape) -> Box<dyn Sink> {
    Box::new(Jsonl::new("tape", tape))
}

fn console(tape: Tape) -> Box<dyn Sink> {
    Box::new(Console::new(tape, false, 20))
}

fn keep(text: &str) -> Keep {
    text.parse().unwrap()
}

/// A window a minute, from minute 0 on; each is final in the epoch after.
fn minutes(count: u64) -> [Vec<(Row, u64, isize)>; 2] {
    let row = |minute: u64| (Time(60_000 * minute as i64), minute as i64);
    let rows = (0..count).map(|minute| (row(minute), minute, 1));
    let finals = (0..count - 1).map(|minute| (row(minute), minute + 1, 1));
    [rows.collect(), finals.collect()]
}

#[test]
fn a_whole_view_keeps_the_newest_of_what_is_final_and_says_so() {
    let whole = |at, keep| Shows { mode: Mode::Complete, at, keep };
    let [rows, finals] = minutes(6);
    let last =
        |sink, keep| written(Given::Table, rows.clone(), finals.clone(), whole(At::End, keep), sink).unwrap();
    // The sixth is open; two that are final stay, by number or by age.
    let json = "{\"view\":\"windows\",\"epoch\":5,\"left_out\":3}\n\
                {\"view\":\"windows\",\"epoch\":5,\"row\":{\"start\":\"1970-01-01T00:03:00Z\",\"n\":3}}\n\
                {\"view\":\"windows\",\"epoch\":5,\"row\":{\"start\":\"1970-01-01T00:04:00Z\",\"n\":4}}\n\
                {\"view\":\"windows\",\"epoch\":5,\"row\":{\"start\":\"1970-01-01T00:05:00Z\",\"n\":5}}\n";
    assert_eq!(last(jsonl, keep("2")), json);
    assert_eq!(last(jsonl, keep("1m")), json);
    assert_eq!(last(jsonl, keep("100,1m")), json);
    assert_eq!(last(jsonl, keep("all")).lines().count(), 6);
    assert_eq!(
        last(console, keep("1,1h")),
        "windows (2 rows)\n  start                 n\n  1970-01-01T00:04:00Z  4\n  1970-01-01T00:05:00Z  5\n  \
         … 4 older, final, no longer kept (keep=)\n\n"
    );
    // At each epoch: what was open, and no more than one that is final.
    let each = written(Given::Table, rows, finals, whole(At::EveryEpoch, keep("1")), jsonl).unwrap();
    let rows = |epoch: u64| {
        let shown = each.lines().filter(|line| line.contains(&format!("\"epoch\":{epoch},\"row\"")));
        shown.count()
    };
    assert_eq!([0, 1, 2, 5].map(rows), [1, 2, 2, 2], "{each}");
    assert!(each.contains("{\"view\":\"windows\",\"epoch\":4,\"left_out\":3}\n"), "{each}");
}

#[test]
fn what_is_appended_has_the_same_bound() {
    let [rows, _] = minutes(5);
    for mode in [Mode::Complete, Mode::Append] {
        let shows = Shows { mode, at: At::End, keep: keep("2") };
        let text = written(Given::Appended, rows.clone(), vec![], shows, jsonl).unwrap();
        let shown = text.lines().filter(|line| line.contains("\"row\"")).count();
        assert_eq!(shown, 2, "{mode:?}: {text}");
        assert!(text.contains("00:04:00Z"), "{text}");
    }
}

/// Whatever a sink shows of it, and however epochs are cut, a row that was retracted is not passed over.
#[test]
fn a_view_that_is_appended_to_refuses_retractions() {
    let row = (Time(0), 7);
    let rows = vec![(row, 0, 1), (row, 3, -1)];
    for mode in [Mode::Append, Mode::Changes, Mode::Update, Mode::Complete] {
        for at in [At::EveryEpoch, At::End] {
            let shows = Shows { mode, at, keep: Keep::ALL };
            let error = written(Given::Appended, rows.clone(), vec![], shows, jsonl).unwrap_err().to_string();
            for part in ["view `windows` is appended to", "(Time(0), 7)", "epoch 3", "`flow.table`"] {
                assert!(error.contains(part), "{mode:?} {at:?}: {error}");
            }
        }
    }
    // A row of a table may be, but not a final one.
    let shows = Shows { mode: Mode::Append, at: At::EveryEpoch, keep: Keep::ALL };
    assert!(written(Given::Table, rows.clone(), vec![], shows, jsonl).is_ok());
    let error = written(Given::Table, vec![], rows, shows, jsonl).unwrap_err();
    assert!(matches!(error, SinkError::Retracted(_)), "{error}");
}

#[test]
fn a_key_that_the_view_does_not_have_is_an_error_as_it_is_built() {
    let key = |column: &'static str| {
        let build = Build::new("keyed", move |flow| {
            let rows = flow.scope().new_input::<Vec<(Row, Epoch, isize)>>().1.as_collection();
            flow.table(["start", "n"], rows).key([column]).show("windows");
            Ok(())
        });
        build.check().map(|outline| outline.views[0].to_string())
    };
    assert_eq!(key("start").unwrap(), "windows (start*: time, n: integer of 64 bits)");
    let error = key("end").unwrap_err();
    let message = "there is no column `end` that could be part of the key; there are [\"start\", \"n\"]";
    assert_eq!(error.mistake.to_string(), message);
    assert_eq!(error.place.file(), file!());
}

proptest! {
    #![proptest_config(cases(128))]

    /// What stays is what is open, and the newest of what is final, however rows and epochs fall.
    #[test]
    fn nothing_that_is_open_is_left_out(open in prop::collection::vec(0..50i64, 0..8), done in prop::collection::vec((0..50i64, 0..9u64), 0..30), most in 0..12u64) {
        // Final rows are numbered, so that they are all different from each other and from those that are open.
        let mut finals: Vec<_> = (100..).zip(&done).map(|(n, (start, epoch))| ((Time(*start), n), *epoch, 1)).collect();
        finals.sort_by_key(|(row, epoch, _)| (*epoch, *row));
        let rows: Vec<_> = open.iter().map(|start| ((Time(*start), 0), 0, 1)).chain(finals.iter().copied()).collect();
        let shows = Shows { mode: Mode::Complete, at: At::End, keep: Keep { rows: Some(most), time: None } };
        let text = written(Given::Table, rows, finals.clone(), shows, jsonl).unwrap();

        let newest = &finals[finals.len().saturating_sub(most as usize)..];
        let mut expected: Vec<_> = open.iter().map(|start| (Time(*start), 0)).chain(newest.iter().map(|(row, ..)| *row)).collect();
        expected.sort();
        let shown: Vec<_> = text.lines().filter(|line| line.contains("\"row\"")).map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            let start = value["row"]["start"].as_str().unwrap().to_owned();
            (start, value["row"]["n"].as_i64().unwrap())
        }).collect();
        let expected: Vec<_> = expected.into_iter().map(|(start, n)| (start.to_string(), n)).collect();
        prop_assert_eq!(shown, expected);
        let gone = finals.len() - newest.len();
        prop_assert_eq!(text.contains(&format!("\"left_out\":{gone}}}")), gone > 0, "{}", text);
    }
}
