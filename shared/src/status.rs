//! What is the case in a cluster, as one member knows it: made by the engine, carried unchanged through the control
//! socket, ricci and luci, drawn by `clustat` and the pages. Three-valued where truth can be unknown.

use serde::{Deserialize, Serialize};

use crate::ids::{BootId, ConfDigest, ConfVersion, NodeId, NodeName, RequestId, ResourceName, ServiceName, Time};
use crate::text::{ResultCode, ServiceState, ocf_meaning};
use crate::watch::Watch;

/// The whole cluster as one member sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// `/cluster/@name`.
    pub cluster: String,
    /// When this was made.
    pub at: Time,
    /// The member that made it.
    pub local: NodeId,
    /// What the local daemon is.
    pub phase: Phase,
    /// The configuration in force; `None` before the member has joined.
    pub conf: Option<ConfInForce>,
    pub quorum: Quorum,
    /// The member that decides.
    pub coordinator: Option<NodeId>,
    /// `clusvcadm -l`: starts and failover are blocked.
    pub locked: bool,
    /// Every node of cluster.conf, and members that are not in it; by id.
    pub nodes: Vec<NodeStatus>,
    /// By name.
    pub services: Vec<ServiceStatus>,
    /// Nodes for whose fencing everything waits; empty when nothing waits.
    pub waits_for_fencing_of: Vec<NodeName>,
}

/// How far the local daemon has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Asks the agents what runs here before it joins.
    Probing,
    /// In the group, without the state yet.
    Joining,
    /// Holds the state, still stops what it may not run.
    Cleaning,
    /// Holds the state and may be given services.
    Member,
    /// Said goodbye; stops.
    Leaving,
}

/// Version and digest of the configuration all members use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfInForce {
    pub version: ConfVersion,
    pub digest: ConfDigest,
}

/// What corosync says of quorum. Votes are `None` while it has not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Quorum {
    pub quorate: bool,
    pub votes: Option<u32>,
    pub votes_expected: Option<u32>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    pub id: NodeId,
    pub name: NodeName,
    /// Listed in cluster.conf; a member that is not is "Estranged".
    pub configured: bool,
    pub local: bool,
    /// corosync has it in its membership.
    pub online: bool,
    /// Its rgmanager.
    pub member: Membership,
    pub boot_id: Option<BootId>,
    /// The configuration it has stored.
    pub conf_version: Option<ConfVersion>,
    /// Set while the node is a victim.
    pub fencing: Option<FencingStatus>,
    /// The last completed fencing of it that this member knows of.
    pub last_fenced: Option<FenceOutcome>,
    /// Of every configured method, in order, what is known of its working.
    #[serde(default)]
    pub fence_proofs: Vec<FenceProof>,
    /// An operator has put it in standby: it gives its services away and gets none.
    #[serde(default)]
    pub standby: bool,
    /// What its rgmanager is told of when it happens, and what not; known of the local node only, else empty.
    #[serde(default)]
    pub watches: Vec<Watch>,
}

/// What the group knows of a node's rgmanager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Membership {
    /// Not in the group and nothing is due for it: it left cleanly, was fenced, or never joined.
    Absent,
    /// In the group, not yet allowed to run anything.
    Joining,
    Member,
    /// Lost without a goodbye; corosync still has the node, a restarted daemon may take its services over.
    Grace,
    /// Lost without a goodbye; nothing that it may hold starts anywhere before its fate is known.
    Lost,
    /// Being fenced.
    Victim,
}

/// How far the fencing of a victim is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FencingStatus {
    pub since: Time,
    /// Counts from 1 over all methods.
    pub attempt: u32,
    pub step: FencingStep,
    /// Who carries out the attempt.
    pub by: Option<NodeName>,
    /// Method of this attempt.
    pub method: Option<String>,
    /// What the last finished attempt came to.
    pub last: Option<FenceAttempt>,
    /// One sentence: what the administrator can do.
    pub advice: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FencingStep {
    /// A delay runs (post_fail_delay, post_join_delay, two-node head start, pause after a failed round).
    Waiting,
    /// An agent runs.
    Running,
    /// cluster.conf names no way to fence this node: only an acknowledgement by hand helps.
    NoMethod,
    /// The members left have no quorum: nobody may fence.
    NoQuorum,
    /// An agent has said that it is done, and `require_witness` asks for more: the node has to come back freshly booted,
    /// or an operator has to vouch for it.
    Unwitnessed,
}

