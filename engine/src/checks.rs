//! When which resource is checked, and how deeply (rhcs.md §5.5): every depth has an interval of its own; of those that are due
//! the deepest is run, and it stands for the shallower ones too. Asked by the holder; runs nothing itself.

use shared::conf::model::Resource;
use shared::ids::Time;

use crate::event::RunId;
use crate::walk::without_children;

/// How often a resource is checked when cluster.conf does not say.
pub const CHECK_INTERVAL_MS: u64 = 10_000;

/// The checks of one resource that runs here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) resource: Resource,
    levels: Vec<Level>,
    pub(crate) run: Option<RunId>,
    /// Depth of the run under way.
    depth: u32,
    /// Something happened to the resource while its check was running: check once more.
    again: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Level {
    depth: u32,
    /// 0: not checked by itself at this depth, only when something is noticed.
    interval_ms: u64,
    due: Option<Time>,
}

impl Check {
    pub(crate) fn new(resource: &Resource, now: Time) -> Self {
        let levels = levels(resource, now);
        Self { resource: without_children(resource), levels, run: None, depth: 0, again: false }
    }

    /// The resource's definition may have changed; what is due stays due unless its interval changed.
    pub(crate) fn refresh(&mut self, resource: &Resource, now: Time) {
        let old = std::mem::replace(&mut self.levels, levels(resource, now));
        for level in &mut self.levels {
            let same = old.iter().find(|old| old.depth == level.depth && old.interval_ms == level.interval_ms);
            level.due = same.map_or(level.due, |same| same.due);
        }
        self.resource = without_children(resource);
    }

    /// The depth to be checked now, if any.
    pub(crate) fn due(&self, now: Time) -> Option<u32> {
        let due = self.levels.iter().filter(|level| level.due.is_some_and(|due| due <= now));
        due.map(|level| level.depth).max().filter(|_| self.run.is_none())
    }

    pub(crate) fn begin(&mut self, run: RunId, depth: u32) {
        self.run = Some(run);
        self.depth = depth;
    }

    /// The run has ended, or is skipped.
    pub(crate) fn end(&mut self, now: Time) {
        self.run = None;
        for level in self.levels.iter_mut().filter(|level| level.depth <= self.depth) {
            level.due = (level.interval_ms > 0).then(|| now.plus_ms(level.interval_ms));
        }
        if std::mem::take(&mut self.again) {
            self.soon(now);
        }
    }

    /// All depths wait for their whole interval.
    pub(crate) fn postpone(&mut self, now: Time) {
        for level in &mut self.levels {
            level.due = (level.interval_ms > 0).then(|| now.plus_ms(level.interval_ms));
        }
    }

    /// Nobody looks while the service is frozen: the check waits for `make_up`.
    pub(crate) fn pass_over(&mut self, now: Time) {
        self.postpone(now);
        self.again = true;
    }

    /// The service is frozen: what is found of it meanwhile changes nothing, so that it is looked at when it no longer is.
    pub(crate) fn look_again(&mut self) {
        self.again = true;
    }

    /// What was passed over is done at once.
    pub(crate) fn make_up(&mut self, now: Time) {
        if self.run.is_none() && std::mem::take(&mut self.again) {
            self.soon(now);
        }
    }

    /// Something happened to the resource: it is checked at once, not deeply.
    pub(crate) fn soon(&mut self, now: Time) {
        if self.run.is_some() {
            self.again = true;
            return;
        }
        for level in self.levels.iter_mut().filter(|level| level.depth == 0) {
            level.due = Some(now);
        }
    }

    pub(crate) fn next_due(&self) -> Option<Time> {
        self.levels.iter().filter_map(|level| level.due).min().filter(|_| self.run.is_none())
    }
}

/// Depth 0 always, first; deeper ones where cluster.conf gives them an interval.
fn levels(resource: &Resource, now: Time) -> Vec<Level> {
    let mut depths: Vec<u32> = checks(resource).filter_map(|(depth, _)| depth).chain([0]).collect();
    depths.sort_unstable();
    depths.dedup();
    depths
        .into_iter()
        .filter_map(|depth| interval_ms(resource, depth).map(|interval_ms| (depth, interval_ms)))
        .map(|(depth, interval_ms)| Level {
            depth,
            interval_ms,
            due: (interval_ms > 0).then(|| now.plus_ms(interval_ms)),
        })
        .collect()
}

