//! Quorum: whether this node's side of the cluster may act, told at every change of the ring.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::os::fd::{BorrowedFd, RawFd};

use shared::ids::NodeId;

use super::{CallError, Queue, borrow_fd, check, copied, enqueue, raw};
use crate::corosync::event::Event;

/// One connection to corosync's quorum service.
pub(in crate::corosync) struct Quorum {
    handle: u64,
    fd: RawFd,
    queue: Box<Queue>,
    not_send: PhantomData<*const ()>,
}

impl Quorum {
    /// Connects; nothing is told before [`Quorum::track`].
    pub(in crate::corosync) fn open() -> Result<Self, CallError> {
        let queue = Box::new(Queue::default());
        let mut callbacks = raw::QuorumCallbacks { notify: on_notify };
        let (mut handle, mut kind) = (0, 0);
        // SAFETY: all pointers are valid for the call and the callbacks are copied by the library.
        let code = unsafe { raw::quorum_initialize(&raw mut handle, &raw mut callbacks, &raw mut kind) };
        check("quorum_initialize", code)?;
        let mut quorum = Self { handle, fd: -1, queue, not_send: PhantomData };
        let context = std::ptr::from_ref::<Queue>(&quorum.queue).cast::<c_void>();
        // SAFETY: the handle is open; the context stays valid until `drop` has finalised the handle.
        check("quorum_context_set", unsafe { raw::quorum_context_set(handle, context) })?;
        // SAFETY: the handle is open and the target valid.
        check("quorum_fd_get", unsafe { raw::quorum_fd_get(handle, &raw mut quorum.fd) })?;
        Ok(quorum)
    }

    /// Asks for the state now and every change from now on.
    pub(in crate::corosync) fn track(&self) -> Result<(), CallError> {
        // SAFETY: the handle is open.
        let code = unsafe { raw::quorum_trackstart(self.handle, raw::CS_TRACK_CURRENT | raw::CS_TRACK_CHANGES) };
        check("quorum_trackstart", code)
    }

    /// Whether this side is quorate at this moment.
    pub(in crate::corosync) fn is_quorate(&self) -> Result<bool, CallError> {
        let mut quorate = 0;
        // SAFETY: the handle is open and the target valid.
        check("quorum_getquorate", unsafe { raw::quorum_getquorate(self.handle, &raw mut quorate) })?;
        Ok(quorate != 0)
    }

    /// Readable when [`Quorum::dispatch`] has something to take.
    pub(in crate::corosync) fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the library closes the descriptor only in `drop`.
        unsafe { borrow_fd(self.fd) }
    }

    /// Takes all events that are there, without waiting. Few at a time: one per change of the ring.
    pub(in crate::corosync) fn dispatch(&mut self) -> Result<Vec<Event>, CallError> {
        // SAFETY: the handle is open; the callback touches only the queue behind the context.
        let code = unsafe { raw::quorum_dispatch(self.handle, raw::CS_DISPATCH_ALL) };
        match check("quorum_dispatch", code) {
            Err(error) if !error.is_try_again() => Err(error),
            _ => Ok(self.queue.get_mut().drain(..).collect()),
        }
    }
}

impl Drop for Quorum {
    fn drop(&mut self) {
        // SAFETY: finalised exactly once, and before the queue behind the context goes away.
        unsafe { raw::quorum_finalize(self.handle) };
    }
}

unsafe extern "C" fn on_notify(handle: u64, quorate: u32, ring_seq: u64, members_len: u32, members: *mut u32) {
    let mut context = std::ptr::null();
    // SAFETY: the target is valid and an unknown handle leaves it null; the library passes an array with its
    // length; the context is the one set in `open`.
    unsafe {
        raw::quorum_context_get(handle, &raw mut context);
        let members = copied(members.cast_const(), members_len as usize, NodeId);
        enqueue(context.cast::<Queue>(), Event::QuorumChanged { ring_seq, quorate: quorate != 0, members });
    }
}
