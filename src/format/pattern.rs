//! Lines by a user's own regular expression.
//!
//! The named groups of the expression are the fields of the record. Everything is bytes: logs promise no encoding,
//! and a line that is not UTF-8 is to match like any other. What a field means (a number, a time) is the business
//! of whoever asked for it.

mod direct;

use std::sync::Arc;

use regex::bytes::{CaptureLocations, Regex, RegexBuilder};
use smallvec::SmallVec;

use self::direct::Direct;
use crate::format::LineFormat;

/// A regular expression whose named groups are fields.
///
/// The expression matches anywhere in a line, as regular expressions do: anchor it with `^` and `$` if it is to
/// account for the whole line. A line that it does not match is malformed. `.`, `\d`, `\s`, `\w` and `[^…]` mean
/// bytes; within `(?u:…)` they mean characters. The regex crate's limits on the size of an expression hold, and
/// matching takes time linear in the line, so that no expression can make a worker hang.
///
/// ```
/// use thalweg::format::{LineFormat, Pattern};
///
/// let mut pattern = Pattern::new(r"^(?<level>[A-Z]+): (?:\[(?<unit>\w+)\] )?(?<text>.*)$")?;
/// assert_eq!(pattern.fields(), ["level", "unit", "text"]);
///
/// let record = pattern.parse(b"WARN: disk at 91 %").unwrap();
/// assert_eq!(record.get("level"), Some(&b"WARN"[..]));
/// assert_eq!(record.get("unit"), None);
/// assert_eq!(record.field(2), Some(&b"disk at 91 %"[..]));
///
/// assert_eq!(pattern.parse(b"no level"), None);
/// # Ok::<(), thalweg::format::PatternError>(())
/// ```
#[derive(Debug)]
pub struct Pattern {
    regex: Regex,
    names: Arc<[String]>,
    /// The number of each field's group; unnamed groups have numbers too.
    groups: Vec<usize>,
    /// Finds most matches sooner, where the expression is simple enough.
    direct: Option<Direct>,
    /// Where the groups of the last line were, by number; kept, because making it allocates.
    found: Vec<Option<(usize, usize)>>,
    /// The same, as the regex crate has it.
    scratch: CaptureLocations,
}

/// Why an expression cannot be a [`Pattern`].
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// The regex crate refused it; its message shows where.
    #[error(
        "the pattern is not a valid regular expression: {0}\n  \
         hint: a pattern is about bytes; characters, as in `[é]` or `\\p{{L}}`, need `(?u:…)` around them"
    )]
    Regex(#[from] regex::Error),
    /// It matches, but no part of it has a name.
    #[error(
        "the pattern `{pattern}` has no named groups, so its records would have no fields\n  \
         hint: name the parts to keep, as in `(?<client>\\S+) (?<status>\\d+)`"
    )]
    NoFields {
        /// The expression as given.
        pattern: String,
    },
}

impl Pattern {
    /// Compiles an expression in the [syntax of the regex crate](regex#syntax).
    ///
    /// # Errors
    ///
    /// If the regex crate refuses the expression, or if it has no named group.
    ///
    /// ```
    /// use thalweg::format::Pattern;
    /// let error = Pattern::new(r"^(\S+) ").unwrap_err();
    /// assert!(error.to_string().contains("has no named groups"));
    /// ```
    pub fn new(pattern: &str) -> Result<Self, PatternError> {
        let regex = RegexBuilder::new(pattern).unicode(false).build()?;
        let named =
            regex.capture_names().enumerate().filter_map(|(group, name)| Some((group, name?.to_owned())));
        let (groups, names): (Vec<usize>, Vec<String>) = named.unzip();
        if names.is_empty() {
            return Err(PatternError::NoFields { pattern: pattern.to_owned() });
        }
        let scratch = regex.capture_locations();
        let found = vec![None; regex.captures_len()];
        Ok(Pattern { direct: Direct::new(pattern), regex, names: names.into(), groups, found, scratch })
    }

    /// The names of the fields, in the order in which their groups open.
    pub fn fields(&self) -> &[String] {
        &self.names
    }

    /// The index of a field for [`PatternRecord::field`], looked up once and not for every record.
    ///
    /// ```
    /// use thalweg::format::Pattern;
    /// let pattern = Pattern::new(r"(?<status>\d+) (?<size>\d+)").unwrap();
    /// assert_eq!(pattern.index_of("size"), Some(1));
    /// assert_eq!(pattern.index_of("sise"), None);
    /// ```
    pub fn index_of(&self, name: &str) -> Option<usize> {
        index_of(&self.names, name)
    }
}

impl Clone for Pattern {
    /// Copies the names rather than sharing them: every record counts as an owner, and workers that share one
    /// count would contend for its cache line at every line of input.
    fn clone(&self) -> Self {
        Pattern {
            regex: self.regex.clone(),
            names: self.names.to_vec().into(),
            groups: self.groups.clone(),
            direct: self.direct.clone(),
            found: self.found.clone(),
            scratch: self.scratch.clone(),
        }
    }
}

impl LineFormat for Pattern {
    type Record<'a> = PatternRecord<'a>;

    fn parse<'a>(&mut self, line: &'a [u8]) -> Option<PatternRecord<'a>> {
        let values = self.values(line)?.collect();
        Some(PatternRecord { names: Arc::clone(&self.names), values })
    }
}

impl Pattern {
    /// The values of the fields, in their order, if `line` matches.
    pub(super) fn values<'a>(&mut self, line: &'a [u8]) -> Option<impl Iterator<Item = Option<&'a [u8]>>> {
        if !self.direct.as_mut().is_some_and(|direct| direct.find(line, &mut self.found)) {
            self.regex.captures_read(&mut self.scratch, line)?;
            self.direct.iter_mut().for_each(Direct::missed);
            let groups = 0..self.found.len();
            self.found.iter_mut().zip(groups).for_each(|(found, group)| *found = self.scratch.get(group));
        }
        let found = &self.found;
        let value = move |&group: &usize| (*found.get(group)?).and_then(|(start, end)| line.get(start..end));
        Some(self.groups.iter().map(value))
    }
}

/// The fields of a line that a [`Pattern`] matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternRecord<'a> {
    names: Arc<[String]>,
    values: SmallVec<[Option<&'a [u8]>; 8]>,
}

impl<'a> PatternRecord<'a> {
    /// The field of this name; `None` if there is none, or if its group took no part in the match.
    ///
    /// ```
    /// use thalweg::format::{LineFormat, Pattern};
    /// let record = Pattern::new(r"(?<key>\w+)=(?<value>\d+)?")?.parse(b"load=").unwrap();
    /// assert_eq!(record.get("key"), Some(&b"load"[..]));
    /// assert_eq!(record.get("value"), None);
    /// # Ok::<(), thalweg::format::PatternError>(())
    /// ```
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.field(index_of(&self.names, name)?)
    }

    /// The field of this index, see [`Pattern::index_of`].
    ///
    /// ```
    /// use thalweg::format::{LineFormat, Pattern};
    /// let mut pattern = Pattern::new(r"(?<status>\d+) (?<size>\d+)")?;
    /// let size = pattern.index_of("size").unwrap();
    /// assert_eq!(pattern.parse(b"200 512").unwrap().field(size), Some(&b"512"[..]));
    /// # Ok::<(), thalweg::format::PatternError>(())
    /// ```
    pub fn field(&self, index: usize) -> Option<&'a [u8]> {
        self.values.get(index).copied().flatten()
    }
}

/// A scan: fields are few, and hashing the name takes longer.
fn index_of(names: &[String], name: &str) -> Option<usize> {
    names.iter().position(|known| known == name)
}
