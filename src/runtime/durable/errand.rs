//! A thread that does what it is told, one thing after the other, until it fails or nobody tells it any more.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use crate::runtime::RunError;

/// The end of whoever tells it; the thread that started it is unparked when it ends.
#[derive(Debug)]
pub(super) struct Errand<O, E> {
    orders: Option<Sender<O>>,
    failed: Arc<Mutex<Option<E>>>,
    thread: Option<JoinHandle<()>>,
}

impl<O: Send + 'static, E: Send + 'static> Errand<O, E> {
    /// Has `body` take orders, on a thread called `name`.
    pub(super) fn start(
        name: &str,
        body: impl FnOnce(&Receiver<O>) -> Result<(), E> + Send + 'static,
    ) -> Result<Self, RunError> {
        let (orders, received) = channel();
        let failed = Arc::<Mutex<Option<E>>>::default();
        let (theirs, worker) = (Arc::clone(&failed), std::thread::current());
        let run = move || {
            if let Err(error) = body(&received) {
                *theirs.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
            worker.unpark();
        };
        let thread = Builder::new().name(name.to_owned()).spawn(run);
        let thread = thread.map_err(|source| RunError::System { what: "start a thread", source })?;
        Ok(Errand { orders: Some(orders), failed, thread: Some(thread) })
    }

    /// Tells it to do `order`.
    pub(super) fn tell(&self, order: O) {
        if let Some(orders) = &self.orders {
            // What it has failed of is said by `check`.
            let _ = orders.send(order);
        }
    }

    /// Looks whether it goes on; why it does not is said once.
    pub(super) fn check(&self) -> Result<(), E> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }

    /// Waits until it has done what it was told, and ends it.
    pub(super) fn finish(&mut self) -> Result<(), E> {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.check()
    }
}
