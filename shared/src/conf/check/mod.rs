//! The rules that a cluster.conf must keep, one function per rule; each finding has its place, rule and hint.
//!
//! Called by `load` on every text, and by whoever replaces a configuration (`check_successor`). The original dropped
//! much of what is found here without a word (rhcs.md §4.1, §5.2); nothing is dropped here: an error refuses the version.

mod cluster;
mod fencing;
mod logging;
mod quorum;
mod resources;
mod secrets;
mod services;

use super::Loaded;
use super::document::{Document, ElementId};
use super::finding::{Finding, Place, Severity};
use super::model::Conf;
use super::view::Reading;

/// The longest name of anything.
pub const NAME_LENGTH_MAX: usize = 255;

/// All rules that concern one configuration by itself.
pub(super) fn check(document: &Document, reading: &Reading) -> Vec<Finding> {
    let mut ctx = Context { document, reading, findings: Vec::new() };
    let rooms = [
        cluster::RULES,
        quorum::RULES,
        logging::RULES,
        fencing::RULES,
        services::RULES,
        resources::RULES,
        secrets::RULES,
    ];
    for rule in rooms.concat() {
        rule(&mut ctx);
    }
    ctx.findings
}

/// What the next version must keep of the one in force: the version grows, the cluster's name stays.
pub fn check_successor(old: &Conf, new: &Loaded) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (Some(conf), Some(root)) = (&new.conf, new.document.root()) else { return findings };
    let mut refuse = |rule: &str, attribute: &str, text: String, hint: String| {
        let place = new.document.attribute_place(root, attribute);
        findings.push(Finding { rule: rule.to_owned(), severity: Severity::Error, place, text, hint });
    };
    if conf.version <= old.version {
        let text = format!("config_version {} is not higher than {}, which is in force", conf.version, old.version);
        refuse("version-not-higher", "config_version", text, format!("set config_version to {}", old.version.0 + 1));
    }
    if conf.name != old.name {
        let text = format!("the cluster is called {}, not {}", old.name, conf.name);
        refuse("cluster-name-changed", "name", text, "the name of a cluster cannot change while it exists".to_owned());
    }
    findings
}

/// Errors that the configuration in force has as well do not keep somebody from changing something else: they become
/// warnings. A rule can be newer than the configuration that breaks it (docs/decisions/0008).
pub fn drop_known_errors(present: &[Finding], next: &mut [Finding]) {
    let mut known: Vec<(&str, String)> =
        errors(present).map(|old| (old.rule.as_str(), without_places(&old.text))).collect();
    for finding in next.iter_mut().filter(|finding| finding.severity == Severity::Error) {
        let text = without_places(&finding.text);
        // Each old error excuses one: the same mistake made once more is new.
        if let Some(index) = known.iter().position(|old| old.0 == finding.rule && old.1 == text) {
            known.swap_remove(index);
            finding.severity = Severity::Warning;
            finding.hint = format!("the version in force has this error too: {}", finding.hint);
        }
    }
}

fn errors(findings: &[Finding]) -> impl Iterator<Item = &Finding> {
    findings.iter().filter(|finding| finding.severity == Severity::Error)
}

/// Lines move when something is added above them.
fn without_places(text: &str) -> String {
    let mut words = text.split(' ').peekable();
    let mut out = Vec::new();
    while let Some(word) = words.next() {
        out.push(word);
        if matches!(word, "line" | "(line")
            && words.peek().is_some_and(|next| next.starts_with(|c: char| c.is_ascii_digit()))
        {
            words.next();
        }
    }
    out.join(" ")
}

type Rule = fn(&mut Context<'_>);

struct Context<'a> {
    document: &'a Document,
    reading: &'a Reading,
    findings: Vec<Finding>,
}

impl<'a> Context<'a> {
    fn error(&mut self, rule: &str, place: Place, text: String, hint: impl Into<String>) {
        self.report(rule, Severity::Error, place, text, hint.into());
    }

    fn warning(&mut self, rule: &str, place: Place, text: String, hint: impl Into<String>) {
        self.report(rule, Severity::Warning, place, text, hint.into());
    }

    fn info(&mut self, rule: &str, place: Place, text: String, hint: impl Into<String>) {
        self.report(rule, Severity::Info, place, text, hint.into());
    }

    fn report(&mut self, rule: &str, severity: Severity, place: Place, text: String, hint: String) {
        self.findings.push(Finding { rule: rule.to_owned(), severity, place, text, hint });
    }

