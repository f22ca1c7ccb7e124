//! How files are rolled, and how long they stay.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::data::ByteSize;

/// A size, a length of time, or both: `64MiB,1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub bytes: Option<u64>,
    pub time: Option<Duration>,
}

impl Bounds {
    pub const NONE: Bounds = Bounds { bytes: None, time: None };
    /// When files are rolled unless anybody says otherwise.
    pub const ROLL: Bounds = Bounds { bytes: Some(64 << 20), time: Some(Duration::from_secs(60)) };

    /// The length of time in milliseconds.
    pub fn millis(self) -> Option<i64> {
        self.time.map(|time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A text that is neither.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is a size (64MiB), a length of time (1h), or both (64MiB,1h)")]
pub(super) struct BoundsError;

impl FromStr for Bounds {
    type Err = BoundsError;

    fn from_str(text: &str) -> Result<Self, BoundsError> {
        let mut bounds = Bounds::NONE;
        for part in text.split(',') {
            // A size ends in its unit, `B`: or `5M` would be five months.
            let is_size = part.ends_with(['B', 'b']);
            if is_size && bounds.bytes.is_none() {
                bounds.bytes = Some(part.parse::<ByteSize>().map_err(|_| BoundsError)?.bytes());
            } else if !is_size && bounds.time.is_none() {
                let time = humantime::parse_duration(part).map_err(|_| BoundsError)?;
                bounds.time = Some(time).filter(|time| !time.is_zero());
                bounds.time.ok_or(BoundsError)?;
            } else {
                return Err(BoundsError);
            }
        }
        Ok(bounds)
    }
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Jsonl,
    Csv,
    Parquet,
}

impl fmt::Display for Form {
    /// How such files end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Form::Jsonl => "jsonl",
            Form::Csv => "csv",
            Form::Parquet => "parquet",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_sizes_and_lengths_of_time() {
        let bounds =
            |bytes, seconds: Option<u64>| Ok(Bounds { bytes, time: seconds.map(Duration::from_secs) });
        assert_eq!("64MiB,1h".parse(), bounds(Some(64 << 20), Some(3600)));
        assert_eq!("7d".parse(), bounds(None, Some(7 * 86_400)));
        assert_eq!("1m,1MB".parse(), bounds(Some(1_000_000), Some(60)));
        for bad in ["", "64", "1h,2h", "1MiB,2MiB", "0s", "0B", "1h,", "-1s", "much"] {
            assert_eq!(bad.parse::<Bounds>(), Err(BoundsError), "{bad}");
        }
    }
}
