//! Operators' requests: written before they are sent, kept with what became of them.

use shared::ids::{NodeName, RequestId, ServiceName};
use shared::status::Command;

use super::{Repo, Result, from_json, to_json};
use crate::ids::ClusterId;

/// How far a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type, serde::Serialize)]
#[sqlx(type_name = "TEXT", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum RequestState {
    /// No node has answered yet.
    Sending,
    /// The cluster is at it.
    Accepted,
    Refused,
    Done,
    Failed,
    /// No node answered for too long; whether it was carried out is not known.
    Lost,
}

/// One request.
#[derive(Debug, Clone)]
pub struct StoredRequest {
    pub id: RequestId,
    pub cluster: ClusterId,
    pub command: Command,
    pub user: String,
    pub at: i64,
    pub state: RequestState,
    /// The member that took it.
    pub member: Option<NodeName>,
    pub text: Option<String>,
    pub ended_at: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    cluster_id: ClusterId,
    command: String,
    user_name: String,
    at: i64,
    state: RequestState,
    member: Option<String>,
    text: Option<String>,
    ended_at: Option<i64>,
}

impl Row {
    fn into_request(self) -> Result<StoredRequest> {
        Ok(StoredRequest {
            id: self.id.into(),
            cluster: self.cluster_id,
            command: from_json("command", &self.command)?,
            user: self.user_name,
            at: self.at,
            state: self.state,
            member: self.member.map(NodeName::from),
            text: self.text,
            ended_at: self.ended_at,
        })
    }
}

const COLUMNS: &str = "id, cluster_id, command, user_name, at, state, member, text, ended_at";

impl Repo {
    pub async fn add_request(&self, request: &StoredRequest) -> Result<()> {
        let node = match &request.command {
            Command::Fence { node }
            | Command::AcknowledgeFence { node }
            | Command::Standby { node }
            | Command::Unstandby { node } => Some(node.as_str()),
            _ => None,
        };
        self.query(
            "INSERT INTO requests (id, cluster_id, service, node, command, user_name, at, state)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(request.id.as_str())
        .bind(request.cluster)
        .bind(request.command.service().map(ServiceName::as_str))
        .bind(node)
        .bind(to_json("command", &request.command)?)
        .bind(&request.user)
        .bind(request.at)
        .bind(request.state)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Records a step of a request.
    pub async fn set_request(
        &self,
        id: &RequestId,
        state: RequestState,
        member: Option<&NodeName>,
        text: Option<&str>,
        ended_at: Option<i64>,
    ) -> Result<()> {
        self.query(
            "UPDATE requests SET state = $2, member = coalesce($3, member), text = coalesce($4, text), ended_at = $5
             WHERE id = $1",
        )
        .bind(id.as_str())
        .bind(state)
        .bind(member.map(NodeName::as_str))
        .bind(text)
        .bind(ended_at)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The latest requests of a cluster, newest first.
    pub async fn recent_requests(&self, cluster: ClusterId, limit: i64) -> Result<Vec<StoredRequest>> {
        let sql = format!("SELECT {COLUMNS} FROM requests WHERE cluster_id = $1 ORDER BY at DESC, id DESC LIMIT $2");
        let rows: Vec<Row> =
            self.query_as(sqlx::AssertSqlSafe(sql)).bind(cluster).bind(limit).fetch_all(&self.pool).await?;
        rows.into_iter().map(Row::into_request).collect()
    }

    pub async fn request(&self, id: &RequestId) -> Result<Option<StoredRequest>> {
        let sql = format!("SELECT {COLUMNS} FROM requests WHERE id = $1");
        let row: Option<Row> =
            self.query_as(sqlx::AssertSqlSafe(sql)).bind(id.as_str()).fetch_optional(&self.pool).await?;
        row.map(Row::into_request).transpose()
    }

    /// Requests that have not ended, of all clusters.
    pub async fn open_requests(&self) -> Result<Vec<StoredRequest>> {
        let sql = format!("SELECT {COLUMNS} FROM requests WHERE state IN ('sending', 'accepted') ORDER BY at, id");
        let rows: Vec<Row> = self.query_as(sqlx::AssertSqlSafe(sql)).fetch_all(&self.pool).await?;
        rows.into_iter().map(Row::into_request).collect()
    }
}
