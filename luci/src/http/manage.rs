//! Manage Clusters: list, create, add existing, remove; and the tasks that do it.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect};
use serde::Deserialize;

use super::error::encode;
use super::forms::Fields;
use super::pages::{Page, at, draw, draw_refused, form_errors, go, shell};
use super::session::Posted;
use crate::app::{App, AppError, Who};
use crate::ids::NodeRow;
use crate::repo::tasks::{Task, TaskState};
use crate::repo::users::Role;
use crate::views::badge::Kind;
use crate::views::manage::{
    AddPage, ClusterLine, ClustersPage, ClustersPanel, ConfirmPage, CreatePage, FormErrors, NodeRowForm,
};
use crate::views::search::Sought;
use crate::views::tasks::{TaskLine, TaskPage, TaskPanel, TasksPage, TasksPanel};

/// Rows of an empty creation form.
const EMPTY_ROWS: usize = 3;

pub(super) async fn home() -> Redirect {
    Redirect::to("/clusters")
}

/// What is looked for on the list of clusters.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    q: String,
    /// `problems`, or nothing.
    #[serde(default)]
    only: String,
}

pub(super) async fn clusters(State(app): State<App>, who: Who, Query(asked): Query<Asked>) -> Page {
    let panel = clusters_panel(&app, &who, &asked).await?;
    let mut shell = shell(&app, who, "Manage Clusters", "clusters").await?;
    let (q, only) = (encode(&asked.q), encode(&asked.only));
    shell.live = shell.live.map(|live| format!("{live}&q={q}&only={only}"));
    draw(&ClustersPage { shell, clusters: panel, query: asked.q })
}

/// The list of clusters with what is known of each.
pub(super) async fn clusters_panel(app: &App, who: &Who, asked: &Asked) -> Result<ClustersPanel, AppError> {
    let sought = Sought::new(&asked.q, asked.only == "problems");
    let mut tasks = app.repo.open_tasks().await?;
    tasks.retain(|task| who.access.on_task(task).is_some());
    let mut lines = Vec::new();
    let mut hits = Vec::new();
    let clusters = app.repo.clusters().await?;
    let counts = app.repo.node_counts().await?;
    for cluster in &clusters {
        let Some(role) = who.access.on(cluster.id) else { continue };
        let task = tasks.iter().find(|task| task.cluster_id == Some(cluster.id)).map(|task| task.id.clone());
        let snapshot = app.watchers.snapshot(cluster.id);
        let nodes = counts.get(&cluster.id).copied().and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
        let line = ClusterLine::new(cluster, snapshot.as_ref(), nodes, task, role);
        if sought.problems && line.badge.kind == Kind::Ok {
            continue;
        }
        if !sought.text.is_empty() {
            let conf = app.known_conf(cluster.id).await?;
            let found = sought.hits(&cluster.name, conf.as_deref(), &app.repo.nodes_of(cluster.id).await?);
            if found.is_empty() && !sought.is_in(&cluster.name) {
                continue;
            }
            hits.extend(found);
        }
        lines.push(line);
    }
    let name_of = |task: &Task| clusters.iter().find(|c| Some(c.id) == task.cluster_id).map(|c| c.name.as_str());
    let tasks = tasks.iter().map(|task| TaskLine::new(task, name_of(task))).collect();
    Ok(ClustersPanel::new(lines, tasks, who.may(Role::Administrator)).with_search(sought, hits))
}

pub(super) async fn create_form(State(app): State<App>, who: Who) -> Page {
    let shell = shell(&app, who, "Create New Cluster", "clusters").await?;
    let rows = vec![NodeRowForm::empty(); EMPTY_ROWS];
    draw(&CreatePage { shell, name: String::new(), same_secret: false, rows, errors: FormErrors::default() })
}

/// The rows of a form as they were sent, without the secrets.
fn sent_rows(fields: &Fields) -> Vec<NodeRowForm> {
    (0..fields.rows("node"))
        .map(|row| {
            let field = |name: &str| fields.text(&format!("node-{row}-{name}")).to_owned();
            NodeRowForm {
                name: field("name"),
                host: field("host"),
                port: field("port"),
                token: field("with") == "token",
            }
        })
        .collect()
}

pub(super) async fn create(State(app): State<App>, Posted { who, fields }: Posted) -> Page {
    let name = fields.text("name").to_owned();
    let more = fields.checked("more");
    let result = match (more, fields.node_entries()) {
        (true, _) => Err(AppError::Invalid { fields: Vec::new() }),
        (false, Ok(entries)) => app.create_cluster(&who, &name, entries).await,
        (false, Err(error)) => Err(error),
    };
    match result {
        Ok(task) => Ok(Redirect::to(&format!("/tasks/{task}")).into_response()),
        Err(error) => {
            let errors = form_errors(error)?;
            let mut rows = sent_rows(&fields);
            if more {
                rows.push(NodeRowForm::empty());
            }
            let same_secret = fields.checked("same-secret");
            let shell = shell(&app, who, "Create New Cluster", "clusters").await?;
            let page = CreatePage { shell, name, same_secret, rows, errors };
            if more { draw(&page) } else { draw_refused(&page) }
        }
    }
}

pub(super) async fn add_form(State(app): State<App>, who: Who) -> Page {
    let shell = shell(&app, who, "Add Existing Cluster", "clusters").await?;
    draw(&AddPage { shell, row: NodeRowForm::empty(), errors: FormErrors::default() })
}

