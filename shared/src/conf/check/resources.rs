//! Rules for resources: definitions, references, the trees of services, and what becomes of attributes today.

use std::collections::BTreeMap;

use super::services::services;
use super::{Context, Rule, suggestion};
use crate::agents::kinds::{Becomes, Kind, Runs};
use crate::agents::mapping::{self, MappingError};
use crate::conf::document::ElementId;
use crate::conf::model::{Isolation, Resource};
use crate::conf::view;
use crate::ids::ResourceName;
use crate::tree;

pub(super) const RULES: &[Rule] = &[
    check_kinds,
    check_primary_names,
    check_references,
    check_attributes_of_references,
    check_unique_values,
    check_definitions_run,
    check_trees_run,
    check_attributes,
    check_attributes_of_machines,
    check_kind_notes,
    check_nesting,
    check_definitions_have_no_children,
    check_isolation,
    check_shared_use,
];

/// Types that are services, not resources.
fn is_service(kind: &str) -> bool {
    matches!(kind, "service" | "vm")
}

/// Elements in `<resources>`, services left out.
fn definitions(ctx: &Context<'_>) -> Vec<ElementId> {
    let parents = ctx.document.select("/cluster/rm/resources");
    let children = parents.into_iter().flat_map(|parent| ctx.document.children(parent));
    children.filter(|child| !is_service(ctx.document.name(*child))).collect()
}

/// Resource elements of all services' trees.
fn tree_elements(ctx: &Context<'_>) -> Vec<ElementId> {
    let elements = services(ctx).into_iter().flat_map(|service| ctx.document.descendants(service));
    elements.filter(|element| ctx.document.name(*element) != "action").collect()
}

/// Elements that define a resource: those in `<resources>` and those written out in a service.
fn defining(ctx: &Context<'_>) -> Vec<ElementId> {
    let inline = tree_elements(ctx).into_iter().filter(|element| ctx.document.attribute(*element, "ref").is_none());
    definitions(ctx).into_iter().chain(inline).collect()
}

fn primary<'a>(ctx: &Context<'a>, element: ElementId) -> Option<&'a str> {
    mapping::primary_value(ctx.document.name(element), |key| ctx.document.attribute(element, key))
}

fn check_kinds(ctx: &mut Context<'_>) {
    for element in definitions(ctx).into_iter().chain(tree_elements(ctx)) {
        let name = ctx.document.name(element);
        if is_service(name) {
            let text = format!("<{name}> cannot stand inside of a service");
            ctx.error(
                "nesting-forbidden",
                ctx.document.place(element),
                text,
                format!("put it directly below <rm>, and use depend=\"{name}:…\""),
            );
            continue;
        }
        match mapping::kind(name).map(|kind| kind.runs) {
            None => {
                let known = mapping::kinds().iter().map(|kind| kind.name);
                let text = format!("<{name}> is not a known type of resource");
                let hint = format!(
                    "use <ocf type=\"…\">, <systemd unit=\"…\"> or <script file=\"…\">{}",
                    suggestion(name, known)
                );
                ctx.error("unknown-kind", ctx.document.place(element), text, hint);
            }
            Some(Runs::Not { reason }) => {
                let text = format!("<{name}> cannot be run today");
                ctx.error("no-successor", ctx.document.place(element), text, reason);
            }
            Some(_) => {}
        }
    }
}

fn check_primary_names(ctx: &mut Context<'_>) {
    let mut seen: BTreeMap<(&str, &str), ElementId> = BTreeMap::new();
    for element in defining(ctx) {
        let kind = ctx.document.name(element);
        let Some(row) = mapping::kind(kind) else { continue };
        let Some(name) = primary(ctx, element) else {
            let attribute = row.primary;
            let text = format!("a resource of type {kind} has no {attribute}");
            let hint = format!("add {attribute}=\"…\", or refer to a resource with ref=\"…\"");
            ctx.error("name-missing", ctx.document.place(element), text, hint);
            continue;
        };
        let attribute = if ctx.document.attribute(element, row.primary).is_some() {
            row.primary
        } else {
            row.primary_instead.unwrap_or(row.primary)
        };
        ctx.check_name("resource", element, attribute, name);
        if let Some(first) = seen.get(&(kind, name)) {
            let text = format!("there is another {kind} {name} in line {}", ctx.document.place(*first).line);
            let hint = format!(
                "give one of them another {attribute}; to use one resource twice, define it in <resources> and write ref=\"{name}\""
            );
            ctx.error("name-duplicate", ctx.document.attribute_place(element, attribute), text, hint);
        }
        seen.entry((kind, name)).or_insert(element);
    }
}

