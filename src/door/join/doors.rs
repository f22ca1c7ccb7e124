//! The doors of joins: [`Grouped::events`], [`Events::join`] and [`Events::left_join`].

use std::hash::Hash;
use std::panic::Location;

use differential_dataflow::{ExchangeData, VecCollection};

use crate::data::{Key, Stored};
use crate::door::columns::{Columns, names_of};
use crate::door::grouped::{Grouped, Keys};
use crate::door::join::machine::{At, DurableKey, Join, Side};
use crate::door::machine::{Routes, operate};
use crate::door::refusals::is_older;
use crate::door::site::Site;
use crate::door::table::{Facts, Rows};
use crate::door::{Parsed, Partials};
use crate::format::Format;
use crate::operators::route;
use crate::state::Identity;
use crate::time::{Epoch, Millis, Within, length};
use crate::view::Names;

/// Events that can be joined: records by key and time, with a value. [`Grouped::events`] makes them.
#[derive(Clone)]
#[must_use = "events that nobody joins are work for nothing"]
pub struct Events<'scope, K: ExchangeData, V: ExchangeData> {
    rows: VecCollection<'scope, Epoch, ((K, i64), V), isize>,
    /// The names of the columns of the key, and of those of the value.
    names: [Vec<String>; 2],
    site: Site<'scope>,
}

impl<K: ExchangeData, V: ExchangeData> std::fmt::Debug for Events<'_, K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("names", &self.names).finish_non_exhaustive()
    }
}

impl<'scope, F: Format, K: Key, G: Keys<F, K>> Grouped<'scope, F, K, G> {
    /// Records as events that can be joined with others by their key, each with what `value` makes of it in `columns`; records
    /// of which it makes `None` are left out. Stateless; what joins them keeps what it needs.
    ///
    /// Records that are older than the watermark was as their epoch began are refused.
    #[track_caller]
    pub fn events<C: Columns, L>(self, name: &str, columns: C, value: L) -> Events<'scope, K, C::Key>
    where
        L: for<'a> Fn(&Parsed<'a, F>) -> Option<<C::Key as Key>::Ref<'a>> + 'static,
    {
        let place = Location::caller();
        let Grouped { records, columns: key, keys, .. } = self;
        let names = [key, names_of(columns)];
        let site = records.site().clone();
        let _ = records.event_times(name, place, 0);
        let gate = records.refusals().gate(name, is_older);
        let logic = move |record: &Parsed<'_, F>, sums: &mut Partials<((K, i64), C::Key), isize>| {
            let Some(value) = value(record) else { return };
            if let Some(time) = gate.time(record) {
                keys.each(record, |key| {
                    *sums.entry(((K::shorten(key), time), C::Key::shorten(value))) += 1;
                });
            }
        };
        Events { rows: records.sums(name, place, logic), names, site }
    }
}

