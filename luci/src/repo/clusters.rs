//! Clusters and luci's last knowledge of their state.

use shared::ids::NodeName;
use shared::status::ClusterStatus;

use super::{Repo, Result, from_json, to_json};
use crate::clock;
use crate::ids::ClusterId;

/// A cluster as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Cluster {
    pub id: ClusterId,
    pub name: String,
    pub state: ClusterState,
    pub created_at: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "TEXT", rename_all = "lowercase")]
pub enum ClusterState {
    /// The task that creates it has not ended.
    Creating,
    Managed,
}

/// The last status that luci received.
#[derive(Debug, Clone)]
pub struct StoredStatus {
    pub status: ClusterStatus,
    pub at: i64,
    pub from: NodeName,
}

#[derive(sqlx::FromRow)]
struct StatusRow {
    status: Option<String>,
    status_at: Option<i64>,
    status_from: Option<String>,
}

impl Repo {
    pub async fn clusters(&self) -> Result<Vec<Cluster>> {
        Ok(self
            .query_as("SELECT id, name, state, created_at FROM clusters ORDER BY name")
            .fetch_all(&self.pool)
            .await?)
    }

    pub async fn cluster(&self, id: ClusterId) -> Result<Option<Cluster>> {
        Ok(self
            .query_as("SELECT id, name, state, created_at FROM clusters WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.pool)
            .await?)
    }

    pub async fn cluster_by_name(&self, name: &str) -> Result<Option<Cluster>> {
        Ok(self
            .query_as("SELECT id, name, state, created_at FROM clusters WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await?)
    }

    /// `None` if the name is taken.
    pub async fn add_cluster(&self, name: &str, state: ClusterState) -> Result<Option<ClusterId>> {
        let row: Option<(ClusterId,)> = self.query_as(
            "INSERT INTO clusters (name, state, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING id",
        )
        .bind(name)
        .bind(state)
        .bind(clock::now_ms())
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|(id,)| id))
    }

    pub async fn set_cluster_state(&self, id: ClusterId, state: ClusterState) -> Result<()> {
        self.query("UPDATE clusters SET state = $2 WHERE id = $1").bind(id).bind(state).execute(&self.pool).await?;
        Ok(())
    }

    /// Forgets a cluster and everything luci knows of it. The cluster itself is not touched.
    pub async fn remove_cluster(&self, id: ClusterId) -> Result<()> {
        self.query("DELETE FROM clusters WHERE id = $1").bind(id).execute(&self.pool).await?;
        Ok(())
    }

    pub async fn store_status(&self, id: ClusterId, stored: &StoredStatus) -> Result<()> {
        self.query("UPDATE clusters SET status = $2, status_at = $3, status_from = $4 WHERE id = $1")
            .bind(id)
            .bind(to_json("status", &stored.status)?)
            .bind(stored.at)
            .bind(stored.from.as_str())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub async fn stored_status(&self, id: ClusterId) -> Result<Option<StoredStatus>> {
        let row: Option<StatusRow> = self
            .query_as("SELECT status, status_at, status_from FROM clusters WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        let Some(StatusRow { status: Some(status), status_at: Some(at), status_from: Some(from) }) = row else {
            return Ok(None);
        };
        Ok(Some(StoredStatus { status: from_json("status", &status)?, at, from: from.into() }))
    }
}
