//! Lines that can never be delivered.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// So many of them are shown.
const SHOWN: u64 = 5;
/// Bytes of each that are shown.
const SAMPLE: usize = 120;

/// Counts them, shows the first, and puts them into a file if there is one.
#[derive(Debug)]
pub(super) struct Rejects {
    file: Option<(PathBuf, File)>,
    pub(super) count: u64,
}

impl Rejects {
    /// They are appended to the file at `path`.
    pub(super) fn new(path: Option<&Path>) -> io::Result<Self> {
        let open = |path: &Path| OpenOptions::new().create(true).append(true).open(path);
        let file = path.map(|path| open(path).map(|file| (path.to_owned(), file))).transpose()?;
        Ok(Rejects { file, count: 0 })
    }

    /// This one, which came from `name`; of one that is too long to be read, `line` is its
    /// beginning.
    pub(super) fn add(&mut self, name: &str, line: &[u8], reason: &str) -> io::Result<()> {
        self.count += 1;
        if self.count <= SHOWN {
            let sample = String::from_utf8_lossy(&line[..line.len().min(SAMPLE)]);
            let more = if self.count == SHOWN { " (no more of them are shown)" } else { "" };
            log::warn!("{name}: a line of {} bytes is not sent: {reason}: {sample:?}{more}", line.len());
        }
        let Some((_, file)) = &mut self.file else { return Ok(()) };
        let mut text = line.to_vec();
        text.push(b'\n');
        file.write_all(&text)
    }

    /// What was added is on disk.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), |(_, file)| file.sync_all())
    }

    pub(super) fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|(path, _)| path.as_path())
    }
}