/// A proof of a fence method is believed this long, in milliseconds: devices, firmware, cables and passwords change unseen.
pub const FENCE_PROOF_LIFE_MS: u64 = 90 * 24 * 3600 * 1000;

/// What is known of one fence method of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceProof {
    pub method: String,
    pub verdict: FenceVerdict,
    /// When the verdict was reached; `None` if it was never tried.
    pub at: Option<Time>,
    /// Who ran the agent.
    pub by: Option<NodeName>,
}

impl FenceProof {
    /// Until when a proof is believed; `None` if there is none.
    pub fn believed_until(&self) -> Option<Time> {
        let proven = self.at.filter(|_| self.verdict == FenceVerdict::Proven)?;
        Some(Time(proven.0.saturating_add(FENCE_PROOF_LIFE_MS)))
    }
}

/// Whether a fence method works. An agent's exit code is a claim, not a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FenceVerdict {
    /// Never tried with these devices.
    Untried,
    /// The agent failed.
    Failed,
    /// The agent said so, and nobody has seen it.
    Claimed,
    /// The agent said so, and the node came back with the boot id it had: it was not reset.
    Disproved,
    /// The agent said so, and the node came back with another boot id.
    Proven,
}

/// One finished attempt with one method.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FenceAttempt {
    pub at: Time,
    pub by: NodeName,
    pub method: String,
    pub attempt: u32,
    pub succeeded: bool,
    /// Per device run, in order; stops at the first failure.
    pub devices: Vec<FenceDeviceRun>,
}

/// One run of a fence agent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FenceDeviceRun {
    pub device: String,
    pub agent: String,
    /// Exit code; `None` if it had to be killed or could not be started.
    pub code: Option<i32>,
    /// The last lines the agent printed, secrets masked.
    pub output: String,
    pub duration_ms: u64,
}

/// How the fencing of a node ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FenceOutcome {
    pub at: Time,
    pub how: FencedHow,
    /// corosync no longer had the node when it was called fenced.
    pub witnessed_gone: bool,
    /// It came back with another boot id afterwards; `None` until it comes back.
    pub witnessed_reboot: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "kebab-case")]
pub enum FencedHow {
    /// By a method of cluster.conf.
    Agent { by: NodeName, method: String },
    /// An operator vouched for it (`fence_ack_manual`).
    Acknowledged { origin: String },
    /// It came back freshly booted before its turn.
    Rebooted,
    /// `clean_start` or `skip_undefined` said so.
    Assumed,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    pub name: ServiceName,
    pub state: ServiceState,
    pub frozen: bool,
    pub partial: bool,
    /// Holds it now.
    pub owner: Option<NodeName>,
    pub last_owner: Option<NodeName>,
    pub restarts: u32,
    /// `None`: never changed since the cluster was formed.
    pub last_transition: Option<Time>,
    /// Why it is in this state.
    pub reason: Reason,
    /// Why it does not go on, when it should.
    pub waits_for: Option<Reason>,
    /// The operator's request that is being carried out.
    pub request: Option<RequestStatus>,
    /// The last thing that failed, kept until the service starts again.
    pub failure: Option<Failure>,
    /// In start order, as the owner reports them; empty when nobody runs it.
    pub resources: Vec<ResourceStatus>,
}

/// A request in progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestStatus {
    pub id: RequestId,
    pub command: Command,
    pub origin: String,
    pub since: Time,
}

/// One resource in a service's tree.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ResourceStatus {
    pub name: ResourceName,
    /// Nesting depth in the tree; 0 at the top.
    pub depth: u32,
    pub state: ResourceState,
    /// When it came into this state.
    pub at: Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResourceState {
    Stopped,
    Starting,
    Started,
    Stopping,
    Failed,
}

