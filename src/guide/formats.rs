//! Step 4: records of one's own, and JSON.
//!
//! # A format
//!
//! A [`LineFormat`](crate::format::LineFormat) makes a record of a line, or says that it is none. The record borrows from the line,
//! so nothing is copied; it is gone when its doors have seen it. A line of which `parse` makes `None` is *malformed*: it is
//! counted, a few of them are shown, and the run goes on, because bad input is data and not an error of the program.
//!
//! This format is what most of the later steps read.
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
//! fn integer(field: &[u8]) -> Option<i64> {
//!     std::str::from_utf8(field).ok()?.parse().ok()
//! }
//!
//! impl LineFormat for Service {
//!     type Record<'a> = Request<'a>;
//!
//!     fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Request<'a>> {
//!         let mut fields = line.split(|byte| *byte == b' ');
//!         let time = integer(fields.next()?)?.checked_mul(1000)?;
//!         let (client, path) = (fields.next()?, fields.next()?);
//!         let status = u16::try_from(integer(fields.next()?)?).ok()?;
//!         // Nothing may be left over.
//!         fields.next().is_none().then_some(Request { time, client, path, status })
//!     }
//! }
//!
//! let build = Build::new("failures", |flow| {
//!     let failures = flow.records(Service).by((text("path"), text("client")), |request| {
//!         (request.status >= 500).then_some((request.path, request.client))
//!     });
//!     failures.count("failures").about("requests that failed").show("failures");
//!     Ok(())
//! });
//! let answer = run(build, b"1 ann /a 200\n2 ann /a 503\n3 ann /a 500\nwhat?\n4 bob /b 501 more\n");
//! assert_eq!(answer.view("failures"), ["/a\tann\t2"]);
//! let counts = answer.counts();
//! assert_eq!((counts.lines, counts.parsed, counts.malformed), (5, 3, 2));
//! # assert_eq!(Service.parse(b"1 ann /a 200").map(|request| request.time), Some(1000));
//! ```
//!
//! A door's function is given a [`Parsed`](crate::door::Parsed): it stands for the record (`request.path`), and also
//! has the `line()`. A format is cloned for each worker and `parse` has `&mut self`, so it may keep scratch space.
//!
//! There are formats for access logs ([`AnyAccessLog`](crate::format::AnyAccessLog) of whatever form,
//! [`AccessLog`](crate::format::AccessLog) of the common one to the letter), for pairs `key=value`
//! ([`Logfmt`](crate::format::Logfmt)), for syslog of whatever dialect ([`Syslog`](crate::format::Syslog)), for a regular expression with named groups ([`Pattern`](crate::format::Pattern)), and
//! for JSON. [`format::time`](crate::format::time) reads the usual forms of time. What a format of your own has to know of a whole
//! file, such as the names of its columns, it is told before the lines ([`Format::partition`](crate::format::Format::partition)).
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
//! let build = Build::new("tags", |flow| {
//!     // Fields by their position are found without comparing names.
//!     const USER: usize = 0;
//!     const TAGS: usize = 1;
//!     let json = Json::new([("user", "user.name"), ("tags", "tags")])?.with_mode(JsonMode::DropMalformed);
//!     let tags = flow.records(json).by_each((text("user"), text("tag")), |post, each| {
//!         let Some(user) = post.text(USER) else { return };
//!         for tag in post.elements(TAGS) {
//!             // The text may have had escapes in it and be a `String` of this function: it is lent for the call.
//!             if let Some(tag) = tag.text() {
//!                 each((user.as_bytes(), tag.as_bytes()));
//!             }
//!         }
//!     });
//!     tags.count("tags").about("which user writes of what").show("tags");
//!     Ok(())
//! });
//!
//! let lines = br#"{"user": {"name": "ann"}, "tags": ["rust", "caf\u00e9"]}
//! {"tags": ["rust", 7], "user": {"name": "ann"}}
//! {"tags": ["nobody"]}
//! {"user": "#;
//! let answer = run(build, lines);
//! assert_eq!(answer.view("tags"), ["ann\tcafé\t1", "ann\trust\t2"]);
//! assert_eq!(answer.counts().malformed, 1);
//! ```
//!
//! Next: [`time`](super::time).
