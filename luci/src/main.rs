//! The program `luci`: serve, and the few things that must be possible without a browser.

// SPDX-License-Identifier: MIT OR Apache-2.0

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser as _;
use luci::app::auth::{check_password, check_user_name, hash_password};
use luci::backup;
use luci::repo::users::Role;
use luci::server;
use luci::settings::{Cli, Store, UserVerb, Verb};
use tracing_subscriber::EnvFilter;

/// What blocks and does not end (PAM asking a directory that is down) is left behind after this long, so that stopping luci is not
/// waiting for it.
const LEFT_BEHIND: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = runtime.context("threads cannot be started").and_then(|runtime| {
        let ended = runtime.block_on(run(cli));
        runtime.shutdown_timeout(LEFT_BEHIND);
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line with its causes; who cannot be told on stderr still has the exit code.
            let _ = writeln!(io::stderr(), "luci: {error:#}{}", what_to_do(&error));
            ExitCode::FAILURE
        }
    }
}

fn what_to_do(error: &anyhow::Error) -> &'static str {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    let is_denied = causes.any(|cause| cause.kind() == io::ErrorKind::PermissionDenied);
    if is_denied { "; run it as root or as the user of the service" } else { "" }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_env("LUCI_LOG").unwrap_or_else(|_| EnvFilter::new("info,tower_http=warn"));
    // As no-color.org has it: set to anything but nothing.
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colours = io::stderr().is_terminal() && !is_plain;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colours);
    if cli.common.log_json {
        log.json().with_ansi(false).init();
    } else {
        log.init();
    }
    let store = Store::from(cli.common);
    match cli.command {
        Verb::Serve { listen, host_name, pam_service } => server::serve(store, listen, host_name, pam_service).await,
        Verb::Backup { folder } => {
            let names = backup::backup(store, &folder).await?;
            writeln!(io::stdout(), "{} written to {}", names.join(", "), folder.display())?;
            Ok(())
        }
        Verb::Restore { folder } => {
            let state_dir = store.state_dir.clone();
            let before = backup::restore(store, &folder).await?;
            let mut out = io::stdout();
            writeln!(out, "{} restored from {}; everybody logs in anew", state_dir.display(), folder.display())?;
            if let Some(before) = before {
                writeln!(out, "what was there before is in {}", before.display())?;
            }
            Ok(())
        }
        Verb::User { command } => user(&store, command).await,
    }
}

async fn user(store: &Store, command: UserVerb) -> anyhow::Result<()> {
    // An account may be added before the first start; for the rest, a folder without a database is a folder mistyped.
    let is_here = store.database_url.is_some() || store.state_dir.join(backup::DATABASE).exists();
    if !matches!(command, UserVerb::Add { .. }) && !is_here {
        bail!("{}", backup::no_database(&store.state_dir));
    }
    let repo = server::open_repo(store).await?;
    let mut out = io::stdout().lock();
    match command {
        UserVerb::Add { name, role, pam } => {
            check_user_name(&name).with_context(|| format!("'{name}' cannot be the name of an account"))?;
            let added = if pam {
                repo.add_pam_user(&name, role.into()).await?
            } else {
                let hash = hash_password(read_password()?).await?;
                repo.add_user(&name, &hash, role.into()).await?
            };
            if !added {
                bail!("there is already an account named {name}");
            }
            writeln!(out, "account {name} added")?;
        }
        UserVerb::Reset { name } => {
            let hash = hash_password(read_password()?).await?;
            if !repo.set_password(&name, &hash).await? {
                bail!("there is no account named {name}");
            }
            writeln!(out, "password of {name} set, its sessions ended")?;
        }
        UserVerb::RemoveFactor { name } => {
            let user = repo.user_by_name(&name).await?.with_context(|| format!("there is no account named {name}"))?;
            if !repo.remove_factor(user.id).await? {
                bail!("{name} has no second factor");
            }
            repo.end_sessions_of(user.id).await?;
            writeln!(out, "second factor of {name} taken away, its sessions ended")?;
        }
        UserVerb::Remove { name } => {
            if !repo.remove_user(&name).await? {
                bail!("there is no account named {name}");
            }
            writeln!(out, "account {name} removed")?;
        }
        UserVerb::List => {
            let clusters = repo.clusters().await?;
            for user in repo.users().await? {
                let grants = repo.grants_of(user.id).await?;
                let single = clusters
                    .iter()
                    .filter_map(|cluster| Some(format!("\t{}:{}", cluster.name, grants.get(&cluster.id)?.name())));
                let everywhere = user.everywhere.map_or("none", Role::name);
                writeln!(out, "{}\t{everywhere}{}", user.name, single.collect::<String>())?;
            }
        }
    }
    repo.close().await;
    Ok(())
}

/// The first line of standard input.
fn read_password() -> anyhow::Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).context("reading the password from standard input")?;
    let password = line.trim_end_matches(['\n', '\r']).to_owned();
    check_password(&password).context("the password cannot be used")?;
    Ok(password)
}
