//! A database that fails at each statement in turn, before it does what it is asked for or after.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::data::{Bytes, Row as _, Value};
use crate::sink::sql::cell::{Cell, Row};
use crate::sink::sql::database::Failure;
use crate::sink::sql::dialect::Dialect;
use crate::sink::sql::sqlite::Sqlite;
use crate::sink::sql::table::Column;
use crate::sink::{Ending, Shows};
use crate::time::Epoch;
use crate::view::{Batch, Finality, Keep, Names, Retracted, Schema};

/// A database whose statement number `left`, counted down, fails.
#[derive(Debug)]
struct Faulty {
    database: Sqlite,
    left: Arc<AtomicI64>,
    /// Whether it does first what it is asked for: an acknowledgement that is lost.
    does: bool,
}

impl Faulty {
    fn ask<T>(&mut self, ask: impl FnOnce(&mut Sqlite) -> Result<T, Failure>) -> Result<T, Failure> {
        let fails = self.left.fetch_sub(1, Ordering::SeqCst) == 0;
        let lost = || Failure::Lost("as it was planned".to_owned());
        if fails && !self.does {
            return Err(lost());
        }
        let done = ask(&mut self.database)?;
        if fails { Err(lost()) } else { Ok(done) }
    }
}

impl Database for Faulty {
    fn connect(&mut self) -> Result<Dialect, Failure> {
        self.ask(Sqlite::connect)
    }
    fn disconnect(&mut self) {
        self.database.disconnect();
    }
    fn find(&mut self, quoted: &str, name: &str) -> Result<Option<Vec<Column>>, Failure> {
        self.ask(|database| database.find(quoted, name))
    }
    fn run(&mut self, sql: &str, parameters: &[Cell]) -> Result<u64, Failure> {
        self.ask(|database| database.run(sql, parameters))
    }
    fn query(&mut self, sql: &str, parameters: &[Cell]) -> Result<Vec<Vec<Option<String>>>, Failure> {
        self.ask(|database| database.query(sql, parameters))
    }
    fn apply(&mut self, table: &Table, op: Op, rows: &[&Row]) -> Result<(), Failure> {
        self.ask(|database| database.apply(table, op, rows))
    }
}

type Pair = (Bytes, i64);

/// A view of which a test says what changes.
#[derive(Debug)]
struct View {
    schema: Schema,
    rows: BTreeMap<Pair, isize>,
    changes: Vec<(Pair, isize)>,
}

impl View {
    fn new(name: &str, key: &[&str], finality: Finality) -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let names = Names { all: Some(owned(&["word", "n"])), key: owned(key) };
        let schema = Schema::new::<Pair>(name, "", &names, finality).expect("two names");
        View { schema, rows: BTreeMap::new(), changes: Vec::new() }
    }

    fn change(&mut self, changes: &[(&str, i64, isize)]) {
        let change = |(word, n, diff): &(&str, i64, isize)| ((Bytes::from(*word), *n), *diff);
        self.changes = changes.iter().map(change).collect();
        for (row, diff) in &self.changes {
            *self.rows.entry(row.clone()).or_default() += diff;
        }
        self.rows.retain(|_, count| *count != 0);
    }
}

