//! What is known of fence methods by testing: the rungs of the ladder, and the power cycles.

use serde::Serialize;

use super::{Repo, Result};
use crate::ids::ClusterId;

/// A rung of the ladder, from the harmless to the one that proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, sqlx::Type, Serialize)]
#[sqlx(type_name = "TEXT", rename_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// The agent looks at its arguments.
    Validate,
    /// The device is asked for the state of the node's plug.
    Status,
    /// The device lists its plugs.
    List,
    /// A plug that does not exist must fail.
    WrongPlug,
}

/// What a rung came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type, Serialize)]
#[sqlx(type_name = "TEXT", rename_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
pub enum RungVerdict {
    Passed,
    Failed,
    /// The agent answered, and the answer proves nothing.
    Doubtful,
    NotApplicable,
}

/// One rung, run from one node.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct RungResult {
    /// The node that is to be fenced.
    pub node: String,
    /// The node that asked the device.
    pub tester: String,
    pub method: String,
    pub device: String,
    pub rung: Rung,
    pub verdict: RungVerdict,
    pub code: Option<i64>,
    pub output: String,
    pub duration_ms: i64,
    pub at: i64,
    pub methods: String,
}

/// What a power cycle came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type, Serialize)]
#[sqlx(type_name = "TEXT", rename_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
pub enum ProofVerdict {
    UnderWay,
    /// The agent said so, and the node came back with another boot id.
    Proven,
    /// The agent said so, and the node never went down.
    Disproved,
    /// The agent failed.
    Failed,
}

/// The card of one power cycle.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ProofCard {
    pub task_id: String,
    pub cluster_id: ClusterId,
    pub node: String,
    pub user_name: String,
    pub methods: String,
    pub standby: bool,
    pub boot_before: String,
    pub fenced_before: Option<String>,
    pub asked_at: i64,
    pub lost_at: Option<i64>,
    pub method: Option<String>,
    pub fencer: Option<String>,
    pub answer: String,
    pub fenced_at: Option<i64>,
    pub boot_after: Option<String>,
    pub back_at: Option<i64>,
    pub verdict: ProofVerdict,
}

impl Repo {
    /// Keeps the result of a rung; the one before it goes.
    pub async fn store_rung(&self, cluster: ClusterId, result: &RungResult) -> Result<()> {
        self.query(
            "INSERT INTO fence_tests
             (cluster_id, node, tester, method, device, rung, verdict, code, output, duration_ms, at, methods)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
             ON CONFLICT (cluster_id, node, tester, method, device, rung) DO UPDATE SET verdict = excluded.verdict,
                 code = excluded.code, output = excluded.output, duration_ms = excluded.duration_ms, at = excluded.at,
                 methods = excluded.methods",
        )
        .bind(cluster)
        .bind(&result.node)
        .bind(&result.tester)
        .bind(&result.method)
        .bind(&result.device)
        .bind(result.rung)
        .bind(result.verdict)
        .bind(result.code)
        .bind(&result.output)
        .bind(result.duration_ms)
        .bind(result.at)
        .bind(&result.methods)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The rungs of a node's methods, in no order that matters.
    pub async fn rungs(&self, cluster: ClusterId, node: &str) -> Result<Vec<RungResult>> {
        Ok(self
            .query_as(
                "SELECT node, tester, method, device, rung, verdict, code, output, duration_ms, at, methods
             FROM fence_tests WHERE cluster_id = $1 AND node = $2 ORDER BY method, device, tester",
            )
            .bind(cluster)
            .bind(node)
            .fetch_all(&self.pool)
            .await?)
    }

    /// Writes a card, new or further on.
    pub async fn store_proof(&self, card: &ProofCard) -> Result<()> {
        self.query(
            "INSERT INTO fence_proofs
             (task_id, cluster_id, node, user_name, methods, standby, boot_before, fenced_before, asked_at, lost_at,
              method, fencer, answer, fenced_at, boot_after, back_at, verdict)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
             ON CONFLICT (task_id) DO UPDATE SET cluster_id = excluded.cluster_id, node = excluded.node,
                 user_name = excluded.user_name, methods = excluded.methods, standby = excluded.standby,
                 boot_before = excluded.boot_before, fenced_before = excluded.fenced_before,
                 asked_at = excluded.asked_at, lost_at = excluded.lost_at, method = excluded.method,
                 fencer = excluded.fencer, answer = excluded.answer, fenced_at = excluded.fenced_at,
                 boot_after = excluded.boot_after, back_at = excluded.back_at, verdict = excluded.verdict",
        )
        .bind(&card.task_id)
        .bind(card.cluster_id)
        .bind(&card.node)
        .bind(&card.user_name)
        .bind(&card.methods)
        .bind(card.standby)
        .bind(&card.boot_before)
        .bind(&card.fenced_before)
        .bind(card.asked_at)
        .bind(card.lost_at)
        .bind(&card.method)
        .bind(&card.fencer)
        .bind(&card.answer)
        .bind(card.fenced_at)
        .bind(&card.boot_after)
        .bind(card.back_at)
        .bind(card.verdict)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The card of a task.
    pub async fn proof(&self, task: &str) -> Result<Option<ProofCard>> {
        Ok(self.query_as("SELECT * FROM fence_proofs WHERE task_id = $1").bind(task).fetch_optional(&self.pool).await?)
    }

    /// The newest card of each node of a cluster.
    pub async fn newest_proofs(&self, cluster: ClusterId) -> Result<Vec<ProofCard>> {
        Ok(self
            .query_as(
                "SELECT * FROM fence_proofs AS one WHERE cluster_id = $1 AND asked_at =
             (SELECT MAX(asked_at) FROM fence_proofs WHERE cluster_id = one.cluster_id AND node = one.node)",
            )
            .bind(cluster)
            .fetch_all(&self.pool)
            .await?)
    }
}
