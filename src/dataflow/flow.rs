//! One worker's dataflow while it is built.

use std::cell::{Cell, RefCell};
use std::hash::Hash;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use differential_dataflow::difference::Semigroup;
use differential_dataflow::{ExchangeData, VecCollection};
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::{Probe, probe};

use crate::data::{InputCounts, Stored, Total};
use crate::dataflow::BuildError;
use crate::dataflow::tables::Tables;
use crate::door::{
    ColumnNames, Consumed, Durable, Facts, FaultProbe, Lines, Records, Table, UNNAMED, Windowed,
};
use crate::format::Format;
use crate::lookup::{Lookup, LookupError, LookupKeys};
use crate::operators::per_closed_time;
use crate::time::Epoch;
use crate::view::{Deliveries, Misbuilt, Register, Views};

/// One worker's dataflow while it is built: lines come in, tables are shown.
#[derive(Debug)]
pub struct Flow<'scope> {
    lines: Lines<'scope>,
    scope: Scope<'scope, Epoch>,
    register: Rc<RefCell<Register>>,
    /// What became of the input so far, on worker 0.
    summary: Option<Rc<Cell<Summary>>>,
    /// What keys are looked up in, shared by all workers.
    tables: Tables,
}

/// What a built dataflow leaves with its worker.
#[derive(Debug)]
pub struct Installed {
    /// Where the views leave; they arrive on worker 0.
    pub views: Views,
    /// Closed epochs: what every view has been given.
    pub probe: probe::Handle<Epoch>,
    /// What is durable of this worker's part, and how it goes together with the state that was
    /// restored.
    pub durable: Durable,
    /// Whether it goes by event time.
    pub event_time: bool,
    /// How long after the last record something may still come of it, as event time goes on.
    pub horizon: Duration,
    /// The inputs that it reads, by name.
    pub inputs: Vec<String>,
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
    /// A dataflow in `scope`, of whose views it delivers what `deliveries` say.
    pub fn new(scope: Scope<'scope, Epoch>, lines: Lines<'scope>, deliveries: Deliveries) -> Self {
        let lines = lines.registering(Register::new(deliveries));
        let register = Rc::clone(lines.register());
        Flow { lines, scope, register, summary: None, tables: Tables::default() }
    }

