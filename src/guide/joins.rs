//! Step 8: two kinds of records that belong together.
//!
//! A request and its response, an advertisement shown and the click on it: two events of the same key, within a distance of
//! each other. The `join` of step 3 would keep all events for ever, because any of them may yet meet another. A join that
//! knows the distance does not: once the watermark is too far past an event, nothing can come any more that it belongs to.
//!
//! [`events`](crate::door::Records::events) makes events of records: a key and a value, at the record's time. Two of
//! them are joined by [`join_within`](crate::door::Events::join_within), or by
//! [`left_join_within`](crate::door::Events::left_join_within), which also has the events on the left that stayed
//! alone. [`Within`](crate::time::Within) is the distance: `Within::after(five_minutes)` says that the right event
//! happens with the left one or up to five minutes after it.
//!
//! ```
//! use std::time::Duration;
//! use thalweg::time::{TimeOptions, Within};
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
//!
//! #[derive(clap::Args)]
//! struct Clicks;
//!
//! impl Dataflow for Clicks {
//! #     const NAME: &'static str = "clicks";
//! #     const ABOUT: &'static str = "which advertisements are clicked";
//!     const VIEWS: &'static [View] = &[
//!         View { name: "clicks", columns: &["id", "campaign", "seconds"], about: "how long it took; none for no click" },
//!         View { name: "campaigns", columns: &["campaign", "clicked", "ignored"], about: "how they fared" },
//!         View { name: "refused", columns: &["id"], about: "clicks that came too late" },
//!     ];
//!
//!     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
//!         let within = Within::after(Duration::from_secs(10));
//!         let mut ads = flow.records(Ads);
//!         ads.event_time(|ad| Some(ad.time));
//!
//!         // A key and a value for each. These doors are stateless; the join keeps what it needs.
//!         let shown = ads.events::<Bytes, Bytes>("shown", |ad| Some((ad.id, ad.shown?)));
//!         let clicks = ads.events::<Bytes, ()>("clicks", |ad| ad.shown.is_none().then_some((ad.id, ())));
//!         let all = shown.left_join_within("clicked", clicks, within);
//!
//!         // Each side of a row is `(time, value)`.
//!         let rows = all.clone().map(|(id, (then, campaign), click)| {
//!             (id, campaign, click.map(|(time, ())| (time - then) / 1000))
//!         });
//!         flow.view("clicks", rows);
//!
//!         // What is joined is a collection like any other.
//!         let clicked = all.clone().flat_map(|(_, (_, campaign), click)| click.map(|_| campaign));
//!         let clicked = flow.totals("campaigns clicked", clicked);
//!         let ignored = all.flat_map(|(_, (_, campaign), click)| click.is_none().then_some(campaign));
//!         let ignored = flow.totals("campaigns ignored", ignored);
//!         let campaigns = clicked.beside("campaigns", ignored);
//!         flow.view("campaigns", campaigns.map(|(campaign, (clicked, ignored))| (campaign, clicked, ignored)));
//!
//!         let refused = ads.refused::<Bytes>("refused", |ad| ad.shown.is_none().then_some(ad.id));
//!         flow.view("refused", refused.map(|id| (id,)));
//!         Ok(())
//!     }
//! }
//!
//! let answer = Script::new(Clicks)
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
//! assert_eq!(answer.view("campaigns"), ["new\t1\t0", "sale\t1\t1"]);
//! // x5 may still be clicked, so nothing is said of it.
//! assert_eq!(answer.view("clicks").len(), 3);
//! assert_eq!((answer.view("refused"), answer.counts().late), (vec!["x5"], 2));
//! ```
//!
//! Rows of such a join are inserted once and never retracted. Its state is the events that may yet be in a pair: the longer
//! the distance and the lateness, the more of them. Another run that goes on from this one is not given the rows again, so
//! they are counted by what is durable itself ([more on that](super::running#what-outlives-a-run)).
//!
//! Next: [`running`](super::running).
