//! `thalweg run`.

use std::fmt::Write;
use std::num::IntErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use clap::ArgMatches;

use crate::cli::args::{PATHS, own_options};
use crate::cli::given::{Given, GivenError};
use crate::cli::progress;
use crate::cli::{App, Failure, eprint};
use crate::data::{escape_text, grouped};
use crate::dataflow::AnyDataflow;
use crate::runtime;
use crate::runtime::cluster::{localhost_addresses, parse_hostfile};
use crate::runtime::{
    Again, ClusterSettings, DurableSettings, Exit, Report, RunError, Settings, Stored, Usage,
};
use crate::sink::SinkSpec;
use crate::source::{
    FileSource, FollowFrom, FollowSource, OnDataLoss, Progress, ReadOptions, Source, SourceError,
    SourceUriError, Sources,
};
use crate::time::{Clock, TimeOptions};
use crate::view::Keep;

pub(super) fn run(app: &App, matches: &ArgMatches) -> Result<Exit, Failure> {
    let (name, matches) = matches.subcommand().expect("clap requires a dataflow");
    let dataflow =
        app.dataflows.iter().find(|dataflow| dataflow.name() == name).expect("clap knows them all");
    let common = super::args::run_args();
    let common = common.iter().filter_map(|arg| arg.get_long()).filter(|name| *name != "config");
    let own: Vec<_> = own_options(dataflow).into_iter().map(|option| option.name).collect();
    let known: Vec<_> = common.chain(own.iter().map(String::as_str)).collect();
    let given = Given::read(matches, name, &known).map_err(Failure::configuration)?;
    start_log(&given)?;
    let settings = settings(&given, app, dataflow)?;
    go(dataflow, &given, settings)
}

/// Shows epochs of an earlier run once more: what it was asked for, its state knows.
pub(super) fn replay(app: &App, matches: &ArgMatches) -> Result<Exit, Failure> {
    let given = Given::from_flags(matches);
    start_log(&given)?;
    let uri = given.text("state").unwrap_or_default();
    let Stored { dataflow: name, arguments, .. } =
        runtime::stored(uri).map_err(|error| Failure::new(error.exit(), error))?;
    let dataflow = app.dataflows.iter().find(|dataflow| dataflow.name() == name);
    let dataflow = dataflow.ok_or_else(|| {
        Failure::configuration(anyhow!(
            "the state in {uri} is of dataflow `{name}`, which this program has not"
        ))
    })?;
    let number = |name| given.parse(name, str::parse::<u64>).map_err(Failure::configuration);
    let (from, upto) = (number("from")?.unwrap_or(0), number("to")?.unwrap_or(0));
    if from > upto {
        return Err(Failure::configuration(anyhow!("there are no epochs from {from} to {upto}")));
    }
    let given = given.over(arguments);
    let mut settings = settings(&given, app, dataflow)?;
    if let Some(durable) = &mut settings.durable {
        durable.again = Some(Again { from, upto });
    }
    go(dataflow, &given, settings)
}

fn go(dataflow: &AnyDataflow, given: &Given, mut settings: Settings) -> Result<Exit, Failure> {
    let name = dataflow.name();
    let summary = match given.text("summary").unwrap_or("text") {
        form @ ("text" | "json" | "none") => form,
        other => {
            return Err(Failure::configuration(anyhow!(
                "`--summary {other}` is not one of text, json, none"
            )));
        }
    };
    let defaulted = given.all("source").is_empty() && given.all(PATHS).is_empty();
    let own: Vec<_> = own_options(dataflow).into_iter().map(|option| option.name).collect();
    let own = own.iter().flat_map(|name| given.all(name).iter().map(|value| (name.as_str(), value.as_str())));
    let build = dataflow.prepare(own).map_err(Failure::configuration)?;

    runtime::end_with_supervisor().map_err(|error| Failure::new(Exit::Panic, error))?;
    runtime::end_in_order_on_signals().map_err(|error| Failure::new(Exit::Panic, error))?;
    let progress = Arc::new(Progress::default());
    let form = given.text("progress");
    let shown = progress::show(form, name, &mut settings, &progress).map_err(|error| {
        Failure::configuration(anyhow!("`--progress {}`: {error}", form.unwrap_or_default()))
    })?;
    let report = runtime::run(&build, &settings, progress);
    shown.clear();
    let report = report.map_err(|error| match error {
        RunError::Source(SourceError::NotFound { cwd, .. }) if defaulted => {
            Failure::new(Exit::Input, no_default_source(dataflow, &cwd))
        }
        error => Failure::new(error.exit(), error),
    })?;
    match (report.nothing(), report.no_rows()) {
        // Whoever has closed a pager has seen enough.
        _ if report.unread => {}
        (Some(why), _) => log::error!("{why}"),
        (None, Some(what)) if !report.interrupted => log::warn!("{what}"),
        _ => {}
    }
    match summary {
        // Whoever has closed a pager or taken the first lines is not told about the rest.
        "text" if report.unread => {}
        "json" => eprint(format_args!("{}\n", summary_json(&report))),
        "text" => eprint(format_args!("{}\n", summary_text(&report, &settings))),
        _ => {}
    }
    Ok(report.exit())
}

