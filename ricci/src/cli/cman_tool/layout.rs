//! What `cman_tool status`, `nodes` and `version` print, line by line and column by column as the original did
//! (rhcs.md §9.5). Pure: facts in, text out. A fact that nobody told is printed as `unknown`, never guessed.

use std::fmt::Write as _;

use shared::ids::{ConfVersion, NodeId, NodeName};

/// The protocol version that the original's last release reported; scripts cut the line at its spaces.
pub const PROTOCOL: &str = "6.2.0";

/// Two words, as wide as a date and a time: who cuts the line at its spaces finds the name of a member in the sixth.
const JOINED_UNKNOWN: &str = "unknown    unknown";

/// What there is to know about the node and its cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    pub cluster: Option<String>,
    /// `cluster_id` of `<cman>`, which overrides the number made of the name.
    pub cluster_id: Option<u32>,
    /// In force; `None` before rgmanager told.
    pub conf_version: Option<ConfVersion>,
    /// Sequence number of corosync's ring.
    pub generation: Option<u64>,
    pub local: Option<NodeId>,
    pub quorate: bool,
    pub votes_expected: u32,
    pub votes_total: u32,
    /// Votes needed.
    pub quorum: u32,
    pub two_node: bool,
    /// Whether this node's rgmanager answers, and whether it holds the cluster's state.
    pub rgmanager: Option<bool>,
    /// By id.
    pub nodes: Vec<NodeFacts>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFacts {
    pub id: NodeId,
    pub name: Option<NodeName>,
    pub is_member: bool,
    pub votes: u32,
    /// How often it joined since corosync runs here.
    pub joins: u32,
    /// When it became a member, ready to be printed; `None`: nobody remembers.
    pub joined: Option<String>,
    pub addresses: Vec<String>,
    /// `None`: nobody told. `Some(None)`: it was not fenced.
    pub last_fenced: Option<Option<String>>,
}

/// What the options of `cman_tool nodes` ask for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodesView {
    /// `-a`.
    pub addresses: bool,
    /// `-f`.
    pub fencing: bool,
    /// `-n`: only this node.
    pub only: Option<String>,
    /// `-F`: these columns and nothing else.
    pub columns: Option<Vec<Column>>,
}

/// A column of `-F`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    Id,
    Name,
    Type,
    Address,
}

impl Column {
    /// By its name after `-F`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "id" => Some(Self::Id),
            "name" => Some(Self::Name),
            "type" => Some(Self::Type),
            "addr" => Some(Self::Address),
            _ => None,
        }
    }
}

/// The number that the original made of a cluster's name.
pub fn cluster_id_of(name: &str) -> u32 {
    name.bytes().fold(0_u32, |value, byte| (value << 1).wrapping_add(u32::from(byte))) & 0xffff
}

/// `cman_tool status`.
pub fn render_status(facts: &Facts) -> String {
    let own = facts.nodes.iter().find(|node| Some(node.id) == facts.local);
    let unknown = || "unknown".to_owned();
    let cluster_id = facts.cluster_id.or_else(|| facts.cluster.as_deref().map(cluster_id_of));
    let subsystems = usize::from(facts.rgmanager.is_some());
    let lines = [
        ("Version", PROTOCOL.to_owned()),
        ("Config Version", facts.conf_version.map_or_else(unknown, |version| version.to_string())),
        ("Cluster Name", facts.cluster.clone().unwrap_or_else(unknown)),
        ("Cluster Id", cluster_id.map_or_else(unknown, |id| id.to_string())),
        ("Cluster Member", "Yes".to_owned()),
        ("Cluster Generation", facts.generation.map_or_else(unknown, |generation| generation.to_string())),
        ("Membership state", "Cluster-Member".to_owned()),
        ("Nodes", facts.nodes.iter().filter(|node| node.is_member).count().to_string()),
        ("Expected votes", facts.votes_expected.to_string()),
        ("Total votes", facts.votes_total.to_string()),
        ("Node votes", own.map_or_else(unknown, |node| node.votes.to_string())),
        ("Quorum", format!("{} {}", facts.quorum, if facts.quorate { " " } else { "Activity blocked" })),
        ("Active subsystems", subsystems.to_string()),
        ("Flags", flags(facts)),
        ("Ports Bound", if facts.rgmanager.is_some() { "0 177  " } else { "0  " }.to_owned()),
        ("Node name", own.and_then(|node| node.name.clone()).map_or_else(unknown, |name| name.0)),
        ("Node ID", facts.local.map_or_else(unknown, |id| id.to_string())),
        // The network in use has none; the line stays for whoever reads by line numbers.
        ("Multicast addresses", String::new()),
        ("Node addresses", own.map_or_else(unknown, |node| spaced(&node.addresses))),
    ];
    lines.iter().map(|(name, value)| format!("{name}: {value}\n")).collect()
}

fn flags(facts: &Facts) -> String {
    let flags = [("2node ", facts.two_node), ("HaveState ", facts.rgmanager == Some(true))];
    flags.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect()
}

/// `cman_tool nodes`; `None` if the node asked for is not there.
pub fn render_nodes(facts: &Facts, view: &NodesView) -> Option<String> {
    let wanted = |node: &&NodeFacts| {
        let matches = |only: &String| {
            node.name.as_ref().is_some_and(|name| name.as_str() == only) || node.id.to_string() == *only
        };
        view.only.as_ref().is_none_or(matches)
    };
    let nodes: Vec<&NodeFacts> = facts.nodes.iter().filter(wanted).collect();
    if nodes.is_empty() && view.only.is_some() {
        return None;
    }
    let mut out = String::new();
    if let Some(columns) = &view.columns {
        for node in nodes {
            let cells: Vec<String> = columns.iter().map(|column| cell(node, *column)).collect();
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{}", cells.join(" "));
        }
        return Some(out);
    }
    out.push_str("Node  Sts   Inc   Joined               Name\n");
    for node in nodes {
        let joined = if node.is_member { node.joined.as_deref().unwrap_or(JOINED_UNKNOWN) } else { "" };
        let (state, name) = (state(node), name(node));
        let _ = writeln!(out, "{:>4}   {state}  {:>5}   {joined:<19}  {name}", node.id.0, node.joins);
        if view.fencing {
            let _ = match &node.last_fenced {
                Some(Some(text)) => writeln!(out, "       Last fenced:   {text}"),
                Some(None) => Ok(()),
                None => writeln!(out, "       Last fenced:   unknown"),
            };
        }
        if view.addresses {
            let _ = writeln!(out, "       Addresses: {}", spaced(&node.addresses));
        }
    }
    Some(out)
}

fn cell(node: &NodeFacts, column: Column) -> String {
    match column {
        Column::Id => node.id.to_string(),
        Column::Name => name(node),
        Column::Type => state(node).to_string(),
        Column::Address => node.addresses.first().cloned().unwrap_or_else(|| "unknown".to_owned()),
    }
}

fn state(node: &NodeFacts) -> char {
    if node.is_member { 'M' } else { 'X' }
}

fn name(node: &NodeFacts) -> String {
    node.name.as_ref().map_or_else(|| "unknown".to_owned(), |name| name.0.clone())
}

/// Each address with a space behind it, as the original's loop left it.
fn spaced(addresses: &[String]) -> String {
    addresses.iter().map(|address| format!("{address} ")).collect()
}

/// `cman_tool version`.
pub fn render_version(version: Option<ConfVersion>) -> String {
    let version = version.map_or_else(|| "unknown".to_owned(), |version| version.to_string());
    format!("{PROTOCOL} config {version}\n")
}
