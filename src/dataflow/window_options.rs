//! Options that many dataflows have.

use crate::time::{Length, Window, WindowError};

/// The options `--length` and `--slide` of a dataflow with windows, by default of so many seconds: to be flattened into its own.
///
/// ```
/// use thalweg::prelude::*;
/// use thalweg::testing::Script;
///
/// /// lines of the last minute
/// #[derive(clap::Args)]
/// struct Recent {
///     #[command(flatten)]
///     window: WindowOptions<60, 10>,
/// }
///
/// impl Dataflow for Recent {
///     const NAME: &'static str = "recent";
///     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
///         let lines = flow.records(Text).event_time(|line| std::str::from_utf8(line).ok()?.parse::<i64>().ok());
///         lines.all().over_last(self.window.window()?).count("lines").show("lines");
///         Ok(())
///     }
/// }
///
/// let recent = Recent::with_options([("length", "2s"), ("slide", "1s")])?;
/// // The input has ended: the first window that holds the newest record, from 1 s to 3 s.
/// let answer = Script::new(recent).epoch("0\n1500\n2000\n").end().run();
/// assert_eq!(answer.view("lines"), ["2"]);
/// # Ok::<(), thalweg::dataflow::OptionError>(())
/// ```
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct WindowOptions<const LENGTH: u64, const SLIDE: u64> {
    /// how long a window is
    #[arg(long, value_name = "TIME", default_value = seconds(LENGTH))]
    pub length: Length,
    /// how far apart windows start
    #[arg(long, value_name = "TIME", default_value = seconds(SLIDE))]
    pub slide: Length,
}

/// A default as text. (`default_value_t` is one static for all of these options, whatever their constants are.)
fn seconds(seconds: u64) -> String {
    format!("{seconds}s")
}

impl<const LENGTH: u64, const SLIDE: u64> WindowOptions<LENGTH, SLIDE> {
    /// The windows.
    ///
    /// # Errors
    ///
    /// As for [`Window::new`].
    pub fn window(&self) -> Result<Window, WindowError> {
        Window::new(self.length, self.slide)
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command, FromArgMatches};

    use super::*;

    fn defaults<const LENGTH: u64, const SLIDE: u64>() -> (i64, i64) {
        let command = WindowOptions::<LENGTH, SLIDE>::augment_args(Command::new("test"));
        let matches = command.get_matches_from(["test"]);
        let options = WindowOptions::<LENGTH, SLIDE>::from_arg_matches(&matches).expect("all have defaults");
        (options.length.millis(), options.slide.millis())
    }

    #[test]
    fn each_has_its_own_defaults() {
        assert_eq!(defaults::<300, 1>(), (300_000, 1000));
        assert_eq!(defaults::<30, 10>(), (30_000, 10_000));
    }
}
