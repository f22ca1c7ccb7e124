//! A story: runs on the same storage, one after the other and sometimes beside each other, until all is read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::machine::{Health, Machine};
use super::oracle::{self, Past};
use super::plant::{self, Bug};
use super::sink::{Kind, SimSink, SinkFault, Store};
use super::source::{SimLog, SimSource};
use super::{POINTS, Tally, URI, set_storage};
use crate::dataflow::Build;
use crate::door::{Next, Seen, Timeout, text};
use crate::format::Text;
use crate::runtime::{DurableSettings, Settings};
use crate::sink::Sinks;
use crate::source::Source;
use crate::state::storage::{Fault, Faulty};
use crate::time::{Gap, TimeOptions, Window};

/// What is drawn.
pub(super) struct Draws(ChaCha8Rng);

impl Draws {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound.max(1)
    }

    /// Whether something happens that does once in `times`.
    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// The dataflow of all stories: lines such as `17 a`, a second and a key. With other `rules`, one of its doors has.
pub(super) fn build(rules: u64) -> Build {
    Build::new("story", move |flow| {
        let window = Window::new(Duration::from_secs(4 + rules), Duration::from_secs(4 + rules))?;
        let gap = Gap::new(Duration::from_secs(3))?;
        let lines = flow.records(Text).event_time(|line| {
            let second = line.split(|byte| *byte == b' ').next()?;
            Some(BEGIN + 1000 * std::str::from_utf8(second).ok()?.parse::<i64>().ok()?)
        });
        let keyed = || lines.by(text("key"), |line| line.line().splitn(2, |byte| *byte == b' ').nth(1));
        keyed().count("all").about("of all time").show("all");
        keyed().by_window(window).count("windows").about("of a window").show("windows");
        let states = keyed().state(
            "states",
            Timeout::Idle(gap),
            |_| Some(()),
            |_, seen, count: Option<u64>, _: &mut Vec<()>| match seen {
                Seen::Values(values) => Next::Keep(count.unwrap_or(0) + values.len() as u64),
                Seen::TimedOut(_) => Next::Drop,
            },
        );
        states.states.about("of a key until it is idle").show("states");
        Ok(())
    })
}

/// When second 0 of the lines is.
const BEGIN: i64 = 1_767_225_600_000;

const LOGS: usize = 2;

/// How long a run may take to come to its end when nothing fails.
const LIVELY: Duration = Duration::from_secs(10);

pub(super) struct Story<'a> {
    draws: Draws,
    storage: Faulty,
    logs: Vec<SimLog>,
    /// By incarnation, what went into its pipe.
    pipes: BTreeMap<u64, SimLog>,
    once: Store,
    again: Store,
    bug: Option<Bug>,
    now: Duration,
    /// The second of the newest line.
    second: u64,
    tally: &'a mut Tally,
    /// Faults of earlier runs.
    happened: usize,
    /// Whether each run reads of the logs what there is as it begins, and comes to the end of its input.
    bounded: bool,
    /// Whether it is told aloud.
    told: bool,
}

impl<'a> Story<'a> {
    /// Tells the story of `seed`; says what has gone wrong.
    pub(super) fn tell(seed: u64, bug: Option<Bug>, tally: &'a mut Tally) -> Result<(), String> {
        plant::plant(bug);
        let storage = Faulty::new(seed);
        set_storage(&storage);
        if bug == Some(Bug::ManifestIsNotSynced) {
            storage.never_sync("manifests/");
        }
        let mut draws = Draws(ChaCha8Rng::seed_from_u64(seed));
        let mut story = Story {
            bounded: draws.once_in(3),
            draws,
            storage,
            logs: (0..LOGS).map(|_| SimLog::default()).collect(),
            pipes: BTreeMap::new(),
            once: Store::default(),
            again: Store::default(),
            bug,
            now: Duration::from_millis(1),
            second: 0,
            tally,
            happened: 0,
            told: super::number("THALWEG_SEED").is_some(),
        };
        story.all()
    }

    fn note(&mut self, what: &str) {
        if self.told {
            println!(
                "{what} (operation {}, {:?}, {} starts)",
                self.storage.operations(),
                self.now,
                self.number_of_starts()
            );
        }
        *self.tally.entry(what.to_owned()).or_default() += 1;
    }

