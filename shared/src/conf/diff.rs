//! What differs between two configurations: in words for people who run services, and line by line for those who know the file.
//!
//! Used by the review before a version is applied, by the list of versions and by the commands. Secrets are masked in
//! both; that one changed is told.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::diff_stack;
use super::model::{
    Conf, Domain, FenceDevice, FenceInstance, FenceMethod, GlobalResource, Node, Recovery, Resource, Rm, Service,
};
use super::secret;

/// One difference, e.g. subject `service web`, detail `failover domain east → west`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub kind: ChangeKind,
    pub subject: String,
    /// What changed; empty when the subject was added or removed.
    pub detail: String,
}

/// What happened to the subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    Added,
    Removed,
    Changed,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ChangeKind::Added => write!(f, "{} added", self.subject),
            ChangeKind::Removed => write!(f, "{} removed", self.subject),
            ChangeKind::Changed => write!(f, "{}: {}", self.subject, self.detail),
        }
    }
}

/// All differences in words. The version itself is not one: it differs always.
pub fn diff(old: &Conf, new: &Conf) -> Vec<Change> {
    let mut changes = Changes(Vec::new());
    changes.compare("cluster", "name", &old.name, &new.name);
    diff_cluster(&mut changes, old, new);
    changes.list("node", &old.nodes, &new.nodes, |node| node.name.0.clone(), diff_node);
    changes.list("fence device", &old.fence_devices, &new.fence_devices, |device| device.name.clone(), diff_device);
    changes.list("failover domain", &old.domains, &new.domains, |domain| domain.name.0.to_lowercase(), diff_domain);
    changes.list("resource", &old.resources, &new.resources, |one| format!("{}:{}", one.kind, one.name), diff_resource);
    changes.list("", &old.services, &new.services, |service| service.name.0.replacen(':', " ", 1), diff_service);
    changes.0
}

pub(super) struct Changes(Vec<Change>);

impl Changes {
    pub(super) fn push(&mut self, kind: ChangeKind, subject: &str, detail: String) {
        self.0.push(Change { kind, subject: subject.to_owned(), detail });
    }

    pub(super) fn compare<T: PartialEq + fmt::Display>(&mut self, subject: &str, what: &str, old: &T, new: &T) {
        if old != new {
            self.push(ChangeKind::Changed, subject, format!("{what} {old} → {new}"));
        }
    }

    fn compare_option<T: PartialEq + fmt::Display>(
        &mut self,
        subject: &str,
        what: &str,
        old: &Option<T>,
        new: &Option<T>,
    ) {
        let text = |value: &Option<T>| value.as_ref().map_or("none".to_owned(), ToString::to_string);
        self.compare(subject, what, &text(old), &text(new));
    }

    fn compare_switch(&mut self, subject: &str, what: &str, old: bool, new: bool) {
        let text = |on: bool| if on { "on" } else { "off" };
        self.compare(subject, what, &text(old), &text(new));
    }

    /// Attributes by name, secrets masked.
    fn compare_attributes(&mut self, subject: &str, old: &BTreeMap<&str, &str>, new: &BTreeMap<&str, &str>) {
        for (name, before) in old {
            match new.get(name) {
                Some(after) if after == before => {}
                Some(_) if secret::is_secret(name) => {
                    self.push(ChangeKind::Changed, subject, format!("{name} changed (secret)"))
                }
                Some(after) => self.push(ChangeKind::Changed, subject, format!("{name} {before} → {after}")),
                None => {
                    self.push(ChangeKind::Changed, subject, format!("{name} {} → none", secret::shown(name, before)))
                }
            }
        }
        for (name, after) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
            self.push(ChangeKind::Changed, subject, format!("{name} none → {}", secret::shown(name, after)));
        }
    }

    /// Things by name: added, removed, and what `inside` says of those in both.
    fn list<T>(
        &mut self,
        what: &str,
        old: &[T],
        new: &[T],
        name: impl Fn(&T) -> String,
        inside: impl Fn(&mut Self, &str, &T, &T),
    ) {
        let subject = |one: &T| format!("{what} {}", name(one)).trim_start().to_owned();
        for gone in old.iter().filter(|one| !new.iter().any(|other| name(other) == name(one))) {
            self.push(ChangeKind::Removed, &subject(gone), String::new());
        }
        for after in new {
            match old.iter().find(|before| name(before) == name(after)) {
                Some(before) => inside(self, &subject(after), before, after),
                None => self.push(ChangeKind::Added, &subject(after), String::new()),
            }
        }
    }
}

