//! (see docs/architecture.md)

pub mod cli;
pub mod corosync;
pub mod rgmanager;
