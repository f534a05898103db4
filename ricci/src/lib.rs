//! (see docs/architecture.md)

pub mod agent;
pub mod cli;
pub mod corosync;
pub mod judge;
mod pipe;
pub mod rgmanager;
pub mod secrets;
