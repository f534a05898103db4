//! What a failure of one resource means for its service (rhcs.md §5.6): tolerated, the restart of one independent subtree, the
//! end of a non-critical one, or the failure of the whole service. Asked by the holder; counts in this node's own memory, and
//! forgets when the service starts anew.

use std::collections::{BTreeMap, BTreeSet};

use shared::conf::model::{Resource, Service};
use shared::ids::{ResourceName, Time};

use crate::change::Mending;

/// What a failure comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// `__max_failures` within `__failure_expire_time` are not used up.
    Tolerated { count: u32, max: u32 },
    /// The service goes on.
    Mend(Mending),
    /// The service has failed.
    Service,
}

/// The parts of a service that runs here: which are stopped, and what has befallen them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Parts {
    /// Tops of the non-critical subtrees that are stopped.
    pub(crate) stopped: BTreeSet<ResourceName>,
    failures: BTreeMap<ResourceName, Vec<Time>>,
    restarts: BTreeMap<ResourceName, Vec<Time>>,
}

impl Parts {
    /// A check of the resource has failed.
    pub(crate) fn judge_check(&mut self, service: &Service, resource: &ResourceName, now: Time) -> Verdict {
        let limits = find(service, resource).map(|resource| resource.isolation).unwrap_or_default();
        if limits.max_failures > 0 && limits.failure_expire_ms > 0 {
            let seen = self.failures.entry(resource.clone()).or_default();
            seen.retain(|at| now.since_ms(*at) < limits.failure_expire_ms);
            seen.push(now);
            let count = u32::try_from(seen.len()).unwrap_or(u32::MAX);
            if count <= limits.max_failures {
                return Verdict::Tolerated { count, max: limits.max_failures };
            }
            seen.clear();
        }
        self.judge(service, resource, now).map_or(Verdict::Service, Verdict::Mend)
    }

    /// The resource does not run and that is not tolerated. The nearest subtree that is independent answers for it; one that has
    /// used up its restarts passes it on outwards, or is given up if it is non-critical. `None`: the service has failed.
    fn judge(&mut self, service: &Service, resource: &ResourceName, now: Time) -> Option<Mending> {
        for part in path(&service.tree, resource).unwrap_or_default().into_iter().rev() {
            let limits = part.isolation;
            if limits.independent_subtree == 0 {
                continue;
            }
            let bounded = limits.max_restarts > 0 && limits.restart_expire_ms > 0;
            let seen = self.restarts.entry(part.name.clone()).or_default();
            seen.retain(|at| now.since_ms(*at) < limits.restart_expire_ms);
            let left =
                if bounded { seen.len() < limits.max_restarts as usize } else { limits.independent_subtree == 1 };
            if left {
                if bounded {
                    seen.push(now);
                }
                // What is inside starts afresh with it.
                let inside = subtree(part);
                self.restarts.retain(|name, _| *name == part.name || !inside.contains(name));
                return Some(Mending::Restart(part.name.clone()));
            }
            if limits.independent_subtree == 2 {
                return Some(self.give_up(&part.name));
            }
        }
        None
    }

    /// A non-critical part did not start: it is tried again, or left out.
    pub(crate) fn judge_start(&mut self, service: &Service, part: &ResourceName, now: Time) -> Mending {
        match self.judge(service, part, now) {
            Some(restart @ Mending::Restart(_)) => restart,
            // Only what is non-critical is left out of a start, so the service cannot be to blame.
            Some(Mending::Rest(_)) | None => self.give_up(part),
        }
    }

    /// The part stays stopped.
    pub(crate) fn give_up(&mut self, part: &ResourceName) -> Mending {
        self.stopped.insert(part.clone());
        Mending::Rest(part.clone())
    }

    /// The part is tried again by hand: it gets all its restarts back.
    pub(crate) fn revive(&mut self, part: &ResourceName) {
        self.stopped.remove(part);
        self.restarts.remove(part);
        self.failures.remove(part);
    }

    /// Every resource that is stopped because a part is.
    pub(crate) fn resting(&self, service: &Service) -> BTreeSet<ResourceName> {
        self.stopped.iter().flat_map(|part| subtree_of(service, part)).collect()
    }
}

/// The nearest non-critical subtree around a resource, by its top.
pub(crate) fn non_critical_part(service: &Service, resource: &ResourceName) -> Option<ResourceName> {
    let path = path(&service.tree, resource)?;
    path.into_iter().rev().find(|part| part.isolation.independent_subtree == 2).map(|part| part.name.clone())
}

/// Names of everything in the subtree with this top; empty if there is none.
pub(crate) fn subtree_of(service: &Service, top: &ResourceName) -> BTreeSet<ResourceName> {
    find(service, top).map(subtree).unwrap_or_default()
}

fn subtree(top: &Resource) -> BTreeSet<ResourceName> {
    let mut names = BTreeSet::from([top.name.clone()]);
    names.extend(top.children.iter().flat_map(subtree));
    names
}

