//! Shared resources: defined once, used by any number of services.

use axum::extract::{Path, Query, State};
use serde::Deserialize;
use shared::agents::mapping;
use shared::agents::metadata::AgentClass;
use shared::conf::edit::{Edit, ResourceSpec};
use shared::conf::model::Conf;

use super::configure::{Known, attribute_changes, changed, frame, known, new_attributes};
use super::error::PageError;
use super::forms::Fields;
use super::pages::{Page, at, draw, draw_refused, form_errors, part};
use super::resource_page::{
    self, Subject, at_fields, check_kind, checked, chosen_agent, merged_actions, sent_actions, with_changes,
};
use super::session::Posted;
use crate::app::conf::{Changed, Current};
use crate::app::resources::users_of;
use crate::app::{App, AppError, Who, detach};
use crate::repo::clusters::Cluster;
use crate::views::conf::ThingLine;
use crate::views::fields::{kind_choices, kind_title};
use crate::views::manage::FormErrors;
use crate::views::resources::{KindsPage, ResourcePage, ResourcesPage, agent_matches, kind_matches};

/// Services that refer to a shared resource.
fn users(known: &Known, kind: &str, name: &str) -> Vec<String> {
    users_of(&known.document, &known.conf, kind, name)
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
pub(super) struct Chosen {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    agent: String,
    #[serde(default)]
    q: String,
}

/// What can be added, by the words that were searched for.
pub(super) async fn choice_page(
    app: &App,
    who: Who,
    known: &Known,
    tab: &'static str,
    query: String,
) -> Result<KindsPage, PageError> {
    let mut agents = app.agent_choices(&known.cluster, AgentClass::Resource).await?;
    let agents_all = agents.len();
    agents.retain(|agent| agent_matches(agent, &query));
    let mut kinds = kind_choices();
    kinds.retain(|kind| kind_matches(kind, &query));
    let (shell, head) = frame(app, who, &known.cluster, tab).await?;
    let root = at(&known.cluster, "");
    Ok(KindsPage {
        shell,
        head,
        heading: "Add a resource".into(),
        query,
        kinds,
        agents,
        agents_all,
        to: format!("{root}/add-resource"),
        back: format!("{root}/resources"),
        shared: Vec::new(),
        parent: None,
        at: None,
        expected: String::new(),
        base: known.base(),
    })
}

async fn page(
    app: &App,
    who: Who,
    known: Known,
    existing: Option<&str>,
    subject: &Subject,
    errors: FormErrors,
) -> Result<ResourcePage, PageError> {
    let root = at(&known.cluster, "");
    let own = existing.map(|name| format!("{root}/resources/{}/{}", part(&subject.kind), part(name)));
    let used_by = existing.map(|name| users(&known, &subject.kind, name)).unwrap_or_default();
    let page = resource_page::page(app, who, known, "resources", subject, errors).await?;
    let title = page.title.clone();
    Ok(ResourcePage {
        heading: match existing {
            Some(name) => format!("{title}: {name}"),
            None => format!("Add a resource: {title}"),
        },
        action: own.clone().unwrap_or_else(|| format!("{root}/add-resource")),
        back: format!("{root}/resources"),
        delete: own.map(|own| format!("{own}/delete")),
        used_by,
        ..page
    })
}

pub(super) async fn create_form(
    State(app): State<App>,
    who: Who,
    Path(cluster): Path<String>,
    Query(Chosen { kind, agent, q }): Query<Chosen>,
) -> Page {
    let known = known(&app, &who, &cluster).await?;
    if kind.is_empty() {
        return draw(&choice_page(&app, who, &known, "resources", q).await?);
    }
    check_kind(&kind)?;
    let subject = Subject { kind, attributes: chosen_agent(&agent)?, ..Subject::default() };
    draw(&page(&app, who, known, None, &subject, FormErrors::default()).await?)
}

pub(super) async fn create(
    State(app): State<App>,
    Path(cluster): Path<String>,
    Posted { who, fields }: Posted,
) -> Page {
    let row = app.cluster(&cluster).await?;
    let kind = fields.text("kind").to_owned();
    check_kind(&kind)?;
    let actions = sent_actions(&fields).unwrap_or_default();
    let subject = Subject { kind, attributes: new_attributes(&fields), actions, ..Subject::default() };
    if fields.checked("check") {
        let known = known(&app, &who, &cluster).await?;
        let (errors, panel) = checked(&app, &known, &subject, None).await?;
        let page = page(&app, who, known, None, &subject, errors).await?;
        return draw(&ResourcePage { checked: panel, ..page });
    }
    let result = async {
        app.check_resource(&row, subject.sketch()).await?;
        let Subject { kind, attributes, actions, .. } = subject.clone();
        let name = mapping::primary_value(&kind, |name| attributes.get(name).map(String::as_str)).unwrap_or_default();
        let message = format!("resource {kind}:{name} added");
        let edit = Edit::AddResource { kind, attributes, actions: merged_actions(&[], &actions) };
        // Nothing uses it yet, so nothing that runs is changed by it.
        app.change_conf(&who, &row, fields.base()?, &message, |_| Ok(vec![edit])).await
    };
    match result.await {
        Ok(done) => changed(&app, &who, &at(&row, "/resources"), "Resource added", &done).await,
        Err(error) => {
            let errors = at_fields(form_errors(error)?);
            let known = known(&app, &who, &cluster).await?;
            draw_refused(&page(&app, who, known, None, &subject, errors).await?)
        }
    }
}

fn stored(known: &Known, kind: &str, name: &str) -> Result<Subject, AppError> {
    let found = ResourceSpec::read_shared(&known.document, kind, name);
    let found = found.ok_or_else(|| AppError::NoSuch { what: "resource", name: format!("{kind}:{name}") })?;
    let ResourceSpec { kind, attributes, actions, .. } = found;
    Ok(Subject { kind, attributes, actions, exists: true, ..Subject::default() })
}

pub(super) async fn resource(
    State(app): State<App>,
    who: Who,
    Path((cluster, kind, name)): Path<(String, String, String)>,
) -> Page {
    let known = known(&app, &who, &cluster).await?;
    let subject = stored(&known, &kind, &name)?;
    draw(&page(&app, who, known, Some(&name), &subject, FormErrors::default()).await?)
}

pub(super) async fn edit(
    State(app): State<App>,
    Path((cluster, kind, name)): Path<(String, String, String)>,
    Posted { who, fields }: Posted,
) -> Page {
    let row = app.cluster(&cluster).await?;
    let known = known(&app, &who, &cluster).await?;
    let before = stored(&known, &kind, &name)?;
    let changes = attribute_changes(&fields);
    let sent = sent_actions(&fields);
    let after = with_changes(&before, &changes, sent.as_ref());
    if fields.checked("check") {
        let (errors, panel) = checked(&app, &known, &after, None).await?;
        let page = page(&app, who, known, Some(&name), &after, errors).await?;
        return draw(&ResourcePage { checked: panel, ..page });
    }
    let result = async {
        app.check_resource(&row, after.sketch()).await?;
        let actions = sent.as_ref().map(|sent| merged_actions(&before.actions, sent));
        let edit = Edit::SetResource { kind: kind.clone(), name: name.clone(), attributes: changes, actions };
        let message = format!("resource {kind}:{name} changed");
        change_used(&app, &who, &row, !users(&known, &kind, &name).is_empty(), &fields, &message, |_| Ok(vec![edit]))
            .await
    };
    match result.await {
        Ok(done) => changed(&app, &who, &at(&row, "/resources"), &format!("Resource {name} changed"), &done).await,
        Err(error) => {
            let errors = at_fields(form_errors(error)?);
            draw_refused(&page(&app, who, known, Some(&name), &after, errors).await?)
        }
    }
}

/// A change of a resource that services use is collected in a draft, as a change of their trees is; of one that none uses it is
/// made like any other.
async fn change_used(
    app: &App,
    who: &Who,
    cluster: &Cluster,
    used: bool,
    fields: &Fields,
    message: &str,
    make: impl FnOnce(&Current) -> Result<Vec<Edit>, AppError>,
) -> Result<Changed, AppError> {
    match used {
        true => app.change_in_draft(who, cluster, fields.base()?, message, make).await,
        false => app.change_conf(who, cluster, fields.base()?, message, make).await,
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
    // Without a word about its users, one that is in use is refused, and no draft is begun for that.
    let done = change_used(&app, &who, &row, everywhere, &fields, &message, edits).await?;
    changed(&app, &who, &at(&row, "/resources"), &format!("Resource {name} deleted"), &done).await
}
