//! What the nodes' agents say of themselves: lists by node, schemas by cluster.

use std::collections::BTreeMap;

use shared::agents::metadata::{AgentClass, AgentSchema};
use shared::api::AgentSummary;
use shared::ids::NodeName;

use super::{Repo, Result, from_json, to_json};
use crate::clock;
use crate::ids::{ClusterId, NodeRow};

fn word(class: AgentClass) -> &'static str {
    match class {
        AgentClass::Resource => "resource",
        AgentClass::Fence => "fence",
    }
}

impl Repo {
    /// Keeps the list of a node's agents.
    pub async fn store_agents(&self, node: NodeRow, class: AgentClass, agents: &[AgentSummary]) -> Result<()> {
        self.query(
            "INSERT INTO node_agents (node_id, class, agents, at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (node_id, class) DO UPDATE SET agents = excluded.agents, at = excluded.at",
        )
        .bind(node)
        .bind(word(class))
        .bind(to_json("list of agents", &agents)?)
        .bind(clock::now_ms())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The agents of every node of a cluster that gave a list.
    pub async fn agents(&self, cluster: ClusterId, class: AgentClass) -> Result<BTreeMap<NodeName, Vec<AgentSummary>>> {
        let rows: Vec<(String, String)> = self
            .query_as(
                "SELECT nodes.name, node_agents.agents FROM node_agents JOIN nodes ON nodes.id = node_agents.node_id
             WHERE nodes.cluster_id = $1 AND node_agents.class = $2",
            )
            .bind(cluster)
            .bind(word(class))
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter().map(|(node, agents)| Ok((node.into(), from_json("list of agents", &agents)?))).collect()
    }

    /// Keeps what an agent says of itself.
    pub async fn store_schema(
        &self,
        cluster: ClusterId,
        class: AgentClass,
        name: &str,
        digest: &str,
        schema: &AgentSchema,
    ) -> Result<()> {
        self.query(
            "INSERT INTO agent_schemas (cluster_id, class, name, digest, schema, at) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (cluster_id, class, name) DO UPDATE SET digest = excluded.digest, schema = excluded.schema, at = excluded.at",
        )
        .bind(cluster)
        .bind(word(class))
        .bind(name)
        .bind(digest)
        .bind(to_json("schema of an agent", schema)?)
        .bind(clock::now_ms())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// What an agent of this cluster says of itself, if luci knows.
    pub async fn schema(&self, cluster: ClusterId, class: AgentClass, name: &str) -> Result<Option<AgentSchema>> {
        let row: Option<(String,)> = self
            .query_as("SELECT schema FROM agent_schemas WHERE cluster_id = $1 AND class = $2 AND name = $3")
            .bind(cluster)
            .bind(word(class))
            .bind(name)
            .fetch_optional(&self.pool)
            .await?;
        row.map(|(schema,)| from_json("schema of an agent", &schema)).transpose()
    }

    /// Which versions of the agents' schemas luci has: name, digest.
    pub async fn schema_digests(&self, cluster: ClusterId, class: AgentClass) -> Result<BTreeMap<String, String>> {
        let rows: Vec<(String, String)> = self
            .query_as("SELECT name, digest FROM agent_schemas WHERE cluster_id = $1 AND class = $2")
            .bind(cluster)
            .bind(word(class))
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.into_iter().collect())
    }
}
