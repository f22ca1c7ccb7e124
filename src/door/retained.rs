//! The rows of windows that are final and still shown: a durable table with a declared retention.
//!
//! A window's door forgets its rows when they are final, and a sink that shows whole views goes on showing them for as long
//! as its bound says ([`Keep`]). So that it can after a restart, what is final is put into a table of its own, by the time
//! that stands in the row; a run that goes on from a snapshot begins with these rows, both as rows of the view and as final
//! ones. Sinks that append have shown them in an earlier run, and do not show them again: they come before the run's first
//! epoch.
//!
//! Each worker keeps as many rows as the bound allows for all, because it does not know the others'. A sink keeps the newest of
//! those, so more are restored than it shows, and never fewer.
//!
//! Rows that are final because the input has ended are no state, like all that the end brings about.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use differential_dataflow::VecCollection;

use crate::data::{Row, time_column, time_of};
use crate::door::machine::{Closing, Emitted, Machine, Routes, operate};
use crate::door::site::Site;
use crate::operators::route;
use crate::state::{Identity, Keeper};
use crate::time::Time;
use crate::time::{Epoch, Millis};
use crate::view::Keep;

/// One worker's retained rows.
#[derive(Debug)]
struct Retained<R> {
    keep: Keep,
    /// Which column says how old a row is, if one does.
    column: Option<usize>,
    /// How often each row is there, by its time.
    rows: BTreeMap<(Millis, R), isize>,
    /// How many rows that is.
    count: u64,
}

impl<R: Row> Retained<R> {
    fn new(keep: Keep) -> Self {
        Retained { keep, column: time_column::<R>(), rows: BTreeMap::new(), count: 0 }
    }

    fn add(&mut self, time: Millis, row: R, count: isize) -> isize {
        self.count = self.count.saturating_add_signed(count as i64);
        match self.rows.entry((time, row)) {
            Entry::Vacant(entry) => *entry.insert(count),
            Entry::Occupied(mut entry) => {
                *entry.get_mut() += count;
                *entry.get()
            }
        }
    }

    /// Drops what is older than is kept, and says so.
    fn forget(&mut self, keeper: &Keeper<(Time, R), isize>) {
        let newest = self.rows.last_key_value().map(|((time, _), _)| *time);
        let age = self.keep.time.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        let oldest = newest.zip(age).map(|(newest, age)| newest.saturating_sub(age));
        while let Some(first) = self.rows.first_entry() {
            let many = self.keep.rows.is_some_and(|most| self.count > most);
            if !many && oldest.is_none_or(|oldest| first.key().0 >= oldest) {
                break;
            }
            let ((time, row), count) = first.remove_entry();
            self.count = self.count.saturating_add_signed(-(count as i64));
            keeper.take((&Time(time), &row));
        }
    }
}

impl<R: Row> Machine for Retained<R> {
    /// A row that is final.
    type Datum = R;
    type Diff = isize;
    type Row = R;
    type Note = ();
    /// By the time of the row; the first of all times, where it has none.
    type Key = (Time, R);
    /// How often it is there.
    type Value = isize;

    fn close(
        &mut self,
        closing: &Closing,
        finals: &mut Vec<(R, isize)>,
        _: &mut Emitted<R, ()>,
        keeper: &Keeper<(Time, R), isize>,
    ) -> Option<Epoch> {
        if closing.is_end() {
            finals.clear();
        }
        for (row, diff) in finals.drain(..) {
            let time = time_of(&row, self.column).unwrap_or(Millis::MIN);
            let count = self.add(time, row.clone(), diff);
            keeper.put((&Time(time), &row), &count);
        }
        self.forget(keeper);
        None
    }

    fn held(&self) -> usize {
        usize::try_from(self.count).unwrap_or(usize::MAX)
    }

    fn restore(&mut self, rows: &mut Vec<((Time, R), isize)>, emitted: &mut Emitted<R, ()>) {
        for ((Time(time), row), count) in rows.drain(..) {
            self.add(time, row.clone(), count);
            emitted.rows.push((row, Epoch::default(), count));
        }
    }
}

/// The rows that view `view` has from an earlier run, of those that are final; keeps `finals`, as many as `keep` says.
pub(super) fn retained<'scope, R: Row>(
    site: &Site<'scope>,
    view: &str,
    keep: Keep,
    finals: VecCollection<'scope, Epoch, R, isize>,
) -> VecCollection<'scope, Epoch, R, isize> {
    let name = format!("{view}: retained");
    let identity = Identity::of::<(Time, R), isize>(&name, "final rows").rule("keep", keep);
    let durable = site.open(identity);
    let routes = Routes { datum: |row: &R| route(row), key: |(_, row): &(Time, R)| route(row) };
    let event_times = site.event_times.clone();
    operate(&name, finals, routes, event_times, Retained::new(keep), durable, vec![]).0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::door::machine::tests::{Scan, changes_are_the_table, epochs};
    use crate::time::Watermark;

    impl Scan for Retained<(Time, i64)> {
        fn scan(&self) -> Vec<((Time, (Time, i64)), isize)> {
            self.rows.iter().map(|((time, row), count)| ((Time(*time), *row), *count)).collect()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn changes_are_the_retained_rows(
            epochs in epochs(),
            stop in 0..8usize,
            rows in prop::option::of(0..6u64),
            time in prop::option::of(0..20u64),
        ) {
            let make = || Retained::new(Keep { rows, time: time.map(Duration::from_millis) });
            let epochs = epochs.into_iter().map(|(watermark, records)| {
                let row = |(time, _, value)| ((Time(time), value), 1);
                (Watermark::at(watermark), records.into_iter().map(row).collect())
            });
            changes_are_the_table(make, epochs.collect(), (0, 0), stop);
        }
    }
}
