//! Files: plain, gzip and zstd.
//!
//! A file is examined once, when it is found: what it is, how long it is, and what it begins with. What is appended
//! later is not read; but a file that tells no length, as those in `/proc`, is read to its end. Plain files can be
//! entered anywhere, so all workers read them in interleaved chunks and event time advances evenly; compressed ones, and
//! those without a length, are read from front to back by one worker.

use std::collections::HashSet;
use std::fs::{File, FileType};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::compressed::{CompressedReader, Decoder};
use super::follow::{Before, Mark, Relation, siblings};
use super::glob::expand_all;
use super::shared::SharedReader;
use super::{Access, Found, ReadBefore, ReadOptions, Reader, Share, Source, SourceError, Wake};

/// How a file's bytes are stored, told by its first bytes and not by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum FileKind {
    /// Lines as they are.
    Plain,
    /// One or more gzip members.
    Gzip,
    /// One or more Zstandard frames.
    Zstd,
}

impl FileKind {
    /// What bytes that begin with `head` are.
    pub(super) fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, 0x08, ..] => FileKind::Gzip,
            // A frame, or a skippable frame, with which parallel compressors begin.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => FileKind::Zstd,
            _ => FileKind::Plain,
        }
    }

    /// How many bytes [`FileKind::of`] wants to see.
    pub(super) const MAGIC: usize = 4;
}

/// A file as it was found: the detail of its partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FoundFile {
    /// Where it is.
    pub(super) path: PathBuf,
    /// How its bytes are stored.
    pub(super) kind: FileKind,
    /// Bytes on disk. If the file ended in the middle of a line, that part is its last line.
    pub(super) length: u64,
    /// Whether it has bytes all the same where its length is 0: it is read to its end.
    #[serde(default)]
    pub(super) unmeasured: bool,
    /// Whether it begins with `#`, as formats do that name their columns in a line of the log: what such a line says holds for
    /// those behind it, so one worker reads them in order.
    #[serde(default)]
    in_order: bool,
    /// SHA-256 in hexadecimal of the first [`FoundFile::HEAD`] bytes, or of all that there are.
    head: String,
    /// The same of blocks behind them ([`FoundFile::samples`]), once another process is to be told of the file.
    #[serde(default)]
    samples: Option<String>,
}

impl FoundFile {
    /// How many bytes of a file's beginning tell it from others.
    const HEAD: u64 = 64 << 10;
    /// How many blocks behind its beginning tell it from others that begin alike, ...
    const SAMPLES: u64 = 16;
    /// ... and how many bytes each has.
    const SAMPLE: u64 = 4 << 10;

