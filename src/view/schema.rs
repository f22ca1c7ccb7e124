//! What a view's columns are.

use std::fmt;

use crate::data::{CellType, Row};
use crate::view::View;

/// A view as sinks know it: its name, and its columns with their types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// The view as it was declared.
    pub view: View,
    /// Its columns, in order.
    pub columns: Vec<Column>,
    /// How its rows change.
    pub rows: Rows,
}

/// One column of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// What it is called.
    pub name: &'static str,
    /// What stands in it.
    pub cell: CellType,
    /// Whether it is part of the view's key: of what a row is about. No two rows have the same key at one time. Where no
    /// key was declared, all columns are the key, and a row may occur several times.
    pub key: bool,
}

/// How the rows of a view change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// At any time.
    Change,
    /// Until they become final, one by one: tables of windows and of sessions.
    BecomeFinal,
    /// Never: each row is final as it comes, and none is retracted.
    Appended,
}

impl Rows {
    /// Whether rows become final, so that a sink can append them.
    pub fn have_finals(self) -> bool {
        self != Rows::Change
    }
}

/// A key that names a column which the view does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("view `{view}` has no column `{column}` that could be part of its key; it has {columns:?}")]
pub struct UnknownKey {
    /// The view.
    pub view: &'static str,
    /// The column that there is not.
    pub column: String,
    /// The columns that there are.
    pub columns: &'static [&'static str],
}

impl Schema {
    /// `view` with rows of type `R`, of which `key` is the key; an empty one is all of the row.
    ///
    /// # Errors
    ///
    /// When `key` names a column that there is not.
    ///
    /// # Panics
    ///
    /// If `R` has another number of columns than `view`.
    ///
    /// ```
    /// use thalweg::data::{Bytes, Kind};
    /// use thalweg::view::{Rows, Schema, View};
    /// let view = View { name: "urls", columns: &["url", "count"], about: "how often" };
    /// let schema = Schema::new::<(Bytes, i64)>(view, &["url"], Rows::Change).unwrap();
    /// let keys: Vec<_> = schema.key().map(|column| column.name).collect();
    /// assert_eq!((keys, schema.columns[0].cell.kind), (vec!["url"], Kind::Bytes));
    /// let error = Schema::new::<(Bytes, i64)>(view, &["uri"], Rows::Change).unwrap_err();
    /// assert!(error.to_string().contains("`urls` has no column `uri`"), "{error}");
    /// ```
    pub fn new<R: Row>(view: View, key: &[&str], rows: Rows) -> Result<Self, UnknownKey> {
        assert_eq!(R::COLUMNS, view.columns.len(), "columns given and declared of view `{}`", view.name);
        if let Some(column) = key.iter().find(|column| !view.columns.contains(column)) {
            return Err(UnknownKey { view: view.name, column: (*column).to_owned(), columns: view.columns });
        }
        let part = |name: &str| key.is_empty() || key.contains(&name);
        let columns = view.columns.iter().zip(R::TYPES);
        let columns = columns.map(|(name, cell)| Column { name, cell: *cell, key: part(name) }).collect();
        Ok(Schema { view, columns, rows })
    }

    /// The columns of its key.
    pub fn key(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.key)
    }
}

impl fmt::Display for Schema {
    /// `urls (url*: text, count: integer of 64 bits)`, with a star at each column of the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (", self.view.name)?;
        for (at, Column { name, cell, key }) in self.columns.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(f, "{comma}{name}{}: {cell}", if *key { "*" } else { "" })?;
        }
        f.write_str(")")
    }
}