/// What an agent said when it failed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Failure {
    pub at: Time,
    pub node: NodeName,
    pub resource: ResourceName,
    /// `start`, `stop`, `monitor`.
    pub operation: String,
    /// Exit code; `None`: killed after its timeout, or could not be started.
    pub code: Option<i32>,
    /// The agent's last lines, or why it could not be run.
    pub output: String,
}

impl Failure {
    /// The line that admins search first (rhcs.md §3.7).
    pub fn text(&self) -> String {
        let (kind, name) = self.resource.0.split_once(':').unwrap_or(("", &self.resource.0));
        match self.code {
            Some(code) => {
                format!("{} on {} \"{}\" returned {} ({})", self.operation, kind, name, code, ocf_meaning(code))
            }
            None => format!("{} on {} \"{}\" timed out or could not be run", self.operation, kind, name),
        }
    }
}

/// What an operator can ask of a running cluster (rhcs.md §2.1). Answered accepted or refused at once; the
/// outcome follows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// `-e`: start; on the given node, or (`by_domain`, `-F`) where the failover domain wants it.
    Enable {
        service: ServiceName,
        on: Option<NodeName>,
        #[serde(default)]
        by_domain: bool,
    },
    /// `-d`.
    Disable { service: ServiceName },
    /// `-s`.
    Stop { service: ServiceName },
    /// `-R`.
    Restart { service: ServiceName },
    /// `-r`.
    Relocate { service: ServiceName, to: Option<NodeName> },
    /// `-M`.
    Migrate { service: ServiceName, to: NodeName },
    /// `-Z`.
    Freeze { service: ServiceName },
    /// `-U`.
    Unfreeze { service: ServiceName },
    /// `-c`.
    Convalesce { service: ServiceName },
    /// `-l`.
    Lock,
    /// `-u`.
    Unlock,
    /// Fence a node because an operator wants it.
    Fence { node: NodeName },
    /// `fence_ack_manual`: the operator vouches that the node is down.
    AcknowledgeFence { node: NodeName },
    /// The node gives its services away and gets none until `Unstandby`; they remember it.
    Standby { node: NodeName },
    /// The node takes services again, and those that standby drove away return.
    Unstandby { node: NodeName },
}

impl Command {
    /// The service it is about.
    pub fn service(&self) -> Option<&ServiceName> {
        match self {
            Self::Enable { service, .. }
            | Self::Disable { service }
            | Self::Stop { service }
            | Self::Restart { service }
            | Self::Relocate { service, .. }
            | Self::Migrate { service, .. }
            | Self::Freeze { service }
            | Self::Unfreeze { service }
            | Self::Convalesce { service } => Some(service),
            Self::Lock
            | Self::Unlock
            | Self::Fence { .. }
            | Self::AcknowledgeFence { .. }
            | Self::Standby { .. }
            | Self::Unstandby { .. } => None,
        }
    }

    /// The verb of `clusvcadm`.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Enable { .. } => "enable",
            Self::Disable { .. } => "disable",
            Self::Stop { .. } => "stop",
            Self::Restart { .. } => "restart",
            Self::Relocate { .. } => "relocate",
            Self::Migrate { .. } => "migrate",
            Self::Freeze { .. } => "freeze",
            Self::Unfreeze { .. } => "unfreeze",
            Self::Convalesce { .. } => "convalesce",
            Self::Lock => "lock",
            Self::Unlock => "unlock",
            Self::Fence { .. } => "fence",
            Self::AcknowledgeFence { .. } => "acknowledge-fence",
            Self::Standby { .. } => "standby",
            Self::Unstandby { .. } => "unstandby",
        }
    }
}

/// A command with its id and who asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Request {
    pub id: RequestId,
    pub command: Command,
    /// Who asked, for the log: `root@node1`, `admin via luci`.
    pub origin: String,
}

/// The immediate answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    Accepted,
    Refused(Refusal),
}

