//! SQLite: a file, and no server.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, ErrorCode, ToSql, params_from_iter};

use crate::sink::sql::cell::{Cell, Row, is_storable};
use crate::sink::sql::database::{Database, Failure, Op};
use crate::sink::sql::dialect::Dialect;
use crate::sink::sql::table::{COUNT_COLUMN, Column, Table};
use crate::time::Time;

/// How long somebody else may hold the file before another attempt is made.
const BUSY: Duration = Duration::from_secs(5);

/// A file of SQLite.
#[derive(Debug)]
pub(super) struct Sqlite {
    path: PathBuf,
    connection: Option<Connection>,
}

impl Sqlite {
    pub(super) fn new(path: PathBuf) -> Self {
        Sqlite { path, connection: None }
    }

    fn open(&self) -> Result<Connection, Failure> {
        let path = self.path.display();
        let cannot = |error: rusqlite::Error| match failure(error) {
            Failure::Lost(reason) => Failure::Lost(reason),
            Failure::Refused(reason) => Failure::Refused(format!("cannot open {path}: {reason}")),
        };
        let connection = Connection::open(&self.path).map_err(cannot)?;
        connection.busy_timeout(BUSY).map_err(cannot)?;
        // Whoever reads does not wait for who writes, nor the other way round; and what is committed outlives a power cut.
        connection.pragma_update(None, "journal_mode", "WAL").map_err(cannot)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(cannot)?;
        Ok(connection)
    }

    fn connection(&self) -> Result<&Connection, Failure> {
        self.connection.as_ref().ok_or_else(|| Failure::Lost("the file is closed".to_owned()))
    }
}

impl Database for Sqlite {
    fn connect(&mut self) -> Result<Dialect, Failure> {
        if self.connection.is_none() {
            self.connection = Some(self.open()?);
        }
        Ok(Dialect::Sqlite)
    }

    fn disconnect(&mut self) {
        self.connection = None;
    }

    fn find(&mut self, _quoted: &str, name: &str) -> Result<Option<Vec<Column>>, Failure> {
        let sql = "SELECT name, type, \"notnull\", pk FROM pragma_table_info(?)";
        let mut statement = self.connection()?.prepare(sql).map_err(failure)?;
        let columns = statement.query_map([name], |row| {
            let key = row.get::<_, i64>(3)? > 0;
            Ok(Column { name: row.get(0)?, kind: row.get(1)?, nullable: !row.get::<_, bool>(2)?, key })
        });
        let columns: Vec<Column> = columns.and_then(Iterator::collect).map_err(failure)?;
        Ok(Some(columns).filter(|columns| !columns.is_empty()))
    }

    fn run(&mut self, sql: &str, parameters: &[Cell]) -> Result<u64, Failure> {
        let changed = self.connection()?.execute(sql, params_from_iter(parameters)).map_err(failure)?;
        Ok(changed as u64)
    }

    fn query(&mut self, sql: &str, parameters: &[Cell]) -> Result<Vec<Vec<Option<String>>>, Failure> {
        let mut statement = self.connection()?.prepare(sql).map_err(failure)?;
        let columns = statement.column_count();
        let rows = statement.query_map(params_from_iter(parameters), |row| {
            (0..columns).map(|column| row.get(column)).collect::<Result<Vec<Option<String>>, _>>()
        });
        rows.and_then(Iterator::collect).map_err(failure)
    }

    fn apply(&mut self, table: &Table, op: Op, rows: &[&Row]) -> Result<(), Failure> {
        let sql = statement(table, op);
        let mut prepared = self.connection()?.prepare(&sql).map_err(failure)?;
        if op == Op::Clear {
            prepared.execute([]).map_err(failure)?;
            return Ok(());
        }
        for row in rows {
            prepared.execute(params_from_iter(row.iter())).map_err(failure)?;
        }
        if op == Op::Add {
            let count = table.dialect.quote(COUNT_COLUMN);
            let sql = format!("DELETE FROM {} WHERE {} AND {count} = 0", table.quoted, is_key(table));
            let mut prepared = self.connection()?.prepare(&sql).map_err(failure)?;
            for row in rows {
                prepared.execute(params_from_iter(table.key(row))).map_err(failure)?;
            }
        }
        Ok(())
    }
}

/// What tells the row with a key from others.
fn is_key(table: &Table) -> String {
    table.key_names().iter().map(|name| format!("{name} = ?")).collect::<Vec<_>>().join(" AND ")
}

/// The statement that does `op` to one row.
fn statement(table: &Table, op: Op) -> String {
    let name = &table.quoted;
    let insert = || {
        let places = vec!["?"; table.columns.len()].join(", ");
        format!("INSERT INTO {name} ({}) VALUES ({places})", table.names())
    };
    match op {
        Op::Clear => format!("DELETE FROM {name}"),
        Op::Delete => format!("DELETE FROM {name} WHERE {}", is_key(table)),
        Op::Insert => insert(),
        Op::Upsert => {
            let set =
                table.other_names().iter().map(|it| format!("{it} = excluded.{it}")).collect::<Vec<_>>();
            let does = match set.as_slice() {
                [] => "NOTHING".to_owned(),
                set => format!("UPDATE SET {}", set.join(", ")),
            };
            format!("{} ON CONFLICT ({}) DO {does}", insert(), table.key_names().join(", "))
        }
        Op::Add => {
            let count = table.dialect.quote(COUNT_COLUMN);
            let key = table.key_names().join(", ");
            format!("{} ON CONFLICT ({key}) DO UPDATE SET {count} = {count} + excluded.{count}", insert())
        }
    }
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Cell::Null => ToSqlOutput::Owned(Value::Null),
            Cell::Bool(value) => ToSqlOutput::Owned(Value::Integer(i64::from(*value))),
            Cell::Int(value) => ToSqlOutput::Owned(match i64::try_from(*value) {
                Ok(value) => Value::Integer(value),
                Err(_) => Value::Text(value.to_string()),
            }),
            Cell::Float(value) => ToSqlOutput::Owned(Value::Real(*value)),
            Cell::Time(millis) => ToSqlOutput::Owned(Value::Text(time(*millis))),
            Cell::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Cell::Digest(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}

/// A time as text that sorts as times do, for as long as years have four digits.
fn time(millis: i64) -> String {
    let moment = DateTime::<Utc>::from_timestamp_millis(millis).filter(|_| is_storable(millis));
    moment.map_or_else(
        || Time(millis).to_string(),
        |moment| moment.to_rfc3339_opts(SecondsFormat::Millis, true),
    )
}

fn failure(error: rusqlite::Error) -> Failure {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Failure::Lost("somebody else holds the database".to_owned())
        }
        _ => Failure::Refused(error.to_string()),
    }
}
