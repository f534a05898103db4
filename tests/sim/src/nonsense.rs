//! Messages that nobody means: whatever comes over the group, a member either cannot read it and drops it, or reads it and goes on, and no
//! message breaks what the law promises. Used by the test of the kept messages and their mutations, and by the fuzz target in `fuzz/`.
//!
//! Most of what is spoilt at random fails at the first gate (unknown service, another epoch, another view). So it is handed to members
//! in the middle of something (`listeners`), made to fit them first (`fitting`), and what comes of it is held against the state before (`judge`).

use std::collections::BTreeMap;

use engine::{Action, ConfText, Engine, Event, FenceId, GroupMember, Incarnation, Message, OfferId, RunId};
use shared::ids::{BootId, ConfDigest, ConfVersion, NodeId, NodeName, RequestId, ResourceName, ServiceName, Time};
use shared::status::{Command, Request};
use shared::why::Assumption;

use crate::rng::Rng;
use crate::sim::summary;

mod fitting;
mod judge;
mod listeners;

pub use listeners::{Listener, Situation, listeners};

use fitting::{Fitting, STRANGER};

/// Longer than the cluster.conf that a member takes.
const CONF_TOO_LONG: usize = 600_001;

/// Hands the bytes to every member: as they are, and made to fit it. `false`: they are no message, and are dropped. Panics where a member
/// does, and where what comes of it must not be.
pub fn deliver(listeners: &[Listener], bytes: &[u8]) -> bool {
    let Some(message) = read(bytes) else { return false };
    let seed = bytes.iter().fold(0, |seed: u64, byte| seed.rotate_left(7) ^ u64::from(*byte));
    for listener in listeners {
        let mut rng = Rng::new(seed);
        let mut talk = Talk::with(listener);
        talk.tell(STRANGER, &message);
        talk.tell_fitting(&mut rng, message.clone());
        talk.look(&mut rng);
    }
    true
}

/// Tells a member some messages, one after another, with an event between them now and then that does not fit either. Returns how
/// many there were, and how many of them could be read.
pub fn talk(listener: &Listener, rng: &mut Rng, kept: &[Vec<u8>]) -> (u64, u64) {
    let mut talk = Talk::with(listener);
    let (count, mut understood) = (1 + rng.below(5), 0);
    if let Some(state) = talk.state_for_it().filter(|_| talk.engine.replicated().is_none() && rng.chance(500)) {
        // What comes next finds a member that has just been given the state.
        talk.tell_fitting(rng, state);
    }
    for _ in 0..count {
        if rng.chance(150) {
            talk.befall(rng);
        }
        let bytes = if rng.chance(500) { spoil(rng, kept) } else { kept[rng.index(kept.len())].clone() };
        let Some(message) = read(&bytes) else { continue };
        understood += 1;
        if rng.chance(850) {
            talk.tell_fitting(rng, message);
        } else {
            talk.tell([NodeId(1), NodeId(2), STRANGER][rng.index(3)], &message);
        }
        if rng.chance(300) {
            talk.wait(rng.below(4_000));
        }
    }
    talk.look(rng);
    (count, understood)
}

fn read(bytes: &[u8]) -> Option<Message> {
    let message = Message::decode(bytes).ok()?;
    let again = Message::decode(&message.encode());
    assert!(again.is_ok_and(|again| again == message), "what was read is written otherwise");
    Some(message)
}

/// A member that is being told things, and another with the same state that hears the same.
pub struct Talk<'a> {
    listener: &'a Listener,
    pub engine: Engine,
    twin: Option<Engine>,
    now: Time,
    /// What it was told, for the one who reads of a failure.
    told: Vec<String>,
    nonce: u64,
    view: engine::ViewTag,
    /// What it has said of itself since.
    pub hello: Option<Message>,
}

impl<'a> Talk<'a> {
    pub fn with(listener: &'a Listener) -> Self {
        Self {
            listener,
            engine: listener.engine.clone(),
            twin: listener.twin.clone(),
            now: listener.now,
            told: Vec::new(),
            nonce: listener.nonce,
            view: listener.view,
            hello: None,
        }
    }

    /// The state that the member waits for, if it waits for one.
    pub fn state_for_it(&self) -> Option<Message> {
        let (to, nonce, view) = (self.listener.me, self.nonce, self.view);
        let state = Box::new(self.listener.group.clone()?);
        Some(Message::Snapshot { to, nonce, view, state })
    }

    fn tell_fitting(&mut self, rng: &mut Rng, message: Message) {
        let Some(state) = self.engine.replicated().or(self.listener.group.as_ref()).cloned() else {
            return self.tell(NodeId(1), &message);
        };
        let Listener { me, incarnation, .. } = *self.listener;
        let mut fitting = Fitting { rng, me, incarnation, nonce: self.nonce, view: self.view, state: &state };
        for (from, message) in fitting.fit(message) {
            // It travels like any other.
            assert!(read(&message.encode()).is_some(), "a message that fits cannot be read: {message:?}");
            self.tell(from, &message);
        }
    }

