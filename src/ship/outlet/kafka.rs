//! `kafka://BROKERS/TOPIC`: each line is a message, delivered when the broker says so.
//!
//! librdkafka tries again without end while brokers are away. What it gives up on all the same (a
//! topic that is not there, a sequence that cannot be gone on with) is sent again by another
//! producer, after a while, in order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, PurgeConfig, ThreadedProducer};

use super::{Fate, Offer, Outlet, Waker};
use crate::source::Backoff;
use crate::source::kafka::{Own, Passed, Says, decoded, topic};

/// What is not for the user to set, and what to say instead.
const OWN: &Own<'static> = &[
    ("bootstrap.servers", "the brokers stand before the topic: `kafka://HOST:PORT,HOST:PORT/TOPIC`"),
    ("metadata.broker.list", "the brokers stand before the topic: `kafka://HOST:PORT,HOST:PORT/TOPIC`"),
    ("transactional.id", "lines are delivered at least once, and not in transactions"),
    ("delivery.report.only.error", "what was delivered is what is remembered"),
    ("statistics.interval.ms", "nobody reads these statistics"),
];

/// The room that librdkafka has: more than what is handed to it, which is bounded elsewhere.
const MESSAGES: u32 = 1_000_000;
/// Bytes of a message beyond its key and its text, at most.
const FRAME: usize = 128;

/// What a Kafka URI says of a receiver.
#[derive(Clone)]
pub(super) struct Options {
    brokers: String,
    topic: String,
    passed: Passed,
}

impl Options {
    /// Reads what follows `kafka:`.
    pub(super) fn parse(rest: &str) -> Result<Self, String> {
        let form = "it is written `kafka://HOST:PORT,…/TOPIC`";
        let rest = rest.strip_prefix("//").ok_or(form)?;
        let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (brokers, name) = place.split_once('/').ok_or(form)?;
        if brokers.is_empty() || brokers.contains('@') {
            return Err(form.to_owned());
        }
        let mut passed = Passed::default();
        for (key, value) in crate::source::options(options) {
            let value = decoded(value)?;
            match key.strip_prefix("kafka.") {
                Some(key) => passed.set(OWN, key, &value)?,
                None if key == "properties" => passed.read(OWN, &value)?,
                None => {
                    return Err(format!("`{key}` is neither `kafka.OPTION=VALUE` nor `properties=FILE`"));
                }
            }
        }
        Ok(Options { brokers: brokers.to_owned(), topic: topic(name)?, passed })
    }

    fn is_idempotent(&self) -> bool {
        self.passed.get("enable.idempotence").is_none_or(|value| value == "true")
    }

    /// A producer that makes batches of so many bytes.
    fn producer(&self, context: Deliveries, batch: usize) -> Result<ThreadedProducer<Deliveries>, String> {
        let mut ours = BTreeMap::from([
            ("enable.idempotence", "true".to_owned()),
            ("message.timeout.ms", "0".to_owned()),
            ("queue.buffering.max.messages", MESSAGES.to_string()),
            ("reconnect.backoff.max.ms", "10000".to_owned()),
        ]);
        if !self.is_idempotent() {
            // Or what is tried again comes behind what followed it.
            ours.insert("max.in.flight.requests.per.connection", "1".to_owned());
        }
        let ours: Vec<_> = ours.into_iter().collect();
        let mut config = self.passed.config(&self.brokers, &ours);
        config.set("batch.size", batch.to_string());
        config.create_with_context(context).map_err(|error| match error {
            KafkaError::ClientCreation(reason) => reason,
            error => error.to_string(),
        })
    }

    /// Bytes of a batch to begin with: librdkafka's default, unless the user says otherwise.
    fn batch(&self) -> usize {
        self.passed.get("batch.size").and_then(|size| size.parse().ok()).unwrap_or(1_000_000)
    }
}

/// What became of a message.
struct Report {
    number: u64,
    /// Bytes of it, about.
    size: usize,
    error: Option<RDKafkaErrorCode>,
}

