//! A guide to writing a dataflow: from counting words to joining two streams within a window of time.
//!
//! It is for those who know Rust and need know nothing of timely or differential dataflow. Every program in it is complete,
//! and is run as a test. Read it in order; each step leans on those before it.
//!
//! 1. [`first`]: lines to counts, what a table is, and the two axes: *what* and *when*.
//! 2. [`options`]: what the user of a dataflow can set.
//! 3. [`collections`]: ranking and comparing tables, and the operators of differential dataflow, up to iteration.
//! 4. [`formats`]: records of one's own, and JSON.
//! 5. [`time`]: when things happened, windows, and what is refused.
//! 6. [`keyed`]: sessions, state of one's own, and duplicates.
//! 7. [`tables`]: records and what is known beforehand.
//! 8. [`joins`]: two kinds of records that belong together.
//! 9. [`sources`]: where lines come from.
//! 10. [`shipping`]: getting lines to where they are counted.
//! 11. [`durable`]: state that outlasts the process.
//! 12. [`running`]: testing it, making a command of it, and making it fast.
//! 13. [`own`]: a format, a source and a sink of one's own.
//! 14. [`embedding`]: a dataflow inside another program.
//! 15. [`lessons`]: what courses on streams do with Spark, each by one command.
//!
//! # The words
//!
//! | word | what it means |
//! |---|---|
//! | record | a line as a format reads it; it borrows from the line and is gone after it |
//! | door | an operator that makes rows of records; it has a name, and may have state |
//! | table | rows that change over time, in columns that have names |
//! | facts | a table whose rows are inserted once and never retracted |
//! | collection | what is inside a table: the rows alone, as differential dataflow knows them |
//! | view | a table that is shown, under a name that sinks know it by |
//! | epoch | a batch of lines; all that it changes appears at once |
//! | event time | when a record says that it happened, in milliseconds UTC since 1970 |
//! | watermark | up to when all records are thought to have arrived |
//! | worker | a thread with its own copy of the dataflow and its share of lines and keys |
//!
//! ```text
//!  lines ──▶ format ──▶ records ──▶ by key ──▶ door ──▶ table ──▶ operators ──▶ table ──▶ view
//!            each worker its own lines        │    each worker its own keys
//! ```
//!
//! This module has no code: there is nothing here to import.

pub mod collections;
pub mod durable;
pub mod embedding;
pub mod first;
pub mod formats;
pub mod joins;
pub mod keyed;
pub mod lessons;
pub mod options;
pub mod own;
pub mod running;
pub mod shipping;
pub mod sources;
pub mod tables;
pub mod time;
