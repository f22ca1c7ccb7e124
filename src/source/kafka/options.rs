//! What a Kafka URI says.

use std::time::Duration;

use chrono::DateTime;
use rdkafka::ClientConfig;
use regex::Regex;

use super::passed::{Passed, decoded, topic};
use crate::source::OnDataLoss;

/// Where reading begins in partitions that are there as the run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Earliest,
    Latest,
    /// With the first message that is not older, in milliseconds UTC.
    At(i64),
}

/// What of a message is a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// All of it.
    Message,
    /// What stands between its LFs.
    Lines,
}

/// Which topics are read.
#[derive(Clone, Debug)]
pub(super) enum Topics {
    Named(Vec<String>),
    /// Those whose whole name matches.
    Matching(Regex),
}

impl Topics {
    pub(super) fn are(&self, name: &str) -> bool {
        match self {
            Topics::Named(names) => names.iter().any(|it| it == name),
            // The cluster's own, such as `__consumer_offsets`, are no logs.
            Topics::Matching(pattern) => !name.starts_with("__") && pattern.is_match(name),
        }
    }
}

/// What a Kafka URI says.
#[derive(Clone)]
pub(super) struct Options {
    pub(super) brokers: String,
    pub(super) topics: Topics,
    pub(super) start: Start,
    /// What is done where messages have gone that were to be read, if it is not what the run does.
    pub(super) on_data_loss: Option<OnDataLoss>,
    pub(super) framing: Framing,
    /// The group that offsets are committed for.
    pub(super) group: Option<String>,
    /// How often it is looked for further topics and partitions.
    pub(super) refresh: Duration,
    /// What is handed to librdkafka as it is. There may be secrets in it.
    client: Passed,
}

/// What the source sets, and what to say instead.
const OWN: [(&str, &str); 9] = [
    ("bootstrap.servers", "the brokers stand before the topics: `kafka://HOST:PORT,HOST:PORT/TOPIC`"),
    ("metadata.broker.list", "the brokers stand before the topics: `kafka://HOST:PORT,HOST:PORT/TOPIC`"),
    ("group.id", "say `group=NAME`"),
    (
        "auto.offset.reset",
        "say `start=earliest` or `start=latest`, and `on-data-loss=fail` or `on-data-loss=continue`",
    ),
    ("enable.auto.commit", "offsets are committed if there is a `group=NAME`, and only to be looked at"),
    (
        "enable.auto.offset.store",
        "offsets are committed if there is a `group=NAME`, and only to be looked at",
    ),
    ("enable.partition.eof", "the source needs it to know when it has caught up"),
    ("statistics.interval.ms", "it is a second or more, for the lag that is shown"),
    ("group.protocol", "partitions are assigned by the run, and not by the group"),
];

impl Options {
    /// Reads what follows `kafka:`.
    pub(super) fn parse(rest: &str) -> Result<Self, String> {
        let form =
            "write `kafka://HOST:PORT,…/TOPIC,…`, or `kafka://HOST:PORT//REGEX/` for all topics that match";
        let rest = rest.strip_prefix("//").ok_or(form)?;
        let (brokers, rest) = rest.split_once('/').ok_or(form)?;
        if brokers.is_empty() || brokers.contains(['?', '@']) {
            return Err(form.to_owned());
        }
        let (topics, options) = split(rest);
        let topics = match topics.strip_prefix('/') {
            Some(pattern) => {
                let pattern = pattern.strip_suffix('/').filter(|it| !it.is_empty()).ok_or(form)?;
                let whole = Regex::new(&format!("^(?:{pattern})$"));
                Topics::Matching(whole.map_err(|error| format!("the topics `/{pattern}/`: {error}"))?)
            }
            None => Topics::Named(topics.split(',').map(topic).collect::<Result<_, _>>()?),
        };
        let mut parsed = Options {
            brokers: brokers.to_owned(),
            topics,
            start: Start::Earliest,
            on_data_loss: None,
            framing: Framing::Message,
            group: None,
            refresh: Duration::from_secs(5),
            client: Passed::default(),
        };
        for (key, value) in crate::source::options(options) {
            parsed.set(key, &decoded(value)?)?;
        }
        Ok(parsed)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match (key, value) {
            ("start", _) => self.start = start(value)?,
            ("on-data-loss", "fail") => self.on_data_loss = Some(OnDataLoss::Fail),
            ("on-data-loss", "continue") => self.on_data_loss = Some(OnDataLoss::Continue),
            ("framing", "message") => self.framing = Framing::Message,
            ("framing", "lines") => self.framing = Framing::Lines,
            ("group", "") => return Err("`group=`: say which group".to_owned()),
            ("group", name) => self.group = Some(name.to_owned()),
            ("refresh", every) => {
                let every =
                    humantime::parse_duration(every).map_err(|error| format!("`refresh`: {error}"))?;
                self.refresh = every.max(Duration::from_millis(1));
            }
            ("properties", path) => self.client.read(&OWN, path)?,
            _ => match key.strip_prefix("kafka.") {
                Some(key) => self.client.set(&OWN, key, value)?,
                None => {
                    return Err(format!(
                        "`{key}` with that value is none of `start=earliest|latest|MILLISECONDS|RFC 3339`, \
                         `on-data-loss=fail|continue`, `framing=message|lines`, `group=NAME`, `refresh=TIME`, \
                         `properties=FILE`, `kafka.OPTION=VALUE`"
                    ));
                }
            },
        }
        Ok(())
    }

