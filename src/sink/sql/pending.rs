//! What epochs have done to a table, in sum.

use indexmap::IndexMap;
use indexmap::map::Entry;

use crate::data::Value;
use crate::sink::sql::SqlError;
use crate::sink::sql::cell::{Cell, Row};
use crate::sink::sql::table::{Holds, Table};

/// What a row was before, and what it is now.
#[derive(Debug, PartialEq)]
struct Net {
    was: Option<Row>,
    now: Option<Row>,
}

/// What epochs have done to a table that is not in the database yet.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Whether all rows that the table has go first.
    pub(super) clear: bool,
    /// Rows that came, of facts.
    facts: Vec<Row>,
    /// By key, of other tables. What is counted has how often it came, less how often it went, in `now`.
    nets: IndexMap<Row, Net>,
    /// Rows whose key the database cannot hold.
    pub(super) unfit: u64,
}

/// What is to be done to a table: in this order.
#[derive(Debug, Default)]
pub(super) struct Work<'a> {
    pub(super) clear: bool,
    /// Keys of rows that go.
    pub(super) delete: Vec<&'a Row>,
    /// Rows that are new or have changed, of a table with one row for each key.
    pub(super) upsert: Vec<&'a Row>,
    /// Rows that are new.
    pub(super) insert: Vec<&'a Row>,
    /// Rows with the counts that are to be added.
    pub(super) add: Vec<&'a Row>,
}

impl Pending {
    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        !self.clear && self.len() == 0
    }

    /// How many rows have been changed.
    pub(super) fn len(&self) -> usize {
        self.facts.len() + self.nets.len()
    }

    /// Forgets it: it is in the database.
    pub(super) fn done(&mut self) {
        self.clear = false;
        self.facts.clear();
        self.nets.clear();
        self.facts.shrink_to(KEPT);
        self.nets.shrink_to(KEPT);
    }

    /// From now on the table has no rows but those that are put.
    pub(super) fn replace(&mut self) {
        self.done();
        self.clear = true;
    }

    /// Takes in that the row `values` came `diff` times more than it went.
    pub(super) fn change(
        &mut self,
        table: &Table,
        diff: isize,
        values: &[Value<'_>],
    ) -> Result<(), SqlError> {
        let Some(row) = table.row(values, diff as i128) else {
            self.unfit += 1;
            return Ok(());
        };
        match table.holds {
            Holds::Facts => {
                // What is retracted is refused before it comes here.
                let times = usize::try_from(diff).unwrap_or(0);
                self.facts.extend(std::iter::repeat_n(row, times));
                Ok(())
            }
            Holds::Counted => {
                match self.nets.entry(table.key(&row)) {
                    Entry::Vacant(entry) => drop(entry.insert(Net { was: None, now: Some(row) })),
                    Entry::Occupied(mut entry) => add(entry.get_mut(), &row),
                }
                Ok(())
            }
            Holds::Keyed => self.set(table, diff, row),
        }
    }

    fn set(&mut self, table: &Table, diff: isize, row: Row) -> Result<(), SqlError> {
        let key = table.key(&row);
        match (self.nets.entry(key), diff) {
            (Entry::Vacant(entry), 1) => {
                entry.insert(Net { was: None, now: Some(row) });
            }
            (Entry::Vacant(entry), -1) => {
                entry.insert(Net { was: Some(row), now: None });
            }
            (Entry::Occupied(mut entry), 1) if entry.get().now.is_none() => entry.get_mut().now = Some(row),
            (Entry::Occupied(mut entry), -1) if entry.get().now.as_ref() == Some(&row) => {
                entry.get_mut().now = None;
            }
            // At one time, no two rows have the same key.
            _ => return Err(no_key(table)),
        }
        Ok(())
    }

    /// Takes in what `later` has, and empties it.
    pub(super) fn absorb(&mut self, table: &Table, later: &mut Pending) -> Result<(), SqlError> {
        self.unfit += std::mem::take(&mut later.unfit);
        if later.clear || self.is_empty() {
            let clear = self.clear || later.clear;
            self.done();
            std::mem::swap(&mut self.facts, &mut later.facts);
            std::mem::swap(&mut self.nets, &mut later.nets);
            (self.clear, later.clear) = (clear, false);
            return Ok(());
        }
        self.facts.append(&mut later.facts);
        for (key, net) in later.nets.drain(..) {
            match self.nets.entry(key) {
                Entry::Vacant(entry) => drop(entry.insert(net)),
                Entry::Occupied(mut entry) if table.holds == Holds::Counted => {
                    if let Some(row) = &net.now {
                        add(entry.get_mut(), row);
                    }
                }
                Entry::Occupied(mut entry) if entry.get().now == net.was => entry.get_mut().now = net.now,
                Entry::Occupied(_) => return Err(no_key(table)),
            }
        }
        Ok(())
    }

    /// What is to be done.
    pub(super) fn work(&self, table: &Table) -> Work<'_> {
        let mut work = Work { clear: self.clear, insert: self.facts.iter().collect(), ..Work::default() };
        for (key, Net { was, now }) in &self.nets {
            match (table.holds, was, now) {
                (Holds::Counted, _, Some(row)) if matches!(row.get(1), Some(Cell::Int(0))) => {}
                (Holds::Counted, _, Some(row)) => work.add.push(row),
                (_, was, now) if was == now => {}
                (_, _, None) => work.delete.push(key),
                (_, _, Some(row)) if self.clear => work.insert.push(row),
                (_, _, Some(row)) => work.upsert.push(row),
            }
        }
        work
    }
}

/// Adds how often `row` came.
fn add(net: &mut Net, row: &Row) {
    if let Some([_, Cell::Int(sum), ..]) = net.now.as_deref_mut()
        && let Some(Cell::Int(more)) = row.get(1)
    {
        *sum = sum.saturating_add(*more);
    }
}

fn no_key(table: &Table) -> SqlError {
    SqlError::NoKey { table: table.name.clone(), key: table.key_names().join(", ") }
}

/// Room for so many rows is kept for the next epoch.
const KEPT: usize = 1 << 12;
