//! What an envelope says beside its line.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;

use super::cri::Cri;
use super::{Envelope, EnvelopeKind, journald, path};
use crate::format::time::parse_rfc3339;
use crate::format::{Json, JsonMode, JsonValue, LineFormat};
use crate::time::Time;

/// Looks fields of envelopes up, as they are asked for: most dataflows want a few of them, or none.
///
/// ```
/// use thalweg::envelope::{Envelope, EnvelopeFields, EnvelopeKind};
/// use thalweg::time::Time;
/// let (cri, fields) = (Envelope::new(EnvelopeKind::Cri), EnvelopeFields::default());
/// let line = b"2016-10-06T00:17:09.669794202Z stdout F GET /";
/// assert_eq!(fields.get(cri, line, "stream").as_deref(), Some(&b"stdout"[..]));
/// assert_eq!(fields.time(cri, line, Time(0)), Some(Time(1_475_713_029_669)));
/// let path = "file:/var/log/pods/shop_web_8a7c/nginx/0.log";
/// assert_eq!(EnvelopeFields::of_path(EnvelopeKind::Cri, path, "pod"), Some("web"));
/// ```
#[derive(Debug, Default)]
pub struct EnvelopeFields {
    /// By envelope, and by the name that is asked for.
    readers: RefCell<[HashMap<String, Option<Json>>; EnvelopeKind::ALL.len()]>,
}

/// Fields that are remembered at most: names are a program's, and not of the data.
const READERS: usize = 64;

/// A reader of these fields; there is always one, as their paths are paths.
pub(super) fn json<const N: usize>(fields: [(&str, &str); N]) -> Option<Json> {
    Json::new(fields).ok().map(|json| json.with_mode(JsonMode::DropMalformed))
}

