//! The form of every agent that this machine's packages install: each parameter has one field with a label and the widget of
//! its type, every word of the agent is escaped, and what its own metadata makes impossible is named with the reason. The
//! table in the output is the record of it.

#![expect(clippy::print_stdout, reason = "the table is read")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::fake::Fake;
use crate::stage::stage;
use axum::http::StatusCode;
use luci::views::fence_form;
use luci::views::fields::{Field, Widget};
use shared::agents::kinds::Runs;
use shared::agents::mapping;
use shared::agents::metadata::{AgentClass, AgentSchema, Given, Parameter, ParameterType, parse};
use shared::conf::edit::Attributes;

/// Metadata of an installed agent, as ricci asks for it.
fn metadata(program: &Path, argument: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(argument).stdin(Stdio::null()).env_clear();
    command.env("OCF_ROOT", "/usr/lib/ocf").env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
    let output = command.output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn programs(folder: &Path) -> Vec<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let runs = |path: &PathBuf| {
        std::fs::metadata(path).is_ok_and(|known| known.is_file() && known.permissions().mode() & 0o111 != 0)
    };
    let mut programs: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(runs).collect();
    programs.sort();
    programs
}

fn file_name(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

/// Programs beside the fence agents that are none.
const NO_AGENTS: [&str; 4] = ["fence_ack_manual", "fence_node", "fence_tool", "fence_virtd"];

/// Name and metadata of every installed agent; those that tell nothing are listed by the reason.
fn installed() -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let (mut resource, mut fence) = (BTreeMap::new(), BTreeMap::new());
    for provider in std::fs::read_dir("/usr/lib/ocf/resource.d").expect("install resource-agents") {
        let provider = provider.expect("a folder").path();
        for program in programs(&provider) {
            let name = format!("ocf:{}:{}", file_name(&provider), file_name(&program));
            resource.extend(metadata(&program, &["meta-data"]).map(|text| (name, text)));
        }
    }
    for program in programs(Path::new("/usr/sbin")) {
        let name = file_name(&program);
        if name.starts_with("fence_") && !NO_AGENTS.contains(&name.as_str()) {
            fence.extend(metadata(&program, &["-o", "metadata"]).map(|text| (name, text)));
        }
    }
    (resource, fence)
}

#[derive(Default)]
struct Counts {
    agents: usize,
    drawn: usize,
    parameters: usize,
    by_widget: BTreeMap<&'static str, usize>,
    elsewhere: BTreeMap<&'static str, usize>,
    impossible: Vec<String>,
}

impl Counts {
    fn print(&self, class: &str) {
        println!(
            "{class} agents: {} installed, {} forms drawn; {} parameters: {:?}; not in this form: {:?}",
            self.agents, self.drawn, self.parameters, self.by_widget, self.elsewhere
        );
        println!("  impossible by their own metadata: {}", self.impossible.len());
        self.impossible.iter().for_each(|line| println!("    {line}"));
    }
}

/// Tags that luci's templates write. Another one came out of an agent's mouth.
const OURS: &[&str] = &[
    "!doctype", "a", "body", "br", "button", "code", "details", "div", "em", "fieldset", "footer", "form", "h1", "h2",
    "h3", "head", "header", "html", "input", "label", "legend", "li", "link", "main", "meta", "nav", "noscript",
    "option", "p", "path", "pre", "script", "section", "select", "small", "span", "strong", "summary", "svg", "table",
    "tbody", "td", "textarea", "th", "thead", "title", "tr", "ul", "ol", "circle", "rect", "aside", "h4",
];

/// Names of all tags of a page.
fn tags(page: &str) -> Vec<String> {
    let names = page.split('<').skip(1).map(|rest| {
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        rest.chars()
            .take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '!')
            .collect::<String>()
            .to_lowercase()
    });
    names.filter(|name| !name.is_empty()).collect()
}

/// What is foreign on a page: tags that no template writes, more than one script, and handlers.
fn foreign(page: &str) -> Vec<String> {
    let tags = tags(page);
    let mut foreign: Vec<String> = tags.iter().filter(|tag| !OURS.contains(&tag.as_str())).cloned().collect();
    if tags.iter().filter(|tag| *tag == "script").count() > 2 {
        foreign.push("a script".to_owned());
    }
    foreign
}

