//! What can happen to hosts: power cut by a real fence agent, cables, partitions, loss, freeze, hang.

mod common;

use std::time::{Duration, Instant};

use common::{SILENCE, SOON, deaf, hears, lab, ring0, ring1};
use lab::{BMC_PASSWORD, BMC_USER, BmcMode, Cut, Finished, Lab, LabOptions, Nic, Place, bmc_address};

fn fence(lab: &Lab, from: usize, victim: usize, password: &str, action: &str) -> Finished {
    let address = bmc_address(victim).to_string();
    let words = [
        "fence_ipmilan",
        "-a",
        &address,
        "-l",
        BMC_USER,
        "-p",
        password,
        "--lanplus",
        "-C",
        "3",
        "--power-wait=0",
        "-o",
        action,
    ];
    lab.exec(Place::Host(from), &words).expect("the agent runs")
}

#[test]
fn the_packaged_fence_agent_switches_a_host_off_and_on() {
    let lab = Lab::create(LabOptions::hosts(3)).unwrap();
    let status = fence(&lab, 1, 2, BMC_PASSWORD, "status");
    assert!(status.ok() && status.stdout.contains("ON"), "{status:?}");
    assert!(hears(&lab, 1, 2));

    let off = fence(&lab, 1, 2, BMC_PASSWORD, "off");
    assert!(off.ok(), "{off:?}");
    assert!(!lab.is_up(2) && deaf(&lab, 1, 2) && lab.is_up(3));
    assert_eq!(fence(&lab, 3, 2, BMC_PASSWORD, "status").code, 2, "exit code 2 says that the power is off");
    assert!(lab.events().unwrap().contains("node2 power off"), "{}", lab.events().unwrap());

    let on = fence(&lab, 3, 2, BMC_PASSWORD, "on");
    assert!(on.ok() && lab.is_up(2) && hears(&lab, 1, 2), "{on:?}");
    let before = lab.boot_id(2).unwrap();
    assert!(fence(&lab, 1, 2, BMC_PASSWORD, "reboot").ok());
    assert_ne!(lab.boot_id(2).unwrap(), before);
}

#[test]
fn a_fence_agent_fails_on_a_wrong_password_a_silent_bmc_and_a_lying_one() {
    let lab = Lab::create(LabOptions::hosts(2)).unwrap();
    let wrong = fence(&lab, 1, 2, "wrong", "off");
    assert!(!wrong.ok() && lab.is_up(2), "{wrong:?}");

    lab.set_bmc(2, BmcMode::Silent).unwrap();
    assert!(!lab.reaches(Place::Host(1), bmc_address(2).into(), SILENCE).unwrap());
    assert!(lab.reaches(Place::Host(1), bmc_address(1).into(), SOON).unwrap());

    lab.set_bmc(2, BmcMode::Lies).unwrap();
    let off = [
        "ipmitool",
        "-I",
        "lanplus",
        "-C",
        "3",
        "-H",
        "10.78.0.102",
        "-U",
        BMC_USER,
        "-P",
        BMC_PASSWORD,
        "chassis",
        "power",
        "off",
    ];
    assert!(lab.exec(Place::Host(1), &off).unwrap().ok());
    assert!(lab.is_up(2), "a lying BMC switches nothing");

    lab.set_bmc(2, BmcMode::Works).unwrap();
    assert!(lab.exec(Place::Host(1), &off).unwrap().ok());
    assert!(!lab.is_up(2));
}

#[test]
fn a_pulled_cable_is_seen_by_the_host_a_silent_one_is_not_and_both_outlive_a_reboot() {
    let lab = lab(2);
    let carrier = |device: &str| {
        lab.sh_ok(Place::Host(1), &format!("cat /sys/class/net/{device}/carrier")).unwrap().trim().to_owned()
    };
    lab.cut(1, &[Nic::Ring0], Cut::Carrier).unwrap();
    lab.cut(1, &[Nic::Ring1], Cut::Silent).unwrap();
    assert_eq!((carrier("eth0").as_str(), carrier("eth1").as_str(), carrier("eth2").as_str()), ("0", "1", "1"));
    assert!(deaf(&lab, 2, 1));
    assert!(!lab.reaches(Place::Host(2), ring1(1), SILENCE).unwrap());
    assert!(lab.reaches(Place::Host(2), Nic::Management.address(1).into(), SOON).unwrap());

    lab.power_cycle(1).unwrap();
    assert_eq!((carrier("eth0").as_str(), carrier("eth1").as_str()), ("0", "1"));
    assert!(!lab.reaches(Place::Host(2), ring1(1), SILENCE).unwrap());

    lab.mend(1, &[Nic::Ring0]).unwrap();
    assert!(hears(&lab, 2, 1));
    lab.heal().unwrap();
    assert!(lab.reaches(Place::Host(2), ring1(1), SOON).unwrap());
}

#[test]
fn a_partition_parts_the_rings_it_names_and_clients_still_reach_all() {
    let lab = lab(3);
    lab.partition(&[&[1], &[2, 3]], &[Nic::Ring0]).unwrap();
    assert!(deaf(&lab, 1, 2) && deaf(&lab, 3, 1) && hears(&lab, 2, 3));
    assert!(lab.reaches(Place::Host(1), ring1(2), SOON).unwrap());
    for host in 1..=3 {
        assert!(lab.reaches(Place::Client, ring0(host), SOON).unwrap());
    }
    lab.heal().unwrap();
    assert!(hears(&lab, 1, 2) && hears(&lab, 3, 1));
}

#[test]
fn loss_loses_about_its_share_of_frames() {
    let lab = lab(2);
    let lost = || {
        // One datagram each, answered by nobody: the receiver's counter tells how many arrived.
        let count = "awk '/^Udp:/ {n = $3} END {print n}' /proc/net/snmp";
        let before: u32 = lab.sh_ok(Place::Host(2), count).unwrap().trim().parse().unwrap();
        let send = "python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); [s.sendto(b\"x\", (\"10.77.0.12\", 9)) for _ in range(400)]'";
        lab.sh_ok(Place::Host(1), send).unwrap();
        let after: u32 = lab.sh_ok(Place::Host(2), count).unwrap().trim().parse().unwrap();
        400 - (after - before)
    };
    assert!(hears(&lab, 1, 2));
    assert_eq!(lost(), 0);
    lab.loss(1, Nic::Ring0, 30).unwrap();
    let some = lost();
    assert!((60..=190).contains(&some), "{some} of 400 frames were lost");
    lab.loss(1, Nic::Ring0, 0).unwrap();
    assert_eq!(lost(), 0);
}

#[test]
fn a_frozen_host_answers_but_does_nothing_and_a_hung_one_does_not_even_answer() {
    let lab = lab(2);
    lab.freeze(1).unwrap();
    assert!(hears(&lab, 2, 1));
    let start = Instant::now();
    let nothing = lab.exec_within(Duration::from_millis(200), Place::Host(1), &["true"]).unwrap();
    assert!(nothing.timed_out() && start.elapsed() < Duration::from_secs(100), "{nothing:?}");
    lab.thaw(1).unwrap();
    assert!(lab.sh(Place::Host(1), "true").unwrap().ok());

    lab.hang(1).unwrap();
    assert!(deaf(&lab, 2, 1));
    assert!(lab.state().unwrap().hosts[0].frozen);
    lab.unhang(1).unwrap();
    assert!(hears(&lab, 2, 1));

    lab.hang(1).unwrap();
    lab.power_off(1).unwrap();
    lab.restore(1).unwrap();
    assert!(hears(&lab, 2, 1) && lab.sh(Place::Host(1), "true").unwrap().ok());
}