pub(super) async fn add(State(app): State<App>, Posted { who, fields }: Posted) -> Page {
    let result = match fields.node_entries() {
        Ok(mut entries) if entries.len() == 1 => app.import_cluster(&who, entries.remove(0)).await,
        Ok(_) => Err(AppError::field("node-0-host", "name one node of the cluster")),
        Err(error) => Err(error),
    };
    match result {
        Ok(task) => Ok(Redirect::to(&format!("/tasks/{task}")).into_response()),
        Err(error) => {
            let errors = form_errors(error)?;
            let row = sent_rows(&fields).into_iter().next().unwrap_or_else(NodeRowForm::empty);
            let shell = shell(&app, who, "Add Existing Cluster", "clusters").await?;
            draw_refused(&AddPage { shell, row, errors })
        }
    }
}

async fn remove_page(app: &App, who: Who, name: &str, error: Option<String>) -> Result<ConfirmPage, super::PageError> {
    let cluster = app.cluster(name).await?;
    Ok(ConfirmPage {
        shell: shell(app, who, "Remove Cluster", "clusters").await?,
        heading: format!("Remove {name} from luci"),
        paragraphs: vec![
            format!("luci forgets {name}, its versions, events and requests."),
            "The cluster itself is not touched: it runs on, and can be added again through one of its nodes.".into(),
        ],
        action: at(&cluster, "/remove"),
        button: format!("Remove {name} from luci"),
        danger: true,
        type_name: Some(name.to_owned()),
        base: None,
        hidden: Vec::new(),
        back: "/clusters".into(),
        error,
    })
}

pub(super) async fn remove_form(State(app): State<App>, who: Who, Path(cluster): Path<String>) -> Page {
    draw(&remove_page(&app, who, &cluster, None).await?)
}

pub(super) async fn remove(
    State(app): State<App>,
    Path(cluster): Path<String>,
    Posted { who, fields }: Posted,
) -> Page {
    if fields.text("type-name") != cluster {
        let error = Some(format!("type the name {cluster} to confirm"));
        return draw_refused(&remove_page(&app, who, &cluster, error).await?);
    }
    let cluster = app.cluster(&cluster).await?;
    app.remove_cluster(&who, &cluster).await?;
    go(&app, &who, "/clusters", "ok", format!("{} was removed from luci; the cluster itself runs on", cluster.name))
        .await
}

/// The panel of one task.
pub(super) async fn task_panel(app: &App, who: &Who, id: &str) -> Result<TaskPanel, AppError> {
    let task = app.repo.task(id).await?;
    let task = task.ok_or_else(|| AppError::NoSuch { what: "task", name: id.to_owned() })?;
    let steps = app.repo.steps(id).await?;
    let mut nodes = Vec::new();
    for step in &steps {
        if !nodes.iter().any(|node: &crate::repo::nodes::Node| node.id == step.node) {
            nodes.extend(app.repo.node(step.node).await?);
        }
    }
    let cluster = match task.cluster_id {
        Some(cluster) => app.repo.cluster(cluster).await?.map(|cluster| cluster.name),
        None => None,
    };
    Ok(TaskPanel::new(&task, &steps, &nodes, cluster.as_deref(), who.csrf(), who.may(Role::Administrator)))
}

pub(super) async fn task(State(app): State<App>, who: Who, Path(id): Path<String>) -> Page {
    let panel = task_panel(&app, &who, &id).await?;
    let mut shell = shell(&app, who, &panel.title, "tasks").await?;
    shell.live = Some(format!("/tasks/{id}/events-stream"));
    draw(&TaskPage { shell, task: panel })
}

/// The newest tasks.
pub(super) async fn tasks_panel(app: &App, who: &Who) -> Result<TasksPanel, AppError> {
    let clusters = app.repo.clusters().await?;
    let mut tasks = app.repo.recent_tasks(who.preferences.lines).await?;
    tasks.retain(|task| who.access.on_task(task).is_some());
    let name_of = |task: &Task| clusters.iter().find(|c| Some(c.id) == task.cluster_id).map(|c| c.name.as_str());
    // Who is waited for comes first; the rest stays in the order of time.
    tasks.sort_by_key(|task| !matches!(task.state, TaskState::Confirm | TaskState::Failed));
    Ok(TasksPanel { tasks: tasks.iter().map(|task| TaskLine::new(task, name_of(task))).collect() })
}

pub(super) async fn task_list(State(app): State<App>, who: Who) -> Page {
    let tasks = tasks_panel(&app, &who).await?;
    let shell = shell(&app, who, "Tasks", "tasks").await?;
    draw(&TasksPage { shell, tasks })
}

pub(super) async fn confirm_task(State(app): State<App>, Path(id): Path<String>, Posted { who, .. }: Posted) -> Page {
    app.confirm_task(&who, &id).await?;
    Ok(Redirect::to(&format!("/tasks/{id}")).into_response())
}

pub(super) async fn retry_task(State(app): State<App>, Path(id): Path<String>, Posted { who, fields }: Posted) -> Page {
    let rows: Vec<(usize, NodeRow)> = fields
        .prefixed("row-")
        .into_iter()
        .filter_map(|(place, row)| Some((place.parse().ok()?, NodeRow(row.parse().ok()?))))
        .collect();
    // The first one that was given counts for all, if the form says so.
    let given = || rows.iter().find_map(|(place, _)| fields.pair_secret(*place));
    let same = if fields.checked("same-secret") { given() } else { None };
    let secrets = rows
        .iter()
        .filter_map(|(place, row)| Some((*row, fields.pair_secret(*place).or_else(|| same.clone())?)))
        .collect();
    app.retry_task(&who, &id, secrets).await?;
    Ok(Redirect::to(&format!("/tasks/{id}")).into_response())
}

pub(super) async fn give_up_task(State(app): State<App>, Path(id): Path<String>, Posted { who, .. }: Posted) -> Page {
    app.give_up_task(&who, &id).await?;
    go(&app, &who, "/clusters", "warn", "The task was given up. What it had already done on nodes stays as it is.")
        .await
}
