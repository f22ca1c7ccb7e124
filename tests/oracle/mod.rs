//! What the oracle tests share: a run that cannot hang, random updates, and sums computed the slow way.

#![allow(dead_code, reason = "each test binary uses its part of this")]

use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use differential_dataflow::{ExchangeData, VecCollection};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use thalweg::data::Stats;
use thalweg::time::Epoch;
use timely::dataflow::operators::{Input, Probe, probe};
use timely::worker::Worker;

/// Every property holds at each of these numbers of workers.
pub const WORKERS: [usize; 3] = [1, 2, 4];

/// How many cases a property tries here; failures are kept beside the test, to be tried first from then on.
pub fn cases(cases: u32) -> ProptestConfig {
    let beside = FileFailurePersistence::WithSource("proptest-regressions");
    ProptestConfig { cases, failure_persistence: Some(Box::new(beside)), ..ProptestConfig::default() }
}

/// How the workers of one run end together: when one panics, timely leaves the others waiting for ever.
pub struct Together {
    failed: AtomicBool,
    deadline: Instant,
}

impl Together {
    fn check(&self) {
        assert!(!self.failed.load(SeqCst), "another worker failed");
        #[expect(clippy::disallowed_methods, reason = "a deadline, so that a stuck frontier is a failure")]
        let now = Instant::now();
        assert!(now < self.deadline, "the dataflow is stuck");
    }

    /// Steps until `done`.
    pub fn step_until(&self, worker: &mut Worker, mut done: impl FnMut(&Worker) -> bool) {
        while !done(worker) {
            self.check();
            worker.step_or_park(Some(Duration::from_millis(1)));
        }
    }
}

/// Runs `logic` on each of `workers` workers and their dataflows to the end; a panic in one of them is passed on.
pub fn on_workers<T: Send + 'static>(
    workers: usize,
    logic: impl Fn(&mut Worker, &Together) -> T + Send + Sync + 'static,
) -> Vec<T> {
    type Panic = Box<dyn Any + Send>;
    #[expect(clippy::disallowed_methods, reason = "a deadline, so that a stuck frontier is a failure")]
    let deadline = Instant::now() + Duration::from_secs(100);
    let together = Together { failed: AtomicBool::new(false), deadline };
    let first: Arc<Mutex<Option<Panic>>> = Arc::default();
    let panicked = Arc::clone(&first);
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let run = catch_unwind(AssertUnwindSafe(|| {
            let result = logic(worker, &together);
            together.step_until(worker, |worker| !worker.has_dataflows());
            result
        }));
        run.map_err(|panic| {
            if !together.failed.swap(true, SeqCst) {
                *panicked.lock().unwrap() = Some(panic);
            }
            // What a dataflow says while it is torn down after a panic is of no interest.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                worker.installed_dataflows().into_iter().for_each(|dataflow| worker.drop_dataflow(dataflow));
            }));
        })
    });
    let results = guards.unwrap().join();
    if let Some(panic) = first.lock().unwrap().take() {
        resume_unwind(panic);
    }
    results.into_iter().map(|result| result.expect("panics are caught").expect("and passed on")).collect()
}

/// What `logic` says as it panics.
pub fn panic_message(logic: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(logic)).expect_err("this must panic");
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .expect("panics say something")
}

/// One update: who sends it, in a message of which epoch, and when it happens, which may be later.
#[derive(Clone, Debug)]
pub struct Sent<D, R> {
    pub worker: usize,
    pub round: u64,
    pub data: D,
    pub time: Epoch,
    pub diff: R,
}

/// All updates of a run, in the order in which they are sent where they share worker and round.
#[derive(Clone, Debug)]
pub struct Script<D, R> {
    pub sent: Vec<Sent<D, R>>,
    /// How often the workers step after each round: where it is 0, epochs are open at the same time.
    pub steps: Vec<u8>,
}

/// Epochs in which updates are sent.
pub const ROUNDS: u64 = 5;

impl<D, R> Script<D, R> {
    /// The times at which anything happens, and the first.
    pub fn times(&self) -> BTreeSet<Epoch> {
        self.sent.iter().map(|sent| sent.time).chain([Epoch::new(0)]).collect()
    }
}

/// A round, and a time in it or after it.
pub fn moment() -> impl Strategy<Value = (u64, Epoch)> {
    (0..ROUNDS, prop_oneof![3 => Just(0u64), 1 => 1..3u64], prop_oneof![3 => Just(0u32), 1 => 1..4u32])
        .prop_map(|(round, ahead, step)| (round, Epoch::new(round + ahead).at_step(step)))
}

/// How the workers step.
pub fn pace() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(0u8), 1..6u8], 1..5)
}

/// Any updates of `data` by `diff`.
pub fn script<D: Debug + Clone, R: Debug + Clone>(
    data: impl Strategy<Value = D>,
    diff: impl Strategy<Value = R>,
    size: usize,
) -> impl Strategy<Value = Script<D, R>> {
    let sent = (0..4usize, moment(), data, diff).prop_map(|(worker, (round, time), data, diff)| Sent {
        worker,
        round,
        data,
        time,
        diff,
    });
    (prop::collection::vec(sent, 0..size), pace()).prop_map(|(sent, steps)| Script { sent, steps })
}

/// An update as it came out, and on which worker.
pub type Seen<D, R> = (usize, D, Epoch, R);

