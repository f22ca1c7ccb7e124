//! State that outlasts the process: kill it, start it again, get the same answer once.
//!
//! ```text
//! thalweg run log-stats --follow '/var/log/nginx/access.log*' --state /var/lib/thalweg/log-stats
//! ```
//!
//! The same command, started again, goes on where this one has ended or was killed: nothing is
//! counted twice and nothing is left out. It may have another number of workers (`-w`) or
//! processes (`-n`), and other sinks. `--state` names a directory (for several processes, one that
//! all of them see), or an [object store](#in-an-object-store).
//!
//! # What is kept
//!
//! *Epochs.* As an epoch is sealed, a record of it goes to a journal, and is synced: which bytes of
//! which partition belong to it, when it arrived, and a digest of the lines. No sink is shown an
//! epoch before. After a crash the journal's epochs are read again exactly as they were, and the
//! digest is compared: a file that has been changed ends the run with an error, and not with other
//! numbers.
//!
//! *Rows.* Each `--snapshot-every` (10 s) what has changed of the doors' rows is written as Parquet
//! files, off the workers' way, and a manifest makes these, and those before, a snapshot: once
//! every sink has committed what is in it. So a start reads the newest snapshot and what was
//! sealed since. Three snapshots are kept; if the newest is damaged, an older one is gone on from,
//! with a warning and a longer journal. Files are merged in the background.
//!
//! *What cannot be read again.* Lines from pipes and sockets are spooled to the state before their
//! epoch is sealed, and deleted when they are in a snapshot. Above `--spool-quota` (1 GiB) nothing
//! more is read until that has happened. What a pipe had handed over and no epoch had taken when
//! the process was killed is lost, as nobody can ask a pipe for it again.
//!
//! # What has gone
//!
//! What was sealed and is in no snapshot is read again after a crash. If it is not there any more (a
//! file that was deleted or cut short, messages that a broker has dropped), the run ends with an error
//! that says what is missing; restore it, and start again. With `--on-data-loss continue` the run goes
//! on with what there is: what is missing is named in the log, and counted (`lost` of each source).
//! What sinks were shown of it stays there until the same keys change again.
//!
//! # In an object store
//!
//! ```text
//! thalweg run log-stats --follow '/var/log/nginx/access.log*' --state 's3://bucket/log-stats?region=eu-central-1'
//! ```
//!
//! A program that was built with the feature `object-store` keeps state in a bucket of S3, or of
//! what speaks its protocol (`endpoint=https://…`), in the same form: all that is said here holds
//! there as well, and so do `thalweg state` and `thalweg replay`. The bucket has to be there.
//! Credentials are in the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`) or in a file of
//! Amazon's tools (`credentials-file=`), and have to allow listing, reading, writing and deleting.
//! All parameters are at [`storage::open`](crate::state::storage::open).
//!
//! *What it takes of a store.* Requests that create an object only if there is none
//! (`If-None-Match: *`), since by these starts are told apart; a store that overwrites instead is
//! refused before anything is written. What was written has to be seen by whoever reads or lists
//! afterwards, as in S3 since 2020. Versions and lifecycles are the bucket's; one that expires
//! objects by age destroys state.
//!
//! *What it costs.* Epochs that are sealed while a request is under way share the next, so that a
//! store which takes 50 ms to answer delays what sinks are shown by 50 to 100 ms and does not
//! bound how many lines are read. Each such group is a request; a longer `--tick` makes fewer of
//! them. A snapshot is a request for each door that has changed and one for the manifest. Nothing
//! is listed by epoch. Each client of a socket has a log of its own in the spool: thousands that
//! come and go, each with a few lines, are better kept in a directory.
//!
//! *When it is away.* Requests are made again for `timeout=` (2 minutes), while the run reads on
//! until 64 epochs wait. A run that cannot write its state in that time ends, as with a disk that is
//! full, and goes on when it is started again.
//!
//! *What is tested.* Runs against moto's S3, killed at random moments, with answers that are lost and
//! a line that is cut, slow, or shared with another start.
//!
//! # What is refused
//!
//! State of another dataflow, of other sources, or of a door with other rules (a window of another
//! length) is refused, and the error says what differs. `--reset` discards it. A dataflow that has
//! doors more or fewer than before goes on with those that are the same, and says which are new or
//! dropped. Files may have other names: they are told by what they are.
//!
//! # Each night
//!
//! `--trigger once` takes all that live sources have, and ends in order. Run from cron, on the same
//! state, it counts each line once, whatever log rotation has done in between, compression
//! included:
//!
//! ```text
//! 5 0 * * *  thalweg run access-log --follow '/var/log/nginx/access.log*' --trigger once --state /var/lib/thalweg/nightly
//! ```
//!
//! # Ends
//!
//! Where all input has an end, that closes windows and ends sessions, and sinks are shown what comes
//! of it. It is an event of that run and no part of the state: a run that is given more goes on as
//! if the one before had been stopped just before its end. What sinks were shown of the end (a window
//! as final, a key as gone) stands in them until the same window or key changes again; with
//! `mode=changes` its rows are there twice then. The run that goes on says so. Logs that go on are
//! better read by `--follow`, each night with `--trigger once`: that makes no end.
//!
//! # Once more
//!
//! ```text
//! thalweg replay --state /var/lib/thalweg/log-stats --from 4711 --to 4720 --sink jsonl:-
//! ```
//!
//! shows these epochs again, byte for byte as they were shown; the state is only read. The epochs
//! that can be shown are those behind the oldest snapshot that is kept. An end that has been gone on
//! from is shown as an epoch without rows.
//!
//! # Starts
//!
//! Each start takes a higher number, its *incarnation*, before it writes anything. Sinks that keep
//! a number with their rows refuse lower ones from then on, and what an earlier start publishes or
//! seals afterwards does not count. So a process that was taken for dead and comes to again can
//! spoil nothing; it ends with an error that says so.
//!
//! # One run at a time
//!
//! A run holds a lock on its `--state`, where that is a directory, for as long as it lives. A second one that is started with the
//! same state meanwhile (last night's from cron has not ended yet) is refused at once, with exit code 2 and an error that says
//! which process on which host it is and since when; the first goes on undisturbed. `thalweg state ls` shows it, too. The lock goes with
//! the process, however that ends, so nothing has to be cleaned up after a crash.
//!
//! `--take-over` goes on in place of the run that is there: with a process that hangs and cannot be ended, or a host that nobody
//! reaches. It does not wait for the other one, which ends with an error when it next writes. File systems that have no
//! locks, or each host its own, have that without being asked, as any start is a higher incarnation.
//!
//! # When the disk fails
//!
//! What cannot be written, synced or given its name ends the run, with exit code 4 and an error that says what, where and why: nobody can
//! count on a disk that has failed to sync once. What was durable before stays as it is. With room made, or the disk mended, the
//! same command goes on from it. A snapshot that the disk cannot read is passed over for an older one, with a warning.
//!
//! # Sinks
//!
//! `sqlite:`, `postgres:` and `mysql:` commit rows and progress in one transaction; `jsonl:DIR/`, `csv:DIR/` and
//! `parquet:DIR/` list what counts in a manifest; a program's own function is told the epoch
//! ([`Foreach`](crate::sink::Foreach)). With `--state` each epoch is in them exactly once, however
//! often the run was killed. `kafka:` writes its progress beside its rows; `console:` and a single
//! file show what is new since the start.
