//! How the resource types of cluster.conf are run today: type and attributes → agent and parameters (rhcs.md §5.9).
//!
//! The table is in `kinds`; this module turns one resource into what a runner needs. Asked by the checks, by the
//! runner on each node and by the forms of the console. It never looks whether an agent is installed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::kinds::{Becomes, Compose, KINDS, Kind, Runs};
use crate::conf::model::Resource;

/// Who carries out start, stop and monitor of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "class", rename_all = "kebab-case")]
pub enum Runner {
    /// `/usr/lib/ocf/resource.d/PROVIDER/AGENT`, parameters in the environment.
    Ocf { provider: String, agent: String },
    /// An init script, by its absolute path; `status` is its monitor.
    Lsb { script: String },
    /// A unit, with its suffix.
    Systemd { unit: String },
    /// Nothing is run: the element only groups others (`nfsexport`).
    Builtin,
}

impl Runner {
    /// The name people know: `ocf:heartbeat:IPaddr2`, `lsb:/etc/init.d/x`, `systemd:x.service`, `builtin`.
    pub fn name(&self) -> String {
        match self {
            Self::Ocf { provider, agent } => format!("ocf:{provider}:{agent}"),
            Self::Lsb { script } => format!("lsb:{script}"),
            Self::Systemd { unit } => format!("systemd:{unit}"),
            Self::Builtin => "builtin".to_owned(),
        }
    }
}

/// A resource, ready for its runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapped {
    pub runner: Runner,
    /// Names and values as the agent knows them, without `OCF_RESKEY_`.
    pub parameters: BTreeMap<String, String>,
}

/// Why a resource cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MappingError {
    #[error("<{kind}> is not a known type of resource")]
    UnknownKind { kind: String },
    #[error("<{kind}> cannot be run today: {reason}")]
    NoSuccessor { kind: String, reason: &'static str },
    #[error("{resource} lacks the attribute {attribute}")]
    AttributeMissing { resource: String, attribute: &'static str },
    #[error("{attribute}=\"{value}\" of {resource} is not usable: {reason}")]
    AttributeInvalid { resource: String, attribute: &'static str, value: String, reason: &'static str },
}

/// Timeouts and interval of a resource whose agent's metadata is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefaultTimes {
    pub start_timeout_ms: u64,
    pub stop_timeout_ms: u64,
    pub monitor_timeout_ms: u64,
    pub monitor_interval_ms: u64,
}

/// What OCF agents advise most often.
pub const DEFAULT_TIMES: DefaultTimes = DefaultTimes {
    start_timeout_ms: 20_000,
    stop_timeout_ms: 20_000,
    monitor_timeout_ms: 20_000,
    monitor_interval_ms: 10_000,
};

const SELF_FENCE: &str = "self_fence";

/// For virsh: a guest that is not across after a second is paused until it is. The agent migrates live whatever it is told, and a
/// paused guest changes no memory, so that what `migrate="pause"` is wanted for comes true: the migration of a busy guest ends.
const PAUSE_GUEST: &str = "--timeout 1 --timeout-suspend";

/// How an `<ocf>` resource writes a parameter whose name is an attribute of the element itself (`name`, `type`, `ref`, …):
/// `OCF_RESKEY_name="x"`, as the agent sees it.
pub const RESKEY: &str = "OCF_RESKEY_";

/// What is known about a type; `None` for a type that is not known.
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// All types, in the order in which a form offers them.
pub fn kinds() -> &'static [Kind] {
    KINDS
}

/// The parameter of the agent that an attribute of a type becomes; `None` for one that becomes several, or none.
pub fn parameter_of<'n>(kind: &Kind, attribute: &'n str) -> Option<&'n str> {
    match kind.attribute(attribute).map(|row| row.becomes) {
        Some(Becomes::Parameter(parameter) | Becomes::Truth(parameter)) => Some(parameter),
        Some(Becomes::OptionOf { .. } | Becomes::Composed | Becomes::Known | Becomes::Ignored(_)) => None,
        None => kind.free_attributes.then(|| attribute.strip_prefix(RESKEY).unwrap_or(attribute)),
    }
}

