//! Snapshots as others read them: state of the first version, which is committed, and DuckDB.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

#[allow(dead_code, clippy::disallowed_methods, reason = "not all of it is used here, and deadlines are")]
mod cluster_support;
#[allow(dead_code, reason = "not all servers are used here")]
mod services;

use std::path::Path;
use std::process::Command;

use thalweg::state::disk::{Line, Loaded, load_newest};
use thalweg::state::inspect;
use thalweg::state::storage::Local;

/// State that the first version wrote, in a place where it may be opened.
fn fixture() -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/state/1");
    for folder in ["incarnations", "manifests", "tables"] {
        std::fs::create_dir(to.path().join(folder)).unwrap();
        for entry in std::fs::read_dir(from.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, to.path().join(folder).join(path.file_name().unwrap())).unwrap();
        }
    }
    to
}

fn newest(root: &Path) -> Loaded {
    let newest = load_newest(&Local::open(root).unwrap(), &Line::new([(1, None)])).unwrap();
    assert!(newest.damaged.is_empty());
    newest.loaded.unwrap()
}

#[test]
fn what_there_is_can_be_looked_at() {
    let root = fixture();
    let storage = Local::open(root.path()).unwrap();
    let snapshots = inspect::list(&storage, &Line::new([(1, None)])).unwrap();
    let snapshots: Vec<_> = snapshots.into_iter().map(Result::unwrap).collect();
    assert!(snapshots.len() >= 3 && snapshots.is_sorted_by(|newer, older| newer.frontier >= older.frontier));
    let doors: Vec<_> = snapshots[0].doors.iter().map(|door| &*door.name).collect();
    assert_eq!(doors, ["windows", "others"]);
    assert!(snapshots[0].doors.iter().all(|door| door.rows > 0 && door.bytes > 0 && door.files > 0));
    assert!(inspect::verify(&storage, &snapshots[0].manifest).is_empty());
    // Every damaged file is named.
    let loaded = newest(root.path());
    let names: Vec<_> =
        loaded.manifest.doors().iter().map(|door| door.parts().last().unwrap().0.name.clone()).collect();
    for name in &names {
        std::fs::write(root.path().join(name), "other bytes").unwrap();
    }
    let errors: Vec<_> = inspect::verify(&storage, &loaded.name).iter().map(ToString::to_string).collect();
    assert!(
        errors.len() == names.len() && names.iter().zip(&errors).all(|(name, error)| error.contains(name)),
        "{errors:?}"
    );
}

#[test]
fn duckdb_reads_the_rows_of_a_door() {
    let Some(python) = services::python("duckdb", "duckdb==2.0.1") else { return };
    let root = fixture();
    let loaded = newest(root.path());
    // Several runs, of which the last counts, and rows that are taken away.
    assert!(loaded.manifest.doors().iter().any(|door| door.parts().any(|(_, table)| !table)));
    for door in loaded.manifest.doors() {
        let query = inspect::duckdb(root.path().to_str().unwrap(), door).unwrap();
        let table = loaded.snapshot.table(door.identity().name()).unwrap();
        let mut expected = Vec::new();
        inspect::write_rows(table, &mut expected).unwrap();
        let program = r#"
import decimal, duckdb, json, sys
def cell(value):
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, decimal.Decimal):
        value = int(value)
        return value if -2**63 <= value < 2**64 else str(value)
    return value
read = duckdb.sql(sys.argv[1])
names = [(f'"{name}"', str(kind)) for name, kind in zip(read.columns, read.types)]
read = read.project(', '.join(f'epoch_ms({name}) AS {name}' if kind.startswith('TIMESTAMP') else name for name, kind in names))
for row in read.fetchall():
    print(json.dumps({name: cell(value) for name, value in zip(read.columns, row)}))
"#;
        let output = Command::new(&python).args(["-c", program, &query]).output().unwrap();
        assert!(output.status.success(), "{query}: {}", String::from_utf8_lossy(&output.stderr));
        let rows = |text: &[u8]| {
            let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            let mut rows: Vec<serde_json::Map<_, _>> =
                lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
            // What only the door can read is left out.
            rows.iter_mut().for_each(|row| row.retain(|name, _| name != "value.2"));
            let mut rows: Vec<_> = rows.iter().map(|row| serde_json::to_string(row).unwrap()).collect();
            rows.sort();
            rows
        };
        let (found, expected) = (rows(&output.stdout), rows(&expected));
        assert!(!expected.is_empty());
        assert_eq!(found, expected, "{query}");
    }
}