    /// A message is delivered, and what comes of it is judged.
    pub fn tell(&mut self, from: NodeId, message: &Message) {
        self.told.push(format!("n{from}: {}", summary(message)));
        let before = self.engine.replicated().cloned();
        let event = Event::Delivered { from, message: Box::new(message.clone()) };
        if let Some(twin) = &mut self.twin {
            let actions = twin.handle(self.now, event.clone());
            let ends = actions.iter().any(|action| matches!(action, Action::Exit { .. }));
            self.twin = self.twin.take().filter(|_| !ends);
        }
        self.handle(event);
        let Some(after) = self.engine.replicated() else { return };
        let Some(before) = before else {
            let member = after.members.contains_key(&self.listener.me);
            if !member || shared::conf::load(&after.conf.text).conf.is_none() {
                self.fail("it has taken a state that it cannot go by");
            }
            return;
        };
        if let Err(wrong) = judge::judge(&before, after, from, message) {
            self.fail(&wrong);
        }
        if let Some(other) = self.twin.as_ref().and_then(Engine::replicated)
            && other != after
        {
            self.fail("two members with the same state have heard the same and differ");
        }
    }

    /// Something befalls the member alone; from now on nobody else is like it.
    pub fn happen(&mut self, event: Event) -> Vec<Action> {
        self.told.push(format!("{event:?}").chars().take(200).collect());
        if matches!(event, Event::MembershipChanged { .. }) {
            self.twin = None;
        }
        self.handle(event)
    }

    pub fn wait(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        self.handle(Event::TimePassed);
    }

    fn handle(&mut self, event: Event) -> Vec<Action> {
        let actions = self.engine.handle(self.now, event);
        for action in &actions {
            if let Action::Multicast(message) = action
                && let Message::Hello(hello) = &**message
            {
                (self.nonce, self.view) = (hello.nonce, hello.view);
                self.hello = Some((**message).clone());
            }
            if let Action::Exit { .. } = action {
                self.twin = None;
            }
        }
        actions
    }

    /// An event that no driver would send, or not now.
    fn befall(&mut self, rng: &mut Rng) {
        let events = self.unfitting(rng);
        let event = events[rng.index(events.len())].clone();
        let again = matches!(event, Event::RequestReceived { .. });
        self.happen(event.clone());
        if again {
            self.happen(event);
        }
    }

    /// Events that fit nothing that the member has asked for.
    pub fn unfitting(&self, rng: &mut Rng) -> Vec<Event> {
        let service = self.engine.replicated().and_then(|state| state.services.keys().next().cloned());
        let (service, nobodys) = (service.unwrap_or_default(), ServiceName::from("service:nobody"));
        let resource = ResourceName::from("script:nobody");
        let evidence = Some("it is gone".to_owned());
        let run = |id, code| Event::RunFinished { id: RunId(id), code, output: "nonsense".into() };
        let fence = |attempt| {
            let id = FenceId { victim: STRANGER, attempt };
            Event::FenceFinished { id, succeeded: true, devices: Vec::new() }
        };
        let offer =
            |text: &str| Event::ConfOffered { offer: OfferId(9), text: text.to_owned(), origin: "nobody".into() };
        // Nothing else is wrong with it.
        let long = self.engine.replicated().map_or(String::new(), |state| {
            let version = |number: u64| format!("config_version=\"{number}\"");
            let now = state.conf.version.0;
            state.conf.text.replace(&version(now), &version(now + 5)) + &" ".repeat(CONF_TOO_LONG)
        });
        let conf = ConfText { version: ConfVersion(1), digest: ConfDigest("0".into()), text: "<cluster".into() };
        let command = Command::Restart { service: service.clone() };
        let request = Request { id: RequestId(format!("own {}", rng.below(3))), command, origin: "nobody".into() };
        let (own, other) = (GroupMember { node: self.listener.me, pid: 9 }, GroupMember { node: STRANGER, pid: 9 });
        let group = |members| Event::MembershipChanged { members, left: Vec::new(), joined: vec![other] };
        vec![
            run(u64::MAX, Some(0)),
            run(1_000_000, None),
            fence(1),
            fence(u32::MAX),
            Event::Noticed { service: nobodys, resource: resource.clone(), evidence: evidence.clone() },
            Event::Noticed { service, resource, evidence },
            Event::ConfStored { version: ConfVersion(99), digest: ConfDigest("0".into()), stored: Ok(()) },
            offer(""),
            offer("no XML"),
            offer("<cluster name=\"c\" config_version=\"99\"><clusternodes/></cluster>"),
            offer(&long),
            Event::RequestReceived { request },
            group(vec![other]),
            group(vec![own, other]),
            Event::LeaveRequested,
            Event::RestartRequested,
            Event::CorosyncLost,
            Event::Booted {
                node: NodeId(1),
                incarnation: Incarnation(1),
                boot: BootId::default(),
                conf,
                intents: None,
                started: BTreeMap::new(),
            },
        ]
    }

