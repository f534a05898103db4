//! Proving that a node can be fenced: what is known, and the tests. As pages, and over the API.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect};
use serde::Serialize;

use super::configure::frame;
use super::error::PageError;
use super::pages::{Page, at, draw, draw_refused, form_errors, part, snapshot};
use super::session::Posted;
use crate::app::fencing::PROOF_LIFE_MS;
use crate::app::{App, AppError, Who};
use crate::repo::fencing::{ProofVerdict, Rung, RungVerdict};
use crate::tasks::fencing::fingerprint;
use crate::views::fencing::{CardView, FenceTestPage, MethodLine, RungLine};
use crate::views::manage::FormErrors;

async fn page(app: &App, who: Who, cluster: &str, node: &str, errors: FormErrors) -> Result<FenceTestPage, PageError> {
    let cluster = app.cluster(cluster).await?;
    let row = app.node(&cluster, node).await?;
    let standings = app.method_standings(&cluster, Some(&row.name)).await?;
    let conf = app.known_conf(cluster.id).await?;
    let now = conf.as_ref().and_then(|conf| conf.node(&row.name)).map(fingerprint).unwrap_or_default();
    let mut results = app.repo.rungs(cluster.id, node).await?;
    // Of methods and devices that are still there, in the order of the ladder.
    results.retain(|one| standings.iter().any(|line| line.method == one.method && line.devices.contains(&one.device)));
    results.sort_by(|a, b| (&a.method, &a.device, a.rung, &a.tester).cmp(&(&b.method, &b.device, b.rung, &b.tester)));
    let cards = app.repo.newest_proofs(cluster.id).await?;
    let snapshot = snapshot(app, &cluster);
    let services = snapshot.live().into_iter().flat_map(|status| &status.services);
    let services = services.filter(|service| service.owner.as_ref() == Some(&row.name));
    let services = services.map(|service| service.name.to_string()).collect();
    let (shell, head) = frame(app, who, &cluster, "nodes").await?;
    Ok(FenceTestPage {
        shell,
        head,
        back: at(&cluster, &format!("/nodes/{}", part(node))),
        node: node.to_owned(),
        methods: standings.iter().map(MethodLine::new).collect(),
        rungs: results.iter().map(|result| RungLine::new(result, &now)).collect(),
        card: cards.iter().find(|card| card.node == node).map(CardView::new),
        services,
        cluster: cluster.name,
        errors,
    })
}

pub(super) async fn fence_test(
    State(app): State<App>,
    who: Who,
    Path((cluster, node)): Path<(String, String)>,
) -> Page {
    draw(&page(&app, who, &cluster, &node, FormErrors::default()).await?)
}

pub(super) async fn run_fence_test(
    State(app): State<App>,
    Path((cluster, node)): Path<(String, String)>,
    Posted { who, fields }: Posted,
) -> Page {
    let row = app.cluster(&cluster).await?;
    let power = fields.checked("power");
    let result = if power && fields.text("type-name") != node {
        Err(AppError::field("type-name", format!("type the name {node} to confirm")))
    } else {
        app.prove_fencing(&who, &row, &node, power).await
    };
    match result {
        Ok(task) => Ok(Redirect::to(&format!("/tasks/{task}")).into_response()),
        Err(error) => draw_refused(&page(&app, who, &cluster, &node, form_errors(error)?).await?),
    }
}

/// What is known of a node's fence methods.
#[derive(Serialize)]
pub(super) struct FencingBody {
    node: String,
    methods: Vec<MethodBody>,
    rungs: Vec<RungBody>,
    power_cycle: Option<PowerCycleBody>,
}

#[derive(Serialize)]
struct MethodBody {
    method: String,
    devices: Vec<String>,
    /// `proven`, `expired`, `changed`, `claimed`, `disproved`, `failed` or `untried`.
    standing: &'static str,
    at: Option<i64>,
    believed_until: Option<i64>,
}

#[derive(Serialize)]
struct RungBody {
    method: String,
    device: String,
    rung: Rung,
    tester: String,
    verdict: RungVerdict,
    code: Option<i64>,
    output: String,
    duration_ms: i64,
    at: i64,
}

#[derive(Serialize)]
struct PowerCycleBody {
    asked_at: i64,
    asked_by: String,
    answer: String,
    membership_lost_at: Option<i64>,
    fenced_at: Option<i64>,
    boot_before: String,
    boot_after: Option<String>,
    back_at: Option<i64>,
    verdict: ProofVerdict,
}

/// For the API.
pub(super) async fn fencing_body(app: &App, cluster: &str, node: &str) -> Result<FencingBody, AppError> {
    let cluster = app.cluster(cluster).await?;
    let row = app.node(&cluster, node).await?;
    let methods = app.method_standings(&cluster, Some(&row.name)).await?.into_iter();
    let methods = methods.map(|one| MethodBody {
        believed_until: one.at.filter(|_| one.standing.is_proven()).map(|at| at + PROOF_LIFE_MS),
        method: one.method,
        devices: one.devices,
        standing: one.standing.key(),
        at: one.at,
    });
    let rungs = app.repo.rungs(cluster.id, node).await?.into_iter();
    let rungs = rungs.map(|one| RungBody {
        method: one.method,
        device: one.device,
        rung: one.rung,
        tester: one.tester,
        verdict: one.verdict,
        code: one.code,
        output: one.output,
        duration_ms: one.duration_ms,
        at: one.at,
    });
    let card = app.repo.newest_proofs(cluster.id).await?.into_iter().find(|card| card.node == node);
    let power_cycle = card.map(|card| PowerCycleBody {
        asked_at: card.asked_at,
        asked_by: card.user_name,
        answer: card.answer,
        membership_lost_at: card.lost_at,
        fenced_at: card.fenced_at,
        boot_before: card.boot_before,
        boot_after: card.boot_after,
        back_at: card.back_at,
        verdict: card.verdict,
    });
    Ok(FencingBody { node: node.to_owned(), methods: methods.collect(), rungs: rungs.collect(), power_cycle })
}
