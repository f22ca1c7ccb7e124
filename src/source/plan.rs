//! The cut of files into epochs and chunks, made before the first line is read.
//!
//! A [`Plan`] is a function of the files' names, kinds and lengths, and of [`PlanOptions`]. It knows no workers: which
//! line is in which epoch is the same for any number of them, and so is every result.
//!
//! ```text
//! plain files, one after the other       │ a.log ····│ b.log ······················│ c.log ·│
//! chunks, which never span files         │ 0 │ 1 │ 2 │ 3 │ 4 │ 5 │ 6 │ 7 │ 8 │ 9 │10│ 11 │12│
//! epochs, so many chunks each            │       0       │       1       │        2       │ 3│
//! worker of 2 that reads the chunk         0   1   0   1   0   1   0   1   0   1   0    1   0
//! ```
//!
//! Plain files are the *shared lane*: workers read interleaved chunks of it, so that all of them stay near the same
//! place and event time advances evenly. A line belongs to the chunk in which it starts.
//!
//! Compressed files cannot be entered in the middle. They are dealt onto *sequential lanes*, whose number depends on
//! nothing but the number of such files. A lane is read by one worker, its files one after the other, and gives
//! each epoch the lines that start in the next so many of its decompressed bytes.

use std::collections::HashSet;
use std::fs::{File, FileType};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::source::decode::LaneReader;
use crate::source::file::SharedReader;
use crate::source::{Reader, SourceError};

/// Compressed files are dealt onto at most so many lanes: more would each have too little of an epoch.
const MAX_LANES: usize = 16;

/// How files are cut.
///
/// ```
/// let options = thalweg::source::PlanOptions::default();
/// assert_eq!((options.chunk_bytes, options.epoch_bytes, options.max_line), (512 << 10, 256 << 20, 1 << 20));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanOptions {
    /// Bytes that a worker reads at a time, and the grain of epochs; zero counts as one.
    pub chunk_bytes: u64,
    /// Bytes that an epoch holds of the shared lane, and again of all sequential lanes together; in whole chunks,
    /// at least one.
    pub epoch_bytes: u64,
    /// The longest line that is read, in bytes without its line end; longer ones are only reported.
    pub max_line: usize,
}

impl Default for PlanOptions {
    fn default() -> Self {
        // Measured: the larger the chunk the faster, until it no longer fits in a core's second-level cache (1 MiB)
        // with what the parser keeps there; from 512 KiB on a larger one gains less than 2 %.
        PlanOptions { chunk_bytes: 512 << 10, epoch_bytes: 256 << 20, max_line: 1 << 20 }
    }
}

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

/// A file as the plan found it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFile {
    /// Where it is.
    pub path: PathBuf,
    /// How its bytes are stored.
    pub kind: FileKind,
    /// Bytes on disk when the plan was made. What is appended later is not read; if the file ended in the middle
    /// of a line then, that part is its last line.
    pub length: u64,
    /// SHA-256 of the first [`PlannedFile::HEAD`] bytes, or of all that there are: whoever goes by the plan can tell
    /// whether it has the same file.
    pub head: [u8; 32],
}

impl PlannedFile {
    /// How many bytes of a file's beginning tell it from others.
    pub const HEAD: u64 = 64 << 10;

    /// The partition's name: `file:` and the path.
    pub fn partition(&self) -> Arc<str> {
        format!("file:{}", self.path.display()).into()
    }

    /// Opens the file, examines it, and closes it again.
    fn examine(path: &Path) -> Result<Self, SourceError> {
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
        let kind = match head[..] {
            [0x1f, 0x8b, 0x08, ..] => FileKind::Gzip,
            // A frame, or a skippable frame, with which parallel compressors begin.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => FileKind::Zstd,
            _ => FileKind::Plain,
        };
        Ok(PlannedFile { path: path.to_owned(), kind, length, head: Sha256::digest(&head).into() })
    }

    /// Whether what has this name now is what was planned; it may have grown.
    fn check(&self) -> Result<(), SourceError> {
        let open = |source| SourceError::Open { path: self.path.clone(), source };
        let length = self.path.metadata().map_err(open)?.len();
        let head = read_head(&self.path, self.length).map_err(open)?;
        if length < self.length || <[u8; 32]>::from(Sha256::digest(&head)) != self.head {
            return Err(SourceError::Differs { path: self.path.clone() });
        }
        Ok(())
    }
}

