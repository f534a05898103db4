//! The timeline: what happened, newest first, and for each loss or failure how long its phases took.

use askama::Template;

use super::badge::{self, Badge};
use super::time;
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
    /// The phases of the incident that ends with this event.
    pub incident: Option<String>,
}

/// Events further apart than this belong to different incidents.
const INCIDENT_GAP_MS: i64 = 120_000;

/// The timeline, newest first.
#[derive(Debug, Template)]
#[template(path = "panels/events.html")]
pub struct EventsPanel {
    pub events: Vec<EventLine>,
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
        let mut panel = Self { events };
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
/// Its phases: kind and word.
const PHASES: &[(&str, &str)] = &[
    ("fence-decided", "fencing decided"),
    ("fence-failed", "fencing failed"),
    ("fenced", "fenced"),
    ("service-started", "started"),
];

/// From the first loss or failure to the end, phase by phase; `None` if nothing was lost. Members tell with their own
/// clocks, so the decision to fence may bear an earlier time than the loss; the loss names the incident all the same.
fn phases(newest_first: &[Event]) -> Option<String> {
    let begins = |event: &&Event| BEGINS.contains(&event.kind.as_str());
    let place = newest_first.len() - 1 - newest_first.iter().rev().position(|event| begins(&event))?;
    let incident = &newest_first[..=place];
    let begin = &newest_first[place];
    let named = incident.iter().rev().find(|event| event.kind == "node-lost").unwrap_or(begin);
    let mut said = Vec::new();
    for event in incident.iter().rev() {
        if let Some((_, word)) = PHASES.iter().find(|(kind, _)| *kind == event.kind) {
            said.push(
                format!("{} {word} after {}", event.subject, seconds(event.at - begin.at)).trim_start().to_owned(),
            );
        }
    }
    let name = named.text.split(';').next().unwrap_or_default().trim_end_matches('.');
    (!said.is_empty()).then(|| format!("{name} → {}", said.join(" → ")))
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
        let incident =
            "node2 was lost without a goodbye → node2 fencing decided after 0.000 s → node2 fenced after 0.350 s";
        assert_eq!(EventsPanel::new(&events).events[0].incident.as_deref(), Some(incident));
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
        assert_eq!(
            panel.events[0].incident.as_deref(),
            Some(
                "node2 was lost → node2 fencing decided after 0.040 s → node2 fenced after 4.200 s → service:web started after 5.100 s"
            )
        );
        assert!(panel.events[1..].iter().all(|event| event.incident.is_none()));
        assert_eq!(panel.events[1].after.as_deref(), Some("+4.160 s"));
    }
}
