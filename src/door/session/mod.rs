//! Sessions: stretches of a key's records in which each is less than a gap from its neighbours.

pub(crate) mod doors;
pub(crate) mod machine;
