//! Access logs of Amazon's load balancers: application (ALB) and classic (ELB).
//!
//! Both are columns apart by spaces, some of them between quotes. An application load balancer's line begins with the kind
//! of the request, a classic one's with the time
//! (<https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html>).

use super::columns::number;
use super::record::AccessFields;
use super::text::present;
use crate::format::access_log::whole_size;
use crate::format::time::{Zone, parse_rfc3339, parse_time};

/// Reads a line of either.
pub(super) fn parse(line: &[u8]) -> Option<AccessFields<'_>> {
    let mut cells = Cells(line);
    let first = cells.next()?;
    let (time, kind) = match first {
        b"http" | b"https" | b"h2" | b"grpcs" | b"ws" | b"wss" => (cells.next()?, true),
        _ => (first, false),
    };
    // The form whose fraction has six digits, and nothing else that people call a time.
    parse_rfc3339(time)?;
    let _name = cells.next()?;
    let client = cells.next()?;
    let _target = cells.next()?;
    let durations = [cells.next()?, cells.next()?, cells.next()?].map(number::<f64>);
    let status = cells.next()?;
    let _target_status = cells.next()?;
    let (_received, sent) = (cells.next()?, cells.next()?);
    let request = cells.next()?;
    let agent = cells.next().and_then(present);
    let mut fields = AccessFields {
        client: present(client),
        time: parse_time(time, Zone::UTC),
        status: number(status),
        size: whole_size(sent),
        agent,
        // -1 stands for what could not be measured.
        duration: durations.into_iter().sum::<Option<f64>>().filter(|sum| *sum >= 0.0),
        ..AccessFields::of_request(request)
    };
    let url = fields.endpoint.unwrap_or_default();
    let hosted =
        [&b"http://"[..], b"https://", b"ws://", b"wss://"].iter().find_map(|it| url.strip_prefix(*it));
    if let Some(hosted) = hosted {
        let path = hosted.iter().position(|byte| *byte == b'/').unwrap_or(hosted.len());
        fields.vhost = present(&hosted[..path]);
        fields.endpoint = Some(if path == hosted.len() { b"/" } else { &hosted[path..] });
    }
    // Only in an application load balancer's log is there something behind the agent, and only there a kind before the time.
    (kind || client.contains(&b':')).then_some(fields)
}

/// The columns of a line: what stands between quotes is one, whatever is in it but a quote.
struct Cells<'a>(&'a [u8]);

impl<'a> Iterator for Cells<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0;
        if rest.is_empty() {
            return None;
        }
        let (cell, behind) = match rest.strip_prefix(b"\"") {
            Some(inner) => inner.split_at(memchr::memchr(b'"', inner)?),
            None => rest.split_at(memchr::memchr(b' ', rest).unwrap_or(rest.len())),
        };
        let behind = behind.strip_prefix(b"\"").unwrap_or(behind);
        self.0 = behind.strip_prefix(b" ").unwrap_or(behind);
        Some(cell)
    }
}
