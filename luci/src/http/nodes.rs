//! Nodes of a cluster: list, one node, orders to it, its fence methods, adding, pairing, deleting.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect};
use shared::agents::metadata::{AgentClass, AgentSchema};
use shared::conf::Document;
use shared::conf::edit::{AttributeChanges, Edit, InstanceSpec, MethodSpec};
use shared::conf::model::Conf;
use shared::ids::NodeName;
use shared::status::Command;

use super::configure::{changed, new_attributes};
use super::error::PageError;
use super::forms::Fields;
use super::pages::{
    Page, at, cluster_shell, draw, draw_refused, form_errors, go, known_conf, part, request_flash, shell, snapshot,
};
use super::session::Posted;
use crate::app::agents::check_attributes;
use crate::app::nodes::NodeOrder;
use crate::app::{App, AppError, Who};
use crate::repo::clusters::Cluster;
use crate::repo::events::EventFilter;
use crate::views::cluster::HeadPanel;
use crate::views::events::EventsPanel;
use crate::views::fencing::MethodLine;
use crate::views::manage::{ConfirmPage, FormErrors, NodeRowForm};
use crate::views::node::{DeviceChoice, NodeFormPage, NodePage, NodePanel, NodesPage, NodesPanel, methods};
use crate::watcher::Snapshot;

/// Events on the page of a node.
const EVENTS: i64 = 20;

pub(super) async fn nodes_panel(
    app: &App,
    who: &Who,
    cluster: &Cluster,
    snapshot: &Snapshot,
) -> Result<NodesPanel, PageError> {
    let rows = app.repo.nodes_of(cluster.id).await?;
    let conf = known_conf(app, cluster).await?;
    Ok(NodesPanel::new(&cluster.name, &rows, snapshot, conf.as_deref(), who))
}

pub(super) async fn nodes(State(app): State<App>, who: Who, Path(cluster): Path<String>) -> Page {
    let cluster = app.cluster(&cluster).await?;
    let snapshot = snapshot(&app, &cluster);
    draw(&NodesPage {
        head: HeadPanel::new(&cluster.name, &snapshot, &who),
        nodes: nodes_panel(&app, &who, &cluster, &snapshot).await?,
        shell: cluster_shell(&app, who, &cluster, "nodes", "head,nodes").await?,
    })
}

pub(super) async fn node_panel(
    app: &App,
    who: &Who,
    cluster: &Cluster,
    name: &str,
    snapshot: &Snapshot,
) -> Result<NodePanel, PageError> {
    let row = app.node(cluster, name).await?;
    let conf = known_conf(app, cluster).await?;
    Ok(NodePanel::new(&cluster.name, &row, snapshot, conf.as_deref(), who))
}

async fn node_page(app: &App, who: Who, cluster: &str, name: &str, errors: FormErrors) -> Result<NodePage, PageError> {
    let cluster = app.cluster(cluster).await?;
    let snapshot = snapshot(app, &cluster);
    let working = app.working_conf(&who, &cluster).await?;
    let version = working.as_ref().map_or_else(String::new, |stored| stored.version.to_string());
    let conf = working.and_then(|stored| shared::conf::load(&stored.text).conf);
    let filter = EventFilter { subject: Some(("node", name.to_owned())), ..EventFilter::default() };
    let events = app.repo.events(cluster.id, &filter, EVENTS).await?;
    let configured = conf.as_ref().and_then(|conf| conf.node(&name.into()));
    let domains = conf.iter().flat_map(|conf| &conf.domains).filter_map(|domain| {
        let (_, priority) = domain.nodes.iter().find(|(node, _)| node.as_str() == name)?;
        let text = if domain.ordered { format!("priority {priority}") } else { "member".into() };
        Some((domain.name.to_string(), text))
    });
    let devices = conf.iter().flat_map(|conf| &conf.fence_devices);
    Ok(NodePage {
        head: HeadPanel::new(&cluster.name, &snapshot, &who),
        node: node_panel(app, &who, &cluster, name, &snapshot).await?,
        events: EventsPanel::new(&events),
        name: name.to_owned(),
        root: node_address(&cluster, name),
        methods: methods(configured, conf.as_ref()),
        standings: app.method_standings(&cluster, Some(&name.into())).await?.iter().map(MethodLine::new).collect(),
        devices: devices.map(|d| DeviceChoice { name: d.name.clone(), agent: d.agent.clone() }).collect(),
        domains: domains.collect(),
        votes: configured.map_or_else(String::new, |node| node.votes.to_string()),
        altname: configured.and_then(|node| node.altname.clone()).unwrap_or_default(),
        configured: configured.is_some(),
        base: version,
        errors,
        shell: cluster_shell(app, who, &cluster, "nodes", &format!("head,node,events&node={}", part(name))).await?,
        cluster: cluster.name,
    })
}

