//! Sessions: what a key's records are between two pauses.

pub(crate) mod doors;
pub(crate) mod machine;
