//! Names for shells: `clustat --complete KIND` prints one a line, from rgmanager if it answers at once, else from this
//! node's cluster.conf. Says nothing when there are none: a shell that completes has no place for sentences.

use std::time::Duration;

use shared::conf::model::Conf;
use shared::ids::ServiceName;
use shared::socket::{Ask, Reply};
use shared::status::ClusterStatus;

use super::client::ask_once;
use super::conf_file::{default_path, read};
use super::definition::Live;
use super::rgmanager_status;

/// Somebody waits with a finger on the tab key.
const LIMIT: Duration = Duration::from_millis(500);

/// The names of this kind, one a line.
pub(super) fn names(kind: Live) -> String {
    let names = match kind {
        Live::Nodes => match rgmanager_status::ask(LIMIT) {
            Ok(status) => status.nodes.iter().map(|node| node.name.0.clone()).collect(),
            Err(_) => of_conf(|conf| conf.nodes.iter().map(|node| node.name.0.clone()).collect()),
        },
        Live::Services => match rgmanager_status::ask(LIMIT) {
            Ok(status) => status.services.iter().map(|service| as_typed(&service.name)).collect(),
            Err(_) => of_conf(|conf| conf.services.iter().map(|service| as_typed(&service.name)).collect()),
        },
        Live::Victims => rgmanager_status::ask(LIMIT).map(|status| victims(&status)).unwrap_or_default(),
        Live::Devices => of_conf(|conf| conf.fence_devices.iter().map(|device| device.name.clone()).collect()),
        Live::Domains => of_conf(|conf| conf.domains.iter().map(|domain| domain.name.to_string()).collect()),
    };
    names.iter().map(|name| format!("{name}\n")).collect()
}

/// `web` means `service:web`.
fn as_typed(name: &ServiceName) -> String {
    name.as_str().strip_prefix("service:").unwrap_or(name.as_str()).to_owned()
}

fn victims(status: &ClusterStatus) -> Vec<String> {
    let is_due = |name| status.waits_for_fencing_of.contains(name);
    let due = status.nodes.iter().filter(|node| node.fencing.is_some() || is_due(&node.name));
    due.map(|node| node.name.0.clone()).collect()
}

/// The configuration in force, else the file.
fn of_conf(names: impl Fn(&Conf) -> Vec<String>) -> Vec<String> {
    let text = match ask_once(&Ask::Conf, LIMIT) {
        Ok(Reply::Conf { text, .. }) => text,
        _ => match read(&default_path()) {
            Ok(text) => text,
            Err(_) => return Vec::new(),
        },
    };
    shared::conf::load(&text).conf.map(|conf| names(&conf)).unwrap_or_default()
}
