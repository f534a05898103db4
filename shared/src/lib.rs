//! What two programs of the suite must agree on: cluster.conf, agent parameters, the API and socket types,
//! status, and the words people read.
//!
//! Everything here is pure: no file, no socket, no clock, no chance. Programs hand text in and get values
//! or findings back.
// SPDX-License-Identifier: MIT OR Apache-2.0

pub mod agents;
pub mod api;
pub mod conf;
mod error_chain;
pub mod ids;
pub mod placement;
pub mod socket;
pub mod status;
pub mod text;
pub mod tree;
pub mod watch;
pub mod why;

pub use error_chain::chain;
