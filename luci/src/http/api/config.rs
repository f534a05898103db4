//! The API's configuration: the newest version, all versions, differences, checking, and changing: by single edits, as a
//! whole, or by bringing an older version back. Every write names the version it is based on.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use shared::conf::Finding;
use shared::conf::diff::{Change, Hunk, diff, line_diff};
use shared::conf::edit::Edit;
use shared::ids::ConfVersion;

use super::{ADMINISTRATOR, Answer, Body, VIEWER, made, says, takes};
use crate::app::conf::Changed;
use crate::app::{App, AppError, Who};
use crate::http::door::{Asked, Route, get, post, put};
use crate::repo::clusters::Cluster;
use crate::repo::confs::{Origin, StoredConf};
use crate::secrets;

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/api/v1/clusters/{cluster}/config", VIEWER, newest).doc(says(
            "The newest version with its text; secrets are replaced by marks, which a write puts back",
            200,
            "Version",
        )),
        put("/api/v1/clusters/{cluster}/config", ADMINISTRATOR, replace).doc(takes(
            "Write a whole cluster.conf as the next version",
            "ConfigText",
            201,
            "Changed",
        )),
        post("/api/v1/clusters/{cluster}/config/edits", ADMINISTRATOR, edit).doc(takes(
            "Apply edits, all or none, as one version",
            "Edits",
            201,
            "Changed",
        )),
        post("/api/v1/clusters/{cluster}/config/check", VIEWER, check).doc(takes(
            "Check a cluster.conf without writing it",
            "CheckText",
            200,
            "Findings",
        )),
        get("/api/v1/clusters/{cluster}/config/diff", VIEWER, difference).doc(
            says("What differs between the versions `from` and `to`, in words and by lines", 200, "Difference")
                .asking(FROM_TO),
        ),
        get("/api/v1/clusters/{cluster}/config/versions", VIEWER, versions).doc(says(
            "Versions, newest first",
            200,
            "Versions",
        )),
        get("/api/v1/clusters/{cluster}/config/versions/{version}", VIEWER, version).doc(says(
            "A version with its text; secrets are replaced by marks, which a write puts back",
            200,
            "Version",
        )),
        post("/api/v1/clusters/{cluster}/config/versions/{version}/bring-back", ADMINISTRATOR, bring_back).doc(takes(
            "Bring an older version back as the next one",
            "Base",
            201,
            "Changed",
        )),
    ]
}

