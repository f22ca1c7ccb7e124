//! Which table a view has, and what its rows look like there.

use crate::data::{CellType, Kind, Value};
use crate::sink::Mode;
use crate::sink::sql::SqlError;
use crate::sink::sql::cell::{Cell, Row, digest, is_storable};
use crate::sink::sql::dialect::Dialect;
use crate::view::{Finality, Schema};

/// What rows are in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// Each row once for each time that it came; none goes.
    Facts,
    /// One row for each key.
    Keyed,
    /// Each row once, and how often it occurs.
    Counted,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// As the database writes it.
    pub(super) kind: String,
    pub(super) nullable: bool,
    /// Whether it is part of the primary key.
    pub(super) key: bool,
}

/// The table of a view.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// Unquoted, and without a schema.
    pub(super) name: String,
    /// Quoted, and with its schema.
    pub(super) quoted: String,
    pub(super) holds: Holds,
    pub(super) columns: Vec<Column>,
    pub(super) dialect: Dialect,
    /// How many columns in front are the table's own: the digest of a key, and how often a row occurs.
    own: usize,
    /// How the cells of the view's columns are made: how long a text may be as part of the key, for those that are.
    limits: Vec<Option<usize>>,
    /// Which of the view's columns are its key.
    key: Vec<usize>,
    /// Whether a digest stands for the key.
    digests: bool,
}

/// The digest of a row's key.
pub(super) const KEY_COLUMN: &str = "thalweg_key";
/// How often a row occurs.
pub(super) const COUNT_COLUMN: &str = "thalweg_count";

impl Table {
    /// The table of `view` for a sink of `mode`.
    pub(super) fn of(
        view: &Schema,
        (prefix, schema): (&str, Option<&str>),
        mode: Mode,
        dialect: Dialect,
    ) -> Result<Self, SqlError> {
        let name = format!("{prefix}{}", plain(&view.name));
        if name.len() > dialect.longest_name() {
            return Err(SqlError::LongName { name, longest: dialect.longest_name() });
        }
        let holds = match () {
            () if mode == Mode::Append || view.finality == Finality::AtOnce => Holds::Facts,
            // Where all columns are the key, none was known.
            () if view.columns.iter().all(|column| column.key) => Holds::Counted,
            () => Holds::Keyed,
        };
        let keyed = |column: &crate::view::Column| column.key && holds == Holds::Keyed;
        let key: Vec<usize> = (0..view.columns.len()).filter(|at| keyed(&view.columns[*at])).collect();
        let texts = key.iter().filter(|at| view.columns[**at].cell.kind == Kind::Bytes).count();
        let limit = dialect.key_text(texts, key.len() - texts);
        // As many columns as MySQL's index has; and what is no longer readable is no key.
        let fits = key.len() <= 16 && limit.is_none_or(|limit| limit >= 80);
        let exact = |cell: CellType| !cell.nullable && cell.kind != Kind::Float;
        let digests = match holds {
            Holds::Facts => false,
            Holds::Keyed => !fits || !key.iter().all(|at| exact(view.columns[*at].cell)),
            Holds::Counted => true,
        };
        let own_column = |name: &str, kind: &str, key| Column {
            name: name.to_owned(),
            kind: kind.to_owned(),
            nullable: false,
            key,
        };
        let mut columns = Vec::new();
        if digests {
            columns.push(own_column(KEY_COLUMN, dialect.digest(), true));
        }
        if holds == Holds::Counted {
            columns.push(own_column(COUNT_COLUMN, dialect.count(), false));
        }
        let own = columns.len();
        let limits = view.columns.iter().map(|column| limit.filter(|_| keyed(column) && !digests));
        let limits: Vec<Option<usize>> = limits.collect();
        for (column, limit) in view.columns.iter().zip(&limits) {
            let in_key = keyed(column) && !digests;
            columns.push(Column {
                name: column.name.clone(),
                kind: dialect.column(column.cell, limit.filter(|_| column.cell.kind == Kind::Bytes)),
                nullable: !in_key && dialect.is_nullable(column.cell),
                key: in_key,
            });
        }
        let quoted = match schema {
            Some(schema) => format!("{}.{}", dialect.quote(schema), dialect.quote(&name)),
            None => dialect.quote(&name),
        };
        let key = if holds == Holds::Counted { (0..view.columns.len()).collect() } else { key };
        Ok(Table { name, quoted, holds, columns, dialect, own, limits, key, digests })
    }

