//! What doors add up.

use std::collections::BTreeSet;

use differential_dataflow::ExchangeData;
use differential_dataflow::difference::{IsZero, Semigroup};
use serde::{Deserialize, Serialize};

/// A sum outgrew its type.
///
/// Sums never wrap: an operator that meets this ends the process and names the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sum does not fit its type")]
pub struct Overflow;

/// A difference that can be added up with overflow noticed; its default is zero.
///
/// Implemented for the signed integers, [`Stats`], [`Minimum`], [`Maximum`], [`Members`], [`InputCounts`], the sketches
/// [`Distinct`](super::Distinct) and [`Quantiles`](super::Quantiles), and tuples of up to four totals.
///
/// ```
/// use thalweg::data::{Overflow, Total};
/// let mut sum = (40i64, isize::MAX);
/// assert_eq!(sum.try_add(&(2, 0)), Ok(()));
/// assert_eq!(sum.try_add(&(0, 1)), Err(Overflow));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be added up by a door",
    label = "not a total",
    note = "totals are `i32`, `i64`, `i128`, `isize`, `Stats`, `Minimum`, `Maximum`, `Distinct`, `Quantiles`, and tuples of up to four of these; unsigned numbers \
            have no negation, which corrections need",
    note = "for a sum of one's own implement `Total`, which is `Default`, a `Semigroup` of differential, and `ExchangeData`"
)]
pub trait Total: Semigroup + ExchangeData + Default {
    /// Adds `other`.
    ///
    /// # Errors
    ///
    /// When the sum does not fit; then `self` is as it was, or unspecified.
    fn try_add(&mut self, other: &Self) -> Result<(), Overflow>;

    /// About how many bytes one takes, with what it owns elsewhere; what a door hands on early so that its memory is bounded is
    /// reckoned by it. As provided, what it takes by itself.
    const BYTES: usize = size_of::<Self>();

    /// Whether a sum can be undone, by adding what [`Total::invert`] makes of it. A sliding view adds what enters its window
    /// and takes away what leaves it, where it can; else it merges what the window's panes hold.
    const INVERTIBLE: bool = false;

    /// Makes of a sum the one that undoes it. Called only if [`Total::INVERTIBLE`].
    ///
    /// # Panics
    ///
    /// If there is no such sum.
    fn invert(&mut self) {
        panic!("`{}` has no inverse", std::any::type_name::<Self>());
    }
}

macro_rules! integer_total {
    ($($t:ty),*) => {$(
        impl Total for $t {
            const INVERTIBLE: bool = true;
            #[inline]
            fn invert(&mut self) {
                *self = -*self;
            }
            #[inline]
            fn try_add(&mut self, other: &Self) -> Result<(), Overflow> {
                *self = self.checked_add(*other).ok_or(Overflow)?;
                Ok(())
            }
        }
    )*};
}
integer_total!(i32, i64, i128, isize);

macro_rules! tuple_total {
    ($($t:ident $i:tt),*) => {
        impl<$($t: Total),*> Total for ($($t,)*) {
            const BYTES: usize = 0 $(+ $t::BYTES)*;
            const INVERTIBLE: bool = $($t::INVERTIBLE)&&*;
            #[inline]
            fn try_add(&mut self, other: &Self) -> Result<(), Overflow> {
                $(self.$i.try_add(&other.$i)?;)*
                Ok(())
            }
            #[inline]
            fn invert(&mut self) {
                $(self.$i.invert();)*
            }
        }
    };
}
tuple_total!(A 0, B 1);
tuple_total!(A 0, B 1, C 2);
tuple_total!(A 0, B 1, C 2, D 3);

/// The smallest of the values seen, if there is one.
///
/// ```
/// use thalweg::data::{Maximum, Minimum, Total};
/// let (mut least, mut most) = (Minimum::of(5), Maximum::of(5));
/// least.try_add(&Minimum::of(-3)).unwrap();
/// most.try_add(&Maximum::of(-3)).unwrap();
/// assert_eq!((least.0, most.0), (Some(-3), Some(5)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Minimum(pub Option<i128>);

