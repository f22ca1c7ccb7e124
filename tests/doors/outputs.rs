//! Views on their way to the sinks: whole epochs, once, step by step in order; the same last state however they are
//! delivered; and each final row once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use differential_dataflow::AsCollection;
use proptest::prelude::*;
use thalweg::data::{Value, by_count};
use thalweg::dataflow::Flow;
use thalweg::door::Lines;
use thalweg::sink::{At, Attached, Closed, Mode, Opening, Outputs, Shows, Sink, SinkError, Start};
use thalweg::source::Progress;
use thalweg::time::{Epoch, TimeOptions};
use thalweg::view::{Deliveries, Delivery, Keep};
use timely::dataflow::operators::Input;

use crate::oracle::{ROUNDS, Script, Sent, WORKERS, cases, moment, on_workers, pace, sums};

const COLUMNS: [&str; 2] = ["key", "count"];

type Row = (u8, i64);

/// One view as a sink saw it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Shown {
    changes: Vec<(Row, isize)>,
    rows: Option<Vec<Row>>,
}

/// One call of a sink.
#[derive(Clone, Debug, PartialEq)]
struct Call {
    time: Epoch,
    last: bool,
    views: Vec<Shown>,
    /// How far every worker's input was: nothing of this epoch or of a later one may be shown.
    open: u64,
}

/// What a sink was called for.
#[derive(Clone, Debug, Default, PartialEq)]
struct Calls {
    writes: Vec<Call>,
    commits: Vec<u64>,
    finished: bool,
}

#[derive(Debug)]
struct Recorder {
    /// Whether it is shown rows as they are.
    rows: bool,
    open: Arc<AtomicU64>,
    calls: Arc<Mutex<Calls>>,
}

impl Recorder {
    fn attach(shows: Shows, open: &Arc<AtomicU64>, calls: &Arc<Mutex<Calls>>) -> Attached {
        let recorder = Recorder { rows: shows.whole(), open: Arc::clone(open), calls: Arc::clone(calls) };
        Attached::new("recorder", Box::new(recorder), shows)
    }
}

