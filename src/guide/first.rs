//! Step 1: lines to counts, and what a collection is.
//!
//! # The parts of a dataflow
//!
//! A [`Dataflow`](crate::dataflow::Dataflow) says what it is called and what it shows, and builds it. Its fields are its options
//! ([step 2](super::options)); this one has none. `build` runs once on each worker; it does not handle data, but lays the way
//! that data will take:
//!
//! - [`flow.records(Text)`](crate::dataflow::Flow::records) reads each line with a format. [`Text`](crate::format::Text)
//!   takes lines as they are.
//! - [`count_each`](crate::door::Records::count_each) opens a *door*: from here on there are no records, but a
//!   *collection* of rows `(word, count)`. A door's name labels its state, so no two may have the same.
//! - [`flow.view_by`](crate::dataflow::Flow::view_by) shows a collection under the name of a declared view. A view's rows
//!   are tuples with one element for each column; [`by_count`](crate::data::by_count) is the order in which they stand.
//!
//! `::<Bytes>` is what a key is once it is owned. The function lends slices of the line; a door copies a word the first time
//! that it meets it in an epoch, and not for every line.
//!
//! ```
//! use thalweg::prelude::*;
//!
//! #[derive(clap::Args)]
//! struct WordCount;
//!
//! impl Dataflow for WordCount {
//!     const NAME: &'static str = "word-count";
//!     const ABOUT: &'static str = "words by how often they occur";
//!     const VIEWS: &'static [View] = &[View { name: "words", columns: &["word", "count"], about: "every word, by count" }];
//!
//!     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
//!         let mut lines = flow.records(Text);
//!         let words = lines.count_each::<Bytes>("words", |line, each| {
//!             line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).for_each(each);
//!         });
//!         flow.view_by("words", words, by_count);
//!         Ok(())
//!     }
//! }
//!
//! // A test needs no files: lines in, rows out, with tabs between the cells.
//! let answer = thalweg::testing::run(WordCount, b"to be or\nnot to be\n");
//! assert_eq!(answer.view("words"), ["be\t2", "to\t2", "not\t1", "or\t1"]);
//! ```
//!
//! # What a collection is
//!
//! Input comes in *epochs*: batches of lines, whose effects appear all at once. A collection is never sent anew. What
//! travels is how it *changes* in an epoch: rows with a difference, `-1` for a row that is no longer there and `+1` for one
//! that now is. A count that rises from 1 to 2 is the old row out and the new row in, and the cost of an epoch is what it
//! changes, not what there is.
//!
//! ```
//! # use thalweg::prelude::*;
//! # #[derive(clap::Args)]
//! # struct WordCount;
//! # impl Dataflow for WordCount {
//! #     const NAME: &'static str = "word-count";
//! #     const ABOUT: &'static str = "words by how often they occur";
//! #     const VIEWS: &'static [View] = &[View { name: "words", columns: &["word", "count"], about: "by count" }];
//! #     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
//! #         let words = flow.records(Text).count_each::<Bytes>("words", |line, each| {
//! #             line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).for_each(each);
//! #         });
//! #         flow.view_by("words", words, by_count);
//! #         Ok(())
//! #     }
//! # }
//! use thalweg::testing::Script;
//!
//! let answer = Script::new(WordCount).epoch("to be or\n").epoch("not to be\n").run();
//!
//! // What the view held as of each epoch …
//! assert_eq!(answer.view_at("words", 0), ["be\t1", "or\t1", "to\t1"]);
//! assert_eq!(answer.view_at("words", 1), ["be\t2", "to\t2", "not\t1", "or\t1"]);
//! // … and how it changed in the second: "or" is left alone.
//! assert_eq!(answer.changes("words", 1), ["-1\tbe\t1", "-1\tto\t1", "+1\tbe\t2", "+1\tto\t2", "+1\tnot\t1"]);
//! ```
//!
//! So whatever stands behind a door must take retractions, and everything that thalweg and differential offer for
//! collections does: where a row goes, what was made of it goes, too.
//!
//! # Other doors
//!
//! All of these are methods of [`Records`](crate::door::Records), and any number of them can be opened on the same
//! records: a line is read once, whoever wants it.
//!
//! | door | rows |
//! |---|---|
//! | `count_by` | `(key, count)`, for records that have one key or none (`None`) |
//! | `count_each` | the same, for records that have any number of keys |
//! | `sum_by`, `stats_by` | `(key, sum)`, `(key, stats)`: count, sum, smallest, largest |
//! | `totals_by` | `(key, total)` of any type that adds up, such as a pair of sums |
//! | `sum_all` | one row, which is always there |
//! | `collect`, `collect_each` | the data themselves, as a multiset; such a door has no state |
//!
//! Next: [`options`](super::options).
