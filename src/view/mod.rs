//! Views: collections with a name and typed columns, on their way to the sinks.
//!
//! A view knows rows and epochs; it knows neither the doors and operators that its rows come from nor the sinks that
//! show them.

mod gather;
mod store;

pub(crate) use gather::gather;
pub use store::{Gather, History, ViewOutput, Views};
pub(crate) use store::{Inbox, Multiset, Store, add};

/// A view: a collection that has a name and columns, for sinks to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The name.
    pub name: &'static str,
    /// The names of its columns, in order.
    pub columns: &'static [&'static str],
    /// One line on what its rows are.
    pub about: &'static str,
}
