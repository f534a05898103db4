//! What a cluster's agents say of themselves, for forms and checks.

use std::collections::BTreeMap;
use std::time::Duration;

use shared::agents::differences::differences;
use shared::agents::metadata::{AgentClass, AgentSchema, Given, check};
use shared::conf::edit::Attributes;
use shared::conf::{Finding, Loaded};

use super::{App, AppError, FieldError};
use crate::repo::clusters::Cluster;

/// A form for an agent that luci has not learnt about yet waits this long for a node, then does without.
const FIRST_WAIT: Duration = Duration::from_secs(3);

/// An agent of a cluster, as it is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentChoice {
    pub name: String,
    pub short: String,
    /// Nodes that do not have it although they were asked.
    pub missing_on: Vec<String>,
    /// Why it cannot be used.
    pub problem: Option<String>,
}

impl App {
    /// The agents installed on the nodes of a cluster, by name.
    pub async fn agent_choices(&self, cluster: &Cluster, class: AgentClass) -> Result<Vec<AgentChoice>, AppError> {
        let by_node = self.repo.agents(cluster.id, class).await?;
        let mut choices: BTreeMap<&str, AgentChoice> = BTreeMap::new();
        for agent in by_node.values().flatten() {
            let choice = choices.entry(&agent.name).or_insert_with(|| AgentChoice {
                name: agent.name.clone(),
                short: String::new(),
                missing_on: Vec::new(),
                problem: agent.problem.clone(),
            });
            if choice.short.is_empty() {
                choice.short.clone_from(&agent.short);
            }
        }
        for (node, agents) in &by_node {
            for choice in choices.values_mut() {
                if !agents.iter().any(|agent| agent.name == choice.name) {
                    choice.missing_on.push(node.to_string());
                }
            }
        }
        Ok(choices.into_values().collect())
    }

    /// Where the agents that a configuration needs are missing or not the same, as far as luci's copy of the nodes' lists tells.
    pub async fn agent_differences(&self, cluster: &Cluster, loaded: &Loaded) -> Result<Vec<Finding>, AppError> {
        let resource = self.repo.agents(cluster.id, AgentClass::Resource).await?;
        let mut fence = self.repo.agents(cluster.id, AgentClass::Fence).await?;
        // A node of which one list is still unknown would seem to lack everything on it.
        let both = resource.into_iter().filter_map(|(node, mut agents)| {
            agents.extend(fence.remove(&node)?);
            Some((node, agents))
        });
        Ok(differences(loaded, &both.collect()))
    }

    /// Those that a change brings, in words.
    pub(super) async fn new_agent_differences(
        &self,
        cluster: &Cluster,
        before: &Loaded,
        after: &Loaded,
    ) -> Result<Vec<String>, AppError> {
        let known = self.agent_differences(cluster, before).await?;
        let mut new = self.agent_differences(cluster, after).await?;
        new.retain(|finding| !known.iter().any(|old| old.text == finding.text));
        Ok(new.into_iter().map(|finding| finding.text).collect())
    }

    /// What an agent says of itself; `None` if no node has told yet. The form then does without.
    pub async fn agent_schema(
        &self,
        cluster: &Cluster,
        class: AgentClass,
        name: &str,
    ) -> Result<Option<AgentSchema>, AppError> {
        if let Some(schema) = self.repo.schema(cluster.id, class, name).await? {
            return Ok(Some(schema));
        }
        let asked = tokio::time::timeout(FIRST_WAIT, async {
            for node in self.repo.nodes_of(cluster.id).await? {
                let Ok(ricci) = self.clients.paired(&node) else { continue };
                if let Ok(schema) = ricci.agent_schema(class, name).await {
                    // Without a digest: the next look at the node's list learns it again.
                    self.repo.store_schema(cluster.id, class, name, "", &schema).await?;
                    return Ok(Some(schema));
                }
            }
            Ok(None)
        });
        asked.await.unwrap_or(Ok(None))
    }
}

/// What the schema holds against attributes, at the fields of the form. `whole`: parameters that are required and missing
/// count, too. A value that stands in a file of secrets cannot be judged.
pub fn check_attributes(
    schema: &AgentSchema,
    attributes: &Attributes,
    whole: impl Fn(Given) -> bool,
) -> Result<(), AppError> {
    let given: Vec<(String, String)> = attributes.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let is_missing = |name: &str| attributes.get(name).is_none_or(String::is_empty);
    let counts = |name: &str| match schema.parameter(name) {
        Some(parameter) => !is_missing(name) || whole(parameter.given),
        None => false,
    };
    let fields: Vec<FieldError> = check(schema, &given)
        .into_iter()
        .filter(|complaint| complaint.is_fault && counts(&complaint.parameter))
        .map(|complaint| FieldError::new(format!("a-{}", complaint.parameter), complaint.text))
        .collect();
    if fields.is_empty() { Ok(()) } else { Err(AppError::Invalid { fields }) }
}
