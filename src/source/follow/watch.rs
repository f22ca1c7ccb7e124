//! What tells that files have changed: the system's notices where there are any, and a look from time to time.
//!
//! Nothing here reads a clock: a thread sleeps, and says when it has.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
use std::thread::Builder;
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::source::Wake;

/// Notices that wait to be read at most. Of more, it is known that there were more, and everything is looked at.
const QUEUE: usize = 1024;
/// Where the system gives notices, files are looked at only so seldom.
const SELDOM: u32 = 10;
/// Looks for which a file is read on that its name has been taken from, and that has come to its end: whoever had it open may
/// still write to it for a moment.
const LINGER: u32 = 5;

/// What has come about.
enum Notice {
    /// Something has been appended to these files, or done to them otherwise.
    Changed(Vec<PathBuf>),
    /// Files have come, gone, or been renamed.
    Moved,
    /// It is time to look at all of them.
    Look,
    /// This one is followed from now on.
    Follow(Arc<Followed>),
}

/// The system's notices of directories.
pub(in crate::source) struct Notices {
    notices: Receiver<Notice>,
    sender: SyncSender<Notice>,
    watcher: Option<RecommendedWatcher>,
    watched: HashSet<PathBuf>,
    /// Whether there were more notices than there was room for.
    missed: Arc<AtomicBool>,
    /// Looks that were left out since the last.
    left_out: u32,
}

impl Notices {
    /// Of no directory yet; it is time to look once in `every`.
    pub(in crate::source) fn new(every: Duration) -> Self {
        let (sender, notices) = sync_channel(QUEUE);
        let missed = Arc::new(AtomicBool::new(false));
        let (send, full) = (sender.clone(), Arc::clone(&missed));
        let handler = move |event: notify::Result<notify::Event>| {
            let notice = match event {
                Ok(event) => match event.kind {
                    EventKind::Access(_) => return,
                    EventKind::Modify(
                        notify::event::ModifyKind::Data(_) | notify::event::ModifyKind::Any,
                    ) => Notice::Changed(event.paths),
                    EventKind::Modify(notify::event::ModifyKind::Metadata(_)) => return,
                    _ => Notice::Moved,
                },
                Err(_) => Notice::Moved,
            };
            if let Err(TrySendError::Full(_)) = send.try_send(notice) {
                full.store(true, Ordering::Relaxed);
            }
        };
        let watcher = notify::recommended_watcher(handler);
        if let Err(error) = &watcher {
            log::warn!(
                "the system gives no notices of files that change ({error}): they are looked at every {every:?}"
            );
        }
        let looks = sender.clone();
        // It ends when nobody receives.
        let sleeps = move || {
            loop {
                std::thread::sleep(every);
                match looks.try_send(Notice::Look) {
                    Err(TrySendError::Disconnected(_)) => return,
                    Ok(()) | Err(TrySendError::Full(_)) => {}
                }
            }
        };
        if let Err(error) = Builder::new().name("looks".to_owned()).spawn(sleeps) {
            log::warn!("no thread can be started that looks at files from time to time: {error}");
        }
        Notices { notices, sender, watcher: watcher.ok(), watched: HashSet::new(), missed, left_out: 0 }
    }

    /// Of what is in `directory`, too.
    pub(in crate::source) fn watch(&mut self, directory: &Path) {
        if self.watched.contains(directory) {
            return;
        }
        let Some(watcher) = &mut self.watcher else { return };
        match watcher.watch(directory, RecursiveMode::NonRecursive) {
            Ok(()) => drop(self.watched.insert(directory.to_owned())),
            Err(error) => {
                log::warn!(
                    "the system gives no notices of {} ({error}): what is in it is looked at from time to time",
                    directory.display()
                );
                self.watcher = None;
            }
        }
    }

    /// Whether it is time to look at all files, now that the time for it has come again.
    fn is_time(&mut self) -> bool {
        let missed = self.missed.swap(false, Ordering::Relaxed);
        self.left_out += 1;
        let seldom = self.watcher.is_some() && self.left_out < SELDOM && !missed;
        if !seldom {
            self.left_out = 0;
        }
        !seldom
    }

