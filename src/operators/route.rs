//! Which worker owns a key.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::FixedState;

/// The same in every process, and another function than any table's hash: a table whose hash agreed with the routing
/// modulo the number of workers would leave most of its buckets empty.
const ROUTING: FixedState = FixedState::with_seed(0x7468_616c_7765_6721);

/// Where a key's updates go: equal keys to equal numbers, in every process of a cluster.
///
/// ```
/// use thalweg::operators::route;
/// assert_eq!(route("key"), route(&String::from("key")));
/// ```
#[inline]
pub fn route<K: Hash + ?Sized>(key: &K) -> u64 {
    ROUTING.hash_one(key)
}
