//! Records by key: where a door's *what* meets its *when*.
//!
//! ```text
//! records.by(columns, key) ── .over_last(window) | .by_window(window) | .by_session(gap) ──▶ .count("name") | .sum(…) | …
//!         .by_each(…)         (nothing: all time)
//!         .all()
//! ```
//!
//! Every pair goes together. A door's name labels its state, on the dashboard and in a snapshot: two of one name are a
//! mistake that the dry build finds.

use std::hash::Hash;
use std::marker::PhantomData;
use std::panic::Location;

use crate::data::{Distinct, Key, Maximum, Members, Minimum, Quantiles, Stats, Stored, Total};
use crate::door::columns::{Columns, names_of};
use crate::door::partials::Partials;
use crate::door::table::{Facts, Rows};
use crate::door::what::{Aggregates, Count, Fold, What};
use crate::door::when::{AllTime, Opening, When};
use crate::door::{Parsed, Records};
use crate::format::Format;
use crate::view::Names;

/// The keys of a record.
pub trait Keys<F: Format, K: Key>: 'static {
    /// Calls `each` with each of them.
    fn each(&self, record: &Parsed<'_, F>, each: impl FnMut(K::Ref<'_>));
}

/// One key a record, or none.
#[derive(Clone, Copy, Debug)]
pub struct One<L>(pub(crate) L);

impl<F, K, L> Keys<F, K> for One<L>
where
    F: Format,
    K: Key,
    L: for<'a> Fn(&Parsed<'a, F>) -> Option<K::Ref<'a>> + 'static,
{
    #[inline]
    fn each(&self, record: &Parsed<'_, F>, each: impl FnMut(K::Ref<'_>)) {
        (self.0)(record).map(each);
    }
}

/// Any number of keys a record.
#[derive(Clone, Copy, Debug)]
pub struct Many<L>(pub(crate) L);

impl<F, K, L> Keys<F, K> for Many<L>
where
    F: Format,
    K: Key,
    L: for<'a> Fn(&Parsed<'a, F>, &mut dyn FnMut(K::Ref<'_>)) + 'static,
{
    #[inline]
    fn each(&self, record: &Parsed<'_, F>, mut each: impl FnMut(K::Ref<'_>)) {
        (self.0)(record, &mut each);
    }
}

/// All records under one key.
#[derive(Clone, Copy, Debug)]
pub struct Whole;

impl<F: Format> Keys<F, ()> for Whole {
    #[inline]
    fn each(&self, _: &Parsed<'_, F>, mut each: impl FnMut(())) {
        each(());
    }
}

/// Sums by key, to be added to.
pub trait Sums<K: Key, A> {
    /// The sum of `key`; zero if this is the first time.
    fn entry(&mut self, key: K::Ref<'_>) -> &mut A;
}

impl<K: Key, A: Total> Sums<K, A> for Partials<K, A> {
    #[inline]
    fn entry(&mut self, key: K::Ref<'_>) -> &mut A {
        Partials::entry(self, key)
    }
}

/// What a door does with a record: adds it to whatever sums it belongs to.
pub trait Adds<F: Format, K: Key, A>: 'static {
    /// Adds `record` to `sums`.
    fn add(&mut self, record: &Parsed<'_, F>, sums: &mut impl Sums<K, A>);
}

/// The product of the axes: keys and what is added up of them.
#[derive(Debug)]
struct Each<G, W> {
    keys: G,
    what: W,
}

impl<F, K, G, W> Adds<F, K, W::Sum> for Each<G, W>
where
    F: Format,
    K: Key,
    G: Keys<F, K>,
    W: What<F>,
{
    #[inline]
    fn add(&mut self, record: &Parsed<'_, F>, sums: &mut impl Sums<K, W::Sum>) {
        let Each { keys, what } = self;
        if let Some(input) = what.input(record) {
            keys.each(record, |key| what.add(record, input, sums.entry(key)));
        }
    }
}

/// The members that each key's records have, counted.
#[derive(Debug)]
struct MembersOf<G, L, M> {
    keys: G,
    member: L,
    of: PhantomData<fn() -> M>,
}

impl<F, K, M, G, L> Adds<F, (K, M), isize> for MembersOf<G, L, M>
where
    F: Format,
    K: Key,
    M: Key,
    G: Keys<F, K>,
    L: for<'a> Fn(&Parsed<'a, F>) -> Option<M::Ref<'a>> + 'static,
{
    #[inline]
    fn add(&mut self, record: &Parsed<'_, F>, sums: &mut impl Sums<(K, M), isize>) {
        if let Some(member) = (self.member)(record) {
            self.keys.each(record, |key| *sums.entry((K::shorten(key), M::shorten(member))) += 1);
        }
    }
}

