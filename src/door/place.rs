//! Where in its input a worker is: for whoever has to say what brought a process down.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

/// The lines that a worker's doors are working on.
#[derive(Clone, Debug)]
pub(crate) struct LinesAt {
    /// Their partition.
    partition: Arc<str>,
    /// Where the first of them begins.
    from: u64,
    /// Where the last of them begins.
    upto: u64,
}

thread_local! {
    static WORKING_ON: RefCell<Option<LinesAt>> = const { RefCell::new(None) };
}

impl fmt::Display for LinesAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LinesAt { partition, from, upto } = self;
        if from == upto {
            write!(f, "the line at byte {from} of {partition}")
        } else {
            write!(f, "the lines from byte {from} to byte {upto} of {partition}")
        }
    }
}

/// Notes that this thread works on lines of `partition` while `work` does.
pub(super) fn working_on<T>(partition: &Arc<str>, from: u64, upto: u64, work: impl FnOnce() -> T) -> T {
    let at = LinesAt { partition: Arc::clone(partition), from, upto };
    WORKING_ON.with_borrow_mut(|place| *place = Some(at));
    let done = work();
    WORKING_ON.with_borrow_mut(|place| *place = None);
    done
}

/// What this thread works on, if it is on lines.
pub(crate) fn lines_at() -> Option<LinesAt> {
    WORKING_ON.try_with(|place| place.try_borrow().ok()?.clone()).ok()?
}
