//! The API's nodes: as luci knows them, added, paired, deleted, and orders to them.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use shared::api::{FenceKey, NodeReport};
use shared::ids::NodeName;
use shared::status::{Command, NodeStatus};

use super::clusters::{NewNodeBody, ask, begun, node_bodies};
use super::{ADMINISTRATOR, Answer, Body, OPERATOR, VIEWER, says, takes};
use crate::app::nodes::NodeOrder;
use crate::app::{App, AppError, Who};
use crate::http::door::{Route, delete, get, post};
use crate::http::fence_key::{FenceKeyBody, KeySentBody, fence_key_body, sent_body};
use crate::http::fence_test::{FencingBody, fencing_body};
use crate::repo::nodes::Node;
use crate::watcher::Snapshot;

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/api/v1/clusters/{cluster}/nodes", VIEWER, nodes).doc(says("Nodes", 200, "Nodes")),
        post("/api/v1/clusters/{cluster}/nodes", ADMINISTRATOR, add).doc(takes(
            "Add a node; the task waits for its fingerprint to be confirmed",
            "NewNode",
            202,
            "Task",
        )),
        get("/api/v1/clusters/{cluster}/nodes/{node}", VIEWER, node).doc(says("A node", 200, "Node")),
        delete("/api/v1/clusters/{cluster}/nodes/{node}", ADMINISTRATOR, remove).doc(says(
            "Take a node out of its cluster for good",
            202,
            "Task",
        )),
        post("/api/v1/clusters/{cluster}/nodes/{node}/pair", ADMINISTRATOR, pair).doc(takes(
            "Pair a node that is known but not paired, or moved",
            "NewNode",
            202,
            "Task",
        )),
        get("/api/v1/clusters/{cluster}/nodes/{node}/fencing", VIEWER, fencing).doc(says(
            "What is known of a node's fence methods: proofs, tests, the last power cycle",
            200,
            "NodeFencing",
        )),
        post("/api/v1/clusters/{cluster}/nodes/{node}/fencing/tests", OPERATOR, test_fencing).doc(takes(
            "Test a node's fence methods from every member; with `power_cycle` up to a real one of the drained node",
            "FenceTests",
            202,
            "Task",
        )),
        get("/api/v1/clusters/{cluster}/fence-key", VIEWER, fence_key).doc(says(
            "The key of fence_xvm on the nodes, by its SHA-256",
            200,
            "FenceKey",
        )),
        post("/api/v1/clusters/{cluster}/fence-key", ADMINISTRATOR, send_fence_key).doc(takes(
            "Send the key of fence_xvm that the nodes have to all of them; make one if none has, or a new one with `replace`",
            "SendFenceKey",
            200,
            "FenceKeySent",
        )),
        get("/api/v1/clusters/{cluster}/fence-key/file", ADMINISTRATOR, fence_key_file).doc(says(
            "The key of fence_xvm, for the host of the virtual machines; noted in the audit trail",
            200,
            "FenceKeyFile",
        )),
        post("/api/v1/clusters/{cluster}/nodes/{node}/actions/{action}", OPERATOR, action).doc(says(
            "`join`, `leave`, `standby`, `unstandby`, `reboot`, `fence`, or `acknowledge-fence` after you have checked that the node is off",
            202,
            "Request",
        )),
    ]
}

#[derive(Serialize)]
pub(super) struct NodeBody {
    name: String,
    host: String,
    port: u16,
    paired: bool,
    fingerprint: Option<String>,
    /// As the cluster's members tell it; absent when no member answers.
    status: Option<NodeStatus>,
    /// What the node last told of itself, and when.
    report: Option<NodeReport>,
    report_at: Option<i64>,
    silent_since: Option<i64>,
    silent_why: Option<String>,
}

impl NodeBody {
    pub(super) fn new(node: &Node, snapshot: &Snapshot) -> Self {
        let seen = snapshot.nodes.get(&node.name);
        Self {
            name: node.name.to_string(),
            host: node.host.clone(),
            port: node.port,
            paired: node.paired_at.is_some(),
            fingerprint: node.fingerprint.clone(),
            status: snapshot.live().and_then(|status| status.node(&node.name)).cloned(),
            report: seen.map_or_else(|| node.report.clone(), |seen| seen.report.clone()),
            report_at: seen.map_or(node.report_at, |seen| seen.report_at),
            silent_since: seen.map_or(node.silent_since, |seen| seen.silent_since),
            silent_why: seen.map_or_else(|| node.silent_why.clone(), |seen| seen.silent_why.clone()),
        }
    }
}

