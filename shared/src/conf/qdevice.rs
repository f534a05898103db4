//! `<qdevice>`: corosync's quorum device of the model `net`, a third party (corosync-qnetd on a host outside the cluster)
//! that gives its votes to one part of a cluster that fell apart. It takes the place of RHEL 6's quorum disk
//! (docs/decisions/0009); attributes are those of corosync.conf, section `quorum.device`, see corosync-qdevice(8).
//!
//! Read by `view`, rendered by `corosync`, judged by `check::quorum`.

use serde::{Deserialize, Serialize};

use super::view::Reader;

/// Port on which corosync-qnetd listens if nothing else is said.
pub const PORT: u16 = 5403;

/// How the device decides to which part it gives its votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// One vote, for the larger part, or for one of two halves. For an even number of nodes.
    #[default]
    Ffsplit,
    /// As many votes as nodes but one: the last node that the device sees goes on alone.
    Lms,
}

impl Algorithm {
    /// As corosync.conf spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ffsplit => "ffsplit",
            Self::Lms => "lms",
        }
    }
}

/// `<heuristic name= program=>`: a program that must end with 0 for the node to deserve the device's votes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heuristic {
    pub name: String,
    /// With its arguments, the first word being a whole path.
    pub program: String,
}

/// `<qdevice>`. Times in milliseconds; what is `None` is left to corosync-qdevice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Qdevice {
    /// Name or address of the host that runs corosync-qnetd; empty only beside an error.
    pub host: String,
    pub port: u16,
    pub algorithm: Algorithm,
    /// `None`: what the algorithm asks for.
    pub votes: Option<u32>,
    /// `lowest` (default), `highest` or a node id: the half that goes on when all else is equal.
    pub tie_breaker: Option<String>,
    /// `on`, `off` or `required`. corosync-qdevice's default is `on`, which needs certificates on every node.
    pub tls: Option<String>,
    /// corosync waits so long for the device's word. corosync's default: 10000.
    pub timeout_ms: Option<u64>,
    /// The same while the membership changes. corosync's default: 30000.
    pub sync_timeout_ms: Option<u64>,
    /// `heuristics`: `off`, `sync` (at each change of membership; default with programs) or `on` (also in between).
    pub heuristics_mode: Option<String>,
    pub heuristics: Vec<Heuristic>,
}

impl Qdevice {
    /// Its votes in a cluster of so many nodes.
    pub fn votes_of(&self, nodes: usize) -> u32 {
        self.votes.unwrap_or_else(|| self.votes_wanted(nodes))
    }

    /// The votes that its algorithm asks for (corosync-qdevice(8), `votes`).
    pub fn votes_wanted(&self, nodes: usize) -> u32 {
        match self.algorithm {
            Algorithm::Ffsplit => 1,
            Algorithm::Lms => u32::try_from(nodes.saturating_sub(1)).unwrap_or(u32::MAX),
        }
    }
}

impl Reader<'_> {
    pub(super) fn read_qdevice(&mut self) -> Option<Qdevice> {
        let element = self.document.select("/cluster/qdevice").first().copied()?;
        let text = |reader: &Self, name: &str| reader.text(element, name).map(str::to_owned);
        let heuristics = self.document.children_named(element, "heuristic").map(|heuristic| Heuristic {
            name: self.text(heuristic, "name").unwrap_or_default().to_owned(),
            program: self.text(heuristic, "program").unwrap_or_default().to_owned(),
        });
        let heuristics = heuristics.collect();
        Some(Qdevice {
            host: text(self, "host").unwrap_or_default(),
            port: self.number(element, "port").unwrap_or(PORT),
            algorithm: match self.text(element, "algorithm") {
                Some("lms") => Algorithm::Lms,
                _ => Algorithm::Ffsplit,
            },
            votes: self.number(element, "votes"),
            tie_breaker: text(self, "tie_breaker"),
            tls: text(self, "tls"),
            timeout_ms: self.number(element, "timeout"),
            sync_timeout_ms: self.number(element, "sync_timeout"),
            heuristics_mode: text(self, "heuristics"),
            heuristics,
        })
    }
}
