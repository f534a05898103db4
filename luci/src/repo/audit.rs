//! Who changed what, with what result. Written once, never altered.

use super::{Repo, Result};
use crate::clock;

/// One entry.
#[derive(Debug, Clone, sqlx::FromRow, serde::Serialize)]
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

/// Which entries to show.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    pub cluster: Option<String>,
    pub user: Option<String>,
    /// Only entries with a smaller id.
    pub before: Option<i64>,
    /// Names of the clusters whose entries the reader may see; `None`: all entries, also those about luci itself.
    pub visible: Option<Vec<String>>,
}

impl Repo {
    pub async fn add_audit(&self, entry: NewAudit<'_>) -> Result<()> {
        self.query(
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

    /// Newest first.
    pub async fn audit(&self, filter: &AuditFilter, limit: i64) -> Result<Vec<AuditEntry>> {
        // One place for each visible cluster: no list type is common to both databases.
        let clusters = filter.visible.as_deref().unwrap_or_default();
        let places: Vec<String> = (0..clusters.len()).map(|place| format!("${}", place + 6)).collect();
        let places = if places.is_empty() { "NULL".to_owned() } else { places.join(", ") };
        let sql = format!(
            "SELECT * FROM audit
             WHERE ($1 IS NULL OR cluster = $1) AND ($2 IS NULL OR id < $2)
               AND ($3 IS NULL OR lower(user_name) = lower($3))
               AND ($4 OR cluster IN ({places}))
             ORDER BY id DESC LIMIT $5"
        );
        let query = self
            .query_as(sqlx::AssertSqlSafe(sql))
            .bind(&filter.cluster)
            .bind(filter.before)
            .bind(&filter.user)
            .bind(filter.visible.is_none())
            .bind(limit);
        Ok(clusters.iter().fold(query, |query, cluster| query.bind(cluster)).fetch_all(&self.pool).await?)
    }
}
