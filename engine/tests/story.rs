//! The main story on a perfect bus: three engines, every message delivered at once and in order, agents and fences that
//! succeed at once. What goes wrong in the world is the simulator's room; here the path itself is shown. Below it, single
//! engines that are handed one message after another: moments that a whole world seldom comes to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use engine::{
    Action, Branch, ConfText, Decide, Decision, Engine, Event, GroupMember, Incarnation, LeftReason, Message, OfferId,
    Operation, PROTOCOL, SILENT_FOUNDER_MS, law,
};
use shared::ids::{BootId, ConfDigest, ConfVersion, NodeId, RequestId, ServiceName, Time};
use shared::socket::PutConf;
use shared::status::{Answer, Command, FactKind, FactSeverity, Placement, Reason, Request, ResourceState};
use shared::text::ServiceState;

const CONF: &str = r#"<?xml version="1.0"?>
<cluster name="alpha" config_version="1">
  <fence_daemon post_join_delay="3"/>
  <clusternodes>
    <clusternode name="node1" nodeid="1"><fence><method name="power"><device name="bmc1"/></method></fence></clusternode>
    <clusternode name="node2" nodeid="2"><fence><method name="power"><device name="bmc2"/></method></fence></clusternode>
    <clusternode name="node3" nodeid="3"><fence><method name="power"><device name="bmc3"/></method></fence></clusternode>
  </clusternodes>
  <fencedevices>
    <fencedevice name="bmc1" agent="fence_ipmilan" ipaddr="10.0.0.1"/>
    <fencedevice name="bmc2" agent="fence_ipmilan" ipaddr="10.0.0.2"/>
    <fencedevice name="bmc3" agent="fence_ipmilan" ipaddr="10.0.0.3"/>
  </fencedevices>
  <rm>
    <service name="web"><ip address="10.0.0.100/24"/><apache name="www" config_file="/etc/apache2/apache2.conf"/></service>
  </rm>
</cluster>
"#;

fn booted(node: NodeId, text: &str) -> Event {
    let conf = ConfText { version: ConfVersion(1), digest: shared::conf::digest(text), text: text.into() };
    let (incarnation, boot) = (Incarnation(u64::from(node.0)), BootId(format!("boot-{node}")));
    Event::Booted { node, incarnation, boot, conf, intents: None, started: BTreeMap::new() }
}

struct Bus {
    engines: BTreeMap<NodeId, Engine>,
    now: Time,
    ring: u64,
    queue: VecDeque<(NodeId, Event)>,
    group: Vec<GroupMember>,
    running: BTreeMap<NodeId, Vec<String>>,
    answers: Vec<Answer>,
    /// Daemons that stand still: what is meant for them waits.
    still: BTreeSet<NodeId>,
    waiting: Vec<(NodeId, Event)>,
    /// Nodes whose quorum service still counts: its word waits.
    uncounted: BTreeSet<NodeId>,
    /// The resource whose start does not end.
    hangs: Option<&'static str>,
    /// What an agent prints when it fails.
    output: String,
    /// What else the engines wanted.
    wanted: Vec<(NodeId, Action)>,
    founded_by: Vec<NodeId>,
    /// Members that told corosync of a new configuration.
    reloaded_by: Vec<NodeId>,
    /// Configurations written to a disk.
    stored: Vec<(NodeId, ConfDigest)>,
    quorate_from: usize,
}

impl Bus {
    fn boot(nodes: u32) -> Self {
        Self::boot_quorate_from(nodes, nodes as usize / 2 + 1)
    }

    fn boot_quorate_from(nodes: u32, quorate_from: usize) -> Self {
        Self::boot_speaking(nodes, quorate_from, PROTOCOL)
    }

    /// The last node speaks this protocol.
    fn boot_speaking(nodes: u32, quorate_from: usize, last: u8) -> Self {
        let mut bus = Self {
            quorate_from,
            engines: BTreeMap::new(),
            now: Time(1_000_000),
            ring: 1,
            queue: VecDeque::new(),
            group: Vec::new(),
            running: BTreeMap::new(),
            answers: Vec::new(),
            still: BTreeSet::new(),
            waiting: Vec::new(),
            uncounted: BTreeSet::new(),
            hangs: None,
            output: String::new(),
            wanted: Vec::new(),
            founded_by: Vec::new(),
            reloaded_by: Vec::new(),
            stored: Vec::new(),
        };
        for id in (1..=nodes).map(NodeId) {
            let protocol = if id.0 == nodes { last } else { PROTOCOL };
            bus.start(id, Engine::new(law::check).speaking(protocol), CONF);
        }
        bus
    }

    /// A daemon starts, with this cluster.conf on its disk.
    fn start(&mut self, node: NodeId, engine: Engine, text: &str) {
        self.engines.insert(node, engine);
        self.queue.push_back((node, booted(node, text)));
        self.settle();
    }

    fn settle(&mut self) {
        let mut steps = 0;
        while let Some((node, event)) = self.queue.pop_front() {
            steps += 1;
            let uncounted = self.uncounted.contains(&node) && matches!(event, Event::QuorumChanged { .. });
            if uncounted || self.still.contains(&node) {
                self.waiting.push((node, event));
                continue;
            }
            assert!(steps < 20_000, "the engines talk without end");
            let Some(engine) = self.engines.get_mut(&node) else { continue };
            let actions = engine.handle(self.now, event);
            for action in actions {
                self.perform(node, action);
            }
        }
    }

    fn everyone(&mut self, event: &Event) {
        for node in self.engines.keys() {
            if self.group.iter().any(|member| member.node == *node) {
                self.queue.push_back((*node, event.clone()));
            }
        }
    }

