//! The key of fence_xvm, on the page of such a device and in the API: made, sent to the nodes, downloaded for the host.

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::IntoResponse as _;
use serde::Serialize;
use shared::conf::edit::Attributes;

use super::configure::Known;
use super::pages::{Page, at, go, part, snapshot};
use super::session::Posted;
use crate::app::fence_key::{HostNeeds, KeySent, missed};
use crate::app::{App, AppError};
use crate::views::fence_key::FenceKeyView;
use crate::watcher::Snapshot;

/// The agent that needs it.
pub(super) const AGENT: &str = "fence_xvm";

/// As nodes and host call the key.
const FILE: &str = "fence_xvm.key";

/// Node and fingerprint of its key, as the nodes told last.
fn fingerprints(snapshot: &Snapshot) -> Vec<(String, Option<String>)> {
    let nodes = snapshot.nodes.iter();
    nodes.map(|(name, seen)| (name.to_string(), seen.report.as_ref().and_then(|it| it.fence_key.clone()))).collect()
}

/// Virtual machine and node of every use of a device.
fn machines(known: &Known, device: &str) -> Vec<(String, shared::ids::NodeName)> {
    let mut machines = Vec::new();
    for node in &known.conf.nodes {
        let uses = node.methods.iter().flat_map(|method| &method.devices).filter(|used| used.device == device);
        let plugs = uses.flat_map(|used| &used.arguments).filter(|(name, _)| matches!(name.as_str(), "plug" | "port"));
        machines.extend(plugs.map(|(_, plug)| (plug.clone(), node.name.clone())));
    }
    machines
}

/// The key on the nodes, and what the host of the machines needs.
pub(super) async fn key_view(
    app: &App,
    known: &Known,
    device: Option<&str>,
    attributes: &Attributes,
) -> Result<FenceKeyView, AppError> {
    let given = |name: &str| attributes.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let needs = HostNeeds {
        multicast: given("multicast_address"),
        port: given("ipport"),
        machines: device.map(|device| machines(known, device)).unwrap_or_default(),
    };
    let host = app.fence_host_text(&known.cluster, &needs).await?;
    Ok(FenceKeyView { nodes: fingerprints(&snapshot(app, &known.cluster)), host })
}

/// Makes the key, or a new one, and sends it to all nodes.
pub(super) async fn send_fence_key(
    State(app): State<App>,
    Path(cluster): Path<String>,
    Posted { who, fields }: Posted,
) -> Page {
    let row = app.cluster(&cluster).await?;
    let sent = app.send_fence_key(&who, &row, fields.checked("replace")).await?;
    let device = fields.text("device");
    let back = match device.is_empty() {
        true => at(&row, &format!("/add-fence-device?agent={AGENT}")),
        false => at(&row, &format!("/fence-devices/{}", part(device))),
    };
    if missed(&sent).is_empty() {
        return go(&app, &who, &back, "ok", "All nodes have the key of fence_xvm; give it to the host, too").await;
    }
    let problems: Vec<&str> = sent.iter().filter_map(|one| one.problem.as_deref()).collect();
    let text = format!("The key of fence_xvm is not on {}: {}", missed(&sent), problems.join("; "));
    go(&app, &who, &back, "warn", text).await
}

/// The key as a file for the host. A POST, so that no address on its own hands it out.
pub(super) async fn download_fence_key(
    State(app): State<App>,
    Path(cluster): Path<String>,
    Posted { who, fields: _ }: Posted,
) -> Page {
    let row = app.cluster(&cluster).await?;
    let key = app.fence_key_for_host(&who, &row).await?;
    let kind = (header::CONTENT_TYPE, "application/octet-stream".to_owned());
    let name = (header::CONTENT_DISPOSITION, format!("attachment; filename={FILE}"));
    Ok(([kind, name], key).into_response())
}

/// For the API: the key by its fingerprints, never itself.
#[derive(Serialize)]
pub(super) struct FenceKeyBody {
    nodes: Vec<FingerprintBody>,
    /// Whether all nodes have the same.
    agree: bool,
}

#[derive(Serialize)]
struct FingerprintBody {
    node: String,
    sha256: Option<String>,
}

/// What became of sending it.
#[derive(Serialize)]
pub(super) struct KeySentBody {
    node: String,
    problem: Option<String>,
}

pub(super) async fn fence_key_body(app: &App, cluster: &str) -> Result<FenceKeyBody, AppError> {
    let row = app.cluster(cluster).await?;
    let view = FenceKeyView { nodes: fingerprints(&snapshot(app, &row)), host: String::new() };
    let agree = view.agree();
    let nodes = view.nodes.into_iter().map(|(node, sha256)| FingerprintBody { node, sha256 });
    Ok(FenceKeyBody { nodes: nodes.collect(), agree })
}

pub(super) fn sent_body(sent: Vec<KeySent>) -> Vec<KeySentBody> {
    sent.into_iter().map(|one| KeySentBody { node: one.node.to_string(), problem: one.problem }).collect()
}
