//! Values, and what may be asked of them.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::format::decimal::scaled;
use crate::format::escapes::unescape;
use crate::format::json::walk::{Node, inner};
use crate::format::time::{Zone, parse_rfc3339, parse_time, time_of_int, time_of_number};
use crate::time::Time;

/// A JSON value of a line.
///
/// ```
/// use thalweg::format::{LineFormat, Json, JsonValue};
/// let mut json = Json::new([("id", "id"), ("user", "user")])?;
/// let record = json.parse(br#"{"id": 18446744073709551615, "user": {"name": "eve"}}"#).unwrap();
/// assert_eq!(record.get("id"), JsonValue::Number("18446744073709551615"));
/// assert_eq!(record.get("user").member("name").text(), Some("eve"));
/// # Ok::<(), thalweg::format::JsonError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonValue<'a> {
    /// `null`, or no value at all.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number without fraction and exponent that fits.
    Int(i64),
    /// Any other number, as the line has it.
    Number(&'a str),
    /// A string with its escapes undone; it borrows from the line if there are none.
    Text(Cow<'a, str>),
    /// An array, as the line has it; see [`JsonValue::elements`].
    Array(&'a str),
    /// An object, as the line has it; see [`JsonValue::member`].
    Object(&'a str),
}

impl<'a> JsonValue<'a> {
    /// Reads a value that is known to be JSON, without white space around it.
    #[inline]
    pub(in crate::format) fn read(raw: &'a str) -> Self {
        match raw.as_bytes() {
            [] | [b'n', ..] => JsonValue::Null,
            [b't', ..] => JsonValue::Bool(true),
            [b'f', ..] => JsonValue::Bool(false),
            [b'"', ..] => JsonValue::Text(unescape(inner(raw))),
            [b'[', ..] => JsonValue::Array(raw),
            [b'{', ..] => JsonValue::Object(raw),
            _ => raw.parse().map_or(JsonValue::Number(raw), JsonValue::Int),
        }
    }

    /// Whether it is `null` or missing.
    pub fn is_null(&self) -> bool {
        *self == JsonValue::Null
    }

    /// The text, if it is a string.
    pub fn text(&self) -> Option<&str> {
        match self {
            JsonValue::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is written as an integer and fits.
    pub fn int(&self) -> Option<i64> {
        match self {
            JsonValue::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The number nearest to the one in the line, if it is a number and not beyond all finite ones.
    pub fn real(&self) -> Option<f64> {
        match self {
            JsonValue::Int(number) => Some(*number as f64),
            JsonValue::Number(number) => number.parse().ok().filter(|number: &f64| number.is_finite()),
            _ => None,
        }
    }

    /// Whether it is `true`, if it is `true` or `false`.
    pub fn bool(&self) -> Option<bool> {
        match self {
            JsonValue::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The time, in milliseconds since the Unix epoch: a number of milliseconds, or a string as
    /// [`parse_rfc3339`] reads it.
    ///
    /// What is finer than a millisecond is cut off. `None` if it is anything else or does not fit.
    pub fn millis(&self) -> Option<Time> {
        self.time(0)
    }

    /// The time, in milliseconds since the Unix epoch: a number of *seconds*, which may have a fraction, or a string as
    /// [`parse_rfc3339`] reads it.
    ///
    /// What is finer than a millisecond is cut off. `None` if it is anything else or does not fit.
    pub fn seconds(&self) -> Option<Time> {
        self.time(3)
    }

    /// The time, where a number times `10^power` is milliseconds.
    fn time(&self, power: i32) -> Option<Time> {
        match self {
            JsonValue::Int(number) => number.checked_mul(10_i64.checked_pow(power.unsigned_abs())?).map(Time),
            JsonValue::Number(number) => scaled(number, power).map(Time),
            JsonValue::Text(text) => parse_rfc3339(text.as_bytes()),
            _ => None,
        }
    }

    /// The time, however it is written: a number, whose size tells its unit, or a string as [`parse_time`] reads it. A
    /// time without a zone is one of `zone`.
    ///
    /// ```
    /// use thalweg::format::{Json, LineFormat};
    /// use thalweg::format::time::Zone;
    /// use thalweg::time::Time;
    /// let mut json = Json::new([("at", "at")])?;
    /// for at in ["1710406829", "1710406829000", "1710406829000000", "\"1710406829\"", "\"2024-03-14 09:00:29\""] {
    ///     let line = format!("{{\"at\": {at}}}");
    ///     let record = json.parse(line.as_bytes()).unwrap();
    ///     assert_eq!(record.get("at").time_in(Zone::UTC), Some(Time(1_710_406_829_000)), "{at}");
    /// }
    /// # Ok::<(), thalweg::format::JsonError>(())
    /// ```
    pub fn time_in(&self, zone: Zone) -> Option<Time> {
        match self {
            JsonValue::Int(number) => Some(time_of_int(*number)),
            JsonValue::Number(number) => time_of_number(number),
            JsonValue::Text(text) => parse_time(text.as_bytes(), zone),
            _ => None,
        }
    }

    /// The elements, if it is an array; none of anything else.
    ///
    /// ```
    /// use thalweg::format::{LineFormat, Json};
    /// let mut json = Json::new([("tags", "entities.hashtags")])?;
    /// let line = br#"{"entities": {"hashtags": [{"text": "rust"}, {"text": "logs"}]}}"#;
    /// let record = json.parse(line).unwrap();
    /// let tags: Vec<_> = record.elements("tags").map(|tag| tag.member("text")).collect();
    /// assert_eq!(tags[0].text(), Some("rust"));
    /// assert_eq!(tags[1].text(), Some("logs"));
    /// # Ok::<(), thalweg::format::JsonError>(())
    /// ```
    pub fn elements(&self) -> JsonElements<'a> {
        match self {
            JsonValue::Array(array) => JsonElements { rest: array.get(1..).unwrap_or_default() },
            _ => JsonElements { rest: "" },
        }
    }

    /// The value of a key, if it is an object that has it, or else null. `key` is one key, and not a path.
    ///
    /// It is searched for at every call; what every line is asked for is better a field of [`Json`](super::Json).
    pub fn member(&self, key: &str) -> JsonValue<'a> {
        let JsonValue::Object(object) = self else { return JsonValue::Null };
        let mut node = Node::default();
        node.add(&[key.to_owned()], 0);
        let mut values = [None];
        let _ = node.find(object.as_bytes(), &mut values);
        values[0].map_or(JsonValue::Null, JsonValue::read)
    }
}

/// The elements of an array, see [`JsonValue::elements`].
#[derive(Clone, Debug)]
pub struct JsonElements<'a> {
    /// The array from the next element on, or from the comma before it.
    rest: &'a str,
}

impl<'a> Iterator for JsonElements<'a> {
    type Item = JsonValue<'a>;

    fn next(&mut self) -> Option<JsonValue<'a>> {
        let rest = self.rest.trim_ascii_start();
        let rest = rest.strip_prefix(',').unwrap_or(rest);
        let mut reader = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
        // The closing bracket is no value, and so the end.
        let element = reader.next().and_then(Result::ok);
        self.rest = rest.get(reader.byte_offset()..).unwrap_or_default();
        if element.is_none() {
            self.rest = "";
        }
        Some(JsonValue::read(element?.get()))
    }
}

impl std::iter::FusedIterator for JsonElements<'_> {}
