//! PostgreSQL: rows come by COPY into a temporary table, and go from there to where they belong.

use std::error::Error as _;
use std::fmt::Write;
use std::future::Future;
use std::io::Cursor;
use std::time::Duration;

use futures_util::SinkExt;
use tokio::runtime::Runtime;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Error, NoTls};

use crate::sink::sql::cell::{Cell, Row, is_storable};
use crate::sink::sql::database::{Database, Failure, Op};
use crate::sink::sql::dialect::Dialect;
use crate::sink::sql::server::Server;
use crate::sink::sql::table::{COUNT_COLUMN, Column, Table};
use crate::sink::sql::{SqlError, tls};
use crate::time::Time;

/// How long connecting may take, greetings and all.
const GREETING: Duration = Duration::from_secs(15);
/// How long one statement may.
const STATEMENT: Duration = Duration::from_secs(600);
/// After so long without a sign of the server's system the connection counts as lost.
const SILENCE: Duration = Duration::from_secs(30);
/// As much of a copy is handed over at once.
const PIECE: usize = 1 << 18;

/// A database of PostgreSQL.
#[derive(Debug)]
pub(super) struct Postgres {
    uri: String,
    server: Server,
    warned: bool,
    connection: Option<Connection>,
}

struct Connection {
    runtime: Runtime,
    client: Client,
    /// The tables that have temporary ones.
    staged: Vec<String>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Postgres {
    pub(super) fn new(uri: &str, server: Server) -> Self {
        Postgres { uri: uri.to_owned(), server, warned: false, connection: None }
    }

    fn config(&self) -> Result<Config, SqlError> {
        let Server { host, port, socket, user, password, database, tls } = &self.server;
        let mut config = Config::new();
        match socket {
            Some(directory) => config.host_path(directory),
            None => config.host(host),
        };
        config.port(*port).user(user).dbname(database).application_name("thalweg");
        config.connect_timeout(GREETING).tcp_user_timeout(SILENCE);
        config.keepalives_idle(SILENCE / 3).keepalives_interval(SILENCE / 6).keepalives_retries(4);
        config.ssl_mode(match tls {
            Some(_) => tokio_postgres::config::SslMode::Require,
            None => tokio_postgres::config::SslMode::Disable,
        });
        if let Some(password) = password.read()? {
            config.password(password);
        }
        Ok(config)
    }

    fn open(&self) -> Result<Connection, Failure> {
        let refused = |error: SqlError| Failure::Refused(error.to_string());
        let config = self.config().map_err(refused)?;
        let tls = self.server.tls.as_ref().map(tls::connector).transpose().map_err(refused)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::Refused(error.to_string()))?;
        let greeting = async {
            Ok(match tls {
                Some(tls) => {
                    let (client, connection) = config.connect(tls).await?;
                    // It says what went wrong to whoever waits for an answer.
                    drop(tokio::spawn(async { drop(connection.await) }));
                    client
                }
                None => {
                    let (client, connection) = config.connect(NoTls).await?;
                    drop(tokio::spawn(async { drop(connection.await) }));
                    client
                }
            })
        };
        let client = within(&runtime, GREETING, greeting)?;
        let mut connection = Connection { runtime, client, staged: Vec::new() };
        // A commit that is acknowledged must outlive a power cut, whatever the server's default is.
        let durable = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";
        connection.batch(durable)?;
        // Locks of one that has vanished must not be waited for by its successor for hours.
        let mortal = "SET idle_in_transaction_session_timeout = '60s'; SET tcp_keepalives_idle = 30; \
                      SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3";
        connection.batch(mortal)?;
        let encoding = connection.client.query_one("SELECT current_setting('server_encoding')", &[]);
        let encoding: String = within(&connection.runtime, STATEMENT, async { encoding.await?.try_get(0) })?;
        if encoding != "UTF8" {
            return Err(Failure::Refused(format!(
                "the encoding of the database is {encoding}, which does not hold all text\n  hint: `CREATE DATABASE … ENCODING 'UTF8'`"
            )));
        }
        Ok(connection)
    }

    fn connection(&mut self) -> Result<&mut Connection, Failure> {
        self.connection.as_mut().ok_or_else(|| Failure::Lost("there is no connection".to_owned()))
    }
}

impl Database for Postgres {
    fn connect(&mut self) -> Result<Dialect, Failure> {
        if !std::mem::replace(&mut self.warned, true) {
            self.server.warn_if_in_clear(&self.uri);
        }
        if self.connection.as_ref().is_some_and(|connection| connection.client.is_closed()) {
            self.connection = None;
        }
        if self.connection.is_none() {
            self.connection = Some(self.open()?);
        }
        Ok(Dialect::Postgres)
    }

    fn disconnect(&mut self) {
        if let Some(Connection { runtime, client, .. }) = self.connection.take() {
            drop(client);
            runtime.shutdown_background();
        }
    }

