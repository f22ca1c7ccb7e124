//! Each epoch by itself: the family behind [`Grouped::by_epoch`](super::Grouped::by_epoch).

pub(super) mod doors;
mod machine;
