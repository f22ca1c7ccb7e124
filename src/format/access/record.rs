//! What an access log says of a request, whatever form its lines have.

use super::json::JsonFields;
use super::text::{present, referer_and_agent};
use crate::format::Size;
use crate::format::access_log::{AccessRecord, digits, split_request};
use crate::format::time::{Zone, parse_time};
use crate::time::Time;

/// One request, of an access log of any form.
///
/// A field that its form does not have, or that says nothing (`-`), is `None`.
#[derive(Clone, Copy, Debug)]
pub struct AnyAccessRecord<'a>(pub(super) Kind<'a>);

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind<'a> {
    /// The form that most logs have.
    Common(CommonLine<'a>),
    /// An object.
    Json(&'a JsonFields<'a>),
    /// Any other.
    Fields(&'a AccessFields<'a>),
}

/// A line of the common form, and where its fields are; they are taken apart when they are asked for.
///
/// Times that name no zone are of UTC: hardly any do not, and each byte of a record costs a run over millions of them. So
/// fields are places in the line and not slices, a third of their size.
#[derive(Clone, Copy, Debug)]
pub(super) struct CommonLine<'a> {
    line: &'a [u8],
    client_end: u32,
    user_begin: u32,
    user_end: u32,
    time_end: u32,
    request_end: u32,
    status: u16,
    size: Size,
}

impl<'a> CommonLine<'a> {
    /// Where the fields of `record` are in its `line`, if that is short enough for its places.
    #[inline(always)]
    pub(super) fn of(line: &'a [u8], record: &AccessRecord<'_>) -> Option<Self> {
        if line.len() > u32::MAX as usize {
            return None;
        }
        let client_end = record.client.len();
        let user_begin = client_end + 1 + record.identity.len() + 1;
        let user_end = user_begin + record.user.len();
        let time_end = user_end + Self::BEFORE_TIME + record.time.len();
        let request_end = time_end + Self::BEFORE_REQUEST + record.request.len();
        Some(CommonLine {
            line,
            client_end: client_end as u32,
            user_begin: user_begin as u32,
            user_end: user_end as u32,
            time_end: time_end as u32,
            request_end: request_end as u32,
            status: record.status,
            size: record.size,
        })
    }

    /// ` [`
    const BEFORE_TIME: usize = 2;
    /// `] "`
    const BEFORE_REQUEST: usize = 3;
    /// `" 200 `
    const BEFORE_SIZE: usize = 6;

    #[inline]
    fn between(self, begin: usize, end: u32) -> &'a [u8] {
        self.line.get(begin..end as usize).unwrap_or_default()
    }

    #[inline]
    fn client(self) -> &'a [u8] {
        self.between(0, self.client_end)
    }

    #[inline]
    fn user(self) -> &'a [u8] {
        self.between(self.user_begin as usize, self.user_end)
    }

    #[inline]
    fn time(self) -> &'a [u8] {
        self.between(self.user_end as usize + Self::BEFORE_TIME, self.time_end)
    }

    #[inline]
    fn request(self) -> &'a [u8] {
        self.between(self.time_end as usize + Self::BEFORE_REQUEST, self.request_end)
    }

    /// What is behind the size.
    fn rest(self) -> &'a [u8] {
        match self.line.get(self.request_end as usize + Self::BEFORE_SIZE..) {
            Some([b'-', rest @ ..]) => rest,
            Some(bytes) => digits(bytes).1,
            None => &[],
        }
    }
}

/// The fields of a record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct AccessFields<'a> {
    pub(super) client: Option<&'a [u8]>,
    pub(super) user: Option<&'a [u8]>,
    pub(super) time: Option<Time>,
    pub(super) method: Option<&'a [u8]>,
    pub(super) endpoint: Option<&'a [u8]>,
    pub(super) protocol: Option<&'a [u8]>,
    pub(super) status: Option<u16>,
    pub(super) size: Size,
    pub(super) referer: Option<&'a [u8]>,
    pub(super) agent: Option<&'a [u8]>,
    pub(super) vhost: Option<&'a [u8]>,
    /// In seconds.
    pub(super) duration: Option<f64>,
}

