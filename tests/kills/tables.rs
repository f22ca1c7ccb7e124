//! What sinks have in the end.

use std::collections::BTreeMap;
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::databases::Database;
use crate::stand::listed;

/// How often each row is there, or how often it came less how often it went, by view.
pub type Sums = BTreeMap<(String, String), i64>;

/// The files of a directory, as a reader finds them who goes by the manifest.
pub struct Directory {
    /// What the changes of all epochs come to.
    pub sums: Sums,
    /// By epoch, how many changes there are of it.
    pub epochs: BTreeMap<u64, usize>,
}

impl Directory {
    /// Files of changes, of any form. No change of an epoch is there twice.
    pub fn read(dir: &Path) -> Self {
        let mut all: BTreeMap<(String, Change), usize> = BTreeMap::new();
        for (view, path) in listed(dir) {
            let changes = match path.extension().and_then(|it| it.to_str()) {
                Some("jsonl") => json_lines(&path),
                Some("csv") => csv_lines(&path),
                Some("parquet") => parquet_rows(&path),
                other => panic!("{path:?} ends with {other:?}"),
            };
            changes.into_iter().for_each(|change| *all.entry((view.clone(), change)).or_default() += 1);
        }
        let mut read = Directory { sums: Sums::new(), epochs: BTreeMap::new() };
        for ((view, change), times) in all {
            assert_eq!(times, 1, "{view}: {change:?} is there {times} times");
            *read.epochs.entry(change.epoch).or_default() += 1;
            *read.sums.entry((view, change.row)).or_default() += change.diff;
        }
        read.sums.retain(|_, sum| *sum != 0);
        read
    }
}

/// A change of a row.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    epoch: u64,
    step: u64,
    diff: i64,
    row: String,
}

fn json_lines(path: &Path) -> Vec<Change> {
    let text = std::fs::read_to_string(path).unwrap();
    let change = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let epoch = line["epoch"].as_u64().unwrap();
        let (step, diff) = (line["step"].as_u64().unwrap_or(0), line["diff"].as_i64().unwrap_or(1));
        Change { epoch, step, diff, row: line["row"].to_string() }
    };
    text.lines().map(change).collect()
}

fn csv_lines(path: &Path) -> Vec<Change> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let names: Vec<_> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let change = |record: csv::StringRecord| {
        let number = |at: usize| record[at].parse::<i64>().unwrap();
        assert_eq!(names[..3], ["_epoch", "_step", "_diff"]);
        let row = record.iter().skip(3).collect::<Vec<_>>().join("|");
        Change { epoch: number(0) as u64, step: number(1) as u64, diff: number(2), row }
    };
    reader.records().map(Result::unwrap).map(change).collect()
}

fn parquet_rows(path: &Path) -> Vec<Change> {
    let reader = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
    let change = |row: parquet::record::Row| {
        let cells: Vec<_> =
            row.get_column_iter().map(|(name, cell)| (name.as_str(), cell.to_string())).collect();
        let number = |at: usize| cells[at].1.parse::<i64>().unwrap();
        assert_eq!([cells[0].0, cells[1].0, cells[2].0], ["_epoch", "_step", "_diff"]);
        let row = cells[3..].iter().map(|(_, cell)| cell.as_str()).collect::<Vec<_>>().join("|");
        Change { epoch: number(0) as u64, step: number(1) as u64, diff: number(2), row }
    };
    reader.get_row_iter(None).unwrap().map(Result::unwrap).map(change).collect()
}

/// Asserts that two say the same, and shows what differs.
#[track_caller]
pub fn same<T: Ord + std::fmt::Debug>(what: &str, found: &[T], expected: &[T]) {
    let more: Vec<_> = found.iter().filter(|row| expected.binary_search(row).is_err()).take(5).collect();
    let fewer: Vec<_> = expected.iter().filter(|row| found.binary_search(row).is_err()).take(5).collect();
    assert!(
        found == expected,
        "{what}: {} rows and not {}: {more:#?} and not {fewer:#?}",
        found.len(),
        expected.len()
    );
}

/// Asserts that the tables with prefix `run_` are those with prefix `oracle_`.
#[track_caller]
pub fn same_tables(database: &Database, name: &str, tables: &[&str]) {
    let rows = |prefix: &str, table: &str| database.query(&format!("SELECT * FROM {prefix}{table}"));
    for table in tables {
        let (found, expected) = (rows("run_", table), rows("oracle_", table));
        assert!(!expected.is_empty(), "{name}: {table} has no rows");
        same(&format!("{name}: {table}"), &found, &expected);
    }
}

/// How far the tables with prefix `run_` have come: the same for all of them.
#[track_caller]
pub fn progress(database: &Database, name: &str) -> (u64, u64) {
    let rows = database
        .query("SELECT DISTINCT epoch, incarnation FROM thalweg_progress WHERE written_table LIKE 'run%'");
    let [row] = rows.as_slice() else { panic!("{name}: the tables have come to {rows:?}") };
    let (epoch, incarnation) = row.split_once('|').unwrap();
    (epoch.parse().unwrap(), incarnation.parse().unwrap())
}

/// The last epoch that the SQLite file at `path` has of any table, counted from one: how far a run has come, for who watches it.
pub fn committed(path: &str) -> u64 {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
    let look = || {
        let connection = rusqlite::Connection::open_with_flags(path, flags)?;
        connection.query_row("SELECT coalesce(max(epoch) + 1, 0) FROM thalweg_progress", [], |row| {
            row.get::<_, i64>(0)
        })
    };
    // Neither the file nor the table need be there yet.
    look().map_or(0, |epoch| epoch as u64)
}
