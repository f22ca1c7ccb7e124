//! Windows and watermarks against naive recomputation: any input, any cut into epochs, any number of workers.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

#[path = "windows/cuts.rs"]
mod cuts;
#[path = "windows/instants.rs"]
mod instants;
#[path = "windows/long.rs"]
mod long;
#[path = "windows/naive.rs"]
mod naive;
mod oracle;
#[path = "windows/watched.rs"]
mod watched;
#[path = "windows/watermarks.rs"]
mod watermarks;
