//! One process, its end, and what it says.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::{Event, Supervision};

/// Lines of a process that are remembered.
const LINES: usize = 20;
/// How long it is waited for what a process said last, once it has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// A longer line is cut.
const LONGEST: u64 = 64 << 10;

/// A process.
#[derive(Debug)]
pub(super) struct Child {
    process: std::process::Child,
    /// Until it has been looked at it cannot be another of the same number.
    running: bool,
    /// What it said last, and word that it will say no more.
    said: Arc<Mutex<VecDeque<String>>>,
    silent: Receiver<()>,
}

/// How a process has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub process: usize,
    pub status: ExitStatus,
    /// What it said last.
    pub said: Vec<String>,
}

impl Ended {
    pub fn is_done(&self) -> bool {
        self.status.success()
    }

    /// Its exit code, as shells say it.
    pub fn code(&self) -> u8 {
        let signal = self.status.signal().map(|signal| 128 + signal);
        u8::try_from(self.status.code().or(signal).unwrap_or(70)).unwrap_or(70)
    }
}

impl Child {
    pub fn start(
        supervision: &Supervision,
        process: usize,
        environment: &[(&str, String)],
        (round, events): (u64, Sender<Event>),
        tell: impl Fn(&str) + Send + 'static,
    ) -> io::Result<Self> {
        let mut command = Command::new(&supervision.program);
        // Flags stand before what only paths follow.
        let end = supervision.arguments.iter().position(|argument| argument == "--");
        let (before, behind) = supervision.arguments.split_at(end.unwrap_or(supervision.arguments.len()));
        command.args(before).args(["-n", &supervision.processes.to_string(), "-p", &process.to_string()]);
        command.args(behind).envs(environment.iter().map(|(name, value)| (*name, value.as_str())));
        // The first reads what is read once, and shows what is shown.
        if process > 0 {
            command.stdin(Stdio::null()).stdout(Stdio::null());
        }
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        let (falls, silent) = channel::<()>();
        let said = Arc::default();
        let lines = Arc::clone(&said);
        let started = child.stderr.take().map_or_else(
            || Err(io::Error::other("it has no standard error")),
            |stderr| {
                Builder::new().name(format!("says {process}")).spawn(move || {
                    listen(process, stderr, &lines, &tell);
                    drop(falls);
                })
            },
        );
        let pid = Pid::from_child(&child);
        let wait = move || {
            // It is only looked at: until it is waited for, its number stays its own.
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(pid), options) {}
            drop(events.send(Event::Ended { round, process }));
        };
        let waits = Builder::new().name(format!("waits {process}")).spawn(wait);
        match started.and(waits) {
            Ok(_) => Ok(Child { process: child, running: true, said, silent }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    pub fn is_running(&self) -> bool {
        self.running
    }

    pub fn signal(&mut self, signal: Signal) {
        if self.running {
            // It may have ended by now.
            let _ = kill_process(Pid::from_child(&self.process), signal);
        }
    }

    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
    }

    /// How it has ended, which is known to have happened.
    pub fn end(&mut self, process: usize) -> Ended {
        let status = self.process.wait().unwrap_or_default();
        self.running = false;
        // A program that it has started may live on, and hold on to where it speaks.
        let _ = self.silent.recv_timeout(LAST_WORDS);
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ended { process, status, said: said.into() }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.running {
            self.kill();
            let _ = self.process.wait();
        }
    }
}

/// Hands on what process number `process` says, and keeps its last lines.
fn listen(process: usize, stderr: ChildStderr, last: &Mutex<VecDeque<String>>, tell: &impl Fn(&str)) {
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.by_ref().take(LONGEST).read_until(b'\n', &mut line) {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\n', '\r']);
        tell(&format!("[{process}] {text}"));
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() == LINES {
            last.pop_front();
        }
        last.push_back(text.to_owned());
    }
}
