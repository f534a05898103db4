//! One action on several clusters, nodes or services at once. Each is asked for by itself, so that one refusal stops nothing else,
//! and the answer names every one.

use axum::extract::{Path, State};
use futures_util::future::join_all;
use shared::ids::ServiceName;

use super::error::PageError;
use super::forms::Fields;
use super::pages::{Page, at, draw, go, shell};
use super::services::command_of;
use super::session::Posted;
use crate::app::access::check_role;
use crate::app::nodes::NodeOrder;
use crate::app::{App, AppError, Who};
use crate::repo::clusters::Cluster;
use crate::repo::requests::RequestState;
use crate::repo::users::Role;
use crate::views::manage::ConfirmPage;

/// What became of each: which were taken, and which were not, with the reason.
#[derive(Debug, Default)]
struct Tally {
    taken: Vec<String>,
    refused: Vec<String>,
}

impl Tally {
    fn add(&mut self, name: String, result: Result<(), String>) {
        match result {
            Ok(()) => self.taken.push(name),
            Err(why) => self.refused.push(format!("{name}: {why}")),
        }
    }

    /// Kind and text of the message.
    fn told(&self, verb: &str) -> (&'static str, String) {
        let taken = format!("{verb} {}: under way", self.taken.join(", "));
        match (self.taken.is_empty(), self.refused.is_empty()) {
            (_, true) => ("ok", taken),
            (true, false) => ("bad", format!("{verb}: not done. {}", self.refused.join(". "))),
            (false, false) => ("warn", format!("{taken}. Not done: {}", self.refused.join(". "))),
        }
    }
}

/// What stands before the names of the question.
fn question(order: NodeOrder) -> &'static str {
    match order {
        NodeOrder::Join => "The cluster is started there, now and at boot.",
        NodeOrder::Leave => {
            "Their services move to other nodes first; then the cluster software is stopped there, and no longer started \
             at boot. If no node is left, or too few for quorum, the services stop."
        }
        NodeOrder::Reboot => "They shut down in order, all at once: services move to nodes that are left, or stop.",
    }
}

async fn ask(
    app: &App,
    who: Who,
    cluster: &Cluster,
    order: NodeOrder,
    nodes: &[String],
) -> Result<ConfirmPage, PageError> {
    let heading = format!("{} {}", order.title(), nodes.join(", "));
    Ok(ConfirmPage {
        shell: shell(app, who, &heading, "nodes").await?,
        paragraphs: vec![question(order).into()],
        action: at(cluster, "/nodes-order"),
        button: heading.clone(),
        heading,
        danger: true,
        type_name: None,
        base: None,
        hidden: std::iter::once(("order".to_owned(), order.word().to_owned()))
            .chain(nodes.iter().map(|node| ("node".to_owned(), node.clone())))
            .collect(),
        back: at(cluster, "/nodes"),
        error: None,
    })
}

/// The chosen things; choosing none is a mistake worth a sentence.
fn chosen(fields: &Fields, name: &str) -> Result<Vec<String>, AppError> {
    let all = fields.all(name);
    if all.is_empty() {
        return Err(AppError::Conflict(format!("nothing was done: mark at least one {name} first")));
    }
    Ok(all)
}

pub(super) async fn order_nodes(
    State(app): State<App>,
    Path(cluster): Path<String>,
    Posted { who, fields }: Posted,
) -> Page {
    let cluster = app.cluster(&cluster).await?;
    let nodes = chosen(&fields, "node")?;
    let order = NodeOrder::parse(fields.text("order")).ok_or(PageError::NoSuchPage)?;
    if order != NodeOrder::Join && !fields.checked("confirmed") {
        return draw(&ask(&app, who, &cluster, order, &nodes).await?);
    }
    let orders = nodes.iter().map(|node| app.order_node(&who, &cluster, node, order));
    let results = join_all(orders).await;
    let mut tally = Tally::default();
    for (node, result) in nodes.iter().zip(results) {
        tally.add(node.clone(), result.map_err(|error| error.to_string()));
    }
    let (kind, text) = tally.told(order.word());
    go(&app, &who, &at(&cluster, "/nodes"), kind, text).await
}

pub(super) async fn request_services(
    State(app): State<App>,
    Path(cluster): Path<String>,
    Posted { who, fields }: Posted,
) -> Page {
    let cluster = app.cluster(&cluster).await?;
    let verb = fields.text("verb").to_owned();
    let names = chosen(&fields, "service")?;
    let mut commands = Vec::new();
    for name in &names {
        commands.push(command_of(&verb, None, ServiceName::parse(name))?);
    }
    let results = join_all(commands.into_iter().map(|command| app.request(&who, &cluster, command))).await;
    let mut tally = Tally::default();
    for (name, result) in names.into_iter().zip(results) {
        let result = match result {
            Ok(request) if request.state == RequestState::Refused => Err(request.text.unwrap_or_default()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        };
        tally.add(name, result);
    }
    let (kind, text) = tally.told(&verb);
    go(&app, &who, &at(&cluster, "/services"), kind, text).await
}

/// Starts or stops one cluster: the same order to each of its nodes. The error names the nodes that did not take it.
async fn order_cluster(app: &App, who: &Who, name: &str, order: NodeOrder) -> Result<(), String> {
    let ordered = async {
        let cluster = app.cluster(name).await?;
        check_role(who.access.on(cluster.id), Role::Operator)?;
        let nodes = app.repo.nodes_of(cluster.id).await?;
        let orders = nodes.iter().map(|node| app.order_node(who, &cluster, node.name.as_str(), order));
        let results = join_all(orders).await;
        let refused: Vec<String> = nodes
            .iter()
            .zip(results)
            .filter_map(|(node, result)| Some(format!("{}: {}", node.name, result.err()?)))
            .collect();
        Ok::<Vec<String>, AppError>(refused)
    };
    match ordered.await {
        Ok(refused) if refused.is_empty() => Ok(()),
        Ok(refused) => Err(refused.join("; ")),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) async fn order_clusters(State(app): State<App>, Posted { who, fields }: Posted) -> Page {
    let clusters = chosen(&fields, "cluster")?;
    let order = match fields.text("order") {
        "start" => NodeOrder::Join,
        "stop" => NodeOrder::Leave,
        _ => return Err(PageError::NoSuchPage),
    };
    if order == NodeOrder::Leave && !fields.checked("confirmed") {
        let heading = format!("Stop {}", clusters.join(", "));
        return draw(&ConfirmPage {
            shell: shell(&app, who, "Manage Clusters", "clusters").await?,
            paragraphs: vec![
                "All their services stop. Then the cluster software is stopped on every node, and no longer started at boot."
                    .into(),
            ],
            action: "/clusters-order".into(),
            button: heading.clone(),
            heading,
            danger: true,
            type_name: None,
            base: None,
            hidden: std::iter::once(("order".to_owned(), "stop".to_owned()))
                .chain(clusters.iter().map(|cluster| ("cluster".to_owned(), cluster.clone())))
                .collect(),
            back: "/clusters".into(),
            error: None,
        });
    }
    let results = join_all(clusters.iter().map(|cluster| order_cluster(&app, &who, cluster, order))).await;
    let mut tally = Tally::default();
    for (cluster, result) in clusters.iter().zip(results) {
        tally.add(cluster.clone(), result);
    }
    let (kind, text) = tally.told(if order == NodeOrder::Join { "start" } else { "stop" });
    go(&app, &who, "/clusters", kind, text).await
}
