//! Agents of one service, or of a part of its tree, run by hand and in order: what `rg_test test FILE start TYPE NAME` does
//! (rhcs.md §5.8). Called by that command alone, on a node where rgmanager does not hold the service.
//!
//! The same planning and the same runner as the daemon's, without its cgroups; nothing is remembered, and nothing is told to anybody but the
//! caller.

use std::path::PathBuf;

use engine::{Operation, Run, RunId};
use shared::conf::model::{Conf, Resource};
use shared::ids::{NodeName, ServiceName, Time};
use shared::status::Failure;
use tokio::sync::mpsc;

use super::agents::{Places, RunFinished, Runs};
use super::plan;
use super::times::Times;

/// What is done with each resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Start,
    Stop,
    Status,
}

/// One resource is through.
#[derive(Debug)]
pub struct Step {
    /// `None`: it worked.
    pub failure: Option<Failure>,
    /// What the agent printed.
    pub output: String,
}

/// Runs the agents one after another. `told` hears of every resource before its agent runs and, with the step, after it. A start and a check
/// end with the first failure, a stop goes on (rhcs.md §5.3). Returns whether all worked.
pub async fn run(
    conf: &Conf,
    service: &ServiceName,
    order: &[&Resource],
    verb: Verb,
    mut told: impl FnMut(&Resource, Option<Step>),
) -> bool {
    let places = Places { records: PathBuf::from("/run/cluster/by-hand"), ..Places::default() };
    // Without the directory the agents run all the same; they tell themselves what they miss.
    let _ = super::agents::prepare(&places);
    let times = Times::ask(conf, &places).await;
    let (ended, mut results) = mpsc::channel(1);
    let runs = Runs::new(places, None, ended);
    let mut all_worked = true;
    for (number, resource) in (0..).zip(order) {
        told(resource, None);
        let operation = match verb {
            Verb::Start => Operation::Start,
            Verb::Stop => Operation::Stop,
            Verb::Status => Operation::Monitor,
        };
        let run = Run { service: service.clone(), resource: (*resource).clone(), operation, depth: 0, peer: None };
        let finished = match plan::plan(RunId(number), &run, false, &times) {
            Ok(spec) => {
                runs.start(spec);
                results.recv().await
            }
            Err(refused) => Some(refused),
        };
        let step = step(resource, operation, finished);
        let worked = step.failure.is_none();
        all_worked &= worked;
        told(resource, Some(step));
        if !worked && verb != Verb::Stop {
            return false;
        }
    }
    all_worked
}

fn step(resource: &Resource, operation: Operation, finished: Option<RunFinished>) -> Step {
    let (code, output) = finished.map_or((None, String::new()), |finished| (finished.code, finished.output));
    // What is not installed runs nothing that would have to be stopped.
    let worked = code == Some(0) || (operation == Operation::Stop && code == Some(5));
    let failure = (!worked).then(|| Failure {
        at: Time(0),
        node: NodeName::default(),
        resource: resource.name.clone(),
        operation: operation.name().to_owned(),
        code,
        output: output.clone(),
    });
    Step { failure, output }
}
