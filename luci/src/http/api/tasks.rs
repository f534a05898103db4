//! The API's tasks: work that outlives a request, with its steps; confirmed, tried again, given up.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{Answer, Body, says, takes};
use crate::app::{App, AppError, Who};
use crate::http::door::{Route, Rule, get, post};
use crate::ids::NodeRow;
use crate::repo::tasks::{StepKind, StepState, Task, TaskKind, TaskState};
use crate::repo::users::Role;
use crate::tasks::PairSecret;

/// Tasks in one answer.
const LINES: i64 = 100;

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/api/v1/tasks", Rule::Account, tasks).doc(says("Tasks, newest first", 200, "Tasks")),
        get("/api/v1/tasks/{task}", Rule::Task(Role::Viewer), task).doc(says(
            "A task with its steps",
            200,
            "TaskState",
        )),
        post("/api/v1/tasks/{task}/confirm", Rule::Task(Role::Administrator), confirm).doc(says(
            "The fingerprints in its steps are those of the nodes: go on",
            202,
            "TaskState",
        )),
        post("/api/v1/tasks/{task}/retry", Rule::Task(Role::Administrator), retry).doc(takes(
            "Try the failed steps again, with new secrets by node",
            "Secrets",
            202,
            "TaskState",
        )),
        post("/api/v1/tasks/{task}/give-up", Rule::Task(Role::Administrator), give_up).doc(says(
            "End a task that cannot be finished",
            202,
            "TaskState",
        )),
    ]
}

#[derive(Serialize)]
struct StepBody {
    node: String,
    /// What `ricci fingerprint` must print on the node.
    fingerprint: Option<String>,
    step: StepKind,
    state: StepState,
    text: String,
    started_at: Option<i64>,
    ended_at: Option<i64>,
}

#[derive(Serialize)]
struct TaskBody {
    id: String,
    kind: TaskKind,
    state: TaskState,
    cluster: Option<String>,
    user: String,
    at: i64,
    ended_at: Option<i64>,
    steps: Vec<StepBody>,
}

async fn body(app: &App, task: Task) -> Answer<TaskBody> {
    let cluster = match task.cluster_id {
        Some(cluster) => app.repo.cluster(cluster).await?.map(|cluster| cluster.name),
        None => None,
    };
    let mut nodes = BTreeMap::new();
    let mut steps = Vec::new();
    for step in app.repo.steps(&task.id).await? {
        if let std::collections::btree_map::Entry::Vacant(place) = nodes.entry(step.node) {
            place.insert(app.repo.node(step.node).await?);
        }
        let node = nodes.get(&step.node).and_then(Option::as_ref);
        steps.push(StepBody {
            node: node.map_or_else(String::new, |node| node.name.to_string()),
            fingerprint: node.and_then(|node| node.fingerprint.clone()),
            step: step.step,
            state: step.state,
            text: step.text,
            started_at: step.started_at,
            ended_at: step.ended_at,
        });
    }
    Ok(TaskBody {
        id: task.id,
        kind: task.kind,
        state: task.state,
        cluster,
        user: task.user_name,
        at: task.at,
        ended_at: task.ended_at,
        steps,
    })
}

async fn stored(app: &App, id: &str) -> Result<Task, AppError> {
    let task = app.repo.task(id).await?;
    task.ok_or_else(|| AppError::NoSuch { what: "task", name: id.to_owned() })
}

async fn tasks(State(app): State<App>, who: Who) -> Answer<Json<Vec<serde_json::Value>>> {
    let mut bodies = Vec::new();
    for task in app.repo.recent_tasks(LINES).await?.into_iter().filter(|task| who.access.on_task(task).is_some()) {
        let mut body =
            serde_json::to_value(body(&app, task).await?).map_err(|error| AppError::Internal(error.to_string()))?;
        // The list is without steps.
        body.as_object_mut().map(|body| body.remove("steps"));
        bodies.push(body);
    }
    Ok(Json(bodies))
}

async fn task(State(app): State<App>, Path(id): Path<String>) -> Answer<Json<TaskBody>> {
    Ok(Json(body(&app, stored(&app, &id).await?).await?))
}

async fn after(app: &App, id: &str) -> Answer<(StatusCode, Json<TaskBody>)> {
    Ok((StatusCode::ACCEPTED, Json(body(app, stored(app, id).await?).await?)))
}

async fn confirm(State(app): State<App>, who: Who, Path(id): Path<String>) -> Answer<(StatusCode, Json<TaskBody>)> {
    app.confirm_task(&who, &id).await?;
    after(&app, &id).await
}

/// New secrets by the names of the nodes.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretsBody {
    #[serde(default)]
    nodes: BTreeMap<String, SecretBody>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretBody {
    password: Option<String>,
    token: Option<String>,
}

async fn retry(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
    Body(secrets): Body<SecretsBody>,
) -> Answer<(StatusCode, Json<TaskBody>)> {
    let mut rows: BTreeMap<String, NodeRow> = BTreeMap::new();
    for step in app.repo.steps(&id).await? {
        if let Some(node) = app.repo.node(step.node).await? {
            rows.insert(node.name.to_string(), node.id);
        }
    }
    let mut found = Vec::new();
    for (name, secret) in secrets.nodes {
        let row = rows.get(&name).copied().ok_or(AppError::NoSuch { what: "node in this task", name })?;
        found.extend(match (secret.token, secret.password) {
            (Some(token), _) => Some((row, PairSecret::Token(token))),
            (None, password) => password.map(|password| (row, PairSecret::Password(password))),
        });
    }
    app.retry_task(&who, &id, found).await?;
    after(&app, &id).await
}

async fn give_up(State(app): State<App>, who: Who, Path(id): Path<String>) -> Answer<(StatusCode, Json<TaskBody>)> {
    app.give_up_task(&who, &id).await?;
    after(&app, &id).await
}
