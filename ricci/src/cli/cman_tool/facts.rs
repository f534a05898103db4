//! Collects what `cman_tool` prints: membership, votes and addresses from corosync, version and fencing from rgmanager.
//! Each side has a deadline; without corosync there is nothing to print, without rgmanager a few facts are unknown.

use std::time::Duration;

use shared::conf::Document;
use shared::ids::{NodeId, NodeName};
use shared::socket::{Ask, Reply};
use shared::status::{ClusterStatus, Fact, FactKind, Phase, StreamItem, Subject};

use super::layout::{Facts, NodeFacts};
use crate::cli::client::ask_once;
use crate::cli::clock::Zone;
use crate::cli::conf_file::{default_path, read};
use crate::cli::{fence_domain, members};
use crate::corosync::Value;
use crate::corosync::query::{self, QueryError};

/// Asks both, each within `limit`.
pub(super) fn collect(limit: Duration) -> Result<Facts, String> {
    let mut facts = block_on(of_corosync(limit))?.map_err(|error| no_corosync(&error))?;
    match watch(limit) {
        Some((status, told)) => {
            add_status(&mut facts, &status);
            add_joins(&mut facts, &told);
            facts.cluster_id = ask_conf(limit).and_then(|text| cluster_id(&text));
        }
        None => facts.cluster_id = read(&default_path()).ok().and_then(|text| cluster_id(&text)),
    }
    Ok(facts)
}

/// The status, with what rgmanager remembers of the recent past.
fn watch(limit: Duration) -> Option<(ClusterStatus, Vec<Fact>)> {
    match ask_once(&Ask::Watch { since: None }, limit) {
        Ok(Reply::Stream { stream: StreamItem::Whole { status, facts, .. } }) => Some((*status, facts)),
        _ => None,
    }
}

fn ask_conf(limit: Duration) -> Option<String> {
    match ask_once(&Ask::Conf, limit) {
        Ok(Reply::Conf { text, .. }) => Some(text),
        _ => None,
    }
}

/// `<cman cluster_id="…"/>`.
fn cluster_id(text: &str) -> Option<u32> {
    let (document, _) = Document::parse(text);
    let cman = document.child(document.root()?, "cman")?;
    document.attribute(cman, "cluster_id")?.parse().ok()
}

/// Corosync does not tell when a node joined; rgmanager remembers when the node's rgmanager did, the newest last. As in
/// the original, a node that was there before this one is shown with the moment in which this one saw it: its own joining.
fn add_joins(facts: &mut Facts, told: &[Fact]) {
    let zone = Zone::local();
    let joined = |wanted: Option<&NodeName>| {
        let is_it = |fact: &&Fact| match &fact.subject {
            Subject::Node(name) => fact.kind == FactKind::NodeJoined && Some(name) == wanted,
            Subject::Cluster | Subject::Service(_) => false,
        };
        told.iter().rposition(|fact| is_it(&fact))
    };
    let local = facts.nodes.iter().find(|node| Some(node.id) == facts.local);
    let seen_from_here = joined(local.and_then(|node| node.name.as_ref()));
    for node in facts.nodes.iter_mut().filter(|node| node.is_member) {
        let joined = joined(node.name.as_ref()).max(seen_from_here);
        node.joined = joined.map(|at| zone.date_and_time(told[at].at));
    }
}

/// The sentence of the original, with the cause.
pub(super) fn no_corosync(error: &QueryError) -> String {
    format!(
        "Cannot open connection to cman, is it running ? ({}); systemctl start rgmanager starts the cluster on this node",
        shared::chain(error)
    )
}

/// Runs questions to corosync.
pub(super) fn block_on<T>(question: impl Future<Output = T>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot ask corosync: {error}"))?;
    let answer = runtime.block_on(question);
    // A question that hangs in corosync must not hold up the end.
    runtime.shutdown_background();
    Ok(answer)
}

async fn of_corosync(limit: Duration) -> Result<Facts, QueryError> {
    let (votes, cluster, listed, running, two_node) = tokio::join!(
        query::votes(limit),
        query::cluster_name(limit),
        query::values("nodelist.node.", limit),
        query::values("runtime.members.", limit),
        query::values("quorum.two_node", limit),
    );
    let votes = votes?;
    let (listed, running) = (listed.unwrap_or_default(), running.unwrap_or_default());
    let nodes = votes.nodes.iter().map(|entry| NodeFacts {
        id: entry.node,
        name: name_of(&listed, entry.node),
        is_member: entry.is_member,
        votes: entry.votes,
        joined: None,
        joins: number(&running, &format!("runtime.members.{}.join_count", entry.node)).unwrap_or(0),
        addresses: addresses_of(&running, &listed, entry.node),
        last_fenced: None,
    });
    Ok(Facts {
        cluster: cluster.unwrap_or_default(),
        generation: members::ring_number(votes.local),
        local: Some(votes.local),
        quorate: votes.quorate,
        votes_expected: votes.votes_expected,
        votes_total: votes.votes_total,
        quorum: votes.quorum,
        two_node: number(&two_node.unwrap_or_default(), "quorum.two_node") == Some(1),
        nodes: nodes.collect(),
        ..Facts::default()
    })
}

