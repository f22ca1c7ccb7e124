//! Step 3: ranking and comparing tables, and the operators of differential dataflow, up to iteration.
//!
//! # Tables in, tables out
//!
//! [`top`](crate::door::Rows::top) ranks rows `(key, value)`; [`full_join`](crate::door::Rows::full_join) puts two tables of
//! counts next to each other, with 0 where one has no row. [`map`](crate::door::Rows::map) names the columns of what it
//! makes, [`filter`](crate::door::Rows::filter) leaves them as they are. All work incrementally: a function that is given to
//! one says what the result *is*, and the operator works out how it changes.
//!
//! ```
//! use thalweg::prelude::*;
//! use thalweg::testing::Script;
//!
//! // Lines such as `GET /home`.
//! let build = Build::new("paths", |flow| {
//!     let lines = flow.records(Text);
//!     // Two doors on the same records.
//!     let reads = lines.by(text("path"), |line| line.strip_prefix(b"GET ")).count("reads");
//!     let writes = lines.by(text("path"), |line| line.strip_prefix(b"PUT ")).count("writes");
//!     let both = reads.full_join("both", writes, ["reads", "writes"]);
//!
//!     let all = both.clone().map(["path", "requests"], |(path, reads, writes)| (path, reads + writes));
//!     all.top(2).about("the first two paths").show("top");
//!     both.filter(|(_, reads, writes)| writes > reads).about("paths mostly written to").show("writes");
//!     Ok(())
//! });
//!
//! let answer = Script::new(build).epoch("GET /a\nPUT /b\nGET /c\nGET /c\n").epoch("GET /b\nPUT /b\nGET /b\n").run();
//! assert_eq!(answer.view_at("top", 0), ["1\t/c\t2", "2\t/a\t1"]);
//! assert_eq!(answer.view("top"), ["1\t/b\t4", "2\t/c\t2"]);
//! // `/b` is no longer mostly written to: its row goes, and nothing had to say so.
//! assert_eq!(answer.view_at("writes", 0), ["/b\t0\t1"]);
//! assert_eq!(answer.changes("writes", 1), ["-1\t/b\t0\t1"]);
//! ```
//!
//! A table is a handle: `clone` is cheap, and what it costs is that one more operator reads the same changes.
//!
//! # Collections
//!
//! [`rows()`](crate::door::Rows::rows) is the collection inside a table, a
//! [`VecCollection`](differential_dataflow::VecCollection) of differential dataflow, with its `map`, `flat_map`, `concat`,
//! `join`, `reduce`, `iterate` and the rest; [`operators`](crate::operators) has some more. What comes of them is a table
//! again by [`flow.table`](crate::dataflow::Flow::table), which names the columns, or by
//! [`flow.facts`](crate::dataflow::Flow::facts) if no row is ever retracted.
//!
//! `join` pairs the rows `(key, a)` and `(key, b)` that have the same key, as `(key, (a, b))`. `reduce` is called with a key
//! and all that it has, in order, each with how often it is there, and pushes what to make of them. Both keep an index of
//! what they were given (an *arrangement*), and look again only at the keys that change.
//!
//! ```
//! use thalweg::prelude::*;
//! use thalweg::testing::Script;
//!
//! /// Of lines such as `ann GET /home` (a client and its request) and `ann IS editor` (a client and its role).
//! fn parts<'a>(line: &'a [u8], verb: &str) -> Option<(&'a str, &'a str)> {
//!     let mut words = std::str::from_utf8(line).ok()?.splitn(3, ' ');
//!     let (client, is, what) = (words.next()?, words.next()?, words.next()?);
//!     (is == verb).then_some((client, what))
//! }
//!
//! let build = Build::new("roles", |flow| {
//!     let lines = flow.records(Text);
//!     let requests = lines.by(string("client"), |line| Some(parts(line.line(), "GET")?.0)).count("requests");
//!     // A pair is one row, however often it occurs.
//!     let roles = lines.by((string("client"), string("role")), |line| parts(line.line(), "IS")).count("roles");
//!
//!     let roles = roles.rows().map(|((client, role), _)| (client, role)).reduce(|_client, roles, output| {
//!         let roles: Vec<_> = roles.iter().map(|(role, _)| role.as_str()).collect();
//!         output.push((roles.join("+"), 1));
//!     });
//!     let known = requests.rows().join(roles).map(|(client, (count, roles))| (client, roles, count));
//!     flow.table(["client", "roles", "requests"], known).about("clients whose role is known").show("roles");
//!     Ok(())
//! });
//!
//! let answer = Script::new(build)
//!     .epoch("ann GET /a\nann GET /b\nbob GET /a\n")
//!     .epoch("ann IS editor\n")
//!     .workers(2) // Here the run is stopped, and another goes on from what is kept, on two workers.
//!     .epoch("ann IS admin\nann GET /c\n")
//!     .run();
//! assert_eq!(answer.view_at("roles", 0), [""; 0]);
//! assert_eq!(answer.changes("roles", 1), ["+1\tann\teditor\t2"]);
//! // What was joined is corrected like everything else.
//! assert_eq!(answer.changes("roles", 2), ["-1\tann\teditor\t2", "+1\tann\tadmin+editor\t3"]);
//! ```
//!
//! Why `count` and not [`collect`](crate::door::Grouped::collect), if the counts of roles are thrown away? Because a door
//! that counts remembers: its rows come back when a run goes on from another, as in the test. What `collect` gives is not
//! kept, and behind the join it would be gone ([step 11](super::running#what-outlives-a-run) says which door keeps what).
//!
//! # Iteration
//!
//! Which hosts can reach each other, if links go up and down? Every host bears the least name that it has heard of: at first
//! its own; then, round by round, the least of its neighbours' and its own, until nothing changes. That is `iterate`: a
//! function from the names of one round to those of the next.
//!
//! ```
//! use thalweg::differential_dataflow::operators::Iterate;
//! use thalweg::prelude::*;
//! use thalweg::testing::Script;
//!
//! /// Of lines such as `up a b` and `down a b`.
//! fn link<'a>(line: &'a [u8]) -> Option<(bool, (&'a [u8], &'a [u8]))> {
//!     let mut words = line.split(|byte| *byte == b' ');
//!     let up = match words.next()? {
//!         b"up" => true,
//!         b"down" => false,
//!         _ => return None,
//!     };
//!     Some((up, (words.next()?, words.next()?)))
//! }
//!
//! let build = Build::new("components", |flow| {
//!     let lines = flow.records(Text);
//!     // Once up and once down is a sum of zero, which has no row: the link's row is retracted.
//!     let links = lines.by((text("one"), text("other")), |line| Some(link(line.line())?.1));
//!     let links = links.sum("links", |line| Some(if link(line.line())?.0 { 1 } else { -1 })).filter(|(_, up)| *up > 0);
//!
//!     // In both directions.
//!     let links = links.rows().map(|((one, other), _)| (one, other));
//!     let links = links.clone().map(|(one, other)| (other, one)).concat(links);
//!     let own = links.clone().map(|(host, _)| (host.clone(), host));
//!     let names = own.clone().iterate(|round, names| {
//!         // What comes from outside is brought into the loop.
//!         let (links, own) = (links.enter(round), own.enter(round));
//!         let heard = names.join_map(links, |_host, name, neighbour| (neighbour.clone(), name.clone()));
//!         // A loop has to end in something that consolidates, as `reduce` does, or it may go on for ever.
//!         heard.concat(own).reduce(|_host, names, output| {
//!             output.extend(names.first().map(|(least, _)| ((*least).clone(), 1)));
//!         })
//!     });
//!     flow.table(["host", "component"], names).key(["host"]).show("components");
//!     Ok(())
//! });
//!
//! let answer = Script::new(build)
//!     .epoch("up a b\nup b c\nup c d\nup d b\nup x y\n") // `b`, `c` and `d` are a ring, and `a` hangs on it.
//!     .epoch("up d x\n")
//!     .workers(2)
//!     .epoch("down a b\n")
//!     .run();
//! assert_eq!(answer.view_at("components", 0), ["a\ta", "b\ta", "c\ta", "d\ta", "x\tx", "y\tx"]);
//! assert_eq!(answer.changes("components", 1), ["-1\tx\tx", "-1\ty\tx", "+1\tx\ta", "+1\ty\ta"]);
//! // The ring is cut off from `a`, and so is all that was reached through it.
//! assert_eq!(answer.view("components"), ["b\tb", "c\tb", "d\tb", "x\tb", "y\tb"]);
//! ```
//!
//! The last line is where programs of this kind go wrong. One that starts from its last answer never loses the name `a`:
//! `b` has it from `c`, `c` from `d`, and `d` from `b`. Differential keeps the names *by round*: those of a round follow from
//! those of the round before, and those of the first from the links alone, so names that have nothing but each other to
//! lean on do not come up. After each epoch, the result is what a fresh start with the links of that epoch would give, and
//! the work is that of the rows which differ, in the rounds in which they do. Nothing but the links is kept for another
//! run: it works the names out again.
//!
//! Next: [`formats`](super::formats).