/// The beginning of the file at `path`, of which `length` bytes count.
fn read_head(path: &Path, length: u64) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path)?.take(length.min(PlannedFile::HEAD)).read_to_end(&mut head)?;
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

/// The cut of files into epochs.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use thalweg::source::{Plan, PlanOptions, Pool, Step};
///
/// let dir = std::env::temp_dir().join(format!("thalweg-plan-{}", std::process::id()));
/// std::fs::create_dir_all(&dir)?;
/// std::fs::write(dir.join("a.log"), "one\ntwo\n")?;
/// std::fs::write(dir.join("b.log"), "three\nfour")?;
///
/// let plan = Plan::new(&[format!("{}/*.log", dir.display())], PlanOptions::default())?;
/// assert_eq!(plan.total_bytes(), 18);
///
/// let mut lines = Vec::new();
/// let pool = Pool::default();
/// for mut reader in plan.readers(0, 1) {
///     loop {
///         match reader.poll(&pool)? {
///             Step::Chunk(chunk) => lines.extend(chunk.lines().map(|(_, line)| line.to_vec())),
///             Step::EndEpoch | Step::Idle => {}
///             Step::Done => break,
///         }
///     }
/// }
/// assert_eq!(lines, [b"one".to_vec(), b"two".to_vec(), b"three".to_vec(), b"four".to_vec()]);
/// # std::fs::remove_dir_all(dir)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    options: PlanOptions,
    files: Vec<PlannedFile>,
    arrived: i64,
}

impl Plan {
    /// Examines the files that `patterns` name.
    ///
    /// A pattern that is the name of something that exists means just that, whatever characters are in it; any
    /// other is a glob. As in a shell, `*` matches neither `/` nor a leading dot. A glob's files are in the order of
    /// their names, rotated logs (`a.log.2`, `a.log.1`, `a.log`) the oldest first, and directories among them are passed over;
    /// patterns keep their order. A file is read once,
    /// however many patterns, spellings or links lead to it.
    ///
    /// # Errors
    ///
    /// When a pattern matches nothing, and when a file cannot be opened or is no regular file.
    pub fn new(patterns: &[String], options: PlanOptions) -> Result<Self, SourceError> {
        let mut files = Vec::new();
        let mut seen = HashSet::new();
        for pattern in patterns {
            for path in expand(pattern)? {
                let real =
                    path.canonicalize().map_err(|source| SourceError::Open { path: path.clone(), source })?;
                if seen.insert(real) {
                    files.push(PlannedFile::examine(&path)?);
                } else {
                    log::debug!("{} is named more than once and read once", path.display());
                }
            }
        }
        Ok(Plan { options, files, arrived: 0 })
    }

    /// The same plan, of files that arrived at `millis` UTC since 1970: whoever makes a plan has no clock.
    #[must_use]
    pub fn arrived(self, millis: i64) -> Self {
        Plan { arrived: millis, ..self }
    }

    /// When all of its lines arrived, in milliseconds UTC since 1970.
    pub fn arrival(&self) -> i64 {
        self.arrived
    }

    /// Looks whether the files are those that the plan was made of; for whoever was handed a plan.
    ///
    /// # Errors
    ///
    /// When one cannot be opened, or is another: shorter than planned, or with another beginning.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use thalweg::source::{Plan, PlanOptions, SourceError};
    /// let dir = tempfile::tempdir()?;
    /// let log = dir.path().join("a.log");
    /// std::fs::write(&log, "one\n")?;
    /// let plan = Plan::new(&[log.display().to_string()], PlanOptions::default())?;
    /// std::fs::write(&log, "one\ntwo\n")?;
    /// assert!(plan.check().is_ok());
    /// std::fs::write(&log, "ONE\ntwo\n")?;
    /// assert!(matches!(plan.check(), Err(SourceError::Differs { .. })));
    /// # Ok(())
    /// # }
    /// ```
    pub fn check(&self) -> Result<(), SourceError> {
        self.files.iter().try_for_each(PlannedFile::check)
    }

