//! Sums by pane: what the doors of windows have in common.

use differential_dataflow::VecCollection;

use crate::data::{Key, Total};
use crate::door::in_time::in_time;
use crate::door::{Parsed, Partials, Records};
use crate::format::Format;
use crate::state::Identity;
use crate::time::Epoch;
use crate::time::Window;
use crate::time::{Millis, Watermark, length};

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

/// `identity` with the rules of `window`.
pub(crate) fn with_rules(identity: Identity, window: Window) -> Identity {
    identity.rule("length", length(window.length())).rule("slide", length(window.slide()))
}

/// The sums of each pane and key over the records that are not `too_late`.
#[track_caller]
pub(crate) fn pane_sums<'scope, F: Format, K: Key, A: Total>(
    records: &mut Records<'scope, F>,
    name: &str,
    window: Window,
    too_late: impl Fn(Millis, Watermark) -> bool + 'static,
    mut logic: impl for<'a> FnMut(&Parsed<'a, F>, &mut WindowSums<'_, K, A>) + 'static,
) -> VecCollection<'scope, Epoch, (Millis, K), A> {
    let late = records.late();
    records.sums_by(name, move |record: &Parsed<'_, F>, sums: &mut Partials<(i64, K), A>| {
        if let Some(time) = in_time(record, &late, &too_late) {
            logic(record, &mut WindowSums { pane: window.pane_of(time), sums });
        }
    })
}
