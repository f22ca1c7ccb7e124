//! What has changed of the views of an embedded run, until it is taken.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use crate::data::Row;
use crate::runtime::RunError;
use crate::time::Epoch;
use crate::view::{Batch, Retracted, Rows, Schema};

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
pub(super) type Each = Box<dyn FnMut(&Arrived, u64, Vec<Batch>) -> Result<(), RunError> + Send>;

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
        if self.each.is_empty() {
            return Ok(());
        }
        let mut batches = Vec::new();
        while let Some(batch) = self.changes.pop_front_if(|batch| batch.time.number() <= epoch) {
            batches.push(batch);
        }
        let mut each = std::mem::take(&mut self.each);
        let given = each.iter_mut().try_for_each(|each| each(self, epoch, batches.clone()));
        self.each = each;
        given
    }
}

/// The rows of `batches`, which are of `view`.
pub(super) fn rows<R: Row>(view: &Arrived, batches: Vec<Batch>) -> Result<Vec<Change<R>>, RunError> {
    let Arrived { schema, .. } = view;
    let mut changes = Vec::new();
    for batch in batches {
        let time = batch.time;
        let rows = batch.into_rows::<R>().ok_or_else(|| RunError::OtherRows {
            view: schema.to_string(),
            rows: std::any::type_name::<R>(),
        })?;
        let mut retracted = rows.iter().filter(|(_, diff)| *diff < 0);
        if let Some((row, _)) = retracted.next().filter(|_| schema.rows == Rows::Appended) {
            let row = format!("{row:?}");
            return Err(Retracted { view: schema.view.name, row, time }.into());
        }
        changes.extend(rows.into_iter().map(|(row, diff)| Change { time, row, diff }));
    }
    Ok(changes)
}
