//! Access logs of JSON, one object a line: Caddy, Traefik, and what nginx writes with `escape=json`.
//!
//! They differ in what they call things. A field is had from the first of the keys that the line has for it; where a server
//! lets its users name the fields, as nginx does, those are the names of its variables.

use std::borrow::Cow;

use super::client::usual;
use super::columns::number;
use super::record::AccessFields;
use super::text::present;
use crate::format::access_log::whole_size;
use crate::format::json::JsonValue;
use crate::format::json::skeleton::Skeleton;
use crate::format::json::walk::Node;
use crate::format::time::Zone;
use crate::format::{Scratch, Size};
use crate::time::Time;

/// The keys of each field, in the order of [`Place`]; of those that a line has, the first counts.
const KEYS: [&[&[&str]]; FIELDS] = [
    &[
        &["request", "client_ip"],
        &["request", "remote_ip"],
        &["ClientHost"],
        &["remote_addr"],
        &["client_ip"],
        &["remote_ip"],
        &["clientip"],
        &["client"],
    ],
    &[&["user_id"], &["ClientUsername"], &["remote_user"], &["user"]],
    &[
        &["ts"],
        &["StartUTC"],
        &["time_iso8601"],
        &["@timestamp"],
        &["timestamp"],
        &["time"],
        &["time_local"],
        &["msec"],
    ],
    &[&["request", "method"], &["RequestMethod"], &["request_method"], &["method"]],
    &[&["request", "uri"], &["RequestPath"], &["request_uri"], &["uri"], &["path"], &["url"], &["endpoint"]],
    &[&["request", "proto"], &["RequestProtocol"], &["server_protocol"], &["protocol"]],
    &[&["status"], &["DownstreamStatus"], &["status_code"]],
    &[&["size"], &["DownstreamContentSize"], &["body_bytes_sent"], &["bytes_sent"], &["bytes"]],
    &[
        &["request", "headers", "Referer", "0"],
        &["request_Referer"],
        &["http_referer"],
        &["referer"],
        &["referrer"],
    ],
    &[
        &["request", "headers", "User-Agent", "0"],
        &["request_User-Agent"],
        &["http_user_agent"],
        &["user_agent"],
        &["agent"],
    ],
    &[&["request", "host"], &["RequestHost"], &["host"], &["server_name"], &["vhost"]],
    // In seconds, and in nanoseconds.
    &[&["duration"], &["request_time"]],
    &[&["Duration"]],
    // The whole request line.
    &[&["request"]],
];

/// The fields of [`KEYS`].
#[derive(Clone, Copy)]
enum Place {
    Client,
    User,
    Time,
    Method,
    Endpoint,
    Protocol,
    Status,
    Size,
    Referer,
    Agent,
    Vhost,
    Seconds,
    Nanos,
    Request,
}

const FIELDS: usize = 14;

/// How many keys there are in all, at most.
const MOST: usize = 64;

/// Where the keys are in a line.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    root: Node,
    /// The first key of each field, by number; and behind the last.
    first: [usize; FIELDS + 1],
}

impl Keys {
    pub(super) fn new() -> Self {
        let (mut root, mut first, mut count) = (Node::default(), [0; FIELDS + 1], 0);
        for (field, keys) in KEYS.iter().enumerate() {
            first[field] = count;
            for path in *keys {
                let path: Vec<_> = path.iter().map(|key| (*key).to_owned()).collect();
                root.add(&path, count);
                count += 1;
            }
        }
        first[FIELDS] = count;
        debug_assert!(count <= MOST);
        Keys { root, first }
    }

