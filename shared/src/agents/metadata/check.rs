//! Values against a schema: what is missing, what does not fit, what is not known.

use serde::{Deserialize, Serialize};

use super::{AgentClass, AgentSchema, Given, Parameter, ParameterType};

/// What is to be said of one parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complaint {
    pub parameter: String,
    /// The agent would fail with it; otherwise it is a hint.
    pub is_fault: bool,
    /// Holds no secret value.
    pub text: String,
}

/// Everything that the schema lets say of these parameters, in the order of the schema, then of what was given. An empty
/// value is none.
pub fn check(schema: &AgentSchema, given: &[(String, String)]) -> Vec<Complaint> {
    let value =
        |name: &str| given.iter().find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value);
    let mut complaints = Vec::new();
    for parameter in schema.parameters.iter().filter(|parameter| parameter.given != Given::PerRun) {
        let complaint = |is_fault, text| Complaint { parameter: parameter.name.clone(), is_fault, text };
        match value(&parameter.name) {
            None if parameter.required && !older_names(schema, parameter).any(|older| value(&older.name).is_some()) => {
                complaints.push(complaint(true, format!("{} is required", parameter.name)));
            }
            None => {}
            Some(own) => {
                if let Some(why) = value_fault(&parameter.kind, own) {
                    let shown = if parameter.secret { crate::conf::secret::MASK } else { own };
                    complaints.push(complaint(true, format!("{}=\"{shown}\" cannot be right: {why}", parameter.name)));
                }
                let newer = parameter.replaced_by.as_ref().filter(|_| parameter.deprecated);
                let told = newer.map(|newer| older_name(schema, parameter, newer, value(newer).is_some()));
                complaints.extend(told.map(|(is_fault, text)| complaint(is_fault, text)));
            }
        }
    }
    let unknown = given.iter().filter(|(name, _)| schema.parameter(name).is_none());
    complaints.extend(unknown.map(|(name, _)| Complaint {
        parameter: name.clone(),
        is_fault: false,
        text: format!("{} does not know the parameter {name}", schema.name),
    }));
    complaints
}

/// What is to be said of a parameter that is given by an older name. Given both, an agent takes either, or ends with an error;
/// of a fence agent nobody may have to guess which machine it switches off.
fn older_name(schema: &AgentSchema, parameter: &Parameter, newer: &str, both: bool) -> (bool, String) {
    let older = &parameter.name;
    match (schema.class, both) {
        (AgentClass::Fence, true) => {
            (true, format!("{older} and {newer} are two names of one thing: give {newer} alone"))
        }
        _ => (false, format!("{older} is an older name; give {newer} instead")),
    }
}

fn older_names<'s>(schema: &'s AgentSchema, parameter: &'s Parameter) -> impl Iterator<Item = &'s Parameter> {
    schema.parameters.iter().filter(|older| older.replaced_by.as_deref() == Some(&parameter.name))
}

/// Why a value does not fit; `None` if it does.
pub(super) fn value_fault(kind: &ParameterType, value: &str) -> Option<String> {
    let value = value.trim();
    match kind {
        ParameterType::String => None,
        ParameterType::Boolean => (!is_boolean(value)).then(|| "give true or false".to_owned()),
        ParameterType::Seconds => (!is_seconds(value)).then(|| "give seconds, e.g. 30".to_owned()),
        ParameterType::Select { options } => {
            let known = options.iter().any(|option| option == value);
            (!known).then(|| format!("give one of {}", options.join(", ")))
        }
        ParameterType::Integer { min, max } => match value.parse::<i64>() {
            Err(_) => Some("give a whole number".to_owned()),
            Ok(number) if min.is_some_and(|min| number < min) => min.map(|min| format!("give at least {min}")),
            Ok(number) if max.is_some_and(|max| number > max) => max.map(|max| format!("give at most {max}")),
            Ok(_) => None,
        },
    }
}

/// What ocf-shellfuncs and the fence library take for one.
fn is_boolean(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    ["1", "0", "true", "false", "yes", "no", "on", "off", "y", "n"].contains(&value.as_str())
}

fn is_seconds(value: &str) -> bool {
    let number = value.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = value[number.len()..].to_ascii_lowercase();
    let fits = ["", "s", "sec", "ms", "m", "min", "h", "hr", "us"].contains(&unit.as_str());
    fits && number.parse::<f64>().is_ok_and(|number| number.is_finite())
}
