//! Live updates: the same parts that built a page, pushed when they change (server-sent events). A browser that
//! reconnects gets every part of its page at once, so nothing is missed.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use shared::ids::ConfVersion;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::error::PageError;
use super::overview::{events_panel, requests_panel};
use super::pages::{known_conf, snapshot};
use super::side::{Side, Sides};
use super::{manage, nodes, services};
use crate::app::{App, AppError, Who};
use crate::language;
use crate::repo::clusters::Cluster;
use crate::repo::events::EventFilter;
use crate::views::cluster::HeadPanel;
use crate::views::drafts::RolloutPanel;
use crate::views::matrix::MatrixPanel;

/// Several changes within this time are drawn once.
const SETTLE: Duration = Duration::from_millis(40);
/// A page is drawn anew at least this often, so that its ages stay true.
const AT_LEAST: Duration = Duration::from_secs(30);
/// A comment is sent this often, so that a dead link is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Id of every event: a browser that comes back with it has been told something on an earlier link.
const FOLLOWED: &str = "1";

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
    /// Which matrix the page shows already (`MatrixPanel::digest`).
    #[serde(default)]
    matrix: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Told<'a> {
    id: &'a str,
    html: &'a str,
}

/// A part of a page.
enum Part {
    /// Drawn, by the id of its element.
    Drawn { id: String, html: String },
    /// Its rows are drawn only if they are to be told.
    Matrix(MatrixPanel),
}

type Parts = Vec<Part>;

