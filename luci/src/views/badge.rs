//! States as people see them: an icon, a word and a colour, never a colour alone. The words of services are those of
//! `clustat`, the words of nodes those of luci.

use std::fmt;

use shared::status::{Membership, NodeStatus, ResourceState, ServiceStatus};
use shared::text::ServiceState;

use crate::language::Html;
use crate::repo::requests::RequestState;
use crate::repo::tasks::{StepState, TaskState};

/// A state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Badge {
    pub kind: Kind,
    pub word: &'static str,
}

/// How a state looks; the order is from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Ok,
    Off,
    Busy,
    Unknown,
    Warn,
    Bad,
}

/// Not known.
pub const UNKNOWN: Badge = Badge { kind: Kind::Unknown, word: "unknown" };

impl Kind {
    /// Name of the style.
    pub fn class(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Off => "off",
            Self::Busy => "busy",
            Self::Unknown => "unknown",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }

    fn icon(self) -> &'static str {
        match self {
            Self::Ok => r#"<path d="M3 8.5 6.5 12 13 4.5"/>"#,
            Self::Off => r#"<rect x="4" y="4" width="8" height="8" rx="1"/>"#,
            Self::Busy => r#"<path d="M13 8a5 5 0 1 1-1.6-3.7M13 2v3h-3"/>"#,
            Self::Unknown => r#"<path d="M5.5 6a2.5 2.5 0 1 1 3.6 2.2C8.3 8.6 8 9 8 10M8 12.6v.4"/>"#,
            Self::Warn => r#"<path d="M8 2.5 14.5 13.5h-13zM8 6.5v3.5M8 11.7v.3"/>"#,
            Self::Bad => r#"<path d="M4 4l8 8M12 4l-8 8"/>"#,
        }
    }
}

impl fmt::Display for Badge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            r#"<span class="badge {}" data-state="{}"><svg viewBox="0 0 16 16" aria-hidden="true">{}</svg>{}</span>"#,
            self.kind.class(),
            self.word,
            self.kind.icon(),
            Html::said(self.word)
        )
    }
}

// All parts are texts of this file and of the catalogue.
impl askama::filters::HtmlSafe for Badge {}

const fn badge(kind: Kind, word: &'static str) -> Badge {
    Badge { kind, word }
}

/// State of a service.
pub fn service(state: ServiceState) -> Badge {
    let kind = match state {
        ServiceState::Started => Kind::Ok,
        ServiceState::Stopped | ServiceState::Disabled => Kind::Off,
        ServiceState::Starting
        | ServiceState::Stopping
        | ServiceState::Recovering
        | ServiceState::Recoverable
        | ServiceState::Checking
        | ServiceState::Migrating => Kind::Busy,
        ServiceState::Failed => Kind::Bad,
        ServiceState::Uninitialized => Kind::Unknown,
    };
    badge(kind, state.name())
}

/// How urgent a service is: a service that should run and waits is a warning although "stopped" is no fault by itself.
pub fn service_kind(status: &ServiceStatus) -> Kind {
    let kind = service(status.state).kind;
    match kind {
        Kind::Off if status.waits_for.is_some() || status.failure.is_some() => Kind::Warn,
        Kind::Ok if status.partial => Kind::Warn,
        other => other,
    }
}

/// State of a node in its cluster, as a member tells it.
pub fn node(status: &NodeStatus) -> Badge {
    match status.member {
        Membership::Member => badge(Kind::Ok, "Cluster Member"),
        Membership::Joining => badge(Kind::Busy, "joining"),
        Membership::Grace => badge(Kind::Warn, "rgmanager lost"),
        Membership::Lost => badge(Kind::Bad, "lost"),
        Membership::Victim => badge(Kind::Bad, "being fenced"),
        Membership::Absent if status.online => badge(Kind::Warn, "online, no rgmanager"),
        Membership::Absent => badge(Kind::Off, NOT_A_MEMBER.word),
    }
}

/// A node on which the cluster does not run.
pub const NOT_A_MEMBER: Badge = badge(Kind::Off, "Not a cluster member");

/// State of one resource.
pub fn resource(state: ResourceState) -> Badge {
    match state {
        ResourceState::Stopped => badge(Kind::Off, "stopped"),
        ResourceState::Starting => badge(Kind::Busy, "starting"),
        ResourceState::Started => badge(Kind::Ok, "started"),
        ResourceState::Stopping => badge(Kind::Busy, "stopping"),
        ResourceState::Failed => badge(Kind::Bad, "failed"),
    }
}

/// How far a request is.
pub fn request(state: RequestState) -> Badge {
    match state {
        RequestState::Sending => badge(Kind::Busy, "sending"),
        RequestState::Accepted => badge(Kind::Busy, "accepted"),
        RequestState::Refused => badge(Kind::Bad, "refused"),
        RequestState::Done => badge(Kind::Ok, "done"),
        RequestState::Failed => badge(Kind::Bad, "failed"),
        RequestState::Lost => badge(Kind::Unknown, "outcome unknown"),
    }
}

/// How far a task is.
pub fn task(state: TaskState) -> Badge {
    match state {
        TaskState::Running => badge(Kind::Busy, "under way"),
        TaskState::Confirm => badge(Kind::Warn, "waits for you"),
        TaskState::Failed => badge(Kind::Bad, "stopped"),
        TaskState::Done => badge(Kind::Ok, "done"),
        TaskState::GivenUp => badge(Kind::Off, "given up"),
    }
}

/// How far a step of a task is.
pub fn step(state: StepState) -> Badge {
    match state {
        StepState::Waiting => badge(Kind::Off, "waiting"),
        StepState::Running => badge(Kind::Busy, "running"),
        StepState::Done => badge(Kind::Ok, "done"),
        StepState::Failed => badge(Kind::Bad, "failed"),
    }
}

/// A daemon as the node's init sees it.
pub fn daemon(running: bool, installed: bool) -> Badge {
    match (installed, running) {
        (false, _) => badge(Kind::Warn, "not installed"),
        (true, true) => badge(Kind::Ok, "running"),
        (true, false) => badge(Kind::Off, "not running"),
    }
}

/// Severity of an event.
pub fn severity(word: &str) -> Badge {
    match word {
        "error" => badge(Kind::Bad, "error"),
        "warning" => badge(Kind::Warn, "warning"),
        _ => badge(Kind::Off, "info"),
    }
}

/// Of a cluster as a whole.
pub mod cluster {
    use super::{Badge, Kind, badge};

    pub const QUORATE: Badge = badge(Kind::Ok, "Quorate");
    pub const NOT_QUORATE: Badge = badge(Kind::Bad, "Not Quorate");
    pub const STOPPED: Badge = badge(Kind::Off, "Not running");
    pub const UNKNOWN: Badge = badge(Kind::Unknown, "Status unknown");
    pub const CREATING: Badge = badge(Kind::Busy, "Being created");
    pub const PROBLEM: Badge = badge(Kind::Warn, "Needs attention");
}
