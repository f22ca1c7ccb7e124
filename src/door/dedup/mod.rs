//! Deduplication: the first record of each key within a horizon.

mod doors;
pub(crate) mod machine;
