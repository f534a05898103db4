//! The pages of settings of a cluster: quorum, network, logging, fencing and rgmanager (rhcs.md §8.3 "Configure"). Every field
//! stands for one attribute of one element of cluster.conf; tables say which, with label, help and default. Made by
//! `http::settings`, which also turns what was entered into edits.

use askama::Template;
use shared::conf::edit::Attributes;
use shared::conf::model::Conf;
use shared::conf::qdevice::Algorithm;

use super::Shell;
use super::cluster::HeadPanel;
use super::fields::{Field, Widget};
use super::manage::FormErrors;
use crate::language::filters;

/// The unit of a time in cluster.conf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    None,
    Milliseconds,
    Seconds,
}

/// An attribute, as a field.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub name: &'static str,
    label: &'static str,
    help: &'static str,
    /// What counts when the field is empty.
    placeholder: &'static str,
    widget: Widget,
    pub unit: Unit,
}

const fn number(name: &'static str, label: &'static str, help: &'static str, placeholder: &'static str) -> Setting {
    Setting { name, label, help, placeholder, widget: Widget::Number, unit: Unit::None }
}

const fn millis(name: &'static str, label: &'static str, help: &'static str, placeholder: &'static str) -> Setting {
    Setting { unit: Unit::Milliseconds, ..number(name, label, help, placeholder) }
}

const fn seconds(name: &'static str, label: &'static str, help: &'static str, placeholder: &'static str) -> Setting {
    Setting { unit: Unit::Seconds, ..number(name, label, help, placeholder) }
}

const fn text(name: &'static str, label: &'static str, help: &'static str, placeholder: &'static str) -> Setting {
    Setting { widget: Widget::Text, ..number(name, label, help, placeholder) }
}

const fn switch(name: &'static str, label: &'static str, help: &'static str) -> Setting {
    Setting { widget: Widget::Switch, ..number(name, label, help, "") }
}

const fn choice(
    name: &'static str,
    label: &'static str,
    help: &'static str,
    options: &'static [(&'static str, &'static str)],
) -> Setting {
    Setting { widget: Widget::Choice(options), ..number(name, label, help, "") }
}

/// Words for switches of `<logging>`, which RHEL 6 wrote as words.
const YES: &[(&str, &str)] = &[("", "default"), ("yes", "on"), ("no", "off")];
const ON: &[(&str, &str)] = &[("", "default"), ("on", "on"), ("off", "off")];
const PRIORITY: &[(&str, &str)] = &[
    ("", "default"),
    ("debug", "debug"),
    ("info", "info"),
    ("notice", "notice"),
    ("warning", "warning"),
    ("err", "err"),
    ("crit", "crit"),
    ("alert", "alert"),
    ("emerg", "emerg"),
];
const FACILITY: &[(&str, &str)] = &[
    ("", "default"),
    ("daemon", "daemon"),
    ("local0", "local0"),
    ("local1", "local1"),
    ("local2", "local2"),
    ("local3", "local3"),
    ("local4", "local4"),
    ("local5", "local5"),
    ("local6", "local6"),
    ("local7", "local7"),
];

