//! What the resource agents are asked of a configuration before it is accepted, and what their answers mean.
//!
//! Pure: `questions` says which resources are new or changed, whoever runs agents asks them on a node, and `findings`
//! turns an answer into findings. An agent can refuse only what it was shown: it never keeps a configuration from being
//! changed elsewhere, and what keeps it from answering (not installed, too slow, no such action) is a warning.

use std::collections::BTreeMap;

use super::Loaded;
use super::finding::{Finding, Place, Severity};
use super::model::Service;
use super::secret::{MASK, is_secret};
use super::view;
use crate::agents::mapping::{self, Mapped, Runner};
use crate::agents::metadata::{AgentSchema, check};
use crate::ids::{ResourceName, ServiceName};
use crate::text::ocf_meaning;
use crate::tree;

/// What an agent says is quoted up to this; more is in nobody's interest and every member gets the refusal.
const WORDS_MAX_CHARS: usize = 600;
/// Shorter values occur in any text by chance.
const TELLING_VALUE_CHARS: usize = 3;

/// OCF's numbers by which an agent says that its parameters are wrong; any other failure may have other causes.
const REFUSALS: [i32; 2] = [2, 6];

/// One resource whose agent is to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub service: ServiceName,
    pub resource: ResourceName,
    pub place: Place,
    pub provider: String,
    pub agent: String,
    /// By the agent's own names; they may hold secrets.
    pub parameters: BTreeMap<String, String>,
    /// The service mounts or activates something before this resource starts: what the agent misses may lie on it.
    pub behind_storage: bool,
}

/// How asking ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// It answered. `output`: secrets need not be masked yet.
    Said {
        code: i32,
        output: String,
    },
    /// Its metadata name no `validate-all`.
    NotOffered,
    NotInstalled,
    /// It tells nothing of itself, for this reason.
    NoMetadata(String),
    /// It was killed, or not run, for this reason.
    NoAnswer(String),
}

impl Question {
    /// `ocf:heartbeat:IPaddr2`.
    pub fn runner(&self) -> String {
        format!("ocf:{}:{}", self.provider, self.agent)
    }