    fn settings(&mut self, pipe: &SimLog, workers: usize, trigger_once: bool) -> Settings {
        let loose = if self.bug == Some(Bug::ProgressApart) { Kind::Loose } else { Kind::Transactional };
        let (once, again) = (self.once.clone(), self.again.clone());
        let sinks = Sinks::builtin()
            .with("once", move |_| Ok(Box::new(SimSink::new(once.clone(), loose))))
            .with("again", move |_| Ok(Box::new(SimSink::new(again.clone(), Kind::Lagging))));
        let sink = |uri| sinks.parse(uri).expect("a sink of this test");
        Settings {
            sources: vec![
                (None, Arc::new(SimSource::files(&self.logs, self.bounded)) as Arc<dyn Source>),
                (None, Arc::new(SimSource::pipe(pipe)) as Arc<dyn Source>),
            ],
            sinks: vec![sink("once:?mode=changes"), sink("again:?mode=changes")],
            workers,
            tick: Duration::from_millis(5),
            time: TimeOptions { lateness: Duration::from_secs(2), ..TimeOptions::default() },
            once: trigger_once,
            durable: Some(DurableSettings {
                every: Duration::from_millis(1),
                spool: 1 << 20,
                ..DurableSettings::of(URI)
            }),
            ..Settings::default()
        }
    }

    /// Lines that are written now, to a log or the pipe.
    fn write(&mut self, pipe: &SimLog, incarnation: u64) {
        let lines = 1 + self.draws.below(4);
        let to = self.draws.below(1 + LOGS as u64) as usize;
        let mut bytes = Vec::new();
        for _ in 0..lines {
            self.second += self.draws.below(3);
            let late = self.draws.below(4).saturating_sub(1).min(self.second);
            let key = match self.logs.get(to) {
                Some(_) => char::from(b'a' + self.draws.below(4) as u8).to_string(),
                None => format!("p{incarnation}"),
            };
            bytes.extend_from_slice(format!("{} {key}\n", self.second - late).as_bytes());
        }
        self.logs.get(to).unwrap_or(pipe).write(&bytes);
    }

    fn all(&mut self) -> Result<(), String> {
        let runs = 1 + self.draws.below(4);
        let mut zombie: Option<Machine> = None;
        for _ in 0..runs {
            let left = self.run(&mut zombie, false)?;
            if let Some(machine) = left {
                // It stands still, and another one is started in its place.
                if let Some(before) = zombie.replace(machine) {
                    before.die();
                }
                continue;
            }
            if self.draws.once_in(40) {
                self.note("again: ten times from the same snapshot");
                for _ in 0..10 {
                    self.begin_and_die()?;
                }
            }
            if self.draws.once_in(6) {
                self.damage();
            }
            if self.draws.once_in(16) {
                self.with_other_rules()?;
            }
        }
        if let Some(zombie) = zombie.take() {
            zombie.die();
            self.storage.crash();
        }
        // Nothing fails any more, and nothing more is written.
        for log in &self.logs {
            log.end();
        }
        self.run(&mut None, true)?;
        self.check()
    }

    fn number_of_starts(&self) -> u64 {
        let names = self.storage.names();
        let starts = names.iter().filter_map(|name| name.strip_prefix("incarnations/")?.parse().ok());
        starts.max().unwrap_or(0)
    }