/// The largest of the values seen, if there is one; see [`Minimum`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Maximum(pub Option<i128>);

macro_rules! extreme {
    ($($t:ident $better:path),*) => {$(
        impl $t {
            /// That of one value.
            pub fn of(value: impl Into<i128>) -> Self {
                $t(Some(value.into()))
            }
        }

        impl Total for $t {
            #[inline]
            fn try_add(&mut self, other: &Self) -> Result<(), Overflow> {
                self.plus_equals(other);
                Ok(())
            }
        }

        impl IsZero for $t {
            fn is_zero(&self) -> bool {
                self.0.is_none()
            }
        }

        impl Semigroup for $t {
            #[inline]
            fn plus_equals(&mut self, other: &Self) {
                self.0 = match (self.0, other.0) {
                    (Some(one), Some(other)) => Some($better(one, other)),
                    (one, other) => one.or(other),
                };
            }
        }
    )*};
}
extreme!(Minimum std::cmp::min, Maximum std::cmp::max);

/// The different values that were seen, all of them: exact, and as large as they are many.
///
/// ```
/// use thalweg::data::{Members, Total};
/// let mut seen: Members<u8> = [1, 2, 1].into_iter().collect();
/// seen.try_add(&[2, 3].into_iter().collect()).unwrap();
/// assert_eq!(seen.len(), 3);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Members<M: Ord>(BTreeSet<M>);

impl<M: Ord> Default for Members<M> {
    fn default() -> Self {
        Members(BTreeSet::new())
    }
}

impl<M: Ord> FromIterator<M> for Members<M> {
    fn from_iter<I: IntoIterator<Item = M>>(members: I) -> Self {
        Members(members.into_iter().collect())
    }
}

impl<M: Ord> Members<M> {
    /// Takes one more in.
    pub fn insert(&mut self, member: M) {
        self.0.insert(member);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<M: ExchangeData> Total for Members<M> {
    fn try_add(&mut self, other: &Self) -> Result<(), Overflow> {
        self.plus_equals(other);
        Ok(())
    }
}

impl<M: Ord> IsZero for Members<M> {
    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }
}

impl<M: Clone + Ord> Semigroup for Members<M> {
    fn plus_equals(&mut self, other: &Self) {
        self.0.extend(other.0.iter().cloned());
    }
}

/// Count, sum, smallest and largest of the values seen.
///
/// Values are 128 bits wide, so that neither hostile sizes near `u64::MAX` nor their sum can overflow.
///
/// Smallest and largest cannot be undone, so a `Stats` has no negation: doors count records, which are never
/// retracted. What depends on one is corrected by retracting the old row and inserting the new one.
///
/// ```
/// use thalweg::data::Stats;
/// let stats: Stats = [3, 1, 8].into_iter().collect();
/// assert_eq!((stats.count, stats.sum, stats.min, stats.max), (3, 12, Some(1), Some(8)));
/// assert_eq!(stats.mean(), Some(4.0));
/// assert_eq!(Stats::default().mean(), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stats {
    /// How many values.
    pub count: i64,
    /// Their sum.
    pub sum: i128,
    /// The smallest, if there is one.
    pub min: Option<i128>,
    /// The largest, if there is one.
    pub max: Option<i128>,
}

impl Stats {
    /// Takes one more value in.
    ///
    /// # Panics
    ///
    /// If the sum does not fit in 128 bits, which 64-bit values cannot bring about.
    #[inline]
    pub fn record(&mut self, value: impl Into<i128>) {
        let value = value.into();
        self.count += 1;
        self.sum = self.sum.checked_add(value).expect("the sum fits in 128 bits");
        self.min = Some(self.min.map_or(value, |min| min.min(value)));
        self.max = Some(self.max.map_or(value, |max| max.max(value)));
    }

