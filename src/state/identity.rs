//! Which door some state is of, and by which rules it came about.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::data::{Field, Stored};

/// A door as it stands in a snapshot: its name, what kind it is, the rules by which its rows came
/// about, and their columns.
///
/// State is restored to the door of the same name, and only if everything else is the same, too:
/// sums of windows of 30 s are no sums of windows of a minute.
///
/// ```
/// use thalweg::data::Bytes;
/// use thalweg::state::Identity;
///
/// let of = |length: &str| Identity::of::<Bytes, i64>("urls", "window table").rule("length", length);
/// assert_eq!(of("30s").differences(&of("30s")), []);
/// let differences = of("30s").differences(&of("60s"));
/// assert_eq!(differences[0].to_string(), "length was 30s, is 60s");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    name: String,
    kind: String,
    /// What its rows mean; raised when that changes and nothing else does.
    version: u32,
    rules: Vec<(String, String)>,
    key: Vec<Field>,
    value: Vec<Field>,
}

/// What is not the same of two identities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What differs.
    pub what: String,
    /// What it was as the state was written.
    pub was: String,
    /// What it is now.
    pub is: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was {}, is {}", self.what, self.was, self.is)
    }
}

impl Identity {
    /// The door `name`, of this `kind`, whose rows are values `V` by key `K`.
    pub fn of<K: Stored, V: Stored>(name: &str, kind: &str) -> Self {
        Identity {
            name: name.to_owned(),
            kind: kind.to_owned(),
            version: 1,
            rules: Vec::new(),
            key: K::columns("key"),
            value: V::columns("value"),
        }
    }

    /// This, with a rule by which its rows come about.
    #[must_use]
    pub fn rule(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.rules.push((name.to_owned(), value.to_string()));
        self
    }

    /// The door's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The columns of its keys.
    pub fn key(&self) -> &[Field] {
        &self.key
    }

    /// The columns of its values.
    pub fn value(&self) -> &[Field] {
        &self.value
    }

    /// What differs from this, by which state was written, to `now`; nothing if the state can be
    /// restored.
    pub fn differences(&self, now: &Identity) -> Vec<Difference> {
        let mut all = Vec::new();
        let mut compare = |what: &str, was: String, is: String| {
            if was != is {
                all.push(Difference { what: what.to_owned(), was, is });
            }
        };
        compare("the name", self.name.clone(), now.name.clone());
        compare("the kind", self.kind.clone(), now.kind.clone());
        compare("the format", self.version.to_string(), now.version.to_string());
        let value = |rules: &[(String, String)], name: &str| {
            let rule = rules.iter().find(|(other, _)| other == name);
            rule.map_or_else(|| "not a rule".to_owned(), |(_, value)| value.clone())
        };
        let added = now.rules.iter().filter(|(name, _)| self.rules.iter().all(|(other, _)| other != name));
        for (name, _) in self.rules.iter().chain(added) {
            compare(name, value(&self.rules, name), value(&now.rules, name));
        }
        compare("the key", columns(&self.key), columns(&now.key));
        compare("the value", columns(&self.value), columns(&now.value));
        all
    }
}

fn columns(fields: &[Field]) -> String {
    let fields: Vec<_> = fields.iter().map(ToString::to_string).collect();
    format!("({})", fields.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_differs_is_said() {
        let before = Identity::of::<u64, i64>("urls", "window table").rule("length", "30s");
        let now = Identity::of::<u64, (i64, Option<bool>)>("urls", "sessions").rule("gap", "5s");
        let differences: Vec<_> = before.differences(&now).iter().map(ToString::to_string).collect();
        assert_eq!(
            differences,
            [
                "the kind was window table, is sessions",
                "length was 30s, is not a rule",
                "gap was not a rule, is 5s",
                "the value was (value: i64), is (value.0: i64, value.1: bool?)",
            ]
        );
    }

    #[test]
    fn it_survives_json() {
        let identity = Identity::of::<(u64, bool), Option<i64>>("a \"door\"", "totals").rule("gap", "5s");
        let json = serde_json::to_string(&identity).expect("an identity is text and numbers");
        assert_eq!(serde_json::from_str::<Identity>(&json).expect("what was written"), identity);
    }
}
