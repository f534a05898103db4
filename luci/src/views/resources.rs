//! Resources: the shared ones, the tree of a service, the choice of what to add, and the form of one.

use std::collections::BTreeMap;

use askama::Template;
use shared::agents::mapping;
use shared::conf::edit::ResourceSpec;
use shared::conf::model::{Isolation, Resource};
use shared::conf::view::unique_name;
use shared::ids::ResourceName;
use shared::text::ocf_meaning;
use shared::tree::child_start_order;

use super::Shell;
use super::badge::{Badge, Kind};
use super::cluster::HeadPanel;
use super::conf::{ThingLine, address_part};
use super::fields::{AttributeForm, Field, KindChoice, Words, kind_title};
use super::manage::FormErrors;
use super::resource_form::ActionRow;
use super::resource_state::{StatePart, States};
use crate::app::agents::AgentChoice;
use crate::app::resources::{AgentWord, agent_of};
use crate::app::tree;
use crate::language::filters;
use crate::secrets::is_secret;

/// A resource in a service's tree, as it is edited.
#[derive(Debug, Clone)]
pub struct ResourceNode {
    /// Where in the tree: `0`, `0.1`, ….
    pub place: String,
    /// Tells it from another that may come to stand there.
    pub identity: String,
    pub kind: String,
    pub title: String,
    /// The agent, where the type does not say it.
    pub agent: String,
    pub name: String,
    pub shared: bool,
    pub note: &'static str,
    pub detail: String,
    /// When it starts, counted through the whole tree from 1.
    pub order: usize,
    /// What it does now, where the service runs.
    pub state: StatePart,
    /// Where its parent stands; empty: it is the service itself.
    pub above: String,
    /// The place behind it, among its siblings.
    pub behind: usize,
    pub first: bool,
    pub last: bool,
    /// It stands below another resource.
    pub nested: bool,
    /// How many stand below it.
    pub below: usize,
    pub children: Vec<ResourceNode>,
}

/// One level of the tree.
#[derive(Debug, Template)]
#[template(path = "parts/resource_tree.html")]
pub struct ResourceTree<'a> {
    pub nodes: &'a [ResourceNode],
    /// Address of the service's page.
    pub root: &'a str,
    pub csrf: &'a str,
    pub base: &'a str,
    pub administrator: bool,
}

impl ResourceTree<'_> {
    /// The level below: a template cannot draw itself.
    pub fn below<'b>(&'b self, node: &'b ResourceNode) -> ResourceTree<'b> {
        ResourceTree { nodes: &node.children, ..*self }
    }
}

/// The tree of a service for the page.
pub fn resource_nodes(specs: &[ResourceSpec], now: &States) -> Vec<ResourceNode> {
    let mut order = BTreeMap::new();
    number("service", &stand_ins(specs, ""), &mut order);
    nodes(specs, "", &mut Marks { order, now, names: Vec::new() })
}

/// What is known of the resources by place or by name.
struct Marks<'a> {
    order: BTreeMap<String, usize>,
    now: &'a States,
    /// Names that were met, in the order of the file.
    names: Vec<String>,
}

fn place(above: &str, index: usize) -> String {
    if above.is_empty() { index.to_string() } else { format!("{above}.{index}") }
}

fn nodes(specs: &[ResourceSpec], above: &str, marks: &mut Marks<'_>) -> Vec<ResourceNode> {
    let count = specs.len();
    let node = |(index, spec): (usize, &ResourceSpec)| {
        let place = place(above, index);
        let name = unique_name(format!("{}:{}", spec.kind, spec_name(spec)), &mut marks.names);
        ResourceNode {
            identity: tree::identity(spec),
            title: kind_title(&spec.kind),
            agent: match spec.kind.as_str() {
                "ocf" => agent_of(&spec.kind, &spec.attributes).unwrap_or_default(),
                _ => String::new(),
            },
            name: spec_name(spec),
            shared: spec.reference.is_some(),
            note: match spec.attributes.get("__independent_subtree").map(String::as_str) {
                Some("1" | "yes") => "independent subtree",
                Some("2" | "non-critical") => "non-critical",
                _ => "",
            },
            detail: detail(spec),
            order: marks.order.get(&place).copied().unwrap_or_default(),
            state: StatePart::new(&name, marks.now),
            above: above.to_owned(),
            behind: index + 1,
            first: index == 0,
            last: index + 1 == count,
            nested: !above.is_empty(),
            below: count_below(spec),
            children: nodes(&spec.children, &place, marks),
            kind: spec.kind.clone(),
            place,
        }
    };
    specs.iter().enumerate().map(node).collect()
}

fn count_below(spec: &ResourceSpec) -> usize {
    spec.children.iter().map(|child| 1 + count_below(child)).sum()
}

