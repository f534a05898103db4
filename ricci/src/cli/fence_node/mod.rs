//! `fence_node`: fence a node now, unfence one, or ask its fence devices for the status (rhcs.md §9.2).
//!
//! With rgmanager running here, fencing and unfencing go through it, so that the cluster knows. Without it, and for
//! the status, this command runs the agents itself. It never asks back: the name says what it does.

mod direct;
mod options;
mod report;

use std::process::ExitCode;
use std::time::Duration;

use shared::conf::model::Conf;
use shared::conf::{Finding, Severity};
use shared::ids::NodeName;
use shared::socket::{Ask, FenceOperation, Reply};
use shared::status::FenceAttempt;

pub use self::direct::run_agents;
pub(super) use self::direct::run_here;
pub use self::options::{DEFINITION, Job};
use self::options::{Parsed, parse};
pub use self::report::Report;
use super::client::{AskError, Client, socket_path};
use super::conf_file::{default_path, read, render_findings};
use super::console::{complain, print};
use super::likeness::{Closest, closest};
use super::{VERSION, getopt, members};

/// For questions that are answered at once.
const QUICK: Duration = Duration::from_secs(2);

/// For the fencing itself: eight methods of eight devices that all hang are given up before this.
const FENCING_LIMIT: Duration = Duration::from_secs(3 * 3600);

const USAGE: &str = "\
usage: fence_node [options] NODE
    NODE      the node, by its name in cluster.conf
    -U        unfence NODE; without NODE, this node
    -S        print whether NODE is on or off
    -v        print the result of each device; -vv also its arguments
    -e 0      run the agents from here and do not tell the cluster
    -m N      with -S: only method N, counted from 1
    -V        print the version
    -h        print this
Exit code: 0 success, 1 failed, 2 cluster.conf defines nothing to run.
";

/// Runs the command.
pub fn main() -> ExitCode {
    match parse(getopt::process_arguments()) {
        Parsed::Do(job) => match run(&job) {
            Ok(code) => ExitCode::from(code),
            Err(sentence) => {
                complain(&format!("fence_node: {sentence}"));
                ExitCode::FAILURE
            }
        },
        Parsed::Version => {
            print(&format!("fence_node {VERSION}\n"));
            ExitCode::SUCCESS
        }
        Parsed::Usage => {
            print(USAGE);
            ExitCode::SUCCESS
        }
        Parsed::Unknown(sentence) => {
            complain(&format!("fence_node: {sentence}\n{USAGE}"));
            ExitCode::FAILURE
        }
    }
}

fn run(job: &Job) -> Result<u8, String> {
    let mut rgmanager = match Client::connect(&socket_path(), QUICK) {
        Ok(client) => Some(client),
        Err(AskError::NotRunning { .. }) => None,
        Err(error) => return Err(shared::chain(&error)),
    };
    let conf = conf(rgmanager.as_mut())?;
    let name = node_name(job, &conf)?;
    let Some(node) = conf.node(&name) else { return Ok(unknown_node(job, &conf, &name)) };
    let through_rgmanager = job.tell && job.operation != FenceOperation::Status;
    let attempts = match rgmanager.as_mut().filter(|_| through_rgmanager) {
        Some(client) => ask_for_fencing(client, job.operation, &name)?,
        None => run_here(job, node)?,
    };
    let report = Report {
        operation: job.operation,
        node: &name,
        attempts: &attempts,
        verbosity: job.verbosity,
        conf: Some(node),
    };
    let (text, code) = report.render();
    complain(text.trim_end());
    Ok(code)
}

/// What the cluster uses; without a daemon, what lies on this node.
pub(super) fn conf(rgmanager: Option<&mut Client>) -> Result<Conf, String> {
    let (text, origin) = match rgmanager.map(|client| client.ask(&Ask::Conf, QUICK)) {
        Some(Ok(Reply::Conf { text, .. })) => (text, "the configuration in force".to_owned()),
        Some(Ok(Reply::PermissionDenied)) => return Err("Permission denied; only root may fence".into()),
        Some(Err(error)) => return Err(shared::chain(&error)),
        // A daemon that has not joined has no configuration in force yet.
        Some(Ok(_)) | None => {
            let path = default_path();
            let nothing_known = |error| {
                format!(
                    "there is no rgmanager to ask, and nothing on disk to go by: {}; start the cluster here (systemctl start rgmanager) or do it on another node",
                    shared::chain(&error)
                )
            };
            (read(&path).map_err(nothing_known)?, path.display().to_string())
        }
    };
    let loaded = shared::conf::load(&text);
    let in_the_way = !loaded.document.is_well_formed() || loaded.findings.iter().any(concerns_fencing);
    let findings = || render_findings(&origin, &loaded.findings, Severity::Error);
    match &loaded.conf {
        Some(conf) if !in_the_way => Ok(conf.clone()),
        _ => Err(format!("{origin} has errors:\n{}", findings().trim_end())),
    }
}

/// An error elsewhere in the file must not keep anybody from fencing. One here could let a method pass for complete
/// that lacks a device.
fn concerns_fencing(finding: &Finding) -> bool {
    let steps = &finding.place.path;
    finding.severity == Severity::Error && (steps.contains("/clusternodes") || steps.contains("/fencedevices"))
}

fn node_name(job: &Job, conf: &Conf) -> Result<NodeName, String> {
    if let Some(name) = &job.node {
        return Ok(NodeName::from(name.as_str()));
    }
    let by_corosync = members::of_corosync(QUICK).ok().and_then(|members| conf.node_by_id(members.local));
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let by_host = || {
        let short = |name: &NodeName| name.0.split('.').next() == Some(host.as_str());
        conf.nodes.iter().find(|node| node.name.0 == host).or_else(|| conf.nodes.iter().find(|node| short(&node.name)))
    };
    by_corosync
        .or_else(by_host)
        .map(|node| node.name.clone())
        .ok_or_else(|| format!("cluster.conf has no node for this host ({host}); give the name of the node"))
}

fn unknown_node(job: &Job, conf: &Conf, name: &NodeName) -> u8 {
    let hint = match closest(name.as_str(), conf.nodes.iter().map(|node| node.name.as_str())) {
        Closest::One(one) => format!("; closest match: '{one}'"),
        Closest::None | Closest::Several => String::new(),
    };
    complain(&format!("fence_node: cluster {} has no node '{name}'{hint}", conf.name));
    let report = Report { operation: job.operation, node: name, attempts: &[], verbosity: 0, conf: None };
    let (text, code) = report.render();
    complain(text.trim_end());
    code
}

fn ask_for_fencing(
    client: &mut Client,
    operation: FenceOperation,
    node: &NodeName,
) -> Result<Vec<FenceAttempt>, String> {
    match client.ask(&Ask::FenceNode { node: node.clone(), operation }, FENCING_LIMIT) {
        Ok(Reply::Fence { attempts }) => Ok(attempts),
        Ok(Reply::PermissionDenied) => Err("Permission denied; only root may fence".into()),
        Ok(Reply::Error { text }) => Err(text),
        Ok(_) => Err("rgmanager answered another question; are both of the same release?".into()),
        Err(error) => Err(shared::chain(&error)),
    }
}
