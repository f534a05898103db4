//! Forms of resources: the types of cluster.conf by the table of kinds, with the words RHEL 6 had for their attributes and the
//! widgets, defaults and help of the agent that runs them today; any other agent by its own metadata alone. Also the times of
//! a resource's actions. Pure: type, schema and attributes in, fields out.

use shared::agents::kinds::{Attribute, Becomes, Inherits, Kind, Runs};
use shared::agents::mapping;
use shared::agents::metadata::{AgentSchema, Parameter, ParameterType};
use shared::conf::edit::Attributes;

use super::fields::{AttributeForm, Field, ISOLATION, RESOURCE_FIELDS, extras, field};
use super::schema_form::{Drawing, Place, language_of_agents};

/// Attributes that no agent sees and that count all the same: the runner or the engine acts on them, or children inherit them.
const OURS: &[&str] = &["monitor_link", "self_fence", "fsid", "path", "device", "name"];
/// Of these, what few people set.
const RARE: &[&str] = &["fsid", "path", "device"];
/// An agent with so few parameters shows them all.
const FEW: usize = 8;

/// The form of a resource of this type.
pub fn resource(kind: &str, schema: Option<&AgentSchema>, attributes: &Attributes) -> AttributeForm {
    let Some(row) = mapping::kind(kind) else {
        let fields = vec![field(RESOURCE_FIELDS, "name", attributes, true)];
        return with_extras(fields, Vec::new(), Vec::new(), attributes, &[]);
    };
    let mut form = of_table(row, schema, attributes);
    if let (Runs::OcfByAttributes, Some(schema)) = (row.runs, schema) {
        let drawn = of_agent(row, schema, attributes);
        form.fields.retain(|field| field.name == "name");
        form.fields.extend(drawn.fields);
        form.advanced = drawn.advanced;
        form.older = drawn.older;
        form.extras = drawn.extras;
    }
    form
}

/// The attributes of which the page says elsewhere what they are: which agent it is.
pub const AGENT: &[&str] = &["provider", "type"];

/// All parameters of an agent, as attributes of `<ocf>`.
fn of_agent(row: &Kind, schema: &AgentSchema, attributes: &Attributes) -> AttributeForm {
    let elsewhere: Vec<&str> = ISOLATION.iter().chain(AGENT).chain(&["name", "ref"]).copied().collect();
    let drawing =
        Drawing { schema, attributes, elsewhere: &elsewhere, language: language_of_agents(), kind: Some(row) };
    let few = schema.parameters.iter().filter(|parameter| !parameter.deprecated).count() <= FEW;
    drawing.form(|parameter| match parameter.unique_group {
        Some(_) => Place::Common,
        None if few => Place::Common,
        None => Place::Advanced,
    })
}

/// The attributes that the table has, in its order.
fn of_table(row: &'static Kind, schema: Option<&AgentSchema>, attributes: &Attributes) -> AttributeForm {
    let (mut fields, mut advanced, mut older) = (Vec::new(), Vec::new(), Vec::new());
    let primary = row.attribute(row.primary).into_iter();
    let others = row.attributes.iter().filter(|one| one.name != row.primary);
    for one in primary.chain(others) {
        let set = attributes.get(one.name).is_some_and(|value| !value.is_empty());
        let drawn = drawn(row, one, schema, attributes);
        match one.becomes {
            Becomes::Ignored(_) if !set => older.push(drawn),
            Becomes::Known if !set && !OURS.contains(&one.name) => {}
            Becomes::Known if !set && one.name == "name" && row.primary != "name" => {}
            _ if drawn.required || set || one.name == row.primary => fields.push(drawn),
            _ if RARE.contains(&one.name) || RESOURCE_FIELDS.iter().all(|known| known.0 != one.name) => {
                advanced.push(drawn);
            }
            _ => fields.push(drawn),
        }
    }
    with_extras(fields, advanced, older, attributes, ISOLATION)
}

fn with_extras(
    fields: Vec<Field>,
    advanced: Vec<Field>,
    older: Vec<Field>,
    attributes: &Attributes,
    elsewhere: &[&str],
) -> AttributeForm {
    let elsewhere: Vec<&str> = elsewhere.iter().chain(&["ref"]).copied().collect();
    let extras = extras(attributes, fields.iter().chain(&advanced).chain(&older), &elsewhere);
    AttributeForm { fields, advanced, older, extras }
}

