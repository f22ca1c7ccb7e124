//! What is done beside the workers: an *errand*, which takes orders and does them one after the other, on a thread of its own.
//!
//! A worker waits for no disk and no server: it tells an errand ([`Orders::tell`]), and looks later how far that has come.
//! Snapshots, the journal, the spool and the sinks are such. An errand ends when nobody can tell it any more, or at its first error,
//! and unparks the thread that started it then.
//!
//! Between two orders a [`Task`] is at rest ([`Task::rest`]): the place to do at once what several orders have in common, such
//! as a sync.
//!
//! Nothing else in durable runs has threads, and errands wait for nothing but orders. So a test can do the work of all of
//! them on one thread, in an order that it draws: see [`simulated`].

use std::any::Any;
use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle, Thread};
use std::time::Duration;

/// The niceness of what is in the background: a tenth of a worker's share of a processor that both want. Snapshots that were as
/// important as workers held up epochs of 10 ms by 50 ms and more, where there were two processors (`thalweg bench latency --state`).
const BACKGROUND_NICE: i32 = 10;

/// What an errand does.
pub(crate) trait Task: Send + 'static {
    /// What it is told.
    type Order: Send + 'static;
    /// Why it cannot go on.
    type Error: Send + 'static;

    /// Whether workers, and what they wait for, come first where processors are scarce.
    const BACKGROUND: bool = false;

    /// Begins, before the first order.
    fn begin(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Does `order`.
    fn perform(&mut self, order: Self::Order) -> Result<(), Self::Error>;

    /// No order waits: does what it has put off. Should no order come for as long as it says, [`Task::lull`] is called once.
    fn rest(&mut self) -> Result<Option<Duration>, Self::Error> {
        Ok(None)
    }

    /// No order has come for as long as it said.
    fn lull(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    /// No order will come any more.
    fn end(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    /// What is said of it if it panics with `message`.
    fn panicked(&self, message: String) -> Self::Error;
}

/// What those who tell and the one who does both see.
struct Desk<O, E> {
    state: Mutex<State<O, E>>,
    /// Something has been told, or nobody is left who could.
    told: Condvar,
    /// There is room, or it has begun, has nothing to do, has ended.
    done: Condvar,
    bound: usize,
    owner: Thread,
}

struct State<O, E> {
    orders: VecDeque<O>,
    /// How many can tell it something.
    tellers: usize,
    begun: bool,
    /// Whether it is at work.
    busy: bool,
    ended: bool,
    failed: Option<E>,
}

impl<O, E> Desk<O, E> {
    fn lock(&self) -> MutexGuard<'_, State<O, E>> {
        // Nothing that could panic is done while it is locked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, result: Result<(), E>) {
        let mut state = self.lock();
        state.failed = result.err();
        state.ended = true;
        // Nobody will do them.
        let orders = std::mem::take(&mut state.orders);
        drop(state);
        self.done.notify_all();
        self.owner.unpark();
        drop(orders);
    }
}

/// What an errand is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// More.
    Go,
    /// To wait for an order, and not longer than that.
    Wait(Option<Duration>),
    /// Nothing.
    Over,
}

/// A task at its desk.
struct Doer<T: Task> {
    task: T,
    desk: Arc<Desk<T::Order, T::Error>>,
    /// Orders that it has taken.
    taken: VecDeque<T::Order>,
    /// Whether it is at rest, and for how long until there is a lull.
    resting: Option<Option<Duration>>,
}

impl<T: Task> Doer<T> {
    /// Does the next thing. `lull` says that it has waited as long as it wanted to.
    fn next(&mut self, lull: bool) -> Next {
        let done = catch_unwind(AssertUnwindSafe(|| self.go_on(lull)));
        let done = done.unwrap_or_else(|payload| Err(self.task.panicked(panic_message(&*payload))));
        match done {
            Ok(Next::Over) => {
                self.desk.end(Ok(()));
                Next::Over
            }
            Ok(next) => next,
            Err(error) => {
                self.desk.end(Err(error));
                Next::Over
            }
        }
    }

