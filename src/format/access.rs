//! Access logs in whatever form servers write them.
//!
//! | form | lines |
//! |---|---|
//! | `common` | Apache common and combined, nginx's default, and more fields behind them: the strict language of [`AccessLog`] |
//! | `text` | those, and what people's servers make of them: any white space, users with blanks, `X-Forwarded-For` lists, virtual hosts in front, quotes that are not escaped, a status or a size of `-` |
//! | `json` | one object a line: Caddy, Traefik, nginx with `escape=json` |
//! | `w3c` | columns under a `#Fields:` line: IIS, CloudFront |
//! | `alb` | Amazon's load balancers, application and classic |
//! | a pattern | a user's regular expression with named groups |
//!
//! Any of them may be the message of a line of syslog ([`Syslog`]), as what nginx sends (`access_log syslog:…`).
//!
//! # Detection
//!
//! A partition (a file, a pipe) has the forms that its *first eight lines* have. So a file that begins as the common
//! form is read as that and nothing else: its answers are those of [`AccessLog`], and it pays for no other. Lines of
//! forms that came later are malformed, counted and shown, and `--format` names one. That depends on the partition's bytes alone: not on who
//! reads it, nor on how it is cut into epochs.
//!
//! Whatever the form, clients are addresses in their usual form ([`AnyAccessRecord::client`]), so that one who asks is one key.

mod alb;
mod client;
mod columns;
mod json;
mod record;
mod text;

use std::collections::BTreeMap;
use std::str::FromStr;

use memchr::memchr;

use self::columns::Columns;
use self::json::Keys;
pub use self::record::AnyAccessRecord;
use self::record::{AccessFields, CommonLine, Kind};
use self::text::Text;
use crate::format::access_log::whole_size;
use crate::format::json::skeleton::Skeleton;
use crate::format::pattern::Pattern;
use crate::format::time::{Zone, parse_time};
use crate::format::{
    AccessLog, AccessRecord, Emit, Fields, Format, LineFormat, Scratch, Size, Syslog, WholeLines,
};

/// The form of an access log's lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessForm {
    /// That of the first lines of each partition.
    #[default]
    Auto,
    /// Apache common and combined, to the letter.
    Common,
    /// Lines of text with `[time] "request" status size`, however else they are written.
    Text,
    /// Objects.
    Json,
    /// Columns under a `#Fields:` line.
    W3c,
    /// Amazon's load balancers.
    Alb,
}

impl AccessForm {
    const ALL: [(&'static str, AccessForm); 6] = [
        ("auto", AccessForm::Auto),
        ("common", AccessForm::Common),
        ("text", AccessForm::Text),
        ("json", AccessForm::Json),
        ("w3c", AccessForm::W3c),
        ("alb", AccessForm::Alb),
    ];
}

impl FromStr for AccessForm {
    type Err = String;

    /// Reads a name, as `--format` has it.
    ///
    /// ```
    /// use thalweg::format::AccessForm;
    /// assert_eq!("w3c".parse(), Ok(AccessForm::W3c));
    /// assert_eq!("xml".parse::<AccessForm>().unwrap_err(), "the formats are auto, common, text, json, w3c, alb");
    /// ```
    fn from_str(name: &str) -> Result<Self, String> {
        let form = Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, form)| *form);
        form.ok_or_else(|| format!("the formats are {}", Self::ALL.map(|(name, _)| name).join(", ")))
    }
}

impl std::fmt::Display for AccessForm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = Self::ALL.iter().find(|(_, form)| form == self).map_or("", |(name, _)| name);
        f.pad(name)
    }
}

