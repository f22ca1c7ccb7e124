//! The session doors of [`Records`]: [`Records::by_session`].
//!
//! What a door adds up within a worker and epoch is keyed by (bucket as long as the gap, key),
//! because the records of one bucket are in one session whatever else there is. The machine behind
//! it ([`super::machine`]) makes sessions of that.

use differential_dataflow::VecCollection;

use crate::data::{Key, Stats, Stored, Time, Total};
use crate::door::in_time::{in_time, refused};
use crate::door::machine::{Routes, operate};
use crate::door::session::machine::{Sessions, Stretch};
use crate::door::window::windowed::{Consumed, Context, Windowed};
use crate::door::{Parsed, Partials, Records};
use crate::format::Format;
use crate::operators::route;
use crate::state::Identity;
use crate::time::Epoch;
use crate::time::Gap;
use crate::time::Millis;
use crate::time::Span;

/// The sums of the sessions that a record may be in, to which it adds.
#[derive(Debug)]
pub struct SessionSums<'a, K, A> {
    time: Millis,
    bucket: Millis,
    sums: &'a mut Partials<(i64, K), Stretch<A>>,
}

impl<K: Key, A: Total> SessionSums<'_, K, A> {
    /// The sum of the session of `key` that this record is in, to be added to. Asking for it is what puts the record into the
    /// session, also when nothing is added.
    #[inline]
    pub fn entry(&mut self, key: K::Ref<'_>) -> &mut A {
        self.sums.entry((self.bucket, key)).include(self.time)
    }
}

/// The doors of session windows: what [`Records::by_session`] opens.
#[derive(Debug)]
pub struct BySession<'a, 'scope, F: Format> {
    records: &'a mut Records<'scope, F>,
    gap: Gap,
}

