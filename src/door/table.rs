//! Tables and facts: what doors hand on, and what dataflows show.
//!
//! All are collections with named columns ([`Rows`]), of one of four kinds, which the compiler keeps apart:
//!
//! | kind | its rows | after a restart |
//! |---|---|---|
//! | [`Table`] | change at any time: totals, keyed state | restored whole |
//! | [`Last`] | are those of the last complete window | restored whole |
//! | [`Windowed`] | are those of all windows or sessions, and become final one by one | those of the open ones |
//! | [`Facts`] | are final as they come: pairs, first records, refusals | not repeated |
//!
//! What adds facts up is a table of its own ([`Facts::count`], or a door on [`Facts::records`]), whose totals are
//! durable; the rows themselves are not.
//!
//! They stand beside the doors and not beside the views, because a door can be opened on facts.

use std::cmp::Ordering;
use std::hash::Hash;
use std::marker::PhantomData;
use std::panic::Location;

use differential_dataflow::{ExchangeData, VecCollection};

use crate::data::{Bytes, Row, Stored};
use crate::door::columns::ColumnNames;
use crate::door::retained::retained;
use crate::door::running::totals_of_facts;
use crate::door::site::Site;
use crate::door::window::Consumed;
use crate::operators::{FullJoin, TopK};
use crate::time::{Epoch, Span};
use crate::view::{Delivery, Finality, Misbuilt, Names, Schema};

/// A kind of table.
pub trait Kind: 'static {
    /// When its rows are final.
    const FINALITY: Finality;
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $finality:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub enum $kind {}

        impl Kind for $kind {
            const FINALITY: Finality = Finality::$finality;
        }
    )*};
}
kinds! {
    /// Rows that change at any time.
    Changing Never;
    /// The rows of the last complete window.
    Standing Never;
    /// The rows of windows or sessions, which become final.
    Closing InTime;
    /// Rows that are final as they come.
    Final AtOnce;
}

/// Rows that change at any time: running totals, keyed state, what follows from them.
pub type Table<'scope, R> = Rows<'scope, R, Changing>;

/// A sliding view: the rows of the window that it stands at.
pub type Last<'scope, R> = Rows<'scope, R, Standing>;

/// The rows of all windows or sessions, open and complete: they change while theirs is open, and are never retracted after.
pub type Windowed<'scope, R> = Rows<'scope, R, Closing>;

/// Rows that are inserted once and never retracted.
pub type Facts<'scope, R> = Rows<'scope, R, Final>;

/// A collection whose columns have names: a [`Table`], a sliding view ([`Last`]), the rows of windows ([`Windowed`]), or
/// [`Facts`].
///
/// ```
/// use thalweg::prelude::*;
/// let build = Build::new("lengths", |flow| {
///     let lines = flow.records(Text);
///     lines
///         .by(number("bytes"), |line| Some(line.len() as i64))
///         .count("lines")
///         .filter(|(_, count)| *count > 1)
///         .map(["bytes", "more"], |(bytes, count)| (bytes, count - 1))
///         .show("repeated");
///     Ok(())
/// });
/// assert_eq!(thalweg::testing::run(build, b"a\nbb\ncc\n").view("repeated"), ["2\t1"]);
/// ```
#[derive(Clone)]
#[must_use = "rows that nobody shows are work for nothing"]
pub struct Rows<'scope, R: 'static, T> {
    collection: VecCollection<'scope, Epoch, R, isize>,
    names: Names,
    about: String,
    order: fn(&R, &R) -> Ordering,
    site: Site<'scope>,
    more: More<'scope, R>,
    kind: PhantomData<T>,
}

