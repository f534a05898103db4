// SPDX-License-Identifier: MIT OR Apache-2.0
//! The lab: several cluster hosts on one machine, made of namespaces.
//!
//! Each host has its own network, mounts, process tree, host name and boot id; a switch joins them by two rings
//! and a management network, where each has a BMC that speaks real IPMI. Hosts can be cut from power or network,
//! frozen, hung and restored. Used by the tests of this crate, the browser tests, `cargo xtask demo` and the benches.
//!
//! A [`Lab`] is a handle: the work is done by a *keeper* process (this crate's binary `lab`), which lives as long
//! as its owner and takes everything down when the owner ends, however it ends. All namespaces are anonymous and held
//! by the keeper, so the kernel frees them with it. Needs root; never touches the machine's own network.

pub mod canary;
mod cgroup;
pub mod cluster;
mod disk;
mod forward;
mod handle;
#[doc(hidden)]
pub mod inside;
mod netns;
mod options;
mod plan;
mod probe;
mod process;
mod protocol;
mod run;
mod sweep;
mod wait;

pub use forward::Forward;
pub use handle::{Lab, list};
pub use options::LabOptions;
pub use plan::{BMC_PASSWORD, BMC_USER, MAX_HOSTS, Nic, Place, bmc_address, host_name};
pub use probe::address::{AddressWatch, Overlap, Span};
pub use probe::http::{Answer, HttpPoller, Outcome};
pub use protocol::{BmcMode, Cut, HostState, LabState};
pub use run::{Finished, Running};
pub use sweep::{base_folder, sweep};
pub use wait::{epoch_s, wait_for};
