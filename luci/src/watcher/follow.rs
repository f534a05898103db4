//! Follows a cluster through the status stream of one member, falls over to another when it breaks, and looks for a
//! better view when the member at hand is not in the quorate part.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use shared::api::ProblemCode;
use shared::ids::{ConfDigest, NodeName};
use shared::status::{ClusterStatus, Phase, StreamItem, StreamPosition};
use tokio::time::Instant;

use super::{Link, Watcher};
use crate::clock;
use crate::repo::clusters::StoredStatus;
use crate::repo::confs::{Origin, StoredConf};
use crate::repo::nodes::Node;
use crate::ricci_client::{Ricci, RicciError, StatusStream};

/// The next member is tried after this time although the one before has not answered.
const STAGGER: Duration = Duration::from_millis(400);
/// How long a member outside the quorate part waits for a better one to answer.
const BETTER_WAIT: Duration = Duration::from_millis(1500);
/// How long to follow a member outside the quorate part before looking around again.
const POOR_VIEW: Duration = Duration::from_secs(10);
/// A stream that was opened begins within this time; a resumed one may have nothing to say for five seconds.
const FIRST_ITEM: Duration = Duration::from_secs(7);
/// Pause between rounds in which nobody answered.
const RETRY: Duration = Duration::from_secs(2);
/// The status is written to the disk at most this often.
const STORE_EVERY: Duration = Duration::from_secs(1);

/// A stream with its first item.
struct Opened {
    ricci: Ricci,
    stream: StatusStream,
    first: StreamItem,
}

pub(super) async fn run(watcher: Arc<Watcher>) {
    // The first stream of luci's life begins with everything: a resumed one tells nothing before something happens.
    let mut follower = Follower { watcher, position: None, last: None, learned: HashSet::new(), unstored: false };
    loop {
        match follower.open().await {
            Ok(opened) => {
                let why = follower.read(opened).await;
                follower.store().await;
                tracing::info!(cluster = %follower.watcher.cluster, why, "the status stream ended; looking for another");
            }
            Err(link) => {
                follower.lost(link);
                tokio::select! {
                    () = tokio::time::sleep(RETRY) => {}
                    () = follower.watcher.nudge.notified() => {}
                }
            }
        }
    }
}

struct Follower {
    watcher: Arc<Watcher>,
    position: Option<StreamPosition>,
    /// The member followed last; tried first.
    last: Option<NodeName>,
    /// Configurations that are stored already.
    learned: HashSet<ConfDigest>,
    unstored: bool,
}

impl Follower {
    /// The best stream that can be had now, or why there is none.
    async fn open(&mut self) -> Result<Opened, Link> {
        let now = clock::now_ms();
        let mut nodes = self.watcher.repo.nodes_of(self.watcher.cluster).await.map_err(|error| {
            tracing::error!(error = shared::chain(&error), "the nodes cannot be read");
            Link::Lost { since: now, why: "luci cannot read its database".into() }
        })?;
        nodes.retain(|node| node.paired_at.is_some());
        if nodes.is_empty() {
            return Err(Link::Lost { since: now, why: "no node of this cluster is paired with luci".into() });
        }
        nodes.sort_by_key(|node| Some(&node.name) != self.last.as_ref());
        let known = self.watcher.snapshot.borrow().status.is_some();
        let since = self.position.clone().filter(|_| known);
        let follower: &Self = self;
        let mut attempts: FuturesUnordered<_> = nodes
            .iter()
            .zip(0u32..)
            .map(|(node, place)| {
                let since = since.clone();
                async move {
                    tokio::time::sleep(STAGGER * place).await;
                    (node.name.clone(), follower.try_open(node, since.as_ref()).await)
                }
            })
            .collect();
        let mut fallback: Option<Opened> = None;
        let mut silent = Vec::new();
        let mut not_running = 0;
        let mut deadline = Instant::now() + Duration::from_secs(3600);
        loop {
            let next = tokio::select! {
                next = attempts.next() => next,
                () = tokio::time::sleep_until(deadline), if fallback.is_some() => None,
            };
            match next {
                Some((_, Ok(opened))) if self.is_good(&opened.first) => return Ok(opened),
                Some((_, Ok(opened))) => {
                    fallback = Some(opened);
                    deadline = Instant::now() + BETTER_WAIT;
                }
                Some((_, Err(error)))
                    if error.problem().is_some_and(|problem| problem.code == ProblemCode::ClusterNotRunning) =>
                {
                    not_running += 1;
                }
                Some((_, Err(error))) => silent.push(error.to_string()),
                None => break,
            }
        }
        match fallback {
            Some(opened) => Ok(opened),
            None if silent.is_empty() && not_running > 0 => Err(Link::NotRunning { since: now }),
            None => Err(Link::Lost { since: now, why: silent.join("; ") }),
        }
    }

