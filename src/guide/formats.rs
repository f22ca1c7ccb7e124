//! Step 4: records of one's own, and JSON.
//!
//! # A format
//!
//! A [`LineFormat`](crate::format::LineFormat) makes a record of a line, or says that it is none. The record borrows from the line,
//! so nothing is copied; it is gone when its doors have seen it. A line of which `parse` makes `None` is *malformed*: it is
//! counted, a few of them are shown, and the run goes on, because bad input is data and not an error of the program.
//!
//! This format is what all later steps read.
//!
//! ```
//! use thalweg::prelude::*;
//! use thalweg::testing::run;
//!
//! /// Lines such as `12 ann /home 200`: a second, a client, a path and a status.
//! #[derive(Clone)]
//! struct Service;
//!
//! struct Request<'a> {
//!     time: i64,
//!     client: &'a [u8],
//!     path: &'a [u8],
//!     status: u16,
//! }
//!
//! fn number(field: &[u8]) -> Option<i64> {
//!     std::str::from_utf8(field).ok()?.parse().ok()
//! }
//!
//! impl LineFormat for Service {
//!     type Record<'a> = Request<'a>;
//!
//!     fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Request<'a>> {
//!         let mut fields = line.split(|byte| *byte == b' ');
//!         let time = number(fields.next()?)?.checked_mul(1000)?;
//!         let (client, path) = (fields.next()?, fields.next()?);
//!         let status = u16::try_from(number(fields.next()?)?).ok()?;
//!         // Nothing may be left over.
//!         fields.next().is_none().then_some(Request { time, client, path, status })
//!     }
//! }
//!
//! #[derive(clap::Args)]
//! struct Failures;
//!
//! impl Dataflow for Failures {
//! #     const NAME: &'static str = "failures";
//! #     const ABOUT: &'static str = "requests that failed";
//!     const VIEWS: &'static [View] = &[View { name: "failures", columns: &["path", "client", "requests"], about: "requests that failed" }];
//!
//!     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
//!         let mut requests = flow.records(Service);
//!         let failures = requests.count_by::<(Bytes, Bytes)>("failures", |request| {
//!             (request.status >= 500).then_some((request.path, request.client))
//!         });
//!         flow.view("failures", failures.map(|((path, client), count)| (path, client, count)));
//!         Ok(())
//!     }
//! }
//!
//! let answer = run(Failures, b"1 ann /a 200\n2 ann /a 503\n3 ann /a 500\nwhat?\n4 bob /b 501 more\n");
//! assert_eq!(answer.view("failures"), ["/a\tann\t2"]);
//! let counts = answer.counts();
//! assert_eq!((counts.lines, counts.parsed, counts.malformed), (5, 3, 2));
//! # assert_eq!(Service.parse(b"1 ann /a 200").map(|request| request.time), Some(1000));
//! ```
//!
//! A door's function is given a [`Parsed`](crate::door::Parsed): it stands for the record (`request.path`), and also
//! has the `line()`. A format is cloned for each worker and `parse` has `&mut self`, so it may keep scratch space.
//!
//! There are formats for access logs ([`AccessLog`](crate::format::AccessLog)), for a regular expression with named groups
//! ([`Pattern`](crate::format::Pattern)), and for JSON. [`format::time`](crate::format::time) reads the usual forms of time.
//!
//! # JSON
//!
//! [`Json`](crate::format::Json) takes the paths of the fields that are wanted, and finds them in one pass. What a field
//! holds is a piece of the line until it is asked for: `text`, `int`, `elements` of an array. A line that is no JSON is a
//! record without fields by default; [`JsonMode`](crate::format::JsonMode) can have it counted as malformed instead.
//!
//! ```
//! use thalweg::prelude::*;
//! use thalweg::testing::run;
//!
//! #[derive(clap::Args)]
//! struct Tags;
//!
//! impl Dataflow for Tags {
//! #     const NAME: &'static str = "tags";
//! #     const ABOUT: &'static str = "tags";
//!     const VIEWS: &'static [View] = &[View { name: "tags", columns: &["user", "tag", "count"], about: "which user writes of what" }];
//!
//!     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
//!         // Fields by their position are found without comparing names.
//!         const USER: usize = 0;
//!         const TAGS: usize = 1;
//!         let json = Json::new([("user", "user.name"), ("tags", "tags")]).expect("the paths are well formed");
//!         let json = json.with_mode(JsonMode::DropMalformed);
//!         let mut posts = flow.records(json.clone());
//!         let tags = posts.count_each::<(Bytes, Bytes)>("tags", |post, each| {
//!             let Some(user) = post.text(USER) else { return };
//!             for tag in post.elements(TAGS) {
//!                 // The text may have had escapes in it and be a `String` of this function: it is lent for the call.
//!                 if let Some(tag) = tag.text() {
//!                     each((user.as_bytes(), tag.as_bytes()));
//!                 }
//!             }
//!         });
//!         flow.view("tags", tags.map(|((user, tag), count)| (user, tag, count)));
//!         Ok(())
//!     }
//! }
//!
//! let lines = br#"{"user": {"name": "ann"}, "tags": ["rust", "caf\u00e9"]}
//! {"tags": ["rust", 7], "user": {"name": "ann"}}
//! {"tags": ["nobody"]}
//! {"user": "#;
//! let answer = run(Tags, lines);
//! assert_eq!(answer.view("tags"), ["ann\tcafé\t1", "ann\trust\t2"]);
//! assert_eq!(answer.counts().malformed, 1);
//! ```
//!
//! Next: [`time`](super::time).
