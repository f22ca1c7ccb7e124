//! The axis of *what*: what a door adds up of the records of a key.
//!
//! There is one implementation of each, whatever the *when* ([`super::when`]).

use std::marker::PhantomData;

use crate::data::{Distinct, Maximum, Minimum, Quantiles, Row, Stats, Stored, Total};
use crate::door::Parsed;
use crate::format::Format;

/// What is added up of records of format `F`.
pub trait What<F: Format>: 'static {
    /// What it adds up to.
    type Sum: Total + Stored;
    /// What it takes from a record, before it is known to which sums that is to be added.
    type Input: Copy;

    /// What there is to add of `record`; `None` if there is nothing.
    fn input(&self, record: &Parsed<'_, F>) -> Option<Self::Input>;

    /// Adds it.
    fn add(&self, record: &Parsed<'_, F>, input: Self::Input, sum: &mut Self::Sum);
}

/// How many records.
#[derive(Clone, Copy, Debug)]
pub struct Count;

impl<F: Format> What<F> for Count {
    type Sum = isize;
    type Input = ();

    #[inline]
    fn input(&self, _: &Parsed<'_, F>) -> Option<()> {
        Some(())
    }

    #[inline]
    fn add(&self, _: &Parsed<'_, F>, (): (), sum: &mut isize) {
        *sum += 1;
    }
}

/// How many of the records that are such as `L` says.
#[derive(Clone, Copy, Debug)]
pub struct CountIf<L>(L);

impl<F, L> What<F> for CountIf<L>
where
    F: Format,
    L: for<'a> Fn(&Parsed<'a, F>) -> bool + 'static,
{
    type Sum = isize;
    type Input = ();

    #[inline]
    fn input(&self, record: &Parsed<'_, F>) -> Option<()> {
        (self.0)(record).then_some(())
    }

    #[inline]
    fn add(&self, _: &Parsed<'_, F>, (): (), sum: &mut isize) {
        *sum += 1;
    }
}

/// What numbers add up to.
pub trait OfNumbers: Total + Stored {
    /// Takes one more in.
    fn take(&mut self, number: i128);
}

impl OfNumbers for i128 {
    #[inline]
    fn take(&mut self, number: i128) {
        *self = self.checked_add(number).expect("the sum of an epoch fits in 128 bits");
    }
}

impl OfNumbers for Minimum {
    #[inline]
    fn take(&mut self, number: i128) {
        self.0 = Some(self.0.map_or(number, |least| least.min(number)));
    }
}

impl OfNumbers for Maximum {
    #[inline]
    fn take(&mut self, number: i128) {
        self.0 = Some(self.0.map_or(number, |most| most.max(number)));
    }
}

impl OfNumbers for Stats {
    #[inline]
    fn take(&mut self, number: i128) {
        self.record(number);
    }
}

impl OfNumbers for Quantiles {
    #[inline]
    fn take(&mut self, number: i128) {
        // Its doors take numbers of 64 bits without a sign.
        self.record(u64::try_from(number).unwrap_or(if number < 0 { 0 } else { u64::MAX }));
    }
}

/// A number of each record, added to a sum of type `A`.
#[derive(Clone, Copy, Debug)]
pub struct Number<L, A> {
    value: L,
    sum: PhantomData<fn() -> A>,
}

impl<L, A> Number<L, A> {
    pub(crate) fn new(value: L) -> Self {
        Number { value, sum: PhantomData }
    }
}

impl<F, V, L, A> What<F> for Number<L, A>
where
    F: Format,
    V: Into<i128>,
    L: for<'a> Fn(&Parsed<'a, F>) -> Option<V> + 'static,
    A: OfNumbers,
{
    type Sum = A;
    type Input = i128;

    #[inline]
    fn input(&self, record: &Parsed<'_, F>) -> Option<i128> {
        (self.value)(record).map(Into::into)
    }

    #[inline]
    fn add(&self, _: &Parsed<'_, F>, input: i128, sum: &mut A) {
        sum.take(input);
    }
}

/// A fold of one's own.
#[derive(Clone, Copy, Debug)]
pub struct Fold<L, A> {
    logic: L,
    sum: PhantomData<fn() -> A>,
}