/// What some kinds have besides.
#[derive(Clone)]
struct More<'scope, R: 'static> {
    /// What makes the rows only if they are consumed.
    consumed: Vec<Consumed>,
    /// What shows each window that it slides over only if somebody looks at each: not where only the last state is shown.
    each: Vec<Consumed>,
    /// The final rows of windows, and what makes them only if they are consumed.
    finals: Option<(VecCollection<'scope, Epoch, R, isize>, Vec<Consumed>)>,
    /// The window at which a sliding view stands.
    stands: Option<VecCollection<'scope, Epoch, Span, isize>>,
    /// The first rows of each worker, for a sliding view that is asked for them.
    first: Option<First<'scope, R>>,
}

impl<R: 'static> Default for More<'_, R> {
    fn default() -> Self {
        More { consumed: Vec::new(), each: Vec::new(), finals: None, stands: None, first: None }
    }
}

/// How a sliding view is asked for its first rows, and where each worker has them.
#[derive(Clone)]
pub(crate) struct First<'scope, R: 'static> {
    /// What the view is called.
    pub(crate) name: String,
    /// How many are wanted.
    pub(crate) wanted: std::rc::Rc<std::cell::Cell<Option<usize>>>,
    pub(crate) rows: VecCollection<'scope, Epoch, R, isize>,
}

impl<R: 'static, T> std::fmt::Debug for Rows<'_, R, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("names", &self.names).finish_non_exhaustive()
    }
}