    fn announce(&mut self, left: Vec<(GroupMember, LeftReason)>, joined: Vec<GroupMember>, quorate: bool) {
        let members = self.group.clone();
        let ids: Vec<NodeId> = members.iter().map(|member| member.node).collect();
        self.ring += 1;
        self.everyone(&Event::MembershipChanged { members, left, joined });
        self.everyone(&Event::RingChanged { ring_seq: self.ring, members: ids.clone() });
        let ring_seq = self.ring;
        self.everyone(&Event::QuorumChanged { ring_seq, quorate, votes: None, votes_expected: None, members: ids });
    }

    fn perform(&mut self, node: NodeId, action: Action) {
        match action {
            Action::JoinGroup => {
                let member = GroupMember { node, pid: 100 + node.0 };
                self.group.push(member);
                let quorate = self.group.len() >= self.quorate_from;
                self.announce(Vec::new(), vec![member], quorate);
            }
            Action::Multicast(message) => {
                if matches!(*message, Message::Found { .. }) {
                    self.founded_by.push(node);
                }
                self.everyone(&Event::Delivered { from: node, message });
            }
            Action::RunAgent { id, run } => {
                let mine = self.running.entry(node).or_default();
                let name = run.resource.name.0.clone();
                let code = match run.operation {
                    Operation::Start if self.hangs == Some(name.as_str()) => return,
                    Operation::Start => {
                        mine.push(name);
                        0
                    }
                    Operation::Stop => {
                        mine.retain(|other| *other != name);
                        0
                    }
                    Operation::Monitor | Operation::MigrateTo | Operation::MigrateFrom => {
                        if mine.contains(&name) {
                            0
                        } else {
                            7
                        }
                    }
                };
                let output = if code == 0 { String::new() } else { self.output.clone() };
                self.queue.push_back((node, Event::RunFinished { id, code: Some(code), output }));
            }
            Action::RunFence { id, .. } => {
                self.running.remove(&id.victim);
                self.queue.push_back((node, Event::FenceFinished { id, succeeded: true, devices: Vec::new() }));
            }
            Action::StoreConf { conf } => {
                self.stored.push((node, conf.digest.clone()));
                let stored = Event::ConfStored { version: conf.version, digest: conf.digest, stored: Ok(()) };
                self.queue.push_back((node, stored));
            }
            Action::SwitchConf { reload_corosync: true, .. } => self.reloaded_by.push(node),
            Action::Answer { answer, .. } => self.answers.push(answer),
            other => self.wanted.push((node, other)),
        }
    }

    fn lose(&mut self, node: NodeId) {
        let gone: Vec<GroupMember> = self.group.iter().filter(|member| member.node == node).copied().collect();
        self.group.retain(|member| member.node != node);
        self.engines.remove(&node);
        self.announce(gone.into_iter().map(|member| (member, LeftReason::NodeDown)).collect(), Vec::new(), true);
        self.settle();
    }

    fn awake(&self) -> impl Iterator<Item = NodeId> {
        self.engines.keys().copied().filter(|node| !self.still.contains(node))
    }

    fn wait_ms(&mut self, ms: u64) {
        let until = self.now.plus_ms(ms);
        while let Some(at) =
            self.awake().filter_map(|node| self.engines[&node].next_timeout(self.now)).min().filter(|at| *at <= until)
        {
            self.now = at.max(self.now.plus_ms(1));
            for node in self.awake().collect::<Vec<_>>() {
                self.queue.push_back((node, Event::TimePassed));
            }
            self.settle();
        }
        self.now = until;
    }

    fn service(&self, on: u32) -> (ServiceState, Option<NodeId>) {
        let state = self.engines[&NodeId(on)].replicated().expect("the node holds the state");
        let record = &state.services[&ServiceName::from("service:web")];
        (record.state, record.holder)
    }

    fn request(&mut self, on: u32, command: Command) {
        let request =
            Request { id: RequestId(format!("r{}", self.answers.len())), command, origin: "root@test".into() };
        self.queue.push_back((NodeId(on), Event::RequestReceived { request }));
        self.settle();
    }

    /// One event at one engine; nothing is done of what it wants.
    fn ask(&mut self, node: u32, event: Event) -> Vec<Action> {
        self.engines.get_mut(&NodeId(node)).expect("the node is there").handle(self.now, event)
    }

    fn owners(&self) -> Vec<NodeId> {
        self.running.iter().filter(|(_, running)| !running.is_empty()).map(|(&node, _)| node).collect()
    }
}

#[test]
fn a_service_starts_on_one_node_and_survives_its_owner() {
    let mut bus = Bus::boot(3);
    assert_eq!(bus.service(1), (ServiceState::Started, Some(NodeId(1))));
    assert_eq!(bus.owners(), [NodeId(1)]);
    assert_eq!(bus.running[&NodeId(1)], ["ip:10.0.0.100/24", "apache:www"]);

    bus.lose(NodeId(1));
    bus.wait_ms(100);
    assert_eq!(bus.owners(), [NodeId(2)]);
    assert_eq!(bus.service(2), (ServiceState::Started, Some(NodeId(2))));
    assert_eq!(bus.engines[&NodeId(2)].replicated(), bus.engines[&NodeId(3)].replicated());
}

#[test]
fn requests_move_stop_and_start_a_service() {
    let mut bus = Bus::boot(3);
    let service = ServiceName::from("service:web");
    bus.request(3, Command::Relocate { service: service.clone(), to: Some("node3".into()) });
    assert_eq!(bus.owners(), [NodeId(3)]);
    bus.request(2, Command::Disable { service: service.clone() });
    assert_eq!(bus.owners(), []);
    assert_eq!(bus.service(2).0, ServiceState::Disabled);
    bus.request(2, Command::Enable { service: service.clone(), on: None, by_domain: false });
    assert_eq!(bus.owners(), [NodeId(2)], "enabled where it was typed");
    bus.request(1, Command::Restart { service: service.clone() });
    assert_eq!(bus.owners(), [NodeId(2)]);
    bus.request(1, Command::Stop { service: service.clone() });
    assert_eq!(bus.service(1), (ServiceState::Stopped, None));
    bus.wait_ms(60_000);
    assert_eq!(bus.service(1), (ServiceState::Stopped, None), "stays stopped until something changes");
    bus.lose(NodeId(3));
    assert_eq!(bus.service(1).0, ServiceState::Started, "a membership change starts it again");
    assert!(bus.answers.iter().all(|answer| *answer == Answer::Accepted), "{:?}", bus.answers);
}

