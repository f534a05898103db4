//! Why a service is as it is, and what would come of something: asked of a member now, because only the engine knows.
//! Nothing is done by it. Members that do not answer are passed over; the whole question has one deadline.

use std::time::Duration;

use shared::conf;
use shared::conf::delta::Delta;
use shared::conf::edit::{self, Edit};
use shared::ids::{NodeName, ServiceName};
use shared::why::{Assumption, Explanation, Prediction};

use super::conf::{raise_version, refused};
use super::{App, AppError, Who};
use crate::clock;
use crate::repo::clusters::Cluster;
use crate::ricci_client::{Ricci, RicciError};
use crate::watcher::Link;

/// A person waits for the answer: long enough for one member that hangs and one that answers.
const DEADLINE: Duration = Duration::from_secs(8);

/// What a member said, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told<T> {
    pub by: NodeName,
    pub at: i64,
    pub what: T,
}

impl App {
    /// Why a service is where and as it is.
    pub async fn explain(&self, cluster: &Cluster, service: &ServiceName) -> Result<Told<Explanation>, AppError> {
        match self.ask_members(cluster, |ricci| async move { ricci.explain(service).await }).await {
            Err(AppError::Ricci(error)) if is_unknown(&error) => {
                Err(AppError::NoSuch { what: "service", name: service.to_string() })
            }
            told => told,
        }
    }

    /// Why each of the services may or may not run on a node, all by one member. A member of an older version is asked
    /// service by service; those that it does not have are left out.
    pub async fn explain_node(
        &self,
        cluster: &Cluster,
        node: &NodeName,
        services: &[ServiceName],
    ) -> Result<Told<Vec<Explanation>>, AppError> {
        self.ask_members(cluster, |ricci| async move {
            let mut unknown = match ricci.explain_node(node).await {
                Err(error) if is_unknown(&error) => error,
                told => return told,
            };
            let mut told = Vec::with_capacity(services.len());
            for service in services {
                match ricci.explain(service).await {
                    Ok(explanation) => told.push(explanation),
                    Err(error) if is_unknown(&error) => unknown = error,
                    Err(error) => return Err(error),
                }
            }
            // Who knows none of them is still joining.
            if told.is_empty() && !services.is_empty() { Err(unknown) } else { Ok(told) }
        })
        .await
    }

    /// What would come of something, if everything asked of agents and fence devices succeeds.
    pub async fn predict(&self, cluster: &Cluster, assumption: &Assumption) -> Result<Told<Prediction>, AppError> {
        self.ask_members(cluster, |ricci| async move { ricci.predict(assumption).await }).await
    }

    /// What would come of applying the reader's draft now.
    pub async fn predict_draft(&self, who: &Who, cluster: &Cluster) -> Result<Told<Prediction>, AppError> {
        let text = self.draft_as_next(who, cluster).await?;
        self.predict(cluster, &Assumption::Conf { text }).await
    }

    /// What would come of these edits, were they applied now together with the reader's draft, if there is one.
    pub async fn predict_edits(
        &self,
        who: &Who,
        cluster: &Cluster,
        edits: &[Edit],
    ) -> Result<Told<Prediction>, AppError> {
        let working = self.working_conf(who, cluster).await?;
        let working =
            working.ok_or_else(|| AppError::Conflict("luci has no configuration of this cluster yet".into()))?;
        let newest = self.current_conf(cluster).await?.stored.version;
        let mut document = conf::load(&working.text).document;
        edit::apply_all(&mut document, edits).map_err(|(_, error)| refused(error))?;
        self.predict(cluster, &Assumption::Conf { text: raise_version(&document.print(), newest)? }).await
    }

    /// Which resources of which services would stop and start if the reader's draft were applied; `None` while the draft
    /// or the newest version cannot be read.
    pub async fn draft_delta(&self, who: &Who, cluster: &Cluster) -> Result<Option<Delta>, AppError> {
        let next = conf::load(&self.draft_as_next(who, cluster).await?).conf;
        let now = self.current_conf(cluster).await?.loaded.conf;
        Ok(now.zip(next).map(|(now, next)| Delta::between(&now, &next)))
    }

    /// The draft with the version that it would get.
    async fn draft_as_next(&self, who: &Who, cluster: &Cluster) -> Result<String, AppError> {
        if self.repo.draft(cluster.id, who.id).await?.is_none() {
            return Err(AppError::Conflict("you have no draft for this cluster; begin one under Configure".into()));
        }
        let newest = self.current_conf(cluster).await?.stored.version;
        let draft = self.working_conf(who, cluster).await?;
        let draft = draft.ok_or_else(|| AppError::Conflict("luci has no configuration of this cluster yet".into()))?;
        raise_version(&draft.text, newest)
    }

    /// Puts a question to one member after the other until one answers it.
    async fn ask_members<T, W: Future<Output = Result<T, RicciError>>>(
        &self,
        cluster: &Cluster,
        ask: impl Fn(Ricci) -> W,
    ) -> Result<Told<T>, AppError> {
        let snapshot = self.watchers.snapshot(cluster.id);
        if snapshot.is_some_and(|snapshot| matches!(snapshot.link, Link::NotRunning { .. })) {
            let text =
                format!("{} does not run on any of its nodes, so nobody can say; let nodes join first", cluster.name);
            return Err(AppError::Unreachable(text));
        }
        let mut last: Option<AppError> = None;
        let asking = async {
            for ricci in self.members(cluster.id).await? {
                let by = ricci.node().clone();
                match ask(ricci).await {
                    Ok(what) => return Ok(Some(Told { by, at: clock::now_ms(), what })),
                    // A member that is still joining knows less than the next one.
                    Err(error) if error.is_about_the_node() || is_unknown(&error) => last = Some(error.into()),
                    Err(error) => return Err(error.into()),
                }
            }
            Ok::<_, AppError>(None)
        };
        match tokio::time::timeout(DEADLINE, asking).await {
            Ok(Ok(Some(told))) => Ok(told),
            Ok(Err(error)) => Err(error),
            Ok(Ok(None)) | Err(_) => Err(last.unwrap_or_else(|| {
                AppError::Unreachable(format!("no member of {} answered within {} s", cluster.name, DEADLINE.as_secs()))
            })),
        }
    }
}

/// The member does not have what it was asked about.
fn is_unknown(error: &RicciError) -> bool {
    error.problem().is_some_and(|problem| problem.code == shared::api::ProblemCode::NotFound)
}