    /// A run, up to its end, or that of its machine. Gives it back if it stands still.
    fn run(&mut self, zombie: &mut Option<Machine>, last: bool) -> Result<Option<Machine>, String> {
        let (workers, pipe) = ([1, 1, 2, 3][self.draws.below(4) as usize], SimLog::default());
        self.note(&format!("workers: {workers}"));
        let trigger_once = !last && self.draws.once_in(5);
        let faults = !last && self.draws.once_in(2);
        if faults {
            for _ in 0..=self.draws.below(2) {
                let fault = Fault::HONEST[self.draws.below(Fault::HONEST.len() as u64) as usize];
                if self.draws.once_in(2) {
                    self.storage.plan(self.storage.operations() + self.draws.below(120), fault);
                } else {
                    // Few runs come to delete anything.
                    let number = self.draws.below(2 * POINTS.len() as u64) as usize;
                    let (doing, places) = POINTS[number.min(POINTS.len() - 1)];
                    let place = places[self.draws.below(places.len() as u64) as usize];
                    let after = if doing == "delete" { 0 } else { self.draws.below(3) as u32 };
                    self.storage.plan_at(doing, place, after, fault);
                }
            }
        }
        let full = !last && self.draws.once_in(12);
        if full {
            self.storage.limit(2_000 + self.draws.below(16_000));
        }
        for store in [self.once.clone(), self.again.clone()] {
            let fault = [SinkFault::Refused, SinkFault::Unacknowledged][self.draws.below(2) as usize];
            let planned = (!last && self.draws.once_in(5)).then(|| (self.draws.below(10) as u32, fault));
            store.plan(planned);
        }
        let sink_faults = self.sink_faults();
        let mut settings = self.settings(&pipe, workers, trigger_once);
        if zombie.is_some() {
            self.beside_another(&settings)?;
            settings.durable.iter_mut().for_each(|durable| durable.take_over = true);
        }
        let routing = self.draws.below(256) as u8;
        let manifests = self.storage.names().iter().any(|name| name.starts_with("manifests/"));
        let before = self.number_of_starts();
        if before > 0 {
            self.note(if manifests { "went on from a snapshot" } else { "went on from the journal alone" });
            if self.storage.names().iter().any(|name| name.starts_with("spool/")) {
                self.note("read again what a pipe had given");
            }
        }
        let mut machine = Machine::start(&build(0), &settings, routing, self.now);
        let incarnation = self.number_of_starts();
        if incarnation > before {
            self.pipes.insert(incarnation, pipe.clone());
        }
        // How many things happen before the machine goes down.
        let life = self.draws.below(220);
        let (mut lived, begun) = (0, self.now);
        while *machine.health() == Health::Running {
            let dies = !last && !trigger_once && lived >= life || self.storage.is_dead();
            if dies {
                break;
            }
            lived += 1;
            match self.draws.below(10) {
                0..=4 => {
                    let worker = self.draws.below(machine.workers() as u64) as usize;
                    let turns = 1 + self.draws.below(10) as u32;
                    machine.turn(worker, turns, self.now);
                }
                5..=7 => {
                    let number = self.draws.below(machine.errands() as u64) as usize;
                    for _ in 0..=self.draws.below(8) {
                        let lull = self.draws.once_in(4);
                        machine.step(number, lull, self.now);
                    }
                }
                8 => self.now += Duration::from_millis(1 + self.draws.below(6)),
                _ if last || lived > 200 => pipe.end(),
                _ if self.draws.once_in(20) => pipe.end(),
                _ => self.write(&pipe, incarnation),
            }
            if let Some(other) = zombie.as_mut().filter(|_| self.draws.once_in(4)) {
                let worker = self.draws.below(other.workers() as u64) as usize;
                other.turn(worker, 2, self.now);
                let number = self.draws.below(other.errands() as u64) as usize;
                if other.errands() > 0 {
                    other.step(number, true, self.now);
                }
                self.note("zombie: went on beside another run");
            }
            if self.now - begun > LIVELY {
                return Err(format!("after {LIVELY:?} it has not come to its end"));
            }
        }
        self.storage.clear_plan();
        self.storage.limit(u64::MAX);
        let happened = self.storage.happened();
        let mut excused = happened.len() > self.happened || full || self.sink_faults() > sink_faults;
        excused |= zombie.is_some();
        for fault in &happened[self.happened..] {
            let place = fault.name.split('/').next().unwrap_or_default();
            self.note(&format!("fault: {:?} to {}", fault.fault, fault.doing));
            self.note(&format!("fault: to {} {place}", fault.doing));
        }
        self.happened = happened.len();
        let health = machine.health().clone();
        if self.told {
            println!("{health:?}\n{:?}", self.storage.names());
        }
        match &health {
            Health::Failed(why) => {
                let never = ["panicked", "is damaged", "has committed epoch", "belongs", "is gone", "digest"];
                if never.iter().any(|text| why.contains(text)) || !excused {
                    machine.die();
                    return Err(why.clone());
                }
                self.note("ended: the run failed of a fault");
                if why.contains("no space") {
                    self.note("space: none was left");
                }
            }
            Health::Done => {
                self.note(match (last, self.bounded) {
                    (true, _) => "ended: all is read",
                    (false, true) => "ended: with its input",
                    (false, false) => "ended: at the end of what there was",
                });
            }
            Health::Running if !self.storage.is_dead() && self.draws.once_in(4) => return Ok(Some(machine)),
            Health::Running => self.note("ended: the machine went down"),
        }
        if last {
            let counts = machine.counts();
            machine.die();
            return match health {
                Health::Done if counts.is_some() => Ok(None),
                _ => Err("the last run has not come to its end".to_owned()),
            };
        }
        machine.die();
        if let Some(other) = zombie.take() {
            other.die();
        }
        self.storage.crash();
        Ok(None)
    }

