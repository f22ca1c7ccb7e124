//! The door of first records: [`Grouped::first_within`].

use std::panic::Location;
use std::time::Duration;

use crate::data::Key;
use crate::door::columns::{Columns, names_of};
use crate::door::dedup::machine::{Dedup, First};
use crate::door::grouped::{Grouped, Keys};
use crate::door::machine::{Routes, operate};
use crate::door::refusals::is_older;
use crate::door::table::{Facts, Rows};
use crate::door::{Parsed, Partials};
use crate::format::Format;
use crate::operators::route;
use crate::state::Identity;
use crate::time::Time;
use crate::time::{Millis, length};
use crate::view::Names;

impl<'scope, F: Format, K: Key, G: Keys<F, K>> Grouped<'scope, F, K, G> {
    /// The first record of each key within `horizon`, as facts of the key and of what `datum` makes of it in `columns`; records
    /// of which it makes `None` are left out.
    ///
    /// In the order of arrival (that of the lines in their partition, and where an epoch has several partitions, the older
    /// partition first), a record is a duplicate if an *accepted* record of its key happened less than `horizon` before
    /// or after it. So an input of one partition gives the same rows however it is cut into epochs, as long as
    /// its records are within the lateness; with several, what counts as first may depend on the cut. A horizon is rounded
    /// up to whole milliseconds and is at least one: with `Duration::ZERO`, only what happened at the same time is a duplicate.
    ///
    /// Rows are inserted as soon as they are there. A key occurs once for each record that was accepted. Records that are older
    /// than the watermark was as their epoch began are refused, duplicates or not.
    ///
    /// State, which is durable: the accepted records, each on the worker that its key is routed to, until the watermark is
    /// `horizon` past it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use thalweg::prelude::*;
    /// let build = Build::new("first", |flow| {
    ///     // Seconds, a key, and what is sent under it.
    ///     let seconds = |line: &[u8]| std::str::from_utf8(line.split(|byte| *byte == b' ').next()?).ok()?.parse().ok();
    ///     let lines = flow.records(Text).event_time(move |line| seconds(line.line()).map(|seconds: i64| 1000 * seconds));
    ///     let keys = lines.by(text("key"), |line| line.line().split(|byte| *byte == b' ').nth(1));
    ///     let first = keys.first_within("first", Duration::from_secs(10), text("what"), |line| {
    ///         line.line().split(|byte| *byte == b' ').nth(2)
    ///     });
    ///     first.show("first");
    ///     Ok(())
    /// });
    /// let answer = thalweg::testing::run(build, b"1 a x\n1 a x\n6 a y\n5 b x\n12 a z\n");
    /// assert_eq!(answer.view("first"), ["a\tx", "a\tz", "b\tx"]);
    /// ```
    #[track_caller]
    pub fn first_within<C: Columns, L>(
        self,
        name: &str,
        horizon: impl Into<Duration>,
        columns: C,
        datum: L,
    ) -> Facts<'scope, (K, C::Key)>
    where
        L: for<'a> Fn(&Parsed<'a, F>) -> Option<<C::Key as Key>::Ref<'a>> + 'static,
    {
        let place = Location::caller();
        let Grouped { records, columns: key, keys, .. } = self;
        let all = Some(key.into_iter().chain(names_of(columns)).collect());
        let site = records.site();
        let event_times = records.event_times(name, place, 0);
        let gate = records.refusals().gate(name, is_older);
        let logic = move |record: &Parsed<'_, F>, sums: &mut Partials<(K, i64), First<C::Key>>| {
            let Some(datum) = datum(record) else { return };
            if let Some(time) = gate.time(record) {
                keys.each(record, |key| {
                    sums.entry((key, time)).offer(record.arrival(), || C::Key::own(datum));
                });
            }
        };
        let sightings = records.sums(name, place, logic);
        let machine = Dedup::new(horizon.into());
        let identity = Identity::of::<(Time, K), C::Key>(name, "first within a horizon");
        let identity = identity.rule("horizon", length(machine.horizon));
        let durable = site.open(identity);
        let routes = Routes { datum: |(key, _): &(K, Millis)| route(key), key: |(_, key)| route(key) };
        let (rows, _) = operate(name, sightings, routes, event_times, machine, durable, vec![]);
        Rows::new(rows, Names { all, key: Vec::new() }, site.clone())
    }
}