/// The tree with places for names: the order of starting depends on the types alone.
fn stand_ins(specs: &[ResourceSpec], above: &str) -> Vec<Resource> {
    let stand_in = |(index, spec): (usize, &ResourceSpec)| {
        let place = place(above, index);
        Resource {
            kind: spec.kind.clone(),
            attributes: BTreeMap::new(),
            isolation: Isolation::default(),
            actions: Vec::new(),
            children: stand_ins(&spec.children, &place),
            name: ResourceName(place),
        }
    };
    specs.iter().enumerate().map(stand_in).collect()
}

fn number(parent_kind: &str, children: &[Resource], order: &mut BTreeMap<String, usize>) {
    for child in child_start_order(parent_kind, children) {
        order.insert(child.name.0.clone(), order.len() + 1);
        number(&child.kind, &child.children, order);
    }
}

/// The name of a resource in a tree.
pub fn spec_name(spec: &ResourceSpec) -> String {
    tree::name(spec).unwrap_or("without a name").to_owned()
}

/// The most telling attributes, secrets left out.
fn detail(spec: &ResourceSpec) -> String {
    let name = spec_name(spec);
    let told_already = |key: &str| key == "name" || spec.kind == "ocf" && matches!(key, "provider" | "type");
    let shown = spec.attributes.iter().filter(|(key, value)| {
        !key.starts_with("__") && !is_secret(key) && **value != name && !told_already(key.as_str())
    });
    shown.take(3).map(|(key, value)| format!("{key} {value}")).collect::<Vec<_>>().join(", ")
}

#[derive(Debug, Template)]
#[template(path = "resources.html")]
pub struct ResourcesPage {
    pub shell: Shell,
    pub head: HeadPanel,
    pub resources: Vec<ThingLine>,
}

/// What to add: a shared resource, a type of RHEL, or any agent of the nodes.
#[derive(Debug, Template)]
#[template(path = "resource_kinds.html")]
pub struct KindsPage {
    pub shell: Shell,
    pub head: HeadPanel,
    pub heading: String,
    /// What was searched for.
    pub query: String,
    pub kinds: Vec<KindChoice>,
    pub agents: Vec<AgentChoice>,
    /// How many agents there are without the search.
    pub agents_all: usize,
    /// Address of this page.
    pub to: String,
    pub back: String,
    /// Shared resources that can be used instead: `kind:name`, text.
    pub shared: Vec<(String, String)>,
    /// Place of the parent; `None`: it is to be shared.
    pub parent: Option<String>,
    /// The place among the children of the parent; `None`: behind them all.
    pub at: Option<usize>,
    /// What stands at that place.
    pub expected: String,
    pub base: String,
}

impl KindsPage {
    /// Address of the form of a type.
    pub fn kind_address(&self, kind: &str) -> String {
        format!("{}?{}kind={kind}", self.to, self.parent_query())
    }

    /// Address of the form of an agent.
    pub fn agent_address(&self, agent: &str) -> String {
        format!("{}?{}kind=ocf&agent={}", self.to, self.parent_query(), address_part(agent))
    }

    fn parent_query(&self) -> String {
        let parent = self.parent.iter().map(|parent| format!("parent={parent}&"));
        parent.chain(self.at.iter().map(|at| format!("at={at}&"))).collect()
    }
}

/// What an agent said when it was asked.
#[derive(Debug)]
pub struct CheckedPanel {
    pub badge: Badge,
    pub agent: String,
    pub node: String,
    /// What its answer means.
    pub meaning: String,
    pub output: String,
    pub duration_ms: u64,
}

impl CheckedPanel {
    pub fn new(word: &AgentWord) -> Self {
        let (badge, meaning) = match &word.said {
            None => (Badge { kind: Kind::Off, word: "not checked" }, "it offers no check of its own".to_owned()),
            Some(said) => match said.code {
                Some(0) => (Badge { kind: Kind::Ok, word: "fine" }, "it finds nothing wrong".to_owned()),
                Some(code) => {
                    (Badge { kind: Kind::Bad, word: "refused" }, format!("it answered {code}: {}", ocf_meaning(code)))
                }
                None => (Badge { kind: Kind::Unknown, word: "no answer" }, "it did not answer in time".to_owned()),
            },
        };
        Self {
            badge,
            agent: word.agent.clone(),
            node: word.node.to_string(),
            meaning,
            output: word.said.as_ref().map(|said| said.output.trim().to_owned()).unwrap_or_default(),
            duration_ms: word.said.as_ref().map_or(0, |said| said.duration_ms),
        }
    }
}

