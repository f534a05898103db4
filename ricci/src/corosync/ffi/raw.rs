//! The C declarations, transcribed from corosync 3.1.7's `<corosync/*.h>`: only what the wrappers use.
//! `layout_test` compares sizes, offsets and constants with what the C compiler makes of the installed headers.

use std::ffi::{c_char, c_int, c_uint, c_void};

pub(super) const CS_OK: c_int = 1;
pub(super) const CS_ERR_LIBRARY: c_int = 2;
pub(super) const CS_ERR_TIMEOUT: c_int = 5;
pub(super) const CS_ERR_TRY_AGAIN: c_int = 6;
pub(super) const CS_ERR_INVALID_PARAM: c_int = 7;
pub(super) const CS_ERR_NO_MEMORY: c_int = 8;
pub(super) const CS_ERR_BAD_HANDLE: c_int = 9;
pub(super) const CS_ERR_BUSY: c_int = 10;
pub(super) const CS_ERR_ACCESS: c_int = 11;
pub(super) const CS_ERR_NOT_EXIST: c_int = 12;
pub(super) const CS_ERR_NAME_TOO_LONG: c_int = 13;
pub(super) const CS_ERR_EXIST: c_int = 14;
pub(super) const CS_ERR_NO_SPACE: c_int = 15;
pub(super) const CS_ERR_NOT_SUPPORTED: c_int = 19;
pub(super) const CS_ERR_TOO_BIG: c_int = 26;
pub(super) const CS_ERR_NO_SECTIONS: c_int = 27;
pub(super) const CS_ERR_SECURITY: c_int = 100;

pub(super) const CS_DISPATCH_ALL: c_int = 2;
pub(super) const CS_DISPATCH_ONE_NONBLOCKING: c_int = 4;
pub(super) const CS_TRACK_CURRENT: c_uint = 1;
pub(super) const CS_TRACK_CHANGES: c_uint = 2;

pub(super) const CPG_MODEL_V1: c_int = 1;
pub(super) const CPG_MODEL_V1_DELIVER_INITIAL_TOTEM_CONF: c_uint = 1;
pub(super) const CPG_TYPE_AGREED: c_int = 2;
pub(super) const CPG_MAX_NAME_LENGTH: usize = 128;
pub(super) const CPG_REASON_JOIN: u32 = 1;
pub(super) const CPG_REASON_LEAVE: u32 = 2;
pub(super) const CPG_REASON_NODEDOWN: u32 = 3;
pub(super) const CPG_REASON_NODEUP: u32 = 4;
pub(super) const CPG_REASON_PROCDOWN: u32 = 5;

pub(super) const VOTEQUORUM_QDEVICE_MAX_NAME_LEN: usize = 255;
pub(super) const VOTEQUORUM_INFO_QUORATE: c_uint = 2;
pub(super) const VOTEQUORUM_NODESTATE_MEMBER: c_uint = 1;

pub(super) const CMAP_KEYNAME_MAXLEN: usize = 255;
pub(super) const CMAP_MAP_ICMAP: c_int = 0;
pub(super) const CMAP_MAP_STATS: c_int = 1;

pub(super) const CFG_MAX_HOST_LEN: usize = 256;
pub(super) const CFG_MAX_LINKS: usize = 8;
pub(super) const CFG_NODE_STATUS_V1: c_int = 1;
pub(super) const COROSYNC_CFG_SHUTDOWN_FLAG_REQUEST: c_int = 0;

#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct CpgAddress {
    pub(super) nodeid: u32,
    pub(super) pid: u32,
    pub(super) reason: u32,
}