/// What librdkafka has to say.
struct Deliveries {
    says: Arc<Says>,
    reports: Arc<Mutex<Vec<Report>>>,
    /// Whether there was an error, which may be one that the producer cannot go on after.
    failing: Arc<AtomicBool>,
    wake: Waker,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.says.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.failing.store(true, Ordering::Release);
        (self.wake)();
        self.says.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let (message, error) = match result {
            Ok(message) => (message, None),
            Err((error, message)) => (message, error.rdkafka_error_code()),
        };
        if error.is_none() {
            self.says.answered();
        }
        let size = message.payload_len() + message.key_len() + FRAME;
        let report = Report { number: number as u64, size, error };
        self.reports.lock().unwrap_or_else(PoisonError::into_inner).push(report);
        (self.wake)();
    }
}

/// A topic that lines go to.
pub(super) struct KafkaOutlet {
    name: String,
    options: Options,
    producer: Option<ThreadedProducer<Deliveries>>,
    says: Arc<Says>,
    reports: Arc<Mutex<Vec<Report>>>,
    failing: Arc<AtomicBool>,
    wake: Waker,
    batch: usize,
    backoff: Backoff,
    retry_at: Option<Instant>,
    /// Why nothing arrives.
    away: Option<String>,
    /// Whether anything has been delivered.
    heard: bool,
}

impl KafkaOutlet {
    pub(super) fn new(name: &str, options: Options, wake: Waker) -> Result<Self, String> {
        let mut outlet = KafkaOutlet {
            name: name.to_owned(),
            batch: options.batch(),
            says: Arc::new(Says::new(&options.brokers, false)),
            options,
            producer: None,
            reports: Arc::default(),
            failing: Arc::default(),
            wake,
            backoff: Backoff::new(),
            retry_at: None,
            away: None,
            heard: false,
        };
        outlet.start()?;
        Ok(outlet)
    }

    fn start(&mut self) -> Result<(), String> {
        // What the last one has still to say is of no interest.
        (self.reports, self.failing) = (Arc::default(), Arc::default());
        let context = Deliveries {
            says: Arc::clone(&self.says),
            reports: Arc::clone(&self.reports),
            failing: Arc::clone(&self.failing),
            wake: Arc::clone(&self.wake),
        };
        self.producer = Some(self.options.producer(context, self.batch)?);
        Ok(())
    }

    /// Begins anew with what has not been delivered, `after` a while.
    fn lose(&mut self, now: Instant, reason: String, after: Duration) {
        if self.away.as_ref() != Some(&reason) {
            log::warn!("{}: {reason}; what was not delivered is sent again", self.name);
        }
        if let Some(producer) = self.producer.take() {
            producer.purge(PurgeConfig::default().queue().inflight());
        }
        self.away = Some(reason);
        self.retry_at = Some(now + after);
    }

    /// What became of a message that the broker, or librdkafka, did not take.
    fn failed(&mut self, report: &Report, error: RDKafkaErrorCode, now: Instant) -> Option<Fate> {
        use RDKafkaErrorCode::{InvalidRecord, MessageSizeTooLarge, PurgeInflight, PurgeQueue};
        match error {
            PurgeQueue | PurgeInflight => None,
            // The broker says so of a batch, and one message of it may be to blame, or the size of
            // all.
            MessageSizeTooLarge | InvalidRecord if report.size < self.batch => {
                self.batch = (self.batch / 4).max(1);
                let reason = format!("{error}; batches are made smaller, of {} bytes", self.batch);
                self.lose(now, reason, Duration::ZERO);
                Some(Fate::Lost)
            }
            MessageSizeTooLarge | InvalidRecord => Some(Fate::Refused(report.number, error.to_string())),
            error => {
                let after = self.backoff.next();
                self.lose(now, error.to_string(), after);
                Some(Fate::Lost)
            }
        }
    }
}

