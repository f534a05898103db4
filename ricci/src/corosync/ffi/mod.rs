//! Safe, thin wrappers over the five corosync libraries, one file per library, the C side of them all in `raw`.
//!
//! Called by the actor's thread and by the short-lived threads of `query` only. Every connection type here is
//! `!Send`: libqb connections are not thread-safe, and one shared by two threads corrupts messages.
//! Callbacks copy their arguments into a queue behind the handle's context pointer and return; no code of ours
//! that could panic or call back into corosync runs inside them.

mod cfg;
mod cmap;
mod cpg;
mod quorum;
mod raw;
mod votequorum;

use std::collections::VecDeque;
use std::ffi::c_int;
use std::os::fd::{BorrowedFd, RawFd};

pub(super) use cfg::Cfg;
pub use cmap::Value;
pub(super) use cmap::{Cmap, Map};
pub(super) use cpg::Cpg;
pub(super) use quorum::Quorum;
pub(super) use votequorum::VoteQuorum;

use super::event::Event;

/// A call into a corosync library that did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {} (corosync error {code})", explain(*code))]
pub struct CallError {
    /// The C function.
    pub call: &'static str,
    /// `cs_error_t`.
    pub code: c_int,
}

impl CallError {
    /// Corosync is busy (flow control, or a ring is just being formed): the same call will work in a moment.
    pub fn is_try_again(&self) -> bool {
        self.code == raw::CS_ERR_TRY_AGAIN
    }

    /// The thing asked for does not exist (a key, a node).
    pub fn is_absent(&self) -> bool {
        self.code == raw::CS_ERR_NOT_EXIST
    }

    fn invalid(call: &'static str) -> Self {
        Self { call, code: raw::CS_ERR_INVALID_PARAM }
    }
}

/// What the codes mean to a person, for those that corosync's client libraries really return.
fn explain(code: c_int) -> &'static str {
    match code {
        raw::CS_ERR_LIBRARY => "no connection to corosync",
        raw::CS_ERR_TIMEOUT => "corosync did not answer in time",
        raw::CS_ERR_TRY_AGAIN => "corosync is busy",
        raw::CS_ERR_INVALID_PARAM => "invalid parameter",
        raw::CS_ERR_NO_MEMORY => "out of memory",
        raw::CS_ERR_BAD_HANDLE => "the connection is closed",
        raw::CS_ERR_BUSY => "corosync is busy with an earlier request",
        raw::CS_ERR_ACCESS | raw::CS_ERR_SECURITY => "corosync refuses this user",
        raw::CS_ERR_NOT_EXIST => "does not exist",
        raw::CS_ERR_NAME_TOO_LONG => "name too long",
        raw::CS_ERR_EXIST => "exists already",
        raw::CS_ERR_NO_SPACE => "no space left for corosync's buffers in /dev/shm",
        raw::CS_ERR_NOT_SUPPORTED => "not supported by this corosync",
        raw::CS_ERR_TOO_BIG => "too big",
        _ => "failed",
    }
}

/// Turns a `cs_error_t` into a result.
fn check(call: &'static str, code: c_int) -> Result<(), CallError> {
    if code == raw::CS_OK { Ok(()) } else { Err(CallError { call, code }) }
}

/// Where a callback leaves what it was told. Boxed by its connection, so that its address stays the same for
/// as long as the C side knows it.
type Queue = std::cell::RefCell<VecDeque<Event>>;

/// Puts one event into the queue behind a context pointer.
///
/// # Safety
/// `context` is null or points to the `Queue` of a connection that is still open.
unsafe fn enqueue(context: *const Queue, event: Event) {
    // SAFETY: promised by the caller; a queue lives in a box that its connection drops only after finalising.
    if let Some(queue) = unsafe { context.as_ref() }
        && let Ok(mut queue) = queue.try_borrow_mut()
    {
        queue.push_back(event);
    }
}

/// Copies a C array.
///
/// # Safety
/// `first` points to `len` valid elements, or `len` is 0.
unsafe fn copied<T: Copy, U>(first: *const T, len: usize, convert: impl Fn(T) -> U) -> Vec<U> {
    if len == 0 || first.is_null() {
        return Vec::new();
    }
    // SAFETY: promised by the caller.
    unsafe { std::slice::from_raw_parts(first, len) }.iter().map(|item| convert(*item)).collect()
}

/// The text in a fixed-size C array, up to its first zero.
fn text_of(chars: &[std::ffi::c_char]) -> String {
    let bytes: Vec<u8> = chars.iter().map(|c| c.to_ne_bytes()[0]).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Borrows the file descriptor that a library owns.
///
/// # Safety
/// The connection that owns `fd` outlives `'a`.
unsafe fn borrow_fd<'a>(fd: RawFd) -> BorrowedFd<'a> {
    // SAFETY: promised by the caller, and corosync never hands out -1 together with CS_OK.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

#[cfg(test)]
mod layout_test;
