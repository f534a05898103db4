//! The control socket of rgmanager: one JSON object per line in each direction. Used by the commands and by ricci.
//!
//! Every connection may ask any number of questions, one after another; `Watch` turns the connection into a stream.
//! Changing questions are answered only to root (peer credentials).

use serde::{Deserialize, Serialize};

use crate::ids::{ConfDigest, ConfVersion, NodeName, RequestId, ServiceName};
use crate::status::{Answer, ClusterStatus, FenceAttempt, Outcome, Request, StreamItem, StreamPosition};
use crate::why::{Assumption, Explanation, Prediction};

/// Where rgmanager listens unless told otherwise.
pub const SOCKET_PATH: &str = "/run/cluster/rgmanager.sk";

/// Longest line either side accepts. A cluster.conf of 1 MiB with every byte escaped fits.
pub const LINE_MAX_BYTES: usize = 8 * 1024 * 1024;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Ask {
    /// → `Reply::Status`.
    Status,
    /// → any number of `Reply::Stream`, first a `Whole` or the changes missed since the position.
    Watch { since: Option<StreamPosition> },
    /// → `Reply::Answer`. The same id again is answered the same and does nothing.
    Request { request: Request },
    /// → `Reply::Outcome` as soon as the request has ended; the connection may be closed meanwhile.
    Await { id: RequestId },
    /// → `Reply::Conf`.
    Conf,
    /// A new cluster.conf for the whole cluster → `Reply::PutConf`. The agents of what it changes are asked on this member
    /// before it is offered to the others, which takes some seconds at most.
    PutConf {
        text: String,
        origin: String,
        /// What the agents refuse is no more than a warning.
        #[serde(default)]
        despite_agents: bool,
    },
    /// Why a service is as it is → `Reply::Explanation`, or `Reply::Error` if there is no such service.
    Explain { service: ServiceName },
    /// The same of every service, each told for this node alone → `Reply::Explanations`.
    ExplainNode { node: NodeName },
    /// What would come of something; nothing is done → `Reply::Prediction`.
    Predict { assumption: Assumption },
    /// Runs the fence methods of a node from this member, as `fence_node` does → `Reply::Fence`, possibly much later.
    FenceNode { node: NodeName, operation: FenceOperation },
    /// Give services away and leave (`systemctl stop rgmanager`) → `Reply::Done` when it has left.
    Leave,
}

/// What `fence_node` wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FenceOperation {
    Fence,
    Unfence,
    Status,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    Status {
        status: Box<ClusterStatus>,
    },
    Stream {
        stream: StreamItem,
    },
    Answer {
        answer: Answer,
    },
    Outcome {
        outcome: Outcome,
    },
    Conf {
        version: ConfVersion,
        digest: ConfDigest,
        text: String,
    },
    PutConf {
        result: PutConf,
    },
    Explanation {
        explanation: Box<Explanation>,
    },
    Explanations {
        explanations: Vec<Explanation>,
    },
    Prediction {
        prediction: Box<Prediction>,
    },
    /// `attempts` is empty when the node has no method (or no unfence section).
    Fence {
        attempts: Vec<FenceAttempt>,
    },
    Done,
    /// The question cannot be answered: what is wrong and what to do.
    Error {
        text: String,
    },
    PermissionDenied,
}

/// What became of a new configuration. `Stored` means that all members have it on disk and the switch is under way;
/// that it is in force arrives by the status stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum PutConf {
    Accepted {
        version: ConfVersion,
        digest: ConfDigest,
        /// What the agents had to say, without errors.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        findings: Vec<crate::conf::finding::Finding>,
    },
    Refused {
        findings: Vec<crate::conf::finding::Finding>,
    },
}