impl Contents for View {
    fn schema(&self) -> &Schema {
        &self.schema
    }
    fn apply(&mut self, _: Epoch, _: Option<Batch>, _: Option<Batch>) -> Result<(), Retracted> {
        unreachable!("tests say what changes")
    }
    fn changes(&self, show: &mut dyn FnMut(isize, &[Value<'_>])) {
        for (row, diff) in &self.changes {
            row.show(&mut |values| show(*diff, values));
        }
    }
    fn values(&self) -> Box<dyn Any + Send + Sync> {
        Box::new(())
    }
    fn has_changed(&self) -> bool {
        !self.changes.is_empty()
    }
    fn rows(&self, limit: usize, show: &mut dyn FnMut(&[Value<'_>])) {
        let each = self.rows.iter().flat_map(|(row, count)| std::iter::repeat_n(row, *count as usize));
        each.take(limit).for_each(|row| row.show(show));
    }
    fn len(&self) -> usize {
        self.rows.values().sum::<isize>() as usize
    }
    fn left_out(&self) -> u64 {
        0
    }
}

/// What changes in each of three epochs: of a view with a key, of one without, of facts.
const EPOCHS: [[&[(&str, i64, isize)]; 3]; 3] = [
    [&[("a", 1, 1), ("b", 1, 1)], &[("x", 1, 2)], &[("f", 1, 1)]],
    [&[("a", 1, -1), ("a", 2, 1), ("b", 1, -1)], &[("x", 1, -1), ("y", 2, 1)], &[("f", 1, 1)]],
    [&[("b", 5, 1)], &[("x", 1, -1)], &[("g", 2, 2)]],
];

/// What they come to.
const ROWS: [(&str, &[&str]); 3] = [
    ("SELECT word || n FROM keyed ORDER BY 1", &["a2", "b5"]),
    ("SELECT word || n || thalweg_count FROM counted ORDER BY 1", &["y21"]),
    ("SELECT word || n FROM facts ORDER BY 1", &["f1", "f1", "g2", "g2"]),
];

fn views() -> Vec<Box<dyn Contents>> {
    let views = [
        View::new("keyed", &["word"], Finality::Never),
        View::new("counted", &[], Finality::Never),
        View::new("facts", &[], Finality::AtOnce),
    ];
    views.into_iter().map(|view| Box::new(view) as Box<dyn Contents>).collect()
}

fn faulty(path: &std::path::Path, left: i64, does: bool) -> (Sql, Arc<AtomicI64>) {
    let left = Arc::new(AtomicI64::new(left));
    let database = Faulty { database: Sqlite::new(path.to_owned()), left: Arc::clone(&left), does };
    let options = Options { prefix: String::new(), schema: None, wait: Duration::from_secs(30) };
    (Sql::new("faulty:", options, Box::new(database)), left)
}

fn opening<'a>(schemas: &'a [Arc<Schema>], incarnation: u64) -> Opening<'a> {
    let shows = Shows { mode: Mode::Update, at: At::EveryEpoch, keep: Keep::ALL };
    Opening { incarnation, state: Some(1), first: 0, shows, views: schemas, ending: Ending::default() }
}

fn changed(epoch: usize) -> Vec<Box<dyn Contents>> {
    let named = [("keyed", &["word"][..]), ("counted", &[]), ("facts", &[])].into_iter().zip(EPOCHS[epoch]);
    let view = |((name, key), changes): ((&str, &[&str]), &[_])| {
        let finality = if name == "facts" { Finality::AtOnce } else { Finality::Never };
        let mut view = View::new(name, key, finality);
        view.change(changes);
        Box::new(view) as Box<dyn Contents>
    };
    named.map(view).collect()
}

/// Shows the epochs from `from` on, each committed by itself.
fn show(sink: &mut Sql, from: usize) {
    for epoch in from..EPOCHS.len() {
        let views = changed(epoch);
        sink.write(&Closed { epoch: epoch as u64, step: 0, views: &views, last: false })
            .expect("it is written");
        sink.commit(epoch as u64).expect("it is complete");
        sink.settle(Pause::Empty).expect("it is committed");
        assert_eq!(sink.behind(), 0);
    }
    sink.finish().expect("it ends");
}

fn assert_rows(path: &std::path::Path, what: &str) {
    let connection = rusqlite::Connection::open(path).expect("it is a database");
    for (sql, expected) in ROWS {
        let mut statement = connection.prepare(sql).expect("there is such a table");
        let rows = statement.query_map([], |row| row.get(0)).expect("it can be read");
        let rows: Vec<String> = rows.map(|row| row.expect("text")).collect();
        assert_eq!(rows, expected, "{what}: {sql}");
    }
}

#[test]
fn a_statement_that_fails_anywhere_is_not_done_twice_and_not_left_out() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let schemas: Vec<_> = views().iter().map(|view| Arc::new(view.schema().clone())).collect();
    let statements = {
        let path = dir.path().join("whole.db");
        let (mut sink, left) = faulty(&path, -1, false);
        sink.open(&opening(&schemas, 1)).expect("it opens");
        show(&mut sink, 0);
        assert_rows(&path, "no fault");
        -1 - left.load(Ordering::SeqCst)
    };
    assert!(statements > 30, "{statements}");
    let fails = |statement: i64, does: bool| {
        let what = format!("statement {statement}, done: {does}");
        let path = dir.path().join(format!("{statement}{does}.db"));
        let (mut sink, left) = faulty(&path, statement, does);
        assert_eq!(sink.open(&opening(&schemas, 1)).expect("it opens"), None, "{what}");
        sink.begin(&views()).expect("it begins");
        show(&mut sink, 0);
        assert!(left.load(Ordering::SeqCst) < 0, "{what}");
        assert_rows(&path, &what);
        // The next run is told how far it is.
        let (mut next, _) = faulty(&path, -1, false);
        assert_eq!(next.open(&opening(&schemas, 2)).expect("it opens"), Some(2), "{what}");
    };
    std::thread::scope(|scope| {
        let fails = &fails;
        for does in [false, true] {
            for part in 0..4 {
                scope.spawn(move || {
                    (part..statements).step_by(4).for_each(|statement| fails(statement, does))
                });
            }
        }
    });
}

#[test]
fn a_run_that_dies_anywhere_is_gone_on_from() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let schemas: Vec<_> = views().iter().map(|view| Arc::new(view.schema().clone())).collect();
    for dies in 0..40 {
        let path = dir.path().join(format!("{dies}.db"));
        let (mut sink, _) = faulty(&path, dies, dies % 2 == 0);
        // It dies where the statement fails: there is no other attempt.
        let mut attempt = || -> Result<(), Trouble> {
            sink.run = Run { state: "1".to_owned(), incarnation: 1, holder: format!("{dies}"), first: 0 };
            sink.take(&opening(&schemas, 1))?;
            for epoch in 0..EPOCHS.len() {
                let views = changed(epoch);
                let closed = Closed { epoch: epoch as u64, step: 0, views: &views, last: false };
                sink.write(&closed)
                    .and_then(|()| sink.commit(epoch as u64))
                    .expect("nothing is asked for yet");
                sink.transact(epoch as u64, false)?;
                for written in &mut sink.tables {
                    written.pending.done();
                    written.has = Some(epoch as u64);
                }
                sink.behind = 0;
            }
            Ok(())
        };
        let _ = attempt();
        drop(sink);
        let (mut next, _) = faulty(&path, -1, false);
        next.run.state = "1".to_owned();
        let state = Opening { state: None, ..opening(&schemas, 2) };
        // The same state under the name that the first run gave it.
        next.run = Run { state: "1".to_owned(), incarnation: 2, holder: "next".to_owned(), first: 0 };
        next.take(&state).expect("it opens");
        let committed = next.tables.iter().map(|written| written.has).min().flatten();
        show(&mut next, committed.map_or(0, |epoch| epoch as usize + 1));
        assert_rows(&path, &format!("died at {dies}"));
    }
}

