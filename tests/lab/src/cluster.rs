//! Our suite on a lab: hosts with corosync, rgmanager and a cluster.conf laid on their disks, as an administrator would lay them
//! by hand. For tests and measurements that need no console; ricci and luci are not in the path.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use shared::ids::{NodeName, ServiceName};
use shared::socket::{Ask, PutConf, Reply, SOCKET_PATH};
use shared::status::{ClusterStatus, Membership, ServiceStatus};
use shared::text::ServiceState;

use crate::{BMC_PASSWORD, BMC_USER, Lab, LabOptions, Place, bmc_address, host_name, wait_for};

/// The address of the service `web` in the samples of this module.
pub const SERVICE_ADDRESS: &str = "10.77.0.100";

/// Starts corosync and rgmanager at boot and keeps their output in /var/log/cluster. A daemon that fails is started again, as
/// its unit does.
const RC: &str = "mkdir -p /var/log/cluster /var/lib/corosync /run/cluster /run/apache2 /run/lock /run/resource-agents
corosync
until corosync-cfgtool -s >/dev/null 2>&1; do sleep 0.05; done
setsid sh -c '$FIRST_DAEMON || until rgmanager; do sleep 0.2; done' >>/var/log/cluster/rgmanager.log 2>&1 </dev/null &
";

/// A cluster forms within seconds; a machine under load gets more.
const FORMING: Duration = Duration::from_secs(120);
/// For an answer on the control socket.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// What the cluster shall be.
pub struct ClusterOptions {
    pub hosts: usize,
    /// Nodes of cluster.conf that no host stands for: without votes, and away for ever.
    pub absent: usize,
    /// Long enough that a busy machine is not taken for a dead host.
    pub token_ms: u64,
    /// Two links per node.
    pub two_links: bool,
    /// What stands inside `<rm>`.
    pub rm: String,
    /// Attributes of the fence device instance of a host, e.g. ` delay="2"`.
    pub fence_extra: Vec<String>,
    /// The password the fence devices are configured with.
    pub fence_password: String,
    /// Attributes of `<fence_daemon>`.
    pub fence_daemon: String,
    /// Further files on every host's disk: path, content, mode.
    pub files: Vec<(String, String, u32)>,
    /// The first daemon of every boot; those that follow it are `rgmanager`.
    pub first_daemon: String,
    /// What rgmanager logs, as in its `RGMANAGER_LOG`.
    pub log_level: String,
}

impl ClusterOptions {
    /// A cluster of `hosts` with an address and a web server as service `web`, fenced over IPMI.
    pub fn web(hosts: usize) -> Self {
        Self {
            hosts,
            absent: 0,
            token_ms: 2000,
            two_links: false,
            rm: web_service(""),
            fence_extra: vec![String::new(); hosts],
            fence_password: BMC_PASSWORD.to_owned(),
            fence_daemon: "post_join_delay=\"10\"".to_owned(),
            files: Vec::new(),
            first_daemon: "rgmanager".to_owned(),
            log_level: "info".to_owned(),
        }
    }

    /// The cluster.conf of these options.
    pub fn conf(&self, version: u64) -> String {
        let mut nodes = String::new();
        let mut devices = String::new();
        for host in 1..=self.hosts {
            let name = host_name(host);
            let altname = if self.two_links { format!("<altname name=\"{name}-r1\"/>") } else { String::new() };
            let extra = self.fence_extra.get(host - 1).map_or("", String::as_str);
            nodes += &format!(
                "    <clusternode name=\"{name}\" nodeid=\"{host}\">{altname}<fence><method name=\"power\">\
                 <device name=\"bmc-{name}\"{extra}/></method></fence></clusternode>\n"
            );
            devices += &format!(
                "    <fencedevice name=\"bmc-{name}\" agent=\"fence_ipmilan\" ip=\"{}\" username=\"{BMC_USER}\" \
                 password=\"{}\" lanplus=\"1\" cipher=\"3\" power_wait=\"0\"/>\n",
                bmc_address(host),
                self.fence_password,
            );
        }
        for number in 1..=self.absent {
            nodes += &format!(
                "    <clusternode name=\"10.77.9.{number}\" nodeid=\"{}\" votes=\"0\"/>\n",
                self.hosts + number
            );
        }
        let two_node = if self.hosts == 2 { "  <cman two_node=\"1\" expected_votes=\"1\"/>\n" } else { "" };
        format!(
            "<?xml version=\"1.0\"?>\n<cluster name=\"lab\" config_version=\"{version}\">\n{two_node}  \
             <totem token=\"{}\"/>\n  <fence_daemon {}/>\n  <clusternodes>\n{nodes}  </clusternodes>\n  \
             <fencedevices>\n{devices}  </fencedevices>\n  <rm>\n{}  </rm>\n</cluster>\n",
            self.token_ms, self.fence_daemon, self.rm,
        )
    }
}