    /// An attribute's value without white space around it; `None` also when nothing is left.
    fn text(&self, element: ElementId, name: &str) -> Option<&'a str> {
        self.document.attribute(element, name).map(str::trim).filter(|value| !value.is_empty())
    }

    /// Elements whose names must all differ: a missing, unusable or repeated name is an error.
    fn check_names(&mut self, what: &str, elements: &[ElementId], attribute: &str, same: fn(&str, &str) -> bool) {
        let mut seen: Vec<(&str, ElementId)> = Vec::new();
        for element in elements {
            let Some(name) = self.document.attribute(*element, attribute).filter(|name| !name.is_empty()) else {
                let text = format!("a {what} has no {attribute}");
                self.error("name-missing", self.document.place(*element), text, format!("add {attribute}=\"…\""));
                continue;
            };
            self.check_name(what, *element, attribute, name);
            if let Some((_, first)) = seen.iter().find(|(earlier, _)| same(earlier, name)) {
                let text = format!("there is another {what} {name} in line {}", self.document.place(*first).line);
                let place = self.document.attribute_place(*element, attribute);
                self.error("name-duplicate", place, text, "give one of them another name, or remove it");
            }
            seen.push((name, *element));
        }
    }

    /// Names are shown on pages, written to logs and handed to programs: none may contain what could be taken for
    /// something else there.
    fn check_name(&mut self, what: &str, element: ElementId, attribute: &str, name: &str) {
        let fault = if name.chars().count() > NAME_LENGTH_MAX {
            Some(format!("it is longer than {NAME_LENGTH_MAX} characters"))
        } else if name.trim() != name {
            Some("it begins or ends with white space".to_owned())
        } else {
            let refused =
                |c: &char| c.is_control() || matches!(c, '<' | '>' | '&' | '"' | '\'' | '`' | '\\' | '{' | '}');
            name.chars().find(refused).map(|c| match c.is_control() {
                true => "it contains a control character".to_owned(),
                false => format!("it contains {c}"),
            })
        };
        if let Some(fault) = fault {
            let shown: String = name.chars().take(40).filter(|c| !c.is_control()).collect();
            let text = format!("the {attribute} \"{shown}\" of a {what} cannot be used: {fault}");
            let hint = "use letters, digits, \"-\", \"_\" and \".\"";
            self.error("name-invalid", self.document.attribute_place(element, attribute), text, hint);
        }
    }
}

fn same_name(one: &str, other: &str) -> bool {
    one == other
}

fn same_name_without_case(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// " Did you mean X?" when one of the candidates is nearly the same.
fn suggestion<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> String {
    let near = candidates.map(|candidate| (distance(name, candidate), candidate)).min();
    match near {
        Some((distance, candidate)) if distance <= 1 + name.len() / 4 => format!("; did you mean {candidate}?"),
        _ => String::new(),
    }
}

/// How many characters must be changed to make one word of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.to_lowercase().chars().take(64).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, c) in one.to_lowercase().chars().take(64).enumerate() {
        let mut before = row[0];
        row[0] = index + 1;
        for column in 0..other.len() {
            let replaced = before + usize::from(other[column] != c);
            before = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(before + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "<cluster name=\"c\" config_version=\"1\"><clusternodes><clusternode name=\"a\" nodeid=\"1\"/></clusternodes><rm>\n\
        <service name=\"x\"><ip ref=\"10.0.0.1\"/></service>\n<service name=\"x\"/>\n</rm></cluster>";

    fn left(next: &str) -> Vec<String> {
        let mut findings = super::super::load(next).findings;
        drop_known_errors(&super::super::load(OLD).findings, &mut findings);
        errors(&findings).map(|finding| finding.rule.clone()).collect()
    }

    #[test]
    fn what_was_wrong_before_excuses_itself_once_and_nothing_else() {
        assert_eq!(left(OLD), Vec::<String>::new());
        let moved = OLD.replace("<rm>\n", "<rm>\n<service name=\"new\"/>\n\n");
        assert_eq!(left(&moved), Vec::<String>::new());
        let more = OLD.replace("</rm>", "<service name=\"y\"><ip ref=\"10.0.0.2\"/></service></rm>");
        assert_eq!(left(&more), ["unknown-reference"]);
        let thrice = OLD.replace("</rm>", "<service name=\"x\"/></rm>");
        assert_eq!(left(&thrice), ["name-duplicate"]);
    }
}
