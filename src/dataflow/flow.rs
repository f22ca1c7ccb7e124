//! One worker's dataflow while it is built.

use std::cell::Cell;
use std::cmp::Ordering;
use std::hash::Hash;
use std::path::Path;
use std::rc::Rc;

use differential_dataflow::difference::Semigroup;
use differential_dataflow::{ExchangeData, VecCollection};
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::{Probe, probe};

use crate::data::{InputCounts, Row, Total};
use crate::dataflow::tables::Tables;
use crate::door::{Durable, FaultProbe, Lines, Records, WatermarkProbe, Windowed};
use crate::format::Format;
use crate::lookup::{Lookup, LookupError, LookupKeys};
use crate::operators::per_closed_time;
use crate::time::Epoch;
use crate::view::View;
use crate::view::{Gather, History, ViewOutput, Views, gather};

/// One worker's dataflow while it is built: lines come in, views go out.
#[derive(Debug)]
pub struct Flow<'scope> {
    lines: Lines<'scope>,
    scope: Scope<'scope, Epoch>,
    views: &'static [View],
    gather: Gather,
    /// The views that were given, by their place among all.
    outputs: Vec<Option<Output>>,
    probe: probe::Handle<Epoch>,
    /// What became of the input so far, on worker 0; set up by the first `records`.
    summary: Option<Rc<Cell<Summary>>>,
    /// What keys are looked up in, shared by all workers.
    tables: Tables,
}

/// A view that was given.
#[derive(Debug)]
struct Output {
    rows: Box<dyn ViewOutput>,
    finals: Option<Box<dyn ViewOutput>>,
}

/// What a built dataflow leaves with its worker.
#[derive(Debug)]
pub struct Installed {
    /// The views' outputs; they receive on worker 0.
    pub outputs: Views,
    /// Closed epochs: what every view has been given.
    pub probe: probe::Handle<Epoch>,
    /// What is durable of this worker's part.
    pub durable: Durable,
    /// When an epoch's lines may be sent.
    pub watermark: WatermarkProbe,
    /// Whether a line ends the run.
    pub faults: FaultProbe,
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
        if gather.finals != History::Nothing {
            lines.want_finals();
        }
        let (probe, tables) = (probe::Handle::new(), Tables::default());
        Flow { lines, scope, views, gather, outputs, probe, summary: None, tables }
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

    /// A table to look keys up in, read from a file of comma-separated values under a header; see [`Lookup::read`].
    ///
    /// The file is read once, however many workers ask for it, and the processes of a cluster refuse each other unless all
    /// of them have read the same.
    ///
    /// # Errors
    ///
    /// As for [`Lookup::read`].
    pub fn lookup(&self, path: impl AsRef<Path>, key: &str, keys: LookupKeys) -> Result<Lookup, LookupError> {
        self.tables.get(path.as_ref(), key, keys)
    }

    /// From now on, tables are shared with all that have these.
    pub(super) fn share_tables(&mut self, tables: &Tables) {
        self.tables = tables.clone();
    }

