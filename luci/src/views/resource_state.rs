//! What each resource of a service does now, as small parts that stand in the tree and are pushed when they change. Pure:
//! status in, parts out.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use shared::conf::model::{Conf, Resource};
use shared::ids::ServiceName;
use shared::status::ResourceState;
use shared::text::ServiceState;

use super::badge::{self, Badge, Kind};
use crate::watcher::Snapshot;

/// It is in a draft only.
const NOT_APPLIED: Badge = Badge { kind: Kind::Off, word: "not applied yet" };
/// The cluster has not switched to its version yet.
const NOT_IN_FORCE: Badge = Badge { kind: Kind::Off, word: "not in force yet" };

/// The resources of a service as its owner tells of them.
#[derive(Debug, Clone, Default)]
pub struct States {
    by_name: BTreeMap<String, ResourceState>,
    /// Of those that are not told of.
    rest: Option<Badge>,
    /// What the newest version has in this service; `None`: luci knows no version.
    applied: Option<BTreeSet<String>>,
}

impl States {
    /// `newest`: the newest version that was applied.
    pub fn new(snapshot: &Snapshot, newest: Option<&Conf>, service: &ServiceName) -> Self {
        let applied = newest.map(|conf| conf.service(service).map(|found| names(&found.tree)).unwrap_or_default());
        let Some(live) = snapshot.live() else { return Self { applied, ..Self::default() } };
        let Some(status) = live.service(service) else {
            return Self { by_name: BTreeMap::new(), rest: Some(NOT_IN_FORCE), applied };
        };
        let rest = match status.state {
            _ if !status.resources.is_empty() => NOT_IN_FORCE,
            // Nobody runs it; after a stop that failed, nobody knows what is left of it.
            ServiceState::Stopped | ServiceState::Disabled | ServiceState::Recoverable => {
                badge::resource(ResourceState::Stopped)
            }
            _ => badge::UNKNOWN,
        };
        let by_name = status.resources.iter().map(|resource| (resource.name.0.clone(), resource.state));
        Self { by_name: by_name.collect(), rest: Some(rest), applied }
    }

    fn of(&self, name: &str) -> Badge {
        if let Some(state) = self.by_name.get(name) {
            return badge::resource(*state);
        }
        if self.applied.as_ref().is_some_and(|applied| !applied.contains(name)) {
            return NOT_APPLIED;
        }
        self.rest.unwrap_or(badge::UNKNOWN)
    }
}

fn names(tree: &[Resource]) -> BTreeSet<String> {
    tree.iter().flat_map(|one| std::iter::once(one.name.0.clone()).chain(names(&one.children))).collect()
}

/// The state of one resource, with the name by which it is replaced when it changes.
#[derive(Debug, Clone, Template)]
#[template(path = "parts/resource_state.html")]
pub struct StatePart {
    /// `state-fs:data`.
    pub id: String,
    pub badge: Badge,
}

impl StatePart {
    /// `name` as the status has it.
    pub fn new(name: &str, now: &States) -> Self {
        Self { id: format!("state-{name}"), badge: now.of(name) }
    }
}

/// The parts of all resources of a tree.
pub fn state_parts(tree: &[Resource], now: &States) -> Vec<StatePart> {
    let one = |resource: &Resource| {
        std::iter::once(StatePart::new(&resource.name.0, now)).chain(state_parts(&resource.children, now))
    };
    tree.iter().flat_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_of_which_nothing_is_told_never_looks_as_if_it_ran() {
        assert_eq!(States::default().of("fs:data"), badge::UNKNOWN);
        let told = [("fs:data".to_owned(), ResourceState::Failed)].into();
        let applied = ["fs:data", "ip:10.0.0.1"].map(str::to_owned).into();
        let now = States { by_name: told, rest: Some(NOT_IN_FORCE), applied: Some(applied) };
        assert_eq!((now.of("fs:data").word, now.of("ip:10.0.0.1").word), ("failed", "not in force yet"));
        // Of what is in a draft only, no member can know anything.
        assert_eq!(now.of("script:new").word, "not applied yet");
    }
}
