//! Keys: borrowed while records are read, owned once they leave their chunk.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use differential_dataflow::ExchangeData;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

use crate::data::Stored;
use crate::time::Time;

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
/// Implemented for [`Bytes`], which is lent as `&[u8]`; `String`, lent as `&str`; integers of fixed width, `char`, `bool` and
/// `()`, lent as themselves; an `Option` of a key; tuples of up to six keys; and what [`key_enum!`](crate::key_enum)
/// declares. Text of a log is best a [`Bytes`]: it need not be UTF-8, and short keys are kept in place.
///
/// ```
/// use thalweg::data::{Bytes, Key};
/// let lent = <(String, Option<Bytes>, char)>::own(("GET", Some(b"/a"), 'x'));
/// assert_eq!(lent, ("GET".to_owned(), Some(Bytes::from("/a")), 'x'));
/// assert!(lent.is(("GET", Some(b"/a"), 'x')) && !lent.is(("GET", None, 'x')));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key of a door",
    label = "not a key",
    note = "keys are `Bytes` (lent as `&[u8]`), `String` (lent as `&str`), integers of fixed width, `char`, `bool`, `()`, an \
            `Option` of a key, or a tuple of up to six keys",
    note = "an enum without fields becomes a key by `key_enum! {{ enum Level {{ Debug = \"debug\" }} }}`",
    note = "`&str` and `&[u8]` are what a record lends: name the owned form, as in `column::<Bytes>(\"url\")`"
)]
pub trait Key: ExchangeData + Hash + Stored {
    /// The key as a record lends it.
    type Ref<'a>: Copy + Hash;

    /// The key as its own loan.
    fn lend(&self) -> Self::Ref<'_>;

    /// Whether this key is `other`.
    fn is(&self, other: Self::Ref<'_>) -> bool;

    /// An owned copy.
    fn own(lent: Self::Ref<'_>) -> Self;

    /// How many bytes it owns elsewhere. As provided, none.
    fn owned_bytes(&self) -> usize {
        0
    }

    /// The same loan for a shorter time, which the compiler cannot know to be one.
    fn shorten<'long: 'short, 'short>(lent: Self::Ref<'long>) -> Self::Ref<'short>;
}

impl Key for Bytes {
    type Ref<'a> = &'a [u8];
    #[inline]
    fn owned_bytes(&self) -> usize {
        if self.0.spilled() { self.0.capacity() } else { 0 }
    }
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
    #[inline]
    fn shorten<'long: 'short, 'short>(lent: &'long [u8]) -> &'short [u8] {
        lent
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
            #[inline]
            fn shorten<'long: 'short, 'short>(lent: $t) -> $t { lent }
        }
    )*};
}
copy_key!((), u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, char, bool, Time);

impl Key for String {
    type Ref<'a> = &'a str;
    #[inline]
    fn owned_bytes(&self) -> usize {
        self.capacity()
    }
    #[inline]
    fn lend(&self) -> &str {
        self
    }
    #[inline]
    fn is(&self, other: &str) -> bool {
        same(self.as_bytes(), other.as_bytes())
    }
    #[inline]
    fn own(lent: &str) -> Self {
        lent.to_owned()
    }
    #[inline]
    fn shorten<'long: 'short, 'short>(lent: &'long str) -> &'short str {
        lent
    }
}

impl<K: Key> Key for Option<K> {
    type Ref<'a> = Option<K::Ref<'a>>;
    #[inline]
    fn owned_bytes(&self) -> usize {
        self.as_ref().map_or(0, K::owned_bytes)
    }
    #[inline]
    fn lend(&self) -> Self::Ref<'_> {
        self.as_ref().map(K::lend)
    }
    #[inline]
    fn is(&self, other: Self::Ref<'_>) -> bool {
        match (self, other) {
            (Some(key), Some(other)) => key.is(other),
            (None, None) => true,
            _ => false,
        }
    }
    #[inline]
    fn own(lent: Self::Ref<'_>) -> Self {
        lent.map(K::own)
    }
    #[inline]
    fn shorten<'long: 'short, 'short>(lent: Self::Ref<'long>) -> Self::Ref<'short> {
        lent.map(K::shorten)
    }
}

macro_rules! tuple_key {
    ($($k:ident $i:tt),*) => {
        impl<$($k: Key),*> Key for ($($k,)*) {
            type Ref<'a> = ($($k::Ref<'a>,)*);
            #[inline]
            fn owned_bytes(&self) -> usize {
                0 $(+ self.$i.owned_bytes())*
            }
            #[inline]
            fn lend(&self) -> Self::Ref<'_> {
                ($(self.$i.lend(),)*)
            }
            #[inline]
            fn is(&self, other: Self::Ref<'_>) -> bool {
                $(self.$i.is(other.$i))&&*
            }
            #[inline]
            fn own(lent: Self::Ref<'_>) -> Self {
                ($($k::own(lent.$i),)*)
            }
            #[inline]
            fn shorten<'long: 'short, 'short>(lent: Self::Ref<'long>) -> Self::Ref<'short> {
                ($($k::shorten(lent.$i),)*)
            }
        }
    };
}
tuple_key!(A 0);
tuple_key!(A 0, B 1);
tuple_key!(A 0, B 1, C 2);
tuple_key!(A 0, B 1, C 2, D 3);
tuple_key!(A 0, B 1, C 2, D 3, E 4);
tuple_key!(A 0, B 1, C 2, D 3, E 4, F 5);

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

    /// What a door relies on: a key is what was lent, and hashes as its own loan does.
    fn owned_as_lent<K: Key>(lent: K::Ref<'_>, other: K::Ref<'_>) {
        use std::hash::BuildHasher;
        let state = foldhash::quality::FixedState::with_seed(1);
        let key = K::own(lent);
        assert_eq!(state.hash_one(key.lend()), state.hash_one(lent));
        assert_eq!(state.hash_one(&key), state.hash_one(lent));
        assert!(key.is(lent) && key.is(key.lend()) && !key.is(other));
        let copied: K =
            serde_json::from_str(&serde_json::to_string(&key).expect("keys are JSON")).expect("as written");
        assert!(copied == key && K::own(key.lend()) == key);
    }

    #[test]
    fn keys_of_every_kind_are_what_was_lent() {
        owned_as_lent::<Bytes>(b"key", b"kez");
        owned_as_lent::<String>("clé", "cle");
        owned_as_lent::<char>('é', 'e');
        owned_as_lent::<u128>(u128::MAX, u128::MAX >> 64);
        owned_as_lent::<i128>(i128::MIN, 0);
        owned_as_lent::<Option<String>>(Some(""), None);
        owned_as_lent::<Option<u8>>(None, Some(0));
        owned_as_lent::<(Bytes,)>((b"key",), (b"",));
        owned_as_lent::<(Bytes, u16)>((b"key", 7), (b"key", 8));
        owned_as_lent::<(String, Option<Bytes>, (), bool, char, i64)>(
            ("a", Some(b"b"), (), true, 'c', -1),
            ("a", Some(b"b"), (), true, 'c', -2),
        );
    }
}
