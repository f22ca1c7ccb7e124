//! Reads a file that grows, whatever becomes of it.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::known::{self, Has, kind_of};
use super::watch::{Followed, Watch};
use super::{Growing, HEAD, Spot};
use crate::source::assemble::Assembler;
use crate::source::compressed::CompressedReader;
use crate::source::file::{FileKind, FoundFile, digest};
use crate::source::{Pool, ReadOptions, Reader, SourceError, Step, Wake};

/// The last bytes before the place to which a file has been read, that tell a copy of it from others.
const LAST: usize = 256;

/// A file that is followed.
#[derive(Debug)]
pub(super) struct Tail {
    /// `None` where it was gone before it could be opened.
    file: Option<File>,
    path: PathBuf,
    name: Arc<str>,
    assembler: Assembler,
    followed: Arc<Followed>,
    spot: Arc<Mutex<Spot>>,
    /// Bytes read at a time.
    block: usize,
    /// What it begins with, as far as that is known: it may have been emptied since.
    head: Vec<u8>,
    /// It has been read to where it ends now.
    at_end: bool,
    /// It was emptied, and what is read is a copy of what it had.
    is_copy: bool,
    /// The same, where the copy is compressed.
    compressed: Option<Box<CompressedReader>>,
    /// How long it is known to have been.
    length: u64,
    max_line: usize,
    stopped: bool,
    /// Bytes that had gone before they were read.
    lost: u64,
}

/// A copy of what a file had before it was emptied.
enum Copy {
    Plain(File),
    Compressed(FoundFile),
}

impl Tail {
    pub(super) fn open(
        growing: Growing,
        name: &Arc<str>,
        from: u64,
        options: ReadOptions,
        watch: &Watch,
        wake: Wake,
        spot: Arc<Mutex<Spot>>,
    ) -> Result<Self, SourceError> {
        let Growing { path, device, inode, head, digest: expected, skip } = growing;
        // Where there is a link, it is beside the file that others are put and that notices are given of.
        let is_link = path.symlink_metadata().is_ok_and(|it| it.is_symlink());
        let path = if is_link { path.canonicalize().unwrap_or(path) } else { path };
        let error = |source| SourceError::Open { path: path.clone(), source };
        let file = find(&path, (device, inode)).map_err(error)?;
        let mut begins = Vec::new();
        if let Some(file) = &file {
            begins = head_of(file, HEAD).map_err(error)?;
        } else {
            log::warn!(
                "{name} was gone before it could be opened: what it had is not read\n  hint: let the log be put aside \
                 less often, or delete what is old later"
            );
        }
        let is_same = begins.get(..head).is_some_and(|head| digest(head) == expected);
        let followed = Arc::new(Followed::new(path.clone(), device, inode, wake));
        let mut assembler = Assembler::new(Arc::clone(name), options.max_line);
        // What was there before the run, and what an earlier run has read.
        let begin = from.max(skip);
        if begin > 0 {
            // Only where an earlier run ended does a line begin for sure.
            let inside = from < skip && !begins_line(file.as_ref(), begin);
            assembler.seek(begin, inside);
        }
        let block = usize::try_from(options.chunk_bytes).unwrap_or(usize::MAX).clamp(1, 1 << 20);
        let mut tail = Tail {
            file,
            path,
            name: Arc::clone(name),
            assembler,
            followed,
            spot,
            block,
            head: begins,
            at_end: false,
            is_copy: false,
            compressed: None,
            length: 0,
            max_line: options.max_line,
            stopped: false,
            lost: 0,
        };
        if tail.file.is_none() {
            tail.assembler.end();
        } else if !is_same {
            // Emptied between being found and being opened: it will be found anew.
            tail.head.clear();
            tail.emptied();
        }
        watch.follow(&tail.followed);
        Ok(tail)
    }

    /// Reads more, if there is more; what came of it is in the assembler.
    fn fill(&mut self, pool: &Pool) -> io::Result<()> {
        // Before it is read: what is written until then is read.
        let is_over = self.followed.is_over();
        let Some(file) = &self.file else { return Ok(()) };
        let offset = self.assembler.filled_to();
        let space = self.assembler.space(self.block, pool);
        let read = match file.read_at(space, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        };
        if read > 0 && (self.is_copy || self.is_what_it_was()?) {
            self.assembler.filled(read);
            return Ok(());
        }
        let length = file.metadata()?.len();
        if !self.is_copy && (read > 0 || length < offset || !self.is_what_it_was()?) {
            self.emptied();
            return Ok(());
        }
        self.length = self.length.max(length);
        self.note(offset)?;
        self.at_end = true;
        self.assembler.give_back();
        if self.is_copy || is_over {
            self.assembler.end();
        }
        Ok(())
    }

