//! Document → typed view: references resolved, inherited attributes and defaults filled in (rhcs.md §3.5, §4.1, §5.2, §6.3).
//!
//! Called by `load`, and through it by everybody. What cannot be read as the type it must have is a finding here; what
//! contradicts something else is found by `check`. Never stops at the first fault, never changes the document.

use std::collections::BTreeMap;

use super::document::{Document, ElementId};
use super::duration::{atoi, parse_duration_ms};
use super::finding::{Finding, Place, Severity};
use super::logging::PRIORITIES;
use super::model::{
    ActionOverride, Cman, Conf, Domain, FenceDaemon, FenceDevice, FenceInstance, FenceMethod, GlobalResource,
    Isolation, LinkMode, LinkSettings, Node, Recovery, Resource, Rm, Service, Totem,
};
use crate::agents::fence_names::is_same_argument;
use crate::agents::kinds::Becomes;
use crate::agents::mapping::{self, is_true};
use crate::ids::{ConfVersion, DomainName, NodeId, NodeName, ResourceName, ServiceName};

/// A document read, with what the checks need to tell places.
#[derive(Debug, Clone)]
pub struct Reading {
    /// `None`: there is no `<cluster>`. With errors among the findings it lacks what could not be read.
    pub conf: Option<Conf>,
    pub findings: Vec<Finding>,
    /// Every resource of every service's tree, without its children.
    pub resources: Vec<LocatedResource>,
}

/// A resource of a tree and the element that it was read from.
#[derive(Debug, Clone)]
pub struct LocatedResource {
    pub element: ElementId,
    pub service: ServiceName,
    pub resource: Resource,
}

/// The typed view, and what could not be read.
pub fn read(document: &Document) -> (Option<Conf>, Vec<Finding>) {
    let reading = read_located(document);
    (reading.conf, reading.findings)
}

/// The typed view with the element of each resource.
pub fn read_located(document: &Document) -> Reading {
    let mut reader = Reader { document, findings: Vec::new(), resources: Vec::new(), definitions: BTreeMap::new() };
    let conf = if document.is_well_formed() { reader.read() } else { None };
    Reading { conf, findings: reader.findings, resources: reader.resources }
}

/// The definitions in `<rm><resources>` by type and primary value; the first of several with one name counts.
pub(super) fn definitions(document: &Document) -> BTreeMap<(String, String), ElementId> {
    let mut found = BTreeMap::new();
    for resources in document.select("/cluster/rm/resources") {
        for element in document.children(resources) {
            let kind = document.name(element);
            if let Some(primary) = mapping::primary_value(kind, |key| document.attribute(element, key)) {
                found.entry((kind.to_owned(), primary.to_owned())).or_insert(element);
            }
        }
    }
    found
}

pub(super) struct Reader<'d> {
    pub(super) document: &'d Document,
    findings: Vec<Finding>,
    resources: Vec<LocatedResource>,
    definitions: BTreeMap<(String, String), ElementId>,
}

/// A resource or service above the one being read, for inheritance.
struct Ancestor<'a> {
    kind: &'a str,
    attributes: &'a BTreeMap<String, String>,
    above: Option<&'a Ancestor<'a>>,
}

