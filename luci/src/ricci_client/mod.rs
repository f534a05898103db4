//! Talks to the ricci of a node, over TLS pinned to the certificate that an operator confirmed. Called by `app`,
//! `tasks` and `watcher`. Every call has a deadline; errors say what to do next.

mod stream;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::agents::metadata::{AgentClass, AgentSchema};
use shared::api::{
    AgentSummary, Alive, ConfAccepted, ConfDocument, CorosyncKey, FenceKey, FenceTest, FenceTested, MakeFenceKey,
    NodeReport, PairRequest, Paired, Problem, ProblemCode, PutConf, Secret, SecretNames, StartCluster, StopCluster,
    ValidateAgent, Validated, path,
};
use shared::ids::{NodeName, RequestId, ServiceName};
use shared::status::{ClusterStatus, Outcome, Request, StreamPosition};
use shared::why::{Assumption, Explanation, Prediction};

pub use stream::StatusStream;

use crate::repo::nodes::Node;
use crate::tls::{self, Identity};

/// A connection that takes longer is not going to work.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A node that loses its power says nothing; only a ping without an answer tells it from one that has nothing to say.
const PING_EVERY: Duration = Duration::from_secs(1);
/// After this the connection is given up and the next member is asked.
const PING_TIMEOUT: Duration = Duration::from_millis(1500);
/// Questions that ricci answers from what it knows.
const QUICK: Duration = Duration::from_secs(5);
/// Work on the node: pairing asks PAM, daemons start.
const SLOW: Duration = Duration::from_secs(60);
/// A fence agent looks at its device; ricci itself gives up after 70 s.
const FENCE_TEST: Duration = Duration::from_secs(80);
/// The agents of what changes are asked, and all members store the new version. A person waits for the answer; a version that
/// comes into force later is noticed.
const STORE: Duration = Duration::from_secs(25);
/// How long ricci may hold back the answer to "has the request ended".
const OUTCOME_WAIT: Duration = Duration::from_secs(90);
/// Longest body that is read from a node.
const BODY_MAX_BYTES: usize = 8 * 1024 * 1024;

/// What came of a call.
#[derive(Debug, thiserror::Error)]
pub enum RicciError {
    /// No connection, no answer in time, or the connection broke.
    #[error("{node} does not answer: {why}")]
    Silent { node: NodeName, why: String },
    /// Another certificate than the pinned one.
    #[error(
        "{node} shows another certificate than the one that was confirmed; if ricci was reinstalled there, pair the node again, otherwise somebody is in between"
    )]
    OtherCertificate { node: NodeName },
    /// The node was never paired.
    #[error("{node} is not paired with this console; pair it on the Nodes page")]
    NotPaired { node: NodeName },
    /// ricci understood and said no.
    #[error("{}", problem.text)]
    Problem { node: NodeName, problem: Box<Problem> },
    /// It has no such path: its ricci is of an earlier release than this luci.
    #[error("the ricci on {node} is older than this console and cannot {what}; update it on that node")]
    Older { node: NodeName, what: &'static str },
    /// Something that is not ricci, or another version of it.
    #[error("{node} answered in a way that luci does not understand ({status})")]
    Strange { node: NodeName, status: u16 },
    #[error("TLS settings")]
    Tls(#[from] tls::TlsError),
}

impl RicciError {
    /// The problem's code, when ricci said no.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem { problem, .. } => Some(problem),
            _ => None,
        }
    }

    /// Whether another member may be asked instead.
    pub fn is_about_the_node(&self) -> bool {
        match self {
            Self::Silent { .. }
            | Self::OtherCertificate { .. }
            | Self::NotPaired { .. }
            | Self::Older { .. }
            | Self::Strange { .. }
            | Self::Tls(_) => true,
            Self::Problem { problem, .. } => matches!(
                problem.code,
                ProblemCode::ClusterNotRunning | ProblemCode::NotPaired | ProblemCode::Timeout | ProblemCode::Internal
            ),
        }
    }
}

type Result<T> = std::result::Result<T, RicciError>;

/// Makes and keeps the connections to all nodes.
#[derive(Debug, Clone)]
pub struct RicciClients {
    identity: Identity,
    known: Arc<Mutex<HashMap<String, Client>>>,
}

/// One node's ricci.
#[derive(Debug, Clone)]
pub struct Ricci {
    node: NodeName,
    base: String,
    client: Client,
}

impl RicciClients {
    pub fn new(identity: Identity) -> Self {
        Self { identity, known: Arc::default() }
    }

