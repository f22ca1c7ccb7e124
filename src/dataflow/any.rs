//! A dataflow as the command line has it: whatever its options are.

use clap::{Arg, Command};

use crate::dataflow::{Build, Dataflow, OptionError, options};

/// A dataflow whose options have no values yet.
///
/// ```
/// use thalweg::prelude::*;
/// # #[derive(clap::Args)]
/// # struct Lines { #[arg(long, default_value_t = 1)] least: u32 }
/// # impl Dataflow for Lines {
/// #     const NAME: &'static str = "lines";
/// #     const ABOUT: &'static str = "how many lines there are";
/// #     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
/// #         flow.records(Text).all().count("lines").show("lines");
/// #         Ok(())
/// #     }
/// # }
/// let lines = AnyDataflow::of::<Lines>();
/// assert_eq!((lines.name(), lines.source()), ("lines", "stdin:"));
/// assert!(lines.prepare([("least", "2")]).is_ok());
/// let error = lines.prepare([("least", "few")]).unwrap_err();
/// assert_eq!(error.to_string(), "`--least few`: invalid digit found in string");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct AnyDataflow {
    name: &'static str,
    about: &'static str,
    source: &'static str,
    sink: &'static str,
    args: fn() -> Command,
    prepare: fn(&[(&str, &str)]) -> Result<Build, OptionError>,
}

impl AnyDataflow {
    /// The dataflow `D`.
    pub const fn of<D: Dataflow>() -> Self {
        AnyDataflow {
            name: D::NAME,
            about: D::ABOUT,
            source: D::SOURCE,
            sink: D::SINK,
            args: || options::command::<D>(D::NAME),
            prepare: |given| Ok(Build::of(D::with_options(given.iter().copied())?).with_options(given)),
        }
    }

    /// The name by which it is run.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// One line on what it does.
    pub fn about(&self) -> String {
        match self.about {
            "" => (self.args)().get_about().map(ToString::to_string).unwrap_or_default(),
            about => about.to_owned(),
        }
    }

    /// Where it reads from when not told.
    pub const fn source(&self) -> &'static str {
        self.source
    }

    /// Where it writes to when not told.
    pub const fn sink(&self) -> &'static str {
        self.sink
    }

    /// Its options that have a long name, as clap has them.
    pub fn options(&self) -> Vec<Arg> {
        let command = (self.args)();
        command.get_arguments().filter(|arg| arg.get_long().is_some()).cloned().collect()
    }

    /// The dataflow with these values of its options, each a name and a value, and the defaults of the others.
    ///
    /// # Errors
    ///
    /// As for [`Dataflow::with_options`].
    pub fn prepare<'a>(
        &self,
        options: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Build, OptionError> {
        (self.prepare)(&options.into_iter().collect::<Vec<_>>())
    }
}
