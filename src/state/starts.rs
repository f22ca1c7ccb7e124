//! The starts of a dataflow on one storage: each takes a higher incarnation, and what an earlier one writes afterwards does not
//! count.
//!
//! ```text
//! incarnations/00000003          claimed: the manifest that it goes on from
//! incarnations/00000003.begun    its own epochs begin here: sealed records of earlier incarnations end here
//! ```
//!
//! A *zombie* is a process that goes on although another one has been started in its place: it was paused, or cut off from
//! the network. It cannot be stopped, but it can be left out:
//!
//! 1. A start claims the next number. Names are created and never overwritten, so two that start at once get different ones.
//!    The claim says from which manifest the start goes on; what an earlier incarnation publishes afterwards is not on the line.
//! 2. It opens the sinks with its number. They refuse lower ones from then on, so no earlier incarnation commits any more.
//! 3. It reads the journal to its end. What an earlier incarnation had committed was in the journal before, and is seen.
//! 4. It says where its own epochs begin ([`Starts::begin`]). What an earlier incarnation appends afterwards has numbers that
//!    do not count.

use serde::{Deserialize, Serialize};

use crate::state::StateError;
use crate::state::disk::Line;
use crate::state::storage::{Storage, StorageError};

/// The version of claims that is written.
const VERSION: u32 = 1;

const CLAIMS: &str = "incarnations/";
const BEGUN: &str = ".begun";

/// A start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    version: u32,
    /// Its number, from 1.
    pub incarnation: u64,
    /// Which state it goes on from, or has begun: a number that was drawn at random as that was.
    #[serde(with = "hexadecimal")]
    pub state: u128,
    /// The manifest that it goes on from, if there was one.
    pub base: Option<String>,
    /// The first epoch that is its own; `None` if it has not come that far.
    #[serde(default)]
    pub begins: Option<u64>,
}

/// 128 bits as text: not everybody's numbers in JSON have so many.
mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(number: &u128, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{number:032x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u128, D::Error> {
        let text = String::deserialize(from)?;
        u128::from_str_radix(&text, 16).map_err(serde::de::Error::custom)
    }
}

/// Where the epochs of an incarnation begin.
#[derive(Debug, Serialize, Deserialize)]
struct Begun {
    version: u32,
    epoch: u64,
}

/// All starts on a storage, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Starts {
    claims: Vec<Claim>,
}

impl Starts {
    /// Reads who has started on `storage`.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is not what a release that we know has written.
    pub fn read(storage: &dyn Storage) -> Result<Self, StateError> {
        let mut claims: Vec<Claim> = Vec::new();
        let entries = storage.list(CLAIMS)?;
        let names: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
        for (name, bytes) in names.iter().zip(storage.read_all(&names)?) {
            let Some(bytes) = bytes else { continue };
            match name.strip_suffix(BEGUN) {
                None => {
                    let claim: Claim = parse(storage, name, &bytes)?;
                    claims.push(Claim { begins: None, ..claim });
                }
                Some(of) => {
                    let begun: Begun = parse(storage, name, &bytes)?;
                    let claim = claims.iter_mut().find(|claim| self::name(claim.incarnation) == of);
                    if let Some(claim) = claim {
                        claim.begins = Some(begun.epoch);
                    }
                }
            }
        }
        claims.sort_by_key(|claim| claim.incarnation);
        Ok(Starts { claims })
    }

    /// The starts, in order.
    pub fn claims(&self) -> &[Claim] {
        &self.claims
    }

    /// The state of the last start.
    pub fn state(&self) -> Option<u128> {
        self.claims.last().map(|claim| claim.state)
    }

    /// The number of the last start; 0 if there was none.
    pub fn last(&self) -> u64 {
        self.claims.last().map_or(0, |claim| claim.incarnation)
    }

    /// Up to which epoch, exclusive, what incarnation `incarnation` sealed counts: where the first later one begins that has
    /// begun.
    pub fn counts_before(&self, incarnation: u64) -> u64 {
        let later = self.claims.iter().filter(|claim| claim.incarnation > incarnation);
        later.filter_map(|claim| claim.begins).min().unwrap_or(u64::MAX)
    }

    /// The snapshots that count, by what each start went on from.
    pub fn line(&self) -> Line {
        Line::new(self.claims.iter().map(|claim| (claim.incarnation, claim.base.clone())))
    }

    /// Claims the incarnation that follows, which goes on with `state` from manifest `base`. `None` if somebody else was faster.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn claim(
        &self,
        storage: &dyn Storage,
        state: u128,
        base: Option<String>,
    ) -> Result<Option<u64>, StateError> {
        let incarnation = self.last() + 1;
        let claim = Claim { version: VERSION, incarnation, state, base, begins: None };
        match storage.create(&name(incarnation), &json(&claim)?) {
            Ok(()) => Ok(Some(incarnation)),
            Err(StorageError::Exists { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Says that the epochs of incarnation `incarnation` begin with `epoch`.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn begin(storage: &dyn Storage, incarnation: u64, epoch: u64) -> Result<(), StateError> {
        let begun = Begun { version: VERSION, epoch };
        Ok(storage.create(&format!("{}{BEGUN}", name(incarnation)), &json(&begun)?)?)
    }
}

fn name(incarnation: u64) -> String {
    format!("{CLAIMS}{incarnation:08}")
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, StateError> {
    serde_json::to_vec(value)
        .map_err(|error| StateError::Store { doing: "describe a start", source: error.into() })
}

fn parse<T: for<'de> Deserialize<'de>>(
    storage: &dyn Storage,
    name: &str,
    bytes: &[u8],
) -> Result<T, StateError> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let damaged = |error: serde_json::Error| StateError::File {
        uri: storage.uri().to_owned(),
        name: name.to_owned(),
        source: Box::new(StateError::Unreadable { reason: error.to_string() }),
    };
    let Versioned { version } = serde_json::from_slice(bytes).map_err(damaged)?;
    if version != VERSION {
        return Err(StateError::Version { found: version, known: VERSION });
    }
    serde_json::from_slice(bytes).map_err(damaged)
}
