//! Sliding views: what the last complete window holds.

pub(crate) mod doors;
pub(crate) mod machine;
mod ranking;
mod slots;
mod two_stacks;
