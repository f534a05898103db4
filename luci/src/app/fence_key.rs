//! The key of fence_xvm: made on one node, handed on to all, and what the host of the virtual machines needs
//! (heartbeat.md §7). luci keeps no key; it passes through while a person waits.

use std::fmt::Write as _;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use shared::api::{FenceKey, MakeFenceKey, ProblemCode};
use shared::ids::NodeName;

use super::{App, AppError, Who};
use crate::repo::clusters::Cluster;
use crate::ricci_client::{Ricci, RicciError};

/// Where fence_xvm and fence_virtd meet if nothing else is said.
const MULTICAST: &str = "225.0.0.12";
const PORT: &str = "1229";

/// What became of the key on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySent {
    pub node: NodeName,
    /// `None`: it is stored there.
    pub problem: Option<String>,
}

/// Where the host is to listen, and for whom.
#[derive(Debug, Clone, Default)]
pub struct HostNeeds<'a> {
    pub multicast: Option<&'a str>,
    pub port: Option<&'a str>,
    /// Virtual machine and node, as the fence methods have them.
    pub machines: Vec<(String, NodeName)>,
}

impl App {
    /// Sends the key that the nodes have to all of them; makes one if none has, or a new one if `replace`. What became of it on
    /// every node of the cluster.
    pub async fn send_fence_key(&self, who: &Who, cluster: &Cluster, replace: bool) -> Result<Vec<KeySent>, AppError> {
        let action = if replace { "replace-fence-key" } else { "send-fence-key" };
        let sent = self.spread_fence_key(cluster, replace).await;
        let told = match &sent {
            Ok(sent) if sent.iter().all(|one| one.problem.is_none()) => "stored on all nodes".to_owned(),
            Ok(sent) => format!("not stored on {}", missed(sent)),
            Err(error) => format!("not done: {error}"),
        };
        self.audit(who, Some(&cluster.name), action, &cluster.name, "", &told).await?;
        self.watchers.nudge(cluster.id);
        sent
    }

    async fn spread_fence_key(&self, cluster: &Cluster, replace: bool) -> Result<Vec<KeySent>, AppError> {
        let members = self.members(cluster.id).await?;
        let found = if replace { None } else { self.first_key(cluster, &members).await? };
        let key = match found {
            Some(key) => key,
            None => make_key(cluster, &members, replace).await?,
        };
        let mut sent = Vec::new();
        for node in self.repo.nodes_of(cluster.id).await? {
            let stored = match self.clients.paired(&node) {
                Ok(ricci) => ricci.put_fence_key(&key).await,
                Err(error) => Err(error),
            };
            let problem = stored.err().map(|error| shared::chain(&error));
            sent.push(KeySent { node: node.name, problem });
        }
        Ok(sent)
    }

    /// The key itself, for the host of the virtual machines, which no ricci reaches.
    pub async fn fence_key_for_host(&self, who: &Who, cluster: &Cluster) -> Result<Vec<u8>, AppError> {
        let members = self.members(cluster.id).await?;
        let key = self.first_key(cluster, &members).await?.and_then(|key| STANDARD.decode(key.key_base64).ok());
        let told = if key.is_some() { "handed out" } else { "not done: no node has one" };
        self.audit(who, Some(&cluster.name), "download-fence-key", &cluster.name, "", told).await?;
        key.ok_or_else(|| {
            AppError::Conflict(format!(
                "no node of {} that answers has a key of fence_xvm; make one first",
                cluster.name
            ))
        })
    }

    /// The key of the first member that has one. A member that does not answer is passed over, unless the key is there.
    async fn first_key(&self, cluster: &Cluster, members: &[Ricci]) -> Result<Option<FenceKey>, AppError> {
        let mut silent: Option<RicciError> = None;
        let mut answered = false;
        for ricci in members {
            match ricci.fence_key().await {
                Ok(key) => return Ok(Some(key)),
                Err(error) if error.problem().is_some_and(|problem| problem.code == ProblemCode::NotFound) => {
                    answered = true;
                }
                // It has none to give either.
                Err(RicciError::Older { .. }) => answered = true,
                Err(error) => silent = Some(error),
            }
        }
        match silent {
            // Making another would part the nodes, and those that got it from the host.
            Some(error) if !answered || self.tells_of_a_key(cluster) => Err(error.into()),
            _ => Ok(None),
        }
    }

