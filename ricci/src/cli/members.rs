//! The members and quorum as corosync alone knows them, for commands run while rgmanager gives no answer. One deadline
//! for all questions; a hung corosync costs no more than that.

use std::time::Duration;

use shared::ids::{NodeId, NodeName};

use crate::corosync::Value;
use crate::corosync::query::{self, QueryError};

/// `CS_ERR_ACCESS`: corosync answers only root and those its uidgid files name.
const COROSYNC_ERROR_ACCESS: i32 = 11;

/// What corosync told.
pub(super) struct Members {
    pub cluster: Option<String>,
    pub local: NodeId,
    pub quorate: bool,
    pub votes: u32,
    pub votes_expected: u32,
    /// Those of its node list.
    pub nodes: Vec<Member>,
}

pub(super) struct Member {
    pub id: NodeId,
    pub name: Option<NodeName>,
    pub online: bool,
}

/// Corosync told nothing.
pub(super) struct NoMembers {
    /// As strerror(3) would say it.
    pub errno_text: &'static str,
    pub text: String,
}

/// Where corosync keeps the number of its last ring, unless `COROSYNC_STATE_DIR` names another folder.
const COROSYNC_STATE: &str = "/var/lib/corosync";
const COROSYNC_STATE_VARIABLE: &str = "COROSYNC_STATE_DIR";

/// The number of the ring that this node is in, cman's *generation*: corosync stores it before it uses it. `None` if
/// corosync never ran here, and for users who may not look.
pub(super) fn ring_number(local: NodeId) -> Option<u64> {
    let folder = std::env::var_os(COROSYNC_STATE_VARIABLE).unwrap_or_else(|| COROSYNC_STATE.into());
    let bytes = std::fs::read(std::path::Path::new(&folder).join(format!("ringid_{local}"))).ok()?;
    bytes.try_into().ok().map(u64::from_ne_bytes)
}

/// Asks corosync, within `limit` in all.
pub(super) fn of_corosync(limit: Duration) -> Result<Members, NoMembers> {
    block_on(async {
        // Three questions at once: their threads share the limit.
        let (votes, cluster, listed) =
            tokio::join!(query::votes(limit), query::cluster_name(limit), query::values("nodelist.node.", limit));
        let votes = votes?;
        let names = names(&listed.unwrap_or_default());
        let nodes = votes.nodes.iter().map(|entry| Member {
            id: entry.node,
            name: names.iter().find(|(id, _)| *id == entry.node).map(|(_, name)| name.clone()),
            online: entry.is_member,
        });
        Ok(Members {
            cluster: cluster.unwrap_or_default(),
            local: votes.local,
            quorate: votes.quorate,
            votes: votes.votes_total,
            votes_expected: votes.votes_expected,
            nodes: nodes.collect(),
        })
    })
}

/// Whether corosync runs here at all.
pub(super) fn corosync_answers(limit: Duration) -> bool {
    block_on(query::local_node(limit)).is_ok()
}

fn block_on<T>(question: impl Future<Output = Result<T, QueryError>>) -> Result<T, NoMembers> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| NoMembers { errno_text: "Cannot allocate memory", text: error.to_string() })?;
    runtime
        .block_on(question)
        .map_err(|error| NoMembers { errno_text: errno_text(&error), text: shared::chain(&error) })
}

fn errno_text(error: &QueryError) -> &'static str {
    match error {
        QueryError::Refused { source, .. } if source.code == COROSYNC_ERROR_ACCESS => "Permission denied",
        QueryError::Refused { .. } => "Connection refused",
        QueryError::Late { .. } => "Connection timed out",
        QueryError::TooMany { .. } | QueryError::Thread { .. } => "Resource temporarily unavailable",
    }
}

/// Id and name of each `nodelist.node.N.` entry.
fn names(values: &[(String, Value)]) -> Vec<(NodeId, NodeName)> {
    let value = |key: &str| values.iter().find(|(name, _)| name == key).map(|(_, value)| value);
    values
        .iter()
        .filter_map(|(key, id)| {
            let entry = key.strip_suffix(".nodeid")?;
            let id = NodeId(u32::try_from(id.as_u64()?).ok()?);
            match value(&format!("{entry}.name"))? {
                Value::Text(name) => Some((id, NodeName(name.clone()))),
                _ => None,
            }
        })
        .collect()
}
