//! `kafka://BROKERS/TOPIC`: rows as messages.
//!
//! ```text
//! kafka://a:9092,b:9092/thalweg.{view}     a topic for each view
//! kafka://a:9092/rows                      one for all of them
//! ```
//!
//! | parameter | what it does |
//! |---|---|
//! | `progress=TOPIC` | where it is noted how far the sink has come, in partition 0: for runs with durable state. By default the name of the topic with `progress` for `{view}`, or with `-progress` behind it |
//! | `transactional=ID` | rows and progress are sent in transactions; the producer's id is this, and the topic's name |
//! | `wait=TIME` | how long brokers that cannot be reached are waited for as the run begins and as it ends (30 s); in between there is no end to it |
//! | `kafka.OPTION=VALUE` | an option of librdkafka, such as `kafka.linger.ms`; `%26` stands for `&` |
//! | `properties=FILE` | such options, one `OPTION=VALUE` a line: secrets are better kept there |
//!
//! # Messages
//!
//! The key of a message is the row's key as JSON, so that all messages of a row are in one partition, in order. The value is the
//! row as JSON (`{"url":"/","count":7}`), with `mode=changes` `{"diff":1,"row":{…}}`. In a topic for several views both say which
//! one it is: the key is `{"view":"urls","key":{…}}` and the value a line as `jsonl:` writes it. With `mode=update` a row that goes
//! away, and that no other with its key replaces, is a message without a value (a tombstone), so that a compacted topic holds the view
//! as it is. A view without a key has no such rows: there `mode=changes` says what is asked for.
//!
//! # Promise on restart
//!
//! The producer is idempotent: what librdkafka sends again arrives once, in order. Brokers before 0.11 know no such producers, and are
//! not supported. With durable state (`--state`):
//!
//! - By default rows are delivered *at least once*. How far the sink is, is noted after the rows of an epoch have been delivered: a run that dies
//!   between the two has the next one send the rows of these epochs again. With `mode=update` the topic's newest message of each
//!   key is the same either way. A run that was given up for dead, and is not, can still send.
//! - With `transactional=ID` the rows of epochs and how far they go are one transaction: consumers that read what is committed
//!   (`isolation.level=read_committed`) find each epoch once. The broker refuses what an earlier run with the same id sends. This
//!   is tested with brokers that take part in transactions but do not keep back what was aborted (librdkafka's own mock); it leans on Kafka's
//!   promise for the rest.
//!
//! A run without durable state begins anew each time, and notes no progress.
//!
//! While brokers are away, librdkafka tries again without end, and the log says so once. The sink waits, and then the run does when its
//! queue is full. As the run begins and ends there is an end to it (`wait`): an error says so then, and a run with durable state that is
//! started again sends what had not arrived. What is sent in a transaction arrives within five minutes, or the run ends with an error
//! in the same way.

mod options;
mod progress;

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use self::options::Options;
use self::progress::{Progress, newest};
use crate::data::Value;
use crate::sink::jsonl::{self, Columns};
use crate::sink::patience::{Patience, Waiting};
use crate::sink::rows::shown;
use crate::sink::{Closed, Ending, Mode, Opening, Pause, Sink, SinkError, SinkSpecError, SinkUri};
use crate::source::kafka::Says;
use crate::view::{Column, Contents, Finality, Schema};

/// How long librdkafka is waited for at once.
const WAIT: Duration = Duration::from_millis(100);
/// How long a broker has to answer what cannot be asked again without end.
const ANSWER: Duration = Duration::from_secs(30);
/// How long librdkafka is waited for at once where it is told to do something to its end.
const SOON: Duration = Duration::from_secs(5);
/// Epochs that share a note of progress, at most.
const EPOCHS: u64 = 1000;

/// Brokers have been waited for for so much longer: an error if that was enough.
fn wait(waiting: &mut Waiting, wait: Duration) -> Result<(), String> {
    waiting.add(wait);
    if !waiting.is_over() {
        return Ok(());
    }
    Err(format!(
        "brokers have not taken what was sent to them within {}\n  hint: are they up, and is it them? With --state, the same \
         command started again sends what is missing",
        humantime::format_duration(waiting.most())
    ))
}

