//! What happened: the timeline of a cluster, and the audit trail of luci.

use axum::extract::{Path, Query, State};
use serde::Deserialize;

use super::pages::{Page, cluster_shell, draw, shell, snapshot};
use crate::app::{App, Who};
use crate::repo::events::EventFilter;
use crate::views::cluster::{EventsPage, HeadPanel};
use crate::views::events::EventsPanel;
use crate::views::manage::{AuditLine, AuditPage};

/// Lines on one page.
const LINES: i64 = 100;

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    problems: Option<String>,
    #[serde(default)]
    before: Option<i64>,
    #[serde(default)]
    node: Option<String>,
    #[serde(default)]
    service: Option<String>,
}

pub(super) async fn events(
    State(app): State<App>,
    who: Who,
    Path(cluster): Path<String>,
    Query(which): Query<Which>,
) -> Page {
    let cluster = app.cluster(&cluster).await?;
    let subject = match (which.node, which.service) {
        (Some(node), _) => Some(("node", node)),
        (None, Some(service)) => Some(("service", service)),
        (None, None) => None,
    };
    let problems_only = which.problems.is_some();
    let name = subject.as_ref().map(|(_, name)| name.clone());
    let filter = EventFilter { subject, problems_only, before: which.before };
    let events = app.repo.events(cluster.id, &filter, LINES).await?;
    let older = (events.len() == usize::try_from(LINES).unwrap_or(0)).then(|| events.last().map(|event| event.id));
    // The list itself does not change while it is read; the landing page has the newest events live.
    let panels = "head";
    draw(&EventsPage {
        head: HeadPanel::new(&cluster.name, &snapshot(&app, &cluster), &who),
        events: EventsPanel::new(&events),
        problems_only,
        subject: name,
        older: older.flatten(),
        shell: cluster_shell(&app, who, &cluster, "events", panels).await?,
    })
}

#[derive(Debug, Deserialize)]
pub(super) struct Before {
    #[serde(default)]
    before: Option<i64>,
}

pub(super) async fn audit(State(app): State<App>, who: Who, Query(which): Query<Before>) -> Page {
    let entries = app.repo.audit(None, which.before, LINES).await?;
    let older = (entries.len() == usize::try_from(LINES).unwrap_or(0)).then(|| entries.last().map(|entry| entry.id));
    let shell = shell(&app, who, "Audit", "audit").await?;
    draw(&AuditPage { shell, entries: entries.into_iter().map(AuditLine::new).collect(), older: older.flatten() })
}
