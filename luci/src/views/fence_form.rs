//! Forms of fence devices and of their use by nodes: from the agent's own metadata, or, where no node has told it yet, from
//! the attributes that luci knows by name.

use shared::agents::metadata::{AgentSchema, Given, Parameter};
use shared::conf::edit::Attributes;

use super::fields::{AttributeForm, FENCE_FIELDS, Field, fence_agent};
use super::schema_form::{Drawing, Place, language_of_agents};

/// What most devices need, whatever the agent.
const COMMON: &[&str] = &[
    "ip",
    "ipaddr",
    "username",
    "login",
    "password",
    "passwd",
    "lanplus",
    "secure",
    "ssh",
    "ssl",
    "ssl_insecure",
    "community",
    "key_file",
    "multicast_address",
    "identity_file",
    "region",
    "devices",
];

/// Of a device that nodes share.
pub fn device(agent: &str, schema: Option<&AgentSchema>, attributes: &Attributes) -> AttributeForm {
    let Some(schema) = schema else { return AttributeForm::device(agent, attributes) };
    let hand = fence_agent(agent).map_or(&[][..], |known| known.device);
    let is_common = |parameter: &Parameter| {
        let name = parameter.name.as_str();
        COMMON.contains(&name) || names(schema, name).any(|name| hand.contains(&name))
    };
    drawn(schema, attributes, &["name", "agent"], |parameter| match parameter.given {
        Given::Once if is_common(parameter) => Place::Common,
        Given::Once => Place::Advanced,
        Given::PerNode | Given::PerRun => Place::Absent,
    })
}

/// Of the use of a device by one node.
pub fn instance(agent: &str, schema: Option<&AgentSchema>, attributes: &Attributes) -> AttributeForm {
    let Some(schema) = schema else { return AttributeForm::instance(agent, attributes) };
    drawn(schema, attributes, &[], |parameter| match parameter.given {
        Given::PerNode => Place::Common,
        // Of two nodes that may shoot each other, one waits.
        Given::Once if parameter.name == "delay" => Place::Common,
        Given::Once | Given::PerRun => Place::Absent,
    })
}

fn drawn(
    schema: &AgentSchema,
    attributes: &Attributes,
    elsewhere: &[&str],
    place: impl Fn(&Parameter) -> Place,
) -> AttributeForm {
    let mut form = Drawing { schema, attributes, elsewhere, language: language_of_agents(), kind: None }.form(place);
    for field in form.fields.iter_mut().chain(&mut form.advanced).chain(&mut form.older) {
        give_label(schema, field);
    }
    form
}

/// The label that RHEL 6 had, where there was one.
fn give_label(schema: &AgentSchema, field: &mut Field) {
    let known = names(schema, &field.name).find_map(|name| FENCE_FIELDS.iter().find(|row| row.0 == name));
    if let Some((_, label, ..)) = known {
        (*label).clone_into(&mut field.label);
        field.label_lang = None;
    }
}

/// A parameter's name, and its older ones.
fn names<'s>(schema: &'s AgentSchema, name: &'s str) -> impl Iterator<Item = &'s str> {
    let older = schema.parameters.iter().filter(move |older| older.replaced_by.as_deref() == Some(name));
    std::iter::once(name).chain(older.map(|older| older.name.as_str()))
}
