//! XML of an agent → schema.

use std::collections::{BTreeMap, BTreeSet};

use super::check::value_fault;
use super::{
    AgentAction, AgentClass, AgentSchema, Alias, Given, MetadataError, Parameter, ParameterType, Remark, Texts,
};
use crate::conf::secret::is_secret;
use crate::conf::{Document, ElementId};

/// Ten times the longest metadata that Debian's agents print.
const METADATA_MAX: usize = 512 * 1024;
/// What is quoted of an output that is no metadata.
const SAID_MAX_CHARS: usize = 200;

/// Parameters of fence agents that say what to do, not with what.
const PER_RUN: [&str; 4] = ["action", "option", "help", "version"];
/// Parameters of fence agents that name the node on the device.
const PER_NODE: [&str; 4] = ["plug", "port", "nodename", "nodeid"];
/// Secrets that agents give a name which is no secret elsewhere.
const SECRET_IN_AGENTS: [&str; 2] = ["token", "test_pass"];
/// Parameters of resource agents that their metadata calls required and that they do without, as RHEL 6 did: a file system whose
/// type is not given is mounted as what it is found to be.
const DONE_WITHOUT: [(&str, &str); 1] = [("Filesystem", "fstype")];

/// Reads what an agent printed for `meta-data` (resource) or `metadata` (fence). A warning printed before the XML is
/// passed over.
pub fn parse(class: AgentClass, output: &str) -> Result<AgentSchema, MetadataError> {
    let from = output.find("<?xml").or_else(|| output.find("<!DOCTYPE")).or_else(|| output.find("<resource-agent"));
    let xml = from.map(|from| output[from..].trim_end()).ok_or_else(|| MetadataError::NoXml { said: said(output) })?;
    if xml.len() > METADATA_MAX {
        return Err(MetadataError::TooLong { max: METADATA_MAX });
    }
    let (document, findings) = Document::parse(xml);
    if let Some(finding) = findings.first() {
        return Err(MetadataError::NotWellFormed { line: finding.place.line, why: finding.text.clone() });
    }
    let root = document.root().ok_or_else(|| MetadataError::NoXml { said: said(output) })?;
    if document.name(root) != "resource-agent" {
        return Err(MetadataError::OtherRoot { root: document.name(root).to_owned() });
    }
    Reader { class, document: &document, remarks: Vec::new() }.read(root)
}

fn said(output: &str) -> String {
    output.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(SAID_MAX_CHARS).collect()
}

struct Reader<'d> {
    class: AgentClass,
    document: &'d Document,
    remarks: Vec<Remark>,
}

