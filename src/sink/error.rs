//! What goes wrong with sinks.

use std::path::PathBuf;

use crate::data::disk_hint;
use crate::sink::reader_is_gone;
use crate::view::Retracted;

/// Why a sink cannot be written, or has nothing to write.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// The file could not be created.
    #[error("cannot create {path}: {source}\n  hint: does its directory exist, and may you write there?")]
    Create {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A write failed.
    #[error("cannot write to `{sink}`: {source}{}", disk_hint(source))]
    Write {
        /// The sink as given.
        sink: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// It appends final rows, and no view of the dataflow has such.
    #[error(
        "sink `{sink}`: none of the views ({}) has rows that become final: tables of windows and of sessions have, and what is only ever appended\n  \
         hint: use mode=complete, mode=update or mode=changes",
        views.join(", ")
    )]
    NoFinals {
        /// The sink as given.
        sink: String,
        /// The views that there are.
        views: Vec<String>,
    },
    /// The dataflow retracts a row that it has called final.
    #[error(transparent)]
    Retracted(#[from] Retracted),
    /// What a sink outside of this crate has to say.
    #[error("sink `{sink}`: {source}")]
    Own {
        /// The sink as given.
        sink: String,
        /// Its reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Its thread could not be started.
    #[error("cannot start a thread for sink `{sink}`: {source}")]
    Thread {
        /// The sink as given.
        sink: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Its thread has panicked.
    #[error("sink `{sink}` panicked: {message}")]
    Panicked {
        /// The sink as given.
        sink: String,
        /// The message of the panic.
        message: String,
    },
}

impl SinkError {
    /// Whether whoever read standard output has gone away: nothing went wrong.
    pub(super) fn is_readers_leave(&self) -> bool {
        matches!(self, SinkError::Write { source, .. } if reader_is_gone(source))
    }

    /// For sinks outside of this crate: `source` went wrong with the sink that was given as `sink`.
    ///
    /// ```
    /// let error = thalweg::sink::SinkError::own("post://here", "connection refused");
    /// assert_eq!(error.to_string(), "sink `post://here`: connection refused");
    /// ```
    pub fn own(sink: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        SinkError::Own { sink: sink.to_owned(), source: source.into() }
    }
}
