//! Step 5: when things happened, windows, and what comes late.
//!
//! # Times and the watermark
//!
//! [`event_time`](crate::door::Records::event_time) says when a record happened, in milliseconds UTC since 1970. It is
//! the record's own clock that counts: a log that is read a year later gives the same windows. (`--time arrival` has it
//! otherwise, without a change to the dataflow.)
//!
//! Records arrive late and out of order, so nobody knows when a window is complete. The *watermark* is an estimate: the
//! newest time seen, less the *lateness* (`--lateness`, 10 s by default) that records are allowed. It is worked out as an
//! epoch ends, for all workers. With several partitions (files, say) it is the least of theirs, so that one which is behind
//! holds the others up, until it has been idle for some time.
//!
//! What a record may still change is judged by the watermark *as its epoch began*; records of one epoch never make each
//! other late.
//!
//! # The last ten seconds
//!
//! [`over_last`](crate::door::Records::over_last) is a view of the last complete window. Windows are half-open,
//! `[start, end)`, and start at the multiples of their slide. As the watermark passes the end of the next window, the view
//! moves: what enters is added, what leaves is taken away.
//!
//! ```
//! use std::time::Duration;
//! use thalweg::time::TimeOptions;
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
//! struct Recent;
//!
//! impl Dataflow for Recent {
//! #     const NAME: &'static str = "recent";
//! #     const ABOUT: &'static str = "paths of the last ten seconds";
//!     const VIEWS: &'static [View] = &[
//!         View { name: "paths", columns: &["path", "requests"], about: "paths of the last ten seconds" },
//!         View { name: "top", columns: &["end", "path", "requests"], about: "the first, and when the window ends" },
//!     ];
//!
//!     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
//!         let window = Window::new(Duration::from_secs(10), Duration::from_secs(5)).expect("they go together");
//!         let mut requests = flow.records(Service);
//!         requests.event_time(|request| Some(request.time));
//!         let paths = requests.over_last(window).count_by::<Bytes>("paths", |request| Some(request.path));
//!         flow.view_by("paths", paths.rows(), by_count);
//!
//!         // Rows do not say which window they are of, or all of them would change with each slide. A few may.
//!         let top = paths.with_window("top", paths.top_k(1));
//!         flow.view("top", top.map(|(window, (_, path, count))| (Time(window.end), path, count)));
//!         Ok(())
//!     }
//! }
//!
//! let answer = Script::new(Recent)
//!     .time(TimeOptions { lateness: Duration::from_secs(2), ..TimeOptions::default() })
//!     .epoch("1 ann /a 200\n3 bob /b 200\n6 ann /a 200\n") // Watermark: 4 s.
//!     .epoch("12 ann /c 200\n")                             // Watermark: 10 s.
//!     .epoch("4 bob /b 200\n5 bob /b 200\n")                // Late, but the window that is shown has room for them.
//!     .end()
//!     .run();
//!
//! // What the view held, by epoch and *step*. Step 0 is what an epoch's records change at once; the second epoch passes the
//! // ends of two windows, and each slide is a step of its own, so that none is skipped.
//! let held = answer.history("paths");
//! assert_eq!(held[0], ((1, 1), vec!["/a\t1", "/b\t1"])); // [-5, 5)
//! assert_eq!(held[1], ((1, 2), vec!["/a\t2", "/b\t1"])); // [0, 10)
//! // The late records correct the window that is shown.
//! assert_eq!(held[2], ((2, 0), vec!["/b\t3", "/a\t2"]));
//! let ten = "1970-01-01T00:00:10Z";
//! assert_eq!(answer.changes("top", 2), [format!("-1\t{ten}\t/a\t2"), format!("+1\t{ten}\t/b\t3")]);
//! // The input has ended: the window that holds the newest record, [5, 15).
//! assert_eq!(answer.view("paths"), ["/a\t1", "/b\t1", "/c\t1"]);
//! ```
//!
//! A window that slides costs what enters and what leaves it, however long it is. Sums can be taken away again; the smallest
//! and largest cannot, and [`merged_by`](crate::door::OverLast::merged_by) and `stats_by` have another way for those.
//!
//! # A row for each window
//!
//! [`by_window`](crate::door::Records::by_window) keeps a row for each window and key. Rows are exact while their
//! window is open, and *final* once the watermark has reached its end: then their state is freed, and the rows stay as they
//! are. [`view_windows`](crate::dataflow::Flow::view_windows) shows both: sinks that show views show all rows (of live
//! input, the newest that are final: `keep=`), and those that append (`mode=append`) write each row once, when it is final. The
//! final rows can be gone on with, too ([`finals`](crate::door::Windowed::finals)), whatever the sinks show.
//!
//! Records that are too late for all of their windows are refused. They are counted, and
//! [`refused`](crate::door::ByWindow::refused) has them as a collection.
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
//! struct Tens;
//!
//! impl Dataflow for Tens {
//! #     const NAME: &'static str = "tens";
//! #     const ABOUT: &'static str = "requests of every ten seconds";
//!     const VIEWS: &'static [View] = &[
//!         View { name: "tens", columns: &["start", "path", "requests"], about: "paths of every ten seconds" },
//!         View { name: "refused", columns: &["path"], about: "what was too late" },
//!     ];
//!
//!     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
//!         let tens = Window::tumbling(Duration::from_secs(10)).expect("ten seconds are a window");
//!         let mut requests = flow.records(Service);
//!         // A time below zero is how this service says that it does not know.
//!         requests.event_time(|request| Some(request.time).filter(|time| *time >= 0));
//!         let counts = requests.by_window(tens).count_by::<Bytes>("tens", |request| Some(request.path));
//!         flow.view_windows("tens", counts.map(|(window, path, count)| (window.start / 1000, path, count)));
//!
//!         let refused = requests.by_window(tens).refused::<Bytes>("refused", |request| Some(request.path));
//!         flow.view("refused", refused.map(|path| (path,)));
//!         Ok(())
//!     }
//! }
//!
//! let answer = Script::new(Tens)
//!     .arriving(100_000)                  // Epochs arrive at 100 s by the clock of this test.
//!     .epoch("3 ann /a 200\n9 ann /a 200\n15 bob /a 200\n") // Watermark: 5 s.
//!     .epoch("4 eve /b 200\n25 bob /a 200\n")               // Watermark: 15 s.
//!     .epoch("8 eve /c 200\n12 eve /a 200\n-1 eve /d 200\n9000 eve /e 200\n")
//!     .end()
//!     .run();
//!
//! assert_eq!(answer.view_at("tens", 0), ["0\t/a\t2", "10\t/a\t1"]);
//! // Second 4 is behind the watermark of its epoch, but its window is still open.
//! assert_eq!(answer.changes("tens", 1), ["+1\t0\t/b\t1", "+1\t20\t/a\t1"]);
//! // Second 8 is too late for its window, second 12 is not.
//! assert_eq!(answer.changes("tens", 2), ["-1\t10\t/a\t1", "+1\t10\t/a\t2"]);
//! assert_eq!(answer.view("refused"), ["/c"]);
//! // Rows by when they became final: the first window as the second epoch ended, the rest with the input.
//! assert_eq!(answer.finals("tens"), ["0\t/a\t2", "0\t/b\t1", "10\t/a\t2", "20\t/a\t1"]);
//!
//! // Nothing is dropped without being counted. A time too far ahead of its arrival moves no watermark.
//! let counts = answer.counts();
//! assert_eq!((counts.parsed, counts.late, counts.untimed, counts.ahead), (9, 1, 1, 1));
//! ```
//!
//! Next: [`keyed`](super::keyed).
