//! A cluster of fake nodes: each speaks ricci's contract over real TLS with pinned client certificates, on loopback. The
//! nodes share one simple world, so that what is asked through one is seen by the status stream of all.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it, and an example includes it")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Extension, Json, Router};
use axum_server::accept::Accept;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use base64::Engine as _;
use rustls::DistinguishedName;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime};
use shared::agents::metadata::{AgentClass, in_language, parse};
use shared::api::{
    AgentSaid, AgentSummary, Alive, ConfAccepted, ConfDocument, ConfOnDisk, CorosyncKey, DaemonState, FenceKey,
    FenceTest, FenceTestAction, FenceTested, MakeFenceKey, NodeReport, PairRequest, Paired, Problem, ProblemCode,
    PutConf, Secret, ValidateAgent, Validated, path,
};
use shared::conf::{digest, load, sealed};
use shared::ids::{BootId, NodeId, NodeName, ServiceName, Time};
use shared::placement::{Judgement, Level, Why};
use shared::status::{
    ClusterStatus, Command, ConfInForce, Fact, FactKind, FactSeverity, FenceOutcome, FenceProof, FenceVerdict,
    FencedHow, FencingStatus, Membership, NodeStatus, Outcome, Phase, Quorum, Reason, Refusal,
    Request as ClusterRequest, ResourceState, ResourceStatus, ServiceStatus, StreamItem, StreamPosition, Subject,
};
use shared::text::{ResultCode, ServiceState};
use shared::watch::{Source, Watch};
use shared::why::{Assumption, Explanation, NodeExplanation, PredictedChange, Prediction, Test, Verdict};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Password of the user `ricci` on every fake node.
pub const PASSWORD: &str = "westos";

pub fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    Time(u64::try_from(since.as_millis()).expect("fits"))
}

/// What one node is and has.
#[derive(Debug, Clone, Default)]
pub struct NodeState {
    pub pinned: BTreeSet<String>,
    pub key: Option<String>,
    pub conf: Option<String>,
    pub running: bool,
    pub enabled: bool,
    /// Accepts connections and never answers.
    pub hung: bool,
    /// Refuses to start, with this text.
    pub start_fails: Option<String>,
    pub starts: u32,
    /// Secrets by name; `None`: an older ricci that knows none.
    pub secrets: Option<BTreeMap<String, String>>,
    /// Of fence_xvm, base64.
    pub fence_key: Option<String>,
    pub keys_made: u32,
    /// Agents that are not installed here.
    pub lacks: BTreeSet<String>,
}

/// A service of the world.
#[derive(Debug, Clone)]
pub struct FakeService {
    pub state: ServiceState,
    pub owner: Option<NodeName>,
    pub last: Option<NodeName>,
    pub frozen: bool,
    pub reason: Reason,
    pub at: Time,
}

/// Calls that are kept without an answer, as if the line were cut in that moment.
#[derive(Debug, Clone)]
pub struct Hold {
    /// Method and path, `POST /v1/pair`.
    pub call: &'static str,
    /// The node does what it was asked; only the answer is lost.
    pub after: bool,
    /// Some call was held.
    pub reached: bool,
}

/// A question to an agent: node, agent, parameters.
pub type Judged = (String, String, Vec<(String, String)>);

/// Everything.
#[derive(Debug, Default)]
pub struct World {
    pub nodes: BTreeMap<String, NodeState>,
    pub services: BTreeMap<String, FakeService>,
    pub facts: Vec<Fact>,
    pub outcomes: BTreeMap<String, Outcome>,
    pub requests: Vec<ClusterRequest>,
    pub locked: bool,
    /// How often a node has booted anew.
    pub boots: BTreeMap<String, u32>,
    pub standby: BTreeSet<String>,
    pub fenced: BTreeMap<String, FenceOutcome>,
    /// What fence tests were asked for, and from which node.
    pub fence_tests: Vec<(String, FenceTest)>,
    /// Fence agents on every node: name, metadata.
    pub fence_agents: BTreeMap<String, String>,
    /// Resource agents on every node: name (`ocf:heartbeat:x`), metadata.
    pub resource_agents: BTreeMap<String, String>,
    /// What an agent answers to `validate-all`: code, output. Others find nothing wrong.
    pub agent_words: BTreeMap<String, (i32, String)>,
    /// What agents were asked to judge.
    pub validated: Vec<Judged>,
    /// Nodes whose fence method was seen to work.
    pub proven: BTreeSet<String>,
    pub hold: Option<Hold>,
    /// Victims and how far fencing them is.
    pub fencing: BTreeMap<String, FencingStatus>,
}

/// The world and its nodes' servers.
#[derive(Clone)]
pub struct Fake {
    pub world: Arc<Mutex<World>>,
    pub changed: watch::Sender<u64>,
}

/// A running fake node.
#[derive(Debug, Clone)]
pub struct FakeNode {
    pub name: String,
    pub address: SocketAddr,
    pub fingerprint: String,
}

#[derive(Clone)]
struct Server {
    fake: Fake,
    name: String,
}

/// Fingerprint of the client's certificate, if it showed one.
#[derive(Debug, Clone)]
struct Peer(Option<String>);

