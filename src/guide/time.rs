//! Step 5: when things happened, windows, and what is refused.
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
//! [`over_last`](crate::door::Grouped::over_last) is a view of the last complete window. Windows are half-open,
//! `[start, end)`, and start at the multiples of their slide. As the watermark passes the end of the next window, the view
//! moves: what enters is added, what leaves is taken away.
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
//! let build = Build::new("recent", |flow| {
//!     let window = Window::new(Duration::from_secs(10), Duration::from_secs(5))?;
//!     let requests = flow.records(Service).event_time(|request| Some(request.time));
//!     let paths = requests.by(text("path"), |request| Some(request.path)).over_last(window).count("paths");
//!     // Rows do not say which window they are of, or all of them would change with each slide. A few may.
//!     paths.clone().top(1).with_window().show("top");
//!     paths.sorted_by(by_count).show("paths");
//!     Ok(())
//! });
//!
//! let answer = Script::new(build)
//!     .time(TimeOptions { lateness: Duration::from_secs(2), ..TimeOptions::default() })
//!     .epoch("1 ann /a 200\n3 bob /b 200\n6 ann /a 200\n") // Watermark: 4 s.
//!     .epoch("12 ann /c 200\n")                             // Watermark: 10 s.
//!     .epoch("4 bob /b 200\n5 bob /b 200\n")                // Late, but the window that is shown has room for them.
//!     .end()
//!     .run();
//!
//! // What the view held, by epoch and *step*. Step 0 is what an epoch's records change at once; the second epoch passes the
//! // ends of two windows, and each slide is a step of its own, so that none is skipped.
//! let held = answer.steps("paths");
//! let [first, second, third, ..] = held.as_slice() else { panic!("{held:?}") };
//! assert_eq!(*first, ((1, 1), vec!["/a\t1", "/b\t1"])); // [-5, 5)
//! assert_eq!(*second, ((1, 2), vec!["/a\t2", "/b\t1"])); // [0, 10)
//! // The late records correct the window that is shown.
//! assert_eq!(*third, ((2, 0), vec!["/b\t3", "/a\t2"]));
//! let window = "1970-01-01T00:00:00Z\t1970-01-01T00:00:10Z";
//! assert_eq!(answer.changes("top", 2), [format!("-1\t{window}\t1\t/a\t2"), format!("+1\t{window}\t1\t/b\t3")]);
//! // The input has ended: the window that holds the newest record, [5, 15).
//! assert_eq!(answer.view("paths"), ["/a\t1", "/b\t1", "/c\t1"]);
//! ```
//!
//! A window that slides costs what enters and what leaves it, however long it is. Counts and sums can be taken away again;
//! for the smallest, the largest and sketches, the door has another way, and you need not know which. (A total of your own
//! says whether it can be undone: [`Total::INVERTIBLE`](crate::data::Total::INVERTIBLE).)
//!
//! # A row for each window
//!
//! [`by_window`](crate::door::Grouped::by_window) keeps a row for each window and key. Rows are exact while their window is
//! open, and *final* once the watermark has reached its end: then their state is freed, and the rows stay as they are. Sinks
//! that show views show all rows (of live input, the newest that are final: `keep=`), and those that append (`mode=append`)
//! write each row once, when it is final. The final rows can be gone on with, too, as facts
//! ([`finals`](crate::door::Rows::finals)), whatever the sinks show.
//!
//! # What is late, quarantined or untimed
//!
//! A record that is in no table which goes by time has one of three reasons. It is *untimed*: `event_time` made `None` of it.
//! It is *ahead*: dated further after its arrival than `--max-ahead` allows, and set aside, so that one wrong clock does not
//! move the watermark. Or it is *late*: what it belongs to was complete as its epoch began. Nothing is dropped without being
//! counted, and [`refused`](crate::door::Records::refused) has all of them as facts, for all doors of the records: the reason,
//! the door, and whatever you want of the record. An alarm on it is a table like any other.
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
//! let build = Build::new("tens", |flow| {
//!     let tens = Window::tumbling(Duration::from_secs(10))?;
//!     // A time below zero is how this service says that it does not know.
//!     let requests = flow.records(Service).event_time(|request| Some(request.time).filter(|time| *time >= 0));
//!     let counts = requests.by(text("path"), |request| Some(request.path)).by_window(tens).count("tens");
//!     // The window is a column `start` and a column `end`; here they are one, of seconds.
//!     counts.map(["start", "path", "count"], |(window, path, count)| (window.start.seconds(), path, count)).show("tens");
//!
//!     let refused = requests.refused("refused", text("path"), |request| Some(request.path));
//!     refused.clone().show("refused");
//!     refused.map(["reason"], |(reason, _door, _path)| reason).count("refusals").show("refusals");
//!     Ok(())
//! });
//!
//! let answer = Script::new(build)
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
//! // Rows by when they became final: the first window as the second epoch ended, the rest with the input.
//! assert_eq!(answer.finals("tens"), ["0\t/a\t2", "0\t/b\t1", "10\t/a\t2", "20\t/a\t1"]);
//!
//! assert_eq!(answer.view("refused"), ["untimed\t\t/d", "ahead\t\t/e", "late\ttens\t/c"]);
//! // Facts are not kept for another run, but what counts them is.
//! assert_eq!(answer.view("refusals"), ["untimed\t1", "ahead\t1", "late\t1"]);
//! // The run's own counts, which every sink's summary shows.
//! let counts = answer.counts();
//! assert_eq!((counts.parsed, counts.late, counts.untimed, counts.ahead), (9, 1, 1, 1));
//! ```
//!
//! Next: [`keyed`](super::keyed).
