//! Deduplication: the first record of each key within a horizon.

pub(crate) mod machine;
