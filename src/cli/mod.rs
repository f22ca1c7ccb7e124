//! The command line: arguments in, exit code out.
//!
//! Arguments and configuration file are read into strings by name (`given`), and those into checked values once;
//! then something is done. Only this module and the console sink write to the terminal.

mod app;
mod args;
mod bench;
mod cluster;
mod generate;
mod given;
mod list;
mod progress;
mod run;
mod ship;
mod state;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;

pub use app::App;

use crate::data::escape_text;
use crate::dataflow::AnyDataflow;
use crate::runtime::Exit;
use crate::sink::{Stdout, reader_is_gone};

/// The `thalweg` command with `dataflows`; returns when it is done. [`App`] takes sources and sinks, too.
///
/// ```no_run
/// fn main() -> std::process::ExitCode {
///     thalweg::cli::main(&[])
/// }
/// ```
pub fn main(dataflows: &[AnyDataflow]) -> ExitCode {
    App::new(dataflows).main()
}

fn main_from(app: &App, args: impl Iterator<Item = OsString>) -> ExitCode {
    let dataflows = &app.dataflows;
    let matches = match args::command(dataflows).try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return ended(print(&error.render().to_string()));
        }
        Err(error) => {
            let _ = error.print();
            return Exit::Configuration.into();
        }
    };
    ended(match matches.subcommand() {
        // How it went has been told.
        Some(("run", matches)) => match run::run(app, matches) {
            Ok(exit) => return exit.into(),
            Err(failure) => Err(failure),
        },
        Some(("replay", matches)) => match run::replay(app, matches) {
            Ok(exit) => return exit.into(),
            Err(failure) => Err(failure),
        },
        Some(("ship", matches)) => match ship::run(matches) {
            Ok(exit) => return exit.into(),
            Err(failure) => Err(failure),
        },
        Some(("cluster", matches)) => match cluster::cluster(matches) {
            Ok(code) => return code.into(),
            Err(failure) => Err(failure),
        },
        Some(("state", matches)) => state::state(matches),
        Some(("list", matches)) => list::list(dataflows, matches),
        Some(("generate", matches)) => generate::generate(matches),
        Some(("bench", matches)) => bench::bench(dataflows, matches),
        _ => unreachable!("clap knows no other subcommand, and requires one"),
    })
}

/// Says why a subcommand has failed, if it has.
fn ended(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => Exit::Done.into(),
        Err(Failure { exit, error }) => {
            eprint(format_args!("thalweg: {}\n", escape_text(&reason(&error))));
            exit.into()
        }
    }
}

/// Why a subcommand did not do what it was asked, and the exit code that says so.
#[derive(Debug)]
struct Failure {
    exit: Exit,
    error: anyhow::Error,
}

impl Failure {
    fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Failure { exit, error: error.into() }
    }

    fn configuration(error: impl Into<anyhow::Error>) -> Self {
        Failure::new(Exit::Configuration, error)
    }
}

/// What went wrong and why, without the causes that a message has told already.
fn reason(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            text += if text.is_empty() { "" } else { ": " };
            text += &cause;
        }
    }
    text
}

/// Writes to standard error, for people; whoever closed it does not want it.
fn eprint(text: std::fmt::Arguments<'_>) {
    use std::io::Write;
    let _ = std::io::stderr().lock().write_fmt(text);
}

/// Writes to standard output; a reader that has gone away has seen enough.
fn print(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    match Stdout.write_all(text.as_bytes()) {
        Err(error) if !reader_is_gone(&error) => Err(Failure::new(
            Exit::Output,
            anyhow::Error::new(error).context("cannot write to standard output"),
        )),
        _ => Ok(()),
    }
}
