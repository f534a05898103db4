//! The simulator: many engines in one process, one seed decides everything. It looks for what reading does not find.
//!
//! Rooms: `cpg` and `quorum` (a model of corosync), `sim` (the clock and all that is to happen), `world` (what agents really do), `driver`
//! (the daemon's loop, pure), `faults` and `operator` (what befalls the cluster), `invariants` and `goal` (what must hold at
//! every step and in the end), `told` (what people are told meanwhile), `rogue` and `laws` (a member gone wrong, a law with
//! a hole), `random` (a seed from birth to rest), `scenario` (a story and its transcript).
// SPDX-License-Identifier: MIT OR Apache-2.0

pub mod conf;
pub mod cpg;
mod driver;
pub mod faults;
pub mod goal;
mod invariants;
pub mod laws;
pub mod nonsense;
mod operator;
pub mod params;
pub mod quorum;
pub mod random;
pub mod rng;
pub mod rogue;
pub mod scenario;
pub mod sim;
mod told;
mod world;
