//! Step 2: what the user of a dataflow can set.
//!
//! The fields of a dataflow are its options, with `#[derive(clap::Args)]`: on the command line they are `--name VALUE`, in
//! the configuration file `name = VALUE`, and the usage text comes of them, too, with the comment of each field. (That of the
//! struct is what the dataflow is said to be about.) They are
//! read once, before a worker starts; what is wrong is an [`OptionError`](crate::dataflow::OptionError) that names the option
//! and the value, and the process says so and ends.
//!
//! - A field is whatever `FromStr` reads: numbers, text, an enum of one's own ([`key_enum!`](crate::key_enum)).
//! - A `bool` is a flag: it is given or not. An `Option` need not be given.
//! - [`Length`](crate::time::Length) reads lengths of time, such as `30s` or `1h 30m`;
//!   [`WindowOptions`](crate::dataflow::WindowOptions) are a `--length` and a `--slide`.
//! - A function that reads the text (`value_parser`) can refuse a value for reasons of its own.
//!
//! What two options say together is found out in `build`, which returns a
//! [`BuildError`](crate::dataflow::BuildError): `Window::new(self.length, self.slide)?` (step 5). It is asked once, before the
//! run begins.
//!
//! `build` is run by every worker, and each door's function owns what it uses (`move`): it copies or clones what it needs
//! of `self`.
//!
//! ```
//! use thalweg::prelude::*;
//! use thalweg::testing::run;
//!
//! /// paths of slow requests, from lines such as `/cart?id=7 1250`: a path, and milliseconds
//! #[derive(clap::Args)]
//! struct Slow {
//!     /// faster requests are left out
//!     #[arg(long, value_name = "TIME", default_value = "1s")]
//!     slower_than: Length,
//!     /// paths with fewer are left out
//!     #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
//!     least: u32,
//!     /// keep what is behind a `?`
//!     #[arg(long)]
//!     query: bool,
//! }
//!
//! impl Dataflow for Slow {
//!     const NAME: &'static str = "slow";
//!
//!     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
//!         let (query, least, slower_than) = (self.query, self.least as isize, self.slower_than.millis());
//!         let slow = flow.records(Text).by(text("path"), move |line| {
//!             let mut fields = line.split(|byte| *byte == b' ');
//!             let path = fields.next()?;
//!             let took: i64 = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
//!             let path = if query { path } else { path.split(|byte| *byte == b'?').next()? };
//!             (took > slower_than).then_some(path)
//!         });
//!         slow.count("slow").filter(move |(_, requests)| *requests >= least).sorted_by(by_count).show("slow");
//!         Ok(())
//!     }
//! }
//!
//! let lines = b"/cart?id=7 1250\n/cart?id=8 1800\n/home 90\n/slow 3000\n";
//! let slow = |options: &[(&str, &str)]| Slow::with_options(options.iter().copied());
//! assert_eq!(run(slow(&[])?, lines).view("slow"), ["/cart\t2", "/slow\t1"]);
//! assert_eq!(run(slow(&[("slower-than", "50ms"), ("least", "2")])?, lines).view("slow"), ["/cart\t2"]);
//! // In code, options are fields.
//! let slower_than: Length = "1500ms".parse()?;
//! let answer = run(Slow { slower_than, least: 1, query: true }, lines);
//! assert_eq!(answer.view("slow"), ["/cart?id=8\t1", "/slow\t1"]);
//!
//! // What the user is told.
//! let error = |name, value| slow(&[(name, value)]).err().map(|error| error.to_string()).unwrap_or_default();
//! assert_eq!(error("slower-than", "soon"), "`--slower-than soon`: expected number at 0 (such as 500ms, 30s, 1h)");
//! assert_eq!(error("least", "many"), "`--least many`: invalid digit found in string");
//! assert_eq!(error("least", "0"), "`--least 0`: 0 is not in 1..=4294967295");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A line that the door's function makes `None` of is not lost sight of by accident: it was a record, and this door has no
//! key for it. Lines that are no records at all are the business of a [format](super::formats).
//!
//! Next: [`collections`](super::collections).
