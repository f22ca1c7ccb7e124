//! How far a file has been read, in a form in which another process finds the file again.
//!
//! A file is found by its device and inode, and is only taken for the same if it begins and ends,
//! as far as it was read, with the same bytes. If it is not there any more, it is looked for a file
//! that has these bytes in these places: a copy, plain or compressed, as `copytruncate` and
//! `compress` leave them. What is remembered of the bytes are digests, and not the bytes.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::known::kind_of;
use super::tail::siblings;
use super::{Detail, Growing, HEAD};
use crate::source::compressed::Decoder;
use crate::source::file::{FileKind, FoundFile, digest};
use crate::source::{Access, Found, ReadBefore, SourceError};

/// Ends the identity of a file that no pattern names.
const LEFT: &str = ":left";

/// The last bytes before the place to which a file has been read.
const LAST: usize = 256;

/// Bytes of which a digest is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Piece {
    length: usize,
    digest: String,
}

impl Piece {
    fn of(bytes: &[u8]) -> Self {
        Piece { length: bytes.len(), digest: digest(bytes) }
    }

    fn is(&self, bytes: &[u8]) -> bool {
        bytes.len() == self.length && digest(bytes) == self.digest
    }
}

/// What has been read of a file: its first bytes and its last, which tell it from others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fingerprint {
    head: Vec<u8>,
    last: Vec<u8>,
    offset: u64,
}

impl Fingerprint {
    /// Takes in `bytes`, which stand at `offset`: behind what was taken in before, perhaps not at
    /// once.
    pub(crate) fn add(&mut self, offset: u64, bytes: &[u8]) {
        if offset != self.offset {
            self.last.clear();
        }
        if self.head.len() as u64 == offset {
            let more = bytes.len().min(HEAD - self.head.len());
            self.head.extend_from_slice(&bytes[..more]);
        }
        let kept = self.last.len().min(LAST.saturating_sub(bytes.len()));
        self.last.drain(..self.last.len() - kept);
        self.last.extend_from_slice(&bytes[bytes.len().saturating_sub(LAST)..]);
        self.offset = offset + bytes.len() as u64;
    }
}

/// Where reading begins in a file that is not read from its beginning, and what stands before;
/// `None` where it is. The place is one where a line begins.
pub(crate) fn begins_at(found: &Found) -> Result<Option<(u64, Fingerprint)>, SourceError> {
    /// So far before the place it is looked for the end of a line.
    const BACK: u64 = 64 << 10;
    let Detail::Growing(Growing { path, skip: skip @ 1.., .. }) = found.read_detail()? else {
        return Ok(None);
    };
    let read = File::open(&path).and_then(|file| {
        let mut before = vec![0; skip.min(BACK) as usize];
        file.read_exact_at(&mut before, skip - skip.min(BACK))?;
        let line = memchr::memrchr(b'\n', &before).map_or(before.len(), |at| at + 1);
        let offset = skip - (before.len() - line) as u64;
        let mut head = vec![0; offset.min(HEAD as u64) as usize];
        file.read_exact_at(&mut head, 0)?;
        let last = before[line.saturating_sub(LAST)..line].to_vec();
        Ok((offset, Fingerprint { head, last, offset }))
    });
    read.map(Some).map_err(|source| SourceError::Open { path, source })
}

/// How far a file has been read, and what tells the file from others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    path: PathBuf,
    device: u64,
    inode: u64,
    /// Bytes, uncompressed.
    offset: u64,
    head: Piece,
    last: Piece,
    /// Whether nothing more was to come of it.
    ended: bool,
    /// Whether no pattern named it as it was read, but another one in whose place it was left.
    left: bool,
}

/// What is compared of a file with what is remembered.
enum Content {
    Same(Fingerprint),
    Other,
}