#[test]
fn a_new_configuration_comes_into_force_on_all_and_touches_only_what_changed() {
    let mut bus = Bus::boot(3);
    let text = CONF.replace("config_version=\"1\"", "config_version=\"2\"").replace(
        "<apache name=\"www\" config_file=\"/etc/apache2/apache2.conf\"/>",
        "<script name=\"app\" file=\"/etc/init.d/app\"/>",
    );
    let event = Event::ConfOffered { offer: OfferId(1), text, origin: "test".into() };
    bus.queue.push_back((NodeId(2), event));
    bus.settle();
    assert_eq!(bus.running[&NodeId(1)], ["ip:10.0.0.100/24", "script:app"]);
    for engine in bus.engines.values() {
        assert_eq!(engine.replicated().unwrap().conf.version.0, 2);
        let service = engine.status(bus.now).services.remove(0);
        let resources: Vec<_> = service.resources.iter().map(|it| (it.name.0.as_str(), it.state)).collect();
        assert_eq!(resources, [("ip:10.0.0.100/24", ResourceState::Started), ("script:app", ResourceState::Started)]);
    }
    assert_eq!(bus.service(3).0, ServiceState::Started);
    assert_eq!(bus.reloaded_by, [NodeId(1)], "one member tells corosync, the coordinator");
}

#[test]
fn a_joiner_whose_cluster_conf_differs_under_the_same_version_takes_the_one_in_force() {
    let mut bus = Bus::boot(2);
    bus.stored.clear();
    bus.start(NodeId(3), Engine::new(law::check), &CONF.replace("10.0.0.100/24", "10.0.0.200/24"));
    assert!(bus.engines[&NodeId(3)].replicated().is_some(), "it has joined");
    assert_eq!(bus.stored, [(NodeId(3), shared::conf::digest(CONF))]);
}

#[test]
fn how_far_the_resources_of_a_service_are_is_known_to_every_member() {
    let bus = Bus::boot(3);
    for engine in bus.engines.values() {
        let record = &engine.replicated().unwrap().services[&ServiceName::from("service:web")];
        let names: Vec<&str> = record.resources.iter().map(|resource| resource.name.as_str()).collect();
        assert_eq!(names, ["ip:10.0.0.100/24", "apache:www"]);
    }
}

#[test]
fn a_fencing_is_witnessed_if_corosync_has_lost_the_victim_by_then() {
    let mut bus = Bus::boot(3);
    bus.lose(NodeId(1));
    bus.wait_ms(100);
    let fenced = |bus: &Bus, node| bus.engines[&NodeId(2)].replicated().unwrap().last_fenced[&NodeId(node)].clone();
    assert!(fenced(&bus, 1).witnessed_gone);
    // The agent says that it is done, and node3 is in the ring still.
    bus.request(2, Command::Fence { node: "node3".into() });
    assert!(!fenced(&bus, 3).witnessed_gone);
}

/// Its text leaves that out, for the cause says it already; programs that read the status do not parse texts.
#[test]
fn a_move_to_a_better_node_names_the_failover_domain_as_what_sets_that_node_apart() {
    let mut bus = Bus::boot(3);
    let domain = "<failoverdomains><failoverdomain name=\"first\" ordered=\"1\">\
                  <failoverdomainnode name=\"node1\" priority=\"1\"/></failoverdomain></failoverdomains>\
                  <service name=\"web\" domain=\"first\">";
    let text = CONF.replace("config_version=\"1\"", "config_version=\"2\"").replace("<service name=\"web\">", domain);
    bus.queue.push_back((NodeId(2), Event::ConfOffered { offer: OfferId(1), text, origin: "test".into() }));
    bus.settle();
    bus.request(2, Command::Standby { node: "node1".into() });
    bus.request(2, Command::Relocate { service: ServiceName::from("service:web"), to: Some("node3".into()) });
    assert_eq!(bus.owners(), [NodeId(3)]);
    bus.request(2, Command::Unstandby { node: "node1".into() });
    assert_eq!(bus.owners(), [NodeId(1)]);
    let state = bus.engines[&NodeId(2)].replicated().unwrap();
    let reason = &state.services[&ServiceName::from("service:web")].reason;
    let Reason::Placed { because, placement, .. } = reason else { panic!("{reason:?}") };
    assert!(matches!(**because, Reason::BetterNode { .. }), "{because:?}");
    assert_eq!(*placement, Placement::DomainScore);
}

#[test]
fn a_member_that_leaves_gives_its_services_away_first() {
    let mut bus = Bus::boot(3);
    bus.queue.push_back((NodeId(1), Event::LeaveRequested));
    bus.settle();
    assert_eq!(bus.owners(), [NodeId(2)]);
    let gone = GroupMember { node: NodeId(1), pid: 101 };
    bus.group.retain(|member| member.node != NodeId(1));
    bus.engines.remove(&NodeId(1));
    bus.announce(vec![(gone, LeftReason::Leave)], Vec::new(), true);
    bus.settle();
    bus.wait_ms(30_000);
    assert!(bus.engines[&NodeId(2)].replicated().unwrap().lost.is_empty(), "nobody fences who said goodbye");
}

