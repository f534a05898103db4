//! Fields of forms for attributes of cluster.conf. Which attributes a kind has comes from the table of kinds; this file adds the
//! words and widgets for the common ones. An attribute that nobody here has heard of is shown as a row of its own and never
//! lost.

use std::borrow::Cow;
use std::collections::BTreeSet;

use shared::agents::kinds::Runs;
use shared::agents::mapping;
use shared::conf::edit::Attributes;

use crate::secrets::is_secret;

/// How a field is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Widget {
    #[default]
    Text,
    Number,
    /// Default, on, off.
    Switch,
    Secret,
    Choice(&'static [(&'static str, &'static str)]),
    /// The choices stand in the field.
    Options,
}

/// Words of an agent: shown as they are, in the language they are in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    /// The language, for readers aloud.
    pub lang: &'static str,
    /// What is always seen.
    pub first: String,
    /// Paragraphs that are folded away.
    pub rest: Vec<String>,
}

impl Words {
    /// Paragraphs in which the agent warns of itself: these must not be folded away.
    pub fn warnings(&self) -> Vec<&str> {
        let paragraphs = std::iter::once(&self.first).chain(&self.rest).map(String::as_str);
        paragraphs.filter(|paragraph| paragraph.to_uppercase().starts_with("WARNING")).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.first.is_empty() && self.rest.is_empty()
    }
}

/// A field of a form.
#[derive(Debug, Clone, Default)]
pub struct Field {
    /// The attribute.
    pub name: String,
    pub label: String,
    /// The label is an agent's word or a bare name, in this language; `None`: it is ours, and translated.
    pub label_lang: Option<&'static str>,
    /// The attribute is not told beside the label.
    pub hides_name: bool,
    /// Our help.
    pub help: Cow<'static, str>,
    /// The agent's help.
    pub words: Words,
    /// Sentences of ours about the value: bounds, what an older name stands for.
    pub notes: Vec<String>,
    /// What a bare number means, `s`; empty: nothing.
    pub unit: &'static str,
    /// Kept for configurations that have it.
    pub deprecated: bool,
    pub placeholder: Cow<'static, str>,
    pub widget: Widget,
    /// Of [`Widget::Options`]: value, text.
    pub choices: Vec<(String, String)>,
    pub value: String,
    pub required: bool,
}

impl Field {
    /// Name and id of the field in the form.
    pub fn id(&self) -> String {
        format!("a-{}", self.name)
    }

    pub fn is_number(&self) -> bool {
        self.widget == Widget::Number
    }

    pub fn is_secret(&self) -> bool {
        self.widget == Widget::Secret
    }

    /// Whether the attribute is worth telling beside the label.
    pub fn shows_name(&self) -> bool {
        !self.hides_name && self.label != self.name && !self.label.eq_ignore_ascii_case(&self.name)
    }

    /// The options, if it is a choice: value, text, chosen.
    pub fn options(&self) -> Option<Vec<(&str, &str, bool)>> {
        let options: Vec<(&str, &str)> = match self.widget {
            Widget::Switch => vec![("", "default"), ("1", "on"), ("0", "off")],
            Widget::Choice(options) => options.to_vec(),
            Widget::Options => self.choices.iter().map(|(value, text)| (value.as_str(), text.as_str())).collect(),
            _ => return None,
        };
        let value = match (self.widget, self.value.as_str()) {
            (Widget::Switch, "yes" | "on" | "true") => "1",
            (Widget::Switch, "no" | "off" | "false") => "0",
            (_, value) => value,
        };
        Some(options.into_iter().map(|(option, text)| (option, text, option == value)).collect())
    }

    /// The value as the form shows it: a secret is never given out.
    pub fn shown(&self) -> &str {
        if self.is_secret() { "" } else { &self.value }
    }

    pub fn has_secret(&self) -> bool {
        self.is_secret() && !self.value.is_empty()
    }
}

/// Attribute, label, help, placeholder, widget.
pub(super) type Known = (&'static str, &'static str, &'static str, &'static str, Widget);