#[repr(C)]
pub(super) struct CpgName {
    pub(super) length: u32,
    pub(super) value: [u8; CPG_MAX_NAME_LENGTH],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct CpgRingId {
    pub(super) nodeid: u32,
    pub(super) seq: u64,
}

pub(super) type CpgDeliver = unsafe extern "C" fn(u64, *const CpgName, u32, u32, *mut c_void, usize);
pub(super) type CpgConfchg = unsafe extern "C" fn(
    u64,
    *const CpgName,
    *const CpgAddress,
    usize,
    *const CpgAddress,
    usize,
    *const CpgAddress,
    usize,
);
pub(super) type CpgTotemConfchg = unsafe extern "C" fn(u64, CpgRingId, u32, *const u32);

#[repr(C)]
pub(super) struct CpgModelV1 {
    pub(super) model: c_int,
    pub(super) deliver: CpgDeliver,
    pub(super) confchg: CpgConfchg,
    pub(super) totem_confchg: CpgTotemConfchg,
    pub(super) flags: c_uint,
}

unsafe extern "C" {
    pub(super) fn cpg_model_initialize(
        handle: *mut u64,
        model: c_int,
        data: *mut CpgModelV1,
        context: *mut c_void,
    ) -> c_int;
    pub(super) fn cpg_finalize(handle: u64) -> c_int;
    pub(super) fn cpg_fd_get(handle: u64, fd: *mut c_int) -> c_int;
    pub(super) fn cpg_context_get(handle: u64, context: *mut *mut c_void) -> c_int;
    pub(super) fn cpg_dispatch(handle: u64, kind: c_int) -> c_int;
    pub(super) fn cpg_join(handle: u64, group: *const CpgName) -> c_int;
    pub(super) fn cpg_leave(handle: u64, group: *const CpgName) -> c_int;
    pub(super) fn cpg_mcast_joined(handle: u64, guarantee: c_int, parts: *const libc::iovec, count: c_uint) -> c_int;
    pub(super) fn cpg_local_get(handle: u64, nodeid: *mut c_uint) -> c_int;
}

pub(super) type QuorumNotify = unsafe extern "C" fn(u64, u32, u64, u32, *mut u32);

#[repr(C)]
pub(super) struct QuorumCallbacks {
    pub(super) notify: QuorumNotify,
}

unsafe extern "C" {
    pub(super) fn quorum_initialize(handle: *mut u64, callbacks: *mut QuorumCallbacks, kind: *mut u32) -> c_int;
    pub(super) fn quorum_finalize(handle: u64) -> c_int;
    pub(super) fn quorum_fd_get(handle: u64, fd: *mut c_int) -> c_int;
    pub(super) fn quorum_dispatch(handle: u64, kind: c_int) -> c_int;
    pub(super) fn quorum_getquorate(handle: u64, quorate: *mut c_int) -> c_int;
    pub(super) fn quorum_trackstart(handle: u64, flags: c_uint) -> c_int;
    pub(super) fn quorum_context_set(handle: u64, context: *const c_void) -> c_int;
    pub(super) fn quorum_context_get(handle: u64, context: *mut *const c_void) -> c_int;
}

#[repr(C)]
pub(super) struct VotequorumInfo {
    pub(super) node_id: c_uint,
    pub(super) node_state: c_uint,
    pub(super) node_votes: c_uint,
    pub(super) node_expected_votes: c_uint,
    pub(super) highest_expected: c_uint,
    pub(super) total_votes: c_uint,
    pub(super) quorum: c_uint,
    pub(super) flags: c_uint,
    pub(super) qdevice_votes: c_uint,
    pub(super) qdevice_name: [c_char; VOTEQUORUM_QDEVICE_MAX_NAME_LEN],
}

unsafe extern "C" {
    pub(super) fn votequorum_initialize(handle: *mut u64, callbacks: *mut c_void) -> c_int;
    pub(super) fn votequorum_finalize(handle: u64) -> c_int;
    pub(super) fn votequorum_getinfo(handle: u64, nodeid: c_uint, info: *mut VotequorumInfo) -> c_int;
}

unsafe extern "C" {
    pub(super) fn cmap_initialize_map(handle: *mut u64, map: c_int) -> c_int;
    pub(super) fn cmap_finalize(handle: u64) -> c_int;
    pub(super) fn cmap_set(handle: u64, key: *const c_char, value: *const c_void, len: usize, kind: c_int) -> c_int;
    pub(super) fn cmap_get(
        handle: u64,
        key: *const c_char,
        value: *mut c_void,
        len: *mut usize,
        kind: *mut c_int,
    ) -> c_int;
    pub(super) fn cmap_iter_init(handle: u64, prefix: *const c_char, iter: *mut u64) -> c_int;
    pub(super) fn cmap_iter_next(handle: u64, iter: u64, key: *mut c_char, len: *mut usize, kind: *mut c_int) -> c_int;
    pub(super) fn cmap_iter_finalize(handle: u64, iter: u64) -> c_int;
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct CfgLinkStatusV1 {
    pub(super) enabled: u8,
    pub(super) connected: u8,
    pub(super) dynconnected: u8,
    pub(super) mtu: c_uint,
    pub(super) src_ipaddr: [c_char; CFG_MAX_HOST_LEN],
    pub(super) dst_ipaddr: [c_char; CFG_MAX_HOST_LEN],
}

#[repr(C)]
pub(super) struct CfgNodeStatusV1 {
    pub(super) version: c_int,
    pub(super) nodeid: c_uint,
    pub(super) reachable: u8,
    pub(super) remote: u8,
    pub(super) external: u8,
    pub(super) onwire_min: u8,
    pub(super) onwire_max: u8,
    pub(super) onwire_ver: u8,
    pub(super) link_status: [CfgLinkStatusV1; CFG_MAX_LINKS],
}

unsafe extern "C" {
    pub(super) fn corosync_cfg_initialize(handle: *mut u64, callbacks: *const c_void) -> c_int;
    pub(super) fn corosync_cfg_finalize(handle: u64) -> c_int;
    pub(super) fn corosync_cfg_node_status_get(
        handle: u64,
        nodeid: c_uint,
        version: c_int,
        status: *mut CfgNodeStatusV1,
    ) -> c_int;
    pub(super) fn corosync_cfg_kill_node(handle: u64, nodeid: c_uint, reason: *const c_char) -> c_int;
    pub(super) fn corosync_cfg_try_shutdown(handle: u64, flags: c_int) -> c_int;
    pub(super) fn corosync_cfg_local_get(handle: u64, nodeid: *mut c_uint) -> c_int;
    pub(super) fn corosync_cfg_reload_config(handle: u64) -> c_int;
}
