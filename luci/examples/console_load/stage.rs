//! What is measured: luci as it is shipped, in a process of its own, with a state folder that knows all the clusters and has a
//! session for every browser; and the simulated clusters, of which one stands in a process that can be stopped.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use axum::http::Method;
use luci::http::{Rule, routes};
use luci::repo::clusters::ClusterState;
use luci::repo::nodes::NewNode;
use luci::repo::sessions::Origin;
use luci::repo::users::Role;
use luci::{app::App, server, tls, tokens};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;

use crate::Wanted;
use crate::browsers::Browser;
use crate::cluster::{Cluster, Size, node_name, service_name};
use crate::fake::FakeNode;
use crate::report::Memory;

/// Longest wait for luci to follow all clusters, or to lose one.
const PATIENCE: Duration = Duration::from_secs(240);
/// How often luci is asked meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Name of a cluster; the first is the one that will hang.
pub(crate) fn cluster_name(place: usize) -> String {
    format!("cluster{:02}", place + 1)
}

/// How many browsers a round's events should reach.
pub(crate) fn readers(wanted: Wanted) -> usize {
    let of = |place: usize| (0..wanted.browsers).filter(|browser| browser % wanted.clusters == place).count();
    (0..wanted.events).map(|number| of(1 + number % (wanted.clusters - 1))).sum()
}

/// Everything that runs.
pub(crate) struct Stage {
    luci: Child,
    hanging: Child,
    root: String,
    fingerprint: String,
    dir: TempDir,
    sessions: Vec<String>,
    /// All but the first.
    pub(crate) clusters: Vec<Cluster>,
}

/// Serves the cluster that will hang, and says on standard output where its nodes are.
pub(crate) async fn serve_one(size: Size) -> Result<()> {
    let cluster = Cluster::start(&cluster_name(0), size);
    for node in &cluster.nodes {
        println!("{} {} {}", node.name, node.address, node.fingerprint);
    }
    println!();
    let mut end = Vec::new();
    tokio::io::stdin().read_to_end(&mut end).await?;
    Ok(())
}

fn start_hanging(wanted: Wanted) -> Result<(Child, Vec<FakeNode>)> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--hanging", "--nodes", &wanted.nodes.to_string(), "--services", &wanted.services.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().context("standard output is piped")?;
    let mut nodes = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line?;
        let mut words = line.split_whitespace();
        let (Some(name), Some(address), Some(fingerprint)) = (words.next(), words.next(), words.next()) else { break };
        nodes.push(FakeNode { name: name.into(), address: address.parse()?, fingerprint: fingerprint.into() });
    }
    Ok((child, nodes))
}

async fn enrol(app: &App, name: &str, nodes: &[FakeNode]) -> Result<()> {
    let id = app.repo.add_cluster(name, ClusterState::Managed).await?.context("a new cluster")?;
    for node in nodes {
        let new =
            NewNode { name: node.name.clone().into(), host: node.address.ip().to_string(), port: node.address.port() };
        let row = app.repo.add_node(Some(id), &new).await?.context("a new node")?;
        app.repo.set_fingerprint(row, &node.fingerprint).await?;
        app.repo.set_paired(row, luci::clock::now_ms()).await?;
    }
    Ok(())
}

/// Sessions of some administrators, one for each browser.
async fn open_sessions(app: &App, count: usize) -> Result<Vec<String>> {
    const ACCOUNTS: usize = 20;
    let mut ids = Vec::new();
    for place in 0..ACCOUNTS {
        let name = format!("admin{place}");
        app.repo.add_user(&name, "no password", Some(Role::Administrator)).await?;
        ids.push(app.repo.user_by_name(&name).await?.context("the new account")?.id);
    }
    let mut sessions = Vec::new();
    for place in 0..count {
        let token = tokens::random();
        let from = Origin { address: "127.0.0.1", browser: "" };
        app.repo.open_session(&tokens::hash(&token), ids[place % ACCOUNTS], &tokens::random(), from).await?;
        sessions.push(token);
    }
    Ok(sessions)
}

fn program() -> Result<PathBuf> {
    // target/release/examples/console_load → target/release/luci
    let own = std::env::current_exe()?;
    let luci = own.parent().and_then(Path::parent).context("a folder")?.join("luci");
    if !luci.exists() {
        bail!("{} is not there; `cargo xtask bench console` builds it", luci.display());
    }
    Ok(luci)
}

impl Stage {
    /// Starts everything.
    pub(crate) async fn set(wanted: Wanted) -> Result<Self> {
        if wanted.clusters < 2 {
            bail!("at least two clusters: one of them will hang");
        }
        let (hanging, first) = start_hanging(wanted)?;
        let clusters: Vec<Cluster> =
            (1..wanted.clusters).map(|place| Cluster::start(&cluster_name(place), wanted.size())).collect();
        let dir = tempfile::tempdir()?;
        let app = server::open(dir.path(), "localhost").await?;
        enrol(&app, &cluster_name(0), &first).await?;
        for cluster in &clusters {
            enrol(&app, &cluster.name, &cluster.nodes).await?;
        }
        // One more, for reading pages.
        let sessions = open_sessions(&app, wanted.browsers + 1).await?;
        app.repo.close().await;
        let identity = tls::load_or_make(dir.path(), "server", "localhost", tls::Purpose::Server)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new(program()?);
        command.args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--host-name", "localhost"]);
        command.arg("--state-dir").arg(dir.path()).env("LUCI_LOG", "error");
        if let Some(url) = std::env::var_os("LUCI_DATABASE_URL") {
            bail!("LUCI_DATABASE_URL ({}) is set; this measures luci with its own database", url.to_string_lossy());
        }
        let luci = command.stdout(Stdio::null()).spawn().context("starting luci")?;
        Ok(Self {
            luci,
            hanging,
            root: format!("https://127.0.0.1:{port}"),
            fingerprint: tls::fingerprint(&identity.certificate),
            dir,
            sessions,
            clusters,
        })
    }

