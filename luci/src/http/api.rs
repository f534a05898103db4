//! `/api/v1`: the same copy and the same rules as the pages, as JSON. Health is open; everything else needs a session.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use shared::status::ClusterStatus;

use super::error::{PageError, tell};
use super::pages::snapshot;
use crate::app::{App, Who};
use crate::views::cluster::health;
use crate::watcher::Link;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/api/v1/health", get(ready))
        .route("/api/v1/clusters", get(clusters))
        .route("/api/v1/clusters/{cluster}", get(cluster))
        .route("/api/v1/clusters/{cluster}/requests", get(requests))
}

/// An error as `application/problem+json`.
struct ApiError(PageError);

impl<E: Into<PageError>> From<E> for ApiError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

#[derive(Serialize)]
struct ProblemBody {
    title: &'static str,
    status: u16,
    detail: String,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = match &self.0 {
            PageError::LoggedOut { .. } => ProblemBody {
                title: "Not logged in",
                status: 401,
                detail: "log in and send the session's cookie".into(),
            },
            PageError::App(error) => {
                let told = tell(error);
                ProblemBody { title: told.title, status: told.status.as_u16(), detail: told.text }
            }
            other => ProblemBody { title: "Not done", status: 400, detail: other.to_string() },
        };
        let status = StatusCode::from_u16(body.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, [(axum::http::header::CONTENT_TYPE, "application/problem+json")], Json(body)).into_response()
    }
}

type Answer<T> = Result<Json<T>, ApiError>;

#[derive(Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
}

async fn ready(State(app): State<App>) -> Answer<Health> {
    app.repo.ping().await?;
    Ok(Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION") }))
}

#[derive(Serialize)]
struct ClusterBody {
    name: String,
    /// `live`, `not-running` or `unknown`.
    known: &'static str,
    /// When a member last confirmed the status, in milliseconds since the epoch.
    status_at: Option<i64>,
    verdict: &'static str,
    sentence: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<ClusterStatus>,
}

fn body(app: &App, cluster: &crate::repo::clusters::Cluster, whole: bool) -> ClusterBody {
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
        status: if whole { snapshot.status.as_deref().cloned() } else { None },
    }
}

async fn clusters(State(app): State<App>, who: Result<Who, PageError>) -> Answer<Vec<ClusterBody>> {
    who?;
    Ok(Json(app.repo.clusters().await?.iter().map(|cluster| body(&app, cluster, false)).collect()))
}

async fn cluster(State(app): State<App>, who: Result<Who, PageError>, Path(name): Path<String>) -> Answer<ClusterBody> {
    who?;
    Ok(Json(body(&app, &app.cluster(&name).await?, true)))
}

#[derive(Serialize)]
struct RequestBody {
    id: String,
    command: shared::status::Command,
    user: String,
    at: i64,
    state: crate::repo::requests::RequestState,
    text: Option<String>,
    ended_at: Option<i64>,
}

async fn requests(
    State(app): State<App>,
    who: Result<Who, PageError>,
    Path(name): Path<String>,
) -> Answer<Vec<RequestBody>> {
    who?;
    let cluster = app.cluster(&name).await?;
    let requests = app.repo.recent_requests(cluster.id, 100).await?;
    let body = |request: crate::repo::requests::StoredRequest| RequestBody {
        id: request.id.0,
        command: request.command,
        user: request.user,
        at: request.at,
        state: request.state,
        text: request.text,
        ended_at: request.ended_at,
    };
    Ok(Json(requests.into_iter().map(body).collect()))
}
