//! From nothing to a working, fenced cluster with one service: what is done, what is next, and where. Read from the state of
//! things, so that whoever does a step elsewhere finds it done here.

use askama::Template;
use shared::conf::model::Conf;
use shared::status::{ClusterStatus, FenceVerdict, Membership, NodeStatus};
use shared::text::ServiceState;

use super::Shell;
use super::badge::{Badge, Kind};
use super::cluster::HeadPanel;
use super::conf::address_part;
use crate::language::filters;
use crate::watcher::Snapshot;

/// A step of the way.
#[derive(Debug)]
pub struct GuideStep {
    /// Name for tests and anchors.
    pub id: &'static str,
    pub title: &'static str,
    pub badge: Badge,
    pub done: bool,
    /// What is found, and what to do.
    pub text: String,
    /// Where it is done: words and address.
    pub ways: Vec<(String, String)>,
}

/// All steps, in order.
#[derive(Debug)]
pub struct Guide {
    pub steps: Vec<GuideStep>,
}

/// What the steps are judged by.
struct Found<'a> {
    root: String,
    conf: Option<&'a Conf>,
    status: Option<&'a ClusterStatus>,
}

impl Guide {
    /// `root`: address of the cluster's pages.
    pub fn new(root: &str, snapshot: &Snapshot, conf: Option<&Conf>) -> Self {
        let found = Found { root: root.to_owned(), conf, status: snapshot.live() };
        let mut steps = vec![
            found.members(),
            found.quorum(),
            found.devices(),
            found.methods(),
            found.proof(),
            found.service(),
            found.runs(),
        ];
        let next = steps.iter().position(|step| !step.done);
        for (place, step) in steps.iter_mut().enumerate() {
            step.badge = match (step.done, next == Some(place)) {
                (true, _) => Badge { kind: Kind::Ok, word: "done" },
                (false, true) => Badge { kind: Kind::Warn, word: "next" },
                (false, false) => Badge { kind: Kind::Off, word: "later" },
            };
        }
        Self { steps }
    }

    pub fn done(&self) -> usize {
        self.steps.iter().filter(|step| step.done).count()
    }

    pub fn is_complete(&self) -> bool {
        self.done() == self.steps.len()
    }
}

fn step(id: &'static str, title: &'static str, done: bool, text: String, ways: Vec<(String, String)>) -> GuideStep {
    GuideStep { id, title, badge: super::badge::UNKNOWN, done, text, ways }
}

/// Whether every method of a node has been seen to work. A node without a method is not proven.
fn is_proven(node: &NodeStatus) -> bool {
    !node.fence_proofs.is_empty() && node.fence_proofs.iter().all(|proof| proof.verdict == FenceVerdict::Proven)
}