/// One attribute of the table: the widget, default and help of the parameter it becomes, under the name people know.
fn drawn(row: &'static Kind, one: &'static Attribute, schema: Option<&AgentSchema>, attributes: &Attributes) -> Field {
    let needed = one.required && one.inherits.is_none() && !(row.primary == one.name && row.primary_instead.is_some());
    let ours = field(RESOURCE_FIELDS, one.name, attributes, needed);
    let parameter = mapping::parameter_of(row, one.name).and_then(|name| schema?.parameter(name));
    let mut drawn = match parameter.zip(schema) {
        Some((parameter, schema)) => by_agent(row, one, (schema, parameter), attributes, ours),
        None => ours,
    };
    if let Some(Inherits { kind, attribute }) = one.inherits {
        drawn.notes.push(match kind {
            Some(kind) => format!("Empty: {attribute} of the {kind} around it."),
            None => format!("Empty: {attribute} of the resource around it."),
        });
    }
    if let Becomes::Ignored(why) = one.becomes {
        drawn.deprecated = true;
        drawn.notes.push("Has no effect today.".to_owned());
        drawn.notes.push(why.to_owned());
    }
    drawn
}

fn by_agent(
    row: &Kind,
    one: &Attribute,
    (schema, parameter): (&AgentSchema, &Parameter),
    attributes: &Attributes,
    ours: Field,
) -> Field {
    // What the table sets is the default here, whatever the agent would take.
    let mut parameter = parameter.clone();
    if let Some((_, value)) = row.fixed.iter().find(|(name, _)| *name == parameter.name) {
        parameter.default = Some((*value).to_owned());
    }
    let truth = matches!(one.becomes, Becomes::Truth(_));
    if truth {
        parameter.kind = ParameterType::Boolean;
    }
    let drawing = Drawing { schema, attributes, elsewhere: &[], language: language_of_agents(), kind: None };
    let agents = drawing.field(&parameter, one.name);
    let named = ours.label_lang.is_none();
    Field {
        label: if named { ours.label } else { agents.label },
        label_lang: if named { None } else { agents.label_lang },
        // Our own help says what the agent's says, shorter.
        words: if ours.help.is_empty() { agents.words } else { super::fields::Words::default() },
        help: ours.help,
        placeholder: if agents.placeholder.is_empty() { ours.placeholder } else { agents.placeholder },
        required: ours.required,
        ..agents
    }
}

/// The times of one action of a resource, as `<action>` gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionRow {
    /// `start`, `stop`, `status`, …; empty in a free row.
    pub name: String,
    /// Of a check, how thorough; `*` for every depth.
    pub depth: String,
    pub interval: String,
    pub timeout: String,
    /// What the agent advises.
    pub advised_interval: String,
    pub advised_timeout: String,
    /// Name and depth are given and cannot be changed.
    pub fixed: bool,
}

impl ActionRow {
    /// Whether it is about this action.
    pub fn is(&self, name: &str) -> bool {
        self.name == name
    }

    /// For readers aloud.
    pub fn title(&self) -> String {
        if self.depth.is_empty() { self.name.clone() } else { format!("{} {}", self.name, self.depth) }
    }

    /// Only a check is repeated.
    pub fn repeats(&self) -> bool {
        matches!(self.name.as_str(), "status" | "monitor" | "")
    }
}

/// The actions that people set times for, and what the agent calls them.
const ACTIONS: &[(&str, &str)] = &[("start", "start"), ("stop", "stop"), ("status", "monitor")];

fn seconds(ms: Option<u64>) -> String {
    ms.map_or_else(String::new, |ms| (ms / 1000).to_string())
}

/// Rows for the actions of a resource: those that the configuration speaks of, those that the agent has, and a free one.
pub fn actions(schema: Option<&AgentSchema>, given: &[Attributes]) -> Vec<ActionRow> {
    let text = |action: &Attributes, name: &str| action.get(name).cloned().unwrap_or_default();
    let mut rows: Vec<ActionRow> = given
        .iter()
        .map(|action| ActionRow {
            name: text(action, "name"),
            depth: text(action, "depth"),
            interval: text(action, "interval"),
            timeout: text(action, "timeout"),
            advised_interval: String::new(),
            advised_timeout: String::new(),
            fixed: !text(action, "name").is_empty(),
        })
        .collect();
    for (name, agents) in ACTIONS {
        let mut advised: Vec<(u32, Option<u64>, Option<u64>)> = schema
            .iter()
            .flat_map(|schema| &schema.actions)
            .filter(|action| action.name == *agents && action.role.as_deref().is_none_or(|role| role != "Promoted"))
            .map(|action| (action.depth, action.interval_ms, action.timeout_ms))
            .collect();
        advised.dedup_by_key(|(depth, ..)| *depth);
        if advised.is_empty() {
            advised.push((0, None, None));
        }
        for (depth, interval, timeout) in advised {
            let is_this = |row: &ActionRow| {
                let same = row.name == *name || (row.name == *agents && *name == "status");
                same && (*name != "status" || row.depth.parse() == Ok(depth) || (row.depth.is_empty() && depth == 0))
            };
            let interval = if *name == "status" { seconds(interval) } else { String::new() };
            match rows.iter_mut().find(|row| is_this(row)) {
                Some(row) => (row.advised_interval, row.advised_timeout) = (interval, seconds(timeout)),
                None => rows.push(ActionRow {
                    name: (*name).to_owned(),
                    depth: if *name == "status" { depth.to_string() } else { String::new() },
                    interval: String::new(),
                    timeout: String::new(),
                    advised_interval: interval,
                    advised_timeout: seconds(timeout),
                    fixed: true,
                }),
            }
        }
    }
    rows.push(ActionRow {
        name: String::new(),
        depth: String::new(),
        interval: String::new(),
        timeout: String::new(),
        advised_interval: String::new(),
        advised_timeout: String::new(),
        fixed: false,
    });
    rows
}

