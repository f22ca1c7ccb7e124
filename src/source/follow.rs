//! Files that grow.

mod before;
mod known;
mod mark;
mod tail;
mod watch;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use self::before::{Before, Relation};
use self::known::Known;
pub(crate) use self::mark::{Fingerprint, Mark, Marks, Place as FollowedFile, begins_at};
use self::tail::Tail;
pub(super) use self::tail::siblings;
pub(super) use self::watch::Notices;
use self::watch::Watch;
use super::compressed::CompressedReader;
use super::file::FoundFile;
use super::glob::expand_all;
use super::{Finder, Found, ReadBefore, ReadOptions, Reader, Share, Source, SourceError, Wake};

/// Bytes of a file's beginning that tell it from others.
const HEAD: usize = 1024;

/// So often it is looked again for what an earlier run has read, where files were renamed meanwhile, ...
const AGAIN: usize = 20;
/// ... after so long.
const MOMENT: Duration = Duration::from_millis(20);

/// Where following begins in files that are there as the run begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FollowFrom {
    /// At their beginning.
    #[default]
    Beginning,
    /// At their end: only what is appended counts.
    End,
}

/// `file:PATH?follow`: files that grow, as logs do, whatever becomes of them.
///
/// What is there is read from its beginning, and then what comes: one run, without a gap between the two. Each file is a partition,
/// and files are read side by side. Which file it is is told by its device, its inode and its first bytes, and not by its name:
///
/// | what happens to it | what is done |
/// |---|---|
/// | it grows | what was appended is read; a last line without its LF waits for it |
/// | it is renamed, and another is created (`create`) | the old one is read to its end, and some seconds longer; the new one is another partition |
/// | it is copied and emptied (`copytruncate`) | what was not read of it yet is read from the copy; the emptied one is another partition |
/// | it is deleted | what has been written to it is read |
/// | it is compressed, or copied elsewhere under a name that matches, too | nothing: it has been read |
/// | a new file comes to match the pattern | it is read from its beginning |
///
/// What is written between the copying and the emptying is in neither file; that is so with whatever reads the log. Where there is no copy
/// to be found, what was not read is lost, and a warning says how much that is at most.
///
/// # How changes are noticed
///
/// The system says so (inotify), and besides all files are looked at from time to time: once in ten seconds, or once a second
/// where the system says nothing, as with network file systems.
///
/// # Promise on restart
///
/// A file is found again by what it is, under whatever name, and read on from its offset.
#[derive(Debug)]
pub struct FollowSource {
    uri: String,
    patterns: Vec<String>,
    from: FollowFrom,
    /// How often files are looked at where the system says nothing of them.
    poll: Duration,
    /// What was found as the run began, until there is a finder.
    known: Mutex<Option<Known>>,
    /// What an earlier run has read.
    before: Mutex<Option<Before>>,
    spots: Arc<Spots>,
    watch: OnceLock<Result<Watch, String>>,
}

/// The detail of a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Detail {
    /// A file that does not grow: it is compressed.
    Whole(FoundFile),
    /// One that may.
    Growing(Growing),
}

/// A file that may grow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Growing {
    path: PathBuf,
    device: u64,
    inode: u64,
    /// So many of its first bytes were known as it was found ...
    head: usize,
    /// ... and this was their digest.
    digest: String,
    /// What stands before is not read: it was there before the run began.
    skip: u64,
}

/// How far files have been read, for who has to tell a copy from another file: by identity, and also of some that are at their end,
/// because the copy may be seen later.
#[derive(Debug, Default)]
struct Spots(Mutex<ByIdentity>);

#[derive(Debug, Default)]
struct ByIdentity {
    /// Each with the number that tells how old it is.
    spots: BTreeMap<String, (u64, Arc<Mutex<Spot>>)>,
    opened: u64,
    /// How many there may be before it is looked how many are past.
    room: usize,
}

/// How far a file has been read, and the last bytes before that.
#[derive(Clone, Debug, Default)]
struct Spot {
    offset: u64,
    last: Vec<u8>,
}

