//! The command, run again and again by a thread of its own.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;

use super::Settings;
use super::entries::{Batch, Entries, Position, newest};
use crate::source::Wake;
use crate::time::Backoff;

/// Bytes read at a time.
const BLOCK: usize = 64 << 10;
/// Bytes of what the command says of errors that are kept of a line.
const SAID: u64 = 500;
/// So many lines of it are shown for each command.
const SHOWN: usize = 5;

/// What the thread says.
#[derive(Debug)]
pub(super) enum Message {
    Entries(Batch),
    /// All that there is has been read.
    End,
    /// It cannot be read.
    Failed(String),
}

/// What the thread and the reader share.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// The offset behind the newest entry that was there as the thread began; the largest while that is not known.
    pub(super) newest: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    child: Option<Child>,
    stopped: bool,
}

impl Shared {
    pub(super) fn new() -> Self {
        Shared { state: Mutex::default(), changed: Condvar::new(), newest: AtomicU64::new(u64::MAX) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills the command, and no other is started.
    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        if let Some(child) = &mut state.child {
            // It may have ended by itself.
            let _ = child.kill();
        }
        self.changed.notify_all();
    }

    fn is_stopped(&self) -> bool {
        self.state().stopped
    }

    /// Waits for the command that has closed its output.
    fn ended(&self) -> Option<std::io::Result<ExitStatus>> {
        let child = self.state().child.take();
        child.map(|mut child| {
            // Should it go on without an output, nobody would read it.
            let _ = child.kill();
            child.wait()
        })
    }
}

/// Runs the command and hands on what it writes.
pub(super) struct Runner {
    pub(super) settings: Settings,
    pub(super) entries: Entries,
    pub(super) shared: Arc<Shared>,
    pub(super) messages: SyncSender<Message>,
    pub(super) wake: Wake,
}

/// What became of a command.
enum Outcome {
    /// It has ended by itself, having brought something or not, and said this of errors.
    Ended { brought: bool, succeeded: bool, why: String },
    /// It could not be started.
    NotStarted(String),
    /// Nobody wants more.
    Unwanted,
}

impl Runner {
    /// Runs it until nobody wants more.
    pub(super) fn run(mut self) {
        let newest = self.newest().unwrap_or_default();
        let mut behind = newest.next;
        if self.settings.from_end && self.entries.position == Position::default() {
            // As if all that is there had been read.
            (self.entries.position, behind) = (newest, 0);
        }
        self.shared.newest.store(behind, Ordering::SeqCst);
        (self.wake)();
        let (mut backoff, mut ever, mut away) = (Backoff::new(), false, false);
        while !self.shared.is_stopped() {
            let (brought, why) = match self.once() {
                Outcome::Unwanted => break,
                Outcome::NotStarted(why) if !ever => return self.say(Message::Failed(why)),
                Outcome::NotStarted(why) => (false, why),
                Outcome::Ended { succeeded: true, .. } if !self.settings.follow => {
                    return self.say(Message::End);
                }
                // What fails at once would do so for ever.
                Outcome::Ended { brought: false, succeeded: false, why } if !ever => {
                    return self.say(Message::Failed(why));
                }
                Outcome::Ended { succeeded: false, why, .. } if !self.settings.follow => {
                    return self.say(Message::Failed(why));
                }
                Outcome::Ended { brought, why, .. } => (brought, why),
            };
            if self.shared.is_stopped() {
                break;
            }
            ever = true;
            if brought {
                (backoff, away) = (Backoff::new(), false);
            }
            let level = if away { log::Level::Debug } else { log::Level::Warn };
            log::log!(
                level,
                "journald: {why}\n  hint: it is started again, and goes on behind the last entry"
            );
            away = true;
            let state = self.shared.state();
            let wait = self.shared.changed.wait_timeout_while(state, backoff.next(), |state| !state.stopped);
            drop(wait);
        }
        // Whoever waits for the thread to stop can see it now.
        drop(self.messages);
        (self.wake)();
    }

