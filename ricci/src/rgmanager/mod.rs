//! The daemon around the engine: adapters, each ignorant of the others, and the one loop that joins them.
//!
//! `start` finds out where the daemon stands; `driver` takes what the adapters report, hands it to the engine, and
//! lets the adapters do what the engine wants: `agents` (resource agents, by `plan` and `times`), `fence` (fence
//! agents), `control` (the socket) with `publish` (the stream) and `waiting`, `files` and `disk`, `notice` (what the
//! kernel tells), `clock`, `watchdog`; `by_hand` is for `rg_test` and needs no daemon. Below `agents` and `fence` lie `process`, `output`, `masking`, `leftover`, `started` and
//! `cgroup`.
//! No adapter decides anything, and none retries.

pub mod agents;
pub mod by_hand;
pub mod cgroup;
pub mod clock;
pub mod control;
mod disk;
mod driver;
pub mod fence;
pub mod files;
mod group;
pub mod leftover;
mod links;
pub mod log;
pub(crate) mod masking;
pub mod notice;
mod output;
mod plan;
pub mod process;
pub mod publish;
mod reboot;
pub mod start;
pub mod started;
mod times;
mod waiting;
mod watchdog;
