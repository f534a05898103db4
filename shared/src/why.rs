//! Why a service is as it is, and why a node is or is not the one that runs it: the tests that the engine makes before it starts
//! something, in its order, each with what it found. One structure for `clustat --why`, the API and the pages.
//!
//! The engine fills it in; `text` is the English of it. Nothing here decides.

use serde::{Deserialize, Serialize};

use crate::ids::{NodeName, ServiceName};
use crate::placement::Judgement;
use crate::status::{Fact, Failure, Reason, Refusal, RequestStatus};
use crate::text::ServiceState;

/// The explanation of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    pub service: ServiceName,
    pub state: ServiceState,
    pub owner: Option<NodeName>,
    /// Why it is in this state.
    pub reason: Reason,
    /// What holds for the service wherever it would run, in the order in which it is asked.
    pub tests: Vec<Test>,
    /// Every configured node, the most wanted first.
    pub nodes: Vec<NodeExplanation>,
}

/// What speaks for and against one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeExplanation {
    pub node: NodeName,
    pub verdict: Verdict,
    pub tests: Vec<Test>,
}

/// What the tests of a node come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// It holds the service.
    Owner,
    /// It may run the service; 1 is the node that would be taken.
    Candidate {
        rank: u32,
    },
    MayNot,
}

/// Whether a test lets the service run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Passes,
    Blocks,
    /// Told, but it neither helps nor hinders.
    Told,
    Unknown,
}

/// One test with its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "test", rename_all = "kebab-case")]
pub enum Test {
    /// Is this member in a quorate part of the cluster? `None`: quorum is being counted.
    Quorate {
        quorate: Option<bool>,
        votes: Option<u32>,
        votes_expected: Option<u32>,
    },
    /// Is the fate of every node known? Nothing starts before.
    AllFenced {
        waits_for: Vec<NodeName>,
    },
    /// Does an operator want it down, or does `autostart` keep it down?
    Enabled {
        disabled: bool,
        autostart: bool,
    },
    Frozen {
        frozen: bool,
    },
    Locked {
        locked: bool,
    },
    /// What an operator has asked for and is being carried out.
    Request {
        request: RequestStatus,
    },
    /// Stopped by an operator or after every node failed: it waits for a change of membership or configuration.
    Parked,
    /// A member says that it still runs it.
    Claimed {
        by: NodeName,
    },
    /// It could not be stopped on its owner: nothing starts it elsewhere until that node is fenced or it is disabled.
    StopFailed {
        node: NodeName,
    },
    Dependency {
        on: ServiceName,
        started: bool,
    },
    /// Restarts in place that still count, and how many are allowed (0: any number).
    Restarts {
        used: u32,
        allowed: u32,
    },
    LastFailure {
        failure: Failure,
    },
    /// Of a node: is it a member that can be given services?
    Member {
        member: bool,
        leaving: bool,
        /// Corosync has it.
        online: bool,
        /// It takes no services because an operator wants so.
        #[serde(default)]
        standby: bool,
    },
    /// Of a node: what the failover domain says.
    Domain {
        judgement: Judgement,
    },
    /// Of a node: services that the exclusive rule keeps apart from this one.
    Exclusive {
        with: Vec<ServiceName>,
    },
    /// Of a node: the start has failed there in this round.
    Tried,
    /// Of a node: it is left out this time because the service was just moved away from it, or failed on it.
    Avoided,
    /// Of a node: an operator or an earlier decision named it.
    Wanted,
    /// Of a node: other services it holds; among equals the fewest win, then the lowest node id.
    Load {
        services: u32,
    },
}

impl Test {
    /// What it means for starting the service.
    pub fn outcome(&self) -> Outcome {
        let passes = |holds: bool| if holds { Outcome::Passes } else { Outcome::Blocks };
        match self {
            Self::Quorate { quorate, .. } => quorate.map_or(Outcome::Unknown, passes),
            Self::AllFenced { waits_for } => passes(waits_for.is_empty()),
            Self::Enabled { disabled, .. } => passes(!disabled),
            Self::Frozen { frozen } => passes(!frozen),
            Self::Locked { locked } => passes(!locked),
            Self::Parked | Self::Claimed { .. } | Self::StopFailed { .. } | Self::Tried => Outcome::Blocks,
            Self::Dependency { started, .. } => passes(*started),
            Self::Member { member, leaving, standby, .. } => passes(*member && !leaving && !standby),
            Self::Domain { judgement } => passes(judgement.level > crate::placement::Level::Illegal),
            Self::Exclusive { with } => passes(with.is_empty()),
            Self::Request { .. }
            | Self::Restarts { .. }
            | Self::LastFailure { .. }
            | Self::Avoided
            | Self::Wanted
            | Self::Load { .. } => Outcome::Told,
        }
    }

