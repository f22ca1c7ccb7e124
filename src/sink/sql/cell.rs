//! Values as databases keep them.

use std::hash::{Hash, Hasher};

use sha2::{Digest, Sha256};

use crate::data::{Value, escape_sql};
use crate::time::Time;

/// A value as a database keeps it, owned.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    /// Milliseconds since 1970 UTC.
    Time(i64),
    Text(String),
    /// What stands for a key, see [`digest`].
    Digest([u8; DIGEST]),
}

/// A row, or the key of one.
pub(super) type Row = Vec<Cell>;

/// So many bytes of a SHA-256 stand for a key: nobody finds two keys that have the same.
pub(super) const DIGEST: usize = 16;

impl PartialEq for Cell {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Cell::Null, Cell::Null) => true,
            (Cell::Bool(a), Cell::Bool(b)) => a == b,
            (Cell::Int(a), Cell::Int(b)) => a == b,
            (Cell::Float(a), Cell::Float(b)) => a.to_bits() == b.to_bits(),
            (Cell::Time(a), Cell::Time(b)) => a == b,
            (Cell::Text(a), Cell::Text(b)) => a == b,
            (Cell::Digest(a), Cell::Digest(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Cell {}

impl Hash for Cell {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Cell::Null => 0u8.hash(state),
            Cell::Bool(value) => value.hash(state),
            Cell::Int(value) => value.hash(state),
            Cell::Float(value) => value.to_bits().hash(state),
            Cell::Time(value) => value.hash(state),
            Cell::Text(value) => value.hash(state),
            Cell::Digest(value) => value.hash(state),
        }
    }
}

impl Cell {
    /// `value`; text of a key that has more than `limit` bytes is made shorter, see [`text`].
    pub(super) fn of(value: &Value<'_>, limit: Option<usize>) -> Self {
        match *value {
            Value::Null => Cell::Null,
            Value::Bool(value) => Cell::Bool(value),
            Value::Int(value) => Cell::Int(value),
            Value::Float(value) => Cell::Float(value),
            Value::Time(millis) => Cell::Time(millis),
            Value::Bytes(bytes) => Cell::Text(text(bytes, limit)),
        }
    }

    /// About how many bytes it takes on its way.
    #[cfg(feature = "mysql")]
    pub(super) fn bytes(&self) -> usize {
        match self {
            Cell::Text(text) => text.len() + 8,
            _ => 24,
        }
    }
}

/// What stands before the digest of a text that was made shorter.
const MARK: &str = "…sha256:";

/// `bytes` as text that databases can hold. Where `limit` says how many bytes of text an index takes, longer text is cut there and
/// ends with a digest of all of it: so it stays a key, and no two keys become one.
fn text(bytes: &[u8], limit: Option<usize>) -> String {
    let text = escape_sql(bytes);
    let Some(limit) = limit.filter(|limit| text.len() > *limit || looks_cut(&text)) else {
        return text.into_owned();
    };
    let digest: String = Sha256::digest(bytes)[..DIGEST].iter().map(|byte| format!("{byte:02x}")).collect();
    let mut end = limit.saturating_sub(MARK.len() + digest.len()).min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{MARK}{digest}", &text[..end])
}

/// Whether `text` could be one that was made shorter.
fn looks_cut(text: &str) -> bool {
    text.rsplit_once(MARK).is_some_and(|(_, digest)| digest.len() == 2 * DIGEST)
}

/// What stands for a key that no index takes as it is: because there may be nulls in it, or numbers with fractions, or because
/// all columns of a row are its key.
pub(super) fn digest<'a>(values: impl Iterator<Item = &'a Value<'a>>) -> [u8; DIGEST] {
    let mut hash = Sha256::new();
    for value in values {
        match *value {
            Value::Null => hash.update([0]),
            Value::Bool(value) => hash.update([1, u8::from(value)]),
            Value::Int(value) => {
                hash.update([2]);
                hash.update(value.to_be_bytes());
            }
            Value::Float(value) => {
                hash.update([3]);
                hash.update(value.to_bits().to_be_bytes());
            }
            Value::Time(millis) => {
                hash.update([4]);
                hash.update(millis.to_be_bytes());
            }
            Value::Bytes(bytes) => {
                hash.update([5]);
                hash.update((bytes.len() as u64).to_be_bytes());
                hash.update(bytes);
            }
        }
    }
    let whole: [u8; 32] = hash.finalize().into();
    std::array::from_fn(|at| whole[at])
}

/// Whether all databases can hold this time: its year has four digits.
pub(super) fn is_storable(millis: i64) -> bool {
    Time(millis).rfc3339().is_some()
}

/// Bytes as digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_keys_are_cut_and_none_looks_like_another() {
        let long = "/é".repeat(100);
        let cut = text(long.as_bytes(), Some(100));
        assert!(cut.len() <= 100 && cut.starts_with("/é/é") && cut.contains(MARK), "{cut}");
        let other = text(format!("{long}!").as_bytes(), Some(100));
        let forged = text(cut.as_bytes(), Some(100));
        assert!(cut != other && cut != forged && forged.len() <= 100, "{cut} {other} {forged}");
        assert_eq!(text(long.as_bytes(), None), long);
        assert_eq!(text(b"a\0\xff", Some(100)), r"a\x00\xff");
    }

    #[test]
    fn digests_tell_rows_apart() {
        let rows: [&[Value<'_>]; 9] = [
            &[],
            &[Value::Null],
            &[Value::Null, Value::Null],
            &[Value::Bytes(b"ab"), Value::Bytes(b"c")],
            &[Value::Bytes(b"a"), Value::Bytes(b"bc")],
            &[Value::Int(1)],
            &[Value::Time(1)],
            &[Value::Float(0.0)],
            &[Value::Float(-0.0)],
        ];
        let digests: std::collections::BTreeSet<_> = rows.iter().map(|row| digest(row.iter())).collect();
        assert_eq!(digests.len(), rows.len());
    }
}
