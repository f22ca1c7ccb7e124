//! The doors of a dataflow by name, and what is durable of them: where they say what changed, and
//! from which rows they go on.
//!
//! Rows are restored by one way: each worker decodes its share of a door's rows, a slice an
//! activation, and sends each row through the door's own exchange to whichever worker owns its key
//! now, at any number of workers. So heartbeats go on while millions of rows are read.

use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

use differential_dataflow::ExchangeData;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::generic::operator::source;
use timely::dataflow::operators::probe;
use timely::dataflow::{Scope, Stream};
use timely::progress::Timestamp;

use crate::data::Stored;
use crate::source::{Gauge, Progress};
use crate::state::{Identity, Keep, Keeper, Restored, Snapshot, StateError};
use crate::time::Epoch;

/// The doors of one dataflow on one worker.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    /// Where each was opened.
    opened: HashMap<String, &'static Location<'static>>,
    /// Those that have durable rows.
    durable: Vec<Identity>,
    /// Where they say what changed.
    pub(super) keep: Option<Keep>,
    /// From which they go on; the same on every worker.
    pub(super) snapshot: Option<Arc<Snapshot>>,
    /// Where doors say how many rows they hold.
    progress: Arc<Progress>,
    /// Why a row could not be restored.
    damaged: Rc<RefCell<Option<StateError>>>,
}

/// A door's durable side.
pub(crate) struct Opened<'scope, K, V> {
    /// Where it says what changed.
    pub(crate) keeper: Keeper<K, V>,
    /// This worker's share of the rows from which it goes on, at the first time, if it does.
    pub(crate) restored: Option<Stream<'scope, Epoch, Vec<(K, V)>>>,
    /// How far the views have come that are behind it.
    pub(crate) shown: probe::Handle<Epoch>,
    /// How many rows it holds.
    pub(crate) gauge: Gauge,
}

impl<K: Stored, V: Stored> Opened<'_, K, V> {
    /// That of an operator which follows from what others restore.
    pub(crate) fn transient() -> Self {
        Opened { keeper: Keeper::off(), restored: None, shown: probe::Handle::new(), gauge: Gauge::default() }
    }
}

impl Doors {
    /// None yet; they will say to `progress` how many rows they hold.
    pub(super) fn new(progress: Arc<Progress>) -> Self {
        Doors { progress, ..Doors::default() }
    }

    /// Rows that are restored in one activation.
    const SLICE: usize = 1 << 12;

    /// Takes `name` for a door that is opened at `place`; returns where another of that name was.
    pub(super) fn claim(
        &mut self,
        name: &str,
        place: &'static Location<'static>,
    ) -> Option<&'static Location<'static>> {
        self.opened.insert(name.to_owned(), place)
    }

    /// The durable side of the door that `identity` says, in `scope`.
    pub(super) fn open<'scope, K, V>(
        &mut self,
        identity: Identity,
        scope: Scope<'scope, Epoch>,
    ) -> Opened<'scope, K, V>
    where
        K: Stored + ExchangeData,
        V: Stored + ExchangeData,
    {
        let keeper = self.keep.as_ref().map_or_else(Keeper::off, |keep| keep.open(identity.clone()));
        let restored = self.snapshot.clone().map(|snapshot| self.rows(snapshot, &identity, scope));
        let gauge = self.progress.gauge(identity.name());
        self.durable.push(identity);
        Opened { keeper, restored, shown: probe::Handle::new(), gauge }
    }

    /// This worker's share of the rows of the door `identity` in `snapshot`; none if the door is
    /// new, or has other rules.
    fn rows<'scope, K, V>(
        &self,
        snapshot: Arc<Snapshot>,
        identity: &Identity,
        scope: Scope<'scope, Epoch>,
    ) -> Stream<'scope, Epoch, Vec<(K, V)>>
    where
        K: Stored + ExchangeData,
        V: Stored + ExchangeData,
    {
        let (name, damaged) = (identity.name().to_owned(), Rc::clone(&self.damaged));
        let (index, peers) = (scope.index(), scope.peers());
        let table = snapshot.table(&name).filter(|table| table.identity().differences(identity).is_empty());
        let count = table.map_or(0, |table| table.len());
        let mut rows = count * index / peers..count * (index + 1) / peers;
        source::<_, CapacityContainerBuilder<Vec<(K, V)>>, _, _>(
            scope,
            &format!("{name}: restored"),
            |capability, info| {
                let activator = scope.activator_for(info.address);
                let mut capability = Some(capability);
                move |output| {
                    let Some(held) = &capability else { return };
                    let table = snapshot.table(&name);
                    let slice: Result<Vec<_>, _> = rows
                        .by_ref()
                        .take(Self::SLICE)
                        .filter_map(|row| table.map(|table| table.row(row)))
                        .collect();
                    match slice {
                        Ok(slice) => output.session(held).give_iterator(slice.into_iter()),
                        Err(source) => {
                            let error = StateError::Row { door: name.clone(), source };
                            damaged.borrow_mut().get_or_insert(error);
                            rows = 0..0;
                        }
                    }
                    if rows.is_empty() {
                        capability = None;
                    } else {
                        activator.activate();
                    }
                }
            },
        )
    }
}

