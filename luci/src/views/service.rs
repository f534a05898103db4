//! Service groups: the list, and one service with its state, its tree of resources and the forms that change it.

use askama::Template;
use shared::conf::model::Conf;
use shared::ids::{NodeName, ServiceName};
use shared::status::{Membership, ServiceStatus};
use shared::text::ServiceState;

use super::badge::{self, Badge};
use super::cluster::{HeadPanel, RequestsPanel, owner_text, why};
use super::conf::ServiceForm;
use super::events::EventsPanel;
use super::fields::kind_title;
use super::manage::FormErrors;
use super::named::Named;
use super::offers::Offers;
use super::resources::{ResourceNode, ResourceTree};
use super::{Shell, time};
use crate::app::Who;
use crate::language::filters;
use crate::repo::users::Role;
use crate::watcher::Snapshot;

/// A row of the Service Groups page.
#[derive(Debug)]
pub struct ServiceLine {
    pub name: String,
    pub badge: Badge,
    pub was: Option<&'static str>,
    pub owner: Named,
    pub flags: Vec<&'static str>,
    pub why: String,
    pub autostart: &'static str,
    pub domain: Named,
    pub recovery: &'static str,
    pub resources: usize,
}

/// The list of services, as a part that is pushed.
#[derive(Debug, Template)]
#[template(path = "panels/services.html")]
pub struct ServicesPanel {
    pub cluster: String,
    pub services: Vec<ServiceLine>,
    pub operator: bool,
    pub administrator: bool,
}

impl ServicesPanel {
    pub fn new(cluster: &str, snapshot: &Snapshot, conf: Option<&Conf>, who: &Who) -> Self {
        let mut names: Vec<ServiceName> =
            conf.map(|conf| conf.services.iter().map(|service| service.name.clone()).collect()).unwrap_or_default();
        if let Some(status) = &snapshot.status {
            for service in &status.services {
                if !names.contains(&service.name) {
                    names.push(service.name.clone());
                }
            }
        }
        names.sort();
        let services = names.iter().map(|name| service_line(name, snapshot, conf)).collect();
        Self {
            cluster: cluster.to_owned(),
            services,
            operator: who.may(Role::Operator),
            administrator: who.may(Role::Administrator),
        }
    }
}

fn service_line(name: &ServiceName, snapshot: &Snapshot, conf: Option<&Conf>) -> ServiceLine {
    let live = snapshot.live().is_some();
    let status = snapshot.status.as_deref().and_then(|status| status.service(name));
    let configured = conf.and_then(|conf| conf.service(name));
    ServiceLine {
        name: name.to_string(),
        badge: match status {
            Some(status) if live => badge::service(status.state),
            _ => badge::UNKNOWN,
        },
        was: status.filter(|_| !live).map(|status| status.state.name()),
        owner: status.map_or(Named::Word("unknown"), owner_text),
        flags: status.map(flags).unwrap_or_default(),
        why: status.map_or_else(|| "the cluster has not told of it yet".into(), why),
        autostart: match configured {
            Some(service) if service.autostart => "yes",
            Some(_) => "no",
            None => "–",
        },
        domain: configured
            .and_then(|s| s.domain.as_ref())
            .map_or(Named::Word("none"), |domain| Named::Name(domain.to_string())),
        recovery: configured.map_or("–", |service| recovery_word(service.recovery)),
        resources: configured.map_or(0, |service| count(&service.tree)),
    }
}

fn count(tree: &[shared::conf::model::Resource]) -> usize {
    tree.iter().map(|resource| 1 + count(&resource.children)).sum()
}

/// The word of a recovery policy, as in cluster.conf.
pub fn recovery_word(recovery: shared::conf::model::Recovery) -> &'static str {
    use shared::conf::model::Recovery;
    match recovery {
        Recovery::Restart => "restart",
        Recovery::Relocate => "relocate",
        Recovery::Disable => "disable",
        Recovery::RestartDisable => "restart-disable",
    }
}

fn flags(status: &ServiceStatus) -> Vec<&'static str> {
    [(status.frozen, "frozen"), (status.partial, "partial")]
        .into_iter()
        .filter_map(|(set, word)| set.then_some(word))
        .collect()
}

/// A resource of a running service.
#[derive(Debug)]
pub struct ResourceLine {
    pub name: String,
    pub depth: u32,
    pub badge: Badge,
    pub at: String,
}

/// The part of a service's page that changes: state, reason, failure, resources, buttons.
#[derive(Debug, Template)]
#[template(path = "panels/service.html")]
pub struct ServicePanel {
    pub cluster: String,
    pub name: String,
    pub badge: Badge,
    pub was: Option<&'static str>,
    pub flags: Vec<&'static str>,
    pub owner: Named,
    pub why: String,
    pub since: String,
    pub restarts: u32,
    pub request: Option<String>,
    pub failure: Option<(String, String)>,
    pub resources: Vec<ResourceLine>,
    /// Whether a member tells of the service now.
    pub known: bool,
    /// Members to which it can be started or relocated.
    pub targets: Vec<NodeName>,
    pub frozen: bool,
    pub runs: bool,
    pub failed: bool,
    pub is_vm: bool,
    /// Why single buttons cannot be pressed.
    pub offers: Offers,
    /// Whether buttons can do anything now; if not, why.
    pub blocked: Option<String>,
    pub csrf: String,
    pub requests: RequestsPanel,
}