async fn nodes(State(app): State<App>, Path(name): Path<String>) -> Answer<Json<Vec<NodeBody>>> {
    let cluster = app.cluster(&name).await?;
    Ok(Json(node_bodies(&app, &cluster).await?))
}

async fn node(State(app): State<App>, Path((name, node)): Path<(String, String)>) -> Answer<Json<NodeBody>> {
    let cluster = app.cluster(&name).await?;
    let found = node_bodies(&app, &cluster).await?.into_iter().find(|body| body.name == node);
    Ok(Json(found.ok_or(AppError::NoSuch { what: "node", name: node })?))
}

async fn add(
    State(app): State<App>,
    who: Who,
    Path(name): Path<String>,
    Body(new): Body<NewNodeBody>,
) -> Answer<Response> {
    let cluster = app.cluster(&name).await?;
    Ok(begun(app.add_node(&who, &cluster, new.entry()).await?))
}

async fn remove(State(app): State<App>, who: Who, Path((name, node)): Path<(String, String)>) -> Answer<Response> {
    let cluster = app.cluster(&name).await?;
    Ok(begun(app.delete_node(&who, &cluster, &node).await?))
}

async fn pair(
    State(app): State<App>,
    who: Who,
    Path((name, node)): Path<(String, String)>,
    Body(new): Body<NewNodeBody>,
) -> Answer<Response> {
    let cluster = app.cluster(&name).await?;
    let entry = new.entry();
    let task = app.pair_node(&who, &cluster, &node, &entry.node.host, entry.node.port, entry.secret).await?;
    Ok(begun(task))
}

async fn fencing(State(app): State<App>, Path((name, node)): Path<(String, String)>) -> Answer<Json<FencingBody>> {
    Ok(Json(fencing_body(&app, &name, &node).await?))
}

async fn fence_key(State(app): State<App>, Path(name): Path<String>) -> Answer<Json<FenceKeyBody>> {
    Ok(Json(fence_key_body(&app, &name).await?))
}

/// What is to be sent.
#[derive(Debug, Deserialize)]
struct SendFenceKey {
    #[serde(default)]
    replace: bool,
}

async fn send_fence_key(
    State(app): State<App>,
    who: Who,
    Path(name): Path<String>,
    Body(wanted): Body<SendFenceKey>,
) -> Answer<Json<Vec<KeySentBody>>> {
    let cluster = app.cluster(&name).await?;
    Ok(Json(sent_body(app.send_fence_key(&who, &cluster, wanted.replace).await?)))
}

async fn fence_key_file(State(app): State<App>, who: Who, Path(name): Path<String>) -> Answer<Json<FenceKey>> {
    let cluster = app.cluster(&name).await?;
    let bytes = app.fence_key_for_host(&who, &cluster).await?;
    Ok(Json(FenceKey { key_base64: STANDARD.encode(bytes) }))
}

/// What is to be tested.
#[derive(Debug, Deserialize)]
struct FenceTests {
    /// Up to a real power cycle of the node.
    #[serde(default)]
    power_cycle: bool,
}

async fn test_fencing(
    State(app): State<App>,
    who: Who,
    Path((name, node)): Path<(String, String)>,
    Body(tests): Body<FenceTests>,
) -> Answer<Response> {
    let cluster = app.cluster(&name).await?;
    Ok(begun(app.prove_fencing(&who, &cluster, &node, tests.power_cycle).await?))
}

/// An order that a node took; what becomes of it shows in the node's state.
#[derive(Serialize)]
struct Taken {
    node: String,
    order: &'static str,
}

async fn action(
    State(app): State<App>,
    who: Who,
    Path((name, node, action)): Path<(String, String, String)>,
) -> Answer<Response> {
    let cluster = app.cluster(&name).await?;
    app.node(&cluster, &node).await?;
    let named = NodeName(node.clone());
    match action.as_str() {
        "fence" => ask(&app, &who, &cluster, Command::Fence { node: named }).await,
        "acknowledge-fence" => ask(&app, &who, &cluster, Command::AcknowledgeFence { node: named }).await,
        "standby" => ask(&app, &who, &cluster, Command::Standby { node: named }).await,
        "unstandby" => ask(&app, &who, &cluster, Command::Unstandby { node: named }).await,
        word => {
            let order = NodeOrder::parse(word);
            let order = order.ok_or_else(|| AppError::NoSuch { what: "action on a node", name: word.to_owned() })?;
            app.order_node(&who, &cluster, &node, order).await?;
            Ok((StatusCode::ACCEPTED, Json(Taken { node, order: order.word() })).into_response())
        }
    }
}