    /// The ricci of a node whose certificate is known.
    pub fn of(&self, node: &Node) -> Result<Ricci> {
        let Some(fingerprint) = &node.fingerprint else {
            return Err(RicciError::NotPaired { node: node.name.clone() });
        };
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let client = match known.get(fingerprint) {
            Some(client) => client.clone(),
            None => {
                let client = build(&node.name, tls::pinned_config(&self.identity, fingerprint)?)?;
                known.insert(fingerprint.clone(), client.clone());
                client
            }
        };
        Ok(Ricci { node: node.name.clone(), base: base(&node.host, node.port), client })
    }

    /// The ricci of a paired node.
    pub fn paired(&self, node: &Node) -> Result<Ricci> {
        if node.paired_at.is_none() {
            return Err(RicciError::NotPaired { node: node.name.clone() });
        }
        self.of(node)
    }

    /// First contact: who is there, and with which certificate. Sends nothing secret.
    pub async fn look(&self, name: &NodeName, host: &str, port: u16) -> Result<(Alive, String)> {
        let (config, seen) = tls::looking_config(&self.identity)?;
        let ricci = Ricci { node: name.clone(), base: base(host, port), client: build(name, config)? };
        let alive: Alive = ricci.call(Method::GET, path::ALIVE, None::<&()>, QUICK).await?;
        match seen.fingerprint() {
            Some(fingerprint) if alive.program == "ricci" => Ok((alive, fingerprint)),
            _ => Err(RicciError::Strange { node: name.clone(), status: 200 }),
        }
    }
}

fn base(host: &str, port: u16) -> String {
    // A bare IPv6 address needs brackets in an address.
    if host.contains(':') && !host.starts_with('[') {
        format!("https://[{host}]:{port}")
    } else {
        format!("https://{host}:{port}")
    }
}

/// A name as one part of a path.
fn part(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~:".contains(&byte);
    name.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// What a node lacks whose ricci does not have this path: doors that came after the first release are named.
fn ability(asked: &str) -> &'static str {
    if asked.starts_with(path::SECRETS) {
        "keep secrets"
    } else if asked == path::FENCE_KEY {
        "keep the key of fence_xvm"
    } else {
        "do what was asked"
    }
}

fn build(node: &NodeName, config: rustls::ClientConfig) -> Result<Client> {
    Client::builder()
        .tls_backend_preconfigured(config)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_keepalive(Duration::from_secs(20))
        .http2_keep_alive_interval(PING_EVERY)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .http2_keep_alive_while_idle(true)
        .pool_idle_timeout(Duration::from_secs(60))
        .build()
        .map_err(|error| silent(node, &error))
}

fn silent(node: &NodeName, error: &reqwest::Error) -> RicciError {
    let chain = shared::chain(error);
    if chain.contains("ApplicationVerificationFailure") || chain.contains("invalid peer certificate") {
        return RicciError::OtherCertificate { node: node.clone() };
    }
    let why = if error.is_timeout() {
        "no answer in time".to_owned()
    } else if error.is_connect() {
        connect_reason(&chain)
    } else {
        "the connection broke".to_owned()
    };
    tracing::debug!(%node, chain, "ricci does not answer");
    RicciError::Silent { node: node.clone(), why }
}

/// The few reasons an administrator can act on; the rest stays in the log.
fn connect_reason(chain: &str) -> String {
    let lower = chain.to_lowercase();
    if lower.contains("refused") {
        "connection refused; is ricci running there, and is the port right?"
    } else if lower.contains("dns") || lower.contains("lookup") || lower.contains("resolve") {
        "the host name cannot be resolved"
    } else if lower.contains("unreachable") || lower.contains("no route") {
        "no route to the host"
    } else if lower.contains("timed out") || lower.contains("timeout") || lower.contains("deadline") {
        "no answer in time"
    } else if lower.contains("certificate") || lower.contains("handshake") || lower.contains("tls") {
        "no TLS connection could be made; is that port ricci's?"
    } else {
        "no connection"
    }
    .to_owned()
}

impl Ricci {
    /// The node's name, as luci knows it.
    pub fn node(&self) -> &NodeName {
        &self.node
    }

    pub async fn pair(&self, request: &PairRequest) -> Result<Paired> {
        self.call(Method::POST, path::PAIR, Some(request), SLOW).await
    }

    /// Makes the node forget luci's certificate.
    pub async fn unpair(&self) -> Result<()> {
        self.send(Method::DELETE, path::PAIR, None::<&()>, QUICK).await.map(|_| ())
    }

    pub async fn node_report(&self) -> Result<NodeReport> {
        self.call(Method::GET, path::NODE, None::<&()>, QUICK).await
    }

