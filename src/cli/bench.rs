//! `thalweg bench`.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::bench::{
    Baseline, BenchError, Follow, Latency, Load, Memory, MemoryOf, Snapshots, Throughput, Ticks, Updates,
    Windows,
};
use crate::cli::{Failure, eprint, print};
use crate::dataflow::AnyDataflow;
use crate::runtime::Exit;
use crate::time::Length;

pub(super) fn command() -> Command {
    let bench = Command::new("bench")
        .about("Measures, each against a plain loop over the same input")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(throughput())
        .subcommand(windows())
        .subcommand(updates())
        .subcommand(snapshots())
        .subcommand(ticks())
        .subcommand(latency())
        .subcommand(follow())
        .subcommand(memory())
        .subcommand(memory_of())
        .subcommand(baseline());
    #[cfg(feature = "kafka")]
    let bench = bench.subcommand(kafka());
    bench
}

/// Measures, and prints the figures.
pub(super) fn bench(dataflows: &[AnyDataflow], matches: &ArgMatches) -> Result<(), Failure> {
    let mut notes = |note: &str| eprint(format_args!("{note}\n"));
    let measured = match matches.subcommand() {
        Some(("throughput", given)) => {
            let throughput = Throughput {
                dataflow: one(given, "dataflow"),
                options: many(given, "option"),
                file: given.get_one("file").cloned(),
                lines: one(given, "lines"),
                workers: many(given, "workers"),
                processes: many(given, "processes"),
                rounds: one(given, "rounds"),
            };
            throughput.run(dataflows, &mut notes)
        }
        Some(("windows", given)) => {
            let windows = Windows {
                tweets: given.get_one("tweets").cloned(),
                tweet_lines: one(given, "tweet-lines"),
                access_log: given.get_one("access-log").cloned(),
                access_lines: one(given, "access-lines"),
                rounds: one(given, "rounds"),
            };
            windows.run(&mut notes)
        }
        Some(("updates", given)) => {
            let updates = Updates {
                keys: one(given, "keys"),
                workers: one(given, "workers"),
                batches: many(given, "batches"),
            };
            updates.run(&mut notes)
        }
        Some(("snapshots", given)) => {
            let snapshots = Snapshots {
                keys: one(given, "keys"),
                workers: one(given, "workers"),
                batch: one(given, "batch"),
                seconds: one(given, "seconds"),
                rounds: one(given, "rounds"),
            };
            snapshots.run(&mut notes)
        }
        Some(("ticks", given)) => {
            let ticks = Ticks {
                tick: one::<Length>(given, "tick").duration(),
                workers: one(given, "workers"),
                seconds: one(given, "seconds"),
                rounds: one(given, "rounds"),
            };
            ticks.run(&mut notes)
        }
        Some(("latency", given)) => {
            let latency = Latency {
                dataflow: one(given, "dataflow"),
                loads: many(given, "loads"),
                workers: one(given, "workers"),
                partitions: one(given, "partitions"),
                seconds: one(given, "seconds"),
                keys: given.get_one("keys").copied(),
                state: given
                    .get_one::<String>("state")
                    .map(|uri| (uri.clone(), one::<Length>(given, "snapshot-every").duration())),
            };
            latency.run(dataflows, &mut notes)
        }
        Some(("follow", given)) => {
            let follow = Follow {
                dataflow: one(given, "dataflow"),
                file: given.get_one("file").cloned(),
                lines: one(given, "lines"),
                workers: one(given, "workers"),
                rounds: one(given, "rounds"),
            };
            follow.run(&mut notes)
        }
        #[cfg(feature = "kafka")]
        Some(("kafka", given)) => {
            let kafka = crate::bench::Kafka {
                dataflow: one(given, "dataflow"),
                brokers: one(given, "brokers"),
                topic: one(given, "topic"),
                lines: one(given, "lines"),
                options: many(given, "option"),
                workers: one(given, "workers"),
                rounds: one(given, "rounds"),
            };
            kafka.run(&mut notes)
        }
        Some(("memory", given)) => Memory { keys: one(given, "keys") }.run(&mut notes),
        Some(("memory-of", given)) => MemoryOf { door: one(given, "door"), keys: one(given, "keys") }.run(),
        Some(("baseline", given)) => {
            let baseline =
                Baseline { name: one(given, "name"), file: one(given, "file"), output: one(given, "output") };
            baseline.run()
        }
        _ => unreachable!("clap knows no other subcommand, and requires one"),
    };
    print(&measured.map_err(|error| Failure::new(exit(&error), error))?)
}

