//! A dataflow's own options: names and text in, checked values out.

use std::error::Error;
use std::fmt::Display;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Command};

/// An option has a value that it cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}`: {reason}", value.as_ref().map_or(format!("`--{name}"), |value| format!("`--{name} {value}")))]
#[non_exhaustive]
pub struct OptionError {
    /// The option.
    pub name: String,
    /// The value that was given, if one was.
    pub value: Option<String>,
    /// What is wrong with it.
    pub reason: String,
}

impl OptionError {
    /// Option `name` cannot be `value`, because of `reason`.
    pub fn new(name: &str, value: &str, reason: impl Display) -> Self {
        OptionError { name: name.to_owned(), value: Some(value.to_owned()), reason: reason.to_string() }
    }
}

/// The options `D`, as arguments of a command.
pub(super) fn command<D: Args>(name: &'static str) -> Command {
    D::augment_args(Command::new(name))
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
}

/// Reads options `D` from names and values.
pub(super) fn read<'a, D: Args>(
    name: &'static str,
    given: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<D, OptionError> {
    let command = command::<D>(name).args_override_self(true);
    let mut args = Vec::new();
    for (option, value) in given {
        let known = command.get_arguments().find(|arg| arg.get_long() == Some(option));
        let Some(arg) = known else {
            return Err(OptionError::new(option, value, format!("`{name}` has no option `{option}`")));
        };
        match value {
            _ if arg.get_action().takes_values() => args.push(format!("--{option}={value}")),
            "true" => args.push(format!("--{option}")),
            "false" | "" => {}
            other => return Err(OptionError::new(option, other, "it is true or false")),
        }
    }
    let matches = command.try_get_matches_from(args);
    matches.and_then(|mut matches| D::from_arg_matches_mut(&mut matches)).map_err(|error| why(&error))
}

/// What clap refuses, in the form of all other options.
fn why(error: &clap::Error) -> OptionError {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.first().cloned(),
        _ => None,
    };
    let option = text(ContextKind::InvalidArg).unwrap_or_default();
    let option = option.trim_start_matches('-').split([' ', '=', '[']).next().unwrap_or_default();
    let value = text(ContextKind::InvalidValue);
    let reason = match (error.kind(), error.get(ContextKind::ValidValue), error.source()) {
        (ErrorKind::MissingRequiredArgument, ..) => "it must be given".to_owned(),
        (ErrorKind::InvalidValue, Some(ContextValue::Strings(known)), _) => {
            format!("it is one of {}", known.join(", "))
        }
        (_, _, Some(source)) => source.to_string(),
        _ => error.to_string().trim_start_matches("error: ").lines().next().unwrap_or_default().to_owned(),
    };
    OptionError { name: option.to_owned(), value, reason }
}

#[cfg(test)]
mod tests {
    use clap::Args;

    use super::read;
    use crate::time::Length;

    #[derive(Args, Debug, PartialEq)]
    struct Settings {
        #[arg(long, default_value = "30s")]
        length: Length,
        #[arg(long, default_value_t = 10)]
        min_requests: u32,
        #[arg(long)]
        table: bool,
        #[arg(long)]
        path: String,
        #[arg(long, value_parser = ["a", "b"], default_value = "a")]
        form: String,
    }

    fn settings(given: &[(&str, &str)]) -> Result<Settings, String> {
        read("settings", given.iter().copied()).map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_read_and_the_others_are_defaults() {
        let read =
            settings(&[("min-requests", "1"), ("path", "--x"), ("table", "true"), ("min-requests", "2")]);
        let read = read.expect("all is well");
        assert_eq!((read.min_requests, read.path.as_str(), read.table), (2, "--x", true));
        assert_eq!((read.length.to_string(), read.form.as_str()), ("30s".to_owned(), "a"));
        assert!(!settings(&[("path", ""), ("table", "false")]).expect("all is well").table);
    }

    #[test]
    fn what_is_wrong_names_the_option_and_the_value() {
        for (given, reason) in [
            (&[][..], "`--path`: it must be given"),
            (&[("length", "soon")], "`--length soon`: expected number at 0 (such as 500ms, 30s, 1h)"),
            (&[("length", "0s")], "`--length 0s`: it must be more than nothing"),
            (&[("min-requests", "-1")], "`--min-requests -1`: -1 is not in 0..=4294967295"),
            (&[("table", "yes")], "`--table yes`: it is true or false"),
            (&[("form", "c"), ("path", "")], "`--form c`: it is one of a, b"),
            (&[("lenght", "1s")], "`--lenght 1s`: `settings` has no option `lenght`"),
        ] {
            assert_eq!(settings(given), Err(reason.to_owned()));
        }
    }
}
