//! One function per path of `shared::api`: take the parsed request, one call, answer. Named after what is asked.
//! Who may call and for how long is decided before they run (`routes`).

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use shared::agents::metadata::{AgentClass, AgentSchema};
use shared::api::{
    AgentMetadata, AgentSummary, Alive, CheckConf, Checked, ConfAccepted, ConfDocument, ConfPreview, CorosyncKey,
    FenceKey, FenceTest, FenceTested, HostOperationKind, LogLine, MakeFenceKey, NodeReport, PairRequest, Paired,
    ProblemCode, PutConf, Secret, SecretNames, StartCluster, StopCluster, ValidateAgent, Validated,
};
use shared::conf::Document;
use shared::ids::{NodeName, RequestId, ServiceName};
use shared::socket::{Ask, PutConf as PutResult, Reply};
use shared::status::{Answer, ClusterStatus, Outcome, Request, StreamItem, StreamPosition};
use shared::why::{Assumption, Explanation, Prediction};

use super::app::App;
use super::host::Daemon;
use super::problem::ApiError;
use super::request_body::JsonBody;
use super::routes::{Caller, Manager};
use super::socket::{SocketError, Watch, unexpected};
use super::{conf, corosync_key, fence_key, fence_test, openapi, pairing, secrets};

/// For questions that rgmanager answers from memory.
const ASK_WAIT: Duration = Duration::from_secs(3);
/// For a small part of a report.
const WATCHES_WAIT: Duration = Duration::from_secs(1);
/// A request is multicast before it is answered.
const REQUEST_WAIT: Duration = Duration::from_secs(4);
/// A new configuration is stored by all members before it is answered.
const PUT_CONF_WAIT: Duration = Duration::from_secs(25);
/// How long a question for an outcome waits before it answers "not yet".
const OUTCOME_WAIT: Duration = Duration::from_secs(20);
/// A new stream begins with everything, at once.
const STREAM_WAIT: Duration = Duration::from_secs(4);
/// A resumed one begins with what was missed, which may be nothing for a while.
const RESUME_WAIT: Duration = Duration::from_secs(1);
/// rgmanager sends something every few seconds; silence this long means that it hangs.
const STREAM_SILENCE: Duration = Duration::from_secs(12);

type Answered<T> = Result<Json<T>, ApiError>;
type Shared = State<Arc<App>>;

pub(super) async fn alive() -> Json<Alive> {
    Json(Alive { program: "ricci".into(), version: env!("CARGO_PKG_VERSION").into() })
}

pub(super) async fn pair(
    State(app): Shared,
    Extension(caller): Extension<Caller>,
    JsonBody(request): JsonBody<PairRequest>,
) -> Answered<Paired> {
    let certificate = caller.certificate.ok_or_else(|| {
        ApiError::bad_request("pairing pins the client certificate of the connection, and this one has none")
    })?;
    pairing::pair(&app, caller.address.ip(), certificate, request).await?;
    let cluster = conf::on_disk(&app).await?.map(|conf| conf.cluster);
    Ok(Json(Paired { hostname: app.hostname.clone(), boot_id: app.boot_id.clone(), cluster }))
}

