//! The commands: `clustat`, `clusvcadm`, `fence_node` and their companions, as fingers and scripts know them.
//!
//! Each command reads its options with [`getopt`], asks `rgmanager` over its control socket with [`client`] (blocking,
//! with a deadline), and prints. Layouts are made by pure functions from a `ClusterStatus`; what is data goes to
//! stdout, what is said about it to stderr. Nothing in here decides anything about a cluster, and nothing waits
//! without end.

pub mod ccs;
pub mod client;
pub mod clock;
pub mod clustat;
pub mod clusvcadm;
pub mod cman_tool;
pub mod conf_file;
pub mod console;
pub mod definition;
pub mod fence_ack;
pub mod fence_check;
pub mod fence_domain;
pub mod fence_node;
pub mod fence_tool;
pub mod getopt;
pub mod likeness;
mod live;
mod members;
mod prediction;
pub mod rg_test;
mod rgmanager_status;
pub mod validate;

/// What every command of the suite prints as its version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Who types, for the log: the person behind sudo if there is one.
fn operator() -> String {
    ["SUDO_USER", "LOGNAME", "USER"]
        .iter()
        .find_map(|variable| std::env::var(variable).ok().filter(|name| !name.is_empty()))
        .unwrap_or_else(|| "root".to_owned())
}
