//! What a view's columns are.

use std::fmt;

use crate::data::{CellType, Row, types};
use crate::view::Misbuilt;

/// A view as sinks know it: its name, and its columns with their types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// What it is called.
    pub name: String,
    /// One line on what its rows are; empty if nobody says.
    pub about: String,
    /// Its columns, in order.
    pub columns: Vec<Column>,
    /// When its rows are final.
    pub finality: Finality,
}

/// One column of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// What it is called.
    pub name: String,
    /// What stands in it.
    pub cell: CellType,
    /// Whether it is part of the view's key: of what a row is about. No two rows have the same key at one time. Where no
    /// key is known, all columns are the key, and a row may occur several times.
    pub key: bool,
}

/// When the rows of a view are final, so that a sink can append them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finality {
    /// Never: they change at any time.
    Never,
    /// One by one, and until then they change: tables of windows and of sessions.
    InTime,
    /// As they come, and none is retracted: facts.
    AtOnce,
}

impl Finality {
    /// Whether rows become final, so that a sink can append them.
    pub fn have_finals(self) -> bool {
        self != Finality::Never
    }
}

/// What the columns of a table are called, and which of them are its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Those of all columns, in order; `None` if nobody has named them.
    pub all: Option<Vec<String>>,
    /// Those of the key. What is no longer among all of them says nothing.
    pub key: Vec<String>,
}

impl Schema {
    /// The view `name` with rows of type `R`, whose columns are called `names`.
    ///
    /// # Errors
    ///
    /// When there are more or fewer names than columns.
    ///
    /// ```
    /// use thalweg::data::{Bytes, Kind};
    /// use thalweg::view::{Finality, Names, Schema};
    /// let names = Names { all: Some(vec!["url".into(), "count".into()]), key: vec!["url".into()] };
    /// let schema = Schema::new::<(Bytes, i64)>("urls", "how often", &names, Finality::Never).unwrap();
    /// let keys: Vec<_> = schema.key().map(|column| column.name.as_str()).collect();
    /// assert_eq!((keys, schema.columns[0].cell.kind), (vec!["url"], Kind::Bytes));
    /// let error = Schema::new::<(Bytes,)>("urls", "", &names, Finality::Never).unwrap_err();
    /// assert!(error.to_string().contains("view `urls` has 1 column, and 2 are named"), "{error}");
    /// ```
    pub fn new<R: Row>(name: &str, about: &str, names: &Names, finality: Finality) -> Result<Self, Misbuilt> {
        let types = types::<R>();
        let all = names.all.clone().unwrap_or_else(|| R::names().iter().map(ToString::to_string).collect());
        if all.len() != types.len() {
            return Err(Misbuilt::Columns { view: name.to_owned(), columns: types.len(), names: all });
        }
        let known = names.key.iter().all(|key| all.contains(key)) && !names.key.is_empty();
        let key = |name: &String| !known || names.key.contains(name);
        let columns = all.into_iter().zip(types);
        let columns = columns.map(|(name, cell)| Column { key: key(&name), name, cell }).collect();
        Ok(Schema { name: name.to_owned(), about: about.to_owned(), columns, finality })
    }

    /// The columns of its key.
    pub fn key(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.key)
    }
}

impl fmt::Display for Schema {
    /// `urls (url*: text, count: integer of 64 bits)`, with a star at each column of the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (", self.name)?;
        for (at, Column { name, cell, key }) in self.columns.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(f, "{comma}{name}{}: {cell}", if *key { "*" } else { "" })?;
        }
        f.write_str(")")
    }
}
