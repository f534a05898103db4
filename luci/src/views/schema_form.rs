//! Draws a form from what an agent says of itself: a widget per type, the agent's defaults as placeholders, its words as
//! help. Used for fence devices, for their use by nodes, and for resources. Pure: schema and attributes in, fields out.

use std::borrow::Cow;

use shared::agents::kinds::Kind;
use shared::agents::mapping;
use shared::agents::metadata::{AgentSchema, Parameter, ParameterType, in_language};
use shared::conf::edit::Attributes;

use super::fields::{AttributeForm, Field, Widget, Words, extras};
use crate::language::{Language, spoken};
use crate::secrets::is_secret;

/// Where in the form a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At the top, in the schema's order; what is required comes first.
    Common,
    /// Folded away, unless it has a value.
    Advanced,
    /// Not in this form, but never lost: with a value it is a row of its own.
    Absent,
}

/// What a form is drawn for.
#[derive(Debug, Clone, Copy)]
pub struct Drawing<'a> {
    pub schema: &'a AgentSchema,
    /// As the configuration has them.
    pub attributes: &'a Attributes,
    /// Attributes that the page shows elsewhere.
    pub elsewhere: &'a [&'a str],
    /// Of the agent's texts: `en`, `zh_CN`, `zh_TW`.
    pub language: &'a str,
    /// The type of element that takes the attributes, where names of its own are in the way of the agent's.
    pub kind: Option<&'a Kind>,
}

impl Drawing<'_> {
    /// The form; `place` says where each parameter goes.
    pub fn form(self, place: impl Fn(&Parameter) -> Place) -> AttributeForm {
        let (mut required, mut common, mut advanced, mut older) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for parameter in &self.schema.parameters {
            let set = self.is_set(&parameter.name);
            let place = match place(parameter) {
                Place::Absent => continue,
                // Where the configuration uses an older name, that is what is edited.
                _ if self.has_older_name(parameter) => continue,
                place => place,
            };
            let field = self.field(parameter, &self.attribute(&parameter.name));
            match place {
                _ if parameter.deprecated && !set => older.push(field),
                _ if parameter.required => required.push(field),
                Place::Advanced if !set => advanced.push(field),
                _ => common.push(field),
            }
        }
        required.append(&mut common);
        let fields = required.iter().chain(&advanced).chain(&older);
        let extras = extras(self.attributes, fields, self.elsewhere);
        AttributeForm { fields: required, advanced, older, extras }
    }

    /// The attribute that gives a parameter.
    fn attribute(self, parameter: &str) -> String {
        self.kind.and_then(|kind| mapping::attribute_for(kind, parameter)).unwrap_or_else(|| parameter.to_owned())
    }

    /// The field of one parameter, under the name that the attribute has in cluster.conf.
    pub fn field(self, parameter: &Parameter, attribute: &str) -> Field {
        let value = self.attributes.get(attribute).cloned().unwrap_or_default();
        let (widget, choices) = widget(parameter, &value);
        let value = match (&parameter.kind, widget) {
            (ParameterType::Boolean, Widget::Options) => choices_value(&choices, &value),
            _ => value,
        };
        let (label, words) = self.words(parameter);
        Field {
            name: attribute.to_owned(),
            label,
            label_lang: Some("en"),
            words,
            notes: notes(parameter),
            unit: if widget == Widget::Text && parameter.kind == ParameterType::Seconds { "s" } else { "" },
            deprecated: parameter.deprecated,
            placeholder: Cow::Owned(placeholder(parameter)),
            widget,
            choices,
            value,
            required: parameter.required,
            ..Field::default()
        }
    }

    fn is_set(self, name: &str) -> bool {
        self.attributes.get(&self.attribute(name)).is_some_and(|value| !value.is_empty())
    }

    fn has_older_name(self, parameter: &Parameter) -> bool {
        let older = |one: &&Parameter| one.replaced_by.as_deref() == Some(&parameter.name);
        !self.is_set(&parameter.name)
            && self.schema.parameters.iter().filter(older).any(|older| self.is_set(&older.name))
    }

    /// The label and the help: the agent's short text is a label if it is one, and its long text the help.
    fn words(self, parameter: &Parameter) -> (String, Words) {
        let short = in_language(&parameter.short, self.language);
        let long = in_language(&parameter.long, self.language);
        let lang = if parameter.long.contains_key(self.language) { tag(self.language) } else { "en" };
        let short = one_line(short);
        let short = short.trim_end_matches('.');
        let is_label = !short.is_empty() && short.chars().count() <= LABEL_CHARS_MAX;
        let label = if is_label { short } else { &parameter.name };
        let help = match is_label {
            true if one_line(long).trim_end_matches('.') == short => String::new(),
            true => long.to_owned(),
            false if one_line(long).contains(short) => long.to_owned(),
            false => format!("{short}. {long}"),
        };
        (label.to_owned(), folded(lang, &help))
    }
}

