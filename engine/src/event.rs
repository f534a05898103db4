//! The doors of the engine: everything that can happen to it, and everything it can want done. Two closed lists.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shared::conf::finding::Finding;
use shared::conf::model::{FenceMethod, Resource, Service};
use shared::ids::{BootId, ConfDigest, ConfVersion, NodeId, NodeName, RequestId, ResourceName, ServiceName};
use shared::socket::PutConf;
use shared::status::{Answer, Fact, FenceDeviceRun, Outcome, Request};

use crate::message::{ConfText, Incarnation, Intents, Message};

/// Something happened. Any event may come at any time; none is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// When the daemon starts; the first event, once. `conf` is the cluster.conf on disk, `intents` the file kept beside it,
    /// `started` what `Action::KeepStarted` has kept since this node booted.
    Booted {
        node: NodeId,
        incarnation: Incarnation,
        boot: BootId,
        conf: ConfText,
        intents: Option<Intents>,
        started: BTreeMap<ServiceName, Vec<Service>>,
    },
    /// When CPG announces a membership of the group `rgmanager`. Sent for every confchg callback, in stream order.
    MembershipChanged { members: Vec<GroupMember>, left: Vec<(GroupMember, LeftReason)>, joined: Vec<GroupMember> },
    /// When CPG announces the totem ring under the group, in stream order (after the confchg that belongs to it).
    RingChanged { ring_seq: u64, members: Vec<NodeId> },
    /// When the quorum service speaks. It comes on another channel, so the engine matches it to the ring by `ring_seq`.
    QuorumChanged {
        ring_seq: u64,
        quorate: bool,
        votes: Option<u32>,
        votes_expected: Option<u32>,
        members: Vec<NodeId>,
    },
    /// When a message that was multicast to the group is delivered, own ones included. Messages that cannot be decoded are
    /// dropped by the driver with a log line.
    Delivered { from: NodeId, message: Box<Message> },
    /// When a run that the engine asked for has ended; `code` is `None` if it was killed (timeout, abort) or could not be started.
    RunFinished { id: RunId, code: Option<i32>, output: String },
    /// When a fence method that the engine asked for has ended.
    FenceFinished { id: FenceId, succeeded: bool, devices: Vec<FenceDeviceRun> },
    /// When an operator asks for something on this node. Answered by `Action::Answer`, later `Action::Finish`.
    RequestReceived { request: Request },
    /// When somebody hands this node a new cluster.conf for the whole cluster. Answered by `Action::AnswerConf`.
    ConfOffered { offer: OfferId, text: String, origin: String },
    /// When the driver has stored (fsync) an offered configuration, or could not.
    ConfStored { version: ConfVersion, digest: ConfDigest, stored: Result<(), String> },
    /// When the kernel says that something happened to a resource that runs here: its check is due now. `evidence`: it leaves
    /// no doubt (the very address is gone); then that counts as the failed check, in these words.
    Noticed { service: ServiceName, resource: ResourceName, evidence: Option<String> },
    /// When the daemon was told to stop: services move away, then the node says goodbye. Ends with `Action::Exit`.
    LeaveRequested,
    /// When the daemon shall be replaced: it finishes what its agents are doing, leaves everything running, and ends with
    /// `Action::Exit`. Its successor asks the agents what runs and takes it over.
    RestartRequested,
    /// When `next_timeout` has come.
    TimePassed,
    /// When the connection to corosync broke: this node cannot know anything any more. All services are stopped, then
    /// `Action::Exit`.
    CorosyncLost,
}

/// One process in the CPG group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupMember {
    pub node: NodeId,
    pub pid: u32,
}

/// Why a process is no longer in the group, in CPG's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeftReason {
    /// The process left by itself.
    Leave,
    /// corosync lost the node.
    NodeDown,
    /// The process died; corosync still has the node.
    ProcessDown,
}

/// Names one run of an agent on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId(pub u64);

/// Names one fencing attempt that this node carries out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FenceId {
    pub victim: NodeId,
    pub attempt: u32,
}

