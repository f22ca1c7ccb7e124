//! Step 9: testing it, making a command of it, and making it fast.
//!
//! # What to test
//!
//! The same input must give the same views: on any number of workers; with a stop in the middle, after which another run
//! goes on, perhaps on more workers; and, for records within the lateness, however it is cut into epochs. thalweg sees to
//! its side of that. A function of yours that depends on anything but its arguments (a clock, the order of a `HashMap`, how
//! many values it is called with) breaks it, and [`Script::everywhere`](crate::testing::Script::everywhere) finds out: it runs
//! the script on one to four workers, cut in several ways, in one go and stopped in between.
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
//! let tens = Build::new("tens", |flow| {
//!     // As in step 5.
//! #     let tens = Window::tumbling(Duration::from_secs(10))?;
//! #     let requests = flow.records(Service).event_time(|request| Some(request.time));
//! #     let counts = requests.by(text("path"), |request| Some(request.path)).by_window(tens).count("tens");
//! #     counts.map(["start", "path", "count"], |(window, path, count)| (window.start.seconds(), path, count)).show("tens");
//! #     Ok(())
//! });
//! let script = || Script::new(tens.clone());
//!
//! let (first, second) = ("3 ann /a 200\n12 bob /a 200\n", "9 eve /b 200\n14 ann /a 200\n25 ann /a 200\n");
//! let expected = ["0\t/a\t1", "0\t/b\t1", "10\t/a\t2", "20\t/a\t1"];
//!
//! // Panics where an answer is another one.
//! let answer = script().epoch(first).epoch(second).end().everywhere();
//! assert_eq!(answer.view("tens"), expected);
//! assert_eq!(answer.finals("tens"), expected);
//! // Rows are also there as they are in the dataflow.
//! assert_eq!(answer.rows::<(i64, Bytes, isize)>("tens").first(), Some(&(0, Bytes::from("/a"), 1)));
//!
//! // Three workers go on from what one has kept. Rows that were final when it was stopped are still shown, and do not become so
//! // again.
//! let later = script().epoch(first).epoch("60 eve /b 200\n").workers(3).epoch("61 eve /b 200\n").run();
//! assert_eq!(later.view_at("tens", 1), ["0\t/a\t1", "10\t/a\t1", "60\t/b\t1"]);
//! assert_eq!(later.view("tens"), ["0\t/a\t1", "10\t/a\t1", "60\t/b\t2"]);
//! assert_eq!(later.finals("tens"), ["0\t/a\t1", "10\t/a\t1"]);
//!
//! // Without `end`, the run was stopped and the input did not end: windows may be open.
//! let stopped = script().epoch(first).epoch(second).run();
//! assert_eq!(stopped.view("tens"), expected);
//! assert_eq!(stopped.finals("tens"), ["0\t/a\t1", "0\t/b\t1"]);
//!
//! // Two partitions, the older first. The watermark is that of the one which is behind …
//! let two = script()
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
//!     lines.all().max("lengths", |line| Some(line.len() as u64)).rows()
//! });
//! assert_eq!(longest, [(((), Maximum(Some(5))), 1)]);
//! ```
//!
//! # What outlives a run
//!
//! A door's state is durable: as it closes an epoch it says what changed of its rows, and a
//! [`Snapshot`](crate::state::Snapshot) has the rows of all doors. When a run goes on from one, at any number of workers, each
//! door begins with its rows, and the operators behind it work out their results anew from that. Operators keep nothing
//! themselves. So it is as if nothing had happened, wherever a door keeps all of its rows; but some forget on purpose, or let
//! records through and keep no rows at all:
//!
//! | doors | what they begin with |
//! |---|---|
//! | `count`, `sum` and their kin of all time; `count` of facts, [`Flow::totals`](crate::dataflow::Flow::totals) | all rows |
//! | `state` | all states |
//! | `over_last` | the window, and what has come for those after it |
//! | `by_window`, `by_session` | the rows of what is open, and those that are final for as long as a view shows them (`--keep`) |
//! | facts: of `first_within`, `join`, `left_join`, `state`, `collect`, `refused` | no rows: those that an earlier run let through, it has let through |
//!
//! So a total of facts has to be durable itself: [`count`](crate::door::Rows::count) is, and so are the doors on
//! [`records()`](crate::door::Rows::records) of facts; the operator [`totals`](crate::operators::Totals::totals) is not.
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
//! // Lines such as `12 ann`: a second and a client.
//! let build = Build::new("clients", |flow| {
//!     let lines = flow.records(Text).event_time(|line| {
//!         std::str::from_utf8(line.get(..2)?).ok()?.parse::<i64>().ok()?.checked_mul(1000)
//!     });
//!     lines.by(text("client"), |line| line.get(3..)).count("all").show("all");
//!     let once = lines.by(text("client"), |line| line.get(3..)).first_within("once", Duration::from_secs(5), (), |_| Some(()));
//!     // Those that repeat none of the last 5 s, of all runs and of this one.
//!     let once = once.map(["client"], |(client, ())| client);
//!     once.clone().count("once, counted").show("once");
//!     flow.table(["client", "count"], once.rows().totals()).show("since");
//!     Ok(())
//! });
//!
//! let script = Script::new(build).epoch("10 ann\n20 ann\n20 ann\n").epoch("40 ann\n");
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
//! - *cannot return value referencing local variable*, or *temporary value*: the key that the function of `by` returns must be
//!   of the record. `by_each` is lent a key for the call alone, which may be of anything.
//! - *the method `count` exists … `Grouped<…>: Iterator`*: the function is not good for records of every lifetime. Write it in
//!   the call and not into a variable before, or make it an
//!   `fn key<'a>(line: &Parsed<'a, Text>) -> Option<&'a [u8]>`.
//! - *type annotations needed for `&mut Vec<_>`* at `state`: say what its facts are, `facts: &mut Vec<()>` if there are none; at
//!   `fold`: what its total is, `sum: &mut (isize, i64)`.
//! - *use of moved value* behind `show`, `top` and the like: `table.clone()`, which is cheap.
//! - *the method `show` exists for struct `Collection<…>`*: name the columns, `flow.table(["word"], collection)`.
//! - *expected `Rows<…, Changing>`, found `Rows<…, Standing>`*: tables of two kinds; a sliding view is one of the first kind by
//!   [`as_table`](crate::door::Rows::as_table).
//! - *no method named `state` … `BySession`*: what follows single records goes with no window.
//! - *`f64: ExchangeData` is not satisfied*: what stands in rows has an order; [`Real`](crate::data::Real) is the number with a
//!   fraction. *`i128: From<usize>`*, *`usize` cannot be a key*: take `u64`.
//! - *implementation of `Deserialize` is not general enough*: rows, states and facts own what they hold, `String` and not `&str`.
//! - *the trait bound `Visit: Stored` is not satisfied*: say in which columns it stands,
//!   `thalweg::impl_stored!(Visit { pages: u64, bytes: i64 })`; and derive what else state has to be: `Clone`, `Debug`, `Eq`,
//!   `Ord`, and serde's `Serialize` and `Deserialize`.
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
//! #     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
//! #         flow.records(Text).by(text("word"), |line| Some(line.line())).count("words").show("words");
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
//! # Where the time goes
//!
//! Measure a release build on real lines. If it is slow, these are the places to look, the most likely first.
//!
//! - **What runs for every line**: the format and the functions of the doors. They should not allocate. Records lend slices;
//!   a `String` or `Vec` for each line costs more than all else that a door does. Split with `memchr` where `split` shows.
//! - **Keys lend themselves.** A door looks a key up as a slice, and owns it when it is new to the epoch. `by_each` is lent
//!   keys rather than returned them, so a key that is made up need not be allocated for each line, as below.
//! - **Sums are local first.** Each worker adds up an epoch's records before it sends anything, so a million lines of a
//!   thousand keys are a thousand updates. A key that hardly ever repeats (a request's id) spoils that, and so do epochs of
//!   a few lines (`--epoch-bytes`, `--tick`). Ask for fewer keys: round, cut off queries, take the status class.
//! - **Doors before operators.** `aggregate` is one table, where two doors and a join are three. `collect`
//!   hands every different datum on: behind it, work is by the datum and no longer by the sum.
//! - **Filter before you rank or join.** `more_than` and `filter` are stateless, an arrangement is not.
//! - **State**: one row a key for totals, one a pane and key for windows. A short slide makes small panes.
//! - **Views** that change in every row at every epoch cost their sink that much; show the first hundred.
//!
//! ```
//! use std::cell::RefCell;
//! use thalweg::prelude::*;
//! let words = thalweg::testing::collection(Text, b"To be or\nnot TO be\n", |lines| {
//!     // A door's function is `Fn`: what it keeps from line to line is room to work in, and stands in a cell.
//!     let lower = RefCell::new(Vec::new());
//!     let words = lines.by_each(text("word"), move |line, each| {
//!         let mut lower = lower.borrow_mut();
//!         lower.clear();
//!         lower.extend(line.iter().map(u8::to_ascii_lowercase));
//!         lower.split(u8::is_ascii_whitespace).for_each(each);
//!     });
//!     words.count("words").rows()
//! });
//! assert!(words.contains(&((Bytes::from("to"), 2), 1)));
//! ```
//!
//! `thalweg bench` measures throughput and updates of the ready-made dataflows, to compare with.
//!
//! Next: [`own`](super::own).
