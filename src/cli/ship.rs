//! `thalweg ship`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
use clap::{Arg, ArgAction, ArgMatches, Command};
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::cli::given::{Given, GivenError};
use crate::cli::run::start_log;
use crate::cli::{Failure, eprint, progress};
use crate::data::{escape_text, grouped};
use crate::runtime;
use crate::runtime::Exit;
use crate::ship::{Input, Key, OffsetsError, Progress, Receiver, Report, Settings, ShipError, ship};
use crate::source::{FollowFrom, ReadOptions};

const NOTES: &str = "\
Lines are sent in the order of their file, at least once: what was delivered is remembered in the file of offsets, and after a kill the \
rest is sent again. Files are followed through log rotation of every kind; a pattern in quotes takes in files that come to match.
Nothing is lost while the receiver is away: it is tried without end, files wait where they are, and whoever writes to the pipe waits, too.
SIGINT or SIGTERM ends in order, within --stop-timeout; standard input is read to its end until then. A second one ends at once (of \
standard input a second SIGINT, since web servers send several SIGTERM).

  thalweg ship '/var/log/nginx/*.log' kafka://broker:9092/access
  thalweg ship --key field:1 /var/log/app.log 'kafka://a:9092,b:9092/app?kafka.compression.type=lz4'
  thalweg ship --until-caught-up --start beginning old.log.gz tcp://localhost:9999
  CustomLog \"|/usr/local/bin/thalweg ship - kafka://broker:9092/access\" combined
";

pub(super) fn command() -> Command {
    let arg = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    Command::new("ship")
        .about("Sends log lines to Kafka or over TCP, as they are written")
        .arg_required_else_help(true)
        .arg(
            Arg::new(SOURCE)
                .value_name(SOURCE)
                .required(true)
                .action(ArgAction::Append)
                .num_args(1..)
                .help("Files to follow, as PATH or file:PATH (globs), plain, gzip or zstd; or - for standard input"),
        )
        .arg(Arg::new(SINK).value_name(SINK).required(true).help(
            "Where to: kafka://HOST:PORT,…/TOPIC?kafka.OPTION=VALUE&properties=FILE (with the cargo feature `kafka`), \
             or tcp://HOST:PORT",
        ))
        .args([
            arg("offsets", "FILE", "Where to remember what was delivered of each file, or `none` [default: a file for these sources and this sink in $STATE_DIRECTORY, $XDG_STATE_HOME/thalweg or ~/.local/state/thalweg]"),
            flag("renamed", "Go on with offsets of a receiver that was called otherwise"),
            arg("start", "WHERE", "Where to begin in files that are there the first time: beginning or end [default: beginning]"),
            flag("until-caught-up", "End when all that is there has been delivered; a last line without its line end is left for the next time"),
            arg("key", "KEY", "What decides to which partition of Kafka a line goes: none (any), file (its path: all lines of a file in order), field:N (the N-th field: field:1 is the client in an access log) [default: none]"),
            arg("rate", "N", "Lines a second, at most [default: unlimited]"),
            arg("rejects", "FILE", "Where to append lines that can never be delivered: longer than --max-line (their beginning), or than the broker takes"),
            arg("buffer", "SIZE", "How much is held that has not been acknowledged; nothing more is read then [default: 32MiB]"),
            arg("stop-timeout", "TIME", "How long what is under way has to arrive after a signal [default: 30s]"),
            arg("poll", "TIME", "How often files are looked at where the system gives no notice of changes [default: 1s]"),
            arg("max-line", "SIZE", "Longer lines are put aside and counted [default: 1MiB]"),
            arg("log", "LEVEL", "error, warn, info, debug [default: warn]"),
            arg("summary", "FORM", "The last line on stderr: text, json or none [default: text]"),
        ])
        .after_help(format!("{NOTES}\n{}", Exit::HELP))
}

/// The ids of what stands without a flag.
const SOURCE: &str = "SOURCE";
const SINK: &str = "SINK";

