//! Keys of unequal popularity: Zipf's law.
//!
//! Rank *k* (from 1) of *n* has the probability *k*^−s / (1^−s + … + n^−s). Up to [`TABLE`] ranks are drawn from a
//! table; more, for which a table would be large and mostly missed in the cache, by rejection. Both take the same
//! time for every *n* and *s*.

use crate::generate::draws::{Draw, Draws};
use crate::generate::float::{exp, exp_m1_ratio, ln, ln_1p_ratio};

/// The largest number of ranks that get a table: at 8 bytes each, 8 MiB.
const TABLE: u64 = 1 << 20;

/// Draws ranks `0..n`, rank 0 being the most popular.
#[derive(Debug)]
pub(super) enum Zipf {
    Table(Table),
    Rejection(Rejection),
}

impl Zipf {
    /// For `n` from 1 to 2³² and `skew` from 0 to 10.
    pub(super) fn new(n: u64, skew: f64) -> Self {
        if n <= TABLE { Zipf::Table(Table::new(n, skew)) } else { Zipf::Rejection(Rejection::new(n, skew)) }
    }

    #[inline]
    pub(super) fn rank(&self, draws: &mut Draws) -> u64 {
        match self {
            Zipf::Table(table) => table.rank(draws.draw()),
            Zipf::Rejection(rejection) => rejection.rank(draws),
        }
    }
}

/// An alias table (Walker 1977, built as in Vose 1991): one draw and one slot, whatever the weights.
#[derive(Debug)]
pub(super) struct Table {
    slots: Box<[Slot]>,
}

/// Stands for its own rank if 32 random bits are at most `own`, and else for `alias`.
#[derive(Clone, Copy, Debug)]
struct Slot {
    own: u32,
    alias: u32,
}

impl Table {
    fn new(n: u64, skew: f64) -> Self {
        let mut fill: Vec<f64> = (1..=n).map(|k| exp(-skew * ln(k as f64))).collect();
        // Least first, so that the small ones are not lost in the sum.
        let total: f64 = fill.iter().rev().sum();
        // Scaled so that 1 is a slot's fair share; ranks below it are topped up by those above.
        fill.iter_mut().for_each(|fill| *fill *= n as f64 / total);
        let mut slots: Box<[Slot]> = (0..n as u32).map(|rank| Slot { own: u32::MAX, alias: rank }).collect();
        let (mut small, mut large): (Vec<u32>, Vec<u32>) =
            (0..n as u32).partition(|rank| fill[*rank as usize] < 1.0);
        while let (Some(&giver), Some(taker)) = (large.last(), small.pop()) {
            let (giver_at, taker_at) = (giver as usize, taker as usize);
            slots[taker_at] = Slot { own: (fill[taker_at] * 4_294_967_296.0) as u32, alias: giver };
            fill[giver_at] -= 1.0 - fill[taker_at];
            if fill[giver_at] < 1.0 {
                large.pop();
                small.push(giver);
            }
        }
        // What rounding leaves in either list has a fill of 1 but for the last bits, and keeps its whole slot.
        Table { slots }
    }

    #[inline]
    fn rank(&self, mut draw: Draw) -> u64 {
        let at = draw.below(self.slots.len() as u64);
        let slot = self.slots[at as usize];
        if (draw.rest() >> 32) as u32 <= slot.own { at } else { u64::from(slot.alias) }
    }
}

/// Rejection-inversion: Hörmann and Derflinger, "Rejection-inversion to generate variates from monotone discrete
/// distributions", ACM TOMACS 6(3), 1996.
///
/// A point under the density's hat h(x) = x^−s is found by inverting its integral H; it is taken for the nearest
/// whole number *k* unless it falls outside the bar that *k* owns. Less than one point in ten is refused.
#[derive(Debug)]
pub(super) struct Rejection {
    n: f64,
    skew: f64,
    /// H(3/2) − h(1): where the bar of rank 1 begins.
    lower: f64,
    /// H(n + 1/2): where the bar of rank n ends.
    upper: f64,
    /// Points this little below their whole number are always inside its bar.
    sure: f64,
}

