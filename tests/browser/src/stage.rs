//! What the browser tests stand on: the suite on a lab with a browser in it, questions to hosts, and what is printed when a
//! story goes wrong. Stories run one after another, since each needs most of the machine.

use std::future::Future;
use std::net::{IpAddr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lab::cluster::{ClusterOptions, SERVICE_ADDRESS, built_programs};
use lab::{AddressWatch, BMC_PASSWORD, BMC_USER, HttpPoller, Place, bmc_address, host_name};
use tokio::sync::{Mutex, MutexGuard};

use crate::chromium::{Chromium, Script};
use crate::console::Console;
use crate::person::until;
use crate::suite::{RICCI_PASSWORD, Suite};

/// Name of the administrator of luci.
pub const USER: &str = "admin";
/// Password of the administrator of luci.
pub const PASSWORD: &str = "admin-of-the-story";
/// Name of the cluster.
pub const CLUSTER: &str = "story";
/// The clustered service.
pub const SERVICE: &str = "service:web";
/// From a fault until the cluster has dealt with it, on a busy machine.
pub const FAILOVER: Duration = Duration::from_secs(120);

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// A lab, luci and a browser.
pub struct Stage {
    pub browser: Chromium,
    pub suite: Suite,
    _alone: MutexGuard<'static, ()>,
}

/// What `clustat -x` says of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub state: String,
    pub owner: String,
}

impl Stage {
    /// Freshly installed hosts, a luci that nobody has opened yet, a window.
    pub async fn empty(hosts: usize) -> Result<Self> {
        Self::empty_and(hosts, Script::On).await
    }

    async fn empty_and(hosts: usize, script: Script) -> Result<Self> {
        let alone = ONE_AT_A_TIME.lock().await;
        let suite = Suite::start(hosts, 0)?;
        let screenshots = screenshots()?;
        let browser = Chromium::open(&suite.lab, (1280, 900), script, &screenshots).await?;
        Ok(Self { browser, suite, _alone: alone })
    }

    /// A cluster of three with fencing and the service `web`, made through luci's pages but without the window; the person is
    /// logged in and has the cluster's page open.
    pub async fn with_service(change: impl FnOnce(&mut ClusterOptions)) -> Result<Self> {
        Self::with_service_and(Script::On, change).await
    }

    /// The same in a window that runs scripts or does not.
    pub async fn with_service_and(script: Script, change: impl FnOnce(&mut ClusterOptions)) -> Result<Self> {
        let stage = Self::empty_and(3, script).await?;
        match stage.prepare(change).await {
            Ok(()) => Ok(stage),
            Err(error) => Err(error.context(stage.story_so_far().await)),
        }
    }

    async fn prepare(&self, change: impl FnOnce(&mut ClusterOptions)) -> Result<()> {
        let console = self.console()?;
        console.set_up(self.suite.setup_token(), USER, PASSWORD).await?;
        let nodes: Vec<String> = (1..=3).map(host_name).collect();
        console.create_cluster(CLUSTER, &nodes, RICCI_PASSWORD).await?;
        self.give_service(change).await
    }

    /// Gives the cluster fencing and the service `web`, and opens its page.
    pub async fn give_service(&self, change: impl FnOnce(&mut ClusterOptions)) -> Result<()> {
        let mut wanted = ClusterOptions::web(3);
        change(&mut wanted);
        // Spelt as luci's own form of a fence device spells it.
        let conf = |text: &str| {
            wanted
                .conf(version(text) + 1)
                .replace("name=\"lab\"", &format!("name=\"{CLUSTER}\""))
                .replace(" username=", " login=")
                .replace(" password=", " passwd=")
        };
        let console = self.console()?;
        console.log_in(USER, PASSWORD).await?;
        console.change_conf(CLUSTER, "fencing and a service", conf).await?;
        self.log_in().await?;
        self.browser.visit(&self.cluster_url("")).await?;
        self.wait_matrix_anew("the service runs", |row| row.state == "started").await?;
        Ok(())
    }

    /// A client of luci's pages that is not the window.
    pub fn console(&self) -> Result<Console> {
        Console::open(&self.suite.url())
    }

    /// Logs in by typing.
    pub async fn log_in(&self) -> Result<()> {
        let browser = &self.browser;
        browser.visit(&format!("{}/login", Suite::inner_url())).await?;
        browser.fill("#name", USER).await?;
        browser.fill("#password", PASSWORD).await?;
        browser.go("[data-test=login]").await
    }

    /// Fills the form of a new fence device `bmcN` for the BMC of a host; does not send it.
    pub async fn fill_fence_device(&self, host: usize) -> Result<()> {
        let window = &self.browser;
        window.go("[data-test=tab-fence-devices]").await?;
        window.go("[data-test=add-fence-device]").await?;
        window.go("[data-test=agent-fence_ipmilan]").await?;
        window.fill("#name", &format!("bmc{host}")).await?;
        window.fill("#a-ip", &bmc_address(host).to_string()).await?;
        window.fill("#a-username", BMC_USER).await?;
        window.fill("#a-password", BMC_PASSWORD).await?;
        window.choose("#a-lanplus", "1").await?;
        window.fill("#a-cipher", "3").await?;
        window.fill("#a-power_wait", "0").await
    }

    /// Address of a page of the cluster, as the window sees it.
    pub fn cluster_url(&self, path: &str) -> String {
        format!("{}/clusters/{CLUSTER}{path}", Suite::inner_url())
    }

