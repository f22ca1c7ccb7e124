//! A directory that is open: rows into the log, and from there into files.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::Path;

use super::FilesError;
use super::log::{Extent, Head, RowLog, Shape, each_row, survey};
use super::manifest::{Entry, Listed, Manifest};
use super::options::{Bounds, Form};
use super::place::{Place, is_unfinished};
use super::table::{Table, directory};
use crate::sink::rows::{KeptRow, shown};
use crate::sink::{Closed, Mode, Opening};

/// Where what is in no file yet is kept.
const LOG: &str = "_log";

/// A directory that is this run's.
pub(super) struct Open {
    place: Place,
    manifest: Manifest,
    incarnation: u64,
    mode: Mode,
    views: Vec<Shape>,
    log: Option<(String, RowLog)>,
    /// Epochs before this one were committed, durably or not.
    pub upto: u64,
    /// How many of them are not durable yet, and how much of the log was when it was last synced.
    pub behind: u64,
    synced: u64,
    /// Whether an epoch has begun.
    pub within: bool,
    /// When the first row came that is in no file.
    pub since: Option<i64>,
}

impl Open {
    /// Makes the directory at `root` that of the run that `opening` says, with what runs before it have committed.
    pub fn claim(
        root: &Path,
        opening: &Opening<'_>,
        form: Form,
        now: Option<i64>,
    ) -> Result<Self, FilesError> {
        let place = Place::new(root)?;
        let state = opening.state.map(|state| format!("{state:032x}"));
        let manifest = Manifest::claim(&place, opening.incarnation, state.as_deref(), now)?;
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
        open.recover(form, now)?;
        Ok(open)
    }

    /// Bytes that are in no file.
    pub fn waiting(&self) -> u64 {
        self.log.as_ref().map_or(0, |(_, log)| log.bytes)
    }

    /// Bytes that are not durable.
    pub fn unsynced(&self) -> u64 {
        self.waiting() - self.synced
    }

    /// Whether there are rows that are in no file.
    pub fn has_rows(&self) -> bool {
        self.log.as_ref().is_some_and(|(_, log)| log.count > 0)
    }

    /// The log, which is begun if there is none.
    fn log(&mut self) -> Result<(&mut RowLog, impl FnOnce(io::Error) -> FilesError + use<>), FilesError> {
        if self.log.is_none() {
            let number = self.manifest.newest.as_ref().map_or(0, |entry| entry.number);
            let name = format!("{LOG}/{number:012}-{}.rows", self.incarnation);
            let head =
                Head { base: self.upto, changes: self.mode == Mode::Changes, views: self.views.clone() };
            let file = self.place.create_log(LOG, &name)?;
            if let Err(error) = self.manifest.check() {
                // A run that takes over later would not know what to make of it.
                self.place.remove(&name)?;
                return Err(error);
            }
            let log = RowLog::begin(file, &head).map_err(self.place.failed("write", &name))?;
            (self.log, self.synced) = (Some((name, log)), 0);
        }
        match &mut self.log {
            Some((name, log)) => Ok((log, self.place.failed("write", name))),
            None => unreachable!("it was begun"),
        }
    }

    pub fn write(&mut self, closed: &Closed<'_>, now: Option<i64>) -> Result<(), FilesError> {
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

    pub fn commit(&mut self, epoch: u64, last_state: bool) -> Result<(), FilesError> {
        let (log, failed) = self.log()?;
        log.commit(epoch, last_state).map_err(failed)?;
        self.upto = self.upto.max(epoch.saturating_add(1));
        self.behind += 1;
        self.within = false;
        Ok(())
    }

    pub fn sync(&mut self) -> Result<(), FilesError> {
        if self.behind > 0 {
            let (log, failed) = self.log()?;
            log.sync().map_err(failed)?;
            self.synced = self.log.as_ref().map_or(0, |(_, log)| log.bytes);
            self.behind = 0;
        }
        Ok(())
    }

    /// Makes files of what is in the log.
    pub fn publish(&mut self, form: Form, now: Option<i64>) -> Result<(), FilesError> {
        if let Some((name, _)) = self.log.take() {
            self.since = None;
            self.publish_log(&name, form, now)?;
        }
        Ok(())
    }

    /// Makes files of what was committed to the log `name`, lists them, and removes the log.
    fn publish_log(&mut self, name: &str, form: Form, now: Option<i64>) -> Result<(), FilesError> {
        // Whoever has taken over has taken this log in, and removed it.
        self.manifest.check()?;
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
                // Where somebody else has taken over they are not listed, and never will be. After any other error they may be:
                // the entry can be there although it is not certain to last. The next run knows.
                if matches!(error, FilesError::Fenced { ours, theirs, .. } if theirs > ours) {
                    paths.iter().for_each(|path| drop(self.place.remove(path)));
                }
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

    pub fn retain(&mut self, retain: Bounds, now: Option<i64>) -> Result<(), FilesError> {
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
        let listed: BTreeSet<_> = self.manifest.files().map(|file| &*file.path).collect();
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
