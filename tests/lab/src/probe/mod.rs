//! Probes that watch a lab from outside: who holds an address, and what an HTTP client gets.
//!
//! They run on threads of the caller's process and record with wall-clock times; they never change anything.

pub(crate) mod address;
pub(crate) mod http;
