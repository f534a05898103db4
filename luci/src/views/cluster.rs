//! The parts of a cluster's pages that change by themselves: head line, requests (the matrix: `matrix`). Each part
//! is one template with one stable id, drawn the same for the page and for the event stream.

use askama::Template;
use shared::status::{ClusterStatus, FencedHow, FencingStep, Membership, NodeStatus, ServiceStatus};
use shared::text::ServiceState;

use super::badge::{self, Badge, Kind};
use super::events::EventsPanel;
use super::matrix::MatrixPanel;
use super::named::Named;
use super::timeline::{Choice, GROUPS};
use super::{Shell, time};
use crate::app::{Who, requests};
use crate::clock::duration_text;
use crate::language::filters;
use crate::repo::requests::StoredRequest;
use crate::repo::users::Role;
use crate::watcher::{Link, Snapshot};

/// How a cluster is, in one badge and one sentence.
#[derive(Debug, Clone)]
pub struct Health {
    pub badge: Badge,
    pub sentence: String,
}

/// The worst thing first; if nothing is wrong, that is said.
pub fn health(snapshot: &Snapshot) -> Health {
    let say = |badge, sentence: String| Health { badge, sentence };
    let Some(status) = &snapshot.status else {
        return match &snapshot.link {
            Link::NotRunning { .. } => {
                say(badge::cluster::STOPPED, "The cluster does not run on any of its nodes.".into())
            }
            Link::Live { .. } => say(badge::cluster::UNKNOWN, "Waiting for the first status.".into()),
            Link::Lost { why, .. } => say(badge::cluster::UNKNOWN, format!("No member has answered yet: {why}.")),
        };
    };
    match &snapshot.link {
        Link::Lost { since, why } => {
            let text = format!("Unknown since {}. What follows is the last known state. {why}.", time(*since));
            return say(badge::cluster::UNKNOWN, text);
        }
        Link::NotRunning { .. } => {
            return say(badge::cluster::STOPPED, "The cluster does not run on any of its nodes.".into());
        }
        Link::Live { .. } => {}
    }
    if !status.quorum.quorate {
        let text =
            "The members that answer have no quorum: no service runs and nobody may fence until more nodes join.";
        return say(badge::cluster::NOT_QUORATE, text.into());
    }
    let worries = worries(status);
    if !worries.is_empty() {
        return say(badge::cluster::PROBLEM, worries.join(" "));
    }
    let started = status.services.iter().filter(|service| service.state == ServiceState::Started).count();
    let sentence = match status.services.len() {
        0 => "All nodes are members. There are no services yet.".to_owned(),
        1 if started == 1 => "The service is started. All nodes are members.".to_owned(),
        all if all == started => format!("All {all} services are started. All nodes are members."),
        all => format!("{started} of {all} services started. {}", idle(status)),
    };
    say(badge::cluster::QUORATE, sentence)
}

/// Most services that are named in the sentence.
const NAMED: usize = 3;

/// Why the services that nothing is wrong with are not started.
fn idle(status: &ClusterStatus) -> String {
    let idle: Vec<_> = status.services.iter().filter(|service| service.state != ServiceState::Started).collect();
    let mut said: Vec<String> = idle
        .iter()
        .take(NAMED)
        .map(|service| with_stop(&format!("{} is {}: {}", service.name.bare(), service.state.name(), why(service))))
        .collect();
    if idle.len() > NAMED {
        said.push(format!("{} more are not started.", idle.len() - NAMED));
    }
    said.join(" ")
}

fn worries(status: &ClusterStatus) -> Vec<String> {
    let mut worries = Vec::new();
    for node in &status.nodes {
        match (&node.fencing, node.member) {
            (Some(fencing), _) => {
                worries.push(format!("{} is being fenced: {}", node.name, with_stop(&fencing.advice)))
            }
            (None, Membership::Member) => {}
            (None, Membership::Absent) if node.configured => worries.push(format!("{} is not a member.", node.name)),
            (None, Membership::Absent) => {}
            (None, Membership::Joining) => worries.push(format!("{} is joining.", node.name)),
            (None, Membership::Grace | Membership::Lost | Membership::Victim) => {
                worries.push(format!("{} is lost.", node.name));
            }
        }
    }
    for service in &status.services {
        match badge::service_kind(service) {
            Kind::Ok | Kind::Off => {}
            _ => worries.push(format!("{} is {}{}.", service.name, service.state.name(), waits(service))),
        }
    }
    if status.locked {
        worries.push("Services are locked: none is started or moved.".into());
    }
    worries
}

