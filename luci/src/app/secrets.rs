//! Secrets are kept out of the configuration: what a person enters goes to the nodes under a new name, and only the name into
//! cluster.conf, drafts and versions. luci keeps no value; a node that lacks one gets it from another node through luci
//! (docs/decisions/0006-secrets-outside-the-configuration.md).

use std::collections::BTreeMap;

use shared::agents::mapping;
use shared::agents::metadata::{AgentClass, AgentSchema};
use shared::api::Secret;
use shared::conf::sealed::{self, Found};
use shared::conf::{self, Document, ElementId};
use shared::ids::NodeName;

use super::{App, AppError, Who};
use crate::app::conf::{Change, Changed};
use crate::ids::ClusterId;
use crate::repo::clusters::Cluster;
use crate::repo::confs::StoredConf;
use crate::ricci_client::RicciError;

/// What was taken out of a text.
#[derive(Debug, Default)]
pub(crate) struct Sealed {
    pub(crate) text: String,
    /// Attribute, value, the reference in its place.
    pub(crate) replaced: Vec<(String, String, String)>,
    /// Why nothing was taken out although there was something: a node's ricci cannot keep it.
    older: Option<RicciError>,
}

/// Which attributes hold secrets although their names do not say so: by the agents' metadata.
struct ByMetadata(BTreeMap<(AgentClass, String), AgentSchema>);

/// The agent that an element of cluster.conf stands for.
fn agent_of(document: &Document, element: ElementId) -> Option<(AgentClass, String)> {
    match document.name(element) {
        "fencedevice" => Some((AgentClass::Fence, document.attribute(element, "agent")?.to_owned())),
        "device" => {
            let name = document.attribute(element, "name")?;
            let devices = document.select("/cluster/fencedevices/fencedevice");
            let device = devices.into_iter().find(|device| document.attribute(*device, "name") == Some(name))?;
            agent_of(document, device)
        }
        "ocf" => {
            let provider = document.attribute(element, "provider").unwrap_or("heartbeat");
            Some((AgentClass::Resource, format!("ocf:{provider}:{}", document.attribute(element, "type")?)))
        }
        kind => match &mapping::kind(kind)?.runs {
            shared::agents::kinds::Runs::Ocf { provider, agent } => {
                Some((AgentClass::Resource, format!("ocf:{provider}:{agent}")))
            }
            _ => None,
        },
    }
}

impl ByMetadata {
    fn says(&self, document: &Document, element: ElementId, attribute: &str) -> bool {
        let schema = agent_of(document, element).and_then(|agent| self.0.get(&agent));
        let parameter = match mapping::kind(document.name(element)) {
            Some(kind) => mapping::parameter_of(kind, attribute),
            None => Some(attribute),
        };
        let known = parameter.and_then(|parameter| schema?.parameter(parameter));
        known.is_some_and(|parameter| parameter.secret)
    }
}

impl App {
    async fn metadata_of(&self, cluster: ClusterId, document: &Document) -> Result<ByMetadata, AppError> {
        let mut known = BTreeMap::new();
        let Some(root) = document.root() else { return Ok(ByMetadata(known)) };
        for element in document.descendants(root) {
            let Some(agent) = agent_of(document, element) else { continue };
            if known.contains_key(&agent) {
                continue;
            }
            if let Some(schema) = self.repo.schema(cluster, agent.0, &agent.1).await? {
                known.insert(agent, schema);
            }
        }
        Ok(ByMetadata(known))
    }

    /// Moves the secrets that `after` has and `before` has not to the nodes. What stood in the configuration before stays
    /// until somebody moves it.
    pub(crate) async fn seal(&self, cluster: &Cluster, before: &str, after: &str) -> Result<Sealed, AppError> {
        let mut document = conf::load(after).document;
        if !document.is_well_formed() {
            return Ok(Sealed { text: after.to_owned(), ..Sealed::default() });
        }
        let metadata = self.metadata_of(cluster.id, &document).await?;
        let old = conf::load(before).document;
        let known: Vec<Found> = sealed::plain(&old, |document, element, name| metadata.says(document, element, name));
        let mut plain = sealed::plain(&document, |document, element, name| metadata.says(document, element, name));
        plain.retain(|found| !known.iter().any(|old| old.attribute == found.attribute && old.value == found.value));
        self.seal_found(cluster, after, &mut document, plain).await
    }

    async fn seal_found(
        &self,
        cluster: &Cluster,
        text: &str,
        document: &mut Document,
        plain: Vec<Found>,
    ) -> Result<Sealed, AppError> {
        if let Some(found) = plain.iter().find(|found| !sealed::is_value(&found.value)) {
            return Err(AppError::field(
                format!("a-{}", found.attribute),
                format!("a secret is one line of at most {} bytes", sealed::VALUE_BYTES_MAX),
            ));
        }
        let mut named: Vec<(Found, String)> = Vec::new();
        for found in plain {
            // The same secret at the same attribute of several devices is one secret only if it was entered as one; each gets its name.
            let name = format!("{}.{:08x}", sealed::stem(document, &found), uuid::Uuid::new_v4().as_fields().0);
            named.push((found, name));
        }
        let older = if named.is_empty() { None } else { self.store_secrets(cluster, &named).await? };
        if named.is_empty() || older.is_some() {
            return Ok(Sealed { text: text.to_owned(), older, ..Sealed::default() });
        }
        let mut replaced = Vec::new();
        for (found, name) in named {
            sealed::replace(document, &found, &name);
            replaced.push((found.attribute, found.value, sealed::reference(&name)));
        }
        Ok(Sealed { text: document.print(), replaced, older: None })
    }

