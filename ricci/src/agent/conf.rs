//! cluster.conf and the corosync.conf that follows from it, on this node's disk. While rgmanager runs it alone writes
//! them, and a new version goes to it; this file writes them only for a cluster that does not run here. A version never
//! goes down, one version has one content, and nothing is written that has an error in it.

use std::path::Path;

use shared::api::{ConfAccepted, ConfDocument, ConfOnDisk, ConfPreview, ProblemCode, PutConf};
use shared::conf::corosync::{RenderOptions, render_corosync_conf};
use shared::conf::delta::Delta;
use shared::conf::{Document, Finding, Severity, judge};
use shared::ids::{ConfDigest, ConfVersion};

use super::app::App;
use super::files::{self, FileError};
use super::host::Daemon;
use super::problem::ApiError;
use super::{corosync_key, operations};

/// cluster.conf holds the passwords of fence devices.
const CONF_MODE: u32 = 0o600;
const COROSYNC_CONF_MODE: u32 = 0o640;
/// Below it stands what concerns services only.
const SERVICES: &str = "/cluster/rm";
/// Below it stand the fence devices; what a node says of fencing lies in its `<fence>` and `<unfence>`.
const FENCE_DEVICES: &str = "/cluster/fencedevices";
/// Longest cluster.conf taken.
const TEXT_MAX: usize = 1024 * 1024;

/// What the first element says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) cluster: Option<String>,
    pub(super) version: ConfVersion,
    pub(super) digest: ConfDigest,
}

impl Head {
    /// Of any text; a damaged one has no name and version 0.
    fn of(text: &str) -> Self {
        let (document, _) = Document::parse(text);
        let attribute = |name| document.root().and_then(|root| document.attribute(root, name));
        Self {
            cluster: attribute("name").map(str::to_owned),
            version: ConfVersion(attribute("config_version").and_then(|text| text.parse().ok()).unwrap_or(0)),
            digest: shared::conf::digest(text),
        }
    }
}

/// The cluster.conf on disk, as it is.
pub(super) async fn read(app: &App) -> Result<Option<(Head, String)>, ApiError> {
    let path = app.options.conf.clone();
    let bytes = files::off_loop(move || files::read(&path)).await?;
    Ok(bytes.map(|bytes| {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        (Head::of(&text), text)
    }))
}

/// For the node report.
pub(super) async fn on_disk(app: &App) -> Result<Option<ConfOnDisk>, ApiError> {
    Ok(read(app).await?.map(|(head, _)| ConfOnDisk {
        cluster: head.cluster.unwrap_or_default(),
        version: head.version,
        digest: head.digest,
    }))
}

/// The whole document on disk.
pub(super) async fn document(app: &App) -> Result<ConfDocument, ApiError> {
    let (head, text) = read(app).await?.ok_or_else(|| {
        ApiError::new(ProblemCode::NotFound, "this node has no cluster.conf; it belongs to no cluster yet")
    })?;
    Ok(ConfDocument { version: head.version, digest: head.digest, text })
}

/// Everything that is to be said of a cluster.conf.
pub(super) fn check(text: &str) -> Vec<Finding> {
    shared::conf::load(text).findings
}

/// What the agents of this node say of all resources of a cluster.conf, or of those that `present` has otherwise.
pub(super) async fn ask_agents(app: &App, text: &str, present: Option<&str>) -> Vec<Finding> {
    crate::judge::judge(&app.options.ocf_root, &app.secrets, text, present).await
}

/// What a text without errors would change for services, compared with what is in force.
pub(super) fn preview(present: &ConfDocument, text: &str) -> Result<ConfPreview, ApiError> {
    let (next, findings) = shared::conf::load(text).accept_after(&present.text).map_err(ApiError::findings)?;
    // What is in force may break a rule that is newer.
    let now = shared::conf::load(&present.text);
    let now = now.conf.ok_or_else(|| ApiError::findings(now.findings))?;
    Ok(ConfPreview { against: present.version, delta: Delta::between(&now, &next), findings })
}

