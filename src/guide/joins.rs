//! Step 8: two kinds of records that belong together.
//!
//! A request and its response, an advertisement shown and the click on it: two events of the same key, within a distance of
//! each other. The `join` of step 3 would keep all events for ever, because any of them may yet meet another. A join that
//! knows the distance does not: once the watermark is too far past an event, nothing can come any more that it belongs to.
//!
//! [`events`](crate::door::Grouped::events) makes events of records: a key and a value, at the record's time. Two of them are
//! joined by [`join`](crate::door::Events::join), or by [`left_join`](crate::door::Events::left_join), which also has the
//! events on the left that stayed alone. [`Within`](crate::time::Within) is the distance: `Within::after(ten_seconds)` says
//! that the right event happens with the left one or up to ten seconds after it.
//!
//! ```
//! use std::time::Duration;
//! use thalweg::prelude::*;
//! use thalweg::testing::Script;
//!
//! /// Lines such as `7 show x1 sale` and `9 click x1`: a second, what happened, to which advertisement, and its campaign.
//! #[derive(Clone)]
//! struct Ads;
//!
//! struct Ad<'a> {
//!     time: i64,
//!     shown: Option<&'a [u8]>,
//!     id: &'a [u8],
//! }
//!
//! impl LineFormat for Ads {
//!     type Record<'a> = Ad<'a>;
//!
//!     fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Ad<'a>> {
//!         let mut fields = line.split(|byte| *byte == b' ');
//!         let seconds: i64 = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
//!         let (what, id) = (fields.next()?, fields.next()?);
//!         let shown = match what {
//!             b"show" => Some(fields.next()?),
//!             b"click" => None,
//!             _ => return None,
//!         };
//!         Some(Ad { time: seconds.checked_mul(1000)?, shown, id })
//!     }
//! }
//! let build = Build::new("clicks", |flow| {
//!     let ads = flow.records(Ads).event_time(|ad| Some(ad.time));
//!     // A key and a value for each. These doors are stateless; the join keeps what it needs.
//!     let shown = ads.by(text("id"), |ad| Some(ad.id)).events("shown", text("campaign"), |ad| ad.shown);
//!     let clicks = ads.by(text("id"), |ad| Some(ad.id)).events("clicks", (), |ad| ad.shown.is_none().then_some(()));
//!     let all = shown.left_join("clicked", clicks, Within::after(Duration::from_secs(10)));
//!
//!     // Each side of a row is `(time, value)`.
//!     let rows = all.map(["id", "campaign", "seconds"], |(id, (Time(then), campaign), click)| {
//!         (id, campaign, click.map(|(Time(time), ())| (time - then) / 1000))
//!     });
//!     rows.about("how long it took; none for no click").show("clicks");
//!     Ok(())
//! });
//!
//! let answer = Script::new(build)
//!     .time(TimeOptions { lateness: Duration::from_secs(5), ..TimeOptions::default() })
//!     .epoch("1 show x1 sale\n2 show x2 sale\n3 show x3 new\n6 click x1\n")
//!     .epoch("11 click x3\n")                    // Watermark: 6 s.
//!     .epoch("7 click x4\n18 show x5 new\n")     // Watermark: 13 s.
//!     .epoch("7 click x5\n7 show x4 sale\n")     // Too late, both.
//!     .run();
//!
//! // A pair is there as soon as both of its events are, whichever comes first …
//! assert_eq!(answer.changes("clicks", 0), ["+1\tx1\tsale\t5"]);
//! assert_eq!(answer.changes("clicks", 1), ["+1\tx3\tnew\t8"]);
//! // … and that there is none, when none can come: x2 was shown in second 2, and it is past second 12.
//! assert_eq!(answer.changes("clicks", 2), ["+1\tx2\tsale\t-"]);
//! // x5 may still be clicked, so nothing is said of it.
//! assert_eq!((answer.view("clicks").len(), answer.counts().late), (3, 2));
//! ```
//!
//! Rows of such a join are facts. Its state is the events that may yet be in a pair: the longer the distance and the
//! lateness, the more of them. A thousand events on each side are a million pairs, if their key is the same and they are
//! near enough; a key of which an epoch makes more than [`at_most`](crate::time::Within::at_most) so many ends the run,
//! with an error that names it.
//!
//! # The next one only
//!
//! Who clicks twice is in two pairs. Where only the next event counts,
//! [`next_only`](crate::time::Within::next_only) has each left event in one pair at most. The first click may arrive last, so
//! such a pair waits until no earlier one can come.
//!
//! ```
//! # use std::time::Duration;
//! # use thalweg::prelude::*;
//! # use thalweg::testing::Script;
//! # #[derive(Clone)]
//! # struct Ads;
//! # struct Ad<'a> {
//! #     time: i64,
//! #     shown: Option<&'a [u8]>,
//! #     id: &'a [u8],
//! # }
//! # impl LineFormat for Ads {
//! #     type Record<'a> = Ad<'a>;
//! #     fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Ad<'a>> {
//! #         let mut fields = line.split(|byte| *byte == b' ');
//! #         let seconds: i64 = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
//! #         let (what, id) = (fields.next()?, fields.next()?);
//! #         let shown = match what {
//! #             b"show" => Some(fields.next()?),
//! #             b"click" => None,
//! #             _ => return None,
//! #         };
//! #         Some(Ad { time: seconds.checked_mul(1000)?, shown, id })
//! #     }
//! # }
//! let clicks = |within: Within| {
//!     let build = Build::new("clicks", move |flow| {
//!         let ads = flow.records(Ads).event_time(|ad| Some(ad.time));
//!         let shown = ads.by(text("id"), |ad| Some(ad.id)).events("shown", (), |ad| ad.shown.map(|_| ()));
//!         let clicks = ads.by(text("id"), |ad| Some(ad.id)).events("clicks", (), |ad| ad.shown.is_none().then_some(()));
//!         let pairs = shown.join("clicked", clicks, within);
//!         pairs.map(["id", "clicked"], |(id, _, (Time(at), ()))| (id, at / 1000)).show("clicks");
//!         Ok(())
//!     });
//!     // It is the end of the input after which no earlier click can come.
//!     Script::new(build).epoch("1 show x1 sale\n6 click x1\n4 click x1\n").end().run()
//! };
//! let within = Within::after(Duration::from_secs(10));
//! assert_eq!(clicks(within).view("clicks"), ["x1\t4", "x1\t6"]);
//! assert_eq!(clicks(within.next_only()).view("clicks"), ["x1\t4"]);
//! ```
//!
//! # Doors on facts
//!
//! What is joined is added up by doors again: [`facts.records()`](crate::door::Rows::records) makes records of facts, with
//! both axes. `event_time` says which of a fact's times counts; it may not be before the watermark, so of a pair it is the
//! later one, and of an event that stayed alone the end of its waiting.
//!
//! ```
//! # use std::time::Duration;
//! # use thalweg::prelude::*;
//! # use thalweg::testing::Script;
//! # #[derive(Clone)]
//! # struct Ads;
//! # struct Ad<'a> {
//! #     time: i64,
//! #     shown: Option<&'a [u8]>,
//! #     id: &'a [u8],
//! # }
//! # impl LineFormat for Ads {
//! #     type Record<'a> = Ad<'a>;
//! #     fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Ad<'a>> {
//! #         let mut fields = line.split(|byte| *byte == b' ');
//! #         let seconds: i64 = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
//! #         let (what, id) = (fields.next()?, fields.next()?);
//! #         let shown = match what {
//! #             b"show" => Some(fields.next()?),
//! #             b"click" => None,
//! #             _ => return None,
//! #         };
//! #         Some(Ad { time: seconds.checked_mul(1000)?, shown, id })
//! #     }
//! # }
//! let build = Build::new("campaigns", |flow| {
//!     let (within, tens) = (Within::after(Duration::from_secs(10)), Window::tumbling(Duration::from_secs(10))?);
//!     let ads = flow.records(Ads).event_time(|ad| Some(ad.time));
//!     let shown = ads.by(text("id"), |ad| Some(ad.id)).events("shown", text("campaign"), |ad| ad.shown);
//!     let clicks = ads.by(text("id"), |ad| Some(ad.id)).events("clicks", (), |ad| ad.shown.is_none().then_some(()));
//!     let all = shown.left_join("clicked", clicks, within);
//!
//!     let outcomes = all.records().event_time(move |row| {
//!         let (_id, (Time(shown), _campaign), click) = **row;
//!         Some(click.as_ref().map_or(Time(shown.saturating_add(within.upper())), |(time, ())| *time))
//!     });
//!     // How each campaign has fared so far …
//!     let campaigns = outcomes.by(text("campaign"), |row| Some(row.1.1.lend())).aggregate("campaigns", |of| {
//!         of.count_if("clicked", |row| row.2.is_some()).count_if("ignored", |row| row.2.is_none())
//!     });
//!     campaigns.show("campaigns");
//!     // … and how many clicks each ten seconds had.
//!     let clicks = outcomes.all().by_window(tens).aggregate("clicks by time", |of| of.count_if("clicks", |row| row.2.is_some()));
//!     clicks.map(["start", "clicks"], |(window, (), clicks)| (window.start.seconds(), clicks)).show("clicks");
//!
//!     // What is late is so by its time alone, whatever a door wants of it: the door `shown` would have these clicks, too.
//!     ads.refused("refused", text("id"), |ad| Some(ad.id)).filter(|(_, door, _)| **door == *b"clicks").show("refused");
//!     Ok(())
//! });
//!
//! let answer = Script::new(build)
//!     .time(TimeOptions { lateness: Duration::from_secs(5), ..TimeOptions::default() })
//!     .epoch("1 show x1 sale\n2 show x2 sale\n3 show x3 new\n6 click x1\n")
//!     .epoch("11 click x3\n")
//!     .workers(2)
//!     .epoch("18 show x5 new\n7 click x4\n")
//!     .epoch("7 click x5\n")
//!     .end()
//!     .run();
//! assert_eq!(answer.view("campaigns"), ["new\t1\t1", "sale\t1\t1"]);
//! assert_eq!(answer.finals("clicks"), ["0\t1", "10\t1"]);
//! assert_eq!(answer.view("refused"), ["late\tclicks\tx5"]);
//! ```
//!
//! Another run that goes on from this one is not given the pairs again, so they are counted by doors, which remember
//! ([more on that](super::running#what-outlives-a-run)).
//!
//! Next: [`running`](super::running).
