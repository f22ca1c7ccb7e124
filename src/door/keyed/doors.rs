//! The doors of keyed state: [`Records::update_state_by_key`] and [`Records::update_state_by_key_timeout`].
//!
//! A door collects the values of a worker and epoch by key; the machine behind it
//! ([`super::machine`]) puts those of all workers in order and updates the states.

use differential_dataflow::{ExchangeData, VecCollection};
use timely::dataflow::Stream;
use timely::dataflow::operators::generic::operator::empty;

use crate::data::{Key, Stored, Time};
use crate::door::in_time::{in_time, refused};
use crate::door::keyed::machine::{News, Seen, States};
use crate::door::machine::{Routes, operate};
use crate::door::{Parsed, Partials, Records};
use crate::format::Format;
use crate::operators::route;
use crate::state::Identity;
use crate::time::Epoch;
use crate::time::EventTime;
use crate::time::Gap;

/// The state of keys that time out.
#[derive(Clone)]
pub struct KeyedState<'scope, K: ExchangeData, S: ExchangeData> {
    rows: VecCollection<'scope, Epoch, (K, S), isize>,
    ended: VecCollection<'scope, Epoch, (K, S), isize>,
}

impl<'scope, K: ExchangeData, S: ExchangeData> KeyedState<'scope, K, S> {
    /// `(key, state)` for each key that has a state: the collection is the state.
    pub fn rows(&self) -> VecCollection<'scope, Epoch, (K, S), isize> {
        self.rows.clone()
    }

    /// What was returned when a key timed out, as rows `(key, state)` that are inserted once, in the epoch in which it
    /// did, and never retracted.
    pub fn ended(&self) -> VecCollection<'scope, Epoch, (K, S), isize> {
        self.ended.clone()
    }
}

impl<K: ExchangeData, S: ExchangeData> std::fmt::Debug for KeyedState<'_, K, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyedState").finish_non_exhaustive()
    }
}

