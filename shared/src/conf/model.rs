//! The typed view of a cluster.conf: what the engine and the pages work with. Built by `view::read` from the
//! document; never written back (edits go to the document). Attribute meanings: rhcs.md §3.5, §4.1, §6.2, §6.3, §9.1.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::logging::Logging;
use super::qdevice::Qdevice;
use crate::ids::{ConfVersion, DomainName, NodeId, NodeName, ResourceName, ServiceName};

/// A whole cluster.conf, references resolved, defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conf {
    /// `/cluster/@name`, at most 15 characters in the original; we accept 255.
    pub name: String,
    pub version: ConfVersion,
    pub cman: Cman,
    pub totem: Totem,
    pub fence_daemon: FenceDaemon,
    /// In document order.
    pub nodes: Vec<Node>,
    pub fence_devices: Vec<FenceDevice>,
    pub domains: Vec<Domain>,
    /// `<rm><resources>`: shared resources in document order.
    pub resources: Vec<GlobalResource>,
    /// `<service>` and `<vm>`, in document order.
    pub services: Vec<Service>,
    pub rm: Rm,
    /// `<qdevice>`: a third party that votes.
    #[serde(default)]
    pub qdevice: Option<Qdevice>,
    #[serde(default)]
    pub logging: Logging,
}

/// `<cman>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cman {
    pub two_node: bool,
    /// `None`: the sum of the nodes' votes.
    pub votes_expected: Option<u32>,
    /// UDP port of the first link. Default 5405.
    pub port: u16,
    /// As written (`udpu`, `udp`, …); knet is always used, this only yields a finding.
    pub transport: Option<String>,
    /// No service starts for the first time before every node was seen once. `None`: with two nodes yes, else no.
    #[serde(default)]
    pub wait_for_all: Option<bool>,
}

/// `<totem>`. Times in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totem {
    /// Default 10000 as in the original (rhcs.md §6.3).
    pub token_ms: u64,
    /// `None`: corosync computes 1.2 × token.
    pub consensus_ms: Option<u64>,
    pub join_ms: Option<u64>,
    pub token_retransmits_before_loss: Option<u32>,
    /// `rrp_mode`: how two links share the messages; passive if not said.
    #[serde(default)]
    pub link_mode: LinkMode,
    /// `<interface>`: what is said of single links.
    #[serde(default)]
    pub links: Vec<LinkSettings>,
}

/// How knet uses several links (`rrp_mode` of RHEL 6; corosync.conf: `link_mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkMode {
    /// The link of the highest priority that works.
    #[default]
    Passive,
    /// All at once.
    Active,
    /// One after the other.
    Rr,
}

impl LinkMode {
    /// As corosync.conf spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Passive => "passive",
            Self::Active => "active",
            Self::Rr => "rr",
        }
    }
}

/// `<totem><interface ringnumber=>`. Times in milliseconds; what is `None` corosync computes from the token.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LinkSettings {
    /// Counts from 0.
    pub number: u32,
    /// `mcastport`: UDP port of the link.
    pub port: Option<u16>,
    /// `knet_link_priority`: with passive links the highest that works is used.
    pub priority: Option<u8>,
    pub ping_interval_ms: Option<u64>,
    /// Without an answer for so long the link is down.
    pub ping_timeout_ms: Option<u64>,
    /// Answers in a row until a link counts as up.
    pub pong_count: Option<u8>,
}

/// `<fence_daemon>`. Delays in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceDaemon {
    /// Wait before a node that never showed up is fenced at start. Default 6; `None` (-1) = wait for ever.
    pub post_join_delay_s: Option<u64>,
    /// Wait before a failed member is fenced. Default 0.
    pub post_fail_delay_s: u64,
    /// Believe that absent nodes are down at start (dangerous). Default off.
    pub clean_start: bool,
    /// Skip nodes without fence methods at start. Default off.
    pub skip_undefined: bool,
    /// Pause after all methods failed, before the first is tried again. Default 3.
    pub override_time_s: u64,
    /// Nothing is recovered on the word of a fence agent alone: a fenced node counts as down when it has come back with
    /// another boot id, or an operator vouches for it. Default off.
    #[serde(default)]
    pub require_witness: bool,
    /// With `require_witness`: how long the node may take to come back before it is fenced again. Default 600.
    #[serde(default)]
    pub witness_timeout_s: u64,
}

/// `<clusternode>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub name: NodeName,
    pub id: NodeId,
    /// Default 1.
    pub votes: u32,
    /// `<altname name=>`: address of the second link.
    pub altname: Option<String>,
    /// In the order in which they are tried.
    pub methods: Vec<FenceMethod>,
    /// `<unfence>` devices, in order.
    pub unfence: Vec<FenceInstance>,
}

/// `<method>`: all its devices must succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceMethod {
    pub name: String,
    pub devices: Vec<FenceInstance>,
}

/// `<device>` joined with its `<fencedevice>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceInstance {
    /// Name of the `<fencedevice>`.
    pub device: String,
    /// e.g. `fence_ipmilan`.
    pub agent: String,
    /// What goes to the agent's stdin, in order: the instance's attributes, `nodename`, then the device's
    /// attributes (rhcs.md §9.1). An attribute of the instance wins over the device's, also under an older name.
    pub arguments: Vec<(String, String)>,
}

