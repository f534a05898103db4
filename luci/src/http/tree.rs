//! The tree of resources of a service: what to add where, the form of each resource, its place, and taking it out. Every
//! change is a step of the reader's draft.

use axum::extract::{Path, Query, State};
use serde::Deserialize;
use shared::conf::edit::{AttributeChanges, ResourceSpec, ServiceSpec};
use shared::ids::{NodeName, ServiceName};

use super::configure::{Known, attribute_changes, changed, frame, known, new_attributes};
use super::error::PageError;
use super::forms::Fields;
use super::pages::{Page, draw, draw_refused, form_errors, snapshot};
use super::resource_page::{
    self, Subject, at_fields, check_kind, checked, chosen_agent, may_be_sent, merged_actions, sent_actions,
    with_changes,
};
use super::resources::{choice_page, choices};
use super::services::{reference, service_address};
use super::session::Posted;
use crate::app::conf::Changed;
use crate::app::tree::{self, Direction, Place, TreeChange};
use crate::app::{App, AppError, Who};
use crate::repo::clusters::Cluster;
use crate::views::fields::kind_title;
use crate::views::manage::FormErrors;
use crate::views::resources::{KindsPage, RemovePage, ResourcePage, spec_name};

fn gone() -> AppError {
    AppError::Conflict("this resource is not there any more; reload the page".into())
}

/// Changes the tree of a service as a step of the draft. `place` must still hold what the page showed.
async fn change(
    app: &App,
    who: &Who,
    cluster: &Cluster,
    (service, place): (&ServiceName, &Place),
    fields: &Fields,
    message: &str,
    change: TreeChange,
) -> Result<Changed, AppError> {
    let expected = fields.text("expected");
    app.change_in_draft(who, cluster, fields.base()?, message, |current| {
        let edit = tree::edit(current, service, |resources| {
            tree::expect(resources, place, expected)?;
            tree::apply(resources, &change)
        })?;
        Ok(vec![edit])
    })
    .await
}

fn resources(known: &Known, service: &ServiceName) -> Result<Vec<ResourceSpec>, AppError> {
    let spec = ServiceSpec::read(&known.document, service);
    spec.map(|spec| spec.resources).ok_or_else(|| AppError::NoSuch { what: "service", name: service.0.clone() })
}

/// The node on which an agent is asked first: where the service runs.
fn owner(app: &App, cluster: &Cluster, service: &ServiceName) -> Option<NodeName> {
    let snapshot = snapshot(app, cluster);
    snapshot.live().and_then(|status| status.service(service)?.owner.clone())
}

#[derive(Debug, Deserialize)]
pub(super) struct NewResource {
    #[serde(default)]
    parent: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    agent: String,
    #[serde(default)]
    q: String,
    /// Among the children of the parent.
    at: Option<usize>,
}

/// Where a new resource goes.
#[derive(Debug, Clone)]
struct Spot {
    parent: String,
    /// Among the children of the parent; `None`: behind them all.
    at: Option<usize>,
    /// What stands at the parent's place.
    expected: String,
}

pub(super) async fn add_resource_form(
    State(app): State<App>,
    who: Who,
    Path((cluster, service)): Path<(String, String)>,
    Query(new): Query<NewResource>,
) -> Page {
    let known = known(&app, &who, &cluster).await?;
    let name = ServiceName::parse(&service);
    let resources = resources(&known, &name)?;
    let parent: Place = new.parent.parse()?;
    let above = tree::find(&resources, &parent);
    if above.is_none() && !new.parent.is_empty() {
        return Err(gone().into());
    }
    if new.kind.is_empty() {
        let root = service_address(&known.cluster, name.as_str());
        let above_name =
            above.map_or(name.to_string(), |spec| format!("{} {}", kind_title(&spec.kind), spec_name(spec)));
        let (shared, expected) = (choices(&known.conf), above.map(tree::identity).unwrap_or_default());
        let page = choice_page(&app, who, &known, "services", new.q).await?;
        return draw(&KindsPage {
            heading: add_heading(&above_name),
            to: format!("{root}/add-resource"),
            back: root,
            shared,
            parent: Some(new.parent),
            at: new.at,
            expected,
            ..page
        });
    }
    check_kind(&new.kind)?;
    let spot = Spot { expected: above.map(tree::identity).unwrap_or_default(), parent: new.parent, at: new.at };
    let subject =
        Subject { kind: new.kind, attributes: chosen_agent(&new.agent)?, in_tree: true, ..Subject::default() };
    draw(&new_page(&app, who, known, (&name, spot), &subject, FormErrors::default()).await?)
}

fn add_heading(above: &str) -> String {
    format!("Add a resource to {above}")
}

