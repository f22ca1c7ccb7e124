//! Step 2: what the user of a dataflow can set.
//!
//! A dataflow declares its options as [`Opt`](crate::dataflow::Opt)s: on the command line they are `--name VALUE`, in the
//! configuration file `name = VALUE`, and the usage text comes of them, too. They are read once, in `prepare`, before a
//! worker starts; what is wrong is an [`OptionError`](crate::dataflow::OptionError) that names the option and the value, and
//! the process says so and ends. Later it is too late: the function that builds cannot fail.
//!
//! - [`get`](crate::dataflow::Options::get) reads whatever `FromStr` reads: numbers, text, an enum of one's own.
//! - [`flag`](crate::dataflow::Options::flag) is for an option whose `value` is empty: it is given or not.
//! - [`duration`](crate::dataflow::Options::duration) reads lengths of time, such as `30s` or `1h 30m`.
//! - [`window`](crate::dataflow::Options::window) reads a length and a slide that go together (step 5).
//!
//! The function that builds is run by every worker, so it owns what it uses (`move`), and each door's function copies or
//! clones what it needs.
//!
//! ```
//! use thalweg::prelude::*;
//! use thalweg::testing::run;
//!
//! /// Paths of slow requests, from lines such as `/cart?id=7 1250`: a path, and milliseconds.
//! struct Slow;
//!
//! const SLOWER_THAN: Opt =
//!     Opt { name: "slower-than", value: "TIME", default: "1s", about: "faster requests are left out" };
//! const LEAST: Opt = Opt { name: "least", value: "N", default: "1", about: "paths with fewer are left out" };
//! const QUERY: Opt = Opt { name: "query", value: "", default: "false", about: "keep what is behind a `?`" };
//!
//! impl Dataflow for Slow {
//! #     fn name(&self) -> &'static str { "slow" }
//! #     fn about(&self) -> &'static str { "slow requests by path" }
//! #     fn default_source(&self) -> &'static str { "stdin:" }
//!     fn views(&self) -> &'static [View] {
//!         &[View { name: "slow", columns: &["path", "requests"], about: "slow requests by path" }]
//!     }
//!
//!     fn options(&self) -> &'static [Opt] {
//!         &[SLOWER_THAN, LEAST, QUERY]
//!     }
//!
//!     fn prepare(&self, options: &Options) -> Result<Build, OptionError> {
//!         let slower_than = options.duration(SLOWER_THAN.name)?.as_millis();
//!         let query = options.flag(QUERY.name)?;
//!         let least: isize = options.get(LEAST.name)?;
//!         if least < 1 {
//!             return Err(OptionError::new(LEAST.name, options.text(LEAST.name), "it must be 1 or more"));
//!         }
//!         Ok(Build::new(move |flow| {
//!             let slow = flow.records(Text).count_by::<Bytes>("slow", move |line| {
//!                 let mut fields = line.split(|byte| *byte == b' ');
//!                 let path = fields.next()?;
//!                 let took: u128 = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
//!                 let end = path.iter().position(|byte| *byte == b'?').filter(|_| !query);
//!                 (took > slower_than).then_some(&path[..end.unwrap_or(path.len())])
//!             });
//!             flow.view_by("slow", slow.filter(move |(_, requests)| *requests >= least), by_count);
//!         }))
//!     }
//! }
//!
//! let lines = b"/cart?id=7 1250\n/cart?id=8 1800\n/home 90\n/slow 3000\n";
//! assert_eq!(run(&Slow, &[], lines).view("slow"), ["/cart\t2", "/slow\t1"]);
//! assert_eq!(run(&Slow, &[("slower-than", "50ms"), ("least", "2")], lines).view("slow"), ["/cart\t2"]);
//! assert_eq!(run(&Slow, &[("query", "true"), ("slower-than", "1500ms")], lines).view("slow"), ["/cart?id=8\t1", "/slow\t1"]);
//!
//! // What the user is told.
//! let error = |name: &str, value: &str| {
//!     let options = Options::new(Slow.options(), [(name.to_owned(), value.to_owned())]);
//!     Slow.prepare(&options).unwrap_err().to_string()
//! };
//! assert_eq!(error("slower-than", "soon"), "`--slower-than soon`: expected number at 0 (such as 500ms, 30s, 1h)");
//! assert_eq!(error("least", "many"), "`--least many`: invalid digit found in string");
//! assert_eq!(error("least", "0"), "`--least 0`: it must be 1 or more");
//! ```
//!
//! A line that the door's function makes `None` of is not lost sight of by accident: it was a record, and this door has no
//! key for it. Lines that are no records at all are the business of a [format](super::formats).
//!
//! Next: [`collections`](super::collections).