/// Words and widgets of attributes, where the bare name would not do.
pub(super) const RESOURCE_FIELDS: &[Known] = &[
    (
        "address",
        "IP Address",
        "The floating address, with or without the bits of its netmask.",
        "10.0.0.10/24",
        Widget::Text,
    ),
    ("monitor_link", "Monitor Link", "Fails when the network link of the address is down.", "", Widget::Switch),
    ("sleeptime", "Seconds to sleep after removing", "Time for clients to notice.", "10", Widget::Number),
    ("prefer_interface", "Prefer interface", "", "eth0", Widget::Text),
    ("disable_rdisc", "Disable updates to static routes", "", "", Widget::Switch),
    ("mountpoint", "Mount Point", "", "/srv/data", Widget::Text),
    ("device", "Device, Label or UUID", "", "/dev/vg0/data", Widget::Text),
    ("fstype", "Filesystem Type", "Empty: found out when mounting.", "ext4", Widget::Text),
    ("options", "Mount Options", "", "noatime", Widget::Text),
    ("force_unmount", "Force Unmount", "Ends the processes that use it.", "", Widget::Switch),
    ("force_fsck", "Force fsck", "", "", Widget::Switch),
    ("self_fence", "Reboot Host Node If Unmount Fails", "", "", Widget::Switch),
    ("quick_status", "Use Quick Status Checks", "", "", Widget::Switch),
    ("nfslock", "Use NFS lock workarounds", "", "", Widget::Switch),
    ("file", "Full Path to Script File", "An init script: start, stop, status.", "/etc/init.d/web", Widget::Text),
    ("unit", "Systemd unit", "", "nginx.service", Widget::Text),
    ("provider", "OCF provider", "", "heartbeat", Widget::Text),
    ("type", "OCF agent", "", "Dummy", Widget::Text),
    ("server_root", "Server Root", "", "/etc/apache2", Widget::Text),
    ("config_file", "Config File", "", "apache2.conf", Widget::Text),
    ("httpd_options", "httpd Options", "", "", Widget::Text),
    ("httpd", "Path of the httpd program", "", "/usr/sbin/apache2", Widget::Text),
    ("shutdown_wait", "Shutdown Wait (seconds)", "", "30", Widget::Number),
    ("startup_wait", "Startup Wait (seconds)", "", "30", Widget::Number),
    ("host", "NFS/CIFS Server", "", "nas.example.com", Widget::Text),
    ("export", "Export Path", "", "/export/data", Widget::Text),
    ("vg_name", "Volume Group Name", "", "vg0", Widget::Text),
    ("lv_name", "Logical Volume Name", "Empty: all of the volume group.", "", Widget::Text),
    ("listen_address", "Listen Address", "", "", Widget::Text),
    ("target", "Target Hostname, Wildcard, or Netgroup", "", "10.0.0.0/24", Widget::Text),
    ("name", "Name", "", "", Widget::Text),
    ("source", "Directory", "What is mounted there a second time.", "/srv/data", Widget::Text),
    ("nfspath", "NFS state directory", "Below the path.", ".clumanager/nfs", Widget::Text),
    ("path", "Path", "", "", Widget::Text),
    ("fsid", "File System ID", "Empty: made from the path.", "", Widget::Text),
    ("db_passwd", "Password", "", "", Widget::Secret),
];

