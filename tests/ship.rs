//! `thalweg ship` through the real binary: every line arrives, those of a file in order, whatever
//! becomes of the shipper, of the receiver and of the files.
//!
//! - `receiver`: what the tests receive with, and how they look at what has arrived.
//! - `files`: files that are followed, shippers that are killed, logrotate, the file of offsets.
//! - `ends`: standard input, signals, rates, receivers that are away.
//! - `apache`: the real Apache pipes its log, and is reloaded and restarted under load.
//! - `kafka`: to the real Apache Kafka, with the cargo feature; `ship_brokers.rs` has brokers that are taken down.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

#[path = "ship/apache.rs"]
mod apache;
#[allow(dead_code, clippy::disallowed_methods, reason = "not all of it is used here, and deadlines are")]
mod cluster_support;
#[path = "ship/common.rs"]
mod common;
#[path = "ship/ends.rs"]
mod ends;
#[path = "ship/files.rs"]
mod files;
#[cfg(feature = "kafka")]
#[path = "ship/kafka.rs"]
mod kafka;
#[path = "ship/receiver.rs"]
mod receiver;
#[allow(dead_code, reason = "not all servers are used with every set of features")]
mod services;
mod support;
#[cfg(feature = "kafka")]
#[path = "ship/topic.rs"]
mod topic;
