//! A dataflow's own options.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

/// An option of a dataflow, given as `--name VALUE` or in the configuration file as `name = VALUE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opt {
    /// The name, without dashes in front.
    pub name: &'static str,
    /// What usage texts call the value: `N`, `TEXT`, `DURATION`.
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