pub(super) const FENCE_FIELDS: &[Known] = &[
    ("ipaddr", "IP Address or Hostname", "Of the power device.", "10.0.0.201", Widget::Text),
    ("ip", "IP Address or Hostname", "Of the power device.", "10.0.0.201", Widget::Text),
    ("ipport", "IP Port", "", "", Widget::Number),
    ("login", "Login", "", "", Widget::Text),
    ("passwd", "Password", "", "", Widget::Secret),
    ("passwd_script", "Password Script", "Prints the password; used instead of it.", "", Widget::Text),
    ("port", "Port (plug)", "The outlet or machine; usually given per node.", "", Widget::Text),
    ("lanplus", "Use Lanplus", "IPMI 2.0, which most BMCs of today need.", "", Widget::Switch),
    (
        "auth",
        "Authentication Type",
        "",
        "",
        Widget::Choice(&[("", "default"), ("none", "none"), ("password", "password"), ("md5", "md5")]),
    ),
    ("cipher", "Cipher Suite", "", "3", Widget::Number),
    (
        "privlvl",
        "Privilege Level",
        "",
        "",
        Widget::Choice(&[
            ("", "default"),
            ("callback", "callback"),
            ("user", "user"),
            ("operator", "operator"),
            ("administrator", "administrator"),
        ]),
    ),
    ("method", "Method", "", "", Widget::Choice(&[("", "default"), ("onoff", "off, then on"), ("cycle", "cycle")])),
    ("power_wait", "Power Wait (seconds)", "After turning off or on.", "", Widget::Number),
    ("power_timeout", "Power Timeout (seconds)", "How long the power may take to change.", "", Widget::Number),
    ("shell_timeout", "Shell Timeout (seconds)", "", "", Widget::Number),
    ("login_timeout", "Login Timeout (seconds)", "", "", Widget::Number),
    ("retry_on", "Times to Retry Power On", "", "", Widget::Number),
    (
        "delay",
        "Delay Before Fencing (seconds)",
        "In a two-node cluster: give one node's device a delay.",
        "",
        Widget::Number,
    ),
    ("multicast_address", "Multicast Address", "", "225.0.0.12", Widget::Text),
    ("key_file", "Key File", "On every node.", "/etc/cluster/fence_xvm.key", Widget::Text),
    ("timeout", "Timeout (seconds)", "", "30", Widget::Number),
    ("community", "SNMP Community", "", "", Widget::Secret),
    ("snmp_version", "SNMP Version", "", "", Widget::Choice(&[("", "default"), ("1", "1"), ("2c", "2c"), ("3", "3")])),
    (
        "snmp_sec_level",
        "SNMP Security Level",
        "",
        "",
        Widget::Choice(&[
            ("", "default"),
            ("noAuthNoPriv", "noAuthNoPriv"),
            ("authNoPriv", "authNoPriv"),
            ("authPriv", "authPriv"),
        ]),
    ),
    (
        "snmp_auth_prot",
        "SNMP Authentication Protocol",
        "",
        "",
        Widget::Choice(&[("", "default"), ("MD5", "MD5"), ("SHA", "SHA")]),
    ),
    ("snmp_priv_passwd", "SNMP Privacy Password", "", "", Widget::Secret),
    ("secure", "Use SSH", "", "", Widget::Switch),
    ("identity_file", "Path to SSH Identity File", "", "", Widget::Text),
    ("ssl", "Use SSL", "", "", Widget::Switch),
    ("ssl_insecure", "Accept any certificate", "", "", Widget::Switch),
];

/// A fence agent that luci knows by name.
#[derive(Debug, Clone, Copy)]
pub struct FenceAgent {
    pub agent: &'static str,
    pub title: &'static str,
    /// Attributes of the device.
    pub device: &'static [&'static str],
    /// Attributes given per node.
    pub instance: &'static [&'static str],
}

const IPMI: &[&str] = &[
    "ipaddr",
    "login",
    "passwd",
    "passwd_script",
    "lanplus",
    "ipport",
    "cipher",
    "auth",
    "privlvl",
    "method",
    "power_wait",
    "power_timeout",
    "login_timeout",
    "delay",
];
const SNMP: &[&str] = &[
    "ipaddr",
    "community",
    "snmp_version",
    "login",
    "passwd",
    "snmp_sec_level",
    "snmp_auth_prot",
    "snmp_priv_passwd",
    "power_wait",
    "power_timeout",
];
const SHELL: &[&str] = &[
    "ipaddr",
    "ipport",
    "login",
    "passwd",
    "passwd_script",
    "secure",
    "identity_file",
    "power_wait",
    "power_timeout",
    "login_timeout",
];
const WEB: &[&str] = &[
    "ipaddr",
    "ipport",
    "login",
    "passwd",
    "passwd_script",
    "ssl",
    "ssl_insecure",
    "power_wait",
    "power_timeout",
    "login_timeout",
];
const PLUG: &[&str] = &["port", "delay"];
const DELAY: &[&str] = &["delay"];

