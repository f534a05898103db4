//! The HTTP interface of ricci, `/v1`: paths, bodies and errors. luci's `ricci_client` and ricci's handlers are both
//! written against these types, so that they cannot drift apart.
//!
//! TLS from the first byte. `ALIVE` and `PAIR` are open; everything else needs a client certificate that was pinned by
//! pairing.

use serde::{Deserialize, Serialize};

use crate::agents::metadata::Complaint;
use crate::conf::delta::Delta;
use crate::conf::finding::Finding;
use crate::ids::{BootId, ConfDigest, ConfVersion, NodeName};
use crate::status::Refusal;
use crate::watch::Watch;

/// TCP port of ricci.
pub const PORT: u16 = 11111;

/// Paths. Methods are named beside them.
pub mod path {
    /// How a ricci begins to say that it has no such path: it is of an earlier release than who asks. Every release says it.
    pub const NONE: &str = "there is no path ";
    /// GET, open → `Alive`.
    pub const ALIVE: &str = "/v1/alive";
    /// POST `PairRequest`, open → `Paired`. DELETE: forget the caller's certificate.
    pub const PAIR: &str = "/v1/pair";
    /// GET → `NodeReport`.
    pub const NODE: &str = "/v1/node";
    /// GET → `ClusterStatus`; 503 `cluster-not-running` when rgmanager does not run.
    pub const STATUS: &str = "/v1/status";
    /// GET → lines of JSON `StreamItem`, for ever. Query: `stream`, `sequence` to resume.
    pub const STATUS_STREAM: &str = "/v1/status/stream";
    /// POST `Request` → 202 `Accepted`, or 409 `Problem` with the refusal.
    pub const REQUESTS: &str = "/v1/requests";
    /// GET `/v1/requests/{id}`: waits (bounded) and → `Outcome`, or 204 when not ended yet.
    pub const REQUEST: &str = "/v1/requests/{id}";
    /// GET → `ConfDocument`. PUT `PutConf` → 202 `ConfAccepted`, or 422 `Problem` with findings.
    pub const CONF: &str = "/v1/conf";
    /// POST `CheckConf` → `Checked`.
    pub const CONF_CHECK: &str = "/v1/conf/check";
    /// POST `CheckConf` → `ConfPreview`: what it would change for services here; nothing is stored.
    pub const CONF_PREVIEW: &str = "/v1/conf/preview";
    /// GET `/v1/services/{service}/why` → `shared::why::Explanation`; name as `service:web`.
    pub const WHY: &str = "/v1/services/{service}/why";
    /// GET `/v1/nodes/{node}/why` → the `Explanation` of every service, its `nodes` this one alone.
    pub const NODE_WHY: &str = "/v1/nodes/{node}/why";
    /// POST `shared::why::Assumption` → `shared::why::Prediction`: what would come of it; nothing is done.
    pub const PREDICT: &str = "/v1/predict";
    /// DELETE: the node leaves its cluster for good; refused while the cluster runs on it.
    pub const CLUSTER: &str = "/v1/cluster";
    /// GET → `SecretNames`: the secrets of this node, without their values.
    pub const SECRETS: &str = "/v1/secrets";
    /// GET → `Secret`, to be handed on to another node. PUT `Secret` → 204; a name has one value for ever. DELETE → 204;
    /// refused while the node's cluster.conf refers to it.
    pub const SECRET: &str = "/v1/secrets/{name}";
    /// The key of fence_xvm. GET → `FenceKey`, to be handed on. PUT `FenceKey` → 204. POST `MakeFenceKey` → `FenceKey`.
    pub const FENCE_KEY: &str = "/v1/fence/key";
    /// GET → `CorosyncKey`. PUT `CorosyncKey`. POST: make one if there is none → `CorosyncKey`.
    pub const COROSYNC_KEY: &str = "/v1/cluster/key";
    /// POST `StartCluster`: start corosync and rgmanager here → 202.
    pub const CLUSTER_START: &str = "/v1/cluster/start";
    /// POST `StopCluster`: stop rgmanager (services move away) and corosync here → 202.
    pub const CLUSTER_STOP: &str = "/v1/cluster/stop";
    /// POST → 202: reboot this node.
    pub const REBOOT: &str = "/v1/reboot";
    /// POST `FenceTest` → `FenceTested`.
    pub const FENCE_TEST: &str = "/v1/fence/test";
    /// GET → `Vec<AgentSummary>`: resource agents installed here.
    pub const RESOURCE_AGENTS: &str = "/v1/agents/resource";
    /// GET → `Vec<AgentSummary>`: fence agents installed here.
    pub const FENCE_AGENTS: &str = "/v1/agents/fence";
    /// GET `/v1/agents/resource/{name}/metadata` → `AgentMetadata`; name as `ocf:heartbeat:IPaddr2`.
    pub const RESOURCE_AGENT_METADATA: &str = "/v1/agents/resource/{name}/metadata";
    /// GET `/v1/agents/fence/{name}/metadata` → `AgentMetadata`.
    pub const FENCE_AGENT_METADATA: &str = "/v1/agents/fence/{name}/metadata";
    /// GET → `AgentSchema` of a resource agent.
    pub const RESOURCE_AGENT_SCHEMA: &str = "/v1/agents/resource/{name}/schema";
    /// GET → `AgentSchema` of a fence agent.
    pub const FENCE_AGENT_SCHEMA: &str = "/v1/agents/fence/{name}/schema";
    /// POST `ValidateAgent` → `Validated`: the parameters against the schema, and the agent's own word.
    pub const RESOURCE_AGENT_VALIDATE: &str = "/v1/agents/resource/{name}/validate";
    /// GET → `Vec<LogLine>`. Query: `lines` (default 200).
    pub const LOG: &str = "/v1/log";
    /// GET → the OpenAPI document.
    pub const OPENAPI: &str = "/v1/openapi.json";
}

