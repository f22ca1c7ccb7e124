//! One incarnation: the real runtime on a machine that does one thing at a time, and may go down between any two.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use timely::WorkerConfig;
use timely::communication::Hooks;
use timely::communication::WorkerGuards;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};
use timely::execute::execute_from;
use timely::worker::Worker;

use crate::data::InputCounts;
use crate::dataflow::Build;
use crate::errand::panic_message;
use crate::errand::simulated::{self, Step};
use crate::operators::Routing;
use crate::runtime::clock::simulated as clock;
use crate::runtime::fatal::Fatal;
use crate::runtime::simulation::plant;
use crate::runtime::worker::{Job, Outcome, Patience, Work};
use crate::runtime::{Begin, Settings};
use crate::source::Progress;

/// What a worker is told.
enum Order {
    /// To do so much, at this time.
    Turns(u32, Duration),
    /// To let go of everything.
    Leave,
}

/// What it answers.
enum Answer {
    Going,
    Done(Box<Outcome>),
    Failed(String),
}

struct Seat {
    orders: Sender<Order>,
    answers: Receiver<Answer>,
    outcome: Option<Outcome>,
}

/// How a machine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Running,
    Done,
    /// It has ended with this reason.
    Failed(String),
}

/// A process on a machine of its own.
pub(super) struct Machine {
    machine: Arc<simulated::Machine>,
    seats: Vec<Seat>,
    guards: Option<WorkerGuards<()>>,
    errands: Vec<Step>,
    health: Health,
}

impl Machine {
    /// Starts a run of `build`. What it fails of at once is in its health.
    pub(super) fn start(build: &Build, settings: &Settings, routing: u8, now: Duration) -> Self {
        let machine = Arc::<simulated::Machine>::default();
        machine.install();
        clock::set(now);
        let health = Health::Running;
        let mut started = Machine { machine, seats: Vec::new(), guards: None, errands: Vec::new(), health };
        let workers = settings.workers;
        let job = catch_unwind(AssertUnwindSafe(|| {
            let begin = Begin::prepare(build, settings)?;
            let vitals = (0..workers).map(|_| Arc::default()).collect();
            let routing = Routing::of([routing; Routing::BYTES]);
            begin.job(build, settings, Arc::new(Progress::default()), None, vitals, routing)
        }));
        let job = match job {
            Ok(Ok(job)) => job,
            Ok(Err(error)) => {
                started.health = Health::Failed(format!("{error}"));
                return started;
            }
            Err(payload) => {
                started.health = Health::Failed(format!("panicked: {}", panic_message(&*payload)));
                return started;
            }
        };
        let (mut seats, mut desks) = (Vec::new(), Vec::new());
        for _ in 0..workers {
            let (orders, received) = channel();
            let (answer, answers) = channel();
            seats.push(Seat { orders, answers, outcome: None });
            desks.push(Mutex::new(Some((received, answer))));
        }
        started.seats = seats;
        let (theirs, bug) = (Arc::clone(&started.machine), plant::planted());
        let body = move |worker: &mut Worker| {
            theirs.install();
            plant::plant(bug);
            let (orders, answers) = lock(&desks[worker.index()]).take().expect("each worker has one");
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| work(worker, &job, &orders, &answers))) {
                let _ = answers.send(Answer::Failed(format!("panicked: {}", panic_message(&*payload))));
                while !matches!(orders.recv(), Ok(Order::Leave) | Err(_)) {}
            }
            for dataflow in worker.installed_dataflows() {
                worker.drop_dataflow(dataflow);
            }
        };
        let builders = ProcessBuilder::new_typed_vector(workers, Hooks::default().refill, None);
        let builders = builders.into_iter().map(AllocatorBuilder::Process).collect();
        let guards = execute_from(builders, Box::new(()), WorkerConfig::default(), body);
        started.guards = Some(guards.expect("workers can be started"));
        // Each builds its part of the dataflow, one after the other.
        (0..workers).for_each(|worker| started.turn(worker, 0, now));
        started
    }

    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    pub(super) fn workers(&self) -> usize {
        self.seats.len()
    }

    /// What became of the input, when it is done.
    pub(super) fn counts(&self) -> Option<InputCounts> {
        self.seats.first()?.outcome.as_ref().map(|outcome| outcome.counts)
    }

    /// Worker `worker` goes on by `turns`.
    pub(super) fn turn(&mut self, worker: usize, turns: u32, now: Duration) {
        let seat = &mut self.seats[worker];
        if self.health != Health::Running || seat.outcome.is_some() {
            return;
        }
        let answer = seat.orders.send(Order::Turns(turns, now)).ok().and_then(|()| seat.answers.recv().ok());
        match answer {
            Some(Answer::Going) => {}
            Some(Answer::Done(outcome)) => seat.outcome = Some(*outcome),
            Some(Answer::Failed(why)) => self.health = Health::Failed(why),
            None => self.health = Health::Failed("panicked: a worker is gone".to_owned()),
        }
        self.errands.extend(self.machine.started());
        if self.health == Health::Running && self.seats.iter().all(|seat| seat.outcome.is_some()) {
            self.health = Health::Done;
        }
    }

    /// How many errands there are.
    pub(super) fn errands(&self) -> usize {
        self.errands.len()
    }

    /// Errand `number` does its next thing; `lull` says whether it has waited long enough.
    pub(super) fn step(&mut self, number: usize, lull: bool, now: Duration) -> &str {
        clock::set(now);
        let step = &self.errands[number];
        step.step(lull);
        step.name()
    }

    /// The machine goes down.
    pub(super) fn die(mut self) {
        self.machine.die();
        for seat in &self.seats {
            let _ = seat.orders.send(Order::Leave);
        }
        self.seats.clear();
        // What they had to say has been said.
        self.guards.take().into_iter().for_each(|guards| guards.join().into_iter().for_each(drop));
        self.errands.iter().for_each(|step| {
            step.step(false);
        });
    }
}

fn work(worker: &mut Worker, job: &Job, orders: &Receiver<Order>, answers: &Sender<Answer>) {
    let mut work = None;
    while let Ok(Order::Turns(turns, now)) = orders.recv() {
        clock::set(now);
        let answer = match some_turns(worker, job, &mut work, turns) {
            Ok(None) => Answer::Going,
            Ok(Some(outcome)) => Answer::Done(Box::new(outcome)),
            Err(fatal) => Answer::Failed(fatal.reason.to_string()),
        };
        if answers.send(answer).is_err() {
            break;
        }
    }
}

fn some_turns(
    worker: &mut Worker,
    job: &Job,
    work: &mut Option<Work>,
    turns: u32,
) -> Result<Option<Outcome>, Fatal> {
    let mut now = match work.take() {
        Some(work) => work,
        None => Work::begin(worker, job)?,
    };
    let mut rested = 0;
    for _ in 0..turns {
        if now.turn(worker, job, Patience::None)? {
            return now.end().map(Some);
        }
        rested = if now.rests { rested + 1 } else { 0 };
        if rested > 1 {
            break;
        }
    }
    *work = Some(now);
    Ok(None)
}

/// What is shared by threads of which one goes on at a time.
pub(super) fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap()
}
