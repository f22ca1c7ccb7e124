//! The doors and the views' outputs against naive recomputation, at 1, 2 and 4 workers.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

#[path = "doors/dedup.rs"]
mod dedup;
#[path = "doors/finals.rs"]
mod finals;
#[path = "doors/handing_over.rs"]
mod handing_over;
#[path = "doors/join.rs"]
mod join;
#[path = "doors/keyed.rs"]
mod keyed;
#[path = "doors/lines.rs"]
mod lines;
#[path = "doors/names.rs"]
mod names;
mod oracle;
#[path = "doors/outputs.rs"]
mod outputs;
#[path = "doors/partials.rs"]
mod partials;
#[path = "doors/restoring.rs"]
mod restoring;
#[path = "doors/seconds.rs"]
mod seconds;
#[path = "doors/sessions.rs"]
mod sessions;
#[path = "doors/sinks.rs"]
mod sinks;
#[path = "doors/story.rs"]
mod story;
#[path = "doors/sums.rs"]
mod sums;
#[path = "doors/threads.rs"]
mod threads;
#[path = "doors/window_top.rs"]
mod window_top;
