//! The way from a new cluster to one that is fenced and runs a service.

use axum::extract::{Path, State};

use super::error::PageError;
use super::pages::{Page, at, cluster_shell, draw, known_conf, snapshot};
use crate::app::{App, Who};
use crate::repo::clusters::Cluster;
use crate::views::cluster::HeadPanel;
use crate::views::guide::{Guide, GuidePage};

/// How far the cluster is, as everybody knows it; drafts do not count.
pub(super) async fn guide_of(app: &App, cluster: &Cluster) -> Result<Guide, PageError> {
    let conf = known_conf(app, cluster).await?;
    Ok(Guide::new(&at(cluster, ""), &snapshot(app, cluster), conf.as_deref()))
}

pub(super) async fn guide(State(app): State<App>, who: Who, Path(cluster): Path<String>) -> Page {
    let cluster = app.cluster(&cluster).await?;
    draw(&GuidePage {
        head: HeadPanel::new(&cluster.name, &snapshot(&app, &cluster), &who),
        guide: guide_of(&app, &cluster).await?,
        shell: cluster_shell(&app, who, &cluster, "overview", "head").await?,
        cluster: cluster.name,
    })
}
