//! Nodes: where their ricci is, which certificate is pinned, and what they last said of themselves.

use std::collections::BTreeMap;

use shared::api::NodeReport;
use shared::ids::NodeName;

use super::{Repo, Result, from_json, to_json};
use crate::ids::{ClusterId, NodeRow};

/// A node that luci knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub id: NodeRow,
    pub cluster: Option<ClusterId>,
    pub name: NodeName,
    /// Where ricci is reached.
    pub host: String,
    pub port: u16,
    /// SHA-256 of the node's certificate; `None` before the first contact.
    pub fingerprint: Option<String>,
    /// Set once pairing succeeded with that certificate.
    pub paired_at: Option<i64>,
    pub report: Option<NodeReport>,
    pub report_at: Option<i64>,
    /// Since when the node's ricci has not answered, and why.
    pub silent_since: Option<i64>,
    pub silent_why: Option<String>,
}

/// A node to be made known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNode {
    pub name: NodeName,
    pub host: String,
    pub port: u16,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: NodeRow,
    cluster_id: Option<ClusterId>,
    name: String,
    host: String,
    port: i64,
    fingerprint: Option<String>,
    paired_at: Option<i64>,
    report: Option<String>,
    report_at: Option<i64>,
    silent_since: Option<i64>,
    silent_why: Option<String>,
}

impl Row {
    fn into_node(self) -> Result<Node> {
        let report = self.report.as_deref().map(|text| from_json("node report", text)).transpose()?;
        Ok(Node {
            id: self.id,
            cluster: self.cluster_id,
            name: self.name.into(),
            host: self.host,
            // What was stored was a port.
            port: u16::try_from(self.port).unwrap_or_default(),
            fingerprint: self.fingerprint,
            paired_at: self.paired_at,
            report,
            report_at: self.report_at,
            silent_since: self.silent_since,
            silent_why: self.silent_why,
        })
    }
}

impl Repo {
    pub async fn nodes_of(&self, cluster: ClusterId) -> Result<Vec<Node>> {
        let rows: Vec<Row> = self
            .query_as("SELECT * FROM nodes WHERE cluster_id = $1 ORDER BY id")
            .bind(cluster)
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter().map(Row::into_node).collect()
    }

    /// How many nodes each cluster has.
    pub async fn node_counts(&self) -> Result<BTreeMap<ClusterId, i64>> {
        let sql = "SELECT cluster_id, count(*) FROM nodes WHERE cluster_id IS NOT NULL GROUP BY cluster_id";
        let rows: Vec<(ClusterId, i64)> = self.query_as(sql).fetch_all(&self.pool).await?;
        Ok(rows.into_iter().collect())
    }

    pub async fn node(&self, id: NodeRow) -> Result<Option<Node>> {
        let row: Option<Row> =
            self.query_as("SELECT * FROM nodes WHERE id = $1").bind(id).fetch_optional(&self.pool).await?;
        row.map(Row::into_node).transpose()
    }

    /// `None` if the cluster already has a node of this name.
    pub async fn add_node(&self, cluster: Option<ClusterId>, node: &NewNode) -> Result<Option<NodeRow>> {
        let row: Option<(NodeRow,)> = self.query_as(
            "INSERT INTO nodes (cluster_id, name, host, port) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING id",
        )
        .bind(cluster)
        .bind(node.name.as_str())
        .bind(&node.host)
        .bind(i64::from(node.port))
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|(id,)| id))
    }

    /// Changes where a node's ricci is reached; its certificate must be confirmed anew.
    pub async fn move_node(&self, id: NodeRow, host: &str, port: u16) -> Result<()> {
        self.query("UPDATE nodes SET host = $2, port = $3, fingerprint = NULL, paired_at = NULL WHERE id = $1")
            .bind(id)
            .bind(host)
            .bind(i64::from(port))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub async fn set_node_cluster(&self, id: NodeRow, cluster: ClusterId, name: &NodeName) -> Result<()> {
        self.query("UPDATE nodes SET cluster_id = $2, name = $3 WHERE id = $1")
            .bind(id)
            .bind(cluster)
            .bind(name.as_str())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The certificate seen at first contact; not trusted before an operator confirms it.
    pub async fn set_fingerprint(&self, id: NodeRow, fingerprint: &str) -> Result<()> {
        self.query("UPDATE nodes SET fingerprint = $2, paired_at = NULL WHERE id = $1")
            .bind(id)
            .bind(fingerprint)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub async fn set_paired(&self, id: NodeRow, at: i64) -> Result<()> {
        self.query("UPDATE nodes SET paired_at = $2 WHERE id = $1").bind(id).bind(at).execute(&self.pool).await?;
        Ok(())
    }

    pub async fn remove_node(&self, id: NodeRow) -> Result<()> {
        self.query("DELETE FROM nodes WHERE id = $1").bind(id).execute(&self.pool).await?;
        Ok(())
    }

    pub async fn store_report(&self, id: NodeRow, report: &NodeReport, at: i64) -> Result<()> {
        self.query(
            "UPDATE nodes SET report = $2, report_at = $3, silent_since = NULL, silent_why = NULL WHERE id = $1",
        )
        .bind(id)
        .bind(to_json("node report", report)?)
        .bind(at)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub async fn store_silence(&self, id: NodeRow, since: i64, why: &str) -> Result<()> {
        self.query("UPDATE nodes SET silent_since = coalesce(silent_since, $2), silent_why = $3 WHERE id = $1")
            .bind(id)
            .bind(since)
            .bind(why)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
