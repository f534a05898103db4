//! Hosts on which only ricci runs, as freshly installed, and a luci that knows nothing yet.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use lab::cluster::built_programs;
use lab::{Forward, Lab, LabOptions, Place, Running, host_name, wait_for};
use tempfile::TempDir;

/// The password of the system user `ricci` on every host.
pub const RICCI_PASSWORD: &str = "ricci-of-the-lab";

/// Port of luci in its place.
pub const LUCI_PORT: u16 = 8084;

/// What a host runs at boot: its init would start ricci, and ricci starts what is enabled.
fn rc() -> String {
    format!(
        "mkdir -p /var/log/cluster /var/lib/corosync /run/cluster /run/apache2 /run/lock /run/resource-agents\n\
         id ricci >/dev/null 2>&1 || useradd --system --no-create-home --shell /usr/sbin/nologin ricci\n\
         echo 'ricci:{RICCI_PASSWORD}' | chpasswd\n\
         while :; do ricci serve --init direct >>/var/log/cluster/ricci.log 2>&1 </dev/null; sleep 1; done &\n"
    )
}

/// Everything that runs; all of it ends when this is dropped.
pub struct Suite {
    pub lab: Lab,
    luci: Running,
    state: TempDir,
    /// 127.0.0.1:port of the machine → luci.
    pub forward: Forward,
    /// The link that luci printed at its first start, as luci wrote it.
    pub setup_link: String,
}

impl Suite {
    /// Brings up hosts and luci. `port` on 127.0.0.1 leads to luci; 0 picks a free one.
    pub fn start(hosts: usize, port: u16) -> Result<Self> {
        Self::booting_within(hosts, port, Duration::ZERO)
    }

    /// The same with hosts that take this long from power on until their programs run, as machines do.
    pub fn booting_within(hosts: usize, port: u16, boot: Duration) -> Result<Self> {
        let programs = built_programs()?;
        let pam = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/pam.d/ricci"));
        let pam = fs::read_to_string(&pam).with_context(|| format!("{} cannot be read", pam.display()))?;
        let options = LabOptions::hosts(hosts).powered_off().boot_delay(boot).binaries(&programs).rc(rc()).file(
            "/etc/pam.d/ricci",
            pam,
            0o644,
        );
        let lab = Lab::create(options)?;
        for host in 1..=hosts {
            let page = format!("{}\n", host_name(host));
            lab.put(host, "/var/www/html/index.html", page, 0o644)?;
        }
        lab.power_on_all()?;
        for host in 1..=hosts {
            wait_for(&format!("ricci of {}", host_name(host)), boot + Duration::from_secs(60), || {
                let said = lab.sh(Place::Host(host), "ss -Hltn 'sport = :11111'").ok()?;
                (!said.stdout.is_empty()).then_some(())
            })?;
        }
        let state = tempfile::Builder::new().prefix("luci").tempdir()?;
        let luci = start_luci(&lab, &programs, &state)?;
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, LUCI_PORT));
        let forward = lab.forward(port, Place::Luci, target)?;
        let setup_link = wait_for("luci's one-time link", Duration::from_secs(60), || {
            let log = fs::read_to_string(state.path().join("luci.log")).ok()?;
            log.split_whitespace()
                .find(|word| word.starts_with("https://") && word.contains("/setup?token="))
                .map(str::to_owned)
        })?;
        Ok(Self { lab, luci, state, forward, setup_link })
    }

    /// Where luci is, seen from the machine.
    pub fn url(&self) -> String {
        format!("https://{}", self.forward.local())
    }

    /// Where luci is, seen from inside the lab.
    pub fn inner_url() -> String {
        format!("https://{}:{LUCI_PORT}", Place::Luci.address())
    }

    /// Token of the one-time link.
    pub fn setup_token(&self) -> &str {
        self.setup_link.rsplit_once("token=").map_or("", |(_, token)| token)
    }

    /// Kills luci at once and starts it again on the same state.
    pub fn kill_luci(&mut self) -> Result<()> {
        self.luci.kill()?;
        self.luci = start_luci(&self.lab, &built_programs()?, &self.state)?;
        Ok(())
    }

    /// luci's log.
    pub fn luci_log(&self) -> String {
        fs::read_to_string(self.state.path().join("luci.log")).unwrap_or_default()
    }

    /// Everything luci has on its disk.
    pub fn luci_state(&self) -> &std::path::Path {
        self.state.path()
    }
}

fn start_luci(lab: &Lab, programs: &std::path::Path, state: &TempDir) -> Result<Running> {
    let program = programs.join("luci");
    let folder = state.path().to_string_lossy().into_owned();
    let listen = format!("0.0.0.0:{LUCI_PORT}");
    let words = [
        program.to_string_lossy().into_owned(),
        "serve".into(),
        "--listen".into(),
        listen,
        "--state-dir".into(),
        folder,
        "--host-name".into(),
        Place::Luci.address().to_string(),
    ];
    lab.spawn(Place::Luci, &words, &state.path().join("luci.log"))
}
