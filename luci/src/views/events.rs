//! The timeline: what happened, newest first, and for each loss or failure how long its phases took.

use askama::Template;

use super::badge::{self, Badge};
use super::time;
use crate::language::filters;
use crate::repo::events::Event;

/// A line of the timeline.
#[derive(Debug)]
pub struct EventLine {
    pub id: i64,
    pub at: String,
    pub severity: Badge,
    pub about: String,
    pub kind: String,
    pub text: String,
    pub reason: Option<String>,
    /// Time since the event before it in the same incident.
    pub after: Option<String>,
    /// The incident that ends with this event.
    pub incident: Option<Incident>,
}

/// Something was lost or failed: what happened until the cluster had dealt with it, and how long each step took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    pub name: String,
    /// From the first loss or failure to the end.
    pub total: String,
    pub phases: Vec<Phase>,
}

/// A step of an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    pub word: &'static str,
    /// The node or service that it is about; empty: the cluster.
    pub subject: String,
    /// Since the step before.
    pub took: String,
    /// Since the incident began.
    pub after: String,
}

/// Events further apart than this belong to different incidents.
const INCIDENT_GAP_MS: i64 = 120_000;

/// The timeline, newest first.
#[derive(Debug, Template)]
#[template(path = "panels/events.html")]
pub struct EventsPanel {
    pub events: Vec<EventLine>,
    /// Whether these are some of all that the cluster has.
    pub chosen: bool,
}

impl EventsPanel {
    pub fn new(events_in: &[Event]) -> Self {
        let events: Vec<EventLine> = events_in
            .iter()
            .enumerate()
            .map(|(place, event)| EventLine {
                id: event.id,
                at: time_ms(event.at),
                severity: badge::severity(&event.severity),
                about: if event.subject.is_empty() { "cluster".into() } else { event.subject.clone() },
                kind: event.kind.clone(),
                text: event.text.clone(),
                reason: event.reason.clone(),
                after: events_in
                    .get(place + 1)
                    .map(|before| event.at - before.at)
                    .filter(|gap| (0..INCIDENT_GAP_MS).contains(gap))
                    .map(|gap| format!("+{}", seconds(gap))),
                incident: None,
            })
            .collect();
        let mut panel = Self { events, chosen: false };
        let mut newest = 0;
        for group in events_of_incidents(events_in) {
            panel.events[newest].incident = phases(group);
            newest += group.len();
        }
        panel
    }
}

/// Events that belong together, newest first.
fn events_of_incidents(events: &[Event]) -> impl Iterator<Item = &[Event]> {
    events.chunk_by(|newer, older| (0..INCIDENT_GAP_MS).contains(&(newer.at - older.at)))
}

/// What an incident begins with.
const BEGINS: &[&str] = &["node-lost", "quorum-lost", "resource-failed", "service-recovering", "fence-decided"];
/// What the loss of a node begins with; a service that somebody moved shortly before has no part in it.
const LOSS_BEGINS: &[&str] = &["node-lost", "quorum-lost", "fence-decided"];
/// Its phases: kind and word.
const PHASES: &[(&str, &str)] = &[
    ("node-lost", "left the membership"),
    ("quorum-lost", "quorum lost"),
    ("quorum-regained", "quorum regained"),
    ("resource-failed", "failure noticed"),
    ("fence-decided", "fencing decided"),
    ("fence-failed", "fencing failed"),
    ("fenced", "fenced"),
    ("service-recovering", "recovery decided"),
    ("service-stopped", "stopped"),
    ("service-starting", "start decided"),
    ("service-started", "started"),
];

