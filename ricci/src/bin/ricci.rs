//! The program `ricci`: one node's HTTP interface (`serve`) and the commands that an administrator types on the node to
//! pair it and to look at it.
// SPDX-License-Identifier: MIT OR Apache-2.0

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use ricci::agent::OwnLines;
use ricci::agent::arguments::{Arguments, Command};
use ricci::agent::commands;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line with its causes; who cannot be told on stderr still has the exit code.
            let _ = writeln!(io::stderr(), "ricci: {error:#}{}", what_to_do(&error));
            ExitCode::FAILURE
        }
    }
}

fn what_to_do(error: &anyhow::Error) -> &'static str {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    if causes.any(|cause| cause.kind() == io::ErrorKind::PermissionDenied) { "; run it as root" } else { "" }
}

fn run(Arguments { options, command }: Arguments) -> anyhow::Result<()> {
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

fn runtime(threads: usize) -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()
}

/// To stderr for whoever started us, and into memory for `/v1/log`.
fn start_logging(own: OwnLines) {
    let filter = EnvFilter::try_from_env("RICCI_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let plain = tracing_subscriber::fmt::layer().with_ansi(false).with_target(false);
    tracing_subscriber::registry()
        .with(filter)
        .with(plain.with_writer(io::stderr))
        .with(tracing_subscriber::fmt::layer().with_ansi(false).with_target(false).without_time().with_writer(own))
        .init();
}
