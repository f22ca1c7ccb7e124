//! MySQL and MariaDB: rows go many at a time, as values that are bound.

use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, Utc};
use mysql_async::prelude::Queryable;
use mysql_async::{ClientIdentity, Conn, DriverError, Error, OptsBuilder, Params, SslOpts, Value};
use tokio::runtime::Runtime;

use crate::sink::sql::cell::{Cell, Row, is_storable};
use crate::sink::sql::database::{Database, Failure, Op};
use crate::sink::sql::dialect::Dialect;
use crate::sink::sql::server::Server;
use crate::sink::sql::table::{COUNT_COLUMN, Column, Table};
use crate::sink::sql::{SqlError, tls};

/// How long connecting may take, greetings and all.
const GREETING: Duration = Duration::from_secs(15);
/// How long one statement may.
const STATEMENT: Duration = Duration::from_secs(600);
/// How long saying goodbye may.
const GOODBYE: Duration = Duration::from_secs(1);
/// So many rows go at once: few sizes, so that there are few statements.
const SIZES: [usize; 5] = [256, 64, 16, 4, 1];
/// So many bytes go at once, unless a row alone has more; servers refuse what is larger than they are set to.
const BYTES: usize = 1 << 20;
/// As many parameters as a statement takes.
const PARAMETERS: usize = 65_535;

/// The collations in which no two different texts are equal: MySQL's, MariaDB's.
const COLLATIONS: [&str; 2] = ["utf8mb4_0900_bin", "utf8mb4_nopad_bin"];

/// A database of MySQL or MariaDB.
#[derive(Debug)]
pub(super) struct Mysql {
    uri: String,
    server: Server,
    warned: bool,
    connection: Option<Connection>,
}

struct Connection {
    runtime: Runtime,
    conn: Conn,
    collation: &'static str,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Mysql {
    pub(super) fn new(uri: &str, server: Server) -> Self {
        Mysql { uri: uri.to_owned(), server, warned: false, connection: None }
    }

    fn options(&self) -> Result<OptsBuilder, SqlError> {
        let Server { host, port, socket, user, password, database, tls } = &self.server;
        let mut options = OptsBuilder::default()
            .ip_or_hostname(host.clone())
            .tcp_port(*port)
            .user(Some(user.clone()))
            .pass(password.read()?)
            .db_name(Some(database.clone()))
            .prefer_socket(false)
            .tcp_keepalive(Some(Duration::from_secs(10)))
            // What an update has found, and not only what it has changed.
            .client_found_rows(true);
        if let Some(socket) = socket {
            options = options.socket(Some(socket.to_string_lossy().into_owned()));
        }
        if let Some(tls) = tls {
            let roots = tls::authorities(tls)?.into_iter().map(Into::into).collect();
            let mut ssl = SslOpts::default().with_disable_built_in_roots(true).with_root_certs(roots);
            if let Some(name) = &tls.name {
                ssl = ssl.with_danger_tls_hostname_override(Some(name.clone()));
            }
            if let Some((certificate, key)) = &tls.own {
                let own = ClientIdentity::new(tls::read(certificate)?.into(), tls::read(key)?.into());
                ssl = ssl.with_client_identity(Some(own));
            }
            options = options.ssl_opts(Some(ssl));
        }
        Ok(options)
    }

    fn open(&self) -> Result<Connection, Failure> {
        let options = self.options().map_err(|error| Failure::Refused(error.to_string()))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::Refused(error.to_string()))?;
        let mut conn = within(&runtime, GREETING, Conn::new(options))?;
        let opening = async {
            // Text that is too long is an error, and not cut; and what another connection has committed is seen.
            conn.query_drop("SET SESSION sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'").await?;
            conn.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
            conn.query_drop("SET NAMES utf8mb4").await?;
            // Locks of one that has vanished must not be waited for by its successor for hours.
            conn.query_drop("SET SESSION wait_timeout = 600").await?;
            let known =
                "SELECT collation_name FROM information_schema.collations WHERE collation_name IN (?, ?)";
            conn.exec::<String, _, _>(known, (COLLATIONS[0], COLLATIONS[1])).await
        };
        let known = within(&runtime, STATEMENT, opening)?;
        let collation = COLLATIONS.into_iter().find(|name| known.iter().any(|it| it == name));
        let collation = collation.ok_or_else(|| {
            Failure::Refused(format!(
                "it has neither of the collations {}: MySQL from 8.0.17 and MariaDB from 10.2 have",
                COLLATIONS.join(", ")
            ))
        })?;
        Ok(Connection { runtime, conn, collation })
    }

    fn connection(&mut self) -> Result<&mut Connection, Failure> {
        self.connection.as_mut().ok_or_else(|| Failure::Lost("there is no connection".to_owned()))
    }
}

