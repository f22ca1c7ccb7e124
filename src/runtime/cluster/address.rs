//! Where the processes of a cluster live: host files, and what their addresses resolve to.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;

use crate::runtime::cluster::{ClusterError, Peer};
use crate::runtime::small::read_small;

/// The port of process 0 where no host file is given; process i has the i-th after it. Timely's choice.
const FIRST_PORT: usize = 2101;

/// The addresses of `processes` processes on this machine, as timely numbers them.
///
/// ```
/// use thalweg::runtime::cluster::localhost_addresses;
/// assert_eq!(localhost_addresses(2), ["localhost:2101", "localhost:2102"]);
/// ```
#[must_use]
pub fn localhost_addresses(processes: usize) -> Vec<String> {
    (0..processes).map(|process| format!("localhost:{}", FIRST_PORT + process)).collect()
}

/// Reads the addresses of the first `processes` processes from the host file at `path`.
///
/// One `host:port` a line, process 0 first. Empty lines and lines that begin with `#` are skipped; lines after the
/// last that is needed are not looked at, so that one file serves any smaller `-n`.
///
/// # Errors
///
/// When the file cannot be read, is no ordinary file or longer than a mebibyte, has too few addresses, or has several
/// on one line.
///
/// ```
/// use thalweg::runtime::cluster::parse_hostfile;
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("hosts");
/// std::fs::write(&path, "# the cluster\n10.0.0.7:2101\n\n 10.0.0.8:2101 \n")?;
/// assert_eq!(parse_hostfile(&path, 2).unwrap(), ["10.0.0.7:2101", "10.0.0.8:2101"]);
/// assert!(parse_hostfile(&path, 3).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn parse_hostfile(path: impl AsRef<Path>, processes: usize) -> Result<Vec<String>, ClusterError> {
    let path = path.as_ref();
    let unreadable = |source| ClusterError::Hostfile { path: path.to_owned(), source };
    let mut addresses = Vec::new();
    for (index, line) in read_small(path).map_err(unreadable)?.lines().enumerate() {
        if addresses.len() == processes {
            break;
        }
        let text = line.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if text.contains(char::is_whitespace) {
            return Err(ClusterError::HostfileLine {
                path: path.to_owned(),
                line: index + 1,
                text: text.to_owned(),
            });
        }
        addresses.push(text.to_owned());
    }
    if addresses.len() < processes {
        return Err(ClusterError::HostfileShort { path: path.to_owned(), found: addresses.len(), processes });
    }
    Ok(addresses)
}

/// Whether an address can mean anything, so that a typing error is told at once and not retried for a minute.
pub(super) fn check_form(peer: &Peer) -> Result<(), ClusterError> {
    match peer.address.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(()),
        _ => Err(ClusterError::BadAddress(peer.clone())),
    }
}

/// What `peer`'s address stands for now.
///
/// With `loopback_only`, an address that other machines can reach is an error. Every use of an address, to listen or
/// to connect, comes through here, so a name that changes its meaning after the first look does not get round it.
pub(super) fn resolve(peer: &Peer, loopback_only: bool) -> Result<Vec<SocketAddr>, ClusterError> {
    let found: Vec<SocketAddr> = peer
        .address
        .to_socket_addrs()
        .map_err(|source| ClusterError::Resolve { peer: peer.clone(), source })?
        .collect();
    if loopback_only && !found.iter().all(|address| address.ip().to_canonical().is_loopback()) {
        return Err(ClusterError::Insecure { peer: peer.clone() });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> Peer {
        Peer { process: 0, address: address.to_owned() }
    }

    #[test]
    fn a_short_or_crowded_hostfile_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts");
        std::fs::write(&path, "a:1\n#b:2\n\nc:3\r\n").unwrap();
        assert_eq!(parse_hostfile(&path, 2).unwrap(), ["a:1", "c:3"]);
        let error = parse_hostfile(&path, 5).unwrap_err().to_string();
        assert!(error.contains("has 2 addresses for 5 processes"), "{error}");

        std::fs::write(&path, "a:1\nb:2 c:3\n").unwrap();
        assert_eq!(parse_hostfile(&path, 1).unwrap(), ["a:1"]);
        let error = parse_hostfile(&path, 2).unwrap_err().to_string();
        assert!(error.contains("hosts:2: ") && error.contains("`b:2 c:3`"), "{error}");

        std::fs::write(&path, b"\xff\xfe:1\n").unwrap();
        assert!(matches!(parse_hostfile(&path, 1), Err(ClusterError::Hostfile { .. })));
    }

    #[test]
    fn only_loopback_is_loopback() {
        for address in ["127.0.0.1:1", "localhost:1", "[::1]:1", "127.9.9.9:1", "[::ffff:127.0.0.1]:1"] {
            assert!(resolve(&peer(address), true).is_ok(), "{address}");
        }
        for address in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[::ffff:10.0.0.1]:1"] {
            assert!(resolve(&peer(address), false).is_ok(), "{address}");
            assert!(matches!(resolve(&peer(address), true), Err(ClusterError::Insecure { .. })), "{address}");
        }
    }

    #[test]
    fn malformed_addresses_are_found_before_anything_is_resolved() {
        for address in ["", "host", ":2101", "host:", "host:x", "host:65536", "host:-1"] {
            assert!(matches!(check_form(&peer(address)), Err(ClusterError::BadAddress(_))), "{address}");
        }
        for address in ["host:0", "host:65535", "[::1]:1"] {
            assert!(check_form(&peer(address)).is_ok(), "{address}");
        }
    }
}
