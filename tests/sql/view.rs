//! Views whose rows a test says, and a sink that is shown them as a run would.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use thalweg::data::{Row, Value};
use thalweg::sink::{At, Closed, Ending, Mode, Opening, Pause, Shows, Sink, SinkError, Sinks};
use thalweg::time::Epoch;
use thalweg::view::{Batch, Contents, Finality, Keep, Names, Retracted, Schema};

/// A view with rows of type `R`.
#[derive(Debug)]
pub struct View<R> {
    schema: Schema,
    rows: BTreeMap<R, isize>,
    changes: Vec<(R, isize)>,
}

impl<R: Row> View<R> {
    pub fn new(name: &str, columns: &[&str], key: &[&str], finality: Finality) -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let names = Names { all: Some(owned(columns)), key: owned(key) };
        let schema = Schema::new::<R>(name, "", &names, finality).unwrap();
        View { schema, rows: BTreeMap::new(), changes: Vec::new() }
    }

    fn apply(&mut self, changes: &[(R, isize)]) {
        self.changes = changes.to_vec();
        for (row, diff) in changes {
            *self.rows.entry(row.clone()).or_default() += diff;
        }
        self.rows.retain(|_, count| *count != 0);
    }
}

impl<R: Row> Contents for View<R> {
    fn schema(&self) -> &Schema {
        &self.schema
    }
    fn apply(&mut self, _: Epoch, _: Option<Batch>, _: Option<Batch>) -> Result<(), Retracted> {
        unreachable!("tests say what changes")
    }
    fn changes(&self, show: &mut dyn FnMut(isize, &[Value<'_>])) {
        for gone in [true, false] {
            for (row, diff) in self.changes.iter().filter(|(_, diff)| (*diff < 0) == gone) {
                row.show(&mut |values| show(*diff, values));
            }
        }
    }
    fn values(&self) -> Box<dyn Any + Send + Sync> {
        Box::new(())
    }
    fn has_changed(&self) -> bool {
        !self.changes.is_empty()
    }
    fn rows(&self, limit: usize, show: &mut dyn FnMut(&[Value<'_>])) {
        let each = self.rows.iter().flat_map(|(row, count)| std::iter::repeat_n(row, *count as usize));
        each.take(limit).for_each(|row| row.show(show));
    }
    fn len(&self) -> usize {
        self.rows.values().sum::<isize>() as usize
    }
    fn left_out(&self) -> u64 {
        0
    }
}

/// What changes at one step: of a view with a key, of one without, and of one that is appended to.
#[derive(Clone, Debug)]
pub struct Step<K, C, F> {
    pub keyed: Vec<(K, isize)>,
    pub counted: Vec<(C, isize)>,
    pub facts: Vec<F>,
}

impl<K, C, F> Default for Step<K, C, F> {
    fn default() -> Self {
        Step { keyed: Vec::new(), counted: Vec::new(), facts: Vec::new() }
    }
}

/// Which run it is.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    pub state: Option<u128>,
    pub incarnation: u64,
    pub first: u64,
    pub mode: Mode,
}

impl Start {
    pub fn without_state(mode: Mode) -> Self {
        Start { state: None, incarnation: 0, first: 0, mode }
    }

    pub fn of(state: u128, incarnation: u64, mode: Mode) -> Self {
        Start { state: Some(state), incarnation, first: 0, mode }
    }
}

/// The three views of a test.
#[derive(Debug)]
pub struct Views<K, C, F> {
    keyed: View<K>,
    counted: View<C>,
    facts: View<F>,
    at: At,
}

impl<K: Row, C: Row, F: Row> Views<K, C, F> {
    pub fn new(keyed: View<K>, counted: View<C>, facts: View<F>) -> Self {
        Views { keyed, counted, facts, at: At::EveryEpoch }
    }

    /// For a sink that writes then.
    pub fn at(self, at: At) -> Self {
        Views { at, ..self }
    }

    /// Opens `uri`, with views that hold what was committed before.
    pub fn open(
        self,
        uri: &str,
        start: Start,
        epochs: &[Vec<Step<K, C, F>>],
    ) -> Result<Driven<K, C, F>, SinkError> {
        let spec = Sinks::builtin().parse(uri).unwrap();
        let attached = spec.attach(false).unwrap();
        let Start { state, incarnation, first, mode } = start;
        let shows = Shows { mode, at: self.at, keep: Keep::ALL };
        let [a, b, c] = [&self.keyed.schema, &self.counted.schema, &self.facts.schema];
        let schemas = [a, b, c].map(|schema| Arc::new(schema.clone()));
        let mut sink = attached.sink;
        let committed = sink.open(&Opening {
            incarnation,
            state,
            first,
            shows,
            views: &schemas,
            ending: Ending::default(),
        })?;
        let next = first.max(committed.map_or(0, |epoch| epoch + 1));
        let mut driven = Driven { sink, views: self, next, committed };
        for step in epochs.iter().take(next as usize).flatten() {
            driven.apply(step);
        }
        driven.show(|sink, views| sink.begin(views))?;
        Ok(driven)
    }
}

/// A sink that is open.
#[derive(Debug)]
pub struct Driven<K, C, F> {
    pub sink: Box<dyn Sink>,
    views: Views<K, C, F>,
    pub next: u64,
    /// What it said as it was opened.
    pub committed: Option<u64>,
}

impl<K: Row, C: Row, F: Row> Driven<K, C, F> {
    fn apply(&mut self, step: &Step<K, C, F>) {
        self.views.keyed.apply(&step.keyed);
        self.views.counted.apply(&step.counted);
        let facts: Vec<_> = step.facts.iter().map(|row| (row.clone(), 1)).collect();
        self.views.facts.apply(&facts);
    }

    fn show(
        &mut self,
        show: impl FnOnce(&mut Box<dyn Sink>, &[Box<dyn Contents>]) -> Result<(), SinkError>,
    ) -> Result<(), SinkError> {
        let copy = |schema: &Schema| schema.clone();
        let Views { keyed, counted, facts, .. } = &mut self.views;
        // They are lent, and come back.
        let lent: [Box<dyn Contents>; 3] = [
            Box::new(View {
                schema: copy(&keyed.schema),
                rows: keyed.rows.clone(),
                changes: std::mem::take(&mut keyed.changes),
            }),
            Box::new(View {
                schema: copy(&counted.schema),
                rows: counted.rows.clone(),
                changes: std::mem::take(&mut counted.changes),
            }),
            Box::new(View {
                schema: copy(&facts.schema),
                rows: facts.rows.clone(),
                changes: std::mem::take(&mut facts.changes),
            }),
        ];
        show(&mut self.sink, &lent)
    }

    /// Shows an epoch, and has it committed; whether that is put off is up to the sink.
    pub fn epoch(&mut self, epoch: u64, steps: &[Step<K, C, F>]) -> Result<(), SinkError> {
        self.part(epoch, steps)?;
        self.sink.commit(epoch)?;
        self.next = epoch + 1;
        Ok(())
    }

    /// Shows an epoch without its end.
    pub fn part(&mut self, epoch: u64, steps: &[Step<K, C, F>]) -> Result<(), SinkError> {
        for (number, step) in (0..).zip(steps) {
            self.apply(step);
            self.show(|sink, views| sink.write(&Closed { epoch, step: number, views, last: false }))?;
        }
        Ok(())
    }

    /// Has an epoch committed that a sink which writes at the end is not shown.
    pub fn unshown(&mut self, epoch: u64, steps: &[Step<K, C, F>]) -> Result<(), SinkError> {
        steps.iter().for_each(|step| self.apply(step));
        self.sink.commit(epoch)
    }

    /// Shows the last state.
    pub fn last(&mut self, epoch: u64) -> Result<(), SinkError> {
        self.show(|sink, views| sink.write(&Closed { epoch, step: 0, views, last: true }))
    }

    /// Has all that was put off committed.
    pub fn settle(&mut self) -> Result<(), SinkError> {
        self.sink.settle(Pause::Lull)?;
        assert_eq!(self.sink.behind(), 0);
        Ok(())
    }
}
