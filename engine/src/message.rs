//! What members tell each other over the ordered multicast, and how it is written on the wire.
//!
//! The wire form is JSON behind one byte that names the protocol. `decode` refuses what it cannot read; the driver
//! drops it with a log line. Nothing that comes over the wire is asserted.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use shared::ids::{
    BootId, ConfDigest, ConfVersion, Epoch, NodeId, NodeName, RequestId, ResourceName, ServiceName, Time,
};
use shared::status::{Failure, FenceDeviceRun, FenceVerdict, FencedHow, Reason, Request, ResourceStatus};
use shared::text::ServiceState;

use crate::replicated::Replicated;

/// The protocol this release speaks: what members may say to each other and what the shared state means. Members of different
/// releases use the lowest that is present (`Replicated::protocol`).
///
/// 1: the first. 2: a restart is announced, a large state travels in pieces, virtual machines migrate.
pub const PROTOCOL: u8 = 2;

/// The wire form, which is older than any change of the protocol: JSON behind this byte. Kinds of messages that a member does not
/// know cannot be read by it and are dropped; fields that it does not know are ignored.
pub const WIRE: u8 = 1;

/// A state that is longer than this travels in pieces. Far enough below `MESSAGE_MAX_BYTES`: quoting makes a piece longer.
pub const SNAPSHOT_PIECE_BYTES: usize = 400_000;

/// Larger payloads are refused at decode: corosync delivers at most 1 MiB in one piece.
pub const MESSAGE_MAX_BYTES: usize = 1_000_000;

/// Names one life of a daemon; drawn by the driver at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

/// Names one history of the replicated state: a chain of hashes over all membership changes. Members that stayed together
/// have the same branch; the two sides of a partition have different ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Branch(pub u64);

/// Names one membership of the group: a hash over ring and processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ViewTag(pub u64);

/// A whole cluster.conf with its version and digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ConfText {
    pub version: ConfVersion,
    pub digest: ConfDigest,
    pub text: String,
}

/// What administrators want, kept on disk by every member (design: intents survive a restart of the whole cluster).
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
pub struct Intents {
    /// Grows with every founding of the cluster; the highest wins.
    pub history: u64,
    /// Grows with every change inside one history.
    pub change: u64,
    pub locked: bool,
    /// Nodes in standby.
    #[serde(default)]
    pub standby: BTreeSet<NodeId>,
    pub services: BTreeMap<ServiceName, Intent>,
    /// What is known of fence methods: worth keeping as long as the devices, not only as long as the cluster runs.
    #[serde(default)]
    pub proofs: Proofs,
}

/// By node and name of the method.
pub type Proofs = BTreeMap<NodeId, BTreeMap<String, Proof>>;

/// What came of a fence method when it was last used.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Proof {
    pub at: Time,
    pub by: NodeName,
    /// Names of the devices it used: another set of devices has proven nothing.
    pub devices: Vec<String>,
    pub verdict: FenceVerdict,
}

/// What an administrator wants of one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
pub struct Intent {
    pub disabled: bool,
    pub frozen: bool,
    /// Enabled by hand although `autostart="0"`: has run before, so it is not disabled again at the next founding.
    pub enabled: bool,
}

