//! Lines in: the files that are followed, or standard input, and how far each has been delivered.

use std::collections::{BTreeMap, VecDeque};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use super::outbox::Acknowledged;
use super::outlet::Waker;
use super::{Key, ShipError};
use crate::source::{
    Chunk, Fingerprint, FollowedFile, Found, Mark, Marks, Pool, ReadOptions, Reader, Share, Source,
    SourceError, Step, begins_at,
};

/// Files that are at their end and of which it is remembered what they were: copies of them may
/// still come.
const PAST: usize = 4096;
/// How long it is waited for files that come, before it is looked whether to stop.
const PATIENCE: Duration = Duration::from_millis(200);

/// The tracks that may have something to read.
#[derive(Default)]
struct Ready(Mutex<VecDeque<usize>>);

impl Ready {
    fn push(&self, track: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(track);
    }

    fn pop(&self) -> Option<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// A file, or standard input.
struct Track {
    found: Found,
    /// What its messages have for a key, if that is its name.
    name: Box<[u8]>,
    /// `None` once it is read no further.
    reader: Option<Box<dyn Reader>>,
    /// It is among those that are ready.
    queued: Arc<AtomicBool>,
    /// It has been read to its end at least once.
    caught_up: bool,
    ended: bool,
    /// Up to where everything has been delivered.
    delivered: u64,
    read: Fingerprint,
    /// Where it is; standard input is nowhere.
    file: Option<FollowedFile>,
    /// Made of the above, until that changes.
    mark: Option<Mark>,
}

/// Where lines come from.
pub(super) struct Intake {
    source: Arc<dyn Source>,
    options: ReadOptions,
    is_files: bool,
    tracks: BTreeMap<usize, Track>,
    next: usize,
    ready: Arc<Ready>,
    wake: Waker,
    pool: Pool,
    /// Files of an earlier process, as far as they have not been found yet.
    marks: Marks,
    past: VecDeque<Mark>,
    comes: Option<Receiver<Result<Vec<Found>, SourceError>>>,
    over: Arc<AtomicBool>,
    /// Each is read until it has been caught up with once.
    until_caught_up: bool,
    stopped: bool,
    /// How many files could not be read, or not to their end.
    pub(super) damaged: u64,
}

impl Intake {
    /// Opens what `source` has, from where `marks` say.
    pub(super) fn new(
        source: Arc<dyn Source>,
        is_files: bool,
        options: ReadOptions,
        marks: Vec<Mark>,
        until_caught_up: bool,
        wake: Waker,
    ) -> Result<Self, ShipError> {
        let mut intake = Intake {
            source,
            options,
            is_files,
            tracks: BTreeMap::new(),
            next: 0,
            ready: Arc::default(),
            wake,
            pool: Pool::default(),
            marks: Marks::new(marks),
            past: VecDeque::new(),
            comes: None,
            over: Arc::default(),
            until_caught_up,
            stopped: false,
            damaged: 0,
        };
        let found = intake.source.find()?;
        if is_files {
            // What is left of files that were put aside comes before what is in their place now.
            for found in &found {
                let _ = intake.marks.take(found);
            }
            let left = intake.marks.left();
            intake.take_in(left)?;
        }
        intake.take_in(found)?;
        if is_files && !until_caught_up {
            intake.look_for_more()?;
        }
        Ok(intake)
    }

    fn look_for_more(&mut self) -> Result<(), ShipError> {
        let Some(mut finder) = self.source.finder() else { return Ok(()) };
        let (sender, receiver) = sync_channel(1);
        let (over, wake) = (Arc::clone(&self.over), Arc::clone(&self.wake));
        let looks = move || {
            while !over.load(Ordering::Relaxed) {
                let found = finder.wait(PATIENCE);
                let failed = found.is_err();
                if found.as_ref().is_ok_and(Vec::is_empty) {
                    continue;
                }
                if sender.send(found).is_err() || failed {
                    return;
                }
                wake();
            }
        };
        let thread = Builder::new().name("finder".to_owned()).spawn(looks);
        thread.map_err(|source| ShipError::System { what: "start a thread", source })?;
        self.comes = Some(receiver);
        Ok(())
    }

    /// Takes in files that have come; returns whether any have.
    pub(super) fn look(&mut self) -> Result<bool, ShipError> {
        let Some(comes) = &self.comes else { return Ok(false) };
        match comes.try_recv() {
            Ok(found) => self.take_in(found?).map(|()| true),
            Err(TryRecvError::Empty) => Ok(false),
            Err(TryRecvError::Disconnected) => {
                self.comes = None;
                Ok(false)
            }
        }
    }

