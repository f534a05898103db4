//! What an agent says of itself, as one schema for resource agents (OCF 1.0 and 1.1) and fence agents.
//!
//! Served by ricci as JSON, drawn as forms by luci, asked by rgmanager for timeouts. Pure: the XML comes from whoever
//! ran the agent. What the packaged agents write against the standard is understood where its meaning is clear, and
//! remarked upon where it is not; nothing that an agent prints makes this fail other than by saying why.

mod check;
mod parse;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use check::{Complaint, check};
pub use parse::parse;

/// Two worlds of agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentClass {
    /// Parameters as `OCF_RESKEY_NAME` in the environment, the action as argument.
    Resource,
    /// Parameters and action as `name=value` lines on standard input.
    Fence,
}

/// Text by language (`en`, `zh_CN`, as the agent writes it).
pub type Texts = BTreeMap<String, String>;

/// One agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentSchema {
    pub class: AgentClass,
    /// As the metadata has it: `IPaddr2`, `fence_ipmilan`. An agent under a second name mostly keeps its first here.
    pub name: String,
    /// Of the agent.
    pub version: Option<String>,
    /// Of the standard it follows: `1.0`, `1.1`.
    pub ocf_version: Option<String>,
    /// One line.
    pub short: Texts,
    /// Paragraphs.
    pub long: Texts,
    /// Other names under which the same program is installed.
    pub aliases: Vec<Alias>,
    /// In the agent's own order.
    pub parameters: Vec<Parameter>,
    /// In the agent's own order; the same name may stand several times with different depths or roles.
    pub actions: Vec<AgentAction>,
    /// It can be promoted. Services start it and leave it unpromoted.
    pub promotable: bool,
    /// What the metadata says against the standard, and how it was understood.
    pub remarks: Vec<Remark>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    pub name: String,
    pub short: String,
}

/// One parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: ParameterType,
    /// What the agent takes when nothing is given, in its own spelling.
    pub default: Option<String>,
    /// It does not work without: required, without default, and not replaced by another parameter.
    pub required: bool,
    /// Parameters with the same group name the thing that must not be managed twice; no two resources have the same
    /// values of a group. A parameter that is unique by itself is a group of its own name.
    pub unique_group: Option<String>,
    /// Never shown, logged or handed over as an argument.
    pub secret: bool,
    /// A change of it needs no restart.
    pub reloadable: bool,
    /// An older name or way, kept for old configurations.
    pub deprecated: bool,
    /// What to give instead of a deprecated one, if anything.
    pub replaced_by: Option<String>,
    /// Who fills it in.
    pub given: Given,
    pub short: Texts,
    pub long: Texts,
}

/// What a value may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ParameterType {
    String,
    Integer {
        min: Option<i64>,
        max: Option<i64>,
    },
    /// `true`, `yes`, `on`, `1` and their opposites, in any case.
    Boolean,
    /// Seconds; agents take `5`, `5s`, `2m` alike.
    Seconds,
    /// One of these.
    Select {
        options: Vec<String>,
    },
}

/// Who fills a parameter in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Given {
    /// Whoever configures the resource or fence device.
    Once,
    /// Whoever configures it, for each node of its own: the plug of the node on the device.
    PerNode,
    /// The cluster, at each run: which action.
    PerRun,
}

/// One action an agent offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentAction {
    pub name: String,
    /// Advised.
    pub timeout_ms: Option<u64>,
    /// Advised for a repeated check; none for an action that is done once.
    pub interval_ms: Option<u64>,
    /// How thorough, as `OCF_CHECK_LEVEL`.
    pub depth: u32,
    /// The role for which these times are advised, in promotable agents.
    pub role: Option<String>,
    /// A fence agent that unfences: run on each node as it joins.
    pub automatic: bool,
    /// A fence agent's action that must run on the node it is about.
    pub on_target: bool,
}

/// Something odd in the metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    pub parameter: Option<String>,
    pub text: String,
}

/// Why an agent's output tells nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum MetadataError {
    #[error("it printed no metadata but {said:?}")]
    NoXml { said: String },
    #[error("its metadata is longer than {max} bytes")]
    TooLong { max: usize },
    #[error("its metadata is not well-formed XML: line {line}: {why}")]
    NotWellFormed { line: u32, why: String },
    #[error("its metadata is about <{root}>, not about a <resource-agent>")]
    OtherRoot { root: String },
    #[error("its metadata does not name the agent")]
    Nameless,
}

impl AgentSchema {
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }

    pub fn has_action(&self, name: &str) -> bool {
        self.actions.iter().any(|action| action.name == name)
    }

    /// The timeout the agent advises for an action at a depth; else for the action at all.
    pub fn timeout_ms(&self, action: &str, depth: u32) -> Option<u64> {
        let of_action = || self.actions.iter().filter(|known| known.name == action && known.timeout_ms.is_some());
        let exact = of_action().find(|known| known.depth == depth);
        exact.or_else(|| of_action().next()).and_then(|known| known.timeout_ms)
    }

    /// Why nothing can be done with this agent, by its own metadata: an action that every use of it needs is missing.
    pub fn impossible(&self) -> Option<String> {
        let lacking = |actions: &[&str]| {
            let missing: Vec<&str> = actions.iter().copied().filter(|name| !self.has_action(name)).collect();
            (!missing.is_empty()).then(|| missing.join(", "))
        };
        match self.class {
            AgentClass::Resource => {
                lacking(&["start", "stop", "monitor"]).map(|missing| format!("it does not offer the action {missing}"))
            }
            AgentClass::Fence if !self.has_action("off") && !self.has_action("reboot") => {
                Some("it offers neither off nor reboot, so that it can fence nothing".to_owned())
            }
            AgentClass::Fence => None,
        }
    }
}

/// The text in this language; else in English; else in any.
pub fn in_language<'t>(texts: &'t Texts, language: &str) -> &'t str {
    let found = texts.get(language).or_else(|| texts.get("en")).or_else(|| texts.values().next());
    found.map_or("", String::as_str)
}