impl Mark {
    /// `file`, read up to `offset`; `None` where there is nothing yet that would tell it from
    /// others.
    pub(crate) fn new(file: &Place, offset: u64, read: &Fingerprint, ended: bool) -> Option<Self> {
        let (device, inode) = (file.device, file.inode);
        let path = std::path::absolute(&file.path).unwrap_or_else(|_| file.path.clone());
        // Before it is read, what it began with as it was found.
        let head = if offset > 0 { Piece::of(&read.head) } else { file.head.clone()? };
        let (last, left) = (Piece::of(&read.last), file.left);
        Some(Mark { path, device, inode, offset, head, last, ended, left })
    }

    /// The mark of the file `key`, which is at `path` or beside it under another name, as far as it has been `read`; `None` if it is not
    /// there any more, or nothing of it has been read. Another file may have its inode by now: where there is an older mark, it has to
    /// have what that says.
    pub(crate) fn look(path: &Path, key: (u64, u64), read: &ReadBefore) -> io::Result<Option<Self>> {
        let (offset, ended) = (read.offset, read.ended);
        let is_it = |path: &Path| path.metadata().is_ok_and(|it| (it.dev(), it.ino()) == key);
        let at = if is_it(path) { Some(path.to_owned()) } else { siblings(path).find(|other| is_it(other)) };
        let Some(at) = at.filter(|_| offset > 0) else { return Ok(None) };
        let before = read.memory.as_deref().and_then(|text| serde_json::from_str::<Mark>(text).ok());
        if before.map_or(Ok(false), |before| before.compare(&at).map(|it| matches!(it, Content::Other)))? {
            return Ok(None);
        }
        let mut head = vec![0; offset.min(HEAD as u64) as usize];
        let mut last = vec![0; offset.min(LAST as u64) as usize];
        let begin = offset - last.len() as u64;
        let file = File::open(&at)?;
        match kind_of(&file)? {
            FileKind::Plain => {
                file.read_exact_at(&mut head, 0)?;
                file.read_exact_at(&mut last, begin)?;
            }
            kind => {
                Decoder::of(File::open(&at)?, kind)?.read_exact(&mut head)?;
                let mut decoder = Decoder::of(file, kind)?;
                io::copy(&mut decoder.by_ref().take(begin), &mut io::sink())?;
                decoder.read_exact(&mut last)?;
            }
        }
        let path = std::path::absolute(&at).unwrap_or(at);
        let (head, last) = (Piece::of(&head), Piece::of(&last));
        Ok(Some(Mark { path, device: key.0, inode: key.1, offset, head, last, ended, left: false }))
    }