    fn find(&mut self, quoted: &str, _name: &str) -> Result<Option<Vec<Column>>, Failure> {
        let sql = "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull, \
                   EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisprimary AND a.attnum = ANY (i.indkey)) \
                   FROM pg_attribute a WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped \
                   ORDER BY a.attnum";
        let Connection { runtime, client, .. } = self.connection()?;
        let rows = within(runtime, STATEMENT, client.query(sql, &[&quoted]))?;
        let columns = rows.iter().map(|row| {
            let nullable = !row.try_get::<_, bool>(2)?;
            Ok(Column { name: row.try_get(0)?, kind: row.try_get(1)?, nullable, key: row.try_get(3)? })
        });
        let columns: Vec<Column> = columns.collect::<Result<_, Error>>().map_err(|error| failure(&error))?;
        Ok(Some(columns).filter(|columns| !columns.is_empty()))
    }

    fn run(&mut self, sql: &str, parameters: &[Cell]) -> Result<u64, Failure> {
        let connection = self.connection()?;
        if parameters.is_empty() {
            return connection.batch(sql).map(|()| 0);
        }
        let texts: Vec<_> = parameters.iter().map(text).collect();
        let texts: Vec<&(dyn ToSql + Sync)> = texts.iter().map(|text| text as &(dyn ToSql + Sync)).collect();
        within(&connection.runtime, STATEMENT, connection.client.execute(sql, &texts))
    }

    fn query(&mut self, sql: &str, parameters: &[Cell]) -> Result<Vec<Vec<Option<String>>>, Failure> {
        let Connection { runtime, client, .. } = self.connection()?;
        let texts: Vec<_> = parameters.iter().map(text).collect();
        let texts: Vec<&(dyn ToSql + Sync)> = texts.iter().map(|text| text as &(dyn ToSql + Sync)).collect();
        let rows = within(runtime, STATEMENT, client.query(sql, &texts))?;
        let rows = rows.iter().map(|row| (0..row.len()).map(|column| row.try_get(column)).collect());
        rows.collect::<Result<_, Error>>().map_err(|error| failure(&error))
    }

    fn apply(&mut self, table: &Table, op: Op, rows: &[&Row]) -> Result<(), Failure> {
        let connection = self.connection()?;
        let name = &table.quoted;
        if op == Op::Clear {
            return connection.batch(&format!("DELETE FROM {name}"));
        }
        if op == Op::Insert {
            return connection.copy(name, &table.names(), rows);
        }
        let [stage, keys] = connection.stage(table)?;
        let key = table.key_names();
        let same = |other: &str| {
            key.iter()
                .map(|column| format!("t.{column} = {other}.{column}"))
                .collect::<Vec<_>>()
                .join(" AND ")
        };
        let count = table.dialect.quote(COUNT_COLUMN);
        let (key, names) = (key.join(", "), table.names());
        match op {
            Op::Clear | Op::Insert => Ok(()),
            Op::Delete => {
                connection.copy(&keys, &key, rows)?;
                connection.batch(&format!("DELETE FROM {name} t USING {keys} k WHERE {}", same("k")))
            }
            Op::Upsert => {
                connection.copy(&stage, &names, rows)?;
                let set: Vec<_> =
                    table.other_names().iter().map(|it| format!("{it} = excluded.{it}")).collect();
                let does = match set.as_slice() {
                    [] => "NOTHING".to_owned(),
                    set => format!("UPDATE SET {}", set.join(", ")),
                };
                connection.batch(&format!(
                    "INSERT INTO {name} ({names}) SELECT {names} FROM {stage} ON CONFLICT ({key}) DO {does}"
                ))
            }
            Op::Add => {
                connection.copy(&stage, &names, rows)?;
                connection.batch(&format!(
                    "INSERT INTO {name} AS t ({names}) SELECT {names} FROM {stage} ON CONFLICT ({key}) \
                     DO UPDATE SET {count} = t.{count} + excluded.{count}; \
                     DELETE FROM {name} t USING {stage} s WHERE {} AND t.{count} = 0",
                    same("s")
                ))
            }
        }
    }
}

impl Connection {
    fn batch(&mut self, sql: &str) -> Result<(), Failure> {
        within(&self.runtime, STATEMENT, self.client.batch_execute(sql))
    }

    /// The temporary tables for rows of `table` and for keys of it. They are empty as a transaction begins.
    fn stage(&mut self, table: &Table) -> Result<[String; 2], Failure> {
        let found = self.staged.iter().position(|name| *name == table.name);
        let at = found.unwrap_or(self.staged.len());
        let names = ["rows", "keys"].map(|what| format!("pg_temp.thalweg_{what}_{at}"));
        if found.is_none() {
            let [stage, keys] = &names;
            let (name, key) = (&table.quoted, table.key_names().join(", "));
            self.batch(&format!(
                "CREATE TEMPORARY TABLE {} ON COMMIT DELETE ROWS AS SELECT {} FROM {name} WITH NO DATA; \
                 CREATE TEMPORARY TABLE {} ON COMMIT DELETE ROWS AS SELECT {key} FROM {name} WITH NO DATA",
                stage.trim_start_matches("pg_temp."),
                table.names(),
                keys.trim_start_matches("pg_temp."),
            ))?;
            self.staged.push(table.name.clone());
        }
        Ok(names)
    }

