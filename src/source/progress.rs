//! How far reading has come, and what is held of it.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

/// How far the workers of this process have come, for whoever wants to show it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of the sources that have been read.
    pub bytes: AtomicU64,
    /// Lines that have been read.
    pub lines: AtomicU64,
    /// Bytes that this process will have read in the end, or 0 where that is not known.
    pub total: AtomicU64,
    /// By the name of a door, the rows that it holds on all workers of this process.
    held: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
}

impl Progress {
    /// Where one worker's share of what is called `name` says how many rows it holds.
    ///
    /// ```
    /// let progress = thalweg::source::Progress::default();
    /// let [mut one, mut other] = [(); 2].map(|()| progress.gauge("counts"));
    /// one.set(5);
    /// other.set(2);
    /// one.set(3);
    /// assert_eq!(progress.held(), [("counts".to_owned(), 5)]);
    /// ```
    pub fn gauge(&self, name: &str) -> Gauge {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        Gauge { all: Arc::clone(held.entry(name.to_owned()).or_default()), mine: 0 }
    }

    /// How many rows are held under each name, in the order of these.
    pub fn held(&self) -> Vec<(String, u64)> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().map(|(name, rows)| (name.clone(), rows.load(Relaxed))).collect()
    }
}

/// Says how many rows something holds; see [`Progress::gauge`].
#[derive(Debug, Default)]
pub struct Gauge {
    all: Arc<AtomicU64>,
    mine: u64,
}

impl Gauge {
    /// It holds so many now.
    #[inline]
    pub fn set(&mut self, rows: usize) {
        let rows = rows as u64;
        if rows != self.mine {
            // The sum of all is never below the part of one, so it comes out right however they meet.
            self.all.fetch_add(rows.wrapping_sub(self.mine), Relaxed);
            self.mine = rows;
        }
    }
}
