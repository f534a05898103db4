//! Rules for fence devices and the fence methods of nodes.

use super::{Context, Rule, same_name, suggestion};
use crate::agents::fence_names::{REFUSE_TWO_NAMES, is_same_argument, name_of_today};
use crate::conf::document::ElementId;

pub(super) const RULES: &[Rule] = &[
    check_device_names,
    check_device_agents,
    check_arguments_given_twice,
    check_device_references,
    check_methods,
    check_nodes_can_be_fenced,
    check_witness,
];

fn devices(ctx: &Context<'_>) -> Vec<ElementId> {
    ctx.document.select("/cluster/fencedevices/fencedevice")
}

fn check_device_names(ctx: &mut Context<'_>) {
    let devices = devices(ctx);
    ctx.check_names("fence device", &devices, "name", same_name);
    for device in devices {
        if let Some(name) = ctx.text(device, "name")
            && name.starts_with(|c: char| c.is_ascii_digit())
        {
            let text = format!("the name of fence device {name} starts with a digit");
            let hint = "tools of RHEL 6 refuse such a file; begin the name with a letter";
            ctx.warning("device-name-digit", ctx.document.attribute_place(device, "name"), text, hint);
        }
    }
}

fn check_device_agents(ctx: &mut Context<'_>) {
    for device in devices(ctx) {
        let name = ctx.text(device, "name").unwrap_or_default();
        match ctx.text(device, "agent") {
            None => {
                let text = format!("fence device {name} has no agent");
                ctx.error("attribute-missing", ctx.document.place(device), text, "add agent=\"fence_…\"");
            }
            Some(agent) if !is_fence_agent(agent) => {
                let text = format!("{agent} is not the name of a fence agent");
                let hint = "the names of fence agents begin with fence_, e.g. fence_ipmilan";
                ctx.error("agent-invalid", ctx.document.attribute_place(device, "agent"), text, hint);
            }
            Some("fence_manual") => {
                let text = format!("fence device {name} uses fence_manual, which no longer exists");
                let hint =
                    "use a real fence agent; without one a failed node must be acknowledged with fence_ack_manual";
                ctx.warning("agent-gone", ctx.document.attribute_place(device, "agent"), text, hint);
            }
            Some(_) => {}
        }
        for (key, value) in ctx.document.attributes(device) {
            check_argument(ctx, device, key, value);
        }
    }
}

/// A witness is the node's next boot; a node that is switched off gives none.
fn check_witness(ctx: &mut Context<'_>) {
    let daemon = ctx.document.select("/cluster/fence_daemon").first().copied();
    let required = daemon.and_then(|daemon| ctx.text(daemon, "require_witness")).is_some_and(|value| value == "1");
    if !required {
        return;
    }
    let mut elements = devices(ctx);
    elements.extend(ctx.document.select("/cluster/clusternodes/clusternode/fence/method/device"));
    for element in elements {
        for attribute in ["action", "option"] {
            if ctx.text(element, attribute) == Some("off") {
                let name = ctx.text(element, "name").unwrap_or_default();
                let text =
                    format!("fence device {name} leaves the node off, and require_witness waits for its next boot");
                let hint = "use action=\"reboot\", or be ready to power the node on or to run fence_ack_manual";
                ctx.warning("witness-never", ctx.document.attribute_place(element, attribute), text, hint);
            }
        }
    }
}

