//! Why nothing was measured.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use crate::generate::GenerateError;

/// Why a measuring command has no figures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// There is no dataflow of this name.
    #[error("no dataflow is named `{name}`; there are {}", known.join(", "))]
    NoSuchDataflow {
        /// The name as given.
        name: String,
        /// The names that there are.
        known: Vec<&'static str>,
    },
    /// There is no plain loop for this dataflow.
    #[error("no plain loop is written for `{name}`\n  hint: there are loops for {}", super::Baseline::NAMES.join(", "))]
    NoLoop {
        /// The name as given.
        name: String,
    },
    /// A file that is to be measured with cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// No lines could be generated.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// The system refused something that a run needs.
    #[error("cannot {what}: {source}")]
    System {
        /// What was to be done.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// A run ended with an error of its own.
    #[error("a run ended with {status}: {stderr}")]
    Run {
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        stderr: String,
    },
    /// A run printed something that is not its figures.
    #[error("a run printed no figures, but: {output}")]
    NoFigures {
        /// What it printed.
        output: String,
        /// Why that is not the figures.
        source: serde_json::Error,
    },
    /// Two runs over one file do not agree, so neither figure means anything.
    #[error("the runs disagree: {expected}; but {found}")]
    Disagree {
        /// What the first one found.
        expected: String,
        /// Which one differs, and what it found.
        found: String,
    },
    /// The state could not be kept.
    #[error(transparent)]
    State(crate::state::StateError),
    /// Timely could not start its workers, or one of them panicked.
    #[error("cannot run the workers: {0}")]
    Timely(String),
}
