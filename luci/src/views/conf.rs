//! Forms and lists of the configuration: fence devices, failover domains, resources, services, versions.

use askama::Template;
use shared::agents::mapping;
use shared::conf::edit::{Attributes, ResourceSpec};
use shared::conf::model::{Conf, Service};

use super::cluster::HeadPanel;
use super::fields::{AttributeForm, FenceAgent, Field, KindChoice, Known, Widget, field, kind_title};
use super::manage::FormErrors;
use super::{Shell, time};
use crate::repo::confs::{Origin, StoredConf};
use crate::secrets::is_secret;

/// Fields of a service.
#[derive(Debug, Clone)]
pub struct ServiceForm {
    pub name: String,
    pub autostart: bool,
    pub exclusive: bool,
    pub domain: String,
    pub recovery: String,
    pub max_restarts: String,
    pub restart_expire_time: String,
    pub depend: String,
    /// Names of the failover domains.
    pub domains: Vec<String>,
    /// Other services.
    pub others: Vec<String>,
}

/// Recovery policies: value, words.
pub const RECOVERIES: &[(&str, &str)] =
    &[("relocate", "Relocate"), ("restart", "Restart"), ("restart-disable", "Restart-Disable"), ("disable", "Disable")];

impl ServiceForm {
    /// For a new service.
    pub fn empty(conf: &Conf) -> Self {
        Self {
            name: String::new(),
            autostart: true,
            exclusive: false,
            domain: String::new(),
            recovery: "relocate".into(),
            max_restarts: String::new(),
            restart_expire_time: String::new(),
            depend: String::new(),
            domains: conf.domains.iter().map(|domain| domain.name.to_string()).collect(),
            others: conf.services.iter().map(|service| service.name.to_string()).collect(),
        }
    }

    /// As the service stands in the configuration.
    pub fn of(service: &Service, attributes: &Attributes, conf: &Conf) -> Self {
        let text = |name: &str| attributes.get(name).cloned().unwrap_or_default();
        let mut form = Self::empty(conf);
        form.others.retain(|other| *other != service.name.0);
        Self {
            name: service.name.bare().to_owned(),
            autostart: service.autostart,
            exclusive: service.exclusive > 0,
            domain: service.domain.as_ref().map_or_else(String::new, ToString::to_string),
            recovery: super::service::recovery_word(service.recovery).into(),
            max_restarts: text("max_restarts"),
            restart_expire_time: text("restart_expire_time"),
            depend: text("depend"),
            ..form
        }
    }

    pub fn is_other(&self, name: &str) -> bool {
        self.depend == name
    }

    pub fn recoveries(&self) -> Vec<(&'static str, &'static str, bool)> {
        RECOVERIES.iter().map(|(value, text)| (*value, *text, *value == self.recovery)).collect()
    }
}

/// A resource in a service's tree, as it is edited.
#[derive(Debug, Clone)]
pub struct ResourceNode {
    /// Where in the tree: `0`, `0.1`, ….
    pub place: String,
    pub kind: String,
    pub title: String,
    pub name: String,
    pub shared: bool,
    pub note: &'static str,
    pub detail: String,
    pub first: bool,
    pub last: bool,
    /// The children, drawn already: a template cannot draw itself.
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
    /// The level below.
    pub fn below<'b>(&'b self, node: &'b ResourceNode) -> ResourceTree<'b> {
        ResourceTree { nodes: &node.children, ..*self }
    }
}

/// The tree of a service for the page.
pub fn resource_nodes(specs: &[ResourceSpec], above: &str) -> Vec<ResourceNode> {
    let count = specs.len();
    specs
        .iter()
        .enumerate()
        .map(|(index, spec)| {
            let place = if above.is_empty() { index.to_string() } else { format!("{above}.{index}") };
            ResourceNode {
                title: kind_title(&spec.kind),
                name: spec_name(spec),
                shared: spec.reference.is_some(),
                note: match spec.attributes.get("__independent_subtree").map(String::as_str) {
                    Some("1") => "independent subtree",
                    Some("2") => "non-critical",
                    _ => "",
                },
                detail: detail(spec),
                first: index == 0,
                last: index + 1 == count,
                children: resource_nodes(&spec.children, &place),
                kind: spec.kind.clone(),
                place,
            }
        })
        .collect()
}

/// The name of a resource in a tree.
pub fn spec_name(spec: &ResourceSpec) -> String {
    if let Some(reference) = &spec.reference {
        return reference.clone();
    }
    mapping::primary_value(&spec.kind, |name| spec.attributes.get(name).map(String::as_str))
        .unwrap_or("without a name")
        .to_owned()
}

/// The most telling attributes, secrets left out.
fn detail(spec: &ResourceSpec) -> String {
    let name = spec_name(spec);
    let shown = spec
        .attributes
        .iter()
        .filter(|(key, value)| !key.starts_with("__") && !is_secret(key) && **value != name && key.as_str() != "name");
    shown.take(3).map(|(key, value)| format!("{key} {value}")).collect::<Vec<_>>().join(", ")
}

