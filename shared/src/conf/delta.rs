//! What changes for running services when one configuration follows another (rhcs.md §3.6): which parts of a tree stop and
//! start, what takes effect without that, and which services come and go.
//!
//! The one answer to this question: the engine reloads a running service by it, `rg_test delta` prints it, and ricci gives it
//! as data before a configuration is put in force. Pure: two typed views in, marks out.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::model::{Conf, Recovery, Resource, Service};
use crate::agents::mapping;
use crate::ids::{DomainName, ResourceName, ServiceName};
use crate::tree::{start_order, stop_order};

/// What differs between two configurations, as far as services are concerned.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Delta {
    /// Services that differ: in the order of the new configuration, then those that it no longer has.
    pub services: Vec<ServiceDelta>,
    /// Failover domains that came, went or differ. Nothing restarts for it; from then on services are placed by the new ones.
    pub domains: Vec<DomainName>,
}

/// What becomes of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceDelta {
    pub name: ServiceName,
    pub change: ServiceChange,
    /// Attributes of the service itself; their change restarts nothing.
    pub attributes: Vec<AttributeDelta>,
    /// What happens to its resources where it runs.
    pub tree: TreeDelta,
}

/// How a service differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ServiceChange {
    /// New; starts unless `autostart="0"`.
    Added {
        starts: bool,
    },
    /// No longer there; stops.
    Removed,
    Changed,
}

/// One attribute of a service in both configurations; `None`: not set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributeDelta {
    pub name: String,
    pub old: Option<String>,
    pub new: Option<String>,
}

/// What happens to the resources of a running service, each list in the order in which it is done.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TreeDelta {
    /// Resources of the old tree that stop. One that is also in `start` is restarted.
    pub stop: Vec<ResourceName>,
    /// Resources of the new tree that start afterwards.
    pub start: Vec<ResourceName>,
    /// Resources whose changed attributes take effect without a restart.
    pub reconfigure: Vec<ResourceName>,
    /// Resources that go on running as they are.
    pub keep: Vec<ResourceName>,
}

impl TreeDelta {
    /// Nothing has to be stopped or started.
    pub fn is_quiet(&self) -> bool {
        self.stop.is_empty() && self.start.is_empty()
    }

    /// Compares the trees of one service. What is below a resource that restarts restarts with it; what is beside it or above
    /// it does not.
    pub fn between(old: &Service, new: &Service) -> Self {
        let mut marks = Marks::default();
        marks.compare(&old.tree, &new.tree);
        let pick = |order: Vec<&Resource>, wanted: &BTreeSet<ResourceName>| {
            order.into_iter().map(|resource| resource.name.clone()).filter(|name| wanted.contains(name)).collect()
        };
        Self {
            stop: pick(stop_order(old), &marks.stop),
            start: pick(start_order(new), &marks.start),
            reconfigure: pick(start_order(new), &marks.reconfigure),
            keep: start_order(new)
                .into_iter()
                .map(|resource| resource.name.clone())
                .filter(|name| !marks.start.contains(name) && !marks.reconfigure.contains(name))
                .collect(),
        }
    }
}

#[derive(Default)]
struct Marks {
    stop: BTreeSet<ResourceName>,
    start: BTreeSet<ResourceName>,
    reconfigure: BTreeSet<ResourceName>,
}

impl Marks {
    fn compare(&mut self, old: &[Resource], new: &[Resource]) {
        for before in old {
            let after = new.iter().find(|after| after.name == before.name);
            match after.map(|after| (after, run_changes(before, after))) {
                Some((after, RunChange::None)) => self.compare(&before.children, &after.children),
                Some((after, RunChange::Reconfigure)) => {
                    self.reconfigure.insert(after.name.clone());
                    self.compare(&before.children, &after.children);
                }
                Some((after, RunChange::Restart)) => {
                    take_subtree(before, &mut self.stop);
                    take_subtree(after, &mut self.start);
                }
                None => take_subtree(before, &mut self.stop),
            }
        }
        for after in new.iter().filter(|after| old.iter().all(|before| before.name != after.name)) {
            take_subtree(after, &mut self.start);
        }
    }
}

enum RunChange {
    None,
    Reconfigure,
    Restart,
}

/// What counts is what the agent would be given: an attribute that reaches no agent restarts nothing.
fn run_changes(old: &Resource, new: &Resource) -> RunChange {
    let unlike_attributes = old.attributes != new.attributes;
    if old.kind != new.kind {
        return RunChange::Restart;
    }
    match (mapping::map(old), mapping::map(new)) {
        (Ok(before), Ok(after)) if before == after => {
            if unlike_attributes {
                RunChange::Reconfigure
            } else {
                RunChange::None
            }
        }
        (Ok(_), Ok(_)) => match (mapping::map(&without_reloaded(old)), mapping::map(&without_reloaded(new))) {
            (Ok(before), Ok(after)) if before == after => RunChange::Reconfigure,
            _ => RunChange::Restart,
        },
        _ if unlike_attributes => RunChange::Restart,
        _ => RunChange::None,
    }
}

