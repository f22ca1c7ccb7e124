//! The arguments, and what the usage texts say.

use clap::builder::styling::Styles;
use clap::{Arg, ArgAction, Command};

use crate::dataflow::AnyDataflow;
use crate::runtime::Exit;

const RUN_NOTES: &str = "\
Timely's flags keep their letters, so -h is the host file, and help is --help.
Everything that a flag says can stand in the file that --config names, under the flag's long name; a flag wins.
SIGINT or SIGTERM finishes the open epochs and ends in order; a second one ends at once.";

/// What `--source` takes. Each has its options on its own page of the documentation.
const SOURCES: &str = "\
Sources (the documentation has all their options):
  PATH, file:PATH           files, plain, gzip or zstd; 'PATTERN' for many
  file:PATH?follow          files as they grow (--follow); ?start=end
  dir:PATH                  files put there; ?existing=ignore&glob=GLOB
  -, stdin:                 standard input
  tcp://HOST:PORT           a server to connect to; ?tls=system or ?tls=FILE
  tcp-listen://PORT         clients; ?connections=N&tls-cert=FILE
  kafka://HOST:PORT/TOPIC   topics; ?start=latest&kafka.OPTION=VALUE
  docker: cri: syslog:      what they write; docker+URI for another source
  journald:                 the journal; ?unit=NAME&since=TIME
  rate:LINES_PER_SECOND     lines made up; ?kind=KIND&lines=N&partitions=N
Sources that go on take ?max-rate=LINES and ?max-rate-per-partition=LINES,
a second.";

/// What `--sink` takes. Each has its options on its own page of the documentation.
const SINKS: &str = "\
Sinks (the documentation has all their options):
  console:                  tables, on standard output; ?rows=N
  jsonl:PATH, jsonl:-       JSON lines; csv:PATH, csv:- the rows of one view
  jsonl:DIR/ csv:DIR/       files that are rolled, each epoch once;
  parquet:DIR/              ?roll=64MiB,1m&retain=7d
  sqlite:PATH               a table for each view; ?prefix=TEXT
  postgres://USER@HOST/DB   the same; ?schema=NAME&tls=system
  mysql://USER@HOST/DB      the same, MariaDB too; ?tls=system
  kafka://HOST:PORT/TOPIC   messages by key; ?transactional=ID, {view} in TOPIC
All take ?mode=append|changes|update|complete, at=, keep= and queue=.";

/// Above the options that a dataflow brings.
const OWN: &str = "Options of this dataflow";

/// The whole command.
pub(super) fn command(dataflows: &[AnyDataflow]) -> Command {
    let command = Command::new("thalweg")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Keeps statistics over live logs up to date")
        .after_help(format!("Help is --help: -h is timely's host file.\n{}", Exit::HELP))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .args_override_self(true)
        .styles(Styles::plain())
        .subcommand(run(dataflows))
        .subcommand(
            Command::new("list")
                .about("Lists the dataflows, or one with its views and options")
                .arg(Arg::new("dataflow").value_name("DATAFLOW").help("The dataflow to show")),
        )
        .subcommand(super::cluster::command())
        .subcommand(replay())
        .subcommand(super::state::command())
        .subcommand(super::ship::command())
        .subcommand(super::generate::command())
        .subcommand(super::bench::command());
    long_help_only(command)
}

fn replay() -> Command {
    let arg = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    Command::new("replay")
        .about("Shows epochs of a run with --state once more, as they were")
        .arg_required_else_help(true)
        .arg(arg("state", "URI", "The state of the run").required(true))
        .arg(arg("from", "E", "The first epoch to show").required(true))
        .arg(arg("to", "E", "The last epoch to show").required(true))
        .arg(arg("sink", "URI", "Where to write [default: that of the dataflow]").action(ArgAction::Append))
        .arg(
            arg("source", "URI", "Where the run read, if its source needs a secret, which no state has")
                .action(ArgAction::Append),
        )
        .arg(arg("workers", "N", "Worker threads [default: 1]").short('w'))
        .arg(arg("log", "LEVEL", "error, warn, info, debug [default: warn]"))
        .arg(arg("summary", "FORM", "The last line on stderr: text, json or none [default: text]"))
        .after_help(
            "The lines are read again from where they were, and have to be as they were; what came by pipes and sockets is in the state.\n\
             A state has the epochs behind the oldest snapshot that it keeps: `thalweg state ls URI` says which these are.",
        )
}