    fn go_on(&mut self, lull: bool) -> Result<Next, T::Error> {
        if let Some(order) = self.taken.pop_front() {
            self.task.perform(order)?;
            return Ok(Next::Go);
        }
        let mut state = self.desk.lock();
        if !state.begun {
            drop(state);
            self.task.begin()?;
            self.desk.lock().begun = true;
            self.desk.done.notify_all();
            return Ok(Next::Go);
        }
        if state.ended {
            return Ok(Next::Over);
        }
        if !state.orders.is_empty() {
            std::mem::swap(&mut state.orders, &mut self.taken);
            state.busy = true;
            drop(state);
            self.desk.done.notify_all();
            self.resting = None;
            return Ok(Next::Go);
        }
        match self.resting {
            None => {
                drop(state);
                self.resting = Some(self.task.rest()?);
                // Something may have been told in the meantime.
                Ok(Next::Go)
            }
            Some(_) if state.tellers == 0 => {
                drop(state);
                self.task.end()?;
                Ok(Next::Over)
            }
            Some(Some(_)) if lull => {
                drop(state);
                self.resting = Some(None);
                self.task.lull()?;
                Ok(Next::Go)
            }
            Some(wait) => {
                state.busy = false;
                drop(state);
                self.desk.done.notify_all();
                Ok(Next::Wait(wait))
            }
        }
    }

    fn run(&mut self) {
        let mut lull = false;
        loop {
            match self.next(lull) {
                Next::Over => return,
                Next::Go => lull = false,
                Next::Wait(longest) => {
                    let idle =
                        |state: &mut State<T::Order, T::Error>| state.orders.is_empty() && state.tellers > 0;
                    let state = self.desk.lock();
                    lull = match longest {
                        None => {
                            drop(self.desk.told.wait_while(state, idle));
                            false
                        }
                        Some(longest) => match self.desk.told.wait_timeout_while(state, longest, idle) {
                            Ok((_, timeout)) => timeout.timed_out(),
                            Err(_) => false,
                        },
                    };
                }
            }
        }
    }
}

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// What `body` gives, or the message of its panic: for a library that panics of what it is given to read. Elsewhere a panic is a bug,
/// and may end the process.
pub(crate) fn catch<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    let before = CATCHING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(body));
    CATCHING.set(before);
    result.map_err(|payload| panic_message(&*payload))
}

/// Whether a panic of this thread is caught by [`catch`].
pub(crate) fn is_catching() -> bool {
    CATCHING.get()
}

/// The message of a panic.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".to_owned())
}

/// The way to an errand. Clones lead to the same one, which ends when all are dropped.
pub(crate) struct Orders<O, E> {
    desk: Arc<Desk<O, E>>,
    here: Here,
}

impl<O, E> fmt::Debug for Orders<O, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Orders").field("waiting", &self.desk.lock().orders.len()).finish_non_exhaustive()
    }
}

impl<O, E> Clone for Orders<O, E> {
    fn clone(&self) -> Self {
        self.desk.lock().tellers += 1;
        Orders { desk: Arc::clone(&self.desk), here: self.here.clone() }
    }
}

impl<O, E> Drop for Orders<O, E> {
    fn drop(&mut self) {
        let mut state = self.desk.lock();
        state.tellers -= 1;
        let last = state.tellers == 0;
        drop(state);
        if last {
            self.desk.told.notify_all();
        }
    }
}

impl<O, E> Orders<O, E> {
    /// Tells it to do `order`, or gives that back where too much waits. One that has ended takes everything: what it ended of is
    /// said by [`Errand::check`].
    pub(crate) fn try_tell(&self, order: O) -> Result<(), O> {
        let mut state = self.desk.lock();
        if state.ended {
            return Ok(());
        }
        if state.orders.len() >= self.desk.bound {
            return Err(order);
        }
        state.orders.push_back(order);
        drop(state);
        self.desk.told.notify_one();
        Ok(())
    }

