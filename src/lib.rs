//! thalweg keeps statistics over live logs up to date.
//!
//! Lines arrive from files and standard input; windowed counts and cumulative per-key state come out as
//! differential-dataflow collections that change incrementally, across worker threads (`-w`) and processes (`-n`).
//!
//! # The map
//!
//! In the order of the data:
//!
//! | module | what it does | what it must not know |
//! |---|---|---|
//! | [`source`] | where bytes come from, and at which offset | formats, dataflow |
//! | [`mod@format`] | bytes to records that borrow from them | dataflow, clock, files |
//! | [`lookup`] | static tables: what is known beforehand of a key | dataflow, log formats, clock |
//! | [`door`] | the doors: records to collections | log formats, clock |
//! | [`operators`] | collections to collections | log formats, sources |
//! | [`state`] | what the doors keep: snapshots, and how they are restored | dataflow, records, clock |
//! | [`sink`] | collections to the world, by whole epochs | dataflow, clock |
//! | [`dataflow`] | what a ready-made job is, and how it is built | |
//! | [`runtime`] | epochs, credits, the worker loop, the cluster, the end | log formats, operators |
//! | [`generate`] | seeded logs, for tests and benchmarks | dataflow, clock |
//! | [`bench`](mod@bench) | the measuring commands | |
//! | [`cli`] | arguments, subcommands | |
//! | [`testing`] | for tests of dataflows | |
//! | [`guide`] | how to write a dataflow, step by step; it has no code | |
//!
//! (`dataflow`, `generate` and `testing` are not in the first design: a dataflow is more than its operators and less
//! than the runtime, and the generators serve the command, the benchmarks and the tests alike.)
//!
//! # Invariants
//!
//! - Two worlds and one door. Records are local, borrowed, and gone with their epoch; collections are shared,
//!   incremental, and take retractions. Only the doors in [`door`] stand between, and only they have state that is
//!   durable: their rows. All behind them follows from these.
//! - What is durable goes through [`state`] alone, in columns and not in the form in which workers exchange it.
//! - Time is data. A record's time, the arrival of an epoch and the watermark made of them are never the timely timestamp, and
//!   no operator reads a clock: the same input, cut and stamped alike, gives the same output at any number of workers.
//! - Operators know collections, not log formats. Formats know bytes, not dataflow.
//! - Only [`runtime`] reads the clock or the environment's variables. Everything else is handed time, or asks it.
//! - Only [`cli`] and the sinks that are asked to write to the terminal; and [`runtime::end`], which says why a process
//!   ends.
//! - A sink sees an epoch once, whole, after it is closed.
//! - Bad input is data: it is counted, sampled and shown, and never a `Result` that stops a worker.
//! - Every queue, line, frame and connection count has a bound by default.
//! - No `unsafe`.
//! - Counts never wrap: overflow is an error that names the key. (Sums within one epoch, and arithmetic of differential
//!   itself, lean on `overflow-checks = true` in the release profile: a package that uses this one wants that, too.)
//!
//! # A dataflow of your own
//!
//! Read the [`guide`], from counting words to joining streams within a window. See [`dataflow::Dataflow`], and the files
//! in `dataflows/`, which use nothing but the public API:
//! `fn main() -> ExitCode { thalweg::cli::main(&[&mine::Mine]) }` makes a command of them.

pub mod bench;
pub mod cli;
pub mod data;
pub mod dataflow;
pub mod door;
pub mod format;
pub mod generate;
pub mod guide;
pub mod lookup;
pub mod operators;
pub mod runtime;
pub mod sink;
pub mod source;
pub mod state;
pub mod testing;
pub mod time;
pub mod view;

// The README's program is compiled as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// What dataflows are written with.
pub mod prelude {
    pub use differential_dataflow::VecCollection;

    pub use crate::data::{Bytes, Distinct, InputCounts, Key, Quantiles, Stats, Stored, Total};
    pub use crate::data::{Cell, Real, Row, Time, by_count};
    pub use crate::dataflow::{Build, Dataflow, Flow, Opt, OptionError, Options};
    pub use crate::door::{Events, Last, Parsed, Partials, Records, Seen, SessionSums, WindowSums, Windowed};
    pub use crate::format::{
        AccessLog, AccessRecord, Format, Json, JsonMode, JsonRecord, Pattern, PatternRecord, Size, Text,
    };
    pub use crate::lookup::{Lookup, LookupKeys};
    pub use crate::operators::{Beside, Threshold, TopK, TopKByGroup, Totals};
    pub use crate::time::Epoch;
    pub use crate::time::{Gap, Span, TimeOptions, Window, Within};
    pub use crate::view::View;
}
