//! Step 7: records and what is known beforehand.
//!
//! Where an address is, what a code means: tables that do not change while the dataflow runs. A
//! [`Lookup`](crate::lookup::Lookup) is a CSV file in memory; `flow.lookup` reads it once for all workers. A door's function asks it and lends
//! what it found as a key, so nothing is copied, and there is no join at all: this happens while records are read.
//!
//! Keys are compared as bytes, or are networks of which an address finds the smallest
//! ([`LookupKeys`](crate::lookup::LookupKeys)). A key that is lent to the `each` of `by_each` may be of anything, so also of the
//! table; the one that the function of `by` returns must be the record's.
//!
//! ```
//! use thalweg::prelude::*;
//! use thalweg::testing::run;
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
//! /// requests by site
//! #[derive(clap::Args)]
//! struct Sites {
//!     /// which network is which site
//!     #[arg(long, value_name = "FILE", default_value = "sites.csv")]
//!     table: std::path::PathBuf,
//! }
//!
//! impl Dataflow for Sites {
//!     const NAME: &'static str = "sites";
//!
//!     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
//!         // Processes of a cluster whose tables differ refuse each other.
//!         let table = flow.lookup(&self.table, "network", LookupKeys::Networks)?;
//!         // Names are looked up once; records go by the position.
//!         let site = table.column_of("site").ok_or_else(|| BuildError::new("the table has no column `site`"))?;
//!         let requests = flow.records(Service);
//!
//!         // All workers have handles of the one table; each door owns one.
//!         let known = table.clone();
//!         let sites = requests.by_each(text("site"), move |request, each| {
//!             // A left join: what is not in the table has a key all the same.
//!             each(known.get(request.client).map_or(b"-", |row| row.column(site)));
//!         });
//!         sites.count("sites").sorted_by(by_count).about("requests by site; `-` if it is not known").show("sites");
//!
//!         let failures = requests.by_each(text("site"), move |request, each| {
//!             // An inner join: what is not in the table has none.
//!             if let Some(row) = table.get(request.client).filter(|_| request.status >= 500) {
//!                 each(row.column(site));
//!             }
//!         });
//!         failures.count("failures").sorted_by(by_count).about("those that failed, of known sites").show("failures");
//!         Ok(())
//!     }
//! }
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("sites.csv");
//! std::fs::write(&path, "network,site\n10.0.0.0/8,office\n10.1.0.0/16,lab\n")?;
//! let answer = run(Sites { table: path }, b"1 10.0.0.7 /a 200\n2 10.1.0.7 /a 500\n3 10.0.0.8 /b 200\n4 192.0.2.1 /a 500\n");
//! assert_eq!(answer.view("sites"), ["office\t2", "-\t1", "lab\t1"]);
//! assert_eq!(answer.view("failures"), ["lab\t1"]);
//!
//! // A table that is not there is found out before anything runs.
//! let error = Build::of(Sites { table: "nowhere.csv".into() }).check().unwrap_err();
//! assert!(error.to_string().contains("nowhere.csv"), "{error}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! If what is known changes while the dataflow runs, it is a table of another kind: open a door on the records that tell it,
//! and `join` their collections ([step 3](super::collections#collections)).
//!
//! Next: [`joins`](super::joins).
