//! Access logs of JSON, one object a line: Caddy, Traefik, and what nginx writes with `escape=json`.
//!
//! They differ in what they call things. A field is had from the first of the keys that the line has for it; where a server
//! lets its users name the fields, as nginx does, those are the names of its variables.

use std::borrow::Cow;

use super::columns::number;
use super::record::AccessFields;
use super::text::present;
use crate::format::access_log::whole_size;
use crate::format::json::JsonValue;
use crate::format::json::walk::Node;
use crate::format::time::Zone;
use crate::format::{Scratch, Size};

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
    pub(super) fn parse<'a>(
        &self,
        line: &'a [u8],
        zone: Zone,
        scratch: &'a Scratch,
    ) -> Option<AccessFields<'a>> {
        let mut values = [None; MOST];
        self.root.find(line, &mut values).ok()?;
        let raw = |place: Place| {
            let keys = self.first[place as usize]..self.first[place as usize + 1];
            values[keys].iter().copied().flatten().find(|raw| *raw != "null" && !raw.starts_with('{'))
        };
        let text = |place| {
            let text: &'a [u8] = match JsonValue::read(raw(place)?) {
                JsonValue::Text(Cow::Borrowed(text)) => text.as_bytes(),
                JsonValue::Text(Cow::Owned(text)) => scratch.bytes(&[text.as_bytes()]),
                _ => return None,
            };
            present(text)
        };
        // nginx puts numbers between quotes unless it is told otherwise.
        let digits = |place| raw(place).map(|raw| raw.trim_matches('"').as_bytes());
        let fields = AccessFields {
            client: text(Place::Client),
            user: text(Place::User),
            time: raw(Place::Time).and_then(|raw| JsonValue::read(raw).time_in(zone)),
            status: digits(Place::Status).and_then(number).filter(|status| *status > 0),
            size: digits(Place::Size).map_or(Size::Missing, whole_size),
            referer: text(Place::Referer),
            agent: text(Place::Agent),
            vhost: text(Place::Vhost),
            duration: digits(Place::Seconds)
                .and_then(number::<f64>)
                .or_else(|| Some(digits(Place::Nanos).and_then(number::<f64>)? / 1e9)),
            ..text(Place::Request).map_or(AccessFields::NONE, AccessFields::of_request)
        };
        let fields = AccessFields {
            method: text(Place::Method).or(fields.method),
            endpoint: text(Place::Endpoint).or(fields.endpoint),
            protocol: text(Place::Protocol).or(fields.protocol),
            ..fields
        };
        (fields.status.is_some() && (fields.client.is_some() || fields.endpoint.is_some())).then_some(fields)
    }
}
