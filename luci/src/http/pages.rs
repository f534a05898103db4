//! What all handlers of pages need: the frame around a page, redirects with a message, and the drawn page as an answer.

use std::sync::Arc;

use askama::Template;
use axum::response::{Html, IntoResponse, Redirect, Response};
use shared::conf::model::Conf;

use super::error::{PageError, encode};
use super::side::Side;
use crate::app::{App, AppError, Who, errors_of};
use crate::repo::clusters::Cluster;
use crate::repo::requests::{RequestState, StoredRequest};
use crate::views::drafts::DraftLine;
use crate::views::manage::FormErrors;
use crate::views::{Flash, Shell};
use crate::watcher::{Link, Snapshot};

/// What a handler of a page returns.
pub(super) type Page = Result<Response, PageError>;

/// The page as an answer.
pub(super) fn draw(page: &impl Template) -> Page {
    Ok(Html(page.render()?).into_response())
}

/// A form with its mistakes shown, with the status that says so.
pub(super) fn draw_refused(page: &impl Template) -> Page {
    Ok((axum::http::StatusCode::UNPROCESSABLE_ENTITY, Html(page.render()?)).into_response())
}

async fn frame(
    app: &App,
    who: Who,
    title: &str,
    tab: &'static str,
    here: Option<&str>,
    live: String,
) -> Result<Shell, PageError> {
    let side = Side::read(app).await?.panel(&who, tab, here);
    let flash = match who.session() {
        Some(session) => app.repo.take_flash(session).await?,
        None => None,
    };
    Ok(Shell {
        title: title.to_owned(),
        side,
        tab,
        flash: flash.and_then(|text| serde_json::from_str(&text).ok()),
        draft: None,
        live: Some(live),
        who,
    })
}

/// The frame of a page; its menu is pushed.
pub(super) async fn shell(app: &App, who: Who, title: &str, tab: &'static str) -> Result<Shell, PageError> {
    frame(app, who, title, tab, None, format!("/events-stream?tab={tab}")).await
}

/// The frame of a cluster's page, its parts pushed.
pub(super) async fn cluster_shell(
    app: &App,
    who: Who,
    cluster: &Cluster,
    tab: &'static str,
    panels: &str,
) -> Result<Shell, PageError> {
    let live = format!("/clusters/{}/events-stream?panels={panels}", encode(&cluster.name));
    let draft = app.repo.draft(cluster.id, who.id).await?;
    let draft = draft.map(|draft| DraftLine { base: draft.base.to_string(), steps: draft.steps.len() });
    Ok(Shell { draft, ..frame(app, who, &cluster.name, tab, Some(&cluster.name), live).await? })
}

/// What luci knows of the cluster; nothing yet, if it is not watched.
pub(super) fn snapshot(app: &App, cluster: &Cluster) -> Snapshot {
    app.watchers.snapshot(cluster.id).unwrap_or_else(|| Snapshot {
        status: None,
        status_at: None,
        link: Link::Lost { since: cluster.created_at, why: "luci has just begun to watch it".into() },
        nodes: Arc::default(),
        revision: 0,
    })
}

/// The newest configuration that luci has stored; asks no node.
pub(super) async fn known_conf(app: &App, cluster: &Cluster) -> Result<Option<Arc<Conf>>, PageError> {
    Ok(app.known_conf(cluster.id).await?)
}

/// Goes to a page, leaving a message for it.
pub(super) async fn go(app: &App, who: &Who, to: &str, kind: &str, text: impl Into<String>) -> Page {
    let flash = Flash { kind: kind.to_owned(), text: text.into() };
    if let (Ok(text), Some(session)) = (serde_json::to_string(&flash), who.session()) {
        app.repo.set_flash(session, &text).await?;
    }
    Ok(Redirect::to(to).into_response())
}

/// Address of a cluster's page.
pub(super) fn at(cluster: &Cluster, rest: &str) -> String {
    format!("/clusters/{}{rest}", part(&cluster.name))
}

/// A name as one part of an address.
pub(super) fn part(name: &str) -> String {
    encode(name).replace('/', "%2F")
}

/// The mistakes of a form, or the error itself when it is not about a field.
pub(super) fn form_errors(error: AppError) -> Result<FormErrors, PageError> {
    match error {
        AppError::Invalid { fields } => {
            Ok(FormErrors(fields.into_iter().map(|field| (field.field, field.text)).collect()))
        }
        AppError::Findings(findings) => Ok(FormErrors(
            errors_of(&findings)
                .map(|finding| {
                    ("form".to_owned(), format!("{}: {}. {}", finding.place.path, finding.text, finding.hint))
                })
                .collect(),
        )),
        AppError::Conflict(text) => Ok(FormErrors(vec![("form".to_owned(), text)])),
        other => Err(other.into()),
    }
}

/// What is said after a request was handed in.
pub(super) fn request_flash(request: &StoredRequest) -> (&'static str, String) {
    let (verb, object) = (request.command.verb(), crate::app::requests::object(&request.command));
    let text = request.text.clone().unwrap_or_default();
    match request.state {
        RequestState::Sending => {
            ("warn", format!("{verb} {object}: no member has answered yet; luci keeps trying for a minute"))
        }
        RequestState::Accepted => ("ok", format!("{verb} {object}: accepted; the page shows how it goes on")),
        RequestState::Done => ("ok", format!("{verb} {object}: {text}")),
        RequestState::Refused => ("bad", format!("{verb} {object}: refused. {text}")),
        RequestState::Failed | RequestState::Lost => ("bad", format!("{verb} {object}: {text}")),
    }
}