    async fn try_open(&self, node: &Node, since: Option<&StreamPosition>) -> Result<Opened, RicciError> {
        let ricci = self.watcher.clients.paired(node)?;
        let mut stream = ricci.status_stream(since).await?;
        let first = tokio::time::timeout(FIRST_ITEM, stream.next()).await.map_err(|_| RicciError::Silent {
            node: node.name.clone(),
            why: "the status stream does not begin".into(),
        })??;
        Ok(Opened { ricci, stream, first })
    }

    /// Whether this member sees the quorate part from inside.
    fn is_good(&self, item: &StreamItem) -> bool {
        match item {
            StreamItem::Whole { status, .. } => is_good_view(status),
            StreamItem::Change { head, .. } => is_good_view(head),
            StreamItem::Alive { .. } => self.watcher.snapshot.borrow().status.as_deref().is_some_and(is_good_view),
        }
    }

    /// Follows until the stream ends or another member may see more; says why it ended.
    async fn read(&mut self, opened: Opened) -> String {
        let Opened { ricci, mut stream, first } = opened;
        let node = ricci.node().clone();
        tracing::info!(cluster = %self.watcher.cluster, member = %node, "following");
        self.last = Some(node.clone());
        let mut item = first;
        let mut next_store = Instant::now() + STORE_EVERY;
        let mut poor_until = Instant::now() + POOR_VIEW;
        loop {
            self.take(&ricci, &node, item).await;
            if self.unstored && Instant::now() >= next_store {
                self.store().await;
                next_store = Instant::now() + STORE_EVERY;
            }
            let good = self.watcher.snapshot.borrow().status.as_deref().is_some_and(is_good_view);
            if good {
                poor_until = Instant::now() + POOR_VIEW;
            } else if Instant::now() >= poor_until {
                return "looking for a member in the quorate part".into();
            }
            item = loop {
                tokio::select! {
                    next = stream.next() => match next {
                        Ok(item) => break item,
                        Err(error) => return error.to_string(),
                    },
                    () = tokio::time::sleep_until(next_store), if self.unstored => {
                        self.store().await;
                        next_store = Instant::now() + STORE_EVERY;
                    }
                }
            };
        }
    }

    async fn take(&mut self, ricci: &Ricci, from: &NodeName, item: StreamItem) {
        let now = clock::now_ms();
        let (position, facts) = match &item {
            StreamItem::Whole { position, facts, .. } | StreamItem::Change { position, facts, .. } => {
                (position.clone(), facts.clone())
            }
            StreamItem::Alive { position } => (position.clone(), Vec::new()),
        };
        self.position = Some(position);
        let quiet = matches!(item, StreamItem::Alive { .. }) && self.is_live_from(from);
        if quiet {
            self.watcher.snapshot.send_if_modified(|snapshot| {
                snapshot.status_at = Some(now);
                false
            });
            return;
        }
        if !facts.is_empty()
            && let Err(error) = self.watcher.repo.store_facts(self.watcher.cluster, &facts).await
        {
            tracing::error!(error = shared::chain(&error), "events cannot be stored");
        }
        self.watcher.update(|snapshot| {
            let status = match (snapshot.status.take(), &item) {
                (_, StreamItem::Whole { status, .. }) => Some(Arc::new((**status).clone())),
                (Some(mut status), item) => {
                    Arc::make_mut(&mut status).apply(item);
                    Some(status)
                }
                (None, _) => None,
            };
            snapshot.status = status;
            snapshot.status_at = Some(now);
            snapshot.link = Link::Live { from: from.clone() };
        });
        self.unstored = true;
        self.learn_conf(ricci).await;
    }

