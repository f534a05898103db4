//! The API's resources: the agents of the nodes and what they say of themselves, shared resources with their users, the tree of
//! a service and its changes one by one, and an agent's word on a resource that is being entered. The rules are the pages'.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use shared::agents::metadata::{AgentClass, AgentSchema};
use shared::conf::edit::{Attributes, ResourceSpec, ServiceSpec};
use shared::conf::{Loaded, sealed};
use shared::ids::{ConfVersion, NodeName, ServiceName};
use shared::text::ocf_meaning;

use super::config::changed;
use super::{ADMINISTRATOR, Answer, Body, VIEWER, says, takes};
use crate::app::resources::{Sketch, users_of};
use crate::app::tree::{self, TreeChange};
use crate::app::{App, AppError, Who};
use crate::http::door::{Route, get, post};
use crate::repo::clusters::Cluster;
use crate::repo::confs::StoredConf;
use crate::secrets::{MASK, is_secret};

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/api/v1/clusters/{cluster}/agents/{kind}", VIEWER, agents).doc(says(
            "Agents of the nodes, `resource` or `fence`: what each is for, where it is missing",
            200,
            "Agents",
        )),
        get("/api/v1/clusters/{cluster}/agents/{kind}/{name}", VIEWER, agent).doc(says(
            "What an agent says of itself: parameters with their types, defaults and texts, actions with their times",
            200,
            "Any",
        )),
        get("/api/v1/clusters/{cluster}/resources", VIEWER, shared_resources).doc(says(
            "Shared resources with the services that use them",
            200,
            "SharedResources",
        )),
        post("/api/v1/clusters/{cluster}/resources/check", ADMINISTRATOR, check).doc(takes(
            "Have a resource judged by its type, by its agent's description and by the agent itself; nothing is written or started",
            "ResourceCheck",
            200,
            "AgentWord",
        )),
        get("/api/v1/clusters/{cluster}/services/{service}/resources", VIEWER, resources).doc(says(
            "The tree of a service in the newest version, each resource with its place",
            200,
            "ServiceTree",
        )),
        post("/api/v1/clusters/{cluster}/services/{service}/resources", ADMINISTRATOR, change).doc(takes(
            "Change the tree of a service, one change after the other, all or none, as one version",
            "TreeChanges",
            201,
            "Changed",
        )),
    ]
}

fn class(kind: &str) -> Result<AgentClass, AppError> {
    match kind {
        "resource" => Ok(AgentClass::Resource),
        "fence" => Ok(AgentClass::Fence),
        other => Err(AppError::NoSuch { what: "class of agents", name: other.to_owned() }),
    }
}

/// An agent of the nodes.
#[derive(Serialize)]
struct AgentBody {
    name: String,
    short: String,
    /// Nodes that were asked and do not have it.
    missing_on: Vec<String>,
    /// Why it cannot be used.
    problem: Option<String>,
}

async fn agents(State(app): State<App>, Path((name, kind)): Path<(String, String)>) -> Answer<Json<Vec<AgentBody>>> {
    let cluster = app.cluster(&name).await?;
    let choices = app.agent_choices(&cluster, class(&kind)?).await?;
    let bodies = choices.into_iter().map(|choice| AgentBody {
        name: choice.name,
        short: choice.short,
        missing_on: choice.missing_on,
        problem: choice.problem,
    });
    Ok(Json(bodies.collect()))
}

async fn agent(
    State(app): State<App>,
    Path((name, kind, agent)): Path<(String, String, String)>,
) -> Answer<Json<AgentSchema>> {
    let cluster = app.cluster(&name).await?;
    let schema = app.agent_schema(&cluster, class(&kind)?, &agent).await?;
    Ok(Json(schema.ok_or(AppError::NoSuch { what: "agent", name: agent })?))
}

/// The newest version, as every person sees it who has no draft.
async fn newest(app: &App, cluster: &Cluster) -> Result<(StoredConf, Loaded), AppError> {
    let stored = app.repo.newest_conf(cluster.id).await?;
    let stored = stored.ok_or_else(|| AppError::Unreachable("luci has no configuration of this cluster yet".into()))?;
    let loaded = shared::conf::load(&stored.text);
    Ok((stored, loaded))
}

/// Attributes without secrets; where a secret lies may be told.
fn told(attributes: &Attributes) -> Attributes {
    let shown = |(name, value): (&String, &String)| match is_secret(name) && sealed::referred(value).is_none() {
        true => (name.clone(), MASK.to_owned()),
        false => (name.clone(), value.clone()),
    };
    attributes.iter().map(shown).collect()
}

#[derive(Serialize)]
struct SharedResource {
    kind: String,
    name: String,
    attributes: Attributes,
    actions: Vec<Attributes>,
    used_by: Vec<String>,
}

async fn shared_resources(State(app): State<App>, Path(name): Path<String>) -> Answer<Json<Vec<SharedResource>>> {
    let cluster = app.cluster(&name).await?;
    let (_, loaded) = newest(&app, &cluster).await?;
    let Some(conf) = &loaded.conf else { return Ok(Json(Vec::new())) };
    let resources = conf.resources.iter().filter_map(|resource| {
        let spec = ResourceSpec::read_shared(&loaded.document, &resource.kind, &resource.name)?;
        Some(SharedResource {
            used_by: users_of(&loaded.document, conf, &resource.kind, &resource.name),
            name: resource.name.clone(),
            attributes: told(&spec.attributes),
            actions: spec.actions,
            kind: spec.kind,
        })
    });
    Ok(Json(resources.collect()))
}

/// A resource in a tree.
#[derive(Serialize)]
struct Placed {
    /// `0`, `0.1`, …: what a change calls it.
    place: String,
    kind: String,
    #[serde(rename = "ref")]
    reference: Option<String>,
    attributes: Attributes,
    actions: Vec<Attributes>,
    children: Vec<Placed>,
}

