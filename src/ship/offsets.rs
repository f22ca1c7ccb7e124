//! The file of offsets: how far each file has been delivered.
//!
//! ```text
//! thalweg-offsets 1
//! {"receiver":"tcp://127.0.0.1:9999"}
//! {"path":"/var/log/app.log","device":2049,"inode":131,"offset":5120,…}     a line for each file
//! sha256 7d865e959b2466918c9863afca942d0fb89d7c9ac0c99bafc3749504ded97730
//! ```
//!
//! It is written beside and renamed, so that there is always a whole one. A lock beside it holds
//! off another process.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::source::Mark;

const MAGIC: &str = "thalweg-offsets ";
const VERSION: &str = "1";
/// A file of offsets is no larger.
const LARGEST: u64 = 256 << 20;

/// Why offsets cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum OffsetsError {
    #[error("cannot {what} {path}: {source}")]
    System { what: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "another process uses {path} at present\n  hint: two that ship the same files need offsets of their own: `--offsets FILE`"
    )]
    InUse { path: PathBuf },
    #[error(
        "{path} does not hold offsets: {reason}\n  hint: pass another `--offsets FILE`; if it was one, remove it to begin anew, \
         which sends again what is there"
    )]
    Foreign { path: PathBuf, reason: &'static str },
    #[error(
        "{path} is of version {version}, and this program knows version {VERSION}\n  hint: use the program that wrote it"
    )]
    Version { path: PathBuf, version: String },
    #[error(
        "{path} is damaged: {reason}\n  hint: restore it, or remove it to begin anew, which sends again what is there"
    )]
    Damaged { path: PathBuf, reason: String },
    #[error(
        "{path} has the offsets of what was sent to {known}, and not to {wanted}\n  hint: pass another `--offsets FILE`; if it is the \
         same receiver under another name, pass `--renamed`"
    )]
    Receiver { path: PathBuf, known: String, wanted: String },
}

#[derive(Serialize, Deserialize)]
struct Head {
    receiver: String,
}

/// A file of offsets that is ours for as long as this lives.
#[derive(Debug)]
pub(super) struct Offsets {
    path: PathBuf,
    receiver: String,
    /// What was written last.
    written: Vec<u8>,
    _lock: File,
}

impl Offsets {
    /// Opens the file at `path`, and returns what it holds; `None` where there is none yet. The
    /// receiver has to be the one that it was written for, unless that was `renamed`.
    pub(super) fn open(
        path: &Path,
        receiver: &str,
        renamed: bool,
    ) -> Result<(Self, Option<Vec<Mark>>), OffsetsError> {
        let beside = beside(path, "lock");
        let system = |what, source| OffsetsError::System { what, path: beside.clone(), source };
        let options = OpenOptions::new().create(true).truncate(false).write(true).open(&beside);
        let lock = options.map_err(|error| system("open", error))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => OffsetsError::InUse { path: path.to_owned() },
            TryLockError::Error(error) => system("lock", error),
        })?;
        let marks = read(path, receiver, renamed)?;
        let (path, receiver) = (path.to_owned(), receiver.to_owned());
        Ok((Offsets { path, receiver, written: Vec::new(), _lock: lock }, marks))
    }

    /// Writes `marks`, and returns once they are on disk.
    pub(super) fn save<'a>(&mut self, marks: impl Iterator<Item = &'a Mark>) -> Result<(), OffsetsError> {
        let error = |what, source: io::Error| OffsetsError::System { what, path: self.path.clone(), source };
        let text = encode(&self.receiver, marks).map_err(|source| error("write", source))?;
        if text == self.written {
            return Ok(());
        }
        let beside = beside(&self.path, "new");
        let written = File::create(&beside).and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()
        });
        written.map_err(|source| error("write", source))?;
        std::fs::rename(&beside, &self.path).map_err(|source| error("replace", source))?;
        // The name is durable once its directory is.
        let directory = self.path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(|source| error("replace", source))?;
        self.written = text;
        Ok(())
    }
}

/// The file beside `path` with this ending more.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

