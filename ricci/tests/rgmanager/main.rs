//! rgmanager with true processes, files and corosync.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail like the tests themselves")]

mod agents;
mod control;
mod corosync;
mod corosync_check;
mod cpg_order;
mod daemon;
mod fence;
mod files;
mod judge;

#[path = "../agent/never.rs"]
mod never;
