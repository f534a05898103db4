//! Every version of a cluster's configuration that luci has seen or made.

use shared::ids::{ConfDigest, ConfVersion};

use super::{Repo, Result};
use crate::ids::ClusterId;

/// One version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredConf {
    pub version: ConfVersion,
    pub digest: ConfDigest,
    pub text: String,
    /// The account that made it; `None` if it was made on a node.
    pub author: Option<String>,
    pub message: String,
    pub origin: Origin,
    pub at: i64,
    /// False while the answer of the node is not known.
    pub accepted: bool,
}

/// Where a version was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "TEXT", rename_all = "lowercase")]
pub enum Origin {
    Luci,
    Node,
}

#[derive(sqlx::FromRow)]
struct Row {
    version: i64,
    digest: String,
    text: String,
    author: Option<String>,
    message: String,
    origin: Origin,
    at: i64,
    accepted: bool,
}

impl From<Row> for StoredConf {
    fn from(row: Row) -> Self {
        Self {
            version: ConfVersion(u64::try_from(row.version).unwrap_or(0)),
            digest: row.digest.into(),
            text: row.text,
            author: row.author,
            message: row.message,
            origin: row.origin,
            at: row.at,
            accepted: row.accepted,
        }
    }
}

fn number(version: ConfVersion) -> i64 {
    i64::try_from(version.0).unwrap_or(i64::MAX)
}

impl Repo {
    /// All versions, newest first.
    pub async fn confs(&self, cluster: ClusterId) -> Result<Vec<StoredConf>> {
        let rows: Vec<Row> = self
            .query_as("SELECT * FROM conf_versions WHERE cluster_id = $1 ORDER BY version DESC, at DESC LIMIT 1000")
            .bind(cluster)
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.into_iter().map(StoredConf::from).collect())
    }

    /// The newest version that is known to be accepted.
    pub async fn newest_conf(&self, cluster: ClusterId) -> Result<Option<StoredConf>> {
        let row: Option<Row> = self
            .query_as(
                "SELECT * FROM conf_versions WHERE cluster_id = $1 AND accepted ORDER BY version DESC, at DESC LIMIT 1",
            )
            .bind(cluster)
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(StoredConf::from))
    }

    /// Digest of the newest version that is known to be accepted.
    pub async fn newest_digest(&self, cluster: ClusterId) -> Result<Option<ConfDigest>> {
        let row: Option<(String,)> = self.query_as(
            "SELECT digest FROM conf_versions WHERE cluster_id = $1 AND accepted ORDER BY version DESC, at DESC LIMIT 1",
        )
        .bind(cluster)
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|(digest,)| ConfDigest(digest)))
    }

    pub async fn conf(&self, cluster: ClusterId, version: ConfVersion) -> Result<Option<StoredConf>> {
        let row: Option<Row> = self.query_as(
            "SELECT * FROM conf_versions WHERE cluster_id = $1 AND version = $2 ORDER BY accepted DESC, at DESC LIMIT 1",
        )
        .bind(cluster)
        .bind(number(version))
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(StoredConf::from))
    }

    pub async fn conf_by_digest(&self, cluster: ClusterId, digest: &ConfDigest) -> Result<Option<StoredConf>> {
        let row: Option<Row> = self
            .query_as("SELECT * FROM conf_versions WHERE cluster_id = $1 AND digest = $2")
            .bind(cluster)
            .bind(digest.as_str())
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(StoredConf::from))
    }

    /// Keeps a version; one that is known already stays as it is.
    pub async fn store_conf(&self, cluster: ClusterId, conf: &StoredConf) -> Result<()> {
        self.query(
            "INSERT INTO conf_versions (cluster_id, version, digest, text, author, message, origin, at, accepted)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT (cluster_id, version, digest) DO UPDATE SET accepted = conf_versions.accepted OR excluded.accepted",
        )
        .bind(cluster)
        .bind(number(conf.version))
        .bind(conf.digest.as_str())
        .bind(&conf.text)
        .bind(&conf.author)
        .bind(&conf.message)
        .bind(conf.origin)
        .bind(conf.at)
        .bind(conf.accepted)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub async fn accept_conf(&self, cluster: ClusterId, digest: &ConfDigest) -> Result<()> {
        self.query("UPDATE conf_versions SET accepted = TRUE WHERE cluster_id = $1 AND digest = $2")
            .bind(cluster)
            .bind(digest.as_str())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Forgets a version that the node refused.
    pub async fn drop_unaccepted_conf(&self, cluster: ClusterId, digest: &ConfDigest) -> Result<()> {
        self.query("DELETE FROM conf_versions WHERE cluster_id = $1 AND digest = $2 AND NOT accepted")
            .bind(cluster)
            .bind(digest.as_str())
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
