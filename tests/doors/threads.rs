//! Sinks on their own threads: one that is slow holds up nobody but who asks whether there is room, one that fails says so,
//! and each is given what it has not committed yet.

use std::sync::{Arc, Mutex, mpsc};

use differential_dataflow::AsCollection;
use thalweg::data::Value;
use thalweg::dataflow::Flow;
use thalweg::door::Lines;
use thalweg::sink::{At, Attached, Closed, Mode, Opening, Outputs, Pause, Shows, Sink, SinkError, Start};
use thalweg::source::Progress;
use thalweg::time::{Epoch, TimeOptions};
use thalweg::view::{Contents, Deliveries, Keep};
use timely::dataflow::operators::Input;
use timely::worker::Worker;

use crate::oracle::{Together, on_workers};

/// How many epochs there are, each with a row; only the one in the middle has none.
const EPOCHS: u64 = 9;
const EMPTY: u64 = 4;

/// What a sink was called for, in order.
#[derive(Clone, Debug, PartialEq)]
enum Call {
    Open(u64),
    /// The epoch, and the rows of the whole view.
    Write(u64, Vec<i128>),
    Commit(u64),
    Finish,
}

/// Writes down what it is called for, and then does what the test says.
struct Scripted {
    calls: Arc<Mutex<Vec<Call>>>,
    committed: Option<u64>,
    /// Called before each write.
    write: Box<dyn FnMut(u64) -> Result<(), SinkError> + Send>,
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scripted")
    }
}

impl Sink for Scripted {
    fn open(&mut self, opening: &Opening<'_>) -> Result<Option<u64>, SinkError> {
        let views: Vec<_> = opening.views.iter().map(|schema| schema.to_string()).collect();
        assert_eq!(views, ["numbers (epoch*: unsigned integer of 64 bits)"]);
        self.calls.lock().unwrap().push(Call::Open(opening.incarnation));
        Ok(self.committed)
    }

    fn write(&mut self, closed: &Closed<'_>) -> Result<(), SinkError> {
        (self.write)(closed.epoch)?;
        let mut rows = Vec::new();
        closed.views[0].rows(usize::MAX, &mut |values| match values {
            [Value::Int(number)] => rows.push(*number),
            other => panic!("not the row that was given: {other:?}"),
        });
        self.calls.lock().unwrap().push(Call::Write(closed.epoch, rows));
        Ok(())
    }

    fn commit(&mut self, epoch: u64) -> Result<(), SinkError> {
        self.calls.lock().unwrap().push(Call::Commit(epoch));
        Ok(())
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.calls.lock().unwrap().push(Call::Finish);
        Ok(())
    }
}

type Calls = Arc<Mutex<Vec<Call>>>;

fn scripted(
    calls: &Calls,
    committed: Option<u64>,
    write: impl FnMut(u64) -> Result<(), SinkError> + Send + 'static,
) -> Attached {
    let shows = Shows { mode: Mode::Complete, at: At::EveryEpoch, keep: Keep::ALL };
    let sink = Scripted { calls: Arc::clone(calls), committed, write: Box::new(write) };
    Attached::new("scripted", Box::new(sink), shows)
}

/// What a sink is called for that has committed all epochs before `first`.
fn all_from(first: u64) -> Vec<Call> {
    let rows = |until: u64| (0..=until).filter(|epoch| *epoch != EMPTY).map(i128::from).collect();
    let epochs = (first..EPOCHS).flat_map(|epoch| {
        let write = (epoch != EMPTY).then(|| Call::Write(epoch, rows(epoch)));
        write.into_iter().chain([Call::Commit(epoch)])
    });
    epochs.chain([Call::Finish]).collect()
}

