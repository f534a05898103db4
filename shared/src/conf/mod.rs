//! cluster.conf: the lossless document, typed views of it, edits, differences in words, findings, and the
//! corosync.conf that follows from it.

pub mod document;
pub mod finding;
pub mod model;
mod parse;
mod xml;

pub use document::{Document, ElementId};
pub use finding::{Finding, Place, Severity};
pub use parse::{BYTES_MAX, DEPTH_MAX, ELEMENTS_MAX};