    /// Reads a line that is one object and says something of a request: its status, and who asked or what for.
    ///
    /// `skeleton` is that of the partition, whose lines are mostly alike.
    #[inline]
    pub(super) fn parse<'a>(
        &self,
        skeleton: &mut Skeleton,
        line: &'a [u8],
        zone: Zone,
        scratch: &'a Scratch,
    ) -> Option<JsonFields<'a>> {
        let mut values = [None; MOST];
        skeleton.find(&self.root, line, &mut values).ok()?;
        let mut raw = [None; FIELDS];
        for (place, raw) in raw.iter_mut().enumerate() {
            let found = values.get(self.first[place]..self.first[place + 1]).unwrap_or_default();
            *raw = found.iter().copied().flatten().find(|raw| *raw != "null" && !raw.starts_with('{'));
        }
        let mut fields = JsonFields { raw, client: None, zone, scratch };
        fields.client = fields.text(Place::Client);
        if let Some(usual) = fields.client.and_then(usual) {
            fields.client = Some(scratch.bytes(&[usual.as_bytes()]));
        }
        (fields.status().is_some() && (fields.client.is_some() || fields.endpoint().is_some()))
            .then_some(fields)
    }
}

/// The fields of a line, which are read when they are asked for: most dataflows want a few of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct JsonFields<'a> {
    /// As the line has them, in the order of [`Place`].
    raw: [Option<&'a str>; FIELDS],
    /// In its usual form.
    pub(super) client: Option<&'a [u8]>,
    zone: Zone,
    scratch: &'a Scratch,
}

impl<'a> JsonFields<'a> {
    #[inline]
    fn raw(&self, place: Place) -> Option<&'a str> {
        self.raw[place as usize]
    }

    fn text(&self, place: Place) -> Option<&'a [u8]> {
        let text: &'a [u8] = match JsonValue::read(self.raw(place)?) {
            JsonValue::Text(Cow::Borrowed(text)) => text.as_bytes(),
            JsonValue::Text(Cow::Owned(text)) => self.scratch.bytes(&[text.as_bytes()]),
            _ => return None,
        };
        present(text)
    }

    /// nginx puts numbers between quotes unless it is told otherwise.
    fn digits(&self, place: Place) -> Option<&'a [u8]> {
        self.raw(place).map(|raw| match raw.as_bytes() {
            [b'"', inner @ .., b'"'] => inner,
            bytes => bytes,
        })
    }

    /// What the whole request line has, if there is one.
    fn of_request<T>(&self, part: impl Fn(AccessFields<'a>) -> Option<T>) -> Option<T> {
        part(AccessFields::of_request(self.text(Place::Request)?))
    }

    pub(super) fn user(&self) -> Option<&'a [u8]> {
        self.text(Place::User)
    }

    pub(super) fn time(&self) -> Option<Time> {
        JsonValue::read(self.raw(Place::Time)?).time_in(self.zone)
    }

    pub(super) fn method(&self) -> Option<&'a [u8]> {
        self.text(Place::Method).or_else(|| self.of_request(|it| it.method))
    }

    pub(super) fn endpoint(&self) -> Option<&'a [u8]> {
        self.text(Place::Endpoint).or_else(|| self.of_request(|it| it.endpoint))
    }

    pub(super) fn protocol(&self) -> Option<&'a [u8]> {
        self.text(Place::Protocol).or_else(|| self.of_request(|it| it.protocol))
    }

    pub(super) fn status(&self) -> Option<u16> {
        self.digits(Place::Status).and_then(number).filter(|status| *status > 0)
    }

    pub(super) fn size(&self) -> Size {
        self.digits(Place::Size).map_or(Size::Missing, whole_size)
    }

    pub(super) fn referer(&self) -> Option<&'a [u8]> {
        self.text(Place::Referer)
    }

    pub(super) fn agent(&self) -> Option<&'a [u8]> {
        self.text(Place::Agent)
    }

    pub(super) fn vhost(&self) -> Option<&'a [u8]> {
        self.text(Place::Vhost)
    }

    pub(super) fn duration(&self) -> Option<f64> {
        let seconds = self.digits(Place::Seconds).and_then(number::<f64>);
        seconds.or_else(|| Some(self.digits(Place::Nanos).and_then(number::<f64>)? / 1e9))
    }
}