/// What came out of a run.
pub struct Ran<D, R, X> {
    /// The updates, by worker and then in the order in which they came.
    pub seen: Vec<Seen<D, R>>,
    /// What was observed of each worker as the run paused, if it did, and in the end.
    pub observed: Vec<Vec<X>>,
}

impl<D: Ord + Clone, R: Ord + Clone, X> Ran<D, R, X> {
    /// The updates as they were emitted, in a fixed order.
    pub fn emitted(&self) -> Vec<(Epoch, D, R)> {
        let mut emitted: Vec<_> = self.seen.iter().map(|(_, d, t, r)| (*t, d.clone(), r.clone())).collect();
        emitted.sort();
        emitted
    }

    /// Whether each worker showed its times in order.
    pub fn in_order(&self) -> bool {
        self.seen.windows(2).all(|pair| pair[0].0 != pair[1].0 || pair[0].2 <= pair[1].2)
    }
}

impl<D: Ord + Clone, X> Ran<D, isize, X> {
    /// The content as of `time`.
    pub fn content(&self, time: Epoch) -> BTreeMap<D, isize> {
        let mut content = BTreeMap::new();
        for (_, data, _, diff) in self.seen.iter().filter(|seen| seen.2 <= time) {
            *content.entry(data.clone()).or_default() += diff;
        }
        content.retain(|_, count| *count != 0);
        content
    }
}

/// A collection, and how to look at what made it.
pub type Built<'scope, D, R, X> = (VecCollection<'scope, Epoch, D, R>, Box<dyn FnMut() -> X>);

/// Runs what `build` makes of the updates in `script`.
///
/// With `pause`, each worker waits once that epoch is closed, and looks, before it lets the next one close.
pub fn run<D, R, D2, R2, X>(
    workers: usize,
    script: &Script<D, R>,
    pause: Option<u64>,
    build: impl for<'scope> Fn(VecCollection<'scope, Epoch, D, R>) -> Built<'scope, D2, R2, X>
    + Send
    + Sync
    + 'static,
) -> Ran<D2, R2, X>
where
    D: ExchangeData + Sync,
    R: ExchangeData + Sync,
    D2: ExchangeData,
    R2: ExchangeData,
    X: Send + 'static,
{
    use differential_dataflow::AsCollection;
    let script = script.clone();
    let results = on_workers(workers, move |worker, together| {
        let (index, peers) = (worker.index(), worker.peers());
        let seen: Rc<RefCell<Vec<Seen<D2, R2>>>> = Rc::default();
        let recorded = Rc::clone(&seen);
        let probe = probe::Handle::new();
        let (mut input, mut observe) = worker.dataflow::<Epoch, _, _>(|scope| {
            let (input, stream) = scope.new_input::<Vec<(D, Epoch, R)>>();
            let (output, observe) = build(stream.as_collection());
            let record = move |(data, time, diff): &(D2, Epoch, R2)| {
                recorded.borrow_mut().push((index, data.clone(), *time, diff.clone()));
            };
            output.inspect(record).inner.probe_with(&probe);
            (input, observe)
        });
        let mut observed = Vec::new();
        for round in 0..ROUNDS {
            for sent in script.sent.iter().filter(|sent| sent.worker % peers == index && sent.round == round)
            {
                input.send((sent.data.clone(), sent.time, sent.diff.clone()));
            }
            let next = Epoch::new(round + 1);
            input.advance_to(next);
            let steps = script.steps[round as usize % script.steps.len()];
            for _ in 0..steps {
                worker.step();
            }
            if pause == Some(round) {
                together.step_until(worker, |_| !probe.less_than(&next));
                observed.push(observe());
            }
        }
        input.close();
        together.step_until(worker, |_| probe.done());
        observed.push(observe());
        (seen.take(), observed)
    });
    let (seen, observed): (Vec<_>, Vec<_>) = results.into_iter().unzip();
    Ran { seen: seen.concat(), observed }
}

/// Sums, once more and by hand, for oracles.
pub trait Naive: Clone + Default + PartialEq {
    fn add(&mut self, other: &Self);
    fn nothing(&self) -> bool {
        *self == Self::default()
    }
}

macro_rules! naive_integer {
    ($($t:ty),*) => {$(
        impl Naive for $t {
            fn add(&mut self, other: &Self) {
                *self += other;
            }
        }
    )*};
}
naive_integer!(isize, i32, i64, i128);

impl Naive for (isize, i64) {
    fn add(&mut self, other: &Self) {
        self.0 += other.0;
        self.1 += other.1;
    }
}

impl Naive for Stats {
    fn add(&mut self, other: &Self) {
        if self.count == 0 {
            *self = *other;
        } else if other.count > 0 {
            let least = self.min.unwrap().min(other.min.unwrap());
            let most = self.max.unwrap().max(other.max.unwrap());
            let (count, sum) = (self.count + other.count, self.sum + other.sum);
            *self = Stats { count, sum, min: Some(least), max: Some(most) };
        }
    }
}

/// The sums of all updates up to `time`, without those that are zero.
pub fn sums<K: Ord + Clone, A: Naive>(sent: &[Sent<K, A>], time: Epoch) -> BTreeMap<K, A> {
    let mut sums: BTreeMap<K, A> = BTreeMap::new();
    for sent in sent.iter().filter(|sent| sent.time <= time) {
        sums.entry(sent.data.clone()).or_default().add(&sent.diff);
    }
    sums.retain(|_, sum| !sum.nothing());
    sums
}