impl<'scope, R: ExchangeData, T: Kind> Rows<'scope, R, T> {
    /// The collection itself, for operators of differential; [`Flow::table`](crate::dataflow::Flow::table) makes a table of
    /// what comes of it.
    pub fn rows(&self) -> VecCollection<'scope, Epoch, R, isize> {
        self.more.each.iter().for_each(Consumed::set);
        self.states()
    }

    /// The collection, for what comes to the same whether it is given every window that a sliding view slides over or
    /// the last of each epoch: whose own last state is a function of the last state of this. It hands on [`More::each`].
    pub(crate) fn states(&self) -> VecCollection<'scope, Epoch, R, isize> {
        self.more.consumed.iter().for_each(Consumed::set);
        self.collection.clone()
    }

    /// These rows, each as `logic` makes it, with columns of these names. Those that were the key's are the key's, if all
    /// of them are still there.
    pub fn map<R2: ExchangeData>(
        self,
        columns: impl ColumnNames,
        logic: impl Fn(R) -> R2 + Clone + 'static,
    ) -> Rows<'scope, R2, T> {
        let Rows { collection, names, about, site, more, .. } = self;
        let More { consumed, each, finals, stands, first: _ } = more;
        let finals = finals.map(|(rows, consumed)| (rows.map(logic.clone()), consumed));
        let more = More { consumed, each, finals, stands, first: None };
        let names = Names { all: columns.names(), key: names.key };
        let collection = collection.map(logic);
        Rows { collection, names, about, order: R2::cmp, site, more, kind: PhantomData }
    }

    /// Those that `logic` keeps.
    pub fn filter(self, logic: impl Fn(&R) -> bool + Clone + 'static) -> Self {
        let Rows { collection, more, .. } = self;
        let More { consumed, each, finals, stands, first: _ } = more;
        let finals = finals.map(|(rows, consumed)| (rows.filter(logic.clone()), consumed));
        let more = More { consumed, each, finals, stands, first: None };
        Rows { collection: collection.filter(logic), more, ..self }
    }

    /// These and `others`, of the same dataflow, with the names that these have.
    pub fn concat(self, others: Self) -> Self {
        let Rows { collection, more, names, .. } = self;
        let More { mut consumed, mut each, finals, stands, first: _ } = more;
        consumed.extend(others.more.consumed);
        each.extend(others.more.each);
        let finals = finals.zip(others.more.finals).map(|((rows, mut consumed), (more, also))| {
            consumed.extend(also);
            (rows.concat(more), consumed)
        });
        let more = More { consumed, each, finals, stands, first: None };
        // Of what is from two tables, nobody knows what a row is about.
        let names = Names { key: Vec::new(), ..names };
        Rows { collection: collection.concat(others.collection), more, names, ..self }
    }

    /// These rows, each with `label` in front, in a column of this name: to tell rows of several tables apart in one view.
    pub fn labelled(self, column: &str, label: &str) -> Rows<'scope, (Bytes, R), T> {
        let names = self.names_behind(&[column], false);
        let label = Bytes::from(label);
        self.map((), move |row| (label.clone(), row)).named(names)
    }

    /// With columns of these names. Those of the key are the key's under their new names, if as many had names before.
    pub fn columns(self, columns: impl ColumnNames) -> Self {
        let Names { all: before, key } = &self.names;
        let all = columns.names();
        let renamed = |old: &String, all: &[String]| {
            let at = before.as_ref()?.iter().position(|name| name == old)?;
            all.get(at).cloned()
        };
        let key =
            key.iter().map(|old| all.as_deref().and_then(|all| renamed(old, all)).unwrap_or(old.clone()));
        let key = key.collect();
        Rows { names: Names { all, key }, ..self }
    }

    /// With these columns as the key: what a row is about. At one time, no two rows have the same. Sinks that keep a table,
    /// such as that of a database, go by it.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// let build = Build::new("lengths", |flow| {
    ///     let lines = flow.records(Text).by(number("bytes"), |line| Some(line.len() as i64)).count("lines");
    ///     lines.key(["byte"]).show("lengths");
    ///     Ok(())
    /// });
    /// let error = build.check().unwrap_err().to_string();
    /// assert!(error.contains("there is no column `byte` that could be part of the key"), "{error}");
    /// ```
    #[track_caller]
    pub fn key(self, columns: impl ColumnNames) -> Self {
        let key = columns.names().unwrap_or_default();
        if let Some(all) = &self.names.all
            && let Some(column) = key.iter().find(|column| !all.contains(column))
        {
            let mistake = Misbuilt::UnknownKey { column: column.clone(), columns: all.clone() };
            self.site.mistake(mistake, Location::caller());
        }
        Rows { names: Names { key, ..self.names }, ..self }
    }

    /// In the order that `compare` says; rows that it calls equal are in their own order. Default: the order of the rows.
    pub fn sorted_by(self, compare: fn(&R, &R) -> Ordering) -> Self {
        Rows { order: compare, ..self }
    }

    /// With a line on what the rows are, for `thalweg list` and for whoever looks at them.
    pub fn about(self, about: impl Into<String>) -> Self {
        Rows { about: about.into(), ..self }
    }

    /// Shows these rows as a view, whose name is what sinks know it by.
    ///
    /// A dataflow's views are what it shows, in this order. Two of one name, or names for more or fewer columns than there
    /// are, are a [`BuildError`](crate::dataflow::BuildError) with this place.
    #[track_caller]
    pub fn show(self, name: &str)
    where
        R: Row,
    {
        let place = Location::caller();
        let schema = Schema::new::<R>(name, &self.about, &self.names, T::FINALITY);
        let deliveries = self.site.register.borrow().deliveries();
        let last_only = matches!(deliveries.rows, Delivery::LastState | Delivery::Nothing);
        let rows = if last_only { self.states() } else { self.rows() };
        let Rows { order, site, more, .. } = self;
        let keep = deliveries.whole.filter(|_| site.has_state());
        // Asking for the final rows has the doors make them, which is work where nobody shows or keeps any.
        let finals = more.finals.filter(|_| deliveries.any_finals() || keep.is_some());
        let finals = finals.map(|(finals, consumed)| {
            consumed.iter().for_each(Consumed::set);
            finals
        });
        let (rows, finals) = match (finals, keep) {
            (Some(finals), Some(keep)) => {
                let restored = retained(&site, name, keep, finals.clone());
                (rows.concat(restored.clone()), Some(finals.concat(restored)))
            }
            (finals, _) => (rows, finals),
        };
        site.register.borrow_mut().show(schema, rows, finals, order, place);
    }

    /// A table of `collection`, with columns of these names.
    pub(crate) fn new(
        collection: VecCollection<'scope, Epoch, R, isize>,
        names: Names,
        site: Site<'scope>,
    ) -> Self {
        let (about, order, more) = (String::new(), R::cmp, More::default());
        Rows { collection, names, about, order, site, more, kind: PhantomData }
    }

    /// As another table of the same windows, if of any: what operators make of the rows.
    fn with_rows<R2: ExchangeData>(
        self,
        collection: VecCollection<'scope, Epoch, R2, isize>,
        names: Names,
        finals: Option<(VecCollection<'scope, Epoch, R2, isize>, Vec<Consumed>)>,
    ) -> Rows<'scope, R2, T> {
        let More { stands, each, .. } = self.more;
        let more = More { consumed: Vec::new(), each, finals, stands, first: None };
        let Rows { about, site, .. } = self;
        Rows { collection, names, about, order: R2::cmp, site, more, kind: PhantomData }
    }

    /// Made of what shows each window only if somebody looks at each of these.
    pub(crate) fn looking(self, each: Vec<Consumed>) -> Self {
        Rows { more: More { each, ..self.more }, ..self }
    }

    /// Made only if they are `consumed`.
    pub(crate) fn if_consumed(self, consumed: Consumed) -> Self {
        Rows { more: More { consumed: vec![consumed], ..self.more }, ..self }
    }

    /// What shows each window only if somebody looks at it.
    pub(crate) fn each(&self) -> Vec<Consumed> {
        self.more.each.clone()
    }

    /// The names with `front` before them; these are the whole key if `alone`.
    pub(crate) fn names_behind(&self, front: &[&str], alone: bool) -> Names {
        let front = || front.iter().map(ToString::to_string);
        let all = self.names.all.as_ref().map(|all| front().chain(all.iter().cloned()).collect());
        let key = if alone { front().collect() } else { self.names.key.clone() };
        Names { all, key }
    }

    /// The names with `within` behind those of a window, which are in front; all of these are the key.
    pub(crate) fn names_within_windows(&self, within: &[&str]) -> Names {
        let within = within.iter().map(ToString::to_string);
        let Some(all) = &self.names.all else { return Names::default() };
        let window = all.iter().take(2).cloned();
        let key: Vec<String> = window.chain(within).collect();
        Names { all: Some(key.iter().chain(all.iter().skip(2)).cloned().collect()), key }
    }

    pub(crate) fn about_text(&self) -> &str {
        &self.about
    }

    /// With these names.
    pub(crate) fn named(self, names: Names) -> Self {
        Rows { names, ..self }
    }

    pub(crate) fn site(&self) -> &Site<'scope> {
        &self.site
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }
}

