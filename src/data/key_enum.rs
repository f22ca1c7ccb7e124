//! Enums as keys.

/// What was read is none of the names of an enum that [`key_enum!`](crate::key_enum) declared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not one of {}", known.join(", "))]
#[non_exhaustive]
pub struct UnknownName {
    /// What was read.
    pub given: String,
    /// The names.
    pub known: Vec<&'static str>,
}

impl UnknownName {
    /// `given`, which is not among `known`.
    pub fn new(given: &str, known: impl IntoIterator<Item = &'static str>) -> Self {
        UnknownName { given: given.to_owned(), known: known.into_iter().collect() }
    }
}

/// Declares an enum without fields, each variant with the name that logs and views have for it.
///
/// The enum is a [`Key`](crate::data::Key), lent as itself, and a [`Cell`](crate::data::Cell), shown as its name; it is
/// `Copy`, in the order of its variants, and has `ALL`, `name()`, `from_bytes()`, `Display` and `FromStr`. On the wire it is its
/// name, so that variants can be added and moved about.
///
/// ```
/// use thalweg::prelude::*;
///
/// thalweg::key_enum! {
///     /// How bad it is.
///     pub enum Level {
///         /// Nobody minds.
///         Info = "info",
///         Warning = "warn",
///     }
/// }
///
/// assert_eq!(Level::from_bytes(b"warn"), Some(Level::Warning));
/// assert_eq!("fatal".parse::<Level>().unwrap_err().to_string(), "`fatal` is not one of info, warn");
///
/// let levels = thalweg::testing::collection(Text, b"warn\ninfo\n?\nwarn\n", |lines| {
///     lines.by(column::<Level>("level"), |line| Level::from_bytes(line.line())).count("levels").rows()
/// });
/// assert_eq!(levels, [((Level::Info, 1), 1), ((Level::Warning, 2), 1)]);
/// ```
#[macro_export]
macro_rules! key_enum {
    (
        $(#[$about:meta])*
        $visible:vis enum $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal),+ $(,)? }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $visible enum $name {
            $($(#[$doc])* #[doc = concat!("`", $text, "`")] $variant),+
        }

        #[allow(dead_code, reason = "not every enum is asked for all of it")]
        impl $name {
            /// Every variant, in order.
            $visible const ALL: &'static [Self] = &[$($name::$variant),+];

            /// The name that logs have for it.
            $visible const fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $text),+
                }
            }

            /// The variant of this name, if there is one.
            $visible fn from_bytes(name: &[u8]) -> ::std::option::Option<Self> {
                Self::ALL.iter().copied().find(|known| known.name().as_bytes() == name)
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::data::UnknownName;

            fn from_str(name: &str) -> ::std::result::Result<Self, Self::Err> {
                let known = || Self::ALL.iter().map(|known| known.name());
                Self::from_bytes(name.as_bytes()).ok_or_else(|| $crate::data::UnknownName::new(name, known()))
            }
        }

        impl $crate::data::Key for $name {
            type Ref<'a> = Self;
            #[inline]
            fn lend(&self) -> Self {
                *self
            }
            #[inline]
            fn is(&self, other: Self) -> bool {
                *self == other
            }
            #[inline]
            fn own(lent: Self) -> Self {
                lent
            }
            #[inline]
            fn shorten<'long: 'short, 'short>(lent: Self) -> Self {
                lent
            }
        }

        impl $crate::data::Stored for $name {
            const WIDTH: usize = 1;
            const FIRST_IS_NEVER_NULL: bool = true;

            fn columns(name: &str) -> ::std::vec::Vec<$crate::data::Field> {
                <::std::string::String as $crate::data::Stored>::columns(name)
            }

            fn put(&self, row: &mut $crate::data::RowWriter<'_>) {
                row.text(self.name());
            }

            fn take(
                row: &mut $crate::data::RowReader<'_>,
            ) -> ::std::result::Result<Self, $crate::data::StoredError> {
                let name = row.text()?.to_owned();
                name.parse().map_err(|error: $crate::data::UnknownName| {
                    row.damaged($crate::data::ColumnType::Text, ::std::stringify!($name), error)
                })
            }
        }

        impl $crate::data::Cell for $name {
            const TYPE: $crate::data::CellType = $crate::data::CellType::of($crate::data::Kind::Bytes);

            fn value(&self) -> $crate::data::Value<'_> {
                $crate::data::Value::Bytes(self.name().as_bytes())
            }
        }

        impl $crate::reexport::serde::Serialize for $name {
            fn serialize<S: $crate::reexport::serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::std::result::Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> $crate::reexport::serde::Deserialize<'de> for $name {
            fn deserialize<D: $crate::reexport::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> ::std::result::Result<Self, D::Error> {
                struct Name;
                impl $crate::reexport::serde::de::Visitor<'_> for Name {
                    type Value = $name;
                    fn expecting(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                        f.write_str(::std::stringify!($name))
                    }
                    fn visit_str<E: $crate::reexport::serde::de::Error>(
                        self,
                        name: &str,
                    ) -> ::std::result::Result<$name, E> {
                        name.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Name)
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use crate::data::{Cell, Key, Value};

    crate::key_enum! {
        enum Side { Left = "left", Right = "droit \u{e9}" }
    }

    #[test]
    fn enums_are_keys_by_their_names() {
        assert_eq!(Side::ALL, [Side::Left, Side::Right]);
        for side in Side::ALL {
            assert_eq!(side.to_string().parse(), Ok(*side));
            assert_eq!(side.value(), Value::Bytes(side.name().as_bytes()));
            assert!(side.is(side.lend()) && Side::own(*side) == *side);
            let written = serde_json::to_string(side).expect("a name");
            assert_eq!(serde_json::from_str::<Side>(&written).expect("as written"), *side);
        }
        assert!(serde_json::from_str::<Side>("\"up\"").is_err());
        assert_eq!(Side::from_bytes(b""), None);
        assert!(Side::Left < Side::Right && !Side::Left.is(Side::Right));
    }
}
