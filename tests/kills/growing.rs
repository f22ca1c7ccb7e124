//! A log that is written and rotated, whether anybody looks or not.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thalweg::generate::{Kind, Options, generate};

use crate::rounds::doze;
use crate::support::Draws;

/// How many rotated files are not compressed.
const PLAIN: usize = 2;

/// A log, and all that was ever written to it.
pub struct Growing {
    path: PathBuf,
    lines: std::vec::IntoIter<Vec<u8>>,
    /// What was written so far.
    pub whole: Vec<u8>,
    /// How often it was put aside.
    pub rotations: usize,
    /// How many files were compressed then.
    pub compressed: usize,
}

impl Growing {
    /// Will be at `path`, and have the lines of `text`.
    pub fn new(path: &str, text: &[u8]) -> Self {
        let lines: Vec<_> = text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        let (lines, whole) = (lines.into_iter(), Vec::new());
        Growing { path: path.into(), lines, whole, rotations: 0, compressed: 0 }
    }

    /// Adds a line, if there is one more.
    fn line(&mut self, to: &mut Vec<u8>) {
        if let Some(line) = self.lines.next() {
            to.extend(line);
        }
    }

    /// Writes `count` lines, now and then in two pieces.
    pub fn write(&mut self, draws: &mut Draws, count: usize) {
        let mut text = Vec::new();
        (0..count).for_each(|_| self.line(&mut text));
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path).unwrap();
        let cut = draws.below(text.len().max(1));
        for piece in [&text[..cut], &text[cut..]] {
            file.write_all(piece).unwrap();
        }
        self.whole.extend(text);
    }

    /// Writes for about so long, and rotates now and then. What is old is compressed while nobody looks ([`Growing::rotate`]): a file that
    /// is gone between being found and being opened ends a run, and the next one finds the other.
    pub fn live(&mut self, draws: &mut Draws, life: Duration) {
        let (mut left, mut rotated) = (life, false);
        loop {
            let count = draws.below(40);
            self.write(draws, count);
            if !rotated && draws.below(10) == 0 {
                self.rotate(false);
                rotated = true;
            }
            let slept = doze(draws, 40.min(left.as_millis() as usize + 1));
            left = left.saturating_sub(slept + Duration::from_millis(1));
            if left.is_zero() {
                return;
            }
        }
    }

    /// Puts the file aside and begins another, as logrotate does: the newest is number 1, and the others count up. With `compress`
    /// those that have been aside for longer are compressed.
    pub fn rotate(&mut self, compress: bool) {
        if !self.path.exists() {
            return;
        }
        let aside = |number: usize, suffix: &str| self.path.with_extension(format!("log.{number}{suffix}"));
        for number in (1..=self.rotations).rev() {
            for suffix in ["", ".gz"] {
                let path = aside(number, suffix);
                if path.exists() {
                    fs::rename(path, aside(number + 1, suffix)).unwrap();
                }
            }
        }
        fs::rename(&self.path, aside(1, "")).unwrap();
        File::create(&self.path).unwrap();
        self.rotations += 1;
        if !compress {
            return;
        }
        let old = (1 + PLAIN..=self.rotations).rev().map(|number| aside(number, ""));
        for path in old.filter(|path| path.exists()) {
            let status = std::process::Command::new("gzip").arg(&path).status().unwrap();
            assert!(status.success(), "gzip {path:?}");
            self.compressed += 1;
        }
    }
}

/// `count` lines of an access log, in which a minute of event time has about so many lines.
pub fn access_log(count: u64, a_minute: f64) -> Vec<u8> {
    let options = Options {
        lines: Some(count),
        rate: a_minute / 60.0,
        keys: 300,
        malformed: 0.01,
        ..Options::default_for(Kind::AccessLog)
    };
    let mut text = Vec::new();
    generate(Kind::AccessLog, &options, &mut text).unwrap();
    text
}

/// What a run reads that is to follow the log at `path`.
pub fn follows(path: &str) -> String {
    assert!(Path::new(path).extension().is_some_and(|it| it == "log"));
    format!("file:{path}*?follow")
}