impl Database for Mysql {
    fn connect(&mut self) -> Result<Dialect, Failure> {
        if !std::mem::replace(&mut self.warned, true) {
            self.server.warn_if_in_clear(&self.uri);
        }
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.open()?,
        };
        let collation = connection.collation;
        self.connection = Some(connection);
        Ok(Dialect::Mysql { collation })
    }

    fn disconnect(&mut self) {
        if let Some(Connection { runtime, conn, .. }) = self.connection.take() {
            let _ = runtime.block_on(async { tokio::time::timeout(GOODBYE, conn.disconnect()).await });
            runtime.shutdown_background();
        }
    }

    fn find(&mut self, _quoted: &str, name: &str) -> Result<Option<Vec<Column>>, Failure> {
        let columns = ["column_name", "column_type", "is_nullable", "column_key", "collation_name"];
        let columns = columns.map(|column| format!("CAST({column} AS char)")).join(", ");
        let sql = format!(
            "SELECT {columns} FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ? \
             ORDER BY ordinal_position"
        );
        let rows = self.query(&sql, &[Cell::Text(name.to_owned())])?;
        let columns = rows.into_iter().filter_map(|row| {
            let [name, kind, nullable, key, collation] = row.try_into().ok()?;
            let collation = collation.map_or(String::new(), |name| format!(" collate {name}"));
            Some(Column {
                name: name?,
                kind: format!("{}{collation}", without_width(&kind?)),
                nullable: nullable? == "YES",
                key: key? == "PRI",
            })
        });
        let columns: Vec<Column> = columns.collect();
        Ok(Some(columns).filter(|columns| !columns.is_empty()))
    }

    fn run(&mut self, sql: &str, parameters: &[Cell]) -> Result<u64, Failure> {
        let Connection { runtime, conn, .. } = self.connection()?;
        if parameters.is_empty() {
            return within(runtime, STATEMENT, conn.query_drop(sql)).map(|()| 0);
        }
        let parameters = parameters.iter().map(value).collect();
        within(runtime, STATEMENT, conn.exec_drop(sql, Params::Positional(parameters)))?;
        Ok(conn.affected_rows())
    }

    fn query(&mut self, sql: &str, parameters: &[Cell]) -> Result<Vec<Vec<Option<String>>>, Failure> {
        let Connection { runtime, conn, .. } = self.connection()?;
        let parameters = parameters.iter().map(value).collect();
        let rows: Vec<mysql_async::Row> =
            within(runtime, STATEMENT, conn.exec(sql, Params::Positional(parameters)))?;
        let cell = |value| match value {
            Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            _ => None,
        };
        Ok(rows.into_iter().map(|row| row.unwrap().into_iter().map(cell).collect()).collect())
    }

    fn apply(&mut self, table: &Table, op: Op, rows: &[&Row]) -> Result<(), Failure> {
        let name = &table.quoted;
        if op == Op::Clear {
            return self.run(&format!("DELETE FROM {name}"), &[]).map(drop);
        }
        let keys;
        let rows = if op == Op::Add {
            self.send(rows, &|rows| statement(table, op, rows))?;
            keys = rows.iter().map(|row| table.key(row)).collect::<Vec<_>>();
            &keys.iter().collect::<Vec<_>>()
        } else {
            rows
        };
        self.send(rows, &|rows| match op {
            Op::Add => {
                let count = table.dialect.quote(COUNT_COLUMN);
                format!("DELETE FROM {name} WHERE {count} = 0 AND ({})", are_keys(table, rows))
            }
            op => statement(table, op, rows),
        })
    }
}

impl Mysql {
    /// Runs what `statement` says for so many rows at once, until all of `rows` have had their turn.
    fn send(&mut self, rows: &[&Row], statement: &dyn Fn(usize) -> String) -> Result<(), Failure> {
        let Connection { runtime, conn, .. } = self.connection()?;
        let mut rest = rows;
        while let Some(first) = rest.first() {
            let most = PARAMETERS / first.len().max(1);
            let bytes = |row: &&Row| row.iter().map(Cell::bytes).sum::<usize>();
            let mut room = BYTES;
            let fit = rest.iter().take_while(|row| {
                let bytes = bytes(row);
                let fits = bytes <= room;
                room = room.saturating_sub(bytes);
                fits
            });
            let fit = fit.count().min(most).max(1);
            let size = SIZES.into_iter().find(|size| *size <= fit).unwrap_or(1);
            let (now, later) = rest.split_at(size);
            let parameters = now.iter().flat_map(|row| row.iter().map(value)).collect();
            within(runtime, STATEMENT, conn.exec_drop(statement(size), Params::Positional(parameters)))?;
            rest = later;
        }
        Ok(())
    }
}

