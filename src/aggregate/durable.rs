//! The doors of a dataflow by name, and what is durable of them.
//!
//! What a door that keeps totals knows is its rows `(key, total)`, and a row is an update of the multiset that the totals
//! are taken of. So state is taken back by putting the rows into that multiset at the first time: they go through the
//! door's own exchange, to whichever worker owns their key now, at any number of workers.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::panic::Location;
use std::rc::Rc;

use differential_dataflow::ExchangeData;

use super::Total;
use crate::operators::Table;

/// The rows of one door, of one worker.
pub struct DoorRows {
    /// The door.
    pub name: String,
    /// A `Vec<(K, A)>`.
    rows: Box<dyn Any + Send>,
}

impl fmt::Debug for DoorRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DoorRows").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The doors of one dataflow on one worker.
#[derive(Default)]
pub(super) struct Doors {
    /// Where each was opened.
    opened: HashMap<String, &'static Location<'static>>,
    /// Those that keep totals, and how to get at their rows.
    keeping: Vec<(String, Box<dyn Fn() -> Box<dyn Any + Send>>)>,
    /// Whether the dataflow goes on from the rows of another; the same on every worker, whose dataflows must be alike.
    pub(super) restoring: bool,
    /// Rows to go on from that no door has asked for yet.
    restored: Vec<DoorRows>,
}

impl fmt::Debug for Doors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doors")
            .field("opened", &self.opened)
            .field("restored", &self.restored)
            .finish_non_exhaustive()
    }
}

impl Doors {
    /// Doors that go on from `rows`.
    pub(super) fn restored(rows: Vec<DoorRows>) -> Self {
        Doors { restoring: true, restored: rows, ..Doors::default() }
    }

    /// Takes `name` for a door.
    #[track_caller]
    pub(super) fn claim(&mut self, name: &str) {
        let here = Location::caller();
        if let Some(there) = self.opened.insert(name.to_owned(), here) {
            panic!("two doors are named `{name}`: one opened at {there}, one at {here}");
        }
    }

    /// The rows from which door `name` goes on.
    pub(super) fn take<K: 'static, A: 'static>(&mut self, name: &str) -> Vec<(K, A)> {
        let mine = self.restored.extract_if(.., |door| door.name == name);
        mine.flat_map(|door| {
            *door.rows.downcast::<Vec<(K, A)>>().unwrap_or_else(|_| {
                panic!("the rows handed over for door `{name}` are not of the type that it keeps")
            })
        })
        .collect()
    }

    /// Door `name` keeps its totals in `table`.
    pub(super) fn keep<K, A>(&mut self, name: &str, table: Rc<RefCell<Table<K, A>>>)
    where
        K: ExchangeData + Hash,
        A: Total,
    {
        let rows = move || -> Box<dyn Any + Send> {
            let table = table.borrow();
            Box::new(table.rows().map(|(key, total)| (key.clone(), total.clone())).collect::<Vec<_>>())
        };
        self.keeping.push((name.to_owned(), Box::new(rows)));
    }
}

/// What is durable of one worker's dataflow.
#[derive(Clone, Debug)]
pub struct Durable(pub(super) Rc<RefCell<Doors>>);

impl Durable {
    /// The rows of all doors that keep totals: this worker's part of the state as of the last closed epoch, if no later
    /// one has reached the doors.
    pub fn rows(&self) -> Vec<DoorRows> {
        let doors = self.0.borrow();
        doors.keeping.iter().map(|(name, rows)| DoorRows { name: name.clone(), rows: rows() }).collect()
    }

    /// The doors for which there were rows to go on from, but which the dataflow does not have.
    pub fn left_over(&self) -> Vec<String> {
        self.0.borrow().restored.iter().map(|door| door.name.clone()).collect()
    }
}
