//! `thalweg state`: what a state has.

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::anyhow;
use clap::{Arg, ArgMatches, Command};

use crate::cli::{Failure, print};
use crate::data::{escape_text, grouped};
use crate::ledger::read_journal;
use crate::runtime::{self, Exit};
use crate::sink::{Stdout, reader_is_gone};
use crate::state::disk::{Loaded, Newest, load_newest};
use crate::state::storage::{self, Storage, StorageError};
use crate::state::{Starts, StateError, inspect};

pub(super) fn command() -> Command {
    let uri =
        || Arg::new("uri").value_name("URI").required(true).help("The state of a run: what --state names");
    let door = |required: bool| {
        let help = "The door, by its name, as `ls` shows it";
        Arg::new("door").value_name("DOOR").required(required).help(help)
    };
    Command::new("state")
        .about("Looks at the state of runs: snapshots, journal, rows")
        .arg_required_else_help(true)
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .subcommand(
            Command::new("ls")
                .about("Lists the snapshots with their doors, and the epochs behind them")
                .arg(uri()),
        )
        .subcommand(
            Command::new("show")
                .about("Shows the rows of a door in the newest snapshot, as JSON lines")
                .arg(uri())
                .arg(door(true)),
        )
        .subcommand(
            Command::new("duckdb")
                .about("Prints the query with which DuckDB reads a door's rows, or those of all doors")
                .arg(uri())
                .arg(door(false)),
        )
        .subcommand(
            Command::new("verify")
                .about("Reads every byte of all snapshots and of the journal, and says what is damaged")
                .arg(uri()),
        )
}

pub(super) fn state(matches: &ArgMatches) -> Result<(), Failure> {
    let (what, matches) = matches.subcommand().expect("clap requires one");
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let uri = text("uri").unwrap_or_default();
    let storage = storage::open(uri, runtime::environment).map_err(Failure::configuration)?;
    let starts = Starts::read(&*storage).map_err(failed)?;
    if starts.claims().is_empty() {
        return Err(Failure::configuration(anyhow!("{uri} has no state of a run")));
    }
    match what {
        "ls" => ls(uri, &storage, &starts),
        "show" => show(&storage, &starts, text("door").unwrap_or_default()),
        "duckdb" => duckdb(&storage, &starts, text("door")),
        _ => verify(&storage, &starts),
    }
}

fn failed(error: impl Into<anyhow::Error>) -> Failure {
    let error = error.into();
    let storage = match error.downcast_ref::<StateError>() {
        Some(StateError::Storage(error)) => Some(error),
        _ => error.downcast_ref::<StorageError>(),
    };
    match storage.is_some_and(StorageError::is_configuration) {
        true => Failure::configuration(error),
        false => Failure::new(Exit::Input, error),
    }
}

fn ls(uri: &str, storage: &Arc<dyn Storage>, starts: &Starts) -> Result<(), Failure> {
    let mut text = String::new();
    let stored = runtime::stored(uri).ok();
    if let Some(stored) = &stored {
        let _ = writeln!(text, "{}, started {} times", stored.dataflow, starts.last());
    }
    if let Some(holder) = storage.holder().map_err(failed)? {
        let _ = writeln!(text, "in use: {}", escape_text(&holder));
    }
    let snapshots = inspect::list(&**storage, &starts.line()).map_err(failed)?;
    let mut oldest = None;
    for snapshot in &snapshots {
        match snapshot {
            Ok(snapshot) => {
                oldest = Some(snapshot.frontier.number());
                let bytes = snapshot.doors.iter().map(|door| door.bytes).fold(0, u64::saturating_add);
                let _ = writeln!(
                    text,
                    "{}  epochs before {}, {}",
                    snapshot.manifest,
                    snapshot.frontier.number(),
                    size(bytes)
                );
                for door in &snapshot.doors {
                    let (rows, name) = (grouped(door.rows), escape_text(&door.name));
                    let _ = writeln!(
                        text,
                        "  {name:30} {rows:>14} rows  {:>10}  {} files",
                        size(door.bytes),
                        door.files
                    );
                }
            }
            Err(error) => {
                let _ = writeln!(text, "damaged: {}", escape_text(&error.to_string()));
            }
        }
    }
    let progress = stored.map(|stored| stored.progress).unwrap_or_default();
    for sink in &progress.sinks {
        let lag = match progress.sealed.saturating_sub(sink.committed) {
            0 => "had committed all that was sealed".to_owned(),
            epochs => format!("was {} epochs behind", grouped(epochs)),
        };
        let _ = writeln!(text, "sink {}: as the newest was made, it {lag}", escape_text(&sink.uri));
    }
    let from = oldest.unwrap_or(0);
    let records = read_journal(&**storage, starts, from).map_err(failed)?;
    let lines: u64 = records.iter().flat_map(|record| &record.reads).map(|read| read.lines).sum();
    let _ = match records.last() {
        None => writeln!(text, "journal: no epochs behind the oldest snapshot"),
        Some(last) => writeln!(
            text,
            "journal: epochs {from} to {}, {} lines; `thalweg replay` shows them once more",
            last.epoch,
            grouped(lines)
        ),
    };
    print(&text)
}

