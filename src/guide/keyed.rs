//! Step 6: sessions, state that times out, and duplicates.
//!
//! What these doors have in common is that they follow single keys: when a key was last heard of decides what becomes of its
//! next record. All of them go by event time and the watermark; none reads a clock, so a test needs not wait.
//!
//! # Sessions
//!
//! A session is a stretch of time in which the records of a key are less than a gap apart, from its first record to a gap
//! after its last. [`by_session`](crate::door::Records::by_session) has a row for each, with the doors that windows
//! have. A late record that comes between two sessions makes one of them; a row is final when the watermark reaches its end.
//!
//! ```
//! use std::time::Duration;
//! use thalweg::prelude::*;
//! use thalweg::testing::Script;
//!
//! # #[derive(Clone)]
//! # struct Service;
//! # struct Request<'a> { time: i64, client: &'a [u8], path: &'a [u8], status: u16 }
//! # fn number(field: &[u8]) -> Option<i64> { std::str::from_utf8(field).ok()?.parse().ok() }
//! # impl LineFormat for Service {
//! #     type Record<'a> = Request<'a>;
//! #     fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Request<'a>> {
//! #         let mut fields = line.split(|byte| *byte == b' ');
//! #         let time = number(fields.next()?)?.checked_mul(1000)?;
//! #         let (client, path) = (fields.next()?, fields.next()?);
//! #         let status = u16::try_from(number(fields.next()?)?).ok()?;
//! #         fields.next().is_none().then_some(Request { time, client, path, status })
//! #     }
//! # }
//! #[derive(clap::Args)]
//! struct Visits;
//!
//! impl Dataflow for Visits {
//! #     const NAME: &'static str = "visits";
//! #     const ABOUT: &'static str = "the visits of each client";
//!     const VIEWS: &'static [View] = &[View { name: "visits", columns: &["client", "from", "to", "requests"], about: "visits, in seconds" }];
//!
//!     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
//!         let gap = Gap::new(Duration::from_secs(30)).expect("thirty seconds are a gap");
//!         let mut requests = flow.records(Service);
//!         requests.event_time(|request| Some(request.time));
//!         let visits = requests.by_session(gap).count_by::<Bytes>("visits", |request| Some(request.client));
//!         let visits = visits.map(|(span, client, count)| (client, span.start / 1000, span.end / 1000, count));
//!         flow.view_windows("visits", visits);
//!         Ok(())
//!     }
//! }
//!
//! let answer = Script::new(Visits)
//!     .epoch("0 ann /a 200\n35 ann /b 200\n")   // Watermark: 25 s.
//!     .epoch("30 bob /a 200\n20 ann /c 200\n")  // Second 20 is less than 30 s from both of Ann's visits.
//!     .epoch("100 eve /a 200\n")                // Watermark: 90 s.
//!     .run();
//! assert_eq!(answer.view_at("visits", 0), ["ann\t0\t30\t1", "ann\t35\t65\t1"]);
//! let joined = ["-1\tann\t0\t30\t1", "-1\tann\t35\t65\t1", "+1\tann\t0\t65\t3", "+1\tbob\t30\t60\t1"];
//! assert_eq!(answer.changes("visits", 1), joined);
//! assert_eq!(answer.finals("visits"), ["ann\t0\t65\t3", "bob\t30\t60\t1"]);
//! ```
//!
//! A late record changes only sessions that are open. Had the watermark been at 30 s, Ann's first visit would have been
//! final, and second 20 part of the second visit alone.
//!
//! # State of one's own
//!
//! [`update_state_by_key`](crate::door::Records::update_state_by_key) is for what no sum can say: a function of a key's
//! state and its new values, in the order in which they arrived, gives the new state. The collection *is* the state.
//! [`update_state_by_key_timeout`](crate::door::Records::update_state_by_key_timeout) also tells the function when a
//! key has been idle for so long, and what it makes of that is a row of `ended`.
//!
//! ```
//! # use std::time::Duration;
//! # use thalweg::prelude::*;
//! # use thalweg::testing::Script;
//! # #[derive(Clone)]
//! # struct Service;
//! # struct Request<'a> { time: i64, client: &'a [u8], path: &'a [u8], status: u16 }
//! # fn number(field: &[u8]) -> Option<i64> { std::str::from_utf8(field).ok()?.parse().ok() }
//! # impl LineFormat for Service {
//! #     type Record<'a> = Request<'a>;
//! #     fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Request<'a>> {
//! #         let mut fields = line.split(|byte| *byte == b' ');
//! #         let time = number(fields.next()?)?.checked_mul(1000)?;
//! #         let (client, path) = (fields.next()?, fields.next()?);
//! #         let status = u16::try_from(number(fields.next()?)?).ok()?;
//! #         fields.next().is_none().then_some(Request { time, client, path, status })
//! #     }
//! # }
//! #[derive(clap::Args)]
//! struct Streaks;
//!
//! impl Dataflow for Streaks {
//! #     const NAME: &'static str = "streaks";
//! #     const ABOUT: &'static str = "failures in a row";
//!     const VIEWS: &'static [View] = &[
//!         View { name: "streaks", columns: &["client", "failures"], about: "failures in a row, while they go on" },
//!         View { name: "given-up", columns: &["client", "failures"], about: "who left after the last of them" },
//!     ];
//!
//!     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
//!         let idle = Gap::new(Duration::from_secs(30)).expect("thirty seconds are a gap");
//!         let mut requests = flow.records(Service);
//!         requests.event_time(|request| Some(request.time));
//!         // The key, whether it failed, and the state: how often in a row.
//!         let streaks = requests.update_state_by_key_timeout::<Bytes, bool, u64>(
//!             "streaks",
//!             idle,
//!             |request| Some((request.client, request.status >= 500)),
//!             |_client, seen, streak| match seen {
//!                 Seen::Values(failed) => {
//!                     let streak = failed.iter().fold(streak.unwrap_or(0), |n, failed| if *failed { n + 1 } else { 0 });
//!                     // `None` removes the key.
//!                     (streak > 0).then_some(streak)
//!                 }
//!                 Seen::TimedOut => streak,
//!             },
//!         );
//!         flow.view("streaks", streaks.rows());
//!         flow.view("given-up", streaks.ended());
//!         Ok(())
//!     }
//! }
//!
//! let answer = Script::new(Streaks)
//!     .epoch("1 ann /a 500\n2 bob /a 503\n3 ann /a 500\n")
//!     .epoch("4 ann /a 500\n5 bob /a 200\n")
//!     .epoch("60 eve /a 200\n") // Watermark: 50 s.
//!     .run();
//! assert_eq!(answer.view_at("streaks", 0), ["ann\t2", "bob\t1"]);
//! assert_eq!(answer.view_at("streaks", 1), ["ann\t3"]);
//! assert_eq!(answer.changes("streaks", 2), ["-1\tann\t3"]);
//! assert_eq!(answer.view("given-up"), ["ann\t3"]);
//! ```
//!
//! The function is called once an epoch with all of a key's values. How they are grouped depends on how the input was cut
//! into epochs; so make it a fold over them, as here, and it will not matter.
//!
//! # Duplicates
//!
//! Senders that never lose a line repeat some. [`distinct_within`](crate::door::Records::distinct_within) lets the
//! first of a key pass, and those not that are less than a horizon from one that did. Its rows are the key and whatever is
//! wanted of the record; they are a collection and not records, so what counts them is an operator: [`count_total`] or, as
//! here, `map` and thalweg's [`totals`](crate::operators::Totals::totals).
//!
//! [`count_total`]: differential_dataflow::operators::CountTotal::count_total
//!
//! ```
//! # use std::time::Duration;
//! # use thalweg::prelude::*;
//! # use thalweg::testing::Script;
//! # #[derive(Clone)]
//! # struct Service;
//! # struct Request<'a> { time: i64, client: &'a [u8], path: &'a [u8], status: u16 }
//! # fn number(field: &[u8]) -> Option<i64> { std::str::from_utf8(field).ok()?.parse().ok() }
//! # impl LineFormat for Service {
//! #     type Record<'a> = Request<'a>;
//! #     fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Request<'a>> {
//! #         let mut fields = line.split(|byte| *byte == b' ');
//! #         let time = number(fields.next()?)?.checked_mul(1000)?;
//! #         let (client, path) = (fields.next()?, fields.next()?);
//! #         let status = u16::try_from(number(fields.next()?)?).ok()?;
//! #         fields.next().is_none().then_some(Request { time, client, path, status })
//! #     }
//! # }
//! #[derive(clap::Args)]
//! struct Once;
//!
//! impl Dataflow for Once {
//! #     const NAME: &'static str = "once";
//! #     const ABOUT: &'static str = "requests without repetitions";
//!     const VIEWS: &'static [View] = &[View { name: "paths", columns: &["path", "requests"], about: "each client's request counts once" }];
//!
//!     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
//!         let mut requests = flow.records(Service);
//!         requests.event_time(|request| Some(request.time));
//!         let once = requests.distinct_within::<(Bytes, Bytes), ()>("once", Duration::from_secs(5), |request| {
//!             Some(((request.client, request.path), ()))
//!         });
//!         flow.view("paths", flow.totals("paths", once.map(|((_client, path), ())| path)));
//!         Ok(())
//!     }
//! }
//!
//! let answer = Script::new(Once)
//!     .epoch("1 ann /a 200\n1 ann /a 200\n2 bob /a 200\n")
//!     .epoch("5 ann /a 200\n6 ann /a 200\n")
//!     .run();
//! assert_eq!(answer.view_at("paths", 0), ["/a\t2"]);
//! // Second 5 is a repetition of second 1; second 6 is not.
//! assert_eq!(answer.changes("paths", 1), ["-1\t/a\t2", "+1\t/a\t3"]);
//! ```
//!
//! Such a door forgets what the watermark has left behind, as it must. So it refuses records that are older than the
//! watermark, and [`Records::refused`](crate::door::Records::refused) has them. And `totals` is an operator, with no
//! state that outlives the run: [step 9](super::running#what-outlives-a-run) says what that means for the count of `/a`.
//!
//! Next: [`tables`](super::tables).