    /// Waits, about as long as `patience`, until files may have come; returns whether they may. If it is `eager`, they may whenever
    /// something has been written, too, and at each look.
    pub(in crate::source) fn files_have_come(&mut self, patience: Duration, eager: bool) -> bool {
        loop {
            match self.notices.recv_timeout(patience) {
                Ok(Notice::Moved) => {
                    // Those that came with it.
                    while let Ok(Notice::Moved | Notice::Changed(_)) = self.notices.try_recv() {}
                    return true;
                }
                Ok(Notice::Look) => return self.is_time() | eager,
                Ok(Notice::Changed(_)) if eager => return true,
                Ok(Notice::Changed(_) | Notice::Follow(_)) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
            }
        }
    }
}

/// A file that is followed: what its reader is told.
#[derive(Debug)]
pub(super) struct Followed {
    path: PathBuf,
    device: u64,
    inode: u64,
    /// There may be more to read.
    more: AtomicBool,
    /// Nothing more is expected: its name has been taken from it for a while.
    over: AtomicBool,
    /// Its length when it was last looked at.
    length: AtomicU64,
    wake: WakeOf,
}

struct WakeOf(Wake);

impl std::fmt::Debug for WakeOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wake")
    }
}

impl Followed {
    pub(super) fn new(path: PathBuf, device: u64, inode: u64, wake: Wake) -> Self {
        let (more, over) = (AtomicBool::new(true), AtomicBool::new(false));
        Followed { path, device, inode, more, over, length: AtomicU64::new(0), wake: WakeOf(wake) }
    }

    /// Whether there may be more since this was last asked.
    pub(super) fn take_more(&self) -> bool {
        self.more.load(Ordering::Relaxed) && self.more.swap(false, Ordering::AcqRel)
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn notice(&self) {
        if !self.more.swap(true, Ordering::AcqRel) {
            (self.wake.0)();
        }
    }

    /// Looks whether the file has grown, or lost its name; `away` is for how many looks it has.
    fn look(&self, away: &mut u32) {
        match self.path.metadata() {
            Ok(it) if (it.dev(), it.ino()) == (self.device, self.inode) => {
                *away = 0;
                if self.length.swap(it.len(), Ordering::Relaxed) != it.len() {
                    self.notice();
                }
            }
            _ => {
                *away += 1;
                if *away >= LINGER {
                    self.over.store(true, Ordering::Release);
                }
                self.notice();
            }
        }
    }
}

/// The thread that tells readers of their files.
#[derive(Clone, Debug)]
pub(super) struct Watch(SyncSender<Notice>);

impl std::fmt::Debug for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Notice")
    }
}

impl Watch {
    pub(super) fn start(every: Duration) -> io::Result<Self> {
        let notices = Notices::new(every);
        let sender = notices.sender.clone();
        Builder::new().name("watch".to_owned()).spawn(move || watch(notices))?;
        Ok(Watch(sender))
    }

    /// Tells `file` of what becomes of it.
    pub(super) fn follow(&self, file: &Arc<Followed>) {
        // The thread takes from the queue all the time.
        let _ = self.0.send(Notice::Follow(Arc::clone(file)));
    }
}

/// Tells each file's reader, for as long as the run goes on.
fn watch(mut notices: Notices) {
    let mut files: HashMap<PathBuf, Vec<(Weak<Followed>, u32)>> = HashMap::new();
    let mut moved = false;
    while let Ok(notice) = notices.notices.recv() {
        match notice {
            Notice::Follow(file) => {
                let directory = file.path.parent().filter(|it| !it.as_os_str().is_empty());
                notices.watch(directory.unwrap_or(Path::new(".")));
                let name = name_of(&file.path);
                files.entry(name).or_default().push((Arc::downgrade(&file), 0));
            }
            Notice::Changed(paths) => {
                for path in paths {
                    let of = files.get(&name_of(&path)).into_iter().flatten();
                    of.filter_map(|(file, _)| file.upgrade()).for_each(|file| file.notice());
                }
            }
            // A file may have lost its name: that is seen at the next look.
            Notice::Moved => moved = true,
            Notice::Look => {
                let all = notices.is_time() | std::mem::take(&mut moved);
                files.retain(|_, of| {
                    of.retain(|(file, _)| file.strong_count() > 0);
                    !of.is_empty()
                });
                for (file, away) in files.values_mut().flatten() {
                    if (all || *away > 0)
                        && let Some(file) = file.upgrade()
                    {
                        file.look(away);
                    }
                }
            }
        }
    }
}

/// Notices name files as their directory was named when it was watched.
fn name_of(path: &Path) -> PathBuf {
    path.strip_prefix(".").unwrap_or(path).to_owned()
}
