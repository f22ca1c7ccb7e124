//! The databases that the suite runs on.

use crate::services::databases::{Mariadb, Postgres};

pub enum Database {
    Sqlite(tempfile::TempDir),
    Postgres(Postgres),
    Mariadb(Mariadb),
}

use Database as Db;

impl Database {
    pub fn sqlite() -> Self {
        Db::Sqlite(tempfile::tempdir().unwrap())
    }

    /// Its port, if it is a server.
    pub fn port(&self) -> Option<u16> {
        match self {
            Db::Sqlite(_) => None,
            Db::Postgres(server) => Some(server.port),
            Db::Mariadb(server) => Some(server.port),
        }
    }

    /// A sink with these parameters, by way of another port if there is one.
    pub fn uri_by(&self, port: Option<u16>, parameters: &str) -> String {
        match self {
            Db::Sqlite(dir) => format!("sqlite:{}?{parameters}", dir.path().join("rows.db").display()),
            Db::Postgres(server) => server.uri(port.unwrap_or(server.port), parameters),
            Db::Mariadb(server) => server.uri(port.unwrap_or(server.port), parameters),
        }
    }

    pub fn uri(&self, parameters: &str) -> String {
        self.uri_by(None, parameters)
    }

    /// What a query gives: a line for each row, in order, with `|` between columns.
    pub fn query(&self, sql: &str) -> Vec<String> {
        let mut rows = match self {
            Db::Sqlite(dir) => {
                let connection = rusqlite::Connection::open(dir.path().join("rows.db")).unwrap();
                let mut statement = connection.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
                let columns = statement.column_count();
                let row = |row: &rusqlite::Row<'_>| {
                    let cell = |at| row.get::<_, rusqlite::types::Value>(at).unwrap();
                    let text = |value| match value {
                        rusqlite::types::Value::Null => "null".to_owned(),
                        rusqlite::types::Value::Integer(value) => value.to_string(),
                        rusqlite::types::Value::Real(value) => value.to_string(),
                        rusqlite::types::Value::Text(text) => text,
                        rusqlite::types::Value::Blob(bytes) => format!("{bytes:?}"),
                    };
                    Ok((0..columns).map(|at| text(cell(at))).collect::<Vec<_>>().join("|"))
                };
                statement.query_map([], row).unwrap().map(Result::unwrap).collect::<Vec<_>>()
            }
            Db::Postgres(server) => server.query(sql),
            Db::Mariadb(server) => server.query(sql),
        };
        rows.sort();
        rows
    }

    pub fn execute(&self, sql: &str) {
        if let Db::Sqlite(dir) = self {
            let connection = rusqlite::Connection::open(dir.path().join("rows.db")).unwrap();
            connection.execute_batch(sql).unwrap();
        } else {
            self.query(sql);
        }
    }

    /// A name, quoted.
    pub fn quote(&self, name: &str) -> String {
        match self {
            Db::Mariadb(_) => format!("`{}`", name.replace('`', "``")),
            _ => format!("\"{}\"", name.replace('"', "\"\"")),
        }
    }

    /// The bytes of a column of text, as digits.
    pub fn bytes(&self, column: &str) -> String {
        let column = self.quote(column);
        let bytes = match self {
            Db::Postgres(_) => format!("encode(convert_to({column}, 'UTF8'), 'hex')"),
            _ => format!("lower(hex({column}))"),
        };
        format!("CASE WHEN {column} IS NULL THEN 'null' ELSE {bytes} END")
    }

    /// A column of times, in one form.
    pub fn time(&self, column: &str) -> String {
        let column = self.quote(column);
        match self {
            Db::Sqlite(_) => column,
            Db::Postgres(_) => {
                format!("to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')")
            }
            Db::Mariadb(_) => format!("concat(left(date_format({column}, '%Y-%m-%dT%H:%i:%s.%f'), 23), 'Z')"),
        }
    }

    /// A column of numbers, or NaN where there is none.
    pub fn number(&self, column: &str) -> String {
        let kind = if matches!(self, Db::Mariadb(_)) { "char" } else { "text" };
        format!("coalesce(CAST({} AS {kind}), 'NaN')", self.quote(column))
    }

    pub fn kill(&mut self) {
        match self {
            Db::Sqlite(_) => {}
            Db::Postgres(server) => server.kill(),
            Db::Mariadb(server) => server.kill(),
        }
    }

    pub fn again(&mut self) {
        match self {
            Db::Sqlite(_) => {}
            Db::Postgres(server) => server.again(),
            Db::Mariadb(server) => server.again(),
        }
    }
}
