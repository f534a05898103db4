//! Resources as forms and the API enter them: which agent runs one, what its type and its agent's schema hold against it at
//! which field, and what the agent itself says to it on a node (`validate-all`). Nothing here changes a configuration.

use std::time::Duration;

use shared::agents::kinds::{Kind, Runs};
use shared::agents::mapping::{self, Mapped, MappingError, Runner};
use shared::agents::metadata::{AgentClass, AgentSchema, check};
use shared::api::{AgentSaid, ProblemCode, Validated};
use shared::conf::Document;
use shared::conf::duration::is_duration;
use shared::conf::edit::Attributes;
use shared::conf::model::{Conf, Isolation, Resource};
use shared::conf::secret::MASK;
use shared::ids::{NodeName, ResourceName};

use super::{App, AppError, FieldError};
use crate::repo::clusters::Cluster;

/// A person waits for the agent's word; ricci itself ends the agent sooner.
const ASK_DEADLINE: Duration = Duration::from_secs(45);
/// Attributes of a resource in a tree that are whole numbers.
const NUMBERS: &[&str] = &["__max_restarts", "__max_failures"];
/// And those that are times.
const TIMES: &[&str] = &["__restart_expire_time", "__failure_expire_time"];

/// A resource that is being entered.
#[derive(Debug, Clone, Copy)]
pub struct Sketch<'a> {
    pub kind: &'a str,
    pub attributes: &'a Attributes,
    /// Attributes of its `<action>` elements.
    pub actions: &'a [Attributes],
    /// It uses a shared resource, which has the parameters.
    pub is_reference: bool,
}

/// The agent behind a resource, `ocf:heartbeat:IPaddr2`; `None` if it has none, or none that tells of itself.
pub fn agent_of(kind: &str, attributes: &Attributes) -> Option<String> {
    match mapping::kind(kind)?.runs {
        Runs::Ocf { provider, agent } => Some(format!("ocf:{provider}:{agent}")),
        Runs::OcfByAttributes => {
            let given = |name: &str| attributes.get(name).map(String::as_str).filter(|value| !value.is_empty());
            Some(format!("ocf:{}:{}", given("provider").unwrap_or("heartbeat"), given("type")?))
        }
        _ => None,
    }
}

/// Services that refer to a shared resource, by their names.
pub fn users_of(document: &Document, conf: &Conf, kind: &str, name: &str) -> Vec<String> {
    let uses = |id| document.name(id) == kind && document.attribute(id, "ref") == Some(name);
    let services = conf.services.iter().filter(|service| {
        let (element, bare) = service.name.0.split_once(':').unwrap_or(("service", &service.name.0));
        let elements = document.select(&format!("/cluster/rm/{element}"));
        let its = elements.into_iter().filter(|id| document.attribute(*id, "name") == Some(bare));
        its.flat_map(|id| document.descendants(id)).any(uses)
    });
    services.map(|service| service.name.to_string()).collect()
}

/// What the agent said of a resource, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentWord {
    pub node: NodeName,
    pub agent: String,
    /// `None`: it offers no check of its own.
    pub said: Option<AgentSaid>,
}

