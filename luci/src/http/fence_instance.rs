//! The use of a fence device by a node: a form of its own, because what is asked depends on the device's agent.

use axum::extract::{Path, Query, State};
use serde::Deserialize;
use shared::agents::metadata::{AgentClass, Given};
use shared::conf::edit::{AttributeChanges, Attributes, Edit, MethodSpec};
use shared::ids::NodeName;

use super::configure::{Known, attribute_changes, changed, frame, known};
use super::error::PageError;
use super::pages::{Page, at, draw, draw_refused, form_errors, part};
use super::session::Posted;
use crate::app::agents::check_attributes;
use crate::app::{App, AppError, Who};
use crate::views::fence_form;
use crate::views::manage::FormErrors;
use crate::views::node::FenceInstancePage;

/// Which instance: the place of its method, and its own place in it.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct At {
    method: usize,
    instance: usize,
}

/// The device, its agent, and what stands at the instance itself.
fn stored(known: &Known, node: &NodeName, at: At) -> Result<(String, String, Attributes), AppError> {
    let gone = || AppError::NoSuch { what: "fence instance", name: format!("{}.{} of {node}", at.method, at.instance) };
    let methods = MethodSpec::read(&known.document, node).ok_or_else(gone)?;
    let instance = methods.get(at.method).and_then(|method| method.devices.get(at.instance)).ok_or_else(gone)?;
    let device = known.conf.fence_devices.iter().find(|device| device.name == instance.device);
    let agent = device.map_or_else(String::new, |device| device.agent.clone());
    Ok((instance.device.clone(), agent, instance.attributes.clone()))
}

async fn page(
    app: &App,
    who: Who,
    (cluster, node): (&str, &str),
    place: At,
    sent: Option<Attributes>,
    errors: FormErrors,
) -> Result<FenceInstancePage, PageError> {
    let known = known(app, &who, cluster).await?;
    let (device, agent, stored) = stored(&known, &node.into(), place)?;
    let schema = app.agent_schema(&known.cluster, AgentClass::Fence, &agent).await?;
    let (shell, head) = frame(app, who, &known.cluster, "nodes").await?;
    let back = at(&known.cluster, &format!("/nodes/{}", part(node)));
    Ok(FenceInstancePage {
        shell,
        head,
        base: known.base(),
        heading: format!("{device}, used for {node}"),
        form: fence_form::instance(&agent, schema.as_ref(), sent.as_ref().unwrap_or(&stored)),
        agent,
        method: place.method,
        instance: place.instance,
        back,
        errors,
    })
}

pub(super) async fn fence_instance(
    State(app): State<App>,
    who: Who,
    Path((cluster, node)): Path<(String, String)>,
    Query(place): Query<At>,
) -> Page {
    draw(&page(&app, who, (&cluster, &node), place, None, FormErrors::default()).await?)
}

/// The attributes of the instance after what a form changes.
fn merged(mut attributes: Attributes, changes: &AttributeChanges) -> Attributes {
    for (name, value) in changes {
        match value {
            Some(value) => attributes.insert(name.clone(), value.clone()),
            None => attributes.remove(name),
        };
    }
    attributes
}

pub(super) async fn edit_fence_instance(
    State(app): State<App>,
    Path((cluster, node)): Path<(String, String)>,
    Posted { who, fields }: Posted,
) -> Page {
    let row = app.cluster(&cluster).await?;
    let number = |name: &str| fields.number::<usize>(name, "the place").map(Option::unwrap_or_default);
    let place = At { method: number("method")?, instance: number("instance")? };
    let changes = attribute_changes(&fields);
    let name = NodeName(node.clone());
    let result = async {
        let known = known(&app, &who, &cluster).await?;
        let (device, agent, before) = stored(&known, &name, place)?;
        if let Some(schema) = app.agent_schema(&row, AgentClass::Fence, &agent).await? {
            let shared = known.conf.fence_devices.iter().find(|one| one.name == device);
            let mut whole: Attributes = shared.map(|one| one.attributes.iter().cloned().collect()).unwrap_or_default();
            whole.extend(merged(before, &changes));
            check_attributes(&schema, &whole, |given| given == Given::PerNode)?;
        }
        let message = format!("use of fence device {device} for {node} changed");
        app.change_conf(&who, &row, fields.base()?, &message, |current| {
            let gone = || AppError::Conflict("this fence method is not there any more; reload the page".into());
            let mut methods = MethodSpec::read(&current.loaded.document, &name).ok_or_else(gone)?;
            let method = methods.get_mut(place.method).ok_or_else(gone)?;
            let instance =
                method.devices.get_mut(place.instance).filter(|one| one.device == device).ok_or_else(gone)?;
            instance.attributes = merged(std::mem::take(&mut instance.attributes), &changes);
            Ok(vec![Edit::SetFenceMethods { node: name.clone(), methods }])
        })
        .await
    };
    match result.await {
        Ok(done) => {
            let back = at(&row, &format!("/nodes/{}", part(&node)));
            changed(&app, &who, &back, "Fence instance changed", &done).await
        }
        Err(error) => {
            let errors = form_errors(error)?;
            let sent = changes.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
            draw_refused(&page(&app, who, (&cluster, &node), place, Some(sent), errors).await?)
        }
    }
}
