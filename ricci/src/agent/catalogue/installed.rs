//! The agents that lie in their folders on this node. Found by listing, never by a path from outside; nothing is run.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use shared::agents::metadata::AgentClass;

/// More than any distribution ships; bounds lists and what is kept.
pub(super) const AGENTS_MAX: usize = 2000;
/// Lie beside the fence agents and are none; running them could do harm.
const NOT_FENCE_AGENTS: [&str; 5] = ["fence_ack_manual", "fence_check", "fence_node", "fence_tool", "fence_virtd"];

/// Where agents lie.
#[derive(Debug, Clone)]
pub(super) struct Folders {
    pub(super) ocf_root: PathBuf,
    pub(super) fence_dir: PathBuf,
}

impl Folders {
    /// All agents by name.
    pub(super) fn list(&self, class: AgentClass) -> Vec<(String, PathBuf)> {
        let mut all = match class {
            AgentClass::Resource => self.resource_agents(),
            AgentClass::Fence => programs_in(&self.fence_dir).filter(|(name, _)| is_fence_agent(name)).collect(),
        };
        all.sort();
        all.truncate(AGENTS_MAX);
        all
    }

    fn resource_agents(&self) -> Vec<(String, PathBuf)> {
        let root = self.ocf_root.join("resource.d");
        let providers = names_in(&root);
        let agents = providers.flat_map(|provider| {
            let folder = root.join(&provider);
            programs_in(&folder).map(move |(agent, path)| (format!("ocf:{provider}:{agent}"), path)).collect::<Vec<_>>()
        });
        agents.collect()
    }

    /// The program of one agent.
    pub(super) fn find(&self, class: AgentClass, name: &str) -> Option<PathBuf> {
        let path = match class {
            AgentClass::Resource => {
                let (provider, agent) = provider_and_agent(name)?;
                if !is_plain(provider) || !is_plain(agent) {
                    return None;
                }
                self.ocf_root.join("resource.d").join(provider).join(agent)
            }
            AgentClass::Fence => self.fence_dir.join(Some(name).filter(|name| is_fence_agent(name))?),
        };
        is_program(&path).then_some(path)
    }
}

/// `ocf:heartbeat:IPaddr2` → heartbeat, IPaddr2.
pub(super) fn provider_and_agent(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix("ocf:")?.split_once(':')
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
fn names_in(folder: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| is_plain(name))
}

fn programs_in(folder: &Path) -> impl Iterator<Item = (String, PathBuf)> {
    names_in(folder)
        .map(|name| {
            let path = folder.join(&name);
            (name, path)
        })
        .filter(|(_, path)| is_program(path))
}
