//! The sink itself: what epochs do to tables, and when that is committed.

use std::time::Duration;

use crate::sink::patience::Patience;
use crate::sink::sql::SqlError;
use crate::sink::sql::cell::hex;
use crate::sink::sql::database::{Database, Op};
use crate::sink::sql::options::Options;
use crate::sink::sql::pending::{Pending, Work};
use crate::sink::sql::progress::{Begin, Noted, Progress, Run, Trouble};
use crate::sink::sql::table::Table;
use crate::sink::{At, Closed, Ending, Mode, Opening, Pause, Sink, SinkError};
use crate::time::Backoff;
use crate::view::Contents;

/// As many changed rows are committed although more wait.
const MANY: usize = 20_000;
/// As many epochs are.
const EPOCHS: u64 = 64;

/// A table that is written.
#[derive(Debug)]
struct Written {
    table: Table,
    begin: Begin,
    /// The last epoch that the database has.
    has: Option<u64>,
    /// What complete epochs have done that is not in the database yet, ...
    pending: Pending,
    /// ... and the steps of one that is not complete.
    open: Pending,
}

/// Writes views as tables, see [the module](crate::sink::sql).
#[derive(Debug)]
pub(super) struct Sql {
    /// What messages call it.
    uri: String,
    options: Options,
    /// Whether the run is to end.
    ending: Ending,
    database: Box<dyn Database>,
    run: Run,
    mode: Mode,
    at: At,
    progress: Option<Progress>,
    tables: Vec<Written>,
    /// The last epoch that is complete, and how many of those up to it the database has not.
    epoch: u64,
    behind: u64,
}

impl Sql {
    pub(super) fn new(uri: &str, options: Options, database: Box<dyn Database>) -> Self {
        let run = Run { state: String::new(), incarnation: 0, holder: String::new(), first: 0 };
        Sql {
            uri: uri.to_owned(),
            options,
            database,
            run,
            mode: Mode::Update,
            at: At::EveryEpoch,
            ending: Ending::default(),
            progress: None,
            tables: Vec::new(),
            epoch: 0,
            behind: 0,
        }
    }

    /// Attempts until one succeeds, or none will.
    fn persist<T>(
        &mut self,
        patience: Patience,
        mut attempt: impl FnMut(&mut Self) -> Result<T, Trouble>,
    ) -> Result<T, SinkError> {
        let mut waiting = patience.waiting(self.options.wait, &self.ending);
        let mut backoff = Backoff::new();
        let (mut failures, mut last) = (0u32, String::new());
        loop {
            let reason = match attempt(self) {
                Ok(done) => {
                    if failures > 1 {
                        log::warn!("`{}`: the database answers again", self.uri);
                    }
                    return Ok(done);
                }
                Err(trouble) => {
                    self.database.disconnect();
                    match trouble {
                        Trouble::Lost(reason) => reason,
                        Trouble::Error(error) => return Err(self.error(error)),
                    }
                }
            };
            if waiting.is_over() {
                return Err(self.error(SqlError::Unreachable { reason }));
            }
            // A connection may have been idle for too long; what fails again is worth a warning, and each reason only one.
            let level = match failures {
                0 => log::Level::Info,
                _ if reason == last => log::Level::Debug,
                _ => log::Level::Warn,
            };
            log::log!(level, "`{}`: {reason}; trying again", self.uri);
            failures = failures.saturating_add(1);
            last = if level == log::Level::Warn { reason } else { last };
            let mut wait = backoff.next();
            // It may be long, and what is waited for at the end counts from then on.
            while wait > Duration::ZERO && !waiting.is_over() {
                let part = wait.min(Duration::from_millis(100));
                std::thread::sleep(part);
                waiting.add(part);
                wait -= part;
            }
        }
    }

    fn error(&self, error: SqlError) -> SinkError {
        SinkError::own(&self.uri, error)
    }

    /// Makes the tables ready, and takes them.
    fn take(&mut self, opening: &Opening<'_>) -> Result<(), Trouble> {
        let dialect = self.database.connect()?;
        let schema = self.options.schema.as_deref();
        let mut tables: Vec<Table> = Vec::new();
        for (at, view) in opening.views.iter().enumerate() {
            let table = Table::of(view, (&self.options.prefix, schema), self.mode, dialect)?;
            if let Some(other) = tables.iter().position(|other| other.name == table.name) {
                let [one, other] = [other, at].map(|at| opening.views[at].name.clone());
                return Err(SqlError::SameTable { table: table.name, one, other }.into());
            }
            tables.push(table);
        }
        let database = &mut *self.database;
        let progress = Progress::new(dialect, schema);
        progress.create(database)?;
        for table in &tables {
            match database.find(&table.quoted, &table.name)? {
                None => drop(database.run(&table.create(), &[])?),
                Some(found) => {
                    if let Some(difference) = table.difference(&found) {
                        return Err(SqlError::OtherTable { table: table.name.clone(), difference }.into());
                    }
                }
            }
        }
        database.run(dialect.begin(), &[])?;
        let mut written = Vec::new();
        for table in tables {
            let claimed = progress.claim(database, &table.name, &self.run, self.mode)?;
            let mut pending = Pending::default();
            // Rows that are appended stay, and what is written at the end is replaced then.
            let clears =
                claimed.begin == Begin::Anew && self.mode != Mode::Append && self.at == At::EveryEpoch;
            if clears {
                pending.replace();
            }
            let (begin, has, open) = (claimed.begin, claimed.epoch, Pending::default());
            written.push(Written { table, begin, has, pending, open });
        }
        database.run("COMMIT", &[])?;
        (self.progress, self.tables) = (Some(progress), written);
        Ok(())
    }

