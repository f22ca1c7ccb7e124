//! Sessions: what a key's records are between two pauses.

pub(crate) mod doors;
mod in_order;
pub(crate) mod machine;
