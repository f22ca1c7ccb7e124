//! The directory of a sink: files that come into being whole, under names that nobody else has.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};

use super::FilesError;

/// What a file is called until it is whole.
const UNFINISHED: &str = ".tmp";

/// A directory. Names are relative to it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    root: PathBuf,
    /// What tells the unfinished files of this run from those of another that writes here at the same time.
    tag: String,
}

impl Place {
    pub fn new(root: &Path) -> Result<Self, FilesError> {
        let place = Place { root: root.to_owned(), tag: String::new() };
        let mut drawn = [0; 8];
        let refused = |error: getrandom::Error| io::Error::other(error.to_string());
        getrandom::fill(&mut drawn).map_err(refused).map_err(place.failed("draw a name in", ""))?;
        Ok(Place { tag: format!("{:016x}", u64::from_le_bytes(drawn)), ..place })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub fn failed(&self, doing: &'static str, name: &str) -> impl FnOnce(io::Error) -> FilesError + use<> {
        let path = self.path(name);
        move |source| FilesError::System { doing, path, source }
    }

    /// Makes the directory `name`, and those above it; all are durable.
    pub fn make_dir(&self, name: &str) -> Result<(), FilesError> {
        let path = self.path(name);
        if path.is_dir() {
            return Ok(());
        }
        let missing: Vec<_> =
            path.ancestors().take_while(|it| !it.as_os_str().is_empty() && !it.exists()).collect();
        let made = std::fs::create_dir_all(&path);
        made.and_then(|()| missing.iter().try_for_each(|it| sync_dir(above(it))))
            .map_err(self.failed("create", name))
    }

    /// Makes the directory `name` durable: which files it has.
    pub fn sync_dir(&self, name: &str) -> Result<(), FilesError> {
        sync_dir(&self.path(name)).map_err(self.failed("sync", name))
    }

    /// A file that is to become `name`.
    pub fn begin(&self, name: &str) -> Result<BufWriter<File>, FilesError> {
        let file = File::create(self.unfinished(name)).map_err(self.failed("create", name))?;
        Ok(BufWriter::with_capacity(1 << 16, file))
    }

    fn unfinished(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.{}{UNFINISHED}", self.tag))
    }

    /// Gives `file`, which was begun for it, the name `name`, unless that is taken. It is durable once its directory is.
    /// Returns its length.
    pub fn end(&self, file: BufWriter<File>, name: &str) -> Result<u64, FilesError> {
        let ended = self.finish(file, name);
        if ended.is_err() {
            // What it has is of no use; that it cannot be removed is not the reason.
            let _ = std::fs::remove_file(self.unfinished(name));
        }
        ended
    }

    fn finish(&self, file: BufWriter<File>, name: &str) -> Result<u64, FilesError> {
        let file = file.into_inner().map_err(|error| self.failed("write", name)(error.into_error()))?;
        let bytes = file.sync_all().and_then(|()| file.metadata()).map_err(self.failed("write", name))?.len();
        match rename(&self.unfinished(name), &self.path(name)) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(FilesError::Taken { path: self.path(name) })
            }
            Err(error) => Err(self.failed("create", name)(error)),
        }
    }

    /// Creates `name` with `bytes`, durably and whole, unless the name is taken.
    pub fn create(&self, directory: &str, name: &str, bytes: &[u8]) -> Result<(), FilesError> {
        let mut file = self.begin(name)?;
        file.write_all(bytes).map_err(self.failed("write", name))?;
        self.end(file, name)?;
        self.sync_dir(directory)
    }

    /// A file to append to, which is new, and durable itself.
    pub fn create_log(&self, directory: &str, name: &str) -> Result<File, FilesError> {
        let file = OpenOptions::new().write(true).create_new(true).open(self.path(name));
        let file = file.map_err(self.failed("create", name))?;
        self.sync_dir(directory)?;
        Ok(file)
    }

    /// Removes `name`; one that is not there is gone already.
    pub fn remove(&self, name: &str) -> Result<(), FilesError> {
        match std::fs::remove_file(self.path(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other.map_err(self.failed("remove", name)),
        }
    }

    /// The names of what is in the directory `name`, in order. One that is not there is empty, and names that are not text
    /// are none of ours.
    pub fn list(&self, name: &str) -> Result<Vec<String>, FilesError> {
        let entries = match std::fs::read_dir(self.path(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(self.failed("list", name))?,
        };
        let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
        let names = names.collect::<io::Result<Vec<_>>>().map_err(self.failed("list", name))?;
        let mut names: Vec<String> = names.into_iter().flatten().collect();
        names.sort();
        Ok(names)
    }
}

/// Whether a file of this name was never finished.
pub(super) fn is_unfinished(name: &str) -> bool {
    name.ends_with(UNFINISHED)
}

fn above(path: &Path) -> &Path {
    path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Renames without replacing what is there.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems know no such renaming, but links.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            std::fs::hard_link(from, to)?;
            std::fs::remove_file(from)
        }
        other => Ok(other?),
    }
}
