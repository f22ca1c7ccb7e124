//! A bound on how fast lines are taken from a source: `max-rate=` and `max-rate-per-partition=`, at every source that goes on.
//!
//! Lines that are not taken stay where they are: in the source, or, where that is a socket or a pipe, with whoever sends
//! them. What bounds is a bucket of tokens that fills at the rate and holds what comes together in [`BURST`], or in two ticks
//! where these are longer, so that after a pause no more than that is taken at once.
//!
//! The bound on a source is shared by the workers of a process, and each partition that has something is given its part. In a
//! cluster each process takes its part of the bound, by the number of its workers, whatever partitions it reads: a source of
//! one partition comes to no more than that part. Lines that go together (of a container's log, of one message) are taken
//! together, and others wait the longer for it. When a run is told to end, what it has taken from a socket or a pipe is
//! counted at once.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{
    Finder, Found, OffsetUnit, PerEpoch, ReadBefore, ReadOptions, Reader, Share, Source, SourceError,
    SourceFactory, Wake,
};
use crate::envelope::Envelope;

/// The pause that is made up for, at least.
const BURST: Duration = Duration::from_millis(250);

/// How many lines a second are taken at most; [`Source::max_rate`] has it.
///
/// ```
/// use thalweg::source::Sources;
/// let (_, source) = Sources::builtin().open("file:a.log?follow&max-rate=1000").unwrap();
/// assert_eq!(source.max_rate().map(|rate| (rate.source(), rate.partition())), Some((Some(1000.0), None)));
/// let (_, source) = Sources::builtin().open("file:a.log?follow").unwrap();
/// assert!(source.max_rate().is_none());
/// ```
#[derive(Debug)]
pub struct MaxRate {
    source: Option<f64>,
    partition: Option<f64>,
    bucket: Mutex<Bucket>,
}

impl MaxRate {
    /// A bound of so many lines a second on a source, and on each of its partitions.
    pub fn new(source: Option<f64>, partition: Option<f64>) -> Self {
        MaxRate { source, partition, bucket: Mutex::default() }
    }

    /// Of the source as a whole.
    pub fn source(&self) -> Option<f64> {
        self.source
    }

    /// Of each partition.
    pub fn partition(&self) -> Option<f64> {
        self.partition
    }

    fn shared(&self) -> std::sync::MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a bound lets through: a bucket of tokens.
#[derive(Debug, Default)]
struct Bucket {
    /// Lines that may be taken, and when that was so.
    filled: Option<(f64, Instant)>,
}

impl Bucket {
    /// Whole lines that may be taken at `now`, where `rate` fill it in a second and it holds those of `burst`.
    fn level(&mut self, rate: f64, burst: Duration, now: Instant) -> u64 {
        let room = (rate * burst.as_secs_f64()).max(1.0);
        let (tokens, then) = self.filled.unwrap_or((room.min(1.0), now));
        let more = rate * now.saturating_duration_since(then).as_secs_f64();
        let tokens = (tokens + more).min(room);
        self.filled = Some((tokens, now.max(then)));
        tokens as u64
    }

    fn take(&mut self, lines: u64) {
        if let Some((tokens, _)) = &mut self.filled {
            *tokens -= lines as f64;
        }
    }
}

/// The bound on what one worker reads of one partition.
#[derive(Debug)]
pub(crate) struct Throttle {
    source: Arc<dyn Source>,
    /// The part of the source's bound that this process has.
    part: f64,
    burst: Duration,
    bucket: Bucket,
}

impl Throttle {
    /// That of a partition of `source`, if it has one, which is asked once a `tick` or more often; `part` of the workers are in this process.
    pub(crate) fn of(source: &Arc<dyn Source>, part: f64, tick: Duration) -> Option<Self> {
        source.max_rate()?;
        let burst = BURST.max(tick.saturating_mul(2));
        Some(Throttle { source: Arc::clone(source), part, burst, bucket: Bucket::default() })
    }

