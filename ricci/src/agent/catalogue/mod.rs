//! The resource and fence agents installed on this node and what they say of themselves: lists, schemas, judgements.
//!
//! Each agent is run once per version of its file. Lists are drawn from what is known; what is not known yet is asked
//! in the background, a few agents at a time, so that an agent that hangs delays nobody but itself and is reported.

mod ask;
pub(crate) mod here;
mod installed;
mod kept;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(super) use ask::mask;
use futures_util::StreamExt as _;
use shared::agents::metadata::{AgentClass, AgentSchema, check, in_language};
use shared::api::{AgentMetadata, AgentSummary, ProblemCode, Validated};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::installed::Folders;
use self::kept::{Answer, Kept};
use super::files::{self, FileIdentity};
use super::problem::ApiError;
use crate::secrets::Secrets;

/// A list that nobody asked for yet waits this long for descriptions; it is complete at the next look.
const LIST_WAIT: Duration = Duration::from_secs(2);
/// Agents asked at the same time in the background. On a machine that also runs services, more would be felt.
const REFRESHED_AT_ONCE: usize = 2;
/// Questions for one agent at the same time, so that a page with a hanging agent does not hold up other pages.
const ASKED_AT_ONCE: usize = 8;

/// What is installed.
#[derive(Debug)]
pub(super) struct Catalogue {
    inner: Arc<Inner>,
    refreshes: [Mutex<Option<JoinHandle<()>>>; 2],
}

#[derive(Debug)]
struct Inner {
    folders: Folders,
    file: PathBuf,
    kept: Mutex<Kept>,
    asking: Semaphore,
    secrets: Secrets,
}

impl Catalogue {
    /// `file`: where it is kept what agents said.
    pub(super) fn new(ocf_root: PathBuf, fence_dir: PathBuf, file: PathBuf, secrets: Secrets) -> Self {
        let kept = Mutex::new(Kept::open(&file));
        let folders = Folders { ocf_root, fence_dir };
        let inner = Inner { folders, file, kept, asking: Semaphore::new(ASKED_AT_ONCE), secrets };
        Self { inner: Arc::new(inner), refreshes: Default::default() }
    }

    /// All agents of a class by name, with what is known of them.
    pub(super) async fn list(&self, class: AgentClass) -> Vec<AgentSummary> {
        let inner = Arc::clone(&self.inner);
        let agents = files::off_loop(move || inner.look(class)).await;
        if agents.iter().any(|agent| agent.answer.is_none()) {
            self.refresh(class).await;
        }
        let inner = Arc::clone(&self.inner);
        files::off_loop(move || inner.look(class)).await.into_iter().map(summary).collect()
    }

    /// All agents of a class, once each has answered or has been given up.
    async fn list_all(&self, class: AgentClass) -> Vec<AgentSummary> {
        self.inner.ask_all(class).await;
        self.inner.look(class).into_iter().map(summary).collect()
    }

    /// Asks in the background whoever is not known, and waits for it a little.
    async fn refresh(&self, class: AgentClass) {
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        {
            let mut running = lock(&self.refreshes[class as usize]);
            if running.as_ref().is_some_and(|task| !task.is_finished()) {
                return;
            }
            let inner = Arc::clone(&self.inner);
            *running = Some(tokio::spawn(async move {
                inner.ask_all(class).await;
                drop(end);
            }));
        }
        let _ = timeout(LIST_WAIT, ended).await;
    }

    /// The XML of one agent.
    pub(super) async fn metadata(&self, class: AgentClass, name: &str) -> Result<AgentMetadata, ApiError> {
        let told = self.ask(class, name).await?;
        Ok(AgentMetadata { name: name.to_owned(), xml: told.xml.clone() })
    }

    /// The parameters and actions of one agent.
    pub(super) async fn schema(&self, class: AgentClass, name: &str) -> Result<AgentSchema, ApiError> {
        Ok(self.ask(class, name).await?.schema.clone())
    }

    /// What is to be said of parameters of a resource agent: by its schema, and by itself.
    pub(super) async fn validate(&self, name: &str, parameters: &[(String, String)]) -> Result<Validated, ApiError> {
        let told = self.ask(AgentClass::Resource, name).await?;
        let spellable = |name: &str| name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        if let Some((name, _)) = parameters.iter().find(|(name, value)| !spellable(name) || value.contains('\0')) {
            return Err(ApiError::bad_request(format!("{name:?} cannot be a parameter of a resource agent")));
        }
        let complaints = check(&told.schema, parameters);
        if !told.schema.has_action("validate-all") {
            return Ok(Validated { complaints, said: None });
        }
        let path = self.path(AgentClass::Resource, name)?;
        let (secrets, given) = (self.inner.secrets.clone(), parameters.to_vec());
        let parameters = files::off_loop(move || secrets.resolve(&given)).await?;
        let _place = self.inner.place().await?;
        let said = ask::validate(&self.inner.folders.ocf_root, name, &path, &parameters).await?;
        Ok(Validated { complaints, said: Some(said) })
    }

