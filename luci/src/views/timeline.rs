//! What of the timeline a reader wants to see, as its page's form and addresses say it, and the lines as a file. Pure.

use shared::conf::model::Conf;

use crate::repo::events::{Event, EventFilter};

/// What events are about, and the kinds that belong to it as the database has them.
pub const GROUPS: &[(&str, &str, &[&str])] = &[
    (
        "membership",
        "Membership and quorum",
        &[
            "cluster-formed",
            "quorum-lost",
            "quorum-regained",
            "coordinator-changed",
            "node-joined",
            "node-left",
            "node-lost",
            "node-forgiven",
            "node-standby",
        ],
    ),
    ("fencing", "Fencing", &["fence-decided", "fence-failed", "fence-unwitnessed", "fence-disproved", "fenced"]),
    (
        "services",
        "Services and resources",
        &[
            "service-starting",
            "service-started",
            "service-stopping",
            "service-stopped",
            "service-recovering",
            "service-failed",
            "service-disabled",
            "service-migrating",
            "service-frozen",
            "service-unfrozen",
            "service-waits",
            "service-partial",
            "resource-failed",
            "part-restarted",
            "decision-ignored",
            "stopped-foreign",
            "intent-unheard",
        ],
    ),
    ("requests", "Requests", &["request-accepted", "request-refused", "request-done"]),
    ("configuration", "Configuration", &["conf-stored", "conf-in-force", "conf-refused"]),
];

/// What a reader chose. Empty words choose everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// `cluster`, `node:node1`, `service:service:web`.
    pub about: String,
    /// The first word of one of `GROUPS`.
    pub group: String,
    /// Words that stand in what happened, in why, or in the name of what it is about.
    pub words: String,
    /// Warnings and errors only.
    pub problems: bool,
}

impl Choice {
    /// Which rows these are. `None`: no form of ours says such a thing.
    pub fn filter(&self) -> Option<EventFilter> {
        let subject = match self.about.split_once(':') {
            None if self.about.is_empty() => None,
            None if self.about == "cluster" => Some(("cluster", String::new())),
            Some(("node", name)) => Some(("node", name.to_owned())),
            Some(("service", name)) => Some(("service", name.to_owned())),
            _ => return None,
        };
        let group = GROUPS.iter().find(|(word, ..)| *word == self.group);
        if group.is_none() && !self.group.is_empty() {
            return None;
        }
        let kinds = group.map(|(.., kinds)| kinds.iter().map(|&kind| kind.to_owned()).collect());
        Some(EventFilter {
            subject,
            problems_only: self.problems,
            kinds: kinds.unwrap_or_default(),
            words: self.words.split_whitespace().map(str::to_owned).collect(),
            before: None,
        })
    }

    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// Name and value of each part of an address that says it; none if everything is chosen.
    pub fn parts(&self) -> Vec<(&'static str, &str)> {
        let problems = if self.problems { "1" } else { "" };
        let (about, group) = (self.about.as_str(), self.group.as_str());
        let all = [("about", about), ("group", group), ("words", self.words.trim()), ("problems", problems)];
        all.into_iter().filter(|(_, value)| !value.is_empty()).collect()
    }

    /// The nodes and services to choose from: value, name, whether it is chosen. One that is gone stays while it is chosen.
    pub fn subjects(&self, conf: Option<&Conf>) -> Vec<(String, String, bool)> {
        let nodes = conf.iter().flat_map(|conf| &conf.nodes).map(|node| ("node", node.name.to_string()));
        let services = conf.iter().flat_map(|conf| &conf.services).map(|service| ("service", service.name.to_string()));
        let mut all: Vec<(String, String, bool)> = nodes
            .chain(services)
            .map(|(kind, name)| (format!("{kind}:{name}"), name))
            .map(|(value, name)| (value.clone(), name, value == self.about))
            .collect();
        if let Some((_, name)) = self.about.split_once(':')
            && !all.iter().any(|(.., chosen)| *chosen)
        {
            all.push((self.about.clone(), name.to_owned(), true));
        }
        all
    }
}

/// The lines as CSV (RFC 4180) for a spreadsheet, newest first, in English. Times are UTC, to the millisecond.
pub fn csv(events: &[Event]) -> String {
    let mut text = String::from("at,severity,kind,about_kind,about,text,reason\r\n");
    for event in events {
        let at = crate::clock::iso_text(event.at);
        let reason = event.reason.as_deref().unwrap_or_default();
        let row = [&at, &event.severity, &event.kind, &event.subject_kind, &event.subject, &event.text];
        let cells: Vec<String> = row.into_iter().map(String::as_str).chain([reason]).map(cell).collect();
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    }
    text
}

/// A cell that stays what it is: a spreadsheet would compute what begins like a formula, and an agent chose these words.
fn cell(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_says_itself_in_an_address_and_refuses_what_no_form_says() {
        let choice = Choice {
            about: "service:service:web".into(),
            group: "fencing".into(),
            words: " twice bmc".into(),
            problems: true,
        };
        assert_eq!(
            choice.parts(),
            [("about", "service:service:web"), ("group", "fencing"), ("words", "twice bmc"), ("problems", "1")]
        );
        let filter = choice.filter().unwrap();
        assert_eq!(filter.words, ["twice", "bmc"]);
        assert_eq!(filter.subject, Some(("service", "service:web".to_owned())));
        assert!(filter.problems_only && filter.kinds.contains(&"fenced".to_owned()));
        assert!(Choice::default().is_all() && Choice::default().parts().is_empty());
        for (about, group) in [("host:web", ""), ("web", ""), ("", "weather")] {
            assert!(Choice { about: about.into(), group: group.into(), ..Choice::default() }.filter().is_none());
        }
    }

    #[test]
    fn a_cell_is_never_a_formula_and_never_ends_early() {
        assert_eq!(cell("a \"b\", c\nd"), "\"a \"\"b\"\", c\nd\"");
        assert_eq!(cell("=cmd()"), "\"'=cmd()\"");
    }
}
