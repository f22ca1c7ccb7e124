//! Looks for topics and partitions.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;
use rdkafka::types::RDKafkaRespErr;

use super::Detail;
use super::client::{Says, list_offsets};
use super::options::{Options, Start, Topics};
use crate::source::{Access, Finder, Found, OnDataLoss, SourceError};

/// How long a cluster has to answer as the run begins ...
const FIRST: Duration = Duration::from_secs(10);
/// ... and later, when it is asked again soon.
const LATER: Duration = Duration::from_secs(2);

/// A topic that has just been created, or a partition that changes its leader, is asked for again so soon ...
const AGAIN: Duration = Duration::from_millis(250);
/// ... and so often.
const ATTEMPTS: u32 = 20;

/// Asks a cluster for its topics. It has a connection of its own, so that no question waits for messages.
pub(super) struct Scout {
    options: Options,
    consumer: BaseConsumer<Says>,
    cluster: String,
    known: BTreeSet<(String, i32)>,
    /// Topics of which it was said that they are not there.
    awaited: BTreeSet<String>,
}

impl Scout {
    /// Connects.
    pub(super) fn start(options: &Options) -> Result<Self, SourceError> {
        let config = options.client(&[]);
        let consumer: Result<BaseConsumer<_>, _> =
            config.create_with_context(Says::new(&options.brokers, true));
        let consumer = consumer.map_err(|error| service(options, error.to_string()))?;
        let (options, known, awaited) = (options.clone(), BTreeSet::new(), BTreeSet::new());
        Ok(Scout { options, consumer, cluster: String::new(), known, awaited })
    }

    /// All partitions that there are as the run begins.
    pub(super) fn first(&mut self) -> Result<Vec<Found>, SourceError> {
        use RDKafkaErrorCode::{BrokerTransportFailure, OperationTimedOut};
        let mut left = ATTEMPTS;
        loop {
            match self.look() {
                Ok(found) => return Ok(found),
                Err(error) => match error.rdkafka_error_code() {
                    // That has taken long enough.
                    Some(BrokerTransportFailure | OperationTimedOut) => return Err(self.unanswered(&error)),
                    _ if left == 0 => return Err(self.unanswered(&error)),
                    _ => left -= 1,
                },
            }
            std::thread::sleep(AGAIN);
        }
    }

    fn look(&mut self) -> Result<Vec<Found>, KafkaError> {
        let partitions = self.partitions(FIRST)?;
        // By the cluster's own name it is the same, whichever of its brokers are named.
        self.cluster = self.consumer.client().fetch_cluster_id(FIRST).unwrap_or_default();
        let found = self.found(&partitions, self.options.start, FIRST)?;
        self.known = partitions.into_iter().collect();
        Ok(found)
    }