    /// How many lines may be taken at `now`.
    pub(crate) fn allowed(&mut self, now: Instant) -> u64 {
        let Some(rate) = self.source.max_rate() else { return u64::MAX };
        let mine = rate.partition.map_or(u64::MAX, |rate| self.bucket.level(rate, self.burst, now));
        mine.min(rate.source.map_or(u64::MAX, |all| rate.shared().level(all * self.part, self.burst, now)))
    }

    /// So many lines were taken. Another worker may have taken lines in the meantime: then the bucket is overdrawn, and all
    /// wait until it has filled up again.
    pub(crate) fn took(&mut self, lines: u64) {
        self.bucket.take(lines);
        if let Some(rate) = self.source.max_rate() {
            rate.shared().take(lines);
        }
    }
}

/// A source from which lines are taken at a bounded rate.
#[derive(Debug)]
struct Limited {
    uri: String,
    source: Arc<dyn Source>,
    rate: MaxRate,
}

impl Source for Limited {
    fn uri(&self) -> &str {
        &self.uri
    }

    fn is_bounded(&self) -> bool {
        self.source.is_bounded()
    }

    fn is_sequence(&self) -> bool {
        self.source.is_sequence()
    }

    fn go_on(&self, partitions: &[ReadBefore]) {
        self.source.go_on(partitions);
    }

    fn memory(&self, read: &ReadBefore) -> Option<String> {
        self.source.memory(read)
    }

    fn is_replayable(&self) -> bool {
        self.source.is_replayable()
    }

    fn envelope(&self, options: ReadOptions) -> Option<Envelope> {
        self.source.envelope(options)
    }

    fn find(&self) -> Result<Vec<Found>, SourceError> {
        self.source.find()
    }

    fn per_epoch(&self) -> PerEpoch {
        self.source.per_epoch()
    }

    fn max_rate(&self) -> Option<&MaxRate> {
        Some(&self.rate)
    }

    fn offset_unit(&self) -> OffsetUnit {
        self.source.offset_unit()
    }

    fn done(&self, partition: &Found) {
        self.source.done(partition);
    }

    fn finder(&self) -> Option<Box<dyn Finder>> {
        self.source.finder()
    }

    fn check(&self, partition: &Found) -> Result<(), SourceError> {
        self.source.check(partition)
    }

    fn describe(&self, partition: Found) -> Result<Found, SourceError> {
        self.source.describe(partition)
    }

    fn open(
        &self,
        partition: &Found,
        from: u64,
        share: Share,
        options: ReadOptions,
        wake: Wake,
    ) -> Result<Box<dyn Reader>, SourceError> {
        self.source.open(partition, from, share, options, wake)
    }

    fn head(&self, partition: &Found) -> Result<Vec<u8>, SourceError> {
        self.source.head(partition)
    }