impl Fake {
    pub fn new() -> Self {
        Self { world: Arc::default(), changed: watch::Sender::new(0) }
    }

    /// Changes the world and wakes the streams.
    pub fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let result = change(&mut self.world.lock().expect("lock"));
        self.changed.send_modify(|count| *count += 1);
        result
    }

    /// Starts a node.
    pub async fn node(&self, name: &str) -> FakeNode {
        self.node_at(name, "127.0.0.1:0".parse().expect("address")).await
    }

    pub async fn node_at(&self, name: &str, address: SocketAddr) -> FakeNode {
        self.change(|world| world.nodes.entry(name.to_owned()).or_default().running |= false);
        serve(name, address, self.router(name))
    }

    fn router(&self, name: &str) -> Router {
        let server = Server { fake: self.clone(), name: name.to_owned() };
        let closed = Router::new()
            .route(path::NODE, get(report))
            .route(path::STATUS, get(status))
            .route(path::STATUS_STREAM, get(stream))
            .route(path::REQUESTS, post(request))
            .route(path::REQUEST, get(outcome))
            .route(path::WHY, get(why))
            .route(path::NODE_WHY, get(node_why))
            .route(path::PREDICT, post(predict))
            .route(path::CONF, get(conf).put(put_conf))
            .route(path::COROSYNC_KEY, get(key).put(put_key).post(make_key))
            .route(path::SECRET, get(secret).put(put_secret))
            .route(path::FENCE_KEY, get(fence_key).put(put_fence_key).post(make_fence_key))
            .route(path::FENCE_TEST, post(test_fence))
            .route(path::FENCE_AGENTS, get(fence_agents))
            .route(path::RESOURCE_AGENTS, get(resource_agents))
            .route(path::RESOURCE_AGENT_SCHEMA, get(resource_agent_schema))
            .route(path::RESOURCE_AGENT_VALIDATE, post(validate_agent))
            .route(path::FENCE_AGENT_SCHEMA, get(fence_agent_schema))
            .route(path::CLUSTER_START, post(start))
            .route(path::CLUSTER_STOP, post(stop))
            .route(path::CLUSTER, delete(forget))
            .route(path::REBOOT, post(|| async { StatusCode::ACCEPTED }))
            .layer(middleware::from_fn_with_state(server.clone(), only_paired));
        Router::new()
            .route(path::ALIVE, get(alive))
            .route(path::PAIR, post(pair).delete(unpair))
            .merge(closed)
            .layer(middleware::from_fn_with_state(server.clone(), hang))
            .with_state(server)
    }

    /// What the members say.
    pub fn status(&self, local: &str) -> ClusterStatus {
        let world = self.world.lock().expect("lock");
        world.status(local)
    }
}

/// Serves a router as a node would: over TLS, with a certificate of its own, to clients that show theirs.
pub fn serve(name: &str, address: SocketAddr, router: Router) -> FakeNode {
    let key = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("certificate");
    let certificate = key.cert.der().clone();
    let fingerprint = luci::tls::fingerprint(&certificate);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let private = PrivatePkcs8KeyDer::from(key.signing_key.serialize_der());
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(Arc::new(AnyClient(provider)))
        .with_single_cert(vec![certificate], private.into())
        .expect("identity");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let listener = std::net::TcpListener::bind(address).expect("listen");
    listener.set_nonblocking(true).expect("nonblocking");
    let address = listener.local_addr().expect("address");
    let acceptor = WithPeer(RustlsAcceptor::new(RustlsConfig::from_config(Arc::new(config))));
    tokio::spawn(async move {
        let server = axum_server::from_tcp(listener).expect("server").acceptor(acceptor);
        server.serve(router.into_make_service()).await.expect("serving");
    });
    FakeNode { name: name.to_owned(), address, fingerprint }
}

impl World {
    fn newest_conf(&self) -> Option<String> {
        let running = self.nodes.values().filter(|node| node.running);
        running.filter_map(|node| node.conf.clone()).max_by_key(|text| load(text).conf.map(|conf| conf.version))
    }

    pub fn fact(&mut self, subject: Subject, kind: FactKind, text: &str) {
        self.facts.push(fact_of(subject, kind, text));
    }

    /// node2, which had the service, loses its power: what the members tell until another one has it. It happened just now.
    pub fn failover(&mut self, service: &str) {
        let node = || Subject::Node(NodeName::from("node2"));
        let name = ServiceName::parse(service);
        let service = || Subject::Service(name.clone());
        let end = now().0;
        for (ago, subject, kind, text) in [
            (
                5100,
                node(),
                FactKind::NodeLost,
                "node2 was lost without a goodbye; its services wait until it is known to be down".to_owned(),
            ),
            (5060, node(), FactKind::FenceDecided, "Fencing node2 by node1, attempt 1".to_owned()),
            (900, node(), FactKind::Fenced, "node2 has been fenced by node1 with method power".to_owned()),
            (890, service(), FactKind::ServiceRecovering, format!("Service {name} is recovering, was on node2")),
            (880, service(), FactKind::ServiceStarting, format!("Starting service {name} on node1")),
            (0, service(), FactKind::ServiceStarted, format!("Service {name} is now running on node1")),
        ] {
            self.facts.push(Fact { at: Time(end - ago), ..fact_of(subject, kind, &text) });
        }
    }