/// Reads access logs of any form, see [the module](self).
///
/// ```
/// use thalweg::format::AnyAccessLog;
/// use thalweg::prelude::*;
/// let lines = concat!(
///     "198.51.100.7, 203.0.113.10 - - [14/Mar/2024:09:00:00 +0000] \"GET / HTTP/1.1\" 200 7\n",
///     "{\"ts\": 1710406800.5, \"request\": {\"remote_ip\": \"198.51.100.7\", \"uri\": \"/\"}, \"status\": 200, \"size\": 3}\n",
/// );
/// let bytes = thalweg::testing::collection(AnyAccessLog::default(), lines.as_bytes(), |log| {
///     log.by(text("client"), |record| record.client()).sum("bytes", |record| record.size().bytes()).rows()
/// });
/// assert_eq!(bytes, [((Bytes::from("198.51.100.7"), 10), 1)]);
/// ```
#[derive(Clone, Debug)]
pub struct AnyAccessLog {
    form: AccessForm,
    zone: Zone,
    pattern: Option<UserPattern>,
    keys: Keys,
    /// What is known of the partitions that were read.
    learnt: BTreeMap<u32, Learnt>,
    /// The one that is read.
    partition: u32,
}

impl Default for AnyAccessLog {
    /// Of the form that is found, with times without a zone in UTC.
    fn default() -> Self {
        AnyAccessLog::new(AccessForm::Auto)
    }
}

/// What is known of a partition.
#[derive(Clone, Debug, Default)]
struct Learnt {
    /// So many lines have shown it, at most [`Learnt::LINES`].
    lines: usize,
    /// The forms of its lines, beside the common one.
    text: bool,
    json: bool,
    alb: bool,
    /// Whether they are messages of syslog.
    syslog: bool,
    /// Whether its first word is a virtual host where the common form has the client.
    vhost: bool,
    /// Whether its lines end in CR alone.
    cr: bool,
    columns: Option<Columns>,
    /// What is alike in its objects.
    skeleton: Skeleton,
    /// Whether it begins with a directive: then it is read in order, and further ones hold for what is behind them. In others, who
    /// reads a line that looks like one does not read all that is behind it.
    in_order: bool,
}

impl Learnt {
    /// How many lines show what a partition is.
    const LINES: usize = 8;

    fn of_form(form: AccessForm) -> Self {
        Learnt {
            lines: if form == AccessForm::Auto { 0 } else { Self::LINES },
            text: form == AccessForm::Text,
            vhost: form == AccessForm::Text,
            json: form == AccessForm::Json,
            alb: form == AccessForm::Alb,
            in_order: form == AccessForm::W3c,
            ..Learnt::default()
        }
    }
}

impl Learnt {
    /// Takes in the columns that `directive` names, if it names any and whoever reads it reads all that is behind it.
    fn follow(&mut self, directive: &[u8]) {
        if self.in_order {
            self.columns = Columns::of(directive).or(self.columns.take());
        }
    }
}

impl AnyAccessLog {
    /// Lines of this form.
    pub fn new(form: AccessForm) -> Self {
        AnyAccessLog {
            form,
            zone: Zone::UTC,
            pattern: None,
            keys: Keys::new(),
            learnt: BTreeMap::new(),
            partition: 0,
        }
    }

    /// The groups that a pattern may have.
    pub const GROUPS: [&'static str; 12] = [
        "client", "user", "time", "method", "endpoint", "protocol", "status", "size", "referer", "agent",
        "duration", "vhost",
    ];
    const SETTERS: [Setter; 12] = [
        |fields, value, _| fields.client = value,
        |fields, value, _| fields.user = value,
        |fields, value, zone| fields.time = value.and_then(|time| parse_time(time, zone)),
        |fields, value, _| fields.method = value,
        |fields, value, _| fields.endpoint = value,
        |fields, value, _| fields.protocol = value,
        |fields, value, _| {
            fields.status = value.filter(|it| it.iter().all(u8::is_ascii_digit)).and_then(columns::number)
        },
        |fields, value, _| fields.size = value.map_or(Size::Missing, whole_size),
        |fields, value, _| fields.referer = value,
        |fields, value, _| fields.agent = value,
        |fields, value, _| fields.duration = value.and_then(columns::number),
        |fields, value, _| fields.vhost = value,
    ];

