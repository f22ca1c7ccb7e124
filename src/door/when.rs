//! The axis of *when*: over which of a key's records a door adds up, and what table comes of it.
//!
//! Each is implemented by the family that it belongs to, and here for all time.

use std::panic::Location;

use differential_dataflow::ExchangeData;

use crate::data::{Key, Stored, Total};
use crate::door::grouped::Adds;
use crate::door::running::durable_totals;
use crate::door::table::{Changing, Kind, Rows, Table};
use crate::door::{Parsed, Partials, Records};
use crate::format::Format;
use crate::operators::Totals;
use crate::view::Names;

/// A door that is to be opened: its name, where that is said, and the keys.
#[derive(Debug)]
pub struct Opening<K> {
    pub(crate) name: String,
    pub(crate) place: &'static Location<'static>,
    /// Keys that have a row even while their total is zero, where all time is added up.
    pub(crate) always: Vec<K>,
    /// What the columns of the key are called, and those of the sum if they are known.
    pub(crate) key: Vec<String>,
    pub(crate) sum: Option<Vec<String>>,
}

impl<K> Opening<K> {
    /// The door of the members that each key has, and what to call the operator that counts them.
    pub(crate) fn of_members<M>(self) -> (Opening<(K, M)>, String) {
        let Opening { name, place, .. } = self;
        let label = format!("{name}: distinct");
        (Opening { name, place, always: vec![], key: vec![], sum: None }, label)
    }

    /// The names of all columns, `front` before them.
    pub(crate) fn names(&self, front: &[&str]) -> Names {
        let front = || front.iter().map(ToString::to_string);
        let key: Vec<String> = front().chain(self.key.iter().cloned()).collect();
        let sum = self.sum.as_ref();
        Names { all: sum.map(|sum| key.iter().chain(sum).cloned().collect()), key }
    }
}

/// Over which of a key's records a door adds up: [`AllTime`], [`Tables`](super::Tables) of windows,
/// [`Sliding`](super::Sliding) views, [`BySession`](super::BySession), [`ByEpoch`](super::ByEpoch).
pub trait When: Sized {
    /// A row of the key and its sum.
    type Row<K: Key, A: ExchangeData>: ExchangeData;
    /// The kind of table that comes of it.
    type Kind: Kind;

    /// Opens the door.
    #[doc(hidden)]
    fn open<'scope, F: Format, K: Key, A: Total + Stored>(
        self,
        records: &Records<'scope, F>,
        opening: Opening<K>,
        adds: impl Adds<F, K, A>,
    ) -> Rows<'scope, Self::Row<K, A>, Self::Kind>;

    /// How many different members each key has: `adds` counts those of each key and member.
    #[doc(hidden)]
    fn distinct<'scope, F: Format, K: Key, M: Key>(
        self,
        records: &Records<'scope, F>,
        opening: Opening<K>,
        adds: impl Adds<F, (K, M), isize>,
    ) -> Rows<'scope, Self::Row<K, isize>, Self::Kind>;
}

/// All records that there ever were.
#[derive(Clone, Copy, Debug)]
pub struct AllTime;

impl When for AllTime {
    type Row<K: Key, A: ExchangeData> = (K, A);
    type Kind = Changing;

    fn open<'scope, F: Format, K: Key, A: Total + Stored>(
        self,
        records: &Records<'scope, F>,
        opening: Opening<K>,
        mut adds: impl Adds<F, K, A>,
    ) -> Table<'scope, (K, A)> {
        let site = records.site();
        let names = opening.names(&[]);
        let Opening { name, place, always, .. } = opening;
        let logic = move |record: &Parsed<'_, F>, sums: &mut Partials<K, A>| adds.add(record, sums);
        let sums = records.sums(&name, place, logic);
        let rows = durable_totals(site, &name, sums, always, None);
        Rows::new(rows, names, site.clone())
    }

    fn distinct<'scope, F: Format, K: Key, M: Key>(
        self,
        records: &Records<'scope, F>,
        opening: Opening<K>,
        adds: impl Adds<F, (K, M), isize>,
    ) -> Table<'scope, (K, isize)> {
        let names = opening.names(&[]);
        let (members, label) = opening.of_members::<M>();
        let members = self.open(records, members, adds).rows();
        // Follows from the members, which are durable.
        let rows = members.map(|((key, _), _)| key).totals_named(&label);
        Rows::new(rows, names, records.site().clone())
    }
}