    /// Looks whether the file at `path` has, uncompressed, the bytes that this one had.
    fn compare(&self, path: &Path) -> io::Result<Content> {
        let file = File::open(path)?;
        let begin = self.offset.saturating_sub(self.last.length as u64);
        let (mut head, mut last) = (vec![0; self.head.length.min(HEAD)], vec![0; self.last.length.min(LAST)]);
        let read = match kind_of(&file)? {
            FileKind::Plain => {
                file.read_exact_at(&mut head, 0).and_then(|()| file.read_exact_at(&mut last, begin))
            }
            kind => self.decode(path, kind, (&mut head, &mut last)),
        };
        match read {
            Ok(()) if self.head.is(&head) && self.last.is(&last) => {
                Ok(Content::Same(Fingerprint { head, last, offset: self.offset }))
            }
            Ok(()) => Ok(Content::Other),
            // It is shorter, or damaged.
            Err(error)
                if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) =>
            {
                Ok(Content::Other)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the first bytes, and the last before the offset, of a compressed file.
    fn decode(&self, path: &Path, kind: FileKind, (head, last): (&mut [u8], &mut [u8])) -> io::Result<()> {
        Decoder::of(File::open(path)?, kind)?.read_exact(head)?;
        if !self.head.is(head) {
            return Ok(());
        }
        let mut decoder = Decoder::of(File::open(path)?, kind)?;
        let begin = self.offset.saturating_sub(last.len() as u64);
        io::copy(&mut decoder.by_ref().take(begin), &mut io::sink())?;
        decoder.read_exact(last)
    }

    /// The file at `path` as a partition; it has the content of this one.
    fn found_at(&self, path: &Path, named: &Path) -> io::Result<Found> {
        let metadata = path.metadata()?;
        let (device, inode) = (metadata.dev(), metadata.ino());
        let detail = if kind_of(&File::open(path)?)? == FileKind::Plain {
            let (head, digest) = (self.head.length, self.head.digest.clone());
            Detail::Growing(Growing { path: named.to_owned(), device, inode, head, digest, skip: 0 })
        } else {
            Detail::Whole(FoundFile::examine(path).map_err(|error| io::Error::other(error.to_string()))?.0)
        };
        Ok(Found {
            name: Arc::from(format!("file:{}", named.display())),
            identity: format!("{device}:{inode}:{}{LEFT}", self.head.digest.get(..16).unwrap_or_default()),
            access: Access::Sequential,
            length: None,
            bytes: 0,
            detail: serde_json::to_string(&detail).map_err(io::Error::other)?,
        })
    }
}

/// Where a file that is followed is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    /// What it began with as it was found.
    head: Option<Piece>,
    /// Whether its length is that of what is read.
    pub(crate) is_plain: bool,
    /// Whether no pattern names it.
    left: bool,
}

impl Place {
    pub(crate) fn of(found: &Found) -> Result<Self, SourceError> {
        let left = found.identity.ends_with(LEFT);
        Ok(match found.read_detail()? {
            Detail::Whole(FoundFile { path, .. }) => {
                let metadata = path.metadata();
                let metadata = metadata.map_err(|source| SourceError::Open { path: path.clone(), source })?;
                Place {
                    path,
                    device: metadata.dev(),
                    inode: metadata.ino(),
                    head: None,
                    is_plain: false,
                    left,
                }
            }
            Detail::Growing(Growing { path, device, inode, head: length, digest, .. }) => {
                let head = (length > 0).then_some(Piece { length, digest });
                Place { path, device, inode, head, is_plain: true, left }
            }
        })
    }
}

/// Where files are read on: the marks of an earlier process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    marks: Vec<Mark>,
    /// Which of them a file was found for.
    taken: Vec<bool>,
    by_file: HashMap<(u64, u64), Vec<usize>>,
    by_head: HashMap<Piece, Vec<usize>>,
}

impl Marks {
    pub(crate) fn new(marks: Vec<Mark>) -> Self {
        let mut all = Marks { taken: vec![false; marks.len()], ..Marks::default() };
        for (at, mark) in marks.iter().enumerate() {
            all.by_file.entry((mark.device, mark.inode)).or_default().push(at);
            all.by_head.entry(mark.head.clone()).or_default().push(at);
        }
        all.marks = marks;
        all
    }

    /// How far the file of `found` was read, if it was, and what tells it from others.
    pub(crate) fn take(&mut self, found: &Found) -> Result<Option<(u64, Fingerprint)>, SourceError> {
        let Place { mut path, device, inode, .. } = Place::of(found)?;
        let is_it = |path: &PathBuf| path.metadata().is_ok_and(|it| (it.dev(), it.ino()) == (device, inode));
        if !is_it(&path) {
            // Renamed since it was found.
            let renamed = siblings(&path).find(is_it);
            let Some(renamed) = renamed else { return Ok(None) };
            path = renamed;
        }
        let taken = self.take_file(&path, (device, inode));
        let taken = taken.map_err(|source| SourceError::Open { path: path.clone(), source })?;
        Ok(taken.map(|(at, read)| (self.marks[at].offset, read)))
    }