pub(super) fn start_log(given: &Given) -> Result<(), Failure> {
    let read = |text: &str| text.parse().map_err(|_| "it is one of error, warn, info, debug, off");
    let level = given.parse("log", read).map_err(Failure::configuration)?.unwrap_or(log::LevelFilter::Warn);
    let mut logger = env_logger::Builder::new();
    logger.filter_level(level).format(|out, record| {
        use std::io::Write;
        let text = escape_text(&record.args().to_string());
        progress::wipe(out)?;
        writeln!(out, "thalweg: {}: {text}", record.level().as_str().to_lowercase())
    });
    // A second run in one process keeps the first's logger.
    let _ = logger.try_init();
    Ok(())
}

fn settings(given: &Given, app: &App, dataflow: &AnyDataflow) -> Result<Settings, Failure> {
    let sources = sources(given, &app.sources, dataflow)?;
    let known = app.sinks.clone().plain(runtime::is_plain_wanted()).environment(runtime::environment);
    let sinks = match given.all("sink") {
        [] => vec![known.parse(dataflow.sink())],
        uris => uris.iter().map(|uri| known.parse(uri)).collect(),
    };
    let sinks = sinks.into_iter().collect::<Result<Vec<SinkSpec>, _>>().map_err(Failure::configuration)?;
    let keep = given.parse("keep", str::parse::<Keep>).map_err(Failure::configuration)?;
    let sinks = sinks.into_iter().map(|sink| keep.map_or(sink.clone(), |keep| sink.keeping(keep))).collect();
    let tuned = tuned(given, sources, sinks).map_err(Failure::configuration)?;
    let cluster = cluster(given)?;
    let goes_by = [("the configuration", "config"), ("the host file", "hostfile")];
    let goes_by =
        goes_by.iter().filter_map(|(what, name)| Some(((*what).to_owned(), given.text(name)?.into())));
    Ok(Settings { cluster, goes_by: goes_by.collect(), ..tuned })
}

/// The sources, each with the input that it is for, if it says so.
fn sources(given: &Given, known: &Sources, dataflow: &AnyDataflow) -> Result<Vec<Named>, Failure> {
    let (stdin, paths): (Vec<_>, Vec<_>) = given.all(PATHS).iter().partition(|path| *path == "-");
    let is_uri = |path: &str| path.contains(':') && known.open(path).is_ok() && !Path::new(path).exists();
    if let Some(uri) = paths.iter().find(|path| is_uri(path)) {
        return Err(Failure::configuration(anyhow!(
            "`{uri}` stands where a path does, and there is no such file\n  hint: a URI is given as `--source {uri}`"
        )));
    }
    let mut sources: Vec<Named> = Vec::new();
    let follow = given.get("follow", false).map_err(Failure::configuration)?;
    if follow && !paths.is_empty() {
        sources.push((None, Arc::new(FollowSource::new(&paths, FollowFrom::Beginning))));
    } else if !paths.is_empty() {
        sources.push((None, Arc::new(FileSource::sequence(&paths))));
    }
    // What stands on the command line counts, and not what the configuration says beside it.
    let uris: Vec<&str> = match given.all("source") {
        [] if given.all(PATHS).is_empty() => vec![dataflow.source()],
        _ if !given.all(PATHS).is_empty() && !given.is_flag("source") => Vec::new(),
        uris => uris.iter().map(String::as_str).collect(),
    };
    for uri in stdin.into_iter().map(String::as_str).chain(uris) {
        let uri = if follow { known.following(uri) } else { uri.into() };
        sources.push(known.open(&uri).map_err(|SourceUriError { uri, reason, .. }| {
            Failure::configuration(anyhow!("`--source {uri}`: {reason}"))
        })?);
    }
    let mut live = std::collections::BTreeSet::new();
    match sources.iter().find(|(_, source)| !source.is_bounded() && !live.insert(source.uri())) {
        Some((_, twice)) => {
            Err(Failure::configuration(anyhow!("`--source {}`: it can be read once only", twice.uri())))
        }
        None => Ok(sources),
    }
}

/// Reads the name of a file for rejected lines.
fn rejects(name: &str) -> Result<PathBuf, &'static str> {
    match name {
        "" => Err("say which file"),
        "-" => Err("it is a file, and standard output is for what sinks show (/dev/stderr is a file, too)"),
        name => Ok(name.into()),
    }
}

