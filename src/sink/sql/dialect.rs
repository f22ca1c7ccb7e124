//! What databases say differently.

use crate::data::{CellType, Kind};

/// Which SQL a database speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(all(feature = "sqlite", feature = "postgres", feature = "mysql")),
    expect(dead_code, reason = "a program may be built for some of them")
)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
    Mysql {
        /// In which no two different texts are equal.
        collation: &'static str,
    },
}

use Dialect::{Mysql, Postgres, Sqlite};

impl Dialect {
    /// `name`, quoted.
    pub(super) fn quote(self, name: &str) -> String {
        match self {
            Mysql { .. } => format!("`{}`", name.replace('`', "``")),
            Sqlite | Postgres => format!("\"{}\"", name.replace('"', "\"\"")),
        }
    }

    /// The longest name that it does not cut.
    pub(super) fn longest_name(self) -> usize {
        match self {
            Postgres => 63,
            Mysql { .. } => 64,
            Sqlite => 1000,
        }
    }

    /// How many bytes of text each of `texts` columns of a key may have that has `others` besides; `None` if as many as there are.
    pub(super) fn key_text(self, texts: usize, others: usize) -> Option<usize> {
        // An entry of PostgreSQL's index is shorter than a third of a page; InnoDB's has 3072 bytes, and four for each character.
        let (all, width): (usize, usize) = match self {
            Sqlite => return None,
            Postgres => (2600, 1),
            Mysql { .. } => (3000, 4),
        };
        Some(all.saturating_sub(16 * others) / width / texts.max(1))
    }

    /// The type of a column for `cell`, as the database itself writes it. `limit` is how many bytes of text it takes as part of a
    /// key.
    pub(super) fn column(self, cell: CellType, limit: Option<usize>) -> String {
        let name = match (self, cell.kind) {
            (Sqlite, Kind::Bool) => "BOOLEAN",
            // What does not fit is text: a column without a type takes both as they are.
            (Sqlite, Kind::Int { bits, signed }) if bits > 64 || bits == 64 && !signed => "",
            (Sqlite, Kind::Int { .. }) => "INTEGER",
            (Sqlite, Kind::Float) => "REAL",
            (Sqlite, Kind::Time | Kind::Bytes) => "TEXT",

            (Postgres, Kind::Bool) => "boolean",
            (Postgres, Kind::Int { bits, signed }) => match bits + u32::from(!signed) {
                ..=16 => "smallint",
                17..=32 => "integer",
                33..=64 => "bigint",
                65 => "numeric(20,0)",
                _ => "numeric(39,0)",
            },
            (Postgres, Kind::Float) => "double precision",
            (Postgres, Kind::Time) => "timestamp with time zone",
            (Postgres, Kind::Bytes) => "text",

            (Mysql { .. }, Kind::Bool) => "tinyint(1)",
            (Mysql { .. }, Kind::Int { bits, signed }) => match (bits, signed) {
                (..=8, true) => "tinyint",
                (..=8, false) => "tinyint unsigned",
                (9..=16, true) => "smallint",
                (9..=16, false) => "smallint unsigned",
                (17..=32, true) => "int",
                (17..=32, false) => "int unsigned",
                (33..=64, true) => "bigint",
                (33..=64, false) => "bigint unsigned",
                _ => "decimal(39,0)",
            },
            (Mysql { .. }, Kind::Float) => "double",
            (Mysql { .. }, Kind::Time) => "datetime(3)",
            (Mysql { collation }, Kind::Bytes) => {
                let name = limit.map_or("longtext".to_owned(), |limit| format!("varchar({limit})"));
                return format!("{name} collate {collation}");
            }
        };
        name.to_owned()
    }

    /// Whether a column for `cell` may have to hold a null for a value that the database cannot hold.
    pub(super) fn is_nullable(self, cell: CellType) -> bool {
        let lacks = match self {
            Postgres => false,
            // NaN is null.
            Sqlite => cell.kind == Kind::Float,
            Mysql { .. } => matches!(cell.kind, Kind::Float | Kind::Time),
        };
        cell.nullable || lacks
    }

    /// The type of a column of digests.
    pub(super) fn digest(self) -> &'static str {
        match self {
            Sqlite => "BLOB",
            Postgres => "bytea",
            Mysql { .. } => "binary(16)",
        }
    }

    /// The type of a column of counts.
    pub(super) fn count(self) -> &'static str {
        if self == Sqlite { "INTEGER" } else { "bigint" }
    }

    /// The type of a column of short text.
    pub(super) fn word(self) -> &'static str {
        if matches!(self, Mysql { .. }) {
            "varchar(255) character set utf8mb4 collate utf8mb4_bin"
        } else {
            "text"
        }
    }

    /// What stands behind a table's columns.
    pub(super) fn table_options(self) -> &'static str {
        if matches!(self, Mysql { .. }) { " ENGINE=InnoDB CHARACTER SET utf8mb4" } else { "" }
    }

    /// The place of parameter `number`, from 1, which is a whole number or text.
    pub(super) fn parameter(self, number: usize, is_number: bool) -> String {
        match (self, is_number) {
            (Postgres, true) => format!("${number}::text::bigint"),
            (Postgres, false) => format!("${number}::text"),
            _ => "?".to_owned(),
        }
    }

    /// `column` as text.
    pub(super) fn as_text(self, column: &str) -> String {
        format!("CAST({column} AS {})", if matches!(self, Mysql { .. }) { "char" } else { "text" })
    }

    /// What a transaction begins with that will write.
    pub(super) fn begin(self) -> &'static str {
        if self == Sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" }
    }

    /// What locks the rows that a query has found.
    pub(super) fn for_update(self) -> &'static str {
        if self == Sqlite { "" } else { " FOR UPDATE" }
    }
}