    fn status(&self, local: &str) -> ClusterStatus {
        let text = self.newest_conf().unwrap_or_default();
        let conf = load(&text).conf;
        let configured: Vec<(NodeId, NodeName)> =
            conf.iter().flat_map(|conf| &conf.nodes).map(|node| (node.id, node.name.clone())).collect();
        let version = conf.as_ref().map(|conf| conf.version);
        let nodes: Vec<NodeStatus> = configured
            .iter()
            .map(|(id, name)| {
                let running = self.nodes.get(name.as_str()).is_some_and(|node| node.running && !node.hung);
                NodeStatus {
                    id: *id,
                    name: name.clone(),
                    configured: true,
                    local: name.as_str() == local,
                    online: running,
                    member: match (self.fencing.contains_key(name.as_str()), running) {
                        (true, _) => Membership::Victim,
                        (false, true) => Membership::Member,
                        (false, false) => Membership::Absent,
                    },
                    boot_id: running.then(|| self.boot_id(name.as_str())),
                    conf_version: version.filter(|_| running),
                    fencing: self.fencing.get(name.as_str()).cloned(),
                    last_fenced: self.fenced.get(name.as_str()).cloned(),
                    fence_proofs: self
                        .proven
                        .contains(name.as_str())
                        .then(|| FenceProof {
                            method: "power".into(),
                            verdict: FenceVerdict::Proven,
                            at: Some(now()),
                            by: None,
                        })
                        .into_iter()
                        .collect(),
                    standby: self.standby.contains(name.as_str()),
                    watches: Vec::new(),
                }
            })
            .collect();
        let victims: Vec<NodeName> = self.fencing.keys().map(|name| NodeName(name.clone())).collect();
        let votes = u32::try_from(nodes.iter().filter(|node| node.online).count()).expect("few");
        let expected = u32::try_from(nodes.len()).expect("few");
        let services = conf.iter().flat_map(|conf| &conf.services).map(|service| {
            let known = self.services.get(service.name.as_str());
            let resources = service.tree.iter().filter(|_| known.is_some_and(|s| s.owner.is_some()));
            ServiceStatus {
                name: service.name.clone(),
                state: known.map_or(ServiceState::Stopped, |known| known.state),
                frozen: known.is_some_and(|known| known.frozen),
                partial: false,
                owner: known.and_then(|known| known.owner.clone()),
                last_owner: known.and_then(|known| known.last.clone()),
                restarts: 0,
                last_transition: known.map(|known| known.at),
                reason: known.map_or(Reason::New, |known| known.reason.clone()),
                waits_for: (!victims.is_empty() && known.is_some_and(|known| known.owner.is_none()))
                    .then(|| Reason::FencingPending { nodes: victims.clone() }),
                request: None,
                failure: None,
                resources: resources
                    .map(|resource| ResourceStatus {
                        name: resource.name.clone(),
                        depth: 0,
                        state: ResourceState::Started,
                        at: now(),
                    })
                    .collect(),
            }
        });
        ClusterStatus {
            cluster: conf.as_ref().map(|conf| conf.name.clone()).unwrap_or_default(),
            at: now(),
            local: configured.iter().find(|(_, name)| name.as_str() == local).map_or(NodeId(1), |(id, _)| *id),
            phase: Phase::Member,
            conf: version.map(|version| ConfInForce { version, digest: digest(&text) }),
            quorum: Quorum { quorate: votes * 2 > expected, votes: Some(votes), votes_expected: Some(expected) },
            coordinator: configured.first().map(|(id, _)| *id),
            locked: self.locked,
            services: services.collect(),
            nodes,
            waits_for_fencing_of: victims,
        }
    }

    /// Why a service is where it is: every running node may have it, the others are offline.
    pub fn explain(&self, service: &ServiceStatus, status: &ClusterStatus) -> Explanation {
        let mut rank = 0;
        let nodes = status.nodes.iter().map(|node| {
            let member = Test::Member { member: node.online, leaving: false, online: node.online, standby: false };
            let judged = |level, why| Test::Domain { judgement: Judgement { level, why } };
            let (verdict, domain) = if service.owner.as_ref() == Some(&node.name) {
                (Verdict::Owner, judged(Level::Best, Why::NoDomain))
            } else if node.online {
                rank += 1;
                (Verdict::Candidate { rank }, judged(Level::Best, Why::NoDomain))
            } else {
                (Verdict::MayNot, judged(Level::Illegal, Why::Offline))
            };
            NodeExplanation { node: node.name.clone(), verdict, tests: vec![member, domain] }
        });
        Explanation {
            service: service.name.clone(),
            state: service.state,
            owner: service.owner.clone(),
            reason: service.reason.clone(),
            nodes: nodes.collect(),
            tests: vec![
                Test::Quorate {
                    quorate: Some(status.quorum.quorate),
                    votes: status.quorum.votes,
                    votes_expected: status.quorum.votes_expected,
                },
                Test::AllFenced { waits_for: status.waits_for_fencing_of.clone() },
                Test::Enabled { disabled: service.state == ServiceState::Disabled, autostart: true },
                Test::Frozen { frozen: service.frozen },
                Test::Locked { locked: status.locked },
            ],
        }
    }

