//! thalweg keeps statistics over live logs up to date.
//!
//! Lines arrive from files, standard input and sockets; windowed counts and cumulative per-key state come out as
//! differential-dataflow collections that change incrementally, across worker threads (`-w`) and processes (`-n`).
//!
//! # The map
//!
//! In the order of the data, and with whom each module may know; a test over what the code names (`tests/map.rs`) reads
//! this table and holds it.
//!
//! | module | what it does | may know |
//! |---|---|---|
//! | [`time`] | epochs, event time, watermarks, windows | nothing |
//! | [`data`] | keys, totals, sketches, cells and rows | `time` |
//! | [`lookup`] | static tables: what is known beforehand of a key | nothing |
//! | [`mod@format`] | bytes to records that borrow from them | `time`, `data` |
//! | [`envelope`] | what stands around lines: syslog, containers, the journal | `time`, `format` |
//! | [`source`] | where bytes come from, and at which offset | `time`, `envelope` |
//! | `errand` | what is done beside the workers, on threads | nothing |
//! | `state` | what is durable of the doors, and where | `time`, `data`, `errand` |
//! | `ledger` | which bytes belong to which epoch, and the journal of that | `time`, `envelope`, `errand`, `source`, `state` |
//! | [`operators`] | collections to collections | `time`, `data` |
//! | [`view`] | what a dataflow shows: named rows with typed columns, as owned batches | `time`, `data` |
//! | [`door`] | the doors: records to collections | `time`, `data`, `format`, `envelope`, `source`, `ledger`, `state`, `operators`, `view` |
//! | [`dataflow`] | what a ready-made job is, and how it is built | all above |
//! | [`sink`] | views to the world, by whole epochs, each sink on its own thread | `time`, `data`, `errand`, `source`, `view` |
//! | [`runtime`] | epochs, credits, the worker loop, the cluster, the end | all above |
//! | [`testing`] | for tests of dataflows | all above |
//! | [`generate`] | seeded logs, for tests and benchmarks | nothing |
//! | [`rate`] | generated lines as a live source, at a rate | `time`, `source`, `generate` |
//! | [`ship`] | log lines to Kafka or over TCP, with the offsets of what was delivered | `source` |
//! | [`bench`](mod@bench) | what is measured, each against a plain loop | all above |
//! | [`cli`] | arguments, subcommands, the terminal | all above |
//! | [`guide`] | how to write a dataflow, step by step; it has no code | nothing |
//!
//! So nothing but the command, the measurements and the kit knows the [`runtime`]; a program that embeds this one does, too.
//!
//! # Invariants
//!
//! - Two worlds and one door. Records are local, borrowed, and gone with their epoch; collections are shared,
//!   incremental, and take retractions. Only the doors in [`door`] stand between, and only they have state that is
//!   durable: their rows. All behind them follows from these.
//! - What is durable goes through [`state`] alone, in columns and not in the form in which workers exchange it; but the
//!   offsets of [`ship`], which has no doors.
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
//! `fn main() -> ExitCode { thalweg::cli::main(&[AnyDataflow::of::<Mine>()]) }` makes a command of them.
//! [`cli::App`] takes sources and sinks of your own, too, and [`Run`] is a dataflow inside another program.

pub mod bench;
pub mod cli;
pub mod data;
pub mod dataflow;
pub mod door;
pub mod envelope;
mod errand;
pub mod format;
pub mod generate;
pub mod guide;
pub mod ledger;
pub mod lookup;
pub mod operators;
pub mod rate;
pub mod runtime;
pub mod ship;
pub mod sink;
pub mod source;
pub mod state;
pub mod testing;
pub mod time;
pub mod view;

/// The engines, in the versions that collections and scopes of this crate are of.
pub use {differential_dataflow, timely};

pub use runtime::{Change, Run};

// The README's program is compiled as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Packages that macros of this one, and users of its types, need in the same version.
pub mod reexport {
    pub use {clap, differential_dataflow, serde, timely};
}

/// What dataflows are written with.
pub mod prelude {
    pub use differential_dataflow::VecCollection;

    pub use crate::data::{ByteSize, Bytes, Distinct, InputCounts, Key, Maximum, Minimum, Quantiles};
    pub use crate::data::{Cell, Real, Row, Stats, Stored, Total, by_count};
    pub use clap;

    pub use crate::dataflow::{
        AccessLogOptions, AnyDataflow, Build, BuildError, Dataflow, Flow, OptionError, WindowOptions,
    };
    pub use crate::door::{Events, Facts, KeyedState, Last, Next, Parsed, Partials, Records, Refusal, Rows};
    pub use crate::door::{Seen, Table, Timeout, Windowed, column, flag, number, string, text, time};
    pub use crate::format::{
        AccessLog, AccessRecord, AnyAccessLog, AnyAccessRecord, Fields, Format, Json, JsonMode, JsonRecord,
        LineFormat, Logfmt, LogfmtRecord, Pattern, PatternRecord, Size, Syslog, SyslogRecord, Text,
    };
    pub use crate::key_enum;
    pub use crate::lookup::{Lookup, LookupKeys};
    pub use crate::operators::{TopK, TopKByGroup, Totals};
    pub use crate::time::Epoch;
    pub use crate::time::{Gap, Length, Span, Time, TimeOptions, Window, Within};
}