pub const FENCE_DAEMON: &[Setting] = &[
    seconds("post_fail_delay", "Post Fail Delay (seconds)", "Wait before a failed member is fenced.", "0"),
    seconds(
        "post_join_delay",
        "Post Join Delay (seconds)",
        "Wait at start before a node that never showed up is fenced. -1: for ever.",
        "6",
    ),
    seconds(
        "override_time",
        "Pause Between Rounds (seconds)",
        "After all methods failed, before the first is tried again.",
        "3",
    ),
    switch("clean_start", "Clean Start", "Believe that absent nodes are down at start. Dangerous."),
    switch("skip_undefined", "Skip Undefined", "Do not wait for nodes without a fence method at start. Dangerous."),
    switch(
        "require_witness",
        "Require a Witness",
        "A fenced node counts as down only when it has come back with another boot id, or somebody vouches for it.",
    ),
    seconds(
        "witness_timeout",
        "Witness Timeout (seconds)",
        "How long a fenced node may take to come back before it is fenced again.",
        "600",
    ),
];
pub const TOTEM: &[Setting] = &[
    millis(
        "token",
        "Token Timeout (milliseconds)",
        "A node that is silent for so long is lost. 10s or 500ms can be written too.",
        "10000",
    ),
    millis("consensus", "Consensus (milliseconds)", "Empty: 1.2 times the token timeout.", ""),
    millis("join", "Join (milliseconds)", "How long join messages are waited for while the membership forms.", "60"),
    number(
        "token_retransmits_before_loss_const",
        "Token Retransmits Before Loss",
        "Attempts to hand the token on within the token timeout.",
        "20",
    ),
    choice(
        "rrp_mode",
        "Use of Two Links",
        "Passive: the link of the highest priority that works. Active: both at once.",
        &[("", "default"), ("passive", "passive"), ("active", "active"), ("rr", "round-robin")],
    ),
];
pub const CMAN: &[Setting] = &[
    number("expected_votes", "Expected Votes", "Empty: the sum of the nodes' votes.", ""),
    switch("two_node", "Two-node Mode", "Exactly two nodes: one vote is enough, fencing decides."),
    switch(
        "wait_for_all",
        "Wait for All",
        "After a start of the whole cluster nothing runs before every node was seen once. Default: on with two-node mode, else off.",
    ),
];
pub const PORT: &[Setting] = &[number("port", "UDP Port", "Of the first link; the second uses the next one.", "5405")];
pub const LINK: &[Setting] = &[
    number("mcastport", "UDP Port", "Empty: follows from the port of the first link.", ""),
    number("knet_link_priority", "Priority", "With passive links the highest that works is used.", "0"),
    millis(
        "knet_ping_interval",
        "Ping Interval (milliseconds)",
        "Empty: a quarter of the token timeout. Give it together with the ping timeout.",
        "",
    ),
    millis(
        "knet_ping_timeout",
        "Ping Timeout (milliseconds)",
        "Without an answer for so long the link is down. Empty: half of the token timeout.",
        "",
    ),
    number("knet_pong_count", "Answers Until Up", "Answers in a row until a link counts as up again.", "2"),
];
pub const QDEVICE: &[Setting] = &[
    text(
        "host",
        "Host of corosync-qnetd",
        "A host outside the cluster that every node reaches.",
        "witness.example.com",
    ),
    number("port", "TCP Port", "", "5403"),
    choice(
        "algorithm",
        "Algorithm",
        "ffsplit: one vote, for the larger part or one of two halves. lms: the last node that it sees goes on alone.",
        &[("", "default"), ("ffsplit", "ffsplit"), ("lms", "lms")],
    ),
    number("votes", "Votes", "Empty: what the algorithm asks for.", ""),
    text(
        "tie_breaker",
        "Tie Breaker",
        "Which half goes on when all else is equal: lowest, highest, or the id of a node.",
        "lowest",
    ),
    choice(
        "tls",
        "TLS",
        "On and required need certificates on every node, made by corosync-qdevice-net-certutil.",
        &[("", "default"), ("on", "on"), ("off", "off"), ("required", "required")],
    ),
    millis("timeout", "Timeout (milliseconds)", "So long corosync waits for its word.", "10000"),
    millis("sync_timeout", "Timeout While the Membership Changes (milliseconds)", "", "30000"),
    choice(
        "heuristics",
        "Run the Programs",
        "A node whose programs fail does not get the device's votes.",
        &[("", "default"), ("sync", "when the membership changes"), ("on", "all the time"), ("off", "never")],
    ),
];
pub const LOG_ALL: &[Setting] = &[
    choice("to_syslog", "Log to syslog", "", YES),
    choice("syslog_facility", "Syslog Facility", "", FACILITY),
    choice("syslog_priority", "Syslog Priority", "What is less grave is left out.", PRIORITY),
    choice("to_logfile", "Log to a File", "", YES),
    choice("logfile_priority", "Priority for the File", "", PRIORITY),
    choice("debug", "Debug Messages", "", ON),
];
pub const LOG_COROSYNC: &[Setting] = &[
    choice("to_syslog", "Log to syslog", "", YES),
    choice("syslog_facility", "Syslog Facility", "", FACILITY),
    choice("syslog_priority", "Syslog Priority", "What is less grave is left out.", PRIORITY),
    choice("to_logfile", "Log to a File", "", YES),
    text("logfile", "Log File", "", "/var/log/cluster/corosync.log"),
    choice("logfile_priority", "Priority for the File", "", PRIORITY),
    choice("debug", "Debug Messages", "", ON),
];
pub const LOG_RGMANAGER: &[Setting] = &[
    choice("syslog_priority", "Priority", "What is less grave is left out.", PRIORITY),
    choice("debug", "Debug Messages", "", ON),
];
pub const LOG_LEVEL: &[Setting] = &[choice(
    "log_level",
    "Log Level (rm)",
    "As RHEL 6 had it; what stands above counts first.",
    &[
        ("", "default"),
        ("7", "7: debug"),
        ("6", "6: info"),
        ("5", "5: notice"),
        ("4", "4: warning"),
        ("3", "3: err"),
        ("2", "2: crit"),
        ("1", "1: alert"),
        ("0", "0: emerg"),
    ],
)];
/// Parts of corosync whose debug messages can be switched on by themselves.
pub const SUBSYSTEMS: &[&str] =
    &["TOTEM", "KNET", "QUORUM", "VOTEQ", "CPG", "CFG", "CMAP", "MAIN", "SERV", "MON", "QB", "WD"];
