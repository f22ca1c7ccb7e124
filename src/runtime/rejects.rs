//! The file that rejected lines go to: one for each process, since each writes what it has read.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use crate::door::Rejects;
use crate::runtime::RunError;

/// The file, opened and ours; what is in it is still what was.
pub(super) struct RejectsFile {
    path: PathBuf,
    file: File,
}

impl RejectsFile {
    /// Takes the file at `path`, and creates it if there is none.
    ///
    /// # Errors
    ///
    /// When it cannot be written, or another process has taken it: two processes of a cluster on one machine are not to
    /// overwrite each other's lines.
    pub(super) fn take(path: &Path) -> Result<Self, RunError> {
        let failed = |source| RunError::CreateRejects { path: path.to_owned(), source };
        let file = File::options().write(true).create(true).truncate(false).open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let output = format!("`--rejects {}`", path.display());
                let what = "what another process writes, and each has a file of its own".to_owned();
                return Err(RunError::Overwrite { output, what });
            }
            // What is no ordinary file may have no locks.
            Err(TryLockError::Error(error)) => log::debug!("{} cannot be locked: {error}", path.display()),
        }
        Ok(RejectsFile { path: path.to_owned(), file })
    }

    /// Empties it, to be written from its beginning.
    pub(super) fn empty(self) -> Result<Rejects, RunError> {
        let RejectsFile { path, file } = self;
        let emptied = file.metadata().and_then(|meta| if meta.is_file() { file.set_len(0) } else { Ok(()) });
        match emptied {
            Ok(()) => Ok(Rejects::new(&path.display().to_string(), file)),
            Err(source) => Err(RunError::CreateRejects { path, source }),
        }
    }
}
