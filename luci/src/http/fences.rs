//! Fence devices and failover domains.

use std::collections::BTreeMap;

use axum::extract::{Path, Query, State};
use serde::Deserialize;
use shared::agents::metadata::{AgentClass, Given, in_language};
use shared::conf::edit::{AttributeChanges, Attributes, DomainNodeSpec, DomainSpec, Edit};
use shared::conf::model::{Conf, Domain};
use shared::conf::sealed;
use shared::ids::{DomainName, NodeName, ServiceName};
use shared::placement::course::course;
use shared::placement::losses::losses;

use super::configure::{Known, attribute_changes, changed, frame, known, new_attributes};
use super::error::PageError;
use super::fence_key::{self, key_view};
use super::foresight::{Asked, suppose, suppose_edit};
use super::forms::Fields;
use super::pages::{Page, at, draw, draw_refused, form_errors, snapshot};
use super::session::Posted;
use crate::app::agents::check_attributes;
use crate::app::conf::Current;
use crate::app::{App, AppError, Who, detach};
use crate::repo::clusters::Cluster;
use crate::views::conf::{
    DomainLine, DomainNode, DomainPage, DomainsPage, FenceAgentsPage, FenceDevicePage, FenceDevicesPage, ThingLine,
};
use crate::views::fence_form;
use crate::views::fencing::MethodLine;
use crate::views::fields::{FENCE_AGENTS, fence_agent};
use crate::views::foresight::{DomainPreview, LossLine, domain_notes};
use crate::views::manage::FormErrors;

/// Nodes whose methods use a device.
fn device_users(conf: &Conf, device: &str) -> Vec<String> {
    let uses = |node: &&shared::conf::model::Node| {
        node.methods.iter().flat_map(|method| &method.devices).chain(&node.unfence).any(|used| used.device == device)
    };
    conf.nodes.iter().filter(uses).map(|node| node.name.to_string()).collect()
}

fn agent_title(agent: &str) -> String {
    fence_agent(agent).map_or_else(|| agent.to_owned(), |known| known.title.to_owned())
}

pub(super) async fn list(State(app): State<App>, who: Who, Path(cluster): Path<String>) -> Page {
    let known = known(&app, &who, &cluster).await?;
    let devices = known.conf.fence_devices.iter().map(|device| {
        let address = device.attributes.iter().find(|(name, _)| matches!(name.as_str(), "ipaddr" | "ip"));
        ThingLine {
            name: device.name.clone(),
            kind: device.agent.clone(),
            title: agent_title(&device.agent),
            detail: address.map_or_else(String::new, |(_, address)| address.clone()),
            used_by: device_users(&known.conf, &device.name),
        }
    });
    let devices = devices.collect();
    let unprotected = known.conf.nodes.iter().filter(|node| node.methods.is_empty());
    let unprotected = unprotected.map(|node| node.name.to_string()).collect();
    let snapshot = snapshot(&app, &known.cluster);
    let reports = snapshot.nodes.iter().filter_map(|(name, seen)| Some((name, seen.report.as_ref()?)));
    let lacking = reports.filter(|(_, report)| !report.secrets_missing.is_empty());
    let lacking = lacking.map(|(name, report)| (name.to_string(), report.secrets_missing.join(", "))).collect();
    let (shell, head) = frame(&app, who, &known.cluster, "fence-devices").await?;
    let plain = sealed::plain(&known.document, |_, _, _| false).len();
    let methods = app.method_standings(&known.cluster, None).await?.iter().map(MethodLine::new).collect();
    draw(&FenceDevicesPage { shell, head, devices, unprotected, plain, lacking, methods })
}

/// Moves the secrets that stand in the configuration to files on the nodes.
pub(super) async fn move_secrets(
    State(app): State<App>,
    Path(cluster): Path<String>,
    Posted { who, fields: _ }: Posted,
) -> Page {
    let row = app.cluster(&cluster).await?;
    let done = app.move_secrets(&who, &row).await?;
    changed(&app, &who, &at(&row, "/fence-devices"), "Secrets moved out of the configuration", &done).await
}

#[derive(Debug, Deserialize)]
pub(super) struct Agent {
    #[serde(default)]
    agent: String,
}

