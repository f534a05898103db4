//! Nodes: the list, and one node with what it runs, what it says of itself and how it is fenced.

use askama::Template;
use shared::api::NodeReport;
use shared::conf::model::{Conf, Node as ConfNode};
use shared::ids::NodeName;
use shared::status::{Membership, NodeStatus};
use shared::watch::Watch;

use super::badge::{self, Badge, Kind};
use super::cluster::{HeadPanel, fencing_note, last_fenced, node_badge};
use super::events::EventsPanel;
use super::fencing::MethodLine;
use super::fields::AttributeForm;
use super::manage::{FormErrors, NodeRowForm};
use super::{Shell, time};
use crate::app::Who;
use crate::clock::duration_text;
use crate::language::filters;
use crate::repo::nodes::Node;
use crate::repo::users::Role;
use crate::tls::spoken_fingerprint;
use crate::watcher::{NodeSeen, Snapshot};

/// A row of the Nodes page.
#[derive(Debug)]
pub struct NodeLine {
    pub name: String,
    pub id: String,
    pub votes: String,
    pub badge: Badge,
    pub note: String,
    pub ricci: Badge,
    pub ricci_note: String,
    pub address: String,
    pub conf_version: String,
    pub services: Vec<String>,
    pub paired: bool,
    pub can_join: bool,
    pub can_leave: bool,
    pub fencing: bool,
    /// It takes no services until that is ended.
    pub standby: bool,
    pub can_standby: bool,
}

/// The list of nodes, as a part that is pushed.
#[derive(Debug, Template)]
#[template(path = "panels/nodes.html")]
pub struct NodesPanel {
    pub cluster: String,
    pub nodes: Vec<NodeLine>,
    pub operator: bool,
    pub administrator: bool,
    pub csrf: String,
}

impl NodesPanel {
    pub fn new(cluster: &str, rows: &[Node], snapshot: &Snapshot, conf: Option<&Conf>, who: &Who) -> Self {
        let mut names: Vec<NodeName> = rows.iter().map(|row| row.name.clone()).collect();
        // Nodes that the cluster has and luci does not know are shown, too.
        if let Some(status) = &snapshot.status {
            let more: Vec<_> =
                status.nodes.iter().filter(|n| !names.contains(&n.name)).map(|n| n.name.clone()).collect();
            names.extend(more);
        }
        let nodes = names
            .into_iter()
            .map(|name| {
                let row = rows.iter().find(|row| row.name == name);
                line(name, row, snapshot, conf)
            })
            .collect();
        Self {
            cluster: cluster.to_owned(),
            nodes,
            operator: who.may(Role::Operator),
            administrator: who.may(Role::Administrator),
            csrf: who.csrf().to_owned(),
        }
    }
}

fn line(name: NodeName, row: Option<&Node>, snapshot: &Snapshot, conf: Option<&Conf>) -> NodeLine {
    let status = snapshot.status.as_deref().and_then(|status| status.node(&name));
    let seen = snapshot.nodes.get(&name);
    let configured = conf.and_then(|conf| conf.node(&name));
    let (ricci, ricci_note) = ricci_state(seen);
    let running = seen.and_then(|seen| seen.report.as_ref()).map(|report| report.rgmanager.running);
    let member = snapshot.live().and_then(|s| s.node(&name)).map(|node| node.member);
    NodeLine {
        id: status
            .map(|node| node.id.to_string())
            .or_else(|| configured.map(|node| node.id.to_string()))
            .unwrap_or_else(|| "–".into()),
        votes: configured.map_or_else(|| "–".into(), |node| node.votes.to_string()),
        badge: node_badge(status, snapshot),
        note: status.map(fencing_note).unwrap_or_default(),
        ricci,
        ricci_note,
        address: row.map_or_else(|| "not known to luci".into(), |row| format!("{}:{}", row.host, row.port)),
        conf_version: status.and_then(|node| node.conf_version).map_or_else(|| "–".into(), |v| v.to_string()),
        services: services_on(snapshot, &name),
        paired: row.is_some_and(|row| row.paired_at.is_some()),
        can_join: running != Some(true) && member != Some(Membership::Member),
        can_leave: running == Some(true) || member == Some(Membership::Member),
        fencing: status.is_some_and(|node| node.fencing.is_some()),
        standby: status.is_some_and(|node| node.standby),
        can_standby: member == Some(Membership::Member),
        name: name.0,
    }
}

/// Whether the node's ricci answers.
fn ricci_state(seen: Option<&NodeSeen>) -> (Badge, String) {
    match seen {
        None => (Badge { kind: Kind::Warn, word: "not known to luci" }, String::new()),
        Some(seen) if !seen.paired => (Badge { kind: Kind::Warn, word: "not paired" }, String::new()),
        Some(NodeSeen { silent_since: Some(since), silent_why, .. }) => (
            Badge { kind: Kind::Bad, word: "no answer" },
            format!("since {}: {}", time(*since), silent_why.as_deref().unwrap_or("no reason known")),
        ),
        Some(NodeSeen { report: Some(report), .. }) => {
            (Badge { kind: Kind::Ok, word: "answers" }, operation_note(report).unwrap_or_default())
        }
        Some(_) => (badge::UNKNOWN, "not asked yet".into()),
    }
}