pub(super) fn run(matches: &ArgMatches) -> Result<Exit, Failure> {
    let given = Given::from_flags(matches);
    start_log(&given)?;
    let summary = given.text("summary").unwrap_or("text");
    if !["text", "json", "none"].contains(&summary) {
        return Err(Failure::configuration(anyhow!("`--summary {summary}` is not one of text, json, none")));
    }
    let settings = settings(&given)?;
    let is_stdin = settings.input == Input::Stdin;
    let shown = std::io::stderr().is_terminal() && !runtime::is_plain_wanted();
    let progress = Arc::new(Progress { shown, ..Progress::default() });
    // A web server that stops tells all that it has started, and what it has piped to once more as
    // it closes the pipe.
    let again: &[i32] = if is_stdin { &[SIGINT] } else { &[SIGINT, SIGTERM] };
    let signals = runtime::end_on_signals(
        "ending in order, once what is under way has been delivered",
        "ended by a second signal; what was not known to be delivered is sent again",
        again,
    );
    signals.map_err(|error| Failure::new(Exit::Panic, error))?;
    runtime::can_end_in_order();
    runtime::raise_open_files();
    let begun = runtime::now();
    let line = shown.then(|| Line::show(&progress));
    let report = ship(&settings, &progress);
    if let Some(line) = line {
        line.clear();
    }
    let report = report.map_err(|error| Failure::new(exit_of(&error), error))?;
    let seconds = begun.elapsed().as_secs_f64();
    let lost = is_stdin && report.undelivered > 0;
    if lost {
        log::error!(
            "{} lines of standard input were not delivered, and are lost",
            grouped(report.undelivered as i64)
        );
    }
    match summary {
        "json" => eprint(format_args!("{}\n", json(&progress, report, seconds))),
        "text" => eprint(format_args!("{}\n", escape_text(&text(&progress, &settings, report, seconds)))),
        _ => {}
    }
    Ok(match () {
        () if lost => Exit::Output,
        () if report.damaged => Exit::Input,
        () => Exit::Done,
    })
}

fn exit_of(error: &ShipError) -> Exit {
    match error {
        ShipError::Source(_) => Exit::Input,
        ShipError::Offsets(OffsetsError::System { .. }) => Exit::Output,
        ShipError::Offsets(_) => Exit::Configuration,
        ShipError::System { .. } => Exit::Panic,
        ShipError::Receiver { .. } | ShipError::Rejects { .. } => Exit::Output,
    }
}

fn settings(given: &Given) -> Result<Settings, Failure> {
    let sink = given.text(SINK).unwrap_or_default();
    let place = sink.split_once('?').map_or(sink, |(place, _)| place);
    let receiver = Receiver::parse(sink);
    let receiver =
        receiver.map_err(|reason| Failure::configuration(anyhow!("cannot ship to `{place}`: {reason}")))?;
    let input = input(given)?;
    let offsets = match (&input, given.text("offsets")) {
        (Input::Stdin, None) | (_, Some("none")) => None,
        (Input::Stdin, Some(_)) => {
            return Err(Failure::configuration(anyhow!(
                "`--offsets`: standard input has none, it can be read once only"
            )));
        }
        (_, Some("")) => {
            return Err(Failure::configuration(anyhow!("`--offsets`: say which file, or `none`")));
        }
        (_, Some(path)) => Some(PathBuf::from(path)),
        (Input::Files { patterns, .. }, None) => Some(default_offsets(patterns, receiver.name())?),
    };
    tuned(given, input, receiver, offsets).map_err(Failure::configuration)
}