    /// Why each service may or may not run on a node.
    pub fn explain_node(&self, node: &str, status: &ClusterStatus) -> Vec<Explanation> {
        let explained = status.services.iter().map(|service| {
            let mut explanation = self.explain(service, status);
            explanation.nodes.retain(|one| one.node.as_str() == node);
            explanation
        });
        explained.collect()
    }

    /// What losing a node would do: what it runs goes to the first other node. Of a new configuration: its new services start.
    pub fn predict(&self, assumption: &Assumption, status: &ClusterStatus) -> Prediction {
        let refused = |text: &str| Prediction {
            refused: Some(Refusal { code: ResultCode::Failure, text: text.into() }),
            steps: Vec::new(),
            changes: Vec::new(),
        };
        let mut steps = Vec::new();
        let mut changes = Vec::new();
        match assumption {
            Assumption::NodeLost { node } => {
                let Some(to) = status.nodes.iter().find(|other| other.online && other.name != *node) else {
                    return refused("nobody is left");
                };
                steps.push(fact_of(
                    Subject::Node(node.clone()),
                    FactKind::NodeLost,
                    &format!("{node} was lost without a goodbye; its services wait until it is known to be down"),
                ));
                for service in status.services.iter().filter(|service| service.owner.as_ref() == Some(node)) {
                    changes.push(PredictedChange {
                        service: service.name.clone(),
                        from: (service.state, service.owner.clone()),
                        to: (ServiceState::Started, Some(to.name.clone())),
                        reason: Reason::OwnerFenced { node: node.clone() },
                    });
                }
            }
            Assumption::Conf { text } => {
                let Some(conf) = load(text).conf else { return refused("the configuration cannot be read") };
                for service in conf.services.iter().filter(|new| status.service(&new.name).is_none()) {
                    changes.push(PredictedChange {
                        service: service.name.clone(),
                        from: (ServiceState::Uninitialized, None),
                        to: (ServiceState::Started, self.member()),
                        reason: Reason::Autostart,
                    });
                }
            }
            Assumption::Request { command } => {
                if let Some(service) = command.service().filter(|name| status.service(name).is_none()) {
                    return refused(&format!("there is no {service}"));
                }
            }
        }
        Prediction { refused: None, steps, changes }
    }

    fn boot_id(&self, name: &str) -> BootId {
        BootId(format!("boot-{}", self.boots.get(name).copied().unwrap_or(1)))
    }

    /// The node loses its power, and has booted again in no time.
    fn fence(&mut self, node: &str) {
        *self.boots.entry(node.to_owned()).or_insert(1) += 1;
        let how = FencedHow::Agent { by: "node2".into(), method: "power".into() };
        let outcome = FenceOutcome { at: now(), how, witnessed_gone: true, witnessed_reboot: Some(true) };
        self.fenced.insert(node.to_owned(), outcome);
    }

    fn member(&self) -> Option<NodeName> {
        self.nodes.iter().find(|(_, node)| node.running).map(|(name, _)| NodeName(name.clone()))
    }

    /// Carries a command out at once.
    fn carry_out(&mut self, command: &Command, origin: &str) -> Result<Outcome, Refusal> {
        let done = |owner| Ok(Outcome { code: ResultCode::Success, owner, text: String::new() });
        let Some(service) = command.service() else {
            match command {
                Command::Lock => self.locked = true,
                Command::Unlock => self.locked = false,
                Command::Fence { node } => self.fence(node.as_str()),
                Command::Standby { node } => {
                    self.standby.insert(node.to_string());
                    for service in self.services.values_mut().filter(|one| one.owner.as_ref() == Some(node)) {
                        service.owner = None;
                    }
                }
                Command::Unstandby { node } => {
                    self.standby.remove(node.as_str());
                }
                _ => {}
            }
            return done(None);
        };
        if self.locked && matches!(command, Command::Enable { .. } | Command::Relocate { .. }) {
            return Err(Refusal { code: ResultCode::TryAgain, text: "services are locked".into() });
        }
        let reason = Reason::Requested { verb: command.verb().into(), origin: origin.into() };
        let first = self.member();
        let known = self.services.entry(service.0.clone()).or_insert(FakeService {
            state: ServiceState::Stopped,
            owner: None,
            last: None,
            frozen: false,
            reason: Reason::New,
            at: now(),
        });
        known.reason = reason;
        known.at = now();
        match command {
            Command::Enable { on, .. } => {
                known.owner = on.clone().or(first);
                known.state = ServiceState::Started;
            }
            Command::Relocate { to, .. } => {
                known.last = known.owner.take();
                known.owner = to.clone().or(first);
            }
            Command::Disable { .. } | Command::Stop { .. } => {
                known.last = known.owner.take().or(known.last.take());
                let disabled = matches!(command, Command::Disable { .. });
                known.state = if disabled { ServiceState::Disabled } else { ServiceState::Stopped };
            }
            Command::Freeze { .. } => known.frozen = true,
            Command::Unfreeze { .. } => known.frozen = false,
            _ => {}
        }
        let (owner, word) = (known.owner.clone(), known.state.name());
        self.fact(Subject::Service(service.clone()), FactKind::ServiceStarted, &format!("Service {service} is {word}"));
        done(owner)
    }
}

