//! Forms and lists of the configuration: fence devices, failover domains, services, versions.

use askama::Template;
use shared::conf::edit::Attributes;
use shared::conf::model::{Conf, Service};

use super::cluster::HeadPanel;
use super::fence_key::FenceKeyView;
use super::fencing::MethodLine;
use super::fields::{AttributeForm, FenceAgent};
use super::foresight::{DomainPreview, LossLine, Supposed};
use super::manage::FormErrors;
use super::{Shell, time};
use crate::app::agents::AgentChoice;
use crate::language::filters;
use crate::repo::confs::{Origin, StoredConf};

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
    /// What another form says otherwise, as attributes. The values that are stored stay in this one, so that sending it again
    /// undoes nothing that somebody else has changed meanwhile.
    pub fn differing(&self, other: &Self) -> Vec<(&'static str, String)> {
        let flag = |set: bool| if set { "1" } else { "0" }.to_owned();
        let rows = [
            ("autostart", flag(self.autostart), flag(other.autostart)),
            ("exclusive", flag(self.exclusive), flag(other.exclusive)),
            ("domain", self.domain.clone(), other.domain.clone()),
            ("recovery", self.recovery.clone(), other.recovery.clone()),
            ("max_restarts", self.max_restarts.clone(), other.max_restarts.clone()),
            ("restart_expire_time", self.restart_expire_time.clone(), other.restart_expire_time.clone()),
            ("depend", self.depend.clone(), other.depend.clone()),
        ];
        rows.into_iter().filter(|(_, own, theirs)| own != theirs).map(|(name, _, theirs)| (name, theirs)).collect()
    }

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
    /// How many secrets stand in the configuration itself.
    pub plain: usize,
    /// Every fence method, and what is known of its working.
    pub methods: Vec<MethodLine>,
    /// Nodes, and the secrets that they lack.
    pub lacking: Vec<(String, String)>,
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
    /// What the agent says of itself.
    pub about: String,
    /// Of fence_xvm: its key on the nodes, and what the host needs.
    pub key: Option<FenceKeyView>,
    /// No node has told the agent's parameters; the form knows the common ones only.
    pub by_hand: bool,
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
    /// The common ones, with the words people know.
    pub agents: &'static [FenceAgent],
    /// All that the nodes have.
    pub installed: Vec<AgentChoice>,
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
pub(super) fn address_part(name: &str) -> String {
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
    /// It is listed, and has left the cluster.
    pub gone: bool,
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
    /// Where its services go as nodes fail, with the form as it stands.
    pub preview: DomainPreview,
    /// Where its services would be after one or two nodes failed.
    pub losses: Vec<LossLine>,
    /// What should be thought of before it is needed.
    pub notes: Vec<String>,
    /// Nodes that can be thought away.
    pub members: Vec<String>,
    /// What would come of the form as it stands, or of the loss of a node.
    pub supposed: Option<Supposed>,
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

#[derive(Debug, Template)]
#[template(path = "configure.html")]
pub struct ConfigurePage {
    pub shell: Shell,
    pub head: HeadPanel,
    pub cluster: String,
    pub versions: Vec<VersionLine>,
    pub findings: Vec<FindingLine>,
    pub base: String,
}

impl ConfigurePage {
    fn pages(&self) -> &'static [(&'static str, &'static str)] {
        super::settings::PAGES
    }
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

impl TextPage {
    /// The style of the box of findings: a note alone is no alarm.
    fn worst(&self) -> &'static str {
        self.findings.iter().map(|finding| finding.badge.kind).max().map_or("", super::badge::Kind::class)
    }
}