fn placed(specs: &[ResourceSpec], above: &str) -> Vec<Placed> {
    let one = |(index, spec): (usize, &ResourceSpec)| {
        let place = if above.is_empty() { index.to_string() } else { format!("{above}.{index}") };
        Placed {
            kind: spec.kind.clone(),
            reference: spec.reference.clone(),
            attributes: told(&spec.attributes),
            actions: spec.actions.clone(),
            children: placed(&spec.children, &place),
            place,
        }
    };
    specs.iter().enumerate().map(one).collect()
}

#[derive(Serialize)]
struct ServiceTree {
    /// The base of a change that is made of it.
    version: u64,
    resources: Vec<Placed>,
}

fn tree_of(loaded: &Loaded, service: &ServiceName) -> Result<Vec<ResourceSpec>, AppError> {
    let spec = ServiceSpec::read(&loaded.document, service);
    spec.map(|spec| spec.resources).ok_or_else(|| AppError::NoSuch { what: "service", name: service.0.clone() })
}

async fn resources(State(app): State<App>, Path((name, service)): Path<(String, String)>) -> Answer<Json<ServiceTree>> {
    let cluster = app.cluster(&name).await?;
    let (stored, loaded) = newest(&app, &cluster).await?;
    let tree = tree_of(&loaded, &ServiceName::parse(&service))?;
    Ok(Json(ServiceTree { version: stored.version.0, resources: placed(&tree, "") }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TreeChanges {
    base: u64,
    #[serde(default)]
    message: String,
    changes: Vec<TreeChange>,
}

async fn change(
    State(app): State<App>,
    who: Who,
    Path((name, service)): Path<(String, String)>,
    Body(body): Body<TreeChanges>,
) -> Answer<Response> {
    let cluster = app.cluster(&name).await?;
    let service = ServiceName::parse(&service);
    let (_, loaded) = newest(&app, &cluster).await?;
    let mut resources = tree_of(&loaded, &service)?;
    for (index, change) in body.changes.iter().enumerate() {
        tree::apply(&mut resources, change)?;
        for spec in touched(&resources, change) {
            check_spec(&app, &cluster, spec, index).await?;
        }
    }
    let message = if body.message.is_empty() { format!("resources of {service} changed") } else { body.message };
    let done = app
        .edit_conf(&who, &cluster, ConfVersion(body.base), &message, |current| {
            // Once more, on what is newest under the lock: `base` says that it is what the caller saw.
            let all = |tree: &mut Vec<ResourceSpec>| body.changes.iter().try_for_each(|one| tree::apply(tree, one));
            Ok(vec![tree::edit(current, &service, all)?])
        })
        .await?;
    Ok(changed(&cluster, &done))
}

/// The resources whose attributes a change brings.
fn touched<'t>(tree: &'t [ResourceSpec], change: &'t TreeChange) -> Vec<&'t ResourceSpec> {
    match change {
        TreeChange::Add { resource, .. } => with_below(resource),
        TreeChange::Set { place, .. } => tree::find(tree, place).into_iter().collect(),
        TreeChange::Move { .. } | TreeChange::Remove { .. } => Vec::new(),
    }
}

fn with_below(spec: &ResourceSpec) -> Vec<&ResourceSpec> {
    std::iter::once(spec).chain(spec.children.iter().flat_map(with_below)).collect()
}

fn sketch(spec: &ResourceSpec) -> Sketch<'_> {
    Sketch {
        kind: &spec.kind,
        attributes: &spec.attributes,
        actions: &spec.actions,
        is_reference: spec.reference.is_some(),
    }
}

/// Refuses a resource that cannot be right, at the change that brings it.
async fn check_spec(app: &App, cluster: &Cluster, spec: &ResourceSpec, change: usize) -> Result<(), AppError> {
    if let Some((name, _)) = spec.attributes.iter().find(|(_, value)| *value == MASK) {
        let text = format!("{MASK} stands for a value that is not told; leave {name} out, and it stays as it is");
        return Err(AppError::field(format!("changes/{change}/{name}"), text));
    }
    app.check_resource(cluster, sketch(spec)).await.map_err(|error| match error {
        AppError::Invalid { mut fields } => {
            for fault in &mut fields {
                fault.field = format!("changes/{change}/{}", fault.field.trim_start_matches("a-"));
            }
            AppError::Invalid { fields }
        }
        other => other,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResourceCheck {
    resource: ResourceSpec,
    /// The node that is asked first.
    #[serde(default)]
    node: Option<String>,
}

/// What an agent said.
#[derive(Serialize)]
struct AgentWordBody {
    agent: String,
    node: String,
    /// Absent: it offers no check of its own.
    said: Option<SaidBody>,
}

#[derive(Serialize)]
struct SaidBody {
    /// Absent: it did not answer in time.
    code: Option<i32>,
    /// The code in the words of OCF.
    meaning: Option<&'static str>,
    output: String,
    duration_ms: u64,
}

async fn check(
    State(app): State<App>,
    Path(name): Path<String>,
    Body(body): Body<ResourceCheck>,
) -> Answer<Json<AgentWordBody>> {
    let cluster = app.cluster(&name).await?;
    app.check_resource(&cluster, sketch(&body.resource)).await?;
    let first = body.node.map(NodeName);
    let word = app.ask_agent(&cluster, sketch(&body.resource), first.as_ref()).await?;
    let said = word.said.map(|said| SaidBody {
        code: said.code,
        meaning: said.code.map(ocf_meaning),
        output: said.output,
        duration_ms: said.duration_ms,
    });
    Ok(Json(AgentWordBody { agent: word.agent, node: word.node.to_string(), said }))
}
