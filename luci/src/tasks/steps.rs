//! The steps of tasks. Each looks first whether it is done already, so that it may be repeated after a crash at any
//! point, and returns a sentence for the page.

use std::time::Duration;

use shared::api::{HostOperationKind, NodeReport, PutConf, StartCluster, StopCluster};
use shared::conf::{Document, sealed};
use shared::ids::NodeName;
use shared::status::Membership;

use super::{Input, WHOLE_CLUSTER, fencing, input};
use crate::app::{App, AppError, conf};
use crate::clock;
use crate::ids::ClusterId;
use crate::repo::clusters::ClusterState;
use crate::repo::confs::{Origin, StoredConf};
use crate::repo::nodes::{NewNode, Node};
use crate::repo::tasks::{Step, StepKind, Task};
use crate::ricci_client::RicciError;
use crate::tls::spoken_fingerprint;
use crate::watcher::Snapshot;

/// How long a node may take to become a member: its daemons start, and a node that must first stop something takes longer.
const MEMBER_WAIT: Duration = Duration::from_secs(180);
/// How long a node may take to give its services away and stop.
const LEAVE_WAIT: Duration = Duration::from_secs(300);
/// How often a node is asked whether it has stopped.
const LEAVE_LOOK: Duration = Duration::from_secs(2);

pub(super) async fn perform(app: &App, task: &Task, step: &Step) -> Result<String, AppError> {
    if step.node == WHOLE_CLUSTER {
        return cluster_conf(app, task).await;
    }
    let node = app.repo.node(step.node).await?;
    let node = node.ok_or_else(|| AppError::Conflict("luci does not know this node any more".into()))?;
    match step.step {
        StepKind::Contact => contact(app, &node).await,
        StepKind::Pair => pair(app, task, &node).await,
        StepKind::Adopt => adopt(app, task, &node).await,
        StepKind::MakeKey => {
            app.clients.paired(&node)?.make_key().await?;
            Ok("the cluster's key is there".into())
        }
        StepKind::Key => key(app, task, &node).await,
        StepKind::Conf => offline_conf(app, task, &node).await,
        StepKind::Start => {
            app.clients.paired(&node)?.start_cluster(&StartCluster { enable: true }).await?;
            Ok("started, now and at every boot".into())
        }
        StepKind::Member => member(app, task, &node).await,
        StepKind::Leave => leave(app, task, &node).await,
        StepKind::Forget => forget(app, &node).await,
        StepKind::ClusterConf => cluster_conf(app, task).await,
        StepKind::FenceTest => fencing::test_from(app, task, &node).await,
        StepKind::Drain => fencing::drain(app, task, &node).await,
        StepKind::PowerCycle => fencing::power_cycle(app, task, &node).await,
        StepKind::ComeBack => fencing::come_back(app, task, &node).await,
    }
}

fn cluster_of(task: &Task) -> Result<ClusterId, AppError> {
    task.cluster_id.ok_or_else(|| AppError::Internal("the task has no cluster".into()))
}

async fn contact(app: &App, node: &Node) -> Result<String, AppError> {
    let (alive, fingerprint) = app.clients.look(&node.name, &node.host, node.port).await?;
    // A node that is paired keeps its pin; another certificate must be seen and confirmed as a new one.
    if node.fingerprint.as_ref() != Some(&fingerprint) {
        app.repo.set_fingerprint(node.id, &fingerprint).await?;
    }
    Ok(format!("ricci {}; certificate {}", alive.version, spoken_fingerprint(&fingerprint)))
}

async fn pair(app: &App, task: &Task, node: &Node) -> Result<String, AppError> {
    let ricci = app.clients.of(node)?;
    // The proof may have been used up just before luci was killed.
    let report = match ricci.node_report().await {
        Ok(report) => report,
        Err(RicciError::Problem { .. }) => {
            let secret = app.secrets.of(&task.id, node.id).ok_or_else(|| {
                AppError::Conflict(format!(
                    "luci was restarted and does not keep passwords; give the password or a token for {} again",
                    node.name
                ))
            })?;
            ricci.pair(&secret.request("luci")).await?;
            ricci.node_report().await?
        }
        Err(error) => return Err(error.into()),
    };
    refuse_other_cluster(app, task, node, &report).await?;
    app.repo.set_paired(node.id, clock::now_ms()).await?;
    app.repo.store_report(node.id, &report, clock::now_ms()).await?;
    if let Some(cluster) = task.cluster_id {
        app.watchers.nudge(cluster);
    }
    Ok(format!("paired; the node calls itself {}", report.hostname))
}