/// Opens `sinks` on a dataflow that has ended, and has `drive` give them its epochs.
fn run<T: Send + 'static>(
    start: Start,
    sinks: impl Fn() -> Vec<Attached> + Send + Sync + 'static,
    drive: impl Fn(Result<Outputs, SinkError>, &mut Worker, &Together) -> T + Send + Sync + 'static,
) -> T {
    let ran = on_workers(1, move |worker, together| {
        let (mut input, installed) = worker.dataflow::<Epoch, _, _>(|scope| {
            let (input, stream) = scope.new_input::<Vec<((u64,), Epoch, isize)>>();
            let (lines, _) = Lines::fed(scope, Arc::new(Progress::default()), TimeOptions::default());
            let flow = Flow::new(scope, lines, Deliveries::ALL);
            flow.table(["epoch"], stream.as_collection()).about("a row for each epoch").show("numbers");
            (input, flow.finish().unwrap())
        });
        for epoch in (0..EPOCHS).filter(|epoch| *epoch != EMPTY) {
            input.send(((epoch,), Epoch::new(epoch), 1));
        }
        input.close();
        together.step_until(worker, |_| installed.probe.done());
        drive(Outputs::open(installed.views, sinks(), start), worker, together)
    });
    ran.into_iter().next().unwrap()
}

/// Gives all, and the end.
fn to_the_end(outputs: Result<Outputs, SinkError>) -> Result<(), SinkError> {
    let mut outputs = outputs?;
    outputs.advance(None, EPOCHS)?;
    outputs.finish()
}

#[test]
fn every_epoch_is_committed_once_in_order_and_an_empty_one_too() {
    let calls = Calls::default();
    let recorded = Arc::clone(&calls);
    run(
        Start::default(),
        move || vec![scripted(&recorded, None, |_| Ok(()))],
        |outputs, _, _| {
            let mut outputs = outputs.unwrap();
            // However it is cut.
            for before in [0, 1, 1, 3, 6, 5] {
                outputs.advance(Some(Epoch::new(before)), 0).unwrap();
            }
            to_the_end(Ok(outputs)).unwrap();
        },
    );
    let expected = [vec![Call::Open(0)], all_from(0)].concat();
    assert_eq!(*calls.lock().unwrap(), expected);
}

#[test]
fn a_slow_sink_holds_up_nobody_until_credits_run_out() {
    let (slow, fast) = (Calls::default(), Calls::default());
    let (go_on, permits) = mpsc::channel::<()>();
    let permits = Arc::new(Mutex::new(permits));
    let sinks = {
        let (slow, fast) = (Arc::clone(&slow), Arc::clone(&fast));
        move || {
            let permits = Arc::clone(&permits);
            let wait = move |_| permits.lock().unwrap().recv().map_err(|error| SinkError::own("slow", error));
            let mut slow = scripted(&slow, None, wait);
            slow.queue = 1000;
            vec![slow, scripted(&fast, None, |_| Ok(()))]
        }
    };
    let (written, go_on) = (Arc::clone(&slow), Mutex::new(go_on));
    run(Start::default(), sinks, move |outputs, worker, together| {
        let mut outputs = outputs.unwrap();
        let mut room = Vec::new();
        for epoch in 0..EPOCHS {
            room.push(outputs.has_room());
            outputs.advance(Some(Epoch::new(epoch + 1)), 0).unwrap();
        }
        room.push(outputs.has_room());
        // There is room for some epochs, and then no more, while each of them was taken at once.
        let first_full = room.iter().position(|room| !room).expect("the queue is bounded");
        assert!((2..EPOCHS as usize).contains(&first_full), "{room:?}");
        assert!(room[first_full..].iter().all(|room| !room), "{room:?}");
        assert_eq!(written.lock().unwrap()[..], [Call::Open(0)], "it has not written anything");

        (1..EPOCHS).for_each(|_| go_on.lock().unwrap().send(()).unwrap());
        together.step_until(worker, |_| outputs.has_room());
        together.step_until(worker, |_| outputs.committed() == EPOCHS);
        to_the_end(Ok(outputs)).unwrap();
    });
    let expected = [vec![Call::Open(0)], all_from(0)].concat();
    assert_eq!(*slow.lock().unwrap(), expected);
    assert_eq!(*fast.lock().unwrap(), expected);
}

