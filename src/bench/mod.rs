//! The measuring commands.

use clap::{ArgMatches, Command};

use crate::cli::Failure;
use crate::dataflow::Dataflow;

pub(crate) fn command() -> Command {
    Command::new("bench").about("Measures")
}

pub(crate) fn main(_dataflows: &[&dyn Dataflow], _matches: &ArgMatches) -> Result<(), Failure> {
    Ok(())
}
