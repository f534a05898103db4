//! Configure: properties of the cluster, the list of versions, comparing and bringing back, and the text for experts.
//! Also what all pages share that edit the configuration.

use axum::extract::{Path, Query, State};
use axum::response::IntoResponse;
use serde::Deserialize;
use shared::conf::diff::{LineKind, diff, line_diff};
use shared::conf::edit::{AttributeChanges, Attributes};
use shared::conf::model::Conf;
use shared::conf::{Document, Loaded, secret};
use shared::ids::ConfVersion;

use super::error::PageError;
use super::forms::Fields;
use super::pages::{Page, at, cluster_shell, draw, draw_refused, form_errors, go, snapshot};
use super::session::Posted;
use crate::app::conf::Changed;
use crate::app::{App, AppError, Who};
use crate::repo::clusters::Cluster;
use crate::repo::confs::StoredConf;
use crate::secrets;
use crate::views::Shell;
use crate::views::cluster::HeadPanel;
use crate::views::conf::{ConfigurePage, DiffRow, FindingLine, TextPage, VersionLine, VersionPage};
use crate::views::drafts::RolloutPanel;
use crate::views::manage::FormErrors;

/// A cluster with the configuration its pages edit: luci's own copy, so that no page waits for a node.
pub(super) struct Known {
    pub(super) cluster: Cluster,
    pub(super) stored: StoredConf,
    pub(super) document: Document,
    pub(super) conf: Conf,
    pub(super) findings: Vec<FindingLine>,
}

impl Known {
    pub(super) fn base(&self) -> String {
        self.stored.version.to_string()
    }

    /// Attributes of the only element at a path.
    pub(super) fn attributes(&self, path: &str) -> Attributes {
        let element = self.document.select(path).into_iter().next();
        element.map(|id| self.document.attributes(id).iter().cloned().collect()).unwrap_or_default()
    }
}

pub(super) async fn known(app: &App, who: &Who, name: &str) -> Result<Known, AppError> {
    let cluster = app.cluster(name).await?;
    let stored = app.working_conf(who, &cluster).await?.ok_or_else(|| {
        AppError::Unreachable(format!(
            "luci has no configuration of {name} yet; it is read from the first node that answers"
        ))
    })?;
    let Loaded { document, conf, findings } = shared::conf::load(&stored.text);
    let conf = conf.ok_or_else(|| {
        AppError::Conflict("the cluster's configuration cannot be read; correct it under Configure, as text".into())
    })?;
    Ok(Known { cluster, stored, document, conf, findings: findings.iter().map(FindingLine::new).collect() })
}

/// The frame of a page of the configuration.
pub(super) async fn frame(
    app: &App,
    who: Who,
    cluster: &Cluster,
    tab: &'static str,
) -> Result<(Shell, HeadPanel), PageError> {
    let head = HeadPanel::new(&cluster.name, &snapshot(app, cluster), &who);
    Ok((cluster_shell(app, who, cluster, tab, "head").await?, head))
}

/// Attributes that a form sets and takes away. A secret that is left empty stays as it is.
pub(super) fn attribute_changes(fields: &Fields) -> AttributeChanges {
    sent(fields).map(|(name, value)| (name, Some(value).filter(|value| !value.is_empty()))).collect()
}

/// Attributes of something new.
pub(super) fn new_attributes(fields: &Fields) -> Attributes {
    sent(fields).filter(|(_, value)| !value.is_empty()).collect()
}

fn sent(fields: &Fields) -> impl Iterator<Item = (String, String)> + '_ {
    let mut all = fields.prefixed("a-");
    all.extend(fields.attribute_rows());
    // Secrets by the agent's own word are marked in the form; their names do not give them away.
    let is_secret = |name: &str| secrets::is_secret(name) || fields.checked(&format!("keep-{name}"));
    all.into_iter().filter(move |(name, value)| !(value.is_empty() && is_secret(name)))
}