    /// What librdkafka is told, by the source and then by the user.
    pub(super) fn client(&self, own: &[(&str, String)]) -> ClientConfig {
        self.client.config(&self.brokers, own)
    }
}

/// The topics, and the options behind them. A regular expression may have a `?`, and ends with a `/`.
fn split(rest: &str) -> (&str, &str) {
    if !rest.starts_with('/') {
        return rest.split_once('?').unwrap_or((rest, ""));
    }
    rest.rfind("/?").filter(|at| *at > 0).map_or((rest, ""), |at| (&rest[..=at], &rest[at + 2..]))
}

fn start(value: &str) -> Result<Start, String> {
    let at =
        || value.parse().ok().or_else(|| Some(DateTime::parse_from_rfc3339(value).ok()?.timestamp_millis()));
    match value {
        "earliest" => Ok(Start::Earliest),
        "latest" => Ok(Start::Latest),
        _ => at().filter(|at| *at >= 0).map(Start::At).ok_or_else(|| {
            format!(
                "`start={value}` is neither `earliest`, `latest`, a time such as `2026-01-31T12:00:00Z`, nor milliseconds \
                 since 1970"
            )
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(rest: &str) -> Options {
        Options::parse(rest).unwrap_or_else(|error| panic!("{rest}: {error}"))
    }

    #[test]
    fn a_uri_names_brokers_topics_and_options() {
        let plain = parse("//a:1,b:2/clicks,views");
        assert_eq!(plain.brokers, "a:1,b:2");
        assert!(plain.topics.are("clicks") && plain.topics.are("views") && !plain.topics.are("click"));
        assert_eq!((plain.start, plain.on_data_loss), (Start::Earliest, None));
        assert_eq!((plain.framing, plain.group), (Framing::Message, None));
        let all = parse(
            "//a:1/t?start=2026-01-31T12:00:00%2B01:00&on-data-loss=continue&framing=lines&group=g&refresh=2s\
             &kafka.fetch.min.bytes=7",
        );
        assert_eq!((all.start, all.on_data_loss), (Start::At(1_769_857_200_000), Some(OnDataLoss::Continue)));
        assert_eq!((all.framing, all.group.as_deref()), (Framing::Lines, Some("g")));
        assert_eq!(all.client(&[]).get("fetch.min.bytes"), Some("7"));
        assert_eq!(parse("//a:1/t?start=latest").start, Start::Latest);
        assert_eq!(parse("//a:1/t?start=12").start, Start::At(12));
        let matching = parse("//a:1//logs?-[a-z/]+/?group=g");
        assert!(matching.topics.are("log-a") && !matching.topics.are("a-log-a"));
        assert!(!parse("//a:1//.*/").topics.are("__consumer_offsets"));
    }

    #[test]
    fn what_is_wrong_is_named_and_secrets_are_not() {
        let properties = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(properties.path(), "# ours\nfetch.min.bytes=1\nsasl.pasword=hush")
            .expect("it is writable");
        let file = format!("//a:1/t?properties={}", properties.path().display());
        for (rest, expected) in [
            ("a:1/t", "kafka://HOST:PORT"),
            ("//a:1", "kafka://HOST:PORT"),
            ("///t", "kafka://HOST:PORT"),
            ("//a:1/", "a topic's name is missing"),
            ("//a:1/a b", "`a b` is no topic's name"),
            ("//a:1//(/", "the topics `/(/`"),
            ("//a:1/t?start=soon", "`start=soon` is neither"),
            ("//a:1/t?strat=latest", "`strat` with that value is none of"),
            ("//a:1/t?on-data-loss=hush", "`on-data-loss` with that value"),
            ("//a:1/t?kafka.fetch.mni.bytes=hush", "librdkafka has no option `fetch.mni.bytes`"),
            ("//a:1/t?kafka.fetch.min.bytes=hush", "`kafka.fetch.min.bytes`: "),
            ("//a:1/t?kafka.group.id=hush", "say `group=NAME`"),
            (&file, "line 3: librdkafka has no option `sasl.pasword`"),
        ] {
            let error = Options::parse(rest).err().unwrap_or_default();
            assert!(error.contains(expected), "{rest}: {error}");
            assert!(!error.contains("hush"), "{rest}: {error}");
        }
    }
}