/// That ricci lives, for anyone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alive {
    /// Always `ricci`.
    pub program: String,
    pub version: String,
}

/// Pairing: proves the right to control this node once; the TLS client certificate of the connection is pinned.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "with", rename_all = "kebab-case")]
pub enum PairRequest {
    /// Password of the system user `ricci`.
    Password { password: String, label: String },
    /// One-time token printed by `ricci token` on the node.
    Token { token: String, label: String },
}

impl std::fmt::Debug for PairRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PairRequest(secret not shown)")
    }
}

/// The node after a successful pairing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paired {
    pub hostname: String,
    pub boot_id: BootId,
    /// Name of the cluster whose cluster.conf lies on the node, if any.
    pub cluster: Option<String>,
}

/// One node by itself, known also when no cluster runs on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    pub hostname: String,
    pub boot_id: BootId,
    pub ricci_version: String,
    pub uptime_s: u64,
    pub corosync: DaemonState,
    pub rgmanager: DaemonState,
    /// The cluster.conf on disk.
    pub conf: Option<ConfOnDisk>,
    pub has_corosync_key: bool,
    /// Names of secrets that the cluster.conf on disk refers to and this node does not have.
    #[serde(default)]
    pub secrets_missing: Vec<String>,
    /// SHA-256 of the key of fence_xvm, as `sha256sum /etc/cluster/fence_xvm.key` prints it; the host must have the same.
    #[serde(default)]
    pub fence_key: Option<String>,
    /// The last start, stop or reboot that was asked of this node, and what became of it.
    #[serde(default)]
    pub operation: Option<HostOperation>,
    /// What its rgmanager is told of when it happens, and what not; empty if it does not run.
    #[serde(default)]
    pub watches: Vec<Watch>,
}

/// A start, stop or reboot of this node's cluster software: accepted with 202, told here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostOperation {
    pub kind: HostOperationKind,
    /// Who asked.
    pub origin: String,
    pub since_ms: u64,
    /// `None`: under way.
    pub ended_ms: Option<u64>,
    /// What went wrong and what to do, if it ended without success.
    pub failure: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostOperationKind {
    Start,
    Stop,
    Reboot,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfOnDisk {
    pub cluster: String,
    pub version: ConfVersion,
    pub digest: ConfDigest,
}

/// A daemon as the node's init sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonState {
    pub installed: bool,
    pub running: bool,
    pub enabled_at_boot: bool,
    pub version: Option<String>,
}

/// A whole cluster.conf.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfDocument {
    pub version: ConfVersion,
    pub digest: ConfDigest,
    pub text: String,
}