async fn device_page(
    app: &App,
    who: Who,
    known: Known,
    (existing, agent): (Option<&str>, &str),
    (name, attributes): (String, &Attributes),
    errors: FormErrors,
) -> Result<FenceDevicePage, PageError> {
    let used_by = existing.map(|device| device_users(&known.conf, device)).unwrap_or_default();
    let schema = app.agent_schema(&known.cluster, AgentClass::Fence, agent).await?;
    let key = match agent {
        fence_key::AGENT => Some(key_view(app, &known, existing, attributes).await?),
        _ => None,
    };
    let (shell, head) = frame(app, who, &known.cluster, "fence-devices").await?;
    Ok(FenceDevicePage {
        key,
        shell,
        head,
        base: known.base(),
        cluster: known.cluster.name,
        existing: existing.map(str::to_owned),
        name,
        agent_title: agent_title(agent),
        agent: agent.to_owned(),
        form: fence_form::device(agent, schema.as_ref(), attributes),
        about: schema.as_ref().map(|schema| in_language(&schema.long, "en").to_owned()).unwrap_or_default(),
        by_hand: schema.is_none(),
        used_by,
        errors,
    })
}

pub(super) async fn create_form(
    State(app): State<App>,
    who: Who,
    Path(cluster): Path<String>,
    Query(Agent { agent }): Query<Agent>,
) -> Page {
    let known = known(&app, &who, &cluster).await?;
    if agent.is_empty() {
        let (shell, head) = frame(&app, who, &known.cluster, "fence-devices").await?;
        let installed = app.agent_choices(&known.cluster, AgentClass::Fence).await?;
        return draw(&FenceAgentsPage { shell, head, agents: FENCE_AGENTS, installed });
    }
    let empty = Attributes::new();
    draw(&device_page(&app, who, known, (None, &agent), (String::new(), &empty), FormErrors::default()).await?)
}

/// What the form says, for showing it again.
fn sent_attributes(fields: &Fields) -> Attributes {
    new_attributes(fields)
}

fn check_agent(agent: &str) -> Result<(), AppError> {
    let ok = !agent.is_empty() && agent.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if ok { Ok(()) } else { Err(AppError::field("agent", "the name of a fence agent looks like fence_ipmilan")) }
}

pub(super) async fn create(
    State(app): State<App>,
    Path(cluster): Path<String>,
    Posted { who, fields }: Posted,
) -> Page {
    let row = app.cluster(&cluster).await?;
    let (name, agent) = (fields.text("name").to_owned(), fields.text("agent").to_owned());
    let attributes = new_attributes(&fields);
    let result = async {
        check_agent(&agent)?;
        if name.is_empty() {
            return Err(AppError::field("name", "give the device a name"));
        }
        if let Some(schema) = app.agent_schema(&row, AgentClass::Fence, &agent).await? {
            check_attributes(&schema, &attributes, |given| given == Given::Once)?;
        }
        let edit = Edit::AddFenceDevice { name: name.clone(), agent: agent.clone(), attributes };
        app.change_conf(&who, &row, fields.base()?, &format!("fence device {name} added"), |_| Ok(vec![edit])).await
    };
    match result.await {
        Ok(done) => {
            changed(&app, &who, &at(&row, "/fence-devices"), &format!("Fence device {name} added"), &done).await
        }
        Err(error) => {
            let errors = form_errors(error)?;
            let known = known(&app, &who, &cluster).await?;
            let sent = sent_attributes(&fields);
            draw_refused(&device_page(&app, who, known, (None, &agent), (name, &sent), errors).await?)
        }
    }
}

fn device<'k>(known: &'k Known, name: &str) -> Result<(&'k str, Attributes), AppError> {
    let found = known.conf.fence_devices.iter().find(|device| device.name == name);
    let found = found.ok_or_else(|| AppError::NoSuch { what: "fence device", name: name.to_owned() })?;
    Ok((&found.agent, found.attributes.iter().cloned().collect()))
}

pub(super) async fn device_form(
    app: &App,
    who: Who,
    cluster: &str,
    name: &str,
    errors: FormErrors,
) -> Result<FenceDevicePage, PageError> {
    let known = known(app, &who, cluster).await?;
    let (agent, attributes) = device(&known, name)?;
    let agent = agent.to_owned();
    device_page(app, who, known, (Some(name), &agent), (name.to_owned(), &attributes), errors).await
}

pub(super) async fn show_device(
    State(app): State<App>,
    who: Who,
    Path((cluster, name)): Path<(String, String)>,
) -> Page {
    draw(&device_form(&app, who, &cluster, &name, FormErrors::default()).await?)
}

