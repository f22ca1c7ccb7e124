//! Where lines come from: sources, and what becomes of what they bring.
//!
//! `--source` takes a path or a URI, and may be given several times: sources are read side by side, each at its own pace, and one
//! that ends or falls silent holds no other up. A dataflow with several inputs takes `--source NAME=URI`.
//!
//! | source | what it reads | after a restart |
//! |---|---|---|
//! | `PATH`, `file:PATH` | files that are there, one after the other, the oldest rotation first | read on from its offset |
//! | `file:PATH?follow` | files that grow, whatever log rotation does with them, and new ones that match ([`FollowSource`](crate::source::FollowSource)) | found again by what they are, read on from their offset |
//! | `dir:PATH` | files that are put into a directory, each once ([`DirSource`](crate::source::DirSource)) | likewise |
//! | `kafka://BROKERS/TOPIC` | topics, each partition from the oldest message it has (feature `kafka`) | read on from its offset |
//! | `stdin:`, `-` | standard input | gone |
//! | `tcp://HOST:PORT` | a server to connect to, again at every end ([`TcpSource`](crate::source::TcpSource)) | gone |
//! | `tcp-listen://ADDRESS:PORT` | clients that connect, each a partition ([`TcpListenSource`](crate::source::TcpListenSource)) | gone |
//! | `rate:LINES_PER_SECOND` | lines made up, for measurements and first steps ([`RateSource`](crate::rate::RateSource)) | gone |
//! | `docker:PATH`, `cri:PATH`, `syslog:PATH` | such files, followed, without what is around their lines ([`Enveloped`](crate::source::Enveloped)) | as files that grow |
//! | `journald:` | systemd's journal, by `journalctl` ([`JournaldSource`](crate::source::JournaldSource)) | read on behind the last entry |
//!
//! Files may be plain, gzip or zstd, told by their content. A source of your own is in [`own`](super::own).
//!
//! # A log that is being written
//!
//! ```text
//! thalweg run top-urls --follow /var/log/nginx/access.log
//! ```
//!
//! What is there is read first, and then what comes; `--source 'file:/var/log/nginx/access.log?follow&start=end'` leaves out what was there.
//! With a pattern in quotes (`'/var/log/nginx/*.log'`), files that come to match are taken in, and rotated ones are not read twice.
//!
//! # Files that are put into a directory
//!
//! Spark's `textFileStream` (only what comes later) and `readStream.text` (what is there, too, in order of its age):
//!
//! ```text
//! thalweg run word-count --source 'dir:incoming?existing=ignore'
//! thalweg run word-count --source 'dir:incoming?glob=*.log&max-files=10&clean=archive:done'
//! ```
//!
//! # By TLS
//!
//! A port that is open to others, and lines that go through a network that is not one's own, are for TLS: `tcp-listen:` with a
//! certificate ([`TcpListenSource`](crate::source::TcpListenSource)), `tcp:` with those that it trusts ([`TcpSource`](crate::source::TcpSource)).
//!
//! ```text
//! thalweg run word-count --source 'tcp-listen://0.0.0.0:6514?tls-cert=logs.pem&tls-key=logs.key&tls-clients=ca.pem'
//! tail -F app.log | ncat --ssl-verify --ssl-trustfile ca.pem --ssl-cert me.pem --ssl-key me.key logs.example 6514
//! ```
//!
//! Without `tls-clients` everybody may send lines who can reach the port; with it, those whose certificate `ca.pem` has signed. Nothing
//! goes on in clear where TLS does not come about; what went wrong is in the log, with whose certificate it was.
//!
//! # What containers and systems write
//!
//! Docker, Kubernetes, syslog and the journal put something around each line: a time, a stream, a host, a priority. A source that is told so
//! peels it off, and the dataflow reads what is inside as if nothing had been around it, in whatever format:
//!
//! ```text
//! thalweg run access-log --source docker:
//! thalweg run access-log --source 'cri:/var/log/pods/shop_web-*/nginx/*.log*'
//! thalweg run access-log --source 'journald:?unit=nginx.service&since=-1h'
//! thalweg run word-count --source 'syslog:/var/log/messages?start=end&syslog.zone=Europe/Berlin'
//! ```
//!
//! `docker+`, `cri+`, `syslog+` and `journald+` go before any other source: `journalctl -o json -f | thalweg run access-log --source journald+-`,
//! or `syslog+tcp-listen://0.0.0.0:5140` for nginx or rsyslog on other machines. Lines that containers wrote in pieces are joined. An access log that is
//! the message of syslog is found by its first lines as any other form is, without `syslog+`.
//!
//! What is around a line is had from [`Parsed::envelope`](crate::door::Parsed::envelope) (the fields are listed in
//! [`envelope`](crate::envelope)), and tells its time where the line tells none:
//!
//! ```
//! use thalweg::envelope::{Envelope, EnvelopeKind};
//! use thalweg::prelude::*;
//! use thalweg::testing::Script;
//!
//! let errors = Build::new("errors", |flow| {
//!     let log = flow.records(Text).event_time(|_| None::<Time>);
//!     let errors = log.by((text("app"), number("hour")), |line| {
//!         let bad = matches!(line.envelope("severity")?, b"emerg" | b"alert" | b"crit" | b"err");
//!         Some((line.envelope("app")?, line.time()?.0.div_euclid(3_600_000))).filter(|_| bad)
//!     });
//!     errors.count("errors").show("errors");
//!     Ok(())
//! });
//! let lines = "<11>1 1970-01-01T02:00:00Z web su 7 - - failed\n<14>1 1970-01-01T02:00:01Z web su 7 - - ok\nno syslog\n";
//! let answer = Script::new(errors).in_envelope(Envelope::new(EnvelopeKind::Syslog)).epoch(lines).run();
//! assert_eq!(answer.view("errors"), ["su\t2\t1"]);
//! assert_eq!(answer.counts().malformed, 1);
//! ```
//!
//! # What a source promises
//!
//! It gives every line once, in the order of its partition; what it cannot read it names, and the run ends with an exit code that
//! says so. What fails in passing (a listing, a file that is not there yet) is a warning, and is tried again. It is read no faster than
//! the sinks take what comes of it, and holds a few megabytes at most of what has not been counted yet.
//!
//! # How fast
//!
//! Whatever goes on can be bounded: `max-rate=LINES` a second for a source, and `max-rate-per-partition=LINES`, as options of its URI.
//! What is not taken stays where it is, in the file or topic, or with whoever sends it; and a sink that is slow does the same to all sources.
//!
//! ```text
//! thalweg run access-log --source 'kafka://broker:9092/access?max-rate=50000&max-rate-per-partition=10000'
//! ```
//!
//! # How far behind
//!
//! The summary, the line on a terminal and `--progress text` say for each source what it has that was not read, in bytes or messages, and for
//! how long that has been so. `--progress json` writes an object to standard error for each tick in which something was read: in the form of Spark's
//! `StreamingQueryProgress`, with the offsets of each partition, the rows that each door holds, the watermark, and what waits for each sink. In a program,
//! [`Reports`](crate::runtime::Reports) hands over the same.
//!
//! ```text
//! $ thalweg run word-count --follow app.log --progress json 2>&1 >/dev/null | jq -c '.sources[0].lag'
//! {"bytes":0,"seconds":0.0}
//! ```