fn check_references(ctx: &mut Context<'_>) {
    let known = view::definitions(ctx.document);
    for element in tree_elements(ctx) {
        let (kind, Some(name)) = (ctx.document.name(element), ctx.document.attribute(element, "ref")) else { continue };
        if known.contains_key(&(kind.to_owned(), name.to_owned())) {
            continue;
        }
        let inline = defining(ctx)
            .into_iter()
            .find(|other| ctx.document.name(*other) == kind && primary(ctx, *other) == Some(name));
        let (text, hint) = match inline {
            Some(other) => (
                format!("the {kind} {name} belongs to one service (line {})", ctx.document.place(other).line),
                "move its definition into <resources> and refer to it from both places".to_owned(),
            ),
            None => {
                let names = known.keys().filter(|(other, _)| other == kind).map(|(_, name)| name.as_str());
                (format!("<resources> has no {kind} {name}"), format!("define it there{}", suggestion(name, names)))
            }
        };
        ctx.error("unknown-reference", ctx.document.attribute_place(element, "ref"), text, hint);
    }
}

fn check_attributes_of_references(ctx: &mut Context<'_>) {
    for element in tree_elements(ctx) {
        if ctx.document.attribute(element, "ref").is_none() {
            continue;
        }
        for (name, _) in ctx.document.attributes(element) {
            if name != "ref" && !name.starts_with("__") {
                let text = format!("{name} beside ref has no effect: the definition counts");
                let hint = "set it in <resources>, or write the resource out here without ref";
                ctx.warning("attribute-ignored", ctx.document.attribute_place(element, name), text, hint);
            }
        }
    }
}

fn check_unique_values(ctx: &mut Context<'_>) {
    let mut seen: BTreeMap<(&str, &str, &str), ElementId> = BTreeMap::new();
    for element in defining(ctx) {
        let kind = ctx.document.name(element);
        let Some(row) = mapping::kind(kind) else { continue };
        for attribute in row.attributes.iter().filter(|attribute| attribute.unique && attribute.name != row.primary) {
            let Some(value) = ctx.text(element, attribute.name) else { continue };
            let key = (kind, attribute.name, value);
            if let Some(first) = seen.get(&key) {
                let text =
                    format!("{}=\"{value}\" is also used in line {}", attribute.name, ctx.document.place(*first).line);
                let hint =
                    format!("two resources of type {kind} cannot share it; define one in <resources> and refer to it");
                ctx.error("value-duplicate", ctx.document.attribute_place(element, attribute.name), text, hint);
            }
            seen.entry(key).or_insert(element);
        }
    }
}

/// Definitions that no service uses yet must be sound as well, but what they inherit is known only where they are used.
fn check_definitions_run(ctx: &mut Context<'_>) {
    for element in definitions(ctx) {
        let kind = ctx.document.name(element);
        let (Some(row), Some(name)) = (mapping::kind(kind), primary(ctx, element)) else { continue };
        let mut attributes: BTreeMap<String, String> = ctx.document.attributes(element).iter().cloned().collect();
        for attribute in row.attributes.iter().filter(|attribute| attribute.inherits.is_some()) {
            attributes.entry(attribute.name.to_owned()).or_insert_with(|| "/".to_owned());
        }
        let resource = Resource {
            name: ResourceName(format!("{kind}:{name}")),
            kind: kind.to_owned(),
            attributes,
            isolation: Isolation::default(),
            actions: Vec::new(),
            children: Vec::new(),
        };
        check_maps(ctx, element, &resource);
    }
}

fn check_trees_run(ctx: &mut Context<'_>) {
    let reading = ctx.reading;
    for located in &reading.resources {
        // A fault of a definition is told once, at the definition; only what is inherited can differ.
        let referred = ctx.document.attribute(located.element, "ref").is_some();
        match mapping::map(&located.resource) {
            Err(MappingError::AttributeMissing { .. }) if referred => {
                check_maps(ctx, located.element, &located.resource)
            }
            Err(_) if !referred => check_maps(ctx, located.element, &located.resource),
            _ => {}
        }
    }
}

