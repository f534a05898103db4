//! Work that outlives a request: creating a cluster, taking one in, adding, pairing and deleting nodes. What is to be done
//! and how far it is stands in rows; a driver with no other memory carries it out stage by stage, may repeat any step,
//! and goes on after luci was killed. Only passwords are kept in memory alone: after a restart a step that needs one
//! asks for it again.

pub mod fencing;
mod steps;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use shared::api::PairRequest;
use shared::ids::NodeName;

use crate::app::{App, AppError, errors_of};
use crate::clock;
use crate::ids::{ClusterId, NodeRow};
use crate::repo::RepoError;
use crate::repo::clusters::ClusterState;
use crate::repo::tasks::{Step, StepKind, StepState, Task, TaskKind, TaskState};

/// Proof that a node may be controlled.
#[derive(Clone)]
pub enum PairSecret {
    /// Of the system user `ricci`.
    Password(String),
    /// Printed by `ricci token` on the node.
    Token(String),
}

impl std::fmt::Debug for PairSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PairSecret(not shown)")
    }
}

impl PairSecret {
    fn request(&self, label: &str) -> PairRequest {
        let label = label.to_owned();
        match self {
            Self::Password(password) => PairRequest::Password { password: password.clone(), label },
            Self::Token(token) => PairRequest::Token { token: token.clone(), label },
        }
    }
}

/// Secrets of running tasks, in memory only.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Arc<Mutex<HashMap<(String, NodeRow), PairSecret>>>);

impl Secrets {
    pub(crate) fn put(&self, task: &str, node: NodeRow, secret: PairSecret) {
        self.lock().insert((task.to_owned(), node), secret);
    }

    fn of(&self, task: &str, node: NodeRow) -> Option<PairSecret> {
        self.lock().get(&(task.to_owned(), node)).cloned()
    }

    pub(crate) fn forget(&self, task: &str) {
        self.lock().retain(|(of, _), _| of != task);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, NodeRow), PairSecret>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What a task is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "kebab-case")]
pub enum Input {
    CreateCluster {
        nodes: Vec<NodeRow>,
    },
    ImportCluster {
        node: NodeRow,
    },
    AddNode {
        node: NodeRow,
    },
    PairNode {
        node: NodeRow,
    },
    DeleteNode {
        node: NodeRow,
        name: NodeName,
        out_of_reach: bool,
    },
    /// `testers`: the nodes that may have to fence it. `power`: up to a real power cycle.
    ProveFencing {
        node: NodeRow,
        name: NodeName,
        testers: Vec<NodeRow>,
        power: bool,
    },
}

/// A task to be begun.
#[derive(Debug)]
pub struct Plan {
    pub kind: TaskKind,
    pub cluster: Option<ClusterId>,
    pub input: Input,
}

/// Stands for the cluster as a whole in a step.
pub const WHOLE_CLUSTER: NodeRow = NodeRow(0);

impl Plan {
    /// Stages in order; the steps of one stage run side by side.
    fn stages(&self) -> Vec<(StepKind, Vec<NodeRow>)> {
        use StepKind::{
            Adopt, ClusterConf, ComeBack, Conf, Contact, Drain, FenceTest, Forget, Key, Leave, MakeKey, Member, Pair,
            PowerCycle, Start,
        };
        match &self.input {
            Input::CreateCluster { nodes } => {
                let (first, rest) = nodes.split_at(1.min(nodes.len()));
                vec![
                    (Contact, nodes.clone()),
                    (Pair, nodes.clone()),
                    (MakeKey, first.to_vec()),
                    (Key, rest.to_vec()),
                    (Conf, nodes.clone()),
                    (Start, nodes.clone()),
                    (Member, nodes.clone()),
                ]
            }
            Input::ImportCluster { node } => {
                vec![(Contact, vec![*node]), (Pair, vec![*node]), (Adopt, vec![*node])]
            }
            Input::PairNode { node } => vec![(Contact, vec![*node]), (Pair, vec![*node])],
            Input::AddNode { node } => vec![
                (Contact, vec![*node]),
                (Pair, vec![*node]),
                (Key, vec![*node]),
                (ClusterConf, vec![WHOLE_CLUSTER]),
                (Conf, vec![*node]),
                (Start, vec![*node]),
                (Member, vec![*node]),
            ],
            Input::DeleteNode { out_of_reach: true, .. } => vec![(ClusterConf, vec![WHOLE_CLUSTER])],
            Input::DeleteNode { node, .. } => {
                vec![(Leave, vec![*node]), (ClusterConf, vec![WHOLE_CLUSTER]), (Forget, vec![*node])]
            }
            Input::ProveFencing { node, testers, power, .. } => {
                let mut stages = vec![(FenceTest, testers.clone())];
                if *power {
                    stages.extend([(Drain, vec![*node]), (PowerCycle, vec![*node]), (ComeBack, vec![*node])]);
                }
                stages
            }
        }
    }
}

/// Writes a task down and sets it going.
pub async fn begin(
    app: &App,
    user: &str,
    plan: Plan,
    nodes: Vec<(NodeRow, Option<PairSecret>)>,
) -> Result<String, AppError> {
    let task = Task {
        id: uuid::Uuid::new_v4().to_string(),
        kind: plan.kind,
        cluster_id: plan.cluster,
        input: serde_json::to_string(&plan.input).map_err(|error| AppError::Internal(error.to_string()))?,
        state: TaskState::Running,
        confirmed_at: None,
        user_name: user.to_owned(),
        at: clock::now_ms(),
        ended_at: None,
    };
    let mut steps = Vec::new();
    for (stage, (step, nodes)) in (1i64..).zip(plan.stages()) {
        steps.extend(nodes.into_iter().map(|node| (stage, node, step)));
    }
    for (node, secret) in nodes {
        if let Some(secret) = secret {
            app.secrets.put(&task.id, node, secret);
        }
    }
    app.repo.add_task(&task, &steps).await?;
    drive(app, task.id.clone());
    Ok(task.id)
}

