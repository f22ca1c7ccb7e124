//! Static tables: every address against a search through all networks, and every refusal by its line.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use ipnet::IpNet;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use sha2::{Digest, Sha256};
use thalweg::lookup::{Lookup, LookupError, LookupKeys, LookupLimits};

fn config() -> ProptestConfig {
    let beside = FileFailurePersistence::SourceParallel("proptest-regressions");
    ProptestConfig { failure_persistence: Some(Box::new(beside)), ..ProptestConfig::default() }
}

/// A file of `bytes` in a directory that lasts as long as the test.
fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("table.csv");
    std::fs::write(&path, bytes).unwrap();
    (directory, path)
}

fn exact(bytes: &[u8]) -> Result<Lookup, LookupError> {
    let (_directory, path) = file(bytes);
    Lookup::read(path, "key", LookupKeys::Exact)
}

fn networks(bytes: &[u8]) -> Result<Lookup, LookupError> {
    let (_directory, path) = file(bytes);
    Lookup::read(path, "key", LookupKeys::Networks)
}

// ---- networks ------------------------------------------------------------------------------------------------------

/// Addresses that are near each other, so that networks nest and addresses are in them.
fn address() -> impl Strategy<Value = IpAddr> {
    let bits = prop::sample::select(vec![0, 1, 2, 7, 8, 127, 128, 254, 255_u8]);
    let v4 = prop::array::uniform4(bits.clone()).prop_map(|octets| IpAddr::from(Ipv4Addr::from(octets)));
    let v6 = prop::array::uniform16(prop_oneof![4 => prop::sample::select(vec![0, 255]), 1 => bits])
        .prop_map(|octets| IpAddr::from(Ipv6Addr::from(octets)));
    let mapped = prop::array::uniform4(any::<u8>())
        .prop_map(|octets| IpAddr::from(Ipv4Addr::from(octets).to_ipv6_mapped()));
    prop_oneof![4 => v4, 3 => v6, 1 => mapped]
}

fn network() -> impl Strategy<Value = IpNet> {
    (address(), 0_u8..=128).prop_map(|(address, prefix)| {
        let address = address.to_canonical();
        let longest = if address.is_ipv4() { 32 } else { 128 };
        IpNet::new(address, prefix % (longest + 1)).unwrap().trunc()
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_longest_prefix_wins(
        networks in prop::collection::hash_set(network(), 0..40),
        addresses in prop::collection::vec(address(), 1..40),
    ) {
        let networks: Vec<_> = networks.into_iter().collect();
        let rows: String = networks.iter().enumerate().map(|(row, network)| format!("{network},{row}\n")).collect();
        let table = self::networks(format!("key,row\n{rows}").as_bytes()).unwrap();
        prop_assert_eq!(table.len(), networks.len());

        // And the addresses at and beside both ends of every network.
        let ends = networks.iter().flat_map(|network| {
            let (first, last) = (network.network(), network.broadcast());
            [Some(first), Some(last), beside(first, -1), beside(last, 1)].into_iter().flatten()
        });
        for address in addresses.into_iter().chain(ends) {
            let inside = networks.iter().filter(|network| network.contains(&address.to_canonical()));
            let expected = inside.max_by_key(|network| network.prefix_len()).map(ToString::to_string);
            let found = table.get(address.to_string().as_bytes());
            prop_assert_eq!(found, table.get_address(address));
            let found = found.map(|row| {
                let place: usize = std::str::from_utf8(row.column(0)).unwrap().parse().unwrap();
                assert_eq!(networks[place].to_string().as_bytes(), row.key());
                networks[place].to_string()
            });
            prop_assert_eq!(found, expected, "{}", address);
        }
    }

    #[test]
    fn keys_find_their_rows_and_no_others(
        table in prop::collection::hash_map(prop::collection::vec(any::<u8>(), 0..4), prop::collection::vec(any::<u8>(), 0..6), 0..50),
        others in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 0..50),
    ) {
        let break_free = |bytes: &[u8]| !bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r'));
        let table: std::collections::HashMap<_, _> =
            table.into_iter().filter(|(key, value)| break_free(key) && break_free(value)).collect();
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["before", "key", "behind"]).unwrap();
        for (key, value) in &table {
            writer.write_record([value, key, &value.repeat(2)]).unwrap();
        }
        let bytes = writer.into_inner().unwrap();
        let lookup = exact(&bytes).unwrap();
        prop_assert_eq!(lookup.columns(), ["before", "behind"]);
        for key in table.keys().chain(&others) {
            let row = lookup.get(key).map(|row| [row.column(0), row.column(1), row.column(2)]);
            let doubled = table.get(key).map(|value| value.repeat(2));
            let expected = table.get(key).zip(doubled.as_ref()).map(|(value, doubled)| [&value[..], doubled, b""]);
            prop_assert_eq!(row, expected);
        }
        prop_assert_eq!(lookup.digest().to_vec(), Sha256::digest(&bytes).to_vec());
    }

    #[test]
    fn no_bytes_are_too_bad(bytes in prop::collection::vec(prop::sample::select(b"key,\n\r\"1./:a\xff\xef\xbb\xbf".to_vec()), 0..60)) {
        let file = [b"key,v\n", &bytes[..]].concat();
        for read in [exact(&file), networks(&file), exact(&bytes)] {
            // An error says where; a table has all keys.
            match read {
                Ok(table) => prop_assert!(table.len() <= file.len()),
                Err(error) => prop_assert!(error.to_string().contains("table.csv"), "{}", error),
            }
        }
    }
}