impl EnvelopeFields {
    /// What the envelope around `line`, which is the raw line, says of `name`.
    pub fn get<'a>(&self, envelope: Envelope, line: &'a [u8], name: &str) -> Option<Cow<'a, [u8]>> {
        match envelope.kind {
            EnvelopeKind::Docker if name == "stream" => self.json(envelope.kind, line, name, &["stream"]),
            EnvelopeKind::Docker => self.json(envelope.kind, line, name, &["attrs", name]),
            EnvelopeKind::Cri => Cri::read(line).filter(|_| name == "stream").map(|cri| cri.stream.into()),
            EnvelopeKind::Journald => {
                let own = match name {
                    "unit" => "_SYSTEMD_UNIT",
                    "identifier" => "SYSLOG_IDENTIFIER",
                    "priority" => "PRIORITY",
                    "host" => "_HOSTNAME",
                    "pid" => "_PID",
                    "facility" => "SYSLOG_FACILITY",
                    own => own,
                };
                self.json(envelope.kind, line, name, &[own])
            }
            EnvelopeKind::Syslog => {
                let record = envelope.syslog.read(line)?;
                match name {
                    "facility" => record.facility_name().map(|name| name.as_bytes().into()),
                    "severity" => record.severity_name().map(|name| name.as_bytes().into()),
                    "host" => record.host().map(Cow::from),
                    "app" => record.app().map(Cow::from),
                    "procid" => record.procid().map(Cow::from),
                    "msgid" => record.msgid().map(Cow::from),
                    _ => {
                        // Neither name has a space, and ids have dots.
                        let (id, param) = name.rsplit_once('.')?;
                        record.data(id, param)
                    }
                }
            }
        }
    }

    /// What `partition`, the path of a log, says of `name`.
    pub fn of_path<'a>(kind: EnvelopeKind, partition: &'a str, name: &str) -> Option<&'a str> {
        path::field(kind, partition, name)
    }

    /// When the envelope around the raw `line` says that it was written; `near` is a time from which a year is taken that it may not
    /// say.
    pub fn time(&self, envelope: Envelope, line: &[u8], near: Time) -> Option<Time> {
        match envelope.kind {
            EnvelopeKind::Docker => parse_rfc3339(&self.json(envelope.kind, line, "\0time", &["time"])?),
            EnvelopeKind::Cri => parse_rfc3339(Cri::read(line)?.time),
            EnvelopeKind::Journald => {
                let micros = self.json(envelope.kind, line, "\0time", &["__REALTIME_TIMESTAMP"])?;
                let micros: i64 = std::str::from_utf8(&micros).ok()?.parse().ok()?;
                Some(Time(micros.div_euclid(1000)))
            }
            EnvelopeKind::Syslog => envelope.syslog.read(line)?.time(near),
        }
    }

    /// The value at a path of keys, by a reader that is known as `name`.
    fn json<'a>(
        &self,
        kind: EnvelopeKind,
        line: &'a [u8],
        name: &str,
        keys: &[&str],
    ) -> Option<Cow<'a, [u8]>> {
        let mut readers = self.readers.borrow_mut();
        let readers = readers.get_mut(kind as usize)?;
        if readers.len() >= READERS && !readers.contains_key(name) {
            readers.clear();
        }
        if !readers.contains_key(name) {
            let pointer: String =
                keys.iter().map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1"))).collect();
            readers.insert(name.to_owned(), json([("", &pointer)]));
        }
        let record = readers.get_mut(name)?.as_mut()?.parse(line)?;
        match record.get(0) {
            JsonValue::Text(Cow::Borrowed(text)) => Some(text.as_bytes().into()),
            JsonValue::Text(Cow::Owned(text)) => Some(text.into_bytes().into()),
            JsonValue::Int(_) | JsonValue::Number(_) => record.raw(0).map(|raw| raw.as_bytes().into()),
            value => {
                let mut bytes = Vec::new();
                journald::text_of(&value, &mut bytes).then_some(bytes.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_had_by_name() {
        let fields = EnvelopeFields::default();
        let get = |kind, line: &'static str, name: &str| {
            let value = fields.get(Envelope::new(kind), line.as_bytes(), name);
            value.map(|value| String::from_utf8_lossy(&value).into_owned())
        };
        let docker = r#"{"log":"x\n","stream":"stderr","attrs":{"tag":"we\"b","a/b":"1"},"time":"2024-03-14T09:00:00.5Z"}"#;
        let journald = r#"{"MESSAGE":"x","_SYSTEMD_UNIT":"dev-a\\x2db.device","PRIORITY":"6","_PID":[55,255],"X":["1","2"],"__REALTIME_TIMESTAMP":"1710406800500123"}"#;
        let syslog = r#"<165>1 2003-10-11T22:14:15.003Z host app - ID47 [a.b@1 k="v\""] x"#;
        for (kind, line, name, value) in [
            (EnvelopeKind::Docker, docker, "stream", Some("stderr")),
            (EnvelopeKind::Docker, docker, "tag", Some("we\"b")),
            (EnvelopeKind::Docker, docker, "a/b", Some("1")),
            (EnvelopeKind::Docker, docker, "log", None),
            (EnvelopeKind::Journald, journald, "unit", Some(r"dev-a\x2db.device")),
            (EnvelopeKind::Journald, journald, "priority", Some("6")),
            (EnvelopeKind::Journald, journald, "pid", Some("7\u{fffd}")),
            (EnvelopeKind::Journald, journald, "X", Some("1\n2")),
            (EnvelopeKind::Journald, journald, "Y", None),
            (EnvelopeKind::Syslog, syslog, "severity", Some("notice")),
            (EnvelopeKind::Syslog, syslog, "procid", None),
            (EnvelopeKind::Syslog, syslog, "a.b@1.k", Some("v\"")),
            (EnvelopeKind::Syslog, syslog, "k", None),
        ] {
            assert_eq!(get(kind, line, name).as_deref(), value, "{name} of {line}");
        }
        let time = |kind, line: &str| fields.time(Envelope::new(kind), line.as_bytes(), Time(0));
        assert_eq!(time(EnvelopeKind::Docker, docker), Some(Time(1_710_406_800_500)));
        assert_eq!(time(EnvelopeKind::Journald, journald), Some(Time(1_710_406_800_500)));
        assert_eq!(time(EnvelopeKind::Syslog, syslog), Some(Time(1_065_910_455_003)));
    }
}
