//! `jsonl:DIR/`, `csv:DIR/`, `parquet:DIR/`: a directory of files, exactly once.
//!
//! A path that ends in `/` is a directory. Rows go into files of a bounded size, a directory for each view, and a *manifest*
//! says which files count:
//!
//! ```text
//! DIR/view=counts/000000000042-3.parquet   rows of whole epochs; never changed, never overwritten
//! DIR/_manifest/000000000042.json          lists them: views, epochs, rows and bytes
//! DIR/_log/000000000042-3.rows             what is committed and in no file yet
//! ```
//!
//! | parameter | what it does | default |
//! |---|---|---|
//! | `roll=SIZE,TIME` | when files are ended and listed: by the size of what waits, or by its age | `64MiB,1m` |
//! | `retain=TIME,SIZE` | older files are removed, and as many as are above that size together; never the newest | all stay |
//!
//! # Columns
//!
//! Files of CSV and Parquet have the columns `_epoch`, `_step`, with `mode=changes` also `_diff` (an underscore more where a view
//! has such a column itself), and those of the view. In Parquet they are typed: integers with their width and sign, those of
//! 128 bits as decimals of 38 digits, times as UTC timestamps of milliseconds, text as strings. Files of JSON lines have the lines
//! of `jsonl:PATH`. Text that is not UTF-8 shows each bad byte as `\xNN`. With `mode=complete` each epoch that changed a view has all
//! of its rows: those of the greatest `_epoch` and `_step` are the view as it is.
//!
//! # What readers go by
//!
//! The files that the manifest lists hold each epoch once, whole, whatever became of the run: DuckDB reads them by
//!
//! ```sql
//! SET VARIABLE files = (SELECT list('DIR/' || file.path) FROM (
//!     SELECT unnest(entry.files) AS file FROM read_json('DIR/_manifest/*.json')) WHERE file.view = 'counts');
//! SELECT * FROM read_parquet(getvariable('files'));
//! ```
//!
//! A pattern (`DIR/view=counts/*.parquet`) does nearly as well: between the moment at which a file is there and that at which it
//! is listed, a run may die; such a file is removed when the next one begins. Files that are removed by `retain` leave the manifest
//! first, so that whoever has read it may find some of them gone.
//!
//! # Promise on restart
//!
//! An epoch is committed when its rows are in the log and synced; several share a sync where the sink lags behind. As files are
//! rolled, what is in the log becomes files, which are synced, named without overwriting anything, and then listed by one entry
//! of the manifest. A run that goes on from another (`--state`) takes in what is in the log, and is shown no epoch
//! again that had been committed. A run that was given up for dead, and is not, finds the next entry of the manifest taken, and ends
//! with an error that says so; nothing that it writes is listed.
//!
//! A run that does not go on from the one that wrote to a directory is refused: its epochs would be numbered as those that
//! are there. Each run without durable state wants a directory of its own.
//!
//! Disk that is full, or files that cannot be written, end the run with an error; what was listed stays readable, and what was
//! committed is taken in by the next run.

mod log;
mod manifest;
mod open;
mod options;
mod parquet;
mod place;
mod table;

use std::fmt;
use std::io;
use std::path::PathBuf;

pub(super) use self::table::own_columns;

use self::open::Open;
use self::options::{Bounds, Form};
use crate::data::disk_hint;
use crate::sink::{Closed, Opening, Pause, Sink, SinkError, SinkSpecError, SinkUri};
use crate::time::Time;

/// Epochs that share a sync, at most, ...
const EPOCHS: u64 = 1000;
/// ... and bytes.
const BYTES: u64 = 16 << 20;

/// Why a directory cannot be written to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilesError {
    /// The system does not do it.
    #[error("cannot {doing} {}: {source}{}", path.display(), disk_hint(source))]
    System {
        /// What was to be done.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file that was to be new is there.
    #[error("{} is there already", path.display())]
    Taken {
        /// The file.
        path: PathBuf,
    },
    /// What is there was not written by a run that this one goes on from.
    #[error(
        "{} holds the epochs before {upto} of another run, which this one does not go on from\n  \
         hint: name another directory, or remove this one; runs with the same --state go on from one another",
        path.display()
    )]
    OtherRun {
        /// The directory.
        path: PathBuf,
        /// How many epochs it holds, from 0.
        upto: u64,
    },
    /// A later run has taken over.
    #[error(
        "another run has taken {} over: its incarnation is {theirs}, ours {ours}\n  hint: this one was given up for dead; end it",
        path.display()
    )]
    Fenced {
        /// The directory.
        path: PathBuf,
        /// The incarnation of this run.
        ours: u64,
        /// That of the other.
        theirs: u64,
    },
    /// An entry of the manifest is not what was written.
    #[error("{} is damaged: {reason}\n  hint: restore it; without it nobody knows which files count", path.display())]
    Damaged {
        /// The entry.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It was written by a newer program.
    #[error(
        "{} is of format {format}, and this program knows format {known}\n  hint: use the program that wrote it",
        path.display()
    )]
    Format {
        /// The entry.
        path: PathBuf,
        /// Its format.
        format: u32,
        /// The format of this program.
        known: u32,
    },
}

