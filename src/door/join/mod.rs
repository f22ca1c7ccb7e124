//! Joins: pairs of events that happened within a distance of each other.

mod doors;
pub(crate) mod machine;

pub use doors::Events;
