//! What the sinks write: text for text, and with how many system calls.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use differential_dataflow::AsCollection;
use thalweg::dataflow::Flow;
use thalweg::door::Lines;
use thalweg::sink::{
    At, Attached, Closed, Console, Jsonl, Mode, Opening, Outputs, Shows, Sink, SinkError, SinkSpec, Sinks,
    Start,
};
use thalweg::source::Progress;
use thalweg::time::Time;
use thalweg::time::{Epoch, TimeOptions};
use thalweg::view::{Deliveries, Keep};
use timely::dataflow::operators::Input;

use crate::oracle::on_workers;

/// The columns of the view `windows`, whose rows become final.
const WINDOWS: [&str; 2] = ["start", "n"];
/// The columns of the view `flags`, whose rows do not.
const FLAGS: [&str; 2] = ["n", "open"];

type Windows = (Time, i64);
type Flags = (i64, bool);

/// Where an update goes.
#[derive(Clone, Debug)]
enum To {
    Rows(Windows),
    Finals(Windows),
    Flags(Flags),
}

/// What was written, and in how many pieces, and how often it was flushed.
#[derive(Clone, Debug, Default)]
struct Tape(Arc<Mutex<(Vec<u8>, usize, usize)>>);

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut tape = self.0.lock().unwrap();
        tape.0.extend_from_slice(bytes);
        tape.1 += 1;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().unwrap().2 += 1;
        Ok(())
    }
}

