//! Changes of a cluster's configuration: base version checked, the change applied to the lossless document, findings
//! shown before anything is written, the new version stored by luci and handed to one member (or, if the cluster runs
//! nowhere, to each node). Every change goes through `Change::carry_out`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use shared::api::{ConfAccepted, ProblemCode, PutConf};
use shared::conf::edit::{self, Edit, EditError};
use shared::conf::model::Conf;
use shared::conf::{self, Loaded};
use shared::ids::{ConfDigest, ConfVersion, NodeName};

use super::{App, AppError, Who, errors_of};
use crate::clock;
use crate::ids::ClusterId;
use crate::repo::clusters::Cluster;
use crate::repo::confs::{Origin, StoredConf};
use crate::ricci_client::RicciError;
use crate::watcher::Link;

/// One change at a time per cluster.
#[derive(Debug, Default)]
pub(crate) struct ConfLocks(Mutex<HashMap<ClusterId, Arc<tokio::sync::Mutex<()>>>>);

impl ConfLocks {
    pub(super) fn of(&self, cluster: ClusterId) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::clone(locks.entry(cluster).or_default())
    }
}

/// The newest configuration of each cluster, read once: every page and every live update wants it.
#[derive(Debug, Default)]
pub(crate) struct ConfCache(Mutex<HashMap<ClusterId, (ConfDigest, Arc<Conf>)>>);

impl ConfCache {
    fn of(&self, cluster: ClusterId, digest: &ConfDigest) -> Option<Arc<Conf>> {
        let cache = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        cache.get(&cluster).filter(|(of, _)| of == digest).map(|(_, conf)| Arc::clone(conf))
    }

    fn put(&self, cluster: ClusterId, digest: ConfDigest, conf: &Arc<Conf>) {
        let mut cache = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        cache.insert(cluster, (digest, Arc::clone(conf)));
    }
}

/// A configuration as the pages edit it.
#[derive(Debug, Clone)]
pub struct Current {
    pub stored: StoredConf,
    pub loaded: Loaded,
}

/// A change to be made.
pub struct Change<'a> {
    pub cluster: &'a Cluster,
    pub user: &'a str,
    /// What the change is, for the list of versions.
    pub message: String,
    /// The version that the operator saw; `None` takes the newest.
    pub base: Option<ConfVersion>,
}

/// What a change came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub version: ConfVersion,
    /// Nodes that could not be written to, when the cluster does not run.
    pub missed: Vec<NodeName>,
    /// Agents that the change needs and that a node lacks or has otherwise: what shows itself at the failover.
    pub warnings: Vec<String>,
    /// It became a step of the person's draft, which now has so many; nothing was applied.
    pub draft: Option<usize>,
    /// Errors that the version before had as well, and that this one still has.
    pub still_wrong: usize,
}

impl Change<'_> {
    /// Makes the new text from the current one, checks it, stores it and hands it to the cluster. `edit` returns the new
    /// text, its version already raised.
    pub async fn carry_out(
        self,
        app: &App,
        edit: impl FnOnce(&Current) -> Result<String, AppError>,
    ) -> Result<Changed, AppError> {
        let lock = app.conf_lock.of(self.cluster.id);
        let _one_at_a_time = lock.lock().await;
        let current = app.current_conf(self.cluster).await?;
        if let Some(base) = self.base.filter(|base| *base != current.stored.version) {
            return Err(moved(base, &current.stored));
        }
        let text = app.seal(self.cluster, &current.stored.text, &edit(&current)?).await?.text;
        let loaded = conf::load(&text);
        let digest = conf::digest(&text);
        // As the nodes judge it: what was wrong before keeps nobody from changing something else.
        let wrong_before = errors_of(&loaded.findings).count();
        let loaded_now = loaded.clone();
        let (new, _) = loaded.accept_after(&current.stored.text).map_err(AppError::Findings)?;
        if new.version <= current.stored.version {
            return Err(AppError::field(
                "text",
                format!("config_version must be higher than {}", current.stored.version),
            ));
        }
        let stored = StoredConf {
            version: new.version,
            digest,
            text,
            author: Some(self.user.to_owned()),
            message: self.message,
            origin: Origin::Luci,
            at: clock::now_ms(),
            accepted: false,
        };
        // Stored before it is sent, so that the version is known as ours whatever happens next.
        app.repo.store_conf(self.cluster.id, &stored).await?;
        let origin = format!("{} via luci", self.user);
        let handed = app.hand_over(self.cluster, &stored, &origin).await;
        match &handed {
            Ok(_) => app.repo.accept_conf(self.cluster.id, &stored.digest).await?,
            // Without an answer the version may yet come into force; the status will tell.
            Err(AppError::Ricci(RicciError::Silent { .. })) => {}
            Err(_) => app.repo.drop_unaccepted_conf(self.cluster.id, &stored.digest).await?,
        }
        app.touch(self.cluster.id);
        let missed = handed?;
        let warnings = app.new_agent_differences(self.cluster, &current.loaded, &loaded_now).await?;
        Ok(Changed { version: stored.version, missed, warnings, draft: None, still_wrong: wrong_before })
    }
}