/// The resource without the attributes that a running one takes up by itself.
fn without_reloaded(resource: &Resource) -> Resource {
    let mut rest = Resource { children: Vec::new(), ..resource.clone() };
    let kind = mapping::kind(&resource.kind);
    rest.attributes.retain(|name, _| !kind.and_then(|kind| kind.attribute(name)).is_some_and(|row| row.reloads));
    rest
}

fn take_subtree(resource: &Resource, names: &mut BTreeSet<ResourceName>) {
    names.insert(resource.name.clone());
    for child in &resource.children {
        take_subtree(child, names);
    }
}

impl Delta {
    /// What differs between two configurations.
    pub fn between(old: &Conf, new: &Conf) -> Self {
        let mut services: Vec<ServiceDelta> = new
            .services
            .iter()
            .filter_map(|after| match old.service(&after.name) {
                Some(before) => changed(before, after),
                None => Some(added(after)),
            })
            .collect();
        services.extend(old.services.iter().filter(|before| new.service(&before.name).is_none()).map(removed));
        let mut domains: Vec<DomainName> = Vec::new();
        for domain in new.domains.iter().chain(&old.domains) {
            if old.domain(&domain.name) != new.domain(&domain.name) && !domains.contains(&domain.name) {
                domains.push(domain.name.clone());
            }
        }
        Self { services, domains }
    }

    /// Nothing differs that services would notice.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.domains.is_empty()
    }
}

fn changed(old: &Service, new: &Service) -> Option<ServiceDelta> {
    let tree = TreeDelta::between(old, new);
    let attributes = attribute_deltas(&service_attributes(old), &service_attributes(new));
    let quiet = tree.is_quiet() && tree.reconfigure.is_empty() && attributes.is_empty();
    (!quiet).then(|| ServiceDelta { name: new.name.clone(), change: ServiceChange::Changed, attributes, tree })
}

fn added(service: &Service) -> ServiceDelta {
    let start = start_order(service).into_iter().map(|resource| resource.name.clone()).collect();
    ServiceDelta {
        name: service.name.clone(),
        change: ServiceChange::Added { starts: service.autostart },
        attributes: Vec::new(),
        tree: TreeDelta { start, ..TreeDelta::default() },
    }
}

fn removed(service: &Service) -> ServiceDelta {
    let stop = stop_order(service).into_iter().map(|resource| resource.name.clone()).collect();
    ServiceDelta {
        name: service.name.clone(),
        change: ServiceChange::Removed,
        attributes: Vec::new(),
        tree: TreeDelta { stop, ..TreeDelta::default() },
    }
}

