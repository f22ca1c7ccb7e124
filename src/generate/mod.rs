//! Made-up logs: any number of lines, the same for ever from the same options.
//!
//! Benchmarks, tests and first steps want logs of a known shape and of any size. [`generate`] writes them, and
//! [`Generator`] gives them line by line. Lines are a function of the [`Kind`] and the [`Options`] alone: byte for
//! byte the same on every machine, so that a figure or a golden file names its input by a command instead of
//! carrying gigabytes. For that, this module takes nothing from outside but the ChaCha8 stream, which is fixed by its
//! authors, and the calendar: numbers from the stream (`draws`), the Zipf law (`zipf`) and its logarithms (`float`) are worked out here
//! in integers and in those floating-point operations that IEEE 754 rounds exactly. A golden hash for each kind
//! (`tests/generate.rs`) holds the promise.
//!
//! The module knows bytes, and how logs look. It must not know clocks, the environment, or dataflows; nor
//! does it share code with `format`, whose parsers are tested on what is written here.
//!
//! The popularity of keys follows Zipf's law, as that of pages, clients and words does: the key of rank *k* is
//! drawn with a probability in proportion to *k*^−skew. A rank is turned into an address, a path or a word by a fixed
//! arithmetic rule, never by a table of all keys, so that memory does not grow with the lines, and with the keys
//! only up to the 8 MiB of a Zipf table.

mod access_log;
mod access_parts;
mod actions;
mod clock;
mod draws;
mod float;
mod json;
mod options;
mod text;
mod tweet_parts;
mod tweets;
mod words;
mod zipf;

use std::fmt;
use std::io;
use std::str::FromStr;

use clock::{Clock, Moment};
use draws::Draws;

pub use options::Options;

/// What to make up.
///
/// ```
/// use thalweg::generate::Kind;
/// assert_eq!("access-log".parse::<Kind>()?, Kind::AccessLog);
/// assert!("acess-log".parse::<Kind>().is_err());
/// # Ok::<(), thalweg::generate::GenerateError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A web server's log in Apache's combined format, about 200 bytes a line.
    AccessLog,
    /// Tweets with hashtags as JSON lines, 300 to 400 bytes each.
    Tweets,
    /// Lines of 5 to 15 made-up words.
    Words,
    /// What devices did and when, as JSON lines with `time`, `action` and `device`.
    Actions,
}

impl Kind {
    /// All kinds, in the order in which help should list them.
    pub const ALL: &'static [Kind] = &[Kind::AccessLog, Kind::Tweets, Kind::Words, Kind::Actions];

    /// The names of all kinds.
    ///
    /// ```
    /// use thalweg::generate::Kind;
    /// assert!(Kind::names().eq(["access-log", "tweets", "words", "actions"]));
    /// ```
    pub fn names() -> impl Iterator<Item = &'static str> {
        Kind::ALL.iter().map(|kind| kind.name())
    }

    /// The name on the command line.
    ///
    /// ```
    /// use thalweg::generate::Kind;
    /// assert_eq!(Kind::AccessLog.name(), "access-log");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            Kind::AccessLog => "access-log",
            Kind::Tweets => "tweets",
            Kind::Words => "words",
            Kind::Actions => "actions",
        }
    }

    /// One line for a help text.
    ///
    /// ```
    /// use thalweg::generate::Kind;
    /// assert!(Kind::Words.about().contains("words"));
    /// ```
    pub const fn about(self) -> &'static str {
        match self {
            Kind::AccessLog => "a web server's log in Apache's combined format, about 200 bytes a line",
            Kind::Tweets => "tweets with hashtags as JSON lines, about 350 bytes a line",
            Kind::Words => "plain text, 5 to 15 made-up words a line",
            Kind::Actions => r#"device events as JSON lines: {"time":seconds,"action":"Open","device":…}"#,
        }
    }

    fn lines(self, options: &Options) -> Box<dyn Lines> {
        match self {
            Kind::AccessLog => Box::new(access_log::AccessLog::new(options)),
            Kind::Tweets => Box::new(tweets::Tweets::new(options)),
            Kind::Words => Box::new(words::Words::new(options)),
            Kind::Actions => Box::new(actions::Actions::new(options)),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kind {
    type Err = GenerateError;

    fn from_str(given: &str) -> Result<Self, GenerateError> {
        let known = Kind::ALL.iter().copied().find(|kind| kind.name() == given);
        known.ok_or_else(|| GenerateError::UnknownKind { given: given.to_owned() })
    }
}

/// Why lines could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// There is no kind of this name.
    #[error("unknown kind of lines `{given}`\n  hint: the kinds are {}", Kind::names().collect::<Vec<_>>().join(", "))]
    UnknownKind {
        /// The name as given.
        given: String,
    },
    /// An option is out of its range.
    #[error("`{option}` is {given}, but must be {allowed}")]
    OutOfRange {
        /// The field's name in [`Options`].
        option: &'static str,
        /// The value as given.
        given: String,
        /// The range and its unit, in words.
        allowed: String,
    },
    /// The output refused a write; an unknown part of the last block may have arrived.
    #[error("cannot write generated lines after {written} bytes: {source}")]
    Write {
        /// Bytes that the output had taken for certain.
        written: u64,
        /// The system's reason.
        source: io::Error,
    },
}

/// How much [`generate`] wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Lines, the malformed ones among them.
    pub lines: u64,
    /// Bytes, with line ends.
    pub bytes: u64,
}

