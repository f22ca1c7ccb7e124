//! The doors of a dataflow by name, and what is durable of them.
//!
//! What a door knows, it gives as rows that are updates of its own input: totals as differences of the multiset that they
//! are taken of, panes as sums, sessions as sessions. So state is taken back by putting the rows into that input at the
//! first time: they go through the door's own exchange, to whichever worker owns their key now, at any number of workers.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use differential_dataflow::collection::AsCollection;
use differential_dataflow::difference::Semigroup;
use differential_dataflow::{ExchangeData, VecCollection};
use timely::dataflow::operators::ToStream;
use timely::progress::Timestamp;

use crate::time::Epoch;

/// The rows of one door, of one worker.
pub struct DoorRows {
    /// The door.
    pub name: String,
    /// A vector of what the door takes in.
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
    /// Those that keep something, and how to get at their rows.
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
    fn take<U: 'static>(&mut self, name: &str) -> Vec<U> {
        let mine = self.restored.extract_if(.., |door| door.name == name);
        mine.flat_map(|door| {
            *door.rows.downcast::<Vec<U>>().unwrap_or_else(|_| {
                panic!("the rows handed over for door `{name}` are not of the type that it keeps")
            })
        })
        .collect()
    }

    /// `updates` of door `name`, and before them, at the first time, the rows from which it goes on.
    pub(super) fn restore<'scope, D: ExchangeData, R: Semigroup + ExchangeData>(
        &mut self,
        name: &str,
        updates: VecCollection<'scope, Epoch, D, R>,
    ) -> VecCollection<'scope, Epoch, D, R> {
        if !self.restoring {
            return updates;
        }
        let rows = self.take::<(D, R)>(name).into_iter();
        let rows: Vec<_> = rows.map(|(datum, diff)| (datum, Epoch::minimum(), diff)).collect();
        let scope = updates.scope();
        updates.concat(rows.to_stream(scope).as_collection())
    }

    /// Door `name` keeps what `rows` says: updates of its own input.
    pub(super) fn keep<D, R>(&mut self, name: &str, rows: impl Fn() -> Vec<(D, R)> + 'static)
    where
        D: Send + 'static,
        R: Send + 'static,
    {
        self.keeping.push((name.to_owned(), Box::new(move || Box::new(rows()))));
    }
}

/// What is durable of one worker's dataflow.
#[derive(Clone, Debug)]
pub struct Durable(pub(super) Rc<RefCell<Doors>>);

impl Durable {
    /// The rows of all doors that keep something: this worker's part of the state as of the last closed epoch, if no later
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
