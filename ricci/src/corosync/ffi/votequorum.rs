//! Votes: how many each node has, how many are expected, how many make a quorum. Asked, never tracked.

use std::marker::PhantomData;

use shared::ids::NodeId;

use super::{CallError, check, raw};

/// One connection to corosync's votequorum service.
pub(in crate::corosync) struct VoteQuorum {
    handle: u64,
    not_send: PhantomData<*const ()>,
}

/// What votequorum says about one node, and about the whole as our node sees it.
pub(in crate::corosync) struct VotesOfNode {
    pub(in crate::corosync) node: NodeId,
    pub(in crate::corosync) is_member: bool,
    pub(in crate::corosync) votes: u32,
    pub(in crate::corosync) votes_expected: u32,
    pub(in crate::corosync) votes_total: u32,
    pub(in crate::corosync) quorum: u32,
    pub(in crate::corosync) quorate: bool,
}

impl VoteQuorum {
    pub(in crate::corosync) fn open() -> Result<Self, CallError> {
        let mut handle = 0;
        // SAFETY: the target is valid; null callbacks are allowed and mean none.
        let code = unsafe { raw::votequorum_initialize(&raw mut handle, std::ptr::null_mut()) };
        check("votequorum_initialize", code)?;
        Ok(Self { handle, not_send: PhantomData })
    }

    /// Asks about one node; node 0 means our own.
    pub(in crate::corosync) fn info(&self, node: NodeId) -> Result<VotesOfNode, CallError> {
        let mut info = raw::VotequorumInfo {
            node_id: 0,
            node_state: 0,
            node_votes: 0,
            node_expected_votes: 0,
            highest_expected: 0,
            total_votes: 0,
            quorum: 0,
            flags: 0,
            qdevice_votes: 0,
            qdevice_name: [0; raw::VOTEQUORUM_QDEVICE_MAX_NAME_LEN],
        };
        // SAFETY: the handle is open and the target valid.
        check("votequorum_getinfo", unsafe { raw::votequorum_getinfo(self.handle, node.0, &raw mut info) })?;
        Ok(VotesOfNode {
            node: NodeId(info.node_id),
            is_member: info.node_state == raw::VOTEQUORUM_NODESTATE_MEMBER,
            votes: info.node_votes,
            votes_expected: info.highest_expected,
            votes_total: info.total_votes,
            quorum: info.quorum,
            quorate: info.flags & raw::VOTEQUORUM_INFO_QUORATE != 0,
        })
    }
}

impl Drop for VoteQuorum {
    fn drop(&mut self) {
        // SAFETY: finalised exactly once.
        unsafe { raw::votequorum_finalize(self.handle) };
    }
}
