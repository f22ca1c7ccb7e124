//! The measuring commands.
//!
//! A figure alone says more about the machine than about the program, so every table has a *baseline*: a plain loop that
//! was written for the one job, without a dataflow, over the same input and run in turn with it. The ratio between the
//! two means something on a noisy machine, too.

mod baseline;
mod baseline_windows;
mod corrections;
mod process;
mod throughput;
mod updates;
mod windows;

use clap::{Arg, ArgMatches, Command};

use crate::cli::Failure;
use crate::dataflow::Dataflow;

/// The subcommands of `thalweg bench`.
pub(crate) fn command() -> Command {
    Command::new("bench")
        .about("Measures, each against a plain loop over the same input")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(throughput::command())
        .subcommand(windows::command())
        .subcommand(updates::command())
        .subcommand(baseline::command())
}

/// Runs `thalweg bench`.
pub(crate) fn main(dataflows: &[&dyn Dataflow], matches: &ArgMatches) -> Result<(), Failure> {
    match matches.subcommand() {
        Some(("throughput", matches)) => throughput::main(dataflows, matches),
        Some(("windows", matches)) => windows::main(matches),
        Some(("updates", matches)) => updates::main(matches),
        Some(("baseline", matches)) => baseline::main(matches),
        _ => unreachable!("clap knows no other subcommand, and requires one"),
    }
}

/// An option with a default.
fn arg(name: &'static str, value: &'static str, default: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).default_value(default).help(help)
}

/// How often everything is measured.
fn rounds_arg() -> Arg {
    arg("rounds", "N", "3", "Rounds over which the median is taken")
        .value_parser(clap::value_parser!(u16).range(1..=1000))
}

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