pub(super) async fn node(State(app): State<App>, who: Who, Path((cluster, node)): Path<(String, String)>) -> Page {
    draw(&node_page(&app, who, &cluster, &node, FormErrors::default()).await?)
}

fn node_address(cluster: &Cluster, node: &str) -> String {
    at(cluster, &format!("/nodes/{}", part(node)))
}

/// What each order means, before it is given.
fn order_words(order: &str, node: &str) -> Option<(String, Vec<String>, String)> {
    let say = |heading: String, paragraphs: &[&str], button: String| {
        Some((heading, paragraphs.iter().map(|text| (*text).to_owned()).collect(), button))
    };
    match order {
        "leave" => say(
            format!("Let {node} leave the cluster"),
            &[
                "Its services move to other nodes first; then the cluster software is stopped there, and no longer started at boot.",
                "The node stays in the configuration and can join again.",
            ],
            format!("Let {node} leave"),
        ),
        "standby" => say(
            format!("Put {node} in standby"),
            &[
                "It stays a member with its vote, but gives its services away and takes none until it is taken out of standby. They come home then.",
                "Services that may run nowhere else are stopped.",
            ],
            format!("Put {node} in standby"),
        ),
        "reboot" => say(
            format!("Reboot {node}"),
            &["The node shuts down in order: its services move to other nodes first."],
            format!("Reboot {node}"),
        ),
        "fence" => say(
            format!("Fence {node}"),
            &[
                "The node is cut off at once by its fence methods, usually by cutting its power. What runs there is interrupted, and started on other nodes once the fencing has succeeded.",
            ],
            format!("Fence {node}"),
        ),
        "acknowledge-fence" => say(
            format!("Acknowledge by hand that {node} is down"),
            &[
                "Do this only after you have checked with your own eyes, or by its power supply, that the node is powered off or cut from all shared storage and networks.",
                "If it still runs, its services will run twice and data will be destroyed.",
            ],
            format!("I have checked that {node} is powered off"),
        ),
        "delete" => say(
            format!("Delete {node} from the cluster"),
            &[
                "Its services move away, the cluster is stopped there, the configuration no longer names it, and it gives up the cluster's key.",
                "A node that cannot be reached is only taken out of the configuration; make sure that it stays off.",
            ],
            format!("Delete {node}"),
        ),
        _ => None,
    }
}

async fn order_page(
    app: &App,
    who: Who,
    cluster: &Cluster,
    node: &str,
    order: &str,
    error: Option<String>,
) -> Result<ConfirmPage, PageError> {
    let Some((heading, paragraphs, button)) = order_words(order, node) else { return Err(PageError::NoSuchPage) };
    app.node(cluster, node).await?;
    let back = node_address(cluster, node);
    Ok(ConfirmPage {
        shell: shell(app, who, &heading, "nodes").await?,
        heading,
        paragraphs,
        action: format!("{back}/{order}"),
        button,
        danger: true,
        type_name: matches!(order, "acknowledge-fence" | "delete").then(|| node.to_owned()),
        base: None,
        hidden: Vec::new(),
        back,
        error,
    })
}

pub(super) async fn order_form(
    State(app): State<App>,
    who: Who,
    Path((cluster, node, order)): Path<(String, String, String)>,
) -> Page {
    let cluster = app.cluster(&cluster).await?;
    draw(&order_page(&app, who, &cluster, &node, &order, None).await?)
}

