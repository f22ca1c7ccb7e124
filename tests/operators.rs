//! The operators against oracles: recomputed from scratch at every closed time, at 1, 2 and 4 workers.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

#[path = "operators/closed.rs"]
mod closed;
mod oracle;
#[path = "operators/top_k.rs"]
mod top_k;
#[path = "operators/top_k_by_group.rs"]
mod top_k_by_group;
#[path = "operators/top_k_cost.rs"]
mod top_k_cost;
#[path = "operators/totals.rs"]
mod totals;
