//! What is known of the files that a pattern names, and which of them are new.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Before, Detail, FollowFrom, Growing, HEAD, Relation, Spot, Spots};
use crate::source::compressed::Decoder;
use crate::source::file::{FileKind, FoundFile, digest};
use crate::source::glob::{expand_all, is_rotated};
use crate::source::{Access, Found, SourceError};

/// Files that are gone, or were emptied, of which it is remembered what they began with: copies of them may still come.
const PAST: usize = 1024;

/// Files by device and inode.
#[derive(Debug, Default)]
pub(super) struct Known {
    files: HashMap<(u64, u64), KnownFile>,
    past: VecDeque<Past>,
    /// Things that are no files, and of which this was said.
    others: HashSet<PathBuf>,
    /// What an earlier run has read.
    before: Option<Before>,
    /// How many files were found, which tells apart those that are otherwise alike.
    count: u64,
    /// Whether a file was gone, or was renamed, as it was to be looked at.
    missed: bool,
}

#[derive(Debug)]
struct KnownFile {
    length: u64,
    modified: (i64, i64),
    /// What it begins with, uncompressed.
    head: Vec<u8>,
    identity: String,
    state: State,
    seen: bool,
}

/// What is known of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is read.
    Read,
    /// It has what another one has or had that was read.
    Copy,
    /// It has nothing yet, or so far nothing but what another one begins with, as a copy has that is being made; it has stood so for
    /// so many looks.
    Open(u32),
}

/// Looks after which a file that stays the beginning of another one is a file of its own.
const STANDS: u32 = 10;

/// What a file began with that is not there any more.
#[derive(Debug)]
struct Past {
    head: Vec<u8>,
    /// How far it was read, as far as that is known.
    spot: Option<Spot>,
}

impl Known {
    /// None yet, of files of which some have been read `before`.
    pub(super) fn going_on(before: Option<Before>) -> Self {
        Known { before, ..Known::default() }
    }

    /// Whether a file was gone, or was renamed, as it was to be looked at.
    pub(super) fn has_missed(&self) -> bool {
        self.missed
    }

    /// Files that were being read before and that no pattern names any more.
    pub(super) fn left(&mut self) -> Vec<Found> {
        self.before.as_mut().map(Before::left).unwrap_or_default()
    }

    /// The files that `patterns` name and that are new, the oldest first; they are read `from` there.
    pub(super) fn scan(
        &mut self,
        patterns: &[String],
        spots: &Spots,
        from: FollowFrom,
    ) -> Result<Vec<Found>, SourceError> {
        let paths = match expand_all(patterns) {
            Ok(paths) => paths,
            // They may yet come.
            Err(SourceError::NotFound { .. }) => Vec::new(),
            Err(error @ SourceError::BadGlob { .. }) => return Err(error),
            Err(error) => {
                log::warn!("{error}");
                Vec::new()
            }
        };
        let mut found = Vec::new();
        for path in paths {
            match self.look(&path, spots, from) {
                Ok(new) => found.extend(new),
                // Gone again, or not to be read by us: that may change.
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.missed = true,
                Err(error) => {
                    if self.others.insert(path.clone()) {
                        log::warn!("cannot open {}: {error}", shown(&path));
                    }
                }
            }
        }
        let mut gone = Vec::new();
        self.files.retain(|_, file| {
            let seen = std::mem::replace(&mut file.seen, false);
            if !seen && file.state == State::Read {
                gone.push((std::mem::take(&mut file.head), std::mem::take(&mut file.identity)));
            }
            seen
        });
        gone.into_iter().for_each(|(head, identity)| self.remember(head, &identity, spots));
        Ok(found)
    }

    fn remember(&mut self, head: Vec<u8>, identity: &str, spots: &Spots) {
        let spot = spots.get(identity);
        // It may have been read since it was looked at, when it was empty.
        if head.is_empty() && spot.as_ref().is_none_or(|spot| spot.offset == 0) {
            return;
        }
        if self.past.len() == PAST {
            self.past.pop_front();
        }
        self.past.push_back(Past { head, spot });
    }

