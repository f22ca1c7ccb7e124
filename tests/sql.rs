//! Sinks that are databases, each with the same suite: its tables are what the views are, once, whatever becomes of connections,
//! of servers and of other runs.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

#[allow(dead_code, clippy::disallowed_methods, reason = "not all of it is used here, and deadlines are")]
mod cluster_support;
#[allow(dead_code, reason = "not all servers are used here")]
mod services;
mod support;

#[allow(dead_code, reason = "not all certificates are used here")]
#[path = "sockets/certificates.rs"]
mod certificates;
#[path = "sql/databases.rs"]
mod databases;
#[path = "sql/model.rs"]
mod model;
#[path = "sql/proxy.rs"]
mod proxy;
#[path = "sql/suite.rs"]
mod suite;
#[path = "sql/view.rs"]
mod view;

use certificates::{Authority, Valid};
use databases::Database;

/// Who has signed the certificates of servers.
fn authority() -> Authority {
    let authority = Authority::new();
    authority.sign("server", "db.example", Valid::Now);
    authority
}

#[test]
fn sqlite() {
    suite::all(&mut Database::sqlite());
}

#[test]
fn postgres() {
    let authority = authority();
    if let Some(server) = services::databases::Postgres::start(&authority.file("server")) {
        let mut database = Database::Postgres(server);
        suite::tls(&database, &authority);
        suite::all(&mut database);
    }
}

#[test]
fn mariadb() {
    let authority = authority();
    if let Some(server) = services::databases::Mariadb::start(&authority.file("server")) {
        let mut database = Database::Mariadb(server);
        suite::tls(&database, &authority);
        suite::all(&mut database);
    }
}
