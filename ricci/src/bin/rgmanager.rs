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
use ricci::secrets::Secrets;

/// The loop runs on the main thread; these do the reading, writing and waiting beside it.
const WORKER_THREADS: usize = 2;
/// For threads that still wait for corosync or a disk when everything is over.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(2);
/// cluster.conf must be changed before another start makes sense; the unit does not restart on it.
const EXIT_CONF_UNUSABLE: u8 = 6;
/// A successor shall be started; the unit does.
const EXIT_RESTART: u8 = 7;

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
    /// What resets the machine when `b` is written to it; for tests another file.
    #[arg(long, default_value = "/proc/sysrq-trigger")]
    sysrq: PathBuf,
    /// Speak no newer protocol with the other members, as an older release would.
    #[arg(long, default_value_t = engine::PROTOCOL)]
    protocol: u8,
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
    let cgroups = match arguments.no_cgroup {
        true => Err("switched off (--no-cgroup)".to_owned()),
        false => open_cgroups(arguments.cgroup),
    };
    let mut paths = Paths::below(&arguments.root);
    // The kernel's, wherever the rest lies.
    paths.boot_id = Paths::default().boot_id;
    let secrets = Secrets::beside(&paths.cluster_conf);
    Options {
        paths,
        socket: arguments.socket,
        cgroups,
        places: Places { secrets: secrets.clone(), ..Places::default() },
        fence_agents: FenceAgents::default().with_secrets(secrets),
        sysrq: arguments.sysrq,
        protocol: arguments.protocol,
    }
}

fn open_cgroups(wanted: Option<PathBuf>) -> Result<Cgroups, String> {
    let root = wanted.or_else(Cgroups::default_root);
    let opened = match root {
        Some(root) => Cgroups::open(root).map_err(|error| error.to_string()),
        None => Err("no cgroup v2 is mounted".to_owned()),
    };
    opened.inspect_err(|why| {
        tracing::warn!("services run in no cgroup of their own ({why}); a death is noticed by the next check only");
    })
}

fn tell_end(reason: ExitReason) -> ExitCode {
    match reason {
        ExitReason::Left => {
            tracing::info!("rgmanager has left the cluster");
            ExitCode::SUCCESS
        }
        ExitReason::Restart => {
            tracing::info!("rgmanager ends for its successor; what runs here goes on");
            ExitCode::from(EXIT_RESTART)
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