fn diff_cluster(changes: &mut Changes, old: &Conf, new: &Conf) {
    changes.compare_switch("cman", "two_node", old.cman.two_node, new.cman.two_node);
    changes.compare_option("cman", "expected votes", &old.cman.votes_expected, &new.cman.votes_expected);
    changes.compare("cman", "port", &old.cman.port, &new.cman.port);
    changes.compare_option("cman", "transport", &old.cman.transport, &new.cman.transport);
    let wait = |conf: &Conf| match conf.cman.wait_for_all {
        Some(true) => "on",
        Some(false) => "off",
        None => "default",
    };
    changes.compare("cman", "wait for all", &wait(old), &wait(new));
    diff_stack::diff_stack(changes, old, new);
    let (before, after) = (&old.totem, &new.totem);
    changes.compare("totem", "token (ms)", &before.token_ms, &after.token_ms);
    changes.compare_option("totem", "consensus (ms)", &before.consensus_ms, &after.consensus_ms);
    changes.compare_option("totem", "join (ms)", &before.join_ms, &after.join_ms);
    let retransmits = (&before.token_retransmits_before_loss, &after.token_retransmits_before_loss);
    changes.compare_option("totem", "token retransmits before loss", retransmits.0, retransmits.1);
    let (before, after) = (&old.fence_daemon, &new.fence_daemon);
    let forever = |delay: Option<u64>| delay.map_or("for ever".to_owned(), |delay| format!("{delay} s"));
    let post_join = (forever(before.post_join_delay_s), forever(after.post_join_delay_s));
    changes.compare("fence daemon", "post join delay", &post_join.0, &post_join.1);
    changes.compare("fence daemon", "post fail delay (s)", &before.post_fail_delay_s, &after.post_fail_delay_s);
    changes.compare_switch("fence daemon", "clean start", before.clean_start, after.clean_start);
    changes.compare_switch("fence daemon", "skip undefined", before.skip_undefined, after.skip_undefined);
    changes.compare("fence daemon", "override time (s)", &before.override_time_s, &after.override_time_s);
    changes.compare_switch("fence daemon", "require witness", before.require_witness, after.require_witness);
    changes.compare("fence daemon", "witness timeout (s)", &before.witness_timeout_s, &after.witness_timeout_s);
    changes.compare_switch("rm", "disabled", old.rm.disabled, new.rm.disabled);
    changes.compare_switch("rm", "central processing", old.rm.central_processing, new.rm.central_processing);
    let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
    changes.compare("rm", "watchdog", &shown(&old.rm.watchdog), &shown(&new.rm.watchdog));
    let limit = |rm: &Rm| rm.quorum_loss_reboot_ms.map_or_else(|| "never".to_owned(), |ms| format!("{} s", ms / 1000));
    changes.compare("rm", "reboot after a loss of quorum", &limit(&old.rm), &limit(&new.rm));
}

fn diff_node(changes: &mut Changes, subject: &str, old: &Node, new: &Node) {
    changes.compare(subject, "node id", &old.id, &new.id);
    changes.compare(subject, "votes", &old.votes, &new.votes);
    changes.compare_option(subject, "altname", &old.altname, &new.altname);
    let names =
        |methods: &[FenceMethod]| methods.iter().map(|method| method.name.as_str()).collect::<Vec<_>>().join(", ");
    let (before, after) = (names(&old.methods), names(&new.methods));
    if before != after {
        let text = |names: String| if names.is_empty() { "none".to_owned() } else { names };
        changes.compare(subject, "fence methods", &text(before), &text(after));
    }
    for method in &new.methods {
        let Some(before) = old.methods.iter().find(|before| before.name == method.name) else { continue };
        let devices = |method: &FenceMethod| {
            method.devices.iter().map(|instance| instance.device.clone()).collect::<Vec<_>>().join(", ")
        };
        if devices(before) != devices(method) {
            let what = format!("devices of fence method {}", method.name);
            changes.compare(subject, &what, &devices(before), &devices(method));
        } else if before.devices.iter().map(own_arguments).ne(method.devices.iter().map(own_arguments)) {
            changes.push(ChangeKind::Changed, subject, format!("arguments of fence method {} changed", method.name));
        }
    }
    if old.unfence.len() != new.unfence.len()
        || old.unfence.iter().zip(&new.unfence).any(|(one, other)| one.device != other.device)
    {
        changes.push(ChangeKind::Changed, subject, "unfence devices changed".to_owned());
    }
}

