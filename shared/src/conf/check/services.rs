//! Rules for failover domains and services.

use std::collections::BTreeMap;

use super::{Context, Rule, same_name, same_name_without_case, suggestion};
use crate::agents::mapping::is_true;
use crate::conf::document::ElementId;
use crate::conf::duration::{atoi, is_duration};
use crate::conf::view;
use crate::ids::ServiceName;

pub(super) const RULES: &[Rule] = &[
    check_domain_names,
    check_domain_nodes,
    check_domain_priorities,
    check_service_names,
    check_service_references,
    check_service_domains,
    check_dependencies,
    check_dependency_circles,
    check_recovery,
    check_times,
    check_services_run_something,
    check_service_attributes_without_effect,
    check_migrate,
];

fn domains(ctx: &Context<'_>) -> Vec<ElementId> {
    ctx.document.select("/cluster/rm/failoverdomains/failoverdomain")
}

/// Elements of services and virtual machines in document order.
pub(super) fn services(ctx: &Context<'_>) -> Vec<ElementId> {
    let rms = ctx.document.select("/cluster/rm");
    let children = rms.into_iter().flat_map(|rm| ctx.document.children(rm));
    children.filter(|child| matches!(ctx.document.name(*child), "service" | "vm")).collect()
}

fn check_domain_names(ctx: &mut Context<'_>) {
    let domains = domains(ctx);
    ctx.check_names("failover domain", &domains, "name", same_name_without_case);
}

fn check_domain_nodes(ctx: &mut Context<'_>) {
    let nodes = ctx.document.select("/cluster/clusternodes/clusternode");
    let nodes: Vec<&str> = nodes.iter().filter_map(|node| ctx.document.attribute(*node, "name")).collect();
    for domain in domains(ctx) {
        let members: Vec<_> = ctx.document.children_named(domain, "failoverdomainnode").collect();
        ctx.check_names("node of this failover domain", &members, "name", same_name_without_case);
        for member in &members {
            if let Some(name) = ctx.document.attribute(*member, "name")
                && !name.is_empty()
                && !nodes.contains(&name)
            {
                let text = format!("there is no node {name}");
                let hint =
                    format!("add the node to the cluster or remove it here{}", suggestion(name, nodes.iter().copied()));
                ctx.error("unknown-reference", ctx.document.attribute_place(*member, "name"), text, hint);
            }
        }
        if !members.is_empty() {
            continue;
        }
        let name = ctx.text(domain, "name").unwrap_or_default();
        if atoi(ctx.text(domain, "restricted").unwrap_or_default()) != 0 {
            let text = format!("the restricted failover domain {name} has no nodes: its services could run nowhere");
            ctx.error("domain-empty", ctx.document.place(domain), text, "add nodes, or make it unrestricted");
        } else {
            let text = format!("failover domain {name} has no nodes, so that it prefers none");
            ctx.warning("domain-empty", ctx.document.place(domain), text, "add nodes, or remove it");
        }
    }
}

fn check_domain_priorities(ctx: &mut Context<'_>) {
    for domain in domains(ctx) {
        let ordered = atoi(ctx.text(domain, "ordered").unwrap_or_default()) != 0;
        for member in ctx.document.children_named(domain, "failoverdomainnode") {
            let Some(priority) = ctx.text(member, "priority") else { continue };
            let place = || ctx.document.attribute_place(member, "priority");
            let valid = priority.parse().is_ok_and(|number: u32| (1..=100).contains(&number));
            if ordered && !valid {
                let (place, text) =
                    (place(), format!("priority=\"{priority}\" counts as 0, which is preferred to all others"));
                ctx.warning("priority-invalid", place, text, "use 1 (preferred) to 100");
            }
        }
    }
}

fn check_service_names(ctx: &mut Context<'_>) {
    let services = services(ctx);
    for kind in ["service", "vm"] {
        let own: Vec<_> = services
            .iter()
            .copied()
            .filter(|id| ctx.document.name(*id) == kind && ctx.document.attribute(*id, "ref").is_none())
            .collect();
        ctx.check_names(if kind == "vm" { "virtual machine" } else { "service" }, &own, "name", same_name);
    }
}

fn check_service_references(ctx: &mut Context<'_>) {
    let definitions = view::definitions(ctx.document);
    for service in services(ctx) {
        let Some(reference) = ctx.document.attribute(service, "ref") else { continue };
        let kind = ctx.document.name(service);
        if !definitions.contains_key(&(kind.to_owned(), reference.to_owned())) {
            let text = format!("<resources> has no {kind} {reference}");
            let place = ctx.document.attribute_place(service, "ref");
            ctx.error(
                "unknown-reference",
                place,
                text,
                format!("define it in <resources>, or write <{kind} name=\"{reference}\">"),
            );
        }
    }
}

fn check_service_domains(ctx: &mut Context<'_>) {
    let domains = domains(ctx);
    let names: Vec<&str> = domains.iter().filter_map(|domain| ctx.document.attribute(*domain, "name")).collect();
    for service in services(ctx) {
        let Some(domain) = ctx.text(service, "domain") else { continue };
        if !names.iter().any(|name| same_name_without_case(name, domain)) {
            let text = format!("there is no failover domain {domain}");
            let hint = format!("add it, or remove the attribute domain{}", suggestion(domain, names.iter().copied()));
            ctx.error("unknown-reference", ctx.document.attribute_place(service, "domain"), text, hint);
        }
    }
}