async fn new_page(
    app: &App,
    who: Who,
    known: Known,
    (service, spot): (&ServiceName, Spot),
    subject: &Subject,
    errors: FormErrors,
) -> Result<ResourcePage, PageError> {
    let root = service_address(&known.cluster, service.as_str());
    let mut page = resource_page::page(app, who, known, "services", subject, errors).await?;
    page.hidden.extend(spot.at.map(|at| ("at".to_owned(), at.to_string())));
    let (title, name) = (page.title.clone(), service);
    Ok(ResourcePage {
        heading: format!("Add to {name}: {title}"),
        action: format!("{root}/add-resource"),
        back: root,
        parent: Some(spot.parent),
        expected: spot.expected,
        ..page
    })
}

/// A new resource as its form describes it.
fn sent(fields: &Fields) -> Subject {
    Subject {
        kind: fields.text("kind").to_owned(),
        attributes: new_attributes(fields),
        actions: sent_actions(fields).unwrap_or_default(),
        in_tree: true,
        ..Subject::default()
    }
}

pub(super) async fn add_resource(
    State(app): State<App>,
    Path((cluster, service)): Path<(String, String)>,
    Posted { who, fields }: Posted,
) -> Page {
    let row = app.cluster(&cluster).await?;
    let name = ServiceName::parse(&service);
    let subject = sent(&fields);
    let spot = Spot {
        parent: fields.text("parent").to_owned(),
        at: fields.number("at", "the place among the children")?,
        expected: fields.text("expected").to_owned(),
    };
    let about = (&name, spot.clone());
    if fields.checked("check") {
        check_kind(&subject.kind)?;
        let known = known(&app, &who, &cluster).await?;
        let (errors, panel) = checked(&app, &known, &subject, owner(&app, &row, &name).as_ref()).await?;
        let page = new_page(&app, who, known, about, &subject, errors).await?;
        return draw(&ResourcePage { checked: panel, ..page });
    }
    match add(&app, &who, &row, (&name, &spot), &subject, &fields).await {
        Ok(done) => changed(&app, &who, &service_address(&row, name.as_str()), "Resource added", &done).await,
        Err(error) if subject.kind.is_empty() => Err(error.into()),
        Err(error) => {
            let errors = at_fields(form_errors(error)?);
            let known = known(&app, &who, &cluster).await?;
            draw_refused(&new_page(&app, who, known, about, &subject, errors).await?)
        }
    }
}

async fn add(
    app: &App,
    who: &Who,
    cluster: &Cluster,
    (service, spot): (&ServiceName, &Spot),
    subject: &Subject,
    fields: &Fields,
) -> Result<Changed, AppError> {
    let parent: Place = spot.parent.parse()?;
    let resource = match fields.optional("shared") {
        Some(shared) => reference(&shared)?,
        None => {
            check_kind(&subject.kind)?;
            app.check_resource(cluster, subject.sketch()).await?;
            ResourceSpec {
                kind: subject.kind.clone(),
                reference: None,
                attributes: subject.attributes.clone(),
                actions: merged_actions(&[], &subject.actions),
                children: Vec::new(),
            }
        }
    };
    let name = service;
    let message = format!("{} {} added to {name}", resource.kind, spec_name(&resource));
    let added = TreeChange::Add { parent: parent.clone(), at: spot.at, resource };
    change(app, who, cluster, (service, &parent), fields, &message, added).await
}

/// What stands at a place, for its form.
fn stored(known: &Known, service: &ServiceName, place: &Place) -> Result<(ResourceSpec, Subject), AppError> {
    let spec = tree::find(&resources(known, service)?, place).cloned().ok_or_else(gone)?;
    let subject = Subject {
        kind: spec.kind.clone(),
        attributes: spec.attributes.clone(),
        actions: spec.actions.clone(),
        reference: spec.reference.clone(),
        exists: true,
        in_tree: true,
    };
    Ok((spec, subject))
}

async fn place_page(
    app: &App,
    who: Who,
    known: Known,
    (service, place, expected): (&ServiceName, &Place, String),
    subject: &Subject,
    errors: FormErrors,
) -> Result<ResourcePage, PageError> {
    let root = service_address(&known.cluster, service.as_str());
    let page = resource_page::page(app, who, known, "services", subject, errors).await?;
    let (title, name) = (page.title.clone(), service);
    Ok(ResourcePage {
        heading: format!("{title} in {name}"),
        action: format!("{root}/resources/{place}"),
        back: root,
        expected,
        ..page
    })
}

pub(super) async fn resource_form(
    State(app): State<App>,
    who: Who,
    Path((cluster, service, place)): Path<(String, String, String)>,
) -> Page {
    let known = known(&app, &who, &cluster).await?;
    let name = ServiceName::parse(&service);
    let place: Place = place.parse()?;
    let (spec, subject) = stored(&known, &name, &place)?;
    let about = (&name, &place, tree::identity(&spec));
    draw(&place_page(&app, who, known, about, &subject, FormErrors::default()).await?)
}