impl<'scope, R: ExchangeData> Windowed<'scope, R> {
    /// Rows behind windows; what makes `finals` does so only if they are `consumed`.
    pub(crate) fn of_windows(
        self,
        finals: VecCollection<'scope, Epoch, R, isize>,
        consumed: Consumed,
    ) -> Self {
        let more = More { finals: Some((finals, vec![consumed])), ..self.more };
        Rows { more, ..self }
    }

    /// The rows of the complete windows, each inserted once, when it has become final.
    ///
    /// The door makes them because they are asked for here: a dataflow that does not ask pays nothing for them.
    pub fn finals(&self) -> Facts<'scope, R> {
        let (finals, consumed) = self.more.finals.clone().expect("windows have final rows");
        consumed.iter().for_each(Consumed::set);
        Rows::new(finals, self.names.clone(), self.site.clone())
    }

    /// What an operator behind windows makes of these.
    pub(crate) fn behind<R2: ExchangeData>(
        self,
        rows: VecCollection<'scope, Epoch, R2, isize>,
        finals: VecCollection<'scope, Epoch, R2, isize>,
        consumed: Consumed,
        names: Names,
    ) -> Windowed<'scope, R2> {
        self.with_rows(rows, names, Some((finals, vec![consumed])))
    }
}

impl<'scope, R: ExchangeData> Last<'scope, R> {
    /// A sliding view that stands at `window`, makes its rows only if they are `consumed`, and `first` if it is asked.
    pub(crate) fn standing(
        self,
        window: VecCollection<'scope, Epoch, Span, isize>,
        consumed: Consumed,
        each: Consumed,
        first: First<'scope, R>,
    ) -> Self {
        let (consumed, each, stands) = (vec![consumed], vec![each], Some(window));
        Rows { more: More { consumed, each, stands, first: Some(first), ..self.more }, ..self }
    }