    /// As the schema check takes them.
    pub fn given(&self) -> Vec<(String, String)> {
        self.parameters.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// The resources of `next` that an agent runs and that `present` has otherwise or not at all, in the order of the file.
pub fn questions(next: &Loaded, present: Option<&Loaded>) -> Vec<Question> {
    let known = present.map(runs).unwrap_or_default();
    let changed = runs(next).into_iter().filter(|(key, question)| {
        known.get(key).is_none_or(|old| old.parameters != question.parameters || old.runner() != question.runner())
    });
    let mut changed: Vec<Question> = changed.map(|(_, question)| question).collect();
    changed.sort_by_key(|question| (question.place.line, question.place.column));
    changed
}

/// By service and resource; one that stands in a tree several times is asked for once.
fn runs(loaded: &Loaded) -> BTreeMap<(ServiceName, ResourceName), Question> {
    let Some(conf) = &loaded.conf else { return BTreeMap::new() };
    let reading = view::read_located(&loaded.document);
    let mut found = BTreeMap::new();
    for located in reading.resources {
        let Ok(Mapped { runner: Runner::Ocf { provider, agent }, parameters }) = mapping::map(&located.resource) else {
            continue;
        };
        let behind_storage =
            conf.service(&located.service).is_some_and(|service| is_behind_storage(service, &located.resource.name));
        let place = loaded.document.place(located.element);
        let (service, resource) = (located.service, located.resource.name);
        let key = (service.clone(), resource.clone());
        let question = Question { service, resource, place, provider, agent, parameters, behind_storage };
        found.entry(key).or_insert(question);
    }
    found
}

fn is_behind_storage(service: &Service, resource: &ResourceName) -> bool {
    let order = tree::start_order(service);
    order.iter().take_while(|earlier| earlier.name != *resource).any(|earlier| {
        matches!(
            mapping::map(earlier),
            Ok(Mapped { runner: Runner::Ocf { agent, .. }, .. })
                if ["Filesystem", "LVM", "LVM-activate", "ZFS", "zfs", "drbd", "Raid1", "mdraid", "iscsi", "AoEtarget"]
                    .contains(&agent.as_str())
        )
    })
}

/// What is to be said of one resource. `schema`: of its agent, if it could be had.
pub fn findings(question: &Question, schema: Option<&AgentSchema>, word: &Word) -> Vec<Finding> {
    let mut found = Vec::new();
    let (resource, service, agent) = (&question.resource, &question.service, question.runner());
    let mut tell = |rule: &str, severity, text: String, hint: String| {
        found.push(Finding { rule: rule.to_owned(), severity, place: question.place.clone(), text, hint });
    };
    if let Some(schema) = schema {
        for complaint in check(schema, &question.given()) {
            let severity = if complaint.is_fault { Severity::Error } else { Severity::Warning };
            let text = format!("{agent} cannot run {resource} of {service} like this: {}", complaint.text);
            let text = if complaint.is_fault { text } else { format!("{resource} of {service}: {}", complaint.text) };
            tell("agent-parameter", severity, text, hint_for(&complaint.parameter, schema));
        }
    }
    match word {
        Word::Said { code: 0, .. } => {}
        Word::Said { code, output } => {
            let refused = REFUSALS.contains(code);
            let severity = if refused && !question.behind_storage { Severity::Error } else { Severity::Warning };
            let words = quoted(question, schema, output);
            let verb = if refused { "refuses" } else { "is not content with" };
            let text = format!(
                "{agent} {verb} {resource} of {service} (validate-all returned {code}, {}): {words}; {}",
                ocf_meaning(*code),
                concerned(question, schema, output),
            );
            let hint = match (refused, question.behind_storage) {
                (true, true) => {
                    "it may miss what only the storage of the service brings; look again where it is mounted"
                }
                (true, false) => "correct the parameter; what the agent judges wrongly can be applied despite it",
                (false, _) => "look whether this node has everything that the agent needs",
            };
            tell("agent-refuses", severity, text, hint.to_owned());
        }
        Word::NotOffered => tell(
            "agent-not-asked",
            Severity::Warning,
            format!("{agent} offers no validate-all, so that nobody has judged {resource} of {service}"),
            "watch its first start".to_owned(),
        ),
        Word::NotInstalled => tell(
            "agent-not-installed",
            Severity::Warning,
            format!("{agent}, which runs {resource} of {service}, is not installed on this node"),
            format!("install it on every node that may run {service}"),
        ),
        Word::NoMetadata(why) => tell(
            "agent-not-asked",
            Severity::Warning,
            format!("{agent} tells nothing of itself ({why}), so that nobody has judged {resource} of {service}"),
            "look at the agent on this node; the configuration does not depend on it".to_owned(),
        ),
        Word::NoAnswer(why) => tell(
            "agent-not-asked",
            Severity::Warning,
            format!("{agent} gave no judgement of {resource} of {service}: {why}"),
            "the configuration does not depend on it; ask the agent again later".to_owned(),
        ),
    }
    found
}

/// Whether an agent, and no rule of ours, is behind a finding.
pub fn is_of_agent(finding: &Finding) -> bool {
    finding.rule.starts_with("agent-")
}

/// Whether a version was refused, and by agents alone: then it can be applied despite them.
pub fn only_agents_refuse(findings: &[Finding]) -> bool {
    let mut errors = findings.iter().filter(|finding| finding.severity == Severity::Error).peekable();
    errors.peek().is_some() && errors.all(is_of_agent)
}

/// An expert's word against the agents': what they refuse becomes a warning.
pub fn overrule(findings: &mut [Finding]) {
    for finding in findings.iter_mut().filter(|finding| finding.severity == Severity::Error) {
        finding.severity = Severity::Warning;
        finding.hint = "applied despite the agent, as was asked for".to_owned();
    }
}

fn hint_for(parameter: &str, schema: &AgentSchema) -> String {
    let known = schema.parameter(parameter);
    let about = known.map(|known| crate::agents::metadata::in_language(&known.short, "en")).unwrap_or_default();
    if about.is_empty() {
        format!("look at the description of {}", schema.name)
    } else {
        format!("{parameter}: {about}")
    }
}

fn is_hidden(name: &str, schema: Option<&AgentSchema>) -> bool {
    is_secret(name) || schema.and_then(|schema| schema.parameter(name)).is_some_and(|known| known.secret)
}

/// The last words of the agent, on one line, without secrets.
fn quoted(question: &Question, schema: Option<&AgentSchema>, output: &str) -> String {
    let mut secrets: Vec<&str> = question
        .parameters
        .iter()
        .filter(|(name, value)| is_hidden(name, schema) && !value.is_empty())
        .map(|(_, value)| value.as_str())
        .collect();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let masked = secrets.iter().fold(output.to_owned(), |text, secret| text.replace(secret, MASK));
    let line = masked.split_whitespace().collect::<Vec<_>>().join(" ");
    let length = line.chars().count();
    let end: String = line.chars().skip(length.saturating_sub(WORDS_MAX_CHARS)).collect();
    if end.is_empty() { "it says nothing".to_owned() } else { format!("\"{end}\"") }
}

/// The parameters that the agent speaks of, by name or by value; all that it was given if it names none.
fn concerned(question: &Question, schema: Option<&AgentSchema>, output: &str) -> String {
    let words: Vec<&str> = output.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
    let named = |(name, value): &(&String, &String)| {
        words.contains(&name.as_str())
            || (value.chars().count() >= TELLING_VALUE_CHARS && output.contains(value.as_str()))
    };
    let shown = |(name, value): (&String, &String)| {
        format!("{name}={}", if is_hidden(name, schema) { MASK } else { value.as_str() })
    };
    let some: Vec<String> = question.parameters.iter().filter(named).map(shown).collect();
    if !some.is_empty() {
        return format!("it speaks of {}", some.join(", "));
    }
    let all: Vec<String> = question.parameters.iter().map(shown).collect();
    if all.is_empty() { "it was given no parameter".to_owned() } else { format!("it was given {}", all.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents::metadata::{AgentClass, parse};

    const CONF: &str = r#"<cluster name="c" config_version="1"><clusternodes><clusternode name="a" nodeid="1"/></clusternodes><rm>
<resources><ip address="10.0.0.9/24"/></resources>
<service name="web"><ip ref="10.0.0.9/24"/><apache name="w"/></service>
<service name="db"><fs name="d" device="/dev/x" mountpoint="/srv" fstype="ext4"/><mysql name="m" config_file="/srv/my.cnf"/>
<ocf name="o" type="Thing" provider="test" port="17" password="geheim"/><script name="s" file="/etc/init.d/s"/></service>
</rm></cluster>"#;

    fn asked(next: &str, present: Option<&str>) -> Vec<String> {
        let present = present.map(crate::conf::load);
        let list = questions(&crate::conf::load(next), present.as_ref());
        list.iter().map(|question| format!("{} {}", question.runner(), question.resource)).collect()
    }

    fn thing() -> Question {
        let all = questions(&crate::conf::load(CONF), None);
        all.into_iter().find(|question| question.agent == "Thing").unwrap()
    }

    fn schema() -> AgentSchema {
        let xml = "<resource-agent name=\"Thing\"><parameters><parameter name=\"port\" required=\"1\"><shortdesc lang=\"en\">Where \
                   it listens</shortdesc><content type=\"integer\"/></parameter><parameter name=\"password\"><content \
                   type=\"string\"/></parameter><parameter name=\"user\" required=\"1\"><content type=\"string\"/></parameter>\
                   </parameters><actions/></resource-agent>";
        parse(AgentClass::Resource, xml).unwrap()
    }

    #[test]
    fn everything_is_asked_of_a_first_configuration_and_only_what_changed_of_the_next() {
        assert_eq!(
            asked(CONF, None),
            [
                "ocf:heartbeat:IPaddr2 ip:10.0.0.9/24",
                "ocf:heartbeat:apache apache:w",
                "ocf:heartbeat:Filesystem fs:d",
                "ocf:heartbeat:mysql mysql:m",
                "ocf:test:Thing ocf:o"
            ]
        );
        assert_eq!(asked(CONF, Some(CONF)), Vec::<String>::new());
        let next = CONF.replace("name=\"web\"", "name=\"web\" autostart=\"0\"").replace("17", "18");
        assert_eq!(asked(&next, Some(CONF)), ["ocf:test:Thing ocf:o"]);
        // The definition of a shared resource concerns every use of it.
        let next = CONF.replace("<ip address=\"10.0.0.9/24\"", "<ip address=\"10.0.0.9/24\" prefer_interface=\"eth1\"");
        assert_eq!(asked(&next, Some(CONF)), ["ocf:heartbeat:IPaddr2 ip:10.0.0.9/24"]);
    }

    #[test]
    fn a_refusal_names_resource_parameter_and_the_agents_words_and_no_secret() {
        let question = Question { behind_storage: false, ..thing() };
        let said = |code, output: &str| {
            let word = Word::Said { code, output: output.to_owned() };
            findings(&question, None, &word).pop().map(|finding| (finding.severity, finding.text))
        };
        assert_eq!(said(0, ""), None);
        let (severity, text) = said(2, "ERROR: port 17 is taken,\n login with geheim failed").unwrap();
        assert_eq!(severity, Severity::Error);
        assert_eq!(
            text,
            "ocf:test:Thing refuses ocf:o of service:db (validate-all returned 2, invalid argument(s)): \"ERROR: port 17 is \
             taken, login with (secret) failed\"; it speaks of password=(secret), port=17"
        );
        let (severity, text) = said(6, "").unwrap();
        assert_eq!(severity, Severity::Error);
        assert!(text.ends_with("it says nothing; it was given password=(secret), port=17"), "{text}");
        // Not installed, no rights, broken: no word about the parameters.
        for code in [1, 3, 4, 5, 255] {
            assert_eq!(said(code, "no such program").unwrap().0, Severity::Warning, "{code}");
        }
        // What it misses may lie on a file system that is mounted elsewhere.
        let word = Word::Said { code: 2, output: "no such file".into() };
        assert_eq!(findings(&thing(), None, &word)[0].severity, Severity::Warning);
        for word in [Word::NotOffered, Word::NotInstalled, Word::NoMetadata("x".into()), Word::NoAnswer("x".into())] {
            assert_eq!(findings(&question, None, &word)[0].severity, Severity::Warning, "{word:?}");
        }
    }

    #[test]
    fn the_schema_is_asked_as_well_and_an_expert_may_overrule_it() {
        let mut question = thing();
        question.parameters.insert("port".into(), "x".into());
        question.parameters.insert("colour".into(), "red".into());
        let mut found = findings(&question, Some(&schema()), &Word::Said { code: 0, output: String::new() });
        let lines: Vec<String> =
            found.iter().map(|finding| format!("{:?} {}", finding.severity, finding.text)).collect();
        assert_eq!(
            lines,
            [
                "Error ocf:test:Thing cannot run ocf:o of service:db like this: port=\"x\" cannot be right: give a whole number",
                "Error ocf:test:Thing cannot run ocf:o of service:db like this: user is required",
                "Warning ocf:o of service:db: Thing does not know the parameter colour",
            ]
        );
        assert_eq!(found[0].hint, "port: Where it listens");
        overrule(&mut found);
        assert!(found.iter().all(|finding| finding.severity == Severity::Warning));
    }
}