/// What is true of the rows with `count` keys. Not a list of tuples: MariaDB looks at the whole table for it.
fn are_keys(table: &Table, count: usize) -> String {
    let one = table.key_names().iter().map(|name| format!("{name} = ?")).collect::<Vec<_>>().join(" AND ");
    vec![format!("({one})"); count].join(" OR ")
}

/// The statement that does `op` to `count` rows.
fn statement(table: &Table, op: Op, count: usize) -> String {
    let name = &table.quoted;
    if op == Op::Delete {
        return format!("DELETE FROM {name} WHERE {}", are_keys(table, count));
    }
    let places = format!("({})", vec!["?"; table.columns.len()].join(", "));
    let insert = format!("INSERT INTO {name} ({}) VALUES {}", table.names(), vec![places; count].join(", "));
    let sets: Vec<_> = match op {
        Op::Insert => return insert,
        Op::Add => {
            let count = table.dialect.quote(COUNT_COLUMN);
            vec![format!("{count} = {count} + VALUES({count})")]
        }
        // A view all of whose columns are its key is counted, so there is always one that is not.
        _ => table.other_names().iter().map(|it| format!("{it} = VALUES({it})")).collect(),
    };
    format!("{insert} ON DUPLICATE KEY UPDATE {}", sets.join(", "))
}

/// A type of a whole number without the width of its display, which older servers show.
fn without_width(kind: &str) -> String {
    let is_number = kind.contains("int(") && kind != "tinyint(1)";
    match kind.split_once('(').filter(|_| is_number) {
        Some((name, rest)) => format!("{name}{}", rest.split_once(')').map_or("", |(_, rest)| rest)),
        None => kind.to_owned(),
    }
}

fn value(cell: &Cell) -> Value {
    match cell {
        Cell::Null => Value::NULL,
        Cell::Bool(value) => Value::Int(i64::from(*value)),
        Cell::Int(value) => match (i64::try_from(*value), u64::try_from(*value)) {
            (Ok(value), _) => Value::Int(value),
            (_, Ok(value)) => Value::UInt(value),
            _ => Value::Bytes(value.to_string().into_bytes()),
        },
        Cell::Float(value) if value.is_finite() => Value::Double(*value),
        Cell::Float(_) => Value::NULL,
        Cell::Time(millis) => {
            let moment = DateTime::<Utc>::from_timestamp_millis(*millis).filter(|_| is_storable(*millis));
            let text = |moment: DateTime<Utc>| moment.format("%Y-%m-%d %H:%M:%S%.3f").to_string();
            moment.map_or(Value::NULL, |moment| Value::Bytes(text(moment).into_bytes()))
        }
        Cell::Text(text) => Value::Bytes(text.clone().into_bytes()),
        Cell::Digest(bytes) => Value::Bytes(bytes.to_vec()),
    }
}

/// What comes of `future` within `limit`.
fn within<T>(
    runtime: &Runtime,
    limit: Duration,
    future: impl Future<Output = Result<T, Error>>,
) -> Result<T, Failure> {
    match runtime.block_on(async { tokio::time::timeout(limit, future).await }) {
        Ok(result) => result.map_err(failure),
        Err(_) => {
            Err(Failure::Lost(format!("there was no answer for {}", humantime::format_duration(limit))))
        }
    }
}

/// What `error` means.
fn failure(error: Error) -> Failure {
    /// Errors of a server that another attempt may not meet: it is stopping or starting, full, out of memory or connections,
    /// somebody holds a lock, the connection was ended, or it may only be read until it takes over.
    const PASS: [u16; 22] = [
        1021, 1037, 1038, 1040, 1041, 1053, 1077, 1079, 1080, 1158, 1159, 1160, 1161, 1203, 1205, 1213, 1290,
        1317, 1836, 1927, 3032, 3169,
    ];
    match error {
        Error::Server(error) => {
            let text = format!("{} [{} {}]", error.message, error.code, error.state);
            if PASS.contains(&error.code) { Failure::Lost(text) } else { Failure::Refused(text) }
        }
        Error::Io(mysql_async::IoError::Io(error)) => {
            let by_tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
            let text = error.to_string();
            if by_tls { Failure::Refused(text) } else { Failure::Lost(text) }
        }
        Error::Driver(
            error @ (DriverError::ConnectionClosed
            | DriverError::PacketOutOfOrder
            | DriverError::UnexpectedPacket { .. }
            | DriverError::PoolDisconnected),
        ) => Failure::Lost(error.to_string()),
        error => Failure::Refused(error.to_string()),
    }
}