/// The service `web`: an address, then a web server. `attributes` of the service, each with a blank before it.
pub fn web_service(attributes: &str) -> String {
    format!(
        "    <service name=\"web\"{attributes}>\n      <ip address=\"{SERVICE_ADDRESS}/24\"/>\n      \
         <apache name=\"www\" config_file=\"/etc/apache2/apache2.conf\" server_root=\"/etc/apache2\"/>\n    </service>\n"
    )
}

/// A lab with our suite on its hosts.
pub struct Cluster {
    pub lab: Lab,
    pub options: ClusterOptions,
}

/// Where the programs of this build lie: beside the test or program that asks.
pub fn built_programs() -> Result<PathBuf> {
    let me = std::env::current_exe().context("the path of this program is not known")?;
    let found = me.ancestors().skip(1).find(|folder| folder.join("rgmanager").is_file());
    found.map(Path::to_path_buf).context("rgmanager has not been built; run: cargo build --workspace --bins")
}

impl Cluster {
    /// Lays everything on the hosts' disks and powers them on. Does not wait for the cluster.
    pub fn boot(options: ClusterOptions) -> Result<Self> {
        Self::boot_named(options, LabOptions::hosts)
    }

    /// Like `boot`, with a lab made by `lab_options`.
    pub fn boot_named(options: ClusterOptions, lab_options: impl FnOnce(usize) -> LabOptions) -> Result<Self> {
        let conf = options.conf(1);
        let loaded = shared::conf::load(&conf);
        if loaded.has_errors() {
            bail!("the lab's own cluster.conf is not accepted: {:?}", loaded.findings);
        }
        let compiled = loaded.conf.context("the lab's own cluster.conf cannot be read")?;
        let corosync = shared::conf::corosync::render_corosync_conf(&compiled, &Default::default());
        let lab = Lab::create(
            lab_options(options.hosts)
                .powered_off()
                .binaries(built_programs()?)
                .rc(format!("export RGMANAGER_LOG={} FIRST_DAEMON='{}'\n{RC}", options.log_level, options.first_daemon))
                .file("/etc/cluster/cluster.conf", conf, 0o600)
                .file("/etc/corosync/corosync.conf", corosync, 0o644)
                .file("/etc/corosync/authkey", "0123456789abcdef".repeat(16), 0o400),
        )?;
        for (path, content, mode) in &options.files {
            (1..=options.hosts).try_for_each(|host| lab.put(host, path, content, *mode))?;
        }
        for host in 1..=options.hosts {
            lab.put(host, "/var/www/html/index.html", format!("{}\n", host_name(host)), 0o644)?;
        }
        lab.power_on_all()?;
        Ok(Self { lab, options })
    }

    /// Asks the daemon of a host by its control socket, as root.
    pub fn ask(&self, host: usize, ask: &Ask) -> Result<Reply> {
        let init = self.lab.init(host).with_context(|| format!("{} has no power", host_name(host)))?;
        // A socket with a path is found by its path alone, whatever the network it was made in.
        let path = format!("/proc/{init}/root{SOCKET_PATH}");
        let mut stream = UnixStream::connect(&path).with_context(|| format!("cannot connect to {path}"))?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        let mut line = serde_json::to_string(ask)?;
        line.push('\n');
        stream.write_all(line.as_bytes())?;
        let mut answer = String::new();
        BufReader::new(&stream).read_line(&mut answer)?;
        serde_json::from_str(&answer).with_context(|| format!("not an answer: {answer:?}"))
    }

