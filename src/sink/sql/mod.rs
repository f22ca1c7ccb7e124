//! `sqlite:PATH`, `postgres://…` and `mysql://…`: each view as a table of a database, exactly once.
//!
//! ```text
//! thalweg run action-counts --sink 'sqlite:actions.db'
//! thalweg run action-counts --sink 'postgres://me@db.example/logs?tls=system&prefix=web_'
//! thalweg run action-counts --sink 'mysql://me@127.0.0.1/logs?password-file=/etc/thalweg/mysql'
//! ```
//!
//! The table of a view is called like it, in small letters and with `_` for what would have to be quoted, and is created if it
//! is not there, with the view's columns and its key. One that is there must have the same columns; it is never altered.
//! Names are quoted and values bound, whatever is in them.
//!
//! | mode | what the table holds |
//! |---|---|
//! | `update`, `changes` | what the view holds: rows that change are changed, and those that go are deleted. The same for both. |
//! | `complete` | the same; and a table that is new to a run that goes on from an earlier one is filled with all rows of the view |
//! | `append` | each final row of tables of windows and sessions, and each row of views that are only appended to, once |
//!
//! So `keep=` does not shorten a table: what has become final stays in it. With `at=end` a table is written once, when the input
//! has ended. Where several epochs wait to be written they are written together, so that a table may step over some.
//!
//! # Parameters
//!
//! Besides those that every sink has ([`SinkSpec`](crate::sink::SinkSpec)):
//!
//! | parameter | what it says | when not given |
//! |---|---|---|
//! | `prefix=TEXT` | stands before the name of each table | nothing |
//! | `wait=TIME` | how long a database that cannot be reached is waited for as the run begins and as it ends; in between there is no end to it | 30s |
//! | `schema=NAME` | (PostgreSQL) the schema of the tables, which must be there | where the search path leads |
//! | `socket=PATH` | in place of a host: (PostgreSQL) the directory of the server's socket, (MySQL) the socket | by TCP |
//! | `password=TEXT` | the password, if it is not before the host (`USER:PASSWORD@HOST`, with `%2f` for `/`) | |
//! | `password-file=PATH` | the password is the first line of this file, which is read anew for each connection | |
//! | `tls=system`, `tls=FILE` | by TLS; the server's certificate is signed by an authority that this system trusts, or by one in this file (PEM) | in clear |
//! | `tls-name=NAME` | the name that the certificate is for | the host |
//! | `tls-cert=FILE`, `tls-key=FILE` | this side's certificate and its key (PEM), where the server wants one | none |
//!
//! Where neither says the password, it is in the environment, as `THALWEG_SINK_PASSWORD` or, for PostgreSQL, `PGPASSWORD`, for
//! MySQL `MYSQL_PWD`. It is never shown.
//!
//! # Columns
//!
//! | a view's | SQLite | PostgreSQL | MySQL, MariaDB |
//! |---|---|---|---|
//! | text | `TEXT` | `text` | `longtext`, or `varchar(N)` in a key, of a collation that tells all text apart |
//! | integer | `INTEGER` | `smallint`, `integer`, `bigint` | the same, and `unsigned` |
//! | of more than 63 bits | without a type: text where it does not fit | `numeric` | `bigint unsigned`, `decimal(39,0)` |
//! | number | `REAL`; NaN is null | `double precision` | `double`; NaN and what has no end are null |
//! | yes or no | `BOOLEAN` (0, 1) | `boolean` | `tinyint(1)` |
//! | time | `TEXT`, as `2015-05-17T10:05:00.000Z` | `timestamp with time zone` | `datetime(3)`, UTC |
//!
//! - Bytes that are not UTF-8, and NUL, stand in text as `\xNN` ([`escape_sql`](crate::data::escape_sql)).
//! - In a key, text that is longer than an index takes (PostgreSQL: 2600 bytes, MySQL: 750, shared by the columns of the key) is
//!   cut, and ends with `…sha256:` and a digest of all of it, so that no two keys become one.
//! - Times in years that have no four digits are infinite in PostgreSQL and null in MySQL. A row with such a time in its key is
//!   left out, with a warning.
//! - A key with a number with a fraction, or with nulls, is no primary key: there a digest of it, `thalweg_key`, is the first
//!   column and the primary key. So it is where no key of a view is known: each row is there once, and `thalweg_count`, the
//!   second column, says how often the view has it.
//! - What is only appended has no primary key.
//!
//! # Exactly once
//!
//! The table `thalweg_progress` has a row for each table that is written: the last epoch that it has, and which run writes it. It
//! is changed in the transaction that changes the rows. When the answer to a commit is lost with the connection, it says whether
//! it was done. A run that is started on the same state is told how far the tables have come, and goes on there.
//!
//! Whoever starts takes the tables over: what an earlier run, given up for dead, writes afterwards is refused, and ends that run.
//! Two dataflows with views of the same name need different `prefix=`es.
//!
//! **Without a state a run begins anew**: its first transaction replaces the rows of an earlier run, or of one with another
//! state, by its own. (`append` adds its rows to those that are there, a second time if the input is the same.)
//!
//! A run that goes on from an epoch that a table has not come to (because the sink is new, or was left out for a while) cannot
//! make it right but with `mode=complete`, and is refused otherwise.
//!
//! # When the database is away
//!
//! The sink tries again, after a tenth of a second and then less often, down to every ten seconds, for ever; the log says so once.
//! Meanwhile what it should write waits (`queue=`), other sinks go on, and when the queue is full no new epoch is begun. From when a signal
//! has asked the run to end, or its input is at its end, it waits as long as `wait=` says, and then ends the run with an error. What a
//! second attempt would not change (a wrong password, no such database, a missing permission) ends the run at once.

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod cell;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod core;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod database;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod dialect;
mod error;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod options;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod pending;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod progress;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod server;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod table;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod tls;