fn encode<'a>(receiver: &str, marks: impl Iterator<Item = &'a Mark>) -> io::Result<Vec<u8>> {
    let mut text = format!("{MAGIC}{VERSION}\n").into_bytes();
    serde_json::to_writer(&mut text, &Head { receiver: receiver.to_owned() })?;
    text.push(b'\n');
    for mark in marks {
        serde_json::to_writer(&mut text, mark)?;
        text.push(b'\n');
    }
    let sum = sum(&text);
    writeln!(text, "sha256 {sum}")?;
    Ok(text)
}

fn sum(text: &[u8]) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(path: &Path, receiver: &str, renamed: bool) -> Result<Option<Vec<Mark>>, OffsetsError> {
    let error = |source| OffsetsError::System { what: "read", path: path.to_owned(), source };
    let foreign = |reason| OffsetsError::Foreign { path: path.to_owned(), reason };
    let damaged = |reason: &str| OffsetsError::Damaged { path: path.to_owned(), reason: reason.to_owned() };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(error)?,
    };
    if !file.metadata().map_err(error)?.is_file() {
        return Err(foreign("it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(error)?;
    if bytes.len() as u64 > LARGEST {
        return Err(foreign("it is far too large"));
    }
    if bytes.is_empty() {
        return Err(foreign("it is empty"));
    }
    if !bytes.starts_with(MAGIC.as_bytes()) {
        return Err(foreign("it begins with something else"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| damaged("it is not text"))?;
    let (first, rest) = text.split_once('\n').ok_or_else(|| damaged("it breaks off"))?;
    match &first[MAGIC.len()..] {
        VERSION => {}
        version if !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()) => {
            return Err(OffsetsError::Version { path: path.to_owned(), version: version.to_owned() });
        }
        _ => return Err(damaged("its version cannot be read")),
    }
    let body = text.strip_suffix('\n').and_then(|text| text.rfind("\nsha256 "));
    let body = body.ok_or_else(|| damaged("it breaks off"))? + 1;
    if text[body..].trim_end() != format!("sha256 {}", sum(&bytes[..body])) {
        return Err(damaged("its checksum is another"));
    }
    let mut lines = rest[..body - first.len() - 1].lines();
    let parse = |error: serde_json::Error| damaged(&error.to_string());
    let head: Head = serde_json::from_str(lines.next().unwrap_or_default()).map_err(parse)?;
    if head.receiver != receiver && !renamed {
        return Err(OffsetsError::Receiver {
            path: path.to_owned(),
            known: head.receiver,
            wanted: receiver.to_owned(),
        });
    }
    lines.map(|line| serde_json::from_str(line).map_err(parse)).collect::<Result<_, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_read_and_nothing_else_is_taken_for_it() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("offsets");
        let (mut offsets, none) = Offsets::open(&path, "tcp://a:1", false).expect("there is none yet");
        assert_eq!(none, None);
        let mark = r#"{"path":"/a","device":1,"inode":2,"offset":3,"head":{"length":3,"digest":"x"},
            "last":{"length":3,"digest":"y"},"ended":false,"left":false}"#;
        let marks: Vec<Mark> = vec![serde_json::from_str(mark).expect("a mark")];
        offsets.save(marks.iter()).expect("it can be written");
        assert!(matches!(Offsets::open(&path, "tcp://a:1", false), Err(OffsetsError::InUse { .. })));
        drop(offsets);
        let open = |receiver, renamed| Offsets::open(&path, receiver, renamed).map(|(_, marks)| marks);
        assert_eq!(open("tcp://a:1", false).expect("it is there"), Some(marks.clone()));
        assert_eq!(open("tcp://b:1", true).expect("it is there"), Some(marks));
        assert!(matches!(open("tcp://b:1", false), Err(OffsetsError::Receiver { .. })));

        let good = std::fs::read(&path).expect("it is there");
        // Whatever byte is damaged, and wherever it breaks off.
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).expect("it is writable");
            assert!(open("tcp://a:1", false).is_err(), "byte {at} is another");
            std::fs::write(&path, &good[..at]).expect("it is writable");
            assert!(open("tcp://a:1", false).is_err(), "{at} bytes are left");
        }
    }
}
