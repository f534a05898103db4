//! Learns what the agents on a cluster's nodes say of themselves, in the background: lists from every node, and each schema once
//! per version. Forms are drawn from what is stored, so no page waits for an agent.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use shared::agents::metadata::AgentClass;

use super::Watcher;
use crate::ricci_client::{Ricci, RicciError};

/// Agents change when packages do.
const EVERY: Duration = Duration::from_secs(600);
/// A node that was asked for the first time has asked all its agents by then, and its list is complete.
const UNTIL_COMPLETE: Duration = Duration::from_secs(15);
/// Nudges come in bursts, and most are not about agents.
const NOT_SOONER_THAN: Duration = Duration::from_secs(5);

pub(super) async fn run(watcher: Arc<Watcher>) {
    loop {
        // Heard from here on: a node that is paired during the look or the pause after it would else wait for the next one.
        let mut nudged = std::pin::pin!(watcher.nudge.notified());
        nudged.as_mut().enable();
        let complete = look(&watcher).await;
        let pause = if complete { EVERY } else { UNTIL_COMPLETE };
        tokio::time::sleep(NOT_SOONER_THAN).await;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // A node was paired: it may have agents that the others lack.
            () = nudged => {}
        }
    }
}

/// Asks every paired node; whether all of them have told everything.
async fn look(watcher: &Watcher) -> bool {
    let Ok(nodes) = watcher.repo.nodes_of(watcher.cluster).await else { return false };
    let mut complete = true;
    for node in nodes.iter().filter(|node| node.paired_at.is_some()) {
        let Ok(ricci) = watcher.clients.paired(node) else { continue };
        for class in [AgentClass::Fence, AgentClass::Resource] {
            match learn(watcher, node.id, &ricci, class).await {
                Ok(all) => complete &= all,
                Err(error) => {
                    complete = false;
                    tracing::debug!(node = %node.name, error = shared::chain(&error), "its agents are not known");
                    break;
                }
            }
        }
    }
    complete
}

#[derive(Debug, thiserror::Error)]
enum LearnError {
    #[error(transparent)]
    Ricci(#[from] RicciError),
    #[error(transparent)]
    Repo(#[from] crate::repo::RepoError),
}

async fn learn(
    watcher: &Watcher,
    node: crate::ids::NodeRow,
    ricci: &Ricci,
    class: AgentClass,
) -> Result<bool, LearnError> {
    let agents = ricci.agents(class).await?;
    watcher.repo.store_agents(node, class, &agents).await?;
    let known = watcher.repo.schema_digests(watcher.cluster, class).await?;
    let mut asked = BTreeSet::new();
    for agent in &agents {
        let Some(digest) = &agent.digest else { continue };
        // Nodes may differ; the version that luci learnt first stays until no node is asked for it any more.
        if known.contains_key(&agent.name) && known.get(&agent.name) == Some(digest) || !asked.insert(&agent.name) {
            continue;
        }
        let schema = ricci.agent_schema(class, &agent.name).await?;
        watcher.repo.store_schema(watcher.cluster, class, &agent.name, digest, &schema).await?;
    }
    Ok(agents.iter().all(|agent| agent.digest.is_some() || agent.problem.is_some()))
}