/// Collects the members that the other counts, each once.
pub(super) struct Collecting<X>(pub(super) X);

impl<F: Format, K: Key, M: Key, X: Adds<F, (K, M), isize>> Adds<F, K, Members<M>> for Collecting<X> {
    fn add(&mut self, record: &Parsed<'_, F>, sums: &mut impl Sums<K, Members<M>>) {
        let mut seen = MemberSums { sums, count: 0 };
        self.0.add(record, &mut seen);
    }
}

/// Takes key and member apart.
struct MemberSums<'a, S> {
    sums: &'a mut S,
    /// What is counted here is of no interest.
    count: isize,
}

impl<K: Key, M: Key, S: Sums<K, Members<M>>> Sums<(K, M), isize> for MemberSums<'_, S> {
    fn entry(&mut self, (key, member): (K::Ref<'_>, M::Ref<'_>)) -> &mut isize {
        self.sums.entry(key).insert(M::own(member));
        &mut self.count
    }
}

/// Records by key, of all time or of a *when*: what doors are opened on. [`Records::by`] and its kin make them.
#[must_use = "nothing is added up until a door is opened"]
pub struct Grouped<'scope, F: Format, K: Key, G, W = AllTime> {
    pub(crate) records: Records<'scope, F>,
    pub(crate) columns: Vec<String>,
    /// Keys that have a row even while their total is zero.
    pub(crate) always: Vec<K>,
    pub(crate) keys: G,
    pub(crate) when: W,
}

