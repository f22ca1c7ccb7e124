//! `thalweg ship`: log lines to where they are counted, as they are written.
//!
//! It follows files as [`FollowSource`] does, or reads standard input,
//! and sends each line to a topic of Kafka or over TCP. [The guide](crate::guide::shipping) says
//! how it is used.
//!
//! ```text
//!  intake ──▶ outbox ──▶ outlet          (Kafka, TCP)
//!  files,     lines       │
//!  marks        ▲         ▼
//!    ▲          └── delivered, refused, lost
//!    └── offsets ◀── delivered without a gap
//! ```
//!
//! # What is promised
//!
//! *At least once.* What is remembered in the file of offsets has been delivered: Kafka's brokers
//! have acknowledged it; of TCP, see below. After a kill the lines that had not been are read and
//! sent again. So are those whose delivery was not remembered yet, a second's worth at most. Lines
//! of one file are sent in order, and sent again in order; those that Kafka refuses in a batch that
//! is too large for it may come behind those that followed.
//!
//! *TCP acknowledges nothing.* A line counts as delivered when 16 MiB have been written behind it,
//! which is more than the buffers of both systems hold by default, or when the connection has stood
//! for a second since. What a receiver has taken from its system and then loses is lost; and what
//! was being sent as a connection ended may leave half a line there.
//!
//! *Standard input is gone when it has been read.* Lines are held until they are delivered; a kill
//! loses them.
//!
//! # What is bounded
//!
//! Lines that have not been acknowledged are held, 32 MiB of them by default (Kafka's client holds
//! them once more). When that is full, nothing more is read: files wait where they are, and whoever
//! writes to the pipe waits, too.
//!
//! One thread reads, sends and remembers; Kafka's client, a connection and the finder of files have
//! threads of their own, and wake it. It knows no clock: it is handed one.

mod intake;
mod offsets;
mod outbox;
mod outlet;
mod pace;
mod rejects;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use self::intake::Intake;
use self::offsets::Offsets;
pub(crate) use self::offsets::OffsetsError;
use self::outbox::{Acknowledged, Outbox};
pub(crate) use self::outlet::Receiver;
use self::outlet::{Fate, Offer, Outlet, Waker};
use self::pace::Pace;
use self::rejects::Rejects;
use crate::source::{FollowFrom, FollowSource, ReadOptions, Source, SourceError, Stdin};

/// How long it is waited for something to happen.
const LOOK: Duration = Duration::from_millis(100);
/// How often offsets are saved, while there is something new.
const SAVE: Duration = Duration::from_secs(1);
/// How often the figures that take a look at every file are renewed.
const FIGURES: Duration = Duration::from_millis(500);
/// Lines that are sent before anything else is looked at.
const TURN: usize = 4096;

/// Where lines come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// Files that are followed.
    Files { patterns: Vec<String>, start: FollowFrom, poll: Duration },
    /// Standard input.
    Stdin,
}

/// What messages of Kafka have for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// None: lines are spread over all partitions.
    None,
    /// The path of the file: all its lines are in one partition, in order.
    File,
    /// The field of this number, from 1, between blanks.
    Field(usize),
}

impl std::str::FromStr for Key {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, text.strip_prefix("field:").map(str::parse)) {
            ("none", _) => Ok(Key::None),
            ("file", _) => Ok(Key::File),
            (_, Some(Ok(number @ 1..))) => Ok(Key::Field(number)),
            _ => Err("it is one of none, file, field:N with N from 1"),
        }
    }
}

/// What is shipped, where to, and how.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) input: Input,
    pub(crate) receiver: Receiver,
    pub(crate) key: Key,
    /// Lines in a second, at most.
    pub(crate) rate: Option<f64>,
    /// Where offsets are remembered, if they are.
    pub(crate) offsets: Option<PathBuf>,
    /// The receiver was called otherwise when the offsets were written.
    pub(crate) renamed: bool,
    /// Where lines go that can never be delivered.
    pub(crate) rejects: Option<PathBuf>,
    pub(crate) read: ReadOptions,
    /// Bytes of lines that have not been acknowledged, at most, and a chunk.
    pub(crate) buffer: usize,
    /// How long what is under way has to arrive once the end was asked for.
    pub(crate) stop_timeout: Duration,
    /// Ends when each file has been read to where it then ended, and all is delivered.
    pub(crate) until_caught_up: bool,
    pub(crate) now: fn() -> Instant,
    /// Whether the end was asked for.
    pub(crate) stop: fn() -> bool,
}

/// How far it has come, for whoever wants to show it.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Lines that were delivered.
    pub(crate) lines: AtomicU64,
    /// Bytes of them, with their line ends.
    pub(crate) bytes: AtomicU64,
    /// Lines that were sent again, and may have arrived twice.
    pub(crate) again: AtomicU64,
    /// Lines that can never be delivered.
    pub(crate) rejected: AtomicU64,
    /// Bytes of files that have not been delivered.
    pub(crate) lag: AtomicU64,
    /// Why nothing arrives, if that is so.
    pub(crate) away: Mutex<Option<String>>,
    /// Whether somebody wants to know while it goes on.
    pub(crate) shown: bool,
}

