//! The journal of systemd, read by its own command.

mod child;
mod entries;
mod reader;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use self::reader::JournaldReader;
use super::registry::options;
use super::{Found, OffsetUnit, ReadOptions, Reader, Share, Source, SourceError, Wake};
use crate::envelope::{Envelope, EnvelopeKind};

/// `journald:`: the messages of systemd's journal, by `journalctl`, which is started and, should it end, started again.
///
/// | option | meaning | default |
/// |---|---|---|
/// | `unit=NAME`, `identifier=NAME`, `priority=err` or `priority=0..4` | which entries; units and identifiers may be several | all |
/// | `start=beginning` or `end` | whether what is there as the run begins is read | `beginning` |
/// | `since=TIME` | no entries from before, as `journalctl` reads times: `-1h`, `2024-03-14 09:00:00` | all |
/// | `follow=false` | reads what is there, and ends | follows |
/// | `directory=PATH`, `file=PATH` | another journal than this machine's; files may be several, and patterns | this machine's |
/// | `fields=NAME,NAME` | further fields of entries to be had from [`Parsed::envelope`](crate::door::Parsed::envelope) | those of [`envelope`](crate::envelope) |
/// | `journalctl=PATH` | the command | `journalctl` |
///
/// A line is an entry's `MESSAGE`; one of several lines is several. Whole messages are asked for (`--all`), and one that is longer than a
/// line may be with all its fields is reported and left out. What the command says of errors is logged.
/// When it ends, another is started within 50 to 100 milliseconds, and goes on behind the last entry that was read, by
/// its cursor; the wait doubles with each one that brings nothing, up to 10 seconds. The first that fails before it
/// has brought anything ends the run with what it says: its options are wrong, or there is no journal. The command is killed when the run
/// ends.
///
/// What `journalctl -o json` writes can be read from anywhere else, too: `journalctl -o json -f | thalweg run … --source journald+-`.
///
/// # Promise on restart
///
/// An offset is an entry's time in microseconds, and its number among those of the same time: from there it is read on, as long as
/// the journal has it. Where a clock was set back, entries that are dated before the offset are passed over then.
#[derive(Debug)]
pub struct JournaldSource {
    uri: String,
    settings: Settings,
    taken: AtomicBool,
}

/// What is asked of the command.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Settings {
    command: PathBuf,
    /// Which entries, and of which journal: arguments of the command.
    which: Vec<String>,
    since: Option<String>,
    from_end: bool,
    follow: bool,
    fields: Vec<String>,
}

/// The fields that an envelope has by names of its own, and the message.
const FIELDS: [&str; 7] =
    ["MESSAGE", "_SYSTEMD_UNIT", "SYSLOG_IDENTIFIER", "PRIORITY", "_HOSTNAME", "_PID", "SYSLOG_FACILITY"];

impl Settings {
    fn of(rest: &str) -> Result<Self, String> {
        let mut settings = Settings {
            command: PathBuf::from("journalctl"),
            which: Vec::new(),
            since: None,
            from_end: false,
            follow: true,
            fields: FIELDS.map(str::to_owned).to_vec(),
        };
        let given = match rest.split_once('?') {
            None if rest.is_empty() => "",
            Some(("", given)) => given,
            _ => return Err("it takes no path: `journald:?unit=NAME`".to_owned()),
        };
        for (name, value) in options(given) {
            match (name, value) {
                (_, "") => return Err(format!("`{name}` wants a value")),
                ("unit" | "identifier" | "priority" | "directory" | "file", _) => {
                    // In one word, so that no value is taken for an option.
                    settings.which.push(format!("--{name}={value}"));
                }
                ("since", _) => settings.since = Some(value.to_owned()),
                ("start", "beginning") => settings.from_end = false,
                ("start", "end") => settings.from_end = true,
                ("follow", "true") => settings.follow = true,
                ("follow", "false") => settings.follow = false,
                ("journalctl", _) => settings.command = PathBuf::from(value),
                ("fields", _) => {
                    let is_name = |field: &str| {
                        !field.is_empty() && field.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_')
                    };
                    if let Some(other) = value.split(',').find(|field| !is_name(field)) {
                        return Err(format!("fields: `{other}` is no field of the journal"));
                    }
                    settings.fields.extend(value.split(',').map(str::to_owned));
                }
                _ => {
                    return Err(format!(
                        "`{name}={value}` is none of `unit=NAME`, `identifier=NAME`, `priority=LEVEL`, \
                         `start=beginning|end`, `since=TIME`, `follow=false`, `directory=PATH`, `file=PATH`, \
                         `fields=NAME,NAME`, `journalctl=PATH`"
                    ));
                }
            }
        }
        let is_elsewhere =
            |option: &String| option.starts_with("--directory=") || option.starts_with("--file=");
        if !settings.which.iter().any(is_elsewhere) {
            settings.which.extend(this_machine());
        }
        if settings.from_end && (settings.since.is_some() || !settings.follow) {
            return Err("`start=end` goes with neither `since` nor `follow=false`".to_owned());
        }
        Ok(settings)
    }

