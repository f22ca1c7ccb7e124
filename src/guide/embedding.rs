//! Step 11: a dataflow inside another program.
//!
//! A service that has its log lines in its hands need not write them to a file to have them counted.
//! A [`Run`](crate::Run) is a dataflow on threads in the background: the program pushes lines, says
//! where an epoch ends, and reads what has changed, as values of the types that the dataflow shows.
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::time::Duration;
//!
//! use thalweg::prelude::*;
//! use thalweg::{Change, Run};
//!
//! /// requests of each path, from lines such as `12 /a`: a second and a path
//! #[derive(clap::Args)]
//! struct Paths {
//!     /// length of the windows
//!     #[arg(long, default_value = "10s")]
//!     length: Length,
//! }
//!
//! /// The second and the path.
//! fn parts(line: &[u8]) -> Option<(u32, &[u8])> {
//!     let (second, path) = line.split_at_checked(line.iter().position(|byte| *byte == b' ')?)?;
//!     Some((std::str::from_utf8(second).ok()?.parse().ok()?, path.strip_prefix(b" ")?))
//! }
//!
//! impl Dataflow for Paths {
//!     const NAME: &'static str = "paths";
//!
//!     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
//!         let lines = flow.records(Text).event_time(|line| parts(line.line()).map(|(second, _)| 1000 * i64::from(second)));
//!         let paths = || lines.by(text("path"), |line| Some(parts(line.line())?.1));
//!         paths().count("all").about("of all time").show("all");
//!         let windows = paths().by_window(Window::tumbling(self.length)?).count("windows");
//!         windows.about("by windows of time").show("windows");
//!         Ok(())
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let time = TimeOptions { lateness: Duration::ZERO, ..TimeOptions::default() };
//! let mut run = Run::of(Paths::with_options([])?).workers(2).time(time).with_finals().start()?;
//!
//! // What a view holds is the sum of its changes.
//! let mut all: BTreeMap<(Bytes, isize), isize> = BTreeMap::new();
//! let mut add = |changes: Vec<Change<(Bytes, isize)>>| {
//!     for Change { row, diff, .. } in changes {
//!         *all.entry(row).or_default() += diff;
//!     }
//!     all.retain(|_, count| *count != 0);
//!     all.keys().cloned().collect::<Vec<_>>()
//! };
//! // A row of a window has that in front; where it is shown, these are the columns `start` and `end`.
//! type InWindow = (Span, Bytes, isize);
//! let rows = |changes: Vec<Change<InWindow>>| changes.into_iter().map(|change| change.row).collect::<Vec<_>>();
//!
//! run.push("1 /a\n2 /b\n3 /a\n")?;
//! assert_eq!(run.close_epoch()?, 0);
//! assert_eq!(add(run.changes("all")?), [(Bytes::from("/a"), 2), (Bytes::from("/b"), 1)]);
//! // The window that began at 0 is not over as far as anyone knows.
//! assert_eq!(rows(run.finals("windows")?), []);
//!
//! run.push("14 /b\n")?;
//! run.close_epoch()?;
//! assert_eq!(add(run.changes("all")?), [(Bytes::from("/a"), 2), (Bytes::from("/b"), 2)]);
//! let first = Span::new(0, 10_000);
//! assert_eq!(rows(run.finals("windows")?), [(first, Bytes::from("/a"), 2), (first, Bytes::from("/b"), 1)]);
//!
//! // At the end of the input every window is over.
//! assert_eq!(run.finish()?.lines, 4);
//! assert_eq!(rows(run.finals("windows")?), [(Span::new(10_000, 20_000), Bytes::from("/b"), 1)]);
//! # Ok(())
//! # }
//! ```
//!
//! - **Epochs.** [`close_epoch`](crate::Run::close_epoch) returns when the epoch is closed: when all
//!   that its lines change has been worked out. Close one as often as you want to look, and not for
//!   every line: an epoch has a price of its own, and lines and changes wait in memory for it.
//! - **Callbacks.** [`each`](crate::runtime::RunBuilder::each) is given the changes of a view once for
//!   every closed epoch, and they need not be asked for.
//! - **Several inputs**, each with its name: [`push_to`](crate::Run::push_to).
//! - **Workers** change nothing but the pace. Lines are dealt out among them, and are one partition.
//! - **Arrival.** An epoch arrives when it is closed. In tests,
//!   [`arriving`](crate::runtime::RunBuilder::arriving) says when, so that no clock is read.
//!
//! # When something goes wrong
//!
//! Every error is a value, and nothing ends the process: a dataflow that cannot be built, a line that
//! the format does not put up with, a panic in a function of yours.
//!
//! ```
//! use thalweg::Run;
//! use thalweg::prelude::*;
//! use thalweg::runtime::RunError;
//!
//! let fragile = Build::new("fragile", |flow| {
//!     let ages = flow.records(Text).by(column::<u8>("age"), |line| {
//!         // As it should not be done: bad lines are data.
//!         Some(std::str::from_utf8(line).expect("text").parse().expect("an age"))
//!     });
//!     ages.count("people").show("ages");
//!     Ok(())
//! });
//! let mut run = Run::of(fragile).workers(3).start()?;
//! run.push("31\n27\nold\n")?;
//! let error = run.close_epoch().unwrap_err();
//! assert!(error.to_string().contains("an age"), "{error}");
//! assert!(matches!(run.push("32\n"), Err(RunError::Over)));
//! # Ok::<(), RunError>(())
//! ```
//!
//! A panic ends all workers of the run, and the program goes on. (It is reported by the program's own
//! panic hook, too, as any panic is.) So your package must unwind: with `panic = "abort"` a panic is
//! the end of the program.
//!
//! That is all. The files in `dataflows/` are dataflows made to be copied.
