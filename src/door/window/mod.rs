//! Window tables: one row a window and key, exact while the window is open, final when it is complete.

pub(crate) mod doors;
pub(crate) mod machine;
pub(crate) mod panes;
mod top;

pub(crate) use doors::Consumed;