pub(super) async fn order(
    State(app): State<App>,
    Path((cluster, node, order)): Path<(String, String, String)>,
    Posted { who, fields }: Posted,
) -> Page {
    let cluster = app.cluster(&cluster).await?;
    let back = node_address(&cluster, &node);
    if !matches!(order.as_str(), "join" | "unstandby") && !fields.checked("confirmed") {
        return Ok(Redirect::to(&format!("{back}/{order}")).into_response());
    }
    if order == "acknowledge-fence" && fields.text("type-name") != node {
        let error = Some(format!("type the name {node} to confirm"));
        return draw_refused(&order_page(&app, who, &cluster, &node, &order, error).await?);
    }
    let name = NodeName(node.clone());
    let command = match order.as_str() {
        "fence" => Command::Fence { node: name },
        "acknowledge-fence" => Command::AcknowledgeFence { node: name },
        "standby" => Command::Standby { node: name },
        "unstandby" => Command::Unstandby { node: name },
        word => {
            let order = NodeOrder::parse(word).ok_or(PageError::NoSuchPage)?;
            app.order_node(&who, &cluster, &node, order).await?;
            let text = format!("{word} {node}: under way; its state shows how it goes on");
            return go(&app, &who, &back, "ok", text).await;
        }
    };
    let request = app.request(&who, &cluster, command).await?;
    let (kind, text) = request_flash(&request);
    go(&app, &who, &back, kind, text).await
}

pub(super) async fn delete_form(
    State(app): State<App>,
    who: Who,
    Path((cluster, node)): Path<(String, String)>,
) -> Page {
    let cluster = app.cluster(&cluster).await?;
    draw(&order_page(&app, who, &cluster, &node, "delete", None).await?)
}

pub(super) async fn delete(
    State(app): State<App>,
    Path((cluster, node)): Path<(String, String)>,
    Posted { who, fields }: Posted,
) -> Page {
    let cluster = app.cluster(&cluster).await?;
    if fields.text("type-name") != node {
        let error = Some(format!("type the name {node} to confirm"));
        return draw_refused(&order_page(&app, who, &cluster, &node, "delete", error).await?);
    }
    let task = app.delete_node(&who, &cluster, &node).await?;
    Ok(Redirect::to(&format!("/tasks/{task}")).into_response())
}

pub(super) async fn properties(
    State(app): State<App>,
    Path((cluster, node)): Path<(String, String)>,
    Posted { who, fields }: Posted,
) -> Page {
    let row = app.cluster(&cluster).await?;
    let result = async {
        let votes: Option<u32> = fields.number("votes", "the number of votes")?;
        let attributes = AttributeChanges::from([("votes".to_owned(), votes.map(|votes| votes.to_string()))]);
        let altname = Some(fields.text("altname").to_owned());
        let edit = Edit::SetNode { name: node.as_str().into(), attributes, altname };
        app.change_conf(&who, &row, fields.base()?, &format!("properties of {node} changed"), |_| Ok(vec![edit])).await
    };
    match result.await {
        Ok(done) => changed(&app, &who, &node_address(&row, &node), "Properties changed", &done).await,
        Err(error) => draw_refused(&node_page(&app, who, &cluster, &node, form_errors(error)?).await?),
    }
}

/// The use of a fence device that a form describes, by the names that the device's agent has for it today; `None`: the form adds
/// none.
async fn sent_instance(
    app: &App,
    cluster: &Cluster,
    conf: Option<&Conf>,
    fields: &Fields,
) -> Result<Option<InstanceSpec>, AppError> {
    if !matches!(fields.text("op"), "add-method" | "add-instance") {
        return Ok(None);
    }
    let device = fields.text("device").to_owned();
    if device.is_empty() {
        return Err(AppError::field("device", "choose a fence device"));
    }
    let mut attributes = new_attributes(fields);
    let defined = conf.and_then(|conf| conf.fence_devices.iter().find(|one| one.name == device));
    let schema = match defined {
        Some(defined) => app.agent_schema(cluster, AgentClass::Fence, &defined.agent).await?,
        None => None,
    };
    if let Some(schema) = schema {
        check_attributes(&schema, &attributes, |_| false)?;
        attributes = attributes.into_iter().map(|(name, value)| (todays_name(&schema, name), value)).collect();
    }
    Ok(Some(InstanceSpec { device, attributes }))
}

