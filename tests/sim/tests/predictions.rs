//! What the engine predicts is what happens, and what it gives as the reason is the reason: in a calm world every prediction is
//! compared with the course of things, and every service that does not run must have a test that blocks it.

use std::collections::BTreeMap;

use engine::law;
use engine::{ConfText, Event, Replicated};
use shared::ids::{NodeId, NodeName, ServiceName, Time};
use shared::status::{Command, FactKind};
use shared::text::ServiceState;
use shared::why::{Assumption, Prediction, Verdict};
use sim::conf::Spec;
use sim::params::Params;
use sim::rng::Rng;
use sim::sim::{Sim, Task};

/// Long enough for every delay of fencing that a drawn configuration can have, and for restarts of services.
const COURSE_MS: u64 = 200_000;

type Places = BTreeMap<ServiceName, (ServiceState, Option<NodeId>)>;

fn calm(seed: u64) -> (Sim, Rng, Spec) {
    let mut rng = Rng::new(seed);
    let spec = Spec::draw(&mut rng);
    let mut params = Params::calm(spec.nodes == 2);
    // What is fenced stays down until the test gives it power.
    params.reboot_ms = (1_000_000_000, 1_000_000_000);
    let mut sim = Sim::new(params, Rng::calm(), law::check, spec.nodes, &spec.render(false));
    for id in 1..=spec.nodes {
        sim.later(0, Task::Boot(NodeId(id)));
    }
    go_on(&mut sim);
    (sim, rng, spec)
}

fn go_on(sim: &mut Sim) {
    let until = sim.now + COURSE_MS;
    while sim.now < until {
        sim.step();
    }
    assert_eq!(sim.violation, None);
}

fn state(sim: &Sim, on: NodeId) -> &Replicated {
    sim.daemon(on).and_then(|daemon| daemon.engine.replicated()).expect("the member holds the state")
}

fn places(state: &Replicated) -> Places {
    state.services.iter().map(|(name, record)| (name.clone(), (record.state, record.holder))).collect()
}

fn members(sim: &Sim) -> Vec<NodeId> {
    sim.nodes.keys().copied().filter(|id| sim.daemon(*id).is_some_and(|d| d.engine.is_quorate())).collect()
}

fn predicted(mut now: Places, prediction: &Prediction) -> Places {
    for change in &prediction.changes {
        if change.to.0 == ServiceState::Uninitialized {
            now.remove(&change.service);
            continue;
        }
        let owner = change.to.1.as_ref().map(|NodeName(name)| NodeId(name[1..].parse().expect("nodes are n1, n2, …")));
        now.insert(change.service.clone(), (change.to.0, owner));
    }
    now
}

fn draw(rng: &mut Rng, sim: &Sim, at: NodeId) -> Assumption {
    let nodes: Vec<NodeName> = sim.nodes.keys().map(|id| NodeName(format!("n{id}"))).collect();
    let services: Vec<ServiceName> = state(sim, at).services.keys().cloned().collect();
    let node = rng.pick(&nodes).cloned().expect("there are nodes");
    let service = rng.pick(&services).cloned().expect("there are services");
    let to = rng.chance(500).then(|| node.clone());
    let command = match rng.index(9) {
        0 | 1 => return Assumption::NodeLost { node },
        2 => Command::Enable { service, on: to, by_domain: false },
        3 => Command::Enable { service, on: None, by_domain: true },
        4 => Command::Disable { service },
        5 => Command::Stop { service },
        6 => Command::Restart { service },
        _ => Command::Relocate { service, to },
    };
    Assumption::Request { command }
}

/// Makes it true.
fn carry_out(sim: &mut Sim, at: NodeId, assumption: &Assumption) {
    match assumption {
        Assumption::Request { command } => {
            sim.request(at, command.clone()).expect("the member takes requests");
        }
        Assumption::NodeLost { node } => {
            let id = NodeId(node.0[1..].parse().expect("nodes are n1, n2, …"));
            if sim.nodes[&id].power {
                sim.power_off(id);
            }
        }
        Assumption::Conf { text } => {
            let conf = shared::conf::load(text).conf.expect("a drawn configuration is valid");
            let conf = ConfText { version: conf.version, digest: shared::conf::digest(text), text: text.clone() };
            sim.offer(at, &conf);
        }
    }
}