    /// The running totals of `sums`, as rows `(key, total)`, which are durable under `name`.
    ///
    /// This is for what is inserted once and then forgotten: the records that [`distinct_within`] lets through, pairs of events, keys
    /// that have timed out, records that were refused. A run that goes on from another is not given them again, so
    /// [`Totals::totals`](crate::operators::Totals::totals) of them would begin at zero; these go on from where they were.
    ///
    /// [`distinct_within`]: Records::distinct_within
    ///
    /// ```
    /// use std::time::Duration;
    /// use thalweg::prelude::*;
    /// use thalweg::testing::Script;
    ///
    /// /// Requests by path, from lines such as `7 /path id`, which senders may repeat.
    /// #[derive(clap::Args)]
    /// struct Requests;
    /// impl Dataflow for Requests {
    ///     const NAME: &'static str = "requests";
    ///     const ABOUT: &'static str = "requests by path";
    ///     const VIEWS: &'static [View] = &[View { name: "requests", columns: &["path", "count"], about: "" }];
    ///     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
    ///         let mut lines = flow.records(Text);
    ///         lines.event_time(|line| {
    ///             let seconds = line.split(|byte| *byte == b' ').next()?;
    ///             std::str::from_utf8(seconds).ok()?.parse().ok().map(|seconds: i64| 1000 * seconds)
    ///         });
    ///         let once = lines.distinct_within::<Bytes, Bytes>("once", Duration::from_secs(60), |line| {
    ///             let mut words = line.line().split(|byte| *byte == b' ').skip(1);
    ///             let path = words.next()?;
    ///             Some((words.next()?, path))
    ///         });
    ///         let requests = flow.totals("requests", once.map(|(_id, path)| path));
    ///         flow.view("requests", requests);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let answer = Script::new(Requests)
    ///     .epoch("1 /a x\n2 /a y\n2 /a y\n")
    ///     .workers(2) // Stopped, and taken up by another run.
    ///     .epoch("3 /a x\n4 /a z\n")
    ///     .run();
    /// assert_eq!(answer.view("requests"), ["/a\t3"]);
    /// ```
    ///
    /// # Panics
    ///
    /// If a door has the same name; while running, if a total does not fit its type.
    #[track_caller]
    pub fn totals<K: ExchangeData + Hash, A: Total>(
        &self,
        name: &str,
        sums: VecCollection<'scope, Epoch, K, A>,
    ) -> VecCollection<'scope, Epoch, (K, A), isize> {
        self.lines.totals(name, sums)
    }

    /// Shows `rows` as view `name`, in the order of the rows.
    ///
    /// # Panics
    ///
    /// If the dataflow declares no such view, has given it already, or declares another number of columns.
    #[track_caller]
    pub fn view<R: Row>(&mut self, name: &str, rows: VecCollection<'scope, Epoch, R, isize>) {
        self.view_by(name, rows, R::cmp);
    }

    /// As [`Flow::view`], in the order that `compare` says; rows that it calls equal are in their own order.
    ///
    /// # Panics
    ///
    /// As [`Flow::view`].
    #[track_caller]
    pub fn view_by<R: Row>(
        &mut self,
        name: &str,
        rows: VecCollection<'scope, Epoch, R, isize>,
        compare: fn(&R, &R) -> Ordering,
    ) {
        self.give(name, rows, None, compare);
    }

    /// Shows `rows` as view `name`, in the order of the rows, and `finals` where a sink appends.
    ///
    /// This is for tables whose rows become final, such as those of windows: `rows` holds every row as it is now (−old,
    /// +new as records arrive), and `finals` each row once, inserted when nothing can change it any more, and never
    /// retracted. A row that is final is not taken out of `rows`: a sink that shows whole views shows it for ever.
    ///
    /// ```
    /// use thalweg::prelude::*;
    ///
    /// /// Counts the lines of each length; a length is final once it has been seen twice.
    /// #[derive(clap::Args)]
    /// struct Pairs;
    ///
    /// impl Dataflow for Pairs {
    ///     const NAME: &'static str = "pairs";
    ///     const ABOUT: &'static str = "lengths that occur twice";
    ///     const VIEWS: &'static [View] = &[View { name: "pairs", columns: &["bytes", "lines"], about: "the first two lines of each length" }];
    ///     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
    ///         let mut lines = flow.records(Text);
    ///         let rows = lines
    ///             .count_by::<u64>("lengths", |record| Some(record.line().len() as u64))
    ///             .map(|(length, count)| (length, count.min(2)));
    ///         let finals = rows.clone().filter(|(_, count)| *count == 2);
    ///         flow.view_table("pairs", rows, finals);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let answer = thalweg::testing::run_epochs(Pairs, 1, &[b"a\nbb\ncc\n", b"d\neee\n"]);
    /// assert_eq!(answer.view("pairs"), ["1\t2", "2\t2", "3\t1"]);
    /// assert_eq!(answer.finals("pairs"), ["2\t2", "1\t2"]);
    /// ```
    ///
    /// # Panics
    ///
    /// As [`Flow::view`].
    #[track_caller]
    pub fn view_table<R: Row>(
        &mut self,
        name: &str,
        rows: VecCollection<'scope, Epoch, R, isize>,
        finals: VecCollection<'scope, Epoch, R, isize>,
    ) {
        self.view_table_by(name, rows, finals, R::cmp);
    }

    /// Shows `rows` as view `name`, each of which is final as it comes: pairs of events, the first record of each key, keys that
    /// timed out, lines that were refused. A sink that appends shows each once.
    ///
    /// # Panics
    ///
    /// As [`Flow::view`].
    #[track_caller]
    pub fn view_appended<R: Row>(&mut self, name: &str, rows: VecCollection<'scope, Epoch, R, isize>) {
        self.view_table(name, rows.clone(), rows);
    }

    /// Shows the rows of windows or sessions as view `name`, in the order of the rows: [`Flow::view_table`] for what windowed
    /// doors return.
    ///
    /// # Panics
    ///
    /// As [`Flow::view`].
    #[track_caller]
    pub fn view_windows<R: Row>(&mut self, name: &str, windows: Windowed<'scope, R>) {
        self.view_windows_by(name, windows, R::cmp);
    }

    /// As [`Flow::view_windows`], in the order that `compare` says; rows that it calls equal are in their own order.
    ///
    /// # Panics
    ///
    /// As [`Flow::view`].
    #[track_caller]
    pub fn view_windows_by<R: Row>(
        &mut self,
        name: &str,
        windows: Windowed<'scope, R>,
        compare: fn(&R, &R) -> Ordering,
    ) {
        self.view_table_by(name, windows.rows(), windows.finals(), compare);
    }

    /// As [`Flow::view_table`], in the order that `compare` says; rows that it calls equal are in their own order.
    ///
    /// # Panics
    ///
    /// As [`Flow::view`].
    #[track_caller]
    pub fn view_table_by<R: Row>(
        &mut self,
        name: &str,
        rows: VecCollection<'scope, Epoch, R, isize>,
        finals: VecCollection<'scope, Epoch, R, isize>,
        compare: fn(&R, &R) -> Ordering,
    ) {
        self.give(name, rows, Some(finals), compare);
    }

    /// Whether a sink wants rows that have become final: where none does, [`Flow::view_table`] leaves them aside, and an
    /// operator need not make them.
    pub fn finals_wanted(&self) -> bool {
        self.gather.finals != History::Nothing
    }

    #[track_caller]
    fn give<R: Row>(
        &mut self,
        name: &str,
        rows: VecCollection<'scope, Epoch, R, isize>,
        finals: Option<VecCollection<'scope, Epoch, R, isize>>,
        compare: fn(&R, &R) -> Ordering,
    ) {
        let Some(at) = self.views.iter().position(|view| view.name == name) else {
            let known: Vec<_> = self.views.iter().map(|view| view.name).collect();
            panic!("the dataflow gives a view `{name}`, but declares only {known:?}");
        };
        let view = self.views[at];
        assert!(self.outputs[at].is_none(), "the dataflow gives view `{name}` twice");
        assert_eq!(R::COLUMNS, view.columns.len(), "columns given and declared of view `{name}`");
        let Gather { rows: of_rows, finals: of_finals } = self.gather;
        let rows = gather(of_rows, view, rows, compare, &self.probe);
        let finals = finals.filter(|_| of_finals != History::Nothing);
        let finals = finals.map(|finals| gather(of_finals, view, finals, compare, &self.probe));
        self.outputs[at] = Some(Output { rows, finals });
    }

    /// Ends the building.
    ///
    /// # Panics
    ///
    /// If a declared view was not given, or state was handed over for a door that there is not.
    pub fn finish(self) -> Installed {
        let mut outputs = Views::default();
        for (output, view) in self.outputs.into_iter().zip(self.views) {
            let Some(Output { rows, finals }) = output else {
                panic!("the dataflow declares view `{}`, but does not give it", view.name)
            };
            outputs.rows.push(rows);
            outputs.finals.extend(finals);
        }
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
            faults: self.lines.faults(),
            probe: self.probe,
            summary: self.summary.unwrap_or_default(),
        }
    }
}
