//! Why a service is as it is, test by test, and what would come of something: the engine's own words, as lines.

use askama::Template;
use shared::conf::delta::{Delta, ServiceChange, ServiceDelta};
use shared::conf::model::{Conf, Domain};
use shared::ids::NodeName;
use shared::placement::course::Course;
use shared::placement::losses::{Fate, Loss};
use shared::text::ServiceState;
use shared::why::{Explanation, NodeExplanation, Outcome, Prediction, Test, Verdict};

use super::badge::{self, Badge, Kind};
use super::cluster::HeadPanel;
use super::{Shell, time};
use crate::app::foresight::Told;
use crate::language::filters;

/// One test with what it found.
#[derive(Debug)]
pub struct TestLine {
    pub badge: Badge,
    pub name: &'static str,
    pub text: String,
}

impl TestLine {
    fn new(test: &Test) -> Self {
        let badge = match test.outcome() {
            Outcome::Passes => Badge { kind: Kind::Ok, word: "yes" },
            Outcome::Blocks => Badge { kind: Kind::Bad, word: "no" },
            Outcome::Told => Badge { kind: Kind::Off, word: "told" },
            Outcome::Unknown => badge::UNKNOWN,
        };
        Self { badge, name: test.name(), text: test.text() }
    }
}

fn lines(tests: &[Test]) -> Vec<TestLine> {
    tests.iter().map(TestLine::new).collect()
}

/// What speaks for and against one node.
#[derive(Debug)]
pub struct NodeVerdict {
    pub node: String,
    pub verdict: Badge,
    /// Its place among the candidates.
    pub rank: Option<u32>,
    pub tests: Vec<TestLine>,
}

impl NodeVerdict {
    fn new(node: &NodeExplanation) -> Self {
        let (verdict, rank) = match node.verdict {
            Verdict::Owner => (Badge { kind: Kind::Ok, word: "has it" }, None),
            Verdict::Candidate { rank: 1 } => (Badge { kind: Kind::Busy, word: "would be next" }, Some(1)),
            Verdict::Candidate { rank } => (Badge { kind: Kind::Off, word: "candidate" }, Some(rank)),
            Verdict::MayNot => (Badge { kind: Kind::Warn, word: "may not have it" }, None),
        };
        Self { node: node.node.to_string(), verdict, rank, tests: lines(&node.tests) }
    }
}

/// Who said something, and when.
#[derive(Debug, Clone)]
pub struct Source {
    pub by: String,
    pub at: String,
}

impl Source {
    fn of<T>(told: &Told<T>) -> Self {
        Self { by: told.by.to_string(), at: time(told.at) }
    }
}

/// One service explained.
#[derive(Debug)]
pub struct ServiceWhy {
    pub service: String,
    pub state: Badge,
    pub owner: Option<String>,
    pub reason: String,
    pub tests: Vec<TestLine>,
    pub nodes: Vec<NodeVerdict>,
    pub source: Source,
}

impl ServiceWhy {
    pub fn new(told: &Told<Explanation>) -> Self {
        let Explanation { service, state, owner, reason, tests, nodes } = &told.what;
        Self {
            service: service.to_string(),
            state: badge::service(*state),
            owner: owner.as_ref().map(ToString::to_string),
            reason: reason.text(),
            tests: lines(tests),
            nodes: nodes.iter().map(NodeVerdict::new).collect(),
            source: Source::of(told),
        }
    }
}

/// Why a service is where it is, and why not elsewhere.
#[derive(Debug, Template)]
#[template(path = "why.html")]
pub struct WhyPage {
    pub shell: Shell,
    pub head: HeadPanel,
    pub cluster: String,
    pub service: String,
    /// What the engine says, or why nobody can say.
    pub why: Result<ServiceWhy, String>,
}

/// A service as one node sees it.
#[derive(Debug)]
pub struct OnNode {
    pub service: String,
    pub state: Badge,
    pub owner: Option<String>,
    pub verdict: NodeVerdict,
}

/// Every service on one node.
#[derive(Debug)]
pub struct NodeWhy {
    pub services: Vec<OnNode>,
    pub source: Source,
}

impl NodeWhy {
    pub fn new(node: &NodeName, told: &Told<Vec<Explanation>>) -> Self {
        let services = told.what.iter().filter_map(|explanation| {
            let verdict = explanation.nodes.iter().find(|known| known.node == *node)?;
            Some(OnNode {
                service: explanation.service.to_string(),
                state: badge::service(explanation.state),
                owner: explanation.owner.as_ref().map(ToString::to_string),
                verdict: NodeVerdict::new(verdict),
            })
        });
        Self { services: services.collect(), source: Source::of(told) }
    }
}

