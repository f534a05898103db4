//! Corosync as this suite sees it: ordered messages and membership (cpg), quorum, and a few facts about links,
//! votes and names (cfg, votequorum, cmap).
//!
//! `rgmanager` calls [`Corosync::spawn`] and gets a [`Handle`] to send with and a stream of [`Event`]s, raw facts in
//! the order corosync told them. `ricci` and the commands ask single questions with [`query`].
//! Nothing in here decides anything, retries anything a caller could see, or interprets a payload.
//! What the order of the events promises stands in docs/decisions/0001-cpg-event-order.md.

mod actor;
mod event;
#[expect(unsafe_code, reason = "the corosync libraries are C; this is the only room that talks to them")]
mod ffi;
pub mod query;

pub use actor::{Corosync, Handle, MAX_MESSAGE_BYTES, MulticastError, Outcome, SpawnError};
pub use event::{Event, JoinReason, LeftReason, Member, RingId};
pub use ffi::{CallError, Value};
