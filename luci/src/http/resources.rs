//! Shared resources: defined once, used by any number of services.

use axum::extract::{Path, Query, State};
use serde::Deserialize;
use shared::agents::mapping;
use shared::conf::edit::{Attributes, Edit};
use shared::conf::model::Conf;

use super::configure::{Known, attribute_changes, changed, frame, known, new_attributes};
use super::error::PageError;
use super::pages::{Page, at, draw, draw_refused, form_errors, part};
use super::session::Posted;
use crate::app::conf::Current;
use crate::app::{App, AppError, Who, detach};
use crate::views::conf::{KindsPage, ResourcePage, ResourcesPage, ThingLine};
use crate::views::fields::{AttributeForm, kind_choices, kind_title};
use crate::views::manage::FormErrors;

/// Services that refer to a shared resource.
fn users(known: &Known, kind: &str, name: &str) -> Vec<String> {
    let services = known.conf.services.iter().filter(|service| {
        let (element, bare) = service.name.0.split_once(':').unwrap_or(("service", &service.name.0));
        known
            .document
            .select(&format!("/cluster/rm/{element}"))
            .into_iter()
            .filter(|id| known.document.attribute(*id, "name") == Some(bare))
            .flat_map(|id| known.document.descendants(id))
            .any(|id| known.document.name(id) == kind && known.document.attribute(id, "ref") == Some(name))
    });
    services.map(|service| service.name.to_string()).collect()
}

/// Shared resources to choose from: `kind:name` and text.
pub(super) fn choices(conf: &Conf) -> Vec<(String, String)> {
    conf.resources
        .iter()
        .map(|one| (format!("{}:{}", one.kind, one.name), format!("{} ({})", one.name, kind_title(&one.kind))))
        .collect()
}

pub(super) async fn list(State(app): State<App>, who: Who, Path(cluster): Path<String>) -> Page {
    let known = known(&app, &who, &cluster).await?;
    let resources = known.conf.resources.iter().map(|resource| ThingLine {
        name: resource.name.clone(),
        kind: resource.kind.clone(),
        title: kind_title(&resource.kind),
        detail: resource
            .attributes
            .iter()
            .filter(|(name, value)| name != "name" && *value != resource.name && !crate::secrets::is_secret(name))
            .take(3)
            .map(|(name, value)| format!("{name} {value}"))
            .collect::<Vec<_>>()
            .join(", "),
        used_by: users(&known, &resource.kind, &resource.name),
    });
    let resources = resources.collect();
    let (shell, head) = frame(&app, who, &known.cluster, "resources").await?;
    draw(&ResourcesPage { shell, head, resources })
}

#[derive(Debug, Deserialize)]
pub(super) struct Kind {
    #[serde(default)]
    kind: String,
}

/// A name of an element that cluster.conf may have.
pub(super) fn check_kind(kind: &str) -> Result<(), AppError> {
    let ok = !kind.is_empty() && kind.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if ok { Ok(()) } else { Err(AppError::NoSuch { what: "type of resource", name: kind.to_owned() }) }
}

async fn page(
    app: &App,
    who: Who,
    known: Known,
    kind: &str,
    existing: Option<&str>,
    attributes: &Attributes,
    errors: FormErrors,
) -> Result<ResourcePage, PageError> {
    let title = kind_title(kind);
    let root = at(&known.cluster, "");
    let own = existing.map(|name| format!("{root}/resources/{}/{}", part(kind), part(name)));
    let (shell, head) = frame(app, who, &known.cluster, "resources").await?;
    Ok(ResourcePage {
        shell,
        head,
        heading: match existing {
            Some(name) => format!("{title} {name}"),
            None => format!("Add a resource: {title}"),
        },
        action: own.clone().unwrap_or_else(|| format!("{root}/add-resource")),
        button: if existing.is_some() { "Apply".into() } else { "Add resource".into() },
        back: format!("{root}/resources"),
        kind: kind.to_owned(),
        title,
        form: AttributeForm::resource(kind, attributes),
        isolation: Vec::new(),
        parent: None,
        delete: own.map(|own| format!("{own}/delete")),
        used_by: existing.map(|name| users(&known, kind, name)).unwrap_or_default(),
        note: mapping::kind(kind).and_then(|row| row.note),
        base: known.base(),
        errors,
    })
}

