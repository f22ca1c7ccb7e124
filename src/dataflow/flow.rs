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

use crate::data::{InputCounts, Row, Stored, Total};
use crate::dataflow::tables::Tables;
use crate::door::{Durable, FaultProbe, Lines, Records, UNNAMED, Windowed};
use crate::format::Format;
use crate::lookup::{Lookup, LookupError, LookupKeys};
use crate::operators::per_closed_time;
use crate::time::Epoch;
use crate::view::{Compare, Deliveries, Outlets, Rows, Schema, View, Views};

/// One worker's dataflow while it is built: lines come in, views go out.
#[derive(Debug)]
pub struct Flow<'scope> {
    lines: Lines<'scope>,
    scope: Scope<'scope, Epoch>,
    views: &'static [View],
    deliveries: Deliveries,
    /// The views that were given, by their place among all.
    outlets: Vec<Option<Outlets>>,
    /// The keys that were declared, by the place of their view.
    keys: Vec<&'static [&'static str]>,
    probe: probe::Handle<Epoch>,
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
    /// A dataflow in `scope` with `views`, of which it delivers what `deliveries` say.
    pub fn new(
        scope: Scope<'scope, Epoch>,
        lines: Lines<'scope>,
        views: &'static [View],
        deliveries: Deliveries,
    ) -> Self {
        let outlets = views.iter().map(|_| None).collect();
        let keys = vec![&[][..]; views.len()];
        let (probe, tables) = (probe::Handle::new(), Tables::default());
        Flow { lines, scope, views, deliveries, outlets, keys, probe, summary: None, tables }
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
    /// /// Lines of two kinds, counted by their first byte.
    /// #[derive(clap::Args)]
    /// struct Both;
    /// impl Dataflow for Both {
    ///     const NAME: &'static str = "both";
    ///     const ABOUT: &'static str = "first bytes of what was asked and answered";
    ///     const VIEWS: &'static [View] = &[View { name: "firsts", columns: &["byte", "count"], about: "" }];
    ///     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
    ///         let asked = flow.read("asked", Text).collect::<u8>("asked", |line| line.first().copied());
    ///         let answered = flow.read("answered", Text).collect::<u8>("answered", |line| line.first().copied());
    ///         let firsts = flow.totals("firsts", asked.concat(answered));
    ///         flow.view("firsts", firsts);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let answer = Script::new(Both).epoch_of(&[("asked=a:", b"x\n"), ("answered=b:", b"x\ny\n")]).run();
    /// assert_eq!(answer.view("firsts"), ["120\t2", "121\t1"]);
    /// ```
    pub fn read<F: Format>(&mut self, name: &str, format: F) -> Records<'scope, F> {
        let first = !self.lines.inputs().iter().any(|known| known == name);
        let records = self.lines.read(name, format);
        // Lines that are read twice are counted once.
        if first {
            let summary = Rc::clone(self.summary.get_or_insert_default());
            let to_first = Exchange::new(|_: &((), Epoch, InputCounts)| 0);
            per_closed_time::<_, _, _, (), isize, _, _>(
                records.input_sums(),
                to_first,
                "Summary",
                vec![],
                move |time, updates, _| {
                    let Summary { mut counts, epochs } = summary.get();
                    updates.drain(..).for_each(|((), more)| counts.plus_equals(&more));
                    summary.set(Summary { counts, epochs: epochs.max(time.number() + 1) });
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
    pub fn totals<K: ExchangeData + Hash + Stored, A: Total + Stored>(
        &self,
        name: &str,
        sums: VecCollection<'scope, Epoch, K, A>,
    ) -> VecCollection<'scope, Epoch, (K, A), isize> {
        self.lines.totals(name, sums)
    }

    /// Says which columns of view `name` are its key: what a row is about. At one time, no two rows have the same. Sinks that
    /// keep a table, such as that of a database, go by it; to others it is a name. Said before the view is given; where it
    /// is not, all columns are the key.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// # const VIEWS: &[View] = &[View { name: "lengths", columns: &["bytes", "lines"], about: "" }];
    /// let build = Build::new("lengths", VIEWS, |flow| {
    ///     let lengths = flow.records(Text).count_by::<u64>("lengths", |line| Some(line.line().len() as u64));
    ///     flow.key("lengths", &["bytes"]);
    ///     flow.view("lengths", lengths);
    ///     Ok(())
    /// });
    /// assert_eq!(thalweg::testing::run(build, b"a\nbb\ncc\n").view("lengths"), ["1\t1", "2\t2"]);
    /// ```
    ///
    /// # Panics
    ///
    /// If the dataflow declares no such view, or has given it already; when the view is given, if it has no such columns.
    pub fn key(&mut self, name: &str, columns: &'static [&'static str]) {
        let at = self.place(name);
        assert!(self.outlets[at].is_none(), "the key of view `{name}` is said after the view was given");
        self.keys[at] = columns;
    }

    /// Shows `rows` as view `name`, in the order of the rows.
    ///
    /// # Panics
    ///
    /// If the dataflow declares no such view, has given it already, declares another number of columns, or a key
    /// ([`Flow::key`]) of which a column is not there.
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
        compare: impl Fn(&R, &R) -> Ordering + Copy + Send + Sync + 'static,
    ) {
        self.give(name, Rows::Change, rows, None, compare);
    }

    /// Shows `rows` as view `name`, in the order of the rows, and `finals` where a sink appends.
    ///
    /// This is for tables whose rows become final, such as those of windows: `rows` holds every row as it is now (−old,
    /// +new as records arrive), and `finals` each row once, inserted when nothing can change it any more, and never
    /// retracted. A row that is final is not taken out of `rows`: a sink that shows whole views shows it for as long as its
    /// bound says ([`Keep`](crate::view::Keep)). A final row that is retracted ends the run with an error.
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
    /// timed out, lines that were refused. A sink that appends shows each once. If a row is retracted, the run ends with an error
    /// that names the view, whatever the sinks show of it.
    ///
    /// # Panics
    ///
    /// As [`Flow::view`].
    #[track_caller]
    pub fn view_appended<R: Row>(&mut self, name: &str, rows: VecCollection<'scope, Epoch, R, isize>) {
        self.give(name, Rows::Appended, rows, None, R::cmp);
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
        compare: impl Fn(&R, &R) -> Ordering + Copy + Send + Sync + 'static,
    ) {
        // Asking for the final rows has the doors make them, which is work where no sink shows any.
        let finals = self.deliveries.any_finals().then(|| windows.finals());
        self.give(name, Rows::BecomeFinal, windows.rows(), finals, compare);
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
        compare: impl Fn(&R, &R) -> Ordering + Copy + Send + Sync + 'static,
    ) {
        self.give(name, Rows::BecomeFinal, rows, Some(finals), compare);
    }

    #[track_caller]
    fn give<R: Row>(
        &mut self,
        name: &str,
        change: Rows,
        rows: VecCollection<'scope, Epoch, R, isize>,
        finals: Option<VecCollection<'scope, Epoch, R, isize>>,
        compare: impl Compare<R>,
    ) {
        let at = self.place(name);
        assert!(self.outlets[at].is_none(), "the dataflow gives view `{name}` twice");
        let schema = Schema::new::<R>(self.views[at], self.keys[at], change);
        let schema = schema.unwrap_or_else(|error| panic!("{error}"));
        self.outlets[at] = Some(Outlets::new(schema, self.deliveries, rows, finals, compare, &self.probe));
    }

    /// Where view `name` stands among all.
    fn place(&self, name: &str) -> usize {
        self.views.iter().position(|view| view.name == name).unwrap_or_else(|| {
            let known: Vec<_> = self.views.iter().map(|view| view.name).collect();
            panic!("the dataflow gives a view `{name}`, but declares only {known:?}")
        })
    }

    /// Ends the building.
    ///
    /// # Panics
    ///
    /// If a declared view was not given.
    pub fn finish(self) -> Installed {
        let outlets = self.outlets.into_iter().zip(self.views).map(|(outlets, view)| {
            outlets
                .unwrap_or_else(|| panic!("the dataflow declares view `{}`, but does not give it", view.name))
        });
        let views = Views::new(outlets.collect());
        Installed {
            views,
            durable: self.lines.durable(),
            event_time: self.lines.goes_by_event_time(),
            inputs: self.lines.inputs(),
            faults: self.lines.faults(),
            probe: self.probe,
            summary: self.summary.unwrap_or_default(),
        }
    }
}
