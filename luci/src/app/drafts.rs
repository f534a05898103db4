//! Drafts: several edits, reviewed once, applied once. While a person has a draft for a cluster, the pages show what it
//! comes to, and forms add steps to it. Applying checks that nobody changed the cluster's configuration in between; if
//! somebody did, each object that both changed is decided by the person.

use std::collections::BTreeSet;

use shared::conf::diff::diff;
use shared::conf::edit::{self, Edit};
use shared::conf::{self, Finding, Loaded};
use shared::ids::ConfVersion;

use super::conf::{Change, Changed, Current, moved, raise_version, refused};
use super::merge::merge;
use super::secrets::in_edits;
use super::{App, AppError, Who, errors_of};
use crate::repo::clusters::Cluster;
use crate::repo::confs::StoredConf;
use crate::repo::drafts::{Draft, Step, StepContent};

/// Most steps of a draft.
const STEPS_MAX: usize = 500;

/// Both sides of an object that was changed in the draft and, since it was begun, in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    pub subject: String,
    /// What the draft does to it.
    pub mine: Vec<String>,
    /// What was done to it in between.
    pub theirs: Vec<String>,
}

/// What happened to the configuration since a draft was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    pub newest: ConfVersion,
    /// The versions that came in between: number, author, message.
    pub versions: Vec<(ConfVersion, String, String)>,
    pub words: Vec<String>,
    pub conflicts: Vec<Conflict>,
}

/// A draft as it is reviewed.
#[derive(Debug, Clone)]
pub struct Review {
    pub draft: Draft,
    pub before: String,
    pub after: String,
    pub words: Vec<String>,
    pub findings: Vec<Finding>,
    pub moved: Option<Moved>,
}

/// Differences between two texts in words, with the object that each is about.
fn changes(before: &str, after: &str) -> Vec<(String, String)> {
    match (conf::load(before).conf, conf::load(after).conf) {
        (Some(before), Some(after)) => {
            diff(&before, &after).into_iter().map(|change| (change.subject.clone(), change.to_string())).collect()
        }
        _ => Vec::new(),
    }
}

fn subjects(before: &str, after: &str) -> BTreeSet<String> {
    changes(before, after).into_iter().map(|(subject, _)| subject).collect()
}

/// The text after one step.
fn after_step(text: &str, content: &StepContent) -> Result<String, AppError> {
    match content {
        StepContent::Text(whole) => Ok(whole.clone()),
        StepContent::Edits(edits) => {
            let mut document = conf::load(text).document;
            edit::apply_all(&mut document, edits).map_err(|(_, error)| refused(error))?;
            Ok(document.print())
        }
    }
}

/// The text after all steps.
fn after_steps(base: &str, steps: &[Step]) -> Result<String, AppError> {
    steps.iter().try_fold(base.to_owned(), |text, step| after_step(&text, &step.content))
}

/// The errors of `after` that `before` does not have: an edit is not to blame for what was wrong already.
pub(super) fn new_errors(before: &Loaded, after: &Loaded) -> Vec<Finding> {
    let mut findings = after.findings.clone();
    conf::drop_known_errors(&before.findings, &mut findings);
    errors_of(&findings).cloned().collect()
}

/// An edit of the whole text, made again on the text of a newer version.
fn merge_text(before: &str, edited: &str, onto: &str, newest: ConfVersion, message: &str) -> Result<String, AppError> {
    // The number of the version differs on both sides and means nothing here.
    let merged = merge(&raise_version(before, newest)?, &raise_version(edited, newest)?, &raise_version(onto, newest)?).map_err(|clashes| {
        let lines: BTreeSet<usize> = clashes.iter().map(|clash| clash.line).collect();
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        AppError::Conflict(format!(
            "the step \"{message}\" edits the text where version {newest} changed it too (near line {} of the version \
             that you began with); take that step back, move the draft, and make the change again",
            lines.join(", ")
        ))
    })?;
    let loaded = conf::load(&merged);
    if !loaded.document.is_well_formed() {
        return Err(AppError::Findings(loaded.findings));
    }
    Ok(merged)
}

