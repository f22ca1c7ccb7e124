//! The measuring commands.
//!
//! A figure alone says more about the machine than about the program, so every table has a *baseline*: a plain loop that
//! was written for the one job, without a dataflow, over the same input and run in turn with it. The ratio between the
//! two means something on a noisy machine, too.
//!
//! A measurement is a struct of its settings; its `run` returns the figures as text, or a [`BenchError`], and hands notes of
//! how far it is to a function ([`Notes`]). This module knows neither arguments nor the terminal.

mod baseline;
mod baseline_windows;
mod corrections;
mod error;
mod follow;
#[cfg(feature = "kafka")]
mod kafka;
mod latency;
mod memory;
mod process;
mod snapshots;
mod throughput;
mod ticks;
mod updates;
mod windows;

pub use baseline::Baseline;
pub use error::BenchError;
pub use follow::Follow;
#[cfg(feature = "kafka")]
pub use kafka::Kafka;
pub use latency::{Latency, Load};
pub use memory::{Memory, MemoryOf};
pub use snapshots::Snapshots;
pub use throughput::Throughput;
pub use ticks::Ticks;
pub use updates::Updates;
pub use windows::Windows;

/// Takes what a measurement says while it goes on, for people who watch: one line at a time, without a line end.
///
/// The figures come as text when all is done.
pub type Notes<'a> = dyn FnMut(&str) + 'a;

/// `rows` under `heads`, the first column to the left and the others to the right.
fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].len());
        cells.chain([heads[column].len()]).max().unwrap_or(0)
    };
    let mut text = String::new();
    let heads = heads.iter().map(|head| (*head).to_owned()).collect();
    for row in std::iter::once(&heads).chain(rows) {
        let cells = row.iter().enumerate().map(|(column, cell)| match column {
            0 => format!("{cell:<width$}", width = width(0)),
            _ => format!("{cell:>width$}", width = width(column)),
        });
        text += &cells.collect::<Vec<_>>().join("  ");
        text.push('\n');
    }
    text
}

/// The middle of `values`, or of the two in the middle the upper.
fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
