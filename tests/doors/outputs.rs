//! Views on their way to the sinks: whole epochs, once, in order; and the same last state however they are gathered.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use differential_dataflow::AsCollection;
use proptest::prelude::*;
use thalweg::aggregate::{Event, Lines};
use thalweg::dataflow::{Flow, View};
use thalweg::runtime::{Epoch, Progress};
use thalweg::sink::{At, Closed, Gather, Outputs, Sink, SinkError, Value, by_count};
use timely::dataflow::operators::Input;

use crate::oracle::{ROUNDS, Script, Sent, WORKERS, cases, moment, on_workers, pace, sums};

static VIEWS: &[View] = &[
    View { name: "by key", columns: &["key", "count"], about: "in the order of the rows" },
    View { name: "by count", columns: &["key", "count"], about: "in an order of their own" },
];

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
    epoch: u64,
    last: bool,
    views: Vec<Shown>,
    /// How far every worker's input was: nothing of this epoch or of a later one may be shown.
    open: u64,
}

#[derive(Debug)]
struct Recorder {
    at: At,
    rows: bool,
    open: Rc<RefCell<u64>>,
    calls: Arc<Mutex<Vec<Call>>>,
}

fn cells(values: &[Value<'_>]) -> Row {
    match values {
        [Value::Int(key), Value::Int(count)] => (*key as u8, *count as i64),
        other => panic!("not the row that was given: {other:?}"),
    }
}

impl Sink for Recorder {
    fn at(&self) -> At {
        self.at
    }

    fn write(&mut self, closed: &Closed<'_>) -> Result<(), SinkError> {
        let views = closed.views.iter().map(|view| {
            let mut shown = Shown::default();
            view.changes(&mut |diff, values| shown.changes.push((cells(values), diff)));
            if self.rows {
                let mut rows = Vec::new();
                view.rows(&mut |values| rows.push(cells(values)));
                assert_eq!((view.len(), view.is_empty()), (rows.len(), rows.is_empty()));
                shown.rows = Some(rows);
            }
            shown
        });
        let (views, open) = (views.collect(), *self.open.borrow());
        self.calls.lock().unwrap().push(Call { epoch: closed.epoch, last: closed.last, views, open });
        Ok(())
    }
}

/// What the sinks at every epoch and at the end are shown.
fn shown(workers: usize, script: &Script<(u8, Row), isize>, gather: Gather) -> (Vec<Call>, Vec<Call>) {
    let script = script.clone();
    let calls = [Arc::default(), Arc::default()];
    let [each, end]: [Arc<Mutex<Vec<Call>>>; 2] = calls.clone();
    on_workers(workers, move |worker, together| {
        let (index, peers) = (worker.index(), worker.peers());
        let (mut input, installed) = worker.dataflow::<Epoch, _, _>(|scope| {
            let (_, events) = scope.new_input::<Vec<Event>>();
            let (input, stream) = scope.new_input::<Vec<((u8, Row), Epoch, isize)>>();
            let mut flow = Flow::new(scope, Lines::new(events, Arc::new(Progress::default())), VIEWS, gather);
            let rows = stream.as_collection();
            let of = |view: u8| rows.clone().filter(move |(to, _)| *to == view).map(|(_, row)| row);
            // In another order than that of the views.
            flow.view_by("by count", of(1), by_count);
            flow.view("by key", of(0));
            (input, flow.finish())
        });
        let open = Rc::new(RefCell::new(0));
        let rows = gather != Gather::Changes { keep: false };
        let recorder = |at, rows, calls: &Arc<Mutex<Vec<Call>>>| -> Box<dyn Sink> {
            Box::new(Recorder { at, rows, open: Rc::clone(&open), calls: Arc::clone(calls) })
        };
        let sinks = vec![recorder(At::EveryEpoch, rows, &each), recorder(At::End, rows, &end)];
        let mut outputs = Outputs::new(installed.outputs, sinks);
        let mut commit = || {
            if index == 0 {
                let frontier = installed.probe.with_frontier(|frontier| frontier.first().copied());
                outputs.commit(frontier, ROUNDS).unwrap();
            }
            installed.probe.done()
        };
        for round in 0..ROUNDS {
            for sent in script.sent.iter().filter(|sent| sent.worker % peers == index && sent.round == round)
            {
                input.send((sent.data, sent.time, sent.diff));
            }
            *open.borrow_mut() = round + 1;
            input.advance_to(Epoch::new(round + 1));
            for _ in 0..script.steps[round as usize % script.steps.len()] {
                worker.step();
                commit();
            }
        }
        *open.borrow_mut() = u64::MAX;
        input.close();
        together.step_until(worker, |_| commit());
        // The end is the end once.
        commit();
    });
    let [each, end] = calls.map(|calls| calls.lock().unwrap().clone());
    (each, end)
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

/// The states that a sink should be shown: one for each time at which anything was sent.
fn expected(script: &Script<(u8, Row), isize>, keep: bool) -> Vec<(u64, Vec<Shown>)> {
    let times: std::collections::BTreeSet<_> = script.sent.iter().map(|sent| sent.time).collect();
    let mut before = [BTreeMap::new(), BTreeMap::new()];
    let states = times.into_iter().map(|time| {
        let now = contents(script, time);
        let view = |view: usize| Shown {
            changes: changed(view, &before[view], &now[view]),
            rows: keep.then(|| listed(view, &now[view])),
        };
        let views = vec![view(0), view(1)];
        before = now;
        (time.number(), views)
    });
    states.collect()
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn each_epoch_is_shown_once_whole_and_in_order(script in rows(false), keep in any::<bool>()) {
        for workers in WORKERS {
            let (each, end) = shown(workers, &script, Gather::Changes { keep });
            let states: Vec<_> = each.iter().map(|call| (call.epoch, call.views.clone())).collect();
            prop_assert_eq!(states, expected(&script, keep), "{} workers", workers);
            prop_assert!(each.windows(2).all(|calls| calls[0].epoch < calls[1].epoch));
            prop_assert!(each.iter().all(|call| call.epoch < call.open && !call.last));
            prop_assert_eq!(end.len(), 1);
            prop_assert!(end[0].last && end[0].epoch == ROUNDS - 1);
        }
    }

    /// Steps of an epoch are shown one by one, in order.
    #[test]
    fn each_step_is_shown_in_order(script in rows(true)) {
        for workers in WORKERS {
            let (each, _) = shown(workers, &script, Gather::Changes { keep: true });
            let open = each.iter().all(|call| call.epoch < call.open);
            let states: Vec<_> = each.into_iter().map(|call| (call.epoch, call.views)).collect();
            prop_assert_eq!(states, expected(&script, true), "{} workers", workers);
            prop_assert!(open, "an epoch is shown before it is closed");
        }
    }

    #[test]
    fn the_last_state_does_not_depend_on_how_it_is_gathered(script in rows(true)) {
        for workers in WORKERS {
            let last: Vec<_> = contents(&script, Epoch::END).iter().enumerate().map(|(at, rows)| listed(at, rows)).collect();
            for gather in [Gather::AtEnd, Gather::Changes { keep: true }] {
                let (each, end) = shown(workers, &script, gather);
                prop_assert_eq!(end.len(), 1);
                let rows: Vec<_> = end[0].views.iter().map(|view| view.rows.clone().unwrap()).collect();
                prop_assert_eq!(&rows, &last, "{:?} with {} workers", gather, workers);
                prop_assert!(end[0].last && end[0].epoch == ROUNDS - 1);
                prop_assert!(gather != Gather::AtEnd || each.is_empty(), "only the last state is gathered");
            }
        }
    }
}

/// A frontier within an epoch closes some of its steps, and not the epoch: nothing of it is shown until all of it is.
#[test]
fn an_epoch_is_not_shown_in_part() {
    let numbers = on_workers(1, |worker, together| {
        let open = Rc::new(RefCell::new(u64::MAX));
        let (mut input, installed) = worker.dataflow::<Epoch, _, _>(|scope| {
            let (_, events) = scope.new_input::<Vec<Event>>();
            let (input, stream) = scope.new_input::<Vec<(Row, Epoch, isize)>>();
            let lines = Lines::new(events, Arc::new(Progress::default()));
            let mut flow = Flow::new(scope, lines, &VIEWS[..1], Gather::Changes { keep: true });
            flow.view("by key", stream.as_collection());
            (input, flow.finish())
        });
        for (key, time) in [(1, Epoch::new(3)), (2, Epoch::new(3).at_step(1)), (3, Epoch::new(4))] {
            input.send(((key, 1), time, 1));
        }
        input.close();
        together.step_until(worker, |_| installed.probe.done());

        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let recorder = Recorder { at: At::EveryEpoch, rows: true, open, calls: Arc::clone(&calls) };
        let mut outputs = Outputs::new(installed.outputs, vec![Box::new(recorder)]);
        let mut shown_before = |frontier| {
            outputs.commit(frontier, 5).unwrap();
            calls.lock().unwrap().iter().map(|call| call.epoch).collect::<Vec<_>>()
        };
        let frontiers =
            [Some(Epoch::new(3)), Some(Epoch::new(3).at_step(1)), Some(Epoch::new(4)), Some(Epoch::END)];
        let mut numbers: Vec<_> = frontiers.into_iter().map(&mut shown_before).collect();
        numbers.push(shown_before(None));
        numbers
    });
    assert_eq!(numbers[0], [vec![], vec![], vec![3, 3], vec![3, 3, 4], vec![3, 3, 4]]);
}