    /// Opens the file, examines it, and closes it again; also returns what makes it the same file.
    pub(super) fn examine(path: &Path) -> Result<(Self, String), SourceError> {
        let open = |source| SourceError::Open { path: path.to_owned(), source };
        // Partitions are named by their path, and names are text: two paths must not become one name.
        if path.to_str().is_none() {
            return Err(open(io::Error::new(io::ErrorKind::InvalidFilename, "its name is not UTF-8")));
        }
        // Before it is opened: opening a named pipe waits for a writer.
        let metadata = path.metadata().map_err(open)?;
        if !metadata.is_file() {
            let (kind, hint) = not_a_file(metadata.file_type());
            return Err(SourceError::NotAFile { path: path.to_owned(), kind, hint });
        }
        let length = metadata.len();
        let head = read_head(path, length).map_err(open)?;
        let first =
            if length > 0 { head.clone() } else { read_head(path, FileKind::MAGIC as u64).map_err(open)? };
        let (kind, unmeasured) = (FileKind::of(&first), length == 0 && !first.is_empty());
        let in_order = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&first).starts_with(b"#");
        let head = digest(&head);
        let identity = format!("{}:{}:{head}", metadata.dev(), metadata.ino());
        let path = path.to_owned();
        Ok((FoundFile { path, kind, length, unmeasured, in_order, head, samples: None }, identity))
    }

    /// Whether the file at `path` begins as it did.
    pub(super) fn begins_as(&self, path: &Path) -> io::Result<bool> {
        Ok(digest(&read_head(path, self.length)?) == self.head)
    }

    /// Whether what has this name now is what was found; it may have grown.
    fn check(&self) -> Result<(), SourceError> {
        let open = |source| SourceError::Open { path: self.path.clone(), source };
        let length = self.path.metadata().map_err(open)?.len();
        let head = read_head(&self.path, self.length).map_err(open)?;
        let same = length >= self.length && digest(&head) == self.head;
        if same && self.samples.as_ref().map_or(Ok(true), |theirs| Ok(*theirs == self.samples()?))? {
            return Ok(());
        }
        Err(SourceError::Differs { path: self.path.clone() })
    }

    /// The digest of blocks that lie evenly from its beginning to its end, both included.
    ///
    /// It tells files apart that differ in length, at their ends, or in a sixteenth of what they hold; a difference that
    /// lies between two blocks is not noticed. To notice any, both files would have to be read as a whole.
    fn samples(&self) -> Result<String, SourceError> {
        let error = |source| SourceError::Open { path: self.path.clone(), source };
        let file = File::open(&self.path).map_err(error)?;
        let mut blocks = Vec::new();
        let last = self.length.saturating_sub(Self::SAMPLE);
        for place in 0..Self::SAMPLES {
            let from = (u128::from(last) * u128::from(place) / u128::from(Self::SAMPLES - 1)) as u64;
            let mut block = vec![0; Self::SAMPLE.min(self.length) as usize];
            file.read_exact_at(&mut block, from).map_err(error)?;
            blocks.append(&mut block);
        }
        Ok(digest(&blocks))
    }

    /// It as a partition of this identity: which all workers read, or one.
    pub(super) fn found(&self, identity: String, shared: bool) -> Result<Found, SourceError> {
        let name = self.name();
        Ok(Found {
            identity,
            access: if shared { Access::Shared } else { Access::Sequential },
            length: shared.then_some(self.length),
            bytes: self.length,
            detail: Found::write_detail(&name, self)?,
            name,
        })
    }

    /// Its first lines, uncompressed: whole ones, or all that it has.
    pub(super) fn first_lines(&self) -> Result<Vec<u8>, SourceError> {
        /// How much of a file formats may look at beforehand, in bytes.
        const LINES: u64 = 16 << 10;
        let mut head = Vec::new();
        // What cannot be decompressed is told of by whoever reads it.
        if let Ok(decoder) = Decoder::new(self.open()?, self) {
            let _ = decoder.take(LINES).read_to_end(&mut head);
        }
        if head.len() as u64 == LINES
            && let Some(end) = memchr::memrchr(b'\n', &head)
        {
            head.truncate(end + 1);
        }
        Ok(head)
    }

    /// How many of its bytes are read at most.
    pub(super) fn limit(&self) -> u64 {
        if self.unmeasured { u64::MAX } else { self.length }
    }

    /// Whether it can be entered anywhere.
    fn is_open_to_all(&self) -> bool {
        self.kind == FileKind::Plain && !self.unmeasured && !self.in_order
    }

    /// Opens what was found, also if it was renamed since: neither what has been put in its place, nor what has been cut short.
    pub(super) fn open(&self) -> Result<File, SourceError> {
        let here = self.open_at(&self.path);
        match here {
            Ok(Some(file)) => return Ok(file),
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(SourceError::Open { path: self.path.clone(), source });
            }
            _ => {}
        }
        let is_file =
            |path: &PathBuf| path.metadata().is_ok_and(|it| it.is_file() && it.len() >= self.length);
        // What begins with nothing is told from nothing.
        let others = siblings(&self.path).filter(|path| self.length > 0 && is_file(path));
        match others.filter_map(|path| self.open_at(&path).ok().flatten()).next() {
            Some(file) => Ok(file),
            None => Err(match here {
                Err(source) => SourceError::Open { path: self.path.clone(), source },
                Ok(_) => SourceError::Differs { path: self.path.clone() },
            }),
        }
    }

    /// Opens the file at `path`, if it is what was found.
    fn open_at(&self, path: &Path) -> io::Result<Option<File>> {
        let file = File::open(path)?;
        let mut head = vec![0; self.length.min(Self::HEAD) as usize];
        match file.read_exact_at(&mut head, 0) {
            Ok(()) => Ok(Some(file).filter(|_| digest(&head) == self.head)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The partition's name: `file:` and the path.
    pub(super) fn name(&self) -> Arc<str> {
        format!("file:{}", self.path.display()).into()
    }

    pub(super) fn of(partition: &Found) -> Result<Self, SourceError> {
        partition.read_detail()
    }
}

/// SHA-256 in hexadecimal.
pub(super) fn digest(head: &[u8]) -> String {
    Sha256::digest(head).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The beginning of the file at `path`, of which `length` bytes count.
fn read_head(path: &Path, length: u64) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path)?.take(length.min(FoundFile::HEAD)).read_to_end(&mut head)?;
    Ok(head)
}

/// What a thing is that is no regular file, and what to do instead.
fn not_a_file(file_type: FileType) -> (&'static str, &'static str) {
    const PIPE: &str = "let it write to standard input, and read `stdin:`";
    if file_type.is_dir() {
        ("a directory", "name the files in it, as in `file:logs/*.log`")
    } else if file_type.is_fifo() {
        ("a named pipe", PIPE)
    } else if file_type.is_socket() {
        ("a socket", PIPE)
    } else {
        ("a device", PIPE)
    }
}

/// The files that a path or a glob names, one after the other.
///
/// A pattern that is the name of something that exists means just that, whatever characters are in it; any other is a
/// glob. As in a shell, `*` matches neither `/` nor a leading dot. A glob's files are in the order of their names, rotated
/// logs (`a.log.2`, `a.log.1`, `a.log`) the oldest first, and directories among them are passed over. A file is read
/// once, however many spellings or links lead to it.
///
/// All processes of a cluster read the same files, each its share of them. What process 0 has found the others look at before
/// they read it, and refuse another file of that name: one that is shorter, differs in its first 64 KiB, or in one of
/// sixteen blocks of 4 KiB that lie evenly from its beginning to its end. A file that has grown is the same. A difference
/// that lies between two blocks is not noticed; to notice any, each process would have to read the whole of each file.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use thalweg::source::{FileSource, Source};
/// let dir = tempfile::tempdir()?;
/// std::fs::write(dir.path().join("a.log"), "three\n")?;
/// std::fs::write(dir.path().join("a.log.1"), "one\ntwo\n")?;
/// let source = FileSource::new(&format!("{}/a.log*", dir.path().display()));
/// let lengths: Vec<_> = source.find()?.iter().map(|found| found.length).collect();
/// assert_eq!(lengths, [Some(8), Some(6)]);
/// # Ok(())
/// # }
/// ```
///
/// # Promise on restart
///
/// A file is found again by what it is, under whatever name, and read on from its offset, also if it was at its end and has grown
/// since. A copy of what has been read, plain or compressed, is not read again.
#[derive(Clone, Debug)]
pub struct FileSource {
    uri: String,
    patterns: Vec<String>,
    /// What an earlier run has read.
    before: Arc<Mutex<Option<Before>>>,
}

impl FileSource {
    /// The files that `pattern` names.
    pub fn new(pattern: &str) -> Self {
        FileSource::sequence(&[pattern])
    }

    /// The files that all of `patterns` name, as one sequence: in the order of their names, as if one glob had named
    /// them, whatever the order of the patterns.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use thalweg::source::{FileSource, Source};
    /// let dir = tempfile::tempdir()?;
    /// let path = |name: &str| format!("{}/{name}", dir.path().display());
    /// std::fs::write(path("a.log"), "three\n")?;
    /// std::fs::write(path("a.log.1"), "one\ntwo\n")?;
    /// let source = FileSource::sequence(&[path("a.log"), path("a.log.1")]);
    /// let lengths: Vec<_> = source.find()?.iter().map(|found| found.length).collect();
    /// assert_eq!(lengths, [Some(8), Some(6)]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn sequence<P: AsRef<str>>(patterns: &[P]) -> Self {
        let patterns: Vec<_> = patterns.iter().map(|pattern| pattern.as_ref().to_owned()).collect();
        FileSource { uri: format!("file:{}", patterns.join(" ")), patterns, before: Arc::default() }
    }
}

