//! Lines that no door counts as records, for whoever wants to see all of them and not a sample.

use std::io::{self, BufWriter, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// Takes every line that is malformed, too long, or dated too far ahead of its arrival: as it was read, with an LF.
///
/// Clones write to the same place, so that all workers of a process have one. Lines are whole, and those of several workers
/// come in no particular order. Of a line that is too long, the beginning is written
/// ([`Oversize::kept`](crate::source::Oversize::kept)).
#[derive(Clone)]
pub struct Rejects {
    name: Arc<str>,
    out: Arc<Mutex<Out>>,
}

struct Out {
    write: BufWriter<Box<dyn Write + Send>>,
    /// What went wrong since somebody asked.
    failed: Option<io::Error>,
}

/// Rejected lines could not be written, or not wholly.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the rejected lines to {name}: {source}")]
#[non_exhaustive]
pub struct RejectsError {
    /// Where they were to go.
    pub name: Arc<str>,
    /// The system's reason.
    pub source: io::Error,
}

impl Rejects {
    /// Writes to `out`, which errors call `name`.
    pub fn new(name: &str, out: impl Write + Send + 'static) -> Self {
        let write = BufWriter::new(Box::new(out) as Box<dyn Write + Send>);
        Rejects { name: name.into(), out: Arc::new(Mutex::new(Out { write, failed: None })) }
    }

    /// Takes whole lines. What goes wrong is said by [`Rejects::flush`].
    pub(super) fn put(&self, lines: &[u8]) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        if out.failed.is_none() {
            out.failed = out.write.write_all(lines).err();
        }
    }

    /// Hands over what was taken so far.
    ///
    /// # Errors
    ///
    /// When something could not be written, now or before.
    pub fn flush(&self) -> Result<(), RejectsError> {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let result = out.failed.take().map_or_else(|| out.write.flush(), Err);
        result.map_err(|source| RejectsError { name: Arc::clone(&self.name), source })
    }
}

impl std::fmt::Debug for Rejects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rejects").field("name", &self.name).finish_non_exhaustive()
    }
}
