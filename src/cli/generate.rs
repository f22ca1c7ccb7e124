//! `thalweg generate`.

use anyhow::{Context, anyhow};
use clap::{Arg, ArgMatches, Command};

use crate::cli::given::{Given, GivenError};
use crate::cli::{Failure, eprint};
use crate::data::grouped;
use crate::generate;
use crate::generate::{GenerateError, Kind, Options};
use crate::runtime::Exit;
use crate::sink::{Stdout, reader_is_gone};

pub(super) fn command() -> Command {
    let arg = |name: &'static str, value, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let mut command = Command::new("generate")
        .about("Generates a log: the same for the same options, everywhere")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand_value_name("KIND")
        .subcommand_help_heading("Kinds");
    for kind in Kind::ALL {
        let default = Options::default_for(*kind);
        let with = |text: &str, default: String| format!("{text} [default: {default}]");
        command = command.subcommand(
            Command::new(kind.name()).about(kind.about()).args([
                arg("lines", "N", "").help(with(
                    "How many lines, or `unlimited`",
                    default.lines.map_or("unlimited".to_owned(), |n| n.to_string()),
                )),
                arg("seed", "N", "").help(with("Another seed, another log", default.seed.to_string())),
                arg("rate", "N", "").help(with("Lines per second of event time", default.rate.to_string())),
                arg("keys", "N", "")
                    .help(with("Distinct keys (clients, hashtags, words, users)", default.keys.to_string())),
                arg("skew", "X", "")
                    .help(with("Zipf exponent of the keys; 0 is uniform", default.skew.to_string())),
                arg("disorder", "SECONDS", "")
                    .help(with("How far an event time may lag behind", default.disorder.to_string())),
                arg("malformed", "SHARE", "")
                    .help(with("Share of malformed lines, from 0 to 1", default.malformed.to_string())),
                arg("start", "TIME", "").help("Event time of the first line, as 2015-05-17T10:05:00Z"),
                arg("output", "FILE", "Where to write [default: standard output]"),
            ]),
        );
    }
    command
}

pub(super) fn generate(matches: &ArgMatches) -> Result<(), Failure> {
    let (kind, matches) = matches.subcommand().expect("clap requires a kind");
    let given = Given::from_flags(matches);
    let kind: Kind = kind.parse().map_err(Failure::configuration)?;
    let options = options(kind, &given).map_err(Failure::configuration)?;
    options.validate().map_err(Failure::configuration)?;
    let output = given.text("output");
    let mut out: Box<dyn std::io::Write> = match output {
        None | Some("-") => Box::new(Stdout),
        Some(path) => {
            let file = std::fs::File::create(path).with_context(|| format!("cannot create {path}"));
            Box::new(file.map_err(|error| Failure::new(Exit::Output, error))?)
        }
    };
    match generate::generate(kind, &options, &mut out) {
        Ok(summary) => {
            if let Some(path) = output.filter(|path| *path != "-") {
                let bytes = bytesize::ByteSize::b(summary.bytes).display().si();
                eprint(format_args!("{} lines, {bytes} in {path}\n", grouped(summary.lines as i64)));
            }
            Ok(())
        }
        // Whoever read from the pipe has seen enough.
        Err(GenerateError::Write { source, .. }) if reader_is_gone(&source) => Ok(()),
        Err(error) => Err(Failure::new(Exit::Output, error)),
    }
}

fn options(kind: Kind, given: &Given) -> Result<Options, GivenError> {
    let default = Options::default_for(kind);
    let lines = |text: &str| match text {
        "unlimited" => Ok(None),
        number => number.parse().map(Some).map_err(|error| anyhow!("{error} (a number, or `unlimited`)")),
    };
    let start = |text: &str| chrono::DateTime::parse_from_rfc3339(text).map(|time| time.timestamp_millis());
    Ok(Options {
        lines: given.parse("lines", lines)?.unwrap_or(default.lines),
        seed: given.get("seed", default.seed)?,
        rate: given.get("rate", default.rate)?,
        keys: given.get("keys", default.keys)?,
        skew: given.get("skew", default.skew)?,
        disorder: given.get("disorder", default.disorder)?,
        malformed: given.get("malformed", default.malformed)?,
        start: given.parse("start", start)?.unwrap_or(default.start),
    })
}