pub(super) async fn create_form(
    State(app): State<App>,
    who: Who,
    Path(cluster): Path<String>,
    Query(Kind { kind }): Query<Kind>,
) -> Page {
    let known = known(&app, &who, &cluster).await?;
    if kind.is_empty() {
        let root = at(&known.cluster, "");
        let (shell, head) = frame(&app, who, &known.cluster, "resources").await?;
        return draw(&KindsPage {
            shell,
            head,
            heading: "Add a resource".into(),
            kinds: kind_choices(),
            to: format!("{root}/add-resource?kind="),
            back: format!("{root}/resources"),
            shared: Vec::new(),
            action: String::new(),
            parent: String::new(),
            base: known.base(),
        });
    }
    check_kind(&kind)?;
    draw(&page(&app, who, known, &kind, None, &Attributes::new(), FormErrors::default()).await?)
}

/// The field names of a form begin with `a-`; errors about attributes must find them.
pub(super) fn at_fields(mut errors: FormErrors) -> FormErrors {
    for (field, _) in &mut errors.0 {
        if field != "form" && !field.starts_with("a-") {
            *field = format!("a-{field}");
        }
    }
    errors
}

pub(super) async fn create(
    State(app): State<App>,
    Path(cluster): Path<String>,
    Posted { who, fields }: Posted,
) -> Page {
    let row = app.cluster(&cluster).await?;
    let kind = fields.text("kind").to_owned();
    check_kind(&kind)?;
    let attributes = new_attributes(&fields);
    let sent = attributes.clone();
    let result = async {
        let name = mapping::primary_value(&kind, |name| attributes.get(name).map(String::as_str)).unwrap_or_default();
        let message = format!("resource {kind}:{name} added");
        let edit = Edit::AddResource { kind: kind.clone(), attributes };
        app.change_conf(&who, &row, fields.base()?, &message, |_| Ok(vec![edit])).await
    };
    match result.await {
        Ok(done) => changed(&app, &who, &at(&row, "/resources"), "Resource added", &done).await,
        Err(error) => {
            let errors = at_fields(form_errors(error)?);
            let known = known(&app, &who, &cluster).await?;
            draw_refused(&page(&app, who, known, &kind, None, &sent, errors).await?)
        }
    }
}

fn stored(known: &Known, kind: &str, name: &str) -> Result<Attributes, AppError> {
    let found = known.conf.resources.iter().find(|one| one.kind == kind && one.name == name);
    let found = found.ok_or_else(|| AppError::NoSuch { what: "resource", name: format!("{kind}:{name}") })?;
    Ok(found.attributes.iter().cloned().collect())
}

pub(super) async fn resource(
    State(app): State<App>,
    who: Who,
    Path((cluster, kind, name)): Path<(String, String, String)>,
) -> Page {
    let known = known(&app, &who, &cluster).await?;
    let attributes = stored(&known, &kind, &name)?;
    draw(&page(&app, who, known, &kind, Some(&name), &attributes, FormErrors::default()).await?)
}

pub(super) async fn edit(
    State(app): State<App>,
    Path((cluster, kind, name)): Path<(String, String, String)>,
    Posted { who, fields }: Posted,
) -> Page {
    let row = app.cluster(&cluster).await?;
    let result = async {
        let edit = Edit::SetResource { kind: kind.clone(), name: name.clone(), attributes: attribute_changes(&fields) };
        app.change_conf(&who, &row, fields.base()?, &format!("resource {kind}:{name} changed"), |_| Ok(vec![edit]))
            .await
    };
    match result.await {
        Ok(done) => changed(&app, &who, &at(&row, "/resources"), &format!("Resource {name} changed"), &done).await,
        Err(error) => {
            let errors = at_fields(form_errors(error)?);
            let known = known(&app, &who, &cluster).await?;
            let sent = new_attributes(&fields);
            draw_refused(&page(&app, who, known, &kind, Some(&name), &sent, errors).await?)
        }
    }
}

pub(super) async fn delete(
    State(app): State<App>,
    Path((cluster, kind, name)): Path<(String, String, String)>,
    Posted { who, fields }: Posted,
) -> Page {
    let row = app.cluster(&cluster).await?;
    let everywhere = fields.checked("detach");
    let message = format!("resource {kind}:{name} deleted");
    let edits = |current: &Current| match everywhere {
        true => detach::resource(current, &kind, &name),
        false => Ok(vec![Edit::RemoveResource { kind: kind.clone(), name: name.clone() }]),
    };
    let done = app.change_conf(&who, &row, fields.base()?, &message, edits).await?;
    changed(&app, &who, &at(&row, "/resources"), &format!("Resource {name} deleted"), &done).await
}