fn check_dependencies(ctx: &mut Context<'_>) {
    let Some(conf) = &ctx.reading.conf else { return };
    let names: Vec<&str> = conf.services.iter().map(|service| service.name.as_str()).collect();
    for service in services(ctx) {
        let Some(depend) = ctx.text(service, "depend") else { continue };
        let depend = ServiceName::parse(depend);
        if !names.contains(&depend.as_str()) {
            let text = format!("there is no {depend}");
            let hint = format!(
                "write depend=\"service:NAME\" or \"vm:NAME\"{}",
                suggestion(depend.as_str(), names.iter().copied())
            );
            ctx.error("unknown-reference", ctx.document.attribute_place(service, "depend"), text, hint);
        }
    }
}

fn check_dependency_circles(ctx: &mut Context<'_>) {
    let Some(conf) = &ctx.reading.conf else { return };
    let depends: BTreeMap<&ServiceName, &ServiceName> =
        conf.services.iter().filter_map(|service| Some((&service.name, service.depend.as_ref()?))).collect();
    for element in services(ctx) {
        let Some(name) = ctx.text(element, "name") else { continue };
        let start = ServiceName(format!("{}:{name}", ctx.document.name(element)));
        let mut at = depends.get(&start);
        for _ in 0..depends.len() {
            let Some(next) = at else { break };
            if **next == start {
                let text = format!("{start} depends on itself, so that it could never start");
                let hint = "remove one depend of the circle";
                ctx.error("dependency-circle", ctx.document.attribute_place(element, "depend"), text, hint);
                break;
            }
            at = depends.get(*next);
        }
    }
}

fn check_recovery(ctx: &mut Context<'_>) {
    for service in services(ctx) {
        let Some(recovery) = ctx.text(service, "recovery") else { continue };
        if view::parse_recovery(recovery).is_err() {
            let taken = if recovery.to_ascii_lowercase().contains("disable") { "restart-disable" } else { "restart" };
            let text = format!("recovery=\"{recovery}\" is not known and counts as {taken}");
            let hint = "use restart, relocate, disable or restart-disable";
            ctx.warning("recovery-unknown", ctx.document.attribute_place(service, "recovery"), text, hint);
        }
    }
}

fn check_times(ctx: &mut Context<'_>) {
    const TIMES: [&str; 5] =
        ["restart_expire_time", "__restart_expire_time", "__failure_expire_time", "interval", "timeout"];
    for rm in ctx.document.select("/cluster/rm") {
        for element in ctx.document.descendants(rm) {
            let is_action = ctx.document.name(element) == "action";
            // Agents have parameters of these names with a syntax of their own.
            let times = if is_action { &TIMES[3..] } else { &TIMES[..3] };
            for name in times {
                let Some(time) = ctx.text(element, name) else { continue };
                if !is_duration(time) {
                    let text = format!("{name}=\"{time}\" is not a time");
                    let hint = "write seconds, or numbers with s, m, h, d, w, y: 90, 5m, 1h30m";
                    ctx.error("time-invalid", ctx.document.attribute_place(element, name), text, hint);
                }
            }
        }
    }
}

fn check_services_run_something(ctx: &mut Context<'_>) {
    let Some(conf) = &ctx.reading.conf else { return };
    for element in services(ctx) {
        let Some(name) = ctx.text(element, "name").or(ctx.text(element, "ref")) else { continue };
        let name = ServiceName(format!("{}:{name}", ctx.document.name(element)));
        if conf.service(&name).is_some_and(|service| service.tree.is_empty()) {
            let text = format!("{name} has no resources: it counts as started and runs nothing");
            ctx.info("service-empty", ctx.document.place(element), text, "add resources");
        }
    }
}

/// Attributes of a service that asked for something which needs no asking today, and why.
const WITHOUT_EFFECT: [(&str, &str); 2] = [
    (
        "nfslock",
        "exports give up their locks when they stop, and an nfsserver resource takes those of the clients along",
    ),
    ("nfs_client_cache", "each check of an export asks the kernel, which takes no time worth saving"),
];

fn check_service_attributes_without_effect(ctx: &mut Context<'_>) {
    let central = ctx.reading.conf.as_ref().is_some_and(|conf| conf.rm.central_processing);
    for service in services(ctx) {
        for (name, reason) in WITHOUT_EFFECT {
            if ctx.text(service, name).is_some_and(is_true) {
                let text = format!("{name} of <{}> has no effect", ctx.document.name(service));
                ctx.info("attribute-ignored", ctx.document.attribute_place(service, name), text, reason);
            }
        }
        if !central && ctx.text(service, "priority").is_some_and(|priority| atoi(priority) != 0) {
            let place = ctx.document.attribute_place(service, "priority");
            let text = "priority has no effect without central processing";
            ctx.info("attribute-ignored", place, text.to_owned(), "write <rm central_processing=\"1\">");
        }
    }
}

fn check_migrate(ctx: &mut Context<'_>) {
    for machine in services(ctx).into_iter().filter(|&element| ctx.document.name(element) == "vm").collect::<Vec<_>>() {
        let Some(how) = ctx.text(machine, "migrate").filter(|how| !matches!(*how, "live" | "pause")) else { continue };
        let text = format!("migrate=\"{how}\" is not known and counts as live");
        let place = ctx.document.attribute_place(machine, "migrate");
        ctx.warning("migrate-unknown", place, text, "use live or pause");
    }
}