    /// Lines that `pattern` matches; its groups are the fields of the records, in seconds the duration.
    ///
    /// # Errors
    ///
    /// When a group is not one of [`AnyAccessLog::GROUPS`].
    pub fn of_pattern(pattern: Pattern) -> Result<Self, String> {
        let field = |name: &String| {
            let known = Self::GROUPS.iter().zip(Self::SETTERS).find(|(known, _)| *known == name);
            known
                .map(|(_, setter)| setter)
                .ok_or_else(|| format!("group `{name}` is not one of {}", Self::GROUPS.join(", ")))
        };
        let setters = pattern.fields().iter().map(field).collect::<Result<_, _>>()?;
        Ok(AnyAccessLog { pattern: Some(UserPattern { pattern, setters }), ..AnyAccessLog::default() })
    }

    /// Times without a zone are of `zone`. Default: UTC.
    #[must_use]
    pub fn in_zone(self, zone: Zone) -> Self {
        AnyAccessLog { zone, ..self }
    }
}

/// What a group's value is to a record.
type Setter = for<'a> fn(&mut AccessFields<'a>, Option<&'a [u8]>, Zone);

/// A user's pattern, and what each of its groups is.
#[derive(Clone, Debug)]
struct UserPattern {
    pattern: Pattern,
    setters: Vec<Setter>,
}

impl UserPattern {
    fn parse<'a>(&mut self, line: &'a [u8], zone: Zone) -> Option<AccessFields<'a>> {
        let mut fields = AccessFields::NONE;
        let values = self.pattern.values(line)?;
        self.setters.iter().zip(values).for_each(|(set, value)| set(&mut fields, value, zone));
        Some(fields)
    }
}

impl Format for AnyAccessLog {
    type Record<'a> = AnyAccessRecord<'a>;

    fn name() -> &'static str {
        "an access log"
    }

    fn partition(&mut self, partition: u32, head: &[u8]) {
        self.partition = partition;
        if self.pattern.is_some() || self.learnt.contains_key(&partition) {
            return;
        }
        let mut learnt = Learnt::of_form(self.form);
        if !head.is_empty() && matches!(self.form, AccessForm::Auto | AccessForm::W3c) {
            let known = self.look_at(head);
            learnt = match self.form {
                AccessForm::Auto => known,
                _ => Learnt { columns: known.columns, in_order: known.in_order, ..learnt },
            };
        }
        self.learnt.insert(partition, learnt);
    }

    fn read<'a>(&mut self, lines: WholeLines<'a>, _: Fields, out: &mut impl Emit<'a, AnyAccessRecord<'a>>) {
        if let Some(mut pattern) = self.pattern.take() {
            for (at, line) in lines.iter() {
                match pattern.parse(line, self.zone) {
                    Some(fields) => emit_fields(at, line, fields, out),
                    None => out.malformed(at, line),
                }
            }
            self.pattern = Some(pattern);
            return;
        }
        let mut learnt = self.learnt.remove(&self.partition).unwrap_or_else(|| Learnt::of_form(self.form));
        let mut lines = lines.iter();
        while learnt.lines < Learnt::LINES
            && let Some((at, line)) = lines.next()
        {
            self.learn(&mut learnt, line, out.scratch());
            self.read_any(&mut learnt, at, line, out);
        }
        if learnt.cr || learnt.vhost || self.zone != Zone::UTC || !self.form.may_be_common() {
            lines.for_each(|(at, line)| self.read_any(&mut learnt, at, line, out));
        } else {
            for (at, line) in lines {
                match AccessLog::read(line) {
                    Some(record) => emit_common(at, line, record, out),
                    None => self.read_other(&mut learnt, at, line, out),
                }
            }
        }
        self.learnt.insert(self.partition, learnt);
    }
}

impl AccessForm {
    fn may_be_common(self) -> bool {
        matches!(self, AccessForm::Auto | AccessForm::Common | AccessForm::Text)
    }
}

/// Whether what the common form takes for the identity is the client, and what it takes for the client a virtual host.
fn behind_a_host(record: &AccessRecord<'_>) -> bool {
    client::address(record.identity).is_some() && client::address(record.client).is_none()
}

