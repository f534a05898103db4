//! The module `cluster`: configuration, services, start and stop of the node, fencing (rhcs.md §7.4). A new
//! configuration of a running cluster goes to all members and comes into force, whether `propagate` is set or not.

use std::sync::Arc;
use std::time::Duration;

use shared::api::{HostOperationKind, PutConf};
use shared::ids::{ConfVersion, NodeName, RequestId, ServiceName};
use shared::socket::{Ask, FenceOperation, PutConf as PutResult, Reply};
use shared::status::{Answer, ClusterStatus, Command, Membership, Outcome, Request};
use shared::text::{ResultCode, ServiceState};

use super::batch::{Arguments, Called, Failed, holder, operate, unknown, var};
use super::document;
use super::xml::Element;
use crate::agent::app::App;
use crate::agent::conf;
use crate::agent::socket::{SocketError, unexpected};

const ASK_WAIT: Duration = Duration::from_secs(3);
/// A request is multicast before it is answered.
const REQUEST_WAIT: Duration = Duration::from_secs(30);
/// As long as the original's client waited.
const OUTCOME_WAIT: Duration = Duration::from_secs(600);
/// All members store a configuration before it is answered.
const PUT_CONF_WAIT: Duration = Duration::from_secs(25);
/// Eight methods of eight devices may all hang.
const FENCE_WAIT: Duration = Duration::from_secs(3 * 3600);
/// A stored version comes into force by one message.
const SWITCH_TRIES: u32 = 100;
const SWITCH_POLL: Duration = Duration::from_millis(100);

pub(super) async fn call(app: &Arc<App>, origin: &str, function: &str, with: &Arguments<'_>) -> Called {
    match function {
        "get_cluster.conf" => {
            let text = text_in_force(app).await?;
            let conf =
                Element { inner: without_declaration(&text).to_owned(), ..holder("cluster.conf", "xml", vec![]) };
            Ok(vec![conf])
        }
        "set_cluster.conf" => set_conf(app, origin, with).await,
        "set_cluster_version" => set_version(app, with.needed("version")?).await,
        "status" => {
            let text = text_in_force(app).await.unwrap_or_default();
            let status = status(app).await.ok();
            Ok(vec![holder("status", "xml", vec![document::render(&text, status.as_ref())])])
        }
        "start_service" => start_service(app, origin, with).await,
        "stop_service" => {
            let service = service(with)?;
            check_group_member(&status(app).await?)?;
            request(app, origin, Command::Disable { service }).await
        }
        "restart_service" => {
            let service = service(with)?;
            check_group_member(&status(app).await?)?;
            request(app, origin, Command::Restart { service }).await
        }
        "migrate_service" => {
            let (service, to) = (service(with)?, NodeName::from(with.needed("nodename")?));
            check_group_member(&status(app).await?)?;
            request(app, origin, Command::Migrate { service, to }).await
        }
        "start_node" => {
            operate(app, HostOperationKind::Start, with.is_set("enable_services", true), origin).await?;
            Ok(Vec::new())
        }
        "stop_node" => {
            operate(app, HostOperationKind::Stop, with.is_set("disable_services", true), origin).await?;
            if with.is_set("purge_conf", false) {
                conf::leave(app, origin).await?;
            }
            Ok(Vec::new())
        }
        "fence_node" => fence(app, with.needed("nodename")?).await,
        "virt_guest" => Ok(vec![var("virt_guest", "boolean", "false")]),
        _ => Err(unknown("cluster", function)),
    }
}

fn service(with: &Arguments<'_>) -> Result<ServiceName, Failed> {
    with.needed("servicename").map(ServiceName::parse)
}

async fn status(app: &App) -> Result<ClusterStatus, Failed> {
    match app.rgmanager.ask(&Ask::Status, ASK_WAIT).await? {
        Reply::Status { status } => Ok(*status),
        other => Err(unexpected(&other).into()),
    }
}

/// In force, or on disk while the cluster does not run here.
async fn text_in_force(app: &App) -> Result<String, Failed> {
    match app.rgmanager.ask(&Ask::Conf, ASK_WAIT).await {
        Ok(Reply::Conf { text, .. }) => Ok(text),
        Ok(other) => Err(unexpected(&other).into()),
        Err(SocketError::NotRunning { .. }) => Ok(conf::document(app).await?.text),
        Err(error) => Err(error.into()),
    }
}

/// An element cannot hold the first line of a document.
fn without_declaration(text: &str) -> &str {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    match text.strip_prefix("<?xml") {
        Some(rest) => rest.split_once("?>").map_or(text, |(_, rest)| rest.trim_start()),
        None => text,
    }
}

