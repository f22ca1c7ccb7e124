//! A dataflow that can be built: with values for its options.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use timely::WorkerConfig;
use timely::communication::Allocator;
use timely::communication::allocator::thread::Thread;
use timely::worker::Worker;

use crate::dataflow::tables::Tables;
use crate::dataflow::{BuildError, Dataflow, Flow, Installed};
use crate::door::Lines;
use crate::source::Progress;
use crate::state::Identity;
use crate::time::{Epoch, TimeOptions};
use crate::view::{Deliveries, Delivery, Schema};

/// A dataflow with values for its options, or a function that builds one; each worker runs it once.
#[derive(Clone)]
pub struct Build {
    name: &'static str,
    logic: Arc<Logic>,
    /// The options that were given, for people and for the processes of a cluster to compare.
    options: Vec<(String, String)>,
    tables: Tables,
}

/// What a dataflow is, as its dry build has found.
#[derive(Clone, Debug)]
pub struct Outline {
    /// Its views, in the order in which sinks show them.
    pub views: Vec<Arc<Schema>>,
    /// The inputs that it reads, by name; one without a name is [`UNNAMED`](crate::door::UNNAMED).
    pub inputs: Vec<String>,
    /// Its doors that have durable rows, in the order in which they are opened.
    pub doors: Vec<Identity>,
}

type Logic = dyn for<'a, 'scope> Fn(&'a mut Flow<'scope>) -> Result<(), BuildError> + Send + Sync;

impl Build {
    /// Builds `dataflow`.
    pub fn of<D: Dataflow>(dataflow: D) -> Self {
        Build::new(D::NAME, move |flow| dataflow.build(flow))
    }

    /// Builds with `logic`, for a program that has a dataflow and no name for it on a command line.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// let build = Build::new("words", |flow| {
    ///     let lines = flow.records(Text);
    ///     let words = lines.by_each(text("word"), |line, each| line.line().split(|byte| *byte == b' ').for_each(each));
    ///     words.count("words").sorted_by(by_count).show("words");
    ///     Ok(())
    /// });
    /// assert_eq!(build.check()?.views[0].to_string(), "words (word*: text, count: integer of 64 bits)");
    /// assert_eq!(thalweg::testing::run(build, b"to be or not to be\n").view("words")[0], "be\t2");
    /// # Ok::<(), BuildError>(())
    /// ```
    pub fn new(
        name: &'static str,
        logic: impl for<'a, 'scope> Fn(&'a mut Flow<'scope>) -> Result<(), BuildError> + Send + Sync + 'static,
    ) -> Self {
        Build { name, logic: Arc::new(logic), options: Vec::new(), tables: Tables::default() }
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

    /// Whether it can be built, and what comes of it: it is, on a worker that never reads anything.
    ///
    /// # Errors
    ///
    /// What [`Dataflow::build`] returns, or the first mistake in how doors and views go together.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// let build = Build::new("twice", |flow| {
    ///     let lines = flow.records(Text);
    ///     lines.all().count("lines").show("lines");
    ///     lines.all().count("lines").show("more lines");
    ///     Ok(())
    /// });
    /// let error = build.check().unwrap_err().to_string();
    /// assert!(error.starts_with("two doors are named `lines`; the other was opened at "), "{error}");
    /// ```
    pub fn check(&self) -> Result<Outline, BuildError> {
        let allocator = Allocator::Thread(Thread::default());
        let mut worker = Worker::new(WorkerConfig::default(), allocator, None);
        worker.dataflow::<Epoch, _, _>(|scope| {
            let (lines, _feed) = Lines::fed(scope, Arc::new(Progress::default()), TimeOptions::default());
            let flow = Flow::new(scope, lines, Deliveries::rows(Delivery::Changes));
            let installed = self.install(flow)?;
            let views = installed.views.schemas().cloned().collect();
            Ok(Outline { views, inputs: installed.inputs, doors: installed.durable.doors() })
        })
    }

    /// Builds it on `flow`.
    pub(crate) fn install(&self, mut flow: Flow<'_>) -> Result<Installed, BuildError> {
        flow.share_tables(&self.tables);
        (self.logic)(&mut flow)?;
        flow.finish()
    }

    /// The tables that it looks keys up in, as files: those that were read when it was checked.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.tables.files()
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
