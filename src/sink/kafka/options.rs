//! What the URI of a Kafka sink says.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::error::KafkaError;
use rdkafka::producer::BaseProducer;

use super::progress::{Noted, Progress};
use super::{ANSWER, Deliveries};
use crate::sink::{Opening, SinkSpecError, SinkUri};
use crate::source::kafka::{Own, Passed, decoded, topic};

/// What is not for the user to set, and what to say instead.
const OWN: &Own<'static> = &[
    ("bootstrap.servers", "the brokers stand before the topic: `kafka://HOST:PORT,HOST:PORT/TOPIC`"),
    ("metadata.broker.list", "the brokers stand before the topic: `kafka://HOST:PORT,HOST:PORT/TOPIC`"),
    ("transactional.id", "say `transactional=ID`"),
    ("delivery.report.only.error", "what was delivered is what is noted"),
    ("statistics.interval.ms", "nobody reads these statistics"),
];

/// Kibibytes of messages that wait for brokers, at most; then the sink's own queue fills up.
const WAITING: &str = "65536";

/// What stands for the name of a view in that of a topic.
const VIEW: &str = "{view}";

#[derive(Clone)]
pub(super) struct Options {
    pub brokers: String,
    topic: String,
    progress: String,
    pub transactional: Option<String>,
    /// How long brokers that cannot be reached are waited for as the run begins, and as it ends.
    pub wait: Duration,
    passed: Passed,
}

impl Options {
    pub fn of(uri: &mut SinkUri) -> Result<Self, SinkSpecError> {
        let form = "it is written `kafka://HOST:PORT,…/TOPIC`";
        let place = uri.path().strip_prefix("//").and_then(|place| place.split_once('/'));
        let Some((brokers, name)) = place else { return Err(uri.refuse(form)) };
        if brokers.is_empty() || brokers.contains('@') {
            return Err(uri.refuse(form));
        }
        let (brokers, name) = (brokers.to_owned(), name.to_owned());
        let decode = |text: String, uri: &SinkUri| decoded(&text).map_err(|reason| uri.refuse(reason));
        let progress = match uri.param::<String>("progress")? {
            Some(name) => decode(name, uri)?,
            None if name.contains(VIEW) => name.replace(VIEW, "progress"),
            None => format!("{name}-progress"),
        };
        let transactional = uri.param::<String>("transactional")?.map(|id| decode(id, uri)).transpose()?;
        let wait = uri.param::<humantime::Duration>("wait")?.map_or(ANSWER, Into::into);
        let mut passed = Passed::default();
        if let Some(path) = uri.param::<String>("properties")? {
            passed.read(OWN, &decode(path, uri)?).map_err(|reason| uri.refuse(reason))?;
        }
        for (key, value) in uri.params_of("kafka.") {
            let value = decode(value, uri)?;
            passed.set(OWN, &key, &value).map_err(|reason| uri.refuse(reason))?;
        }
        for name in [name.replace(VIEW, "view"), progress.clone()] {
            topic(&name).map_err(|reason| uri.refuse(reason))?;
        }
        if transactional.as_ref().is_some_and(String::is_empty) {
            return Err(uri.refuse("`transactional=`: say which id"));
        }
        Ok(Options { brokers, topic: name, progress, transactional, wait, passed })
    }

    /// Whether each view has a topic of its own.
    pub fn is_apart(&self) -> bool {
        self.topic.contains(VIEW)
    }

    pub fn topic_of(&self, view: &str) -> Result<String, String> {
        topic(&self.topic.replace(VIEW, view)).map_err(|reason| {
            format!("{reason}\n  hint: without `{VIEW}` in its name, one topic takes all views")
        })
    }

    pub fn producer(&self, context: Deliveries) -> Result<BaseProducer<Deliveries>, String> {
        let mut ours = BTreeMap::from([
            ("enable.idempotence", "true".to_owned()),
            ("message.timeout.ms", "0".to_owned()),
            ("queue.buffering.max.kbytes", WAITING.to_owned()),
            ("reconnect.backoff.max.ms", "10000".to_owned()),
        ]);
        if let Some(id) = &self.transactional {
            ours.insert("transactional.id", format!("{id}-{}", self.topic.replace(VIEW, "view")));
            // It may last for as long as its epochs take.
            ours.insert("transaction.timeout.ms", "300000".to_owned());
            ours.remove("message.timeout.ms");
        }
        if self.passed.get("enable.idempotence").is_some_and(|value| value != "true") {
            // Or what is tried again comes behind what followed it.
            ours.insert("max.in.flight.requests.per.connection", "1".to_owned());
        }
        let ours: Vec<_> = ours.into_iter().collect();
        let config = self.passed.config(&self.brokers, &ours);
        config.create_with_context(context).map_err(|error| match error {
            KafkaError::ClientCreation(reason) => reason,
            error => error.to_string(),
        })
    }

    /// What a consumer of progress is told.
    pub fn consumer(&self) -> rdkafka::ClientConfig {
        // What the user says to a producer, a consumer does not always take; both take how to connect.
        let ours = [
            ("group.id", "thalweg".to_owned()),
            ("enable.auto.commit", "false".to_owned()),
            ("enable.auto.offset.store", "false".to_owned()),
            ("enable.partition.eof", "true".to_owned()),
            ("isolation.level", "read_committed".to_owned()),
        ];
        self.passed.config(&self.brokers, &ours)
    }

    /// What the sink notes at first.
    pub fn progress(&self, opening: &Opening<'_>) -> Progress {
        let state = opening.state.map_or(String::new(), |state| format!("{state:032x}"));
        let key = serde_json::json!({ "topic": self.topic, "state": state }).to_string();
        let noted = Noted { epoch: None, incarnation: opening.incarnation };
        Progress { topic: self.progress.clone(), key, noted }
    }
}

#[cfg(test)]
mod tests {
    use crate::sink::SinkSpec;

    #[test]
    fn what_is_wrong_with_a_uri_is_said_without_secrets() {
        for (uri, hint) in [
            ("kafka:a:1/t", "kafka://HOST:PORT"),
            ("kafka://a:1", "kafka://HOST:PORT"),
            ("kafka://a:1/", "a topic's name is missing"),
            ("kafka://a:1/a b", "`a b` is no topic's name"),
            ("kafka://a:1/{views}", "`{views}` is no topic's name"),
            ("kafka://a:1/t?progress=a/b", "`a/b` is no topic's name"),
            ("kafka://a:1/t?transactional=", "say which id"),
            ("kafka://a:1/t?kafka.lingr.ms=1", "librdkafka has no option `lingr.ms`"),
            ("kafka://a:1/t?kafka.transactional.id=x", "say `transactional=ID`"),
            ("kafka://a:1/t?group=g", "mode, at, keep, queue, progress, transactional, wait, properties"),
        ] {
            let error = uri.parse::<SinkSpec>().expect_err(uri).to_string();
            assert!(error.contains(hint), "{uri}: {error}");
        }
        for uri in ["kafka://a:1,b:2/t-{view}?mode=update&kafka.linger.ms=5", "kafka://a:1/t?transactional=x"]
        {
            assert!(uri.parse::<SinkSpec>().is_ok(), "{uri}");
        }
    }
}
