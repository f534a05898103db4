//! What changes for services when one cluster.conf follows another, in the layout of the original: both trees with marks, then
//! what is stopped and what is started. Pure; the comparison is `shared::conf::delta`'s.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use shared::conf::delta::{Delta, ServiceChange, ServiceDelta};
use shared::conf::model::Conf;
use shared::ids::{ResourceName, ServiceName};

use super::describe::{Marks, render_trees};

/// Trees, marks, phases, and what changes without a restart.
pub fn render_delta(old: &Conf, new: &Conf) -> String {
    let delta = Delta::between(old, new);
    let mut out = String::from("=== Old Resource Tree ===\n");
    out.push_str(&render_trees(old, &marks(&delta, Side::Old)));
    out.push_str("=== New Resource Tree ===\n");
    out.push_str(&render_trees(new, &marks(&delta, Side::New)));
    out.push_str("=== Operations (down-phase) ===\n");
    for service in &delta.services {
        for name in down(service) {
            line(&mut out, &format!("[stop] {name}"));
        }
    }
    out.push_str("=== Operations (up-phase) ===\n");
    for service in &delta.services {
        for name in up(service) {
            line(&mut out, &format!("[start] {name}"));
        }
    }
    out.push_str("=== Changes without restart ===\n");
    render_quiet(&mut out, &delta);
    out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Old,
    New,
}

fn marks(delta: &Delta, side: Side) -> Marks {
    let mut marks = Marks::default();
    for service in &delta.services {
        let (word, names) = match side {
            Side::Old => ("NEEDSTOP", &service.tree.stop),
            Side::New => ("NEEDSTART", &service.tree.start),
        };
        let own = match (service.change, side) {
            (ServiceChange::Removed, Side::Old) => Some("NEEDSTOP"),
            (ServiceChange::Added { starts: true }, Side::New) => Some("NEEDSTART"),
            (ServiceChange::Changed, Side::New) if !service.attributes.is_empty() => Some("RECONFIG"),
            _ => None,
        };
        marks.services.extend(own.map(|own| (service.name.clone(), own)));
        if service.change == (ServiceChange::Added { starts: false }) {
            continue;
        }
        let mut mark = |name: &ResourceName, word| {
            marks.resources.insert((service.name.clone(), name.clone()), word);
        };
        names.iter().for_each(|name| mark(name, word));
        if side == Side::New {
            service.tree.reconfigure.iter().for_each(|name| mark(name, "RECONFIG"));
        }
    }
    marks
}

/// The service around its resources is a step of its own when it goes as a whole, as in `noop`.
fn down(service: &ServiceDelta) -> Vec<String> {
    let mut steps: Vec<String> = service.tree.stop.iter().map(|name| name.0.clone()).collect();
    if service.change == ServiceChange::Removed && !is_guest(&service.name) {
        steps.push(service.name.0.clone());
    }
    steps
}

fn up(service: &ServiceDelta) -> Vec<String> {
    let mut steps: Vec<String> = service.tree.start.iter().map(|name| name.0.clone()).collect();
    match service.change {
        ServiceChange::Added { starts: false } => return Vec::new(),
        ServiceChange::Added { starts: true } if !is_guest(&service.name) => steps.insert(0, service.name.0.clone()),
        _ => {}
    }
    steps
}

fn is_guest(service: &ServiceName) -> bool {
    service.0.starts_with("vm:")
}

fn render_quiet(out: &mut String, delta: &Delta) {
    for service in &delta.services {
        for attribute in &service.attributes {
            let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
            let (old, new) = (shown(&attribute.old), shown(&attribute.new));
            line(out, &format!("{} {}: {old} -> {new}", service.name, attribute.name));
        }
        let names: BTreeSet<&ResourceName> = service.tree.reconfigure.iter().collect();
        for name in names {
            line(out, &format!("{} {name}: reconfigured", service.name));
        }
        if service.change == (ServiceChange::Added { starts: false }) {
            line(out, &format!("{} is new and does not start by itself (autostart=0)", service.name));
        }
    }
    for domain in &delta.domains {
        line(out, &format!("failover domain {domain} differs"));
    }
}

fn line(out: &mut String, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{text}");
}