pub(super) async fn unpair(State(app): Shared, Extension(manager): Extension<Manager>) -> Result<StatusCode, ApiError> {
    app.pins.remove(&manager.0.fingerprint).await?;
    tracing::info!(who = %manager, "unpaired");
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn node(State(app): Shared) -> Answered<NodeReport> {
    let (corosync, rgmanager) = tokio::join!(app.host.state(Daemon::Corosync), app.host.state(Daemon::Rgmanager));
    let mut corosync = corosync.map_err(|error| ApiError::internal(&error))?;
    let mut rgmanager = rgmanager.map_err(|error| ApiError::internal(&error))?;
    let rgmanager_program = app.options.rgmanager();
    (corosync.version, rgmanager.version) = tokio::join!(
        app.versions.of(&app.options.corosync_program, "-v"),
        app.versions.of(&rgmanager_program, "--version"),
    );
    Ok(Json(NodeReport {
        hostname: app.hostname.clone(),
        boot_id: app.boot_id.clone(),
        ricci_version: env!("CARGO_PKG_VERSION").into(),
        uptime_s: u64::try_from(rustix::system::sysinfo().uptime).unwrap_or_default(),
        corosync,
        rgmanager,
        conf: conf::on_disk(&app).await?,
        has_corosync_key: corosync_key::path(&app).is_file(),
        secrets_missing: secrets::missing(&app).await?,
        fence_key: fence_key::fingerprint(&app).await?,
        operation: app.operations.last().await,
        watches: watches(&app).await,
    }))
}

/// Told by rgmanager, which may hang; the rest of the report must not wait for it.
async fn watches(app: &App) -> Vec<shared::watch::Watch> {
    match app.rgmanager.ask(&Ask::Status, WATCHES_WAIT).await {
        Ok(Reply::Status { status }) => status.nodes.into_iter().find(|node| node.local).map(|node| node.watches),
        _ => None,
    }
    .unwrap_or_default()
}

pub(super) async fn status(State(app): Shared) -> Answered<Box<ClusterStatus>> {
    match app.rgmanager.ask(&Ask::Status, ASK_WAIT).await? {
        Reply::Status { status } => Ok(Json(status)),
        other => Err(unexpected(&other).into()),
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Since {
    stream: Option<String>,
    sequence: Option<u64>,
}

pub(super) async fn stream_status(
    State(app): Shared,
    Extension(manager): Extension<Manager>,
    since: Result<Query<Since>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(since) = since.map_err(|error| ApiError::bad_request(error.body_text()))?;
    let since = match (since.stream, since.sequence) {
        (Some(stream), Some(sequence)) => Some(StreamPosition { stream, sequence }),
        (None, None) => None,
        _ => return Err(ApiError::bad_request("to resume, both `stream` and `sequence` are needed")),
    };
    let place = Arc::clone(&app.streams).try_acquire_owned().map_err(|_| {
        ApiError::refused("too many status streams are open on this node; close one, or use another node")
    })?;
    let resumes = since.is_some();
    let mut watch = app.rgmanager.watch(since, ASK_WAIT).await?;
    let first = match watch.next(if resumes { RESUME_WAIT } else { STREAM_WAIT }).await {
        Ok(first) => Some(first),
        Err(SocketError::TooSlow { .. }) if resumes => None,
        Err(error) => return Err(error.into()),
    };
    let state = (app, manager, first, watch, place);
    let lines = futures_util::stream::unfold(state, |(app, manager, first, mut watch, place)| async move {
        let item = match first {
            Some(first) => first,
            None => next_item(&app, &manager, &mut watch).await?,
        };
        let line = serde_json::to_vec(&item).map(|mut line| {
            line.push(b'\n');
            Bytes::from(line)
        });
        Some((line, (app, manager, None, watch, place)))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

/// The next line of a stream; `None` ends it, and the reader comes back with its position.
async fn next_item(app: &App, manager: &Manager, watch: &mut Watch) -> Option<StreamItem> {
    let mut stopping = app.stopping.clone();
    let item = tokio::select! {
        item = watch.next(STREAM_SILENCE) => item,
        _ = stopping.wait_for(|stopping| *stopping) => return None,
    };
    // Whoever was unpaired meanwhile hears no more.
    app.pins.find(&manager.0.fingerprint)?;
    match item {
        Ok(item) => Some(item),
        Err(error) => {
            tracing::info!(who = %manager, error = %shared::chain(&error), "status stream ended");
            None
        }
    }
}

pub(super) async fn request(
    State(app): Shared,
    Extension(manager): Extension<Manager>,
    JsonBody(request): JsonBody<Request>,
) -> Result<Response, ApiError> {
    let (id, verb, origin) = (request.id.clone(), request.command.verb(), request.origin.clone());
    let service = request.command.service().map(ToString::to_string).unwrap_or_default();
    match app.rgmanager.ask(&Ask::Request { request }, REQUEST_WAIT).await? {
        Reply::Answer { answer: Answer::Accepted } => {
            tracing::info!(who = %manager, origin, verb, service, %id, "request accepted");
            Ok((StatusCode::ACCEPTED, Json(Answer::Accepted)).into_response())
        }
        Reply::Answer { answer: Answer::Refused(refusal) } => {
            tracing::info!(who = %manager, origin, verb, service, %id, why = refusal.text, "request refused");
            Err(ApiError::refusal(refusal))
        }
        other => Err(unexpected(&other).into()),
    }
}

pub(super) async fn outcome(State(app): Shared, Path(id): Path<String>) -> Result<Response, ApiError> {
    let ask = Ask::Await { id: RequestId(id) };
    match app.rgmanager.ask(&ask, OUTCOME_WAIT).await {
        Ok(Reply::Outcome { outcome }) => Ok(Json::<Outcome>(outcome).into_response()),
        Ok(other) => Err(unexpected(&other).into()),
        // A hanging rgmanager looks the same from here; every other question tells them apart.
        Err(SocketError::TooSlow { .. }) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn conf(State(app): Shared) -> Answered<ConfDocument> {
    match app.rgmanager.ask(&Ask::Conf, ASK_WAIT).await {
        Ok(Reply::Conf { version, digest, text }) => Ok(Json(ConfDocument { version, digest, text })),
        Ok(other) => Err(unexpected(&other).into()),
        Err(SocketError::NotRunning { .. }) => conf::document(&app).await.map(Json),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn put_conf(
    State(app): Shared,
    Extension(manager): Extension<Manager>,
    JsonBody(put): JsonBody<PutConf>,
) -> Result<(StatusCode, Json<ConfAccepted>), ApiError> {
    let who = manager.to_string();
    if put.offline {
        let accepted = conf::put_offline(&app, &who, &put).await?;
        return Ok((StatusCode::ACCEPTED, Json(accepted)));
    }
    conf::check_length(&put.text)?;
    let PutConf { text, origin, despite_agents, .. } = put;
    let ask = Ask::PutConf { text, origin: origin.clone(), despite_agents };
    match app.rgmanager.ask(&ask, PUT_CONF_WAIT).await? {
        Reply::PutConf { result: PutResult::Accepted { version, digest, findings } } => {
            tracing::info!(who, origin, %version, %digest, "configuration accepted by the cluster");
            Ok((StatusCode::ACCEPTED, Json(ConfAccepted { version, digest, findings })))
        }
        Reply::PutConf { result: PutResult::Refused { findings } } => {
            tracing::info!(who, origin, findings = findings.len(), "configuration refused by the cluster");
            Err(ApiError::findings(findings))
        }
        other => Err(unexpected(&other).into()),
    }
}

pub(super) async fn check_conf(State(app): Shared, JsonBody(check): JsonBody<CheckConf>) -> Answered<Checked> {
    conf::check_length(&check.text)?;
    let said = if check.agents { conf::ask_agents(&app, &check.text, None).await } else { Vec::new() };
    let secrets = app.secrets.clone();
    let mut findings = super::files::off_loop(move || {
        let mut findings = conf::check(&check.text);
        findings.extend(crate::secrets::findings(&secrets, &Document::parse(&check.text).0));
        findings
    })
    .await;
    findings.extend(said);
    Ok(Json(Checked { findings }))
}

pub(super) async fn preview_conf(State(app): Shared, JsonBody(check): JsonBody<CheckConf>) -> Answered<ConfPreview> {
    conf::check_length(&check.text)?;
    let Json(present) = conf(State(app)).await?;
    super::files::off_loop(move || conf::preview(&present, &check.text)).await.map(Json)
}

pub(super) async fn explain(State(app): Shared, Path(service): Path<String>) -> Answered<Box<Explanation>> {
    let service = ServiceName::parse(&service);
    match app.rgmanager.ask(&Ask::Explain { service }, ASK_WAIT).await {
        Ok(Reply::Explanation { explanation }) => Ok(Json(explanation)),
        Ok(other) => Err(unexpected(&other).into()),
        // rgmanager's own words: no such service, or no member yet.
        Err(SocketError::Told(text)) => Err(ApiError::new(ProblemCode::NotFound, text)),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn explain_node(State(app): Shared, Path(node): Path<String>) -> Answered<Vec<Explanation>> {
    match app.rgmanager.ask(&Ask::ExplainNode { node: NodeName(node) }, ASK_WAIT).await {
        Ok(Reply::Explanations { explanations }) => Ok(Json(explanations)),
        Ok(other) => Err(unexpected(&other).into()),
        // An rgmanager that was not restarted since ricci was replaced does not know the question.
        Err(SocketError::Told(text)) => Err(ApiError::new(ProblemCode::NotFound, text)),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn predict(
    State(app): Shared,
    JsonBody(assumption): JsonBody<Assumption>,
) -> Answered<Box<Prediction>> {
    if let Assumption::Conf { text } = &assumption {
        conf::check_length(text)?;
    }
    match app.rgmanager.ask(&Ask::Predict { assumption }, ASK_WAIT).await? {
        Reply::Prediction { prediction } => Ok(Json(prediction)),
        other => Err(unexpected(&other).into()),
    }
}

pub(super) async fn leave_cluster(
    State(app): Shared,
    Extension(manager): Extension<Manager>,
) -> Result<StatusCode, ApiError> {
    conf::leave(&app, &manager.to_string()).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn secret_names(State(app): Shared) -> Answered<SecretNames> {
    secrets::names(&app).await.map(Json)
}

pub(super) async fn secret(
    State(app): Shared,
    Extension(manager): Extension<Manager>,
    Path(name): Path<String>,
) -> Answered<Secret> {
    secrets::read(&app, &manager.to_string(), &name).await.map(Json)
}

pub(super) async fn put_secret(
    State(app): Shared,
    Extension(manager): Extension<Manager>,
    Path(name): Path<String>,
    JsonBody(secret): JsonBody<Secret>,
) -> Result<StatusCode, ApiError> {
    secrets::put(&app, &manager.to_string(), &name, secret).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn remove_secret(
    State(app): Shared,
    Extension(manager): Extension<Manager>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    secrets::remove(&app, &manager.to_string(), &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn fence_key(State(app): Shared, Extension(manager): Extension<Manager>) -> Answered<FenceKey> {
    fence_key::read(&app, &manager.to_string()).await.map(Json)
}

pub(super) async fn put_fence_key(
    State(app): Shared,
    Extension(manager): Extension<Manager>,
    JsonBody(key): JsonBody<FenceKey>,
) -> Result<StatusCode, ApiError> {
    fence_key::put(&app, &manager.to_string(), &key).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn make_fence_key(
    State(app): Shared,
    Extension(manager): Extension<Manager>,
    JsonBody(wanted): JsonBody<MakeFenceKey>,
) -> Answered<FenceKey> {
    fence_key::make(&app, &manager.to_string(), &wanted).await.map(Json)
}

pub(super) async fn corosync_key(State(app): Shared) -> Answered<CorosyncKey> {
    let key = corosync_key::read(&app).await?;
    key.map(Json).ok_or_else(|| ApiError::new(ProblemCode::NotFound, "this node has no corosync key yet"))
}

pub(super) async fn put_corosync_key(
    State(app): Shared,
    Extension(manager): Extension<Manager>,
    JsonBody(key): JsonBody<CorosyncKey>,
) -> Result<StatusCode, ApiError> {
    corosync_key::put(&app, &manager.to_string(), &key).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn make_corosync_key(
    State(app): Shared,
    Extension(manager): Extension<Manager>,
) -> Answered<CorosyncKey> {
    corosync_key::make(&app, &manager.to_string()).await.map(Json)
}

pub(super) async fn start_cluster(
    State(app): Shared,
    Extension(manager): Extension<Manager>,
    JsonBody(start): JsonBody<StartCluster>,
) -> Result<StatusCode, ApiError> {
    conf::document(&app).await?;
    app.operations.begin(&app, HostOperationKind::Start, start.enable, &manager.to_string()).await?;
    Ok(StatusCode::ACCEPTED)
}

pub(super) async fn stop_cluster(
    State(app): Shared,
    Extension(manager): Extension<Manager>,
    JsonBody(stop): JsonBody<StopCluster>,
) -> Result<StatusCode, ApiError> {
    app.operations.begin(&app, HostOperationKind::Stop, stop.disable, &manager.to_string()).await?;
    Ok(StatusCode::ACCEPTED)
}

pub(super) async fn reboot(State(app): Shared, Extension(manager): Extension<Manager>) -> Result<StatusCode, ApiError> {
    app.operations.begin(&app, HostOperationKind::Reboot, false, &manager.to_string()).await?;
    Ok(StatusCode::ACCEPTED)
}

pub(super) async fn test_fence(
    State(app): Shared,
    Extension(manager): Extension<Manager>,
    JsonBody(test): JsonBody<FenceTest>,
) -> Answered<FenceTested> {
    fence_test::run(&app, &manager.to_string(), &test).await.map(Json)
}

pub(super) async fn resource_agents(State(app): Shared) -> Json<Vec<AgentSummary>> {
    Json(app.catalogue.list(AgentClass::Resource).await)
}

pub(super) async fn fence_agents(State(app): Shared) -> Json<Vec<AgentSummary>> {
    Json(app.catalogue.list(AgentClass::Fence).await)
}

pub(super) async fn resource_agent_metadata(State(app): Shared, Path(name): Path<String>) -> Answered<AgentMetadata> {
    app.catalogue.metadata(AgentClass::Resource, &name).await.map(Json)
}

pub(super) async fn fence_agent_metadata(State(app): Shared, Path(name): Path<String>) -> Answered<AgentMetadata> {
    app.catalogue.metadata(AgentClass::Fence, &name).await.map(Json)
}

pub(super) async fn resource_agent_schema(State(app): Shared, Path(name): Path<String>) -> Answered<AgentSchema> {
    app.catalogue.schema(AgentClass::Resource, &name).await.map(Json)
}

pub(super) async fn fence_agent_schema(State(app): Shared, Path(name): Path<String>) -> Answered<AgentSchema> {
    app.catalogue.schema(AgentClass::Fence, &name).await.map(Json)
}

pub(super) async fn validate_resource_agent(
    State(app): Shared,
    Path(name): Path<String>,
    JsonBody(asked): JsonBody<ValidateAgent>,
) -> Answered<Validated> {
    app.catalogue.validate(&name, &asked.parameters).await.map(Json)
}

#[derive(Debug, Deserialize)]
pub(super) struct LogQuery {
    lines: Option<usize>,
}

pub(super) async fn log(State(app): Shared, query: Result<Query<LogQuery>, QueryRejection>) -> Answered<Vec<LogLine>> {
    let Query(query) = query.map_err(|error| ApiError::bad_request(error.body_text()))?;
    app.log.lines(query.lines.unwrap_or(200)).await.map(Json)
}

pub(super) async fn openapi() -> Json<serde_json::Value> {
    Json(openapi::document())
}
