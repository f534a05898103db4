//! The main story on a perfect bus: three engines, every message delivered at once and in order, agents and fences that
//! succeed at once. What goes wrong in the world is the simulator's room; here the path itself is shown.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use engine::{Action, ConfText, Engine, Event, GroupMember, Incarnation, LeftReason, Message, Operation, law};
use shared::ids::{BootId, NodeId, RequestId, ServiceName, Time};
use shared::status::{Answer, Command, Request};
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
    founded_by: Vec<NodeId>,
    quorate_from: usize,
}

impl Bus {
    fn boot(nodes: u32) -> Self {
        Self::boot_quorate_from(nodes, nodes as usize / 2 + 1)
    }

    fn boot_quorate_from(nodes: u32, quorate_from: usize) -> Self {
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
            founded_by: Vec::new(),
        };
        for id in (1..=nodes).map(NodeId) {
            bus.engines.insert(id, Engine::new(law::check));
            let conf = ConfText {
                version: shared::ids::ConfVersion(1),
                digest: shared::conf::digest(CONF),
                text: CONF.into(),
            };
            let boot = BootId(format!("boot-{id}"));
            let incarnation = Incarnation(u64::from(id.0));
            bus.queue.push_back((
                id,
                Event::Booted { node: id, incarnation, boot, conf, intents: None, started: BTreeMap::new() },
            ));
            bus.settle();
        }
        bus
    }

    fn settle(&mut self) {
        let mut steps = 0;
        while let Some((node, event)) = self.queue.pop_front() {
            steps += 1;
            if self.still.contains(&node) {
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
                    Operation::Start => {
                        mine.push(name);
                        0
                    }
                    Operation::Stop => {
                        mine.retain(|other| *other != name);
                        0
                    }
                    Operation::Monitor => {
                        if mine.contains(&name) {
                            0
                        } else {
                            7
                        }
                    }
                };
                self.queue.push_back((node, Event::RunFinished { id, code: Some(code), output: String::new() }));
            }
            Action::RunFence { id, .. } => {
                self.running.remove(&id.victim);
                self.queue.push_back((node, Event::FenceFinished { id, succeeded: true, devices: Vec::new() }));
            }
            Action::StoreConf { conf } => {
                let stored = Event::ConfStored { version: conf.version, digest: conf.digest, stored: Ok(()) };
                self.queue.push_back((node, stored));
            }
            Action::Answer { answer, .. } => self.answers.push(answer),
            _ => {}
        }
    }

    fn lose(&mut self, node: NodeId) {
        let gone: Vec<GroupMember> = self.group.iter().filter(|member| member.node == node).copied().collect();
        self.group.retain(|member| member.node != node);
        self.engines.remove(&node);
        self.announce(gone.into_iter().map(|member| (member, LeftReason::NodeDown)).collect(), Vec::new(), true);
        self.settle();
    }

    fn wait_ms(&mut self, ms: u64) {
        let until = self.now.plus_ms(ms);
        while let Some(at) =
            self.engines.values().filter_map(|e| e.next_timeout(self.now)).min().filter(|at| *at <= until)
        {
            self.now = at.max(self.now.plus_ms(1));
            for node in self.engines.keys().copied().collect::<Vec<_>>() {
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
    let event = Event::ConfOffered { offer: engine::OfferId(1), text, origin: "test".into() };
    bus.queue.push_back((NodeId(2), event));
    bus.settle();
    assert_eq!(bus.running[&NodeId(1)], ["ip:10.0.0.100/24", "script:app"]);
    for engine in bus.engines.values() {
        assert_eq!(engine.replicated().unwrap().conf.version.0, 2);
    }
    assert_eq!(bus.service(3).0, ServiceState::Started);
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