    /// The mean, if there is a value.
    pub fn mean(&self) -> Option<f64> {
        (self.count != 0).then(|| self.sum as f64 / self.count as f64)
    }
}

impl FromIterator<i128> for Stats {
    fn from_iter<I: IntoIterator<Item = i128>>(values: I) -> Self {
        let mut stats = Stats::default();
        values.into_iter().for_each(|value| stats.record(value));
        stats
    }
}

impl Total for Stats {
    fn try_add(&mut self, other: &Self) -> Result<(), Overflow> {
        self.count = self.count.checked_add(other.count).ok_or(Overflow)?;
        self.sum = self.sum.checked_add(other.sum).ok_or(Overflow)?;
        self.min = self.min.into_iter().chain(other.min).min();
        self.max = self.max.max(other.max);
        Ok(())
    }
}

impl IsZero for Stats {
    fn is_zero(&self) -> bool {
        self.count == 0
    }
}

impl Semigroup for Stats {
    fn plus_equals(&mut self, other: &Self) {
        self.try_add(other).expect("statistics of 128 bits do not overflow");
    }
}

/// What became of the lines that were read.
///
/// ```
/// use thalweg::data::{InputCounts, Total};
/// let mut counts = InputCounts { lines: 2, parsed: 1, malformed: 1, ..InputCounts::default() };
/// counts.try_add(&InputCounts { lines: 1, oversize: 1, ..InputCounts::default() }).unwrap();
/// assert_eq!(counts.lines, counts.parsed + counts.malformed + counts.oversize);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InputCounts {
    /// Lines, of any kind.
    pub lines: i64,
    /// Lines that became records.
    pub parsed: i64,
    /// Lines that the format does not accept.
    pub malformed: i64,
    /// Lines longer than `--max-line`, which were skipped.
    pub oversize: i64,
    /// Bytes of the source.
    pub bytes: i64,
    /// Records that tell no time, where times are asked for: no window has them.
    pub untimed: i64,
    /// Records dated too far ahead of their arrival: they are quarantined, and no window has them.
    pub ahead: i64,
    /// Refusals of records that came too late for the window, session or other door that refused them; what two doors
    /// refuse counts twice.
    pub late: i64,
    /// Records of the lines that at least one door refused as too late.
    pub late_records: i64,
}

impl Total for InputCounts {
    fn try_add(&mut self, other: &Self) -> Result<(), Overflow> {
        let pairs = [
            (&mut self.lines, other.lines),
            (&mut self.parsed, other.parsed),
            (&mut self.malformed, other.malformed),
            (&mut self.oversize, other.oversize),
            (&mut self.bytes, other.bytes),
            (&mut self.untimed, other.untimed),
            (&mut self.ahead, other.ahead),
            (&mut self.late, other.late),
            (&mut self.late_records, other.late_records),
        ];
        for (sum, more) in pairs {
            *sum = sum.checked_add(more).ok_or(Overflow)?;
        }
        Ok(())
    }
}

impl IsZero for InputCounts {
    fn is_zero(&self) -> bool {
        *self == InputCounts::default()
    }
}

impl Semigroup for InputCounts {
    fn plus_equals(&mut self, other: &Self) {
        self.try_add(other).expect("fewer than 2^63 lines and bytes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_do_not_wrap() {
        let mut count = isize::MAX - 1;
        assert_eq!(count.try_add(&1), Ok(()));
        assert_eq!(count.try_add(&1), Err(Overflow));
        let mut pair = (0i64, i64::MIN);
        assert_eq!(pair.try_add(&(1, -1)), Err(Overflow));
    }

    #[test]
    fn stats_add_like_their_values() {
        let values = [5i128, -3, u64::MAX as i128, 0];
        for cut in 0..=values.len() {
            let mut left: Stats = values[..cut].iter().copied().collect();
            let right: Stats = values[cut..].iter().copied().collect();
            left.plus_equals(&right);
            assert_eq!(left, values.iter().copied().collect::<Stats>());
        }
    }
}