    /// Looks at the file at `path`; returns it if it is new.
    fn look(&mut self, path: &Path, spots: &Spots, from: FollowFrom) -> io::Result<Option<Found>> {
        let metadata = path.metadata()?;
        if !metadata.is_file() {
            if self.others.insert(path.to_owned()) {
                log::warn!("{} is not a regular file, and not followed", shown(path));
            }
            return Ok(None);
        }
        if path.to_str().is_none() {
            return Err(io::Error::new(io::ErrorKind::InvalidFilename, "its name is not UTF-8"));
        }
        let key = (metadata.dev(), metadata.ino());
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        let length = metadata.len();
        let mut stood = 0;
        if let Some(file) = self.files.get_mut(&key) {
            file.seen = true;
            if (file.length, file.modified) == (length, modified) {
                match &mut file.state {
                    // What is empty stays open.
                    State::Open(looks) if !file.head.is_empty() => {
                        *looks += 1;
                        stood = *looks;
                    }
                    _ => return Ok(None),
                }
            } else {
                let head = head_of(path)?;
                if length >= file.length && head.starts_with(&file.head) {
                    (file.length, file.modified, file.head) = (length, modified, head);
                    if file.state == State::Read {
                        return Ok(None);
                    }
                } else if let Some(file) = self.files.remove(&key).filter(|file| file.state == State::Read) {
                    self.remember(file.head, &file.identity, spots);
                }
            }
        }
        if let Entry::Vacant(entry) = self.files.entry(key) {
            let (head, identity) = (head_of(path)?, String::new());
            entry.insert(KnownFile { length, modified, head, identity, state: State::Open(0), seen: true });
        }
        let mut state = self.state_of(path, key, spots)?;
        if let State::Open(looks) = &mut state {
            *looks = stood;
            if stood >= STANDS {
                state = State::Read;
            }
        }
        self.count += 1;
        let count = self.count;
        let Some(file) = self.files.get_mut(&key) else { return Ok(None) };
        let before = std::mem::replace(&mut file.state, state);
        if state == State::Copy && before != State::Copy {
            log::info!("{} is a copy of what has been read, and not read again", shown(path));
        }
        if state != State::Read {
            return Ok(None);
        }
        let run = self.before.as_ref().map_or(0, Before::run);
        file.identity = format!("{}:{}:{}:{count}.{run}", key.0, key.1, &digest(&file.head)[..16]);
        if let Some(before) = &mut self.before {
            match before.relation(path, &metadata)? {
                Relation::New => {}
                Relation::Copy => {
                    file.state = State::Copy;
                    log::info!("{} is a copy of what has been read, and not read again", shown(path));
                    return Ok(None);
                }
                Relation::Same(read) => {
                    file.identity = read.found.identity;
                    // Where it began to be read once, nothing is passed over now.
                    let is_over = read.ended
                        && (kind_of(&File::open(path)?)? != FileKind::Plain || length <= read.offset);
                    // Where something was read of it, that may have to be read again, from where it is now.
                    if is_over && read.offset == 0 {
                        return Ok(None);
                    }
                    return found(path, key, file, FollowFrom::Beginning).map(Some);
                }
            }
        }
        found(path, key, file, from).map(Some)
    }

    /// Whether there are files of which it is not known yet what they are.
    pub(super) fn is_open(&self) -> bool {
        self.files.values().any(|file| matches!(file.state, State::Open(_)))
    }