/// What the agent calls a parameter: the form's own field has the name that RHEL 6 had.
fn todays_name(schema: &AgentSchema, name: String) -> String {
    let known = schema.parameter(&name).filter(|known| known.deprecated);
    known.and_then(|known| known.replaced_by.clone()).unwrap_or(name)
}

/// The methods of a node after what a form asks for. `instance`: what it adds.
fn edited_methods(
    document: &Document,
    node: &NodeName,
    fields: &Fields,
    instance: Option<&InstanceSpec>,
) -> Result<(Vec<MethodSpec>, String), AppError> {
    let found = MethodSpec::read(document, node);
    let mut methods =
        found.ok_or_else(|| AppError::NoSuch { what: "node in the configuration", name: node.to_string() })?;
    let place: usize = fields.number("method", "the method")?.unwrap_or(0);
    let gone = || AppError::Conflict("this fence method is not there any more; reload the page".into());
    let message = match fields.text("op") {
        "add-method" => {
            let name = fields.text("name");
            if name.is_empty() || methods.iter().any(|method| method.name == name) {
                return Err(AppError::field("method-name", "give the method a name that the node does not have yet"));
            }
            methods.push(MethodSpec { name: name.to_owned(), devices: vec![instance.cloned().ok_or_else(gone)?] });
            format!("fence method {name} added to {node}")
        }
        "remove-method" if place < methods.len() => {
            let removed = methods.remove(place);
            format!("fence method {} removed from {node}", removed.name)
        }
        "up" if place > 0 && place < methods.len() => {
            methods.swap(place - 1, place);
            format!("fence methods of {node} reordered")
        }
        "down" if place + 1 < methods.len() => {
            methods.swap(place, place + 1);
            format!("fence methods of {node} reordered")
        }
        "add-instance" => {
            let method = methods.get_mut(place).ok_or_else(gone)?;
            let instance = instance.cloned().ok_or_else(gone)?;
            let message = format!("fence device {} added to method {} of {node}", instance.device, method.name);
            method.devices.push(instance);
            message
        }
        "remove-instance" => {
            let instance: usize = fields.number("instance", "the instance")?.unwrap_or(0);
            let method = methods.get_mut(place).ok_or_else(gone)?;
            if instance >= method.devices.len() {
                return Err(gone());
            }
            let removed = method.devices.remove(instance);
            format!("fence device {} removed from method {} of {node}", removed.device, method.name)
        }
        _ => return Err(gone()),
    };
    Ok((methods, message))
}

pub(super) async fn edit_methods(
    State(app): State<App>,
    Path((cluster, node)): Path<(String, String)>,
    Posted { who, fields }: Posted,
) -> Page {
    let row = app.cluster(&cluster).await?;
    let name = NodeName(node.clone());
    let result = async {
        let base = fields.base()?;
        let stored = app.working_conf(&who, &row).await?;
        let text = stored.map_or_else(String::new, |stored| stored.text);
        let loaded = shared::conf::load(&text);
        let instance = sent_instance(&app, &row, loaded.conf.as_ref(), &fields).await?;
        let (_, message) = edited_methods(&loaded.document, &name, &fields, instance.as_ref())?;
        app.change_conf(&who, &row, base, &message, |current| {
            let (methods, _) = edited_methods(&current.loaded.document, &name, &fields, instance.as_ref())?;
            Ok(vec![Edit::SetFenceMethods { node: name.clone(), methods }])
        })
        .await
    };
    match result.await {
        Ok(done) => changed(&app, &who, &node_address(&row, &node), "Fence methods changed", &done).await,
        Err(error) => draw_refused(&node_page(&app, who, &cluster, &node, form_errors(error)?).await?),
    }
}