fn tuned(
    given: &Given,
    input: Input,
    receiver: Receiver,
    offsets: Option<PathBuf>,
) -> Result<Settings, GivenError> {
    let default = ReadOptions::default();
    let size = |name, default: u64| Ok(usize::try_from(given.bytes(name, default)?).unwrap_or(usize::MAX));
    let rate = |text: &str| match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err("it is a number of lines a second, above 0"),
    };
    Ok(Settings {
        input,
        receiver,
        key: given.get("key", Key::None)?,
        rate: given.parse("rate", rate)?,
        offsets,
        renamed: given.get("renamed", false)?,
        rejects: given.text("rejects").map(PathBuf::from),
        read: ReadOptions {
            chunk_bytes: 128 << 10,
            max_line: size("max-line", default.max_line as u64)?,
            ..default
        },
        buffer: size("buffer", 32 << 20)?,
        stop_timeout: given.duration("stop-timeout", Duration::from_secs(30))?,
        until_caught_up: given.get("until-caught-up", false)?,
        now: runtime::now,
        stop: runtime::end_requested,
    })
}

fn input(given: &Given) -> Result<Input, Failure> {
    let start = |text: &str| match text {
        "beginning" => Ok(FollowFrom::Beginning),
        "end" => Ok(FollowFrom::End),
        _ => Err("it is one of beginning, end"),
    };
    let start = given.parse("start", start).map_err(Failure::configuration)?.unwrap_or_default();
    let poll = given.duration("poll", Duration::from_secs(1)).map_err(Failure::configuration)?;
    let sources = given.all(SOURCE);
    if sources.iter().any(|source| source == "-" || source == "stdin:") {
        return match sources {
            [_] => Ok(Input::Stdin),
            _ => Err(Failure::configuration(anyhow!(
                "`-` stands alone: standard input ends, and files are followed without end"
            ))),
        };
    }
    let patterns = sources.iter().map(|source| pattern(source)).collect::<Result<_, _>>()?;
    Ok(Input::Files { patterns, start, poll })
}

/// The path or glob that `source` names.
fn pattern(source: &str) -> Result<String, Failure> {
    if Path::new(source).exists() {
        return Ok(source.to_owned());
    }
    let scheme = source.split_once(':').map(|(scheme, _)| scheme);
    let is_scheme =
        |it: &str| it.len() > 1 && it.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let path = match scheme {
        Some("file") => source.trim_start_matches("file:"),
        Some(scheme) if is_scheme(scheme) => {
            return Err(Failure::configuration(anyhow!(
                "`{source}`: files and standard input are shipped, and nothing else\n  hint: `thalweg ship SOURCE… SINK`; the sink \
                 stands last"
            )));
        }
        _ => source,
    };
    match path.rsplit_once('?') {
        Some((path, "follow")) => Ok(path.to_owned()),
        Some((_, options)) if options.contains('=') || options.contains("follow") => {
            Err(Failure::configuration(anyhow!(
                "`{source}`: a source has no options here\n  hint: `--start end` and `--poll TIME` are for all"
            )))
        }
        _ if path.is_empty() => Err(Failure::configuration(anyhow!("`{source}`: say which file"))),
        _ => Ok(path.to_owned()),
    }
}

/// Where offsets are remembered unless it is said where: each set of sources with its receiver has
/// a file of its own.
fn default_offsets(patterns: &[String], receiver: &str) -> Result<PathBuf, Failure> {
    let set = |name: &str| runtime::environment(name).filter(|value| !value.is_empty());
    let service = set("STATE_DIRECTORY").and_then(|all| Some(all.split(':').next()?.into()));
    let user = || {
        let state = set("XDG_STATE_HOME").map(PathBuf::from);
        let state = state.or_else(|| Some(PathBuf::from(set("HOME")?).join(".local/state")))?;
        Some(state.join("thalweg"))
    };
    let directory: PathBuf = service.or_else(user).ok_or_else(|| {
        Failure::configuration(anyhow!(
            "there is no home directory to remember offsets in\n  hint: say where: `--offsets FILE`"
        ))
    })?;
    std::fs::create_dir_all(&directory).map_err(|error| {
        Failure::new(
            Exit::Output,
            anyhow!(
                "cannot create {} for offsets: {error}\n  hint: say where: `--offsets FILE`",
                directory.display()
            ),
        )
    })?;
    let mut what = Sha256::new_with_prefix(receiver);
    for pattern in patterns {
        let whole = std::path::absolute(pattern).unwrap_or_else(|_| pattern.into());
        what.update([0]);
        what.update(whole.as_os_str().as_encoded_bytes());
    }
    let name: String = what.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Ok(directory.join(format!("ship-{name}.offsets")))
}

