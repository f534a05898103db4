//! The matrix of a cluster's landing page: which service is on which node, and why. Pure: status and configuration in, rows
//! out; each row is pushed by itself when it changes.

use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::Arc;

use askama::Template;
use shared::conf::model::Conf;
use shared::ids::NodeName;
use shared::status::{ClusterStatus, Membership, NodeStatus, ServiceStatus};
use shared::text::ServiceState;

use super::badge::{self, Badge};
use super::cluster::{fencing_note, node_badge, owner_text, why};
use super::named::Named;
use super::offers::Offers;
use super::time;
use crate::app::Who;
use crate::language::filters;
use crate::repo::users::Role;
use crate::watcher::{Link, Snapshot};

/// A column of the matrix.
#[derive(Debug, Hash)]
pub struct Column {
    pub name: NodeName,
    pub badge: Badge,
    pub note: String,
}

/// A row of the matrix: a part of its own, for a service that moves must not draw all the others anew in every open browser.
#[derive(Debug, Hash, Template)]
#[template(path = "parts/matrix_row.html")]
pub struct Row {
    pub cluster: Arc<str>,
    /// Of the page's session.
    pub csrf: Arc<str>,
    pub operator: bool,
    /// Counted from 0; names the row's form.
    pub place: usize,
    pub name: String,
    pub bare: String,
    pub state: Badge,
    /// What was last known, when nothing is known now.
    pub was: Option<&'static str>,
    pub owner: Named,
    pub flags: Vec<&'static str>,
    pub why: String,
    pub since: String,
    pub request: Option<String>,
    pub failure: Option<String>,
    pub cells: Vec<Cell>,
    /// Whether some node owns it.
    pub runs: bool,
    /// Why single buttons cannot be pressed.
    pub offers: Offers,
}

/// One service on one node.
#[derive(Debug, Hash)]
pub struct Cell {
    pub node: NodeName,
    pub kind: CellKind,
    /// Why it is so, for the tooltip and for readers.
    pub why: String,
    /// Button that puts the service there.
    pub button: Option<(&'static str, &'static str)>,
}

#[derive(Debug, Hash)]
pub enum CellKind {
    /// It is here, in this state.
    Here(Badge),
    /// It was here before.
    Was,
    /// It may run here; with the priority of its domain.
    Allowed(Option<u32>),
    /// Its domain forbids this node.
    Forbidden,
    /// The node is no member, but this.
    Down(&'static str),
    Unknown,
}

/// The landing page of a cluster: which service is where, and why.
#[derive(Debug, Template)]
#[template(path = "panels/matrix.html")]
pub struct MatrixPanel {
    pub cluster: Arc<str>,
    pub columns: Vec<Column>,
    pub rows: Vec<Row>,
    pub stale: bool,
    pub operator: bool,
    pub administrator: bool,
}

impl MatrixPanel {
    pub fn new(cluster: &str, snapshot: &Snapshot, conf: Option<&Conf>, who: &Who) -> Self {
        let live = snapshot.live().is_some();
        let cluster: Arc<str> = cluster.into();
        let operator = who.may(Role::Operator) && live;
        let columns = snapshot.status.as_deref().map_or_else(
            || bare_columns(snapshot),
            |status| status.nodes.iter().map(|node| column(node, snapshot)).collect(),
        );
        let around = Around { cluster: Arc::clone(&cluster), csrf: who.csrf().into(), operator, live, conf };
        let rows = snapshot.status.as_deref().map_or_else(Vec::new, |status| {
            status.services.iter().enumerate().map(|(place, service)| row(place, service, status, &around)).collect()
        });
        Self { cluster, columns, rows, stale: !live, operator, administrator: who.may(Role::Administrator) }
    }

    /// Of everything but what stands in the rows: while it is the same, rows can be replaced one by one.
    pub fn frame_digest(&self) -> u64 {
        let names: Vec<&str> = self.rows.iter().map(|row| row.name.as_str()).collect();
        digest(&(&self.columns, names, self.stale, self.operator, self.administrator))
    }

    /// Of everything that is shown: what a page says it shows already.
    pub fn digest(&self) -> u64 {
        digest(&(self.frame_digest(), &self.rows))
    }
}

impl Row {
    /// Of its element.
    pub fn id(&self) -> String {
        format!("row-{}", self.name)
    }

