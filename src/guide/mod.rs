//! A guide to writing a dataflow: from counting words to joining two streams within a window of time.
//!
//! It is for those who know Rust and need know nothing of timely or differential dataflow. Every program in it is complete,
//! and is run as a test. Read it in order; each step leans on those before it.
//!
//! 1. [`first`]: lines to counts, and what a collection is.
//! 2. [`options`]: what the user of a dataflow can set.
//! 3. [`collections`]: ranking, comparing, joining and reducing what doors give.
//! 4. [`formats`]: records of one's own, and JSON.
//! 5. [`time`]: when things happened, windows, and what comes late.
//! 6. [`keyed`]: sessions, state that times out, and duplicates.
//! 7. [`tables`]: records and what is known beforehand.
//! 8. [`joins`]: two kinds of records that belong together.
//! 9. [`running`]: testing it, making a command of it, and making it fast.
//! 10. [`own`]: a format, a source and a sink of one's own.
//! 11. [`embedding`]: a dataflow inside another program.
//!
//! # The words
//!
//! | word | what it means |
//! |---|---|
//! | record | a line as a format reads it; it borrows from the line and is gone after it |
//! | collection | rows, each with how often it is there, that change over time |
//! | door | an operator that makes a collection of records; it has a name, and may have state |
//! | epoch | a batch of lines; all that it changes appears at once |
//! | view | a collection with a name and columns, for sinks to show |
//! | event time | when a record says that it happened, in milliseconds UTC since 1970 |
//! | watermark | up to when all records are thought to have arrived |
//! | worker | a thread with its own copy of the dataflow and its share of lines and keys |
//!
//! ```text
//!  lines ──▶ format ──▶ records ──▶ door ──▶ collection ──▶ operators ──▶ collection ──▶ view
//!            each worker its own lines   │   each worker its own keys
//! ```
//!
//! This module has no code: there is nothing here to import.

pub mod collections;
pub mod embedding;
pub mod first;
pub mod formats;
pub mod joins;
pub mod keyed;
pub mod options;
pub mod own;
pub mod running;
pub mod tables;
pub mod time;
