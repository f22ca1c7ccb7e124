//! Files that are put into a directory.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::compressed::CompressedReader;
use super::file::FoundFile;
use super::follow::Notices;
use super::glob::expand_all;
use super::{Finder, Found, PerEpoch, ReadOptions, Reader, Share, Source, SourceError, Wake};

/// What becomes of a file that has been read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Clean {
    #[default]
    Nothing,
    Delete,
    Archive(PathBuf),
}

/// `dir:PATH`: files that are put into a directory, each read once.
///
/// A file is read as it is when it is found, and what is appended later is not: write it elsewhere, on the same file system, and
/// move it in when it is whole. Names that begin with a dot are passed over. Files are read one after the other in the order of their
/// modification times, the oldest first.
///
/// | option | meaning | default |
/// |---|---|---|
/// | `glob=PATTERN` | which names, below the directory; `day=*/*.log` goes into directories | `*` |
/// | `existing=take` or `ignore` | whether what is there as the run begins is read | `take` |
/// | `remember=TIME` | with `ignore`: what is put in later, but was modified so long before the newest of what was there, is not read either | `60s` |
/// | `max-files=N`, `max-bytes=SIZE` | so much of an epoch at most, and one file at least | no limit |
/// | `clean=delete`, `clean=archive:PATH` | what becomes of a file when all that comes of it has been shown: it is deleted, or moved there | nothing |
/// | `poll=TIME` | how often the directory is listed where the system gives no notices | `1s` |
///
/// With `existing=ignore` that is what Spark's `textFileStream` does; with `take`, its `readStream.text`. (Spark compares with the clock
/// what this compares with the newest file that was there: a source has no clock, and machines that share a file system have several.) A
/// listing that fails is a warning, and the next one may not.
///
/// Directories that are called `key=value` are fields of the records below them:
/// [`Parsed::directory`](crate::door::Parsed::directory).
///
/// # Promise on restart
///
/// A file is found again by its device, inode and first bytes, and read on from its offset.
#[derive(Debug)]
pub struct DirSource {
    uri: String,
    pattern: String,
    directory: PathBuf,
    ignores_existing: bool,
    remember: Duration,
    per_epoch: PerEpoch,
    clean: Clean,
    poll: Duration,
    /// What was listed as the run began.
    known: Mutex<Option<Listed>>,
}

/// What has been listed.
#[derive(Debug, Default)]
struct Listed {
    /// The modification time of each file that has been taken or left, by device and inode.
    files: HashMap<(u64, u64), (i64, i64)>,
    /// What was modified at this time or before is not read.
    not_before: Option<(i64, i64)>,
    /// Whether the last listing failed, and it has been said.
    failed: bool,
}

impl DirSource {
    /// The files in a directory, as `rest` of a URI says: `PATH?option=value&…`.
    ///
    /// # Errors
    ///
    /// When an option is not known, or its value cannot be read.
    ///
    /// ```
    /// use thalweg::source::{DirSource, Source};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let directory = tempfile::tempdir()?;
    /// std::fs::write(directory.path().join("a.log"), "one\n")?;
    /// let source = DirSource::new(&directory.path().display().to_string())?;
    /// assert_eq!((source.find()?.len(), source.is_bounded()), (1, false));
    /// assert!(DirSource::new("logs?max_files=3").unwrap_err().contains("max-files"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(rest: &str) -> Result<Self, String> {
        let (path, options) = rest.split_once('?').unwrap_or((rest, ""));
        if path.is_empty() {
            return Err("say which directory: `dir:PATH`".to_owned());
        }
        let mut source = DirSource {
            uri: format!("dir:{rest}"),
            pattern: String::new(),
            directory: PathBuf::from(path),
            ignores_existing: false,
            remember: Duration::from_secs(60),
            per_epoch: PerEpoch::default(),
            clean: Clean::Nothing,
            poll: Duration::from_secs(1),
            known: Mutex::new(None),
        };
        let mut glob = "*";
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let bad = |reason: String| format!("{name}: {reason}");
            let time = || humantime::parse_duration(value).map_err(|error| bad(error.to_string()));
            let number = || {
                value
                    .parse::<u64>()
                    .ok()
                    .filter(|it| *it > 0)
                    .ok_or_else(|| bad(format!("`{value}` is no number")))
            };
            match (name, value) {
                ("glob", _) => glob = value,
                ("existing", "take") => source.ignores_existing = false,
                ("existing", "ignore") => source.ignores_existing = true,
                ("remember", _) => source.remember = time()?,
                ("max-files", _) => source.per_epoch.partitions = number()?,
                ("max-bytes", _) => {
                    source.per_epoch.bytes = value.parse::<bytesize::ByteSize>().map_err(bad)?.as_u64();
                }
                ("clean", "off") => source.clean = Clean::Nothing,
                ("clean", "delete") => source.clean = Clean::Delete,
                ("clean", _) if value.starts_with("archive:") => {
                    source.clean = Clean::Archive(PathBuf::from(&value["archive:".len()..]));
                }
                ("poll", _) => source.poll = time()?.max(Duration::from_millis(1)),
                _ => {
                    return Err(format!(
                        "`{option}` is none of `glob=PATTERN`, `existing=take|ignore`, `remember=TIME`, `max-files=N`, \
                         `max-bytes=SIZE`, `clean=off|delete|archive:PATH`, `poll=TIME`"
                    ));
                }
            }
        }
        // What stands in the path is no pattern.
        source.pattern = format!("{}/{glob}", ::glob::Pattern::escape(path.trim_end_matches('/')));
        Ok(source)
    }
}