#[test]
fn a_node_that_is_to_be_fenced_founds_nothing_while_the_one_who_holds_the_state_stands_still() {
    // node1 founds alone; the only hello of node2 in the membership that lasts says that it has no state yet.
    let mut bus = Bus::boot_quorate_from(2, 1);
    bus.founded_by.clear();
    let request = Request {
        id: RequestId("fence".into()),
        command: Command::Fence { node: "node1".into() },
        origin: "root@test".into(),
    };
    bus.queue.push_back((NodeId(2), Event::RequestReceived { request }));
    let Some((node, event)) = bus.queue.pop_front() else { panic!("the request waits") };
    let actions = bus.engines.get_mut(&node).map(|engine| engine.handle(bus.now, event)).unwrap_or_default();
    // It has sent it, but takes nothing more for now.
    bus.still.insert(NodeId(2));
    for action in actions {
        bus.perform(node, action);
    }
    bus.settle();
    bus.wait_ms(30_000);
    assert!(bus.engines[&NodeId(1)].replicated().is_none(), "it has given up its state");
    assert_eq!(bus.founded_by, [], "node2 holds the state, whatever its hello said");
}

/// What a node sends in answer to an event.
fn sent(engine: &mut Engine, now: Time, event: Event) -> Vec<Message> {
    let actions = engine.handle(now, event);
    actions
        .into_iter()
        .filter_map(|action| match action {
            Action::Multicast(message) => Some(*message),
            _ => None,
        })
        .collect()
}

fn delivered(from: u32, message: &Message) -> Event {
    Event::Delivered { from: NodeId(from), message: Box::new(message.clone()) }
}

/// Nodes in one quorate group, each with its first hello, which is not delivered yet.
fn group<const N: usize>(now: Time, release: impl Fn(Engine) -> Engine) -> [(Engine, Message); N] {
    let ids: [u32; N] = std::array::from_fn(|index| index as u32 + 1);
    let group: Vec<GroupMember> = ids.map(|id| GroupMember { node: NodeId(id), pid: 100 + id }).to_vec();
    let members: Vec<NodeId> = group.iter().map(|member| member.node).collect();
    ids.map(|id| {
        let mut engine = release(Engine::new(law::check));
        for action in engine.handle(now, booted(NodeId(id), CONF)) {
            if let Action::RunAgent { id, .. } = action {
                engine.handle(now, Event::RunFinished { id, code: Some(7), output: String::new() });
            }
        }
        let joined = Event::MembershipChanged { members: group.clone(), left: Vec::new(), joined: group.clone() };
        let hello = sent(&mut engine, now, joined).pop().expect("it says hello");
        engine.handle(now, Event::RingChanged { ring_seq: 1, members: members.clone() });
        engine.handle(now, quorum(1, true));
        (engine, hello)
    })
}

fn quorum(ring_seq: u64, quorate: bool) -> Event {
    Event::QuorumChanged { ring_seq, quorate, votes: None, votes_expected: None, members: Vec::new() }
}

fn two_in_a_group(now: Time) -> (Engine, Engine, Message, Message) {
    let [(one, first), (two, second)] = group(now, |engine| engine);
    (one, two, first, second)
}

/// A founding by these nodes, from their hellos.
fn found(now: Time, hellos: &[&Message]) -> Message {
    let mut view = engine::ViewTag(0);
    let mut members = BTreeMap::new();
    for (id, hello) in (1..).map(NodeId).zip(hellos) {
        let Message::Hello(hello) = hello else { panic!("{hello:?} is no hello") };
        view = hello.view;
        members.insert(id, hello.nonce);
    }
    Message::Found { at: now, view, members }
}

#[test]
fn a_cluster_is_founded_from_the_hellos_that_the_founder_named() {
    let now = Time(1_000_000);
    let (mut one, mut two, first, second) = two_in_a_group(now);
    for engine in [&mut one, &mut two] {
        engine.handle(now, delivered(1, &first));
    }
    let found = sent(&mut one, now, delivered(2, &second)).pop().expect("it founds");
    assert!(matches!(found, Message::Found { .. }));
    two.handle(now, delivered(2, &second));
    // node2 says hello anew before it hears of the founding.
    let later = now.plus_ms(engine::HELLO_AGAIN_MS);
    let again = sent(&mut two, later, Event::TimePassed).pop().expect("it says hello again");
    one.handle(later, delivered(2, &again));
    two.handle(later, delivered(2, &again));
    let anew = sent(&mut one, later, delivered(1, &found)).pop().expect("it founds anew");
    two.handle(later, delivered(1, &found));
    assert!(one.replicated().is_none() && two.replicated().is_none(), "the hello it names is not the newest");
    one.handle(later, delivered(1, &anew));
    two.handle(later, delivered(1, &anew));
    assert!(one.replicated().is_some());
    assert_eq!(one.replicated(), two.replicated());
}

#[test]
fn nothing_is_founded_beside_a_member_that_says_in_time_that_it_holds_a_state() {
    let now = Time(1_000_000);
    let (mut one, _, first, second) = two_in_a_group(now);
    one.handle(now, delivered(1, &first));
    // node2 has been silent for so long that node1 founds without it; its hello comes before the founding does.
    let later = now.plus_ms(SILENT_FOUNDER_MS);
    let said = sent(&mut one, later, Event::TimePassed);
    let found = said.iter().find(|message| matches!(message, Message::Found { .. })).expect("it founds");
    assert_ne!(one.next_timeout(later), Some(later), "it has just been woken for that");
    let Message::Hello(mut hello) = second else { panic!("it was a hello") };
    hello.state = Some(engine::StateTag {
        branch: Branch(1),
        history: 1,
        was_quorate: true,
        quorate_ring: 1,
        decided: 0,
        lowest: NodeId(2),
    });
    one.handle(later, delivered(2, &Message::Hello(hello)));
    one.handle(later, delivered(1, found));
    assert!(one.replicated().is_none());
}