/// The name becomes the path of a program.
fn is_fence_agent(agent: &str) -> bool {
    agent.starts_with("fence_") && agent.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

/// Agents read one argument per line, so that a line end inside a value would make two of one.
fn check_argument(ctx: &mut Context<'_>, element: ElementId, key: &str, value: &str) {
    if value.contains(['\n', '\r', '\0']) {
        let text = format!("the attribute {key} contains a line end");
        ctx.error("argument-invalid", ctx.document.attribute_place(element, key), text, "remove it");
    }
}

/// Where a fence device is used.
const INSTANCES: [&str; 2] =
    ["/cluster/clusternodes/clusternode/fence/method/device", "/cluster/clusternodes/clusternode/unfence/device"];

/// One element that gives an argument under its older name and under the one of today.
fn check_arguments_given_twice(ctx: &mut Context<'_>) {
    let devices = devices(ctx);
    let instances: Vec<_> = INSTANCES.iter().flat_map(|path| ctx.document.select(path)).collect();
    for element in devices.iter().chain(&instances).copied() {
        let device = ctx.text(element, "name").unwrap_or_default();
        let definition = devices.iter().find(|one| ctx.document.attribute(**one, "name") == Some(device));
        let agent = definition.and_then(|one| ctx.text(*one, "agent")).unwrap_or_default();
        let attributes = ctx.document.attributes(element);
        for (index, (name, value)) in attributes.iter().enumerate() {
            let Some((first, other)) = attributes[..index].iter().find(|(first, _)| is_same_argument(first, name))
            else {
                continue;
            };
            let older = if name_of_today(first) == *first { name } else { first };
            let text = format!("{first} and {name} of fence device {device} are two names of one argument");
            let place = ctx.document.attribute_place(element, name);
            if REFUSE_TWO_NAMES.contains(&agent) {
                let hint = format!("leave out {older}: {agent} does not run when it is given both");
                ctx.error("argument-twice", place, text, hint);
            } else if value != other {
                let hint = format!("leave out {older}: which of the two values counts is left to the agent");
                ctx.error("argument-twice", place, text, hint);
            } else {
                ctx.warning("argument-twice", place, text, format!("leave out {older}"));
            }
        }
    }
}

fn check_device_references(ctx: &mut Context<'_>) {
    let devices = devices(ctx);
    let names: Vec<&str> = devices.iter().filter_map(|device| ctx.document.attribute(*device, "name")).collect();
    let mut used = Vec::new();
    for path in INSTANCES {
        for instance in ctx.document.select(path) {
            for (key, value) in ctx.document.attributes(instance) {
                check_argument(ctx, instance, key, value);
            }
            let Some(name) = ctx.document.attribute(instance, "name").filter(|name| !name.is_empty()) else {
                let text = "a <device> does not say which fence device it is".to_owned();
                ctx.error(
                    "name-missing",
                    ctx.document.place(instance),
                    text,
                    "add name=\"…\" with the name of a <fencedevice>",
                );
                continue;
            };
            if !names.contains(&name) {
                let text = format!("there is no fence device {name}");
                let hint = format!("add <fencedevice name=\"{name}\" …>{}", suggestion(name, names.iter().copied()));
                ctx.error("unknown-reference", ctx.document.attribute_place(instance, "name"), text, hint);
            }
            used.push(name);
        }
    }
    for device in devices {
        if let Some(name) = ctx.text(device, "name")
            && !used.contains(&name)
        {
            let text = format!("fence device {name} is not used by any node");
            ctx.info(
                "unused",
                ctx.document.place(device),
                text,
                "add it to a fence method of the node that it can switch off",
            );
        }
    }
}

fn check_methods(ctx: &mut Context<'_>) {
    for fence in ctx.document.select("/cluster/clusternodes/clusternode/fence") {
        let methods: Vec<_> = ctx.document.children_named(fence, "method").collect();
        ctx.check_names("fence method", &methods, "name", same_name);
        for method in methods {
            if ctx.document.child(method, "device").is_none() {
                let name = ctx.text(method, "name").unwrap_or_default();
                let text = format!("fence method {name} has no devices");
                ctx.error("method-empty", ctx.document.place(method), text, "add a <device>, or remove the method");
            }
        }
    }
}

fn check_nodes_can_be_fenced(ctx: &mut Context<'_>) {
    for node in ctx.document.select("/cluster/clusternodes/clusternode") {
        let fence = ctx.document.child(node, "fence");
        if fence.and_then(|fence| ctx.document.child(fence, "method")).is_none() {
            let name = ctx.text(node, "name").unwrap_or_default();
            let text = format!(
                "node {name} has no fence method: if it fails, its services stay down until someone acknowledges it by hand"
            );
            ctx.warning(
                "node-not-fenced",
                ctx.document.place(node),
                text,
                "add a fence device and a method for the node",
            );
        }
    }
}
