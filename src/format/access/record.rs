//! What an access log says of a request, whatever form its lines have.

use super::text::{present, referer_and_agent};
use crate::format::Size;
use crate::format::access_log::{AccessRecord, split_request};
use crate::format::time::{Zone, parse_time};
use crate::time::Time;

/// One request, of an access log of any form.
///
/// A field that its form does not have, or that says nothing (`-`), is `None`.
#[derive(Clone, Copy, Debug)]
pub struct AnyAccessRecord<'a>(pub(super) Kind<'a>);

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind<'a> {
    /// The form that most logs have, with fields that are taken apart when they are asked for. Its times are UTC where they name
    /// no zone: hardly any do not, and room for a zone costs each record.
    Common(AccessRecord<'a>),
    /// Any other.
    Fields(&'a AccessFields<'a>),
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
            Kind::Common(record) => Some(record.client),
            Kind::Fields(fields) => fields.client,
        }
    }

    /// The authenticated user.
    pub fn user(&self) -> Option<&'a [u8]> {
        match self.0 {
            Kind::Common(record) => present(record.user),
            Kind::Fields(fields) => fields.user,
        }
    }

    /// When the request came. A time without a zone is one of the zone that the format was given.
    #[inline]
    pub fn event_time(&self) -> Option<Time> {
        match self.0 {
            Kind::Common(record) => parse_time(record.time, Zone::UTC),
            Kind::Fields(fields) => fields.time,
        }
    }

    /// The method, such as `GET`.
    #[inline]
    pub fn method(&self) -> Option<&'a [u8]> {
        match self.0 {
            Kind::Common(record) => record.method(),
            Kind::Fields(fields) => fields.method,
        }
    }

    /// What was asked for, with its query; see [`AccessRecord::endpoint`].
    #[inline]
    pub fn endpoint(&self) -> Option<&'a [u8]> {
        match self.0 {
            Kind::Common(record) => record.endpoint(),
            Kind::Fields(fields) => fields.endpoint,
        }
    }

    /// The protocol, such as `HTTP/1.1`.
    pub fn protocol(&self) -> Option<&'a [u8]> {
        match self.0 {
            Kind::Common(record) => record.protocol(),
            Kind::Fields(fields) => fields.protocol,
        }
    }

    /// The status of the response.
    #[inline]
    pub fn status(&self) -> Option<u16> {
        match self.0 {
            Kind::Common(record) => Some(record.status),
            Kind::Fields(fields) => fields.status,
        }
    }

    /// The size of the response.
    #[inline]
    pub fn size(&self) -> Size {
        match self.0 {
            Kind::Common(record) => record.size,
            Kind::Fields(fields) => fields.size,
        }
    }

    /// The page that led to it.
    pub fn referer(&self) -> Option<&'a [u8]> {
        match self.0 {
            Kind::Common(record) => referer_and_agent(record.rest).0,
            Kind::Fields(fields) => fields.referer,
        }
    }

    /// The program that asked.
    pub fn agent(&self) -> Option<&'a [u8]> {
        match self.0 {
            Kind::Common(record) => referer_and_agent(record.rest).1,
            Kind::Fields(fields) => fields.agent,
        }
    }

    /// The virtual host that was asked, with its port if the log has it.
    pub fn vhost(&self) -> Option<&'a [u8]> {
        match self.0 {
            Kind::Common(..) => None,
            Kind::Fields(fields) => fields.vhost,
        }
    }

    /// How long the response took, in seconds, where the form says which field that is.
    pub fn duration(&self) -> Option<f64> {
        match self.0 {
            Kind::Common(..) => None,
            Kind::Fields(fields) => fields.duration,
        }
    }
}
