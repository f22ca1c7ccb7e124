//! Which records a door takes: those that are not too late for it, by the watermark as their epoch began.
//!
//! What is too late differs from door to door; that it is counted, and can be had as a collection, does not.

use std::cell::Cell;

use differential_dataflow::VecCollection;

use crate::data::Key;
use crate::door::{Parsed, Records};
use crate::format::Format;
use crate::time::Epoch;
use crate::time::{Millis, Watermark};

/// When `record` happened, unless it is `too_late`; that is counted in `late`.
#[inline]
pub(crate) fn in_time<F: Format>(
    record: &Parsed<'_, F>,
    late: &Cell<i64>,
    too_late: impl Fn(Millis, Watermark) -> bool,
) -> Option<Millis> {
    let time = record.time()?;
    if too_late(time, record.watermark()) {
        late.set(late.get() + 1);
        return None;
    }
    Some(time)
}

/// What `datum` makes of the records that are `too_late`.
#[track_caller]
pub(crate) fn refused<'scope, F: Format, D: Key>(
    records: &mut Records<'scope, F>,
    name: &str,
    too_late: impl Fn(Millis, Watermark) -> bool + 'static,
    datum: impl for<'a> Fn(&Parsed<'a, F>) -> Option<D::Ref<'a>> + 'static,
) -> VecCollection<'scope, Epoch, D, isize> {
    records.collect(name, move |record| {
        too_late(record.time()?, record.watermark()).then(|| datum(record)).flatten()
    })
}

/// Whether what happened at `time` is older than `watermark`; for doors that follow single records.
pub(crate) fn is_older(time: Millis, watermark: Watermark) -> bool {
    watermark.reaches(time.saturating_add(1))
}

impl<'scope, F: Format> Records<'scope, F> {
    /// What `datum` makes of the records that were older than the watermark as their epoch began: [`Records::distinct_within`]
    /// and [`Records::events`] refuse these. Stateless.
    ///
    /// ```
    /// # use thalweg::prelude::*;
    /// # use thalweg::testing::Script;
    /// # #[derive(clap::Args)]
    /// # struct Late;
    /// # impl Dataflow for Late {
    /// #     const NAME: &'static str = "late";
    /// #     const ABOUT: &'static str = "lines that are too late";
    /// #     const VIEWS: &'static [View] = &[View { name: "late", columns: &["line"], about: "as they were" }];
    /// #     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
    /// let mut lines = flow.records(Text);
    /// lines.event_time(|line| std::str::from_utf8(line.line()).ok()?.parse().ok());
    /// let late = lines.refused::<Bytes>("late", |line| Some(line.line()));
    /// flow.view("late", late.map(|line| (line,)));
    /// #         Ok(())
    /// #     }
    /// # }
    /// // The watermark is ten seconds behind the newest record.
    /// let answer = Script::new(Late).epoch("20000\n").epoch("10000\n9999\n").run();
    /// assert_eq!(answer.view("late"), ["9999"]);
    /// ```
    ///
    /// # Panics
    ///
    /// If another door has the same name.
    #[track_caller]
    pub fn refused<D: Key>(
        &mut self,
        name: &str,
        datum: impl for<'a> Fn(&Parsed<'a, F>) -> Option<D::Ref<'a>> + 'static,
    ) -> VecCollection<'scope, Epoch, D, isize> {
        refused(self, name, is_older, datum)
    }
}