fn add_status(facts: &mut Facts, status: &ClusterStatus) {
    facts.conf_version = status.conf.as_ref().map(|conf| conf.version);
    facts.rgmanager = Some(matches!(status.phase, Phase::Cleaning | Phase::Member));
    for node in &mut facts.nodes {
        let Some(known) = status.nodes.iter().find(|known| known.id == node.id) else { continue };
        node.name.get_or_insert_with(|| known.name.clone());
        node.last_fenced = Some(
            known
                .last_fenced
                .as_ref()
                .map(|outcome| format!("{} {}", Zone::local().ctime(outcome.at), fence_domain::how_text(outcome))),
        );
    }
}

fn value<'v>(values: &'v [(String, Value)], key: &str) -> Option<&'v Value> {
    values.iter().find(|(name, _)| name == key).map(|(_, value)| value)
}

fn number(values: &[(String, Value)], key: &str) -> Option<u32> {
    value(values, key)?.as_u64().and_then(|number| u32::try_from(number).ok())
}

fn text<'v>(values: &'v [(String, Value)], key: &str) -> Option<&'v str> {
    match value(values, key)? {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

/// `nodelist.node.N` of the node with this id.
fn entry_of(listed: &[(String, Value)], id: NodeId) -> Option<&str> {
    listed.iter().find_map(|(key, value)| {
        let entry = key.strip_suffix(".nodeid")?;
        (value.as_u64() == Some(u64::from(id.0))).then_some(entry)
    })
}

fn name_of(listed: &[(String, Value)], id: NodeId) -> Option<NodeName> {
    text(listed, &format!("{}.name", entry_of(listed, id)?)).map(NodeName::from)
}

/// The addresses in use, or those that corosync.conf gives a node that is not there.
fn addresses_of(running: &[(String, Value)], listed: &[(String, Value)], id: NodeId) -> Vec<String> {
    if let Some(used) = text(running, &format!("runtime.members.{id}.ip")) {
        return addresses_in(used);
    }
    let Some(entry) = entry_of(listed, id) else { return Vec::new() };
    (0..8).filter_map(|link| text(listed, &format!("{entry}.ring{link}_addr")).map(str::to_owned)).collect()
}

/// The addresses in `r(0) ip(10.0.0.1) r(1) ip(10.1.0.1) `.
fn addresses_in(text: &str) -> Vec<String> {
    text.split("ip(").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use shared::ids::Time;
    use shared::status::FactSeverity;

    use super::*;

    #[test]
    fn the_newest_join_of_a_member_counts_and_a_node_that_is_away_has_none() {
        let fact = |at, name: &str, kind| Fact {
            at: Time(at),
            subject: Subject::Node(NodeName::from(name)),
            severity: FactSeverity::Info,
            kind,
            text: String::new(),
            reason: None,
        };
        let node = |id, name: &str, is_member| NodeFacts {
            id: NodeId(id),
            name: Some(NodeName::from(name)),
            is_member,
            votes: 1,
            joins: 1,
            joined: None,
            addresses: Vec::new(),
            last_fenced: None,
        };
        let facts = Facts {
            nodes: vec![node(1, "node1", true), node(2, "node2", true), node(3, "node3", false)],
            ..Facts::default()
        };
        let told = [
            fact(1000, "node1", FactKind::NodeJoined),
            fact(1_793_872_800_000, "node1", FactKind::NodeJoined),
            fact(1_793_872_900_000, "node1", FactKind::NodeLeft),
            fact(1_793_872_800_000, "node3", FactKind::NodeJoined),
        ];
        let joined = |mut facts: Facts| -> Vec<Option<String>> {
            add_joins(&mut facts, &told);
            facts.nodes.into_iter().map(|node| node.joined).collect()
        };
        let at = |ms| Some(Zone::local().date_and_time(Time(ms)));
        assert_eq!(joined(facts.clone()), [at(1_793_872_800_000), None, None]);
        let seen_from_node1 = Facts { local: Some(NodeId(1)), ..facts };
        let expected = [at(1_793_872_800_000), at(1_793_872_800_000), None];
        assert_eq!(joined(seen_from_node1), expected, "node2 was there when node1 joined");
    }

    #[test]
    fn the_cluster_id_is_the_one_that_cluster_conf_gives() {
        assert_eq!(cluster_id("<cluster name='a'><cman cluster_id=\"7\" two_node='1'/></cluster>"), Some(7));
        assert_eq!(cluster_id("<cluster name='a'><cman/></cluster>"), None);
        assert_eq!(cluster_id("garbage"), None);
    }

    #[test]
    fn the_addresses_of_all_links_are_taken_from_the_text_of_corosync() {
        assert_eq!(addresses_in("r(0) ip(10.0.0.1) r(1) ip(fd00::1) "), ["10.0.0.1", "fd00::1"]);
        assert!(addresses_in("").is_empty());
    }
}
