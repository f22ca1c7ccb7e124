//! Sinks of files: what the manifest lists holds each epoch once, whole, whenever the writer dies.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

#[allow(dead_code, clippy::disallowed_methods, reason = "not all of it is used here, and deadlines are")]
mod cluster_support;
#[path = "files/crashes.rs"]
mod crashes;
#[path = "files/forms.rs"]
mod forms;
#[path = "files/stand.rs"]
mod stand;