/// The attribute by which a resource of a type gives its agent a parameter; `None` if the type has none for it.
pub fn attribute_for(kind: &Kind, parameter: &str) -> Option<String> {
    if kind.free_attributes {
        let taken = kind.attribute(parameter).is_some() || parameter == "ref" || parameter.starts_with("__");
        return Some(if taken { format!("{RESKEY}{parameter}") } else { parameter.to_owned() });
    }
    let row = kind.attributes.iter().find(|row| parameter_of(kind, row.name) == Some(parameter));
    row.map(|row| row.name.to_owned())
}

/// The value that names a resource of this type: its primary attribute, or the one that stands in for it.
pub fn primary_value<'a>(kind_name: &str, attribute: impl Fn(&str) -> Option<&'a str>) -> Option<&'a str> {
    let (primary, instead) = kind(kind_name).map_or(("name", None), |kind| (kind.primary, kind.primary_instead));
    attribute(primary).or_else(|| instead.and_then(&attribute)).filter(|value| !value.is_empty())
}

/// cluster.conf's idea of yes for resource attributes: a number other than 0, or a word that says so.
pub fn is_true(value: &str) -> bool {
    let value = value.trim();
    matches!(value.to_ascii_lowercase().as_str(), "yes" | "y" | "true" | "on")
        || value.parse::<i64>().is_ok_and(|number| number != 0)
}

/// Whether the node is to reboot when this resource does not stop (`self_fence`, rhcs.md §5.9).
pub fn self_fences(resource: &Resource) -> bool {
    let known = kind(&resource.kind).and_then(|kind| kind.attribute(SELF_FENCE)).is_some();
    known && value(resource, SELF_FENCE).is_some_and(is_true)
}

/// The address whose link must carry traffic for the resource to count as running (`monitor_link`, on unless switched off).
pub fn monitored_link(resource: &Resource) -> Option<std::net::IpAddr> {
    let wanted = resource.kind == "ip" && value(resource, "monitor_link").is_none_or(is_true);
    split_address(value(resource, "address").filter(|_| wanted)?).ok()?.0.parse().ok()
}

/// Turns a resource into what its runner needs.
pub fn map(resource: &Resource) -> Result<Mapped, MappingError> {
    let kind = kind(&resource.kind).ok_or_else(|| MappingError::UnknownKind { kind: resource.kind.clone() })?;
    for attribute in kind.attributes.iter().filter(|attribute| attribute.required) {
        if value(resource, attribute.name).is_none() {
            return Err(missing(resource, attribute.name));
        }
    }
    let runner = runner(kind, resource)?;
    let mut parameters: BTreeMap<String, String> =
        kind.fixed.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    for (name, text) in &resource.attributes {
        if text.is_empty() {
            continue;
        }
        match kind.attribute(name).map(|attribute| attribute.becomes) {
            Some(Becomes::Parameter(parameter)) => {
                parameters.insert(parameter.to_owned(), text.clone());
            }
            Some(Becomes::Truth(parameter)) => {
                parameters.insert(parameter.to_owned(), is_true(text).to_string());
            }
            Some(Becomes::OptionOf { parameter, prefix }) => {
                let options = parameters.entry(parameter.to_owned()).or_default();
                let space = if options.is_empty() { "" } else { " " };
                *options = format!("{options}{space}{prefix}{text}");
            }
            Some(Becomes::Composed | Becomes::Known | Becomes::Ignored(_)) => {}
            None if kind.free_attributes => {
                parameters.insert(name.strip_prefix(RESKEY).unwrap_or(name).to_owned(), text.clone());
            }
            None => {}
        }
    }
    for compose in kind.compose {
        compose_parameter(*compose, resource, &mut parameters)?;
    }
    Ok(Mapped { runner, parameters })
}

fn value<'a>(resource: &'a Resource, attribute: &str) -> Option<&'a str> {
    resource.attributes.get(attribute).map(String::as_str).filter(|value| !value.is_empty())
}

fn missing(resource: &Resource, attribute: &'static str) -> MappingError {
    MappingError::AttributeMissing { resource: resource.name.0.clone(), attribute }
}

