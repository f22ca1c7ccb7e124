//! How large the values were.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use differential_dataflow::difference::{IsZero, Semigroup};
use hdrhistogram::Histogram;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::data::sketch::Damaged;
use crate::data::{Overflow, Total};

/// Any quantile of the values seen, each within [`Quantiles::ERROR`] of a value that was there.
///
/// Values are whole numbers without a sign, in whatever unit: bytes, milliseconds, lines. This is an HDR histogram of
/// two significant digits from the package `hdrhistogram`: every value is rounded down to its eight leading bits, and
/// how often each rounded value occurs is counted. So values below 256 are exact, and no value is too large. The state
/// is a function of the multiset of rounded values, see [the module](crate::door#sketches).
///
/// Memory: 8 bytes while empty. Then it goes by the largest value, however few there are: 2 KiB up to 255, and 1 KiB
/// for each doubling above, which makes 14 KiB up to 10^6, 24 KiB up to 10^9, and at worst 58 KiB; what has grown may
/// hold twice that. So mind the product of keys and panes. Exchanged and stored, a sketch is 16 bytes for each rounded
/// value that occurs.
///
/// The order of two sketches is total, but means nothing.
///
/// At a door, and by hand:
///
/// ```
/// use std::time::Duration;
/// use thalweg::prelude::*;
/// // When (in seconds), which page, and how long it took (in milliseconds).
/// let lines = b"1 / 12\n2 / 15\n3 / 900\n4 /cart 7\n61 / 14\n";
/// let minutes = Window::tumbling(Duration::from_secs(60)).unwrap();
/// let medians = thalweg::testing::collection(Text, lines, move |records| {
///     fn field(line: &[u8], place: usize) -> Option<&[u8]> {
///         line.split(|byte| *byte == b' ').nth(place)
///     }
///     fn number(field: &[u8]) -> Option<u64> {
///         std::str::from_utf8(field).ok()?.parse().ok()
///     }
///     let records = records.event_time(|record| i64::try_from(number(field(record.line(), 0)?)?).ok()?.checked_mul(1000));
///     let times = records.by(text("page"), |record| field(record.line(), 1)).by_window(minutes);
///     times.quantiles("times", |record| field(record.line(), 2).and_then(number)).rows().map(|(window, page, times)| (window.start.0, page, times.quantile(0.5)))
/// });
/// let median = |start, page, median| ((start, Bytes::from(page), Some(median)), 1);
/// assert_eq!(medians, [median(0, "/", 15), median(0, "/cart", 7), median(60_000, "/", 14)]);
///
/// let mut times: Quantiles = (1..=100).collect();
/// assert_eq!(times.quantile(0.99), Some(99));
/// times.try_add(&(101..=10_000).collect()).unwrap();
/// assert_eq!(times.count(), 10_000);
/// let p99 = times.quantile(0.99).unwrap();
/// assert!((p99 as f64 - 9_900.0).abs() <= Quantiles::ERROR * 9_900.0);
/// assert_eq!(Quantiles::default().quantile(0.5), None);
/// ```
#[derive(Clone, Default)]
pub struct Quantiles(
    /// Not there while empty. Two with the same counts may have different lengths and different ideas of their largest
    /// value, because those tell how they grew: nothing may depend on either, so the package's own `==` will not do.
    Option<Box<Histogram<u64>>>,
);

/// An empty histogram that grows as its values do.
fn growing() -> Histogram<u64> {
    Histogram::new(Quantiles::DIGITS).expect("two digits are within 0 to 5")
}

impl Quantiles {
    /// Significant decimal digits that the histogram keeps. A third would cost eight times the memory.
    pub const DIGITS: u8 = 2;

    /// The largest relative error of a quantile: two digits take eight bits, values that differ in later ones only are
    /// less than 1/128 apart, and the middle of them is told.
    pub const ERROR: f64 = 1.0 / 256.0;

    /// Takes one more value in.
    ///
    /// # Panics
    ///
    /// If there are 2^64 values, which taking them in one by one cannot bring about.
    #[inline]
    pub fn record(&mut self, value: u64) {
        self.record_many(value, 1).expect("fewer than 2^64 values");
    }