    fn unanswered(&self, error: &KafkaError) -> SourceError {
        let brokers = &self.options.brokers;
        let reason = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::OperationTimedOut) => {
                format!(
                    "no broker answers within {FIRST:?}\n  hint: is it `{brokers}`, and are TLS and SASL set as it has them?"
                )
            }
            _ => error.to_string(),
        };
        service(&self.options, reason)
    }

    /// The partitions that are to be read now: further ones, and again those that were cut short.
    fn further(&mut self) -> Result<Vec<Found>, KafkaError> {
        let mut partitions = self.partitions(LATER)?;
        // One that begins anew is a partition that has ended, which only its reader knows. Those that are being read are known
        // to be, and left out by whoever is told.
        if self.options.on_data_loss == Some(OnDataLoss::Fail) {
            partitions.retain(|partition| !self.known.contains(partition));
        }
        let found = self.found(&partitions, Start::Earliest, LATER)?;
        self.known.extend(partitions);
        Ok(found)
    }

    /// Every partition of every topic that is read.
    fn partitions(&mut self, within: Duration) -> Result<Vec<(String, i32)>, KafkaError> {
        let mut partitions = Vec::new();
        let mut add = |topic: &MetadataTopic| {
            let numbers =
                topic.partitions().iter().map(|partition| (topic.name().to_owned(), partition.id()));
            partitions.extend(numbers);
        };
        match &self.options.topics {
            Topics::Matching(_) => {
                let metadata = self.consumer.fetch_metadata(None, within)?;
                metadata.topics().iter().filter(|topic| self.options.topics.are(topic.name())).for_each(add);
            }
            Topics::Named(names) => {
                for name in names {
                    let metadata = self.consumer.fetch_metadata(Some(name), within)?;
                    let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else {
                        continue;
                    };
                    match topic.error() {
                        None => {
                            self.awaited.remove(name);
                            add(topic);
                        }
                        Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => {
                            if self.awaited.insert(name.clone()) {
                                log::warn!(
                                    "kafka://{}: there is no topic `{name}`; it is read when it comes",
                                    self.options.brokers
                                );
                            }
                        }
                        Some(error) => return Err(KafkaError::MetadataFetch(error.into())),
                    }
                }
            }
        }
        partitions.sort();
        partitions.dedup();
        Ok(partitions)
    }

    /// What is said of `partitions`, with the offsets at which they begin.
    fn found(
        &self,
        partitions: &[(String, i32)],
        start: Start,
        within: Duration,
    ) -> Result<Vec<Found>, KafkaError> {
        let offset = match start {
            Start::Earliest => Offset::Beginning,
            Start::Latest => Offset::End,
            Start::At(time) => Offset::Offset(time),
        };
        let begin = list_offsets(&self.consumer, partitions, offset, within)?;
        // Where no message is as new, reading begins with the next.
        let ends = match start {
            Start::At(_) => list_offsets(&self.consumer, partitions, Offset::End, within)?,
            _ => begin.clone(),
        };
        let among = partitions.len().max(self.known.len());
        let found = partitions.iter().filter_map(|it| {
            let start = begin.get(it).copied().flatten().or(ends.get(it).copied().flatten())?;
            let (topic, partition) = it.clone();
            let earliest = self.options.start == Start::Earliest;
            let name = format!("kafka:{topic}/{partition}");
            let identity = format!("kafka:{}/{topic}/{partition}", self.cluster);
            let detail = Detail { topic, partition, start, earliest, among };
            Some(Found {
                name: Arc::from(name),
                identity,
                access: Access::Sequential,
                length: None,
                bytes: 0,
                detail: serde_json::to_string(&detail).ok()?,
            })
        });
        Ok(found.collect())
    }
}

fn service(options: &Options, reason: String) -> SourceError {
    SourceError::Service { service: format!("kafka://{}", options.brokers), reason }
}

/// Looks for topics and partitions that come.
pub(super) struct KafkaFinder {
    pub(super) scout: Scout,
    /// How long it has waited since it last looked.
    waited: Duration,
    failing: bool,
}

impl KafkaFinder {
    pub(super) fn new(mut scout: Scout) -> Self {
        // A run that goes on from where another was reads what that one knew. What has come in between is found at the first look.
        scout.known.clear();
        KafkaFinder { scout, waited: Duration::ZERO, failing: false }
    }
}

impl Finder for KafkaFinder {
    fn wait(&mut self, patience: Duration) -> Result<Vec<Found>, SourceError> {
        let refresh = self.scout.options.refresh;
        let wait = refresh.saturating_sub(self.waited).min(patience);
        std::thread::sleep(wait);
        self.waited += wait;
        if self.waited < refresh {
            return Ok(Vec::new());
        }
        self.waited = Duration::ZERO;
        // Its events have nobody else to take them.
        let _ = self.scout.consumer.poll(Duration::ZERO);
        match self.scout.further() {
            Ok(found) => {
                self.failing = false;
                Ok(found)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    log::debug!("kafka://{}: topics cannot be listed: {error}", self.scout.options.brokers);
                }
                Ok(Vec::new())
            }
        }
    }
}