fn size(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().iec().to_string()
}

fn newest(storage: &Arc<dyn Storage>, starts: &Starts) -> Result<Loaded, Failure> {
    let Newest { loaded, damaged } = load_newest(&**storage, &starts.line()).map_err(failed)?;
    damaged.iter().for_each(|why| log::warn!("a newer snapshot is damaged: {why}"));
    loaded.ok_or_else(|| failed(anyhow!("{} has no snapshot yet", storage.uri())))
}

fn no_such(door: &str, known: &[&str]) -> Failure {
    let door = escape_text(door);
    Failure::configuration(anyhow!("the state has no door `{door}`; it has {}", known.join(", ")))
}

fn show(storage: &Arc<dyn Storage>, starts: &Starts, door: &str) -> Result<(), Failure> {
    let loaded = newest(storage, starts)?;
    let Some(table) = loaded.snapshot.table(door) else {
        let known: Vec<_> = loaded.snapshot.tables().iter().map(|table| table.identity().name()).collect();
        return Err(no_such(door, &known));
    };
    let mut to = std::io::BufWriter::new(Stdout);
    let written = inspect::write_rows(table, &mut to).and_then(|()| std::io::Write::flush(&mut to));
    match written {
        Err(error) if !reader_is_gone(&error) => Err(Failure::new(
            Exit::Output,
            anyhow::Error::new(error).context("cannot write to standard output"),
        )),
        _ => Ok(()),
    }
}

fn duckdb(storage: &Arc<dyn Storage>, starts: &Starts, door: Option<&str>) -> Result<(), Failure> {
    let loaded = newest(storage, starts)?;
    let doors = loaded.manifest.doors();
    let names: Vec<_> = doors.iter().map(|door| door.identity().name()).collect();
    if let Some(wanted) = door.filter(|wanted| !names.contains(wanted)) {
        return Err(no_such(wanted, &names));
    }
    let root = storage.uri().strip_prefix("file:").unwrap_or(storage.uri());
    let mut text = storage.for_duckdb().map_or_else(String::new, |first| format!("{first}\n"));
    for of in doors.iter().filter(|of| door.is_none_or(|wanted| wanted == of.identity().name())) {
        if door.is_none() {
            let _ = writeln!(text, "-- {}", escape_text(of.identity().name()));
        }
        let _ = match inspect::duckdb(root, of) {
            Some(query) => writeln!(text, "{query};"),
            None => writeln!(text, "-- it has no row"),
        };
    }
    print(&text)
}

fn verify(storage: &Arc<dyn Storage>, starts: &Starts) -> Result<(), Failure> {
    let names = starts.line().manifests(&**storage).map_err(failed)?;
    let mut damage: Vec<StateError> = Vec::new();
    for name in &names {
        damage.extend(inspect::verify(&**storage, name));
    }
    let oldest = inspect::list(&**storage, &starts.line()).map_err(failed)?;
    let oldest = oldest.iter().rev().find_map(|snapshot| snapshot.as_ref().ok());
    let records = read_journal(&**storage, starts, oldest.map_or(0, |it| it.frontier.number()));
    let mut text = String::new();
    damage.iter().for_each(|error| {
        let _ = writeln!(text, "damaged: {}", escape_text(&error.to_string()));
    });
    match &records {
        Ok(records) => {
            let _ = writeln!(
                text,
                "{} snapshots and {} epochs of the journal were read",
                names.len(),
                records.len()
            );
        }
        Err(error) => {
            let _ = writeln!(text, "damaged: {}", escape_text(&error.to_string()));
        }
    }
    print(&text)?;
    match damage.is_empty() && records.is_ok() {
        true => Ok(()),
        false => Err(failed(anyhow!("the state in {} is damaged", storage.uri()))),
    }
}