/// A new cluster.conf.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutConf {
    pub text: String,
    /// Who and why, for the log.
    pub origin: String,
    /// Write this node's file although no cluster runs here (creating a cluster). Without it, a node on which no cluster
    /// runs refuses.
    #[serde(default)]
    pub offline: bool,
    /// What the agents on this node refuse is no more than a warning.
    #[serde(default)]
    pub despite_agents: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfAccepted {
    pub version: ConfVersion,
    pub digest: ConfDigest,
    /// What was found of it, without errors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckConf {
    pub text: String,
    /// Also ask the agents of all its resources on this node, which takes some seconds at most.
    #[serde(default)]
    pub agents: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    pub findings: Vec<Finding>,
}

/// What would become of services if a configuration came into force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfPreview {
    /// The configuration it is compared with: in force here, or on disk if the cluster does not run here.
    pub against: ConfVersion,
    pub delta: Delta,
    /// Without errors, or there would be no preview.
    pub findings: Vec<Finding>,
}

/// `/etc/corosync/authkey`, base64. Travels over the pinned channel only and is never logged.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorosyncKey {
    pub key_base64: String,
}

impl std::fmt::Debug for CorosyncKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CorosyncKey(secret not shown)")
    }
}

/// A secret that cluster.conf refers to by name. Travels over the pinned channel only and is never logged.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// One line.
    pub value: String,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(not shown)")
    }
}

/// `/etc/cluster/fence_xvm.key`, base64: what fence_xvm shows to the host of the virtual machines.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceKey {
    pub key_base64: String,
}

impl std::fmt::Debug for FenceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FenceKey(secret not shown)")
    }
}

/// Asks for a key of fence_xvm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MakeFenceKey {
    /// A new one although there is one: the other nodes and the host must get it, too.
    #[serde(default)]
    pub replace: bool,
}

/// The secrets of one node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SecretNames {
    pub present: Vec<String>,
    /// Referred to by the cluster.conf on disk, and not here.
    pub missing: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StartCluster {
    /// Also start at boot.
    #[serde(default)]
    pub enable: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StopCluster {
    /// Also no longer start at boot.
    #[serde(default)]
    pub disable: bool,
}

/// Runs a harmless action of a fence agent from this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceTest {
    pub agent: String,
    pub arguments: Vec<(String, String)>,
    pub action: FenceTestAction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FenceTestAction {
    Status,
    Monitor,
    List,
    /// The agent looks at its arguments only, without the device.
    ValidateAll,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceTested {
    pub succeeded: bool,
    pub code: Option<i32>,
    pub output: String,
    pub duration_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentSummary {
    /// `ocf:heartbeat:IPaddr2`, `fence_ipmilan`.
    pub name: String,
    /// Empty if it does not say, or was not asked yet.
    pub short: String,
    /// Of the agent, as it says.
    #[serde(default)]
    pub version: Option<String>,
    /// Of its metadata: nodes whose agents differ in it have other versions of the agent. `None`: not asked yet, or
    /// it tells nothing.
    #[serde(default)]
    pub digest: Option<String>,
    /// Why it cannot be used: it tells nothing of itself, or too little.
    #[serde(default)]
    pub problem: Option<String>,
}

/// Asks whether a resource agent would take these parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidateAgent {
    pub parameters: Vec<(String, String)>,
}

/// What is to be said of parameters of a resource agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validated {
    /// By the schema.
    pub complaints: Vec<Complaint>,
    /// By the agent itself on this node; `None` if it offers no `validate-all`.
    pub said: Option<AgentSaid>,
}

/// What an agent answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentSaid {
    /// 0: fine. `None`: no answer in time.
    pub code: Option<i32>,
    /// Secrets masked.
    pub output: String,
    pub duration_ms: u64,
}

/// The agent's own XML; parsed by `shared::agents::metadata`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentMetadata {
    pub name: String,
    pub xml: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    pub at_ms: u64,
    pub program: String,
    pub text: String,
}

/// Body of every error of ricci, as `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Stable word, e.g. `not-paired`, `cluster-not-running`, `refused`, `findings`.
    pub code: ProblemCode,
    /// What happened, to what, what to do next.
    pub text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemCode {
    BadRequest,
    NotPaired,
    PairingRefused,
    TooManyAttempts,
    NotFound,
    Refused,
    Findings,
    ClusterNotRunning,
    ClusterRunning,
    Timeout,
    TooLarge,
    Internal,
}