pub(super) fn moved(base: ConfVersion, now: &StoredConf) -> AppError {
    let who = now.author.as_deref().unwrap_or("someone on a node");
    AppError::Conflict(format!(
        "the configuration has changed since this page was made: version {} by {who} ({}) came after version {base}. \
         Nothing was written; look at what changed and make your change again",
        now.version, now.message
    ))
}

impl App {
    /// The newest configuration that luci has stored, for looking at; asks no node.
    pub async fn known_conf(&self, cluster: ClusterId) -> Result<Option<Arc<Conf>>, AppError> {
        let Some(digest) = self.repo.newest_digest(cluster).await? else { return Ok(None) };
        if let Some(conf) = self.conf_cache.of(cluster, &digest) {
            return Ok(Some(conf));
        }
        let Some(stored) = self.repo.newest_conf(cluster).await? else { return Ok(None) };
        let conf = conf::load(&stored.text).conf.map(Arc::new);
        if let Some(conf) = &conf {
            self.conf_cache.put(cluster, stored.digest, conf);
        }
        Ok(conf)
    }

    /// The newest configuration luci knows. When the cluster already uses a newer one that luci has not read yet, it is
    /// asked for.
    pub async fn current_conf(&self, cluster: &Cluster) -> Result<Current, AppError> {
        let stored = self.repo.newest_conf(cluster.id).await?;
        let in_force = self.watchers.snapshot(cluster.id).and_then(|s| s.live().and_then(|status| status.conf.clone()));
        let stored = match (stored, in_force) {
            (Some(stored), Some(in_force)) if in_force.version > stored.version => {
                self.read_conf(cluster.id).await?.unwrap_or(stored)
            }
            (Some(stored), _) => stored,
            (None, _) => self.read_conf(cluster.id).await?.ok_or_else(|| {
                AppError::Unreachable(format!(
                    "luci has no configuration of {} yet, and no node of it answers",
                    cluster.name
                ))
            })?,
        };
        let loaded = conf::load(&stored.text);
        Ok(Current { stored, loaded })
    }

    async fn read_conf(&self, cluster: ClusterId) -> Result<Option<StoredConf>, AppError> {
        for ricci in self.members(cluster).await? {
            let Ok(document) = ricci.conf().await else { continue };
            let stored = StoredConf {
                version: document.version,
                digest: document.digest,
                text: document.text,
                author: None,
                message: format!("changed on a node; read from {}", ricci.node()),
                origin: Origin::Node,
                at: clock::now_ms(),
                accepted: true,
            };
            self.repo.store_conf(cluster, &stored).await?;
            return Ok(Some(stored));
        }
        Ok(None)
    }

