//! Random numbers with a stream that never changes.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A stream of random words: ChaCha8 under a key made of the seed and a name.
///
/// The key is laid out here rather than by `seed_from_u64`, and choices are made by [`Draw`] rather than by
/// `rand`'s distributions, because both of those may change between releases of their crates; ChaCha may not.
#[derive(Debug)]
pub(super) struct Draws(ChaCha8Rng);

impl Draws {
    /// The stream numbered `stream` for `seed` and `name`, of which the first 24 bytes count.
    pub(super) fn new(seed: u64, name: &str, stream: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        for (to, from) in key[8..].iter_mut().zip(name.bytes()) {
            *to = from;
        }
        let mut chacha = ChaCha8Rng::from_seed(key);
        chacha.set_stream(stream);
        Draws(chacha)
    }

    /// The next 64 bits.
    #[inline]
    pub(super) fn draw(&mut self) -> Draw {
        Draw(self.0.next_u64())
    }
}

/// Sixty-four random bits, from which several independent choices can be made.
///
/// The bits are read as a fraction in `[0, 1)`. Multiplied by `n`, the whole part is a choice out of `n` and what
/// is left is the next fraction. After choices out of n₁, n₂, … the last is even to within n₁·n₂·…/2⁶⁴; the most that
/// is taken from one draw is 2⁴⁷, and by a Zipf table 2²⁰ before a comparison with the rest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draw(u64);

impl Draw {
    /// A draw that is a fixed function of `value`, scattered: the finaliser of SplitMix64 (Steele et al. 2014).
    #[inline]
    pub(super) fn hash(value: u64) -> Self {
        let mut x = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Draw(x ^ (x >> 31))
    }

    /// A choice in `0..n`; 0 if `n` is 0.
    #[inline]
    pub(super) fn below(&mut self, n: u64) -> u64 {
        let product = u128::from(self.0) * u128::from(n);
        self.0 = product as u64;
        (product >> 64) as u64
    }

    /// A choice in `0..n` that prefers low numbers: the lesser of two even choices.
    #[inline]
    pub(super) fn low(&mut self, n: u64) -> u64 {
        self.below(n).min(self.below(n))
    }

    /// One of `items`, all alike.
    #[inline]
    pub(super) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }

    /// One of `items`, the earlier the likelier.
    #[inline]
    pub(super) fn pick_low<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.low(items.len() as u64) as usize]
    }

    /// One of `items` by weights, given as running totals that end at 1000.
    #[inline]
    pub(super) fn pick_per_mille<T: Copy>(&mut self, items: &[(u64, T)]) -> T {
        let at = self.below(1000);
        let later = items.iter().take_while(|(total, _)| *total <= at).count();
        items[later].1
    }

    /// True with the probability `share`: never for 0, always for 1.
    #[inline]
    pub(super) fn chance(self, share: f64) -> bool {
        self.unit() < share
    }

    /// A number in `[0, 1)`, a multiple of 2⁻⁵³, so that it is exact.
    #[inline]
    pub(super) fn unit(self) -> f64 {
        (self.0 >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// All that is left of the bits.
    #[inline]
    pub(super) fn rest(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_from_one_draw_are_independent() {
        let mut draws = Draws::new(1, "test", 0);
        let mut counts = [[0u32; 7]; 5];
        for _ in 0..350_000 {
            let mut draw = draws.draw();
            let first = draw.below(5) as usize;
            counts[first][draw.below(7) as usize] += 1;
        }
        // 10,000 expected in each; six standard deviations are 592.
        for count in counts.as_flattened() {
            assert!(count.abs_diff(10_000) < 600, "{counts:?}");
        }
    }

    #[test]
    fn chance_keeps_to_its_ends() {
        let mut draws = Draws::new(1, "test", 0);
        assert!(!Draw(0).chance(0.0));
        assert!(Draw(u64::MAX).chance(1.0));
        let hits = (0..100_000).filter(|_| draws.draw().chance(0.25)).count();
        assert!(hits.abs_diff(25_000) < 900, "{hits}");
    }

    #[test]
    fn seeds_names_and_streams_differ() {
        let first = |seed, name, stream| Draws::new(seed, name, stream).draw().rest();
        let all = [first(0, "a", 0), first(1, "a", 0), first(0, "b", 0), first(0, "a", 1)];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one), "{all:x?}");
        }
    }
}