/// A row of a list of things with a name, a type and users.
#[derive(Debug, Clone)]
pub struct ThingLine {
    pub name: String,
    pub kind: String,
    pub title: String,
    pub detail: String,
    pub used_by: Vec<String>,
}

#[derive(Debug, Template)]
#[template(path = "fence_devices.html")]
pub struct FenceDevicesPage {
    pub shell: Shell,
    pub head: HeadPanel,
    pub devices: Vec<ThingLine>,
    /// Nodes that nothing can fence.
    pub unprotected: Vec<String>,
}

#[derive(Debug, Template)]
#[template(path = "fence_device.html")]
pub struct FenceDevicePage {
    pub shell: Shell,
    pub head: HeadPanel,
    pub cluster: String,
    /// `None`: a new one.
    pub existing: Option<String>,
    pub name: String,
    pub agent: String,
    pub agent_title: String,
    pub form: AttributeForm,
    pub used_by: Vec<String>,
    pub base: String,
    pub errors: FormErrors,
}

impl FenceDevicePage {
    /// Where the existing one is deleted.
    pub fn delete_action(&self) -> String {
        let name = self.existing.as_deref().unwrap_or_default();
        format!("/clusters/{}/fence-devices/{}/delete", address_part(&self.cluster), address_part(name))
    }
}

#[derive(Debug, Template)]
#[template(path = "fence_agents.html")]
pub struct FenceAgentsPage {
    pub shell: Shell,
    pub head: HeadPanel,
    pub agents: &'static [FenceAgent],
}

#[derive(Debug, Template)]
#[template(path = "domains.html")]
pub struct DomainsPage {
    pub shell: Shell,
    pub head: HeadPanel,
    pub domains: Vec<DomainLine>,
}

#[derive(Debug, Clone)]
pub struct DomainLine {
    pub name: String,
    pub flags: Vec<&'static str>,
    pub nodes: Vec<String>,
    pub used_by: Vec<String>,
}