#[derive(Debug, Template)]
#[template(path = "resource.html")]
pub struct ResourcePage {
    pub shell: Shell,
    pub head: HeadPanel,
    pub heading: String,
    pub action: String,
    pub button: String,
    pub back: String,
    pub kind: String,
    pub title: String,
    /// The agent that runs it.
    pub agent: Option<String>,
    /// What the agent says of itself.
    pub about: Words,
    /// There is an agent, and no node has told what it takes.
    pub by_hand: bool,
    /// Nodes that were asked and do not have the agent.
    pub missing_on: Vec<String>,
    pub form: AttributeForm,
    /// Attributes that the form sends and does not show.
    pub hidden: Vec<(String, String)>,
    /// It uses this shared resource, which has the settings: name, address.
    pub reference: Option<(String, String)>,
    /// Fault isolation; only in a service's tree.
    pub isolation: Vec<Field>,
    pub actions: Vec<ActionRow>,
    /// Place of the parent for a new resource in a tree.
    pub parent: Option<String>,
    /// What stands at the place that the form is about, or at its parent's.
    pub expected: String,
    /// Where it can be deleted.
    pub delete: Option<String>,
    pub used_by: Vec<String>,
    pub note: Option<&'static str>,
    /// What the agent said, if it was asked.
    pub checked: Option<CheckedPanel>,
    pub base: String,
    pub errors: FormErrors,
}

impl ResourcePage {
    /// Whether the agent can be asked about it.
    pub fn can_check(&self) -> bool {
        self.agent.is_some() && self.reference.is_none()
    }

    /// Whether something is set that has to do with fault isolation.
    pub fn isolates(&self) -> bool {
        self.isolation.iter().any(|field| !field.value.is_empty())
    }

    /// Whether there are attributes without a field of their own.
    pub fn has_extras(&self) -> bool {
        self.form.extras.iter().any(|extra| extra.fixed)
    }

    /// Whether what is entered becomes a step of a draft, whoever has one or not.
    pub fn draft_follows(&self) -> bool {
        !self.isolation.is_empty() || !self.used_by.is_empty()
    }

    /// Whether a field that was just sent holds a secret, which is not sent back.
    pub fn asks_secrets_again(&self) -> bool {
        self.checked.is_some() && self.form.all().any(Field::is_secret)
    }
}

/// Whether a type can be looked for by these words.
pub fn kind_matches(kind: &KindChoice, query: &str) -> bool {
    let runs = mapping::kind(kind.kind).and_then(|row| match row.runs {
        shared::agents::kinds::Runs::Ocf { agent, .. } => Some(agent),
        _ => None,
    });
    let said = crate::language::plain_told(kind.title);
    matches(query, &[kind.kind, kind.title, &said, runs.unwrap_or_default()])
}

/// Whether an agent can be looked for by these words.
pub fn agent_matches(agent: &AgentChoice, query: &str) -> bool {
    matches(query, &[&agent.name, &agent.short])
}

/// Every word stands in one of the texts.
fn matches(query: &str, texts: &[&str]) -> bool {
    let texts: Vec<String> = texts.iter().map(|text| text.to_lowercase()).collect();
    query.to_lowercase().split_whitespace().all(|word| texts.iter().any(|text| text.contains(word)))
}

/// What becomes of the children of a resource that is taken out.
#[derive(Debug, Template)]
#[template(path = "remove_resource.html")]
pub struct RemovePage {
    pub shell: Shell,
    pub head: HeadPanel,
    pub heading: String,
    pub name: String,
    pub shared: bool,
    /// What stands below it.
    pub children: Vec<String>,
    pub action: String,
    pub back: String,
    pub expected: String,
    pub base: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(kind: &str, name: &str, children: Vec<ResourceSpec>) -> ResourceSpec {
        let attributes = [("name".to_owned(), name.to_owned())].into();
        ResourceSpec { kind: kind.into(), reference: None, attributes, actions: Vec::new(), children }
    }

    #[test]
    fn the_numbers_say_what_starts_when_whatever_the_order_in_the_file() {
        // A script starts after the file systems (rhcs.md §5.3), though it stands first.
        let tree = resource_nodes(
            &[
                spec("script", "httpd", vec![]),
                spec("fs", "data", vec![spec("ip", "web", vec![])]),
                spec("apache", "site", vec![]),
            ],
            &States::default(),
        );
        let numbers: Vec<(&str, usize)> = tree.iter().map(|node| (node.name.as_str(), node.order)).collect();
        assert_eq!(numbers, [("httpd", 3), ("data", 1), ("site", 4)]);
        assert_eq!((tree[1].children[0].order, tree[1].below, tree[1].children[0].nested), (2, 1, true));
    }

    #[test]
    fn agents_are_found_by_every_word_in_name_or_description() {
        let agent = AgentChoice {
            name: "ocf:heartbeat:nginx".into(),
            short: "Manages an Nginx web server".into(),
            missing_on: Vec::new(),
            problem: None,
        };
        for (query, found) in [("", true), ("NGINX", true), ("web server", true), ("web mail", false)] {
            assert_eq!(agent_matches(&agent, query), found, "{query}");
        }
        let ip = KindChoice { kind: "ip", title: "IP Address" };
        assert!(kind_matches(&ip, "ipaddr2") && kind_matches(&ip, "address") && !kind_matches(&ip, "mount"));
    }
}
