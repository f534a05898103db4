//! The switch of a lab: three bridges in a namespace of their own, the cables of hosts, places and BMCs, and all that can
//! go wrong with them.
//!
//! The keeper calls it. What is cut stays cut when a host is powered off and on again. Losses, partitions and silence are
//! one nft ruleset, replaced as a whole at every change; the STP port state is not used, since a late carrier event resets it.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Result, bail};

use crate::netns;
use crate::plan::{self, Nic, Place};
use crate::protocol::Cut;

/// The namespaces of a lab's network, and what is broken in it.
pub(super) struct Switch {
    /// Where the bridges are.
    pub(super) switch: File,
    pub(super) client: File,
    pub(super) luci: File,
    pub(super) bmc: File,
    faults: Mutex<Faults>,
}

#[derive(Default)]
struct Faults {
    cuts: BTreeMap<(usize, Nic), Cut>,
    hung: Vec<usize>,
    groups: Vec<Vec<usize>>,
    parted: Vec<Nic>,
    loss: BTreeMap<(usize, Nic), u8>,
    silent_bmcs: Vec<usize>,
}

impl Switch {
    /// Makes bridges and places, with the BMCs' addresses of `hosts` hosts.
    pub(super) fn create(hosts: usize) -> Result<Switch> {
        let made = Switch {
            switch: netns::create()?,
            client: netns::create()?,
            luci: netns::create()?,
            bmc: netns::create()?,
            faults: Mutex::default(),
        };
        let mut lines = Vec::new();
        for nic in Nic::ALL {
            let bridge = nic.bridge();
            lines.push(format!("link add {bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"));
            lines.push(format!("link set {bridge} up"));
        }
        for (port, nic, namespace, device) in [
            ("client0", Nic::Ring0, &made.client, "eth0"),
            ("luci0", Nic::Ring0, &made.luci, "eth0"),
            ("luci2", Nic::Management, &made.luci, "eth2"),
            ("bmc2", Nic::Management, &made.bmc, "eth2"),
        ] {
            lines.push(format!("link add {port} type veth peer name {device} netns {}", path_of(namespace)));
            lines.push(format!("link set {port} master {} up", nic.bridge()));
        }
        netns::ip(&made.switch, &lines)?;
        let client = Place::Client.address();
        netns::ip(&made.client, &[format!("addr add {client}/24 dev eth0"), "link set eth0 up".into()])?;
        netns::ip(
            &made.luci,
            &[
                format!("addr add {}/24 dev eth0", Place::Luci.address()),
                format!("addr add {}/24 dev eth2", Nic::Management.at(201)),
                "link set eth0 up".into(),
                "link set eth2 up".into(),
            ],
        )?;
        let mut lines = vec!["link set eth2 up".to_owned()];
        lines.extend((1..=hosts).map(|host| format!("addr add {}/24 dev eth2", plan::bmc_address(host))));
        netns::ip(&made.bmc, &lines)?;
        Ok(made)
    }

    /// Plugs a host in whose namespaces belong to process `pid`. Cut cables stay cut.
    pub(super) fn plug(&self, host: usize, pid: u32) -> Result<()> {
        let faults = self.faults();
        let mut lines = Vec::new();
        for nic in Nic::ALL {
            let (port, device, mac) = (plan::port(host, nic), nic.device(), plan::hardware_address(host, nic));
            let state = if faults.cuts.get(&(host, nic)) == Some(&Cut::Carrier) { "down" } else { "up" };
            lines.push(format!("link add {port} type veth peer name {device} address {mac} netns {pid}"));
            lines.push(format!("link set {port} master {} {state}", nic.bridge()));
        }
        netns::ip(&self.switch, &lines)
    }

    /// Stops all frames of a host at once.
    pub(super) fn silence(&self, host: usize) -> Result<()> {
        let lines: Vec<_> = Nic::ALL.map(|nic| format!("link set {} down", plan::port(host, nic))).into();
        netns::ip(&self.switch, &lines)
    }

    /// Takes a dead host's cables away; those that the kernel removed already are no error.
    pub(super) fn unplug(&self, host: usize) {
        let lines: Vec<_> = Nic::ALL.map(|nic| format!("link del {}", plan::port(host, nic))).into();
        netns::ip_as_far_as_possible(&self.switch, &lines);
    }

    /// Cuts cables, or mends them with `None`.
    pub(super) fn cut(&self, host: usize, nics: &[Nic], how: Option<Cut>, powered: bool) -> Result<()> {
        let mut faults = self.faults();
        for nic in nics {
            match how {
                Some(how) => faults.cuts.insert((host, *nic), how),
                None => faults.cuts.remove(&(host, *nic)),
            };
        }
        self.load(&faults)?;
        if !powered {
            return Ok(());
        }
        let state = |nic| if faults.cuts.get(&(host, nic)) == Some(&Cut::Carrier) { "down" } else { "up" };
        let lines: Vec<_> =
            nics.iter().map(|nic| format!("link set {} {}", plan::port(host, *nic), state(*nic))).collect();
        netns::ip(&self.switch, &lines)
    }

