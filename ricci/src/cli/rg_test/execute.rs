//! `rg_test test FILE start|stop|status TYPE NAME`: the agents really run, here and now, with the original's lines (rhcs.md §5.8).
//!
//! A tool for finding out what an agent does. It starts and stops nothing of a service that the cluster holds: two hands on one
//! service would undo each other's work, and a start here could be the second one in the cluster.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use shared::conf::model::{Conf, Resource, Service};
use shared::socket::{Ask, Reply};
use shared::text::ServiceState;

use super::noop::{NotFound, Operation, resources};
use crate::cli::client::{AskError, ask_once};
use crate::cli::console::{complain, print};
use crate::rgmanager::by_hand::{self, Step, Verb};

/// For the status of the cluster: rgmanager has it at hand.
const STATUS_LIMIT: Duration = Duration::from_secs(5);

/// Runs the agents and tells what came of each.
pub(super) fn execute(file: &Path, conf: &Conf, operation: Operation, kind: &str, name: &str) -> ExitCode {
    let Some((service, order)) = resources(conf, operation, kind, name) else {
        let missing = NotFound { kind: kind.to_owned(), name: name.to_owned() };
        complain(&format!("rg_test: {missing} in {}", file.display()));
        return ExitCode::FAILURE;
    };
    if operation != Operation::Status
        && let Err(why) = refuse_held(service)
    {
        complain(&format!("rg_test: {why}"));
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("rg_test: agents cannot be run: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let first = match operation {
        Operation::Start => "Starting",
        Operation::Stop => "Stopping",
        Operation::Status => "Checking status of",
    };
    print(&format!("Running in test mode.\n{first} {name}...\n"));
    let worked = runtime.block_on(run(conf, service, &order, operation));
    print(&match (operation, worked) {
        (Operation::Start, true) => format!("Start of {name} complete\n"),
        (Operation::Start, false) => format!("Failed to start {name}\n"),
        (Operation::Stop, true) => format!("Stop of {name} complete\n"),
        (Operation::Stop, false) => format!("Failed to stop {name}\n"),
        (Operation::Status, true) => format!("Status of {name} is good\n"),
        (Operation::Status, false) => format!("Status check of {name} failed\n"),
    });
    if worked { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run(conf: &Conf, service: &Service, order: &[&Resource], operation: Operation) -> bool {
    let verb = match operation {
        Operation::Start => Verb::Start,
        Operation::Stop => Verb::Stop,
        Operation::Status => Verb::Status,
    };
    let told = |resource: &Resource, step: Option<Step>| match step {
        None => print(&format!("[{}] {}\n", operation.word(), resource.name)),
        Some(Step { failure, output }) => {
            if !output.trim().is_empty() {
                complain(output.trim_end());
            }
            if let Some(failure) = failure {
                complain(&failure.text());
            }
        }
    };
    by_hand::run(conf, &service.name, order, verb, told).await
}

/// `Err`: why it must not be touched by hand now.
fn refuse_held(service: &Service) -> Result<(), String> {
    let status = match ask_once(&Ask::Status, STATUS_LIMIT) {
        Ok(Reply::Status { status }) => status,
        Err(AskError::NotRunning { .. }) => return Ok(()),
        Ok(_) => return Err("rgmanager did not answer what it was asked; stop it first".into()),
        Err(error) => return Err(format!("whether the cluster holds {} is not known: {error}", service.name)),
    };
    let Some(known) = status.service(&service.name) else { return Ok(()) };
    if known.frozen || known.state == ServiceState::Disabled {
        return Ok(());
    }
    let owner = known.owner.as_ref().map(|owner| format!(" on {owner}")).unwrap_or_default();
    Err(format!(
        "{} is {}{owner}; disable it (clusvcadm -d) or freeze it (clusvcadm -Z) first, or rgmanager and you undo each other's work",
        service.name,
        known.state.name()
    ))
}
