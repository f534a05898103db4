//! Service groups: list, one service, requests about it, and its properties. Its resources are in `tree`.

use std::sync::Arc;

use axum::extract::{Path, State};
use shared::conf::edit::{AttributeChanges, Attributes, Edit, ResourceSpec, ServiceSpec};
use shared::ids::{NodeName, ServiceName};
use shared::status::Command;

use super::configure::{Known, changed, frame, known};
use super::error::PageError;
use super::forms::Fields;
use super::pages::{
    Page, at, cluster_shell, draw, draw_refused, form_errors, go, known_conf, part, request_flash, shell, snapshot,
};
use super::resources::choices;
use super::session::Posted;
use crate::app::{App, AppError, Who};
use crate::repo::clusters::Cluster;
use crate::repo::events::EventFilter;
use crate::views::cluster::{HeadPanel, RequestsPanel};
use crate::views::conf::ServiceForm;
use crate::views::events::EventsPanel;
use crate::views::manage::{ConfirmPage, FormErrors};
use crate::views::resource_state::{StatePart, States, state_parts};
use crate::views::resources::resource_nodes;
use crate::views::service::{NewServicePage, ServicePage, ServicePanel, ServicesPage, ServicesPanel};
use crate::watcher::Snapshot;

/// Events on the page of a service.
const EVENTS: i64 = 20;
/// Requests of one service that are shown.
const REQUESTS: usize = 5;
/// Places for shared resources in the form of a new service.
const SHARED_PLACES: usize = 5;

pub(super) async fn services_panel(
    app: &App,
    who: &Who,
    cluster: &Cluster,
    snapshot: &Snapshot,
) -> Result<ServicesPanel, PageError> {
    // Services of the reader's draft are listed, too: that is where their resources are added.
    let draft = app.repo.draft(cluster.id, who.id).await?;
    let conf = match draft {
        Some(_) => {
            app.working_conf(who, cluster).await?.and_then(|stored| shared::conf::load(&stored.text).conf).map(Arc::new)
        }
        None => known_conf(app, cluster).await?,
    };
    Ok(ServicesPanel::new(&cluster.name, snapshot, conf.as_deref(), who))
}

pub(super) async fn services(State(app): State<App>, who: Who, Path(cluster): Path<String>) -> Page {
    let cluster = app.cluster(&cluster).await?;
    let snapshot = snapshot(&app, &cluster);
    draw(&ServicesPage {
        head: HeadPanel::new(&cluster.name, &snapshot, &who),
        services: services_panel(&app, &who, &cluster, &snapshot).await?,
        shell: cluster_shell(&app, who, &cluster, "services", "head,services").await?,
    })
}

pub(super) async fn service_panel(
    app: &App,
    who: &Who,
    cluster: &Cluster,
    service: &str,
    snapshot: &Snapshot,
) -> Result<ServicePanel, PageError> {
    let name = ServiceName::parse(service);
    let mut requests = app.repo.recent_requests(cluster.id, 50).await?;
    requests.retain(|request| request.command.service() == Some(&name));
    requests.truncate(REQUESTS);
    Ok(ServicePanel::new(&cluster.name, &name, snapshot, RequestsPanel::new(&requests), who))
}

/// The states of the resources of a service that is in force.
pub(super) async fn resource_states(
    app: &App,
    cluster: &Cluster,
    service: &str,
    snapshot: &Snapshot,
) -> Result<Vec<StatePart>, PageError> {
    let name = ServiceName::parse(service);
    let conf = known_conf(app, cluster).await?;
    let tree = conf.as_deref().and_then(|conf| conf.service(&name)).map(|service| service.tree.as_slice());
    Ok(state_parts(tree.unwrap_or_default(), &States::new(snapshot, conf.as_deref(), &name)))
}

