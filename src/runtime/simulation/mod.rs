//! A simulation of durable runs: sources, ledger, doors, snapshots, sinks and whoever starts them again, on machines that go
//! down at any moment, with a storage that fails, and with a clock that is told the time.
//!
//! What runs is the runtime itself: workers, journal, spool, publisher and all, but one thing at a time, in an order that is
//! drawn from a seed. A *story* is a series of runs on the same storage, up to one that comes to its end. Then all that was
//! shown is compared with what a run makes of the journal that had no snapshot and met no fault ([`oracle`]).
//!
//! `THALWEG_SIMULATE=N` has N stories told in place of those that the tests have, and `THALWEG_SEED=S` only that one.
//! A story that goes wrong says its seed. That the checks find anything is tested by [`Bug`]s, which are planted in the
//! code and each have to be found.

mod machine;
mod oracle;
mod plant;
mod sink;
mod source;
mod story;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use self::machine::lock;
pub(crate) use self::plant::{Bug, is_planted};
use self::story::Story;
use crate::state::storage::{Fault, Faulty, Storage};

thread_local! {
    static STORAGE: RefCell<Option<Faulty>> = const { RefCell::new(None) };
}

/// The storage of the story that is told by this thread, under the URI of all of them.
pub(in crate::runtime) fn storage(uri: &str) -> Option<Arc<dyn Storage>> {
    let known = STORAGE.with_borrow(Clone::clone).filter(|_| uri == URI)?;
    Some(Arc::new(known))
}

const URI: &str = "simulated:";

fn set_storage(storage: &Faulty) {
    STORAGE.set(Some(storage.clone()));
}

/// How often what has happened, of all that is drawn.
type Tally = BTreeMap<String, u64>;

/// What has happened that must have, for the stories to be worth telling.
const MUST_HAPPEN: &[&str] = &[
    "ended: the machine went down",
    "ended: the run failed of a fault",
    "ended: at the end of what there was",
    "ended: all is read",
    "ended: with its input",
    "zombie: went on beside another run",
    "in use: another run was refused",
    "again: ten times from the same snapshot",
    "damage: of the newest snapshot",
    "space: none was left",
    "rules: others were refused",
    "sink: Refused",
    "sink: Unacknowledged",
    "workers: 1",
    "workers: 2",
    "workers: 3",
    "went on from a snapshot",
    "went on from the journal alone",
    "read again what a pipe had given",
];

/// What runs do with the storage.
const POINTS: &[(&str, &[&str])] = &[
    ("create", &["incarnations", "manifests", "tables", "journal", "spool"]),
    ("append to", &["journal", "spool"]),
    ("sync", &["journal", "spool"]),
    ("read", &["incarnations", "manifests", "tables", "journal"]),
    ("list", &["incarnations", "manifests", "journal"]),
    ("delete", &["manifests", "tables", "journal"]),
];

/// Each of these has met with a fault, and each kind of fault has met with each thing that is done.
fn faults() -> Vec<String> {
    let mut all = Vec::new();
    for (doing, places) in POINTS {
        all.extend(places.iter().map(|place| format!("fault: to {doing} {place}")));
        all.extend(Fault::HONEST.iter().map(|fault| format!("fault: {fault:?} to {doing}")));
    }
    all
}

/// Tells the stories of `seeds` on all processors. Returns what has happened, and what has gone wrong: at most a few of those.
fn tell(seeds: std::ops::Range<u64>, bug: Option<Bug>, enough: usize) -> (Tally, Vec<String>) {
    let next = AtomicU64::new(seeds.start);
    let (tally, wrong) = (Mutex::new(Tally::new()), Mutex::new(Vec::new()));
    // Of each story one thread is at work, and others wait for it.
    let threads = std::thread::available_parallelism().map_or(2, |number| 2 * number.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut mine = Tally::new();
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if !seeds.contains(&seed) || lock(&wrong).len() >= enough {
                        break;
                    }
                    if let Err(why) = Story::tell(seed, bug, &mut mine) {
                        lock(&wrong).push(format!("seed {seed}: {why}"));
                    }
                }
                let mut tally = lock(&tally);
                mine.into_iter().for_each(|(what, often)| *tally.entry(what).or_default() += often);
            });
        }
    });
    (tally.into_inner().unwrap(), wrong.into_inner().unwrap())
}

fn number(variable: &str) -> Option<u64> {
    super::environment(variable)?.parse().ok()
}

#[test]
fn whatever_fails_what_is_shown_is_what_was_read() {
    let seeds = match (number("THALWEG_SEED"), number("THALWEG_SIMULATE")) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(many)) => 0..many,
        (None, None) => 0..5000,
    };
    let all = seeds.end - seeds.start >= 5000;
    let (tally, wrong) = tell(seeds, None, 3);
    for (what, often) in &tally {
        println!("{often:>9} {what}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    if all {
        let must = MUST_HAPPEN.iter().map(|what| (*what).to_owned()).chain(faults());
        let never: Vec<_> = must.filter(|what| !tally.contains_key(what)).collect();
        assert!(never.is_empty(), "never happened: {never:#?}");
    }
}

/// The simulation finds what it is there to find.
#[test]
fn each_bug_that_is_planted_is_found() {
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        let (_, wrong) = tell(0..2000, Some(bug), 1);
        let why = wrong.first().map_or("was not found", |why| why.lines().next().unwrap_or_default());
        println!("{bug:?}: {}", why.chars().take(200).collect::<String>());
        missed.extend(wrong.is_empty().then_some(bug));
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
