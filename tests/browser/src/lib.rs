//! The whole suite on a lab: hosts with ricci, luci in a place of its own, and clients of luci's pages. Used by the browser
//! tests and by `cargo xtask demo`. Everything a person would do goes through luci's pages; nothing is laid on a disk
//! behind its back.
// SPDX-License-Identifier: MIT OR Apache-2.0

pub mod chromium;
pub mod console;
pub mod person;
pub mod stage;
pub mod suite;