    /// Takes what is open for complete.
    fn complete(&mut self) -> Result<(), SinkError> {
        let absorbed = self
            .tables
            .iter_mut()
            .try_for_each(|Written { table, pending, open, .. }| pending.absorb(table, open));
        absorbed.map_err(|error| self.error(error))
    }

    /// Commits all that is complete. With `again` the database may have had the epoch before.
    fn commit_all(&mut self, patience: Patience, again: bool) -> Result<(), SinkError> {
        let epoch = self.epoch;
        self.persist(patience, |sink| sink.transact(epoch, again))?;
        for Written { table, has, pending, .. } in &mut self.tables {
            let unfit = std::mem::take(&mut pending.unfit);
            if unfit > 0 {
                let name = &table.name;
                log::warn!(
                    "`{}`: {unfit} changes of `{name}` are left out, for there is a time in their key that has no place there",
                    self.uri
                );
            }
            pending.done();
            *has = (*has).max(Some(epoch));
        }
        self.behind = 0;
        Ok(())
    }

    fn transact(&mut self, epoch: u64, again: bool) -> Result<(), Trouble> {
        let Some(progress) = &self.progress else { return Ok(()) };
        let dialect = self.database.connect()?;
        let database = &mut *self.database;
        database.run(dialect.begin(), &[])?;
        for Written { table, has, .. } in &self.tables {
            if !again && has.is_some_and(|has| has >= epoch) {
                continue;
            }
            match progress.note(database, &table.name, (epoch, again), &self.run)? {
                Noted::Now => {}
                // All of it was.
                Noted::Before => return Ok(database.run("ROLLBACK", &[]).map(|_| ())?),
            }
        }
        for Written { table, pending, .. } in &self.tables {
            let Work { clear, delete, upsert, insert, add } = pending.work(table);
            if clear {
                database.apply(table, Op::Clear, &[])?;
            }
            let all = [(Op::Delete, delete), (Op::Upsert, upsert), (Op::Insert, insert), (Op::Add, add)];
            for (op, rows) in all.into_iter().filter(|(_, rows)| !rows.is_empty()) {
                database.apply(table, op, &rows)?;
            }
        }
        database.run("COMMIT", &[])?;
        Ok(())
    }

    fn has_changes(&self) -> bool {
        self.tables.iter().any(|written| !written.pending.is_empty())
    }

    /// Makes the tables of `views` hold what they hold, and nothing else: those that `which` says.
    fn replace(
        &mut self,
        views: &[Box<dyn Contents>],
        which: impl Fn(&Written) -> bool,
    ) -> Result<(), SinkError> {
        let mut result = Ok(());
        for (view, written) in views.iter().zip(&mut self.tables) {
            if which(written) {
                let Written { table, open, .. } = written;
                open.replace();
                view.rows(usize::MAX, &mut |values| {
                    if result.is_ok() {
                        result = open.change(table, 1, values);
                    }
                });
            }
        }
        result.map_err(|error| self.error(error))
    }
}

impl Sink for Sql {
    fn open(&mut self, opening: &Opening<'_>) -> Result<Option<u64>, SinkError> {
        let mut drawn = [0; 16];
        getrandom::fill(&mut drawn).map_err(|error| {
            let reason = error.to_string();
            self.error(SqlError::System { what: "draw random numbers", reason })
        })?;
        self.run = Run {
            state: opening.state.map_or(String::new(), |state| hex(&state.to_be_bytes())),
            incarnation: opening.incarnation,
            holder: hex(&drawn),
            first: opening.first,
        };
        self.ending = opening.ending.clone();
        (self.mode, self.at) = (opening.shows.mode, opening.shows.at);
        self.persist(Patience::Wait, |sink| sink.take(opening))?;
        // Those that have come further are not changed again by what they have.
        Ok(self.tables.iter().map(|written| written.has).min().flatten())
    }

    fn begin(&mut self, views: &[Box<dyn Contents>]) -> Result<(), SinkError> {
        if self.at == At::End {
            return Ok(());
        }
        self.replace(views, |written| written.begin == Begin::Whole)
    }

    fn write(&mut self, closed: &Closed<'_>) -> Result<(), SinkError> {
        if closed.last {
            return self.replace(closed.views, |_| true);
        }
        let mut result = Ok(());
        for (view, Written { table, has, open, .. }) in closed.views.iter().zip(&mut self.tables) {
            if has.is_some_and(|has| has >= closed.epoch) {
                continue;
            }
            view.changes(&mut |diff, values| {
                if result.is_ok() {
                    result = open.change(table, diff, values);
                }
            });
        }
        result.map_err(|error| self.error(error))
    }

    fn commit(&mut self, epoch: u64) -> Result<(), SinkError> {
        self.complete()?;
        self.epoch = epoch;
        self.behind += 1;
        let rows: usize = self.tables.iter().map(|written| written.pending.len()).sum();
        if rows >= MANY || self.behind >= EPOCHS {
            self.commit_all(Patience::Endless, false)?;
        }
        Ok(())
    }

    fn behind(&self) -> u64 {
        self.behind
    }

    fn settle(&mut self, pause: Pause) -> Result<(), SinkError> {
        match pause {
            _ if self.behind == 0 => Ok(()),
            Pause::Empty if !self.has_changes() => Ok(()),
            Pause::Empty | Pause::Lull => self.commit_all(Patience::Endless, false),
            Pause::Over => self.commit_all(Patience::Wait, false),
        }
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.complete()?;
        if self.behind > 0 || self.has_changes() {
            self.commit_all(Patience::Wait, self.behind == 0)?;
        }
        self.database.disconnect();
        Ok(())
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests;
