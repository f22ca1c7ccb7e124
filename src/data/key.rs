//! Keys: borrowed while records are read, owned once they leave their chunk.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use differential_dataflow::ExchangeData;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

use crate::data::Stored;

/// An owned byte string that keeps up to 16 bytes (every IPv4 address) in place.
///
/// ```
/// use thalweg::data::Bytes;
/// let mut keys = [Bytes::from("b"), Bytes::from(&b"\xff"[..]), Bytes::from("a")];
/// keys.sort();
/// assert_eq!(keys[0], b"a"[..]);
/// assert_eq!(format!("{:?}", keys[2]), r#""\xff""#);
/// ```
#[derive(Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(SmallVec<[u8; 16]>);

// By one copy: the derived form extends an empty vector byte by byte.
impl Clone for Bytes {
    #[inline]
    fn clone(&self) -> Self {
        Bytes(SmallVec::from_slice(&self.0))
    }
}

impl From<&[u8]> for Bytes {
    #[inline]
    fn from(bytes: &[u8]) -> Self {
        Bytes(SmallVec::from_slice(bytes))
    }
}

impl From<&str> for Bytes {
    fn from(text: &str) -> Self {
        Bytes::from(text.as_bytes())
    }
}

impl Deref for Bytes {
    type Target = [u8];
    #[inline]
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Borrow<[u8]> for Bytes {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl PartialEq<[u8]> for Bytes {
    fn eq(&self, other: &[u8]) -> bool {
        **self == *other
    }
}

// As `[u8]`, so that a table of `Bytes` can be asked for a borrowed key.
impl Hash for Bytes {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

// As one run of bytes rather than as a sequence of numbers: this is what crosses the network.
impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes::from(bytes))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Bytes, A::Error> {
                let mut bytes = SmallVec::new();
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(Bytes(bytes))
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

/// An owned key, and the form in which records lend it.
///
/// A door looks keys up millions of times a second and creates one a few thousand times an epoch; so it is asked with
/// [`Key::Ref`], which borrows from the chunk, and owns a key only when it meets it for the first time.
///
/// Implemented for [`Bytes`], integers of fixed width up to 64 bits, `bool`, `()`, and pairs of these; three parts are a pair
/// with a pair in it. For text use [`Bytes`].
pub trait Key: ExchangeData + Hash + Stored {
    /// The key as a record lends it.
    type Ref<'a>: Copy + Hash;

    /// The key as its own loan.
    fn lend(&self) -> Self::Ref<'_>;

    /// Whether this key is `other`.
    fn is(&self, other: Self::Ref<'_>) -> bool;

    /// An owned copy.
    fn own(lent: Self::Ref<'_>) -> Self;
}

impl Key for Bytes {
    type Ref<'a> = &'a [u8];
    #[inline]
    fn lend(&self) -> &[u8] {
        self
    }
    #[inline]
    fn is(&self, other: &[u8]) -> bool {
        same(self, other)
    }
    #[inline]
    fn own(lent: &[u8]) -> Self {
        Bytes::from(lent)
    }
}

/// Whether `a` and `b` are the same bytes.
///
/// Every record asks this of each of its keys, and most keys are short: two overlapping words from each side settle
/// them without the call to `memcmp`, whose branches on the length are hard to predict (measured: 8 % of `access-log`).
#[inline]
fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match (a.first_chunk(), a.last_chunk(), b.first_chunk(), b.last_chunk()) {
        (Some(a0), Some(a1), Some(b0), Some(b1)) if a.len() <= 16 => {
            u64::from_ne_bytes(*a0) == u64::from_ne_bytes(*b0)
                && u64::from_ne_bytes(*a1) == u64::from_ne_bytes(*b1)
        }
        _ => a == b,
    }
}

macro_rules! copy_key {
    ($($t:ty),*) => {$(
        impl Key for $t {
            type Ref<'a> = $t;
            #[inline]
            fn lend(&self) -> $t { *self }
            #[inline]
            fn is(&self, other: $t) -> bool { *self == other }
            #[inline]
            fn own(lent: $t) -> Self { lent }
        }
    )*};
}
copy_key!((), u8, u16, u32, u64, i8, i16, i32, i64, bool);

impl<A: Key, B: Key> Key for (A, B) {
    type Ref<'a> = (A::Ref<'a>, B::Ref<'a>);
    #[inline]
    fn lend(&self) -> Self::Ref<'_> {
        (self.0.lend(), self.1.lend())
    }
    #[inline]
    fn is(&self, other: Self::Ref<'_>) -> bool {
        self.0.is(other.0) && self.1.is(other.1)
    }
    #[inline]
    fn own(lent: Self::Ref<'_>) -> Self {
        (A::own(lent.0), B::own(lent.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_serde() {
        for key in [Bytes::from(""), Bytes::from("short"), Bytes::from("longer than sixteen bytes \u{1f600}")]
        {
            let json = serde_json::to_string(&key).expect("bytes are an array in JSON");
            assert_eq!(serde_json::from_str::<Bytes>(&json).expect("what was written"), key);
        }
    }

    #[test]
    fn keys_of_any_length_are_the_same_only_as_themselves() {
        let text: Vec<u8> = (0..40).collect();
        for length in 0..text.len() {
            let key = Bytes::from(&text[..length]);
            assert!(key.is(&text[..length]) && !key.is(&text[..length + 1]));
            for at in 0..length {
                let mut other = text[..length].to_vec();
                other[at] ^= 0x80;
                assert!(!key.is(&other), "{length} bytes, differing at {at}");
            }
        }
    }

    #[test]
    fn lent_and_owned_keys_hash_alike() {
        use std::hash::BuildHasher;
        let state = foldhash::quality::FixedState::with_seed(1);
        let owned = (Bytes::from("key"), 7u16);
        assert_eq!(state.hash_one(owned.lend()), state.hash_one(&owned));
        assert!(owned.is((b"key", 7)) && !owned.is((b"key", 8)));
    }
}
