//! How many different values there were.

use std::fmt;

use differential_dataflow::difference::{IsZero, Semigroup};
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use crate::data::sketch::Damaged;
use crate::data::{Overflow, Total};

/// About how many different values were seen: exact up to [`Distinct::EXACT`], then with a standard error of
/// [`Distinct::ERROR`].
///
/// While few, values are kept as their 64-bit hashes, sorted. Beyond that, as a HyperLogLog of 4096 one-byte registers,
/// of which each is the longest run of zeros among the hashes that fall to it. Either way the state is a function of
/// the set of hashes, see [the module](crate::door#sketches).
///
/// Memory: 24 bytes, and 8 for each value up to 512 (vectors grow by doubling); never more than 4 KiB.
///
/// The hash is XXH3, unseeded, because all processes of a run and all later runs must agree on it. Somebody who chooses
/// the values to that end can therefore make the estimate as wrong as they like: do not bill by it.
///
/// The order of two sketches is total, but means nothing.
///
/// At a door, and by hand:
///
/// ```
/// use thalweg::prelude::*;
/// use thalweg::data::Distinct;
/// let counts = thalweg::testing::collection(Text, b"ann\nbob\nann\n", |records| {
///     let visitors = records.all().approx_distinct("visitors", |record| Some(record.line()));
///     visitors.rows().map(|((), visitors)| visitors.estimate())
/// });
/// assert_eq!(counts, [(2, 1)]);
///
/// let mut visitors: Distinct = ["ann", "bob", "ann"].into_iter().collect();
/// assert_eq!(visitors.estimate(), 2);
/// visitors.try_add(&["bob", "cy"].into_iter().collect()).unwrap();
/// assert_eq!(visitors.estimate(), 3);
///
/// let many: Distinct = (0..100_000u32).map(u32::to_le_bytes).collect();
/// assert!((many.estimate() as f64 / 100_000.0 - 1.0).abs() < 3.0 * Distinct::ERROR);
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Form")]
pub struct Distinct(Form);

/// Invariant: `Few` holds up to `Distinct::EXACT` hashes, ascending; `Many` has seen more of them than that.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Form {
    Few(Vec<u64>),
    Many(Box<[u8]>),
}

/// Bits of a hash that choose the register.
const PRECISION: u32 = Distinct::PRECISION;
/// How many registers there are.
const REGISTERS: usize = 1 << PRECISION;
/// Bits of a hash that are looked at for zeros, so that ranks are from 1 to one more than these.
const RANKED: u32 = u64::BITS - PRECISION;

impl Distinct {
    /// The binary logarithm of the number of registers. A quarter of the error would cost sixteen times the memory.
    pub const PRECISION: u32 = 12;

    /// Up to so many values, the estimate is exact (unless two of them have the same 64-bit hash): as many as fit into
    /// the memory of the registers.
    pub const EXACT: usize = (1 << Self::PRECISION) / size_of::<u64>();

    /// The relative standard error above that, 1.04 / √4096: two estimates of three are nearer than this, 19 of 20
    /// nearer than twice this.
    pub const ERROR: f64 = 1.04 / 64.0;

    /// Takes a value in.
    #[inline]
    pub fn insert(&mut self, value: &[u8]) {
        self.insert_hash(Distinct::hash(value));
    }

    /// The hash of a value, for [`Distinct::insert_hash`].
    #[inline]
    pub fn hash(value: &[u8]) -> u64 {
        XxHash3_64::oneshot(value)
    }

    /// Takes the value in of which this is the hash.
    ///
    /// All 64 bits must be evenly spread, and the hash the same function in every process and release:
    /// [`Distinct::hash`], or one of one's own for all values.
    #[inline]
    pub fn insert_hash(&mut self, hash: u64) {
        match &mut self.0 {
            Form::Many(registers) => raise(registers, hash),
            Form::Few(hashes) => {
                if let Err(place) = hashes.binary_search(&hash) {
                    hashes.insert(place, hash);
                    self.widen();
                }
            }
        }
    }

