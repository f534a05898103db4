//! Who changed what, with what result. Written once, never altered.

use super::{Repo, Result};
use crate::clock;

/// One entry.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct AuditEntry {
    pub id: i64,
    pub at: i64,
    pub user_name: String,
    pub address: String,
    pub cluster: Option<String>,
    pub action: String,
    pub object: String,
    pub detail: String,
    pub result: String,
}

/// An entry to be written.
#[derive(Debug, Clone)]
pub struct NewAudit<'a> {
    pub user: &'a str,
    pub address: &'a str,
    pub cluster: Option<&'a str>,
    pub action: &'a str,
    pub object: &'a str,
    pub detail: &'a str,
    pub result: &'a str,
}

impl Repo {
    pub async fn add_audit(&self, entry: NewAudit<'_>) -> Result<()> {
        sqlx::query(
            "INSERT INTO audit (at, user_name, address, cluster, action, object, detail, result)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(clock::now_ms())
        .bind(entry.user)
        .bind(entry.address)
        .bind(entry.cluster)
        .bind(entry.action)
        .bind(entry.object)
        .bind(entry.detail)
        .bind(entry.result)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Newest first; of one cluster if given.
    pub async fn audit(&self, cluster: Option<&str>, before: Option<i64>, limit: i64) -> Result<Vec<AuditEntry>> {
        Ok(sqlx::query_as(
            "SELECT * FROM audit WHERE ($1 IS NULL OR cluster = $1) AND ($2 IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
        )
        .bind(cluster)
        .bind(before)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?)
    }
}
