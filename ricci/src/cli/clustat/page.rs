//! What one run of `clustat` shows: the facts and which of them were asked for. Made by `clustat`, drawn by `text`
//! and `xml`; asks nobody and prints nothing.

use shared::ids::{NodeName, ServiceName, Time};
use shared::status::{ClusterStatus, Membership, NodeStatus, ServiceStatus};
use shared::text::ServiceState;

use crate::cli::clock::Zone;

/// Exit code for a name that nobody knows.
pub const EXIT_UNKNOWN_NAME: u8 = 255;

/// The facts, and how to show them.
#[derive(Debug, Clone)]
pub struct Page<'a> {
    pub status: &'a ClusterStatus,
    /// Whether `status.services` comes from an rgmanager that holds the state. If not, the list says nothing.
    pub services_known: bool,
    /// `-m`.
    pub only_member: Option<NodeName>,
    /// `-s`.
    pub only_service: Option<ServiceName>,
    /// `-l`.
    pub long: bool,
    /// The number of corosync's ring, if it is known.
    pub generation: Option<u64>,
    /// What is amiss stands out in colour; the characters are the same.
    pub color: bool,
    /// Columns of the terminal.
    pub width: usize,
    /// When this is shown.
    pub now: Time,
    pub zone: Zone,
}

impl<'a> Page<'a> {
    /// Everything, 80 columns wide.
    pub fn whole(status: &'a ClusterStatus, now: Time, zone: Zone) -> Self {
        Self {
            status,
            services_known: true,
            only_member: None,
            only_service: None,
            long: false,
            generation: None,
            color: false,
            width: 80,
            now,
            zone,
        }
    }

    /// Neither `-m` nor `-s`.
    pub(super) fn shows_cluster(&self) -> bool {
        self.only_member.is_none() && self.only_service.is_none()
    }

    pub(super) fn shows_nodes(&self) -> bool {
        self.only_member.is_some() || self.only_service.is_none()
    }

    pub(super) fn shows_services(&self) -> bool {
        self.services_known && (self.only_service.is_some() || self.only_member.is_none())
    }

    /// The nodes to list, by id. A node that is down and in no cluster.conf is of no use to anybody.
    pub(super) fn nodes(&self) -> Vec<&'a NodeStatus> {
        let mut nodes: Vec<&NodeStatus> = self
            .status
            .nodes
            .iter()
            .filter(|node| node.online || node.configured)
            .filter(|node| self.only_member.as_ref().is_none_or(|name| *name == node.name))
            .collect();
        nodes.sort_by_key(|node| node.id);
        nodes
    }

    /// The services to list, by name.
    pub(super) fn services(&self) -> Vec<&'a ServiceStatus> {
        let mut services: Vec<&ServiceStatus> = self
            .status
            .services
            .iter()
            .filter(|service| self.only_service.as_ref().is_none_or(|name| *name == service.name))
            .collect();
        services.sort_by(|left, right| left.name.cmp(&right.name));
        services
    }

    /// The exit code of the text form. `-s` without rgmanager fails: nobody knows the state.
    pub fn exit_code(&self) -> u8 {
        let member = self.only_member.as_ref().map_or(0, |_| match self.nodes().first() {
            Some(node) => u8::from(!node.online),
            None => EXIT_UNKNOWN_NAME,
        });
        let service = self.only_service.as_ref().map_or(0, |_| match self.services().first() {
            Some(service) if self.services_known => service_exit_code(service.state),
            _ => EXIT_UNKNOWN_NAME,
        });
        if member == 0 { service } else { member }
    }

    /// The exit code of the XML form, which forgives an unknown name.
    pub fn exit_code_xml(&self) -> u8 {
        let unknown_member = self.only_member.is_some() && self.nodes().is_empty();
        let unknown_service = self.services_known && self.only_service.is_some() && self.services().is_empty();
        if unknown_member || unknown_service { 0 } else { self.exit_code() }
    }
}

fn service_exit_code(state: ServiceState) -> u8 {
    match state {
        ServiceState::Starting | ServiceState::Started | ServiceState::Stopping => 0,
        other => other.number(),
    }
}

/// Whether the node's rgmanager may be given services: what the original called listening on the group's port.
pub(super) fn runs_rgmanager(node: &NodeStatus) -> bool {
    node.online && node.member == Membership::Member
}
