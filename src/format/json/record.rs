//! The fields of a line.

use std::borrow::Cow;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::format::json::value::{JsonElements, JsonValue};
use crate::format::json::walk::inner;
use crate::time::Time;

/// How a field is asked for: by its index in the list that [`Json::new`](super::Json::new) was given, or by its name,
/// which is looked up among the few that there are.
pub trait JsonField: sealed::Sealed {
    /// The index among `names`.
    fn index(self, names: &[String]) -> Option<usize>;
}

impl JsonField for usize {
    #[inline]
    fn index(self, _: &[String]) -> Option<usize> {
        Some(self)
    }
}

impl JsonField for &str {
    #[inline]
    fn index(self, names: &[String]) -> Option<usize> {
        // A scan: fields are few, and hashing the name takes longer.
        names.iter().position(|known| known == self)
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for usize {}
    impl Sealed for &str {}
}

/// The fields of a line that [`Json`](super::Json) read.
///
/// A field that is missing is null. Asked for as what it is not (a number, and it is text), it is `None`: bad data is
/// no error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonRecord<'a> {
    pub(super) names: Arc<[String]>,
    /// As the line has them.
    pub(super) values: SmallVec<[Option<&'a str>; 8]>,
    pub(super) corrupt: Option<&'a [u8]>,
}

impl<'a> JsonRecord<'a> {
    /// The field as a value; null if it is missing, or if there is no such field.
    #[inline]
    pub fn get(&self, field: impl JsonField) -> JsonValue<'a> {
        self.raw(field).map_or(JsonValue::Null, JsonValue::read)
    }

    /// The field as the line has it, strings with their quotes and `null` as `null`; `None` if it is missing.
    ///
    /// ```
    /// use thalweg::format::{LineFormat, Json};
    /// let mut json = Json::new([("a", "a"), ("b", "b"), ("c", "c")])?;
    /// let record = json.parse(br#"{"a": 1.50, "b": null}"#).unwrap();
    /// assert_eq!(record.raw("a"), Some("1.50"));
    /// assert_eq!(record.raw("b"), Some("null"));
    /// assert_eq!(record.raw("c"), None);
    /// # Ok::<(), thalweg::format::JsonError>(())
    /// ```
    #[inline]
    pub fn raw(&self, field: impl JsonField) -> Option<&'a str> {
        self.values.get(field.index(&self.names)?).copied().flatten()
    }

    /// The text, if the field is a string. It borrows from the line if the string has no escapes.
    #[inline]
    pub fn text(&self, field: impl JsonField) -> Option<Cow<'a, str>> {
        match self.get(field) {
            JsonValue::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What stands between the quotes, if the field is a string, with its escapes still in it.
    ///
    /// It always borrows from the line, as the key of a door has to. It is the text where no escapes are to be
    /// expected: in names, codes and the like. Where they are, ask [`JsonRecord::text`] in a door that takes what
    /// does not outlive the call, such as [`by_each`](crate::door::Records::by_each).
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// use thalweg::format::Json;
    /// let json = Json::new([("action", "action")])?;
    /// let actions = thalweg::testing::collection(json, b"{\"action\":\"login\"}\n{}\n", |records| {
    ///     records.by(text("action"), |record| Some(record.escaped("action")?.as_bytes())).count("actions").rows()
    /// });
    /// assert_eq!(actions, [((Bytes::from("login"), 1), 1)]);
    /// # Ok::<(), thalweg::format::JsonError>(())
    /// ```
    #[inline]
    pub fn escaped(&self, field: impl JsonField) -> Option<&'a str> {
        self.raw(field).filter(|raw| raw.starts_with('"')).map(inner)
    }

    /// The number, if the field is one that is written as an integer and fits.
    #[inline]
    pub fn int(&self, field: impl JsonField) -> Option<i64> {
        self.get(field).int()
    }

    /// The number nearest to the one in the line, if the field is a number and not beyond all finite ones.
    #[inline]
    pub fn real(&self, field: impl JsonField) -> Option<f64> {
        self.get(field).real()
    }

    /// Whether the field is `true`, if it is `true` or `false`.
    #[inline]
    pub fn bool(&self, field: impl JsonField) -> Option<bool> {
        self.get(field).bool()
    }

    /// The time in milliseconds since the Unix epoch, if the field is a number of milliseconds or a string that is a
    /// time; see [`JsonValue::millis`].
    ///
    /// ```
    /// use thalweg::format::{LineFormat, Json};
    /// use thalweg::time::Time;
    /// let mut json = Json::new([("at", "at")])?;
    /// assert_eq!(json.parse(br#"{"at": 1632390896787}"#).unwrap().millis("at"), Some(Time(1_632_390_896_787)));
    /// assert_eq!(json.parse(br#"{"at": 1632390896.787}"#).unwrap().seconds("at"), Some(Time(1_632_390_896_787)));
    /// let record = json.parse(br#"{"at": "2021-09-23T09:54:56.787Z"}"#).unwrap();
    /// assert_eq!(record.millis("at"), Some(Time(1_632_390_896_787)));
    /// assert_eq!(record.seconds("at"), Some(Time(1_632_390_896_787)));
    /// # Ok::<(), thalweg::format::JsonError>(())
    /// ```
    #[inline]
    pub fn millis(&self, field: impl JsonField) -> Option<Time> {
        self.get(field).millis()
    }

    /// The time in milliseconds since the Unix epoch, if the field is a number of *seconds* or a string that is a time;
    /// see [`JsonValue::seconds`].
    #[inline]
    pub fn seconds(&self, field: impl JsonField) -> Option<Time> {
        self.get(field).seconds()
    }

    /// The elements of the field, if it is an array; none of anything else. See [`JsonValue::elements`].
    #[inline]
    pub fn elements(&self, field: impl JsonField) -> JsonElements<'a> {
        self.get(field).elements()
    }

    /// The line, if it is not one JSON object: then all fields are null. Only
    /// [`JsonMode::Permissive`](super::JsonMode::Permissive) has such records.
    #[inline]
    pub fn corrupt(&self) -> Option<&'a [u8]> {
        self.corrupt
    }
}