impl Sketch<'_> {
    fn missing(&self, name: &str) -> bool {
        self.attributes.get(name).is_none_or(String::is_empty)
    }

    /// The agent's parameters that the attributes become; `Ok(None)` for what has none to check: references, and what is
    /// inherited from a parent that only the whole tree knows.
    fn mapped(&self) -> Result<Option<Mapped>, MappingError> {
        let inherits = |row: &shared::agents::kinds::Attribute| row.inherits.is_some() && self.missing(row.name);
        let inherited = mapping::kind(self.kind)
            .is_some_and(|kind| kind.attributes.iter().any(|row| row.required && inherits(row)));
        if self.is_reference || inherited || mapping::kind(self.kind).is_none() {
            return Ok(None);
        }
        let primary = mapping::primary_value(self.kind, |name| self.attributes.get(name).map(String::as_str));
        let resource = Resource {
            name: ResourceName(format!("{}:{}", self.kind, primary.unwrap_or_default())),
            kind: self.kind.to_owned(),
            attributes: self.attributes.iter().filter(|(name, _)| !name.starts_with("__")).map(own).collect(),
            isolation: Isolation::default(),
            actions: Vec::new(),
            children: Vec::new(),
        };
        mapping::map(&resource).map(Some)
    }

    /// Everything that is known to be wrong without asking a node, at the fields of the form (`a-NAME`, `action-N-NAME`).
    pub fn faults(&self, schema: Option<&AgentSchema>) -> Vec<FieldError> {
        let mut faults = self.timing_faults();
        let Some(kind) = mapping::kind(self.kind).filter(|_| !self.is_reference) else { return faults };
        let required = kind.attributes.iter().filter(|row| row.required && row.inherits.is_none());
        let named = |row: &&shared::agents::kinds::Attribute| {
            row.name == kind.primary && kind.primary_instead.is_some_and(|instead| !self.missing(instead))
        };
        let missing = required.filter(|row| self.missing(row.name) && !named(row));
        let missing: Vec<FieldError> =
            missing.map(|row| FieldError::new(at(row.name), format!("{} is required", row.name))).collect();
        if !missing.is_empty() {
            faults.extend(missing);
            return faults;
        }
        match self.mapped() {
            Ok(Some(mapped)) => {
                faults.extend(schema.map(|schema| held_against(kind, schema, &mapped)).unwrap_or_default())
            }
            Ok(None) => {}
            Err(error) => {
                let field = match &error {
                    MappingError::AttributeMissing { attribute, .. }
                    | MappingError::AttributeInvalid { attribute, .. } => at(attribute),
                    MappingError::UnknownKind { .. } | MappingError::NoSuccessor { .. } => "form".to_owned(),
                };
                faults.push(FieldError::new(field, error.to_string()));
            }
        }
        faults
    }

    fn timing_faults(&self) -> Vec<FieldError> {
        let mut faults = Vec::new();
        for (name, value) in self.attributes.iter().filter(|(_, value)| !value.is_empty()) {
            if NUMBERS.contains(&name.as_str()) && value.parse::<u32>().is_err() {
                faults.push(FieldError::new(at(name), "give a whole number"));
            }
            if TIMES.contains(&name.as_str()) && !is_duration(value) {
                faults.push(FieldError::new(at(name), NO_TIME));
            }
        }
        for (row, action) in self.actions.iter().enumerate() {
            for name in ["interval", "timeout"] {
                if action.get(name).is_some_and(|value| !value.is_empty() && !is_duration(value)) {
                    faults.push(FieldError::new(format!("action-{row}-{name}"), NO_TIME));
                }
            }
            let depth = action.get("depth").filter(|depth| !depth.is_empty() && *depth != "*");
            if depth.is_some_and(|depth| depth.parse::<u32>().is_err()) {
                faults
                    .push(FieldError::new(format!("action-{row}-depth"), "give a whole number, or * for every depth"));
            }
            if action.get("name").is_none_or(String::is_empty) {
                faults.push(FieldError::new(format!("action-{row}-name"), "say which action this is about"));
            }
        }
        faults
    }
}

const NO_TIME: &str = "give a time in seconds or with a unit: 30, 2m, 1h";

fn own((name, value): (&String, &String)) -> (String, String) {
    (name.clone(), value.clone())
}

fn at(attribute: &str) -> String {
    format!("a-{attribute}")
}

/// The faults that the schema finds, at the attributes that the parameters come from.
fn held_against(kind: &Kind, schema: &AgentSchema, mapped: &Mapped) -> Vec<FieldError> {
    let given: Vec<(String, String)> = mapped.parameters.iter().map(own).collect();
    let faults = check(schema, &given).into_iter().filter(|complaint| complaint.is_fault);
    faults
        .map(|complaint| {
            let field = mapping::attribute_for(kind, &complaint.parameter).map_or("form".to_owned(), |name| at(&name));
            FieldError::new(field, complaint.text)
        })
        .collect()
}

impl App {
    /// What the agent behind a resource says of itself; `None` if there is none, or no node has told yet.
    pub async fn resource_schema(
        &self,
        cluster: &Cluster,
        kind: &str,
        attributes: &Attributes,
    ) -> Result<Option<AgentSchema>, AppError> {
        match agent_of(kind, attributes) {
            Some(agent) => self.agent_schema(cluster, AgentClass::Resource, &agent).await,
            None => Ok(None),
        }
    }

    /// Refuses a resource that cannot be right, at its fields.
    pub async fn check_resource(&self, cluster: &Cluster, sketch: Sketch<'_>) -> Result<(), AppError> {
        let schema = self.resource_schema(cluster, sketch.kind, sketch.attributes).await?;
        let fields = sketch.faults(schema.as_ref());
        if fields.is_empty() { Ok(()) } else { Err(AppError::Invalid { fields }) }
    }

    /// Has the agent judge a resource on a node: on `first` if that answers, else on any that has the agent. Nothing is
    /// started or written.
    pub async fn ask_agent(
        &self,
        cluster: &Cluster,
        sketch: Sketch<'_>,
        first: Option<&NodeName>,
    ) -> Result<AgentWord, AppError> {
        let mapped = sketch.mapped().map_err(|error| AppError::field("form", error.to_string()))?;
        let Some(Mapped { runner: Runner::Ocf { provider, agent }, parameters }) = mapped else {
            let text =
                "no agent can be asked about it by itself: apply it to a draft, and it is checked with the whole";
            return Err(AppError::Conflict(text.into()));
        };
        let name = format!("ocf:{provider}:{agent}");
        let schema = self.agent_schema(cluster, AgentClass::Resource, &name).await?;
        let given: Vec<(String, String)> = parameters.into_iter().collect();
        let mut members = self.members(cluster.id).await?;
        members.sort_by_key(|ricci| first != Some(ricci.node()));
        let asking = async {
            let mut last = None;
            for ricci in members {
                match ricci.validate_agent(&name, &given).await {
                    Ok(Validated { said, .. }) => {
                        let said = said.map(|said| masked(said, schema.as_ref(), &given));
                        return Ok(AgentWord { node: ricci.node().clone(), agent: name.clone(), said });
                    }
                    Err(error) => {
                        let elsewhere = error.problem().is_some_and(|problem| problem.code == ProblemCode::NotFound);
                        if !elsewhere && !error.is_about_the_node() {
                            return Err(error.into());
                        }
                        last = Some(error);
                    }
                }
            }
            Err(last.map_or_else(|| no_member(cluster), AppError::Ricci))
        };
        tokio::time::timeout(ASK_DEADLINE, asking).await.unwrap_or_else(|_| Err(no_member(cluster)))
    }
}