/// Writes a configuration for a cluster that does not run here.
pub(super) async fn put_offline(app: &App, who: &str, put: &PutConf) -> Result<ConfAccepted, ApiError> {
    let head = Head::of(&put.text);
    let _one_at_a_time = app.changing_files.lock().await;
    refuse_while_running(app, "send the configuration without `offline`, so that all members take it").await?;
    let (present_head, present) = read(app).await?.unzip();
    let (corosync, mut findings) = render(app, &put.text, present.as_deref())?;
    if let Some(present) = &present_head {
        check_successor(present, &head)?;
    }
    // A cluster that does not run is written to node by node: a refusal by the agents of one would part them.
    let mut said = ask_agents(app, &put.text, present.as_deref()).await;
    judge::overrule(&mut said);
    findings.extend(said);
    write(app, corosync, put.text.clone()).await?;
    tracing::info!(who, origin = put.origin, version = %head.version, digest = %head.digest, "cluster.conf written");
    Ok(ConfAccepted { version: head.version, digest: head.digest, findings })
}

/// Refuses a text that is longer than any cluster.conf.
pub(super) fn check_length(text: &str) -> Result<(), ApiError> {
    if text.len() <= TEXT_MAX {
        return Ok(());
    }
    let text = format!("a cluster.conf has at most {TEXT_MAX} bytes; nothing was stored");
    Err(ApiError::new(ProblemCode::TooLarge, text))
}

/// The corosync.conf of a text without errors, or with none but those that `present` has too; and what is to be said.
fn render(app: &App, text: &str, present: Option<&str>) -> Result<(String, Vec<Finding>), ApiError> {
    check_length(text)?;
    let loaded = shared::conf::load(text);
    if loaded.findings.iter().any(is_fatal) {
        return Err(ApiError::findings(loaded.findings));
    }
    let (conf, findings) = loaded.accept_after(present.unwrap_or_default()).map_err(ApiError::findings)?;
    let logfile = app.options.log_dir.join("corosync.log").display().to_string();
    Ok((render_corosync_conf(&conf, &RenderOptions { logfile, ..RenderOptions::default() }), findings))
}

/// Whether no corosync.conf may be rendered: services and fencing are nothing to corosync, but from nodes that are not
/// understood nothing follows.
fn is_fatal(finding: &Finding) -> bool {
    let path = finding.place.path.as_str();
    let of_fencing = path.starts_with(FENCE_DEVICES) || path.contains("]/fence") || path.contains("]/unfence");
    finding.severity == Severity::Error && !path.starts_with(SERVICES) && !of_fencing
}

/// May `next` follow what lies here?
fn check_successor(present: &Head, next: &Head) -> Result<(), ApiError> {
    if let Some(cluster) = &present.cluster
        && Some(cluster) != next.cluster.as_ref()
    {
        return Err(ApiError::refused(format!(
            "this node belongs to the cluster {cluster}; let it leave that cluster first, then send the configuration again"
        )));
    }
    if next.version < present.version {
        return Err(ApiError::refused(format!(
            "version {} is lower than version {} that lies on this node; a version never goes down: give it number {} or higher",
            next.version,
            present.version,
            present.version.0.saturating_add(1),
        )));
    }
    if next.version == present.version && next.digest != present.digest && present.cluster.is_some() {
        return Err(ApiError::refused(format!(
            "another content with the same version {} lies on this node; give the new one number {} or higher",
            present.version,
            present.version.0.saturating_add(1),
        )));
    }
    Ok(())
}

async fn refuse_while_running(app: &App, advice: &str) -> Result<(), ApiError> {
    let state = app.host.state(Daemon::Rgmanager).await.map_err(|error| ApiError::internal(&error))?;
    if state.running || app.rgmanager.listens(operations::LISTEN_POLL).await {
        let text = format!("the cluster runs on this node; {advice}");
        return Err(ApiError::new(ProblemCode::ClusterRunning, text));
    }
    Ok(())
}

/// corosync.conf first: cluster.conf is the truth, so when it is there, what follows from it is there too.
async fn write(app: &App, corosync: String, text: String) -> Result<(), FileError> {
    let corosync_dir = app.options.corosync_dir.clone();
    let conf = app.options.conf.clone();
    files::off_loop(move || {
        files::create_folder(&corosync_dir, 0o755)?;
        files::create_folder(conf.parent().unwrap_or(Path::new("/")), 0o755)?;
        files::write_atomic(&corosync_dir.join("corosync.conf"), corosync.as_bytes(), COROSYNC_CONF_MODE)?;
        files::write_atomic(&conf, text.as_bytes(), CONF_MODE)
    })
    .await
}