impl<'scope, K: ExchangeData + Hash + Stored, V: ExchangeData + Stored> Events<'scope, K, V> {
    /// Pairs of these events and those on the right that have the same key and happened `within` a distance of each other, as
    /// facts `(key, (time, value), (time, value))`. The two sides may be of different inputs.
    ///
    /// A pair is inserted once, as soon as both of its events are there; where only the next match counts
    /// ([`Within::next_only`]), as soon as no earlier one can come. Each event is one of its
    /// own, also where several are equal: two equal ones on each side make four equal pairs. However the input is cut into
    /// epochs, the pairs of records within the lateness are the same. A key of which an epoch makes more pairs than
    /// [`Within::at_most`] allows ends the run.
    ///
    /// State, which is durable: the events of both sides that may yet be in a pair, on the worker that their key is routed
    /// to. A left event is freed when the watermark has passed its time and the upper bound, a right one when it has passed
    /// its time less the lower bound.
    ///
    /// ```
    /// use std::time::Duration;
    /// use thalweg::prelude::*;
    /// let build = Build::new("answers", |flow| {
    ///     // A second, `?` or `!`, and what is asked or answered.
    ///     let lines = flow.records(Text).event_time(|line| Some(1000 * i64::from(line.first()?.checked_sub(b'0')?)));
    ///     let of = |kind: u8| move |line: &Parsed<'_, Text>| (line.get(2) == Some(&kind)).then_some(());
    ///     let asked = lines.by(text("question"), |line| line.get(4..)).events("asked", (), of(b'?'));
    ///     let answers = lines.by(text("question"), |line| line.get(4..)).events("answers", (), of(b'!'));
    ///     let pairs = asked.join("answered", answers, Within::after(Duration::from_secs(2)));
    ///     pairs.map(["question", "seconds"], |(question, (asked, ()), (answered, ()))| (question, (answered.0 - asked.0) / 1000)).show("answered");
    ///     Ok(())
    /// });
    /// let answer = thalweg::testing::run(build, b"1 ? a\n3 ! a\n4 ! a\n2 ! b\n3 ? b\n");
    /// assert_eq!(answer.view("answered"), ["a\t2"]);
    /// ```
    #[track_caller]
    pub fn join<W: ExchangeData + Stored>(
        self,
        name: &str,
        right: Events<'scope, K, W>,
        within: Within,
    ) -> Facts<'scope, (K, At<V>, At<W>)> {
        let (pairs, names, site) = self.joined(name, right, within, false, Location::caller());
        let pairs = pairs.flat_map(|(key, left, right)| right.map(|right| (key, left, right)));
        Rows::new(pairs, names, site)
    }

    /// As [`Events::join`], and with a fact `(key, (time, value), None)` for each event on the left that is in no pair.
    ///
    /// That is inserted, once, when the watermark has passed the event's time and the upper bound: no pair can come any
    /// more. Which events have been in a pair is durable, too.
    ///
    /// ```
    /// use std::time::Duration;
    /// use thalweg::prelude::*;
    /// use thalweg::testing::Script;
    /// let build = Build::new("answers", |flow| {
    ///     let lines = flow.records(Text).event_time(|line| Some(1000 * i64::from(line.first()?.checked_sub(b'0')?)));
    ///     let of = |kind: u8| move |line: &Parsed<'_, Text>| (line.get(2) == Some(&kind)).then_some(());
    ///     let asked = lines.by(text("question"), |line| line.get(4..)).events("asked", (), of(b'?'));
    ///     let answers = lines.by(text("question"), |line| line.get(4..)).events("answers", (), of(b'!'));
    ///     let pairs = asked.left_join("answered", answers, Within::after(Duration::from_secs(1)));
    ///     pairs.map(["question", "answered"], |(question, _, answer)| (question, answer.is_some())).show("answered");
    ///     Ok(())
    /// });
    /// // With a lateness of ten seconds, the last line says that all of the first two seconds has arrived: the watermark is at
    /// // four seconds, too late to answer `b`, and nobody knows yet of `c`.
    /// let answer = Script::new(build).epoch("1 ? a\n2 ! a\n2 ? b\n9 ! b\n> ? c\n").run();
    /// assert_eq!(answer.view("answered"), ["a\ttrue", "b\tfalse"]);
    /// ```
    #[track_caller]
    pub fn left_join<W: ExchangeData + Stored>(
        self,
        name: &str,
        right: Events<'scope, K, W>,
        within: Within,
    ) -> Facts<'scope, (K, At<V>, Option<At<W>>)> {
        let (pairs, names, site) = self.joined(name, right, within, true, Location::caller());
        Rows::new(pairs, names, site)
    }

    fn joined<W: ExchangeData + Stored>(
        self,
        name: &str,
        right: Events<'scope, K, W>,
        within: Within,
        unmatched: bool,
        place: &'static Location<'static>,
    ) -> (VecCollection<'scope, Epoch, (K, At<V>, Option<At<W>>), isize>, Names, Site<'scope>) {
        let Events { rows, names: [key, value], site } = self;
        site.claim(name, place);
        site.waits(within.upper());
        let left = key.into_iter().chain(["time".to_owned()]).chain(value).collect::<Vec<_>>();
        let other = std::iter::once("time".to_owned()).chain(right.names[1].iter().cloned());
        let other = other.map(|name| if left.contains(&name) { format!("right_{name}") } else { name });
        let other: Vec<_> = other.collect();
        let names = Names { all: Some(left.into_iter().chain(other).collect()), key: Vec::new() };
        let left = rows.map(|((key, time), value)| (key, time, Side::Left(value)));
        let right = right.rows.map(|((key, time), value)| (key, time, Side::Right(value)));
        let identity = Identity::of::<DurableKey<K, V, W>, (isize, bool)>(name, "join")
            .rule("lower", length(within.lower()))
            .rule("upper", length(within.upper()))
            .rule("match", if within.is_next_only() { "next" } else { "all" });
        let updates = left.concat(right);
        let durable = site.open(identity);
        let routes = Routes {
            datum: |(key, _, _): &(K, Millis, Side<V, W>)| route(key),
            key: |(_, key, _, _): &DurableKey<K, V, W>| route(key),
        };
        let machine = Join::new(name, within, unmatched, site.shared.faults.clone());
        let event_times = site.event_times.clone();
        let (pairs, _) = operate(name, updates, routes, event_times, machine, durable, vec![]);
        (pairs, names, site)
    }
}
