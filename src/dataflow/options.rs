//! A dataflow's own options.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use crate::time::{Window, WindowError};

/// An option of a dataflow, given as `--name VALUE` or in the configuration file as `name = VALUE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opt {
    /// The name, without dashes in front.
    pub name: &'static str,
    /// What usage texts call the value: `N`, `TEXT`, `TIME`; empty for a flag, which takes none and is `true` or `false`.
    pub value: &'static str,
    /// The value when none is given.
    pub default: &'static str,
    /// One line on what it does.
    pub about: &'static str,
}

/// An option has a value that it cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`--{name} {value}`: {reason}")]
#[non_exhaustive]
pub struct OptionError {
    /// The option.
    pub name: String,
    /// The value that was given.
    pub value: String,
    /// What is wrong with it.
    pub reason: String,
}

/// The values of a dataflow's options: those that were given, and the defaults of the others.
///
/// ```
/// use thalweg::dataflow::{Opt, Options};
/// const TOP: Opt = Opt { name: "top", value: "N", default: "10", about: "rows to show" };
/// let options = Options::new(&[TOP], [("top".to_owned(), "3".to_owned())]);
/// assert_eq!(options.get::<usize>("top"), Ok(3));
/// let bad = Options::new(&[TOP], [("top".to_owned(), "many".to_owned())]);
/// assert_eq!(bad.get::<usize>("top").unwrap_err().to_string(), "`--top many`: invalid digit found in string");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    values: BTreeMap<String, String>,
}

impl Options {
    /// The values `given`, and the defaults of the rest of `known`.
    pub fn new(known: &[Opt], given: impl IntoIterator<Item = (String, String)>) -> Self {
        let defaults = known.iter().map(|opt| (opt.name.to_owned(), opt.default.to_owned()));
        let mut values: BTreeMap<_, _> = defaults.collect();
        values.extend(given);
        Options { values }
    }

    /// The value of option `name`, as it was written.
    ///
    /// # Panics
    ///
    /// If the dataflow has no such option.
    pub fn text(&self, name: &str) -> &str {
        self.values.get(name).unwrap_or_else(|| panic!("the dataflow declares no option `{name}`"))
    }

    /// The value of option `name`.
    ///
    /// # Errors
    ///
    /// When it cannot be read as a `T`.
    ///
    /// # Panics
    ///
    /// If the dataflow has no such option.
    pub fn get<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T, OptionError> {
        let value = self.text(name);
        value.parse().map_err(|reason: T::Err| OptionError::new(name, value, reason))
    }

    /// Whether the flag `name` was given.
    ///
    /// # Errors
    ///
    /// When a configuration file says anything but `true` and `false`.
    ///
    /// # Panics
    ///
    /// If the dataflow has no such option.
    pub fn flag(&self, name: &str) -> Result<bool, OptionError> {
        match self.text(name) {
            "true" => Ok(true),
            "false" | "" => Ok(false),
            other => Err(OptionError::new(name, other, "it is true or false")),
        }
    }

    /// The length of time that option `name` says, such as `500ms`, `30s` or `1h`; more than nothing.
    ///
    /// # Errors
    ///
    /// When it is no length of time, or nothing.
    ///
    /// # Panics
    ///
    /// If the dataflow has no such option.
    ///
    /// ```
    /// use thalweg::dataflow::{Opt, Options};
    /// const GAP: Opt = Opt { name: "gap", value: "TIME", default: "30m", about: "" };
    /// assert_eq!(Options::new(&[GAP], []).duration("gap").unwrap().as_secs(), 1800);
    /// let error = Options::new(&[GAP], [("gap".to_owned(), "soon".to_owned())]).duration("gap").unwrap_err();
    /// assert_eq!(error.to_string(), "`--gap soon`: expected number at 0 (such as 500ms, 30s, 1h)");
    /// ```
    pub fn duration(&self, name: &str) -> Result<Duration, OptionError> {
        let text = self.text(name);
        let duration = read_duration(text).and_then(more_than_nothing);
        duration.map_err(|reason| OptionError::new(name, text, reason))
    }

    /// The windows of which option `length` says how long they are, and `slide` how far apart they start.
    ///
    /// # Errors
    ///
    /// When one of them is no length of time, or they do not go together; then the error names both.
    ///
    /// # Panics
    ///
    /// If the dataflow has no such options.
    pub fn window(&self, length: &str, slide: &str) -> Result<Window, OptionError> {
        self.pair(length, slide, Window::new(self.duration(length)?, self.duration(slide)?))
    }

    /// As [`Options::window`], for a window table ([`Window::for_table`]).
    ///
    /// # Errors
    ///
    /// As [`Options::window`], and when each record would be in too many windows.
    ///
    /// # Panics
    ///
    /// If the dataflow has no such options.
    pub fn table_window(&self, length: &str, slide: &str) -> Result<Window, OptionError> {
        self.pair(length, slide, self.window(length, slide)?.for_table())
    }

    fn pair(
        &self,
        length: &str,
        slide: &str,
        window: Result<Window, WindowError>,
    ) -> Result<Window, OptionError> {
        window.map_err(|error| {
            let reason = format!("with `--{slide} {}`, {error}", self.text(slide));
            OptionError::new(length, self.text(length), reason)
        })
    }

    /// All values by name, in order of the names; what a fingerprint of the job is made from.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl OptionError {
    /// Option `name` cannot be `value`, because of `reason`.
    pub fn new(name: &str, value: &str, reason: impl Display) -> Self {
        OptionError { name: name.to_owned(), value: value.to_owned(), reason: reason.to_string() }
    }
}

/// Reads a length of time as people write it.
pub(crate) fn read_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error} (such as 500ms, 30s, 1h)"))
}

/// Refuses no time at all.
pub(crate) fn more_than_nothing(duration: Duration) -> Result<Duration, String> {
    if duration.is_zero() { Err("it must be more than nothing".to_owned()) } else { Ok(duration) }
}