/// The device as it would be, by its agent's metadata.
async fn check_device(
    app: &App,
    who: &Who,
    cluster: &str,
    name: &str,
    changes: &AttributeChanges,
) -> Result<(), AppError> {
    let known = known(app, who, cluster).await?;
    let (agent, mut attributes) = device(&known, name)?;
    let Some(schema) = app.agent_schema(&known.cluster, AgentClass::Fence, agent).await? else { return Ok(()) };
    attributes.retain(|name, _| !matches!(changes.get(name), Some(None)));
    attributes.extend(changes.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?))));
    check_attributes(&schema, &attributes, |given| given == Given::Once)
}

pub(super) async fn edit(
    State(app): State<App>,
    Path((cluster, name)): Path<(String, String)>,
    Posted { who, fields }: Posted,
) -> Page {
    let row = app.cluster(&cluster).await?;
    let mut attributes = attribute_changes(&fields);
    let new_name = fields.text("name").to_owned();
    if !new_name.is_empty() && new_name != name {
        attributes.insert("name".into(), Some(new_name));
    }
    let result = async {
        check_device(&app, &who, &cluster, &name, &attributes).await?;
        let edit = Edit::SetFenceDevice { name: name.clone(), attributes };
        app.change_conf(&who, &row, fields.base()?, &format!("fence device {name} changed"), |_| Ok(vec![edit])).await
    };
    match result.await {
        Ok(done) => {
            changed(&app, &who, &at(&row, "/fence-devices"), &format!("Fence device {name} changed"), &done).await
        }
        Err(error) => draw_refused(&device_form(&app, who, &cluster, &name, form_errors(error)?).await?),
    }
}

pub(super) async fn delete(
    State(app): State<App>,
    Path((cluster, name)): Path<(String, String)>,
    Posted { who, fields }: Posted,
) -> Page {
    let row = app.cluster(&cluster).await?;
    let everywhere = fields.checked("detach");
    let message = format!("fence device {name} deleted");
    let edits = |current: &Current| match everywhere {
        true => detach::fence_device(current, &name),
        false => Ok(vec![Edit::RemoveFenceDevice { name: name.clone() }]),
    };
    let done = app.change_conf(&who, &row, fields.base()?, &message, edits).await?;
    changed(&app, &who, &at(&row, "/fence-devices"), &format!("Fence device {name} deleted"), &done).await
}

// Failover domains.

fn domain_users(conf: &Conf, domain: &DomainName) -> Vec<String> {
    let uses = |service: &&shared::conf::model::Service| {
        service.domain.as_ref().is_some_and(|used| used.0.eq_ignore_ascii_case(&domain.0))
    };
    conf.services.iter().filter(uses).map(|service| service.name.to_string()).collect()
}

fn domain_line(domain: &Domain, conf: &Conf) -> DomainLine {
    let flags =
        [(domain.ordered, "Prioritized"), (domain.restricted, "Restricted"), (domain.nofailback, "No Failback")];
    let mut nodes = domain.nodes.clone();
    nodes.sort_by_key(|(_, priority)| *priority);
    DomainLine {
        name: domain.name.to_string(),
        flags: flags.into_iter().filter_map(|(set, word)| set.then_some(word)).collect(),
        nodes: nodes
            .into_iter()
            .map(|(node, priority)| if domain.ordered { format!("{node} ({priority})") } else { node.to_string() })
            .collect(),
        used_by: domain_users(conf, &domain.name),
    }
}

pub(super) async fn domains(State(app): State<App>, who: Who, Path(cluster): Path<String>) -> Page {
    let known = known(&app, &who, &cluster).await?;
    let domains = known.conf.domains.iter().map(|domain| domain_line(domain, &known.conf)).collect();
    let (shell, head) = frame(&app, who, &known.cluster, "failover-domains").await?;
    draw(&DomainsPage { shell, head, domains })
}

/// The domain that a form describes.
fn sent_domain(fields: &Fields) -> Result<DomainSpec, AppError> {
    let name = fields.text("name");
    if name.is_empty() {
        return Err(AppError::field("name", "give the failover domain a name"));
    }
    let ordered = fields.checked("ordered");
    let mut nodes = Vec::new();
    for node in fields.all("node") {
        let priority = fields.number::<u32>(&format!("priority-{node}"), &format!("the priority of {node}"))?;
        nodes.push(DomainNodeSpec { name: NodeName(node), priority: priority.filter(|_| ordered) });
    }
    Ok(DomainSpec {
        name: name.into(),
        ordered,
        restricted: fields.checked("restricted"),
        nofailback: fields.checked("nofailback"),
        nodes,
    })
}

