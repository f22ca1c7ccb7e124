//! A run inside another program: lines are pushed, epochs closed, and changes read as values.
//!
//! The workers are threads in the background. They are asked for an epoch, of which the conductor
//! then opens one with all that was pushed, and what it has changed comes back when it is closed and
//! sealed. Nothing here ends the process, installs a panic hook, reads arguments or writes anywhere.

mod changes;
mod worker;

use std::fmt;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use timely::communication::WorkerGuards;

pub use changes::Change;
use changes::{Arrived, Each, changes};
use worker::{Event, Job, Shared, work};

use crate::data::{InputCounts, Row};
use crate::dataflow::{Build, Outline, Summary};
use crate::door::UNNAMED;
use crate::errand::panic_message;
use crate::ledger::{Conductor, LedgerOptions};
use crate::operators::Routing;
use crate::runtime::{RunError, draw_routing};
use crate::source::{Dealer, Dealt, ReadOptions, Source};
use crate::time::{Time, TimeOptions};
use crate::view::{Deliveries, Delivery, Schema};

/// A dataflow that runs inside this program, on worker threads in the background.
///
/// The program says what the input is and where each epoch ends. Lines are dealt out among the
/// workers, whole, and are one partition, so that the answer is the same at any number of workers.
/// They are held in memory until their epoch is closed, and changes until they are taken.
///
/// ```
/// use thalweg::Run;
/// use thalweg::prelude::*;
///
/// let build = Build::new("words", |flow| {
///     let words = flow.records(Text).by(text("word"), |line| Some(line.line())).count("words");
///     words.sorted_by(by_count).show("words");
///     Ok(())
/// });
///
/// let mut run = Run::of(build).workers(2).start()?;
/// run.push(b"ann\nbob\nann\n")?;
/// run.close_epoch()?;
/// let first: Vec<_> = run.changes::<(Bytes, isize)>("words")?.into_iter().map(|change| change.row).collect();
/// assert_eq!(first, [(Bytes::from("ann"), 2), (Bytes::from("bob"), 1)]);
///
/// // A line may come in pieces.
/// run.push(b"an")?;
/// run.push(b"n\n")?;
/// run.close_epoch()?;
/// let changes = run.changes::<(Bytes, isize)>("words")?;
/// let changes: Vec<_> = changes.into_iter().map(|change| (change.row.1, change.diff)).collect();
/// assert_eq!(changes, [(2, -1), (3, 1)]);
///
/// // The end of the input is an event of its own: the last windows close.
/// let counts = run.finish()?;
/// assert_eq!((counts.lines, counts.malformed), (4, 0));
/// assert!(run.push(b"more\n").is_err());
/// # Ok::<(), thalweg::runtime::RunError>(())
/// ```
///
/// When anything goes wrong the run is over, and the reason comes back from the call that waits for
/// it: a worker that panics (its message is in the error), a line that the format does not put up
/// with, a row retracted that was called final. A `Run` that is dropped without
/// [`finish`](Run::finish) ends its workers where they are, and waits for that.
pub struct Run {
    shared: Arc<Shared>,
    events: Receiver<Event>,
    workers: Option<WorkerGuards<()>>,
    /// By input.
    dealers: Vec<(String, Dealer)>,
    /// By view.
    views: Vec<Arrived>,
    /// How many epochs were asked for.
    requested: u64,
    /// All epochs before this one are closed.
    closed: u64,
    counts: InputCounts,
    /// The input has ended, or something went wrong.
    over: bool,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("closed", &self.closed).field("over", &self.over).finish_non_exhaustive()
    }
}

/// A [`Run`] that has not begun.
#[must_use = "nothing runs before `start`"]
pub struct RunBuilder {
    build: Build,
    workers: usize,
    time: TimeOptions,
    read: ReadOptions,
    arriving: Option<Time>,
    finals: bool,
    each: Vec<(String, Each)>,
}

impl fmt::Debug for RunBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunBuilder")
            .field("build", &self.build)
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}

impl RunBuilder {
    /// On so many worker threads; zero counts as one. Default: 1.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// With times as `options` say. Default: [`TimeOptions::default`].
    pub fn time(mut self, options: TimeOptions) -> Self {
        self.time = options;
        self
    }