/// Nothing that could run stands still, according to its own explanation.
fn check_explanations(sim: &Sim, at: NodeId) {
    let engine = &sim.daemon(at).expect("it is a member").engine;
    for (name, record) in &state(sim, at).services {
        let explanation = engine.explain(Time(sim.now), name).expect("it is in the state");
        match record.holder {
            None => assert!(
                !engine::why::lets_run(&explanation),
                "{name} is {} and nothing blocks it: {explanation:#?}",
                record.state.name()
            ),
            Some(holder) => {
                let owner = explanation.nodes.iter().find(|node| node.verdict == Verdict::Owner);
                assert_eq!(owner.map(|node| node.node.0.clone()), Some(format!("n{holder}")));
            }
        }
    }
}

#[test]
fn what_is_predicted_is_what_happens() {
    let (mut compared, mut refused) = (0, 0);
    for seed in 0..30 {
        let (mut sim, mut rng, _) = calm(seed);
        for round in 0..6 {
            let Some(at) = rng.pick(&members(&sim)).copied() else { break };
            check_explanations(&sim, at);
            let assumption = draw(&mut rng, &sim, at);
            let before = places(state(&sim, at));
            let prediction = sim.daemon(at).expect("a member").engine.predict(Time(sim.now), &assumption);
            let observer = members(&sim).into_iter().find(|id| match &assumption {
                Assumption::NodeLost { node } => node.0 != format!("n{id}"),
                Assumption::Request { .. } | Assumption::Conf { .. } => true,
            });
            let Some(observer) = observer else { break };
            carry_out(&mut sim, at, &assumption);
            go_on(&mut sim);
            if prediction.refused.is_some() {
                refused += 1;
            } else {
                compared += 1;
            }
            let expected = predicted(before, &prediction);
            assert_eq!(
                places(state(&sim, observer)),
                expected,
                "seed {seed}, round {round}, on n{at}: {assumption:?}\n{}",
                prediction.steps.iter().map(|step| format!("  {}\n", step.text)).collect::<String>()
            );
            let off: Vec<NodeId> = sim.nodes.iter().filter(|(_, node)| !node.power).map(|(&id, _)| id).collect();
            for id in off {
                sim.later(0, Task::Boot(id));
            }
            go_on(&mut sim);
        }
    }
    assert!(compared > 80 && refused > 5, "{compared} compared, {refused} refused");
}

#[test]
fn what_is_predicted_of_a_new_configuration_is_what_happens() {
    let (mut compared, mut moved) = (0, 0);
    for seed in 100..120 {
        let (mut sim, mut rng, mut spec) = calm(seed);
        for round in 0..4 {
            let Some(at) = rng.pick(&members(&sim)).copied() else { break };
            for _ in 0..3 {
                spec.change(&mut rng);
            }
            let assumption = Assumption::Conf { text: spec.render(false).text };
            let before = places(state(&sim, at));
            let prediction = sim.daemon(at).expect("a member").engine.predict(Time(sim.now), &assumption);
            assert_eq!(prediction.refused, None, "seed {seed}, round {round}");
            carry_out(&mut sim, at, &assumption);
            go_on(&mut sim);
            compared += 1;
            moved += prediction.changes.len();
            assert_eq!(
                places(state(&sim, at)),
                predicted(before, &prediction),
                "seed {seed}, round {round}, on n{at}: {}\n{}",
                spec.render(false).text,
                prediction.steps.iter().map(|step| format!("  {}\n", step.text)).collect::<String>()
            );
        }
    }
    assert!(compared > 60 && moved > 20, "{compared} compared, {moved} services moved");
}

#[test]
fn a_configuration_that_would_not_be_taken_is_refused_in_the_prediction() {
    let (sim, _, mut spec) = calm(1);
    let at = members(&sim)[0];
    let ask = |text: String| {
        sim.daemon(at).expect("a member").engine.predict(Time(sim.now), &Assumption::Conf { text }).refused
    };
    let same = ask(spec.render(false).text).expect("the version in force is not newer");
    assert!(same.text.contains("is not newer than version"), "{}", same.text);
    spec.version += 1;
    let broken = spec.render(false).text.replace("</cluster>", "");
    let broken = ask(broken).expect("not well formed");
    assert!(broken.text.contains("has errors"), "{}", broken.text);
}