impl Listed {
    /// The files that have come since the last listing, the oldest first.
    fn list(&mut self, pattern: &str) -> Vec<Found> {
        let paths = match expand_all(&[pattern.to_owned()]) {
            Ok(paths) => paths,
            Err(SourceError::NotFound { .. }) => Vec::new(),
            Err(error) => {
                if !std::mem::replace(&mut self.failed, true) {
                    log::warn!("{error}\n  it is tried again");
                }
                return Vec::new();
            }
        };
        self.failed = false;
        let mut new = Vec::new();
        let mut here = HashMap::with_capacity(self.files.len());
        for path in paths {
            let Ok(metadata) = path.metadata() else { continue };
            let key = (metadata.dev(), metadata.ino());
            let modified = (metadata.mtime(), metadata.mtime_nsec());
            // Appended to, it is the same file.
            let known = self.files.contains_key(&key);
            here.insert(key, modified);
            if !known && metadata.is_file() {
                new.push((modified, path));
            }
        }
        self.files = here;
        new.retain(|(modified, _)| self.not_before.is_none_or(|not_before| *modified > not_before));
        new.sort();
        let found = |(_, path): (_, PathBuf)| match found(&path) {
            Ok(found) => Some(found),
            Err(error) => {
                log::warn!("{error}\n  it is left out");
                None
            }
        };
        new.into_iter().filter_map(found).collect()
    }
}

fn found(path: &Path) -> Result<Found, SourceError> {
    let (file, identity) = FoundFile::examine(path)?;
    file.found(identity, false)
}

impl Source for DirSource {
    fn uri(&self) -> &str {
        &self.uri
    }

    fn is_bounded(&self) -> bool {
        false
    }

    fn is_sequence(&self) -> bool {
        true
    }

    fn per_epoch(&self) -> PerEpoch {
        self.per_epoch
    }

    fn find(&self) -> Result<Vec<Found>, SourceError> {
        // What is no directory as the run begins is a mistake; what goes away later may come back.
        let error = |source| SourceError::Open { path: self.directory.clone(), source };
        std::fs::read_dir(&self.directory).map_err(error)?;
        if let Clean::Archive(archive) = &self.clean {
            std::fs::create_dir_all(archive)
                .map_err(|source| SourceError::Open { path: archive.clone(), source })?;
        }
        let mut listed = Listed::default();
        let mut found = listed.list(&self.pattern);
        if self.ignores_existing {
            found.clear();
            let newest = listed.files.values().max();
            let remember = i64::try_from(self.remember.as_secs()).unwrap_or(i64::MAX);
            listed.not_before = newest.map(|(seconds, nanos)| (seconds.saturating_sub(remember), *nanos));
        }
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(listed);
        Ok(found)
    }

    fn finder(&self) -> Option<Box<dyn Finder>> {
        let listed = self.known.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
        let mut notices = Notices::new(self.poll);
        notices.watch(&self.directory);
        Some(Box::new(DirFinder { listed, pattern: self.pattern.clone(), notices }))
    }

    fn open(
        &self,
        partition: &Found,
        from: u64,
        _share: Share,
        options: ReadOptions,
        _wake: Wake,
    ) -> Result<Box<dyn Reader>, SourceError> {
        Ok(Box::new(CompressedReader::new(FoundFile::of(partition)?, from, options.max_line)?))
    }

    fn head(&self, partition: &Found) -> Result<Vec<u8>, SourceError> {
        FoundFile::of(partition)?.first_lines()
    }

    fn done(&self, partition: &Found) {
        let Ok(file) = FoundFile::of(partition) else { return };
        let result = match &self.clean {
            Clean::Nothing => return,
            Clean::Delete => std::fs::remove_file(&file.path),
            Clean::Archive(archive) => {
                // Below the archive as it was below the directory.
                let below = file.path.strip_prefix(&self.directory).unwrap_or(&file.path);
                let to = archive.join(below);
                let made = to.parent().map_or(Ok(()), std::fs::create_dir_all);
                made.and_then(|()| std::fs::rename(&file.path, to))
            }
        };
        if let Err(error) = result {
            log::warn!("{} has been read, and could not be cleaned away: {error}", partition.name);
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        expand_all(std::slice::from_ref(&self.pattern)).unwrap_or_default()
    }
}

/// Looks for files that are put in.
struct DirFinder {
    listed: Listed,
    pattern: String,
    notices: Notices,
}

impl Finder for DirFinder {
    fn wait(&mut self, patience: Duration) -> Result<Vec<Found>, SourceError> {
        if self.notices.files_have_come(patience, false) {
            Ok(self.listed.list(&self.pattern))
        } else {
            Ok(Vec::new())
        }
    }
}