/// From the top of the tree down to the resource.
fn path<'a>(resources: &'a [Resource], name: &ResourceName) -> Option<Vec<&'a Resource>> {
    resources.iter().find_map(|resource| {
        if resource.name == *name {
            return Some(vec![resource]);
        }
        let mut below = path(&resource.children, name)?;
        below.insert(0, resource);
        Some(below)
    })
}

/// The resource with this name.
pub(crate) fn find<'a>(service: &'a Service, name: &ResourceName) -> Option<&'a Resource> {
    path(&service.tree, name)?.pop()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(inside: &str) -> Service {
        let text =
            format!("<cluster name='c' config_version='1'><rm><service name='s'>{inside}</service></rm></cluster>");
        let (document, findings) = shared::conf::Document::parse(&text);
        assert!(findings.is_empty(), "{findings:?}");
        shared::conf::view::read(&document).0.unwrap().services.remove(0)
    }

    /// What failures at these seconds come to.
    fn verdicts(inside: &str, resource: &str, seconds: &[u64]) -> Vec<Verdict> {
        let (service, mut parts) = (service(inside), Parts::default());
        let name = ResourceName::from(resource);
        seconds.iter().map(|second| parts.judge_check(&service, &name, Time(second * 1000))).collect()
    }

    fn restart(name: &str) -> Verdict {
        Verdict::Mend(Mending::Restart(ResourceName::from(name)))
    }

    #[test]
    fn without_a_mark_the_service_fails() {
        assert_eq!(verdicts("<script name='a' file='/a'/>", "script:a", &[0]), [Verdict::Service]);
    }

    #[test]
    fn an_independent_subtree_answers_for_everything_below_it_without_end() {
        let inside =
            "<fs name='f' device='/d' mountpoint='/m' __independent_subtree='1'><script name='a' file='/a'/></fs>";
        assert_eq!(verdicts(inside, "script:a", &[0, 1, 2]), [restart("fs:f"), restart("fs:f"), restart("fs:f")]);
    }

    #[test]
    fn restarts_are_bounded_only_if_both_limits_are_given() {
        let script = |more: &str| format!("<script name='a' file='/a' __independent_subtree='yes' {more}/>");
        let both = script("__max_restarts='1' __restart_expire_time='1m'");
        assert_eq!(verdicts(&both, "script:a", &[0, 59]), [restart("script:a"), Verdict::Service]);
        assert_eq!(verdicts(&both, "script:a", &[0, 60]), [restart("script:a"), restart("script:a")]);
        let one = script("__max_restarts='1'");
        assert_eq!(verdicts(&one, "script:a", &[0, 1]), [restart("script:a"), restart("script:a")]);
    }

    #[test]
    fn a_non_critical_subtree_is_given_up_at_once_or_when_its_restarts_are_used_up() {
        let script = |more: &str| format!("<script name='a' file='/a' __independent_subtree='non-critical' {more}/>");
        let rest = || Verdict::Mend(Mending::Rest(ResourceName::from("script:a")));
        assert_eq!(verdicts(&script(""), "script:a", &[0]), [rest()]);
        let counted = script("__max_restarts='2' __restart_expire_time='10m'");
        assert_eq!(verdicts(&counted, "script:a", &[0, 1, 2]), [restart("script:a"), restart("script:a"), rest()]);
    }

    #[test]
    fn what_an_inner_subtree_cannot_mend_the_outer_one_does() {
        let inside = "<fs name='f' device='/d' mountpoint='/m' __independent_subtree='1'>\
                      <script name='a' file='/a' __independent_subtree='1' __max_restarts='1' __restart_expire_time='1h'/></fs>";
        let wanted = [restart("script:a"), restart("fs:f"), restart("script:a"), restart("fs:f")];
        assert_eq!(verdicts(inside, "script:a", &[0, 1, 2, 3]), wanted);
    }

    #[test]
    fn failures_are_tolerated_within_their_window_only_if_both_limits_are_given() {
        let script = |more: &str| format!("<script name='a' file='/a' {more}/>");
        let tolerated = |count| Verdict::Tolerated { count, max: 2 };
        let both = script("__max_failures='2' __failure_expire_time='1m'");
        assert_eq!(verdicts(&both, "script:a", &[0, 10, 20]), [tolerated(1), tolerated(2), Verdict::Service]);
        assert_eq!(verdicts(&both, "script:a", &[0, 10, 60]), [tolerated(1), tolerated(2), tolerated(2)]);
        assert_eq!(verdicts(&script("__max_failures='2'"), "script:a", &[0]), [Verdict::Service]);
    }

    #[test]
    fn a_revived_part_has_all_its_restarts_again() {
        let service = service(
            "<script name='a' file='/a' __independent_subtree='2' __max_restarts='1' __restart_expire_time='1h'/>",
        );
        let (mut parts, name) = (Parts::default(), ResourceName::from("script:a"));
        assert_eq!(parts.judge(&service, &name, Time(0)), Some(Mending::Restart(name.clone())));
        assert_eq!(parts.judge(&service, &name, Time(1)), Some(Mending::Rest(name.clone())));
        assert_eq!(parts.resting(&service), BTreeSet::from([name.clone()]));
        parts.revive(&name);
        assert_eq!(parts.judge(&service, &name, Time(2)), Some(Mending::Restart(name)));
    }
}