impl ServicePanel {
    pub fn new(cluster: &str, name: &ServiceName, snapshot: &Snapshot, requests: RequestsPanel, who: &Who) -> Self {
        let live = snapshot.live();
        let status = snapshot.status.as_deref().and_then(|status| status.service(name));
        let targets = live.map_or_else(Vec::new, |live| {
            let member = |node: &&shared::status::NodeStatus| node.member == Membership::Member;
            live.nodes.iter().filter(member).map(|node| node.name.clone()).collect()
        });
        let blocked = if !who.may(Role::Operator) {
            Some("your account may only look".to_owned())
        } else if live.is_none() {
            Some("no member of the cluster answers, so nothing can be asked of it".to_owned())
        } else if status.is_none() {
            Some("the cluster does not know this service yet".to_owned())
        } else {
            None
        };
        Self {
            cluster: cluster.to_owned(),
            name: name.to_string(),
            badge: status.filter(|_| live.is_some()).map_or(badge::UNKNOWN, |status| badge::service(status.state)),
            was: status.filter(|_| live.is_none()).map(|status| status.state.name()),
            flags: status.map(flags).unwrap_or_default(),
            owner: status.map_or(Named::Word("unknown"), owner_text),
            why: status.map_or_else(|| "the cluster has not told of it yet".into(), why),
            since: status
                .and_then(|status| status.last_transition)
                .map_or_else(|| "never changed".into(), |at| time(i64::try_from(at.0).unwrap_or(0))),
            restarts: status.map_or(0, |status| status.restarts),
            request: status
                .and_then(|status| status.request.as_ref())
                .map(|request| format!("{} asked by {}", request.command.verb(), request.origin)),
            failure: status.and_then(|status| status.failure.as_ref()).map(|failure| {
                let at = time(i64::try_from(failure.at.0).unwrap_or(0));
                (format!("{at}: {} on {}", failure.text(), failure.node), failure.output.trim().to_owned())
            }),
            resources: status.map(resource_lines).unwrap_or_default(),
            known: live.is_some() && status.is_some(),
            targets,
            frozen: status.is_some_and(|status| status.frozen),
            runs: status.is_some_and(|status| status.owner.is_some()),
            failed: status.is_some_and(|status| status.state == ServiceState::Failed),
            offers: live.and_then(|live| Some(Offers::of(live.service(name)?, live))).unwrap_or_default(),
            is_vm: name.as_str().starts_with("vm:"),
            blocked,
            csrf: who.csrf().to_owned(),
            requests,
        }
    }
}

impl ServicePanel {
    /// The buttons that cannot be pressed, each with its reason.
    pub fn withheld(&self) -> Vec<(&'static str, &str)> {
        let place = if self.runs { ("Relocate", &self.offers.relocate) } else { ("Start", &self.offers.start) };
        let freeze = if self.frozen { ("Unfreeze", &self.offers.unfreeze) } else { ("Freeze", &self.offers.freeze) };
        let all = [
            place,
            ("Restart", &self.offers.restart),
            ("Stop", &self.offers.stop),
            ("Disable", &self.offers.disable),
            freeze,
            ("Convalesce", &self.offers.convalesce),
        ];
        all.into_iter().filter_map(|(button, why)| Some((button, why.as_deref()?))).collect()
    }
}

fn resource_lines(status: &ServiceStatus) -> Vec<ResourceLine> {
    status
        .resources
        .iter()
        .map(|resource| ResourceLine {
            name: resource.name.to_string(),
            depth: resource.depth,
            badge: badge::resource(resource.state),
            at: time(i64::try_from(resource.at.0).unwrap_or(0)),
        })
        .collect()
}

#[derive(Debug, Template)]
#[template(path = "services.html")]
pub struct ServicesPage {
    pub shell: Shell,
    pub head: HeadPanel,
    pub services: ServicesPanel,
}

#[derive(Debug, Template)]
#[template(path = "service.html")]
pub struct ServicePage {
    pub shell: Shell,
    pub head: HeadPanel,
    pub service: ServicePanel,
    pub events: EventsPanel,
    pub name: String,
    /// Address of this page.
    pub root: String,
    /// `None`: the configuration does not have it.
    pub form: Option<ServiceForm>,
    pub tree: Vec<ResourceNode>,
    /// What the reader had entered and is not written: attribute and value.
    pub entered: Vec<(&'static str, String)>,
    pub base: String,
    pub errors: FormErrors,
}

/// What most services need before anything else.
const BEGINNINGS: [&str; 5] = ["ip", "lvm", "fs", "netfs", "script"];

impl ServicePage {
    /// Types to begin a tree with, and their titles.
    pub fn beginnings(&self) -> Vec<(&'static str, String)> {
        BEGINNINGS.into_iter().map(|kind| (kind, kind_title(kind))).collect()
    }

    /// The top of the tree of resources.
    pub fn tree_root(&self) -> ResourceTree<'_> {
        ResourceTree {
            nodes: &self.tree,
            root: &self.root,
            csrf: self.shell.who.csrf(),
            base: &self.base,
            administrator: self.shell.administrator(),
        }
    }
}

#[derive(Debug, Template)]
#[template(path = "service_new.html")]
pub struct NewServicePage {
    pub shell: Shell,
    pub head: HeadPanel,
    pub cluster: String,
    pub form: ServiceForm,
    /// Shared resources: reference (`kind:name`) and text.
    pub shared: Vec<(String, String)>,
    /// The chosen ones, in order; empty for a free place.
    pub chosen: Vec<String>,
    pub base: String,
    pub errors: FormErrors,
}
