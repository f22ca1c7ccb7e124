//! Window tables: one row a window and key, exact while the window is open, final when it is complete.

pub(crate) mod doors;
pub(crate) mod machine;
pub(crate) mod panes;
pub(crate) mod top;
pub(crate) mod windowed;
