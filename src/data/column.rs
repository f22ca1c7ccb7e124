//! What kind of value stands in a column.

use std::fmt;

/// What stands in a column, for sinks that must know before the first row: tables of a database, columns of a file.
///
/// ```
/// use thalweg::data::{Bytes, Cell, CellType, Kind, types};
/// use thalweg::time::Time;
/// assert_eq!(u16::TYPE, CellType::of(Kind::Int { bits: 16, signed: false }));
/// assert_eq!(types::<Option<Time>>().first().map(ToString::to_string).as_deref(), Some("time or null"));
/// assert!(!Bytes::TYPE.nullable);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CellType {
    /// What kind of value it is.
    pub kind: Kind,
    /// Whether there may be none.
    pub nullable: bool,
}

/// A kind of value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Yes or no.
    Bool,
    /// A number without a fraction.
    Int {
        /// How many bits hold it.
        bits: u32,
        /// Whether it may be less than zero.
        signed: bool,
    },
    /// A number with a fraction, of 64 bits.
    Float,
    /// A moment in event time, in milliseconds since 1970 UTC.
    Time,
    /// Text, not always UTF-8.
    Bytes,
}

impl CellType {
    /// Always a value of this kind.
    pub const fn of(kind: Kind) -> Self {
        CellType { kind, nullable: false }
    }

    /// The same, or none.
    #[must_use]
    pub const fn or_null(self) -> Self {
        CellType { nullable: true, ..self }
    }
}

impl fmt::Display for CellType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Bool => f.write_str("yes or no")?,
            Kind::Int { bits, signed: true } => write!(f, "integer of {bits} bits")?,
            Kind::Int { bits, signed: false } => write!(f, "unsigned integer of {bits} bits")?,
            Kind::Float => f.write_str("number")?,
            Kind::Time => f.write_str("time")?,
            Kind::Bytes => f.write_str("text")?,
        }
        if self.nullable { f.write_str(" or null") } else { Ok(()) }
    }
}
