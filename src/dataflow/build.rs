//! A dataflow that can be built: with values for its options.

use std::fmt;
use std::sync::Arc;

use timely::WorkerConfig;
use timely::communication::Allocator;
use timely::communication::allocator::thread::Thread;
use timely::worker::Worker;

use crate::dataflow::tables::Tables;
use crate::dataflow::{BuildError, Dataflow, Flow};
use crate::door::Lines;
use crate::source::Progress;
use crate::time::{Epoch, TimeOptions};
use crate::view::{Deliveries, Delivery, View};

/// A dataflow with values for its options, or a function that builds one; each worker runs it once.
#[derive(Clone)]
pub struct Build {
    name: &'static str,
    views: &'static [View],
    logic: Arc<Logic>,
    /// The options that were given, for people and for the processes of a cluster to compare.
    options: Vec<(String, String)>,
    tables: Tables,
}

type Logic = dyn for<'a, 'scope> Fn(&'a mut Flow<'scope>) -> Result<(), BuildError> + Send + Sync;

impl Build {
    /// Builds `dataflow`.
    pub fn of<D: Dataflow>(dataflow: D) -> Self {
        Build::new(D::NAME, D::VIEWS, move |flow| dataflow.build(flow))
    }

    /// Builds with `logic`, for a program that has a dataflow and no name for it on a command line.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// const VIEWS: &[View] = &[View { name: "words", columns: &["word", "count"], about: "by count" }];
    /// let build = Build::new("words", VIEWS, |flow| {
    ///     let words = flow.records(Text).count_each::<Bytes>("words", |line, each| {
    ///         line.line().split(|byte| *byte == b' ').for_each(each);
    ///     });
    ///     flow.view_by("words", words, by_count);
    ///     Ok(())
    /// });
    /// build.check()?;
    /// assert_eq!(thalweg::testing::run(build, b"to be or not to be\n").view("words").len(), 4);
    /// # Ok::<(), BuildError>(())
    /// ```
    pub fn new(
        name: &'static str,
        views: &'static [View],
        logic: impl for<'a, 'scope> Fn(&'a mut Flow<'scope>) -> Result<(), BuildError> + Send + Sync + 'static,
    ) -> Self {
        Build { name, views, logic: Arc::new(logic), options: Vec::new(), tables: Tables::default() }
    }

    /// With these options for the record.
    pub(super) fn with_options(mut self, options: &[(&str, &str)]) -> Self {
        self.options =
            options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.options.sort();
        self
    }

    /// What the dataflow is called.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its views, in the order in which sinks show them.
    pub fn views(&self) -> &'static [View] {
        self.views
    }

    /// Whether it can be built: it is, on a worker that never reads anything.
    ///
    /// # Errors
    ///
    /// What [`Dataflow::build`] returns.
    ///
    /// # Panics
    ///
    /// If two doors have one name, or a view is not shown as it was declared.
    pub fn check(&self) -> Result<(), BuildError> {
        self.inputs().map(|_| ())
    }

    /// The inputs that it reads, by name: what [`Build::check`] finds.
    pub(crate) fn inputs(&self) -> Result<Vec<String>, BuildError> {
        let allocator = Allocator::Thread(Thread::default());
        let mut worker = Worker::new(WorkerConfig::default(), allocator, None);
        worker.dataflow::<Epoch, _, _>(|scope| {
            let (lines, _feed) = Lines::fed(scope, Arc::new(Progress::default()), TimeOptions::default());
            let mut flow = Flow::new(scope, lines, self.views, Deliveries::rows(Delivery::Changes));
            self.run(&mut flow)?;
            Ok(flow.finish().inputs)
        })
    }

    /// Builds it on `flow`.
    pub(crate) fn run(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        flow.share_tables(&self.tables);
        (self.logic)(flow)
    }

    /// What the processes of a cluster compare: the options that were given, and what was read when it was checked.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Vec<u8>> {
        let options = self.options.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
        let options: Vec<_> = options.map(<[u8]>::to_vec).collect();
        options.into_iter().chain(self.tables.digests())
    }
}

impl<D: Dataflow> From<D> for Build {
    fn from(dataflow: D) -> Self {
        Build::of(dataflow)
    }
}

impl fmt::Debug for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Build")
            .field("name", &self.name)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
