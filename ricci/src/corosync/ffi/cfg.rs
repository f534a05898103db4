//! Corosync's control service: state of the links, reload of corosync.conf, ending this or another node's corosync.

use std::ffi::{CString, c_char};
use std::marker::PhantomData;

use shared::ids::NodeId;

use super::{CallError, check, raw, text_of};

/// One connection to corosync's cfg service.
pub(in crate::corosync) struct Cfg {
    handle: u64,
    not_send: PhantomData<*const ()>,
}

/// One link from our node to another, as our node sees it.
pub(in crate::corosync) struct LinkState {
    pub(in crate::corosync) number: u8,
    pub(in crate::corosync) connected: bool,
    pub(in crate::corosync) from_address: String,
    pub(in crate::corosync) to_address: String,
    pub(in crate::corosync) mtu: u32,
}

impl Cfg {
    pub(in crate::corosync) fn open() -> Result<Self, CallError> {
        let mut handle = 0;
        // SAFETY: the target is valid; null callbacks are allowed and mean none.
        let code = unsafe { raw::corosync_cfg_initialize(&raw mut handle, std::ptr::null()) };
        check("corosync_cfg_initialize", code)?;
        Ok(Self { handle, not_send: PhantomData })
    }

    /// Whether the node can be reached, and its enabled links.
    pub(in crate::corosync) fn node_status(&self, node: NodeId) -> Result<(bool, Vec<LinkState>), CallError> {
        let empty: [c_char; raw::CFG_MAX_HOST_LEN] = [0; raw::CFG_MAX_HOST_LEN];
        let no_link = raw::CfgLinkStatusV1 {
            enabled: 0,
            connected: 0,
            dynconnected: 0,
            mtu: 0,
            src_ipaddr: empty,
            dst_ipaddr: empty,
        };
        let mut status = raw::CfgNodeStatusV1 {
            version: raw::CFG_NODE_STATUS_V1,
            nodeid: node.0,
            reachable: 0,
            remote: 0,
            external: 0,
            onwire_min: 0,
            onwire_max: 0,
            onwire_ver: 0,
            link_status: [no_link; raw::CFG_MAX_LINKS],
        };
        // SAFETY: the handle is open, and version 1 promises that the library writes a `CfgNodeStatusV1`.
        let code =
            unsafe { raw::corosync_cfg_node_status_get(self.handle, node.0, raw::CFG_NODE_STATUS_V1, &raw mut status) };
        check("corosync_cfg_node_status_get", code)?;
        let links = (0..)
            .zip(&status.link_status)
            .filter(|(_, link)| link.enabled != 0)
            .map(|(number, link)| LinkState {
                number,
                connected: link.connected != 0,
                from_address: text_of(&link.src_ipaddr),
                to_address: text_of(&link.dst_ipaddr),
                mtu: link.mtu,
            })
            .collect();
        Ok((status.reachable != 0, links))
    }

    /// Our own node.
    pub(in crate::corosync) fn local_node(&self) -> Result<NodeId, CallError> {
        let mut node = 0;
        // SAFETY: the handle is open and the target valid.
        check("corosync_cfg_local_get", unsafe { raw::corosync_cfg_local_get(self.handle, &raw mut node) })?;
        Ok(NodeId(node))
    }

    /// Makes corosync on **all** members read their own corosync.conf again.
    pub(in crate::corosync) fn reload_conf(&self) -> Result<(), CallError> {
        // SAFETY: the handle is open.
        check("corosync_cfg_reload_config", unsafe { raw::corosync_cfg_reload_config(self.handle) })
    }

    /// Ends corosync on this node unless a program that tracks shutdowns objects.
    pub(in crate::corosync) fn shut_down(&self) -> Result<(), CallError> {
        // SAFETY: the handle is open.
        let code = unsafe { raw::corosync_cfg_try_shutdown(self.handle, raw::COROSYNC_CFG_SHUTDOWN_FLAG_REQUEST) };
        check("corosync_cfg_try_shutdown", code)
    }

    /// Ends corosync on another node; the reason goes into its log.
    pub(in crate::corosync) fn kill_node(&self, node: NodeId, reason: &str) -> Result<(), CallError> {
        let reason = CString::new(reason).map_err(|_| CallError::invalid("corosync_cfg_kill_node"))?;
        // SAFETY: the handle is open and the text valid for the call.
        let code = unsafe { raw::corosync_cfg_kill_node(self.handle, node.0, reason.as_ptr()) };
        check("corosync_cfg_kill_node", code)
    }
}

impl Drop for Cfg {
    fn drop(&mut self) {
        // SAFETY: finalised exactly once.
        unsafe { raw::corosync_cfg_finalize(self.handle) };
    }
}