    /// The test as a question of two or three words.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Quorate { .. } => "quorate",
            Self::AllFenced { .. } => "all fenced",
            Self::Enabled { .. } => "enabled",
            Self::Frozen { .. } => "not frozen",
            Self::Locked { .. } => "not locked",
            Self::Request { .. } => "request",
            Self::Parked => "not waiting",
            Self::Claimed { .. } => "not claimed",
            Self::StopFailed { .. } => "not failed",
            Self::Dependency { .. } => "dependency",
            Self::Restarts { .. } => "restarts",
            Self::LastFailure { .. } => "last failure",
            Self::Member { .. } => "member",
            Self::Domain { .. } => "domain",
            Self::Exclusive { .. } => "exclusive",
            Self::Tried => "not tried",
            Self::Avoided => "avoided",
            Self::Wanted => "wanted",
            Self::Load { .. } => "load",
        }
    }

    /// What was found, and what to do if it blocks.
    pub fn text(&self) -> String {
        match self {
            Self::Quorate { quorate, votes, votes_expected } => quorate_text(*quorate, *votes, *votes_expected),
            Self::AllFenced { waits_for } if waits_for.is_empty() => "no node is lost".into(),
            Self::AllFenced { waits_for } if waits_for.len() > 1 => format!(
                "{} are lost and not known to be down; they are fenced first (see fence_tool ls; if you know that they are down: fence_ack_manual)",
                list(waits_for)
            ),
            Self::AllFenced { waits_for } => format!(
                "{} is lost and not known to be down; it is fenced first (see fence_tool ls; if you know that it is down: fence_ack_manual)",
                list(waits_for)
            ),
            Self::Enabled { disabled: true, autostart: true } => "it was disabled; clusvcadm -e enables it".into(),
            Self::Enabled { disabled: true, autostart: false } => {
                "it is disabled, and autostart is off; clusvcadm -e enables it".into()
            }
            Self::Enabled { disabled: false, autostart: true } => "it is enabled".into(),
            Self::Enabled { disabled: false, autostart: false } => "it was enabled by hand; autostart is off".into(),
            Self::Frozen { frozen: true } => "it is frozen and left alone; clusvcadm -U unfreezes it".into(),
            Self::Frozen { frozen: false } => "it is not frozen".into(),
            Self::Locked { locked: true } => "the cluster is locked; clusvcadm -u unlocks it".into(),
            Self::Locked { locked: false } => "the cluster is not locked".into(),
            Self::Request { request } => {
                format!("{} by {} is being carried out", request.command.verb(), request.origin)
            }
            Self::Parked => {
                "it was stopped, or failed on every node; it starts when the membership or the configuration changes, or by clusvcadm -e".into()
            }
            Self::Claimed { by } => format!("{by} says that it still runs parts of it; they are stopped first"),
            Self::StopFailed { node } => format!(
                "it could not be stopped on {node}; make sure that nothing of it runs there, then clusvcadm -d and -e"
            ),
            Self::Dependency { on, started: true } => format!("it needs {on}, which is started"),
            Self::Dependency { on, started: false } => format!("it needs {on}, which is not started"),
            Self::Restarts { used, allowed: 0 } => format!("restarted in place {used} times; any number is allowed"),
            Self::Restarts { used, allowed } => format!("restarted in place {used} times of {allowed}"),
            Self::LastFailure { failure } => failure_text(failure),
            Self::Member { member: true, leaving: true, .. } => "is leaving the cluster".into(),
            Self::Member { member: true, standby: true, .. } => {
                "is in standby; clusvcadm --unstandby lets it take services again".into()
            }
            Self::Member { member: true, .. } => "is a member".into(),
            Self::Member { member: false, online: true, .. } => {
                "is online, but its rgmanager is not a member yet or does not run".into()
            }
            Self::Member { member: false, online: false, .. } => "is offline".into(),
            Self::Domain { judgement } => format!("{}: {}", judgement.level.name(), judgement.why.text()),
            Self::Exclusive { with } if with.is_empty() => "nothing that excludes it runs there".into(),
            Self::Exclusive { with } => format!("an exclusive service runs alone, and {} runs there", list(with)),
            Self::Tried => "its start has just failed there".into(),
            Self::Avoided => "it was just moved away from there; taken only if nothing else is left".into(),
            Self::Wanted => "it was asked for".into(),
            Self::Load { services: 1 } => "holds 1 other service".into(),
            Self::Load { services } => format!("holds {services} other services"),
        }
    }
}

fn quorate_text(quorate: Option<bool>, votes: Option<u32>, votes_expected: Option<u32>) -> String {
    let counted = match (votes, votes_expected) {
        (Some(votes), Some(expected)) => format!(" ({votes} of {expected} votes)"),
        _ => String::new(),
    };
    match quorate {
        Some(true) => format!("the cluster is quorate{counted}"),
        Some(false) => format!("the members in reach have no quorum{counted}; bring more nodes into the cluster"),
        None => "quorum is being counted".into(),
    }
}

fn failure_text(failure: &Failure) -> String {
    let said = failure.output.lines().map(str::trim).rfind(|line| !line.is_empty());
    let said = said.map(|line| format!(": {line}")).unwrap_or_default();
    format!("{} on {}{said}", failure.text(), failure.node)
}

fn list(names: &[impl std::fmt::Display]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What the engine expects to come of something, as of now and if everything asked of agents and fence devices succeeds. Nothing
/// of it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prediction {
    /// It would be refused.
    pub refused: Option<Refusal>,
    /// What would happen, in order.
    pub steps: Vec<Fact>,
    /// Services that would be elsewhere or in another state than now.
    pub changes: Vec<PredictedChange>,
}

/// One service now and then. What the configuration does not have (yet, or any more) is `Uninitialized` on that side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PredictedChange {
    pub service: ServiceName,
    pub from: (ServiceState, Option<NodeName>),
    pub to: (ServiceState, Option<NodeName>),
    pub reason: Reason,
}

/// What a prediction is asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "if", rename_all = "kebab-case")]
pub enum Assumption {
    /// An operator asks for this on the member that is asked.
    Request { command: crate::status::Command },
    /// A node loses its power now.
    NodeLost { node: NodeName },
    /// This cluster.conf, newer than the one in force, comes into force on all members.
    Conf { text: String },
}