    /// What the file of `key` is, which is at `path`.
    fn state_of(&self, path: &Path, key: (u64, u64), spots: &Spots) -> io::Result<State> {
        let Some(file) = self.files.get(&key) else { return Ok(State::Read) };
        if file.head.is_empty() {
            // A copy that is being made has the name of one; where a log begins, it is there before it has a line.
            return Ok(if is_rotated(path) { State::Open(0) } else { State::Read });
        }
        let others = self.files.iter().filter(|(other, it)| **other != key && it.state == State::Read);
        let alike =
            |head: &[u8]| !head.is_empty() && (file.head.starts_with(head) || head.starts_with(&file.head));
        let others = others.map(|(_, it)| (&it.head, it.identity.as_str(), None));
        let past = self.past.iter().map(|it| (&it.head, "", it.spot.as_ref()));
        let mut state = State::Read;
        let all = others.filter(|(head, ..)| alike(head)).chain(past.filter(|(head, ..)| {
            // Of one that was empty when it was looked at it is known what was read of it.
            head.is_empty() || alike(head)
        }));
        for (head, identity, spot) in all {
            let Some(spot) = spot.cloned().or_else(|| spots.get(identity)) else { continue };
            // Of one of which nothing has been read yet, what it begins with is all that is known.
            if spot.offset == 0 && !file.head.starts_with(head) {
                continue;
            }
            match has(path, &spot)? {
                Has::It => return Ok(State::Copy),
                // What any file begins with says nothing.
                Has::NotYet if !head.is_empty() => state = State::Open(0),
                Has::NotYet | Has::Other => {}
            }
        }
        Ok(state)
    }
}

/// What a file has where another one has what was read last of it.
pub(super) enum Has {
    It,
    /// It is not that long, or not whole.
    NotYet,
    Other,
}

/// Whether the file at `path` has, uncompressed, what was read last before `spot`.
pub(super) fn has(path: &Path, spot: &Spot) -> io::Result<Has> {
    let file = File::open(path)?;
    let begin = spot.offset.saturating_sub(spot.last.len() as u64);
    let mut bytes = vec![0; spot.last.len()];
    let read = match kind_of(&file)? {
        FileKind::Plain => file.read_exact_at(&mut bytes, begin),
        kind => Decoder::of(file, kind).and_then(|mut decoder| {
            let passed = io::copy(&mut decoder.by_ref().take(begin), &mut io::sink())?;
            if passed == begin {
                decoder.read_exact(&mut bytes)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
        }),
    };
    match read {
        Ok(()) if bytes == spot.last => Ok(Has::It),
        Ok(()) => Ok(Has::Other),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Has::NotYet),
        Err(error) => Err(error),
    }
}

pub(super) fn kind_of(file: &File) -> io::Result<FileKind> {
    let mut magic = [0; FileKind::MAGIC];
    let read = file.read_at(&mut magic, 0)?;
    Ok(FileKind::of(&magic[..read]))
}

/// What the file at `path` begins with, uncompressed.
pub(super) fn head_of(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut head = Vec::new();
    match kind_of(&file)? {
        FileKind::Plain => file.take(HEAD as u64).read_to_end(&mut head)?,
        // What there is of one that is damaged.
        kind => Decoder::of(file, kind)?.take(HEAD as u64).read_to_end(&mut head).unwrap_or(0),
    };
    Ok(head)
}

/// `file`, which is at `path`, as a partition that is read `from` there.
fn found(path: &Path, (device, inode): (u64, u64), file: &KnownFile, from: FollowFrom) -> io::Result<Found> {
    let detail = if kind_of(&File::open(path)?)? == FileKind::Plain {
        let skip = if from == FollowFrom::End { file.length } else { 0 };
        let (head, digest) = (file.head.len(), digest(&file.head));
        Detail::Growing(Growing { path: path.to_owned(), device, inode, head, digest, skip })
    } else {
        let (whole, _) = FoundFile::examine(path).map_err(|error| io::Error::other(error.to_string()))?;
        Detail::Whole(whole)
    };
    Ok(Found {
        name: Arc::from(format!("file:{}", path.display())),
        identity: file.identity.clone(),
        access: Access::Sequential,
        length: None,
        bytes: 0,
        detail: serde_json::to_string(&detail).map_err(io::Error::other)?,
    })
}

/// With quotes, and nothing in it that a terminal would obey.
fn shown(path: &Path) -> String {
    format!("{path:?}")
}
