//! Joins: pairs of events that happened within a distance of each other.

pub(crate) mod machine;