/// What is to be known of a configuration that is about to be started.
pub(super) struct Prepared {
    /// corosync-qdevice must run, too.
    pub(super) has_qdevice: bool,
}

/// Before a start: a usable cluster.conf and a key are here, and corosync.conf says the same as cluster.conf.
pub(super) async fn prepare_start(app: &App) -> Result<Prepared, String> {
    let _one_at_a_time = app.changing_files.lock().await;
    let told = |error: &FileError| shared::chain(error);
    let path = app.options.conf.clone();
    let bytes = files::off_loop(move || files::read(&path)).await.map_err(|error| told(&error))?;
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| {
        format!(
            "there is no readable {} on this node; create a cluster or add the node to one",
            app.options.conf.display()
        )
    })?;
    let findings = check(&text);
    let mut fatal = findings.iter().filter(|finding| is_fatal(finding));
    if let Some(first) = fatal.next() {
        return Err(format!(
            "{} has {} errors and cannot be used; the first is in line {}: {} ({})",
            app.options.conf.display(),
            1 + fatal.count(),
            first.place.line,
            first.text,
            first.hint,
        ));
    }
    // It lies here already, perhaps since RHEL 6: whom an error does not concern is served, as in a cluster that runs.
    for finding in findings.iter().filter(|finding| finding.severity == Severity::Error) {
        tracing::warn!(
            place = finding.place.path,
            hint = finding.hint,
            "started in spite of an error: {}",
            finding.text
        );
    }
    let key = corosync_key::path(app);
    if !key.is_file() {
        return Err(format!("{} is missing on this node; hand it the key of its cluster", key.display()));
    }
    let (corosync, _) =
        render(app, &text, Some(&text)).map_err(|_| format!("{} has errors", app.options.conf.display()))?;
    let conf = shared::conf::load(&text).conf;
    let path = app.options.corosync_dir.join("corosync.conf");
    // corosync does not start if it cannot open its log.
    let mut log_folders = vec![app.options.log_dir.clone()];
    log_folders.extend(conf.as_ref().and_then(|conf| conf.log_folder().map(Path::to_owned)));
    files::off_loop(move || {
        log_folders.iter().try_for_each(|folder| files::create_folder(folder, 0o755))?;
        if files::read(&path)?.as_deref() == Some(corosync.as_bytes()) {
            return Ok(());
        }
        files::write_atomic(&path, corosync.as_bytes(), COROSYNC_CONF_MODE)
    })
    .await
    .map_err(|error| told(&error))?;
    Ok(Prepared { has_qdevice: conf.is_some_and(|conf| conf.qdevice.is_some()) })
}

/// This node leaves its cluster for good: configuration and key go, and nothing starts at boot.
pub(super) async fn leave(app: &App, who: &str) -> Result<(), ApiError> {
    let _one_at_a_time = app.changing_files.lock().await;
    refuse_while_running(app, "stop it here before the node leaves for good").await?;
    let corosync = app.host.state(Daemon::Corosync).await.map_err(|error| ApiError::internal(&error))?;
    if corosync.running {
        let text = "corosync still runs on this node; stop the cluster here before the node leaves for good";
        return Err(ApiError::new(ProblemCode::ClusterRunning, text));
    }
    app.host.set_enabled(false).await.map_err(|error| ApiError::internal(&error))?;
    // cluster.conf last: as long as it is here, the node still belongs to the cluster and leaving can be asked again.
    let of_rgmanager = &app.options.cluster_state_dir;
    let all = [
        of_rgmanager.join("conf"),
        of_rgmanager.join("intents.json"),
        corosync_key::path(app),
        app.secrets.folder().to_owned(),
        app.options.conf.with_file_name("fence_xvm.key"),
        app.options.corosync_dir.join("corosync.conf"),
        app.options.conf.clone(),
    ];
    files::off_loop(move || all.iter().try_for_each(|path| files::remove_all(path))).await?;
    tracing::info!(who, "this node has left its cluster for good");
    Ok(())
}
