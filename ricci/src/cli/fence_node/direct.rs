//! Runs the fence agents of a node from this command, when no rgmanager is there to do it or nobody is to be told.
//! Methods in their order until one succeeds; no retry.

use shared::conf::model::{FenceInstance, Node};
use shared::ids::NodeName;
use shared::socket::FenceOperation;
use shared::status::{FenceAttempt, FenceDeviceRun};
use tokio_util::sync::CancellationToken;

use super::Job;
use super::report::is_answer;
use crate::cli::clock;
use crate::cli::conf_file::default_path;
use crate::rgmanager::fence::{FenceAction, FenceAgents, succeeded};
use crate::secrets::Secrets;

/// As [`run_agents`], with the agents of this host.
pub(in crate::cli) fn run_here(job: &Job, node: &Node) -> Result<Vec<FenceAttempt>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot run programs: {error}"))?;
    Ok(runtime.block_on(run_agents(job, node, &FenceAgents::default().with_secrets(Secrets::beside(&default_path())))))
}

/// Carries the job out and tells of each method tried; nothing if cluster.conf defines none.
pub async fn run_agents(job: &Job, node: &Node, agents: &FenceAgents) -> Vec<FenceAttempt> {
    let methods: Vec<(&str, &[FenceInstance])> = match job.operation {
        FenceOperation::Unfence if node.unfence.is_empty() => Vec::new(),
        FenceOperation::Unfence => vec![("unfence", &node.unfence)],
        FenceOperation::Fence | FenceOperation::Status => {
            let wanted = |number: usize| job.method.is_none_or(|one| one == number + 1);
            let methods = node.methods.iter().enumerate().filter(|(number, _)| wanted(*number));
            methods.map(|(_, method)| (method.name.as_str(), method.devices.as_slice())).collect()
        }
    };
    let mut attempts = Vec::new();
    for (method, devices) in methods {
        let (runs, worked) = run_method(job.operation, devices, agents).await;
        attempts.push(FenceAttempt {
            at: clock::now(),
            by: NodeName(rustix::system::uname().nodename().to_string_lossy().into_owned()),
            method: method.to_owned(),
            attempt: u32::try_from(attempts.len() + 1).unwrap_or(u32::MAX),
            succeeded: worked,
            devices: runs,
        });
        if worked {
            break;
        }
    }
    attempts
}

async fn run_method(
    operation: FenceOperation,
    devices: &[FenceInstance],
    agents: &FenceAgents,
) -> (Vec<FenceDeviceRun>, bool) {
    let action = match operation {
        FenceOperation::Fence => FenceAction::Fence,
        FenceOperation::Unfence => FenceAction::Unfence,
        FenceOperation::Status => return ask_devices(devices, agents).await,
    };
    let runs = agents.run(devices, action, CancellationToken::new()).await;
    let worked = succeeded(devices, &runs);
    (runs, worked)
}

/// Every device is asked by itself: "off" is an answer, but its exit code would end a run of several.
async fn ask_devices(devices: &[FenceInstance], agents: &FenceAgents) -> (Vec<FenceDeviceRun>, bool) {
    let mut runs = Vec::new();
    for device in devices {
        runs.extend(agents.run(std::slice::from_ref(device), FenceAction::Status, CancellationToken::new()).await);
    }
    let worked = !runs.is_empty() && runs.iter().all(is_answer);
    (runs, worked)
}
