//! What says which files make a snapshot up.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::part::{Checksum, Part, file, read_whole};
use crate::state::storage::Storage;
use crate::state::{Identity, StateError};
use crate::time::Epoch;

/// The version of manifests, and of what they refer to.
pub(super) const VERSION: u32 = 1;
/// Where they are.
const DIRECTORY: &str = "manifests/";

/// What is around a manifest.
#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    version: u32,
    checksum: Checksum,
    #[serde(borrow)]
    manifest: &'a RawValue,
}

/// What every version has.
#[derive(Deserialize)]
struct Head {
    version: u32,
}

/// A snapshot, as the files that it consists of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    frontier: u64,
    /// What the publisher put there.
    payload: Box<RawValue>,
    pub(super) doors: Vec<Door>,
}

/// The files of one door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Door {
    pub(super) identity: Identity,
    /// All rows whose key begins with an earlier time are gone.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) gone_before: Option<i64>,
    /// Each is later than those before.
    pub(super) runs: Vec<Run>,
}

/// Files that together are in the order of their keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Whether it is a table, from which nothing is taken away; only the first can be.
    pub(super) table: bool,
    pub(super) parts: Vec<Part>,
}

impl Door {
    /// A door without a row.
    pub(super) fn new(identity: Identity) -> Self {
        Door { identity, gone_before: None, runs: Vec::new() }
    }

    /// Which door it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Its files, the oldest first, and whether each is part of a table, all of whose rows are puts.
    pub fn parts(&self) -> impl Iterator<Item = (&Part, bool)> {
        self.runs.iter().flat_map(|run| run.parts.iter().map(|part| (part, run.table)))
    }

    /// Runs of files, each later than those before, and whether each is a table.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&[Part], bool)> {
        self.runs.iter().map(|run| (run.parts.as_slice(), run.table))
    }

    /// All rows whose key begins with an earlier time are gone.
    pub fn gone_before(&self) -> Option<i64> {
        self.gone_before
    }

    /// What is wrong with its files.
    pub(crate) fn damage(&self, storage: &dyn Storage) -> Vec<StateError> {
        let read = |(part, table): (&Part, bool)| part.read(storage, &self.identity, table).err();
        let mut damage: Vec<_> = self.parts().filter_map(read).collect();
        if damage.is_empty() {
            // Each is whole: whether they go together, too.
            damage.extend(super::restore::table(storage, self).err());
        }
        damage
    }

    /// Leaves out files of which no row is left.
    pub(super) fn forget(&mut self) {
        let gone = self.gone_before;
        self.runs.iter_mut().for_each(|run| run.parts.retain(|part| !part.is_gone(gone)));
        self.runs.retain(|run| !run.parts.is_empty());
    }
}

impl Run {
    pub(super) fn rows(&self) -> u64 {
        self.parts.iter().map(|part| part.rows).fold(0, u64::saturating_add)
    }
}

impl Manifest {
    pub(super) fn new(frontier: Epoch, payload: &[u8], doors: Vec<Door>) -> Result<Self, StateError> {
        let payload = serde_json::from_slice(payload)
            .map_err(|error| StateError::Parts(format!("what goes with it is no JSON: {error}")))?;
        Ok(Manifest { frontier: frontier.number(), payload, doors })
    }

    /// The first epoch that is not in the snapshot.
    pub fn frontier(&self) -> Epoch {
        Epoch::new(self.frontier)
    }

    /// What the publisher put there, in JSON.
    pub fn payload(&self) -> &str {
        self.payload.get()
    }

    /// Its doors.
    pub fn doors(&self) -> &[Door] {
        &self.doors
    }

    /// The names of all files that it refers to.
    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        self.doors.iter().flat_map(Door::parts).map(|(part, _)| part.name.as_str())
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, StateError> {
        let failed =
            |error: serde_json::Error| StateError::Store { doing: "write a manifest", source: error.into() };
        let manifest = serde_json::value::to_raw_value(self).map_err(failed)?;
        let checksum = Checksum::of(manifest.get().as_bytes());
        serde_json::to_vec(&Envelope { version: VERSION, checksum, manifest: &manifest }).map_err(failed)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let unreadable = |error: serde_json::Error| StateError::Unreadable { reason: error.to_string() };
        let head: Head = serde_json::from_slice(bytes).map_err(unreadable)?;
        if head.version != VERSION {
            return Err(StateError::Version { found: head.version, known: VERSION });
        }
        let envelope: Envelope<'_> = serde_json::from_slice(bytes).map_err(unreadable)?;
        let (found, written) = (Checksum::of(envelope.manifest.get().as_bytes()), envelope.checksum);
        if found != written {
            return Err(StateError::Checksum { found: found.0, written: written.0 });
        }
        let manifest: Manifest = serde_json::from_str(envelope.manifest.get()).map_err(unreadable)?;
        match manifest.misfit() {
            Some(reason) => Err(StateError::Unreadable { reason }),
            None => Ok(manifest),
        }
    }

