//! A directory.
//!
//! Bytes are written under a name of their own in `.temporary`, synced, and moved to their name, which must be free;
//! then the directory is synced. So a name is there with all of its bytes, or it is not. Whoever writes a temporary
//! file holds a lock on it: one that can be locked is left over from a process that is dead, and is removed by the
//! next start. `.lock` is what a run holds ([`hold`]).

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::hold::{self, Attempt};
use super::{Entry, Held, Log, Storage, StorageError, check};

/// Where temporary files are; no name begins with a dot.
const TEMPORARY: &str = ".temporary";

/// What a run holds that uses the directory.
const LOCK: &str = ".lock";

/// A directory of files.
///
/// ```
/// use thalweg::state::storage::{Local, Storage, StorageError};
/// let directory = std::env::temp_dir().join(format!("thalweg-{}", std::process::id()));
/// let storage = Local::open(&directory)?;
/// storage.create("a/b", b"bytes")?;
/// assert_eq!(storage.read("a/b")?.as_deref(), Some(&b"bytes"[..]));
/// assert!(matches!(storage.create("a/b", b"others"), Err(StorageError::Exists { .. })));
/// assert!(matches!(storage.create("../b", b"bytes"), Err(StorageError::Name { .. })));
/// # std::fs::remove_dir_all(directory).expect("it is there");
/// # Ok::<(), StorageError>(())
/// ```
#[derive(Debug)]
pub struct Local {
    root: PathBuf,
    uri: String,
    /// Directories whose entries above them are synced.
    durable: Mutex<HashSet<PathBuf>>,
}

impl Local {
    /// The directory `root`, which is created if it is missing. What processes that are dead have left half-written is
    /// removed.
    ///
    /// # Errors
    ///
    /// When it is no directory, or cannot be created or read.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, StorageError> {
        let uri = root.as_ref().display().to_string();
        let open = || {
            let root = std::path::absolute(root.as_ref())?;
            let mut durable = HashSet::new();
            if root.is_dir() {
                durable.insert(root.clone());
            }
            create_directory(&root, &mut durable)?;
            create_directory(&root.join(TEMPORARY), &mut durable)?;
            sweep(&root.join(TEMPORARY))?;
            Ok((root, durable))
        };
        let (root, durable) = open().map_err(|error: io::Error| StorageError::System {
            uri: uri.clone(),
            doing: "open",
            name: String::new(),
            source: error.into(),
        })?;
        Ok(Local { root, uri, durable: Mutex::new(durable) })
    }

    fn path(&self, name: &str) -> Result<PathBuf, StorageError> {
        check(&self.uri, name)?;
        Ok(self.root.join(name))
    }

    fn error(&self, doing: &'static str, name: &str, error: io::Error) -> StorageError {
        if error.kind() == ErrorKind::AlreadyExists {
            return StorageError::Exists { uri: self.uri.clone(), name: name.to_owned() };
        }
        StorageError::System { uri: self.uri.clone(), doing, name: name.to_owned(), source: error.into() }
    }

    /// Creates the directory that `path` is in, durably.
    fn make_room(&self, path: &Path) -> io::Result<PathBuf> {
        let directory = path.parent().unwrap_or(&self.root);
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        create_directory(directory, &mut durable)?;
        Ok(directory.to_owned())
    }

    /// Creates `path` with all of `bytes`.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let directory = self.make_room(path)?;
        let (temporary, mut file) = self.temporary()?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        if let Err(error) = written.and_then(|()| move_to_free(&temporary, path)) {
            // What cannot be removed is swept by the next start.
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        sync(&directory)
    }

    /// A new temporary file, locked.
    fn temporary(&self) -> io::Result<(PathBuf, File)> {
        loop {
            let mut random = [0; 16];
            getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
            let path = self.root.join(TEMPORARY).join(format!("{:032x}", u128::from_le_bytes(random)));
            let file = match OpenOptions::new().write(true).create_new(true).open(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                other => other?,
            };
            // A file system without locks has no sweeping either.
            match file.try_lock() {
                Ok(()) | Err(TryLockError::Error(_)) if file.metadata()?.nlink() > 0 => {
                    return Ok((path, file));
                }
                // Another start has swept it before it was locked.
                _ => {}
            }
        }
    }
}

/// Creates `directory` and those above it, and syncs their entries, unless they are `durable`.
fn create_directory(directory: &Path, durable: &mut HashSet<PathBuf>) -> io::Result<()> {
    if durable.contains(directory) {
        return Ok(());
    }
    let above = directory.parent().ok_or(ErrorKind::NotFound)?;
    match fs::create_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            create_directory(above, durable)?;
            match fs::create_dir(directory) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                other => other?,
            }
        }
        // By someone else, who may not have synced it yet.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && directory.is_dir() => {}
        other => other?,
    }
    sync(above)?;
    durable.insert(directory.to_owned());
    Ok(())
}

/// Makes the entries of a directory durable.
fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Moves a file to a name that must be free.
fn move_to_free(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // The file system (NFS, some of FUSE) cannot do it in one step.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => link_to_free(from, to),
        other => Ok(other?),
    }
}

/// As [`move_to_free`], in two steps: after the first, the file has both names.
fn link_to_free(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)?;
    // What cannot be removed is swept by the next start.
    let _ = fs::remove_file(from);
    Ok(())
}

/// Removes the temporary files that nobody writes.
fn sweep(temporary: &Path) -> io::Result<()> {
    for entry in fs::read_dir(temporary)? {
        let path = entry?.path();
        match File::open(&path) {
            Ok(file) if file.try_lock().is_ok() => match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            },
            // It is being written, or has been moved, or belongs to another user: none of ours.
            _ => {}
        }
    }
    Ok(())
}

