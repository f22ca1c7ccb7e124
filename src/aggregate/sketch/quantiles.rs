//! How large the values were.

use differential_dataflow::difference::{IsZero, Semigroup};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Damaged;
use crate::aggregate::{Overflow, Total};

/// Any quantile of the values seen, each within [`Quantiles::ERROR`] of a value that was there.
///
/// Every value is rounded to seven significant bits, and how often each rounded value occurs is counted. Whole numbers
/// up to 128 are therefore exact, as is the sign. Magnitudes below 2^-30 (about 1e-9) count as 0, and those of 2^65 and
/// more as 2^65 less a little. This is a DDSketch (Masson, Rim, Lee, "DDSketch: a fast and fully-mergeable quantile
/// sketch with relative-error guarantees", VLDB 2019) whose logarithm is the one that floating-point numbers have in
/// them. The state is a function of the multiset of values, see [the module](crate::aggregate#sketches).
///
/// Memory: 32 bytes, and 16 for each rounded value that occurs (vectors grow by doubling). Those are 64 for each
/// doubling of the magnitude: 10 KiB for positive values that range over a factor of a thousand, 30 KiB for a billion,
/// and at worst 190 KiB for values of either sign and every magnitude.
///
/// The order of two sketches is total, but means nothing.
///
/// ```
/// use thalweg::aggregate::{Quantiles, Total};
/// let mut times: Quantiles = (1..=100).map(f64::from).collect();
/// assert_eq!(times.quantile(0.5), Some(50.0));
/// times.try_add(&(101..=10_000).map(f64::from).collect()).unwrap();
/// assert_eq!(times.count(), 10_000);
/// let p99 = times.quantile(0.99).unwrap();
/// assert!((p99 - 9_900.0).abs() <= Quantiles::ERROR * 9_900.0);
/// assert_eq!(Quantiles::default().quantile(0.5), None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantiles {
    /// The sum of the counts below. Because it fits its type, so does each of them.
    count: u64,
    /// Rounded values as [`rounded`] has them, ascending, with how often they occur: once or more.
    buckets: Vec<(i16, u64)>,
}

/// Bits of a floating-point number's fraction that are kept: six, and a leading one before them.
const KEPT: u32 = 6;
/// Bits that are not.
const DROPPED: u32 = f64::MANTISSA_DIGITS - 1 - KEPT;
/// The kept bits of the smallest magnitude that is not zero, 2^-30, less one: so it is numbered 1.
const ZERO: u64 = ((1023 - 30) << KEPT) - 1;
/// The number of the largest magnitude, just below 2^65.
const LAST: u64 = ((1023 + 65) << KEPT) - 1 - ZERO;

/// The number of the rounded value: 0 is zero, and negative values have negative numbers.
#[inline]
fn rounded(value: f64) -> i16 {
    // Numbers of one sign are ordered as their bits are. A half is rounded up, if need be into the exponent.
    let bits = (value.abs().to_bits() + (1 << (DROPPED - 1))) >> DROPPED;
    let magnitude = bits.saturating_sub(ZERO).min(LAST) as i16;
    if value < 0.0 { -magnitude } else { magnitude }
}

fn value(rounded: i16) -> f64 {
    match u64::from(rounded.unsigned_abs()) {
        0 => 0.0,
        magnitude => f64::from_bits((magnitude + ZERO) << DROPPED).copysign(rounded.into()),
    }
}

impl Quantiles {
    /// The largest relative error of a quantile, 1/128, for magnitudes from 2^-30 to 2^65.
    pub const ERROR: f64 = 1.0 / 128.0;

    /// Takes one more value in. What is not finite is left out, and not counted.
    ///
    /// # Panics
    ///
    /// If there are 2^64 values, which taking them in one by one cannot bring about.
    #[inline]
    pub fn record(&mut self, value: f64) {
        if value.is_finite() {
            self.count = self.count.checked_add(1).expect("fewer than 2^64 values");
            let rounded = rounded(value);
            match self.buckets.binary_search_by_key(&rounded, |(other, _)| *other) {
                Ok(place) => self.buckets[place].1 += 1,
                Err(place) => self.buckets.insert(place, (rounded, 1)),
            }
        }
    }

    /// How many values were taken in.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The value that `q` (from 0, the smallest, to 1, the largest; 0.5 is the median) of the values are below: the one
    /// in place ⌊q (count − 1)⌋ of the sorted values, counting from 0, or one within [`Quantiles::ERROR`] of it.
    ///
    /// `None` if there are no values, or `q` is not from 0 to 1.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let last = self.count.checked_sub(1)?;
        if !(0.0..=1.0).contains(&q) {
            return None;
        }
        let place = ((q * last as f64) as u64).min(last);
        let mut below = 0;
        let at = self.buckets.iter().find(|(_, count)| {
            below += count;
            below > place
        });
        at.map(|(rounded, _)| value(*rounded))
    }
}

