//! Drafts: the version they begin from, and the steps made since. What they come to is computed from both.

use serde::{Deserialize, Serialize};
use shared::conf::edit::Edit;
use shared::ids::ConfVersion;

use super::{Repo, Result, from_json, to_json};
use crate::clock;
use crate::ids::{ClusterId, UserId};

/// One step of a draft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What it is, for the review and for the version.
    pub message: String,
    /// The objects that it changes, as the difference in words names them.
    pub subjects: Vec<String>,
    pub content: StepContent,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepContent {
    Edits(Vec<Edit>),
    /// The whole file, edited as text.
    Text(String),
}

/// A draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The version that it changes.
    pub base: ConfVersion,
    pub steps: Vec<Step>,
    pub created_at: i64,
}

#[derive(sqlx::FromRow)]
struct Row {
    base: i64,
    steps: String,
    created_at: i64,
}

fn number(version: ConfVersion) -> i64 {
    i64::try_from(version.0).unwrap_or(i64::MAX)
}

impl Repo {
    /// The steps of everybody's drafts for this cluster, as they are stored.
    pub async fn drafted(&self, cluster: ClusterId) -> Result<Vec<String>> {
        let sql = "SELECT steps FROM drafts WHERE cluster_id = $1";
        let rows: Vec<(String,)> = self.query_as(sql).bind(cluster).fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(|(steps,)| steps).collect())
    }

    /// The draft of this account for this cluster.
    pub async fn draft(&self, cluster: ClusterId, user: UserId) -> Result<Option<Draft>> {
        let row: Option<Row> = self
            .query_as("SELECT base, steps, created_at FROM drafts WHERE cluster_id = $1 AND user_id = $2")
            .bind(cluster)
            .bind(user)
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Draft {
            base: ConfVersion(u64::try_from(row.base).unwrap_or(0)),
            steps: from_json("draft", &row.steps)?,
            created_at: row.created_at,
        }))
    }

    /// Begins an empty draft; one that is there already stays.
    pub async fn begin_draft(&self, cluster: ClusterId, user: UserId, base: ConfVersion) -> Result<()> {
        self.query(
            "INSERT INTO drafts (cluster_id, user_id, base, steps, created_at) VALUES ($1, $2, $3, '[]', $4)
             ON CONFLICT DO NOTHING",
        )
        .bind(cluster)
        .bind(user)
        .bind(number(base))
        .bind(clock::now_ms())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Replaces base and steps of a draft.
    pub async fn set_draft(&self, cluster: ClusterId, user: UserId, base: ConfVersion, steps: &[Step]) -> Result<()> {
        self.query("UPDATE drafts SET base = $3, steps = $4 WHERE cluster_id = $1 AND user_id = $2")
            .bind(cluster)
            .bind(user)
            .bind(number(base))
            .bind(to_json("draft", &steps)?)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub async fn remove_draft(&self, cluster: ClusterId, user: UserId) -> Result<()> {
        self.query("DELETE FROM drafts WHERE cluster_id = $1 AND user_id = $2")
            .bind(cluster)
            .bind(user)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