/// The exit code of a measurement that failed.
fn exit(error: &BenchError) -> Exit {
    match error {
        BenchError::NoSuchDataflow { .. } | BenchError::NoLoop { .. } => Exit::Configuration,
        BenchError::Read { .. } => Exit::Input,
        BenchError::Write { .. } | BenchError::Generate(_) => Exit::Output,
        BenchError::System { .. }
        | BenchError::Run { .. }
        | BenchError::NoFigures { .. }
        | BenchError::Disagree { .. }
        | BenchError::State(_)
        | BenchError::Timely(_) => Exit::Panic,
    }
}

fn one<T: Clone + Send + Sync + 'static>(given: &ArgMatches, name: &str) -> T {
    given.get_one::<T>(name).cloned().expect("it is required or has a default")
}

fn many<T: Clone + Send + Sync + 'static>(given: &ArgMatches, name: &str) -> Vec<T> {
    given.get_many(name).into_iter().flatten().cloned().collect()
}

/// An option with a default.
fn arg(name: &'static str, value: &'static str, default: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).default_value(default).help(help)
}

/// A file to read.
fn file(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("FILE").value_parser(value_parser!(PathBuf)).help(help)
}

fn lines(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    arg(name, "N", default, help).value_parser(value_parser!(u64).range(1..))
}

/// How often everything is measured.
fn rounds() -> Arg {
    arg("rounds", "N", "3", "Rounds over which the median is taken")
        .value_parser(value_parser!(u16).range(1..=1000))
}

fn keys(help: &'static str) -> Arg {
    arg("keys", "N", "1000000", help).value_parser(value_parser!(u64).range(1..=100_000_000))
}

fn worker_threads(default: &'static str, help: &'static str) -> Arg {
    arg("workers", "N", default, help).short('w').value_parser(value_parser!(u16).range(1..=256))
}

/// How long something without an end is measured.
fn seconds() -> Arg {
    arg("seconds", "N", "5", "How long each run is measured").value_parser(value_parser!(u16).range(1..=3600))
}

fn throughput() -> Command {
    let numbers = |name, default, help, most: i64| {
        arg(name, "LIST", default, help).value_delimiter(',').value_parser(value_parser!(u16).range(1..=most))
    };
    Command::new("throughput")
        .about("Lines a second over a file, at several numbers of workers and processes")
        .arg(arg("dataflow", "NAME", "access-log", "The dataflow to run"))
        .arg(file("file", "The file to read [default: a generated one]"))
        .arg(lines("lines", "2000000", "Lines to generate when no file is given"))
        .arg(numbers("workers", "1,2", "Numbers of workers", 256))
        .arg(numbers("processes", "2", "Numbers of processes, of one worker each", 64))
        .arg(
            Arg::new("option")
                .long("option")
                .value_name("NAME=VALUE")
                .action(ArgAction::Append)
                .help("An option of the dataflow; no plain loop is written for what it makes of it"),
        )
        .arg(rounds())
}

fn windows() -> Command {
    Command::new("windows")
        .about("Lines a second over a file, where every sliding window is shown")
        .arg(file("tweets", "Tweets to read [default: generated ones]"))
        .arg(file("access-log", "The access log to read [default: a generated one]"))
        .arg(lines("tweet-lines", "1000000", "Tweets to generate when none are given"))
        .arg(lines("access-lines", "10000000", "Lines to generate when no access log is given"))
        .arg(rounds())
}

fn updates() -> Command {
    Command::new("updates")
        .about("The time from a batch of updates to closed output, with many keys loaded")
        .arg(keys("Keys that are loaded first; for windows, records"))
        .arg(worker_threads("1", "Worker threads"))
        .arg(
            arg("batches", "LIST", "1,10,100,1000,100000", "Updates in a batch")
                .value_delimiter(',')
                .value_parser(value_parser!(u32).range(1..=10_000_000)),
        )
}