impl FromIterator<f64> for Quantiles {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut quantiles = Quantiles::default();
        values.into_iter().for_each(|value| quantiles.record(value));
        quantiles
    }
}

impl Total for Quantiles {
    /// As if the values of `other` were taken in, too.
    ///
    /// # Errors
    ///
    /// When there would be 2^64 values or more; then `self` is as it was.
    fn try_add(&mut self, other: &Self) -> Result<(), Overflow> {
        self.count = self.count.checked_add(other.count).ok_or(Overflow)?;
        // No bucket overflows, because their sum did not.
        let mut new = Vec::new();
        let mut place = 0;
        for (rounded, count) in &other.buckets {
            while self.buckets.get(place).is_some_and(|(ours, _)| ours < rounded) {
                place += 1;
            }
            match self.buckets.get_mut(place) {
                Some((ours, sum)) if ours == rounded => *sum += count,
                _ => new.push((*rounded, *count)),
            }
        }
        if !new.is_empty() {
            self.buckets.extend(new);
            // Two ascending runs: the stable sort finds and merges them in linear time.
            self.buckets.sort();
        }
        Ok(())
    }
}

impl IsZero for Quantiles {
    fn is_zero(&self) -> bool {
        self.count == 0
    }
}

impl Semigroup for Quantiles {
    fn plus_equals(&mut self, other: &Self) {
        self.try_add(other).expect("fewer than 2^64 values");
    }
}

