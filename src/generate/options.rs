//! What a caller may choose, with units and ranges.

use std::fmt::Display;
use std::ops::RangeInclusive;

use crate::generate::{GenerateError, Kind};

/// How many lines, and of which nature.
///
/// Start from [`Options::default_for`] and change what matters:
///
/// ```
/// use thalweg::generate::{Kind, Options};
/// let options = Options { skew: 0.0, keys: 500, ..Options::default_for(Kind::Actions) };
/// assert!(options.validate().is_ok());
/// assert!(Options { malformed: 1.5, ..options }.validate().is_err());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// How many lines, the malformed ones among them; `None` for lines without end.
    pub lines: Option<u64>,
    /// Chooses one of 2⁶⁴ unrelated sequences of lines.
    pub seed: u64,
    /// Lines per second of event time; above 0, at most [`Options::MAX_RATE`]. `words` have no time and ignore it.
    ///
    /// It sets the times in the lines, not the speed at which lines are written.
    pub rate: f64,
    /// How many distinct keys there are to draw from: clients of an `access-log` (and a tenth as many endpoints, but
    /// at least ten), hashtags and as many users of `tweets`, distinct `words`, devices of `actions`. From 1 to
    /// [`Options::MAX_KEYS`].
    pub keys: u64,
    /// The exponent of Zipf's law for keys: 0 makes all alike, 1 is usual in nature, more is steeper. From 0 to
    /// [`Options::MAX_SKEW`].
    pub skew: f64,
    /// How far an event time may lag behind the highest one due so far, in seconds; from 0 (times never fall) to
    /// [`Options::MAX_DISORDER`]. Half of the lines lag by less than a sixteenth of it. `words` ignore it.
    pub disorder: f64,
    /// The share of malformed lines, from 0 to 1.
    pub malformed: f64,
    /// Event time at which the log begins, in milliseconds UTC since 1970; from 0 to [`Options::MAX_TIME`], at
    /// which the event time stays when it gets there. `words` ignore it.
    pub start: i64,
}

impl Options {
    /// The highest [`rate`](Options::rate).
    pub const MAX_RATE: f64 = 1e9;
    /// The largest number of [`keys`](Options::keys).
    pub const MAX_KEYS: u64 = 1 << 31;
    /// The steepest [`skew`](Options::skew).
    pub const MAX_SKEW: f64 = 10.0;
    /// The greatest [`disorder`](Options::disorder), in seconds: more than eleven days.
    pub const MAX_DISORDER: f64 = 1e6;
    /// The last [`start`](Options::start) and the last event time: the end of the year 9999.
    pub const MAX_TIME: i64 = 253_402_300_799_999;

    /// The usual choice for `kind`: a million lines, seed 0, none malformed.
    ///
    /// ```
    /// use thalweg::generate::{Kind, Options};
    /// let options = Options::default_for(Kind::AccessLog);
    /// assert_eq!((options.keys, options.skew, options.rate), (100_000, 1.0, 500.0));
    /// ```
    pub const fn default_for(kind: Kind) -> Options {
        // The times are those of the first records in the logs that each kind takes after.
        let (keys, start) = match kind {
            Kind::AccessLog => (100_000, 1_431_857_103_000),
            Kind::Tweets => (20_000, 1_632_390_898_000),
            Kind::Words => (50_000, 0),
            Kind::Actions => (10_000, 1_469_679_568_000),
        };
        Options {
            lines: Some(1_000_000),
            seed: 0,
            rate: 500.0,
            keys,
            skew: 1.0,
            disorder: 2.0,
            malformed: 0.0,
            start,
        }
    }

    /// Says which option is out of its range, if one is.
    ///
    /// # Errors
    ///
    /// [`GenerateError::OutOfRange`], with the option, its value and its range.
    ///
    /// ```
    /// use thalweg::generate::{Kind, Options};
    /// let options = Options { rate: 0.0, ..Options::default_for(Kind::Tweets) };
    /// let error = options.validate().unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "`rate` is 0, but must be above 0 and at most 1000000000 lines per event-second"
    /// );
    /// ```
    pub fn validate(&self) -> Result<(), GenerateError> {
        // Written so that a NaN is out of every range.
        if !(self.rate > 0.0 && self.rate <= Self::MAX_RATE) {
            let allowed = format!("above 0 and at most {} lines per event-second", Self::MAX_RATE);
            return Err(GenerateError::OutOfRange { option: "rate", given: self.rate.to_string(), allowed });
        }
        within("keys", self.keys, 1..=Self::MAX_KEYS, "keys")?;
        within("skew", self.skew, 0.0..=Self::MAX_SKEW, "as the exponent of Zipf's law")?;
        within("disorder", self.disorder, 0.0..=Self::MAX_DISORDER, "seconds")?;
        within("malformed", self.malformed, 0.0..=1.0, "as a share of the lines")?;
        within("start", self.start, 0..=Self::MAX_TIME, "milliseconds since 1970 UTC")
    }

    /// Endpoints of an access log.
    pub(super) fn endpoints(&self) -> u64 {
        (self.keys / 10).max(10)
    }
}

fn within<T: PartialOrd + Display>(
    option: &'static str,
    given: T,
    range: RangeInclusive<T>,
    unit: &str,
) -> Result<(), GenerateError> {
    if range.contains(&given) {
        return Ok(());
    }
    let allowed = format!("from {} to {} {unit}", range.start(), range.end());
    Err(GenerateError::OutOfRange { option, given: given.to_string(), allowed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        for &kind in Kind::ALL {
            assert!(Options::default_for(kind).validate().is_ok(), "{kind}");
        }
    }

    #[test]
    fn every_range_is_checked() {
        let good = Options::default_for(Kind::Words);
        let bad = [
            ("rate", Options { rate: f64::NAN, ..good.clone() }),
            ("rate", Options { rate: f64::INFINITY, ..good.clone() }),
            ("keys", Options { keys: 0, ..good.clone() }),
            ("keys", Options { keys: Options::MAX_KEYS + 1, ..good.clone() }),
            ("skew", Options { skew: -0.1, ..good.clone() }),
            ("disorder", Options { disorder: f64::NAN, ..good.clone() }),
            ("malformed", Options { malformed: -1e-9, ..good.clone() }),
            ("start", Options { start: -1, ..good.clone() }),
        ];
        for (name, options) in bad {
            match options.validate() {
                Err(GenerateError::OutOfRange { option, .. }) => assert_eq!(option, name),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}