    /// Takes a value in `count` times over, for which there must be room: the histogram would stop counting in silence.
    #[inline]
    fn record_many(&mut self, value: u64, count: u64) -> Result<(), Overflow> {
        self.count().checked_add(count).ok_or(Overflow)?;
        let seen = self.0.get_or_insert_with(|| Box::new(growing()));
        seen.record_n(value, count).expect("any value has a place, of a few thousand");
        Ok(())
    }

    /// How many values were taken in.
    #[inline]
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, |seen| seen.len())
    }

    /// The value that `q` (from 0, the smallest, to 1, the largest; 0.5 is the median) of the values do not exceed: the
    /// ⌈q count⌉-th smallest, or one within [`Quantiles::ERROR`] of it, namely the middle (rounded up) of the values that
    /// are not told apart from it.
    ///
    /// `None` if there are no values, or `q` is not from 0 to 1. [`Stats`](crate::data::Stats) knows the smallest and
    /// the largest exactly.
    pub fn quantile(&self, q: f64) -> Option<u64> {
        let seen = self.0.as_deref()?;
        if !(0.0..=1.0).contains(&q) {
            return None;
        }
        // Not the last by its number: beyond 2^53 that can be rounded up past the count, and then the package says 0.
        let value = if q == 1.0 { seen.max() } else { seen.value_at_quantile(q) };
        Some(seen.median_equivalent(value))
    }

    /// The rounded values that occur, ascending, with how often they do. This is all that there is to a sketch.
    fn counts(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().flat_map(|seen| {
            let rounded = |value| seen.lowest_equivalent(value);
            seen.iter_recorded().map(move |step| (rounded(step.value_iterated_to()), step.count_at_value()))
        })
    }
}

impl FromIterator<u64> for Quantiles {
    fn from_iter<I: IntoIterator<Item = u64>>(values: I) -> Self {
        let mut quantiles = Quantiles::default();
        values.into_iter().for_each(|value| quantiles.record(value));
        quantiles
    }
}

impl fmt::Debug for Quantiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let median = self.quantile(0.5);
        f.debug_struct("Quantiles")
            .field("count", &self.count())
            .field("median", &median)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Quantiles {
    fn eq(&self, other: &Self) -> bool {
        self.count() == other.count() && self.counts().eq(other.counts())
    }
}

impl Eq for Quantiles {}

impl PartialOrd for Quantiles {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantiles {
    fn cmp(&self, other: &Self) -> Ordering {
        self.count().cmp(&other.count()).then_with(|| self.counts().cmp(other.counts()))
    }
}

impl Hash for Quantiles {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The sum of the counts says where they end.
        self.count().hash(state);
        self.counts().for_each(|count| count.hash(state));
    }
}

impl Total for Quantiles {
    /// With values from milliseconds to minutes: two thousand places.
    const BYTES: usize = size_of::<Self>() + (16 << 10);
    /// As if the values of `other` were taken in, too.
    ///
    /// # Errors
    ///
    /// When there would be 2^64 values or more; then `self` is as it was.
    fn try_add(&mut self, other: &Self) -> Result<(), Overflow> {
        self.count().checked_add(other.count()).ok_or(Overflow)?;
        match (&mut self.0, &other.0) {
            (_, None) => {}
            (ours @ None, theirs) => ours.clone_from(theirs),
            // No count overflows, because their sum does not.
            (Some(ours), Some(theirs)) => {
                ours.add(&**theirs).expect("any value has a place, of a few thousand")
            }
        }
        Ok(())
    }
}

impl IsZero for Quantiles {
    fn is_zero(&self) -> bool {
        self.count() == 0
    }
}

impl Semigroup for Quantiles {
    fn plus_equals(&mut self, other: &Self) {
        self.try_add(other).expect("fewer than 2^64 values");
    }
}

impl Serialize for Quantiles {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // What is exchanged between processes must say its length first.
        self.counts().collect::<Vec<_>>().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Quantiles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let counts = Vec::<(u64, u64)>::deserialize(deserializer)?;
        let damaged = |what| D::Error::custom(Damaged("quantile sketch", what));
        if !counts.is_sorted_by(|(a, _), (b, _)| a < b) {
            return Err(damaged("values out of order"));
        }
        let mut quantiles = Quantiles::default();
        // The largest first, so that it grows once.
        for (value, count) in counts.into_iter().rev() {
            if count == 0 {
                return Err(damaged("a value that does not occur"));
            }
            quantiles.record_many(value, count).map_err(|Overflow| damaged("too many values"))?;
            if quantiles.0.as_ref().is_some_and(|seen| seen.lowest_equivalent(value) != value) {
                return Err(damaged("a value that is not rounded"));
            }
        }
        Ok(quantiles)
    }
}