impl Source for FileSource {
    fn uri(&self) -> &str {
        &self.uri
    }

    fn is_bounded(&self) -> bool {
        true
    }

    fn is_sequence(&self) -> bool {
        true
    }

    fn find(&self) -> Result<Vec<Found>, SourceError> {
        let mut files = Vec::new();
        let mut seen = HashSet::new();
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner).take();
        for path in expand_all(&self.patterns)? {
            let real =
                path.canonicalize().map_err(|source| SourceError::Open { path: path.clone(), source })?;
            if !seen.insert(real) {
                log::debug!("{} is named more than once and read once", path.display());
                continue;
            }
            let (file, mut identity) = FoundFile::examine(&path)?;
            if let Some(before) = &mut before {
                let failed = |source| SourceError::Open { path: path.clone(), source };
                match path.metadata().and_then(|it| before.relation(&path, &it)).map_err(failed)? {
                    Relation::New => {}
                    Relation::Same(read) => identity = read.found.identity,
                    Relation::Copy => {
                        log::info!("{} is a copy of what has been read, and not read again", path.display());
                        continue;
                    }
                }
            }
            files.push(file.found(identity, file.is_open_to_all())?);
        }
        Ok(files)
    }

    fn go_on(&self, partitions: &[ReadBefore]) {
        *self.before.lock().unwrap_or_else(PoisonError::into_inner) = Some(Before::new(partitions));
    }

    fn memory(&self, read: &ReadBefore) -> Option<String> {
        let file = FoundFile::of(&read.found).ok()?;
        let mark = Mark::look(&file.path, Before::file(&read.found)?, read).ok()??;
        serde_json::to_string(&mark).ok()
    }

    fn check(&self, partition: &Found) -> Result<(), SourceError> {
        FoundFile::of(partition)?.check()
    }

    /// Adds what blocks of it hold, so that files are told apart that begin alike.
    fn describe(&self, partition: Found) -> Result<Found, SourceError> {
        let mut file = FoundFile::of(&partition)?;
        // A short one is told by its beginning.
        file.samples = (file.length > FoundFile::HEAD).then(|| file.samples()).transpose()?;
        let detail = Found::write_detail(&partition.name, &file)?;
        Ok(Found { detail, ..partition })
    }

    fn open(
        &self,
        partition: &Found,
        from: u64,
        share: Share,
        options: ReadOptions,
        _wake: Wake,
    ) -> Result<Box<dyn Reader>, SourceError> {
        let found = FoundFile::of(partition)?;
        if !found.is_open_to_all() {
            return Ok(Box::new(CompressedReader::new(found, from, options.max_line)?));
        }
        let file = found.open()?;
        Ok(Box::new(SharedReader::new(file, found.name(), found.length, from, share, options)))
    }

    fn head(&self, partition: &Found) -> Result<Vec<u8>, SourceError> {
        FoundFile::of(partition)?.first_lines()
    }

    fn files(&self) -> Vec<PathBuf> {
        expand_all(&self.patterns).unwrap_or_default()
    }
}