    /// With lines read as `options` say. Default: [`ReadOptions::default`].
    pub fn read(mut self, options: ReadOptions) -> Self {
        self.read = options;
        self
    }

    /// With epochs that all arrive at `time`, so that nothing depends on the clock. Default:
    /// each arrives when it is closed.
    pub fn arriving(mut self, time: impl Into<Time>) -> Self {
        self.arriving = Some(time.into());
        self
    }

    /// With the rows that have become final, for [`Run::finals`], of the views that have such.
    /// Default: without, which is less work.
    pub fn with_finals(mut self) -> Self {
        self.finals = true;
        self
    }

    /// Calls `callback` once for each closed epoch with its number, from 0, and the changes of view
    /// `view`, in order; there may be none. [`Run::changes`] has no changes of that view then.
    ///
    /// It is called on the thread, and within the call, that closes the epoch or finishes the run.
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use thalweg::prelude::*;
    ///
    /// let build = Build::new("lengths", |flow| {
    ///     flow.records(Text).by(column::<u64>("bytes"), |line| Some(line.len() as u64)).count("lines").show("lines");
    ///     Ok(())
    /// });
    /// let (to, from) = mpsc::channel();
    /// let run = thalweg::Run::of(build).each::<(u64, isize)>("lines", move |epoch, changes| {
    ///     to.send((epoch, changes.into_iter().map(|change| change.row).collect::<Vec<_>>())).ok();
    /// });
    /// let mut run = run.start()?;
    /// run.push(b"one\nthree\n")?;
    /// run.close_epoch()?;
    /// run.close_epoch()?;
    /// assert_eq!(from.try_iter().collect::<Vec<_>>(), [(0, vec![(3, 1), (5, 1)]), (1, vec![])]);
    /// # Ok::<(), thalweg::runtime::RunError>(())
    /// ```
    pub fn each<R: Row>(
        mut self,
        view: &str,
        mut callback: impl FnMut(u64, Vec<Change<R>>) + Send + 'static,
    ) -> Self {
        let each = move |schema: &Schema, epoch, batches| {
            callback(epoch, changes(schema, batches)?);
            Ok(())
        };
        self.each.push((view.to_owned(), Box::new(each)));
        self
    }

    /// Builds the dataflow, and starts the workers.
    ///
    /// # Errors
    ///
    /// When the dataflow cannot be built, a callback is for a view that there is not, or the system
    /// refuses a thread.
    pub fn start(self) -> Result<Run, RunError> {
        let Outline { inputs, views, .. } = outline(&self.build)?;
        for (view, _) in &self.each {
            place(views.iter().map(|view| &**view), view)?;
        }
        let mut sources: Vec<(Option<String>, Arc<dyn Source>)> = Vec::new();
        let mut dealers = Vec::new();
        for input in inputs {
            let uri = format!("push:{input}");
            let (source, dealer) = Dealt::new(&uri, self.workers, self.read.chunk_bytes);
            sources.push((Some(input.clone()).filter(|input| input != UNNAMED), Arc::new(source)));
            dealers.push((input, dealer));
        }
        let pace = LedgerOptions::unpaced(self.workers, self.time);
        let found: Vec<_> = sources.iter().map(|(_, source)| Arc::clone(source)).collect();
        let mut conductor = Conductor::new(pace, &found)?;
        conductor.by_hand(self.arriving);

        let (to, events) = channel();
        let shared = Arc::new(Shared::new(self.workers, to));
        let deliveries = Deliveries { finals: self.finals, ..Deliveries::rows(Delivery::Changes) };
        let job = Job {
            build: self.build,
            time: self.time,
            read: self.read,
            deliveries,
            sources,
            conductor: Mutex::new(Some(conductor)),
            shared: Arc::clone(&shared),
            routing: Routing::of(draw_routing()?),
        };
        let workers =
            timely::execute(timely::Config::process(self.workers), move |worker| work(worker, &job))
                .map_err(RunError::Timely)?;
        let mut run = Run {
            shared,
            events,
            workers: Some(workers),
            dealers,
            views: Vec::new(),
            requested: 0,
            closed: 0,
            counts: InputCounts::default(),
            over: false,
        };
        run.built(self.each)?;
        Ok(run)
    }
}