/// Arguments given at the node. Those of the device are joined behind `nodename` and are told once, at the device.
fn own_arguments(instance: &FenceInstance) -> Vec<&(String, String)> {
    instance.arguments.iter().take_while(|(name, _)| name != "nodename").collect()
}

fn diff_device(changes: &mut Changes, subject: &str, old: &FenceDevice, new: &FenceDevice) {
    changes.compare(subject, "agent", &old.agent, &new.agent);
    changes.compare_attributes(subject, &pairs(&old.attributes), &pairs(&new.attributes));
}

fn pairs(attributes: &[(String, String)]) -> BTreeMap<&str, &str> {
    attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn diff_domain(changes: &mut Changes, subject: &str, old: &Domain, new: &Domain) {
    changes.compare(subject, "name", &old.name, &new.name);
    changes.compare_switch(subject, "ordered", old.ordered, new.ordered);
    changes.compare_switch(subject, "restricted", old.restricted, new.restricted);
    changes.compare_switch(subject, "nofailback", old.nofailback, new.nofailback);
    for (name, priority) in &new.nodes {
        match old.nodes.iter().find(|(before, _)| before == name) {
            None => changes.push(ChangeKind::Changed, subject, format!("node {name} added")),
            Some((_, before)) => changes.compare(subject, &format!("priority of node {name}"), before, priority),
        }
    }
    for (name, _) in old.nodes.iter().filter(|(name, _)| !new.nodes.iter().any(|(after, _)| after == name)) {
        changes.push(ChangeKind::Changed, subject, format!("node {name} removed"));
    }
}

fn diff_resource(changes: &mut Changes, subject: &str, old: &GlobalResource, new: &GlobalResource) {
    changes.compare_attributes(subject, &pairs(&old.attributes), &pairs(&new.attributes));
}

fn recovery_name(recovery: Recovery) -> &'static str {
    match recovery {
        Recovery::Restart => "restart",
        Recovery::Relocate => "relocate",
        Recovery::Disable => "disable",
        Recovery::RestartDisable => "restart-disable",
    }
}

fn diff_service(changes: &mut Changes, subject: &str, old: &Service, new: &Service) {
    changes.compare_option(subject, "failover domain", &old.domain, &new.domain);
    changes.compare_switch(subject, "autostart", old.autostart, new.autostart);
    changes.compare(subject, "exclusive", &old.exclusive, &new.exclusive);
    changes.compare(subject, "recovery", &recovery_name(old.recovery), &recovery_name(new.recovery));
    changes.compare(subject, "max restarts", &old.max_restarts, &new.max_restarts);
    changes.compare(subject, "restart expire time (ms)", &old.restart_expire_ms, &new.restart_expire_ms);
    changes.compare_option(subject, "depends on", &old.depend, &new.depend);
    changes.compare_switch(subject, "hard dependency", old.depend_hard, new.depend_hard);
    let (before, after) = (flatten(&old.tree), flatten(&new.tree));
    for (path, _) in before.iter().filter(|(path, _)| !after.iter().any(|(other, _)| other == path)) {
        changes.push(ChangeKind::Changed, subject, format!("resource {path} removed"));
    }
    for (path, resource) in &after {
        let Some((_, earlier)) = before.iter().find(|(other, _)| other == path) else {
            changes.push(ChangeKind::Changed, subject, format!("resource {path} added"));
            continue;
        };
        let mut inside = Changes(Vec::new());
        inside.compare_attributes(path, &own(earlier), &own(resource));
        if earlier.isolation != resource.isolation {
            inside.push(ChangeKind::Changed, path, "fault isolation changed".to_owned());
        }
        if earlier.actions != resource.actions {
            inside.push(ChangeKind::Changed, path, "actions changed".to_owned());
        }
        for change in inside.0 {
            changes.push(ChangeKind::Changed, subject, format!("resource {path}: {}", change.detail));
        }
    }
    let order = |list: &[(String, &Resource)]| list.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>();
    let (mut before_order, mut after_order) = (order(&before), order(&after));
    before_order.retain(|path| after.iter().any(|(other, _)| other == path));
    after_order.retain(|path| before.iter().any(|(other, _)| other == path));
    if before_order != after_order {
        changes.push(ChangeKind::Changed, subject, "order of resources changed".to_owned());
    }
}