#[test]
fn the_others_are_written_while_one_waits() {
    let (slow, fast) = (Calls::default(), Calls::default());
    let (go_on, permits) = mpsc::channel::<()>();
    let permits = Arc::new(Mutex::new(permits));
    let sinks = {
        let (slow, fast) = (Arc::clone(&slow), Arc::clone(&fast));
        move || {
            let permits = Arc::clone(&permits);
            // Whoever has the other end has let go of it: then it goes on.
            let wait = move |_| permits.lock().unwrap().recv().map_or(Ok(()), Ok);
            vec![scripted(&slow, None, wait), scripted(&fast, None, |_| Ok(()))]
        }
    };
    let (watched, go_on) = (Arc::clone(&fast), Mutex::new(Some(go_on)));
    run(Start::default(), sinks, move |outputs, worker, together| {
        let mut outputs = outputs.unwrap();
        outputs.advance(None, EPOCHS).unwrap();
        together.step_until(worker, |_| watched.lock().unwrap().last() == Some(&Call::Finish));
        assert!(!outputs.has_ended() && outputs.committed() == 0);
        drop(go_on.lock().unwrap().take());
        outputs.finish().unwrap();
    });
    assert_eq!(slow.lock().unwrap()[1..], all_from(0));
}

#[test]
fn a_sink_that_fails_ends_the_run_with_its_error() {
    let (bad, good) = (Calls::default(), Calls::default());
    let sinks = {
        let (bad, good) = (Arc::clone(&bad), Arc::clone(&good));
        move || {
            let fail = |epoch| if epoch == 2 { Err(SinkError::own("scripted", "disk full")) } else { Ok(()) };
            vec![scripted(&good, None, |_| Ok(())), scripted(&bad, None, fail)]
        }
    };
    let error = run(Start::default(), sinks, |outputs, worker, together| {
        let mut outputs = outputs.unwrap();
        let mut error = None;
        outputs.advance(Some(Epoch::new(3)), 0).unwrap();
        together.step_until(worker, |_| {
            error = outputs.advance(Some(Epoch::new(3)), 0).err();
            error.is_some()
        });
        assert!(outputs.has_room(), "nobody waits for a sink that has failed");
        outputs.finish().unwrap();
        error.unwrap().to_string()
    });
    assert_eq!(error, "sink `scripted`: disk full");
    assert_eq!(bad.lock().unwrap()[1..], all_from(0)[..4], "it is called no more");
    assert_eq!(good.lock().unwrap()[1..], all_from(0)[..6], "and nobody is called for the end");
}

#[test]
fn a_failure_at_the_end_is_not_lost() {
    let sinks = || {
        let last =
            |epoch| if epoch == EPOCHS - 1 { Err(SinkError::own("scripted", "disk full")) } else { Ok(()) };
        vec![scripted(&Calls::default(), None, last)]
    };
    let error = run(Start::default(), sinks, |outputs, _, _| to_the_end(outputs).unwrap_err().to_string());
    assert_eq!(error, "sink `scripted`: disk full");
}

#[test]
fn a_sink_that_panics_is_an_error_too() {
    let sinks = || vec![scripted(&Calls::default(), None, |epoch| panic!("no epoch {epoch}, please"))];
    let error = run(Start::default(), sinks, |outputs, _, _| to_the_end(outputs).unwrap_err().to_string());
    assert_eq!(error, "sink `scripted` panicked: no epoch 0, please");
}

/// Cannot be opened.
#[derive(Debug)]
struct Unreachable;

impl Sink for Unreachable {
    fn open(&mut self, _: &Opening<'_>) -> Result<Option<u64>, SinkError> {
        Err(SinkError::own("closed", "no such host"))
    }

    fn write(&mut self, _: &Closed<'_>) -> Result<(), SinkError> {
        panic!("it was never opened")
    }
}