/// Writes views as messages: see [the module](self).
pub struct Kafka {
    uri: String,
    options: Options,
    open: Option<Open>,
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the options: there may be secrets among them.
        f.debug_struct("Kafka").field("uri", &self.uri).finish_non_exhaustive()
    }
}

/// A connection.
struct Open {
    producer: BaseProducer<Deliveries>,
    failure: Arc<Mutex<Option<KafkaError>>>,
    topics: Vec<String>,
    /// Whether a topic is for one view.
    apart: bool,
    /// How long brokers that are away are waited for as the run begins and ends, and whether it is to end.
    wait: Duration,
    ending: Ending,
    mode: Mode,
    transactional: bool,
    within_transaction: bool,
    /// What is noted, and where, if it is.
    progress: Option<Progress>,
    /// Whether an epoch has begun, ...
    within: bool,
    /// ... and how many are complete and not known to have arrived.
    behind: u64,
}

/// What librdkafka has to say.
struct Deliveries {
    says: Says,
    failure: Arc<Mutex<Option<KafkaError>>>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.says.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.says.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => self.says.answered(),
            Err((error, _)) => {
                let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                failure.get_or_insert_with(|| error.clone());
            }
        }
    }
}

impl Kafka {
    /// The sink of `uri`.
    pub(super) fn of(uri: &mut SinkUri) -> Result<Self, SinkSpecError> {
        let options = Options::of(uri)?;
        Ok(Kafka { uri: uri.as_str().to_owned(), options, open: None })
    }

    fn with<T: Default>(
        &mut self,
        what: impl FnOnce(&mut Open) -> Result<T, String>,
    ) -> Result<T, SinkError> {
        let Some(open) = &mut self.open else { return Ok(T::default()) };
        what(open).map_err(|reason| SinkError::own(&self.uri, reason))
    }

    fn connect(&self, opening: &Opening<'_>) -> Result<(Open, Option<u64>), String> {
        let mode = opening.shows.mode;
        let keyless = opening
            .views
            .iter()
            .find(|view| view.finality != Finality::AtOnce && view.columns.iter().all(|column| column.key));
        if let Some(view) = keyless.filter(|_| mode == Mode::Update) {
            return Err(format!(
                "view `{}` has no key by which a row could replace another\n  hint: `mode=changes` shows each row that comes or goes",
                view.name
            ));
        }
        let topics = opening.views.iter().map(|view| self.options.topic_of(&view.name));
        let topics = topics.collect::<Result<_, _>>()?;
        let failure = Arc::default();
        let says = Says::new(&self.options.brokers, false);
        let producer = self.options.producer(Deliveries { says, failure: Arc::clone(&failure) })?;
        let transactional = self.options.transactional.is_some();
        if transactional {
            // From here on, what an earlier producer with this id sends is refused.
            let waiting = Patience::Wait.waiting(self.options.wait, &opening.ending);
            retried(waiting, |answer| producer.init_transactions(answer))?;
        }
        // A run without durable state goes on from nothing.
        let durable = opening.state.is_some() || opening.incarnation > 0;
        let mut progress = durable.then(|| self.options.progress(opening));
        let known = progress.as_ref().map_or(Ok(None), |progress| newest(&self.options, progress))?;
        if let Some(known) = &known
            && known.incarnation >= opening.incarnation
        {
            let (theirs, ours) = (known.incarnation, opening.incarnation);
            return Err(format!(
                "another run has taken over: its incarnation is {theirs}, ours {ours}\n  hint: this one was given up for dead; end it"
            ));
        }
        let committed = known.and_then(|known| known.epoch);
        progress.iter_mut().for_each(|progress| progress.noted.epoch = committed);
        let open = Open {
            producer,
            failure,
            topics,
            apart: self.options.is_apart(),
            wait: self.options.wait,
            ending: opening.ending.clone(),
            mode,
            transactional,
            within_transaction: false,
            progress,
            within: false,
            behind: 0,
        };
        Ok((open, committed))
    }
}

impl Sink for Kafka {
    fn open(&mut self, opening: &Opening<'_>) -> Result<Option<u64>, SinkError> {
        let (mut open, committed) =
            self.connect(opening).map_err(|reason| SinkError::own(&self.uri, reason))?;
        // The next run learns of this one, whether it has come to anything or not.
        let claimed = open.settle(Patience::Wait);
        self.open = Some(open);
        claimed.map_err(|reason| SinkError::own(&self.uri, reason))?;
        Ok(committed)
    }