impl Reader<'_> {
    fn read(&mut self) -> Option<Conf> {
        let document = self.document;
        let root = document.root()?;
        if document.name(root) != "cluster" {
            let text = format!("the top element is <{}>, not <cluster>", document.name(root));
            self.report(
                "not-cluster-conf",
                Severity::Error,
                document.place(root),
                text,
                "check that this is a cluster.conf",
            );
            return None;
        }
        self.definitions = definitions(document);
        let fence_devices = self.read_fence_devices();
        let nodes = self.read_nodes(&fence_devices);
        let rm = self.read_rm();
        Some(Conf {
            name: document.attribute(root, "name").unwrap_or_default().to_owned(),
            version: ConfVersion(self.required_number(root, "config_version").unwrap_or(0)),
            cman: self.read_cman(),
            totem: self.read_totem(),
            fence_daemon: self.read_fence_daemon(),
            nodes,
            fence_devices,
            domains: self.read_domains(),
            resources: self.read_global_resources(),
            services: self.read_services(),
            rm,
            qdevice: self.read_qdevice(),
            logging: self.read_logging(),
        })
    }

    fn read_cman(&mut self) -> Cman {
        let Some(cman) = self.document.select("/cluster/cman").first().copied() else {
            return Cman { two_node: false, votes_expected: None, port: 5405, transport: None, wait_for_all: None };
        };
        let transport = match self.text(cman, "transport") {
            None if self.text(cman, "broadcast").is_some_and(is_true) => Some("udpb".to_owned()),
            transport => transport.map(str::to_owned),
        };
        Cman {
            two_node: self.switch(cman, "two_node"),
            votes_expected: self.number(cman, "expected_votes"),
            port: self.number(cman, "port").unwrap_or(5405),
            transport,
            wait_for_all: self.text(cman, "wait_for_all").is_some().then(|| self.switch(cman, "wait_for_all")),
        }
    }

    fn read_totem(&mut self) -> Totem {
        let Some(totem) = self.document.select("/cluster/totem").first().copied() else {
            return Totem {
                token_ms: 10_000,
                consensus_ms: None,
                join_ms: None,
                token_retransmits_before_loss: None,
                link_mode: LinkMode::default(),
                links: Vec::new(),
            };
        };
        Totem {
            token_ms: self.number(totem, "token").unwrap_or(10_000),
            consensus_ms: self.number(totem, "consensus"),
            join_ms: self.number(totem, "join"),
            token_retransmits_before_loss: self.number(totem, "token_retransmits_before_loss_const"),
            link_mode: match self.text(totem, "rrp_mode") {
                Some("active") => LinkMode::Active,
                Some("rr") => LinkMode::Rr,
                _ => LinkMode::Passive,
            },
            links: self.read_links(totem),
        }
    }

    fn read_links(&mut self, totem: ElementId) -> Vec<LinkSettings> {
        let interfaces: Vec<ElementId> = self.document.children_named(totem, "interface").collect();
        let mut links: Vec<LinkSettings> = Vec::new();
        for interface in interfaces {
            let number = self.number(interface, "ringnumber").unwrap_or(0);
            links.push(LinkSettings {
                number,
                port: self.number(interface, "mcastport"),
                priority: self.number(interface, "knet_link_priority"),
                ping_interval_ms: self.number(interface, "knet_ping_interval"),
                ping_timeout_ms: self.number(interface, "knet_ping_timeout"),
                pong_count: self.number(interface, "knet_pong_count"),
            });
        }
        links
    }

    fn read_fence_daemon(&mut self) -> FenceDaemon {
        let default = FenceDaemon {
            post_join_delay_s: Some(6),
            post_fail_delay_s: 0,
            clean_start: false,
            skip_undefined: false,
            override_time_s: 3,
            require_witness: false,
            witness_timeout_s: 600,
        };
        let Some(element) = self.document.select("/cluster/fence_daemon").first().copied() else { return default };
        let post_join_delay_s = match self.text(element, "post_join_delay") {
            Some("-1") => None,
            Some(_) => self.number(element, "post_join_delay").or(default.post_join_delay_s),
            None => default.post_join_delay_s,
        };
        FenceDaemon {
            post_join_delay_s,
            post_fail_delay_s: self.number(element, "post_fail_delay").unwrap_or(default.post_fail_delay_s),
            clean_start: self.switch(element, "clean_start"),
            skip_undefined: self.switch(element, "skip_undefined"),
            override_time_s: self.number(element, "override_time").unwrap_or(default.override_time_s),
            require_witness: self.switch(element, "require_witness"),
            witness_timeout_s: self.number(element, "witness_timeout").unwrap_or(default.witness_timeout_s),
        }
    }

    fn read_fence_devices(&mut self) -> Vec<FenceDevice> {
        let mut devices = Vec::new();
        for element in self.document.select("/cluster/fencedevices/fencedevice") {
            devices.push(FenceDevice {
                name: self.document.attribute(element, "name").unwrap_or_default().to_owned(),
                agent: self.document.attribute(element, "agent").unwrap_or_default().to_owned(),
                attributes: self.attributes_without(element, &["name", "agent"]),
            });
        }
        devices
    }

    fn read_nodes(&mut self, devices: &[FenceDevice]) -> Vec<Node> {
        let mut nodes = Vec::new();
        for element in self.document.select("/cluster/clusternodes/clusternode") {
            let name = NodeName::from(self.document.attribute(element, "name").unwrap_or_default());
            let methods = self.read_methods(element, &name, devices);
            let unfence = match self.document.child(element, "unfence") {
                Some(unfence) => self.read_instances(unfence, &name, devices),
                None => Vec::new(),
            };
            let altname = self.document.child(element, "altname").and_then(|altname| self.text(altname, "name"));
            let altname = altname.map(str::to_owned);
            let votes = self.number(element, "votes").unwrap_or(1);
            // A node without a number cannot take part; the finding refuses the version.
            let Some(id) = self.required_number(element, "nodeid") else { continue };
            nodes.push(Node { name, id: NodeId(id), votes, altname, methods, unfence });
        }
        nodes
    }

    fn read_methods(&mut self, node: ElementId, name: &NodeName, devices: &[FenceDevice]) -> Vec<FenceMethod> {
        let Some(fence) = self.document.child(node, "fence") else { return Vec::new() };
        let document = self.document;
        let methods = document.children_named(fence, "method").map(|method| FenceMethod {
            name: document.attribute(method, "name").unwrap_or_default().to_owned(),
            devices: self.read_instances(method, name, devices),
        });
        methods.collect()
    }

    fn read_instances(&self, parent: ElementId, victim: &NodeName, devices: &[FenceDevice]) -> Vec<FenceInstance> {
        let mut instances = Vec::new();
        for element in self.document.children_named(parent, "device") {
            let name = self.document.attribute(element, "name").unwrap_or_default();
            // An unknown device is an error finding; an instance without an agent must not come into being.
            let Some(device) = devices.iter().find(|device| device.name == name) else { continue };
            let mut arguments = self.attributes_without(element, &["name"]);
            if !arguments.iter().any(|(key, _)| key == "nodename") {
                arguments.push(("nodename".to_owned(), victim.0.clone()));
            }
            for (key, value) in &device.attributes {
                if !arguments.iter().any(|(given, _)| is_same_argument(given, key)) {
                    arguments.push((key.clone(), value.clone()));
                }
            }
            instances.push(FenceInstance { device: name.to_owned(), agent: device.agent.clone(), arguments });
        }
        instances
    }

    fn read_domains(&mut self) -> Vec<Domain> {
        let mut domains = Vec::new();
        for element in self.document.select("/cluster/rm/failoverdomains/failoverdomain") {
            let ordered = self.switch(element, "ordered");
            let mut nodes = Vec::new();
            for node in self.document.children_named(element, "failoverdomainnode") {
                let name = NodeName::from(self.document.attribute(node, "name").unwrap_or_default());
                let priority = self.document.attribute(node, "priority").map_or(0, atoi);
                let priority = if ordered && (1..=100).contains(&priority) { priority } else { 0 };
                nodes.push((name, u32::try_from(priority).unwrap_or(0)));
            }
            domains.push(Domain {
                name: DomainName::from(self.document.attribute(element, "name").unwrap_or_default()),
                ordered,
                restricted: self.switch(element, "restricted"),
                nofailback: self.switch(element, "nofailback"),
                nodes,
            });
        }
        domains
    }

    fn read_global_resources(&mut self) -> Vec<GlobalResource> {
        let mut found = Vec::new();
        for resources in self.document.select("/cluster/rm/resources") {
            for element in self.document.children(resources) {
                let kind = self.document.name(element);
                let name = mapping::primary_value(kind, |key| self.document.attribute(element, key));
                found.push(GlobalResource {
                    kind: kind.to_owned(),
                    name: name.unwrap_or_default().to_owned(),
                    attributes: self.document.attributes(element).to_vec(),
                });
            }
        }
        found
    }

    fn read_rm(&mut self) -> Rm {
        match self.document.select("/cluster/rm").first() {
            Some(rm) => Rm {
                disabled: self.switch(*rm, "disabled"),
                central_processing: self.switch(*rm, "central_processing"),
                watchdog: self.text(*rm, "watchdog").filter(|path| !path.is_empty()).map(str::to_owned),
                quorum_loss_reboot_ms: self
                    .text(*rm, "quorum_loss_reboot")
                    .map(parse_duration_ms)
                    .filter(|limit| *limit > 0),
                log_level: self.number(*rm, "log_level").filter(|level| *level < PRIORITIES.len()),
            },
            None => Rm::default(),
        }
    }

    fn read_services(&mut self) -> Vec<Service> {
        let mut services = Vec::new();
        for rm in self.document.select("/cluster/rm") {
            for element in self.document.children(rm) {
                if matches!(self.document.name(element), "service" | "vm") {
                    services.extend(self.read_service(element));
                }
            }
        }
        services
    }

    fn read_service(&mut self, element: ElementId) -> Option<Service> {
        let kind = self.document.name(element);
        let attributes = self.own_or_defined(element)?;
        let attribute = |name: &str| attributes.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let name = ServiceName(format!("{kind}:{}", attribute("name")?));
        let count = |name: &str| attribute(name).map_or(0, |text| u32::try_from(atoi(text).max(0)).unwrap_or(u32::MAX));
        let exclusive = match attribute("exclusive") {
            Some(text) if is_true(text) => u32::try_from(atoi(text).max(1)).unwrap_or(1),
            _ => 0,
        };
        let tree = if kind == "vm" {
            vec![self.read_guest(element, &name, &attributes)]
        } else {
            let service = Ancestor { kind: "service", attributes: &attributes, above: None };
            let mut names = Vec::new();
            self.read_children(element, &name, &service, &mut names)
        };
        Some(Service {
            domain: attribute("domain").map(DomainName::from),
            autostart: attribute("autostart")
                .is_none_or(|text| !matches!(text.to_ascii_lowercase().as_str(), "0" | "no")),
            exclusive,
            recovery: attribute("recovery")
                .map_or(Recovery::Restart, |text| parse_recovery(text).unwrap_or_else(|lenient| lenient)),
            max_restarts: count("max_restarts"),
            restart_expire_ms: attribute("restart_expire_time").map_or(0, parse_duration_ms),
            depend: attribute("depend").map(ServiceName::parse),
            depend_hard: attribute("depend_mode") != Some("soft"),
            priority: count("priority"),
            hard_recovery: attribute("hardrecovery").is_some_and(is_true),
            name,
            tree,
        })
    }

    /// A virtual machine is a service whose one resource is the guest itself.
    fn read_guest(
        &mut self,
        element: ElementId,
        service: &ServiceName,
        attributes: &BTreeMap<String, String>,
    ) -> Resource {
        let resource = Resource {
            name: ResourceName(service.0.clone()),
            kind: "vm".to_owned(),
            attributes: effective("vm", attributes, |name| name == "name"),
            isolation: Isolation::default(),
            actions: self.read_actions(element),
            children: Vec::new(),
        };
        self.resources.push(LocatedResource { element, service: service.clone(), resource: resource.clone() });
        resource
    }

    fn read_children(
        &mut self,
        parent: ElementId,
        service: &ServiceName,
        above: &Ancestor<'_>,
        names: &mut Vec<String>,
    ) -> Vec<Resource> {
        let document = self.document;
        let children = document.children(parent).filter(|child| document.name(*child) != "action");
        children.filter_map(|child| self.read_resource(child, service, above, names)).collect()
    }

    fn read_resource(
        &mut self,
        element: ElementId,
        service: &ServiceName,
        above: &Ancestor<'_>,
        names: &mut Vec<String>,
    ) -> Option<Resource> {
        let kind = self.document.name(element);
        let given = self.own_or_defined(element)?;
        let mut attributes = given.clone();
        inherit(kind, &mut attributes, above);
        let primary = mapping::primary_value(kind, |key| attributes.get(key).map(String::as_str))?;
        let name = unique_name(format!("{kind}:{primary}"), names);
        let mut resource = Resource {
            name: ResourceName(name),
            kind: kind.to_owned(),
            attributes: effective(kind, &attributes, |name| given.contains_key(name)),
            isolation: read_isolation(&attributes),
            actions: self.read_actions(element),
            children: Vec::new(),
        };
        // Stopping what others use as well would not leave them untouched (rhcs.md §5.6).
        if resource.isolation.independent_subtree == 2 && self.is_shared(element) {
            resource.isolation.independent_subtree = 0;
        }
        self.resources.push(LocatedResource { element, service: service.clone(), resource: resource.clone() });
        let here = Ancestor { kind, attributes: &attributes, above: Some(above) };
        resource.children = self.read_children(element, service, &here, names);
        Some(resource)
    }

    /// Whether the definition that the element refers to is used elsewhere too.
    fn is_shared(&self, element: ElementId) -> bool {
        let document = self.document;
        let Some(reference) = document.attribute(element, "ref") else { return false };
        let rms = document.select("/cluster/rm");
        let services = rms.into_iter().flat_map(|rm| document.children(rm));
        let uses = services.flat_map(|service| document.descendants(service)).filter(|other| {
            document.name(*other) == document.name(element) && document.attribute(*other, "ref") == Some(reference)
        });
        uses.count() > 1
    }

    /// The attributes of an element, or of the definition that it refers to with its own `__` attributes on top.
    /// `None`: what it refers to does not exist, which the checks tell.
    fn own_or_defined(&self, element: ElementId) -> Option<BTreeMap<String, String>> {
        let own = self.document.attributes(element).iter().cloned();
        let Some(reference) = self.document.attribute(element, "ref") else { return Some(own.collect()) };
        let key = (self.document.name(element).to_owned(), reference.to_owned());
        let definition = *self.definitions.get(&key)?;
        let mut attributes: BTreeMap<String, String> = self.document.attributes(definition).iter().cloned().collect();
        attributes.extend(own.filter(|(name, _)| name.starts_with("__")));
        Some(attributes)
    }

    /// `<action>` elements of the definition, then those of the element itself, which win.
    fn read_actions(&self, element: ElementId) -> Vec<ActionOverride> {
        let key = |reference: &str| (self.document.name(element).to_owned(), reference.to_owned());
        let definition = self.document.attribute(element, "ref").and_then(|name| self.definitions.get(&key(name)));
        let mut actions: Vec<ActionOverride> = Vec::new();
        for source in definition.copied().into_iter().chain([element]) {
            for action in self.document.children_named(source, "action") {
                let Some(name) = self.document.attribute(action, "name") else { continue };
                let depth = self.text(action, "depth").filter(|depth| *depth != "*");
                let read = ActionOverride {
                    name: name.to_owned(),
                    depth: depth.map(|depth| u32::try_from(atoi(depth).max(0)).unwrap_or(0)),
                    interval_ms: self.text(action, "interval").map(parse_duration_ms),
                    timeout_ms: self.text(action, "timeout").map(parse_duration_ms),
                };
                actions.retain(|earlier| earlier.name != read.name || earlier.depth != read.depth);
                actions.push(read);
            }
        }
        actions
    }

    fn attributes_without(&self, element: ElementId, left_out: &[&str]) -> Vec<(String, String)> {
        let attributes = self.document.attributes(element).iter();
        attributes.filter(|(name, _)| !left_out.contains(&name.as_str())).cloned().collect()
    }

    pub(super) fn text(&self, element: ElementId, name: &str) -> Option<&str> {
        self.document.attribute(element, name).map(str::trim).filter(|value| !value.is_empty())
    }

    /// A switch as the original reads it: on when its number is not 0, so that "yes" is off.
    pub(super) fn switch(&mut self, element: ElementId, name: &str) -> bool {
        let Some(text) = self.document.attribute(element, name) else { return false };
        let on = atoi(text) != 0;
        if !on && is_true(text) {
            let text = format!("{name}=\"{text}\" counts as off: only a number switches it on");
            let place = self.document.attribute_place(element, name);
            self.report("switch-not-a-number", Severity::Warning, place, text, "write 1 for on, 0 for off");
        }
        on
    }

    pub(super) fn number<N: std::str::FromStr>(&mut self, element: ElementId, name: &str) -> Option<N> {
        let text = self.text(element, name)?;
        if let Ok(number) = text.parse() {
            return Some(number);
        }
        let text = format!("{name}=\"{text}\" is not a number that can be used here");
        let place = self.document.attribute_place(element, name);
        self.report("invalid-number", Severity::Error, place, text, "write a whole number without a unit");
        None
    }

    fn required_number<N: std::str::FromStr>(&mut self, element: ElementId, name: &str) -> Option<N> {
        if self.text(element, name).is_none() {
            let text = format!("<{}> lacks the attribute {name}", self.document.name(element));
            let place = self.document.place(element);
            self.report("attribute-missing", Severity::Error, place, text, "add it with a whole number from 1");
        }
        self.number(element, name)
    }

    fn report(&mut self, rule: &str, severity: Severity, place: Place, text: String, hint: &str) {
        self.findings.push(Finding { rule: rule.to_owned(), severity, place, text, hint: hint.to_owned() });
    }
}

