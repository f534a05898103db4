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
use rustls::DistinguishedName;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime};
use shared::api::{
    Alive, ConfAccepted, ConfDocument, ConfOnDisk, CorosyncKey, DaemonState, NodeReport, PairRequest, Paired, Problem,
    ProblemCode, PutConf, path,
};
use shared::conf::{digest, load};
use shared::ids::{BootId, NodeId, NodeName, ServiceName, Time};
use shared::status::{
    ClusterStatus, Command, ConfInForce, Fact, FactKind, FactSeverity, FencingStatus, Membership, NodeStatus, Outcome,
    Phase, Quorum, Reason, Refusal, Request as ClusterRequest, ResourceState, ResourceStatus, ServiceStatus,
    StreamItem, StreamPosition, Subject,
};
use shared::text::{ResultCode, ServiceState};
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

/// Everything.
#[derive(Debug, Default)]
pub struct World {
    pub nodes: BTreeMap<String, NodeState>,
    pub services: BTreeMap<String, FakeService>,
    pub facts: Vec<Fact>,
    pub outcomes: BTreeMap<String, Outcome>,
    pub requests: Vec<ClusterRequest>,
    pub locked: bool,
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
        let router = self.router(name);
        tokio::spawn(async move {
            let server = axum_server::from_tcp(listener).expect("server").acceptor(acceptor);
            server.serve(router.into_make_service()).await.expect("serving");
        });
        FakeNode { name: name.to_owned(), address, fingerprint }
    }

    fn router(&self, name: &str) -> Router {
        let server = Server { fake: self.clone(), name: name.to_owned() };
        let closed = Router::new()
            .route(path::NODE, get(report))
            .route(path::STATUS, get(status))
            .route(path::STATUS_STREAM, get(stream))
            .route(path::REQUESTS, post(request))
            .route(path::REQUEST, get(outcome))
            .route(path::CONF, get(conf).put(put_conf))
            .route(path::COROSYNC_KEY, get(key).put(put_key).post(make_key))
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

impl World {
    fn newest_conf(&self) -> Option<String> {
        let running = self.nodes.values().filter(|node| node.running);
        running.filter_map(|node| node.conf.clone()).max_by_key(|text| load(text).conf.map(|conf| conf.version))
    }

    pub fn fact(&mut self, subject: Subject, kind: FactKind, text: &str) {
        self.facts.push(Fact {
            at: now(),
            subject,
            severity: FactSeverity::Info,
            kind,
            text: text.into(),
            reason: None,
        });
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
                    boot_id: None,
                    conf_version: version.filter(|_| running),
                    fencing: self.fencing.get(name.as_str()).cloned(),
                    last_fenced: None,
                    fence_proofs: Vec::new(),
                    standby: false,
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
        self.fact(Subject::Service(service.clone()), FactKind::ServiceStarted, &format!("{service} is {word}"));
        done(owner)
    }
}

fn problem(status: StatusCode, code: ProblemCode, text: &str) -> Response {
    let body = Problem { code, text: text.into(), refusal: None, findings: Vec::new(), node: None };
    (status, Json(body)).into_response()
}

fn not_running() -> Response {
    problem(StatusCode::SERVICE_UNAVAILABLE, ProblemCode::ClusterNotRunning, "the cluster does not run on this node")
}

async fn hang(State(server): State<Server>, request: Request, next: Next) -> Response {
    loop {
        let mut changes = server.fake.changed.subscribe();
        if !server.fake.world.lock().expect("lock").nodes[&server.name].hung {
            return next.run(request).await;
        }
        changes.changed().await.expect("world");
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
    let node = server.fake.world.lock().expect("lock").nodes[&server.name].clone();
    let daemon = DaemonState {
        installed: true,
        running: node.running,
        enabled_at_boot: node.enabled,
        version: Some("3.1.7".into()),
    };
    let conf = node.conf.as_ref().and_then(|text| load(text).conf.map(|conf| (conf, digest(text))));
    Json(NodeReport {
        hostname: server.name,
        boot_id: BootId("boot-1".into()),
        ricci_version: "0.1.0".into(),
        uptime_s: 7200,
        corosync: daemon.clone(),
        rgmanager: daemon,
        conf: conf.map(|(conf, digest)| ConfOnDisk { cluster: conf.name, version: conf.version, digest }),
        has_corosync_key: node.key.is_some(),
        operation: None,
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
    let accepted = match load(&put.text).accept() {
        Ok(conf) => ConfAccepted { version: conf.version, digest: digest(&put.text) },
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
                &format!("{} joined", server.name),
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
        world.fact(Subject::Node(NodeName(server.name.clone())), FactKind::NodeLeft, &format!("{} left", server.name));
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

type Tls<I> = <RustlsAcceptor as Accept<I, ()>>::Stream;

impl<I, S> Accept<I, S> for WithPeer
where
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    S: Send + 'static,
{
    type Stream = Tls<I>;
    type Service = middleware::AddExtension<S, Peer>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let acceptor = self.0.clone();
        Box::pin(async move {
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
                let Ok(far) = tokio::net::TcpStream::connect(target).await else { continue };
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