    fn write(&mut self, closed: &Closed<'_>) -> Result<(), SinkError> {
        self.with(|open| {
            open.within = true;
            let mut all = closed.views.iter().enumerate();
            all.try_for_each(|(at, view)| open.show(at, &**view, closed))
        })
    }

    fn commit(&mut self, epoch: u64) -> Result<(), SinkError> {
        self.with(|open| {
            open.within = false;
            open.behind += 1;
            open.progress.iter_mut().for_each(|progress| progress.noted.epoch = Some(epoch));
            open.producer.poll(Duration::ZERO);
            if open.behind >= EPOCHS { open.settle(Patience::Endless) } else { Ok(()) }
        })
    }

    fn behind(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.behind)
    }

    fn settle(&mut self, pause: Pause) -> Result<(), SinkError> {
        let patience = match pause {
            Pause::Empty | Pause::Lull => Patience::Endless,
            Pause::Over => Patience::Wait,
        };
        // In the middle of an epoch, it would be a transaction of its own.
        self.with(|open| if open.behind > 0 && !open.within { open.settle(patience) } else { Ok(()) })
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.with(|open| open.settle(Patience::Wait))
    }
}

impl Open {
    /// Sends what is to be shown of the view at `at`.
    fn show(&mut self, at: usize, view: &dyn Contents, closed: &Closed<'_>) -> Result<(), String> {
        let mut result = Ok(());
        let schema = view.schema();
        let mode = self.mode;
        if mode == Mode::Update && !closed.last {
            let mut come = HashSet::new();
            view.changes(&mut |diff, values| {
                if diff > 0 {
                    come.insert(self.key(schema, values));
                }
            });
            view.changes(&mut |diff, values| {
                let key = self.key(schema, values);
                if result.is_ok() && diff < 0 && !come.contains(&key) {
                    result = self.send(at, &key, None);
                }
            });
        }
        shown(view, closed, mode, &mut |diff, values| {
            if result.is_ok() {
                let key = self.key(schema, values);
                let value = self.value(schema, closed, diff, values);
                result = value.and_then(|value| self.send(at, &key, Some(&value)));
            }
        });
        result
    }