/// What became of the last start, stop or reboot of the node.
fn operation_note(report: &NodeReport) -> Option<String> {
    use shared::api::HostOperationKind;
    let operation = report.operation.as_ref()?;
    let word = match operation.kind {
        HostOperationKind::Start => "start",
        HostOperationKind::Stop => "stop",
        HostOperationKind::Reboot => "reboot",
    };
    match (&operation.failure, operation.ended_ms) {
        (Some(failure), _) => Some(format!("{word} failed: {failure}")),
        (None, None) => Some(format!("{word} under way, asked by {}", operation.origin)),
        (None, Some(_)) => None,
    }
}

fn services_on(snapshot: &Snapshot, name: &NodeName) -> Vec<String> {
    let Some(status) = snapshot.live() else { return Vec::new() };
    status.services.iter().filter(|s| s.owner.as_ref() == Some(name)).map(|s| s.name.to_string()).collect()
}

/// A daemon of the node.
#[derive(Debug)]
pub struct DaemonLine {
    pub name: &'static str,
    pub badge: Badge,
    pub version: String,
    pub at_boot: &'static str,
}

/// What the node's rgmanager is told of when it happens.
#[derive(Debug)]
pub struct WatchLine {
    pub source: &'static str,
    pub badge: Badge,
    /// Why it is told nothing; empty: it is.
    pub missing: String,
}

fn watches(report: &NodeReport, silent: bool) -> Vec<WatchLine> {
    let line = |watch: &Watch| WatchLine {
        source: watch.source.text(),
        badge: match watch.missing {
            _ if silent => badge::UNKNOWN,
            None => Badge { kind: Kind::Ok, word: "at once" },
            Some(_) => Badge { kind: Kind::Warn, word: "at the next check" },
        },
        missing: watch.missing.clone().unwrap_or_default(),
    };
    report.watches.iter().map(line).collect()
}

/// The part of a node's page that changes.
#[derive(Debug, Template)]
#[template(path = "panels/node.html")]
pub struct NodePanel {
    pub cluster: String,
    pub line: NodeLine,
    pub daemons: Vec<DaemonLine>,
    /// How its failures are noticed; empty: its rgmanager does not run, or has never told.
    pub watches: Vec<WatchLine>,
    pub daemons_age: String,
    pub uptime: String,
    pub boot_id: String,
    pub hostname: String,
    pub disk_conf: String,
    pub last_fenced: Option<String>,
    pub fencing_advice: Option<String>,
    pub fencing_last: Option<String>,
    pub fingerprint: String,
    pub operator: bool,
    pub administrator: bool,
    pub csrf: String,
}

impl NodePanel {
    pub fn new(cluster: &str, row: &Node, snapshot: &Snapshot, conf: Option<&Conf>, who: &Who) -> Self {
        let status = snapshot.status.as_deref().and_then(|status| status.node(&row.name));
        let seen = snapshot.nodes.get(&row.name).cloned().unwrap_or_default();
        let report = seen.report.as_ref();
        let unknown = || "unknown".to_owned();
        let fencing = status.and_then(|node| node.fencing.as_ref());
        Self {
            cluster: cluster.to_owned(),
            line: line(row.name.clone(), Some(row), snapshot, conf),
            daemons: report.map(|report| daemons(report, seen.silent_since.is_some())).unwrap_or_default(),
            watches: report.map(|report| watches(report, seen.silent_since.is_some())).unwrap_or_default(),
            daemons_age: match (seen.silent_since, seen.report_at) {
                (Some(_), Some(at)) => format!("last known at {}", time(at)),
                (_, Some(at)) => format!("as of {}", time(at)),
                (_, None) => "never answered".into(),
            },
            uptime: report.map_or_else(unknown, |r| duration_text(i64::try_from(r.uptime_s).unwrap_or(0) * 1000)),
            boot_id: report.map_or_else(unknown, |report| report.boot_id.to_string()),
            hostname: report.map_or_else(unknown, |report| report.hostname.clone()),
            disk_conf: report.map_or_else(unknown, |report| match &report.conf {
                Some(conf) => format!("{}, version {}", conf.cluster, conf.version),
                None => "none".into(),
            }),
            last_fenced: status.and_then(last_fenced),
            fencing_advice: fencing.map(|fencing| fencing.advice.clone()),
            fencing_last: status.and_then(last_attempt),
            fingerprint: row.fingerprint.as_deref().map_or_else(|| "none yet".into(), spoken_fingerprint),
            operator: who.may(Role::Operator),
            administrator: who.may(Role::Administrator),
            csrf: who.csrf().to_owned(),
        }
    }
}

