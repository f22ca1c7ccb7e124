//! Lengths of time as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A length of time that is more than nothing, read as people write it: `500ms`, `30s`, `1h 30m`. It is meant for options.
///
/// ```
/// use thalweg::time::{Length, Window};
/// let length: Length = "1h 30m".parse().unwrap();
/// assert_eq!((length.to_string(), length.millis()), ("1h 30m".to_owned(), 5_400_000));
/// assert!(Window::tumbling(length).is_ok());
/// assert_eq!("0s".parse::<Length>().unwrap_err().to_string(), "it must be more than nothing");
/// assert!("soon".parse::<Length>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Length(Duration);

/// What was read is no length of time.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LengthError {
    /// It is not written as one.
    #[error("{0} (such as 500ms, 30s, 1h)")]
    Form(#[from] humantime::DurationError),
    /// It is no time at all.
    #[error("it must be more than nothing")]
    Nothing,
}

impl Length {
    /// As the standard library has it.
    pub fn duration(self) -> Duration {
        self.0
    }

    /// In milliseconds; what is finer is cut off, and what is longer than any time is the longest.
    pub fn millis(self) -> i64 {
        super::event_time::millis(self.0)
    }
}

impl FromStr for Length {
    type Err = LengthError;

    fn from_str(text: &str) -> Result<Self, LengthError> {
        let duration = humantime::parse_duration(text)?;
        if duration.is_zero() { Err(LengthError::Nothing) } else { Ok(Length(duration)) }
    }
}

impl From<Length> for Duration {
    fn from(length: Length) -> Self {
        length.0
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}