fn invalid(resource: &Resource, attribute: &'static str, reason: &'static str) -> MappingError {
    let value = value(resource, attribute).unwrap_or_default().to_owned();
    MappingError::AttributeInvalid { resource: resource.name.0.clone(), attribute, value, reason }
}

fn runner(kind: &Kind, resource: &Resource) -> Result<Runner, MappingError> {
    match kind.runs {
        Runs::Ocf { provider, agent } => Ok(Runner::Ocf { provider: provider.to_owned(), agent: agent.to_owned() }),
        Runs::OcfByAttributes => {
            let agent = value(resource, "type").ok_or_else(|| missing(resource, "type"))?;
            let provider = value(resource, "provider").unwrap_or("heartbeat");
            if !is_file_name(agent) {
                return Err(invalid(resource, "type", "the name of an agent has no \"/\" and no white space"));
            }
            if !is_file_name(provider) {
                return Err(invalid(resource, "provider", "the name of a provider has no \"/\" and no white space"));
            }
            Ok(Runner::Ocf { provider: provider.to_owned(), agent: agent.to_owned() })
        }
        Runs::LsbByFile => {
            let script = value(resource, "file").ok_or_else(|| missing(resource, "file"))?;
            if !script.starts_with('/') {
                return Err(invalid(resource, "file", "give the whole path, e.g. /etc/init.d/httpd"));
            }
            Ok(Runner::Lsb { script: script.to_owned() })
        }
        Runs::SystemdByUnit => {
            let unit = value(resource, "unit").ok_or_else(|| missing(resource, "unit"))?;
            if !is_file_name(unit) {
                return Err(invalid(resource, "unit", "the name of a unit has no \"/\" and no white space"));
            }
            Ok(Runner::Systemd { unit: unit_name(unit) })
        }
        Runs::Systemd { unit } => Ok(Runner::Systemd { unit: unit.to_owned() }),
        Runs::Grouping => Ok(Runner::Builtin),
        Runs::Not { reason } => Err(MappingError::NoSuccessor { kind: kind.name.to_owned(), reason }),
    }
}