    /// Tells it to do `order` as soon as there is room; returns whether it goes on.
    pub(crate) fn tell(&self, order: O) -> bool {
        let mut order = Some(order);
        let mut goes_on = true;
        self.here.wait(&self.desk, |state| {
            goes_on = !state.ended;
            if goes_on && state.orders.len() < self.desk.bound {
                state.orders.extend(order.take());
            }
            !goes_on || order.is_none()
        });
        self.desk.told.notify_one();
        goes_on
    }

    /// Before an answer to what it was told is waited for: without a thread, it is done now.
    pub(crate) fn do_here(&self) {
        #[cfg(test)]
        if self.here.turns.is_some() {
            self.wait_until_idle();
        }
    }

    fn wait_until_idle(&self) {
        self.here
            .wait(&self.desk, |state| state.ended || state.begun && state.orders.is_empty() && !state.busy);
    }
}

/// What is done beside the one who holds it.
pub(crate) struct Errand<O, E> {
    /// `None` when there will be no more.
    orders: Option<Orders<O, E>>,
    desk: Arc<Desk<O, E>>,
    here: Here,
    thread: Option<JoinHandle<()>>,
}

impl<O, E> fmt::Debug for Errand<O, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Errand").field("orders", &self.orders).finish_non_exhaustive()
    }
}

impl<O: Send + 'static, E: Send + 'static> Errand<O, E> {
    /// Has `task` done on a thread called `name`. Where `bound` orders wait, there is no room for more.
    ///
    /// # Errors
    ///
    /// When the system has no thread for it.
    pub(crate) fn start<T>(name: &str, bound: usize, task: T) -> io::Result<Self>
    where
        T: Task<Order = O, Error = E>,
    {
        let state = State {
            orders: VecDeque::new(),
            tellers: 1,
            begun: false,
            busy: true,
            ended: false,
            failed: None,
        };
        let desk = Arc::new(Desk {
            state: Mutex::new(state),
            told: Condvar::new(),
            done: Condvar::new(),
            bound: bound.max(1),
            owner: std::thread::current(),
        });
        let doer = Doer { task, desk: Arc::clone(&desk), taken: VecDeque::new(), resting: None };
        let (here, thread) = Here::run(name, doer)?;
        let orders = Some(Orders { desk: Arc::clone(&desk), here: here.clone() });
        Ok(Errand { orders, desk, here, thread })
    }
}

impl<O, E> Errand<O, E> {
    /// Another way to it, without which it does not end either.
    ///
    /// # Panics
    ///
    /// After [`Errand::close`].
    pub(crate) fn orders(&self) -> Orders<O, E> {
        self.orders.clone().expect("it can be told something")
    }

    /// Tells it to do `order` as soon as there is room, unless it has been closed or has ended.
    pub(crate) fn tell(&self, order: O) {
        if let Some(orders) = &self.orders {
            orders.tell(order);
        }
    }

    /// Looks whether it goes on; why it does not is said once.
    pub(crate) fn check(&self) -> Result<(), E> {
        self.desk.lock().failed.take().map_or(Ok(()), Err)
    }

    /// Whether it has ended, in order or not.
    pub(crate) fn has_ended(&self) -> bool {
        self.desk.lock().ended
    }

    /// Waits until it has begun, or failed to.
    pub(crate) fn wait_until_begun(&self) {
        self.here.wait(&self.desk, |state| state.begun || state.ended);
    }

    /// Waits until all that it was told is done, or it has ended.
    pub(crate) fn wait_until_idle(&self) {
        if let Some(orders) = &self.orders {
            orders.wait_until_idle();
        }
    }

    /// Nothing more is told by its holder.
    pub(crate) fn close(&mut self) {
        self.orders = None;
    }

