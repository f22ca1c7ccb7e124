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
mod options;
mod parquet;
mod place;
mod table;

use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;

pub(super) use self::table::own_columns;

use self::log::{Extent, Head, RowLog, Shape, each_row, survey};
use self::manifest::{Entry, Listed, Manifest};
use self::options::{Bounds, Form};
use self::place::{Place, is_unfinished};
use self::table::{Table, directory};
use crate::sink::rows::{KeptRow, shown};
use crate::sink::{Closed, Mode, Opening, Pause, Sink, SinkError, SinkSpecError, SinkUri};
use crate::time::Time;

/// Where what is in no file yet is kept.
const LOG: &str = "_log";
/// Epochs that share a sync, at most, ...
const EPOCHS: u64 = 1000;
/// ... and bytes.
const BYTES: u64 = 16 << 20;

/// Why a directory cannot be written to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilesError {
    /// The system does not do it.
    #[error("cannot {doing} {}: {source}", path.display())]
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

/// A directory that is this run's.
struct Open {
    place: Place,
    manifest: Manifest,
    incarnation: u64,
    mode: Mode,
    views: Vec<Shape>,
    log: Option<(String, RowLog)>,
    /// Epochs before this one were committed, durably or not.
    upto: u64,
    /// How many of them are not durable yet, and how much of the log was when it was last synced.
    behind: u64,
    synced: u64,
    /// Whether an epoch has begun.
    within: bool,
    /// When the first row came that is in no file.
    since: Option<i64>,
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
            let waiting = open.log.as_ref().map_or(0, |(_, log)| log.bytes);
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
        let state = opening.state.map(|state| format!("{state:032x}"));
        let opened = Place::new(&self.root).and_then(|place| {
            let manifest = Manifest::claim(&place, opening.incarnation, state.as_deref(), self.now)?;
            place.make_dir(LOG)?;
            let mut open = Open {
                upto: manifest.upto(),
                place,
                manifest,
                incarnation: opening.incarnation,
                mode: opening.shows.mode,
                views: opening.views.iter().map(Shape::of).collect(),
                log: None,
                behind: 0,
                synced: 0,
                within: false,
                since: None,
            };
            open.sweep()?;
            open.recover(self.form, self.now)?;
            Ok(open)
        });
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
            let waiting = open.log.as_ref().map_or(0, |(_, log)| log.bytes - open.synced);
            Ok(open.behind >= EPOCHS || waiting >= BYTES)
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
            && open.log.as_ref().is_some_and(|(_, log)| log.count > 0)
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

impl Open {
    /// The log, which is begun if there is none.
    fn log(&mut self) -> Result<(&mut RowLog, impl FnOnce(io::Error) -> FilesError + use<>), FilesError> {
        if self.log.is_none() {
            let number = self.manifest.newest.as_ref().map_or(0, |entry| entry.number);
            let name = format!("{LOG}/{number:012}-{}.rows", self.incarnation);
            let head =
                Head { base: self.upto, changes: self.mode == Mode::Changes, views: self.views.clone() };
            let file = self.place.create_log(LOG, &name)?;
            let log = RowLog::begin(file, &head).map_err(self.place.failed("write", &name))?;
            (self.log, self.synced) = (Some((name, log)), 0);
        }
        match &mut self.log {
            Some((name, log)) => Ok((log, self.place.failed("write", name))),
            None => unreachable!("it was begun"),
        }
    }

    fn write(&mut self, closed: &Closed<'_>, now: Option<i64>) -> Result<(), FilesError> {
        if closed.last {
            let newest = self.manifest.newest.as_ref();
            // The same may have been shown by a run before; and without any epoch there is nothing to show.
            let is_known = newest.is_some_and(|entry| entry.last_state == Some(closed.epoch));
            if is_known || closed.epoch >= self.upto {
                return Ok(());
            }
        }
        let mode = self.mode;
        self.within = true;
        self.since = self.since.or(now);
        let (log, failed) = self.log()?;
        let mut result = Ok(());
        for (at, view) in closed.views.iter().enumerate() {
            shown(&**view, closed, mode, &mut |diff, values| {
                if result.is_ok() {
                    result = log.row(&KeptRow::new(at, closed, diff, values));
                }
            });
        }
        result.map_err(failed)
    }

    fn commit(&mut self, epoch: u64, last_state: bool) -> Result<(), FilesError> {
        let (log, failed) = self.log()?;
        log.commit(epoch, last_state).map_err(failed)?;
        self.upto = self.upto.max(epoch.saturating_add(1));
        self.behind += 1;
        self.within = false;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), FilesError> {
        if self.behind > 0 {
            let (log, failed) = self.log()?;
            log.sync().map_err(failed)?;
            self.synced = self.log.as_ref().map_or(0, |(_, log)| log.bytes);
            self.behind = 0;
        }
        Ok(())
    }

    /// Makes files of what is in the log.
    fn publish(&mut self, form: Form, now: Option<i64>) -> Result<(), FilesError> {
        if let Some((name, _)) = self.log.take() {
            self.since = None;
            self.publish_log(&name, form, now)?;
        }
        Ok(())
    }