async fn service_page(
    app: &App,
    who: Who,
    cluster: &str,
    service: &str,
    errors: FormErrors,
) -> Result<ServicePage, PageError> {
    let known = known(app, &who, cluster).await?;
    let name = ServiceName::parse(service);
    let snapshot = snapshot(app, &known.cluster);
    let spec = ServiceSpec::read(&known.document, &name);
    let in_status = snapshot.status.as_deref().is_some_and(|status| status.service(&name).is_some());
    if spec.is_none() && !in_status {
        return Err(AppError::NoSuch { what: "service", name: name.0 }.into());
    }
    let form =
        spec.as_ref().and_then(|spec| Some(ServiceForm::of(known.conf.service(&name)?, &spec.attributes, &known.conf)));
    let filter = EventFilter { subject: Some(("service", name.0.clone())), ..EventFilter::default() };
    let events = app.repo.events(known.cluster.id, &filter, EVENTS).await?;
    let panels = format!("head,service,states,events&service={}", part(name.as_str()));
    let newest = known_conf(app, &known.cluster).await?;
    let now = States::new(&snapshot, newest.as_deref(), &name);
    Ok(ServicePage {
        head: HeadPanel::new(&known.cluster.name, &snapshot, &who),
        service: service_panel(app, &who, &known.cluster, name.as_str(), &snapshot).await?,
        events: EventsPanel::new(&events),
        tree: spec.map(|spec| resource_nodes(&spec.resources, &now)).unwrap_or_default(),
        form,
        base: known.base(),
        shell: cluster_shell(app, who, &known.cluster, "services", &panels).await?,
        root: service_address(&known.cluster, name.as_str()),
        name: name.0,
        entered: Vec::new(),
        errors,
    })
}

pub(super) async fn service(
    State(app): State<App>,
    who: Who,
    Path((cluster, service)): Path<(String, String)>,
) -> Page {
    draw(&service_page(&app, who, &cluster, &service, FormErrors::default()).await?)
}

/// The command that a button stands for.
fn command(fields: &Fields, service: ServiceName) -> Result<Command, AppError> {
    // A button of the matrix says all in one value: `relocate node1`.
    let (verb, node) = match fields.text("ask").split_once(' ') {
        Some((verb, node)) => (verb, Some(NodeName::from(node))),
        None if fields.text("ask").is_empty() => (fields.text("verb"), fields.optional("node").map(NodeName)),
        None => (fields.text("ask"), None),
    };
    command_of(verb, node, service)
}

/// The command that a verb stands for; without a node, the failover domain decides.
pub(super) fn command_of(verb: &str, node: Option<NodeName>, service: ServiceName) -> Result<Command, AppError> {
    Ok(match verb {
        "enable" => Command::Enable { service, by_domain: node.is_none(), on: node },
        "disable" => Command::Disable { service },
        "stop" => Command::Stop { service },
        "restart" => Command::Restart { service },
        "relocate" => Command::Relocate { service, to: node },
        "migrate" => match node {
            Some(to) => Command::Migrate { service, to },
            None => return Err(AppError::field("node", "choose the node to migrate to")),
        },
        "freeze" => Command::Freeze { service },
        "unfreeze" => Command::Unfreeze { service },
        "convalesce" => Command::Convalesce { service },
        other => return Err(AppError::NoSuch { what: "request", name: other.to_owned() }),
    })
}

pub(super) fn service_address(cluster: &Cluster, service: &str) -> String {
    at(cluster, &format!("/services/{}", part(service)))
}

pub(super) async fn request(
    State(app): State<App>,
    Path((cluster, service)): Path<(String, String)>,
    Posted { who, fields }: Posted,
) -> Page {
    let cluster = app.cluster(&cluster).await?;
    let name = ServiceName::parse(&service);
    let back = match fields.text("from") {
        "overview" => at(&cluster, ""),
        _ => service_address(&cluster, name.as_str()),
    };
    let request = app.request(&who, &cluster, command(&fields, name)?).await?;
    let (kind, text) = request_flash(&request);
    go(&app, &who, &back, kind, text).await
}

