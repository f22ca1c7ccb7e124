//! What tells whether bytes that are read again are those that were read.
//!
//! A digest adds up over the bytes of a partition, each weighted by where it stands, so that it is the same however the bytes are
//! shared out among workers, chunks and epochs: eight bytes that stand together are a number, which is multiplied by a weight. There are
//! [`WORDS`] weights, one for each place in a block, and the sum of a block is multiplied by a number that is its own. All that
//! is counted modulo the prime 2⁶¹ − 1, where no product loses what a factor says (polynomial and linear hashing, Carter and Wegman
//! 1979): other bytes have the same digest by chance one time in 2⁶¹ or so. It is no protection against somebody who sets out to
//! deceive it.
//!
//! It costs a multiplication for eight bytes and no look for line ends, where XXH3 of each line was an eighth of what reading an access
//! log costs.

use twox_hash::XxHash3_64;

/// So many eights of bytes are a block.
const WORDS: usize = 128;
/// Bytes of a block.
const BLOCK: u64 = WORDS as u64 * 8;

/// What digests are counted by: a prime.
const PRIME: u64 = (1 << 61) - 1;

/// A number that looks like any other, for each `n`, and is 0 for the largest: the finalizer of SplitMix64 (Steele, Lea and Flood 2014).
const fn mixed(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The weights of the places in a block: of 56 bits, so that the products of a whole block add up to less than 2¹²⁸.
const WEIGHTS: [u64; WORDS] = {
    let mut weights = [0; WORDS];
    let mut place = 0;
    while place < WORDS {
        weights[place] = mixed(u64::MAX - 1 - place as u64) >> 8;
        place += 1;
    }
    weights
};

/// `number` modulo [`PRIME`].
const fn reduced(number: u128) -> u64 {
    let prime = PRIME as u128;
    let once = (number & prime) + (number >> 61);
    let twice = ((once & prime) + (once >> 61)) as u64;
    if twice >= PRIME { twice - PRIME } else { twice }
}

/// The digest of what has the digests `one` and `other`.
pub(crate) fn digest_sum(one: u64, other: u64) -> u64 {
    reduced(u128::from(one) + u128::from(other))
}

/// What `bytes`, which stand at `offset` of their partition, add to its digest.
pub(crate) fn bytes_digest(mut offset: u64, mut bytes: &[u8]) -> u64 {
    let mut digest = 0;
    while !bytes.is_empty() {
        let within = offset % BLOCK;
        let len = bytes.len().min((BLOCK - within) as usize);
        let (here, behind) = bytes.split_at(len);
        let sum = u128::from(reduced(block(within as usize, here)));
        let block = sum.wrapping_mul(u128::from(mixed(offset / BLOCK) >> 4));
        digest = digest_sum(digest, reduced(block));
        (bytes, offset) = (behind, offset + len as u64);
    }
    digest
}

/// The sum of `bytes`, which stand at `within` of their block.
#[inline]
fn block(within: usize, bytes: &[u8]) -> u128 {
    let (before, first) = (within % 8, within / 8);
    let (head, rest) = bytes.split_at(bytes.len().min((8 - before) % 8));
    // Nothing overflows, and nothing is to look whether it does.
    let product = |word: u64, weight: u64| u128::from(word).wrapping_mul(u128::from(weight));
    let mut sum = 0u128;
    let mut weights = &WEIGHTS[first..];
    if !head.is_empty() {
        sum = product(word(before, head), weights[0]);
        weights = &weights[1..];
    }
    let (words, tail) = rest.as_chunks::<8>();
    for (word, weight) in words.iter().zip(weights) {
        sum = sum.wrapping_add(product(u64::from_le_bytes(*word), *weight));
    }
    match weights.get(words.len()) {
        Some(weight) if !tail.is_empty() => sum.wrapping_add(product(word(0, tail), *weight)),
        _ => sum,
    }
}

/// Fewer than eight bytes, of which `before` more stand before them.
fn word(before: usize, bytes: &[u8]) -> u64 {
    let mut all = [0; 8];
    all[before..before + bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(all)
}

/// What a line adds that is a message with this number, and stands in no bytes of its partition.
pub(crate) fn line_digest(offset: u64, line: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(offset, line) % PRIME
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As it is defined, a byte at a time.
    fn plain(offset: u64, bytes: &[u8]) -> u64 {
        let times = |one: u64, other: u64| reduced(u128::from(one) * u128::from(other));
        let one = |(at, byte): (u64, &u8)| {
            let word = u64::from(*byte) << (at % 8 * 8);
            times(times(word, WEIGHTS[(at % BLOCK / 8) as usize]), mixed(at / BLOCK) >> 4)
        };
        (offset..).zip(bytes).map(one).fold(0, digest_sum)
    }

    #[test]
    fn every_place_has_a_weight() {
        assert!(WEIGHTS.iter().all(|weight| *weight != 0));
    }

    proptest! {
        #[test]
        fn it_is_the_same_however_bytes_are_cut(
            offset in prop_oneof![0u64..3000, any::<u32>().prop_map(u64::from)],
            bytes in prop::collection::vec(any::<u8>(), 0..4000),
            cuts in prop::collection::vec(0usize..4000, 0..8),
        ) {
            let whole = bytes_digest(offset, &bytes);
            prop_assert_eq!(whole, plain(offset, &bytes));
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let part = |cut: &[usize]| bytes_digest(offset + cut[0] as u64, &bytes[cut[0]..cut[1]]);
            prop_assert_eq!(cuts.windows(2).map(part).fold(0, digest_sum), whole);
        }

        #[test]
        fn what_is_changed_moved_or_swapped_is_noticed(
            offset in 0u64..3000,
            bytes in prop::collection::vec(any::<u8>(), 1..3000),
            (at, other) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
            by in 1u8..,
        ) {
            let whole = bytes_digest(offset, &bytes);
            let mut changed = bytes.clone();
            changed[at.index(bytes.len())] ^= by;
            prop_assert_ne!(bytes_digest(offset, &changed), whole);
            if bytes.iter().any(|byte| *byte != 0) {
                prop_assert_ne!(bytes_digest(offset + 1, &bytes), whole);
            }
            let mut swapped = bytes.clone();
            let (at, other) = (at.index(bytes.len()), other.index(bytes.len()));
            swapped.swap(at, other);
            prop_assert_eq!(bytes_digest(offset, &swapped) == whole, bytes[at] == bytes[other]);
        }
    }
}