    /// The command, asked for entries as objects.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.command);
        // Merged: what is followed is of the current boot alone otherwise, and other journals are told apart by a match.
        command.args(["--output=json", "--all", "--no-pager", "--merge"]).args(&self.which);
        // Its messages are shown as they are, and its times are numbers.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn failed(&self, reason: &std::io::Error) -> SourceError {
        let hint = match reason.kind() {
            std::io::ErrorKind::NotFound => {
                "\n  hint: it comes with systemd; `journalctl=PATH` says where it is, and what it writes elsewhere is read by \
                 `journald+-`"
            }
            _ => "",
        };
        SourceError::Service {
            service: "journald".to_owned(),
            reason: format!("cannot start {}: {reason}{hint}", self.command.display()),
        }
    }
}

/// A match for this machine's entries: those of others that have been sent here, and of its containers, are in the journal, too.
fn this_machine() -> Option<String> {
    let id = std::fs::read_to_string("/etc/machine-id").ok()?;
    let id = id.trim();
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| format!("_MACHINE_ID={id}"))
}

impl JournaldSource {
    /// The journal, as `rest` of a URI says: nothing, or `?option=value&…`.
    ///
    /// # Errors
    ///
    /// When an option is not known, or its value cannot be read.
    ///
    /// ```
    /// use thalweg::source::{JournaldSource, Source};
    /// let source = JournaldSource::parse("?unit=nginx.service&priority=err")?;
    /// assert!(!source.is_bounded());
    /// assert!(JournaldSource::parse("?units=nginx").unwrap_err().contains("`unit=NAME`"));
    /// // A command that is not there is said before anything is read.
    /// let missing = JournaldSource::parse("?journalctl=/nowhere/journalctl")?;
    /// assert!(missing.find().unwrap_err().to_string().contains("hint: it comes with systemd"));
    /// # Ok::<(), String>(())
    /// ```
    pub fn parse(rest: &str) -> Result<Self, String> {
        let settings = Settings::of(rest)?;
        Ok(JournaldSource { uri: format!("journald:{rest}"), settings, taken: AtomicBool::new(false) })
    }
}

impl Source for JournaldSource {
    fn uri(&self) -> &str {
        &self.uri
    }

    fn is_bounded(&self) -> bool {
        // Even where it ends, it comes as the command writes it.
        false
    }

    fn offset_unit(&self) -> OffsetUnit {
        OffsetUnit::Other
    }

    fn find(&self) -> Result<Vec<Found>, SourceError> {
        let mut version = Command::new(&self.settings.command);
        version
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| self.settings.failed(&error))?;
        Ok(vec![Found::pinned(&self.uri, &self.uri)])
    }

    fn open(
        &self,
        partition: &Found,
        from: u64,
        _share: Share,
        options: ReadOptions,
        wake: Wake,
    ) -> Result<Box<dyn Reader>, SourceError> {
        if self.taken.swap(true, Ordering::SeqCst) {
            return Err(SourceError::Gone { partition: partition.name.to_string(), offset: from });
        }
        let envelope = Envelope { max_line: options.max_line, ..Envelope::new(EnvelopeKind::Journald) };
        let settings = self.settings.clone();
        let reader = JournaldReader::start(settings, partition, from, envelope, wake);
        Ok(Box::new(reader.map_err(|error| self.settings.failed(&error))?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_arguments_and_nothing_else() {
        let settings =
            Settings::of("?unit=a.service&unit=--rotate&since=-1h&file=/x/*.journal").expect("fine");
        assert_eq!(settings.which, ["--unit=a.service", "--unit=--rotate", "--file=/x/*.journal"]);
        assert_eq!((settings.since.as_deref(), settings.follow), (Some("-1h"), true));
        for (rest, says) in [
            ("unit=a", "no path"),
            ("?unit", "wants a value"),
            ("?start=end&since=-1h", "goes with neither"),
            ("?fields=A,--x", "`--x`"),
            ("?vacuum=1", "none of"),
        ] {
            assert!(Settings::of(rest).is_err_and(|error| error.contains(says)), "{rest}");
        }
    }
}
