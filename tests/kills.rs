//! Runs with state against real servers, killed again and again: in the end every sink has what a run has that nobody killed.
//!
//! Kills are SIGKILL of the real binary, at moments that are drawn from a fixed seed; from one start to the next the number of
//! workers and of processes changes. Each story has several sinks at once, which are killed between their commits and not at
//! them: so all of them, whatever they had then, must come to the same in the end.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

#[allow(dead_code, clippy::disallowed_methods, reason = "not all of it is used here, and deadlines are")]
mod cluster_support;
#[allow(dead_code, reason = "not all servers are used here")]
mod services;
mod support;

#[allow(dead_code, reason = "not all certificates are used here")]
#[path = "sockets/certificates.rs"]
mod certificates;
#[allow(dead_code, reason = "not all of it is used here")]
#[path = "sql/databases.rs"]
mod databases;
#[allow(dead_code, reason = "not all of it is used here")]
#[path = "files/stand.rs"]
mod stand;

#[path = "kills/brokers.rs"]
mod brokers;
#[path = "kills/files.rs"]
mod files;
#[path = "kills/growing.rs"]
mod growing;
#[path = "kills/pipe.rs"]
mod pipe;
#[path = "kills/rounds.rs"]
mod rounds;
#[path = "kills/tables.rs"]
mod tables;
#[path = "kills/topic.rs"]
mod topic;
#[path = "kills/windows.rs"]
mod windows;
