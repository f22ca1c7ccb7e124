//! Named and typed columns: what records are grouped by, and what facts are made of.

use std::marker::PhantomData;

use crate::data::{Bytes, Key};
use crate::time::Time;

/// One named column, in which a key of type `K` stands.
///
/// ```
/// use thalweg::prelude::*;
/// let build = Build::new("sizes", |flow| {
///     let lines = flow.records(Text);
///     let both = lines.by((text("first"), number("bytes")), |line| Some((line.get(..1)?, line.len() as i64)));
///     both.count("lines").show("lines");
///     Ok(())
/// });
/// assert_eq!(thalweg::testing::run(build, b"ab\nac\nb\n").view("lines"), ["a\t2\t2", "b\t1\t1"]);
/// ```
#[derive(Clone, Debug)]
pub struct NamedColumn<K> {
    name: String,
    of: PhantomData<fn() -> K>,
}

/// A column of a key of type `K`: of any type that is a [`Key`].
pub fn column<K: Key>(name: impl Into<String>) -> NamedColumn<K> {
    NamedColumn { name: name.into(), of: PhantomData }
}

/// A column of text, of any bytes; records lend it as `&[u8]`.
pub fn text(name: impl Into<String>) -> NamedColumn<Bytes> {
    column(name)
}

/// A column of text in UTF-8; records lend it as `&str`.
pub fn string(name: impl Into<String>) -> NamedColumn<String> {
    column(name)
}

/// A column of whole numbers of 64 bits.
pub fn number(name: impl Into<String>) -> NamedColumn<i64> {
    column(name)
}

/// A column of yes and no.
pub fn flag(name: impl Into<String>) -> NamedColumn<bool> {
    column(name)
}

/// A column of moments in event time.
pub fn time(name: impl Into<String>) -> NamedColumn<Time> {
    column(name)
}

/// One column or a tuple of up to six: together a key.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no column",
    label = "not a column",
    note = "a column is `text(\"name\")`, `string(…)`, `number(…)`, `flag(…)`, `time(…)`, or `column::<K>(…)` of any key; several \
            are a tuple, whose function returns a tuple"
)]
pub trait Columns {
    /// What stands in them: of several, a tuple.
    type Key: Key;

    /// Adds their names, in order.
    fn names(self, to: &mut Vec<String>);
}

impl<K: Key> Columns for NamedColumn<K> {
    type Key = K;
    fn names(self, to: &mut Vec<String>) {
        to.push(self.name);
    }
}

impl Columns for () {
    type Key = ();
    fn names(self, _: &mut Vec<String>) {}
}

macro_rules! tuple_columns {
    ($($c:ident $i:tt),*) => {
        impl<$($c: Columns),*> Columns for ($($c,)*) {
            type Key = ($($c::Key,)*);
            fn names(self, to: &mut Vec<String>) {
                $(self.$i.names(to);)*
            }
        }
    };
}
tuple_columns!(A 0, B 1);
tuple_columns!(A 0, B 1, C 2);
tuple_columns!(A 0, B 1, C 2, D 3);
tuple_columns!(A 0, B 1, C 2, D 3, E 4);
tuple_columns!(A 0, B 1, C 2, D 3, E 4, F 5);

/// Names for columns: an array or vector of texts, or `()` where rows get none because they are only on their way.
pub trait ColumnNames {
    /// The names, in order.
    fn names(self) -> Option<Vec<String>>;
}

impl ColumnNames for () {
    fn names(self) -> Option<Vec<String>> {
        None
    }
}

impl<const N: usize> ColumnNames for [&str; N] {
    fn names(self) -> Option<Vec<String>> {
        Some(self.map(str::to_owned).into())
    }
}

impl ColumnNames for Vec<String> {
    fn names(self) -> Option<Vec<String>> {
        Some(self)
    }
}

/// The names of `columns`.
pub(crate) fn names_of(columns: impl Columns) -> Vec<String> {
    let mut names = Vec::new();
    columns.names(&mut names);
    names
}
