//! Partitions that come while a run goes on: a thread for each source that looks for them.
//!
//! It belongs to the first worker of the run, whose conductor is told of what is found.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Builder;
use std::time::Duration;

use crate::ledger::Conductor;
use crate::source::{Finder, Found, Source, SourceError, Wake};

/// How long a finder waits before it is asked whether the run goes on.
const PATIENCE: Duration = Duration::from_millis(200);

/// What the finders of a run have found.
pub(crate) struct Discovery {
    news: Receiver<(u32, Result<Vec<Found>, SourceError>)>,
    over: Arc<AtomicBool>,
}

impl std::fmt::Debug for Discovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Discovery").finish_non_exhaustive()
    }
}

impl Discovery {
    /// Has each of `sources` look that has a finder, and tells `conductor` which do; `wake` is called when something is found.
    pub(crate) fn start(sources: &[Arc<dyn Source>], conductor: &mut Conductor, wake: &Wake) -> Option<Self> {
        let (send, news) = channel();
        let over = Arc::new(AtomicBool::new(false));
        let mut any = false;
        for (number, source) in (0..).zip(sources) {
            let Some(finder) = source.finder() else { continue };
            conductor.finds(number, true);
            any = true;
            let (mine, wake, over) = (send.clone(), Arc::clone(wake), Arc::clone(&over));
            let uri = source.uri().to_owned();
            let thread = Builder::new().name("finder".to_owned());
            let started = thread.spawn(move || look(number, finder, &mine, &wake, &over));
            if let Err(source) = started {
                let error = SourceError::Open { path: uri.into(), source };
                let _ = send.send((number, Err(error)));
            }
        }
        any.then_some(Discovery { news, over })
    }

    /// Tells `conductor` what was found since the last time; returns whether that was anything.
    pub(crate) fn tell(&self, conductor: &mut Conductor) -> Result<bool, SourceError> {
        let mut any = false;
        while let Ok((source, found)) = self.news.try_recv() {
            conductor.discover(source, found?);
            any = true;
        }
        Ok(any)
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Looks until the run is over or the finder fails.
fn look(
    source: u32,
    mut finder: Box<dyn Finder>,
    news: &Sender<(u32, Result<Vec<Found>, SourceError>)>,
    wake: &Wake,
    over: &AtomicBool,
) {
    while !over.load(Ordering::Relaxed) {
        let found = finder.wait(PATIENCE);
        let failed = found.is_err();
        if found.as_ref().is_ok_and(Vec::is_empty) {
            continue;
        }
        if news.send((source, found)).is_err() || failed {
            return;
        }
        wake();
    }
}
