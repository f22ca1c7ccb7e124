//! Which worker owns a key.

use std::cell::Cell;
use std::hash::{Hash, Hasher};

use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;

/// How the keys of a run are dealt to its workers: by a hash that all of them have agreed on.
///
/// A run draws its own. Were it the same for all, whoever writes into a log could pick names that all go to one worker.
/// Nothing that lasts depends on it: what is durable is dealt anew when it is restored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Routing {
    seed: u64,
    shared: &'static SharedSeed,
}

thread_local! {
    static ROUTING: Cell<Routing> = const { Cell::new(Routing::FIXED) };
}

impl Routing {
    /// Where nothing was drawn, as in tests. Another function than any table's hash: a table whose hash agreed with the
    /// routing modulo the number of workers would leave most of its buckets empty.
    const FIXED: Self = Routing { seed: 0x7468_616c_7765_6721, shared: SharedSeed::global_fixed() };

    /// How many random bytes make one.
    pub(crate) const BYTES: usize = 16;

    /// The routing that `drawn` stands for, equal for equal bytes. It takes some 50 bytes that are never given back.
    pub(crate) fn of(drawn: [u8; Self::BYTES]) -> Self {
        let number = u128::from_be_bytes(drawn);
        let shared = Box::leak(Box::new(SharedSeed::from_u64(number as u64)));
        Routing { seed: (number >> 64) as u64, shared }
    }

    /// Has the worker of this thread deal keys so, from before its dataflow is built until it is done.
    pub(crate) fn install(self) {
        ROUTING.set(self);
    }
}

/// Where a key's updates go: equal keys to equal numbers, on all workers of a run and in every process of a cluster.
///
/// Each run deals keys in its own way; a thread that is no worker of one has a way that is always the same.
///
/// ```
/// use thalweg::operators::route;
/// assert_eq!(route("key"), route(&String::from("key")));
/// ```
#[inline]
pub fn route<K: Hash + ?Sized>(key: &K) -> u64 {
    let Routing { seed, shared } = ROUTING.get();
    let mut hasher = FoldHasher::with_seed(seed, shared);
    key.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of four workers has each of a hundred keys, as `routing` deals them.
    fn owners(routing: Routing) -> Vec<u64> {
        routing.install();
        let owners = (0..100).map(|key: u32| route(&format!("key {key}")) % 4).collect();
        Routing::FIXED.install();
        owners
    }

    #[test]
    fn equal_bytes_deal_alike_and_each_byte_counts() {
        let drawn = |at: usize| {
            let mut drawn = [7; Routing::BYTES];
            drawn[at] ^= 1;
            Routing::of(drawn)
        };
        for at in 0..Routing::BYTES {
            assert_eq!(owners(drawn(at)), owners(drawn(at)));
            assert_ne!(owners(drawn(at)), owners(Routing::FIXED));
            assert_ne!(owners(drawn(at)), owners(drawn((at + 1) % Routing::BYTES)), "byte {at}");
        }
    }
}