fn size(bytes: u64) -> impl std::fmt::Display {
    bytesize::ByteSize::b(bytes).display().si()
}

fn text(progress: &Progress, settings: &Settings, report: Report, seconds: f64) -> String {
    use std::fmt::Write;
    let lines = progress.lines.load(Relaxed);
    let mut text = format!(
        "{}{} {} ({}) delivered to {} in {seconds:.2} s: {} lines/s",
        if report.interrupted { "interrupted: " } else { "" },
        grouped(lines as i64),
        if lines == 1 { "line" } else { "lines" },
        size(progress.bytes.load(Relaxed)),
        settings.receiver.name(),
        grouped((lines as f64 / seconds.max(1e-9)) as i64),
    );
    let counts = [
        (progress.rejected.load(Relaxed), "that can never be delivered"),
        (progress.again.load(Relaxed), "sent again"),
        (report.undelivered, "under way and not known to be delivered"),
    ];
    for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
        let _ = write!(text, ", {} {what}", grouped(count as i64));
    }
    if settings.input != Input::Stdin {
        let _ = write!(text, "; {} behind", size(progress.lag.load(Relaxed)));
    }
    if let Some(path) = &settings.offsets {
        let _ = write!(text, "; offsets in {}", path.display());
    }
    text
}

fn json(progress: &Progress, report: Report, seconds: f64) -> String {
    serde_json::json!({
        "lines": progress.lines.load(Relaxed),
        "bytes": progress.bytes.load(Relaxed),
        "again": progress.again.load(Relaxed),
        "rejected": progress.rejected.load(Relaxed),
        "undelivered": report.undelivered,
        "lag": progress.lag.load(Relaxed),
        "interrupted": report.interrupted,
        "seconds": seconds,
    })
    .to_string()
}

/// The progress line on a terminal.
struct Line {
    over: Arc<AtomicBool>,
    drawing: std::thread::JoinHandle<()>,
}

/// How often it is redrawn.
const REDRAW: Duration = Duration::from_millis(500);

impl Line {
    fn show(of: &Arc<Progress>) -> Self {
        let (of, over) = (Arc::clone(of), Arc::new(AtomicBool::new(false)));
        let ended = Arc::clone(&over);
        progress::set_shown(true);
        let drawing = std::thread::spawn(move || {
            let style = ProgressStyle::with_template("{wide_msg}").expect("the template is well formed");
            let bar = ProgressBar::new_spinner().with_style(style);
            let (mut lines, mut at) = (0, runtime::now());
            while !ended.load(Relaxed) {
                let (now, current) = (runtime::now(), of.lines.load(Relaxed));
                let rate = (current - lines) as f64 / now.duration_since(at).as_secs_f64().max(1e-3);
                (lines, at) = (current, now);
                let away = of.away.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let state = away.map_or_else(|| "sending".to_owned(), |why| format!("waiting: {why}"));
                let message = format!(
                    "{} lines, {} delivered  {} lines/s  {} behind  {state}",
                    grouped(current as i64),
                    size(of.bytes.load(Relaxed)),
                    grouped(rate as i64),
                    size(of.lag.load(Relaxed)),
                );
                bar.set_message(escape_text(&message));
                bar.tick();
                std::thread::park_timeout(REDRAW);
            }
            bar.finish_and_clear();
            progress::set_shown(false);
        });
        Line { over, drawing }
    }

    /// Takes it off the terminal.
    fn clear(self) {
        self.over.store(true, Relaxed);
        self.drawing.thread().unpark();
        let _ = self.drawing.join();
    }
}
