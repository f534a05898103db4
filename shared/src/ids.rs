//! The names and numbers that travel between programs, each with a type of its own, so that a service name
//! can never be handed in where a node name is meant.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A point in time: milliseconds since the UNIX epoch, read once per event by the driver and never going
/// backwards within one daemon's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub u64);

impl Time {
    /// This time plus `ms` milliseconds.
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this time; 0 if `earlier` is later.
    pub fn since_ms(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// `nodeid` of cluster.conf, which is also corosync's node id (≥ 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u32);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The text as written in cluster.conf.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }
    };
}

text_id!(
    /// `name` of a `<clusternode>`.
    NodeName
);
text_id!(
    /// The full name of a service as `clustat` prints it: `service:web`, `vm:guest1`.
    ServiceName
);
text_id!(
    /// `name` of a `<failoverdomain>`.
    DomainName
);
text_id!(
    /// A resource inside the tree of one service: `type:primary`, e.g. `ip:10.0.0.10`. Unique within its service;
    /// a second use of the same shared resource in one service gets `#2` appended.
    ResourceName
);

impl ServiceName {
    /// The name with `service:` put in front when it has no colon, as every command of the suite accepts it
    /// (rhcs.md §1.1, §2.1).
    pub fn parse(text: &str) -> Self {
        if text.contains(':') { Self(text.to_owned()) } else { Self(format!("service:{text}")) }
    }

    /// The part after the colon.
    pub fn bare(&self) -> &str {
        self.0.split_once(':').map_or(self.0.as_str(), |(_, name)| name)
    }
}

/// `config_version` of cluster.conf. Only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConfVersion(pub u64);

impl fmt::Display for ConfVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

text_id!(
    /// SHA-256 of the bytes of a cluster.conf, lower-case hexadecimal.
    ConfDigest
);
text_id!(
    /// Names one operator's request. Made by the one who asks (a UUID), and the same on every retry, so that a
    /// request is carried out once however often it arrives.
    RequestId
);
text_id!(
    /// `/proc/sys/kernel/random/boot_id` of a node: changes with every boot and never else.
    BootId
);

/// Counts the changes of one service's replicated state. A decision or report that names an older epoch is outdated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);