/// A message on the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Message {
    /// Sent by everyone when somebody has joined the group: who I am, whether I hold the state, what really runs here.
    Hello(Box<Hello>),
    /// Sent by the lowest node when all in the group are without state and quorate: the state is built from the hellos with
    /// these nonces.
    Found { at: Time, view: ViewTag, members: BTreeMap<NodeId, u64> },
    /// The state as of the delivery of the hello it answers, for one joiner.
    Snapshot { to: NodeId, nonce: u64, view: ViewTag, state: Box<Replicated> },
    /// A part of a snapshot that is too long for one message: the JSON of the state, cut. Protocol 2.
    SnapshotPiece { to: NodeId, nonce: u64, number: u32, count: u32, text: String },
    /// The sender holds the state; with `clean`, it runs nothing that the state does not grant it.
    Ready { at: Time, incarnation: Incarnation, clean: bool },
    /// The coordinator's decision. Checked against the law by everyone at delivery.
    Decide(Box<Decide>),
    /// What came of a duty.
    Report(Box<Report>),
    /// What came of a fencing attempt.
    FenceReport(Box<FenceReport>),
    /// How far the holder's resources are; for people only, nothing depends on it.
    Progress { service: ServiceName, epoch: Epoch, resources: Vec<ResourceStatus> },
    /// An operator's request. Admitted or refused at delivery by all alike.
    Request { at: Time, request: Request },
    /// A new configuration for everyone to store.
    ConfOffer { at: Time, conf: ConfText, origin: String },
    /// The sender has stored it (or says why it could not).
    ConfStored { version: ConfVersion, digest: ConfDigest, failed: Option<String> },
    /// The sender wants to leave: give its services away.
    Leaving { incarnation: Incarnation },
    /// The sender ends so that its successor, perhaps of a newer release, takes over what it runs. Protocol 2.
    Restarting { at: Time, incarnation: Incarnation },
    /// The sender runs nothing and leaves. Lawful only if the state agrees.
    Goodbye { incarnation: Incarnation },
}

/// Who I am.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Different for every hello of one incarnation, so that a snapshot answers exactly one of them.
    pub nonce: u64,
    pub at: Time,
    pub view: ViewTag,
    pub incarnation: Incarnation,
    pub boot: BootId,
    pub protocol: u8,
    /// Set if the sender holds a state.
    pub state: Option<StateTag>,
    /// What runs on the sender, as far as the agents say.
    pub claims: BTreeMap<ServiceName, Claim>,
    /// Only of a sender without state: the cluster.conf on its disk.
    pub conf: Option<ConfText>,
    pub intents: Option<Intents>,
}

/// How much of a service a joiner found running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Claim {
    /// Something runs or may run; it must be stopped.
    Part,
    /// Every resource runs; it may be taken over.
    Full,
}

/// Enough of a state to tell which of two histories goes on (design law 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateTag {
    pub branch: Branch,
    pub history: u64,
    /// The sender was quorate before this membership.
    pub was_quorate: bool,
    /// The last ring in which it was quorate with this state; 0 if it never was.
    pub quorate_ring: u64,
    /// Lawful decisions applied so far.
    pub decided: u64,
    /// Lowest node that shares the sender's state.
    pub lowest: NodeId,
}

/// A decision with the view it was made in and its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decide {
    pub view: ViewTag,
    pub branch: Branch,
    pub at: Time,
    /// Members that had become clean when it was decided: who came later was not considered.
    pub joins: u64,
    pub decision: Decision,
    pub reason: Reason,
}

/// What a coordinator can decide. `epoch` is the epoch the service had when it was decided: another one at delivery
/// makes the decision outdated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// `on` starts the service.
    Start { service: ServiceName, epoch: Epoch, on: NodeId },
    /// The holder stops it; afterwards it is as `after` says.
    Stop { service: ServiceName, epoch: Epoch, after: AfterStop },
    /// The holder moves the running service to `to`. Protocol 2.
    Migrate { service: ServiceName, epoch: Epoch, to: NodeId },
    /// What an operator asked of the service cannot be done any more. Protocol 2.
    Decline { service: ServiceName, epoch: Epoch },
    /// Nobody holds it and nobody shall: its state becomes `stopped` or `disabled`.
    Settle { service: ServiceName, epoch: Epoch, state: ServiceState },
    /// `by` fences `victim` with the method of this index. Makes the node a victim if it was not yet.
    Fence { victim: NodeId, by: NodeId, method: u32, attempt: u32 },
    /// The node is a victim, but cluster.conf names no way to fence it.
    Unfenceable { victim: NodeId },
    /// The node counts as down without fencing (`clean_start`, `skip_undefined`).
    Assume { node: NodeId, how: FencedHow },
    /// The offered configuration is in force from here on.
    Switch { version: ConfVersion, digest: ConfDigest },
}

