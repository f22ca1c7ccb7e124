//! The `thalweg` command: the library's command line with the dataflows of `dataflows/`.

use std::process::ExitCode;

#[path = "../dataflows/mod.rs"]
mod dataflows;

fn main() -> ExitCode {
    thalweg::cli::main(dataflows::ALL)
}
