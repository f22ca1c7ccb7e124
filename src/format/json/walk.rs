//! The one pass over a line: everything is checked, and what is asked for is kept.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::format::escapes::unescape;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The paths that are asked for, as a tree of keys.
#[derive(Clone, Debug, Default)]
pub(in crate::format) struct Node {
    /// The fields whose path ends here.
    fields: Vec<usize>,
    /// The fields whose path ends here or goes on from here.
    below: Vec<usize>,
    children: Vec<(Key, Node)>,
}

/// A step of a path: a key where there is an object, and an index where there is an array.
#[derive(Clone, Debug)]
struct Key {
    name: String,
    index: Option<usize>,
}

impl Key {
    fn new(name: &str) -> Self {
        // `01` and `+1` are keys, but no indices.
        let index = name.parse().ok().filter(|index: &usize| index.to_string() == name);
        Key { name: name.to_owned(), index }
    }
}

/// A string without its quotes.
#[inline]
pub(super) fn inner(string: &str) -> &str {
    string.get(1..string.len().saturating_sub(1)).unwrap_or_default()
}

/// Why a line is not one JSON object.
#[derive(Debug, thiserror::Error)]
pub(in crate::format) enum Malformed {
    #[error("it is not UTF-8 from byte {} on", .0.valid_up_to())]
    Utf8(#[from] std::str::Utf8Error),
    // The reader's own words say "line 1", which it is not.
    #[error("{} (byte {} of the line)", reason(.0), .0.column())]
    Json(#[from] serde_json::Error),
}

fn reason(error: &serde_json::Error) -> String {
    let reason = error.to_string();
    reason.split(" at line ").next().unwrap_or_default().to_owned()
}

impl Node {
    /// Adds the path of `field`.
    pub(in crate::format) fn add(&mut self, path: &[String], field: usize) {
        self.below.push(field);
        let Some((first, rest)) = path.split_first() else { return self.fields.push(field) };
        let known = self.children.iter().position(|(key, _)| key.name == *first);
        let at = known.unwrap_or_else(|| {
            self.children.push((Key::new(first), Node::default()));
            self.children.len() - 1
        });
        self.children[at].1.add(rest, field);
    }

    /// The child of a key, which is as the line has it.
    #[inline]
    fn child(&self, written: &str) -> Option<&Node> {
        let child = |name: &str| self.children.iter().find(|(key, _)| key.name == name).map(|(_, node)| node);
        // Hardly any key is escaped: that is looked at once a key, and not once a child.
        child(written)
            .or_else(|| if written.as_bytes().contains(&b'\\') { child(&unescape(written)) } else { None })
    }

    /// Puts into `values`, by field and as the line has them, what is asked for of `line`. If it is malformed, they
    /// are all `None`.
    #[inline]
    pub(in crate::format) fn find<'a>(
        &self,
        line: &'a [u8],
        values: &mut [Option<&'a str>],
    ) -> Result<(), Malformed> {
        // The reader does not look at the encoding of what it passes over.
        let line = std::str::from_utf8(line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line))?;
        self.walk(line, values, false).or_else(|_| self.find_carefully(line, values))
    }

    /// A walk that meets a value where it hoped for an object reads it, and fails at a number that is no `f64` and at
    /// half a surrogate pair. Those are JSON. Rather than have every walk look twice, the rare line is walked again.
    #[cold]
    fn find_carefully<'a>(&self, line: &'a str, values: &mut [Option<&'a str>]) -> Result<(), Malformed> {
        values.fill(None);
        let found = self.walk(line, values, true);
        if found.is_err() {
            values.fill(None);
        }
        Ok(found?)
    }

    #[inline]
    fn walk<'a>(
        &self,
        line: &'a str,
        values: &mut [Option<&'a str>],
        careful: bool,
    ) -> serde_json::Result<()> {
        let mut reader = serde_json::Deserializer::from_str(line);
        reader.deserialize_map(Walk { node: self, values, careful })?;
        reader.end()
    }
}

/// The walk at one node.
struct Walk<'n, 'v, 'a> {
    node: &'n Node,
    values: &'v mut [Option<&'a str>],
    /// Whether a value is passed over before anything in it is looked for.
    careful: bool,
}

impl<'n, 'a> Walk<'n, '_, 'a> {
    /// The walk at a child, all of whose fields are forgotten: of equal keys, the last one counts.
    #[inline]
    fn at(&mut self, node: &'n Node) -> Walk<'n, '_, 'a> {
        node.below.iter().for_each(|field| self.values[*field] = None);
        Walk { node, values: self.values, careful: self.careful }
    }
}

impl<'a> DeserializeSeed<'a> for Walk<'_, '_, 'a> {
    type Value = ();

    #[inline]
    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.node.fields.is_empty() && !self.careful {
            return deserializer.deserialize_any(self);
        }
        let value = <&RawValue as serde::Deserialize>::deserialize(deserializer)?.get();
        self.node.fields.iter().for_each(|field| self.values[*field] = Some(value));
        if self.node.children.is_empty() || !value.starts_with(['{', '[']) {
            return Ok(());
        }
        serde_json::Deserializer::from_str(value).deserialize_any(self).map_err(D::Error::custom)
    }
}

impl<'a> Visitor<'a> for Walk<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    #[inline]
    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<&RawValue>()? {
            match self.node.child(inner(key.get())) {
                Some(node) => map.next_value_seed(self.at(node))?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut elements: A) -> Result<(), A::Error> {
        for index in 0_usize.. {
            let more = match self.node.children.iter().find(|(child, _)| child.index == Some(index)) {
                Some((_, node)) => elements.next_element_seed(self.at(node))?.is_some(),
                None => elements.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(())
    }

    // Anything else has no fields in it.

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
