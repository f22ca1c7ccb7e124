//! Somewhere that views go, which remembers all that it was ever shown.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::data::Value;
use crate::sink::{Closed, Opening, Pause, Sink, SinkError};

/// What changed in an epoch: by view and row, by how much.
pub(super) type Rows = BTreeMap<(String, String), isize>;

/// What outlasts the runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Store(Arc<Mutex<Stored>>);

#[derive(Debug, Default)]
pub(super) struct Stored {
    /// The rows of each epoch, as they were committed, or shown first.
    pub(super) epochs: BTreeMap<u64, Rows>,
    /// How many epochs are committed.
    pub(super) upto: u64,
    /// The highest incarnation that has opened it.
    incarnation: u64,
    /// After so many commits something goes wrong.
    fault: Option<(u32, SinkFault)>,
    /// How often something has.
    pub(super) faults: u64,
    /// What must not have happened, and in which epoch.
    pub(super) wrong: Vec<(u64, String)>,
    /// Rows without their progress: a bug that is planted.
    loose: Option<Rows>,
}

/// What goes wrong with a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SinkFault {
    /// Nothing is committed.
    Refused,
    /// It is committed, and says that it is not.
    Unacknowledged,
}

impl Store {
    pub(super) fn with<T>(&self, what: impl FnOnce(&mut Stored) -> T) -> T {
        what(&mut self.0.lock().unwrap())
    }

    pub(super) fn plan(&self, fault: Option<(u32, SinkFault)>) {
        self.with(|stored| stored.fault = fault);
    }
}

/// How a sink commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Each epoch with its number, at once.
    Transactional,
    /// Several together, and after a crash some of them once more.
    Lagging,
    /// As the first, but the number comes an epoch before its rows: a bug that is planted.
    Loose,
}

#[derive(Debug)]
pub(super) struct SimSink {
    store: Store,
    kind: Kind,
    incarnation: u64,
    rows: Rows,
    /// Epochs that are put off.
    behind: Vec<(u64, Rows)>,
}

impl SimSink {
    pub(super) fn new(store: Store, kind: Kind) -> Self {
        SimSink { store, kind, incarnation: 0, rows: Rows::new(), behind: Vec::new() }
    }

    fn error(reason: &str) -> SinkError {
        SinkError::own("simulated:", std::io::Error::other(reason.to_owned()))
    }

    fn put(&self, epoch: u64, rows: Rows) -> Result<(), SinkError> {
        self.store.with(|stored| {
            if stored.incarnation > self.incarnation {
                return Err(SimSink::error("another run has taken over"));
            }
            let fault = match &mut stored.fault {
                Some((0, fault)) => Some(*fault),
                Some((left, _)) => {
                    *left -= 1;
                    None
                }
                None => None,
            };
            if fault.is_some() {
                stored.fault = None;
                stored.faults += 1;
            }
            if fault == Some(SinkFault::Refused) {
                return Err(SimSink::error("it was refused"));
            }
            if epoch != stored.upto {
                let wrong = format!("epoch {epoch} was committed, and epoch {} was due", stored.upto);
                stored.wrong.push((u64::MAX, wrong));
            }
            stored.upto = epoch + 1;
            let rows = match self.kind {
                Kind::Loose => stored.loose.replace(rows).unwrap_or_default(),
                _ => rows,
            };
            let at = if self.kind == Kind::Loose { epoch.saturating_sub(1) } else { epoch };
            match stored.epochs.get(&at) {
                Some(before) if *before != rows && self.kind != Kind::Loose => {
                    let wrong = format!("epoch {epoch} has other rows: {before:?} and {rows:?}");
                    stored.wrong.push((epoch, wrong));
                }
                _ => drop(stored.epochs.insert(at, rows)),
            }
            if fault == Some(SinkFault::Unacknowledged) {
                return Err(SimSink::error("it was not acknowledged"));
            }
            Ok(())
        })
    }
}

impl Sink for SimSink {
    fn open(&mut self, opening: &Opening<'_>) -> Result<Option<u64>, SinkError> {
        self.incarnation = opening.incarnation;
        self.store.with(|stored| {
            if stored.incarnation > self.incarnation {
                return Err(SimSink::error("another run has taken over"));
            }
            stored.incarnation = self.incarnation;
            stored.loose = None;
            if stored.upto < opening.first {
                let (upto, first) = (stored.upto, opening.first);
                let wrong = format!("the run begins at epoch {first}, and {upto} were committed");
                stored.wrong.push((u64::MAX, wrong));
            }
            Ok(stored.upto.checked_sub(1))
        })
    }

    fn write(&mut self, closed: &Closed<'_>) -> Result<(), SinkError> {
        for view in closed.views {
            let name = &view.schema().name;
            view.changes(&mut |diff, values| {
                let cells: Vec<String> = values.iter().map(shown).collect();
                let row = self.rows.entry((name.clone(), cells.join(" "))).or_default();
                *row += diff;
            });
        }
        self.rows.retain(|_, diff| *diff != 0);
        Ok(())
    }

    fn commit(&mut self, epoch: u64) -> Result<(), SinkError> {
        let rows = std::mem::take(&mut self.rows);
        if self.kind == Kind::Lagging {
            // What is shown once more is what was shown.
            self.store.with(|stored| {
                if stored.incarnation > self.incarnation {
                    return Err(SimSink::error("another run has taken over"));
                }
                match stored.epochs.get(&epoch) {
                    Some(before) if *before != rows => {
                        let wrong = format!("epoch {epoch} was shown as {before:?}, and now as {rows:?}");
                        stored.wrong.push((epoch, wrong));
                    }
                    _ => drop(stored.epochs.insert(epoch, rows.clone())),
                }
                Ok(())
            })?;
            self.behind.push((epoch, rows));
            return Ok(());
        }
        self.put(epoch, rows)
    }

    fn behind(&self) -> u64 {
        self.behind.len() as u64
    }

    fn settle(&mut self, pause: Pause) -> Result<(), SinkError> {
        if pause == Pause::Empty && self.behind.len() < 3 {
            return Ok(());
        }
        for (epoch, rows) in std::mem::take(&mut self.behind) {
            self.put(epoch, rows)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.settle(Pause::Over)
    }
}

fn shown(value: &Value<'_>) -> String {
    match value {
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => format!("{other:?}"),
    }
}
