//! A directory in use: a file in it that a run holds a lock on for as long as it lives.
//!
//! The lock goes with the process, however that ends, so nothing is left over that would have to be cleaned up. The file
//! says who holds it, for the one who is refused; what a dead process has written there means nothing. Whoever takes over
//! puts a file of its own, which it has locked, in the place of the other's: the other one still has its lock, on a file
//! that has no name any more, and whoever comes later meets the new one.
//!
//! Locks are advisory. They save people from mistakes; what keeps a second writer out is fencing
//! ([`Starts`](crate::state::Starts)), with which file systems without locks have to do.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How often a lock is tried that only those have who look who holds it, each for a moment.
const LOOKS: usize = 1000;

/// A name is no longer than this.
const NAME: u64 = 300;

/// What became of an attempt to hold a directory.
#[derive(Debug)]
pub(super) enum Attempt {
    /// For as long as the file is open.
    Held(File),
    /// Somebody else does, who has said this of itself.
    Taken(String),
    /// The file system has no locks.
    NoLocks(io::Error),
}

/// Locks the file `path` for the one that is called `holder`. Where another holds it, a file from `own`, which is new, locked,
/// and has the path with which it comes, takes its place, if there is an `own`.
pub(super) fn hold(
    path: &Path,
    holder: &str,
    own: Option<impl FnOnce() -> io::Result<(PathBuf, File)>>,
) -> io::Result<Attempt> {
    loop {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match lock(&file) {
            Ok(()) => {
                // Somebody may have taken over between the two.
                let same =
                    |is: &fs::Metadata, was: &fs::Metadata| (is.dev(), is.ino()) == (was.dev(), was.ino());
                match fs::metadata(path) {
                    Ok(is) if same(&is, &file.metadata()?) => {}
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => continue,
                }
                say(&mut file, holder);
                return Ok(Attempt::Held(file));
            }
            Err(TryLockError::Error(error)) => return Ok(Attempt::NoLocks(error)),
            Err(TryLockError::WouldBlock) => {}
        }
        let Some(own) = own else { return Ok(Attempt::Taken(read(&mut file)?)) };
        let (temporary, mut file) = own()?;
        say(&mut file, holder);
        if let Err(error) = fs::rename(&temporary, path) {
            // What cannot be removed is swept by the next start.
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        return Ok(Attempt::Held(file));
    }
}

/// Who holds the file `path`, as that one has said; `None` if nobody does.
pub(super) fn holder(path: &Path) -> io::Result<Option<String>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => read(&mut file).map(Some),
        // Nobody does, or the file system has no locks.
        _ => Ok(None),
    }
}

/// Locks `file`, unless a run has.
fn lock(file: &File) -> Result<(), TryLockError> {
    for _ in 0..LOOKS {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {}
            other => return other,
        }
        // Those who look share it.
        file.try_lock_shared()?;
        file.unlock().map_err(TryLockError::Error)?;
        std::thread::yield_now();
    }
    Err(TryLockError::WouldBlock)
}

/// Writes down who holds `file`. Where that cannot be written, as on a full disk, it is held by somebody unknown.
fn say(file: &mut File, holder: &str) {
    let said = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{holder}"));
    if let Err(error) = said {
        log::debug!("cannot write down who holds the state: {error}");
    }
}

/// Who holds `file`.
fn read(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(NAME).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Own = fn() -> io::Result<(PathBuf, File)>;

    const NOBODY: Option<Own> = None;

    #[test]
    fn who_looks_keeps_nobody_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let look = || {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    holder(&path).unwrap();
                }
            };
            scope.spawn(look);
            scope.spawn(look);
            for _ in 0..500 {
                let held = hold(&path, "one", NOBODY).unwrap();
                assert!(matches!(held, Attempt::Held(_)), "{held:?}");
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    #[test]
    fn what_the_dead_have_said_means_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        fs::write(&path, "somebody whose name is long, and whose process is dead\n").unwrap();
        assert_eq!(holder(&path).unwrap(), None);
        let Attempt::Held(_file) = hold(&path, "one", NOBODY).unwrap() else { panic!("it is free") };
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\n");
        assert_eq!(holder(&path).unwrap().as_deref(), Some("one"));
    }
}
