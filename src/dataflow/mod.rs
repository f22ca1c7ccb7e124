//! What a dataflow is: a name, options, views, and a function that builds it.
//!
//! Everything that the command shows of a dataflow (`thalweg list`, usage texts, columns) comes from its
//! [`Dataflow`] implementation, and everything that it does comes from the [`Build`] that [`Dataflow::prepare`] makes of the options: parsed and
//! checked once, before a worker starts, and then run by each worker on its [`Flow`].

mod flow;
mod options;

use crate::view::View;
pub use flow::{Build, Flow, Installed, Summary};
pub use options::{Opt, OptionError, Options};
pub(crate) use options::{more_than_nothing, read_duration};

/// A ready-made job: from lines to views.
///
/// ```
/// use thalweg::prelude::*;
///
/// /// Counts the lines that start with each letter.
/// struct Initials;
///
/// impl Dataflow for Initials {
///     fn name(&self) -> &'static str { "initials" }
///     fn about(&self) -> &'static str { "lines by their first byte" }
///     fn views(&self) -> &'static [View] {
///         &[View { name: "initials", columns: &["byte", "lines"], about: "how many lines start with each byte" }]
///     }
///     fn default_source(&self) -> &'static str { "stdin:" }
///     fn prepare(&self, _: &Options) -> Result<Build, OptionError> {
///         Ok(Build::new(|flow| {
///             let mut lines = flow.records(Text);
///             let initials = lines.count_by::<u8>("initials", |line| line.first().copied());
///             flow.view("initials", initials);
///         }))
///     }
/// }
///
/// let answer = thalweg::testing::run(&Initials, &[], b"axe\nace\nbee\n");
/// assert_eq!(answer.view("initials"), ["97\t2", "98\t1"]);
/// ```
pub trait Dataflow: Send + Sync {
    /// The name by which it is run.
    fn name(&self) -> &'static str;

    /// One line on what it does.
    fn about(&self) -> &'static str;

    /// Its views, in the order in which sinks show them.
    fn views(&self) -> &'static [View];

    /// Its own options.
    fn options(&self) -> &'static [Opt] {
        &[]
    }

    /// Where it reads from when not told.
    fn default_source(&self) -> &'static str;

    /// Where it writes to when not told.
    fn default_sink(&self) -> &'static str {
        "console:"
    }

    /// Makes of the options a function that builds the dataflow.
    ///
    /// # Errors
    ///
    /// When an option's value is not what it must be.
    fn prepare(&self, options: &Options) -> Result<Build, OptionError>;
}
