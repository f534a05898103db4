//! What agents have said, by the identity of their file: in memory, and in one file for the next ricci, so that a
//! restart does not run every agent again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use shared::agents::metadata::{self, AgentClass, AgentSchema};
use tokio::time::Instant;

use super::installed::AGENTS_MAX;
use crate::agent::files::{self, FileIdentity};

/// An agent that told nothing is asked again after this: what it needs may have been installed meanwhile, which its
/// own file does not show.
const FAILURE_AGE_MAX: Duration = Duration::from_secs(600);

/// An agent that answered.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) xml: String,
    pub(super) schema: AgentSchema,
    pub(super) digest: String,
}

impl Told {
    /// Reads what an agent printed.
    pub(super) fn read(class: AgentClass, xml: String) -> Result<Self, String> {
        let schema = metadata::parse(class, &xml).map_err(|error| error.to_string())?;
        let digest = Sha256::digest(xml.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { xml, schema, digest })
    }
}

/// What one agent said, or why it said nothing.
pub(super) type Answer = Result<Arc<Told>, Arc<str>>;

#[derive(Debug)]
struct Entry {
    class: AgentClass,
    identity: FileIdentity,
    answer: Answer,
    at: Instant,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Kept {
    entries: HashMap<PathBuf, Entry>,
}

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    path: PathBuf,
    class: AgentClass,
    identity: FileIdentity,
    xml: String,
}

impl Kept {
    /// What the last ricci knew. A file that cannot be read is as good as none: the agents can be asked again.
    pub(super) fn open(file: &Path) -> Self {
        let bytes = files::read(file).ok().flatten().unwrap_or_default();
        let lines: Vec<Line> = serde_json::from_slice(&bytes).unwrap_or_default();
        let at = Instant::now();
        let entries = lines.into_iter().take(AGENTS_MAX).filter_map(|line| {
            let told = Told::read(line.class, line.xml).ok()?;
            Some((line.path, Entry { class: line.class, identity: line.identity, answer: Ok(Arc::new(told)), at }))
        });
        Self { entries: entries.collect() }
    }

    /// The content of the file. Failures are not in it: the next ricci asks those agents again.
    pub(super) fn render(&self) -> Vec<u8> {
        let lines = self.entries.iter().filter_map(|(path, entry)| {
            let told = entry.answer.as_ref().ok()?;
            let xml = told.xml.clone();
            Some(Line { path: path.clone(), class: entry.class, identity: entry.identity, xml })
        });
        serde_json::to_vec(&lines.collect::<Vec<_>>()).unwrap_or_default()
    }

    /// What is known of this version of the file.
    pub(super) fn answer(&self, path: &Path, identity: FileIdentity) -> Option<Answer> {
        let known = self.entries.get(path).filter(|entry| entry.identity == identity)?;
        let stale = known.answer.is_err() && known.at.elapsed() > FAILURE_AGE_MAX;
        (!stale).then(|| known.answer.clone())
    }

    pub(super) fn keep(&mut self, class: AgentClass, path: &Path, identity: FileIdentity, answer: Answer) {
        if self.entries.len() >= AGENTS_MAX && !self.entries.contains_key(path) {
            self.entries.clear();
        }
        self.entries.insert(path.to_owned(), Entry { class, identity, answer, at: Instant::now() });
    }

    /// Forgets agents of this class that are no longer installed.
    pub(super) fn retain(&mut self, class: AgentClass, installed: &[(String, PathBuf)]) {
        self.entries.retain(|path, entry| entry.class != class || installed.iter().any(|(_, known)| known == path));
    }
}