    /// Makes a host's frames vanish without a trace, as a hung kernel does, or lets them through again.
    pub(super) fn hang(&self, host: usize, hung: bool) -> Result<()> {
        let mut faults = self.faults();
        faults.hung.retain(|other| *other != host);
        if hung {
            faults.hung.push(host);
        }
        self.load(&faults)
    }

    /// Lets no frame through to or from a host's BMC, or lets them through again.
    pub(super) fn silence_bmc(&self, host: usize, silent: bool) -> Result<()> {
        let mut faults = self.faults();
        faults.silent_bmcs.retain(|other| *other != host);
        if silent {
            faults.silent_bmcs.push(host);
        }
        self.load(&faults)
    }

    /// Parts the hosts into groups that do not hear each other on some networks.
    pub(super) fn partition(&self, groups: Vec<Vec<usize>>, nics: Vec<Nic>) -> Result<()> {
        let mut faults = self.faults();
        faults.groups = groups;
        faults.parted = nics;
        self.load(&faults)
    }

    /// Loses this share of a host's frames, in both directions; 0 ends it.
    pub(super) fn loss(&self, host: usize, nic: Nic, percent: u8) -> Result<()> {
        if percent > 100 {
            bail!("a loss of {percent} percent is not possible");
        }
        let mut faults = self.faults();
        match percent {
            0 => faults.loss.remove(&(host, nic)),
            _ => faults.loss.insert((host, nic), percent),
        };
        self.load(&faults)
    }

    /// Ends partitions and losses, and gives the hosts with cut cables.
    pub(super) fn heal(&self) -> Result<Vec<usize>> {
        let mut faults = self.faults();
        faults.groups.clear();
        faults.loss.clear();
        self.load(&faults)?;
        Ok(faults.cuts.keys().map(|(host, _)| *host).collect())
    }

    /// Cut cables of a host.
    pub(super) fn cuts_of(&self, host: usize) -> Vec<(Nic, Cut)> {
        self.faults().cuts.iter().filter(|((h, _), _)| *h == host).map(|((_, nic), how)| (*nic, *how)).collect()
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load(&self, faults: &Faults) -> Result<()> {
        netns::nft(&self.switch, &ruleset(faults))
    }
}

/// The namespaces as files that other processes can open while this one lives.
pub(super) fn path_of(namespace: &File) -> String {
    use std::os::fd::AsRawFd;
    format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd())
}

fn ruleset(faults: &Faults) -> String {
    let mut rules = Vec::new();
    let mut drop_port = |port: String, condition: &str| {
        rules.push(format!("iifname \"{port}\" {condition}drop"));
        rules.push(format!("oifname \"{port}\" {condition}drop"));
    };
    for ((host, nic), how) in &faults.cuts {
        if *how == Cut::Silent {
            drop_port(plan::port(*host, *nic), "");
        }
    }
    for host in &faults.hung {
        Nic::ALL.iter().for_each(|nic| drop_port(plan::port(*host, *nic), ""));
    }
    for ((host, nic), percent) in &faults.loss {
        drop_port(plan::port(*host, *nic), &format!("numgen random mod 100 < {percent} "));
    }
    for address in faults.silent_bmcs.iter().map(|host| plan::bmc_address(*host)) {
        rules.push(format!("ip daddr {address} drop"));
        rules.push(format!("ip saddr {address} drop"));
    }
    for nic in &faults.parted {
        for (here, group) in faults.groups.iter().enumerate() {
            for (there, other) in faults.groups.iter().enumerate() {
                if here != there && !group.is_empty() && !other.is_empty() {
                    let (from, to) = (ports(group, *nic), ports(other, *nic));
                    rules.push(format!("iifname {{ {from} }} oifname {{ {to} }} drop"));
                }
            }
        }
    }
    // The table is declared before it is deleted, since deleting one that is absent would refuse the whole ruleset.
    format!(
        "table bridge lab {{ }}\ndelete table bridge lab\ntable bridge lab {{\n chain forward {{\n  type filter hook forward \
         priority 0; policy accept;\n  {}\n }}\n}}\n",
        rules.join("\n  ")
    )
}

fn ports(group: &[usize], nic: Nic) -> String {
    group.iter().map(|host| format!("\"{}\"", plan::port(*host, nic))).collect::<Vec<_>>().join(", ")
}
