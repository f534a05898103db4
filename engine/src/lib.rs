//! The deterministic core of rgmanager: events and time in, actions out.
//!
//! `Engine::handle` is called by one loop, the driver in `ricci/src/rgmanager`, and by the simulator. Nothing in here
//! reads a clock, touches a file or socket, draws lots, or depends on the order of a hash.
//!
//! Rooms: `event` (the doors), `message` (what members tell each other), `replicated` (the state all members share
//! and how a delivered message changes it), `record` (every step of one service in it; with `migration` and `parts`),
//! `admission` (which requests are accepted), `law` (what no decision may break), `coordinator` (the policy of the one member
//! that decides), `placement` (where), `holder` (what this node runs because the state says so; with `walk`, `checks`,
//! `isolation`, `change` and `in_place`), `status` (what people are told).
// SPDX-License-Identifier: MIT OR Apache-2.0

mod admission;
mod change;
mod checks;
mod coordinator;
mod dependency;
mod engine;
mod event;
mod eviction;
mod holder;
mod in_place;
mod intents;
mod isolation;
pub mod law;
mod message;
mod migration;
mod parts;
pub mod placement;
mod predict;
mod probe;
mod proof;
mod record;
mod replicated;
mod standby;
mod status;
mod view;
mod walk;
pub mod why;

pub use checks::CHECK_INTERVAL_MS;
pub use coordinator::{GRACE_MS, HEAD_START_MS, RESTART_GRACE_MS};
pub use engine::{Engine, HELD_BACK_MS, HELLO_AGAIN_MS, SILENT_FOUNDER_MS};
pub use event::{
    Action, Event, ExitReason, FenceId, GroupMember, LeftReason, OfferId, Operation, RebootReason, Run, RunId,
};
pub use message::{
    AfterStop, Branch, Claim, ConfText, Decide, Decision, DecodeError, FenceReport, Hello, Incarnation, Intent,
    Intents, MESSAGE_MAX_BYTES, Message, PROTOCOL, PartRemedy, Proof, Proofs, Report, ReportOutcome,
    SNAPSHOT_PIECE_BYTES, StateTag, ViewTag, WIRE,
};
pub use record::{Order, Record};
pub use replicated::{Fenced, Lost, Member, Offer, Replicated, RequestRecord};