    /// The line of the service in the matrix that is open in the window.
    pub async fn matrix(&self) -> Option<Told> {
        let row = format!("[data-test=matrix] [data-test=\"service-{SERVICE}\"]");
        let element = self.browser.wait_within(&row, Duration::ZERO).await.ok()?;
        let owner = element.attr("data-owner").await.ok()??;
        let state = self.browser.text_at(&format!("{row} [data-test=state]")).await?;
        Some(Told { state, owner })
    }

    /// Waits until the matrix says something.
    pub async fn wait_matrix(&self, what: &str, wanted: impl Fn(&Told) -> bool) -> Result<Told> {
        let what = format!("the matrix to say that {what}");
        until(&what, FAILOVER, async || self.matrix().await.filter(|row| wanted(row))).await
    }

    /// The same for a page that does not change by itself: it is loaded anew until it says so.
    pub async fn wait_matrix_anew(&self, what: &str, wanted: impl Fn(&Told) -> bool) -> Result<Told> {
        let what = format!("the matrix, loaded anew, to say that {what}");
        until(&what, FAILOVER, async || {
            let row = self.matrix().await.filter(|row| wanted(row));
            if row.is_none() {
                self.browser.driver.refresh().await.ok()?;
            }
            row
        })
        .await
    }

    /// What the matrix says of a node.
    pub async fn node_badge(&self, host: usize) -> Option<String> {
        let css = format!("[data-test=matrix] [data-test=\"node-{}\"] .badge", host_name(host));
        self.browser.text_at(&css).await
    }

    /// Waits until the matrix says this of a node.
    pub async fn wait_badge(&self, host: usize, badge: &str) -> Result<()> {
        let what = format!("the matrix to say that {} is {badge:?}", host_name(host));
        until(&what, FAILOVER, async || (self.node_badge(host).await? == badge).then_some(())).await
    }

    /// `clustat -x` on a host.
    pub fn clustat_x(&self, host: usize) -> Result<Told> {
        let said = self.suite.lab.sh_ok(Place::Host(host), "clustat -x")?;
        let group = said.split("<group ").find(|part| part.contains(&format!("name=\"{SERVICE}\"")));
        let group = group.with_context(|| format!("clustat -x says nothing of {SERVICE}:\n{said}"))?;
        let value = |name: &str| {
            let (_, rest) = group.split_once(&format!(" {name}=\""))?;
            rest.split_once('"').map(|(value, _)| value.to_owned())
        };
        match (value("state_str"), value("owner")) {
            (Some(state), Some(owner)) => Ok(Told { state, owner }),
            _ => bail!("clustat -x cannot be read:\n{said}"),
        }
    }

    /// `clustat` on a host, as text.
    pub fn clustat(&self, host: usize) -> String {
        self.suite.lab.sh(Place::Host(host), "clustat").map_or_else(
            |error| format!("clustat could not be run: {error:#}"),
            |said| format!("{}{}", said.stdout, said.stderr),
        )
    }

    /// A watch of who holds the service's address.
    pub fn watch_address(&self) -> AddressWatch {
        self.suite.lab.watch_address(service_address())
    }

    /// A client that asks the service for its page, again and again.
    pub fn poll_service(&self) -> Result<HttpPoller> {
        let IpAddr::V4(address) = service_address() else { bail!("the service has no IPv4 address") };
        self.suite.lab.poll_http(SocketAddrV4::new(address, 80), "/")
    }

    /// Everything one wants to see when a story went wrong.
    async fn story_so_far(&self) -> String {
        let mut text = format!("── page {}\n", self.browser.path().await.unwrap_or_default());
        text += &self.browser.page_text().await;
        text += &format!("\n── luci\n{}", tail(&self.suite.luci_log(), 40));
        for host in 1..=self.suite.lab.hosts() {
            text += &format!("\n── clustat of node{host}\n{}", self.clustat(host));
            for log in ["rgmanager", "ricci"] {
                let content = self.suite.lab.get(host, format!("/var/log/cluster/{log}.log")).unwrap_or_default();
                text += &format!("\n── {log} of node{host}\n{}", tail(&content, 25));
            }
        }
        text
    }
}

/// Tells a story on a stage; when it goes wrong, everything known is printed.
pub async fn tell<S: Future<Output = Result<Stage>>>(
    stage: S,
    story: impl AsyncFnOnce(&mut Stage) -> Result<()>,
) -> Result<()> {
    let mut stage = stage.await?;
    let end = story(&mut stage).await;
    if let Err(error) = end {
        let _ = stage.browser.picture("went-wrong").await;
        let told = stage.story_so_far().await;
        return Err(error.context(told));
    }
    let Stage { browser, suite, _alone } = stage;
    let too_wide = browser.too_wide();
    drop(browser);
    let Suite { lab, .. } = suite;
    lab.down()?;
    ensure!(too_wide.is_empty(), "pages that do not fit a phone: {too_wide:?}");
    Ok(())
}

/// The number of the host with this name.
pub fn host_of(name: &str) -> Result<usize> {
    (1..=3).find(|host| host_name(*host) == name).with_context(|| format!("there is no host {name:?}"))
}

/// The other two.
pub fn others(host: usize) -> [usize; 2] {
    match host {
        1 => [2, 3],
        2 => [1, 3],
        _ => [1, 2],
    }
}

fn service_address() -> IpAddr {
    SERVICE_ADDRESS.parse().expect("the lab's service address is an address")
}

/// Where pictures go: beside the build.
pub fn screenshots() -> Result<PathBuf> {
    let programs = built_programs()?;
    Ok(programs.parent().context("the programs lie nowhere")?.join("screenshots"))
}

/// The version of a cluster.conf.
pub fn version(text: &str) -> u64 {
    let number = text.split_once("config_version=\"").and_then(|(_, rest)| rest.split_once('"'));
    number.and_then(|(number, _)| number.parse().ok()).unwrap_or(1)
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
