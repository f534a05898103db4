//! Asks each node's ricci for its own state, each node on its own: one that hangs delays no other.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use shared::api::NodeReport;
use tokio::task::JoinSet;

use super::{NodeSeen, Watcher};
use crate::clock;
use crate::ids::NodeRow;
use crate::repo::nodes::Node;
use crate::ricci_client::RicciError;

/// How often a node is asked.
const EVERY: Duration = Duration::from_secs(5);
/// Reports change slowly; the stored one may be this old.
const STORE_EVERY_MS: i64 = 60_000;

type Answer = (Node, Result<NodeReport, RicciError>);

pub(super) async fn run(watcher: Arc<Watcher>) {
    let mut asking: HashSet<NodeRow> = HashSet::new();
    let mut calls: JoinSet<Answer> = JoinSet::new();
    let mut next = tokio::time::interval(EVERY);
    next.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = next.tick() => ask_all(&watcher, &mut asking, &mut calls).await,
            () = watcher.nudge.notified() => ask_all(&watcher, &mut asking, &mut calls).await,
            Some(answer) = calls.join_next() => {
                if let Ok((node, report)) = answer {
                    asking.remove(&node.id);
                    take(&watcher, &node, report).await;
                }
            }
        }
    }
}

async fn ask_all(watcher: &Watcher, asking: &mut HashSet<NodeRow>, calls: &mut JoinSet<Answer>) {
    let nodes = match watcher.repo.nodes_of(watcher.cluster).await {
        Ok(nodes) => nodes,
        Err(error) => {
            tracing::error!(error = shared::chain(&error), "the nodes cannot be read");
            return;
        }
    };
    forget_removed(watcher, &nodes);
    for node in nodes {
        if node.paired_at.is_none() || !asking.insert(node.id) {
            continue;
        }
        let ricci = watcher.clients.paired(&node);
        calls.spawn(async move {
            let report = match ricci {
                Ok(ricci) => ricci.node_report().await,
                Err(error) => Err(error),
            };
            (node, report)
        });
    }
}

/// Nodes that luci no longer has leave the copy; new ones enter it.
fn forget_removed(watcher: &Watcher, nodes: &[Node]) {
    let differs = {
        let snapshot = watcher.snapshot.borrow();
        snapshot.nodes.len() != nodes.len()
            || nodes
                .iter()
                .any(|node| snapshot.nodes.get(&node.name).is_none_or(|seen| seen.paired != node.paired_at.is_some()))
    };
    if !differs {
        return;
    }
    watcher.update(|snapshot| {
        let known = Arc::make_mut(&mut snapshot.nodes);
        let mut kept = std::mem::take(known);
        for node in nodes {
            let mut seen = kept.remove(&node.name).unwrap_or_else(|| NodeSeen::of(node));
            seen.paired = node.paired_at.is_some();
            known.insert(node.name.clone(), seen);
        }
    });
}

async fn take(watcher: &Watcher, node: &Node, answer: Result<NodeReport, RicciError>) {
    let now = clock::now_ms();
    let before = watcher.snapshot.borrow().nodes.get(&node.name).cloned().unwrap_or_default();
    let stored = match answer {
        Ok(report) => {
            let same = before.silent_since.is_none()
                && before.report.as_ref().is_some_and(|old| same_but_uptime(old, &report));
            set(watcher, node, !same, |seen| {
                seen.report = Some(report.clone());
                seen.report_at = Some(now);
                seen.silent_since = None;
                seen.silent_why = None;
            });
            if same && node.report_at.is_some_and(|at| now - at < STORE_EVERY_MS) {
                return;
            }
            watcher.repo.store_report(node.id, &report, now).await
        }
        Err(error) => {
            let why = error.to_string();
            let since = before.silent_since.unwrap_or(now);
            let same = before.silent_since.is_some() && before.silent_why.as_deref() == Some(&why);
            set(watcher, node, !same, |seen| {
                seen.silent_since = Some(since);
                seen.silent_why = Some(why.clone());
            });
            if same {
                return;
            }
            tracing::warn!(node = %node.name, error = shared::chain(&error), "ricci cannot be asked");
            watcher.repo.store_silence(node.id, since, &why).await
        }
    };
    if let Err(error) = stored {
        tracing::error!(error = shared::chain(&error), "a node's report cannot be stored");
    }
}

fn same_but_uptime(old: &NodeReport, new: &NodeReport) -> bool {
    NodeReport { uptime_s: 0, ..old.clone() } == NodeReport { uptime_s: 0, ..new.clone() }
}

fn set(watcher: &Watcher, node: &Node, tell: bool, change: impl FnOnce(&mut NodeSeen)) {
    let change = |snapshot: &mut super::Snapshot| {
        if let Some(seen) = Arc::make_mut(&mut snapshot.nodes).get_mut(&node.name) {
            change(seen);
        }
    };
    if tell {
        watcher.update(change);
    } else {
        // Only the age is new; pages need not be drawn again for it.
        watcher.snapshot.send_if_modified(|snapshot| {
            change(snapshot);
            false
        });
    }
}