    /// Whatever it was told, it answers who asks.
    fn look(&mut self, rng: &mut Rng) {
        self.wait(1_000);
        let _ = self.engine.next_timeout(self.now);
        let status = self.engine.status(self.now);
        let known = self.engine.replicated().map_or(0, |state| state.services.len());
        if status.services.len() != known {
            self.fail("it does not show every service");
        }
        for service in status.services {
            if self.engine.explain(self.now, &service.name).is_none() {
                self.fail(&format!("it cannot say why {} is {}", service.name, service.state.name()));
            }
        }
        if rng.chance(900) {
            return;
        }
        let node = NodeName("n2".into());
        let command = Command::Standby { node: node.clone() };
        let text = self.engine.replicated().map(|state| state.conf.text.clone()).unwrap_or_default();
        let assumptions = [Assumption::NodeLost { node }, Assumption::Request { command }, Assumption::Conf { text }];
        let prediction = self.engine.predict(self.now, &assumptions[rng.index(3)]);
        if prediction.refused.is_none() && !self.engine.is_quorate() {
            self.fail("it foresees something without quorum");
        }
    }

    fn fail(&self, what: &str) -> ! {
        panic!("{what}; a member ({:?}) was told:\n{}", self.listener.situation, self.told.join("\n"))
    }
}

/// The kind of a message, e.g. `decide-start`, as the kept ones are named.
pub fn kind_of(bytes: &[u8]) -> String {
    // A state is long, and says what it is at its beginning.
    let text = String::from_utf8_lossy(&bytes[bytes.len().min(1)..bytes.len().min(2_000)]).into_owned();
    let word_after = |mark: &str| {
        let rest = &text[text.find(mark)? + mark.len()..];
        let rest = rest.trim_start_matches(['{', '"']);
        Some(rest.split('"').next().unwrap_or_default().to_owned())
    };
    let outer = word_after("{").unwrap_or_default();
    let inner = match outer.as_str() {
        "decide" => word_after("\"decision\":"),
        "report" => word_after("\"outcome\":"),
        "request" => word_after("\"command\":\""),
        _ => None,
    };
    inner.map_or(outer.clone(), |inner| format!("{outer}-{inner}"))
}

/// The first message of each kind that the lives of these seeds bring.
pub fn collect(seeds: std::ops::Range<u64>) -> BTreeMap<String, Vec<u8>> {
    let mut kept = BTreeMap::new();
    for seed in seeds {
        for bytes in crate::random::messages_of(seed) {
            kept.entry(kind_of(&bytes)).or_insert(bytes);
        }
    }
    kept
}

/// A message spoilt in one of the ways in which bytes are spoilt, or in which a program writes what it should not.
pub fn spoil(rng: &mut Rng, kept: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = kept[rng.index(kept.len())].clone();
    for _ in 0..=rng.below(3) {
        if bytes.is_empty() {
            return bytes;
        }
        let at = rng.index(bytes.len());
        match rng.below(8) {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << rng.below(8),
            2 => bytes.insert(at, u8::try_from(rng.below(256)).unwrap_or(0)),
            3 => {
                bytes.remove(at);
            }
            4..=5 => replace_number(rng, &mut bytes, at),
            6 => {
                // The end of another message behind the beginning of this one.
                let other = &kept[rng.index(kept.len())];
                let from = rng.index(other.len().max(1));
                bytes.truncate(at);
                bytes.extend_from_slice(other.get(from..).unwrap_or_default());
            }
            _ => {
                let other = &kept[rng.index(kept.len())];
                replace_word(rng, &mut bytes, at, other);
            }
        }
    }
    bytes
}

/// The next number becomes one at the edge of what fits.
fn replace_number(rng: &mut Rng, bytes: &mut Vec<u8>, at: usize) {
    let Some(from) = bytes[at..].iter().position(u8::is_ascii_digit).map(|offset| at + offset) else { return };
    let to = bytes[from..].iter().position(|byte| !byte.is_ascii_digit()).map_or(bytes.len(), |offset| from + offset);
    let edges = ["0", "1", "255", "4294967295", "18446744073709551615", "9223372036854775808", "-1"];
    bytes.splice(from..to, edges[rng.index(edges.len())].bytes());
}

/// The next quoted word becomes one of another message.
fn replace_word(rng: &mut Rng, bytes: &mut Vec<u8>, at: usize, other: &[u8]) {
    let words: Vec<&[u8]> = other.split(|byte| *byte == b'"').skip(1).step_by(2).collect();
    if words.is_empty() {
        return;
    }
    let word = words[rng.index(words.len())].to_vec();
    let Some(from) = bytes[at..].iter().position(|byte| *byte == b'"').map(|offset| at + offset + 1) else { return };
    let Some(to) = bytes[from..].iter().position(|byte| *byte == b'"').map(|offset| from + offset) else { return };
    bytes.splice(from..to, word);
}