/// What is durable of one worker's dataflow.
#[derive(Clone, Debug)]
pub struct Durable(pub(super) Rc<RefCell<Doors>>);

impl Durable {
    /// The doors that have durable rows.
    pub fn doors(&self) -> Vec<Identity> {
        self.0.borrow().durable.clone()
    }

    /// How the doors go together with the state that they go on from; all are new, if there is
    /// none.
    ///
    /// To be asked before the first line is sent, and once more when the restored rows have been
    /// shown: only then have all of them been read.
    ///
    /// # Errors
    ///
    /// When a door has other rules than its state, or a row of it cannot be read. Then what the
    /// dataflow gives is worth nothing.
    pub fn restored(&self) -> Result<Restored, StateError> {
        let doors = self.0.borrow();
        if let Some(error) = doors.damaged.borrow_mut().take() {
            return Err(error);
        }
        match &doors.snapshot {
            Some(snapshot) => snapshot.check(&doors.durable),
            None => Snapshot::new(Epoch::minimum(), vec![]).check(&doors.durable),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::data::{Column, ColumnType, Data};
    use crate::door::{Lines, text};
    use crate::format::Text;
    use crate::source::Progress;
    use crate::state::{Changes, Table};
    use crate::time::{TimeOptions, Window};

    /// A dataflow with windows of `seconds` and the totals `more`, that goes on from `snapshot`.
    fn built(snapshot: Option<Arc<Snapshot>>, seconds: u64, more: &'static str) -> (Vec<Identity>, String) {
        timely::execute_directly(move |worker| {
            worker.dataflow::<Epoch, _, _>(|scope| {
                let (mut lines, _) = Lines::fed(scope, Arc::new(Progress::default()), TimeOptions::default());
                if let Some(snapshot) = snapshot {
                    lines = lines.restoring(snapshot);
                }
                let records = lines.records(Text).event_time(|_| Some(0));
                let window = Window::tumbling(Duration::from_secs(seconds)).expect("a window");
                let _ = records.by(text("url"), |line| Some(line.line())).by_window(window).count("urls");
                let _ = records.by(text("url"), |line| Some(line.line())).count(more);
                drop(records);
                let durable = lines.durable();
                let restored = match durable.restored() {
                    Ok(restored) => format!("{restored:?}"),
                    Err(error) => error.to_string(),
                };
                (durable.doors(), restored)
            })
        })
    }

    #[test]
    fn other_rules_are_refused_and_other_doors_are_told() {
        let (doors, _) = built(None, 30, "old");
        let tables = doors.into_iter().map(Table::empty).collect();
        let snapshot = Arc::new(Snapshot::new(Epoch::new(9), tables));
        let (_, restored) = built(Some(Arc::clone(&snapshot)), 30, "new");
        let expected = Restored {
            same: vec!["urls".to_owned()],
            new: vec!["new".to_owned()],
            dropped: vec!["old".to_owned()],
        };
        assert_eq!(restored, format!("{expected:?}"));
        let (_, refused) = built(Some(snapshot), 60, "old");
        assert!(refused.contains("door `urls`: length was 30s, is 1m; slide was 30s, is 1m"), "{refused}");
    }

    /// A row that its type does not have is an error to be asked for, and no panic.
    #[test]
    fn a_row_that_cannot_be_read_is_an_error() {
        let identity = Identity::of::<String, u64>("texts", "test");
        let mut table = Changes::new(&identity);
        let bad = Data::Bytes { ends: vec![1], bytes: vec![0xff] };
        table.key = vec![Column::of(ColumnType::Text, bad, None).expect("a column")];
        table.value = vec![Column::of(ColumnType::U64, Data::Words(vec![1]), None).expect("a column")];
        table.puts = vec![true];
        let snapshot = Snapshot::new(Epoch::new(9), vec![Table { identity: identity.clone(), rows: table }]);
        let snapshot =
            Arc::new(Snapshot::from_bytes(&snapshot.to_bytes().expect("short")).expect("as written"));
        timely::execute_directly(move |worker| {
            let durable = worker.dataflow::<Epoch, _, _>(|scope| {
                let doors = Doors { snapshot: Some(snapshot), ..Doors::default() };
                let doors = Rc::new(RefCell::new(doors));
                let _ = doors.borrow_mut().open::<String, u64>(identity, scope);
                Durable(doors)
            });
            while worker.step() {}
            let error = durable.restored().expect_err("bytes that are no text");
            assert_eq!(error.to_string(), "the state of door `texts` cannot be read");
        });
    }
}
