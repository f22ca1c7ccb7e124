//! A sink of files without a dataflow: views that are made up, and a reader that goes by the manifest.

use std::any::Any;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thalweg::data::{CellType, Kind, Value};
use thalweg::sink::{Closed, Ending, Opening, Pause, Shows, Sink, SinkError, SinkSpec};
use thalweg::time::Epoch;
use thalweg::view::{Batch, Column, Contents, Finality, Retracted, Schema};

/// A view whose changes and rows are given.
#[derive(Debug)]
pub struct Given {
    pub schema: Arc<Schema>,
    pub rows: Vec<(isize, Vec<Value<'static>>)>,
}

impl Contents for Given {
    fn schema(&self) -> &Schema {
        &self.schema
    }
    fn apply(&mut self, _: Epoch, _: Option<Batch>, _: Option<Batch>) -> Result<(), Retracted> {
        Ok(())
    }
    fn changes(&self, show: &mut dyn FnMut(isize, &[Value<'_>])) {
        self.rows.iter().for_each(|(diff, row)| show(*diff, row));
    }
    fn values(&self) -> Box<dyn Any + Send + Sync> {
        Box::new(())
    }
    fn has_changed(&self) -> bool {
        !self.rows.is_empty()
    }
    fn rows(&self, limit: usize, show: &mut dyn FnMut(&[Value<'_>])) {
        self.rows.iter().take(limit).for_each(|(_, row)| show(row));
    }
    fn len(&self) -> usize {
        self.rows.len()
    }
    fn left_out(&self) -> u64 {
        0
    }
}

/// A column.
pub fn column(name: &str, kind: Kind, nullable: bool) -> Column {
    Column { name: name.to_owned(), cell: CellType { kind, nullable }, key: false }
}

pub fn schema(name: &str, columns: Vec<Column>) -> Arc<Schema> {
    Arc::new(Schema { name: name.to_owned(), about: String::new(), columns, finality: Finality::Never })
}

/// The views of these tests: `n` with the number of the epoch and of the row, and `odd/ones` with every other epoch.
pub fn schemas() -> Vec<Arc<Schema>> {
    let int = Kind::Int { bits: 64, signed: false };
    let columns = || vec![column("e", int, false), column("i", int, false)];
    vec![schema("n", columns()), schema("odd/ones", columns())]
}

/// The rows of `epoch`, of which there are none in every fourth.
pub fn rows(epoch: u64) -> Vec<Vec<(isize, Vec<Value<'static>>)>> {
    let row = |i: u64| (1, vec![Value::Int(epoch.into()), Value::Int(i.into())]);
    let n = if epoch % 4 == 3 { 0 } else { 1 + epoch % 7 };
    vec![(0..n).map(row).collect(), (0..epoch % 2).map(row).collect()]
}

/// A sink that was opened.
pub struct Stand {
    pub sink: Box<dyn Sink>,
    pub committed: Option<u64>,
}

impl Stand {
    pub fn open(uri: &str, incarnation: u64, state: Option<u128>) -> Result<Self, SinkError> {
        Stand::open_with(uri, incarnation, state, &schemas())
    }

    pub fn open_with(
        uri: &str,
        incarnation: u64,
        state: Option<u128>,
        views: &[Arc<Schema>],
    ) -> Result<Self, SinkError> {
        let spec: SinkSpec = uri.parse().unwrap();
        let shows: Shows = spec.shows(false);
        let mut sink = spec.attach(false).unwrap().sink;
        let committed =
            sink.open(&Opening { incarnation, state, first: 0, shows, views, ending: Ending::default() })?;
        Ok(Stand { sink, committed })
    }

    /// Writes `epoch` in two steps, and completes it.
    pub fn epoch(&mut self, epoch: u64) -> Result<(), SinkError> {
        for (step, (schema, rows)) in (0..).zip(schemas().into_iter().zip(rows(epoch))) {
            let views: Vec<Box<dyn Contents>> = vec![
                Box::new(Given {
                    schema: schemas().remove(0),
                    rows: if step == 0 { rows.clone() } else { vec![] },
                }),
                Box::new(Given { schema, rows: if step == 1 { rows } else { vec![] } }),
            ];
            self.sink.write(&Closed { epoch, step, views: &views, last: false })?;
        }
        self.sink.commit(epoch)
    }

    /// Makes durable what was completed.
    pub fn settle(&mut self) -> Result<(), SinkError> {
        self.sink.settle(Pause::Empty)?;
        assert_eq!(self.sink.behind(), 0);
        Ok(())
    }
}

/// The files that the manifest of `dir` lists, with their views.
pub fn listed(dir: &Path) -> Vec<(String, PathBuf)> {
    let mut entries: Vec<_> =
        std::fs::read_dir(dir.join("_manifest")).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.retain(|path| path.extension().is_some_and(|it| it == "json"));
    entries.sort();
    let mut files = Vec::new();
    for path in entries {
        let entry: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        for file in entry["entry"]["files"].as_array().unwrap() {
            let path = dir.join(file["path"].as_str().unwrap());
            assert_eq!(path.metadata().unwrap().len(), file["bytes"].as_u64().unwrap(), "{path:?}");
            files.push((file["view"].as_str().unwrap().to_owned(), path));
        }
    }
    files
}

/// The rows that the files of JSON lines in `dir` have, by view and epoch.
pub fn found(dir: &Path) -> BTreeMap<(String, u64), Vec<(u64, u64)>> {
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (view, path) in listed(dir) {
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let number = |value: &serde_json::Value| value.as_u64().unwrap();
            let row = (number(&line["row"]["e"]), number(&line["row"]["i"]));
            found.entry((view.clone(), number(&line["epoch"]))).or_default().push(row);
        }
    }
    found
}

/// What should be there of the epochs before `upto`.
pub fn expected(upto: u64) -> BTreeMap<(String, u64), Vec<(u64, u64)>> {
    let mut expected = BTreeMap::new();
    for epoch in 0..upto {
        for (view, rows) in ["n", "odd/ones"].into_iter().zip(rows(epoch)) {
            let rows: Vec<_> = (0..rows.len() as u64).map(|i| (epoch, i)).collect();
            if !rows.is_empty() {
                expected.insert((view.to_owned(), epoch), rows);
            }
        }
    }
    expected
}