    fn take_in(&mut self, found: Vec<Found>) -> Result<(), ShipError> {
        for found in found {
            let (mut file, mut delivered, mut read, mut from) = (None, 0, Fingerprint::default(), 0);
            if self.is_files {
                file = FollowedFile::of(&found).ok();
                match self.marks.take(&found) {
                    Ok(Some(known)) => (delivered, read) = known,
                    Ok(None) => {}
                    Err(error) => log::warn!("{error}; it is read from its beginning"),
                }
                from = delivered;
                if delivered == 0
                    && let Some(begins) = begins_at(&found)?
                {
                    // What stands before is as good as delivered.
                    (delivered, read) = begins;
                }
            }
            let (number, queued) = (self.next, Arc::new(AtomicBool::new(true)));
            let (ready, wake, flag) = (Arc::clone(&self.ready), Arc::clone(&self.wake), Arc::clone(&queued));
            let more = move || {
                if !flag.swap(true, Ordering::AcqRel) {
                    ready.push(number);
                    wake();
                }
            };
            let share = Share { worker: 0, peers: 1 };
            let reader = match self.source.open(&found, from, share, self.options, Arc::new(more)) {
                Ok(reader) => reader,
                Err(error) if self.is_files => {
                    log::error!("{error}\n  it is not sent");
                    self.damaged += 1;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if from > 0 {
                log::info!("{}: read on from byte {from}", found.name);
            }
            let name = found.name.strip_prefix("file:").unwrap_or(&found.name).as_bytes().into();
            let track = Track {
                found,
                name,
                reader: Some(reader),
                queued,
                caught_up: false,
                ended: false,
                delivered,
                read,
                file,
                mark: None,
            };
            self.tracks.insert(number, track);
            self.ready.push(number);
            self.next += 1;
        }
        Ok(())
    }

    /// Reads on; the lines of which track, and those that are too long, or `None` if there is
    /// nothing at present.
    pub(super) fn read(&mut self) -> Result<Option<(usize, Chunk)>, ShipError> {
        while let Some(number) = self.ready.pop() {
            let Some(track) = self.tracks.get_mut(&number) else { continue };
            let Some(reader) = &mut track.reader else { continue };
            // Before it is read: what comes from now on is told again.
            track.queued.store(false, Ordering::Release);
            match reader.poll(u64::MAX, &self.pool) {
                Ok(Step::Chunk(chunk)) => {
                    if !track.queued.swap(true, Ordering::AcqRel) {
                        self.ready.push(number);
                    }
                    return Ok(Some((number, chunk)));
                }
                Ok(Step::CaughtUp | Step::Reached) => {
                    track.caught_up = true;
                    if self.until_caught_up || (self.stopped && reader.has_stopped()) {
                        track.reader = None;
                    }
                }
                Ok(Step::Ended) => track.close(),
                Ok(Step::Damaged(error)) => {
                    log::error!("{error}\n  what stands before it is sent, and what comes after is lost");
                    self.damaged += 1;
                    track.close();
                }
                Err(error) if self.is_files => {
                    log::error!("{error}\n  it is read no further; a restart goes on there");
                    self.damaged += 1;
                    (track.reader, track.caught_up) = (None, true);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Takes nothing more from outside.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
        self.over.store(true, Ordering::Relaxed);
        self.comes = None;
        for (number, track) in &mut self.tracks {
            let Some(reader) = &mut track.reader else { continue };
            if self.is_files {
                track.reader = None;
            } else {
                reader.stop();
                self.ready.push(*number);
            }
        }
    }

    /// Whether nothing more comes.
    pub(super) fn is_over(&self) -> bool {
        let goes_on = self.comes.is_some() || (self.is_files && !self.until_caught_up && !self.stopped);
        !goes_on && self.tracks.values().all(|track| track.reader.is_none())
    }

    /// What a line of `track` has for a key.
    pub(super) fn key<'a>(&'a self, track: usize, key: Key, line: &'a [u8]) -> Option<&'a [u8]> {
        match key {
            Key::None => None,
            Key::File => self.tracks.get(&track).map(|track| &*track.name),
            Key::Field(number) => {
                let mut fields = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|it| !it.is_empty());
                fields.nth(number.checked_sub(1)?)
            }
        }
    }

    pub(super) fn name(&self, track: usize) -> &str {
        self.tracks.get(&track).map_or("", |track| &track.found.name)
    }

    /// Lines have been delivered.
    pub(super) fn delivered(&mut self, it: Acknowledged<'_>) {
        if let Some(track) = self.tracks.get_mut(&it.track) {
            track.delivered = it.offset + it.bytes.len() as u64;
            track.read.add(it.offset, it.bytes);
            track.mark = None;
        }
    }

    /// Forgets files that are at their end, but for their marks.
    pub(super) fn forget(&mut self, is_clear: impl Fn(usize) -> bool) {
        let done = |(number, track): (&usize, &Track)| (track.ended && is_clear(*number)).then_some(*number);
        let done: Vec<_> = self.tracks.iter().filter_map(done).collect();
        for number in done {
            let Some(mut track) = self.tracks.remove(&number) else { continue };
            track.mark = None;
            self.past.extend(track.mark().cloned());
            if self.past.len() > PAST {
                self.past.pop_front();
            }
        }
    }

    /// How far everything has been delivered.
    pub(super) fn marks(&mut self) -> impl Iterator<Item = &Mark> {
        let live = self.tracks.values_mut().filter_map(|track| track.mark());
        self.marks.rest(PAST).chain(&self.past).chain(live)
    }

    /// Bytes of files that have not been delivered, as far as they can be told.
    pub(super) fn lag(&self) -> u64 {
        let lag = |track: &Track| {
            let file = track.file.as_ref().filter(|file| file.is_plain)?;
            let it = file.path.metadata().ok()?;
            // Of one that was renamed it is not known.
            ((it.dev(), it.ino()) == (file.device, file.inode))
                .then(|| it.len().saturating_sub(track.delivered))
        };
        self.tracks.values().filter_map(lag).sum()
    }
}

impl Track {
    fn close(&mut self) {
        (self.reader, self.caught_up, self.ended) = (None, true, true);
    }

    fn mark(&mut self) -> Option<&Mark> {
        if self.mark.is_none() {
            self.mark = Mark::new(self.file.as_ref()?, self.delivered, &self.read, self.ended);
        }
        self.mark.as_ref()
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}
