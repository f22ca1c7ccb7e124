//! What was given: flags over the configuration file, all as text by long name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::ArgMatches;
use clap::parser::ValueSource;

use crate::data::ByteSize;
use crate::runtime::read_small;
use crate::time::{Length, LengthError};

/// A configuration file or a value in it, or on the command line, that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum GivenError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{path} is not TOML: {reason}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// The parser's reason, with line and column.
        reason: String,
    },
    /// A key that means nothing.
    #[error("{path}: unknown key `{key}`{}\n  hint: keys are the long names of flags; see `thalweg run {dataflow} --help`",
        nearest.as_ref().map(|near| format!(": did you mean `{near}`?")).unwrap_or_default())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The known key that is most like it.
        nearest: Option<String>,
        /// The dataflow that is to be run.
        dataflow: String,
    },
    /// A key whose value is of a kind that no flag takes.
    #[error("{path}: `{key}` is {kind}; it takes text, a number, true or false{}", if *many { ", or a list of them" } else { "" })]
    Kind {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What it is.
        kind: &'static str,
        /// Whether a list would do.
        many: bool,
    },
    /// A value that cannot be used.
    #[error("{}{value}`: {reason}", file.as_ref().map_or(format!("`--{name} "), |file| format!("{}: `{name} = ", file.display())))]
    Value {
        /// The configuration file that holds it, if it is not from a flag.
        file: Option<PathBuf>,
        /// The flag or key.
        name: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Values by the long name of their flag.
#[derive(Debug, Default)]
pub(crate) struct Given {
    values: BTreeMap<String, Vec<String>>,
    /// The configuration file, and the flags that were given beside it.
    file: Option<(PathBuf, BTreeSet<String>)>,
}

impl Given {
    /// What `matches` says, and for what it does not say, the file that `--config` names, which may hold the keys
    /// `known` and is for `dataflow`.
    pub(crate) fn read(matches: &ArgMatches, dataflow: &str, known: &[&str]) -> Result<Self, GivenError> {
        let mut given = Given::from_flags(matches);
        if let Some(path) = given.text("config").map(PathBuf::from) {
            let mut file = Given::default();
            file.read_file(&path, dataflow, known)?;
            file.file = Some((path, given.values.keys().cloned().collect()));
            file.values.extend(std::mem::take(&mut given.values));
            given = file;
        }
        Ok(given)
    }

    /// What `matches` says.
    pub(crate) fn from_flags(matches: &ArgMatches) -> Self {
        let mut given = Given::default();
        for id in
            matches.ids().filter(|id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine))
        {
            let values = match matches.try_get_many::<String>(id.as_str()) {
                Ok(values) => values.into_iter().flatten().cloned().collect(),
                Err(_) => vec![matches.get_flag(id.as_str()).to_string()],
            };
            given.values.insert(id.to_string(), values);
        }
        given
    }

    /// What is said of what is read, and how: enough to read it again. Nothing that may hold a secret is among it.
    pub(crate) fn remembered(&self) -> BTreeMap<String, Vec<String>> {
        const NOT: [&str; 20] = [
            "sink",
            "config",
            "log",
            "summary",
            "progress",
            "rejects",
            "state",
            "reset",
            "take-over",
            "snapshot-every",
            "spool-quota",
            "trigger",
            "workers",
            "processes",
            "process",
            "hostfile",
            "cluster-secret-file",
            "insecure-cluster",
            "join-timeout",
            "handshake-timeout",
        ];
        let secret = |value: &String| {
            let value = value.to_ascii_lowercase();
            ["password", "secret", "token", "sasl", "@"].iter().any(|word| value.contains(word))
        };
        let remembered = self.values.iter().filter(|(name, _)| !NOT.contains(&name.as_str()));
        let remembered = remembered.filter(|(_, values)| !values.iter().any(secret));
        remembered.map(|(name, values)| (name.clone(), values.clone())).collect()
    }

    /// What was remembered of an earlier run, with what `self` says in its place.
    pub(crate) fn over(mut self, remembered: BTreeMap<String, Vec<String>>) -> Self {
        for (name, values) in remembered {
            self.values.entry(name).or_insert(values);
        }
        self
    }

    fn read_file(&mut self, path: &Path, dataflow: &str, known: &[&str]) -> Result<(), GivenError> {
        let text = read_small(path).map_err(|source| GivenError::Read { path: path.into(), source })?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| GivenError::Toml {
            path: path.into(),
            reason: error.to_string(),
        })?;
        for (key, value) in table {
            if !known.contains(&key.as_str()) {
                let (nearest, dataflow) = (nearest(&key, known).map(str::to_owned), dataflow.to_owned());
                return Err(GivenError::UnknownKey { path: path.into(), key, nearest, dataflow });
            }
            let many = matches!(key.as_str(), "source" | "sink");
            let values = match value {
                toml::Value::Array(values) if many => values,
                value => vec![value],
            };
            let texts = values.into_iter().map(|value| match value {
                toml::Value::String(text) => Ok(text),
                toml::Value::Integer(number) => Ok(number.to_string()),
                toml::Value::Float(number) => Ok(number.to_string()),
                toml::Value::Boolean(flag) => Ok(flag.to_string()),
                other => {
                    let kind = match other {
                        toml::Value::Array(_) => "a list",
                        toml::Value::Table(_) => "a table",
                        _ => "a date",
                    };
                    Err(GivenError::Kind { path: path.into(), key: key.clone(), kind, many })
                }
            });
            let texts = texts.collect::<Result<_, _>>()?;
            self.values.insert(key, texts);
        }
        Ok(())
    }

    /// Whether `name` was given on the command line, and not only in the configuration file.
    pub(crate) fn is_flag(&self, name: &str) -> bool {
        self.values.contains_key(name) && self.file.as_ref().is_none_or(|(_, flags)| flags.contains(name))
    }

    /// All values of `name`.
    pub(crate) fn all(&self, name: &str) -> &[String] {
        self.values.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// The value of `name`, as it was written.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.all(name).last().map(String::as_str)
    }

    /// The value of `name`, read by `parse`.
    pub(crate) fn parse<T, E: Display>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, GivenError> {
        let Some(value) = self.text(name) else { return Ok(None) };
        let from_file = self.file.as_ref().filter(|(_, flags)| !flags.contains(name));
        let bad = |reason: E| GivenError::Value {
            file: from_file.map(|(path, _)| path.clone()),
            name: name.to_owned(),
            value: value.to_owned(),
            reason: reason.to_string(),
        };
        parse(value).map(Some).map_err(bad)
    }

    /// The value of `name`, or `default`.
    pub(crate) fn get<T: FromStr<Err: Display>>(&self, name: &str, default: T) -> Result<T, GivenError> {
        Ok(self.parse(name, str::parse)?.unwrap_or(default))
    }

    /// The length of time `name`, or `default`; zero is refused.
    pub(crate) fn duration(&self, name: &str, default: Duration) -> Result<Duration, GivenError> {
        Ok(self.parse(name, str::parse::<Length>)?.map_or(default, Length::duration))
    }

    /// The length of time `name`, which may be none at all, or `default`.
    pub(crate) fn duration_or_none(&self, name: &str, default: Duration) -> Result<Duration, GivenError> {
        let read = |text: &str| humantime::parse_duration(text).map_err(LengthError::from);
        Ok(self.parse(name, read)?.unwrap_or(default))
    }

    /// The number of bytes `name`, or `default`; zero is refused.
    pub(crate) fn bytes(&self, name: &str, default: u64) -> Result<u64, GivenError> {
        Ok(self.parse(name, str::parse::<ByteSize>)?.map_or(default, ByteSize::bytes))
    }
}

/// The name among `known` that `key` was probably meant to be: one that begins like it, or is a slip or two away.
fn nearest<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    let likeness =
        |name: &str| strsim::jaro_winkler(name, key).max(strsim::normalized_damerau_levenshtein(name, key));
    let likely = known.iter().map(|name| (likeness(name), *name)).filter(|(likeness, _)| *likeness > 0.6);
    likely.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_finger_find_their_name() {
        let known = ["workers", "top", "min-requests", "max-line", "sink"];
        for (slip, meant) in
            [("tpo", "top"), ("wrokers", "workers"), ("min_requests", "min-requests"), ("sinks", "sink")]
        {
            assert_eq!(nearest(slip, &known), Some(meant));
        }
        assert_eq!(nearest("colour", &known), None);
    }
}
