//! Ending in order: a signal asks for it, or nobody reads the output any more, and the conductor of the ledger says where.
//!
//! A signal reaches one process, at some moment of its own. A worker that sees it tells the conductor, which opens no
//! further epoch but one for what has been taken from outside already; when that is sealed, all workers are told that they
//! have finished.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::runtime::Exit;
use crate::runtime::fatal;

/// How many signals have arrived.
static SIGNALS: AtomicUsize = AtomicUsize::new(0);

/// Whether there is a run, which can be ended in order; before that, a process waits for peers and has nothing to lose.
static RUNNING: AtomicBool = AtomicBool::new(false);

/// From now on, a signal asks workers to end in order.
pub(crate) fn running() {
    RUNNING.store(true, Ordering::SeqCst);
}

/// Signals that come within this time of the first are the same request: `timeout` sends one to the process and one to
/// its group, and a terminal and a shell may both pass an interrupt on.
const SAME: Duration = Duration::from_millis(500);

/// Turns SIGINT and SIGTERM into a request to end in order, and a second one into an end at once.
///
/// Signals that come within half a second of the first are the same request. Before the workers have started, the first
/// one ends the process.
///
/// # Errors
///
/// When the system refuses the handlers.
pub fn end_in_order_on_signals() -> std::io::Result<()> {
    end_on_signals(
        "ending in order, after the open epochs",
        "ended by a second signal; the last epochs may be missing",
        &[SIGINT, SIGTERM],
    )
}

/// The same for what is no run of a dataflow: a signal is said to be `first`, and one of `again` that comes later ends the process at once,
/// `second` for its reason.
pub(crate) fn end_on_signals(
    first: &'static str,
    second: &'static str,
    again: &'static [i32],
) -> std::io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        loop {
            // What arrives together is one request, and a wait may end without a signal.
            let came: Vec<i32> = signals.wait().collect();
            if came.is_empty() {
                continue;
            }
            if !RUNNING.load(Ordering::SeqCst) {
                fatal::end(Exit::Done, "ended by a signal before the run had begun");
            }
            if SIGNALS.load(Ordering::SeqCst) > 0 && !came.iter().any(|signal| again.contains(signal)) {
                continue;
            }
            if SIGNALS.fetch_add(1, Ordering::SeqCst) > 0 {
                fatal::end(Exit::Interrupted, second);
            }
            log::warn!("{first}");
            std::thread::sleep(SAME);
            let same = signals.pending().count();
            log::debug!("{same} more signals within {SAME:?} of the first are the same request");
            log::warn!("still ending in order; a second signal ends at once");
        }
    })?;
    Ok(())
}

/// Whether whoever read the output has gone away.
static LEFT: AtomicBool = AtomicBool::new(false);

/// Asks for the end because whoever read the output has gone away.
pub(super) fn nobody_reads() {
    LEFT.store(true, Ordering::Relaxed);
}

/// Whether somebody has asked for the end because whoever read the output has gone away.
pub(super) fn is_unread() -> bool {
    LEFT.load(Ordering::Relaxed)
}

/// Whether a signal has asked for the end, or nobody reads the output any more.
pub(crate) fn requested() -> bool {
    SIGNALS.load(Ordering::Relaxed) > 0 || is_unread()
}
