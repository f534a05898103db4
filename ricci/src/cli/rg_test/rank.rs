//! Where the failover domain of a service wants it, node by node, in a situation that is only imagined. Pure; the scores are
//! `shared::placement`'s, the same that the engine goes by.

use std::fmt::Write as _;

use serde::Serialize;
use shared::conf::model::Conf;
use shared::ids::{NodeId, NodeName, ServiceName};
use shared::placement::{Judgement, Situation, judge};

/// The situation as it is typed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Imagined {
    pub service: String,
    /// `None`: all nodes.
    pub online: Option<Vec<String>>,
    pub owner: Option<String>,
    /// A state in clustat's words; `None`: started if there is an owner.
    pub state: Option<String>,
}

/// One line of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ranked {
    pub node: NodeName,
    #[serde(flatten)]
    pub judgement: Judgement,
    pub text: String,
}

/// What is typed does not fit the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("there is no {0}")]
    NoService(ServiceName),
    #[error("there is no node {0}")]
    NoNode(String),
    #[error("'{0}' is no state of a service; clustat(8) lists them")]
    NoState(String),
}

/// The nodes, the best first, equals by node id.
pub fn rank(conf: &Conf, imagined: &Imagined) -> Result<Vec<Ranked>, Unfit> {
    let name = ServiceName::parse(&imagined.service);
    let service = conf.service(&name).ok_or(Unfit::NoService(name))?;
    let find = |node: &String| -> Result<NodeId, Unfit> {
        conf.node(&NodeName(node.clone())).map(|node| node.id).ok_or_else(|| Unfit::NoNode(node.clone()))
    };
    let online: Vec<NodeId> = match &imagined.online {
        Some(names) => names.iter().map(find).collect::<Result<_, _>>()?,
        None => conf.nodes.iter().map(|node| node.id).collect(),
    };
    let owner = imagined.owner.as_ref().map(find).transpose()?;
    let running = match imagined.state.as_deref() {
        None | Some("started" | "starting") => owner.is_some(),
        Some(
            "stopped" | "stopping" | "failed" | "uninitialized" | "checking" | "recoverable" | "recovering"
            | "disabled" | "migrating",
        ) => false,
        Some(other) => return Err(Unfit::NoState(other.to_owned())),
    };
    let situation = Situation { online: &online, owner, running };
    let mut ranked: Vec<(NodeId, Ranked)> = conf
        .nodes
        .iter()
        .map(|node| {
            let judgement = judge(conf, service, node.id, situation);
            (node.id, Ranked { node: node.name.clone(), judgement, text: judgement.why.text() })
        })
        .collect();
    ranked.sort_by_key(|(id, ranked)| (std::cmp::Reverse(ranked.judgement.level), *id));
    Ok(ranked.into_iter().map(|(_, ranked)| ranked).collect())
}

/// `NODE LEVEL reason`, one per line.
pub fn render_rank(ranked: &[Ranked]) -> String {
    let mut out = String::new();
    for Ranked { node, judgement, text } in ranked {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{node} {} {text}", judgement.level.name());
    }
    out
}
