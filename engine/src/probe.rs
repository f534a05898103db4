//! What already runs on a node when its daemon starts: the agents are asked, and the answers become claims.
//!
//! Asked for is what cluster.conf names, and what an earlier daemon started since the node booted: a resource that a newer
//! configuration has dropped may still run. Called by the holder before it joins the group; never starts or stops anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shared::conf::model::{Conf, Resource, Service};
use shared::ids::{ResourceName, ServiceName};

use crate::event::RunId;
use crate::isolation::non_critical_part;
use crate::message::Claim;
use crate::walk::without_children;

/// The questions that are still open and the answers so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Probing {
    runs: BTreeMap<RunId, (ServiceName, usize)>,
    services: BTreeMap<ServiceName, Asked>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Asked {
    configured: Option<Service>,
    /// More than one: a tree was being replaced by another when the earlier daemon ended.
    started: Vec<Service>,
    resources: Vec<(Resource, Option<Found>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Running,
    Absent,
    /// The agent did not say: it may run.
    Uncertain,
}

/// A service that was found running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundService {
    pub(crate) tree: Arc<Service>,
    pub(crate) claim: Claim,
    /// Non-critical parts of a whole one that do not run, by their tops.
    pub(crate) stopped_parts: BTreeSet<ResourceName>,
}

impl Probing {
    pub(crate) fn new(conf: &Conf, started: BTreeMap<ServiceName, Vec<Service>>) -> Self {
        let mut services: BTreeMap<ServiceName, Asked> = BTreeMap::new();
        for (name, started) in started {
            services.entry(name).or_default().started = started;
        }
        for service in &conf.services {
            services.entry(service.name.clone()).or_default().configured = Some(service.clone());
        }
        for asked in services.values_mut() {
            for service in asked.configured.iter().chain(&asked.started) {
                for resource in shared::tree::start_order(service) {
                    let resource = without_children(resource);
                    if asked.resources.iter().all(|(known, _)| *known != resource) {
                        asked.resources.push((resource, None));
                    }
                }
            }
        }
        Self { runs: BTreeMap::new(), services }
    }

    /// What to ask the agents; `new_run` names each question.
    pub(crate) fn ask(&mut self, mut new_run: impl FnMut() -> RunId) -> Vec<(RunId, ServiceName, Resource)> {
        let mut questions = Vec::new();
        for (name, asked) in &self.services {
            for (index, (resource, _)) in asked.resources.iter().enumerate() {
                let id = new_run();
                self.runs.insert(id, (name.clone(), index));
                questions.push((id, name.clone(), resource.clone()));
            }
        }
        questions
    }

    /// An answer. Returns whether the run was one of these.
    pub(crate) fn handle_run_finished(&mut self, id: RunId, code: Option<i32>) -> bool {
        let Some((service, index)) = self.runs.remove(&id) else { return false };
        let found = match code {
            Some(0) => Found::Running,
            // 7 not running; 5 not installed: nothing of it can run here.
            Some(7 | 5) => Found::Absent,
            _ => Found::Uncertain,
        };
        if let Some((_, answer)) = self.services.get_mut(&service).and_then(|asked| asked.resources.get_mut(index)) {
            *answer = Some(found);
        }
        true
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.runs.is_empty()
    }

    /// What runs here, with the tree it runs as, and whether that tree is whole.
    pub(crate) fn take_found(&mut self) -> Vec<(ServiceName, FoundService)> {
        let services = std::mem::take(&mut self.services);
        services.into_iter().filter_map(|(name, asked)| asked.judge().map(|found| (name, found))).collect()
    }
}

impl Asked {
    fn judge(self) -> Option<FoundService> {
        if self.resources.iter().all(|(_, found)| *found == Some(Found::Absent)) {
            return None;
        }
        let trees = || self.started.iter().chain(&self.configured);
        // In the middle of a replacement nothing is whole, also not when a daemon after the one that made it has ended too.
        let replaced = self.started.len() > 1 || self.started.iter().any(has_twins);
        let whole = trees().filter(|_| !replaced).find(|tree| self.is_whole(tree));
        if let Some(whole) = whole {
            let missing = self.resources.iter().filter(|(_, found)| *found != Some(Found::Running));
            let stopped_parts = missing.filter_map(|(resource, _)| non_critical_part(whole, &resource.name)).collect();
            return Some(FoundService { tree: Arc::new(whole.clone()), claim: Claim::Full, stopped_parts });
        }
        let both = trees().cloned().reduce(|both, tree| joined(&both, &tree))?;
        Some(FoundService { tree: Arc::new(both), claim: Claim::Part, stopped_parts: BTreeSet::new() })
    }

    /// All of the tree runs, but for non-critical parts, and nothing else does. What has the same name in another tree is the same thing with other
    /// parameters, which its agent may not be able to tell apart.
    fn is_whole(&self, tree: &Service) -> bool {
        let own: Vec<Resource> = shared::tree::start_order(tree).into_iter().map(without_children).collect();
        let names: BTreeSet<&ResourceName> = own.iter().map(|resource| &resource.name).collect();
        self.resources.iter().all(|(resource, found)| match found {
            Some(Found::Running) => names.contains(&resource.name),
            Some(Found::Absent) => !own.contains(resource) || non_critical_part(tree, &resource.name).is_some(),
            Some(Found::Uncertain) => own.contains(resource) && non_critical_part(tree, &resource.name).is_some(),
            None => false,
        })
    }
}

