//! A simulated cluster: its configuration, its status, and a ricci on every node that speaks the contract over real TLS. It
//! answers at once; what is measured is luci.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use shared::agents::metadata::{AgentClass, AgentSchema, parse};
use shared::api::{AgentSummary, ConfDocument, ConfOnDisk, DaemonState, NodeReport, ProblemCode, path};
use shared::conf::{digest, load};
use shared::ids::{BootId, NodeName, ServiceName};
use shared::status::{
    ClusterStatus, Fact, FactKind, FactSeverity, Reason, ServiceStatus, StreamItem, StreamPosition, Subject,
};
use shared::text::ServiceState;
use shared::why::{Assumption, Explanation};
use tokio::sync::broadcast;

use crate::fake::{Fake, FakeNode, FakeService, World, now, problem, serve};

/// A member says something at least every five seconds.
const ALIVE_EVERY: Duration = Duration::from_secs(4);
/// Agents of each class on every node.
const AGENTS: usize = 12;
/// Metadata of all of them; the shape of a usual fence agent.
const METADATA: &str = r#"<resource-agent name="agent" shortdesc="A simulated agent">
<parameters><parameter name="ip" required="1"><content type="string"/><shortdesc lang="en">Address</shortdesc></parameter>
<parameter name="login"><content type="string"/><shortdesc lang="en">Name to log in with</shortdesc></parameter>
<parameter name="plug"><content type="string"/><shortdesc lang="en">Plug</shortdesc></parameter></parameters>
<actions><action name="on"/><action name="off"/><action name="reboot"/><action name="status"/></actions></resource-agent>"#;

/// How large the simulated clusters are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) nodes: usize,
    pub(crate) services: usize,
}

/// Name of a node.
pub(crate) fn node_name(place: usize) -> String {
    format!("node{:02}", place + 1)
}

/// Name of a service.
pub(crate) fn service_name(place: usize) -> String {
    format!("web{place:03}")
}

/// A cluster and its riccis.
pub(crate) struct Cluster {
    pub(crate) name: String,
    pub(crate) nodes: Vec<FakeNode>,
    status: Arc<Mutex<ClusterStatus>>,
    told: broadcast::Sender<Arc<str>>,
    sequence: Arc<Mutex<u64>>,
}

#[derive(Clone)]
struct Server {
    report: Arc<NodeReport>,
    conf: Arc<ConfDocument>,
    agents: Arc<Vec<AgentSummary>>,
    schema: Arc<AgentSchema>,
    status: Arc<Mutex<ClusterStatus>>,
    told: broadcast::Sender<Arc<str>>,
    sequence: Arc<Mutex<u64>>,
}

/// cluster.conf of a simulated cluster: a domain per eight nodes, a fence device per node, an address and a script per service.
fn conf_text(name: &str, size: Size) -> String {
    let mut nodes = String::new();
    let mut devices = String::new();
    for place in 0..size.nodes {
        let (node, id) = (node_name(place), place + 1);
        nodes.push_str(&format!(
            "<clusternode name=\"{node}\" nodeid=\"{id}\"><fence><method name=\"power\"><device name=\"bmc{id}\"/></method></fence></clusternode>\n"
        ));
        devices.push_str(&format!(
            "<fencedevice name=\"bmc{id}\" agent=\"fence_ipmilan\" ipaddr=\"10.0.0.{id}\" login=\"admin\" passwd=\"secret\"/>\n"
        ));
    }
    let mut domains = String::new();
    for domain in 0..size.nodes.div_ceil(8) {
        let members = (domain * 8..size.nodes.min(domain * 8 + 8))
            .map(|place| format!("<failoverdomainnode name=\"{}\" priority=\"{}\"/>", node_name(place), place % 8 + 1));
        domains.push_str(&format!(
            "<failoverdomain name=\"domain{domain}\" ordered=\"1\">{}</failoverdomain>\n",
            members.collect::<String>()
        ));
    }
    let services: String = (0..size.services)
        .map(|place| {
            let domain = place % size.nodes.div_ceil(8);
            let (service, third, fourth) = (service_name(place), place / 250, place % 250 + 1);
            format!(
                "<service name=\"{service}\" domain=\"domain{domain}\" recovery=\"relocate\"><ip address=\"10.1.{third}.{fourth}\"><script name=\"{service}\" file=\"/etc/init.d/httpd\"/></ip></service>\n"
            )
        })
        .collect();
    format!(
        "<?xml version=\"1.0\"?>\n<cluster name=\"{name}\" config_version=\"7\">\n<clusternodes>\n{nodes}</clusternodes>\n\
         <fencedevices>\n{devices}</fencedevices>\n<rm><failoverdomains>\n{domains}</failoverdomains>\n{services}</rm>\n</cluster>\n"
    )
}

