//! A cluster.conf as the cluster understands it: references resolved, defaults and inherited attributes filled in,
//! each resource with what will run it. Also the table of types. Pure: a conf in, text out.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use shared::agents::kinds::{Attribute, Becomes, Kind, Runs};
use shared::agents::mapping::{self, kinds};
use shared::conf::model::{Conf, Domain, GlobalResource, Recovery, Resource, Service};
use shared::conf::secret::{MASK, is_secret};
use shared::ids::{ResourceName, ServiceName};

/// Shared resources, trees and failover domains.
pub fn render_conf(conf: &Conf) -> String {
    let mut out = String::new();
    line(&mut out, 0, "=== Resources List ===");
    for resource in &conf.resources {
        render_global(&mut out, resource);
    }
    line(&mut out, 0, "=== Resource Tree ===");
    out.push_str(&render_trees(conf, &Marks::default()));
    line(&mut out, 0, "=== Failover Domains ===");
    for domain in &conf.domains {
        render_domain(&mut out, conf, domain);
    }
    out
}

/// Words that stand at services and resources in a tree.
#[derive(Debug, Default)]
pub(super) struct Marks {
    pub(super) services: BTreeMap<ServiceName, &'static str>,
    pub(super) resources: BTreeMap<(ServiceName, ResourceName), &'static str>,
}

/// The trees of all services.
pub(super) fn render_trees(conf: &Conf, marks: &Marks) -> String {
    let mut out = String::new();
    for service in &conf.services {
        render_service(&mut out, service, marks);
    }
    out
}

/// `TYPE {`, or `TYPE [ MARK ] {`.
fn opening(kind: &str, mark: Option<&&'static str>) -> String {
    mark.map_or_else(|| format!("{kind} {{"), |mark| format!("{kind} [ {mark} ] {{"))
}

fn render_global(out: &mut String, resource: &GlobalResource) {
    line(out, 0, &format!("Resource type: {}", resource.kind));
    line(out, 0, &format!("Name: {}", resource.name));
    line(out, 0, "Attributes:");
    for (name, value) in &resource.attributes {
        line(out, 1, &format!("{name} = {}", shown(name, value)));
    }
    out.push('\n');
}

fn render_service(out: &mut String, service: &Service, marks: &Marks) {
    let (kind, name) = service.name.0.split_once(':').unwrap_or(("service", service.name.as_str()));
    line(out, 0, &opening(kind, marks.services.get(&service.name)));
    let mut field = |name: &str, value: &str| line(out, 1, &format!("{name} = \"{value}\";"));
    field("name", name);
    if let Some(domain) = &service.domain {
        field("domain", domain.as_str());
    }
    field("autostart", if service.autostart { "1" } else { "0" });
    field("exclusive", &service.exclusive.to_string());
    field("recovery", recovery_word(service.recovery));
    if service.max_restarts > 0 {
        field("max_restarts", &service.max_restarts.to_string());
        field("restart_expire_time", &(service.restart_expire_ms / 1000).to_string());
    }
    if let Some(depend) = &service.depend {
        field("depend", depend.as_str());
        field("depend_mode", if service.depend_hard { "hard" } else { "soft" });
    }
    for resource in &service.tree {
        render_resource(out, service, resource, 1, marks);
    }
    line(out, 0, "}");
}

fn recovery_word(recovery: Recovery) -> &'static str {
    match recovery {
        Recovery::Restart => "restart",
        Recovery::Relocate => "relocate",
        Recovery::Disable => "disable",
        Recovery::RestartDisable => "restart-disable",
    }
}

fn render_resource(out: &mut String, service: &Service, resource: &Resource, depth: usize, marks: &Marks) {
    let mark = marks.resources.get(&(service.name.clone(), resource.name.clone()));
    line(out, depth, &opening(&resource.kind, mark));
    for (name, value) in &resource.attributes {
        line(out, depth + 1, &format!("{name} = \"{}\";", shown(name, value)));
    }
    match mapping::map(resource) {
        Ok(mapped) => line(out, depth + 1, &format!("# run by {}", mapped.runner.name())),
        Err(error) => line(out, depth + 1, &format!("# cannot be run: {error}")),
    }
    for child in &resource.children {
        render_resource(out, service, child, depth + 1, marks);
    }
    line(out, depth, "}");
}

fn render_domain(out: &mut String, conf: &Conf, domain: &Domain) {
    line(out, 0, &format!("Failover domain: {}", domain.name));
    let flags: Vec<&str> =
        [("Ordered", domain.ordered), ("Restricted", domain.restricted), ("No Failback", domain.nofailback)]
            .into_iter()
            .filter_map(|(word, set)| set.then_some(word))
            .collect();
    line(out, 0, &format!("Flags: {}", if flags.is_empty() { "none".to_owned() } else { flags.join(" ") }));
    for (name, priority) in &domain.nodes {
        let id = conf.node(name).map_or_else(|| "unknown".to_owned(), |node| node.id.to_string());
        line(out, 1, &format!("Node {name} (id {id}, priority {priority})"));
    }
    out.push('\n');
}

/// The resource types that are known.
pub fn render_rules() -> String {
    let mut out = String::new();
    for kind in kinds() {
        line(&mut out, 0, &format!("Resource type: {}", kind.name));
        line(&mut out, 0, &format!("Agent: {}", agent_text(kind)));
        if let Some(note) = kind.note {
            line(&mut out, 0, &format!("Note: {note}"));
        }
        line(&mut out, 0, "Attributes:");
        for attribute in kind.attributes {
            line(&mut out, 1, &attribute_text(kind, attribute));
        }
        if kind.free_attributes {
            line(&mut out, 1, "any other: handed to the agent");
        }
        out.push('\n');
    }
    out
}

fn agent_text(kind: &Kind) -> String {
    match kind.runs {
        Runs::Ocf { provider, agent } => format!("ocf:{provider}:{agent}"),
        Runs::OcfByAttributes => "the OCF agent named by provider and type".to_owned(),
        Runs::LsbByFile => "the init script named by file".to_owned(),
        Runs::SystemdByUnit => "the systemd unit named by unit".to_owned(),
        Runs::Systemd { unit } => format!("systemd:{unit}"),
        Runs::Grouping => "none; it groups what is below it".to_owned(),
        Runs::Not { reason } => format!("none: {reason}"),
    }
}

fn attribute_text(kind: &Kind, attribute: &Attribute) -> String {
    let mut flags = Vec::new();
    if attribute.name == kind.primary {
        flags.push("primary".to_owned());
    }
    if attribute.unique {
        flags.push("unique".to_owned());
    }
    if attribute.required {
        flags.push("required".to_owned());
    }
    if let Some(inherits) = attribute.inherits {
        let above = inherits.kind.map(|kind| format!("{kind}%")).unwrap_or_default();
        flags.push(format!("inherit(\"{above}{}\")", inherits.attribute));
    }
    let flags = if flags.is_empty() { String::new() } else { format!(" [ {} ]", flags.join(" ")) };
    match attribute.becomes {
        Becomes::Ignored(reason) => format!("{}{flags}: without effect; {reason}", attribute.name),
        _ => format!("{}{flags}", attribute.name),
    }
}

/// What is printed is pasted into questions to others.
fn shown<'a>(name: &str, value: &'a str) -> &'a str {
    if is_secret(name) { MASK } else { value }
}

fn line(out: &mut String, depth: usize, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{:width$}{text}", "", width = depth * 2);
}
