//! Collections to collections.
//!
//! One trait a file, named after its method, implemented on differential's collections, whose own operators (`map`,
//! `filter`, `join`, `iterate` …) work beside them. Operators know keys, values, times and differences; they know no
//! log format and no source. Every operator here takes retractions, works at any number of workers, and shows each
//! closed time once: what it emits at a time is the change of its result from the time before.

mod closed;
mod full_join;
mod route;
mod top_k;
mod top_k_by_group;
mod totals;

pub use closed::per_closed_time;
pub use full_join::FullJoin;
pub(crate) use route::Routing;
pub use route::route;
pub use top_k::TopK;
pub(crate) use top_k::{Counted, Ordered, Ranked, add, differences, merge_first};
pub use top_k_by_group::TopKByGroup;
pub use totals::{KeyTotals, Totals};