fn with_stop(text: &str) -> String {
    if text.ends_with('.') { text.to_owned() } else { format!("{text}.") }
}

fn waits(service: &ServiceStatus) -> String {
    service.waits_for.as_ref().map_or_else(String::new, |reason| format!(" and waits: {}", reason.text()))
}

/// Name, state, quorum and age: the first lines of every page of a cluster.
#[derive(Debug, Template)]
#[template(path = "panels/head.html")]
pub struct HeadPanel {
    pub cluster: String,
    pub health: Health,
    pub votes: String,
    pub conf_version: String,
    pub age: String,
    pub stale: bool,
    pub operator: bool,
    pub locked: bool,
    pub csrf: String,
}

impl HeadPanel {
    pub fn new(cluster: &str, snapshot: &Snapshot, who: &Who) -> Self {
        let status = snapshot.status.as_deref();
        let votes = match status.map(|status| status.quorum) {
            Some(quorum) => match (quorum.votes, quorum.votes_expected) {
                (Some(votes), Some(expected)) => format!("{votes} of {expected} votes"),
                _ => "votes unknown".into(),
            },
            None => "votes unknown".into(),
        };
        Self {
            cluster: cluster.to_owned(),
            health: health(snapshot),
            votes,
            conf_version: conf_spread(status),
            age: match &snapshot.link {
                Link::Live { from } => format!("live, from {from}"),
                Link::NotRunning { since } => format!("not running since {}", time(*since)),
                Link::Lost { since, .. } => format!("unknown since {}", time(*since)),
            },
            stale: snapshot.live().is_none(),
            operator: who.may(Role::Operator) && snapshot.live().is_some(),
            locked: status.is_some_and(|status| status.locked),
            csrf: who.csrf().to_owned(),
        }
    }
}

/// "version 42 in force on 3 of 3".
fn conf_spread(status: Option<&ClusterStatus>) -> String {
    let Some(status) = status else { return "version unknown".into() };
    let Some(conf) = &status.conf else { return "no configuration in force".into() };
    let members: Vec<&NodeStatus> = status.nodes.iter().filter(|node| node.member == Membership::Member).collect();
    let same = members.iter().filter(|node| node.conf_version == Some(conf.version)).count();
    format!("version {} in force on {same} of {}", conf.version, members.len())
}

/// State of a node, honest about what is not known.
pub fn node_badge(node: Option<&NodeStatus>, snapshot: &Snapshot) -> Badge {
    match (&snapshot.link, node) {
        (Link::Live { .. }, Some(node)) => badge::node(node),
        (Link::NotRunning { .. }, _) => badge::NOT_A_MEMBER,
        _ => badge::UNKNOWN,
    }
}

/// What is to be said of a node beside its membership: fencing, standby.
pub fn fencing_note(node: &NodeStatus) -> String {
    if let Some(fencing) = &node.fencing {
        let step = match fencing.step {
            FencingStep::Waiting => "waiting",
            FencingStep::Running => "running",
            FencingStep::NoMethod => "no fence method",
            FencingStep::NoQuorum => "no quorum",
            FencingStep::Unwitnessed => "not witnessed",
        };
        let method = fencing.method.as_ref().map_or_else(String::new, |method| format!(", method {method}"));
        return format!("fencing attempt {}: {step}{method}", fencing.attempt);
    }
    if node.standby {
        return "in standby: takes no services".into();
    }
    String::new()
}

