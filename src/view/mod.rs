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
mod misbuilt;
mod outlet;
mod register;
mod schema;

pub use batch::Batch;
pub(crate) use contents::Compare;
pub use contents::{Contents, Holding, Retracted};
pub use keep::{Keep, KeepError};
pub use misbuilt::Misbuilt;
pub use outlet::{Changed, Deliveries, Delivery, Outlets, Views};
pub use register::Register;
pub use schema::{Column, Finality, Names, Schema};