    /// Makes files of what was committed to the log `name`, lists them, and removes the log.
    fn publish_log(&mut self, name: &str, form: Form, now: Option<i64>) -> Result<(), FilesError> {
        let read = || File::open(self.place.path(name));
        let surveyed = read().and_then(survey).map_err(self.place.failed("read", name))?;
        if let Some((head, extent @ Extent { epoch: Some(epoch), .. })) = surveyed {
            let files = if extent.rows { self.files(name, &head, extent, form)? } else { Vec::new() };
            let upto = self.manifest.upto().max(epoch.saturating_add(1));
            let last_state = extent.last_state.or_else(|| {
                // What came since was nothing.
                let newest: Option<&Entry> = self.manifest.newest.as_ref();
                newest.filter(|entry| entry.upto == upto).and_then(|entry| entry.last_state)
            });
            let paths: Vec<_> = files.iter().map(|file| file.path.clone()).collect();
            if let Err(error) = self.manifest.publish(upto, last_state, now, files) {
                // They are not listed, and never will be.
                paths.iter().for_each(|path| drop(self.place.remove(path)));
                return Err(error);
            }
            self.upto = self.upto.max(upto);
        }
        self.place.remove(name)?;
        self.place.sync_dir(LOG)
    }

    /// Writes the rows of the log `name` to a file for each view that has any.
    fn files(&self, name: &str, head: &Head, extent: Extent, form: Form) -> Result<Vec<Listed>, FilesError> {
        let number = self.manifest.newest.as_ref().map_or(0, |entry| entry.number + 1);
        let mut tables: Vec<Option<(Table, Listed)>> = head.views.iter().map(|_| None).collect();
        let begin = |shape: &Shape| {
            let directory = directory(&shape.view);
            let path = format!("{directory}/{number:012}-{}.{form}", self.incarnation);
            self.place.make_dir(&directory)?;
            let file = self.place.begin(&path)?;
            let table =
                Table::begin(form, file, shape, head.changes).map_err(self.place.failed("write", &path))?;
            let view = shape.view.clone();
            Ok::<_, FilesError>((table, Listed { view, path, rows: 0, bytes: 0, first: u64::MAX, last: 0 }))
        };
        let mut failed = None;
        let log = File::open(self.place.path(name)).map_err(self.place.failed("read", name))?;
        let read = each_row(log, extent, &mut |row| {
            let at = row.view as usize;
            let (Some(table), Some(shape)) = (tables.get_mut(at), head.views.get(at)) else {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it has a row of no view"));
            };
            let (table, listed) = match table {
                Some(table) => table,
                None => match begin(shape) {
                    Ok(begun) => table.insert(begun),
                    Err(error) => {
                        failed = Some(error);
                        return Err(io::Error::other("a file cannot be begun"));
                    }
                },
            };
            (listed.first, listed.last) = (listed.first.min(row.epoch), listed.last.max(row.epoch));
            listed.rows += 1;
            table.row(row).map_err(|error| {
                let (kind, text) = (error.kind(), error.to_string());
                failed = Some(self.place.failed("write", &listed.path)(error));
                io::Error::new(kind, text)
            })
        });
        if let Some(error) = failed {
            return Err(error);
        }
        read.map_err(self.place.failed("read", name))?;
        let mut files = Vec::new();
        for (table, mut listed) in tables.into_iter().flatten() {
            let file = table.end().map_err(self.place.failed("write", &listed.path))?;
            listed.bytes = self.place.end(file, &listed.path)?;
            self.place.sync_dir(&directory(&listed.view))?;
            files.push(listed);
        }
        Ok(files)
    }

    fn retain(&mut self, retain: Bounds, now: Option<i64>) -> Result<(), FilesError> {
        let oldest = now.zip(retain.millis()).map(|(now, time)| now.saturating_sub(time));
        let gone = self.manifest.retain(oldest, retain.bytes)?;
        gone.iter().try_for_each(|path| self.place.remove(path))
    }

    /// Takes in what the runs before had committed and made no files of.
    fn recover(&mut self, form: Form, now: Option<i64>) -> Result<(), FilesError> {
        let mut logs = Vec::new();
        for name in self.place.list(LOG)? {
            let incarnation = name.strip_suffix(".rows").and_then(|name| name.split_once('-'));
            let incarnation = incarnation.and_then(|(_, incarnation)| incarnation.parse::<u64>().ok());
            logs.extend(incarnation.map(|incarnation| (incarnation, format!("{LOG}/{name}"))));
        }
        // Of several, the others are of runs that had been given up, or in files already.
        logs.sort();
        while let Some((_, name)) = logs.pop() {
            let file = File::open(self.place.path(&name));
            let surveyed = file.and_then(survey).map_err(self.place.failed("read", &name))?;
            if surveyed.is_some_and(|(head, _)| head.base == self.manifest.upto()) {
                self.publish_log(&name, form, now)?;
            } else {
                self.place.remove(&name)?;
            }
        }
        self.place.sync_dir(LOG)
    }

    /// Removes files that were never listed.
    fn sweep(&self) -> Result<(), FilesError> {
        self.manifest.sweep()?;
        let listed: std::collections::BTreeSet<_> = self.manifest.files().map(|file| &*file.path).collect();
        let directories = self.place.list("")?;
        for directory in directories.iter().filter(|name| name.starts_with("view=")) {
            for name in self.place.list(directory)? {
                let path = format!("{directory}/{name}");
                if is_ours(&name) && !listed.contains(&*path) {
                    self.place.remove(&path)?;
                }
            }
        }
        Ok(())
    }
}

/// Whether a file of this name is one that a sink of this kind has written.
fn is_ours(name: &str) -> bool {
    let Some((stem, ending)) = name.split_once('.') else { return false };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let numbers = stem
        .split_once('-')
        .is_some_and(|(number, incarnation)| number.len() >= 12 && digits(number) && digits(incarnation));
    let forms = ["jsonl", "csv", "parquet"];
    numbers
        && (forms.contains(&ending)
            || is_unfinished(name) && forms.iter().any(|form| ending.starts_with(form)))
}

/// Whether `path` names a directory.
pub(super) fn is_directory(path: &str) -> bool {
    path.ends_with('/')
}