impl Spots {
    /// The spot of the partition of this identity.
    fn open(&self, identity: &str) -> Arc<Mutex<Spot>> {
        /// Of how many files at their end it is remembered.
        const PAST: usize = 1024;
        let spot = Arc::new(Mutex::new(Spot::default()));
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ByIdentity { spots, opened, room } = &mut *all;
        if spots.len() > *room {
            let is_past = |spot: &Arc<Mutex<Spot>>| Arc::strong_count(spot) == 1;
            let past = spots.values().filter(|(_, spot)| is_past(spot)).map(|(number, _)| *number);
            let mut past: Vec<_> = past.collect();
            past.sort_unstable();
            let oldest = past.len().checked_sub(PAST).and_then(|at| past.get(at)).copied().unwrap_or(0);
            spots.retain(|_, (number, spot)| *number >= oldest || !is_past(spot));
            *room = 2 * spots.len() + PAST;
        }
        *opened += 1;
        spots.insert(identity.to_owned(), (*opened, Arc::clone(&spot)));
        spot
    }

    /// How far that has been read, if it is read in this process.
    fn get(&self, identity: &str) -> Option<Spot> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, spot) = all.spots.get(identity)?;
        let spot = spot.lock().unwrap_or_else(PoisonError::into_inner);
        Some(spot.clone())
    }
}

impl FollowSource {
    /// The files that `patterns` name now and later.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use thalweg::source::{FollowFrom, FollowSource, Source};
    /// let directory = tempfile::tempdir()?;
    /// let pattern = format!("{}/*.log", directory.path().display());
    /// let source = FollowSource::new(&[&pattern], FollowFrom::Beginning);
    /// // Nothing is there yet.
    /// assert!(source.find()?.is_empty() && !source.is_bounded());
    /// let mut finder = source.finder().ok_or("it looks for more")?;
    /// std::fs::write(directory.path().join("a.log"), "one\n")?;
    /// let mut found = Vec::new();
    /// while found.is_empty() {
    ///     found = finder.wait(std::time::Duration::from_millis(100))?;
    /// }
    /// assert!(found[0].name.ends_with("a.log"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn new<P: AsRef<str>>(patterns: &[P], from: FollowFrom) -> Self {
        let patterns: Vec<_> = patterns.iter().map(|pattern| pattern.as_ref().to_owned()).collect();
        FollowSource {
            uri: format!("file:{}?follow", patterns.join(" ")),
            patterns,
            from,
            poll: Duration::from_secs(1),
            known: Mutex::new(None),
            before: Mutex::new(None),
            spots: Arc::default(),
            watch: OnceLock::new(),
        }
    }

    /// The same, and where the system says nothing of changes, files are looked at so often. By default once a second.
    #[must_use]
    pub fn polling(self, every: Duration) -> Self {
        FollowSource { poll: every.max(Duration::from_millis(1)), ..self }
    }

    /// What `options` of a URI say (`follow&start=end&poll=5s`), if that is what they are.
    pub(super) fn of_options(patterns: &[&str], options: &str) -> Result<Self, String> {
        let (mut from, mut poll) = (FollowFrom::default(), Duration::from_secs(1));
        for option in options.split('&') {
            match option.split_once('=').unwrap_or((option, "")) {
                ("follow", "" | "true") => {}
                ("start", "beginning") => from = FollowFrom::Beginning,
                ("start", "end") => from = FollowFrom::End,
                ("poll", every) => {
                    poll = humantime::parse_duration(every).map_err(|error| format!("poll: {error}"))?
                }
                _ => {
                    return Err(format!(
                        "`{option}` is none of `follow`, `start=beginning`, `start=end`, `poll=TIME`"
                    ));
                }
            }
        }
        Ok(FollowSource::new(patterns, from).polling(poll))
    }

    /// Whether `text`, behind the last `?` of a path, are options and not a part of it.
    pub(super) fn are_options(text: &str) -> bool {
        text.split('&').any(|option| option == "follow" || option == "follow=true")
    }

    fn scan(&self, known: &mut Known, first: bool) -> Result<Vec<Found>, SourceError> {
        let from = if first { self.from } else { FollowFrom::Beginning };
        known.scan(&self.patterns, &self.spots, from)
    }
}

impl Source for FollowSource {
    fn uri(&self) -> &str {
        &self.uri
    }

    fn is_bounded(&self) -> bool {
        false
    }

    fn go_on(&self, partitions: &[ReadBefore]) {
        *self.before.lock().unwrap_or_else(PoisonError::into_inner) = Some(Before::new(partitions));
    }

    fn memory(&self, read: &ReadBefore) -> Option<String> {
        let (path, key) = match read.found.read_detail().ok()? {
            Detail::Growing(Growing { path, device, inode, .. }) => (path, (device, inode)),
            // What has its name now may be another one.
            Detail::Whole(FoundFile { path, .. }) => (path, Before::file(&read.found)?),
        };
        let mark = Mark::look(&path, key, read).ok()??;
        serde_json::to_string(&mark).ok()
    }

