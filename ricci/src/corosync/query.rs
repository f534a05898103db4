//! Single questions to corosync, and the two orders that concern a whole node: reload its configuration, end it.
//!
//! Called by `ricci`, `rgmanager` and the commands. Each question opens connections of its own on a short-lived
//! thread, because libqb connections must not be shared between threads, and each has a deadline: a hung corosync
//! costs its caller the deadline and nothing else.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Serialize;
use shared::ids::{NodeId, NodeName};
use tokio::sync::oneshot;

use super::ffi::{CallError, Cfg, Cmap, Map, Quorum, Value, VoteQuorum};

/// Questions that may hang at the same time before further ones are refused: a corosync that does not answer must
/// not cost a thread per question for ever.
const OPEN_QUESTIONS: usize = 16;

static OPEN: AtomicUsize = AtomicUsize::new(0);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// Corosync is not running, or refused.
    #[error("corosync did not answer the question for {what}")]
    Refused {
        what: &'static str,
        #[source]
        source: CallError,
    },
    #[error("corosync did not answer the question for {what} within {} ms", deadline.as_millis())]
    Late { what: &'static str, deadline: Duration },
    #[error("{OPEN_QUESTIONS} earlier questions to corosync have no answer yet, so {what} was not asked")]
    TooMany { what: &'static str },
    #[error("cannot start a thread to ask corosync for {what}")]
    Thread {
        what: &'static str,
        #[source]
        source: std::io::Error,
    },
}

/// One network link from our node to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    pub number: u8,
    pub connected: bool,
    pub from_address: String,
    pub to_address: String,
    /// Largest packet found to pass, in bytes; 0 while unknown.
    pub mtu: u32,
}

/// All links from our node to one node of corosync's node list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeLinks {
    pub node: NodeId,
    /// `name` of the node list, if it has one.
    pub name: Option<NodeName>,
    /// Our own node: corosync shows a loopback link for it.
    pub is_local: bool,
    /// At least one link works.
    pub reachable: bool,
    pub links: Vec<Link>,
}

/// Votes of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeVotes {
    pub node: NodeId,
    pub is_member: bool,
    pub votes: u32,
}

/// Votes as our node counts them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Votes {
    pub local: NodeId,
    pub quorate: bool,
    pub votes_expected: u32,
    pub votes_total: u32,
    /// Votes needed.
    pub quorum: u32,
    pub nodes: Vec<NodeVotes>,
}

/// The state of all links of our node.
pub async fn link_status(deadline: Duration) -> Result<Vec<NodeLinks>, QueryError> {
    ask("the state of the links", deadline, || {
        let (cfg, cmap) = (Cfg::open()?, Cmap::open(Map::Conf)?);
        let local = cfg.local_node()?;
        nodes_listed(&cmap)?
            .into_iter()
            .map(|(node, name)| {
                let (reachable, links) = cfg.node_status(node)?;
                let links = links
                    .into_iter()
                    .map(|link| Link {
                        number: link.number,
                        connected: link.connected,
                        from_address: link.from_address,
                        to_address: link.to_address,
                        mtu: link.mtu,
                    })
                    .collect();
                Ok(NodeLinks { node, name, is_local: node == local, reachable, links })
            })
            .collect()
    })
    .await
}

/// `totem.cluster_name`; `None` if corosync.conf has none.
pub async fn cluster_name(deadline: Duration) -> Result<Option<String>, QueryError> {
    ask("the name of the cluster", deadline, || {
        Ok(match Cmap::open(Map::Conf)?.value("totem.cluster_name")? {
            Some(Value::Text(name)) => Some(name),
            _ => None,
        })
    })
    .await
}

/// Votes present, expected and needed.
pub async fn votes(deadline: Duration) -> Result<Votes, QueryError> {
    ask("the votes", deadline, || {
        let (votequorum, cmap) = (VoteQuorum::open()?, Cmap::open(Map::Conf)?);
        let own = votequorum.info(NodeId(0))?;
        let mut nodes = Vec::new();
        for (node, _) in nodes_listed(&cmap)? {
            match votequorum.info(node) {
                Ok(info) => nodes.push(NodeVotes { node, is_member: info.is_member, votes: info.votes }),
                // A node that was never seen has no votes yet.
                Err(error) if error.is_absent() => nodes.push(NodeVotes { node, is_member: false, votes: 0 }),
                Err(error) => return Err(error),
            }
        }
        Ok(Votes {
            local: own.node,
            quorate: own.quorate,
            votes_expected: own.votes_expected,
            votes_total: own.votes_total,
            quorum: own.quorum,
            nodes,
        })
    })
    .await
}