/// Why a request is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Refusal {
    pub code: ResultCode,
    /// What is in the way and what to do, beyond the code's own text.
    pub text: String,
}

/// What became of an accepted request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Outcome {
    pub code: ResultCode,
    /// Where the service runs afterwards.
    pub owner: Option<NodeName>,
    pub text: String,
}

/// Something that happened, worth a line in the log and the timeline.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fact {
    pub at: Time,
    pub subject: Subject,
    pub severity: FactSeverity,
    /// Stable word for filters and phases of a failover, e.g. `node-lost`, `fence-decided`, `fenced`, `service-started`.
    pub kind: FactKind,
    /// What happened, in one sentence.
    pub text: String,
    pub reason: Option<Reason>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "about", content = "name", rename_all = "kebab-case")]
pub enum Subject {
    Cluster,
    Node(NodeName),
    Service(ServiceName),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FactSeverity {
    Info,
    Warning,
    Error,
}

/// The kinds of facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FactKind {
    ClusterFormed,
    QuorumLost,
    QuorumRegained,
    CoordinatorChanged,
    NodeJoined,
    NodeLeft,
    NodeLost,
    NodeForgiven,
    /// It was put in standby, or that was ended.
    NodeStandby,
    FenceDecided,
    FenceFailed,
    /// An agent has said that it is done, and cluster.conf asks for a witness.
    FenceUnwitnessed,
    /// A node that an agent had called fenced has come back without having rebooted.
    FenceDisproved,
    Fenced,
    ServiceStarting,
    ServiceStarted,
    ServiceStopping,
    ServiceStopped,
    ServiceRecovering,
    ServiceFailed,
    ServiceDisabled,
    ServiceMigrating,
    ServiceFrozen,
    ServiceUnfrozen,
    ServiceWaits,
    ResourceFailed,
    /// An independent subtree was restarted in place.
    PartRestarted,
    /// Which non-critical parts of a service are stopped has changed.
    ServicePartial,
    RequestAccepted,
    RequestRefused,
    RequestDone,
    ConfStored,
    ConfInForce,
    /// A node has brought a newer cluster.conf that cannot come into force.
    ConfRefused,
    DecisionIgnored,
    StoppedForeign,
    /// A node brings back an intent that this history of the cluster never heard of.
    IntentUnheard,
}

/// Why something is as it is: data, so that every program can say it in its own way; `text` is the English of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum Reason {
    /// Nothing has happened to it yet.
    New,
    /// `autostart` and the cluster has formed or the service is new.
    Autostart,
    /// An operator has enabled it by hand, whatever `autostart` says.
    EnabledByHand,
    /// A node that may run it has become free for an exclusive service, or of one.
    NodeFree,
    /// `autostart="0"`.
    NoAutostart,
    /// An intent kept from before: disabled by an operator.
    KeptDisabled,
    Requested {
        verb: String,
        origin: String,
    },
    /// The owner said goodbye.
    OwnerLeft {
        node: NodeName,
    },
    /// The owner was lost and is fenced now.
    OwnerFenced {
        node: NodeName,
    },
    /// The owner was lost, and is known to be down in another way than by a fence agent.
    OwnerDown {
        node: NodeName,
        how: FencedHow,
    },
    CheckFailed {
        node: NodeName,
        resource: ResourceName,
    },
    StartFailed {
        node: NodeName,
        resource: ResourceName,
    },
    StopFailed {
        node: NodeName,
        resource: ResourceName,
    },
    /// It could not move to the node while running.
    MigrationFailed {
        to: NodeName,
    },
    /// Its owner was put in standby.
    Standby {
        node: NodeName,
    },
    /// The node from which standby drove it away is online again.
    HomeAgain {
        node: NodeName,
    },
    /// A node that the failover domain likes better has joined.
    BetterNode {
        node: NodeName,
    },
    /// `max_restarts` within `restart_expire_time` are used up.
    RestartsUsedUp {
        max: u32,
    },
    RecoveryPolicy {
        policy: crate::conf::model::Recovery,
    },
    ConfChanged {
        version: ConfVersion,
    },
    /// Taken out of cluster.conf.
    Removed,
    NotQuorate,
    FencingPending {
        nodes: Vec<NodeName>,
    },
    /// The failover domain is restricted and none of its nodes is a member.
    NoNodeAllowed,
    /// Every node that may run it failed to start it.
    NoNodeLeft {
        tried: Vec<NodeName>,
    },
    ExclusiveConflict,
    /// An exclusive service of higher priority needs its place (`central_processing`).
    Evicted {
        by: ServiceName,
    },
    Locked,
    Frozen,
    /// `depend`.
    DependencyMissing {
        service: ServiceName,
    },
    /// A joining node says that it runs this service and has not stopped it yet.
    ClaimedBy {
        node: NodeName,
    },
    /// A daemon took over what already ran on its node.
    TakenOver {
        node: NodeName,
    },
    NodeLost {
        node: NodeName,
    },
    /// Where it was placed, and what decided: see `placement`.
    Placed {
        node: NodeName,
        because: Box<Reason>,
        placement: Placement,
    },
}

