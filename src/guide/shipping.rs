//! Getting lines to where they are counted: `thalweg ship`.
//!
//! Logs are written on many machines and counted on one, or on a few. `thalweg ship` runs where a
//! log is written, and sends each line on as soon as it is there:
//!
//! ```text
//! thalweg ship '/var/log/nginx/*.log' kafka://broker:9092/access
//! thalweg ship /var/log/app.log tcp://counts.example:9999
//! thalweg run access-log --source kafka://broker:9092/access          # there
//! ```
//!
//! The last argument says where to: `kafka://HOST:PORT,…/TOPIC` in programs that were built with
//! the cargo feature `kafka`, or `tcp://HOST:PORT`. Those before say what: files to follow, or `-`
//! for standard input. `thalweg ship --help` lists the options.
//!
//! # Files
//!
//! Files are followed as [`--follow`](super::sources) does it: renamed, copied and emptied,
//! compressed, deleted and created again; put a pattern in quotes, and files that come to match are
//! taken in. A line goes when its line end has been written.
//!
//! What has been delivered of each file is remembered in a *file of offsets*, about once a second:
//! written beside, synced and renamed, with a checksum. Unless `--offsets FILE` says where, it is
//! in the state directory of the service or the user, under a name made of the sources and the
//! sink; the last line of output says where. A file is known again by its device, its inode and
//! digests of its first and last bytes that were read: so a log that was rotated between two
//! shippers is read to its end, and then the new one. What was renamed or copied is looked for in
//! the directory where it was. Offsets that are damaged, are of another receiver, or are used by
//! another process are an error, and never taken for none.
//!
//! `--start end` leaves out what is there the first time. `--until-caught-up` ends when everything
//! that is there has been delivered: for cron, and for old logs.
//!
//! # What arrives
//!
//! *Every line at least once.* After `kill -9`, a crash or a broken connection, what was not known
//! to be delivered is sent again: lines of the last second or so arrive twice. Lines of one file
//! are sent in the order of the file.
//!
//! *To Kafka*, delivered is what the brokers have acknowledged. The producer is idempotent, so that
//! nothing is doubled or reordered by attempts of its own. Brokers before 0.11 cannot do that;
//! `?kafka.enable.idempotence=false` does without, one request at a time, so that the order stays.
//! A line is a message. `--key file` keeps all lines of a file in one partition of the topic, and
//! so in order; `--key field:1` those of one client; without a key they are spread. Options of
//! librdkafka are passed on: `?kafka.linger.ms=50` and `kafka.batch.size=…` for larger batches,
//! `kafka.compression.type=lz4`, `properties=FILE` for what is secret.
//!
//! *Over TCP* nobody acknowledges anything. What the system has taken is the most that can be
//! known, and some of it is lost when a connection breaks. So a line counts as delivered only when
//! 16 MiB have been written behind it, which is more than the buffers of both systems hold by
//! default, or when the connection has stood for a second since; when it breaks before, the line is
//! sent again. A receiver that takes lines and then loses them, loses them; and one that breaks
//! every connection off within a second is sent the same lines again and again. With a `--buffer`
//! of less than 16 MiB, no more than that is sent in a second. Where a connection has broken off,
//! the last line there may be half a line.
//!
//! *A line that can never be delivered* (longer than `--max-line`, or than the brokers take) is
//! counted, the first few are shown, and with `--rejects FILE` they are put aside; the others go
//! on. Where a broker refuses a batch for its size, it is sent again in smaller ones, so that no
//! line is given up for those beside it; what was under way behind it may then come before it.
//!
//! # When the receiver is away
//!
//! It is tried again without end, with waits that grow up to ten seconds and differ at random, and
//! the log says so once. At most `--buffer` bytes are held (32 MiB; Kafka's client holds them once
//! more); then nothing more is read. Files wait where they are, for as long as rotation keeps them.
//! What writes to standard input waits as soon as the pipe is full as well: see below.
//!
//! # Apache
//!
//! Apache pipes its log to a program that it starts:
//!
//! ```text
//! CustomLog "|/usr/local/bin/thalweg ship - kafka://broker:9092/access" combined
//! ```
//!
//! On a reload, Apache starts another shipper and tells the first to end, while requests that are
//! under way still log to it. So after SIGTERM standard input is read to its end, and what came is
//! delivered, within `--stop-timeout` (30 s; raise it where requests take longer). Further ones
//! change nothing, for Apache sends several.
//!
//! Standard input can be read once only: there are no offsets, and `kill -9` loses what is held.
//! While the receiver is away, the buffer and then the pipe fill up, and then Apache's own
//! processes wait as they log, and requests with them. Nothing is spilled to disk. Where the server
//! must go on whatever becomes of the receiver, let it log to a file, and ship that: the file is
//! the buffer.
//!
//! # nginx
//!
//! nginx has no piped logs. Its `access_log syslog:` sends datagrams, which are lost under load;
//! let it log to a file, and follow that:
//!
//! ```text
//! access_log /var/log/nginx/access.log combined;
//! thalweg ship '/var/log/nginx/access.log' kafka://broker:9092/access
//! ```
//!
//! # As a service
//!
//! ```text
//! [Service]
//! ExecStart=/usr/local/bin/thalweg ship '/var/log/nginx/*.log' kafka://broker:9092/access
//! StateDirectory=thalweg
//! Restart=always
//! ```
//!
//! SIGTERM ends it in order: what has been sent is waited for, and remembered. On a terminal, a
//! line shows how many lines have been delivered, how fast, how many bytes are behind, and why it
//! waits if it does. `--rate N` sends no more than so many lines a second, so that old logs do not
//! crowd out new ones.