fn no_member(cluster: &Cluster) -> AppError {
    AppError::Unreachable(format!("no node of {} answered, so that no agent could be asked", cluster.name))
}

/// ricci masks what sounds secret; here the agent's own word counts as well.
fn masked(mut said: AgentSaid, schema: Option<&AgentSchema>, given: &[(String, String)]) -> AgentSaid {
    let secret = |name: &str| schema.and_then(|schema| schema.parameter(name)).is_some_and(|known| known.secret);
    for (_, value) in given.iter().filter(|(name, value)| secret(name) && !value.is_empty()) {
        said.output = said.output.replace(value.as_str(), MASK);
    }
    said
}

#[cfg(test)]
mod tests {
    use shared::agents::metadata::parse;

    use super::*;

    fn attributes(given: &[(&str, &str)]) -> Attributes {
        given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn faults(kind: &str, given: &[(&str, &str)], schema: Option<&AgentSchema>) -> Vec<(String, String)> {
        let attributes = attributes(given);
        let sketch = Sketch { kind, attributes: &attributes, actions: &[], is_reference: false };
        sketch.faults(schema).into_iter().map(|fault| (fault.field, fault.text)).collect()
    }

    fn schema() -> AgentSchema {
        let text = r#"<resource-agent name="thing"><parameters>
<parameter name="name" required="1"><content type="string"/></parameter>
<parameter name="port"><content type="integer"/></parameter>
<parameter name="directory"><content type="string"/></parameter>
<parameter name="fstype" required="1"><content type="string"/></parameter></parameters></resource-agent>"#;
        parse(AgentClass::Resource, text).unwrap()
    }

    #[test]
    fn what_is_missing_or_of_the_wrong_type_is_told_at_its_field() {
        let schema = schema();
        assert_eq!(
            faults("fs", &[("name", "d"), ("device", "/dev/sdb")], None),
            [("a-mountpoint".into(), "mountpoint is required".into())]
        );
        assert_eq!(faults("ip", &[("address", "10.0.0.999")], None)[0].0, "a-address");
        let ocf = [("name", "t"), ("type", "thing"), ("port", "x"), ("fstype", "y")];
        let found = faults("ocf", &ocf, Some(&schema));
        assert_eq!(found[0].0, "a-OCF_RESKEY_name", "the agent's own parameter, not the resource's name");
        assert_eq!(found[1], ("a-port".into(), "port=\"x\" cannot be right: give a whole number".into()));
        // A parameter that the agent requires is told at the attribute that it comes from.
        let fs = [("name", "d"), ("mountpoint", "/srv"), ("device", "/dev/sdb"), ("force_unmount", "1")];
        assert!(faults("fs", &fs, Some(&schema)).contains(&("a-fstype".into(), "fstype is required".into())));
    }

    #[test]
    fn what_comes_from_a_parent_is_not_asked_for() {
        assert_eq!(faults("nfsclient", &[("name", "c"), ("target", "*")], None), []);
        assert_eq!(faults("systemd", &[("unit", "nginx.service")], None), []);
    }

    #[test]
    fn times_and_numbers_are_checked_where_they_are_entered() {
        let attributes = attributes(&[("__max_restarts", "many"), ("__restart_expire_time", "5m")]);
        let actions = [
            [("name".to_owned(), "stop".to_owned()), ("timeout".to_owned(), "soon".to_owned())].into(),
            [("timeout".to_owned(), "5".to_owned()), ("depth".to_owned(), "*".to_owned())].into(),
        ];
        let sketch = Sketch { kind: "ip", attributes: &attributes, actions: &actions, is_reference: true };
        let fields: Vec<String> = sketch.faults(None).into_iter().map(|fault| fault.field).collect();
        assert_eq!(fields, ["a-__max_restarts", "action-0-timeout", "action-1-name"]);
    }

    #[test]
    fn the_agent_of_a_resource_is_found_by_its_type_or_its_attributes() {
        let of = |kind: &str, given: &[(&str, &str)]| agent_of(kind, &attributes(given));
        assert_eq!(of("ip", &[]).as_deref(), Some("ocf:heartbeat:IPaddr2"));
        assert_eq!(of("ocf", &[("type", "ping"), ("provider", "pacemaker")]).as_deref(), Some("ocf:pacemaker:ping"));
        assert_eq!(of("ocf", &[("type", "Dummy")]).as_deref(), Some("ocf:heartbeat:Dummy"));
        assert_eq!(of("ocf", &[]), None);
        assert_eq!(of("script", &[("file", "/x")]), None);
    }
}