impl<F, L, A> What<F> for Fold<L, A>
where
    F: Format,
    L: for<'a> Fn(&Parsed<'a, F>, &mut A) + 'static,
    A: Total + Stored,
{
    type Sum = A;
    type Input = ();

    #[inline]
    fn input(&self, _: &Parsed<'_, F>) -> Option<()> {
        Some(())
    }

    #[inline]
    fn add(&self, record: &Parsed<'_, F>, (): (), sum: &mut A) {
        (self.logic)(record, sum);
    }
}

impl<L, A> Fold<L, A> {
    pub(crate) fn new(logic: L) -> Self {
        Fold { logic, sum: PhantomData }
    }
}

macro_rules! several {
    ($($w:ident $i:tt),*) => {
        impl<F: Format, $($w: What<F>),*> What<F> for ($($w,)*) {
            type Sum = ($($w::Sum,)*);
            type Input = ($(Option<$w::Input>,)*);

            #[inline]
            fn input(&self, record: &Parsed<'_, F>) -> Option<Self::Input> {
                let input = ($(self.$i.input(record),)*);
                let some = $(input.$i.is_some())||*;
                some.then_some(input)
            }

            #[inline]
            fn add(&self, record: &Parsed<'_, F>, input: Self::Input, sum: &mut Self::Sum) {
                $(if let Some(input) = input.$i {
                    self.$i.add(record, input, &mut sum.$i);
                })*
            }
        }
    };
}
several!(A 0, B 1);
several!(A 0, B 1, C 2);
several!(A 0, B 1, C 2, D 3);

/// Several aggregates at once, one behind the other: what [`Grouped::aggregate`](super::Grouped::aggregate) is given to add to.
///
/// One is what it is, two to four are a tuple.
#[derive(Debug)]
pub struct Aggregates<F, W> {
    pub(crate) what: W,
    pub(crate) names: Vec<String>,
    format: PhantomData<fn() -> F>,
}

impl<F: Format> Aggregates<F, ()> {
    pub(crate) fn new() -> Self {
        Aggregates { what: (), names: Vec::new(), format: PhantomData }
    }
}

/// What stands before another aggregate: none, or up to three.
pub trait Before<W> {
    /// All of them.
    type All;
    /// With one more behind.
    fn and(self, more: W) -> Self::All;
}

impl<W> Before<W> for () {
    type All = W;
    fn and(self, more: W) -> W {
        more
    }
}

macro_rules! before {
    ($($one:ty, [$($g:ident),*]);*) => {$(
        impl<W, $($g),*> Before<W> for $one {
            type All = ($one, W);
            fn and(self, more: W) -> ($one, W) {
                (self, more)
            }
        }
    )*};
}
before!(Count, []; CountIf<L>, [L]; Number<L, S>, [L, S]; Fold<L, S>, [L, S]; Sketched<L>, [L]);

impl<W, A, B> Before<W> for (A, B) {
    type All = (A, B, W);
    fn and(self, more: W) -> Self::All {
        (self.0, self.1, more)
    }
}

impl<W, A, B, C> Before<W> for (A, B, C) {
    type All = (A, B, C, W);
    fn and(self, more: W) -> Self::All {
        (self.0, self.1, self.2, more)
    }
}

/// `name` in front of the parts of a column that is several: `size_min`.
fn parts<A: Row>(name: &str) -> impl Iterator<Item = String> {
    A::names()
        .iter()
        .map(move |part| if name.is_empty() { (*part).to_owned() } else { format!("{name}_{part}") })
}

impl<F: Format, W> Aggregates<F, W> {
    fn and<M>(mut self, names: impl IntoIterator<Item = String>, more: M) -> Aggregates<F, W::All>
    where
        W: Before<M>,
    {
        self.names.extend(names);
        Aggregates { what: self.what.and(more), names: self.names, format: PhantomData }
    }

    /// How many records, in a column of this name.
    pub fn count(self, name: &str) -> Aggregates<F, W::All>
    where
        W: Before<Count>,
    {
        self.and([name.to_owned()], Count)
    }

