//! The subcommands of the program `ricci`: `serve`, and the small ones that an administrator types on the node.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use shared::socket::Ask;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::app::{self, App};
use super::clock::now_ms;
use super::conf::Head;
use super::host::Daemon;
use super::log::OwnLines;
use super::options::{Options, Switch};
use super::tls::{self, Identity};
use super::{conf, detach, legacy, server, tokens};

/// Serves until SIGTERM or SIGINT.
pub async fn serve(options: Options, own: OwnLines) -> anyhow::Result<()> {
    let identity = Identity::open(&options.state_dir, &app::hostname())?;
    let tls = identity.server_config()?;
    let (stop, stopping) = watch::channel(false);
    let app = Arc::new(App::open(options, own, stopping.clone())?);
    let listener = server::bind(app.options.listen)
        .with_context(|| format!("cannot listen on {}; is another ricci running?", app.options.listen))?;
    let address = listener.local_addr().context("cannot tell where ricci listens")?;
    let fingerprint = identity.fingerprint().pairs();
    tracing::info!(%address, fingerprint, version = env!("CARGO_PKG_VERSION"), "listening");
    if let Err(error) = app.operations.resume(&app).await {
        tracing::error!(?error, "what was under way before cannot be taken up");
    }
    if app.options.legacy_protocol == Switch::On {
        legacy::resume(&app).await;
    }
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let serving = server::serve(Arc::clone(&app), listener, tls, stopping);
    tokio::pin!(serving);
    tokio::select! {
        () = &mut serving => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    // The receivers live in `app`, so this cannot fail.
    let _ = stop.send(true);
    serving.await;
    Ok(())
}

/// Prints a one-time token for pairing.
pub fn token(options: &Options) -> anyhow::Result<()> {
    let mut random = [0; 16];
    anyhow::ensure!(tls::fill_random(&mut random), "the system has no random bytes for a token");
    let identity = Identity::open(&options.state_dir, &app::hostname())?;
    let token = app::tokens(&options.state_dir).create(&random, now_ms()).context("cannot store the token")?;
    let mut out = io::stdout().lock();
    writeln!(out, "{token}")?;
    let mut hint = io::stderr().lock();
    writeln!(
        hint,
        "valid once, for {} minutes; the node's certificate has the fingerprint\n{}",
        tokens::LIFE_MS / 60_000,
        identity.fingerprint().pairs()
    )?;
    Ok(())
}

/// Prints the fingerprint of this node's certificate.
pub fn fingerprint(options: &Options) -> anyhow::Result<()> {
    let identity = Identity::open(&options.state_dir, &app::hostname())?;
    writeln!(io::stdout().lock(), "{}", identity.fingerprint().pairs())?;
    Ok(())
}

/// Prints what a manager would see of this node.
pub async fn status(options: Options) -> anyhow::Result<()> {
    let identity = Identity::open(&options.state_dir, &app::hostname())?;
    let (_stop, stopping) = watch::channel(false);
    let app = App::open(options, OwnLines::default(), stopping)?;
    let mut out = io::stdout().lock();
    writeln!(out, "Node          {}", app.hostname)?;
    writeln!(out, "Fingerprint   {}", identity.fingerprint().pairs())?;
    match conf::read(&app).await {
        Ok(None) => writeln!(out, "Cluster       none")?,
        Ok(Some((Head { cluster: Some(name), version, .. }, _))) => {
            writeln!(out, "Cluster       {name}, version {version}")?;
        }
        Ok(Some(_)) => writeln!(
            out,
            "Cluster       unknown: {} is not the configuration of a cluster; ccs_config_validate says why",
            app.options.conf.display()
        )?,
        Err(_) => writeln!(out, "Cluster       unknown: cannot read {}", app.options.conf.display())?,
    }
    for daemon in [Daemon::Corosync, Daemon::Rgmanager] {
        let state = app.host.state(daemon).await?;
        let running = if state.running { "running" } else { "not running" };
        let boot = if state.enabled_at_boot { ", starts at boot" } else { "" };
        writeln!(out, "{:<13} {running}{boot}", daemon.name())?;
    }
    let answers = app.rgmanager.ask(&Ask::Status, Duration::from_secs(3)).await;
    let answers = answers.map_or_else(|error| format!("no: {}", shared::chain(&error)), |_| "yes".to_owned());
    writeln!(out, "Answers       {answers}")?;
    let managers = app.pins.all();
    writeln!(out, "Paired with   {} manager{}", managers.len(), if managers.len() == 1 { "" } else { "s" })?;
    for manager in managers {
        writeln!(out, "  {}  {}", manager.fingerprint.pairs(), manager.label)?;
    }
    Ok(())
}

/// The second half of starting a daemon; comes back only if that failed.
pub fn become_daemon(pid_file: &Path, program: &OsString, arguments: &[OsString]) -> io::Error {
    detach::become_daemon(pid_file, program, arguments)
}
