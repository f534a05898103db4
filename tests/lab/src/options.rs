//! What a lab is made from: options given by the caller, and the same as stored for the keeper.
//!
//! `LabOptions` is filled by whoever creates a lab and read once; the keeper finds it as `lab.json` in the folder.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a new lab shall be. `LabOptions::hosts(3)` and the methods below.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LabOptions {
    /// Name, unique among the running labs of the machine; `None` picks one.
    pub name: Option<String>,
    /// Number of hosts, named node1 to nodeN.
    pub hosts: usize,
    /// Power the hosts on at once; otherwise they stay off until [`crate::Lab::power_on`].
    pub powered: bool,
    /// Start a BMC per host.
    pub bmcs: bool,
    /// Folder with our programs: seen read-only by the hosts as /opt/cluster/bin and first in their PATH.
    pub binaries: Option<PathBuf>,
    /// Further folders or files of the machine, seen read-only by the hosts at the second path.
    pub binds: Vec<(PathBuf, PathBuf)>,
    /// What a host runs at boot (/etc/lab/rc, by sh).
    pub rc: Option<String>,
    /// Files laid on every host's disk before the first boot: path, content, mode.
    pub files: Vec<(PathBuf, String, u32)>,
    /// Time between power on and the start of rc: what real firmware and a real kernel would take.
    pub boot_delay: Duration,
}

impl LabOptions {
    /// A lab of `hosts` powered hosts with BMCs.
    pub fn hosts(hosts: usize) -> LabOptions {
        LabOptions {
            name: None,
            hosts,
            powered: true,
            bmcs: true,
            binaries: None,
            binds: Vec::new(),
            rc: None,
            files: Vec::new(),
            boot_delay: Duration::ZERO,
        }
    }

    /// Sets the name.
    pub fn name(mut self, name: impl Into<String>) -> LabOptions {
        self.name = Some(name.into());
        self
    }

    /// Leaves the hosts off, so that their disks can be prepared first.
    pub fn powered_off(mut self) -> LabOptions {
        self.powered = false;
        self
    }

    /// Starts no BMCs (then `openipmi` need not be installed).
    pub fn without_bmcs(mut self) -> LabOptions {
        self.bmcs = false;
        self
    }

    /// Folder with our programs.
    pub fn binaries(mut self, folder: impl Into<PathBuf>) -> LabOptions {
        self.binaries = Some(folder.into());
        self
    }

    /// Shows a folder or file of the machine to the hosts, read-only.
    pub fn bind(mut self, from: impl Into<PathBuf>, to: impl Into<PathBuf>) -> LabOptions {
        self.binds.push((from.into(), to.into()));
        self
    }

    /// What every host runs at boot.
    pub fn rc(mut self, script: impl Into<String>) -> LabOptions {
        self.rc = Some(script.into());
        self
    }

    /// A file on every host's disk.
    pub fn file(mut self, path: impl Into<PathBuf>, content: impl Into<String>, mode: u32) -> LabOptions {
        self.files.push((path.into(), content.into(), mode));
        self
    }

    /// Time between power on and the start of rc.
    pub fn boot_delay(mut self, delay: Duration) -> LabOptions {
        self.boot_delay = delay;
        self
    }
}
