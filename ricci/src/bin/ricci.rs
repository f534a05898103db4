//! The program `ricci`: one node's HTTP interface (`serve`) and the commands that an administrator types on the node to
//! pair it and to look at it.
// SPDX-License-Identifier: MIT OR Apache-2.0

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use ricci::agent::OwnLines;
use ricci::agent::commands;
use ricci::agent::options::Options;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Agent of one cluster node: answers luci over TLS.
#[derive(Debug, Parser)]
#[command(name = "ricci", version)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer managers (default).
    Serve,
    /// Print a one-time token with which a manager can pair within 15 minutes.
    Token,
    /// Print what a manager would see of this node.
    Status,
    /// Print the SHA-256 fingerprint of this node's certificate.
    Fingerprint,
    /// Become a daemon and run a program (used by `serve`).
    #[command(hide = true)]
    Detach {
        #[arg(long)]
        pid_file: PathBuf,
        #[arg(last = true, required = true)]
        program: Vec<OsString>,
    },
}

fn main() -> anyhow::Result<()> {
    let Arguments { options, command } = Arguments::parse();
    match command.unwrap_or(Command::Serve) {
        Command::Serve => {
            let own = OwnLines::default();
            start_logging(own.clone());
            let runtime = runtime(2)?;
            let outcome = runtime.block_on(commands::serve(options, own));
            // A password check that hangs in PAM must not hold up the end.
            runtime.shutdown_timeout(Duration::from_secs(1));
            outcome
        }
        Command::Token => commands::token(&options),
        Command::Status => runtime(1)?.block_on(commands::status(options)),
        Command::Fingerprint => commands::fingerprint(&options),
        Command::Detach { pid_file, program } => {
            let (program, arguments) = program.split_first().ok_or_else(|| anyhow::anyhow!("no program named"))?;
            let error = commands::become_daemon(&pid_file, program, arguments);
            Err(anyhow::Error::from(error).context(format!("cannot run {}", program.display())))
        }
    }
}

fn runtime(threads: usize) -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()
}

/// To stderr for whoever started us, and into memory for `/v1/log`.
fn start_logging(own: OwnLines) {
    let filter = EnvFilter::try_from_env("RICCI_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let plain = tracing_subscriber::fmt::layer().with_ansi(false).with_target(false);
    tracing_subscriber::registry()
        .with(filter)
        .with(plain.with_writer(std::io::stderr))
        .with(tracing_subscriber::fmt::layer().with_ansi(false).with_target(false).without_time().with_writer(own))
        .init();
}