impl Serialize for Quantiles {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.buckets.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Quantiles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let buckets = Vec::<(i16, u64)>::deserialize(deserializer)?;
        let damaged = |what| Err(D::Error::custom(Damaged("quantile sketch", what)));
        let Some(count) = buckets.iter().try_fold(0u64, |sum, (_, count)| sum.checked_add(*count)) else {
            return damaged("too many values");
        };
        if !buckets.is_sorted_by(|(a, _), (b, _)| a < b) {
            return damaged("values out of order");
        }
        if buckets.iter().any(|(rounded, count)| *count == 0 || u64::from(rounded.unsigned_abs()) > LAST) {
            return damaged("a value that cannot be");
        }
        Ok(Quantiles { count, buckets })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f64]) -> Quantiles {
        values.iter().copied().collect()
    }

    fn plus(a: &Quantiles, b: &Quantiles) -> Quantiles {
        let mut sum = a.clone();
        assert_eq!(sum.try_add(b), Ok(()));
        sum
    }

    fn bytes(quantiles: &Quantiles) -> Vec<u8> {
        serde_json::to_vec(quantiles).unwrap()
    }

    /// Within the error, or too small or too large for it to hold.
    fn near(estimate: f64, exact: f64) -> bool {
        let (smallest, largest) = (2f64.powi(-30), 2f64.powi(65));
        if exact.abs() < smallest {
            return estimate.abs() <= smallest;
        }
        if exact.abs() >= largest {
            return estimate.abs() <= largest && estimate.abs() >= largest * (1.0 - Quantiles::ERROR);
        }
        (estimate - exact).abs() <= Quantiles::ERROR * exact.abs()
    }

    fn values() -> impl Strategy<Value = Vec<f64>> {
        let any = prop_oneof![
            any::<f64>(),
            prop::num::f64::ANY,
            (-300i32..300).prop_map(f64::from),
            any::<u64>().prop_map(|value| value as f64),
            (-40.0..70.0f64, any::<bool>()).prop_map(|(log, sign)| if sign {
                log.exp2()
            } else {
                -log.exp2()
            }),
        ];
        prop::collection::vec(any, 0..200)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn a_function_of_the_multiset_alone(seen in values(), mut cuts in prop::collection::vec(0..200usize, 3)) {
            let whole = of(&seen);
            let mut sorted = seen.clone();
            sorted.sort_unstable_by(f64::total_cmp);
            prop_assert_eq!(bytes(&of(&sorted)), bytes(&whole), "the order does not matter");

            cuts.iter_mut().for_each(|cut| *cut = (*cut).min(seen.len()));
            cuts.sort_unstable();
            let [a, b, c, d] =
                [&seen[..cuts[0]], &seen[cuts[0]..cuts[1]], &seen[cuts[1]..cuts[2]], &seen[cuts[2]..]].map(of);
            for merged in [plus(&plus(&plus(&a, &b), &c), &d), plus(&plus(&d, &b), &plus(&c, &a))] {
                prop_assert_eq!(bytes(&merged), bytes(&whole), "nor how it was shared out and merged");
                prop_assert_eq!(&merged, &whole);
            }
            prop_assert_eq!(plus(&whole, &Quantiles::default()), whole.clone());
            prop_assert_eq!(plus(&Quantiles::default(), &whole), whole.clone());
            prop_assert_eq!(whole.is_zero(), whole == Quantiles::default());
            prop_assert_eq!(serde_json::from_slice::<Quantiles>(&bytes(&whole)).unwrap(), whole);
        }

        #[test]
        fn near_the_exact_quantiles(mut seen in values(), q in 0.0..=1.0f64) {
            let quantiles = of(&seen);
            seen.retain(|value| value.is_finite());
            seen.sort_unstable_by(f64::total_cmp);
            prop_assert_eq!(quantiles.count(), seen.len() as u64);
            for q in [q, 0.0, 0.5, 0.99, 1.0] {
                let exact = seen.get((q * seen.len().saturating_sub(1) as f64) as usize);
                let estimate = quantiles.quantile(q);
                prop_assert_eq!(estimate.is_some(), exact.is_some());
                if let (Some(estimate), Some(exact)) = (estimate, exact) {
                    prop_assert!(near(estimate, *exact), "{} for {} at {}", estimate, exact, q);
                }
            }
        }

        #[test]
        fn rounding_keeps_the_order_and_what_is_round(a: f64, b: f64) {
            let (a, b) = if a <= b { (a, b) } else { (b, a) };
            prop_assert!(rounded(a) <= rounded(b));
            prop_assert!(near(value(rounded(a)), a));
            prop_assert_eq!(rounded(value(rounded(a))), rounded(a));
        }
    }

    #[test]
    fn a_million_values_of_a_long_tail() {
        // Evenly spread logarithms from 1 to 10^9, in an order that is not sorted.
        let values: Vec<f64> = (0..1_000_000u64)
            .map(|i| 10f64.powf(9.0 * (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64 / 2f64.powi(53)))
            .collect();
        let quantiles = of(&values);
        let mut sorted = values;
        sorted.sort_unstable_by(f64::total_cmp);
        for thousandth in 0..=1000 {
            let q = f64::from(thousandth) / 1000.0;
            let exact = sorted[(q * (sorted.len() - 1) as f64) as usize];
            let estimate = quantiles.quantile(q).unwrap();
            assert!((estimate - exact).abs() <= Quantiles::ERROR * exact, "{estimate} for {exact} at {q}");
        }
        assert!(quantiles.buckets.len() * size_of::<(i16, u64)>() <= 30 << 10);
    }

    #[test]
    fn small_numbers_are_exact_and_edges_are_numbers() {
        for whole in -128..=128 {
            let whole = f64::from(whole);
            assert_eq!(of(&[whole]).quantile(0.5), Some(whole));
        }
        assert_eq!(of(&[-0.0]), of(&[0.0]));
        assert_eq!(of(&[u64::MAX as f64]).quantile(1.0), Some(u64::MAX as f64));
        assert_eq!(of(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY]), Quantiles::default());
        let ends = of(&[f64::MAX, f64::MIN, f64::MIN_POSITIVE]);
        assert_eq!(ends.quantile(0.5), Some(0.0));
        assert_eq!(ends.quantile(0.0), ends.quantile(1.0).map(|largest| -largest));
        assert!([f64::NAN, -0.1, 1.1, f64::INFINITY].iter().all(|q| ends.quantile(*q).is_none()));
    }

    #[test]
    fn bounded_whatever_comes() {
        let steps = (0..=u16::MAX).map(|top| f64::from_bits(u64::from(top) << 48 | 1 << 45));
        let fine = (0..1u64 << 18).map(|top| f64::from_bits(top << 46));
        let all: Quantiles = steps.chain(fine).collect();
        assert_eq!(all.buckets.len(), 2 * LAST as usize + 1);
        assert!(all.buckets.len() * size_of::<(i16, u64)>() <= 191 << 10);
        assert_eq!(size_of::<Quantiles>(), 32);
    }

    #[test]
    fn counts_do_not_wrap() {
        let mut doubled = of(&[1.0, 2.0]);
        for _ in 0..62 {
            doubled = plus(&doubled, &doubled);
        }
        let before = doubled.clone();
        assert_eq!(doubled.clone().try_add(&doubled), Err(Overflow));
        assert_eq!(doubled, before);
        assert_eq!(doubled.count(), 1 << 63);
        assert_eq!([0.0, 0.25, 0.75, 1.0].map(|q| doubled.quantile(q)), [1.0, 1.0, 2.0, 2.0].map(Some));
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let wrong = ["[[1,0]]", "[[2,1],[1,1]]", "[[1,1],[1,1]]", "[[32767,1]]", "[[-32768,1]]"];
        for wrong in wrong.map(str::to_owned).into_iter().chain([format!("[[1,{}],[2,1]]", u64::MAX)]) {
            assert!(serde_json::from_str::<Quantiles>(&wrong).is_err(), "{wrong}");
        }
        assert_eq!(serde_json::from_str::<Quantiles>("[[1,2]]").unwrap().count(), 2);
    }
}
