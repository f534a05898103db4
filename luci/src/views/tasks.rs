//! Tasks: what is being done, how far each node is, and what luci waits for.

use askama::Template;

use super::badge::{self, Badge};
use super::{Shell, time};
use crate::clock::{duration_text, now_ms};
use crate::ids::NodeRow;
use crate::language::filters;
use crate::repo::nodes::Node;
use crate::repo::tasks::{Step, StepKind, StepState, Task, TaskKind, TaskState};
use crate::tls::spoken_fingerprint;

/// A task in a list.
#[derive(Debug, Clone)]
pub struct TaskLine {
    pub id: String,
    pub title: String,
    pub badge: Badge,
    pub user: String,
    pub at: String,
    /// How long ago it was begun, while it has not ended.
    pub open_for: String,
    pub cluster: Option<String>,
}

impl TaskLine {
    pub fn new(task: &Task, cluster: Option<&str>) -> Self {
        Self {
            id: task.id.clone(),
            title: title(task.kind, cluster),
            badge: badge::task(task.state),
            user: task.user_name.clone(),
            at: time(task.at),
            open_for: match task.state {
                TaskState::Done | TaskState::GivenUp => String::new(),
                _ => format!("for {}", duration_text(now_ms() - task.at)),
            },
            cluster: cluster.map(str::to_owned),
        }
    }
}

fn title(kind: TaskKind, cluster: Option<&str>) -> String {
    let cluster = cluster.unwrap_or("a cluster");
    match kind {
        TaskKind::CreateCluster => format!("Creating {cluster}"),
        TaskKind::ImportCluster => {
            format!("Adding the existing cluster {cluster}").replace("cluster a cluster", "cluster")
        }
        TaskKind::AddNode => format!("Adding a node to {cluster}"),
        TaskKind::PairNode => format!("Pairing a node of {cluster}"),
        TaskKind::DeleteNode => format!("Deleting a node of {cluster}"),
        TaskKind::ProveFencing => format!("Testing the fencing of a node of {cluster}"),
    }
}

/// The word of a step.
fn step_title(step: StepKind) -> &'static str {
    match step {
        StepKind::Contact => "Contact",
        StepKind::Pair => "Pair",
        StepKind::Adopt => "Read the cluster",
        StepKind::MakeKey => "Make the key",
        StepKind::Key => "Hand over the key",
        StepKind::ClusterConf => "New configuration",
        StepKind::Conf => "Write the configuration",
        StepKind::Start => "Start",
        StepKind::Member => "Become a member",
        StepKind::Leave => "Leave the cluster",
        StepKind::Forget => "Give up key and configuration",
        StepKind::FenceTest => "Test its fence devices from here",
        StepKind::Drain => "Give its services away",
        StepKind::PowerCycle => "Power cycle",
        StepKind::ComeBack => "Come back",
    }
}

#[derive(Debug)]
pub struct StepLine {
    pub step: &'static str,
    pub badge: Badge,
    pub text: String,
    pub took: String,
}

/// One node's progress.
#[derive(Debug)]
pub struct NodeProgress {
    pub row: i64,
    pub name: String,
    pub host: String,
    pub fingerprint: Option<String>,
    pub steps: Vec<StepLine>,
    /// Its password is needed again.
    pub needs_secret: bool,
}

/// The part of a task's page that changes.
#[derive(Debug, Template)]
#[template(path = "panels/task.html")]
pub struct TaskPanel {
    pub id: String,
    pub title: String,
    pub badge: Badge,
    pub state: TaskState,
    pub nodes: Vec<NodeProgress>,
    pub cluster: Option<String>,
    pub csrf: String,
    pub administrator: bool,
    pub done_steps: usize,
    pub all_steps: usize,
}

impl TaskPanel {
    pub fn new(
        task: &Task,
        steps: &[Step],
        nodes: &[Node],
        cluster: Option<&str>,
        csrf: &str,
        administrator: bool,
    ) -> Self {
        let mut rows: Vec<NodeRow> = Vec::new();
        for step in steps {
            if !rows.contains(&step.node) {
                rows.push(step.node);
            }
        }
        let progress = rows.iter().map(|row| node_progress(*row, task, steps, nodes)).collect();
        Self {
            id: task.id.clone(),
            title: title(task.kind, cluster),
            badge: badge::task(task.state),
            state: task.state,
            nodes: progress,
            cluster: cluster.map(str::to_owned),
            csrf: csrf.to_owned(),
            administrator,
            done_steps: steps.iter().filter(|step| step.state == StepState::Done).count(),
            all_steps: steps.len(),
        }
    }

    pub fn waits_for_confirmation(&self) -> bool {
        self.state == TaskState::Confirm
    }

    /// Whether several nodes want a password.
    pub fn asks_several(&self) -> bool {
        self.nodes.iter().filter(|node| node.needs_secret).count() > 1
    }

    pub fn has_failed(&self) -> bool {
        self.state == TaskState::Failed
    }

    pub fn is_done(&self) -> bool {
        self.state == TaskState::Done
    }
}

fn node_progress(row: NodeRow, task: &Task, steps: &[Step], nodes: &[Node]) -> NodeProgress {
    let node = nodes.iter().find(|node| node.id == row);
    let own: Vec<&Step> = steps.iter().filter(|step| step.node == row).collect();
    let failed_pair = task.state == TaskState::Failed
        && own.iter().any(|step| step.step == StepKind::Pair && step.state == StepState::Failed);
    NodeProgress {
        row: row.0,
        name: match node {
            Some(node) => node.name.to_string(),
            None if row == crate::tasks::WHOLE_CLUSTER => "the cluster".into(),
            None => "a node that is gone".into(),
        },
        host: node.map_or_else(String::new, |node| format!("{} port {}", node.host, node.port)),
        fingerprint: node.and_then(|node| node.fingerprint.as_deref()).map(spoken_fingerprint),
        needs_secret: failed_pair,
        steps: own.into_iter().map(step_line).collect(),
    }
}

fn step_line(step: &Step) -> StepLine {
    let took = match (step.state, step.started_at, step.ended_at) {
        (StepState::Running, Some(started), _) => format!("for {}", duration_text(now_ms() - started)),
        (_, Some(started), Some(ended)) => duration_text(ended - started),
        _ => String::new(),
    };
    StepLine { step: step_title(step.step), badge: badge::step(step.state), text: step.text.clone(), took }
}

#[derive(Debug, Template)]
#[template(path = "task.html")]
pub struct TaskPage {
    pub shell: Shell,
    pub task: TaskPanel,
}

#[derive(Debug, Template)]
#[template(path = "tasks.html")]
pub struct TasksPage {
    pub shell: Shell,
    pub tasks: TasksPanel,
}

/// The newest tasks, as a part that is pushed.
#[derive(Debug, Template)]
#[template(path = "panels/tasks.html")]
pub struct TasksPanel {
    pub tasks: Vec<TaskLine>,
}