/// The recovery policy; `Err` holds what the original made of a word that it did not know (rhcs.md §3.4).
pub(super) fn parse_recovery(text: &str) -> Result<Recovery, Recovery> {
    match text.to_ascii_lowercase().as_str() {
        "restart" => Ok(Recovery::Restart),
        "relocate" => Ok(Recovery::Relocate),
        "disable" => Ok(Recovery::Disable),
        "restart-disable" => Ok(Recovery::RestartDisable),
        other if other.contains("disable") => Err(Recovery::RestartDisable),
        _ => Err(Recovery::Restart),
    }
}

fn read_isolation(attributes: &BTreeMap<String, String>) -> Isolation {
    let text = |name: &str| attributes.get(name).map(|value| value.trim().to_ascii_lowercase()).unwrap_or_default();
    let count = |name: &str| u32::try_from(atoi(&text(name)).max(0)).unwrap_or(u32::MAX);
    Isolation {
        independent_subtree: match text("__independent_subtree").as_str() {
            "1" | "yes" => 1,
            "2" | "non-critical" => 2,
            _ => 0,
        },
        timeouts_unenforced: matches!(text("__enforce_timeouts").as_str(), "0" | "no"),
        max_failures: count("__max_failures"),
        failure_expire_ms: parse_duration_ms(&text("__failure_expire_time")),
        max_restarts: count("__max_restarts"),
        restart_expire_ms: parse_duration_ms(&text("__restart_expire_time")),
    }
}

