//! The command line of the program `ricci`: what it reads, and what its completion and its manual page are made from.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use super::options::Options;

/// Agent of one cluster node: answers luci over TLS.
#[derive(Debug, Parser)]
#[command(name = "ricci", version)]
pub struct Arguments {
    #[command(flatten)]
    pub options: Options,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
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