fn own(resource: &Resource) -> BTreeMap<&str, &str> {
    resource.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// Resources with the path that leads to them: `fs:data / ip:10.0.0.1`.
fn flatten(tree: &[Resource]) -> Vec<(String, &Resource)> {
    fn push<'a>(above: &str, tree: &'a [Resource], out: &mut Vec<(String, &'a Resource)>) {
        for resource in tree {
            let path = if above.is_empty() { resource.name.0.clone() } else { format!("{above} / {}", resource.name) };
            out.push((path.clone(), resource));
            push(&path, &resource.children, out);
        }
    }
    let mut out = Vec::new();
    push("", tree, &mut out);
    out
}

/// Lines around a difference that are shown with it.
const CONTEXT_LINES: usize = 3;
/// Beyond this many differing lines the search for the shortest difference is given up: everything between the first and
/// the last difference is then shown as replaced.
const EDITS_MAX: usize = 2000;

/// A run of differing lines with its surroundings; line numbers count from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hunk {
    pub old_start: usize,
    pub new_start: usize,
    pub lines: Vec<DiffLine>,
}

/// One line of a hunk, without its line end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffLine {
    pub kind: LineKind,
    pub text: String,
}

/// Where a line stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LineKind {
    Both,
    Old,
    New,
}

impl fmt::Display for Hunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |left_out: LineKind| self.lines.iter().filter(|line| line.kind != left_out).count();
        let (old, new) = (count(LineKind::New), count(LineKind::Old));
        writeln!(f, "@@ -{},{old} +{},{new} @@", self.old_start, self.new_start)?;
        for line in &self.lines {
            let mark = match line.kind {
                LineKind::Both => ' ',
                LineKind::Old => '-',
                LineKind::New => '+',
            };
            writeln!(f, "{mark}{}", line.text)?;
        }
        Ok(())
    }
}

/// Differences line by line, secrets masked.
pub fn line_diff(old: &str, new: &str) -> Vec<Hunk> {
    let (old, new) = secret::mask_pair(old, new);
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    hunks(&compare_lines(&old, &new))
}

/// Every line of both texts in order, with the side that it is on. Secrets are not masked: for merging, never for showing.
pub fn compare_lines<'t>(old: &[&'t str], new: &[&'t str]) -> Vec<(LineKind, &'t str)> {
    let before = old.iter().zip(new).take_while(|(one, other)| one == other).count();
    let (old_rest, new_rest) = (&old[before..], &new[before..]);
    let after = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(one, other)| one == other).count();
    let (old_middle, tail) = old_rest.split_at(old_rest.len() - after);
    let new_middle = &new_rest[..new_rest.len() - after];
    let both = |lines: &[&'t str]| lines.iter().map(|line| (LineKind::Both, *line)).collect::<Vec<_>>();
    let mut lines = both(&old[..before]);
    lines.extend(shortest_edit(old_middle, new_middle));
    lines.extend(both(tail));
    lines
}

/// Myers' greedy search for the fewest lines to remove and add.
fn shortest_edit<'t>(old: &[&'t str], new: &[&'t str]) -> Vec<(LineKind, &'t str)> {
    let replaced = || {
        let gone = old.iter().map(|line| (LineKind::Old, *line));
        gone.chain(new.iter().map(|line| (LineKind::New, *line))).collect()
    };
    let most = (old.len() + new.len()).min(EDITS_MAX);
    // `reached[k + most]`: how far into `old` the search has come on the diagonal k = position in old − position in new.
    let mut reached = vec![0_usize; 2 * most + 3];
    let mut trace: Vec<Vec<usize>> = Vec::new();
    for edits in 0..=most {
        trace.push(reached[most - edits..=most + edits + 2].to_vec());
        for step in 0..=edits {
            // The diagonal is shifted by most + 1 so that it is never negative.
            let diagonal = most + 1 + 2 * step - edits;
            let down = step == 0 || (step != edits && reached[diagonal - 1] < reached[diagonal + 1]);
            let mut at_old = if down { reached[diagonal + 1] } else { reached[diagonal - 1] + 1 };
            let Some(mut at_new) = (at_old + most + 1).checked_sub(diagonal) else { continue };
            while at_old < old.len() && at_new < new.len() && old[at_old] == new[at_new] {
                at_old += 1;
                at_new += 1;
            }
            reached[diagonal] = at_old;
            if at_old >= old.len() && at_new >= new.len() {
                return walk_back(old, new, &trace);
            }
        }
    }
    replaced()
}

