//! What happened: the timeline of a cluster, and the audit trail of luci.

use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::IntoResponse as _;
use serde::Deserialize;

use super::pages::{Page, cluster_shell, draw, known_conf, shell, snapshot};
use crate::app::{App, AppError, Who};
use crate::repo::audit::AuditFilter;
use crate::repo::users::Role;
use crate::views::cluster::{EventsPage, HeadPanel};
use crate::views::events::EventsPanel;
use crate::views::manage::{AuditLine, AuditPage};
use crate::views::timeline::{Choice, csv};

/// Most lines of a file. A year of a busy cluster; more would have to be held in memory at once.
const FILE_LINES: i64 = 20_000;

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    problems: Option<String>,
    #[serde(default)]
    before: Option<i64>,
    #[serde(default)]
    about: String,
    #[serde(default)]
    group: String,
    #[serde(default)]
    words: String,
    /// Of a file: `csv` or `json`.
    #[serde(default)]
    format: String,
}

impl Which {
    fn choice(&self) -> Choice {
        let problems = self.problems.as_ref().is_some_and(|word| !word.is_empty());
        Choice { about: self.about.clone(), group: self.group.clone(), words: self.words.clone(), problems }
    }
}

/// What is wrong with an address that somebody wrote by hand.
fn no_such_choice() -> AppError {
    AppError::field("about", "this address chooses events by a word that there is not; choose on the page of events")
}

pub(super) async fn events(
    State(app): State<App>,
    who: Who,
    Path(cluster): Path<String>,
    Query(which): Query<Which>,
) -> Page {
    let cluster = app.cluster(&cluster).await?;
    let choice = which.choice();
    let mut filter = choice.filter().ok_or_else(no_such_choice)?;
    filter.before = which.before;
    let conf = known_conf(&app, &cluster).await?;
    let events = app.repo.events(cluster.id, &filter, who.preferences.lines).await?;
    let older = is_full(events.len(), &who).then(|| events.last().map(|event| event.id));
    // The list itself does not change while it is read; the landing page has the newest events live.
    let panels = "head";
    draw(&EventsPage {
        head: HeadPanel::new(&cluster.name, &snapshot(&app, &cluster), &who),
        events: EventsPanel { chosen: !choice.is_all(), ..EventsPanel::new(&events) },
        subjects: choice.subjects(conf.as_deref()),
        choice,
        most: FILE_LINES,
        older: older.flatten(),
        shell: cluster_shell(&app, who, &cluster, "events", panels).await?,
    })
}

/// The chosen events as a file, for a report or another program.
pub(super) async fn events_file(
    State(app): State<App>,
    Path(cluster): Path<String>,
    Query(which): Query<Which>,
) -> Page {
    let cluster = app.cluster(&cluster).await?;
    let filter = which.choice().filter().ok_or_else(no_such_choice)?;
    let events = app.repo.events(cluster.id, &filter, FILE_LINES).await?;
    let (kind, ending, body) = match which.format.as_str() {
        "json" => {
            let text = serde_json::to_string_pretty(&events);
            let text = text.map_err(|error| AppError::Internal(format!("events as JSON: {error}")))?;
            ("application/json", "json", text)
        }
        _ => ("text/csv; charset=utf-8", "csv", csv(&events)),
    };
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || letter == '-' { letter } else { '_' };
    let name: String = cluster.name.chars().map(plain).collect();
    let disposition = format!("attachment; filename=\"{name}-events.{ending}\"");
    Ok(([(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, disposition)], body).into_response())
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
