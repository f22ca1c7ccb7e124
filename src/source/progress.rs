//! How far reading has come.

use std::sync::atomic::AtomicU64;

/// How far the workers of this process have come, for whoever wants to show it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of the sources that have been read.
    pub bytes: AtomicU64,
    /// Lines that have been read.
    pub lines: AtomicU64,
    /// Bytes that this process will have read in the end, or 0 where that is not known.
    pub total: AtomicU64,
}