/// From the end to the start along the positions that the search went through.
fn walk_back<'t>(old: &[&'t str], new: &[&'t str], trace: &[Vec<usize>]) -> Vec<(LineKind, &'t str)> {
    let (mut at_old, mut at_new) = (old.len(), new.len());
    let mut lines = Vec::new();
    for (edits, reached) in trace.iter().enumerate().rev() {
        // `reached` holds the diagonals from −edits−1 to edits+1.
        let index = at_old + edits + 1 - at_new;
        let down = index == 1 || (index != 2 * edits + 1 && reached[index - 1] < reached[index + 1]);
        let previous_index = if down { index + 1 } else { index - 1 };
        let (previous_old, previous_new) = match edits {
            0 => (0, 0),
            _ => (reached[previous_index], reached[previous_index] + edits + 1 - previous_index),
        };
        while at_old > previous_old && at_new > previous_new {
            at_old -= 1;
            at_new -= 1;
            lines.push((LineKind::Both, old[at_old]));
        }
        if edits > 0 {
            if down {
                at_new -= 1;
                lines.push((LineKind::New, new[at_new]));
            } else {
                at_old -= 1;
                lines.push((LineKind::Old, old[at_old]));
            }
        }
    }
    lines.reverse();
    lines
}

fn hunks(lines: &[(LineKind, &str)]) -> Vec<Hunk> {
    let differing: Vec<usize> =
        lines.iter().enumerate().filter(|(_, (kind, _))| *kind != LineKind::Both).map(|(index, _)| index).collect();
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for index in differing {
        let (start, end) = (index.saturating_sub(CONTEXT_LINES), (index + CONTEXT_LINES + 1).min(lines.len()));
        match ranges.last_mut() {
            Some((_, last)) if start <= *last => *last = end,
            _ => ranges.push((start, end)),
        }
    }
    let number =
        |index: usize, left_out: LineKind| lines[..index].iter().filter(|(kind, _)| *kind != left_out).count() + 1;
    let hunks = ranges.into_iter().map(|(start, end)| Hunk {
        old_start: number(start, LineKind::New),
        new_start: number(start, LineKind::Old),
        lines: lines[start..end]
            .iter()
            .map(|(kind, text)| DiffLine { kind: *kind, text: (*text).to_owned() })
            .collect(),
    });
    hunks.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Applying the lines of the comparison gives both texts back, and it is no longer than it must be.
    #[test]
    fn lines_are_compared_without_loss_for_all_small_texts() {
        let texts: Vec<Vec<&str>> = (0..81)
            .map(|number: usize| {
                let mut number = number;
                let mut text = Vec::new();
                while number > 0 {
                    text.push(["a", "b", "c"][number % 3]);
                    number /= 3;
                }
                text
            })
            .collect();
        for old in &texts {
            for new in &texts {
                let lines = compare_lines(old, new);
                let pick = |left_out: LineKind| -> Vec<&str> {
                    lines.iter().filter(|(kind, _)| *kind != left_out).map(|(_, text)| *text).collect()
                };
                assert_eq!(pick(LineKind::New), *old, "{old:?} {new:?}");
                assert_eq!(pick(LineKind::Old), *new, "{old:?} {new:?}");
                let common = lines.iter().filter(|(kind, _)| *kind == LineKind::Both).count();
                assert_eq!(common, longest_common(old, new), "{old:?} {new:?}");
            }
        }
    }

    fn longest_common(old: &[&str], new: &[&str]) -> usize {
        match (old.split_first(), new.split_first()) {
            (Some((one, old_rest)), Some((other, new_rest))) if one == other => 1 + longest_common(old_rest, new_rest),
            (Some((_, old_rest)), Some((_, new_rest))) => {
                longest_common(old_rest, new).max(longest_common(old, new_rest))
            }
            _ => 0,
        }
    }

    #[test]
    fn texts_with_nothing_in_common_are_shown_as_replaced() {
        let old: Vec<String> = (0..3000).map(|number| format!("old {number}")).collect();
        let new: Vec<String> = (0..3000).map(|number| format!("new {number}")).collect();
        let hunks = line_diff(&old.join("\n"), &new.join("\n"));
        assert_eq!(hunks.len(), 1);
        assert_eq!(hunks[0].lines.len(), 6000);
    }
}
