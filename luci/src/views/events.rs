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
    /// The same as a picture: one lane per node and service, in the order in which they come into it.
    pub lanes: Vec<Lane>,
}

/// What became of one node or service during an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// Empty: the cluster.
    pub subject: String,
    pub bars: Vec<Bar>,
}

/// A time between two steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bar {
    /// Of `LANE_WIDTH`, which is the whole incident and a little more.
    pub from: i64,
    pub width: i64,
    /// How it stands from this step on.
    pub class: &'static str,
    /// The step; empty: none of its own yet.
    pub word: &'static str,
}

impl Bar {
    /// Bars differ in height as well as in colour.
    pub fn height(&self) -> i64 {
        match self.class {
            "bad" => 10,
            "warn" => 8,
            "busy" => 6,
            _ => 3,
        }
    }
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
const RECOVERY: &str = "recovery decided";
/// Its phases: kind, word, and how it stands from then on.
const PHASES: &[(&str, &str, &str)] = &[
    ("node-lost", "left the membership", "bad"),
    ("quorum-lost", "quorum lost", "bad"),
    ("quorum-regained", "quorum regained", "ok"),
    ("resource-failed", "failure noticed", "bad"),
    ("fence-decided", "fencing decided", "warn"),
    ("fence-failed", "fencing failed", "bad"),
    ("fenced", "fenced", "off"),
    ("service-recovering", RECOVERY, "bad"),
    ("service-stopped", "stopped", "off"),
    ("service-starting", "start decided", "busy"),
    ("service-started", "started", "ok"),
];

/// Width of the picture of an incident.
pub const LANE_WIDTH: i64 = 1000;
/// What is left for the time after the last step, so that its outcome is seen.
const AFTERWARDS: i64 = 60;

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
    let mut steps = Vec::new();
    let mut before = begin.at;
    for event in incident.iter().rev() {
        let Some((_, word, class)) = PHASES.iter().find(|(kind, ..)| *kind == event.kind) else { continue };
        steps.push(Step { subject: &event.subject, word, class, at: event.at - begin.at });
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
    let total = before - begin.at;
    (phases.len() > 1).then(|| Incident { name, total: seconds(total), phases, lanes: lanes(&steps, total, loss) })
}

/// A phase as the picture needs it.
struct Step<'a> {
    subject: &'a str,
    word: &'static str,
    class: &'static str,
    /// Milliseconds since the incident began.
    at: i64,
}

/// The steps as a picture; nothing where all of them have the same time.
fn lanes(steps: &[Step<'_>], total: i64, loss: bool) -> Vec<Lane> {
    if total <= 0 {
        return Vec::new();
    }
    let place = |at: i64| at.clamp(0, total) * (LANE_WIDTH - AFTERWARDS) / total;
    let mut subjects: Vec<&str> = Vec::new();
    for step in steps {
        if !subjects.contains(&step.subject) {
            subjects.push(step.subject);
        }
    }
    let lane = |subject: &str| {
        let own: Vec<&Step<'_>> = steps.iter().filter(|step| step.subject == subject).collect();
        let mut bars = Vec::with_capacity(own.len() + 1);
        // Who was lost had it: nobody serves until it is recovered. What failed by itself did so then.
        if let Some(first) = own.first().filter(|first| loss && first.word == RECOVERY && first.at > 0) {
            bars.push(Bar { from: 0, width: place(first.at), class: "bad", word: "" });
        }
        for (number, step) in own.iter().enumerate() {
            let from = place(step.at);
            let until = own.get(number + 1).map_or(LANE_WIDTH, |next| place(next.at));
            bars.push(Bar { from, width: (until - from).max(1), class: step.class, word: step.word });
        }
        Lane { subject: subject.to_owned(), bars }
    };
    subjects.into_iter().map(lane).collect()
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

    #[test]
    fn a_service_of_the_lost_node_is_drawn_as_down_from_the_loss_and_one_that_failed_later_from_then() {
        let events = [
            event(910_000, "service:web", "service-started", "service:web is now running on node1"),
            event(908_000, "service:web", "service-starting", "Starting service service:web on node1"),
            event(907_000, "service:db", "resource-failed", "service:db: monitor returned 7"),
            event(905_000, "service:web", "service-recovering", "service:web is recovering, was on node2"),
            event(904_000, "node2", "fenced", "node2 was fenced"),
            event(900_000, "node2", "node-lost", "node2 was lost."),
        ];
        let panel = EventsPanel::new(&events);
        let lanes = &panel.events[0].incident.as_ref().expect("an incident").lanes;
        let bars = |subject: &str| {
            let lane = lanes.iter().find(|lane| lane.subject == subject).expect(subject);
            lane.bars.iter().map(|bar| (bar.from, bar.width, bar.class)).collect::<Vec<_>>()
        };
        assert_eq!(bars("service:web"), [(0, 470, "bad"), (470, 282, "bad"), (752, 188, "busy"), (940, 60, "ok")]);
        assert_eq!(bars("service:db"), [(658, 342, "bad")]);
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
        let drawn = |lane: &Lane| {
            let bar = |bar: &Bar| format!("{}+{} {} {}", bar.from, bar.width, bar.class, bar.word);
            format!("{}: {}", lane.subject, lane.bars.iter().map(bar).collect::<Vec<_>>().join(", "))
        };
        // 5.1 s are 940 of 1000.
        assert_eq!(
            incident.lanes.iter().map(drawn).collect::<Vec<_>>(),
            [
                "node2: 0+7 bad left the membership, 7+767 warn fencing decided, 774+226 off fenced",
                "service:web: 940+60 ok started",
            ]
        );
        assert!(panel.events[1..].iter().all(|event| event.incident.is_none()));
        assert_eq!(panel.events[1].after.as_deref(), Some("+4.160 s"));
    }
}
