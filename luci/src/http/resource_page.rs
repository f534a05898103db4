//! The form of a resource, drawn and read: the same for a shared one and for one in a service's tree.

use shared::agents::mapping;
use shared::agents::metadata::{AgentClass, in_language};
use shared::conf::edit::{AttributeChanges, Attributes};
use shared::ids::NodeName;

use super::configure::{Known, frame};
use super::error::PageError;
use super::forms::Fields;
use super::pages::{at, form_errors};
use crate::app::resources::{AgentWord, Sketch, agent_of};
use crate::app::{App, AppError, Who};
use crate::views::fields::{ISOLATION, Words, isolation_fields, kind_title};
use crate::views::manage::FormErrors;
use crate::views::resource_form::{self, AGENT};
use crate::views::resources::{CheckedPanel, ResourcePage};
use crate::views::schema_form::{folded, language_of_agents};

/// What a form is about.
#[derive(Debug, Clone, Default)]
pub(super) struct Subject {
    pub(super) kind: String,
    pub(super) attributes: Attributes,
    pub(super) actions: Vec<Attributes>,
    /// In a tree: the shared resource that is used.
    pub(super) reference: Option<String>,
    /// It stands in the configuration already.
    pub(super) exists: bool,
    pub(super) in_tree: bool,
}

impl Subject {
    pub(super) fn sketch(&self) -> Sketch<'_> {
        Sketch {
            kind: &self.kind,
            attributes: &self.attributes,
            actions: &self.actions,
            is_reference: self.reference.is_some(),
        }
    }
}

/// The page of a form, without what differs between shared and own: addresses, heading, users.
pub(super) async fn page(
    app: &App,
    who: Who,
    known: Known,
    tab: &'static str,
    subject: &Subject,
    errors: FormErrors,
) -> Result<ResourcePage, PageError> {
    let Subject { kind, attributes, .. } = subject;
    let agent = agent_of(kind, attributes);
    let schema = app.resource_schema(&known.cluster, kind, attributes).await?;
    let (shell, head) = frame(app, who, &known.cluster, tab).await?;
    let language = language_of_agents();
    let about = schema.as_ref().map_or_else(Words::default, |schema| {
        let texts = if schema.long.is_empty() { &schema.short } else { &schema.long };
        folded("en", in_language(texts, language))
    });
    let mut form = resource_form::resource(kind, schema.as_ref(), attributes);
    if subject.reference.is_some() {
        form.fields.clear();
        form.advanced.clear();
        form.older.clear();
        form.extras.clear();
    }
    let missing_on = match &agent {
        Some(agent) => {
            app.agent_choices(&known.cluster, AgentClass::Resource).await?.into_iter().find(|one| one.name == *agent)
        }
        None => None,
    };
    let chosen = schema.is_some() && kind == "ocf" && !subject.exists;
    let hidden = AGENT.iter().filter(|_| chosen);
    let hidden = hidden.filter_map(|name| Some((format!("a-{name}"), attributes.get(*name)?.clone()))).collect();
    Ok(ResourcePage {
        shell,
        head,
        heading: String::new(),
        action: String::new(),
        button: if subject.exists { "Apply".into() } else { "Add resource".into() },
        back: String::new(),
        kind: kind.clone(),
        title: kind_title(kind),
        by_hand: agent.is_some() && schema.is_none(),
        missing_on: missing_on.map(|choice| choice.missing_on).unwrap_or_default(),
        agent,
        about,
        form,
        hidden,
        reference: subject.reference.clone().map(|name| {
            let address = format!("/resources/{}/{}", super::pages::part(kind), super::pages::part(&name));
            (name, at(&known.cluster, &address))
        }),
        isolation: if subject.in_tree { isolation_fields(attributes) } else { Vec::new() },
        actions: resource_form::actions(schema.as_ref(), &subject.actions),
        parent: None,
        expected: String::new(),
        delete: None,
        used_by: Vec::new(),
        note: mapping::kind(kind).and_then(|row| row.note),
        checked: None,
        base: known.base(),
        errors,
    })
}

/// The rows of the actions as they were sent; `None`: the form had none, and they stay.
pub(super) fn sent_actions(fields: &Fields) -> Option<Vec<Attributes>> {
    let rows = fields.rows("action");
    let row = |row: usize| -> Attributes {
        let value = |name: &str| Some((name.to_owned(), fields.text(&format!("action-{row}-{name}")).to_owned()));
        ["name", "depth", "interval", "timeout"].iter().filter_map(|name| value(name)).collect()
    };
    (rows > 0).then(|| (0..rows).map(row).filter(|row| row.values().any(|value| !value.is_empty())).collect())
}