    /// Waits until it has done what it was told, and ends it. Nobody else may be able to tell it anything.
    pub(crate) fn finish(&mut self) -> Result<(), E> {
        self.close();
        self.here.wait(&self.desk, |state| state.ended);
        if let Some(thread) = self.thread.take() {
            // What it panicked of was caught, and is said now.
            let _ = thread.join();
        }
        self.check()
    }
}

/// Something of which the next thing can be done from outside.
#[cfg(test)]
trait Turns: Send {
    fn turn(&mut self, lull: bool) -> Next;
}

#[cfg(test)]
impl<T: Task> Turns for Doer<T> {
    fn turn(&mut self, lull: bool) -> Next {
        self.next(lull)
    }
}

/// Whether the errand is done by those who tell it: in simulations.
#[derive(Clone, Default)]
struct Here {
    #[cfg(test)]
    turns: Option<simulated::Step>,
}

impl Here {
    fn run<T: Task>(name: &str, mut doer: Doer<T>) -> io::Result<(Self, Option<JoinHandle<()>>)> {
        #[cfg(test)]
        if simulated::is_on() {
            return Ok((Here { turns: Some(simulated::add(name, Box::new(doer))) }, None));
        }
        let body = move || {
            if T::BACKGROUND && cfg!(target_os = "linux") {
                // Of this thread alone there, and elsewhere of the process. Where it is refused, all are equal.
                let _ = rustix::process::setpriority_process(None, BACKGROUND_NICE);
            }
            doer.run();
        };
        let thread = Builder::new().name(name.to_owned()).spawn(body)?;
        Ok((Here::default(), Some(thread)))
    }

    /// Waits until what is on `desk` is as `ready` says.
    fn wait<O, E>(&self, desk: &Desk<O, E>, mut ready: impl FnMut(&mut State<O, E>) -> bool) {
        #[cfg(test)]
        if let Some(turns) = &self.turns {
            while !ready(&mut desk.lock()) && turns.turn(true) != Next::Over {}
            return;
        }
        let state = desk.lock();
        drop(desk.done.wait_while(state, |state| !ready(state)));
    }
}