    fn key(&self, schema: &Schema, values: &[Value<'_>]) -> Vec<u8> {
        let of_key = schema.columns.iter().zip(values).filter(|(column, _)| column.key);
        let (columns, values): (Vec<Column>, Vec<Value<'_>>) =
            of_key.map(|(column, value)| (column.clone(), *value)).unzip();
        let columns = Columns(&columns, &values);
        let key = match self.apart {
            true => serde_json::to_vec(&columns),
            false => serde_json::to_vec(&Keyed { view: &schema.name, key: columns }),
        };
        // Text, numbers and maps of them have a form in JSON.
        key.unwrap_or_default()
    }

    fn value(
        &self,
        schema: &Schema,
        closed: &Closed<'_>,
        diff: Option<isize>,
        values: &[Value<'_>],
    ) -> Result<Vec<u8>, String> {
        let columns = Columns(&schema.columns, values);
        let written = match diff {
            None if self.apart => serde_json::to_vec(&columns).map_err(std::io::Error::from),
            Some(diff) if self.apart => {
                serde_json::to_vec(&Change { diff, row: columns }).map_err(std::io::Error::from)
            }
            _ => {
                let mut line = Vec::new();
                let at = (closed.epoch, closed.step);
                jsonl::line(&mut line, &schema.name, &schema.columns, at, diff, values).map(|()| {
                    line.pop();
                    line
                })
            }
        };
        written.map_err(|error| error.to_string())
    }

    /// Hands a message over to librdkafka, when it has room.
    fn send(&mut self, at: usize, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        self.begin()?;
        let mut record = BaseRecord::<[u8], [u8]>::to(&self.topics[at]).key(key);
        record.payload = value;
        send(&self.producer, record, self.waiting(Patience::Endless))
    }

    /// Begins a transaction, if there are such and none has begun.
    fn begin(&mut self) -> Result<(), String> {
        if self.transactional && !self.within_transaction {
            self.producer.begin_transaction().map_err(|error| text(&error))?;
            self.within_transaction = true;
        }
        Ok(())
    }

    fn waiting(&self, patience: Patience) -> Waiting {
        patience.waiting(self.wait, &self.ending)
    }

    /// Returns when all that was sent has arrived, and how far it goes is noted.
    fn settle(&mut self, patience: Patience) -> Result<(), String> {
        if self.transactional {
            self.note()?;
            // For as long as that takes: what a commit waits for has an end, and then it would be an error.
            self.flush(patience)?;
            if self.within_transaction {
                retried(self.waiting(patience), |answer| self.producer.commit_transaction(answer))?;
                self.within_transaction = false;
            }
            self.failed()?;
        } else {
            self.flush(patience)?;
            self.note()?;
            self.flush(patience)?;
        }
        self.behind = 0;
        Ok(())
    }

    /// Sends how far the sink is, if that is to be noted.
    fn note(&mut self) -> Result<(), String> {
        if self.progress.is_some() {
            self.begin()?;
        }
        let Some(progress) = &self.progress else { return Ok(()) };
        let value = serde_json::to_vec(&progress.noted).map_err(|error| error.to_string())?;
        let record = BaseRecord::<[u8], [u8]>::to(&progress.topic).partition(0);
        send(
            &self.producer,
            record.key(progress.key.as_bytes()).payload(&value),
            self.waiting(Patience::Endless),
        )
    }

    /// Waits until everything has arrived.
    fn flush(&self, patience: Patience) -> Result<(), String> {
        let (mut waiting, mut left) = (self.waiting(patience), i32::MAX);
        while self.producer.in_flight_count() > 0 {
            self.failed()?;
            // What it could not do in this time it goes on with.
            let now_left = self.producer.in_flight_count();
            if self.producer.flush(WAIT).is_err() && now_left >= left {
                wait(&mut waiting, WAIT)?;
            }
            left = now_left;
        }
        self.failed()
    }

    /// What has gone wrong so that it is not tried again.
    fn failed(&self) -> Result<(), String> {
        if let Some((code, reason)) = self.producer.client().fatal_error() {
            return Err(match code {
                RDKafkaErrorCode::UnsupportedFeature => format!(
                    "{reason}\n  hint: brokers before 0.11 cannot tell what they have been sent twice, and are not supported"
                ),
                _ => reason,
            });
        }
        match &*self.failure.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(text(error)),
            None => Ok(()),
        }
    }
}

fn send(
    producer: &BaseProducer<Deliveries>,
    record: BaseRecord<'_, [u8], [u8]>,
    mut waiting: Waiting,
) -> Result<(), String> {
    let mut next = record;
    loop {
        match producer.send(next) {
            Ok(()) => return Ok(()),
            Err((error, record)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                next = record;
                producer.poll(WAIT);
                wait(&mut waiting, WAIT)?;
            }
            Err((error, _)) => return Err(text(&error)),
        }
    }
}

/// Does `what`, which is told how long it may take, until it is no use to try it again.
fn retried(mut waiting: Waiting, what: impl Fn(Duration) -> Result<(), KafkaError>) -> Result<(), String> {
    // What it could not do in this time it goes on with.
    let answer = waiting.most().clamp(WAIT, SOON);
    loop {
        let timed_out = match what(answer) {
            Err(KafkaError::Transaction(error)) if error.is_retriable() => {
                error.code() == RDKafkaErrorCode::OperationTimedOut
            }
            // What was sent before has to arrive first.
            Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut)) => true,
            other => return other.map_err(|error| text(&error)),
        };
        // It may have said so at once.
        std::thread::sleep(WAIT);
        wait(&mut waiting, if timed_out { answer } else { WAIT })?;
    }
}

fn text(error: &KafkaError) -> String {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition) => format!(
            "{error}\n  hint: brokers that create no topics by themselves need those of rows, and that of progress, \
             made beforehand"
        ),
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
            format!("{error}\n  hint: `kafka.message.max.bytes` may be raised if the broker takes more")
        }
        Some(RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced) => {
            format!("another run has taken over: {error}\n  hint: this one was given up for dead; end it")
        }
        _ => error.to_string(),
    }
}

/// The key of a message in a topic for several views.
#[derive(serde::Serialize)]
struct Keyed<'a> {
    view: &'a str,
    key: Columns<'a>,
}

/// The value of a message that says what has changed.
#[derive(serde::Serialize)]
struct Change<'a> {
    diff: isize,
    row: Columns<'a>,
}