fn run(dataflows: &[AnyDataflow]) -> Command {
    let mut run = Command::new("run")
        .about("Runs a dataflow")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand_value_name("DATAFLOW")
        .subcommand_help_heading("Dataflows")
        .after_help(format!("{SOURCES}\n\n{SINKS}\n\n{RUN_NOTES}\n{}", Exit::HELP));
    for dataflow in dataflows {
        let own = own_options(dataflow).into_iter().map(|option| {
            let arg = Arg::new(option.name.clone()).long(option.name).help_heading(OWN);
            let help = match option.default.as_str() {
                "" => option.about,
                default => format!("{} [default: {default}]", option.about),
            };
            let arg = arg.help(help);
            match option.value {
                Some(value) if option.many => arg.value_name(value).action(ArgAction::Append),
                Some(value) => arg.value_name(value).action(ArgAction::Set),
                None => arg.action(ArgAction::SetTrue),
            }
        });
        let defaults = format!("Default source: {}\nDefault sink: {}", dataflow.source(), dataflow.sink());
        run = run.subcommand(
            Command::new(dataflow.name())
                .about(dataflow.about())
                .args(own)
                .args(run_args())
                .after_help(format!("{defaults}\n\n{SOURCES}\n\n{SINKS}\n\n{RUN_NOTES}\n{}", Exit::HELP)),
        );
    }
    run
}

/// An option of a dataflow, as texts about it say it.
pub(super) struct OwnOption {
    pub(super) name: String,
    /// What its value is called; a flag has none.
    pub(super) value: Option<String>,
    pub(super) default: String,
    pub(super) about: String,
    /// Whether it can be given several times.
    pub(super) many: bool,
}

/// The options of `dataflow`.
pub(super) fn own_options(dataflow: &AnyDataflow) -> Vec<OwnOption> {
    let option = |arg: Arg| {
        let default = arg.get_default_values().iter().map(|value| value.to_string_lossy());
        let value = arg.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
        OwnOption {
            name: arg.get_long().unwrap_or_default().to_owned(),
            value: arg.get_action().takes_values().then(|| value.unwrap_or_else(|| "VALUE".to_owned())),
            default: default.collect::<Vec<_>>().join(","),
            about: arg.get_help().map(ToString::to_string).unwrap_or_default(),
            many: matches!(arg.get_action(), ArgAction::Append),
        }
    };
    dataflow.options().into_iter().map(option).collect()
}

/// The id of the paths that stand without a flag; no flag has a name in capitals.
pub(super) const PATHS: &str = "PATH";

