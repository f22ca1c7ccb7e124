//! Step 3: ranking, comparing, joining and reducing what doors give.
//!
//! Behind a door, rows are an ordinary collection of differential dataflow
//! ([`VecCollection`](differential_dataflow::VecCollection)), with its `map`, `filter`, `flat_map`, `concat`, `join`,
//! `reduce`, `iterate` and the rest; [`operators`](crate::operators) has some more. All of them work incrementally: a
//! function that is given to one says what the result *is*, and the operator works out how it changes.
//!
//! # Rows in, rows out
//!
//! [`top_k`](crate::operators::TopK::top_k) ranks rows `(key, value)`. [`beside`](crate::operators::Beside::beside) puts two
//! tables of counts next to each other, with 0 where one has no row.
//!
//! ```
//! use thalweg::prelude::*;
//! use thalweg::testing::Script;
//!
//! /// Lines such as `GET /home`.
//! #[derive(clap::Args)]
//! struct Paths;
//!
//! impl Dataflow for Paths {
//! #     const NAME: &'static str = "paths";
//! #     const ABOUT: &'static str = "paths";
//!     const VIEWS: &'static [View] = &[
//!         View { name: "top", columns: &["rank", "path", "requests"], about: "the first two paths" },
//!         View { name: "writes", columns: &["path", "reads", "writes"], about: "paths mostly written to" },
//!     ];
//!
//!     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
//!         let mut lines = flow.records(Text);
//!         // Two doors on the same records.
//!         let reads = lines.count_by::<Bytes>("reads", |line| line.strip_prefix(b"GET "));
//!         let writes = lines.count_by::<Bytes>("writes", |line| line.strip_prefix(b"PUT "));
//!
//!         let both = reads.beside("both", writes);
//!         let all = both.clone().map(|(path, (reads, writes))| (path, reads + writes));
//!         flow.view("top", all.top_k(2));
//!
//!         let mostly = both.filter(|(_, (reads, writes))| writes > reads);
//!         flow.view("writes", mostly.map(|(path, (reads, writes))| (path, reads, writes)));
//!         Ok(())
//!     }
//! }
//!
//! let answer = Script::new(Paths).epoch("GET /a\nPUT /b\nGET /c\nGET /c\n").epoch("GET /b\nPUT /b\nGET /b\n").run();
//! assert_eq!(answer.view_at("top", 0), ["1\t/c\t2", "2\t/a\t1"]);
//! assert_eq!(answer.view("top"), ["1\t/b\t4", "2\t/c\t2"]);
//! // `/b` is no longer mostly written to: its row goes, and nothing had to say so.
//! assert_eq!(answer.view_at("writes", 0), ["/b\t0\t1"]);
//! assert_eq!(answer.changes("writes", 1), ["-1\t/b\t0\t1"]);
//! ```
//!
//! A collection is a handle: `clone` is cheap, and what it costs is that one more operator reads the same changes.
//!
//! # Joins and reductions
//!
//! `join` pairs the rows `(key, a)` and `(key, b)` that have the same key, as `(key, (a, b))`. `reduce` is called with a key
//! and all that it has, in order, each with how often it is there, and pushes what to make of them. Both keep an index of
//! what they were given (an *arrangement*), and look again only at the keys that change.
//!
//! ```
//! use thalweg::prelude::*;
//! use thalweg::testing::Script;
//!
//! /// Lines such as `ann GET /home` (a client and its request) and `ann IS editor` (a client and its role).
//! #[derive(clap::Args)]
//! struct Roles;
//!
//! impl Dataflow for Roles {
//! #     const NAME: &'static str = "roles";
//! #     const ABOUT: &'static str = "requests by role";
//!     const VIEWS: &'static [View] = &[
//!         View { name: "visitors", columns: &["path", "clients"], about: "how many different clients a path has" },
//!         View { name: "roles", columns: &["client", "role", "requests"], about: "clients whose role is known" },
//!     ];
//!
//!     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
//!         fn pair<'a>(line: &'a [u8], verb: &str) -> Option<(&'a [u8], &'a [u8])> {
//!             let at = line.windows(verb.len()).position(|window| window == verb.as_bytes())?;
//!             Some((&line[..at], &line[at + verb.len()..]))
//!         }
//!         let mut lines = flow.records(Text);
//!         // A key can be a pair. Each pair is a row, however often it occurs.
//!         let requests = lines.count_by::<(Bytes, Bytes)>("requests", |line| pair(line.line(), " GET "));
//!         let roles = lines.count_by::<(Bytes, Bytes)>("roles", |line| pair(line.line(), " IS ")).map(|(pair, _)| pair);
//!
//!         let visitors = requests.clone().map(|((client, path), _)| (path, client));
//!         let visitors = visitors.reduce(|_path, clients, output| output.push((clients.len(), 1)));
//!         flow.view("visitors", visitors);
//!
//!         let requests = requests.map(|((client, _), count)| (client, count));
//!         let requests = requests.reduce(|_client, counts, output| {
//!             // Two paths with the same count are one value that is there twice.
//!             output.push((counts.iter().map(|(count, times)| **count * *times).sum::<isize>(), 1));
//!         });
//!         flow.view("roles", requests.join(roles).map(|(client, (count, role))| (client, role, count)));
//!         Ok(())
//!     }
//! }
//!
//! let answer = Script::new(Roles)
//!     .epoch("ann GET /a\nann GET /b\nbob GET /a\nann GET /a\n")
//!     .epoch("ann IS editor\n")
//!     .workers(2) // Here the run is stopped, and another goes on from what is kept, on two workers.
//!     .epoch("ann GET /c\n")
//!     .run();
//! assert_eq!(answer.view("visitors"), ["/a\t2", "/b\t1", "/c\t1"]);
//! assert_eq!(answer.view_at("roles", 0), [""; 0]);
//! assert_eq!(answer.changes("roles", 1), ["+1\tann\teditor\t3"]);
//! // What was joined is corrected like everything else.
//! assert_eq!(answer.changes("roles", 2), ["-1\tann\teditor\t3", "+1\tann\teditor\t4"]);
//! ```
//!
//! Why `count_by` and not [`collect`](crate::door::Records::collect), if the counts of roles are thrown away? Because a
//! door that counts remembers: its rows come back when a run goes on from another, as in the test. What `collect` gives is
//! not kept, and behind the join it would be gone ([step 9](super::running#what-outlives-a-run) says which door keeps what).
//!
//! Next: [`formats`](super::formats).