/// Names become part of a path, so that nothing outside of the agents' folder may be reached by one.
fn is_file_name(text: &str) -> bool {
    !text.starts_with(['.', '-']) && !text.contains('/') && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

fn unit_name(unit: &str) -> String {
    const SUFFIXES: [&str; 6] = [".service", ".socket", ".mount", ".timer", ".target", ".path"];
    if SUFFIXES.iter().any(|suffix| unit.ends_with(suffix)) { unit.to_owned() } else { format!("{unit}.service") }
}

fn compose_parameter(
    compose: Compose,
    resource: &Resource,
    parameters: &mut BTreeMap<String, String>,
) -> Result<(), MappingError> {
    let mut put = |name: &str, text: String| {
        parameters.insert(name.to_owned(), text);
    };
    match compose {
        Compose::AddressAndPrefix => {
            let address = value(resource, "address").ok_or_else(|| missing(resource, "address"))?;
            let (address, prefix) = split_address(address).map_err(|reason| invalid(resource, "address", reason))?;
            put("ip", address.to_owned());
            if let Some(prefix) = prefix {
                put("cidr_netmask", prefix.to_string());
            }
        }
        Compose::FsckIfForced => {
            if value(resource, "force_fsck").is_some_and(is_true) {
                put("run_fsck", "force".to_owned());
            }
        }
        Compose::RemoteExport => {
            let host = value(resource, "host").ok_or_else(|| missing(resource, "host"))?;
            let export = value(resource, "export").ok_or_else(|| missing(resource, "export"))?;
            let fstype = value(resource, "fstype").unwrap_or("nfs");
            let share = matches!(fstype, "cifs" | "smbfs");
            put(
                "device",
                if share { format!("//{host}/{}", export.trim_start_matches('/')) } else { format!("{host}:{export}") },
            );
            put("fstype", fstype.to_owned());
        }
        Compose::ConfigBelowServerRoot => compose_apache_config(resource, put),
        Compose::PostgresOptions => compose_postgres_options(resource, put),
        Compose::SharedNfsState => {
            if let Some(path) = value(resource, "path") {
                let below = value(resource, "nfspath").unwrap_or(".clumanager/nfs");
                put("nfs_shared_infodir", format!("{}/{below}", path.trim_end_matches('/')));
            }
        }
        Compose::ExportId => {
            let id = match (value(resource, "fsid"), value(resource, "path")) {
                (Some(fsid), _) => fsid.to_owned(),
                (None, path) => export_id(path.unwrap_or_default()).to_string(),
            };
            put("fsid", id);
        }
        Compose::DomainFile => {
            let name = value(resource, "name").ok_or_else(|| missing(resource, "name"))?;
            let file = match (value(resource, "xmlfile"), value(resource, "path")) {
                (Some(file), _) => file.to_owned(),
                (None, Some(path)) => {
                    let folder = path.split([':', ',']).next().unwrap_or(path).trim_end_matches('/');
                    format!("{folder}/{name}.xml")
                }
                (None, None) => format!("/etc/libvirt/qemu/{name}.xml"),
            };
            put("config", file);
            let given = value(resource, "hypervisor_uri").filter(|uri| *uri != "auto");
            let meant = || match value(resource, "hypervisor") {
                Some("xen") => Some("xen:///system"),
                Some("qemu" | "kvm") => Some("qemu:///system"),
                _ => None,
            };
            if let Some(uri) = given.or_else(meant) {
                put("hypervisor", uri.to_owned());
            }
        }
        Compose::PausedMigration => {
            if value(resource, "migrate") == Some("pause") {
                let options =
                    value(resource, "migrate_options").map(|options| format!("{options} ")).unwrap_or_default();
                put("migrate_options", format!("{options}{PAUSE_GUEST}"));
            }
        }
        Compose::NameAs(parameter) => {
            let name =
                primary_value(&resource.kind, |key| value(resource, key)).ok_or_else(|| missing(resource, "name"))?;
            put(parameter, name.to_owned());
        }
    }
    Ok(())
}

/// Neither given: the agent knows where this distribution keeps its configuration.
fn compose_apache_config(resource: &Resource, mut put: impl FnMut(&str, String)) {
    let (root, file) = (value(resource, "server_root"), value(resource, "config_file"));
    if root.is_none() && file.is_none() {
        return;
    }
    let file = file.unwrap_or("conf/httpd.conf");
    let root = root.unwrap_or("/etc/httpd").trim_end_matches('/');
    put("configfile", if file.starts_with('/') { file.to_owned() } else { format!("{root}/{file}") });
}

fn compose_postgres_options(resource: &Resource, mut put: impl FnMut(&str, String)) {
    let options = value(resource, "postmaster_options").unwrap_or("-D /var/lib/pgsql/data");
    let mut rest = Vec::new();
    let mut words = options.split_whitespace();
    while let Some(word) = words.next() {
        match word.strip_prefix("-D") {
            Some("") => {
                if let Some(folder) = words.next() {
                    put("pgdata", folder.to_owned());
                }
            }
            Some(folder) => put("pgdata", folder.to_owned()),
            None => rest.push(word),
        }
    }
    if !rest.is_empty() {
        put("start_opt", rest.join(" "));
    }
}

/// Address and prefix of `10.0.0.1/24`, `10.0.0.1`, `fd00::1/64`.
pub fn split_address(text: &str) -> Result<(&str, Option<u8>), &'static str> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let parsed: std::net::IpAddr = address.parse().map_err(|_| "it is not an IP address")?;
    let longest = if parsed.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => None,
        Some(prefix) => Some(
            prefix
                .parse::<u8>()
                .ok()
                .filter(|bits| *bits <= longest)
                .ok_or("behind \"/\" stands the number of bits of the network, e.g. 24")?,
        ),
    };
    Ok((address, prefix))
}