    pub async fn status(&self) -> Result<ClusterStatus> {
        self.call(Method::GET, path::STATUS, None::<&()>, QUICK).await
    }

    /// Opens the stream of changes.
    pub async fn status_stream(&self, since: Option<&StreamPosition>) -> Result<StatusStream> {
        let address = format!("{}{}", self.base, path::STATUS_STREAM);
        let resume: Vec<(&str, String)> = since
            .map(|at| vec![("stream", at.stream.clone()), ("sequence", at.sequence.to_string())])
            .unwrap_or_default();
        let address = reqwest::Url::parse_with_params(&address, resume)
            .map_err(|_| RicciError::Silent { node: self.node.clone(), why: "the host name is not valid".into() })?;
        let answer = tokio::time::timeout(QUICK, self.client.get(address).send())
            .await
            .map_err(|_| RicciError::Silent { node: self.node.clone(), why: "no answer in time".into() })?
            .map_err(|error| silent(&self.node, &error))?;
        if answer.status().is_success() {
            Ok(StatusStream::new(self.node.clone(), answer))
        } else {
            Err(self.problem(answer).await)
        }
    }

    /// Hands in a request; accepted unless it is an error.
    pub async fn request(&self, request: &Request) -> Result<()> {
        self.send(Method::POST, path::REQUESTS, Some(request), QUICK).await.map(|_| ())
    }

    /// Waits a while for the end of a request; `None` if it has not ended.
    pub async fn outcome(&self, id: &RequestId) -> Result<Option<Outcome>> {
        let path = path::REQUEST.replace("{id}", id.as_str());
        let answer = self.send(Method::GET, &path, None::<&()>, OUTCOME_WAIT).await?;
        if answer.status() == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        self.read(answer).await.map(Some)
    }

    /// Why a service is where and as it is.
    pub async fn explain(&self, service: &ServiceName) -> Result<Explanation> {
        let path = path::WHY.replace("{service}", &part(service.as_str()));
        self.call(Method::GET, &path, None::<&()>, QUICK).await
    }

    /// Why each service may or may not run on a node.
    pub async fn explain_node(&self, node: &NodeName) -> Result<Vec<Explanation>> {
        let path = path::NODE_WHY.replace("{node}", &part(node.as_str()));
        self.call(Method::GET, &path, None::<&()>, QUICK).await
    }

    /// What would come of something; nothing is done.
    pub async fn predict(&self, assumption: &Assumption) -> Result<Prediction> {
        self.call(Method::POST, path::PREDICT, Some(assumption), QUICK).await
    }

    pub async fn conf(&self) -> Result<ConfDocument> {
        self.call(Method::GET, path::CONF, None::<&()>, QUICK).await
    }

    pub async fn put_conf(&self, put: &PutConf) -> Result<ConfAccepted> {
        self.call(Method::PUT, path::CONF, Some(put), STORE).await
    }

    /// The agents installed there.
    pub async fn agents(&self, class: AgentClass) -> Result<Vec<AgentSummary>> {
        let path = match class {
            AgentClass::Resource => path::RESOURCE_AGENTS,
            AgentClass::Fence => path::FENCE_AGENTS,
        };
        self.call(Method::GET, path, None::<&()>, SLOW).await
    }

    /// What an agent there says of itself.
    pub async fn agent_schema(&self, class: AgentClass, name: &str) -> Result<AgentSchema> {
        let path = match class {
            AgentClass::Resource => path::RESOURCE_AGENT_SCHEMA,
            AgentClass::Fence => path::FENCE_AGENT_SCHEMA,
        };
        // Names of agents are plain words with colons; one that is not is not found there.
        self.call(Method::GET, &path.replace("{name}", name), None::<&()>, SLOW).await
    }

    /// Has a resource agent there judge parameters; secrets may be references.
    pub async fn validate_agent(&self, name: &str, parameters: &[(String, String)]) -> Result<Validated> {
        let path = path::RESOURCE_AGENT_VALIDATE.replace("{name}", name);
        self.call(Method::POST, &path, Some(&ValidateAgent { parameters: parameters.to_vec() }), SLOW).await
    }

    /// Runs a harmless action of a fence agent there.
    pub async fn test_fence(&self, test: &FenceTest) -> Result<FenceTested> {
        self.call(Method::POST, path::FENCE_TEST, Some(test), FENCE_TEST).await
    }

    /// The key of fence_xvm of that node, for another one.
    pub async fn fence_key(&self) -> Result<FenceKey> {
        self.call(Method::GET, path::FENCE_KEY, None::<&()>, QUICK).await
    }

