//! Views on their way to the sinks: whole epochs, once, step by step in order; the same last state however they are
//! gathered; and each final row once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use differential_dataflow::AsCollection;
use proptest::prelude::*;
use thalweg::data::{Value, by_count};
use thalweg::dataflow::Flow;
use thalweg::door::{Event, Lines};
use thalweg::sink::{At, Closed, Outputs, Sink, SinkError};
use thalweg::source::Progress;
use thalweg::time::Epoch;
use thalweg::view::View;
use thalweg::view::{Gather, History};
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
    time: Epoch,
    last: bool,
    views: Vec<Shown>,
    /// How far every worker's input was: nothing of this epoch or of a later one may be shown.
    open: u64,
    /// Whether the epoch was completed since.
    committed: bool,
}

#[derive(Debug)]
struct Recorder {
    at: At,
    finals: bool,
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

    fn finals(&self) -> bool {
        self.finals
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
        let time = Epoch::new(closed.epoch).at_step(closed.step);
        let mut calls = self.calls.lock().unwrap();
        let one_epoch = calls.iter().all(|call| call.committed || call.time.number() == closed.epoch);
        assert!(one_epoch, "{time} is shown before the epoch before it is complete");
        calls.push(Call { time, last: closed.last, views, open, committed: false });
        Ok(())
    }

    fn commit(&mut self, epoch: u64) -> Result<(), SinkError> {
        let mut calls = self.calls.lock().unwrap();
        let mut of_epoch = 0;
        for call in calls.iter_mut().filter(|call| !call.committed) {
            assert_eq!(call.time.number(), epoch, "it is another epoch that was shown");
            (call.committed, of_epoch) = (true, of_epoch + 1);
        }
        assert!(of_epoch > 0, "epoch {epoch} is completed twice, or was never shown");
        Ok(())
    }
}

/// The calls of four sinks.
#[derive(Default)]
struct Calls {
    each: Vec<Call>,
    end: Vec<Call>,
    finals_each: Vec<Call>,
    finals_end: Vec<Call>,
}

