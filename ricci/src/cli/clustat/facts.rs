//! Where `clustat` has its facts from: rgmanager, or, when that is silent or has not joined yet, corosync for the members alone.
//! Bounded by [`LIMIT`] in all; never guesses what nobody told.

use std::time::{Duration, Instant};

use shared::ids::{NodeName, Time};
use shared::socket::{Ask, Reply};
use shared::status::{ClusterStatus, Membership, NodeStatus, Phase, Quorum};

use super::{LIMIT, RESERVE};
use crate::cli::client::{AskError, ask_once};
use crate::cli::members::{self, NoMembers};

/// What could be learnt.
pub(super) struct Facts {
    pub status: ClusterStatus,
    /// Why the services are unknown; `None` when they are known.
    pub gap: Option<String>,
}

impl Facts {
    pub(super) fn services_known(&self) -> bool {
        self.gap.is_none()
    }
}

/// There is no cluster to ask.
pub(super) struct NoFacts {
    /// As strerror(3) would say it.
    pub errno_text: &'static str,
    /// What happened and what to do.
    pub text: String,
}

pub(super) fn gather() -> Result<Facts, NoFacts> {
    let begun = Instant::now();
    let mut told = None;
    let gap = match ask_once(&Ask::Status, LIMIT - RESERVE) {
        Ok(Reply::Status { status }) => {
            let Some(why) = phase_gap(status.phase) else { return Ok(Facts { status: *status, gap: None }) };
            told = Some(*status);
            format!("Service states unavailable: {why}")
        }
        Ok(Reply::PermissionDenied) => "Permission denied: only root may see the states of services".to_owned(),
        Ok(Reply::Error { text }) => format!("Service states unavailable: {text}"),
        Ok(_) => "Service states unavailable: rgmanager answered another question".to_owned(),
        Err(AskError::Late { .. }) => "Timed out waiting for a response from Resource Group Manager".to_owned(),
        Err(AskError::NotRunning { .. }) => {
            "Service states unavailable: rgmanager is not running on this node (systemctl start rgmanager)".to_owned()
        }
        Err(error) => format!("Service states unavailable: {}", shared::chain(&error)),
    };
    let left = LIMIT.saturating_sub(begun.elapsed()).max(Duration::from_millis(100));
    // A daemon that has not joined may know neither names nor quorum yet; corosync knows both.
    match (members::of_corosync(left), told) {
        (Ok(members), _) => Ok(Facts { status: status_of(members), gap: Some(gap) }),
        (Err(_), Some(status)) => Ok(Facts { status, gap: Some(gap) }),
        (Err(problem), None) => Err(no_facts(problem, gap)),
    }
}

/// Before the daemon holds the group's state, its list of services says nothing.
fn phase_gap(phase: Phase) -> Option<&'static str> {
    match phase {
        Phase::Probing => Some("rgmanager on this node is looking at what runs here before it joins"),
        Phase::Joining => Some("rgmanager on this node is joining and has not been told the states yet"),
        Phase::Cleaning | Phase::Member | Phase::Leaving => None,
    }
}

fn no_facts(problem: NoMembers, gap: String) -> NoFacts {
    let text = match problem.errno_text {
        "Connection refused" => "The cluster is not running on this node (systemctl start rgmanager starts it).".into(),
        _ => problem.text,
    };
    // A daemon that lives without corosync deserves a word of its own.
    let text = if gap.contains("not running") { text } else { format!("{gap}\n{text}") };
    NoFacts { errno_text: problem.errno_text, text }
}

/// Only what corosync knows; `services` stays empty because nobody told.
fn status_of(members: members::Members) -> ClusterStatus {
    let local = members.local;
    let nodes = members.nodes.into_iter().map(|member| NodeStatus {
        id: member.id,
        name: member.name.unwrap_or_else(|| NodeName(format!("node id {}", member.id))),
        configured: true,
        local: member.id == local,
        online: member.online,
        member: Membership::Absent,
        boot_id: None,
        conf_version: None,
        fencing: None,
        last_fenced: None,
        fence_proofs: Vec::new(),
        standby: false,
        watches: Vec::new(),
    });
    ClusterStatus {
        cluster: members.cluster.unwrap_or_else(|| "unknown".to_owned()),
        at: Time::default(),
        local,
        phase: Phase::Probing,
        conf: None,
        quorum: Quorum {
            quorate: members.quorate,
            votes: Some(members.votes),
            votes_expected: Some(members.votes_expected),
        },
        coordinator: None,
        locked: false,
        nodes: nodes.collect(),
        services: Vec::new(),
        waits_for_fencing_of: Vec::new(),
    }
}