/// Errands without threads: each does its next thing when it is told to.
#[cfg(test)]
pub(crate) mod simulated {
    use std::cell::RefCell;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};

    use super::{Next, Turns};

    thread_local! {
        static MACHINE: RefCell<Option<Arc<Machine>>> = const { RefCell::new(None) };
    }

    /// A machine, which does what its threads start, and may go down.
    #[derive(Default)]
    pub(crate) struct Machine {
        started: Mutex<Vec<Step>>,
        dead: AtomicBool,
    }

    impl Machine {
        /// From now on, errands that this thread starts are done by this machine. It is one of several threads of which no two go on
        /// at a time.
        pub(crate) fn install(self: &Arc<Self>) {
            MACHINE.set(Some(Arc::clone(self)));
        }

        /// Those that were started since the last call.
        pub(crate) fn started(&self) -> Vec<Step> {
            std::mem::take(&mut self.started.lock().unwrap())
        }

        /// No errand does anything more, whoever waits for it.
        pub(crate) fn die(&self) {
            self.dead.store(true, Ordering::SeqCst);
        }
    }

    /// An errand, by steps.
    #[derive(Clone)]
    pub(crate) struct Step {
        name: Arc<str>,
        machine: Arc<Machine>,
        doer: Arc<Mutex<Option<Box<dyn Turns>>>>,
    }

    impl Step {
        /// Does the next thing, unless it is under way, or the machine is dead.
        pub(super) fn turn(&self, lull: bool) -> Next {
            let Ok(mut doer) = self.doer.try_lock() else { return Next::Over };
            let dead = self.machine.dead.load(Ordering::SeqCst);
            let next = if dead { Next::Over } else { doer.as_mut().map_or(Next::Over, |it| it.turn(lull)) };
            if next == Next::Over {
                *doer = None;
            }
            next
        }

        /// What its thread would be called.
        pub(crate) fn name(&self) -> &str {
            &self.name
        }

        /// Does the next thing, if there is any; `lull` says whether so much time has passed as it wanted to wait. Returns whether it
        /// has something to do at once.
        pub(crate) fn step(&self, lull: bool) -> bool {
            self.turn(lull) == Next::Go
        }
    }

    pub(super) fn is_on() -> bool {
        MACHINE.with_borrow(Option::is_some)
    }

    pub(super) fn add(name: &str, doer: Box<dyn Turns>) -> Step {
        let machine = MACHINE.with_borrow(|machine| machine.clone().expect("it is on"));
        let doer = Arc::new(Mutex::new(Some(doer)));
        let step = Step { name: name.into(), machine: Arc::clone(&machine), doer };
        machine.started.lock().unwrap().push(step.clone());
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds up what it is told, and says the sum when it rests.
    struct Sum {
        sum: u64,
        said: Arc<Mutex<Vec<u64>>>,
    }

    impl Task for Sum {
        type Order = u64;
        type Error = String;

        fn perform(&mut self, order: u64) -> Result<(), String> {
            assert_ne!(order, 1013, "unlucky");
            self.sum = self.sum.checked_add(order).ok_or("too much")?;
            Ok(())
        }

        fn rest(&mut self) -> Result<Option<Duration>, String> {
            self.said.lock().unwrap().push(self.sum);
            Ok(None)
        }

        fn panicked(&self, message: String) -> String {
            message
        }
    }

    fn sum() -> (Errand<u64, String>, Arc<Mutex<Vec<u64>>>) {
        let said = Arc::<Mutex<Vec<u64>>>::default();
        (Errand::start("sum", 2, Sum { sum: 0, said: Arc::clone(&said) }).unwrap(), said)
    }

    #[test]
    fn what_it_is_told_is_done_in_order_and_what_is_put_off_when_nothing_waits() {
        let (mut errand, said) = sum();
        let other = errand.orders();
        (1..=100).for_each(|number| errand.tell(number));
        errand.wait_until_idle();
        assert_eq!(said.lock().unwrap().last(), Some(&5050));
        errand.close();
        assert!(!errand.has_ended(), "somebody can still tell it something");
        assert!(other.tell(1));
        drop(other);
        assert_eq!(errand.finish(), Ok(()));
        assert!(errand.has_ended());
    }

    #[test]
    fn it_ends_with_its_first_error_or_panic_and_says_so_once() {
        for (order, error) in [(u64::MAX, "too much"), (1013, "unlucky")] {
            let (mut errand, _) = sum();
            let other = errand.orders();
            errand.tell(1);
            errand.tell(order);
            errand.wait_until_idle();
            assert!(errand.has_ended() && !other.tell(1) && other.try_tell(1).is_ok());
            let found = errand.check().unwrap_err();
            assert!(found.contains(error), "{found}");
            drop(other);
            assert_eq!(errand.finish(), Ok(()), "it has been said");
        }
    }

    #[test]
    fn in_a_simulation_it_does_one_thing_at_a_time() {
        std::thread::spawn(|| {
            let machine = Arc::<simulated::Machine>::default();
            machine.install();
            let (mut errand, said) = sum();
            let [step] = &machine.started()[..] else { panic!("one was started") };
            errand.tell(1);
            assert!(errand.orders().try_tell(2).is_ok() && errand.orders().try_tell(3) == Err(3));
            assert!(said.lock().unwrap().is_empty());
            while step.step(false) {}
            assert_eq!((said.lock().unwrap().as_slice(), step.name()), (&[3][..], "sum"));
            // Where there is no room, whoever tells it something has it done.
            (1..=10).for_each(|number| errand.tell(number));
            assert_eq!(errand.finish(), Ok(()));
            let (mut errand, said) = sum();
            errand.tell(1);
            machine.die();
            assert_eq!(errand.finish(), Ok(()));
            assert!(said.lock().unwrap().is_empty());
        })
        .join()
        .unwrap();
    }
}
