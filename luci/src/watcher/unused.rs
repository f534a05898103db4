//! Forgets secrets that nothing refers to any more: a password entered for a change that was refused, or for a draft that was thrown away.
//!
//! What any version that luci keeps refers to stays, because any of them can be brought back; so does what a draft refers to. Only
//! names that luci and `ccs` make are touched, never a file that somebody laid there; only after a day without any use, since a secret is stored before the
//! version that needs it; and ricci refuses what its cluster.conf refers to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use shared::ids::NodeName;
use tokio::time::Instant;

use super::Watcher;
use crate::app::AppError;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(3600);
/// For so long a secret must have been without use whenever luci looked.
const UNUSED_FOR: Duration = Duration::from_secs(24 * 3600);

/// When a secret of a node was first seen to be without use.
type Since = BTreeMap<(NodeName, String), Instant>;

pub(super) async fn run(watcher: Arc<Watcher>) {
    let mut since = Since::new();
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(error) = look(&watcher, &mut since).await {
            tracing::warn!(error = shared::chain(&error), "unused secrets are not looked for");
        }
    }
}

async fn look(watcher: &Watcher, since: &mut Since) -> Result<(), AppError> {
    let mut texts: Vec<String> = watcher.repo.confs(watcher.cluster).await?.into_iter().map(|conf| conf.text).collect();
    texts.extend(watcher.repo.drafted(watcher.cluster).await?);
    for node in watcher.repo.nodes_of(watcher.cluster).await?.iter().filter(|node| node.paired_at.is_some()) {
        let Ok(ricci) = watcher.clients.paired(node) else { continue };
        // A node that does not answer keeps what it has; an older ricci has none.
        let Ok(names) = ricci.secret_names().await else { continue };
        for name in forgettable(&node.name, &names.present, &texts, since, Instant::now()) {
            match ricci.remove_secret(&name).await {
                Ok(()) => tracing::info!(node = %node.name, secret = name, "a secret that no version uses was removed"),
                Err(error) => {
                    tracing::warn!(node = %node.name, secret = name, error = shared::chain(&error), "it stays")
                }
            }
        }
    }
    Ok(())
}

/// What may be removed from a node now; notes since when the others are without use.
fn forgettable(node: &NodeName, present: &[String], texts: &[String], since: &mut Since, now: Instant) -> Vec<String> {
    let unused: BTreeSet<&String> = present.iter().filter(|name| is_made(name) && !is_used(name, texts)).collect();
    // Used again, or gone: it begins anew.
    since.retain(|(of, name), _| of != node || unused.contains(name));
    let mut forgettable = Vec::new();
    for name in unused {
        let first = *since.entry((node.clone(), name.clone())).or_insert(now);
        if now.duration_since(first) >= UNUSED_FOR {
            forgettable.push(name.clone());
        }
    }
    forgettable
}

/// Whether luci or `ccs` gave the name: it ends in eight hexadecimal digits.
fn is_made(name: &str) -> bool {
    let end = name.rsplit_once('.').map_or("", |(_, end)| end);
    end.len() == 8 && end.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Rather too often than too seldom: also where the text only looks like a reference.
fn is_used(name: &str, texts: &[String]) -> bool {
    let reference = shared::conf::sealed::reference(name);
    texts.iter().any(|text| text.contains(&reference))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_version_and_no_draft_has_used_for_a_day_is_forgotten() {
        let present = ["bmc.passwd.0a1b2c3d", "old.passwd.11111111", "lost.passwd.22222222", "by.hand", "db.33333333x"];
        let present = present.map(str::to_owned);
        let texts = ["passwd=\"secret:bmc.passwd.0a1b2c3d\"", "a version of long ago: secret:old.passwd.11111111"];
        let mut texts: Vec<String> = texts.map(str::to_owned).to_vec();
        let (node, other) = (NodeName::from("n1"), NodeName::from("n2"));
        let (mut since, begun) = (Since::new(), Instant::now());
        let mut at = |node: &NodeName, texts: &[String], after: Duration| {
            forgettable(node, &present, texts, &mut since, begun + after)
        };
        assert!(at(&node, &texts, Duration::ZERO).is_empty(), "it may be needed by a change under way");
        assert!(at(&node, &texts, UNUSED_FOR - Duration::from_secs(1)).is_empty());
        assert_eq!(at(&node, &texts, UNUSED_FOR), ["lost.passwd.22222222"]);
        assert!(at(&other, &texts, UNUSED_FOR).is_empty(), "each node has a time of its own");
        // A draft refers to it meanwhile: its day begins anew.
        texts.push("secret:lost.passwd.22222222".to_owned());
        assert!(at(&node, &texts, UNUSED_FOR * 2).is_empty());
        texts.pop();
        assert!(at(&node, &texts, UNUSED_FOR * 2).is_empty());
        assert_eq!(at(&node, &texts, UNUSED_FOR * 3), ["lost.passwd.22222222"]);
    }
}