/// The arguments of `run` that all dataflows have.
pub(super) fn run_args() -> Vec<Arg> {
    let many = |name: &'static str, value, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help).action(ArgAction::Append)
    };
    let cluster = |arg: Arg| arg.help_heading("Workers and processes");
    let durable = |arg: Arg| arg.help_heading("State that outlasts the run");
    let tuning = |name: &'static str, value, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help).help_heading("Epochs and bounds")
    };
    vec![
        Arg::new(PATHS)
            .value_name("PATH")
            .action(ArgAction::Append)
            .num_args(0..)
            .help("Files to read one after the other, the oldest rotation first; - is standard input"),
        Arg::new("follow").long("follow").action(ArgAction::SetTrue).help(
            "Read on as the files grow, whatever log rotation does with them, and take in new ones that match",
        ),
        many(
            "source",
            "URI",
            "Where to read: a path, a pattern, - for standard input, or a URI as listed below; NAME=URI for an input of that name (repeatable, side by side)",
        ),
        many(
            "sink",
            "URI",
            "Where to write: a URI as listed below, with ?mode=complete|changes|update|append&at=epoch|end&keep=ROWS,TIME|all&queue=BYTES and what is its own (repeatable)",
        ),
        Arg::new("config").long("config").value_name("FILE").help("A TOML file with anything that flags say"),
        Arg::new("log").long("log").value_name("LEVEL").help("error, warn, info, debug [default: warn]"),
        Arg::new("summary")
            .long("summary")
            .value_name("FORM")
            .help("The last line on stderr: text, json or none [default: text]"),
        Arg::new("progress")
            .long("progress")
            .value_name("FORM")
            .help("What to say on stderr while it goes on: auto (on a terminal, a bar or a line), text (a line a second), json (an object a tick) or none [default: auto]"),
        Arg::new("rejects")
            .long("rejects")
            .value_name("FILE")
            .help("Where to put every line that is malformed, longer than --max-line (its beginning) or too far ahead (--max-ahead), as it was read; each process has a file of its own"),
        durable(Arg::new("state").long("state").value_name("URI").help(
            "Where to keep what a later run goes on from: a directory, or s3://BUCKET/PREFIX (with the feature object-store). The same command, started again with it, goes on where this one has ended or was killed, at any number of workers",
        )),
        durable(
            Arg::new("reset")
                .long("reset")
                .action(ArgAction::SetTrue)
                .help("Discard what --state has, and begin with nothing"),
        ),
        durable(
            Arg::new("take-over")
                .long("take-over")
                .action(ArgAction::SetTrue)
                .help("Go on in place of a run that uses --state now, which ends then; without this, a directory in use is refused"),
        ),
        durable(
            Arg::new("snapshot-every")
                .long("snapshot-every")
                .value_name("TIME")
                .help("How long after a snapshot of the state the next is made [default: 10s]"),
        ),
        durable(Arg::new("spool-quota").long("spool-quota").value_name("SIZE").help(
            "How much --state keeps of pipes and sockets, which give nothing twice, before it is in a snapshot; then no more is read [default: 1GiB]",
        )),
        Arg::new("on-data-loss").long("on-data-loss").value_name("WHAT").help(
            "What to do where something has gone that was to be read, or with --state read again. fail: end with an error. continue: go on with what there is, and count what is missing [default: fail]",
        ),
        durable(Arg::new("trigger").long("trigger").value_name("WHEN").help(
            "once: take all that live sources have now, and end; run again, say each night, with the same --state it takes what has come since. live: go on [default: live]",
        )),
        cluster(
            Arg::new("workers")
                .short('w')
                .long("workers")
                .alias("threads")
                .value_name("N")
                .help("Worker threads of each process [default: 1]"),
        ),
        cluster(
            Arg::new("processes").short('n').long("processes").value_name("N").help("Processes [default: 1]"),
        ),
        cluster(
            Arg::new("process")
                .short('p')
                .long("process")
                .value_name("I")
                .help("Which of the processes this is, from 0 [default: 0]"),
        ),
        cluster(
            Arg::new("hostfile")
                .short('h')
                .long("hostfile")
                .value_name("FILE")
                .help("One host:port a line for each process [default: localhost:2101 and on]"),
        ),
        cluster(
            Arg::new("cluster-secret-file")
                .long("cluster-secret-file")
                .value_name("FILE")
                .help("The secret that processes prove to each other (or THALWEG_CLUSTER_SECRET)"),
        ),
        cluster(
            Arg::new("insecure-cluster")
                .long("insecure-cluster")
                .action(ArgAction::SetTrue)
                .help("Do without a secret on addresses that others can reach"),
        ),
        cluster(
            Arg::new("join-timeout")
                .long("join-timeout")
                .value_name("TIME")
                .help("How long the processes may take to come together [default: 60s]"),
        ),
        cluster(
            Arg::new("handshake-timeout")
                .long("handshake-timeout")
                .value_name("TIME")
                .help("How long one connection may take to prove itself [default: 5s]"),
        ),
        tuning(
            "time",
            "CLOCK",
            "Whose clock tells when a record happened: its own (event) or this machine's (arrival) [default: event]",
        ),
        tuning(
            "lateness",
            "TIME",
            "How far behind the newest record of its partition one may be and still be in time [default: 10s]",
        ),
        tuning(
            "idle-timeout",
            "TIME",
            "After how long without a record a live partition holds no window open [default: 1m]",
        ),
        tuning(
            "max-ahead",
            "TIME",
            "Records dated further ahead of their arrival are quarantined [default: 10m]",
        ),
        tuning(
            "keep",
            "ROWS,TIME",
            "How much of what is final whole views keep, or `all` [default: all of input that has an end, otherwise 10000 rows of each]",
        ),
        tuning("tick", "TIME", "How long an epoch of live input lasts [default: 1s]"),
        tuning("epoch-bytes", "SIZE", "How much an epoch of bounded input holds [default: 256MiB]"),
        tuning("chunk-bytes", "SIZE", "How much is read at once [default: 512KiB]"),
        tuning("max-line", "SIZE", "Longer lines are skipped and counted [default: 1MiB]"),
        tuning("max-open-epochs", "N", "Epochs between source and sinks [default: 3]"),
        tuning("max-open-bytes", "SIZE", "Bytes of open epochs above which none is begun [default: 1GiB]"),
        tuning(
            "stall-timeout",
            "TIME",
            "How long nothing may move, or another process say nothing, before the watchdog ends the process [default: 60s]",
        ),
    ]
}

/// Takes `-h` from help, in the command and all below it: it is timely's host file.
fn long_help_only(command: Command) -> Command {
    let help = Arg::new("help").long("help").action(ArgAction::Help).help("Prints help");
    command.disable_help_flag(true).args_override_self(true).arg(help).mut_subcommands(long_help_only)
}