    /// Puts the options as they are now, as this version, into force through the daemon of a host.
    pub fn put_conf(&self, host: usize, version: u64) -> Result<()> {
        let ask = Ask::PutConf { text: self.options.conf(version), origin: "the lab".into(), despite_agents: false };
        match self.ask(host, &ask)? {
            Reply::PutConf { result: PutConf::Accepted { .. } } => Ok(()),
            other => bail!("the configuration was not accepted: {other:?}"),
        }
    }

    /// Waits until every host is a member in everybody's eyes and `web` is started; its owner.
    pub fn formed(&self) -> Result<usize> {
        let all: Vec<usize> = (1..=self.options.hosts).collect();
        all.iter().try_for_each(|&host| self.wait_members(host, &all, FORMING))?;
        self.wait_state(1, "web", ServiceState::Started, FORMING)?;
        self.owner(1, "web").context("a started service has an owner")
    }

    /// The hosts that are not `of`.
    pub fn others(&self, of: usize) -> Vec<usize> {
        (1..=self.options.hosts).filter(|&host| host != of).collect()
    }

    /// Waits until a service is started on a host, as `host` sees it.
    pub fn wait_owner(&self, host: usize, name: &str, owner: usize, limit: Duration) -> Result<()> {
        let what = format!("{name} to be started on {}", host_name(owner));
        let seen = wait_for(&what, limit, || {
            let service = self.service(host, name)?;
            let there = service.owner.is_some_and(|node| node.0 == host_name(owner));
            (service.state == ServiceState::Started && there).then_some(())
        });
        seen.with_context(|| format!("node{host} says:\n{}\n{}", self.clustat(host), self.log(host)))
    }

    /// Power commands that BMCs got so far: somebody fenced.
    pub fn fencings(&self) -> Result<Vec<String>> {
        let events = self.lab.events()?;
        Ok(events.lines().filter(|line| line.contains("bmc: set power")).map(str::to_owned).collect())
    }

    /// What a host's `clustat` says, as data; `None` while it does not answer.
    pub fn status(&self, host: usize) -> Option<ClusterStatus> {
        let said = self.lab.exec(Place::Host(host), &["clustat", "-o", "json"]).ok()?;
        serde_json::from_str(&said.stdout).ok()
    }

    /// One service as a host sees it.
    pub fn service(&self, host: usize, name: &str) -> Option<ServiceStatus> {
        self.status(host)?.service(&ServiceName::parse(name)).cloned()
    }

    /// Waits until `host` says that the service is in a state, and says who owns it.
    pub fn wait_state(
        &self,
        host: usize,
        name: &str,
        state: ServiceState,
        limit: Duration,
    ) -> Result<Option<NodeName>> {
        let what = format!("{name} to be {} as node{host} sees it", state.name());
        let seen = wait_for(&what, limit, || {
            let service = self.service(host, name)?;
            (service.state == state).then_some(service.owner)
        });
        seen.with_context(|| format!("node{host} says:\n{}", self.clustat(host)))
    }

    /// Waits until `host` says that exactly these hosts are members.
    pub fn wait_members(&self, host: usize, members: &[usize], limit: Duration) -> Result<()> {
        let wanted: Vec<NodeName> = members.iter().map(|&host| NodeName(host_name(host))).collect();
        let seen = wait_for(&format!("the members {members:?}"), limit, || {
            let status = self.status(host)?;
            let there: Vec<NodeName> = status
                .nodes
                .iter()
                .filter(|node| node.member == Membership::Member)
                .map(|node| node.name.clone())
                .collect();
            (there == wanted).then_some(())
        });
        seen.with_context(|| format!("node{host} says:\n{}", self.clustat(host)))
    }

    /// The number of the host that owns a service, as `host` sees it.
    pub fn owner(&self, host: usize, name: &str) -> Option<usize> {
        let owner = self.service(host, name)?.owner?;
        (1..=self.options.hosts).find(|&host| host_name(host) == owner.0)
    }

    /// `clustat` as text, for messages.
    pub fn clustat(&self, host: usize) -> String {
        match self.lab.exec(Place::Host(host), &["clustat"]) {
            Ok(said) => format!("{}{}", said.stdout, said.stderr),
            Err(error) => format!("clustat could not be run: {error:#}"),
        }
    }

    /// rgmanager's log of a host.
    pub fn log(&self, host: usize) -> String {
        self.lab.get(host, "/var/log/cluster/rgmanager.log").unwrap_or_else(|error| format!("no log: {error:#}"))
    }
}