/// The status of a cluster in which everything runs.
fn whole_status(text: &str, size: Size) -> ClusterStatus {
    let fake = Fake::new();
    fake.change(|world| {
        for place in 0..size.nodes {
            let node = world.nodes.entry(node_name(place)).or_default();
            node.running = true;
            node.conf = Some(text.to_owned());
        }
        for place in 0..size.services {
            let owner = NodeName(node_name(place % size.nodes));
            let service = FakeService {
                state: ServiceState::Started,
                owner: Some(owner.clone()),
                last: None,
                frozen: false,
                reason: Reason::Autostart,
                at: now(),
            };
            world.services.insert(format!("service:{}", service_name(place)), service);
        }
    });
    fake.status(&node_name(0))
}

impl Cluster {
    /// Starts the riccis of all its nodes.
    pub(crate) fn start(name: &str, size: Size) -> Self {
        let text = conf_text(name, size);
        let loaded = load(&text);
        let conf = loaded.conf.expect("a configuration");
        let status = Arc::new(Mutex::new(whole_status(&text, size)));
        let document = ConfDocument { version: conf.version, digest: digest(&text), text };
        let told = broadcast::Sender::new(64);
        let sequence = Arc::new(Mutex::new(1));
        let summary = |place: usize| AgentSummary {
            name: format!("fence_simulated{place}"),
            short: "A simulated agent".into(),
            version: Some("1.0".into()),
            digest: Some("simulated".into()),
            problem: None,
        };
        let server = Server {
            report: Arc::new(report(&document, &conf.name.to_string())),
            conf: Arc::new(document),
            agents: Arc::new((0..AGENTS).map(summary).collect()),
            schema: Arc::new(parse(AgentClass::Fence, METADATA).expect("metadata")),
            status: Arc::clone(&status),
            told: told.clone(),
            sequence: Arc::clone(&sequence),
        };
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let nodes = (0..size.nodes)
            .map(|place| {
                let name = node_name(place);
                let mut own = server.clone();
                own.report = Arc::new(NodeReport { hostname: name.clone(), ..(*server.report).clone() });
                serve(&name, anywhere, router(own))
            })
            .collect();
        Self { name: name.to_owned(), nodes, status, told, sequence }
    }

    /// A service moves to the next node, and the members tell it with this mark in the text of the event.
    pub(crate) fn move_service(&self, place: usize, mark: &str, size: Size) {
        let item = {
            let mut status = self.status.lock().expect("lock");
            let full = format!("service:{}", service_name(place));
            let service = status.services.iter_mut().find(|service| service.name.as_str() == full).expect("service");
            let before = service.owner.take();
            let next = (0..size.nodes).find(|at| before.as_ref().is_some_and(|name| name.as_str() == node_name(*at)));
            let owner = NodeName(node_name((next.unwrap_or(0) + 1) % size.nodes));
            service.owner = Some(owner.clone());
            service.last_owner = before;
            service.last_transition = Some(now());
            let changed: ServiceStatus = service.clone();
            let fact = Fact {
                at: now(),
                subject: Subject::Service(changed.name.clone()),
                severity: FactSeverity::Info,
                kind: FactKind::ServiceStarted,
                text: format!("{full} started on {owner}, {mark}"),
                reason: None,
            };
            let head = ClusterStatus { nodes: Vec::new(), services: Vec::new(), ..status.clone() };
            StreamItem::Change {
                position: self.position(),
                head: Box::new(head),
                nodes: Vec::new(),
                nodes_removed: Vec::new(),
                services: vec![changed],
                services_removed: Vec::new(),
                facts: vec![fact],
            }
        };
        // Nobody listens: luci has lost this cluster, and the figures will show it.
        let _ = self.told.send(line(&item));
    }

