//! What the lab's own tests share: short waits, addresses, and the check that nothing is left of a lab.

#![allow(dead_code, reason = "each test file uses its part of it, and one of them all")]
#![expect(clippy::unwrap_used, reason = "a test stops where it cannot look")]

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lab::{Lab, LabOptions, Nic, Place};

/// Long enough for a busy machine; every wait ends at its event.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// How long to listen for an answer before calling it silence.
pub(crate) const SILENCE: Duration = Duration::from_millis(300);

pub(crate) fn lab(hosts: usize) -> Lab {
    Lab::create(LabOptions::hosts(hosts).without_bmcs()).expect("a lab comes up")
}

pub(crate) fn ring0(host: usize) -> IpAddr {
    Nic::Ring0.address(host).into()
}

pub(crate) fn ring1(host: usize) -> IpAddr {
    Nic::Ring1.address(host).into()
}

/// Whether one host hears another on the first ring. Patient, since a kernel asks for a lost neighbour once a second.
pub(crate) fn hears(lab: &Lab, from: usize, to: usize) -> bool {
    lab.reaches(Place::Host(from), ring0(to), SOON).expect("asking is possible")
}

/// Whether one host no longer hears another on the first ring.
pub(crate) fn deaf(lab: &Lab, from: usize, to: usize) -> bool {
    !lab.reaches(Place::Host(from), ring0(to), SILENCE).expect("asking is possible")
}

/// What to look for when a lab is gone.
pub(crate) struct Traces {
    folder: PathBuf,
    group: PathBuf,
    namespaces: Vec<PathBuf>,
}

impl Traces {
    pub(crate) fn of(folder: &Path, hosts: usize) -> Traces {
        let mut namespaces: Vec<_> = ["switch", "client", "luci", "bmc"]
            .iter()
            .map(|name| fs::metadata(folder.join("net").join(name)).unwrap())
            .collect();
        for host in 1..=hosts {
            let init = fs::read_to_string(folder.join(format!("hosts/node{host}/init"))).unwrap();
            namespaces.push(fs::metadata(format!("/proc/{init}/ns/net")).unwrap());
        }
        use std::os::unix::fs::MetadataExt;
        Traces {
            folder: folder.to_owned(),
            group: fs::read_to_string(folder.join("cgroup")).unwrap().trim().into(),
            namespaces: namespaces.iter().map(|found| format!("net:[{}]", found.ino()).into()).collect(),
        }
    }

    /// What is left of the lab, in words; empty when it is gone.
    pub(crate) fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for path in [&self.folder, &self.group] {
            if path.exists() {
                left.push(format!("{} exists", path.display()));
            }
        }
        let folder = self.folder.to_str().unwrap();
        if fs::read_to_string("/proc/self/mounts").unwrap().contains(folder) {
            left.push(format!("something is mounted in {folder}"));
        }
        for process in fs::read_dir("/proc").unwrap().flatten().filter(|entry| entry.path().join("ns").exists()) {
            let words = fs::read(process.path().join("cmdline")).unwrap_or_default();
            let namespace = fs::read_link(process.path().join("ns/net")).unwrap_or_default();
            if String::from_utf8_lossy(&words).contains(folder) || self.namespaces.contains(&namespace) {
                left.push(format!("{}: {}", process.path().display(), String::from_utf8_lossy(&words)));
            }
        }
        left
    }

    /// Waits until nothing is left.
    pub(crate) fn wait_gone(&self) {
        let gone = lab::wait_for("the lab to be gone", SOON, || self.left().is_empty().then_some(()));
        assert!(gone.is_ok(), "left behind: {:?}", self.left());
    }
}
