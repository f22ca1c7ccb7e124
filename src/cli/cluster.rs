//! `thalweg cluster`.

use std::time::Duration;

use anyhow::anyhow;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::cli::given::{Given, GivenError};
use crate::cli::{Failure, eprint};
use crate::data::escape_text;
use crate::runtime::{Exit, Supervision, supervise};

const NOTES: &str = "\
The processes find each other on loopback ports that are free, by a secret that is drawn anew each time. What they say on standard error has \
their number before it; standard input and output are those of process 0. When one of them dies, all are started again: with --state \
from the last snapshot, without it from nothing. It is given up after several failures at the same place, after more than --restarts within \
--within, and at once where another attempt would end the same way (a bad command line); the exit code is that of the first failure, or \
128 and the number of the signal that ended it.
SIGINT or SIGTERM ends all of them in order; a second one at once.

  thalweg cluster -n 4 -- run action-counts --follow '/var/log/app/*.log' -w 2 --state /var/lib/thalweg
";

pub(super) fn command() -> Command {
    let arg = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    Command::new("cluster")
        .about("Runs a dataflow in several processes on this machine, and restarts them")
        .arg_required_else_help(true)
        .args([
            arg("processes", "N", "How many processes").short('n').required(true),
            arg("restarts", "K", "How many restarts within --within are tried [default: 10]"),
            arg("within", "TIME", "The time in which restarts are counted [default: 10m]"),
        ])
        .arg(
            Arg::new(RUN)
                .value_name("run DATAFLOW …")
                .required(true)
                .last(true)
                .action(ArgAction::Append)
                .num_args(1..)
                .help("What each process does, behind `--`: as without a cluster"),
        )
        .after_help(format!("{NOTES}\n{}", Exit::HELP))
}

const RUN: &str = "RUN";

/// More processes than this are a slip of the finger, ...
const PROCESSES: usize = 64;
/// ... and so are more restarts.
const RESTARTS: usize = 1_000_000;

pub(super) fn cluster(matches: &ArgMatches) -> Result<u8, Failure> {
    let arguments: Vec<String> = matches.get_many(RUN).into_iter().flatten().cloned().collect();
    if arguments.first().is_none_or(|first| first != "run") {
        return Err(Failure::configuration(anyhow!(
            "what a cluster does is a run\n  hint: `thalweg cluster -n 2 -- run DATAFLOW …`"
        )));
    }
    let options = || arguments.iter().map(String::as_str).take_while(|argument| *argument != "--");
    let own = |text: &&str| {
        let long = ["--processes", "--process", "--hostfile", "--cluster-secret-file"];
        let is_long = long.iter().any(|flag| text.split('=').next() == Some(flag));
        is_long || ["-n", "-p", "-h"].iter().any(|flag| text.starts_with(flag))
    };
    if let Some(flag) = options().find(own) {
        return Err(Failure::configuration(anyhow!(
            "`{flag}` is for the cluster to say, of each process\n  hint: how many there are stands before `--`: `thalweg cluster -n 2 -- run …`"
        )));
    }
    let given = numbers(matches).map_err(Failure::configuration)?;
    let (processes, restarts, within) = given;
    if !options()
        .any(|text| text.split('=').next().is_some_and(|flag| matches!(flag, "--state" | "--config")))
    {
        eprint(format_args!(
            "thalweg: without --state nothing is kept: when a process dies, the run begins from nothing\n"
        ));
    }
    let program = std::env::current_exe().map_err(|error| {
        Failure::new(Exit::Panic, anyhow::Error::new(error).context("cannot find this program's own file"))
    })?;
    let supervision = Supervision {
        program,
        arguments: arguments.into_iter().map(Into::into).collect(),
        processes,
        restarts,
        within,
    };
    let tell = |line: &str| eprint(format_args!("{}\n", escape_text(line)));
    supervise(&supervision, tell).map_err(|error| Failure::new(Exit::Panic, error))
}

fn numbers(matches: &ArgMatches) -> Result<(usize, usize, Duration), GivenError> {
    let given = Given::from_flags(matches);
    let number = |name: &'static str, least: usize, most: usize, default: usize| {
        let read = |text: &str| match text.parse::<usize>() {
            Ok(number) if (least..=most).contains(&number) => Ok(number),
            _ => Err(format!("it must be from {least} to {most}")),
        };
        Ok(given.parse(name, read)?.unwrap_or(default))
    };
    let processes = number("processes", 1, PROCESSES, 1)?;
    let restarts = number("restarts", 0, RESTARTS, 10)?;
    Ok((processes, restarts, given.duration("within", Duration::from_secs(600))?))
}
