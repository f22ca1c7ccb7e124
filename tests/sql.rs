//! Sinks that are databases, each with the same suite: its tables are what the views are, once, whatever becomes of connections,
//! of servers and of other runs.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

#[allow(dead_code, clippy::disallowed_methods, reason = "not all of it is used here, and deadlines are")]
mod cluster_support;
#[allow(dead_code, reason = "not all servers are used here")]
mod services;
mod support;

#[path = "sql/databases.rs"]
mod databases;
#[path = "sql/proxy.rs"]
mod proxy;
#[path = "sql/suite.rs"]
mod suite;
#[path = "sql/view.rs"]
mod view;

use databases::Database;

#[test]
fn sqlite() {
    suite::all(&mut Database::sqlite());
}

#[test]
fn postgres() {
    if let Some(server) = services::databases::Postgres::start() {
        suite::all(&mut Database::Postgres(server));
    }
}

#[test]
fn mariadb() {
    if let Some(server) = services::databases::Mariadb::start() {
        suite::all(&mut Database::Mariadb(server));
    }
}