    fn say(&self, message: Message) {
        // Nobody may want to know any more.
        let _ = self.messages.send(message);
        (self.wake)();
    }

    /// Where the newest entry is that there is.
    fn newest(&self) -> Option<Position> {
        let mut command = self.settings.command();
        if self.entries.position == Position::default() {
            command.args(self.settings.since.iter().map(|since| format!("--since={since}")));
        }
        // What is wrong with it is said by the one that follows.
        let output = command.args(["--lines=1", "--output-fields=PRIORITY"]).output().ok()?;
        newest(&output.stdout)
    }

    /// Runs it once.
    fn once(&mut self) -> Outcome {
        let name = self.settings.command.display().to_string();
        let mut child = {
            let mut command = self.settings.command();
            command.args(begin(&self.settings, &self.entries.position));
            command.arg(format!("--output-fields={}", self.settings.fields.join(",")));
            match command.spawn() {
                Ok(child) => child,
                Err(error) => return Outcome::NotStarted(format!("cannot start {name}: {error}")),
            }
        };
        self.entries.begin();
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        {
            let mut state = self.shared.state();
            let stopped = state.stopped;
            state.child = Some(child);
            drop(state);
            if stopped {
                self.shared.ended();
                return Outcome::Unwanted;
            }
        }
        let errors = errors.map(|errors| {
            Builder::new().name("journald".to_owned()).spawn(move || said(BufReader::new(errors)))
        });
        let (mut brought, mut bytes) = (false, vec![0; BLOCK]);
        let mut output = output;
        while let Some(pipe) = &mut output {
            let read = match pipe.read(&mut bytes) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            let mut batch = Batch::default();
            self.entries.add(&bytes[..read], &mut batch);
            if !batch.is_empty() {
                brought = true;
                if self.messages.send(Message::Entries(batch)).is_err() {
                    output = None;
                } else {
                    (self.wake)();
                }
            }
        }
        let status = self.shared.ended();
        let said = errors.and_then(Result::ok).and_then(|thread| thread.join().ok()).unwrap_or_default();
        if output.is_none() {
            return Outcome::Unwanted;
        }
        let (succeeded, how) = match status {
            Some(Ok(status)) => (status.success(), status.to_string()),
            Some(Err(error)) => (false, error.to_string()),
            None => (false, "it is gone".to_owned()),
        };
        let said = if said.is_empty() { said } else { format!(": {said}") };
        Outcome::Ended { brought, succeeded, why: format!("{name} has ended ({how}){said}") }
    }
}

/// Where the command is to begin, as its arguments.
fn begin(settings: &Settings, position: &Position) -> Vec<String> {
    let mut arguments = Vec::new();
    match (&position.cursor, position.micros()) {
        // And not `--after-cursor`: where the entry is gone, that would leave out another. It is known by its cursor.
        (Some(cursor), _) => arguments.push(format!("--cursor={cursor}")),
        (None, Some(micros)) => {
            arguments.push(format!("--since=@{}.{:06}", micros / 1_000_000, micros % 1_000_000));
        }
        (None, None) => arguments.extend(settings.since.iter().map(|since| format!("--since={since}"))),
    }
    if settings.follow {
        arguments.extend(["--follow", "--no-tail"].map(str::to_owned));
    }
    arguments
}

/// Shows what the command says of errors, and returns the last of it.
fn said(mut errors: impl BufRead) -> String {
    let (mut last, mut shown) = (String::new(), 0);
    loop {
        let mut line = Vec::new();
        match errors.by_ref().take(SAID).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return last,
            Ok(_) => {}
        }
        let text = line.trim_ascii().escape_ascii().to_string();
        if text.is_empty() {
            continue;
        }
        let level = if shown < SHOWN { log::Level::Warn } else { log::Level::Debug };
        log::log!(level, "journald: {text}");
        shown += 1;
        last = text;
    }
}