/// Fields of a new, empty domain.
fn empty_domain() -> DomainSpec {
    DomainSpec { name: DomainName::default(), ordered: false, restricted: false, nofailback: false, nodes: Vec::new() }
}

async fn domain_page(
    app: &App,
    who: Who,
    known: Known,
    existing: Option<&str>,
    domain: &DomainSpec,
    errors: FormErrors,
) -> Result<DomainPage, PageError> {
    let mut names: Vec<NodeName> = known.conf.nodes.iter().map(|node| node.name.clone()).collect();
    // A node that has left the cluster but is still listed is shown, so that it can be taken out.
    let listed = domain.nodes.iter().map(|node| node.name.clone());
    names.extend(listed.filter(|name| known.conf.node(name).is_none()).collect::<Vec<_>>());
    let nodes = names.into_iter().map(|name| {
        let listed = domain.nodes.iter().find(|node| node.name == name);
        let priority = listed.and_then(|node| node.priority).map_or_else(|| "1".into(), |p| p.to_string());
        DomainNode { member: listed.is_some(), gone: known.conf.node(&name).is_none(), priority, name: name.0 }
    });
    let nodes = nodes.collect();
    let used_by = existing.map(|name| domain_users(&known.conf, &name.into())).unwrap_or_default();
    let model = model_of(domain);
    let preview = DomainPreview::new(&course(&known.conf, &model));
    let used = !used_by.is_empty();
    let losses = losses(&known.conf, &model, &owners(app, &known.cluster));
    let losses = losses.iter().map(|loss| LossLine::new(loss, used)).collect();
    let notes = domain_notes(&known.conf, &model, used || existing.is_none());
    let (shell, head) = frame(app, who, &known.cluster, "failover-domains").await?;
    Ok(DomainPage {
        shell,
        head,
        base: known.base(),
        cluster: known.cluster.name,
        existing: existing.map(str::to_owned),
        name: domain.name.to_string(),
        ordered: domain.ordered,
        restricted: domain.restricted,
        nofailback: domain.nofailback,
        nodes,
        used_by,
        preview,
        losses,
        notes,
        members: domain.nodes.iter().map(|node| node.name.to_string()).collect(),
        supposed: None,
        errors,
    })
}

/// Where services run now.
fn owners(app: &App, cluster: &Cluster) -> BTreeMap<ServiceName, NodeName> {
    let snapshot = snapshot(app, cluster);
    let services = snapshot.live().map(|status| status.services.as_slice()).unwrap_or_default();
    services.iter().filter_map(|service| Some((service.name.clone(), service.owner.clone()?))).collect()
}

/// The domain as the engine would read it from cluster.conf.
fn model_of(spec: &DomainSpec) -> Domain {
    let priority = |node: &DomainNodeSpec| match node.priority {
        Some(priority) if spec.ordered && (1..=100).contains(&priority) => priority,
        _ => 0,
    };
    Domain {
        name: spec.name.clone(),
        ordered: spec.ordered,
        restricted: spec.restricted,
        nofailback: spec.nofailback,
        nodes: spec.nodes.iter().map(|node| (node.name.clone(), priority(node))).collect(),
    }
}

/// The form again, with what it would mean; nothing is written.
async fn preview_domain(app: &App, who: Who, cluster: &str, existing: Option<&str>, fields: &Fields) -> Page {
    let known = known(app, &who, cluster).await?;
    let (domain, supposed, errors) = match sent_domain(fields) {
        Ok(domain) => {
            let sent = domain.clone();
            let edit = match existing {
                Some(name) => Edit::SetDomain { name: name.into(), domain: sent },
                None => Edit::AddDomain { domain: sent },
            };
            (domain, Some(suppose_edit(app, &who, &known.cluster, edit).await?), FormErrors::default())
        }
        Err(error) => {
            let domain = existing.map_or_else(|| Ok(empty_domain()), |name| stored_domain(&known, name))?;
            (domain, None, form_errors(error)?)
        }
    };
    let page = domain_page(app, who, known, existing, &domain, errors).await?;
    draw(&DomainPage { supposed, ..page })
}