impl Found<'_> {
    fn way(&self, words: impl Into<String>, to: &str) -> (String, String) {
        (words.into(), format!("{}{to}", self.root))
    }

    fn nodes(&self) -> &[shared::conf::model::Node] {
        self.conf.map(|conf| conf.nodes.as_slice()).unwrap_or_default()
    }

    fn members(&self) -> GuideStep {
        let all = self.nodes().len();
        let is_member = |node: &&NodeStatus| node.configured && node.member == Membership::Member;
        let joined = self.status.map_or(0, |status| status.nodes.iter().filter(is_member).count());
        let done = all > 0 && joined == all;
        let mut text = format!("{joined} of {all} nodes are members.");
        if all == 1 {
            text.push(' ');
            text.push_str("One node survives nothing: add a second one.");
        }
        step("members", "The nodes run in one cluster", done, text, vec![self.way("Nodes", "/nodes")])
    }

    fn quorum(&self) -> GuideStep {
        let all: u32 = self.nodes().iter().map(|node| node.votes).sum();
        let two_node = self.conf.is_some_and(|conf| conf.cman.two_node);
        let text = match (two_node, all) {
            (true, _) => "Two nodes: either one goes on alone, whoever fences the other first. Give the device of the node that should \
                          win no delay, and the other's a delay of some seconds, so that they never fence each other at once."
                .to_owned(),
            (false, 0) => "No node has a vote yet.".to_owned(),
            (false, votes) => {
                let needed = votes / 2 + 1;
                format!("{needed} of {votes} votes are needed: the cluster survives the loss of {}.", votes - needed)
            }
        };
        let done = self.status.is_some_and(|status| status.quorum.quorate);
        step("quorum", "The members have quorum", done, text, vec![self.way("Quorum and network", "/configure")])
    }

    fn devices(&self) -> GuideStep {
        let count = self.conf.map_or(0, |conf| conf.fence_devices.len());
        let text = match count {
            0 => "A node that fails must be cut off for sure before its services start elsewhere. Name what can do that: a power switch, \
                  a management board (IPMI, iLO, iDRAC), a hypervisor."
                .to_owned(),
            1 => "1 fence device is configured.".to_owned(),
            count => format!("{count} fence devices are configured."),
        };
        let ways =
            vec![self.way("Add a fence device", "/add-fence-device"), self.way("Fence devices", "/fence-devices")];
        step("devices", "There are fence devices", count > 0, text, ways)
    }

    fn methods(&self) -> GuideStep {
        let without: Vec<&str> =
            self.nodes().iter().filter(|node| node.methods.is_empty()).map(|node| node.name.as_str()).collect();
        let done = !self.nodes().is_empty() && without.is_empty();
        let text = match done {
            true => "Every node has a fence method.".to_owned(),
            false => format!("Nothing can fence {} yet. Add a fence method on the node's page.", without.join(", ")),
        };
        let ways = without.iter().map(|node| self.way(*node, &format!("/nodes/{}", address_part(node))));
        step("methods", "Every node can be fenced", done, text, ways.collect())
    }

    fn proof(&self) -> GuideStep {
        let nodes = self.status.map(|status| status.nodes.as_slice()).unwrap_or_default();
        let without: Vec<&str> =
            nodes.iter().filter(|node| node.configured && !is_proven(node)).map(|node| node.name.as_str()).collect();
        let done = !nodes.is_empty() && without.is_empty();
        let text = match done {
            true => "Each node has been fenced and came back freshly booted.".to_owned(),
            false => format!(
                "Not seen yet: {}. Fence each node once, one after the other, before the cluster carries anything: only a node that \
                 comes back with another boot id proves that its fencing works.",
                without.join(", ")
            ),
        };
        let ways = without
            .iter()
            .map(|node| self.way(format!("Fence {node}…"), &format!("/nodes/{}/fence", address_part(node))));
        step("proof", "Fencing is proven", done, text, ways.collect())
    }

    fn service(&self) -> GuideStep {
        let count = self.conf.map_or(0, |conf| conf.services.len());
        let text = match count {
            0 => "A service group is what moves between nodes: an address, a file system, a program. Make its resources first, then the \
                  service that starts them in order."
                .to_owned(),
            1 => "1 service is configured.".to_owned(),
            count => format!("{count} services are configured."),
        };
        let ways = vec![
            self.way("Add a resource", "/add-resource"),
            self.way("Add a failover domain", "/add-failover-domain"),
            self.way("Create a service group", "/add-service"),
        ];
        step("service", "There is a service", count > 0, text, ways)
    }

    fn runs(&self) -> GuideStep {
        let services = self.status.map(|status| status.services.as_slice()).unwrap_or_default();
        let started = services.iter().find(|service| service.state == ServiceState::Started);
        let owner = started.and_then(|service| service.owner.as_ref());
        let (text, ways) = match (started, owner) {
            (Some(service), Some(owner)) => (
                format!("{} runs on {owner}. See what the loss of {owner} would do, then try it.", service.name),
                vec![self.way(
                    format!("What if {owner} died now?"),
                    &format!("/what-if?lost={}", address_part(owner.as_str())),
                )],
            ),
            _ => ("No service is started.".to_owned(), vec![self.way("Services", "/services")]),
        };
        step("runs", "The service runs", started.is_some(), text, ways)
    }
}

#[derive(Debug, Template)]
#[template(path = "guide.html")]
pub struct GuidePage {
    pub shell: Shell,
    pub head: HeadPanel,
    pub cluster: String,
    pub guide: Guide,
}