/// What the sink that `open` makes writes of `updates`: the text, the writes, the flushes.
fn written(
    updates: Vec<(To, Epoch, isize)>,
    (open, shows): (impl Fn(Tape) -> Box<dyn Sink> + Send + Sync + 'static, Shows),
) -> (String, usize, usize) {
    let tape = Tape::default();
    let recorded = tape.clone();
    on_workers(1, move |worker, together| {
        let (mut inputs, installed) = worker.dataflow::<Epoch, _, _>(|scope| {
            let (lines, _) = Lines::fed(scope, Arc::new(Progress::default()), TimeOptions::default());
            let flow = Flow::new(scope, lines, Deliveries::ALL);
            let (rows, windows) = scope.new_input::<Vec<(Windows, Epoch, isize)>>();
            let (finals, final_windows) = scope.new_input::<Vec<(Windows, Epoch, isize)>>();
            let (flags, flag_rows) = scope.new_input::<Vec<(Flags, Epoch, isize)>>();
            let windows = flow.windowed(WINDOWS, windows.as_collection(), final_windows.as_collection());
            windows.about("a table with final rows").show("windows");
            flow.table(FLAGS, flag_rows.as_collection()).about("a view without").show("flags");
            ((rows, finals, flags), flow.finish().unwrap())
        });
        for (to, time, diff) in updates.clone() {
            match to {
                To::Rows(row) => inputs.0.send((row, time, diff)),
                To::Finals(row) => inputs.1.send((row, time, diff)),
                To::Flags(row) => inputs.2.send((row, time, diff)),
            }
        }
        drop(inputs);
        together.step_until(worker, |_| installed.probe.done());
        let epochs = updates.iter().map(|(_, time, _)| time.number() + 1).max().unwrap_or(0);
        let sink = Attached::new("tape", open(recorded.clone()), shows);
        let mut outputs = Outputs::open(installed.views, vec![sink], Start::default()).unwrap();
        outputs.advance(None, epochs).unwrap();
        outputs.finish().unwrap();
    });
    let (bytes, writes, flushes) = std::mem::take(&mut *tape.0.lock().unwrap());
    (String::from_utf8(bytes).unwrap(), writes, flushes)
}

fn jsonl(mode: Mode, at: At) -> (impl Fn(Tape) -> Box<dyn Sink>, Shows) {
    (|tape| Box::new(Jsonl::new("jsonl:tape", tape)) as Box<dyn Sink>, Shows { mode, at, keep: Keep::ALL })
}

fn console(mode: Mode, at: At, rows: usize) -> (impl Fn(Tape) -> Box<dyn Sink>, Shows) {
    let open = move |tape| Box::new(Console::new(tape, false, rows)) as Box<dyn Sink>;
    (open, Shows { mode, at, keep: Keep::ALL })
}

/// Two windows; the first is final at a later step of the second epoch, the second in the third epoch.
fn windows() -> Vec<(To, Epoch, isize)> {
    let (first, second) = (Time(1_431_857_100_000), Time(1_431_857_100_500));
    let later = Epoch::new(1).at_step(17);
    vec![
        (To::Rows((first, 1)), Epoch::new(0), 1),
        (To::Flags((7, true)), Epoch::new(0), 1),
        (To::Rows((first, 1)), Epoch::new(1), -1),
        (To::Rows((first, 2)), Epoch::new(1), 1),
        (To::Rows((second, 5)), later, 1),
        (To::Flags((7, true)), later, -1),
        (To::Flags((7, false)), later, 1),
        (To::Finals((first, 2)), later, 1),
        (To::Finals((second, 5)), Epoch::new(2), 1),
    ]
}

#[test]
fn jsonl_names_the_step_where_it_is_not_the_first() {
    let (text, writes, flushes) = written(windows(), jsonl(Mode::Changes, At::EveryEpoch));
    assert_eq!(
        text,
        r#"{"view":"windows","epoch":0,"diff":1,"row":{"start":"2015-05-17T10:05:00Z","n":1}}
{"view":"flags","epoch":0,"diff":1,"row":{"n":7,"open":true}}
{"view":"windows","epoch":1,"diff":-1,"row":{"start":"2015-05-17T10:05:00Z","n":1}}
{"view":"windows","epoch":1,"diff":1,"row":{"start":"2015-05-17T10:05:00Z","n":2}}
{"view":"windows","epoch":1,"step":17,"diff":1,"row":{"start":"2015-05-17T10:05:00.500Z","n":5}}
{"view":"flags","epoch":1,"step":17,"diff":-1,"row":{"n":7,"open":true}}
{"view":"flags","epoch":1,"step":17,"diff":1,"row":{"n":7,"open":false}}
"#
    );
    assert_eq!((writes, flushes), (2, 2), "one for each epoch in which rows changed");
}

#[test]
fn jsonl_appends_what_is_final_and_leaves_out_other_views() {
    let (text, _, flushes) = written(windows(), jsonl(Mode::Append, At::EveryEpoch));
    let [first, second] = [
        r#""row":{"start":"2015-05-17T10:05:00Z","n":2}}"#,
        r#""row":{"start":"2015-05-17T10:05:00.500Z","n":5}}"#,
    ];
    assert_eq!(
        text,
        format!(
            "{{\"view\":\"windows\",\"epoch\":1,\"step\":17,{first}\n{{\"view\":\"windows\",\"epoch\":2,{second}\n"
        )
    );
    assert_eq!(flushes, 2);
    let (text, ..) = written(windows(), jsonl(Mode::Append, At::End));
    assert_eq!(
        text,
        format!("{{\"view\":\"windows\",\"epoch\":2,{first}\n{{\"view\":\"windows\",\"epoch\":2,{second}\n")
    );
}

#[test]
fn times_are_text_in_any_year() {
    let row = |millis| (To::Rows((Time(millis), 0)), Epoch::new(0), 1);
    let updates = vec![row(i64::MIN), row(i64::MAX), row(253_402_300_800_000)];
    let (text, ..) = written(updates.clone(), jsonl(Mode::Complete, At::EveryEpoch));
    let starts =
        ["-292275055-05-16T16:47:04.192Z", "+10000-01-01T00:00:00Z", "+292278994-08-17T07:12:55.807Z"];
    let written_as = |start: &str| format!(r#""row":{{"start":"{start}""#);
    assert!(text.lines().zip(starts).all(|(line, start)| line.contains(&written_as(start))), "{text}");
    let (text, ..) = written(updates, console(Mode::Complete, At::EveryEpoch, 9));
    assert!(starts.iter().all(|start| text.contains(start)), "{text}");
}

#[test]
fn a_console_heads_each_step() {
    let (text, writes, flushes) = written(windows(), console(Mode::Complete, At::EveryEpoch, 20));
    assert_eq!(
        text,
        "── epoch 0 ──
windows (1 row)
  start                 n
  2015-05-17T10:05:00Z  1

flags (1 row)
  n  open
  7  true

── epoch 1 ──
windows (1 row)
  start                 n
  2015-05-17T10:05:00Z  2

── epoch 1.17 ──
windows (2 rows)
  start                     n
  2015-05-17T10:05:00Z      2
  2015-05-17T10:05:00.500Z  5

flags (1 row)
  n  open
  7  false

"
    );
    assert_eq!((writes, flushes), (2, 2));
}

/// One table for all steps of an epoch, and no more of it than was asked for.
#[test]
fn a_console_appends_by_epoch() {
    let mut updates = windows();
    updates.extend([3, 4].map(|n| (To::Finals((Time(0), n)), Epoch::new(1).at_step(18), 1)));
    let (text, ..) = written(updates, console(Mode::Append, At::EveryEpoch, 2));
    assert_eq!(
        text,
        "── epoch 1 ──
windows (3 rows)
  start                 n
  2015-05-17T10:05:00Z  2
  1970-01-01T00:00:00Z  3
  … 1 more

── epoch 2 ──
windows (1 row)
  start                     n
  2015-05-17T10:05:00.500Z  5

"
    );
}

#[test]
fn thousands_of_steps_are_one_flush() {
    const STEPS: u32 = 2000;
    let updates = (0..STEPS).flat_map(|step| {
        let time = Epoch::new(0).at_step(step);
        let row = |n: u32| To::Rows((Time(i64::from(n % 10)), i64::from(n)));
        [Some((row(step), time, 1)), step.checked_sub(10).map(|gone| (row(gone), time, -1))]
    });
    let updates: Vec<_> = updates.flatten().collect();
    let (text, writes, flushes) = written(updates, jsonl(Mode::Complete, At::EveryEpoch));
    assert_eq!(text.lines().count(), 10 * STEPS as usize - 45, "ten rows at each step, once there are ten");
    assert_eq!(flushes, 1);
    assert!(writes <= text.len() / (1 << 15), "{writes} writes of {} bytes", text.len());
}

#[test]
fn nothing_to_append_is_an_error_that_names_the_views() {
    let [appends, changes]: [SinkSpec; 2] =
        ["jsonl:x?mode=append", "jsonl:x?mode=changes"].map(|uri| uri.parse().unwrap());
    let checked = on_workers(1, move |worker, _| {
        [false, true].map(|table| {
            let views = worker.dataflow::<Epoch, _, _>(|scope| {
                let (lines, _) = Lines::fed(scope, Arc::new(Progress::default()), TimeOptions::default());
                let shows = [&appends, &changes].map(|sink| sink.shows(true));
                let flow = Flow::new(scope, lines, Shows::deliveries(shows));
                let windows = scope.new_input::<Vec<(Windows, Epoch, isize)>>().1.as_collection();
                let flags = scope.new_input::<Vec<(Flags, Epoch, isize)>>().1.as_collection();
                match table {
                    true => flow.windowed(WINDOWS, windows.clone(), windows).show("windows"),
                    false => flow.table(WINDOWS, windows).show("windows"),
                }
                flow.table(FLAGS, flags).show("flags");
                flow.finish().unwrap().views
            });
            [&appends, &changes].map(|sink| sink.check(&views).map_err(|error| error.to_string()))
        })
    });
    let [[without, other], with] = checked[0].clone();
    assert_eq!((other, with), (Ok(()), [Ok(()), Ok(())]));
    let error = without.unwrap_err();
    for part in ["jsonl:x?mode=append", "(windows, flags)", "mode=update"] {
        assert!(error.contains(part), "{error}");
    }
}

/// A sink as a user would write it: how many rows each epoch changes, in as many lines as its URI allows.
#[derive(Debug)]
struct Tally {
    out: Tape,
    limit: usize,
    rows: usize,
}

impl Sink for Tally {
    fn open(&mut self, opening: &Opening<'_>) -> Result<Option<u64>, SinkError> {
        let views: Vec<_> = opening.views.iter().map(|schema| schema.to_string()).collect();
        writeln!(self.out, "{}", views.join("; ")).map_err(|error| SinkError::own("tally:", error))?;
        Ok(None)
    }

    fn write(&mut self, closed: &Closed<'_>) -> Result<(), SinkError> {
        closed.views.iter().for_each(|view| view.changes(&mut |_, _| self.rows += 1));
        Ok(())
    }

    fn commit(&mut self, epoch: u64) -> Result<(), SinkError> {
        let rows = std::mem::take(&mut self.rows);
        if self.limit == 0 {
            return Ok(());
        }
        self.limit -= 1;
        writeln!(self.out, "{epoch}: {rows}").map_err(|error| SinkError::own("tally:", error))
    }
}

/// The sinks of this crate and `tally:`, which writes to `tape`.
fn with_tally(tape: Tape) -> Sinks {
    Sinks::builtin().with("tally", move |uri| {
        let limit = uri.param("limit")?.unwrap_or(usize::MAX);
        match uri.path() {
            "" => Ok(Box::new(Tally { out: tape.clone(), limit, rows: 0 })),
            path => Err(uri.refuse(format!("`{path}` is too much: `tally:` takes no path"))),
        }
    })
}

#[test]
fn a_sink_of_ones_own_is_found_by_its_scheme() {
    let sinks = with_tally(Tape::default());
    for (uri, hint) in [
        ("tally:there", "takes no path"),
        ("tally:?limit=x", "limit `x`"),
        ("tally:?lines=3", "mode, at, keep, queue, limit"),
        ("tell:", "there are `console:`, `csv:`, `jsonl:`"),
    ] {
        let error = sinks.parse(uri).unwrap_err().to_string();
        assert!(error.contains(uri) && error.contains(hint), "{uri}: {error}");
    }
    let attached = sinks.parse("tally:?limit=2&mode=changes&queue=1KiB").unwrap().attach(true).unwrap();
    assert_eq!((attached.name.as_str(), attached.queue), ("tally:?limit=2&mode=changes&queue=1KiB", 1024));
    let open = |tape: Tape| with_tally(tape).parse("tally:?limit=2").unwrap().attach(true).unwrap().sink;
    let (text, ..) = written(windows(), (open, attached.shows));
    let views = "windows (start*: time, n*: integer of 64 bits); \
                 flags (n*: integer of 64 bits, open*: yes or no)";
    assert_eq!(text, format!("{views}\n0: 2\n1: 5\n"));
}