impl Progress {
    fn delivered(&self, intake: &mut Intake, it: Acknowledged<'_>) {
        self.lines.fetch_add(it.lines, Relaxed);
        self.bytes.fetch_add(it.size, Relaxed);
        intake.delivered(it);
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// Whether the end was asked for before there was nothing more to come.
    pub(crate) interrupted: bool,
    /// Lines that had been read and were not delivered. Those of files are sent by the next
    /// process.
    pub(crate) undelivered: u64,
    /// Whether a file could not be read, or not to its end.
    pub(crate) damaged: bool,
}

/// Why nothing can be shipped, or nothing more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ShipError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Offsets(#[from] OffsetsError),
    #[error("{name}: {reason}")]
    Receiver { name: String, reason: String },
    #[error("cannot write the rejected lines to {path}: {source}")]
    Rejects { path: PathBuf, source: std::io::Error },
    #[error("cannot {what}: {source}")]
    System { what: &'static str, source: std::io::Error },
}

/// Ships until there is nothing more, or the end is asked for.
pub(crate) fn ship(settings: &Settings, progress: &Progress) -> Result<Report, ShipError> {
    let mut offsets = None;
    let mut marks = None;
    if let Some(path) = &settings.offsets {
        let (opened, known) = Offsets::open(path, settings.receiver.name(), settings.renamed)?;
        (offsets, marks) = (Some(opened), known);
    }
    let source: Arc<dyn Source> = match &settings.input {
        Input::Files { patterns, start, poll } => {
            // What was there is left out once only: what came while nobody followed is wanted.
            let start = if marks.is_some() { FollowFrom::Beginning } else { *start };
            Arc::new(FollowSource::new(patterns, start).polling(*poll))
        }
        Input::Stdin => Arc::new(Stdin::default()),
    };
    if let Input::Files { patterns, .. } = &settings.input
        && settings.until_caught_up
        && source.files().is_empty()
    {
        // None comes either.
        let cwd = std::env::current_dir().unwrap_or_default();
        return Err(SourceError::NotFound { pattern: patterns.join(" "), cwd }.into());
    }
    let main = thread::current();
    let wake: Waker = Arc::new(move || main.unpark());
    let rejects = Rejects::new(settings.rejects.as_deref()).map_err(|source| ShipError::Rejects {
        path: settings.rejects.clone().unwrap_or_default(),
        source,
    })?;
    let is_files = settings.input != Input::Stdin;
    // First that which may be refused.
    let outlet = settings.receiver.open(Arc::clone(&wake))?;
    let marks = marks.unwrap_or_default();
    // Standard input has an end of its own.
    let until_caught_up = is_files && settings.until_caught_up;
    let intake = Intake::new(source, is_files, settings.read, marks, until_caught_up, wake)?;
    let now = (settings.now)();
    let mut ship = Ship {
        settings,
        progress,
        intake,
        outbox: Outbox::default(),
        outlet,
        pace: Pace::new(settings.rate, now),
        rejects,
        offsets,
        fates: Vec::new(),
        changed: true,
        saved: now,
        figures: now,
        unsaved: false,
    };
    let ended = ship.run();
    // Whatever has ended it: what was delivered is remembered.
    let saved = ship.save();
    ship.figures();
    let report = ended?;
    saved?;
    Ok(report)
}

/// All that there is, while it goes on.
struct Ship<'a> {
    settings: &'a Settings,
    progress: &'a Progress,
    intake: Intake,
    outbox: Outbox,
    outlet: Box<dyn Outlet>,
    pace: Pace,
    rejects: Rejects,
    offsets: Option<Offsets>,
    fates: Vec<Fate>,
    /// Whether there is something to save.
    changed: bool,
    saved: Instant,
    figures: Instant,
    /// Whether offsets could not be saved the last time.
    unsaved: bool,
}

