//! Views: collections with a name and typed columns, on their way to the sinks.
//!
//! ```text
//! collection ── exchange ──▶ Views (worker 0) ── Changed: owned batches ──▶ Contents (each sink's thread) ──▶ sink
//! ```
//!
//! A view knows rows and epochs; it knows neither the doors and operators that its rows come from nor the sinks that
//! show them. Workers only move rows; what is kept of a view for the sake of showing it is kept on the sink's side.

mod batch;
mod contents;
mod keep;
mod outlet;
mod schema;

pub use batch::Batch;
pub(crate) use contents::Compare;
pub use contents::{Contents, Holding, Retracted};
pub use keep::{Keep, KeepError};
pub use outlet::{Changed, Deliveries, Delivery, Outlets, Views};
pub use schema::{Column, Rows, Schema, UnknownKey};

/// A view: a collection that has a name and columns, for sinks to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The name.
    pub name: &'static str,
    /// The names of its columns, in order.
    pub columns: &'static [&'static str],
    /// One line on what its rows are.
    pub about: &'static str,
}
