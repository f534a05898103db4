//! The landing page of a cluster: which service is on which node, and why.

use axum::extract::{Path, State};

use super::guide::guide_of;
use super::pages::{Page, cluster_shell, draw, known_conf, snapshot};
use crate::app::{App, AppError, Who};
use crate::repo::clusters::Cluster;
use crate::repo::events::EventFilter;
use crate::views::cluster::{HeadPanel, OverviewPage, RequestsPanel};
use crate::views::events::EventsPanel;
use crate::views::matrix::MatrixPanel;
use crate::views::tasks::TaskLine;

/// Requests on the landing page.
const REQUESTS: i64 = 6;
/// Events on the landing page.
const EVENTS: i64 = 12;

pub(super) async fn requests_panel(app: &App, cluster: &Cluster) -> Result<RequestsPanel, AppError> {
    Ok(RequestsPanel::new(&app.repo.recent_requests(cluster.id, REQUESTS).await?))
}

pub(super) async fn events_panel(app: &App, cluster: &Cluster, filter: &EventFilter) -> Result<EventsPanel, AppError> {
    Ok(EventsPanel::new(&app.repo.events(cluster.id, filter, EVENTS).await?))
}

pub(super) async fn overview(State(app): State<App>, who: Who, Path(cluster): Path<String>) -> Page {
    let cluster = app.cluster(&cluster).await?;
    let snapshot = snapshot(&app, &cluster);
    let conf = known_conf(&app, &cluster).await?;
    let tasks = app.repo.open_tasks().await?;
    let guide = guide_of(&app, &cluster).await?;
    let matrix = MatrixPanel::new(&cluster.name, &snapshot, conf.as_deref(), &who);
    let panels = format!("head,matrix,requests,events&matrix={}", matrix.digest());
    draw(&OverviewPage {
        head: HeadPanel::new(&cluster.name, &snapshot, &who),
        matrix,
        requests: requests_panel(&app, &cluster).await?,
        events: events_panel(&app, &cluster, &EventFilter::default()).await?,
        unproven: app
            .method_standings(&cluster, None)
            .await?
            .into_iter()
            .filter(|one| !one.standing.is_proven())
            .map(|one| (one.node.to_string(), one.method, one.standing.word()))
            .collect(),
        unprotected: conf
            .iter()
            .flat_map(|conf| &conf.nodes)
            .filter(|node| node.methods.is_empty())
            .map(|node| node.name.to_string())
            .collect(),
        set_up: (!guide.is_complete()).then(|| (guide.done(), guide.steps.len())),
        tasks: tasks
            .iter()
            .filter(|task| task.cluster_id == Some(cluster.id))
            .map(|task| TaskLine::new(task, Some(&cluster.name)))
            .collect(),
        shell: cluster_shell(&app, who, &cluster, "overview", &panels).await?,
    })
}