    fn sink_faults(&mut self) -> u64 {
        let faults = self.once.with(|stored| stored.faults) + self.again.with(|stored| stored.faults);
        if faults > 0 {
            for fault in [SinkFault::Refused, SinkFault::Unacknowledged] {
                self.tally.entry(format!("sink: {fault:?}")).or_insert(1);
            }
        }
        faults
    }

    /// A run is not to begin while another one uses the state, unless it is told to take over.
    fn beside_another(&mut self, settings: &Settings) -> Result<(), String> {
        let machine = Machine::start(&build(0), settings, 0, self.now);
        let health = machine.health().clone();
        machine.die();
        match health {
            Health::Failed(why) if why.contains("is in use by another run") => {
                self.note("in use: another run was refused");
                Ok(())
            }
            other => Err(format!("beside another run it is {other:?}")),
        }
    }

    /// A run that has hardly begun when its machine goes down.
    fn begin_and_die(&mut self) -> Result<(), String> {
        let pipe = SimLog::default();
        let workers = 1 + self.draws.below(3) as usize;
        let settings = self.settings(&pipe, workers, false);
        let before = self.number_of_starts();
        let mut machine = Machine::start(&build(0), &settings, 0, self.now);
        if self.number_of_starts() > before {
            self.pipes.insert(self.number_of_starts(), pipe);
        }
        for _ in 0..self.draws.below(12) {
            let worker = self.draws.below(workers as u64) as usize;
            if machine.workers() > 0 {
                machine.turn(worker, 3, self.now);
            }
        }
        let health = machine.health().clone();
        machine.die();
        self.storage.crash();
        match health {
            Health::Failed(why) => Err(format!("as it began: {why}")),
            _ => Ok(()),
        }
    }

    /// A byte of the newest snapshot changes, if there is an older one.
    fn damage(&mut self) {
        let names = self.storage.names();
        let manifests: Vec<_> = names.iter().filter(|name| name.starts_with("manifests/")).collect();
        if manifests.len() < 2 {
            return;
        }
        let newest = manifests[manifests.len() - 1].clone();
        let at = self.draws.below(200) as i64;
        if self.storage.damage(&newest, at) {
            self.note("damage: of the newest snapshot");
        }
    }

    /// A dataflow of other rules is not to go on from the state.
    fn with_other_rules(&mut self) -> Result<(), String> {
        if !self.storage.names().iter().any(|name| name.starts_with("manifests/")) {
            return Ok(());
        }
        let settings = self.settings(&SimLog::default(), 1, false);
        let machine = Machine::start(&build(1), &settings, 0, self.now);
        let health = machine.health().clone();
        machine.die();
        match health {
            Health::Failed(why) if why.contains("other rules") => {
                self.note("rules: others were refused");
                Ok(())
            }
            other => Err(format!("with other rules it is {other:?}")),
        }
    }

    /// Looks at all that was shown.
    fn check(&mut self) -> Result<(), String> {
        let past = Past {
            storage: &self.storage,
            logs: &self.logs,
            bounded: self.bounded,
            pipes: &self.pipes,
            once: &self.once,
            again: &self.again,
            now: self.now,
        };
        oracle::check(&past)
    }
}