/// Carries a task on until it ends, fails, or needs an answer.
pub fn drive(app: &App, task: String) {
    let app = app.clone();
    app.background.clone().spawn("task", async move {
        if let Err(error) = run(&app, &task).await {
            tracing::error!(task, error = shared::chain(&error), "a task cannot be carried on");
        }
    });
}

async fn run(app: &App, id: &str) -> Result<(), AppError> {
    loop {
        let Some(task) = app.repo.task(id).await? else { return Ok(()) };
        if task.state != TaskState::Running {
            return Ok(());
        }
        let steps = app.repo.steps(id).await?;
        let Some(stage) = steps.iter().filter(|step| step.state != StepState::Done).map(|step| step.stage).min() else {
            return finish(app, &task).await;
        };
        let now: Vec<Step> =
            steps.into_iter().filter(|step| step.stage == stage && step.state != StepState::Done).collect();
        // Before luci proves anything to a node, a person has compared the fingerprints.
        if task.confirmed_at.is_none() && now.iter().any(|step| step.step == StepKind::Pair) {
            app.repo.set_task_state(id, TaskState::Confirm).await?;
            app.watchers.touch(task.cluster_id);
            return Ok(());
        }
        if !run_stage(app, &task, now).await? {
            app.repo.set_task_state(id, TaskState::Failed).await?;
            app.watchers.touch(task.cluster_id);
            return Ok(());
        }
    }
}

/// Runs the steps of a stage side by side; whether all succeeded.
async fn run_stage(app: &App, task: &Task, steps: Vec<Step>) -> Result<bool, AppError> {
    let results = futures_util::future::join_all(steps.into_iter().map(|step| async move {
        app.repo.set_step(&task.id, step.stage, step.node, StepState::Running, "").await?;
        app.watchers.touch(task.cluster_id);
        let (state, text) = match steps::perform(app, task, &step).await {
            Ok(text) => (StepState::Done, text),
            Err(error) => {
                tracing::warn!(task = task.id, step = ?step.step, error = shared::chain(&error), "a step failed");
                (StepState::Failed, step_error(&error))
            }
        };
        app.repo.set_step(&task.id, step.stage, step.node, state, &text).await?;
        // An adopted cluster is known only now; the next page wants it.
        app.watchers.touch(task.cluster_id);
        Ok::<bool, AppError>(state == StepState::Done)
    }))
    .await;
    let mut all = true;
    for result in results {
        all &= result?;
    }
    Ok(all)
}

/// What the page says about a failed step; nothing of luci's inside.
fn step_error(error: &AppError) -> String {
    match error {
        AppError::Repo(_) | AppError::Internal(_) => "luci itself failed; its log says more".into(),
        AppError::Findings(findings) => {
            errors_of(findings).map(|finding| finding.text.as_str()).collect::<Vec<_>>().join("; ")
        }
        other => other.to_string(),
    }
}

async fn finish(app: &App, task: &Task) -> Result<(), AppError> {
    if let (TaskKind::CreateCluster, Some(cluster)) = (task.kind, task.cluster_id) {
        app.repo.set_cluster_state(cluster, ClusterState::Managed).await?;
    }
    if let (TaskKind::DeleteNode, Input::DeleteNode { node, .. }) = (task.kind, input(task)?) {
        app.repo.remove_node(node).await?;
    }
    app.repo.set_task_state(&task.id, TaskState::Done).await?;
    app.secrets.forget(&task.id);
    if let Some(cluster) = task.cluster_id {
        app.watchers.nudge(cluster);
    }
    app.watchers.touch(task.cluster_id);
    Ok(())
}

/// Takes back what only luci knows of a task that was given up.
pub(crate) async fn clean_up(app: &App, task: &Task) -> Result<(), RepoError> {
    let Ok(input) = input(task) else { return Ok(()) };
    match (input, task.cluster_id) {
        (Input::CreateCluster { .. }, Some(cluster)) => {
            app.watchers.stop(cluster);
            app.repo.remove_cluster(cluster).await
        }
        (Input::ImportCluster { node }, None) => app.repo.remove_node(node).await,
        (Input::ProveFencing { .. }, _) => {
            // A node that was put in standby for the proof is not left there.
            if let Some(card) = app.repo.proof(&task.id).await?
                && let Err(error) = fencing::end_standby(app, task, &card).await
            {
                tracing::warn!(task = task.id, error = shared::chain(&error), "the standby of the node is not ended");
            }
            Ok(())
        }
        (Input::AddNode { node }, Some(cluster)) => {
            // Once the configuration names the node it belongs to the cluster and is deleted like any other.
            let Some(row) = app.repo.node(node).await? else { return Ok(()) };
            let named = match app.repo.newest_conf(cluster).await? {
                Some(conf) => crate::app::conf::names_node(&conf.text, &row.name),
                None => false,
            };
            if named { Ok(()) } else { app.repo.remove_node(node).await }
        }
        _ => Ok(()),
    }
}

/// What the task is about.
pub fn input(task: &Task) -> Result<Input, AppError> {
    serde_json::from_str(&task.input).map_err(|error| AppError::Internal(error.to_string()))
}
