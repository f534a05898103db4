//! What a person at a terminal sees behind the dots while a request is carried out: the step that the service is at,
//! drawn over again at each change and wiped away before the result. A thread of its own follows the status; that it
//! may fail or lag behind changes nothing about the result.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use shared::ids::ServiceName;
use shared::socket::{Ask, Reply};
use shared::status::{ClusterStatus, Reason, ResourceState, ServiceStatus};
use shared::text::ServiceState;

use super::QUICK;
use crate::cli::client::{Client, socket_path};
use crate::cli::console::terminal_width;

/// The next word of the status stream comes within this time, and be it that nothing happened.
const SILENCE_LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

/// Where the cursor is kept, and back there with the rest of the line wiped.
const KEEP: &str = "\x1b7";
const WIPE: &str = "\x1b8\x1b[K";

/// A line in progress. Nothing is drawn once it has ended.
pub(super) struct Progress {
    ended: Arc<Mutex<bool>>,
}

impl Progress {
    /// Follows the service behind `opening`, which stands on the terminal already. `None` when nobody looks.
    pub(super) fn follow(service: &ServiceName, opening: &str) -> Option<Self> {
        let stdout = std::io::stdout();
        if !stdout.is_terminal() {
            return None;
        }
        // What would run over the end of the line could not be wiped.
        let room = terminal_width().saturating_sub(opening.chars().count() + 2);
        let _ = write!(stdout.lock(), "{KEEP}").and_then(|()| stdout.lock().flush());
        let ended = Arc::new(Mutex::new(false));
        let (drawn, service) = (Arc::clone(&ended), service.clone());
        std::thread::spawn(move || {
            watch(&service, |text| {
                let ended = drawn.lock().unwrap_or_else(PoisonError::into_inner);
                let shown: String = text.chars().take(room).collect();
                let mut out = std::io::stdout().lock();
                !*ended && write!(out, "{WIPE} {shown}").and_then(|()| out.flush()).is_ok()
            });
        });
        Some(Self { ended })
    }

    /// Wipes the line behind the dots.
    pub(super) fn end(self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        let mut out = std::io::stdout().lock();
        let _ = write!(out, "{WIPE}").and_then(|()| out.flush());
    }
}

/// Hands each new step to `draw` until that says no more.
fn watch(service: &ServiceName, draw: impl Fn(&str) -> bool) {
    let Ok(mut client) = Client::connect(&socket_path(), QUICK) else { return };
    let mut reply = client.ask(&Ask::Watch { since: None }, QUICK);
    let mut status: Option<ClusterStatus> = None;
    let mut shown = String::new();
    while let Ok(Reply::Stream { stream }) = reply {
        match (&mut status, stream) {
            (_, shared::status::StreamItem::Whole { status: whole, .. }) => status = Some(*whole),
            (Some(status), item) => status.apply(&item),
            (None, _) => return,
        }
        let step = status.as_ref().and_then(|status| status.service(service)).map(step_text).unwrap_or_default();
        if step != shown && !draw(&step) {
            return;
        }
        shown = step;
        reply = client.next_reply(SILENCE_LIMIT);
    }
}

/// The step in a few words: state, node, the resource that is being started or stopped, or what it waits for.
pub(super) fn step_text(service: &ServiceStatus) -> String {
    if let Some(reason) = service.waits_for.as_ref().filter(|reason| !matches!(reason, Reason::Requested { .. })) {
        return format!("{}, waits: {}", service.state.name(), reason.text());
    }
    let owner = service.owner.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
    let moving = match service.state {
        ServiceState::Starting => Some(ResourceState::Starting),
        ServiceState::Stopping => Some(ResourceState::Stopping),
        _ => None,
    };
    let resource = service.resources.iter().find(|resource| Some(resource.state) == moving);
    let resource = resource.map(|resource| format!(": {}", resource.name)).unwrap_or_default();
    format!("{}{owner}{resource}", service.state.name())
}

#[cfg(test)]
mod tests {
    use shared::ids::{NodeName, ResourceName, Time};
    use shared::status::ResourceStatus;

    use super::*;

    fn service(state: ServiceState) -> ServiceStatus {
        let resource =
            |name: &str, state| ResourceStatus { name: ResourceName(name.into()), depth: 0, state, at: Time(0) };
        ServiceStatus {
            name: ServiceName::from("service:web"),
            state,
            frozen: false,
            partial: false,
            owner: Some(NodeName::from("node1")),
            last_owner: None,
            restarts: 0,
            last_transition: None,
            reason: Reason::Autostart,
            waits_for: None,
            request: None,
            failure: None,
            resources: vec![
                resource("ip:10.0.0.1", ResourceState::Started),
                resource("apache:site", ResourceState::Stopping),
            ],
        }
    }

    #[test]
    fn a_step_names_the_node_and_the_resource_at_work_or_what_is_waited_for() {
        assert_eq!(step_text(&service(ServiceState::Stopping)), "stopping on node1: apache:site");
        assert_eq!(step_text(&service(ServiceState::Started)), "started on node1");
        let waiting = ServiceStatus {
            owner: None,
            waits_for: Some(Reason::FencingPending { nodes: vec![NodeName::from("node2")] }),
            ..service(ServiceState::Recovering)
        };
        assert_eq!(step_text(&waiting), "recovering, waits: node2 must be fenced first");
    }
}
