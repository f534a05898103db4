//! The resource and fence agents installed on this node and what they say of themselves. Agents are found by listing
//! folders, never by a path from outside; metadata comes from running the agent, once per version of its file.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use quick_xml::XmlVersion;
use quick_xml::escape::unescape;
use quick_xml::events::Event;
use quick_xml::reader::Reader;
use shared::api::{AgentMetadata, AgentSummary, ProblemCode};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::files::{self, FileIdentity};
use super::problem::ApiError;
use super::process::Run;

/// An agent prints its metadata within 0.3 s here; a hanging one must not hold up a list for long.
const METADATA_WAIT: Duration = Duration::from_secs(10);
/// A list is answered within this; agents that were not asked by then come without description.
const LIST_WAIT: Duration = Duration::from_secs(20);
/// Agents asked at the same time.
const RUNS_MAX: usize = 4;
/// More than any distribution ships; bounds lists and cache.
const AGENTS_MAX: usize = 2000;
/// Lie beside the fence agents and are none; running them could do harm.
const NOT_FENCE_AGENTS: [&str; 4] = ["fence_ack_manual", "fence_node", "fence_tool", "fence_virtd"];

/// Two worlds of agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Resource,
    Fence,
}

#[derive(Debug, Clone)]
struct Known {
    identity: FileIdentity,
    /// The metadata, or why there is none.
    xml: Result<Arc<str>, Arc<str>>,
}

/// What is installed.
#[derive(Debug)]
pub(super) struct Catalogue {
    ocf_root: PathBuf,
    fence_dir: PathBuf,
    known: Mutex<HashMap<PathBuf, Known>>,
    runs: Semaphore,
}

impl Catalogue {
    pub(super) fn new(ocf_root: PathBuf, fence_dir: PathBuf) -> Self {
        Self { ocf_root, fence_dir, known: Mutex::default(), runs: Semaphore::new(RUNS_MAX) }
    }

