//! What the engine predicts is what happens, and what it gives as the reason is the reason: in a calm world every prediction is
//! compared with the course of things, and every service that does not run must have a test that blocks it.

use std::collections::BTreeMap;

use engine::Replicated;
use engine::law;
use shared::ids::{NodeId, NodeName, ServiceName, Time};
use shared::status::Command;
use shared::text::ServiceState;
use shared::why::{Assumption, Prediction, Verdict};
use sim::conf::Spec;
use sim::params::Params;
use sim::rng::Rng;
use sim::sim::{Sim, Task};

/// Long enough for every delay of fencing that a drawn configuration can have, and for restarts of services.
const COURSE_MS: u64 = 200_000;

type Places = BTreeMap<ServiceName, (ServiceState, Option<NodeId>)>;

fn calm(seed: u64) -> (Sim, Rng) {
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
    (sim, rng)
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
        let (mut sim, mut rng) = calm(seed);
        for round in 0..6 {
            let Some(at) = rng.pick(&members(&sim)).copied() else { break };
            check_explanations(&sim, at);
            let assumption = draw(&mut rng, &sim, at);
            let before = places(state(&sim, at));
            let prediction = sim.daemon(at).expect("a member").engine.predict(Time(sim.now), &assumption);
            let observer = members(&sim).into_iter().find(|id| match &assumption {
                Assumption::NodeLost { node } => node.0 != format!("n{id}"),
                Assumption::Request { .. } => true,
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