impl<F: Format, K: Key, G, W> std::fmt::Debug for Grouped<'_, F, K, G, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grouped").field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl<'scope, F: Format> Records<'scope, F> {
    /// These records by what `key` says of each, in `columns`; those of which it says `None` are left out.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// let build = Build::new("first bytes", |flow| {
    ///     let lines = flow.records(Text);
    ///     lines.by(text("first"), |line| line.get(..1)).count("lines").show("lines");
    ///     Ok(())
    /// });
    /// assert_eq!(thalweg::testing::run(build, b"ax\nb\n\nay\n").view("lines"), ["a\t2", "b\t1"]);
    /// ```
    pub fn by<C: Columns, L>(&self, columns: C, key: L) -> Grouped<'scope, F, C::Key, One<L>>
    where
        L: for<'a> Fn(&Parsed<'a, F>) -> Option<<C::Key as Key>::Ref<'a>> + 'static,
    {
        let columns = names_of(columns);
        Grouped { records: self.clone(), columns, always: Vec::new(), keys: One(key), when: AllTime }
    }

    /// As [`Records::by`], for records that are any number of keys each: `keys` is called with the record and a function that
    /// takes them.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// let build = Build::new("words", |flow| {
    ///     let lines = flow.records(Text);
    ///     let words = lines.by_each(text("word"), |line, each| line.line().split(|byte| *byte == b' ').for_each(each));
    ///     words.count("words").show("words");
    ///     Ok(())
    /// });
    /// assert_eq!(thalweg::testing::run(build, b"to be or\nnot to be\n").view("words"), ["be\t2", "not\t1", "or\t1", "to\t2"]);
    /// ```
    ///
    /// This is also how records are joined with a table that does not change: a key that `each` is given need not be
    /// borrowed from the record, so it can come from a [`Lookup`](crate::lookup::Lookup) that the function owns. An inner
    /// join leaves out what the table does not have, a left join gives it a key of its own.
    ///
    /// ```
    /// use thalweg::prelude::*;
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("sites.csv");
    /// std::fs::write(&path, "network,site\n10.0.0.0/8,office\n10.1.0.0/16,lab\n")?;
    /// let build = Build::new("sites", move |flow| {
    ///     let sites = flow.lookup(&path, "network", LookupKeys::Networks)?;
    ///     let clients = flow.records(Text);
    ///     let inner = sites.clone();
    ///     let known = clients.by_each(text("site"), move |client, each| {
    ///         inner.get(client.line()).into_iter().for_each(|row| each(row.column(0)));
    ///     });
    ///     known.count("inner").show("inner");
    ///     let all = clients.by_each(text("site"), move |client, each| {
    ///         each(sites.get(client.line()).map_or(b"-", |row| row.column(0)));
    ///     });
    ///     all.count("left").show("left");
    ///     Ok(())
    /// });
    /// let answer = thalweg::testing::run(build, b"10.0.0.1\n10.1.0.1\n10.0.0.2\n192.0.2.1\n");
    /// assert_eq!(answer.view("inner"), ["lab\t1", "office\t2"]);
    /// assert_eq!(answer.view("left"), ["-\t1", "lab\t1", "office\t2"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn by_each<C: Columns, L>(&self, columns: C, keys: L) -> Grouped<'scope, F, C::Key, Many<L>>
    where
        L: for<'a> Fn(&Parsed<'a, F>, &mut dyn FnMut(<C::Key as Key>::Ref<'_>)) + 'static,
    {
        let columns = names_of(columns);
        Grouped { records: self.clone(), columns, always: Vec::new(), keys: Many(keys), when: AllTime }
    }

    /// All records together, under the key `()`, which stands in no column. Over all time there is always a row, also before
    /// the first record.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// let lengths = |lines: &[u8]| {
    ///     let build = Build::new("lengths", |flow| {
    ///         flow.records(Text).all().stats("lengths", |line| Some(line.len() as u64)).show("lengths");
    ///         Ok(())
    ///     });
    ///     thalweg::testing::run(build, lines)
    /// };
    /// // Count, sum, smallest, largest, mean.
    /// assert_eq!(lengths(b"one\nthree\n").view("lengths"), ["2\t8\t3\t5\t4"]);
    /// assert_eq!(lengths(b"").view("lengths"), ["0\t0\t-\t-\t-"]);
    /// ```
    pub fn all(&self) -> Grouped<'scope, F, (), Whole> {
        Grouped { records: self.clone(), columns: Vec::new(), always: vec![()], keys: Whole, when: AllTime }
    }
}

impl<'scope, F: Format, K: Key, G> Grouped<'scope, F, K, G> {
    pub(crate) fn during<W>(self, when: W) -> Grouped<'scope, F, K, G, W> {
        let Grouped { records, columns, always, keys, .. } = self;
        Grouped { records, columns, always, keys, when }
    }

    /// The keys themselves, each as often as it occurs: facts, which are not repeated after a restart. Stateless.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// let build = Build::new("errors", |flow| {
    ///     let lines = flow.records(Text);
    ///     lines.by(text("line"), |line| line.starts_with(b"bad").then(|| line.line())).collect("errors").show("errors");
    ///     Ok(())
    /// });
    /// assert_eq!(thalweg::testing::run(build, b"ok\nbad 1\nbad 2\nbad 1\n").view("errors"), ["bad 1", "bad 1", "bad 2"]);
    /// ```
    #[track_caller]
    pub fn collect(self, name: &str) -> Facts<'scope, K>
    where
        G: Keys<F, K>,
    {
        let Grouped { records, columns, keys, .. } = self;
        let mut each = Each { keys, what: Count };
        let logic = move |record: &Parsed<'_, F>, sums: &mut Partials<K, isize>| each.add(record, sums);
        let rows = records.sums(name, Location::caller(), logic);
        Rows::new(rows, Names { all: Some(columns), key: Vec::new() }, records.site().clone())
    }
}