impl Outlet for KafkaOutlet {
    fn offer(&mut self, number: u64, key: Option<&[u8]>, line: &[u8], _now: Instant) -> Offer {
        let Some(producer) = &self.producer else { return Offer::Full };
        let mut record =
            BaseRecord::<[u8], [u8], usize>::with_opaque_to(&self.options.topic, number as usize)
                .payload(line);
        record.key = key;
        match producer.send(record) {
            Ok(()) => Offer::Sent,
            Err((error, _)) => match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::MessageSizeTooLarge) => Offer::Refused(
                    "it is larger than `kafka.message.max.bytes`, which may be raised if the broker takes more"
                        .to_owned(),
                ),
                Some(RDKafkaErrorCode::QueueFull) => Offer::Full,
                // Found out by `poll`, which has the reason.
                Some(error) => {
                    let report = Report { number, size: usize::MAX, error: Some(error) };
                    self.reports.lock().unwrap_or_else(PoisonError::into_inner).push(report);
                    Offer::Full
                }
                None => Offer::Refused(error.to_string()),
            },
        }
    }

    fn poll(&mut self, now: Instant, fates: &mut Vec<Fate>) {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            if let Err(reason) = self.start() {
                let after = self.backoff.next();
                self.lose(now, reason, after);
            }
        }
        let fatal = self.producer.as_ref().filter(|_| self.failing.swap(false, Ordering::AcqRel));
        match fatal.and_then(|producer| producer.client().fatal_error()) {
            Some((RDKafkaErrorCode::UnsupportedFeature, reason)) => {
                fates.push(Fate::Never(format!(
                    "{reason}\n  hint: brokers before 0.11 cannot tell what they have been sent twice: \
                     `?kafka.enable.idempotence=false` does without"
                )));
            }
            Some((_, reason)) => {
                let after = self.backoff.next();
                self.lose(now, reason, after);
                fates.push(Fate::Lost);
            }
            None => {}
        }
        let reports = std::mem::take(&mut *self.reports.lock().unwrap_or_else(PoisonError::into_inner));
        for report in reports {
            match report.error {
                None => {
                    self.heard = true;
                    if self.away.take().is_some() {
                        log::warn!("{}: lines are delivered again", self.name);
                        self.backoff = Backoff::new();
                    }
                    fates.push(Fate::Delivered(report.number));
                }
                // One is enough: the others are lost with it.
                Some(_) if self.producer.is_none() => {}
                Some(error) => fates.extend(self.failed(&report, error, now)),
            }
        }
    }

    fn away(&self) -> Option<String> {
        match &self.away {
            Some(reason) => Some(reason.clone()),
            None if self.says.is_down() => Some("no broker can be reached".to_owned()),
            None if !self.heard => Some("nothing delivered yet".to_owned()),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_names_brokers_a_topic_and_options_and_no_secret_is_told() {
        let plain = Options::parse("//a:1,b:2/clicks").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((plain.brokers.as_str(), plain.topic.as_str()), ("a:1,b:2", "clicks"));
        assert!(plain.is_idempotent() && plain.batch() == 1_000_000);
        let all = "//a:1/t?kafka.enable.idempotence=false&kafka.batch.size=10&kafka.linger.ms=7";
        let all = Options::parse(all).unwrap_or_else(|error| panic!("{error}"));
        assert!(!all.is_idempotent() && all.batch() == 10 && all.passed.get("linger.ms") == Some("7"));
        for (rest, expected) in [
            ("a:1/t", "kafka://HOST:PORT"),
            ("//a:1", "kafka://HOST:PORT"),
            ("///t", "kafka://HOST:PORT"),
            ("//a:1/", "a topic's name is missing"),
            ("//a:1/t,u", "`t,u` is no topic's name"),
            ("//a:1/t?start=latest", "`start` is neither"),
            ("//a:1/t?kafka.linger.sm=hush", "librdkafka has no option `linger.sm`"),
            ("//a:1/t?kafka.linger.ms=hush", "`kafka.linger.ms`: "),
            ("//a:1/t?kafka.transactional.id=hush", "not in transactions"),
        ] {
            let error = Options::parse(rest).err().unwrap_or_default();
            assert!(error.contains(expected), "{rest}: {error}");
            assert!(!error.contains("hush"), "{rest}: {error}");
        }
    }
}
