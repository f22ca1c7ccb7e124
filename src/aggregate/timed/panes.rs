//! Sums by pane: what the doors of windows have in common.

use differential_dataflow::VecCollection;

use super::event_time::{Millis, Watermark};
use super::window::Window;
use crate::aggregate::{Key, Parsed, Partials, Records, Total};
use crate::format::Format;
use crate::runtime::Epoch;

/// The sums of one pane, to which a record adds.
#[derive(Debug)]
pub struct WindowSums<'a, K, A> {
    pane: Millis,
    sums: &'a mut Partials<(i64, K), A>,
}

impl<K: Key, A: Total> WindowSums<'_, K, A> {
    /// The sum of `key`, to be added to; zero if this is the first time.
    #[inline]
    pub fn entry(&mut self, key: K::Ref<'_>) -> &mut A {
        self.sums.entry((self.pane, key))
    }
}

/// Which records a door takes, by the watermark as their epoch began.
pub(crate) type TooLate = fn(&Window, Millis, Watermark) -> bool;

/// The sums of each pane and key over the records that are not `too_late`.
#[track_caller]
pub(crate) fn pane_sums<'scope, F: Format, K: Key, A: Total>(
    records: &mut Records<'scope, F>,
    name: &str,
    window: Window,
    too_late: TooLate,
    mut logic: impl for<'a> FnMut(&Parsed<'a, F>, &mut WindowSums<'_, K, A>) + 'static,
) -> VecCollection<'scope, Epoch, (Millis, K), A> {
    let late = records.late();
    records.sums_by(name, move |record: &Parsed<'_, F>, sums: &mut Partials<(i64, K), A>| {
        let Some(time) = record.time() else { return };
        if too_late(&window, time, record.watermark()) {
            late.set(late.get() + 1);
        } else {
            logic(record, &mut WindowSums { pane: window.pane_of(time), sums });
        }
    })
}

/// What `datum` makes of the records that are `too_late`.
#[track_caller]
pub(crate) fn refused<'scope, F: Format, D: Key>(
    records: &mut Records<'scope, F>,
    name: &str,
    window: Window,
    too_late: TooLate,
    datum: impl for<'a> Fn(&Parsed<'a, F>) -> Option<D::Ref<'a>> + 'static,
) -> VecCollection<'scope, Epoch, D, isize> {
    records.collect(name, move |record| {
        let time = record.time()?;
        too_late(&window, time, record.watermark()).then(|| datum(record)).flatten()
    })
}