#[test]
fn whether_the_rest_is_quorate_is_predicted_by_the_votes_that_corosync_expects_now() {
    let conf = sim::conf::from_text(include_str!("../../scenarios/conf/five-nodes.conf"));
    let mut params = Params::calm(false);
    params.reboot_ms = (1_000_000_000, 1_000_000_000);
    let mut sim = Sim::new(params, Rng::calm(), law::check, 5, &conf);
    for id in 1..=5 {
        sim.later(0, Task::Boot(NodeId(id)));
    }
    go_on(&mut sim);
    sim.power_off(NodeId(4));
    sim.power_off(NodeId(5));
    go_on(&mut sim);
    let everything_stops = |sim: &Sim| {
        let engine = &sim.daemon(NodeId(1)).expect("n1 is up").engine;
        let prediction = engine.predict(Time(sim.now), &Assumption::NodeLost { node: "n3".into() });
        assert_eq!(prediction.refused, None);
        prediction.steps.iter().any(|step| step.kind == FactKind::QuorumLost)
    };
    assert!(everything_stops(&sim), "two of five votes are not enough");
    // As after `corosync-quorumtool -e 3`.
    let now = Time(sim.now);
    let node = sim.nodes.get_mut(&NodeId(1)).expect("there is n1");
    let event = Event::QuorumChanged {
        ring_seq: node.quorum.0,
        quorate: true,
        votes: Some(3),
        votes_expected: Some(3),
        members: Vec::new(),
    };
    node.daemon.as_mut().expect("n1 is up").engine.handle(now, event);
    assert!(!everything_stops(&sim), "two of three votes are");
}

/// As many nodes as are named, up and calm.
fn running(nodes: u32, text: &str) -> Sim {
    let mut params = Params::calm(false);
    params.reboot_ms = (1_000_000_000, 1_000_000_000);
    let mut sim = Sim::new(params, Rng::calm(), law::check, nodes, &sim::conf::from_text(text));
    for id in 1..=nodes {
        sim.later(0, Task::Boot(NodeId(id)));
    }
    go_on(&mut sim);
    sim
}

#[test]
fn what_was_wrong_before_refuses_no_newer_version_in_the_prediction_either() {
    let text = include_str!("../../scenarios/conf/five-nodes.conf");
    let old = text.replacen("</rm>", "<service name=\"old\" domain=\"gone\"/></rm>", 1);
    assert!(shared::conf::load(&old).has_errors());
    let sim = running(5, &old);
    let version = shared::conf::load(&old).conf.expect("nodes are understood").version;
    let ask = |text: &str| {
        let raised = format!("config_version=\"{}\"", version.0 + 1);
        let text = text.replacen(&format!("config_version=\"{version}\""), &raised, 1);
        sim.daemon(NodeId(1)).expect("n1 is up").engine.predict(Time(sim.now), &Assumption::Conf { text }).refused
    };
    assert_eq!(ask(&old), None);
    let worse = old.replacen("</rm>", "<service name=\"new\" domain=\"gone too\"/></rm>", 1);
    assert!(ask(&worse).is_some_and(|refusal| refusal.text.contains("gone too")));
}

#[test]
fn with_a_quorum_device_one_of_two_nodes_is_predicted_to_go_on() {
    let of = |device: &str| {
        format!(
            "<cluster name=\"c\" config_version=\"1\">{device}<clusternodes><clusternode name=\"n1\" nodeid=\"1\"/>\
             <clusternode name=\"n2\" nodeid=\"2\"/></clusternodes><rm/></cluster>"
        )
    };
    let stops = |text: &str| {
        let sim = running(2, text);
        let engine = &sim.daemon(NodeId(1)).expect("n1 is up").engine;
        let prediction = engine.predict(Time(sim.now), &Assumption::NodeLost { node: "n2".into() });
        assert_eq!(prediction.refused, None);
        prediction.steps.iter().any(|step| step.kind == FactKind::QuorumLost)
    };
    assert!(stops(&of("")), "one of two votes is not enough");
    assert!(!stops(&of("<qdevice host=\"witness\"/>")), "two of three votes are");
}