/// The common agents; any other is entered by its name.
pub const FENCE_AGENTS: &[FenceAgent] = &[
    FenceAgent { agent: "fence_ipmilan", title: "IPMI Lan", device: IPMI, instance: DELAY },
    FenceAgent {
        agent: "fence_xvm",
        title: "Virtual Machine Fencing (multicast)",
        device: &["multicast_address", "ipport", "key_file", "timeout"],
        instance: PLUG,
    },
    FenceAgent { agent: "fence_virsh", title: "Virtual Machine Fencing (virsh)", device: SHELL, instance: PLUG },
    FenceAgent { agent: "fence_apc", title: "APC Power Switch", device: SHELL, instance: PLUG },
    FenceAgent { agent: "fence_apc_snmp", title: "APC Power Switch (SNMP)", device: SNMP, instance: PLUG },
    FenceAgent { agent: "fence_eaton_snmp", title: "Eaton Network Power Switch (SNMP)", device: SNMP, instance: PLUG },
    FenceAgent { agent: "fence_ifmib", title: "IF MIB (network switch by SNMP)", device: SNMP, instance: PLUG },
    FenceAgent { agent: "fence_idrac", title: "Dell iDRAC (IPMI)", device: IPMI, instance: DELAY },
    FenceAgent { agent: "fence_drac5", title: "Dell DRAC 5", device: SHELL, instance: DELAY },
    FenceAgent { agent: "fence_ilo4", title: "HP iLO 4 (IPMI)", device: IPMI, instance: DELAY },
    FenceAgent { agent: "fence_ilo5", title: "HPE iLO 5 (IPMI)", device: IPMI, instance: DELAY },
    FenceAgent { agent: "fence_imm", title: "IBM Integrated Management Module (IPMI)", device: IPMI, instance: DELAY },
    FenceAgent { agent: "fence_redfish", title: "Redfish", device: WEB, instance: DELAY },
    FenceAgent { agent: "fence_vmware_soap", title: "VMware (SOAP)", device: WEB, instance: PLUG },
    FenceAgent { agent: "fence_vmware_rest", title: "VMware (REST)", device: WEB, instance: PLUG },
    FenceAgent { agent: "fence_rhevm", title: "RHEV-M / oVirt", device: WEB, instance: PLUG },
    FenceAgent { agent: "fence_bladecenter", title: "IBM BladeCenter", device: SHELL, instance: PLUG },
    FenceAgent { agent: "fence_wti", title: "WTI Power Switch", device: SHELL, instance: PLUG },
];

/// The agent with this name, if luci knows it.
pub fn fence_agent(agent: &str) -> Option<&'static FenceAgent> {
    FENCE_AGENTS.iter().find(|known| known.agent == agent)
}

pub(super) fn field(known: &[Known], name: &str, attributes: &Attributes, required: bool) -> Field {
    let (label, help, placeholder, widget) = match known.iter().find(|row| row.0 == name) {
        Some((_, label, help, placeholder, widget)) => ((*label).to_owned(), *help, *placeholder, *widget),
        None if is_secret(name) => (spoken(name), "", "", Widget::Secret),
        None => (spoken(name), "", "", Widget::Text),
    };
    let value = attributes.get(name).cloned().unwrap_or_default();
    Field {
        name: name.to_owned(),
        label,
        label_lang: known.iter().all(|row| row.0 != name).then_some("en"),
        help: help.into(),
        placeholder: placeholder.into(),
        widget,
        value,
        required,
        ..Field::default()
    }
}

fn spoken(name: &str) -> String {
    let text = name.trim_start_matches('_').replace(['_', '-'], " ");
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// An attribute that has no field of its own.
#[derive(Debug, Clone)]
pub struct Extra {
    pub name: String,
    pub value: String,
    pub secret: bool,
    /// Stands in the configuration already; its name is fixed.
    pub fixed: bool,
}

/// Free rows at the end of a form.
const FREE_ROWS: usize = 2;

pub(super) fn extras<'f>(
    attributes: &Attributes,
    fields: impl IntoIterator<Item = &'f Field>,
    skip: &[&str],
) -> Vec<Extra> {
    let known: BTreeSet<&str> = fields.into_iter().map(|field| field.name.as_str()).collect();
    let mut rows: Vec<Extra> = attributes
        .iter()
        .filter(|(name, _)| !known.contains(name.as_str()) && !skip.contains(&name.as_str()))
        .map(|(name, value)| {
            let secret = is_secret(name);
            let value = if secret { String::new() } else { value.clone() };
            Extra { name: name.clone(), value, secret, fixed: true }
        })
        .collect();
    let free = Extra { name: String::new(), value: String::new(), secret: false, fixed: false };
    rows.extend(std::iter::repeat_n(free, FREE_ROWS));
    rows
}