impl<'scope, F, K, G, W> Grouped<'scope, F, K, G, W>
where
    F: Format,
    K: Key,
    G: Keys<F, K>,
    W: When,
{
    fn open<A: Total + Stored, X: What<F, Sum = A>>(
        self,
        name: &str,
        place: &'static Location<'static>,
        sum: Option<Vec<String>>,
        what: X,
    ) -> Rows<'scope, W::Row<K, A>, W::Kind> {
        let Grouped { records, columns, always, keys, when } = self;
        let opening = Opening { name: name.to_owned(), place, always, key: columns, sum };
        when.open(&records, opening, Each { keys, what })
    }

    /// How often each key occurs, in a column `count`.
    ///
    /// Each epoch retracts the rows that changed and inserts them as they are now. State: one row a key (and window, pane or
    /// session), on the worker that the key is routed to.
    #[track_caller]
    pub fn count(self, name: &str) -> Rows<'scope, W::Row<K, isize>, W::Kind> {
        self.aggregate(name, |all| all.count("count"))
    }

    /// What `value` says, added up, in a column `sum`. Records without a value (`None`) are left out, and so is a key whose sum
    /// is zero, but for sessions.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// let build = Build::new("lengths", |flow| {
    ///     let lines = flow.records(Text);
    ///     lines.by(text("first"), |line| line.get(..1)).sum("lengths", |line| Some(line.len() as u64)).show("lengths");
    ///     Ok(())
    /// });
    /// assert_eq!(thalweg::testing::run(build, b"ax\nb\nayy\n").view("lengths"), ["a\t5", "b\t1"]);
    /// ```
    #[track_caller]
    pub fn sum<V: Into<i128>, L>(self, name: &str, value: L) -> Rows<'scope, W::Row<K, i128>, W::Kind>
    where
        L: for<'a> Fn(&Parsed<'a, F>) -> Option<V> + 'static,
    {
        self.aggregate(name, |all| all.sum("sum", value))
    }

    /// The smallest that `value` says, in a column `min`.
    #[track_caller]
    pub fn min<V: Into<i128>, L>(self, name: &str, value: L) -> Rows<'scope, W::Row<K, Minimum>, W::Kind>
    where
        L: for<'a> Fn(&Parsed<'a, F>) -> Option<V> + 'static,
    {
        self.aggregate(name, |all| all.min("min", value))
    }

    /// The largest that `value` says, in a column `max`.
    #[track_caller]
    pub fn max<V: Into<i128>, L>(self, name: &str, value: L) -> Rows<'scope, W::Row<K, Maximum>, W::Kind>
    where
        L: for<'a> Fn(&Parsed<'a, F>) -> Option<V> + 'static,
    {
        self.aggregate(name, |all| all.max("max", value))
    }

    /// Count, sum, smallest, largest and mean of what `value` says, in columns of these names.
    #[track_caller]
    pub fn stats<V: Into<i128>, L>(self, name: &str, value: L) -> Rows<'scope, W::Row<K, Stats>, W::Kind>
    where
        L: for<'a> Fn(&Parsed<'a, F>) -> Option<V> + 'static,
    {
        self.aggregate(name, |all| all.stats("", value))
    }

    /// A sketch of the quantiles of what `value` says: columns `count`, `p50`, `p95` and `p99`.
    ///
    /// A row holds the whole sketch ([`Quantiles`]): `map` it to the quantiles that are wanted.
    #[track_caller]
    pub fn quantiles<L>(self, name: &str, value: L) -> Rows<'scope, W::Row<K, Quantiles>, W::Kind>
    where
        L: for<'a> Fn(&Parsed<'a, F>) -> Option<u64> + 'static,
    {
        self.aggregate(name, |all| all.quantiles("", value))
    }

    /// How many different members each key has, exactly, in a column `distinct`; `member` says the member of a record, as a
    /// key of the type that `columns` have, whose names do not matter.
    ///
    /// State: a row for each key and member (and window, pane or session). [`Grouped::approx_distinct`] takes bounded space.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// let build = Build::new("visitors", |flow| {
    ///     let lines = flow.records(Text);
    ///     lines.by(text("page"), |line| line.get(1..)).distinct("visitors", text("who"), |line| line.get(..1)).show("visitors");
    ///     Ok(())
    /// });
    /// assert_eq!(thalweg::testing::run(build, b"a/x\nb/x\na/x\na/y\n").view("visitors"), ["/x\t2", "/y\t1"]);
    /// ```
    #[track_caller]
    pub fn distinct<C: Columns, L>(
        self,
        name: &str,
        columns: C,
        member: L,
    ) -> Rows<'scope, W::Row<K, isize>, W::Kind>
    where
        L: for<'a> Fn(&Parsed<'a, F>) -> Option<<C::Key as Key>::Ref<'a>> + 'static,
        C::Key: Hash,
    {
        let _ = columns;
        let place = Location::caller();
        let Grouped { records, columns, always, keys, when } = self;
        let sum = Some(vec!["distinct".to_owned()]);
        let opening = Opening { name: name.to_owned(), place, always, key: columns, sum };
        when.distinct(&records, opening, MembersOf::<_, _, C::Key> { keys, member, of: PhantomData })
    }

    /// About how many different members each key has, of those that `member` says, in a column `distinct`: by a sketch of at
    /// most 4 KiB ([`Distinct`]), which the row holds.
    #[track_caller]
    pub fn approx_distinct<L>(self, name: &str, member: L) -> Rows<'scope, W::Row<K, Distinct>, W::Kind>
    where
        L: for<'a> Fn(&Parsed<'a, F>) -> Option<&'a [u8]> + 'static,
    {
        self.aggregate(name, |all| all.approx_distinct("distinct", member))
    }

    /// What `logic` folds of the records of a key, from `A`'s default on, by addition: the folds of two halves of the records
    /// must add up to that of all ([`Total`]). What is zero has no row, but for sessions.
    ///
    /// Its columns have no names: give them with [`Rows::columns`] or [`Rows::map`].
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// let build = Build::new("lines", |flow| {
    ///     let lines = flow.records(Text);
    ///     let sizes = lines.by(text("first"), |line| line.get(..1)).fold("lines", |line, (lines, bytes): &mut (isize, i64)| {
    ///         *lines += 1;
    ///         *bytes += line.len() as i64;
    ///     });
    ///     sizes.columns(["first", "lines", "bytes"]).show("lines");
    ///     Ok(())
    /// });
    /// assert_eq!(thalweg::testing::run(build, b"ax\nb\nayy\n").view("lines"), ["a\t2\t5", "b\t1\t1"]);
    /// ```
    #[track_caller]
    pub fn fold<A: Total + Stored, L>(self, name: &str, logic: L) -> Rows<'scope, W::Row<K, A>, W::Kind>
    where
        L: for<'a> Fn(&Parsed<'a, F>, &mut A) + 'static,
    {
        self.open(name, Location::caller(), None, Fold::new(logic))
    }

    /// Several aggregates at once, in one table: `aggregates` is given none, and adds to them.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// let build = Build::new("lines", |flow| {
    ///     let lines = flow.records(Text);
    ///     let all = lines.by(text("first"), |line| line.get(..1)).aggregate("lines", |all| {
    ///         all.count("lines").sum("bytes", |line| Some(line.len() as u64)).max("longest", |line| Some(line.len() as u64))
    ///     });
    ///     all.show("lines");
    ///     Ok(())
    /// });
    /// assert_eq!(thalweg::testing::run(build, b"ax\nb\nayy\n").view("lines"), ["a\t2\t5\t3", "b\t1\t1\t1"]);
    /// ```
    #[track_caller]
    pub fn aggregate<X: What<F>>(
        self,
        name: &str,
        aggregates: impl FnOnce(Aggregates<F, ()>) -> Aggregates<F, X>,
    ) -> Rows<'scope, W::Row<K, X::Sum>, W::Kind> {
        let place = Location::caller();
        let Aggregates { what, names, .. } = aggregates(Aggregates::new());
        self.open(name, place, Some(names), what)
    }
}