impl App {
    /// The configuration that a person's pages show and edit: their draft, else the newest version.
    pub async fn working_conf(&self, who: &Who, cluster: &Cluster) -> Result<Option<StoredConf>, AppError> {
        match self.repo.draft(cluster.id, who.id).await? {
            Some(draft) => {
                let base = self.base_of(cluster, &draft).await?;
                let text = after_steps(&base.text, &draft.steps)?;
                Ok(Some(StoredConf { text, ..base }))
            }
            None => Ok(self.repo.newest_conf(cluster.id).await?),
        }
    }

    async fn base_of(&self, cluster: &Cluster, draft: &Draft) -> Result<StoredConf, AppError> {
        let base = self.repo.conf(cluster.id, draft.base).await?;
        base.ok_or_else(|| AppError::NoSuch { what: "version", name: draft.base.to_string() })
    }

    async fn open_draft(&self, who: &Who, cluster: &Cluster) -> Result<Draft, AppError> {
        let draft = self.repo.draft(cluster.id, who.id).await?;
        draft.ok_or_else(|| AppError::Conflict("you have no draft for this cluster; begin one under Configure".into()))
    }

    /// Begins a draft from the newest version.
    pub async fn begin_draft(&self, who: &Who, cluster: &Cluster) -> Result<(), AppError> {
        let current = self.current_conf(cluster).await?;
        Ok(self.repo.begin_draft(cluster.id, who.id, current.stored.version).await?)
    }

    /// Throws a draft away.
    pub async fn discard_draft(&self, who: &Who, cluster: &Cluster) -> Result<(), AppError> {
        let draft = self.open_draft(who, cluster).await?;
        self.repo.remove_draft(cluster.id, who.id).await?;
        let detail = format!("{} changes", draft.steps.len());
        Ok(self.audit(who, Some(&cluster.name), "discard-draft", &cluster.name, &detail, "done").await?)
    }

    /// Takes the last step back.
    pub async fn undo_step(&self, who: &Who, cluster: &Cluster) -> Result<String, AppError> {
        let lock = self.conf_lock.of(cluster.id);
        let _one_at_a_time = lock.lock().await;
        let mut draft = self.open_draft(who, cluster).await?;
        let step = draft.steps.pop();
        let step = step.ok_or_else(|| AppError::Conflict("the draft has no changes".into()))?;
        self.repo.set_draft(cluster.id, who.id, draft.base, &draft.steps).await?;
        Ok(step.message)
    }

    /// What a form of a page asks for: a step of the person's draft if there is one, else a version at once.
    pub async fn change_conf(
        &self,
        who: &Who,
        cluster: &Cluster,
        base: ConfVersion,
        message: &str,
        make: impl FnOnce(&Current) -> Result<Vec<Edit>, AppError>,
    ) -> Result<Changed, AppError> {
        if self.repo.draft(cluster.id, who.id).await?.is_none() {
            return self.edit_conf(who, cluster, base, message, make).await;
        }
        self.add_step(who, cluster, base, message, |current| Ok(StepContent::Edits(make(current)?))).await
    }

    /// A change of what running services are made of: always a step of the person's draft, which is begun if there is none.
    /// Changes of a tree belong together, and each by itself would restart what the next one restarts again.
    pub async fn change_in_draft(
        &self,
        who: &Who,
        cluster: &Cluster,
        base: ConfVersion,
        message: &str,
        make: impl FnOnce(&Current) -> Result<Vec<Edit>, AppError>,
    ) -> Result<Changed, AppError> {
        let begun = self.repo.draft(cluster.id, who.id).await?.is_none();
        if begun {
            let newest = self.current_conf(cluster).await?.stored;
            if newest.version != base {
                return Err(moved(base, &newest));
            }
            self.repo.begin_draft(cluster.id, who.id, base).await?;
        }
        let step = self.add_step(who, cluster, base, message, |current| Ok(StepContent::Edits(make(current)?))).await;
        if begun && step.is_err() {
            // An empty draft that nobody asked for would only be in the way; one that got a step meanwhile would not.
            let lock = self.conf_lock.of(cluster.id);
            let _one_at_a_time = lock.lock().await;
            if self.repo.draft(cluster.id, who.id).await?.is_some_and(|draft| draft.steps.is_empty()) {
                self.repo.remove_draft(cluster.id, who.id).await?;
            }
        }
        step
    }