/// A name as one part of an address.
fn address_part(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// A node in the form of a failover domain.
#[derive(Debug, Clone)]
pub struct DomainNode {
    pub name: String,
    pub member: bool,
    pub priority: String,
}

#[derive(Debug, Template)]
#[template(path = "domain.html")]
pub struct DomainPage {
    pub shell: Shell,
    pub head: HeadPanel,
    pub cluster: String,
    pub existing: Option<String>,
    pub name: String,
    pub ordered: bool,
    pub restricted: bool,
    pub nofailback: bool,
    pub nodes: Vec<DomainNode>,
    pub used_by: Vec<String>,
    pub base: String,
    pub errors: FormErrors,
}

impl DomainPage {
    /// Where the existing one is deleted.
    pub fn delete_action(&self) -> String {
        let name = self.existing.as_deref().unwrap_or_default();
        format!("/clusters/{}/failover-domains/{}/delete", address_part(&self.cluster), address_part(name))
    }
}

#[derive(Debug, Template)]
#[template(path = "resources.html")]
pub struct ResourcesPage {
    pub shell: Shell,
    pub head: HeadPanel,
    pub resources: Vec<ThingLine>,
}

/// Choice of a kind for something new.
#[derive(Debug, Template)]
#[template(path = "resource_kinds.html")]
pub struct KindsPage {
    pub shell: Shell,
    pub head: HeadPanel,
    pub heading: String,
    pub kinds: Vec<KindChoice>,
    /// Address up to the kind, ending in `kind=`.
    pub to: String,
    pub back: String,
    /// Shared resources that can be used instead: `kind:name`, text.
    pub shared: Vec<(String, String)>,
    /// Where the form that uses a shared one goes, and its hidden parent.
    pub action: String,
    pub parent: String,
    pub base: String,
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
    pub form: AttributeForm,
    /// Fault isolation; only in a service's tree.
    pub isolation: Vec<Field>,
    /// Place of the parent for a new resource in a tree.
    pub parent: Option<String>,
    /// Where it can be deleted.
    pub delete: Option<String>,
    pub used_by: Vec<String>,
    pub note: Option<&'static str>,
    pub base: String,
    pub errors: FormErrors,
}

/// A version in the list.
#[derive(Debug, Clone)]
pub struct VersionLine {
    pub version: String,
    pub at: String,
    pub author: String,
    pub message: String,
    pub origin: &'static str,
    pub current: bool,
    pub pending: bool,
}

impl VersionLine {
    pub fn new(conf: &StoredConf, current: bool) -> Self {
        Self {
            version: conf.version.to_string(),
            at: time(conf.at),
            author: conf.author.clone().unwrap_or_else(|| "–".into()),
            message: conf.message.clone(),
            origin: match conf.origin {
                Origin::Luci => "luci",
                Origin::Node => "changed on a node",
            },
            current,
            pending: !conf.accepted,
        }
    }
}

/// A group of fields on the Configure page.
#[derive(Debug, Clone)]
pub struct SectionForm {
    pub id: &'static str,
    pub title: &'static str,
    pub fields: Vec<Field>,
    pub note: &'static str,
}

impl SectionForm {
    /// The fields, borrowed for the template.
    pub fn list(&self) -> &[Field] {
        &self.fields
    }
}

/// Fields of the sections; attribute, label, help, placeholder, widget.
const FENCE_DAEMON: &[Known] = &[
    ("post_fail_delay", "Post Fail Delay (seconds)", "Wait before a failed member is fenced.", "0", Widget::Number),
    (
        "post_join_delay",
        "Post Join Delay (seconds)",
        "Wait at start before a node that never showed up is fenced.",
        "6",
        Widget::Number,
    ),
    ("clean_start", "Clean Start", "Believe that absent nodes are down at start. Dangerous.", "", Widget::Switch),
    (
        "skip_undefined",
        "Skip Undefined",
        "Do not wait for nodes without a fence method at start. Dangerous.",
        "",
        Widget::Switch,
    ),
    (
        "override_time",
        "Pause Between Rounds (seconds)",
        "After all methods failed, before the first is tried again.",
        "3",
        Widget::Number,
    ),
];
const TOTEM: &[Known] = &[
    ("token", "Token Timeout (milliseconds)", "A node that is silent for so long is lost.", "10000", Widget::Number),
    ("consensus", "Consensus (milliseconds)", "Empty: 1.2 times the token timeout.", "", Widget::Number),
    ("join", "Join (milliseconds)", "", "60", Widget::Number),
    ("token_retransmits_before_loss_const", "Token Retransmits Before Loss", "", "20", Widget::Number),
];
const CMAN: &[Known] = &[
    ("expected_votes", "Expected Votes", "Empty: the sum of the nodes' votes.", "", Widget::Number),
    ("two_node", "Two-node Mode", "Exactly two nodes: one vote is enough, fencing decides.", "", Widget::Switch),
    ("port", "UDP Port", "Of the first link.", "5405", Widget::Number),
];

/// The sections of the Configure page with their values.
pub fn sections(attributes: impl Fn(&str) -> Attributes) -> Vec<SectionForm> {
    let fields = |known: &[Known], element: &str| {
        let values = attributes(element);
        known.iter().map(|row| field(known, row.0, &values, false)).collect()
    };
    vec![
        SectionForm {
            id: "fence_daemon",
            title: "Fence Daemon",
            fields: fields(FENCE_DAEMON, "fence_daemon"),
            note: "",
        },
        SectionForm {
            id: "totem",
            title: "Network (totem)",
            fields: fields(TOTEM, "totem"),
            note: "Longer timeouts tolerate more, and make every failover slower by as much.",
        },
        SectionForm { id: "cman", title: "Quorum (cman)", fields: fields(CMAN, "cman"), note: "" },
    ]
}

#[derive(Debug, Template)]
#[template(path = "configure.html")]
pub struct ConfigurePage {
    pub shell: Shell,
    pub head: HeadPanel,
    pub cluster: String,
    pub sections: Vec<SectionForm>,
    pub versions: Vec<VersionLine>,
    pub findings: Vec<FindingLine>,
    pub base: String,
    pub errors: FormErrors,
}

/// A finding, for people.
#[derive(Debug, Clone)]
pub struct FindingLine {
    pub badge: super::badge::Badge,
    pub place: String,
    pub text: String,
    pub hint: String,
}

impl FindingLine {
    pub fn new(finding: &shared::conf::Finding) -> Self {
        use super::badge::{Badge, Kind};
        use shared::conf::Severity;
        let badge = match finding.severity {
            Severity::Error => Badge { kind: Kind::Bad, word: "error" },
            Severity::Warning => Badge { kind: Kind::Warn, word: "warning" },
            Severity::Info => Badge { kind: Kind::Off, word: "note" },
        };
        Self {
            badge,
            place: format!("line {}, {}", finding.place.line, finding.place.path),
            text: finding.text.clone(),
            hint: finding.hint.clone(),
        }
    }
}

/// A line of a difference.
#[derive(Debug, Clone)]
pub struct DiffRow {
    pub class: &'static str,
    pub text: String,
}

/// Two versions compared; one with itself is just shown.
#[derive(Debug, Template)]
#[template(path = "version.html")]
pub struct VersionPage {
    pub shell: Shell,
    pub head: HeadPanel,
    pub cluster: String,
    pub heading: String,
    pub from: String,
    pub to: VersionLine,
    pub words: Vec<String>,
    pub rows: Vec<DiffRow>,
    pub text: Option<String>,
    /// How far the version is on each node.
    pub rollout: super::drafts::RolloutPanel,
    pub base: String,
}

#[derive(Debug, Template)]
#[template(path = "text.html")]
pub struct TextPage {
    pub shell: Shell,
    pub head: HeadPanel,
    pub cluster: String,
    pub text: String,
    pub message: String,
    pub findings: Vec<FindingLine>,
    pub base: String,
    pub errors: FormErrors,
}