    /// The files, in the order in which they are read.
    pub fn files(&self) -> &[PlannedFile] {
        &self.files
    }

    /// Bytes on disk: what [`Chunk::consumed`](super::Chunk::consumed) of all workers adds up to.
    pub fn total_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.length).fold(0, u64::saturating_add)
    }

    /// Where the shared lane's part of `epoch` ends: an index of [`files`](Self::files), and an offset there. Lines
    /// that start before it are in `epoch` or an earlier one. `None` if the lane ends before that epoch begins.
    pub fn shared_end(&self, epoch: u64) -> Option<(usize, u64)> {
        self.shared_lane().end(epoch)
    }

    /// What `worker` of `peers` reads: at most one reader for the shared lane and one for each of its sequential
    /// lanes; none where it has no share.
    ///
    /// # Panics
    ///
    /// Unless `worker` is less than `peers`.
    pub fn readers(&self, worker: usize, peers: usize) -> Vec<Box<dyn Reader>> {
        assert!(worker < peers, "worker {worker} of {peers}");
        let mut readers: Vec<Box<dyn Reader>> = Vec::new();
        let lane = self.shared_lane();
        if (worker as u64) < lane.chunks {
            let (worker, peers) = (worker as u64, peers as u64);
            readers.push(Box::new(SharedReader::new(
                self.files.clone(),
                lane,
                self.options.max_line,
                worker,
                peers,
            )));
        }
        let compressed: Vec<_> = self.files.iter().filter(|file| file.kind != FileKind::Plain).collect();
        let lanes = compressed.len().min(MAX_LANES);
        let chunk_bytes = self.options.chunk_bytes.max(1);
        let quota = (self.options.epoch_bytes / lanes.max(1) as u64 / chunk_bytes).max(1) * chunk_bytes;
        for lane in (worker..lanes).step_by(peers) {
            let files = compressed.iter().skip(lane).step_by(lanes).map(|&file| file.clone()).collect();
            readers.push(Box::new(LaneReader::new(files, quota, self.options.max_line)));
        }
        readers
    }

    fn shared_lane(&self) -> SharedLane {
        let chunk_bytes = self.options.chunk_bytes.max(1);
        let mut lane = SharedLane {
            files: Vec::new(),
            chunks: 0,
            chunk_bytes,
            chunks_per_epoch: (self.options.epoch_bytes / chunk_bytes).max(1),
        };
        for (index, file) in self.files.iter().enumerate() {
            if file.kind == FileKind::Plain && file.length > 0 {
                lane.files.push(LaneFile { index, length: file.length, first_chunk: lane.chunks });
                lane.chunks += file.length.div_ceil(chunk_bytes);
            }
        }
        lane
    }
}

/// The chunks of all plain files, numbered through.
#[derive(Clone, Debug)]
pub(super) struct SharedLane {
    /// Those that have chunks.
    files: Vec<LaneFile>,
    chunks: u64,
    chunk_bytes: u64,
    chunks_per_epoch: u64,
}

#[derive(Clone, Debug)]
struct LaneFile {
    /// Among all files of the plan.
    index: usize,
    length: u64,
    first_chunk: u64,
}

/// A chunk: `lo..hi` of a file, not empty.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChunkRange {
    pub(super) epoch: u64,
    /// Index among the plan's files.
    pub(super) file: usize,
    pub(super) lo: u64,
    pub(super) hi: u64,
}

impl SharedLane {
    /// How many epochs the lane is cut into.
    pub(super) fn epochs(&self) -> u64 {
        self.chunks.div_ceil(self.chunks_per_epoch)
    }

    /// Where chunk number `chunk` is, if there are so many.
    pub(super) fn chunk(&self, chunk: u64) -> Option<ChunkRange> {
        if chunk >= self.chunks {
            return None;
        }
        let file = self.files.partition_point(|file| file.first_chunk <= chunk).checked_sub(1)?;
        let LaneFile { index, length, first_chunk } = self.files[file];
        let lo = (chunk - first_chunk) * self.chunk_bytes;
        let hi = lo.saturating_add(self.chunk_bytes).min(length);
        Some(ChunkRange { epoch: chunk / self.chunks_per_epoch, file: index, lo, hi })
    }