/// What a service becomes once it is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AfterStop {
    /// Stays stopped until the next membership or configuration change.
    Stopped,
    Disabled,
    /// Started elsewhere or here again, as its recovery policy says.
    Recover,
    /// Started on another node, the named one first.
    Relocate {
        to: Option<NodeId>,
    },
    /// Started on the same node again.
    Restart {
        on: NodeId,
    },
    /// Stays stopped until the service that it depends on has started.
    Wait,
    /// Forgotten; it is no longer in the configuration.
    Removed,
}

/// What came of a duty of the holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub at: Time,
    pub incarnation: Incarnation,
    pub service: ServiceName,
    pub epoch: Epoch,
    pub outcome: ReportOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReportOutcome {
    Started,
    StartFailed {
        failure: Failure,
    },
    Stopped,
    StopFailed {
        failure: Failure,
    },
    /// A resource that should run does not.
    CheckFailed {
        failure: Failure,
    },
    /// Stopped because quorum was lost.
    StoppedInquorate,
    /// It has left this node for the other one of its migration. Protocol 2.
    Migrated,
    /// The migration did not work, on the node that was to give or on the one that was to get. Protocol 2.
    MigrationFailed {
        failure: Failure,
    },
    /// A check failed, which `__max_failures` tolerates.
    Tolerated {
        failure: Failure,
        count: u32,
        max: u32,
    },
    /// An independent subtree, named by its top, does not run as it should; the service goes on.
    PartFailed {
        part: ResourceName,
        failure: Failure,
        remedy: PartRemedy,
    },
    /// An independent subtree has been restarted in place.
    PartRestarted {
        part: ResourceName,
    },
    /// These non-critical parts, and no others, are stopped from now on.
    PartsStopped {
        parts: BTreeSet<ResourceName>,
    },
    /// The parts that were stopped have been tried again for this request; these are stopped still.
    Convalesced {
        request: RequestId,
        stopped: BTreeSet<ResourceName>,
    },
}

/// What is done about a part that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartRemedy {
    /// It is stopped and started again in place.
    Restart,
    /// It is stopped and stays so.
    Stop,
    /// Its restart failed; its next check decides.
    Check,
}

/// What came of a fencing attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceReport {
    pub at: Time,
    pub victim: NodeId,
    pub attempt: u32,
    pub succeeded: bool,
    pub devices: Vec<FenceDeviceRun>,
    /// corosync no longer had the victim when the agent was done.
    pub witnessed_gone: bool,
}

/// Why a payload is not a message.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("message of {0} bytes is larger than {MESSAGE_MAX_BYTES}")]
    TooLarge(usize),
    #[error("message is empty")]
    Empty,
    #[error("message has wire form {0}, this release reads {WIRE}")]
    Protocol(u8),
    #[error("message cannot be read")]
    Unreadable(#[source] serde_json::Error),
}

impl Message {
    /// The bytes that travel.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![WIRE];
        // Every field is a plain value with string keys, which serde_json can always write into memory.
        if let Err(error) = serde_json::to_writer(&mut bytes, self) {
            unreachable!("a message is always serialisable: {error}");
        }
        bytes
    }

    /// The lowest protocol that knows this kind of message.
    pub fn protocol(&self) -> u8 {
        match self {
            Self::SnapshotPiece { .. } | Self::Restarting { .. } => 2,
            Self::Decide(decide) => match decide.decision {
                Decision::Migrate { .. } | Decision::Decline { .. } => 2,
                _ => 1,
            },
            Self::Report(report) => match report.outcome {
                ReportOutcome::Migrated | ReportOutcome::MigrationFailed { .. } => 2,
                _ => 1,
            },
            _ => 1,
        }
    }

    /// Reads what came over the wire.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MESSAGE_MAX_BYTES {
            return Err(DecodeError::TooLarge(bytes.len()));
        }
        match bytes.split_first() {
            None => Err(DecodeError::Empty),
            Some((&WIRE, body)) => serde_json::from_slice(body).map_err(DecodeError::Unreadable),
            Some((&other, _)) => Err(DecodeError::Protocol(other)),
        }
    }
}