pub(super) async fn lock(State(app): State<App>, Path(cluster): Path<String>, Posted { who, fields }: Posted) -> Page {
    let cluster = app.cluster(&cluster).await?;
    let command = if fields.text("verb") == "unlock" { Command::Unlock } else { Command::Lock };
    let request = app.request(&who, &cluster, command).await?;
    let (kind, text) = request_flash(&request);
    go(&app, &who, &at(&cluster, ""), kind, text).await
}

/// Attributes of a service from its form. What is at its default is not written.
fn service_attributes(fields: &Fields) -> Result<AttributeChanges, AppError> {
    let max_restarts: Option<u32> = fields.number("max_restarts", "the number of restarts")?;
    let recovery = fields.optional("recovery").filter(|recovery| recovery != "restart");
    Ok(AttributeChanges::from([
        ("autostart".to_owned(), (!fields.checked("autostart")).then(|| "0".to_owned())),
        ("exclusive".to_owned(), fields.checked("exclusive").then(|| "1".to_owned())),
        ("domain".to_owned(), fields.optional("domain")),
        ("recovery".to_owned(), recovery),
        ("max_restarts".to_owned(), max_restarts.map(|max| max.to_string())),
        ("restart_expire_time".to_owned(), fields.optional("restart_expire_time")),
        ("depend".to_owned(), fields.optional("depend")),
    ]))
}

/// The form as it was sent, to show it again.
fn sent_form(fields: &Fields, known: &Known) -> ServiceForm {
    let text = |name: &str| fields.text(name).to_owned();
    ServiceForm {
        name: text("name"),
        autostart: fields.checked("autostart"),
        exclusive: fields.checked("exclusive"),
        domain: text("domain"),
        recovery: text("recovery"),
        max_restarts: text("max_restarts"),
        restart_expire_time: text("restart_expire_time"),
        depend: text("depend"),
        ..ServiceForm::empty(&known.conf)
    }
}

async fn new_page(
    app: &App,
    who: Who,
    known: Known,
    form: ServiceForm,
    mut chosen: Vec<String>,
    errors: FormErrors,
) -> Result<NewServicePage, PageError> {
    chosen.resize(chosen.len().max(SHARED_PLACES), String::new());
    let (shell, head) = frame(app, who, &known.cluster, "services").await?;
    Ok(NewServicePage {
        shell,
        head,
        form,
        shared: choices(&known.conf),
        chosen,
        base: known.base(),
        cluster: known.cluster.name,
        errors,
    })
}

pub(super) async fn create_form(State(app): State<App>, who: Who, Path(cluster): Path<String>) -> Page {
    let known = known(&app, &who, &cluster).await?;
    let form = ServiceForm::empty(&known.conf);
    draw(&new_page(&app, who, known, form, Vec::new(), FormErrors::default()).await?)
}

/// A use of a shared resource, from `kind:name`.
pub(super) fn reference(text: &str) -> Result<ResourceSpec, AppError> {
    let (kind, name) = text.split_once(':').ok_or_else(|| AppError::field("shared", "choose a resource"))?;
    Ok(ResourceSpec {
        kind: kind.to_owned(),
        reference: Some(name.to_owned()),
        attributes: Attributes::new(),
        actions: Vec::new(),
        children: Vec::new(),
    })
}

fn check_service_name(name: &str) -> Result<(), AppError> {
    let ok = !name.is_empty() && !name.contains(|c: char| c.is_control() || "<>&\"'/:".contains(c));
    if ok {
        Ok(())
    } else {
        Err(AppError::field("name", "a service name must not be empty, and not contain < > & \" ' / or :"))
    }
}

/// Puts each shared resource below the one before it, when the form asks for that.
fn nest(specs: Vec<ResourceSpec>) -> Vec<ResourceSpec> {
    let mut nested: Vec<ResourceSpec> = Vec::new();
    for mut spec in specs.into_iter().rev() {
        spec.children = std::mem::take(&mut nested);
        nested.push(spec);
    }
    nested
}

