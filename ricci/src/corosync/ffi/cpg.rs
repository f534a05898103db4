//! Closed process groups: join one group, send to it, be told its messages and membership in order.

use std::ffi::c_void;
use std::io::IoSlice;
use std::marker::PhantomData;
use std::os::fd::{BorrowedFd, RawFd};

use shared::ids::NodeId;

use super::{CallError, Queue, borrow_fd, check, copied, enqueue, raw};
use crate::corosync::event::{Event, JoinReason, LeftReason, Member, RingId};

/// One connection to corosync's cpg service.
pub(in crate::corosync) struct Cpg {
    handle: u64,
    fd: RawFd,
    queue: Box<Queue>,
    not_send: PhantomData<*const ()>,
}

impl Cpg {
    /// Connects; nothing is told before [`Cpg::join`].
    pub(in crate::corosync) fn open() -> Result<Self, CallError> {
        let queue = Box::new(Queue::default());
        let mut model = raw::CpgModelV1 {
            model: raw::CPG_MODEL_V1,
            deliver: on_deliver,
            confchg: on_confchg,
            totem_confchg: on_totem_confchg,
            flags: raw::CPG_MODEL_V1_DELIVER_INITIAL_TOTEM_CONF,
        };
        let context = std::ptr::from_ref::<Queue>(&queue).cast_mut().cast::<c_void>();
        let mut handle = 0;
        // SAFETY: both pointers are valid for the call, the model data is copied by the library, and the context
        // stays valid until `drop` has finalised the handle.
        let code = unsafe { raw::cpg_model_initialize(&raw mut handle, raw::CPG_MODEL_V1, &raw mut model, context) };
        check("cpg_model_initialize", code)?;
        let mut cpg = Self { handle, fd: -1, queue, not_send: PhantomData };
        // SAFETY: the handle is open and the target valid.
        check("cpg_fd_get", unsafe { raw::cpg_fd_get(handle, &raw mut cpg.fd) })?;
        Ok(cpg)
    }