/// A node that runs in one cluster is not taken into another.
async fn refuse_other_cluster(app: &App, task: &Task, node: &Node, report: &NodeReport) -> Result<(), AppError> {
    let Some(cluster) = task.cluster_id else { return Ok(()) };
    let own = app.repo.cluster(cluster).await?.map(|cluster| cluster.name);
    match &report.conf {
        Some(conf) if Some(&conf.cluster) != own.as_ref() && (report.corosync.running || report.rgmanager.running) => {
            Err(AppError::Conflict(format!(
                "{} runs in the cluster {}; take it out there first, or add that cluster with “Add existing”",
                node.name, conf.cluster
            )))
        }
        _ => Ok(()),
    }
}

/// Takes the key from a paired node that has it, and hands it to this one.
async fn key(app: &App, task: &Task, node: &Node) -> Result<String, AppError> {
    let cluster = cluster_of(task)?;
    let mut why = None;
    for other in app.repo.nodes_of(cluster).await? {
        if other.id == node.id || other.paired_at.is_none() {
            continue;
        }
        match app.clients.paired(&other)?.key().await {
            Ok(key) => {
                app.clients.paired(node)?.put_key(&key).await?;
                return Ok(format!("the cluster's key came from {}", other.name));
            }
            Err(error) => why = Some(error),
        }
    }
    Err(match why {
        Some(error) => error.into(),
        None => AppError::Unreachable("no other node of the cluster is paired with luci".into()),
    })
}

async fn offline_conf(app: &App, task: &Task, node: &Node) -> Result<String, AppError> {
    let cluster = cluster_of(task)?;
    let conf = app.repo.newest_conf(cluster).await?;
    let conf = conf.ok_or_else(|| AppError::Internal("the cluster has no configuration".into()))?;
    let ricci = app.clients.paired(node)?;
    give_secrets(app, cluster, node, &conf.text).await?;
    let origin = format!("{} via luci", task.user_name);
    let put = PutConf { text: conf.text, origin, offline: true, despite_agents: false };
    match ricci.put_conf(&put).await {
        Ok(accepted) => Ok(format!("configuration {} written", accepted.version)),
        // The cluster runs there already: the step was done before and the next ones were, too.
        Err(error) if error.problem().is_some_and(|p| p.code == shared::api::ProblemCode::ClusterRunning) => {
            let there = ricci.conf().await?;
            if there.digest == conf.digest { Ok("configuration is in force".into()) } else { Err(error.into()) }
        }
        Err(error) => Err(error.into()),
    }
}

/// A node has the secrets before it has the configuration that refers to them.
async fn give_secrets(app: &App, cluster: ClusterId, node: &Node, text: &str) -> Result<(), AppError> {
    let references = sealed::references(&Document::parse(text).0);
    if references.is_empty() {
        return Ok(());
    }
    let names: Vec<String> =
        references.iter().filter_map(|found| sealed::referred(&found.value)).map(str::to_owned).collect();
    let left = app.hand_on_secrets(cluster, &node.name, &names).await?;
    if !left.is_empty() {
        // Not a reason to stop: the node can do all else, its report names them, and fencing goes on from others.
        let left = left.join(", ");
        tracing::warn!(node = %node.name, left, "nobody has these secrets");
    }
    Ok(())
}

async fn member(app: &App, task: &Task, node: &Node) -> Result<String, AppError> {
    let cluster = cluster_of(task)?;
    app.watchers.nudge(cluster);
    let name = node.name.clone();
    let since = u64::try_from(task.at).unwrap_or(0);
    let is_member = |snapshot: &Snapshot| {
        let status = snapshot.live().and_then(|status| status.node(&name));
        status.is_some_and(|node| node.online && node.member == Membership::Member)
    };
    // The start was accepted at once; that it failed is told by the node's report.
    let failure = |snapshot: &Snapshot| {
        let operation = snapshot.nodes.get(&name)?.report.as_ref()?.operation.as_ref()?;
        let ours = operation.kind == HostOperationKind::Start && operation.since_ms >= since;
        operation.failure.clone().filter(|_| ours)
    };
    let found =
        wait_for(app, cluster, MEMBER_WAIT, |snapshot| is_member(snapshot) || failure(snapshot).is_some()).await;
    match found {
        Some(snapshot) if is_member(&snapshot) => Ok("member of the cluster".into()),
        Some(snapshot) => Err(AppError::Unreachable(format!(
            "the cluster did not start on {name}: {}",
            failure(&snapshot).unwrap_or_default()
        ))),
        None => Err(AppError::Unreachable(format!(
            "{name} has not become a member within {} s; look at the log of corosync and rgmanager there, then try again",
            MEMBER_WAIT.as_secs()
        ))),
    }
}