/// Goes on after a change, saying which version it made.
pub(super) async fn changed(app: &App, who: &Who, to: &str, what: &str, changed: &Changed) -> Page {
    if let Some(steps) = changed.draft {
        return go(app, who, to, "ok", format!("{what} in your draft, which now has {steps} changes")).await;
    }
    let missed: Vec<&str> = changed.missed.iter().map(|node| node.as_str()).collect();
    if !changed.warnings.is_empty() && missed.is_empty() {
        let text = format!("{what}: version {} is stored. But {}", changed.version, changed.warnings.join("; "));
        return go(app, who, to, "warn", text).await;
    }
    if changed.still_wrong > 0 && missed.is_empty() {
        let text = format!(
            "{what}: version {} is stored; it still has {} errors that the version before had too: correct them under Configure",
            changed.version, changed.still_wrong
        );
        return go(app, who, to, "warn", text).await;
    }
    if missed.is_empty() {
        return go(app, who, to, "ok", format!("{what}: version {} is stored", changed.version)).await;
    }
    let text = format!(
        "{what}: version {} was written, but not to {}; these nodes get it when they join",
        changed.version,
        missed.join(", ")
    );
    go(app, who, to, "warn", text).await
}

async fn configure_page(app: &App, who: Who, name: &str) -> Result<ConfigurePage, PageError> {
    let mut known = known(app, &who, name).await?;
    let differences = app.agent_differences(&known.cluster, &shared::conf::load(&known.stored.text)).await?;
    known.findings.extend(differences.iter().map(FindingLine::new));
    let versions = app.repo.confs(known.cluster.id).await?;
    let lines = versions.iter().map(|conf| VersionLine::new(conf, conf.digest == known.stored.digest)).collect();
    let (shell, head) = frame(app, who, &known.cluster, "configure").await?;
    let base = known.base();
    Ok(ConfigurePage { shell, head, cluster: known.cluster.name, versions: lines, findings: known.findings, base })
}

pub(super) async fn configure(State(app): State<App>, who: Who, Path(cluster): Path<String>) -> Page {
    match configure_page(&app, who.clone(), &cluster).await {
        // A file that cannot be read can still be corrected as text.
        Err(PageError::App(AppError::Conflict(_))) => text_form(State(app), who, Path(cluster)).await,
        page => draw(&page?),
    }
}

/// Context-free rows of a difference.
pub(super) fn diff_rows(old: &str, new: &str) -> Vec<DiffRow> {
    let mut rows = Vec::new();
    for hunk in line_diff(old, new) {
        rows.push(DiffRow { class: "gap", text: format!("line {}", hunk.new_start) });
        rows.extend(hunk.lines.into_iter().map(|line| DiffRow {
            class: match line.kind {
                LineKind::Both => "same",
                LineKind::Old => "del",
                LineKind::New => "add",
            },
            text: line.text,
        }));
    }
    rows
}

fn words(old: &str, new: &str) -> Vec<String> {
    match (shared::conf::load(old).conf, shared::conf::load(new).conf) {
        (Some(old), Some(new)) => diff(&old, &new).iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    }
}

async fn stored(app: &App, cluster: &Cluster, version: u64) -> Result<StoredConf, AppError> {
    let found = app.repo.conf(cluster.id, ConfVersion(version)).await?;
    found.ok_or_else(|| AppError::NoSuch { what: "version", name: version.to_string() })
}

async fn version_page(
    app: &App,
    who: Who,
    cluster: &Cluster,
    from: Option<StoredConf>,
    to: StoredConf,
) -> Result<VersionPage, PageError> {
    let newest = app.repo.newest_conf(cluster.id).await?;
    let current = newest.as_ref().is_some_and(|newest| newest.digest == to.digest);
    let base = newest.map_or_else(String::new, |newest| newest.version.to_string());
    let snapshot = snapshot(app, cluster);
    let rollout = RolloutPanel::new(to.version, &snapshot);
    let panels = format!("head,rollout&version={}", to.version);
    let head = HeadPanel::new(&cluster.name, &snapshot, &who);
    let shell = cluster_shell(app, who, cluster, "configure", &panels).await?;
    let (rows, words, text) = match &from {
        Some(from) => (diff_rows(&from.text, &to.text), words(&from.text, &to.text), None),
        None => (Vec::new(), Vec::new(), Some(secret::mask_text(&to.text))),
    };
    Ok(VersionPage {
        shell,
        head,
        cluster: cluster.name.clone(),
        heading: match &from {
            Some(from) => format!("From version {} to {}", from.version, to.version),
            None => format!("Version {}", to.version),
        },
        from: from.map_or_else(String::new, |from| from.version.to_string()),
        to: VersionLine::new(&to, current),
        words,
        rows,
        text,
        rollout,
        base,
    })
}