#[test]
fn a_sink_that_cannot_be_opened_is_found_out_before_the_first_epoch() {
    let sinks = || {
        let shows = Shows { mode: Mode::Changes, at: At::EveryEpoch, keep: Keep::ALL };
        vec![
            scripted(&Calls::default(), None, |_| Ok(())),
            Attached::new("closed", Box::new(Unreachable), shows),
        ]
    };
    let error = run(Start::default(), sinks, |outputs, _, _| outputs.err().map(|error| error.to_string()));
    assert_eq!(error.as_deref(), Some("sink `closed`: no such host"));
}

/// What a sink has committed, and what a run goes on from, is in its views and is not shown again.
#[test]
fn what_is_committed_is_not_shown_again() {
    for (committed, first, from) in
        [(Some(2), 0, 3), (None, 3, 3), (Some(2), 6, 6), (Some(6), 3, 7), (Some(99), 0, EPOCHS)]
    {
        let calls = Calls::default();
        let recorded = Arc::clone(&calls);
        let sinks = move || vec![scripted(&recorded, committed, |_| Ok(()))];
        let known = run(Start { incarnation: 5, first, ..Start::default() }, sinks, |outputs, _, _| {
            let outputs = outputs.unwrap();
            let known = outputs.committed();
            to_the_end(Ok(outputs)).unwrap();
            known
        });
        let expected = [vec![Call::Open(5)], all_from(from)].concat();
        assert_eq!(*calls.lock().unwrap(), expected, "{committed:?}, {first}");
        assert_eq!(known, first.max(committed.map_or(0, |epoch| epoch + 1)));
    }
}

/// Puts its commits off until nothing has come for a while.
#[derive(Debug)]
struct Lazy {
    behind: u64,
    begun: bool,
    pauses: Arc<Mutex<Vec<Pause>>>,
}

impl Sink for Lazy {
    fn open(&mut self, _: &Opening<'_>) -> Result<Option<u64>, SinkError> {
        Ok(None)
    }

    fn begin(&mut self, views: &[Box<dyn Contents>]) -> Result<(), SinkError> {
        assert!(!self.begun && views.iter().all(|view| view.is_empty()), "before the first epoch, once");
        self.begun = true;
        Ok(())
    }

    fn write(&mut self, _: &Closed<'_>) -> Result<(), SinkError> {
        assert!(self.begun);
        Ok(())
    }

    fn commit(&mut self, _: u64) -> Result<(), SinkError> {
        self.behind += 1;
        Ok(())
    }

    fn behind(&self) -> u64 {
        self.behind
    }

    fn settle(&mut self, pause: Pause) -> Result<(), SinkError> {
        self.pauses.lock().unwrap().push(pause);
        if pause != Pause::Empty {
            self.behind = 0;
        }
        Ok(())
    }
}

#[test]
fn commits_that_are_put_off_count_when_they_are_done() {
    let pauses: Arc<Mutex<Vec<Pause>>> = Arc::default();
    let seen = Arc::clone(&pauses);
    let sinks = move || {
        let shows = Shows { mode: Mode::Complete, at: At::EveryEpoch, keep: Keep::ALL };
        let sink = Lazy { behind: 0, begun: false, pauses: Arc::clone(&seen) };
        vec![Attached::new("lazy", Box::new(sink), shows)]
    };
    run(Start::default(), sinks, |outputs, worker, together| {
        let mut outputs = outputs.unwrap();
        outputs.advance(Some(Epoch::new(3)), 0).unwrap();
        // Only the lull makes them count.
        together.step_until(worker, |_| outputs.committed() == 3);
        outputs.advance(Some(Epoch::new(5)), 0).unwrap();
        // It is not finished, and what was put off is done all the same.
        outputs.finish().unwrap();
        assert_eq!(outputs.committed(), 5);
    });
    let pauses = pauses.lock().unwrap();
    assert!(pauses.contains(&Pause::Empty) && pauses.contains(&Pause::Lull), "{pauses:?}");
    assert_eq!(pauses.last(), Some(&Pause::Over));
}