/// The tag that has this id.
fn tag_of<'p>(page: &'p str, id: &str) -> Option<&'p str> {
    let at = page.find(&format!(" id=\"{id}\""))?;
    let begin = page[..at].rfind('<')?;
    Some(&page[begin..begin + page[begin..].find('>')?])
}

/// The word for a widget as the page has it.
fn widget_on(page: &str, id: &str) -> Option<&'static str> {
    let tag = tag_of(page, id)?;
    Some(match tag {
        tag if tag.starts_with("<select") => "choice",
        tag if tag.contains("type=\"password\"") => "secret",
        tag if tag.contains("inputmode=\"numeric\"") => "number",
        tag if tag.starts_with("<input") => "text",
        _ => return None,
    })
}

fn widget_for(parameter: &Parameter) -> &'static str {
    match &parameter.kind {
        _ if parameter.secret => "secret",
        ParameterType::String | ParameterType::Seconds => "text",
        ParameterType::Integer { .. } => "number",
        ParameterType::Boolean | ParameterType::Select { .. } => "choice",
    }
}

/// One field for a parameter, with one label, of the right kind.
fn check_field(agent: &str, page: &str, parameter: &Parameter, id: &str, counts: &mut Counts) {
    let count = |mark: &str| page.matches(&format!(" {mark}=\"{id}\"")).count();
    assert_eq!((count("id"), count("for"), count("name")), (1, 1, 1), "{agent} {id}: field, label and name");
    let widget = widget_on(page, id).unwrap_or_else(|| panic!("{agent} {id} is no field"));
    assert_eq!(widget, widget_for(parameter), "{agent} {id}: {:?}", parameter.kind);
    *counts.by_widget.entry(widget).or_default() += 1;
    counts.parameters += 1;
    if parameter.required {
        assert!(page.contains(&format!("data-field=\"{}\"", id.trim_start_matches("a-"))), "{agent} {id}");
    }
}

fn schema_of(class: AgentClass, name: &str, text: &str, counts: &mut Counts) -> Option<AgentSchema> {
    counts.agents += 1;
    match parse(class, text) {
        Ok(schema) => {
            counts.impossible.extend(schema.impossible().map(|why| format!("{name}: {why}")));
            Some(schema)
        }
        Err(error) => {
            counts.impossible.push(format!("{name}: {error}"));
            None
        }
    }
}

/// The agents of this machine, and one that tries to break out of the page.
fn world() -> (Fake, BTreeMap<String, String>, BTreeMap<String, String>) {
    let (mut resource, fence) = installed();
    let hostile = r#"<resource-agent name="hostile"><shortdesc lang="en">&lt;script&gt;1&lt;/script&gt;</shortdesc>
<longdesc lang="en">&lt;img src=x onerror=1&gt; "quoted"</longdesc><parameters>
<parameter name="quotes"><content type="string" default="&quot; onfocus=&quot;x"/><shortdesc lang="en">&lt;b&gt;bold&lt;/b&gt;</shortdesc><longdesc lang="en">&lt;/div&gt;&lt;blink&gt;</longdesc></parameter>
<parameter name="choice"><content type="select"><option value="&quot;&gt;&lt;marquee&gt;"/></content></parameter></parameters>
<actions><action name="start"/><action name="stop"/><action name="monitor"/></actions></resource-agent>"#;
    resource.insert("ocf:acme:hostile".into(), hostile.into());
    let fake = Fake::new();
    fake.change(|world| {
        let readable = |class, agents: &BTreeMap<String, String>| -> BTreeMap<String, String> {
            let told = agents.iter().filter(|(_, text)| parse(class, text).is_ok());
            told.map(|(name, text)| (name.clone(), text.clone())).collect()
        };
        world.resource_agents = readable(AgentClass::Resource, &resource);
        world.fence_agents = readable(AgentClass::Fence, &fence);
    });
    (fake, resource, fence)
}

