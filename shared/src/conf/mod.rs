//! cluster.conf: the lossless document, typed views of it, edits, differences in words, findings, and the
//! corosync.conf that follows from it.

pub mod finding;
pub mod model;
