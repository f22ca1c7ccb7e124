//! Who asked: addresses in one form, however a server writes them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use memchr::memchr;

/// An address, and the zone behind a `%` that a link-local one may have.
pub(super) type Address<'a> = (IpAddr, Option<&'a str>);

/// The address that `word` is, without brackets and without a port.
///
/// IPv4 within IPv6 (`::ffff:198.51.100.7`) is IPv4.
pub(super) fn address(word: &[u8]) -> Option<Address<'_>> {
    let word = std::str::from_utf8(word).ok()?;
    let inner = match word.strip_prefix('[') {
        Some(rest) => {
            let (inner, port) = rest.split_once(']')?;
            port.is_empty().then_some(()).or_else(|| is_port(port.strip_prefix(':')?))?;
            inner
        }
        None => match word.split_once(':') {
            Some((v4, port)) if is_port(port).is_some() && v4.contains('.') => {
                return Some((v4.parse::<Ipv4Addr>().ok()?.into(), None));
            }
            _ => word,
        },
    };
    let (address, zone) = inner.split_once('%').map_or((inner, None), |(it, zone)| (it, Some(zone)));
    let address = match zone {
        None => address.parse::<IpAddr>().ok()?,
        Some(_) => address.parse::<Ipv6Addr>().ok()?.into(),
    };
    Some((address.to_canonical(), zone))
}

fn is_port(digits: &str) -> Option<()> {
    (matches!(digits.len(), 1..=5) && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(())
}

/// The usual form of `client`, if that differs from the bytes that it is written in: small letters, the longest run of
/// zeros left out (RFC 5952), no port and no brackets. What is no address has no other form.
#[inline(always)]
pub(super) fn usual(client: &[u8]) -> Option<String> {
    // Neither the addresses of most logs nor names have one.
    if has_colon(client) { usual_form(client) } else { None }
}

/// Whether there is a colon. Clients are short: two overlapping words settle most of them, where a call to `memchr` takes a
/// twentieth of the time that a line has.
#[inline(always)]
fn has_colon(client: &[u8]) -> bool {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let word = |eight: &[u8; 8]| {
        let zeros = u64::from_le_bytes(*eight) ^ (ONES * b':' as u64);
        zeros.wrapping_sub(ONES) & !zeros & (ONES * 0x80) != 0
    };
    match (client.first_chunk(), client.last_chunk()) {
        (Some(first), Some(last)) if client.len() <= 16 => word(first) || word(last),
        (None, _) => client.contains(&b':'),
        _ => memchr(b':', client).is_some(),
    }
}

#[cold]
fn usual_form(client: &[u8]) -> Option<String> {
    let (address, zone) = address(client)?;
    let usual = match zone {
        Some(zone) => format!("{address}%{zone}"),
        None => address.to_string(),
    };
    (usual.as_bytes() != client).then_some(usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_one_form() {
        for (client, form) in [
            ("198.51.100.7", "198.51.100.7"),
            ("198.51.100.7:40123", "198.51.100.7"),
            ("::ffff:198.51.100.7", "198.51.100.7"),
            ("[::ffff:198.51.100.7]:80", "198.51.100.7"),
            ("[2001:db8::9]:443", "2001:db8::9"),
            ("[2001:db8::9]", "2001:db8::9"),
            ("2001:DB8:0::9", "2001:db8::9"),
            ("2001:db8::9", "2001:db8::9"),
            ("fe80::1%eth0", "fe80::1%eth0"),
            ("[fe80:0::1%eth0]:7", "fe80::1%eth0"),
            // No addresses.
            ("host.example:80", "host.example:80"),
            ("198.51.100.7:", "198.51.100.7:"),
            ("198.51.100.7:123456", "198.51.100.7:123456"),
            ("198.51.100:80", "198.51.100:80"),
            ("[2001:db8::9", "[2001:db8::9"),
            ("198.51.100.7%eth0:1", "198.51.100.7%eth0:1"),
            ("a:b:c", "a:b:c"),
            (":", ":"),
        ] {
            let usual = usual(client.as_bytes());
            assert_eq!(usual.as_deref().unwrap_or(client), form, "{client}");
            assert_eq!(super::usual(form.as_bytes()), None, "{form} is the usual form");
        }
    }
}