    /// The same for the whole file as text.
    pub async fn change_text(
        &self,
        who: &Who,
        cluster: &Cluster,
        base: ConfVersion,
        message: &str,
        text: String,
    ) -> Result<Changed, AppError> {
        if self.repo.draft(cluster.id, who.id).await?.is_none() {
            return self.put_text(who, cluster, base, message, text).await;
        }
        let message = if message.trim().is_empty() { "edited as text" } else { message.trim() };
        self.add_step(who, cluster, base, message, |_| Ok(StepContent::Text(text))).await
    }

    async fn add_step(
        &self,
        who: &Who,
        cluster: &Cluster,
        base: ConfVersion,
        message: &str,
        make: impl FnOnce(&Current) -> Result<StepContent, AppError>,
    ) -> Result<Changed, AppError> {
        let lock = self.conf_lock.of(cluster.id);
        let _one_at_a_time = lock.lock().await;
        let mut draft = self.open_draft(who, cluster).await?;
        if draft.base != base {
            let text = "this page was made before your draft was begun or moved; reload it and make the change again";
            return Err(AppError::Conflict(text.into()));
        }
        if draft.steps.len() >= STEPS_MAX {
            return Err(AppError::Conflict(format!("a draft has at most {STEPS_MAX} changes; apply it first")));
        }
        let stored = self.base_of(cluster, &draft).await?;
        let before = after_steps(&stored.text, &draft.steps)?;
        let current = Current { loaded: conf::load(&before), stored: StoredConf { text: before.clone(), ..stored } };
        let content = make(&current)?;
        let after = after_step(&before, &content)?;
        let sealed = self.seal(cluster, &before, &after).await?;
        let content = match content {
            _ if sealed.replaced.is_empty() => content,
            StepContent::Edits(edits) => StepContent::Edits(in_edits(&edits, &sealed.replaced)?),
            StepContent::Text(_) => StepContent::Text(sealed.text),
        };
        let after = after_step(&before, &content)?;
        if after == before {
            return Err(AppError::Conflict("nothing was changed: the draft already is like this".into()));
        }
        let loaded = conf::load(&after);
        if !loaded.document.is_well_formed() {
            return Err(AppError::Findings(loaded.findings));
        }
        let wrong = new_errors(&current.loaded, &loaded);
        if !wrong.is_empty() {
            return Err(AppError::Findings(wrong));
        }
        let subjects = subjects(&before, &after).into_iter().collect();
        draft.steps.push(Step { message: message.to_owned(), subjects, content });
        self.repo.set_draft(cluster.id, who.id, draft.base, &draft.steps).await?;
        let steps = Some(draft.steps.len());
        Ok(Changed { version: draft.base, missed: Vec::new(), warnings: Vec::new(), draft: steps, still_wrong: 0 })
    }

    /// All that is to be seen before a draft is applied.
    pub async fn review(&self, who: &Who, cluster: &Cluster) -> Result<Review, AppError> {
        let draft = self.open_draft(who, cluster).await?;
        let base = self.base_of(cluster, &draft).await?;
        let after = after_steps(&base.text, &draft.steps)?;
        let newest = self.current_conf(cluster).await?.stored;
        let moved =
            if newest.version == draft.base { None } else { Some(self.moved(cluster, &base, &after, &newest).await?) };
        let loaded = conf::load(&after);
        let differences = self.agent_differences(cluster, &loaded).await?;
        let mut findings = loaded.findings;
        conf::drop_known_errors(&conf::load(&base.text).findings, &mut findings);
        findings.extend(differences);
        Ok(Review {
            words: changes(&base.text, &after).into_iter().map(|(_, words)| words).collect(),
            findings,
            before: base.text,
            after,
            draft,
            moved,
        })
    }