#[inline(always)]
fn emit_common<'a>(
    at: usize,
    line: &'a [u8],
    record: AccessRecord<'a>,
    out: &mut impl Emit<'a, AnyAccessRecord<'a>>,
) {
    if client::is_usual(record.client)
        && let Some(common) = CommonLine::of(line, &record)
    {
        return out.record(at, line, AnyAccessRecord(Kind::Common(common)));
    }
    let time = parse_time(record.time, Zone::UTC);
    emit_fields(at, line, AccessFields { time, ..AccessFields::of(&record) }, out);
}

#[inline(never)]
fn emit_fields<'a>(
    at: usize,
    line: &'a [u8],
    mut fields: AccessFields<'a>,
    out: &mut impl Emit<'a, AnyAccessRecord<'a>>,
) {
    let scratch = out.scratch();
    if let Some(usual) = fields.client.and_then(client::usual) {
        fields.client = Some(scratch.bytes(&[usual.as_bytes()]));
    }
    out.record(at, line, AnyAccessRecord(Kind::Fields(scratch.value(fields))));
}

impl AnyAccessLog {
    /// What a partition is that begins with `head`.
    fn look_at(&self, head: &[u8]) -> Learnt {
        let (mut learnt, scratch) = (Learnt::default(), Scratch::default());
        // Nothing but CRs ends a line.
        let first = memchr(b'\r', head).map_or(head, |end| &head[..end]);
        learnt.cr = !head.contains(&b'\n') && first.len() < head.len() && AccessLog.parse(first).is_some();
        // Columns that are named further down hold from there on, and are met when it is read.
        let mut columns = None;
        for (_, line) in WholeLines::new(head).iter() {
            if learnt.lines < Learnt::LINES {
                self.learn(&mut learnt, line, &scratch);
            }
            if learnt.lines == 0 {
                columns.clone_from(&learnt.columns);
            }
        }
        (learnt.lines, learnt.columns) = (Learnt::LINES, columns);
        learnt
    }

    /// Looks what `line`, one of a partition's first, shows of it.
    #[cold]
    fn learn(&self, learnt: &mut Learnt, line: &[u8], scratch: &Scratch) {
        if line.starts_with(b"#") {
            // Directives are no lines, so that a long head hides nothing.
            learnt.in_order |= learnt.lines == 0;
            return learnt.follow(line);
        }
        learnt.lines += 1;
        if learnt.columns.as_ref().is_some_and(|columns| columns.parse(line, scratch).is_some()) {
            return;
        }
        // Before the others: what stands before a message might be taken for a client.
        if let Some(message) = message(line) {
            let mut inside = Learnt::default();
            self.learn_form(&mut inside, message, scratch);
            if inside.text || inside.json || inside.alb || AccessLog.parse(message).is_some() {
                learnt.syslog = true;
                return self.learn_form(learnt, message, scratch);
            }
        }
        self.learn_form(learnt, line, scratch);
    }

    /// Looks of which form `line` is.
    fn learn_form(&self, learnt: &mut Learnt, line: &[u8], scratch: &Scratch) {
        match AccessLog.parse(line) {
            Some(record) => learnt.vhost |= behind_a_host(&record),
            None if line.starts_with(b"{") => {
                learnt.json |= self.keys.parse(&mut Skeleton::default(), line, self.zone, scratch).is_some()
            }
            None => {
                learnt.text |= Text::parse(line).is_some();
                learnt.alb |= alb::parse(line).is_some();
            }
        }
    }

