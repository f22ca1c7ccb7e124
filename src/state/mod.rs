//! What is durable of a dataflow: what its doors keep, how that becomes snapshots, and how it is
//! restored.
//!
//! ```text
//!  worker: machines ── put, take, gone before T ──▶ Keep: columns a door ── at a frontier, or 8 MiB ──┐
//!  worker: machines ── …                        ──▶ Keep               ──────────────────────────────┤
//!                                                                                      bounded queue ▼
//!                    Snapshot ◀── load ── Store: base and changes ◀── the last change of each key ── Writer: a thread
//! ```
//!
//! A door is a table, and its rows are its durable state; whatever stands behind it is a function
//! of them. As a door closes an epoch, it says what changed of its rows ([`Keep`]). At a frontier
//! the keeps hand over *owned* batches of columns, the [`Writer`]'s thread finds the last change of
//! each key, and a [`Store`] makes that a [`Snapshot`]: the rows of all doors after all epochs
//! before the frontier. So a snapshot costs what changed, and the workers only the copying.
//!
//! An [`Identity`] goes with each door's rows. State whose rules are not those of the door is
//! refused, with what differs ([`Snapshot::check`]); doors that are new begin with nothing, and
//! those that are gone leave their rows behind.
//!
//! # The end of the input
//!
//! That the input has ended is no change of the state: what a door emits because of that (windows
//! that are complete, keys that time out) takes no row away. So a run that has ended can be given
//! more input, and goes on as if it had been stopped just before. For what adds up such facts to be
//! right as well, the end must be an epoch of its own, without records.
//!
//! Snapshots are kept in memory ([`Memory`]), or as files ([`disk`]) on a [`storage`].
//!
//! This module knows columns, rows and epochs. It knows no dataflow, no source and no clock.

mod changes;
mod consolidate;
pub mod disk;
mod encode;
mod error;
mod identity;
pub mod inspect;
mod keep;
mod snapshot;
mod starts;
pub mod storage;
mod store;
mod writer;

pub use changes::{Batch, Changes};
pub use error::{Refusal, StateError};
pub use identity::{Difference, Identity};
pub use keep::Keep;
pub(crate) use keep::Keeper;
pub use snapshot::{Restored, Snapshot, Table};
pub use starts::{Claim, Starts};
pub use store::{Memory, Store};
pub use writer::{Published, Queue, Writer};

#[cfg(test)]
mod tests;