impl<'scope, F: Format> Records<'scope, F> {
    /// The state of each key, as `update` makes it of the state before and the new values; `value` says the key and the value
    /// of a record.
    ///
    /// `update` is called once for each epoch and key that has values in it, with the key, the values in the order in which
    /// they arrived, and the state, `None` the first time; what it returns is the state from now on, and `None` removes the key.
    /// It must depend on nothing but its arguments. Records need no time, and none is too late.
    ///
    /// Each epoch retracts the rows that changed and inserts them as they are now: the collection is the state. It is durable
    /// and kept by key, each on the worker that the key is routed to; an epoch costs its values, not the keys that there are.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// // The last value of each key, until a zero.
    /// let last = thalweg::testing::collection(Text, b"a1\nb2\nc3\na4\nb0\n", |records| {
    ///     records.update_state_by_key::<u8, u8, u8>(
    ///         "last",
    ///         |line| Some((*line.first()?, line.last()? - b'0')),
    ///         |_, values, _| values.last().copied().filter(|value| *value != 0),
    ///     )
    /// });
    /// assert_eq!(last, [((b'a', 4), 1), ((b'c', 3), 1)]);
    /// ```
    ///
    /// # Panics
    ///
    /// If another door of this dataflow has the same name.
    #[track_caller]
    pub fn update_state_by_key<K: Key, V: ExchangeData, S: ExchangeData + Stored>(
        &mut self,
        name: &str,
        value: impl for<'a> Fn(&Parsed<'a, F>) -> Option<(K::Ref<'a>, V)> + 'static,
        update: impl Fn(&K, &[V], Option<S>) -> Option<S> + 'static,
    ) -> VecCollection<'scope, Epoch, (K, S), isize> {
        let news = self.sums_by(name, move |record: &Parsed<'_, F>, sums: &mut Partials<K, News<V>>| {
            if let Some((key, value)) = value(record) {
                sums.entry(key).push(record.arrival(), 0, value);
            }
        });
        let update = move |key: &K, seen: Seen<'_, V>, state: Option<S>| match seen {
            Seen::Values(values) => update(key, values, state),
            Seen::TimedOut => None,
        };
        // Nothing here depends on the watermark.
        let event_times = empty(news.scope());
        self.states(name, None, news, event_times, update).rows
    }

    /// As [`Records::update_state_by_key`], for keys that time out when they have been idle for `timeout`.
    ///
    /// The time is that of the dataflow (of events, or of arrival under `--time arrival`), never a clock. A key times out
    /// when the watermark reaches `timeout` after the greatest time of its values, and also before a value that is that much
    /// later, so the sequence of its values and timeouts does not depend on how the input is cut into epochs. Then
    /// `update` is called once with [`Seen::TimedOut`] and the state; what it returns is a row of
    /// [`KeyedState::ended`], and the key is removed in any case. Within an epoch, values before and after a timeout are
    /// calls of their own. At the end of the input, time has come to the newest record; keys that are not idle by then
    /// keep their state.
    ///
    /// State: as there. A key that `update` removes is gone from the rows at once, and from memory when it would have timed
    /// out. Closing an epoch costs its values and the keys that may be due.
    ///
    /// A value is too late, refused and counted, when its own timeout has passed as its epoch began: the watermark has
    /// reached its time and `timeout`. Records without a time are left out.
    ///
    /// ```
    /// use std::time::Duration;
    /// use thalweg::time::Gap; use thalweg::door::Seen;
    /// use thalweg::prelude::*;
    /// // Visits: how many records of a key, until it is idle for five seconds.
    /// let idle = Gap::new(Duration::from_secs(5)).unwrap();
    /// let ended = thalweg::testing::collection(Text, b"1 a\n2 b\n3 a\n8 a\n", move |records| {
    ///     records.event_time(|record| Some(1000 * i64::from(record.line()[0] - b'0')));
    ///     let visits = records.update_state_by_key_timeout::<u8, (), u64>(
    ///         "visits",
    ///         idle,
    ///         |line| Some((*line.last()?, ())),
    ///         |_, seen, count| match seen {
    ///             Seen::Values(values) => Some(count.unwrap_or(0) + values.len() as u64),
    ///             Seen::TimedOut => count,
    ///         },
    ///     );
    ///     // Rows that are open count once, those that have ended a hundred times.
    ///     visits.rows().concat(visits.ended().map(|(key, count)| (key, 100 * count)))
    /// });
    /// assert_eq!(ended, [((b'a', 1), 1), ((b'a', 200), 1), ((b'b', 1), 1)]);
    /// ```
    ///
    /// # Panics
    ///
    /// If another door of this dataflow has the same name, or the records tell no time.
    #[track_caller]
    pub fn update_state_by_key_timeout<K: Key, V: ExchangeData, S: ExchangeData + Stored>(
        &mut self,
        name: &str,
        timeout: Gap,
        value: impl for<'a> Fn(&Parsed<'a, F>) -> Option<(K::Ref<'a>, V)> + 'static,
        update: impl Fn(&K, Seen<'_, V>, Option<S>) -> Option<S> + 'static,
    ) -> KeyedState<'scope, K, S> {
        let event_times = self.event_times();
        let late = self.late();
        let news = self.sums_by(name, move |record: &Parsed<'_, F>, sums: &mut Partials<K, News<V>>| {
            let time = in_time(record, &late, |time, watermark| timeout.is_over(time, watermark));
            if let Some(time) = time
                && let Some((key, value)) = value(record)
            {
                sums.entry(key).push(record.arrival(), time, value);
            }
        });
        self.states(name, Some(timeout), news, event_times, update)
    }

    /// The states of the keys of which `news` comes.
    fn states<K: Key, V: ExchangeData, S: ExchangeData + Stored>(
        &self,
        name: &str,
        timeout: Option<Gap>,
        news: VecCollection<'scope, Epoch, K, News<V>>,
        event_times: Stream<'scope, Epoch, Vec<EventTime>>,
        update: impl Fn(&K, Seen<'_, V>, Option<S>) -> Option<S> + 'static,
    ) -> KeyedState<'scope, K, S> {
        let rule = timeout.map_or_else(|| "none".to_owned(), |timeout| timeout.to_string());
        let identity = Identity::of::<K, (Option<S>, Time)>(name, "keyed state").rule("timeout", rule);
        let durable = self.doors().borrow_mut().open(identity, news.scope());
        let routes = Routes { datum: route, key: route };
        let machine = States::new(timeout, update);
        let (rows, ended) = operate(name, news, routes, event_times, machine, durable, vec![]);
        KeyedState { rows, ended }
    }

    /// What `datum` makes of the records that a state with this `timeout` refuses because they are too late
    /// ([`Records::update_state_by_key_timeout`]). Stateless.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use thalweg::prelude::*;
    /// # use thalweg::testing::Script;
    /// # #[derive(clap::Args)]
    /// # struct Late;
    /// # impl Dataflow for Late {
    /// #     const NAME: &'static str = "late";
    /// #     const ABOUT: &'static str = "too late";
    /// #     const VIEWS: &'static [View] = &[View { name: "refused", columns: &["line"], about: "too late" }];
    /// #     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
    /// let gap = Gap::new(Duration::from_secs(5)).unwrap();
    /// let mut lines = flow.records(Text);
    /// lines.event_time(|line| Some(1000 * std::str::from_utf8(line.line()).ok()?.parse::<i64>().ok()?));
    /// let refused = lines.refused_by_timeout::<Bytes>("refused", gap, |line| Some(line.line()));
    /// flow.view("refused", refused.map(|line| (line,)));
    /// #         Ok(())
    /// #     }
    /// # }
    /// // With a lateness of ten seconds, the watermark is 80 s as the second epoch begins.
    /// let answer = Script::new(Late).epoch("90\n1\n").epoch("75\n76\n").run();
    /// assert_eq!(answer.view("refused"), ["75"]);
    /// ```
    ///
    /// # Panics
    ///
    /// If another door of this dataflow has the same name.
    #[track_caller]
    pub fn refused_by_timeout<D: Key>(
        &mut self,
        name: &str,
        timeout: Gap,
        datum: impl for<'a> Fn(&Parsed<'a, F>) -> Option<D::Ref<'a>> + 'static,
    ) -> VecCollection<'scope, Epoch, D, isize> {
        refused(self, name, move |time, watermark| timeout.is_over(time, watermark), datum)
    }
}
