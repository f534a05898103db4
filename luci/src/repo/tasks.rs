//! Work that outlives a request: what was asked, and how far each node is.

use serde::{Deserialize, Serialize};

use super::{Repo, Result};
use crate::clock;
use crate::ids::{ClusterId, NodeRow};

/// A piece of work.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Task {
    pub id: String,
    pub kind: TaskKind,
    pub cluster_id: Option<ClusterId>,
    /// JSON of `tasks::Input`.
    pub input: String,
    pub state: TaskState,
    pub confirmed_at: Option<i64>,
    pub user_name: String,
    pub at: i64,
    pub ended_at: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type, Serialize, Deserialize)]
#[sqlx(type_name = "TEXT", rename_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
pub enum TaskKind {
    CreateCluster,
    ImportCluster,
    AddNode,
    PairNode,
    DeleteNode,
    ProveFencing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type, Serialize)]
#[sqlx(type_name = "TEXT", rename_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
pub enum TaskState {
    Running,
    /// Waits for an operator to confirm the fingerprints.
    Confirm,
    /// Waits for an operator to try again or give up.
    Failed,
    Done,
    GivenUp,
}

/// One step on one node; `node` 0 stands for the cluster as a whole.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Step {
    pub stage: i64,
    #[sqlx(rename = "node_id")]
    pub node: NodeRow,
    pub step: StepKind,
    pub state: StepState,
    pub text: String,
    pub started_at: Option<i64>,
    pub ended_at: Option<i64>,
}

/// What a step does; each may be repeated without harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type, Serialize, Deserialize)]
#[sqlx(type_name = "TEXT", rename_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
pub enum StepKind {
    /// Look at the node's certificate.
    Contact,
    /// Prove the right to control the node, once; both sides pin certificates.
    Pair,
    /// Learn the cluster from the node's cluster.conf.
    Adopt,
    /// Make the cluster's key on the first node.
    MakeKey,
    /// Hand the cluster's key to the node.
    Key,
    /// A new configuration version, through the running cluster.
    ClusterConf,
    /// cluster.conf on a node that is not running the cluster yet.
    Conf,
    /// Start the cluster on the node.
    Start,
    /// Wait until the node is a member.
    Member,
    /// Stop the cluster on the node; its services move away first.
    Leave,
    /// The node gives up key and configuration.
    Forget,
    /// The harmless rungs of the test ladder, run from this node.
    FenceTest,
    /// The node's services move away.
    Drain,
    /// The cluster fences the node.
    PowerCycle,
    /// The node is seen again, and its boot id tells.
    ComeBack,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type, Serialize)]
#[sqlx(type_name = "TEXT", rename_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
pub enum StepState {
    Waiting,
    Running,
    Done,
    Failed,
}

impl Repo {
    /// A task with all its steps, both or neither.
    pub async fn add_task(&self, task: &Task, steps: &[(i64, NodeRow, StepKind)]) -> Result<()> {
        let mut tx = self.pool.begin().await?;
        self.query(
            "INSERT INTO tasks (id, kind, cluster_id, input, state, user_name, at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(&task.id)
        .bind(task.kind)
        .bind(task.cluster_id)
        .bind(&task.input)
        .bind(task.state)
        .bind(&task.user_name)
        .bind(task.at)
        .execute(&mut tx)
        .await?;
        for (stage, node, step) in steps {
            self.query(
                "INSERT INTO task_steps (task_id, stage, node_id, step, state, text) VALUES ($1, $2, $3, $4, 'waiting', '')",
            )
            .bind(&task.id)
            .bind(stage)
            .bind(node)
            .bind(step)
            .execute(&mut tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    pub async fn task(&self, id: &str) -> Result<Option<Task>> {
        Ok(self.query_as("SELECT * FROM tasks WHERE id = $1").bind(id).fetch_optional(&self.pool).await?)
    }

    /// In order of stage and node.
    pub async fn steps(&self, task: &str) -> Result<Vec<Step>> {
        Ok(self
            .query_as(
                "SELECT stage, node_id, step, state, text, started_at, ended_at FROM task_steps
             WHERE task_id = $1 ORDER BY stage, node_id",
            )
            .bind(task)
            .fetch_all(&self.pool)
            .await?)
    }

    pub async fn running_tasks(&self) -> Result<Vec<Task>> {
        Ok(self.query_as("SELECT * FROM tasks WHERE state = 'running' ORDER BY at, id").fetch_all(&self.pool).await?)
    }

    /// Newest first.
    pub async fn recent_tasks(&self, limit: i64) -> Result<Vec<Task>> {
        Ok(self
            .query_as("SELECT * FROM tasks ORDER BY at DESC, id DESC LIMIT $1")
            .bind(limit)
            .fetch_all(&self.pool)
            .await?)
    }

    /// Tasks that need someone or are at work.
    pub async fn open_tasks(&self) -> Result<Vec<Task>> {
        Ok(self
            .query_as("SELECT * FROM tasks WHERE state IN ('running', 'confirm', 'failed') ORDER BY at, id")
            .fetch_all(&self.pool)
            .await?)
    }

    pub async fn set_task_state(&self, id: &str, state: TaskState) -> Result<()> {
        let ended = matches!(state, TaskState::Done | TaskState::GivenUp).then(clock::now_ms);
        self.query("UPDATE tasks SET state = $2, ended_at = $3 WHERE id = $1")
            .bind(id)
            .bind(state)
            .bind(ended)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub async fn set_task_cluster(&self, id: &str, cluster: ClusterId) -> Result<()> {
        self.query("UPDATE tasks SET cluster_id = $2 WHERE id = $1").bind(id).bind(cluster).execute(&self.pool).await?;
        Ok(())
    }

    /// From `confirm` to `running`; false if the task was not waiting for that.
    pub async fn confirm_task(&self, id: &str) -> Result<bool> {
        let done = self
            .query("UPDATE tasks SET state = 'running', confirmed_at = $2 WHERE id = $1 AND state = 'confirm'")
            .bind(id)
            .bind(clock::now_ms())
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// From `failed` to `running`, failed steps waiting again; false if the task had not failed.
    pub async fn retry_task(&self, id: &str) -> Result<bool> {
        let mut tx = self.pool.begin().await?;
        let done = self
            .query("UPDATE tasks SET state = 'running' WHERE id = $1 AND state = 'failed'")
            .bind(id)
            .execute(&mut tx)
            .await?;
        if done.rows_affected() != 1 {
            return Ok(false);
        }
        self.query("UPDATE task_steps SET state = 'waiting' WHERE task_id = $1 AND state = 'failed'")
            .bind(id)
            .execute(&mut tx)
            .await?;
        tx.commit().await?;
        Ok(true)
    }

    pub async fn set_step(&self, task: &str, stage: i64, node: NodeRow, state: StepState, text: &str) -> Result<()> {
        let now = clock::now_ms();
        let ended = matches!(state, StepState::Done | StepState::Failed).then_some(now);
        self.query(
            "UPDATE task_steps SET state = $4, text = $5, ended_at = $6,
                 started_at = CASE WHEN $4 = 'running' THEN $7 ELSE started_at END
             WHERE task_id = $1 AND stage = $2 AND node_id = $3",
        )
        .bind(task)
        .bind(stage)
        .bind(node)
        .bind(state)
        .bind(text)
        .bind(ended)
        .bind(now)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