/// What sinks at every epoch and at the end are shown, of rows and of final rows; what is for view 2 is final in view 1.
fn shown(workers: usize, script: &Script<(u8, Row), isize>, gather: Gather) -> Calls {
    let script = script.clone();
    let calls: [Arc<Mutex<Vec<Call>>>; 4] = Default::default();
    let called = calls.clone();
    on_workers(workers, move |worker, together| {
        let (index, peers) = (worker.index(), worker.peers());
        let (mut input, installed) = worker.dataflow::<Epoch, _, _>(|scope| {
            let (_, events) = scope.new_input::<Vec<Event>>();
            let (input, stream) = scope.new_input::<Vec<((u8, Row), Epoch, isize)>>();
            let mut flow = Flow::new(scope, Lines::new(events, Arc::new(Progress::default())), VIEWS, gather);
            let rows = stream.as_collection();
            let of = |view: u8| rows.clone().filter(move |(to, _)| *to == view).map(|(_, row)| row);
            assert_eq!(flow.finals_wanted(), gather.finals != History::Nothing);
            // In another order than that of the views.
            flow.view_table_by("by count", of(1), of(2), by_count);
            flow.view("by key", of(0));
            (input, flow.finish())
        });
        assert_eq!(installed.outputs.rows.len(), 2);
        let finals: Vec<_> = installed.outputs.finals.iter().map(|view| view.view().name).collect();
        assert_eq!(finals, if gather.finals == History::Nothing { vec![] } else { vec!["by count"] });

        let open = Rc::new(RefCell::new(0));
        let sinks = called.iter().enumerate().map(|(at, calls)| -> Box<dyn Sink> {
            let (finals, at) = (at >= 2, if at % 2 == 0 { At::EveryEpoch } else { At::End });
            let history = if finals { gather.finals } else { gather.rows };
            let rows = matches!(history, History::AtEnd | History::Whole);
            Box::new(Recorder { at, finals, rows, open: Rc::clone(&open), calls: Arc::clone(calls) })
        });
        let mut outputs = Outputs::new(installed.outputs, sinks.collect());
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
    let [each, end, finals_each, finals_end] = calls.map(|calls| calls.lock().unwrap().clone());
    for calls in [&each, &end, &finals_each, &finals_end] {
        assert!(calls.iter().all(|call| call.committed), "an epoch is shown and never complete: {calls:?}");
    }
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
    Calls { each, end, finals_each, finals_end }
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

    /// Every time is shown once, with its step, after it is closed; `shown` checks the order, and that an epoch is
    /// completed once and before the next.
    #[test]
    fn each_epoch_is_shown_once_whole_and_step_by_step(script in (any::<bool>()).prop_flat_map(rows), keep in any::<bool>()) {
        let gather = Gather::rows(if keep { History::Whole } else { History::Changes });
        for workers in WORKERS {
            let calls = shown(workers, &script, gather);
            prop_assert_eq!(states(calls.each), expected(&script, keep), "{} workers", workers);
            prop_assert_eq!(calls.finals_each, vec![]);
        }
    }

    #[test]
    fn the_last_state_does_not_depend_on_how_it_is_gathered(script in rows(true)) {
        for workers in WORKERS {
            let last: Vec<_> = contents(&script, Epoch::END).iter().enumerate().map(|(at, rows)| listed(at, rows)).collect();
            for history in [History::AtEnd, History::Whole] {
                let Calls { each, end, .. } = shown(workers, &script, Gather::rows(history));
                let rows: Vec<_> = end[0].views.iter().map(|view| view.rows.clone().unwrap()).collect();
                prop_assert_eq!(&rows, &last, "{:?} with {} workers", history, workers);
                prop_assert!(history != History::AtEnd || each.is_empty(), "only the last state is gathered");
            }
        }
    }

    /// Each final row once, when it becomes final, whatever else is shown of rows and of final ones.
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
            for (of_rows, of_finals) in [
                (History::Nothing, History::Changes),
                (History::Nothing, History::AtEnd),
                (History::AtEnd, History::Changes),
                (History::Whole, History::Whole),
                (History::Changes, History::AtEnd),
            ] {
                let Calls { each, finals_each, finals_end, .. } =
                    shown(workers, &script, Gather { rows: of_rows, finals: of_finals });
                let rows = expected(&script, of_rows == History::Whole);
                let shows_rows = matches!(of_rows, History::Changes | History::Whole);
                prop_assert_eq!(states(each), if shows_rows { rows } else { vec![] });
                let seen: Vec<_> = finals_each.into_iter().map(|call| {
                    assert_eq!(call.views.len(), 1, "views without final rows are left out");
                    (call.time, call.views[0].changes.clone())
                }).collect();
                prop_assert_eq!(&seen, if of_finals == History::AtEnd { &[][..] } else { &appended });
                let kept = matches!(of_finals, History::AtEnd | History::Whole).then_some(&all);
                prop_assert_eq!(finals_end[0].views[0].rows.as_ref(), kept);
            }
        }
    }
}

/// A frontier within an epoch closes some of its steps, which are shown, and not the epoch, which is not complete.
#[test]
fn an_epoch_is_complete_when_all_of_it_is_closed() {
    let times = on_workers(1, |worker, together| {
        let open = Rc::new(RefCell::new(u64::MAX));
        let (mut input, installed) = worker.dataflow::<Epoch, _, _>(|scope| {
            let (_, events) = scope.new_input::<Vec<Event>>();
            let (input, stream) = scope.new_input::<Vec<(Row, Epoch, isize)>>();
            let lines = Lines::new(events, Arc::new(Progress::default()));
            let mut flow = Flow::new(scope, lines, &VIEWS[..1], Gather::rows(History::Whole));
            flow.view("by key", stream.as_collection());
            (input, flow.finish())
        });
        for (key, time) in [(1, Epoch::new(3)), (2, Epoch::new(3).at_step(17)), (3, Epoch::new(4))] {
            input.send(((key, 1), time, 1));
        }
        input.close();
        together.step_until(worker, |_| installed.probe.done());

        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let (at, finals, rows) = (At::EveryEpoch, false, true);
        let recorder = Recorder { at, finals, rows, open, calls: Arc::clone(&calls) };
        let mut outputs = Outputs::new(installed.outputs, vec![Box::new(recorder)]);
        let mut shown_before = |frontier| {
            outputs.commit(frontier, 5).unwrap();
            calls.lock().unwrap().iter().map(|call| call.time).collect::<Vec<_>>()
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
    assert_eq!(times[0], [vec![], vec![third[0]], third.clone(), third, all.clone(), all]);
}