    /// One row, once there is a window: where the last one stands that held anything, or that something was gone from.
    pub fn window(&self) -> Table<'scope, Span> {
        let window = self.more.stands.clone().expect("a sliding view stands somewhere");
        let table = Rows::new(window, Names::default(), self.site.clone());
        table.looking(self.more.each.clone())
    }

    /// As a table of which nobody asks where it stands, to be shown beside others.
    pub fn as_table(self) -> Table<'scope, R> {
        let Rows { collection, names, about, order, site, more, .. } = self;
        let more = More { consumed: more.consumed, each: more.each, ..More::default() };
        Rows { collection, names, about, order, site, more, kind: PhantomData }
    }

    /// What an operator makes of these, at the same window.
    pub(crate) fn at_window<R2: ExchangeData>(
        self,
        rows: VecCollection<'scope, Epoch, R2, isize>,
        names: Names,
    ) -> Last<'scope, R2> {
        self.with_rows(rows, names, None)
    }
}

impl<'scope, K, V> Table<'scope, (K, V)>
where
    K: ExchangeData + Hash,
    V: ExchangeData,
{
    /// The first `k` rows by value descending, then key ascending, with their ranks from 1 in front.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// let build = Build::new("first", |flow| {
    ///     let words = flow.records(Text).by(text("word"), |line| Some(line.line())).count("words");
    ///     words.top(2).show("first");
    ///     Ok(())
    /// });
    /// let answer = thalweg::testing::run(build, b"b\nc\na\nc\n");
    /// assert_eq!(answer.view("first"), ["1\tc\t2", "2\ta\t1"]);
    /// ```
    pub fn top(self, k: usize) -> Table<'scope, (u64, K, V)> {
        let name = format!("{}: TopK", self.names.key.join(", "));
        let rows = self.states().top_k_named(&name, k);
        let names = self.names_behind(&["rank"], true);
        self.with_rows(rows, names, None)
    }
}

impl<'scope, K: ExchangeData> Table<'scope, (K, isize)> {
    /// Those that count more than `bound`.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// let build = Build::new("frequent", |flow| {
    ///     let words = flow.records(Text).by(text("word"), |line| Some(line.line())).count("words");
    ///     words.more_than(1).show("frequent");
    ///     Ok(())
    /// });
    /// assert_eq!(thalweg::testing::run(build, b"b\nc\na\nc\n").view("frequent"), ["c\t2"]);
    /// ```
    pub fn more_than(self, bound: isize) -> Self {
        self.filter(move |(_, count)| *count > bound)
    }
}

impl<'scope, K: ExchangeData + Hash> Table<'scope, (K, isize)> {
    /// These counts and `others` by their key, as rows `(key, here, there)`: a full join, with 0 where one side has no count.
    /// Their columns are called `here` and `there`.
    ///
    /// State: both counts of each key, on the worker that it is routed to. They follow from the tables.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// let build = Build::new("sides", |flow| {
    ///     let lines = flow.records(Text);
    ///     let first = lines.by(text("letter"), |line| line.get(..1)).count("first");
    ///     let last = lines.by(text("letter"), |line| line.get(line.len().checked_sub(1)?..)).count("last");
    ///     first.full_join("sides", last, ["first", "last"]).show("sides");
    ///     Ok(())
    /// });
    /// assert_eq!(thalweg::testing::run(build, b"ab\nac\nba\n").view("sides"), ["a\t2\t1", "b\t1\t1", "c\t0\t1"]);
    /// ```
    pub fn full_join<T: Kind>(
        self,
        name: &str,
        others: Rows<'scope, (K, isize), T>,
        [here, there]: [&str; 2],
    ) -> Table<'scope, (K, isize, isize)> {
        let joined = self.states().full_join(name, others.states());
        let key = &self.names.key;
        let all = key.iter().cloned().chain([here.to_owned(), there.to_owned()]).collect();
        let names = Names { all: Some(all), key: key.clone() };
        let rows = joined.map(|(key, (here, there))| (key, here, there));
        let each = self.more.each.iter().chain(&others.more.each).cloned().collect();
        self.with_rows(rows, names, None).looking(each)
    }
}

