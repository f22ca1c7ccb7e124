//! The session doors: [`Grouped::by_session`].
//!
//! What a door adds up within a worker and epoch is keyed by (bucket as long as the gap, key),
//! because the records of one bucket are in one session whatever else there is. The machine behind
//! it ([`super::machine`]) makes sessions of that.

use differential_dataflow::ExchangeData;

use crate::data::{Key, Members, Stored, Total};
use crate::door::grouped::{Adds, Collecting, Grouped, Sums};
use crate::door::machine::{Routes, operate};
use crate::door::session::machine::{Burst, Sessions};
use crate::door::table::{Closing, Rows, Windowed};
use crate::door::when::{Opening, When};
use crate::door::window::Consumed;
use crate::door::{Parsed, Partials, Records};
use crate::format::Format;
use crate::operators::route;
use crate::state::Identity;
use crate::time::Time;
use crate::time::{Gap, Millis, Span};

/// The sums of the sessions that a record may be in. Asking for one puts the record into the session, also when nothing is
/// added.
struct BucketSums<'a, K, A> {
    time: Millis,
    bucket: Millis,
    sums: &'a mut Partials<(i64, K), Burst<A>>,
}

impl<K: Key, A: Total> Sums<K, A> for BucketSums<'_, K, A> {
    #[inline]
    fn entry(&mut self, key: K::Ref<'_>) -> &mut A {
        self.sums.entry((self.bucket, key)).include(self.time)
    }
}

/// Session windows: by what a key's records are without a pause.
#[derive(Clone, Copy, Debug)]
pub struct BySession {
    gap: Gap,
}

impl When for BySession {
    type Row<K: Key, A: ExchangeData> = (Span, K, A);
    type Kind = Closing;

    fn open<'scope, F: Format, K: Key, A: Total + Stored>(
        self,
        records: &Records<'scope, F>,
        opening: Opening<K>,
        mut adds: impl Adds<F, K, A>,
    ) -> Windowed<'scope, (Span, K, A)> {
        let BySession { gap } = self;
        let site = records.site();
        let event_times = records.event_times(&opening.name, opening.place, gap.millis());
        let names = opening.names(&["start", "end"]);
        let Opening { name, place, .. } = opening;
        let gate = records.refusals().gate(&name, move |time, watermark| gap.is_over(time, watermark));
        let logic = move |record: &Parsed<'_, F>, sums: &mut Partials<(i64, K), Burst<A>>| {
            if let Some(time) = gate.time(record) {
                let bucket = time - time.rem_euclid(gap.millis());
                adds.add(record, &mut BucketSums { time, bucket, sums });
            }
        };
        let bursts = records.sums(&name, place, logic);
        let consumed = Consumed::default();
        let machine = Sessions::new(&name, gap, consumed.clone());
        let identity = Identity::of::<(Time, K), (Time, A)>(&name, "sessions").rule("gap", gap);
        let durable = site.open(identity);
        let routes = Routes { datum: |(_, key): &(Millis, K)| route(key), key: |(_, key)| route(key) };
        let (rows, finals) = operate(&name, bursts, routes, event_times, machine, durable, vec![]);
        Rows::new(rows, names, site.clone()).of_windows(finals, consumed)
    }

    /// The members stand in the session's sum, because those of one member alone would be other sessions.
    fn distinct<'scope, F: Format, K: Key, M: Key>(
        self,
        records: &Records<'scope, F>,
        opening: Opening<K>,
        adds: impl Adds<F, (K, M), isize>,
    ) -> Windowed<'scope, (Span, K, isize)> {
        let names = opening.names(&["start", "end"]);
        let members = self.open::<F, K, Members<M>>(records, opening, Collecting(adds));
        members.map((), |(span, key, members)| (span, key, members.len() as isize)).named(names)
    }
}

impl<'scope, F: Format, K: Key, G> Grouped<'scope, F, K, G> {
    /// Session windows: for each key, the times in which its records are less than `gap` apart, each from its
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
    ///
    /// ```
    /// use std::time::Duration;
    /// use thalweg::prelude::*;
    /// let visits = thalweg::testing::collection(Text, b"1 a\n5 a\n10 a\n3 b\n", move |records| {
    ///     let gap = Gap::new(Duration::from_secs(5)).expect("five seconds are a gap");
    ///     let seconds = |line: &[u8]| std::str::from_utf8(line.split(|byte| *byte == b' ').next()?).ok()?.parse().ok();
    ///     let lines = records.event_time(move |line| seconds(line.line()).map(|seconds: i64| 1000 * seconds));
    ///     lines.by(column::<u8>("key"), |line| line.last().copied()).by_session(gap).count("visits").rows()
    /// });
    /// let (first, second) = (Span::new(1_000, 10_000), Span::new(10_000, 15_000));
    /// assert_eq!(visits, [((first, b'a', 2), 1), ((Span::new(3_000, 8_000), b'b', 1), 1), ((second, b'a', 1), 1)]);
    /// ```
    pub fn by_session(self, gap: Gap) -> Grouped<'scope, F, K, G, BySession> {
        self.during(BySession { gap })
    }
}