pub use error::SqlError;

use crate::sink::{Sink, SinkSpecError, SinkUri};

/// `sqlite:PATH`.
#[cfg(feature = "sqlite")]
pub(super) fn sqlite(uri: &mut SinkUri) -> Result<Box<dyn Sink>, SinkSpecError> {
    let path = match uri.path() {
        "" => return Err(uri.refuse("say which file: `sqlite:PATH`")),
        ":memory:" => return Err(uri.refuse("nobody could read a database in memory: `sqlite:PATH`")),
        path => std::path::PathBuf::from(path),
    };
    let options = options::Options::take(uri)?;
    Ok(Box::new(core::Sql::new(uri.as_str(), options, Box::new(sqlite::Sqlite::new(path)))))
}

/// `postgres://USER@HOST:PORT/DATABASE`.
#[cfg(feature = "postgres")]
pub(super) fn postgres(uri: &mut SinkUri) -> Result<Box<dyn Sink>, SinkSpecError> {
    let mut options = options::Options::take(uri)?;
    options.schema = uri.param("schema")?;
    let server = server::Server::take(uri, 5432, ["PGUSER", "PGPASSWORD"])?;
    let database = postgres::Postgres::new(uri.as_str(), server);
    Ok(Box::new(core::Sql::new(uri.as_str(), options, Box::new(database))))
}

/// `mysql://USER@HOST:PORT/DATABASE`.
#[cfg(feature = "mysql")]
pub(super) fn mysql(uri: &mut SinkUri) -> Result<Box<dyn Sink>, SinkSpecError> {
    let options = options::Options::take(uri)?;
    let server = server::Server::take(uri, 3306, ["MYSQL_USER", "MYSQL_PWD"])?;
    let database = mysql::Mysql::new(uri.as_str(), server);
    Ok(Box::new(core::Sql::new(uri.as_str(), options, Box::new(database))))
}

#[cfg(not(feature = "sqlite"))]
pub(super) fn sqlite(uri: &mut SinkUri) -> Result<Box<dyn Sink>, SinkSpecError> {
    Err(uri.refuse("this program was built without SQLite: `cargo build --features sqlite`"))
}

#[cfg(not(feature = "postgres"))]
pub(super) fn postgres(uri: &mut SinkUri) -> Result<Box<dyn Sink>, SinkSpecError> {
    Err(uri.refuse("this program was built without PostgreSQL: `cargo build --features postgres`"))
}

#[cfg(not(feature = "mysql"))]
pub(super) fn mysql(uri: &mut SinkUri) -> Result<Box<dyn Sink>, SinkSpecError> {
    Err(uri.refuse("this program was built without MySQL: `cargo build --features mysql`"))
}
