//! Options of dataflows that read access logs.

use crate::dataflow::BuildError;
use crate::format::time::Zone;
use crate::format::{AccessForm, AnyAccessLog, Pattern};
use crate::time::Window;

/// The options `--format`, `--pattern` and `--zone`: to be flattened into those of a dataflow that reads access logs.
///
/// ```
/// use thalweg::prelude::*;
/// use thalweg::testing::Script;
///
/// /// bytes by user
/// #[derive(clap::Args)]
/// struct Bandwidth {
///     #[command(flatten)]
///     log: AccessLogOptions,
/// }
///
/// impl Dataflow for Bandwidth {
///     const NAME: &'static str = "bandwidth";
///     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
///         let log = flow.records(self.log.format());
///         log.by(text("user"), |record| record.user()).sum("bytes", |record| record.size().bytes()).show("bytes");
///         Ok(())
///     }
/// }
///
/// let bandwidth = Bandwidth::with_options([("pattern", r"^(?<user>\w+) took (?<size>\d+)$")])?;
/// let answer = Script::new(bandwidth).epoch("ada took 3\neve took 4\nada took 5\n").end().run();
/// assert_eq!(answer.view("bytes"), ["ada\t8", "eve\t4"]);
/// # Ok::<(), thalweg::dataflow::OptionError>(())
/// ```
#[derive(clap::Args, Clone, Debug)]
pub struct AccessLogOptions {
    /// the form of the lines: auto (that of each file's first lines, perhaps as messages of syslog), common, text, json, w3c, alb
    #[arg(long, value_name = "NAME", default_value_t)]
    pub format: AccessForm,
    /// another form of line: a regex with groups named client, user, time, method, endpoint, protocol, status, size,
    /// referer, agent, duration, vhost (any of them)
    #[arg(long, value_name = "REGEX", value_parser = of_pattern, conflicts_with = "format")]
    pub pattern: Option<AnyAccessLog>,
    /// where clocks show the times that name no zone, such as Europe/Berlin or +09:00
    #[arg(long, value_name = "ZONE", default_value_t)]
    pub zone: Zone,
}

/// `window`, whose hours and days are those that clocks show in `zone`.
///
/// # Errors
///
/// Where clocks are put forward and back, and windows are so long that they would notice.
///
/// ```
/// use thalweg::dataflow::in_zone;
/// use thalweg::time::Window;
/// let days = Window::tumbling(std::time::Duration::from_secs(86_400))?;
/// let day = in_zone(days, "Asia/Tokyo".parse()?)?.of(0).next();
/// assert_eq!(day.map(|day| day.start.to_string()).as_deref(), Some("1969-12-31T15:00:00Z"));
/// assert!(in_zone(days, "Europe/Berlin".parse()?).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn in_zone(window: Window, zone: Zone) -> Result<Window, BuildError> {
    match zone.midnight() {
        Ok(midnight) => Ok(window.starting_at(midnight)),
        // All places are whole quarters of an hour from UTC.
        Err(_) if 900_000 % window.slide() == 0 => Ok(window),
        Err(error) => Err(BuildError::new(format!("`--zone {zone}`: {error}"))),
    }
}

fn of_pattern(regex: &str) -> Result<AnyAccessLog, String> {
    AnyAccessLog::of_pattern(Pattern::new(regex).map_err(|error| error.to_string())?)
}

impl AccessLogOptions {
    /// `window`, whose hours and days are those of the zone, see [`in_zone`].
    ///
    /// # Errors
    ///
    /// As for [`in_zone`].
    pub fn windows(&self, window: Window) -> Result<Window, BuildError> {
        in_zone(window, self.zone)
    }

    /// The format that they ask for.
    pub fn format(&self) -> AnyAccessLog {
        self.pattern.clone().unwrap_or_else(|| AnyAccessLog::new(self.format)).in_zone(self.zone)
    }
}