fn check_maps(ctx: &mut Context<'_>, element: ElementId, resource: &Resource) {
    match mapping::map(resource) {
        // Told by `check_kinds`.
        Ok(_) | Err(MappingError::UnknownKind { .. } | MappingError::NoSuccessor { .. }) => {}
        Err(error @ MappingError::AttributeMissing { attribute, .. }) => {
            ctx.error(
                "attribute-missing",
                ctx.document.place(element),
                error.to_string(),
                format!("add {attribute}=\"…\""),
            );
        }
        Err(MappingError::AttributeInvalid { attribute, value, reason, .. }) => {
            let text = format!("{attribute}=\"{value}\" of {} cannot be used", resource.name);
            ctx.error("attribute-invalid", ctx.document.attribute_place(element, attribute), text, reason);
        }
    }
}

fn check_attributes(ctx: &mut Context<'_>) {
    for element in defining(ctx) {
        let Some(row) = mapping::kind(ctx.document.name(element)) else { continue };
        for (name, value) in ctx.document.attributes(element) {
            // White space around a value, or nothing, says the same as no attribute; 0 asks for nothing.
            if name.starts_with("__") || matches!(value.trim(), "" | "0" | "no" | "off" | "false") {
                continue;
            }
            check_attribute(ctx, element, row, name);
        }
    }
}

/// A virtual machine is a service and a resource in one; what it has of a service is known to the rules of services.
fn check_attributes_of_machines(ctx: &mut Context<'_>) {
    for element in services(ctx) {
        let Some(row) = mapping::kind(ctx.document.name(element)) else { continue };
        for (name, value) in ctx.document.attributes(element) {
            let told = matches!(row.attribute(name).map(|it| it.becomes), Some(Becomes::Ignored(_)));
            if told && !matches!(value.trim(), "" | "0" | "no" | "off" | "false") {
                check_attribute(ctx, element, row, name);
            }
        }
    }
}

fn check_attribute(ctx: &mut Context<'_>, element: ElementId, row: &Kind, name: &str) {
    match row.attribute(name).map(|attribute| attribute.becomes) {
        Some(Becomes::Ignored(reason)) => {
            let place = ctx.document.attribute_place(element, name);
            ctx.info("attribute-ignored", place, format!("{name} of <{}> has no effect", row.name), reason);
        }
        Some(_) => {}
        None if row.free_attributes => {}
        None => {
            let known = row.attributes.iter().map(|attribute| attribute.name);
            let text = format!("<{}> has no attribute {name}; it has no effect", row.name);
            let hint = format!("remove it, or use <ocf> to give an agent any parameter{}", suggestion(name, known));
            ctx.warning("attribute-unknown", ctx.document.attribute_place(element, name), text, hint);
        }
    }
}

fn check_kind_notes(ctx: &mut Context<'_>) {
    for element in defining(ctx) {
        if let Some(note) = mapping::kind(ctx.document.name(element)).and_then(|kind| kind.note) {
            let text = format!("<{}> differs from RHEL 6", ctx.document.name(element));
            ctx.info("kind-note", ctx.document.place(element), text, note);
        }
    }
}

fn check_nesting(ctx: &mut Context<'_>) {
    for element in tree_elements(ctx) {
        let Some(parent) = ctx.document.parent(element) else { continue };
        let (parent_kind, kind) = (ctx.document.name(parent), ctx.document.name(element));
        if parent_kind == "vm" {
            let text = format!("a virtual machine has no resources below it, but there is <{kind}>");
            ctx.error("nesting-forbidden", ctx.document.place(element), text, "put it into a service of its own");
        } else if tree::is_forbidden_child(parent_kind, kind) {
            let text = format!("<{kind}> cannot stand below <{parent_kind}>");
            ctx.error(
                "nesting-forbidden",
                ctx.document.place(element),
                text,
                "put it beside, or below the file system",
            );
        }
    }
}

fn check_definitions_have_no_children(ctx: &mut Context<'_>) {
    for element in definitions(ctx) {
        let child = ctx.document.children(element).find(|child| ctx.document.name(*child) != "action");
        if let Some(child) = child {
            let text = format!("<{}> below a definition has no effect", ctx.document.name(child));
            ctx.warning(
                "no-effect",
                ctx.document.place(child),
                text,
                "nest it where the resource is used: in the service",
            );
        }
    }
}

