//! True corosync 3 in the lab: three hosts, knet with encryption on two rings, through partition, power cut and healing.

mod common;

use common::SOON;
use lab::{Lab, LabOptions, Nic, Place, wait_for};

const RC: &str = "mkdir -p /var/log/corosync /var/lib/corosync\nexec corosync\n";

fn conf(hosts: usize) -> String {
    let mut nodes = String::new();
    for host in 1..=hosts {
        nodes += &format!(
            "  node {{\n    name: node{host}\n    nodeid: {host}\n    ring0_addr: {}\n    ring1_addr: {}\n  }}\n",
            Nic::Ring0.address(host),
            Nic::Ring1.address(host),
        );
    }
    format!(
        "totem {{\n  version: 2\n  cluster_name: lab\n  transport: knet\n  token: 1000\n  token_coefficient: 0\n  \
         crypto_cipher: aes256\n  crypto_hash: sha256\n}}\nnodelist {{\n{nodes}}}\nquorum {{\n  provider: corosync_votequorum\n}}\n\
         logging {{\n  to_logfile: yes\n  logfile: /var/log/corosync/corosync.log\n  to_syslog: no\n  timestamp: hires\n}}\n"
    )
}

/// Members that a host sees, or `None` while corosync does not answer.
fn members(lab: &Lab, host: usize) -> Option<Vec<usize>> {
    let out = lab.sh(Place::Host(host), "corosync-quorumtool -p -l -i").ok()?.stdout;
    let ids = out.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok());
    Some(ids.collect()).filter(|ids: &Vec<_>| !ids.is_empty())
}

/// Whether a host has lost a link to both other hosts.
fn first_ring_down(lab: &Lab, host: usize) -> bool {
    let links = lab.sh(Place::Host(host), "corosync-cfgtool -s").map(|done| done.stdout).unwrap_or_default();
    links.matches("disconnected").count() == 2
}

fn wait_members(lab: &Lab, host: usize, expected: &[usize]) {
    let seen = wait_for("the membership", SOON, || (members(lab, host)? == expected).then_some(()));
    assert!(seen.is_ok(), "node{host} sees {:?}, not {expected:?}", members(lab, host));
}

#[test]
fn three_hosts_form_an_encrypted_cluster_that_survives_partition_ring_loss_and_power_cut() {
    let options = LabOptions::hosts(3).without_bmcs().rc(RC).file("/etc/corosync/corosync.conf", conf(3), 0o644).file(
        "/etc/corosync/authkey",
        "lab-key-".repeat(32),
        0o400,
    );
    let lab = Lab::create(options).unwrap();
    for host in 1..=3 {
        wait_members(&lab, host, &[1, 2, 3]);
    }

    lab.partition(&[&[1], &[2, 3]], &[Nic::Ring0, Nic::Ring1]).unwrap();
    wait_members(&lab, 1, &[1]);
    wait_members(&lab, 2, &[2, 3]);
    assert!(!lab.sh(Place::Host(1), "corosync-quorumtool -s").unwrap().stdout.contains("Quorate:          Yes"));
    lab.heal().unwrap();
    for host in 1..=3 {
        wait_members(&lab, host, &[1, 2, 3]);
    }

    // From here on only the second ring connects the hosts: memberships formed now are formed over it.
    lab.partition(&[&[1], &[2], &[3]], &[Nic::Ring0]).unwrap();
    wait_for("the first ring to be down", SOON, || first_ring_down(&lab, 1).then_some(())).unwrap();
    lab.power_off(3).unwrap();
    wait_members(&lab, 1, &[1, 2]);
    lab.power_on(3).unwrap();
    for host in 1..=3 {
        wait_members(&lab, host, &[1, 2, 3]);
    }
}
