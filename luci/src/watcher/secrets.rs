//! Hands secrets on: a node that joined later, or was down when a password was changed, says which secrets its cluster.conf
//! refers to and it lacks; it gets them from a node that has them. luci keeps none on the way.

use std::sync::Arc;
use std::time::Duration;

use shared::ids::NodeName;

use super::Watcher;
use crate::app::AppError;
use crate::ids::ClusterId;
use crate::repo::Repo;
use crate::ricci_client::RicciClients;

/// A secret that nobody had, or a node that did not answer, is tried again after this.
const AGAIN: Duration = Duration::from_secs(30);

pub(super) async fn run(watcher: Arc<Watcher>) {
    let mut changes = watcher.snapshot.subscribe();
    loop {
        let lacking: Vec<(NodeName, Vec<String>)> = {
            let snapshot = changes.borrow_and_update();
            let reports = snapshot.nodes.iter().filter(|(_, seen)| seen.silent_since.is_none());
            let lacking =
                reports.filter_map(|(name, seen)| Some((name.clone(), seen.report.as_ref()?.secrets_missing.clone())));
            lacking.filter(|(_, missing)| !missing.is_empty()).collect()
        };
        for (node, missing) in &lacking {
            match hand_on(&watcher.repo, &watcher.clients, watcher.cluster, node, missing).await {
                Ok(left) if left.is_empty() => watcher.nudge.notify_waiters(),
                Ok(left) => {
                    let left = left.join(", ");
                    tracing::warn!(%node, left, "nobody has these secrets");
                }
                Err(error) => tracing::warn!(%node, error = shared::chain(&error), "secrets cannot be handed on"),
            }
        }
        if !lacking.is_empty() {
            tokio::time::sleep(AGAIN).await;
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Gives a node what it lacks; the names that no other node has.
pub(crate) async fn hand_on(
    repo: &Repo,
    clients: &RicciClients,
    cluster: ClusterId,
    to: &NodeName,
    missing: &[String],
) -> Result<Vec<String>, AppError> {
    let nodes = repo.nodes_of(cluster).await?;
    let target = nodes.iter().find(|node| node.name == *to);
    let target = target.ok_or_else(|| AppError::NoSuch { what: "node", name: to.to_string() })?;
    let target = clients.paired(target)?;
    let mut left = Vec::new();
    for name in missing {
        let mut found = None;
        for other in nodes.iter().filter(|node| node.name != *to && node.paired_at.is_some()) {
            if let Ok(secret) = clients.paired(other)?.secret(name).await {
                found = Some((other, secret));
                break;
            }
        }
        match found {
            Some((from, secret)) => {
                target.put_secret(name, &secret).await?;
                tracing::info!(node = %to, from = %from.name, secret = name, "secret handed on");
            }
            None => left.push(name.clone()),
        }
    }
    Ok(left)
}
