//! `rate:LINES_PER_SECOND`: generated lines as a live source, for measurements and first steps.
//!
//! The lines are those of [`generate`](crate::generate), but each carries the time at which it was made, so that how long its way
//! to a sink takes can be seen: to the second in an `access-log` and in `actions`, to the millisecond in `tweets`; `words` have
//! no time. After *t* seconds *t* times the rate of them have been made. When the run cannot keep up,
//! no line is left out: what is due is made as soon as there is room for it, with the time of then.
//!
//! | option | | default |
//! |---|---|---|
//! | `kind=KIND` | what kind of lines, as in `thalweg generate` | `access-log` |
//! | `seed=N` | another seed, other lines | 0 |
//! | `ramp-up=TIME` | how long the rate takes to rise, linearly from zero | 0s |
//! | `partitions=N` | how many partitions share the lines, each with a thread of its own; 1024 at most | 1 |
//! | `lines=N` | how many lines there are in all | no end |
//! | `keys=N`, `skew=X`, `malformed=SHARE` | as in `thalweg generate` | those of the kind |
//!
//! # Promise on restart
//!
//! None: lines that were read are gone, because no line is made twice with the same time.
//!
//! The module reads no clock but the one that it is handed ([`RateClock`]): only the [`runtime`](crate::runtime) has one.

mod pace;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Builder;
use std::time::{Duration, Instant};

use self::pace::Pace;
use crate::generate::{Generator, Kind, Options};
use crate::source::{
    self, Access, BlockReader, BlockWriter, Found, ReadOptions, Reader, Share, Source, SourceError, Wake,
};
use crate::time::Time;

/// About how many bytes a block has.
const BLOCK: usize = 256 << 10;

/// The shortest wait: lines that are due within it come together.
const SHORTEST: Duration = Duration::from_millis(1);

/// The longest wait before the thread checks whether it is to stop.
const LONGEST: Duration = Duration::from_millis(100);

/// The most partitions.
const PARTITIONS: u64 = 1024;

/// Where the time comes from: the source itself reads no clock.
#[derive(Clone, Copy, Debug)]
pub struct RateClock {
    /// For measuring how much time has passed.
    pub now: fn() -> Instant,
    /// The time of day, which lines carry.
    pub time: fn() -> Time,
}

/// Generated lines that come at a rate, see [the module](self).
#[derive(Debug)]
pub struct RateSource {
    uri: String,
    kind: Kind,
    options: Options,
    pace: Pace,
    clock: RateClock,
    /// Whether each partition has been read.
    taken: Vec<AtomicBool>,
    /// When each began.
    begun: Arc<[OnceLock<Instant>]>,
}

impl RateSource {
    /// Of what follows `rate:` in a URI.
    ///
    /// # Errors
    ///
    /// When it is not of the form that [the module](self) describes.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use thalweg::rate::{RateClock, RateSource};
    /// use thalweg::source::{Pool, ReadOptions, Share, Source, Step};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let clock = RateClock { now: thalweg::runtime::now, time: || thalweg::time::Time(1_700_000_000_000) };
    /// let source = RateSource::parse("100000?kind=actions&lines=1000", clock)?;
    /// let (found, share) = (source.find()?, Share { worker: 0, peers: 1 });
    /// let worker = std::thread::current();
    /// let wake = Arc::new(move || worker.unpark());
    /// let mut reader = source.open(&found[0], 0, share, ReadOptions::default(), wake)?;
    /// let (mut lines, pool) = (0, Pool::default());
    /// loop {
    ///     match reader.poll(u64::MAX, &pool)? {
    ///         Step::Chunk(chunk) => {
    ///             lines += chunk.lines().count();
    ///             assert!(chunk.lines().all(|(_, line)| line.starts_with(br#"{"time":1700000000,"#)));
    ///         }
    ///         Step::CaughtUp => std::thread::park(),
    ///         Step::Ended => break,
    ///         other => panic!("{other:?}"),
    ///     }
    /// }
    /// assert_eq!(lines, 1000);
    /// # Ok(())
    /// # }
    /// ```
    pub fn parse(rest: &str, clock: RateClock) -> Result<Self, String> {
        let (rate, options) = rest.split_once('?').unwrap_or((rest, ""));
        let given: Vec<_> = source::options(options).collect();
        let kind = given.iter().rfind(|(name, _)| *name == "kind").map(|(_, kind)| kind.parse());
        let kind: Kind = kind.transpose().map_err(|error| format!("{error}"))?.unwrap_or(Kind::AccessLog);
        let mut lines = Options { lines: None, ..Options::default_for(kind) };
        let (mut partitions, mut ramp_up) = (1, Duration::ZERO);
        for (name, value) in given {
            let error = |error: &dyn std::fmt::Display| format!("`{name}={value}`: {error}");
            let number = || value.parse::<u64>().map_err(|reason| error(&reason));
            let share = || value.parse::<f64>().map_err(|reason| error(&reason));
            match name {
                "kind" => {}
                "seed" => lines.seed = number()?,
                "lines" => lines.lines = Some(number()?),
                "keys" => lines.keys = number()?,
                "skew" => lines.skew = share()?,
                "malformed" => lines.malformed = share()?,
                "ramp-up" => ramp_up = humantime::parse_duration(value).map_err(|reason| error(&reason))?,
                "partitions" => {
                    partitions = number()?;
                    if !(1..=PARTITIONS).contains(&partitions) {
                        return Err(error(&format_args!("it must be from 1 to {PARTITIONS}")));
                    }
                }
                _ => {
                    return Err(format!(
                        "`{name}` is none of `kind`, `seed`, `ramp-up`, `partitions`, `lines`, `keys`, `skew`, `malformed`"
                    ));
                }
            }
        }
        lines.rate = rate.parse().map_err(|_| {
            format!("`{rate}` is no number of lines in a second, as in `rate:1000` or `rate:0.5?kind=words`")
        })?;
        lines.validate().map_err(|error| error.to_string())?;
        let pace = Pace { lines_per_second: lines.rate / partitions as f64, ramp_up };
        let taken = (0..partitions).map(|_| AtomicBool::new(false)).collect();
        let begun = (0..partitions).map(|_| OnceLock::new()).collect();
        Ok(RateSource { uri: format!("rate:{rest}"), kind, options: lines, pace, clock, taken, begun })
    }