fn last_attempt(node: &NodeStatus) -> Option<String> {
    let last = node.fencing.as_ref()?.last.as_ref()?;
    let result = if last.succeeded { "succeeded" } else { "failed" };
    let devices: Vec<String> = last
        .devices
        .iter()
        .map(|run| {
            let code = run.code.map_or_else(|| "no exit code".into(), |code| format!("exit {code}"));
            format!("{} ({}): {code}, {} ms. {}", run.device, run.agent, run.duration_ms, run.output.trim())
        })
        .collect();
    Some(format!("attempt {} by {} with method {} {result}. {}", last.attempt, last.by, last.method, devices.join(" ")))
}

/// What a node last said of its daemons says nothing of now when it no longer answers.
fn daemons(report: &NodeReport, silent: bool) -> Vec<DaemonLine> {
    let now = |badge| if silent { badge::UNKNOWN } else { badge };
    let line = |name, daemon: &shared::api::DaemonState| DaemonLine {
        name,
        badge: now(badge::daemon(daemon.running, daemon.installed)),
        version: daemon.version.clone().unwrap_or_else(|| "–".into()),
        at_boot: if daemon.enabled_at_boot { "yes" } else { "no" },
    };
    let mut lines = vec![line("corosync", &report.corosync), line("rgmanager", &report.rgmanager)];
    lines.push(DaemonLine {
        name: "ricci",
        badge: now(Badge { kind: Kind::Ok, word: "running" }),
        version: report.ricci_version.clone(),
        at_boot: "–",
    });
    lines
}

/// A fence method as it is edited.
#[derive(Debug, Clone)]
pub struct MethodForm {
    pub name: String,
    pub first: bool,
    pub last: bool,
    pub devices: Vec<InstanceForm>,
}

/// A device in a method.
#[derive(Debug, Clone)]
pub struct InstanceForm {
    pub device: String,
    pub agent: String,
    /// Own arguments, secrets masked.
    pub arguments: Vec<(String, String)>,
}

/// How a node is fenced, in order.
pub fn methods(node: Option<&ConfNode>, conf: Option<&Conf>) -> Vec<MethodForm> {
    let Some(node) = node else { return Vec::new() };
    let count = node.methods.len();
    node.methods
        .iter()
        .enumerate()
        .map(|(place, method)| MethodForm {
            name: method.name.clone(),
            first: place == 0,
            last: place + 1 == count,
            devices: method
                .devices
                .iter()
                .map(|device| InstanceForm {
                    device: device.device.clone(),
                    agent: device.agent.clone(),
                    arguments: own_arguments(device, conf),
                })
                .collect(),
        })
        .collect()
}

/// The arguments that stand at the instance and not at its device.
fn own_arguments(device: &shared::conf::model::FenceInstance, conf: Option<&Conf>) -> Vec<(String, String)> {
    let shared = conf
        .and_then(|conf| conf.fence_devices.iter().find(|shared| shared.name == device.device))
        .map(|shared| shared.attributes.clone())
        .unwrap_or_default();
    device
        .arguments
        .iter()
        .filter(|argument| argument.0 != "nodename" && !shared.contains(argument))
        .map(|(name, value)| {
            let value = if crate::secrets::is_secret(name) { crate::secrets::MASK.to_owned() } else { value.clone() };
            (name.clone(), value)
        })
        .collect()
}

#[derive(Debug, Template)]
#[template(path = "nodes.html")]
pub struct NodesPage {
    pub shell: Shell,
    pub head: HeadPanel,
    pub nodes: NodesPanel,
}

/// A fence device that can be put into a method.
#[derive(Debug, Clone)]
pub struct DeviceChoice {
    pub name: String,
    pub agent: String,
}

#[derive(Debug, Template)]
#[template(path = "node.html")]
pub struct NodePage {
    pub shell: Shell,
    pub head: HeadPanel,
    pub node: NodePanel,
    pub events: EventsPanel,
    pub name: String,
    pub cluster: String,
    /// Address of this page.
    pub root: String,
    pub methods: Vec<MethodForm>,
    /// What is known of the working of each method.
    pub standings: Vec<MethodLine>,
    pub devices: Vec<DeviceChoice>,
    pub domains: Vec<(String, String)>,
    pub votes: String,
    pub altname: String,
    pub base: String,
    pub configured: bool,
    pub errors: FormErrors,
}

/// The use of a fence device by a node.
#[derive(Debug, Template)]
#[template(path = "fence_instance.html")]
pub struct FenceInstancePage {
    pub shell: Shell,
    pub head: HeadPanel,
    pub heading: String,
    pub agent: String,
    pub form: AttributeForm,
    /// Places of the method and of the instance in it.
    pub method: usize,
    pub instance: usize,
    pub base: String,
    pub back: String,
    pub errors: FormErrors,
}

/// The form that adds or pairs a node.
#[derive(Debug, Template)]
#[template(path = "node_form.html")]
pub struct NodeFormPage {
    pub shell: Shell,
    pub heading: String,
    pub intro: String,
    pub action: String,
    pub button: String,
    pub back: String,
    pub row: NodeRowForm,
    /// The name cannot be changed.
    pub fixed_name: bool,
    pub errors: FormErrors,
}