/// What `build` comes to. It is built on a thread of its own: a function that panics ends only that.
fn outline(build: &Build) -> Result<Outline, RunError> {
    let build = build.clone();
    let builder = std::thread::Builder::new().name("thalweg: check".to_owned());
    let thread = builder.spawn(move || build.check());
    let thread = thread.map_err(|source| RunError::System { what: "start a thread", source })?;
    match thread.join() {
        Ok(outline) => Ok(outline?),
        Err(payload) => {
            let what = "the dataflow, as it was built,".to_owned();
            Err(RunError::Panicked { what, message: panic_message(&*payload) })
        }
    }
}

/// Where view `name` stands among `views`.
fn place<'a>(views: impl Iterator<Item = &'a Schema> + Clone, name: &str) -> Result<usize, RunError> {
    let known = || views.clone().map(|view| view.name.clone()).collect();
    let at = views.clone().position(|view| view.name == name);
    at.ok_or_else(|| RunError::NoSuchView { view: name.to_owned(), views: known() })
}

impl Run {
    /// A run of `dataflow`: a value of a dataflow, or a [`Build`].
    pub fn of(dataflow: impl Into<Build>) -> RunBuilder {
        RunBuilder {
            build: dataflow.into(),
            workers: 1,
            time: TimeOptions::default(),
            read: ReadOptions::default(),
            arriving: None,
            finals: false,
            each: Vec::new(),
        }
    }

    /// Pushes bytes into the dataflow's one input, or the one without a name: any number of lines,
    /// and pieces of them. A line belongs to the epoch in which its LF was pushed.
    ///
    /// # Errors
    ///
    /// When there is no such input, or the run is over.
    pub fn push(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), RunError> {
        match self.dealers.as_slice() {
            [(only, _)] => self.push_to(&only.clone(), bytes),
            _ => self.push_to(UNNAMED, bytes),
        }
    }

    /// Pushes bytes into input `input`, as [`Run::push`] does.
    ///
    /// # Errors
    ///
    /// When there is no such input, or the run is over.
    pub fn push_to(&mut self, input: &str, bytes: impl AsRef<[u8]>) -> Result<(), RunError> {
        self.going_on()?;
        match self.dealers.iter_mut().find(|(name, _)| name == input) {
            Some((_, dealer)) => {
                dealer.push(bytes.as_ref());
                Ok(())
            }
            None => {
                let inputs = self.dealers.iter().map(|(name, _)| name.clone()).collect();
                Err(RunError::NoSuchInput { input: input.to_owned(), inputs })
            }
        }
    }

    /// Closes an epoch that has all the lines which were pushed since the last; returns its number,
    /// from 0. What it has changed can be read then.
    ///
    /// # Errors
    ///
    /// When the run has failed, or is over already.
    pub fn close_epoch(&mut self) -> Result<u64, RunError> {
        self.going_on()?;
        let epoch = self.requested;
        self.requested += 1;
        self.shared.request();
        while self.closed <= epoch {
            // What shows no view has ended before anything was asked of it.
            self.going_on()?;
            self.receive()?;
        }
        Ok(epoch)
    }

    /// The changes of view `view` in the epochs that were closed since this was asked last, oldest
    /// first: each row once for every time at which it changed, and those of one time in the order of
    /// the rows. What a view holds is the sum of all of its changes.
    ///
    /// `R` is the type of the rows that the dataflow shows there, such as `(Bytes, isize)`. What is
    /// never asked for stays in memory; [`RunBuilder::each`] takes changes as they come.
    ///
    /// # Errors
    ///
    /// When there is no such view, its rows are of another type (they can then be asked for again), or
    /// it is appended to and a row was retracted.
    pub fn changes<R: Row>(&mut self, view: &str) -> Result<Vec<Change<R>>, RunError> {
        let changes = self.view(view)?.take_changes();
        self.ended_by(changes)
    }

