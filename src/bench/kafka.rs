//! `thalweg bench kafka`: reading a topic through a dataflow, beside a bare consumer that drops what it reads.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::util::Timeout;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use crate::bench::follow::Live;
use crate::bench::{BenchError, Notes, median, table};
use crate::data::grouped;
use crate::generate::{Generator, Kind, Options};
use crate::runtime::now;

/// Lines a second of a topic that holds them already.
#[derive(Clone, Debug)]
pub struct Kafka {
    /// The dataflow to run.
    pub dataflow: String,
    /// `HOST:PORT` of one broker or several, with commas between them.
    pub brokers: String,
    /// The topic. One that holds nothing is filled first.
    pub topic: String,
    /// How many lines a topic is filled with that holds nothing.
    pub lines: u64,
    /// Options of librdkafka, each as `NAME=VALUE`.
    pub options: Vec<String>,
    /// Worker threads.
    pub workers: u16,
    /// Rounds over which medians are taken.
    pub rounds: u16,
}

/// How long a broker has to answer.
const ANSWER: Duration = Duration::from_secs(30);

fn failed(error: impl std::fmt::Display) -> BenchError {
    BenchError::System { what: "use Kafka", source: std::io::Error::other(error.to_string()) }
}

impl Kafka {
    /// Measures.
    ///
    /// # Errors
    ///
    /// When the brokers cannot be reached or the topic not filled, or a run fails.
    pub fn run(&self, notes: &mut Notes<'_>) -> Result<String, BenchError> {
        let mut held = self.extents()?;
        if held.iter().all(|(low, high)| low == high) {
            self.fill(notes)?;
            held = self.extents()?;
        }
        let lines: u64 = held.iter().map(|(low, high)| high.saturating_sub(*low)).sum();
        let (mut bare, mut through) = (Vec::new(), Vec::new());
        // The first is for nothing, so that what the brokers have is in the page cache for all.
        for round in 0..=self.rounds {
            let figures = [self.bare(&held, lines)?, self.through(lines)?].map(|time| time.as_secs_f64());
            notes(&format!("round {round} of {}: {:.2} s, {:.2} s", self.rounds, figures[0], figures[1]));
            if round > 0 {
                bare.push(figures[0]);
                through.push(figures[1]);
            }
        }
        let rate = |seconds: &[f64]| grouped((lines as f64 / median(seconds.iter().copied())) as i64);
        let ratio = median(bare.iter().zip(&through).map(|(bare, through)| bare / through));
        let rows = [
            vec!["a bare consumer".to_owned(), rate(&bare), "1.00".to_owned()],
            vec![format!("{} -w {}", self.dataflow, self.workers), rate(&through), format!("{ratio:.2}")],
        ];
        let head = format!(
            "{} messages in {} partitions; from the first connection to the last message; medians of {} rounds",
            grouped(lines),
            held.len(),
            self.rounds
        );
        Ok(format!("{head}\n{}", table(&["", "lines/s", "ratio"], &rows)))
    }

    fn config(&self) -> Result<ClientConfig, BenchError> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        for option in &self.options {
            let (name, value) =
                option.split_once('=').ok_or_else(|| failed(format_args!("`{option}` is no NAME=VALUE")))?;
            config.set(name, value);
        }
        Ok(config)
    }

    fn consumer(&self) -> Result<BaseConsumer, BenchError> {
        let mut config = self.config()?;
        config.set("group.id", "thalweg-bench").set("enable.auto.commit", "false");
        config.create().map_err(failed)
    }

    /// The first offset of each partition, and the one after its last.
    fn extents(&self) -> Result<Vec<(u64, u64)>, BenchError> {
        let consumer = self.consumer()?;
        let metadata = consumer.fetch_metadata(Some(&self.topic), ANSWER).map_err(failed)?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == self.topic);
        let partitions = topic.map_or(0, |topic| topic.partitions().len());
        if partitions == 0 {
            return Err(failed(format_args!("there is no topic `{}`; create it first", self.topic)));
        }
        let extent = |partition| {
            let (low, high) = consumer.fetch_watermarks(&self.topic, partition, ANSWER).map_err(failed)?;
            Ok((low.max(0) as u64, high.max(0) as u64))
        };
        (0..partitions as i32).map(extent).collect()
    }

    fn fill(&self, notes: &mut Notes<'_>) -> Result<(), BenchError> {
        notes(&format!("filling `{}` with {} lines", self.topic, grouped(self.lines)));
        let kind = Kind::AccessLog;
        let options = Options { lines: Some(self.lines), seed: 1, ..Options::default_for(kind) };
        let mut generator = Generator::new(kind, &options).map_err(|error| failed(&error))?;
        let mut config = self.config()?;
        config.set("linger.ms", "50").set("batch.num.messages", "10000");
        let producer: ThreadedProducer<DefaultProducerContext> = config.create().map_err(failed)?;
        let mut line = Vec::new();
        while generator.next_line(&mut line) {
            let payload = line.strip_suffix(b"\n").unwrap_or(&line);
            loop {
                match producer.send(BaseRecord::<(), [u8]>::to(&self.topic).payload(payload)) {
                    Ok(()) => break,
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    Err((error, _)) => return Err(failed(error)),
                }
            }
            line.clear();
        }
        producer.flush(Timeout::After(ANSWER.saturating_mul(10))).map_err(failed)
    }

    /// How long a consumer takes that drops what it reads.
    fn bare(&self, held: &[(u64, u64)], lines: u64) -> Result<Duration, BenchError> {
        let begun = now();
        let consumer = self.consumer()?;
        let mut all = TopicPartitionList::new();
        for (partition, (low, _)) in (0..).zip(held) {
            let from = Offset::Offset(i64::try_from(*low).unwrap_or(0));
            all.add_partition_offset(&self.topic, partition, from).map_err(failed)?;
        }
        consumer.assign(&all).map_err(failed)?;
        let (mut read, mut heard): (u64, Instant) = (0, begun);
        while read < lines {
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    std::hint::black_box(message.payload());
                    (read, heard) = (read + 1, now());
                }
                // It tries again.
                Some(Err(KafkaError::MessageConsumption(_))) if now() - heard <= ANSWER => {}
                Some(Err(error)) => return Err(failed(error)),
                None if now() - heard > ANSWER => {
                    return Err(failed(format_args!("{read} of {lines} messages came, and then none")));
                }
                None => {}
            }
        }
        Ok(now() - begun)
    }

    /// How long the dataflow takes, from the start of its process until it has counted them.
    fn through(&self, lines: u64) -> Result<Duration, BenchError> {
        let escaped = |option: &String| {
            let escaped = option.replace('%', "%25").replace('&', "%26").replace('?', "%3F");
            format!("kafka.{escaped}")
        };
        let options: Vec<_> = self.options.iter().map(escaped).collect();
        let uri = format!("kafka://{}/{}?{}", self.brokers, self.topic, options.join("&"));
        let begun = now();
        let mut live = Live::start(&self.dataflow, &uri, self.workers)?;
        let counted = live.until(lines)?;
        live.stop()?;
        Ok(counted - begun)
    }
}