#[cfg(test)]
mod tests {
    use std::hash::DefaultHasher;

    use proptest::prelude::*;

    use super::*;

    fn of(values: &[u64]) -> Quantiles {
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

    fn parsed(json: &str) -> Result<Quantiles, serde_json::Error> {
        serde_json::from_str(json)
    }

    fn hash(quantiles: &Quantiles) -> u64 {
        let mut hasher = DefaultHasher::new();
        quantiles.hash(&mut hasher);
        hasher.finish()
    }

    /// The one that a quantile may be off.
    fn exact(sorted: &[u64], q: f64) -> Option<u64> {
        let rank = (q * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.max(1) - 1).copied()
    }

    fn near(estimate: u64, exact: u64) -> bool {
        // Without rounding: the difference is at most a 256th.
        u128::from(estimate.abs_diff(exact)) * 256 <= u128::from(exact)
    }

    fn value() -> impl Strategy<Value = u64> {
        // Any magnitude, and the ends of the largest.
        let any = (0..64u32, any::<u64>()).prop_map(|(shift, bits)| bits >> shift);
        prop_oneof![4 => any, 1 => 0..600u64, 1 => (0..3u64).prop_map(|less| u64::MAX - less)]
    }

    fn values() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::vec(value(), 0..200)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn a_function_of_the_multiset_alone(seen in values(), mut cuts in prop::collection::vec(0..200usize, 3)) {
            let whole = of(&seen);
            let mut sorted = seen.clone();
            sorted.sort_unstable();
            prop_assert_eq!(bytes(&of(&sorted)), bytes(&whole), "the order does not matter");

            cuts.iter_mut().for_each(|cut| *cut = (*cut).min(seen.len()));
            cuts.sort_unstable();
            let [a, b, c, d] =
                [&seen[..cuts[0]], &seen[cuts[0]..cuts[1]], &seen[cuts[1]..cuts[2]], &seen[cuts[2]..]].map(of);
            let again: Quantiles = serde_json::from_slice(&bytes(&whole)).unwrap();
            for same in [
                plus(&plus(&plus(&a, &b), &c), &d),
                plus(&plus(&d, &b), &plus(&c, &a)),
                plus(&whole, &Quantiles::default()),
                plus(&Quantiles::default(), &whole),
                again,
            ] {
                prop_assert_eq!(bytes(&same), bytes(&whole), "nor how it was shared out, merged and stored");
                prop_assert_eq!(&same, &whole);
                prop_assert_eq!(same.cmp(&whole), Ordering::Equal);
                prop_assert_eq!(hash(&same), hash(&whole));
                for q in [0.0, 0.3, 1.0] {
                    prop_assert_eq!(same.quantile(q), whole.quantile(q));
                }
            }
            prop_assert_eq!(whole.is_zero(), whole == Quantiles::default());
        }

        #[test]
        fn near_the_exact_quantiles(mut seen in values(), q in 0.0..=1.0f64) {
            let quantiles = of(&seen);
            seen.sort_unstable();
            prop_assert_eq!(quantiles.count(), seen.len() as u64);
            for q in [q, 0.0, 0.5, 0.99, 1.0] {
                let (estimate, exact) = (quantiles.quantile(q), exact(&seen, q));
                prop_assert_eq!(estimate.is_some(), exact.is_some());
                if let (Some(estimate), Some(exact)) = (estimate, exact) {
                    prop_assert!(near(estimate, exact), "{} for {} at {}", estimate, exact, q);
                }
            }
        }

        #[test]
        fn what_differs_is_unequal_and_ordered(
            few in prop::array::uniform3(prop::collection::vec(254..260u64, 0..3)),
        ) {
            let [a, b, c] = few.map(|values| of(&values));
            prop_assert_eq!(a == b, bytes(&a) == bytes(&b));
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a.cmp(&b) == Ordering::Equal, a == b);
            prop_assert!(a > b || b > c || a <= c);
        }