pub(super) async fn cluster_stream(
    State(app): State<App>,
    Extension(sides): Extension<Sides>,
    who: Who,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, PageError> {
    let cluster = app.cluster(&name).await?;
    let changes = app.watchers.subscribe(cluster.id);
    let changes = changes.ok_or_else(|| AppError::NoSuch { what: "cluster", name })?;
    let menu = Menu { tab: String::new(), here: Some(cluster.name.clone()) };
    let drawing = app.clone();
    // One that was told something and then lost its link shows neither what the page was sent with nor what is true now.
    let shown = wanted.matrix.filter(|_| !headers.contains_key("last-event-id"));
    Ok(stream(app, sides, who, menu, changes, shown, move |who| {
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
    Extension(sides): Extension<Sides>,
    who: Who,
    Query(menu): Query<Menu>,
    Query(asked): Query<manage::Asked>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let changes = app.watchers.subscribe_any();
    let drawing = app.clone();
    let tab = menu.tab.clone();
    stream(app, sides, who, menu, changes, None, move |who| {
        let (app, tab, asked) = (drawing.clone(), tab.clone(), asked.clone());
        async move {
            let html = match tab.as_str() {
                "clusters" => manage::clusters_panel(&app, &who, &asked).await?.render()?,
                "tasks" => manage::tasks_panel(&app, &who).await?.render()?,
                _ => return Ok(Vec::new()),
            };
            Ok(vec![Part::Drawn { id: format!("panel-{tab}"), html }])
        }
    })
}

pub(super) async fn task_stream(
    State(app): State<App>,
    Extension(sides): Extension<Sides>,
    who: Who,
    Path(id): Path<String>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let changes = app.watchers.subscribe_any();
    let drawing = app.clone();
    let menu = Menu { tab: "tasks".into(), here: None };
    stream(app, sides, who, menu, changes, None, move |who| {
        let (app, id) = (drawing.clone(), id.clone());
        async move {
            let html = manage::task_panel(&app, &who, &id).await?.render()?;
            Ok(vec![Part::Drawn { id: "panel-task".to_owned(), html }])
        }
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
                parts.push(Part::Matrix(MatrixPanel::new(&cluster.name, &snapshot, conf.as_deref(), who)));
                continue;
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
            // Each resource is a part of its own: the tree around it has buttons that must not move under the reader.
            "states" => {
                let Some(service) = &wanted.service else { continue };
                for part in services::resource_states(app, cluster, service, &snapshot).await? {
                    let html = part.render()?;
                    parts.push(Part::Drawn { id: part.id, html });
                }
                continue;
            }
            "service" => match &wanted.service {
                Some(service) => services::service_panel(app, who, cluster, service, &snapshot).await?.render()?,
                None => continue,
            },
            _ => continue,
        };
        parts.push(Part::Drawn { id: format!("panel-{panel}"), html });
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

/// A stream's own knowledge: who reads it, and what was told.
struct Reader<T> {
    app: App,
    sides: Sides,
    who: Who,
    menu: Menu,
    changes: watch::Receiver<T>,
    any: watch::Receiver<u64>,
    rights: watch::Receiver<u64>,
    /// When the reader's rights were last looked at, and when the whole page was last drawn.
    checked: Instant,
    drawn: Option<Instant>,
    side: Option<Arc<Side>>,
    /// Of what was told last, by the id of its element: the part itself would be kept once for every open page.
    told: BTreeMap<String, u64>,
    /// Which matrix the page had when it was sent, until that has been looked at.
    shown: Option<u64>,
}

impl<T> Reader<T> {
    /// Whether the reader may still see this. A session that was ended, or whose role changed, must not go on seeing: what
    /// is changed through this luci is noticed at once, what is changed behind its back within `AT_LEAST`.
    async fn may_go_on(&mut self) -> bool {
        if !self.rights.has_changed().unwrap_or(true) && self.checked.elapsed() < AT_LEAST {
            return true;
        }
        self.rights.mark_unchanged();
        self.checked = Instant::now();
        self.side = None;
        match self.app.still(&self.who).await {
            Ok(Some(who)) => {
                self.who = who;
                true
            }
            _ => false,
        }
    }

    /// What is to be told now. The menu follows all clusters; the rest of the page is drawn only when what it shows has changed.
    async fn parts<F, W>(&mut self, draw: &F) -> Result<Parts, PageError>
    where
        F: Fn(Who) -> W,
        W: Future<Output = Result<Parts, PageError>>,
    {
        let due = self.drawn.is_none_or(|drawn| drawn.elapsed() >= AT_LEAST);
        let whole = due || self.changes.has_changed().unwrap_or(true);
        self.changes.mark_unchanged();
        let change = *self.any.borrow_and_update();
        let mut parts = Vec::new();
        if whole {
            self.drawn = Some(Instant::now());
            parts = draw(self.who.clone()).await?;
        }
        let side = self.sides.after(&self.app, change).await?;
        if !self.side.as_ref().is_some_and(|before| Arc::ptr_eq(before, &side)) {
            let panel = side.panel(&self.who, &self.menu.tab, self.menu.here.as_deref());
            parts.push(Part::Drawn { id: "panel-side".to_owned(), html: panel.render()? });
            self.side = Some(side);
        }
        Ok(parts)
    }

    /// Whether the reader has not been told this; it is from now on.
    fn is_new(&mut self, id: &str, digest: u64) -> bool {
        self.told.insert(id.to_owned(), digest) != Some(digest)
    }

    /// What of these parts the reader has not been told, as elements of the page by their ids.
    fn news(&mut self, parts: Parts) -> Result<Vec<(String, String)>, askama::Error> {
        let mut news = Vec::new();
        for part in parts {
            match part {
                Part::Drawn { id, html } => {
                    let mut hasher = DefaultHasher::new();
                    html.hash(&mut hasher);
                    if self.is_new(&id, hasher.finish()) {
                        news.push((id, html));
                    }
                }
                Part::Matrix(matrix) => self.news_of_matrix(&matrix, &mut news)?,
            }
        }
        Ok(news)
    }

    /// Single rows, as long as there are the same rows and columns.
    fn news_of_matrix(&mut self, matrix: &MatrixPanel, news: &mut Vec<(String, String)>) -> Result<(), askama::Error> {
        let shown = self.shown.take().is_some_and(|shown| shown == matrix.digest());
        let whole = self.is_new("panel-matrix", matrix.frame_digest()) && !shown;
        for row in &matrix.rows {
            let id = row.id();
            if self.is_new(&id, row.digest()) && !whole && !shown {
                news.push((id, row.render()?));
            }
        }
        if whole {
            news.push(("panel-matrix".to_owned(), matrix.render()?));
        }
        Ok(())
    }

    /// Waits for a change of anything; false if the page is gone.
    async fn wait(&mut self, sender: &mpsc::Sender<Result<Event, Infallible>>) -> bool {
        let next = self.drawn.unwrap_or_else(Instant::now) + AT_LEAST;
        tokio::select! {
            // Left as a change: `parts` asks for it.
            changed = self.changes.changed() => {
                self.changes.mark_changed();
                changed.is_ok()
            }
            changed = self.any.changed() => changed.is_ok(),
            () = tokio::time::sleep_until(next) => true,
            () = sender.closed() => false,
        }
    }
}

/// Pushes parts whenever something changes and they differ from what was pushed before. Ends with luci and with the
/// session.
fn stream<T, F, W>(
    app: App,
    sides: Sides,
    who: Who,
    menu: Menu,
    changes: watch::Receiver<T>,
    shown: Option<u64>,
    draw: F,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>>
where
    T: Send + Sync + 'static,
    F: Fn(Who) -> W + Send + Sync + 'static,
    W: Future<Output = Result<Parts, PageError>> + Send,
{
    let (sender, receiver) = mpsc::channel::<Result<Event, Infallible>>(8);
    let background = app.background.clone();
    let told_in = language::spoken();
    let mut reader = Reader {
        any: app.watchers.subscribe_any(),
        rights: app.watchers.subscribe_rights(),
        app,
        sides,
        who,
        menu,
        changes,
        checked: Instant::now(),
        drawn: None,
        side: None,
        told: BTreeMap::new(),
        shown,
    };
    // The door's look at the rights lies before this subscription: what was changed in between is seen by looking again.
    reader.rights.mark_changed();
    let work = async move {
        loop {
            if !reader.may_go_on().await {
                return;
            }
            let parts = reader.parts(&draw).await;
            let news = match parts.and_then(|parts| Ok(reader.news(parts)?)) {
                Ok(news) => news,
                Err(error) => {
                    tracing::warn!(error = shared::chain(&error), "a live update cannot be drawn");
                    return;
                }
            };
            for (id, html) in news {
                let Ok(text) = serde_json::to_string(&Told { id: &id, html: &html }) else { continue };
                let event = Event::default().id(FOLLOWED).event("panel").data(text);
                if sender.send(Ok(event)).await.is_err() {
                    return;
                }
            }
            if !reader.wait(&sender).await {
                return;
            }
            tokio::time::sleep(SETTLE).await;
        }
    };
    background.spawn("live", language::speak(told_in, work));
    Sse::new(tokio_stream::wrappers::ReceiverStream::new(receiver)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}