/// The rows that say something, over what stands there: an `<action>` may have more than the form shows.
pub(super) fn merged_actions(stored: &[Attributes], sent: &[Attributes]) -> Vec<Attributes> {
    let text = |action: &Attributes, name: &str| action.get(name).cloned().unwrap_or_default();
    let same = |one: &Attributes, other: &Attributes| {
        text(one, "name") == text(other, "name") && text(one, "depth") == text(other, "depth")
    };
    let says = |action: &&Attributes| ["interval", "timeout"].iter().any(|name| !text(action, name).is_empty());
    let merged = sent.iter().filter(says).map(|action| {
        let mut merged = stored.iter().find(|known| same(known, action)).cloned().unwrap_or_default();
        merged.extend(action.iter().map(|(name, value)| (name.clone(), value.clone())));
        merged.retain(|_, value| !value.is_empty());
        merged
    });
    merged.collect()
}

/// Attributes of which the form of a use of a shared resource may change but a few.
pub(super) fn may_be_sent(reference: bool, name: &str) -> bool {
    !reference || ISOLATION.contains(&name)
}

/// A stored resource with what a form changes.
pub(super) fn with_changes(
    subject: &Subject,
    changes: &AttributeChanges,
    actions: Option<&Vec<Attributes>>,
) -> Subject {
    let mut changed = subject.clone();
    for (name, value) in changes {
        match value {
            Some(value) => changed.attributes.insert(name.clone(), value.clone()),
            None => changed.attributes.remove(name),
        };
    }
    if let Some(actions) = actions {
        changed.actions.clone_from(actions);
    }
    changed
}

/// A name of an element that cluster.conf may have.
pub(super) fn check_kind(kind: &str) -> Result<(), AppError> {
    let ok = !kind.is_empty() && kind.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if ok { Ok(()) } else { Err(AppError::NoSuch { what: "type of resource", name: kind.to_owned() }) }
}

/// The agent that was chosen, as attributes of `<ocf>`: `ocf:heartbeat:nginx`.
pub(super) fn chosen_agent(agent: &str) -> Result<Attributes, AppError> {
    if agent.is_empty() {
        return Ok(Attributes::new());
    }
    let parts: Vec<&str> = agent.split(':').collect();
    let ["ocf", provider, name] = parts.as_slice() else {
        return Err(AppError::NoSuch { what: "agent", name: agent.to_owned() });
    };
    Ok([("provider", *provider), ("type", *name)].map(|(key, value)| (key.to_owned(), value.to_owned())).into())
}

/// The field names of a form begin with `a-`; errors about attributes must find them.
pub(super) fn at_fields(mut errors: FormErrors) -> FormErrors {
    for (field, _) in &mut errors.0 {
        if field != "form" && !field.starts_with("a-") && !field.starts_with("action-") {
            *field = format!("a-{field}");
        }
    }
    errors
}

/// What checking a form comes to, without writing anything: its own faults first, then the agent's word.
pub(super) async fn checked(
    app: &App,
    known: &Known,
    subject: &Subject,
    first: Option<&NodeName>,
) -> Result<(FormErrors, Option<CheckedPanel>), PageError> {
    let schema = app.resource_schema(&known.cluster, &subject.kind, &subject.attributes).await?;
    let faults = subject.sketch().faults(schema.as_ref());
    let errors = FormErrors(faults.into_iter().map(|fault| (fault.field, fault.text)).collect());
    if errors.any() {
        return Ok((errors, None));
    }
    let asked = app.ask_agent(&known.cluster, subject.sketch(), first).await;
    match asked {
        Ok(word) => {
            let refused = refusal(&word).map(|text| ("form".to_owned(), text));
            Ok((FormErrors(refused.into_iter().collect()), Some(CheckedPanel::new(&word))))
        }
        Err(error @ (AppError::Unreachable(_) | AppError::Ricci(_))) => {
            Ok((FormErrors(vec![("form".to_owned(), error.to_string())]), None))
        }
        Err(error) => Ok((at_fields(form_errors(error)?), None)),
    }
}

fn refusal(word: &AgentWord) -> Option<String> {
    let code = word.said.as_ref()?.code.filter(|code| *code != 0)?;
    Some(format!("{} on {} would not take this: {}", word.agent, word.node, shared::text::ocf_meaning(code)))
}