    /// Where `epoch` ends, if it begins.
    pub(super) fn end(&self, epoch: u64) -> Option<(usize, u64)> {
        let begin = epoch.checked_mul(self.chunks_per_epoch).filter(|&begin| begin < self.chunks)?;
        let last = begin.saturating_add(self.chunks_per_epoch).min(self.chunks) - 1;
        self.chunk(last).map(|chunk| (chunk.file, chunk.hi))
    }
}

/// The paths that `pattern` names; at least one.
fn expand(pattern: &str) -> Result<Vec<PathBuf>, SourceError> {
    let literal = Path::new(pattern);
    match literal.symlink_metadata() {
        Ok(_) => return Ok(vec![literal.to_owned()]),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // It may exist; looking for it as a glob would only hide the reason.
        Err(source) => return Err(SourceError::Open { path: literal.to_owned(), source }),
    }
    let rules = glob::MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        // The crate panics if this is set and a name is not UTF-8; `is_meant` sees to hidden files.
        require_literal_leading_dot: false,
    };
    let matches = glob::glob_with(pattern, rules)
        .map_err(|error| SourceError::BadGlob { pattern: pattern.to_owned(), reason: error.to_string() })?;
    let mut paths = Vec::new();
    for path in matches {
        let path = match path {
            Ok(path) => path,
            // A hidden directory that nobody asked for.
            Err(error) if !is_meant(literal, error.path()) => continue,
            Err(error) => {
                return Err(SourceError::Open { path: error.path().to_owned(), source: error.into() });
            }
        };
        if path.is_dir() {
            log::debug!("{} matches `{pattern}`, but is a directory", path.display());
        } else if is_meant(literal, &path) {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        let cwd = std::env::current_dir().unwrap_or_default();
        return Err(SourceError::NotFound { pattern: pattern.to_owned(), cwd });
    }
    paths.sort_by_cached_key(|path| rotation(path));
    Ok(paths)
}

/// The order in which a glob's files are read: by name, but of a log and its rotated predecessors (`access.log`,
/// `access.log.1`, `access.log.2.gz`) the oldest first, so that event time goes forward.
fn rotation(path: &Path) -> (PathBuf, std::cmp::Reverse<u64>) {
    let mut base = path.to_owned();
    if base.extension().is_some_and(|ending| ["gz", "zst"].iter().any(|known| ending == *known)) {
        base.set_extension("");
    }
    // Larger numbers are dates, which are in order as they are.
    let number =
        base.extension().and_then(|ending| ending.to_str()?.parse::<u64>().ok()).filter(|n| *n < 10_000);
    match number {
        Some(number) => (base.with_extension(""), std::cmp::Reverse(number)),
        None => (base, std::cmp::Reverse(0)),
    }
}

/// Whether every part of `path` with a leading dot is matched by a part of `pattern` that has one, too.
fn is_meant(pattern: &Path, path: &Path) -> bool {
    let hidden = |part: &Component<'_>| part.as_os_str().as_bytes().starts_with(b".");
    let matches = |meant: Component<'_>, part: Component<'_>| {
        let glob = meant.as_os_str().to_str().and_then(|meant| glob::Pattern::new(meant).ok());
        meant == part || glob.is_some_and(|glob| glob.matches_path(part.as_ref()))
    };
    path.components()
        .filter(hidden)
        .all(|part| pattern.components().filter(hidden).any(|meant| matches(meant, part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_rotated_logs_the_oldest_is_read_first() {
        let names = [
            "b.log",
            "a.log",
            "a.log.1",
            "a.log.10.gz",
            "a.log.2.zst",
            "a-20260101.log",
            "c.20260102",
            "c.20260101",
        ];
        let mut paths: Vec<_> = names.iter().map(PathBuf::from).collect();
        paths.sort_by_cached_key(|path| rotation(path));
        let names: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
        let expected = [
            "a-20260101.log",
            "a.log.10.gz",
            "a.log.2.zst",
            "a.log.1",
            "a.log",
            "b.log",
            "c.20260101",
            "c.20260102",
        ];
        assert_eq!(names, expected);
    }
}
