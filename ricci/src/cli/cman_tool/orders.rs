//! What `cman_tool` orders corosync to do: votes, the end of a node. Each order has a deadline, and whatever would make
//! the others fence this node is refused with the way that does not.

use std::process::Stdio;
use std::time::Duration;

use shared::ids::NodeId;
use tokio::process::Command;

use super::facts::{block_on, collect, no_corosync};
use super::layout::Facts;
use crate::cli::client::{AskError, Client, socket_path};
use crate::cli::likeness::{Closest, closest};
use crate::corosync::query;

/// For each order.
const LIMIT: Duration = Duration::from_secs(10);

/// Comes with corosync; the library call behind it is the only way to change votes that corosync checks.
const QUORUM_TOOL: &str = "corosync-quorumtool";

pub(super) fn set_expected(votes: u32) -> Result<(), String> {
    let facts = collect(LIMIT)?;
    if votes < facts.votes_total {
        return Err(format!(
            "{votes} votes are fewer than the members have ({}); nothing was changed",
            facts.votes_total
        ));
    }
    quorum_tool(&["-e", &votes.to_string()])
}

pub(super) fn set_votes(votes: u32, node: Option<&str>) -> Result<(), String> {
    let facts = collect(LIMIT)?;
    let id = match node {
        Some(name) => find(&facts, name)?,
        None => facts.local.ok_or("corosync does not say which node this is")?,
    };
    quorum_tool(&["-v", &votes.to_string(), "-n", &id.to_string()])
}

pub(super) fn kill(nodes: &[String]) -> Result<(), String> {
    let facts = collect(LIMIT)?;
    let ids: Vec<NodeId> = nodes.iter().map(|name| find(&facts, name)).collect::<Result<_, _>>()?;
    for (name, id) in nodes.iter().zip(ids) {
        if !facts.nodes.iter().any(|node| node.id == id && node.is_member) {
            return Err(format!("{name} is not a member; there is nothing to end"));
        }
        block_on(query::kill_node(id, "killed by cman_tool kill", LIMIT))?
            .map_err(|error| format!("kill node {name} failed: {}", shared::chain(&error)))?;
    }
    Ok(())
}

/// As in the original, a node does not leave under its services.
pub(super) fn leave() -> Result<(), String> {
    match Client::connect(&socket_path(), LIMIT) {
        Err(AskError::NotRunning { .. }) => {}
        _ => {
            return Err(
                "Error leaving cluster: Device or resource busy (rgmanager runs on this node; systemctl stop rgmanager moves its services away, then leave)"
                    .into(),
            );
        }
    }
    block_on(query::local_node(LIMIT))?.map_err(|error| no_corosync(&error))?;
    block_on(query::shut_down(LIMIT))?.map_err(|error| format!("Error leaving cluster: {}", shared::chain(&error)))
}

fn find(facts: &Facts, name: &str) -> Result<NodeId, String> {
    let found = facts.nodes.iter().find(|node| node.name.as_ref().is_some_and(|known| known.as_str() == name));
    if let Some(node) = found {
        return Ok(node.id);
    }
    Err(no_node(facts, name))
}

/// The sentence for a name that no node has.
pub(super) fn no_node(facts: &Facts, name: &str) -> String {
    let known = facts.nodes.iter().filter_map(|node| node.name.as_ref().map(|name| name.as_str()));
    let hint = match closest(name, known) {
        Closest::One(one) => format!("; closest match: '{one}'"),
        Closest::None | Closest::Several => String::new(),
    };
    format!("there is no node '{name}'{hint}")
}

fn quorum_tool(arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new(QUORUM_TOOL);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = block_on(async move { tokio::time::timeout(LIMIT, command.output()).await })?
        .map_err(|_| format!("{QUORUM_TOOL} did not end within {} seconds", LIMIT.as_secs()))?
        .map_err(|error| format!("cannot run {QUORUM_TOOL}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    let first = told.lines().find(|line| !line.trim().is_empty()).unwrap_or("no reason was given");
    Err(format!("corosync refused: {}", first.trim()))
}