    async fn moved(
        &self,
        cluster: &Cluster,
        base: &StoredConf,
        after: &str,
        newest: &StoredConf,
    ) -> Result<Moved, AppError> {
        let mine = changes(&base.text, after);
        let theirs = changes(&base.text, &newest.text);
        let about = |changes: &[(String, String)], subject: &str| -> Vec<String> {
            changes.iter().filter(|(of, _)| of == subject).map(|(_, words)| words.clone()).collect()
        };
        let both: BTreeSet<&String> = mine
            .iter()
            .map(|(subject, _)| subject)
            .filter(|subject| theirs.iter().any(|(other, _)| other == *subject))
            .collect();
        let between = self.repo.confs(cluster.id).await?.into_iter().filter(|conf| conf.version > base.version);
        Ok(Moved {
            newest: newest.version,
            versions: between
                .map(|conf| (conf.version, conf.author.unwrap_or_else(|| "on a node".into()), conf.message))
                .collect(),
            words: theirs.iter().map(|(_, words)| words.clone()).collect(),
            conflicts: both
                .into_iter()
                .map(|subject| Conflict {
                    subject: subject.clone(),
                    mine: about(&mine, subject),
                    theirs: about(&theirs, subject),
                })
                .collect(),
        })
    }

    /// Moves a draft onto the newest version. `theirs`: the objects whose own changes are given up; on the others the
    /// draft's steps are made again, over what was done in between.
    pub async fn move_draft(&self, who: &Who, cluster: &Cluster, theirs: &[String]) -> Result<ConfVersion, AppError> {
        let lock = self.conf_lock.of(cluster.id);
        let _one_at_a_time = lock.lock().await;
        let draft = self.open_draft(who, cluster).await?;
        let newest = self.current_conf(cluster).await?.stored;
        // Both lines of history, step by step: as the draft was made, and as it is made again.
        let mut made = self.base_of(cluster, &draft).await?.text;
        let mut text = newest.text.clone();
        let mut steps = Vec::new();
        for mut step in draft.steps {
            let before = std::mem::take(&mut made);
            made = after_step(&before, &step.content)?;
            if step.subjects.iter().any(|subject| theirs.contains(subject)) {
                continue;
            }
            if let StepContent::Text(whole) = &step.content {
                let merged = merge_text(&before, whole, &text, newest.version, &step.message)?;
                step.subjects = subjects(&text, &merged).into_iter().collect();
                step.content = StepContent::Text(merged);
            }
            text = after_step(&text, &step.content).map_err(|error| {
                AppError::Conflict(format!(
                    "the step \"{}\" cannot be made on version {}: {error}; give its object up",
                    step.message, newest.version
                ))
            })?;
            steps.push(step);
        }
        self.repo.set_draft(cluster.id, who.id, newest.version, &steps).await?;
        Ok(newest.version)
    }

    /// Applies a draft as one version; the draft is then gone.
    pub async fn apply_draft(&self, who: &Who, cluster: &Cluster, message: &str) -> Result<Changed, AppError> {
        let review = self.review(who, cluster).await?;
        if review.draft.steps.is_empty() {
            return Err(AppError::Conflict("the draft has no changes".into()));
        }
        let message = match message.trim() {
            "" => review.draft.steps.iter().map(|step| step.message.as_str()).collect::<Vec<_>>().join("; "),
            given => given.to_owned(),
        };
        let change = Change { cluster, user: &who.name, message: message.clone(), base: Some(review.draft.base) };
        let result = change.carry_out(self, |current| raise_version(&review.after, current.stored.version)).await;
        self.audit_change(who, cluster, &message, &result).await?;
        if result.is_ok() {
            self.repo.remove_draft(cluster.id, who.id).await?;
        }
        result
    }
}
