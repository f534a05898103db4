//! A draft: begun, reviewed, moved onto a newer version, applied or discarded.

use axum::extract::{Path, State};

use super::configure::{diff_rows, frame};
use super::error::PageError;
use super::foresight::draft_foresight;
use super::pages::{Page, at, draw, draw_refused, form_errors, go};
use super::session::Posted;
use crate::app::{App, Who};
use crate::views::conf::FindingLine;
use crate::views::drafts::ReviewPage;
use crate::views::manage::FormErrors;

async fn review_page(app: &App, who: Who, cluster: &str, errors: FormErrors) -> Result<ReviewPage, PageError> {
    let cluster = app.cluster(cluster).await?;
    let review = app.review(&who, &cluster).await?;
    let foresight = draft_foresight(app, &who, &cluster).await?;
    let (shell, head) = frame(app, who, &cluster, "configure").await?;
    Ok(ReviewPage {
        shell,
        head,
        cluster: cluster.name,
        base: review.draft.base.to_string(),
        steps: review.draft.steps.iter().map(|step| step.message.clone()).collect(),
        rows: diff_rows(&review.before, &review.after),
        words: review.words,
        blocked: crate::app::errors_of(&review.findings).count(),
        findings: review.findings.iter().map(FindingLine::new).collect(),
        moved: review.moved,
        foresight,
        errors,
    })
}

pub(super) async fn review(State(app): State<App>, who: Who, Path(cluster): Path<String>) -> Page {
    draw(&review_page(&app, who, &cluster, FormErrors::default()).await?)
}

pub(super) async fn begin(State(app): State<App>, Path(cluster): Path<String>, Posted { who, .. }: Posted) -> Page {
    let cluster = app.cluster(&cluster).await?;
    app.begin_draft(&who, &cluster).await?;
    let text = "Draft begun: what you change on these pages is collected, until you review and apply it";
    go(&app, &who, &at(&cluster, "/configure"), "ok", text).await
}

pub(super) async fn discard(State(app): State<App>, Path(cluster): Path<String>, Posted { who, .. }: Posted) -> Page {
    let cluster = app.cluster(&cluster).await?;
    app.discard_draft(&who, &cluster).await?;
    go(&app, &who, &at(&cluster, "/configure"), "ok", "The draft was discarded; nothing of it was applied").await
}

pub(super) async fn undo(State(app): State<App>, Path(cluster): Path<String>, Posted { who, .. }: Posted) -> Page {
    let row = app.cluster(&cluster).await?;
    match app.undo_step(&who, &row).await {
        Ok(message) => go(&app, &who, &at(&row, "/draft"), "ok", format!("Taken back: {message}")).await,
        Err(error) => draw_refused(&review_page(&app, who, &cluster, form_errors(error)?).await?),
    }
}

pub(super) async fn move_on(
    State(app): State<App>,
    Path(cluster): Path<String>,
    Posted { who, fields }: Posted,
) -> Page {
    let row = app.cluster(&cluster).await?;
    // Each object that both changed: `keep-N` is `mine` or `theirs`, `subject-N` its name.
    let theirs: Vec<String> = fields
        .prefixed("subject-")
        .into_iter()
        .filter(|(number, _)| fields.text(&format!("keep-{number}")) == "theirs")
        .map(|(_, subject)| subject)
        .collect();
    match app.move_draft(&who, &row, &theirs).await {
        Ok(version) => {
            let text = format!("The draft now changes version {version}; review it again");
            go(&app, &who, &at(&row, "/draft"), "ok", text).await
        }
        Err(error) => draw_refused(&review_page(&app, who, &cluster, form_errors(error)?).await?),
    }
}

pub(super) async fn apply(State(app): State<App>, Path(cluster): Path<String>, Posted { who, fields }: Posted) -> Page {
    let row = app.cluster(&cluster).await?;
    match app.apply_draft(&who, &row, fields.text("message")).await {
        Ok(done) => {
            let to = at(&row, &format!("/configure/versions/{}", done.version));
            super::configure::changed(&app, &who, &to, "Draft applied", &done).await
        }
        Err(error) => draw_refused(&review_page(&app, who, &cluster, form_errors(error)?).await?),
    }
}
