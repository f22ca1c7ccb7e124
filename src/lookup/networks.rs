//! Which network an address is in.
//!
//! A table of networks does not change, so it needs no tree: networks nest or are apart, never overlap in part, and so
//! cut the addresses into ranges each of which has one longest prefix. Finding it is a binary search over the ranges'
//! beginnings, and needs no allocation.

use std::net::IpAddr;

use ipnet::IpNet;

/// Rows by network.
#[derive(Debug, Default)]
pub(super) struct Networks {
    v4: Ranges,
    v6: Ranges,
}

/// Where each range begins, and the row of the longest prefix over it. The last one is open.
type Ranges = Vec<(u128, Option<u32>)>;

impl Networks {
    /// The index of `networks`, which are different and [`canonical`].
    pub(super) fn new(networks: impl Iterator<Item = (IpNet, u32)>) -> Self {
        let (v4, v6) = networks.partition::<Vec<_>, _>(|(network, _)| matches!(network, IpNet::V4(_)));
        Networks { v4: ranges(v4), v6: ranges(v6) }
    }

    /// The row of the smallest network that `address` is in. `::ffff:10.0.0.1` is 10.0.0.1.
    pub(super) fn get(&self, address: IpAddr) -> Option<u32> {
        let address = address.to_canonical();
        let ranges = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        let address = number(address);
        let behind = ranges.partition_point(|(start, _)| *start <= address);
        ranges.get(behind.checked_sub(1)?)?.1
    }
}

/// Cuts the addresses at both ends of every network.
fn ranges(mut networks: Vec<(IpNet, u32)>) -> Ranges {
    // By first address, and those around others before them.
    networks.sort_unstable_by_key(|(network, _)| (number(network.network()), network.prefix_len()));
    let mut ranges = Ranges::new();
    let mut around: Vec<(u128, u32)> = Vec::new();
    for (network, row) in networks {
        let start = number(network.network());
        leave(&mut ranges, &mut around, Some(start));
        cut(&mut ranges, start, Some(row));
        around.push((number(network.broadcast()), row));
    }
    leave(&mut ranges, &mut around, None);
    ranges
}

/// Ends those of the networks `around` that end before `start`, or all of them.
fn leave(ranges: &mut Ranges, around: &mut Vec<(u128, u32)>, start: Option<u128>) {
    while let Some((last, _)) = around.pop_if(|(last, _)| start.is_none_or(|start| *last < start)) {
        // Behind the last address of all there is nothing to cut.
        if let Some(behind) = last.checked_add(1) {
            cut(ranges, behind, around.last().map(|(_, row)| *row));
        }
    }
}

/// Begins a range at `start`, in place of one that would be empty.
fn cut(ranges: &mut Ranges, start: u128, row: Option<u32>) {
    ranges.pop_if(|(last, _)| *last == start);
    ranges.push((start, row));
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Why a key is no network.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotOne {
    Syntax,
    /// It has bits behind its prefix; this is the network without them.
    HostBits(IpNet),
}

/// Reads a network in CIDR form, or a single address, in the one form that [`Networks`] has them: IPv4 within IPv6
/// (`::ffff:10.0.0.0/104`) is IPv4.
pub(super) fn canonical(key: &[u8]) -> Result<IpNet, NotOne> {
    let key = std::str::from_utf8(key).map_err(|_| NotOne::Syntax)?;
    let network = match key.parse::<IpNet>() {
        Ok(network) => network,
        Err(_) => IpNet::from(key.parse::<IpAddr>().map_err(|_| NotOne::Syntax)?),
    };
    if network.trunc() != network {
        return Err(NotOne::HostBits(network.trunc()));
    }
    let mapped = network.prefix_len().checked_sub(96);
    match (network, network.addr().to_canonical(), mapped) {
        (IpNet::V6(_), address @ IpAddr::V4(_), Some(prefix)) => {
            IpNet::new(address, prefix).map_err(|_| NotOne::Syntax)
        }
        _ => Ok(network),
    }
}
