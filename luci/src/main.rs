//! The program `luci`: serve, and the few things that must be possible without a browser.

// SPDX-License-Identifier: MIT OR Apache-2.0

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use clap::Parser as _;
use luci::app::auth::{check_password, check_user_name, hash_password};
use luci::backup;
use luci::repo::users::Role;
use luci::server;
use luci::settings::{Cli, UserVerb, Verb};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("LUCI_LOG").unwrap_or_else(|_| EnvFilter::new("info,tower_http=warn"));
    let colours = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    if cli.common.log_json {
        log.json().with_ansi(false).init();
    } else {
        log.init();
    }
    let state_dir = cli.common.state_dir;
    match cli.command {
        Verb::Serve { listen, host_name } => server::serve(&state_dir, listen, host_name).await,
        Verb::Backup { folder } => {
            let names = backup::backup(&state_dir, &folder).await?;
            writeln!(std::io::stdout(), "{} written to {}", names.join(", "), folder.display())?;
            Ok(())
        }
        Verb::Restore { folder } => {
            let before = backup::restore(&state_dir, &folder).await?;
            let mut out = std::io::stdout();
            writeln!(out, "{} restored from {}; everybody logs in anew", state_dir.display(), folder.display())?;
            if let Some(before) = before {
                writeln!(out, "what was there before is in {}", before.display())?;
            }
            Ok(())
        }
        Verb::User { command } => user(&state_dir, command).await,
    }
}

async fn user(state_dir: &Path, command: UserVerb) -> anyhow::Result<()> {
    let repo = server::open_repo(state_dir).await?;
    let mut out = std::io::stdout().lock();
    match command {
        UserVerb::Add { name, role } => {
            check_user_name(&name)?;
            let hash = hash_password(read_password()?).await?;
            if !repo.add_user(&name, &hash, role.into()).await? {
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
    std::io::stdin().lock().read_line(&mut line).context("reading the password from standard input")?;
    let password = line.trim_end_matches(['\n', '\r']).to_owned();
    check_password(&password)?;
    Ok(password)
}