    /// All agents of a kind by name, with the first line of what they are for.
    pub(super) async fn list(&self, kind: Kind) -> Vec<AgentSummary> {
        let (ocf_root, fence_dir) = (self.ocf_root.clone(), self.fence_dir.clone());
        let found = files::off_loop(move || match kind {
            Kind::Resource => list_resource_agents(&ocf_root),
            Kind::Fence => list_fence_agents(&fence_dir),
        })
        .await;
        let until = Instant::now() + LIST_WAIT;
        let summaries = found.into_iter().map(|(name, path)| async move {
            let xml = timeout_at(until, self.ask(kind, &name, &path)).await;
            let short = xml.ok().and_then(Result::ok).map(|xml| short_description(&xml)).unwrap_or_default();
            AgentSummary { name, short }
        });
        let mut all: Vec<AgentSummary> =
            futures_util::stream::iter(summaries).buffer_unordered(RUNS_MAX).collect().await;
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// The XML of one agent.
    pub(super) async fn metadata(&self, kind: Kind, name: &str) -> Result<AgentMetadata, ApiError> {
        let path = self
            .find(kind, name)
            .ok_or_else(|| ApiError::new(ProblemCode::NotFound, format!("there is no agent {name:?} on this node")))?;
        match self.ask(kind, name, &path).await {
            Ok(xml) => Ok(AgentMetadata { name: name.to_owned(), xml: xml.to_string() }),
            Err(why) => Err(ApiError::new(ProblemCode::NotFound, format!("{name} tells nothing of itself: {why}"))),
        }
    }

    /// The program of an agent that is installed here.
    pub(super) fn find(&self, kind: Kind, name: &str) -> Option<PathBuf> {
        let path = match kind {
            Kind::Resource => {
                let (provider, agent) = name.strip_prefix("ocf:")?.split_once(':')?;
                if !is_plain(provider) || !is_plain(agent) {
                    return None;
                }
                self.ocf_root.join("resource.d").join(provider).join(agent)
            }
            Kind::Fence => self.fence_dir.join(Some(name).filter(|name| is_fence_agent(name))?),
        };
        is_program(&path).then_some(path)
    }

    async fn ask(&self, kind: Kind, name: &str, path: &Path) -> Result<Arc<str>, Arc<str>> {
        let identity = FileIdentity::of(path).ok_or("its file is gone")?;
        if let Some(xml) = self.known(path, identity).await {
            return xml;
        }
        let _place = self.runs.acquire().await.map_err(|_| "ricci is stopping")?;
        // Another question may have been answered while this one waited.
        if let Some(xml) = self.known(path, identity).await {
            return xml;
        }
        let xml = run_metadata(&self.ocf_root, kind, name, path).await;
        let mut known = self.known.lock().await;
        if known.len() >= AGENTS_MAX {
            known.clear();
        }
        known.insert(path.to_owned(), Known { identity, xml: xml.clone() });
        xml
    }

    async fn known(&self, path: &Path, identity: FileIdentity) -> Option<Result<Arc<str>, Arc<str>>> {
        let known = self.known.lock().await;
        known.get(path).filter(|known| known.identity == identity).map(|known| known.xml.clone())
    }
}

async fn run_metadata(ocf_root: &Path, kind: Kind, name: &str, path: &Path) -> Result<Arc<str>, Arc<str>> {
    let (provider, agent) = name.strip_prefix("ocf:").and_then(|name| name.split_once(':')).unwrap_or(("", name));
    let environment: &[(&str, OsString)] = &[
        ("OCF_ROOT", ocf_root.into()),
        ("OCF_RA_VERSION_MAJOR", "1".into()),
        ("OCF_RA_VERSION_MINOR", "1".into()),
        ("OCF_RESOURCE_TYPE", agent.into()),
        ("OCF_RESOURCE_PROVIDER", provider.into()),
        ("OCF_RESOURCE_INSTANCE", "meta-data".into()),
    ];
    let run = match kind {
        Kind::Resource => {
            Run { program: path, arguments: &["meta-data"], environment, stdin: b"", wait: METADATA_WAIT }
        }
        Kind::Fence => {
            Run { program: path, arguments: &["-o", "metadata"], environment: &[], stdin: b"", wait: METADATA_WAIT }
        }
    };
    let ended = run.end().await.map_err(|error| shared::chain(&error))?;
    if ended.stdout.contains("<resource-agent") {
        Ok(ended.stdout.into())
    } else {
        let said: String = ended.stderr.trim().chars().take(200).collect();
        Err(format!("it printed no metadata (exit status {:?}) {said}", ended.code).into())
    }
}

/// A name that is a plain file name and cannot lead elsewhere.
fn is_plain(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (1..=64).contains(&name.len()) && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(allowed)
}

fn is_fence_agent(name: &str) -> bool {
    name.starts_with("fence_") && is_plain(name) && !NOT_FENCE_AGENTS.contains(&name)
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

/// Names in a folder that are plain; an unreadable or missing folder has none.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| is_plain(name)).collect();
    names.sort();
    names.truncate(AGENTS_MAX);
    names
}

fn list_resource_agents(ocf_root: &Path) -> Vec<(String, PathBuf)> {
    let root = ocf_root.join("resource.d");
    let mut all = Vec::new();
    for provider in names_in(&root) {
        let folder = root.join(&provider);
        for agent in names_in(&folder) {
            let path = folder.join(&agent);
            if is_program(&path) {
                all.push((format!("ocf:{provider}:{agent}"), path));
            }
        }
    }
    all.truncate(AGENTS_MAX);
    all
}

fn list_fence_agents(folder: &Path) -> Vec<(String, PathBuf)> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut all: Vec<(String, PathBuf)> = names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| is_fence_agent(name))
        .map(|name| (name.clone(), folder.join(name)))
        .filter(|(_, path)| is_program(path))
        .collect();
    all.truncate(AGENTS_MAX);
    all
}

/// What the agent is for, in a few words: the attribute `shortdesc` of fence agents, the first element `shortdesc` of
/// resource agents (parameters have theirs further below). Empty if it does not say.
fn short_description(xml: &str) -> String {
    let mut reader = Reader::from_str(xml);
    let mut short = String::new();
    loop {
        match reader.read_event() {
            Ok(Event::Start(tag)) if tag.name().as_ref() == "resource-agent" => {
                let attribute = tag.try_get_attribute("shortdesc").ok().flatten();
                if let Some(Ok(value)) = attribute.map(|value| value.normalized_value(XmlVersion::default())) {
                    short = value.into_owned();
                    break;
                }
            }
            Ok(Event::Start(tag)) if tag.name().as_ref() == "shortdesc" => {
                if let Ok(text) = reader.read_text(tag.name()) {
                    short = unescape(&text).unwrap_or_default().into_owned();
                }
                break;
            }
            Ok(Event::Start(tag)) if tag.name().as_ref() == "parameters" => break,
            Ok(Event::Eof) | Err(_) => break,
            Ok(_) => {}
        }
    }
    short.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_agents_say_what_they_are_for() {
        let fence = r#"<?xml version="1.0" ?><resource-agent name="fence_x" shortdesc="Fences &amp; x" ><parameters/>"#;
        assert_eq!(short_description(fence), "Fences & x");
        let resource =
            "<resource-agent name=\"T\">\n<longdesc>Long</longdesc>\n<shortdesc lang=\"en\">A\n  thing</shortdesc>";
        assert_eq!(short_description(resource), "A thing");
        let parameter_only = "<resource-agent><parameters><parameter><shortdesc>of a parameter</shortdesc>";
        assert_eq!(short_description(parameter_only), "");
        assert_eq!(short_description("garbage <"), "");
    }
}
