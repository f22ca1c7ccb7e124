//! Step 10: a format, a source and a sink of one's own.
//!
//! A format is what [`formats`](super::formats) begins with. A source and a sink are registered by
//! the scheme of their URI, and the command has them beside its own:
//! [`cli::App`](crate::cli::App).
//!
//! # A source
//!
//! A [`Source`](crate::source::Source) finds partitions, and opens a
//! [`Reader`](crate::source::Reader) on each. What it says of a partition
//! ([`Found`](crate::source::Found)) decides how the partition is read: by all workers, each its part
//! ([`Access::Shared`](crate::source::Access)), or by one, from front to back
//! (`Access::Sequential`). A reader is asked for lines again and again, and must not wait: where there
//! is nothing yet it says `CaughtUp`, and calls `wake` when there is. It gives only lines that start
//! before the offset which it is told, because there the epoch ends; and what is given is a
//! [`Chunk`](crate::source::Chunk) of whole lines, with the offset of the first. A source that has to
//! wait for its bytes does so on a thread, and gives what
//! [`BlockReader`](crate::source::BlockReader) makes of them.
//!
//! This one, `gen:LINES`, makes lines of ten bytes up. The same offset always has the same line, so a
//! reader can begin anywhere, and the ledger of a run can be replayed.
//!
//! # A sink
//!
//! A [`Sink`](crate::sink::Sink) is shown closed epochs on a thread of its own, and may be as slow as
//! it is: the run waits for it, once its queue is full. It writes what
//! [`write`](crate::sink::Sink::write) shows, and sees in [`commit`](crate::sink::Sink::commit) to its
//! getting there. Errors end the run.
//!
//! This one, `post:HOST:PORT`, sends lines of text over a connection.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::{TcpListener, TcpStream};
//! use std::process::ExitCode;
//! use std::sync::Arc;
//!
//! use thalweg::cli::App;
//! use thalweg::data::Value;
//! use thalweg::prelude::*;
//! use thalweg::sink::{Closed, Opening, Sink, SinkError};
//! use thalweg::source::{
//!     Access, Chunk, Found, Place, Pool, ReadOptions, Reader, Share, Source, SourceError, Step, Wake,
//! };
//!
//! // The format: a number, and which of three parts of a service has said it.
//! #[derive(Clone)]
//! struct Numbered;
//!
//! impl LineFormat for Numbered {
//!     type Record<'a> = (u64, &'a [u8]);
//!
//!     fn parse<'a>(&mut self, line: &'a [u8]) -> Option<(u64, &'a [u8])> {
//!         let (number, part) = line.split_at_checked(7)?;
//!         Some((std::str::from_utf8(number).ok()?.parse().ok()?, part.strip_prefix(b" ")?))
//!     }
//! }
//!
//! // The source.
//! #[derive(Debug)]
//! struct Gen {
//!     uri: String,
//!     lines: u64,
//! }
//!
//! /// Bytes of each line, with its LF.
//! const WIDTH: u64 = 10;
//!
//! impl Gen {
//!     fn of(rest: &str) -> Result<Self, String> {
//!         let lines = rest.parse().map_err(|error| format!("how many lines? `gen:LINES`: {error}"))?;
//!         match lines {
//!             0..=9_999_999 => Ok(Gen { uri: format!("gen:{rest}"), lines }),
//!             _ => Err("at most 9999999 lines have ten bytes".to_owned()),
//!         }
//!     }
//! }
//!
//! impl Source for Gen {
//!     fn uri(&self) -> &str {
//!         &self.uri
//!     }
//!
//!     fn is_bounded(&self) -> bool {
//!         true
//!     }
//!
//!     fn find(&self) -> Result<Vec<Found>, SourceError> {
//!         let length = WIDTH * self.lines;
//!         Ok(vec![Found {
//!             name: self.uri.as_str().into(),
//!             identity: self.uri.clone(),
//!             access: Access::Sequential,
//!             length: Some(length),
//!             bytes: length,
//!             detail: String::new(),
//!         }])
//!     }
//!
//!     fn open(&self, found: &Found, from: u64, _: Share, read: ReadOptions, _: Wake) -> Result<Box<dyn Reader>, SourceError> {
//!         let at_once = (read.chunk_bytes / WIDTH).max(1);
//!         Ok(Box::new(GenReader { partition: found.name.clone(), next: from.div_ceil(WIDTH), lines: self.lines, at_once }))
//!     }
//! }
//!
//! #[derive(Debug)]
//! struct GenReader {
//!     partition: Arc<str>,
//!     next: u64,
//!     lines: u64,
//!     at_once: u64,
//! }
//!
//! impl Reader for GenReader {
//!     fn poll(&mut self, upto: u64, pool: &Pool) -> Result<Step, SourceError> {
//!         if self.next == self.lines {
//!             return Ok(Step::Ended);
//!         }
//!         let end = upto.div_ceil(WIDTH).min(self.next + self.at_once).min(self.lines);
//!         if end <= self.next {
//!             return Ok(Step::Reached);
//!         }
//!         let text: String = (self.next..end).map(|n| format!("{n:07} {}\n", n % 3)).collect();
//!         let place = Place { partition: self.partition.clone(), offset: self.offset() };
//!         self.next = end;
//!         let mut buffer = pool.take();
//!         buffer.room(text.len()).copy_from_slice(text.as_bytes());
//!         Ok(Step::Chunk(Chunk::new(place, buffer, 0, text.len())))
//!     }
//!
//!     fn offset(&self) -> u64 {
//!         WIDTH * self.next
//!     }
//! }
//!
//! // The sink.
//! #[derive(Debug)]
//! struct Post {
//!     uri: String,
//!     address: String,
//!     connection: Option<TcpStream>,
//!     lines: Vec<u8>,
//! }
//!
//! impl Post {
//!     fn send(&mut self) -> Result<(), SinkError> {
//!         let Some(connection) = &mut self.connection else { return Ok(()) };
//!         let sent = connection.write_all(&self.lines);
//!         self.lines.clear();
//!         sent.map_err(|error| SinkError::own(&self.uri, error))
//!     }
//! }
//!
//! impl Sink for Post {
//!     fn open(&mut self, _: &Opening<'_>) -> Result<Option<u64>, SinkError> {
//!         let connection = TcpStream::connect(&self.address);
//!         self.connection = Some(connection.map_err(|error| SinkError::own(&self.uri, error))?);
//!         Ok(None) // It does not know of an earlier run.
//!     }
//!
//!     fn write(&mut self, closed: &Closed<'_>) -> Result<(), SinkError> {
//!         let Post { lines, .. } = self;
//!         for view in closed.views {
//!             view.changes(&mut |diff, values| {
//!                 lines.extend(format!("{} {diff:+}", view.schema().name).into_bytes());
//!                 for value in values {
//!                     match value {
//!                         Value::Bytes(bytes) => lines.extend([b" ", *bytes].concat()),
//!                         Value::Int(number) => lines.extend(format!(" {number}").into_bytes()),
//!                         other => lines.extend(format!(" {other:?}").into_bytes()),
//!                     }
//!                 }
//!                 lines.push(b'\n');
//!             });
//!         }
//!         Ok(())
//!     }
//!
//!     fn commit(&mut self, _: u64) -> Result<(), SinkError> {
//!         self.send()
//!     }
//!
//!     fn finish(&mut self) -> Result<(), SinkError> {
//!         self.send()
//!     }
//! }
//!
//! // A dataflow, and the command that has all three.
//! /// lines and numbers of each part
//! #[derive(clap::Args)]
//! struct Parts;
//!
//! impl Dataflow for Parts {
//!     const NAME: &'static str = "parts";
//!     const SOURCE: &'static str = "gen:10";
//!
//!     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
//!         let parts = flow.records(Numbered).by(text("part"), |record| Some(record.1));
//!         parts.aggregate("parts", |of| of.count("lines").sum("sum", |record| Some(record.0))).show("parts");
//!         Ok(())
//!     }
//! }
//!
//! fn app() -> App {
//!     App::new(&[AnyDataflow::of::<Parts>()])
//!         .source("gen", |rest| Ok(Arc::new(Gen::of(rest)?)))
//!         .sink("post", |uri| match uri.path() {
//!             "" => Err(uri.refuse("say where: `post:HOST:PORT`")),
//!             address => Ok(Box::new(Post {
//!                 uri: uri.as_str().to_owned(),
//!                 address: address.to_owned(),
//!                 connection: None,
//!                 lines: Vec::new(),
//!             })),
//!         })
//! }
//!
//! // `fn main() -> ExitCode { app().main() }` makes a program of it; here it is tried out.
//! let server = TcpListener::bind("127.0.0.1:0")?;
//! let address = server.local_addr()?;
//! let receiving = std::thread::spawn(move || {
//!     let mut text = String::new();
//!     server.accept().and_then(|(mut connection, _)| connection.read_to_string(&mut text)).map(|_| text)
//! });
//! let run = |args: &[&str]| app().main_from(["mine"].iter().chain(args).map(|arg| (*arg).into()));
//! let sink = format!("post:{address}?mode=changes");
//! // Epochs of four lines.
//! let epochs = ["--epoch-bytes", "40", "--chunk-bytes", "40", "-w", "2", "--summary", "none"];
//! let args = ["run", "parts", "--source", "gen:8", "--sink", &sink];
//! assert_eq!(run(&[&args[..], &epochs[..]].concat()), ExitCode::SUCCESS);
//! let received = receiving.join().expect("the server does not panic")?;
//! let lines: Vec<_> = received.lines().collect();
//! let (first, retracted) = lines.split_at_checked(3).ok_or(std::io::ErrorKind::InvalidData)?;
//! assert_eq!(first, ["parts +1 0 2 3", "parts +1 1 1 1", "parts +1 2 1 2"]);
//! let (retracted, second) = retracted.split_at_checked(3).ok_or(std::io::ErrorKind::InvalidData)?;
//! assert_eq!(retracted, ["parts -1 0 2 3", "parts -1 1 1 1", "parts -1 2 1 2"]);
//! assert_eq!(second, ["parts +1 0 3 9", "parts +1 1 3 12", "parts +1 2 2 7"]);
//! // What they refuse is refused before anything runs.
//! assert_ne!(run(&["run", "parts", "--source", "gen:few"]), ExitCode::SUCCESS);
//! assert_ne!(run(&["run", "parts", "--sink", "post:"]), ExitCode::SUCCESS);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Next: [`embedding`](super::embedding).