    fn files(&self) -> Vec<PathBuf> {
        self.source.files()
    }
}

const SOURCE: &str = "max-rate";
const PARTITION: &str = "max-rate-per-partition";

/// What `factory` makes of `rest`, bounded if its options say so.
pub(super) fn open(scheme: &str, rest: &str, factory: &SourceFactory) -> Result<Arc<dyn Source>, String> {
    let (rest, limits) = split(rest);
    if limits.is_empty() {
        return factory(&rest);
    }
    let (mut whole, mut each) = (None, None);
    for (name, value) in super::options(&limits) {
        let rate = value.parse::<f64>().ok().filter(|rate| *rate > 0.0 && rate.is_finite());
        let rate = rate.ok_or_else(|| format!("`{name}={value}`: it is no number of lines in a second"))?;
        *(if name == SOURCE { &mut whole } else { &mut each }) = Some(rate);
    }
    let source = factory(&rest)?;
    if source.is_bounded() {
        let hint = match scheme {
            "file" if !rest.contains('?') => {
                format!("\n  hint: files that are followed have none: `file:{rest}?follow&{limits}`")
            }
            _ => String::new(),
        };
        return Err(format!("`{limits}`: what has an end is read as fast as it can be{hint}"));
    }
    // As it was written, but for the order.
    let mark = if source.uri().contains('?') { '&' } else { '?' };
    let uri = format!("{}{mark}{limits}", source.uri());
    Ok(Arc::new(Limited { uri, source, rate: MaxRate::new(whole, each) }))
}

/// `rest` of a URI without the options that are read here, and those.
pub(super) fn split(rest: &str) -> (String, String) {
    let Some((place, options)) = rest.rsplit_once('?') else { return (rest.to_owned(), String::new()) };
    let is_limit =
        |option: &&str| option.split_once('=').is_some_and(|(name, _)| name == SOURCE || name == PARTITION);
    let (limits, others): (Vec<_>, Vec<_>) = options.split('&').partition(is_limit);
    if limits.is_empty() {
        return (rest.to_owned(), String::new());
    }
    let others = others.join("&");
    let rest = if others.is_empty() { place.to_owned() } else { format!("{place}?{others}") };
    (rest, limits.join("&"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::Sources;

    #[test]
    fn rates_are_read_at_any_source_that_goes_on() {
        let sources = Sources::builtin();
        for (uri, shown) in [
            ("tcp-listen://127.0.0.1:0?max-rate=10&max-rate-per-partition=2.5", (Some(10.0), Some(2.5))),
            ("file:a?follow&max-rate=10&start=end", (Some(10.0), None)),
            ("stdin:?max-rate=3", (Some(3.0), None)),
        ] {
            let (_, source) = sources.open(uri).expect(uri);
            assert_eq!(source.max_rate().map(|rate| (rate.source(), rate.partition())), Some(shown), "{uri}");
            assert!(source.uri().contains("max-rate"), "{}", source.uri());
        }
        for (uri, part) in [
            ("file:a?max-rate=10", "a?follow&max-rate=10"),
            ("stdin:?max-rate=0", "`max-rate=0`"),
            ("stdin:?max-rate=fast", "no number of lines"),
            ("stdin:?max-rate=inf", "no number of lines"),
        ] {
            let error = sources.open(uri).expect_err(uri).to_string();
            assert!(error.contains(part), "{uri}: {error}");
        }
    }

    proptest! {
        /// However it is asked, no more is let through than the rate and one burst, and no less where it is asked often enough.
        #[test]
        fn a_bucket_lets_the_rate_through(
            rate in 0.1f64..1e6,
            pauses in prop::collection::vec(0u64..400, 1..200),
            wanted in 1u64..1_000_000,
        ) {
            let mut bucket = Bucket::default();
            let mut now = crate::runtime::now();
            let (begun, mut taken, mut lost) = (now, bucket.level(rate, BURST, now).min(wanted), 0.0);
            bucket.take(taken);
            for pause in pauses {
                let pause = Duration::from_millis(pause);
                now += pause;
                let level = bucket.level(rate, BURST, now);
                prop_assert!(level as f64 <= (rate * BURST.as_secs_f64()).max(1.0));
                let lines = level.min(wanted);
                bucket.take(lines);
                taken += lines;
                // What has not come to a line yet may run over, too.
                lost += rate * pause.saturating_sub(BURST).as_secs_f64() + f64::from(u8::from(pause >= BURST));
            }
            let due = rate * (now - begun).as_secs_f64();
            prop_assert!(taken as f64 <= due + 1.0 + 1e-6 * due, "{taken} of {due}");
            if wanted as f64 >= rate * BURST.as_secs_f64() + 1.0 && rate * BURST.as_secs_f64() >= 1.0 {
                prop_assert!(taken as f64 + 1.0 + 1e-6 * due >= due - lost, "{taken} of {due}, {lost} lost");
            }
        }
    }
}
