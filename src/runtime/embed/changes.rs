//! What has changed of the views of an embedded run, until it is taken.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use crate::data::Row;
use crate::runtime::RunError;
use crate::time::Epoch;
use crate::view::{Batch, Finality, Retracted, Schema};

/// A row that came or went at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<R> {
    /// The epoch, and the step within it: where one epoch carries the watermark over many slides of a
    /// window, each has a step.
    pub time: Epoch,
    /// The row.
    pub row: R,
    /// How many more of it there are; if negative, how many fewer. Never zero.
    pub diff: isize,
}

/// Takes the changes of a view that an epoch has made.
pub(super) type Each = Box<dyn FnMut(&Schema, u64, Vec<Batch>) -> Result<(), RunError> + Send>;

/// What has arrived of a view.
pub(super) struct Arrived {
    pub(super) schema: Arc<Schema>,
    pub(super) changes: VecDeque<Batch>,
    pub(super) finals: VecDeque<Batch>,
    /// Who takes changes as they come.
    pub(super) each: Vec<Each>,
}

impl fmt::Debug for Arrived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrived").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Arrived {
    pub(super) fn new(schema: Arc<Schema>) -> Self {
        Arrived { schema, changes: VecDeque::new(), finals: VecDeque::new(), each: Vec::new() }
    }

    /// The last epoch of which something has arrived.
    pub(super) fn last(&self) -> Option<u64> {
        self.changes.iter().chain(&self.finals).map(|batch| batch.time.number()).max()
    }

    /// Gives what `epoch` has changed to whoever takes it as it comes.
    pub(super) fn give(&mut self, epoch: u64) -> Result<(), RunError> {
        let Some((last, others)) = self.each.split_last_mut() else { return Ok(()) };
        let mut batches = Vec::new();
        while let Some(batch) = self.changes.pop_front_if(|batch| batch.time.number() <= epoch) {
            batches.push(batch);
        }
        for each in others {
            each(&self.schema, epoch, batches.clone())?;
        }
        // The last who has rows need not copy them.
        last(&self.schema, epoch, batches)
    }

    /// What has changed since this was asked last.
    pub(super) fn take_changes<R: Row>(&mut self) -> Result<Vec<Change<R>>, RunError> {
        check::<R>(&self.schema, &self.changes)?;
        rows(&self.schema, std::mem::take(&mut self.changes), self.schema.finality == Finality::AtOnce)
    }

    /// What has become final since this was asked last.
    pub(super) fn take_finals<R: Row>(&mut self) -> Result<Vec<Change<R>>, RunError> {
        check::<R>(&self.schema, &self.finals)?;
        rows(&self.schema, std::mem::take(&mut self.finals), true)
    }
}

/// The changes in `batches`, which are the rows of the view `schema` as it changes.
pub(super) fn changes<R: Row>(schema: &Schema, batches: Vec<Batch>) -> Result<Vec<Change<R>>, RunError> {
    check::<R>(schema, &batches)?;
    rows(schema, batches, schema.finality == Finality::AtOnce)
}

/// Refuses batches of other rows.
fn check<'a, R: Row>(schema: &Schema, batches: impl IntoIterator<Item = &'a Batch>) -> Result<(), RunError> {
    match batches.into_iter().all(Batch::has_rows::<R>) {
        true => Ok(()),
        false => Err(RunError::OtherRows { view: schema.to_string(), rows: std::any::type_name::<R>() }),
    }
}

/// The changes in `batches`, which were checked; `appended` says whether no row may be retracted.
fn rows<R: Row>(
    schema: &Schema,
    batches: impl IntoIterator<Item = Batch>,
    appended: bool,
) -> Result<Vec<Change<R>>, RunError> {
    let mut changes = Vec::new();
    for batch in batches {
        let time = batch.time;
        let rows = batch.into_rows::<R>().unwrap_or_default();
        if let Some((row, _)) = rows.iter().find(|(_, diff)| appended && *diff < 0) {
            return Err(Retracted { view: schema.name.clone(), row: format!("{row:?}"), time }.into());
        }
        changes.extend(rows.into_iter().map(|(row, diff)| Change { time, row, diff }));
    }
    Ok(changes)
}
