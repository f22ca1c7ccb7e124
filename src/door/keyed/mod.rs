//! Keyed state: an arbitrary function of a key's state and its new values, with timeouts.

pub(crate) mod doors;
pub(crate) mod machine;