/// `<action name="status">` by depth and interval.
fn checks(resource: &Resource) -> impl Iterator<Item = (Option<u32>, Option<u64>)> {
    let named = resource.actions.iter().filter(|action| matches!(action.name.as_str(), "status" | "monitor"));
    named.map(|action| (action.depth, action.interval_ms))
}

/// What cluster.conf says for this very depth, else for every depth (`*`), else the usual interval at depth 0.
fn interval_ms(resource: &Resource, depth: u32) -> Option<u64> {
    let given = |wanted: Option<u32>| checks(resource).filter(|(d, _)| *d == wanted).find_map(|(_, interval)| interval);
    // An action without a depth is about the plain check too.
    given(Some(depth)).or_else(|| given(None)).or((depth == 0).then_some(CHECK_INTERVAL_MS))
}

#[cfg(test)]
mod tests {
    use shared::conf::model::{ActionOverride, Isolation};
    use shared::ids::ResourceName;

    use super::*;

    fn resource(actions: &[(Option<u32>, u64)]) -> Resource {
        let action = |&(depth, interval_s): &(Option<u32>, u64)| ActionOverride {
            name: "status".into(),
            depth,
            interval_ms: Some(interval_s * 1000),
            timeout_ms: None,
        };
        Resource {
            name: ResourceName::from("ip:x"),
            kind: "ip".into(),
            attributes: Default::default(),
            isolation: Isolation::default(),
            actions: actions.iter().map(action).collect(),
            children: Vec::new(),
        }
    }

    /// The depths that are run within a minute, as `second:depth`; each run takes no time.
    fn runs(actions: &[(Option<u32>, u64)]) -> String {
        let mut check = Check::new(&resource(actions), Time(0));
        let mut runs = Vec::new();
        for second in 1..=60 {
            let now = Time(second * 1000);
            if let Some(depth) = check.due(now) {
                check.begin(RunId(second), depth);
                check.end(now);
                runs.push(format!("{second}:{depth}"));
            }
        }
        runs.join(" ")
    }

    #[test]
    fn each_depth_has_its_interval_and_the_deepest_due_stands_for_the_others() {
        assert_eq!(runs(&[]), "10:0 20:0 30:0 40:0 50:0 60:0");
        assert_eq!(runs(&[(Some(0), 20), (Some(10), 30)]), "20:0 30:10 50:0 60:10");
        assert_eq!(runs(&[(Some(0), 15), (Some(10), 30)]), "15:0 30:10 45:0 60:10");
    }

    #[test]
    fn an_action_for_every_depth_counts_where_no_other_does() {
        assert_eq!(runs(&[(None, 30)]), "30:0 60:0");
        assert_eq!(runs(&[(None, 30), (Some(10), 45)]), "30:0 45:10");
    }

    #[test]
    fn interval_0_switches_a_depth_off_but_what_is_noticed_is_checked() {
        assert_eq!(runs(&[(Some(0), 0), (Some(10), 0)]), "");
        let mut check = Check::new(&resource(&[(Some(0), 0)]), Time(0));
        assert_eq!(check.next_due(), None);
        check.soon(Time(5));
        assert_eq!(check.due(Time(5)), Some(0));
        check.pass_over(Time(6));
        assert_eq!(check.next_due(), None, "while it is frozen nothing is due");
        check.make_up(Time(7));
        assert_eq!(check.due(Time(7)), Some(0), "it is made up for");
    }

    #[test]
    fn what_happens_during_a_check_is_checked_once_more() {
        let mut check = Check::new(&resource(&[]), Time(0));
        check.begin(RunId(1), 0);
        check.soon(Time(7));
        assert_eq!(check.due(Time(8)), None);
        check.end(Time(9));
        assert_eq!(check.due(Time(9)), Some(0));
    }

    #[test]
    fn a_new_definition_keeps_what_is_due_unless_the_interval_changed() {
        let mut check = Check::new(&resource(&[]), Time(0));
        check.refresh(&resource(&[]), Time(4000));
        assert_eq!(check.next_due(), Some(Time(10_000)));
        check.refresh(&resource(&[(Some(0), 3)]), Time(4000));
        assert_eq!(check.next_due(), Some(Time(7000)));
    }
}