async fn leave(app: &App, task: &Task, node: &Node) -> Result<String, AppError> {
    let ricci = app.clients.paired(node)?;
    ricci.stop_cluster(&StopCluster { disable: true }).await?;
    let until = tokio::time::Instant::now() + LEAVE_WAIT;
    loop {
        let report = ricci.node_report().await?;
        if !report.rgmanager.running && !report.corosync.running {
            if let Some(cluster) = task.cluster_id {
                app.watchers.nudge(cluster);
            }
            return Ok("the cluster is stopped there".into());
        }
        let stop = report.operation.filter(|operation| operation.kind == HostOperationKind::Stop);
        if let Some(failure) = stop.and_then(|stop| stop.failure) {
            return Err(AppError::Unreachable(format!("the cluster did not stop on {}: {failure}", node.name)));
        }
        if tokio::time::Instant::now() > until {
            return Err(AppError::Unreachable(format!(
                "{} has not stopped within {} s; a service may refuse to stop there",
                node.name,
                LEAVE_WAIT.as_secs()
            )));
        }
        tokio::time::sleep(LEAVE_LOOK).await;
    }
}

async fn forget(app: &App, node: &Node) -> Result<String, AppError> {
    let ricci = app.clients.paired(node)?;
    match ricci.forget_cluster().await {
        Ok(()) => {}
        Err(error) if error.problem().is_some_and(|p| p.code == shared::api::ProblemCode::NotFound) => {}
        Err(RicciError::Older { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    ricci.unpair().await?;
    Ok("the node gave up key and configuration".into())
}

/// The new version that names the node, or no longer names it.
async fn cluster_conf(app: &App, task: &Task) -> Result<String, AppError> {
    let id = cluster_of(task)?;
    let cluster = app.repo.cluster(id).await?;
    let cluster = cluster.ok_or_else(|| AppError::Conflict("luci does not manage this cluster any more".into()))?;
    let version = match input(task)? {
        Input::AddNode { node } => {
            let row = app.repo.node(node).await?;
            let row = row.ok_or_else(|| AppError::Conflict("luci does not know this node any more".into()))?;
            conf::add_node(app, &cluster, &task.user_name, &row.name).await?
        }
        Input::DeleteNode { name, .. } => conf::delete_node(app, &cluster, &task.user_name, &name).await?,
        _ => return Err(AppError::Internal("this task does not change the configuration".into())),
    };
    Ok(match version {
        Some(version) => format!("configuration {version} is stored by all members"),
        None => "the configuration already says so".into(),
    })
}

/// Learns the cluster that a node belongs to.
async fn adopt(app: &App, task: &Task, node: &Node) -> Result<String, AppError> {
    let ricci = app.clients.paired(node)?;
    let document = ricci.conf().await?;
    let report = ricci.node_report().await?;
    let (cluster_name, names) = conf::cluster_and_nodes(&document.text)?;
    let id = match node.cluster {
        Some(id) => id,
        None => app
            .repo
            .add_cluster(&cluster_name, ClusterState::Managed)
            .await?
            .ok_or_else(|| AppError::Conflict(format!("luci already manages a cluster named {cluster_name}")))?,
    };
    let own = own_name(&report, node, &names);
    app.repo.set_node_cluster(node.id, id, &own).await?;
    for name in names.iter().filter(|name| **name != own) {
        let other = NewNode { name: name.clone(), host: name.to_string(), port: shared::api::PORT };
        // Known from an attempt before: nothing to do.
        app.repo.add_node(Some(id), &other).await?;
    }
    let conf = StoredConf {
        version: document.version,
        digest: document.digest,
        text: document.text,
        author: None,
        message: format!("found on {own} when the cluster was added"),
        origin: Origin::Node,
        at: clock::now_ms(),
        accepted: true,
    };
    app.repo.store_conf(id, &conf).await?;
    app.repo.set_task_cluster(&task.id, id).await?;
    app.watchers.start(id).await?;
    app.watchers.nudge(id);
    let rest = names.len().saturating_sub(1);
    Ok(match rest {
        0 => format!("cluster {cluster_name} added"),
        _ => format!("cluster {cluster_name} added; pair the other {rest} on its Nodes page"),
    })
}

/// Which of the configured nodes this one is.
fn own_name(report: &NodeReport, node: &Node, names: &[NodeName]) -> NodeName {
    let short = |name: &str| name.split('.').next().unwrap_or(name).to_owned();
    names
        .iter()
        .find(|name| name.as_str() == report.hostname)
        .or_else(|| names.iter().find(|name| **name == node.name))
        .or_else(|| names.iter().find(|name| name.as_str() == node.host))
        .or_else(|| names.iter().find(|name| short(name.as_str()) == short(&report.hostname)))
        .cloned()
        .unwrap_or_else(|| node.name.clone())
}

/// Waits until what is known of the cluster satisfies `wish`; `None` if it does not within the time.
pub(super) async fn wait_for(
    app: &App,
    cluster: ClusterId,
    limit: Duration,
    wish: impl Fn(&Snapshot) -> bool,
) -> Option<Snapshot> {
    let mut changes = app.watchers.subscribe(cluster)?;
    match tokio::time::timeout(limit, changes.wait_for(|snapshot| wish(snapshot))).await {
        Ok(Ok(snapshot)) => Some(snapshot.clone()),
        _ => None,
    }
}