    fn misfit(&self) -> Option<String> {
        if self.frontier > Epoch::MAX_NUMBER {
            return Some(format!("there is no epoch {}", self.frontier));
        }
        let double = |(at, door): (usize, &Door)| {
            let name = door.identity.name();
            let twice = self.doors[..at].iter().any(|other| other.identity.name() == name);
            twice.then(|| format!("it has door `{name}` twice"))
        };
        let table = |door: &Door| {
            let wrong = door.runs.iter().skip(1).any(|run| run.table);
            wrong.then(|| format!("door `{}` has a table over changes", door.identity.name()))
        };
        self.doors.iter().enumerate().find_map(double).or_else(|| self.doors.iter().find_map(table))
    }

    /// Reads manifest `name`; not the files that it refers to.
    ///
    /// # Errors
    ///
    /// When it is missing or damaged ([`StateError::is_damage`]), of a newer version, or cannot be read.
    pub fn read(storage: &dyn Storage, name: &str) -> Result<Self, StateError> {
        let bytes = read_whole(storage, name)?;
        Manifest::decode(&bytes).map_err(|error| file(storage, name, error))
    }
}

/// By whom a manifest was published, and as which of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) incarnation: u64,
    pub(super) sequence: u64,
}

impl Name {
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (incarnation, sequence) = name.strip_prefix(DIRECTORY)?.split_once('-')?;
        let parsed = Name { incarnation: incarnation.parse().ok()?, sequence: sequence.parse().ok()? };
        (parsed.to_string() == name).then_some(parsed)
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{DIRECTORY}{:08}-{:08}", self.incarnation, self.sequence)
    }
}

/// The starts of a dataflow by which its newest state came about, and from which snapshot each went on.
///
/// What a start publishes after a later one has gone on from an earlier snapshot is not part of it.
///
/// ```
/// use thalweg::state::disk::Line;
/// let line = Line::new([
///     (1, None),
///     (2, Some("manifests/00000001-00000007".to_owned())),
///     // Start 3 came to nothing, and so did 2 for all that 4 knew.
///     (3, Some("manifests/00000002-00000001".to_owned())),
///     (4, Some("manifests/00000001-00000007".to_owned())),
/// ]);
/// assert_eq!(line.incarnation(), Some(4));
/// assert!(line.contains("manifests/00000004-00000001"));
/// assert!(line.contains("manifests/00000001-00000007"));
/// assert!(!line.contains("manifests/00000001-00000008"));
/// assert!(!line.contains("manifests/00000002-00000001"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The newest first: the incarnation, and the last of its manifests that counts.
    starts: Vec<(u64, u64)>,
    base: Option<Name>,
}

impl Line {
    /// The line that ends with the highest incarnation of `claims`: each with the name of the manifest from which it
    /// went on, if it did not begin with nothing.
    pub fn new(claims: impl IntoIterator<Item = (u64, Option<String>)>) -> Self {
        let mut claims: Vec<_> = claims.into_iter().collect();
        claims.sort();
        let mut line = Line::default();
        let mut upto = u64::MAX;
        while let Some((incarnation, base)) = claims.pop() {
            line.starts.push((incarnation, upto));
            let base = base.as_deref().and_then(Name::parse);
            if line.starts.len() == 1 {
                line.base = base;
            }
            let Some(Name { incarnation: of, sequence }) = base else { break };
            upto = sequence;
            claims.retain(|(incarnation, _)| *incarnation <= of);
            if claims.last().is_none_or(|(incarnation, _)| *incarnation != of) {
                break;
            }
        }
        line
    }

    /// The newest incarnation.
    pub fn incarnation(&self) -> Option<u64> {
        self.starts.first().map(|(incarnation, _)| *incarnation)
    }

    /// The manifest from which it goes on.
    pub fn base(&self) -> Option<String> {
        self.base.map(|name| name.to_string())
    }

    /// Whether manifest `name` is part of the line.
    pub fn contains(&self, name: &str) -> bool {
        Name::parse(name).is_some_and(|name| self.has(name))
    }

    fn has(&self, name: Name) -> bool {
        let of =
            |(incarnation, upto): &(u64, u64)| *incarnation == name.incarnation && name.sequence <= *upto;
        self.starts.iter().any(of)
    }

    /// The names of the manifests of this line in `storage`, the newest first.
    ///
    /// # Errors
    ///
    /// When they cannot be listed.
    pub fn manifests(&self, storage: &dyn Storage) -> Result<Vec<String>, StateError> {
        let entries = storage.list(DIRECTORY)?;
        let names = entries.iter().filter_map(|entry| Name::parse(&entry.name));
        let mut names: Vec<_> = names.filter(|name| self.has(*name)).collect();
        names.sort_unstable_by(|one, other| other.cmp(one));
        Ok(names.iter().map(Name::to_string).collect())
    }
}
