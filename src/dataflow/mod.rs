//! What a dataflow is: options, views, and a function that builds it.
//!
//! A [`Dataflow`] is a struct whose fields are its options, and [`Dataflow::build`] says what it does; each worker runs it on
//! its [`Flow`]. Its views are the tables that it shows.
//! A [`Build`] is a dataflow with values for its options, or a function that builds one; [`Build::check`] finds out
//! whether it can be built before any worker starts.

mod access_options;
mod any;
mod build;
mod error;
mod flow;
mod options;
mod tables;
mod window_options;

pub use access_options::{AccessLogOptions, in_zone};
pub use any::AnyDataflow;
pub use build::{Build, Outline};
pub use error::{BuildError, Mistake};
pub use flow::{Flow, Installed, Summary};
pub use options::OptionError;
pub use window_options::WindowOptions;

/// A ready-made job: from lines to views.
///
/// Its fields are its options, as [clap](clap::Args) derives them: `--name VALUE` on the command line, `name = VALUE` in the
/// configuration file. Whatever is `FromStr` can be one; [`Length`](crate::time::Length) is for lengths of time.
///
/// ```
/// use thalweg::prelude::*;
///
/// /// Counts the lines that start with each letter.
/// #[derive(clap::Args)]
/// struct Initials {
///     /// letters with fewer lines are left out
///     #[arg(long, value_name = "N", default_value_t = 1)]
///     least: u32,
/// }
///
/// impl Dataflow for Initials {
///     const NAME: &'static str = "initials";
///     const ABOUT: &'static str = "lines by their first byte";
///
///     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
///         let least = self.least as isize;
///         let initials = flow.records(Text).by(text("initial"), |line| line.get(..1)).count("initials");
///         initials.filter(move |(_, lines)| *lines >= least).show("initials");
///         Ok(())
///     }
/// }
///
/// let answer = thalweg::testing::run(Initials { least: 2 }, b"axe\nace\nbee\n");
/// assert_eq!(answer.view("initials"), ["a\t2"]);
/// let answer = thalweg::testing::run(Initials::with_options([])?, b"axe\nace\nbee\n");
/// assert_eq!(answer.view("initials"), ["a\t2", "b\t1"]);
/// # Ok::<(), thalweg::dataflow::OptionError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no dataflow",
    label = "no dataflow",
    note = "implement `Dataflow` for a struct whose fields are its options, with `#[derive(clap::Args)]`: `NAME`, `ABOUT`, \
            and `build`"
)]
pub trait Dataflow: clap::Args + Send + Sync + 'static {
    /// The name by which it is run.
    const NAME: &'static str;

    /// One line on what it does. Default: the first line of the struct's documentation.
    const ABOUT: &'static str = "";

    /// Where it reads from when not told. Default: standard input.
    const SOURCE: &'static str = "stdin:";

    /// Where it writes to when not told. Default: the console.
    const SINK: &'static str = "console:";

    /// Builds the dataflow.
    ///
    /// It is run once to see whether it can be built, before the input is read, and then by every worker: all of these must
    /// build the same.
    ///
    /// # Errors
    ///
    /// When the options do not go together, or what it goes by cannot be read. `?` of the errors of this crate notes the
    /// place.
    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError>;

    /// The dataflow with these values of its options, each a name and a value as on the command line, and the defaults of the
    /// others.
    ///
    /// # Errors
    ///
    /// When there is no such option, a value cannot be read, or one is missing that has no default.
    fn with_options<'a>(options: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, OptionError> {
        options::read(Self::NAME, options)
    }
}