/// Says that the source which `dataflow` reads unless it is told otherwise is not there: it is relative, and few stand
/// where it is.
fn no_default_source(dataflow: &AnyDataflow, cwd: &Path) -> anyhow::Error {
    let (name, source) = (dataflow.name(), dataflow.source());
    anyhow!(
        "{name} was not told what to read, and its default source {source} is not in {}\n  \
         hint: say what to read: `thalweg run {name} my.log`, `thalweg run {name} --source URI`, or `-` for standard input",
        cwd.display()
    )
}

/// A source, and the input of the dataflow that it is for.
type Named = (Option<String>, Arc<dyn Source>);

fn tuned(given: &Given, sources: Vec<Named>, sinks: Vec<SinkSpec>) -> Result<Settings, GivenError> {
    let default = Settings::default();
    let max_line = given.bytes("max-line", default.read.max_line as u64)?;
    let epoch_bytes = given.bytes("epoch-bytes", default.epoch_bytes)?;
    Ok(Settings {
        sources,
        sinks,
        rejects: given.parse("rejects", rejects)?,
        goes_by: Vec::new(),
        workers: positive(given, "workers", default.workers)?,
        cluster: None,
        read: ReadOptions {
            // An epoch holds whole chunks, so small epochs want small chunks.
            chunk_bytes: given.bytes("chunk-bytes", default.read.chunk_bytes.min(epoch_bytes))?,
            max_line: usize::try_from(max_line).unwrap_or(usize::MAX),
            on_data_loss: given.parse("on-data-loss", on_data_loss)?.unwrap_or_default(),
        },
        epoch_bytes,
        time: time(given)?,
        tick: given.duration("tick", default.tick)?,
        max_open_epochs: positive(given, "max-open-epochs", default.max_open_epochs as usize)? as u64,
        max_open_bytes: given.bytes("max-open-bytes", default.max_open_bytes)?,
        stall_timeout: given.duration("stall-timeout", default.stall_timeout)?,
        reports: None,
        durable: durable(given)?,
        once: given.parse("trigger", once)?.unwrap_or(false),
    })
}

/// Whether live sources are read as far as they are now, and no further.
fn once(text: &str) -> Result<bool, &'static str> {
    match text {
        "once" => Ok(true),
        "live" => Ok(false),
        _ => Err("it is one of once, live"),
    }
}

fn on_data_loss(text: &str) -> Result<OnDataLoss, &'static str> {
    match text {
        "fail" => Ok(OnDataLoss::Fail),
        "continue" => Ok(OnDataLoss::Continue),
        _ => Err("it is one of fail, continue"),
    }
}

/// Where the run is to be durable, if it is.
fn durable(given: &Given) -> Result<Option<DurableSettings>, GivenError> {
    let every = given.duration("snapshot-every", DurableSettings::EVERY)?;
    let reset = given.get("reset", false)?;
    let take_over = given.get("take-over", false)?;
    let uri = given.text("state").map(str::to_owned);
    let spool = given.bytes("spool-quota", DurableSettings::SPOOL)?;
    let arguments = given.remembered();
    let again = None;
    Ok(uri.map(|uri| DurableSettings { uri, reset, take_over, every, spool, again, arguments }))
}

fn time(given: &Given) -> Result<TimeOptions, GivenError> {
    let default = TimeOptions::default();
    let clock = |text: &str| match text {
        "event" => Ok(Clock::Event),
        "arrival" => Ok(Clock::Arrival),
        _ => Err("it is one of event, arrival"),
    };
    Ok(TimeOptions {
        clock: given.parse("time", clock)?.unwrap_or(default.clock),
        lateness: given.duration_or_none("lateness", default.lateness)?,
        idle_timeout: given.duration("idle-timeout", default.idle_timeout)?,
        max_ahead: given.duration_or_none("max-ahead", default.max_ahead)?,
    })
}

/// More workers, processes or epochs than this are a slip of the finger.
const MANY: usize = 1024;

fn positive(given: &Given, name: &str, default: usize) -> Result<usize, GivenError> {
    let read = |text: &str| match text.parse::<usize>() {
        Ok(number @ 1..=MANY) => Ok(number),
        // Too many digits for any number are too many, too.
        Err(error) if *error.kind() != IntErrorKind::PosOverflow => Err(error.to_string()),
        _ => Err(format!("it must be from 1 to {MANY}")),
    };
    Ok(given.parse(name, read)?.unwrap_or(default))
}

