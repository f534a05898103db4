//! luci, the management server: one console for any number of clusters, outside of them.
//!
//! Rooms: `http` (thin handlers) → `app` (what an operator can do: role, audit, request id) → `repo` (SQL),
//! `ricci_client` (the nodes), `tasks` (work that outlives a request). `watcher` keeps luci's own copy of each
//! cluster's state; `views` holds one struct per template. Pages are drawn from luci's own copy; only why and what if ask a member,
//! because only the engine knows.

// SPDX-License-Identifier: MIT OR Apache-2.0

pub mod app;
pub mod backup;
pub mod clock;
pub mod http;
pub mod ids;
pub mod language;
pub mod repo;
pub mod ricci_client;
pub mod secrets;
pub mod server;
pub mod settings;
pub mod spawn;
pub mod tasks;
pub mod tls;
pub mod tokens;
pub mod views;
pub mod watcher;
