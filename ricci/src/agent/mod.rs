//! ricci: the HTTP interface of one node over TLS. Pairing, cluster.conf and the corosync key on disk, start and stop of
//! the cluster here, agents' metadata, fence tests, logs; questions about the running cluster go on to rgmanager.
//!
//! `main` of the program `ricci` calls `serve` and the small commands. Nothing here decides about services, and
//! nothing here uses the engine. Answers have deadlines; whatever hangs (rgmanager, an agent, PAM, a client) costs one
//! bounded answer and nothing else.

mod app;
pub mod arguments;
mod attempts;
pub(crate) mod catalogue;
mod clock;
pub mod commands;
mod conf;
mod corosync_key;
mod detach;
mod fence_key;
mod fence_test;
mod files;
mod fingerprint;
mod handlers;
mod host;
mod legacy;
mod log;
mod openapi;
mod operations;
pub mod options;
mod pairing;
mod pam;
mod pins;
mod problem;
mod process;
mod reboot;
mod request_body;
mod routes;
mod secrets;
mod server;
mod socket;
mod stall;
mod tls;
mod tokens;

pub use log::OwnLines;