fn fact_of(subject: Subject, kind: FactKind, text: &str) -> Fact {
    Fact { at: now(), subject, severity: FactSeverity::Info, kind, text: text.into(), reason: None }
}

pub fn problem(status: StatusCode, code: ProblemCode, text: &str) -> Response {
    let body = Problem { code, text: text.into(), refusal: None, findings: Vec::new(), node: None };
    (status, Json(body)).into_response()
}

fn not_running() -> Response {
    problem(StatusCode::SERVICE_UNAVAILABLE, ProblemCode::ClusterNotRunning, "the cluster does not run on this node")
}

async fn hang(State(server): State<Server>, request: Request, next: Next) -> Response {
    let call = format!("{} {}", request.method(), request.uri().path());
    loop {
        let mut changes = server.fake.changed.subscribe();
        if !server.fake.world.lock().expect("lock").nodes[&server.name].hung {
            break;
        }
        changes.changed().await.expect("world");
    }
    server.held(&call, false).await;
    let answer = next.run(request).await;
    server.held(&call, true).await;
    answer
}

impl Server {
    /// Waits as long as this call is held on this side of the work.
    async fn held(&self, call: &str, after: bool) {
        loop {
            let mut changes = self.fake.changed.subscribe();
            {
                let mut world = self.fake.world.lock().expect("lock");
                match &mut world.hold {
                    Some(hold) if hold.call == call && hold.after == after => {
                        if !std::mem::replace(&mut hold.reached, true) {
                            self.fake.changed.send_modify(|count| *count += 1);
                            changes.mark_unchanged();
                        }
                    }
                    _ => return,
                }
            }
            changes.changed().await.expect("world");
        }
    }
}

async fn only_paired(
    State(server): State<Server>,
    Extension(peer): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let pinned =
        peer.0.is_some_and(|peer| server.fake.world.lock().expect("lock").nodes[&server.name].pinned.contains(&peer));
    if pinned {
        return next.run(request).await;
    }
    problem(StatusCode::FORBIDDEN, ProblemCode::NotPaired, "this certificate is not paired with the node")
}

async fn alive() -> Json<Alive> {
    Json(Alive { program: "ricci".into(), version: "0.1.0".into() })
}

async fn pair(
    State(server): State<Server>,
    Extension(peer): Extension<Peer>,
    Json(request): Json<PairRequest>,
) -> Response {
    let right = match request {
        PairRequest::Password { password, .. } => password == PASSWORD,
        PairRequest::Token { token, .. } => token == "one-time",
    };
    let Some(peer) = peer.0.filter(|_| right) else {
        return problem(StatusCode::FORBIDDEN, ProblemCode::PairingRefused, "the password of the user ricci is wrong");
    };
    server.fake.change(|world| {
        let node = world.nodes.get_mut(&server.name).expect("node");
        node.pinned.insert(peer);
    });
    let cluster = None;
    Json(Paired { hostname: server.name, boot_id: BootId("boot-1".into()), cluster }).into_response()
}

async fn unpair(State(server): State<Server>, Extension(peer): Extension<Peer>) -> StatusCode {
    server.fake.change(|world| {
        if let Some(peer) = &peer.0 {
            world.nodes.get_mut(&server.name).expect("node").pinned.remove(peer);
        }
    });
    StatusCode::NO_CONTENT
}

async fn report(State(server): State<Server>) -> Json<NodeReport> {
    let (node, boot_id) = {
        let world = server.fake.world.lock().expect("lock");
        (world.nodes[&server.name].clone(), world.boot_id(&server.name))
    };
    let daemon = DaemonState {
        installed: true,
        running: node.running,
        enabled_at_boot: node.enabled,
        version: Some("3.1.7".into()),
    };
    let conf = node.conf.as_ref().and_then(|text| load(text).conf.map(|conf| (conf, digest(text))));
    Json(NodeReport {
        hostname: server.name,
        boot_id,
        ricci_version: "0.1.0".into(),
        uptime_s: 7200,
        corosync: daemon.clone(),
        rgmanager: daemon,
        conf: conf.map(|(conf, digest)| ConfOnDisk { cluster: conf.name, version: conf.version, digest }),
        has_corosync_key: node.key.is_some(),
        secrets_missing: secrets_missing(&node),
        fence_key: node.fence_key.map(|key| format!("fingerprint-of-{key}")),
        operation: None,
        watches: vec![
            Watch { source: Source::Mounts, missing: None },
            Watch { source: Source::Units, missing: Some("not connected yet".into()) },
        ],
    })
}

fn secrets_missing(node: &NodeState) -> Vec<String> {
    let (Some(secrets), Some(text)) = (&node.secrets, &node.conf) else { return Vec::new() };
    let references = sealed::references(&load(text).document);
    let names = references.iter().filter_map(|found| sealed::referred(&found.value));
    names.filter(|name| !secrets.contains_key(*name)).map(str::to_owned).collect()
}