/// What a form changes: attributes that it shows, except a secret that was left empty.
fn sent_changes(fields: &Fields, reference: bool) -> AttributeChanges {
    attribute_changes(fields).into_iter().filter(|(name, _)| may_be_sent(reference, name)).collect()
}

pub(super) async fn edit_resource(
    State(app): State<App>,
    Path((cluster, service, place)): Path<(String, String, String)>,
    Posted { who, fields }: Posted,
) -> Page {
    let row = app.cluster(&cluster).await?;
    let name = ServiceName::parse(&service);
    let place: Place = place.parse()?;
    let known = known(&app, &who, &cluster).await?;
    let (spec, before) = stored(&known, &name, &place)?;
    let changes = sent_changes(&fields, before.reference.is_some());
    let actions = sent_actions(&fields);
    let after = with_changes(&before, &changes, actions.as_ref());
    let about = (&name, &place, tree::identity(&spec));
    if fields.checked("check") {
        let (errors, panel) = checked(&app, &known, &after, owner(&app, &row, &name).as_ref()).await?;
        let page = place_page(&app, who, known, about, &after, errors).await?;
        return draw(&ResourcePage { checked: panel, ..page });
    }
    let result = async {
        app.check_resource(&row, after.sketch()).await?;
        let actions = actions.as_ref().map(|sent| merged_actions(&before.actions, sent));
        let message = format!("resource of {name} changed");
        let set = TreeChange::Set { place: place.clone(), attributes: changes, actions };
        change(&app, &who, &row, (&name, &place), &fields, &message, set).await
    };
    match result.await {
        Ok(done) => changed(&app, &who, &service_address(&row, name.as_str()), "Resource changed", &done).await,
        Err(error) => {
            let errors = at_fields(form_errors(error)?);
            draw_refused(&place_page(&app, who, known, about, &after, errors).await?)
        }
    }
}

pub(super) async fn move_resource(
    State(app): State<App>,
    Path((cluster, service, place)): Path<(String, String, String)>,
    Posted { who, fields }: Posted,
) -> Page {
    let row = app.cluster(&cluster).await?;
    let name = ServiceName::parse(&service);
    let place: Place = place.parse()?;
    let to = match fields.text("to") {
        "up" => Direction::Up,
        "down" => Direction::Down,
        "in" => Direction::In,
        "out" => Direction::Out,
        other => return Err(AppError::NoSuch { what: "direction", name: other.to_owned() }.into()),
    };
    let message = format!("resources of {name} reordered");
    let moved = TreeChange::Move { place: place.clone(), to };
    let done = change(&app, &who, &row, (&name, &place), &fields, &message, moved).await?;
    changed(&app, &who, &service_address(&row, name.as_str()), "Resources reordered", &done).await
}

pub(super) async fn remove_form(
    State(app): State<App>,
    who: Who,
    Path((cluster, service, place)): Path<(String, String, String)>,
) -> Page {
    let known = known(&app, &who, &cluster).await?;
    let name = ServiceName::parse(&service);
    let place: Place = place.parse()?;
    let (spec, _) = stored(&known, &name, &place)?;
    let root = service_address(&known.cluster, name.as_str());
    let (shell, head) = frame(&app, who, &known.cluster, "services").await?;
    draw(&RemovePage {
        shell,
        head,
        heading: format!("Remove {} from {name}", spec_name(&spec)),
        name: spec_name(&spec),
        shared: spec.reference.is_some(),
        children: below(&spec.children),
        action: format!("{root}/resources/{place}/remove"),
        back: root,
        expected: tree::identity(&spec),
        base: known.base(),
    })
}

/// Everything below, by name.
fn below(specs: &[ResourceSpec]) -> Vec<String> {
    specs
        .iter()
        .flat_map(|spec| std::iter::once(format!("{} {}", spec.kind, spec_name(spec))).chain(below(&spec.children)))
        .collect()
}

pub(super) async fn remove_resource(
    State(app): State<App>,
    Path((cluster, service, place)): Path<(String, String, String)>,
    Posted { who, fields }: Posted,
) -> Page {
    let row = app.cluster(&cluster).await?;
    let name = ServiceName::parse(&service);
    let place: Place = place.parse()?;
    let message = format!("resource removed from {name}");
    let keep_children = fields.text("children") == "keep";
    let removed = TreeChange::Remove { place: place.clone(), keep_children };
    let done = change(&app, &who, &row, (&name, &place), &fields, &message, removed).await?;
    changed(&app, &who, &service_address(&row, name.as_str()), "Resource removed", &done).await
}