    /// Reads a line of any form that the partition has.
    #[inline(never)]
    fn read_any<'a>(
        &self,
        learnt: &mut Learnt,
        at: usize,
        line: &'a [u8],
        out: &mut impl Emit<'a, AnyAccessRecord<'a>>,
    ) {
        match AccessLog.parse(line).filter(|_| !learnt.cr && self.form.may_be_common()) {
            Some(record) if learnt.vhost && behind_a_host(&record) => self.read_other(learnt, at, line, out),
            Some(record) => self.emit_strict(at, line, record, out),
            None => self.read_other(learnt, at, line, out),
        }
    }

    /// Emits a record of the common form, of whatever zone its time is.
    fn emit_strict<'a>(
        &self,
        at: usize,
        line: &'a [u8],
        record: AccessRecord<'a>,
        out: &mut impl Emit<'a, AnyAccessRecord<'a>>,
    ) {
        if self.zone == Zone::UTC {
            return emit_common(at, line, record, out);
        }
        let time = parse_time(record.time, self.zone);
        emit_fields(at, line, AccessFields { time, ..AccessFields::of(&record) }, out);
    }

    /// Reads a line that is not of the common form.
    fn read_other<'a>(
        &self,
        learnt: &mut Learnt,
        at: usize,
        line: &'a [u8],
        out: &mut impl Emit<'a, AnyAccessRecord<'a>>,
    ) {
        if learnt.cr && line.contains(&b'\r') {
            let mut from = 0;
            for part in line.split(|byte| *byte == b'\r') {
                match AccessLog.parse(part) {
                    Some(record) => self.emit_strict(at + from, part, record, out),
                    // What follows the last CR, where that is nothing.
                    None if part.is_empty() && from == line.len() => {}
                    None => self.read_other(learnt, at + from, part, out),
                }
                from += part.len() + 1;
            }
            return;
        }
        if learnt.syslog
            && let Some(message) = message(line)
        {
            let out = &mut Inside { out, at, line };
            return match AccessLog.parse(message) {
                Some(record) if !(learnt.vhost && behind_a_host(&record)) => {
                    self.emit_strict(at, message, record, out);
                }
                _ => self.read_form(learnt, at, message, out),
            };
        }
        self.read_form(learnt, at, line, out);
    }

    /// Reads a line that is of none but the other forms.
    fn read_form<'a>(
        &self,
        learnt: &mut Learnt,
        at: usize,
        line: &'a [u8],
        out: &mut impl Emit<'a, AnyAccessRecord<'a>>,
    ) {
        let scratch = out.scratch();
        if line.starts_with(b"#") && (learnt.in_order || is_directive(line)) {
            // Part of the format, and no line of the log.
            return learnt.follow(line);
        }
        let fields = learnt.columns.as_ref().and_then(|columns| columns.parse(line, scratch));
        if fields.is_none()
            && learnt.json
            && line.starts_with(b"{")
            && let Some(fields) = self.keys.parse(&mut learnt.skeleton, line, self.zone, scratch)
        {
            return out.record(at, line, AnyAccessRecord(Kind::Json(scratch.value(fields))));
        }
        let fields = fields
            .or_else(|| {
                let text = (learnt.text || learnt.vhost).then(|| Text::parse(line))??;
                Some(AccessFields { time: parse_time(text.time, self.zone), ..text.fields() })
            })
            .or_else(|| learnt.alb.then(|| alb::parse(line))?);
        match fields {
            Some(fields) => emit_fields(at, line, fields, out),
            None => out.malformed(at, line),
        }
    }
}

/// The message of a line of syslog, if it is one.
fn message(line: &[u8]) -> Option<&[u8]> {
    Syslog::default().read(line).map(|record| record.message())
}

/// Takes what comes of the message of `line`, a line of syslog that begins `at`.
struct Inside<'e, 'a, E> {
    out: &'e mut E,
    at: usize,
    line: &'a [u8],
}

impl<'a, R, E: Emit<'a, R>> Emit<'a, R> for Inside<'_, 'a, E> {
    fn record(&mut self, _: usize, line: &'a [u8], record: R) {
        self.out.record(self.at, line, record);
    }

    fn malformed(&mut self, _: usize, _: &'a [u8]) {
        self.out.malformed(self.at, self.line);
    }

    fn fatal(&mut self, _: usize, _: &'a [u8], reason: String) {
        self.out.fatal(self.at, self.line, reason);
    }

    fn scratch(&self) -> &'a Scratch {
        self.out.scratch()
    }
}

/// Whether `line` is a directive of the W3C format, and not a comment of something else.
fn is_directive(line: &[u8]) -> bool {
    [&b"#Software:"[..], b"#Version:", b"#Date:", b"#Fields:", b"#Remark:", b"#Start-Date:", b"#End-Date:"]
        .iter()
        .any(|directive| line.starts_with(directive))
}