/// What differs between the kinds.
trait Lines: fmt::Debug + Send {
    /// Appends a well-formed line without its LF.
    fn write(&mut self, draws: &mut Draws, moment: Moment, out: &mut Vec<u8>);

    /// Breaks `out[start..]`, the line that `write` has just appended, so that no parser should take it.
    fn spoil(&self, draws: &mut Draws, start: usize, out: &mut Vec<u8>);
}

/// Lines one after another, without end unless [`Options::lines`] sets one.
///
/// Line *n* depends on the options and *n*, not on how many lines are asked for: a shorter run is the beginning of
/// a longer one. Nor does [`Options::malformed`] change the lines that it leaves whole.
///
/// ```
/// use thalweg::generate::{Generator, Kind, Options};
/// let options = Options { lines: Some(2), ..Options::default_for(Kind::Words) };
/// let mut generator = Generator::new(Kind::Words, &options)?;
/// let mut lines = Vec::new();
/// while generator.next_line(&mut lines) {}
/// assert_eq!(lines.iter().filter(|&&byte| byte == b'\n').count(), 2);
/// # Ok::<(), thalweg::generate::GenerateError>(())
/// ```
#[derive(Debug)]
pub struct Generator {
    lines: Box<dyn Lines>,
    clock: Clock,
    draws: Draws,
    /// Malformed lines draw from a stream of their own, so that the others do not depend on them.
    spoils: Draws,
    malformed: f64,
    remaining: Option<u64>,
}

impl Generator {
    /// Makes ready to write lines of `kind`: at once, or in up to a fifth of a second for a million
    /// [`keys`](Options::keys).
    ///
    /// # Errors
    ///
    /// Those of [`Options::validate`].
    pub fn new(kind: Kind, options: &Options) -> Result<Self, GenerateError> {
        options.validate()?;
        Ok(Generator {
            lines: kind.lines(options),
            clock: Clock::new(options),
            draws: Draws::new(options.seed, kind.name(), 0),
            spoils: Draws::new(options.seed, kind.name(), 1),
            malformed: options.malformed,
            remaining: options.lines,
        })
    }

    /// Appends the next line and its LF to `out`, or answers `false` after the last.
    pub fn next_line(&mut self, out: &mut Vec<u8>) -> bool {
        self.line(None, out)
    }

    /// The same, but for the line's event time, which is `millis` UTC (of the range of [`Options::start`]) whatever the options
    /// say: for lines that are made as they are read.
    ///
    /// ```
    /// use thalweg::generate::{Generator, Kind, Options};
    /// let mut generator = Generator::new(Kind::Actions, &Options::default_for(Kind::Actions))?;
    /// let mut line = Vec::new();
    /// generator.next_line_at(1_700_000_000_123, &mut line);
    /// assert!(line.starts_with(br#"{"time":1700000000,"action":"#));
    /// # Ok::<(), thalweg::generate::GenerateError>(())
    /// ```
    pub fn next_line_at(&mut self, millis: i64, out: &mut Vec<u8>) -> bool {
        self.line(Some(millis.clamp(0, Options::MAX_TIME)), out)
    }

    fn line(&mut self, millis: Option<i64>, out: &mut Vec<u8>) -> bool {
        match &mut self.remaining {
            Some(0) => return false,
            Some(remaining) => *remaining -= 1,
            None => {}
        }
        let start = out.len();
        let mut moment = self.clock.next(&mut self.draws);
        moment.millis = millis.unwrap_or(moment.millis);
        self.lines.write(&mut self.draws, moment, out);
        if self.spoils.draw().chance(self.malformed) {
            self.lines.spoil(&mut self.spoils, start, out);
        }
        out.push(b'\n');
        true
    }
}

/// Writes lines of `kind` to `out`, in blocks of a quarter of a mebibyte.
///
/// Without [`Options::lines`] it goes on until `out` refuses, as a closed pipe does.
///
/// # Errors
///
/// Those of [`Options::validate`], and [`GenerateError::Write`] when `out` does not take more.
///
/// ```
/// use thalweg::generate::{Kind, Options, generate};
/// let options = Options { lines: Some(1000), seed: 7, ..Options::default_for(Kind::AccessLog) };
/// let (mut first, mut second) = (Vec::new(), Vec::new());
/// let summary = generate(Kind::AccessLog, &options, &mut first)?;
/// generate(Kind::AccessLog, &options, &mut second)?;
/// assert_eq!((summary.lines, summary.bytes), (1000, first.len() as u64));
/// assert_eq!(first, second);
/// # Ok::<(), thalweg::generate::GenerateError>(())
/// ```
pub fn generate(kind: Kind, options: &Options, out: &mut dyn io::Write) -> Result<Summary, GenerateError> {
    const BLOCK: usize = 256 << 10;
    let mut generator = Generator::new(kind, options)?;
    let mut summary = Summary::default();
    let mut block = Vec::with_capacity(BLOCK + 4096);
    loop {
        let more = generator.next_line(&mut block);
        summary.lines += u64::from(more);
        if block.len() >= BLOCK || !more {
            out.write_all(&block)
                .map_err(|source| GenerateError::Write { written: summary.bytes, source })?;
            summary.bytes += block.len() as u64;
            block.clear();
        }
        if !more {
            break;
        }
    }
    out.flush().map_err(|source| GenerateError::Write { written: summary.bytes, source })?;
    Ok(summary)
}
