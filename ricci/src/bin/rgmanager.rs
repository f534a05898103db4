//! The resource group manager: runs the services of cluster.conf on this node as the cluster decides.
// SPDX-License-Identifier: MIT OR Apache-2.0

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use engine::ExitReason;
use ricci::rgmanager::agents::Places;
use ricci::rgmanager::cgroup::Cgroups;
use ricci::rgmanager::fence::FenceAgents;
use ricci::rgmanager::files::Paths;
use ricci::rgmanager::log;
use ricci::rgmanager::start::{self, Options, StartError};

/// The loop runs on the main thread; these do the reading, writing and waiting beside it.
const WORKER_THREADS: usize = 2;
/// For threads that still wait for corosync or a disk when everything is over.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(2);
/// cluster.conf must be changed before another start makes sense; the unit does not restart on it.
const EXIT_CONF_UNUSABLE: u8 = 6;

/// Keeps the services of the cluster running on this node.
#[derive(Parser)]
#[command(name = "rgmanager", version)]
struct Arguments {
    /// Where the control socket is made.
    #[arg(long, default_value = shared::socket::SOCKET_PATH)]
    socket: PathBuf,
    /// Below which directory etc and var lie.
    #[arg(long, default_value = "/")]
    root: PathBuf,
    /// The cgroup (v2) for the services; chosen by itself if not given.
    #[arg(long)]
    cgroup: Option<PathBuf>,
    /// Run services in no cgroup.
    #[arg(long, conflicts_with = "cgroup")]
    no_cgroup: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKER_THREADS).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    tracing::info!("rgmanager {} starts", env!("CARGO_PKG_VERSION"));
    let ended = runtime.block_on(start::run(options(arguments)));
    runtime.shutdown_timeout(SHUTDOWN_PATIENCE);
    match ended {
        Ok(reason) => tell_end(reason),
        Err(error) => {
            tracing::error!("cannot start: {}", shared::chain(&error));
            match error {
                StartError::NoConf { .. } | StartError::ConfNotText { .. } => ExitCode::from(EXIT_CONF_UNUSABLE),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn options(arguments: Arguments) -> Options {
    let cgroups = if arguments.no_cgroup { None } else { open_cgroups(arguments.cgroup) };
    let mut paths = Paths::below(&arguments.root);
    // The kernel's, wherever the rest lies.
    paths.boot_id = Paths::default().boot_id;
    Options {
        paths,
        socket: arguments.socket,
        cgroups,
        places: Places::default(),
        fence_agents: FenceAgents::default(),
    }
}

fn open_cgroups(wanted: Option<PathBuf>) -> Option<Cgroups> {
    let root = wanted.or_else(Cgroups::default_root);
    let opened = match root {
        Some(root) => Cgroups::open(root).map_err(|error| error.to_string()),
        None => Err("no cgroup v2 is mounted".to_owned()),
    };
    opened
        .inspect_err(|why| {
            tracing::warn!("services run in no cgroup of their own ({why}); a death is noticed by the next check only");
        })
        .ok()
}

fn tell_end(reason: ExitReason) -> ExitCode {
    match reason {
        ExitReason::Left => {
            tracing::info!("rgmanager has left the cluster");
            ExitCode::SUCCESS
        }
        ExitReason::CorosyncLost { failed_to_stop } => {
            for service in failed_to_stop {
                tracing::error!("{service} could not be stopped; it may still run here");
            }
            tracing::error!("rgmanager ends because corosync is gone");
            ExitCode::FAILURE
        }
        ExitReason::ConfUnusable { findings } => {
            for finding in findings {
                let place = &finding.place;
                let (text, hint) = (&finding.text, &finding.hint);
                tracing::error!("cluster.conf, line {}, {}: {text}; {hint}", place.line, place.path);
            }
            ExitCode::from(EXIT_CONF_UNUSABLE)
        }
    }
}
