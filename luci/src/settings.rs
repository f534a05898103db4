//! What the command line and the environment (`LUCI_*`) say.

use std::net::SocketAddr;
use std::path::PathBuf;

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
    #[arg(long, global = true, env = "LUCI_STATE_DIR", default_value = "/var/lib/luci")]
    pub state_dir: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Serve the console and the API until stopped.
    Serve {
        /// Address and port to listen on.
        #[arg(long, env = "LUCI_LISTEN", default_value = "0.0.0.0:8084")]
        listen: SocketAddr,
        /// Host name in the one-time link and in the certificate; the machine's own name unless given.
        #[arg(long, env = "LUCI_HOST_NAME")]
        host_name: Option<String>,
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
    },
    /// Set a new password, read from standard input, and end the account's sessions.
    #[command(alias = "password")]
    Reset { name: String },
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