async fn secret(State(server): State<Server>, Path(name): Path<String>) -> Response {
    let node = server.fake.world.lock().expect("lock").nodes[&server.name].clone();
    let Some(secrets) = node.secrets else { return no_path(&format!("/v1/secrets/{name}")) };
    match secrets.get(&name).cloned() {
        Some(value) => Json(Secret { value }).into_response(),
        None => problem(StatusCode::NOT_FOUND, ProblemCode::NotFound, "there is no such secret"),
    }
}

async fn put_secret(State(server): State<Server>, Path(name): Path<String>, Json(secret): Json<Secret>) -> Response {
    server.fake.change(|world| match &mut world.nodes.get_mut(&server.name).expect("node").secrets {
        Some(secrets) => {
            secrets.insert(name, secret.value);
            StatusCode::NO_CONTENT.into_response()
        }
        None => no_path(&format!("/v1/secrets/{name}")),
    })
}

/// As a ricci of an earlier release answers.
fn no_path(asked: &str) -> Response {
    problem(
        StatusCode::NOT_FOUND,
        ProblemCode::NotFound,
        &format!("there is no path {asked}; /v1/openapi.json lists all"),
    )
}

async fn fence_key(State(server): State<Server>) -> Response {
    let key = server.fake.world.lock().expect("lock").nodes[&server.name].fence_key.clone();
    match key {
        Some(key_base64) => Json(FenceKey { key_base64 }).into_response(),
        None => problem(StatusCode::NOT_FOUND, ProblemCode::NotFound, "this node has no key for fence_xvm yet"),
    }
}

async fn put_fence_key(State(server): State<Server>, Json(key): Json<FenceKey>) -> StatusCode {
    server.fake.change(|world| {
        world.nodes.get_mut(&server.name).expect("node").fence_key = Some(key.key_base64);
    });
    StatusCode::NO_CONTENT
}

/// Keys are told apart by the node that made them and by how often it did.
async fn make_fence_key(State(server): State<Server>, Json(make): Json<MakeFenceKey>) -> Json<FenceKey> {
    let key_base64 = server.fake.change(|world| {
        let node = world.nodes.get_mut(&server.name).expect("node");
        if make.replace || node.fence_key.is_none() {
            node.keys_made += 1;
            let key = format!("{:<12}", format!("{}-{}", server.name, node.keys_made));
            node.fence_key = Some(base64::engine::general_purpose::STANDARD.encode(key));
        }
        node.fence_key.clone().expect("made")
    });
    Json(FenceKey { key_base64 })
}

/// A device with the plugs 1 and 2, both on.
async fn test_fence(State(server): State<Server>, Json(test): Json<FenceTest>) -> Json<FenceTested> {
    let plug = test.arguments.iter().find(|(name, _)| name == "plug").map(|(_, plug)| plug.clone()).unwrap_or_default();
    server.fake.change(|world| world.fence_tests.push((server.name.clone(), test.clone())));
    let (code, output) = match test.action {
        FenceTestAction::List => (0, "1,first\n2,second\n"),
        FenceTestAction::ValidateAll => (0, ""),
        _ if ["1", "2"].contains(&plug.as_str()) => (0, "Status: ON"),
        _ => (1, "Failed: no such plug"),
    };
    Json(FenceTested { succeeded: code == 0, code: Some(code), output: output.into(), duration_ms: 3 })
}

async fn fence_agents(State(server): State<Server>) -> Json<Vec<AgentSummary>> {
    let world = server.fake.world.lock().expect("lock");
    listed(AgentClass::Fence, &world.fence_agents, &world.nodes[&server.name].lacks)
}

async fn resource_agents(State(server): State<Server>) -> Json<Vec<AgentSummary>> {
    let world = server.fake.world.lock().expect("lock");
    listed(AgentClass::Resource, &world.resource_agents, &world.nodes[&server.name].lacks)
}

fn listed(class: AgentClass, agents: &BTreeMap<String, String>, lacks: &BTreeSet<String>) -> Json<Vec<AgentSummary>> {
    let summary = |(name, xml): (&String, &String)| AgentSummary {
        name: name.clone(),
        short: parse(class, xml).map(|schema| in_language(&schema.short, "en").to_owned()).unwrap_or_default(),
        version: None,
        digest: Some(digest(xml).to_string()),
        problem: None,
    };
    Json(agents.iter().filter(|(name, _)| !lacks.contains(*name)).map(summary).collect())
}

async fn fence_agent_schema(State(server): State<Server>, Path(name): Path<String>) -> Response {
    told(AgentClass::Fence, server.fake.world.lock().expect("lock").fence_agents.get(&name))
}

async fn resource_agent_schema(State(server): State<Server>, Path(name): Path<String>) -> Response {
    told(AgentClass::Resource, server.fake.world.lock().expect("lock").resource_agents.get(&name))
}

fn told(class: AgentClass, xml: Option<&String>) -> Response {
    match xml {
        Some(xml) => Json(parse(class, xml).expect("metadata")).into_response(),
        None => problem(StatusCode::NOT_FOUND, ProblemCode::NotFound, "there is no such agent"),
    }
}

/// The agent's word, as the world has it.
async fn validate_agent(
    State(server): State<Server>,
    Path(name): Path<String>,
    Json(asked): Json<ValidateAgent>,
) -> Json<Validated> {
    server.fake.change(|world| {
        world.validated.push((server.name.clone(), name.clone(), asked.parameters));
        let (code, output) = world.agent_words.get(&name).cloned().unwrap_or_default();
        Json(Validated { complaints: Vec::new(), said: Some(AgentSaid { code: Some(code), output, duration_ms: 4 }) })
    })
}