/// Whether our side is quorate, without joining anything.
pub async fn quorate(deadline: Duration) -> Result<bool, QueryError> {
    ask("quorum", deadline, || Quorum::open()?.is_quorate()).await
}

/// Our own node id.
pub async fn local_node(deadline: Duration) -> Result<NodeId, QueryError> {
    ask("the id of this node", deadline, || Cfg::open()?.local_node()).await
}

/// All keys of corosync's configuration and runtime state that begin with `prefix`, with their values.
pub async fn values(prefix: &str, deadline: Duration) -> Result<Vec<(String, Value)>, QueryError> {
    values_of(Map::Conf, prefix.to_owned(), deadline).await
}

/// All statistics whose key begins with `prefix`, e.g. `stats.knet.`.
pub async fn statistics(prefix: &str, deadline: Duration) -> Result<Vec<(String, Value)>, QueryError> {
    values_of(Map::Stats, prefix.to_owned(), deadline).await
}

/// Sets one key of corosync's configuration at run time; corosync.conf is not touched.
pub async fn set_value(key: &str, value: Value, deadline: Duration) -> Result<(), QueryError> {
    let key = key.to_owned();
    ask("a change of a value", deadline, move || Cmap::open(Map::Conf)?.set(&key, &value)).await
}

/// Makes corosync on all members read their own corosync.conf again.
pub async fn reload_conf(deadline: Duration) -> Result<(), QueryError> {
    ask("a reload of corosync.conf", deadline, || Cfg::open()?.reload_conf()).await
}

/// Ends corosync on this node, if no program on it objects.
pub async fn shut_down(deadline: Duration) -> Result<(), QueryError> {
    ask("the end of corosync", deadline, || Cfg::open()?.shut_down()).await
}

/// Ends corosync on another member; `reason` goes into its log.
pub async fn kill_node(node: NodeId, reason: &str, deadline: Duration) -> Result<(), QueryError> {
    let reason = reason.to_owned();
    ask("the end of corosync on another node", deadline, move || Cfg::open()?.kill_node(node, &reason)).await
}

async fn values_of(map: Map, prefix: String, deadline: Duration) -> Result<Vec<(String, Value)>, QueryError> {
    ask("its values", deadline, move || {
        let cmap = Cmap::open(map)?;
        let mut values = Vec::new();
        for key in cmap.keys(&prefix)? {
            // A key may vanish between the listing and the question.
            if let Some(value) = cmap.value(&key)? {
                values.push((key, value));
            }
        }
        Ok(values)
    })
    .await
}

/// The nodes of corosync.conf's node list, in its order.
fn nodes_listed(cmap: &Cmap) -> Result<Vec<(NodeId, Option<NodeName>)>, CallError> {
    let mut nodes = Vec::new();
    for key in cmap.keys("nodelist.node.")? {
        let Some(entry) = key.strip_suffix(".nodeid") else {
            continue;
        };
        let number = cmap.value(&key)?.and_then(|value| value.as_u64()).and_then(|id| u32::try_from(id).ok());
        let Some(id) = number else { continue };
        let name = match cmap.value(&format!("{entry}.name"))? {
            Some(Value::Text(name)) => Some(NodeName(name)),
            _ => None,
        };
        nodes.push((NodeId(id), name));
    }
    Ok(nodes)
}

/// Counts a question as open until its thread is done with it, however that ends.
struct OpenQuestion;

impl OpenQuestion {
    fn begin() -> Option<Self> {
        let open = Self;
        (OPEN.fetch_add(1, Ordering::Relaxed) < OPEN_QUESTIONS).then_some(open)
    }
}

impl Drop for OpenQuestion {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs `question` on a thread of its own and waits for its answer until the deadline.
async fn ask<T: Send + 'static>(
    what: &'static str,
    deadline: Duration,
    question: impl FnOnce() -> Result<T, CallError> + Send + 'static,
) -> Result<T, QueryError> {
    let Some(open) = OpenQuestion::begin() else {
        return Err(QueryError::TooMany { what });
    };
    let (answer, answered) = oneshot::channel();
    std::thread::Builder::new()
        .name("corosync-query".into())
        .spawn(move || {
            let result = question();
            drop(open);
            // Nobody listens any longer if the deadline has passed.
            let _ = answer.send(result);
        })
        .map_err(|source| QueryError::Thread { what, source })?;
    match tokio::time::timeout(deadline, answered).await {
        Ok(Ok(result)) => result.map_err(|source| QueryError::Refused { what, source }),
        Ok(Err(_)) | Err(_) => Err(QueryError::Late { what, deadline }),
    }
}