/// From the first loss or failure to the last phase; `None` if nothing was lost. Members tell with their own clocks, so the
/// decision to fence may bear an earlier time than the loss; the loss names the incident all the same.
fn phases(newest_first: &[Event]) -> Option<Incident> {
    let loss = newest_first.iter().any(|event| event.kind == "node-lost");
    let kinds = if loss { LOSS_BEGINS } else { BEGINS };
    let begins = |event: &&Event| kinds.contains(&event.kind.as_str());
    let place = newest_first.len() - 1 - newest_first.iter().rev().position(|event| begins(&event))?;
    let incident = &newest_first[..=place];
    let begin = &newest_first[place];
    let named = incident.iter().rev().find(|event| event.kind == "node-lost").unwrap_or(begin);
    let mut phases = Vec::new();
    let mut before = begin.at;
    for event in incident.iter().rev() {
        let Some((_, word)) = PHASES.iter().find(|(kind, _)| *kind == event.kind) else { continue };
        phases.push(Phase {
            word,
            subject: event.subject.clone(),
            took: seconds(event.at - before),
            after: seconds(event.at - begin.at),
        });
        before = event.at;
    }
    // A loss that nothing followed yet is told by its own line.
    let name = named.text.split(';').next().unwrap_or_default().trim_end_matches('.').to_owned();
    (phases.len() > 1).then(|| Incident { name, total: seconds(before - begin.at), phases })
}

fn seconds(ms: i64) -> String {
    format!("{}.{:03} s", ms / 1000, ms % 1000)
}

/// With milliseconds: the phases of a failover are shorter than a second.
fn time_ms(ms: i64) -> String {
    let text = time(ms);
    format!("{}.{:03} UTC", text.trim_end_matches(" UTC"), ms.rem_euclid(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at: i64, subject: &str, kind: &str, text: &str) -> Event {
        Event {
            id: at,
            at,
            subject_kind: "node".into(),
            subject: subject.into(),
            severity: "info".into(),
            kind: kind.into(),
            text: text.into(),
            reason: None,
        }
    }

    #[test]
    fn a_loss_names_its_incident_although_another_members_clock_has_it_later() {
        let events = [
            event(900_350, "node2", "fenced", "node2 has been fenced by node1 with method power"),
            event(900_002, "node2", "node-lost", "node2 was lost without a goodbye; its services wait"),
            event(900_000, "node2", "fence-decided", "Fencing node2 by node1, attempt 1"),
        ];
        let panel = EventsPanel::new(&events);
        let incident = panel.events[0].incident.as_ref().expect("an incident");
        assert_eq!(incident.name, "node2 was lost without a goodbye");
        assert_eq!(
            told(incident),
            ["fencing decided node2 0.000 0.000", "left the membership node2 0.002 0.002", "fenced node2 0.348 0.350"]
        );
    }

    #[test]
    fn a_service_moved_shortly_before_a_loss_does_not_lengthen_it() {
        let events = [
            event(904_400, "service:web", "service-started", "service:web is started"),
            event(900_000, "node2", "node-lost", "node2 was lost"),
            event(896_500, "service:web", "service-recovering", "service:web moves to node2"),
        ];
        let panel = EventsPanel::new(&events);
        let incident = panel.events[0].incident.as_ref().expect("an incident");
        assert_eq!(incident.total, "4.400 s");
        assert_eq!(told(incident), ["left the membership node2 0.000 0.000", "started service:web 4.400 4.400"]);
    }

    fn told(incident: &Incident) -> Vec<String> {
        let bare = |time: &str| time.trim_end_matches(" s").to_owned();
        let line =
            |phase: &Phase| format!("{} {} {} {}", phase.word, phase.subject, bare(&phase.took), bare(&phase.after));
        incident.phases.iter().map(line).collect()
    }

    #[test]
    fn a_failover_is_told_with_its_phases_and_a_quiet_day_is_not() {
        let events = [
            event(905_100, "service:web", "service-started", "service:web is started"),
            event(904_200, "node2", "fenced", "node2 was fenced"),
            event(900_040, "node2", "fence-decided", "node2 will be fenced"),
            event(900_000, "node2", "node-lost", "node2 was lost."),
            event(100_000, "node2", "node-joined", "node2 joined"),
        ];
        let panel = EventsPanel::new(&events);
        let incident = panel.events[0].incident.as_ref().expect("an incident");
        assert_eq!((incident.name.as_str(), incident.total.as_str()), ("node2 was lost", "5.100 s"));
        let phases = [
            "left the membership node2 0.000 0.000",
            "fencing decided node2 0.040 0.040",
            "fenced node2 4.160 4.200",
            "started service:web 0.900 5.100",
        ];
        assert_eq!(told(incident), phases);
        assert!(panel.events[1..].iter().all(|event| event.incident.is_none()));
        assert_eq!(panel.events[1].after.as_deref(), Some("+4.160 s"));
    }
}