/// Why each service is or is not on a node.
#[derive(Debug, Template)]
#[template(path = "node_why.html")]
pub struct NodeWhyPage {
    pub shell: Shell,
    pub head: HeadPanel,
    pub cluster: String,
    pub node: String,
    pub why: Result<NodeWhy, String>,
}

/// A service now and then.
#[derive(Debug)]
pub struct ChangeLine {
    pub service: String,
    pub from: String,
    pub to: Badge,
    pub on: String,
    pub because: String,
}

/// A step on the way.
#[derive(Debug)]
pub struct StepLine {
    pub text: String,
    pub because: Option<String>,
}

/// What would happen.
#[derive(Debug)]
pub struct Foreseen {
    pub refused: Option<String>,
    pub steps: Vec<StepLine>,
    pub changes: Vec<ChangeLine>,
    pub source: Source,
}

fn place((state, owner): &(ServiceState, Option<NodeName>)) -> String {
    match (state, owner) {
        (ServiceState::Uninitialized, None) => "not configured".into(),
        (state, Some(owner)) => format!("{} on {owner}", state.name()),
        (state, None) => state.name().into(),
    }
}

impl Foreseen {
    pub fn new(told: &Told<Prediction>) -> Self {
        let Prediction { refused, steps, changes } = &told.what;
        let changes = changes.iter().map(|change| ChangeLine {
            service: change.service.to_string(),
            from: place(&change.from),
            to: match change.to.0 {
                ServiceState::Uninitialized => Badge { kind: Kind::Off, word: "not configured" },
                state => badge::service(state),
            },
            on: change.to.1.as_ref().map(|node| format!("on {node}")).unwrap_or_default(),
            because: change.reason.text(),
        });
        let steps = steps.iter().map(|step| StepLine {
            text: step.text.clone(),
            because: step.reason.as_ref().map(shared::status::Reason::text),
        });
        Self {
            refused: refused.as_ref().map(|refusal| match refusal.text.as_str() {
                "" => refusal.code.text().to_owned(),
                text => text.to_owned(),
            }),
            steps: steps.collect(),
            changes: changes.collect(),
            source: Source::of(told),
        }
    }
}

/// An assumption and what would come of it, or why nobody can say.
#[derive(Debug)]
pub struct Supposed {
    /// In words.
    pub assumed: String,
    pub foreseen: Result<Foreseen, String>,
}

/// The questions that can be put, with what the reader chose.
#[derive(Debug, Clone, Default)]
pub struct Question {
    pub lost: String,
    pub service: String,
    pub verb: String,
    pub node: String,
    pub draft: bool,
}

impl Question {
    pub fn is_lost(&self, node: &str) -> bool {
        self.lost == node
    }

    pub fn is_service(&self, service: &str) -> bool {
        self.service == service
    }

    pub fn is_verb(&self, verb: &str) -> bool {
        self.verb == verb
    }

    pub fn is_node(&self, node: &str) -> bool {
        self.node == node
    }
}

/// What would happen if ….
#[derive(Debug, Template)]
#[template(path = "what_if.html")]
pub struct WhatIfPage {
    pub shell: Shell,
    pub head: HeadPanel,
    pub cluster: String,
    pub nodes: Vec<String>,
    pub services: Vec<String>,
    pub verbs: &'static [&'static str],
    pub question: Question,
    /// `None`: nothing was asked yet.
    pub supposed: Option<Supposed>,
}

