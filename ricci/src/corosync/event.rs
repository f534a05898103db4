//! What corosync can tell us, as plain data. Filled by `ffi`, carried by the actor, read by the daemon's driver
//! and by `cpg_trace`. No policy: a variant says what happened, never what follows from it.

use serde::Serialize;
use shared::ids::NodeId;

/// One process in the group. The pid tells a restarted daemon from its predecessor on the same node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Member {
    pub node: NodeId,
    /// As the process itself sees it, i.e. inside its own pid namespace.
    pub pid: u32,
}

/// Why a process is no longer in the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftReason {
    /// It asked to leave.
    Leave,
    /// Its node is no longer in our ring: dead, cut off, or its corosync ended.
    NodeDown,
    /// The process ended without leaving, on a node that is still in the ring.
    ProcDown,
    /// A reason this release does not know.
    Other(u32),
}

/// Why a process is now in the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinReason {
    /// It asked to join.
    Join,
    /// It was in the group already when its node came into our ring.
    NodeUp,
    /// A reason this release does not know.
    Other(u32),
}

/// Names one ring (one totem membership). `seq` grows with every new ring a node is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct RingId {
    /// The node that formed the ring: the lowest id in it.
    pub node: NodeId,
    pub seq: u64,
}

/// One fact from corosync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The processes in the group changed. `members` is the state afterwards, in corosync's order.
    MembershipChanged { members: Vec<Member>, left: Vec<(Member, LeftReason)>, joined: Vec<(Member, JoinReason)> },
    /// The nodes of the ring changed; also told once right after joining.
    RingChanged { ring: RingId, members: Vec<NodeId> },
    /// A message of the group, our own included, in the one order that all members of a ring share.
    Delivered { from: Member, payload: Vec<u8> },
    /// Quorum was gained, lost, or merely counted again in a new ring; also told once right after joining.
    /// It comes over another connection than the three above, so that its place among them is chance.
    QuorumChanged { ring_seq: u64, quorate: bool, members: Vec<NodeId> },
    /// Corosync ended, or no longer wants us. Always the last event; nothing told before it holds any longer.
    Lost { reason: String },
}