/// Names one local `ConfOffered`; made by the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OfferId(pub u64);

/// What an agent is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    Start,
    Stop,
    Monitor,
    /// Move what runs here to `Run::peer`, without stopping it.
    MigrateTo,
    /// Find out whether what came from `Run::peer` runs here now, and take it on.
    MigrateFrom,
}

impl Operation {
    /// The word the agent gets and the log shows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Monitor => "monitor",
            Self::MigrateTo => "migrate_to",
            Self::MigrateFrom => "migrate_from",
        }
    }
}

/// One execution of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub service: ServiceName,
    pub resource: Resource,
    pub operation: Operation,
    /// `OCF_CHECK_LEVEL`; 0 unless a deeper check is due.
    pub depth: u32,
    /// The other node of a migration.
    pub peer: Option<NodeName>,
}

/// Something to be done, by the driver of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Join the CPG group; the node has found out what runs on it.
    JoinGroup,
    /// Leave the CPG group; the goodbye has been delivered.
    LeaveGroup,
    /// Multicast to the group, in the order of the actions.
    Multicast(Box<Message>),
    /// Run an agent; answer by `RunFinished`. The timeout is the declared one of the resource's operation.
    RunAgent { id: RunId, run: Box<Run> },
    /// Kill the process group of a run; `RunFinished` still comes.
    AbortRun { id: RunId },
    /// Run all devices of a fence method in order; answer by `FenceFinished`.
    RunFence { id: FenceId, victim: NodeName, method: FenceMethod },
    /// Reboot this node at once, without stopping anything: the others count on these services not running here any more.
    Reboot { services: Vec<ServiceName>, reason: RebootReason },
    /// Write an offered configuration beside the current one and fsync; answer by `ConfStored`.
    StoreConf { conf: ConfText },
    /// A stored configuration is in force from here on: make it the cluster.conf, render corosync.conf from it; if
    /// `reload_corosync`, tell corosync to reload (exactly one member is asked to).
    SwitchConf { conf: ConfText, reload_corosync: bool },
    /// Tell corosync to read its configuration again, here and on all members: who was asked to may be gone.
    ReloadCorosync,
    /// Keep which trees of a service may run here, until the node reboots; none: nothing of it does. It comes before the start
    /// that it tells of, so that a daemon which takes this one's place also finds what cluster.conf no longer names. More
    /// than one while a tree is being replaced by another.
    KeepStarted { service: ServiceName, trees: Vec<Arc<Service>> },
    /// Keep the administrators' intents; atomically, but nobody waits for it.
    SaveIntents(Intents),
    /// The immediate answer to `RequestReceived`.
    Answer { id: RequestId, answer: Answer },
    /// An accepted request has ended. Comes on every member; who has nobody waiting drops it.
    Finish { id: RequestId, outcome: Outcome },
    /// The answer to `ConfOffered`.
    AnswerConf { offer: OfferId, result: PutConf },
    /// Something worth a log line and a place in the timeline happened.
    Publish(Fact),
    /// `Engine::status` is different now. At most one per `handle`, last.
    StatusChanged,
    /// The daemon has nothing more to do.
    Exit { reason: ExitReason },
}

/// Why a node reboots itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RebootReason {
    /// It lost quorum and could not stop them within `quorum_loss_reboot` of cluster.conf.
    QuorumLost,
    /// A resource did not stop and has `self_fence`, or its service has `hardrecovery`.
    StopFailed { resource: ResourceName },
}

/// Why the engine wants to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitReason {
    /// `LeaveRequested` has been carried out.
    Left,
    /// `RestartRequested` has been carried out: a successor must be started, what runs here waits for it.
    Restart,
    /// corosync is gone and everything here is stopped (or failed to stop: named).
    CorosyncLost { failed_to_stop: Vec<ServiceName> },
    /// The cluster.conf on disk cannot be used.
    ConfUnusable { findings: Vec<Finding> },
}