impl<'scope, K, V> Last<'scope, (K, V)>
where
    K: ExchangeData + Hash,
    V: ExchangeData,
{
    /// The first `k` rows by total descending, then key ascending, with their ranks from 1 in front.
    ///
    /// Where the other rows are not asked for, each worker picks its first where it keeps the totals, and sends no others.
    ///
    /// ```
    /// use std::time::Duration;
    /// use thalweg::prelude::*;
    /// use thalweg::testing::Script;
    /// let build = Build::new("first", |flow| {
    ///     let window = Window::tumbling(Duration::from_secs(10))?;
    ///     let seconds = |line: &[u8]| std::str::from_utf8(line.split(|byte| *byte == b' ').next()?).ok()?.parse().ok();
    ///     let lines = flow.records(Text).event_time(move |line| seconds(line.line()).map(|seconds: i64| 1000 * seconds));
    ///     let keys = lines.by(text("key"), |line| line.rsplit(|byte| *byte == b' ').next());
    ///     keys.over_last(window).count("last").top(2).with_window().show("first");
    ///     Ok(())
    /// });
    /// let answer = Script::new(build).epoch("1 a\n2 b\n3 b\n4 c\n20 a\n").end().run();
    /// let first = "1970-01-01T00:00:00Z\t1970-01-01T00:00:10Z";
    /// assert_eq!(answer.view_at("first", 0), [format!("{first}\t1\tb\t2"), format!("{first}\t2\ta\t1")]);
    /// // The input has ended: the window that holds the newest record.
    /// assert_eq!(answer.view("first"), ["1970-01-01T00:00:20Z\t1970-01-01T00:00:30Z\t1\ta\t1"]);
    /// ```
    pub fn top(self, k: usize) -> Last<'scope, (u64, K, V)> {
        let names = self.names_behind(&["rank"], true);
        let rows = match self.more.first.clone() {
            Some(First { name, wanted, rows }) if wanted.get().is_none_or(|other| other == k) => {
                wanted.set(Some(k));
                crate::operators::merge_first(rows, &format!("{name}: TopK"), k)
            }
            first => {
                let name = first.map_or_else(|| self.names.key.join(", "), |first| first.name);
                self.states().top_k_named(&format!("{name}: TopK({k})"), k)
            }
        };
        self.at_window(rows, names)
    }
}

impl<'scope, R: ExchangeData + Hash + Stored> Facts<'scope, R> {
    /// How often each fact was inserted, as rows `(fact, count)`, which are durable: a run that goes on from another is not
    /// given its facts again, and counts on from where that was.
    ///
    /// ```
    /// use std::time::Duration;
    /// use thalweg::prelude::*;
    /// use thalweg::testing::Script;
    ///
    /// // Requests by path, from lines such as `7 /path id`, which senders may repeat.
    /// let build = Build::new("requests", |flow| {
    ///     let lines = flow.records(Text).event_time(|line| {
    ///         let seconds = line.split(|byte| *byte == b' ').next()?;
    ///         std::str::from_utf8(seconds).ok()?.parse().ok().map(|seconds: i64| 1000 * seconds)
    ///     });
    ///     let id = lines.by(text("id"), |line| line.split(|byte| *byte == b' ').nth(2));
    ///     let once = id.first_within("once", Duration::from_secs(60), text("path"), |line| {
    ///         line.line().split(|byte| *byte == b' ').nth(1)
    ///     });
    ///     once.map(["path"], |(_id, path)| path).count("requests").show("requests");
    ///     Ok(())
    /// });
    /// let answer = Script::new(build)
    ///     .epoch("1 /a x\n2 /a y\n2 /a y\n")
    ///     .workers(2) // Stopped, and taken up by another run.
    ///     .epoch("3 /a x\n4 /a z\n")
    ///     .run();
    /// assert_eq!(answer.view("requests"), ["/a\t3"]);
    /// ```
    #[track_caller]
    pub fn count(self, name: &str) -> Table<'scope, (R, isize)> {
        let rows = totals_of_facts(&self.site, name, Location::caller(), self.rows());
        let all = self.names.all.clone();
        let key = all.clone().unwrap_or_default();
        let all = all.map(|all| all.into_iter().chain(["count".to_owned()]).collect());
        Rows::new(rows, Names { all, key }, self.site)
    }
}