    fn position(&self) -> StreamPosition {
        let mut sequence = self.sequence.lock().expect("lock");
        *sequence += 1;
        StreamPosition { stream: "simulated".into(), sequence: *sequence }
    }
}

fn line(item: &StreamItem) -> Arc<str> {
    (serde_json::to_string(item).expect("json") + "\n").into()
}

fn report(conf: &ConfDocument, cluster: &str) -> NodeReport {
    let daemon =
        DaemonState { installed: true, running: true, enabled_at_boot: true, version: Some("3.1.7".to_owned()) };
    NodeReport {
        hostname: String::new(),
        boot_id: BootId("boot-1".into()),
        ricci_version: "0.1.0".into(),
        uptime_s: 7200,
        corosync: daemon.clone(),
        rgmanager: daemon,
        conf: Some(ConfOnDisk { cluster: cluster.into(), version: conf.version, digest: conf.digest.clone() }),
        has_corosync_key: true,
        secrets_missing: Vec::new(),
        operation: None,
        watches: Vec::new(),
        fence_key: None,
    }
}

fn router(server: Server) -> Router {
    let lists = BTreeMap::from([(path::FENCE_AGENTS, true), (path::RESOURCE_AGENTS, false)]);
    let mut router = Router::new()
        .route(path::NODE, get(|State(server): State<Server>| async move { Json((*server.report).clone()) }))
        .route(path::CONF, get(|State(server): State<Server>| async move { Json((*server.conf).clone()) }))
        .route(path::STATUS_STREAM, get(stream))
        .route(path::WHY, get(why))
        .route(path::NODE_WHY, get(node_why))
        .route(path::PREDICT, post(predict))
        .route(path::FENCE_AGENT_SCHEMA, get(schema));
    for (path, some) in lists {
        let list = move |State(server): State<Server>| async move {
            Json(if some { (*server.agents).clone() } else { Vec::new() })
        };
        router = router.route(path, get(list));
    }
    // Nobody has made a key for these nodes, and nothing else is asked of them.
    let nothing =
        || async { problem(StatusCode::NOT_FOUND, ProblemCode::NotFound, "there is nothing of that kind here") };
    router.fallback(nothing).with_state(server)
}

async fn why(State(server): State<Server>, Path(service): Path<String>) -> Response {
    let status = server.status.lock().expect("lock").clone();
    let service = status.service(&ServiceName::parse(&service));
    service.map_or_else(
        || StatusCode::NOT_FOUND.into_response(),
        |service| Json(World::default().explain(service, &status)).into_response(),
    )
}

async fn node_why(State(server): State<Server>, Path(node): Path<String>) -> Json<Vec<Explanation>> {
    let status = server.status.lock().expect("lock").clone();
    Json(World::default().explain_node(&node, &status))
}

async fn predict(State(server): State<Server>, Json(assumption): Json<Assumption>) -> Response {
    let status = server.status.lock().expect("lock").clone();
    Json(World::default().predict(&assumption, &status)).into_response()
}

async fn schema(State(server): State<Server>, Path(name): Path<String>) -> Json<AgentSchema> {
    let mut schema = (*server.schema).clone();
    schema.name = name;
    Json(schema)
}

/// The status stream: everything first, then changes, and a sign of life when nothing happens.
async fn stream(State(server): State<Server>) -> Response {
    let mut told = server.told.subscribe();
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<String, io::Error>>(16);
    let at = *server.sequence.lock().expect("lock");
    let position = StreamPosition { stream: "simulated".into(), sequence: at };
    let status = Box::new(server.status.lock().expect("lock").clone());
    let first = line(&StreamItem::Whole { position: position.clone(), status, facts: Vec::new() });
    tokio::spawn(async move {
        let mut next: Arc<str> = first;
        while sender.send(Ok(next.to_string())).await.is_ok() {
            next = tokio::select! {
                item = told.recv() => match item {
                    Ok(item) => item,
                    Err(_) => return,
                },
                () = tokio::time::sleep(ALIVE_EVERY) => line(&StreamItem::Alive { position: position.clone() }),
                () = sender.closed() => return,
            };
        }
    });
    Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver)).into_response()
}