    /// How many of the records that `which` says yes to.
    pub fn count_if<L>(self, name: &str, which: L) -> Aggregates<F, W::All>
    where
        L: for<'a> Fn(&Parsed<'a, F>) -> bool + 'static,
        W: Before<CountIf<L>>,
    {
        self.and([name.to_owned()], CountIf(which))
    }

    /// What `value` says, added up.
    pub fn sum<V: Into<i128>, L>(self, name: &str, value: L) -> Aggregates<F, W::All>
    where
        L: for<'a> Fn(&Parsed<'a, F>) -> Option<V> + 'static,
        W: Before<Number<L, i128>>,
    {
        self.and([name.to_owned()], Number::new(value))
    }

    /// The smallest that `value` says.
    pub fn min<V: Into<i128>, L>(self, name: &str, value: L) -> Aggregates<F, W::All>
    where
        L: for<'a> Fn(&Parsed<'a, F>) -> Option<V> + 'static,
        W: Before<Number<L, Minimum>>,
    {
        self.and([name.to_owned()], Number::new(value))
    }

    /// The largest that `value` says.
    pub fn max<V: Into<i128>, L>(self, name: &str, value: L) -> Aggregates<F, W::All>
    where
        L: for<'a> Fn(&Parsed<'a, F>) -> Option<V> + 'static,
        W: Before<Number<L, Maximum>>,
    {
        self.and([name.to_owned()], Number::new(value))
    }

    /// Count, sum, smallest, largest and mean of what `value` says, in columns `name_count`, `name_sum`, …; without `name_` if
    /// that is empty.
    pub fn stats<V: Into<i128>, L>(self, name: &str, value: L) -> Aggregates<F, W::All>
    where
        L: for<'a> Fn(&Parsed<'a, F>) -> Option<V> + 'static,
        W: Before<Number<L, Stats>>,
    {
        self.and(parts::<Stats>(name), Number::new(value))
    }

    /// A sketch of the quantiles of what `value` says, in columns `name_count`, `name_p50`, `name_p95`, `name_p99`; without
    /// `name_` if that is empty.
    pub fn quantiles<L>(self, name: &str, value: L) -> Aggregates<F, W::All>
    where
        L: for<'a> Fn(&Parsed<'a, F>) -> Option<u64> + 'static,
        W: Before<Number<L, Quantiles>>,
    {
        self.and(parts::<Quantiles>(name), Number::new(value))
    }

    /// About how many different members there are, of those that `member` says, by a sketch of at most 4 KiB.
    pub fn approx_distinct<L>(self, name: &str, member: L) -> Aggregates<F, W::All>
    where
        L: for<'a> Fn(&Parsed<'a, F>) -> Option<&'a [u8]> + 'static,
        W: Before<Sketched<L>>,
    {
        self.and([name.to_owned()], Sketched(member))
    }

    /// What `logic` folds, from `A`'s default on; if `A` stands in several columns, these are called as its parts are.
    pub fn fold<A: Total + Stored + Row, L>(self, name: &str, logic: L) -> Aggregates<F, W::All>
    where
        L: for<'a> Fn(&Parsed<'a, F>, &mut A) + 'static,
        W: Before<Fold<L, A>>,
    {
        let mut names: Vec<_> = parts::<A>(name).collect();
        if names.is_empty() {
            names.push(name.to_owned());
        }
        self.and(names, Fold::new(logic))
    }
}

/// A sketch of the different members that records have.
#[derive(Clone, Copy, Debug)]
pub struct Sketched<L>(L);

impl<F, L> What<F> for Sketched<L>
where
    F: Format,
    L: for<'a> Fn(&Parsed<'a, F>) -> Option<&'a [u8]> + 'static,
{
    type Sum = Distinct;
    type Input = u64;

    #[inline]
    fn input(&self, record: &Parsed<'_, F>) -> Option<u64> {
        (self.0)(record).map(Distinct::hash)
    }

    #[inline]
    fn add(&self, _: &Parsed<'_, F>, hash: u64, sum: &mut Distinct) {
        sum.insert_hash(hash);
    }
}