pub(super) async fn version(State(app): State<App>, who: Who, Path((cluster, version)): Path<(String, u64)>) -> Page {
    let cluster = app.cluster(&cluster).await?;
    let to = stored(&app, &cluster, version).await?;
    draw(&version_page(&app, who, &cluster, None, to).await?)
}

#[derive(Debug, Deserialize)]
pub(super) struct Pair {
    from: u64,
    to: u64,
}

pub(super) async fn compare(
    State(app): State<App>,
    who: Who,
    Path(cluster): Path<String>,
    Query(pair): Query<Pair>,
) -> Page {
    let cluster = app.cluster(&cluster).await?;
    let from = stored(&app, &cluster, pair.from).await?;
    let to = stored(&app, &cluster, pair.to).await?;
    draw(&version_page(&app, who, &cluster, Some(from), to).await?)
}

pub(super) async fn bring_back(
    State(app): State<App>,
    Path((cluster, version)): Path<(String, u64)>,
    Posted { who, fields }: Posted,
) -> Page {
    let cluster = app.cluster(&cluster).await?;
    let text = stored(&app, &cluster, version).await?.text;
    let message = format!("version {version} brought back");
    let done = app.change_text(&who, &cluster, fields.base()?, &message, text).await?;
    changed(&app, &who, &at(&cluster, "/configure"), &format!("Version {version} brought back"), &done).await
}

pub(super) async fn text_form(State(app): State<App>, who: Who, Path(cluster): Path<String>) -> Page {
    let cluster = app.cluster(&cluster).await?;
    let stored = app.working_conf(&who, &cluster).await?;
    let stored = stored.ok_or_else(|| AppError::Unreachable("luci has no configuration of this cluster yet".into()))?;
    let findings = shared::conf::load(&stored.text).findings.iter().map(FindingLine::new).collect();
    let (shell, head) = frame(&app, who, &cluster, "configure").await?;
    draw(&TextPage {
        shell,
        head,
        cluster: cluster.name,
        text: secrets::mark(&stored.text),
        message: String::new(),
        findings,
        base: stored.version.to_string(),
        errors: FormErrors::default(),
    })
}

pub(super) async fn text(State(app): State<App>, Path(cluster): Path<String>, Posted { who, fields }: Posted) -> Page {
    let cluster = app.cluster(&cluster).await?;
    let base = fields.base()?;
    let before = app.working_conf(&who, &cluster).await?;
    let before = before.map_or_else(String::new, |conf| conf.text);
    // Browsers send line ends as CR LF.
    let edited = fields.raw("text").replace("\r\n", "\n");
    let text = secrets::put_back(&edited, &before);
    let message = fields.text("message").to_owned();
    match app.change_text(&who, &cluster, base, &message, text).await {
        Ok(done) => changed(&app, &who, &at(&cluster, "/configure"), "Configuration written", &done).await,
        Err(error) => {
            let findings = match &error {
                AppError::Findings(findings) => findings.iter().map(FindingLine::new).collect(),
                _ => Vec::new(),
            };
            let errors = if findings.is_empty() {
                form_errors(error)?
            } else {
                FormErrors(vec![(
                    "text".into(),
                    "Nothing was written: correct what checking found, then apply again.".into(),
                )])
            };
            let (shell, head) = frame(&app, who, &cluster, "configure").await?;
            let page = TextPage {
                shell,
                head,
                cluster: cluster.name,
                text: edited,
                message,
                findings,
                base: base.to_string(),
                errors,
            };
            Ok(draw_refused(&page)?.into_response())
        }
    }
}