fn runs(server: &Server) -> bool {
    server.fake.world.lock().expect("lock").nodes[&server.name].running
}

async fn status(State(server): State<Server>) -> Response {
    if !runs(&server) {
        return not_running();
    }
    Json(server.fake.status(&server.name)).into_response()
}

async fn stream(State(server): State<Server>) -> Response {
    if !runs(&server) {
        return not_running();
    }
    let mut changes = server.fake.changed.subscribe();
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<String, io::Error>>(4);
    tokio::spawn(async move {
        let mut sequence = 0;
        while runs(&server) {
            if server.fake.world.lock().expect("lock").nodes[&server.name].hung {
                changes.changed().await.expect("world");
                continue;
            }
            sequence += 1;
            let position = StreamPosition { stream: format!("stream-{}", server.name), sequence };
            let status = Box::new(server.fake.status(&server.name));
            let facts = server.fake.world.lock().expect("lock").facts.clone();
            let item = StreamItem::Whole { position, status, facts };
            let line = serde_json::to_string(&item).expect("json") + "\n";
            if sender.send(Ok(line)).await.is_err() {
                return;
            }
            tokio::select! {
                changed = changes.changed() => changed.expect("world"),
                () = tokio::time::sleep(std::time::Duration::from_secs(3)) => {}
            }
        }
    });
    Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver)).into_response()
}

async fn request(State(server): State<Server>, Json(request): Json<ClusterRequest>) -> Response {
    if !runs(&server) {
        return not_running();
    }
    let result = server.fake.change(|world| {
        if world.outcomes.contains_key(request.id.as_str()) {
            return Ok(());
        }
        world.requests.push(request.clone());
        let outcome = world.carry_out(&request.command, &request.origin)?;
        world.outcomes.insert(request.id.0.clone(), outcome);
        Ok(())
    });
    match result {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(refusal) => {
            let body = Problem {
                code: ProblemCode::Refused,
                text: "refused".into(),
                refusal: Some(refusal),
                findings: Vec::new(),
                node: None,
            };
            (StatusCode::CONFLICT, Json(body)).into_response()
        }
    }
}

async fn outcome(State(server): State<Server>, Path(id): Path<String>) -> Response {
    match server.fake.world.lock().expect("lock").outcomes.get(&id) {
        Some(outcome) => Json(outcome.clone()).into_response(),
        None => problem(StatusCode::NOT_FOUND, ProblemCode::NotFound, "no such request"),
    }
}

async fn conf(State(server): State<Server>) -> Response {
    let text = server.fake.world.lock().expect("lock").nodes[&server.name].conf.clone();
    match text {
        Some(text) => {
            let version = load(&text).conf.map(|conf| conf.version).unwrap_or_default();
            Json(ConfDocument { version, digest: digest(&text), text }).into_response()
        }
        None => problem(StatusCode::NOT_FOUND, ProblemCode::NotFound, "there is no cluster.conf"),
    }
}