fn cluster(given: &Given) -> Result<Option<ClusterSettings>, Failure> {
    let processes = positive(given, "processes", 1).map_err(Failure::configuration)?;
    let process = given.get("process", 0usize).map_err(Failure::configuration)?;
    if process >= processes {
        return Err(Failure::configuration(anyhow!(
            "`--process {process}`: processes are numbered from 0, and there are {processes}\n  hint: say how many there are with -n"
        )));
    }
    if processes == 1 {
        return match given.text("hostfile") {
            Some(path) => Err(Failure::configuration(anyhow!(
                "`--hostfile {path}` names the hosts of a cluster, and there is one process\n  hint: say how many there are with -n"
            ))),
            None => Ok(None),
        };
    }
    let addresses = match given.text("hostfile") {
        Some(path) => parse_hostfile(path, processes).map_err(Failure::configuration)?,
        None => runtime::supervised_addresses()
            .filter(|supervised| supervised.len() == processes)
            .unwrap_or_else(|| localhost_addresses(processes)),
    };
    let insecure = given.get("insecure-cluster", false).map_err(Failure::configuration)?;
    let timeout =
        |name, seconds| given.duration(name, Duration::from_secs(seconds)).map_err(Failure::configuration);
    Ok(Some(ClusterSettings {
        process,
        addresses,
        secret_file: given.text("cluster-secret-file").map(Into::into),
        secret: runtime::environment(runtime::SECRET_VARIABLE),
        insecure,
        join_timeout: timeout("join-timeout", 60)?,
        handshake_timeout: timeout("handshake-timeout", 5)?,
    }))
}

fn summary_text(report: &Report, settings: &Settings) -> String {
    let seconds = report.elapsed.as_secs_f64();
    let Some(counts) = report.counts else {
        let process = settings.cluster.as_ref().map_or(0, |cluster| cluster.process);
        return format!("process {process}: done in {seconds:.2} s; process 0 has the figures");
    };
    let interrupted = if report.interrupted { "interrupted after " } else { "" };
    let lines = if counts.lines == 1 { "line" } else { "lines" };
    let mut text = format!(
        "{interrupted}{} {lines}: {} parsed, {} malformed",
        grouped(counts.lines),
        grouped(counts.parsed),
        grouped(counts.malformed)
    );
    if counts.oversize > 0 {
        let _ = write!(text, ", {} longer than --max-line", grouped(counts.oversize));
    }
    let times = [
        (counts.untimed, "without a time"),
        (counts.ahead, "too far ahead"),
        (counts.late_records, "refused as too late (see --lateness)"),
    ];
    for (count, what) in times.into_iter().filter(|(count, _)| *count > 0) {
        let _ = write!(text, ", {} {what}", grouped(count));
    }
    let rate = counts.lines as f64 / seconds.max(1e-9);
    let bytes = bytesize::ByteSize::b(counts.bytes.max(0) as u64).display().si();
    let _ = write!(text, "; {bytes} in {seconds:.2} s: {} lines/s", grouped(rate as i64));
    let lost = report.sources.iter().filter(|source| source.lost > 0);
    for source in lost {
        let _ = write!(
            text,
            "\n  {}: {} {} had gone before they could be read",
            escape_text(&source.uri),
            grouped(source.lost),
            progress::unit(source.unit)
        );
    }
    // One that has an end was read to it, and its lines are all that there are.
    let each = report.sources.iter().filter(|_| report.sources.len() > 1 || !settings.is_bounded());
    for source in each {
        let lag = progress::lag(source, report.elapsed);
        let _ = write!(text, "\n  {}: {} lines, {lag}", escape_text(&source.uri), grouped(source.lines));
    }
    text
}

fn summary_json(report: &Report) -> String {
    let usage = Usage::now();
    let counts = report.counts;
    let seconds = report.elapsed.as_secs_f64();
    serde_json::json!({
        "lines": counts.map(|counts| counts.lines),
        "parsed": counts.map(|counts| counts.parsed),
        "malformed": counts.map(|counts| counts.malformed),
        "oversize": counts.map(|counts| counts.oversize),
        "untimed": counts.map(|counts| counts.untimed),
        "ahead": counts.map(|counts| counts.ahead),
        "late": counts.map(|counts| counts.late),
        "late_records": counts.map(|counts| counts.late_records),
        "bytes": counts.map(|counts| counts.bytes),
        "sources": report.sources.iter().map(|source| serde_json::json!({
            "uri": source.uri,
            "lines": source.lines,
            "bytes": source.bytes,
            "partitions": source.partitions,
            "behind": source.behind,
            "lost": source.lost,
            "newest": source.newest.map(|time| time.to_string()),
        })).collect::<Vec<_>>(),
        "interrupted": report.interrupted,
        "epochs": counts.map(|_| report.epochs),
        "seconds": seconds,
        "lines_per_second": counts.map(|counts| counts.lines as f64 / seconds.max(1e-9)),
        "cpu_seconds": usage.cpu.as_secs_f64(),
        "peak_memory": usage.peak_memory,
    })
    .to_string()
}