    /// The scope in which the dataflow is built, for operators of timely and differential.
    pub fn scope(&self) -> Scope<'scope, Epoch> {
        self.scope
    }

    /// The lines of the dataflow's one input as records of `format`.
    ///
    /// Called twice, it reads the lines twice.
    pub fn records<F: Format>(&mut self, format: F) -> Records<'scope, F> {
        self.read(UNNAMED, format)
    }

    /// The lines of input `name` as records of `format`: those of the sources that are given to it (`--source NAME=URI`).
    ///
    /// A dataflow may have several inputs, each with a format of its own, and they have one watermark.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// use thalweg::testing::Script;
    ///
    /// // Lines of two kinds, counted by their first byte.
    /// let build = Build::new("both", |flow| {
    ///     let asked = flow.read("asked", Text).by(text("first"), |line| line.get(..1)).collect("asked");
    ///     let answered = flow.read("answered", Text).by(text("first"), |line| line.get(..1)).collect("answered");
    ///     asked.concat(answered).count("firsts").show("firsts");
    ///     Ok(())
    /// });
    /// let answer = Script::new(build).epoch_of(&[("asked=a:", b"x\n"), ("answered=b:", b"x\ny\n")]).run();
    /// assert_eq!(answer.view("firsts"), ["x\t2", "y\t1"]);
    /// ```
    pub fn read<F: Format>(&mut self, name: &str, format: F) -> Records<'scope, F> {
        let first = !self.lines.inputs().iter().any(|known| known == name);
        let records = self.lines.read(name, format);
        // Lines that are read twice are counted once.
        if let Some(sums) = records.input_sums().filter(|_| first) {
            let summary = Rc::clone(self.summary.get_or_insert_default());
            let to_first = Exchange::new(|_: &((), Epoch, InputCounts)| 0);
            let summed = per_closed_time::<_, _, _, (), isize, _, _>(
                sums,
                to_first,
                "Summary",
                vec![],
                move |time, updates, _| {
                    let Summary { mut counts, epochs } = summary.get();
                    updates.drain(..).for_each(|((), more)| counts.plus_equals(&more));
                    summary.set(Summary { counts, epochs: epochs.max(time.number() + 1) });
                },
            );
            summed.inner.probe_with(self.register.borrow().probe());
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

    /// A table of `collection`, with columns of these names: for what operators of differential have made of tables
    /// ([`Rows::rows`](crate::door::Rows::rows)).
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// let build = Build::new("lengths", |flow| {
    ///     let words = flow.records(Text).by(text("word"), |line| Some(line.line())).count("words");
    ///     let lengths = words.rows().map(|(word, _)| word.len() as u64).totals();
    ///     flow.table(["bytes", "words"], lengths).show("lengths");
    ///     Ok(())
    /// });
    /// assert_eq!(thalweg::testing::run(build, b"to\nbe\nto\nand\n").view("lengths"), ["2\t2", "3\t1"]);
    /// ```
    pub fn table<R: ExchangeData>(
        &self,
        columns: impl ColumnNames,
        collection: VecCollection<'scope, Epoch, R, isize>,
    ) -> Table<'scope, R> {
        self.lines.rows(columns, collection)
    }

    /// As [`Flow::table`], of rows that are inserted once and never retracted. A sink that appends shows each once. If one is
    /// retracted, the run ends with an error that names the view, whatever the sinks show of it.
    pub fn facts<R: ExchangeData>(
        &self,
        columns: impl ColumnNames,
        collection: VecCollection<'scope, Epoch, R, isize>,
    ) -> Facts<'scope, R> {
        self.lines.rows(columns, collection)
    }

    /// As [`Flow::table`], of rows that become final: `rows` holds every row as it is now (−old, +new as records arrive), and
    /// `finals` each row once, inserted when nothing can change it any more, and never retracted.
    ///
    /// A row that is final is not taken out of `rows`: a sink that shows whole views shows it for as long as its
    /// bound says ([`Keep`](crate::view::Keep)). A final row that is retracted ends the run with an error.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// // Counts the lines of each length; a length is final once it has been seen twice.
    /// let build = Build::new("pairs", |flow| {
    ///     let lengths = flow.records(Text).by(number("bytes"), |line| Some(line.len() as i64)).count("lengths");
    ///     let rows = lengths.rows().map(|(length, count)| (length, count.min(2)));
    ///     let finals = rows.clone().filter(|(_, count)| *count == 2);
    ///     flow.windowed(["bytes", "lines"], rows, finals).show("pairs");
    ///     Ok(())
    /// });
    /// let answer = thalweg::testing::run_epochs(build, 1, &[b"a\nbb\ncc\n", b"d\neee\n"]);
    /// assert_eq!(answer.view("pairs"), ["1\t2", "2\t2", "3\t1"]);
    /// assert_eq!(answer.finals("pairs"), ["2\t2", "1\t2"]);
    /// ```
    pub fn windowed<R: ExchangeData>(
        &self,
        columns: impl ColumnNames,
        rows: VecCollection<'scope, Epoch, R, isize>,
        finals: VecCollection<'scope, Epoch, R, isize>,
    ) -> Windowed<'scope, R> {
        self.lines.rows(columns, rows).of_windows(finals, Consumed::default())
    }

    /// The running totals of `sums` as rows `(key, total)`, which are durable under `name`: what adds up facts that operators
    /// of differential have made, and that a run which goes on from another is not given again.
    /// ([`Totals`](crate::operators::Totals) of those would begin at zero.)
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// use thalweg::testing::Script;
    /// let build = Build::new("bytes", |flow| {
    ///     let lines = flow.records(Text).by(text("line"), |line| Some(line.line())).collect("lines");
    ///     let lengths = lines.rows().map(|line| line.len() as u64);
    ///     flow.totals("lengths", lengths).columns(["bytes", "lines"]).show("lengths");
    ///     Ok(())
    /// });
    /// let answer = Script::new(build).epoch("one\n").workers(2).epoch("two\nthree\n").run();
    /// assert_eq!(answer.view("lengths"), ["3\t2", "5\t1"]);
    /// ```
    ///
    /// # Panics
    ///
    /// While running, if a total does not fit its type.
    #[track_caller]
    pub fn totals<K: ExchangeData + Hash + Stored, A: Total + Stored>(
        &self,
        name: &str,
        sums: VecCollection<'scope, Epoch, K, A>,
    ) -> Table<'scope, (K, A)> {
        self.lines.totals(name, sums)
    }

    /// Ends the building.
    ///
    /// # Errors
    ///
    /// When there was a mistake in it: two doors or views of one name, names for more or fewer columns than there are, doors
    /// that go by time on records that tell none, or nothing to show.
    pub fn finish(self) -> Result<Installed, BuildError> {
        let mut register = self.register.borrow_mut();
        if let Some((mistake, place)) = register.first_mistake() {
            return Err(BuildError { mistake: mistake.into(), place });
        }
        let views = register.take_views();
        if views.schemas().len() == 0 {
            return Err(Misbuilt::NoViews.into());
        }
        Ok(Installed {
            views,
            durable: self.lines.durable(),
            event_time: self.lines.goes_by_event_time(),
            horizon: self.lines.horizon(),
            inputs: self.lines.inputs(),
            faults: self.lines.faults(),
            probe: register.probe().clone(),
            summary: self.summary.clone().unwrap_or_default(),
        })
    }
}