    /// The browser with this number.
    pub(crate) fn browser(&self, place: usize) -> Result<Browser> {
        let identity = tls::load_or_make(self.dir.path(), "client", "localhost", tls::Purpose::Client)?;
        let config = tls::pinned_config(&identity, &self.fingerprint)?;
        Browser::new(config, &self.root, &self.sessions[place])
    }

    /// Asks the API until so many clusters are followed live.
    async fn wait_until(&self, what: &str, enough: impl Fn(usize) -> bool) -> Result<()> {
        let browser = self.browser(self.sessions.len() - 1)?;
        let wait = async {
            loop {
                if let Ok((200, text, _)) = browser.page("/api/v1/clusters").await {
                    let live = text.matches("\"known\":\"live\"").count();
                    if enough(live) {
                        return Ok(());
                    }
                }
                tokio::time::sleep(ASK_EVERY).await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(result) => result,
            Err(_) => bail!("{what} after {} s", PATIENCE.as_secs()),
        }
    }

    pub(crate) async fn wait_until_all_are_followed(&self) -> Result<()> {
        let all = self.clusters.len() + 1;
        self.wait_until("not all clusters are followed", |live| live == all).await
    }

    pub(crate) async fn wait_until_one_is_lost(&self) -> Result<()> {
        let others = self.clusters.len();
        self.wait_until("the hanging cluster is still shown as live", |live| live == others).await
    }

    /// The nodes of the first cluster hang: connections stay, and nothing is answered, not even a ping.
    pub(crate) fn hang(&self) -> Result<()> {
        let stopped = Command::new("kill").args(["-STOP", &self.hanging.id().to_string()]).status()?;
        if stopped.success() { Ok(()) } else { bail!("the process of the first cluster cannot be stopped") }
    }

    /// Reads every page that the table of routes has, one after another, so many times.
    pub(crate) async fn read_pages(&self, times: usize) -> Result<Vec<(String, Vec<Duration>)>> {
        let browser = self.browser(self.sessions.len() - 1)?;
        let mut pages: Vec<(String, Vec<Duration>)> = Vec::new();
        for turn in 0..times {
            let mut place = 0;
            for route in routes() {
                if route.method != Method::GET || route.rule == Rule::Open || route.path.ends_with("stream") {
                    continue;
                }
                let path = filled(route.path, 1 + turn % self.clusters.len(), turn);
                let (status, text, time) = browser.page(&path).await?;
                if status >= 500 {
                    bail!("{path} answers {status}: {}", text.chars().take(300).collect::<String>());
                }
                if pages.len() == place {
                    pages.push((format!("{} {status}", route.path), Vec::new()));
                }
                pages[place].1.push(time);
                place += 1;
            }
        }
        for (_, times) in &mut pages {
            times.sort();
        }
        Ok(pages)
    }

    /// Processor time that luci has used.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.luci.id()))?;
        let after = stat.rsplit_once(") ").context("a line of /proc")?.1;
        let ticks: u64 = after.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum();
        // The kernel's clock tick in /proc is 10 ms on every platform that we build for.
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Memory that luci holds.
    pub(crate) fn memory(&self) -> Result<Memory> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.luci.id()))?;
        let mib = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name))?;
            Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
        };
        Ok(Memory { now_mib: mib("VmRSS:").context("VmRSS")?, most_mib: mib("VmHWM:").context("VmHWM")? })
    }

    /// Ends luci as an administrator would, and sees that it ends.
    pub(crate) async fn end(mut self) -> Result<()> {
        Command::new("kill").arg(self.luci.id().to_string()).status()?;
        let ended = tokio::task::spawn_blocking(move || {
            let ended = self.luci.wait();
            drop(self);
            ended
        });
        let status = tokio::time::timeout(Duration::from_secs(30), ended).await.context("luci does not end")???;
        if status.success() { Ok(()) } else { bail!("luci ended with {status}") }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.luci.kill();
        let _ = self.luci.wait();
        let _ = self.hanging.kill();
        let _ = self.hanging.wait();
    }
}

/// An address for a route, another one each turn.
fn filled(route: &str, cluster: usize, turn: usize) -> String {
    let service = format!("service:{}", service_name(turn));
    let values = [
        ("{cluster}", cluster_name(cluster)),
        ("{node}", node_name(turn % 4)),
        ("{service}", service.clone()),
        ("{kind}", "ip".into()),
        ("{version}", "7".into()),
        ("{order}", "fence".into()),
        ("{place}", "0".into()),
        ("{task}", "none".into()),
    ];
    let name = if route.contains("failover-domains") {
        "domain1"
    } else if route.contains("fence-devices") {
        "bmc1"
    } else if route.contains("users") {
        "admin1"
    } else {
        "none"
    };
    let path = values.iter().fold(route.replace("{name}", name), |path, (from, to)| path.replace(from, to));
    // What is left names something that a site of this kind does not have.
    path.replace(['{', '}'], "")
}
