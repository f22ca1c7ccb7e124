//! How much of what is final a complete view keeps.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How many rows a complete view keeps that are final, and for how long.
///
/// A table of windows or sessions gains rows for as long as the run lasts, and what is final is never retracted. A sink
/// that shows whole views therefore keeps the newest of them and forgets the rest; rows that can still change are all
/// kept. "Newest" is by when rows became final, and of those that did at the same moment by event time, which is taken from
/// the first column that holds one. The length of time is event time, too: a row is too old when it is older, by more than
/// this, than the newest row that is final. A view without such a column is bounded by the number alone.
///
/// ```
/// use std::time::Duration;
/// use thalweg::view::Keep;
/// let keep: Keep = "10000,1h".parse().unwrap();
/// assert_eq!(keep, Keep { rows: Some(10_000), time: Some(Duration::from_secs(3600)) });
/// assert_eq!("all".parse(), Ok(Keep::ALL));
/// assert_eq!("2h".parse(), Ok(Keep { rows: None, time: Some(Duration::from_secs(7200)) }));
/// assert!("1h,2h".parse::<Keep>().is_err() && "some".parse::<Keep>().is_err() && "".parse::<Keep>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Rows that are final, at most; `None` is any number.
    pub rows: Option<u64>,
    /// How much older than the newest they may be; `None` is any age.
    pub time: Option<Duration>,
}

impl Keep {
    /// All of them.
    pub const ALL: Keep = Keep { rows: None, time: None };
    /// What is kept of input without an end by default: ten thousand rows of each view.
    pub const DEFAULT: Keep = Keep { rows: Some(10_000), time: None };

    /// As much as both of them keep.
    ///
    /// ```
    /// use thalweg::view::Keep;
    /// assert_eq!(Keep::DEFAULT.and(Keep::ALL), Keep::ALL);
    /// ```
    #[must_use]
    pub fn and(self, other: Keep) -> Keep {
        Keep {
            rows: self.rows.zip(other.rows).map(|(one, other)| one.max(other)),
            time: self.time.zip(other.time).map(|(one, other)| one.max(other)),
        }
    }
}

/// A text that does not say what to keep.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is a number of rows, a length of time, both (10000,1h), or `all`")]
pub struct KeepError;

impl FromStr for Keep {
    type Err = KeepError;

    fn from_str(text: &str) -> Result<Self, KeepError> {
        if text == "all" {
            return Ok(Keep::ALL);
        }
        let mut keep = Keep::ALL;
        for part in text.split(',') {
            if let (None, Ok(rows)) = (keep.rows, part.parse()) {
                keep.rows = Some(rows);
            } else if let (None, Ok(time)) = (keep.time, humantime::parse_duration(part)) {
                keep.time = Some(time);
            } else {
                return Err(KeepError);
            }
        }
        Ok(keep)
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.rows, self.time) {
            (None, None) => f.write_str("all"),
            (Some(rows), None) => write!(f, "{rows}"),
            (None, Some(time)) => write!(f, "{}", humantime::format_duration(time)),
            (Some(rows), Some(time)) => write!(f, "{rows},{}", humantime::format_duration(time)),
        }
    }
}
