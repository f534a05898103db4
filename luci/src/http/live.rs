//! Live updates: the same parts that built a page, pushed when they change (server-sent events). A browser that
//! reconnects gets every part of its page at once, so nothing is missed.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use shared::ids::ConfVersion;

use super::error::PageError;
use super::overview::{events_panel, requests_panel};
use super::pages::{known_conf, side_panel, snapshot};
use super::{manage, nodes, services};
use crate::app::{App, AppError, Who};
use crate::repo::clusters::Cluster;
use crate::repo::events::EventFilter;
use crate::views::cluster::{HeadPanel, MatrixPanel};
use crate::views::drafts::RolloutPanel;

/// Several changes within this time are drawn once.
const SETTLE: Duration = Duration::from_millis(40);
/// A page is drawn anew at least this often, so that its ages stay true.
const AT_LEAST: Duration = Duration::from_secs(30);
/// A comment is sent this often, so that a dead link is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// What a page wants to be told.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    panels: String,
    #[serde(default)]
    service: Option<String>,
    #[serde(default)]
    node: Option<String>,
    #[serde(default)]
    version: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Part<'a> {
    id: &'a str,
    html: &'a str,
}

/// Drawn parts by the id of their element.
type Parts = Vec<(String, String)>;

pub(super) async fn cluster_stream(
    State(app): State<App>,
    who: Who,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, PageError> {
    let cluster = app.cluster(&name).await?;
    let changes = app.watchers.subscribe(cluster.id);
    let changes = changes.ok_or_else(|| AppError::NoSuch { what: "cluster", name })?;
    let menu = Menu { tab: String::new(), here: Some(cluster.name.clone()) };
    let drawing = app.clone();
    Ok(stream(app, who, menu, changes, move |who| {
        let (app, cluster, wanted) = (drawing.clone(), cluster.clone(), wanted.clone());
        async move { cluster_parts(&app, &who, &cluster, &wanted).await }
    }))
}

/// Which entry of the menu is the reader's.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Menu {
    #[serde(default)]
    tab: String,
    #[serde(skip)]
    here: Option<String>,
}

pub(super) async fn home_stream(
    State(app): State<App>,
    who: Who,
    Query(menu): Query<Menu>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let changes = app.watchers.subscribe_any();
    let drawing = app.clone();
    let lists = menu.tab == "clusters";
    stream(app, who, menu, changes, move |who| {
        let app = drawing.clone();
        async move {
            if !lists {
                return Ok(Vec::new());
            }
            Ok(vec![("panel-clusters".to_owned(), manage::clusters_panel(&app, &who).await?.render()?)])
        }
    })
}

pub(super) async fn task_stream(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let changes = app.watchers.subscribe_any();
    let drawing = app.clone();
    let menu = Menu { tab: "tasks".into(), here: None };
    stream(app, who, menu, changes, move |who| {
        let (app, id) = (drawing.clone(), id.clone());
        async move { Ok(vec![("panel-task".to_owned(), manage::task_panel(&app, &who, &id).await?.render()?)]) }
    })
}

/// Draws the wanted parts of a cluster.
async fn cluster_parts(app: &App, who: &Who, cluster: &Cluster, wanted: &Wanted) -> Result<Parts, PageError> {
    let snapshot = snapshot(app, cluster);
    let mut parts = Vec::new();
    for panel in wanted.panels.split(',') {
        let html = match panel {
            "head" => HeadPanel::new(&cluster.name, &snapshot, who).render()?,
            "matrix" => {
                let conf = known_conf(app, cluster).await?;
                MatrixPanel::new(&cluster.name, &snapshot, conf.as_deref(), who).render()?
            }
            "requests" => requests_panel(app, cluster).await?.render()?,
            "events" => events_panel(app, cluster, &filter(wanted)).await?.render()?,
            "nodes" => nodes::nodes_panel(app, who, cluster, &snapshot).await?.render()?,
            "node" => match &wanted.node {
                Some(node) => nodes::node_panel(app, who, cluster, node, &snapshot).await?.render()?,
                None => continue,
            },
            "rollout" => match wanted.version {
                Some(version) => RolloutPanel::new(ConfVersion(version), &snapshot).render()?,
                None => continue,
            },
            "services" => services::services_panel(app, who, cluster, &snapshot).await?.render()?,
            "service" => match &wanted.service {
                Some(service) => services::service_panel(app, who, cluster, service, &snapshot).await?.render()?,
                None => continue,
            },
            _ => continue,
        };
        parts.push((format!("panel-{panel}"), html));
    }
    Ok(parts)
}

fn filter(wanted: &Wanted) -> EventFilter {
    let subject = match (&wanted.node, &wanted.service) {
        (Some(node), _) => Some(("node", node.clone())),
        (None, Some(service)) => Some(("service", service.clone())),
        (None, None) => None,
    };
    EventFilter { subject, ..EventFilter::default() }
}

/// Pushes parts whenever something changes and they differ from what was pushed before. Ends with luci and with the
/// session.
fn stream<T, F, W>(
    app: App,
    who: Who,
    menu: Menu,
    mut changes: tokio::sync::watch::Receiver<T>,
    draw: F,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>>
where
    T: Send + Sync + 'static,
    F: Fn(Who) -> W + Send + Sync + 'static,
    W: Future<Output = Result<Parts, PageError>> + Send,
{
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Event, Infallible>>(8);
    let background = app.background.clone();
    background.spawn("live", async move {
        let mut told: BTreeMap<String, String> = BTreeMap::new();
        let mut any = app.watchers.subscribe_any();
        let mut due = true;
        loop {
            // The menu follows all clusters; the rest of the page is drawn only when what it shows has changed.
            let whole = due || changes.has_changed().unwrap_or(true);
            changes.mark_unchanged();
            any.mark_unchanged();
            // A session that was ended, or whose role changed, must not go on seeing.
            let Ok(Some(who)) = app.still(&who).await else { return };
            let drawn = async {
                let mut parts = if whole { draw(who.clone()).await? } else { Vec::new() };
                let side = side_panel(&app, &who, &menu.tab, menu.here.as_deref()).await?;
                parts.push(("panel-side".to_owned(), side.render()?));
                Ok::<Parts, PageError>(parts)
            };
            let parts = match drawn.await {
                Ok(parts) => parts,
                Err(error) => {
                    tracing::warn!(error = shared::chain(&error), "a live update cannot be drawn");
                    return;
                }
            };
            for (id, html) in parts {
                if told.get(&id) == Some(&html) {
                    continue;
                }
                let Ok(text) = serde_json::to_string(&Part { id: &id, html: &html }) else { continue };
                if sender.send(Ok(Event::default().event("panel").data(text))).await.is_err() {
                    return;
                }
                told.insert(id, html);
            }
            due = false;
            tokio::select! {
                changed = changes.changed() => {
                    if changed.is_err() { return }
                    // `changed` marks it as seen.
                    due = true;
                }
                changed = any.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(AT_LEAST) => due = true,
                () = sender.closed() => return,
            }
            tokio::time::sleep(SETTLE).await;
        }
    });
    Sse::new(tokio_stream::wrappers::ReceiverStream::new(receiver)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}