    /// Readable when [`Cpg::dispatch`] has something to take; hung up when corosync ended.
    pub(in crate::corosync) fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the library closes the descriptor only in `drop`.
        unsafe { borrow_fd(self.fd) }
    }

    /// Our own node.
    pub(in crate::corosync) fn local_node(&self) -> Result<NodeId, CallError> {
        let mut node = 0;
        // SAFETY: the handle is open and the target valid.
        check("cpg_local_get", unsafe { raw::cpg_local_get(self.handle, &raw mut node) })?;
        Ok(NodeId(node))
    }

    /// Asks to join. Done when a membership event names us.
    pub(in crate::corosync) fn join(&self, group: &str) -> Result<(), CallError> {
        let name = group_name(group)?;
        // SAFETY: the handle is open and the name valid for the call.
        check("cpg_join", unsafe { raw::cpg_join(self.handle, &raw const name) })
    }

    /// Asks to leave. Done when a membership event says that we left.
    pub(in crate::corosync) fn leave(&self, group: &str) -> Result<(), CallError> {
        let name = group_name(group)?;
        // SAFETY: the handle is open and the name valid for the call.
        check("cpg_leave", unsafe { raw::cpg_leave(self.handle, &raw const name) })
    }

    /// Sends to all members. "Try again" means that nothing was sent.
    pub(in crate::corosync) fn multicast(&self, payload: &[u8]) -> Result<(), CallError> {
        let parts = [IoSlice::new(payload)];
        // SAFETY: `IoSlice` is guaranteed to have the layout of `iovec`; the library only reads through it.
        let code = unsafe {
            raw::cpg_mcast_joined(self.handle, raw::CPG_TYPE_AGREED, parts.as_ptr().cast::<libc::iovec>(), 1)
        };
        check("cpg_mcast_joined", code)
    }

    /// Takes at most one event, without waiting. `Ok(None)`: nothing there now.
    pub(in crate::corosync) fn dispatch(&mut self) -> Result<Option<Event>, CallError> {
        // SAFETY: the handle is open; the callbacks touch only the queue behind the context.
        let code = unsafe { raw::cpg_dispatch(self.handle, raw::CS_DISPATCH_ONE_NONBLOCKING) };
        match check("cpg_dispatch", code) {
            Ok(()) => Ok(self.queue.get_mut().pop_front()),
            Err(error) if error.is_try_again() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Cpg {
    fn drop(&mut self) {
        // SAFETY: finalised exactly once, and before the queue behind the context goes away. The result does not
        // matter: a dead corosync has forgotten us already.
        unsafe { raw::cpg_finalize(self.handle) };
    }
}

fn group_name(group: &str) -> Result<raw::CpgName, CallError> {
    let mut name = raw::CpgName { length: 0, value: [0; raw::CPG_MAX_NAME_LENGTH] };
    // One byte stays zero: corosync's own tools print the name as a C string.
    if group.is_empty() || group.len() >= raw::CPG_MAX_NAME_LENGTH {
        return Err(CallError::invalid("cpg_join"));
    }
    name.value[..group.len()].copy_from_slice(group.as_bytes());
    name.length = u32::try_from(group.len()).map_err(|_| CallError::invalid("cpg_join"))?;
    Ok(name)
}

fn member(address: raw::CpgAddress) -> Member {
    Member { node: NodeId(address.nodeid), pid: address.pid }
}

fn left_reason(reason: u32) -> LeftReason {
    match reason {
        raw::CPG_REASON_LEAVE => LeftReason::Leave,
        raw::CPG_REASON_NODEDOWN => LeftReason::NodeDown,
        raw::CPG_REASON_PROCDOWN => LeftReason::ProcDown,
        other => LeftReason::Other(other),
    }
}

fn join_reason(reason: u32) -> JoinReason {
    match reason {
        raw::CPG_REASON_JOIN => JoinReason::Join,
        raw::CPG_REASON_NODEUP => JoinReason::NodeUp,
        other => JoinReason::Other(other),
    }
}

/// The queue of the connection that a callback belongs to.
fn queue_of(handle: u64) -> *const Queue {
    let mut context = std::ptr::null_mut();
    // SAFETY: the target is valid; an unknown handle leaves it null.
    unsafe { raw::cpg_context_get(handle, &raw mut context) };
    context.cast_const().cast::<Queue>()
}

unsafe extern "C" fn on_deliver(
    handle: u64,
    _group: *const raw::CpgName,
    nodeid: u32,
    pid: u32,
    message: *mut c_void,
    len: usize,
) {
    // SAFETY: the library passes `len` bytes, and the context given to `cpg_model_initialize`.
    unsafe {
        let payload = copied(message.cast::<u8>().cast_const(), len, |byte| byte);
        enqueue(queue_of(handle), Event::Delivered { from: Member { node: NodeId(nodeid), pid }, payload });
    }
}

unsafe extern "C" fn on_confchg(
    handle: u64,
    _group: *const raw::CpgName,
    members: *const raw::CpgAddress,
    members_len: usize,
    left: *const raw::CpgAddress,
    left_len: usize,
    joined: *const raw::CpgAddress,
    joined_len: usize,
) {
    // SAFETY: the library passes three arrays with their lengths, and the context given to `cpg_model_initialize`.
    unsafe {
        let event = Event::MembershipChanged {
            members: copied(members, members_len, member),
            left: copied(left, left_len, |address| (member(address), left_reason(address.reason))),
            joined: copied(joined, joined_len, |address| (member(address), join_reason(address.reason))),
        };
        enqueue(queue_of(handle), event);
    }
}

unsafe extern "C" fn on_totem_confchg(handle: u64, ring: raw::CpgRingId, members_len: u32, members: *const u32) {
    // SAFETY: the library passes an array with its length, and the context given to `cpg_model_initialize`.
    unsafe {
        let members = copied(members, members_len as usize, NodeId);
        let ring = RingId { node: NodeId(ring.nodeid), seq: ring.seq };
        enqueue(queue_of(handle), Event::RingChanged { ring, members });
    }
}
