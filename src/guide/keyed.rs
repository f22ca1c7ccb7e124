//! Step 6: sessions, state of one's own, and duplicates.
//!
//! What these doors have in common is that they follow single keys: when a key was last heard of decides what becomes of its
//! next record. All of them go by event time and the watermark; none reads a clock, so a test needs not wait.
//!
//! # Sessions
//!
//! A session is a stretch of time in which the records of a key are less than a gap apart, from its first record to a gap
//! after its last. [`by_session`](crate::door::Grouped::by_session) is a *when*: it has a row for each. A late record that
//! comes between two sessions makes one of them; a row is final when the watermark reaches its end.
//!
//! ```
//! use std::time::Duration;
//! use thalweg::prelude::*;
//! use thalweg::testing::Script;
//!
//! # #[derive(Clone)]
//! # struct Service;
//! # struct Request<'a> { time: i64, client: &'a [u8], path: &'a [u8], status: u16 }
//! # fn integer(field: &[u8]) -> Option<i64> { std::str::from_utf8(field).ok()?.parse().ok() }
//! # impl LineFormat for Service {
//! #     type Record<'a> = Request<'a>;
//! #     fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Request<'a>> {
//! #         let mut fields = line.split(|byte| *byte == b' ');
//! #         let time = integer(fields.next()?)?.checked_mul(1000)?;
//! #         let (client, path) = (fields.next()?, fields.next()?);
//! #         let status = u16::try_from(integer(fields.next()?)?).ok()?;
//! #         fields.next().is_none().then_some(Request { time, client, path, status })
//! #     }
//! # }
//! let build = Build::new("visits", |flow| {
//!     let gap = Gap::new(Duration::from_secs(30))?;
//!     let requests = flow.records(Service).event_time(|request| Some(request.time));
//!     let visits = requests.by(text("client"), |request| Some(request.client)).by_session(gap).count("visits");
//!     let visits = visits.map(["client", "from", "to", "requests"], |(span, client, count)| {
//!         (client, span.start.seconds(), span.end.seconds(), count)
//!     });
//!     visits.about("visits, in seconds").show("visits");
//!     Ok(())
//! });
//!
//! let answer = Script::new(build)
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
//! [`state`](crate::door::Grouped::state) is for what no sum can say. A function is given a key, what is
//! [`Seen`](crate::door::Seen) of it (new values, in the order in which they arrived, or that its time is up) and its state,
//! and says what is [`Next`](crate::door::Next): `Keep` a state, keep it `Until` a time, or `Drop` it. What it pushes on the way
//! are *facts*. So two things come of it: the table of `states`, and the `facts`.
//!
//! Time is up as the [`Timeout`](crate::door::Timeout) says: `Never`; after a key has been `Idle` for so long, and then it is
//! dropped; or when the function has `Deadline`, by `Until`.
//!
//! ```
//! # use std::time::Duration;
//! # use thalweg::prelude::*;
//! # use thalweg::testing::Script;
//! # #[derive(Clone)]
//! # struct Service;
//! # struct Request<'a> { time: i64, client: &'a [u8], path: &'a [u8], status: u16 }
//! # fn integer(field: &[u8]) -> Option<i64> { std::str::from_utf8(field).ok()?.parse().ok() }
//! # impl LineFormat for Service {
//! #     type Record<'a> = Request<'a>;
//! #     fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Request<'a>> {
//! #         let mut fields = line.split(|byte| *byte == b' ');
//! #         let time = integer(fields.next()?)?.checked_mul(1000)?;
//! #         let (client, path) = (fields.next()?, fields.next()?);
//! #         let status = u16::try_from(integer(fields.next()?)?).ok()?;
//! #         fields.next().is_none().then_some(Request { time, client, path, status })
//! #     }
//! # }
//! let build = Build::new("streaks", |flow| {
//!     let idle = Timeout::Idle(Gap::new(Duration::from_secs(30))?);
//!     let requests = flow.records(Service).event_time(|request| Some(request.time));
//!     let streaks = requests.by(text("client"), |request| Some(request.client)).state(
//!         "streaks",
//!         idle,
//!         // The value: whether it failed. The state: how often in a row. The facts: that, when the client had enough of it.
//!         |request| Some(request.status >= 500),
//!         |_client, seen, streak, given_up| {
//!             let streak: u64 = streak.unwrap_or(0);
//!             match seen {
//!                 Seen::Values(failed) => match failed.iter().fold(streak, |n, failed| if *failed { n + 1 } else { 0 }) {
//!                     0 => Next::Drop,
//!                     streak => Next::Keep(streak),
//!                 },
//!                 Seen::TimedOut(at) => {
//!                     given_up.push((at, streak));
//!                     Next::Drop
//!                 }
//!             }
//!         },
//!     );
//!     streaks.states.columns(["client", "failures"]).about("failures in a row, while they go on").show("streaks");
//!     streaks.facts.columns(["client", "at", "failures"]).about("who left after the last of them").show("given-up");
//!     Ok(())
//! });
//!
//! let answer = Script::new(build)
//!     .epoch("1 ann /a 500\n2 bob /a 503\n3 ann /a 500\n")
//!     .epoch("4 ann /a 500\n5 bob /a 200\n")
//!     .epoch("60 eve /a 200\n") // Watermark: 50 s.
//!     .run();
//! assert_eq!(answer.view_at("streaks", 0), ["ann\t2", "bob\t1"]);
//! assert_eq!(answer.view_at("streaks", 1), ["ann\t3"]);
//! assert_eq!(answer.changes("streaks", 2), ["-1\tann\t3"]);
//! assert_eq!(answer.view("given-up"), ["ann\t1970-01-01T00:00:34Z\t3"]);
//! ```
//!
//! The function is called once an epoch with all of a key's values. How they are grouped depends on how the input was cut
//! into epochs; so make it a fold over them, as here, and it will not matter. (With `Deadline`, each value is a call of its own.)
//!
//! With `Until`, the function sets its own alarm, and may set it again when it goes off. This one reminds who has put
//! something in the cart (`/cart`) and not paid (`/pay`), after 20 s and once more:
//!
//! ```
//! # use std::time::Duration;
//! # use thalweg::prelude::*;
//! # use thalweg::testing::Script;
//! # #[derive(Clone)]
//! # struct Service;
//! # struct Request<'a> { time: i64, client: &'a [u8], path: &'a [u8], status: u16 }
//! # fn integer(field: &[u8]) -> Option<i64> { std::str::from_utf8(field).ok()?.parse().ok() }
//! # impl LineFormat for Service {
//! #     type Record<'a> = Request<'a>;
//! #     fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Request<'a>> {
//! #         let mut fields = line.split(|byte| *byte == b' ');
//! #         let time = integer(fields.next()?)?.checked_mul(1000)?;
//! #         let (client, path) = (fields.next()?, fields.next()?);
//! #         let status = u16::try_from(integer(fields.next()?)?).ok()?;
//! #         fields.next().is_none().then_some(Request { time, client, path, status })
//! #     }
//! # }
//! let build = Build::new("reminders", |flow| {
//!     let in_20_s = |Time(at): Time| Time(at.saturating_add(20_000));
//!     let requests = flow.records(Service).event_time(|request| Some(request.time));
//!     let carts = requests.by(text("client"), |request| Some(request.client)).state(
//!         "carts",
//!         Timeout::Deadline,
//!         // When it was, and whether there is something in the cart from then on.
//!         |request| match request.path {
//!             b"/cart" => Some((request.time()?, true)),
//!             b"/pay" => Some((request.time()?, false)),
//!             _ => None,
//!         },
//!         // The state: how many reminders there were. The facts: which one it was, and when.
//!         move |_client, seen, reminders: Option<u64>, facts: &mut Vec<(u64, Time)>| match (seen, reminders) {
//!             (Seen::Values([.., (at, true)]), _) => Next::Until(0, in_20_s(*at)),
//!             (Seen::Values(_), _) => Next::Drop,
//!             (Seen::TimedOut(at), Some(0)) => {
//!                 facts.push((1, at));
//!                 Next::Until(1, in_20_s(at))
//!             }
//!             (Seen::TimedOut(at), _) => {
//!                 facts.push((2, at));
//!                 Next::Keep(2)
//!             }
//!         },
//!     );
//!     carts.states.columns(["client", "reminders"]).show("carts");
//!     carts.facts.map(["client", "which", "at"], |(client, (which, Time(at)))| (client, which, at / 1000)).show("reminders");
//!     Ok(())
//! });
//!
//! let answer = Script::new(build)
//!     .epoch("1 ann /cart 200\n2 bob /cart 200\n")
//!     .epoch("32 ann /pay 200\n") // Watermark: 22 s; but Ann was idle when her time was up.
//!     .epoch("60 eve / 200\n")    // Watermark: 50 s.
//!     .run();
//! assert_eq!(answer.view_at("carts", 0), ["ann\t0", "bob\t0"]);
//! assert_eq!(answer.view_at("carts", 1), ["bob\t1"]);
//! assert_eq!(answer.view_at("carts", 2), ["bob\t2"]);
//! assert_eq!(answer.view("reminders"), ["ann\t1\t21", "bob\t1\t22", "bob\t2\t42"]);
//! ```
//!
//! # Duplicates
//!
//! Senders that never lose a line repeat some. [`first_within`](crate::door::Grouped::first_within) lets the first of a key
//! pass, and those not that are less than a horizon from one that did. What pass are facts of the key and of whatever is
//! wanted of the record.
//!
//! ```
//! # use std::time::Duration;
//! # use thalweg::prelude::*;
//! # use thalweg::testing::Script;
//! # #[derive(Clone)]
//! # struct Service;
//! # struct Request<'a> { time: i64, client: &'a [u8], path: &'a [u8], status: u16 }
//! # fn integer(field: &[u8]) -> Option<i64> { std::str::from_utf8(field).ok()?.parse().ok() }
//! # impl LineFormat for Service {
//! #     type Record<'a> = Request<'a>;
//! #     fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Request<'a>> {
//! #         let mut fields = line.split(|byte| *byte == b' ');
//! #         let time = integer(fields.next()?)?.checked_mul(1000)?;
//! #         let (client, path) = (fields.next()?, fields.next()?);
//! #         let status = u16::try_from(integer(fields.next()?)?).ok()?;
//! #         fields.next().is_none().then_some(Request { time, client, path, status })
//! #     }
//! # }
//! let build = Build::new("once", |flow| {
//!     let requests = flow.records(Service).event_time(|request| Some(request.time));
//!     let each = requests.by((text("client"), text("path")), |request| Some((request.client, request.path)));
//!     let once = each.first_within("once", Duration::from_secs(5), (), |_| Some(()));
//!     let paths = once.map(["path"], |((_client, path), ())| path).count("paths");
//!     paths.about("each client's request counts once").show("paths");
//!     Ok(())
//! });
//!
//! let answer = Script::new(build)
//!     .epoch("1 ann /a 200\n1 ann /a 200\n2 bob /a 200\n")
//!     .epoch("5 ann /a 200\n6 ann /a 200\n")
//!     .run();
//! assert_eq!(answer.view_at("paths", 0), ["/a\t2"]);
//! // Second 5 is a repetition of second 1; second 6 is not.
//! assert_eq!(answer.changes("paths", 1), ["-1\t/a\t2", "+1\t/a\t3"]);
//! ```
//!
//! Such a door forgets what the watermark has left behind, as it must. So it refuses records that are older than the
//! watermark ([step 5](super::time#what-is-late-quarantined-or-untimed)). Another run that goes on from this one is not given
//! the facts again, but [`count`](crate::door::Rows::count), which adds them up, is durable
//! ([more on that](super::running#what-outlives-a-run)). Windows and other doors open on them as on records:
//! [step 8](super::joins#doors-on-facts) does that with pairs.
//!
//! Next: [`tables`](super::tables).
