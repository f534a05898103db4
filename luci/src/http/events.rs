//! What happened: the timeline of a cluster, and the audit trail of luci.

use axum::extract::{Path, Query, State};
use serde::Deserialize;

use super::pages::{Page, cluster_shell, draw, shell, snapshot};
use crate::app::{App, Who};
use crate::repo::audit::AuditFilter;
use crate::repo::events::EventFilter;
use crate::repo::users::Role;
use crate::views::cluster::{EventsPage, HeadPanel};
use crate::views::events::EventsPanel;
use crate::views::manage::{AuditLine, AuditPage};

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
    let events = app.repo.events(cluster.id, &filter, who.preferences.lines).await?;
    let older = is_full(events.len(), &who).then(|| events.last().map(|event| event.id));
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

/// Whether a list fills the page, so that there may be more.
fn is_full(length: usize, who: &Who) -> bool {
    i64::try_from(length).is_ok_and(|length| length >= who.preferences.lines)
}

#[derive(Debug, Deserialize)]
pub(super) struct Entries {
    #[serde(default)]
    before: Option<i64>,
    #[serde(default)]
    cluster: String,
    #[serde(default)]
    user: String,
}

pub(super) async fn audit(State(app): State<App>, who: Who, Query(which): Query<Entries>) -> Page {
    let clusters = app.repo.clusters().await?.into_iter();
    let clusters: Vec<String> =
        clusters.filter(|cluster| who.access.on(cluster.id).is_some()).map(|cluster| cluster.name).collect();
    let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let filter = AuditFilter {
        cluster: given(&which.cluster),
        user: given(&which.user),
        before: which.before,
        // Entries about luci itself, and about clusters that are gone, are for its administrators.
        visible: (who.access.everywhere() != Some(Role::Administrator)).then(|| clusters.clone()),
    };
    let entries = app.repo.audit(&filter, who.preferences.lines).await?;
    let older = is_full(entries.len(), &who).then(|| entries.last().map(|entry| entry.id));
    let shell = shell(&app, who, "Audit", "audit").await?;
    draw(&AuditPage {
        shell,
        entries: entries.into_iter().map(AuditLine::new).collect(),
        older: older.flatten(),
        clusters,
        cluster: which.cluster,
        user: which.user,
    })
}