    fn find(&self) -> Result<Vec<Found>, SourceError> {
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut known = Known::going_on(before.clone());
        let mut found = self.scan(&mut known, true)?;
        // Logs are being put aside. What an earlier run has read is looked for once only, so it has to be found now.
        for _ in 0..AGAIN {
            if before.is_none() || !known.has_missed() {
                break;
            }
            std::thread::sleep(MOMENT);
            known = Known::going_on(before.clone());
            found = self.scan(&mut known, true)?;
        }
        // Older than those that have their names now.
        found.splice(..0, known.left());
        if found.is_empty() {
            let cwd = std::env::current_dir().unwrap_or_default();
            log::warn!(
                "no file with a line matches {:?} yet; one that comes to match is read\n  hint: a relative path starts at \
                 the working directory, {}",
                self.patterns.join(" "),
                cwd.display()
            );
        }
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
        Ok(found)
    }

    fn finder(&self) -> Option<Box<dyn Finder>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
        let (patterns, spots) = (self.patterns.clone(), Arc::clone(&self.spots));
        let mut notices = Notices::new(self.poll);
        for pattern in &patterns {
            watch(&mut notices, pattern);
        }
        Some(Box::new(FollowFinder { known, patterns, spots, notices }))
    }

    fn open(
        &self,
        partition: &Found,
        from: u64,
        _share: Share,
        options: ReadOptions,
        wake: Wake,
    ) -> Result<Box<dyn Reader>, SourceError> {
        match partition.read_detail()? {
            Detail::Whole(found) => Ok(Box::new(CompressedReader::new(found, from, options.max_line)?)),
            Detail::Growing(growing) => {
                let watch =
                    self.watch.get_or_init(|| Watch::start(self.poll).map_err(|error| error.to_string()));
                let watch = watch.as_ref().map_err(|reason| SourceError::Open {
                    path: growing.path.clone(),
                    source: std::io::Error::other(reason.clone()),
                })?;
                let spot = self.spots.open(&partition.identity);
                Ok(Box::new(Tail::open(growing, &partition.name, from, options, watch, wake, spot)?))
            }
        }
    }

    fn head(&self, partition: &Found) -> Result<Vec<u8>, SourceError> {
        match partition.read_detail()? {
            Detail::Whole(found) => found.first_lines(),
            // Whoever reads it reads all of it, from its first line on.
            Detail::Growing(_) => Ok(Vec::new()),
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        expand_all(&self.patterns).unwrap_or_default()
    }
}

/// Watches the directories in which something may come to match `pattern`.
fn watch(notices: &mut Notices, pattern: &str) {
    notices.watch(&directory_of(pattern));
    // Those above before those below, so that none comes unnoticed.
    for (end, _) in pattern.match_indices('/') {
        let above = &pattern[..end];
        if above.contains(['*', '?', '[']) {
            let paths = ::glob::glob(above).into_iter().flatten().flatten();
            paths.filter(|path| path.is_dir()).for_each(|directory| notices.watch(&directory));
        }
    }
}

/// The directory in which something comes to match `pattern`, as far as it is one.
fn directory_of(pattern: &str) -> PathBuf {
    let fixed: PathBuf = std::path::Path::new(pattern)
        .components()
        .take_while(|part| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']))
        .collect();
    let directory = if fixed.is_dir() { Some(fixed.as_path()) } else { fixed.parent() };
    match directory {
        Some(directory) if directory.as_os_str().is_empty() => PathBuf::from("."),
        Some(directory) => directory.to_owned(),
        None => PathBuf::from("."),
    }
}

/// Looks for files that come to match.
struct FollowFinder {
    known: Known,
    patterns: Vec<String>,
    spots: Arc<Spots>,
    notices: Notices,
}

impl Finder for FollowFinder {
    fn wait(&mut self, patience: Duration) -> Result<Vec<Found>, SourceError> {
        if !self.notices.files_have_come(patience, self.known.is_open()) {
            return Ok(Vec::new());
        }
        // First, so that what comes in the meantime is noticed.
        for pattern in &self.patterns {
            watch(&mut self.notices, pattern);
        }
        self.known.scan(&self.patterns, &self.spots, FollowFrom::Beginning)
    }
}
