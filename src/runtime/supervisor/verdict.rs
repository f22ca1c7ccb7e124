//! What a failure was, and whether it is worth another attempt.

use std::collections::VecDeque;
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use super::child::Ended;
use crate::runtime::Exit;

/// It is given up when so many failures one after the other are at the same place.
const SAME: usize = 3;

/// Why all processes have ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub process: usize,
    /// The exit code, or 128 and the number of a signal.
    pub code: u8,
    signal: Option<i32>,
    /// The line that says what went wrong, and where.
    place: Option<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { process, code, signal, place } = self;
        match signal {
            Some(signal) => write!(f, "process {process} was ended by signal {signal}")?,
            None => write!(f, "process {process} ended with code {code}")?,
        }
        match place.as_ref().filter(|_| signal.is_none()) {
            Some(place) => write!(f, ": {}", place.trim().trim_start_matches("thalweg: ")),
            None => Ok(()),
        }
    }
}

/// The first failure of processes, which have `ended` in this order: the first that is not the loss of another.
pub(super) fn first_failure(ended: Vec<Ended>, stopped: bool) -> Option<Failure> {
    let is_consequence = |code: u8| {
        // Those that were to join, too, when the end is asked for before all have.
        code == Exit::PeerLost as u8 || stopped && code == Exit::Join as u8
    };
    let failed: Vec<_> = ended.into_iter().filter(|end| !end.is_done()).collect();
    let first = failed.iter().position(|end| !is_consequence(end.code()));
    if stopped && first.is_none() {
        return None;
    }
    let first = failed.into_iter().nth(first.unwrap_or(0))?;
    let signal = first.status.signal();
    Some(Failure { process: first.process, code: first.code(), signal, place: place(&first.said) })
}

/// The line that says where a process was: the input that it worked on, if it says so; otherwise what it said last.
fn place(said: &[String]) -> Option<String> {
    let at = said.iter().rev().find(|line| line.contains("it worked on"));
    // Hints are the same at any place.
    let last = || said.iter().rev().find(|line| !line.trim().is_empty() && !line.trim().starts_with("hint:"));
    at.or_else(last).cloned()
}

/// Whether all are started again.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Restart,
    GiveUp(String),
}

/// The failures so far.
#[derive(Debug)]
pub(super) struct History {
    restarts: usize,
    within: Duration,
    failures: VecDeque<Instant>,
    /// The last failure, and how often it has come one after the other.
    last: Option<(Failure, usize)>,
}

impl History {
    pub fn new(restarts: usize, within: Duration) -> Self {
        History { restarts, within, failures: VecDeque::new(), last: None }
    }

    /// What comes after `failure`, which was `at` this time.
    pub fn next(&mut self, failure: &Failure, at: Instant) -> Next {
        const NO_USE: [Exit; 3] = [Exit::Configuration, Exit::Nothing, Exit::Interrupted];
        if failure.signal.is_none() && NO_USE.iter().any(|exit| *exit as u8 == failure.code) {
            return Next::GiveUp(format!("another attempt would end the same way: {failure}"));
        }
        // Whoever kills a process says nothing of where it was.
        let same = |last: &Failure| failure.signal.is_none() && failure.place.is_some() && last == failure;
        let times = self.last.take().filter(|(last, _)| same(last)).map_or(1, |(_, times)| times + 1);
        self.last = Some((failure.clone(), times));
        if times >= SAME {
            return Next::GiveUp(format!("{times} times at the same place: {failure}"));
        }
        self.failures.push_back(at);
        while self.failures.front().is_some_and(|first| at.duration_since(*first) > self.within) {
            self.failures.pop_front();
        }
        if self.failures.len() > self.restarts {
            let (count, within) = (self.failures.len(), humantime::format_duration(self.within));
            return Next::GiveUp(format!("{count} failures within {within}; the last: {failure}"));
        }
        Next::Restart
    }
}

#[cfg(test)]
mod tests {
    use std::process::ExitStatus;

    use super::*;
    use crate::runtime::now;

    fn ended(process: usize, status: i32, said: &[&str]) -> Ended {
        let said = said.iter().map(ToString::to_string).collect();
        Ended { process, status: ExitStatus::from_raw(status), said }
    }

    #[test]
    fn the_first_failure_is_not_the_loss_of_another() {
        let said = ["thalweg: a panic", "  it worked on a.log, lines 7 to 9", "  hint: none", ""];
        let all = || vec![ended(2, 6 << 8, &["lost 1"]), ended(0, 0, &[]), ended(1, 70 << 8, &said)];
        let failure = first_failure(all(), false).expect("there is one");
        assert_eq!((failure.process, failure.code), (1, 70));
        assert!(failure.to_string().ends_with("code 70: it worked on a.log, lines 7 to 9"), "{failure}");
        let killed = first_failure(vec![ended(1, 9, &["x"]), ended(0, 6 << 8, &[])], false).expect("one");
        assert_eq!((killed.code, &*killed.to_string()), (137, "process 1 was ended by signal 9"));
        assert_eq!(first_failure(vec![ended(0, 0, &[])], false), None);
        let lost = || vec![ended(0, 6 << 8, &["lost 1"]), ended(1, 0, &[])];
        assert_eq!(first_failure(lost(), true), None, "it was asked to end");
        assert_eq!(first_failure(lost(), false).map(|failure| failure.code), Some(6));
    }

    #[test]
    fn what_repeats_itself_is_given_up() {
        let failure = |status: i32, line: &str| {
            first_failure(vec![ended(0, status, &[line])], false).expect("it failed")
        };
        let (mut at, minute) = (now(), Duration::from_secs(60));
        let mut history = History::new(4, minute);
        // At the same place, ...
        for _ in 0..2 {
            assert_eq!(history.next(&failure(70 << 8, "line 7"), at), Next::Restart);
        }
        let Next::GiveUp(why) = history.next(&failure(70 << 8, "line 7"), at) else { panic!("it goes on") };
        assert!(why.contains("3 times at the same place") && why.contains("line 7"), "{why}");
        // ... or too often, ...
        let mut history = History::new(4, minute);
        for line in ["a", "b", "a", "b"] {
            assert_eq!(history.next(&failure(70 << 8, line), at), Next::Restart);
        }
        let Next::GiveUp(why) = history.next(&failure(9, "c"), at) else { panic!("it goes on") };
        assert!(why.contains("5 failures within 1m"), "{why}");
        // ... but not when it is killed now and then, ...
        let mut history = History::new(4, minute);
        for _ in 0..100 {
            at += minute / 3;
            assert_eq!(history.next(&failure(9, "the same"), at), Next::Restart);
        }
        // ... and at once where nothing would be another.
        for code in [2, 8, 130] {
            let next = History::new(4, minute).next(&failure(code << 8, "x"), at);
            assert!(matches!(next, Next::GiveUp(_)), "{code}");
        }
    }
}
