//! The door of keyed state: [`Grouped::state`].
//!
//! A door collects the values of a worker and epoch by key; the machine behind it
//! ([`super::machine`]) puts those of all workers in order and updates the states.

use std::panic::Location;

use differential_dataflow::ExchangeData;
use timely::dataflow::operators::generic::operator::empty;

use crate::data::{Key, Stored};
use crate::door::grouped::{Grouped, Keys};
use crate::door::keyed::machine::{News, Next, Seen, States, Timeout};
use crate::door::machine::{Routes, operate};
use crate::door::refusals::is_older;
use crate::door::table::{Facts, Rows, Table};
use crate::door::window::Consumed;
use crate::door::{Parsed, Partials};
use crate::format::Format;
use crate::operators::route;
use crate::state::Identity;
use crate::time::{MOST, Time};
use crate::view::Names;

/// Keyed state: the states as they are, and what their updates have emitted.
#[derive(Clone, Debug)]
#[must_use = "state that nobody shows is work for nothing"]
pub struct KeyedState<'scope, K: 'static, S: 'static, E: 'static> {
    /// `(key, state)` for each key that has a state, in columns of the key and a column `state`.
    pub states: Table<'scope, (K, S)>,
    /// `(key, fact)` for each fact, in columns of the key and a column `fact`.
    pub facts: Facts<'scope, (K, E)>,
}

