//! What a node can be told of when it happens, and what it cannot: then the interval of the checks alone finds a failure.
//!
//! Made by rgmanager when it starts, carried in the node's status and in ricci's report of the node.

use serde::{Deserialize, Serialize};

/// One source of notices on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    pub source: Source,
    /// Why it tells nothing here and what that means; `None`: it works.
    pub missing: Option<String>,
}

/// Who can tell of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// cgroup v2, writable for us: which processes belong to which resource, and that none is left.
    Cgroups,
    /// pidfd: that a main process has ended.
    Processes,
    /// netlink: that an address or a link is gone.
    Addresses,
    /// `/proc/self/mountinfo`: that something is no longer mounted, or otherwise.
    Mounts,
    /// systemd's bus: that a unit has changed its state.
    Units,
}

impl Source {
    /// For lists that people read.
    pub fn text(self) -> &'static str {
        match self {
            Self::Cgroups => "processes of resources (cgroup v2)",
            Self::Processes => "ends of processes (pidfd)",
            Self::Addresses => "addresses and links (netlink)",
            Self::Mounts => "mounts (mountinfo)",
            Self::Units => "units (systemd's bus)",
        }
    }
}

impl Watch {
    /// From whether the source could be opened.
    pub fn of<T>(source: Source, opened: &Result<T, impl std::fmt::Display>) -> Self {
        Self { source, missing: opened.as_ref().err().map(ToString::to_string) }
    }
}
