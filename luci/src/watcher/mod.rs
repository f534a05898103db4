//! luci's own copy of each cluster's state: one watcher per cluster keeps it through one status stream from any member
//! that answers, and asks each node's ricci for itself on a slow schedule of its own. Pages and live updates read the
//! copy; nobody who reads waits for a node. The last knowledge is stored, with its age, for the next start of luci.

mod agents;
mod follow;
mod reports;
pub(crate) mod secrets;
mod unused;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use shared::api::NodeReport;
use shared::ids::NodeName;
use shared::status::ClusterStatus;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::ids::ClusterId;
use crate::repo::Repo;
use crate::repo::nodes::Node;
use crate::ricci_client::RicciClients;
use crate::spawn::Background;

/// What luci knows of a cluster, and how fresh it is.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub status: Option<Arc<ClusterStatus>>,
    /// When a member last confirmed the status.
    pub status_at: Option<i64>,
    pub link: Link,
    /// Shared, because every page takes a copy of all this.
    pub nodes: Arc<BTreeMap<NodeName, NodeSeen>>,
    /// Grows with every change of anything that a page of this cluster shows.
    pub revision: u64,
}

/// Whether the copy is fed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// A member feeds it.
    Live { from: NodeName },
    /// Every node answered that the cluster does not run there: the status is history.
    NotRunning { since: i64 },
    /// Nobody feeds it: the status is what was last known.
    Lost { since: i64, why: String },
}

/// What one node's ricci said of itself.
#[derive(Debug, Clone, Default)]
pub struct NodeSeen {
    pub paired: bool,
    pub report: Option<NodeReport>,
    pub report_at: Option<i64>,
    pub silent_since: Option<i64>,
    pub silent_why: Option<String>,
}

impl NodeSeen {
    fn of(node: &Node) -> Self {
        Self {
            paired: node.paired_at.is_some(),
            report: node.report.clone(),
            report_at: node.report_at,
            silent_since: node.silent_since,
            silent_why: node.silent_why.clone(),
        }
    }
}

impl Snapshot {
    /// The status, if a member confirms it now.
    pub fn live(&self) -> Option<&ClusterStatus> {
        match self.link {
            Link::Live { .. } => self.status.as_deref(),
            Link::NotRunning { .. } | Link::Lost { .. } => None,
        }
    }
}

/// One cluster's watcher.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub(crate) cluster: ClusterId,
    pub(crate) repo: Repo,
    pub(crate) clients: RicciClients,
    pub(crate) snapshot: watch::Sender<Snapshot>,
    /// Asks for another look at once: nodes were added, or a cluster was started.
    pub(crate) nudge: Notify,
    pub(crate) stop: CancellationToken,
    any: watch::Sender<u64>,
}

impl Watcher {
    /// Changes the copy and tells everyone who reads it.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Snapshot)) {
        self.snapshot.send_modify(|snapshot| {
            change(snapshot);
            snapshot.revision += 1;
        });
        self.any.send_modify(|count| *count += 1);
    }
}

/// All watchers.
#[derive(Debug, Clone)]
pub struct Watchers {
    repo: Repo,
    clients: RicciClients,
    background: Background,
    running: Arc<Mutex<HashMap<ClusterId, Arc<Watcher>>>>,
    any: watch::Sender<u64>,
    rights: watch::Sender<u64>,
}

impl Watchers {
    pub fn new(repo: Repo, clients: RicciClients, background: Background) -> Self {
        Self {
            repo,
            clients,
            background,
            running: Arc::default(),
            any: watch::Sender::new(0),
            rights: watch::Sender::new(0),
        }
    }

    /// Begins to watch a cluster; does nothing if it is watched already.
    pub async fn start(&self, cluster: ClusterId) -> Result<(), crate::repo::RepoError> {
        let stored = self.repo.stored_status(cluster).await?;
        let nodes = self.repo.nodes_of(cluster).await?;
        let snapshot = Snapshot {
            status_at: stored.as_ref().map(|stored| stored.at),
            link: Link::Lost {
                since: stored.as_ref().map_or_else(clock::now_ms, |stored| stored.at),
                why: "luci has just started and no member has answered yet".into(),
            },
            nodes: Arc::new(nodes.iter().map(|node| (node.name.clone(), NodeSeen::of(node))).collect()),
            status: stored.as_ref().map(|stored| Arc::new(stored.status.clone())),
            revision: 0,
        };
        let watcher = Arc::new(Watcher {
            cluster,
            repo: self.repo.clone(),
            clients: self.clients.clone(),
            snapshot: watch::Sender::new(snapshot),
            nudge: Notify::new(),
            stop: CancellationToken::new(),
            any: self.any.clone(),
        });
        if !self.insert(cluster, &watcher) {
            return Ok(());
        }
        self.background.spawn_until("follow", &watcher.stop, follow::run(Arc::clone(&watcher)));
        self.background.spawn_until("reports", &watcher.stop, reports::run(Arc::clone(&watcher)));
        self.background.spawn_until("secrets", &watcher.stop, secrets::run(Arc::clone(&watcher)));
        self.background.spawn_until("unused-secrets", &watcher.stop, unused::run(Arc::clone(&watcher)));
        self.background.spawn_until("agents", &watcher.stop, agents::run(Arc::clone(&watcher)));
        Ok(())
    }

    fn insert(&self, cluster: ClusterId, watcher: &Arc<Watcher>) -> bool {
        let mut running = self.lock();
        if running.contains_key(&cluster) {
            return false;
        }
        running.insert(cluster, Arc::clone(watcher));
        true
    }

    /// Stops watching.
    pub fn stop(&self, cluster: ClusterId) {
        if let Some(watcher) = self.lock().remove(&cluster) {
            watcher.stop.cancel();
        }
        self.any.send_modify(|count| *count += 1);
    }

    /// What is known of a cluster; `None` if it is not watched.
    pub fn snapshot(&self, cluster: ClusterId) -> Option<Snapshot> {
        self.lock().get(&cluster).map(|watcher| watcher.snapshot.borrow().clone())
    }

    /// The changes of one cluster.
    pub fn subscribe(&self, cluster: ClusterId) -> Option<watch::Receiver<Snapshot>> {
        self.lock().get(&cluster).map(|watcher| watcher.snapshot.subscribe())
    }

    /// That anything changed anywhere.
    pub fn subscribe_any(&self) -> watch::Receiver<u64> {
        self.any.subscribe()
    }

    /// That somebody's session, token or role may be another now.
    pub fn subscribe_rights(&self) -> watch::Receiver<u64> {
        self.rights.subscribe()
    }

    /// Says that sessions, tokens or roles were changed: open pages ask again who reads them.
    pub fn touch_rights(&self) {
        self.rights.send_modify(|count| *count += 1);
        self.any.send_modify(|count| *count += 1);
    }

    /// Says that something else a page of this cluster shows has changed: a request, a task, a version.
    pub fn touch(&self, cluster: Option<ClusterId>) {
        let watcher = cluster.and_then(|cluster| self.lock().get(&cluster).cloned());
        match watcher {
            Some(watcher) => watcher.update(|_| {}),
            None => self.touch_rights(),
        }
    }

    /// Looks again at once: nodes of the cluster were added, paired, started or removed.
    pub fn nudge(&self, cluster: ClusterId) {
        if let Some(watcher) = self.lock().get(&cluster) {
            watcher.nudge.notify_waiters();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ClusterId, Arc<Watcher>>> {
        self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