    /// Hands a version to the cluster: through one member, or to every node when the cluster runs nowhere. The nodes that
    /// could not be written to.
    async fn hand_over(&self, cluster: &Cluster, conf: &StoredConf, origin: &str) -> Result<Vec<NodeName>, AppError> {
        let mut put =
            PutConf { text: conf.text.clone(), origin: origin.to_owned(), offline: false, despite_agents: false };
        let mut silent: Option<RicciError> = None;
        let members = self.members(cluster.id).await?;
        let mut not_running = Vec::new();
        for ricci in &members {
            match ricci.put_conf(&put).await {
                Ok(ConfAccepted { .. }) => return Ok(Vec::new()),
                Err(error) if cannot_judge(&error) => silent = Some(error),
                Err(error) if has_code(&error, ProblemCode::Findings) => return Err(told(error)),
                Err(error) if has_code(&error, ProblemCode::ClusterNotRunning) => not_running.push(ricci),
                Err(error) if error.is_about_the_node() => silent = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        let all_answered = silent.is_none();
        let known_stopped =
            self.watchers.snapshot(cluster.id).is_some_and(|snapshot| matches!(snapshot.link, Link::NotRunning { .. }));
        // A cluster that might run behind a silent node must not be written to file by file: there would be two truths.
        if not_running.is_empty() || !(all_answered || known_stopped) {
            return Err(match silent {
                Some(error) => told(error),
                None => AppError::Unreachable(format!("no node of {} is paired with luci", cluster.name)),
            });
        }
        put.offline = true;
        let mut missed = Vec::new();
        let mut refused = None;
        for ricci in not_running {
            if let Err(error) = ricci.put_conf(&put).await {
                missed.push(ricci.node().clone());
                refused = Some(error);
            }
        }
        match refused {
            Some(error) if missed.len() == members.len() => Err(error.into()),
            _ => Ok(missed),
        }
    }

    /// Writes the text that an expert edited, or an older version, as the next version.
    pub async fn put_text(
        &self,
        who: &Who,
        cluster: &Cluster,
        base: ConfVersion,
        message: &str,
        text: String,
    ) -> Result<Changed, AppError> {
        let message = if message.trim().is_empty() { "edited as text" } else { message.trim() };
        let change = Change { cluster, user: &who.name, message: message.to_owned(), base: Some(base) };
        let result = change.carry_out(self, |current| raise_version(&text, current.stored.version)).await;
        self.audit_change(who, cluster, message, &result).await?;
        result
    }

    /// Brings an older version back, as a new one.
    pub async fn bring_back(
        &self,
        who: &Who,
        cluster: &Cluster,
        base: ConfVersion,
        version: ConfVersion,
    ) -> Result<Changed, AppError> {
        let old = self.repo.conf(cluster.id, version).await?;
        let old = old.ok_or_else(|| AppError::NoSuch { what: "version", name: version.to_string() })?;
        self.put_text(who, cluster, base, &format!("version {version} brought back"), old.text).await
    }

    pub(crate) async fn audit_change(
        &self,
        who: &Who,
        cluster: &Cluster,
        message: &str,
        result: &Result<Changed, AppError>,
    ) -> Result<(), AppError> {
        let told = match result {
            Ok(changed) => format!("version {}", changed.version),
            Err(error) => format!("not done: {error}"),
        };
        Ok(self.audit(who, Some(&cluster.name), "change-configuration", &cluster.name, message, &told).await?)
    }
}

fn has_code(error: &RicciError, code: ProblemCode) -> bool {
    error.problem().is_some_and(|problem| problem.code == code)
}

/// The member could not look at the configuration now, while another may: it has not joined yet, or has no quorum.
fn cannot_judge(error: &RicciError) -> bool {
    let findings = error.problem().map_or(&[][..], |problem| &problem.findings);
    has_code(error, ProblemCode::Findings)
        && findings.iter().any(|finding| ["not-joined", "no-quorum"].contains(&finding.rule.as_str()))
}

/// What a node has against a configuration, or against being asked.
fn told(error: RicciError) -> AppError {
    match error.problem() {
        Some(problem) if problem.code == ProblemCode::Findings => AppError::Findings(problem.findings.clone()),
        _ => AppError::Ricci(error),
    }
}

/// The text with the edits applied and the next version.
fn edited(current: &Current, edits: &[Edit]) -> Result<String, AppError> {
    let mut document = current.loaded.document.clone();
    edit::apply_all(&mut document, edits).map_err(|(_, error)| refused(error))?;
    if document.print() == current.stored.text {
        return Err(AppError::Conflict("nothing was changed: the configuration already is like this".into()));
    }
    let version = Edit::SetVersion { version: ConfVersion(current.stored.version.0 + 1) };
    edit::apply(&mut document, &version).map_err(refused)?;
    Ok(document.print())
}

/// Where in a form a refused edit belongs.
pub(super) fn refused(error: EditError) -> AppError {
    let text = error.to_string();
    match error {
        EditError::NotFound { what, name } => AppError::NoSuch { what, name },
        EditError::InUse { .. } | EditError::NotEditable | EditError::NotChangeable { .. } => AppError::Conflict(text),
        EditError::Exists { .. } => AppError::field("name", text),
        EditError::AttributeMissing { attribute, .. } => AppError::field(attribute, text),
        EditError::NameInvalid { .. } => AppError::field("form", text),
        EditError::ValueInvalid { name } => AppError::field(name, text),
    }
}

/// A text with a version higher than `than`; its own if that is higher already.
pub(super) fn raise_version(text: &str, than: ConfVersion) -> Result<String, AppError> {
    let loaded = conf::load(text);
    if !loaded.document.is_well_formed() {
        return Err(AppError::Findings(loaded.findings));
    }
    if loaded.conf.as_ref().is_some_and(|conf| conf.version > than) {
        return Ok(text.to_owned());
    }
    let mut document = loaded.document;
    edit::apply(&mut document, &Edit::SetVersion { version: ConfVersion(than.0 + 1) }).map_err(refused)?;
    Ok(document.print())
}

/// The first version of a new cluster.
pub(super) fn first_version(name: &str, nodes: &[NodeName], user: &str) -> Result<StoredConf, AppError> {
    let text = edit::new_document(name, nodes).map_err(refused)?.print();
    let loaded = conf::load(&text);
    let digest = conf::digest(&text);
    let conf = loaded.accept().map_err(AppError::Findings)?;
    Ok(StoredConf {
        version: conf.version,
        digest,
        text,
        author: Some(user.to_owned()),
        message: "cluster created".into(),
        origin: Origin::Luci,
        at: clock::now_ms(),
        accepted: true,
    })
}

/// Name and nodes of the cluster that a cluster.conf describes.
pub(crate) fn cluster_and_nodes(text: &str) -> Result<(String, Vec<NodeName>), AppError> {
    let loaded = conf::load(text);
    match loaded.conf {
        // A file with errors is shown, too: the administrator wants to see and correct it here.
        Some(conf) if !conf.name.is_empty() && !conf.nodes.is_empty() => {
            Ok((conf.name, conf.nodes.into_iter().map(|node| node.name).collect()))
        }
        _ => Err(AppError::Findings(loaded.findings)),
    }
}

/// Whether a cluster.conf names this node.
pub(crate) fn names_node(text: &str, name: &NodeName) -> bool {
    conf::load(text).conf.is_some_and(|conf| conf.node(name).is_some())
}

/// Adds a node to the configuration; `None` if it names it already.
pub(crate) async fn add_node(
    app: &App,
    cluster: &Cluster,
    user: &str,
    name: &NodeName,
) -> Result<Option<ConfVersion>, AppError> {
    if names_node(&app.current_conf(cluster).await?.stored.text, name) {
        return Ok(None);
    }
    let change = Change { cluster, user, message: format!("node {name} added"), base: None };
    let edits = [Edit::AddNode { name: name.clone(), id: None, votes: None, altname: None }];
    change.carry_out(app, |current| edited(current, &edits)).await.map(|changed| Some(changed.version))
}

/// Takes a node out of the configuration; `None` if it does not name it any more.
pub(crate) async fn delete_node(
    app: &App,
    cluster: &Cluster,
    user: &str,
    name: &NodeName,
) -> Result<Option<ConfVersion>, AppError> {
    if !names_node(&app.current_conf(cluster).await?.stored.text, name) {
        return Ok(None);
    }
    let change = Change { cluster, user, message: format!("node {name} deleted"), base: None };
    let edits = [Edit::RemoveNode { name: name.clone(), from_domains: true }];
    change.carry_out(app, |current| edited(current, &edits)).await.map(|changed| Some(changed.version))
}

impl App {
    /// Applies what a form asks for as one new version. `make` builds the edits from the configuration at hand.
    pub async fn edit_conf(
        &self,
        who: &Who,
        cluster: &Cluster,
        base: ConfVersion,
        message: &str,
        make: impl FnOnce(&Current) -> Result<Vec<Edit>, AppError>,
    ) -> Result<Changed, AppError> {
        let change = Change { cluster, user: &who.name, message: message.to_owned(), base: Some(base) };
        let result = change.carry_out(self, |current| edited(current, &make(current)?)).await;
        self.audit_change(who, cluster, message, &result).await?;
        result
    }
}