#[tokio::test]
async fn every_packaged_agent_has_a_form() {
    let (fake, resource, fence) = world();
    assert!(resource.len() >= 100, "install resource-agents: only {} are there", resource.len());
    assert!(fence.len() >= 50, "install fence-agents: only {} are there", fence.len());
    let mut stage = stage(fake, &["node1"]).await;
    let ocf = mapping::kind("ocf").expect("a type");

    let mut counts = Counts::default();
    for (name, text) in &resource {
        let Some(schema) = schema_of(AgentClass::Resource, name, text, &mut counts) else { continue };
        let page = stage.browser.get(&format!("/clusters/alpha/add-resource?kind=ocf&agent={name}")).await;
        assert_eq!(page.status, StatusCode::OK, "{name}: {}", page.text());
        assert!(!page.body.contains("data-test=\"by-hand\""), "{name} has told what it takes");
        for parameter in &schema.parameters {
            let attribute = mapping::attribute_for(ocf, &parameter.name).expect("any agent");
            check_field(name, &page.body, parameter, &format!("a-{attribute}"), &mut counts);
        }
        assert_eq!(foreign(&page.body), Vec::<String>::new(), "{name}");
        counts.drawn += 1;
    }
    counts.print("resource");
    assert_eq!(counts.drawn, counts.agents);

    let mut counts = Counts::default();
    for (name, text) in &fence {
        let Some(schema) = schema_of(AgentClass::Fence, name, text, &mut counts) else { continue };
        let page = stage.browser.get(&format!("/clusters/alpha/add-fence-device?agent={name}")).await;
        assert_eq!(page.status, StatusCode::OK, "{name}: {}", page.text());
        let instance = fence_form::instance(name, Some(&schema), &Attributes::new());
        for parameter in &schema.parameters {
            match parameter.given {
                Given::Once => {
                    check_field(name, &page.body, parameter, &format!("a-{}", parameter.name), &mut counts);
                }
                Given::PerNode => {
                    let fields: Vec<&Field> = instance.all().filter(|field| field.name == parameter.name).collect();
                    assert_eq!(fields.len(), 1, "{name} {} for each node", parameter.name);
                    let secret = fields[0].widget == Widget::Secret;
                    assert_eq!(secret, parameter.secret, "{name} {}", parameter.name);
                    *counts.elsewhere.entry("for each node").or_default() += 1;
                }
                Given::PerRun => {
                    assert_eq!(page.body.matches(&format!(" id=\"a-{}\"", parameter.name)).count(), 0);
                    *counts.elsewhere.entry("by the cluster").or_default() += 1;
                }
            }
        }
        assert_eq!(foreign(&page.body), Vec::<String>::new(), "{name}");
        counts.drawn += 1;
    }
    counts.print("fence");
    assert_eq!(counts.drawn, counts.agents);
}

/// The types of RHEL over the packaged agents that run them today.
#[tokio::test]
async fn every_type_of_rhel_has_a_form_of_its_attributes() {
    let (fake, _, _) = world();
    let mut stage = stage(fake, &["node1"]).await;
    let mut counts = Counts::default();
    for kind in mapping::kinds().iter().filter(|kind| !matches!(kind.runs, Runs::Not { .. }) && kind.name != "vm") {
        let page = stage.browser.get(&format!("/clusters/alpha/add-resource?kind={}", kind.name)).await;
        assert_eq!(page.status, StatusCode::OK, "{}: {}", kind.name, page.text());
        assert_eq!(foreign(&page.body), Vec::<String>::new(), "{}", kind.name);
        counts.agents += 1;
        counts.drawn += 1;
        for attribute in kind.attributes {
            let id = format!("a-{}", attribute.name);
            let fields = page.body.matches(&format!(" id=\"{id}\"")).count();
            assert!(fields <= 1, "{} {id} stands twice", kind.name);
            // What is filled in by a parent, or needed by nothing, may be left out; what is required may not.
            let needed = attribute.required || mapping::parameter_of(kind, attribute.name).is_some();
            assert!(fields == 1 || !needed, "{} {id} has no field", kind.name);
            counts.parameters += fields;
            if fields == 1 {
                *counts.by_widget.entry(widget_on(&page.body, &id).expect("a field")).or_default() += 1;
            }
        }
    }
    counts.print("types of RHEL: their");
}

#[test]
fn the_search_for_what_is_foreign_finds_it() {
    assert_eq!(foreign("<p><blink>x</blink></p>"), ["blink", "blink"]);
    assert_eq!(foreign("<p>&lt;blink&gt;</p>"), Vec::<String>::new());
    assert_eq!(tag_of("<p><input x id=\"a-b\" value=\"1\">", "a-b"), Some("<input x id=\"a-b\" value=\"1\""));
}