impl Rejection {
    fn new(n: u64, skew: f64) -> Self {
        let mut this = Rejection { n: n as f64, skew, lower: 0.0, upper: 0.0, sure: 0.0 };
        this.lower = this.integral(1.5) - 1.0;
        this.upper = this.integral(this.n + 0.5);
        this.sure = 2.0 - this.inverse(this.integral(2.5) - this.hat(2.0));
        this
    }

    fn hat(&self, x: f64) -> f64 {
        exp(-self.skew * ln(x))
    }

    /// H(x) = (x^(1−s) − 1)/(1 − s), which is ln x for s = 1, and near it without loss of digits.
    fn integral(&self, x: f64) -> f64 {
        let log = ln(x);
        exp_m1_ratio((1.0 - self.skew) * log) * log
    }

    fn inverse(&self, y: f64) -> f64 {
        // Rounding may lead a little beyond the end of the range.
        let scaled = (y * (1.0 - self.skew)).max(-1.0 + f64::EPSILON);
        exp(ln_1p_ratio(scaled) * y)
    }

    fn rank(&self, draws: &mut Draws) -> u64 {
        loop {
            let y = self.upper + draws.draw().unit() * (self.lower - self.upper);
            let x = self.inverse(y);
            let k = (x + 0.5).floor().clamp(1.0, self.n);
            if k - x <= self.sure || y >= self.integral(k + 0.5) - self.hat(k) {
                return k as u64 - 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pearson's χ² of `draws` ranks, the rarer ones pooled, must lie within six standard deviations of its mean.
    fn follows_the_law(n: usize, skew: f64, mut rank: impl FnMut(&mut Draws) -> u64) {
        const DRAWS: usize = 400_000;
        let mut draws = Draws::new(42, "zipf", 0);
        let mut counts = vec![0usize; n];
        for _ in 0..DRAWS {
            counts[rank(&mut draws) as usize] += 1;
        }
        let weights: Vec<f64> = (1..=n).map(|k| (k as f64).powf(-skew)).collect();
        let total: f64 = weights.iter().sum();
        let (mut square, mut cells) = (0.0, 0.0);
        let (mut expected, mut seen) = (0.0, 0.0);
        for (weight, count) in weights.iter().zip(&counts) {
            expected += weight / total * DRAWS as f64;
            seen += *count as f64;
            if expected >= 20.0 {
                square += (seen - expected).powi(2) / expected;
                cells += 1.0;
                (expected, seen) = (0.0, 0.0);
            }
        }
        let freedom: f64 = cells - 1.0;
        let bound = 6.0 * (2.0 * freedom).sqrt() + 6.0;
        assert!((square - freedom).abs() < bound, "n {n} skew {skew}: χ² {square:.1} of {freedom}");
    }

    #[test]
    fn tables_follow_the_law() {
        for (n, skew) in [(1, 1.0), (2, 1.0), (10, 0.0), (1000, 0.5), (1000, 1.0), (5000, 1.2), (1000, 3.0)] {
            let table = Table::new(n, skew);
            follows_the_law(n as usize, skew, |draws| table.rank(draws.draw()));
        }
    }

    #[test]
    fn rejection_follows_the_law() {
        for (n, skew) in
            [(2, 1.0), (10, 0.0), (1000, 0.5), (1000, 1.0), (5000, 1.2), (1000, 3.0), (1000, 10.0)]
        {
            let rejection = Rejection::new(n, skew);
            follows_the_law(n as usize, skew, |draws| rejection.rank(draws));
        }
    }

    #[test]
    fn more_keys_than_a_table_holds() {
        for skew in [0.0, 0.999_999, 1.0, 1.5] {
            let n = 1 << 31;
            let zipf = Zipf::new(n, skew);
            assert!(matches!(zipf, Zipf::Rejection(_)), "{skew}");
            let mut draws = Draws::new(3, "zipf", 0);
            let first = (0..100_000).filter(|_| zipf.rank(&mut draws) == 0).count() as f64 / 1e5;
            let one = Rejection::new(n, skew);
            let share = 1.0 / (one.upper - one.lower);
            assert!((first - share).abs() < 0.1 * share + 0.002, "skew {skew}: {first} of {share}");
        }
    }
}
