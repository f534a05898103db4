//! What a failover domain thinks of a node for a service (rhcs.md §4.2): a level and why. Asked by the engine when it places
//! services, and by whoever shows beforehand where a service would go. Pure: configuration and situation in, level out.

pub mod course;
pub mod losses;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::conf::model::{Conf, Service};
use crate::ids::NodeId;

/// How much a failover domain wants a node (rhcs.md §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    Illegal,
    Good,
    Better,
    Best,
}

impl Level {
    /// As `rg_test rank` prints it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Illegal => "ILLEGAL",
            Self::Good => "GOOD",
            Self::Better => "BETTER",
            Self::Best => "BEST",
        }
    }
}

/// What the level depends on beside the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// Nodes that could run something.
    pub online: &'a [NodeId],
    pub owner: Option<NodeId>,
    /// The service is started or starting on `owner`.
    pub running: bool,
}

/// A level and what led to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    pub level: Level,
    #[serde(flatten)]
    pub why: Why,
}

/// The case of rhcs.md §4.2 that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum Why {
    Offline,
    /// The service has no failover domain, or one that is not defined.
    NoDomain,
    /// No node of the domain is online, and it is not restricted.
    DomainOffline,
    /// No node of the domain is online, and it is restricted.
    RestrictedOffline,
    /// Not in the domain, which has nodes online and is not restricted.
    Outside,
    /// Not in the domain, which is restricted.
    OutsideRestricted,
    /// In the domain, and no online node is preferred to it.
    Preferred {
        priority: u32,
    },
    /// In the domain, but an online node has a lower priority number.
    LessPreferred {
        priority: u32,
        preferred: u32,
    },
    /// It runs the service, and the domain does not fail back.
    Keeps {
        priority: u32,
    },
    /// As good as any, but the service runs elsewhere and the domain does not fail back.
    KeptElsewhere {
        priority: u32,
    },
}

impl Why {
    /// The case as an English clause.
    pub fn text(self) -> String {
        match self {
            Self::Offline => "is offline".into(),
            Self::NoDomain => "the service has no failover domain: every node is as good".into(),
            Self::DomainOffline => "no node of the failover domain is online, so that any node may".into(),
            Self::RestrictedOffline => "no node of the failover domain is online, and it is restricted".into(),
            Self::Outside => "is not in the failover domain, which is not restricted".into(),
            Self::OutsideRestricted => "is not in the failover domain, which is restricted".into(),
            Self::Preferred { priority: 0 } => "is in the failover domain".into(),
            Self::Preferred { priority } => format!("has priority {priority}, the best that is online"),
            Self::LessPreferred { priority, preferred } => {
                format!("has priority {priority}, and a node with priority {preferred} is online")
            }
            Self::Keeps { .. } => "runs the service, and the failover domain does not fail back".into(),
            Self::KeptElsewhere { .. } => {
                "the service runs on another node, and the failover domain does not fail back".into()
            }
        }
    }
}

/// The level of one node for one service.
pub fn level(conf: &Conf, service: &Service, node: NodeId, situation: Situation<'_>) -> Level {
    judge(conf, service, node, situation).level
}

/// The level of one node for one service and its reason, in exactly the order of rhcs.md §4.2.
pub fn judge(conf: &Conf, service: &Service, node: NodeId, situation: Situation<'_>) -> Judgement {
    let online = |id: NodeId| situation.online.contains(&id);
    let judged = |level, why| Judgement { level, why };
    if !online(node) {
        return judged(Level::Illegal, Why::Offline);
    }
    let Some(domain) = service.domain.as_ref().and_then(|name| conf.domain(name)) else {
        return judged(Level::Best, Why::NoDomain);
    };
    let priorities: BTreeMap<NodeId, u32> = domain
        .nodes
        .iter()
        .filter_map(|(name, priority)| conf.node(name).map(|node| (node.id, *priority)))
        .filter(|(id, _)| online(*id))
        .collect();
    let Some(&preferred) = priorities.values().min() else {
        return if domain.restricted {
            judged(Level::Illegal, Why::RestrictedOffline)
        } else {
            judged(Level::Best, Why::DomainOffline)
        };
    };
    let Some(&priority) = priorities.get(&node) else {
        return if domain.restricted {
            judged(Level::Illegal, Why::OutsideRestricted)
        } else {
            judged(Level::Good, Why::Outside)
        };
    };
    let stays = domain.nofailback && situation.running && situation.owner.is_some_and(online);
    let owned_here = situation.owner == Some(node);
    match (priority > preferred, stays) {
        (true, true) if owned_here => judged(Level::Best, Why::Keeps { priority }),
        (true, _) => judged(Level::Better, Why::LessPreferred { priority, preferred }),
        (false, true) if !owned_here => judged(Level::Better, Why::KeptElsewhere { priority }),
        (false, _) => judged(Level::Best, Why::Preferred { priority }),
    }
}