/// The address `by` further on, if there is one.
fn beside(address: IpAddr, by: i128) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => {
            let bits = i128::from(address.to_bits()) + by;
            Some(Ipv4Addr::from_bits(bits.try_into().ok()?).into())
        }
        IpAddr::V6(address) => Some(Ipv6Addr::from_bits(address.to_bits().checked_add_signed(by)?).into()),
    }
}

#[test]
fn networks_by_example() {
    let table = networks(
        b"site,key\nall,0.0.0.0/0\noffice,10.0.0.0/8\nhost,10.0.0.7\nmapped,::ffff:192.0.2.0/120\nsix,2001:db8::/32\n",
    )
    .unwrap();
    let site =
        |key: &str| table.get(key.as_bytes()).map(|row| String::from_utf8_lossy(row.column(0)).into_owned());
    let expected = [
        ("10.0.0.7", Some("host")),
        ("10.0.0.8", Some("office")),
        ("::ffff:10.0.0.8", Some("office")),
        ("192.0.2.255", Some("mapped")),
        ("192.0.3.0", Some("all")),
        ("255.255.255.255", Some("all")),
        ("2001:db8::1", Some("six")),
        ("2001:db9::", None),
        ("::1", None),
        ("10.0.0.0/8", None),
        ("010.0.0.1", None),
        (" 10.0.0.1", None),
        ("", None),
        ("localhost", None),
    ];
    for (key, expected) in expected {
        assert_eq!(site(key).as_deref(), expected, "{key}");
    }
    assert!(table.get(b"\xff").is_none());
}

// ---- refusals ------------------------------------------------------------------------------------------------------

#[track_caller]
fn refused(read: Result<Lookup, LookupError>, says: &[&str]) {
    let error = read.unwrap_err().to_string();
    for text in says.iter().chain(&["table.csv"]) {
        assert!(error.contains(text), "`{text}` is not in: {error}");
    }
}

#[test]
fn bad_rows_are_refused_by_line() {
    refused(exact(b"key,v\na,1\nb\n"), &["line 3", "1 fields", "header 2"]);
    refused(exact(b"key,v\r\na,1\r\nb,2,3\r\n"), &["line 3", "3 fields"]);
    refused(exact(b"key,v\na,\"1\nb,2\n"), &["line 2", "line break", "quote"]);
    refused(exact(b"key,v\na,1\n\nb,2\na,3\n"), &["lines 2 and 5", "\"a\""]);
    refused(
        networks(b"key,v\n10.0.0.0/8,a\n10.0.0.0/33,b\n"),
        &["line 3", "\"10.0.0.0/33\" is not a network"],
    );
    refused(networks(b"key,v\n10.0.0.1/8,a\n"), &["line 2", "10.0.0.0/8"]);
    refused(networks(b"key,v\n,a\n"), &["line 2", "\"\" is not a network"]);
    refused(
        networks(b"key,v\n10.0.0.1,a\n::ffff:10.0.0.1/128,b\n"),
        &["lines 2 and 3", "::ffff:10.0.0.1/128"],
    );
}

#[test]
fn bad_headers_are_refused() {
    refused(exact(b""), &["no column `key`"]);
    refused(exact(b"k,v\na,1\n"), &["no column `key`", "\"k\", \"v\""]);
    refused(exact(b"key,v,v\na,1,2\n"), &["two columns `v`"]);
    refused(exact(b"key,key\na,1\n"), &["two columns `key`"]);
    assert_eq!(exact(b"\xef\xbb\xbfkey,v\r\na,1\r\n").unwrap().get(b"a").unwrap().column(0), b"1");
    let empty = exact(b"key").unwrap();
    assert!(empty.is_empty() && empty.columns().is_empty() && empty.get(b"key").is_none());
}

#[test]
fn limits_are_met_exactly() {
    let bytes = b"key,v\na,1\nb,2\n";
    let (_directory, path) = file(bytes);
    let read =
        |bytes, rows| Lookup::read_within(&path, "key", LookupKeys::Exact, LookupLimits { bytes, rows });
    assert_eq!(read(bytes.len() as u64, 2).unwrap().len(), 2);
    assert!(matches!(read(bytes.len() as u64 - 1, 2), Err(LookupError::TooManyBytes { .. })));
    assert!(matches!(read(bytes.len() as u64, 1), Err(LookupError::TooManyRows { .. })));
    let missing = Lookup::read(path.with_file_name("no.csv"), "key", LookupKeys::Exact).unwrap_err();
    assert!(matches!(missing, LookupError::Read { .. }) && missing.to_string().contains("no.csv"));
}