async fn set_conf(app: &Arc<App>, origin: &str, with: &Arguments<'_>) -> Called {
    let sent = with.var("cluster.conf").map(|var| var.inner.trim()).filter(|text| !text.is_empty());
    let sent = sent.ok_or_else(|| Failed::new("the variable 'cluster.conf' holds no configuration"))?;
    let text = format!("<?xml version=\"1.0\"?>\n{sent}\n");
    conf::check_length(&text)?;
    match app.rgmanager.ask(&Ask::Conf, ASK_WAIT).await {
        // Tools give the same to each node in turn; the first has had it brought into force everywhere.
        Ok(Reply::Conf { text: present, .. }) if present == text => return Ok(Vec::new()),
        Ok(_) => {}
        Err(SocketError::NotRunning { .. }) => {
            let put = PutConf { text, origin: origin.to_owned(), offline: true, despite_agents: false };
            conf::put_offline(app, origin, &put).await?;
            return Ok(Vec::new());
        }
        Err(error) => return Err(error.into()),
    }
    let ask = Ask::PutConf { text, origin: origin.to_owned(), despite_agents: false };
    match app.rgmanager.ask(&ask, PUT_CONF_WAIT).await? {
        Reply::PutConf { result: PutResult::Accepted { version, .. } } => wait_in_force(app, version).await,
        Reply::PutConf { result: PutResult::Refused { findings } } => {
            let told: Vec<String> =
                findings.iter().map(|finding| format!("line {}: {}", finding.place.line, finding.text)).collect();
            Err(Failed::new(format!("the cluster refused the configuration: {}", told.join("; "))))
        }
        other => Err(unexpected(&other).into()),
    }
}

/// The version that was given before: nothing is left to do but to see it in force.
async fn set_version(app: &App, version: &str) -> Called {
    let version = version.parse().map_err(|_| Failed::new(format!("'{version}' is no version")))?;
    wait_in_force(app, ConfVersion(version)).await
}

async fn wait_in_force(app: &App, wanted: ConfVersion) -> Called {
    let mut seen = None;
    for _ in 0..SWITCH_TRIES {
        seen = status(app).await?.conf.map(|conf| conf.version);
        if seen.is_some_and(|version| version >= wanted) {
            return Ok(Vec::new());
        }
        tokio::time::sleep(SWITCH_POLL).await;
    }
    let seen = seen.map_or_else(|| "none".to_owned(), |version| version.to_string());
    Err(Failed::new(format!("version {wanted} is not in force, but {seen}; give it with set_cluster.conf first")))
}

/// As `clustat -x` says it: this node has quorum, and its rgmanager may be given services.
fn check_group_member(status: &ClusterStatus) -> Result<(), Failed> {
    let is_member = status.nodes.iter().any(|node| node.local && node.member == Membership::Member);
    if status.quorum.quorate && is_member {
        return Ok(());
    }
    Err(Failed::new("this node is no member of the group of a cluster with quorum"))
}

async fn start_service(app: &App, origin: &str, with: &Arguments<'_>) -> Called {
    let service = service(with)?;
    let on = with.text("nodename").map(NodeName::from);
    let status = status(app).await?;
    check_group_member(&status)?;
    let known = status.service(&service).ok_or_else(|| failed(ResultCode::NoService, &service.to_string()))?;
    match known.state {
        ServiceState::Starting | ServiceState::Started => {
            return request(app, origin, Command::Relocate { service, to: on }).await;
        }
        ServiceState::Failed => {
            request(app, origin, Command::Disable { service: service.clone() }).await?;
        }
        _ => {}
    }
    request(app, origin, Command::Enable { service, on, by_domain: false }).await
}

fn failed(code: ResultCode, why: &str) -> Failed {
    let text = if why.is_empty() { code.text().to_owned() } else { format!("{}: {why}", code.text()) };
    Failed { code: code.number(), text }
}

/// Asks, and waits for what comes of it.
async fn request(app: &App, origin: &str, command: Command) -> Called {
    let id = RequestId(uuid::Uuid::new_v4().to_string());
    let request = Request { id: id.clone(), command, origin: origin.to_owned() };
    tracing::info!(origin, verb = request.command.verb(), %id, "request of the original protocol");
    match app.rgmanager.ask(&Ask::Request { request }, REQUEST_WAIT).await? {
        Reply::Answer { answer: Answer::Accepted } => {}
        Reply::Answer { answer: Answer::Refused(refusal) } => return Err(failed(refusal.code, &refusal.text)),
        other => return Err(unexpected(&other).into()),
    }
    match app.rgmanager.ask(&Ask::Await { id }, OUTCOME_WAIT).await? {
        Reply::Outcome { outcome: Outcome { code, .. } } if code.exit_status() == 0 => Ok(Vec::new()),
        Reply::Outcome { outcome: Outcome { code, text, .. } } => Err(failed(code, &text)),
        other => Err(unexpected(&other).into()),
    }
}

async fn fence(app: &App, node: &str) -> Called {
    let ask = Ask::FenceNode { node: NodeName::from(node), operation: FenceOperation::Fence };
    match app.rgmanager.ask(&ask, FENCE_WAIT).await? {
        Reply::Fence { attempts } if attempts.last().is_some_and(|attempt| attempt.succeeded) => Ok(Vec::new()),
        Reply::Fence { attempts } if attempts.is_empty() => {
            Err(Failed::new(format!("cluster.conf names no way to fence {node}")))
        }
        Reply::Fence { .. } => Err(Failed::new(format!("fencing of {node} failed"))),
        other => Err(unexpected(&other).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_a_document_is_left_out_and_nothing_else() {
        assert_eq!(without_declaration("\u{feff}<?xml version=\"1.0\"?>\n<cluster/>\n"), "<cluster/>\n");
        assert_eq!(without_declaration("<!-- a --><cluster/>"), "<!-- a --><cluster/>");
    }
}