impl<'a> AccessFields<'a> {
    pub(super) const NONE: AccessFields<'static> = AccessFields {
        client: None,
        user: None,
        time: None,
        method: None,
        endpoint: None,
        protocol: None,
        status: None,
        size: Size::Missing,
        referer: None,
        agent: None,
        vhost: None,
        duration: None,
    };

    /// Those of a record of the common form, without its time.
    pub(super) fn of(record: &AccessRecord<'a>) -> Self {
        let (referer, agent) = referer_and_agent(record.rest);
        AccessFields {
            client: Some(record.client),
            user: present(record.user),
            status: Some(record.status),
            size: record.size,
            referer,
            agent,
            ..Self::of_request(record.request)
        }
    }

    /// With the parts of a request line.
    pub(super) fn of_request(request: &'a [u8]) -> Self {
        match split_request(request) {
            Some((method, endpoint, protocol)) => {
                AccessFields { method: Some(method), endpoint: Some(endpoint), protocol, ..Self::NONE }
            }
            None => Self::NONE,
        }
    }
}

impl<'a> AnyAccessRecord<'a> {
    /// Who asked: an address in its usual form, without a port, or a name. Of a list, as in `X-Forwarded-For`, the first.
    #[inline]
    pub fn client(&self) -> Option<&'a [u8]> {
        match self.0 {
            Kind::Common(line) => Some(line.client()),
            Kind::Json(fields) => fields.client,
            Kind::Fields(fields) => fields.client,
        }
    }

    /// The authenticated user.
    pub fn user(&self) -> Option<&'a [u8]> {
        match self.0 {
            Kind::Common(line) => present(line.user()),
            Kind::Json(fields) => fields.user(),
            Kind::Fields(fields) => fields.user,
        }
    }

    /// When the request came. A time without a zone is one of the zone that the format was given.
    #[inline]
    pub fn event_time(&self) -> Option<Time> {
        match self.0 {
            Kind::Common(line) => parse_time(line.time(), Zone::UTC),
            Kind::Json(fields) => fields.time(),
            Kind::Fields(fields) => fields.time,
        }
    }

    /// The method, such as `GET`.
    #[inline]
    pub fn method(&self) -> Option<&'a [u8]> {
        match self.0 {
            Kind::Common(line) => split_request(line.request()).map(|(method, ..)| method),
            Kind::Json(fields) => fields.method(),
            Kind::Fields(fields) => fields.method,
        }
    }

    /// What was asked for, with its query; see [`AccessRecord::endpoint`].
    #[inline]
    pub fn endpoint(&self) -> Option<&'a [u8]> {
        match self.0 {
            Kind::Common(line) => split_request(line.request()).map(|(_, endpoint, _)| endpoint),
            Kind::Json(fields) => fields.endpoint(),
            Kind::Fields(fields) => fields.endpoint,
        }
    }

    /// The protocol, such as `HTTP/1.1`.
    pub fn protocol(&self) -> Option<&'a [u8]> {
        match self.0 {
            Kind::Common(line) => split_request(line.request())?.2,
            Kind::Json(fields) => fields.protocol(),
            Kind::Fields(fields) => fields.protocol,
        }
    }

    /// The status of the response.
    #[inline]
    pub fn status(&self) -> Option<u16> {
        match self.0 {
            Kind::Common(line) => Some(line.status),
            Kind::Json(fields) => fields.status(),
            Kind::Fields(fields) => fields.status,
        }
    }

    /// The size of the response.
    #[inline]
    pub fn size(&self) -> Size {
        match self.0 {
            Kind::Common(line) => line.size,
            Kind::Json(fields) => fields.size(),
            Kind::Fields(fields) => fields.size,
        }
    }

    /// The page that led to it.
    pub fn referer(&self) -> Option<&'a [u8]> {
        match self.0 {
            Kind::Common(line) => referer_and_agent(line.rest()).0,
            Kind::Json(fields) => fields.referer(),
            Kind::Fields(fields) => fields.referer,
        }
    }

    /// The program that asked.
    pub fn agent(&self) -> Option<&'a [u8]> {
        match self.0 {
            Kind::Common(line) => referer_and_agent(line.rest()).1,
            Kind::Json(fields) => fields.agent(),
            Kind::Fields(fields) => fields.agent,
        }
    }

    /// The virtual host that was asked, with its port if the log has it.
    pub fn vhost(&self) -> Option<&'a [u8]> {
        match self.0 {
            Kind::Common(..) => None,
            Kind::Json(fields) => fields.vhost(),
            Kind::Fields(fields) => fields.vhost,
        }
    }

    /// How long the response took, in seconds, where the form says which field that is.
    pub fn duration(&self) -> Option<f64> {
        match self.0 {
            Kind::Common(..) => None,
            Kind::Json(fields) => fields.duration(),
            Kind::Fields(fields) => fields.duration,
        }
    }
}