impl<'scope, F: Format, K: Key, G: Keys<F, K>> Grouped<'scope, F, K, G> {
    /// The state of each key, as `update` makes it of the state before and the new values, which `value` says of each record;
    /// and the facts that `update` emits as it does.
    ///
    /// `update` is called once for each epoch and key that has values in it, with the key, the values in the order in which
    /// they arrived, the state, `None` the first time, and a vector that takes facts. It says what becomes of the state: keep
    /// it, keep it until a time, or drop it. It must depend on nothing but its arguments.
    ///
    /// With a `timeout`, it is called with [`Seen::TimedOut`], too: when the watermark reaches the time, and also before a
    /// value that is not before it, so the sequence of a key's values and timeouts does not depend on how the input is cut
    /// into epochs; within an epoch, values before and after a timeout are calls of their own. The time is that of the dataflow
    /// (of events, or of arrival under `--time arrival`), never a clock. With [`Timeout::Idle`] the key is dropped then, whatever
    /// `update` returns; with [`Timeout::Deadline`] it goes on as it says, and each value is a call of its own. At the end of the input, time has come to the newest
    /// record; keys that are not due by then keep their state.
    ///
    /// Each epoch retracts the states that changed and inserts them as they are now; facts are inserted once. States are
    /// durable and kept by key, each on the worker that the key is routed to; an epoch costs its values and the keys that may be
    /// due, not the keys that there are.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// // The last value of each key, until a zero; and how often it was another.
    /// let build = Build::new("last", |flow| {
    ///     let lines = flow.records(Text);
    ///     let last = lines.by(text("key"), |line| line.get(..1)).state(
    ///         "last",
    ///         Timeout::Never,
    ///         |line| Some(line.last()?.wrapping_sub(b'0')),
    ///         |_, seen, state, facts: &mut Vec<u8>| {
    ///             let Seen::Values(values) = seen else { return Next::Drop };
    ///             facts.extend(state.filter(|state| values.first() != Some(state)));
    ///             values.last().copied().filter(|last| *last != 0).map_or(Next::Drop, Next::Keep)
    ///         },
    ///     );
    ///     last.states.show("last");
    ///     last.facts.show("replaced");
    ///     Ok(())
    /// });
    /// let answer = thalweg::testing::run_epochs(build, 1, &[b"a1\nb2\nc3\n", b"a4\nb0\n"]);
    /// assert_eq!(answer.view("last"), ["a\t4", "c\t3"]);
    /// assert_eq!(answer.view("replaced"), ["a\t1", "b\t2"]);
    /// ```
    ///
    /// A silence is an event at its deadline:
    ///
    /// ```
    /// use std::time::Duration;
    /// use thalweg::prelude::*;
    /// use thalweg::testing::Script;
    /// let build = Build::new("silence", |flow| {
    ///     let seconds = |line: &[u8]| std::str::from_utf8(line.get(..2)?).ok()?.parse().ok().map(|seconds: i64| 1000 * seconds);
    ///     let lines = flow.records(Text).event_time(move |line| seconds(line.line()));
    ///     let idle = Timeout::Idle(Gap::new(Duration::from_secs(5))?);
    ///     let visits = lines.by(text("who"), |line| line.get(3..)).state(
    ///         "visits",
    ///         idle,
    ///         |_| Some(()),
    ///         |_, seen, visits: Option<u64>, facts| match seen {
    ///             Seen::Values(values) => Next::Keep(visits.unwrap_or(0) + values.len() as u64),
    ///             Seen::TimedOut(at) => {
    ///                 facts.push((at, visits.unwrap_or(0)));
    ///                 Next::Drop
    ///             }
    ///         },
    ///     );
    ///     visits.facts.columns(["who", "silent since", "visits"]).show("silent");
    ///     Ok(())
    /// });
    /// // With a lateness of ten seconds, the watermark is at 10 s.
    /// let answer = Script::new(build).epoch("01 a\n02 b\n03 a\n20 b\n").run();
    /// assert_eq!(answer.view("silent"), ["a\t1970-01-01T00:00:08Z\t2", "b\t1970-01-01T00:00:07Z\t1"]);
    /// ```
    #[track_caller]
    pub fn state<V, S, E, L, U>(
        self,
        name: &str,
        timeout: Timeout,
        value: L,
        update: U,
    ) -> KeyedState<'scope, K, S, E>
    where
        V: ExchangeData,
        S: ExchangeData + Stored,
        E: ExchangeData,
        L: for<'a> Fn(&Parsed<'a, F>) -> Option<V> + 'static,
        U: Fn(&K, Seen<'_, V>, Option<S>, &mut Vec<E>) -> Next<S> + 'static,
    {
        let place = Location::caller();
        let Grouped { records, columns, keys, .. } = self;
        let site = records.site();
        let event_times = match timeout {
            Timeout::Never => empty(site.scope),
            Timeout::Idle(gap) => records.event_times(name, place, gap.millis()),
            Timeout::Deadline => records.event_times(name, place, MOST),
        };
        let gate = records.refusals().gate(name, move |time, watermark| match timeout {
            Timeout::Never => false,
            Timeout::Idle(gap) => gap.is_over(time, watermark),
            Timeout::Deadline => is_older(time, watermark),
        });
        let logic = move |record: &Parsed<'_, F>, sums: &mut Partials<K, News<V>>| {
            let time = if timeout == Timeout::Never { Some(0) } else { gate.time(record) };
            if let Some(time) = time
                && let Some(value) = value(record)
            {
                keys.each(record, |key| sums.entry(key).push(record.arrival(), time, value.clone()));
            }
        };
        let news = records.sums(name, place, logic);
        let rule = match timeout {
            Timeout::Never => "none".to_owned(),
            Timeout::Idle(gap) => gap.to_string(),
            Timeout::Deadline => "deadline".to_owned(),
        };
        let identity =
            Identity::of::<K, (Option<S>, Option<Time>)>(name, "keyed state").rule("timeout", rule);
        let durable = site.open(identity);
        let routes = Routes { datum: route, key: route };
        let consumed = Consumed::default();
        let machine = States::new(name, timeout, consumed.clone(), update);
        let (states, facts) = operate(name, news, routes, event_times, machine, durable, vec![]);
        let names = |last: &str| {
            let all = columns.iter().cloned().chain([last.to_owned()]).collect();
            Names { all: Some(all), key: if last == "state" { columns.clone() } else { Vec::new() } }
        };
        KeyedState {
            states: Rows::new(states, names("state"), site.clone()).if_consumed(consumed),
            facts: Rows::new(facts, names("fact"), site.clone()),
        }
    }
}
