//! Runs that are started and killed.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use crate::cluster_support::{Cluster, LONG, Process, poll, thalweg};
use crate::support::Draws;

/// At how many processes and workers a run is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// One process with so many workers.
    Alone(usize),
    /// Two processes with as many each.
    Two(usize),
}

use Shape::{Alone, Two};

/// What has become of the runs so far.
pub struct Rounds {
    pub cluster: Cluster,
    pub draws: Draws,
    /// How many were killed while they lived, by how they were started.
    kills: BTreeMap<Shape, usize>,
    /// How many of these had done something that could be seen.
    moved: usize,
    /// Processes that ended because the other one was killed.
    bereft: usize,
    /// Runs that had been asked to end when they were killed.
    stopped: usize,
}

/// A run that lives.
pub struct Live {
    shape: Shape,
    processes: Vec<Process>,
    /// What it had done, or those before it.
    before: u64,
}

impl Live {
    /// Writes to the standard input of the first process; whether it is still there.
    pub fn say(&mut self, text: &str) -> bool {
        self.processes[0].try_say(text)
    }
}

impl Rounds {
    pub fn new(seed: u64) -> Self {
        let (cluster, draws) = (Cluster::new(thalweg(), 2), Draws::new(seed));
        Rounds { cluster, draws, kills: BTreeMap::new(), moved: 0, bereft: 0, stopped: 0 }
    }

    /// The path of `name` in the directory of these runs.
    pub fn path(&self, name: &str) -> String {
        self.cluster.path(name).to_str().unwrap().to_owned()
    }

    /// Starts a run, each time at another shape; `seen` says how much has been done so far.
    pub fn start(&mut self, arguments: &str, seen: &impl Fn() -> u64) -> Live {
        let number: usize = self.kills.values().sum();
        let shapes = [Alone(1), Alone(2), Two(2), Alone(3), Two(1)];
        self.start_as(shapes[number % shapes.len()], arguments, seen)
    }

    pub fn start_as(&mut self, shape: Shape, arguments: &str, seen: &impl Fn() -> u64) -> Live {
        let before = seen();
        let processes = match shape {
            Shape::Alone(workers) => vec![self.cluster.alone(&format!("{arguments} -w {workers}"))],
            Shape::Two(workers) => {
                let arguments = format!("{arguments} -w {workers}");
                (0..2).map(|index| self.cluster.process(index, &arguments)).collect()
            }
        };
        Live { shape, processes, before }
    }

    /// How long the next run is let live: from not at all to about twice as long as one needs to get to work.
    pub fn life(&mut self) -> Duration {
        Duration::from_millis(self.draws.below(450) as u64)
    }

    /// Waits until `live` has done something that can be seen, however slow everything is.
    pub fn wait(&self, live: &mut Live, seen: &impl Fn() -> u64) {
        poll(2 * LONG, "anything that could be seen", || {
            live.is_at_work();
            (seen() > live.before).then_some(())
        });
    }

    /// Kills `live`, which has not ended by itself. Now and then it has been asked to end in order, and is on its way.
    pub fn kill(&mut self, mut live: Live, seen: &impl Fn() -> u64) {
        live.is_at_work();
        let is_at_work = seen() > live.before;
        let number: usize = self.kills.values().sum();
        if number % 6 == 3 {
            live.processes[0].signal("TERM");
            self.stopped += 1;
            doze(&mut self.draws, 40);
        } else if live.processes.len() > 1 && is_at_work && !number.is_multiple_of(3) {
            // One of two: the other has nobody to go on with.
            let victim = self.draws.below(2);
            drop(live.processes.swap_remove(victim));
            let code = live.processes[0].code_within(LONG);
            assert_ne!(code, 0, "{}", live.processes[0].stderr());
            self.bereft += 1;
        }
        drop(live.processes);
        *self.kills.entry(live.shape).or_default() += 1;
        // What a server was sent before the kill it may do only now.
        self.moved += usize::from(is_at_work || seen() > live.before);
    }

    /// Starts `arguments`, and lets it come to its end.
    #[track_caller]
    pub fn finish(&mut self, arguments: &str) -> String {
        let mut last = self.cluster.alone(arguments);
        last.ends_within(4 * LONG, 0, &[]);
        last.stderr()
    }

    /// Asserts that all this has happened: so many kills of runs that lived, at every shape, and many of them at work.
    #[track_caller]
    pub fn have_happened(&self, kills: usize) {
        let Rounds { kills: all, moved, bereft, stopped, .. } = self;
        assert_eq!(all.values().sum::<usize>(), kills, "{all:?}");
        let all_shapes = [Alone(1), Alone(2), Alone(3), Two(1), Two(2)];
        assert!(all_shapes.iter().all(|shape| all.contains_key(shape)), "{all:?}");
        assert!(*moved >= kills / 5, "{moved} of {kills} had done something");
        assert!(*bereft > 0 && *stopped > 0, "{bereft} lost the other process, {stopped} were ending");
    }
}

impl Live {
    /// Closes its standard input, at which it ends in order.
    #[track_caller]
    pub fn ends_at_hang_up(&mut self) {
        self.processes[0].hang_up();
        self.processes[0].ends_within(4 * LONG, 0, &[]);
    }

    /// Panics if it has ended.
    #[track_caller]
    pub fn is_at_work(&mut self) {
        for process in &mut self.processes {
            assert!(process.is_running(), "{:?} has ended by itself:\n{}", self.shape, process.stderr());
        }
    }
}

/// Sleeps for a drawn time below `end` milliseconds.
pub fn doze(draws: &mut Draws, end: usize) -> Duration {
    let time = Duration::from_millis(draws.below(end) as u64);
    sleep(time);
    time
}
