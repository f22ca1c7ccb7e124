//! The watchdog: a process in which nothing moves ends, and says where it is stuck.
//!
//! Timely waits for ever for a capability that nobody drops. Each worker therefore writes down, outside itself, whether
//! it has epochs that are not closed, when the least of them last moved, and which places in the dataflow hold it back
//! (timely's reachability log: outstanding capabilities and messages by operator). One thread for the whole process
//! looks at that.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use timely::logging::{TimelyEvent, TimelyEventBuilder};
use timely::progress::reachability::logging::{TrackerEvent, TrackerEventBuilder};
use timely::worker::Worker;

use super::{Epoch, Exit, clock, fatal};

/// What a worker tells of itself.
#[derive(Debug, Default)]
pub(super) struct Vitals {
    /// Steps that the worker has begun.
    beats: AtomicU64,
    /// One more than the number of the first epoch that is open here but not closed everywhere; 0 if there is none.
    waiting_for: AtomicU64,
    places: Mutex<Places>,
}

/// Where outstanding capabilities and messages are.
#[derive(Debug, Default)]
struct Places {
    /// Operators by their address in the dataflow graph.
    names: BTreeMap<Vec<usize>, String>,
    /// Addresses of scopes by their identifier in the reachability log.
    scopes: BTreeMap<usize, Vec<usize>>,
    /// Outstanding times by (scope, operator, whether it is a message, time).
    outstanding: BTreeMap<(usize, usize, bool, Epoch), i64>,
}

impl Vitals {
    /// Has `worker` write down what holds its frontiers back; before its dataflow is built.
    pub(super) fn observe(self: &Arc<Self>, worker: &Worker) {
        let Some(mut register) = worker.log_register() else { return };
        let vitals = Arc::clone(self);
        register.insert::<TimelyEventBuilder, _>("timely", move |_, events| {
            for (_, event) in events.iter().flatten() {
                if let TimelyEvent::Operates(operates) = event {
                    let mut places = vitals.places.lock().unwrap_or_else(PoisonError::into_inner);
                    places.names.insert(operates.addr.clone(), operates.name.clone());
                    places.scopes.insert(operates.id, operates.addr.clone());
                }
            }
        });
        let vitals = Arc::clone(self);
        let name = format!("timely/reachability/{}", std::any::type_name::<Epoch>());
        register.insert::<TrackerEventBuilder<Epoch>, _>(&name, move |_, events| {
            let mut places = vitals.places.lock().unwrap_or_else(PoisonError::into_inner);
            for (_, event) in events.iter().flatten() {
                let (scope, message, updates) = match event {
                    TrackerEvent::SourceUpdate(update) => (update.tracker_id, false, &update.updates),
                    TrackerEvent::TargetUpdate(update) => (update.tracker_id, true, &update.updates),
                };
                for (operator, _port, time, diff) in updates {
                    let key = (scope, *operator, message, *time);
                    let count = places.outstanding.entry(key).or_default();
                    *count += diff;
                    if *count == 0 {
                        places.outstanding.remove(&key);
                    }
                }
            }
        });
    }

    /// The worker begins another step, with `waiting_for` the first epoch that it has open and that is not closed.
    pub(super) fn beat(&self, waiting_for: Option<u64>) {
        self.beats.fetch_add(1, Relaxed);
        self.waiting_for.store(waiting_for.map_or(0, |epoch| epoch + 1), Relaxed);
    }

    /// What holds back the least outstanding time, in words.
    fn stuck(&self) -> String {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(least) = places.outstanding.keys().map(|(.., time)| *time).min() else {
            return "no operator holds anything".to_owned();
        };
        let mut text = String::new();
        for (scope, operator, message, time) in places.outstanding.keys() {
            if *time != least {
                continue;
            }
            let mut address = places.scopes.get(scope).cloned().unwrap_or_default();
            address.push(*operator);
            let name = places.names.get(&address).map_or("the scope's own input", String::as_str);
            let what = if *message { "has messages that it has not read" } else { "holds a capability" };
            let _ = write!(text, "\n  operator `{name}` {address:?} {what} at epoch {time}");
        }
        text
    }
}

/// Ends the process when a worker has waited for the same epoch for `limit`.
pub(super) fn watch(workers: Vec<Arc<Vitals>>, first_worker: usize, limit: Duration) -> std::io::Result<()> {
    let look = (limit / 10).clamp(Duration::from_millis(10), Duration::from_secs(1));
    std::thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
        let mut seen: Vec<_> = workers.iter().map(|_| (0, 0, clock::now(), clock::now())).collect();
        loop {
            std::thread::sleep(look);
            let now = clock::now();
            for (index, (vitals, seen)) in workers.iter().zip(&mut seen).enumerate() {
                let (beats, waiting) = (vitals.beats.load(Relaxed), vitals.waiting_for.load(Relaxed));
                let (beats_seen, waiting_seen, beat_since, waiting_since) = seen;
                if *beats_seen != beats {
                    (*beats_seen, *beat_since) = (beats, now);
                }
                if *waiting_seen != waiting || waiting == 0 {
                    (*waiting_seen, *waiting_since) = (waiting, now);
                }
                let worker = first_worker + index;
                if waiting > 0 && now - *waiting_since >= limit {
                    let epoch = waiting - 1;
                    let reason = if now - *beat_since >= limit {
                        format!(
                            "worker {worker} has not come back from an operator for {limit:?}, with epoch {epoch} open{}",
                            vitals.stuck()
                        )
                    } else {
                        format!("nothing has moved for {limit:?}: epoch {epoch} does not close{}", vitals.stuck())
                    };
                    let hint = "hint: an operator that keeps a capability, or a peer that hangs, stops all; \
                                --stall-timeout sets how long to wait";
                    fatal::end(Exit::Stalled, format_args!("{reason}\n  {hint}"));
                }
            }
        }
    })?;
    Ok(())
}