/// How a node was fenced last.
pub fn last_fenced(node: &NodeStatus) -> Option<String> {
    let outcome = node.last_fenced.as_ref()?;
    let at = time(i64::try_from(outcome.at.0).unwrap_or(0));
    let how = match &outcome.how {
        FencedHow::Agent { by, method } => format!("fenced by {by} with method {method}"),
        FencedHow::Acknowledged { origin } => format!("acknowledged by hand by {origin}"),
        FencedHow::Rebooted => "it came back freshly booted by itself".into(),
        FencedHow::Assumed => "assumed to be down (clean_start or skip_undefined)".into(),
    };
    let witness = match (outcome.witnessed_gone, outcome.witnessed_reboot) {
        (_, Some(true)) => "proven: it came back with another boot id",
        (_, Some(false)) => "NOT proven: it came back without having rebooted",
        (true, None) => "seen: corosync lost it",
        (false, None) => "not witnessed yet",
    };
    Some(format!("{at}: {how}; {witness}"))
}

/// As `clustat` prints it: the last owner in parentheses.
pub fn owner_text(service: &ServiceStatus) -> Named {
    match (&service.owner, &service.last_owner) {
        (Some(owner), _) if !service.state.shows_last_owner() => Named::Name(owner.to_string()),
        (_, Some(last)) => Named::Name(format!("({last})")),
        (Some(owner), None) => Named::Name(owner.to_string()),
        (None, None) => Named::Word("(none)"),
    }
}

/// The reason of a service's state, and what it waits for.
pub fn why(service: &ServiceStatus) -> String {
    let mut text = service.reason.text();
    if let Some(waits) = &service.waits_for {
        text.push_str(&format!("; waits because {}", waits.text()));
    }
    text
}

/// The latest requests and what became of them.
#[derive(Debug, Template)]
#[template(path = "panels/requests.html")]
pub struct RequestsPanel {
    pub requests: Vec<RequestLine>,
}

#[derive(Debug)]
pub struct RequestLine {
    pub at: String,
    pub user: String,
    pub verb: &'static str,
    pub object: String,
    pub badge: Badge,
    pub text: String,
}

impl RequestsPanel {
    pub fn new(requests: &[StoredRequest]) -> Self {
        let requests = requests
            .iter()
            .map(|request| RequestLine {
                at: time(request.at),
                user: request.user.clone(),
                verb: request.command.verb(),
                object: requests::object(&request.command),
                badge: badge::request(request.state),
                text: match (request.text.clone(), request.ended_at) {
                    (Some(text), Some(ended)) => format!("{text} (after {})", duration_text(ended - request.at)),
                    (text, _) => text.unwrap_or_default(),
                },
            })
            .collect();
        Self { requests }
    }
}

/// The landing page of a cluster.
#[derive(Debug, Template)]
#[template(path = "overview.html")]
pub struct OverviewPage {
    pub shell: Shell,
    pub head: HeadPanel,
    pub matrix: MatrixPanel,
    pub requests: RequestsPanel,
    pub events: EventsPanel,
    /// Nodes without a fence method.
    pub unprotected: Vec<String>,
    /// Steps of the set-up that are done, of how many; `None`: nothing is left.
    pub set_up: Option<(usize, usize)>,
    /// Nodes, and fence methods of theirs that are not proven, with what is known of each.
    pub unproven: Vec<(String, String, &'static str)>,
    /// Tasks of this cluster that are open.
    pub tasks: Vec<super::tasks::TaskLine>,
}

impl OverviewPage {
    /// Where fence devices are listed.
    pub fn fence_devices_address(&self) -> String {
        format!("/clusters/{}/fence-devices", super::conf::address_part(&self.head.cluster))
    }
}

/// The timeline page.
#[derive(Debug, Template)]
#[template(path = "events.html")]
pub struct EventsPage {
    pub shell: Shell,
    pub head: HeadPanel,
    pub events: EventsPanel,
    pub choice: Choice,
    /// Nodes and services to choose from: value, name, whether it is chosen.
    pub subjects: Vec<(String, String, bool)>,
    /// Most lines of a file.
    pub most: i64,
    pub older: Option<i64>,
}

impl EventsPage {
    /// What events are about: value, name, whether it is chosen.
    pub fn groups(&self) -> Vec<(&'static str, &'static str, bool)> {
        GROUPS.iter().map(|&(word, name, _)| (word, name, word == self.choice.group)).collect()
    }
}