#[test]
fn a_database_that_stays_away_ends_a_run_that_begins_or_ends() {
    #[derive(Debug)]
    struct Away;
    impl Database for Away {
        fn connect(&mut self) -> Result<Dialect, Failure> {
            Err(Failure::Lost("nobody is there".to_owned()))
        }
        fn disconnect(&mut self) {}
        fn find(&mut self, _: &str, _: &str) -> Result<Option<Vec<Column>>, Failure> {
            unreachable!("it never connects")
        }
        fn run(&mut self, _: &str, _: &[Cell]) -> Result<u64, Failure> {
            unreachable!("it never connects")
        }
        fn query(&mut self, _: &str, _: &[Cell]) -> Result<Vec<Vec<Option<String>>>, Failure> {
            unreachable!("it never connects")
        }
        fn apply(&mut self, _: &Table, _: Op, _: &[&Row]) -> Result<(), Failure> {
            unreachable!("it never connects")
        }
    }
    let options = Options { prefix: String::new(), schema: None, wait: Duration::from_millis(120) };
    let mut sink = Sql::new("away:", options, Box::new(Away));
    let error = sink.open(&opening(&[], 1)).expect_err("nobody is there").to_string();
    assert!(error.contains("`away:`") && error.contains("cannot be reached: nobody is there"), "{error}");
    sink.progress = Some(Progress::new(Dialect::Sqlite, None));
    sink.commit(0).expect("it is put off");
    assert_eq!(sink.behind(), 1);
    assert!(sink.settle(Pause::Over).is_err() && sink.finish().is_err());
}
