//! What a database is asked for.

use std::fmt;

use crate::sink::sql::cell::{Cell, Row};
use crate::sink::sql::dialect::Dialect;
use crate::sink::sql::table::{Column, Table};

/// What is done to rows of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// All go.
    Clear,
    /// Those with these keys go.
    Delete,
    /// They come, or take the place of those with the same key.
    Upsert,
    /// They come.
    Insert,
    /// They come, or their counts are added to those that are there; those of which none is left go.
    Add,
}

/// Why a database did not do what it was asked for.
#[derive(Debug)]
pub(super) enum Failure {
    /// It may do it another time, over another connection.
    Lost(String),
    /// It never will.
    Refused(String),
}

/// A database. Whatever fails leaves the connection useless; [`disconnect`](Database::disconnect) is called then, which takes back
/// what was not committed.
pub(super) trait Database: fmt::Debug + Send {
    /// Connects, unless it is connected, and says what it speaks.
    fn connect(&mut self) -> Result<Dialect, Failure>;

    /// Ends the connection.
    fn disconnect(&mut self);

    /// The columns of the table that is called `quoted`, or `name` without quotes; `None` if there is none.
    fn find(&mut self, quoted: &str, name: &str) -> Result<Option<Vec<Column>>, Failure>;

    /// Runs a statement, and says how many rows it has found to change.
    fn run(&mut self, sql: &str, parameters: &[Cell]) -> Result<u64, Failure>;

    /// Runs a query all of whose columns are text.
    fn query(&mut self, sql: &str, parameters: &[Cell]) -> Result<Vec<Vec<Option<String>>>, Failure>;

    /// Changes rows of a table; where rows go, `rows` are their keys.
    fn apply(&mut self, table: &Table, op: Op, rows: &[&Row]) -> Result<(), Failure>;
}