        #[test]
        fn whatever_bytes_say_is_a_sketch_or_refused(
            mut counts in prop::collection::vec((prop_oneof![value(), 0..256u64], value()), 0..4),
        ) {
            counts.sort_unstable();
            let json = serde_json::to_string(&counts).unwrap();
            if let Ok(quantiles) = parsed(&json) {
                prop_assert_eq!(serde_json::to_string(&quantiles).unwrap(), json);
                prop_assert!([0.0, 0.5, 1.0].iter().all(|q| quantiles.quantile(*q).is_some() != counts.is_empty()));
            }
        }
    }

    #[test]
    fn a_hundred_thousand_values_of_a_long_tail() {
        // Evenly spread logarithms from 1 to 10^9, in an order that is not sorted.
        let values: Vec<u64> = (0..100_000u64)
            .map(|i| {
                10f64.powf(9.0 * (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64 / 2f64.powi(53)) as u64
            })
            .collect();
        let quantiles = of(&values);
        let mut sorted = values;
        sorted.sort_unstable();
        for thousandth in 0..=1000 {
            let q = f64::from(thousandth) / 1000.0;
            let (estimate, exact) = (quantiles.quantile(q).unwrap(), exact(&sorted, q).unwrap());
            assert!(near(estimate, exact), "{estimate} for {exact} at {q}");
        }
    }

    #[test]
    fn small_numbers_are_exact_and_the_error_is_reached() {
        for whole in 0..256 {
            assert_eq!(of(&[whole]).quantile(0.5), Some(whole));
        }
        let estimate = of(&[256]).quantile(0.5).unwrap();
        assert_eq!(estimate.abs_diff(256) as f64 / 256.0, Quantiles::ERROR);
        let ends = of(&[0, u64::MAX]);
        assert_eq!(ends.quantile(0.0), Some(0));
        assert!([f64::NAN, -0.1, 1.1, f64::INFINITY].iter().all(|q| ends.quantile(*q).is_none()));
    }

    #[test]
    fn memory_is_what_the_documentation_says() {
        let kibibytes = |largest: u64| {
            let seen = of(&[largest]).0.unwrap();
            seen.distinct_values() * size_of::<u64>() / 1024
        };
        assert_eq!([255, 511, 1_000_000, 1_000_000_000, u64::MAX].map(kibibytes), [2, 3, 14, 24, 58]);
        assert_eq!(size_of::<Quantiles>(), 8);
        assert!(Quantiles::default().0.is_none() && of(&[]).0.is_none());
        assert!(plus(&Quantiles::default(), &Quantiles::default()).0.is_none());
    }

    #[test]
    fn counts_do_not_wrap() {
        let mut doubled = of(&[1, 2]);
        for _ in 0..62 {
            doubled = plus(&doubled, &doubled);
        }
        let before = doubled.clone();
        assert_eq!(doubled.try_add(&before), Err(Overflow));
        assert_eq!(doubled, before);
        assert_eq!(doubled.count(), 1 << 63);
        assert_eq!([0.0, 0.25, 0.75, 1.0].map(|q| doubled.quantile(q)), [1, 1, 2, 2].map(Some));
    }

    #[test]
    fn the_last_is_found_however_many_there_are() {
        // As floating-point numbers, each of these counts is larger than it is, or as large.
        for many in [(1 << 53) + 2, (1 << 54) + 2, (1 << 60) - 2, u64::MAX - 1] {
            let quantiles = parsed(&format!("[[1,1],[200,{many}]]")).unwrap();
            for q in [1.0, 1.0f64.next_down(), 0.5] {
                assert_eq!(quantiles.quantile(q), Some(200), "{many} at {q}");
            }
        }
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let wrong = ["[[1,0]]", "[[2,1],[1,1]]", "[[1,1],[1,1]]", "[[257,1]]", "[[-1,1]]", "[[1,-1]]", "[1]"];
        for wrong in wrong.map(str::to_owned).into_iter().chain([format!("[[1,{}],[2,1]]", u64::MAX)]) {
            assert!(parsed(&wrong).is_err(), "{wrong}");
        }
        assert_eq!(parsed("[[256,2]]").unwrap(), of(&[256, 257]));
        assert_eq!(parsed("[]").unwrap(), Quantiles::default());
    }
}