impl Reader<'_> {
    fn read(mut self, root: ElementId) -> Result<AgentSchema, MetadataError> {
        let name = self.attribute(root, "name").ok_or(MetadataError::Nameless)?;
        let mut short = self.texts(root, "shortdesc", one_line);
        if let (true, Some(text)) = (short.is_empty(), self.attribute(root, "shortdesc")) {
            short.insert("en".to_owned(), one_line(&text));
        }
        let long = self.texts(root, "longdesc", paragraphs);
        let ocf_version = self.document.child(root, "version").map(|id| one_line(&self.document.text(id)));
        let aliases = self.document.children_named(root, "symlink").filter_map(|id| {
            let short = self.attribute(id, "shortdesc").unwrap_or_default();
            Some(Alias { name: self.attribute(id, "name")?, short })
        });
        let aliases = aliases.collect();
        let actions = self.read_actions(root);
        let promotable = actions.iter().any(|action| action.name == "promote");
        let mut parameters = self.read_parameters(root);
        for parameter in parameters.iter_mut().filter(|one| DONE_WITHOUT.contains(&(name.as_str(), one.name.as_str())))
        {
            parameter.required = false;
        }
        let version = self.attribute(root, "version");
        let Self { class, remarks, .. } = self;
        Ok(AgentSchema {
            class,
            name,
            version,
            ocf_version,
            short,
            long,
            aliases,
            parameters,
            actions,
            promotable,
            remarks,
        })
    }

    fn read_parameters(&mut self, root: ElementId) -> Vec<Parameter> {
        let document = self.document;
        let Some(list) = document.child(root, "parameters") else { return Vec::new() };
        let mut parameters: Vec<Parameter> = Vec::new();
        let mut replaces: BTreeMap<String, String> = BTreeMap::new();
        for id in document.children_named(list, "parameter") {
            let Some(name) = self.attribute(id, "name") else {
                self.remark(None, "a parameter without a name is passed over");
                continue;
            };
            if parameters.iter().any(|known| known.name == name) {
                self.remark(Some(&name), "it stands twice; the first one counts");
                continue;
            }
            if let Some(obsolete) = self.attribute(id, "obsoletes") {
                replaces.insert(obsolete, name.clone());
            }
            let parameter = self.read_parameter(id, name);
            parameters.push(parameter);
        }
        for parameter in &mut parameters {
            if let Some(newer) = replaces.get(&parameter.name).filter(|newer| **newer != parameter.name) {
                parameter.deprecated = true;
                parameter.replaced_by.get_or_insert_with(|| newer.clone());
            }
            parameter.required &= !parameter.deprecated;
        }
        parameters
    }

    fn read_parameter(&mut self, id: ElementId, name: String) -> Parameter {
        let document = self.document;
        let (kind, default) = self.read_content(id, &name);
        let deprecation = document.child(id, "deprecated");
        let replaced_by = deprecation.and_then(|id| self.attribute(document.child(id, "replaced-with")?, "name"));
        let given = match (self.class, name.as_str()) {
            (AgentClass::Fence, name) if PER_RUN.contains(&name) => Given::PerRun,
            (AgentClass::Fence, name) if PER_NODE.contains(&name) => Given::PerNode,
            _ => Given::Once,
        };
        let unique = self.truth(id, "unique").then(|| name.clone());
        Parameter {
            required: self.truth(id, "required") && default.is_none() && given != Given::PerRun,
            // Fence agents mark nearly everything as unique or not at random; it means nothing there.
            unique_group: match self.class {
                AgentClass::Resource => self.attribute(id, "unique-group").or(unique),
                AgentClass::Fence => None,
            },
            secret: kind == ParameterType::String && names_a_secret(&name),
            reloadable: self.truth(id, "reloadable"),
            deprecated: deprecation.is_some() || self.truth(id, "deprecated"),
            replaced_by,
            given,
            short: self.texts(id, "shortdesc", one_line),
            long: self.texts(id, "longdesc", paragraphs),
            name,
            kind,
            default,
        }
    }

    /// Type and default. A default that does not fit its type shows that the type is wrong: the agent works with it.
    fn read_content(&mut self, id: ElementId, name: &str) -> (ParameterType, Option<String>) {
        let Some(content) = self.document.child(id, "content") else {
            self.remark(Some(name), "it has no <content>; taken as a text");
            return (ParameterType::String, self.attribute(id, "default"));
        };
        let default = self.attribute(content, "default").filter(|default| !default.is_empty());
        let written = self.attribute(content, "type").unwrap_or_else(|| "string".to_owned());
        let kind = match written.as_str() {
            "string" | "text" => ParameterType::String,
            "boolean" | "bool" => ParameterType::Boolean,
            "integer" | "int" | "number" => {
                let bound = |name| self.attribute(content, name).and_then(|text| text.trim().parse().ok());
                ParameterType::Integer { min: bound("min"), max: bound("max") }
            }
            "second" | "seconds" | "time" | "timeout" | "duration" => ParameterType::Seconds,
            "select" | "enum" => self.read_options(content, default.as_deref(), name),
            other => {
                self.remark(Some(name), &format!("its type {other:?} is not known; taken as a text"));
                ParameterType::String
            }
        };
        match default.as_deref().and_then(|default| value_fault(&kind, default)) {
            None => (kind, default),
            Some(why) => {
                let kind_text = written.as_str();
                let text = default.as_deref().unwrap_or_default();
                self.remark(
                    Some(name),
                    &format!("its default {text:?} does not fit its type {kind_text} ({why}); taken as a text"),
                );
                (ParameterType::String, default)
            }
        }
    }

    /// The options, with a default that was forgotten among them.
    fn read_options(&mut self, content: ElementId, default: Option<&str>, name: &str) -> ParameterType {
        let options = self.document.children_named(content, "option");
        let mut options: Vec<String> = options.filter_map(|id| self.attribute(id, "value")).collect();
        let mut seen = BTreeSet::new();
        options.retain(|option| seen.insert(option.clone()));
        if options.is_empty() {
            self.remark(Some(name), "it offers no options to select from; taken as a text");
            return ParameterType::String;
        }
        if let Some(default) = default.filter(|default| !options.iter().any(|option| option == default)) {
            self.remark(Some(name), &format!("its default {default:?} is not among its options; added"));
            options.push(default.to_owned());
        }
        ParameterType::Select { options }
    }

    fn read_actions(&mut self, root: ElementId) -> Vec<AgentAction> {
        let Some(list) = self.document.child(root, "actions") else { return Vec::new() };
        let document = self.document;
        let mut actions = Vec::new();
        for id in document.children_named(list, "action") {
            let Some(name) = self.attribute(id, "name") else { continue };
            let mut time = |attribute: &str| {
                let text = document.attribute(id, attribute)?;
                let time = parse_time_ms(text);
                if time.is_none() {
                    self.remarks.push(Remark {
                        parameter: None,
                        text: format!("{attribute}={text:?} of the action {name} is not a time; passed over"),
                    });
                }
                time.filter(|time| *time > 0)
            };
            let (timeout_ms, interval_ms) = (time("timeout"), time("interval"));
            actions.push(AgentAction {
                timeout_ms,
                interval_ms,
                depth: document.attribute(id, "depth").and_then(|depth| depth.trim().parse().ok()).unwrap_or(0),
                role: self.attribute(id, "role"),
                automatic: self.truth(id, "automatic"),
                on_target: self.truth(id, "on_target"),
                name,
            });
        }
        actions
    }

    fn texts(&self, id: ElementId, name: &str, tidy: fn(&str) -> String) -> Texts {
        let mut texts = Texts::new();
        for text in self.document.children_named(id, name) {
            let language = self.attribute(text, "lang").unwrap_or_else(|| "en".to_owned());
            let tidied = tidy(&self.document.text(text));
            if !tidied.is_empty() {
                texts.entry(language).or_insert(tidied);
            }
        }
        texts
    }

    fn attribute(&self, id: ElementId, name: &str) -> Option<String> {
        self.document.attribute(id, name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    fn truth(&self, id: ElementId, name: &str) -> bool {
        self.document.attribute(id, name).is_some_and(|value| matches!(value.trim(), "1" | "true" | "yes"))
    }

    fn remark(&mut self, parameter: Option<&str>, text: &str) {
        self.remarks.push(Remark { parameter: parameter.map(str::to_owned), text: text.to_owned() });
    }
}

fn names_a_secret(name: &str) -> bool {
    is_secret(name) || SECRET_IN_AGENTS.contains(&name)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Lines without the indentation of the source around them; blank lines part paragraphs.
fn paragraphs(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// `20`, `20s`, `20000ms`, `2m`, `2min`, `1h` as agents write times.
fn parse_time_ms(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let factor = match text[digits..].trim() {
        "" | "s" | "sec" => 1_000,
        "ms" | "msec" => 1,
        "m" | "min" => 60_000,
        "h" | "hr" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(factor)
}
