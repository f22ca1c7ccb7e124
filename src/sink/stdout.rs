//! Standard output, without what the standard library does to it.

use std::fmt;
use std::io::{self, ErrorKind, Write};

/// Standard output, unbuffered.
///
/// Unlike [`std::io::Stdout`] it fails where there is none: that one drops what is written to a closed output, and says
/// that all was well. And an error says whether somebody read it, and has gone away ([`reader_is_gone`]): who reads the
/// beginning, as `head` does, or quits a pager, has seen enough, and nothing went wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match rustix::io::write(io::stdout(), bytes) {
            Err(rustix::io::Errno::PIPE) => Err(io::Error::new(ErrorKind::BrokenPipe, ReaderGone)),
            Err(rustix::io::Errno::BADF) => Err(io::Error::other("standard output is closed")),
            result => Ok(result?),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stdout {
    /// Fails if it is closed, before there is anything to write.
    pub(super) fn check(mut self) -> io::Result<()> {
        // Writing nothing changes nothing, but fails where nothing could be written.
        self.write(&[]).map(drop)
    }
}

/// What is inside the error of a write to [`Stdout`] that nobody will read.
#[derive(Clone, Copy, Debug)]
struct ReaderGone;

impl fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("whoever read standard output has gone away")
    }
}

impl std::error::Error for ReaderGone {}

/// Whether `error` says that whoever read standard output has gone away.
///
/// ```
/// use std::io::{Error, ErrorKind};
/// use thalweg::sink::reader_is_gone;
/// // A pipe to somewhere else that breaks is a failure.
/// assert!(!reader_is_gone(&Error::from(ErrorKind::BrokenPipe)));
/// ```
pub fn reader_is_gone(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<ReaderGone>())
}