#[test]
fn a_node_that_has_said_goodbye_says_hello_to_nobody() {
    let now = Time(1_000_000);
    let (mut one, _, _, _) = two_in_a_group(now);
    let said = sent(&mut one, now, Event::LeaveRequested);
    assert!(matches!(said[..], [Message::Goodbye { .. }]), "{said:?}");
    // The others would take it for a joiner, and fence it when it goes.
    let members = [1, 2, 3].map(|id| GroupMember { node: NodeId(id), pid: 100 + id }).to_vec();
    let joined = vec![GroupMember { node: NodeId(3), pid: 103 }];
    let said = sent(&mut one, now, Event::MembershipChanged { members, left: Vec::new(), joined });
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn a_joiner_takes_the_snapshot_that_answers_its_own_newest_hello() {
    let now = Time(1_000_000);
    let (mut one, _, first, _) = two_in_a_group(now);
    one.handle(now, delivered(1, &first));
    let Message::Hello(hello) = first else { panic!("it was a hello") };
    // A state in which this node is a member already: it has asked before, and was let in.
    let state = Bus::boot(2).engines[&NodeId(2)].replicated().cloned().expect("node2 holds a state");
    let text = serde_json::to_string(&state).expect("a state can be written");
    let nonce = hello.nonce;
    let piece = |to, nonce| Message::SnapshotPiece { to: NodeId(to), nonce, number: 0, count: 1, text: text.clone() };
    one.handle(now, delivered(2, &piece(2, nonce)));
    assert!(one.replicated().is_none(), "it is for node2, which asked at another moment");
    one.handle(now, delivered(2, &piece(1, nonce + 1)));
    assert!(one.replicated().is_none(), "it answers another hello");
    // What no member sends: pieces out of their order, and more of them than any state has.
    for (number, count) in [(1, 2), (0, u32::MAX)] {
        let wrong = Message::SnapshotPiece { to: NodeId(1), nonce, number, count, text: text.clone() };
        one.handle(now, delivered(2, &wrong));
    }
    one.handle(now, delivered(2, &piece(1, nonce)));
    assert_eq!(one.replicated(), Some(&state));
}

#[test]
fn a_node_founds_once_whoever_else_founds_meanwhile() {
    let now = Time(1_000_000);
    let (mut one, _, first, second) = two_in_a_group(now);
    one.handle(now, delivered(1, &first));
    let said = sent(&mut one, now, delivered(2, &second));
    assert!(matches!(said[..], [Message::Found { .. }]), "{said:?}");
    // node2 had waited for node1 as long as it should, and did not know of its hello yet.
    let Message::Hello(hello) = &second else { panic!("it was a hello") };
    let other = Message::Found { at: now, view: hello.view, members: BTreeMap::from([(NodeId(2), hello.nonce)]) };
    let said = sent(&mut one, now, delivered(2, &other));
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn a_node_without_state_ends_at_its_own_goodbye_only() {
    let now = Time(1_000_000);
    let (mut one, _, _, _) = two_in_a_group(now);
    let ends = |engine: &mut Engine, from, incarnation| {
        let goodbye = Message::Goodbye { incarnation: Incarnation(incarnation) };
        engine.handle(now, delivered(from, &goodbye)).iter().any(|action| matches!(action, Action::Exit { .. }))
    };
    assert!(!ends(&mut one, 2, 1), "another node's");
    assert!(!ends(&mut one, 1, 9), "of a daemon before this one");
    assert!(ends(&mut one, 1, 1));
}

#[test]
fn an_older_release_gives_and_takes_a_state_in_one_message() {
    let now = Time(1_000_000);
    let [(mut one, first), (mut two, second), (_, mut third)] = group(now, |engine| engine.speaking(1).cutting(100));
    if let Message::Hello(hello) = &mut third {
        hello.protocol = PROTOCOL;
    }
    for (id, hello) in [(1, &first), (2, &second), (3, &third)] {
        one.handle(now, delivered(id, hello));
        two.handle(now, delivered(id, hello));
    }
    // node3 said hello too late to be named, and is given the state.
    let said = sent(&mut one, now, delivered(1, &found(now, &[&first, &second])));
    assert!(said.iter().any(|message| matches!(message, Message::Snapshot { .. })), "{said:?}");
    let text = serde_json::to_string(one.replicated().expect("it has founded")).expect("a state can be written");
    let Message::Hello(hello) = second else { panic!("it was a hello") };
    let piece = Message::SnapshotPiece { to: NodeId(2), nonce: hello.nonce, number: 0, count: 1, text };
    two.handle(now, delivered(1, &piece));
    assert!(two.replicated().is_none(), "it cannot read pieces");
}

#[test]
fn a_state_that_is_not_too_long_travels_in_one_message() {
    let now = Time(1_000_000);
    let [(mut one, first), (_, second), (_, third)] = group(now, |engine| engine);
    for (id, hello) in [(1, &first), (2, &second), (3, &third)] {
        one.handle(now, delivered(id, hello));
    }
    let said = sent(&mut one, now, delivered(1, &found(now, &[&first, &second])));
    assert!(said.iter().any(|message| matches!(message, Message::Snapshot { .. })), "{said:?}");
}

#[test]
fn while_the_ring_changes_no_request_is_refused_for_want_of_the_quorum_that_was() {
    let now = Time(1_000_000);
    let (mut one, _, first, second) = two_in_a_group(now);
    one.handle(now, delivered(1, &first));
    one.handle(now, delivered(2, &second));
    one.handle(now, delivered(1, &found(now, &[&first, &second])));
    one.handle(now, quorum(1, false));
    let gone = GroupMember { node: NodeId(2), pid: 102 };
    let here = GroupMember { node: NodeId(1), pid: 101 };
    let left = vec![(gone, LeftReason::NodeDown)];
    one.handle(now, Event::MembershipChanged { members: vec![here], left, joined: Vec::new() });
    let request = Request { id: RequestId("lock".into()), command: Command::Lock, origin: "root@test".into() };
    let said = sent(&mut one, now, Event::RequestReceived { request });
    assert!(matches!(said[..], [Message::Request { .. }]), "{said:?}");
}

#[test]
fn every_member_shows_how_far_a_start_is_and_what_a_failed_agent_printed_last() {
    let mut bus = Bus::boot(3);
    bus.hangs = Some("apache:www");
    bus.output = format!("{}it has ended", "\u{e9}".repeat(2_000));
    let mine = bus.running.get_mut(&NodeId(1)).expect("node1 runs it");
    mine.retain(|name| name != "apache:www");
    let (service, resource) = (ServiceName::from("service:web"), "apache:www".into());
    bus.queue.push_back((NodeId(1), Event::Noticed { service, resource, evidence: None }));
    bus.settle();
    for engine in bus.engines.values() {
        let service = engine.status(bus.now).services.remove(0);
        assert_eq!(service.state, ServiceState::Starting);
        let resources: Vec<_> = service.resources.iter().map(|it| (it.name.0.as_str(), it.state)).collect();
        assert_eq!(resources, [("ip:10.0.0.100/24", ResourceState::Started), ("apache:www", ResourceState::Starting)]);
        // The last 2000 bytes, but no half of a character.
        let shown = service.failure.expect("its check failed").output;
        assert_eq!(shown, format!("{}it has ended", "\u{e9}".repeat(994)));
    }
}

#[test]
fn a_service_that_is_removed_before_its_start_could_begin_is_forgotten() {
    let mut bus = Bus::boot(3);
    let service = ServiceName::from("service:web");
    bus.request(1, Command::Disable { service: service.clone() });
    // node2 starts nothing while its votes are counted.
    bus.uncounted.insert(NodeId(2));
    bus.lose(NodeId(3));
    bus.wait_ms(100);
    bus.request(1, Command::Enable { service: service.clone(), on: Some("node2".into()), by_domain: false });
    assert_eq!(bus.service(1), (ServiceState::Starting, Some(NodeId(2))));
    let text = CONF.replace("config_version=\"1\"", "config_version=\"2\"").replace("\"web\"", "\"mail\"");
    let event = Event::ConfOffered { offer: OfferId(1), text, origin: "test".into() };
    bus.queue.push_back((NodeId(1), event));
    bus.settle();
    assert_eq!(bus.service(1), (ServiceState::Starting, Some(NodeId(2))), "whoever holds it ends it");
    bus.uncounted.clear();
    bus.queue.extend(std::mem::take(&mut bus.waiting));
    bus.settle();
    for engine in bus.engines.values() {
        let services: Vec<&ServiceName> = engine.replicated().unwrap().services.keys().collect();
        assert_eq!(services, [&ServiceName::from("service:mail")]);
    }
    assert_eq!(bus.owners().len(), 1, "of what was removed nothing runs");
}

#[test]
fn the_cluster_is_founded_once() {
    let mut bus = Bus::boot_quorate_from(1, 2);
    let ring_seq = bus.ring;
    let quorate =
        Event::QuorumChanged { ring_seq, quorate: true, votes: None, votes_expected: None, members: vec![NodeId(1)] };
    let actions = bus.ask(1, quorate);
    assert!(matches!(multicasts(&actions)[..], [Message::Found { .. }]));
    assert_eq!(multicasts(&bus.ask(1, Event::TimePassed)), Vec::<&Message>::new(), "it is on its way");
}

#[test]
fn whoever_stood_still_while_the_others_founded_the_cluster_founds_none_beside_it() {
    let mut bus = Bus::boot_quorate_from(1, 2);
    bus.still.insert(NodeId(1));
    for id in [2, 3].map(NodeId) {
        bus.start(id, Engine::new(law::check), CONF);
    }
    bus.wait_ms(2 * SILENT_FOUNDER_MS);
    assert_eq!((&bus.founded_by[..], bus.owners()), (&[NodeId(2)][..], vec![NodeId(2)]));
    // The lowest node hears what the others said before they had a state, and of the founding, all at once.
    bus.still.clear();
    bus.queue.extend(std::mem::take(&mut bus.waiting));
    bus.settle();
    assert_eq!((&bus.founded_by[..], bus.owners()), (&[NodeId(2)][..], vec![NodeId(2)]));
    assert!(bus.engines[&NodeId(1)].replicated().is_some(), "it has joined");
}

#[test]
fn who_comes_into_the_group_and_says_nothing_holds_decisions_up_for_a_while() {
    let mut bus = Bus::boot(3);
    bus.lose(NodeId(3));
    bus.wait_ms(10_000);
    let silent = GroupMember { node: NodeId(3), pid: 103 };
    bus.group.push(silent);
    bus.announce(Vec::new(), vec![silent], true);
    bus.settle();
    bus.request(1, Command::Disable { service: ServiceName::from("service:web") });
    assert_eq!(bus.service(1).0, ServiceState::Started, "it may hold another history");
    bus.wait_ms(SILENT_FOUNDER_MS);
    assert_eq!(bus.service(1).0, ServiceState::Disabled);
}

#[test]
fn a_change_of_the_status_is_announced_and_nothing_else_is() {
    let mut bus = Bus::boot(3);
    assert!(!bus.ask(1, Event::TimePassed).contains(&Action::StatusChanged));
    let ring = Event::RingChanged { ring_seq: bus.ring + 1, members: vec![NodeId(1)] };
    assert!(bus.ask(1, ring).contains(&Action::StatusChanged));
}

#[test]
fn who_decides_from_now_on_tells_corosync_of_the_configuration_again() {
    let mut bus = Bus::boot(3);
    let reloads = |bus: &Bus| -> Vec<NodeId> {
        bus.wanted.iter().filter(|(_, action)| *action == Action::ReloadCorosync).map(|(node, _)| *node).collect()
    };
    assert_eq!(reloads(&bus), [], "nobody decided before");
    bus.lose(NodeId(1));
    bus.wait_ms(100);
    assert_eq!(reloads(&bus), [NodeId(2)]);
}

#[test]
fn the_loss_of_quorum_is_a_warning_and_its_return_is_not() {
    let mut bus = Bus::boot(3);
    for (quorate, kind, severity) in
        [(false, FactKind::QuorumLost, FactSeverity::Warning), (true, FactKind::QuorumRegained, FactSeverity::Info)]
    {
        let ring_seq = bus.ring;
        let said = Event::QuorumChanged { ring_seq, quorate, votes: None, votes_expected: None, members: Vec::new() };
        let told = bus.ask(1, said).into_iter().find_map(|action| match action {
            Action::Publish(fact) => Some((fact.kind, fact.severity)),
            _ => None,
        });
        assert_eq!(told, Some((kind, severity)));
    }
}

/// The rule and the hint of the first finding against a configuration, if it is refused at once.
fn refusal(bus: &mut Bus, text: String) -> Option<(String, String)> {
    let actions = bus.ask(1, Event::ConfOffered { offer: OfferId(7), text, origin: "test".into() });
    actions.into_iter().find_map(|action| match action {
        Action::AnswerConf { result: PutConf::Refused { findings }, .. } => {
            findings.into_iter().next().map(|finding| (finding.rule, finding.hint))
        }
        _ => None,
    })
}

fn next_conf() -> String {
    CONF.replace("config_version=\"1\"", "config_version=\"2\"")
}

#[test]
fn an_offer_that_is_refused_at_once_says_what_to_do() {
    let mut bus = Bus::boot_quorate_from(1, 2);
    let (rule, hint) = refusal(&mut bus, next_conf()).expect("it has not joined");
    assert_eq!(rule, "not-joined");
    assert!(hint.contains("lists this node"), "{hint}");

    let mut bus = Bus::boot(3);
    let longest = 600_000;
    let padding = |bytes: usize| next_conf() + &" ".repeat(bytes - next_conf().len());
    assert_eq!(refusal(&mut bus, padding(longest)), None);
    assert_eq!(refusal(&mut bus, padding(longest + 1)).expect("it is too long").0, "conf-too-long");

    let ring_seq = bus.ring;
    bus.ask(
        1,
        Event::QuorumChanged { ring_seq, quorate: false, votes: None, votes_expected: None, members: Vec::new() },
    );
    let (rule, hint) = refusal(&mut bus, next_conf()).expect("there is no quorum");
    assert_eq!(rule, "no-quorum");
    assert!(hint.contains("more nodes"), "{hint}");
}

fn offer(text: &str, digest_of: &str) -> Event {
    let conf = ConfText { version: ConfVersion(2), digest: shared::conf::digest(digest_of), text: text.into() };
    let message = Box::new(Message::ConfOffer { at: Time(1_000_000), conf, origin: "test".into() });
    Event::Delivered { from: NodeId(2), message }
}

fn multicasts(actions: &[Action]) -> Vec<&Message> {
    let messages = actions.iter().filter_map(|action| match action {
        Action::Multicast(message) => Some(&**message),
        _ => None,
    });
    messages.collect()
}

#[test]
fn what_is_stored_must_be_what_was_offered() {
    let mut bus = Bus::boot(3);
    let stores = |actions: Vec<Action>| actions.iter().any(|action| matches!(action, Action::StoreConf { .. }));
    let other = next_conf().replace("alpha", "beta");
    assert!(!stores(bus.ask(1, offer(&next_conf(), &other))), "the digest is of another text");
    assert!(!stores(bus.ask(1, offer("<cluster", "<cluster"))), "it cannot be read");
    assert!(stores(bus.ask(1, offer(&next_conf(), &next_conf()))));

    let stored = |digest_of: &str| Event::ConfStored {
        version: ConfVersion(2),
        digest: shared::conf::digest(digest_of),
        stored: Ok(()),
    };
    assert_eq!(multicasts(&bus.ask(1, stored(&other))), Vec::<&Message>::new(), "another text of this version");
    assert_eq!(multicasts(&bus.ask(1, stored(&next_conf()))).len(), 1);
}

/// What node 1 sends when it decides to stop the service.
fn decided_stop(bus: &mut Bus) -> Box<Decide> {
    let service = ServiceName::from("service:web");
    let request = Request { id: RequestId("r".into()), command: Command::Disable { service }, origin: "test".into() };
    let asked = Message::Request { at: bus.now, request };
    let actions = bus.ask(1, Event::Delivered { from: NodeId(2), message: Box::new(asked) });
    let decides = multicasts(&actions).into_iter().find_map(|message| match message {
        Message::Decide(decide) => Some(decide.clone()),
        _ => None,
    });
    decides.expect("it decides the stop")
}

fn decided(decide: Box<Decide>) -> Event {
    Event::Delivered { from: NodeId(1), message: Box::new(Message::Decide(decide)) }
}

#[test]
fn a_decision_of_another_history_in_the_same_group_is_answered_by_a_hello() {
    let mut bus = Bus::boot(3);
    let mut decide = decided_stop(&mut bus);
    decide.branch = Branch(7);
    let answer = bus.ask(2, decided(decide.clone()));
    assert!(matches!(multicasts(&answer)[..], [Message::Hello(_)]), "which of the two goes on must be found out");
    // Said before the membership changed: the histories have been compared since.
    decide.view.0 += 1;
    assert_eq!(multicasts(&bus.ask(2, decided(decide))), Vec::<&Message>::new());
}

#[test]
fn a_migration_that_a_member_of_an_older_release_could_not_follow_is_ignored() {
    for (last, state) in [(1, ServiceState::Started), (PROTOCOL, ServiceState::Migrating)] {
        let mut bus = Bus::boot_speaking(3, 2, last);
        let mut decide = decided_stop(&mut bus);
        let Decision::Stop { service, epoch, .. } = decide.decision.clone() else { panic!("a stop") };
        decide.decision = Decision::Migrate { service, epoch, to: NodeId(2) };
        bus.ask(2, decided(decide));
        assert_eq!(bus.service(2).0, state);
    }
}

#[test]
fn that_a_service_stays_stopped_is_an_error_only_if_it_should_have_started() {
    let mut bus = Bus::boot(3);
    let service = ServiceName::from("service:web");
    bus.request(1, Command::Stop { service: service.clone() });
    let mut decide = decided_stop(&mut bus);
    for (reason, severity) in [
        (Reason::NoNodeAllowed, FactSeverity::Error),
        (Reason::DependencyMissing { service: ServiceName::from("service:db") }, FactSeverity::Error),
        (Reason::ExclusiveConflict, FactSeverity::Error),
        (Reason::NoAutostart, FactSeverity::Info),
    ] {
        let epoch = bus.engines[&NodeId(2)].replicated().unwrap().services[&service].epoch;
        decide.decision = Decision::Settle { service: service.clone(), epoch, state: ServiceState::Stopped };
        decide.reason = reason.clone();
        let told = bus.ask(2, decided(decide.clone())).into_iter().find_map(|action| match action {
            Action::Publish(fact) => Some((fact.kind, fact.severity)),
            _ => None,
        });
        assert_eq!(told, Some((FactKind::ServiceStopped, severity)), "{reason:?}");
    }
}

#[test]
fn the_last_256_requests_that_have_ended_are_remembered() {
    let mut bus = Bus::boot(3);
    for round in 0..300 {
        bus.request(1, if round % 2 == 0 { Command::Lock } else { Command::Unlock });
    }
    let engine = &bus.engines[&NodeId(2)];
    assert_eq!(engine.replicated().unwrap().requests.len(), 256);
    assert_eq!(engine.outcome(&RequestId("r43".into())), None);
    assert!(engine.outcome(&RequestId("r44".into())).is_some());
}

#[test]
fn a_node_shows_which_one_it_is_and_which_configuration_each_has() {
    let bus = Bus::boot(3);
    let shown = bus.engines[&NodeId(2)].status(bus.now).nodes;
    let shown: Vec<_> = shown.iter().map(|node| (node.id.0, node.local, node.conf_version)).collect();
    let version = Some(ConfVersion(1));
    assert_eq!(shown, [(1, false, version), (2, true, version), (3, false, version)]);
}

/// What a disable and a relocation are told as, and that every decision counts for which history goes on.
#[test]
fn the_end_of_a_stop_is_told_by_what_comes_of_it() {
    let mut bus = Bus::boot(3);
    assert_eq!(bus.engines[&NodeId(2)].replicated().unwrap().decided, 1);
    let service = ServiceName::from("service:web");
    let mut told = |command: Command| {
        let before = bus.wanted.len();
        bus.request(1, command);
        let kinds = bus.wanted[before..].iter().filter_map(|(node, action)| match action {
            Action::Publish(fact) if *node == NodeId(2) => Some(fact.kind),
            _ => None,
        });
        kinds.collect::<Vec<_>>()
    };
    use FactKind::{
        ServiceDisabled, ServiceRecovering, ServiceStarted, ServiceStarting, ServiceStopped, ServiceStopping,
    };
    let relocated = told(Command::Relocate { service: service.clone(), to: None });
    assert_eq!(relocated[1..], [ServiceStopping, ServiceRecovering, ServiceStarting, ServiceStarted]);
    assert_eq!(told(Command::Stop { service: service.clone() })[1..], [ServiceStopping, ServiceStopped]);
    told(Command::Enable { service: service.clone(), on: None, by_domain: true });
    assert_eq!(told(Command::Disable { service })[1..], [ServiceStopping, ServiceDisabled]);
    assert_eq!(bus.engines[&NodeId(2)].replicated().unwrap().decided, 6);
}

/// A script that is refused asks again and again, and no request comes to its end meanwhile.
#[test]
fn requests_that_are_refused_are_forgotten_too() {
    let mut bus = Bus::boot(3);
    let service = ServiceName::from("service:nowhere");
    for _ in 0..300 {
        bus.request(1, Command::Enable { service: service.clone(), on: None, by_domain: false });
    }
    assert_eq!(bus.engines[&NodeId(2)].replicated().unwrap().requests.len(), 256);
}

/// `apache:www` gets these attributes, then is found not to run; what the owner shows of the service.
fn shown_after_a_failure(attributes: &str) -> shared::status::ServiceStatus {
    let mut bus = Bus::boot(3);
    let text = CONF
        .replace("config_version=\"1\"", "config_version=\"2\"")
        .replace("<apache name=\"www\"", &format!("<apache name=\"www\" {attributes}"));
    bus.queue.push_back((NodeId(1), Event::ConfOffered { offer: OfferId(1), text, origin: "test".into() }));
    bus.settle();
    bus.running.get_mut(&NodeId(1)).expect("node1 runs it").retain(|name| name != "apache:www");
    let (service, resource) = (ServiceName::from("service:web"), "apache:www".into());
    bus.queue.push_back((NodeId(1), Event::Noticed { service, resource, evidence: None }));
    bus.settle();
    bus.engines[&NodeId(1)].status(bus.now).services.remove(0)
}

#[test]
fn a_failure_that_is_tolerated_leaves_the_resource_started() {
    let shown = shown_after_a_failure("__max_failures=\"2\" __failure_expire_time=\"1h\"");
    assert_eq!(shown.state, ServiceState::Started);
    let resource = shown.resources.iter().find(|it| it.name.as_str() == "apache:www").expect("it has it");
    assert_eq!(resource.state, ResourceState::Started);
}

#[test]
fn a_partial_service_shows_what_failed() {
    let shown = shown_after_a_failure("__independent_subtree=\"non-critical\"");
    assert!(shown.partial);
    assert_eq!(shown.failure.expect("a part of it failed").resource.as_str(), "apache:www");
}