    /// The rows of view `view` that have become final in the epochs that were closed since this was
    /// asked last, oldest first. There are none unless the run was started
    /// [`with_finals`](RunBuilder::with_finals). (Rows of a view that is appended to are final as they
    /// come, and are in its [`changes`](Run::changes).)
    ///
    /// # Errors
    ///
    /// As for [`Run::changes`].
    pub fn finals<R: Row>(&mut self, view: &str) -> Result<Vec<Change<R>>, RunError> {
        let finals = self.view(view)?.take_finals();
        self.ended_by(finals)
    }

    /// What became of the lines of the epochs that are closed.
    pub fn counts(&self) -> InputCounts {
        self.counts
    }

    /// Ends the input, and with it the run: what was pushed and is in no epoch yet gets one, windows
    /// close, and the workers end. What has changed by that can still be read. Returns what became of
    /// all lines.
    ///
    /// # Errors
    ///
    /// When the run has failed, or is over already.
    pub fn finish(&mut self) -> Result<InputCounts, RunError> {
        self.going_on()?;
        self.dealers.iter().for_each(|(_, dealer)| dealer.end());
        self.shared.request();
        while !self.over {
            self.receive()?;
        }
        self.join();
        self.shared.take_error().map_or(Ok(self.counts), Err)
    }

    fn going_on(&self) -> Result<(), RunError> {
        if self.over { Err(RunError::Over) } else { Ok(()) }
    }

    fn view(&mut self, name: &str) -> Result<&mut Arrived, RunError> {
        let at = place(self.views.iter().map(|view| &*view.schema), name)?;
        Ok(&mut self.views[at])
    }

    /// Waits until the dataflow is built, and then has `each` take what changes.
    fn built(&mut self, each: Vec<(String, Each)>) -> Result<(), RunError> {
        while self.views.is_empty() {
            match self.events.recv() {
                Ok(Event::Built(schemas)) if schemas.is_empty() => break,
                Ok(Event::Built(schemas)) => self.views = schemas.into_iter().map(Arrived::new).collect(),
                Ok(Event::Changed(_) | Event::Closed(..)) => {}
                Ok(Event::Failed | Event::Ended(_)) | Err(_) => return Err(self.failed()),
            }
        }
        for (view, each) in each {
            self.view(&view)?.each.push(each);
        }
        Ok(())
    }

    /// Takes in the next that the workers have to say.
    fn receive(&mut self) -> Result<(), RunError> {
        match self.events.recv() {
            Ok(Event::Changed(changed)) => {
                for batch in changed.rows {
                    self.views[batch.view].changes.push_back(batch);
                }
                for batch in changed.finals {
                    self.views[batch.view].finals.push_back(batch);
                }
            }
            Ok(Event::Closed(upto, summary)) => self.close(upto, summary)?,
            Ok(Event::Ended(summary)) => {
                // The last epochs end together.
                let seen = self.views.iter().filter_map(Arrived::last).max();
                let upto = self.closed.max(summary.epochs).max(seen.map_or(0, |last| last + 1));
                self.close(upto, summary)?;
                self.over = true;
            }
            Ok(Event::Built(_)) => {}
            Ok(Event::Failed) | Err(_) => return Err(self.failed()),
        }
        Ok(())
    }

    /// All epochs before `upto` are closed: whoever takes their changes as they come is given them.
    fn close(&mut self, upto: u64, summary: Summary) -> Result<(), RunError> {
        self.counts = summary.counts;
        for epoch in self.closed..upto {
            self.closed = epoch + 1;
            let given = self.views.iter_mut().try_for_each(|view| view.give(epoch));
            self.ended_by(given)?;
        }
        Ok(())
    }

    /// `result`, with which the run is over if it says that a row was retracted that was final.
    fn ended_by<T>(&mut self, result: Result<T, RunError>) -> Result<T, RunError> {
        if let Err(RunError::Retracted(_)) = result {
            self.over = true;
            self.shared.give_up();
        }
        result
    }

    /// Why a worker has ended before it should have.
    fn failed(&mut self) -> RunError {
        self.over = true;
        self.shared.give_up();
        self.shared.take_error().unwrap_or(RunError::Over)
    }

    fn join(&mut self) {
        if let Some(workers) = self.workers.take() {
            // A panic was caught within, and is the error of whoever waited.
            let _ = workers.join();
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.shared.give_up();
        self.join();
    }
}
