//! How far tables have come, and whose they are: a row for each in the table `thalweg_progress`.
//!
//! A row says which state the run that writes the table goes on from, its incarnation, who it is (`holder`, drawn at random), and
//! the last epoch that the table has. It is changed in the transaction that changes the rows, and only by its holder: so what a
//! run writes after another one has taken over is refused, and an epoch is either wholly there or not at all.

use crate::sink::Mode;
use crate::sink::sql::SqlError;
use crate::sink::sql::cell::Cell;
use crate::sink::sql::database::{Database, Failure};
use crate::sink::sql::dialect::Dialect;

/// Who writes.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// The state that it goes on from, as digits; empty without one.
    pub(super) state: String,
    pub(super) incarnation: u64,
    pub(super) holder: String,
    /// The first epoch that it shows.
    pub(super) first: u64,
}

/// What a table begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// Where it is.
    On,
    /// Without the rows that it has.
    Anew,
    /// With all rows that the view has then, and no others.
    Whole,
}

/// What is known of a table that is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claimed {
    /// The last epoch that it has.
    pub(super) epoch: Option<u64>,
    pub(super) begin: Begin,
}

/// A row of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Found {
    state: String,
    incarnation: u64,
    holder: String,
    epoch: Option<u64>,
}

/// The statements about `thalweg_progress`, see [the module](self).
#[derive(Clone, Debug)]
pub(super) struct Progress {
    dialect: Dialect,
    quoted: String,
}

/// What became of noting an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    /// It is noted.
    Now,
    /// It had been: a commit was acknowledged to nobody.
    Before,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Lost(reason) => Trouble::Lost(reason),
            Failure::Refused(reason) => Trouble::Error(SqlError::Refused { reason }),
        }
    }
}

impl From<SqlError> for Trouble {
    fn from(error: SqlError) -> Self {
        Trouble::Error(error)
    }
}

/// Why an attempt has failed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Another may do.
    Lost(String),
    /// None will.
    Error(SqlError),
}

impl Progress {
    pub(super) fn new(dialect: Dialect, schema: Option<&str>) -> Self {
        let name = dialect.quote("thalweg_progress");
        let quoted = schema.map_or(name.clone(), |schema| format!("{}.{name}", dialect.quote(schema)));
        Progress { dialect, quoted }
    }

    /// Creates the table, unless it is there.
    pub(super) fn create(&self, database: &mut dyn Database) -> Result<(), Failure> {
        let (quote, word) = (|name| self.dialect.quote(name), self.dialect.word());
        // What epochs are called elsewhere is a word of SQL in none of them, but names are quoted all the same.
        let sql = format!(
            "CREATE TABLE IF NOT EXISTS {} ({} {word} NOT NULL PRIMARY KEY, {} {word} NOT NULL, {} bigint NOT NULL, \
             {} {word} NOT NULL, {} bigint){}",
            self.quoted,
            quote("written_table"),
            quote("state"),
            quote("incarnation"),
            quote("holder"),
            quote("epoch"),
            self.dialect.table_options(),
        );
        database.run(&sql, &[]).map(drop)
    }

