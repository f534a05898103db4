//! The address plan and the names of a lab: which host, interface and place has which address.
//!
//! One home for these facts; the switch, the hosts' /etc/hosts and the tests all read them here. Every lab has the
//! same plan, since the networks of two labs never meet.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// Host numbers run from 1 to this; more would run into the BMCs' addresses.
pub const MAX_HOSTS: usize = 64;

/// User of every BMC.
pub const BMC_USER: &str = "admin";
/// Password of every BMC: a word that is nowhere else, so that tests can look where it has gone.
pub const BMC_PASSWORD: &str = "canary-9vQ2xT";

/// An interface of a host, and the network it is plugged into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Nic {
    /// eth0, 10.77.0.0/24: services, clients and the first ring.
    Ring0,
    /// eth1, 10.79.0.0/24: the second ring.
    Ring1,
    /// eth2, 10.78.0.0/24: management, where the BMCs are.
    Management,
}

impl Nic {
    /// All interfaces of a host.
    pub const ALL: [Nic; 3] = [Nic::Ring0, Nic::Ring1, Nic::Management];

    /// Name of the interface inside the host.
    pub fn device(self) -> &'static str {
        match self {
            Nic::Ring0 => "eth0",
            Nic::Ring1 => "eth1",
            Nic::Management => "eth2",
        }
    }

    /// The interface with this name inside a host.
    pub fn parse(device: &str) -> Option<Nic> {
        Nic::ALL.into_iter().find(|nic| nic.device() == device)
    }

    /// First three bytes of the network.
    fn network(self) -> [u8; 3] {
        match self {
            Nic::Ring0 => [10, 77, 0],
            Nic::Ring1 => [10, 79, 0],
            Nic::Management => [10, 78, 0],
        }
    }

    pub(crate) fn bridge(self) -> &'static str {
        match self {
            Nic::Ring0 => "br0",
            Nic::Ring1 => "br1",
            Nic::Management => "brm",
        }
    }

    pub(crate) fn index(self) -> usize {
        match self {
            Nic::Ring0 => 0,
            Nic::Ring1 => 1,
            Nic::Management => 2,
        }
    }

    /// Address with this last byte in the interface's network.
    pub fn at(self, last: u8) -> Ipv4Addr {
        let [a, b, c] = self.network();
        Ipv4Addr::new(a, b, c, last)
    }

    /// Address of host `host` on this interface.
    pub fn address(self, host: usize) -> Ipv4Addr {
        self.at(last_byte(10, host))
    }
}

/// Where something runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// Inside host N: its network, files, processes, name.
    Host(usize),
    /// A client on the service network (10.77.0.200): own network and host name, the machine's files.
    Client,
    /// The management server's place on the service network (10.77.0.201) and the management network (10.78.0.201).
    Luci,
}

impl Place {
    /// Name of the place, as in the hosts' /etc/hosts.
    pub fn name(self) -> String {
        match self {
            Place::Host(host) => host_name(host),
            Place::Client => "client".into(),
            Place::Luci => "luci".into(),
        }
    }

    /// Address of the place on the service network.
    pub fn address(self) -> Ipv4Addr {
        match self {
            Place::Host(host) => Nic::Ring0.address(host),
            Place::Client => Nic::Ring0.at(200),
            Place::Luci => Nic::Ring0.at(201),
        }
    }
}

/// Name of host number `host`.
pub fn host_name(host: usize) -> String {
    format!("node{host}")
}

/// Address of the BMC of host number `host`, on the management network, UDP port 623.
pub fn bmc_address(host: usize) -> Ipv4Addr {
    Nic::Management.at(last_byte(100, host))
}

fn last_byte(base: usize, host: usize) -> u8 {
    assert!((1..=MAX_HOSTS).contains(&host), "host numbers run from 1 to {MAX_HOSTS}, not {host}");
    u8::try_from(base + host).expect("base and host number fit a byte")
}

/// Name of the switch's end of a host's cable.
pub(crate) fn port(host: usize, nic: Nic) -> String {
    format!("n{host}e{}", nic.index())
}

/// Hardware address of a host's interface.
pub(crate) fn hardware_address(host: usize, nic: Nic) -> String {
    format!("52:54:00:4d:{:02x}:{host:02x}", nic.index())
}

/// The /etc/hosts of every host and place of a lab.
pub(crate) fn hosts_file(hosts: usize) -> String {
    let mut text = String::from("127.0.0.1 localhost\n::1 localhost ip6-localhost\n");
    for host in 1..=hosts {
        let name = host_name(host);
        text += &format!(
            "{} {name}\n{} {name}-r1\n{} {name}-mgmt\n{} {name}-bmc\n",
            Nic::Ring0.address(host),
            Nic::Ring1.address(host),
            Nic::Management.address(host),
            bmc_address(host),
        );
    }
    for place in [Place::Client, Place::Luci] {
        text += &format!("{} {}\n", place.address(), place.name());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_file_names_every_network_of_every_host() {
        let text = hosts_file(2);
        for line in ["10.77.0.12 node2", "10.79.0.12 node2-r1", "10.78.0.12 node2-mgmt", "10.78.0.102 node2-bmc"] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in:\n{text}");
        }
    }

    #[test]
    fn interface_names_fit_the_kernel_limit_of_fifteen_characters() {
        for nic in Nic::ALL {
            assert!(port(MAX_HOSTS, nic).len() <= 15);
        }
    }
}