/// What made a node the one chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    Requested,
    OnlyNode,
    DomainScore,
    FewestServices,
    LowestId,
    SameNode,
}

impl Reason {
    /// The reason as an English clause that can follow "because".
    pub fn text(&self) -> String {
        match self {
            Self::New => "nothing has been asked of it yet".into(),
            Self::Autostart => "autostart is on".into(),
            Self::EnabledByHand => "it was enabled by hand".into(),
            Self::NodeFree => "a node has become free for it".into(),
            Self::NoAutostart => "autostart is off".into(),
            Self::KeptDisabled => "it was disabled before and stays disabled".into(),
            Self::Requested { verb, origin } => format!("{verb} was requested by {origin}"),
            Self::OwnerLeft { node } => format!("{node} left the cluster"),
            Self::OwnerFenced { node } => format!("its owner {node} was lost and has been fenced"),
            Self::OwnerDown { node, how } => match how {
                FencedHow::Agent { .. } => format!("its owner {node} was lost and has been fenced"),
                FencedHow::Acknowledged { origin } => {
                    format!("its owner {node} was lost, and {origin} vouches that it is down")
                }
                FencedHow::Rebooted => format!("its owner {node} was lost and has rebooted"),
                FencedHow::Assumed => format!("its owner {node} is assumed to be down, as cluster.conf says"),
            },
            Self::CheckFailed { node, resource } => format!("the check of {resource} failed on {node}"),
            Self::StartFailed { node, resource } => format!("{resource} did not start on {node}"),
            Self::StopFailed { node, resource } => format!(
                "{resource} did not stop on {node}; make sure that it is stopped there, then disable and enable the service"
            ),
            Self::MigrationFailed { to } => format!(
                "it could not migrate to {to}, and where its guest is must be looked at: see that it runs on no node, then disable and enable the service"
            ),
            Self::Standby { node } => format!("{node} was put in standby"),
            Self::HomeAgain { node } => format!("{node}, where it came from, is online again"),
            Self::BetterNode { node } => format!("its failover domain prefers {node}"),
            Self::RestartsUsedUp { max } => format!("it was restarted {max} times within the allowed time"),
            Self::RecoveryPolicy { policy } => {
                let policy = match policy {
                    crate::conf::model::Recovery::Restart => "restart",
                    crate::conf::model::Recovery::Relocate => "relocate",
                    crate::conf::model::Recovery::Disable => "disable",
                    crate::conf::model::Recovery::RestartDisable => "restart-disable",
                };
                format!("its recovery policy is {policy}")
            }
            Self::ConfChanged { version } => format!("configuration {version} changed it"),
            Self::Removed => "it is no longer in the configuration".into(),
            Self::NotQuorate => "there is no quorum".into(),
            Self::FencingPending { nodes } => format!("{} must be fenced first", join(nodes)),
            Self::NoNodeAllowed => "no node that its failover domain allows is a member".into(),
            Self::NoNodeLeft { tried } => format!("it did not start on {}", join(tried)),
            Self::ExclusiveConflict => {
                "every node that may run it is taken, and an exclusive service shares its node with none".into()
            }
            Self::Evicted { by } => format!("it makes room for {by}, an exclusive service of higher priority"),
            Self::Locked => "services are locked (clusvcadm -u unlocks them)".into(),
            Self::Frozen => "it is frozen (clusvcadm -U unfreezes it)".into(),
            Self::DependencyMissing { service } => format!("{service}, on which it depends, is not started"),
            Self::ClaimedBy { node } => format!("{node} runs it without being allowed to and is stopping it"),
            Self::TakenOver { node } => format!("it was already running on {node} when the daemon there started"),
            Self::NodeLost { node } => format!("{node} was lost"),
            // The reason names the node already.
            Self::Placed { because, .. } if matches!(**because, Self::BetterNode { .. } | Self::HomeAgain { .. }) => {
                because.text()
            }
            Self::Placed { node, because, placement } => {
                let why = match placement {
                    Placement::Requested => "was asked for",
                    Placement::OnlyNode => "is the only node that may run it",
                    Placement::DomainScore => "is preferred by its failover domain",
                    Placement::FewestServices => "runs the fewest services",
                    Placement::LowestId => "has the lowest node id among equals",
                    Placement::SameNode => "had it before",
                };
                format!("{}; {node} {why}", because.text())
            }
        }
    }
}