    pub async fn make_fence_key(&self, make: &MakeFenceKey) -> Result<FenceKey> {
        self.call(Method::POST, path::FENCE_KEY, Some(make), QUICK).await
    }

    pub async fn put_fence_key(&self, key: &FenceKey) -> Result<()> {
        self.send(Method::PUT, path::FENCE_KEY, Some(key), QUICK).await.map(|_| ())
    }

    /// A secret of that node, for another one. Nobody keeps it here.
    pub async fn secret(&self, name: &str) -> Result<Secret> {
        self.call(Method::GET, &path::SECRET.replace("{name}", name), None::<&()>, QUICK).await
    }

    /// The names of the secrets of that node.
    pub async fn secret_names(&self) -> Result<SecretNames> {
        self.call(Method::GET, path::SECRETS, None::<&()>, QUICK).await
    }

    /// Forgets a secret there; refused while the node's cluster.conf refers to it.
    pub async fn remove_secret(&self, name: &str) -> Result<()> {
        self.send(Method::DELETE, &path::SECRET.replace("{name}", name), None::<&()>, QUICK).await.map(|_| ())
    }

    pub async fn put_secret(&self, name: &str, secret: &Secret) -> Result<()> {
        self.send(Method::PUT, &path::SECRET.replace("{name}", name), Some(secret), QUICK).await.map(|_| ())
    }

    pub async fn make_key(&self) -> Result<CorosyncKey> {
        self.call(Method::POST, path::COROSYNC_KEY, None::<&()>, SLOW).await
    }

    pub async fn key(&self) -> Result<CorosyncKey> {
        self.call(Method::GET, path::COROSYNC_KEY, None::<&()>, QUICK).await
    }

    pub async fn put_key(&self, key: &CorosyncKey) -> Result<()> {
        self.send(Method::PUT, path::COROSYNC_KEY, Some(key), SLOW).await.map(|_| ())
    }

    pub async fn start_cluster(&self, start: &StartCluster) -> Result<()> {
        self.send(Method::POST, path::CLUSTER_START, Some(start), SLOW).await.map(|_| ())
    }

    pub async fn stop_cluster(&self, stop: &StopCluster) -> Result<()> {
        self.send(Method::POST, path::CLUSTER_STOP, Some(stop), SLOW).await.map(|_| ())
    }

    /// The node gives up key and configuration.
    pub async fn forget_cluster(&self) -> Result<()> {
        self.send(Method::DELETE, path::CLUSTER, None::<&()>, SLOW).await.map(|_| ())
    }

    pub async fn reboot(&self) -> Result<()> {
        self.send(Method::POST, path::REBOOT, None::<&()>, QUICK).await.map(|_| ())
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + ?Sized)>,
        deadline: Duration,
    ) -> Result<T> {
        let answer = self.send(method, path, body, deadline).await?;
        self.read(answer).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + ?Sized)>,
        deadline: Duration,
    ) -> Result<reqwest::Response> {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).timeout(deadline);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| silent(&self.node, &error))?;
        if answer.status().is_success() { Ok(answer) } else { Err(self.problem(answer).await) }
    }

    async fn read<T: DeserializeOwned>(&self, answer: reqwest::Response) -> Result<T> {
        let status = answer.status().as_u16();
        let body = self.body(answer).await?;
        serde_json::from_slice(&body).map_err(|error| {
            tracing::warn!(node = %self.node, status, %error, "an answer of ricci cannot be read");
            RicciError::Strange { node: self.node.clone(), status }
        })
    }

    async fn body(&self, mut answer: reqwest::Response) -> Result<Vec<u8>> {
        let status = answer.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| silent(&self.node, &error))? {
            if body.len() + chunk.len() > BODY_MAX_BYTES {
                return Err(RicciError::Strange { node: self.node.clone(), status });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    async fn problem(&self, answer: reqwest::Response) -> RicciError {
        let status = answer.status().as_u16();
        let what = ability(answer.url().path());
        match tokio::time::timeout(QUICK, self.read::<Problem>(answer)).await {
            Ok(Ok(problem)) if problem.code == ProblemCode::NotFound && problem.text.starts_with(path::NONE) => {
                RicciError::Older { node: self.node.clone(), what }
            }
            Ok(Ok(problem)) => RicciError::Problem { node: self.node.clone(), problem: Box::new(problem) },
            Ok(Err(error)) => error,
            Err(_) => RicciError::Strange { node: self.node.clone(), status },
        }
    }
}