/// Longer texts are help.
const LABEL_CHARS_MAX: usize = 48;
/// Help that is shorter is seen whole.
const HELP_CHARS_MAX: usize = 200;

/// The language of agents' texts for the reader, as agents write it.
pub fn language_of_agents() -> &'static str {
    match spoken() {
        Language::English => "en",
        Language::Simplified => "zh_CN",
        Language::Traditional => "zh_TW",
    }
}

/// As pages write it.
fn tag(language: &str) -> &'static str {
    match language {
        "zh_CN" => Language::Simplified.tag(),
        "zh_TW" => Language::Traditional.tag(),
        _ => Language::English.tag(),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A text with what is longer than a line or two folded away behind its first sentence.
pub fn folded(lang: &'static str, text: &str) -> Words {
    let text = text.replace("\r\n", "\n");
    let mut paragraphs: Vec<String> =
        text.split("\n\n").map(one_line).filter(|paragraph| !paragraph.is_empty()).collect();
    if paragraphs.is_empty() {
        return Words::default();
    }
    let first = paragraphs.remove(0);
    let length = |text: &str| text.chars().count();
    if length(&first) + paragraphs.iter().map(|one| length(one)).sum::<usize>() <= HELP_CHARS_MAX {
        let first = std::iter::once(first).chain(paragraphs).collect::<Vec<_>>().join(" ");
        return Words { lang, first, rest: Vec::new() };
    }
    match first.split_once(". ") {
        Some((sentence, rest)) if length(sentence) <= HELP_CHARS_MAX => {
            paragraphs.insert(0, rest.to_owned());
            Words { lang, first: format!("{sentence}."), rest: paragraphs }
        }
        _ if length(&first) <= HELP_CHARS_MAX => Words { lang, first, rest: paragraphs },
        _ => {
            paragraphs.insert(0, first);
            Words { lang, first: String::new(), rest: paragraphs }
        }
    }
}

/// What the value must be, and what is to be known of an older name.
fn notes(parameter: &Parameter) -> Vec<String> {
    let bounds = match &parameter.kind {
        ParameterType::Integer { min: Some(min), max: Some(max) } => Some(format!("From {min} to {max}.")),
        ParameterType::Integer { min: Some(min), max: None } => Some(format!("At least {min}.")),
        ParameterType::Integer { min: None, max: Some(max) } => Some(format!("At most {max}.")),
        ParameterType::Seconds => Some("Seconds, or with a unit: 30, 2m.".to_owned()),
        _ => None,
    };
    let older = match (&parameter.replaced_by, parameter.deprecated) {
        (Some(newer), _) => Some(format!("An older name of {newer}.")),
        (None, true) => Some("Kept for old configurations.".to_owned()),
        (None, false) => None,
    };
    [bounds, older].into_iter().flatten().collect()
}

fn placeholder(parameter: &Parameter) -> String {
    match &parameter.default {
        // The default of a secret is told by no metadata that deserves it, but it would be shown in the open.
        Some(default) if !default.is_empty() && !parameter.secret => format!("default: {default}"),
        _ => String::new(),
    }
}

fn widget(parameter: &Parameter, value: &str) -> (Widget, Vec<(String, String)>) {
    let sounds_secret = parameter.kind == ParameterType::String && is_secret(&parameter.name);
    if parameter.secret || sounds_secret {
        return (Widget::Secret, Vec::new());
    }
    let none = match &parameter.default {
        Some(default) if !default.is_empty() => format!("default ({default})"),
        _ => "default".to_owned(),
    };
    let mut choices = vec![(String::new(), none)];
    match &parameter.kind {
        ParameterType::String | ParameterType::Seconds => return (Widget::Text, Vec::new()),
        ParameterType::Integer { .. } => return (Widget::Number, Vec::new()),
        ParameterType::Boolean => {
            let (on, off) = spelling(parameter.default.as_deref());
            choices.extend([(on.to_owned(), "on".to_owned()), (off.to_owned(), "off".to_owned())]);
        }
        ParameterType::Select { options } => {
            choices.extend(options.iter().map(|option| (option.clone(), option.clone())));
        }
    }
    // A value that the agent does not offer stays visible, or applying the form would silently take it away.
    let known = choices.iter().any(|(option, _)| option == value) || truth(value).is_some();
    if !known {
        choices.push((value.to_owned(), format!("{value} (not offered by the agent)")));
    }
    (Widget::Options, choices)
}

/// How an agent spells truth: some compare with their own spelling only.
fn spelling(default: Option<&str>) -> (&'static str, &'static str) {
    match default.map(str::to_ascii_lowercase).as_deref() {
        Some("true" | "false") => ("true", "false"),
        Some("yes" | "no") => ("yes", "no"),
        Some("on" | "off") => ("on", "off"),
        _ => ("1", "0"),
    }
}

fn truth(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" | "y" => Some(true),
        "0" | "false" | "no" | "off" | "n" => Some(false),
        _ => None,
    }
}