/// From how many fields on a form gets a filter.
const FILTER_FROM: usize = 10;

/// A set of fields with free rows after them.
#[derive(Debug, Clone)]
pub struct AttributeForm {
    pub fields: Vec<Field>,
    /// Parameters that few people need; folded away.
    pub advanced: Vec<Field>,
    /// Older names that are not in use here; folded away, too.
    pub older: Vec<Field>,
    pub extras: Vec<Extra>,
}

impl AttributeForm {
    /// Whether finding a field by its name is worth a field of its own.
    pub fn wants_filter(&self) -> bool {
        self.fields.len() + self.advanced.len() + self.older.len() >= FILTER_FROM
    }

    /// All fields, wherever they stand.
    pub fn all(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().chain(&self.advanced).chain(&self.older)
    }
}

impl AttributeForm {
    /// For a fence device of this agent.
    pub fn device(agent: &str, attributes: &Attributes) -> Self {
        let names = fence_agent(agent).map_or(&["ipaddr", "login", "passwd"][..], |known| known.device);
        let fields: Vec<Field> = names.iter().map(|name| field(FENCE_FIELDS, name, attributes, false)).collect();
        Self {
            extras: extras(attributes, &fields, &["name", "agent"]),
            advanced: Vec::new(),
            older: Vec::new(),
            fields,
        }
    }

    /// For the use of a fence device by a node.
    pub fn instance(agent: &str, attributes: &Attributes) -> Self {
        let names = fence_agent(agent).map_or(PLUG, |known| known.instance);
        let fields: Vec<Field> = names.iter().map(|name| field(FENCE_FIELDS, name, attributes, false)).collect();
        Self { extras: extras(attributes, &fields, &[]), advanced: Vec::new(), older: Vec::new(), fields }
    }
}

/// The attributes of fault isolation, which have a part of the form of their own.
pub const ISOLATION: &[&str] = &[
    "__independent_subtree",
    "__max_restarts",
    "__restart_expire_time",
    "__max_failures",
    "__failure_expire_time",
    "__enforce_timeouts",
];

/// Fields of fault isolation of a resource in a tree.
pub fn isolation_fields(attributes: &Attributes) -> Vec<Field> {
    let make = |name: &str, label: &str, help: &'static str, widget| Field {
        name: name.to_owned(),
        label: label.to_owned(),
        help: Cow::Borrowed(help),
        unit: if name.ends_with("_time") { "s" } else { "" },
        widget,
        value: attributes.get(name).cloned().unwrap_or_default(),
        ..Field::default()
    };
    vec![
        make(
            "__independent_subtree",
            "When it fails",
            "",
            Widget::Choice(&[
                ("", "the whole service is recovered"),
                ("1", "restart only this subtree"),
                ("2", "non-critical: stop only this subtree"),
            ]),
        ),
        make("__max_restarts", "Maximum restarts", "", Widget::Number),
        make("__restart_expire_time", "Forget a restart after", "", Widget::Text),
        make("__max_failures", "Maximum failures", "Checks that may fail in a row.", Widget::Number),
        make("__failure_expire_time", "Forget a failure after", "", Widget::Text),
        make("__enforce_timeouts", "Enforce timeouts", "Off: an agent may run for ever.", Widget::Switch),
    ]
}

/// A kind of resource that can be added.
#[derive(Debug, Clone)]
pub struct KindChoice {
    pub kind: &'static str,
    pub title: &'static str,
}

/// All kinds that can be run, the common ones first as the table has them.
pub fn kind_choices() -> Vec<KindChoice> {
    mapping::kinds()
        .iter()
        .filter(|kind| !matches!(kind.runs, Runs::Not { .. }) && !matches!(kind.name, "vm" | "service"))
        .map(|kind| KindChoice { kind: kind.name, title: kind.title })
        .collect()
}

/// What people call a kind.
pub fn kind_title(kind: &str) -> String {
    mapping::kind(kind).map_or_else(|| kind.to_owned(), |row| row.title.to_owned())
}