    /// When line `line`, from 1, of partition `partition`, from 0, is due: the time of its arrival, whenever it was made. `None` before that is being read.
    pub fn due(&self, partition: usize, line: u64) -> Option<Instant> {
        let begun = self.begun.get(partition)?.get()?;
        begun.checked_add(self.pace.when(line))
    }

    /// The options of partition `number`: a seed of its own, and its share of the lines.
    fn part(&self, number: usize) -> Options {
        let (of, number) = (self.taken.len() as u64, number as u64);
        Options {
            seed: self.options.seed.wrapping_add(number),
            lines: self.options.lines.map(|all| all / of + u64::from(number < all % of)),
            ..self.options.clone()
        }
    }
}

impl Source for RateSource {
    fn uri(&self) -> &str {
        &self.uri
    }

    fn is_bounded(&self) -> bool {
        false
    }

    fn is_replayable(&self) -> bool {
        false
    }

    fn find(&self) -> Result<Vec<Found>, SourceError> {
        let found = (0..self.taken.len()).map(|number| Found {
            name: format!("{}#{number}", self.uri).into(),
            identity: format!("{}#{number}", self.uri),
            access: Access::Sequential,
            length: None,
            bytes: 0,
            detail: number.to_string(),
        });
        Ok(found.collect())
    }

    fn open(
        &self,
        partition: &Found,
        from: u64,
        _share: Share,
        options: ReadOptions,
        wake: Wake,
    ) -> Result<Box<dyn Reader>, SourceError> {
        let number = partition.detail.parse::<usize>().ok().filter(|number| *number < self.taken.len());
        let number = number.ok_or_else(|| SourceError::Detail {
            partition: partition.name.to_string(),
            reason: format!("it has {} partitions here", self.taken.len()),
        })?;
        if self.taken[number].swap(true, Ordering::SeqCst) || from > 0 {
            return Err(SourceError::Gone { partition: partition.name.to_string(), offset: from });
        }
        let failed = |source| SourceError::Open { path: self.uri.clone().into(), source };
        let part = self.part(number);
        let generator = Generator::new(self.kind, &part);
        let generator = generator.map_err(|error| failed(std::io::Error::other(error.to_string())))?;
        let (writer, reader) = BlockReader::new(Arc::clone(&partition.name), options.max_line, wake);
        let (pace, clock, begun) = (self.pace, self.clock, Arc::clone(&self.begun));
        let work = Work { generator, lines: part.lines, pace, clock, begun, number };
        Builder::new().name("rate".to_owned()).spawn(move || work.make(writer)).map_err(failed)?;
        Ok(Box::new(reader))
    }
}

/// The thread of a partition.
struct Work {
    generator: Generator,
    lines: Option<u64>,
    pace: Pace,
    clock: RateClock,
    begun: Arc<[OnceLock<Instant>]>,
    number: usize,
}

impl Work {
    /// Makes lines as they are due, until all are made or the reader has gone.
    fn make(mut self, writer: BlockWriter) {
        let all = self.lines.unwrap_or(u64::MAX);
        let begun = *self.begun[self.number].get_or_init(self.clock.now);
        let mut made = 0;
        while made < all {
            if writer.is_stopped() {
                return;
            }
            let elapsed = (self.clock.now)().saturating_duration_since(begun);
            let due = self.pace.due(elapsed).min(all);
            if made >= due {
                let wait = self.pace.when(made.saturating_add(1)).saturating_sub(elapsed);
                std::thread::sleep(wait.clamp(SHORTEST, LONGEST));
                continue;
            }
            let mut bytes = writer.take();
            bytes.clear();
            let time = (self.clock.time)();
            while made < due && bytes.len() < BLOCK && self.generator.next_line_at(time.0, &mut bytes) {
                made += 1;
            }
            let len = bytes.len();
            if !writer.send(bytes, len) {
                return;
            }
        }
        writer.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(rest: &str) -> Result<RateSource, String> {
        RateSource::parse(rest, RateClock { now: crate::runtime::now, time: || Time(0) })
    }

    #[test]
    fn what_is_wrong_with_a_uri_is_named() {
        for (rest, part) in [
            ("", "no number of lines"),
            ("many", "no number of lines"),
            ("0", "`rate` is 0"),
            ("1?kind=acess-log", "unknown kind"),
            ("1?lines=-1", "`lines=-1`"),
            ("1?partitions=0", "from 1 to 1024"),
            ("1?ramp-up=soon", "`ramp-up=soon`"),
            ("1?rows=1", "`rows` is none of"),
        ] {
            let error = parse(rest).expect_err(rest);
            assert!(error.contains(part), "{rest}: {error}");
        }
    }

    #[test]
    fn partitions_share_the_lines_and_have_their_own() {
        let source = parse("1?partitions=3&lines=11&seed=5").expect("well formed");
        let parts = [0, 1, 2].map(|number| source.part(number));
        assert_eq!(parts.each_ref().map(|part| part.lines), [Some(4), Some(4), Some(3)]);
        assert_eq!(parts.map(|part| part.seed), [5, 6, 7]);
        assert_eq!(source.find().map(|found| found.len()).ok(), Some(3));
    }
}
