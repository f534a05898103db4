//! The API's clusters, services, requests, events, and the stream of states.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use shared::ids::{NodeName, RequestId, ServiceName};
use shared::status::{ClusterStatus, Command, ServiceStatus};
use shared::why::{Assumption, Explanation, Prediction};

use super::nodes::NodeBody;
use super::{ADMINISTRATOR, Answer, ApiError, Body, LUCI, OPERATOR, VIEWER, made, says, takes};
use crate::app::clusters::NodeEntry;
use crate::app::foresight::Told;
use crate::app::{App, AppError, Who};
use crate::http::door::{Asked, Route, Rule, delete, get, post};
use crate::http::pages::snapshot;
use crate::repo::clusters::Cluster;
use crate::repo::events::EventFilter;
use crate::repo::requests::{RequestState, StoredRequest};
use crate::tasks::PairSecret;
use crate::views::cluster::health;
use crate::views::timeline::Choice;
use crate::watcher::Link;

/// Requests and events in one answer.
const LINES: i64 = 100;
/// A comment is sent this often, so that a dead link is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/api/v1/clusters", Rule::Account, clusters).doc(says("Clusters", 200, "Clusters")),
        post("/api/v1/clusters", LUCI, create).doc(takes(
            "Create a cluster; the task waits for its fingerprints to be confirmed",
            "NewCluster",
            202,
            "Task",
        )),
        post("/api/v1/import-cluster", LUCI, import).doc(takes(
            "Add an existing cluster through one of its nodes",
            "NewNode",
            202,
            "Task",
        )),
        get("/api/v1/clusters/{cluster}", VIEWER, cluster).doc(says("A cluster with its whole state", 200, "Cluster")),
        delete("/api/v1/clusters/{cluster}", ADMINISTRATOR, remove).doc(says(
            "Forget a cluster; the cluster itself runs on",
            204,
            "None",
        )),
        get("/api/v1/clusters/{cluster}/stream", VIEWER, stream).doc(says(
            "Server-sent events: `cluster` with its whole state, at once and at every change",
            200,
            "Stream",
        )),
        post("/api/v1/clusters/{cluster}/actions/{action}", OPERATOR, cluster_action).doc(says(
            "Lock or unlock its services: `lock`, `unlock`",
            202,
            "Request",
        )),
        get("/api/v1/clusters/{cluster}/services", VIEWER, services).doc(says(
            "Services and their states",
            200,
            "Services",
        )),
        get("/api/v1/clusters/{cluster}/services/{service}", VIEWER, service).doc(says("A service", 200, "Service")),
        post("/api/v1/clusters/{cluster}/services/{service}/actions/{action}", OPERATOR, service_action).doc(takes(
            "`enable`, `disable`, `stop`, `restart`, `relocate`, `migrate`, `freeze`, `unfreeze`, `convalesce`",
            "Target",
            202,
            "Request",
        )),
        get("/api/v1/clusters/{cluster}/services/{service}/why", VIEWER, why).doc(says(
            "Why a service is where and as it is, test by test, as a member tells it now",
            200,
            "Explanation",
        )),
        post("/api/v1/clusters/{cluster}/predictions", VIEWER, predict).doc(takes(
            "What would come of something, computed by a member; nothing is done",
            "Assumption",
            200,
            "Prediction",
        )),
        get("/api/v1/clusters/{cluster}/requests", VIEWER, requests).doc(says(
            "Requests, newest first",
            200,
            "Requests",
        )),
        get("/api/v1/clusters/{cluster}/requests/{request}", VIEWER, request).doc(says(
            "A request and what became of it",
            200,
            "Request",
        )),
        get("/api/v1/clusters/{cluster}/events", VIEWER, events)
            .doc(says("Events, newest first", 200, "Events").asking(WHICH_EVENTS)),
    ]
}

#[derive(Serialize)]
pub(super) struct ClusterBody {
    name: String,
    /// `live`, `not-running` or `unknown`.
    known: &'static str,
    /// When a member last confirmed the status, in milliseconds since the epoch.
    status_at: Option<i64>,
    verdict: &'static str,
    sentence: String,
    /// What the reader may there.
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<ClusterStatus>,
}

fn body(app: &App, who: &Who, cluster: &Cluster, whole: bool) -> ClusterBody {
    let snapshot = snapshot(app, cluster);
    let health = health(&snapshot);
    ClusterBody {
        name: cluster.name.clone(),
        known: match snapshot.link {
            Link::Live { .. } => "live",
            Link::NotRunning { .. } => "not-running",
            Link::Lost { .. } => "unknown",
        },
        status_at: snapshot.status_at,
        verdict: health.badge.word,
        sentence: health.sentence,
        role: who.access.on(cluster.id).map(crate::repo::users::Role::name),
        status: if whole { snapshot.status.as_deref().cloned() } else { None },
    }
}