fn join(nodes: &[NodeName]) -> String {
    nodes.iter().map(NodeName::as_str).collect::<Vec<_>>().join(", ")
}

/// Where in a member's stream of changes a reader is: `stream` changes when the daemon starts anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamPosition {
    pub stream: String,
    pub sequence: u64,
}

/// One item of the status stream (control socket `watch`, ricci `/v1/status/stream`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "item", rename_all = "kebab-case")]
pub enum StreamItem {
    /// Everything; first item unless the reader's position is still in the buffer. `facts` are the recent ones, oldest first.
    Whole { position: StreamPosition, status: Box<ClusterStatus>, facts: Vec<Fact> },
    /// What changed since the item before. `head` is the status without nodes and services (both lists empty).
    Change {
        position: StreamPosition,
        head: Box<ClusterStatus>,
        nodes: Vec<NodeStatus>,
        nodes_removed: Vec<NodeId>,
        services: Vec<ServiceStatus>,
        services_removed: Vec<ServiceName>,
        facts: Vec<Fact>,
    },
    /// Nothing happened for a while; sent every few seconds so that a reader can tell silence from a dead link.
    Alive { position: StreamPosition },
}

impl ClusterStatus {
    /// Brings a copy up to date with one stream item (what `luci`'s watcher and `clustat -i` do).
    pub fn apply(&mut self, item: &StreamItem) {
        match item {
            StreamItem::Whole { status, .. } => self.clone_from(status),
            StreamItem::Change { head, nodes, nodes_removed, services, services_removed, .. } => {
                let mut next = (**head).clone();
                next.nodes = merge(&self.nodes, nodes, nodes_removed, |node| node.id);
                next.services = merge(&self.services, services, services_removed, |service| service.name.clone());
                *self = next;
            }
            StreamItem::Alive { .. } => {}
        }
    }

    /// The node with this name.
    pub fn node(&self, name: &NodeName) -> Option<&NodeStatus> {
        self.nodes.iter().find(|node| &node.name == name)
    }

    /// The service with this full name.
    pub fn service(&self, name: &ServiceName) -> Option<&ServiceStatus> {
        self.services.iter().find(|service| &service.name == name)
    }
}

fn merge<T: Clone, K: Ord>(old: &[T], changed: &[T], removed: &[K], key: impl Fn(&T) -> K) -> Vec<T> {
    let mut all: std::collections::BTreeMap<K, T> = old.iter().map(|entry| (key(entry), entry.clone())).collect();
    all.extend(changed.iter().map(|entry| (key(entry), entry.clone())));
    for gone in removed {
        all.remove(gone);
    }
    all.into_values().collect()
}