    /// About how many different values were taken in.
    pub fn estimate(&self) -> u64 {
        match &self.0 {
            Form::Few(hashes) => hashes.len() as u64,
            // Fewer are impossible, whatever the registers say.
            Form::Many(registers) => (harmonic(registers).round() as u64).max(Self::EXACT as u64 + 1),
        }
    }

    /// From hashes to registers, if there are too many.
    fn widen(&mut self) {
        if let Form::Few(hashes) = &self.0
            && hashes.len() > Self::EXACT
        {
            let mut registers = vec![0; REGISTERS].into_boxed_slice();
            hashes.iter().for_each(|hash| raise(&mut registers, *hash));
            self.0 = Form::Many(registers);
        }
    }
}

#[inline]
fn raise(registers: &mut [u8], hash: u64) {
    let register = &mut registers[(hash >> RANKED) as usize];
    // The bit below those that are ranked ends the run.
    let ranked = hash << PRECISION | 1 << (PRECISION - 1);
    *register = (*register).max(ranked.leading_zeros() as u8 + 1);
}

/// The estimate of Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog sketches", arXiv:1702.01284,
/// algorithm 6: without bias from one value to 2^64 and without tables of corrections.
///
/// It looks at how many registers have each rank, not at which, and it only multiplies, adds and takes square roots,
/// which IEEE 754 rounds alike everywhere.
fn harmonic(registers: &[u8]) -> f64 {
    const TOP: usize = RANKED as usize + 1;
    let mut having = [0u32; TOP + 1];
    registers.iter().for_each(|rank| having[usize::from(*rank).min(TOP)] += 1);
    let size = REGISTERS as f64;
    let mut sum = size * tau(1.0 - f64::from(having[TOP]) / size);
    for count in having[1..TOP].iter().rev() {
        sum = 0.5 * (sum + f64::from(*count));
    }
    sum += size * sigma(f64::from(having[0]) / size);
    size * size / (2.0 * std::f64::consts::LN_2 * sum)
}

/// x + Σ x^(2^k) 2^(k-1), for registers that are still zero.
fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut weight, mut sum) = (1.0, x);
    loop {
        let before = sum;
        x *= x;
        sum += x * weight;
        weight += weight;
        if sum == before {
            return sum;
        }
    }
}

/// (1 - x - Σ (1 - x^(2^-k))² 2^-k) / 3, for registers that cannot rise further.
fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut weight, mut sum) = (1.0, 1.0 - x);
    loop {
        let before = sum;
        x = x.sqrt();
        weight *= 0.5;
        sum -= (1.0 - x) * (1.0 - x) * weight;
        if sum == before {
            return sum / 3.0;
        }
    }
}

impl Default for Distinct {
    fn default() -> Self {
        Distinct(Form::Few(Vec::new()))
    }
}

impl fmt::Debug for Distinct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Distinct").field("estimate", &self.estimate()).finish_non_exhaustive()
    }
}

impl<T: AsRef<[u8]>> FromIterator<T> for Distinct {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut distinct = Distinct::default();
        values.into_iter().for_each(|value| distinct.insert(value.as_ref()));
        distinct
    }
}

impl Total for Distinct {
    const BYTES: usize = size_of::<Self>() + REGISTERS;
    /// As if the values of `other` were taken in, too; never fails.
    fn try_add(&mut self, other: &Self) -> Result<(), Overflow> {
        self.plus_equals(other);
        Ok(())
    }
}

impl IsZero for Distinct {
    fn is_zero(&self) -> bool {
        matches!(&self.0, Form::Few(hashes) if hashes.is_empty())
    }
}