async fn clusters(State(app): State<App>, who: Who) -> Answer<Json<Vec<ClusterBody>>> {
    let clusters = app.repo.clusters().await?;
    let seen = clusters.iter().filter(|cluster| who.access.on(cluster.id).is_some());
    Ok(Json(seen.map(|cluster| body(&app, &who, cluster, false)).collect()))
}

async fn cluster(State(app): State<App>, who: Who, Path(name): Path<String>) -> Answer<Json<ClusterBody>> {
    Ok(Json(body(&app, &who, &app.cluster(&name).await?, true)))
}

/// A node and the proof that it may be controlled.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewNodeBody {
    name: String,
    /// Where its ricci is; the name if absent.
    host: Option<String>,
    port: Option<u16>,
    /// Of the system user `ricci` there.
    password: Option<String>,
    /// Printed by `ricci token`.
    token: Option<String>,
}

impl NewNodeBody {
    pub(super) fn entry(self) -> NodeEntry {
        let host = self.host.filter(|host| !host.is_empty()).unwrap_or_else(|| self.name.clone());
        let node =
            crate::repo::nodes::NewNode { name: self.name.into(), host, port: self.port.unwrap_or(shared::api::PORT) };
        let secret = match (self.token, self.password) {
            (Some(token), _) => Some(PairSecret::Token(token)),
            (None, password) => password.map(PairSecret::Password),
        };
        NodeEntry { node, secret }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewClusterBody {
    name: String,
    nodes: Vec<NewNodeBody>,
}

/// A task that was begun.
#[derive(Serialize)]
struct Begun {
    id: String,
}

pub(super) fn begun(task: String) -> Response {
    made(StatusCode::ACCEPTED, format!("/api/v1/tasks/{task}"), Begun { id: task })
}

async fn create(State(app): State<App>, who: Who, Body(new): Body<NewClusterBody>) -> Answer<Response> {
    let entries = new.nodes.into_iter().map(NewNodeBody::entry).collect();
    Ok(begun(app.create_cluster(&who, &new.name, entries).await?))
}

async fn import(State(app): State<App>, who: Who, Body(node): Body<NewNodeBody>) -> Answer<Response> {
    Ok(begun(app.import_cluster(&who, node.entry()).await?))
}

async fn remove(State(app): State<App>, who: Who, Path(name): Path<String>) -> Answer<StatusCode> {
    let cluster = app.cluster(&name).await?;
    app.remove_cluster(&who, &cluster).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The whole state at once and at every change. Ends with luci, the cluster, and the reader's right to see it.
async fn stream(
    State(app): State<App>,
    who: Who,
    Path(name): Path<String>,
) -> Answer<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let cluster = app.cluster(&name).await?;
    let missing = || AppError::NoSuch { what: "cluster", name: name.clone() };
    let mut changes = app.watchers.subscribe(cluster.id).ok_or_else(missing)?;
    let mut any = app.watchers.subscribe_any();
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Event, Infallible>>(8);
    let background = app.background.clone();
    background.spawn("api stream", async move {
        let mut due = true;
        loop {
            any.mark_unchanged();
            let Ok(Some(who)) = app.still(&who).await else { return };
            if due {
                changes.mark_unchanged();
                let Ok(text) = serde_json::to_string(&body(&app, &who, &cluster, true)) else { return };
                if sender.send(Ok(Event::default().event("cluster").data(text))).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return } else { due = true },
                // A role may have been taken away.
                changed = any.changed() => if changed.is_err() { return } else { due = changes.has_changed().unwrap_or(false) },
                () = sender.closed() => return,
            }
        }
    });
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// A request and what became of it.
#[derive(Serialize)]
struct RequestBody {
    id: String,
    command: Command,
    user: String,
    at: i64,
    state: RequestState,
    text: Option<String>,
    ended_at: Option<i64>,
}

fn request_body(request: StoredRequest) -> RequestBody {
    RequestBody {
        id: request.id.0,
        command: request.command,
        user: request.user,
        at: request.at,
        state: request.state,
        text: request.text,
        ended_at: request.ended_at,
    }
}

/// Hands a request in: 202 with where its outcome will stand, or 409 with the engine's refusal.
pub(super) async fn ask(app: &App, who: &Who, cluster: &Cluster, command: Command) -> Answer<Response> {
    let request = app.request(who, cluster, command).await?;
    if request.state == RequestState::Refused {
        let verb = request.command.verb();
        let why = request.text.unwrap_or_default();
        return Err(ApiError::from(AppError::Conflict(format!("{verb} was refused: {why}"))));
    }
    let location = format!("/api/v1/clusters/{}/requests/{}", cluster.name, request.id);
    Ok(made(StatusCode::ACCEPTED, location, request_body(request)))
}

async fn cluster_action(
    State(app): State<App>,
    who: Who,
    Path((name, action)): Path<(String, String)>,
) -> Answer<Response> {
    let cluster = app.cluster(&name).await?;
    let command = match action.as_str() {
        "lock" => Command::Lock,
        "unlock" => Command::Unlock,
        _ => return Err(AppError::NoSuch { what: "action on a cluster", name: action }.into()),
    };
    ask(&app, &who, &cluster, command).await
}

async fn services(State(app): State<App>, Path(name): Path<String>) -> Answer<Json<Vec<ServiceStatus>>> {
    let snapshot = snapshot(&app, &app.cluster(&name).await?);
    Ok(Json(snapshot.status.map(|status| status.services.clone()).unwrap_or_default()))
}

async fn service(State(app): State<App>, Path((name, service)): Path<(String, String)>) -> Answer<Json<ServiceStatus>> {
    let snapshot = snapshot(&app, &app.cluster(&name).await?);
    let service = ServiceName::parse(&service);
    let found = snapshot.status.as_deref().and_then(|status| status.service(&service)).cloned();
    Ok(Json(found.ok_or(AppError::NoSuch { what: "service", name: service.0 })?))
}

/// On which node; where the failover domain wants it if absent.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    #[serde(default)]
    node: Option<String>,
}

async fn service_action(
    State(app): State<App>,
    who: Who,
    Path((name, service, action)): Path<(String, String, String)>,
    Body(target): Body<Target>,
) -> Answer<Response> {
    let cluster = app.cluster(&name).await?;
    let node = target.node.map(NodeName);
    let command = crate::http::services::command_of(&action, node, ServiceName::parse(&service))?;
    ask(&app, &who, &cluster, command).await
}

async fn requests(State(app): State<App>, Path(name): Path<String>) -> Answer<Json<Vec<RequestBody>>> {
    let cluster = app.cluster(&name).await?;
    let requests = app.repo.recent_requests(cluster.id, LINES).await?;
    Ok(Json(requests.into_iter().map(request_body).collect()))
}

async fn request(State(app): State<App>, Path((name, id)): Path<(String, String)>) -> Answer<Json<RequestBody>> {
    let cluster = app.cluster(&name).await?;
    let found = app.repo.request(&RequestId(id.clone())).await?.filter(|request| request.cluster == cluster.id);
    Ok(Json(request_body(found.ok_or(AppError::NoSuch { what: "request", name: id })?)))
}

/// What a member said, and when.
#[derive(Serialize)]
struct ToldBody<T> {
    by: NodeName,
    at: i64,
    #[serde(flatten)]
    what: T,
}

impl<T> From<Told<T>> for ToldBody<T> {
    fn from(Told { by, at, what }: Told<T>) -> Self {
        Self { by, at, what }
    }
}

async fn why(
    State(app): State<App>,
    Path((name, service)): Path<(String, String)>,
) -> Answer<Json<ToldBody<Explanation>>> {
    let cluster = app.cluster(&name).await?;
    Ok(Json(app.explain(&cluster, &ServiceName::parse(&service)).await?.into()))
}

async fn predict(
    State(app): State<App>,
    Path(name): Path<String>,
    Body(assumption): Body<Assumption>,
) -> Answer<Json<ToldBody<Prediction>>> {
    let cluster = app.cluster(&name).await?;
    Ok(Json(app.predict(&cluster, &assumption).await?.into()))
}

/// The fields of [`WhichEvents`].
const WHICH_EVENTS: &[Asked] = &[
    Asked::optional("before", "integer", "Only events with a smaller id"),
    Asked::optional("problems", "boolean", "Only warnings and errors"),
    Asked::optional("about", "string", "Only about `cluster`, `node:NAME` or `service:NAME`"),
    Asked::optional("group", "string", "Only `membership`, `fencing`, `services`, `requests` or `configuration`"),
    Asked::optional("words", "string", "Only those with each of these words in text, reason or subject"),
];

#[derive(Deserialize)]
struct WhichEvents {
    #[serde(default)]
    before: Option<i64>,
    #[serde(default)]
    problems: bool,
    /// `cluster`, `node:NAME`, `service:NAME`.
    #[serde(default)]
    about: String,
    /// `membership`, `fencing`, `services`, `requests`, `configuration`.
    #[serde(default)]
    group: String,
    /// Words that all stand in an event's text, reason or subject.
    #[serde(default)]
    words: String,
}

async fn events(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(which): Query<WhichEvents>,
) -> Answer<Response> {
    let cluster = app.cluster(&name).await?;
    let choice = Choice { about: which.about, group: which.group, words: which.words, problems: which.problems };
    let filter = choice.filter().ok_or_else(|| {
        AppError::field("about", "about is cluster, node:NAME or service:NAME; group is one of the timeline's groups")
    })?;
    let filter = EventFilter { before: which.before, ..filter };
    Ok(Json(app.repo.events(cluster.id, &filter, LINES).await?).into_response())
}

/// The nodes of a cluster as luci knows them.
pub(super) async fn node_bodies(app: &App, cluster: &Cluster) -> Answer<Vec<NodeBody>> {
    let snapshot = snapshot(app, cluster);
    let nodes = app.repo.nodes_of(cluster.id).await?;
    Ok(nodes.iter().map(|node| NodeBody::new(node, &snapshot)).collect())
}
