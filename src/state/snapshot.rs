//! All durable rows of a dataflow, as of one frontier.

use crate::data::{RowReader, Stored, StoredError};
use crate::state::encode::{decode_snapshot, encode_snapshot};
use crate::state::{Changes, Identity, Refusal, StateError};
use crate::time::Epoch;

/// The rows of one door, each once, in the order of their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub(crate) identity: Identity,
    /// Puts, all of them.
    pub(crate) rows: Changes,
}

impl Table {
    /// No rows of the door that `identity` says.
    pub fn empty(identity: Identity) -> Self {
        Table { rows: Changes::new(&identity), identity }
    }

    /// Whose rows these are.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Row `row`, as key and value of the types that its door has.
    ///
    /// # Errors
    ///
    /// When the columns hold something else.
    pub fn row<K: Stored, V: Stored>(&self, row: usize) -> Result<(K, V), StoredError> {
        let key = K::take(&mut RowReader::new(&self.rows.key, row))?;
        Ok((key, V::take(&mut RowReader::new(&self.rows.value, row))?))
    }
}

/// All durable rows of a dataflow, of all of its workers, as of a frontier: after every epoch
/// before it, and none other.
///
/// ```
/// use thalweg::state::{Snapshot, StateError};
/// use thalweg::time::Epoch;
/// let bytes = Snapshot::new(Epoch::new(7), vec![]).to_bytes()?;
/// assert_eq!(Snapshot::from_bytes(&bytes)?.frontier(), Epoch::new(7));
/// let mut damaged = bytes.clone();
/// damaged[13] ^= 1;
/// assert!(matches!(Snapshot::from_bytes(&damaged), Err(StateError::Checksum { .. })));
/// assert!(Snapshot::from_bytes(&bytes[..9]).is_err());
/// # Ok::<(), StateError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    frontier: Epoch,
    /// By name.
    tables: Vec<Table>,
}

/// How the doors of a dataflow go together with the state that is restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Doors that go on from their rows.
    pub same: Vec<String>,
    /// Doors that are new, and begin with nothing.
    pub new: Vec<String>,
    /// Doors that the dataflow does not have any more: their rows are left behind.
    pub dropped: Vec<String>,
}

impl Snapshot {
    /// These `tables` as of `frontier`.
    pub fn new(frontier: Epoch, tables: Vec<Table>) -> Self {
        let mut tables = tables;
        tables.sort_by(|table, other| table.identity.name().cmp(other.identity.name()));
        Snapshot { frontier, tables }
    }

    /// The first epoch that is not in it.
    pub fn frontier(&self) -> Epoch {
        self.frontier
    }

    /// The doors' rows, in the order of their names.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// The rows of door `name`.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.identity.name() == name)
    }

    /// How `doors` go together with it.
    ///
    /// # Errors
    ///
    /// [`StateError::Refused`] when a door of the same name has other rules or columns; it says
    /// which, of all such doors.
    ///
    /// ```
    /// use thalweg::state::{Identity, Snapshot};
    /// use thalweg::time::Epoch;
    /// let nothing = Snapshot::new(Epoch::new(7), vec![]);
    /// let restored = nothing.check(&[Identity::of::<u64, i64>("urls", "totals")])?;
    /// assert_eq!(restored.new, ["urls"]);
    /// # Ok::<(), thalweg::state::StateError>(())
    /// ```
    pub fn check(&self, doors: &[Identity]) -> Result<Restored, StateError> {
        let mut restored = Restored::default();
        let mut refused = Vec::new();
        for door in doors {
            match self.table(door.name()).map(|table| table.identity.differences(door)) {
                None => restored.new.push(door.name().to_owned()),
                Some(differences) if differences.is_empty() => restored.same.push(door.name().to_owned()),
                Some(differences) => refused.push(Refusal { door: door.name().to_owned(), differences }),
            }
        }
        let names = self.tables.iter().map(|table| table.identity.name());
        let dropped = names.filter(|name| doors.iter().all(|door| door.name() != *name));
        restored.dropped = dropped.map(str::to_owned).collect();
        if refused.is_empty() { Ok(restored) } else { Err(StateError::Refused(refused)) }
    }

    /// As bytes, with a version and a checksum; equal snapshots have equal bytes.
    ///
    /// # Errors
    ///
    /// When a value is too long.
    pub fn to_bytes(&self) -> Result<Vec<u8>, StateError> {
        encode_snapshot(self)
    }

    /// From bytes, whatever they are.
    ///
    /// # Errors
    ///
    /// When they are damaged, or in a form of another release.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        decode_snapshot(bytes)
    }
}