    /// Which of the marks is that of the file `key` at `path`, or of one of which it is a copy.
    pub(crate) fn take_file(
        &mut self,
        path: &Path,
        key: (u64, u64),
    ) -> io::Result<Option<(usize, Fingerprint)>> {
        let own = self.by_file.get(&key).cloned().unwrap_or_default();
        // The newest first: an inode may have had several files.
        for at in own.into_iter().rev() {
            if let Content::Same(read) = self.marks[at].compare(path)? {
                self.taken[at] = true;
                return Ok(Some((at, read)));
            }
        }
        // Of several marks with this content the one that is furthest.
        let mut best: Option<(usize, Fingerprint)> = None;
        for at in self.begins_like(path)? {
            let further =
                best.as_ref().is_none_or(|(other, _)| self.marks[at].offset > self.marks[*other].offset);
            if further && let Content::Same(read) = self.marks[at].compare(path)? {
                best = Some((at, read));
            }
        }
        Ok(best.inspect(|(at, _)| self.taken[*at] = true))
    }

    /// The marks of files that began as the one at `path` does.
    fn begins_like(&self, path: &Path) -> io::Result<Vec<usize>> {
        if self.marks.is_empty() {
            return Ok(Vec::new());
        }
        let head = super::known::head_of(path)?;
        let mut lengths: Vec<usize> = self.by_head.keys().map(|piece| piece.length).collect();
        lengths.sort_unstable();
        lengths.dedup();
        let pieces = lengths.into_iter().filter(|length| *length > 0);
        let pieces = pieces.map_while(|length| head.get(..length)).map(Piece::of);
        Ok(pieces.filter_map(|piece| self.by_head.get(&piece)).flatten().copied().collect())
    }

    /// Files that were not read to their end and that no pattern names any more: they were renamed,
    /// or copied and emptied, while nobody followed them.
    pub(crate) fn left(&mut self) -> Vec<Found> {
        self.left_by_mark().into_iter().map(|(_, found)| found).collect()
    }

    /// The same, each with the mark that it has.
    pub(crate) fn left_by_mark(&mut self) -> Vec<(usize, Found)> {
        let mut left = Vec::new();
        for at in 0..self.marks.len() {
            let mark = &self.marks[at];
            // What has its name still, and is not named by any pattern, is not meant any more.
            if self.taken[at] || mark.ended || (!mark.left && mark.has_its_name()) {
                continue;
            }
            if let Some(found) = mark.find() {
                left.push((at, found));
            } else {
                log::warn!(
                    "{:?}, of which {} bytes were read, is not there any more: what was written to it since is not read, if \
                     there was anything",
                    mark.path,
                    mark.offset
                );
                // A copy of it may still come.
                self.marks[at].ended = true;
            }
        }
        left
    }

    /// The newest of those that no file was found for, `most` of them: they tell a copy from a new
    /// file.
    pub(crate) fn rest(&self, most: usize) -> impl Iterator<Item = &Mark> {
        let rest = || self.marks.iter().zip(&self.taken).filter(|(_, taken)| !**taken).map(|(mark, _)| mark);
        rest().skip(rest().count().saturating_sub(most))
    }
}

impl Mark {
    fn is_at(&self, path: &Path) -> bool {
        path.metadata().is_ok_and(|it| (it.dev(), it.ino()) == (self.device, self.inode))
    }

    fn has_its_name(&self) -> bool {
        self.is_at(&self.path) && matches!(self.compare(&self.path), Ok(Content::Same(_)))
    }

    /// Its file, or a copy of it, beside where it was.
    fn find(&self) -> Option<Found> {
        let same = |path: &Path| matches!(self.compare(path), Ok(Content::Same(_)));
        let is_it = |path: &Path| self.is_at(path);
        let files = || siblings(&self.path).filter(|path| path.is_file());
        if let Some(renamed) = files().find(|path| is_it(path) && same(path)) {
            // Under its old name: so it is read to its end, and no longer.
            return self.found_at(&renamed, &self.path).ok();
        }
        let copy = files().find(|path| !is_it(path) && same(path))?;
        self.found_at(&copy, &copy).ok()
    }
}