/// Whether `error` says that there is nothing of that name.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory)
}

/// Adds the files below `directory`, whose names begin with `within`, if they begin with `prefix`.
fn walk(directory: &Path, within: &str, prefix: &str, entries: &mut Vec<Entry>) -> io::Result<()> {
    let read = match fs::read_dir(directory) {
        Err(error) if is_missing(&error) => return Ok(()),
        other => other?,
    };
    for entry in read {
        let entry = entry?;
        // What has another kind of name was not put here by a storage.
        let Some(name) = entry.file_name().to_str().map(|name| format!("{within}{name}")) else { continue };
        if check("", &name).is_err() || !(name.starts_with(prefix) || prefix.starts_with(&name)) {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), &format!("{name}/"), prefix, entries)?;
        } else if kind.is_file() && name.starts_with(prefix) {
            match entry.metadata() {
                // Deleted in between.
                Err(error) if is_missing(&error) => {}
                metadata => entries.push(Entry { name, bytes: metadata?.len() }),
            }
        }
    }
    Ok(())
}

impl Storage for Local {
    fn uri(&self) -> &str {
        &self.uri
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let path = self.path(name)?;
        self.write(&path, bytes).map_err(|error| self.error("create", name, error))
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        match fs::read(self.path(name)?) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(self.error("read", name, error)),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<Entry>, StorageError> {
        let mut entries = Vec::new();
        walk(&self.root, "", prefix, &mut entries).map_err(|error| self.error("list", prefix, error))?;
        entries.sort();
        Ok(entries)
    }

    fn delete(&self, name: &str) -> Result<(), StorageError> {
        let path = self.path(name)?;
        match fs::remove_file(&path) {
            Err(error) if is_missing(&error) => Ok(()),
            removed => {
                let synced = removed.and_then(|()| sync(path.parent().unwrap_or(&self.root)));
                synced.map_err(|error| self.error("delete", name, error))
            }
        }
    }

    fn create_log(&self, name: &str) -> Result<Box<dyn Log>, StorageError> {
        let path = self.path(name)?;
        let create = || {
            let directory = self.make_room(&path)?;
            let file = OpenOptions::new().append(true).create_new(true).open(&path)?;
            file.sync_all()?;
            sync(&directory)?;
            Ok(file)
        };
        let file = create().map_err(|error| self.error("create", name, error))?;
        Ok(Box::new(LocalLog { uri: self.uri.clone(), name: name.to_owned(), file, failed: false }))
    }

    fn read_log(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.read(name)
    }

    fn sync_log(&self, name: &str) -> Result<(), StorageError> {
        match File::open(self.path(name)?).and_then(|file| file.sync_data()) {
            Err(error) if is_missing(&error) => Ok(()),
            synced => synced.map_err(|error| self.error("sync", name, error)),
        }
    }

    fn hold(&self, holder: &str, take_over: bool) -> Result<Option<Held>, StorageError> {
        let own = take_over.then_some(|| self.temporary());
        let attempt = hold::hold(&self.root.join(LOCK), holder, own);
        match attempt.map_err(|error| self.error("lock", LOCK, error))? {
            Attempt::Held(file) => Ok(Some(Held::by(file))),
            Attempt::Taken(holder) => Err(StorageError::Held { uri: self.uri.clone(), holder }),
            Attempt::NoLocks(error) => {
                log::debug!("{} cannot be locked: {error}", self.uri);
                Ok(None)
            }
        }
    }

    fn holder(&self) -> Result<Option<String>, StorageError> {
        hold::holder(&self.root.join(LOCK)).map_err(|error| self.error("read", LOCK, error))
    }
}

/// The end of a file.
#[derive(Debug)]
struct LocalLog {
    uri: String,
    name: String,
    file: File,
    failed: bool,
}

impl LocalLog {
    fn run(
        &mut self,
        doing: &'static str,
        run: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<(), StorageError> {
        // Once a sync has failed, the system may have dropped what it could not write, and a second one says nothing.
        let done =
            if self.failed { Err(io::Error::other("it has failed before")) } else { run(&mut self.file) };
        done.map_err(|error| {
            self.failed = true;
            let (uri, name) = (self.uri.clone(), self.name.clone());
            StorageError::System { uri, doing, name, source: error.into() }
        })
    }
}

impl Log for LocalLog {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.run("append to", |file| file.write_all(bytes))
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.run("sync", |file| file.sync_data())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_dead_left_is_swept_and_what_is_being_written_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let storage = Local::open(directory.path()).unwrap();
        let (alive, file) = storage.temporary().unwrap();
        let dead = directory.path().join(TEMPORARY).join("dead");
        fs::write(&dead, "half").unwrap();
        Local::open(directory.path()).unwrap();
        assert!(alive.exists() && !dead.exists());
        drop(file);
        Local::open(directory.path()).unwrap();
        assert!(!alive.exists());
    }

    #[test]
    fn without_a_rename_that_refuses_a_link_does() {
        let directory = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| directory.path().join(name));
        fs::write(&from, "one").unwrap();
        link_to_free(&from, &to).unwrap();
        assert!(!from.exists());
        fs::write(&from, "two").unwrap();
        assert_eq!(link_to_free(&from, &to).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&to).unwrap(), b"one");
    }

    #[test]
    fn nothing_is_left_of_what_could_not_be_moved() {
        let directory = tempfile::tempdir().unwrap();
        let storage = Local::open(directory.path()).unwrap();
        storage.create("a", b"one").unwrap();
        let path = directory.path().join("a/b");
        assert!(storage.write(&path, b"two").is_err(), "`a` is no directory");
        assert_eq!(fs::read_dir(directory.path().join(TEMPORARY)).unwrap().count(), 0);
    }
}