    /// Of what it shows.
    pub fn digest(&self) -> u64 {
        digest(self)
    }
}

/// The same for the same content as long as this program runs.
fn digest(content: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

fn bare_columns(snapshot: &Snapshot) -> Vec<Column> {
    let badge = match snapshot.link {
        Link::NotRunning { .. } => badge::NOT_A_MEMBER,
        _ => badge::UNKNOWN,
    };
    snapshot.nodes.keys().map(|name| Column { name: name.clone(), badge, note: String::new() }).collect()
}

fn column(node: &NodeStatus, snapshot: &Snapshot) -> Column {
    let silent = snapshot.nodes.get(&node.name).and_then(|seen| seen.silent_since);
    let mut note = fencing_note(node);
    if let Some(since) = silent {
        note.push_str(&format!("{}ricci silent since {}", if note.is_empty() { "" } else { "; " }, time(since)));
    }
    Column { name: node.name.clone(), badge: node_badge(Some(node), snapshot), note }
}

/// What all rows have in common.
struct Around<'a> {
    cluster: Arc<str>,
    csrf: Arc<str>,
    operator: bool,
    live: bool,
    conf: Option<&'a Conf>,
}

fn row(place: usize, service: &ServiceStatus, status: &ClusterStatus, around: &Around<'_>) -> Row {
    let live = around.live;
    let state = badge::service(service.state);
    let runs = service.owner.is_some();
    let offers = Offers::of(service, status);
    let mut flags = Vec::new();
    if service.frozen {
        flags.push("frozen");
    }
    if service.partial {
        flags.push("partial");
    }
    Row {
        cluster: Arc::clone(&around.cluster),
        csrf: Arc::clone(&around.csrf),
        operator: around.operator,
        place,
        name: service.name.to_string(),
        bare: service.name.bare().to_owned(),
        state: if live { state } else { badge::UNKNOWN },
        was: (!live).then_some(state.word),
        owner: owner_text(service),
        flags,
        why: why(service),
        since: service.last_transition.map_or_else(String::new, |at| time(i64::try_from(at.0).unwrap_or(0))),
        request: service
            .request
            .as_ref()
            .map(|request| format!("{} asked by {}", request.command.verb(), request.origin)),
        failure: service.failure.as_ref().map(|failure| format!("{} on {}", failure.text(), failure.node)),
        cells: status.nodes.iter().map(|node| cell(service, node, around.conf, &offers, live)).collect(),
        runs,
        offers,
    }
}

fn cell(service: &ServiceStatus, node: &NodeStatus, conf: Option<&Conf>, offers: &Offers, live: bool) -> Cell {
    let make = |kind, why: String, button| Cell { node: node.name.clone(), kind, why, button };
    if service.owner.as_ref() == Some(&node.name) {
        let badge = if live { badge::service(service.state) } else { badge::UNKNOWN };
        return make(CellKind::Here(badge), why(service), None);
    }
    if !live {
        return make(CellKind::Unknown, "nothing is known of this node now".into(), None);
    }
    let (allowed, priority, domain) = domain_of(service, node, conf);
    if !allowed {
        let text = format!("the failover domain {domain} is restricted and does not list {}", node.name);
        return make(CellKind::Forbidden, text, None);
    }
    if node.member != Membership::Member {
        return make(CellKind::Down(badge::node(node).word), format!("{} is not a member", node.name), None);
    }
    let button = match service.state {
        ServiceState::Started if offers.relocate.is_none() => Some(("relocate", "Relocate here")),
        ServiceState::Stopped | ServiceState::Disabled if offers.start.is_none() => Some(("enable", "Start here")),
        _ => None,
    };
    let text = match priority {
        Some(priority) => format!("may run here; priority {priority} in {domain}"),
        None => "may run here".into(),
    };
    let was = service.owner.is_none() && service.last_owner.as_ref() == Some(&node.name);
    make(if was { CellKind::Was } else { CellKind::Allowed(priority) }, text, button)
}

/// Whether the service's failover domain allows the node, and with which priority.
fn domain_of(service: &ServiceStatus, node: &NodeStatus, conf: Option<&Conf>) -> (bool, Option<u32>, String) {
    let domain = conf.and_then(|conf| conf.domain(conf.service(&service.name)?.domain.as_ref()?));
    let Some(domain) = domain else { return (true, None, String::new()) };
    let name = domain.name.to_string();
    match domain.nodes.iter().find(|(name, _)| *name == node.name) {
        Some((_, priority)) => (true, domain.ordered.then_some(*priority), name),
        None => (!domain.restricted, None, name),
    }
}
