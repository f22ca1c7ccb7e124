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
#[inline]
pub(super) fn usual(client: &[u8]) -> Option<String> {
    if is_usual(client) { None } else { usual_form(client) }
}

/// Whether `client` is known to have no other form. Neither the addresses of most logs nor names have one.
#[inline(always)]
pub(super) fn is_usual(client: &[u8]) -> bool {
    !has_colon(client) || is_usual_v6(client)
}

/// Whether `client` is an IPv6 address in its usual form, as far as that is plain to see: in one pass and without memory.
fn is_usual_v6(client: &[u8]) -> bool {
    // Groups that are written, whether the last of them was zero, whether some are left out, and the digits of this one.
    let (mut groups, mut after_zero, mut left_out, mut digits) = (0, false, false, 0);
    let mut group_is_zero = false;
    let mut rest = client;
    // That of IPv4 within IPv6 has another form.
    if client.starts_with(b"::ffff:") || client.len() > 39 {
        return false;
    }
    while let [byte, next @ ..] = rest {
        rest = next;
        match byte {
            b'0'..=b'9' | b'a'..=b'f' => {
                // No zeros in front.
                if digits == 4 || group_is_zero {
                    return false;
                }
                group_is_zero = digits == 0 && *byte == b'0';
                digits += 1;
            }
            b':' => {
                let two = rest.first() == Some(&b':');
                // One run of zeros is left out: all of it, and the longest. Where others are as long, it takes a closer look.
                let begins = digits == 0;
                if (begins && !(groups == 0 && !left_out && two))
                    || (two && left_out)
                    || (group_is_zero && (after_zero || two))
                {
                    return false;
                }
                groups += usize::from(!begins);
                (after_zero, group_is_zero, digits) = (group_is_zero, false, 0);
                if two {
                    left_out = true;
                    rest = &rest[1..];
                    after_zero = true;
                }
            }
            _ => return false,
        }
    }
    let ends_open = digits == 0;
    if (group_is_zero && after_zero) || (ends_open && !client.ends_with(b"::")) {
        return false;
    }
    groups += usize::from(!ends_open);
    if left_out { groups <= 6 } else { groups == 8 }
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
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What is plain to see is so.
        #[test]
        fn addresses_that_look_usual_are(
            groups in prop::array::uniform8(prop_oneof![Just(0), Just(0), Just(0xffff), any::<u16>()]),
            typed in "[0-9a-f:]{1,12}|([0-9a-f]{1,2}:{1,2}){1,8}[0-9a-f]?",
        ) {
            let address = Ipv6Addr::from(groups).to_string();
            for client in [address, typed] {
                if is_usual_v6(client.as_bytes()) {
                    prop_assert!(super::address(client.as_bytes()).is_some(), "{}", client);
                    prop_assert_eq!(usual_form(client.as_bytes()), None, "{}", client);
                }
            }
        }
    }

    #[test]
    fn the_addresses_of_most_logs_look_usual() {
        for client in
            ["2001:db8::9", "::1", "fe80::1:0:2", "2001:db8:1:2:3:4:5:6", "2001:db8::", "1:0:2:3:4:5:6:7"]
        {
            assert!(is_usual_v6(client.as_bytes()), "{client}");
        }
    }

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