/// A version.
#[derive(Serialize)]
struct VersionBody {
    version: u64,
    digest: String,
    at: i64,
    author: Option<String>,
    message: String,
    /// `luci` or `node`.
    origin: &'static str,
    /// False while no node has answered whether it took the version.
    accepted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

fn version_body(conf: &StoredConf, whole: bool) -> VersionBody {
    VersionBody {
        version: conf.version.0,
        digest: conf.digest.to_string(),
        at: conf.at,
        author: conf.author.clone(),
        message: conf.message.clone(),
        origin: match conf.origin {
            Origin::Luci => "luci",
            Origin::Node => "node",
        },
        accepted: conf.accepted,
        text: whole.then(|| secrets::mark(&conf.text)),
    }
}

async fn newest(State(app): State<App>, Path(name): Path<String>) -> Answer<Json<VersionBody>> {
    let cluster = app.cluster(&name).await?;
    let stored = app.repo.newest_conf(cluster.id).await?;
    let stored = stored.ok_or_else(|| AppError::Unreachable("luci has no configuration of this cluster yet".into()))?;
    Ok(Json(version_body(&stored, true)))
}

async fn versions(State(app): State<App>, Path(name): Path<String>) -> Answer<Json<Vec<VersionBody>>> {
    let cluster = app.cluster(&name).await?;
    let versions = app.repo.confs(cluster.id).await?;
    Ok(Json(versions.iter().map(|conf| version_body(conf, false)).collect()))
}

async fn stored(app: &App, cluster: &Cluster, version: u64) -> Result<StoredConf, AppError> {
    let found = app.repo.conf(cluster.id, ConfVersion(version)).await?;
    found.ok_or_else(|| AppError::NoSuch { what: "version", name: version.to_string() })
}

async fn version(State(app): State<App>, Path((name, version)): Path<(String, u64)>) -> Answer<Json<VersionBody>> {
    let cluster = app.cluster(&name).await?;
    Ok(Json(version_body(&stored(&app, &cluster, version).await?, true)))
}

/// The fields of [`FromTo`].
const FROM_TO: &[Asked] =
    &[Asked::required("from", "integer", "The older version"), Asked::required("to", "integer", "The newer version")];

#[derive(Deserialize)]
struct FromTo {
    from: u64,
    to: u64,
}

#[derive(Serialize)]
struct Difference {
    words: Vec<Change>,
    lines: Vec<Hunk>,
}

async fn difference(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(which): Query<FromTo>,
) -> Answer<Json<Difference>> {
    let cluster = app.cluster(&name).await?;
    let from = stored(&app, &cluster, which.from).await?;
    let to = stored(&app, &cluster, which.to).await?;
    let words = match (shared::conf::load(&from.text).conf, shared::conf::load(&to.text).conf) {
        (Some(from), Some(to)) => diff(&from, &to),
        _ => Vec::new(),
    };
    Ok(Json(Difference { words, lines: line_diff(&from.text, &to.text) }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckText {
    text: String,
}

#[derive(Serialize)]
struct Findings {
    findings: Vec<Finding>,
}

async fn check(
    State(app): State<App>,
    Path(name): Path<String>,
    Body(body): Body<CheckText>,
) -> Answer<Json<Findings>> {
    let cluster = app.cluster(&name).await?;
    let loaded = shared::conf::load(&body.text);
    let mut findings = loaded.findings.clone();
    findings.extend(app.agent_differences(&cluster, &loaded).await?);
    Ok(Json(Findings { findings }))
}

/// A change that became a version.
#[derive(Serialize)]
struct ChangedBody {
    version: u64,
    /// Nodes that could not be written to, when the cluster does not run.
    missed: Vec<String>,
    /// Agents that the change needs and that a node lacks or has otherwise.
    warnings: Vec<String>,
}

pub(super) fn changed(cluster: &Cluster, changed: &Changed) -> Response {
    let location = format!("/api/v1/clusters/{}/config/versions/{}", cluster.name, changed.version);
    let missed = changed.missed.iter().map(ToString::to_string).collect();
    let warnings = changed.warnings.clone();
    made(StatusCode::CREATED, location, ChangedBody { version: changed.version.0, missed, warnings })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EditsBody {
    base: u64,
    message: String,
    edits: Vec<Edit>,
}

async fn edit(
    State(app): State<App>,
    who: Who,
    Path(name): Path<String>,
    Body(body): Body<EditsBody>,
) -> Answer<Response> {
    let cluster = app.cluster(&name).await?;
    if body.edits.iter().any(|edit| matches!(edit, Edit::SetVersion { .. })) {
        return Err(AppError::field("edits", "the version is raised by luci; leave set-version out").into());
    }
    let done = app.edit_conf(&who, &cluster, ConfVersion(body.base), &body.message, |_| Ok(body.edits)).await?;
    Ok(changed(&cluster, &done))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigText {
    base: u64,
    #[serde(default)]
    message: String,
    text: String,
}

async fn replace(
    State(app): State<App>,
    who: Who,
    Path(name): Path<String>,
    Body(body): Body<ConfigText>,
) -> Answer<Response> {
    let cluster = app.cluster(&name).await?;
    let base = stored(&app, &cluster, body.base).await?;
    // A text that was read here has its secrets masked; they are put back from the version it was read as.
    let text = secrets::put_back(&body.text, &base.text);
    let done = app.put_text(&who, &cluster, base.version, &body.message, text).await?;
    Ok(changed(&cluster, &done))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Base {
    base: u64,
}

async fn bring_back(
    State(app): State<App>,
    who: Who,
    Path((name, version)): Path<(String, u64)>,
    Body(body): Body<Base>,
) -> Answer<Response> {
    let cluster = app.cluster(&name).await?;
    let done = app.bring_back(&who, &cluster, ConfVersion(body.base), ConfVersion(version)).await?;
    Ok(changed(&cluster, &done))
}