    fn is_live_from(&self, from: &NodeName) -> bool {
        matches!(&self.watcher.snapshot.borrow().link, Link::Live { from: now } if now == from)
    }

    /// Keeps the configuration in force when it was not made here.
    async fn learn_conf(&mut self, ricci: &Ricci) {
        let conf = self.watcher.snapshot.borrow().status.as_ref().and_then(|status| status.conf.clone());
        let Some(in_force) = conf.filter(|conf| !self.learned.contains(&conf.digest)) else { return };
        let repo = &self.watcher.repo;
        let known = match repo.conf_by_digest(self.watcher.cluster, &in_force.digest).await {
            Ok(Some(_)) => repo.accept_conf(self.watcher.cluster, &in_force.digest).await.map(|()| true),
            Ok(None) => Ok(false),
            Err(error) => Err(error),
        };
        let stored = match known {
            Ok(true) => Ok(true),
            Ok(false) => match ricci.conf().await {
                Ok(document) => {
                    let matches = document.digest == in_force.digest;
                    let conf = StoredConf {
                        version: document.version,
                        digest: document.digest,
                        text: document.text,
                        author: None,
                        message: format!("changed on a node; read from {}", ricci.node()),
                        origin: Origin::Node,
                        at: clock::now_ms(),
                        accepted: true,
                    };
                    repo.store_conf(self.watcher.cluster, &conf).await.map(|()| matches)
                }
                Err(error) => {
                    tracing::warn!(error = shared::chain(&error), "the configuration in force cannot be read");
                    Ok(false)
                }
            },
            Err(error) => Err(error),
        };
        match stored {
            Ok(true) => {
                self.learned.insert(in_force.digest);
                self.watcher.update(|_| {});
            }
            // Asked again with the next item.
            Ok(false) => {}
            Err(error) => tracing::error!(error = shared::chain(&error), "a configuration cannot be stored"),
        }
    }

    async fn store(&mut self) {
        let stored = {
            let snapshot = self.watcher.snapshot.borrow();
            match (&snapshot.status, snapshot.status_at, &self.last) {
                (Some(status), Some(at), Some(from)) => {
                    Some(StoredStatus { status: (**status).clone(), at, from: from.clone() })
                }
                _ => None,
            }
        };
        if let Some(stored) = stored
            && let Err(error) = self.watcher.repo.store_status(self.watcher.cluster, &stored).await
        {
            tracing::error!(error = shared::chain(&error), "the status cannot be stored");
        }
        self.unstored = false;
    }

    /// Notes that nobody feeds the copy, keeping since when.
    fn lost(&self, link: Link) {
        let before = self.watcher.snapshot.borrow().clone();
        let link = match (link, before.link) {
            (Link::NotRunning { .. }, Link::NotRunning { since }) => Link::NotRunning { since },
            (Link::Lost { why, .. }, Link::Lost { since, .. }) => Link::Lost { since, why },
            (Link::Lost { why, since }, _) => Link::Lost { since: before.status_at.unwrap_or(since), why },
            (other, _) => other,
        };
        let same = self.watcher.snapshot.borrow().link == link;
        if !same {
            self.watcher.update(|snapshot| snapshot.link = link);
        }
    }
}

fn is_good_view(status: &ClusterStatus) -> bool {
    status.quorum.quorate && status.phase == Phase::Member
}
