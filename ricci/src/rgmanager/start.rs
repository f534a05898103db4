//! From the start of the program to the first event: what lies on disk, who this node is, and what must be settled
//! before the loop begins.
//!
//! Called by `main`. Refuses to start in words that say what to do; decides nothing about services.

use std::path::PathBuf;
use std::time::Duration;

use engine::{ConfText, ExitReason, Incarnation, Intents};
use shared::ids::{NodeId, NodeName};
use tokio_util::sync::CancellationToken;

use super::agents::Places;
use super::cgroup::Cgroups;
use super::control;
use super::driver::{Booted, Driver, log_devices};
use super::fence::{self, FenceAction, FenceAgents};
use super::files::{FileError, Files, Paths};
use super::started::Started;
use super::watchdog::WatchdogError;
use crate::corosync::query;

/// Between two questions to a corosync that is not there yet.
const COROSYNC_PAUSE: Duration = Duration::from_secs(1);
/// Questions asked. A corosync that starts takes some seconds; one that stays away is a failed start.
const COROSYNC_ATTEMPTS: u32 = 30;
/// For the answer to one of them.
const COROSYNC_DEADLINE: Duration = Duration::from_secs(2);

/// What `main` was told.
#[derive(Debug, Clone)]
pub struct Options {
    pub paths: Paths,
    pub socket: PathBuf,
    /// Or why there are none.
    pub cgroups: Result<Cgroups, String>,
    pub places: Places,
    pub fence_agents: FenceAgents,
    /// Writing `b` to it resets the machine: `/proc/sysrq-trigger`, or a file in tests.
    pub sysrq: PathBuf,
    /// Speak no newer protocol than this with the other members.
    pub protocol: u8,
}

/// Why the daemon could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("there is no {}; create the cluster first (in the console, or put its cluster.conf there)", path.display())]
    NoConf { path: PathBuf },
    #[error("{} is not readable as text", path.display())]
    ConfNotText { path: PathBuf },
    #[error("corosync does not say who this node is; is it running? (systemctl status corosync)")]
    NoCorosync(#[source] query::QueryError),
    #[error("{node} was not given its access back (its <unfence> section failed); nothing may start on it")]
    Unfence { node: NodeName },
    #[error("cannot listen on {}", path.display())]
    Socket {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Watchdog(#[from] WatchdogError),
    #[error("the operating system refused a thread or a signal")]
    System(#[from] std::io::Error),
}

/// Runs the daemon to its end.
pub async fn run(options: Options) -> Result<ExitReason, StartError> {
    let files = Files::open(options.paths.clone());
    let boot = files.boot_id()?;
    let conf = conf_on_disk(&files)?;
    let intents = intents_on_disk(&files)?;
    let listener =
        control::bind(&options.socket).map_err(|source| StartError::Socket { path: options.socket.clone(), source })?;
    if let Err(error) = super::agents::prepare(&options.places) {
        tracing::warn!("the directories for agents cannot be made: {error}");
    }
    let records = options.places.records.clone();
    let started = Started::new(options.places.started.clone());
    // The socket answers from here on, while corosync may still be starting.
    let fence_agents = options.fence_agents.clone();
    let (driver, mut reports) = Driver::start(options, files, listener)?;
    super::leftover::end_all(&records).await;
    let node = tokio::select! {
        node = local_node() => node?,
        // Nothing runs here yet that would have to be stopped.
        _ = reports.terminate.recv() => return Ok(ExitReason::Left),
    };
    unfence(node, &conf, &fence_agents).await?;
    let started = started.read();
    let incarnation = Incarnation(uuid::Uuid::new_v4().as_u64_pair().0);
    driver.drive(reports, Booted { node, incarnation, boot, conf, intents, started }).await
}

fn conf_on_disk(files: &Files) -> Result<ConfText, StartError> {
    let path = || files.paths().cluster_conf.clone();
    let bytes = files.cluster_conf()?.ok_or_else(|| StartError::NoConf { path: path() })?;
    let text = String::from_utf8(bytes).map_err(|_| StartError::ConfNotText { path: path() })?;
    // A text that is no cluster.conf has no version; the engine refuses it with all findings.
    let version = shared::conf::load(&text).conf.map(|conf| conf.version).unwrap_or_default();
    Ok(ConfText { version, digest: shared::conf::digest(&text), text })
}

fn intents_on_disk(files: &Files) -> Result<Option<Intents>, StartError> {
    let Some(bytes) = files.intents()? else { return Ok(None) };
    match serde_json::from_slice(&bytes) {
        Ok(intents) => Ok(Some(intents)),
        Err(error) => {
            // Other members have them too; without any, services start as cluster.conf says.
            tracing::error!("{} cannot be read and is ignored: {error}", files.paths().intents.display());
            Ok(None)
        }
    }
}

async fn local_node() -> Result<NodeId, StartError> {
    let mut attempt = 1;
    loop {
        match query::local_node(COROSYNC_DEADLINE).await {
            Ok(node) => return Ok(node),
            Err(error) if attempt >= COROSYNC_ATTEMPTS => return Err(StartError::NoCorosync(error)),
            Err(error) => {
                if attempt == 1 {
                    tracing::warn!("waiting for corosync: {}", shared::chain(&error));
                }
                attempt += 1;
                tokio::time::sleep(COROSYNC_PAUSE).await;
            }
        }
    }
}

/// Gives this node its access back (to storage, mostly) before anything is looked for or started on it.
async fn unfence(node: NodeId, conf: &ConfText, agents: &FenceAgents) -> Result<(), StartError> {
    let Some(conf) = shared::conf::load(&conf.text).conf else { return Ok(()) };
    let Some(local) = conf.node_by_id(node).filter(|local| !local.unfence.is_empty()) else { return Ok(()) };
    let devices = agents.run(&local.unfence, FenceAction::Unfence, CancellationToken::new()).await;
    log_devices(&local.name, &devices);
    if !fence::succeeded(&local.unfence, &devices) {
        return Err(StartError::Unfence { node: local.name.clone() });
    }
    tracing::info!("unfence {} success", local.name);
    Ok(())
}
