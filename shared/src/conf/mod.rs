//! cluster.conf: the lossless document, typed views of it, edits, differences in words, findings, and the
//! corosync.conf that follows from it.
//!
//! `load` is the door: text in, document, view and all findings out. Whoever is about to write or use a configuration
//! asks `Loaded::accept`, which gives nothing when there is an error.

pub mod check;
pub mod corosync;
pub mod delta;
pub mod diff;
mod diff_stack;
pub mod document;
pub mod duration;
pub mod edit;
pub mod finding;
pub mod judge;
pub mod logging;
pub mod model;
mod parse;
pub mod qdevice;
pub mod sealed;
pub mod secret;
mod splice;
pub mod view;
mod xml;

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

pub use check::{check_successor, drop_known_errors};
pub use document::{Document, ElementId};
pub use edit::{Edit, EditError, apply, new_document};
pub use finding::{Finding, Place, Severity};
pub use parse::{BYTES_MAX, DEPTH_MAX, ELEMENTS_MAX};

use crate::ids::ConfDigest;
use model::Conf;

/// Nobody reads more, and an answer that carries them must not grow without bound.
const FINDINGS_MAX: usize = 500;

/// A cluster.conf, read and checked.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub document: Document,
    /// `None`: the text is not a cluster.conf at all. With errors among the findings it is incomplete and may only be
    /// shown.
    pub conf: Option<Conf>,
    /// Everything that was found, in the order of the file.
    pub findings: Vec<Finding>,
}

impl Loaded {
    /// Whether a finding is an error: then nothing may be written.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// The configuration to use, or the findings that refuse it.
    pub fn accept(self) -> Result<Conf, Vec<Finding>> {
        match self.conf {
            Some(conf) if !self.findings.iter().any(|finding| finding.severity == Severity::Error) => Ok(conf),
            _ => Err(self.findings),
        }
    }

    /// The same for a text that follows `present`: an error which that one has too does not refuse it (see
    /// `check::drop_known_errors`). What is left to be said comes with the configuration.
    pub fn accept_after(mut self, present: &str) -> Result<(Conf, Vec<Finding>), Vec<Finding>> {
        drop_known_errors(&load(present).findings, &mut self.findings);
        match self.conf {
            Some(conf) if !self.findings.iter().any(|finding| finding.severity == Severity::Error) => {
                Ok((conf, self.findings))
            }
            _ => Err(self.findings),
        }
    }
}

/// Reads and checks a cluster.conf. Never fails: whatever is wrong is among the findings.
pub fn load(text: &str) -> Loaded {
    let (document, mut findings) = Document::parse(text);
    let reading = view::read_located(&document);
    findings.extend(reading.findings.iter().cloned());
    if reading.conf.is_some() {
        findings.extend(check::check(&document, &reading));
    }
    findings.sort_by_key(|finding| (finding.place.line, finding.place.column));
    let findings = limit_findings(findings);
    Loaded { document, conf: reading.conf, findings }
}

/// Keeps the gravest findings when there are too many to read or to send, and says so.
fn limit_findings(findings: Vec<Finding>) -> Vec<Finding> {
    if findings.len() <= FINDINGS_MAX {
        return findings;
    }
    let left_out = findings.len() - FINDINGS_MAX;
    let mut kept = findings;
    kept.sort_by_key(|finding| finding.severity);
    kept.truncate(FINDINGS_MAX);
    kept.sort_by_key(|finding| (finding.place.line, finding.place.column));
    kept.push(Finding {
        rule: "too-many-findings".to_owned(),
        severity: Severity::Info,
        place: Place { line: 1, column: 1, path: "/cluster".to_owned() },
        text: format!("{left_out} more findings are not shown"),
        hint: "correct these first".to_owned(),
    });
    kept
}

/// The digest by which members compare configurations.
pub fn digest(text: &str) -> ConfDigest {
    let mut hexadecimal = String::with_capacity(64);
    for byte in Sha256::digest(text.as_bytes()) {
        // Writing to a String cannot fail.
        let _ = write!(hexadecimal, "{byte:02x}");
    }
    ConfDigest(hexadecimal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_the_sha_256_of_the_bytes() {
        assert_eq!(digest("abc").0, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn nothing_can_be_accepted_from_a_text_that_is_no_cluster_conf() {
        for text in ["", "garbage", "<cluster", "<html/>"] {
            let loaded = load(text);
            assert!(loaded.has_errors(), "{text}");
            assert!(loaded.accept().is_err(), "{text}");
        }
    }
}
