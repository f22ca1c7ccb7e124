//! What a person wants to know of a certificate: whose it is, and when it is valid.
//!
//! No more than that: whether it is to be trusted is for rustls to say. What is read may be of a stranger, so it is read with bounds, and
//! what is not understood is left out.

use chrono::NaiveDateTime;

use crate::time::Time;

/// How much of a subject is shown, in bytes.
const SHOWN: usize = 200;

/// Of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// `CN=logs.example, O=Example`, or the names that it is for.
    pub(super) subject: String,
    pub(super) not_before: Time,
    pub(super) not_after: Time,
}

impl Facts {
    /// Of a certificate in DER; `None` if it is none.
    pub(super) fn of(der: &[u8]) -> Option<Self> {
        let mut rest = der;
        let mut certificate = of_tag(&mut rest, SEQUENCE)?;
        let mut signed = of_tag(&mut certificate, SEQUENCE)?;
        if signed.first() == Some(&VERSION) {
            element(&mut signed)?;
        }
        let _serial = of_tag(&mut signed, INTEGER)?;
        let _algorithm = of_tag(&mut signed, SEQUENCE)?;
        let _issuer = of_tag(&mut signed, SEQUENCE)?;
        let mut validity = of_tag(&mut signed, SEQUENCE)?;
        let (not_before, not_after) = (time(&mut validity)?, time(&mut validity)?);
        let subject = name(of_tag(&mut signed, SEQUENCE)?);
        let subject = if subject.is_empty() { alternatives(signed).unwrap_or_default() } else { subject };
        let subject = if subject.is_empty() { "(no name)".to_owned() } else { shortened(&subject) };
        Some(Facts { subject, not_before, not_after })
    }
}

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OBJECT: u8 = 0x06;
const UTC: u8 = 0x17;
const GENERALIZED: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// In the alternative names: one of the domain name system.
const DNS: u8 = 0x82;
/// The object of that extension, 2.5.29.17.
const ALTERNATIVES: [u8; 3] = [0x55, 0x1d, 17];

/// The next element: its tag and its content.
fn element<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&[tag, short], mut behind) = rest.split_first_chunk()?;
    let len = match short {
        0..=0x7f => usize::from(short),
        0x81..=0x84 => {
            let (digits, after) = behind.split_at_checked(usize::from(short & 0x7f))?;
            behind = after;
            digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit))
        }
        _ => return None,
    };
    let (content, behind) = behind.split_at_checked(len)?;
    *rest = behind;
    Some((tag, content))
}

fn of_tag<'a>(rest: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    element(rest).filter(|(found, _)| *found == tag).map(|(_, content)| content)
}

fn time(rest: &mut &[u8]) -> Option<Time> {
    let (tag, text) = element(rest)?;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let text = match tag {
        // Two digits of a year are of the years from 1950 to 2049.
        UTC if text.get(..2)? >= "50" => format!("19{text}"),
        UTC => format!("20{text}"),
        GENERALIZED => text.to_owned(),
        _ => return None,
    };
    let time = NaiveDateTime::parse_from_str(&text, "%Y%m%d%H%M%S").ok()?;
    Some(Time(time.and_utc().timestamp_millis()))
}

/// The parts of a name that people give things.
fn name(mut rest: &[u8]) -> String {
    let mut parts = Vec::new();
    while let Some(mut set) = of_tag(&mut rest, SET) {
        let Some(mut pair) = of_tag(&mut set, SEQUENCE) else { break };
        let (Some(object), Some((_, value))) = (of_tag(&mut pair, OBJECT), element(&mut pair)) else { break };
        let label = match object {
            [0x55, 4, 3] => "CN",
            [0x55, 4, 6] => "C",
            [0x55, 4, 7] => "L",
            [0x55, 4, 8] => "ST",
            [0x55, 4, 10] => "O",
            [0x55, 4, 11] => "OU",
            _ => continue,
        };
        parts.push(format!("{label}={}", String::from_utf8_lossy(value)));
    }
    parts.join(", ")
}

/// The names in the extension for them, of what follows the subject.
fn alternatives(mut signed: &[u8]) -> Option<String> {
    let mut extensions = std::iter::from_fn(|| element(&mut signed));
    let (_, mut all) = extensions.find(|(tag, _)| *tag == EXTENSIONS)?;
    let mut all = of_tag(&mut all, SEQUENCE)?;
    while let Some(mut extension) = of_tag(&mut all, SEQUENCE) {
        if of_tag(&mut extension, OBJECT)? != ALTERNATIVES {
            continue;
        }
        let (tag, content) = element(&mut extension)?;
        // Whether it is critical may stand in between.
        let mut content = if tag == OCTETS { content } else { of_tag(&mut extension, OCTETS)? };
        let mut names = of_tag(&mut content, SEQUENCE)?;
        let names = std::iter::from_fn(|| element(&mut names)).filter(|(tag, _)| *tag == DNS);
        return Some(names.map(|(_, name)| String::from_utf8_lossy(name)).collect::<Vec<_>>().join(", "));
    }
    None
}

/// So much of `text` as is shown, in one line whatever is in it.
fn shortened(text: &str) -> String {
    let end = text.floor_char_boundary(SHOWN);
    let plain = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    let shown: String = text[..end].chars().map(plain).collect();
    if end < text.len() { shown + "…" } else { shown }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    /// `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365` with the subject
    /// `/O=Example/CN=logs.example` and no subject, with `DNS:a.example,DNS:b.example` in the second.
    fn certificates() -> Vec<Vec<u8>> {
        let pem = include_bytes!("../../../../tests/sockets/certificates.pem");
        let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().expect("well formed");
        all.into_iter().map(|der| der.to_vec()).collect()
    }

    #[test]
    fn a_certificate_says_whose_it_is_and_when_it_is_valid() {
        let [named, unnamed] = &certificates()[..] else { panic!("two certificates") };
        let named = Facts::of(named).expect("a certificate");
        assert_eq!(named.subject, "O=Example, CN=logs.example");
        assert_eq!(named.not_after.millis_since(named.not_before), 365 * 86_400_000);
        assert!(named.not_before.to_string().starts_with("2026-"), "{}", named.not_before);
        assert_eq!(Facts::of(unnamed).expect("a certificate").subject, "a.example, b.example");
    }

    #[test]
    fn what_is_shown_is_short_and_one_line() {
        assert_eq!(shortened("CN=a\nthalweg: warn: b"), "CN=a\\nthalweg: warn: b");
        assert!(shortened(&"é".repeat(1000)).len() < 2 * SHOWN);
    }

    proptest! {
        #[test]
        fn what_is_broken_is_none_and_breaks_nothing(at in 0usize..400, byte: u8, len in 0usize..500) {
            for mut der in certificates() {
                let _ = Facts::of(&der[..len.min(der.len() - 1)]);
                let at = at % der.len();
                der[at] = byte;
                let _ = Facts::of(&der);
            }
        }
    }
}