fn snapshots() -> Command {
    Command::new("snapshots")
        .about("What a snapshot each second costs, with many keys: lines a second, and the longest epoch")
        .arg(keys("Keys that are counted"))
        .arg(worker_threads("1", "Worker threads"))
        .arg(
            arg("batch", "N", "10000", "Lines of an epoch")
                .value_parser(value_parser!(u32).range(1..=10_000_000)),
        )
        .arg(seconds())
        .arg(rounds())
}

fn ticks() -> Command {
    Command::new("ticks")
        .about("Lines a second of live input at a short tick: with event time, arrival time and none")
        .arg(arg("tick", "TIME", "10ms", "How long an epoch lasts").value_parser(value_parser!(Length)))
        .arg(worker_threads("2", "Worker threads, each with a partition"))
        .arg(seconds())
        .arg(rounds())
}

fn latency() -> Command {
    Command::new("latency")
        .about("The time from a line's arrival to its count at a sink, at a steady rate")
        .arg(arg("dataflow", "NAME", "log-stats", "The dataflow to run"))
        .arg(
            arg("loads", "LIST", "200000@10ms,2000000@50ms", "Lines a second, each with a tick")
                .value_delimiter(',')
                .value_parser(value_parser!(Load)),
        )
        .arg(worker_threads("2", "Worker threads"))
        .arg(
            arg("partitions", "N", "1", "Partitions that share the lines")
                .value_parser(value_parser!(u16).range(1..=256)),
        )
        .arg(
            Arg::new("keys")
                .long("keys")
                .value_name("N")
                .value_parser(value_parser!(u32).range(1..))
                .help("How many clients the lines are of (or words, or devices) [default: 100000]"),
        )
        .arg(
            Arg::new("state")
                .long("state")
                .value_name("DIR")
                .help("Measure each load once more with durable state there, which is discarded first"),
        )
        .arg(
            arg("snapshot-every", "TIME", "1s", "How long after a snapshot the next is made")
                .value_parser(value_parser!(Length)),
        )
        .arg(
            arg("seconds", "N", "60", "How long each load lasts")
                .value_parser(value_parser!(u16).range(1..=3600)),
        )
}

fn follow() -> Command {
    Command::new("follow")
        .about("Lines a second of a file that another process writes as fast as it can, beside reading it at rest")
        .arg(arg("dataflow", "NAME", "access-log", "The dataflow to run"))
        .arg(file("file", "The access log to write from [default: a generated one]"))
        .arg(lines("lines", "5000000", "Lines to generate when no file is given"))
        .arg(worker_threads("1", "Worker threads"))
        .arg(rounds())
}

#[cfg(feature = "kafka")]
fn kafka() -> Command {
    Command::new("kafka")
        .about("Lines a second of a topic, beside a bare consumer that drops what it reads")
        .arg(arg("dataflow", "NAME", "access-log", "The dataflow to run"))
        .arg(arg("brokers", "HOST:PORT", "localhost:9092", "One broker, or several with commas between them"))
        .arg(
            Arg::new("topic")
                .long("topic")
                .value_name("TOPIC")
                .required(true)
                .help("The topic, which must be there"),
        )
        .arg(lines("lines", "5000000", "Lines that it is filled with if it holds nothing"))
        .arg(
            Arg::new("option")
                .long("option")
                .value_name("NAME=VALUE")
                .action(ArgAction::Append)
                .help("An option of librdkafka, for all"),
        )
        .arg(worker_threads("2", "Worker threads"))
        .arg(rounds())
}

fn memory() -> Command {
    Command::new("memory")
        .about("Bytes of memory for each key, at each door")
        .arg(keys("Keys of the smaller of two runs; the other has twice as many"))
}

fn memory_of() -> Command {
    Command::new("memory-of")
        .about("Runs one door over so many keys, for `memory`")
        .hide(true)
        .arg(Arg::new("door").value_name("DOOR").required(true).value_parser(MemoryOf::NAMES))
        .arg(keys("Keys that it is given"))
}

fn baseline() -> Command {
    Command::new("baseline")
        .about("Runs the plain loop for one dataflow, for `throughput` to compare with")
        .arg(Arg::new("name").value_name("DATAFLOW").required(true).value_parser(Baseline::NAMES))
        .arg(Arg::new("file").value_name("FILE").required(true).value_parser(value_parser!(PathBuf)))
        .arg(
            arg("output", "FILE", "/dev/null", "Where windows are written")
                .value_parser(value_parser!(PathBuf)),
        )
}
