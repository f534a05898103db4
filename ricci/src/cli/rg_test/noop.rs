//! The order in which a service, or a part of its tree, is started, stopped or checked. Pure: the order itself is
//! `shared::tree`'s.

use shared::conf::model::{Conf, Resource, Service};
use shared::ids::{ResourceName, ServiceName};
use shared::tree::{child_start_order, child_stop_order, start_order, stop_order};

/// What would be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Start,
    Stop,
    Status,
}

impl Operation {
    pub(super) fn parse(word: &str) -> Option<Self> {
        match word {
            "start" => Some(Self::Start),
            "stop" => Some(Self::Stop),
            "status" => Some(Self::Status),
            _ => None,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Status => "status",
        }
    }
}

/// There is no such thing in the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no {kind} named '{name}'")]
pub struct NotFound {
    pub(super) kind: String,
    pub(super) name: String,
}

/// The steps, one per line.
pub fn render_noop(conf: &Conf, operation: Operation, kind: &str, name: &str) -> Result<String, NotFound> {
    let steps =
        steps(conf, operation, kind, name).ok_or_else(|| NotFound { kind: kind.to_owned(), name: name.to_owned() })?;
    let (first, last) = match operation {
        Operation::Start => ("Starting", "Start"),
        Operation::Stop => ("Stopping", "Stop"),
        Operation::Status => ("Checking status of", "Status check"),
    };
    let lines: Vec<String> = steps.iter().map(|step| format!("[{}] {step}\n", operation.word())).collect();
    Ok(format!("{first} {name}...\n{}{last} of {name} complete\n", lines.concat()))
}

fn steps(conf: &Conf, operation: Operation, kind: &str, name: &str) -> Option<Vec<String>> {
    let (service, resources) = resources(conf, operation, kind, name)?;
    let mut steps: Vec<String> = resources.into_iter().map(|resource| resource.name.0.clone()).collect();
    // A guest is its own and only resource; the service around other resources is a step of its own.
    if kind == "service" {
        let own = service.name.0.clone();
        if operation == Operation::Stop { steps.push(own) } else { steps.insert(0, own) }
    }
    Some(steps)
}

/// The resources of a service, or of the part of it below a resource, in the order in which their agents are run.
pub(super) fn resources<'a>(
    conf: &'a Conf,
    operation: Operation,
    kind: &str,
    name: &str,
) -> Option<(&'a Service, Vec<&'a Resource>)> {
    if matches!(kind, "service" | "vm") {
        let service = conf.service(&ServiceName(format!("{kind}:{name}")))?;
        let order = match operation {
            Operation::Start | Operation::Status => start_order(service),
            Operation::Stop => stop_order(service),
        };
        return Some((service, order));
    }
    let wanted = ResourceName(format!("{kind}:{name}"));
    let (service, resource) =
        conf.services.iter().find_map(|service| Some((service, find(&service.tree, &wanted)?)))?;
    let mut order = Vec::new();
    walk(resource, operation, &mut order);
    Some((service, order))
}

fn find<'a>(resources: &'a [Resource], name: &ResourceName) -> Option<&'a Resource> {
    resources.iter().find_map(
        |resource| {
            if resource.name == *name { Some(resource) } else { find(&resource.children, name) }
        },
    )
}

fn walk<'a>(resource: &'a Resource, operation: Operation, order: &mut Vec<&'a Resource>) {
    if operation == Operation::Stop {
        for child in child_stop_order(&resource.kind, &resource.children) {
            walk(child, operation, order);
        }
        order.push(resource);
        return;
    }
    order.push(resource);
    for child in child_start_order(&resource.kind, &resource.children) {
        walk(child, operation, order);
    }
}
