//! The fence domain as `fence_tool ls` and `cman_tool services` print it (rhcs.md §9.2). Pure: a `ClusterStatus` in,
//! text out. What the daemon fenced once called its domain is the group of our rgmanagers; its master is the member
//! that decides.

use std::fmt::Write as _;

use shared::ids::{NodeId, NodeName};
use shared::status::{ClusterStatus, FenceOutcome, FencedHow, FencingStep, Membership, NodeStatus, Phase};

use super::clock::Zone;

/// The block of `fence_tool ls`.
pub fn render_domain(status: &ClusterStatus) -> String {
    let members: Vec<NodeId> = status.nodes.iter().filter(|node| is_member(node)).map(|node| node.id).collect();
    let victims = status.nodes.iter().filter(|node| is_victim(node)).count();
    let now = status.nodes.iter().find(|node| is_being_fenced(node)).map_or(0, |node| node.id.0);
    let master = status.coordinator.map_or(0, |id| id.0);
    let ids: Vec<String> = members.iter().map(NodeId::to_string).collect();
    format!(
        "fence domain\nmember count  {}\nvictim count  {victims}\nvictim now    {now}\nmaster nodeid {master}\n\
         wait state    {}\nmembers       {}\n",
        members.len(),
        wait_state(status),
        ids.join(" ")
    )
}

/// What `-n` adds.
pub fn render_nodes(status: &ClusterStatus) -> String {
    let mut out = String::from("all nodes\n");
    for node in &status.nodes {
        let (master, how) = match &node.last_fenced {
            Some(outcome) => last_fence(status, outcome),
            None => (0, "none"),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "nodeid {} member {} victim {} last fence master {master} how {how}",
            node.id,
            u8::from(is_member(node)),
            u8::from(is_victim(node)),
        );
    }
    out
}

/// Everything known of victims and of past fencing, for people.
pub fn render_dump(status: &ClusterStatus, zone: Zone) -> String {
    let mut out = render_domain(status);
    out.push_str(&render_nodes(status));
    for node in &status.nodes {
        if let Some(fencing) = &node.fencing {
            let step = match fencing.step {
                FencingStep::Waiting => "a delay runs",
                FencingStep::Running => "an agent runs",
                FencingStep::NoMethod => "no method is configured",
                FencingStep::NoQuorum => "there is no quorum",
                FencingStep::Unwitnessed => "the agent is done and nobody has seen the node reboot",
            };
            let by = fencing.by.as_ref().map_or("-", NodeName::as_str);
            let method = fencing.method.as_deref().unwrap_or("-");
            let since = zone.ctime(fencing.since);
            let _ = writeln!(
                out,
                "{} victim since {since}, attempt {} by {by} with method {method}: {step}",
                node.name, fencing.attempt
            );
            if let Some(attempt) = &fencing.last {
                let result = if attempt.succeeded { "success" } else { "failed" };
                let _ =
                    writeln!(out, "{} last attempt by {} method {} {result}", node.name, attempt.by, attempt.method);
                for run in &attempt.devices {
                    let code =
                        run.code.map_or_else(|| "not run or killed".to_owned(), |code| format!("exit code {code}"));
                    let _ = writeln!(out, "  {} agent {} {code}, {} ms", run.device, run.agent, run.duration_ms);
                    for line in run.output.lines().filter(|line| !line.trim().is_empty()) {
                        let visible: String = line.chars().filter(|letter| !letter.is_control()).collect();
                        let _ = writeln!(out, "    {visible}");
                    }
                }
            }
            let _ = writeln!(out, "{} advice: {}", node.name, fencing.advice);
        }
        if let Some(outcome) = &node.last_fenced {
            let _ = writeln!(out, "{} last fenced {} {}", node.name, zone.ctime(outcome.at), how_text(outcome));
        }
    }
    out
}

/// How a fencing ended, in words.
pub fn how_text(outcome: &FenceOutcome) -> String {
    match &outcome.how {
        FencedHow::Agent { by, method } => format!("by {by} with method {method}"),
        FencedHow::Acknowledged { origin } => format!("by override of {origin}"),
        FencedHow::Rebooted => "by its own reboot".to_owned(),
        FencedHow::Assumed => "as cluster.conf says to assume".to_owned(),
    }
}

fn is_member(node: &NodeStatus) -> bool {
    matches!(node.member, Membership::Member)
}

fn is_victim(node: &NodeStatus) -> bool {
    matches!(node.member, Membership::Victim | Membership::Lost) || node.fencing.is_some()
}

fn is_being_fenced(node: &NodeStatus) -> bool {
    node.fencing.as_ref().is_some_and(|fencing| fencing.step == FencingStep::Running)
}

fn wait_state(status: &ClusterStatus) -> &'static str {
    if !status.quorum.quorate {
        "quorum"
    } else if matches!(status.phase, Phase::Probing | Phase::Joining) {
        "messages"
    } else if !status.waits_for_fencing_of.is_empty() || status.nodes.iter().any(is_victim) {
        "fencing"
    } else {
        "none"
    }
}

/// Who fenced, and how in the words of the field.
fn last_fence(status: &ClusterStatus, outcome: &FenceOutcome) -> (u32, &'static str) {
    match &outcome.how {
        FencedHow::Agent { by, .. } => (status.node(by).map_or(0, |node| node.id.0), "agent"),
        FencedHow::Acknowledged { .. } => (0, "override"),
        FencedHow::Rebooted => (0, "member"),
        FencedHow::Assumed => (0, "none"),
    }
}