pub(super) async fn create(
    State(app): State<App>,
    Path(cluster): Path<String>,
    Posted { who, fields }: Posted,
) -> Page {
    let row = app.cluster(&cluster).await?;
    let bare = fields.text("name").to_owned();
    let name = ServiceName(format!("service:{bare}"));
    let chosen = fields.all("shared");
    let result = async {
        check_service_name(&bare)?;
        let mut resources = chosen.iter().map(|text| reference(text)).collect::<Result<Vec<_>, _>>()?;
        if fields.checked("nested") {
            resources = nest(resources);
        }
        let changes = service_attributes(&fields)?;
        let attributes = changes.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let edit = Edit::AddService { service: ServiceSpec { name: name.clone(), attributes, resources } };
        app.change_conf(&who, &row, fields.base()?, &format!("{name} added"), |_| Ok(vec![edit])).await
    };
    match result.await {
        Ok(done) => {
            let to = service_address(&row, name.as_str());
            changed(&app, &who, &to, &format!("Service {bare} created"), &done).await
        }
        Err(error) => {
            let errors = form_errors(error)?;
            let known = known(&app, &who, &cluster).await?;
            let form = sent_form(&fields, &known);
            draw_refused(&new_page(&app, who, known, form, chosen, errors).await?)
        }
    }
}

pub(super) async fn edit(
    State(app): State<App>,
    Path((cluster, service)): Path<(String, String)>,
    Posted { who, fields }: Posted,
) -> Page {
    let row = app.cluster(&cluster).await?;
    let name = ServiceName::parse(&service);
    let result = async {
        let attributes = service_attributes(&fields)?;
        let edit = Edit::SetService { name: name.clone(), attributes, resources: None };
        app.change_conf(&who, &row, fields.base()?, &format!("properties of {name} changed"), |_| Ok(vec![edit])).await
    };
    match result.await {
        Ok(done) => changed(&app, &who, &service_address(&row, name.as_str()), "Properties changed", &done).await,
        Err(error) => {
            let errors = form_errors(error)?;
            let sent = sent_form(&fields, &known(&app, &who, &cluster).await?);
            let mut page = service_page(&app, who, &cluster, &service, errors).await?;
            page.entered = page.form.as_ref().map(|stored| stored.differing(&sent)).unwrap_or_default();
            draw_refused(&page)
        }
    }
}

pub(super) async fn delete_form(
    State(app): State<App>,
    who: Who,
    Path((cluster, service)): Path<(String, String)>,
) -> Page {
    let known = known(&app, &who, &cluster).await?;
    let name = ServiceName::parse(&service);
    let back = service_address(&known.cluster, name.as_str());
    let heading = format!("Delete {name}");
    draw(&ConfirmPage {
        shell: shell(&app, who, &heading, "services").await?,
        heading,
        paragraphs: vec![
            "The service is stopped where it runs and taken out of the configuration, with the resources that belong to it alone. Shared resources stay.".into(),
            "The present version of the configuration can be brought back under Configure.".into(),
        ],
        action: format!("{back}/delete"),
        button: format!("Delete {name}"),
        danger: true,
        type_name: None,
        base: Some(known.base()),
        hidden: Vec::new(),
        back,
        error: None,
    })
}

pub(super) async fn delete(
    State(app): State<App>,
    Path((cluster, service)): Path<(String, String)>,
    Posted { who, fields }: Posted,
) -> Page {
    let row = app.cluster(&cluster).await?;
    let name = ServiceName::parse(&service);
    let edit = Edit::RemoveService { name: name.clone() };
    let done = app.change_conf(&who, &row, fields.base()?, &format!("{name} deleted"), |_| Ok(vec![edit])).await?;
    changed(&app, &who, &at(&row, "/services"), &format!("{name} deleted"), &done).await
}