#[cfg(test)]
mod tests {
    use shared::agents::metadata::{AgentClass, parse};

    use super::*;

    fn attributes(given: &[(&str, &str)]) -> Attributes {
        given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn names(fields: &[Field]) -> Vec<&str> {
        fields.iter().map(|field| field.name.as_str()).collect()
    }

    fn filesystem() -> AgentSchema {
        let text = r#"<resource-agent name="Filesystem"><parameters>
<parameter name="device" required="1"><content type="string"/><shortdesc lang="en">block device</shortdesc></parameter>
<parameter name="directory" required="1"><content type="string"/><longdesc lang="en">The mount point for the filesystem.</longdesc></parameter>
<parameter name="fstype" required="1"><content type="string"/></parameter>
<parameter name="force_unmount"><content type="string" default="true"/><longdesc lang="en">Kills users.</longdesc></parameter>
<parameter name="options"><content type="string" default="noatime"/></parameter>
</parameters><actions><action name="start" timeout="60s"/><action name="stop" timeout="60s"/>
<action name="monitor" timeout="40s" interval="20s" depth="0"/><action name="monitor" timeout="40s" interval="30s" depth="10"/></actions></resource-agent>"#;
        parse(AgentClass::Resource, text).unwrap()
    }

    #[test]
    fn a_type_of_rhel_has_its_own_words_and_the_agents_defaults() {
        let schema = filesystem();
        let form = resource("fs", Some(&schema), &attributes(&[]));
        assert_eq!(names(&form.fields)[..3], ["name", "mountpoint", "device"]);
        let by_name = |name: &str| form.all().find(|field| field.name == name).unwrap();
        assert_eq!((by_name("mountpoint").label.as_str(), by_name("mountpoint").label_lang), ("Mount Point", None));
        assert_eq!(by_name("mountpoint").words.first, "The mount point for the filesystem.");
        assert_eq!(by_name("options").placeholder, "default: noatime");
        // The table sets it to false, whatever the agent would do.
        assert_eq!(by_name("force_unmount").options().unwrap()[0].1, "default (false)");
        assert!(names(&form.fields).contains(&"self_fence"), "the engine acts on it");
        assert!(names(&form.older).contains(&"quick_status") && by_name("quick_status").deprecated);
        assert!(form.all().filter(|field| field.required).count() == 3);
    }

    #[test]
    fn what_nothing_uses_today_is_shown_where_it_is_set_and_says_so() {
        let form = resource("fs", None, &attributes(&[("nfslock", "1"), ("odd", "x"), ("__max_restarts", "3")]));
        let nfslock = form.fields.iter().find(|field| field.name == "nfslock").unwrap();
        assert_eq!(nfslock.notes[1], "Has no effect today.");
        let extras: Vec<&str> = form.extras.iter().map(|extra| extra.name.as_str()).collect();
        assert_eq!(extras, ["odd", "", ""], "nothing is lost, and fault isolation has its own part");
    }

    #[test]
    fn any_agent_has_a_form_of_its_parameters() {
        let given = attributes(&[("name", "d"), ("provider", "heartbeat"), ("type", "Filesystem")]);
        let form = resource("ocf", Some(&filesystem()), &given);
        assert_eq!(names(&form.fields), ["name", "device", "directory", "fstype", "force_unmount", "options"]);
        assert_eq!(form.fields[1].label, "block device");
        assert_eq!(form.extras.iter().filter(|extra| !extra.name.is_empty()).count(), 0);
        // Without metadata the agent is named by hand.
        assert_eq!(names(&resource("ocf", None, &attributes(&[])).fields), ["name", "type", "provider"]);
    }

    #[test]
    fn the_times_of_actions_stand_beside_what_the_agent_advises() {
        let given = [attributes(&[("name", "status"), ("depth", "10"), ("interval", "5m")])];
        let rows = actions(Some(&filesystem()), &given);
        let shown: Vec<String> = rows
            .iter()
            .map(|row| {
                format!(
                    "{} {} {}({}) {}({})",
                    row.name, row.depth, row.interval, row.advised_interval, row.timeout, row.advised_timeout
                )
            })
            .collect();
        assert_eq!(
            shown,
            ["status 10 5m(30) (40)", "start  () (60)", "stop  () (60)", "status 0 (20) (40)", "  () ()"]
        );
    }
}
