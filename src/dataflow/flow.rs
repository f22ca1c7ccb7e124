//! One worker's dataflow while it is built.

use std::cell::Cell;
use std::cmp::Ordering;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use differential_dataflow::VecCollection;
use differential_dataflow::difference::Semigroup;
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::{Probe, probe};

use super::View;
use super::gather::gather;
use crate::aggregate::{Durable, InputCounts, Lines, Records, WatermarkProbe};
use crate::format::Format;
use crate::operators::per_closed_time;
use crate::runtime::Epoch;
use crate::sink::{Gather, Row, ViewOutput};

/// A function that builds a dataflow, run once by each worker.
#[derive(Clone)]
pub struct Build(Arc<BuildFn>);

type BuildFn = dyn for<'a, 'scope> Fn(&'a mut Flow<'scope>) + Send + Sync;

impl Build {
    /// Builds with `build`.
    pub fn new(build: impl for<'a, 'scope> Fn(&'a mut Flow<'scope>) + Send + Sync + 'static) -> Self {
        Build(Arc::new(build))
    }

    pub(crate) fn run(&self, flow: &mut Flow<'_>) {
        (self.0)(flow);
    }
}

impl fmt::Debug for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Build")
    }
}

/// One worker's dataflow while it is built: lines come in, views go out.
#[derive(Debug)]
pub struct Flow<'scope> {
    lines: Lines<'scope>,
    scope: Scope<'scope, Epoch>,
    views: &'static [View],
    gather: Gather,
    outputs: Vec<Option<Box<dyn ViewOutput>>>,
    probe: probe::Handle<Epoch>,
    /// What became of the input so far, on worker 0; set up by the first `records`.
    summary: Option<Rc<Cell<Summary>>>,
}

/// What a built dataflow leaves with its worker.
#[derive(Debug)]
pub struct Installed {
    /// The views' outputs, in the order of the dataflow's views; they receive on worker 0.
    pub outputs: Vec<Box<dyn ViewOutput>>,
    /// Closed epochs: what every view has been given.
    pub probe: probe::Handle<Epoch>,
    /// What is durable of this worker's part.
    pub durable: Durable,
    /// When an epoch's lines may be sent.
    pub watermark: WatermarkProbe,
    /// The input of the closed epochs, on worker 0.
    pub summary: Rc<Cell<Summary>>,
}

/// The input so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// What became of the lines.
    pub counts: InputCounts,
    /// How many epochs there were.
    pub epochs: u64,
}

impl<'scope> Flow<'scope> {
    /// A dataflow in `scope` with `views`, whose rows reach the sinks as `gather` says.
    pub fn new(
        scope: Scope<'scope, Epoch>,
        lines: Lines<'scope>,
        views: &'static [View],
        gather: Gather,
    ) -> Self {
        let outputs = views.iter().map(|_| None).collect();
        Flow { lines, scope, views, gather, outputs, probe: probe::Handle::new(), summary: None }
    }

    /// The scope in which the dataflow is built, for operators of timely and differential.
    pub fn scope(&self) -> Scope<'scope, Epoch> {
        self.scope
    }

    /// The lines of all sources as records of `format`.
    ///
    /// Called twice, it reads the lines twice; the first call is the one that the command's summary counts.
    pub fn records<F: Format>(&mut self, format: F) -> Records<'scope, F> {
        let records = self.lines.records(format);
        if self.summary.is_none() {
            let summary = Rc::new(Cell::new(Summary::default()));
            self.summary = Some(Rc::clone(&summary));
            let to_first = Exchange::new(|_: &((), Epoch, InputCounts)| 0);
            per_closed_time::<_, _, _, (), isize, _, _>(
                records.input_sums(),
                to_first,
                "Summary",
                vec![],
                move |time, updates, _| {
                    let Summary { mut counts, .. } = summary.get();
                    updates.drain(..).for_each(|((), more)| counts.plus_equals(&more));
                    summary.set(Summary { counts, epochs: time.number() + 1 });
                },
            )
            .inner
            .probe_with(&self.probe);
        }
        records
    }

    /// Shows `rows` as view `name`, in the order of the rows.
    ///
    /// # Panics
    ///
    /// If the dataflow declares no such view, has given it already, or declares another number of columns.
    pub fn view<R: Row>(&mut self, name: &str, rows: VecCollection<'scope, Epoch, R, isize>) {
        self.view_by(name, rows, R::cmp);
    }

    /// As [`Flow::view`], in the order that `compare` says; rows that it calls equal are in their own order.
    ///
    /// # Panics
    ///
    /// As [`Flow::view`].
    pub fn view_by<R: Row>(
        &mut self,
        name: &str,
        rows: VecCollection<'scope, Epoch, R, isize>,
        compare: fn(&R, &R) -> Ordering,
    ) {
        let Some(at) = self.views.iter().position(|view| view.name == name) else {
            let known: Vec<_> = self.views.iter().map(|view| view.name).collect();
            panic!("the dataflow gives a view `{name}`, but declares only {known:?}");
        };
        let view = self.views[at];
        assert!(self.outputs[at].is_none(), "the dataflow gives view `{name}` twice");
        assert_eq!(R::COLUMNS, view.columns.len(), "columns given and declared of view `{name}`");
        let (output, stream) = gather(self.gather, view, rows, compare);
        stream.probe_with(&self.probe);
        self.outputs[at] = Some(output);
    }

    /// Ends the building.
    ///
    /// # Panics
    ///
    /// If a declared view was not given, or state was handed over for a door that there is not.
    pub fn finish(self) -> Installed {
        let given = self.outputs.into_iter().zip(self.views);
        let outputs = given
            .map(|(output, view)| {
                output.unwrap_or_else(|| {
                    panic!("the dataflow declares view `{}`, but does not give it", view.name)
                })
            })
            .collect();
        let durable = self.lines.durable();
        let left_over = durable.left_over();
        assert!(
            left_over.is_empty(),
            "state was handed over for doors that the dataflow does not have: {left_over:?}"
        );
        Installed {
            outputs,
            durable,
            watermark: self.lines.watermark(),
            probe: self.probe,
            summary: self.summary.unwrap_or_default(),
        }
    }
}