    /// Whether the file begins as it did.
    fn is_what_it_was(&self) -> io::Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        Ok(head_of(file, self.head.len())? == self.head)
    }

    /// Notes how far it has been read, and learns what it begins with.
    fn note(&mut self, offset: u64) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        if self.head.len() < HEAD && !self.is_copy && self.length > self.head.len() as u64 {
            let head = head_of(file, HEAD)?;
            if head.starts_with(&self.head) {
                self.head = head;
            }
        }
        let mut last = vec![0; LAST.min(usize::try_from(offset).unwrap_or(LAST))];
        let begin = offset - last.len() as u64;
        if file.read_exact_at(&mut last, begin).is_ok() {
            *self.spot.lock().unwrap_or_else(PoisonError::into_inner) = Spot { offset, last };
        }
        Ok(())
    }

    /// The file was emptied, and perhaps written anew: goes on with a copy of what it had, if there is one.
    fn emptied(&mut self) {
        let offset = self.assembler.filled_to();
        let spot = self.spot.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let copy = copy_of(&self.path, &self.head, &spot, offset);
        if let Some((path, copy)) = copy {
            log::debug!("{} was emptied: what it had is read from {}", self.name, path.display());
            match copy {
                Copy::Plain(file) => (self.file, self.is_copy) = (Some(file), true),
                Copy::Compressed(found) => {
                    // From the line that has not been given yet.
                    let from = self.assembler.offset();
                    match CompressedReader::named(found, Arc::clone(&self.name), from, self.max_line) {
                        Ok(reader) => self.compressed = Some(Box::new(reader)),
                        Err(error) => {
                            log::warn!("{error}\n  what {} had from byte {from} on is lost", self.name);
                            self.assembler.end();
                        }
                    }
                }
            }
            return;
        }
        let lost = self.length.saturating_sub(offset);
        self.lost += lost;
        if lost > 0 {
            log::warn!(
                "{} was emptied before it had been read to its end: {lost} bytes or more from byte {offset} on are lost\n  \
                 hint: let the log be renamed and not copied and emptied (`create` in place of `copytruncate`), or copied beside it",
                self.name
            );
        } else {
            log::info!("{} was emptied when it had been read up to byte {offset}", self.name);
        }
        self.assembler.end();
    }
}

impl Reader for Tail {
    fn poll(&mut self, upto: u64, pool: &Pool) -> Result<Step, SourceError> {
        loop {
            if let Some(reader) = &mut self.compressed {
                return reader.poll(upto, pool);
            }
            if let Some(chunk) = self.assembler.take(upto, pool) {
                return Ok(Step::Chunk(chunk));
            }
            if self.assembler.ended() {
                return Ok(Step::Ended);
            }
            if self.assembler.offset() >= upto {
                return Ok(Step::Reached);
            }
            if self.stopped {
                return Ok(Step::CaughtUp);
            }
            if self.at_end {
                if !self.followed.take_more() {
                    return Ok(Step::CaughtUp);
                }
                self.at_end = false;
            }
            self.fill(pool).map_err(|source| SourceError::Read {
                partition: self.name.to_string(),
                offset: self.assembler.filled_to(),
                source,
            })?;
        }
    }

    fn offset(&self) -> u64 {
        self.compressed.as_ref().map_or(self.assembler.offset(), |reader| reader.offset())
    }

    fn lost(&self) -> u64 {
        self.lost
    }

    fn latest(&self) -> Option<u64> {
        let file = self.file.as_ref().filter(|_| self.compressed.is_none())?;
        Some(file.metadata().ok()?.len())
    }

    fn stop(&mut self) {
        self.stopped = true;
    }
}

/// The file of this device and inode, which was at `path` and may have been renamed since.
fn find(path: &Path, (device, inode): (u64, u64)) -> io::Result<Option<File>> {
    let is_it = |file: &File| file.metadata().is_ok_and(|it| (it.dev(), it.ino()) == (device, inode));
    match File::open(path) {
        Ok(file) if is_it(&file) => return Ok(Some(file)),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for other in siblings(path) {
        if other.metadata().is_ok_and(|it| (it.dev(), it.ino()) == (device, inode))
            && let Some(file) = File::open(&other).ok().filter(is_it)
        {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// A file beside the one at `path` that begins with `head`, and has what had been read last, up to `offset` at least.
fn copy_of(path: &Path, head: &[u8], spot: &Spot, offset: u64) -> Option<(PathBuf, Copy)> {
    if head.is_empty() {
        return None;
    }
    let of = |path: &Path| path.metadata().ok().filter(|it| it.is_file()).map(|it| (it.dev(), it.ino()));
    let own = of(path);
    siblings(path).filter(|other| of(other).is_some_and(|it| Some(it) != own)).find_map(|other| {
        let file = File::open(&other).ok()?;
        let compressed = kind_of(&file).ok()? != FileKind::Plain;
        let long_enough = compressed || file.metadata().ok()?.len() >= offset;
        let begins = long_enough && known::head_of(&other).ok()?.starts_with(head);
        if !begins || !matches!(known::has(&other, spot), Ok(Has::It)) {
            return None;
        }
        let copy = match compressed {
            false => Copy::Plain(file),
            true => Copy::Compressed(FoundFile::examine(&other).ok()?.0),
        };
        Some((other, copy))
    })
}

/// What is in the directory of `path`.
pub(in crate::source) fn siblings(path: &Path) -> impl Iterator<Item = PathBuf> {
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::read_dir(directory).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
}

/// The first `length` bytes of `file`, or as many as there are.
fn head_of(file: &File, length: usize) -> io::Result<Vec<u8>> {
    let mut head = vec![0; length];
    let mut read = 0;
    while read < length {
        match file.read_at(&mut head[read..], read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    head.truncate(read);
    Ok(head)
}

/// Whether a line begins at `offset`.
fn begins_line(file: Option<&File>, offset: u64) -> bool {
    let mut before = [0];
    file.is_some_and(|file| file.read_exact_at(&mut before, offset - 1).is_ok() && before == [b'\n'])
}
