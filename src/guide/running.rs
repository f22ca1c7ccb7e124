//! Step 9: testing it, making a command of it, and making it fast.
//!
//! # What to test
//!
//! The same input must give the same views: on any number of workers; with a stop in the middle, after which another run
//! goes on, perhaps on more workers; and, for records within the lateness, however it is cut into epochs. thalweg sees to
//! its side of that. A function of yours that depends on anything but its arguments (a clock, the order of a `HashMap`, how
//! many values it is called with) breaks it, and [`Script`](crate::testing::Script) finds out.
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
//! struct Tens;
//!
//! impl Dataflow for Tens {
//! #     const NAME: &'static str = "tens";
//! #     const ABOUT: &'static str = "requests of every ten seconds";
//! #     const VIEWS: &'static [View] = &[View { name: "tens", columns: &["start", "path", "requests"], about: "paths of every ten seconds" }];
//!     // As in step 5.
//! #     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
//! #         let tens = Window::tumbling(Duration::from_secs(10)).expect("ten seconds are a window");
//! #         let mut requests = flow.records(Service);
//! #         requests.event_time(|request| Some(request.time));
//! #         let counts = requests.by_window(tens).count_by::<Bytes>("tens", |request| Some(request.path));
//! #         flow.view_windows("tens", counts.map(|(window, path, count)| (window.start / 1000, path, count)));
//! #         Ok(())
//! #     }
//! }
//!
//! let (first, second) = ("3 ann /a 200\n12 bob /a 200\n", "9 eve /b 200\n14 ann /a 200\n25 ann /a 200\n");
//! let expected = ["0\t/a\t1", "0\t/b\t1", "10\t/a\t2", "20\t/a\t1"];
//!
//! // Any number of workers: lines are dealt out among them.
//! for workers in 1..=3 {
//!     let answer = Script::new(Tens).workers(workers).epoch(first).epoch(second).end().run();
//!     assert_eq!(answer.view("tens"), expected);
//!     assert_eq!(answer.finals("tens"), expected);
//! }
//!
//! // One epoch rather than two.
//! let whole = Script::new(Tens).epoch([first, second].concat()).end().run();
//! assert_eq!(whole.finals("tens"), expected);
//!
//! // Stopped after the first epoch; three workers go on from what two have kept.
//! let answer = Script::new(Tens).workers(2).epoch(first).workers(3).epoch(second).end().run();
//! assert_eq!(answer.view("tens"), expected);
//!
//! // What was final when it was stopped is the sinks' business, and no longer the dataflow's.
//! let later = Script::new(Tens).epoch(first).epoch("60 eve /b 200\n").workers(3).epoch("61 eve /b 200\n").run();
//! assert_eq!(later.view_at("tens", 1), ["0\t/a\t1", "10\t/a\t1", "60\t/b\t1"]);
//! assert_eq!(later.view("tens"), ["60\t/b\t2"]);
//!
//! // Without `end`, the run was stopped and the input did not end: windows may be open.
//! let stopped = Script::new(Tens).epoch(first).epoch(second).run();
//! assert_eq!(stopped.view("tens"), expected);
//! assert_eq!(stopped.finals("tens"), ["0\t/a\t1", "0\t/b\t1"]);
//!
//! // Two partitions, the older first. The watermark is that of the one which is behind …
//! let two = Script::new(Tens)
//!     .time(TimeOptions { lateness: Duration::ZERO, idle_timeout: Duration::from_secs(60), ..TimeOptions::default() })
//!     .arriving(1_000_000)
//!     .epoch_of(&[("old.log", b"3 ann /a 200\n"), ("new.log", b"42 bob /a 200\n")]);
//! assert_eq!(two.clone().run().finals("tens"), [""; 0]);
//! // … until it has been idle for a minute, by the arrival of epochs and not by a clock.
//! let idle = two.arriving(1_060_000).epoch_of(&[("new.log", b"43 bob /a 200\n")]);
//! assert_eq!(idle.run().finals("tens"), ["0\t/a\t1"]);
//! ```
//!
//! Three kinds of lines belong into every test: a malformed one, one without a time, and one that is too late. The
//! [`counts`](crate::testing::Answer::counts) say what became of them (step 5 has an example).
//!
//! For a door or an operator alone, [`testing::collection`](crate::testing::collection) needs no dataflow around it:
//!
//! ```
//! use thalweg::prelude::*;
//! let longest = thalweg::testing::collection(Text, b"one\nthree\n", |lines| {
//!     lines.stats_by::<(), _>("lengths", |line| Some(((), line.line().len() as i128))).map(|((), lengths)| lengths.max)
//! });
//! assert_eq!(longest, [(Some(5), 1)]);
//! ```
//!
//! # What outlives a run
//!
//! A door is a table, and its rows are what is durable: as it closes an epoch it says what changed
//! of them, and a [`Snapshot`](crate::state::Snapshot) has the rows of all doors. When a run goes
//! on from one, at any number of workers, each door begins with its rows, and the operators behind
//! it work out their results anew from that. Operators keep nothing themselves. So it is as if
//! nothing had happened, wherever a door keeps all of its rows; but some forget on purpose, or let
//! records through and keep no rows at all:
//!
//! | doors | what they begin with |
//! |---|---|
//! | `count_by`, `sum_by`, `totals_by` and their kin, [`Flow::totals`](crate::dataflow::Flow::totals) | all rows |
//! | `update_state_by_key` | all states |
//! | `over_last` | the window, and what has come for those after it |
//! | `by_window`, `by_session` | the rows of what is open; those that are final are the sinks' |
//! | `distinct_within`, `join_within`, `left_join_within` | no rows: those that an earlier run let through, it has let through |
//! | `collect`, `refused` | no rows |
//!
//! So a total of what is let through has to be durable itself: `flow.totals` is, and the operator `totals` is not.
//!
//! That the input has ended is no change of the state. A run that has ended can be given more
//! input, and goes on as if it had been stopped just before its end: the last windows are open
//! again, and keys that timed out by then have not.
//!
//! Keys, sums and states stand in typed columns ([`Stored`](crate::data::Stored)). A struct of your
//! own gets them by [`impl_stored!`](crate::impl_stored), which also takes what can have no
//! columns. State goes to the door of the same name, and only if its rules are the same: windows of
//! a minute do not go on from sums of 30 s, and the error says that this is what differs.
//!
//! ```
//! # use std::time::Duration;
//! use thalweg::prelude::*;
//! use thalweg::testing::Script;
//!
//! /// Lines such as `12 ann`: a second and a client.
//! #[derive(clap::Args)]
//! struct Clients;
//!
//! impl Dataflow for Clients {
//! #     const NAME: &'static str = "clients";
//! #     const ABOUT: &'static str = "records of each client";
//!     const VIEWS: &'static [View] = &[
//!         View { name: "all", columns: &["client", "records"], about: "all records" },
//!         View { name: "once", columns: &["client", "records"], about: "those that repeat none of the last 5 s" },
//!         View { name: "since", columns: &["client", "records"], about: "those of this run" },
//!     ];
//!
//!     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
//!         let mut lines = flow.records(Text);
//!         lines.event_time(|line| Some(1000 * std::str::from_utf8(line.get(..2)?).ok()?.parse::<i64>().ok()?));
//!         flow.view("all", lines.count_by::<Bytes>("all", |line| line.get(3..)));
//!         let once = lines.distinct_within::<Bytes, ()>("once", Duration::from_secs(5), |line| Some((line.get(3..)?, ())));
//!         let once = once.map(|(client, ())| client);
//!         flow.view("once", flow.totals("once, counted", once.clone()));
//!         flow.view("since", once.totals());
//!         Ok(())
//!     }
//! }
//!
//! let script = Script::new(Clients).epoch("10 ann\n20 ann\n20 ann\n").epoch("40 ann\n");
//! let answer = script.clone().epoch("50 ann\n").run();
//! assert_eq!((answer.view("all"), answer.view("once")), (vec!["ann\t5"], vec!["ann\t4"]));
//! assert_eq!(answer.view("since"), ["ann\t4"]);
//!
//! // With a stop before the last epoch.
//! let answer = script.workers(2).epoch("50 ann\n").run();
//! assert_eq!((answer.view("all"), answer.view("once")), (vec!["ann\t5"], vec!["ann\t4"]));
//! assert_eq!(answer.view("since"), ["ann\t1"]);
//! ```
//!
//! # When it does not compile
//!
//! - *type annotations needed … `_: Key`*: the door must be told what a key is once it is owned, `count_by::<Bytes>`.
//! - *the trait bound `Bytes: Row` is not satisfied*: a row is a tuple, also of one: `rows.map(|key| (key,))`.
//! - *`(Bytes, Bytes): Cell` is not satisfied*: a key of two parts is two columns:
//!   `rows.map(|((a, b), count)| (a, b, count))`.
//! - *`f64: Cell` is not satisfied*: numbers in rows have an order; [`Real`](crate::data::Real) is the one with a fraction.
//! - *`(u8, u8, u8): Key` is not satisfied*: keys are pairs of pairs, `(u8, (u8, u8))`; and for `usize: Key`, take `u64`.
//! - *the trait bound `Visit: Stored` is not satisfied*: say in which columns it stands,
//!   `thalweg::impl_stored!(Visit { pages: u64, bytes: i64 })`.
//! - *cannot return value referencing temporary value*, or *references to captured variables can't escape the closure*: the
//!   key that `count_by` returns must be of the record. `count_each` is lent a key for the call alone, which may be of
//!   anything.
//!
//! # A command
//!
//! [`cli::main`](crate::cli::main) makes a command of dataflows, with all that `thalweg` itself can do: `run` and `list`,
//! sources and sinks, worker threads and processes, a configuration file, and usage texts of your own options. To one with
//! sources and sinks of your own comes [`own`](super::own).
//!
//! ```no_run
//! use std::process::ExitCode;
//! # use thalweg::prelude::*;
//! # #[derive(clap::Args)]
//! # struct WordCount;
//! # impl Dataflow for WordCount {
//! #     const NAME: &'static str = "word-count";
//! #     const ABOUT: &'static str = "words";
//! #     const VIEWS: &'static [View] = &[View { name: "words", columns: &["word", "count"], about: "by count" }];
//! #     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
//! #         let words = flow.records(Text).count_by::<Bytes>("words", |line| Some(line.line()));
//! #         flow.view_by("words", words, by_count);
//! #         Ok(())
//! #     }
//! # }
//!
//! fn main() -> ExitCode {
//!     thalweg::cli::main(&[AnyDataflow::of::<WordCount>()])
//! }
//! ```
//!
//! ```sh
//! mine list
//! mine run word-count --source 'file:logs/*.log' -w 4
//! tail -F app.log | mine run word-count --source stdin: --sink 'jsonl:counts.jsonl?mode=changes'
//! ```
//!
//! Your package wants `overflow-checks = true` in its release profile, as thalweg has it: counts never wrap.
//!
//! # Where the time goes
//!
//! Measure a release build on real lines. If it is slow, these are the places to look, the most likely first.
//!
//! - **What runs for every line**: the format and the functions of the doors. They should not allocate. Records lend slices;
//!   a `String` or `Vec` for each line costs more than all else that a door does. Split with `memchr` where `split` shows.
//! - **Keys lend themselves.** A door looks a key up as a slice, and owns it when it is new to the epoch. `count_each` and
//!   `totals_by` are lent keys rather than returned them, so a key that is made up need not be allocated; the function of
//!   `totals_by` may also keep what it made it in, as below.
//! - **Sums are local first.** Each worker adds up an epoch's records before it sends anything, so a million lines of a
//!   thousand keys are a thousand updates. A key that hardly ever repeats (a request's id) spoils that, and so do epochs of
//!   a few lines (`--epoch-bytes`, `--tick`). Ask for fewer keys: round, cut off queries, take the status class.
//! - **Doors before operators.** `totals_by` with a pair is one table, where two doors and a `join` are three. `collect`
//!   hands every different datum on: behind it, work is by the datum and no longer by the sum.
//! - **Filter before you rank or join.** `more_than` and `filter` are stateless, an arrangement is not.
//! - **State**: one row a key for totals, one a pane and key for windows. A short slide makes small panes.
//! - **Views** that change in every row at every epoch cost their sink that much; show the first hundred.
//!
//! ```
//! use thalweg::prelude::*;
//! let words = thalweg::testing::collection(Text, b"To be or\nnot TO be\n", |lines| {
//!     let mut lower = Vec::new();
//!     lines.totals_by::<Bytes, isize>("words", move |line, sums| {
//!         lower.clear();
//!         lower.extend(line.iter().map(u8::to_ascii_lowercase));
//!         for word in lower.split(u8::is_ascii_whitespace) {
//!             *sums.entry(word) += 1;
//!         }
//!     })
//! });
//! assert!(words.contains(&((Bytes::from("to"), 2), 1)));
//! ```
//!
//! `thalweg bench` measures throughput and updates of the ready-made dataflows, to compare with.
//!
//! Next: [`own`](super::own).