pub const RM: &[Setting] = &[
    text(
        "watchdog",
        "Watchdog Device",
        "rgmanager keeps it from resetting the node; when rgmanager hangs, the node is reset.",
        "/dev/watchdog",
    ),
    seconds(
        "quorum_loss_reboot",
        "Reboot After a Loss of Quorum (seconds)",
        "A member that has not stopped everything so long after it lost quorum reboots itself. Empty: never.",
        "",
    ),
    switch(
        "central_processing",
        "Central Processing",
        "The number of Run Exclusive becomes a priority: a service may make room for one of higher priority.",
    ),
    switch("disabled", "Disable rgmanager", "No services are run at all."),
];

impl Setting {
    /// The field, with a prefix that tells it from fields of the same attribute elsewhere on the page.
    fn field(&self, prefix: &str, values: &Attributes) -> Field {
        let value = values.get(self.name).cloned().unwrap_or_default();
        let value = match self.widget {
            // RHEL 6 took several words for on and off.
            Widget::Choice(options) if options.iter().any(|(word, _)| *word == "yes") => match value.as_str() {
                "1" | "on" | "true" => "yes".into(),
                "0" | "off" | "false" => "no".into(),
                _ => value,
            },
            Widget::Choice(options) if options.iter().any(|(word, _)| *word == "off") && options.len() == 3 => {
                match value.as_str() {
                    "1" | "yes" | "true" => "on".into(),
                    "0" | "no" | "false" => "off".into(),
                    _ => value,
                }
            }
            _ => value,
        };
        Field {
            name: format!("{prefix}{}", self.name),
            label: self.label.to_owned(),
            help: self.help.into(),
            placeholder: self.placeholder.into(),
            widget: self.widget,
            value,
            // It has a prefix here, which cluster.conf does not know.
            hides_name: true,
            ..Field::default()
        }
    }
}

/// A group of fields of one element.
#[derive(Debug, Clone)]
pub struct Group {
    pub legend: &'static str,
    /// Stands before the legend, for what has a name of its own.
    pub of: String,
    pub fields: Vec<Field>,
}

impl Group {
    pub fn new(legend: &'static str, prefix: &str, settings: &[Setting], values: &Attributes) -> Self {
        Self { legend, of: String::new(), fields: settings.iter().map(|one| one.field(prefix, values)).collect() }
    }

    pub fn list(&self) -> &[Field] {
        &self.fields
    }

    /// Debug messages of single parts of corosync; `others`: those that only the configuration names.
    pub fn subsystems(values: impl Fn(&str) -> Attributes, others: &[String]) -> Self {
        let names = SUBSYSTEMS.iter().map(|name| (*name).to_owned()).chain(others.iter().cloned());
        let debug = choice("debug", "", "", ON);
        let fields = names.map(|name| {
            let field = debug.field(&format!("sub-{name}-"), &values(&name));
            Field { label: name, ..field }
        });
        Self { legend: "Debug messages of parts of corosync", of: String::new(), fields: fields.collect() }
    }
}

