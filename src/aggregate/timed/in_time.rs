//! What doors that follow single records have in common: which records they take.

use std::cell::Cell;

use differential_dataflow::VecCollection;

use super::event_time::Millis;
use crate::aggregate::{Key, Parsed, Records};
use crate::format::Format;
use crate::runtime::Epoch;

/// Whether `record`, which happened at `time`, is older than the watermark was as its epoch began.
fn is_late<F: Format>(record: &Parsed<'_, F>, time: Millis) -> bool {
    record.watermark().reaches(time.saturating_add(1))
}

/// When `record` happened, unless it is late; that is counted in `late`.
#[inline]
pub(crate) fn in_time<F: Format>(record: &Parsed<'_, F>, late: &Cell<i64>) -> Option<Millis> {
    let time = record.time()?;
    if is_late(record, time) {
        late.set(late.get() + 1);
        return None;
    }
    Some(time)
}

impl<'scope, F: Format> Records<'scope, F> {
    /// What `datum` makes of the records that were older than the watermark as their epoch began: [`Records::distinct_within`]
    /// and [`Records::events`] refuse these. Stateless.
    ///
    /// ```
    /// # use thalweg::prelude::*;
    /// # use thalweg::testing::Script;
    /// # struct Late;
    /// # impl Dataflow for Late {
    /// #     fn name(&self) -> &'static str { "late" }
    /// #     fn about(&self) -> &'static str { "lines that are too late" }
    /// #     fn views(&self) -> &'static [View] { &[View { name: "late", columns: &["line"], about: "as they were" }] }
    /// #     fn default_source(&self) -> &'static str { "stdin:" }
    /// #     fn prepare(&self, _: &Options) -> Result<Build, OptionError> {
    /// #         Ok(Build::new(|flow| {
    /// let mut lines = flow.records(Text);
    /// lines.event_time(|line| std::str::from_utf8(line.line()).ok()?.parse().ok());
    /// let late = lines.refused::<Bytes>("late", |line| Some(line.line()));
    /// flow.view("late", late.map(|line| (line,)));
    /// #         }))
    /// #     }
    /// # }
    /// // The watermark is ten seconds behind the newest record.
    /// let answer = Script::new(&Late).epoch("20000\n").epoch("10000\n9999\n").run();
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
        self.collect(name, move |record| is_late(record, record.time()?).then(|| datum(record)).flatten())
    }
}
