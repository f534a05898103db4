//! What is known of fence methods: an agent's exit code is a claim, and only a node that comes back with another boot id
//! proves it (design §3.4: believe the node, not the agent).
//!
//! Part of the fold of the stream; `replicated` calls it for every report of an agent and every return of a node.

use shared::conf::model::{Conf, FenceMethod};
use shared::ids::{NodeId, Time};
use shared::status::{FactKind, FactSeverity, FenceVerdict, FencedHow, Subject};

use crate::message::{FenceReport, Proof};
use crate::replicated::{Folded, Lost, Replicated, is_told, node_name};

impl Lost {
    /// What a successful agent has claimed of it and nobody has seen yet.
    pub(crate) fn claimed(&self) -> Option<FencedHow> {
        let last = self.last.as_ref().filter(|_| self.unwitnessed)?;
        Some(FencedHow::Agent { by: last.by.clone(), method: last.method.clone() })
    }
}

impl Replicated {
    /// A fence agent has ended.
    pub(crate) fn record_proof(&mut self, conf: &Conf, by: NodeId, method: &str, report: &FenceReport) {
        let configured = conf.node_by_id(report.victim).and_then(|node| node.methods.iter().find(|m| m.name == method));
        let proof = Proof {
            at: report.at,
            by: node_name(conf, by),
            devices: configured.map(device_names).unwrap_or_default(),
            verdict: if report.succeeded { FenceVerdict::Claimed } else { FenceVerdict::Failed },
        };
        let verdict = proof.verdict;
        let before = self.proofs.entry(report.victim).or_default().insert(method.to_owned(), proof);
        // Fencing that fails is tried every few seconds, and each change of an intent is written to the disk of every member.
        if before.is_none_or(|before| before.verdict != verdict) {
            self.intents_changed += 1;
        }
    }

    /// A node that was called fenced with this method is back.
    pub(crate) fn witness(
        &mut self,
        at: Time,
        conf: &Conf,
        node: NodeId,
        method: &str,
        rebooted: bool,
        folded: &mut Folded,
    ) {
        let verdict = if rebooted { FenceVerdict::Proven } else { FenceVerdict::Disproved };
        if let Some(proof) = self.proofs.get_mut(&node).and_then(|proofs| proofs.get_mut(method)) {
            proof.verdict = verdict;
            proof.at = at;
            self.intents_changed += 1;
        }
        let attempt = self.lost.get(&node).map_or(1, |lost| lost.attempt);
        if !rebooted && is_told(attempt) {
            let name = node_name(conf, node);
            let text = format!(
                "{name} is back without having rebooted, although method {method} was said to have fenced it: test its fence device"
            );
            folded.fact(at, Subject::Node(name), FactSeverity::Error, FactKind::FenceDisproved, text, None);
        }
    }

    /// A victim shows itself with the boot id it had. If an agent had called it fenced, the agent was wrong, and the next
    /// attempt is due.
    pub(crate) fn disprove(&mut self, at: Time, conf: &Conf, node: NodeId, folded: &mut Folded) {
        let claimed = self.lost.get_mut(&node).and_then(|lost| Some((lost.claimed()?, lost)));
        let Some((FencedHow::Agent { method, .. }, lost)) = claimed else { return };
        lost.unwitnessed = false;
        self.witness(at, conf, node, &method, false, folded);
    }
}

/// An agent claims that it is done, and cluster.conf asks for more.
pub(crate) fn tell_unwitnessed(conf: &Conf, by: NodeId, method: &str, report: &FenceReport, folded: &mut Folded) {
    if !is_told(report.attempt) {
        return;
    }
    let (by, victim) = (node_name(conf, by), node_name(conf, report.victim));
    let text = format!(
        "{by} says that it has fenced {victim} with method {method}; nothing is recovered before {victim} is seen freshly booted, or somebody vouches for it"
    );
    folded.fact(report.at, Subject::Node(victim), FactSeverity::Warning, FactKind::FenceUnwitnessed, text, None);
}

/// Names of the devices of a method, in order.
pub(crate) fn device_names(method: &FenceMethod) -> Vec<String> {
    method.devices.iter().map(|device| device.device.clone()).collect()
}
