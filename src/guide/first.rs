//! Step 1: lines to counts, what a table is, and the two axes: *what* and *when*.
//!
//! # Your Cargo.toml
//!
//! ```toml
//! [dependencies]
//! thalweg = { path = "…" }
//! clap = { version = "4", features = ["derive"] }  # Options: `#[derive(clap::Args)]`.
//! serde = { version = "1", features = ["derive"] } # Only for state and totals of types of your own.
//!
//! [profile.release]
//! overflow-checks = true                           # Counts never wrap; yours should not, either.
//! ```
//!
//! (In a file that has `use thalweg::prelude::*`, the clap of thalweg will do.) The engines need not be named: they are
//! [`thalweg::timely`](crate::timely) and [`thalweg::differential_dataflow`](crate::differential_dataflow), in the versions
//! that tables are of.
//!
//! # The parts of a dataflow
//!
//! A [`Dataflow`](crate::dataflow::Dataflow) says what it is called, and builds what it shows. Its comment says what it is
//! about, and its fields are its options ([step 2](super::options)); this one has none. `build` runs once on each worker; it does not handle data, but lays the
//! way that data will take:
//!
//! - [`flow.records(Text)`](crate::dataflow::Flow::records) reads each line with a format. [`Text`](crate::format::Text)
//!   takes lines as they are.
//! - [`by_each`](crate::door::Records::by_each) says *by* what the records are grouped: a column, with a name and a type,
//!   and a function that lends any number of keys of a record. `by` is for records that have one key or none.
//! - [`count`](crate::door::Grouped::count) says *what* is wanted of each group. It opens a *door*: from here on there are
//!   no records, but a *table* with the columns `word` and `count`. A door's name labels its state, so no two may have the
//!   same.
//! - [`show`](crate::door::Rows::show) makes a *view* of the table, in the order of [`by_count`](crate::data::by_count).
//!
//! Keys are lent as slices of the line; a door copies a word the first time that it meets it in an epoch, and not for every
//! line.
//!
//! ```
//! use thalweg::prelude::*;
//!
//! /// words by how often they occur
//! #[derive(clap::Args)]
//! struct WordCount;
//!
//! impl Dataflow for WordCount {
//!     const NAME: &'static str = "word-count";
//!
//!     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
//!         let words = flow.records(Text).by_each(text("word"), |line, each| {
//!             line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).for_each(each);
//!         });
//!         words.count("words").sorted_by(by_count).show("words");
//!         Ok(())
//!     }
//! }
//!
//! // A test needs no files: lines in, rows out, with tabs between the cells.
//! let answer = thalweg::testing::run(WordCount, b"to be or\nnot to be\n");
//! assert_eq!(answer.view("words"), ["be\t2", "to\t2", "not\t1", "or\t1"]);
//!
//! // A dry build, which every run begins with, tells the views and their columns; a star is at the key.
//! let views: Vec<_> = Build::of(WordCount).check()?.views.iter().map(ToString::to_string).collect();
//! assert_eq!(views, ["words (word*: text, count: integer of 64 bits)"]);
//! # Ok::<(), BuildError>(())
//! ```
//!
//! What does not go together (two doors of one name, a window on records without times, nothing to show) is a
//! [`BuildError`](crate::dataflow::BuildError) of that dry build, with the place in your code.
//!
//! # What a table is
//!
//! Input comes in *epochs*: batches of lines, whose effects appear all at once. A table is never sent anew. What travels is
//! how it *changes* in an epoch: rows with a difference, `-1` for a row that is no longer there and `+1` for one that now is.
//! A count that rises from 1 to 2 is the old row out and the new row in, and the cost of an epoch is what it changes, not
//! what there is.
//!
//! From here on, a dataflow without options is a function, [`Build::new`](crate::dataflow::Build::new).
//!
//! ```
//! use thalweg::prelude::*;
//! use thalweg::testing::Script;
//!
//! let word_count = Build::new("word-count", |flow| {
//!     let words = flow.records(Text).by_each(text("word"), |line, each| {
//!         line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).for_each(each);
//!     });
//!     words.count("words").sorted_by(by_count).show("words");
//!     Ok(())
//! });
//! let answer = Script::new(word_count).epoch("to be or\n").epoch("not to be\n").run();
//!
//! // What the view held as of each epoch …
//! assert_eq!(answer.view_at("words", 0), ["be\t1", "or\t1", "to\t1"]);
//! assert_eq!(answer.view_at("words", 1), ["be\t2", "to\t2", "not\t1", "or\t1"]);
//! // … and how it changed in the second: "or" is left alone.
//! assert_eq!(answer.changes("words", 1), ["-1\tbe\t1", "-1\tto\t1", "+1\tbe\t2", "+1\tto\t2", "+1\tnot\t1"]);
//! ```
//!
//! So whatever stands behind a door must take retractions, and everything that thalweg and differential offer for tables
//! does: where a row goes, what was made of it goes, too.
//!
//! # The two axes
//!
//! `records.by(columns, key)`, then *when*, then *what*: any goes with any, and each pair is a door.
//!
//! | *when* | over which records of a key |
//! |---|---|
//! | (nothing) | all of them, of all time |
//! | [`over_last(window)`](crate::door::Grouped::over_last) | those of the last complete window, which slides |
//! | [`by_window(window)`](crate::door::Grouped::by_window) | those of each window: a row each, which is final when it is over |
//! | [`by_epoch()`](crate::door::Grouped::by_epoch) | each batch by itself: rows that are final at once |
//! | [`by_session(gap)`](crate::door::Grouped::by_session) | those without a pause: a row for each session, which becomes final |
//!
//! | *what* | its columns, behind those of the key |
//! |---|---|
//! | [`count`](crate::door::Grouped::count) | `count`: how many records |
//! | [`sum`](crate::door::Grouped::sum), [`min`](crate::door::Grouped::min), [`max`](crate::door::Grouped::max) | `sum`, `min`, `max` of a number that a function makes of each |
//! | [`stats`](crate::door::Grouped::stats) | `count`, `sum`, `min`, `max` and `mean` of it |
//! | [`quantiles`](crate::door::Grouped::quantiles) | `count`, `p50`, `p95` and `p99` of it, by a sketch |
//! | [`distinct`](crate::door::Grouped::distinct), [`approx_distinct`](crate::door::Grouped::approx_distinct) | `distinct`: how many different members, exactly or by a sketch |
//! | [`fold`](crate::door::Grouped::fold) | a total of your own: whatever adds up |
//! | [`aggregate`](crate::door::Grouped::aggregate) | up to four of these in one table, each with a name |
//!
//! *When* is [step 5](super::time); without it, records need no times. What follows single records and not groups of them
//! has no such axes: keyed state and first records ([step 6](super::keyed)), joins ([step 8](super::joins)), and
//! [`collect`](crate::door::Grouped::collect), which hands the keys on as they are.
//!
//! A column is `text(name)` (any bytes, lent as `&[u8]`), `string(name)` (lent as `&str`), `number(name)` (`i64`),
//! `flag(name)`, `time(name)`, or `column::<K>(name)` of any [`Key`](crate::data::Key). Several are a tuple, and so is
//! their key; [`all()`](crate::door::Records::all) puts all records under one key without a column. Any number of doors can
//! be opened on the same records: a line is read once, whoever wants it.
//!
//! ```
//! use thalweg::prelude::*;
//!
//! /// Of lines such as `ann /home 120`: a client, a path, and how many bytes it was sent.
//! fn field(line: &[u8], place: usize) -> Option<&[u8]> {
//!     line.split(|byte| *byte == b' ').nth(place)
//! }
//! fn bytes(line: &[u8]) -> Option<u64> {
//!     std::str::from_utf8(field(line, 2)?).ok()?.parse().ok()
//! }
//!
//! let build = Build::new("sizes", |flow| {
//!     let lines = flow.records(Text);
//!     lines.all().count("lines").show("lines");
//!     let requests = lines.by((text("client"), text("path")), |line| Some((field(line.line(), 0)?, field(line.line(), 1)?)));
//!     let requests = requests.aggregate("requests", |of| {
//!         of.count("requests").max("largest", |line| bytes(line.line())).count_if("unsized", |line| bytes(line.line()).is_none())
//!     });
//!     requests.about("what each client asked for").show("requests");
//!     let clients = lines.by(text("path"), |line| field(line.line(), 1));
//!     clients.distinct("clients", text("client"), |line| field(line.line(), 0)).show("clients");
//!     Ok(())
//! });
//! let answer = thalweg::testing::run(build, b"ann /a 20\nbob /a 10\nann /a 30\nann /b -\n");
//! assert_eq!(answer.view("lines"), ["4"]);
//! // What has no largest shows none.
//! assert_eq!(answer.view("requests"), ["ann\t/a\t2\t30\t0", "ann\t/b\t1\t-\t1", "bob\t/a\t1\t10\t0"]);
//! assert_eq!(answer.view("clients"), ["/a\t2", "/b\t1"]);
//! ```
//!
//! Next: [`options`](super::options).