/// Whether one name stands for two resources: so it is only where one tree was being replaced by another.
fn has_twins(tree: &Service) -> bool {
    let mut names = BTreeSet::new();
    !shared::tree::start_order(tree).into_iter().all(|resource| names.insert(&resource.name))
}

/// Everything that may run while one tree is being replaced by the other, each above what it carries in either.
fn joined(old: &Service, new: &Service) -> Service {
    let mut both = old.clone();
    join(&mut both.tree, &new.tree);
    both
}

fn join(known: &mut Vec<Resource>, more: &[Resource]) {
    for resource in more {
        match known.iter_mut().find(|known| without_children(known) == without_children(resource)) {
            Some(known) => join(&mut known.children, &resource.children),
            None => known.push(resource.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks about a service that cluster.conf has as `configured` and that was started as `started`; `running` run.
    fn judge(configured: &str, started: &[&str], running: &[&str]) -> Option<(Vec<String>, Claim)> {
        let conf = conf(configured);
        let trees: Vec<Service> = started.iter().map(|inside| conf_of(inside).services.remove(0)).collect();
        let name = ServiceName("service:web".into());
        let journal = if trees.is_empty() { BTreeMap::new() } else { BTreeMap::from([(name, trees)]) };
        let mut probing = Probing::new(&conf, journal);
        let mut next = 0;
        let questions = probing.ask(|| {
            next += 1;
            RunId(next)
        });
        for (id, _, resource) in questions {
            let code = if running.contains(&resource.name.0.as_str()) { 0 } else { 7 };
            assert!(probing.handle_run_finished(id, Some(code)));
        }
        assert!(probing.is_complete());
        let (_, FoundService { tree, claim, stopped_parts }) = probing.take_found().pop()?;
        assert!(stopped_parts.is_empty() || claim == Claim::Full);
        let tree = Service {
            tree: tree.tree.iter().filter(|top| !stopped_parts.contains(&top.name)).cloned().collect(),
            ..(*tree).clone()
        };
        Some((shared::tree::start_order(&tree).iter().map(|resource| resource.name.0.clone()).collect(), claim))
    }

    fn conf(inside: &str) -> Conf {
        if inside.is_empty() { conf_text("") } else { conf_of(inside) }
    }

    fn conf_of(inside: &str) -> Conf {
        conf_text(&format!("<service name='web'>{inside}</service>"))
    }

    fn conf_text(services: &str) -> Conf {
        let text = format!(
            "<cluster name='c' config_version='1'><clusternodes><clusternode name='n1' nodeid='1'/></clusternodes>\
             <rm>{services}</rm></cluster>"
        );
        shared::conf::load(&text).conf.unwrap()
    }

    const A: &str = "<script name='a' file='/etc/init.d/a'/>";
    const B: &str = "<script name='b' file='/etc/init.d/b'/>";
    const A_ELSEWHERE: &str = "<script name='a' file='/opt/a'/>";

    fn found(names: &[&str], claim: Claim) -> Option<(Vec<String>, Claim)> {
        Some((names.iter().map(|name| (*name).to_owned()).collect(), claim))
    }

    #[test]
    fn without_a_journal_the_configuration_alone_is_asked_for() {
        assert_eq!(
            judge(&format!("{A}{B}"), &[], &["script:a", "script:b"]),
            found(&["script:a", "script:b"], Claim::Full)
        );
        assert_eq!(judge(&format!("{A}{B}"), &[], &["script:a"]), found(&["script:a", "script:b"], Claim::Part));
        assert_eq!(judge(&format!("{A}{B}"), &[], &[]), None);
    }

    #[test]
    fn a_non_critical_part_that_does_not_run_leaves_the_rest_whole() {
        let optional = B.replace("/>", " __independent_subtree='2'/>");
        let both = format!("{A}{optional}");
        assert_eq!(judge(&both, &[&both], &["script:a"]), found(&["script:a"], Claim::Full));
        assert_eq!(judge(&both, &[&both], &["script:b"]), found(&["script:a", "script:b"], Claim::Part));
    }

    #[test]
    fn what_the_configuration_has_dropped_is_found_and_is_a_part() {
        let started = format!("{A}{B}");
        assert_eq!(judge(A, &[&started, A], &["script:b"]), found(&["script:a", "script:b"], Claim::Part));
    }

    #[test]
    fn a_tree_that_runs_whole_as_it_was_started_is_whole_whatever_the_configuration_says_now() {
        let started = format!("{A}{B}");
        assert_eq!(judge(A, &[&started], &["script:a", "script:b"]), found(&["script:a", "script:b"], Claim::Full));
        assert_eq!(judge(A_ELSEWHERE, &[A], &["script:a"]), found(&["script:a"], Claim::Full));
    }

    #[test]
    fn a_service_that_is_no_longer_configured_is_found() {
        assert_eq!(judge("", &[A], &["script:a"]), found(&["script:a"], Claim::Full));
        assert_eq!(judge("", &[A], &[]), None);
    }

    #[test]
    fn in_the_middle_of_a_replacement_nothing_is_whole() {
        assert_eq!(judge(A_ELSEWHERE, &[A, A_ELSEWHERE], &["script:a"]), found(&["script:a", "script:a"], Claim::Part));
    }
}