/// The choice that means the same as the value.
fn choices_value(choices: &[(String, String)], value: &str) -> String {
    let same = |option: &str| option == value || truth(option).is_some() && truth(option) == truth(value);
    choices.iter().find(|(option, _)| same(option)).map_or_else(|| value.to_owned(), |(option, _)| option.clone())
}

#[cfg(test)]
mod tests {
    use shared::agents::metadata::{AgentClass, parse};

    use super::*;

    const METADATA: &str = r#"<resource-agent name="fence_x"><parameters>
<parameter name="ip" required="1" obsoletes="ipaddr"><content type="string"/><shortdesc lang="en">IP address</shortdesc></parameter>
<parameter name="ipaddr" required="1" deprecated="1"><content type="string"/></parameter>
<parameter name="password"><content type="string" default="admin"/></parameter>
<parameter name="lanplus"><content type="boolean" default="false"/></parameter>
<parameter name="cipher"><content type="integer" default="3"/></parameter>
<parameter name="method"><content type="select" default="onoff"><option value="onoff"/><option value="cycle"/></content></parameter>
</parameters><actions><action name="off"/></actions></resource-agent>"#;

    fn draw(attributes: &[(&str, &str)]) -> AttributeForm {
        let schema = parse(AgentClass::Fence, METADATA).unwrap();
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let drawing =
            Drawing { schema: &schema, attributes: &attributes, elsewhere: &["name"], language: "en", kind: None };
        drawing.form(|parameter| match parameter.name.as_str() {
            "lanplus" => Place::Common,
            _ => Place::Advanced,
        })
    }

    fn names(fields: &[Field]) -> Vec<&str> {
        fields.iter().map(|field| field.name.as_str()).collect()
    }

    #[test]
    fn what_is_required_comes_first_and_what_few_need_is_folded_away() {
        let form = draw(&[]);
        assert_eq!(names(&form.fields), ["ip", "lanplus"]);
        assert_eq!(names(&form.advanced), ["password", "cipher", "method"]);
        assert!(form.fields[0].required && form.fields[0].label == "IP address");
        assert_eq!(names(&form.older), ["ipaddr"]);
        assert_eq!(form.older[0].notes, ["An older name of ip."]);
        assert_eq!(form.advanced[1].placeholder, "default: 3");
        assert_eq!(form.advanced[1].widget, Widget::Number);
    }

    #[test]
    fn what_has_a_value_is_seen_and_an_older_name_stands_for_the_new_one() {
        let form = draw(&[("ipaddr", "10.0.0.1"), ("method", "cycle"), ("name", "bmc"), ("odd", "1")]);
        assert_eq!(names(&form.fields), ["ipaddr", "lanplus", "method"]);
        assert_eq!(form.extras[0].name, "odd");
        assert!(form.extras.iter().all(|extra| extra.name != "name"));
    }

    #[test]
    fn a_long_text_shows_its_first_sentence_and_folds_the_rest_away() {
        let words = folded("en", "Short\n  text.");
        assert_eq!((words.first.as_str(), words.rest.len()), ("Short text.", 0));
        let words = folded("en", &format!("What it is. {}\n\nWARNING: more", "why ".repeat(80)));
        assert_eq!(words.first, "What it is.");
        assert_eq!(words.rest.last().map(String::as_str), Some("WARNING: more"));
        assert_eq!(words.warnings(), ["WARNING: more"], "is seen without opening anything");
        assert!(folded("en", " \n ").is_empty());
    }

    #[test]
    fn a_switch_keeps_the_agents_own_spelling_and_shows_what_an_older_one_meant() {
        let form = draw(&[("lanplus", "1")]);
        let options = form.fields[1].options().unwrap();
        assert_eq!(options, [("", "default (false)", false), ("true", "on", true), ("false", "off", false)]);
    }

    #[test]
    fn a_value_that_is_not_offered_stays_visible_and_a_secret_does_not() {
        let form = draw(&[("method", "other"), ("password", "geheim")]);
        let method = form.fields.iter().find(|field| field.name == "method").unwrap();
        assert!(method.options().unwrap().contains(&("other", "other (not offered by the agent)", true)));
        let password = form.fields.iter().find(|field| field.name == "password").unwrap();
        assert_eq!((password.shown(), password.placeholder.as_ref()), ("", ""));
    }
}