    /// Copies `rows` into `table`.
    fn copy(&mut self, table: &str, columns: &str, rows: &[&Row]) -> Result<(), Failure> {
        let Connection { runtime, client, .. } = self;
        let copying = async {
            let into = client.copy_in(&format!("COPY {table} ({columns}) FROM STDIN")).await?;
            let mut into = std::pin::pin!(into);
            let mut piece = String::with_capacity(PIECE + PIECE / 8);
            for row in rows {
                for (at, cell) in row.iter().enumerate() {
                    if at > 0 {
                        piece.push('\t');
                    }
                    push(cell, &mut piece);
                }
                piece.push('\n');
                if piece.len() >= PIECE {
                    let full = std::mem::replace(&mut piece, String::with_capacity(PIECE + PIECE / 8));
                    into.feed(Cursor::new(full.into_bytes())).await?;
                }
            }
            into.feed(Cursor::new(piece.into_bytes())).await?;
            into.finish().await
        };
        within(runtime, STATEMENT, copying).map(drop)
    }
}

/// What comes of `future` within `limit`.
fn within<T>(
    runtime: &Runtime,
    limit: Duration,
    future: impl Future<Output = Result<T, Error>>,
) -> Result<T, Failure> {
    match runtime.block_on(async { tokio::time::timeout(limit, future).await }) {
        Ok(result) => result.map_err(|error| failure(&error)),
        Err(_) => {
            Err(Failure::Lost(format!("there was no answer for {}", humantime::format_duration(limit))))
        }
    }
}

/// A value as text that PostgreSQL reads; `None` is null.
fn text(cell: &Cell) -> Option<String> {
    Some(match cell {
        Cell::Null => return None,
        Cell::Bool(value) => if *value { "t" } else { "f" }.to_owned(),
        Cell::Int(value) => value.to_string(),
        Cell::Float(value) if value.is_infinite() => {
            format!("{}Infinity", if *value < 0.0 { "-" } else { "" })
        }
        // In a form that keeps every bit.
        Cell::Float(value) => format!("{value:e}"),
        Cell::Time(millis) if is_storable(*millis) => Time(*millis).to_string(),
        Cell::Time(millis) => if *millis < 0 { "-infinity" } else { "infinity" }.to_owned(),
        Cell::Text(text) => text.clone(),
        Cell::Digest(bytes) => format!("\\x{}", crate::sink::sql::cell::hex(bytes)),
    })
}

/// Adds a value as COPY reads it.
fn push(cell: &Cell, to: &mut String) {
    match cell {
        Cell::Null => to.push_str("\\N"),
        Cell::Int(value) => drop(write!(to, "{value}")),
        Cell::Text(text) => push_escaped(text, to),
        cell => push_escaped(&text(cell).unwrap_or_default(), to),
    }
}

fn push_escaped(text: &str, to: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '\n', '\r', '\t']) {
        to.push_str(&rest[..at]);
        to.push_str(match rest.as_bytes()[at] {
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            _ => "\\\\",
        });
        rest = &rest[at + 1..];
    }
    to.push_str(rest);
}

/// What `error` means.
fn failure(error: &Error) -> Failure {
    let mut text = error.to_string();
    let mut source = error.source();
    let mut by_tls = false;
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            let _ = write!(text, ": {more}");
        }
        let io = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        by_tls |= error.is::<rustls::Error>() || io.is_some_and(|inner| inner.is::<rustls::Error>());
        source = error.source();
    }
    if let Some(found) = error.as_db_error() {
        let detail = found.detail().map_or(String::new(), |detail| format!(" ({detail})"));
        let hint = found.hint().map_or(String::new(), |hint| format!("\n  hint: {hint}"));
        let text = format!("{}{detail} [{}]{hint}", found.message(), found.code().code());
        return if passes(found.code()) { Failure::Lost(text) } else { Failure::Refused(text) };
    }
    let lost =
        error.is_closed() || error.source().is_some_and(|source| source.is::<std::io::Error>()) && !by_tls;
    if lost { Failure::Lost(text) } else { Failure::Refused(text) }
}

/// Whether another attempt may do where there was an error with this code.
fn passes(code: &SqlState) -> bool {
    // Connections, resources, and what an operator has done (a restart, a failover).
    let classes = ["08", "53", "57"];
    let codes = [
        &SqlState::T_R_SERIALIZATION_FAILURE,
        &SqlState::T_R_DEADLOCK_DETECTED,
        &SqlState::LOCK_NOT_AVAILABLE,
        &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    ];
    classes.iter().any(|class| code.code().starts_with(class)) || codes.contains(&code)
}