impl<'scope, F: Format> BySession<'_, 'scope, F> {
    /// The door under the others: `logic` adds what each record says to the sums of whatever keys it likes, in the session
    /// that the record is in.
    ///
    /// ```
    /// use std::time::Duration;
    /// use thalweg::time::Gap; use thalweg::door::{Parsed, SessionSums};
    /// use thalweg::prelude::*;
    /// let gap = Gap::new(Duration::from_secs(5)).unwrap();
    /// let bytes = thalweg::testing::collection(Text, b"1 a\n4 bbb\n9 c\n", move |records| {
    ///     let seconds = |line: &[u8]| std::str::from_utf8(line.split(|byte| *byte == b' ').next()?).ok()?.parse().ok();
    ///     records.event_time(move |record| seconds(record.line()).map(|seconds: i64| 1000 * seconds));
    ///     let sums = |line: &Parsed<'_, Text>, sums: &mut SessionSums<'_, (), i64>| *sums.entry(()) += line.line().len() as i64;
    ///     records.by_session(gap).sums_by("bytes", sums).rows()
    /// });
    /// assert_eq!(bytes, [((Span::new(1_000, 9_000), (), 8), 1), ((Span::new(9_000, 14_000), (), 3), 1)]);
    /// ```
    ///
    /// # Panics
    ///
    /// If another door has the same name, or the records tell no time; while running, if a sum does not fit its type.
    #[track_caller]
    pub fn sums_by<K: Key, A: Total + Stored>(
        &mut self,
        name: &str,
        mut logic: impl for<'a> FnMut(&Parsed<'a, F>, &mut SessionSums<'_, K, A>) + 'static,
    ) -> Windowed<'scope, (Span, K, A)> {
        let gap = self.gap;
        let (event_times, consumed) = (self.records.event_times(), Consumed::default());
        let late = self.records.late();
        let stretches = self.records.sums_by(
            name,
            move |record: &Parsed<'_, F>, sums: &mut Partials<(i64, K), Stretch<A>>| {
                if let Some(time) = in_time(record, &late, |time, watermark| gap.is_over(time, watermark)) {
                    let bucket = time - time.rem_euclid(gap.millis());
                    logic(record, &mut SessionSums { time, bucket, sums });
                }
            },
        );
        let machine = Sessions::new(name, gap, consumed.clone());
        let identity = Identity::of::<(Time, K), (Time, A)>(name, "sessions").rule("gap", gap);
        let durable = self.records.doors().borrow_mut().open(identity, stretches.scope());
        let routes = Routes { datum: |(_, key): &(Millis, K)| route(key), key: |(_, key)| route(key) };
        let (rows, finals) = operate(name, stretches, routes, event_times.clone(), machine, durable, vec![]);
        Windowed::of(rows, finals, consumed, Context::new(event_times, None))
    }

    /// How many records each session of each key has, as rows `(session, key, count)`; records without a key are left out.
    ///
    /// ```
    /// use std::time::Duration;
    /// use thalweg::time::Gap;
    /// use thalweg::prelude::*;
    /// let gap = Gap::new(Duration::from_secs(5)).unwrap();
    /// let visits = thalweg::testing::collection(Text, b"1 a\n5 a\n10 a\n3 b\n", move |records| {
    ///     let seconds = |line: &[u8]| std::str::from_utf8(line.split(|byte| *byte == b' ').next()?).ok()?.parse().ok();
    ///     records.event_time(move |record| seconds(record.line()).map(|seconds: i64| 1000 * seconds));
    ///     records.by_session(gap).count_by::<u8>("visits", |line| line.last().copied()).rows()
    /// });
    /// let (first, second) = (Span::new(1_000, 10_000), Span::new(10_000, 15_000));
    /// assert_eq!(visits, [((first, b'a', 2), 1), ((Span::new(3_000, 8_000), b'b', 1), 1), ((second, b'a', 1), 1)]);
    /// ```
    ///
    /// # Panics
    ///
    /// As [`BySession::sums_by`].
    #[track_caller]
    pub fn count_by<K: Key>(
        &mut self,
        name: &str,
        key: impl for<'a> Fn(&Parsed<'a, F>) -> Option<K::Ref<'a>> + 'static,
    ) -> Windowed<'scope, (Span, K, isize)> {
        self.sums_by(name, move |record: &Parsed<'_, F>, sums: &mut SessionSums<'_, K, isize>| {
            if let Some(key) = key(record) {
                *sums.entry(key) += 1;
            }
        })
    }

    /// What `value` says, added up for each session of each key. A session whose sum is zero is a row all the same.
    ///
    /// ```
    /// use std::time::Duration;
    /// use thalweg::time::Gap;
    /// use thalweg::prelude::*;
    /// let gap = Gap::new(Duration::from_secs(5)).unwrap();
    /// let sums = thalweg::testing::collection(Text, b"1 a\n2 a\n", move |records| {
    ///     records.event_time(|record| Some(1000 * i64::from(record.line()[0] - b'0')));
    ///     records.by_session(gap).sum_by::<u8, _>("bytes", |line| Some((*line.last()?, line.len() as i64))).rows()
    /// });
    /// assert_eq!(sums, [((Span::new(1_000, 7_000), b'a', 6), 1)]);
    /// ```
    ///
    /// # Panics
    ///
    /// As [`BySession::sums_by`].
    #[track_caller]
    pub fn sum_by<K: Key, V: Into<i128>>(
        &mut self,
        name: &str,
        value: impl for<'a> Fn(&Parsed<'a, F>) -> Option<(K::Ref<'a>, V)> + 'static,
    ) -> Windowed<'scope, (Span, K, i128)> {
        self.sums_by(name, move |record: &Parsed<'_, F>, sums: &mut SessionSums<'_, K, i128>| {
            if let Some((key, value)) = value(record) {
                *sums.entry(key) += value.into();
            }
        })
    }

    /// Count, sum, smallest and largest of what `value` says for each session of each key.
    ///
    /// ```
    /// use std::time::Duration;
    /// use thalweg::time::Gap;
    /// use thalweg::prelude::*;
    /// let gap = Gap::new(Duration::from_secs(5)).unwrap();
    /// let stats = thalweg::testing::collection(Text, b"1 a\n2  a\n", move |records| {
    ///     records.event_time(|record| Some(1000 * i64::from(record.line()[0] - b'0')));
    ///     records.by_session(gap).stats_by::<u8, _>("bytes", |line| Some((*line.last()?, line.len() as i128))).rows()
    /// });
    /// assert_eq!(stats, [((Span::new(1_000, 7_000), b'a', [3, 4].into_iter().collect::<Stats>()), 1)]);
    /// ```
    ///
    /// # Panics
    ///
    /// As [`BySession::sums_by`].
    #[track_caller]
    pub fn stats_by<K: Key, V: Into<i128>>(
        &mut self,
        name: &str,
        value: impl for<'a> Fn(&Parsed<'a, F>) -> Option<(K::Ref<'a>, V)> + 'static,
    ) -> Windowed<'scope, (Span, K, Stats)> {
        self.sums_by(name, move |record: &Parsed<'_, F>, sums: &mut SessionSums<'_, K, Stats>| {
            if let Some((key, value)) = value(record) {
                sums.entry(key).record(value);
            }
        })
    }

    /// What `datum` makes of the records that these sessions refuse because they are too late: had nothing come within a gap
    /// after them, their session would have been complete as their epoch began. Stateless.
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
    /// let refused = lines.by_session(gap).refused::<Bytes>("refused", |line| Some(line.line()));
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
    /// If another door has the same name.
    #[track_caller]
    pub fn refused<D: Key>(
        &mut self,
        name: &str,
        datum: impl for<'a> Fn(&Parsed<'a, F>) -> Option<D::Ref<'a>> + 'static,
    ) -> VecCollection<'scope, Epoch, D, isize> {
        let gap = self.gap;
        refused(self.records, name, move |time, watermark| gap.is_over(time, watermark), datum)
    }
}

impl<'scope, F: Format> Records<'scope, F> {
    /// Session windows: for each key, the stretches of time in which its records are less than `gap` apart, each from its
    /// first record to `gap` after its last.
    ///
    /// Each epoch retracts the rows that changed and inserts them as they are now; a late record that comes between two
    /// sessions and within `gap` of both makes one of them. A row is final when the watermark reaches the end of its
    /// session. A record is too late when a session of its own would be complete as its epoch began. One that is late, but not
    /// that late, changes the open sessions that it is near, and no final one: where there is none, it starts a session,
    /// whose span may then overlap with that of a final one.
    ///
    /// State: the open sessions, each on the worker that its key is routed to; they are freed when they are final, which
    /// retracts nothing. Closing an epoch costs what has changed or ended, not what is open.
    pub fn by_session(&mut self, gap: Gap) -> BySession<'_, 'scope, F> {
        BySession { records: self, gap }
    }
}