/// One form: what is sent and applied together.
#[derive(Debug, Clone)]
pub struct SectionForm {
    pub id: &'static str,
    pub title: &'static str,
    pub note: &'static str,
    pub groups: Vec<Group>,
    /// Rows of a node and one field each: node, value.
    pub nodes: Vec<(String, String)>,
    /// What the field of a node's row is.
    pub of_node: &'static str,
    /// Name and program of each heuristic, with empty rows for more.
    pub programs: Option<Vec<(String, String)>>,
    /// There is something that can be removed.
    pub removable: bool,
}

impl SectionForm {
    pub fn new(id: &'static str, title: &'static str, note: &'static str, groups: Vec<Group>) -> Self {
        Self { id, title, note, groups, nodes: Vec::new(), of_node: "", programs: None, removable: false }
    }
}

/// What the votes mean for the cluster, in words.
#[derive(Debug, Clone)]
pub struct QuorumCard {
    pub facts: Vec<String>,
}

impl QuorumCard {
    pub fn new(conf: &Conf) -> Self {
        let nodes = conf.nodes.len();
        let mut facts = Vec::new();
        let waits = conf.cman.wait_for_all.unwrap_or(conf.cman.two_node && conf.qdevice.is_none());
        match &conf.qdevice {
            None if conf.cman.two_node => facts.push(
                "Two-node mode: one vote is enough. When the link breaks both nodes live, and the one that fences the other goes on. \
                 Give the fence device of one node a delay, so that it wins; without one, the node with fewer services \
                 waits."
                    .to_owned(),
            ),
            device => {
                let votes = conf.cman.votes_expected.unwrap_or_else(|| conf.votes());
                let quorum = votes / 2 + 1;
                facts.push(format!("{votes} votes are expected; {quorum} are needed for quorum."));
                match device {
                    None => facts.push(survivors(conf, quorum)),
                    Some(device) if device.algorithm == Algorithm::Ffsplit => facts.push(format!(
                        "When the cluster falls into two halves, the quorum device on {} gives its vote to one of them.",
                        device.host
                    )),
                    Some(device) => facts.push(format!(
                        "With the quorum device on {} a single node goes on, as long as it reaches the device.",
                        device.host
                    )),
                }
            }
        }
        if waits {
            facts.push(format!(
                "After a start of the whole cluster nothing runs before all {nodes} nodes were seen once."
            ));
        }
        if nodes == 2 && !conf.cman.two_node && conf.qdevice.is_none() {
            facts.push(
                "Without two-node mode or a quorum device, the loss of either node stops all services.".to_owned(),
            );
        }
        Self { facts }
    }
}

/// How many nodes may be lost, the ones with the most votes first.
fn survivors(conf: &Conf, quorum: u32) -> String {
    let mut votes: Vec<u32> = conf.nodes.iter().map(|node| node.votes).collect();
    votes.sort_unstable();
    let mut left: u32 = votes.iter().sum();
    let mut lost = 0;
    while let Some(most) = votes.pop() {
        left = left.saturating_sub(most);
        if left < quorum {
            break;
        }
        lost += 1;
    }
    match lost {
        0 => "The loss of any node with the most votes costs quorum, and all services stop.".to_owned(),
        1 => "Any one node may be lost.".to_owned(),
        lost => format!("Any {lost} nodes may be lost together."),
    }
}

#[derive(Debug, Template)]
#[template(path = "settings.html")]
pub struct SettingsPage {
    pub shell: Shell,
    pub head: HeadPanel,
    pub cluster: String,
    /// The page's last part of the address.
    pub room: &'static str,
    pub title: &'static str,
    pub quorum: Option<QuorumCard>,
    pub sections: Vec<SectionForm>,
    pub base: String,
    pub errors: FormErrors,
}

/// The pages beside Configure: address, name.
pub const PAGES: &[(&str, &str)] = &[
    ("quorum", "Quorum"),
    ("network", "Network"),
    ("logging", "Logging"),
    ("fence-daemon", "Fence Daemon"),
    ("rgmanager", "Resource Manager"),
];

impl SettingsPage {
    fn pages(&self) -> &'static [(&'static str, &'static str)] {
        PAGES
    }
}