/// What a version would do to the resources of one service.
#[derive(Debug)]
pub struct EffectLine {
    pub service: String,
    pub badge: Badge,
    /// What is done, as labelled lists.
    pub lists: Vec<(&'static str, String)>,
}

/// What a version does to the resources of running services.
pub fn effects(delta: &Delta) -> Vec<EffectLine> {
    delta.services.iter().map(effect).collect()
}

fn effect(service: &ServiceDelta) -> EffectLine {
    let badge = match service.change {
        ServiceChange::Added { starts: true } => Badge { kind: Kind::Ok, word: "new, starts" },
        ServiceChange::Added { starts: false } => Badge { kind: Kind::Off, word: "new, stays down" },
        ServiceChange::Removed => Badge { kind: Kind::Warn, word: "removed, stops" },
        ServiceChange::Changed if service.tree.is_quiet() => Badge { kind: Kind::Ok, word: "runs on" },
        ServiceChange::Changed => Badge { kind: Kind::Warn, word: "parts restart" },
    };
    let tree = &service.tree;
    let lists =
        [("stop", &tree.stop), ("start", &tree.start), ("change in place", &tree.reconfigure), ("run on", &tree.keep)];
    let lists = lists.into_iter().filter(|(_, names)| !names.is_empty());
    let join =
        |names: &[shared::ids::ResourceName]| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    EffectLine {
        service: service.name.to_string(),
        badge,
        lists: lists.map(|(what, names)| (what, join(names))).collect(),
    }
}

/// The parts of the draft's review that tell what applying it would do.
#[derive(Debug)]
pub struct DraftForesight {
    pub effects: Vec<EffectLine>,
    pub foreseen: Result<Foreseen, String>,
}

/// Where a failover domain has its services go.
#[derive(Debug)]
pub struct DomainPreview {
    pub stages: Vec<PreviewStage>,
    pub comes_back_to: Option<String>,
    /// The second choice, from which it comes back or not.
    pub second: Option<String>,
}

/// What the domain says when some nodes have failed.
#[derive(Debug)]
pub struct PreviewStage {
    /// Empty: all nodes are there.
    pub lost: String,
    /// Empty: nowhere.
    pub chosen: String,
    /// Whether load decides between several.
    pub several: bool,
    pub nodes: Vec<(String, String)>,
}

/// What becomes of the services of a domain when nodes fail.
#[derive(Debug)]
pub struct LossLine {
    pub lost: String,
    pub votes_left: u32,
    pub votes_expected: u32,
    pub quorate: bool,
    pub fates: Vec<FateLine>,
}

/// One service of it.
#[derive(Debug)]
pub struct FateLine {
    /// Empty: there is none yet, and this is what one would do.
    pub service: String,
    pub stays: bool,
    /// Empty: nowhere.
    pub on: String,
}

impl LossLine {
    /// `known`: whether any service uses the domain.
    pub fn new(loss: &Loss, known: bool) -> Self {
        let list = |names: &[NodeName]| names.iter().map(NodeName::as_str).collect::<Vec<_>>().join(", ");
        let fates = loss.fates.iter().map(|(service, fate)| FateLine {
            service: if known { service.to_string() } else { String::new() },
            stays: matches!(fate, Fate::Stays { .. }),
            on: match fate {
                Fate::Stays { on } => on.to_string(),
                Fate::Goes { to } => list(to),
                Fate::Nowhere => String::new(),
            },
        });
        Self {
            lost: list(&loss.lost),
            votes_left: loss.votes_left,
            votes_expected: loss.votes_expected,
            quorate: loss.quorate,
            fates: fates.collect(),
        }
    }
}

/// What is to be thought of a domain before it is needed.
pub fn domain_notes(conf: &Conf, domain: &Domain, used: bool) -> Vec<String> {
    let mut notes = Vec::new();
    let present = domain.nodes.iter().filter(|(name, _)| conf.node(name).is_some()).count();
    let gone = domain.nodes.iter().filter(|(name, _)| conf.node(name).is_none());
    notes.extend(gone.map(|(name, _)| format!("{name} is not a node of this cluster any more; take it out.")));
    if domain.restricted && present == 1 {
        notes.push("Restricted to one node: when it fails, its services stay down.".to_owned());
    }
    if domain.restricted && present == 0 {
        notes.push("Restricted to no node: its services can run nowhere.".to_owned());
    }
    let first = domain.nodes.first().map(|(_, priority)| priority);
    if domain.ordered && present > 1 && domain.nodes.iter().all(|(_, priority)| Some(priority) == first) {
        notes.push("All nodes have the same priority: the order changes nothing.".to_owned());
    }
    let uses = |service: &&shared::conf::model::Service| {
        service.domain.as_ref().is_some_and(|name| name.as_str().eq_ignore_ascii_case(domain.name.as_str()))
    };
    let exclusive = conf.services.iter().filter(uses).filter(|service| service.exclusive > 0).count();
    let places = if domain.restricted { present } else { conf.nodes.len() };
    if exclusive > places {
        notes.push(format!("{exclusive} services run exclusively, and there are {places} nodes for them."));
    }
    if !used && !domain.name.as_str().is_empty() {
        notes.push("No service uses it.".to_owned());
    }
    notes
}

impl DomainPreview {
    pub fn new(course: &Course) -> Self {
        let list = |names: &[NodeName]| names.iter().map(NodeName::as_str).collect::<Vec<_>>().join(", ");
        let stages = course.stages.iter().map(|stage| PreviewStage {
            lost: list(&stage.lost),
            chosen: list(&stage.chosen),
            several: stage.chosen.len() > 1,
            nodes: stage.nodes.iter().map(|(node, judged)| (node.to_string(), judged.why.text())).collect(),
        });
        Self {
            stages: stages.collect(),
            comes_back_to: course.comes_back_to.as_ref().map(ToString::to_string),
            second: course.stages.get(1).and_then(|stage| stage.chosen.first()).map(ToString::to_string),
        }
    }
}