async fn add_page(
    app: &App,
    who: Who,
    cluster: &Cluster,
    row: NodeRowForm,
    errors: FormErrors,
) -> Result<NodeFormPage, PageError> {
    Ok(NodeFormPage {
        shell: shell(app, who, "Add a node", "nodes").await?,
        heading: format!("Add a node to {}", cluster.name),
        intro: "luci shows the node's certificate first. Then the node gets the cluster's key, a new version of the \
                configuration names it, and it is started."
            .into(),
        action: at(cluster, "/add-node"),
        button: "Add node".into(),
        back: at(cluster, "/nodes"),
        row,
        fixed_name: false,
        errors,
    })
}

pub(super) async fn add_form(State(app): State<App>, who: Who, Path(cluster): Path<String>) -> Page {
    let cluster = app.cluster(&cluster).await?;
    draw(&add_page(&app, who, &cluster, NodeRowForm::empty(), FormErrors::default()).await?)
}

fn sent_row(fields: &Fields) -> NodeRowForm {
    NodeRowForm {
        name: fields.text("node-0-name").to_owned(),
        host: fields.text("node-0-host").to_owned(),
        port: fields.text("node-0-port").to_owned(),
        token: fields.text("node-0-with") == "token",
    }
}

pub(super) async fn add(State(app): State<App>, Path(cluster): Path<String>, Posted { who, fields }: Posted) -> Page {
    let cluster = app.cluster(&cluster).await?;
    let result = match fields.node_entries() {
        Ok(mut entries) if entries.len() == 1 => app.add_node(&who, &cluster, entries.remove(0)).await,
        Ok(_) => Err(AppError::field("node-0-name", "name the node")),
        Err(error) => Err(error),
    };
    match result {
        Ok(task) => Ok(Redirect::to(&format!("/tasks/{task}")).into_response()),
        Err(error) => {
            let errors = form_errors(error)?;
            draw_refused(&add_page(&app, who, &cluster, sent_row(&fields), errors).await?)
        }
    }
}

async fn pair_page(
    app: &App,
    who: Who,
    cluster: &Cluster,
    row: NodeRowForm,
    errors: FormErrors,
) -> Result<NodeFormPage, PageError> {
    let back = node_address(cluster, &row.name);
    Ok(NodeFormPage {
        shell: shell(app, who, "Pair a node", "nodes").await?,
        heading: format!("Pair {} with luci", row.name),
        intro:
            "luci looks at the certificate of the node's ricci and shows its fingerprint; once you have confirmed it, \
                both sides trust exactly each other's certificate."
                .into(),
        action: format!("{back}/pair"),
        button: "Connect".into(),
        back,
        row,
        fixed_name: true,
        errors,
    })
}

pub(super) async fn pair_form(State(app): State<App>, who: Who, Path((cluster, node)): Path<(String, String)>) -> Page {
    let cluster = app.cluster(&cluster).await?;
    let node = app.node(&cluster, &node).await?;
    let row = NodeRowForm { name: node.name.0, host: node.host, port: node.port.to_string(), token: false };
    draw(&pair_page(&app, who, &cluster, row, FormErrors::default()).await?)
}

pub(super) async fn pair(
    State(app): State<App>,
    Path((cluster, node)): Path<(String, String)>,
    Posted { who, fields }: Posted,
) -> Page {
    let cluster = app.cluster(&cluster).await?;
    let result = async {
        let host = fields.optional("node-0-host").unwrap_or_else(|| node.clone());
        let port = fields.number("node-0-port", "the port")?.unwrap_or(shared::api::PORT);
        app.pair_node(&who, &cluster, &node, &host, port, fields.pair_secret(0)).await
    };
    match result.await {
        Ok(task) => Ok(Redirect::to(&format!("/tasks/{task}")).into_response()),
        Err(error) => {
            let errors = form_errors(error)?;
            let row = NodeRowForm { name: node.clone(), ..sent_row(&fields) };
            draw_refused(&pair_page(&app, who, &cluster, row, errors).await?)
        }
    }
}