/// The attributes of the resource itself: without `__` ones, and of those that nothing uses today only the ones to keep.
/// Else a change of the service (its name, its domain) would look like a change of its resources and restart them.
fn effective(
    kind: &str,
    attributes: &BTreeMap<String, String>,
    keep: impl Fn(&str) -> bool,
) -> BTreeMap<String, String> {
    let unused = |name: &str| {
        let attribute = mapping::kind(kind).and_then(|kind| kind.attribute(name));
        attribute.is_some_and(|attribute| matches!(attribute.becomes, Becomes::Known | Becomes::Ignored(_)))
    };
    let kept = attributes
        .iter()
        .filter(|(name, _)| !name.starts_with("__") && *name != "ref" && (!unused(name) || keep(name)));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Fills in what the type inherits and the element does not give.
fn inherit(kind: &str, attributes: &mut BTreeMap<String, String>, above: &Ancestor<'_>) {
    let Some(kind) = mapping::kind(kind) else { return };
    for attribute in kind.attributes {
        let Some(inherits) = attribute.inherits else { continue };
        if attributes.contains_key(attribute.name) {
            continue;
        }
        let mut at = Some(above);
        while let Some(ancestor) = at {
            let fits = inherits.kind.is_none_or(|kind| kind == ancestor.kind);
            if let Some(value) = ancestor.attributes.get(inherits.attribute).filter(|_| fits) {
                attributes.insert(attribute.name.to_owned(), value.clone());
                break;
            }
            at = ancestor.above;
        }
    }
}

/// The name of a resource among those of its service that were met before it, which are in `names`: the second `ip:10.0.0.1` is
/// `ip:10.0.0.1#2`.
pub fn unique_name(name: String, names: &mut Vec<String>) -> String {
    let uses = names.iter().filter(|used| **used == name).count();
    names.push(name.clone());
    if uses == 0 { name } else { format!("{name}#{}", uses + 1) }
}
