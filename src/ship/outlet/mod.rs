//! Where lines go.

#[cfg(feature = "kafka")]
mod kafka;
mod tcp;

use std::sync::Arc;
use std::time::Instant;

#[cfg(feature = "kafka")]
use self::kafka::KafkaOutlet;
use self::tcp::TcpOutlet;
use super::ShipError;

/// What became of a line that was offered.
#[derive(Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "kafka"), expect(dead_code, reason = "over TCP nothing is said of single lines"))]
pub(super) enum Offer {
    /// It is on its way: a [`Fate`] follows.
    Sent,
    /// There is no room for it now.
    Full,
    /// It can never be delivered.
    Refused(String),
}

/// What became of lines that were on their way.
#[derive(Debug)]
#[cfg_attr(not(feature = "kafka"), expect(dead_code, reason = "over TCP nothing is said of single lines"))]
pub(super) enum Fate {
    /// This one was delivered.
    Delivered(u64),
    /// These were, up to this one.
    DeliveredUpTo(u64),
    /// This one can never be.
    Refused(u64, String),
    /// Of all others it is not known: they are to be offered again.
    Lost,
    /// Nothing can ever be delivered there.
    Never(String),
}

/// Sends lines somewhere; wakes whoever polls it when there is something new.
pub(super) trait Outlet {
    /// Takes a line, if it has room.
    fn offer(&mut self, number: u64, key: Option<&[u8]>, line: &[u8], now: Instant) -> Offer;

    /// No further line follows at once.
    fn flush(&mut self) {}

    /// What became of lines since.
    fn poll(&mut self, now: Instant, fates: &mut Vec<Fate>);

    /// No further line follows: what is on its way is to arrive.
    fn end(&mut self) {}

    /// Why nothing arrives at present, if that is so.
    fn away(&self) -> Option<String>;
}

/// Wakes the thread that ships.
pub(super) type Waker = Arc<dyn Fn() + Send + Sync>;

/// Where lines are to go, as a URI says it.
#[derive(Clone)]
pub(crate) struct Receiver {
    name: String,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Tcp(tcp::Address),
    #[cfg(feature = "kafka")]
    Kafka(kafka::Options),
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the options: there may be secrets among them.
        f.debug_struct("Receiver").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Receiver {
    /// Reads `tcp://HOST:PORT` or `kafka://BROKERS/TOPIC?OPTIONS`.
    pub(crate) fn parse(uri: &str) -> Result<Self, String> {
        let kind = match uri.split_once(':') {
            Some(("tcp", rest)) => Kind::Tcp(tcp::parse(rest)?),
            #[cfg(feature = "kafka")]
            Some(("kafka", rest)) => Kind::Kafka(kafka::Options::parse(rest)?),
            #[cfg(not(feature = "kafka"))]
            Some(("kafka", _)) => {
                return Err(
                    "this program was built without Kafka\n  hint: `cargo build --release --features kafka` \
                            makes one with it; `tcp://HOST:PORT` needs nothing"
                        .to_owned(),
                );
            }
            _ => return Err("lines are sent to `kafka://HOST:PORT,…/TOPIC` or `tcp://HOST:PORT`".to_owned()),
        };
        // Without options: they say how, and there may be secrets among them.
        let name = uri.split_once('?').map_or(uri, |(name, _)| name).to_owned();
        Ok(Receiver { name, kind })
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn open(&self, wake: Waker) -> Result<Box<dyn Outlet>, ShipError> {
        let failed = |reason: String| ShipError::Receiver { name: self.name.clone(), reason };
        Ok(match &self.kind {
            Kind::Tcp(address) => Box::new(
                TcpOutlet::new(&self.name, address, wake).map_err(|error| failed(error.to_string()))?,
            ),
            #[cfg(feature = "kafka")]
            Kind::Kafka(options) => {
                Box::new(KafkaOutlet::new(&self.name, options.clone(), wake).map_err(failed)?)
            }
        })
    }
}
