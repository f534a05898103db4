//! Why, and what if: pages that ask a member for the engine's own explanation or prediction. They change nothing, and one that
//! nobody answers says so and leaves the rest of the page whole.

use axum::extract::{Path, Query, State};
use serde::Deserialize;
use shared::conf::edit::Edit;
use shared::ids::{NodeName, ServiceName};
use shared::why::{Assumption, Prediction};

use super::error::PageError;
use super::pages::{Page, cluster_shell, draw, known_conf, snapshot};
use super::services::command_of;
use crate::app::foresight::Told;
use crate::app::{App, AppError, Who};
use crate::repo::clusters::Cluster;
use crate::views::cluster::HeadPanel;
use crate::views::foresight::{
    DraftForesight, Foreseen, NodeWhy, NodeWhyPage, Question, ServiceWhy, Supposed, WhatIfPage, WhyPage, effects,
};

/// What can be asked of a service, as `clusvcadm` names it.
const VERBS: &[&str] = &["enable", "relocate", "restart", "stop", "disable"];

/// What the nodes said, or in words why they said nothing. Anything else is an error of the page.
fn spoken<T>(told: Result<T, AppError>) -> Result<Result<T, String>, PageError> {
    match told {
        Ok(told) => Ok(Ok(told)),
        Err(
            error @ (AppError::Unreachable(_) | AppError::Ricci(_) | AppError::Conflict(_) | AppError::NoSuch { .. }),
        ) => Ok(Err(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn service_why(
    State(app): State<App>,
    who: Who,
    Path((cluster, service)): Path<(String, String)>,
) -> Page {
    let cluster = app.cluster(&cluster).await?;
    let service = ServiceName::parse(&service);
    let snapshot = snapshot(&app, &cluster);
    let known = known_conf(&app, &cluster).await?.is_some_and(|conf| conf.service(&service).is_some());
    if !known && snapshot.status.as_deref().is_none_or(|status| status.service(&service).is_none()) {
        return Err(AppError::NoSuch { what: "service", name: service.0 }.into());
    }
    let why = spoken(app.explain(&cluster, &service).await)?;
    draw(&WhyPage {
        head: HeadPanel::new(&cluster.name, &snapshot, &who),
        shell: cluster_shell(&app, who, &cluster, "services", "head").await?,
        service: service.0,
        why: why.map(|told| ServiceWhy::new(&told)),
        cluster: cluster.name,
    })
}

pub(super) async fn node_why(State(app): State<App>, who: Who, Path((cluster, node)): Path<(String, String)>) -> Page {
    let cluster = app.cluster(&cluster).await?;
    let node = app.node(&cluster, &node).await?.name;
    let snapshot = snapshot(&app, &cluster);
    let services: Vec<ServiceName> = snapshot
        .status
        .as_deref()
        .map(|status| status.services.iter().map(|service| service.name.clone()).collect())
        .unwrap_or_default();
    let why = spoken(app.explain_node(&cluster, &node, &services).await)?;
    draw(&NodeWhyPage {
        head: HeadPanel::new(&cluster.name, &snapshot, &who),
        shell: cluster_shell(&app, who, &cluster, "nodes", "head").await?,
        why: why.map(|told| NodeWhy::new(&node, &told)),
        node: node.0,
        cluster: cluster.name,
    })
}

/// What is assumed; all empty asks nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    lost: String,
    service: String,
    verb: String,
    node: String,
    draft: Option<String>,
}

impl Asked {
    /// The assumption in words and as the engine takes it; the draft's is made of its text.
    fn assumption(&self) -> Result<Option<(String, Assumption)>, AppError> {
        if !self.lost.is_empty() {
            let text = format!("If {} lost its power now", self.lost);
            return Ok(Some((text, Assumption::NodeLost { node: NodeName(self.lost.clone()) })));
        }
        if self.service.is_empty() || self.verb.is_empty() {
            return Ok(None);
        }
        let node = Some(NodeName(self.node.clone())).filter(|node| !node.as_str().is_empty());
        let service = ServiceName::parse(&self.service);
        let verb = &self.verb;
        let text = match &node {
            Some(node) => format!("If {verb} were asked for {service} on {node}"),
            None => format!("If {verb} were asked for {service}"),
        };
        Ok(Some((text, Assumption::Request { command: command_of(&self.verb, node, service)? })))
    }
}

pub(super) async fn what_if(
    State(app): State<App>,
    who: Who,
    Path(cluster): Path<String>,
    Query(asked): Query<Asked>,
) -> Page {
    let cluster = app.cluster(&cluster).await?;
    let snapshot = snapshot(&app, &cluster);
    let supposed = if asked.draft.is_some() {
        Some(supposed("If your draft were applied".into(), app.predict_draft(&who, &cluster).await)?)
    } else {
        suppose(&app, &cluster, &asked).await?
    };
    let status = snapshot.status.as_deref();
    draw(&WhatIfPage {
        head: HeadPanel::new(&cluster.name, &snapshot, &who),
        nodes: status.map(|s| s.nodes.iter().map(|node| node.name.to_string()).collect()).unwrap_or_default(),
        services: status.map(|s| s.services.iter().map(|one| one.name.to_string()).collect()).unwrap_or_default(),
        verbs: VERBS,
        question: Question {
            lost: asked.lost,
            service: asked.service,
            verb: asked.verb,
            node: asked.node,
            draft: asked.draft.is_some(),
        },
        supposed,
        shell: cluster_shell(&app, who, &cluster, "what-if", "head").await?,
        cluster: cluster.name,
    })
}

fn foreseen(told: Result<Told<Prediction>, AppError>) -> Result<Result<Foreseen, String>, PageError> {
    Ok(spoken(told)?.map(|told| Foreseen::new(&told)))
}

fn supposed(assumed: String, told: Result<Told<Prediction>, AppError>) -> Result<Supposed, PageError> {
    Ok(Supposed { assumed, foreseen: foreseen(told)? })
}

/// What would come of what is asked; `None`: nothing is.
pub(super) async fn suppose(app: &App, cluster: &Cluster, asked: &Asked) -> Result<Option<Supposed>, PageError> {
    match asked.assumption()? {
        Some((text, assumption)) => Ok(Some(supposed(text, app.predict(cluster, &assumption).await)?)),
        None => Ok(None),
    }
}

/// What would come of an edit that is only shown yet, on top of the reader's draft.
pub(super) async fn suppose_edit(app: &App, who: &Who, cluster: &Cluster, edit: Edit) -> Result<Supposed, PageError> {
    let drafting = app.repo.draft(cluster.id, who.id).await?.is_some();
    let text = if drafting { "If your draft and this were applied now" } else { "If this were applied now" };
    supposed(text.into(), app.predict_edits(who, cluster, &[edit]).await)
}

/// What applying the reader's draft would do, for its review.
pub(super) async fn draft_foresight(app: &App, who: &Who, cluster: &Cluster) -> Result<DraftForesight, PageError> {
    let delta = app.draft_delta(who, cluster).await?;
    Ok(DraftForesight {
        effects: delta.map(|delta| effects(&delta)).unwrap_or_default(),
        foreseen: foreseen(app.predict_draft(who, cluster).await)?,
    })
}