    /// The program of an agent that is installed here.
    pub(super) fn find(&self, class: AgentClass, name: &str) -> Option<PathBuf> {
        self.inner.folders.find(class, name)
    }

    fn path(&self, class: AgentClass, name: &str) -> Result<PathBuf, ApiError> {
        let path = self.find(class, name);
        path.ok_or_else(|| ApiError::new(ProblemCode::NotFound, format!("there is no agent {name:?} on this node")))
    }

    async fn ask(&self, class: AgentClass, name: &str) -> Result<Arc<kept::Told>, ApiError> {
        let path = self.path(class, name)?;
        let answer = match self.inner.known(&path) {
            Some(answer) => answer,
            None => {
                let _place = self.inner.place().await?;
                self.inner.ask(class, name, &path).await
            }
        };
        answer.map_err(|why| ApiError::new(ProblemCode::NotFound, format!("{name} tells nothing of itself: {why}")))
    }
}

impl Drop for Catalogue {
    fn drop(&mut self) {
        for refresh in &self.refreshes {
            if let Some(task) = lock(refresh).take() {
                task.abort();
            }
        }
    }
}

/// An installed agent and what is known of it.
struct Agent {
    name: String,
    path: PathBuf,
    answer: Option<Answer>,
}

impl Inner {
    fn look(&self, class: AgentClass) -> Vec<Agent> {
        let installed = self.folders.list(class);
        let agents = installed.into_iter().map(|(name, path)| Agent { answer: self.known(&path), name, path });
        agents.collect()
    }

    fn known(&self, path: &Path) -> Option<Answer> {
        let identity = FileIdentity::of(path)?;
        lock(&self.kept).answer(path, identity)
    }

    async fn place(&self) -> Result<tokio::sync::SemaphorePermit<'_>, ApiError> {
        self.asking.acquire().await.map_err(|_| ApiError::refused("ricci is stopping"))
    }

    /// Asks the agent, unless another question was answered meanwhile.
    async fn ask(&self, class: AgentClass, name: &str, path: &Path) -> Answer {
        let identity = FileIdentity::of(path).ok_or("its file is gone")?;
        if let Some(known) = self.known(path) {
            return known;
        }
        let answer = match ask::metadata(&self.folders.ocf_root, class, name, path).await {
            Ok(told) => Ok(Arc::new(told)),
            Err(why) => {
                tracing::warn!(agent = name, why, "an agent tells nothing of itself and is passed over");
                Err(why.into())
            }
        };
        lock(&self.kept).keep(class, path, identity, answer.clone());
        answer
    }

    async fn ask_all(self: &Arc<Self>, class: AgentClass) {
        let inner = Arc::clone(self);
        let agents = files::off_loop(move || inner.look(class)).await;
        let installed: Vec<(String, PathBuf)> =
            agents.iter().map(|agent| (agent.name.clone(), agent.path.clone())).collect();
        let unknown = agents.iter().filter(|agent| agent.answer.is_none());
        futures_util::stream::iter(unknown)
            .for_each_concurrent(REFRESHED_AT_ONCE, |agent| async {
                // What it said is kept; whoever lists sees it.
                let _ = self.ask(class, &agent.name, &agent.path).await;
            })
            .await;
        let inner = Arc::clone(self);
        files::off_loop(move || inner.store(class, &installed)).await;
    }

    fn store(&self, class: AgentClass, installed: &[(String, PathBuf)]) {
        let bytes = {
            let mut kept = lock(&self.kept);
            kept.retain(class, installed);
            kept.render()
        };
        if let Err(error) = files::write_atomic(&self.file, &bytes, 0o600) {
            tracing::warn!(error = shared::chain(&error), "what agents said is not kept for the next start");
        }
    }
}

fn summary(agent: Agent) -> AgentSummary {
    let name = agent.name;
    let nothing = AgentSummary { name, short: String::new(), version: None, digest: None, problem: None };
    match agent.answer {
        None => nothing,
        Some(Err(why)) => AgentSummary { problem: Some(format!("it tells nothing of itself: {why}")), ..nothing },
        Some(Ok(told)) => AgentSummary {
            short: in_language(&told.schema.short, "en").to_owned(),
            version: told.schema.version.clone(),
            digest: Some(told.digest.clone()),
            problem: told.schema.impossible(),
            ..nothing
        },
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these locks; and if it did, the data would still be whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
