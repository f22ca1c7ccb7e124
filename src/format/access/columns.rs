//! Lines under a head that names their columns: the W3C extended log format of IIS and others, and Amazon CloudFront.
//!
//! A directive is a line that begins with `#`. Of them, `#Fields:` counts: it says what the columns of the lines behind it
//! are, up to the next one. Columns stand apart by one tab, or else by one space; `-` is nothing. Times are UTC
//! (<https://www.w3.org/TR/WD-logfile.html>).

use super::record::AccessFields;
use super::text::present;
use crate::format::access_log::whole_size;
use crate::format::time::{Zone, parse_time};
use crate::format::{Scratch, Size};

/// What a column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Other,
    Date,
    Time,
    Client,
    User,
    Method,
    Stem,
    Query,
    Protocol,
    Status,
    Size,
    Referer,
    Agent,
    Vhost,
    /// In seconds.
    Seconds,
    /// In milliseconds.
    Millis,
}

/// The columns that a `#Fields:` directive has named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Columns(Vec<Column>);

impl Columns {
    /// Of a directive, if it is the one that names them.
    pub(super) fn of(directive: &[u8]) -> Option<Self> {
        let (name, names) =
            directive.split_at_checked(directive.iter().position(|byte| *byte == b':')? + 1)?;
        if !name.eq_ignore_ascii_case(b"#fields:") {
            return None;
        }
        let names = names.split(u8::is_ascii_whitespace).filter(|name| !name.is_empty());
        let names: Vec<_> = names.map(<[u8]>::to_ascii_lowercase).collect();
        // Both call it the same, and count in different units; what only CloudFront has tells them apart.
        let seconds = names.iter().any(|name| name.starts_with(b"x-edge-"));
        let column = |name: &Vec<u8>| match &name[..] {
            b"date" => Column::Date,
            b"time" => Column::Time,
            b"c-ip" => Column::Client,
            b"cs-username" => Column::User,
            b"cs-method" => Column::Method,
            b"cs-uri-stem" | b"cs-uri" => Column::Stem,
            b"cs-uri-query" => Column::Query,
            b"cs-version" | b"cs-protocol-version" => Column::Protocol,
            b"sc-status" => Column::Status,
            b"sc-bytes" => Column::Size,
            b"cs(referer)" => Column::Referer,
            b"cs(user-agent)" => Column::Agent,
            b"cs-host" | b"cs(host)" => Column::Vhost,
            b"time-taken" if seconds => Column::Seconds,
            b"time-taken" => Column::Millis,
            _ => Column::Other,
        };
        Some(Columns(names.iter().map(column).collect()))
    }

    /// Reads a line that has as many columns.
    pub(super) fn parse<'a>(&self, line: &'a [u8], scratch: &'a Scratch) -> Option<AccessFields<'a>> {
        let separator = if line.contains(&b'\t') { b'\t' } else { b' ' };
        let mut fields = AccessFields::NONE;
        let (mut date, mut time, mut query): (&[u8], &[u8], _) = (b"", b"", None);
        let mut cells = line.split(|byte| *byte == separator);
        for column in &self.0 {
            let cell = cells.next()?;
            match column {
                Column::Other => {}
                Column::Date => date = cell,
                Column::Time => time = cell,
                Column::Client => fields.client = present(cell),
                Column::User => fields.user = present(cell),
                Column::Method => fields.method = present(cell),
                Column::Stem => fields.endpoint = present(cell),
                Column::Query => query = present(cell),
                Column::Protocol => fields.protocol = present(cell),
                Column::Status => fields.status = number(cell),
                Column::Size => fields.size = present(cell).map_or(Size::Missing, whole_size),
                Column::Referer => fields.referer = present(cell),
                Column::Agent => fields.agent = present(cell),
                Column::Vhost => fields.vhost = present(cell),
                Column::Seconds => fields.duration = number(cell),
                Column::Millis => fields.duration = number::<f64>(cell).map(|millis| millis / 1000.0),
            }
        }
        if cells.next().is_some() {
            return None;
        }
        if let (Some(stem), Some(query)) = (fields.endpoint, query) {
            fields.endpoint = Some(scratch.bytes(&[stem, b"?", query]));
        }
        fields.time = parse_time(scratch.bytes(&[date, b"T", time, b"Z"]), Zone::UTC);
        Some(fields)
    }
}

/// The number that `cell` is.
pub(super) fn number<T: std::str::FromStr>(cell: &[u8]) -> Option<T> {
    std::str::from_utf8(cell).ok()?.parse().ok()
}