pub(super) async fn new_domain_form(State(app): State<App>, who: Who, Path(cluster): Path<String>) -> Page {
    let known = known(&app, &who, &cluster).await?;
    draw(&domain_page(&app, who, known, None, &empty_domain(), FormErrors::default()).await?)
}

pub(super) async fn create_domain(
    State(app): State<App>,
    Path(cluster): Path<String>,
    Posted { who, fields }: Posted,
) -> Page {
    if fields.checked("preview") {
        return preview_domain(&app, who, &cluster, None, &fields).await;
    }
    let row = app.cluster(&cluster).await?;
    let result = async {
        let domain = sent_domain(&fields)?;
        let message = format!("failover domain {} added", domain.name);
        app.change_conf(&who, &row, fields.base()?, &message, |_| Ok(vec![Edit::AddDomain { domain }])).await
    };
    match result.await {
        Ok(done) => changed(&app, &who, &at(&row, "/failover-domains"), "Failover domain added", &done).await,
        Err(error) => {
            let errors = form_errors(error)?;
            let known = known(&app, &who, &cluster).await?;
            let domain = sent_domain(&fields).unwrap_or_else(|_| empty_domain());
            draw_refused(&domain_page(&app, who, known, None, &domain, errors).await?)
        }
    }
}

fn stored_domain(known: &Known, name: &str) -> Result<DomainSpec, AppError> {
    let domain = known.conf.domain(&name.into());
    let domain = domain.ok_or_else(|| AppError::NoSuch { what: "failover domain", name: name.to_owned() })?;
    let nodes = domain.nodes.iter();
    Ok(DomainSpec {
        name: domain.name.clone(),
        ordered: domain.ordered,
        restricted: domain.restricted,
        nofailback: domain.nofailback,
        nodes: nodes
            .map(|(name, priority)| DomainNodeSpec {
                name: name.clone(),
                priority: domain.ordered.then_some(*priority),
            })
            .collect(),
    })
}

pub(super) async fn domain(
    State(app): State<App>,
    who: Who,
    Path((cluster, name)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Page {
    let known = known(&app, &who, &cluster).await?;
    let domain = stored_domain(&known, &name)?;
    let supposed = suppose(&app, &known.cluster, &asked).await?;
    let page = domain_page(&app, who, known, Some(&name), &domain, FormErrors::default()).await?;
    draw(&DomainPage { supposed, ..page })
}

pub(super) async fn edit_domain(
    State(app): State<App>,
    Path((cluster, name)): Path<(String, String)>,
    Posted { who, fields }: Posted,
) -> Page {
    if fields.checked("preview") {
        return preview_domain(&app, who, &cluster, Some(&name), &fields).await;
    }
    let row = app.cluster(&cluster).await?;
    let result = async {
        let edit = Edit::SetDomain { name: name.as_str().into(), domain: sent_domain(&fields)? };
        app.change_conf(&who, &row, fields.base()?, &format!("failover domain {name} changed"), |_| Ok(vec![edit]))
            .await
    };
    match result.await {
        Ok(done) => {
            changed(&app, &who, &at(&row, "/failover-domains"), &format!("Failover domain {name} changed"), &done).await
        }
        Err(error) => {
            let errors = form_errors(error)?;
            let known = known(&app, &who, &cluster).await?;
            let domain = match sent_domain(&fields) {
                Ok(domain) => domain,
                Err(_) => stored_domain(&known, &name)?,
            };
            draw_refused(&domain_page(&app, who, known, Some(&name), &domain, errors).await?)
        }
    }
}

pub(super) async fn delete_domain(
    State(app): State<App>,
    Path((cluster, name)): Path<(String, String)>,
    Posted { who, fields }: Posted,
) -> Page {
    let row = app.cluster(&cluster).await?;
    let everywhere = fields.checked("detach");
    let domain = DomainName(name.clone());
    let message = format!("failover domain {name} deleted");
    let edits = |current: &Current| match everywhere {
        true => detach::domain(current, &domain),
        false => Ok(vec![Edit::RemoveDomain { name: domain.clone() }]),
    };
    let done = app.change_conf(&who, &row, fields.base()?, &message, edits).await?;
    changed(&app, &who, &at(&row, "/failover-domains"), &format!("Failover domain {name} deleted"), &done).await
}