    /// Takes the table `table` for `run`, in a transaction.
    pub(super) fn claim(
        &self,
        database: &mut dyn Database,
        table: &str,
        run: &Run,
        mode: Mode,
    ) -> Result<Claimed, Trouble> {
        let name = Cell::Text(table.to_owned());
        let (text, number) = (|at| self.dialect.parameter(at, false), |at| self.dialect.parameter(at, true));
        let quote = |name| self.dialect.quote(name);
        let ignoring = match self.dialect {
            Dialect::Mysql { .. } => ("INSERT IGNORE", ""),
            _ => ("INSERT", " ON CONFLICT DO NOTHING"),
        };
        // First, so that there is a row to be locked.
        let sql = format!(
            "{} INTO {} ({}, {}, {}, {}) VALUES ({}, '', 0, ''){}",
            ignoring.0,
            self.quoted,
            quote("written_table"),
            quote("state"),
            quote("incarnation"),
            quote("holder"),
            text(1),
            ignoring.1,
        );
        database.run(&sql, std::slice::from_ref(&name))?;
        let found = self.find(database, table, self.dialect.for_update())?;
        let claimed = decide(&found, run, mode, table)?;
        let sql = format!(
            "UPDATE {} SET {} = {}, {} = {}, {} = {}, {} = {} WHERE {} = {}",
            self.quoted,
            quote("state"),
            text(1),
            quote("incarnation"),
            number(2),
            quote("holder"),
            text(3),
            quote("epoch"),
            number(4),
            quote("written_table"),
            text(5),
        );
        let parameters = [
            Cell::Text(run.state.clone()),
            Cell::Int(run.incarnation.into()),
            Cell::Text(run.holder.clone()),
            claimed.epoch.map_or(Cell::Null, |epoch| Cell::Int(epoch.into())),
            name,
        ];
        database.run(&sql, &parameters)?;
        Ok(claimed)
    }

    /// Notes, in a transaction, that `table` has `epoch`. With `again` it may have had it before.
    pub(super) fn note(
        &self,
        database: &mut dyn Database,
        table: &str,
        (epoch, again): (u64, bool),
        run: &Run,
    ) -> Result<Noted, Trouble> {
        let quote = |name| self.dialect.quote(name);
        let column = quote("epoch");
        // The condition is looked at again when whoever holds the row lets go of it: if that is the rest of a connection of
        // this run, whose commit nobody has acknowledged, there is nothing to be done any more.
        let sql = format!(
            "UPDATE {} SET {column} = {} WHERE {} = {} AND {} = {} AND ({column} IS NULL OR {column} {} {})",
            self.quoted,
            self.dialect.parameter(1, true),
            quote("written_table"),
            self.dialect.parameter(2, false),
            quote("holder"),
            self.dialect.parameter(3, false),
            if again { "<=" } else { "<" },
            self.dialect.parameter(4, true),
        );
        let number = Cell::Int(epoch.into());
        let parameters =
            [number.clone(), Cell::Text(table.to_owned()), Cell::Text(run.holder.clone()), number];
        if database.run(&sql, &parameters)? > 0 {
            return Ok(Noted::Now);
        }
        let found = self.find(database, table, self.dialect.for_update())?;
        match found.epoch {
            Some(has) if found.holder == run.holder && has >= epoch => Ok(Noted::Before),
            _ => Err(SqlError::TakenOver { table: table.to_owned(), incarnation: found.incarnation }.into()),
        }
    }

    fn find(&self, database: &mut dyn Database, table: &str, lock: &str) -> Result<Found, Trouble> {
        let columns = ["state", "incarnation", "holder", "epoch"];
        let columns = columns.map(|name| self.dialect.as_text(&self.dialect.quote(name))).join(", ");
        let name = self.dialect.quote("written_table");
        let parameter = self.dialect.parameter(1, false);
        let sql = format!("SELECT {columns} FROM {} WHERE {name} = {parameter}{lock}", self.quoted);
        let mut rows = database.query(&sql, &[Cell::Text(table.to_owned())])?;
        let Some(row) = rows.pop() else { return Ok(Found::default()) };
        let damaged = || {
            let reason = format!("the row for `{table}` in `thalweg_progress` is none of thalweg's: {row:?}");
            Trouble::Error(SqlError::Refused { reason })
        };
        let [Some(state), Some(incarnation), Some(holder), epoch] = row.as_slice() else {
            return Err(damaged());
        };
        let number = |text: &String| text.parse::<u64>().map_err(|_| damaged());
        Ok(Found {
            state: state.clone(),
            incarnation: number(incarnation)?,
            holder: holder.clone(),
            epoch: epoch.as_ref().map(number).transpose()?,
        })
    }
}