impl Semigroup for Distinct {
    fn plus_equals(&mut self, other: &Self) {
        match (&mut self.0, &other.0) {
            (Form::Few(ours), Form::Few(theirs)) => {
                ours.extend_from_slice(theirs);
                // Two ascending runs: the stable sort finds and merges them in linear time.
                ours.sort();
                ours.dedup();
                ours.shrink_to(Self::EXACT);
                self.widen();
            }
            (Form::Few(ours), Form::Many(theirs)) => {
                let mut registers = theirs.clone();
                ours.iter().for_each(|hash| raise(&mut registers, *hash));
                self.0 = Form::Many(registers);
            }
            (Form::Many(ours), Form::Few(theirs)) => theirs.iter().for_each(|hash| raise(ours, *hash)),
            (Form::Many(ours), Form::Many(theirs)) => {
                ours.iter_mut().zip(theirs).for_each(|(our, their)| *our = (*our).max(*their));
            }
        }
    }
}

impl TryFrom<Form> for Distinct {
    type Error = Damaged;

    fn try_from(form: Form) -> Result<Self, Damaged> {
        let damaged = |what| Err(Damaged("distinct count", what));
        match &form {
            Form::Few(hashes) if hashes.len() > Self::EXACT => damaged("too many hashes"),
            Form::Few(hashes) if !hashes.is_sorted_by(|a, b| a < b) => damaged("hashes out of order"),
            Form::Many(registers) if registers.len() != REGISTERS => damaged("another number of registers"),
            Form::Many(registers) if registers.iter().any(|rank| u32::from(*rank) > RANKED + 1) => {
                damaged("a register beyond its range")
            }
            Form::Few(_) | Form::Many(_) => Ok(Distinct(form)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(hashes: &[u64]) -> Distinct {
        let mut distinct = Distinct::default();
        hashes.iter().for_each(|hash| distinct.insert_hash(*hash));
        distinct
    }

    fn plus(a: &Distinct, b: &Distinct) -> Distinct {
        let mut sum = a.clone();
        assert_eq!(sum.try_add(b), Ok(()));
        sum
    }

    fn bytes(distinct: &Distinct) -> Vec<u8> {
        serde_json::to_vec(distinct).unwrap()
    }

    /// Sets from a few to far more than are exact, and some that straddle the edge; with repetitions.
    fn hashes() -> impl Strategy<Value = Vec<u64>> {
        let any = prop_oneof![any::<u64>(), 0..300u64, (0..64u32).prop_map(|bit| 1 << bit)];
        prop_oneof![prop::collection::vec(any.clone(), 0..20), prop::collection::vec(any, 200..900)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_function_of_the_set_alone(seen in hashes(), mut cuts in prop::collection::vec(0..900usize, 3)) {
            let whole = of(&seen);
            let mut sorted = seen.clone();
            sorted.sort_unstable();
            prop_assert_eq!(bytes(&of(&sorted)), bytes(&whole), "the order does not matter");
            sorted.dedup();
            prop_assert_eq!(bytes(&of(&sorted)), bytes(&whole), "nor do repetitions");

            cuts.iter_mut().for_each(|cut| *cut = (*cut).min(seen.len()));
            cuts.sort_unstable();
            let [a, b, c, d] =
                [&seen[..cuts[0]], &seen[cuts[0]..cuts[1]], &seen[cuts[1]..cuts[2]], &seen[cuts[2]..]].map(of);
            for merged in [plus(&plus(&plus(&a, &b), &c), &d), plus(&plus(&d, &b), &plus(&c, &a))] {
                prop_assert_eq!(bytes(&merged), bytes(&whole), "nor how it was shared out and merged");
                prop_assert!(merged == whole && merged.cmp(&whole).is_eq());
            }
            prop_assert_eq!(plus(&whole, &whole), whole.clone());
            prop_assert_eq!(plus(&whole, &Distinct::default()), whole.clone());
            prop_assert_eq!(plus(&Distinct::default(), &whole), whole.clone());
            prop_assert_eq!(whole.is_zero(), seen.is_empty());
            prop_assert_eq!(serde_json::from_slice::<Distinct>(&bytes(&whole)).unwrap(), whole);
        }

        #[test]
        fn no_hash_panics(hash: u64) {
            let mut all: Distinct = (0..1000u16).map(u16::to_le_bytes).collect();
            all.insert_hash(hash);
            let bits = [0, u64::MAX, hash].map(|hash| of(&[hash]).estimate());
            prop_assert_eq!(bits, [1, 1, 1]);
            prop_assert!(all.estimate() > 512);
        }
    }

    #[test]
    fn exact_while_few_and_near_beyond() {
        const STEPS: [u64; 7] = [513, 1_000, 3_000, 10_000, 30_000, 100_000, 1_000_000];
        let mut squares = [(0.0, 0.0); STEPS.len()];
        for trial in 0..24u64 {
            let steps = if trial < 3 { 7 } else { 6 };
            let mut distinct = Distinct::default();
            for value in 1..=STEPS[steps - 1] {
                distinct.insert(format!("{trial}/{value}").as_bytes());
                if value <= Distinct::EXACT as u64 {
                    assert_eq!(distinct.estimate(), value);
                }
                if let Some(step) = STEPS.iter().position(|step| *step == value) {
                    let error = distinct.estimate() as f64 / value as f64 - 1.0;
                    assert!(error.abs() < 3.5 * Distinct::ERROR, "{error} off at {value}, trial {trial}");
                    squares[step].0 += error * error;
                    squares[step].1 += 1.0;
                }
            }
        }
        for (value, (sum, trials)) in STEPS.into_iter().zip(squares) {
            let error = f64::sqrt(sum / trials);
            assert!(error < 1.25 * Distinct::ERROR, "standard error {error} at {value}");
        }
    }

    /// The state is durable: another hash function, or another use of it, would make a new release misread it.
    #[test]
    fn the_hash_stays_what_it_is() {
        let one: Distinct = ["thalweg"].into_iter().collect();
        assert_eq!(String::from_utf8(bytes(&one)).unwrap(), r#"{"Few":[7661062464049342249]}"#);
        let many: Distinct = (0..2000u32).map(u32::to_le_bytes).collect();
        assert_eq!(XxHash3_64::oneshot(&bytes(&many)), 8_327_502_278_067_391_761);
        // XXH3's own test vector for no input.
        assert_eq!(XxHash3_64::oneshot(b""), 0x2d06_8005_38d3_94c2);
    }

    #[test]
    fn small_and_bounded() {
        assert_eq!(size_of::<Distinct>(), 24);
        let values = |range: std::ops::Range<u32>| range.map(u32::to_le_bytes).collect::<Distinct>();
        let full = plus(&values(0..400), &values(200..512));
        let Form::Few(hashes) = &full.0 else { panic!("512 values are few") };
        assert_eq!((hashes.len(), hashes.capacity()), (512, 512));
        assert!(matches!(values(0..513).0, Form::Many(registers) if registers.len() == 4096));
    }

    #[test]
    fn registers_at_their_ends_give_an_estimate() {
        let all = |rank: u8| Distinct(Form::Many(vec![rank; REGISTERS].into()));
        assert_eq!(all(0).estimate(), 513);
        assert_eq!(all(53).estimate(), u64::MAX);
        let rising: Vec<u64> = (0..=53).map(|rank| all(rank).estimate()).collect();
        assert!(rising.is_sorted());
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let many = |rank: u8, length| serde_json::to_string(&Form::Many(vec![rank; length].into())).unwrap();
        let few = serde_json::to_string(&Form::Few((0..513).collect())).unwrap();
        let wrong =
            [many(54, 4096), many(1, 4095), few, r#"{"Few":[2,1]}"#.into(), r#"{"Few":[1,1]}"#.into()];
        for wrong in wrong {
            assert!(serde_json::from_str::<Distinct>(&wrong).is_err());
        }
        assert!(serde_json::from_str::<Distinct>(&many(53, 4096)).is_ok());
    }
}