    /// Stores secrets on every node that answers. `Some`: a node's ricci is too old to know secrets; then they stay where they
    /// were, because its rgmanager would take the reference for the password.
    async fn store_secrets(
        &self,
        cluster: &Cluster,
        named: &[(Found, String)],
    ) -> Result<Option<RicciError>, AppError> {
        let mut stored = 0_usize;
        let mut silent: Option<RicciError> = None;
        for ricci in self.members(cluster.id).await? {
            let result = async {
                for (found, name) in named {
                    ricci.put_secret(name, &Secret { value: found.value.clone() }).await?;
                }
                Ok::<(), RicciError>(())
            };
            match result.await {
                Ok(()) => stored += 1,
                Err(error @ RicciError::Older { .. }) => {
                    tracing::warn!(error = shared::chain(&error), "secrets stay in the configuration");
                    return Ok(Some(error));
                }
                Err(error) if error.is_about_the_node() => silent = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        match (stored, silent) {
            (1.., _) => Ok(None),
            (0, Some(error)) => Err(error.into()),
            (0, None) => Err(AppError::Unreachable(format!(
                "no node of {} is paired with luci; the secret could be stored nowhere",
                cluster.name
            ))),
        }
    }

    /// Moves every secret that stands in the configuration to the nodes, as one new version.
    pub async fn move_secrets(&self, who: &Who, cluster: &Cluster) -> Result<Changed, AppError> {
        if self.repo.draft(cluster.id, who.id).await?.is_some() {
            return Err(AppError::Conflict(
                "apply or discard your draft first: moving secrets is a version of its own".into(),
            ));
        }
        let current = self.current_conf(cluster).await?;
        let sealed = self.sealed_whole(cluster, &current.stored).await?;
        if let Some(older) = sealed.older {
            return Err(older.into());
        }
        let message = match sealed.replaced.len() {
            0 => return Err(AppError::Conflict("no secret was moved: none stands in the configuration".into())),
            1 => "1 secret moved out of the configuration".to_owned(),
            count => format!("{count} secrets moved out of the configuration"),
        };
        let base = Some(current.stored.version);
        let change = Change { cluster, user: &who.name, message: message.clone(), base };
        let result =
            change.carry_out(self, |current| super::conf::raise_version(&sealed.text, current.stored.version)).await;
        self.audit_change(who, cluster, &message, &result).await?;
        result
    }

    async fn sealed_whole(&self, cluster: &Cluster, stored: &StoredConf) -> Result<Sealed, AppError> {
        let mut document = conf::load(&stored.text).document;
        let metadata = self.metadata_of(cluster.id, &document).await?;
        let plain = sealed::plain(&document, |document, element, name| metadata.says(document, element, name));
        self.seal_found(cluster, &stored.text, &mut document, plain).await
    }

    /// Gives a node the secrets it lacks, from nodes that have them; the names that nobody has.
    pub(crate) async fn hand_on_secrets(
        &self,
        cluster: ClusterId,
        to: &NodeName,
        missing: &[String],
    ) -> Result<Vec<String>, AppError> {
        crate::watcher::secrets::hand_on(&self.repo, &self.clients, cluster, to, missing).await
    }
}

/// The references in the place of the secrets, in the edits of a draft's step.
pub(crate) fn in_edits<T: serde::Serialize + serde::de::DeserializeOwned>(
    edits: &T,
    replaced: &[(String, String, String)],
) -> Result<T, AppError> {
    let internal = |error: serde_json::Error| AppError::Internal(format!("a step of a draft: {error}"));
    let mut value = serde_json::to_value(edits).map_err(internal)?;
    for (attribute, secret, reference) in replaced {
        replace(&mut value, attribute, secret, reference);
    }
    serde_json::from_value(value).map_err(internal)
}

fn replace(value: &mut serde_json::Value, attribute: &str, secret: &str, reference: &str) {
    use serde_json::Value;
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if name == attribute && field.as_str() == Some(secret) {
                    *field = Value::String(reference.to_owned());
                } else {
                    replace(field, attribute, secret, reference);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, attribute, secret, reference)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use shared::conf::edit::Edit;

    use super::*;

    #[test]
    fn a_draft_keeps_the_reference_and_not_the_secret() {
        let attributes = [("passwd", "geheim"), ("login", "geheim")];
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let edits = vec![Edit::AddFenceDevice { name: "bmc".into(), agent: "fence_ipmilan".into(), attributes }];
        let replaced = [("passwd".to_owned(), "geheim".to_owned(), "secret:bmc.passwd.1".to_owned())];
        let edits: Vec<Edit> = in_edits(&edits, &replaced).unwrap();
        let Edit::AddFenceDevice { attributes, .. } = &edits[0] else { panic!("another edit") };
        assert_eq!((attributes["passwd"].as_str(), attributes["login"].as_str()), ("secret:bmc.passwd.1", "geheim"));
    }
}