fn check_isolation(ctx: &mut Context<'_>) {
    let mut uses: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    let elements = tree_elements(ctx);
    for element in &elements {
        if let Some(name) = ctx.document.attribute(*element, "ref") {
            *uses.entry((ctx.document.name(*element), name)).or_default() += 1;
        }
    }
    for element in &elements {
        let kind = ctx.document.name(*element);
        let Some(name) = ctx.document.attribute(*element, "ref") else { continue };
        let marked =
            ctx.text(*element, "__independent_subtree").is_some_and(|value| matches!(value, "2" | "non-critical"));
        if marked && uses.get(&(kind, name)).is_some_and(|count| *count > 1) {
            let text = format!("the {kind} {name} is used more than once and cannot be non-critical");
            let place = ctx.document.attribute_place(*element, "__independent_subtree");
            ctx.warning("isolation-ignored", place, text, "write it out in each service, or drop the mark");
        }
    }
    for element in &elements {
        check_limits(ctx, *element, "__max_restarts", "__restart_expire_time");
        check_limits(ctx, *element, "__max_failures", "__failure_expire_time");
    }
    for service in services(ctx) {
        if ctx.text(service, "__independent_subtree").is_some_and(|value| value != "0") {
            let text = "__independent_subtree has no effect on a service".to_owned();
            let place = ctx.document.attribute_place(service, "__independent_subtree");
            ctx.info("isolation-ignored", place, text, "set it on a resource");
        }
    }
}

/// A number and the time in which it counts work only together.
fn check_limits(ctx: &mut Context<'_>, element: ElementId, number: &str, time: &str) {
    for (given, missing) in [(number, time), (time, number)] {
        let set = |name: &str| ctx.text(element, name).is_some_and(|value| value != "0");
        if set(given) && !set(missing) {
            let text = format!("{given} has no effect without {missing}");
            let place = ctx.document.attribute_place(element, given);
            ctx.warning("isolation-ignored", place, text, format!("add {missing}, or remove {given}"));
        }
    }
}

/// One address or disk in two services would be in use on two nodes as soon as the services run apart; twice in one service, the
/// second stop would take it away from what stands below the first.
fn check_shared_use(ctx: &mut Context<'_>) {
    let reading = ctx.reading;
    let mut first: BTreeMap<(&str, &str), &crate::ids::ServiceName> = BTreeMap::new();
    for located in &reading.resources {
        let kind = located.resource.kind.as_str();
        if mapping::kind(kind).is_none_or(|row| row.max_instances != 1) {
            continue;
        }
        let Some(name) = ctx.document.attribute(located.element, "ref") else { continue };
        match first.get(&(kind, name)) {
            Some(service) if **service != located.service => {
                let text = format!("the {kind} {name} is used by {service} and {}", located.service);
                let hint = "put what needs it into one service; on two nodes at once it would do damage";
                ctx.warning("shared-by-services", ctx.document.place(located.element), text, hint);
            }
            Some(service) => {
                let text = format!("the {kind} {name} stands in {service} more than once");
                let hint = "use it once, above everything that needs it";
                ctx.warning("used-twice", ctx.document.place(located.element), text, hint);
            }
            None => {
                first.insert((kind, name), &located.service);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_may_be_used_once_is_told_when_it_is_used_twice_and_what_may_be_shared_is_not() {
        let rules = |services: &str| -> Vec<String> {
            let text = format!(
                "<cluster name='c' config_version='1'><clusternodes><clusternode name='a' nodeid='1'/></clusternodes><rm>\
                 <resources><fs name='d' device='/dev/x' mountpoint='/srv' fstype='ext4'/><script name='s' file='/etc/init.d/s'/>\
                 </resources>{services}</rm></cluster>"
            );
            let findings = crate::conf::load(&text).findings;
            let of_use =
                findings.into_iter().filter(|one| ["used-twice", "shared-by-services"].contains(&one.rule.as_str()));
            of_use.map(|one| one.text).collect()
        };
        let twice =
            "<service name='one'><fs ref='d'><script ref='s'/></fs><script ref='s'><fs ref='d'/></script></service>";
        assert_eq!(rules(twice), ["the fs d stands in service:one more than once"]);
        let apart = "<service name='one'><fs ref='d'/><script ref='s'/></service><service name='two'><fs ref='d'/>\
                     <script ref='s'/></service>";
        assert_eq!(rules(apart), ["the fs d is used by service:one and service:two"]);
        assert!(rules("<service name='one'><fs ref='d'/></service>").is_empty());
    }
}