    /// `values` as a row of this table. `None` where its key has a time that the database cannot hold.
    pub(super) fn row(&self, values: &[Value<'_>], count: i128) -> Option<Row> {
        let holds_all_times = self.dialect == Dialect::Sqlite;
        let mut row = Row::with_capacity(self.columns.len());
        if self.digests {
            row.push(Cell::Digest(digest(self.key.iter().filter_map(|at| values.get(*at)))));
        }
        if self.holds == Holds::Counted {
            row.push(Cell::Int(count));
        }
        for ((value, limit), column) in values.iter().zip(&self.limits).zip(&self.columns[self.own..]) {
            if let Value::Time(millis) = value
                && column.key
                && !holds_all_times
                && !is_storable(*millis)
            {
                return None;
            }
            row.push(Cell::of(value, *limit));
        }
        Some(row)
    }

    /// The key of `row`.
    pub(super) fn key(&self, row: &Row) -> Row {
        let cells = row.iter().zip(&self.columns).filter(|(_, column)| column.key);
        cells.map(|(cell, _)| cell.clone()).collect()
    }

    /// The names of its columns, quoted.
    pub(super) fn names(&self) -> String {
        let names: Vec<_> = self.columns.iter().map(|column| self.dialect.quote(&column.name)).collect();
        names.join(", ")
    }

    /// The names of the columns of its key, quoted.
    pub(super) fn key_names(&self) -> Vec<String> {
        let key = self.columns.iter().filter(|column| column.key);
        key.map(|column| self.dialect.quote(&column.name)).collect()
    }

    /// The names of its other columns, quoted.
    pub(super) fn other_names(&self) -> Vec<String> {
        let others = self.columns.iter().filter(|column| !column.key);
        others.map(|column| self.dialect.quote(&column.name)).collect()
    }

    /// The statement that creates it.
    pub(super) fn create(&self) -> String {
        let columns = self.columns.iter().map(|column| {
            let null = if column.nullable { "" } else { " NOT NULL" };
            let name = self.dialect.quote(&column.name);
            format!("{}{null}", format!("{name} {}", column.kind).trim_end())
        });
        let mut parts: Vec<String> = columns.collect();
        let key = self.key_names();
        if !key.is_empty() {
            parts.push(format!("PRIMARY KEY ({})", key.join(", ")));
        }
        let options = self.dialect.table_options();
        format!("CREATE TABLE IF NOT EXISTS {} ({}){options}", self.quoted, parts.join(", "))
    }

    /// What `found`, a table that is there, has otherwise, if anything.
    pub(super) fn difference(&self, found: &[Column]) -> Option<String> {
        let name = |column: &Column| format!("`{}`", column.name);
        let missing = self.columns.iter().find(|it| found.iter().all(|other| other.name != it.name));
        if let Some(missing) = missing {
            return Some(format!("it has no column {} ({})", name(missing), describe(missing)));
        }
        let more = found.iter().find(|it| self.columns.iter().all(|other| other.name != it.name));
        if let Some(more) = more {
            return Some(format!(
                "it has a column {} ({}), which the view has not",
                name(more),
                describe(more)
            ));
        }
        let others = self.columns.iter().zip(found);
        others
            .filter(|(wanted, found)| wanted != found)
            .map(|(wanted, found)| {
                if wanted.name != found.name {
                    let order: Vec<_> = self.columns.iter().map(name).collect();
                    return format!("its columns are in another order than {}", order.join(", "));
                }
                format!("its column {} is {}, and not {}", name(found), describe(found), describe(wanted))
            })
            .next()
    }
}

/// What a column is.
fn describe(column: &Column) -> String {
    let kind = if column.kind.is_empty() { "of any type" } else { &column.kind };
    let key = if column.key { ", part of the primary key" } else { "" };
    format!("{kind}{}{key}", if column.nullable { "" } else { " not null" })
}

/// `name` in lower case, with `_` for what would have to be quoted.
fn plain(name: &str) -> String {
    let plain = name.chars().map(|char| match char.to_ascii_lowercase() {
        char @ ('a'..='z' | '0'..='9' | '_') => char,
        char if char.is_alphanumeric() => char,
        _ => '_',
    });
    plain.collect()
}
