//! What the command line and the environment (`LUCI_*`) say.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::repo::users::Role;

/// The management server of the cluster suite.
#[derive(Debug, Parser)]
#[command(name = "luci", version)]
pub struct Cli {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Verb,
}

/// What every command needs.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Write the log as lines of JSON.
    #[arg(long, global = true, env = "LUCI_LOG_JSON")]
    pub log_json: bool,
    /// Folder of the database and the keys.
    #[arg(long, global = true, value_name = "DIRECTORY", env = "LUCI_STATE_DIR", default_value = "/var/lib/luci")]
    pub state_dir: PathBuf,
    /// A database of PostgreSQL (postgres://NAME:PASSWORD@HOST/DATABASE) instead of the one in the state folder. Better given in
    /// the environment: the list of processes shows arguments to everybody.
    #[arg(long, global = true, env = "LUCI_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: Option<String>,
}

/// Where luci keeps what it knows: the folder of the keys, and the database in it or elsewhere.
#[derive(Clone)]
pub struct Store {
    pub state_dir: PathBuf,
    /// Holds a password, hence is never printed.
    pub database_url: Option<String>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("state_dir", &self.state_dir).finish_non_exhaustive()
    }
}

impl From<&Path> for Store {
    fn from(state_dir: &Path) -> Self {
        Self { state_dir: state_dir.to_owned(), database_url: None }
    }
}

impl From<&PathBuf> for Store {
    fn from(state_dir: &PathBuf) -> Self {
        Self::from(state_dir.as_path())
    }
}

impl From<Common> for Store {
    fn from(common: Common) -> Self {
        // Set to nothing is not set: so a line of an environment file switches it off.
        let database_url = common.database_url.filter(|url| !url.is_empty());
        Self { state_dir: common.state_dir, database_url }
    }
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Serve the console and the API until stopped.
    Serve {
        /// Address and port to listen on.
        #[arg(long, value_name = "ADDRESS:PORT", env = "LUCI_LISTEN", default_value = "0.0.0.0:8084")]
        listen: SocketAddr,
        /// Host name in the one-time link and in the certificate; the machine's own name unless given.
        #[arg(long, value_name = "NAME", env = "LUCI_HOST_NAME")]
        host_name: Option<String>,
        /// Let accounts that were added for it log in by this service of PAM, a file in /etc/pam.d.
        #[arg(long, env = "LUCI_PAM_SERVICE", value_name = "SERVICE")]
        pam_service: Option<String>,
    },
    /// Write a backup (database, certificates, keys) into a folder of its own; luci may go on serving.
    Backup {
        /// A folder that is empty or not there yet. Keep it secret: it holds the keys that the nodes trust.
        folder: PathBuf,
    },
    /// Put a backup in place, on this machine or another; luci must not be serving. What was there is kept aside.
    Restore {
        /// The folder that `luci backup` wrote.
        folder: PathBuf,
    },
    /// Accounts.
    User {
        #[command(subcommand)]
        command: UserVerb,
    },
}

#[derive(Debug, Subcommand)]
pub enum UserVerb {
    /// Add an account; the password is read from standard input.
    Add {
        name: String,
        /// Its role on every cluster and on luci itself.
        #[arg(long, value_enum, default_value = "viewer")]
        role: RoleArg,
        /// It logs in by PAM; no password is read.
        #[arg(long)]
        pam: bool,
    },
    /// Set a new password, read from standard input, and end the account's sessions.
    #[command(alias = "password")]
    Reset { name: String },
    /// Take the second factor of an account away and end its sessions: its owner has lost the device and the recovery codes.
    RemoveFactor { name: String },
    /// Remove an account and end its sessions.
    Remove { name: String },
    /// List the accounts.
    List,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum RoleArg {
    /// Only what it is given on single clusters, in the console.
    None,
    Viewer,
    Operator,
    Administrator,
}

impl From<RoleArg> for Option<Role> {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::None => None,
            RoleArg::Viewer => Some(Role::Viewer),
            RoleArg::Operator => Some(Role::Operator),
            RoleArg::Administrator => Some(Role::Administrator),
        }
    }
}

/// The machine's own name.
pub fn own_host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_starts_the_server() {
        let unit = include_str!("../../packaging/systemd/luci.service");
        let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command");
        let cli = Cli::try_parse_from(line.split_whitespace()).expect("luci understands it");
        assert!(matches!(cli.command, Verb::Serve { .. }));
    }
}
