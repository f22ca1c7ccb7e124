//! Sums by pane: what the doors of windows add up within a worker and epoch.

use differential_dataflow::VecCollection;

use crate::data::{Key, Total};
use crate::door::grouped::{Adds, Sums};
use crate::door::when::Opening;
use crate::door::{Parsed, Partials, Records};
use crate::format::Format;
use crate::state::Identity;
use crate::time::{Epoch, Millis, Watermark, Window, length};

/// The sums of one pane.
struct PaneSums<'a, K, A> {
    pane: Millis,
    sums: &'a mut Partials<(i64, K), A>,
}

impl<K: Key, A: Total> Sums<K, A> for PaneSums<'_, K, A> {
    #[inline]
    fn entry(&mut self, key: K::Ref<'_>) -> &mut A {
        self.sums.entry((self.pane, key))
    }
}

/// `identity` with the rules of `window`.
pub(crate) fn with_rules(identity: Identity, window: Window) -> Identity {
    let identity = identity.rule("length", length(window.length())).rule("slide", length(window.slide()));
    if window.origin() == 0 { identity } else { identity.rule("origin", length(window.origin())) }
}

/// The sums of each pane and key over the records that are not `too_late`.
pub(crate) fn pane_sums<'scope, F: Format, K: Key, A: Total>(
    records: &Records<'scope, F>,
    opening: &Opening<K>,
    window: Window,
    too_late: impl Fn(Millis, Watermark) -> bool + Copy + 'static,
    mut adds: impl Adds<F, K, A>,
) -> VecCollection<'scope, Epoch, (Millis, K), A> {
    let gate = records.refusals().gate(&opening.name, too_late);
    let logic = move |record: &Parsed<'_, F>, sums: &mut Partials<(i64, K), A>| {
        if let Some(time) = gate.time(record) {
            adds.add(record, &mut PaneSums { pane: window.pane_of(time), sums });
        }
    };
    records.sums(&opening.name, opening.place, logic)
}