/// Whether `run` may take a table with the row `found`, and what it does with the rows that are there.
fn decide(found: &Found, run: &Run, mode: Mode, table: &str) -> Result<Claimed, SqlError> {
    let goes_on = !run.state.is_empty() && found.state == run.state;
    let newer = found.incarnation > run.incarnation;
    if goes_on && (newer || found.incarnation == run.incarnation && found.holder != run.holder) {
        return Err(SqlError::TakenOver { table: table.to_owned(), incarnation: found.incarnation });
    }
    // An attempt whose commit nobody has acknowledged is this run's own, too.
    let epoch = found.epoch.filter(|_| goes_on || found.holder == run.holder);
    let next = epoch.map_or(0, |epoch| epoch + 1);
    let begin = match mode {
        _ if epoch.is_some() && next >= run.first => Begin::On,
        _ if run.first == 0 => Begin::Anew,
        Mode::Complete => Begin::Whole,
        Mode::Append | Mode::Changes | Mode::Update => {
            return Err(SqlError::Behind { table: table.to_owned(), has: epoch, first: run.first });
        }
    };
    // What a table of another run has come to says nothing of this one.
    Ok(Claimed { epoch: epoch.filter(|_| begin == Begin::On), begin })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(state: &str, incarnation: u64, first: u64) -> Run {
        Run { state: state.to_owned(), incarnation, holder: "me".to_owned(), first }
    }

    fn found(state: &str, incarnation: u64, holder: &str, epoch: Option<u64>) -> Found {
        Found { state: state.to_owned(), incarnation, holder: holder.to_owned(), epoch }
    }

    #[test]
    fn a_run_goes_on_begins_anew_or_is_refused() {
        use Begin::{Anew, On, Whole};
        use Mode::{Append, Complete, Update};
        let nobody = Found::default();
        for (found, run, mode, expected) in [
            (nobody.clone(), run("", 0, 0), Update, Ok((None, Anew))),
            (nobody.clone(), run("s", 1, 0), Update, Ok((None, Anew))),
            // Without a state, the second run replaces what the first has left, ...
            (found("", 0, "other", Some(9)), run("", 0, 0), Update, Ok((None, Anew))),
            (found("s", 7, "other", Some(9)), run("", 0, 0), Update, Ok((None, Anew))),
            // ... and so does one with another state.
            (found("s", 7, "other", Some(9)), run("t", 1, 0), Complete, Ok((None, Anew))),
            (found("s", 7, "other", Some(9)), run("s", 8, 0), Update, Ok((Some(9), On))),
            (found("s", 7, "other", Some(9)), run("s", 8, 10), Update, Ok((Some(9), On))),
            (found("s", 7, "other", None), run("s", 8, 0), Update, Ok((None, Anew))),
            // The same attempt again.
            (found("s", 8, "me", Some(9)), run("s", 8, 3), Update, Ok((Some(9), On))),
            (found("", 0, "me", Some(9)), run("", 0, 0), Update, Ok((Some(9), On))),
            // A zombie.
            (found("s", 7, "other", Some(9)), run("s", 7, 0), Update, Err("incarnation 7")),
            (found("s", 7, "other", None), run("s", 6, 0), Complete, Err("incarnation 7")),
            // A gap.
            (found("s", 7, "other", Some(9)), run("s", 8, 11), Update, Err("come to epoch 9")),
            (found("s", 7, "other", Some(9)), run("s", 8, 11), Append, Err("come to epoch 9")),
            (nobody.clone(), run("s", 8, 11), Update, Err("is new")),
            (found("s", 7, "other", Some(9)), run("s", 8, 11), Complete, Ok((None, Whole))),
            (nobody.clone(), run("s", 8, 11), Complete, Ok((None, Whole))),
        ] {
            let claimed = decide(&found, &run, mode, "t").map(|it| (it.epoch, it.begin));
            match expected {
                Ok(expected) => assert_eq!(claimed.expect("taken"), expected, "{found:?} {run:?} {mode:?}"),
                Err(text) => {
                    let error = claimed.expect_err("refused").to_string();
                    assert!(error.contains(text), "{error}");
                }
            }
        }
    }
}