/// A file system id for an export that names none. The same on every node, since clients remember it over a failover.
fn export_id(path: &str) -> u32 {
    let hash = path.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash & 0x7fff_ffff) | 1
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::conf::model::Isolation;
    use crate::ids::ResourceName;

    fn resource(kind: &str, attributes: &[(&str, &str)]) -> Resource {
        let attributes: BTreeMap<String, String> =
            attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let primary = primary_value(kind, |key| attributes.get(key).map(String::as_str)).unwrap_or("?").to_owned();
        Resource {
            name: ResourceName(format!("{kind}:{primary}")),
            kind: kind.to_owned(),
            attributes,
            isolation: Isolation::default(),
            actions: Vec::new(),
            children: Vec::new(),
        }
    }

    fn told(kind: &str, attributes: &[(&str, &str)]) -> String {
        match map(&resource(kind, attributes)) {
            Ok(mapped) => {
                let parameters: Vec<_> =
                    mapped.parameters.iter().map(|(name, value)| format!(" {name}={value}")).collect();
                format!("{}{}", mapped.runner.name(), parameters.concat())
            }
            Err(error) => format!("refused: {error}"),
        }
    }

    #[test]
    fn each_type_becomes_the_agent_of_today_with_its_parameters() {
        let samples: &[(&str, &[(&str, &str)])] = &[
            ("ip", &[("address", "10.0.0.1/24"), ("monitor_link", "1"), ("sleeptime", "10")]),
            ("ip", &[("address", "fd00::1"), ("prefer_interface", "eth1")]),
            (
                "fs",
                &[
                    ("name", "data"),
                    ("mountpoint", "/srv"),
                    ("device", "/dev/vg/data"),
                    ("fstype", "ext4"),
                    ("options", "noatime"),
                    ("force_unmount", "1"),
                    ("force_fsck", "1"),
                ],
            ),
            ("fs", &[("name", "d"), ("mountpoint", "/srv"), ("device", "LABEL=d")]),
            ("clusterfs", &[("name", "g"), ("mountpoint", "/gfs"), ("device", "/dev/vg/g"), ("fstype", "gfs2")]),
            (
                "netfs",
                &[("name", "n"), ("mountpoint", "/mnt"), ("host", "filer"), ("export", "/vol/a"), ("fstype", "nfs4")],
            ),
            (
                "netfs",
                &[
                    ("name", "n"),
                    ("mountpoint", "/mnt"),
                    ("host", "filer"),
                    ("export", "share"),
                    ("fstype", "cifs"),
                    ("force_unmount", "yes"),
                ],
            ),
            ("bind-mount", &[("name", "b"), ("mountpoint", "/mnt"), ("source", "/srv/b")]),
            ("lvm", &[("name", "l"), ("vg_name", "vg"), ("lv_name", "lv")]),
            ("script", &[("name", "httpd"), ("file", "/etc/init.d/httpd"), ("service_name", "web")]),
            ("systemd", &[("unit", "nginx")]),
            (
                "apache",
                &[
                    ("name", "a"),
                    ("server_root", "/etc/apache2"),
                    ("config_file", "apache2.conf"),
                    ("httpd_options", "-DX"),
                ],
            ),
            ("apache", &[("name", "a"), ("config_file", "/srv/httpd.conf")]),
            ("apache", &[("name", "a")]),
            ("ocf", &[("name", "p"), ("type", "Dummy"), ("state", "/run/d"), ("provider", "pacemaker")]),
            (
                "mysql",
                &[
                    ("name", "m"),
                    ("config_file", "/etc/my.cnf"),
                    ("listen_address", "10.0.0.1"),
                    ("mysqld_options", "--x"),
                ],
            ),
            ("postgres-8", &[("name", "p"), ("postmaster_options", "-D /srv/pg -c a=b")]),
            ("nfsserver", &[("name", "n"), ("path", "/srv/")]),
            ("nfsexport", &[("name", "e")]),
            ("nfsclient", &[("name", "c"), ("target", "10.0.0.0/24"), ("path", "/srv"), ("options", "rw")]),
            ("vm", &[("name", "guest"), ("path", "/etc/xen:/srv"), ("hypervisor_uri", "auto")]),
            ("vm", &[("name", "guest"), ("hypervisor", "xen"), ("hypervisor_uri", "auto")]),
            ("vm", &[("name", "guest"), ("hypervisor", "xen"), ("hypervisor_uri", "qemu:///system")]),
            ("vm", &[("name", "guest"), ("migrate", "pause")]),
            ("vm", &[("name", "guest"), ("migrate", "pause"), ("migrate_options", "--tunnelled")]),
            ("vm", &[("name", "guest"), ("migrate", "live"), ("migrate_options", "--tunnelled")]),
            ("named", &[("name", "n"), ("config_file", "/etc/named.conf")]),
            ("openldap", &[("name", "o"), ("url_list", "ldap:///")]),
            ("samba", &[("name", "s")]),
            ("tomcat-6", &[("name", "t"), ("java_home", "/jdk")]),
            ("oracledb", &[("name", "ORCL"), ("user", "oracle"), ("home", "/u01")]),
            ("SAPInstance", &[("InstanceName", "PRD_D00_x")]),
        ];
        let lines: Vec<_> =
            samples.iter().map(|(kind, attributes)| format!("{kind}: {}", told(kind, attributes))).collect();
        expect![[r#"
            ip: ocf:heartbeat:IPaddr2 cidr_netmask=24 ip=10.0.0.1
            ip: ocf:heartbeat:IPaddr2 ip=fd00::1 nic=eth1
            fs: ocf:heartbeat:Filesystem device=/dev/vg/data directory=/srv force_unmount=true fstype=ext4 options=noatime run_fsck=force
            fs: ocf:heartbeat:Filesystem device=LABEL=d directory=/srv force_unmount=false
            clusterfs: ocf:heartbeat:Filesystem device=/dev/vg/g directory=/gfs force_unmount=false fstype=gfs2
            netfs: ocf:heartbeat:Filesystem device=filer:/vol/a directory=/mnt force_unmount=false fstype=nfs4
            netfs: ocf:heartbeat:Filesystem device=//filer/share directory=/mnt force_unmount=true fstype=cifs
            bind-mount: ocf:heartbeat:Filesystem device=/srv/b directory=/mnt force_unmount=false fstype=none options=bind
            lvm: ocf:heartbeat:LVM-activate activation_mode=exclusive lvname=lv vg_access_mode=tagging vgname=vg
            script: lsb:/etc/init.d/httpd
            systemd: systemd:nginx.service
            apache: ocf:heartbeat:apache configfile=/etc/apache2/apache2.conf options=-DX
            apache: ocf:heartbeat:apache configfile=/srv/httpd.conf
            apache: ocf:heartbeat:apache
            ocf: ocf:pacemaker:Dummy state=/run/d
            mysql: ocf:heartbeat:mysql additional_parameters=--bind-address=10.0.0.1 --x config=/etc/my.cnf
            postgres-8: ocf:heartbeat:pgsql pgdata=/srv/pg start_opt=-c a=b
            nfsserver: ocf:heartbeat:nfsserver nfs_shared_infodir=/srv/.clumanager/nfs
            nfsexport: builtin
            nfsclient: ocf:heartbeat:exportfs clientspec=10.0.0.0/24 directory=/srv fsid=1968629867 options=rw
            vm: ocf:heartbeat:VirtualDomain config=/etc/xen/guest.xml
            vm: ocf:heartbeat:VirtualDomain config=/etc/libvirt/qemu/guest.xml hypervisor=xen:///system
            vm: ocf:heartbeat:VirtualDomain config=/etc/libvirt/qemu/guest.xml hypervisor=qemu:///system
            vm: ocf:heartbeat:VirtualDomain config=/etc/libvirt/qemu/guest.xml migrate_options=--timeout 1 --timeout-suspend
            vm: ocf:heartbeat:VirtualDomain config=/etc/libvirt/qemu/guest.xml migrate_options=--tunnelled --timeout 1 --timeout-suspend
            vm: ocf:heartbeat:VirtualDomain config=/etc/libvirt/qemu/guest.xml migrate_options=--tunnelled
            named: ocf:heartbeat:named named_config=/etc/named.conf
            openldap: ocf:heartbeat:slapd services=ldap:///
            samba: systemd:smb.service
            tomcat-6: ocf:heartbeat:tomcat catalina_home=/usr/share/tomcat java_home=/jdk tomcat_name=t
            oracledb: ocf:heartbeat:oracle home=/u01 sid=ORCL user=oracle
            SAPInstance: ocf:heartbeat:SAPInstance InstanceName=PRD_D00_x"#]].assert_eq(&lines.join("\n"));
    }

    #[test]
    fn what_cannot_be_run_is_refused_with_the_attribute() {
        let samples: &[(&str, &[(&str, &str)])] = &[
            ("condor", &[("name", "c")]),
            ("drbd", &[("name", "d"), ("resource", "r0")]),
            ("fs", &[("name", "d"), ("device", "/dev/sda1")]),
            ("ip", &[("address", "10.0.0.300/24")]),
            ("ip", &[("address", "10.0.0.1/eth0")]),
            ("script", &[("name", "s"), ("file", "httpd")]),
            ("ocf", &[("name", "p"), ("type", "../../../bin/sh")]),
            ("ocf", &[("name", "p"), ("type", "Dummy"), ("provider", "a/b")]),
            ("systemd", &[("unit", "../x")]),
        ];
        let lines: Vec<_> = samples.iter().map(|(kind, attributes)| told(kind, attributes)).collect();
        expect![[r#"
            refused: <condor> is not a known type of resource
            refused: <drbd> cannot be run today: DRBD's agent promotes and demotes, which services do not do; put "drbdadm primary" and "secondary" into an init script and use <script>
            refused: fs:d lacks the attribute mountpoint
            refused: address="10.0.0.300/24" of ip:10.0.0.300/24 is not usable: it is not an IP address
            refused: address="10.0.0.1/eth0" of ip:10.0.0.1/eth0 is not usable: behind "/" stands the number of bits of the network, e.g. 24
            refused: file="httpd" of script:s is not usable: give the whole path, e.g. /etc/init.d/httpd
            refused: type="../../../bin/sh" of ocf:p is not usable: the name of an agent has no "/" and no white space
            refused: provider="a/b" of ocf:p is not usable: the name of a provider has no "/" and no white space
            refused: unit="../x" of systemd:../x is not usable: the name of a unit has no "/" and no white space"#]].assert_eq(&lines.join("\n"));
    }

    #[test]
    fn an_agents_parameter_may_have_the_name_of_an_attribute_of_the_element() {
        let docker = [("name", "web"), ("type", "docker"), ("image", "nginx"), ("OCF_RESKEY_name", "web-1")];
        assert_eq!(told("ocf", &docker), "ocf:heartbeat:docker image=nginx name=web-1");
        let ocf = kind("ocf").unwrap();
        for (parameter, attribute) in [("name", "OCF_RESKEY_name"), ("type", "OCF_RESKEY_type"), ("image", "image")] {
            assert_eq!(attribute_for(ocf, parameter).as_deref(), Some(attribute));
            assert_eq!(parameter_of(ocf, attribute), Some(parameter));
        }
        assert_eq!(parameter_of(ocf, "name"), None, "it names the resource");
    }

    #[test]
    fn the_table_is_read_from_both_sides() {
        let fs = kind("fs").unwrap();
        assert_eq!(parameter_of(fs, "mountpoint"), Some("directory"));
        assert_eq!(attribute_for(fs, "directory").as_deref(), Some("mountpoint"));
        assert_eq!(attribute_for(fs, "run_fsck"), None, "made of several attributes");
        assert_eq!(parameter_of(fs, "anything"), None);
    }

    #[test]
    fn the_table_names_each_type_and_attribute_once() {
        for (index, kind) in KINDS.iter().enumerate() {
            assert!(!KINDS[..index].iter().any(|other| other.name == kind.name), "{} stands twice", kind.name);
            for (index, attribute) in kind.attributes.iter().enumerate() {
                let twice = kind.attributes[..index].iter().any(|other| other.name == attribute.name);
                assert!(!twice, "{} of {} stands twice", attribute.name, kind.name);
            }
        }
    }
}