async fn put_conf(State(server): State<Server>, Json(put): Json<PutConf>) -> Response {
    let present = server.fake.change(|world| world.nodes[&server.name].conf.clone()).unwrap_or_default();
    let accepted = match load(&put.text).accept_after(&present) {
        Ok((conf, findings)) => ConfAccepted { version: conf.version, digest: digest(&put.text), findings },
        Err(findings) => {
            let text = "the configuration is not valid".into();
            let body = Problem { code: ProblemCode::Findings, text, refusal: None, findings, node: None };
            return (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response();
        }
    };
    if put.offline {
        if runs(&server) {
            return problem(StatusCode::CONFLICT, ProblemCode::ClusterRunning, "the cluster runs on this node");
        }
        server.fake.change(|world| world.nodes.get_mut(&server.name).expect("node").conf = Some(put.text));
        return (StatusCode::ACCEPTED, Json(accepted)).into_response();
    }
    if !runs(&server) {
        return not_running();
    }
    server.fake.change(|world| {
        for node in world.nodes.values_mut().filter(|node| node.running) {
            node.conf = Some(put.text.clone());
        }
        // What is new and starts by itself is started.
        let services = load(&put.text).conf.map(|conf| conf.services).unwrap_or_default();
        for service in services {
            if service.autostart && !world.services.contains_key(service.name.as_str()) {
                let command = Command::Enable { service: ServiceName(service.name.0), on: None, by_domain: true };
                world.carry_out(&command, "autostart").expect("enabled");
            }
        }
    });
    (StatusCode::ACCEPTED, Json(accepted)).into_response()
}

async fn why(State(server): State<Server>, Path(service): Path<String>) -> Response {
    if !runs(&server) {
        return not_running();
    }
    let status = server.fake.status(&server.name);
    match status.service(&ServiceName::parse(&service)) {
        Some(service) => Json(server.fake.world.lock().expect("lock").explain(service, &status)).into_response(),
        None => problem(StatusCode::NOT_FOUND, ProblemCode::NotFound, &format!("there is no {service} here")),
    }
}

async fn node_why(State(server): State<Server>, Path(node): Path<String>) -> Response {
    if !runs(&server) {
        return not_running();
    }
    let status = server.fake.status(&server.name);
    let world = server.fake.world.lock().expect("lock");
    if world.nodes[&server.name].secrets.is_none() {
        return problem(StatusCode::NOT_FOUND, ProblemCode::NotFound, "there is nothing at this path");
    }
    Json(world.explain_node(&node, &status)).into_response()
}

async fn predict(State(server): State<Server>, Json(assumption): Json<Assumption>) -> Response {
    if !runs(&server) {
        return not_running();
    }
    let status = server.fake.status(&server.name);
    Json(server.fake.world.lock().expect("lock").predict(&assumption, &status)).into_response()
}

async fn key(State(server): State<Server>) -> Response {
    match server.fake.world.lock().expect("lock").nodes[&server.name].key.clone() {
        Some(key_base64) => Json(CorosyncKey { key_base64 }).into_response(),
        None => problem(StatusCode::NOT_FOUND, ProblemCode::NotFound, "there is no key"),
    }
}

async fn put_key(State(server): State<Server>, Json(key): Json<CorosyncKey>) -> StatusCode {
    server.fake.change(|world| world.nodes.get_mut(&server.name).expect("node").key = Some(key.key_base64));
    StatusCode::NO_CONTENT
}

async fn make_key(State(server): State<Server>) -> Json<CorosyncKey> {
    let key_base64 = server.fake.change(|world| {
        let node = world.nodes.get_mut(&server.name).expect("node");
        node.key.get_or_insert_with(|| format!("key-of-{}", server.name)).clone()
    });
    Json(CorosyncKey { key_base64 })
}

async fn start(State(server): State<Server>) -> Response {
    let failure = server.fake.change(|world| {
        let node = world.nodes.get_mut(&server.name).expect("node");
        if node.start_fails.is_none() {
            node.running = true;
            node.enabled = true;
            node.starts += 1;
            world.fact(
                Subject::Node(NodeName(server.name.clone())),
                FactKind::NodeJoined,
                &format!("{} joined the cluster", server.name),
            );
        }
        world.nodes[&server.name].start_fails.clone()
    });
    match failure {
        Some(text) => problem(StatusCode::INTERNAL_SERVER_ERROR, ProblemCode::Internal, &text),
        None => StatusCode::ACCEPTED.into_response(),
    }
}

async fn stop(State(server): State<Server>) -> StatusCode {
    server.fake.change(|world| {
        let node = world.nodes.get_mut(&server.name).expect("node");
        node.running = false;
        node.enabled = false;
        world.fact(
            Subject::Node(NodeName(server.name.clone())),
            FactKind::NodeLeft,
            &format!("{} left the cluster", server.name),
        );
    });
    StatusCode::ACCEPTED
}

async fn forget(State(server): State<Server>) -> StatusCode {
    server.fake.change(|world| {
        let node = world.nodes.get_mut(&server.name).expect("node");
        node.key = None;
        node.conf = None;
    });
    StatusCode::NO_CONTENT
}

/// Hands the client's certificate to the handlers.
#[derive(Clone)]
struct WithPeer(RustlsAcceptor);

impl<S: Send + 'static> Accept<TcpStream, S> for WithPeer {
    type Stream = <RustlsAcceptor as Accept<TcpStream, ()>>::Stream;
    type Service = middleware::AddExtension<S, Peer>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let acceptor = self.0.clone();
        Box::pin(async move {
            // As ricci does: the second half of an answer does not wait for the acknowledgement of the first.
            stream.set_nodelay(true)?;
            let (stream, service) = acceptor.accept(stream, service).await?;
            let peer =
                stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).map(luci::tls::fingerprint);
            Ok((stream, tower::Layer::layer(&Extension(Peer(peer)), service)))
        })
    }
}

/// Lets any client certificate in; pinning decides afterwards, as in ricci.
#[derive(Debug)]
struct AnyClient(Arc<rustls::crypto::CryptoProvider>);

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A cable between luci and a node that can be cut: packets vanish, connections stay.
#[derive(Debug)]
pub struct Cable {
    pub address: SocketAddr,
    cut: watch::Sender<bool>,
}

impl Cable {
    pub async fn to(target: SocketAddr) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let address = listener.local_addr().expect("address");
        let cut = watch::Sender::new(false);
        let state = cut.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(target).await else { continue };
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                tokio::spawn(carry(near_read, far_write, state.subscribe()));
                tokio::spawn(carry(far_read, near_write, state.subscribe()));
            }
        });
        Self { address, cut }
    }

    pub fn cut(&self) {
        self.cut.send_replace(true);
    }
}

/// Carries bytes until the cable is cut; then holds the connection and carries nothing.
async fn carry(
    mut from: impl tokio::io::AsyncRead + Unpin,
    mut to: impl tokio::io::AsyncWrite + Unpin,
    mut cut: watch::Receiver<bool>,
) {
    let until_cut = async move {
        while !*cut.borrow() {
            cut.changed().await.expect("cable");
        }
    };
    tokio::select! {
        _ = tokio::io::copy(&mut from, &mut to) => return,
        () = until_cut => {}
    }
    std::future::pending().await
}