type Attributes = Vec<(&'static str, Option<String>)>;

/// The attributes of a service as cluster.conf writes them, defaults filled in.
fn service_attributes(service: &Service) -> Attributes {
    let recovery = match service.recovery {
        Recovery::Restart => "restart",
        Recovery::Relocate => "relocate",
        Recovery::Disable => "disable",
        Recovery::RestartDisable => "restart-disable",
    };
    vec![
        ("domain", service.domain.as_ref().map(|domain| domain.0.clone())),
        ("autostart", Some(u8::from(service.autostart).to_string())),
        ("exclusive", Some(service.exclusive.to_string())),
        ("recovery", Some(recovery.to_owned())),
        ("max_restarts", Some(service.max_restarts.to_string())),
        ("restart_expire_time", Some((service.restart_expire_ms / 1000).to_string())),
        ("depend", service.depend.as_ref().map(|depend| depend.0.clone())),
        ("depend_mode", service.depend.as_ref().map(|_| if service.depend_hard { "hard" } else { "soft" }.to_owned())),
        ("priority", Some(service.priority.to_string())),
        ("hardrecovery", Some(u8::from(service.hard_recovery).to_string())),
    ]
}

fn attribute_deltas(old: &Attributes, new: &Attributes) -> Vec<AttributeDelta> {
    old.iter()
        .zip(new)
        .filter(|(before, after)| before.1 != after.1)
        .map(|(before, after)| AttributeDelta {
            name: before.0.to_owned(),
            old: before.1.clone(),
            new: after.1.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf;

    fn read(rm: &str) -> Conf {
        let text = format!("<cluster name='c' config_version='1'><rm>{rm}</rm></cluster>");
        let (document, findings) = conf::Document::parse(&text);
        assert!(findings.is_empty(), "{findings:?}");
        conf::view::read(&document).0.unwrap()
    }

    /// `stop | start | reconfigure | keep` of a service whose content is replaced.
    fn tree(old: &str, new: &str) -> String {
        let read = |inside: &str| read(&format!("<service name='s'>{inside}</service>"));
        let delta = TreeDelta::between(&read(old).services[0], &read(new).services[0]);
        let words = |names: &[ResourceName]| names.iter().map(|name| name.0.clone()).collect::<Vec<_>>().join(" ");
        [&delta.stop, &delta.start, &delta.reconfigure, &delta.keep].map(|names| words(names)).join(" | ")
    }

    const NESTED: &str = "<fs name='f' device='/dev/a' mountpoint='/a'><script name='s' file='/s'/><script name='t' file='/t'/></fs><ip address='10.0.0.1'/>";

    #[test]
    fn a_changed_leaf_restarts_alone_at_whatever_depth() {
        assert_eq!(
            tree(NESTED, &NESTED.replace("file='/t'", "file='/t2'")),
            "script:t | script:t |  | fs:f script:s ip:10.0.0.1"
        );
    }

    #[test]
    fn what_is_below_a_changed_resource_restarts_with_it_and_what_is_beside_does_not() {
        assert_eq!(
            tree(NESTED, &NESTED.replace("/dev/a", "/dev/b")),
            "script:t script:s fs:f | fs:f script:s script:t |  | ip:10.0.0.1"
        );
    }

    #[test]
    fn what_comes_and_goes_starts_and_stops_alone() {
        assert_eq!(
            tree(NESTED, &NESTED.replace("<script name='s' file='/s'/>", "<script name='n' file='/n'/>")),
            "script:s | script:n |  | fs:f script:t ip:10.0.0.1"
        );
    }

    #[test]
    fn a_resource_that_moves_to_another_parent_is_restarted_there() {
        let moved = "<fs name='f' device='/dev/a' mountpoint='/a'><script name='s' file='/s'/></fs><ip address='10.0.0.1'/><script name='t' file='/t'/>";
        assert_eq!(tree(NESTED, moved), "script:t | script:t |  | fs:f script:s ip:10.0.0.1");
    }

    #[test]
    fn order_marks_and_attributes_that_reach_no_agent_restart_nothing() {
        let reordered = "<ip address='10.0.0.1'/><fs name='f' device='/dev/a' mountpoint='/a'><script name='t' file='/t'/><script name='s' file='/s'/></fs>";
        assert_eq!(tree(NESTED, reordered), " |  |  | fs:f script:t script:s ip:10.0.0.1");
        let marked = NESTED.replace(
            "<script name='s' file='/s'/>",
            "<script name='s' file='/s' __independent_subtree='1'><action name='status' interval='5'/></script>",
        );
        assert_eq!(tree(NESTED, &marked), " |  |  | fs:f script:s script:t ip:10.0.0.1");
        let sleepy = NESTED.replace("address=", "sleeptime='5' address=");
        assert_eq!(tree(NESTED, &sleepy), " |  | ip:10.0.0.1 | fs:f script:s script:t");
    }

    #[test]
    fn a_guest_takes_up_how_it_is_watched_and_migrated_and_restarts_for_the_rest() {
        let guest = |more: &str| read(&format!("<vm name='g' xmlfile='/g.xml'{more}/>"));
        let quiet = TreeDelta::between(
            &guest("").services[0],
            &guest(" status_program='/usr/bin/look' migration_network_suffix='-mig' recovery='relocate'").services[0],
        );
        assert!(quiet.is_quiet(), "{quiet:?}");
        assert_eq!(quiet.reconfigure, [ResourceName::from("vm:g")]);
        let other = read("<vm name='g' xmlfile='/h.xml'/>");
        let loud = TreeDelta::between(&guest("").services[0], &other.services[0]);
        assert_eq!(loud.stop, [ResourceName::from("vm:g")]);
        assert_eq!(loud.start, [ResourceName::from("vm:g")]);
    }

    #[test]
    fn attributes_of_a_service_are_told_and_restart_nothing() {
        let old = read("<service name='s'><ip address='10.0.0.1'/></service>");
        let new = read(
            "<failoverdomains><failoverdomain name='d'/></failoverdomains><service name='s' domain='d' recovery='relocate' autostart='0'><ip address='10.0.0.1'/></service>",
        );
        let delta = Delta::between(&old, &new);
        let told: Vec<_> = delta.services[0]
            .attributes
            .iter()
            .map(|attribute| {
                let text = |value: &Option<String>| value.clone().unwrap_or_default();
                format!("{}: {} -> {}", attribute.name, text(&attribute.old), text(&attribute.new))
            })
            .collect();
        assert_eq!(told, ["domain:  -> d", "autostart: 1 -> 0", "recovery: restart -> relocate"]);
        assert!(delta.services[0].tree.is_quiet());
        assert_eq!(delta.domains, [DomainName::from("d")]);
        assert!(Delta::between(&new, &new).is_empty());
    }

    #[test]
    fn new_services_start_by_autostart_and_removed_ones_stop() {
        let old = read(
            "<service name='gone'><fs name='f' device='/d' mountpoint='/m'><script name='x' file='/x'/></fs></service>",
        );
        let new = read("<service name='new' autostart='0'><ip address='10.0.0.1'/></service>");
        let delta = Delta::between(&old, &new);
        assert_eq!(delta.services[0].change, ServiceChange::Added { starts: false });
        assert_eq!(delta.services[1].change, ServiceChange::Removed);
        assert_eq!(delta.services[1].tree.stop, [ResourceName::from("script:x"), ResourceName::from("fs:f")]);
    }
}