impl Ship<'_> {
    fn run(&mut self) -> Result<Report, ShipError> {
        let mut deadline = None;
        // Where reading begins at an end, that place is what counts from now on.
        self.save()?;
        if self.progress.shown {
            self.figures();
        }
        loop {
            let now = (self.settings.now)();
            let mut busy = self.settle(now)?;
            let come = self.intake.look()?;
            self.changed |= come;
            busy |= come;
            busy |= self.read()?;
            busy |= self.send(now)?;
            if now.duration_since(self.saved) >= SAVE {
                self.remember(now);
            }
            if self.progress.shown && now.duration_since(self.figures) >= FIGURES {
                self.figures = now;
                self.figures();
            }
            if deadline.is_none() && (self.settings.stop)() {
                deadline = Some(now.checked_add(self.settings.stop_timeout).unwrap_or(now));
                self.stop();
            }
            let over = self.intake.is_over();
            if over && !self.outbox.has_more() {
                self.outlet.end();
            }
            let done = over && self.outbox.is_empty();
            if done || deadline.is_some_and(|deadline| now >= deadline) {
                return Ok(Report {
                    interrupted: deadline.is_some(),
                    undelivered: self.outbox.lines(),
                    damaged: self.intake.damaged > 0,
                });
            }
            if !busy {
                let waits = self.outbox.has_more().then(|| self.pace.wait(now)).filter(|it| !it.is_zero());
                thread::park_timeout(waits.unwrap_or(LOOK).min(LOOK));
            }
        }
    }

    /// The end was asked for.
    fn stop(&mut self) {
        if self.settings.input == Input::Stdin {
            // Whoever writes to it may have been told to end, too, and has something to say until
            // then: it is read to its end.
            log::info!("standard input is read to its end, or for {:?}", self.settings.stop_timeout);
            return;
        }
        self.intake.stop();
        // What has not been sent is sent by the next process.
        self.outbox.truncate();
    }

    /// Takes notice of what became of lines.
    fn settle(&mut self, now: Instant) -> Result<bool, ShipError> {
        let mut fates = std::mem::take(&mut self.fates);
        self.outlet.poll(now, &mut fates);
        let busy = !fates.is_empty();
        for fate in fates.drain(..) {
            self.changed = true;
            let (progress, intake) = (self.progress, &mut self.intake);
            let mut delivered = |it: Acknowledged<'_>| progress.delivered(intake, it);
            match fate {
                Fate::Delivered(number) => self.outbox.done(number, &mut delivered),
                Fate::DeliveredUpTo(number) => self.outbox.done_up_to(number, &mut delivered),
                Fate::Refused(number, reason) => self.refused(number, &reason)?,
                Fate::Lost => drop(progress.again.fetch_add(self.outbox.rewind(), Relaxed)),
                Fate::Never(reason) => {
                    return Err(ShipError::Receiver {
                        name: self.settings.receiver.name().to_owned(),
                        reason,
                    });
                }
            }
        }
        self.fates = fates;
        Ok(busy)
    }

    /// Line `number` can never be delivered: it is put aside, and counts as done.
    fn refused(&mut self, number: u64, reason: &str) -> Result<(), ShipError> {
        let Some(line) = self.outbox.line_of(number) else { return Ok(()) };
        let added = self.rejects.add(self.intake.name(line.track), line.text, reason);
        added.map_err(|error| self.cannot_reject(error))?;
        self.progress.rejected.store(self.rejects.count, Relaxed);
        let (progress, intake) = (self.progress, &mut self.intake);
        self.outbox.refuse(number, &mut |it| progress.delivered(intake, it));
        Ok(())
    }

    fn cannot_reject(&self, source: std::io::Error) -> ShipError {
        ShipError::Rejects { path: self.rejects.path().map(Into::into).unwrap_or_default(), source }
    }

    /// Reads while there is room.
    fn read(&mut self) -> Result<bool, ShipError> {
        let mut busy = false;
        while self.outbox.held() < self.settings.buffer {
            let Some((track, chunk)) = self.intake.read()? else { break };
            busy = true;
            for long in &chunk.oversize {
                let reason = format!(
                    "it is longer than --max-line, and this is its beginning (byte {})",
                    long.place.offset
                );
                let added = self.rejects.add(self.intake.name(track), &long.sample, &reason);
                added.map_err(|error| self.cannot_reject(error))?;
                self.progress.rejected.store(self.rejects.count, Relaxed);
            }
            self.outbox.push(track, &chunk);
        }
        Ok(busy)
    }

    /// Sends lines while they are taken; returns whether there may be more to do at once.
    fn send(&mut self, now: Instant) -> Result<bool, ShipError> {
        for _ in 0..TURN {
            if !self.pace.wait(now).is_zero() {
                self.outlet.flush();
                return Ok(false);
            }
            let Some(line) = self.outbox.line() else {
                self.outlet.flush();
                return Ok(false);
            };
            let number = line.number;
            let key = self.intake.key(line.track, self.settings.key, line.text);
            match self.outlet.offer(number, key, line.text, now) {
                Offer::Sent => {
                    self.outbox.sent();
                    self.pace.sent(now);
                }
                Offer::Refused(reason) => {
                    self.changed = true;
                    self.refused(number, &reason)?;
                }
                Offer::Full => {
                    self.outlet.flush();
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Saves offsets, if there are any; what fails is tried again.
    fn remember(&mut self, now: Instant) {
        self.saved = now;
        if !self.changed && !self.unsaved {
            return;
        }
        let saved = self.save();
        if let Err(error) = &saved
            && !self.unsaved
        {
            log::warn!(
                "{error}; it is tried again, and what is delivered meanwhile is sent again after a kill"
            );
        }
        self.unsaved = saved.is_err();
    }

    fn save(&mut self) -> Result<(), ShipError> {
        self.changed = false;
        self.intake.forget(|track| self.outbox.is_clear(track));
        // What is put aside is so before it counts as done.
        self.rejects.sync().map_err(|error| self.cannot_reject(error))?;
        match &mut self.offsets {
            Some(offsets) => Ok(offsets.save(self.intake.marks())?),
            None => Ok(()),
        }
    }

    fn figures(&self) {
        self.progress.lag.store(self.intake.lag(), Relaxed);
        *self.progress.away.lock().unwrap_or_else(PoisonError::into_inner) = self.outlet.away();
    }
}