/// Writes views as files of a directory: see [the module](self).
pub struct Files {
    uri: String,
    root: PathBuf,
    form: Form,
    roll: Bounds,
    retain: Bounds,
    open: Option<Open>,
    /// The last time that anybody has said.
    now: Option<i64>,
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("uri", &self.uri).finish_non_exhaustive()
    }
}

impl Files {
    /// The sink of `uri`, whose path is a directory.
    pub(super) fn of(uri: &mut SinkUri) -> Result<Self, SinkSpecError> {
        let form = match uri.scheme() {
            "csv" => Form::Csv,
            "parquet" => Form::Parquet,
            _ => Form::Jsonl,
        };
        Ok(Files {
            uri: uri.as_str().to_owned(),
            root: uri.path().into(),
            form,
            roll: uri.param("roll")?.unwrap_or(Bounds::ROLL),
            retain: uri.param("retain")?.unwrap_or(Bounds::NONE),
            open: None,
            now: None,
        })
    }

    fn failed(&self) -> impl Fn(FilesError) -> SinkError {
        let uri = self.uri.clone();
        move |error| SinkError::own(&uri, error)
    }

    /// Does `what` with the open directory.
    fn with<T: Default>(
        &mut self,
        what: impl FnOnce(&mut Open, Form, Option<i64>) -> Result<T, FilesError>,
    ) -> Result<T, SinkError> {
        let (form, now) = (self.form, self.now);
        let Some(open) = &mut self.open else { return Ok(T::default()) };
        what(open, form, now).map_err(self.failed())
    }

    /// Makes durable what was committed, and files of it if it is time.
    fn settle_all(&mut self, at_once: bool) -> Result<(), SinkError> {
        let (roll, retain) = (self.roll, self.retain);
        self.with(|open, form, now| {
            open.sync()?;
            if open.within {
                return Ok(());
            }
            let waiting = open.waiting();
            let age = open.since.zip(now).map(|(since, now)| now.saturating_sub(since));
            let due = roll.bytes.is_some_and(|most| waiting >= most)
                || age.zip(roll.millis()).is_some_and(|(age, most)| age >= most);
            if due || at_once {
                open.publish(form, now)?;
                open.retain(retain, now)?;
            }
            Ok(())
        })
    }
}

impl Sink for Files {
    fn open(&mut self, opening: &Opening<'_>) -> Result<Option<u64>, SinkError> {
        let opened = Open::claim(&self.root, opening, self.form, self.now);
        let open = opened.map_err(self.failed())?;
        let committed = open.upto.checked_sub(1);
        self.open = Some(open);
        Ok(committed)
    }

    fn write(&mut self, closed: &Closed<'_>) -> Result<(), SinkError> {
        self.with(|open, _, now| open.write(closed, now))
    }

    fn commit(&mut self, epoch: u64) -> Result<(), SinkError> {
        let much = self.with(|open, _, _| {
            open.commit(epoch, false)?;
            Ok(open.behind >= EPOCHS || open.unsynced() >= BYTES)
        })?;
        if much { self.settle_all(false) } else { Ok(()) }
    }

    fn behind(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.behind)
    }

    fn settle(&mut self, pause: Pause) -> Result<(), SinkError> {
        self.settle_all(pause == Pause::Over)
    }

    fn clock(&mut self, now: Time) -> Result<(), SinkError> {
        self.now = Some(now.0);
        if let Some(open) = &mut self.open
            && open.has_rows()
        {
            open.since.get_or_insert(now.0);
        }
        self.settle_all(false)
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.with(|open, _, _| {
            // What stands there is the last state.
            if std::mem::take(&mut open.within) && open.upto > 0 {
                open.commit(open.upto - 1, true)
            } else {
                Ok(())
            }
        })?;
        self.settle_all(true)
    }
}

/// Whether `path` names a directory.
pub(super) fn is_directory(path: &str) -> bool {
    path.ends_with('/')
}