fn cells(values: &[Value<'_>]) -> Row {
    match values {
        [Value::Int(key), Value::Int(count)] => (*key as u8, *count as i64),
        other => panic!("not the row that was given: {other:?}"),
    }
}

impl Sink for Recorder {
    fn open(&mut self, _: &Opening<'_>) -> Result<Option<u64>, SinkError> {
        Ok(None)
    }

    fn write(&mut self, closed: &Closed<'_>) -> Result<(), SinkError> {
        let views = closed.views.iter().map(|view| {
            let mut shown = Shown::default();
            view.changes(&mut |diff, values| shown.changes.push((cells(values), diff)));
            if self.rows {
                let mut rows = Vec::new();
                view.rows(usize::MAX, &mut |values| rows.push(cells(values)));
                assert_eq!((view.len(), view.is_empty()), (rows.len(), rows.is_empty()));
                let mut first = Vec::new();
                view.rows(2, &mut |values| first.push(cells(values)));
                assert_eq!(first, rows[..rows.len().min(2)]);
                shown.rows = Some(rows);
            }
            shown
        });
        let (views, open) = (views.collect(), self.open.load(SeqCst));
        let time = Epoch::new(closed.epoch).at_step(closed.step);
        let mut calls = self.calls.lock().unwrap();
        let before = if closed.last { calls.commits.len() as u64 } else { closed.epoch };
        assert!(calls.commits.iter().copied().eq(0..before), "{time} is shown after {:?}", calls.commits);
        calls.writes.push(Call { time, last: closed.last, views, open });
        Ok(())
    }

    fn commit(&mut self, epoch: u64) -> Result<(), SinkError> {
        self.calls.lock().unwrap().commits.push(epoch);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        assert!(!std::mem::replace(&mut self.calls.lock().unwrap().finished, true));
        Ok(())
    }
}

/// What four sinks are called for.
#[derive(Default)]
struct All {
    each: Vec<Call>,
    end: Vec<Call>,
    finals_each: Vec<Call>,
    finals_end: Vec<Call>,
}

/// What sinks at every epoch and at the end are shown, of rows and of final rows, where `deliveries` say what is delivered
/// and `mode` what the first is shown; what is for view 2 is final in view 1.
fn shown(workers: usize, script: &Script<(u8, Row), isize>, deliveries: Deliveries, mode: Mode) -> All {
    let script = script.clone();
    let epochs = script.sent.iter().map(|sent| sent.time.number() + 1).max().unwrap_or(0).max(ROUNDS);
    let calls: [Arc<Mutex<Calls>>; 4] = Default::default();
    let called = calls.clone();
    on_workers(workers, move |worker, together| {
        let (index, peers) = (worker.index(), worker.peers());
        let (mut input, installed) = worker.dataflow::<Epoch, _, _>(|scope| {
            let (input, stream) = scope.new_input::<Vec<((u8, Row), Epoch, isize)>>();
            let (lines, _) = Lines::fed(scope, Arc::new(Progress::default()), TimeOptions::default());
            let flow = Flow::new(scope, lines, deliveries);
            let rows = stream.as_collection();
            let of = |view: u8| rows.clone().filter(move |(to, _)| *to == view).map(|(_, row)| row);
            // In another order than that in which they are shown, which is that of the views.
            let counts = flow.windowed(COLUMNS, of(1), of(2)).sorted_by(by_count);
            let keys = flow.table(COLUMNS, of(0));
            keys.about("in the order of the rows").show("by key");
            counts.about("in an order of their own").show("by count");
            (input, flow.finish().unwrap())
        });
        let open = Arc::new(AtomicU64::new(0));
        let keep = Keep::ALL;
        let shows = [
            (mode, At::EveryEpoch),
            (mode, At::End),
            (Mode::Append, At::EveryEpoch),
            (Mode::Append, At::End),
        ];
        let sinks = shows.into_iter().zip(&called);
        let sinks = sinks.map(|((mode, at), calls)| Recorder::attach(Shows { mode, at, keep }, &open, calls));
        let sinks = sinks.filter(|_| index == 0).collect();
        let mut outputs = Outputs::open(installed.views, sinks, Start::default()).unwrap();
        let mut advance = || {
            if index == 0 {
                let frontier = installed.probe.with_frontier(|frontier| frontier.first().copied());
                outputs.advance(frontier, ROUNDS).unwrap();
            }
            installed.probe.done()
        };
        for round in 0..ROUNDS {
            for sent in script.sent.iter().filter(|sent| sent.worker % peers == index && sent.round == round)
            {
                input.send((sent.data, sent.time, sent.diff));
            }
            open.store(round + 1, SeqCst);
            input.advance_to(Epoch::new(round + 1));
            for _ in 0..script.steps[round as usize % script.steps.len()] {
                worker.step();
                advance();
            }
        }
        open.store(u64::MAX, SeqCst);
        input.close();
        together.step_until(worker, |_| advance());
        // The end is the end once.
        advance();
        outputs.finish().unwrap();
    });
    let calls = calls.map(|calls| calls.lock().unwrap().clone());
    for calls in &calls {
        assert!(calls.finished, "a sink was not finished");
        let commits = calls.commits.len() as u64;
        assert!(calls.commits.iter().copied().eq(0..commits), "each epoch once: {:?}", calls.commits);
        // Those after the input's last are closed with the input; whether they are seen depends on what is delivered.
        assert!((ROUNDS..=epochs).contains(&commits), "{commits} commits of {epochs} epochs");
    }
    let [each, end, finals_each, finals_end] = calls.map(|calls| calls.writes);
    for calls in [&each, &finals_each] {
        assert!(
            calls.iter().all(|call| call.time.number() < call.open),
            "shown before it is closed: {calls:?}"
        );
        assert!(calls.windows(2).all(|calls| calls[0].time < calls[1].time), "out of order: {calls:?}");
        assert!(calls.iter().all(|call| !call.last));
    }
    for calls in [&end, &finals_end] {
        assert_eq!(calls.len(), 1);
        assert!(calls[0].last && calls[0].time == Epoch::new(ROUNDS - 1));
    }
    All { each, end, finals_each, finals_end }
}

/// Rows of two views, inserted some times and perhaps retracted again, never before.
fn rows(steps: bool) -> impl Strategy<Value = Script<(u8, Row), isize>> {
    let life = prop::option::of(0..4u64);
    let row = (0..4usize, moment(), (0..2u8, (0..3u8, 0..3i64)), 1..3isize, life).prop_map(
        move |(worker, (round, born), data, count, life)| {
            let at = |time: Epoch| if steps { time } else { time.at_step(0) };
            let born = at(born);
            let insert = Sent { worker, round, data, time: born, diff: count };
            let retract = life.map(|later| {
                let time = Epoch::new(born.number() + later).at_step(born.step());
                Sent { worker: worker / 2, round: time.number().min(ROUNDS - 1), data, time, diff: -count }
            });
            [Some(insert), retract]
        },
    );
    (prop::collection::vec(row, 0..20), pace())
        .prop_map(|(rows, steps)| Script { sent: rows.into_iter().flatten().flatten().collect(), steps })
}

/// The views as of `time`: each row as often as it occurs, in the view's order.
fn contents(script: &Script<(u8, Row), isize>, time: Epoch) -> [BTreeMap<Row, isize>; 2] {
    let all = sums(&script.sent, time);
    [0, 1].map(|view| all.iter().filter(|((to, _), _)| *to == view).map(|((_, row), n)| (*row, *n)).collect())
}

fn in_order(view: usize, rows: &mut [(Row, isize)]) {
    match view {
        0 => rows.sort(),
        _ => rows.sort_by(|(a, _), (b, _)| by_count(a, b)),
    }
}

fn listed(view: usize, content: &BTreeMap<Row, isize>) -> Vec<Row> {
    let mut rows: Vec<_> = content.iter().map(|(row, count)| (*row, *count)).collect();
    in_order(view, &mut rows);
    rows.into_iter().flat_map(|(row, count)| vec![row; count as usize]).collect()
}

/// Retractions, then insertions, each in the view's order.
fn changed(view: usize, before: &BTreeMap<Row, isize>, now: &BTreeMap<Row, isize>) -> Vec<(Row, isize)> {
    let mut diffs = now.clone();
    before.iter().for_each(|(row, count)| *diffs.entry(*row).or_default() -= count);
    let (mut gone, mut new): (Vec<_>, Vec<_>) =
        diffs.into_iter().filter(|(_, diff)| *diff != 0).partition(|(_, diff)| *diff < 0);
    in_order(view, &mut gone);
    in_order(view, &mut new);
    [gone, new].concat()
}

/// The states that a sink should be shown: one for each time at which anything changed.
fn expected(script: &Script<(u8, Row), isize>, keep: bool) -> Vec<(Epoch, Vec<Shown>)> {
    let times: std::collections::BTreeSet<_> = script.sent.iter().map(|sent| sent.time).collect();
    let mut before = [BTreeMap::new(), BTreeMap::new()];
    let states = times.into_iter().filter_map(|time| {
        let now = contents(script, time);
        let view = |view: usize| Shown {
            changes: changed(view, &before[view], &now[view]),
            rows: keep.then(|| listed(view, &now[view])),
        };
        let views = vec![view(0), view(1)];
        before = now;
        views.iter().any(|view| !view.changes.is_empty()).then_some((time, views))
    });
    states.collect()
}

fn states(calls: Vec<Call>) -> Vec<(Epoch, Vec<Shown>)> {
    calls.into_iter().map(|call| (call.time, call.views)).collect()
}

/// Rows of the plain view and of the table, and insertions of final ones.
fn rows_and_finals() -> impl Strategy<Value = Script<(u8, Row), isize>> {
    let last = (0..4usize, moment(), (0..3u8, 0..3i64)).prop_map(|(worker, (round, time), row)| Sent {
        worker,
        round,
        data: (2, row),
        time,
        diff: 1,
    });
    (rows(true), prop::collection::vec(last, 0..10)).prop_map(|(mut script, finals)| {
        script.sent.extend(finals);
        script
    })
}

proptest! {
    #![proptest_config(cases(64))]

    /// Every time is shown once, with its step, after it is closed, and what is shown of a whole view is the collection;
    /// `shown` checks the order, and that each epoch is committed once and before the next.
    #[test]
    fn each_epoch_is_shown_once_whole_and_step_by_step(script in (any::<bool>()).prop_flat_map(rows), whole in any::<bool>()) {
        let mode = if whole { Mode::Complete } else { Mode::Changes };
        for workers in WORKERS {
            let calls = shown(workers, &script, Deliveries::rows(Delivery::Changes), mode);
            prop_assert_eq!(states(calls.each), expected(&script, whole), "{} workers", workers);
            prop_assert_eq!(calls.finals_each, vec![]);
        }
    }

    #[test]
    fn the_last_state_does_not_depend_on_how_it_is_delivered(script in rows(true)) {
        for workers in WORKERS {
            let last: Vec<_> = contents(&script, Epoch::END).iter().enumerate().map(|(at, rows)| listed(at, rows)).collect();
            for delivery in [Delivery::LastState, Delivery::Changes] {
                let All { each, end, .. } = shown(workers, &script, Deliveries::rows(delivery), Mode::Update);
                let rows: Vec<_> = end[0].views.iter().map(|view| view.rows.clone().unwrap()).collect();
                prop_assert_eq!(&rows, &last, "{:?} with {} workers", delivery, workers);
                prop_assert!(delivery != Delivery::LastState || each.is_empty(), "only the last state is delivered");
            }
        }
    }

    /// Each final row once, when it becomes final, whatever else is shown of rows.
    #[test]
    fn final_rows_are_appended_once(script in rows_and_finals()) {
        let finals = |until: Epoch| -> BTreeMap<Row, isize> {
            let all = sums(&script.sent, until).into_iter();
            all.filter(|((to, _), _)| *to == 2).map(|((_, row), count)| (row, count)).collect()
        };
        let times: std::collections::BTreeSet<_> =
            script.sent.iter().filter(|sent| sent.data.0 == 2).map(|sent| sent.time).collect();
        let mut before = BTreeMap::new();
        let appended: Vec<_> = times.into_iter().map(|time| {
            let now = finals(time);
            let changes = changed(1, &before, &now);
            before = now;
            (time, changes)
        }).collect();
        let all = listed(1, &finals(Epoch::END));

        for workers in [1, 2] {
            for of_rows in [Delivery::Nothing, Delivery::LastState, Delivery::Changes] {
                let deliveries = Deliveries { finals: true, ..Deliveries::rows(of_rows) };
                let All { each, finals_each, finals_end, .. } = shown(workers, &script, deliveries, Mode::Complete);
                let rows = if of_rows == Delivery::Changes { expected(&script, true) } else { vec![] };
                prop_assert_eq!(states(each), rows);
                let seen: Vec<_> = finals_each.into_iter().map(|call| {
                    assert_eq!(call.views.len(), 1, "views without final rows are left out");
                    (call.time, call.views[0].changes.clone())
                }).collect();
                prop_assert_eq!(&seen, &appended);
                prop_assert_eq!(finals_end[0].views[0].rows.as_ref(), Some(&all));
            }
        }
    }
}

/// A frontier within an epoch closes some of its steps, which are shown, and not the epoch, which is not complete.
#[test]
fn an_epoch_is_complete_when_all_of_it_is_closed() {
    let times = on_workers(1, |worker, together| {
        let (mut input, installed) = worker.dataflow::<Epoch, _, _>(|scope| {
            let (input, stream) = scope.new_input::<Vec<(Row, Epoch, isize)>>();
            let (lines, _) = Lines::fed(scope, Arc::new(Progress::default()), TimeOptions::default());
            let flow = Flow::new(scope, lines, Deliveries::ALL);
            flow.table(COLUMNS, stream.as_collection()).show("by key");
            (input, flow.finish().unwrap())
        });
        for (key, time) in [(1, Epoch::new(3)), (2, Epoch::new(3).at_step(17)), (3, Epoch::new(4))] {
            input.send(((key, 1), time, 1));
        }
        input.close();
        together.step_until(worker, |_| installed.probe.done());

        let calls: Arc<Mutex<Calls>> = Arc::default();
        let shows = Shows { mode: Mode::Complete, at: At::EveryEpoch, keep: Keep::ALL };
        let recorder = Recorder::attach(shows, &Arc::new(AtomicU64::new(u64::MAX)), &calls);
        let mut outputs = Outputs::open(installed.views, vec![recorder], Start::default()).unwrap();
        let mut shown_before = |frontier| {
            outputs.advance(frontier, 5).unwrap();
            together.step_until(worker, |_| outputs.waiting() == 0);
            let calls = calls.lock().unwrap();
            let times: Vec<_> = calls.writes.iter().map(|call| call.time).collect();
            (times, calls.commits.len())
        };
        let [third, fourth] = [Epoch::new(3), Epoch::new(4)];
        let frontiers = [
            Some(third),
            Some(third.at_step(17)),
            Some(third.at_step(18)),
            Some(fourth),
            Some(Epoch::END),
            None,
        ];
        frontiers.map(&mut shown_before)
    });
    let third = vec![Epoch::new(3), Epoch::new(3).at_step(17)];
    let all = [third.clone(), vec![Epoch::new(4)]].concat();
    let expected =
        [(vec![], 3), (vec![third[0]], 3), (third.clone(), 3), (third, 4), (all.clone(), 5), (all, 5)];
    assert_eq!(times[0], expected);
}
