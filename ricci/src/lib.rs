//! (see docs/architecture.md)

pub mod corosync;