    /// Whether any node had a key when it was last heard of.
    fn tells_of_a_key(&self, cluster: &Cluster) -> bool {
        let nodes = self.watchers.snapshot(cluster.id).map(|snapshot| snapshot.nodes).unwrap_or_default();
        nodes.values().any(|seen| seen.report.as_ref().is_some_and(|report| report.fence_key.is_some()))
    }

    /// What is to be done on the host of the virtual machines: commands, and its fence_virt.conf.
    pub async fn fence_host_text(&self, cluster: &Cluster, needs: &HostNeeds<'_>) -> Result<String, AppError> {
        let nodes = self.repo.nodes_of(cluster.id).await?;
        let from = nodes.iter().find(|node| node.paired_at.is_some()).map_or("NODE", |node| node.host.as_str());
        let senders: Vec<IpAddr> = nodes.iter().filter_map(|node| node.host.parse().ok()).collect();
        Ok(host_text(from, &senders, needs))
    }
}

/// The nodes that did not take it.
pub fn missed(sent: &[KeySent]) -> String {
    let nodes = sent.iter().filter(|one| one.problem.is_some()).map(|one| one.node.as_str());
    nodes.collect::<Vec<_>>().join(", ")
}

async fn make_key(cluster: &Cluster, members: &[Ricci], replace: bool) -> Result<FenceKey, AppError> {
    let mut last = AppError::Unreachable(format!("no node of {} is paired with luci; pair one first", cluster.name));
    for ricci in members {
        match ricci.make_fence_key(&MakeFenceKey { replace }).await {
            Ok(made) => return Ok(made),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

/// Commands and file, one statement per line: fence_virtd takes a block on one line for an error.
const HOST_TEXT: &str = include_str!("fence_virt.txt");
/// What limits who may switch what, left out by a mark: a wrong address in it would end all fencing.
const GROUPS: &str = include_str!("fence_virt_groups.txt");

fn host_text(from: &str, senders: &[IpAddr], needs: &HostNeeds<'_>) -> String {
    let mut text = HOST_TEXT
        .replace("{from}", from)
        .replace("{address}", needs.multicast.unwrap_or(MULTICAST))
        .replace("{port}", needs.port.unwrap_or(PORT));
    if !needs.machines.is_empty() {
        text.push_str(GROUPS);
        for sender in senders {
            let _ = writeln!(text, "#\t\tip = \"{sender}\";");
        }
        for (machine, node) in &needs.machines {
            let _ = writeln!(text, "#\t\tuuid = \"{machine}\";    # {node}");
        }
        text.push_str("#\t}\n#}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_file_has_one_statement_per_line_and_whole_blocks() {
        let needs = HostNeeds {
            port: Some("1300"),
            machines: vec![("vm1".into(), NodeName::from("n1"))],
            ..HostNeeds::default()
        };
        let text = host_text("10.0.0.1", &["10.0.0.1".parse().unwrap()], &needs);
        assert!(text.contains("scp root@10.0.0.1:/etc/cluster/fence_xvm.key"), "{text}");
        assert!(text.contains("#\t\tip = \"10.0.0.1\";\n#\t\tuuid = \"vm1\";    # n1\n"), "{text}");
        assert!(text.contains("port = \"1300\"") && text.contains("address = \"225.0.0.12\""), "{text}");
        let file = text.split("# /etc/fence_virt.conf\n").nth(1).unwrap();
        assert_eq!(file.matches('{').count(), file.matches('}').count());
        assert!(file.lines().all(|line| line.matches([';', '{']).count() <= 1 || line.starts_with('#')), "{file}");
        assert!(!host_text("n1", &[], &HostNeeds::default()).contains("groups"));
    }
}