/// `<fencedevice>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceDevice {
    pub name: String,
    pub agent: String,
    /// All attributes but name and agent, in document order.
    pub attributes: Vec<(String, String)>,
}

/// `<failoverdomain>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    pub name: DomainName,
    pub ordered: bool,
    pub restricted: bool,
    pub nofailback: bool,
    /// Node and priority; priority is 0 unless the domain is ordered (rhcs.md §4.1).
    pub nodes: Vec<(NodeName, u32)>,
}

/// An element of `<rm><resources>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GlobalResource {
    /// Element name, e.g. `ip`.
    pub kind: String,
    /// Value of the type's primary attribute.
    pub name: String,
    pub attributes: Vec<(String, String)>,
}

/// `recovery` of a service (rhcs.md §3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recovery {
    Restart,
    Relocate,
    Disable,
    RestartDisable,
}

/// `<service>` or `<vm>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    pub name: ServiceName,
    pub domain: Option<DomainName>,
    pub autostart: bool,
    /// 0 = not exclusive; ≥ 1 = exclusive, the number being a priority in central mode.
    pub exclusive: u32,
    pub recovery: Recovery,
    /// 0 = unlimited.
    pub max_restarts: u32,
    /// 0 = restarts are never forgotten.
    pub restart_expire_ms: u64,
    /// `depend`, and whether `depend_mode` is hard.
    pub depend: Option<ServiceName>,
    pub depend_hard: bool,
    /// Under `central_processing` the lower number is placed first.
    #[serde(default)]
    pub priority: u32,
    /// `hardrecovery`: the node on which a resource of it does not stop reboots itself, as with `self_fence` on each.
    #[serde(default)]
    pub hard_recovery: bool,
    /// The top resources in document order.
    pub tree: Vec<Resource>,
}

/// One resource of a service's tree, references resolved, inherited attributes filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    pub name: ResourceName,
    /// Element name, e.g. `fs`, `ocf`.
    pub kind: String,
    /// cluster.conf attributes (own, of the referenced resource, inherited), without the `__` ones.
    pub attributes: BTreeMap<String, String>,
    pub isolation: Isolation,
    /// `<action>` overrides.
    pub actions: Vec<ActionOverride>,
    /// In document order; start and stop order are computed by `tree`.
    pub children: Vec<Resource>,
}

/// The `__` attributes (rhcs.md §5.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Isolation {
    /// `__independent_subtree`: 0, 1 (independent), 2 (non-critical).
    pub independent_subtree: u8,
    /// `__enforce_timeouts`; declared timeouts are enforced unless it is `0`.
    pub timeouts_unenforced: bool,
    pub max_failures: u32,
    pub failure_expire_ms: u64,
    pub max_restarts: u32,
    pub restart_expire_ms: u64,
}

/// `<action name= depth= interval= timeout=>` under a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionOverride {
    pub name: String,
    /// `None` = `*`, every depth.
    pub depth: Option<u32>,
    pub interval_ms: Option<u64>,
    pub timeout_ms: Option<u64>,
}

/// Attributes of `<rm>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rm {
    pub disabled: bool,
    pub central_processing: bool,
    /// `watchdog`: the device that rgmanager keeps from resetting the node, e.g. `/dev/watchdog`. Default: none.
    pub watchdog: Option<String>,
    /// `quorum_loss_reboot` (rhcs.md §5.7 time): a member that has not stopped everything this long after it lost quorum
    /// reboots itself. Default: never.
    pub quorum_loss_reboot_ms: Option<u64>,
    /// `log_level`: how much rgmanager says, as syslog counts: 3 errors, 4 warnings, 6 everything of interest, 7 all.
    #[serde(default)]
    pub log_level: Option<usize>,
}

impl Service {
    /// A service that has a name, nothing to run, and the defaults of rhcs.md §3.5.
    pub fn empty(name: ServiceName) -> Self {
        Self {
            name,
            domain: None,
            autostart: true,
            exclusive: 0,
            recovery: Recovery::Restart,
            max_restarts: 0,
            restart_expire_ms: 0,
            depend: None,
            depend_hard: true,
            priority: 0,
            hard_recovery: false,
            tree: Vec::new(),
        }
    }
}

impl Conf {
    /// What corosync counts votes by if nobody says otherwise: the nodes' and the quorum device's.
    pub fn votes(&self) -> u32 {
        let nodes = self.nodes.iter().map(|node| node.votes).fold(0, u32::saturating_add);
        nodes.saturating_add(self.qdevice.as_ref().map_or(0, |device| device.votes_of(self.nodes.len())))
    }

    /// The node with this name.
    pub fn node(&self, name: &NodeName) -> Option<&Node> {
        self.nodes.iter().find(|node| &node.name == name)
    }

    /// The node with this id.
    pub fn node_by_id(&self, id: NodeId) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// The service with this full name.
    pub fn service(&self, name: &ServiceName) -> Option<&Service> {
        self.services.iter().find(|service| &service.name == name)
    }

    /// The failover domain with this name; names compare without case (rhcs.md §3.5).
    pub fn domain(&self, name: &DomainName) -> Option<&Domain> {
        self.domains.iter().find(|domain| domain.name.0.eq_ignore_ascii_case(&name.0))
    }
}
